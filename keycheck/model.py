"""The values that flow through keycheck: frozen, aware UTC, no behaviour beyond what a value knows of itself.

In: nothing. Out: the words that every other module speaks. It never reads a clock, a setting or a service.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime


class AgeLabel(enum.Enum):
    """What keycheck says of an access key; the value is the metric's `status` tag (design.md 2)."""

    OK = "ok"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    DISABLED = "disabled"


FIRST_CREATION = datetime(2006, 1, 1, tzinfo=UTC)
"""AWS itself began in that year: nothing there is older."""
ACCESS_KEY_ID = re.compile("[A-Za-z0-9_]{16,128}")
LABEL_OF_ITS_OWN = re.compile("keycheck-[0-9a-f]{16}")


def issue_label(access_key_id: str) -> str:
    """Return the label that marks an access key's issues, the same in every run: design.md 2. Whatever lacks it is not
    ours.
    """
    return f"keycheck-{hashlib.sha256(access_key_id.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class AccessKey:
    """One access key as ListAccessKeys told it, in this run unless its user is among the Scan's `cached`.

    `status` is AWS's word (`Active`, `Inactive`, `Expired`, or one that AWS invents tomorrow): only `Active` is active.
    """

    access_key_id: str
    user_name: str
    account_id: str
    status: str
    create_date: datetime

    @property
    def is_active(self) -> bool:
        return self.status == "Active"

    @property
    def last_five(self) -> str:
        """For people and dashboards only: it never identifies an access key in a decision."""
        return self.access_key_id[-5:]

    @property
    def issue_label(self) -> str:
        return issue_label(self.access_key_id)


@dataclass(frozen=True, slots=True)
class LabelledKey:
    """An access key with its age in whole days, its label, and the instant from which it counts as expired."""

    access_key: AccessKey
    age_days: int
    label: AgeLabel
    expires_at: datetime

    @property
    def needs_attention(self) -> bool:
        """Active and expiring or expired: these are filed, nagged about and disabled; the others only measured."""
        return self.label in (AgeLabel.EXPIRING, AgeLabel.EXPIRED)


class Level(enum.Enum):
    """The severities that Telegraf's `log_stderr` reads from the first two characters of a line."""

    ERROR = "E!"
    WARNING = "W!"
    INFO = "I!"
    DEBUG = "D!"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something a person should read on stderr, about one profile.

    `count` is how much it adds to `iam_run errors=` (one line may stand for many failed calls); only ERROR counts.
    `subject` is what it is about: problems that differ in nothing else share a line.
    """

    level: Level
    profile: str
    text: str
    count: int = 1
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """What one profile's scan learned. `is_complete` is False if anything of it is missing.

    `was_scanned` is False if nothing can be said about the account at all: then there are no keys and no counts.
    `is_listed`: ListUsers came to its end. `users_read`: of how many users the access keys are known;
    `users_failed`: of how many the call failed. `vanished`: names of users that IAM listed, and then did not know:
    deleted, or renamed, meanwhile. `root_access_keys` is None if IAM did not say. `cached`: names of users whose access
    keys were not asked for in this run (listing.py): nothing may be done, or ended, because of what they show.
    """

    profile: str
    keys: tuple[AccessKey, ...] = ()
    user_count: int = 0
    is_complete: bool = True
    was_scanned: bool = True
    problems: tuple[Problem, ...] = ()
    is_listed: bool = True
    users_read: int = 0
    users_failed: int = 0
    root_access_keys: int | None = None
    account_id: str = ""
    vanished: frozenset[str] = frozenset()
    cached: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LastUse:
    """What GetAccessKeyLastUsed says. `at` is None if AWS knows of no use (it began to note them in April 2015).

    `service` and `region` are AWS's words, such as `s3` and `eu-west-1`; `N/A` if there is none.
    """

    at: datetime | None
    service: str = "N/A"
    region: str = "N/A"


@dataclass(frozen=True, slots=True)
class Exemption:
    """Why nothing is done about a user's access keys, and until which day in UTC, that day included."""

    until: date
    reason: str


@dataclass(frozen=True, slots=True)
class IssueRecord:
    """The issue last filed or found for an access key.

    `comments_made`: markers of what was said in it, each once. `assigned_to`: the e-mail of whom it was assigned to.
    `ended_at`: when keycheck was done with it: closed, or found closed or gone. `site`: the address of the Jira that
    has it; None if an earlier version recorded it.
    """

    key: str
    comments_made: frozenset[str] = frozenset()
    assigned_to: str | None = None
    ended_at: datetime | None = None
    site: str | None = None

    def is_on(self, site: str) -> bool:
        """Return whether this Jira has it, as far as is known."""
        return self.site in (None, site)


@dataclass(frozen=True, slots=True)
class SeenIssue:
    """An issue as Jira shows it. `key`: the one that it has now: a moved one answers to its old keys too."""

    key: str
    labels: frozenset[str]
    is_open: bool


OpenIssues = Mapping[str, frozenset[str]]
"""The keys of open issues, by the label of the access key that they are about."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Somebody was told from which day on an access key is disabled: design.md 5.

    `owner`: to whom it was given (an Owner's `identity`), `given_at`: when first. `kept_at`: when it was last noted
    that a run would still say the same. A void one is not on record.
    """

    owner: str
    given_at: datetime
    kept_at: datetime


class Void(enum.Enum):
    """Why a notice is void; the value stands in the state table, for people."""

    STAYS_ACTIVE = "it was to stay active"
    NOT_DUE = "it needed no rotating"
    EXEMPT = "its user was exempt"
    INACTIVE = "it was inactive"
    REENABLED = "a person took it back"
    OTHER_OWNER = "it had another owner"
    GONE = "it was gone"


@dataclass(frozen=True, slots=True)
class DisabledRecord:
    """AWS answered that an access key is Inactive, to the run `by`: None until a later run has confirmed an intent."""

    at: datetime
    by: str | None = None


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """The item of the state table for one access key; `None` and empty if nothing is on record.

    `told_at`: when a message naming it was last answered ok. `notice`: what it may be disabled on. `disable_from`: the
    latest day told to anybody, as its first instant in UTC: it outlives every notice. `disabling_at`: an intent to
    disable that was never confirmed. `inactive_at`: since when it is seen inactive, though keycheck is not on record as
    having done that. `reenabled_at`: when it was first seen active after any of these. `exempt_until`: the exemption
    last seen, until it is said that it has ended. `voided_at`, `voided_why`: when and why the last notice became void:
    nothing rests on them but what tells one notice in an issue from the next. `times_taken_back`: how often a person
    did that, ever. `events`: what happened to it (rules/events.py).

    `issue_filings`: when a POST of an issue was begun, oldest first, kept also if its outcome is unknown;
    `answered_filings`: those of them that Jira answered with an issue; `issue_tried_at`: when Jira last refused one.
    `issue_claim_until`: when the claim on its filing, or on a comment, lapses, if there is one.
    """

    access_key_id: str
    account_id: str = ""
    user_name: str = ""
    told_at: datetime | None = None
    issue: IssueRecord | None = None
    issue_filings: tuple[datetime, ...] = ()
    answered_filings: tuple[datetime, ...] = ()
    issue_tried_at: datetime | None = None
    issue_claim_until: datetime | None = None
    notice: Notice | None = None
    disable_from: datetime | None = None
    disabling_at: datetime | None = None
    disabled: DisabledRecord | None = None
    inactive_at: datetime | None = None
    reenabled_at: datetime | None = None
    exempt_until: date | None = None
    voided_at: datetime | None = field(default=None, compare=False)
    voided_why: str = field(default="", compare=False)
    events: frozenset[str] = field(default=frozenset(), compare=False)
    times_taken_back: int = 0

    @property
    def issue_key(self) -> str | None:
        return None if self.issue is None else self.issue.key

    @property
    def issue_label(self) -> str:
        return issue_label(self.access_key_id)

    def was_said(self, marker: str) -> bool:
        """Return whether something was said in the issue on record."""
        return self.issue is not None and marker in self.issue.comments_made


@dataclass(frozen=True, slots=True)
class AddresseeRecord:
    """The item `slack:<account id>:<Slack id>`: when that addressee was last messaged about that account.

    `messaged_at` includes messages of unknown outcome. Until `not_before`, no message is tried (Slack's second 5xx in
    a row); `server_errors` counts those in a row. `tried_at`: when Slack last refused a message to it.
    """

    messaged_at: datetime | None = None
    not_before: datetime | None = None
    server_errors: int = 0
    claim_until: datetime | None = None
    tried_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Addressee:
    """Who gets one message about one account: a person, or a channel, by Slack id."""

    slack_id: str
    account_id: str
    is_person: bool
    is_fallback: bool = False

    @property
    def record_id(self) -> str:
        return f"slack:{self.account_id}:{self.slack_id}"


class OwnerKind(enum.Enum):
    """KNOWN: a switched-on channel reaches the owner. UNKNOWN: nobody is named. UNREAD: it could not be found out in
    this run (tags, or Slack's answer, are missing), so nobody else is told, and nothing is disabled.
    """

    KNOWN = enum.auto()
    UNKNOWN = enum.auto()
    UNREAD = enum.auto()


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns an IAM user's access keys, as far as this run knows.

    `addressee`: who is told on Slack: the owner, or, of an UNKNOWN one, the fallback channel; None if nobody is.
    `group`: a Slack user group that a team's message mentions. `email`: whom the issue is assigned to, if that is on.
    `is_email_own`: that address itself names the owner, so that its issue reaches whoever owns the access keys.

    `is_mapped`: the mapping file names somebody, though Slack is off and nobody is told.

    `is_unsure`: whether the addressee can still be told could not be found out in this run; `is_retry`: nobody but a
    message can tell. `trouble`: why whoever was named is not told, for others.
    """

    kind: OwnerKind
    addressee: Addressee | None = None
    group: str | None = None
    email: str | None = None
    is_email_own: bool = False
    is_mapped: bool = False
    is_unsure: bool = False
    is_retry: bool = False
    trouble: str = ""

    @property
    def is_anybodys(self) -> bool:
        """Whether nobody knows whose it is. What could not be read is not taken for that."""
        return self.kind is OwnerKind.UNKNOWN and not self.is_mapped

    @property
    def identity(self) -> str:
        """What a notice is given to: whoever is asked now. Another owner, group or fallback channel was not told."""
        if self.addressee is not None and not self.is_told_by_others:
            return f"{self.addressee.slack_id} {self.group}" if self.group else self.addressee.slack_id
        return (self.email if self.kind is OwnerKind.KNOWN else None) or "unknown"

    @property
    def is_told_by_others(self) -> bool:
        """Known by e-mail alone: the addressee is the fallback channel, and its ok is no warning to the owner."""
        return self.kind is OwnerKind.KNOWN and self.addressee is not None and self.addressee.is_fallback


@dataclass(frozen=True, slots=True)
class Lookup:
    """What Slack last said of an e-mail address, or of a Slack id: who has it; `slack_id` is None if nobody does.

    `looked_up_at` None: Slack has never answered. `tried_at`: when it was last asked in vain. `why`: why nobody is told
    under a Slack id: Slack's own word.
    """

    slack_id: str | None
    looked_up_at: datetime | None
    why: str = ""
    tried_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """Since when keycheck has had something to do there, and the last user, by name, for whose tags a run had time."""

    first_seen_at: datetime | None = None
    tags_read_to: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """What the state table holds about the keys and addressees of this run; what is absent has no record.

    `unreadable`: the hash keys of items that hold something that keycheck did not write. `lookups`: by e-mail address
    or Slack id. `disablings`, `accounts`, `standing`: by account id; when access keys were, or may have been, disabled;
    the ids of those whose records are read in every run (rules/standing.py). `lists_all`: since when all are listed.
    """

    keys: Mapping[str, KeyRecord] = field(default_factory=dict)
    addressees: Mapping[str, AddresseeRecord] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()
    lookups: Mapping[str, Lookup] = field(default_factory=dict)
    disablings: Mapping[str, tuple[datetime, ...]] = field(default_factory=dict)
    accounts: Mapping[str, AccountRecord] = field(default_factory=dict)
    standing: Mapping[str, frozenset[str]] = field(default_factory=dict)
    lists_all: datetime | None = None

    def key(self, access_key_id: str) -> KeyRecord:
        return self.keys.get(access_key_id, KeyRecord(access_key_id))

    def account(self, account_id: str) -> AccountRecord:
        return self.accounts.get(account_id, AccountRecord())

    def addressee(self, addressee: Addressee) -> AddresseeRecord:
        return self.addressees.get(addressee.record_id, AddresseeRecord())
