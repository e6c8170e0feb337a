"""What the actions of a run have to act with. Shell.

In: services, settings, the run's clock, its books. Out: nothing of its own: each action takes what it needs from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from keycheck.acting.ledger import Ledger
from keycheck.actions import Promise
from keycheck.clock import RunClock
from keycheck.model import KeyRecord
from keycheck.rules.changes import Write
from keycheck.rules.writes import Given
from keycheck.services import Claims, Iam, Issues, Messages
from keycheck.services.state_items import key_record
from keycheck.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """What the actions of a run may use; None if it is off, and was said to be.

    `iams`: access key id -> the IAM of each profile that shows it, in the order the profiles were given.
    """

    claims: Claims
    issues: Issues | None
    messages: Messages | None
    iams: Mapping[str, Sequence[Iam]]


@dataclass(frozen=True, slots=True)
class Means:
    """`run_id`: which run is recorded as having disabled an access key."""

    services: Services
    settings: Settings
    clock: RunClock
    ledger: Ledger
    run_id: str

    @property
    def claims(self) -> Claims:
        return self.services.claims

    @property
    def claims_lapse(self) -> datetime:
        """Past its deadline a run no longer acts; the margin is what Jira's search takes to show what it made."""
        return self.clock.deadline + timedelta(seconds=self.settings.claim_margin_seconds)

    def given(self, record: KeyRecord, promise: Promise | None) -> Given | None:
        """Return a promise as delivered now."""
        return None if promise is None else Given(self.ledger.newest(record), promise, self.clock.utc_now())

    def write(self, write: Write) -> KeyRecord | None:
        """Write to the item of an access key; its record as it is then, None if nothing had to be written."""
        item = self.claims.apply(write)
        return key_record(write.item, item) if item else None
