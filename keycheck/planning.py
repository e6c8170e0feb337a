"""Labelled keys + records + settings -> Plan: what to do, in what order, what not and why. Pure.

In: one profile's labelled keys, what the state table and Jira say, who owns whom, which access keys keycheck itself
depends on. Out: a Plan, the same for a dry run and for a real one. It never calls a service and never reads a clock.

What is due (design.md, sections 1, 2 and 4):
- an issue, where no open one is known: one FileIssue an access key;
- a message, where the addressee's last one is absent or at least the interval old: one SendMessage an addressee;
- disabling, for each expired access key: one DisableKey, which execute.py carries out only once a warning was
  delivered. Where none was and none is on its way, it is a Skip here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from keycheck.model import (
    Addressee,
    AddresseeRecord,
    AgeLabel,
    Chain,
    DisableKey,
    Fate,
    FileIssue,
    KeyRecord,
    LabelledKey,
    MessageKey,
    Plan,
    SendMessage,
    Skip,
    SkipReason,
    State,
)
from keycheck.owners import Owners
from keycheck.settings import Settings

ISSUES_AT_MOST = 2
ISSUES_WITHIN = timedelta(days=7)
KEYS_IN_A_MESSAGE = 25
"""What fits into Slack's limit for all blocks together (wording.py): those told longest ago, or never. The rest wait
for the next message, so that all get their turn.
"""
NEVER = datetime.min.replace(tzinfo=UTC)
CLOCKS_DIFFER_AT_MOST = timedelta(days=1)
"""A record further in the future was not written by a run of ours with a sane clock."""


@dataclass(frozen=True, slots=True)
class Known:
    """All that planning knows beside the keys; None where a service could not be asked.

    `open_issues`: issue keys of all open issues of ours in Jira. `own_access_key_ids`: never to be disabled.
    """

    state: State | None
    open_issues: frozenset[str] | None
    owners: Owners | None
    own_access_key_ids: frozenset[str]


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


def plan_profile(profile: str, keys: Sequence[LabelledKey], known: Known, settings: Settings, now: datetime) -> Plan:
    """Plan one profile. `keys` are all of its labelled keys, in output order; oldest are served first."""
    due = sorted(due_keys(keys, settings), key=lambda key: (-key.age_days, key.access_key.user_name))
    if not due:
        return Plan(profile)
    if known.state is None:
        return Plan(profile, skips=tuple(Skip(profile, "act", key, SkipReason.NO_STATE) for key in due))
    planner = _Planner(profile, keys, known, known.state, settings, now)
    readable = []
    for key in due:
        if key.access_key.access_key_id in known.state.unreadable:
            planner.skip("act", key, SkipReason.BAD_RECORD)
        else:
            readable.append(key)
    chains = []
    for addressee, group in planner.by_addressee(readable):
        chain = planner.chain(addressee, group)
        if chain.filings or chain.message or chain.disablings:
            chains.append(chain)
    return Plan(profile, tuple(chains), tuple(planner.skips))


class _Planner:
    """One profile's planning: gathers skips beside the chains."""

    def __init__(
        self, profile: str, keys: Sequence[LabelledKey], known: Known, state: State, settings: Settings, now: datetime
    ) -> None:
        self.profile = profile
        self.known = known
        self.state = state
        self.settings = settings
        self.now = now
        self.skips: list[Skip] = []
        self.key_counts: dict[str, int] = defaultdict(int)
        for key in keys:
            self.key_counts[key.access_key.user_name] += 1

    def by_addressee(self, due: Sequence[LabelledKey]) -> list[tuple[Addressee | None, list[LabelledKey]]]:
        """Group by who is told; a user whom nobody can be told about stands alone, so that others go on beside it."""
        groups: dict[Addressee | str, tuple[Addressee | None, list[LabelledKey]]] = {}
        for key in due:
            addressee = None
            if self.settings.send_slack and self.known.owners is not None:
                addressee = self.known.owners.addressee(key.access_key.user_name, key.access_key.account_id)
            groups.setdefault(addressee or key.access_key.user_name, (addressee, []))[1].append(key)
        return list(groups.values())

    def chain(self, addressee: Addressee | None, keys: list[LabelledKey]) -> Chain:
        filings = tuple(filing for key in keys if (filing := self.filing(key)) is not None)
        message = self.message(addressee, keys)
        on_the_way = {filing.key for filing in filings} | (
            {listed.key for listed in message.keys} if message is not None else set()
        )
        disablings = tuple(
            disabling for key in keys if (disabling := self.disabling(key, key in on_the_way)) is not None
        )
        return Chain(self.profile, filings, message, disablings)

    def filing(self, key: LabelledKey) -> FileIssue | None:
        if not self.settings.create_jira:
            return None
        record = self.record(key)
        if self.known.open_issues is None:
            self.skip("file an issue", key, SkipReason.JIRA_OFF)
            return None
        if record.issue_key in self.known.open_issues:
            return None
        if is_held(record.issue_claim_until, self.now, self.settings):
            self.skip("file an issue", key, SkipReason.CLAIMED)
            return None
        if not may_file_another(record.answered_filings, self.now):
            self.skip("file an issue", key, SkipReason.TOO_MANY_ISSUES)
            return None
        return FileIssue(key, record, self.fate(key), self.key_counts[key.access_key.user_name])

    def message(self, addressee: Addressee | None, keys: list[LabelledKey]) -> SendMessage | None:
        if not self.settings.send_slack:
            return None
        if self.known.owners is None or addressee is None:
            reason = SkipReason.SLACK_OFF if self.known.owners is None else SkipReason.UNKNOWN_OWNER
            for key in keys:
                self.skip("nag", key, reason)
            return None
        record = self.state.addressee(addressee)
        is_odd = record.messaged_at is not None and record.messaged_at - self.now > CLOCKS_DIFFER_AT_MOST
        if is_odd or addressee.record_id in self.state.unreadable:
            for key in keys:
                self.skip("nag", key, SkipReason.BAD_ADDRESSEE)
            return None
        if not may_message(record, self.now, self.settings):
            return None
        if record.not_before is not None and self.now < record.not_before:
            for key in keys:
                self.skip("nag", key, SkipReason.RETRY_LATER)
            return None
        longest_untold = sorted(keys, key=lambda key: self.record(key).told_at or NEVER)[:KEYS_IN_A_MESSAGE]
        listed = [key for key in keys if key in longest_untold]
        return SendMessage(
            addressee,
            tuple(
                MessageKey(key, self.fate(key), self.open_issue(key), self.key_counts[key.access_key.user_name])
                for key in listed
            ),
            unlisted=len(keys) - len(listed),
            claim_until=record.claim_until,
        )

    def disabling(self, key: LabelledKey, warning_on_the_way: bool) -> DisableKey | None:
        if not self.settings.disable_key or key.label is not AgeLabel.EXPIRED:
            return None
        if self.is_own(key):
            self.skip("disable", key, SkipReason.OWN_ACCESS_KEY)
            return None
        record = self.record(key)
        was_warned = record.was_warned
        if self.settings.create_jira and is_held(record.issue_claim_until, self.now, self.settings):
            self.skip("disable", key, SkipReason.CLAIMED)  # nothing would be filed about an inactive access key
            return None
        if self.settings.warns_owners and not was_warned and not warning_on_the_way:
            self.skip("disable", key, SkipReason.NOBODY_TOLD)
            return None
        return DisableKey(key, needs_warning=self.settings.warns_owners, was_warned=was_warned)

    def is_own(self, key: LabelledKey) -> bool:
        return key.access_key.access_key_id in self.known.own_access_key_ids

    def fate(self, key: LabelledKey) -> Fate:
        if not self.settings.disable_key:
            return Fate.STAYS_ACTIVE
        if self.is_own(key):
            return Fate.NEVER_DISABLED
        return Fate.DISABLED_NOW if key.label is AgeLabel.EXPIRED else Fate.DISABLED_WHEN_EXPIRED

    def open_issue(self, key: LabelledKey) -> str | None:
        """The recorded issue, as far as is known an open one."""
        issue_key, is_open = self.record(key).issue_key, self.known.open_issues
        return issue_key if is_open is None or issue_key in is_open else None

    def record(self, key: LabelledKey) -> KeyRecord:
        return self.state.key(key.access_key.access_key_id)

    def skip(self, what: str, key: LabelledKey, reason: SkipReason) -> None:
        self.skips.append(Skip(self.profile, what, key, reason))
