"""What became of each action of a run. Shell.

In: numbered actions, and what their calls answered. Out: Outcomes. It keeps every action in one of these states, and in
one only: not begun, in flight, done, refused, unknown, skipped. Safe to share between threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from keycheck.actions import (
    Action,
    AssignIssue,
    CommentIssue,
    DisableKey,
    FileIssue,
    Observation,
    Outcome,
    Outcomes,
    Plan,
    Result,
    SendMessage,
    Skip,
    SkipReason,
    Step,
    access_key_ids,
)
from keycheck.clock import RunClock, Stopped
from keycheck.model import KeyRecord, LabelledKey, Level, Problem
from keycheck.rules.case import claim_is_live
from keycheck.services import ClaimLost, Failure, ServiceError
from keycheck.settings import Settings
from keycheck.words.lines import describe
from keycheck.words.parts import name_key
from keycheck.workers import Workers

RECORDING_AT_ONCE = 8
SETTLING_SECONDS = 1.2
POLL_SECONDS = 0.01

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Task:
    """An action of a plan, by its number in the run: two that hold the same are still two."""

    number: int
    profile: str = field(compare=False)
    action: Action = field(compare=False)


class Ledger:
    """The books of one run. Once `close` has been called, nothing more is entered."""

    def __init__(self, plans: Sequence[Plan], tasks: Sequence[Task], settings: Settings, clock: RunClock) -> None:
        self._plans = plans
        self._tasks = tasks
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._is_closed = False
        self._state_failed = False
        self._outcomes: dict[Task, Outcome] = {}
        self._skips: dict[Task, tuple[Skip, ...]] = {}
        self._problems: dict[Problem, None] = {}
        self._in_flight: dict[Task, Callable[[], None]] = {}
        self._records: dict[str, KeyRecord] = {}
        self._claimed: dict[str, bool] = {}

    # What others ask

    @property
    def state_failed(self) -> bool:
        """Whether the state table has failed in this run: then nothing more is begun."""
        return self._state_failed

    def newest(self, record: KeyRecord) -> KeyRecord:
        """Return the record of an access key as this run last wrote it; else the one given."""
        with self._lock:
            return self._records.get(record.access_key_id, record)

    def claimed_elsewhere(self, access_key_id: str) -> bool | None:
        """None: no other run was first with its issue or its message. Else whether that run may still be at it."""
        with self._lock:
            return self._claimed.get(access_key_id)

    def has_used_its_place(self, task: Task) -> bool:
        """Return whether one of the day's disablings has gone to this one, or there is none left: no other can have it
        instead.
        """
        with self._lock:
            outcome = self._outcomes.get(task)
            if outcome is not None:
                return outcome.result in (Result.DONE, Result.UNKNOWN)
            return any(skip.reason in (SkipReason.BRAKE, SkipReason.NO_STATE) for skip in self._skips.get(task, ()))

    def progress(self) -> tuple[int, int]:
        """Return how many actions have come to an end, and how many there are."""
        with self._lock:
            return len(self._outcomes.keys() | self._skips.keys()), len(self._tasks)

    # Writes that an action rests on, and writes of what has happened

    def write_or_skip(self, task: Task, write: Callable[[], T]) -> T | None:
        """Make the conditional write that must succeed before this action. None, and a skip, if another run holds the
        claim or the table fails. A table failure stops all later actions, and is said once.
        """
        self._clock.check()
        if self._state_failed:
            self.skip(task, SkipReason.NO_STATE)
            return None
        try:
            return write()
        except ClaimLost:
            self.skip(task, SkipReason.CLAIMED)
            return None
        except ServiceError as error:
            with self._lock:
                is_first, self._state_failed = not self._state_failed, True
            if is_first:
                text = f"{error.text}; without state nothing more is filed, sent or disabled"
                self.problem(task, Level.ERROR, text)
            self.skip(task, SkipReason.NO_STATE)
            return None

    def record(self, task: Task, write: Callable[[], KeyRecord | None], consequence: str) -> None:
        """Record what has happened. A failure changes nothing about that; it is said, with its consequence.

        `write` returns the record of the access key as it is then, if it is known: only a notice on record lets it be
        disabled, since the day that was told must be known to every later run.
        """
        try:
            written = write()
            if written is not None:
                with self._lock:
                    self._records[written.access_key_id] = written
        except ClaimLost:
            self.problem(task, Level.ERROR, f"{consequence} (another run has recorded something else)")
        except ServiceError as error:
            self.problem(task, Level.ERROR, f"{consequence} ({error.text})")
        except Stopped:
            self.problem(task, Level.ERROR, f"{consequence} (no time was left)")

    def release(self, write: Callable[[], object]) -> None:
        """Give a claim back, as well as can be: one that could not be given back lapses by itself."""
        try:
            write()
        except (ServiceError, ClaimLost, Stopped):
            return

    # The request of an action

    @contextmanager
    def in_flight(self, task: Task, record_unknown: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Note a request until its answer is recorded: if the run ends meanwhile, `close` sees to it."""
        with self._lock:
            self._in_flight[task] = record_unknown
        try:
            yield
        finally:
            self.landed(task)

    def landed(self, task: Task) -> None:
        """Note that it is known what became of the request: `close` has nothing to do about it."""
        with self._lock:
            self._in_flight.pop(task, None)

    def attempt(
        self,
        task: Task,
        call: Callable[[], T],
        *,
        release: Callable[[ServiceError], object],
        if_unknown: Callable[[ServiceError], str],
    ) -> T | None:
        """Make the request of an action. None if it failed: it is entered as unknown, with what is said of that, or
        as refused, once `release` has given back what it rested on. Stopped is raised before a call, never after it.
        """
        try:
            return call()
        except ServiceError as error:
            if error.failure is Failure.UNKNOWN:
                self.problem(task, Level.ERROR, if_unknown(error))
                self.done(task, Result.UNKNOWN)
            else:
                self.landed(task)
                release(error)
                self.refused(task, error)
            return None

    # Entries

    def done(self, task: Task, result: Result, issue_key: str = "") -> None:
        with self._lock:
            if not self._is_closed:
                self._outcomes[task] = Outcome(task.profile, task.action, result, issue_key)

    def refused(self, task: Task, error: ServiceError) -> None:
        """Enter what was surely not done; the next run tries again."""
        if error.failure is Failure.OFF:
            is_message = isinstance(task.action, SendMessage)
            self.skip(task, SkipReason.SLACK_OFF if is_message else SkipReason.JIRA_OFF)
            return
        self.problem(task, Level.ERROR, error.text, "" if error.holds_for_run else _subject(task.action, error))
        self.done(task, Result.REFUSED)

    def skip(self, task: Task, reason: SkipReason) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._skips[task] = skips_of(task, reason)
            if reason is SkipReason.CLAIMED and not isinstance(task.action, DisableKey):
                held = self._is_live(task.action)  # the run that has it tells, and disables
                self._claimed |= dict.fromkeys(access_key_ids(task.action), held)

    def _is_live(self, action: Action) -> bool:
        """Return whether the run that was first may still be at it. A claim that nobody had when the plan was made is
        new.
        """
        match action:
            case (
                FileIssue(record=KeyRecord(issue_claim_until=claim_until))
                | CommentIssue(record=KeyRecord(issue_claim_until=claim_until))
                | SendMessage(claim_until=claim_until)
            ):
                now = self._clock.now  # one that had lapsed by then was lost to a run that took it since
                return claim_until is None or claim_until <= now or claim_is_live(claim_until, now, self._settings)
            case _:
                return False

    def problem(self, task: Task, level: Level, text: str, subject: str = "") -> None:
        self.problem_of(task.profile, level, text, subject)

    def problem_of(self, profile: str, level: Level, text: str, subject: str = "") -> None:
        with self._lock:
            if not self._is_closed:
                self._problems[Problem(level, profile, text, subject=subject)] = None

    # The end

    def close(self) -> Outcomes:
        """Close the books: what is in flight is unknown, what was not begun is left for the next run.

        An unknown message counts as sent, so that is recorded here; this takes at most a second or so.
        """
        with self._lock:
            in_flight = dict(self._in_flight)
        pool = Workers(RECORDING_AT_ONCE, thread_name_prefix="settle")
        recording = [pool.submit(record) for record in in_flight.values()]
        until = time.monotonic() + SETTLING_SECONDS
        while (self._in_flight or wait(recording, timeout=0).not_done) and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._is_closed = True
            for task in dict.fromkeys((*self._tasks, *self._in_flight)):
                if task not in self._outcomes and task not in self._skips:
                    self._close_one(task)
            tried = self._tried()
            planned = [skip for plan in self._plans for skip in plan.skips if not _is_braked(skip, tried)]
            skipped = [skip for skips in self._skips.values() for skip in skips]
            return Outcomes(tuple(self._outcomes.values()), (*planned, *skipped), tuple(self._problems))

    def _tried(self) -> set[LabelledKey]:
        """Return the access keys that had one of the day's places, be it one that another did not use."""
        entered = (*self._outcomes, *self._skips)
        return {one.action.key for one in entered if isinstance(one.action, DisableKey)}

    def _close_one(self, task: Task) -> None:
        if task in self._in_flight:
            self._outcomes[task] = Outcome(task.profile, task.action, Result.UNKNOWN)
            what = describe(task.action)
            text = f"no answer before the run's time was over; it is unknown whether this was done: {what}"
            self._problems[Problem(Level.ERROR, task.profile, text)] = None
        else:
            reason = SkipReason.NO_STATE if self._state_failed else cut_off_by(self._clock)
            self._skips[task] = skips_of(task, reason)


def cut_off_by(clock: RunClock) -> SkipReason:
    """Return why a run that is over has not come to something."""
    return SkipReason.STOPPED if clock.was_signalled else SkipReason.OUT_OF_TIME


def _is_braked(skip: Skip, tried: Collection[LabelledKey]) -> bool:
    """Return whether the plan left it to the brake, and it had a place all the same."""
    return skip.reason is SkipReason.BRAKE and skip.key in tried


def _subject(action: Action, error: ServiceError) -> str:
    match action:
        case SendMessage(addressee=addressee):
            return "" if addressee.slack_id in error.text else addressee.slack_id
        case FileIssue(key=key) | DisableKey(key=key) | AssignIssue(key=key):
            return name_key(key)
        case CommentIssue(record=record) | Observation(record=record):
            return name_key(record)


def skips_of(task: Task, reason: SkipReason) -> tuple[Skip, ...]:
    """Return one skip an access key that the action was about."""

    def skip(what: Step, *keys: LabelledKey | KeyRecord) -> Iterable[Skip]:
        return (Skip(task.profile, what, key, reason) for key in keys)

    match task.action:
        case FileIssue(key=key):
            return tuple(skip(Step.FILE_ISSUE, key))
        case AssignIssue(key=key):
            return tuple(skip(Step.ASSIGN_ISSUE, key))
        case CommentIssue(record=record, key=shown):
            return tuple(skip(Step.UPDATE_ISSUE, shown or record))
        case Observation(record=record, key=shown):
            return tuple(skip(Step.NOTE, shown or record))
        case SendMessage(keys=keys):
            return tuple(skip(Step.NAG, *(one.key for one in keys)))
        case DisableKey(key=key):
            return tuple(skip(Step.DISABLE, key))
