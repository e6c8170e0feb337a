"""How fast IAM is called: the arithmetic, on a clock of its own."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from keycheck.services.pace import GROWS_BY, GROWS_BY_SHARE, LATELY, LOWEST, SAMPLE, SHRINKS_EVERY, SHRINKS_TO, Pace

WIRE = 400.0
"""Calls a second where nothing holds them up."""


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def play(pace: Pace, time: Time, calls: int, is_refused: Callable[[float], bool]) -> list[tuple[float, bool]]:
    """Calls one after the other, as fast as the wire and the pace allow: when each was made, and whether in vain."""
    made = []
    for _ in range(calls):
        time.now += max(pace.delay(), 1 / WIRE)
        made.append((time.now, is_refused(time.now)))
        pace.heard(is_refused=made[-1][1])
    return made


class Bucket:
    """AWS's side: so many calls a second, as many at once."""

    def __init__(self, rate: float, time: Time) -> None:
        self._rate, self._tokens, self._at = rate, rate, time.now

    def __call__(self, now: float) -> bool:
        self._tokens = min(self._rate, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return True
        self._tokens -= 1
        return False


def test_nothing_is_held_up_before_aws_refuses_anything() -> None:
    time = Time()
    pace = Pace(time)
    made = play(pace, time, 1000, lambda _: False)
    assert pace.rate() is None
    assert made[-1][0] - 1000 == pytest.approx(1000 / WIRE)


def test_places_are_as_far_apart_as_the_rate_says() -> None:
    time = Time()
    pace = Pace(time)
    play(pace, time, 1 + SAMPLE, lambda _: True)
    assert pace.rate() == LOWEST
    assert [pace.delay() for _ in range(3)] == pytest.approx([0, 1 / LOWEST, 2 / LOWEST])
    time.now += 5
    assert pace.rate() == LOWEST + 5 * GROWS_BY, "so many calls a second more, each second"
    assert pace.delay() == 0, "a place that nobody took is not made up for"


def test_the_rate_shrinks_to_what_was_let_through_and_at_most_once_a_second() -> None:
    time = Time()
    pace = Pace(time)
    refused = [True, *([False] * (SAMPLE - 3)), True, True, True]
    for one in refused:
        time.now += 1 / WIRE
        pace.heard(is_refused=one)
    share = 1 - 3 / SAMPLE
    assert pace.rate() == pytest.approx(WIRE * share * SHRINKS_TO)
    before = pace.rate()
    for _ in range(3 * SAMPLE):
        pace.heard(is_refused=True)
    assert pace.rate() == before
    time.now += SHRINKS_EVERY
    for _ in range(1 + SAMPLE):
        pace.heard(is_refused=True)
    assert (pace.rate() or 0) < WIRE * share * SHRINKS_TO


def test_a_high_rate_grows_by_its_share() -> None:
    """Else what is refused now and then, whatever the rate, would take all of it in the end."""
    time = Time()
    pace = Pace(time)
    for _ in range(1 + SAMPLE):
        time.now += 1 / WIRE
        pace.heard(is_refused=False)
    for number in range(1 + SAMPLE):
        time.now += 1 / WIRE
        pace.heard(is_refused=number == 0)
    rate = pace.rate() or 0
    assert rate == pytest.approx(WIRE * SHRINKS_TO)
    time.now += 1
    assert pace.rate() == pytest.approx(rate * (1 + GROWS_BY_SHARE))


def test_what_aws_had_saved_up_is_not_taken_for_what_it_bears() -> None:
    """It lets a second's calls through at once, and after that what the limit says: the rate goes below it at once."""
    time = Time()
    pace, bucket = Pace(time), Bucket(40, time)
    made = play(pace, time, 300, bucket)
    assert sum(is_refused for _, is_refused in made) <= 1 + SAMPLE


@pytest.mark.parametrize(("limit", "most_in_vain"), [(20, 0.1), (40, 0.05), (100, 0.05)])
def test_against_a_limit_few_calls_are_in_vain_and_the_limit_is_used(limit: int, most_in_vain: float) -> None:
    time = Time()
    pace, bucket = Pace(time), Bucket(limit, time)
    made = play(pace, time, 60 * limit, bucket)
    settled = [is_refused for at, is_refused in made if at > 1000 + LATELY]
    assert sum(settled) / len(settled) < most_in_vain
    done = len(settled) - sum(settled)
    assert done / (made[-1][0] - 1000 - LATELY) > 0.8 * limit


def test_refusals_that_do_not_follow_the_rate_do_not_take_it_all() -> None:
    """One in seven: after ten seconds at least a tenth of what the wire allows is left, and never less than LOWEST."""
    time, chance = Time(), random.Random(7)  # noqa: S311 - dice, no secret
    pace = Pace(time)
    made = play(pace, time, 3000, lambda _: chance.random() < 1 / 7)
    first = sum(at < 1000 + LATELY for at, _ in made)
    assert first > LATELY * WIRE / 4
    play(pace, time, 1000, lambda _: True)
    assert (pace.rate() or 0) >= LOWEST


def test_what_is_refused_for_ever_is_asked_no_faster_than_the_floor_and_its_growth() -> None:
    time = Time()
    pace = Pace(time)
    made = play(pace, time, 300, lambda _: True)
    assert (made[-1][0] - made[100][0]) > 199 / (LOWEST + 4 * GROWS_BY)
