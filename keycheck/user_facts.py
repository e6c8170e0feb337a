"""Finds out what planning must know beside access keys and records: exemptions, tags, owners, last uses. Shell.

In: scans, due access keys, services. Out: Facts a profile, and Problems. It decides nothing that `owners`,
`exemptions` and `planning` decide, and it asks only about users and access keys that need attention. What could not be
read is never taken for "there is none": such users are held (nothing is disabled), and nobody else is told instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from keycheck.accounts import Account
from keycheck.actions import SkipReason
from keycheck.clock import RunClock, Stopped
from keycheck.exemptions import (
    BadTag,
    ExemptionRule,
    ExemptionsError,
    file_exemption,
    parse_exemptions,
    tag_exemption,
)
from keycheck.model import (
    AccessKey,
    Exemption,
    LabelledKey,
    LastUse,
    Level,
    Lookup,
    Owner,
    OwnerKind,
    Problem,
    State,
)
from keycheck.owners import IamUser, Owners, OwnersError, parse_mapping, tag_problem
from keycheck.rules import writes
from keycheck.rules.case import Facts, UserFacts
from keycheck.services import Claims, Iam, Messages, ServiceError
from keycheck.settings import Settings
from keycheck.words.parts import list_cut

FILE_BYTES = 4_000_000
CALLS_AT_ONCE = 16
LOOKUPS_AT_MOST = 40
"""users.lookupByEmail is Tier 3: some 50 calls a minute. The others are looked up in the next runs."""
FOUND_HOLDS = timedelta(days=7)
NOT_FOUND_HOLDS = timedelta(days=1)

T = TypeVar("T")
R = TypeVar("R")


class UserFactsReader:
    """The questions of one run. `problems` gathers what went wrong."""

    def __init__(self, settings: Settings, clock: RunClock, profiles: Sequence[str]) -> None:
        self._settings = settings
        self._clock = clock
        self._profiles = profiles
        self.problems: list[Problem] = []
        self._rules: tuple[ExemptionRule, ...] | None = ()
        self._owners: Owners | None = None
        self._tags: dict[IamUser, Mapping[str, str] | None] = {}

    # Files

    def read_files(self) -> None:
        """Read the exemptions and, if Slack is on, the mapping; what cannot be used is said."""
        settings = self._settings
        if settings.exemptions_file is not None:
            self._rules = self._parsed(
                settings.exemptions_file,
                lambda text: parse_exemptions(text, self._clock.now.date()),
                "nothing is disabled: exemptions_file",
            )
        slack_ids = {}
        if settings.send_slack:
            mapping = self._parsed(
                settings.slack_id_mapping_file, parse_mapping, "nobody is nagged: slack_id_mapping_file"
            )
            if mapping is None:
                return
            slack_ids = mapping
        self._owners = Owners(
            slack_ids,
            settings.slack_fallback_channel,
            settings.owner_slack_tag,
            settings.owner_email_tag,
            tells_on_slack=settings.send_slack,
            assigns=settings.create_jira and settings.jira_assign_owner,
        )

    @property
    def is_mapping_usable(self) -> bool:
        """Without a usable mapping nobody is told: it could be the wrong person."""
        return self._owners is not None

    def _parsed(self, path: Path, parse: Callable[[str], T], consequence: str) -> T | None:
        with suppress(OSError):  # the working directory may be gone
            path = path.absolute()
        try:
            with path.open("rb") as file:
                content = file.read(FILE_BYTES + 1)
            if len(content) > FILE_BYTES:
                why = f"line 1: more than {FILE_BYTES:,} bytes"
            else:
                return parse(content.decode("utf-8-sig"))
        except (OwnersError, ExemptionsError) as error:
            why = str(error)
        except UnicodeDecodeError as error:
            why = f"line {1 + error.object[: error.start].count(10)}: not UTF-8"
        except OSError as error:
            why = (error.strerror or type(error).__name__).lower()
        self.problems += [Problem(Level.ERROR, profile, f"{consequence} {path}: {why}") for profile in self._profiles]
        return None

    # Tags

    def read_tags(self, account: Account, iams: Sequence[Iam], keys: Sequence[LabelledKey]) -> None:
        """Read the tags of the users of these access keys, if the settings make anything depend on them. `iams`: of the
        account's profiles, any of which may be allowed to.
        """
        wanted = [user for user in self._users(account, keys) if self._needs_tags(user)]
        read, failed = self._ask_all(wanted, lambda user: _first(iams, lambda iam: iam.list_user_tags(user.user_name)))
        self._tags |= read
        for text, names in failed.items():
            shown = list_cut(sorted(user.user_name for user in names))
            what = f"the tags of {len(names)} users were not read, so their access keys are not disabled"
            self.problems.append(Problem(Level.ERROR, account.profile, f"{what}: {text}: {shown}", count=len(names)))

    def _needs_tags(self, user: IamUser) -> bool:
        settings = self._settings
        if settings.exempt_by_tag or (settings.create_jira and settings.jira_assign_owner):
            return True
        return settings.send_slack and self._owners is not None and self._owners.mapped(user) is None

    # Look-ups

    def emails(self, account: Account, keys: Sequence[LabelledKey]) -> tuple[str, ...]:
        """Return the e-mail addresses on which an owner depends, lower-cased; empty if Slack is not on."""
        if not self._settings.send_slack or self._owners is None:
            return ()
        found: dict[str, None] = {}
        for user in self._users(account, keys):
            if self._is_named(user) or (self._needs_tags(user) and user not in self._tags):
                continue
            found |= dict.fromkeys(self._candidates(user))
        return tuple(found)

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
            known |= self._ask_slack(missing[:LOOKUPS_AT_MOST], messages, claims)
            if len(missing) > LOOKUPS_AT_MOST:
                text = f"{len(missing) - LOOKUPS_AT_MOST} e-mail addresses are looked up on Slack in the next runs"
                self.problems += [Problem(Level.INFO, profile, text) for profile in self._profiles]
        return known

    def _holds(self, lookup: Lookup) -> bool:
        return self._clock.now - lookup.looked_up_at < (FOUND_HOLDS if lookup.slack_id else NOT_FOUND_HOLDS)

    def _ask_slack(self, emails: Sequence[str], messages: Messages, claims: Claims | None) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for email in emails:
            try:
                found[email] = messages.find_user(email)
                if claims is not None:
                    claims.apply(writes.record_lookup(email, Lookup(found[email], self._clock.now)))
            except ServiceError as error:
                text = f"owners could not be looked up on Slack: {error.text}"
                self.problems += [Problem(Level.ERROR, profile, text) for profile in self._profiles]
                break
        return found

    # Facts

    def facts(self, account: Account, keys: Sequence[LabelledKey], lookups: Mapping[str, str | None]) -> Facts:
        """Return what is known of the users of these access keys. What an account does not show is gone if its scan is
        complete.
        """
        users = {user.user_name: self._user_facts(user, lookups) for user in self._users(account, keys)}
        scan = account.scan
        return Facts(scan, users, sees_whole_account=scan.is_complete and scan.was_scanned and bool(scan.account_id))

    def _user_facts(self, user: IamUser, lookups: Mapping[str, str | None]) -> UserFacts:
        today = self._clock.now.date()
        owner = self._owner(user, lookups)
        if self._rules is None:
            return UserFacts(owner, not_disabled_because=SkipReason.EXEMPTIONS_UNREAD)
        exemption = file_exemption(self._rules, user.account, user.user_name, today)
        tags = self._tags.get(user)
        if exemption is None and self._needs_tags(user) and user not in self._tags:
            return UserFacts(owner, not_disabled_because=SkipReason.TAGS_UNREAD)
        if not self._settings.exempt_by_tag or exemption is not None or tags is None:
            return UserFacts(owner, exemption)
        match tag_exemption(tags, today):
            case BadTag(why=why):
                text = "an exemption by tag does not count, and nothing of that user is disabled"
                self.problems.append(Problem(Level.WARNING, user.profile, f"{text}: {why}", subject=user.user_name))
                return UserFacts(owner, not_disabled_because=SkipReason.BAD_EXEMPT_TAG, tag_trouble=why)
            case Exemption() as by_tag:
                return UserFacts(owner, by_tag)
            case None:
                return UserFacts(owner)

    def _owner(self, user: IamUser, lookups: Mapping[str, str | None]) -> Owner:
        settings = self._settings
        if self._owners is None:
            return Owner(OwnerKind.UNREAD)
        tags = self._tags.get(user)
        if settings.send_slack and tags is not None and self._owners.mapped(user) is None:
            problem = tag_problem(tags, settings.owner_slack_tag)
            if problem is not None:
                self.problems.append(Problem(Level.WARNING, user.profile, problem, subject=user.user_name))
        return self._owners.resolve(user, tags, lookups, tags_were_read=user in self._tags)

    def _users(self, account: Account, keys: Sequence[LabelledKey]) -> list[IamUser]:
        names = dict.fromkeys((key.access_key.account_id, key.access_key.user_name) for key in keys)
        return [IamUser(account.profiles, account_id, user_name) for account_id, user_name in names]

    def _candidates(self, user: IamUser) -> tuple[str, ...]:
        if self._owners is None:
            return ()
        return self._owners.email_of(user.user_name, self._tags.get(user))

    def _is_named(self, user: IamUser) -> bool:
        """Return whether the mapping or the Slack tag names the owner, so that no e-mail address decides."""
        owner = self._owner(user, {})
        return owner.kind is OwnerKind.KNOWN and owner.addressee is not None and not owner.is_told_by_others

    # Last uses

    def read_uses(
        self, profile: str, facts: Facts, wanted: Sequence[AccessKey], iams: Mapping[str, Sequence[Iam]]
    ) -> Facts:
        """Return the facts with the last use of each of these access keys."""
        read, failed = self._ask_all(
            wanted, lambda key: _first(iams[key.access_key_id], lambda iam: iam.last_used(key))
        )
        for text, keys in failed.items():
            what = f"the last use of {len(keys)} access keys was not read: {text}"
            self.problems.append(Problem(Level.WARNING, profile, what))
        uses: dict[str, LastUse | None] = {key.access_key_id: None for keys in failed.values() for key in keys}
        uses |= {key.access_key_id: use for key, use in read.items()}
        return replace(facts, last_uses={**facts.last_uses, **uses})

    # Common

    def _ask_all(self, things: Sequence[T], ask: Callable[[T], R]) -> tuple[dict[T, R], dict[str, list[T]]]:
        """Ask about each, some at once; (answers, why not -> which).

        A refusal costs the one that it is about: AWS may allow one user and not another. Only after an answer about the
        credentials as a whole is nobody else asked about.
        """
        answers: dict[T, R] = {}
        failed: dict[str, list[T]] = {}
        refused: list[str] = []

        def one(thing: T) -> None:
            try:
                if refused:
                    failed.setdefault(refused[0], []).append(thing)
                else:
                    answers[thing] = ask(thing)
            except ServiceError as error:
                failed.setdefault(error.text, []).append(thing)
                if error.holds_for_run:
                    refused.append(error.text)
            except Stopped:
                failed.setdefault("the run's time was over", []).append(thing)

        if things:
            with ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="facts") as pool:
                list(pool.map(one, things))
        return answers, failed


def _first(iams: Sequence[Iam], ask: Callable[[Iam], R]) -> R:
    """Return the answer of the first profile that gets one; raises what the last one was told."""
    for iam in iams[:-1]:
        with suppress(ServiceError):
            return ask(iam)
    return ask(iams[-1])
