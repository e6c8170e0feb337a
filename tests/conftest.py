"""What every test shares: one moto for all, no environment of the developer's, no way off this machine."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from keycheck import account_listing
from keycheck.settings import SETTINGS
from sandbox.dynamodb import Dynalite, EngineTable, why_no_dynalite
from sandbox.fake_iam import FakeIam
from sandbox.moto_aws import MotoAws
from sandbox.warm_parent import WarmParent, what_botocore_reads_again
from sandbox.world import World
from tests.in_process import Stages, stages_in
from tests.running import fake_iam

DYNAMODB_ENDPOINT_URL: Final = os.environ.get("DYNAMODB_ENDPOINT_URL", "")
"""Where an Amazon DynamoDB Local listens, if the one who runs the tests has started one."""
STARTS_PROCESSES: Final = frozenset({"warm", "dynalite", "quick_dynalite", "influxdb"})
ENGINES: Final = ["dynalite", *(["DYNAMODB_ENDPOINT_URL"] if DYNAMODB_ENDPOINT_URL else [])]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nothing-skipped", action="store_true", help="fail where any test was skipped, as CI does")
    parser.addoption(
        "--cases-to",
        metavar="FILE",
        help="write as JSON which cases there are, which are exhaustive",
    )


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """With `-n auto` half as many workers again as there are cores: whole runs wait for timeouts and back-offs now and
    then, and nobody else would use the core meanwhile. With `-n logical` one a core.
    """
    cores = os.cpu_count() or 1
    return cores if config.option.numprocesses == "logical" else cores + (cores + 1) // 2


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks that follow from what a test says otherwise: by its fixtures that it starts processes or plays whole runs,
    which `make quick` leaves out; by which of its cases it is represented, that the others are for `make faults`.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "stages" in fixtures:
            item.add_marker("runs")
        if fixtures & STARTS_PROCESSES:
            item.add_marker("process")
        represented_by = item.get_closest_marker("represented_by")
        if represented_by is not None and _case_of(item) not in represented_by.args:
            item.add_marker("exhaustive")
    if (path := config.getoption("--cases-to")) is not None:
        cases: dict[str, dict[str, bool]] = {}
        representatives: dict[str, list[str]] = {}
        for item in items:
            test = f"{item.path.name}::{item.name.partition('[')[0]}"
            cases.setdefault(test, {})[_case_of(item)] = item.get_closest_marker("exhaustive") is not None
            if (represented_by := item.get_closest_marker("represented_by")) is not None:
                representatives[test] = list(represented_by.args)
        Path(path).write_text(json.dumps({"cases": cases, "representatives": representatives}), encoding="utf-8")


def _case_of(item: pytest.Item) -> str:
    """What stands in the brackets behind the name of a parametrised test."""
    return item.name.partition("[")[2].removesuffix("]")


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
def _no_process_unless_marked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that starts a process says so by its marker, or by a fixture: else `make quick` would not be quick."""
    if request.node.get_closest_marker("process") is not None:
        return

    def refused(*command: object, **_: object) -> None:
        raise AssertionError(f"a test without the marker `process` starts one: {command}")

    monkeypatch.setattr(subprocess, "Popen", refused)


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


@pytest.fixture
def no_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore tries again at once, as often as ever."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))


@pytest.fixture(scope="session", autouse=True)
def _botocores_data_is_read_once() -> Iterator[None]:
    """Each session would parse the same big JSON files anew, which is most of what these tests would do."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, remembering in what_botocore_reads_again():
            patch.setattr(owner, name, remembering)
        yield


@pytest.fixture(scope="session")
def moto() -> Iterator[MotoAws]:
    """The one moto of the session; reset it, or use `world`, which does."""
    with MotoAws() as aws:
        yield aws


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stages:
    """Opens a stage for whole runs in this process, as often as is wished."""
    return stages_in(tmp_path, monkeypatch)


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
    yield from _dynalite(creating_ms=1500)


@pytest.fixture(scope="session")
def quick_dynalite() -> Iterator[Dynalite]:
    """Likewise, with tables that are there after 20 ms: for what is not about a new table."""
    yield from _dynalite(creating_ms=20)


def _dynalite(creating_ms: int) -> Iterator[Dynalite]:
    if (reason := why_no_dynalite()) is not None:
        pytest.skip(reason)
    with Dynalite(creating_ms) as engine:
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
    iam.latency, iam.clock_skew, iam.report_seconds = 0, timedelta(), 0
    iam.forget_report()
    fake_iam_world.owners.clear()
    fake_iam_world.config_file.write_text(config, encoding="utf-8")


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    """A mapping file that names the owner of dev_kramer."""
    path = tmp_path / "mapping.py"
    path.write_text('mapping = {"dev_kramer": "U012KRAMER"}\n', encoding="utf-8")
    return path


@pytest.fixture
def no_account_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every account is one of which only those are asked for who need it."""
    monkeypatch.setattr(account_listing, "ALWAYS_ASKED_FOR", 0)
