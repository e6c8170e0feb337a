"""The issue of one access key: at most one POST, no look that failed passes for "not found", each thing said once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keycheck.acting.issues import IssueWork
from keycheck.actions import AssignIssue, CommentIssue, FileIssue, IssueEvent, Outcomes, Result, SkipReason
from keycheck.clock import Stopped
from keycheck.model import Level
from keycheck.rules.changes import Value, floor
from keycheck.services import ClaimLost, Failure
from keycheck.words.issue import issue_draft
from sandbox.in_memory import Filed
from tests.acting.desk import SAID, Desk, ended, error, said
from tests.builders import DAY, HOUR, NOW, make_record
from tests.situations import KEY, KEY_ID, Situation

EMAIL = "kramer@example.com"
RECORD = make_record(KEY, issue_key="SEC-1")
COMMENT = CommentIssue(RECORD, IssueEvent.EXPIRED, "expired", KEY)
LAST_WORD = CommentIssue(RECORD, IssueEvent.DEACTIVATED, "deactivated", KEY)


def the_filing() -> FileIssue:
    planned = Situation(record={"warned_at": None, "warned_owner": None}, settings={"send_slack": "False"}).plan()
    (filing,) = [one for chain in planned.chains for one in chain.issue_actions]
    assert isinstance(filing, FileIssue)
    return filing


FILING = the_filing()


def seen_to(desk: Desk) -> Outcomes:
    assert isinstance(desk.task.action, FileIssue | AssignIssue | CommentIssue)
    IssueWork(desk.means).see_to(desk.task, desk.task.action)
    return desk.ledger.close()


def with_issue(action: CommentIssue | AssignIssue | FileIssue, **more: Any) -> Desk:
    """SEC-1 is open, and on record."""
    desk = Desk(action, **more)
    desk.account.items[KEY_ID] = {"iam_access_key_id": KEY_ID, "issue_key": "SEC-1"}
    desk.account.issues["SEC-1"] = Filed("SEC-1", NOW - DAY, the_draft(desk))
    return desk


def the_draft(desk: Desk) -> Any:
    return issue_draft(FILING, desk.task.profile)


def is_claim_left(desk: Desk) -> bool:
    return "issue_claim" in desk.item()


# Filed


def test_an_issue_is_filed_once_and_recorded() -> None:
    desk = Desk(FILING)
    closed = seen_to(desk)
    assert (ended(closed), said(closed), list(desk.account.issues)) == (Result.DONE, [], ["SEC-1"])
    assert desk.item()["issue_key"] == "SEC-1"
    assert desk.item()["issue_filings"] == desk.item()["answered_filings"] == (floor(NOW),)
    assert not is_claim_left(desk)


def test_the_claim_and_the_note_of_the_filing_stand_before_the_post() -> None:
    seen: dict[str, int] = {}

    def look(write: str) -> None:
        seen[write] = len(desk.account.issues)

    desk = Desk(FILING, before=look)
    seen_to(desk)
    assert seen == {"claim_issue": 0, "begin_filing": 0, "record_issue": 1}


@pytest.mark.parametrize("is_recorded", [True, False])
def test_an_open_issue_is_found_and_recorded_instead(is_recorded: bool) -> None:
    """By the recorded key, which is never stale, or by the access key's label."""
    filing = replace(FILING, record=RECORD) if is_recorded else FILING
    desk = Desk(filing)
    desk.account.issues["SEC-1"] = Filed("SEC-1", NOW - DAY, the_draft(desk))
    if is_recorded:
        desk.account.items[KEY_ID] = {"iam_access_key_id": KEY_ID, "issue_key": "SEC-1"}
    assert ended(seen_to(desk)) is Result.NOT_NEEDED
    assert "create" not in desk.issues.asked
    assert desk.item()["issue_key"] == "SEC-1"
    assert not is_claim_left(desk)


def test_a_run_posts_no_second_issue_for_one_access_key() -> None:
    """Two profiles may show one account."""
    desk = Desk(FILING)
    work = IssueWork(desk.means)
    work.see_to(desk.task, FILING)
    desk.account.issues["SEC-1"].ended_at = NOW  # closed at once by a workflow
    work.see_to(desk.task, replace(FILING, record=make_record(KEY, issue_key="SEC-1")))
    assert desk.issues.asked.count("create") == 1


def test_no_third_issue_is_filed_within_seven_days() -> None:
    twice = (NOW - DAY, NOW - HOUR)
    desk = Desk(replace(FILING, record=make_record(KEY, issue_filings=twice, answered_filings=twice)))
    times = tuple(floor(at) for at in twice)
    desk.account.items[KEY_ID] = {"iam_access_key_id": KEY_ID, "issue_filings": times, "answered_filings": times}
    assert ended(seen_to(desk)) is SkipReason.TOO_MANY_ISSUES
    assert "create" not in desk.issues.asked
    assert desk.item()["issue_filings"] == times
    assert not is_claim_left(desk)


def test_filings_that_made_nothing_do_not_count_once_jira_says_so() -> None:
    desk = Desk(FILING)
    times = tuple(floor(at) for at in (NOW - DAY, NOW - HOUR))
    desk.account.items[KEY_ID] = {"iam_access_key_id": KEY_ID, "issue_filings": times}
    assert ended(seen_to(desk)) is Result.DONE
    assert desk.issues.asked.count("count_filed") == 1


# Not filed


def test_where_another_run_has_the_claim_jira_is_not_asked() -> None:
    desk = Desk(FILING)
    claim: dict[str, Value] = {"issue_claim": "theirs", "issue_claim_until": floor(NOW + HOUR)}
    desk.account.items[KEY_ID] = {"iam_access_key_id": KEY_ID, **claim}
    assert ended(seen_to(desk)) is SkipReason.CLAIMED
    assert desk.issues.asked == []
    assert desk.ledger.claimed_elsewhere(KEY_ID) is True


@pytest.mark.parametrize("failure", [Failure.REFUSED, Failure.NO_ANSWER, Failure.UNKNOWN])
def test_a_look_that_fails_files_nothing(failure: Failure) -> None:
    desk = Desk(FILING)
    desk.issues.errors["find_open"] = error(failure)
    closed = seen_to(desk)
    assert (ended(closed), said(closed)) == (Result.REFUSED, [SAID])
    assert "create" not in desk.issues.asked
    assert not is_claim_left(desk)


@pytest.mark.parametrize("write", ["claim_issue", "begin_filing"])
def test_without_the_table_nothing_is_posted(write: str) -> None:
    desk = Desk(FILING, spoiled={write: error()})
    assert ended(seen_to(desk)) is SkipReason.NO_STATE
    assert "create" not in desk.issues.asked


@pytest.mark.parametrize("failure", [Failure.REFUSED, Failure.NO_ANSWER])
def test_a_refused_filing_gives_back_the_claim_and_does_not_count(failure: Failure) -> None:
    desk = Desk(FILING)
    desk.issues.errors["create"] = error(failure)
    closed = seen_to(desk)
    assert (ended(closed), said(closed)) == (Result.REFUSED, [SAID])
    assert "issue_filings" not in desk.item()
    assert not is_claim_left(desk)


@pytest.mark.parametrize("call", ["find_open", "create"])
def test_a_signal_before_the_post_gives_back_the_claim(call: str) -> None:
    desk = Desk(FILING)
    desk.issues.errors[call] = Stopped()
    with pytest.raises(Stopped):
        seen_to(desk)
    assert ended(desk.ledger.close()) is SkipReason.OUT_OF_TIME
    assert "issue_filings" not in desk.item()
    assert not is_claim_left(desk)


# Perhaps filed


@pytest.mark.parametrize("is_made", [False, True])
def test_an_unknown_filing_keeps_its_claim_and_counts(is_made: bool) -> None:
    """Until the claim lapses, by when Jira's search shows what was made."""
    desk = Desk(FILING)
    desk.issues.errors["create"] = error(Failure.UNKNOWN)
    desk.issues.served = ["create"] if is_made else []
    closed = seen_to(desk)
    assert ended(closed) is Result.UNKNOWN
    assert said(closed) == [f"{SAID}; an issue for access key ...VHXVM of dev_kramer (expired, 197 days old) may exist"]
    assert desk.item()["issue_filings"] == (floor(NOW),)
    assert is_claim_left(desk)
    assert desk.ledger.newest(FILING.record).notice is None


@pytest.mark.parametrize("spoiler", [ClaimLost(), error(), Stopped()], ids=["lost", "failed", "stopped"])
def test_an_issue_that_could_not_be_recorded_is_named_for_the_next_run_to_find(spoiler: Exception) -> None:
    desk = Desk(FILING, spoiled={"record_issue": spoiler})
    closed = seen_to(desk)
    assert (ended(closed), len(said(closed))) == (Result.DONE, 1)
    assert said(closed)[0].startswith("SEC-1 for access key ...VHXVM of dev_kramer")
    assert desk.ledger.newest(FILING.record).notice is None


# Assigned


def test_an_assignment_needs_no_claim_and_is_recorded() -> None:
    desk = with_issue(AssignIssue(KEY, RECORD, EMAIL))
    desk.account.slack_ids[EMAIL] = "U012KRAMER"
    assert ended(seen_to(desk)) is Result.DONE
    assert (desk.account.issues["SEC-1"].assignee, desk.item()["issue_assigned_to"]) == (EMAIL, EMAIL)


def test_an_owner_whom_jira_does_not_know_is_a_warning() -> None:
    desk = with_issue(AssignIssue(KEY, RECORD, EMAIL))
    closed = seen_to(desk)
    assert ended(closed) is Result.REFUSED
    assert len(said(closed, Level.WARNING)) == 1
    assert "issue_assigned_to" not in desk.item()


# Said


def test_a_comment_is_said_once_and_recorded() -> None:
    desk = with_issue(COMMENT)
    assert ended(seen_to(desk)) is Result.DONE
    assert len(desk.account.issues["SEC-1"].comments) == 1
    assert desk.item()["issue_said"] == frozenset({"expired"})
    assert desk.account.issues["SEC-1"].ended_at is None
    assert not is_claim_left(desk)


@pytest.mark.parametrize("failure", [Failure.REFUSED, Failure.UNKNOWN])
@pytest.mark.parametrize("is_there", [False, True])
def test_a_comment_of_which_nothing_was_heard_is_looked_for_before_it_is_said_again(
    failure: Failure, is_there: bool
) -> None:
    desk = with_issue(COMMENT)
    desk.issues.errors["comment"] = error(failure)
    desk.issues.served = ["comment"] if is_there else []
    assert ended(seen_to(desk)) is (Result.REFUSED if failure is Failure.REFUSED else Result.UNKNOWN)
    assert "issue_said" not in desk.item()
    for name in ("issue_claim", "issue_claim_until"):  # lapsed meanwhile, or given back
        desk.account.items[KEY_ID].pop(name, None)
    later = Desk(COMMENT)
    later.account.items |= desk.account.items
    later.account.issues |= desk.account.issues
    seen_to(later)
    assert len(desk.account.issues["SEC-1"].comments) == 1
    assert later.item()["issue_said"] == frozenset({"expired"})


def test_nothing_is_said_in_an_issue_that_is_closed_by_then() -> None:
    desk = with_issue(COMMENT)
    desk.account.issues["SEC-1"].ended_at = NOW
    assert ended(seen_to(desk)) is Result.NOT_NEEDED
    assert desk.account.issues["SEC-1"].comments == []


@pytest.mark.parametrize("action", [COMMENT, LAST_WORD], ids=["a comment", "the last word"])
def test_an_issue_without_the_access_keys_label_is_another_persons(action: CommentIssue) -> None:
    desk = with_issue(action)
    issue = desk.account.issues["SEC-1"]
    issue.draft = replace(issue.draft, labels=("AWS-User-Key-Rotation", "keycheck-0123456789abcdef"))
    assert ended(seen_to(desk)) is Result.NOT_NEEDED
    assert (issue.comments, issue.ended_at) == ([], None)


def test_a_moved_issue_is_commented_on_and_closed_under_its_new_key() -> None:
    desk = with_issue(LAST_WORD)
    moved(desk, "OPS-7")
    assert ended(seen_to(desk)) is Result.DONE
    issue = desk.account.issues["OPS-7"]
    assert (len(issue.comments), issue.ended_at) == (1, NOW)


def test_a_moved_issue_is_followed_and_what_was_said_in_it_stays() -> None:
    desk = with_issue(replace(FILING, record=RECORD))
    desk.account.items[KEY_ID] |= {"issue_said": frozenset({"expiring", "expired"}), "issue_assigned_to": EMAIL}
    moved(desk, "OPS-7")
    assert ended(seen_to(desk)) is Result.NOT_NEEDED
    assert list(desk.account.issues) == ["OPS-7"], "no second issue"
    item = desk.item()
    assert (item["issue_key"], item["issue_said"]) == ("OPS-7", frozenset({"expiring", "expired"}))
    assert (item["issue_assigned_to"], item["issue_site"]) == (EMAIL, "https://example.atlassian.net")
    assert not is_claim_left(desk)


def test_an_issue_of_another_site_is_not_looked_at() -> None:
    elsewhere = make_record(KEY, issue_key="SEC-1", issue_site="https://other.atlassian.net")
    desk = with_issue(replace(FILING, record=elsewhere))
    desk.account.items[KEY_ID] |= {"issue_site": "https://other.atlassian.net"}
    desk.account.issues["SEC-1"].ended_at = NOW
    desk.account.issue_numbers = iter([2])
    assert ended(seen_to(desk)) is Result.DONE
    assert "read" not in desk.issues.asked
    assert (desk.item()["issue_key"], desk.item()["issue_site"]) == ("SEC-2", "https://example.atlassian.net")


def moved(desk: Desk, new_key: str) -> None:
    """SEC-1 is in another project; it answers to its old key too."""
    issue = desk.account.issues.pop("SEC-1")
    issue.key = new_key
    desk.account.issues[new_key] = issue
    desk.account.moved_issues["SEC-1"] = new_key


def test_the_last_word_closes_the_issue_and_ends_it() -> None:
    desk = with_issue(LAST_WORD)
    assert ended(seen_to(desk)) is Result.DONE
    assert desk.account.issues["SEC-1"].ended_at == NOW
    assert desk.item()["issue_ended_at"] == floor(NOW)


@pytest.mark.parametrize("spoiler", [ClaimLost(), error(), Stopped()], ids=["lost", "failed", "stopped"])
def test_what_was_said_and_could_not_be_recorded_is_told(spoiler: Exception) -> None:
    desk = with_issue(COMMENT, spoiled={"record_said": spoiler})
    closed = seen_to(desk)
    assert (ended(closed), len(desk.account.issues["SEC-1"].comments), len(said(closed))) == (Result.DONE, 1, 1)
