"""IAM, state table, Jira and Slack of one account as plain values in this process, under a clock of their own.

In: users, owners, an hour that somebody sets. Out: the Protocols of keycheck.services, and a log of what was done when.
For the rehearsal, which plays thirty days of hourly runs in a minute or two, and, with the real state table in place of
MemoryClaims, for the tests' runs in process: no sockets and no failures of its own. What a service really does under
faults and races is for the servers of this folder.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count

from keycheck.clock import RunClock
from keycheck.credential_report import Report
from keycheck.listing import ListedUser
from keycheck.model import FIRST_CREATION, AccessKey, Addressee, KeyRecord, LastUse, OpenIssues, SeenIssue, State
from keycheck.rules import other_writes
from keycheck.rules.case import A_DAY
from keycheck.rules.changes import Absent, All, AnyOf, AtMost, Change, Condition, Is, Lost, Value, Write, ceil
from keycheck.rules.standing import COMES_BACK_WITHIN, stands
from keycheck.services import ClaimLost, ServiceError, state_items
from keycheck.words.issue import IssueDraft
from keycheck.words.message import SlackDraft


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
    items: dict[str, dict[str, Value]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    sent: list[Sent] = field(default_factory=list)
    issues: dict[str, Filed] = field(default_factory=dict)
    moved_issues: dict[str, str] = field(default_factory=dict)
    """Old key -> new key."""
    issue_numbers: Iterator[int] = field(default_factory=lambda: count(1))
    disabled: list[tuple[datetime, str]] = field(default_factory=list)
    slack_ids: dict[str, str] = field(default_factory=dict)
    """Who on Slack has an e-mail address; Jira knows the same addresses."""
    left_slack: set[str] = field(default_factory=set)
    """Slack ids of people who have left; messages to them are answered ok all the same."""
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

    def list_users(self, marker: str | None) -> tuple[Sequence[ListedUser], str | None]:
        account_id = self._account.account_id
        return [ListedUser(name, account_id, f"AIDA{name}", FIRST_CREATION) for name in self._of_user], None

    def list_access_keys(
        self, user_name: str, account_id: str, *, is_after_scan: bool = False
    ) -> Sequence[AccessKey] | None:
        return self._of_user.get(user_name)

    def is_held_back(self) -> bool:
        return False

    def credential_report(self) -> Report | None:
        return None

    def request_credential_report(self) -> None:
        raise ServiceError("iam", "GenerateCredentialReport", "there is no credential report in memory")

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

    def account_id(self) -> str:
        return self._account.account_id

    def root_access_keys(self) -> int:
        return 0

    def own_access_key_ids(self) -> frozenset[str]:
        return frozenset()


class MemoryClaims:
    """keycheck.services.Claims, for one runner: plain items, to which each write does what it says."""

    own_access_key_ids: frozenset[str] = frozenset()
    remarks: Sequence[str] = ()

    def __init__(self, account: MemoryAccount) -> None:
        self._account = account
        self._items = account.items
        self._lock = account.lock

    def open(self, *, create: bool) -> bool:
        return True

    def read(
        self,
        access_key_ids: Iterable[str],
        addressees: Iterable[Addressee],
        *,
        lookups: Iterable[str] = (),
        account_ids: Iterable[str] = (),
    ) -> State:
        items = self._items  # a change puts a new item in the place of the old one, so none is read half changed
        keys = {name: state_items.key_record(name, items[name]) for name in access_key_ids if name in items}
        told = {name: state_items.addressee_record(items[name]) for name in _ids(addressees) if name in items}
        ids = {one: other_writes.lookup_id(one) for one in lookups}
        known = {one: state_items.lookup(items[name]) for one, name in ids.items() if name in items}
        of_accounts = list(account_ids)
        accounts = {one: other_writes.disablings_id(one) for one in of_accounts}
        seen = {one: other_writes.account_id_item(one) for one in of_accounts}
        known_accounts = {one: state_items.account_record(items[name]) for one, name in seen.items() if name in items}
        times = {one: state_items.disablings(items[name])[0] for one, name in accounts.items() if name in items}
        listed = {one: other_writes.standing_id(one) for one in of_accounts}
        standing = {one: state_items.standing(items[name]) for one, name in listed.items() if name in items}
        lists_all = state_items.all_listed(items.get(other_writes.ALL_LISTED, {}))
        return State(keys, told, frozenset(), known, times, known_accounts, standing, lists_all)

    def look_through(self, since: datetime) -> list[KeyRecord]:
        items = tuple(self._items.items())
        records = (state_items.key_record(name, item) for name, item in items if ":" not in name)
        return [one for one in records if one.account_id and one.user_name and stands(one, since + COMES_BACK_WITHIN)]

    def with_events(self) -> list[KeyRecord]:
        items = tuple(self._items.items())
        return [state_items.key_record(name, item) for name, item in items if "events" in item]

    def apply(self, write: Write) -> Mapping[str, Value]:
        item: Mapping[str, Value] = {}
        for change in write.changes:
            item = self._make(write.item, change)
        return item

    def _make(self, name: str, change: Change) -> Mapping[str, Value]:
        with self._lock:
            item = self._items.get(name, {})
            if change.needs is None or holds(change.needs, item):
                self._items[name] = changed(change, {state_items.HASH_KEY: name, **item})
                return dict(self._items[name])
        match change.otherwise:
            case Lost.FINE:
                return {}
            case tuple():
                made: Mapping[str, Value] = {}
                for instead in change.otherwise:
                    made = self._make(name, instead)
                return made
        raise ClaimLost

    def take_disabling(self, account_id: str, at: datetime, most: int) -> bool:
        with self._lock:
            times = [one for one in self._times(account_id) if at - one < A_DAY]
            if len(times) >= most:
                return False
            self._write_times(account_id, [*times, at])
            return True

    def give_back_disabling(self, account_id: str, at: datetime) -> None:
        with self._lock:
            times = list(self._times(account_id))
            times.remove(datetime.fromtimestamp(ceil(at), UTC))
            self._write_times(account_id, times)

    def _times(self, account_id: str) -> tuple[datetime, ...]:
        item = self._items.get(other_writes.disablings_id(account_id))
        return () if item is None else state_items.disablings(item)[0]

    def _write_times(self, account_id: str, times: Sequence[datetime]) -> None:
        (change,) = other_writes.disablings_of_account(account_id, "token", None, times).changes
        name = other_writes.disablings_id(account_id)
        self._items[name] = changed(change, {state_items.HASH_KEY: name})


def _ids(addressees: Iterable[Addressee]) -> list[str]:
    return [addressee.record_id for addressee in addressees]


def holds(condition: Condition, item: Mapping[str, Value]) -> bool:
    """Whether a condition of a write holds for an item, as DynamoDB would say."""
    match condition:
        case Absent(name=name):
            return name not in item
        case Is(name=name, value=value):
            return item.get(name) == value
        case AtMost(name=name, value=number):
            found = item.get(name)
            return isinstance(found, int) and found <= number
        case All(parts=parts):
            return all(holds(part, item) for part in parts)
        case AnyOf(parts=parts):
            return any(holds(part, item) for part in parts)


def changed(change: Change, item: Mapping[str, Value]) -> dict[str, Value]:
    """An item after a change."""
    new = {**item, **change.set}
    for name, texts in change.add.items():
        before = item.get(name, frozenset())
        assert isinstance(before, frozenset)
        new[name] = before | texts
    for name, texts in change.delete.items():
        before = new.pop(name, frozenset())
        assert isinstance(before, frozenset)
        if left := before - texts:  # DynamoDB has no empty set
            new[name] = left
    return {name: value for name, value in new.items() if name not in change.remove}


class MemoryIssues:
    """keycheck.services.Issues, with a workflow that can be closed."""

    def __init__(self, account: MemoryAccount) -> None:
        self._account = account
        self._issues = account.issues

    @property
    def browse_address(self) -> str | None:
        return "https://example.atlassian.net"

    def open_issues(self) -> OpenIssues:
        found: dict[str, set[str]] = defaultdict(set)
        for issue in self._shown():
            if issue.ended_at is None:
                found[issue.draft.labels[1]].add(issue.key)
        return {label: frozenset(keys) for label, keys in found.items()}

    def _shown(self) -> list[Filed]:
        """What a search finds by now."""
        known_since = self._account.now - self._account.search_lag
        with self._account.lock:  # issues are filed by several threads
            return [issue for issue in self._issues.values() if issue.filed_at <= known_since]

    def read(self, issue_key: str) -> SeenIssue | None:
        issue = self._find(issue_key)
        if issue is None:
            return None
        return SeenIssue(issue.key, frozenset(issue.draft.labels), issue.ended_at is None)

    def _find(self, issue_key: str) -> Filed | None:
        return self._issues.get(self._account.moved_issues.get(issue_key, issue_key))

    def _issue(self, issue_key: str) -> Filed:
        """Raises ServiceError where somebody has deleted it."""
        issue = self._find(issue_key)
        if issue is None:
            raise ServiceError("Jira", "read issue", f"{issue_key} is gone", code="404")
        return issue

    def find_original(self, _access_key: AccessKey, _profile: str) -> str | None:
        return None

    def add_label(self, issue_key: str, label: str) -> None:
        raise AssertionError(f"nothing to adopt here: {issue_key}, {label}")

    def find_open(self, issue_label: str) -> str | None:
        found = (one.key for one in self._shown() if issue_label in one.draft.labels and one.ended_at is None)
        return next(found, None)

    def count_filed(self, issue_label: str, days: int) -> int | None:
        return sum(1 for one in self._shown() if issue_label in one.draft.labels)

    def create(self, draft: IssueDraft) -> str:
        with self._account.lock:
            key = f"SEC-{next(self._account.issue_numbers)}"
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

    def was_said(self, issue_key: str, marker: str) -> bool:
        return any(marker in text for _, text in self._issue(issue_key).comments)

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

    def why_gone(self, slack_id: str) -> str | None:
        return "deleted" if slack_id in self._account.left_slack else None
