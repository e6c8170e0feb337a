"""What there is to be planned, as planning is asked: one access key of which one thing differs, or any mixture.

In: what a test is about. Out: the call of plan_profile, and of questions, for it. No test stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from keycheck.actions import Observation, Plan, SkipReason, Step
from keycheck.model import (
    AddresseeRecord,
    Exemption,
    KeyRecord,
    LabelledKey,
    LastUse,
    Owner,
    OwnerKind,
    State,
)
from keycheck.planning import Questions, cases_of, plan_profile, questions
from keycheck.rules.case import Circumstances, Facts, SharedFacts, UserFacts
from keycheck.rules.waiting import Done, overdue_since
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
    make_settings,
    open_issues_of,
)

KRAMER = make_owner()
JONES = make_owner("U0JONES")
NOBODY = make_owner(None)
UNREAD = Owner(OwnerKind.UNREAD)
FALLBACK = make_fallback_owner()
BY_EMAIL = make_fallback_owner(OwnerKind.KNOWN, email="kramer@example.com", is_email_own=True)
KEY = make_key(age_days=197)
KEY_ID = KEY.access_key.access_key_id
UNTIL = date(2027, 1, 31)
EXEMPTION = Exemption(UNTIL, "runs the payroll; replaced in January")
USED = LastUse(NOW - HOUR, "s3", "eu-west-1")
JUST_MESSAGED = AddresseeRecord(messaged_at=NOW - HOUR)
HOLDS = (SkipReason.TAGS_UNREAD, SkipReason.EXEMPTIONS_UNREAD, SkipReason.BAD_EXEMPT_TAG)
REPEATABLE = hypothesis_settings(max_examples=150, derandomize=True, deadline=None)


@dataclass
class Situation:
    """One expired access key that nothing speaks against: its owner was warned eight days ago. Change what differs.

    `record`: what differs of the first access key's; `others`: the same of others, by access key id.
    """

    keys: Sequence[LabelledKey] = (KEY,)
    record: dict[str, Any] = field(default_factory=dict)
    others: dict[str, dict[str, Any]] = field(default_factory=dict)
    owner: Owner = KRAMER
    user: dict[str, Any] = field(default_factory=dict)
    scan: dict[str, Any] = field(default_factory=dict)
    last_uses: dict[str, LastUse | None] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    own: Iterable[str] = ()
    open_issues: frozenset[str] | None = frozenset()
    disablings: Mapping[str, tuple[datetime, ...]] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()
    messaged: AddresseeRecord = AddresseeRecord()  # noqa: RUF009 - frozen
    has_state: bool = True

    def facts(self) -> Facts:
        users = {key.access_key.user_name: UserFacts(self.owner, **self.user) for key in self.keys}
        return make_facts(self.keys, users, last_uses=self.last_uses, **self.scan)

    def records(self) -> dict[str, KeyRecord]:
        warned = {"warned_at": NOW - 8 * DAY, "warned_owner": KRAMER.identity}
        given = {self.keys[0].access_key.access_key_id: self.record, **self.others}
        by_id = {key.access_key.access_key_id: key for key in self.keys}
        return {key_id: make_record(by_id[key_id], **{**warned, **changes}) for key_id, changes in given.items()}

    def state(self) -> State:
        readable = {key: record for key, record in self.records().items() if key not in self.unreadable}
        addressees = {make_addressee().record_id: self.messaged}
        return State(readable, addressees, self.unreadable, disablings=self.disablings)

    def known(self) -> SharedFacts:
        found = open_issues_of(self.open_issues, self.records().values())
        return SharedFacts(self.state() if self.has_state else None, found, frozenset(self.own))

    def plan(self) -> Plan:
        return plan_profile(PROFILE, self.keys, self.facts(), self.known(), make_settings(**self.settings), NOW)

    def questions(self) -> Questions:
        return questions(PROFILE, self.keys, self.facts(), self.known(), make_settings(**self.settings), NOW)

    def is_overdue(self) -> bool:
        state, run = State(self.records()), Circumstances(make_settings(**self.settings), NOW)
        (case,) = cases_of([KEY], self.facts(), state, run)
        return overdue_since(case, Done()) is not None


def disabled(planned: Plan) -> list[str]:
    return [one.key.access_key.access_key_id for chain in planned.chains for one in chain.disablings]


def refusals(planned: Plan) -> list[SkipReason]:
    """Why an access key is not disabled: once, and with one reason."""
    return [skip.reason for skip in planned.skips if skip.what in (Step.ACT, Step.DISABLE)]


def notes(planned: Plan) -> list[Observation]:
    return [note for chain in planned.chains for note in chain.notes]


USERS = ("dev_kramer", "dev_jones", "robot", "nobody")
ACCOUNTS = (ACCOUNT, ACCOUNT, ACCOUNT, "999999999999")


def ago(*ages: timedelta) -> st.SearchStrategy[datetime | None]:
    return st.none() | st.sampled_from([NOW - age for age in ages])


RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "told_at": ago(HOUR, 8 * DAY),
        "issue_key": st.sampled_from(["SEC-1", "SEC-2"]),
        "answered_filings": st.just((NOW - DAY, NOW - HOUR)),
        "issue_claim_until": ago(-HOUR, DAY),
        "comments_made": st.sampled_from([frozenset(), frozenset({"expired"}), frozenset({"expiring", "ok"})]),
        "issue_assigned_to": st.sampled_from(["kramer@example.com", "jones@example.com"]),
        "issue_ended_at": ago(DAY),
        "warned_at": ago(-HOUR, timedelta(0), 7 * DAY - SECOND, 7 * DAY, 40 * DAY),
        "warned_owner": st.sampled_from(["U012KRAMER", "U0JONES", "kramer@example.com", "unknown"]),
        "disable_from": ago(timedelta(0), -SECOND, DAY, -20 * DAY),
        "disabling_at": ago(MINUTE, 15 * MINUTE, DAY),
        "disabled_at": ago(MINUTE, 15 * MINUTE, 8 * DAY),
        "inactive_at": ago(MINUTE, 15 * MINUTE, 8 * DAY),
        "reenabled_at": ago(HOUR, 7 * DAY - SECOND, 7 * DAY),
        "exempt_until": st.sampled_from([UNTIL, date(2026, 11, 20)]),
    },
)
KEYS = st.tuples(
    st.sampled_from(USERS),
    st.sampled_from([0, 164, 165, 179, 180, 181, 900]),
    st.sampled_from(["Active", "Active", "Active", "Active", "Inactive", "Expired"]),
    st.sampled_from(ACCOUNTS),
    RECORDS,
    st.sampled_from(["absent", "absent", "unread", "unused", "used"]),
)
MOSTLY_NOT = st.sampled_from([False, False, False, False, True])
OWNERS = st.sampled_from(
    [
        KRAMER,
        KRAMER,
        JONES,
        make_owner(email="kramer@example.com"),
        make_owner(addressee=None, email="kramer@example.com"),
        make_owner("C0TEAM", group="S0TEAM"),
        FALLBACK,
        BY_EMAIL,
        NOBODY,
        UNREAD,
    ]
)
USER_FACTS = st.builds(
    UserFacts,
    OWNERS,
    st.sampled_from([None, None, None, None, EXEMPTION]),
    st.sampled_from([None, None, None, None, None, *HOLDS]),
)
SETTINGS = st.fixed_dictionaries(
    {
        "send_slack": st.sampled_from(["True", "True", "False"]),
        "create_jira": st.sampled_from(["True", "True", "False"]),
        "disable_key": st.sampled_from(["True", "True", "True", "False"]),
        "disable_notice_days": st.sampled_from(["0", "7"]),
        "max_disables_per_day": st.sampled_from(["1", "2", "50"]),
        "disable_in_use_hours": st.sampled_from(["0", "24"]),
        "reenable_grace_days": st.sampled_from(["0", "7"]),
        "resolve_jira": st.sampled_from(["True", "False"]),
    }
)


@dataclass(frozen=True)
class Walk:
    """One call of plan_profile, as generated."""

    keys: list[LabelledKey]
    facts: Facts
    known: SharedFacts
    options: dict[str, str]

    def plan(self) -> Plan:
        return plan_profile(PROFILE, self.keys, self.facts, self.known, make_settings(**self.options), NOW)

    def questions(self) -> Questions:
        return questions(PROFILE, self.keys, self.facts, self.known, make_settings(**self.options), NOW)

    @property
    def state(self) -> State:
        assert self.known.state is not None
        return self.known.state


@st.composite
def walks(draw: st.DrawFn) -> Walk:
    """Keys of a few users with any records, facts and settings: small enough that every case meets every other."""
    keys, records, own, unreadable, last_uses = [], {}, set(), set(), {}
    for number, (user, age, status, account, record, use) in enumerate(draw(st.lists(KEYS, min_size=1, max_size=7))):
        key = make_key(user, age_days=age, access_key_id=f"AKIA{number:011}VHXVM", status=status, account_id=account)
        access_key_id = key.access_key.access_key_id
        keys.append(key)
        if draw(MOSTLY_NOT):
            own.add(access_key_id)
        if draw(MOSTLY_NOT):
            unreadable.add(access_key_id)
        else:
            records[access_key_id] = make_record(key, **record)
        if use != "absent":
            last_uses[access_key_id] = {"unread": None, "unused": LastUse(None), "used": USED}[use]
    lately = st.lists(st.sampled_from([NOW - HOUR, NOW - DAY + SECOND, NOW - DAY]), max_size=2).map(tuple)
    messaged = st.sampled_from(
        [AddresseeRecord(), AddresseeRecord(), JUST_MESSAGED, AddresseeRecord(not_before=NOW + HOUR)]
    )
    addressees = {f"slack:{ACCOUNT}:{name}": draw(messaged) for name in ("U012KRAMER", "U0JONES", "C0FALLBACK")}
    state = State(
        records, addressees, frozenset(unreadable), disablings={account: draw(lately) for account in set(ACCOUNTS)}
    )
    scan: dict[str, Any] = draw(
        st.sampled_from([{}, {}, {}, {"users_read": 19, "users_failed": 1}, {"users_failed": 9}, {"is_listed": False}])
    )
    facts = make_facts(
        keys, {name: draw(USER_FACTS) for name in USERS}, last_uses=last_uses, sees_whole_account=not scan, **scan
    )
    open_issues = draw(st.sampled_from([None, frozenset(), frozenset({"SEC-1"}), frozenset({"SEC-1", "SEC-2"})]))
    found = open_issues_of(open_issues, records.values())
    known = SharedFacts(state, found, frozenset(own), slack_is_usable=not draw(MOSTLY_NOT))
    return Walk(keys, facts, known, draw(SETTINGS))
