"""What each kind of setting can be: the text of an environment variable -> its value. Pure.

In: a kind, and what a person typed. Out: the value, or ValueError with what is wrong and what to do. It never repeats a
text that could be a secret.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

from keycheck.owners import SLACK_ID
from keycheck.tokens import kind_of_secret
from keycheck.words.parts import cut_name, shown

TOO_LONG = "the value given ({count} characters)"
Kind = Literal["boolean", "number", "path", "line", "slack", "name", "tag", "region", "project", "table", "url", "json"]
WHERE_IDS_ARE = "those look like C012AB3CD (in Slack: the channel's details, at the end)"
COMMENT = re.compile(r"\s#")
"""What ends a value in an environment file whose reader knows no comments behind values: systemd 12527. In text, a `#`
that stands alone; in JSON, one behind its end.
"""
COMMENT_IN_TEXT = re.compile(r"\s#(\s|$)")
COMMENT_BEHIND_JSON = re.compile(r"[}'\"]\s+#[^}]*$")
COMMENTS: Mapping[Kind, re.Pattern[str]] = {
    "json": COMMENT_BEHIND_JSON,
    **dict.fromkeys(("line", "path", "name"), COMMENT_IN_TEXT),
}

ISSUE_FIELDS_OF_OUR_OWN = ("project", "issuetype", "summary", "description")
URL_CHARACTERS = 200
LINE_CHARACTERS = 200
PLACEHOLDER = "FILL_IN"
"""What the samples have where a value of the user's own belongs."""


def is_issue_key(text: object) -> bool:
    """Return whether this can be a Jira issue's key, such as SEC-12: nothing else gets into a URL, a record or a
    message.
    """
    return isinstance(text, str) and len(text) <= 255 and re.fullmatch("[A-Za-z][A-Za-z0-9_]*-[0-9]+", text) is not None


def value_of(kind: Kind, text: str, default: str | None, lowest: int, highest: int) -> Any:
    """Return the value of one setting; that of its default if `text` is empty. Raises ValueError with what to do."""
    if PLACEHOLDER in text:
        raise ValueError(f"still says {PLACEHOLDER}: put your own value in its place")
    if kind not in ("boolean", "number", "url"):  # whose complaints repeat nothing that is long
        _refuse_secret(text)
    match kind:
        case "boolean":
            return _boolean(text or default or "")
        case "number":
            return _number(text or default or "", lowest, highest)
        case "json":
            return MappingProxyType(_issue_fields(text)) if text else MappingProxyType({})
        case "url":
            return _url(text) if text else None
        case "table":
            return _table_name(text or default or "")
        case "path":
            return _path(text) if text else default
        case "slack" | "name" | "line" | "tag" | "region" | "project":
            return TEXTS[kind](text) if text else default


def _refuse_secret(text: str) -> None:
    if (kind := kind_of_secret(text)) is not None:
        raise ValueError(f"this looks like {kind} itself; put it into credstash, and name it where its name belongs")


def _boolean(text: str) -> bool:
    match text.lower():
        case "true":
            return True
        case "false":
            return False
        case _:
            raise ValueError(f"{shown(text, TOO_LONG)} is neither True nor False")


def _number(text: str, lowest: int, highest: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and lowest <= int(text) <= highest):
        raise ValueError(f"{shown(text, TOO_LONG)} is not a whole number from {lowest} to {highest}")
    return int(text)


def _path(text: str) -> str:
    """Refuse a relative path, which under Telegraf, from cron and by hand would each be another file, and one that
    nobody means.
    """
    if not text.startswith(("/", "~/")):
        what = cut_name(text) if text.isprintable() else f"the value given ({len(text)} characters)"
        raise ValueError(f"{what} is a relative path; write the whole one, from / or ~/ on")
    if not text.isprintable():
        raise ValueError("the path holds a line break, or another character that cannot be printed")
    return text


def _line(text: str) -> str:
    if not text.isprintable() or len(text) > LINE_CHARACTERS:
        raise ValueError(f"not one line of at most {LINE_CHARACTERS} printable characters")
    return text


def _slack(text: str) -> str:
    if not SLACK_ID.fullmatch(text):
        raise ValueError(f"{shown(text, TOO_LONG)} is no Slack id of a channel; {WHERE_IDS_ARE}")
    return text


def _name(text: str) -> str:
    """Read the name of an AWS profile, or of a secret."""
    if len(text) > 200 or not text.isprintable():
        raise ValueError("longer than 200 characters, or not printable")
    return text


def _tag(text: str) -> str:
    """IAM's rule: IAM User Guide, "Tags for IAM resources"."""
    if not re.fullmatch(r"[\w .:/=+@-]{1,128}", text):
        raise ValueError("not a tag's key: 1 to 128 letters, digits, spaces and _ . : / = + - @")
    return text


def _region(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,40}", text):
        raise ValueError("not a region's name; write it like eu-central-1")
    return text


def _project(text: str) -> str:
    if not is_issue_key(f"{text}-1"):
        raise ValueError("not a project's key: letters, digits and _ after a first letter, as in SEC")
    return text


TEXTS: Mapping[str, Callable[[str], str]] = {
    "slack": _slack,
    "name": _name,
    "line": _line,
    "tag": _tag,
    "region": _region,
    "project": _project,
}


def oddity_of(kind: Kind, text: str) -> str | None:
    """Return what an environment file's reader has left in a value that a shell would have taken away."""
    comment = {"json": COMMENT_BEHIND_JSON, "line": COMMENT_IN_TEXT, "path": COMMENT_IN_TEXT, "name": COMMENT_IN_TEXT}
    if (text.startswith("#") and kind not in ("line", "slack")) or comment.get(kind, COMMENT).search(text):
        return "a comment stands behind the value, and is part of it here; put comments on lines of their own"
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return "the value stands in quotes, which are part of it here; leave them out"
    return None


def _table_name(text: str) -> str:
    """DynamoDB's rule: Developer Guide, "Supported data types and naming rules"."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", text):
        raise ValueError("not a table name: 3 to 255 letters, digits, _ - and .")
    return text


def _url(text: str) -> str:
    """Read an https address, or any http one on loopback, where nothing can listen in on the token.

    Nothing of a wrong one is repeated, since it may hold a password. Messages link to issues below it, so it is short
    and free of what Slack's and Jira's links are made of.
    """
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("not a web address; write it like https://example.atlassian.net") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials in a web address end up in logs; put them into credstash")
    _refuse_secret(text)
    is_plain = re.fullmatch(r"[\w.~:/%@\[\]?#&=+-]+", text, re.ASCII) is not None
    if parts.scheme not in ("http", "https") or not host or not is_plain:
        raise ValueError("not a web address; write it like https://example.atlassian.net")
    if parts.query or parts.fragment:
        raise ValueError("leave out everything from ? or # on")
    if parts.scheme != "https" and not _is_loopback(host):
        raise ValueError("must be https://, since a token is sent there; http is for loopback only")
    if len(text) > URL_CHARACTERS:
        raise ValueError(f"longer than {URL_CHARACTERS} characters")
    return text


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _no_constant(name: str) -> None:
    """Python's json takes NaN and Infinity; JSON and Jira do not."""
    raise ValueError(name)


def _issue_fields(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        where = f" (at character {error.pos + 1})" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f'not valid JSON{where}; write it like {{"priority": {{"name": "High"}}}}') from None
    if not isinstance(fields, dict):
        raise ValueError(  # noqa: TRY004 - it is a value that a person typed
            'not a JSON object; write it like {"priority": {"name": "High"}}'
        )
    try:
        json.dumps(fields, allow_nan=False)
    except ValueError:
        raise ValueError("it holds a number too large to be sent") from None
    for name in ISSUE_FIELDS_OF_OUR_OWN:
        if name in fields:
            raise ValueError(f"{name!r} is filled in by keycheck; leave it out")
    labels = fields.get("labels", [])
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError("'labels' must be a list of strings; keycheck adds its own to them")
    return fields
