"""From what a run knows to a row an access key. Pure.

In: accounts, facts, records, plans, outcomes. Out: Rows. Nothing is decided here: a row repeats what was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from keycheck.accounts import Account
from keycheck.actions import Outcomes, Plan, Step, access_key_ids
from keycheck.explain import Known, explain
from keycheck.model import KeyRecord, LabelledKey, OpenIssues, State
from keycheck.owners import Named
from keycheck.rows import Row, Seen, row
from keycheck.rules.case import A_DAY, Facts
from keycheck.settings import Settings


@dataclass(frozen=True, slots=True)
class KnownByRun:
    """What one run knows, as far as it got. `labelled`: the access keys of each account, by the profile that speaks for
    it, with their labels after the run. `newest`: a record as this run last wrote it; `named`: who owns a user.
    """

    accounts: Sequence[Account]
    labelled: Mapping[str, Sequence[LabelledKey]]
    facts: Mapping[str, Facts]
    state: State | None
    outcomes: Outcomes
    newest: Callable[[KeyRecord], KeyRecord]
    named: Callable[[Account, str], Named]
    plans: Mapping[str, Plan] = field(default_factory=dict)
    open_issues: OpenIssues | None = None


def rows_of(known: KnownByRun, *, expiring_days: int, now: datetime, is_dry_run: bool) -> dict[str, Row]:
    """Return a row an access key, by its id; an account that several profiles show has them once."""
    told_now = known.outcomes.named_access_key_ids()
    rows = {}
    for account in known.accounts:
        profile = account.profile
        facts = known.facts.get(profile, Facts(account.scan))
        plan = known.plans.get(profile, Plan(profile))
        undone = {_id_of(skip.key): skip for skip in known.outcomes.of(profile).skips if skip.what is Step.ACT}
        for key in known.labelled[profile]:
            access_key_id, user_name = key.access_key.access_key_id, key.access_key.user_name
            seen = Seen(
                known.newest((known.state or State()).key(access_key_id)),
                known.named(account, user_name),
                facts.user(user_name).exemption,
                facts.last_uses.get(access_key_id),
                plan.told.get(access_key_id),
                undone.get(access_key_id),
            )
            at = now if access_key_id in told_now else None
            found = row(profile, key, seen, expiring_days=expiring_days, told_now=at, is_dry_run=is_dry_run)
            rows[access_key_id] = found
    return rows


def explained(
    known: KnownByRun,
    rows: Mapping[str, Row],
    settings: Settings,
    now: datetime,
    is_explained: Callable[[LabelledKey], bool],
) -> list[str]:
    """Return all that is known of some access keys, as lines."""
    lines: list[str] = []
    for account in known.accounts:
        plan = known.plans.get(account.profile, Plan(account.profile))
        facts = known.facts.get(account.profile, Facts(account.scan))
        for key in known.labelled[account.profile]:
            access_key_id, user_name = key.access_key.access_key_id, key.access_key.user_name
            if not is_explained(key):
                continue
            state = known.state or State()
            record = known.newest(state.key(access_key_id))
            times = state.disablings.get(key.access_key.account_id, ())
            is_open = None if known.open_issues is None else bool(known.open_issues.get(record.issue_label))
            one = Known(
                key,
                rows[access_key_id],
                None if known.state is None else record,
                facts.users.get(user_name),
                plan.told.get(access_key_id),
                [one for chain in plan.chains for one in chain.actions if access_key_id in access_key_ids(one)],
                [skip for skip in known.outcomes.of(account.profile).skips if _id_of(skip.key) == access_key_id],
                sum(now - at < A_DAY for at in times),
                is_open,
            )
            lines += explain(one, settings, now)
    return lines


def _id_of(key: LabelledKey | KeyRecord) -> str:
    return key.access_key_id if isinstance(key, KeyRecord) else key.access_key.access_key_id
