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

from keycheck.acting.comments import comment
from keycheck.acting.issue_claims import Found, claim_issue, find_open_issue, release_issue
from keycheck.acting.ledger import Task
from keycheck.acting.means import Means
from keycheck.actions import AssignIssue, CommentIssue, FileIssue, Result, SkipReason
from keycheck.clock import Stopped
from keycheck.model import AccessKey, IssueRecord, KeyRecord, Level
from keycheck.rules import writes
from keycheck.rules.filing import ISSUES_AT_MOST, ISSUES_WITHIN, may_file_another
from keycheck.services import Issues, ServiceError
from keycheck.words.issue import issue_draft
from keycheck.words.parts import name_key


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
                comment(self._means, task, action, issues)
        return None

    # Filing

    def _file(self, task: Task, filing: FileIssue, issues: Issues) -> str | None:
        token = uuid.uuid4().hex
        record = claim_issue(self._means, task, filing.key.access_key, token, filing.record.issue_key)
        if record is None:
            return None
        try:
            return self._file_claimed(task, filing, issues, record, token)
        except Stopped:  # raised before a call, never after a POST
            release_issue(self._means, record, token)
            raise

    def _file_claimed(self, task: Task, filing: FileIssue, issues: Issues, record: KeyRecord, token: str) -> str | None:
        """Look, and file if there is none; `record` is the access key's record as the claim returned it."""
        access_key = filing.key.access_key
        try:
            found = find_open_issue(issues, record, self._means.settings.jira_site, access_key, task.profile)
            if found is not None and found.is_adopted:  # first its label: without it, it would not be ours
                issues.add_label(found.key, access_key.issue_label)
            reason = None if found is not None else self._why_not_post(issues, record, access_key)
        except ServiceError as error:
            release_issue(self._means, record, token, error)
            self._ledger.refused(task, error)
            return None
        if found is not None:
            self._record_found(task, filing, record, token, found)
            self._ledger.done(task, Result.NOT_NEEDED, found.key)
            return found.key
        if reason is not None:
            release_issue(self._means, record, token)
            self._ledger.skip(task, reason)
            return None
        at = self._means.clock.utc_now()
        begin = writes.begin_filing(record, token, at)
        if self._ledger.write_or_skip(task, lambda: self._means.claims.apply(begin)) is None:
            return None
        with self._ledger.in_flight(task):
            issue_key = self._ledger.attempt(
                task,
                lambda: issues.create(issue_draft(filing, task.profile, self._means.settings.help_contact)),
                release=lambda error: release_issue(self._means, record, token, error),
                if_unknown=lambda error: f"{error.text}; an issue for {name_key(filing.key)} may exist",
            )
            if issue_key is None:
                return None
            self._ledger.done(task, Result.DONE, issue_key)
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

    def _record_found(self, task: Task, filing: FileIssue, record: KeyRecord, token: str, found: Found) -> None:
        """Record an issue that was found. What it promised to whom is not known; what was said in it is, if it is the
        recorded one.
        """
        if not found.is_recorded:
            self._record_issue(task, filing, record, token, found.key)
            return
        write = writes.follow_issue(record, token, found.key, self._means.settings.jira_site)
        text = f"that the issue of {name_key(filing.key)} is {found.key} could not be recorded, so the next run looks"
        self._ledger.record(task, lambda: self._means.write(write), text)

    def _record_issue(
        self,
        task: Task,
        filing: FileIssue,
        record: KeyRecord,
        token: str,
        issue_key: str,
        answered: Sequence[datetime] = (),
    ) -> None:
        """Record an issue that was filed (`answered`), or found. One that is to be assigned names the day already, and
        gives its notice only then.
        """
        promise = filing.promise if answered else None
        if promise is not None and filing.email is not None:
            promise = replace(promise, owner=None)
        given = self._means.given(record, promise)
        said = (filing.key.label.value,)
        site = self._means.settings.jira_site
        write = writes.record_issue(record.access_key_id, token, issue_key, answered, said=said, given=given, site=site)
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
