"""What every test shares: one moto for all, no environment of the developer's, no way off this machine."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import pytest
from botocore.loaders import JSONFileLoader

from keycheck.settings import SETTINGS
from sandbox.dynamodb import Dynalite, EngineTable, why_no_dynalite
from sandbox.fake_iam import FakeIam
from sandbox.moto_aws import MotoAws
from sandbox.warm_parent import WarmParent
from sandbox.world import World
from tests.end_to_end import fake_iam

DYNAMODB_ENDPOINT_URL: Final = os.environ.get("DYNAMODB_ENDPOINT_URL", "")
"""Where an Amazon DynamoDB Local listens, if the one who runs the tests has started one."""
ENGINES: Final = ["dynalite", *(["DYNAMODB_ENDPOINT_URL"] if DYNAMODB_ENDPOINT_URL else [])]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nothing-skipped", action="store_true", help="fail where any test was skipped, as CI does")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With --nothing-skipped a skipped test is a failed run; its reason stands in the short summary."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--nothing-skipped") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def _no_environment_of_the_developers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No profile, endpoint, proxy or setting of the machine reaches a test."""
    ours = {setting.name for setting in SETTINGS}
    for name in list(os.environ):
        if name.upper().startswith("AWS_") or name.lower().endswith("_proxy") or name in ours:
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent/config")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to anywhere but loopback fails the test that makes it."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not _is_loopback(str(address[0])):
            raise AssertionError(f"a test connects to {address[0]}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(scope="session", autouse=True)
def _botocores_data_is_read_once() -> Iterator[None]:
    """Each session would parse the same big JSON files anew, which is most of what these tests would do."""
    load_file, known = JSONFileLoader.load_file, dict[str, Any]()

    def load_file_once(self: JSONFileLoader, file_path: str) -> Any:
        if file_path not in known:
            known[file_path] = load_file(self, file_path)
        return known[file_path]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", load_file_once)
        yield


@pytest.fixture(scope="session")
def moto() -> Iterator[MotoAws]:
    """The one moto of the session; reset it, or use `world`, which does."""
    with MotoAws() as aws:
        yield aws


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmParent | None]:
    """Where the runs of this session's worlds are started; None where processes cannot be forked so."""
    if not sys.platform.startswith("linux"):
        yield None
        return
    with WarmParent() as parent:
        yield parent


@pytest.fixture
def world(moto: MotoAws, warm: WarmParent | None) -> Iterator[World]:
    """A fresh sandbox with Jira Cloud, nobody in it, and nothing switched on."""
    with World(aws=moto, warm=warm) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def dynalite() -> Iterator[Dynalite]:
    """A real DynamoDB engine whose new tables are CREATING for 1.5 s; skips, with the reason, where it cannot be."""
    if (reason := why_no_dynalite()) is not None:
        pytest.skip(reason)
    with Dynalite(creating_ms=1500) as engine:
        yield engine


@pytest.fixture(params=ENGINES)
def engine_world(request: pytest.FixtureRequest, moto: MotoAws, warm: WarmParent | None) -> Iterator[World]:
    """A fresh sandbox whose state table is in a real engine: dynalite, and what DYNAMODB_ENDPOINT_URL names."""
    engine: Dynalite | None = request.getfixturevalue("dynalite") if request.param == "dynalite" else None
    state = EngineTable(engine.url if engine is not None else DYNAMODB_ENDPOINT_URL)
    with World(aws=moto, state=state, warm=warm) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def fake_iam_world(moto: MotoAws, warm: WarmParent | None) -> Iterator[World]:
    """A world whose IAM is a FakeIam, for what moto does not know; a module's tests share it: see `iam_world`."""
    with World(aws=moto, iam=FakeIam(), warm=warm) as sandbox:
        yield sandbox


@pytest.fixture
def iam_world(fake_iam_world: World) -> Iterator[World]:
    """`fake_iam_world`, empty, hale and never called; and no state table beside it."""
    fake_iam_world.aws.reset()
    fake_iam_world.put_secrets()
    iam = fake_iam(fake_iam_world)
    config = fake_iam_world.config_file.read_text(encoding="utf-8")
    yield fake_iam_world
    iam.heal()
    iam.users.clear()
    iam.forget_calls()
    iam.users_per_page = iam.keys_per_page = 1000
    iam.latency, iam.clock_skew = 0, timedelta()
    fake_iam_world.owners.clear()
    fake_iam_world.config_file.write_text(config, encoding="utf-8")
