"""Each write of keycheck.rules.writes made at once on a table, for tests that ask what a write does to an item.

The table is a StateTable on whatever engine, or the sandbox's table in memory; claims lapse
`MARGIN` after its run's deadline.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from keycheck.model import AccessKey, Addressee, AddresseeRecord, KeyRecord, Lookup, Notice, Void
from keycheck.rules import other_writes, writes
from keycheck.rules.writes import Given
from keycheck.services.state_items import addressee_record, key_record
from keycheck.services.state_table import StateTable

MARGIN: Final = timedelta(seconds=600)


def lapses(table: StateTable) -> datetime:
    return table._clock.deadline + MARGIN


def claim_issue(table: StateTable, access_key: AccessKey, token: str, expected_issue: str | None) -> KeyRecord:
    write = writes.claim_issue(access_key, token, expected_issue, now=table._clock.now, lapses=lapses(table))
    return key_record(access_key.access_key_id, table.apply(write))


def begin_filing(table: StateTable, record: KeyRecord, token: str, at: datetime) -> None:
    table.apply(writes.begin_filing(record, token, at))


def record_issue(
    table: StateTable,
    access_key_id: str,
    token: str,
    issue_key: str,
    answered: Sequence[datetime] = (),
    *,
    said: Iterable[str] = (),
    given: Given | None = None,
) -> None:
    table.apply(writes.record_issue(access_key_id, token, issue_key, answered, said=said, given=given))


def record_said(
    table: StateTable,
    record: KeyRecord,
    token: str,
    said: str,
    *,
    ended_at: datetime | None = None,
    given: Given | None = None,
) -> None:
    table.apply(writes.record_said(record, token, [said], ended_at=ended_at, given=given, at=table._clock.now))


def record_assigned(table: StateTable, record: KeyRecord, email: str, given: Given | None = None) -> None:
    table.apply(writes.record_assigned(record, email, given))


def release_issue(table: StateTable, record: KeyRecord, token: str) -> None:
    table.apply(writes.release_issue(record, token))


def claim_message(table: StateTable, addressee: Addressee, token: str, interval_hours: int) -> AddresseeRecord:
    now = table._clock.now
    write = writes.claim_message(addressee, token, interval_hours, now=now, lapses=lapses(table))
    return addressee_record(table.apply(write))


def record_message(table: StateTable, addressee: Addressee, token: str, at: datetime) -> None:
    table.apply(writes.record_message(addressee, token, at))


def release_message(
    table: StateTable, addressee: Addressee, token: str, server_errors: int, not_before: datetime | None
) -> None:
    table.apply(writes.release_message(addressee, token, server_errors, not_before, not_before))


def record_told(
    table: StateTable,
    access_key: AccessKey,
    at: datetime,
    given: Given | None = None,
    *,
    ends_exemption: bool = False,
) -> None:
    table.apply(writes.record_told(access_key, at, given, ends_exemption=ends_exemption))


def begin_disabling(
    table: StateTable, access_key: AccessKey, token: str, at: datetime, settled: datetime, notice: Notice | None = None
) -> None:
    table.apply(writes.begin_disabling(access_key, token, at, settled, notice))


def drop_disabling(table: StateTable, access_key_id: str, begun_at: datetime) -> None:
    table.apply(writes.drop_disabling(access_key_id, begun_at))


def record_disabled(table: StateTable, access_key_id: str, at: datetime, run: str, why: str) -> None:
    table.apply(writes.record_disabled(access_key_id, at, run, why))


def record_reenabled(table: StateTable, record: KeyRecord, at: datetime) -> None:
    table.apply(writes.record_reenabled(record, at))


def record_exempt(table: StateTable, access_key: AccessKey, until: date, at: datetime) -> None:
    table.apply(writes.record_exempt(access_key, until, at))


def record_lookup(table: StateTable, email: str, lookup: Lookup) -> None:
    table.apply(other_writes.record_lookup(email, lookup))


def record_inactive(table: StateTable, record: KeyRecord, at: datetime) -> None:
    table.apply(writes.record_inactive(record, at))


def keep_notice(table: StateTable, record: KeyRecord, at: datetime) -> None:
    assert record.notice is not None
    table.apply(writes.keep_notice(record, record.notice, at))


def void_notice(table: StateTable, record: KeyRecord) -> None:
    """Since it stays active."""
    table.apply(writes.void_notice(record, Void.STAYS_ACTIVE, table._clock.now))
