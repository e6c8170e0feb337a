"""Labelled keys + records + settings -> Plan: what to do, in what order, what not and why. Pure.

In: one profile's labelled keys, what the scan, IAM, the state table and Jira say, which access keys keycheck itself
depends on. Out: a Plan, the same for a dry run and for a real one. It never calls a service and never reads a clock.

What is due (design.md, sections 1, 2 and 4):
- an issue, where no open one is known: one FileIssue an access key; where one is, what there is to say in it;
- a message, where the addressee's last one is absent or at least the interval old: one SendMessage an addressee;
- disabling, for each expired access key that nothing speaks against: one DisableKey, which execute.py carries out only
  once a warning was delivered. `_Planner.against` holds all that can speak against it, in one place and one order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from keycheck.model import (
    AccessKey,
    Addressee,
    AddresseeRecord,
    AgeLabel,
    AssignIssue,
    Chain,
    CommentIssue,
    DisableKey,
    Exemption,
    Fate,
    FileIssue,
    IssueEvent,
    KeyRecord,
    LabelledKey,
    LastUse,
    MessageKey,
    NoteKind,
    NoteState,
    Notice,
    Owner,
    OwnerKind,
    Plan,
    Scan,
    SendMessage,
    Skip,
    SkipReason,
    Standing,
    State,
)
from keycheck.settings import Settings

ISSUES_AT_MOST = 2
ISSUES_WITHIN = timedelta(days=7)
KEYS_IN_A_MESSAGE = 25
"""What fits into Slack's limit for all blocks together (wording.py): those told longest ago, or never. The rest wait
for the next message, so that all get their turn.
"""
KEYS_IN_A_DIGEST = 20
NEVER = datetime.min.replace(tzinfo=UTC)
CLOCKS_DIFFER_AT_MOST = timedelta(days=1)
"""A record further in the future was not written by a run of ours with a sane clock."""
IAM_SETTLES_WITHIN = timedelta(minutes=15)
"""IAM is eventually consistent: until then a listing may show an access key as it was before it was disabled."""
A_DAY = timedelta(days=1)
FAILED_USERS_AT_MOST = 0.05


@dataclass(frozen=True, slots=True)
class UserFacts:
    """What was found out about one IAM user whose access keys need attention.

    `hold`: why none of them is disabled in this run. `tag_trouble`: why the exemption tags do not count, for the owner.
    """

    owner: Owner
    exemption: Exemption | None = None
    hold: SkipReason | None = None
    tag_trouble: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found out about one profile beside its access keys.

    `users`: by user name. `last_uses`: by access key id: None where it could not be read, absent where nobody asked.
    `sees_whole_account`: the scan is complete, and this profile speaks for its account: what it does not show is gone.
    """

    scan: Scan
    users: Mapping[str, UserFacts] = field(default_factory=dict)
    last_uses: Mapping[str, LastUse | None] = field(default_factory=dict)
    sees_whole_account: bool = False

    def user(self, user_name: str) -> UserFacts:
        """Of a user that nobody asked about nothing is known, so nothing of that user is disabled."""
        return self.users.get(user_name, UserFacts(Owner(OwnerKind.UNREAD)))


@dataclass(frozen=True, slots=True)
class Known:
    """What planning knows for all profiles; None where a service could not be asked.

    `open_issues`: issue keys of all open issues of ours in Jira. `own_access_key_ids`: never to be disabled.
    """

    state: State | None
    open_issues: frozenset[str] | None
    own_access_key_ids: frozenset[str]
    slack_is_usable: bool = True


def due_keys(keys: Sequence[LabelledKey], settings: Settings) -> tuple[LabelledKey, ...]:
    """The keys for which anything may be due under these settings: only these are looked up in the state table."""
    if settings.warns_owners:
        return tuple(key for key in keys if key.needs_attention)
    if settings.disable_key:
        return tuple(key for key in keys if key.label is AgeLabel.EXPIRED)
    return ()


def may_file_another(filings: Sequence[datetime], now: datetime) -> bool:
    """Never more than two issues for one access key in seven days (a workflow may close them as soon as made).

    `filings`: of one record, those that were answered, or all that were begun. The latter may count issues that were
    never made: execute.py asks Jira before it believes them.
    """
    return sum(1 for filed_at in filings if now - filed_at < ISSUES_WITHIN) < ISSUES_AT_MOST


def is_held(claim_until: datetime | None, now: datetime, settings: Settings) -> bool:
    """Whether the run that made a claim may still be at it: a claim outlives its run's deadline by the margin."""
    return claim_until is not None and claim_until - timedelta(seconds=settings.claim_margin_seconds) > now


def may_message(record: AddresseeRecord, now: datetime, settings: Settings) -> bool:
    """Whether the addressee's last message is absent, or at least the interval old: equal is old enough."""
    return record.messaged_at is None or now - record.messaged_at >= timedelta(hours=settings.nag_interval_hours)


def is_in_use(last_use: LastUse | None, now: datetime, hours: int) -> bool:
    """Whether an access key may be in use: used within so many hours, or its last use (None) could not be read.

    With 0 hours the rule is off. AWS's note of a use lags by some minutes, and one in the future is a use.
    """
    if not hours:
        return False
    return last_use is None or (last_use.at is not None and now - last_use.at < timedelta(hours=hours))


def may_disable_at_all(scan: Scan) -> bool:
    """Whether enough of an account was seen to disable anything in it: ListUsers came to its end, and at most 5 % of
    the users asked for failed. A user whose access keys were not read has none in the plan anyway.
    """
    asked = scan.users_read + scan.users_failed
    return scan.is_listed and scan.users_failed <= asked * FAILED_USERS_AT_MOST


def first_instant(at: datetime) -> datetime:
    """The first instant of a day in UTC: what people are told is a day."""
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def disabling_run(record: KeyRecord) -> str:
    """Which disabling of an access key is meant: the first characters of its run's id, the same in every run."""
    return (record.disabled_by or "unknown")[:8]


def was_warned(record: KeyRecord, owner: Owner) -> bool:
    """Whether a warning that named a day was delivered to whoever owns the access key now."""
    return record.warned_at is not None and record.warned_owner == owner.identity


def left_alone_until(record: KeyRecord, settings: Settings) -> datetime | None:
    """Until when an access key that a person re-enabled is left alone; None where nobody did."""
    return None if record.reenabled_at is None else record.reenabled_at + settings.reenable_grace_days * A_DAY


def earliest_disabling(
    key: LabelledKey, record: KeyRecord, owner: Owner, settings: Settings, now: datetime
) -> datetime:
    """Before this instant the access key is not disabled: its expiry, its notice, the latest day told, and, where a
    person re-enabled it, the grace. A notice that was not given yet begins now.
    """
    instants = [key.expires_at, record.disable_from, left_alone_until(record, settings)]
    if settings.warns_owners:
        begins = now
        if was_warned(record, owner) and record.warned_at is not None:
            begins = min(record.warned_at, now)  # it is rounded up to a whole second
        instants.append(begins + settings.disable_notice_days * A_DAY)
    return max(instant for instant in instants if instant is not None)


def is_overdue(
    key: LabelledKey, record: KeyRecord, user: UserFacts, settings: Settings, now: datetime, *, was_warned_now: bool
) -> bool:
    """What an alert watches: expired, active, not exempt, and its notice over.

    The notice of an access key that nobody was told about is counted from its expiry: else one whose owner cannot be
    told would never be seen. `was_warned_now`: this run delivered the first warning.
    """
    if key.label is not AgeLabel.EXPIRED or user.exemption is not None:
        return False
    notice = settings.disable_notice_days * A_DAY
    ends = [key.expires_at + notice, record.disable_from, left_alone_until(record, settings)]
    if was_warned(record, user.owner) and record.warned_at is not None:
        ends.append(record.warned_at + notice)
    if was_warned_now:
        ends.append(now + notice)
    return max(end for end in ends if end is not None) <= now


def count_exempt(keys: Iterable[LabelledKey], facts: Facts) -> int:
    """How many access keys need attention and get none, since their user is exempt."""
    return sum(1 for key in keys if key.needs_attention and facts.user(key.access_key.user_name).exemption is not None)


def count_overdue(
    keys: Iterable[LabelledKey],
    facts: Facts,
    state: State,
    settings: Settings,
    now: datetime,
    *,
    warned_now: Collection[str],
) -> int:
    """How many access keys are overdue. `warned_now`: access key ids of those whom this run has warned."""
    return sum(
        is_overdue(
            key,
            state.key(key.access_key.access_key_id),
            facts.user(key.access_key.user_name),
            settings,
            now,
            was_warned_now=key.access_key.access_key_id in warned_now,
        )
        for key in keys
    )


def keys_to_look_up(plan: Plan) -> tuple[AccessKey, ...]:
    """The access keys whose last use a plan's messages and issues show, or that it would disable."""
    keys: dict[AccessKey, None] = {}
    for chain in plan.chains:
        for action in chain.filings:
            if action.key is not None and not isinstance(action, AssignIssue):
                keys[action.key.access_key] = None
        if chain.message is not None:
            keys |= {one.key.access_key: None for one in chain.message.keys}
        keys |= {disabling.key.access_key: None for disabling in chain.disablings}
    return tuple(keys)


def plan_profile(
    profile: str, keys: Sequence[LabelledKey], facts: Facts, known: Known, settings: Settings, now: datetime
) -> Plan:
    """Plan one profile. `keys` are all of its labelled keys, in output order; oldest are served first."""
    due = sorted(due_keys(keys, settings), key=lambda key: (-key.age_days, key.access_key.user_name))
    if known.state is None:
        return Plan(profile, skips=tuple(Skip(profile, "act", key, SkipReason.NO_STATE) for key in due))
    return _Planner(profile, keys, facts, known, known.state, settings, now).plan(due)


@dataclass(slots=True)
class _Group:
    """The access keys that one addressee is told about, and what is to be done about them."""

    addressee: Addressee | None
    keys: list[LabelledKey]
    to_file: list[LabelledKey] = field(default_factory=list)
    listed: list[LabelledKey] = field(default_factory=list)
    message_claim_until: datetime | None = None


class _Planner:
    """One profile's planning: gathers skips beside the chains."""

    def __init__(
        self,
        profile: str,
        keys: Sequence[LabelledKey],
        facts: Facts,
        known: Known,
        state: State,
        settings: Settings,
        now: datetime,
    ) -> None:
        self.profile = profile
        self.keys = keys
        self.facts = facts
        self.known = known
        self.state = state
        self.settings = settings
        self.now = now
        self.skips: list[Skip] = []
        self.notes: list[NoteState] = []
        self.noted: dict[str, KeyRecord] = {}
        self.scanned_ids = {key.access_key_id for key in facts.scan.keys}
        self.of_user: dict[str, list[LabelledKey]] = defaultdict(list)
        for key in keys:
            self.of_user[key.access_key.user_name].append(key)

    def plan(self, due: Sequence[LabelledKey]) -> Plan:
        """First what is to be filed and told, then what may be disabled, then the words: they say what will happen."""
        planned = []
        for key in due:
            if key.access_key.access_key_id in self.state.unreadable:
                self.skip("act", key, SkipReason.BAD_RECORD)
            elif (exemption := self.user(key).exemption) is not None:
                self.skip("act", key, SkipReason.EXEMPT)
                self.note_exemption(key, exemption)
            elif self.is_settling(self.record(key)):
                self.skip("act", key, SkipReason.JUST_DISABLED)
            else:
                self.note_active(key)
                planned.append(key)
        groups = self.by_addressee(planned)
        for group in groups:
            group.to_file = [key for key in group.keys if self.is_to_be_filed(key)]
            self.choose_listed(group)
        disablings = self.disablings(groups)
        fates = {key: self.standing(key, disablings) for key in planned}
        chains = [self.chain(group, disablings, fates) for group in groups]
        chains += self.ending_chains({key.access_key.access_key_id for key in due})
        noted = [Chain(self.profile, notes=(note,)) for note in self.notes]  # a chain each: none waits for another's
        acting = [chain for chain in chains if chain.filings or chain.message or chain.disablings]
        return Plan(self.profile, (*noted, *acting), tuple(self.skips))

    # What the scan has shown, to be written down

    def note_exemption(self, key: LabelledKey, exemption: Exemption) -> None:
        """Warnings from before an exemption do not count after it; that it has ended is said once."""
        record = self.record(key)
        if record.exempt_until != exemption.until or record.warned_at is not None:
            self.notes.append(NoteState(record, NoteKind.EXEMPT, key, exemption.until))

    def note_active(self, key: LabelledKey) -> None:
        """An active access key with an intent that came to nothing, or one that a person has re-enabled."""
        record = self.record(key)
        if record.disabling_at is not None and self.has_settled(record.disabling_at):
            self.note(replace(record, disabling_at=None), NoteState(record, NoteKind.DROPPED, key))
            record = self.record(key)
        if record.disabled_at is not None and record.reenabled_at is None and self.has_settled(record.disabled_at):
            self.note(replace(record, reenabled_at=self.now), NoteState(record, NoteKind.REENABLED, key))

    def note(self, record: KeyRecord, note: NoteState) -> None:
        self.notes.append(note)
        self.noted[record.access_key_id] = record

    def is_settling(self, record: KeyRecord) -> bool:
        """Whether an access key that is shown as active may be inactive by now, or be about to be."""
        return any(at is not None and not self.has_settled(at) for at in (record.disabling_at, record.disabled_at))

    def has_settled(self, at: datetime) -> bool:
        """Whether this run's listing, which began after `now`, shows what was done then."""
        return self.now - at >= IAM_SETTLES_WITHIN

    # Who is told, and of what

    def by_addressee(self, due: Sequence[LabelledKey]) -> list[_Group]:
        """Group by who is told; a user whom nobody can be told about stands alone, so that others go on beside it."""
        groups: dict[Addressee | str, _Group] = {}
        for key in due:
            addressee = self.user(key).owner.addressee if self.tells_on_slack else None
            groups.setdefault(addressee or key.access_key.user_name, _Group(addressee, [])).keys.append(key)
        return list(groups.values())

    @property
    def tells_on_slack(self) -> bool:
        return self.settings.send_slack and self.known.slack_is_usable

    def is_to_be_filed(self, key: LabelledKey) -> bool:
        if not self.settings.create_jira:
            return False
        record = self.record(key)
        if self.known.open_issues is None:
            self.skip("file an issue", key, SkipReason.JIRA_OFF)
        elif record.issue_key in self.known.open_issues:
            return False
        elif is_held(record.issue_claim_until, self.now, self.settings):
            self.skip("file an issue", key, SkipReason.CLAIMED)
        elif not may_file_another(record.answered_filings, self.now):
            self.skip("file an issue", key, SkipReason.TOO_MANY_ISSUES)
        else:
            return True
        return False

    def choose_listed(self, group: _Group) -> None:
        """The keys that this run's message to the group's addressee names: none where no message is due."""
        if not self.settings.send_slack:
            return
        reason = self.why_no_message(group)
        if reason is not None:
            for key in group.keys:
                self.skip("nag", key, reason)
            return
        if group.addressee is None:
            return
        record = self.state.addressee(group.addressee)
        if not may_message(record, self.now, self.settings):
            return
        most = KEYS_IN_A_DIGEST if group.addressee.is_fallback else KEYS_IN_A_MESSAGE
        chosen = sorted(group.keys, key=lambda key: self.record(key).told_at or NEVER)[:most]
        group.listed = [key for key in group.keys if key in chosen]
        group.message_claim_until = record.claim_until

    def why_no_message(self, group: _Group) -> SkipReason | None:
        if not self.known.slack_is_usable:
            return SkipReason.SLACK_OFF
        if group.addressee is None:
            is_unread = self.user(group.keys[0]).owner.kind is OwnerKind.UNREAD
            return SkipReason.OWNER_UNREAD if is_unread else SkipReason.UNKNOWN_OWNER
        record = self.state.addressee(group.addressee)
        is_odd = record.messaged_at is not None and record.messaged_at - self.now > CLOCKS_DIFFER_AT_MOST
        if is_odd or group.addressee.record_id in self.state.unreadable:
            return SkipReason.BAD_ADDRESSEE
        is_due = may_message(record, self.now, self.settings)
        if is_due and record.not_before is not None and self.now < record.not_before:
            return SkipReason.RETRY_LATER
        return None

    # What is disabled

    def disablings(self, groups: Iterable[_Group]) -> dict[LabelledKey, DisableKey]:
        """What may be disabled in this run, oldest first, up to what the account's brake leaves."""
        if not self.settings.disable_key:
            return {}
        may_go: list[tuple[LabelledKey, DisableKey]] = []
        for group in groups:
            for key in group.keys:
                if key.label is not AgeLabel.EXPIRED:
                    continue
                warning_on_the_way = self.filing_warns(key, group) or self.message_warns(key, group)
                reason = self.against(key, warning_on_the_way=warning_on_the_way)
                if reason is not None:
                    self.skip("disable", key, reason)
                    continue
                warned = was_warned(self.record(key), self.user(key).owner)
                may_go.append((key, DisableKey(key, self.settings.warns_owners, warned)))
        may_go.sort(key=lambda one: (one[0].access_key.create_date, one[0].access_key.access_key_id))
        left: dict[str, int] = {}
        chosen = {}
        for key, disabling in may_go:
            account_id = key.access_key.account_id
            room = left.setdefault(account_id, self.room(account_id))
            if room > 0:
                left[account_id] -= 1
                chosen[key] = disabling
            else:
                self.skip("disable", key, SkipReason.BRAKE)
        return chosen

    def room(self, account_id: str) -> int:
        """How many more access keys of an account may be disabled now."""
        lately = [at for at in self.state.disablings.get(account_id, ()) if self.now - at < A_DAY]
        return max(0, self.settings.max_disables_per_day - len(lately))

    def against(self, key: LabelledKey, *, warning_on_the_way: bool) -> SkipReason | None:
        """Why an expired access key is not disabled in this run, the brake apart; None: nothing speaks against it."""
        record, user = self.record(key), self.user(key)
        if self.is_own(key):
            return SkipReason.OWN_ACCESS_KEY
        if not may_disable_at_all(self.facts.scan):
            return SkipReason.SCAN_BROKEN
        if user.hold is not None:
            return user.hold
        if user.owner.kind is OwnerKind.UNREAD:
            return SkipReason.OWNER_UNREAD
        alone_until = left_alone_until(record, self.settings)
        if alone_until is not None and self.now < alone_until:
            return SkipReason.REENABLED
        if self.settings.create_jira and is_held(record.issue_claim_until, self.now, self.settings):
            return SkipReason.CLAIMED  # nothing would be filed about an inactive access key
        if self.settings.warns_owners and not was_warned(record, user.owner) and not warning_on_the_way:
            return SkipReason.NOBODY_TOLD
        if earliest_disabling(key, record, user.owner, self.settings, self.now) > self.now:
            return SkipReason.NOTICE
        if self.is_in_use(key):
            return SkipReason.IN_USE
        return None

    def is_in_use(self, key: LabelledKey) -> bool:
        """By what was read before planning; execute.py reads again, immediately before disabling."""
        access_key_id, hours = key.access_key.access_key_id, self.settings.disable_in_use_hours
        if access_key_id not in self.facts.last_uses:
            return False
        return is_in_use(self.facts.last_uses[access_key_id], self.now, hours)

    # What counts as a warning

    def filing_warns(self, key: LabelledKey, group: _Group) -> bool:
        """Whether the issue about to be filed counts: unassigned for an owner nobody knows, else once assigned."""
        owner = self.user(key).owner
        return key in group.to_file and (owner.kind is OwnerKind.UNKNOWN or self.has_known_email(owner))

    def has_known_email(self, owner: Owner) -> bool:
        return owner.kind is OwnerKind.KNOWN and owner.email is not None

    def message_warns(self, key: LabelledKey, group: _Group) -> bool:
        """Whether the message about to be sent counts: the fallback channel's only for an owner nobody knows."""
        return key in group.listed and not self.user(key).owner.is_told_by_others

    def issue_warns(self, key: LabelledKey) -> bool:
        """Whether a comment on the open issue counts."""
        owner = self.user(key).owner
        if owner.kind is OwnerKind.UNKNOWN:
            return True
        return self.has_known_email(owner) and self.record(key).issue_assigned_to == owner.email

    def notice(self, key: LabelledKey, standing: Standing) -> Notice | None:
        if standing.day is None or self.user(key).hold is not None:  # who is held may be exempt
            return None
        return Notice(self.user(key).owner.identity, standing.day)

    # What is said

    def standing(self, key: LabelledKey, disablings: Collection[LabelledKey]) -> Standing:
        record, user = self.record(key), self.user(key)
        fate, day = self.fate(key, record, user, disablings)
        return Standing(
            fate,
            day,
            self.facts.last_uses.get(key.access_key.access_key_id),
            self.newer(key),
            len(self.of_user[key.access_key.user_name]),
            record.exempt_until if user.hold is None else None,
            user.tag_trouble,
        )

    def fate(
        self, key: LabelledKey, record: KeyRecord, user: UserFacts, disablings: Collection[LabelledKey]
    ) -> tuple[Fate, datetime | None]:
        """What is told to happen, and the day: never one before a day that was told already."""
        if not self.settings.disable_key:
            return Fate.STAYS_ACTIVE, None
        if self.is_own(key):
            return Fate.NEVER_DISABLED, None
        earliest = earliest_disabling(key, record, user.owner, self.settings, self.now)
        day = first_instant(earliest)
        if key in disablings:
            return Fate.DISABLED_NOW, day
        alone_until = left_alone_until(record, self.settings)
        if alone_until is not None and self.now < alone_until:
            return Fate.LEFT_ALONE, day
        if key.label is AgeLabel.EXPIRED and earliest <= self.now and self.is_in_use(key):
            return Fate.IN_USE, day
        return Fate.DISABLED_FROM, day

    def newer(self, key: LabelledKey) -> str | None:
        """The last five characters of the user's newest access key to move to: younger, active, and not due itself."""
        others = [
            one.access_key
            for one in self.of_user[key.access_key.user_name]
            if one.label is AgeLabel.OK and one.access_key.create_date > key.access_key.create_date
        ]
        return max(others, key=lambda one: one.create_date).last_five if others else None

    def chain(
        self, group: _Group, disablings: Mapping[LabelledKey, DisableKey], standings: Mapping[LabelledKey, Standing]
    ) -> Chain:
        filings: list[FileIssue | AssignIssue | CommentIssue] = []
        for key in group.keys:
            standing = standings[key]
            if key in group.to_file:
                notice = self.notice(key, standing) if self.filing_warns(key, group) else None
                filings.append(FileIssue(key, self.record(key), standing, self.user(key).owner.email, notice))
            else:
                filings += self.about_open_issue(key, standing)
        message = None
        if group.addressee is not None and group.listed:
            message = SendMessage(
                group.addressee,
                tuple(
                    MessageKey(
                        key,
                        standings[key],
                        self.open_issue(key),
                        self.notice(key, standings[key]) if self.message_warns(key, group) else None,
                    )
                    for key in group.listed
                ),
                unlisted=len(group.keys) - len(group.listed),
                claim_until=group.message_claim_until,
                groups=tuple(sorted({name for key in group.listed if (name := self.user(key).owner.group)})),
            )
        return Chain(
            self.profile,
            filings=tuple(filings),
            message=message,
            disablings=tuple(disablings[key] for key in group.keys if key in disablings),
        )

    # The issue on record

    def open_issue(self, key: LabelledKey) -> str | None:
        """The recorded issue, as far as is known an open one."""
        issue_key, is_open = self.record(key).issue_key, self.known.open_issues
        return issue_key if is_open is None or issue_key in is_open else None

    def has_open_issue(self, record: KeyRecord) -> bool:
        """Whether something can be said in the recorded issue: it is open, and no other run is at it."""
        if not self.settings.create_jira or self.known.open_issues is None:
            return False
        is_free = not is_held(record.issue_claim_until, self.now, self.settings)
        return is_free and record.issue_key in self.known.open_issues

    def about_open_issue(self, key: LabelledKey, standing: Standing) -> list[AssignIssue | CommentIssue]:
        """What there is to do about the open issue of an active access key: at most one comment a run."""
        record, owner = self.record(key), self.user(key).owner
        if not self.has_open_issue(record):
            return []
        actions: list[AssignIssue | CommentIssue] = []
        if owner.email is not None and record.issue_assigned_to != owner.email:
            actions.append(AssignIssue(key, record, owner.email))
        counts = self.issue_warns(key)
        event, mark = self.event_of_active(key, record, standing, counts=counts)
        if event is not None and mark not in record.issue_said:
            notice = self.notice(key, standing) if counts else None
            actions.append(CommentIssue(record, event, mark, key, standing, record.reenabled_at, notice))
        return actions

    def event_of_active(
        self, key: LabelledKey, record: KeyRecord, standing: Standing, *, counts: bool
    ) -> tuple[IssueEvent | None, str]:
        if record.reenabled_at is not None:
            mark = f"re-enabled after run {disabling_run(record)}"
            if mark not in record.issue_said:
                return IssueEvent.REENABLED, mark
        if standing.fate is Fate.IN_USE and standing.last_use is not None and standing.last_use.at is not None:
            mark = f"in use {standing.last_use.at:%Y-%m}"
            if mark not in record.issue_said:
                return IssueEvent.IN_USE, mark
        if key.label is AgeLabel.EXPIRED and "expired" not in record.issue_said:
            return IssueEvent.EXPIRED, "expired"
        if standing.ended_exemption is not None and not self.settings.send_slack:
            mark = f"exempt until {standing.ended_exemption:%Y-%m-%d}"
            if mark not in record.issue_said:
                return IssueEvent.EXEMPTION_ENDED, mark
        is_told = was_warned(record, self.user(key).owner) or standing.day is None
        if counts and not is_told:
            return IssueEvent.NOTICE, f"notice {self.now:%Y-%m-%d}"
        return None, ""

    # Access keys that need no attention, or are gone, and have an issue or an intent on record

    def ending_chains(self, due: Collection[str]) -> list[Chain]:
        shown = {key.access_key.access_key_id: key for key in self.keys}
        chains = []
        for access_key_id, record in self.state.keys.items():
            if access_key_id in due or not self.is_of_this_account(record, shown.get(access_key_id)):
                continue
            if (comment := self.ending(record, shown.get(access_key_id))) is not None:
                chains.append(Chain(self.profile, filings=(comment,)))
        return chains

    def is_of_this_account(self, record: KeyRecord, key: LabelledKey | None) -> bool:
        """Planned here, or of this account and surely gone from it: nothing is inferred from half a scan."""
        if key is not None:
            return True
        scan = self.facts.scan
        is_shown = record.access_key_id in self.scanned_ids
        return self.facts.sees_whole_account and record.account_id == scan.account_id and not is_shown

    def ending(self, record: KeyRecord, key: LabelledKey | None) -> CommentIssue | None:
        """What there is to note, and to say in the issue, about an access key that is inactive, young or gone."""
        if key is not None and key.access_key.is_active:
            self.note_active(key)
            if key.label is AgeLabel.OK and self.has_open_issue(record) and "ok" not in record.issue_said:
                return CommentIssue(record, IssueEvent.NO_LONGER_DUE, "ok", key)
            return None
        record = self.note_ended(record, key)
        if not self.settings.create_jira or record.issue_key is None or record.issue_ended_at is not None:
            return None
        event, mark = self.event_of_ended(record, key)
        if event is IssueEvent.DISABLED and record.disabled_by is None:
            return None  # confirmed by this run only now: the next one knows by whom, and says so
        if mark in record.issue_said or (event.closes and not self.settings.resolve_jira):
            return None
        reason = self.why_no_comment(record)
        if reason is not None:
            self.skips.append(Skip(self.profile, "update the issue", key or record, reason))
            return None
        if not event.closes and not self.has_open_issue(record):
            return None
        return CommentIssue(record, event, mark, key, at=record.disabled_at)

    def note_ended(self, record: KeyRecord, key: LabelledKey | None) -> KeyRecord:
        """An intent on an access key that is inactive was carried out; on one that is gone it is past."""
        if record.disabling_at is None:
            return record
        if key is None:
            self.notes.append(NoteState(record, NoteKind.DROPPED))
            return record
        self.notes.append(NoteState(record, NoteKind.CONFIRMED, key))
        return replace(record, disabled_at=record.disabling_at, disabling_at=None, reenabled_at=None, disabled_by=None)

    def why_no_comment(self, record: KeyRecord) -> SkipReason | None:
        if self.known.open_issues is None:
            return SkipReason.JIRA_OFF
        return SkipReason.CLAIMED if is_held(record.issue_claim_until, self.now, self.settings) else None

    def event_of_ended(self, record: KeyRecord, key: LabelledKey | None) -> tuple[IssueEvent, str]:
        if key is None:
            return IssueEvent.DELETED, "deleted"
        disabled_at = record.disabled_at
        if disabled_at is None or record.reenabled_at is not None:
            return IssueEvent.DEACTIVATED, "deactivated"
        if self.now - disabled_at >= self.settings.reenable_grace_days * A_DAY:
            return IssueEvent.GRACE_OVER, f"not missed since run {disabling_run(record)}"
        return IssueEvent.DISABLED, f"disabled by run {disabling_run(record)}"

    # Common

    def is_own(self, key: LabelledKey) -> bool:
        return key.access_key.access_key_id in self.known.own_access_key_ids

    def user(self, key: LabelledKey) -> UserFacts:
        return self.facts.user(key.access_key.user_name)

    def record(self, key: LabelledKey) -> KeyRecord:
        access_key_id = key.access_key.access_key_id
        return self.noted.get(access_key_id) or self.state.key(access_key_id)

    def skip(self, what: str, key: LabelledKey, reason: SkipReason) -> None:
        self.skips.append(Skip(self.profile, what, key, reason))
