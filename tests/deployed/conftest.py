"""What the tests of deployment share: keycheck installed once as the README says, and the real Telegraf over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.world import World
from tests.deployed.influxdb import WHY_NO_INFLUXDB, InfluxDb, has_influxdb
from tests.deployed.telegraf import WHY_NO_TELEGRAF, has_telegraf, install_keycheck


@pytest.fixture(scope="session")
def opt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """/opt/keycheck, below a folder of the session's own."""
    folder = tmp_path_factory.mktemp("opt") / "keycheck"
    install_keycheck(folder)
    return folder


@pytest.fixture
def telegraf() -> None:
    """Telegraf is on PATH; else the test is skipped, with the reason."""
    if not has_telegraf():
        pytest.skip(WHY_NO_TELEGRAF)


@pytest.fixture
def etc(tmp_path: Path, world: World) -> Path:
    """/etc/keycheck, below the test's own folder: the AWS profiles lead into the sandbox."""
    folder = tmp_path / "etc-keycheck"
    folder.mkdir()
    (folder / "aws-config").write_text(world.config_file.read_text(encoding="utf-8"), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def influxdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDb]:
    """A real InfluxDB; a test takes a database of its own. Skips, with the reason, where there is none."""
    if not has_influxdb():
        pytest.skip(WHY_NO_INFLUXDB)
    with InfluxDb(tmp_path_factory.mktemp("influxdb")) as running:
        yield running
