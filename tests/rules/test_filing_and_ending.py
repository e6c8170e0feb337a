"""What is said in an issue once it is filed, when it is closed, and whose issues are left alone (rules/, by plans)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from keycheck.actions import (
    AssignIssue,
    Chain,
    CommentIssue,
    FileIssue,
    IssueEvent,
    Observation,
    ObservationKind,
    Plan,
    Promise,
    Skip,
    SkipReason,
    Step,
)
from keycheck.model import AddresseeRecord, Exemption, KeyRecord, LabelledKey, LastUse, Owner, OwnerKind, State
from keycheck.planning import plan_profile
from keycheck.rules.case import SharedFacts, UserFacts, first_instant
from tests.builders import (
    ACCOUNT,
    DAY,
    HOUR,
    MINUTE,
    NOW,
    PROFILE,
    SECOND,
    make_addressee,
    make_facts,
    make_fallback_owner,
    make_key,
    make_owner,
    make_record,
    make_scan,
    make_settings,
    open_issues_of,
)

KRAMER = make_owner()
NOBODY = make_owner(None)
EMAIL = "kramer@example.com"
ASSIGNED = make_owner(email=EMAIL, is_email_own=True)
EXPIRED = make_key(age_days=197)
EXPIRING = make_key(age_days=170)
OKAY = make_key(age_days=10)
INACTIVE = make_key(age_days=197, status="Inactive")
KEY_ID = EXPIRED.access_key.access_key_id
USED = LastUse(NOW - HOUR, "s3", "eu-west-1")
SAID_OF_EXPIRED = frozenset({"expiring", "expired"})
REPEATABLE = hypothesis_settings(max_examples=200, derandomize=True, deadline=None)


@dataclass
class Case:
    """One access key with an open issue on record, filed while it was expiring; its owner was warned, and lately told.

    `key` is None where AWS no longer shows it. `record`: what differs of its record.
    """

    key: LabelledKey | None = EXPIRED
    record: dict[str, Any] = field(default_factory=dict)
    owner: Owner = KRAMER
    last_use: LastUse | None = None
    settings: dict[str, str] = field(default_factory=dict)
    open_issues: frozenset[str] | None = frozenset({"SEC-1", "SEC-2"})
    sees_whole_account: bool = True
    scan: dict[str, Any] = field(default_factory=dict)
    user: dict[str, Any] = field(default_factory=dict)
    own: frozenset[str] = frozenset()

    def found(self) -> KeyRecord:
        usual = {"issue_key": "SEC-1", "comments_made": frozenset({"expiring"}), "told_at": NOW - HOUR}
        return make_record(EXPIRED, KRAMER, **{**usual, **self.record})

    def plan(self) -> Plan:
        keys = [] if self.key is None else [self.key]
        facts = make_facts(
            keys,
            {"dev_kramer": UserFacts(self.owner, **self.user)},
            last_uses={KEY_ID: self.last_use} if self.last_use is not None else {},
            sees_whole_account=self.sees_whole_account,
            **self.scan,
        )
        state = State({KEY_ID: self.found()}, {make_addressee().record_id: AddresseeRecord(messaged_at=NOW - HOUR)})
        known = SharedFacts(state, open_issues_of(self.open_issues, [self.found()]), self.own)
        return plan_profile(PROFILE, keys, facts, known, make_settings(**self.settings), NOW)

    def but(self, record: dict[str, Any] | None = None, **changes: Any) -> Case:
        """The same, with a few things different."""
        settings = {**self.settings, **changes.pop("settings", {})}
        return replace(self, record={**self.record, **(record or {})}, settings=settings, **changes)


def comments(planned: Plan) -> list[CommentIssue]:
    return [one for chain in planned.chains for one in chain.issue_actions if isinstance(one, CommentIssue)]


def made_in(record: KeyRecord) -> frozenset[str]:
    assert record.issue is not None
    return record.issue.comments_made


def said(planned: Plan) -> list[tuple[IssueEvent, str]]:
    return [(one.event, one.comment_marker) for one in comments(planned)]


def about_issues(planned: Plan) -> list[Skip]:
    return [skip for skip in planned.skips if skip.what in (Step.UPDATE_ISSUE, Step.FILE_ISSUE)]


LEFT_ALONE = {"disabled_by": "run-1", "disabled_at": NOW - 3 * DAY, "reenabled_at": NOW - 2 * DAY}
EVENTS = {
    "it has expired": (Case(), IssueEvent.EXPIRED, "expired"),
    "it is no longer due": (Case(OKAY), IssueEvent.NO_LONGER_DUE, "ok"),
    "a day is told": (
        Case(
            owner=NOBODY,
            record={"comments_made": SAID_OF_EXPIRED, "warned_at": None, "warned_owner": None},
            settings={"disable_notice_days": "7"},
        ),
        IssueEvent.NOTICE,
        "notice 2026-11-23",
    ),
    "its exemption has ended": (
        Case(
            owner=NOBODY,
            record={"comments_made": SAID_OF_EXPIRED, "exempt_until": (NOW - DAY).date()},
            settings={"send_slack": "False", "disable_key": "False"},
        ),
        IssueEvent.EXEMPTION_ENDED,
        "exempt until 2026-11-22",
    ),
    "it is in use": (
        Case(last_use=USED, record={"comments_made": SAID_OF_EXPIRED}, settings={"disable_in_use_hours": "24"}),
        IssueEvent.IN_USE,
        "in use 2026-11",
    ),
    "it was re-enabled": (
        Case(record={"comments_made": SAID_OF_EXPIRED, **LEFT_ALONE}),
        IssueEvent.REENABLED,
        "re-enabled after run run-1",
    ),
    "it is first seen re-enabled": (
        Case(record={"comments_made": SAID_OF_EXPIRED, "disabled_by": "run-1", "disabled_at": NOW - 3 * DAY}),
        IssueEvent.REENABLED,
        "re-enabled after run run-1",
    ),
    "keycheck disabled it": (
        Case(INACTIVE, record={"disabled_by": "run-1", "disabled_at": NOW - 2 * DAY}),
        IssueEvent.DISABLED,
        "disabled by run run-1",
    ),
    "its grace is over": (
        Case(
            INACTIVE,
            record={
                "disabled_by": "run-1",
                "disabled_at": NOW - 8 * DAY,
                "comments_made": frozenset({"disabled by run run-1"}),
            },
        ),
        IssueEvent.GRACE_OVER,
        "not missed since run run-1",
    ),
    "its grace is over, and its disabling was never said": (
        Case(INACTIVE, record={"disabled_by": "run-1", "disabled_at": NOW - 8 * DAY}),
        IssueEvent.GRACE_OVER,
        "not missed since run run-1",
    ),
    "somebody made it inactive": (Case(INACTIVE), IssueEvent.DEACTIVATED, "deactivated"),
    "AWS calls it expired": (
        Case(make_key(age_days=197, status="Expired")),
        IssueEvent.DEACTIVATED,
        "deactivated",
    ),
    "somebody re-enabled it, and somebody made it inactive": (
        Case(INACTIVE, record=LEFT_ALONE),
        IssueEvent.DEACTIVATED,
        "deactivated",
    ),
    "it is gone": (Case(None), IssueEvent.DELETED, "deleted"),
    "it is gone, and was disabled": (
        Case(None, record={"disabled_by": "run-1", "disabled_at": NOW - DAY}),
        IssueEvent.DELETED,
        "deleted",
    ),
    "it is gone, and was exempt": (
        Case(None, user={"exemption": Exemption(NOW.date(), "payroll")}),
        IssueEvent.DELETED,
        "deleted",
    ),
    "it is inactive, and its user is exempt": (
        Case(INACTIVE, user={"exemption": Exemption(NOW.date(), "payroll")}),
        IssueEvent.DEACTIVATED,
        "deactivated",
    ),
}
CLOSING = {IssueEvent.DEACTIVATED, IssueEvent.GRACE_OVER, IssueEvent.DELETED}
ENDED = {name for name, (_, event, _) in EVENTS.items() if event in CLOSING | {IssueEvent.DISABLED}}
each_event = pytest.mark.parametrize("name", EVENTS)
each_active = pytest.mark.parametrize("name", sorted(set(EVENTS) - ENDED))


def test_every_event_is_in_the_table_and_the_last_words_close() -> None:
    assert {event for _, event, _ in EVENTS.values()} == set(IssueEvent)
    assert {event for event in IssueEvent if event.closes} == CLOSING


@each_event
def test_every_event_is_said_with_its_mark(name: str) -> None:
    case, event, mark = EVENTS[name]
    planned = case.plan()
    assert said(planned) == [(event, mark)]
    (comment,) = comments(planned)
    assert comment.key == case.key
    assert comment.record.access_key_id == KEY_ID
    assert comment.record.issue_key == "SEC-1", "by the recorded issue's own key"
    assert about_issues(planned) == []


def test_every_event_is_said_once() -> None:
    for name, (case, _, mark) in EVENTS.items():
        everything = made_in(case.found()) | {mark, "expired", "expiring"}
        assert said(case.but({"comments_made": everything}).plan()) == [], name


def test_nothing_is_said_in_an_issue_that_is_done_with() -> None:
    """Closed, or found closed or gone; its issue key stays on record."""
    for name, (case, _, _) in EVENTS.items():
        closed = case.open_issues and case.open_issues - {"SEC-1"}
        assert said(case.but({"issue_ended_at": NOW - DAY}, open_issues=closed).plan()) == [], name


def test_nothing_is_said_without_create_jira() -> None:
    for name, (case, _, _) in EVENTS.items():
        planned = case.but(settings={"create_jira": "False"}).plan()
        assert not any(chain.issue_actions for chain in planned.chains), name
        assert about_issues(planned) == [], name


def test_nothing_is_said_where_no_issue_is_on_record() -> None:
    for name, (case, _, _) in EVENTS.items():
        planned = case.but({"issue_key": None}).plan()
        assert said(planned) == [], name


def test_where_jira_is_off_what_is_due_is_a_skip() -> None:
    for name, (case, _, _) in EVENTS.items():
        planned = case.but(open_issues=None).plan()
        assert not any(chain.issue_actions for chain in planned.chains), name
        what = Step.UPDATE_ISSUE if name in ENDED else Step.FILE_ISSUE
        gone = replace(case.found(), notice=None)
        expected = [Skip(PROFILE, what, case.key or gone, SkipReason.JIRA_OFF)]
        if name == "it is no longer due":
            expected = []  # nothing hangs on it, and there is another run
        assert about_issues(planned) == expected, name


def test_what_another_run_has_claimed_is_left_to_it() -> None:
    for name, (case, _, _) in EVENTS.items():
        planned = case.but({"issue_claim_until": NOW + HOUR}).plan()
        assert not any(chain.issue_actions for chain in planned.chains), name
        skips = {skip.reason for skip in about_issues(planned)}
        assert skips == ({SkipReason.CLAIMED} if name in ENDED else set()), name


def test_a_claim_that_has_lapsed_holds_nothing_back() -> None:
    for name, (case, event, mark) in EVENTS.items():
        assert said(case.but({"issue_claim_until": NOW}).plan()) == [(event, mark)], name


def test_in_an_issue_that_a_person_has_closed_only_the_last_word_is_tried() -> None:
    """acting/issues.py finds it closed, says nothing, and notes that it is done with."""
    for name, (case, event, mark) in EVENTS.items():
        planned = case.but(open_issues=frozenset({"SEC-2"})).plan()
        assert said(planned) == ([(event, mark)] if event in CLOSING else []), name


def test_resolve_jira_off_leaves_the_closing_to_people() -> None:
    for name, (case, event, mark) in EVENTS.items():
        planned = case.but(settings={"resolve_jira": "False"}).plan()
        assert said(planned) == ([] if event in CLOSING else [(event, mark)]), name
        assert about_issues(planned) == [], name


def test_the_end_of_a_key_is_a_chain_of_its_own() -> None:
    """No message, nothing disabled, and nothing that waits for another's."""
    for name in sorted(ENDED):
        case, _, _ = EVENTS[name]
        (chain,) = [chain for chain in case.plan().chains if chain.issue_actions]
        assert chain == Chain(PROFILE, chain.notes, tuple(comments(case.plan()))), name


@each_active
def test_a_comment_about_an_active_key_goes_before_its_message(name: str) -> None:
    case, _, _ = EVENTS[name]
    if name == "it is no longer due":
        assert not any(chain.message for chain in case.plan().chains)
        return
    (chain,) = [chain for chain in case.plan().chains if chain.issue_actions]
    assert [type(one) for one in chain.issue_actions] == [CommentIssue], "and no second issue is filed"


def test_issues_are_kept_up_whatever_else_is_off() -> None:
    for name, (case, event, mark) in EVENTS.items():
        for switch in ["send_slack", "disable_key"]:
            expected = [(event, mark)]
            if switch == "disable_key" and event in (IssueEvent.NOTICE, IssueEvent.IN_USE):
                expected = []  # there is no day to tell, and nothing that its use holds up
            assert said(case.but(settings={switch: "False"}).plan()) == expected, name


# Which of several is said first


@pytest.mark.parametrize(
    ("already", "expected"),
    [
        (set(), IssueEvent.REENABLED),
        ({"re-enabled after run run-1"}, IssueEvent.IN_USE),
        ({"re-enabled after run run-1", "in use 2026-11"}, IssueEvent.EXPIRED),
        ({"re-enabled after run run-1", "in use 2026-11", "expired"}, IssueEvent.NOTICE),
        ({"re-enabled after run run-1", "in use 2026-11", "expired", "notice 2026-11-23"}, None),
    ],
    ids=["nothing yet", "re-enabled", "in use", "expired", "notice"],
)
def test_several_events_are_said_one_a_run(already: set[str], expected: IssueEvent | None) -> None:
    record = {
        "disabled_by": "run-1",
        "disabled_at": NOW - 10 * DAY,
        "reenabled_at": NOW - 9 * DAY,
        "comments_made": frozenset(already),
        "warned_at": None,
        "warned_owner": None,
    }
    case = Case(record=record, owner=NOBODY, last_use=USED, settings={"disable_in_use_hours": "24"})
    assert [event for event, _ in said(case.plan())] == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("mark", "is_said"),
    [("in use 2026-11", False), ("in use 2026-10", True), ("in use 2025-11", True)],
    ids=["this month", "last month", "a year ago"],
)
def test_a_use_is_said_once_a_month(mark: str, is_said: bool) -> None:
    case, event, _ = EVENTS["it is in use"]
    planned = case.but({"comments_made": SAID_OF_EXPIRED | {mark}}).plan()
    assert [one for one, _ in said(planned)] == ([event] if is_said else [])


def test_a_use_that_could_not_be_read_is_no_escalation() -> None:
    """It holds the disabling back; there is nothing to say about it."""
    case, _, _ = EVENTS["it is in use"]
    record = case.found()
    facts = make_facts([EXPIRED], last_uses={KEY_ID: None})
    known = SharedFacts(State({KEY_ID: record}), open_issues_of({"SEC-1"}, [record]), frozenset())
    settings = make_settings(disable_in_use_hours="24", send_slack="False")
    planned = plan_profile(PROFILE, [EXPIRED], facts, known, settings, NOW)
    assert [(skip.what, skip.reason) for skip in planned.skips] == [(Step.DISABLE, SkipReason.IN_USE)]
    assert said(planned) == []


def test_a_second_disabling_and_a_second_re_enabling_are_said_again() -> None:
    before = frozenset({"expired", "disabled by run run-0", "re-enabled after run run-0"})
    again = Case(INACTIVE, record={"disabled_by": "run-1", "disabled_at": NOW - DAY, "comments_made": before})
    assert said(again.plan()) == [(IssueEvent.DISABLED, "disabled by run run-1")]
    undone = Case(
        record={"disabled_by": "run-1", "disabled_at": NOW - DAY, "reenabled_at": NOW - HOUR, "comments_made": before}
    )
    assert said(undone.plan()) == [(IssueEvent.REENABLED, "re-enabled after run run-1")]


def test_what_was_filed_as_expired_is_not_said_to_have_expired() -> None:
    assert said(Case(record={"comments_made": frozenset({"expired"})}).plan()) == []


def test_an_expiring_key_has_nothing_to_say_yet() -> None:
    assert said(Case(EXPIRING).plan()) == []


# What a comment promises


@pytest.mark.parametrize(
    ("owner", "assigned_to", "counts"),
    [
        pytest.param(NOBODY, None, True, id="unknown owner"),
        pytest.param(KRAMER, None, False, id="known, and the issue is nobody's"),
        pytest.param(ASSIGNED, EMAIL, True, id="assigned to the owner"),
        pytest.param(KRAMER, EMAIL, False, id="assigned, and no longer the owner's address"),
        pytest.param(make_owner(email=EMAIL), EMAIL, False, id="assigned by an address beside the owner's name"),
        pytest.param(make_fallback_owner(), None, False, id="unknown, and a channel is told instead"),
        pytest.param(Owner(OwnerKind.UNREAD), None, False, id="unread"),
    ],
)
def test_which_comments_give_a_notice(owner: Owner, assigned_to: str | None, counts: bool) -> None:
    record = {"issue_assigned_to": assigned_to, "warned_at": None, "warned_owner": None}
    case = Case(owner=owner, record=record, settings={"disable_notice_days": "7"})
    (comment,) = comments(case.plan())
    day = first_instant(NOW + 7 * DAY)
    assert comment.promise == Promise(day, owner.identity if counts else None)
    told = case.but({"comments_made": SAID_OF_EXPIRED}).plan()
    assert [event for event, _ in said(told)] == ([IssueEvent.NOTICE] if counts else [])


@pytest.mark.parametrize(
    ("already", "is_said"),
    [("notice 2026-11-23", False), ("notice 2026-11-22", True)],
    ids=["today", "yesterday"],
)
def test_a_day_is_told_once_a_day_until_that_is_on_record(already: str, is_said: bool) -> None:
    case, _, _ = EVENTS["a day is told"]
    assert bool(said(case.but({"comments_made": SAID_OF_EXPIRED | {already}}).plan())) is is_said
    warned = {"warned_at": NOW - HOUR, "warned_owner": NOBODY.identity, "comments_made": SAID_OF_EXPIRED | {already}}
    assert said(case.but(warned).plan()) == []


@pytest.mark.parametrize(
    "before",
    [
        pytest.param({"voided_at": NOW - HOUR}, id="void since"),
        pytest.param({"warned_at": NOW - 20 * DAY, "notice_kept_at": NOW - 15 * DAY}, id="lapsed"),
    ],
)
def test_a_day_is_told_anew_on_the_same_day_if_the_notice_before_has_ended(before: dict[str, Any]) -> None:
    """And under the same words by each run until it is on record, so that it is found if it was said."""
    case, _, _ = EVENTS["a day is told"]
    told = case.but(
        {"comments_made": SAID_OF_EXPIRED | {"notice 2026-11-23"}, "warned_owner": NOBODY.identity, **before}
    )
    ((_, marker),) = said(told.plan())
    assert marker.startswith("notice 2026-11-23, after the one that ended 2026-11-")
    assert said(told.but({**told.record, "comments_made": SAID_OF_EXPIRED | {marker}}).plan()) == []


def test_a_comment_on_its_way_is_not_yet_a_notice() -> None:
    """The next run finds it on record; until then nobody was told."""
    case, _, _ = EVENTS["a day is told"]
    planned = case.but(settings={"disable_notice_days": "0", "send_slack": "False"}).plan()
    assert not any(chain.disablings for chain in planned.chains)
    assert [skip.reason for skip in planned.skips] == [SkipReason.NOBODY_TOLD]


def test_no_day_is_promised_for_a_key_of_our_own() -> None:
    case, _, _ = EVENTS["a day is told"]
    assert said(case.but(own=frozenset({KEY_ID})).plan()) == []


# Assigning


@pytest.mark.parametrize(
    ("owner", "assigned_to", "expected"),
    [
        pytest.param(ASSIGNED, None, EMAIL, id="nobody's yet"),
        pytest.param(ASSIGNED, "jones@example.com", EMAIL, id="another's"),
        pytest.param(ASSIGNED, EMAIL, None, id="the owner's"),
        pytest.param(KRAMER, None, None, id="the owner has no address"),
        pytest.param(KRAMER, "jones@example.com", None, id="another's, and the owner has no address"),
    ],
)
def test_an_open_issue_is_assigned_to_its_owner_once(
    owner: Owner, assigned_to: str | None, expected: str | None
) -> None:
    planned = Case(EXPIRING, owner=owner, record={"issue_assigned_to": assigned_to}).plan()
    found = [one for chain in planned.chains for one in chain.issue_actions]
    case = Case(EXPIRING, record={"issue_assigned_to": assigned_to})
    assert found == ([] if expected is None else [AssignIssue(EXPIRING, case.found(), expected)])


# Closing


@pytest.mark.parametrize(
    ("disabled_ago", "days", "event"),
    [
        pytest.param(7 * DAY - SECOND, 7, IssueEvent.DISABLED, id="7 days: a second short"),
        pytest.param(7 * DAY, 7, IssueEvent.GRACE_OVER, id="7 days: to the second"),
        pytest.param(timedelta(0), 0, IssueEvent.GRACE_OVER, id="0 days: at once"),
        pytest.param(29 * DAY, 30, IssueEvent.DISABLED, id="30 days: a day short"),
        pytest.param(-HOUR, 7, IssueEvent.DISABLED, id="by a clock that is ahead"),
    ],
)
def test_the_issue_of_what_keycheck_disabled_stays_open_for_the_grace(
    disabled_ago: timedelta, days: int, event: IssueEvent
) -> None:
    case = Case(
        INACTIVE,
        record={"disabled_by": "run-1", "disabled_at": NOW - disabled_ago},
        settings={"reenable_grace_days": str(days)},
    )
    assert [one for one, _ in said(case.plan())] == [event]
    (comment,) = comments(case.plan())
    assert comment.at == NOW - disabled_ago


def test_a_disabling_found_inactive_is_confirmed_and_said_once_it_is_known_by_which_run() -> None:
    """Else the next run, which reads it confirmed, would say it again."""
    begun = NOW - 2 * DAY
    case = Case(INACTIVE, record={"disabling_at": begun})
    planned = case.plan()
    assert [note for chain in planned.chains for note in chain.notes] == [
        Observation(case.found(), ObservationKind.CONFIRMED, INACTIVE)
    ]
    assert said(planned) == []
    confirmed = {"disabling_at": None, "disabled_by": "run-2", "disabled_at": begun}
    assert said(case.but(record=confirmed).plan()) == [(IssueEvent.DISABLED, "disabled by run run-2")]


def test_an_issue_that_was_closed_does_not_keep_another_from_being_filed_once_its_key_is_active() -> None:
    ended = {
        "issue_ended_at": NOW - DAY,
        "disabled_by": "run-1",
        "disabled_at": NOW - 20 * DAY,
        "reenabled_at": NOW - DAY,
    }
    planned = Case(record=ended, open_issues=frozenset({"SEC-2"})).plan()
    (filing,) = [one for chain in planned.chains for one in chain.issue_actions]
    assert isinstance(filing, FileIssue)


# Ours is what bears our label, on the site that has it

LABEL = EXPIRED.access_key.issue_label
ELSEWHERE = {"issue_site": "https://other.atlassian.net"}


def shown(found: dict[str, frozenset[str]], **case: Any) -> Plan:
    """A plan where Jira's search shows these open issues, whatever is on record."""
    it = Case(**case)
    keys = [] if it.key is None else [it.key]
    state = State({KEY_ID: it.found()}, {make_addressee().record_id: AddresseeRecord(messaged_at=NOW - HOUR)})
    facts = make_facts(keys, {"dev_kramer": KRAMER})
    return plan_profile(PROFILE, keys, facts, SharedFacts(state, found, frozenset()), make_settings(), NOW)


def kinds(planned: Plan) -> list[type]:
    return [type(one) for chain in planned.chains for one in chain.issue_actions]


@pytest.mark.parametrize("key", [EXPIRED, OKAY], ids=["due", "young again"])
def test_an_issue_without_the_access_keys_label_is_never_commented_on(key: LabelledKey) -> None:
    """The recorded key is another's issue by now: on another Jira, say, or with its label taken off."""
    planned = shown({"keycheck-0123456789abcdef": frozenset({"SEC-1"})}, key=key)
    assert kinds(planned) == ([FileIssue] if key is EXPIRED else [])


@pytest.mark.parametrize("key", [EXPIRED, OKAY, INACTIVE, None], ids=["due", "young again", "inactive", "gone"])
def test_on_another_site_there_is_no_recorded_issue(key: LabelledKey | None) -> None:
    planned = shown({LABEL: frozenset({"SEC-1"})}, key=key, record=ELSEWHERE)
    assert kinds(planned) == ([FileIssue] if key is EXPIRED else [])


def test_a_moved_issue_is_followed_before_anything_is_said_in_it() -> None:
    """By the look that comes before filing, whatever was filed lately."""
    planned = shown({LABEL: frozenset({"OPS-7"})}, record={"answered_filings": (NOW - HOUR, NOW - HOUR)})
    assert kinds(planned) == [FileIssue]


@pytest.mark.parametrize(
    ("ended", "is_open", "expected"),
    [
        pytest.param(DAY, True, [(IssueEvent.DELETED, "deleted, again on 2026-11-23")], id="re-opened since"),
        pytest.param(DAY, False, [], id="closed"),
        pytest.param(MINUTE, True, [], id="closed so lately that a search may not show it"),
    ],
)
def test_an_issue_that_a_person_re_opens_ends_again(ended: timedelta, is_open: bool, expected: list[Any]) -> None:
    record = {"issue_ended_at": NOW - ended, "comments_made": frozenset({"deleted"})}
    found = {LABEL: frozenset({"SEC-1"})} if is_open else {}
    assert said(shown(found, key=None, record=record)) == expected
    if expected:
        again = record | {"comments_made": frozenset({"deleted", "deleted, again on 2026-11-23"})}
        assert said(shown(found, key=None, record=again)) == [], "once a day"


# Nothing is inferred from half a scan, and another account's issues are another's


@pytest.mark.parametrize(
    ("record", "sees_whole_account", "is_closed"),
    [
        pytest.param({}, True, True, id="a complete scan, its own account"),
        pytest.param({}, False, False, id="an incomplete scan"),
        pytest.param({"account_id": "999999999999"}, True, False, id="another account"),
        pytest.param({"account_id": "999999999999"}, False, False, id="another account, an incomplete scan"),
        pytest.param({"account_id": ""}, True, False, id="nobody knows which account"),
    ],
)
@pytest.mark.parametrize("disabling_at", [None, NOW - HOUR], ids=["", "with an intent"])
def test_only_a_complete_scan_of_its_own_account_ends_what_is_absent(
    record: dict[str, Any], sees_whole_account: bool, is_closed: bool, disabling_at: Any
) -> None:
    planned = Case(None, record={**record, "disabling_at": disabling_at}, sees_whole_account=sees_whole_account).plan()
    assert said(planned) == ([(IssueEvent.DELETED, "deleted")] if is_closed else [])
    noted = [note.kind for chain in planned.chains for note in chain.notes]
    expected = [ObservationKind.VOID, *([ObservationKind.DROPPED] if disabling_at else [])]
    assert noted == (expected if is_closed else [])
    assert planned.skips == ()


def test_the_access_keys_of_a_user_who_vanished_during_the_scan_are_not_gone() -> None:
    """Renamed meanwhile, say: issue_renamed_user."""
    planned = Case(None, scan={"vanished": frozenset({"dev_kramer"})}).plan()
    assert planned == Plan(PROFILE)
    assert said(Case(None, scan={"vanished": frozenset({"somebody"})}).plan()) == [(IssueEvent.DELETED, "deleted")]


def test_a_scan_without_an_account_id_ends_nothing() -> None:
    """An account without users: nobody said which it is."""
    planned = Case(None, record={"account_id": ""}, scan={"account_id": ""}, sees_whole_account=False).plan()
    assert planned == Plan(PROFILE)


@pytest.mark.parametrize("key", [INACTIVE, OKAY, EXPIRED], ids=["inactive", "young", "expired"])
def test_what_an_incomplete_scan_did_show_is_said(key: LabelledKey) -> None:
    whole, half = Case(key), Case(key, sees_whole_account=False, scan={"is_complete": False})
    assert said(half.plan()) == said(whole.plan()) != []


def test_a_key_without_a_record_of_its_account_is_still_its_own() -> None:
    """An old record names no account; the access key is shown, and that is enough."""
    assert said(Case(INACTIVE, record={"account_id": ""}).plan()) == [(IssueEvent.DEACTIVATED, "deactivated")]


@pytest.mark.parametrize("key", [EXPIRED, EXPIRING, OKAY, INACTIVE], ids=["expired", "expiring", "young", "inactive"])
def test_two_profiles_of_one_account_say_everything_once(key: LabelledKey) -> None:
    """The first one plans for the access key, and speaks for the account; both scans show the same."""
    gone = make_record(
        make_key("dev_jones", access_key_id="AKIAIOSFODNN7EXJONES"), issue_key="SEC-2", comments_made=SAID_OF_EXPIRED
    )
    record = Case().found()
    known = SharedFacts(
        State({KEY_ID: record, gone.access_key_id: gone}),
        open_issues_of({"SEC-1", "SEC-2"}, [record, gone]),
        frozenset(),
    )
    settings = make_settings()
    first = plan_profile("first", [key], make_facts([key]), known, settings, NOW)
    facts = make_facts([], sees_whole_account=False)
    second = plan_profile("second", [], replace(facts, scan=make_scan([key])), known, settings, NOW)
    assert (IssueEvent.DELETED, "deleted") in said(first)
    assert second == Plan("second")
    alone = [one for one in said(first) if one != (IssueEvent.DELETED, "deleted")]
    assert alone == said(Case(key).plan())


def test_a_second_profile_that_saw_all_ends_nothing_of_what_the_first_one_shows() -> None:
    """The first profile's scan was incomplete; the access key is planned there, and shown here."""
    known = SharedFacts(State({KEY_ID: Case().found()}), open_issues_of({"SEC-1"}, [Case().found()]), frozenset())
    facts = replace(make_facts([]), scan=make_scan([EXPIRED]))
    assert plan_profile("second", [], facts, known, make_settings(), NOW) == Plan("second")


def test_a_key_that_ends_alike_does_not_keep_an_issue_open() -> None:
    twin = make_key(access_key_id="AKIAIOSFODNN7BXVHXVM", age_days=10)
    known = SharedFacts(State({KEY_ID: Case().found()}), open_issues_of({"SEC-1"}, [Case().found()]), frozenset())
    planned = plan_profile(PROFILE, [twin], make_facts([twin]), known, make_settings(), NOW)
    assert [(one.record.access_key_id, one.event) for one in comments(planned)] == [(KEY_ID, IssueEvent.DELETED)]


def test_an_unreadable_record_is_left_alone() -> None:
    for keys in ([], [INACTIVE], [OKAY], [EXPIRED]):
        known = SharedFacts(
            State(unreadable=frozenset({KEY_ID})), open_issues_of({"SEC-1"}, [Case().found()]), frozenset()
        )
        planned = plan_profile(PROFILE, keys, make_facts(keys), known, make_settings(), NOW)
        assert planned.chains == ()


def test_an_exempt_key_that_is_active_has_nothing_said_of_it() -> None:
    for key in (EXPIRED, EXPIRING):
        assert said(Case(key, user={"exemption": Exemption(NOW.date(), "payroll")}).plan()) == []


def test_without_state_no_issue_is_touched() -> None:
    known = SharedFacts(None, open_issues_of({"SEC-1"}, [Case().found()]), frozenset())
    assert plan_profile(PROFILE, [INACTIVE], make_facts([INACTIVE]), known, make_settings(), NOW) == Plan(PROFILE)


# Whatever the situation

MARKS = ["expired", "expiring", "ok", "deleted", "deactivated", "disabled by run run-1", "not missed since run run-1"]
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "issue_key": st.sampled_from(["SEC-1", "SEC-2", "OPS-7"]),
        "comments_made": st.sets(st.sampled_from(MARKS)).map(frozenset),
        "issue_claim_until": st.sampled_from([NOW + HOUR, NOW - HOUR]),
        "issue_ended_at": st.just(NOW - DAY),
        "issue_assigned_to": st.just(EMAIL),
        "warned_owner": st.just("unknown"),
        "warned_at": st.just(NOW - DAY),
        "disabling_at": st.sampled_from([NOW - timedelta(minutes=1), NOW - DAY]),
        "disabled_by": st.just("run-1"),
        "disabled_at": st.sampled_from([NOW - timedelta(minutes=1), NOW - 3 * DAY, NOW - 8 * DAY]),
        "reenabled_at": st.sampled_from([NOW - DAY, NOW - 8 * DAY]),
        "account_id": st.sampled_from([ACCOUNT, ACCOUNT, "999999999999", ""]),
    },
)
SHOWN = st.tuples(
    RECORDS,
    st.sampled_from([0, 170, 200]),
    st.sampled_from(["Active", "Active", "Inactive", "gone", "gone", "another profile's"]),
)


@given(
    st.lists(SHOWN, min_size=1, max_size=6),
    st.sampled_from([None, frozenset({"SEC-1"}), frozenset({"SEC-1", "SEC-2"})]),
    st.sampled_from([KRAMER, ASSIGNED, NOBODY, Owner(OwnerKind.UNREAD)]),
    st.booleans(),
    st.booleans(),
)
@REPEATABLE
def test_only_what_may_be_said_is_said_and_once(
    drawn: list[tuple[dict[str, Any], int, str]],
    open_issues: frozenset[str] | None,
    owner: Owner,
    sees_whole_account: bool,
    resolve_jira: bool,
) -> None:
    keys, elsewhere, records = [], [], {}
    for number, (record, age, status) in enumerate(drawn):
        aws_status = status if status in ("Active", "Inactive") else "Active"
        key = make_key(age_days=age, access_key_id=f"AKIA{number:011}VHXVM", status=aws_status)
        records[key.access_key.access_key_id] = make_record(key, **record)
        keys += [key] if status in ("Active", "Inactive") else []
        elsewhere += [key] if status == "another profile's" else []
    facts = make_facts([*keys, *elsewhere], {"dev_kramer": owner}, sees_whole_account=sees_whole_account)
    known = SharedFacts(State(records), open_issues_of(open_issues, records.values()), frozenset())
    planned = plan_profile(PROFILE, keys, facts, known, make_settings(resolve_jira=str(resolve_jira)), NOW)
    found = comments(planned)
    ids = [one.record.access_key_id for chain in planned.chains for one in chain.issue_actions]
    assert open_issues is not None or not ids
    assert len({one.record.access_key_id for one in found}) == len(found), "one comment an access key"
    shown = {key.access_key.access_key_id: key for key in keys}
    for one in found:
        on_record = records[one.record.access_key_id]
        assert on_record.issue is not None
        assert one.record.issue_key == on_record.issue_key
        assert not on_record.was_said(one.comment_marker)
        is_active = one.key is not None and one.key.access_key.is_active
        assert on_record.issue.ended_at is None or is_active or ", again on " in one.comment_marker
        assert on_record.issue_claim_until != NOW + HOUR
        assert one.event.closes or (open_issues is not None and on_record.issue_key in open_issues)
        assert resolve_jira or not one.event.closes
        listed = shown.get(on_record.access_key_id)
        assert one.key is listed
        assert (one.event is IssueEvent.DELETED) is (listed is None)
        if listed is None:
            assert sees_whole_account
            assert on_record.account_id == ACCOUNT
            assert on_record.access_key_id not in {other.access_key.access_key_id for other in elsewhere}
        else:
            is_of_inactive = one.event in (IssueEvent.DISABLED, IssueEvent.DEACTIVATED, IssueEvent.GRACE_OVER)
            assert is_of_inactive is not listed.access_key.is_active


def test_orders_of_records_decide_nothing() -> None:
    keys = [make_key(age_days=197, access_key_id=f"AKIA{number:011}VHXVM", status="Inactive") for number in range(3)]
    records = [make_record(key, issue_key="SEC-1", comments_made=SAID_OF_EXPIRED) for key in keys]
    plans = []
    for order in permutations(records):
        known = SharedFacts(
            State({one.access_key_id: one for one in order}), open_issues_of({"SEC-1"}, order), frozenset()
        )
        planned = plan_profile(PROFILE, keys, make_facts(keys), known, make_settings(), NOW)
        plans.append(sorted(one.record.access_key_id for one in comments(planned)))
    assert plans == [sorted(one.access_key_id for one in records)] * len(plans)


@pytest.mark.parametrize("name", ["it has expired", "it was re-enabled", "it is in use"])
def test_an_issue_that_cannot_be_assigned_still_says_what_happens(name: str) -> None:
    """Jira knows nobody by that address: assigning is tried in every run, and must not be all that is ever tried."""
    case, event, mark = EVENTS[name]
    planned = case.but(owner=ASSIGNED).plan()
    assert said(planned) == [(event, mark)]


def test_an_issue_that_could_not_be_closed_goes_on_once_its_key_is_active_again() -> None:
    """A workflow without such a transition: the issue is open, so no other is filed, and this one must speak."""
    ended = {"issue_ended_at": NOW - DAY, "comments_made": frozenset({"expired", "deactivated"}), **LEFT_ALONE}
    assert said(Case(record=ended).plan()) == [(IssueEvent.REENABLED, "re-enabled after run run-1")]


def test_an_exemption_that_has_ended_is_said_in_the_issue_where_slack_is_off() -> None:
    """Its owner is to be told so; with issues alone there is no other way, and the open issue is silent."""
    record = {"exempt_until": (NOW - DAY).date(), "comments_made": SAID_OF_EXPIRED}
    off = {"send_slack": "False", "disable_key": "False"}
    (comment,) = comments(Case(owner=NOBODY, record=record, settings=off).plan())
    assert comment.outlook is not None
    assert comment.outlook.ended_exemption == (NOW - DAY).date()
