"""IAM's credential report -> one row a user: which access keys it shows, since when, and whether active. Pure.

In: the text of GetCredentialReport's content. Out: rows by user name. It never says which access key a row means: the
report has no ids, its slots are in no order of age, and it knows two access keys a user at most (services.md 1.5).

A user whose row cannot be read, or is there twice, has no row: then IAM is asked. Nothing is guessed.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from keycheck.model import FIRST_CREATION

USER, USER_CREATED, MORE = "user", "user_creation_time", "additional_credentials_info"
SLOTS = (
    ("access_key_1_active", "access_key_1_last_rotated"),
    ("access_key_2_active", "access_key_2_last_rotated"),
)
NEEDED = (USER, USER_CREATED, *SLOTS[0], *SLOTS[1])
ROOT = "<root_account>"
ABSENT = "N/A"
FLAGS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class KeyInReport:
    """What the report says of one access key. `created_at` is its `last_rotated`, in whole seconds: measured, it is
    the creation, and changing the status does not move it.
    """

    is_active: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class UserInReport:
    """One user's row. `has_more`: the report says that there are credentials beyond its columns."""

    created_at: datetime
    keys: tuple[KeyInReport, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Report:
    """The report as AWS gave it. `made_at`: when AWS made it; what happened since is not in it."""

    text: str
    made_at: datetime


class NotAReport(ValueError):
    """The text is not a credential report; its message says what is missing."""


def read_report(text: str) -> Mapping[str, UserInReport]:
    """Return the rows that can be read, by user name. Raises NotAReport where the columns are not a report's.

    Columns are found by their names: the guide has one more than live reports had. The root user is left out.
    """
    lines = csv.reader(text.splitlines())
    try:
        names = next(lines, [])
        missing = [name for name in NEEDED if names.count(name) != 1]
        if missing:
            raise NotAReport(f"the credential report has no column {missing[0]}")
        return _rows(names, [line for line in lines if len(line) == len(names)])
    except csv.Error:
        raise NotAReport("the credential report is not CSV") from None


def _rows(names: Sequence[str], lines: Sequence[Sequence[str]]) -> Mapping[str, UserInReport]:
    rows: dict[str, UserInReport | None] = {}
    for line in lines:
        values = dict(zip(names, line, strict=True))
        user_name = values[USER]
        rows[user_name] = None if user_name in rows else _row(values)
    return {user_name: row for user_name, row in rows.items() if row is not None and user_name != ROOT}


def _row(values: Mapping[str, str]) -> UserInReport | None:
    """Read one row; None if any of what is needed of it cannot have been meant."""
    created_at = _instant(values[USER_CREATED])
    keys: list[KeyInReport] = []
    for active, rotated in SLOTS:
        is_active = FLAGS.get(values[active].lower())
        if is_active is None:
            return None
        if values[rotated] == ABSENT and not is_active:
            continue
        key_created_at = _instant(values[rotated])
        if key_created_at is None:
            return None
        keys.append(KeyInReport(is_active, key_created_at))
    has_more = values.get(MORE, ABSENT).strip() not in ("", ABSENT)
    return None if created_at is None else UserInReport(created_at, tuple(keys), has_more)


def _instant(text: str) -> datetime | None:
    """`2026-09-11T13:14:53Z`, or with `+00:00`, as aware UTC; None for anything else."""
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None or instant.astimezone(UTC) < FIRST_CREATION:
            return None
    except (ValueError, OverflowError):
        return None
    return instant.astimezone(UTC)
