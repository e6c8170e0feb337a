"""Sees to the issue of one access key: files it, assigns it, says what there is to say, ends it. Shell.

In: one action, the means of the run. Out: the issue's key, if an open one is known by then. Never a second POST for
one access key in one run; a look that failed is never "not found".
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from keycheck.acting.ledger import Task
from keycheck.acting.means import Means
from keycheck.actions import AssignIssue, CommentIssue, FileIssue, Result, SkipReason
from keycheck.clock import Stopped
from keycheck.model import AccessKey, IssueRecord, KeyRecord, Level
from keycheck.rules import writes
from keycheck.rules.filing import ISSUES_AT_MOST, ISSUES_WITHIN, may_file_another
from keycheck.services import Issues, ServiceError
from keycheck.services.state_items import key_record
from keycheck.words.issue import comment_text, issue_draft, marker_line
from keycheck.words.parts import name_key


def find_open_issue(issues: Issues, record: KeyRecord, issue_label: str) -> str | None:
    """Look before filing: the recorded issue by its key, which is never stale; then the access key's label.

    Raises ServiceError if either look failed: that is never "not found".
    """
    if record.issue_key is not None and issues.is_open(record.issue_key):
        return record.issue_key
    return issues.find_open(issue_label)


class IssueWork:
    """The issues of one run. Several threads may be at it, each with another access key."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._ledger = means.ledger
        self._lock = threading.Lock()
        self._posted: set[str] = set()

    def see_to(self, task: Task, action: FileIssue | AssignIssue | CommentIssue) -> str | None:
        """Carry out one action; the issue's key if an open one is known by then."""
        issues = self._means.services.issues
        if issues is None:
            self._ledger.skip(task, SkipReason.JIRA_OFF)
            return None
        match action:
            case FileIssue():
                return self._file(task, action, issues)
            case AssignIssue():
                self._assign(task, action, issues)
            case CommentIssue():
                self._comment(task, action, issues)
        return None

    def _claim(self, task: Task, access_key: AccessKey, token: str, issue_key: str | None) -> KeyRecord | None:
        """Return the record as it is once it is claimed; None, and a skip, if another run was first."""
        now, lapses = self._means.clock.now, self._means.claims_lapse
        write = writes.claim_issue(access_key, token, issue_key, now=now, lapses=lapses)
        access_key_id = access_key.access_key_id
        return self._ledger.write_or_skip(task, lambda: key_record(access_key_id, self._means.claims.apply(write)))

    def _release(self, record: KeyRecord, token: str) -> None:
        self._ledger.release(lambda: self._means.claims.apply(writes.release_issue(record, token)))

    # Filing

    def _file(self, task: Task, filing: FileIssue, issues: Issues) -> str | None:
        token = uuid.uuid4().hex
        record = self._claim(task, filing.key.access_key, token, filing.record.issue_key)
        if record is None:
            return None
        try:
            return self._file_claimed(task, filing, issues, record, token)
        except Stopped:  # raised before a call, never after a POST
            self._release(record, token)
            raise

    def _file_claimed(self, task: Task, filing: FileIssue, issues: Issues, record: KeyRecord, token: str) -> str | None:
        """Look, and file if there is none; `record` is the access key's record as the claim returned it."""
        access_key = filing.key.access_key
        try:
            found = find_open_issue(issues, record, access_key.issue_label)
            reason = None if found is not None else self._why_not_post(issues, record, access_key)
        except ServiceError as error:
            self._release(record, token)
            self._ledger.refused(task, error)
            return None
        if found is not None:
            self._record_issue(task, filing, record, token, found)
            self._ledger.done(task, Result.NOT_NEEDED)
            return found
        if reason is not None:
            self._release(record, token)
            self._ledger.skip(task, reason)
            return None
        at = self._means.clock.utc_now()
        begin = writes.begin_filing(record, token, at)
        if self._ledger.write_or_skip(task, lambda: self._means.claims.apply(begin)) is None:
            return None
        with self._ledger.in_flight(task):
            issue_key = self._ledger.attempt(
                task,
                lambda: issues.create(issue_draft(filing, task.profile)),
                release=lambda _: self._release(record, token),
                if_unknown=lambda error: f"{error.text}; an issue for {name_key(filing.key)} may exist",
            )
            if issue_key is None:
                return None
            self._ledger.done(task, Result.DONE)
            self._record_issue(task, filing, record, token, issue_key, (*record.answered_filings, at))
            if filing.email is not None:
                self._assign_new(task, issues, filing, replace(record, issue=IssueRecord(issue_key)), filing.email)
        self._check_created(task, issues, issue_key, access_key.issue_label)
        return issue_key

    def _why_not_post(self, issues: Issues, record: KeyRecord, access_key: AccessKey) -> SkipReason | None:
        """Never a second POST for one access key in one run (two profiles may show the same account), and never a
        third issue within seven days, by the record as the claim returned it.

        Filings of unknown outcome count until Jira says what they made: its search shows that by the time that their
        claim has lapsed. Else an hour in which Jira fails would keep each access key without an issue for a week.
        """
        with self._lock:
            is_second = record.access_key_id in self._posted
            self._posted.add(record.access_key_id)
        if is_second:
            return SkipReason.CLAIMED
        now = self._means.clock.now
        if may_file_another(record.issue_filings, now):
            return None
        if may_file_another(record.answered_filings, now):
            filed = issues.count_filed(access_key.issue_label, ISSUES_WITHIN.days)
            if filed is not None and filed < ISSUES_AT_MOST:
                return None
        return SkipReason.TOO_MANY_ISSUES

    def _record_issue(
        self,
        task: Task,
        filing: FileIssue,
        record: KeyRecord,
        token: str,
        issue_key: str,
        answered: Sequence[datetime] = (),
    ) -> None:
        """Record an issue that was filed (`answered`), or found: what a found one promised to whom is not known. One
        that is to be assigned names the day already, and gives its notice only then.
        """
        promise = filing.promise if answered else None
        if promise is not None and filing.email is not None:
            promise = replace(promise, owner=None)
        given = self._means.given(record, promise)
        said = (filing.key.label.value,)
        write = writes.record_issue(record.access_key_id, token, issue_key, answered, said=said, given=given)
        self._ledger.record(
            task,
            lambda: self._means.write(write),
            f"{issue_key} for {name_key(filing.key)} could not be recorded, so the next run looks for it",
        )

    def _check_created(self, task: Task, issues: Issues, issue_key: str, issue_label: str) -> None:
        """Read the new issue back: what is wrong with it is said while a person can still connect it to a cause."""
        try:
            wrong = issues.check_created(issue_key, issue_label)
        except Stopped:
            return
        if wrong is not None:
            self._ledger.problem(task, Level.WARNING, wrong)

    # Assigning

    def _assign_new(self, task: Task, issues: Issues, filing: FileIssue, record: KeyRecord, email: str) -> None:
        """Assign an issue that was just filed; if that fails, the next run assigns it."""
        try:
            is_assigned = issues.assign(record.issue_key or "", email)
        except (ServiceError, Stopped):
            return
        if not is_assigned:
            self._nobody_in_jira(task, record)
            return
        given = self._means.given(record, filing.promise)
        self._ledger.record(
            task,
            lambda: self._means.write(writes.record_assigned(record, email, given)),
            f"that {record.issue_key} is assigned could not be recorded, so it is assigned again",
        )

    def _assign(self, task: Task, action: AssignIssue, issues: Issues) -> None:
        """Assign the recorded issue: repeating that is harmless, so it needs no claim, and a silence is a refusal."""
        record = action.record
        self._means.clock.check()
        try:
            is_assigned = issues.assign(record.issue_key or "", action.email)
        except ServiceError as error:
            self._ledger.refused(task, error)
            return
        if not is_assigned:
            self._nobody_in_jira(task, replace(record, user_name=action.key.access_key.user_name))
            self._ledger.done(task, Result.REFUSED)
            return
        self._ledger.done(task, Result.DONE)
        self._ledger.record(
            task,
            lambda: self._means.write(writes.record_assigned(record, action.email)),
            f"that {record.issue_key} is assigned could not be recorded, so it is assigned again",
        )

    def _nobody_in_jira(self, task: Task, record: KeyRecord) -> None:
        text = "an issue could not be assigned: Jira knows nobody by the owner's e-mail, or may not assign to them"
        self._ledger.problem(task, Level.WARNING, text, f"{record.issue_key} of {record.user_name}")

    # Saying, and ending

    def _comment(self, task: Task, action: CommentIssue, issues: Issues) -> None:
        """Say one thing in the recorded issue, unless that was said, or there is nobody left to say it to."""
        record = action.record
        access_key = (
            action.key.access_key
            if action.key is not None
            else AccessKey(record.access_key_id, record.user_name, record.account_id, "Deleted", self._means.clock.now)
        )
        token = uuid.uuid4().hex
        claimed = self._claim(task, access_key, token, record.issue_key)
        if claimed is None:
            return
        try:
            self._comment_claimed(task, action, issues, claimed, token)
        except Stopped:  # what was said by then is found by its marker
            self._release(claimed, token)
            raise

    def _comment_claimed(self, task: Task, action: CommentIssue, issues: Issues, record: KeyRecord, token: str) -> None:
        issue_key = record.issue_key or ""
        with self._ledger.in_flight(task):
            is_new = self._ledger.attempt(
                task,
                lambda: self._say(task, action, issues, record),
                release=lambda _: self._release(record, token),
                if_unknown=lambda error: f"{error.text}; what was to be said in {issue_key} is looked up later",
            )
            if is_new is None:
                return
            self._ledger.done(task, Result.DONE if is_new else Result.NOT_NEEDED)
            given = self._means.given(record, action.promise) if is_new else None
            ended_at = self._means.clock.utc_now() if action.event.closes else None
            write = writes.record_said(record, token, action.comment_marker, ended_at=ended_at, given=given)
            self._ledger.record(
                task,
                lambda: self._means.write(write),
                f"what was said in {issue_key} could not be recorded, so the next run looks whether it was",
            )

    def _say(self, task: Task, action: CommentIssue, issues: Issues, record: KeyRecord) -> bool:
        """Return whether there was anything to say: it was not said yet, and the issue is open."""
        issue_key = record.issue_key or ""
        is_new = not record.was_said(action.comment_marker) and issues.is_open(issue_key)
        if is_new and not issues.was_said(issue_key, marker_line(action.comment_marker)):
            issues.comment(issue_key, comment_text(action, task.profile))
        if is_new and action.event.closes and not issues.close(issue_key):
            text = "an issue whose access key is inactive or gone could not be closed: its workflow, or Jira, "
            text += "does not let this account; close it by hand"
            self._ledger.problem(task, Level.WARNING, text, issue_key)
        return is_new
