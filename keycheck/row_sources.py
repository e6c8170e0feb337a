"""From what a run knows to a row an access key. Pure.

In: accounts, facts, records, plans, outcomes. Out: Rows. Nothing is decided here: a row repeats what was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from keycheck.accounts import Account
from keycheck.actions import Outcomes, Plan, Step
from keycheck.model import KeyRecord, LabelledKey, State
from keycheck.owners import Named
from keycheck.rows import Row, Seen, row
from keycheck.rules.case import Facts


@dataclass(frozen=True, slots=True)
class KnownByRun:
    """What one run knows, as far as it got. `labelled`: the access keys of each account, by the profile that speaks for
    it, with their labels after the run. `newest`: a record as this run last wrote it; `named`: who owns a user.
    """

    accounts: Sequence[Account]
    labelled: Mapping[str, Sequence[LabelledKey]]
    facts: Mapping[str, Facts]
    state: State
    outcomes: Outcomes
    newest: Callable[[KeyRecord], KeyRecord]
    named: Callable[[Account, str], Named]
    plans: Mapping[str, Plan] = field(default_factory=dict)


def rows_of(known: KnownByRun, *, expiring_days: int, now: datetime, is_dry_run: bool) -> tuple[Row, ...]:
    """Return a row an access key; an account that several profiles show has them once. `now`: this instant."""
    told_now = known.outcomes.named_access_key_ids()
    rows = []
    for account in known.accounts:
        profile = account.profile
        facts = known.facts.get(profile, Facts(account.scan))
        plan = known.plans.get(profile, Plan(profile))
        undone = {_id_of(skip.key): skip for skip in known.outcomes.of(profile).skips if skip.what is Step.ACT}
        for key in known.labelled[profile]:
            access_key_id, user_name = key.access_key.access_key_id, key.access_key.user_name
            seen = Seen(
                known.newest(known.state.key(access_key_id)),
                known.named(account, user_name),
                facts.user(user_name).exemption,
                facts.last_uses.get(access_key_id),
                plan.told.get(access_key_id),
                undone.get(access_key_id),
            )
            at = now if access_key_id in told_now else None
            rows.append(row(profile, key, seen, expiring_days=expiring_days, told_now=at, is_dry_run=is_dry_run))
    return tuple(rows)


def _id_of(key: LabelledKey | KeyRecord) -> str:
    return key.access_key_id if isinstance(key, KeyRecord) else key.access_key.access_key_id
