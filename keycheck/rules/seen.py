"""What does this scan show of an access key that its record does not know yet? Pure.

In: a record, and what the scan shows. Out: notes to be written, and the record as it reads once they are: the rules go
on with that one.
"""

from __future__ import annotations

from dataclasses import replace

from keycheck.actions import Observation, ObservationKind
from keycheck.model import DisabledRecord, Exemption, KeyRecord, LabelledKey
from keycheck.rules.case import Circumstances


def is_not_visible_yet(record: KeyRecord, run: Circumstances) -> bool:
    """Return whether an access key that is shown as active may be inactive by now, or be about to be."""
    disabled_at = None if record.disabled is None else record.disabled.at
    return any(at is not None and not run.is_visible_in_iam(at) for at in (record.disabling_at, disabled_at))


def exempt(record: KeyRecord, key: LabelledKey, exemption: Exemption) -> tuple[Observation, ...]:
    """Warnings from before an exemption do not count after it; that it has ended is said once."""
    if record.exempt_until == exemption.until and record.warning is None:
        return ()
    return (Observation(record, ObservationKind.EXEMPT, key, exemption.until),)


def active(record: KeyRecord, key: LabelledKey, run: Circumstances) -> tuple[KeyRecord, tuple[Observation, ...]]:
    """Answer for an active access key with an intent that came to nothing, or one that a person has re-enabled."""
    notes = []
    if record.disabling_at is not None and run.is_visible_in_iam(record.disabling_at):
        notes.append(Observation(record, ObservationKind.DROPPED, key))
        record = replace(record, disabling_at=None)
    disabled = record.disabled
    if disabled is not None and disabled.reenabled_at is None and run.is_visible_in_iam(disabled.at):
        notes.append(Observation(record, ObservationKind.REENABLED, key))
        record = replace(record, disabled=replace(disabled, reenabled_at=run.now))
    return record, tuple(notes)


def inactive_or_gone(record: KeyRecord, key: LabelledKey | None) -> tuple[KeyRecord, tuple[Observation, ...]]:
    """Answer for an access key that is inactive or gone. An intent on an access key that is inactive was carried out;
    on one that is gone (None) it is past.
    """
    if record.disabling_at is None:
        return record, ()
    if key is None:
        return record, (Observation(record, ObservationKind.DROPPED),)
    confirmed = replace(record, disabled=DisabledRecord(record.disabling_at), disabling_at=None)
    return confirmed, (Observation(record, ObservationKind.CONFIRMED, key),)
