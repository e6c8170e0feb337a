"""What does this scan show of an access key that its record does not know yet? Pure.

In: a record, and what the scan shows. Out: notes to be written, and the record as it reads once they are: the rules go
on with that one.
"""

from __future__ import annotations

from dataclasses import replace

from keycheck.actions import Observation, ObservationKind
from keycheck.model import DisabledRecord, Exemption, KeyRecord, LabelledKey, Void
from keycheck.rules.case import Circumstances

Seen = tuple[KeyRecord, tuple[Observation, ...]]
"""A record as it reads once these notes are written."""


def is_not_visible_yet(record: KeyRecord, run: Circumstances) -> bool:
    """Return whether an access key that is shown as active may be inactive by now, or be about to be: also one that was
    seen inactive a moment ago. Either listing may be the late one.
    """
    disabled_at = None if record.disabled is None else record.disabled.at
    taken_away = (record.disabling_at, disabled_at, record.inactive_at)
    return any(at is not None and not run.is_visible_in_iam(at) for at in taken_away)


def exempt(record: KeyRecord, key: LabelledKey, exemption: Exemption) -> tuple[Observation, ...]:
    """Answer for an exempt access key: its notice is void, and once the exemption has ended, that is said once."""
    if record.exempt_until == exemption.until and record.notice is None:
        return ()
    return (Observation(record, ObservationKind.EXEMPT, key, exemption.until, reason=exemption.reason),)


def active(record: KeyRecord, key: LabelledKey, run: Circumstances) -> Seen:
    """Answer for an active access key: was it taken back by a person? Whoever had taken it away, keycheck or not, and
    also if keycheck only began to and cannot know whether it did: somebody may have needed it.
    """
    disabled_at = record.disabled.at if record.disabled is not None and record.reenabled_at is None else None
    taken_away = (record.disabling_at, disabled_at, record.inactive_at)
    if not any(at is not None and run.is_visible_in_iam(at) for at in taken_away):
        return record, ()
    note = Observation(record, ObservationKind.REENABLED, key, why=Void.REENABLED)
    record = replace(record, times_taken_back=record.times_taken_back + 1)
    record = replace(record, disabling_at=None, inactive_at=None, reenabled_at=run.now, notice=None, voided_at=run.now)
    return record, (note,)


def void(record: KeyRecord, key: LabelledKey | None, why: Void | None, run: Circumstances) -> Seen:
    """Answer for an access key of which this run would not say what the notice on record says."""
    if why is None or record.notice is None:
        return record, ()
    note = Observation(record, ObservationKind.VOID, key, why=why)
    return replace(record, notice=None, voided_at=run.now), (note,)


def inactive_or_gone(record: KeyRecord, key: LabelledKey | None, run: Circumstances) -> Seen:
    """Answer for an access key that is inactive or gone. An intent on an access key that is inactive was carried out;
    on one that is gone (None) it is past. Who else deactivated it is not known: that it was seen so is noted.
    """
    if key is None:
        record, notes = void(record, None, Void.GONE, run)
        if record.disabling_at is None:
            return record, notes
        return record, (*notes, Observation(record, ObservationKind.DROPPED))
    if record.disabling_at is not None:
        note = Observation(record, ObservationKind.CONFIRMED, key)
        return replace(record, disabled=DisabledRecord(record.disabling_at), disabling_at=None, notice=None), (note,)
    is_by_keycheck = record.disabled is not None and record.reenabled_at is None
    if is_by_keycheck or record.inactive_at is not None:
        return record, ()
    note = Observation(record, ObservationKind.INACTIVE, key, why=Void.INACTIVE)
    return replace(record, inactive_at=run.now, notice=None), (note,)
