"""--history: what happened to access keys, as the state table keeps it. Shell.

In: records, which accounts and users, since when. Out: what happened, oldest first, as a table, JSON or CSV.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from keycheck.model import KeyRecord
from keycheck.row_formats import Fields, as_csv, as_json, instant
from keycheck.rules import events


@dataclass(frozen=True, slots=True)
class Happened:
    """One thing that happened to one access key. `what`: in a few words, for people."""

    at: datetime
    account_id: str
    user_name: str
    last_five: str
    what: str


FIELDS: Fields[Happened] = {
    "at": lambda one: instant(one.at),
    "account_id": lambda one: one.account_id,
    "user_name": lambda one: one.user_name,
    "access_key": lambda one: one.last_five,
    "what": lambda one: one.what,
}
NAMES: Mapping[str, str] = {"at": "when", "account_id": "account", "user_name": "user name", "access_key": "access key"}


def happened(
    records: Iterable[KeyRecord], *, account_ids: Collection[str], user: str, since: datetime | None
) -> list[Happened]:
    """Return all that is on record, oldest first. `account_ids`: of which accounts; empty: of all. `user`: a pattern,
    in any case.
    """
    found = [
        Happened(one.at, record.account_id, record.user_name, record.access_key_id[-5:], one.what)
        for record in records
        if (not account_ids or record.account_id in account_ids)
        and fnmatchcase(record.user_name.casefold(), user.casefold())
        for one in events.read(record.events)
        if since is None or one.at >= since
    ]
    return sorted(found, key=lambda one: (one.at, one.account_id, one.user_name, one.last_five, one.what))


def lines_of(found: Sequence[Happened], form: str, width: int | None, *, has_colours: bool) -> list[str]:
    """Return them as JSON, CSV or a table."""
    if form == "json":
        return as_json(found, FIELDS)
    if form == "csv":
        return as_csv(found, FIELDS)
    from keycheck.row_table import as_plain_table

    cells = [[str(value(one) or "") for value in FIELDS.values()] for one in found]
    names = [NAMES.get(name, name) for name in FIELDS]
    return [*as_plain_table(names, cells, width, has_colours=has_colours), f"{len(found)} on record"]
