"""The books of a run: each action ends in one state, a failed claim stops what rests on it, and the end leaves no gap.

In process, in milliseconds: what comes of these books in whole runs is in tests/reliability.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import count
from typing import NoReturn
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keycheck.acting.ledger import Ledger, Task
from keycheck.actions import DisableKey, FileIssue, Plan, Result, SendMessage, SkipReason, Step
from keycheck.clock import Stopped
from keycheck.model import Level
from keycheck.services import ClaimLost, Failure, ServiceError
from sandbox.in_memory import HourlyClock
from tests.builders import HOUR, NOW, PROFILE, make_record, make_settings
from tests.situations import KEY, KEY_ID, REPEATABLE, Situation

UNTOLD = make_record(KEY)
NOBODY_WARNED = {"warned_at": None, "warned_owner": None}
SAID = "it said no"


def the_plan(**record: object) -> Plan:
    """An issue, a message and a disabling, all of one access key."""
    return Situation(record={**NOBODY_WARNED, **record}).plan()


class Books:
    """A ledger, its tasks by the kind of their action, and a clock that stands still until it is over."""

    def __init__(self, planned: Plan | None = None) -> None:
        planned = the_plan() if planned is None else planned
        numbers = count()
        self.clock = HourlyClock(NOW)
        self.clock.set_timeout(60)
        self.tasks = [Task(next(numbers), PROFILE, one) for chain in planned.chains for one in chain.actions]
        self.ledger = Ledger([planned], self.tasks, make_settings(), self.clock)

    def task(self, kind: type) -> Task:
        (found,) = [task for task in self.tasks if isinstance(task.action, kind)]
        return found

    def results(self) -> dict[type, Result | SkipReason]:
        """What became of each kind of action, once the books are closed."""
        closed = self.ledger.close()
        found: dict[type, Result | SkipReason] = {type(one.action): one.result for one in closed.outcomes}
        kinds = {Step.FILE_ISSUE: FileIssue, Step.NAG: SendMessage, Step.DISABLE: DisableKey}
        found |= {kinds[skip.what]: skip.reason for skip in closed.skips}
        return found

    def errors(self) -> list[str]:
        return [one.text for one in self.ledger.close().problems if one.level is Level.ERROR]


def raising(error: Exception) -> Callable[[], NoReturn]:
    def call() -> NoReturn:
        raise error

    return call


def failed(failure: Failure = Failure.REFUSED, *, holds_for_run: bool = False) -> ServiceError:
    return ServiceError("a service", "its operation", SAID, failure=failure, holds_for_run=holds_for_run)


# Writes that an action rests on


def test_a_write_that_succeeds_gives_its_answer_and_enters_nothing() -> None:
    books = Books()
    assert books.ledger.write_or_skip(books.task(FileIssue), lambda: "claimed") == "claimed"
    assert not books.ledger.state_failed
    assert books.errors() == []


def test_a_claim_that_is_lost_is_a_skip_and_nothing_else_stops() -> None:
    books = Books()
    assert books.ledger.write_or_skip(books.task(FileIssue), raising(ClaimLost())) is None
    assert books.ledger.write_or_skip(books.task(SendMessage), lambda: "claimed") == "claimed"
    assert books.results()[FileIssue] is SkipReason.CLAIMED
    assert books.errors() == []


def test_a_table_that_fails_is_said_once_and_asked_no_more() -> None:
    books, fails = Books(), Mock(side_effect=failed())
    for kind in (FileIssue, SendMessage, DisableKey):
        assert books.ledger.write_or_skip(books.task(kind), fails) is None
    assert fails.call_count == 1
    assert books.results() == dict.fromkeys((FileIssue, SendMessage, DisableKey), SkipReason.NO_STATE)
    assert books.errors() == [f"{SAID}; without state nothing more is filed, sent or disabled"]


def test_no_write_is_begun_once_the_run_is_over() -> None:
    books, write = Books(), Mock()
    books.clock._on_signal(signal.SIGTERM, None)
    with pytest.raises(Stopped):
        books.ledger.write_or_skip(books.task(FileIssue), write)
    assert write.call_count == 0
    assert books.results() == dict.fromkeys((FileIssue, SendMessage, DisableKey), SkipReason.STOPPED)


# Writes of what has happened


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ClaimLost(), "another run has recorded something else"),
        (failed(), SAID),
        (Stopped(), "no time was left"),
    ],
    ids=["lost", "failed", "stopped"],
)
def test_what_could_not_be_recorded_is_said_with_its_consequence_and_tells_nobody(error: Exception, why: str) -> None:
    books = Books()
    books.ledger.record(books.task(SendMessage), raising(error), "it may be repeated")
    assert books.ledger.newest(UNTOLD) == UNTOLD
    assert books.errors() == [f"it may be repeated ({why})"]


def test_a_record_is_known_as_this_run_last_wrote_it() -> None:
    books = Books()
    books.ledger.record(books.task(SendMessage), lambda: None, "")
    assert books.ledger.newest(UNTOLD) == UNTOLD
    for owner in ("U012KRAMER", "U0JONES"):
        written = make_record(KEY, warned_at=NOW, warned_owner=owner)
        books.ledger.record(books.task(SendMessage), Mock(return_value=written), "")
        assert books.ledger.newest(UNTOLD) == written


@pytest.mark.parametrize("error", [ClaimLost(), failed(), Stopped()], ids=["lost", "failed", "stopped"])
def test_a_claim_that_cannot_be_given_back_is_left_to_lapse(error: Exception) -> None:
    books = Books()
    books.ledger.release(raising(error))
    assert books.errors() == []


# The request of an action


@pytest.mark.parametrize(
    ("error", "result", "is_released"),
    [
        (failed(), Result.REFUSED, True),
        (failed(holds_for_run=True), Result.REFUSED, True),
        (failed(Failure.SERVER_ERROR), Result.REFUSED, True),
        (failed(Failure.NO_ANSWER), Result.REFUSED, True),
        (failed(Failure.UNKNOWN), Result.UNKNOWN, False),
        (failed(Failure.UNKNOWN, holds_for_run=True), Result.UNKNOWN, False),
        (failed(Failure.OFF), SkipReason.JIRA_OFF, True),
    ],
    ids=["refused", "refused for good", "HTTP 500", "no answer", "unknown", "unknown, and off", "off"],
)
def test_only_what_was_surely_not_done_is_given_back(
    error: ServiceError, result: Result | SkipReason, is_released: bool
) -> None:
    released: list[ServiceError] = []
    books = Books()
    task = books.task(FileIssue)
    with books.ledger.in_flight(task):
        answer = books.ledger.attempt(
            task, raising(error), release=released.append, if_unknown=lambda _: "it may be there"
        )
    assert answer is None
    assert released == ([error] if is_released else [])
    assert books.results()[FileIssue] is result
    expected = [] if error.failure is Failure.OFF else [SAID if is_released else "it may be there"]
    assert books.errors() == expected


def test_a_slack_that_is_off_is_not_said_to_be_jira() -> None:
    books = Books()
    books.ledger.refused(books.task(SendMessage), failed(Failure.OFF))
    assert books.results()[SendMessage] is SkipReason.SLACK_OFF


def test_an_answer_is_handed_on() -> None:
    books = Books()
    answer = books.ledger.attempt(books.task(FileIssue), lambda: "SEC-1", release=print, if_unknown=str)
    assert answer == "SEC-1"
    assert books.errors() == []


# Who was first


@pytest.mark.parametrize(
    ("claim_until", "is_live"),
    [(None, True), (NOW - HOUR, True), (NOW + timedelta(minutes=1), False), (NOW + HOUR, True)],
    ids=["new since the plan", "lapsed, so taken since", "of a run that is over", "of a run that is at it"],
)
def test_a_claim_of_another_run_is_live_until_that_run_must_be_over(claim_until: object, is_live: bool) -> None:
    books = Books()
    assert books.ledger.claimed_elsewhere(KEY_ID) is None
    (planned,) = [task for task in books.tasks if isinstance(task.action, SendMessage)]
    message = planned.action
    assert isinstance(message, SendMessage)
    task = Task(0, PROFILE, SendMessage(message.addressee, message.keys, claim_until=claim_until))  # type: ignore[arg-type]
    books.ledger.skip(task, SkipReason.CLAIMED)
    assert books.ledger.claimed_elsewhere(KEY_ID) is is_live


# The end


def test_what_is_in_flight_at_the_end_is_unknown_and_what_was_to_be_recorded_of_it_is() -> None:
    books, recorded = Books(), []
    task = books.task(SendMessage)
    with books.ledger.in_flight(task, lambda: recorded.append("sent, perhaps")):
        assert books.results()[SendMessage] is Result.UNKNOWN
    assert recorded == ["sent, perhaps"]


def test_nothing_is_entered_once_the_books_are_closed() -> None:
    books = Books()
    first = books.ledger.close()
    for task in books.tasks:
        books.ledger.done(task, Result.DONE)
        books.ledger.skip(task, SkipReason.CLAIMED)
        books.ledger.problem(task, Level.ERROR, "too late")
    assert books.ledger.close() == first


def test_the_planned_skips_are_among_the_outcomes() -> None:
    planned = Situation(record={"reenabled_at": NOW - HOUR}).plan()
    assert SkipReason.REENABLED in {skip.reason for skip in planned.skips}
    assert set(planned.skips) <= set(Books(planned).ledger.close().skips)


ENTRIES = st.sampled_from(["done", "refused", "unknown", "claimed", "nothing"])


@given(st.lists(ENTRIES, min_size=3, max_size=3), st.booleans())
@REPEATABLE
def test_each_action_ends_in_one_state(entries: Sequence[str], state_fails: bool) -> None:
    books = Books()
    for task, entry in zip(books.tasks, entries, strict=True):
        match entry:
            case "done":
                books.ledger.done(task, Result.DONE)
            case "refused":
                books.ledger.refused(task, failed())
            case "unknown":
                books.ledger.attempt(task, raising(failed(Failure.UNKNOWN)), release=print, if_unknown=str)
            case "claimed":
                books.ledger.skip(task, SkipReason.CLAIMED)
    if state_fails:
        books.ledger.write_or_skip(Task(99, PROFILE, books.tasks[0].action), raising(failed()))
    closed = books.ledger.close()
    skipped = [skip for skip in closed.skips if skip.key == KEY]
    assert len(closed.outcomes) + len(skipped) - int(state_fails) == len(books.tasks)
    assert sum(one.result is Result.UNKNOWN for one in closed.outcomes) == entries.count("unknown")
    left = SkipReason.NO_STATE if state_fails else SkipReason.OUT_OF_TIME
    assert sum(skip.reason is left for skip in skipped) - int(state_fails) == entries.count("nothing")
