"""The accounts of one run; and the asking for users for whom something would end because of a cached listing. Shell.

In: the scanner, facts, what is known. Out: scans, accounts, and the labelled access keys that may be planned about.
Once the scan is over, accounts keep the profiles that speak for them, and nothing is seen that was not asked for: facts
and plans rest on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import datetime

from keycheck.accounts import Account, accounts_of, seen_again
from keycheck.model import LabelledKey, Scan
from keycheck.planning import users_to_confirm
from keycheck.rules.case import Facts, SharedFacts
from keycheck.scan import Scanner
from keycheck.services import Iam
from keycheck.settings import Settings

Labelled = Mapping[str, Sequence[LabelledKey]]
"""By the profile that speaks for an account."""


class Confirming:
    """One run's. `label`: labels all access keys of a scan."""

    def __init__(
        self, scanner: Scanner, label: Callable[[Scan], Sequence[LabelledKey]], settings: Settings, now: datetime
    ) -> None:
        self._scanner = scanner
        self._label = label
        self._settings = settings
        self._now = now
        self._accounts: tuple[Account, ...] = ()
        self._scans: tuple[Scan, ...] | None = None

    @property
    def is_settled(self) -> bool:
        """Whether the scan is over."""
        return self._scans is not None

    def scans(self) -> tuple[Scan, ...]:
        """Return what the scan found; while it lasts, what it has found by now."""
        return self._scanner.scans() if self._scans is None else self._scans

    def accounts(self, scans: Sequence[Scan] | None = None) -> Sequence[Account]:
        """Return the accounts; while the scan lasts, those that these scans show."""
        return self._accounts if self.is_settled or scans is None else accounts_of(scans)

    def iams_by_access_key(self) -> dict[str, list[Iam]]:
        """Return each profile's that shows its account: one may be allowed what another is not."""
        return {
            key.access_key_id: iams
            for account in self._accounts
            if (iams := self._scanner.iams(account.profiles))
            for key in account.scan.keys
        }

    def settle(self) -> None:
        """Keep the accounts as they are: the scan is over."""
        scans = self.scans()
        self._accounts = accounts_of(scans)
        self._scans = scans

    def ask(self, account: Account, user_names: Set[str]) -> None:
        """Ask for these users of an account, if they were not asked for in this run."""
        if user_names & account.scan.cached:
            self._scanner.confirm(account.profile, user_names)
            scans = self._scanner.scans()
            self._scans, self._accounts = scans, seen_again(self._accounts, scans)

    def confirmed(
        self, labelled: Labelled, facts: Mapping[str, Facts], known: SharedFacts
    ) -> tuple[Labelled, Mapping[str, Facts]]:
        """Ask for the users because of whose cached listings something would end; return what is known then.

        Whoever turns out to have another access key that needs attention is left to the next run: whose it is was not
        found out in this one.
        """
        before = self.accounts()
        for account in before:
            name = account.profile
            self.ask(account, users_to_confirm(name, labelled[name], facts[name], known, self._settings, self._now))
        if self.accounts() is before:
            return labelled, facts
        planned = {}
        scans = {account.profile: account.scan for account in self.accounts()}
        for name, scan in scans.items():
            keys = self._label(scan)
            found_out = set(_needing_attention(labelled[name]))
            new = {key.access_key.user_name for key in set(_needing_attention(keys)) - found_out}
            planned[name] = [key for key in keys if key.access_key.user_name not in new]
        return planned, {name: one.of_scan(scans[name]) for name, one in facts.items()}


def _needing_attention(keys: Iterable[LabelledKey]) -> list[LabelledKey]:
    return [key for key in keys if key.needs_attention]
