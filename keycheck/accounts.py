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
    `scan`: the best scan, with the access keys that any of them shows, and the users that vanished from any.
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


def _account(scans: Sequence[Scan]) -> Account:
    best = scans[0]
    keys = dict.fromkeys(key for scan in scans for key in scan.keys)
    in_order = sorted(keys, key=lambda key: (key.user_name, key.create_date, key.access_key_id))
    vanished = frozenset(name for scan in scans for name in scan.vanished)
    return Account(tuple(scan.profile for scan in scans), replace(best, keys=tuple(in_order), vanished=vanished))


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
