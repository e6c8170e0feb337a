"""Calls side by side: all are made, so many at once, and none that hangs is waited for."""

from __future__ import annotations

import threading

from keycheck.workers import call_all


def test_all_calls_are_made_before_it_returns() -> None:
    made: list[int] = []
    call_all([lambda one=one: made.append(one) for one in range(50)], 4, "test", lambda: False)  # type: ignore[misc]
    assert sorted(made) == list(range(50))


def test_no_more_are_made_at_once_than_said() -> None:
    lock, together = threading.Lock(), threading.Barrier(3)
    now, most = 0, 0

    def call() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        together.wait(30)
        with lock:
            now -= 1

    call_all([call] * 9, 3, "test", lambda: False)
    assert most == 3


def test_a_call_that_hangs_is_left_and_those_behind_it_are_not_begun() -> None:
    released, begun = threading.Event(), threading.Event()
    made: list[str] = []

    def hang() -> None:
        begun.set()
        released.wait(30)

    call_all([hang, lambda: made.append("too late")], 1, "test", begun.is_set)
    assert begun.is_set()
    assert made == []
    released.set()


def test_a_call_that_raises_costs_no_other() -> None:
    made: list[str] = []

    def fail() -> None:
        raise KeyError("x")

    call_all([fail, lambda: made.append("made")], 1, "test", lambda: False)
    assert made == ["made"]
