"""Reads what the state table holds for one run, and lists what the runs after it must read. Shell.

In: accounts, access keys that are due, addresses, addressees. Out: State, and the table itself once it is needed. What
is read follows what is due and what stands (rules/standing.py), not what was ever written; nothing is done about an
access key that could not be listed first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from keycheck.accounts import Account
from keycheck.clock import RunClock
from keycheck.model import Addressee, LabelledKey, Level, Problem, State
from keycheck.rules import events, other_writes, standing
from keycheck.services import ClaimLost, Claims, Outside, ServiceError
from keycheck.settings import Settings
from keycheck.words.parts import cut_name

NO_STATE = "nothing is filed, sent or disabled without state"


class RecordsReader:
    """The reading of one run. `problems` and `dry_run_lines` gather what there is to say about it."""

    def __init__(
        self, profiles: Sequence[str], settings: Settings, clock: RunClock, outside: Outside, *, is_dry_run: bool
    ) -> None:
        self._profiles = profiles
        self._settings = settings
        self._clock = clock
        self._outside = outside
        self._is_dry_run = is_dry_run
        self.problems: list[Problem] = []
        self.dry_run_lines: list[tuple[str, str]] = []

    def read(
        self,
        accounts: Sequence[Account],
        due: Mapping[str, Sequence[LabelledKey]],
        also: Sequence[LabelledKey] = (),
    ) -> tuple[State | None, Claims | None]:
        """Return what the table holds about these access keys and accounts, and the table itself. No state if it cannot
        be used; no table if it is not needed yet: it is made only once something is due. `also`: read, and no more.
        """
        settings = self._settings
        concerned = [profile for profile, keys in due.items() if keys]
        try:
            claims = self._outside.open_claims()
            if not claims.open(create=bool(concerned) and not self._is_dry_run):
                if concerned:
                    self.dry_run_lines.append((concerned[0], f"would create the table {settings.dynamodb_table_name}"))
                return State(), claims if concerned else None
            self._remark(concerned, claims.remarks)
            state = self._read(claims, accounts, due, also)
            if concerned and not self._is_dry_run:
                self._note_accounts(claims, [one for one in _ids(accounts) if state.account(one).first_seen_at is None])
        except ServiceError as error:
            region = f", aws_dynamodb_region={settings.aws_dynamodb_region}" if settings.aws_dynamodb_region else ""
            where = f"aws_dynamodb_profile_name={cut_name(settings.aws_dynamodb_profile_name or '', quote='')}{region}"
            self._blame(concerned or self._profiles, f"{NO_STATE}: {error.text} ({where})")
            return None, None
        return state, claims

    def _read(
        self,
        claims: Claims,
        accounts: Sequence[Account],
        due: Mapping[str, Sequence[LabelledKey]],
        also: Sequence[LabelledKey],
    ) -> State:
        ids = {profile: [key.access_key.access_key_id for key in keys] for profile, keys in due.items()}
        every = [*(one for own in ids.values() for one in own), *(key.access_key.access_key_id for key in also)]
        state = claims.read(every, (), account_ids=_ids(accounts))
        if state.lists_all is None:
            state = self._listed(claims, state)
        for account in accounts:
            if account.scan.account_id:
                state = self._with_standing(claims, account, frozenset(ids[account.profile]), state)
        return state

    def _listed(self, claims: Claims, state: State) -> State:
        """Look through the whole table, once, and list what stands in each account: a new table has nothing in it, and
        earlier versions have listed nothing.
        """
        now, found = self._clock.now, defaultdict[str, set[str]](set)
        for record in claims.look_through(now - standing.COMES_BACK_WITHIN):
            found[record.account_id].add(record.access_key_id)
        if not self._is_dry_run:
            with suppress(ServiceError):  # else the next run looks through it again
                for account_id, access_key_ids in found.items():
                    claims.apply(other_writes.note_standing(account_id, access_key_ids, now))
                claims.apply(other_writes.note_all_listed(now))
        listed = {one: found[one] | state.standing.get(one, frozenset()) for one in {*found, *state.standing}}
        return replace(state, standing={one: frozenset(ids) for one, ids in listed.items()})

    def _with_standing(self, claims: Claims, account: Account, due: frozenset[str], state: State) -> State:
        """Return the state with what stands in an account beside what is due there, which is listed from now on."""
        account_id, now = account.scan.account_id, self._clock.now
        listed = state.standing.get(account_id, frozenset())
        found = claims.read(sorted(listed - due), ()) if listed - due else State()
        state = replace(state, keys={**found.keys, **state.keys}, unreadable=state.unreadable | found.unreadable)
        if self._is_dry_run:
            return state
        if due - listed:
            claims.apply(other_writes.note_standing(account_id, due - listed, now))
        for record in state.keys.values():
            if record.account_id == account_id and (old := events.to_drop(record.events)):
                with suppress(ServiceError):  # likewise
                    claims.apply(other_writes.drop_events(record.access_key_id, old))
        if account.scan.is_complete and (done := standing.done(listed, due, state, now)):
            with suppress(ServiceError):  # else the next run does it
                claims.apply(other_writes.forget_standing(account_id, done))
        return state

    def _note_accounts(self, claims: Claims, account_ids: Sequence[str]) -> None:
        """Note that keycheck has something to do there from now on, as well as can be: else the next run does."""
        for account_id in account_ids:
            with suppress(ServiceError, ClaimLost):
                claims.apply(other_writes.note_account(account_id, self._clock.now))

    def with_more(
        self,
        state: State | None,
        claims: Claims | None,
        *,
        addressees: Collection[Addressee] = (),
        lookups: Collection[str] = (),
    ) -> State | None:
        """Return the state with what the table holds about these too; None if it cannot be read."""
        if state is None or claims is None or not (addressees or lookups):
            return state
        try:
            if not claims.open(create=False):
                return state
            found = claims.read((), addressees, lookups=lookups)
        except ServiceError as error:
            self._blame(self._profiles, f"{NO_STATE}: {error.text}")
            return None
        return replace(
            state,
            addressees={**state.addressees, **found.addressees},
            unreadable=state.unreadable | found.unreadable,
            lookups={**state.lookups, **found.lookups},
        )

    def _remark(self, concerned: Sequence[str], remarks: Iterable[str]) -> None:
        profile = (concerned or self._profiles)[0]
        self.problems += [Problem(Level.INFO, profile, text) for text in remarks]

    def _blame(self, profiles: Sequence[str], text: str) -> None:
        self.problems += [Problem(Level.ERROR, profile, text) for profile in profiles]


def _ids(accounts: Iterable[Account]) -> list[str]:
    return [one.scan.account_id for one in accounts if one.scan.account_id]
