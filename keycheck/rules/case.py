"""A Case: one access key and all that decides about it, as one value. Pure.

In: what the scan, IAM, the state table and Jira said. Out: values that each rule reads and none changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from keycheck.actions import SkipReason
from keycheck.model import (
    AccessKey,
    AgeLabel,
    Exemption,
    IssueRecord,
    KeyRecord,
    LabelledKey,
    LastUse,
    OpenIssues,
    Owner,
    OwnerKind,
    Scan,
    State,
)
from keycheck.settings import Settings

A_DAY = timedelta(days=1)
IAM_SHOWS_WITHIN = timedelta(minutes=15)
"""IAM is eventually consistent: until then a listing may show an access key as it was before it was disabled."""


@dataclass(frozen=True, slots=True)
class UserFacts:
    """What was found out about one IAM user whose access keys need attention.

    `not_disabled_because`: why none of them is disabled in this run, whatever else holds. `tag_trouble`: why the
    exemption tags do not count, for the owner. `is_not_its_turn`: this run had no time to find out more, so nothing at
    all is done about them.
    """

    owner: Owner
    exemption: Exemption | None = None
    not_disabled_because: SkipReason | None = None
    tag_trouble: str = ""
    is_not_its_turn: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found out about one account beside its access keys.

    `users`: by user name. `last_uses`: by access key id: None if it could not be read, absent if nobody asked.
    `sees_whole_account`: the scan is complete: what it does not show is gone.
    """

    scan: Scan
    users: Mapping[str, UserFacts] = field(default_factory=dict)
    last_uses: Mapping[str, LastUse | None] = field(default_factory=dict)
    sees_whole_account: bool = False

    def of_scan(self, scan: Scan) -> Facts:
        """Return the same facts about an account that was looked at again."""
        return replace(self, scan=scan, sees_whole_account=sees_whole_account(scan))

    def is_about(self, scan: Scan) -> bool:
        """Return whether this is the account that a scan shows."""
        is_same = bool(scan.account_id) and scan.account_id == self.scan.account_id
        return is_same or scan.profile == self.scan.profile

    def user(self, user_name: str) -> UserFacts:
        """Of a user that nobody asked about nothing is known, so nothing of that user is disabled."""
        return self.users.get(user_name, UserFacts(Owner(OwnerKind.UNREAD)))


def sees_whole_account(scan: Scan) -> bool:
    return scan.is_complete and scan.was_scanned and bool(scan.account_id)


@dataclass(frozen=True, slots=True)
class SharedFacts:
    """What planning knows for all profiles; None if a service could not be asked.

    `open_issues`: all open issues of ours in Jira. `own_access_key_ids`: never to be disabled.
    """

    state: State | None
    open_issues: OpenIssues | None
    own_access_key_ids: frozenset[str]
    slack_is_usable: bool = True


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is the same for every access key of a run: the settings, its one `now`, and what Jira and Slack are."""

    settings: Settings
    now: datetime
    open_issues: OpenIssues | None = None
    own_access_key_ids: frozenset[str] = frozenset()
    slack_is_usable: bool = True

    @property
    def tells_on_slack(self) -> bool:
        return self.settings.send_slack and self.slack_is_usable

    def claim_is_live(self, claim_until: datetime | None) -> bool:
        """Return whether the run that made a claim may still be at it."""
        return claim_is_live(claim_until, self.now, self.settings)

    def is_visible_in_iam(self, at: datetime) -> bool:
        """Return whether this run's listing, which began after `now`, shows what was done then."""
        return self.now - at >= IAM_SHOWS_WITHIN

    def issue(self, record: KeyRecord) -> IssueRecord | None:
        """Return the recorded issue if it is of this Jira: on another site there is none."""
        issue = record.issue
        return issue if issue is not None and issue.is_on(self.settings.jira_site) else None

    def is_open(self, record: KeyRecord) -> bool:
        """Return whether the recorded issue is open and bears the label of its access key, as far as a search shows."""
        issue = self.issue(record)
        return issue is not None and issue.key in self.open_of(record)

    def open_of(self, record: KeyRecord) -> frozenset[str]:
        """Return the keys of all open issues that bear the label of this access key."""
        return (self.open_issues or {}).get(record.issue_label, frozenset())

    def can_comment(self, record: KeyRecord) -> bool:
        """Return whether something can be said in the recorded issue: an issue of ours is open, maybe that one under a
        new key, and no other run is at it.
        """
        is_free = not self.claim_is_live(record.issue_claim_until)
        return self.settings.create_jira and is_free and self.issue(record) is not None and bool(self.open_of(record))


@dataclass(frozen=True, slots=True)
class Case:
    """One active access key that needs attention. `siblings`: all access keys of its user, itself among them.

    `last_use`: None if it could not be read, or if nobody has asked yet (`use_was_asked` is False then).
    """

    key: LabelledKey
    record: KeyRecord
    user: UserFacts
    scan: Scan
    run: Circumstances
    siblings: tuple[LabelledKey, ...] = ()
    last_use: LastUse | None = None
    use_was_asked: bool = False

    @property
    def access_key(self) -> AccessKey:
        return self.key.access_key

    @property
    def access_key_id(self) -> str:
        return self.key.access_key.access_key_id

    @property
    def owner(self) -> Owner:
        return self.user.owner

    @property
    def settings(self) -> Settings:
        return self.run.settings

    @property
    def now(self) -> datetime:
        return self.run.now

    @property
    def is_expired(self) -> bool:
        return self.key.label is AgeLabel.EXPIRED

    @property
    def is_own(self) -> bool:
        """Whether keycheck itself depends on it."""
        return self.access_key_id in self.run.own_access_key_ids

    @property
    def is_spared(self) -> bool:
        """Whether it stays active since nobody knows its owner: disable_unowned."""
        return self.owner.is_anybodys and not self.settings.disable_unowned

    @property
    def files_issues(self) -> bool:
        """Whether it has an issue at all: filed, commented on, and waited for before it is disabled."""
        return self.settings.create_jira

    @property
    def open_issue(self) -> str | None:
        """The recorded issue, as far as is known an open one of ours."""
        issue = self.run.issue(self.record)
        is_open = issue is not None and (self.run.open_issues is None or self.run.is_open(self.record))
        return issue.key if issue is not None and is_open else None

    @property
    def newer(self) -> AccessKey | None:
        """The user's newest access key to move to: younger, active, and not due itself."""
        others = [
            one.access_key
            for one in self.siblings
            if one.label is AgeLabel.OK and one.access_key.create_date > self.access_key.create_date
        ]
        return max(others, key=lambda one: one.create_date, default=None)


def claim_is_live(claim_until: datetime | None, now: datetime, settings: Settings) -> bool:
    """Return whether the run that made a claim may still be at it. A claim outlives its deadline by the margin."""
    return claim_until is not None and claim_until - timedelta(seconds=settings.claim_margin_seconds) > now


def first_instant(at: datetime) -> datetime:
    """Return the first instant of a day in UTC: what people are told is a day."""
    return at.replace(hour=0, minute=0, second=0, microsecond=0)
