"""Who is asked for in an account of more than 200 users, what stands in for the others, and what the next run knows.

In process: the scanner, its cache in a real folder, and accounts whose time passes as the test says.
"""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from keycheck.account_listing import ALWAYS_ASKED_FOR
from keycheck.credential_report import NEEDED, KeyInReport, Report, UserInReport
from keycheck.listing import ListedUser
from keycheck.model import AccessKey, Level, Scan
from keycheck.scan import Scanner
from keycheck.services import Iam, ServiceError
from keycheck.services.listing_cache import ListingCache
from sandbox.in_memory import HourlyClock, MemoryIam
from tests.builders import ACCOUNT, DAY, HOUR, MINUTE, NOW, PROFILE, SECOND, make_settings
from tests.impatience import wait_until
from tests.test_listing import EXPIRE_AGE as SHORT_EXPIRE_AGE
from tests.test_listing import EXPIRING_DAYS as SHORT_EXPIRING_DAYS
from tests.test_listing import STEPS, WAITS, Account, needs_attention

MANY = ALWAYS_ASKED_FOR + 50


def refused(text: str = "it said no") -> ServiceError:
    return ServiceError("iam", "its operation", text)


def text_of(rows: dict[str, UserInReport]) -> str:
    """The report as AWS writes it, of so many columns as are read."""
    lines = [",".join((*NEEDED, "additional_credentials_info"))]
    for name, row in rows.items():
        slots = [("true" if key.is_active else "false", f"{key.created_at:%Y-%m-%dT%H:%M:%SZ}") for key in row.keys]
        slots += [("false", "N/A")] * (2 - len(slots))
        more = "yes" if row.has_more else "N/A"
        lines.append(",".join((name, f"{row.created_at:%Y-%m-%dT%H:%M:%SZ}", *slots[0], *slots[1], more)))
    return "\n".join(lines)


@dataclass
class ModelIam(MemoryIam):
    """One run's IAM of an Account. `refuses`: by user name, what a call is answered with."""

    model: Account
    lags: bool = False
    report: Callable[[], Report | None] = lambda: None
    refuses: dict[str, Exception] = field(default_factory=dict)
    before_answer: Callable[[str], None] = lambda _: None
    page: int = 1000
    listed: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    after_scan: list[str] = field(default_factory=list)

    def list_users(self, marker: str | None) -> tuple[Sequence[ListedUser], str | None]:
        users = list(self.model.users.values())
        begin = int(marker or 0)
        end = begin + self.page
        return users[begin:end], str(end) if end < len(users) else None

    def list_access_keys(
        self, user_name: str, account_id: str, *, is_after_scan: bool = False
    ) -> Sequence[AccessKey] | None:
        assert account_id == ACCOUNT
        self.after_scan += [user_name] if is_after_scan else []
        self.before_answer(user_name)
        self.asked.append(user_name)
        if user_name in self.refuses:
            raise self.refuses[user_name]
        if user_name not in self.model.users:
            return None
        self.listed.append(user_name)
        return self.model.list_access_keys(self.model.users[user_name], self.lags)

    def credential_report(self) -> Report | None:
        return self.report()

    def request_credential_report(self) -> None:
        raise refused("there is none")

    def root_access_keys(self) -> int:
        return 0

    def account_id(self) -> str:
        return ACCOUNT


@dataclass
class World:
    """An account and what its runs keep."""

    folder: Path
    account: Account = field(default_factory=lambda: Account(NOW, names=MANY))
    report_at: datetime | None = None

    def fill(self, count: int = MANY, age: timedelta = 10 * DAY) -> None:
        """Everybody has one access key."""
        for number in range(count):
            self.account.make_user(name := f"user-{number:04}")
            self.add_key(name, age)

    def add_key(self, user_name: str, age: timedelta = 10 * DAY) -> AccessKey:
        key = AccessKey(f"AKIA{self.account.new_id()}", user_name, ACCOUNT, "Active", self.account.now - age)
        self.keys_of(user_name).append(key)
        return key

    def keys_of(self, user_name: str) -> list[AccessKey]:
        return self.account.keys[self.account.users[user_name].user_id]

    def iam(self, *, report: str = "", **more: Any) -> ModelIam:
        """`report`: what it is spoiled by."""

        def given() -> Report | None:
            if report == "refused":
                raise refused()
            if report == "odd":
                raise ZeroDivisionError
            rows = dict(self.account.take_report(has_more_column=False))
            assert self.account.report_at is not None
            if report == "absent":
                return None
            text = "not a report" if report == "malformed" else text_of(rows)
            return Report(text, self.account.report_at - (4 * HOUR if report == "old" else timedelta(0)))

        return ModelIam(self.account, report=given, **more)

    def scanner(self, iam: Iam, *, keeps: bool = True, clock: HourlyClock | None = None, **settings: str) -> Scanner:
        if clock is None:
            clock = HourlyClock(self.account.now)
            clock.set_timeout(60)
        made = make_settings(cache_dir=str(self.folder), **settings)
        return Scanner([PROFILE], lambda _: iam, clock, made, keeps=keeps)

    def scan(self, iam: Iam, **more: Any) -> Scan:
        scanner = self.scanner(iam, **more)
        scanner.run()
        (found,) = scanner.scans()
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.fill()
    return made


def said(scan: Scan) -> list[str]:
    return [problem.text for problem in scan.problems if problem.level is not Level.ERROR]


# Who is asked for


def test_the_second_run_asks_for_nobody_and_says_the_same(world: World) -> None:
    first, second = world.iam(), world.iam()
    cold, warm = world.scan(first), world.scan(second)
    assert (len(first.listed), len(second.listed)) == (MANY, 0)
    assert warm.keys == cold.keys
    assert len(cold.cached) == 0
    assert len(warm.cached) == MANY
    assert (warm.is_complete, warm.users_read, warm.user_count, warm.problems) == (True, MANY, MANY, ())
    (text,) = said(cold)
    assert text.startswith(f"{MANY} of {MANY} users were asked for: ")


def test_whoever_changed_is_asked_for_and_nobody_else(world: World) -> None:
    world.scan(world.iam())
    world.account.now += 5 * HOUR
    world.account.make_user("new")
    world.add_key("new", timedelta(0))
    world.add_key("user-0001", timedelta(0))
    world.keys_of("user-0002")[0] = replace(world.keys_of("user-0002")[0], status="Inactive")
    world.keys_of("user-0003").clear()
    world.account.rename("user-0004", "renamed")
    iam = world.iam()
    found = world.scan(iam)
    changed = {"new", "user-0001", "user-0002", "user-0003", "renamed"}
    assert changed <= set(iam.listed)
    assert len(iam.listed) <= len(changed) + MANY / 2, "of the others those whose turn it is within 20 hours"
    assert set(found.keys) == world.account.all_keys()
    others = len(iam.listed) - len(changed)
    reasons = f"4 other in the report than when last listed; {others} not listed for most of a day"
    reasons = f"{reasons}; 1 listed for the first time"
    assert said(found) == [f"{len(iam.listed)} of {MANY + 1} users were asked for: {reasons}"]


def test_users_without_access_keys_are_never_asked_for_once_the_report_is_there(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number in range(MANY):
        world.account.make_user(f"user-{number:04}")
    world.add_key("user-0007")
    world.scan(world.iam())
    iam = world.iam()
    found = world.scan(iam)
    assert len(iam.listed) == 0
    assert (len(found.keys), found.is_complete) == (1, True)


def test_an_access_key_that_needs_attention_is_listed_in_each_run(world: World) -> None:
    old = world.add_key("user-0005", 170 * DAY)
    for _ in range(3):
        iam = world.iam()
        found = world.scan(iam)
        assert old in found.keys
        assert "user-0005" in iam.listed
        assert "user-0005" not in found.cached


@pytest.mark.parametrize(("count", "page"), [(ALWAYS_ASKED_FOR, 1000), (ALWAYS_ASKED_FOR, 7), (3, 1)])
def test_a_small_account_is_always_asked_for_whatever_its_pages_are(tmp_path: Path, count: int, page: int) -> None:
    world = World(tmp_path)
    world.fill(count)
    for _ in range(2):
        iam = world.iam(page=page, report="refused")
        found = world.scan(iam)
        assert len(iam.listed) == count
        assert (found.is_complete, found.problems) == (True, ())
    assert list(tmp_path.iterdir()) == [], "and nothing is kept of it"


def test_a_large_account_in_small_pages_is_a_large_one(world: World) -> None:
    """Of IAM's own pages the first has up to 1,000 users. Of short ones the first 200 users are asked for."""
    world.scan(world.iam(page=90))
    iam = world.iam(page=90)
    given = iam.report

    def given_after_two_pages() -> Report | None:
        wait_until(lambda: len(iam.listed) == 180)  # else whoever was not asked for yet need not be
        return given()

    iam.report = given_after_two_pages
    found = world.scan(iam)
    assert found.is_complete
    assert (len(iam.listed), len(found.cached)) == (180, MANY - 180)


@pytest.mark.parametrize(
    ("report", "why"),
    [
        ("refused", "it said no"),
        ("absent", "there is none"),
        ("old", "there is none"),
        ("malformed", "the credential report has no column user"),
        ("odd", "unexpected ZeroDivisionError; please report it"),
    ],
)
def test_without_a_report_everybody_is_asked_for_and_that_is_said(world: World, report: str, why: str) -> None:
    world.scan(world.iam())
    iam = world.iam(report=report)
    found = world.scan(iam)
    assert sorted(iam.listed) == sorted(world.account.users)
    assert found.is_complete
    assert said(found) == [f"every user is asked for, since there is no credential report: {why}"]
    assert [problem.level for problem in found.problems] == [Level.INFO]


def test_a_report_that_hangs_keeps_nobody_waiting_for_longer_than_half_of_the_time(world: World) -> None:
    world.scan(world.iam())
    iam, answer = world.iam(), threading.Event()

    def hang() -> None:
        answer.wait(30)

    iam.report = hang
    clock = HourlyClock(world.account.now)
    clock.set_timeout(5)
    try:
        found = world.scan(iam, clock=clock)
    finally:
        answer.set()
    assert found.is_complete
    assert len(iam.listed) == MANY
    assert said(found) == ["every user is asked for, since there is no credential report: IAM did not answer in time"]


def test_a_folder_that_cannot_be_written_costs_only_speed(world: World) -> None:
    world.folder = world.folder / "file"
    world.folder.write_text("", encoding="utf-8")
    for _ in range(2):
        iam = world.iam()
        found = world.scan(iam)
        assert len(iam.listed) == MANY
        assert found.is_complete
        assert said(found)[1:] == [
            f"what was listed is not kept, so the next run is slower: {world.folder} is no folder; set cache_dir"
        ]


def test_a_dry_run_knows_what_runs_have_kept_and_keeps_nothing(world: World) -> None:
    world.scan(world.iam(), keeps=False)
    assert list(world.folder.iterdir()) == []
    world.scan(world.iam())
    iam = world.iam()
    assert world.scan(iam, keeps=False).is_complete
    assert iam.listed == []


def test_another_age_is_enough_to_ask(world: World) -> None:
    world.scan(world.iam())
    iam = world.iam()
    found = world.scan(iam, expire_age="10")
    assert len(iam.listed) == MANY
    assert found.cached == frozenset()


# Asking after the scan


def test_who_is_to_be_confirmed_is_asked_for_once(world: World) -> None:
    world.scan(world.iam())
    world.keys_of("user-0003").clear()
    iam = world.iam()
    scanner = world.scanner(iam)
    scanner.run()
    for _ in range(2):
        scanner.confirm(PROFILE, ["user-0002", "user-0003", "nobody"])
    (found,) = scanner.scans()
    assert sorted(iam.listed) == sorted(iam.after_scan) == ["user-0002", "user-0003"]
    assert "user-0003" not in {key.user_name for key in found.keys}
    assert len(found.cached) == MANY - 2
    assert (found.is_complete, found.users_read) == (True, MANY)


def test_who_cannot_be_confirmed_is_not_known(world: World) -> None:
    world.scan(world.iam())
    scanner = world.scanner(world.iam(refuses={"user-0003": refused()}))
    scanner.run()
    scanner.confirm(PROFILE, ["user-0003"])
    (found,) = scanner.scans()
    assert (found.is_complete, found.users_failed) == (False, 1)
    assert "user-0003" not in {key.user_name for key in found.keys}


# Time


def stop_after_60(iam: ModelIam, clock: HourlyClock, _: str) -> None:
    if len(iam.asked) >= 60:
        clock._on_signal(signal.SIGTERM, None)


def test_what_a_run_learned_that_was_cut_is_kept_and_enough_runs_see_everybody(world: World) -> None:
    """Each run is told to stop after 60 answers; the next ones go on with those who were not asked for."""
    runs = 0
    found = None
    while found is None or not found.is_complete:
        clock = HourlyClock(world.account.now)
        clock.set_timeout(60)

        made = world.iam()
        made.before_answer = partial(stop_after_60, made, clock)
        found = world.scan(made, clock=clock)
        world.account.now += MINUTE
        runs += 1
        assert runs <= 1 + MANY / 60, "whoever was listed is not asked for again"
    assert runs > 2
    assert set(found.keys) == world.account.all_keys()


def test_users_who_are_refused_each_time_cost_a_large_account_nothing_but_themselves(world: World) -> None:
    world.scan(world.iam(refuses={"user-0001": refused()}))
    iam = world.iam(refuses={"user-0001": refused()})
    found = world.scan(iam)
    assert iam.asked == ["user-0001"]
    assert (found.users_read, found.users_failed, found.is_complete) == (MANY - 1, 1, False)


# Random histories, through the scanner and a real cache


@dataclass
class Watched:
    """What is held against each run."""

    world: World
    stale_since: dict[AccessKey, datetime] = field(default_factory=dict)
    seen_at: dict[AccessKey, datetime] = field(default_factory=dict)
    cached_lines: int = 0

    def run(self, *, lags: bool) -> None:
        world, account = self.world, self.world.account
        iam = world.iam(lags=lags)
        found = world.scan(iam, expire_age=str(SHORT_EXPIRE_AGE), expiring_days=str(SHORT_EXPIRING_DAYS))
        assert found.is_complete
        assert all(problem.level is Level.INFO for problem in found.problems)
        assert found.cached == set(account.users) - set(iam.listed)
        cached = {key for key in found.keys if key.user_name in found.cached}
        self.cached_lines += len(cached)
        assert cached <= account.at_report, "what a run at the report's time would have printed"
        assert not [key for key in cached if needs_attention(key, account.now)], "no action can rest on it"
        live = set(found.keys) - cached
        rows = account.report
        for user in account.users.values():
            row = rows.get(user.user_name)
            slots = row.keys if row is not None and row.created_at == user.created_at else ()
            for key in account.keys[user.user_id]:
                if KeyInReport(True, key.create_date) in slots and needs_attention(key, account.now):
                    assert key in live, "active and old by the report's time"
        self.seen_at |= dict.fromkeys(live, account.now)


@pytest.mark.usefixtures("no_account_is_small")
def test_random_histories_of_users_and_access_keys_through_scanner_and_cache(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    cached_lines = []

    @hypothesis_settings(max_examples=150, derandomize=True, deadline=None)
    @given(
        st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(WAITS), st.booleans()), min_size=5, max_size=60),
        st.randoms(use_true_random=False),
    )
    def play(steps: list[tuple[str, timedelta, bool]], dice: random.Random) -> None:
        world = World(tmp_path_factory.mktemp("cache"), Account(NOW, names=6))
        watched = Watched(world)
        for _ in range(4):
            world.account.step("user", dice)
        for what, wait, lags in [*steps, ("run", SECOND, False)]:
            world.account.now += wait
            if what == "run":
                watched.run(lags=lags)
            else:
                world.account.step(what, dice)
        cached_lines.append(watched.cached_lines)

    play()
    assert sum(count > 0 for count in cached_lines) > 20, "in so many histories something came out of the cache"


@pytest.mark.usefixtures("no_account_is_small")
@pytest.mark.parametrize("every", [30 * MINUTE, 4 * HOUR, 9 * HOUR, 13 * HOUR])
def test_no_stale_access_key_stays_unseen_for_more_than_a_day(tmp_path: Path, every: timedelta) -> None:
    """Weeks in which users and access keys come, change and go now and then, and replicas lag."""
    dice = random.Random(str(every))  # noqa: S311 - histories, not secrets
    world = World(tmp_path, Account(NOW, names=6))
    watched = Watched(world)
    for _ in range(4):
        world.account.step("user", dice)
    looked_at = 0
    while world.account.now < NOW + max(14 * DAY, 200 * every):
        world.account.now += every
        if dice.random() < every / (16 * HOUR):
            world.account.step(dice.choice(STEPS), dice)
        watched.run(lags=dice.random() < 0.5)
        stale = [key for key in world.account.all_keys() if needs_attention(key, world.account.now)]
        watched.stale_since = {key: watched.stale_since.get(key, world.account.now) for key in stale}
        for key in [key for key in stale if world.account.now - watched.stale_since[key] >= DAY]:
            looked_at += 1
            assert world.account.now - watched.seen_at[key] <= DAY
    assert looked_at > 10, "there was something to miss"
    assert watched.cached_lines > 10 or every > DAY / 2, "and something came out of the cache"


def test_the_cache_of_one_account_says_nothing_of_another(world: World) -> None:
    world.scan(world.iam())
    assert len(ListingCache(world.folder).load(ACCOUNT).listings) == MANY
    assert len(ListingCache(world.folder).load("999999999999").listings) == 0
