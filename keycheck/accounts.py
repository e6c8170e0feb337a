"""Scans of several profiles -> the accounts that they show. Pure.

In: one Scan a profile. Out: one Account for each account, whatever profiles show it and in whatever order they were
given: what is known of it by one of them is known. A profile whose scan does not say which account it is stands alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from keycheck.model import Scan


@dataclass(frozen=True, slots=True)
class Account:
    """One account. `profiles`: all that show it, the one with the best scan first: what is done is done in its name.
    `scan`: the best scan, with the access keys that any of them shows, and the users that vanished from any. Who was
    asked for by any of them counts as asked for.
    """

    profiles: tuple[str, ...]
    scan: Scan

    @property
    def profile(self) -> str:
        return self.profiles[0]


def accounts_of(scans: Sequence[Scan]) -> tuple[Account, ...]:
    """Return the accounts, in the order in which they are first shown."""
    shown: dict[str, list[Scan]] = defaultdict(list)
    for scan in scans:
        shown[scan.account_id or f"profile {scan.profile}"].append(scan)
    return tuple(_account(sorted(of_one, key=_best_first)) for of_one in shown.values())


def seen_again(accounts: Sequence[Account], scans: Sequence[Scan]) -> tuple[Account, ...]:
    """Return the same accounts, in the name of the same profiles, with what their scans show by now."""
    by_profile = {scan.profile: scan for scan in scans}
    return tuple(_account([by_profile[profile] for profile in account.profiles]) for account in accounts)


def _account(scans: Sequence[Scan]) -> Account:
    best = scans[0]
    whole = [scan for scan in scans if scan.is_complete and scan.was_scanned] or [best]
    cached = frozenset.intersection(*(scan.cached for scan in whole))
    asked_for = [key for scan in scans for key in scan.keys if key.user_name not in scan.cached]
    others = [key for scan in scans for key in scan.keys if key.user_name in cached]
    keys = {key.access_key_id: key for key in reversed((*asked_for, *others))}.values()
    in_order = sorted(keys, key=lambda key: (key.user_name, key.create_date, key.access_key_id))
    vanished = frozenset(name for scan in scans for name in scan.vanished)
    profiles = tuple(scan.profile for scan in scans)
    return Account(profiles, replace(best, keys=tuple(in_order), vanished=vanished, cached=cached))


def _best_first(scan: Scan) -> tuple[object, ...]:
    """Return what puts a complete scan before one that is not, and of two alike the first by name: no order of
    arguments decides.
    """
    return (
        not scan.was_scanned,
        not scan.is_complete,
        not scan.is_listed,
        scan.users_failed,
        -scan.users_read,
        scan.profile,
    )
