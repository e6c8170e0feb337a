"""Reads what planning must know before anything is decided: the state table, users and owners, Jira. Shell.

In: accounts, labelled keys, services that are opened only when they are needed. Out: a Ground, as soon as what may be
counted is known, and then a Survey. It decides nothing. What could not be read is a Problem, and never taken for "there
is none".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace

from keycheck.accounts import Account
from keycheck.clock import RunClock
from keycheck.model import Addressee, LabelledKey, Level, OpenIssues, Problem, State
from keycheck.owners import Known, Presence
from keycheck.planning import due_keys
from keycheck.records import RecordsReader
from keycheck.rules import other_writes
from keycheck.rules.case import Facts, SharedFacts
from keycheck.scan import Scanner
from keycheck.services import Claims, Issues, Messages, Outside, ServiceError
from keycheck.settings import Settings
from keycheck.slack_lookups import SlackLookups
from keycheck.user_facts import UserFactsReader

READING_SHARE = 1 / 3
"""Of the time that is left, for tags, and then again for last uses: the rest is for acting."""

Labelled = Mapping[str, Sequence[LabelledKey]]
"""The labelled access keys of each account, by the profile that speaks for it."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What is known of users and access keys. `state` None: the table could not be used. `claims` None: nothing can be
    acted on, or there is nothing to act on. `due`: the access keys of each account that anything may be due about.
    """

    facts: Mapping[str, Facts]
    state: State | None
    claims: Claims | None = None
    due: Labelled = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Survey:
    """All that a plan rests on but last uses and Slack, which are read only for what is planned."""

    known: SharedFacts
    claims: Claims | None
    issues: Issues | None


class Surveyor:
    """The reading of one run."""

    def __init__(
        self,
        profiles: Sequence[str],
        settings: Settings,
        clock: RunClock,
        outside: Outside,
        scanner: Scanner,
        *,
        is_dry_run: bool,
    ) -> None:
        self._profiles = profiles
        self._settings = settings
        self._clock = clock
        self._outside = outside
        self._scanner = scanner
        self._is_dry_run = is_dry_run
        self._messages: Messages | None = None
        self._are_messages_open = False
        self._problems: list[Problem] = []
        self.finder = UserFactsReader(settings, clock, profiles)
        self.slack = SlackLookups(settings, clock, profiles)
        self._records = RecordsReader(profiles, settings, clock, outside, is_dry_run=is_dry_run)

    @property
    def problems(self) -> list[Problem]:
        return [*self._problems, *self._records.problems, *self.finder.problems, *self.slack.problems]

    @property
    def dry_run_lines(self) -> list[tuple[str, str]]:
        return self._records.dry_run_lines

    def shares(self, count: int) -> list[float]:
        """Return how many seconds the run is to have left once each of so many accounts was read about, one after the
        other: together they take a share of what is left now. A dry run, which has nothing else to do, keeps none.
        """
        seconds = 0.0 if self._is_dry_run else self._clock.remaining_seconds()
        return [seconds * (1 - READING_SHARE * (number + 1) / count) for number in range(count)]

    # First what may be counted

    def ground(self, accounts: Sequence[Account], labelled: Labelled, also: Sequence[LabelledKey] = ()) -> Ground:
        """Files, tags, the state table, owners. `also`: access keys whose records are read, due or not."""
        self.finder.read_files()
        attention = {name: [key for key in keys if key.needs_attention] for name, keys in labelled.items()}
        if not self._settings.acts:
            for account in accounts:
                if iams := self._scanner.iams(account.profiles):
                    self.finder.read_tags(account, iams, attention[account.profile])
            return Ground(self._facts(accounts, attention, Known()), State())
        due = {profile: due_keys(keys, self._settings) for profile, keys in labelled.items()}
        self._clock.check()
        state, claims = self._records.read(accounts, due, also)
        self._read_tags(accounts, attention, state, claims)
        self._clock.check()
        emails = [email for one in accounts for email in self.finder.emails(one, attention[one.profile])]
        state = self._records.with_more(state, claims, lookups=emails)
        known = Known() if state is None else Known(self._look_up_owners(emails, state, attention, claims))
        named = self._named(accounts, attention, known)
        state = self._records.with_more(
            state, claims, addressees=self._told(accounts, named), lookups={one.slack_id for one in named}
        )
        if state is not None and claims is not None:
            known = replace(known, presences=self._presences(named, state, attention, claims))
        return Ground(self._facts(accounts, attention, known), state, claims, due)

    def _read_tags(
        self, accounts: Sequence[Account], attention: Labelled, state: State | None, claims: Claims | None
    ) -> None:
        """Read tags in a share of the time; where that is too short, users take turns over the runs."""
        for account, keeping in zip(accounts, self.shares(len(accounts)), strict=True):
            account_id = account.scan.account_id
            if iams := self._scanner.iams(account.profiles):
                after = "" if state is None else state.account(account_id).tags_read_to
                keys = attention[account.profile]
                read_to = self.finder.read_tags(account, iams, keys, after=after, keeping=keeping)
                if read_to is not None and claims is not None and not self._is_dry_run:
                    with suppress(ServiceError):  # else the next run begins where this one did
                        claims.apply(other_writes.note_turn(account_id, read_to))

    def _look_up_owners(
        self, emails: Sequence[str], state: State, attention: Labelled, claims: Claims | None
    ) -> dict[str, str | None]:
        concerned = _concerned(attention)
        recording = None if self._is_dry_run else claims
        return self.slack.look_up(emails, state, lambda: self.messages(concerned), recording)

    def _presences(
        self, named: Set[Addressee], state: State, attention: Labelled, claims: Claims
    ) -> dict[str, Presence]:
        concerned = _concerned(attention)
        recording = None if self._is_dry_run else claims
        return self.slack.presences(named, state, lambda: self.messages(concerned), recording)

    def _named(self, accounts: Sequence[Account], attention: Labelled, known: Known) -> set[Addressee]:
        """Return whom Slack may be asked to tell, before it is known whether they can be."""
        if not self._settings.send_slack:
            return set()
        return {
            one for account in accounts for one in self.finder.addressees(account, attention[account.profile], known)
        }

    def _told(self, accounts: Sequence[Account], named: Set[Addressee]) -> Set[Addressee]:
        """Return who may be messaged: the channel too that hears of whoever cannot be told."""
        return named | {one for account in accounts if named and (one := self.finder.fallback(account)) is not None}

    def _facts(self, accounts: Sequence[Account], attention: Labelled, known: Known) -> dict[str, Facts]:
        return {one.profile: self.finder.facts(one, attention[one.profile], known) for one in accounts}

    # Then what is only needed for acting

    def survey(self, ground: Ground, own_access_key_ids: frozenset[str]) -> Survey:
        """Read the open issues, and what this run itself depends on."""
        state = ground.state
        issues, open_issues = self._look_at_jira(state, ground.due)
        own = own_access_key_ids | self._own_access_key_ids(ground.claims)
        known = SharedFacts(state, open_issues, own, slack_is_usable=self.finder.is_mapping_usable)
        return Survey(known, ground.claims, issues)

    def _look_at_jira(self, state: State | None, due: Labelled) -> tuple[Issues | None, OpenIssues | None]:
        """Jira, signed in, and all open issues of ours; (None, None) if it is not on or could not be asked."""
        if not self._settings.create_jira or state is None:
            return None, None
        has_issue = any(one.issue is not None for one in state.keys.values())
        concerned = _concerned(due)
        if not concerned and not has_issue:
            return None, None
        try:
            issues = self._outside.open_issues()
            return issues, issues.open_issues()
        except ServiceError as error:
            self._blame(concerned or self._profiles, f"no issues are filed: {error.text}")
            return None, None

    def _own_access_key_ids(self, claims: Claims | None) -> frozenset[str]:
        """Return every access key that this run depends on; none of them is ever disabled."""
        ids: set[str] = set()
        if self._settings.disable_key:
            for profile in self._profiles:
                if (iam := self._scanner.iam(profile)) is not None:
                    ids |= iam.own_access_key_ids()
            if claims is not None:
                ids |= claims.own_access_key_ids
            if self._settings.warns_owners:
                ids |= self._outside.secret_access_key_ids()
        return frozenset(ids)

    def messages(self, concerned: Sequence[str]) -> Messages | None:
        """Return Slack, once a message is planned or an owner must be looked up; its secret is not read otherwise."""
        if not self._are_messages_open:
            self._are_messages_open = True
            try:
                self._messages = self._outside.open_messages()
            except ServiceError as error:
                self._blame(concerned, f"nobody is nagged: {error.text}")
        return self._messages

    def _blame(self, profiles: Sequence[str], text: str) -> None:
        self._problems += [Problem(Level.ERROR, profile, text) for profile in profiles]


def _concerned(keys: Labelled) -> list[str]:
    """Return the profiles that have any of these access keys."""
    return [profile for profile, own in keys.items() if own]
