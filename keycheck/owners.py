"""The Slack mapping file's text -> who owns which IAM user. Pure: the text is parsed, never executed.

In: the text of a Python file holding `mapping = {"IAM user": "Slack id", ...}`. Out: Owners, or OwnersError naming the
line. It never reads a file and never guesses: anything but a plain dictionary of strings is an error, since the wrong
person told is worse than a message not sent.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from keycheck.model import Addressee

SLACK_ID = re.compile(r"[UWCGD][A-Z0-9]{2,}")
EXAMPLE = 'mapping = {"dev_kramer": "U012AB3CD"}'


class OwnersError(Exception):
    """The mapping can't be used; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Owners:
    """IAM user name -> Slack id, and the channel for users without one (None: nobody is told about them)."""

    slack_ids: Mapping[str, str]
    fallback_channel: str | None = None
    _ids: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ids", frozenset(self.slack_ids.values()))

    def addressee(self, user_name: str, account_id: str) -> Addressee | None:
        """Who is told about this user's access keys; None where nobody is.

        One Slack id is one addressee: where the fallback channel owns users too, its one message names theirs and those
        of nobody. Only ids that begin with U or W are people; the full access key id appears in messages to those
        alone, and never in one that also names access keys of others.
        """
        slack_id = self.slack_ids.get(user_name, self.fallback_channel)
        if slack_id is None:
            return None
        if slack_id != self.fallback_channel:
            return Addressee(slack_id, account_id, is_person=slack_id[0] in "UW")
        owns_users = slack_id in self._ids
        return Addressee(slack_id, account_id, is_person=False, is_fallback=not owns_users)


def parse_mapping(text: str) -> dict[str, str]:
    """Read `mapping = {...}` out of a Python file's text.

    Allowed beside it: comments and a docstring. Raises OwnersError for anything else, for a value that is no Slack id,
    and for one user named twice with different ids.
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


def _entries(dictionary: ast.Dict) -> dict[str, str]:
    entries: dict[str, str] = {}
    for key, value in zip(dictionary.keys, dictionary.values, strict=True):
        line = value.lineno if key is None else key.lineno
        match key, value:
            case ast.Constant(value=str() as user_name), ast.Constant(value=str() as slack_id):
                pass
            case _:
                raise OwnersError(f"line {line}: user name and Slack id must both be plain strings in quotes")
        if not SLACK_ID.fullmatch(slack_id):
            shown = repr(slack_id) if len(slack_id) <= 12 else f"a value of {len(slack_id)} characters"
            raise OwnersError(
                f"line {value.lineno}: {shown} is not a Slack id; those look like U012AB3CD "
                "(in Slack: profile, then Copy member ID)"
            )
        if entries.get(user_name, slack_id) != slack_id:
            raise OwnersError(f"line {line}: {user_name!r} stands twice in the mapping, with different Slack ids")
        entries[user_name] = slack_id
    return entries
