"""What is planned in which situation, and what is not planned and why (design.md 2, 4 and 5)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from keycheck.actions import (
    Chain,
    CommentIssue,
    DisableKey,
    FileIssue,
    IssueEvent,
    MessageKey,
    NextStep,
    Outlook,
    Plan,
    Promise,
    SendMessage,
    SkipReason,
    Step,
)
from keycheck.labels import label_key
from keycheck.model import (
    AddresseeRecord,
    AgeLabel,
    DisabledRecord,
    IssueRecord,
    KeyRecord,
    LabelledKey,
    Notice,
    Owner,
    OwnerKind,
    State,
)
from keycheck.planning import due_keys, plan_profile, questions
from keycheck.rules.case import SharedFacts, first_instant
from keycheck.rules.filing import may_file_another
from keycheck.rules.telling import KEYS_IN_A_DIGEST, KEYS_IN_A_MESSAGE, may_message
from keycheck.settings import Settings
from tests.builders import (
    ACCOUNT,
    HOUR,
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

KRAMER = "U012KRAMER"
WEEK = timedelta(days=7)
OFF = {"send_slack": "False", "create_jira": "False", "disable_key": "False"}
EXPIRED = make_key(age_days=197)
EXPIRING = make_key(age_days=170, access_key_id="AKIAIOSFODNN7EXPIRNG")
OKAY = make_key(age_days=10, access_key_id="AKIAIOSFODNN7EXOKAY0")
DISABLED = make_key(age_days=400, access_key_id="AKIAIOSFODNN7EXDISAB", status="Inactive")
EVERY_LABEL = (EXPIRED, EXPIRING, OKAY, DISABLED)
REPEATABLE = hypothesis_settings(max_examples=80, derandomize=True, deadline=None)


def only(*switches: str, **changes: str) -> Settings:
    """Settings with just these switches on."""
    return make_settings(**{**OFF, **dict.fromkeys(switches, "True"), **changes})


def known(
    *records: KeyRecord,
    open_issues: Iterable[str] | None = (),
    own: Iterable[LabelledKey] = (),
    messaged: AddresseeRecord | None = None,
    slack_is_usable: bool = True,
) -> SharedFacts:
    """All services answered, and nothing is on record; name what differs. `messaged`: the record of dev_kramer."""
    addressees = {} if messaged is None else {make_addressee().record_id: messaged}
    return SharedFacts(
        State({record.access_key_id: record for record in records}, addressees),
        open_issues_of(open_issues, records),
        frozenset(key.access_key.access_key_id for key in own),
        slack_is_usable,
    )


Owned = Owner | Mapping[str, Owner]


def plan(
    keys: Sequence[LabelledKey], facts: SharedFacts, settings: Settings | None = None, owners: Owned | None = None
) -> Plan:
    """`owners`: by user name, or one of all users; by default dev_kramer is known."""
    if isinstance(owners, Owner):
        owners = {key.access_key.user_name: owners for key in keys}
    return plan_profile(PROFILE, keys, make_facts(keys, owners), facts, settings or make_settings(), NOW)


def filings(planned: Plan) -> list[FileIssue]:
    return [filing for chain in planned.chains for filing in chain.issue_actions if isinstance(filing, FileIssue)]


def filed(planned: Plan) -> list[str]:
    return [filing.key.access_key.last_five for filing in filings(planned)]


def messages(planned: Plan) -> list[SendMessage]:
    return [chain.message for chain in planned.chains if chain.message is not None]


def told(planned: Plan) -> list[str]:
    return [one.key.access_key.last_five for message in messages(planned) for one in message.keys]


def disabled(planned: Plan) -> list[str]:
    return [disabling.key.access_key.last_five for disabling in disablings(planned)]


def disablings(planned: Plan) -> list[DisableKey]:
    return [disabling for chain in planned.chains for disabling in chain.disablings]


def skipped(planned: Plan) -> list[tuple[Step, str, SkipReason]]:
    return [
        (skip.what, skip.key.access_key.last_five, skip.reason)
        for skip in planned.skips
        if isinstance(skip.key, LabelledKey)
    ]


# The switches


@pytest.mark.parametrize(
    ("switches", "to_file", "told_of", "to_disable"),
    [
        pytest.param([], [], [], [], id="none: a read-only audit"),
        pytest.param(["create_jira"], ["VHXVM", "PIRNG"], [], [], id="Jira alone"),
        pytest.param(["send_slack"], [], ["VHXVM", "PIRNG"], [], id="Slack alone"),
        pytest.param(["disable_key"], [], [], ["VHXVM"], id="disabling alone"),
        pytest.param(["send_slack", "create_jira"], ["VHXVM", "PIRNG"], ["VHXVM", "PIRNG"], [], id="Slack and Jira"),
        pytest.param(["send_slack", "disable_key"], [], ["VHXVM", "PIRNG"], ["VHXVM"], id="Slack and disabling"),
        pytest.param(["create_jira", "disable_key"], ["VHXVM", "PIRNG"], [], ["VHXVM"], id="Jira and disabling"),
        pytest.param(
            ["send_slack", "create_jira", "disable_key"],
            ["VHXVM", "PIRNG"],
            ["VHXVM", "PIRNG"],
            ["VHXVM"],
            id="all together",
        ),
    ],
)
def test_each_switch_plans_its_own_actions(
    switches: list[str], to_file: list[str], told_of: list[str], to_disable: list[str]
) -> None:
    owner = make_owner() if "send_slack" in switches else make_owner(None)
    planned = plan(EVERY_LABEL, known(), only(*switches), owner)
    assert filed(planned) == to_file
    assert told(planned) == told_of
    assert disabled(planned) == to_disable
    assert planned.skips == ()


def test_everything_on_one_user_is_one_chain_written_out() -> None:
    today, later = first_instant(NOW), first_instant(NOW + timedelta(days=10))
    newer = next(key.access_key for key in EVERY_LABEL if key.label is AgeLabel.OK)
    outlook = Outlook(NextStep.DISABLED_NOW, today, newer="OKAY0", key_count=4, newer_since=newer.create_date)
    expired = replace(outlook, in_days=0)
    expiring = replace(outlook, next_step=NextStep.DISABLED_FROM, day=later, in_days=10)
    assert plan(EVERY_LABEL, known()) == Plan(
        PROFILE,
        (
            Chain(
                PROFILE,
                (),
                (
                    FileIssue(EXPIRED, KeyRecord("AKIAIOSFODNN7EXVHXVM"), expired, promise=Promise(today)),
                    FileIssue(EXPIRING, KeyRecord("AKIAIOSFODNN7EXPIRNG"), expiring, promise=Promise(later)),
                ),
                SendMessage(
                    make_addressee(),
                    (
                        MessageKey(EXPIRED, KeyRecord("AKIAIOSFODNN7EXVHXVM"), expired, None, Promise(today, KRAMER)),
                        MessageKey(EXPIRING, KeyRecord("AKIAIOSFODNN7EXPIRNG"), expiring, None, Promise(later, KRAMER)),
                    ),
                ),
                (DisableKey(EXPIRED, KeyRecord("AKIAIOSFODNN7EXVHXVM"), make_owner(), has_notice=False),),
            ),
        ),
        places={ACCOUNT: 50},
    )


@pytest.mark.parametrize("keys", [(), (OKAY,), (DISABLED,), (OKAY, DISABLED)], ids=["none", "ok", "disabled", "both"])
@pytest.mark.parametrize("state", [State(), None], ids=["with state", "without state"])
def test_where_nothing_is_due_the_plan_is_empty(keys: tuple[LabelledKey, ...], state: State | None) -> None:
    assert plan(keys, replace(known(), state=state)) == Plan(PROFILE)


@pytest.mark.parametrize(
    ("switches", "due"),
    [
        pytest.param([], (), id="nothing on"),
        pytest.param(["disable_key"], (EXPIRED,), id="disabling alone looks at expired keys only"),
        pytest.param(["send_slack"], (EXPIRED, EXPIRING), id="Slack"),
        pytest.param(["create_jira"], (EXPIRED, EXPIRING), id="Jira"),
        pytest.param(["create_jira", "disable_key"], (EXPIRED, EXPIRING), id="Jira and disabling"),
    ],
)
def test_only_keys_for_which_something_may_be_due_are_looked_up(
    switches: list[str], due: tuple[LabelledKey, ...]
) -> None:
    assert due_keys(EVERY_LABEL, only(*switches)) == due


# State


@pytest.mark.parametrize(
    ("switches", "keys"),
    [
        (["send_slack"], ["VHXVM", "PIRNG"]),
        (["create_jira"], ["VHXVM", "PIRNG"]),
        (["disable_key"], ["VHXVM"]),
        (["send_slack", "create_jira", "disable_key"], ["VHXVM", "PIRNG"]),
    ],
    ids=["Slack", "Jira", "disabling", "all"],
)
def test_without_state_everything_due_is_a_skip(switches: list[str], keys: list[str]) -> None:
    planned = plan(EVERY_LABEL, replace(known(), state=None), only(*switches))
    assert planned.chains == ()
    assert [(key, reason) for _, key, reason in skipped(planned)] == [(key, SkipReason.NO_STATE) for key in keys]


# Issues


def test_where_jira_could_not_be_asked_no_issue_is_filed_but_the_message_is_sent() -> None:
    planned = plan([EXPIRED], known(open_issues=None))
    assert filed(planned) == []
    assert skipped(planned) == [(Step.FILE_ISSUE, "VHXVM", SkipReason.JIRA_OFF)]
    assert told(planned) == ["VHXVM"]
    assert disabled(planned) == ["VHXVM"], "the message on the way is a warning"


@pytest.mark.parametrize(
    ("issue_key", "open_issues", "is_filed"),
    [
        pytest.param("SEC-1", ["SEC-1", "SEC-2"], False, id="recorded and open"),
        pytest.param("SEC-1", ["SEC-2"], True, id="recorded and not among the open"),
        pytest.param("SEC-1", [], True, id="recorded and none open"),
        pytest.param(None, ["SEC-2"], True, id="none recorded, others open"),
        pytest.param(None, [], True, id="none recorded, none open"),
    ],
)
def test_an_issue_is_filed_unless_the_recorded_one_is_open(
    issue_key: str | None, open_issues: list[str], is_filed: bool
) -> None:
    planned = plan([EXPIRED], known(make_record(EXPIRED, issue_key=issue_key), open_issues=open_issues))
    assert filed(planned) == (["VHXVM"] if is_filed else [])
    assert planned.skips == ()
    if is_filed:
        assert filings(planned)[0].record.issue_key == issue_key, "the look and the claim rest on it"
    linked = issue_key if issue_key in open_issues else None
    assert messages(planned)[0].keys[0].issue_key == linked, "a message links to no closed issue"


@pytest.mark.parametrize(
    ("ages", "is_filed"),
    [
        pytest.param([], True, id="never filed"),
        pytest.param([SECOND], True, id="filed once, just now"),
        pytest.param([SECOND, SECOND], False, id="twice, just now"),
        pytest.param([WEEK - SECOND, SECOND], False, id="twice, the first a second short of seven days ago"),
        pytest.param([WEEK, SECOND], True, id="twice, the first exactly seven days ago"),
        pytest.param([WEEK + SECOND, SECOND], True, id="twice, the first longer ago"),
        pytest.param([WEEK, WEEK], True, id="twice, both exactly seven days ago"),
        pytest.param([30 * WEEK, 20 * WEEK, 10 * WEEK, SECOND], True, id="many, one of them lately"),
        pytest.param([30 * WEEK, HOUR, SECOND], False, id="many, two of them lately"),
        pytest.param([HOUR, -SECOND], False, id="one by a clock that is ahead counts"),
    ],
)
def test_no_third_issue_within_seven_days(ages: list[timedelta], is_filed: bool) -> None:
    record = make_record(EXPIRED, answered_filings=tuple(NOW - age for age in ages))
    planned = plan([EXPIRED], known(record))
    assert may_file_another(record.answered_filings, NOW) is is_filed
    assert filed(planned) == (["VHXVM"] if is_filed else [])
    assert skipped(planned) == ([] if is_filed else [(Step.FILE_ISSUE, "VHXVM", SkipReason.TOO_MANY_ISSUES)])
    assert told(planned) == ["VHXVM"], "the message does not depend on it"


def test_filings_of_unknown_outcome_do_not_keep_one_from_being_planned() -> None:
    """Jira is asked what they made before another is filed; the plan knows nothing of that."""
    assert filed(plan([EXPIRED], known(make_record(EXPIRED, issue_filings=(NOW - HOUR, NOW - SECOND))))) == ["VHXVM"]


def test_an_open_issue_is_no_reason_to_count_filings() -> None:
    record = make_record(EXPIRED, issue_key="SEC-1", answered_filings=(NOW - HOUR, NOW - SECOND))
    planned = plan([EXPIRED], known(record, open_issues=["SEC-1"]))
    assert filed(planned) == []
    assert planned.skips == ()


# Messages


@pytest.mark.parametrize(
    ("hours", "age", "is_sent"),
    [
        pytest.param(24, 24 * HOUR - SECOND, False, id="24 h: a second short"),
        pytest.param(24, 24 * HOUR, True, id="24 h: to the second"),
        pytest.param(24, 24 * HOUR + SECOND, True, id="24 h: a second more"),
        pytest.param(24, timedelta(0), False, id="24 h: this second"),
        pytest.param(24, -HOUR, False, id="24 h: by a clock that is ahead"),
        pytest.param(1, HOUR - SECOND, False, id="1 h: a second short"),
        pytest.param(1, HOUR, True, id="1 h: to the second"),
        pytest.param(720, 720 * HOUR - SECOND, False, id="720 h: a second short"),
        pytest.param(720, 720 * HOUR, True, id="720 h: to the second"),
    ],
)
def test_nobody_is_messaged_before_the_interval_is_over(hours: int, age: timedelta, is_sent: bool) -> None:
    settings = only("send_slack", "create_jira", nag_interval_hours=str(hours))
    record = AddresseeRecord(messaged_at=NOW - age)
    planned = plan([EXPIRED], known(messaged=record), settings)
    assert may_message(record, NOW, settings) is is_sent
    assert told(planned) == (["VHXVM"] if is_sent else [])
    assert planned.skips == (), "waiting is what was asked for, not something left undone"


def test_an_addressee_never_messaged_is_messaged() -> None:
    assert may_message(AddresseeRecord(), NOW, make_settings())


@pytest.mark.parametrize(
    ("not_before", "is_sent"),
    [
        pytest.param(NOW + SECOND, False, id="a second too early"),
        pytest.param(NOW, True, id="to the second"),
        pytest.param(NOW - SECOND, True, id="a second later"),
    ],
)
def test_after_two_server_errors_the_addressee_is_left_alone_until_then(not_before: datetime, is_sent: bool) -> None:
    facts = known(messaged=AddresseeRecord(not_before=not_before, server_errors=2))
    planned = plan([EXPIRED, EXPIRING], facts, only("send_slack"))
    assert told(planned) == (["VHXVM", "PIRNG"] if is_sent else [])
    expected = [(Step.NAG, last_five, SkipReason.RETRY_LATER) for last_five in ("VHXVM", "PIRNG")]
    assert skipped(planned) == ([] if is_sent else expected)


def test_an_unknown_owner_is_told_through_the_fallback_channel() -> None:
    planned = plan([EXPIRED], known(), owners=make_fallback_owner())
    assert [message.addressee for message in messages(planned)] == [
        make_addressee("C0FALLBACK", is_person=False, is_fallback=True)
    ]
    assert planned.skips == ()
    assert disabled(planned) == ["VHXVM"]


def test_an_unknown_owner_without_a_fallback_channel_is_a_skip() -> None:
    planned = plan([EXPIRED], known(), owners=make_owner(None))
    assert messages(planned) == []
    assert skipped(planned) == [(Step.NAG, "VHXVM", SkipReason.UNKNOWN_OWNER)]
    assert filed(planned) == ["VHXVM"], "the issue is filed all the same"


def test_without_a_usable_mapping_slack_is_off_and_the_rest_goes_on() -> None:
    """Issues are filed; but who the owner is, nobody knows in this run, so nothing is disabled."""
    planned = plan([EXPIRED], known(slack_is_usable=False), owners=Owner(OwnerKind.UNREAD))
    assert messages(planned) == []
    assert skipped(planned) == [
        (Step.NAG, "VHXVM", SkipReason.SLACK_OFF),
        (Step.DISABLE, "VHXVM", SkipReason.OWNER_UNREAD),
    ]
    assert filed(planned) == ["VHXVM"]


def test_where_slack_cannot_be_used_the_issue_still_warns_about_what_nobody_owns() -> None:
    planned = plan([EXPIRED], known(slack_is_usable=False), owners=make_owner(None))
    assert messages(planned) == []
    assert skipped(planned) == [(Step.NAG, "VHXVM", SkipReason.SLACK_OFF)]
    assert filed(planned) == disabled(planned) == ["VHXVM"]


def test_one_message_lists_all_keys_of_an_owner_with_two_iam_users() -> None:
    mine = make_key("dev_kramer", age_days=170)
    robot = make_key("robot_of_kramer", age_days=300, access_key_id="AKIAIOSFODNN7EXROBOT")
    hers = make_key("dev_jones", age_days=200, access_key_id="AKIAIOSFODNN7EXJONES")
    owners = {"dev_kramer": make_owner(), "robot_of_kramer": make_owner(), "dev_jones": make_owner("U0JONES")}
    planned = plan([mine, hers, robot], known(), owners=owners)
    assert [(m.addressee.slack_id, [one.key for one in m.keys]) for m in messages(planned)] == [
        (KRAMER, [robot, mine]),
        ("U0JONES", [hers]),
    ]
    assert [
        [filing.key for filing in chain.issue_actions if isinstance(filing, FileIssue)] for chain in planned.chains
    ] == [
        [robot, mine],
        [hers],
    ]


def test_users_without_an_owner_do_not_wait_for_each_other() -> None:
    """One chain each: nothing in common, so nothing to wait for."""
    one = make_key("dev_kramer")
    two = make_key("dev_jones", access_key_id="AKIAIOSFODNN7EXJONES")
    planned = plan([one, two], known(), owners=make_owner(None))
    assert len(planned.chains) == 2


def test_a_user_has_as_many_access_keys_as_the_scan_saw() -> None:
    """Inactive ones too: AWS counts them towards its quota of two."""
    planned = plan([EXPIRED, DISABLED], known())
    assert filings(planned)[0].outlook.key_count == 2
    assert messages(planned)[0].keys[0].outlook.key_count == 2
    assert filings(plan([EXPIRED], known()))[0].outlook.key_count == 1


def many_keys(count: int) -> list[LabelledKey]:
    return [
        make_key(f"user{number:03}", age_days=200 + number, access_key_id=f"AKIAIOSFODNN7EX{number:05}")
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("owner", "most"),
    [
        pytest.param(make_owner(), KEYS_IN_A_MESSAGE, id="an owner's message"),
        pytest.param(make_fallback_owner(), KEYS_IN_A_DIGEST, id="the digest in the fallback channel"),
    ],
)
@pytest.mark.parametrize("count", ["as many as fit", "one more", "a hundred"])
def test_a_message_lists_the_oldest_keys_and_counts_the_others(owner: Owner, most: int, count: str) -> None:
    keys = many_keys({"as many as fit": most, "one more": most + 1, "a hundred": 100}[count])
    listed, unlisted = most, len(keys) - most
    (message,) = messages(plan(keys, known(), owners=owner))
    assert [one.key for one in message.keys] == sorted(keys, key=lambda key: -key.age_days)[:listed]
    assert message.unlisted == unlisted


def test_a_key_that_did_not_fit_into_the_message_is_not_disabled_untold() -> None:
    keys = many_keys(KEYS_IN_A_MESSAGE + 1)
    planned = plan(keys, known(), only("send_slack", "disable_key"), make_owner())
    assert len(disabled(planned)) == KEYS_IN_A_MESSAGE
    assert skipped(planned) == [(Step.DISABLE, "00000", SkipReason.NOT_TOLD_YET)]


# Disabling


@pytest.mark.parametrize("switches", [["disable_key"], ["send_slack", "create_jira", "disable_key"]], ids=len)
def test_only_expired_keys_are_disabled(switches: list[str]) -> None:
    assert disabled(plan(EVERY_LABEL, known(), only(*switches))) == ["VHXVM"]


def test_disabling_alone_asks_for_no_warning() -> None:
    planned = plan([EXPIRED], known(open_issues=None), only("disable_key"), make_owner(None))
    (chain,) = planned.chains
    (one,) = chain.disablings
    assert (one.key, one.owner, one.has_notice) == (EXPIRED, None, False)
    assert chain == Chain(PROFILE, disablings=(one,))
    assert planned.skips == ()


JUST_MESSAGED = AddresseeRecord(messaged_at=NOW - HOUR)
WARNED = {"warned_at": NOW - HOUR, "warned_owner": KRAMER}


@pytest.mark.parametrize(
    ("record", "facts", "owner", "is_planned", "was_warned"),
    [
        pytest.param(WARNED, {"messaged": JUST_MESSAGED}, make_owner(), True, True, id="warned by message"),
        pytest.param({}, {}, make_owner(), True, False, id="message on the way"),
        pytest.param({}, {"messaged": JUST_MESSAGED}, make_owner(), False, False, id="messaged, but not of this key"),
        pytest.param(
            {"told_at": NOW - HOUR}, {"messaged": JUST_MESSAGED}, make_owner(), False, False, id="told of no day"
        ),
        pytest.param(
            {"issue_key": "SEC-1"},
            {"messaged": JUST_MESSAGED},
            make_owner(),
            False,
            False,
            id="an issue, but no warning",
        ),
        pytest.param({}, {"slack_is_usable": False}, make_owner(), False, False, id="Slack could not be used"),
        pytest.param({}, {}, make_owner(None), False, False, id="unknown owner"),
        pytest.param(
            {},
            {"messaged": AddresseeRecord(not_before=NOW + SECOND)},
            make_owner(),
            False,
            False,
            id="Slack failed twice",
        ),
        pytest.param(
            {"issue_filings": (NOW - HOUR,)},
            {"slack_is_usable": False},
            make_owner(),
            False,
            False,
            id="a filing of unknown outcome is none",
        ),
    ],
)
def test_with_slack_an_expired_key_is_disabled_only_after_a_warning(
    record: dict[str, Any], facts: dict[str, Any], owner: Owner, is_planned: bool, was_warned: bool
) -> None:
    planned = plan([EXPIRED], known(make_record(EXPIRED, **record), **facts), only("send_slack", "disable_key"), owner)
    why = SkipReason.NOT_TOLD_YET if facts == {"messaged": JUST_MESSAGED} else SkipReason.NOBODY_TOLD
    assert [one.has_notice for one in disablings(planned)] == ([was_warned] if is_planned else [])
    assert ((Step.DISABLE, "VHXVM", why) in skipped(planned)) is not is_planned


@pytest.mark.parametrize(
    ("record", "open_issues", "is_planned", "was_warned"),
    [
        pytest.param({"issue_key": "SEC-1", "warned": True}, ["SEC-1"], True, True, id="warned, its issue is open"),
        pytest.param({"issue_key": "SEC-1", "warned": True}, None, True, True, id="warned once, and Jira is down"),
        pytest.param({"issue_key": "SEC-1"}, ["SEC-1"], False, False, id="an issue that named no day"),
        pytest.param({"issue_key": "SEC-1"}, None, False, False, id="an issue that named no day, and Jira is down"),
        pytest.param({}, [], True, False, id="its filing is on the way"),
        pytest.param({}, None, False, False, id="Jira is down"),
        pytest.param({"answered_filings": (NOW - HOUR, NOW - HOUR)}, [], False, False, id="two filings, none known"),
    ],
)
def test_with_jira_an_expired_key_is_disabled_only_after_a_warning(
    record: dict[str, Any], open_issues: list[str] | None, is_planned: bool, was_warned: bool
) -> None:
    owner = make_owner(None)
    found = make_record(
        EXPIRED, owner if record.get("warned") else None, **{k: v for k, v in record.items() if k != "warned"}
    )
    planned = plan([EXPIRED], known(found, open_issues=open_issues), only("create_jira", "disable_key"), owner)
    assert [one.has_notice for one in disablings(planned)] == ([was_warned] if is_planned else [])
    assert ((Step.DISABLE, "VHXVM", SkipReason.NOBODY_TOLD) in skipped(planned)) is not is_planned


@pytest.mark.parametrize("warned", [{}, WARNED, {"issue_key": "SEC-1"}], ids=["no", "warned", "issue"])
def test_what_another_run_is_filing_about_is_not_disabled_beside_it(warned: dict[str, Any]) -> None:
    """Should that run have died, no issue would ever be filed about an access key that is inactive by then."""
    record = make_record(EXPIRED, issue_claim_until=NOW + timedelta(seconds=700), **warned)
    planned = plan([EXPIRED], known(record, messaged=JUST_MESSAGED))
    assert disablings(planned) == []
    assert (Step.DISABLE, "VHXVM", SkipReason.CLAIMED) in skipped(planned)


@pytest.mark.parametrize(
    "switches", [["disable_key"], ["send_slack", "create_jira", "disable_key"]], ids=["alone", "with Slack and Jira"]
)
def test_an_access_key_of_our_own_is_never_disabled(switches: list[str]) -> None:
    facts = known(make_record(EXPIRED, make_owner(), issue_key="SEC-1"), own=[EXPIRED])
    planned = plan([EXPIRED], facts, only(*switches))
    assert disabled(planned) == []
    assert (Step.DISABLE, "VHXVM", SkipReason.OWN_ACCESS_KEY) in skipped(planned)


def test_the_owner_of_an_access_key_of_our_own_is_told_that_it_stays() -> None:
    planned = plan([EXPIRED, EXPIRING], known(own=[EXPIRED, EXPIRING]))
    assert [filing.outlook.next_step for filing in filings(planned)] == [NextStep.NEVER_DISABLED] * 2
    assert [one.outlook.next_step for one in messages(planned)[0].keys] == [NextStep.NEVER_DISABLED] * 2
    assert [one.promise for one in messages(planned)[0].keys] == [None] * 2, "no day was named"


@pytest.mark.parametrize("own", [(), (EXPIRED,)], ids=["another's", "our own"])
def test_without_disabling_every_key_stays_active(own: tuple[LabelledKey, ...]) -> None:
    planned = plan([EXPIRED, EXPIRING], known(own=own), only("send_slack", "create_jira"))
    assert {filing.outlook for filing in filings(planned)} == {Outlook(NextStep.STAYS_ACTIVE, key_count=2)}
    assert {one.outlook.next_step for one in messages(planned)[0].keys} == {NextStep.STAYS_ACTIVE}
    assert {one.promise for one in messages(planned)[0].keys} == {None}, "no day was named"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param("AKIAIOSFODNN7EXAAAAA", "AKIAIOSFODNN7EXBBBBB", id="ids differ at the end"),
        pytest.param("AKIAIOSFODNN7AXVHXVM", "AKIAIOSFODNN7BXVHXVM", id="same last five"),
    ],
)
def test_of_two_keys_of_one_second_only_the_one_not_ours_is_disabled(ours: str, theirs: str) -> None:
    """Same user, same creation date: nothing but the full id tells them apart."""
    own, other = make_key(access_key_id=ours), make_key(access_key_id=theirs)
    for keys in permutations((own, other)):
        planned = plan(keys, known(own=[own]))
        assert [one.key.access_key.access_key_id for one in disablings(planned)] == [theirs]
        assert [(skip.key, skip.reason) for skip in planned.skips] == [(own, SkipReason.OWN_ACCESS_KEY)]
        next_steps = {one.key.access_key.access_key_id: one.outlook.next_step for one in messages(planned)[0].keys}
        assert next_steps == {ours: NextStep.NEVER_DISABLED, theirs: NextStep.DISABLED_NOW}


def test_last_five_characters_alone_identify_no_key() -> None:
    """The issue, the warning and the record of one key are not those of another that ends alike."""
    warned, other = make_key(access_key_id="AKIAIOSFODNN7AXVHXVM"), make_key(access_key_id="AKIAIOSFODNN7BXVHXVM")
    facts = known(make_record(warned, make_owner(), issue_key="SEC-1"), open_issues=["SEC-1"], messaged=JUST_MESSAGED)
    planned = plan([warned, other], facts)
    assert [one.key for one in disablings(planned)] == [warned]
    assert [filing.key for filing in filings(planned)] == [other]


# Order, and planning again


def test_the_oldest_keys_are_served_first_and_equals_by_user_name() -> None:
    old = make_key("zoe", age_days=400, access_key_id="AKIAIOSFODNN7EX00001")
    middle = make_key("amy", age_days=300, access_key_id="AKIAIOSFODNN7EX00002")
    equal = make_key("bob", age_days=300, access_key_id="AKIAIOSFODNN7EX00003")
    young = make_key("abe", age_days=181, access_key_id="AKIAIOSFODNN7EX00004")
    keys = (young, equal, old, middle)
    owners = {name: make_owner(f"U0{name.upper()}") for name in ("zoe", "amy", "bob", "abe")}
    expected = plan(keys, known(), owners=owners)
    assert filed(expected) == told(expected) == disabled(expected) == ["00001", "00002", "00003", "00004"]
    for shuffled in permutations(keys):
        assert plan(shuffled, known(), owners=owners) == expected


def test_keys_of_one_user_and_age_keep_the_order_of_the_scan() -> None:
    one, two = make_key(access_key_id="AKIAIOSFODNN7EX00001"), make_key(access_key_id="AKIAIOSFODNN7EX00002")
    assert told(plan([one, two], known())) == ["00001", "00002"]
    assert told(plan([two, one], known())) == ["00002", "00001"]


def recorded(planned: Plan, before: SharedFacts, gone: Iterable[LabelledKey] = ()) -> SharedFacts:
    """What the next run sees once all of a plan was done: issues open, messages and warnings recorded.

    `gone`: what of it was disabled.
    """
    assert before.state is not None
    keys, addressees = dict(before.state.keys), dict(before.state.addressees)

    def write(key: LabelledKey, promise: Promise | None, **changes: Any) -> None:
        access_key = key.access_key
        record = keys.get(access_key.access_key_id, KeyRecord(access_key.access_key_id, ACCOUNT, access_key.user_name))
        if promise is not None:
            notice = None if promise.owner is None else Notice(promise.owner, NOW, NOW)
            changes |= {"notice": notice, "disable_from": promise.day}
        keys[access_key.access_key_id] = replace(record, **changes)

    filed_issues = set()
    for filing in filings(planned):
        issue_key, answered = f"SEC-{filing.record.access_key_id}", (*filing.record.answered_filings, NOW)
        said = frozenset({filing.key.label.value})
        write(filing.key, filing.promise, issue=IssueRecord(issue_key, said), answered_filings=answered)
        filed_issues.add(issue_key)
    for message in messages(planned):
        addressees[message.addressee.record_id] = AddresseeRecord(messaged_at=NOW)
        for one in message.keys:
            write(one.key, one.promise, told_at=NOW)
    for key in gone:
        write(key, None, disabled=DisabledRecord(NOW, "run-1"), notice=None)
    filed = open_issues_of(filed_issues, keys.values()) or {}
    open_issues = None if before.open_issues is None else {**before.open_issues, **filed}
    return replace(before, state=State(keys, addressees), open_issues=open_issues)


def test_planning_again_after_everything_was_done_only_says_in_the_issue_what_was_disabled() -> None:
    first = plan(EVERY_LABEL, known())
    gone = [one.key for one in disablings(first)]
    after = [
        label_key(replace(key.access_key, status="Inactive"), NOW, expire_age=180, expiring_days=15)
        if key in gone
        else key
        for key in EVERY_LABEL
    ]
    second = plan(after, recorded(first, known(), gone))
    (chain,) = second.chains
    (comment,) = chain.issue_actions
    assert isinstance(comment, CommentIssue)
    assert (comment.event, comment.comment_marker) == (IssueEvent.DISABLED, "disabled by run run-1")
    assert chain == Chain(PROFILE, issue_actions=(comment,))
    assert second.skips == ()


def test_a_disabling_that_failed_is_all_that_is_planned_again() -> None:
    again = plan(EVERY_LABEL, recorded(plan(EVERY_LABEL, known()), known()))
    (chain,) = again.chains
    (one,) = chain.disablings
    assert (one.key, one.has_notice) == (EXPIRED, True)
    assert again == Plan(PROFILE, (Chain(PROFILE, disablings=(one,)),), places={ACCOUNT: 50})


# Whatever the situation

USERS = ("dev_kramer", "dev_jones", "robot", "nobody")


INSTANTS = st.sampled_from([NOW - age for age in (SECOND, HOUR, 24 * HOUR, 6 * 24 * HOUR, WEEK, 9 * WEEK)])
KEYS = st.tuples(
    st.sampled_from(USERS),
    st.sampled_from([0, 164, 165, 179, 180, 181, 900]),
    st.sampled_from(["Active", "Active", "Active", "Inactive", "Expired"]),
    st.sampled_from([True, False, False, False]),
    st.none() | INSTANTS,
    st.sampled_from([None, None, "SEC-1", "SEC-2"]),
    st.lists(INSTANTS, max_size=3),
)
OWNERS: list[dict[str, Owner]] = [
    dict.fromkeys(USERS, Owner(OwnerKind.UNREAD)),
    dict.fromkeys(USERS, make_owner(None)),
    {**dict.fromkeys(USERS, make_owner()), "dev_jones": make_owner("U0JONES"), "nobody": make_owner(None)},
    {**dict.fromkeys(USERS, make_fallback_owner()), "dev_kramer": make_owner(), "dev_jones": make_owner("C0TEAM")},
]
SITUATIONS = st.tuples(
    st.lists(KEYS, max_size=8),
    st.sets(st.sampled_from(sorted(OFF))),
    st.sampled_from([None, (), ("SEC-1",), ("SEC-1", "SEC-2")]),
    st.sampled_from(OWNERS),
    st.booleans(),
    st.none() | st.builds(AddresseeRecord, st.none() | INSTANTS, st.sampled_from([None, NOW, NOW + SECOND])),
)
Situation = tuple[list[LabelledKey], SharedFacts, Settings, dict[str, Owner]]


def situation_of(drawn: Any) -> Situation:
    """Keys of a few users with any records, under any switches: small enough that every case meets every other."""
    drawn_keys, switches, open_issues, owners, slack_is_usable, messaged = drawn
    keys, records, own = [], [], []
    for number, (user_name, age, status, is_own, warned_at, issue_key, answered) in enumerate(drawn_keys):
        key = make_key(user_name, age_days=age, access_key_id=f"AKIA{number:011}VHXVM", status=status)
        keys.append(key)
        own += [key] if is_own else []
        warned = {} if warned_at is None else {"warned_at": warned_at, "warned_owner": owners[user_name].identity}
        records.append(make_record(key, issue_key=issue_key, answered_filings=tuple(sorted(answered)), **warned))
    on_record = known(*records, open_issues=open_issues, own=own, messaged=messaged, slack_is_usable=slack_is_usable)
    return keys, on_record, only(*switches), owners


situations = SITUATIONS.map(situation_of)


@given(situations)
@REPEATABLE
def test_everything_due_is_planned_or_skipped_once(situation: Situation) -> None:
    """No key twice in one kind of action, none both done and skipped, no addressee twice, and no empty chain."""
    keys, facts, settings, owners = situation
    planned = plan(keys, facts, settings, owners)
    assert all(chain.notes or chain.issue_actions or chain.message or chain.disablings for chain in planned.chains)
    addressees = [message.addressee for message in messages(planned)]
    assert len(addressees) == len(set(addressees))
    done: list[tuple[Step, LabelledKey | KeyRecord]] = [(Step.FILE_ISSUE, filing.key) for filing in filings(planned)]
    done += [(Step.NAG, one.key) for message in messages(planned) for one in message.keys]
    done += [(Step.DISABLE, one.key) for one in disablings(planned)]
    done += [(skip.what, skip.key) for skip in planned.skips if skip.what is not Step.UPDATE_ISSUE]
    assert len(done) == len(set(done))
    assert {key for _, key in done} <= set(due_keys(keys, settings))
    if settings.disable_key:
        expired = {key for key in keys if key.label is AgeLabel.EXPIRED}
        assert expired == {key for what, key in done if what is Step.DISABLE}


@given(situations, st.randoms(use_true_random=False))
@REPEATABLE
def test_the_order_of_the_scan_decides_nothing_among_keys_that_differ(situation: Situation, random: Any) -> None:
    """Keys of one user and age are the equals that keep the order they came in; of those, one is left here."""
    keys, facts, settings, owners = situation
    distinct = list({(key.access_key.user_name, key.age_days): key for key in keys}.values())
    shuffled = random.sample(distinct, len(distinct))
    forwards, backwards = (plan(some, facts, settings, owners) for some in (distinct, shuffled))
    assert forwards == backwards


@given(situations)
@REPEATABLE
def test_planning_again_right_after_files_and_sends_nothing_more(situation: Situation) -> None:
    keys, facts, settings, owners = situation
    second = plan(keys, recorded(plan(keys, facts, settings, owners), facts), settings, owners)
    assert filed(second) == []
    assert messages(second) == []


def test_planning_grows_with_the_number_of_access_keys_and_not_with_its_square() -> None:
    """All of one addressee, the fallback channel: four times as many take some four times as long."""
    settings = make_settings(slack_fallback_channel="C0FALLBACK")
    nobodys = make_fallback_owner()

    def seconds(count: int) -> float:
        keys = [
            make_key(f"user_{number:05}", age_days=300, access_key_id=f"AKIA{number:016}") for number in range(count)
        ]
        facts = make_facts(keys, {key.access_key.user_name: nobodys for key in keys})
        taken = []
        for _ in range(3):
            began = time.process_time()
            questions(PROFILE, keys, facts, known(), settings, NOW)
            plan_profile(PROFILE, keys, facts, known(), settings, NOW)
            taken.append(time.process_time() - began)
        return min(taken)

    assert seconds(4000) < 9 * seconds(1000)
