"""The Slack mapping file, an IAM user's tags and what Slack knows of e-mails -> who owns which IAM user. Pure.

In: the text of a Python file holding `mapping = {"IAM user": "Slack id", ...}`, which is parsed and never executed;
tags, and look-ups that others made. Out: Owners, which says who owns a user, or OwnersError naming the line. It never
reads a file, asks nobody and never guesses: anything but a plain dictionary of strings is an error, and if
something that would decide was not read, nobody else is named instead, since the wrong person told is worse than a
message not sent.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from keycheck.model import Addressee, Owner, OwnerKind
from keycheck.tags import tag_value
from keycheck.tokens import kind_of_secret
from keycheck.words.parts import shown, why_gone

SLACK_ID = re.compile(r"[UWCGD][A-Z0-9]{2,30}")
TEAM = re.compile(r"([CG][A-Z0-9]{2,30}) (S[A-Z0-9]{2,30})")
"""Slack's ids have some eleven characters; at most so many that one message can mention the groups of all it names."""
GROUP_BESIDE_NO_CHANNEL = re.compile(r"[UWD][A-Z0-9]{2,30} S[A-Z0-9]{2,30}")
EMAIL = re.compile(r"[!-?A-~]+@[!-?A-~]+\.[!-?A-~]+")
"""Printable ASCII without spaces, one @, and a dot after it: whether it exists is for Slack and Jira to say."""
EMAIL_CHARACTERS = 254
EXAMPLE = 'mapping = {"dev_kramer": "U012AB3CD"}'


FALLBACK = "fallback channel"
"""What names the channel that hears of users whom nobody is known to own."""


class OwnersError(Exception):
    """The mapping can't be used; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class SlackName:
    """A person, or a team: its channel, and the user group that messages there mention, if there is one."""

    slack_id: str
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a Slack id can be told. `gone`: Slack's word for why not, empty if it can, as far as is known.

    `is_sure` False: it could not be found out in this run. `is_retry`: only a message can tell.
    """

    gone: str = ""
    is_sure: bool = True
    is_retry: bool = False


@dataclass(frozen=True, slots=True)
class Named:
    """Who owns an IAM user, whether or not they can be told: `who` is a Slack id or an e-mail address, and `source`
    what says so; both empty if nothing does.
    """

    who: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What Slack said: `emails`: e-mail -> Slack id, or None if it knows nobody; absent if it could not be looked up.
    `presences`: by Slack id; who is absent is there, as far as is known.
    """

    emails: Mapping[str, str | None] = field(default_factory=dict)
    presences: Mapping[str, Presence] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IamUser:
    """One IAM user. `profiles`: all that show the account, the one that speaks for it first."""

    profiles: tuple[str, ...]
    account_id: str
    user_name: str

    @property
    def profile(self) -> str:
        return self.profiles[0]

    @property
    def account(self) -> tuple[str, ...]:
        """All that its account is called."""
        return (self.account_id, *self.profiles)


@dataclass(frozen=True, slots=True)
class Owners:
    """Who owns an IAM user, by mapping file, tags and e-mail, and the channel for users that nobody is known to own.

    `slack_ids`: by user name, `profile/user name` or `account id/user name`, in any case, as IAM compares names
    (kubernetes/kops 11727); None for an entry that cannot be read: it costs its own user. `fallback_channel` None:
    nobody is told about users that nobody is known to own. `slack_tag`, `email_tag`: the names of the IAM tags.
    `tells_on_slack`, `assigns`: whether Slack is on, and whether issues are assigned to their owners.

    One Slack id is one addressee: if the fallback channel owns users too, its one message names theirs and those of
    nobody. That has to be known of it before the first user is resolved, so only the mapping can say it.
    """

    slack_ids: Mapping[str, SlackName | None]
    fallback_channel: str | None = None
    slack_tag: str = ""
    email_tag: str = ""
    tells_on_slack: bool = True
    assigns: bool = False
    _ids: frozenset[str] = field(init=False, repr=False, compare=False)
    _folded: Mapping[str, SlackName | None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_folded", {entry.casefold(): name for entry, name in self.slack_ids.items()})
        object.__setattr__(self, "_ids", frozenset(one.slack_id for one in self.slack_ids.values() if one))

    def mapped(self, user: IamUser) -> SlackName | None:
        """Whom the mapping file names; None if it names nobody, or its entry cannot be read."""
        entry = self._entry(user)
        return None if entry is None else self._folded[entry]

    def is_entry_bad(self, user: IamUser) -> bool:
        entry = self._entry(user)
        return entry is not None and self._folded[entry] is None

    def _entry(self, user: IamUser) -> str | None:
        """Return which entry is this user's: that for one account goes before that for a profile (of several that show
        it, the first by name), and that before all others.
        """
        name = user.user_name
        entries = (f"{user.account_id}/{name}", *(f"{one}/{name}" for one in sorted(user.profiles)), name)
        return next((entry for one in entries if (entry := one.casefold()) in self._folded), None)

    def named(self, user: IamUser, tags: Mapping[str, str] | None, *, tags_were_read: bool) -> Named:
        """Return who is named for a user, by the first that names anybody: for people who look, whichever channel is
        on. `resolve` decides who is told.
        """
        if (mapped := self.mapped(user)) is not None:
            return Named(mapped.slack_id, "mapping file")
        if (tagged := parse_slack_name(tag_value(tags or {}, self.slack_tag) or "")) is not None:
            return Named(tagged.slack_id, f"tag {self.slack_tag}")
        for email in self.email_of(user.user_name, tags):
            is_name = email == user.user_name.lower()
            return Named(email, "user name" if is_name else f"tag {self.email_tag}")
        if tags_were_read and self.tells_on_slack and self.fallback_channel is not None:
            return Named(self.fallback_channel, FALLBACK)
        return Named()

    def email_of(self, user_name: str, tags: Mapping[str, str] | None) -> tuple[str, ...]:
        """Return the e-mail addresses that may be the owner's, lower-cased, the likeliest first: the tag's, then a user
        name that is one itself.
        """
        candidates = (tag_value(tags or {}, self.email_tag) or "", user_name)
        return tuple(dict.fromkeys(email.lower() for email in candidates if _is_email(email)))

    def resolve(
        self,
        user: IamUser,
        tags: Mapping[str, str] | None,
        known: Known,
        *,
        tags_were_read: bool,
    ) -> Owner:
        """Return who owns this user, as the switched-on channels reach them.

        The first of these that names somebody on Slack decides: the mapping file, the Slack tag, the e-mail tag, a user
        name that is an e-mail. `tags` is None also of a user that is gone: `tags_were_read` tells that from tags that
        are missing.

        An owner whom only an assigned issue reaches is KNOWN, and the fallback channel hears of it beside them. Where
        that channel owns users itself, a message to it would give its own a notice: so it is not told then.
        """
        account_id = user.account_id
        entry = self.mapped(user)
        mapped = entry if self.tells_on_slack else None
        if self.tells_on_slack and self.is_entry_bad(user):
            return Owner(OwnerKind.UNREAD)
        if not tags_were_read and (self.assigns or self.tells_on_slack):
            return Owner(OwnerKind.UNREAD) if mapped is None else self._named(mapped, account_id, None, known)
        emails = self.email_of(user.user_name, tags)
        email = emails[0] if self.assigns and emails else None
        if not self.tells_on_slack:
            return replace(self._not_on_slack(account_id, email), is_mapped=entry is not None)
        name = mapped or parse_slack_name(tag_value(tags or {}, self.slack_tag) or "")
        if name is not None:
            return self._named(name, account_id, email, known)
        for candidate in emails:
            if candidate not in known.emails:
                return Owner(OwnerKind.UNREAD, email=email)
            name = parse_slack_name(known.emails[candidate] or "")
            if name is not None:
                owner = self._named(name, account_id, email, known)
                return replace(owner, is_email_own=owner.kind is OwnerKind.KNOWN and candidate == email)
        return self._not_on_slack(account_id, email)

    def _named(self, name: SlackName, account_id: str, email: str | None, known: Known) -> Owner:
        """Return the owner whom a Slack id names. One who cannot be told for good is nobody: the fallback channel hears
        of it, and why.

        Only ids that begin with U or W are people; the full access key id appears in messages to those alone, and never
        in one that also names access keys of others.
        """
        if name.slack_id == self.fallback_channel:
            if name.slack_id not in self._ids:  # or it would be two addressees: this user's, and that of nobody's
                return self._nobodys(account_id, email)
            return Owner(OwnerKind.KNOWN, Addressee(name.slack_id, account_id, is_person=False), name.group, email)
        presence = known.presences.get(name.slack_id, Presence())
        if presence.gone and presence.is_sure:
            trouble = f"the owner named for it, {name.slack_id}, {why_gone(presence.gone)}"
            return replace(self._nobodys(account_id, email), trouble=trouble)
        addressee = Addressee(name.slack_id, account_id, is_person=name.slack_id[0] in "UW")
        owner = Owner(OwnerKind.KNOWN, addressee, name.group, email)
        return replace(owner, is_unsure=not presence.is_sure, is_retry=presence.is_retry)

    def _nobodys(self, account_id: str, email: str | None) -> Owner:
        """Return the owner if nobody is known on Slack; `email` is somebody's, maybe another's."""
        fallback = None if self.fallback_channel is None else self.fallback(account_id)
        return Owner(OwnerKind.UNKNOWN, fallback, email=email)

    def _not_on_slack(self, account_id: str, email: str | None) -> Owner:
        """Return the owner whom at most an address names."""
        if email is None:
            return self._nobodys(account_id, None) if self.tells_on_slack else Owner(OwnerKind.UNKNOWN)
        fallback = None if self.fallback_channel is None or not self.tells_on_slack else self.fallback(account_id)
        told_beside = fallback if fallback is not None and fallback.is_fallback else None
        return Owner(OwnerKind.KNOWN, told_beside, email=email, is_email_own=True)

    def fallback(self, account_id: str) -> Addressee:
        """Return the fallback channel as an addressee: one that owns users itself gets one message about all."""
        channel = self.fallback_channel or ""
        return Addressee(channel, account_id, is_person=False, is_fallback=channel not in self._ids)


def of_nobody(entries: Iterable[str], users: Mapping[str, Collection[str]]) -> list[str]:
    """Return the entries of the mapping for users who have no access key in any of these accounts.

    `users`: by each name of an account, the names of its users who have access keys. An entry for another account is
    not among them.
    """
    named = {account.casefold(): {name.casefold() for name in names} for account, names in users.items()}
    everybody = {name for names in named.values() for name in names}

    def is_anybodys(entry: str) -> bool:
        account, slash, name = entry.casefold().rpartition("/")
        return name in named.get(account, {name}) if slash else name in everybody

    return [entry for entry in entries if not is_anybodys(entry)]


def parse_slack_name(text: str) -> SlackName | None:
    """`U012AB3CD`, or, for a team, its channel and the user group to mention: `C012AB3CD S012AB3CD`; else None."""
    if SLACK_ID.fullmatch(text):
        return SlackName(text)
    team = TEAM.fullmatch(text)
    return None if team is None else SlackName(team[1], team[2])


def tag_problem(tags: Mapping[str, str] | None, slack_tag: str) -> str | None:
    """Return what is wrong with a user's Slack tag, for a person; None if it is sound or not there."""
    value = tag_value(tags or {}, slack_tag)
    if value is None or parse_slack_name(value) is not None:
        return None
    return f"the tag {slack_tag} holds {shown(value)}, which is no Slack id, and is passed over; {_how(value)}"


def _is_email(text: str) -> bool:
    return len(text) <= EMAIL_CHARACTERS and EMAIL.fullmatch(text) is not None


def _how(text: str) -> str:
    if GROUP_BESIDE_NO_CHANNEL.fullmatch(text):
        return "a user group (S...) goes beside the id of a channel (C... or G...) alone, like C012AB3CD S012AB3CD"
    return (
        "those look like U012AB3CD (in Slack: profile, then Copy member ID), or, for a team, C012AB3CD or "
        "C012AB3CD S012AB3CD: its channel, and the user group to mention"
    )


@dataclass(frozen=True, slots=True)
class MappingFile:
    """What a mapping file says: by user name, `profile/user name` or `account id/user name`. None for an entry that is
    wrong: `problems` says what and where, one sentence each.
    """

    entries: Mapping[str, SlackName | None]
    problems: tuple[str, ...] = ()


def parse_mapping(text: str) -> MappingFile:
    """Read `mapping = {...}` out of a Python file's text.

    Allowed beside it: comments and a docstring. Raises OwnersError for anything else, and for an entry of which nobody
    can say whose it is. An entry that is wrong costs its own user: a value that is no Slack id, half a key around a
    `/`, one user named twice with different ids.
    """
    try:
        body = ast.parse(text).body
    except SyntaxError as error:
        raise OwnersError(f"line {error.lineno or 1}: {error.msg or 'not Python'}; write it like {EXAMPLE}") from None
    except (ValueError, RecursionError, MemoryError):
        raise OwnersError(f"line 1: not a readable Python file; write it like {EXAMPLE}") from None
    if body and isinstance(body[0], ast.Expr) and _is_text(body[0].value):
        body = body[1:]
    if not body:
        raise OwnersError(f"line 1: there is no mapping in it; write it like {EXAMPLE}")
    if len(body) > 1:
        other = next((one for one in body if not _is_mapping(one)), body[1])
        only = "nothing but one mapping may stand in this file, and it is not executed"
        raise OwnersError(f"line {other.lineno}: {only}")
    return _entries(_dictionary(body[0]))


def _is_text(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _is_mapping(statement: ast.stmt) -> bool:
    try:
        _dictionary(statement)
    except OwnersError:
        return False
    return True


def _dictionary(statement: ast.stmt) -> ast.Dict:
    match statement:
        case ast.Assign(targets=[ast.Name(id="mapping")], value=ast.Dict() as value):
            return value
        case ast.AnnAssign(target=ast.Name(id="mapping"), value=ast.Dict() as value):
            return value
        case _:
            raise OwnersError(f"line {statement.lineno}: expected {EXAMPLE}")


def _entries(dictionary: ast.Dict) -> MappingFile:
    entries: dict[str, SlackName | None] = {}
    spelt: dict[str, str] = {}
    problems: list[str] = []
    for key, value in zip(dictionary.keys, dictionary.values, strict=True):
        line = value.lineno if key is None else key.lineno
        if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
            raise OwnersError(f"line {line}: user name and Slack id must both be plain strings in quotes")
        named, slack_name, problem = _entry(key.value, value, line)
        named = spelt.setdefault(named.casefold(), named)
        if problem is None and named in entries and entries[named] != slack_name:
            twice = f"{_safe(named)} stands twice in the mapping, with different Slack ids"
            slack_name, problem = None, f"line {line}: {twice}"
        if problem is not None:
            problems.append(problem)
        entries[named] = slack_name
    return MappingFile(entries, tuple(problems))


def _safe(named: str) -> str:
    return repr(named) if kind_of_secret(named) is None else shown(named)


def _entry(key: str, value: ast.expr, line: int) -> tuple[str, SlackName | None, str | None]:
    """Return whose an entry is, whom it names, and what is wrong with it."""
    where, slash, name = key.rpartition("/")
    if slash and not (where.strip() and name.strip()):
        problem = (
            f"line {line}: {shown(key)} is neither a user name nor a profile or an account id, a / and a user name; "
            'write it like "acme-prod/dev_kramer"'
        )
        return name or key, None, problem
    if not (isinstance(value, ast.Constant) and isinstance(value.value, str)):
        return key, None, f"line {value.lineno}: user name and Slack id must both be plain strings in quotes"
    slack_name = parse_slack_name(value.value)
    if slack_name is None:
        return key, None, f"line {value.lineno}: {shown(value.value)} is not a Slack id; {_how(value.value)}"
    return key, slack_name, None
