"""Of which users of an account one scan asks IAM, from its first page of users to what the next run is to know. Shell.

In: users, page by page; a way to fetch IAM's credential report; the cache. Out: user after user to be asked for, to any
thread; who need not be; what there is to say. What it decides is agenda.py's; it calls no service itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future

from keycheck.agenda import Agenda, Why
from keycheck.clock import RunClock, Stopped
from keycheck.credential_report import UserInReport
from keycheck.listing import CachedListing, ListedUser, WhyListed
from keycheck.model import AccessKey, Level, Problem
from keycheck.services.listing_cache import ListingCache
from keycheck.words.parts import unexpected

ALWAYS_ASKED_FOR = 200
"""So few users of an account are all asked for in each run: nothing in it is late, and it costs little."""

WAITING_SHARE = 1 / 2
"""Of the time that the scan has left: so long a report that hangs can keep users waiting."""

Found = Mapping[str, UserInReport] | str
"""What the report says, or why there is none."""


class AccountListing:
    """One scan's. Each method that takes users in, or learns of the report, returns how many users more can be taken.

    `fetch`: begins to fetch the report, and does not wait for it.
    """

    def __init__(self, clock: RunClock, cache: ListingCache, why: Why) -> None:
        self._clock = clock
        self._cache = cache
        self._lock = threading.Lock()
        self._agenda = Agenda(why, clock.now)
        self._count = 0
        self._is_large = False
        self._report: Future[Found] | None = None
        self._why_no_report = ""
        self._why_not_kept: str | None = None

    # Users come in

    def add(self, users: Sequence[ListedUser], fetch: Callable[[], Future[Found]]) -> int:
        """Take a page of users in. Those of short pages are asked for until the account is known to be a large one."""
        self._count += len(users)
        if not self._is_large and self._count > ALWAYS_ASKED_FOR:
            self._is_large = True
            with self._lock:
                self._agenda.remember(self._cache.load(users[0].account_id))
            self._report = fetch()
        with self._lock:
            ready = self._agenda.add(users)
        return ready + (self.decide() if self._report is not None and self._report.done() else 0)

    def decide(self) -> int:
        """Go by the report, or without one, once it is known which, or half of the scan's time is over."""
        report, self._report = self._report, None
        if report is None:
            return 0
        try:
            found = report.result(timeout=self._clock.scan_seconds() * WAITING_SHARE)
        except Stopped:
            return 0
        except TimeoutError:
            found = "IAM did not answer in time"
        except Exception as error:  # noqa: BLE001 - an odd report must not cost the scan
            found = unexpected(error)
        with self._lock:
            if isinstance(found, str):
                self._why_no_report = found
                return self._agenda.ask_for_all()
            return self._agenda.use_report(found)

    # Users are asked for

    def is_open(self) -> bool:
        """Return whether anybody is still to be asked for, or waits for the report."""
        with self._lock:
            return self._agenda.is_open

    def take(self) -> ListedUser | None:
        """Return whoever comes first by now; None if there is nobody by now."""
        with self._lock:
            return self._agenda.take()

    def uncover(self, user_names: Collection[str]) -> Sequence[ListedUser]:
        """Return those of these users of whom the cached listing stood; they are to be asked for."""
        with self._lock:
            return self._agenda.uncover(user_names)

    def covered(self) -> Mapping[str, CachedListing | None]:
        """Return the users who are not asked for, by name, as known now; None of those without access keys."""
        with self._lock:
            return dict(self._agenda.covered)

    def count_covered(self) -> int:
        return len(self._agenda.covered)

    def note_keys(self, user: ListedUser, keys: Sequence[AccessKey]) -> None:
        with self._lock:
            self._agenda.note_keys(user, keys)

    def note_no_answer(self, user: ListedUser) -> None:
        with self._lock:
            self._agenda.note_no_answer(user)

    # What the next run is to know

    def keep(self, account_id: str, *, are_all_seen: bool) -> None:
        """Keep what was learned of a large account. `are_all_seen`: ListUsers came to its end."""
        if self._is_large:
            with self._lock:
                kept = self._agenda.to_keep(are_all_seen=are_all_seen)
            self._why_not_kept = self._cache.save(account_id, kept)

    def problems(self, profile: str) -> list[Problem]:
        """Return whom it cost a call, and why; and what costs speed, and nothing else."""
        with self._lock:
            asked_for = {why: count for why in WhyListed if (count := self._agenda.asked_for[why])}
        texts = []
        if self._why_no_report:
            texts.append(f"every user is asked for, since there is no credential report: {self._why_no_report}")
        elif self._is_large and asked_for:
            reasons = "; ".join(f"{count} {why.value}" for why, count in asked_for.items())
            asked = sum(asked_for.values())
            texts.append(f"{asked} of {asked + self.count_covered()} users were asked for: {reasons}")
        if self._why_not_kept is not None:
            texts.append(f"what was listed is not kept, so the next run is slower: {self._why_not_kept}")
        return [Problem(Level.INFO, profile, text) for text in texts]
