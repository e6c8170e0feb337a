"""IAM, state table, Jira and Slack of one account as plain values in this process, under a clock of their own.

In: users, owners, an hour that somebody sets. Out: the Protocols of keycheck.services, and a log of what was done when.
For the rehearsal, which plays thirty days of hourly runs in a minute or two, and, with the real state table in place of
MemoryClaims, for the tests' runs in process: no sockets and no failures of its own. What a service really does under
faults and races is for the servers of this folder.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from keycheck.clock import RunClock
from keycheck.model import (
    AccessKey,
    Addressee,
    AddresseeRecord,
    KeyRecord,
    LastUse,
    Lookup,
    State,
    Warned,
)
from keycheck.services import ClaimLost, ServiceError
from keycheck.wording import IssueDraft, SlackDraft

A_DAY = timedelta(days=1)


class HourlyClock(RunClock):
    """A run's clock whose `now` was set by somebody; only how long it may take is real."""

    def __init__(self, now: datetime) -> None:
        super().__init__()
        self.now = now

    def utc_now(self) -> datetime:
        return self.now

    @property
    def deadline(self) -> datetime:
        return self.now + timedelta(seconds=self._timeout)


@dataclass
class Sent:
    """A message, as it was answered ok."""

    at: datetime
    slack_id: str
    draft: SlackDraft


@dataclass
class Filed:
    """An issue. `ended_at`: when its status became Done."""

    key: str
    filed_at: datetime
    draft: IssueDraft
    comments: list[tuple[datetime, str]] = field(default_factory=list)
    ended_at: datetime | None = None
    assignee: str | None = None


@dataclass
class MemoryAccount:
    """Everything outside keycheck: set `now`, change `keys` and `last_uses`, read what was done."""

    account_id: str
    now: datetime
    keys: dict[str, AccessKey] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    last_uses: dict[str, LastUse] = field(default_factory=dict)
    records: dict[str, KeyRecord] = field(default_factory=dict)
    addressees: dict[str, AddresseeRecord] = field(default_factory=dict)
    disabling_times: list[datetime] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    issues: dict[str, Filed] = field(default_factory=dict)
    disabled: list[tuple[datetime, str]] = field(default_factory=list)
    slack_ids: dict[str, str] = field(default_factory=dict)
    """Who on Slack has an e-mail address; Jira knows the same addresses."""
    auto_close: bool = False
    """Whether Jira's workflow closes whatever is filed."""
    search_lag: timedelta = timedelta()
    """How long Jira's searches do not show a new issue."""

    def open_iam(self, profile: str) -> MemoryIam:
        return MemoryIam(self)

    def open_claims(self) -> MemoryClaims:
        return MemoryClaims(self)

    def open_issues(self) -> MemoryIssues:
        return MemoryIssues(self)

    def open_messages(self) -> MemoryMessages:
        return MemoryMessages(self)

    def secret_access_key_ids(self) -> frozenset[str]:
        return frozenset()


class MemoryIam:
    """keycheck.services.Iam."""

    def __init__(self, account: MemoryAccount) -> None:
        self._account = account
        self._of_user: dict[str, list[AccessKey]] = {}
        for key in account.keys.values():
            self._of_user.setdefault(key.user_name, []).append(key)

    def list_users(self, marker: str | None) -> tuple[Sequence[tuple[str, str]], str | None]:
        return [(user_name, self._account.account_id) for user_name in self._of_user], None

    def list_access_keys(self, user_name: str, account_id: str) -> Sequence[AccessKey] | None:
        return self._of_user.get(user_name)

    def deactivate(self, access_key: AccessKey) -> bool:
        shown = self._account.keys.get(access_key.access_key_id)
        if shown is None:
            return False
        self._account.keys[shown.access_key_id] = replace(shown, status="Inactive")
        self._account.disabled.append((self._account.now, shown.access_key_id))
        return True

    def list_user_tags(self, user_name: str) -> Mapping[str, str] | None:
        return self._account.tags.get(user_name, {})

    def last_used(self, access_key: AccessKey) -> LastUse:
        return self._account.last_uses.get(access_key.access_key_id, LastUse(None))

    def root_access_keys(self) -> int:
        return 0

    def own_access_key_ids(self) -> frozenset[str]:
        return frozenset()


class MemoryClaims:
    """keycheck.services.Claims, for one runner: a claim is always given, and what it rests on is checked."""

    own_access_key_ids: frozenset[str] = frozenset()

    def __init__(self, account: MemoryAccount) -> None:
        self._account = account
        self._records = account.records

    def open(self, *, create: bool) -> bool:
        return True

    def read(
        self,
        access_key_ids: Iterable[str],
        addressees: Iterable[Addressee],
        *,
        emails: Iterable[str] = (),
        account_ids: Iterable[str] = (),
    ) -> State:
        keys = {one: self._records[one] for one in access_key_ids if one in self._records}
        names = {one.record_id for one in addressees} & set(self._account.addressees)
        told = {name: self._account.addressees[name] for name in names}
        times = tuple(self._account.disabling_times)
        return State(keys, told, disablings={self._account.account_id: times})

    def scan_account(self, account_id: str) -> State:
        def is_open(record: KeyRecord) -> bool:
            has_issue = record.issue_key is not None and record.issue_ended_at is None
            return record.account_id == account_id and (has_issue or record.disabling_at is not None)

        return State({name: record for name, record in self._records.items() if is_open(record)})

    def record_lookup(self, email: str, lookup: Lookup) -> None:
        raise NotImplementedError("nobody is looked up in the rehearsal")

    def claim_issue(self, access_key: AccessKey, token: str, expected_issue: str | None) -> KeyRecord:
        record = self._of(access_key)
        if record.issue_key != expected_issue:
            raise ClaimLost
        return record

    def begin_filing(self, record: KeyRecord, token: str, at: datetime) -> bool:
        self._change(record.access_key_id, issue_filings=(*record.issue_filings, at))
        return True

    def record_issue(
        self,
        access_key_id: str,
        token: str,
        issue_key: str,
        answered: Sequence[datetime] = (),
        *,
        said: Iterable[str] = (),
        warning: Warned | None = None,
    ) -> None:
        self._change(access_key_id, issue_key=issue_key, issue_ended_at=None, issue_said=frozenset(said))
        if answered:
            self._change(access_key_id, answered_filings=tuple(answered))
        self._warned(access_key_id, warning)

    def record_said(
        self,
        record: KeyRecord,
        token: str,
        said: str,
        *,
        ended_at: datetime | None = None,
        warning: Warned | None = None,
    ) -> None:
        marks = self._records[record.access_key_id].issue_said | {said}
        self._change(record.access_key_id, issue_said=marks, issue_ended_at=ended_at)
        self._warned(record.access_key_id, warning)

    def record_assigned(self, record: KeyRecord, email: str, warning: Warned | None = None) -> None:
        self._change(record.access_key_id, issue_assigned_to=email)
        self._warned(record.access_key_id, warning)

    def release_issue(self, record: KeyRecord, token: str) -> None:
        return

    def claim_message(self, addressee: Addressee, token: str, interval_hours: int) -> AddresseeRecord:
        record = self._account.addressees.get(addressee.record_id, AddresseeRecord())
        if record.messaged_at is not None and self._account.now - record.messaged_at < timedelta(hours=interval_hours):
            raise ClaimLost
        return record

    def record_message(self, addressee: Addressee, token: str, at: datetime) -> None:
        self._account.addressees[addressee.record_id] = AddresseeRecord(messaged_at=at)

    def release_message(
        self, addressee: Addressee, token: str, server_errors: int, not_before: datetime | None
    ) -> None:
        return

    def record_told(
        self, access_key: AccessKey, at: datetime, warning: Warned | None = None, *, ends_exemption: bool = False
    ) -> None:
        self._of(access_key)
        self._change(access_key.access_key_id, told_at=at)
        self._warned(access_key.access_key_id, warning)

    def take_disabling(self, account_id: str, at: datetime, most: int) -> bool:
        times = self._account.disabling_times
        times[:] = [one for one in times if at - one < A_DAY]
        if len(times) >= most:
            return False
        times.append(at)
        return True

    def give_back_disabling(self, account_id: str, at: datetime) -> None:
        self._account.disabling_times.remove(at)

    def begin_disabling(self, access_key: AccessKey, token: str, at: datetime, settled: datetime) -> bool:
        record = self._of(access_key)
        if any(one is not None and one > settled for one in (record.disabling_at, record.disabled_at)):
            raise ClaimLost
        if record.disable_from is not None and record.disable_from > at:
            raise ClaimLost
        self._change(access_key.access_key_id, disabling_at=at)
        return True

    def drop_disabling(self, access_key_id: str, begun_at: datetime) -> None:
        self._change(access_key_id, disabling_at=None)

    def record_disabled(self, access_key_id: str, at: datetime, run: str, why: str) -> None:
        self._change(access_key_id, disabled_at=at, disabled_by=run, disabling_at=None, reenabled_at=None)

    def record_reenabled(self, record: KeyRecord, at: datetime) -> None:
        self._change(record.access_key_id, reenabled_at=at)

    def record_exempt(self, access_key: AccessKey, until: date) -> None:
        self._of(access_key)
        self._change(
            access_key.access_key_id,
            exempt_until=until,
            warned_at=None,
            warned_owner=None,
            disable_from=None,
        )

    def _of(self, access_key: AccessKey) -> KeyRecord:
        fresh = KeyRecord(access_key.access_key_id, access_key.account_id, access_key.user_name)
        return self._records.setdefault(access_key.access_key_id, fresh)

    def _change(self, access_key_id: str, **changes: object) -> None:
        self._records[access_key_id] = replace(self._records[access_key_id], **changes)  # type: ignore[arg-type]

    def _warned(self, access_key_id: str, warning: Warned | None) -> None:
        if warning is None:
            return
        record = self._records[access_key_id]
        at = record.warned_at if record.warned_owner == warning.owner and record.warned_at else warning.at
        day = max(warning.day, record.disable_from or warning.day)
        self._change(access_key_id, warned_at=at, warned_owner=warning.owner, disable_from=day, exempt_until=None)


class MemoryIssues:
    """keycheck.services.Issues, with a workflow that can be closed."""

    def __init__(self, account: MemoryAccount) -> None:
        self._account = account
        self._issues = account.issues

    def open_issue_keys(self) -> frozenset[str]:
        return frozenset(issue.key for issue in self._shown() if issue.ended_at is None)

    def _shown(self) -> list[Filed]:
        """What a search finds by now."""
        known_since = self._account.now - self._account.search_lag
        return [issue for issue in self._issues.values() if issue.filed_at <= known_since]

    def is_open(self, issue_key: str) -> bool:
        return issue_key in self._issues and self._issues[issue_key].ended_at is None

    def _issue(self, issue_key: str) -> Filed:
        """Raises ServiceError where somebody has deleted it."""
        if issue_key not in self._issues:
            raise ServiceError("Jira", "read issue", f"{issue_key} is gone", code="404")
        return self._issues[issue_key]

    def find_open(self, issue_label: str) -> str | None:
        found = (one.key for one in self._shown() if issue_label in one.draft.labels and one.ended_at is None)
        return next(found, None)

    def count_filed(self, issue_label: str, days: int) -> int | None:
        return sum(1 for one in self._shown() if issue_label in one.draft.labels)

    def create(self, draft: IssueDraft) -> str:
        key = f"SEC-{len(self._issues) + 1}"
        while key in self._issues:  # two issues of one chain are filed at once
            key = f"SEC-{uuid.uuid4().int % 10**9}"
        self._issues[key] = Filed(key, self._account.now, draft)
        if self._account.auto_close:
            self.close(key)
        return key

    def check_created(self, issue_key: str, issue_label: str) -> str | None:
        return None

    def assign(self, issue_key: str, email: str) -> bool:
        if email not in self._account.slack_ids:
            return False
        self._issue(issue_key).assignee = email
        return True

    def was_said(self, issue_key: str, mark: str) -> bool:
        return any(mark in text for _, text in self._issue(issue_key).comments)

    def comment(self, issue_key: str, text: str) -> None:
        self._issue(issue_key).comments.append((self._account.now, text))

    def close(self, issue_key: str) -> bool:
        self._issue(issue_key).ended_at = self._account.now
        return True


class MemoryMessages:
    """keycheck.services.Messages."""

    def __init__(self, account: MemoryAccount) -> None:
        self._account = account

    def send(self, slack_id: str, draft: SlackDraft) -> None:
        self._account.sent.append(Sent(self._account.now, slack_id, draft))

    def find_user(self, email: str) -> str | None:
        return self._account.slack_ids.get(email)
