"""Is an issue to be filed for this access key, and what is there to say in one that is open? Pure.

In: a Case. Out: the actions about its issue, at most one comment a run, or why none is filed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from keycheck.actions import AssignIssue, CommentIssue, FileIssue, IssueEvent, NextStep, Outlook, SkipReason
from keycheck.model import KeyRecord, Owner, OwnerKind
from keycheck.rules import notice
from keycheck.rules.case import Case
from keycheck.rules.telling import last_turn

ISSUES_AT_MOST = 2
ISSUES_WITHIN = timedelta(days=7)


def needs_issue(case: Case) -> bool:
    """Return whether no open issue is known for it, if issues are filed at all."""
    return case.files_issues and (case.run.open_issues is None or case.open_issue is None)


def why_not_filed(case: Case) -> SkipReason | None:
    """Return why an access key that needs an issue gets none in this run."""
    if case.run.open_issues is None:
        return SkipReason.JIRA_OFF
    if case.run.claim_is_live(case.record.issue_claim_until):
        return SkipReason.CLAIMED
    if case.run.open_of(case.record):
        return None  # moved, say: the look that comes first finds it
    return None if may_file_another(case.record.answered_filings, case.now) else SkipReason.TOO_MANY_ISSUES


def may_file_another(filings: Sequence[datetime], now: datetime) -> bool:
    """Never more than two issues for one access key in seven days (a workflow may close them as soon as made).

    `filings`: of one record, those that were answered, or all that were begun. The latter may count issues that were
    never made: acting/issues.py asks Jira before it believes them.
    """
    return sum(1 for filed_at in filings if now - filed_at < ISSUES_WITHIN) < ISSUES_AT_MOST


def turn(record: KeyRecord) -> datetime:
    """Return when Jira was last asked for its issue, whatever came of that: those that have waited longest go first."""
    return last_turn(record.issue_tried_at, *record.issue_filings)


def filing(case: Case, told: Outlook) -> FileIssue:
    promised = notice.promise(case, told, reaches_owner=filing_reaches(case))
    return FileIssue(case.key, case.record, told, case.owner.email, promised)


# Whom an issue reaches


def filing_reaches(case: Case) -> bool:
    """Return whether a new issue reaches whoever is asked now: at once if nobody is, else once it is assigned to the
    owner.
    """
    return _is_anybodys(case.owner) or _has_own_email(case.owner)


def comment_reaches(case: Case) -> bool:
    """Return whether a comment on the open issue reaches whoever is asked now."""
    is_owners = _has_own_email(case.owner) and assigned_to(case.record) == case.owner.email
    return _is_anybodys(case.owner) or is_owners


def assigned_to(record: KeyRecord) -> str | None:
    """Return the e-mail of whom the issue on record was assigned to."""
    return None if record.issue is None else record.issue.assigned_to


def _is_anybodys(owner: Owner) -> bool:
    """Return whether nobody knows the owner, and no channel hears of it instead."""
    return owner.kind is OwnerKind.UNKNOWN and owner.addressee is None


def _has_own_email(owner: Owner) -> bool:
    """Return whether the owner is known by that address: one beside another name may be somebody else's."""
    return owner.kind is OwnerKind.KNOWN and owner.email is not None and owner.is_email_own


# The open issue


def about_open_issue(case: Case, told: Outlook) -> list[AssignIssue | CommentIssue]:
    """Return what there is to do about the open issue of an active access key: at most one comment a run."""
    record, owner = case.record, case.owner
    if not case.files_issues or not case.run.can_comment(record):
        return []
    actions: list[AssignIssue | CommentIssue] = []
    if owner.email is not None and assigned_to(record) != owner.email:
        actions.append(AssignIssue(case.key, record, owner.email))
    event, marker = event_of_active(case, told)
    if event is not None and not record.was_said(marker):
        promised = notice.promise(case, told, reaches_owner=comment_reaches(case))
        actions.append(CommentIssue(record, event, marker, case.key, told, record.reenabled_at, promised))
    return actions


def event_of_active(case: Case, told: Outlook) -> tuple[IssueEvent | None, str]:
    """Return the first of these that was not said yet, and the marker under which it is said."""
    record = case.record
    if record.reenabled_at is not None:
        marker = _reenabling(record)
        if not record.was_said(marker):
            return IssueEvent.REENABLED, marker
    if told.next_step is NextStep.IN_USE and told.last_use is not None and told.last_use.at is not None:
        marker = f"in use {told.last_use.at:%Y-%m}"
        if not record.was_said(marker):
            return IssueEvent.IN_USE, marker
    if case.is_expired and not record.was_said("expired"):
        return IssueEvent.EXPIRED, "expired"
    if told.ended_exemption is not None and not case.settings.send_slack:
        marker = f"exempt until {told.ended_exemption:%Y-%m-%d}"
        if not record.was_said(marker):
            return IssueEvent.EXEMPTION_ENDED, marker
    if comment_reaches(case) and notice.of(case) is None and notice.can_give(case, told):
        return IssueEvent.NOTICE, _notice_marker(case)
    return None, ""


def _notice_marker(case: Case) -> str:
    """Return what tells this notice from the one before it, and is the same should this run be killed and the next one
    look whether it was said.
    """
    lapsed, today = case.record.notice, f"notice {case.now:%Y-%m-%d}"
    ended_at = case.record.voided_at if lapsed is None else lapsed.kept_at
    return today if ended_at is None else f"{today}, after the one that ended {ended_at:%Y-%m-%d %H:%M}"


def _reenabling(record: KeyRecord) -> str:
    if record.disabled is not None:
        return f"re-enabled after run {disabling_run(record)}"
    return f"active again {record.reenabled_at:%Y-%m-%d}"


def disabling_run(record: KeyRecord) -> str:
    """Which disabling of an access key is meant: the first characters of its run's id, the same in every run."""
    by = None if record.disabled is None else record.disabled.by
    return (by or "unknown")[:8]
