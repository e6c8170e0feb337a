"""Rows as JSON and as CSV: docs/output.md has every field, and a test compares the two. Pure.

In: Rows. Out: lines of text, without newlines. A field that is not known is null in JSON and empty in CSV; fields are
only ever added, at the end.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import TypeVar

from keycheck.rows import Row

Value = str | int | bool | None
T = TypeVar("T")
Fields = Mapping[str, Callable[[T], Value]]
"""Each field by name, in order."""


def instant(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _day(day: date | None) -> str | None:
    return None if day is None else f"{day:%Y-%m-%d}"


FIELDS: Fields[Row] = {
    "profile": lambda row: row.profile,
    "account_id": lambda row: row.account_id or None,
    "user_name": lambda row: row.user_name,
    "access_key": lambda row: row.last_five,
    "label": lambda row: row.label.value,
    "age_days": lambda row: row.age_days,
    "created_at": lambda row: instant(row.created_at),
    "expires_at": lambda row: instant(row.expires_at),
    "owner": lambda row: row.owner.who or None,
    "owner_from": lambda row: row.owner.source or None,
    "issue": lambda row: row.issue or None,
    "told_at": lambda row: instant(row.told_at),
    "disabled_from": lambda row: _day(row.disabled_from),
    "exempt_until": lambda row: None if row.exemption is None else _day(row.exemption.until),
    "exempt_because": lambda row: None if row.exemption is None else row.exemption.reason,
    "last_used_at": lambda row: None if row.last_use is None else instant(row.last_use.at),
    "last_used_by": lambda row: None if row.last_use is None or row.last_use.at is None else row.last_use.service,
    "last_used_in": lambda row: None if row.last_use is None or row.last_use.at is None else row.last_use.region,
    "was_used": lambda row: None if row.last_use is None else row.last_use.at is not None,
    "next": lambda row: row.next_step,
    "next_on": lambda row: _day(row.next_on),
}
"""What is known of an access key."""


def as_json(rows: Sequence[T], fields: Fields[T]) -> list[str]:
    """Return one array of objects, an object a line."""
    objects = [json.dumps({name: value(row) for name, value in fields.items()}, ensure_ascii=False) for row in rows]
    return ["[", *(f"  {one}{',' if number < len(objects) else ''}" for number, one in enumerate(objects, 1)), "]"]


def as_csv(rows: Sequence[T], fields: Fields[T]) -> list[str]:
    """Return a header and a line a row, as RFC 4180 has them but for the newline."""
    lines = [_csv(list(fields))]
    lines += [_csv([_cell(value(row)) for value in fields.values()]) for row in rows]
    return lines


def _csv(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def _cell(value: Value) -> str:
    """Return a cell; a text that a spreadsheet would take for a formula gets the apostrophe that keeps it a text."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
