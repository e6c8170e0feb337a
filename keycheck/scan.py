"""IAM -> access keys, for several profiles at once. Shell.

In: profiles, a way to open each one's IAM, the run's clock, what earlier runs have kept. Out: one Scan a profile: every
user, every access key, and what is missing; and what the next run is to know. It never takes a part for the whole:
whatever could not be read makes the scan incomplete, and nothing is inferred about a user whose access keys could not
be listed.

Of a large account only those users are asked for whose access keys may have changed, or may need attention
(listing.py). A few profiles are scanned at once, each with a bounded pool over one client; IAM's rate limit is the
account's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, wait
from functools import partial

from keycheck.account_listing import AccountListing
from keycheck.agenda import Why
from keycheck.clock import RunClock, Stopped
from keycheck.fresh_report import fetch
from keycheck.listing import ListedUser, why_listed
from keycheck.model import AccessKey, Level, Problem, Scan
from keycheck.services import Iam, ServiceError
from keycheck.services.aws_iam import CONCURRENT_CALLS
from keycheck.services.listing_cache import ListingCache
from keycheck.settings import Settings
from keycheck.words.parts import list_cut, unexpected
from keycheck.workers import LIMIT, Gate, Workers, call_all

PROFILES_AT_ONCE = 4
USERS_AT_ONCE = CONCURRENT_CALLS
FIRST_AT_ONCE, FIRST_CALLS = 16, 48
"""So many at once as long as it is not known whether AWS lets more through."""

CUT_BY = {"SIGTERM": "SIGTERM (is Telegraf's timeout above run_timeout_seconds?)"}
"""The signal of which somebody may not know where it came from."""


class Scanner:
    """The scan of one run: `run` in a thread of its own, `scans` at any time from another."""

    def __init__(
        self,
        profiles: Sequence[str],
        open_iam: Callable[[str], Iam],
        clock: RunClock,
        settings: Settings,
        *,
        keeps: bool = True,
    ) -> None:
        self._clock = clock
        self._open_iam = open_iam
        self._keeps = keeps
        self._is_kept = False
        cache = ListingCache(settings.cache_dir)
        why = partial(why_listed, expire_age=settings.expire_age, expiring_days=settings.expiring_days)
        self._profiles = {profile: _ProfileScan(profile, clock, cache, why) for profile in profiles}

    def run(self) -> None:
        """Scan every profile; returns when all are done, or when the scan's share of the time is over."""
        scans = [partial(scan.run, self._open_iam) for scan in self._profiles.values()]
        call_all(scans, PROFILES_AT_ONCE, "scan", self._must_end)
        self._keep()

    def _must_end(self) -> bool:
        """At its share of the time at once, since acting comes next; after a signal, once the grace is over too."""
        if not self._clock.was_signalled:
            return self._clock.scan_is_over()
        self._keep()  # the process may be gone before what hangs has ended
        return self._clock.grace_seconds() <= 0

    def _keep(self) -> None:
        """Keep what the scan has learned for the next run: once."""
        if self._keeps and not self._is_kept:
            self._is_kept = True
            for scan in self._profiles.values():
                scan.keep()

    def confirm(self, profile: str, user_names: Collection[str]) -> None:
        """Ask for these users, if they were not asked for yet, and keep what they have."""
        self._profiles[profile].confirm(user_names)
        if self._keeps:
            self._profiles[profile].keep()

    def scans(self) -> tuple[Scan, ...]:
        """Return what is known by now, in the order the profiles were given."""
        return tuple(scan.snapshot() for scan in self._profiles.values())

    def progress(self) -> tuple[int, int]:
        """Return how many users were read by now, and how many were found."""
        counts = [scan.progress() for scan in self._profiles.values()]
        return sum(read for read, _ in counts), sum(found for _, found in counts)

    def iam(self, profile: str) -> Iam | None:
        return self._profiles[profile].iam

    def iams(self, profiles: Sequence[str]) -> list[Iam]:
        """Return those of these profiles that could be opened."""
        return [iam for profile in profiles if (iam := self.iam(profile)) is not None]


class _ProfileScan:
    """One profile's scan: filled by its worker threads, read by `snapshot` at any time."""

    def __init__(self, profile: str, clock: RunClock, cache: ListingCache, why: Why) -> None:
        self.profile = profile
        self.iam: Iam | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._gate = Gate(
            FIRST_AT_ONCE, USERS_AT_ONCE, narrow_for=FIRST_CALLS, may_widen=lambda: not self._is_held_back()
        )
        self._listing = AccountListing(clock, cache, why)
        self._user_names: dict[str, None] = {}
        self._keys: list[AccessKey] = []
        self._unread: dict[str, list[str]] = {}
        self._failure: ServiceError | None = None
        self._vanished: set[str] = set()
        self._is_short_of_threads = False
        self._read = 0
        self._is_listed = False
        self._account_id = ""
        self._account_failure: ServiceError | None = None
        self._root_access_keys: int | None = None
        self._root_failure: ServiceError | None = None

    def run(self, open_iam: Callable[[str], Iam]) -> None:
        """List the users page by page, and each page's users' access keys while the next page is on its way."""
        pool = Workers(USERS_AT_ONCE, thread_name_prefix=f"users of {self.profile}")
        futures: list[Future[None]] = []

        def ask(iam: Iam, how_many: int) -> None:
            futures.extend(pool.submit(self._read_next, iam) for _ in range(how_many))

        try:
            self._clock.check_scan()
            self.iam = iam = open_iam(self.profile)
            for users in self._pages(iam):
                if not futures:  # not before the first answer: dead credentials cost one call
                    futures.append(pool.submit(self._read_root, iam))
                begin = partial(pool.submit, fetch, iam, self._clock, self._is_report_wanted)
                ask(iam, self._listing.add(users, begin))
            self._is_listed = True
            self._read_account_id(iam)
        except Stopped:
            pass
        except ServiceError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours in one profile must not cost the others
            self._fail(_fault(error))
        if self.iam is not None:
            ask(self.iam, self._listing.decide())
        wait(futures)
        for fault in [found for future in futures if (found := future.exception()) is not None][:1]:
            self._fail(_fault(fault))
        self._is_short_of_threads = pool.is_short
        pool.shutdown(wait=False)

    def _is_held_back(self) -> bool:
        return self.iam is not None and self.iam.is_held_back()

    def _is_report_wanted(self) -> bool:
        return not self._is_listed or self._listing.is_open()

    def keep(self) -> None:
        """Keep what was learned for the next run."""
        if self._account_id:
            self._listing.keep(self._account_id, are_all_seen=self._is_listed)

    def confirm(self, user_names: Collection[str]) -> None:
        """Ask for those of these users of whom the cached listing stood, also after the scan's share of the time."""
        users = self._listing.uncover(user_names)
        if self.iam is not None and users:
            read = partial(self._read_user, self.iam, is_after_scan=True)
            call_all([partial(read, user) for user in users], USERS_AT_ONCE, "confirm", self._clock.is_over)

    def progress(self) -> tuple[int, int]:
        """Return how many users were read, or could not be, by now, and how many were found."""
        with self._lock:
            return self._known() + sum(map(len, self._unread.values())), len(self._user_names)

    def _known(self) -> int:
        """Return of how many users the access keys are known."""
        return self._read + self._listing.count_covered()

    def _pages(self, iam: Iam) -> Iterator[Sequence[ListedUser]]:
        """Yield the users, page by page."""
        marker: str | None = None
        while True:
            users, marker = iam.list_users(marker)
            yield self._new(users)
            if marker is None:
                return
            self._clock.check_scan()

    def _new(self, users: Sequence[ListedUser]) -> Sequence[ListedUser]:
        """Return the users not seen on an earlier page: pages shift when users come and go meanwhile."""
        with self._lock:
            new = [
                user
                for user in {user.user_name: user for user in users}.values()
                if user.user_name not in self._user_names
            ]
            self._user_names |= dict.fromkeys(user.user_name for user in new)
            self._account_id = self._account_id or next((user.account_id for user in new), "")
        return new

    def _read_account_id(self, iam: Iam) -> None:
        """Ask which account this is if no user's ARN says so: the issues of its last users are still to be closed."""
        if not self._account_id:
            try:
                self._account_id = iam.account_id()
            except ServiceError as error:
                self._account_failure = error

    def _read_root(self, iam: Iam) -> None:
        """Read whether the root user has access keys: worth knowing, and never a reason to end a scan."""
        try:
            self._clock.check_scan()
            self._root_access_keys = iam.root_access_keys()
        except Stopped:
            return
        except ServiceError as error:
            self._root_failure = error
        except Exception as error:  # noqa: BLE001 - an odd answer here must not cost the scan
            self._root_failure = ServiceError("iam", "GetAccountSummary", unexpected(error))

    def _read_next(self, iam: Iam) -> None:
        """Ask for whoever comes first by now."""
        with self._gate:
            user = self._listing.take()
            if user is not None:
                self._read_user(iam, user)

    def _read_user(self, iam: Iam, user: ListedUser, *, is_after_scan: bool = False) -> None:
        if self._failure is not None and self._failure.holds_for_run:
            return
        try:
            if not is_after_scan:
                self._clock.check_scan()
            keys = iam.list_access_keys(user.user_name, user.account_id, is_after_scan=is_after_scan)
        except Stopped:
            return
        except ServiceError as error:
            if error.holds_for_run:
                self._fail(error)
            else:
                self._not_read(user, error.text)
            return
        except Exception as error:  # noqa: BLE001 - one user's odd answer must not cost the others
            self._not_read(user, unexpected(error))
            return
        with self._lock:
            self._read += 1
            if keys is None:
                self._vanished.add(user.user_name)
            else:
                self._keys += keys
                self._listing.note_keys(user, keys)

    def _not_read(self, user: ListedUser, text: str) -> None:
        with self._lock:
            self._unread.setdefault(text, []).append(user.user_name)
            self._listing.note_no_answer(user)

    def _fail(self, error: ServiceError) -> None:
        """Note what ends the listing of users, or every further call if it holds for the run."""
        with self._lock:
            self._failure = error if self._failure is None or error.holds_for_run else self._failure

    def snapshot(self) -> Scan:
        """Return the scan as known now; keys in the order they are printed: by user name, then age, then id."""
        with self._lock:
            problems = self._problems()
            unread = sum(len(names) for names in self._unread.values())
            covered = self._listing.covered()
            known = self._read + len(covered)
            keys = {*self._keys, *(key for one in covered.values() if one is not None for key in one.keys)}
            if not self._user_names and not self._is_listed:
                was_scanned = False
            else:
                was_scanned = not self._user_names or known > 0 or self._clock.scan_is_over()
            return Scan(
                self.profile,
                keys=tuple(sorted(keys, key=_print_order)) if was_scanned else (),
                user_count=len(self._user_names) - len(self._vanished),
                is_complete=self._is_listed and known == len(self._user_names),
                was_scanned=was_scanned,
                problems=tuple(problems),
                is_listed=self._is_listed,
                users_read=known,
                users_failed=unread,
                root_access_keys=self._root_access_keys,
                account_id=self._account_id,
                vanished=frozenset(self._vanished),
                cached=frozenset(covered),
            )

    def _about_root(self) -> list[Problem]:
        if self._root_access_keys:
            text = f"the root user has {self._root_access_keys} access keys; delete them: root must have none"
        elif self._root_failure is not None and self._is_listed and self._failure is None:
            text = f"whether the root user has access keys is not known: {self._root_failure.text}"
        else:
            return []
        return [Problem(Level.WARNING, self.profile, text)]

    def _problems(self) -> list[Problem]:
        problems = self._about_root()
        if self._is_short_of_threads:
            text = f"the scan went on with fewer threads than it wanted: {LIMIT}"
            problems.append(Problem(Level.WARNING, self.profile, text))
        problems += self._listing.problems(self.profile)
        if self._account_failure is not None:
            text = f"which account this is, is not known, so no issue in it is closed: {self._account_failure.text}"
            problems.append(Problem(Level.INFO, self.profile, text))
        if self._failure is not None:
            part = "" if self._is_listed or not self._user_names else "; the list of users is not complete"
            problems.append(Problem(Level.ERROR, self.profile, f"{self._failure.text}{part}"))
        for text, names in sorted(self._unread.items()):
            what = f"the access keys of {len(names)} of {len(self._user_names)} users were not read"
            problems.append(
                Problem(Level.ERROR, self.profile, f"{what}: {text}: {list_cut(sorted(names))}", count=len(names))
            )
        missing = len(self._user_names) - self._known() - sum(len(names) for names in self._unread.values())
        if self._failure is None and self._clock.scan_is_over() and (missing or not self._is_listed):
            how_many = f"{missing} of {len(self._user_names)} users" if self._is_listed else "some users"
            stop = self._clock.what_ended_it
            by = "its time (60 % of run_timeout_seconds)" if stop is None else CUT_BY.get(stop, stop)
            text = f"the scan was cut off by {by}: {how_many} not read"
            problems.append(Problem(Level.WARNING, self.profile, text))
        return problems


def _fault(error: BaseException) -> ServiceError:
    return ServiceError("keycheck", "scan", unexpected(error))


def _print_order(key: AccessKey) -> tuple[object, ...]:
    return (key.user_name, key.create_date, key.access_key_id)
