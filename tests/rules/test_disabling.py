"""What speaks against disabling: each rule alone, each two together, all of them in any mixture (rules/, by plans)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import combinations, product
from typing import Any

import pytest
from hypothesis import given

from keycheck.actions import (
    AssignIssue,
    Chain,
    CommentIssue,
    FileIssue,
    NextStep,
    Observation,
    ObservationKind,
    Plan,
    Promise,
    SkipReason,
    Step,
)
from keycheck.labels import label_key
from keycheck.model import (
    AgeLabel,
    DisabledRecord,
    LabelledKey,
    LastUse,
    Notice,
    Owner,
    OwnerKind,
    State,
    Void,
)
from keycheck.planning import cases_of, count_exempt, plan_profile, watched_cases
from keycheck.rules.case import Circumstances, SharedFacts, UserFacts, first_instant
from keycheck.rules.disabling import WAITS_FOR_A_PLACE, is_enough_seen, is_in_use
from keycheck.rules.waiting import Done, overdue_since
from tests.builders import (
    ACCOUNT,
    DAY,
    HOUR,
    MINUTE,
    NOW,
    PROFILE,
    SECOND,
    make_access_key,
    make_addressee,
    make_facts,
    make_key,
    make_owner,
    make_record,
    make_scan,
    make_settings,
    open_issues_of,
)
from tests.situations import (
    ACCOUNTS,
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
    UNTIL,
    USED,
    Situation,
    Walk,
    disabled,
    notes,
    refusals,
    walks,
)


def kinds(planned: Plan) -> list[ObservationKind]:
    return [note.kind for note in notes(planned)]


def said(planned: Plan) -> list[tuple[NextStep, datetime | None]]:
    """What the message says of each access key."""
    listed = [one for chain in planned.chains if chain.message for one in chain.message.keys]
    return [(one.outlook.next_step, one.outlook.day) for one in listed]


def verdict(situation: Situation) -> SkipReason | None:
    """Why the one access key is not disabled; None: it is."""
    planned = situation.plan()
    if disabled(planned):
        assert (disabled(planned), refusals(planned)) == ([KEY_ID], [])
        return None
    (reason,) = refusals(planned)
    return reason


def test_the_situation_from_which_all_others_differ_ends_in_disabling() -> None:
    planned = Situation().plan()
    (one,) = [one for chain in planned.chains for one in chain.disablings]
    assert (one.key, one.owner, one.has_notice) == (KEY, KRAMER, True)
    assert refusals(planned) == []
    assert Situation().is_overdue()


# Every two rules

Rule = Callable[[Situation], None]


def own_key(it: Situation) -> None:
    it.own = [KEY_ID]


def unlisted(it: Situation) -> None:
    it.scan["is_listed"] = False


def many_failed(it: Situation) -> None:
    it.scan |= {"users_read": 18, "users_failed": 1}


def held(reason: SkipReason) -> Rule:
    def rule(it: Situation) -> None:
        it.user["not_disabled_because"] = reason

    return rule


def owner_unread(it: Situation) -> None:
    it.owner = UNREAD


def reenabled(it: Situation) -> None:
    it.record |= {"disabled_at": NOW - 9 * DAY, "reenabled_at": NOW - DAY}


def reenabled_since(it: Situation) -> None:
    it.record["disabled_at"] = NOW - HOUR


def claimed(it: Situation) -> None:
    it.record["issue_claim_until"] = NOW + HOUR


def nobody_told(it: Situation) -> None:
    it.record |= {"warned_at": None, "warned_owner": None}
    it.messaged = JUST_MESSAGED


def new_owner(it: Situation) -> None:
    it.record["warned_owner"] = "U0BEFORE"
    it.messaged = JUST_MESSAGED


def notice_not_over(it: Situation) -> None:
    it.settings["disable_notice_days"] = "30"


def day_told(it: Situation) -> None:
    it.record["disable_from"] = NOW + DAY


def in_use(it: Situation) -> None:
    it.settings["disable_in_use_hours"] = "24"
    it.last_uses[KEY_ID] = USED


def use_unread(it: Situation) -> None:
    it.settings["disable_in_use_hours"] = "24"
    it.last_uses[KEY_ID] = None


def exempt(it: Situation) -> None:
    it.user["exemption"] = EXEMPTION


def just_disabled(it: Situation) -> None:
    it.record["disabled_at"] = NOW - 5 * MINUTE


def just_inactive(it: Situation) -> None:
    it.record["inactive_at"] = NOW - 5 * MINUTE


def being_disabled(it: Situation) -> None:
    it.record["disabling_at"] = NOW - 5 * MINUTE


def bad_record(it: Situation) -> None:
    it.unreadable = frozenset({KEY_ID})
    it.messaged = JUST_MESSAGED


def nobody_can_be_told(it: Situation) -> None:
    it.owner = NOBODY
    it.settings["create_jira"] = "False"


def unowned(it: Situation) -> None:
    it.owner = NOBODY
    it.settings["disable_unowned"] = "False"


def brake(it: Situation) -> None:
    it.disablings = {ACCOUNT: (NOW - HOUR,) * 50}


def no_state(it: Situation) -> None:
    it.has_state = False


RULES: dict[str, tuple[Rule, SkipReason]] = {
    "own key": (own_key, SkipReason.OWN_ACCESS_KEY),
    "users not all listed": (unlisted, SkipReason.SCAN_BROKEN),
    "users failed": (many_failed, SkipReason.SCAN_BROKEN),
    **{reason.name: (held(reason), reason) for reason in HOLDS},
    "owner unread": (owner_unread, SkipReason.OWNER_UNREAD),
    "re-enabled": (reenabled, SkipReason.REENABLED),
    "re-enabled since the last run": (reenabled_since, SkipReason.REENABLED),
    "claimed": (claimed, SkipReason.CLAIMED),
    "nobody can be told": (nobody_can_be_told, SkipReason.NOBODY_TOLD),
    "not told yet": (nobody_told, SkipReason.NOT_TOLD_YET),
    "new owner": (new_owner, SkipReason.NOT_TOLD_YET),
    "notice": (notice_not_over, SkipReason.NOTICE),
    "day told": (day_told, SkipReason.NOTICE),
    "in use": (in_use, SkipReason.IN_USE),
    "last use unread": (use_unread, SkipReason.IN_USE),
    "exempt": (exempt, SkipReason.EXEMPT),
    "just disabled": (just_disabled, SkipReason.JUST_DISABLED),
    "just inactive": (just_inactive, SkipReason.JUST_DISABLED),
    "being disabled": (being_disabled, SkipReason.JUST_DISABLED),
    "bad record": (bad_record, SkipReason.BAD_RECORD),
    "unowned": (unowned, SkipReason.UNOWNED),
    "brake": (brake, SkipReason.BRAKE),
    "no state": (no_state, SkipReason.NO_STATE),
}
NOT_YET_OVERDUE = {"exempt", "notice", "day told", "re-enabled"}
SEEN_BY_THE_SCAN_ALONE = {
    *("re-enabled since the last run", "just disabled", "just inactive", "being disabled", "bad record", "no state"),
}
"""What the record does not say, or not yet, or that cannot be read: is_overdue goes by the record."""


def test_every_reason_that_planning_may_refuse_a_disabling_with_is_in_the_table() -> None:
    others = {
        SkipReason.JIRA_OFF,
        SkipReason.SLACK_OFF,
        SkipReason.UNKNOWN_OWNER,
        SkipReason.TOO_MANY_ISSUES,
        SkipReason.BAD_ADDRESSEE,
        SkipReason.RETRY_LATER,
        SkipReason.OUT_OF_TIME,
        SkipReason.STOPPED,
        SkipReason.NOT_ITS_TURN,
    }
    assert {reason for _, reason in RULES.values()} | others == set(SkipReason)


@pytest.mark.parametrize("name", RULES)
def test_each_rule_alone_keeps_an_access_key_active(name: str) -> None:
    situation = Situation()
    rule, reason = RULES[name]
    rule(situation)
    assert verdict(situation) is reason
    assert situation.is_overdue() is (name not in NOT_YET_OVERDUE)


def test_whichever_two_rules_meet_the_key_stays_active_for_one_of_their_reasons() -> None:
    for one, other in combinations(RULES, 2):
        situation = Situation()
        for name in (one, other):
            RULES[name][0](situation)
        both = f"{one} and {other}"
        assert verdict(situation) in (RULES[one][1], RULES[other][1]), both
        if not {one, other} & SEEN_BY_THE_SCAN_ALONE:
            assert situation.is_overdue() is not bool({one, other} & NOT_YET_OVERDUE), both
        if "exempt" in (one, other):
            assert not situation.is_overdue(), both
            planned = situation.plan()
            assert not any(chain.issue_actions or chain.message for chain in planned.chains), (
                f"{both}: nothing is filed or sent"
            )


# Exemptions


@pytest.mark.parametrize(
    ("known_until", "is_noted"),
    [
        pytest.param(None, True, id="first seen"),
        pytest.param(UNTIL, False, id="seen before"),
        pytest.param(date(2026, 12, 31), True, id="prolonged since"),
    ],
)
def test_an_exemption_is_noted_once(known_until: date | None, is_noted: bool) -> None:
    """The note makes a notice from before void; it says of which access key, and until when."""
    record = {"warned_at": None, "warned_owner": None, "exempt_until": known_until}
    situation = Situation(record=record, user={"exemption": EXEMPTION})
    expected = Observation(situation.records()[KEY_ID], ObservationKind.EXEMPT, KEY, UNTIL)
    assert notes(situation.plan()) == ([expected] if is_noted else [])
    assert refusals(situation.plan()) == [SkipReason.EXEMPT]


def test_an_exemption_that_has_ended_is_said_and_its_user_warned_anew() -> None:
    ended = {"warned_at": None, "warned_owner": None, "exempt_until": date(2026, 11, 22)}
    planned = Situation(record=ended, settings={"disable_notice_days": "7"}).plan()
    (message,) = [chain.message for chain in planned.chains if chain.message]
    assert message.keys[0].outlook.ended_exemption == date(2026, 11, 22)
    assert message.keys[0].promise == Promise(first_instant(NOW + 7 * DAY), KRAMER.identity)
    assert refusals(planned) == [SkipReason.NOTICE]


def test_exempt_keys_that_need_attention_are_counted() -> None:
    keys = [
        make_key(age_days=age, access_key_id=f"AKIAIOSFODNN7EXAMPL{number}", status=status)
        for number, (age, status) in enumerate([(0, "Active"), (170, "Active"), (200, "Active"), (200, "Inactive")])
    ]
    other = make_key("dev_jones", access_key_id="AKIAIOSFODNN7EXJONES")
    facts = make_facts(keys, {"dev_kramer": UserFacts(KRAMER, EXEMPTION), "dev_jones": JONES})
    assert count_exempt([*keys, other], facts) == 2
    watched = watched_cases([*keys, other], facts, State(), Circumstances(make_settings(), NOW))
    overdue = [case for case in watched if overdue_since(case, Done()) is not None]
    assert len(overdue) == 1, "dev_jones's; an exempt one never is"


def test_an_exempt_user_does_not_keep_others_of_the_same_owner_from_being_told() -> None:
    robot = make_key("robot", age_days=200, access_key_id="AKIAIOSFODNN7EXROBOT")
    facts = make_facts([KEY, robot], {"dev_kramer": UserFacts(KRAMER, EXEMPTION), "robot": KRAMER})
    planned = plan_profile(PROFILE, [KEY, robot], facts, SharedFacts(State(), {}, frozenset()), make_settings(), NOW)
    assert [one.key for chain in planned.chains if chain.message for one in chain.message.keys] == [robot]
    assert disabled(planned) == [robot.access_key.access_key_id]


# Holds: nagged, and not disabled


@pytest.mark.parametrize("hold", HOLDS, ids=lambda hold: hold.name)
def test_who_may_be_exempt_is_not_disabled_but_told(hold: SkipReason) -> None:
    situation = Situation(user={"not_disabled_because": hold, "tag_trouble": "keycheck:exempt-until is no date"})
    planned = situation.plan()
    assert disabled(planned) == []
    assert refusals(planned) == [hold]
    (message,) = [chain.message for chain in planned.chains if chain.message]
    assert message.keys[0].outlook.tag_trouble == "keycheck:exempt-until is no date"


def test_a_hold_on_one_user_is_no_hold_on_another() -> None:
    other = make_key("dev_jones", access_key_id="AKIAIOSFODNN7EXJONES")
    facts = make_facts(
        [KEY, other],
        {"dev_kramer": UserFacts(KRAMER, not_disabled_because=SkipReason.TAGS_UNREAD), "dev_jones": UserFacts(JONES)},
    )
    planned = plan_profile(PROFILE, [KEY, other], facts, SharedFacts(State(), {}, frozenset()), make_settings(), NOW)
    assert disabled(planned) == [other.access_key.access_key_id]


def test_where_the_owner_could_not_be_found_out_nobody_else_is_told() -> None:
    planned = Situation(owner=UNREAD).plan()
    assert not any(chain.message for chain in planned.chains)
    assert (Step.NAG, SkipReason.OWNER_UNREAD) in [(skip.what, skip.reason) for skip in planned.skips]


# Notice


@pytest.mark.parametrize(
    ("days", "warned_ago", "expected"),
    [
        pytest.param(0, timedelta(0), None, id="0: this second"),
        pytest.param(0, HOUR, None, id="0: an hour ago"),
        pytest.param(0, -HOUR, None, id="0: by a clock that is ahead"),
        pytest.param(7, timedelta(0), SkipReason.NOTICE, id="7: this second"),
        pytest.param(7, 7 * DAY - SECOND, SkipReason.NOTICE, id="7: a second short"),
        pytest.param(7, 7 * DAY, None, id="7: to the second"),
        pytest.param(7, 7 * DAY + SECOND, None, id="7: a second more"),
        pytest.param(7, -HOUR, SkipReason.NOTICE, id="7: by a clock that is ahead"),
        pytest.param(365, 364 * DAY, SkipReason.NOTICE, id="365: a day short"),
    ],
)
def test_notice_is_counted_from_when_it_was_first_given(
    days: int, warned_ago: timedelta, expected: SkipReason | None
) -> None:
    situation = Situation(record={"warned_at": NOW - warned_ago}, settings={"disable_notice_days": str(days)})
    assert verdict(situation) is expected


@pytest.mark.parametrize(
    ("days", "expected"), [(0, None), (1, SkipReason.NOTICE), (7, SkipReason.NOTICE)], ids=["0", "1", "7"]
)
def test_a_notice_on_the_way_disables_at_once_only_without_notice(days: int, expected: SkipReason | None) -> None:
    """The message that goes out names the day; it is the plan's own promise, and what is then recorded."""
    situation = Situation(record={"warned_at": None, "warned_owner": None}, settings={"disable_notice_days": str(days)})
    assert verdict(situation) is expected
    (message,) = [chain.message for chain in situation.plan().chains if chain.message]
    assert message.keys[0].promise == Promise(first_instant(NOW + days * DAY), KRAMER.identity)
    next_step = NextStep.DISABLED_NOW if days == 0 else NextStep.DISABLED_FROM
    assert said(situation.plan()) == [(next_step, first_instant(NOW + days * DAY))]


@pytest.mark.parametrize(
    ("disable_from", "expected"),
    [
        (NOW + SECOND, SkipReason.NOTICE),
        (NOW, None),
        (NOW - SECOND, None),
        (first_instant(NOW), None),
        (first_instant(NOW) + DAY, SkipReason.NOTICE),
    ],
    ids=["a second to go", "to the second", "a second ago", "today", "tomorrow"],
)
def test_the_day_told_stays_whatever_the_settings_say_now(disable_from: datetime, expected: SkipReason | None) -> None:
    """Also where Slack and Jira have been switched off since."""
    for switches in [{}, {"send_slack": "False", "create_jira": "False"}]:
        for days in ["0", "7"]:
            record = {"disable_from": disable_from}
            assert verdict(Situation(record=record, settings={"disable_notice_days": days, **switches})) is expected


def test_no_message_names_an_earlier_day_than_one_that_was_told() -> None:
    told = first_instant(NOW + 20 * DAY)
    planned = Situation(record={"disable_from": told}, settings={"disable_notice_days": "0"}).plan()
    assert said(planned) == [(NextStep.DISABLED_FROM, told)]


def test_an_expiring_key_is_told_the_day_on_which_it_expires_or_its_notice_ends() -> None:
    expiring = make_key(age_days=178)
    for days, day in ((0, 2), (1, 2), (3, 3), (7, 7)):
        situation = Situation(
            keys=(expiring,),
            record={"warned_at": None, "warned_owner": None},
            settings={"disable_notice_days": str(days)},
        )
        assert said(situation.plan()) == [(NextStep.DISABLED_FROM, first_instant(NOW + day * DAY))]


@pytest.mark.parametrize(
    ("owner", "warned_owner", "expected"),
    [
        pytest.param(KRAMER, KRAMER, None, id="the same"),
        pytest.param(JONES, KRAMER, SkipReason.NOTICE, id="another person"),
        pytest.param(make_owner("C0TEAM"), KRAMER, SkipReason.NOTICE, id="a team now"),
        pytest.param(KRAMER, FALLBACK, SkipReason.NOTICE, id="nobody knew the owner then"),
        pytest.param(FALLBACK, KRAMER, SkipReason.NOTICE, id="nobody knows the owner now"),
        pytest.param(FALLBACK, FALLBACK, None, id="nobody, then and now"),
        pytest.param(FALLBACK, BY_EMAIL, SkipReason.NOTICE, id="known by e-mail then"),
        pytest.param(BY_EMAIL, BY_EMAIL, None, id="by e-mail, then and now"),
        pytest.param(BY_EMAIL, FALLBACK, SkipReason.NOBODY_TOLD, id="by e-mail now, and Slack tells others only"),
    ],
)
def test_a_new_owner_is_told_anew(owner: Owner, warned_owner: Owner, expected: SkipReason | None) -> None:
    situation = Situation(
        owner=owner,
        record={"warned_owner": warned_owner.identity},
        settings={"disable_notice_days": "7", "create_jira": "False"},
    )
    assert verdict(situation) is expected


@pytest.mark.parametrize(
    ("owner", "counts"),
    [
        pytest.param(KRAMER, True, id="the owner"),
        pytest.param(make_owner("C0TEAM"), True, id="the owner's team"),
        pytest.param(FALLBACK, True, id="the fallback channel, of an unknown owner"),
        pytest.param(BY_EMAIL, False, id="the fallback channel, of an owner known by e-mail"),
    ],
)
def test_which_messages_give_a_notice(owner: Owner, counts: bool) -> None:
    situation = Situation(
        owner=owner, record={"warned_at": None, "warned_owner": None}, settings={"create_jira": "False"}
    )
    (message,) = [chain.message for chain in situation.plan().chains if chain.message]
    assert message.keys[0].promise == Promise(first_instant(NOW), owner.identity if counts else None)
    assert verdict(situation) is (None if counts else SkipReason.NOBODY_TOLD)


BY_ADDRESS = make_owner(addressee=None, email="kramer@example.com", is_email_own=True)


@pytest.mark.parametrize(
    ("owner", "counts"),
    [
        pytest.param(NOBODY, True, id="unknown owner: unassigned counts"),
        pytest.param(
            make_owner(addressee=None, email="kramer@example.com", is_email_own=True),
            True,
            id="known: once it is assigned",
        ),
        pytest.param(make_owner(addressee=None), False, id="known, and nobody to assign it to"),
        pytest.param(UNREAD, None, id="unread"),
    ],
)
def test_which_issues_give_a_notice(owner: Owner, counts: bool | None) -> None:
    situation = Situation(
        owner=owner, record={"warned_at": None, "warned_owner": None}, settings={"send_slack": "False"}
    )
    (filing,) = [one for chain in situation.plan().chains for one in chain.issue_actions]
    assert isinstance(filing, FileIssue)
    assert (filing.email, filing.promise) == (
        owner.email,
        Promise(first_instant(NOW), owner.identity if counts else None),
    )
    expected = {True: None, False: SkipReason.NOBODY_TOLD, None: SkipReason.OWNER_UNREAD}
    assert verdict(situation) is expected[counts]


def test_where_nobody_is_warned_at_all_no_notice_is_waited_for() -> None:
    off = {"send_slack": "False", "create_jira": "False", "disable_notice_days": "30"}
    situation = Situation(record={"warned_at": None, "warned_owner": None}, owner=NOBODY, settings=off)
    (chain,) = situation.plan().chains
    (one,) = chain.disablings
    assert (one.key, one.owner, one.has_notice) == (KEY, None, False)
    assert chain == Chain(PROFILE, disablings=(one,))


# The brake


def aged_keys(count: int, **changes: Any) -> list[LabelledKey]:
    """The first is the youngest."""
    return [
        make_key(f"user{number}", age_days=200 + number, access_key_id=f"AKIAIOSFODNN7EX{number:05}", **changes)
        for number in range(count)
    ]


@pytest.mark.parametrize("owners", ["one owner", "an owner each", "unknown"])
def test_only_so_many_are_disabled_the_oldest_first_and_the_rest_is_said(owners: str) -> None:
    for most in [1, 3, 5, 6]:
        keys = aged_keys(5)
        by_user = {
            key.access_key.user_name: {
                "one owner": KRAMER,
                "an owner each": make_owner(f"U0{key.access_key.user_name.upper()}"),
                "unknown": FALLBACK,
            }[owners]
            for key in keys
        }
        known = SharedFacts(State(), {}, frozenset())
        settings = make_settings(max_disables_per_day=str(most))
        oldest = [key.access_key.access_key_id for key in reversed(keys)]
        for shuffled in (keys, keys[::-1], keys[2:] + keys[:2]):
            planned = plan_profile(PROFILE, shuffled, make_facts(keys, by_user), known, settings, NOW)
            assert sorted(disabled(planned)) == sorted(oldest[:most])
            braked = [skip.key for skip in planned.skips]
            assert braked == [key for key in keys[::-1] if key.access_key.access_key_id in oldest[most:]]
            assert refusals(planned) == [SkipReason.BRAKE] * max(0, 5 - most)
            next_steps = {
                key_id: next_step for (next_step, _), key_id in zip(said(planned), listed_ids(planned), strict=True)
            }
            assert [next_steps[key_id] is NextStep.DISABLED_NOW for key_id in oldest] == [n < most for n in range(5)]


def listed_ids(planned: Plan) -> list[str]:
    listed = [one for chain in planned.chains if chain.message for one in chain.message.keys]
    return [one.key.access_key.access_key_id for one in listed]


@pytest.mark.parametrize(
    ("lately", "room"),
    [
        pytest.param([], 3, id="none lately"),
        pytest.param([DAY], 3, id="to the second 24 hours ago"),
        pytest.param([DAY - 50 * SECOND], 3, id="a place that becomes free within half the run's time"),
        pytest.param([DAY - 51 * SECOND], 2, id="a second later"),
        pytest.param([HOUR, HOUR], 1, id="two of one second"),
        pytest.param([HOUR, 2 * HOUR, 3 * HOUR], 0, id="as many as may be"),
        pytest.param([HOUR] * 9, 0, id="more, by an earlier setting"),
        pytest.param([5 * DAY, 2 * DAY, HOUR], 2, id="two of them long ago"),
        pytest.param([-MINUTE], 2, id="by a clock that is ahead"),
    ],
)
def test_the_brake_counts_any_24_hours(lately: list[timedelta], room: int) -> None:
    keys = aged_keys(5)
    state = State(disablings={ACCOUNT: tuple(NOW - ago for ago in lately), "999999999999": (NOW,) * 9})
    facts = make_facts(keys, {key.access_key.user_name: KRAMER for key in keys})
    settings = make_settings(max_disables_per_day="3")
    planned = plan_profile(PROFILE, keys, facts, SharedFacts(state, {}, frozenset()), settings, NOW)
    assert len(disabled(planned)) == room
    assert refusals(planned) == [SkipReason.BRAKE] * (5 - room)


def test_what_is_held_back_by_another_rule_takes_no_room_of_the_brake() -> None:
    keys = aged_keys(3)
    users: dict[str, Owner | UserFacts] = {key.access_key.user_name: KRAMER for key in keys}
    users["user2"] = UserFacts(KRAMER, not_disabled_because=SkipReason.TAGS_UNREAD)
    settings = make_settings(max_disables_per_day="1")
    known = SharedFacts(State(), {}, frozenset())
    planned = plan_profile(PROFILE, keys, make_facts(keys, users), known, settings, NOW)
    assert disabled(planned) == [keys[1].access_key.access_key_id]
    assert [skip.key for skip in planned.skips if skip.reason is SkipReason.BRAKE] == [keys[0]]


# The scan


@pytest.mark.parametrize(
    ("scan", "may"),
    [
        pytest.param({}, True, id="complete"),
        pytest.param({"users_read": 0}, True, id="nobody to ask"),
        pytest.param({"users_read": 19, "users_failed": 1}, True, id="5 % to the user"),
        pytest.param({"users_read": 18, "users_failed": 1}, False, id="a little more"),
        pytest.param({"users_read": 190, "users_failed": 10}, True, id="5 % of 200"),
        pytest.param({"users_read": 189, "users_failed": 11}, False, id="one more of 200"),
        pytest.param({"users_read": 0, "users_failed": 1}, False, id="all"),
        pytest.param({"is_listed": False}, False, id="ListUsers did not finish"),
        pytest.param(
            {"is_listed": False, "users_read": 5000}, False, id="ListUsers did not finish, and most were read"
        ),
        pytest.param({"is_complete": False}, True, id="incomplete for another reason"),
    ],
)
def test_nothing_is_disabled_where_too_little_of_the_account_was_seen(scan: dict[str, Any], may: bool) -> None:
    scan = {"is_complete": "users_failed" not in scan, **scan}
    situation = Situation(scan=scan)
    assert is_enough_seen(make_scan([KEY], **scan)) is may
    assert verdict(situation) is (None if may else SkipReason.SCAN_BROKEN)


def test_a_key_that_this_run_did_not_read_is_in_no_plan() -> None:
    """Whatever its record says: it was to be disabled, and a user of twenty failed."""
    facts = make_facts([], {"dev_kramer": KRAMER}, users_read=19, users_failed=1, sees_whole_account=False)
    record = make_record(KEY, KRAMER, issue_key="SEC-1")
    known = SharedFacts(State({KEY_ID: record}), open_issues_of({"SEC-1"}, [record]), frozenset())
    assert plan_profile(PROFILE, [], facts, known, make_settings(), NOW) == Plan(PROFILE)


# In use


@pytest.mark.parametrize(
    ("hours", "last_use", "expected"),
    [
        pytest.param(0, USED, False, id="off"),
        pytest.param(0, None, False, id="off, and unread"),
        pytest.param(24, LastUse(NOW - 24 * HOUR + SECOND), True, id="a second short of it"),
        pytest.param(24, LastUse(NOW - 24 * HOUR), False, id="to the second"),
        pytest.param(24, LastUse(NOW - 24 * HOUR - SECOND), False, id="a second more"),
        pytest.param(24, LastUse(NOW + MINUTE), True, id="by a clock that is ahead"),
        pytest.param(24, LastUse(None), False, id="never used"),
        pytest.param(24, None, True, id="unread"),
        pytest.param(8760, LastUse(NOW - 364 * DAY), True, id="within a year"),
    ],
)
def test_a_key_in_use_is_not_disabled(hours: int, last_use: LastUse | None, expected: bool) -> None:
    situation = Situation(last_uses={KEY_ID: last_use}, settings={"disable_in_use_hours": str(hours)})
    assert is_in_use(last_use, NOW, hours) is expected
    assert verdict(situation) is (SkipReason.IN_USE if expected else None)
    (message,) = [chain.message for chain in situation.plan().chains if chain.message]
    assert message.keys[0].outlook.next_step is (NextStep.IN_USE if expected else NextStep.DISABLED_NOW)
    assert message.keys[0].outlook.last_use is last_use, "shown in any case"


def test_a_use_is_said_only_once_the_key_would_be_disabled() -> None:
    """Until then everybody uses the key; the owner is told the day."""
    situation = Situation(
        last_uses={KEY_ID: USED}, settings={"disable_in_use_hours": "24", "disable_notice_days": "30"}
    )
    assert verdict(situation) is SkipReason.NOTICE
    assert [next_step for next_step, _ in said(situation.plan())] == [NextStep.DISABLED_FROM]


def test_what_nobody_asked_about_is_left_to_the_read_before_disabling() -> None:
    situation = Situation(settings={"disable_in_use_hours": "24"})
    assert verdict(situation) is None


# Undo and respect


@pytest.mark.parametrize(
    ("record", "noted", "expected"),
    [
        pytest.param({"disabled_at": NOW - 15 * MINUTE + SECOND}, [], "settling", id="disabled a second too lately"),
        pytest.param(
            {"disabled_at": NOW - 15 * MINUTE}, [ObservationKind.REENABLED], "alone", id="disabled 15 minutes ago"
        ),
        pytest.param({"disabled_at": NOW - 90 * DAY}, [ObservationKind.REENABLED], "alone", id="disabled long ago"),
        pytest.param({"disabled_at": NOW + HOUR}, [], "settling", id="disabled by a clock that is ahead"),
        pytest.param({"disabling_at": NOW - 15 * MINUTE + SECOND}, [], "settling", id="intent, a second too lately"),
        pytest.param(
            {"disabling_at": NOW - 15 * MINUTE}, [ObservationKind.REENABLED], "alone", id="intent, 15 minutes ago"
        ),
        pytest.param(
            {"disabled_at": NOW - 8 * DAY, "reenabled_at": NOW - 7 * DAY + SECOND}, [], "alone", id="a second of grace"
        ),
        pytest.param({"disabled_at": NOW - 8 * DAY, "reenabled_at": NOW - 7 * DAY}, [], None, id="grace just over"),
        pytest.param({"disabled_at": NOW - 99 * DAY, "reenabled_at": NOW - 98 * DAY}, [], None, id="grace long over"),
        pytest.param({"inactive_at": NOW - DAY}, [ObservationKind.REENABLED], "alone", id="deactivated by others"),
        pytest.param(
            {"disabled_at": NOW - 5 * MINUTE, "reenabled_at": NOW - 98 * DAY}, [], "settling", id="disabled again"
        ),
    ],
)
def test_what_an_active_key_tells_of_an_earlier_disabling(
    record: dict[str, Any], noted: list[ObservationKind], expected: str | None
) -> None:
    situation = Situation(record=record)
    planned = situation.plan()
    reasons = {"settling": SkipReason.JUST_DISABLED, "alone": SkipReason.REENABLED, None: None}
    assert verdict(situation) is reasons[expected]
    assert kinds(planned) == noted
    if expected == "settling":
        assert not any(chain.issue_actions or chain.message for chain in planned.chains), (
            "nothing is said that may be wrong"
        )


@pytest.mark.parametrize(("grace", "expected"), [(1, None), (2, SkipReason.REENABLED), (30, SkipReason.REENABLED)])
def test_the_owner_of_a_key_left_alone_is_nagged_and_told_until_when(grace: int, expected: SkipReason | None) -> None:
    reenabled_at = NOW - DAY
    situation = Situation(
        record={"disabled_at": NOW - 2 * DAY, "reenabled_at": reenabled_at},
        settings={"reenable_grace_days": str(grace)},
    )
    assert verdict(situation) is expected
    until = first_instant(reenabled_at + grace * DAY)
    next_step = NextStep.LEFT_ALONE if expected else NextStep.DISABLED_NOW
    day = until if expected else first_instant(NOW)
    assert said(situation.plan()) == [(next_step, day)]


def test_a_key_first_seen_re_enabled_is_left_alone_from_now_on() -> None:
    situation = Situation(record={"disabled_at": NOW - 3 * DAY})
    planned = situation.plan()
    (note,) = notes(planned)
    found = situation.records()[KEY_ID]
    assert note == Observation(found, ObservationKind.REENABLED, KEY, why=Void.REENABLED), (
        "what is on record, not our guess"
    )
    assert said(planned) == [(NextStep.LEFT_ALONE, first_instant(NOW + 7 * DAY))]


def test_a_day_told_after_the_grace_stays() -> None:
    told = first_instant(NOW + 30 * DAY)
    for ago, step, day in ((DAY, NextStep.LEFT_ALONE, NOW + 6 * DAY), (7 * DAY, NextStep.DISABLED_FROM, told)):
        record = {"reenabled_at": NOW - ago, "disabled_at": NOW - 9 * DAY, "disable_from": told}
        assert said(Situation(record=record).plan()) == [(step, first_instant(day))]


def test_an_intent_on_an_inactive_key_is_confirmed_and_one_on_a_key_that_is_gone_is_dropped() -> None:
    inactive = make_key(age_days=197, status="Inactive")
    record = make_record(KEY, disabling_at=NOW - MINUTE)
    known = SharedFacts(State({KEY_ID: record}), {}, frozenset())
    for keys, note in (
        ([inactive], Observation(record, ObservationKind.CONFIRMED, inactive)),
        ([], Observation(record, ObservationKind.DROPPED)),
    ):
        planned = plan_profile(PROFILE, keys, make_facts(keys), known, make_settings(), NOW)
        assert planned == Plan(PROFILE, (Chain(PROFILE, (note,)),))


def test_that_a_young_key_was_taken_back_is_noted_too() -> None:
    """expire_age was raised since: nothing is due, and the record still tells the truth."""
    young = make_key(age_days=10)
    for record in (
        make_record(young, disabling_at=NOW - HOUR),
        make_record(young, disabled_at=NOW - HOUR),
        make_record(young, inactive_at=NOW - HOUR),
    ):
        known = SharedFacts(State({KEY_ID: record}), {}, frozenset())
        planned = plan_profile(PROFILE, [young], make_facts([young]), known, make_settings(), NOW)
        assert kinds(planned) == [ObservationKind.REENABLED]
        assert planned.skips == ()


# Rotation seen


@pytest.mark.parametrize(
    ("others", "newer"),
    [
        pytest.param([], None, id="no other"),
        pytest.param([(10, "Active")], "EXAM0", id="a newer one"),
        pytest.param([(10, "Inactive")], None, id="a newer one, inactive"),
        pytest.param([(10, "Expired")], None, id="a newer one, expired by AWS"),
        pytest.param([(197, "Active")], None, id="one of the same second"),
        pytest.param([(300, "Active")], None, id="an older one"),
        pytest.param([(20, "Active"), (10, "Active")], "EXAM1", id="the newest of two"),
        pytest.param([(20, "Active"), (10, "Inactive")], "EXAM0", id="the newest active of two"),
    ],
)
def test_a_newer_active_key_is_named(others: list[tuple[int, str]], newer: str | None) -> None:
    keys = [KEY] + [
        make_key(age_days=age, status=status, access_key_id=f"AKIAIOSFODNN7EXEXAM{number}")
        for number, (age, status) in enumerate(others)
    ]
    robot = make_key("robot", age_days=1, access_key_id="AKIAIOSFODNN7EXROBOT")
    planned = Situation(keys=(*keys, robot)).plan()
    outlooks = [
        one.outlook for chain in planned.chains if chain.message for one in chain.message.keys if one.key == KEY
    ]
    assert [outlook.newer for outlook in outlooks] == [newer]
    assert outlooks[0].key_count == len(keys)


# What must be alerted on


@pytest.mark.parametrize(
    ("age", "record", "told_now", "days", "expected"),
    [
        pytest.param(180, {}, False, 0, True, id="expired, no notice, nobody told"),
        pytest.param(180, {}, True, 0, True, id="expired, no notice, told now"),
        pytest.param(180, {}, True, 7, False, id="told now, and the notice runs"),
        pytest.param(186, {}, False, 7, False, id="nobody told: counted from its expiry, a day to go"),
        pytest.param(187, {}, False, 7, True, id="nobody told: counted from its expiry"),
        pytest.param(197, {"warned_at": NOW - 7 * DAY + SECOND}, False, 7, False, id="notice, a second short"),
        pytest.param(197, {"warned_at": NOW - 7 * DAY}, False, 7, True, id="notice over, to the second"),
        pytest.param(197, {"warned_at": NOW - 7 * DAY}, True, 7, True, id="notice over, and said once more now"),
        pytest.param(197, {"warned_at": NOW, "warned_owner": "U0BEFORE"}, False, 7, True, id="another was warned"),
        pytest.param(197, {"disable_from": NOW + SECOND}, False, 0, False, id="before the day told"),
        pytest.param(197, {"disable_from": NOW}, False, 0, True, id="on the day told"),
        pytest.param(197, {"reenabled_at": NOW - 7 * DAY + SECOND}, False, 0, False, id="left alone"),
        pytest.param(197, {"reenabled_at": NOW - 7 * DAY}, False, 0, True, id="left alone long enough"),
        pytest.param(179, {}, False, 0, False, id="expiring"),
    ],
)
def test_overdue_is_expired_active_not_exempt_and_its_notice_over(
    age: int, record: dict[str, Any], told_now: bool, days: int, expected: bool
) -> None:
    key = make_key(age_days=age)
    if "warned_at" in record:
        record = {"warned_owner": KRAMER.identity, **record}
    settings = make_settings(disable_notice_days=str(days))
    found = make_record(key, **record)
    done = Done(noticed={key.access_key.access_key_id} if told_now else set())
    state, run = State({found.access_key_id: found}), Circumstances(settings, NOW)
    (case,) = cases_of([key], make_facts([key], {"dev_kramer": UserFacts(KRAMER)}), state, run)
    assert (overdue_since(case, done) is not None) is expected
    exempt = replace(case, user=UserFacts(KRAMER, EXEMPTION))
    assert overdue_since(exempt, done) is None


def test_an_inactive_key_is_never_overdue() -> None:
    inactive = make_key(age_days=900, status="Inactive")
    run = Circumstances(make_settings(), NOW)
    assert watched_cases([inactive], make_facts([inactive]), State(), run) == []


# Identity: two access keys of one user that end in the same five characters

ONE, OTHER = "AKIAIOSFODNN7AXVHXVM", "AKIAIOSFODNN7BXVHXVM"
AGES = (
    timedelta(0),
    165 * DAY - SECOND,
    165 * DAY,
    180 * DAY - SECOND,
    180 * DAY,
    180 * DAY + SECOND,
    400 * DAY,
)
STATUSES = ("Active", "Inactive", "Expired")


def twin(access_key_id: str, age: timedelta, status: str) -> LabelledKey:
    key = make_access_key(age=age, access_key_id=access_key_id, status=status)
    return label_key(key, NOW, expire_age=180, expiring_days=15)


def named(planned: Plan) -> dict[str, list[str]]:
    """The full access key id of everything in a plan, by kind."""
    found: dict[str, list[str]] = defaultdict(list)
    for chain in planned.chains:
        found["note"] += [note.record.access_key_id for note in chain.notes]
        found["issue"] += [one.record.access_key_id for one in chain.issue_actions]
        found["message"] += [one.key.access_key.access_key_id for one in chain.message.keys] if chain.message else []
        found["disable"] += [one.key.access_key.access_key_id for one in chain.disablings]
    return {kind: sorted(ids) for kind, ids in found.items() if ids}


def test_of_two_keys_that_end_alike_only_those_meant_are_named() -> None:
    """Every pair of ages, so every order of creation, and both orders of the listing."""
    for statuses in product(STATUSES, STATUSES):
        known = SharedFacts(State(), {}, frozenset())
        for ages in product(AGES, AGES):
            keys = [twin(key_id, age, one) for key_id, age, one in zip((ONE, OTHER), ages, statuses, strict=True)]
            active = [key for key, one in zip(keys, statuses, strict=True) if one == "Active"]
            attention = sorted(
                k.access_key.access_key_id for k in active if NOW - k.access_key.create_date >= 165 * DAY
            )
            expired = sorted(k.access_key.access_key_id for k in active if NOW - k.access_key.create_date >= 180 * DAY)
            expected = {"issue": attention, "message": attention, "disable": expired}
            for listed in (keys, keys[::-1]):
                planned = plan_profile(PROFILE, listed, make_facts(listed), known, make_settings(), NOW)
                assert named(planned) == {kind: ids for kind, ids in expected.items() if ids}
                assert planned.skips == ()


@pytest.mark.parametrize(
    "stays",
    [
        pytest.param({"disable_from": NOW + SECOND}, id="told a later day"),
        pytest.param({"disabled": DisabledRecord(NOW - DAY), "reenabled_at": NOW - HOUR}, id="re-enabled"),
        pytest.param({"disabled": DisabledRecord(NOW - HOUR)}, id="re-enabled, first seen"),
        pytest.param({"disabling_at": NOW - MINUTE}, id="being disabled"),
        pytest.param({"disabled": DisabledRecord(NOW - MINUTE)}, id="just disabled"),
        pytest.param({"notice": Notice("U0BEFORE", NOW - 8 * DAY, NOW)}, id="its owner was not told"),
        pytest.param({"issue_claim_until": NOW + HOUR}, id="claimed"),
    ],
)
def test_of_two_keys_of_one_second_that_end_alike_only_the_one_without_a_reason_goes(stays: dict[str, Any]) -> None:
    for age in [AGES[4], AGES[5], AGES[6]]:
        keys = {key_id: twin(key_id, age, "Active") for key_id in (ONE, OTHER)}
        for kept, gone in ((ONE, OTHER), (OTHER, ONE)):
            records = {gone: make_record(keys[gone], KRAMER), kept: make_record(keys[kept], KRAMER)}
            records[kept] = replace(records[kept], **stays)
            for order in ((ONE, OTHER), (OTHER, ONE)):
                state = State(
                    {key_id: records[key_id] for key_id in order}, {make_addressee().record_id: JUST_MESSAGED}
                )
                listed = [keys[key_id] for key_id in order[::-1]]
                known = SharedFacts(state, {}, frozenset())
                planned = plan_profile(PROFILE, listed, make_facts(listed), known, make_settings(), NOW)
                assert disabled(planned) == [gone]
                assert [skip.key for skip in planned.skips if skip.what in (Step.ACT, Step.DISABLE)] == [keys[kept]]


def test_the_brake_takes_the_older_of_two_that_end_alike() -> None:
    known = SharedFacts(State(), {}, frozenset())
    settings = make_settings(max_disables_per_day="1")
    for ids in ((ONE, OTHER), (OTHER, ONE)):
        older, younger = twin(ids[0], AGES[5], "Active"), twin(ids[1], AGES[4], "Active")
        for listed in ([older, younger], [younger, older]):
            planned = plan_profile(PROFILE, listed, make_facts(listed), known, settings, NOW)
            assert disabled(planned) == [ids[0]]


@pytest.mark.parametrize("used", [ONE, OTHER])
def test_the_use_of_one_key_does_not_keep_another_that_ends_alike(used: str) -> None:
    keys = [twin(ONE, AGES[6], "Active"), twin(OTHER, AGES[6], "Active")]
    facts = make_facts(keys, last_uses={ONE: LastUse(None), OTHER: LastUse(None), used: USED})
    settings = make_settings(disable_in_use_hours="24")
    planned = plan_profile(PROFILE, keys, facts, SharedFacts(State(), {}, frozenset()), settings, NOW)
    assert disabled(planned) == [key_id for key_id in (ONE, OTHER) if key_id != used]


# Whatever the situation


def promised(chain: Chain, key: LabelledKey) -> set[str]:
    """Who is given a notice about this access key in the chain, before anything of it is disabled."""
    found = {one.promise for one in chain.issue_actions if isinstance(one, FileIssue) and one.key == key}
    found |= {one.promise for one in chain.message.keys if one.key == key} if chain.message else set()
    return {promise.owner for promise in found if promise is not None and promise.owner is not None}


@given(walks())
@REPEATABLE
def test_no_key_is_ever_disabled_that_must_not_be(walk: Walk) -> None:
    planned, settings = walk.plan(), make_settings(**walk.options)
    listed = {key.access_key_id for key in walk.facts.scan.keys}
    for chain in planned.chains:
        for one in chain.disablings:
            access_key = one.key.access_key
            user, record = walk.facts.user(access_key.user_name), walk.state.key(access_key.access_key_id)
            assert settings.disable_key
            assert one.key.label is AgeLabel.EXPIRED
            assert access_key.status == "Active"
            assert NOW - access_key.create_date >= settings.expire_age * DAY
            assert access_key.access_key_id in listed
            assert access_key.access_key_id not in walk.known.own_access_key_ids
            assert access_key.access_key_id not in walk.state.unreadable
            assert user.exemption is None
            assert user.not_disabled_because is None
            assert user.owner.kind is not OwnerKind.UNREAD
            assert record.disable_from is None or record.disable_from <= NOW
            assert walk.facts.scan.is_listed
            assert walk.facts.scan.users_failed * 20 <= walk.facts.scan.users_failed + walk.facts.scan.users_read
            if settings.disable_in_use_hours and access_key.access_key_id in walk.facts.last_uses:
                last_use = walk.facts.last_uses[access_key.access_key_id]
                assert last_use is not None
                assert last_use.at is None
            for at in (record.disabling_at, record.disabled.at if record.disabled is not None else None):
                assert at is None or NOW - at >= 15 * MINUTE
            if record.reenabled_at is not None:
                assert NOW - record.reenabled_at >= settings.reenable_grace_days * DAY
            assert one.owner == (user.owner if settings.warns_owners else None)
            notice = record.notice
            was_told = notice is not None and notice.owner == user.owner.identity and NOW - notice.kept_at < 14 * DAY
            assert one.has_notice is was_told
            if settings.warns_owners and was_told:
                assert record.notice is not None
                began = min(record.notice.given_at, NOW)  # by a clock that is ahead: it has begun all the same
                assert NOW - began >= settings.disable_notice_days * DAY
            elif settings.warns_owners:
                assert settings.disable_notice_days == 0
                assert promised(chain, one.key) == {user.owner.identity}


@given(walks())
@REPEATABLE
def test_no_more_are_disabled_than_the_brake_leaves_and_none_before_an_older_one(walk: Walk) -> None:
    planned, most = walk.plan(), int(walk.options["max_disables_per_day"])
    braked = [skip.key for skip in planned.skips if skip.reason is SkipReason.BRAKE]
    for account in set(ACCOUNTS):
        going = [
            one.key for chain in planned.chains for one in chain.disablings if one.key.access_key.account_id == account
        ]
        soon = NOW + timedelta(seconds=100 * WAITS_FOR_A_PLACE)
        lately = sum(soon - at < DAY for at in walk.state.disablings[account])
        assert len(going) == len(set(going))
        assert len(going) <= max(0, most - lately)
        waiting = [key for key in braked if isinstance(key, LabelledKey) and key.access_key.account_id == account]
        if waiting:
            assert len(going) == max(0, most - lately), "none waits while there is room"
        for key, later in product(going, waiting):
            assert key.access_key.create_date <= later.access_key.create_date


@given(walks())
@REPEATABLE
def test_every_expired_key_is_disabled_or_refused_with_one_reason(walk: Walk) -> None:
    planned = walk.plan()
    decided = [one.key for chain in planned.chains for one in chain.disablings]
    decided += [s.key for s in planned.skips if s.what in (Step.ACT, Step.DISABLE) and isinstance(s.key, LabelledKey)]
    assert len(decided) == len(set(decided))
    expired = {key for key in walk.keys if key.label is AgeLabel.EXPIRED}
    if walk.options["disable_key"] == "True":
        assert expired <= set(decided)
    assert {key for key in decided if key.label is AgeLabel.DISABLED} == set()


@given(walks())
@REPEATABLE
def test_what_is_exempt_is_neither_told_nor_counted_as_overdue(walk: Walk) -> None:
    planned, run = walk.plan(), Circumstances(make_settings(**walk.options), NOW)
    for case in cases_of(walk.keys, walk.facts, walk.state, run):
        key = case.key
        if case.user.exemption is None or not key.needs_attention:
            continue
        assert overdue_since(case, Done()) is None
        for chain in planned.chains:
            assert key.access_key.access_key_id not in [one.record.access_key_id for one in chain.issue_actions]
            assert chain.message is None or key not in [one.key for one in chain.message.keys]


@given(walks())
@REPEATABLE
def test_what_is_told_is_what_happens_and_never_an_earlier_day_than_was_told(walk: Walk) -> None:
    planned, settings = walk.plan(), make_settings(**walk.options)
    going = {one.key for chain in planned.chains for one in chain.disablings}
    told = [(one.key, one.outlook, one.promise) for c in planned.chains if c.message for one in c.message.keys]
    told += [
        (one.key, one.outlook, one.promise)
        for c in planned.chains
        for one in c.issue_actions
        if isinstance(one, FileIssue)
    ]
    for chain in planned.chains:
        for one in chain.issue_actions:
            if isinstance(one, CommentIssue) and one.key is not None and one.outlook is not None:
                told.append((one.key, one.outlook, one.promise))
    for key, outlook, promise in told:
        record = walk.state.key(key.access_key.access_key_id)
        owner = walk.facts.user(key.access_key.user_name).owner
        assert (outlook.next_step is NextStep.DISABLED_NOW) is (key in going)
        assert (outlook.day is None) is (not outlook.next_step.has_day)
        assert outlook.next_step is not NextStep.STAYS_ACTIVE or not settings.disable_key
        if outlook.day is not None:
            assert outlook.day == first_instant(outlook.day)
            assert record.disable_from is None or outlook.day >= first_instant(record.disable_from)
        assert (None if promise is None else promise.day) == outlook.day
        assert promise is None or promise.owner in (None, owner.identity)


@given(walks())
@REPEATABLE
def test_a_message_promises_only_to_whom_it_goes(walk: Walk) -> None:
    for chain in walk.plan().chains:
        for one in chain.message.keys if chain.message else ():
            owner = walk.facts.user(one.key.access_key.user_name).owner
            assert chain.message is not None
            assert owner.addressee == chain.message.addressee
            if one.promise is not None and one.promise.owner is not None:
                assert one.promise.owner == owner.identity
                assert owner.identity.split() == [owner.addressee.slack_id, *filter(None, [owner.group])]
                assert owner.group is None or owner.group in chain.message.groups
        for filing in chain.issue_actions:
            if isinstance(filing, AssignIssue) or filing.promise is None or filing.key is None:
                continue
            if filing.promise.owner is not None:
                owner = walk.facts.user(filing.key.access_key.user_name).owner
                assert owner.kind is OwnerKind.UNKNOWN or owner.email is not None


def test_the_first_instant_of_a_day_is_in_utc() -> None:
    assert first_instant(NOW) == datetime(2026, 11, 23, tzinfo=UTC)


def test_a_re_enabled_key_with_a_stale_intent_is_left_alone_too() -> None:
    """Two runs raced: one confirmed its disabling, the other died after its intent. A person re-enabled the key."""
    situation = Situation(record={"disabled_at": NOW - 2 * HOUR, "disabling_at": NOW - 2 * HOUR})
    assert disabled(situation.plan()) == []
    assert refusals(situation.plan()) == [SkipReason.REENABLED]


def test_a_user_nobody_asked_about_is_not_disabled() -> None:
    """Whether it is exempt, nobody knows: what is missing among the facts fails closed."""
    known = SharedFacts(State(), {}, frozenset())
    planned = plan_profile(PROFILE, [KEY], make_facts([KEY], {}), known, make_settings(), NOW)
    assert disabled(planned) == []


@pytest.mark.parametrize("hold", HOLDS, ids=lambda hold: hold.name)
def test_while_exemptions_are_unread_nobody_is_told_that_one_has_ended(hold: SkipReason) -> None:
    planned = Situation(record={"exempt_until": UNTIL}, user={"not_disabled_because": hold}).plan()
    (message,) = [chain.message for chain in planned.chains if chain.message]
    assert message.keys[0].outlook.ended_exemption is None


def test_a_notice_from_within_an_exemption_is_void_too() -> None:
    """exemptions_file could not be read for a run, and its users were warned; the exemption was noted before that."""
    situation = Situation(
        record={"exempt_until": UNTIL, "warned_at": NOW - DAY, "warned_owner": KRAMER.identity},
        user={"exemption": EXEMPTION},
    )
    assert kinds(situation.plan()) == [ObservationKind.EXEMPT]


def test_what_is_assigned_while_the_owner_is_unread_gives_no_notice() -> None:
    """The tag names an e-mail address, and Slack did not say whose: a notice to "unknown" would count for nobody."""
    owner = Owner(OwnerKind.UNREAD, email="kramer@example.com")
    planned = Situation(owner=owner, record={"warned_at": None, "warned_owner": None}).plan()
    (filing,) = [one for chain in planned.chains for one in chain.issue_actions]
    assert isinstance(filing, FileIssue)
    assert filing.promise == Promise(first_instant(NOW), None), "the day that the issue names holds all the same"


def test_a_newer_key_that_is_expired_itself_is_not_recommended() -> None:
    """It is about to be disabled too: to move to it would be to move twice."""
    newer = make_key(age_days=190, access_key_id="AKIAIOSFODNN7EXNEWER")
    planned = Situation(keys=(KEY, newer)).plan()
    outlooks = {one.key: one.outlook for chain in planned.chains if chain.message for one in chain.message.keys}
    assert outlooks[KEY].newer is None
