"""Asks Slack who has an e-mail address, and whether who is named can still be told. Shell.

In: addresses, addressees, what the state table remembers. Out: Slack ids and Presences, and Problems. What could not be
asked is never taken for an answer. The answers are written to the state table, so that each is asked for once a week.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from keycheck.clock import RunClock
from keycheck.model import Addressee, Level, Lookup, Problem, State
from keycheck.owners import Presence
from keycheck.rules import other_writes
from keycheck.rules.telling import last_turn
from keycheck.services import Claims, Failure, Messages, ServiceError
from keycheck.settings import Settings
from keycheck.words.parts import list_cut

LOOKUPS_AT_MOST = 40
"""users.lookupByEmail is Tier 3: some 50 calls a minute. The others are looked up in the next runs."""
FOUND_HOLDS = timedelta(days=7)
NOT_FOUND_HOLDS = timedelta(days=1)
PRESENCES_AT_MOST = 90
"""users.info is Tier 4: 100 calls a minute and more."""


class SlackLookups:
    """The look-ups of one run. `problems` gathers what went wrong."""

    def __init__(self, settings: Settings, clock: RunClock, profiles: Sequence[str]) -> None:
        self._settings = settings
        self._clock = clock
        self._profiles = profiles
        self.problems: list[Problem] = []

    def look_up(
        self, emails: Iterable[str], state: State, open_messages: Callable[[], Messages | None], claims: Claims | None
    ) -> dict[str, str | None]:
        """Return who on Slack has these addresses: as the state table knows, or as Slack says now. `claims` None: a dry
        run.

        An address that is absent from the answer could not be looked up.
        """
        known: dict[str, str | None] = {}
        missing = []
        for email in emails:
            lookup = state.lookups.get(email)
            if lookup is not None and self._holds(lookup):
                known[email] = lookup.slack_id
            else:
                missing.append(email)
        if missing and (messages := open_messages()) is not None:
            missing.sort(key=lambda email: _turn(state.lookups.get(email)))
            known |= self._ask_slack(missing[:LOOKUPS_AT_MOST], messages, claims)
            if len(missing) > LOOKUPS_AT_MOST:
                text = f"{len(missing) - LOOKUPS_AT_MOST} e-mail addresses are looked up on Slack in the next runs"
                self._say(Level.INFO, text)
            self._say_what_waits([email for email in missing if email not in known], state)
        return known

    def _say_what_waits(self, names: Iterable[str], state: State) -> None:
        waiting = [name for name in names if self._has_waited(state.lookups.get(name))]
        if waiting:
            what = f"{len(waiting)} look-ups on Slack have had no answer for a week: {list_cut(sorted(waiting))}"
            self._say(Level.WARNING, f"{what}; until then nobody is told of what depends on them")

    def _has_waited(self, lookup: Lookup | None) -> bool:
        """Say whether Slack has been asked in vain, and has not answered for more than a week."""
        if lookup is None or lookup.tried_at is None:
            return False
        since = lookup.looked_up_at or lookup.tried_at
        return self._clock.now - since >= FOUND_HOLDS + NOT_FOUND_HOLDS

    def presences(
        self,
        addressees: Collection[Addressee],
        state: State,
        open_messages: Callable[[], Messages | None],
        claims: Claims | None,
    ) -> dict[str, Presence]:
        """Return whether each of these can be told, by Slack id: as the state table knows, or as Slack says now.
        `claims` None: a dry run.

        Who is absent from the answer is there, as far as is known.
        """
        found: dict[str, Presence] = {}
        unknown: dict[str, Presence] = {}
        by_turn = sorted(addressees, key=lambda one: (_turn(state.lookups.get(one.slack_id)), one.record_id))
        for one in by_turn:
            lookup = state.lookups.get(one.slack_id)
            if lookup is not None and lookup.looked_up_at is None:
                lookup = None  # it was asked about, and there was no answer
            is_gone_at_once = one.is_person or self._settings.slack_fallback_channel is not None
            if lookup is not None and self._holds(lookup) and (lookup.slack_id or is_gone_at_once):
                found[one.slack_id] = Presence(gone="" if lookup.slack_id else lookup.why)
            else:
                counts_for = unknown if one.is_person else found
                counts_for[one.slack_id] = self._without_asking(lookup, one, state)
        if unknown:
            found |= self._ask_who_is_there(unknown, open_messages(), claims)
        return found

    def _ask_who_is_there(
        self, unknown: Mapping[str, Presence], messages: Messages | None, claims: Claims | None
    ) -> dict[str, Presence]:
        """Ask users.info about each. `unknown`: what counts if the bot may not ask."""
        found = dict.fromkeys(unknown, Presence(is_sure=False))
        if messages is None:
            return found
        for slack_id in list(unknown)[:PRESENCES_AT_MOST]:
            try:
                why = messages.why_gone(slack_id) or ""
                found[slack_id] = Presence(gone=why)
                claims = self._noted(claims, slack_id, why)
            except ServiceError as error:
                if error.code == "missing_scope":
                    self._say_of_scope()
                    return dict(unknown)
                what = "" if error.holds_for_run else "whether owners are still on Slack was not found out: "
                if error.failure is not Failure.OFF:
                    self._say(Level.ERROR, f"{what}{error.text}")
                if _is_about_all(error):
                    return found
                claims = self._noted_try(claims, slack_id)
                if _is_silence(error):
                    return found
        if len(unknown) > PRESENCES_AT_MOST:
            text = f"whether {len(unknown) - PRESENCES_AT_MOST} owners are still on Slack is asked in the next runs"
            self._say(Level.INFO, text)
        return found

    def _noted(self, claims: Claims | None, slack_id: str, why: str) -> Claims | None:
        """Note an answer, as well as can be: what is not on record is asked again. A table that fails is left alone."""
        if claims is None:
            return None
        try:
            claims.apply(other_writes.record_lookup(slack_id, Lookup(None if why else slack_id, self._clock.now, why)))
        except ServiceError:
            return None
        return claims

    def _without_asking(self, lookup: Lookup | None, addressee: Addressee, state: State) -> Presence:
        """Return what counts for whom nobody can ask about: they are there, unless Slack has refused a message to them.

        Then only another message can tell. One is tried once a day, and only once the fallback channel has heard
        instead: while it is tried nobody else is told, so on a daily schedule it would never hear.
        """
        channel = self._settings.slack_fallback_channel
        if lookup is None or lookup.looked_up_at is None or lookup.slack_id is not None or channel is None:
            return Presence()
        told_at = state.addressee(replace(addressee, slack_id=channel)).messaged_at
        has_fallback_heard = told_at is not None and told_at > lookup.looked_up_at
        is_old = self._clock.now - lookup.looked_up_at >= NOT_FOUND_HOLDS
        return Presence(is_sure=False, is_retry=True) if is_old and has_fallback_heard else Presence(gone=lookup.why)

    def _say_of_scope(self) -> None:
        if self._settings.disable_key:
            text = "the Slack bot lacks the scope users:read, so a message to an owner who has left Slack counts as a "
            text += "notice; add that scope to the Slack app"
            self.problems.append(Problem(Level.WARNING, self._profiles[0], text))

    def _holds(self, lookup: Lookup) -> bool:
        """Say whether a look-up still counts. Who has left may come back, and who has no address may get one."""
        if lookup.looked_up_at is None:
            return False
        return self._clock.now - lookup.looked_up_at < (FOUND_HOLDS if lookup.slack_id else NOT_FOUND_HOLDS)

    def _ask_slack(self, emails: Sequence[str], messages: Messages, claims: Claims | None) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for email in emails:
            try:
                found[email] = messages.find_user(email)
                if claims is not None:
                    claims.apply(other_writes.record_lookup(email, Lookup(found[email], self._clock.now)))
            except ServiceError as error:
                if error.failure is not Failure.OFF:
                    self._say(Level.ERROR, f"owners could not be looked up on Slack: {error.text}")
                if _is_about_all(error):
                    break
                claims = self._noted_try(claims, email)
                if _is_silence(error):
                    break
        return found

    def _noted_try(self, claims: Claims | None, name: str) -> Claims | None:
        """Note that one has had its turn, as well as can be; the others are asked about before it the next time."""
        if claims is None:
            return None
        try:
            claims.apply(other_writes.record_try(name, self._clock.now))
        except ServiceError:
            return None
        return claims

    def _say(self, level: Level, text: str) -> None:
        self.problems += [Problem(level, profile, text) for profile in self._profiles]


def _turn(lookup: Lookup | None) -> datetime:
    return last_turn() if lookup is None else last_turn(lookup.looked_up_at, lookup.tried_at)


def _is_about_all(error: ServiceError) -> bool:
    """Return whether the others would hear the same: it is about the token, or Slack limits the rate, or is off."""
    return error.holds_for_run or error.failure is Failure.OFF or error.code == "429"


def _is_silence(error: ServiceError) -> bool:
    """Return whether nobody answered. One ends the asking: a second in a row would turn Slack off for the run, messages
    included. The next run asks others first.
    """
    return error.failure in (Failure.NO_ANSWER, Failure.UNKNOWN) and not error.code
