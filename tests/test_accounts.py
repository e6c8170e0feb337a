"""What several profiles show of one account is one account, in whatever order they were given."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keycheck.accounts import Account, accounts_of, seen_again
from keycheck.model import Scan
from tests.builders import ACCOUNT, make_key, make_scan
from tests.situations import REPEATABLE

KEYS = [make_key(f"user{number}", access_key_id=f"AKIA{number:016}") for number in range(3)]


def scan(profile: str, *numbers: int, **changes: Any) -> Scan:
    return make_scan([KEYS[number] for number in numbers], profile=profile, **changes)


def test_each_account_stands_alone() -> None:
    scans = [scan("dev", 0), scan("prod", 1, account_id="210987654321")]
    assert accounts_of(scans) == (Account(("dev",), scans[0]), Account(("prod",), scans[1]))


def test_a_profile_that_does_not_say_which_account_it_is_stands_alone() -> None:
    scans = [Scan("one", was_scanned=False), Scan("two", was_scanned=False), scan("dev", 0)]
    assert [account.profiles for account in accounts_of(scans)] == [("one",), ("two",), ("dev",)]


def test_the_best_scan_speaks_and_has_what_any_of_them_shows() -> None:
    poor = scan("a", 0, 2, is_complete=False, is_listed=False)
    failing = scan("b", 0, users_failed=1, is_complete=False)
    best = scan("c", 0, 1)
    for order in permutations([poor, failing, best]):
        (account,) = accounts_of(order)
        assert account.profiles == ("c", "b", "a")
        assert [key.user_name for key in account.scan.keys] == ["user0", "user1", "user2"]
        assert (account.scan.is_complete, account.scan.users_failed) == (True, 0)


SCANS = st.lists(
    st.tuples(
        st.sampled_from(["123456789012", "210987654321", ""]),
        st.sets(st.integers(0, 2)),
        st.booleans(),
        st.booleans(),
        st.integers(0, 2),
    ),
    max_size=4,
)


@given(SCANS, st.randoms(use_true_random=False))
@REPEATABLE
def test_the_order_of_the_profiles_decides_nothing(
    drawn: list[tuple[str, set[int], bool, bool, int]], random: Any
) -> None:
    scans = [
        scan(
            f"p{number}", *sorted(keys), account_id=account, is_complete=complete, is_listed=listed, users_failed=fails
        )
        for number, (account, keys, complete, listed, fails) in enumerate(drawn)
    ]
    accounts = accounts_of(scans)
    assert set(accounts) == set(accounts_of(random.sample(scans, len(scans))))
    known = [account.scan.account_id for account in accounts if account.scan.account_id]
    assert len(known) == len(set(known))


def test_an_access_key_that_both_show_is_one() -> None:
    (account,) = accounts_of([scan("a", 0, 1), scan("b", 0, 1)])
    assert len(account.scan.keys) == 2
    assert account.scan.account_id == ACCOUNT


# Cached listings


def test_who_was_asked_for_by_any_profile_counts_as_asked_for() -> None:
    """The status that was listed now stands, whoever speaks for the account, and a cached access key that is gone is
    not shown.
    """
    off = replace(KEYS[0], access_key=replace(KEYS[0].access_key, status="Inactive"))
    cached = make_scan([KEYS[0], KEYS[1], KEYS[2]], profile="a", cached=frozenset({"user0", "user1", "user2"}))
    live = make_scan([off, KEYS[2]], profile="b", cached=frozenset({"user2"}))
    for order in permutations([cached, live]):
        (account,) = accounts_of(order)
        assert account.scan.keys == (off.access_key, KEYS[2].access_key)
        assert account.scan.cached == {"user2"}


def test_a_scan_that_is_not_complete_does_not_say_who_was_asked_for() -> None:
    cached = make_scan([KEYS[0]], profile="a", cached=frozenset({"user0"}))
    part = make_scan([], profile="b", is_complete=False)
    (account,) = accounts_of([cached, part])
    assert account.scan.keys == (KEYS[0].access_key,)
    assert account.scan.cached == {"user0"}


def test_accounts_are_seen_again_in_the_name_of_the_same_profiles() -> None:
    before = [scan("a", 0), scan("b", 0)]
    accounts = accounts_of(before)
    after = [scan("a", is_complete=False), scan("b", 0, 1)]
    (account,) = seen_again(accounts, after)
    assert account.profiles == ("a", "b")
    assert not account.scan.is_complete
