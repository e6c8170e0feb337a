"""IAM -> access keys, for several profiles at once. Shell.

In: profiles, a way to open each one's IAM, the run's clock. Out: one Scan a profile: every user, every access key, and
what is missing. It never takes a part for the whole: whatever could not be read makes the scan incomplete, and nothing
is inferred about a user whose access keys could not be listed.

A few profiles are scanned at once, each with a bounded pool over one client; IAM's rate limit is the account's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from functools import partial

from keycheck.clock import RunClock, Stopped
from keycheck.model import AccessKey, Level, Problem, Scan
from keycheck.services import Iam, ServiceError
from keycheck.words.parts import list_cut
from keycheck.workers import LIMIT, Workers, call_all

PROFILES_AT_ONCE = 4
USERS_AT_ONCE = 16

CUT_BY = {"SIGTERM": "SIGTERM (is Telegraf's timeout above run_timeout_seconds?)"}
"""The signal of which somebody may not know where it came from."""


class Scanner:
    """The scan of one run: `run` in a thread of its own, `scans` at any time from another."""

    def __init__(self, profiles: Sequence[str], open_iam: Callable[[str], Iam], clock: RunClock) -> None:
        self._clock = clock
        self._open_iam = open_iam
        self._profiles = {profile: _ProfileScan(profile, clock) for profile in profiles}

    def run(self) -> None:
        """Scan every profile; returns when all are done, or when the scan's share of the time is over."""
        scans = [partial(scan.run, self._open_iam) for scan in self._profiles.values()]
        call_all(scans, PROFILES_AT_ONCE, "scan", self._must_end)

    def _must_end(self) -> bool:
        """At its share of the time at once, since acting comes next; after a signal, once the grace is over too."""
        return self._clock.grace_seconds() <= 0 if self._clock.was_signalled else self._clock.scan_is_over()

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

    def __init__(self, profile: str, clock: RunClock) -> None:
        self.profile = profile
        self.iam: Iam | None = None
        self._clock = clock
        self._lock = threading.Lock()
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
        try:
            self._clock.check_scan()
            self.iam = open_iam(self.profile)
            for users in self._pages(self.iam):
                if not futures:  # not before the first answer: dead credentials cost one call
                    futures.append(pool.submit(self._read_root, self.iam))
                futures += [pool.submit(self._read_user, self.iam, *user) for user in users]
            self._is_listed = True
            self._read_account_id(self.iam)
        except Stopped:
            pass
        except ServiceError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours in one profile must not cost the others
            self._fail(ServiceError("keycheck", "scan", f"unexpected {type(error).__name__}; please report it"))
        wait(futures)
        self._is_short_of_threads = pool.is_short
        pool.shutdown(wait=False)

    def progress(self) -> tuple[int, int]:
        """Return how many users were read, or could not be, by now, and how many were found."""
        with self._lock:
            return self._read + sum(map(len, self._unread.values())), len(self._user_names)

    def _pages(self, iam: Iam) -> Iterator[Sequence[tuple[str, str]]]:
        """(user name, account id) of each user, page by page."""
        marker: str | None = None
        while True:
            users, marker = iam.list_users(marker)
            yield self._new(users)
            if marker is None:
                return
            self._clock.check_scan()

    def _new(self, users: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
        """Return the users not seen on an earlier page: pages shift when users come and go meanwhile."""
        with self._lock:
            new = [user for user in dict.fromkeys(users) if user[0] not in self._user_names]
            self._user_names |= dict.fromkeys(user_name for user_name, _ in new)
            self._account_id = self._account_id or next((account_id for _, account_id in new), "")
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
            text = f"unexpected {type(error).__name__}; please report it"
            self._root_failure = ServiceError("iam", "GetAccountSummary", text)

    def _read_user(self, iam: Iam, user_name: str, account_id: str) -> None:
        if self._failure is not None and self._failure.holds_for_run:
            return
        try:
            self._clock.check_scan()
            keys = iam.list_access_keys(user_name, account_id)
        except Stopped:
            return
        except ServiceError as error:
            if error.holds_for_run:
                self._fail(error)
                return
            with self._lock:
                self._unread.setdefault(error.text, []).append(user_name)
            return
        except Exception as error:  # noqa: BLE001 - one user's odd answer must not cost the others
            with self._lock:
                self._unread.setdefault(f"unexpected {type(error).__name__}; please report it", []).append(user_name)
            return
        with self._lock:
            self._read += 1
            if keys is None:
                self._vanished.add(user_name)
            else:
                self._keys += keys

    def _fail(self, error: ServiceError) -> None:
        """Note what ends the listing of users, or every further call if it holds for the run."""
        with self._lock:
            self._failure = error if self._failure is None or error.holds_for_run else self._failure

    def snapshot(self) -> Scan:
        """Return the scan as known now; keys in the order they are printed: by user name, then age, then id."""
        with self._lock:
            problems = self._problems()
            unread = sum(len(names) for names in self._unread.values())
            if not self._user_names and not self._is_listed:
                was_scanned = False
            else:
                was_scanned = not self._user_names or self._read > 0 or self._clock.scan_is_over()
            return Scan(
                self.profile,
                keys=tuple(sorted(set(self._keys), key=_print_order)) if was_scanned else (),
                user_count=len(self._user_names) - len(self._vanished),
                is_complete=self._is_listed and self._read == len(self._user_names),
                was_scanned=was_scanned,
                problems=tuple(problems),
                is_listed=self._is_listed,
                users_read=self._read,
                users_failed=unread,
                root_access_keys=self._root_access_keys,
                account_id=self._account_id,
                vanished=frozenset(self._vanished),
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
        missing = len(self._user_names) - self._read - sum(len(names) for names in self._unread.values())
        if self._failure is None and self._clock.scan_is_over() and (missing or not self._is_listed):
            how_many = f"{missing} of {len(self._user_names)} users" if self._is_listed else "some users"
            stop = self._clock.what_ended_it
            by = "its time (60 % of run_timeout_seconds)" if stop is None else CUT_BY.get(stop, stop)
            text = f"the scan was cut off by {by}: {how_many} not read"
            problems.append(Problem(Level.WARNING, self.profile, text))
        return problems


def _print_order(key: AccessKey) -> tuple[object, ...]:
    return (key.user_name, key.create_date, key.access_key_id)
