"""Calls side by side: all are made, so many at once, and none that hangs is waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from keycheck.workers import Gate, Workers, call_all


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


# Where threads run out


def allow_threads(monkeypatch: pytest.MonkeyPatch, most: int) -> list[str]:
    """Let so many threads start, and refuse the others as the interpreter does; the names of those that did."""
    start = threading.Thread.start
    started: list[str] = []

    def limited(thread: threading.Thread) -> None:
        if len(started) >= most:
            raise RuntimeError("can't start new thread")
        started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    return started


@pytest.mark.parametrize("most", [0, 1, 3])
def test_the_work_goes_on_with_the_threads_that_there_are(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    started = allow_threads(monkeypatch, most)
    made: list[int] = []
    call_all([lambda one=one: made.append(one) for one in range(50)], 16, "test", lambda: False)  # type: ignore[misc]
    assert (sorted(made), len(started)) == (list(range(50)), most)


@pytest.mark.parametrize("most", [0, 2])
def test_a_pool_that_is_short_says_so_and_loses_no_answer(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    allow_threads(monkeypatch, most)
    held = threading.Event()
    with Workers(4, thread_name_prefix="test") as pool:
        futures = [pool.submit(lambda one=one: one * (1 if not most else bool(held.wait(30)))) for one in range(9)]
        held.set()
        assert [future.result(30) for future in futures] == list(range(9))
        assert pool.is_short


def test_what_fails_in_the_thread_that_asks_fails_in_its_future(monkeypatch: pytest.MonkeyPatch) -> None:
    allow_threads(monkeypatch, 0)

    def fail() -> None:
        raise ValueError("no")

    with Workers(4) as pool:
        future = pool.submit(fail)
        with pytest.raises(ValueError, match="no"):
            future.result(0)


def test_a_pool_within_a_pool_ends_where_there_are_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    allow_threads(monkeypatch, 0)
    made: list[int] = []

    def outer() -> None:
        with Workers(4) as pool:
            list(pool.map(made.append, range(5)))

    call_all([outer] * 3, 2, "test", lambda: False)
    assert sorted(made) == sorted([*range(5)] * 3)


# The gate


def widths(calls: int, *, may_widen: Callable[[], bool] = lambda: True) -> list[int]:
    """How many more could go through, after each of so many calls, made one by one."""
    gate, found = Gate(2, 5, narrow_for=3, may_widen=may_widen), []
    for _ in range(calls):
        with gate:
            pass
        found.append(gate._open._value)
    return found


def test_a_gate_lets_few_through_and_then_more_up_to_its_width() -> None:
    assert widths(8) == [2, 2, 2, 3, 4, 5, 5, 5]


def test_a_gate_stays_narrow_while_somebody_minds() -> None:
    assert widths(8, may_widen=lambda: False) == [2] * 8


def test_no_more_go_through_side_by_side_than_the_gate_is_wide() -> None:
    gate = Gate(2, 2, narrow_for=0, may_widen=lambda: True)
    lock, inside, most = threading.Lock(), [0], [0]

    def call() -> None:
        with gate:
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            time.sleep(0.001)
            with lock:
                inside[0] -= 1

    with ThreadPoolExecutor(8) as pool:
        for _ in range(40):
            pool.submit(call)
    assert most == [2]


def test_a_call_that_fails_leaves_the_gate_open() -> None:
    gate = Gate(1, 1, narrow_for=0, may_widen=lambda: True)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), gate:
            raise ZeroDivisionError
    with gate:
        pass
