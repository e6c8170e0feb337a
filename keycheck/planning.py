"""Labelled keys + records + settings -> Plan: what to do, in what order, what not and why. Pure.

In: one profile's labelled keys, what the scan, IAM, the state table and Jira say, which access keys keycheck itself
depends on. Out: Questions, as long as something must still be read; then one Plan, the same for a dry run and for a
real one. It never calls a service and never reads a clock.

The rules are in `rules/`, a file for each question. This module asks them in order and puts the answers together: what
the scan has shown, then whom to tell and what to file, then what may be disabled, and last the words, which say what
will happen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from keycheck.actions import (
    AssignIssue,
    Chain,
    CommentIssue,
    DisableKey,
    FileIssue,
    Observation,
    ObservationKind,
    Outlook,
    Plan,
    Skip,
    SkipReason,
    Step,
)
from keycheck.endings import endings, unconfirmed
from keycheck.model import AccessKey, AgeLabel, KeyRecord, LabelledKey, State
from keycheck.rules import disabling, filing, notice, seen, telling
from keycheck.rules.case import A_DAY, Case, Circumstances, Facts, SharedFacts
from keycheck.rules.disabling import WAITS_FOR_A_PLACE, Verdict
from keycheck.rules.telling import Audience
from keycheck.settings import Settings

LAST = datetime.max.replace(tzinfo=UTC)


def due_keys(keys: Sequence[LabelledKey], settings: Settings) -> tuple[LabelledKey, ...]:
    """Return the keys for which anything may be due under these settings: only these are looked up in the table."""
    if settings.warns_owners:
        return tuple(key for key in keys if key.needs_attention)
    if settings.disable_key:
        return tuple(key for key in keys if key.label is AgeLabel.EXPIRED)
    return ()


def count_exempt(keys: Iterable[LabelledKey], facts: Facts) -> int:
    """Return how many access keys need attention and get none, since their user is exempt."""
    return sum(1 for key in keys if key.needs_attention and facts.user(key.access_key.user_name).exemption is not None)


def watched_cases(keys: Iterable[LabelledKey], facts: Facts, state: State, run: Circumstances) -> list[Case]:
    """Return the cases of which it is asked whether they move, with what this scan has shown in their records."""
    due = (case for case in cases_of(keys, facts, state, run) if case.key.needs_attention)
    return [replace(case, record=seen.active(case.record, case.key, run)[0]) for case in due]


def cases_of(keys: Iterable[LabelledKey], facts: Facts, state: State, run: Circumstances) -> Iterator[Case]:
    """Return the Case of each of these access keys, which must be all of their users'."""
    everything = tuple(keys)
    of_user: dict[str, list[LabelledKey]] = defaultdict(list)
    for key in everything:
        of_user[key.access_key.user_name].append(key)
    for key in everything:
        access_key_id, user_name = key.access_key.access_key_id, key.access_key.user_name
        yield Case(
            key,
            state.key(access_key_id),
            facts.user(user_name),
            facts.scan,
            run,
            tuple(of_user[user_name]),
            facts.last_uses.get(access_key_id),
            access_key_id in facts.last_uses,
        )


@dataclass(frozen=True, slots=True)
class Questions:
    """What must be known before a profile is planned, and is not known yet.

    `needs_slack`: somebody is to be told, so whether Slack can be used decides. `last_uses`: of which access keys the
    last use is to be read: those that a message or an issue will speak of, and those that are next to be disabled.
    """

    needs_slack: bool = False
    last_uses: tuple[AccessKey, ...] = ()


def questions(
    profile: str, keys: Sequence[LabelledKey], facts: Facts, known: SharedFacts, settings: Settings, now: datetime
) -> Questions:
    """Say what to read for one profile. An answer may raise another question: an access key that is in use makes room
    for the next one to be disabled.
    """
    if known.state is None:
        return Questions()
    found = _find(profile, keys, facts, known, known.state, settings, now)
    spoken_of = [
        case
        for group in found.groups
        for case in group.audience.cases
        if case.access_key_id in group.to_file
        or case.access_key_id in group.named
        or case.access_key_id in found.chosen
        or any(isinstance(one, CommentIssue) for one in filing.about_open_issue(case, found.told[case.access_key_id]))
    ]
    return Questions(
        any(group.named for group in found.groups),
        tuple(dict.fromkeys(case.access_key for case in spoken_of if not case.use_was_asked)),
    )


def users_to_confirm(
    profile: str, keys: Sequence[LabelledKey], facts: Facts, known: SharedFacts, settings: Settings, now: datetime
) -> frozenset[str]:
    """Return who is to be asked for before a profile is planned: what would end rests on a cached listing of theirs."""
    return unconfirmed(profile, keys, _due_ids(keys, facts, settings), facts, known, settings, now)


def plan_profile(
    profile: str, keys: Sequence[LabelledKey], facts: Facts, known: SharedFacts, settings: Settings, now: datetime
) -> Plan:
    """Plan one profile. `keys` are all of its labelled keys, in output order; oldest are served first."""
    if known.state is None:
        served = sorted(due_keys(keys, settings), key=_oldest_first)
        return Plan(profile, skips=tuple(Skip(profile, Step.ACT, key, SkipReason.NO_STATE) for key in served))
    found = _find(profile, keys, facts, known, known.state, settings, now)
    chains = [_chain(profile, group, found) for group in found.groups]
    for one in endings(profile, keys, found.due, facts, known.state, found.run):
        if one.user_name not in facts.scan.cached:
            chains.append(one.chain)
            found.book.skips += [] if one.skip is None else [one.skip]
    noted = [Chain(profile, notes=(note,)) for note in found.book.notes]  # a chain each: none waits for another's
    acting = [
        chain
        for chain in chains
        if chain.notes or chain.issue_actions or chain.message or chain.disablings or chain.reserves
    ]
    return Plan(profile, (*noted, *acting), tuple(found.book.skips), found.places, found.told)


def _oldest_first(key: LabelledKey) -> tuple[int, str]:
    return -key.age_days, key.access_key.user_name


@dataclass(slots=True)
class _Book:
    """What is not done, and what is to be noted, in the order in which it was found. `first`: by access key id, what is
    noted before anything else is done about it.
    """

    profile: str
    skips: list[Skip] = field(default_factory=list)
    notes: list[Observation] = field(default_factory=list)
    first: dict[str, tuple[Observation, ...]] = field(default_factory=dict)

    def skip(self, what: Step, key: LabelledKey | KeyRecord, reason: SkipReason) -> None:
        self.skips.append(Skip(self.profile, what, key, reason))


@dataclass(frozen=True, slots=True)
class _Group:
    """An audience; `to_file`: the access key ids of those for which an issue is to be filed."""

    audience: Audience
    to_file: frozenset[str]
    named: frozenset[str]

    def reaches_owner(self, case: Case) -> bool:
        """Return whether this run is about to tell its owner."""
        by_issue = case.access_key_id in self.to_file and filing.filing_reaches(case)
        return by_issue or (case.access_key_id in self.named and telling.message_reaches(case))


@dataclass(frozen=True, slots=True)
class _Findings:
    """What the rules have answered about one profile. `chosen`, `reserves`, `told`: by access key id. `due`: access key
    ids. `places`: by account id.
    """

    groups: Sequence[_Group]
    chosen: Mapping[str, DisableKey]
    reserves: Mapping[str, DisableKey]
    places: Mapping[str, int]
    told: Mapping[str, Outlook]
    due: Collection[str]
    run: Circumstances
    book: _Book


def _find(
    profile: str,
    keys: Sequence[LabelledKey],
    facts: Facts,
    known: SharedFacts,
    state: State,
    settings: Settings,
    now: datetime,
) -> _Findings:
    """Ask the rules in order."""
    due = _due_ids(keys, facts, settings)
    run = Circumstances(settings, now, known.open_issues, known.own_access_key_ids, known.slack_is_usable)
    cases = [case for case in cases_of(keys, facts, state, run) if case.access_key_id in due]
    cases.sort(key=lambda case: _oldest_first(case.key))
    book = _Book(profile)
    active = list(_active(cases, state, run, book))
    groups = [_group(audience, book) for audience in telling.audiences(active, state, run)]
    book.notes += [
        Observation(case.record, ObservationKind.KEPT, case.key)
        for group in groups
        for case in group.audience.cases
        if notice.is_to_be_kept(case, is_named=case.access_key_id in group.named)
    ]
    verdicts = {
        case.access_key_id: disabling.verdict(case, notice_on_the_way=group.reaches_owner(case))
        for group in groups
        for case in group.audience.cases
    }
    chosen, reserves, places = _disablings(groups, verdicts, state, run, book)
    groups.sort(key=lambda group: _turn(group, chosen, state))
    told = {
        case.access_key_id: disabling.outlook(
            case, verdicts[case.access_key_id], is_disabled_now=case.access_key_id in chosen
        )
        for case in active
    }
    return _Findings(groups, chosen, reserves, places, told, due, run, book)


def _due_ids(keys: Sequence[LabelledKey], facts: Facts, settings: Settings) -> frozenset[str]:
    """Return the ids of those that anything may be due about: never one that was not listed in this run."""
    due = (key.access_key for key in due_keys(keys, settings))
    return frozenset(key.access_key_id for key in due if key.user_name not in facts.scan.cached)


def _active(cases: Sequence[Case], state: State, run: Circumstances, book: _Book) -> Iterator[Case]:
    """Return the cases that something may be done about, with their records as this scan's notes will leave them."""
    for case in cases:
        if case.access_key_id in state.unreadable:
            book.skip(Step.ACT, case.key, SkipReason.BAD_RECORD)
        elif case.user.is_not_its_turn:
            book.skip(Step.ACT, case.key, SkipReason.NOT_ITS_TURN)
        elif case.user.exemption is not None:
            book.skip(Step.ACT, case.key, SkipReason.EXEMPT)
            book.notes += seen.exempt(case.record, case.key, case.user.exemption)
        elif seen.is_not_visible_yet(case.record, run):
            book.skip(Step.ACT, case.key, SkipReason.JUST_DISABLED)
        else:
            record, notes = seen.active(case.record, case.key, run)
            record, voided = seen.void(record, case.key, notice.why_void(replace(case, record=record)), run)
            book.first[case.access_key_id] = (*notes, *voided)
            yield replace(case, record=record)


def _turn(group: _Group, chosen: Collection[str], state: State) -> datetime:
    """Return what puts those first that have waited longest: a run whose time is short serves them, and the next run
    others. First of all those with an access key to disable, which are never many; last those with nothing to file and
    no message due.
    """
    if any(case.access_key_id in chosen for case in group.audience.cases):
        return telling.NEVER
    if group.audience.addressee is not None and group.named:
        record = state.addressee(group.audience.addressee)
        return telling.last_turn(record.messaged_at, record.tried_at)
    filed = [filing.turn(case.record) for case in group.audience.cases if case.access_key_id in group.to_file]
    return min(filed, default=LAST)


def _group(audience: Audience, book: _Book) -> _Group:
    """Return what is filed for an audience; skips for what cannot be filed, or said."""
    to_file = set()
    for case in audience.cases:
        if filing.needs_issue(case):
            reason = filing.why_not_filed(case)
            if reason is None:
                to_file.add(case.access_key_id)
            else:
                book.skip(Step.FILE_ISSUE, case.key, reason)
    if audience.reason is not None:
        for case in audience.cases:
            book.skip(Step.NAG, case.key, audience.reason)
    return _Group(audience, frozenset(to_file), frozenset(case.access_key_id for case in audience.named))


def _disablings(
    groups: Sequence[_Group], verdicts: Mapping[str, Verdict], state: State, run: Circumstances, book: _Book
) -> tuple[dict[str, DisableKey], dict[str, DisableKey], dict[str, int]]:
    """Return what may be disabled now, by access key id: oldest first, up to what each account's brake leaves; what may
    be beyond that; and what the brake leaves, by account id.

    With disable_in_use_hours only those whose last use is known are told that they are being disabled now: the others
    may be in use.
    """
    if not run.settings.disable_key:
        return {}, {}, {}
    may_go = []
    expired = [(case, group) for group in groups for case in group.audience.cases if case.is_expired]
    for case, group in expired:
        against = verdicts[case.access_key_id]
        if against.reasons:
            book.skip(Step.DISABLE, case.key, _told_in_turn(case, group, against.reasons[0]))
        else:
            may_go.append(case)
    may_go.sort(key=lambda case: (case.access_key.create_date, case.access_key_id))
    places = {one: _disablings_left_today(one, state, run) for one in {case.access_key.account_id for case in may_go}}
    left = dict(places)
    chosen, reserves = {}, {}
    for case in may_go:
        owner = case.owner if run.settings.warns_owners else None
        action = DisableKey(case.key, case.record, owner, notice.of(case) is not None)
        if left[case.access_key.account_id] > 0:
            left[case.access_key.account_id] -= 1
            chosen[case.access_key_id] = action
        else:
            reserves[case.access_key_id] = action
            book.skip(Step.DISABLE, case.key, SkipReason.BRAKE)
    return chosen, reserves, places


def _told_in_turn(case: Case, group: _Group, reason: SkipReason) -> SkipReason:
    """Return what to say of an access key without a notice: nobody need act where the next message will give one."""
    is_waiting = group.audience.addressee is not None and group.audience.reason is None
    if reason is SkipReason.NOBODY_TOLD and is_waiting and telling.message_reaches(case):
        return SkipReason.NOT_TOLD_YET
    return reason


def _disablings_left_today(account_id: str, state: State, run: Circumstances) -> int:
    """Return how many more access keys of an account may be disabled in this run: also where a place becomes free
    while it lasts. On a daily schedule the last ones were disabled less than 24 hours before the run begins.
    """
    soon = run.now + timedelta(seconds=run.settings.run_timeout_seconds * WAITS_FOR_A_PLACE)
    lately = [at for at in state.disablings.get(account_id, ()) if soon - at < A_DAY]
    return max(0, run.settings.max_disables_per_day - len(lately))


def _chain(profile: str, group: _Group, found: _Findings) -> Chain:
    chosen, told = found.chosen, found.told
    issues: list[FileIssue | AssignIssue | CommentIssue] = []
    for case in sorted(group.audience.cases, key=lambda case: filing.turn(case.record)):
        said = told[case.access_key_id]
        if case.access_key_id in group.to_file:
            issues.append(filing.filing(case, said))
        else:
            issues += filing.about_open_issue(case, said)
    return Chain(
        profile,
        notes=tuple(note for case in group.audience.cases for note in found.book.first[case.access_key_id]),
        issue_actions=tuple(issues),
        message=telling.message(group.audience, told),
        disablings=tuple(chosen[case.access_key_id] for case in group.audience.cases if case.access_key_id in chosen),
        reserves=tuple(
            found.reserves[case.access_key_id] for case in group.audience.cases if case.access_key_id in found.reserves
        ),
    )
