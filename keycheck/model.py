"""The values that flow through keycheck: frozen, aware UTC, no behaviour beyond what a value knows of itself.

In: nothing. Out: the words that every other module speaks. It never reads a clock, a setting or a service.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime


class AgeLabel(enum.Enum):
    """What keycheck says of an access key; the value is the metric's `status` tag (design.md, section 2)."""

    OK = "ok"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class AccessKey:
    """One access key as ListAccessKeys told it in this run.

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
        """The label that marks this access key's issues, the same in every run: design.md, section 2."""
        return f"keycheck-{hashlib.sha256(self.access_key_id.encode()).hexdigest()[:16]}"


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
    """What one profile's scan learned. `is_complete` is False where anything of it is missing.

    `was_scanned` is False where nothing can be said about the account at all: then there are no keys and no counts.
    `is_listed`: ListUsers came to its end. `users_read`, `users_failed`: of the users that were asked for, those whose
    access keys are known, and those whose call failed. `root_access_keys` is None where IAM did not say.
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


@dataclass(frozen=True, slots=True)
class LastUse:
    """What GetAccessKeyLastUsed says. `at` is None where AWS knows of no use (it began to note them in April 2015).

    `service` and `region` are AWS's words, such as `s3` and `eu-west-1`; `N/A` where there is none.
    """

    at: datetime | None
    service: str = "N/A"
    region: str = "N/A"


@dataclass(frozen=True, slots=True)
class Exemption:
    """Why nothing is done about a user's access keys, and until which day in UTC, that day included."""

    until: date
    reason: str


def is_issue_key(text: object) -> bool:
    """Whether this can be a Jira issue's key, such as SEC-12: nothing else gets into a URL, a record or a message."""
    return isinstance(text, str) and len(text) <= 255 and re.fullmatch("[A-Za-z][A-Za-z0-9_]*-[0-9]+", text) is not None


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """The item of the state table for one access key; `None` and empty where nothing is on record.

    `told_at`: when a message naming it was last answered ok. `issue_key`: the issue last filed or found for it.
    `issue_filings`: when a POST for it was begun, oldest first, kept also where its outcome is unknown;
    `answered_filings`: those of them that Jira answered with an issue.
    `issue_claim_until`: when the claim on its filing, or on a comment, lapses, if there is one.

    `issue_said`: marks of what was said in that issue, each once. `issue_assigned_to`: the e-mail of whom it was
    assigned to. `issue_ended_at`: when keycheck was done with it: closed, or found closed or gone.

    `warned_at`: the first delivery of a warning that named a day, to `warned_owner` (an Owner's `identity`).
    `disable_from`: the latest day told to anybody, as its first instant in UTC.
    `disabling_at`: an intent to disable that was never confirmed. `disabled_at`: AWS answered that it is Inactive,
    to the run `disabled_by`.
    `reenabled_at`: when it was first seen Active again. `exempt_until`: the exemption last seen, until it is said that
    it has ended.
    """

    access_key_id: str
    account_id: str = ""
    user_name: str = ""
    told_at: datetime | None = None
    issue_key: str | None = None
    issue_filings: tuple[datetime, ...] = ()
    answered_filings: tuple[datetime, ...] = ()
    issue_claim_until: datetime | None = None
    issue_said: frozenset[str] = frozenset()
    issue_assigned_to: str | None = None
    issue_ended_at: datetime | None = None
    warned_at: datetime | None = None
    warned_owner: str | None = None
    disable_from: datetime | None = None
    disabling_at: datetime | None = None
    disabled_at: datetime | None = None
    disabled_by: str | None = None
    reenabled_at: datetime | None = None
    exempt_until: date | None = None


@dataclass(frozen=True, slots=True)
class AddresseeRecord:
    """The item `slack:<account id>:<Slack id>`: when that addressee was last messaged about that account.

    `messaged_at` includes messages of unknown outcome. Until `not_before`, no message is tried (Slack's second 5xx in
    a row); `server_errors` counts those in a row.
    """

    messaged_at: datetime | None = None
    not_before: datetime | None = None
    server_errors: int = 0
    claim_until: datetime | None = None


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


@dataclass(frozen=True, slots=True)
class Warned:
    """A delivered warning that named a day: when, under which Owner's `identity`, and the first instant of that day."""

    at: datetime
    owner: str
    day: datetime


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

    `addressee`: who is told on Slack: the owner, or, of an UNKNOWN one, the fallback channel; None where nobody is.
    `group`: a Slack user group that a team's message mentions. `email`: whom the issue is assigned to, if that is on.
    """

    kind: OwnerKind
    addressee: Addressee | None = None
    group: str | None = None
    email: str | None = None

    @property
    def identity(self) -> str:
        """What a delivered warning is recorded under: a new owner has not been warned."""
        if self.kind is not OwnerKind.KNOWN:
            return "unknown"
        if self.addressee is not None and not self.is_told_by_others:
            return self.addressee.slack_id
        return self.email or "unknown"

    @property
    def is_told_by_others(self) -> bool:
        """Known by e-mail alone: the addressee is the fallback channel, and its ok is no warning to the owner."""
        return self.kind is OwnerKind.KNOWN and self.addressee is not None and self.addressee.is_fallback


@dataclass(frozen=True, slots=True)
class Lookup:
    """Who on Slack has an e-mail address, as Slack last said; `slack_id` is None where it knows nobody."""

    slack_id: str | None
    looked_up_at: datetime


@dataclass(frozen=True, slots=True)
class State:
    """What the state table holds about the keys and addressees of this run; what is absent has no record.

    `unreadable`: the hash keys of items that hold something that keycheck did not write. `lookups`: by e-mail address.
    `disablings`: account id -> when access keys of that account were disabled, or may have been, oldest first.
    """

    keys: Mapping[str, KeyRecord] = field(default_factory=dict)
    addressees: Mapping[str, AddresseeRecord] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()
    lookups: Mapping[str, Lookup] = field(default_factory=dict)
    disablings: Mapping[str, tuple[datetime, ...]] = field(default_factory=dict)

    def key(self, access_key_id: str) -> KeyRecord:
        return self.keys.get(access_key_id, KeyRecord(access_key_id))

    def addressee(self, addressee: Addressee) -> AddresseeRecord:
        return self.addressees.get(addressee.record_id, AddresseeRecord())


class Fate(enum.Enum):
    """What will happen to an access key if nobody acts: what its owner is told.

    DISABLED_FROM: not before a day. DISABLED_NOW: in this run. IN_USE: due, but somebody uses it. LEFT_ALONE: a person
    re-enabled it, so not before a day. NEVER_DISABLED: keycheck itself depends on it.
    """

    STAYS_ACTIVE = enum.auto()
    DISABLED_FROM = enum.auto()
    DISABLED_NOW = enum.auto()
    IN_USE = enum.auto()
    LEFT_ALONE = enum.auto()
    NEVER_DISABLED = enum.auto()


class SkipReason(enum.Enum):
    """Why something that was due is not done. Each is counted as skipped; words/lines.py has what is said of it."""

    NO_STATE = enum.auto()
    JIRA_OFF = enum.auto()
    SLACK_OFF = enum.auto()
    UNKNOWN_OWNER = enum.auto()
    OWNER_UNREAD = enum.auto()
    NOBODY_TOLD = enum.auto()
    NOTICE = enum.auto()
    BRAKE = enum.auto()
    IN_USE = enum.auto()
    EXEMPT = enum.auto()
    EXEMPTIONS_UNREAD = enum.auto()
    TAGS_UNREAD = enum.auto()
    BAD_EXEMPT_TAG = enum.auto()
    SCAN_BROKEN = enum.auto()
    REENABLED = enum.auto()
    JUST_DISABLED = enum.auto()
    OWN_ACCESS_KEY = enum.auto()
    TOO_MANY_ISSUES = enum.auto()
    CLAIMED = enum.auto()
    BAD_RECORD = enum.auto()
    BAD_ADDRESSEE = enum.auto()
    RETRY_LATER = enum.auto()
    OUT_OF_TIME = enum.auto()


@dataclass(frozen=True, slots=True)
class Notice:
    """What a warning promises once it is delivered: to whom (an Owner's `identity`), and the day told."""

    owner: str
    day: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """What messages and issues say of an access key beside its age.

    `day`: the first instant of the day before which it is not disabled, where the fate has one. `last_use` is None
    where it could not be read. `newer`: the last five characters of the user's newest younger active access key.
    `key_count`: how many access keys the user has: AWS allows two. `ended_exemption`: an exemption that has ended, its
    last day. `tag_trouble`: why the user's exemption tags do not count.
    """

    fate: Fate
    day: datetime | None = None
    last_use: LastUse | None = None
    newer: str | None = None
    key_count: int = 1
    ended_exemption: date | None = None
    tag_trouble: str = ""


@dataclass(frozen=True, slots=True)
class FileIssue:
    """Make sure that an open issue exists for this access key. `record` is what the decision rests on.

    `email`: whom it is assigned to. `notice`: what it promises, where it counts as a warning: unassigned for an owner
    nobody knows, otherwise only once it is assigned.
    """

    key: LabelledKey
    record: KeyRecord
    standing: Standing
    email: str | None = None
    notice: Notice | None = None


@dataclass(frozen=True, slots=True)
class AssignIssue:
    """Assign the recorded, open issue of this access key to its owner."""

    key: LabelledKey
    record: KeyRecord
    email: str


class IssueEvent(enum.Enum):
    """What a comment on an issue is about. After DELETED, DEACTIVATED and GRACE_OVER the issue is closed."""

    EXPIRED = enum.auto()
    NO_LONGER_DUE = enum.auto()
    EXEMPTION_ENDED = enum.auto()
    NOTICE = enum.auto()
    IN_USE = enum.auto()
    DISABLED = enum.auto()
    REENABLED = enum.auto()
    DEACTIVATED = enum.auto()
    GRACE_OVER = enum.auto()
    DELETED = enum.auto()

    @property
    def closes(self) -> bool:
        return self in (IssueEvent.DEACTIVATED, IssueEvent.GRACE_OVER, IssueEvent.DELETED)


@dataclass(frozen=True, slots=True)
class CommentIssue:
    """Say once, in the issue on record, what has become of its access key; and close it where the event says so.

    `mark` stands in the comment and in the record: what was said is not said again. `key` is None where AWS no longer
    shows the access key. `at`: when it was disabled or re-enabled, where the event is about that.
    """

    record: KeyRecord
    event: IssueEvent
    mark: str
    key: LabelledKey | None = None
    standing: Standing | None = None
    at: datetime | None = None
    notice: Notice | None = None


class NoteKind(enum.Enum):
    """CONFIRMED: an intent was carried out. DROPPED: an intent came to nothing. REENABLED, EXEMPT: seen first."""

    CONFIRMED = enum.auto()
    DROPPED = enum.auto()
    REENABLED = enum.auto()
    EXEMPT = enum.auto()


@dataclass(frozen=True, slots=True)
class NoteState:
    """Write down in the state table what this scan has shown of an access key. `until`: an exemption's last day."""

    record: KeyRecord
    kind: NoteKind
    key: LabelledKey | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True)
class MessageKey:
    """One access key as its owner's message names it. `issue_key` is the issue on record, if any.

    `notice`: what the message promises, where its delivery counts as a warning to the owner.
    """

    key: LabelledKey
    standing: Standing
    issue_key: str | None = None
    notice: Notice | None = None


@dataclass(frozen=True, slots=True)
class SendMessage:
    """One message to one addressee about one account. `unlisted` keys need attention too, but did not fit.

    `claim_until`: when the claim on messaging this addressee lapses, if there was one when the plan was made.
    `groups`: Slack user groups to mention.
    """

    addressee: Addressee
    keys: tuple[MessageKey, ...]
    unlisted: int = 0
    claim_until: datetime | None = None
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DisableKey:
    """Set this access key Inactive. `was_warned`: a warning is on record; otherwise one must be delivered first.

    `needs_warning` is False only where neither Slack nor Jira is on.
    """

    key: LabelledKey
    needs_warning: bool
    was_warned: bool


Action = NoteState | FileIssue | AssignIssue | CommentIssue | SendMessage | DisableKey


@dataclass(frozen=True, slots=True)
class Skip:
    """Something that was due for this access key (or for the message about it) and is not done, with its reason.

    `key` is the record of an access key that AWS no longer shows.
    """

    profile: str
    what: str
    key: LabelledKey | KeyRecord
    reason: SkipReason


@dataclass(frozen=True, slots=True)
class Chain:
    """What is done for one addressee, in this order: note, see to the issues, send the message, disable."""

    profile: str
    notes: tuple[NoteState, ...] = ()
    filings: tuple[FileIssue | AssignIssue | CommentIssue, ...] = ()
    message: SendMessage | None = None
    disablings: tuple[DisableKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to be done for one profile, and all that is due but not to be done."""

    profile: str
    chains: tuple[Chain, ...] = ()
    skips: tuple[Skip, ...] = ()


class Result(enum.Enum):
    """How an action ended.

    DONE: the service said so. NOT_NEEDED: a look showed that there is nothing to do. REFUSED: surely not done; the
    next run tries again. UNKNOWN: it may or may not have been done (design.md, section 4).
    """

    DONE = enum.auto()
    NOT_NEEDED = enum.auto()
    REFUSED = enum.auto()
    UNKNOWN = enum.auto()


@dataclass(frozen=True, slots=True)
class Outcome:
    """One action of one profile and how it ended."""

    profile: str
    action: Action
    result: Result


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of the plans of a run."""

    outcomes: tuple[Outcome, ...] = ()
    skips: tuple[Skip, ...] = ()
    problems: tuple[Problem, ...] = ()

    def of(self, profile: str) -> Outcomes:
        return Outcomes(
            tuple(one for one in self.outcomes if one.profile == profile),
            tuple(one for one in self.skips if one.profile == profile),
            tuple(one for one in self.problems if one.profile == profile),
        )

    def warned_access_key_ids(self) -> frozenset[str]:
        """Those whose owner was warned in this run, the day named: by a message, an issue or a comment."""
        done = [outcome.action for outcome in self.outcomes if outcome.result is Result.DONE]
        warned = {
            one.key.access_key.access_key_id
            for action in done
            if isinstance(action, SendMessage)
            for one in action.keys
            if one.notice is not None
        }
        return frozenset(warned) | {
            action.record.access_key_id
            for action in done
            if isinstance(action, FileIssue | CommentIssue) and action.notice is not None
        }
