"""A dry run says the plan that a real run would carry out, with the same looks at Jira, and calls nothing else."""

from __future__ import annotations

from typing import cast

import pytest

from keycheck.acting.dry_run import dry_run
from keycheck.actions import Plan
from keycheck.clock import Stopped
from keycheck.services import Issues
from keycheck.words.issue import issue_draft
from sandbox.in_memory import Filed, MemoryAccount
from tests.acting.desk import SAID, Spoiled, error
from tests.builders import ACCOUNT, DAY, NOW, PROFILE
from tests.situations import Situation

SITE = "https://example.atlassian.net"


def the_plan() -> Plan:
    return Situation(record={"warned_at": None, "warned_owner": None}).plan()


def lines_of(planned: Plan, issues: Spoiled | None) -> list[str]:
    found = list(dry_run([planned], cast("Issues | None", issues), SITE))
    assert {profile for profile, _ in found} == {PROFILE}
    return [line for _, line in found]


@pytest.fixture
def issues() -> Spoiled:
    return Spoiled(MemoryAccount(ACCOUNT, NOW).open_issues())


def test_every_action_is_a_line_in_the_order_in_which_it_would_be_taken(issues: Spoiled) -> None:
    filing, message, disabling = lines_of(the_plan(), issues)
    assert filing.startswith("would file an issue for access key ...VHXVM of dev_kramer")
    assert message.startswith("would send a message to U012KRAMER about 1 access key")
    assert disabling.startswith("would disable access key ...VHXVM of dev_kramer")
    assert issues.asked == ["find_open", "find_original"]


def test_an_open_issue_is_found_as_a_real_run_would_find_it(issues: Spoiled) -> None:
    planned = the_plan()
    filing = planned.chains[0].issue_actions[0]
    account = issues.real._account  # type: ignore[attr-defined]
    account.issues["SEC-9"] = Filed("SEC-9", NOW - DAY, issue_draft(filing, PROFILE))  # type: ignore[arg-type]
    assert lines_of(planned, issues)[0].endswith("SEC-9 is open")


def test_a_look_that_fails_is_said_and_the_other_lines_follow(issues: Spoiled) -> None:
    issues.errors["find_open"] = error()
    first, *others = lines_of(the_plan(), issues)
    assert first.startswith("could not look whether it would file an issue for access key ...VHXVM")
    assert first.endswith(f": {SAID}")
    assert len(others) == 2


def test_where_no_time_is_left_to_look_that_is_said(issues: Spoiled) -> None:
    issues.errors["find_open"] = Stopped()
    assert lines_of(the_plan(), issues)[0].startswith("had no time left to look whether it would file an issue")


def test_without_jira_nothing_is_looked_up() -> None:
    assert lines_of(the_plan(), None)[0].startswith("would file an issue")
