"""Says one thing in the issue of one access key, and ends it. Shell.

In: a CommentIssue, the means of the run. Out: nothing: the books say what became of it. Each thing is said once, and
only in an issue that bears the access key's own label.
"""

from __future__ import annotations

import uuid

from keycheck.acting.issue_claims import claim_issue, is_ours, release_issue
from keycheck.acting.ledger import Task
from keycheck.acting.means import Means
from keycheck.actions import CommentIssue, Result
from keycheck.clock import Stopped
from keycheck.model import AccessKey, KeyRecord, Level
from keycheck.rules import writes
from keycheck.rules.ending import LEFT_OPEN
from keycheck.services import Issues
from keycheck.words.issue import comment_text, marker_line


def comment(means: Means, task: Task, action: CommentIssue, issues: Issues) -> None:
    """Say one thing in the recorded issue, unless that was said, or there is nobody left to say it to."""
    record = action.record
    access_key = (
        action.key.access_key
        if action.key is not None
        else AccessKey(record.access_key_id, record.user_name, record.account_id, "Deleted", means.clock.now)
    )
    token = uuid.uuid4().hex
    claimed = claim_issue(means, task, access_key, token, record.issue_key)
    if claimed is None:
        return
    try:
        _comment_claimed(means, task, action, issues, claimed, token)
    except Stopped:  # what was said by then is found by its marker
        release_issue(means, claimed, token)
        raise


def _comment_claimed(
    means: Means, task: Task, action: CommentIssue, issues: Issues, record: KeyRecord, token: str
) -> None:
    issue_key = record.issue_key or ""
    with means.ledger.in_flight(task):
        said = means.ledger.attempt(
            task,
            lambda: _say(means, task, action, issues, record),
            release=lambda error: release_issue(means, record, token, error),
            if_unknown=lambda error: f"{error.text}; what was to be said in {issue_key} is looked up later",
        )
        if said is None:
            return
        means.ledger.done(task, Result.DONE if said else Result.NOT_NEEDED)
        given = means.given(record, action.promise) if said else None
        ended_at = means.clock.utc_now() if action.event.closes else None
        markers = said or (action.comment_marker,)
        write = writes.record_said(record, token, markers, ended_at=ended_at, given=given, at=means.clock.utc_now())
        means.ledger.record(
            task,
            lambda: means.write(write),
            f"what was said in {issue_key} could not be recorded, so the next run looks whether it was",
        )


def _say(means: Means, task: Task, action: CommentIssue, issues: Issues, record: KeyRecord) -> tuple[str, ...]:
    """Return the markers of what was said: none if there was nothing to say, since that was said already, or the
    issue is not open, or not ours.
    """
    seen = None if record.issue_key is None else issues.read(record.issue_key)
    if seen is None or not is_ours(seen, record) or record.was_said(action.comment_marker):
        return ()
    issue_key = seen.key
    if not issues.was_said(issue_key, marker_line(action.comment_marker)):
        issues.comment(issue_key, comment_text(action, task.profile))
    if action.event.closes and not issues.close(issue_key):
        text = "an issue whose access key is inactive or gone could not be closed: its workflow, or Jira, does not let "
        text += "this account, or offers no status that says so; close it by hand (jira_done_status, jira_resolution)"
        means.ledger.problem(task, Level.WARNING, text, issue_key)
        return (action.comment_marker, LEFT_OPEN)
    return (action.comment_marker,)
