"""One access key, about to be set Inactive: every last look that stops it, and what stays in the books if it fails.

In process, in milliseconds, on the sandbox's table in memory, which tests/test_sandbox_table.py holds to a real engine.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from keycheck.acting.disabling import disable
from keycheck.acting.ledger import Ledger, Task
from keycheck.acting.means import Means, Services
from keycheck.actions import DisableKey, Outcomes, Plan, Result, SkipReason
from keycheck.clock import Stopped
from keycheck.model import AccessKey, LastUse, Level
from keycheck.rules import writes
from keycheck.services import ClaimLost, Failure, ServiceError
from sandbox.in_memory import HourlyClock, MemoryAccount, MemoryClaims, MemoryIam
from tests.builders import ACCOUNT, DAY, HOUR, MINUTE, NOW, PROFILE, make_access_key, make_settings
from tests.situations import KEY, KEY_ID

SAID = "it said no"
BRAKE = writes.disablings_id(ACCOUNT)


def error(failure: Failure = Failure.REFUSED) -> ServiceError:
    return ServiceError("a service", "its operation", SAID, failure=failure)


@dataclass
class SpoiledIam(MemoryIam):
    """`on_deactivate`: raised instead of an answer, after it took effect where `is_served`."""

    account: MemoryAccount
    on_deactivate: Exception | None = None
    on_last_used: Exception | None = None
    is_served: bool = False
    asked: int = 0

    def __post_init__(self) -> None:
        super().__init__(self.account)

    def deactivate(self, access_key: AccessKey) -> bool:
        self.asked += 1
        if self.on_deactivate is None:
            return super().deactivate(access_key)
        if self.is_served:
            super().deactivate(access_key)
        raise self.on_deactivate

    def last_used(self, access_key: AccessKey) -> LastUse:
        if self.on_last_used is not None:
            raise self.on_last_used
        return super().last_used(access_key)


class SpoiledClaims(MemoryClaims):
    """`before`: called with the name of each write before it is made, `take_disabling` among them."""

    def __init__(self, account: MemoryAccount, before: Callable[[str], None]) -> None:
        super().__init__(account)
        self._before = before

    def apply(self, write: writes.Write) -> dict[str, writes.Value]:
        self._before(write.name)
        return dict(super().apply(write))

    def take_disabling(self, account_id: str, at: datetime, most: int) -> bool:
        self._before("take_disabling")
        return super().take_disabling(account_id, at, most)


@dataclass
class Desk:
    """Everything that is needed to disable KEY, whose owner was warned: change what differs."""

    was_warned: bool = True
    needs_warning: bool = True
    iams: list[SpoiledIam] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    spoiled: dict[str, Exception] = field(default_factory=dict)
    before: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        self.account = MemoryAccount(ACCOUNT, NOW, keys={KEY_ID: KEY.access_key})
        self.iams = self.iams or [SpoiledIam(self.account)]
        self.clock = HourlyClock(NOW)
        self.clock.set_timeout(60)
        settings = make_settings(**self.settings)
        self.task = Task(0, PROFILE, DisableKey(KEY, self.needs_warning, self.was_warned))
        self.ledger = Ledger([Plan(PROFILE)], [self.task], settings, self.clock)
        services = Services(SpoiledClaims(self.account, self._spoil), None, None, {KEY_ID: self.iams})
        self.means = Means(services, settings, self.clock, self.ledger, "run-7")

    def _spoil(self, write: str) -> None:
        self.before(write)
        if write in self.spoiled:
            raise self.spoiled[write]

    def disable(self) -> Outcomes:
        assert isinstance(self.task.action, DisableKey)
        disable(self.means, self.task, self.task.action)
        return self.ledger.close()

    @property
    def item(self) -> dict[str, object]:
        return dict(self.account.items.get(KEY_ID, {}))

    @property
    def places_taken(self) -> int:
        times = self.account.items.get(BRAKE, {}).get("disabled_times", ())
        assert isinstance(times, tuple)
        return len(times)

    @property
    def status(self) -> str:
        return self.account.keys[KEY_ID].status


def ended(closed: Outcomes) -> Result | SkipReason:
    """Its one end."""
    ends: list[Result | SkipReason] = [one.result for one in closed.outcomes]
    ends += [skip.reason for skip in closed.skips]
    (end,) = ends
    return end


def errors(closed: Outcomes) -> list[str]:
    return [problem.text for problem in closed.problems if problem.level is Level.ERROR]


def assert_untouched(desk: Desk) -> None:
    """Nothing was asked of IAM, and nothing is on record of it."""
    assert [iam.asked for iam in desk.iams] == [0] * len(desk.iams)
    assert desk.status == "Active"
    assert "disabling_at" not in desk.item
    assert desk.places_taken == 0


# All is well


def test_it_is_inactive_and_recorded_with_the_run_and_why() -> None:
    desk = Desk()
    closed = desk.disable()
    assert (ended(closed), desk.status, errors(closed)) == (Result.DONE, "Inactive", [])
    assert desk.item["disabled_by"] == "run-7"
    assert desk.item["disabled_why"] == "expired: 197 days old"
    assert "disabling_at" not in desk.item
    assert desk.places_taken == 1


def test_the_intent_is_on_record_before_iam_is_asked() -> None:
    seen: dict[str, tuple[int, bool]] = {}

    def look(write: str) -> None:
        seen[write] = (desk.iams[0].asked, "disabling_at" in desk.item)

    desk = Desk(before=look)
    desk.disable()
    assert seen == {"take_disabling": (0, False), "begin_disabling": (0, False), "record_disabled": (1, True)}


# What stops it


def test_nobody_is_disabled_whom_this_run_was_to_warn_and_did_not() -> None:
    desk = Desk(was_warned=False)
    assert ended(desk.disable()) is SkipReason.NOBODY_TOLD
    assert_untouched(desk)


def test_a_warning_that_this_run_has_on_record_counts() -> None:
    desk = Desk(was_warned=False)
    desk.ledger.record(desk.task, lambda: None, "", KEY_ID)
    assert ended(desk.disable()) is Result.DONE


def test_where_neither_slack_nor_jira_is_on_nobody_need_be_warned() -> None:
    assert ended(Desk(was_warned=False, needs_warning=False).disable()) is Result.DONE


@pytest.mark.parametrize("was_warned", [True, False])
def test_it_stays_active_while_another_run_has_its_issue_or_its_message(was_warned: bool) -> None:
    """Should that run have died, nobody would file or send anything about an inactive access key."""
    desk = Desk(was_warned=was_warned)
    desk.ledger._claimed[KEY_ID] = True
    assert ended(desk.disable()) is SkipReason.CLAIMED
    assert_untouched(desk)


@pytest.mark.parametrize("age", [-HOUR, HOUR, 24 * HOUR - MINUTE])
def test_a_use_since_the_plan_was_made_stops_it(age: object) -> None:
    desk = Desk(settings={"disable_in_use_hours": "24"})
    desk.account.last_uses[KEY_ID] = LastUse(NOW - age, "s3", "eu-west-1")  # type: ignore[operator]
    assert ended(desk.disable()) is SkipReason.IN_USE
    assert_untouched(desk)


def test_a_last_use_that_cannot_be_read_counts_as_a_use() -> None:
    desk = Desk(settings={"disable_in_use_hours": "24"})
    desk.iams[0].on_last_used = error()
    assert ended(desk.disable()) is SkipReason.IN_USE
    assert_untouched(desk)


def test_the_days_brake_stops_it() -> None:
    desk = Desk(settings={"max_disables_per_day": "1"})
    desk.means.claims.take_disabling(ACCOUNT, NOW - HOUR, 1)
    assert ended(desk.disable()) is SkipReason.BRAKE
    assert (desk.iams[0].asked, desk.item, desk.places_taken) == (0, {}, 1)


@pytest.mark.parametrize(
    "item",
    [
        {"disabling_at": writes.floor(NOW - MINUTE), "disabling_claim": "theirs"},
        {"disabled_at": writes.floor(NOW - MINUTE)},
        {"disable_from": writes.floor(NOW + DAY)},
    ],
    ids=["another run has begun", "another run has done it, and a person may have undone it", "a later day was told"],
)
def test_what_another_run_has_written_meanwhile_stops_it_and_the_place_is_given_back(item: dict[str, int]) -> None:
    desk = Desk()
    desk.account.items[KEY_ID] = {"iam_access_key_id": KEY_ID, **item}
    assert ended(desk.disable()) is SkipReason.CLAIMED
    assert (desk.iams[0].asked, desk.places_taken, desk.status) == (0, 0, "Active")
    assert desk.item == {"iam_access_key_id": KEY_ID, **item}


@pytest.mark.parametrize("write", ["take_disabling", "begin_disabling"])
def test_a_table_that_fails_stops_it(write: str) -> None:
    desk = Desk(spoiled={write: error()})
    closed = desk.disable()
    assert ended(closed) is SkipReason.NO_STATE
    assert (desk.iams[0].asked, desk.status) == (0, "Active")
    assert errors(closed) == [f"{SAID}; without state nothing more is filed, sent or disabled"]


@pytest.mark.parametrize("write", ["take_disabling", "begin_disabling"])
def test_a_signal_in_the_middle_leaves_nothing_behind(write: str) -> None:
    def stop(made: str) -> None:
        if made == write:
            desk.clock._on_signal(signal.SIGTERM, None)

    desk = Desk(before=stop)
    with pytest.raises(Stopped):
        desk.disable()
    assert_untouched(desk)
    assert ended(desk.ledger.close()) is SkipReason.OUT_OF_TIME


# What becomes of the request


@pytest.mark.parametrize("failure", [Failure.REFUSED, Failure.SERVER_ERROR, Failure.NO_ANSWER])
def test_a_refusal_gives_back_the_intent_and_the_place(failure: Failure) -> None:
    desk = Desk()
    desk.iams[0].on_deactivate = error(failure)
    closed = desk.disable()
    assert (ended(closed), errors(closed), desk.status) == (Result.REFUSED, [SAID], "Active")
    assert "disabling_at" not in desk.item
    assert desk.places_taken == 0


@pytest.mark.parametrize("is_served", [False, True])
def test_an_unknown_outcome_keeps_the_intent_which_the_next_scan_settles(is_served: bool) -> None:
    desk = Desk()
    desk.iams[0].on_deactivate, desk.iams[0].is_served = error(Failure.UNKNOWN), is_served
    closed = desk.disable()
    assert ended(closed) is Result.UNKNOWN
    assert errors(closed) == [f"{SAID}; access key ...VHXVM of dev_kramer (expired, 197 days old) may be disabled"]
    assert desk.item["disabling_at"] == writes.floor(NOW)
    assert desk.places_taken == 1


def test_an_access_key_that_is_gone_needs_no_disabling() -> None:
    desk = Desk()
    desk.account.keys.clear()
    closed = desk.disable()
    assert (ended(closed), errors(closed), desk.places_taken) == (Result.NOT_NEEDED, [], 0)
    assert "disabling_at" not in desk.item


@pytest.mark.parametrize("spoiler", [ClaimLost(), error(), Stopped()], ids=["lost", "failed", "stopped"])
def test_what_was_done_and_not_recorded_is_said_and_counts_as_done(spoiler: Exception) -> None:
    desk = Desk(spoiled={"record_disabled": spoiler})
    closed = desk.disable()
    assert (ended(closed), desk.status, len(errors(closed))) == (Result.DONE, "Inactive", 1)
    assert errors(closed)[0].startswith("that access key ...VHXVM of dev_kramer (expired, 197 days old) was disabled")
    assert "disabling_at" in desk.item, "so that a later scan confirms it"


# Through several profiles


def through_two(first: Exception) -> Desk:
    desk = Desk()
    other = SpoiledIam(desk.account, first)
    desk.iams.insert(0, other)
    return desk


def test_where_the_first_profile_may_not_the_next_one_does() -> None:
    desk = through_two(error())
    assert (ended(desk.disable()), [iam.asked for iam in desk.iams]) == (Result.DONE, [1, 1])


def test_where_the_first_profile_may_have_done_it_no_other_is_asked() -> None:
    desk = through_two(error(Failure.UNKNOWN))
    assert (ended(desk.disable()), [iam.asked for iam in desk.iams]) == (Result.UNKNOWN, [1, 0])


def test_only_the_access_key_that_was_named_is_touched() -> None:
    desk = Desk()
    other = make_access_key("dev_kramer", access_key_id="AKIAIOSFODNN7EXOTHER")
    desk.account.keys[other.access_key_id] = other
    desk.disable()
    assert desk.account.keys[other.access_key_id] == other
    assert [access_key_id for _, access_key_id in desk.account.disabled] == [KEY_ID]
