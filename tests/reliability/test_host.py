"""What the host does to a run: any time zone, hours of sleep in the middle of it, SIGTERM while it is stopped.

A sleep is made in two ways. SIGSTOP stands both clocks' time out for real, so it is short. For hours, a sitecustomize
moves time.time alone, as a machine's sleep does: the monotonic clock stands still meanwhile.
"""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keycheck.scan import FIRST_AT_ONCE
from sandbox.fake_iam import about
from sandbox.gate import action_of, is_action
from sandbox.http_fake import FakeServer, Match, Request, calls
from sandbox.warm_parent import Process
from sandbox.world import Ran, World
from tests.builders import ALL_ON, AT_ONCE
from tests.impatience import wait_until
from tests.running import KRAMER, iam_lines, issue_posts, run, run_fields, sends, sound, statuses

POST_ISSUE = calls("POST", "/issue")
POST_MESSAGE = calls("POST", "/chat.postMessage")
TIMEOUT_SECONDS = 8
THREE_HOURS = timedelta(hours=3)
STOP_SECONDS = 6
BEYOND_A_CLAIM = timedelta(seconds=TIMEOUT_SECONDS + 600 + 60)


# Time zones


def at(days: int, hour: int, minute: int) -> float:
    """The age, in days, of what was made so many days ago at this time of day in UTC."""
    now = datetime.now(UTC)
    made = (now - timedelta(days=days)).replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (now - made) / timedelta(days=1)


@pytest.mark.represented_by("Pacific/Auckland", "XXX+25:61:61")
@pytest.mark.parametrize(
    "zone", ["UTC", "Pacific/Auckland", "America/St_Johns", "Asia/Kathmandu", "Mars/Olympus_Mons", "XXX+25:61:61", ""]
)
def test_labels_ages_and_dates_are_utcs_in_any_time_zone(world: World, zone: str) -> None:
    """A few minutes on either side of 180 and 165 days, and half an hour on either side of midnight in UTC, where any
    other zone has another date.
    """
    minutes = 5 / 24 / 60
    world.aws.add_user("limits", [180 + minutes, 180 - minutes, 165 + minutes, 165 - minutes])
    world.aws.add_user("midnight", [at(190, 0, 30), at(190, 23, 30)])
    world.owners |= {"limits": KRAMER, "midnight": KRAMER}
    ran = run(world, "acme-dev", send_slack="True", create_jira="True", TZ=zone)
    assert (ran.code, ran.stderr) == (0, "")
    seen = [re.sub(r".*,status=(\w+),.* age=(\d+)", r"\1 \2", line) for line in iam_lines(ran)]
    assert seen[:4] == ["expired 180", "expiring 179", "expiring 165", "ok 164"]

    made = [date for user in ("limits", "midnight") for _, _, date in world.aws.keys(user) if not is_ok(date)]
    days = [(f"{date:%Y-%m-%d}", f"{date + timedelta(days=180):%Y-%m-%d}") for date in made]
    assert len(days) == 5
    (message,) = world.slack.messages
    (newer,) = [f"{date:%Y-%m-%d}" for _, _, date in world.aws.keys("limits") if is_ok(date)]
    told = [date for pair in days for date in pair] + 3 * [newer]
    assert sorted(dates_in(json.dumps(message.blocks))) == sorted(told), "each of three names the one that is newer"
    filed = [tuple(dates_in(issue.description)) for issue in world.jira.issues.values()]
    assert sorted(filed) == sorted((expires, created, expires) for created, expires in days)


def is_ok(created: datetime) -> bool:
    return datetime.now(UTC) - created < timedelta(days=165)


def dates_in(text: str) -> list[str]:
    return re.findall(r"\d{4}-\d\d-\d\d", text)


# Sleep


class Hold:
    """A hook of a fake server: holds the first request that matches, until it is released."""

    def __init__(self, match: Match) -> None:
        self._match = match
        self.arrived = threading.Event()
        self.released = threading.Event()

    def __call__(self, request: Request) -> None:
        if self._match(request) and not self.arrived.is_set():
            self.arrived.set()
            self.released.wait(60)


@contextmanager
def holding(hooks: list[Callable[[Request], None]], match: Match) -> Iterator[Hold]:
    hold = Hold(match)
    hooks.append(hold)
    try:
        yield hold
    finally:
        hold.released.set()
        hooks.remove(hold)


@dataclass(frozen=True)
class Received:
    """What every server of the world has received so far."""

    gate: int
    jira: int
    slack: int

    @classmethod
    def by(cls, world: World) -> Received:
        servers: tuple[FakeServer, ...] = (world.gate, world.jira, world.slack)
        return cls(*(len(server.requests) for server in servers))


BEGINNINGS = ("SET issue_claim", "SET message_claim", "SET disabling_at", "SET issue_filings = :issue_filings")
"""What an UpdateItem of keycheck holds that claims, or notes that something is about to be done."""


def check_nothing_new_since(world: World, before: Received) -> None:
    """Nothing has reached a service since, but records of what was in flight, and claims given back."""
    assert world.slack.requests[before.slack :] == []
    assert world.jira.requests[before.jira :] == []
    for request in world.gate.requests[before.gate :]:
        assert action_of(request) == "UpdateItem"
        update = str(request.json["UpdateExpression"])
        assert update.startswith("REMOVE ") or " REMOVE " in update or not any(one in update for one in BEGINNINGS)


def stop_for_good(process: Process) -> None:
    """SIGSTOP, and wait until it has stopped."""
    process.send_signal(signal.SIGSTOP)
    state = Path(f"/proc/{process.pid}/stat")
    while state.read_text(encoding="ascii").rpartition(") ")[2][0] != "T":
        time.sleep(0.001)


def finish(process: Process, world: World) -> Ran:
    stdout, stderr = process.communicate(timeout=STOP_SECONDS)
    return sound(Ran(process.returncode, stdout, stderr), world)


@dataclass(frozen=True)
class Slept:
    ran: Ran
    before: Received


def wait_for(world: World, holds: Sequence[Hold], seconds: float = 20) -> None:
    """Until all are held and nothing else is on its way: the root user is asked about beside the scan."""
    assert all(hold.arrived.wait(seconds) for hold in holds)
    wait_until(lambda: world.gate.calls["GetAccountSummary"] == world.gate.calls["ListUsers"], seconds)


def sleep_until(world: World, seconds_after_start: float, holds: Sequence[Hold], **settings: str) -> Slept:
    """Run until all are held, stop the process, let go what was held, and wake it so long after its start."""
    started = time.monotonic()
    with world.popen("acme-dev", run_timeout_seconds=str(TIMEOUT_SECONDS), **settings) as process:
        try:
            wait_for(world, holds, TIMEOUT_SECONDS)
            stop_for_good(process)
            before = Received.by(world)
            for hold in holds:
                hold.released.set()
            time.sleep(max(0.0, started + seconds_after_start - time.monotonic()))
            process.send_signal(signal.SIGCONT)
            return Slept(finish(process, world), before)
        finally:
            process.kill()


SITECUSTOMIZE = """
import os, time
_time, _path = time.time, os.environ["SLEPT_FILE"]

def _slept():
    try:
        with open(_path) as file:
            return float(file.read() or 0)
    except OSError:
        return 0.0

time.time = lambda: _time() + _slept()
"""


def sleep_hours(world: World, folder: Path, holds: Sequence[Hold], **settings: str) -> Slept:
    """Run until all are held, then let three hours go by on the wall clock alone, and let go what was held."""
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE, encoding="utf-8")
    slept = folder / "slept"
    more = {"PYTHONPATH": str(folder), "SLEPT_FILE": str(slept)}
    with world.popen("acme-dev", run_timeout_seconds="60", **more, **settings) as process:
        try:
            wait_for(world, holds)
            before = Received.by(world)
            (folder / "new").write_text(str(THREE_HOURS.total_seconds()), encoding="utf-8")
            (folder / "new").rename(slept)
            for hold in holds:
                hold.released.set()
            return Slept(finish(process, world), before)
        finally:
            process.kill()


def check_once(world: World, passes: Sequence[timedelta], **settings: str) -> None:
    """Healthy runs, each after so much more time, end with one issue an access key and one message an owner."""
    for one in passes:
        world.pass_time(one)
        assert run(world, "acme-dev", **settings).code == 0
    labels = [issue.labels[1] for issue in world.jira.issues.values()]
    assert len(labels) == len(set(labels))
    addressees = [message.channel for message in world.slack.messages]
    assert len(addressees) == len(set(addressees)), f"told twice: {addressees}"


OWNERS = {"ana": "U0ANA", "ben": "U0BEN", "eve": "U0EVE"}


@pytest.fixture(name="staffed")
def world_with_three_owners(world: World) -> World:
    for name in OWNERS:
        world.aws.add_user(name, [200])
    world.owners |= OWNERS
    return world


@pytest.mark.represented_by("a little")
@pytest.mark.parametrize(
    "wake_after_seconds",
    [pytest.param(TIMEOUT_SECONDS + 1.5, id="a little"), pytest.param(TIMEOUT_SECONDS + 6.0, id="far")],
)
def test_a_host_that_slept_past_the_deadline_does_nothing_new(staffed: World, wake_after_seconds: float) -> None:
    """Asleep with a claim answered, an issue filed and a message sent, each for another owner, and no answer read.
    Once it wakes within the four seconds that a run may outlive its deadline, and once beyond them.
    """
    claimed, filed, sent = "ana", "ben", "eve"
    ids = {name: staffed.aws.keys(name)[0][0] for name in OWNERS}

    def is_claim(request: Request) -> bool:
        return action_of(request) == "UpdateItem" and b"issue_claim" in request.body

    with ExitStack() as stack:
        holds = [
            stack.enter_context(
                holding(staffed.gate.after, lambda request: is_claim(request) and ids[claimed].encode() in request.body)
            ),
            stack.enter_context(
                holding(
                    staffed.jira.after, lambda request: POST_ISSUE(request) and f" of {filed} ".encode() in request.body
                )
            ),
            stack.enter_context(
                holding(
                    staffed.slack.after, lambda request: POST_MESSAGE(request) and OWNERS[sent].encode() in request.body
                )
            ),
        ]
        slept = sleep_until(staffed, wake_after_seconds, holds, **ALL_ON)
    ran = slept.ran
    check_nothing_new_since(staffed, slept.before)
    assert (ran.code, len(iam_lines(ran))) == (0, 3)
    assert (run_fields(ran)["incomplete"], run_fields(ran)["keys"]) == (0, 3)
    assert run_fields(ran)["keys_disabled"] == 0
    assert (issue_posts(staffed), sends(staffed)) == (2, 1)
    assert [statuses(staffed, name) for name in OWNERS] == [["Active"]] * 3

    check_once(staffed, [timedelta(), BEYOND_A_CLAIM], send_slack="True", create_jira="True")
    assert len(staffed.jira.issues) == 3
    assert sorted(message.channel for message in staffed.slack.messages) == sorted(OWNERS.values())


@pytest.mark.exhaustive
def test_a_host_that_slept_through_its_scan_prints_what_it_had_and_acts_on_none(world: World) -> None:
    """As many users are held as are asked about at once: so the run has heard all of what it asked before them."""
    held = [f"ben{number:02}" for number in range(FIRST_AT_ONCE)]
    for name in ("ana", *held):
        world.aws.add_user(name, [200])
    with ExitStack() as stack:
        holds = [stack.enter_context(holding(world.gate.after, about("ListAccessKeys", name))) for name in held]
        slept = sleep_until(world, TIMEOUT_SECONDS + 1.5, holds, disable_key="True")
    check_nothing_new_since(world, slept.before)
    ran = slept.ran
    assert ran.code == 0
    assert "ana" in ran.lines[0]
    assert run_fields(ran)["keys"] == len(iam_lines(ran)) >= 1
    assert {status for name in ("ana", *held) for status in statuses(world, name)} == {"Active"}
    assert "left for the next run" in ran.stderr


def in_flight(world: World, what: str) -> tuple[list[Callable[[Request], None]], Match, dict[str, str]]:
    """Where and what to hold, and what to switch on, so that a run is asleep at this point."""
    first_update = is_action("UpdateItem")
    match what:
        case "the scan":
            return world.gate.after, is_action("ListAccessKeys"), ALL_ON
        case "the look at Jira":
            return world.jira.after, calls("GET", "/myself"), ALL_ON
        case "a claim on an issue":
            return world.gate.after, first_update, ALL_ON
        case "the filing of an issue":
            return world.jira.after, POST_ISSUE, ALL_ON
        case "a claim on a message":
            return world.gate.after, first_update, {"send_slack": "True", "disable_key": "True", **AT_ONCE}
        case "a message":
            return world.slack.after, POST_MESSAGE, {"send_slack": "True", "disable_key": "True", **AT_ONCE}
        case "the intent to disable":
            return world.gate.after, first_update, {"disable_key": "True"}
        case _:
            return world.gate.after, is_action("UpdateAccessKey"), {"disable_key": "True"}


@pytest.mark.represented_by("a message", "the scan")
@pytest.mark.parametrize(
    "what",
    [
        "the scan",
        "the look at Jira",
        "a claim on an issue",
        "the filing of an issue",
        "a claim on a message",
        "a message",
        "the intent to disable",
        "a disabling",
    ],
)
def test_hours_of_sleep_that_only_the_wall_clock_saw_end_the_run(world: World, tmp_path: Path, what: str) -> None:
    """And what it had claimed, which has lapsed meanwhile, is not done twice by the next run."""
    world.aws.add_user("dev_kramer", [197])
    world.owners["dev_kramer"] = KRAMER
    hooks, match, settings = in_flight(world, what)
    with holding(hooks, match) as hold:
        slept = sleep_hours(world, tmp_path, [hold], **settings)
    check_nothing_new_since(world, slept.before)
    ran = slept.ran
    assert ran.code == 0
    fields = run_fields(ran)
    assert fields["users"] == 1
    assert (fields["keys"], fields["incomplete"]) in ([(0, 1), (1, 0)] if what == "the scan" else [(1, 0)])
    assert len(iam_lines(ran)) == fields["keys"]
    assert statuses(world, "dev_kramer") == (["Inactive"] if what == "a disabling" else ["Active"])

    check_once(world, [THREE_HOURS], **settings)
    assert len(world.jira.issues) == (1 if "create_jira" in settings else 0)
    assert len(world.slack.messages) == (1 if "send_slack" in settings else 0)
    assert statuses(world, "dev_kramer") == ["Inactive"]
    assert world.gate.calls["UpdateAccessKey"] == 1


@pytest.mark.represented_by("the scan")
@pytest.mark.parametrize("what", ["the scan", "a message"])
def test_sigterm_while_the_host_sleeps_is_heard_when_it_wakes(world: World, what: str) -> None:
    """Its deadline is far: the signal alone ends it, and nothing new is done."""
    world.aws.add_user("dev_kramer", [197])
    world.owners["dev_kramer"] = KRAMER
    hooks, match, settings = in_flight(world, what)
    with holding(hooks, match) as hold, world.popen("acme-dev", **settings) as process:
        try:
            wait_for(world, [hold])
            stop_for_good(process)
            before = Received.by(world)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            assert process.poll() is None
            process.send_signal(signal.SIGCONT)
            ran = finish(process, world)
        finally:
            process.kill()
    check_nothing_new_since(world, before)
    assert (ran.code, run_fields(ran)["users"]) == (0, 1)
    assert run_fields(ran)["incomplete"] == (1 if what == "the scan" else 0)
    assert statuses(world, "dev_kramer") == ["Active"]
    check_once(world, [timedelta()], **settings)
