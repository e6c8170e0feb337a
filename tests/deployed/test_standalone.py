"""standalone/: systemd's own reading of the units, and cron's line run as cron would run it."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from keycheck.settings import SETTINGS, parse
from sandbox.world import World
from tests.builders import AT_ONCE
from tests.deployed.telegraf import ROOT
from tests.running import KRAMER, statuses

FOLDER = ROOT / "standalone"
SERVICE = (FOLDER / "keycheck.service").read_text(encoding="utf-8")
TIMER = (FOLDER / "keycheck.timer").read_text(encoding="utf-8")
CRON = (FOLDER / "keycheck.cron").read_text(encoding="utf-8")
ENV_SETUP = (ROOT / "env_setup.sh").read_text(encoding="utf-8")
"""What docs/deploying.md copies to keycheck.env: name="value", a line each, for systemd and cron."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="there is no systemd-analyze on PATH; on Debian: apt-get install systemd",
)


def option(text: str, name: str) -> str:
    """The value of an option of a unit that is set once."""
    (found,) = re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)
    assert isinstance(found, str)
    return found


# systemd


@pytest.mark.process
@needs_systemd
def test_systemd_takes_the_units_and_the_override_and_says_nothing(tmp_path: Path) -> None:
    """The override is read with a telegraf.service beside it, as its package brings one."""
    for name in ("keycheck.service", "keycheck.timer"):
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "telegraf.service").write_text("[Service]\nExecStart=/bin/true\n", encoding="utf-8")
    (tmp_path / "telegraf.service.d").mkdir()
    shutil.copy(FOLDER / "telegraf-override.conf", tmp_path / "telegraf.service.d" / "keycheck.conf")
    units = [str(path) for path in sorted(tmp_path.glob("*.*r*")) if path.is_file()]
    ran = analyze("verify", *units)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.process
@needs_systemd
def test_systemd_calls_the_service_little_exposed() -> None:
    ran = analyze("security", "--offline=true", "--no-pager", "--threshold=20", str(FOLDER / "keycheck.service"))
    assert ran.returncode == 0, ran.stdout


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [shutil.which("systemd-analyze") or "systemd-analyze", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_service_has_more_time_than_a_run_and_writes_nowhere() -> None:
    by_default = parse({}, Path("default.py")).run_timeout_seconds
    assert int(option(SERVICE, "TimeoutStartSec")) >= by_default + 30
    assert option(SERVICE, "ProtectSystem") == "strict"
    assert option(SERVICE, "DynamicUser") == "yes"
    assert "ReadWritePaths" not in SERVICE
    assert option(SERVICE, "Type") == "oneshot"
    assert "--fail-on-errors" in option(SERVICE, "ExecStart")


def test_telegraf_may_take_as_long_to_stop_as_a_run_does() -> None:
    override = (FOLDER / "telegraf-override.conf").read_text(encoding="utf-8")
    timeout = re.search(r'^  timeout = "(\d+)s"', (ROOT / "telegraf.conf").read_text(encoding="utf-8"), re.MULTILINE)
    assert timeout is not None
    assert int(option(override, "TimeoutStopSec")) >= int(timeout[1]) + 10


def test_every_schedule_is_hourly_and_the_daily_ones_nag_after_23_hours() -> None:
    assert option(TIMER, "OnCalendar") == "hourly"
    assert 'OnCalendar=daily here, and nag_interval_hours="23"' in TIMER
    active, daily = cron_lines()
    assert active.split()[1:5] == ["*"] * 4
    assert "nag_interval_hours" not in active
    assert daily.split()[2:5] == ["*"] * 3
    assert daily.split()[1].isdigit()
    assert "nag_interval_hours=23;" in daily


# cron


def cron_lines() -> tuple[str, str]:
    """The line that is active, and the daily one that is commented out."""
    (active,) = re.findall(r"^(\d.*)$", CRON, re.MULTILINE)
    (daily,) = re.findall(r"^# (\d.*)$", CRON, re.MULTILINE)
    return active, daily


@pytest.fixture
def keycheck_env(tmp_path: Path) -> Path:
    """/etc/keycheck/keycheck.env, made as the page says."""
    path = tmp_path / "keycheck.env"
    path.write_text(ENV_SETUP, encoding="utf-8")
    return path


@pytest.mark.process
def test_the_settings_file_is_one_that_systemd_and_a_shell_read_alike(keycheck_env: Path) -> None:
    """systemd.exec(5): no comment behind a value; lines that begin with #, and those without =, are passed over."""
    lines = [
        line
        for line in keycheck_env.read_text(encoding="utf-8").splitlines()
        if "=" in line and not line.startswith("#")
    ]
    found = [re.fullmatch(r'(\w+)="([^"\\$`]*)"', line) for line in lines]
    assert all(found), lines
    by_systemd = {one[1]: one[2] for one in found if one}
    script = f'set -a; . "{keycheck_env}"; env -0'
    shell = subprocess.run(["/bin/sh", "-c", script], env={}, capture_output=True, text=True, check=True)
    by_shell = dict(one.split("=", 1) for one in shell.stdout.split("\0") if "=" in one)
    assert {name: by_shell[name] for name in by_systemd} == by_systemd
    assert set(by_systemd) == {setting.name for setting in SETTINGS}
    assert parse(by_systemd, Path("default.py")) == parse({}, Path("default.py"))


def run_as_cron(line: str, world: World, opt: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command of a line of cron.d, by its SHELL, in cron's own small environment and what leads to the sandbox."""
    command = line.split(maxsplit=6)[6]
    (folder / "aws-config").write_text(world.config_file.read_text(encoding="utf-8"), encoding="utf-8")
    command = command.replace("/etc/keycheck", str(folder)).replace("/opt/keycheck", str(opt))
    cron = {"SHELL": "/bin/sh", "PATH": "/usr/bin:/bin", "HOME": "/", "LOGNAME": "keycheck"}
    sandbox = {name: value for name, value in world.environ.items() if name.startswith(("AWS_E", "NO_PROXY"))}
    return subprocess.run(
        ["/bin/sh", "-c", command], env={**cron, **sandbox}, cwd="/", capture_output=True, text=True, check=False
    )


def fill_in(path: Path, **settings: str) -> None:
    text = path.read_text(encoding="utf-8")
    for name, value in settings.items():
        text = re.sub(rf'^{name}=".*"$', f'{name}="{value}"', text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")


@pytest.mark.process
def test_crons_line_says_nothing_where_all_is_well(world: World, opt: Path, keycheck_env: Path) -> None:
    world.aws.add_user("dev_singh", [12])
    ran = run_as_cron(cron_lines()[0], world, opt, keycheck_env.parent)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert world.gate.calls["ListUsers"] == 2


@pytest.mark.process
def test_crons_line_takes_its_settings_from_the_file_and_ends_with_3_where_something_failed(
    world: World, opt: Path, keycheck_env: Path
) -> None:
    world.aws.add_user("dev_kramer", [197])
    world.owners.update(dev_kramer=KRAMER, dev_singh="U012SINGH")
    world.write_owners()
    there = {name: value for name, value in world.environ.items() if name.islower()}
    fill_in(keycheck_env, **there, send_slack="True", disable_key="True", **AT_ONCE)
    ran = run_as_cron(cron_lines()[0], world, opt, keycheck_env.parent)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert (len(world.slack.messages), statuses(world, "dev_kramer")) == (1, ["Inactive"])
    world.slack.stop_listening()
    world.aws.add_user("dev_singh", [197])
    ran = run_as_cron(cron_lines()[0], world, opt, keycheck_env.parent)
    assert ran.returncode == 3
    assert ran.stderr.startswith("E! acme-dev")


@pytest.mark.process
def test_a_daily_line_that_comes_a_little_early_nags_every_day(world: World, opt: Path, keycheck_env: Path) -> None:
    world.aws.add_user("dev_kramer", [170])
    world.owners["dev_kramer"] = KRAMER
    world.write_owners()
    there = {name: value for name, value in world.environ.items() if name.islower()}
    fill_in(keycheck_env, **there, send_slack="True")
    for _ in range(3):
        assert run_as_cron(cron_lines()[1], world, opt, keycheck_env.parent).returncode == 0
        world.pass_time(timedelta(hours=23, minutes=59))
    assert len(world.slack.messages) == 3
