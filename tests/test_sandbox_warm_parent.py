"""A run from the warm parent is what the interpreter's own start would be: streams, signals, environment, end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest

from sandbox.http_fake import Fault
from sandbox.warm_parent import WarmParent, WarmProcess
from sandbox.world import Ran, World
from tests.impatience import wait_until
from tests.running import run

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere every start is a cold one")


def without_duration(ran: Ran) -> tuple[int, list[str], str]:
    return ran.code, [re.sub(r"duration_seconds=\S+,finished_at=\d+i", "", line) for line in ran.lines], ran.stderr


@pytest.mark.parametrize("arguments", [["acme-dev"], ["--dry-run", "acme-dev", "no-such-profile"], ["--version"], []])
def test_it_says_what_a_cold_start_says(world: World, arguments: list[str]) -> None:
    world.aws.add_user("dev_kramer", [197, 170, 3])
    warm = world.run(*arguments, send_slack="True" if "--dry-run" in arguments else None)
    world.warm = None
    cold = world.run(*arguments, send_slack="True" if "--dry-run" in arguments else None)
    assert without_duration(cold) == without_duration(warm)


def test_it_sees_nothing_but_the_environment_that_it_is_given(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither that of who asks for it nor that of a run before it."""
    monkeypatch.setenv("expire_age", "old")
    assert world.run("acme-dev", expiring_days="soon").code == 2
    assert world.run("acme-dev").code == 0


def test_what_only_the_interpreter_reads_makes_it_a_cold_start(world: World) -> None:
    with world.popen("acme-dev", PYTHONUNBUFFERED="1") as process:
        assert isinstance(process, subprocess.Popen)
        process.communicate(timeout=60)


def test_several_run_at_once_and_each_ends_as_it_is_told_to(world: World) -> None:
    world.gate.inject(Fault.hang())
    runs = [world.popen("acme-dev") for _ in range(3)]
    assert len({one.pid for one in runs}) == 3
    assert [one.poll() for one in runs] == [None] * 3
    with pytest.raises(subprocess.TimeoutExpired):
        runs[0].communicate(timeout=0.01)
    wait_until(lambda: len(world.gate.requests) == 3)
    for one, number in zip(runs, (signal.SIGKILL, signal.SIGTERM, signal.SIGINT), strict=True):
        one.send_signal(number)
    ends = []
    for one in runs:
        with one:
            ends.append((one.communicate(timeout=30)[0].count("iam_run,"), one.returncode))
    assert ends == [(0, -signal.SIGKILL), (1, 0), (1, 130)]
    runs[0].kill()  # one that is over is left alone


def test_it_says_when_a_signal_was_heard(world: World) -> None:
    world.gate.inject(Fault.hang())
    with world.popen("acme-dev") as process:
        assert isinstance(process, WarmProcess)
        wait_until(lambda: world.gate.requests)
        process.send_signal(signal.SIGTERM)
        process.wait_until_heard()
        assert process.communicate(timeout=30)[0].count("incomplete=1i") == 1


def test_its_runs_end_with_it(world: World) -> None:
    world.gate.inject(Fault.hang())
    world.write_owners()
    with WarmParent() as own, own.start(["acme-dev"], world.environ) as run_of_its_own:
        own.__exit__()
        assert run_of_its_own.wait(30) == -signal.SIGKILL
    wait_until(lambda: not is_alive(run_of_its_own.pid))
    world.gate.heal()
    assert run(world, "acme-dev").code == 0, "and another's go on"


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
