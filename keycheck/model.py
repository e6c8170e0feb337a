"""The values that flow through keycheck: frozen, aware UTC, no behaviour beyond what a value knows of itself.

In: nothing. Out: the words that every other module speaks. It never reads a clock, a setting or a service.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


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
    """

    profile: str
    keys: tuple[AccessKey, ...] = ()
    user_count: int = 0
    is_complete: bool = True
    was_scanned: bool = True
    problems: tuple[Problem, ...] = ()


def is_issue_key(text: object) -> bool:
    """Whether this can be a Jira issue's key, such as SEC-12: nothing else gets into a URL, a record or a message."""
    return isinstance(text, str) and len(text) <= 255 and re.fullmatch("[A-Za-z][A-Za-z0-9_]*-[0-9]+", text) is not None


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """The item of the state table for one access key; `None` and empty where nothing is on record.

    `told_at`: when a message naming it was last answered ok. `issue_key`: the issue last filed or found for it.
    `issue_filings`: when a POST for it was begun, oldest first, kept also where its outcome is unknown;
    `answered_filings`: those of them that Jira answered with an issue.
    `issue_claim_until`: when the claim on its filing lapses, if there is one.
    """

    access_key_id: str
    told_at: datetime | None = None
    issue_key: str | None = None
    issue_filings: tuple[datetime, ...] = ()
    answered_filings: tuple[datetime, ...] = ()
    issue_claim_until: datetime | None = None

    @property
    def was_warned(self) -> bool:
        """Whether a warning about this access key was ever delivered: the gate before disabling."""
        return self.told_at is not None or self.issue_key is not None


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
class State:
    """What the state table holds about the keys and addressees of this run; what is absent has no record.

    `unreadable`: the hash keys of items that hold something that keycheck did not write.
    """

    keys: Mapping[str, KeyRecord] = field(default_factory=dict)
    addressees: Mapping[str, AddresseeRecord] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()

    def key(self, access_key_id: str) -> KeyRecord:
        return self.keys.get(access_key_id, KeyRecord(access_key_id))

    def addressee(self, addressee: Addressee) -> AddresseeRecord:
        return self.addressees.get(addressee.record_id, AddresseeRecord())


class Fate(enum.Enum):
    """What will happen to an access key if nobody acts: what its owner is told."""

    STAYS_ACTIVE = enum.auto()
    DISABLED_WHEN_EXPIRED = enum.auto()
    DISABLED_NOW = enum.auto()
    NEVER_DISABLED = enum.auto()


class SkipReason(enum.Enum):
    """Why something that was due is not done; the value is the sentence people read. Each is counted as skipped."""

    NO_STATE = "the state table could not be used, and without state nothing is filed, sent or disabled"
    JIRA_OFF = "Jira is off for this run"
    SLACK_OFF = "Slack is off for this run"
    UNKNOWN_OWNER = "the user is in no Slack mapping and slack_fallback_channel is not set"
    NOBODY_TOLD = "nobody could be told: no warning about this access key has been delivered yet"
    OWN_ACCESS_KEY = "keycheck itself depends on this access key"
    TOO_MANY_ISSUES = "two issues were filed for it within seven days"
    CLAIMED = "another run has claimed it"
    BAD_RECORD = "its record in the state table cannot be read; delete that item, or mend it"
    BAD_ADDRESSEE = (
        "the item slack:<account id>:<Slack id> of its owner in the state table holds a time in the future, or what "
        "keycheck did not write; delete that item"
    )
    RETRY_LATER = "Slack failed twice in a row for this addressee; tried again an hour later"
    OUT_OF_TIME = "the run's time was over"


@dataclass(frozen=True, slots=True)
class FileIssue:
    """Make sure that an open issue exists for this access key. `record` is what the decision rests on."""

    key: LabelledKey
    record: KeyRecord
    fate: Fate
    key_count: int


@dataclass(frozen=True, slots=True)
class MessageKey:
    """One access key as its owner's message names it.

    `issue_key` is the issue on record, if any. `key_count` is how many access keys the user has: AWS allows two.
    """

    key: LabelledKey
    fate: Fate
    issue_key: str | None
    key_count: int


@dataclass(frozen=True, slots=True)
class SendMessage:
    """One message to one addressee about one account. `unlisted` keys need attention too, but did not fit.

    `claim_until`: when the claim on messaging this addressee lapses, if there was one when the plan was made.
    """

    addressee: Addressee
    keys: tuple[MessageKey, ...]
    unlisted: int = 0
    claim_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class DisableKey:
    """Set this access key Inactive. `was_warned`: a warning is on record; otherwise one must be delivered first.

    `needs_warning` is False only where neither Slack nor Jira is on.
    """

    key: LabelledKey
    needs_warning: bool
    was_warned: bool


Action = FileIssue | SendMessage | DisableKey


@dataclass(frozen=True, slots=True)
class Skip:
    """Something that was due for this access key (or for the message about it) and is not done, with its reason."""

    profile: str
    what: str
    key: LabelledKey
    reason: SkipReason


@dataclass(frozen=True, slots=True)
class Chain:
    """What is done for one addressee, in this order: file the issues, send the message, disable."""

    profile: str
    filings: tuple[FileIssue, ...] = ()
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
