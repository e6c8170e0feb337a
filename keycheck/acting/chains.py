"""Walks the chains of all plans side by side, profiles taking turns, and closes the books. Shell.

In: plans, services, settings, the run's clock. Out: Outcomes. Within a chain the order is fixed; its notes are
written side by side, and so are its issues seen to.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import partial

from keycheck.acting.disabling import disable
from keycheck.acting.issues import IssueWork
from keycheck.acting.ledger import Ledger, Task, access_key_ids
from keycheck.acting.means import Means, Services
from keycheck.acting.messages import send
from keycheck.acting.notes import note
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
)
from keycheck.clock import RunClock, Stopped
from keycheck.model import Level
from keycheck.settings import Settings
from keycheck.workers import Workers, call_all

CHAINS_AT_ONCE = 8
WRITES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class _Walk:
    """A chain and its tasks, in the order in which they are carried out."""

    chain: Chain
    tasks: tuple[Task, ...]


class Executor:
    """Carries out the plans of one run: `run` in one thread, `finish` in another once the time is over."""

    def __init__(self, plans: Sequence[Plan], services: Services, settings: Settings, clock: RunClock) -> None:
        self._clock = clock
        self._writing = Workers(WRITES_AT_ONCE, thread_name_prefix="writing")
        numbers = itertools.count()
        walks = [
            [
                _Walk(chain, tuple(Task(next(numbers), plan.profile, one) for one in actions_of(chain)))
                for chain in plan.chains
            ]
            for plan in plans
        ]
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

    def _walk(self, walk: _Walk) -> None:
        try:
            self._carry_out(walk)
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001 - a fault of ours in one chain must not cost the others
            text = f"unexpected {type(error).__name__} while acting; please report it"
            self._ledger.problem_of(walk.chain.profile, Level.ERROR, text)

    def _carry_out(self, walk: _Walk) -> None:
        self._note(walk)
        issue_keys = self._see_to_issues(walk)
        for task in walk.tasks:
            match task.action:
                case SendMessage():
                    send(self._means, task, task.action, issue_keys)
                case DisableKey():
                    disable(self._means, task, task.action)

    def _note(self, walk: _Walk) -> None:
        """Write down what was seen, before anybody is told anything that rests on it."""
        self._clock.check()
        notes = [(task, task.action) for task in walk.tasks if isinstance(task.action, Observation)]
        futures = [self._writing.submit(note, self._means, task, action) for task, action in notes]
        for future in futures:
            future.result()

    def _see_to_issues(self, walk: _Walk) -> dict[str, str]:
        """File, assign and comment; access key id -> issue key of those whose open issue is known by then."""
        self._clock.check()
        futures = [
            (task, self._writing.submit(self._issues.see_to, task, task.action))
            for task in walk.tasks
            if isinstance(task.action, FileIssue | AssignIssue | CommentIssue)
        ]
        issue_keys: dict[str, str] = {}
        for task, future in futures:
            try:
                issue_key = future.result()
            except (Stopped, CancelledError):
                continue
            except Exception as error:  # noqa: BLE001 - what goes wrong with an issue must not cost the message
                text = f"unexpected {type(error).__name__} while filing; please report it"
                self._ledger.problem(task, Level.ERROR, text)
                continue
            if issue_key is not None:
                issue_keys |= dict.fromkeys(access_key_ids(task.action), issue_key)
        return issue_keys


def actions_of(chain: Chain) -> Iterator[Action]:
    """Return all actions of a chain in the order in which they are taken."""
    yield from chain.notes
    yield from chain.issue_actions
    if chain.message is not None:
        yield chain.message
    yield from chain.disablings
