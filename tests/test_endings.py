"""Nothing is begun or ended because of what was listed before: who is asked for first, and what is left undone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keycheck.actions import CommentIssue, Plan
from keycheck.model import AgeLabel, KeyRecord, LabelledKey, State
from keycheck.planning import plan_profile, users_to_confirm
from keycheck.rules.case import Facts, SharedFacts
from tests.builders import ACCOUNT, DAY, NOW, PROFILE, make_facts, make_key, make_record, make_settings, open_issues_of

SETTINGS = make_settings()
OLD = make_key("dev_kramer", age_days=197)
OFF = replace(
    make_key("dev_kramer", age_days=197, status="Inactive", access_key_id="AKIA000000000000OFF"),
    label=AgeLabel.DISABLED,
)
YOUNG = make_key("dev_kramer", age_days=3, access_key_id="AKIA0000000000YOUNG")
ISSUE: dict[str, Any] = {"issue_key": "SEC-1", "issue_site": SETTINGS.jira_site}


def known_of(*records: KeyRecord) -> SharedFacts:
    state = State({record.access_key_id: record for record in records})
    return SharedFacts(state, open_issues_of({"SEC-1"}, records), frozenset())


def planned(keys: list[LabelledKey], facts: Facts, known: SharedFacts) -> tuple[Plan, frozenset[str]]:
    plan = plan_profile(PROFILE, keys, facts, known, SETTINGS, NOW)
    return plan, users_to_confirm(PROFILE, keys, facts, known, SETTINGS, NOW)


def test_an_access_key_that_needs_attention_and_was_not_asked_for_is_left_alone() -> None:
    """There is none: whoever may need attention is asked for. If there were, nothing would be done."""
    live, _ = planned([OLD], make_facts([OLD]), known_of())
    assert live.chains
    cached, confirm = planned([OLD], make_facts([OLD], cached=frozenset({"dev_kramer"})), known_of())
    assert (cached.chains, cached.skips, confirm) == ((), (), frozenset())


@pytest.mark.parametrize(
    ("keys", "record"),
    [
        pytest.param([OFF], make_record(OFF, **ISSUE), id="inactive"),
        pytest.param([YOUNG], make_record(YOUNG, **ISSUE), id="young again"),
        pytest.param([YOUNG], make_record(OFF, **ISSUE), id="gone"),
        pytest.param([OFF], make_record(OFF, disabling_at=NOW - DAY), id="an intent"),
    ],
)
def test_what_would_end_by_a_cached_listing_waits_until_its_user_was_asked_for(
    keys: list[LabelledKey], record: KeyRecord
) -> None:
    known = known_of(record)
    live, nobody = planned(keys, make_facts(keys), known)
    assert nobody == frozenset()
    assert live.chains
    cached, confirm = planned(keys, make_facts(keys, cached=frozenset({"dev_kramer", "other"})), known)
    assert confirm == {"dev_kramer"}
    assert (cached.chains, cached.skips) == ((), ())


def test_whoever_is_gone_altogether_need_not_be_asked_for() -> None:
    """ListUsers, which is always asked, does not name the user."""
    facts, known = make_facts([], cached=frozenset({"other"})), known_of(make_record(OFF, **ISSUE))
    plan, confirm = planned([], facts, known)
    assert confirm == frozenset()
    assert [type(one) for chain in plan.chains for one in chain.issue_actions] == [CommentIssue]


def test_where_nothing_would_end_nobody_is_asked_for() -> None:
    ended = make_record(OFF, inactive_at=NOW - DAY, **{**ISSUE, "issue_ended_at": NOW - DAY})
    facts = make_facts([OFF], cached=frozenset({"dev_kramer"}))
    known = replace(known_of(ended), open_issues={})
    assert planned([OFF], facts, known) == (Plan(PROFILE), frozenset())
    assert planned([OFF], facts, replace(known, state=None))[1] == frozenset()
    assert facts.scan.account_id == ACCOUNT
