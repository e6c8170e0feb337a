"""The life of a notice: what gives it, keeps it and makes it void, and that nothing is disabled on one that is not.

By plans of single runs; and day after day, through the real writes on the sandbox's table in memory, held to a second
account of the rules that the test keeps for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keycheck.acting.means import Means
from keycheck.acting.notes import write_of
from keycheck.actions import MessageKey, NextStep, Observation, ObservationKind, Plan, SkipReason
from keycheck.labels import label_key
from keycheck.model import AddresseeRecord, Exemption, LabelledKey, Owner, State, Void
from keycheck.planning import plan_profile
from keycheck.rules import writes
from keycheck.rules.case import SharedFacts, UserFacts, first_instant
from keycheck.rules.changes import Write
from keycheck.rules.writes import Given
from keycheck.services.state_items import key_record
from sandbox.in_memory import MemoryAccount, MemoryClaims
from tests.builders import (
    ACCOUNT,
    DAY,
    HOUR,
    MINUTE,
    NOW,
    PROFILE,
    SECOND,
    make_facts,
    make_key,
    make_settings,
)
from tests.situations import (
    BY_EMAIL,
    EXEMPTION,
    FALLBACK,
    HOLDS,
    JONES,
    JUST_MESSAGED,
    KEY,
    KEY_ID,
    KRAMER,
    NOBODY,
    REPEATABLE,
    UNREAD,
    Situation,
    disabled,
    notes,
    refusals,
)

UNTOLD = {"warned_at": None, "warned_owner": None}
SLACK_ONLY = {"create_jira": "False"}
A_WEEK = {"disable_notice_days": "7"}


def seen(planned: Plan) -> list[tuple[ObservationKind, Void | None]]:
    return [(note.kind, note.why) for note in notes(planned)]


def named(planned: Plan) -> list[MessageKey]:
    return [one for chain in planned.chains if chain.message for one in chain.message.keys]


# Void


def younger(age_days: int, status: str = "Active") -> LabelledKey:
    return make_key(age_days=age_days, status=status)


VOID: dict[str, tuple[Situation, Void]] = {
    "it stays active": (Situation(settings={"disable_key": "False"}), Void.STAYS_ACTIVE),
    "keycheck depends on it": (Situation(own=[KEY_ID]), Void.STAYS_ACTIVE),
    "another owner": (Situation(owner=JONES, settings=A_WEEK), Void.OTHER_OWNER),
    "no known owner any more": (Situation(owner=FALLBACK, settings=A_WEEK), Void.OTHER_OWNER),
    "it needs no rotating": (Situation(keys=(younger(100),)), Void.NOT_DUE),
    "somebody else deactivated it": (Situation(keys=(younger(197, "Inactive"),)), Void.INACTIVE),
    "it expired at AWS": (Situation(keys=(younger(197, "Expired"),)), Void.INACTIVE),
    "a person re-enabled it": (Situation(record={"disabled_at": NOW - DAY}), Void.REENABLED),
    "active again": (Situation(record={"inactive_at": NOW - DAY}), Void.REENABLED),
    "an intent without a confirmation": (Situation(record={"disabling_at": NOW - DAY}), Void.REENABLED),
}


@pytest.mark.parametrize(("situation", "why"), VOID.values(), ids=VOID.keys())
def test_what_makes_a_notice_void_is_written_down_and_nothing_is_disabled(situation: Situation, why: Void) -> None:
    planned = situation.plan()
    assert [one for _, one in seen(planned)] == [why]
    assert disabled(planned) == []


def test_an_exemption_makes_it_void() -> None:
    planned = Situation(user={"exemption": EXEMPTION}).plan()
    assert seen(planned) == [(ObservationKind.EXEMPT, None)]
    assert disabled(planned) == []


def test_an_access_key_that_is_gone_has_no_notice_any_more() -> None:
    """Or each run would read its record for ever."""
    gone = Situation()
    facts = make_facts([make_key("somebody_else", access_key_id="AKIAIOSFODNN7EXOTHER")])
    planned = plan_profile(PROFILE, [], facts, gone.known(), make_settings(), NOW)
    assert seen(planned) == [(ObservationKind.VOID, Void.GONE)]


@pytest.mark.parametrize("name", [name for name, (_, why) in VOID.items() if why is not Void.NOT_DUE])
def test_where_there_is_no_notice_there_is_nothing_to_void(name: str) -> None:
    situation, _ = VOID[name]
    it = replace(situation, record={**situation.record, **UNTOLD})
    assert ObservationKind.VOID not in [kind for kind, _ in seen(it.plan())]


@pytest.mark.parametrize("hold", HOLDS, ids=lambda hold: hold.name)
def test_what_could_not_be_read_neither_keeps_nor_voids(hold: SkipReason) -> None:
    for changes in ({}, {"owner": JONES}):
        it = Situation(record={"notice_kept_at": NOW - 5 * DAY}, user={"not_disabled_because": hold}, **changes)  # type: ignore[arg-type]
        assert seen(it.plan()) == []
        assert refusals(it.plan()) == [hold]


def test_an_owner_that_could_not_be_read_neither_keeps_nor_voids() -> None:
    it = Situation(record={"notice_kept_at": NOW - 5 * DAY}, owner=UNREAD)
    assert seen(it.plan()) == []
    assert refusals(it.plan()) == [SkipReason.OWNER_UNREAD]


def test_an_owner_of_whom_nobody_knows_whether_they_can_be_told_neither_keeps_nor_voids() -> None:
    """A message goes out all the same, and nothing is disabled."""
    owner = replace(KRAMER, is_unsure=True)
    it = Situation(record={"notice_kept_at": NOW - 5 * DAY}, owner=owner)
    assert seen(it.plan()) == []
    assert refusals(it.plan()) == [SkipReason.OWNER_UNREAD]
    assert len(named(it.plan())) == 1


def test_where_nobody_is_told_anything_a_notice_is_left_as_it_is() -> None:
    it = Situation(settings={"create_jira": "False", "send_slack": "False"}, record={"notice_kept_at": NOW - 5 * DAY})
    assert seen(it.plan()) == []
    assert disabled(it.plan()) == [KEY_ID]


def test_after_a_void_notice_the_next_one_runs_its_whole_length() -> None:
    """Told, then "it stays active" for months, then switched on again: notice_switched_off."""
    (one,) = named(Situation(record=UNTOLD, settings={"disable_notice_days": "7"}).plan())
    assert one.outlook.day == first_instant(NOW + 7 * DAY)
    assert disabled(Situation(record=UNTOLD, settings={"disable_notice_days": "7"}).plan()) == []


# Lapsed, and kept


@pytest.mark.parametrize(
    ("ago", "expected"),
    [(14 * DAY - SECOND, [KEY_ID]), (14 * DAY, []), (90 * DAY, [])],
    ids=["a second short of two weeks", "two weeks", "three months"],
)
def test_a_notice_that_no_run_kept_for_two_weeks_is_void(ago: timedelta, expected: list[str]) -> None:
    it = Situation(record={"warned_at": NOW - 100 * DAY, "notice_kept_at": NOW - ago}, messaged=JUST_MESSAGED)
    assert disabled(it.plan()) == expected
    assert (SkipReason.NOT_TOLD_YET in refusals(it.plan())) is not bool(expected)


@pytest.mark.parametrize(
    ("kept", "is_message_due", "is_noted"),
    [
        pytest.param(HOUR, False, False, id="this hour"),
        pytest.param(DAY - SECOND, False, False, id="a second short of a day"),
        pytest.param(DAY, False, True, id="a day"),
        pytest.param(DAY, True, False, id="a day, and the message keeps it"),
        pytest.param(2 * DAY, True, True, id="two days, though a message should have kept it"),
        pytest.param(14 * DAY, False, False, id="it is void"),
    ],
)
def test_a_run_that_would_still_say_so_keeps_a_notice_once_a_day(
    kept: timedelta, is_message_due: bool, is_noted: bool
) -> None:
    record = {"warned_at": NOW - 20 * DAY, "notice_kept_at": NOW - kept}
    it = Situation(record=record, settings={"disable_notice_days": "30"})
    if not is_message_due:
        it.messaged = JUST_MESSAGED
    assert (ObservationKind.KEPT in [kind for kind, _ in seen(it.plan())]) is is_noted


def test_an_expiring_access_keys_notice_is_kept_too() -> None:
    record = {"notice_kept_at": NOW - DAY}
    it = Situation(keys=(make_key(age_days=170),), record=record, messaged=JUST_MESSAGED)
    assert seen(it.plan()) == [(ObservationKind.KEPT, None)]


# Given


def test_a_notice_names_the_owner_and_the_day() -> None:
    (one,) = named(Situation(record=UNTOLD, settings={"disable_notice_days": "7"}).plan())
    assert one.promise is not None
    assert (one.promise.owner, one.promise.day) == (KRAMER.identity, first_instant(NOW + 7 * DAY))


@pytest.mark.parametrize(
    ("situation", "step"),
    [
        pytest.param(Situation(record=UNTOLD, settings={"disable_key": "False"}), NextStep.STAYS_ACTIVE, id="off"),
        pytest.param(Situation(record=UNTOLD, own=[KEY_ID]), NextStep.NEVER_DISABLED, id="own"),
    ],
)
def test_what_names_no_day_promises_nothing(situation: Situation, step: NextStep) -> None:
    (one,) = named(situation.plan())
    assert (one.outlook.next_step, one.promise) == (step, None)


@pytest.mark.parametrize("owner", [BY_EMAIL], ids=["known by e-mail alone, and the fallback channel hears of it"])
def test_a_day_told_to_somebody_else_holds_and_gives_no_notice(owner: Owner) -> None:
    (one,) = named(Situation(record=UNTOLD, owner=owner, settings=SLACK_ONLY).plan())
    assert one.promise is not None
    assert (one.promise.owner, one.promise.day) == (None, one.outlook.day)


def test_the_latest_day_told_outlives_a_void_notice_an_exemption_and_other_settings() -> None:
    """Told "from day 30", exempt for a day, then a notice of no days: notice_exempt_day."""
    told = first_instant(NOW + 30 * DAY)
    it = Situation(record={**UNTOLD, "disable_from": told}, settings={"disable_notice_days": "0"})
    (one,) = named(it.plan())
    assert disabled(it.plan()) == []
    assert (one.outlook.next_step, one.outlook.day) == (NextStep.DISABLED_FROM, told)


# Taken back by a person

TAKEN: dict[str, dict[str, Any]] = {
    "keycheck disabled it": {"disabled_at": NOW - DAY, "disabled_by": "run-1"},
    "the owner deactivated it": {"inactive_at": NOW - 20 * DAY},
    "keycheck began to disable it": {"disabling_at": NOW - 20 * MINUTE},
    "again, by the owner, after it was re-enabled": {
        "disabled_at": NOW - 60 * DAY,
        "reenabled_at": NOW - 40 * DAY,
        "inactive_at": NOW - 20 * DAY,
    },
}


@pytest.mark.parametrize("taken", TAKEN.values(), ids=TAKEN.keys())
def test_what_comes_back_is_left_alone_whoever_took_it_away(taken: dict[str, Any]) -> None:
    it = Situation(record=taken, settings={"reenable_grace_days": "7", **SLACK_ONLY})
    planned = it.plan()
    assert seen(planned) == [(ObservationKind.REENABLED, Void.REENABLED)]
    assert refusals(planned) == [SkipReason.REENABLED]
    (one,) = named(planned)
    assert (one.outlook.next_step, one.outlook.day) == (NextStep.LEFT_ALONE, first_instant(NOW + 7 * DAY))
    assert one.promise is not None
    assert one.promise.owner is None, "no notice is given while it is left alone"


@pytest.mark.parametrize("taken", TAKEN.values(), ids=TAKEN.keys())
@pytest.mark.parametrize(
    "expected", [SkipReason.NOTICE, SkipReason.NOT_TOLD_YET, SkipReason.NOBODY_TOLD], ids=["told", "soon", "cannot be"]
)
def test_after_the_grace_comes_a_new_notice_of_the_whole_length(taken: dict[str, Any], expected: SkipReason) -> None:
    """Where its owner cannot be told anything it stays active, and that is said."""
    back = {"disabled_at": taken.get("disabled_at"), "reenabled_at": NOW - 7 * DAY, **UNTOLD}
    it = Situation(record=back, settings={"disable_notice_days": "7", **SLACK_ONLY})
    if expected is SkipReason.NOT_TOLD_YET:
        it.messaged = JUST_MESSAGED
    if expected is SkipReason.NOBODY_TOLD:
        it.owner = NOBODY
    planned = it.plan()
    assert disabled(planned) == []
    assert refusals(planned) == [expected]
    if expected is SkipReason.NOTICE:
        (one,) = named(planned)
        assert one.promise is not None
        assert (one.promise.owner, one.outlook.day) == (KRAMER.identity, first_instant(NOW + 7 * DAY))


@pytest.mark.parametrize("name", ["disabled_at", "disabling_at", "inactive_at"])
def test_what_iam_may_not_show_yet_was_not_taken_back(name: str) -> None:
    planned = Situation(record={name: NOW - 15 * MINUTE + SECOND}).plan()
    assert seen(planned) == []
    assert refusals(planned) == [SkipReason.JUST_DISABLED]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param({}, [(ObservationKind.INACTIVE, Void.INACTIVE)], id="somebody else"),
        pytest.param({"inactive_at": NOW - DAY}, [], id="seen before"),
        pytest.param({"disabled_at": NOW - DAY}, [], id="keycheck"),
        pytest.param(
            {"disabled_at": NOW - 9 * DAY, "reenabled_at": NOW - 8 * DAY},
            [(ObservationKind.INACTIVE, Void.INACTIVE)],
            id="somebody else, after it was re-enabled",
        ),
    ],
)
def test_that_somebody_else_deactivated_it_is_noted_once(known: dict[str, Any], expected: list[Any]) -> None:
    it = Situation(keys=(younger(197, "Inactive"),), record={**known, "issue_key": "SEC-1"}, open_issues=None)
    assert seen(it.plan()) == expected


# Day after day


@dataclass(frozen=True)
class Day:
    """What a run meets, `passes` days after the one before."""

    passes: int
    disable_key: bool
    notice_days: int
    owner: Owner
    exemption: Exemption | None
    hold: SkipReason | None
    is_delivered: bool
    person: str


DAYS = st.lists(
    st.builds(
        Day,
        passes=st.sampled_from([1, 1, 1, 1, 3, 13, 14]),
        disable_key=st.sampled_from([True, True, True, True, False]),
        notice_days=st.sampled_from([0, 0, 3, 7]),
        owner=st.sampled_from([KRAMER, KRAMER, KRAMER, KRAMER, JONES, FALLBACK, BY_EMAIL, UNREAD]),
        exemption=st.sampled_from([None, None, None, None, None, EXEMPTION]),
        hold=st.sampled_from([None, None, None, None, None, HOLDS[0]]),
        is_delivered=st.sampled_from([True, True, False]),
        person=st.sampled_from(["", "", "", "", "", "deactivates", "activates"]),
    ),
    min_size=1,
    max_size=25,
)
GRACE = 7 * DAY


@dataclass
class Told:
    """The rules of design.md 5 once more, by what people were told and what they did: not by any record."""

    owner: str = ""
    since: datetime | None = None
    kept: datetime = NOW
    days: tuple[datetime, ...] = ()
    was_seen_inactive: bool = False
    taken_back: datetime | None = None

    def run(self, day: Day, now: datetime, *, is_active: bool, has_record: bool) -> None:
        """What a run sees before anybody is told."""
        if not is_active:
            self.since = None
            self.was_seen_inactive |= has_record
            return
        if day.exemption is not None:
            self.since = None
            return
        if self.was_seen_inactive:
            self.was_seen_inactive, self.taken_back, self.since = False, now, None
        if now - self.kept >= 14 * DAY or not day.disable_key:
            self.since = None
        if day.hold is None and day.owner is not UNREAD:
            if day.owner.identity != self.owner:
                self.since = None
            self.kept = now if self.since is not None else self.kept

    def hears(self, day: Day, now: datetime, one: MessageKey) -> None:
        if one.outlook.day is None:
            return
        self.days += (one.outlook.day,)
        is_left_alone = self.taken_back is not None and now - self.taken_back < GRACE
        is_owner = not day.owner.is_told_by_others
        if day.hold is None and is_owner and not is_left_alone:
            if self.since is None:
                self.owner, self.since = day.owner.identity, now
            self.kept = now

    def why_not(self, day: Day, now: datetime) -> str:
        if self.since is None:
            return "nobody had notice"
        if self.owner != day.owner.identity:
            return "another had notice"
        if now - self.since < day.notice_days * DAY:
            return "the notice is not over"
        if max(self.days) > now:
            return "a later day was told"
        if self.taken_back is not None and now - self.taken_back < GRACE:
            return "a person has just taken it back"
        return ""


@given(DAYS)
@REPEATABLE
def test_from_day_to_day_nobody_is_cut_off_but_on_a_notice_in_force(days: list[Day]) -> None:
    claims, told, now, is_active = MemoryClaims(MemoryAccount(ACCOUNT, NOW)), Told(), NOW, True
    messaged: dict[str, AddresseeRecord] = {}
    for day in days:
        now += day.passes * DAY
        is_active = {"deactivates": False, "activates": True}.get(day.person, is_active)
        access_key = replace(KEY.access_key, status="Active" if is_active else "Inactive")
        key = label_key(access_key, now, expire_age=180, expiring_days=15)
        item = claims._items.get(KEY_ID, {})
        record = key_record(KEY_ID, item)
        state = State({KEY_ID: record} if item else {}, messaged)
        facts = make_facts([key], {"dev_kramer": UserFacts(day.owner, day.exemption, day.hold)})
        switched = make_settings(
            create_jira="False", disable_key=str(day.disable_key), disable_notice_days=str(day.notice_days)
        )
        planned = plan_profile(PROFILE, [key], facts, SharedFacts(state, {}, frozenset()), switched, now)
        told.run(day, now, is_active=is_active, has_record=bool(item))
        for note in notes(planned):
            claims.apply(written(note, now))
        for message in [chain.message for chain in planned.chains if chain.message and day.is_delivered]:
            messaged[message.addressee.record_id] = AddresseeRecord(messaged_at=now)
            (one,) = message.keys
            promised = None if one.promise is None else Given(one.record, one.promise, now)
            claims.apply(writes.record_told(access_key, now, promised))
            told.hears(day, now, one)
        for one_key in [one for chain in planned.chains for one in chain.disablings]:
            if one_key.has_notice or day.is_delivered:  # acting/ waits for the delivery
                assert told.why_not(day, now) == ""
                assert is_active
                assert day.exemption is None
                assert day.hold is None
                return


def written(note: Observation, now: datetime) -> Write:
    means = cast("Means", SimpleNamespace(clock=SimpleNamespace(now=now), run_id="run-1"))
    write = write_of(means, note)
    assert write is not None
    return write


@pytest.mark.parametrize("change", [lambda day: day, lambda day: replace(day, notice_days=7)], ids=["none", "a week"])
def test_in_quiet_days_it_goes_as_soon_as_its_notice_is_over(change: Callable[[Day], Day]) -> None:
    """The model above would also hold of a keycheck that disables nothing."""
    quiet = change(Day(1, True, 0, KRAMER, None, None, True, ""))
    it = Situation(
        record={"warned_at": NOW - quiet.notice_days * DAY, "notice_kept_at": NOW - DAY},
        settings={"disable_notice_days": str(quiet.notice_days)},
    )
    assert disabled(it.plan()) == [KEY_ID]
