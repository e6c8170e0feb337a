"""Finds out what planning must know beside access keys and records: exemptions, tags, owners, last uses. Shell.

In: scans, due access keys, services. Out: Facts a profile, and Problems. It decides nothing that `owners`,
`exemptions` and `planning` decide, and it asks only about users and access keys that need attention. What could not be
read is never taken for "there is none": such users are held (nothing is disabled), and nobody else is told instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
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
    worth_a_look,
)
from keycheck.model import (
    AccessKey,
    Addressee,
    Exemption,
    LabelledKey,
    LastUse,
    Level,
    Owner,
    OwnerKind,
    Problem,
)
from keycheck.owners import (
    IamUser,
    Known,
    MappingFile,
    Named,
    Owners,
    OwnersError,
    of_nobody,
    parse_mapping,
    tag_problem,
)
from keycheck.rules.case import Facts, UserFacts, sees_whole_account
from keycheck.services import Iam, ServiceError
from keycheck.settings import Settings
from keycheck.words.parts import cut_name, list_cut
from keycheck.workers import Workers

FILE_BYTES = 4_000_000
CALLS_AT_ONCE = 16

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
        self._tags: dict[IamUser, Mapping[str, str]] = {}
        self._left: set[IamUser] = set()

    # Files

    def read_files(self) -> None:
        """Read the exemptions and, if Slack is on or only what has an owner is disabled, the mapping; what cannot be
        used is said.
        """
        settings = self._settings
        if settings.exemptions_file is not None:
            self._rules = self._parsed(
                settings.exemptions_file,
                lambda text: parse_exemptions(text, self._clock.now.date()),
                "nothing is disabled: exemptions_file",
            )
        mapping = MappingFile({})
        if settings.send_slack or (settings.disable_key and not settings.disable_unowned):
            path = settings.slack_id_mapping_file
            what = "nobody is nagged" if settings.send_slack else "nothing is disabled"
            found = self._parsed(path, parse_mapping, f"{what}: slack_id_mapping_file")
            if found is None:
                return
            mapping = found
            self._say_of_all(
                Level.ERROR,
                [f"slack_id_mapping_file {path}: {one}; whose entry it is hears nothing" for one in mapping.problems],
            )
        self._owners = Owners(
            mapping.entries,
            settings.slack_fallback_channel,
            settings.owner_slack_tag,
            settings.owner_email_tag,
            tells_on_slack=settings.send_slack,
            assigns=settings.create_jira and settings.jira_assign_owner,
        )

    def worth_a_look(self, accounts: Sequence[Account]) -> list[str]:
        """Return what a person should know of both files."""
        entries = () if self._owners is None else tuple(self._owners.slack_ids)
        return _about_files(self._rules or (), entries, accounts, self._clock.now.date())

    @property
    def is_mapping_usable(self) -> bool:
        """Without a usable mapping nobody is told: it could be the wrong person."""
        return self._owners is not None

    def _parsed(self, path: Path, parse: Callable[[str], T], consequence: str) -> T | None:
        is_path = len(path.parts) > 1 or bool(path.suffix)
        with suppress(OSError):  # the working directory may be gone
            path = path.absolute()
        shown = str(path) if is_path else cut_name(path.name, quote="")
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
        self._say_of_all(Level.ERROR, [f"{consequence} {shown}: {why}"])
        return None

    def _say_of_all(self, level: Level, texts: Iterable[str]) -> None:
        """Say what is about no profile in particular."""
        self.problems += [Problem(level, profile, text) for text in texts for profile in self._profiles]

    # Tags

    def read_tags(
        self, account: Account, iams: Sequence[Iam], keys: Sequence[LabelledKey], *, after: str = "", keeping: float = 0
    ) -> str | None:
        """Read the tags of the users of these access keys, if the settings make anything depend on them. `iams`: of the
        account's profiles, any of which may be allowed to.

        `after`: up to whom an earlier run came; those behind them by name have waited longest. `keeping`: once the run
        has only so many seconds left the others are left to the next run. Returns up to whom this run came, if so.
        """
        wanted = [user for user in self._users(account, keys) if self._needs_tags(user)]
        wanted.sort(key=lambda user: (user.user_name <= after, user.user_name))
        read, failed, left = _ask_all(
            self._clock, wanted, lambda user: _first(iams, lambda iam: _tags_of(iam, user.user_name)), keeping
        )
        self._tags |= read
        self._left |= set(left)
        if left:
            text = f"the run had no time for the tags of {len(left)} users; they are read in the next runs, in turn"
            self.problems.append(Problem(Level.INFO, account.profile, text))
        for text, names in failed.items():
            shown = list_cut(sorted(user.user_name for user in names))
            what = f"the tags of {len(names)} users were not read, so their access keys are not disabled"
            self.problems.append(Problem(Level.ERROR, account.profile, f"{what}: {text}: {shown}", count=len(names)))
        asked = [user.user_name for user in wanted if user not in self._left]
        return asked[-1] if left and asked else None

    def _needs_tags(self, user: IamUser) -> bool:
        settings = self._settings
        if settings.exempt_by_tag or (settings.create_jira and settings.jira_assign_owner):
            return True
        if not settings.send_slack or self._owners is None:
            return False
        return self._owners.mapped(user) is None and not self._owners.is_entry_bad(user)

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

    def addressees(self, account: Account, keys: Sequence[LabelledKey], known: Known) -> set[Addressee]:
        """Return whom Slack may be asked to tell about these access keys, before it is known whether they can be."""
        owners = [self._owner(user, known) for user in self._users(account, keys)]
        return {owner.addressee for owner in owners if owner.addressee is not None}

    def fallback(self, account: Account) -> Addressee | None:
        """Return the channel that hears of the access keys of whoever cannot be told."""
        if self._settings.slack_fallback_channel is None or self._owners is None:
            return None
        return self._owners.fallback(account.scan.account_id)

    # Facts

    def facts(self, account: Account, keys: Sequence[LabelledKey], known: Known) -> Facts:
        """Return what is known of the users of these access keys. What an account does not show is gone if its scan is
        complete.
        """
        users = {user.user_name: self._user_facts(user, known) for user in self._users(account, keys)}
        return Facts(account.scan, users, sees_whole_account=sees_whole_account(account.scan))

    def _user_facts(self, user: IamUser, known: Known) -> UserFacts:
        today = self._clock.now.date()
        owner = self._owner(user, known)
        if user in self._left:
            return UserFacts(owner, not_disabled_because=SkipReason.TAGS_UNREAD, is_not_its_turn=True)
        self._say_what_is_wrong(user, owner)
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

    def _say_what_is_wrong(self, user: IamUser, owner: Owner) -> None:
        tags, problems = self._tags.get(user), []
        if (
            self._settings.send_slack
            and tags is not None
            and self._owners is not None
            and not self._owners.mapped(user)
        ):
            problems.append(tag_problem(tags, self._settings.owner_slack_tag))
        if owner.trouble:
            instead = "nobody" if owner.addressee is None else "slack_fallback_channel"
            problems.append(f"{owner.trouble}, so {instead} is told instead; name another owner")
        found = [Problem(Level.WARNING, user.profile, text, subject=user.user_name) for text in problems if text]
        self.problems += found

    def _owner(self, user: IamUser, known: Known) -> Owner:
        if self._owners is None:
            return Owner(OwnerKind.UNREAD)
        return self._owners.resolve(user, self._tags.get(user), known, tags_were_read=user in self._tags)

    def named(self, account: Account, user_name: str) -> Named:
        """Return who owns a user, as far as what this run has read says it: tags of those with nothing due are not."""
        user = IamUser(account.profiles, account.scan.account_id, user_name)
        if self._owners is None:
            return Named()
        return self._owners.named(user, self._tags.get(user), tags_were_read=user in self._tags)

    def _users(self, account: Account, keys: Sequence[LabelledKey]) -> list[IamUser]:
        names = dict.fromkeys((key.access_key.account_id, key.access_key.user_name) for key in keys)
        return [IamUser(account.profiles, account_id, user_name) for account_id, user_name in names]

    def _candidates(self, user: IamUser) -> tuple[str, ...]:
        if self._owners is None:
            return ()
        return self._owners.email_of(user.user_name, self._tags.get(user))

    def _is_named(self, user: IamUser) -> bool:
        """Return whether the mapping or the Slack tag names the owner, so that no e-mail address decides."""
        owner = self._owner(user, Known())
        return owner.kind is OwnerKind.KNOWN and owner.addressee is not None and not owner.is_told_by_others

    # Last uses

    def read_uses(
        self,
        profile: str,
        facts: Facts,
        wanted: Sequence[AccessKey],
        iams: Mapping[str, Sequence[Iam]],
        *,
        keeping: float = 0,
    ) -> Facts:
        """Return the facts with the last use of each of these access keys, the first of them first. `keeping`: once the
        run has only so many seconds left the others count as not known, as those do of which IAM does not say it.
        """
        read, failed, left = _ask_all(
            self._clock, wanted, lambda key: _first(iams[key.access_key_id], lambda iam: iam.last_used(key)), keeping
        )
        if left:
            text = f"the run had no time for the last use of {len(left)} access keys"
            self.problems.append(Problem(Level.INFO, profile, text))
        for text, keys in failed.items():
            what = f"the last use of {len(keys)} access keys was not read: {text}"
            self.problems.append(Problem(Level.WARNING, profile, what))
        unknown = [*left, *(key for keys in failed.values() for key in keys)]
        uses: dict[str, LastUse | None] = {key.access_key_id: None for key in unknown}
        uses |= {key.access_key_id: use for key, use in read.items()}
        return replace(facts, last_uses={**facts.last_uses, **uses})


def _about_files(
    rules: Iterable[ExemptionRule], entries: Sequence[str], accounts: Sequence[Account], today: date
) -> list[str]:
    """Return what is over, ends soon, or is about nobody in these accounts, as far as they were seen whole."""
    whole = [account for account in accounts if account.scan.is_complete and account.scan.was_scanned]
    users = {
        called: {key.user_name for key in account.scan.keys}
        for account in whole
        for called in (account.scan.account_id, *account.profiles)
    }
    said = [f"exemptions_file: {one}" for one in worth_a_look(rules, users, today)]
    if len(whole) == len(accounts) and (found := of_nobody(entries, users)):
        what = "1 entry is" if len(found) == 1 else f"{len(found)} entries are"
        text = f"{what} for users who have no access key in the accounts of this run: {list_cut(sorted(found))}"
        said.append(f"slack_id_mapping_file: {text}")
    return said


def _first(iams: Sequence[Iam], ask: Callable[[Iam], R]) -> R:
    """Return the answer of the first profile that gets one; raises what the last one was told."""
    for iam in iams[:-1]:
        with suppress(ServiceError):
            return ask(iam)
    return ask(iams[-1])


def _tags_of(iam: Iam, user_name: str) -> Mapping[str, str]:
    """Return a user's tags. Whose access keys were just listed is there, whatever IAM says a moment later: NoSuchEntity
    is no answer.
    """
    tags = iam.list_user_tags(user_name)
    if tags is None:
        text = "iam:ListUserTags does not know the user whose access keys were just listed"
        raise ServiceError("iam", "ListUserTags", text)
    return tags


def _ask_all(
    clock: RunClock, things: Sequence[T], ask: Callable[[T], R], keeping: float
) -> tuple[dict[T, R], dict[str, list[T]], list[T]]:
    """Ask about each in this order, some at once; (answers, why not -> which, those that there was no time for).

    A refusal costs the one that it is about: AWS may allow one user and not another. Only after an answer about the
    credentials as a whole is nobody else asked about.
    """
    answers: dict[T, R] = {}
    failed: dict[str, list[T]] = {}
    refused: list[str] = []
    left: list[T] = []

    def one(thing: T) -> None:
        try:
            if clock.remaining_seconds() <= keeping and keeping > 0:
                left.append(thing)
            elif refused:
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
        with Workers(CALLS_AT_ONCE, thread_name_prefix="facts") as pool:
            list(pool.map(one, things))
    return answers, failed, left
