"""Walks the chains of all plans side by side, profiles taking turns, and closes the books. Shell.

In: plans, services, settings, the run's clock. Out: Outcomes. Within a chain the order is fixed; its notes are
written side by side, and so are its issues seen to. No message waits for more than the issues that it names, nor for
those longer than half of the run's time that is left: then it goes without their links.
"""

from __future__ import annotations

import itertools
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from keycheck.acting.disabling import disable
from keycheck.acting.issues import IssueWork
from keycheck.acting.ledger import Ledger, Task
from keycheck.acting.means import Means, Services
from keycheck.acting.messages import send
from keycheck.acting.notes import note
from keycheck.acting.places import Places
from keycheck.actions import (
    Action,
    AssignIssue,
    Chain,
    CommentIssue,
    DisableKey,
    FileIssue,
    Observation,
    Outcomes,
    Plan,
    SendMessage,
    access_key_ids,
)
from keycheck.clock import RunClock, Stopped
from keycheck.model import KeyRecord, Level
from keycheck.settings import Settings
from keycheck.words.parts import unexpected
from keycheck.workers import POLL_SECONDS, Workers, call_all

CHAINS_AT_ONCE = 8
WRITES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class _Walk:
    """A chain and its tasks, in the order in which they are carried out."""

    chain: Chain
    tasks: tuple[Task, ...]
    reserves: tuple[Task, ...] = ()

    @property
    def candidates(self) -> list[Task]:
        """What may be disabled, once everything before that is done."""
        return [*(task for task in self.tasks if isinstance(task.action, DisableKey)), *self.reserves]

    def issues(self) -> tuple[list[Task], list[Task]]:
        """Return what there is to do about issues before the message and the disablings, and what after: first that of
        the access keys that the message names, or that are disabled.
        """
        before: set[str] = set()
        first: list[Task] = []
        later: list[Task] = []
        for one in self.tasks:
            if isinstance(one.action, SendMessage | DisableKey):
                before |= set(access_key_ids(one.action))
        for one in self.tasks:
            if isinstance(one.action, FileIssue | AssignIssue | CommentIssue):
                (first if before & set(access_key_ids(one.action)) else later).append(one)
        return first, later


class Executor:
    """Carries out the plans of one run: `run` in one thread, `finish` in another once the time is over."""

    def __init__(self, plans: Sequence[Plan], services: Services, settings: Settings, clock: RunClock) -> None:
        self._clock = clock
        self._writing = Workers(WRITES_AT_ONCE, thread_name_prefix="writing")
        numbers = itertools.count()

        def tasks_of(plan: Plan, actions: Iterable[Action]) -> tuple[Task, ...]:
            return tuple(Task(next(numbers), plan.profile, one) for one in actions)

        walks = [
            [_Walk(chain, tasks_of(plan, chain.actions), tasks_of(plan, chain.reserves)) for chain in plan.chains]
            for plan in plans
        ]
        self._places = _places(plans, [one for of_plan in walks for one in of_plan])
        tasks = [task for of_plan in walks for one in of_plan for task in one.tasks]
        self._in_turn = [one for turn in itertools.zip_longest(*walks) for one in turn if one is not None]
        self._ledger = Ledger(plans, tasks, settings, clock)
        self._means = Means(services, settings, clock, self._ledger, uuid.uuid4().hex)
        self._issues = IssueWork(self._means)

    def run(self) -> None:
        """Walk all chains; returns when all are walked, or soon after the run is over."""
        walks = [partial(self._walk, one) for one in self._in_turn]
        call_all(walks, CHAINS_AT_ONCE, "chain", lambda: self._clock.grace_seconds() <= 0)
        self._writing.shutdown(wait=False, cancel_futures=True)

    def finish(self) -> Outcomes:
        """Return what became of everything: see Ledger.close."""
        return self._ledger.close()

    @property
    def run_id(self) -> str:
        """Which run this is, as the state table has it where it disables."""
        return self._means.run_id

    def progress(self) -> tuple[int, int]:
        """Return how many actions have come to an end, and how many there are."""
        return self._ledger.progress()

    def newest(self, record: KeyRecord) -> KeyRecord:
        """Return the record of an access key as this run last wrote it, as far as it has; else the one given."""
        return self._ledger.newest(record)

    def _walk(self, walk: _Walk) -> None:
        try:
            self._carry_out(walk)
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001 - a fault of ours in one chain must not cost the others
            text = unexpected(error, "while acting")
            self._ledger.problem_of(walk.chain.profile, Level.ERROR, text)
        finally:
            for task in walk.candidates:  # those that it did not come to keep nobody waiting
                self._disable_in_turn(self._places.abandon(task))

    def _carry_out(self, walk: _Walk) -> None:
        self._note(walk)
        first, later = walk.issues()
        self._clock.check()
        begun = [self._writing.submit(self._see_to_issue, task) for task in first]
        try:
            issue_keys = self._gathered(begun, keeping=self._clock.remaining_seconds() / 2)
            for task in walk.tasks:
                match task.action:
                    case SendMessage():
                        send(self._means, task, task.action, issue_keys)
            for task in walk.candidates:
                if self._places.arrive(task):
                    self._disable_in_turn(task)
        finally:
            self._gathered(begun)  # what is in flight must be recorded
        for start in range(0, len(later), WRITES_AT_ONCE):  # so few at a time that other chains get their turn
            self._clock.check()
            some = later[start : start + WRITES_AT_ONCE]
            self._gathered([self._writing.submit(self._see_to_issue, task) for task in some])

    def _disable_in_turn(self, task: Task | None) -> None:
        """Disable one, and if it did not use its place, whoever is waiting for that."""
        while task is not None and isinstance(task.action, DisableKey):
            try:
                disable(self._means, task, task.action)
            except Stopped:
                return
            except Exception as error:  # noqa: BLE001 - nor must a fault of ours in one cost the next
                text = unexpected(error, "while disabling")
                self._ledger.problem(task, Level.ERROR, text)
            task = self._places.leave(task, has_used_it=self._ledger.has_used_its_place(task))

    def _note(self, walk: _Walk) -> None:
        """Write down what was seen, before anybody is told anything that rests on it."""
        self._clock.check()
        notes = [(task, task.action) for task in walk.tasks if isinstance(task.action, Observation)]
        futures = [self._writing.submit(note, self._means, task, action) for task, action in notes]
        for future in futures:
            future.result()

    def _see_to_issue(self, task: Task) -> dict[str, str]:
        """File, assign or comment; access key id -> issue key, if its open issue is known by then."""
        assert isinstance(task.action, FileIssue | AssignIssue | CommentIssue)  # noqa: S101 - `issues` gives no others
        try:
            issue_key = self._issues.see_to(task, task.action)
        except Stopped:
            return {}
        except Exception as error:  # noqa: BLE001 - what goes wrong with an issue must not cost the message
            text = unexpected(error, "while filing")
            self._ledger.problem(task, Level.ERROR, text)
            return {}
        return {} if issue_key is None else dict.fromkeys(access_key_ids(task.action), issue_key)

    def _gathered(self, futures: Sequence[Future[dict[str, str]]], *, keeping: float | None = None) -> dict[str, str]:
        """Return what is known once all are done, or, if sooner, once the run has only `keeping` seconds left."""
        while wait(futures, timeout=POLL_SECONDS).not_done:
            if keeping is not None and self._clock.remaining_seconds() <= keeping:
                break
        found: dict[str, str] = {}
        for future in futures:
            if future.done() and not future.cancelled():
                found |= future.result()
        return found


def _places(plans: Sequence[Plan], walks: Sequence[_Walk]) -> Places:
    """Return the places of each account: first for what was told that it is being disabled, then for the reserves, each
    oldest first.
    """
    candidates: dict[str, list[Task]] = defaultdict(list)
    for walk in walks:
        for task in walk.candidates:
            if isinstance(task.action, DisableKey):
                candidates[task.action.key.access_key.account_id].append(task)
    reserves = {task for walk in walks for task in walk.reserves}
    for tasks in candidates.values():
        tasks.sort(key=lambda task: (task in reserves, *_age(task)))
    places: dict[str, int] = defaultdict(int)
    for plan in plans:
        for account_id, count in plan.places.items():
            places[account_id] += count
    return Places(candidates, places)


def _age(task: Task) -> tuple[datetime, str]:
    assert isinstance(task.action, DisableKey)  # noqa: S101 - only such are candidates
    access_key = task.action.key.access_key
    return access_key.create_date, access_key.access_key_id
