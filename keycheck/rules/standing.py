"""Which access keys of an account are read of the state table in every run, due or not? Pure.

In: records, now. Out: which of them still stand: an issue that is not ended, a notice, an intent, or anything that a
person may undo soon. A run must read those, also of access keys that it does not list any more, to end what it began.
The table holds their ids, an item an account, so that no run has to look through all that was ever written.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from keycheck.model import KeyRecord, State

COMES_BACK_WITHIN = timedelta(days=30)
"""An issue that a person re-opens within so long of its end is seen, and ends again; and so is an access key that was
made inactive within so long of having been told of, or taken back: should it come back, it is left alone.
"""


def stands(record: KeyRecord, now: datetime) -> bool:
    """Return whether a run has to know this record, whatever its scan shows. services/state_table.py says the same to
    DynamoDB, where it looks through an account.
    """
    since = now - COMES_BACK_WITHIN
    issue = record.issue
    has_issue = issue is not None and (issue.ended_at is None or issue.ended_at >= since)
    is_recent = any(at is not None and at >= since for at in (record.told_at, record.reenabled_at))
    return has_issue or is_recent or record.notice is not None or record.disabling_at is not None


def done(listed: Collection[str], due: Collection[str], state: State, now: datetime) -> frozenset[str]:
    """Return which of the listed access keys no run has to read any more. One that comes back is listed again as soon
    as it is due.
    """
    return frozenset(
        one for one in listed if one not in due and one not in state.unreadable and not stands(state.key(one), now)
    )
