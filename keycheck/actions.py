"""What is to be done, and what became of it: a Plan, its actions, skips, Outcomes. Frozen values, no behaviour. Pure.

In: nothing. Out: what planning.py hands to acting/ and to the dry run, and what those hand to the metrics.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from keycheck.model import Addressee, KeyRecord, LabelledKey, LastUse, Owner, Problem, Void


class NextStep(enum.Enum):
    """What will happen to an access key if nobody acts: what its owner is told.

    DISABLED_FROM: not before a day. DUE: its day has come, and it waits for its turn. DISABLED_NOW: in this run.
    IN_USE: due, but somebody uses it. LEFT_ALONE: a person took it back, so until a day no notice is given.
    NEVER_DISABLED: keycheck itself depends on it. STAYS_UNOWNED: nobody knows whose it is, and such ones are spared.
    """

    STAYS_ACTIVE = enum.auto()
    DISABLED_FROM = enum.auto()
    DUE = enum.auto()
    DISABLED_NOW = enum.auto()
    IN_USE = enum.auto()
    LEFT_ALONE = enum.auto()
    NEVER_DISABLED = enum.auto()
    STAYS_UNOWNED = enum.auto()

    @property
    def has_day(self) -> bool:
        return self not in (NextStep.STAYS_ACTIVE, NextStep.NEVER_DISABLED, NextStep.STAYS_UNOWNED)


class SkipReason(enum.Enum):
    """Why something that was due is not done. Each is counted as skipped; words/lines.py has what is said of it."""

    NO_STATE = enum.auto()
    JIRA_OFF = enum.auto()
    SLACK_OFF = enum.auto()
    UNKNOWN_OWNER = enum.auto()
    OWNER_UNREAD = enum.auto()
    NOBODY_TOLD = enum.auto()
    NOT_TOLD_YET = enum.auto()
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
    UNOWNED = enum.auto()
    TOO_MANY_ISSUES = enum.auto()
    CLAIMED = enum.auto()
    BAD_RECORD = enum.auto()
    BAD_ADDRESSEE = enum.auto()
    RETRY_LATER = enum.auto()
    OUT_OF_TIME = enum.auto()
    STOPPED = enum.auto()
    NOT_ITS_TURN = enum.auto()


@dataclass(frozen=True, slots=True)
class Promise:
    """What a message or an issue promises by naming a day, once it is delivered: not to disable before that day.

    `owner`: whom it gives a notice by that (an Owner's `identity`); None: nobody who is asked now.
    """

    day: datetime
    owner: str | None = None

    @property
    def gives_notice(self) -> bool:
        return self.owner is not None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What messages and issues say of an access key beside its age.

    `day`: the first instant of the day before which it is not disabled, if the next_step has one; `in_days`: how many
    days that is from now. `last_use` is None if it could not be read. `newer`: the last five characters of the user's
    newest younger active access key, `newer_since`: when that was made.
    `key_count`: how many access keys the user has: AWS allows two. `ended_exemption`: an exemption that has ended, its
    last day. `tag_trouble`: why the user's exemption tags do not count. `owner_trouble`: why whoever is named as the
    owner is not told.
    """

    next_step: NextStep
    day: datetime | None = None
    last_use: LastUse | None = None
    newer: str | None = None
    key_count: int = 1
    ended_exemption: date | None = None
    tag_trouble: str = ""
    owner_trouble: str = ""
    in_days: int | None = None
    newer_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class FileIssue:
    """Make sure that an open issue exists for this access key. `record` is what the decision rests on.

    `email`: whom it is assigned to: it gives its notice only once it is.
    """

    key: LabelledKey
    record: KeyRecord
    outlook: Outlook
    email: str | None = None
    promise: Promise | None = None


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
    """Say once, in the issue on record, what has become of its access key; and close it if the event says so.

    `comment_marker` stands in the comment and in the record: what was said is not said again. `key` is None if AWS
    no longer shows the access key. `at`: when it was disabled or re-enabled, if the event is about that.
    """

    record: KeyRecord
    event: IssueEvent
    comment_marker: str
    key: LabelledKey | None = None
    outlook: Outlook | None = None
    at: datetime | None = None
    promise: Promise | None = None


class ObservationKind(enum.Enum):
    """CONFIRMED: an intent was carried out. DROPPED: an intent is past, since the access key is gone. INACTIVE,
    REENABLED, EXEMPT: seen first. KEPT: this run would still say what the notice says. VOID: it would not.
    """

    CONFIRMED = enum.auto()
    DROPPED = enum.auto()
    INACTIVE = enum.auto()
    REENABLED = enum.auto()
    EXEMPT = enum.auto()
    KEPT = enum.auto()
    VOID = enum.auto()


@dataclass(frozen=True, slots=True)
class Observation:
    """Write down in the state table what this scan has shown of an access key. `until`: an exemption's last day.
    `reason`: that exemption's. `why`: why its notice is VOID.
    """

    record: KeyRecord
    kind: ObservationKind
    key: LabelledKey | None = None
    until: date | None = None
    why: Void | None = None
    reason: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class MessageKey:
    """One access key as its owner's message names it. `issue_key` is the issue on record, if any."""

    key: LabelledKey
    record: KeyRecord
    outlook: Outlook
    issue_key: str | None = None
    promise: Promise | None = None


@dataclass(frozen=True, slots=True)
class SendMessage:
    """One message to one addressee about one account. `unlisted` keys need attention too, but did not fit.

    `claim_until`: when the claim on messaging this addressee lapses, if there was one when the plan was made.
    `groups`: Slack user groups to mention. `is_retry`: the addressee could not be told before; its ok says that it can.
    """

    addressee: Addressee
    keys: tuple[MessageKey, ...]
    unlisted: int = 0
    claim_until: datetime | None = None
    groups: tuple[str, ...] = ()
    is_retry: bool = False


@dataclass(frozen=True, slots=True)
class DisableKey:
    """Set this access key Inactive.

    `owner`: to whom the notice was given that it rests on; None only if neither Slack nor Jira is on. `has_notice`: it
    is on record; otherwise this run must give it first.
    """

    key: LabelledKey
    record: KeyRecord
    owner: Owner | None
    has_notice: bool


Action = Observation | FileIssue | AssignIssue | CommentIssue | SendMessage | DisableKey


def access_key_ids(action: Action) -> tuple[str, ...]:
    match action:
        case SendMessage(keys=keys):
            return tuple(one.key.access_key.access_key_id for one in keys)
        case DisableKey(key=key):
            return (key.access_key.access_key_id,)
        case (
            Observation(record=record)
            | FileIssue(record=record)
            | AssignIssue(record=record)
            | CommentIssue(record=record)
        ):
            return (record.access_key_id,)


class Step(enum.Enum):
    """What is skipped; the value is how a line says it. ACT: all that may be due for an access key."""

    ACT = "act"
    FILE_ISSUE = "file an issue"
    ASSIGN_ISSUE = "assign the issue"
    UPDATE_ISSUE = "update the issue"
    NOTE = "note what was seen"
    NAG = "nag"
    DISABLE = "disable"


@dataclass(frozen=True, slots=True)
class Skip:
    """Something that was due for this access key (or for the message about it) and is not done, with its reason.

    `key` is the record of an access key that AWS no longer shows.
    """

    profile: str
    what: Step
    key: LabelledKey | KeyRecord
    reason: SkipReason


@dataclass(frozen=True, slots=True)
class Chain:
    """What is done for one addressee, in this order: note, see to the issues, send the message, disable.

    `reserves`: what takes the place of a disabling that comes to nothing; until then the brake keeps it active.
    """

    profile: str
    notes: tuple[Observation, ...] = ()
    issue_actions: tuple[FileIssue | AssignIssue | CommentIssue, ...] = ()
    message: SendMessage | None = None
    disablings: tuple[DisableKey, ...] = ()
    reserves: tuple[DisableKey, ...] = ()

    @property
    def actions(self) -> tuple[Action, ...]:
        """All of them, in the order in which they are taken."""
        message = () if self.message is None else (self.message,)
        return (*self.notes, *self.issue_actions, *message, *self.disablings)


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to be done for one profile, and all that is due but not to be done. `places`: by account id, how many
    access keys the day's brake lets be disabled. `told`: by access key id, what anybody is told of it.
    """

    profile: str
    chains: tuple[Chain, ...] = ()
    skips: tuple[Skip, ...] = ()
    places: Mapping[str, int] = field(default_factory=dict)
    told: Mapping[str, Outlook] = field(default_factory=dict, compare=False)


class Result(enum.Enum):
    """How an action ended.

    DONE: the service said so. NOT_NEEDED: a look showed that there is nothing to do. REFUSED: surely not done; the
    next run tries again. UNKNOWN: it may or may not have been done (design.md 4).
    """

    DONE = enum.auto()
    NOT_NEEDED = enum.auto()
    REFUSED = enum.auto()
    UNKNOWN = enum.auto()


@dataclass(frozen=True, slots=True)
class Outcome:
    """One action of one profile and how it ended. `issue_key`: the issue that was filed, or found."""

    profile: str
    action: Action
    result: Result
    issue_key: str = ""


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

    def named_access_key_ids(self) -> frozenset[str]:
        """Return those that a message of this run named, which was or may have been delivered."""
        sent = [one.action for one in self.outcomes if one.result in (Result.DONE, Result.UNKNOWN)]
        return frozenset(
            one.key.access_key.access_key_id
            for action in sent
            if isinstance(action, SendMessage)
            for one in action.keys
        )

    def filed_access_key_ids(self) -> frozenset[str]:
        """Return those whose issue this run filed, or found, or may have filed."""
        return frozenset(
            one.action.record.access_key_id
            for one in self.outcomes
            if isinstance(one.action, FileIssue) and one.result is not Result.REFUSED
        )

    def told_access_key_ids(self) -> frozenset[str]:
        """Return those about which this run gave a notice: by a message, an issue or a comment."""
        done = [outcome.action for outcome in self.outcomes if outcome.result is Result.DONE]
        told = {
            one.key.access_key.access_key_id
            for action in done
            if isinstance(action, SendMessage)
            for one in action.keys
            if one.promise is not None and one.promise.gives_notice
        }
        return frozenset(told) | {
            action.record.access_key_id
            for action in done
            if isinstance(action, FileIssue | CommentIssue)
            and action.promise is not None
            and action.promise.gives_notice
        }
