"""A place that is not used passes on to the next in order, whoever arrives first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from keycheck.acting.ledger import Task
from keycheck.acting.places import Places
from keycheck.actions import DisableKey
from tests.builders import ACCOUNT, PROFILE, make_key, make_record


def tasks(count: int) -> list[Task]:
    found = []
    for number in range(count):
        key = make_key(age_days=500 - number, access_key_id=f"AKIAINVENTED{number:08}")
        found.append(Task(number, PROFILE, DisableKey(key, make_record(key), None, has_notice=False)))
    return found


def test_the_first_have_the_places_whatever_order_they_arrive_in() -> None:
    order = tasks(4)
    places = Places({ACCOUNT: order}, {ACCOUNT: 2})
    assert [places.arrive(one) for one in reversed(order)] == [False, False, True, True]


def test_a_place_that_was_used_passes_to_nobody() -> None:
    order = tasks(2)
    places = Places({ACCOUNT: order}, {ACCOUNT: 1})
    assert [places.arrive(one) for one in order] == [True, False]
    assert places.leave(order[0], has_used_it=True) is None


def test_a_place_that_was_not_used_passes_to_the_next_who_is_there_or_waits_for_it() -> None:
    order = tasks(4)
    places = Places({ACCOUNT: order}, {ACCOUNT: 1})
    assert [places.arrive(order[0]), places.arrive(order[2])] == [True, False]
    assert places.leave(order[0], has_used_it=False) is None, "the second is next, and has not arrived"
    assert places.arrive(order[1])
    assert places.leave(order[1], has_used_it=False) is order[2]
    assert places.abandon(order[3]) is None
    assert places.leave(order[2], has_used_it=False) is None


def test_who_never_arrives_keeps_nobody_waiting() -> None:
    order = tasks(3)
    places = Places({ACCOUNT: order}, {ACCOUNT: 1})
    assert not places.arrive(order[2])
    assert places.abandon(order[1]) is None
    assert places.abandon(order[0]) is order[2]
    assert places.abandon(order[2]) is None, "it has arrived"


def test_accounts_have_places_of_their_own() -> None:
    one, other = tasks(2)
    places = Places({ACCOUNT: [one], "210987654321": [other]}, {ACCOUNT: 0, "210987654321": 1})
    assert [places.arrive(one), places.arrive(other)] == [False, True]


@given(st.data())
@hypothesis_settings(max_examples=200, derandomize=True, deadline=None)
def test_whatever_happens_every_place_is_used_or_every_candidate_was_tried(data: st.DataObject) -> None:
    """And the oldest that could be disabled are those that were."""
    order = tasks(data.draw(st.integers(0, 8)))
    count = data.draw(st.integers(0, 9))
    works = {one: data.draw(st.booleans()) for one in order}
    arrives = {one: data.draw(st.booleans()) for one in order}
    places = Places({ACCOUNT: order}, {ACCOUNT: count})
    disabled: list[Task] = []

    def go(task: Task | None) -> None:
        while task is not None:
            if works[task]:
                disabled.append(task)
            task = places.leave(task, has_used_it=works[task])

    for one in data.draw(st.permutations(order)):
        if not arrives[one]:
            go(places.abandon(one))
        elif places.arrive(one):
            go(one)
    able = [one for one in order if works[one] and arrives[one]]
    assert sorted(disabled, key=order.index) == able[:count]


@pytest.mark.parametrize("has_used_it", [True, False])
def test_leaving_twice_is_leaving_once(has_used_it: bool) -> None:
    order = tasks(3)
    places = Places({ACCOUNT: order}, {ACCOUNT: 1})
    for one in order:
        places.arrive(one)
    places.leave(order[0], has_used_it=has_used_it)
    assert places.leave(order[0], has_used_it=False) is None
