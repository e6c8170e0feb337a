"""Writes down what a scan has shown of an access key: one write to the state table. Shell."""

from __future__ import annotations

from keycheck.acting.ledger import Task
from keycheck.acting.means import Means
from keycheck.actions import Observation, ObservationKind, Result
from keycheck.rules import writes
from keycheck.rules.changes import Write


def note(means: Means, task: Task, action: Observation) -> None:
    write = write_of(means, action)
    if means.ledger.write_or_skip(task, lambda: True if write is None else means.claims.apply(write)) is not None:
        means.ledger.done(task, Result.DONE)


def write_of(means: Means, action: Observation) -> Write | None:
    record, now = action.record, means.clock.now
    match action.kind:
        case ObservationKind.CONFIRMED if record.disabling_at is not None:
            why = "found inactive after its disabling was begun"
            return writes.record_disabled(record.access_key_id, record.disabling_at, means.run_id, why)
        case ObservationKind.DROPPED if record.disabling_at is not None:
            return writes.drop_disabling(record.access_key_id, record.disabling_at)
        case ObservationKind.REENABLED:
            return writes.record_reenabled(record, now)
        case ObservationKind.INACTIVE:
            return writes.record_inactive(record, now)
        case ObservationKind.EXEMPT if action.key is not None and action.until is not None:
            return writes.record_exempt(action.key.access_key, action.until, now, action.reason)
        case ObservationKind.KEPT if record.notice is not None:
            return writes.keep_notice(record, record.notice, now)
        case ObservationKind.VOID if action.why is not None:
            return writes.void_notice(record, action.why, now)
    return None
