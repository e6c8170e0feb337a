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
from collections.abc import Mapping
from dataclasses import dataclass, field

from keycheck.model import Addressee, Owner, OwnerKind
from keycheck.words.parts import shown

SLACK_ID = re.compile(r"[UWCGD][A-Z0-9]{2,}")
TEAM = re.compile(r"([CG][A-Z0-9]{2,}) (S[A-Z0-9]{2,})")
GROUP_BESIDE_NO_CHANNEL = re.compile(r"[UWD][A-Z0-9]{2,} S[A-Z0-9]{2,}")
EMAIL = re.compile(r"[!-?A-~]+@[!-?A-~]+\.[!-?A-~]+")
"""Printable ASCII without spaces, one @, and a dot after it: whether it exists is for Slack and Jira to say."""
EMAIL_CHARACTERS = 254
EXAMPLE = 'mapping = {"dev_kramer": "U012AB3CD"}'


class OwnersError(Exception):
    """The mapping can't be used; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class SlackName:
    """A person, or a team: its channel, and the user group that messages there mention, if there is one."""

    slack_id: str
    group: str | None = None


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

    `slack_ids`: by user name, `profile/user name` or `account id/user name`. `fallback_channel` None: nobody is told
    about such users. `slack_tag`, `email_tag`: the names of the IAM tags. `tells_on_slack`, `assigns`: whether Slack is
    on, and whether issues are assigned to their owners.

    One Slack id is one addressee: if the fallback channel owns users too, its one message names theirs and those of
    nobody. That has to be known of it before the first user is resolved, so only the mapping can say it.
    """

    slack_ids: Mapping[str, SlackName]
    fallback_channel: str | None = None
    slack_tag: str = ""
    email_tag: str = ""
    tells_on_slack: bool = True
    assigns: bool = False
    _ids: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ids", frozenset(name.slack_id for name in self.slack_ids.values()))

    def mapped(self, user: IamUser) -> SlackName | None:
        """Whom the mapping file names: the entry for one account goes before that for a profile (of several that show
        it, the first by name), and that before all others. None if it names nobody.
        """
        name = user.user_name
        for key in (f"{user.account_id}/{name}", *(f"{one}/{name}" for one in sorted(user.profiles)), name):
            if key in self.slack_ids:
                return self.slack_ids[key]
        return None

    def email_of(self, user_name: str, tags: Mapping[str, str] | None) -> tuple[str, ...]:
        """Return the e-mail addresses that may be the owner's, lower-cased, the likeliest first: the tag's, then a user
        name that is one itself.
        """
        candidates = ((tags or {}).get(self.email_tag, ""), user_name)
        return tuple(dict.fromkeys(email.lower() for email in candidates if _is_email(email)))

    def resolve(
        self,
        user: IamUser,
        tags: Mapping[str, str] | None,
        lookups: Mapping[str, str | None],
        *,
        tags_were_read: bool,
    ) -> Owner:
        """Return who owns this user, as the switched-on channels reach them.

        The first of these that names somebody on Slack decides: the mapping file, the Slack tag, the e-mail tag, a user
        name that is an e-mail. `tags` is None also of a user that is gone: `tags_were_read` tells that from tags that
        are missing. `lookups`: e-mail -> Slack id, or None if Slack knows nobody; an e-mail that is absent could not
        be looked up.

        An owner whom only an assigned issue reaches is KNOWN, and the fallback channel hears of it beside them. Where
        that channel owns users itself, a message to it would count as a warning to its own: so it is not told then.
        """
        account_id = user.account_id
        mapped = self.mapped(user) if self.tells_on_slack else None
        if not tags_were_read and (self.assigns or self.tells_on_slack):
            return Owner(OwnerKind.UNREAD) if mapped is None else self._reached(mapped, account_id, None)
        emails = self.email_of(user.user_name, tags)
        email = emails[0] if self.assigns and emails else None
        if not self.tells_on_slack:
            return Owner(OwnerKind.UNKNOWN if email is None else OwnerKind.KNOWN, email=email)
        name = mapped or parse_slack_name((tags or {}).get(self.slack_tag, ""))
        if name is not None:
            return self._reached(name, account_id, email)
        for candidate in emails:
            if candidate not in lookups:
                return Owner(OwnerKind.UNREAD, email=email)
            name = parse_slack_name(lookups[candidate] or "")
            if name is not None:
                return self._reached(name, account_id, email)
        return self._not_on_slack(account_id, email)

    def _reached(self, name: SlackName, account_id: str, email: str | None) -> Owner:
        """Only ids that begin with U or W are people; the full access key id appears in messages to those alone, and
        never in one that also names access keys of others.
        """
        if name.slack_id == self.fallback_channel:
            if name.slack_id not in self._ids:  # or it would be two addressees: this user's, and that of nobody's
                return self._not_on_slack(account_id, email)
            return Owner(OwnerKind.KNOWN, Addressee(name.slack_id, account_id, is_person=False), name.group, email)
        addressee = Addressee(name.slack_id, account_id, is_person=name.slack_id[0] in "UW")
        return Owner(OwnerKind.KNOWN, addressee, name.group, email)

    def _not_on_slack(self, account_id: str, email: str | None) -> Owner:
        kind = OwnerKind.UNKNOWN if email is None else OwnerKind.KNOWN
        if self.fallback_channel is None:
            return Owner(kind, email=email)
        owns_users = self.fallback_channel in self._ids
        if owns_users and kind is OwnerKind.KNOWN:
            return Owner(kind, email=email)
        fallback = Addressee(self.fallback_channel, account_id, is_person=False, is_fallback=not owns_users)
        return Owner(kind, fallback, email=email)


def parse_slack_name(text: str) -> SlackName | None:
    """`U012AB3CD`, or, for a team, its channel and the user group to mention: `C012AB3CD S012AB3CD`; else None."""
    if SLACK_ID.fullmatch(text):
        return SlackName(text)
    team = TEAM.fullmatch(text)
    return None if team is None else SlackName(team[1], team[2])


def tag_problem(tags: Mapping[str, str] | None, slack_tag: str) -> str | None:
    """Return what is wrong with a user's Slack tag, for a person; None if it is sound or not there."""
    value = (tags or {}).get(slack_tag)
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


def parse_mapping(text: str) -> dict[str, SlackName]:
    """Read `mapping = {...}` out of a Python file's text.

    Allowed beside it: comments and a docstring. Raises OwnersError for anything else, for a value that is no Slack id,
    for half a key around a `/`, and for one user named twice with different ids.
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


def _entries(dictionary: ast.Dict) -> dict[str, SlackName]:
    entries: dict[str, SlackName] = {}
    for key, value in zip(dictionary.keys, dictionary.values, strict=True):
        line = value.lineno if key is None else key.lineno
        match key, value:
            case ast.Constant(value=str() as user_name), ast.Constant(value=str() as slack_id):
                pass
            case _:
                raise OwnersError(f"line {line}: user name and Slack id must both be plain strings in quotes")
        where, slash, name = user_name.rpartition("/")
        if slash and not (where.strip() and name.strip()):
            raise OwnersError(
                f"line {line}: {shown(user_name)} is neither a user name nor a profile or an account id, a / and a "
                'user name; write it like "acme-prod/dev_kramer"'
            )
        slack_name = parse_slack_name(slack_id)
        if slack_name is None:
            raise OwnersError(f"line {value.lineno}: {shown(slack_id)} is not a Slack id; {_how(slack_id)}")
        if entries.get(user_name, slack_name) != slack_name:
            raise OwnersError(f"line {line}: {user_name!r} stands twice in the mapping, with different Slack ids")
        entries[user_name] = slack_name
    return entries
