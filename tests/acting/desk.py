"""Everything that one action of a run needs, in process: the sandbox's account in memory, each call of which can fail.

In: an action, what of its calls is to go wrong. Out: what became of it in the books, and what the account then holds.
That the table in memory does what an engine does is in tests/test_sandbox_table.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from keycheck.acting.ledger import Ledger, Task
from keycheck.acting.means import Means, Services
from keycheck.actions import Action, Outcomes, Plan, Result, SkipReason
from keycheck.model import Level
from keycheck.rules import other_writes
from keycheck.rules.changes import Value, Write
from keycheck.services import Failure, Iam, Issues, Messages, ServiceError
from sandbox.in_memory import HourlyClock, MemoryAccount, MemoryClaims
from tests.builders import ACCOUNT, NOW, PROFILE, make_settings
from tests.situations import KEY, KEY_ID

SAID = "it said no"
BRAKE = other_writes.disablings_id(ACCOUNT)


def error(failure: Failure = Failure.REFUSED) -> ServiceError:
    return ServiceError("a service", "its operation", SAID, failure=failure)


class Spoiled:
    """An adapter whose methods raise what `errors` says, by method; those in `served` take effect before they do."""

    def __init__(self, real: object, errors: Mapping[str, Exception] | None = None, served: Sequence[str] = ()) -> None:
        self.real = real
        self.errors = dict(errors or {})
        self.served = served
        self.asked: list[str] = []

    def __getattr__(self, method: str) -> Any:
        found = getattr(self.real, method)
        if not callable(found):
            return found

        def call(*arguments: Any) -> Any:
            self.asked.append(method)
            if method not in self.errors:
                return found(*arguments)
            if method in self.served:
                found(*arguments)
            raise self.errors[method]

        return call


class SpoiledClaims(MemoryClaims):
    """`before`: called with the name of each write before it is made, `take_disabling` among them."""

    def __init__(self, account: MemoryAccount, before: Callable[[str], None]) -> None:
        super().__init__(account)
        self._before = before

    def apply(self, write: Write) -> dict[str, Value]:
        self._before(write.name)
        return dict(super().apply(write))

    def take_disabling(self, account_id: str, at: datetime, most: int) -> bool:
        self._before("take_disabling")
        return super().take_disabling(account_id, at, most)


class Desk:
    """`spoiled`: what a write raises, by its name. `before`: called with the name of each write before it is made."""

    def __init__(
        self,
        action: Action,
        *,
        settings: Mapping[str, str] | None = None,
        spoiled: Mapping[str, Exception] | None = None,
        before: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.account = MemoryAccount(ACCOUNT, NOW, keys={KEY_ID: KEY.access_key})
        self.iams = [Spoiled(self.account.open_iam(PROFILE))]
        self.issues = Spoiled(self.account.open_issues())
        self.messages = Spoiled(self.account.open_messages())
        self.clock = HourlyClock(NOW)
        self.clock.set_timeout(60)
        self.task = Task(0, PROFILE, action)
        parsed = make_settings(**(settings or {}))
        self.ledger = Ledger([Plan(PROFILE)], [self.task], parsed, self.clock)
        self._spoiled, self._before = dict(spoiled or {}), before
        services = Services(
            SpoiledClaims(self.account, self._spoil),
            cast("Issues", self.issues),
            cast("Messages", self.messages),
            {KEY_ID: cast("list[Iam]", self.iams)},
        )
        self.means = Means(services, parsed, self.clock, self.ledger, "run-7")

    def _spoil(self, write: str) -> None:
        self._before(write)
        if write in self._spoiled:
            raise self._spoiled[write]

    def item(self, name: str = KEY_ID) -> dict[str, Any]:
        """What the state table holds of the access key, or of whatever is named."""
        return dict(self.account.items.get(name, {}))

    @property
    def places_taken(self) -> int:
        return len(self.item(BRAKE).get("disabled_times", ()))

    @property
    def status(self) -> str:
        return self.account.keys[KEY_ID].status


def ended(closed: Outcomes) -> Result | SkipReason:
    """Its one end."""
    ends: list[Result | SkipReason] = [one.result for one in closed.outcomes]
    ends += [skip.reason for skip in closed.skips]
    (end,) = set(ends)
    return end


def said(closed: Outcomes, level: Level = Level.ERROR) -> list[str]:
    return [problem.text for problem in closed.problems if problem.level is level]
