"""SIGTERM, SIGINT, the deadline, whatever the run is in: it prints what it knows, in whole lines, and ends by itself.

Telegraf sends SIGKILL five seconds after SIGTERM, so `stop` gives a process six and fails where it needs more: a bound
for a busy machine, not a measurement. Nothing here waits for a fixed time where a condition can be waited for.
"""

from __future__ import annotations

import fcntl
import signal
import sys
import termios
import time
from datetime import timedelta
from pathlib import Path

import pytest
from line_protocol_parser import parse_line

from sandbox.fake_iam import FakeIam, about
from sandbox.fake_slack import rate_limited
from sandbox.gate import is_action
from sandbox.http_fake import Fault, calls
from sandbox.warm_parent import Process
from sandbox.world import Ran, World
from tests.builders import AT_ONCE
from tests.impatience import wait_until
from tests.reliability.kill_at_request import signal_and_wait
from tests.running import KRAMER, fake_iam, iam_lines, issue_posts, records, run, run_fields, sends, sound, statuses

STOP_SECONDS = 6
POST_ISSUE = calls("POST", "/issue")
POST_MESSAGE = calls("POST", "/chat.postMessage")
BEYOND_A_CLAIM = timedelta(seconds=100 + 600 + 60)
"""run_timeout_seconds and claim_margin_seconds by default, and a minute."""

needs_linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into /proc")


def stop(process: Process, world: World, number: signal.Signals = signal.SIGTERM) -> Ran:
    """Send one signal; the process must be gone, by itself and in order, before Telegraf would kill it."""
    process.send_signal(number)
    try:
        stdout, stderr = process.communicate(timeout=STOP_SECONDS)
    finally:
        process.kill()
    return sound(Ran(process.returncode, stdout, stderr), world)


@pytest.fixture(name="iam")
def fake_iam_of_the_world(iam_world: World) -> FakeIam:
    return fake_iam(iam_world)


# While scanning


def test_a_scan_that_is_stopped_prints_what_it_has_read_and_acts_on_none_of_it(iam_world: World, iam: FakeIam) -> None:
    for name in ("ana", "ben", "eve"):
        iam.add_user(name, [200])
    iam.inject(Fault.hang(), about("ListAccessKeys", "ben"))
    with iam_world.popen("acme-dev", disable_key="True") as process:
        wait_until(lambda: sum(call.status == 200 for call in iam.log) == 4 and len(iam.log) == 5)
        ran = stop(process, iam_world)
    assert ran.code == 0
    assert [parse_line(line)["tags"]["name"] for line in iam_lines(ran)] == ["ana", "eve"]
    fields = run_fields(ran)
    assert (fields["users"], fields["keys"], fields["incomplete"], fields["skipped"]) == (3, 2, 1, 2)
    assert ran.stderr.startswith(
        "W! acme-dev: the scan was cut off by SIGTERM (is Telegraf's timeout above run_timeout_seconds?): "
        "1 of 3 users not read"
    )
    left = "W! acme-dev: actions on 2 access keys are left for the next run: a signal ended the run; give Telegraf's "
    assert f"{left}inputs.exec a timeout above run_timeout_seconds" in ran.stderr
    assert iam.calls == {"ListUsers": 1, "ListAccessKeys": 3, "GetAccountSummary": 1}
    assert records(iam_world) == {}


def test_one_interrupt_prints_what_sigterm_would_and_ends_with_130_also_before_the_first_answer(
    iam_world: World, iam: FakeIam
) -> None:
    iam.inject(Fault.hang(), about("ListUsers"))
    with iam_world.popen("acme-dev", "acme-prod") as process:
        wait_until(lambda: iam.calls["ListUsers"] == 2)
        ran = stop(process, iam_world, signal.SIGINT)
    assert ran.code == 130
    assert len(ran.lines) == 2
    for profile in ("acme-dev", "acme-prod"):
        assert run_fields(ran, profile)["incomplete"] == 1


def test_the_scan_ends_at_its_share_of_the_time_and_what_was_read_is_acted_on(iam_world: World, iam: FakeIam) -> None:
    for name in ("ana", "ben", "eve"):
        iam.add_user(name, [200])
    iam.inject(Fault.hang(), about("ListAccessKeys", "ben"))
    ran = run(iam_world, "acme-dev", disable_key="True", run_timeout_seconds="5")
    assert ran.code == 0
    assert [parse_line(line)["tags"]["status"] for line in iam_lines(ran)] == ["disabled", "disabled"]
    fields = run_fields(ran)
    assert (fields["users"], fields["keys"], fields["keys_disabled"], fields["incomplete"]) == (3, 2, 2, 1)
    assert "the scan was cut off by its time" in ran.stderr


def test_a_second_interrupt_ends_the_process_at_once(iam_world: World, iam: FakeIam) -> None:
    """At once is before the first one's two seconds are over: nothing was printed yet."""
    iam.add_user("ben", [200])
    iam.inject(Fault.hang(), about("ListAccessKeys", "ben"))
    with iam_world.popen("acme-dev") as process:
        wait_until(lambda: iam.calls["ListAccessKeys"] == 1)
        signal_and_wait(process, signal.SIGINT)  # two pending SIGINTs are one
        ran = stop(process, iam_world, signal.SIGINT)
    assert ran == Ran(130, "", "E! keycheck: interrupted twice: nothing is known of what was under way\n")


# While starting


def catches_sigterm(process: Process) -> bool:
    """Whether the process has a handler for SIGTERM by now."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    except OSError:
        return False
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.represented_by("0", "90", "300")
@needs_linux
@pytest.mark.parametrize("after_ms", [0, 20, 50, 90, 140, 200, 300])
def test_sigterm_while_starting_is_heard(
    iam_world: World, iam: FakeIam, monkeypatch: pytest.MonkeyPatch, after_ms: int
) -> None:
    """From the handler's first moment on, in whatever import, and again and again until it exits."""
    iam.add_user("ana", [200])
    iam.latency = 5
    monkeypatch.setattr(iam_world, "warm", None)
    with iam_world.popen("acme-dev", disable_key="True") as process:
        wait_until(lambda: catches_sigterm(process))
        time.sleep(after_ms / 1000)
        until = time.monotonic() + STOP_SECONDS
        while process.poll() is None and time.monotonic() < until:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.005)
        ran = stop(process, iam_world)
    assert ran.code == 0
    assert len(ran.lines) == 1
    assert run_fields(ran)["incomplete"] == 1


# While writing


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a pipe's size can be set on Linux only")
def test_a_pipe_that_nobody_reads_holds_it_up_no_longer_than_sigterm(iam_world: World, iam: FakeIam) -> None:
    """Exit 1: stdout could not be written. What is in the pipe is whole lines."""
    for number in range(60):
        iam.add_user(f"user_{number:02}", [1, 200])
    with iam_world.popen("acme-dev") as process:
        assert process.stdout is not None
        pipe = process.stdout.fileno()
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
        wait_until(lambda: int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder))
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=STOP_SECONDS)
        stdout, stderr = process.communicate(timeout=STOP_SECONDS)
    ran = sound(Ran(code, stdout, stderr), iam_world)
    assert ran.code == 1
    assert ran.stderr == "E! acme-dev: the metrics could not be written to stdout: nobody reads it\n"
    assert 0 < len(ran.lines) < 120


# While acting


def test_what_is_in_flight_is_an_error_and_not_repeated(world: World) -> None:
    """An issue for ana and a message to ben. Nobody knows what became of them: the issue keeps its claim and is no
    warning delivered, the message is recorded as sent.
    """
    world.aws.add_user("ana", [200])
    world.aws.add_user("ben", [170])
    world.owners["ben"] = KRAMER
    settings = {"send_slack": "True", "create_jira": "True", "disable_key": "True"}
    world.jira.inject(Fault.hang(), lambda request: POST_ISSUE(request) and b" of ana " in request.body)
    world.slack.inject(Fault.hang(), POST_MESSAGE)
    with world.popen("acme-dev", **settings) as process:
        wait_until(lambda: issue_posts(world) == 2 and sends(world))
        ran = stop(process, world)
    assert ran.code == 0
    assert [parse_line(line)["tags"]["status"] for line in iam_lines(ran)] == ["expired", "expiring"]
    fields = run_fields(ran)
    assert (fields["issues_filed"], fields["nags_sent"], fields["keys_disabled"]) == (1, 0, 0)
    assert (fields["errors"], fields["incomplete"]) == (2, 0)
    unknown = "E! acme-dev: no answer before the run's time was over; it is unknown whether this was done: "
    assert ran.stderr.startswith(unknown)
    assert ran.stderr.count(unknown) == 2
    assert "messaged_at" in records(world)[f"slack:123456789012:{KRAMER}"]

    world.slack.heal()
    world.jira.heal()
    again = run(world, "acme-dev", **settings)
    assert again.code == 0
    assert (issue_posts(world), sends(world)) == (2, 1)
    assert statuses(world, "ana") == ["Active"]


def test_a_message_of_unknown_outcome_counts_as_sent_but_not_as_a_warning(world: World) -> None:
    world.aws.add_user("dev_kramer", [197])
    world.owners["dev_kramer"] = KRAMER
    settings = {"send_slack": "True", "disable_key": "True"}
    world.slack.inject(Fault.drop_before_serving(), POST_MESSAGE, times=1)
    ran = run(world, "acme-dev", **settings)
    assert (ran.code, run_fields(ran)["errors"], run_fields(ran)["nags_sent"]) == (0, 1, 0)
    assert ran.stderr.startswith(f"E! acme-dev: no answer to the message to {KRAMER}")
    again = run(world, "-v", "acme-dev", **settings)
    assert "it has no notice in force: the next message to its owner gives one: dev_kramer" in again.stderr
    assert sends(world) == 1
    assert statuses(world, "dev_kramer") == ["Active"]


def test_an_answer_within_two_seconds_still_counts(world: World) -> None:
    """The message was delivered; the disabling after it would be something new."""
    world.aws.add_user("dev_kramer", [197])
    world.owners["dev_kramer"] = KRAMER
    world.slack.inject(Fault.late(0.7), POST_MESSAGE)
    with world.popen("acme-dev", send_slack="True", disable_key="True", **AT_ONCE) as process:
        wait_until(lambda: world.slack.messages)
        ran = stop(process, world)
    assert ran.code == 0
    fields = run_fields(ran)
    assert (fields["nags_sent"], fields["errors"], fields["keys_disabled"]) == (1, 0, 0)
    assert statuses(world, "dev_kramer") == ["Active"]
    assert ran.stderr.startswith("W! acme-dev: actions on 1 access key are left for the next run")
    kept = records(world)
    assert "messaged_at" in kept[f"slack:123456789012:{KRAMER}"]
    assert "told_at" in kept[world.aws.keys("dev_kramer")[0][0]]


def test_a_wait_for_the_rate_limit_ends_and_leaves_the_message_to_the_next_run(world: World) -> None:
    world.aws.add_user("dev_kramer", [170])
    world.owners["dev_kramer"] = KRAMER
    world.slack.inject(rate_limited(30), POST_MESSAGE, times=1)
    with world.popen("acme-dev", send_slack="True") as process:
        wait_until(lambda: sends(world))
        ran = stop(process, world)
    assert (ran.code, run_fields(ran)["nags_sent"], len(world.slack.messages)) == (0, 0, 0)
    again = run(world, "acme-dev", send_slack="True")
    assert (again.code, again.stderr, len(world.slack.messages)) == (0, "", 1)


@pytest.mark.parametrize(
    ("fault", "posts", "filed"),
    [
        pytest.param(Fault.drop_after_serving(), 1, 0, id="it was made: found"),
        pytest.param(Fault.drop_before_serving(), 2, 1, id="it was not: filed"),
    ],
)
def test_an_unknown_issue_is_looked_for_once_its_claim_has_lapsed(
    world: World, fault: Fault, posts: int, filed: int
) -> None:
    """Not before that: until then Jira's search may not show it."""
    world.aws.add_user("dev_kramer", [170])
    world.jira.inject(fault, POST_ISSUE, times=1)
    ran = run(world, "acme-dev", create_jira="True")
    assert (ran.code, run_fields(ran)["errors"], run_fields(ran)["issues_filed"]) == (0, 1, 0)
    assert "may exist" in ran.first_line

    claimed = run(world, "acme-dev", create_jira="True")
    assert (claimed.code, claimed.stderr, run_fields(claimed)["skipped"]) == (0, "", 1)
    assert issue_posts(world) == 1

    world.pass_time(BEYOND_A_CLAIM)
    settled = run(world, "acme-dev", create_jira="True")
    assert (settled.code, settled.stderr, run_fields(settled)["issues_filed"]) == (0, "", filed)
    assert (issue_posts(world), len(world.jira.issues)) == (posts, 1)
    assert [record["issue_key"] for record in records(world).values() if "user_name" in record] == list(
        world.jira.issues
    )


def test_a_disabling_in_flight_is_an_error_and_the_key_is_not_called_disabled(iam_world: World, iam: FakeIam) -> None:
    iam.add_user("ana", [200])
    iam.inject(Fault.hang(), about("UpdateAccessKey"))
    with iam_world.popen("acme-dev", disable_key="True") as process:
        wait_until(lambda: iam.calls["UpdateAccessKey"])
        ran = stop(process, iam_world)
    assert ran.code == 0
    assert ",status=expired," in ran.lines[0]
    fields = run_fields(ran)
    assert (fields["keys_disabled"], fields["errors"], fields["incomplete"]) == (0, 1, 0)
    assert iam.calls["UpdateAccessKey"] == 1


def test_a_state_table_that_hangs_holds_it_up_no_longer(world: World) -> None:
    """And a message whose claim was not answered is not sent."""
    world.aws.add_user("dev_kramer", [170])
    world.owners["dev_kramer"] = KRAMER
    world.gate.inject(Fault.hang(), is_action("UpdateItem"))
    with world.popen("acme-dev", send_slack="True") as process:
        wait_until(lambda: world.gate.calls["UpdateItem"])
        ran = stop(process, world)
    assert ran.code == 0
    assert len(iam_lines(ran)) == 1
    assert sends(world) == 0


def test_time_that_runs_out_before_anything_is_planned_is_said_and_counted(world: World) -> None:
    """A Jira that is always slow must not look like nothing to do."""
    world.aws.add_user("dev_kramer", [197])
    world.jira.inject(Fault.hang())
    with world.popen("acme-dev", create_jira="True") as process:
        wait_until(lambda: world.jira.requests)
        ran = stop(process, world)
    assert (ran.code, run_fields(ran)["skipped"], run_fields(ran)["incomplete"]) == (0, 1, 0)
    assert ran.first_line.startswith("W! acme-dev: actions on 1 access key are left for the next run")


def test_issues_that_wait_their_turn_are_left_for_the_next_run_without_a_fuss(world: World) -> None:
    for number in range(8):
        world.aws.add_user(f"user_{number}", [170, 171, 172])
        world.owners[f"user_{number}"] = f"U0{number}OWNER"
    world.jira.inject(Fault.hang(), POST_ISSUE)
    with world.popen("acme-dev", create_jira="True", send_slack="True") as process:
        wait_until(lambda: issue_posts(world) >= 4)
        ran = stop(process, world)
    assert ran.code == 0
    assert "unexpected" not in ran.stderr
    assert run_fields(ran)["errors"] == ran.stderr.count("E! ")
