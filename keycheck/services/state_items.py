"""What an item of the state table is: DynamoDB's notation, plain values, and the records that they make.

In: items as DynamoDB sends them. Out: KeyRecord, AddresseeRecord, Lookup, times; or ServiceError, naming no access key
in full, if an item holds what keycheck did not write. Attributes that nothing here knows are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from keycheck.model import (
    AccountRecord,
    AddresseeRecord,
    DisabledRecord,
    IssueRecord,
    KeyRecord,
    Lookup,
    Notice,
)
from keycheck.rules.changes import Value
from keycheck.services import ServiceError
from keycheck.values import is_issue_key

SERVICE = "dynamodb"
HASH_KEY = "iam_access_key_id"

WireItem = Mapping[str, Any]
"""As DynamoDB writes it: `{"told_at": {"N": "1750000000"}}`."""
Item = Mapping[str, Value | None]
"""The same as plain values; None if it is of a kind that keycheck does not write."""


def to_wire(value: Value) -> dict[str, Any]:
    match value:
        case str():
            return {"S": value}
        case int():
            return {"N": str(value)}
        case tuple():
            return {"L": [{"N": str(one)} for one in value]}
        case frozenset():
            return {"SS": sorted(value)}


def from_wire(item: WireItem) -> Item:
    return {name: _plain(value) for name, value in item.items()}


def _plain(value: Any) -> Value | None:
    try:
        match value:
            case {"S": str(text)}:
                return text
            case {"N": str(number)}:
                return int(number)
            case {"L": list(numbers)}:
                return tuple(int(one["N"]) for one in numbers)
            case {"SS": list(texts)} if all(isinstance(one, str) for one in texts):
                return frozenset(texts)
    except (ValueError, KeyError, TypeError):
        return None
    return None


def key_record(access_key_id: str, item: Item) -> KeyRecord:
    with _reading(access_key_id):
        exempt_until = _instant(item, "exempt_until")
        return KeyRecord(
            access_key_id,
            account_id=_text(item, "account_id") or "",
            user_name=_text(item, "user_name") or "",
            told_at=_instant(item, "told_at"),
            issue=_issue(item),
            notice=_notice(item),
            disable_from=_instant(item, "disable_from"),
            disabling_at=_instant(item, "disabling_at"),
            disabled=_disabled(item),
            inactive_at=_instant(item, "inactive_at"),
            reenabled_at=_instant(item, "reenabled_at"),
            voided_at=_instant(item, "notice_void_at"),
            events=_texts(item, "events"),
            voided_why=_text(item, "notice_void_why") or "",
            times_taken_back=_number(item, "times_taken_back") if "times_taken_back" in item else 0,
            exempt_until=None if exempt_until is None else exempt_until.date(),
            issue_filings=_instants(item, "issue_filings"),
            answered_filings=_instants(item, "answered_filings"),
            issue_tried_at=_instant(item, "issue_tried_at"),
            issue_claim_until=_claim_until(item, "issue_claim"),
        )


def addressee_record(item: Item) -> AddresseeRecord:
    with _reading(str(item.get(HASH_KEY) or "")):
        return AddresseeRecord(
            messaged_at=_instant(item, "messaged_at"),
            not_before=_instant(item, "not_before"),
            server_errors=_number(item, "server_errors") if "server_errors" in item else 0,
            claim_until=_claim_until(item, "message_claim"),
            tried_at=_instant(item, "tried_at"),
        )


def lookup(item: Item) -> Lookup:
    with _reading("email"):
        slack_id, kinds = _text(item, "slack_id"), "UW" if str(item.get(HASH_KEY)).startswith("email:") else "UWCGD"
        if slack_id is not None and re.fullmatch(f"[{kinds}][A-Z0-9]{{2,}}", slack_id) is None:
            raise ValueError("not a Slack id of that kind")
        why = _text(item, "why_gone") or ""
        looked_up_at, tried_at = _instant(item, "looked_up_at"), _instant(item, "tried_at")
        if looked_up_at is None and tried_at is None:
            raise ValueError("without a time")
        return Lookup(slack_id, looked_up_at, why, tried_at)


def disablings(item: Item) -> tuple[tuple[datetime, ...], str | None]:
    """Return the times, and the token of the write that left them so: None if there was none."""
    with _reading("disablings"):
        if "disabled_times" not in item:
            raise ValueError("no times")
        return _instants(item, "disabled_times"), _text(item, "times_token")


def standing(item: Item) -> frozenset[str]:
    """Return which access keys of an account are read in every run."""
    with _reading("standing"):
        return _texts(item, "access_key_ids")


def all_listed(item: Item) -> datetime | None:
    with _reading("standing"):
        return _instant(item, "all_listed_at")


def account_record(item: Item) -> AccountRecord:
    with _reading("account"):
        return AccountRecord(_instant(item, "first_seen_at"), _text(item, "tags_read_to") or "")


def _text(item: Item, name: str) -> str | None:
    if name not in item:
        return None
    value = item[name]
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _texts(item: Item, name: str) -> frozenset[str]:
    value = item.get(name, frozenset())
    if not isinstance(value, frozenset):
        raise TypeError("not a set of texts")
    return value


def _number(item: Item, name: str) -> int:
    value = item[name]
    if not isinstance(value, int):
        raise TypeError("not a whole number")
    return value


def _instant(item: Item, name: str) -> datetime | None:
    return datetime.fromtimestamp(_number(item, name), UTC) if name in item else None


def _instants(item: Item, name: str) -> tuple[datetime, ...]:
    value = item.get(name, ())
    if not isinstance(value, tuple):
        raise TypeError("not a list of numbers")
    return tuple(datetime.fromtimestamp(one, UTC) for one in value)


def _issue(item: Item) -> IssueRecord | None:
    """Read the issue on record: it is asked about, and commented on, by its key, so it must be one."""
    comments_made, assigned_to = _texts(item, "issue_said"), _text(item, "issue_assigned_to")
    key, site, ended_at = _text(item, "issue_key"), _text(item, "issue_site"), _instant(item, "issue_ended_at")
    if key is None:
        return None
    if not is_issue_key(key):
        raise ValueError("not an issue key")
    return IssueRecord(key, comments_made, assigned_to, ended_at, site)


def _notice(item: Item) -> Notice | None:
    """Read the notice on record. A part of one is none, so one that an earlier version gave, which noted no keeping,
    costs a new notice.
    """
    given_at, owner, kept_at = (
        _instant(item, "warned_at"),
        _text(item, "warned_owner"),
        _instant(item, "notice_kept_at"),
    )
    return None if given_at is None or owner is None or kept_at is None else Notice(owner, given_at, kept_at)


def _disabled(item: Item) -> DisabledRecord | None:
    at, by = _instant(item, "disabled_at"), _text(item, "disabled_by")
    return None if at is None else DisabledRecord(at, by)


def _claim_until(item: Item, claim: str) -> datetime | None:
    """Return when a claim lapses. One that never would holds its access key for ever, so that is no record of ours."""
    if claim not in item and f"{claim}_until" not in item:
        return None
    return datetime.fromtimestamp(_number(item, f"{claim}_until"), UTC)


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn a record that nobody of ours wrote into an error that names no access key in full."""
    try:
        yield
    except (KeyError, ValueError, TypeError, OverflowError, OSError) as error:
        text = f"the item that ends in {str(name)[-5:]} holds something that keycheck did not write"
        raise ServiceError(SERVICE, "read", text) from error
