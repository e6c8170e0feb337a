"""Whose access keys are listed: each reason, and random histories of accounts with a lagging report."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from keycheck.credential_report import KeyInReport, UserInReport
from keycheck.labels import label_key
from keycheck.listing import LISTED_WITHIN, CachedListing, ListedUser, WhyListed, why_listed
from keycheck.model import AccessKey
from tests.builders import ACCOUNT, DAY, HOUR, MINUTE, NOW, SECOND

AGES: dict[str, Any] = {"expire_age": 180, "expiring_days": 15}
BORN = NOW - 400 * DAY
ALICE = ListedUser("alice", ACCOUNT, "AIDAALICE", BORN)


def access_key(age: timedelta = 10 * DAY, *, status: str = "Active", name: str = "1") -> AccessKey:
    return AccessKey(f"AKIA{name:0>16}", "alice", ACCOUNT, status, NOW - age)


def in_report(*keys: AccessKey, has_more: bool = False) -> UserInReport:
    return UserInReport(BORN, tuple(KeyInReport(key.is_active, key.create_date) for key in keys), has_more)


def cached(*keys: AccessKey, user: ListedUser = ALICE, ago: timedelta = SECOND) -> CachedListing:
    return CachedListing(user, keys, NOW - ago)


YOUNG, OTHER = access_key(), access_key(20 * DAY, name="2")
OFF = access_key(300 * DAY, status="Inactive")
MADE_ANEW = replace(in_report(YOUNG), created_at=BORN + SECOND)
EXPIRING, EXPIRED = access_key(165 * DAY), access_key(180 * DAY)


@pytest.mark.parametrize(
    ("row", "known", "why"),
    [
        pytest.param(in_report(YOUNG), cached(YOUNG), None, id="as it was"),
        pytest.param(in_report(OTHER, YOUNG), cached(YOUNG, OTHER), None, id="two, in the report's own order"),
        pytest.param(in_report(OFF), cached(OFF), None, id="an inactive one, however old"),
        pytest.param(in_report(), cached(), None, id="none, listed before"),
        pytest.param(in_report(), None, None, id="none, never listed"),
        pytest.param(in_report(EXPIRING), cached(EXPIRING), WhyListed.ATTENTION, id="expiring in both"),
        pytest.param(in_report(EXPIRED), None, WhyListed.ATTENTION, id="expired by the report"),
        pytest.param(in_report(), cached(EXPIRED), WhyListed.ATTENTION, id="expired by the cache alone"),
        pytest.param(in_report(access_key(165 * DAY - SECOND)), None, WhyListed.FIRST, id="a second too young"),
        pytest.param(None, cached(YOUNG), WhyListed.UNKNOWN, id="newer than the report"),
        pytest.param(MADE_ANEW, cached(YOUNG), WhyListed.UNKNOWN, id="made anew"),
        pytest.param(in_report(YOUNG), None, WhyListed.FIRST, id="never listed"),
        pytest.param(in_report(YOUNG), cached(), WhyListed.CHANGED, id="a key more"),
        pytest.param(in_report(), cached(YOUNG), WhyListed.CHANGED, id="a key less"),
        pytest.param(in_report(YOUNG), cached(OTHER), WhyListed.CHANGED, id="another key"),
        pytest.param(in_report(OFF), cached(replace(YOUNG, status="Inactive")), WhyListed.CHANGED, id="an older one"),
        pytest.param(in_report(replace(YOUNG, status="Inactive")), cached(YOUNG), WhyListed.CHANGED, id="disabled"),
        pytest.param(in_report(YOUNG, has_more=True), cached(YOUNG), WhyListed.CHANGED, id="more than its columns"),
        pytest.param(in_report(has_more=True), None, WhyListed.FIRST, id="nothing but more than its columns"),
        pytest.param(
            in_report(YOUNG, OTHER), cached(YOUNG, OTHER, access_key(5 * DAY, name="3")), WhyListed.CHANGED, id="three"
        ),
        pytest.param(
            in_report(YOUNG, YOUNG), cached(YOUNG, replace(YOUNG, access_key_id="AKIAOTHER")), WhyListed.CHANGED,
            id="two of one second",
        ),
        pytest.param(
            in_report(access_key(30 * SECOND)), cached(access_key(30 * SECOND)), WhyListed.CHANGED, id="not yet settled"
        ),
        pytest.param(
            in_report(YOUNG), cached(YOUNG, user=replace(ALICE, user_id="AIDABEFORE")), WhyListed.CHANGED,
            id="one who had the name before",
        ),
        pytest.param(in_report(YOUNG), cached(YOUNG, ago=LISTED_WITHIN), WhyListed.DUE, id="its turn"),
        pytest.param(in_report(YOUNG), cached(YOUNG, ago=-SECOND), WhyListed.DUE, id="listed in the future"),
        pytest.param(in_report(), cached(ago=30 * DAY), None, id="without access keys, long ago"),
    ],
)  # fmt: skip
def test_why_a_user_is_listed(row: UserInReport | None, known: CachedListing | None, why: WhyListed | None) -> None:
    assert why_listed(ALICE, row, known, NOW, **AGES) is why


def test_fractions_of_a_second_make_no_difference() -> None:
    """The report has whole seconds; what ListAccessKeys and ListUsers give is not ours to say."""
    parts = timedelta(microseconds=987_654)
    user = replace(ALICE, created_at=BORN + parts)
    key = replace(YOUNG, create_date=YOUNG.create_date + parts)
    assert why_listed(user, in_report(YOUNG), cached(key, user=user), NOW, **AGES) is None


def test_what_a_cold_run_listed_comes_back_spread_over_the_day() -> None:
    """Of 2,000 users listed at once, no half hour of the next 20 hours lists more than thrice its share; all are."""
    users = [ListedUser(f"user-{n}", ACCOUNT, f"AIDA{n}", BORN) for n in range(2000)]
    per_run: list[int] = []
    listings = {user: CachedListing(user, (YOUNG,), NOW) for user in users}
    for run in range(1, 41):
        now = NOW + run * timedelta(minutes=30)
        due = [u for u in users if why_listed(u, in_report(YOUNG), listings[u], now, **AGES) is WhyListed.DUE]
        listings |= {user: CachedListing(user, (YOUNG,), now) for user in due}
        per_run.append(len(due))
    assert sum(per_run) == 2000
    assert max(per_run) <= 150


# Random histories


@dataclass
class Account:
    """What is true of an account, second by second, and what its report said when it was made."""

    now: datetime
    users: dict[str, ListedUser] = field(default_factory=dict)
    keys: dict[str, list[AccessKey]] = field(default_factory=dict)
    report_at: datetime | None = None
    report: dict[str, UserInReport] = field(default_factory=dict)
    at_report: frozenset[AccessKey] = frozenset()
    made: int = 0
    names: int = 6

    def new_id(self) -> str:
        self.made += 1
        return f"{self.made:016}"

    def all_keys(self) -> frozenset[AccessKey]:
        return frozenset(key for user_name in self.users for key in self.keys[self.users[user_name].user_id])

    def step(self, what: str, dice: random.Random) -> None:
        """Do one thing to the account; nothing where there is nobody to do it to."""
        if what == "user":
            self.make_user(f"user-{dice.randrange(self.names)}")
        if not self.users:
            return
        name = dice.choice(sorted(self.users))
        user = self.users[name]
        keys = self.keys[user.user_id]
        match what:
            case "delete user":
                del self.users[name]
            case "rename":
                self.rename(name, f"user-{dice.randrange(self.names)}")
            case "key" if len(keys) < 4:
                keys.append(AccessKey(f"AKIA{dice.getrandbits(64):016X}", name, ACCOUNT, "Active", self.now))
            case "delete key" if keys:
                keys.remove(dice.choice(keys))
            case "flip" if keys:
                n = dice.randrange(len(keys))
                keys[n] = replace(keys[n], status="Inactive" if keys[n].is_active else "Active")
            case "rotate" if keys:
                keys.remove(dice.choice(keys))
                keys.append(AccessKey(f"AKIA{dice.getrandbits(64):016X}", name, ACCOUNT, "Active", self.now))

    def make_user(self, name: str) -> None:
        if name not in self.users:
            self.users[name] = ListedUser(name, ACCOUNT, f"AIDA{self.new_id()}", self.now)
            self.keys[self.users[name].user_id] = []

    def rename(self, name: str, new_name: str) -> None:
        if new_name not in self.users:
            user = self.users.pop(name)
            self.users[new_name] = replace(user, user_name=new_name)
            self.keys[user.user_id] = [replace(key, user_name=new_name) for key in self.keys[user.user_id]]

    def take_report(self, has_more_column: bool) -> Mapping[str, UserInReport]:
        """The report: the old one for four hours. Slots go by the access key's id, and there are two."""
        if self.report_at is None or self.now - self.report_at >= 4 * HOUR:
            self.report_at = self.now
            self.at_report = self.all_keys()
            self.report = {}
            for name, user in self.users.items():
                keys = sorted(self.keys[user.user_id], key=lambda key: key.access_key_id)
                slots = tuple(KeyInReport(key.is_active, key.create_date) for key in keys[:2])
                self.report[name] = UserInReport(user.created_at, slots, has_more_column and len(keys) > 2)
        return self.report

    def list_access_keys(self, user: ListedUser, lags: bool) -> tuple[AccessKey, ...]:
        """What ListAccessKeys says; a replica that lags omits the newest access key of the last two minutes."""
        keys = sorted(self.keys[user.user_id], key=lambda key: (key.create_date, key.access_key_id))
        if lags and keys and self.now - keys[-1].create_date <= 2 * MINUTE:
            keys.pop()
        return tuple(keys)


def needs_attention(key: AccessKey, now: datetime) -> bool:
    return label_key(key, now, expire_age=EXPIRE_AGE, expiring_days=EXPIRING_DAYS).needs_attention


EXPIRE_AGE, EXPIRING_DAYS = 3, 1
"""Days; short, so that a history of a week has all labels."""

STEPS = ["user", "key", "key", "rotate", "flip", "flip", "delete key", "delete user", "rename", "run", "run", "run"]
SLOW_STEPS = ["user", "user", "key", "key", "key", "flip", "rotate", "rename", "delete key"]
WAITS = [timedelta(0), timedelta(0), SECOND, 45 * SECOND, 5 * MINUTE, HOUR, 3 * HOUR + 59 * MINUTE]


@dataclass
class Runs:
    """What runs keep between them, and what the last one saw."""

    cache: dict[str, CachedListing] = field(default_factory=dict)
    seen_at: dict[AccessKey, datetime] = field(default_factory=dict)
    live: set[AccessKey] = field(default_factory=set)
    printed: set[AccessKey] = field(default_factory=set)
    calls: int = 0

    def run(self, account: Account, report: Mapping[str, UserInReport], lags: bool) -> None:
        self.live, self.printed = set(), set()
        for user in account.users.values():
            known, row = self.cache.get(user.user_id), report.get(user.user_name)
            if why_listed(user, row, known, account.now, expire_age=EXPIRE_AGE, expiring_days=EXPIRING_DAYS):
                keys = account.list_access_keys(user, lags)
                self.cache[user.user_id] = CachedListing(user, keys, account.now)
                self.live |= set(keys)
                self.calls += 1
            elif known is not None:
                self.printed |= set(known.keys)
        self.seen_at |= dict.fromkeys(self.live, account.now)


Step = tuple[str, timedelta, bool]
"""What happens, how long after the thing before it, and whether a replica lags then."""


def play(steps: Sequence[Step], account: Account, dice: random.Random) -> Runs:
    """Play a history, and hold each run in it to what the cache promises."""
    runs = Runs()
    has_more_column = dice.random() < 0.5
    for what, wait, lags in steps:
        account.now += wait
        if what != "run":
            account.step(what, dice)
            continue
        report = account.take_report(has_more_column)
        runs.run(account, report, lags)
        assert runs.printed <= account.at_report, "a cached line is what a run at the report's time would have printed"
        assert not [key for key in runs.printed if needs_attention(key, account.now)], "no action can rest on it"
        for user in account.users.values():
            row = report.get(user.user_name)
            slots = row.keys if row is not None and row.created_at == user.created_at else ()
            for key in account.keys[user.user_id]:
                if KeyInReport(True, key.create_date) in slots and needs_attention(key, account.now):
                    assert key in runs.live, "active and old by the report's time: listed live"
    return runs


@pytest.mark.parametrize("names", [2, 6])
@hypothesis_settings(max_examples=700, derandomize=True, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(WAITS), st.booleans()), min_size=5, max_size=60),
    st.randoms(use_true_random=False),
)
def test_cached_lines_are_true_and_whoever_may_need_attention_is_listed(
    names: int, steps: list[Step], dice: random.Random
) -> None:
    account = Account(NOW, names=names)
    for _ in range(4):
        account.step("user", dice)
    play([*steps, ("run", SECOND, False)], account, dice)


@pytest.mark.parametrize(
    "history",
    [
        pytest.param("run 0, user 1h, key 0, run 0, rotate 0, run 4h", id="one follows another within a second"),
        pytest.param("user 0, key 0, key 0, flip 0, run 5m, flip 0, flip 0, run 4h", id="two of one second"),
        pytest.param("user 0, key 0, run 5m, rename 0, run 4h, run 5m", id="renamed"),
        pytest.param("user 0, key 0, run 5m, delete user 0, user 0, key 0, run 4h, run 5m", id="made anew"),
    ],
)  # fmt: skip
def test_what_chance_seldom_brings_about(history: str) -> None:
    """One or two names, and whatever the dice say: each history is played with forty of them."""
    lengths = {"0": timedelta(0), "5m": 5 * MINUTE, "1h": HOUR, "4h": 4 * HOUR}
    things = [thing.rsplit(" ", 1) for thing in history.split(", ")]
    for seed in range(40):
        account = Account(NOW, names=1 + seed % 2)
        play([(what, lengths[wait], False) for what, wait in things], account, random.Random(seed))  # noqa: S311


@pytest.mark.parametrize("has_more_column", [True, False])
@pytest.mark.parametrize("every", [timedelta(minutes=5), HOUR, 4 * HOUR])
def test_no_stale_access_key_stays_unseen_for_more_than_a_day(every: timedelta, has_more_column: bool) -> None:
    """Runs at most four hours apart for two months, while users and access keys come, change and go."""
    dice = random.Random(f"{every} {has_more_column}")  # noqa: S311 - histories, not secrets
    account, runs = Account(NOW), Runs()
    stale_since: dict[AccessKey, datetime] = {}
    looked_at = 0
    while account.now < NOW + 60 * DAY:
        account.now += every
        if dice.random() < every / (16 * HOUR):
            account.step(dice.choice(SLOW_STEPS), dice)
        runs.run(account, account.take_report(has_more_column), lags=dice.random() < 0.5)
        stale = [key for key in account.all_keys() if needs_attention(key, account.now)]
        stale_since = {key: stale_since.get(key, account.now) for key in stale}
        for key in [key for key in stale if account.now - stale_since[key] >= DAY]:
            looked_at += 1
            assert account.now - runs.seen_at[key] <= DAY
    assert looked_at > 10, "there was something to miss"


def test_an_access_key_beyond_the_reports_columns_is_seen_within_a_day() -> None:
    """The report shows two inactive ones, as they were listed, for ever; a third one, made later, is not in it."""
    account, runs = Account(NOW - DAY), Runs()
    account.make_user("user-0")
    (keys,) = account.keys.values()
    keys += [replace(OFF, access_key_id=f"AKIA{n}", create_date=NOW - (100 + n) * DAY) for n in range(2)]
    for run in range(289):
        account.now = NOW + run * timedelta(minutes=5)
        runs.run(account, account.take_report(has_more_column=False), lags=False)
        if run == 0:
            keys.append(replace(YOUNG, access_key_id="AKIA9", create_date=account.now))
    assert "AKIA9" in {key.access_key_id for key in runs.seen_at}


def test_an_account_in_which_nothing_happens_costs_little_more_than_a_listing_a_day() -> None:
    """200 users with a young access key each, a run each five minutes for 36 hours: each is listed at most thrice, the
    cold run included; one call a user a run would be 432 times.
    """
    account, runs = Account(NOW - HOUR), Runs()
    for number in range(200):
        account.make_user(name := f"user-{number}")
        account.keys[account.users[name].user_id].append(replace(YOUNG, user_name=name, create_date=account.now))
    for run in range(432):
        account.now = NOW + run * timedelta(minutes=5)
        runs.run(account, account.take_report(has_more_column=False), lags=False)
    assert runs.calls <= 3 * len(account.users)
