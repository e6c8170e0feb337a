"""Of which users of one account IAM is asked in this run, and in which order. Pure.

In: users, page by page; what was listed before; IAM's credential report, or that there is none. Out: one user after the
other to be asked for, and those of whom the cached listing stands. It calls nothing, and its caller sees to threads.

If the time does not last for all, those that may need attention come before the others, and a quarter of the calls is
kept for the others; of each kind whoever was not asked for longest comes first. So a user is asked for after enough
runs, however many there are.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Protocol

from keycheck.credential_report import UserInReport
from keycheck.listing import CachedListing, ListedUser, WhyListed
from keycheck.model import AccessKey
from keycheck.rules.telling import last_turn

OTHERS_EVERY = 4
"""Of so many calls one is for a user who needs no attention, as far as is known."""


class Why(Protocol):
    """listing.why_listed with one pair of ages."""

    def __call__(
        self,
        user: ListedUser,
        row: UserInReport | None,
        cached: CachedListing | None,
        now: datetime,
        *,
        every: timedelta = ...,
    ) -> WhyListed | None: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """What runs keep of one account, by user id. `tried`: when IAM last gave no answer about a user: that was a turn
    too, so that users who are refused each time do not keep the others out. `ran_at`: when the last run was.
    """

    listings: Mapping[str, CachedListing] = field(default_factory=dict)
    tried: Mapping[str, datetime] = field(default_factory=dict)
    ran_at: datetime | None = None


_Entry = tuple[datetime, int, ListedUser, WhyListed]
"""When a user was asked for last, and why they are; of two alike whoever came in first."""


class Agenda:
    """One account's, in one run. Users wait until it is known whether there is a report: `use_report`, `ask_for_all`.

    Nobody waits where nothing was listed before: most of them are asked for then, whatever it says.
    """

    def __init__(self, why: Why, now: datetime) -> None:
        self.covered: dict[str, CachedListing | None] = {}
        """By user name: whoever is not asked for. None: without access keys, as the report says."""
        self.asked_for = Counter[WhyListed]()
        self._why = why
        self._now = now
        self.remember(Kept())
        self._report: Mapping[str, UserInReport] | None = None
        self._seen: dict[str, ListedUser] = {}
        self._waiting: list[ListedUser] = []
        self._urgent: list[_Entry] = []
        self._others: list[_Entry] = []
        self._order = count()
        self._listed: dict[str, CachedListing] = {}
        self._tried: dict[str, datetime] = {}

    def remember(self, kept: Kept) -> None:
        """Go by what earlier runs have kept from now on. Who came in before is asked for."""
        self._kept = kept
        self._every = timedelta(0) if kept.ran_at is None else max(timedelta(0), self._now - kept.ran_at)

    # Who is to be asked for

    def add(self, users: Iterable[ListedUser]) -> int:
        """Take users in; returns how many of them can be asked for at once."""
        ready = self._count_ready()
        for user in users:
            self._seen[user.user_id] = user
            self._sort_in(user)
        return self._count_ready() - ready

    def use_report(self, report: Mapping[str, UserInReport]) -> int:
        """Go by this report from now on, also for those who were not taken yet; returns how many can be asked for."""
        self._report = report
        users = [*self._waiting, *(entry[2] for entry in (*self._urgent, *self._others))]
        self._waiting, self._urgent, self._others = [], [], []
        for user in users:
            self._sort_in(user)
        return self._count_ready()

    def ask_for_all(self) -> int:
        """Go on without a report, as with one that knows nobody; returns how many can be asked for by now."""
        return self.use_report({})

    def _count_ready(self) -> int:
        return len(self._urgent) + len(self._others)

    def _sort_in(self, user: ListedUser) -> None:
        known = self._kept.listings.get(user.user_id)
        if self._report is not None:
            row = self._report.get(user.user_name)
            why = self._why(user, row, known, self._now, every=self._every)
        else:
            why = None if self._kept.listings else WhyListed.FIRST
        if why is not None:
            last = last_turn(None if known is None else known.listed_at, self._kept.tried.get(user.user_id))
            entries = self._urgent if why is WhyListed.ATTENTION else self._others
            heapq.heappush(entries, (last, next(self._order), user, why))
        elif self._report is not None:
            self.covered[user.user_name] = known
        else:
            self._waiting.append(user)

    @property
    def is_open(self) -> bool:
        """Whether anybody is still to be asked for, or waits for the report."""
        return bool(self._waiting or self._count_ready())

    def take(self) -> ListedUser | None:
        """Return the next user to be asked for; None if there is none by now."""
        if not self._count_ready():
            return None
        is_others_turn = (self.asked_for.total() + 1) % OTHERS_EVERY == 0
        entries = self._others if (is_others_turn and self._others) or not self._urgent else self._urgent
        _, _, user, why = heapq.heappop(entries)
        self.asked_for[why] += 1
        return user

    def uncover(self, user_names: Iterable[str]) -> Sequence[ListedUser]:
        """Return those of these users whose cached listing stands: it does not any more, they are to be asked for."""
        names = {name for name in user_names if name in self.covered}
        for name in names:
            del self.covered[name]
        return [user for user in self._seen.values() if user.user_name in names]

    # What came of it

    def note_keys(self, user: ListedUser, keys: Sequence[AccessKey]) -> None:
        if user.user_id:
            self._listed[user.user_id] = CachedListing(user, tuple(keys), self._now)

    def note_no_answer(self, user: ListedUser) -> None:
        if user.user_id:
            self._tried[user.user_id] = self._now

    def to_keep(self, *, are_all_seen: bool) -> Kept:
        """Return what the next run is to know. Who is not there any more is dropped, once ListUsers came to its end."""
        listings = {**self._kept.listings, **self._listed}
        tried = {**self._kept.tried, **self._tried}
        tried = {user_id: at for user_id, at in tried.items() if user_id not in self._listed}
        if are_all_seen:
            listings = {user_id: one for user_id, one in listings.items() if user_id in self._seen}
            tried = {user_id: at for user_id, at in tried.items() if user_id in self._seen}
        return Kept(listings, tried, self._now)
