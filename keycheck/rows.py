"""What is known of each access key, as one row a person, or a program, reads. Pure.

In: labelled access keys, what was found out about their users, records, outlooks, skips. Out: Rows, which
row_formats.py and row_table.py write. A row never holds an access key id in full, and says of the future what messages
say: it is the same Outlook, in the same words.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from keycheck.actions import NextStep, Outlook, Skip, Step
from keycheck.model import AgeLabel, Exemption, KeyRecord, LabelledKey, LastUse
from keycheck.owners import Named
from keycheck.words.lines import SAID
from keycheck.words.parts import day_of, what_happens_in_short


@dataclass(frozen=True, slots=True)
class Row:
    """One access key. Instants are aware UTC; `disabled_from` and `next_on` are days in UTC.

    `issue`, `told_at`, `disabled_from`: as on record, this run's actions included. `last_use`: None if it was not
    asked about, or could not be read. `next_step`: what comes next, in a few words; `next_on`: on which day, if any.
    """

    profile: str
    account_id: str
    user_name: str
    last_five: str
    label: AgeLabel
    age_days: int
    created_at: datetime
    expires_at: datetime
    owner: Named = field(default_factory=Named)
    issue: str = ""
    told_at: datetime | None = None
    disabled_from: date | None = None
    exemption: Exemption | None = None
    last_use: LastUse | None = None
    next_step: str = ""
    next_on: date | None = None


class Order(enum.Enum):
    """What rows are sorted by; the value is the word of `--sort`."""

    AGE = "age"
    USER = "user"
    LABEL = "label"
    OWNER = "owner"
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows are shown, and in what order. `user`: a pattern as in a shell, in any case, as IAM compares names."""

    labels: frozenset[AgeLabel] = frozenset(AgeLabel)
    user: str = "*"
    order: Order = Order.AGE


def chosen(rows: Iterable[Row], choice: Choice) -> list[Row]:
    """Return the rows of a choice, in its order; the oldest first where it leaves that open."""
    pattern = choice.user.casefold()
    found = [row for row in rows if row.label in choice.labels and fnmatchcase(row.user_name.casefold(), pattern)]
    found.sort(key=lambda row: (row.created_at, row.user_name.casefold(), row.last_five))
    return sorted(found, key=_KEYS[choice.order])


_LABELS = (AgeLabel.EXPIRED, AgeLabel.EXPIRING, AgeLabel.OK, AgeLabel.DISABLED)
"""The most urgent first."""
_KEYS: Mapping[Order, Callable[[Row], Any]] = {
    Order.AGE: lambda _: 0,
    Order.USER: lambda row: row.user_name.casefold(),
    Order.LABEL: lambda row: _LABELS.index(row.label),
    Order.OWNER: lambda row: (row.owner.who == "", row.owner.who),
    Order.NEXT: lambda row: row.next_on or date.max,
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What one run knows of an access key beside its label. `outlook` None: nothing was planned about it; `skip`: why
    nothing at all is done.
    """

    record: KeyRecord
    owner: Named = field(default_factory=Named)
    exemption: Exemption | None = None
    last_use: LastUse | None = None
    outlook: Outlook | None = None
    skip: Skip | None = None


def row(
    profile: str, key: LabelledKey, seen: Seen, *, expiring_days: int, told_now: datetime | None, is_dry_run: bool
) -> Row:
    """Return the row of one access key. `told_now`: this instant, if a message of this run named it."""
    access_key, record = key.access_key, seen.record
    what, when = _next(key, seen, expiring_days, is_dry_run=is_dry_run)
    outlook_day = seen.outlook.day if seen.outlook is not None and seen.outlook.next_step.has_day else None
    day = outlook_day or (record.disable_from if key.needs_attention else None)
    return Row(
        profile,
        access_key.account_id,
        access_key.user_name,
        access_key.last_five,
        key.label,
        key.age_days,
        access_key.create_date,
        key.expires_at,
        seen.owner,
        record.issue_key or "",
        told_now or record.told_at,
        None if day is None else day.date(),
        seen.exemption,
        seen.last_use,
        what,
        when,
    )


def _next(key: LabelledKey, seen: Seen, expiring_days: int, *, is_dry_run: bool) -> tuple[str, date | None]:
    """Return what comes next, and on which day."""
    if key.label is AgeLabel.OK:
        day = key.expires_at - timedelta(days=expiring_days)
        return f"expiring from {day_of(day)} on", day.date()
    if key.label is AgeLabel.DISABLED:
        disabled = seen.record.disabled
        by_keycheck = disabled is not None and seen.record.reenabled_at is None
        return (f"disabled by keycheck on {day_of(disabled.at)}" if by_keycheck and disabled else "inactive"), None
    if seen.exemption is not None:
        return f"exempt until {seen.exemption.until:%Y-%m-%d}", seen.exemption.until
    if seen.outlook is not None and seen.outlook.next_step is NextStep.DISABLED_NOW:
        return ("disabled by the next run" if is_dry_run else "was to be disabled by this run, and is not"), None
    if seen.outlook is not None:
        day_told = seen.outlook.day if seen.outlook.next_step.has_day else None
        return what_happens_in_short(seen.outlook), None if day_told is None else day_told.date()
    if seen.skip is not None and seen.skip.what is Step.ACT:
        return f"nothing in this run: {SAID[seen.skip.reason].why}", None
    if key.label is AgeLabel.EXPIRING:
        return f"expired from {day_of(key.expires_at)} on", key.expires_at.date()
    return "stays active", None


def summary(rows: Sequence[Row]) -> str:
    """Return the line below a table."""
    labels = Counter(row.label for row in rows)
    users = len({(row.account_id, row.user_name) for row in rows})
    parts = ", ".join(f"{labels[label]} {label.value}" for label in _LABELS if labels[label])
    exempt = sum(row.exemption is not None for row in rows)
    of_users = f"{len(rows)} access key{'' if len(rows) == 1 else 's'} of {users} user{'' if users == 1 else 's'}"
    return f"{of_users}{': ' if parts else ''}{parts}{f'; {exempt} exempt' if exempt else ''}"
