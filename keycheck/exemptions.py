"""The exemptions file's text, an IAM user's tags -> who is exempt, why, and until which day. Pure.

In: the text of a TOML file of [[exemption]] tables, or a user's tags; today, in UTC. Out: rules and exemptions, or
ExemptionsError that says where and what to do. It never reads a file or a clock, and every exemption ends: without a
day, or with one more than a year ahead, it is an error.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from fnmatch import fnmatchcase
from typing import Any

from keycheck.model import Exemption
from keycheck.tags import tag_value
from keycheck.tokens import kind_of_secret
from keycheck.words.parts import shown

UNTIL_TAG = "keycheck:exempt-until"
REASON_TAG = "keycheck:exempt-reason"
DAYS_AHEAD = 366
DAYS_SHOWN_BEFORE = 14
REASON_CHARACTERS = 200
USER_NAME_CHARACTERS = 64
"""The longest that IAM allows; a pattern that is longer is not repeated in an error."""
HOW = {
    "account": 'account = "acme-prod", a profile or an account id',
    "user": 'user = "deploy-*", a user name or a pattern',
    "until": "until = 2027-01-31, without quotes and without a time",
    "reason": 'reason = "SEC-99: moves to a role"',
}


class ExemptionsError(Exception):
    """The exemptions can't be used; the message says which one, or which line, and what to do."""


@dataclass(frozen=True, slots=True)
class ExemptionRule:
    """One table of the file. `account` is a profile or an account id, `user` a user name or a pattern of them."""

    account: str
    user: str
    until: date
    reason: str


@dataclass(frozen=True, slots=True)
class BadTag:
    """An exemption was meant, but its tags are not sound: why, for a person, with no long value repeated."""

    why: str


def parse_exemptions(text: str, today: date) -> tuple[ExemptionRule, ...]:
    """Return all rules of the file, in its order, also those that have lapsed. Raises ExemptionsError at the first
    mistake.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ExemptionsError(_not_toml(str(error), text)) from None
    except (ValueError, RecursionError, MemoryError):  # such as a number of 5000 digits, brackets without end
        raise ExemptionsError("line 1: not a readable TOML file; write it in [[exemption]] tables") from None
    for key in document:
        if key != "exemption":
            raise ExemptionsError(
                f"{shown(key)} at the top of the file: nothing but [[exemption]] tables may stand in it"
            )
    tables = document.get("exemption", [])
    if not isinstance(tables, list):
        raise ExemptionsError("exemption 1: write [[exemption]], with two brackets, on a line above each")
    return tuple(_rule(number, table, today) for number, table in enumerate(tables, 1))


def file_exemption(
    rules: Iterable[ExemptionRule], account: Collection[str], user_name: str, today: date
) -> Exemption | None:
    """Return the exemption that the file gives a user today: of several, the one that ends last; None if none is in
    force.

    `account`: all that the user's account is called: its id, and each profile that shows it. Names are compared without
    case, as IAM compares them (saltstack/salt 24947).
    """
    called, name = {one.casefold() for one in account}, user_name.casefold()
    in_force = [
        rule
        for rule in rules
        if rule.until >= today and rule.account.casefold() in called and fnmatchcase(name, rule.user.casefold())
    ]
    last = max(in_force, key=lambda rule: rule.until, default=None)
    return None if last is None else Exemption(last.until, last.reason)


def worth_a_look(rules: Iterable[ExemptionRule], users: Mapping[str, Collection[str]], today: date) -> list[str]:
    """Return what a person should know of the file, a sentence a rule: it is over, or soon will be, or matches nobody.

    `users`: by each name of an account that was seen whole, the names of its users who have access keys. Of a rule for
    another account nothing is known.
    """
    said, rules = [], tuple(rules)
    unmatched = set(for_nobody(rules, users))
    for number, rule in enumerate(rules, 1):
        which = f"exemption {number} ({shown_rule(rule)})"
        if rule.until < today:
            said.append(f"{which} is over; delete it")
        elif rule in unmatched:
            said.append(f"{which} is for no user who has an access key; look at its user, or delete it")
        elif (rule.until - today).days <= DAYS_SHOWN_BEFORE:
            said.append(f"{which} ends soon; after that day it is given a notice")
    return said


def for_nobody(rules: Iterable[ExemptionRule], users: Mapping[str, Collection[str]]) -> list[ExemptionRule]:
    """Return the rules that match no user, in any case, of their account; `users`: by each name of an account that was
    seen whole. Of a rule for another account nothing is known.
    """
    named = {account.casefold(): {name.casefold() for name in names} for account, names in users.items()}
    return [
        rule
        for rule in rules
        if (names := named.get(rule.account.casefold())) is not None
        and not any(fnmatchcase(name, rule.user.casefold()) for name in names)
    ]


def shown_rule(rule: ExemptionRule) -> str:
    user = rule.user if len(rule.user) <= USER_NAME_CHARACTERS and kind_of_secret(rule.user) is None else "..."
    return f"user {user!r}, until {rule.until}"


def tag_exemption(tags: Mapping[str, str], today: date) -> Exemption | BadTag | None:
    """Return the exemption that a user's tags give today; None if they give none, or one that has lapsed.

    One that has lapsed is none whatever its reason says: otherwise what is wrong in it would hold for ever.
    """
    day, reason = tag_value(tags, UNTIL_TAG), tag_value(tags, REASON_TAG)
    if day is None:
        return None if reason is None else BadTag(f"the tag {REASON_TAG} is there, but {UNTIL_TAG} is not")
    until = _day(day)
    if until is None:
        return BadTag(f"the tag {UNTIL_TAG} holds {shown(day)}, which is no day like 2027-01-31")
    if until < today:
        return None
    if _is_too_far(until, today):
        return BadTag(f"the tag {UNTIL_TAG} holds {until}, which is more than {DAYS_AHEAD} days ahead")
    if reason is None:
        return BadTag(f"the tag {UNTIL_TAG} is there, but {REASON_TAG} is not")
    if not reason.strip():
        return BadTag(f"the tag {REASON_TAG} is blank")
    return Exemption(until, reason.strip())


def _not_toml(complaint: str, text: str) -> str:
    """Return what tomllib says, without the long keys that it quotes: the place stands at the end, in brackets."""
    found = re.fullmatch(r"(.*) \(at (line \d+, column \d+|end of document)\)", complaint, re.DOTALL)
    what, where = (found[1], found[2]) if found else (complaint, "line 1")
    if where == "end of document":
        where = f"line {1 + text.count(chr(10))}"
    what = re.sub(r"(['\"]).{13,}\1", "'...'", what)
    return f"{where}: not TOML: {what}; all but a date stands in quotes: {HOW['until'].split(',')[0]}, {HOW['reason']}"


def _rule(number: int, table: object, today: date) -> ExemptionRule:
    if not isinstance(table, dict):
        raise ExemptionsError(f"exemption {number}: not a table; write [[exemption]] on a line above it")
    which = f"exemption {number}{_user_shown(table.get('user'))}"
    for key in table:
        if key not in HOW:
            raise ExemptionsError(f"{which}: {shown(key)} is not known; there are {', '.join(HOW)}")
    for key, how in HOW.items():
        if key not in table:
            raise ExemptionsError(f"{which}: {key} is missing; write {how}")
    account, user, reason = (_text(which, key, table[key]) for key in ("account", "user", "reason"))
    if len(reason) > REASON_CHARACTERS:
        raise ExemptionsError(f"{which}: reason has {len(reason)} characters; write at most {REASON_CHARACTERS}")
    if not reason.isprintable():
        raise ExemptionsError(
            f"{which}: reason holds what cannot be printed; write it on one line, in plain characters"
        )
    return ExemptionRule(account, user, _until(which, table["until"], today), reason)


def _text(which: str, key: str, value: object) -> str:
    if not isinstance(value, str):
        raise ExemptionsError(f"{which}: {key} is not text in quotes; write {HOW[key]}")
    if not value.strip():
        raise ExemptionsError(f"{which}: {key} is blank; write {HOW[key]}")
    return value.strip()


def _until(which: str, value: object, today: date) -> date:
    if isinstance(value, datetime) or not isinstance(value, date):
        raise ExemptionsError(f"{which}: until is not a plain date; write {HOW['until']}")
    if _is_too_far(value, today):
        raise ExemptionsError(
            f"{which}: until is {value}, more than {DAYS_AHEAD} days after today, {today}; write an earlier day, and a "
            "later one when it comes"
        )
    return value


def _is_too_far(until: date, today: date) -> bool:
    return (until - today).days > DAYS_AHEAD


def _day(text: str) -> date | None:
    """`fromisoformat` alone would take `20270131` and `2027-W04-7` too."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _user_shown(user: Any) -> str:
    """Return the user of a table, for finding it; not where a secret was written in its place."""
    if not isinstance(user, str) or len(user) > USER_NAME_CHARACTERS or kind_of_secret(user) is not None:
        return ""
    return f" (user {user!r})"
