"""Calls side by side, waited for no longer than somebody says, on as many threads as there are to be had. Shell.

In: calls, how many at once, when to leave them. Out: nothing: what a call finds out it keeps for itself. It never
waits for a call that hangs: such a thread is left behind, and the process ends without it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, TypeVar

POLL_SECONDS = 0.05
LIMIT = "the limit on threads of this user or container is reached (ulimit -u, pids.max, or memory); raise it"

T = TypeVar("T")


class Gate:
    """Lets few calls through side by side at first, and more once so many were made: up to `most`, if nobody minds.

    Where AWS lets little through, the first refusal finds few on the wire: each of them would be refused as well.
    """

    def __init__(self, first: int, most: int, *, narrow_for: int, may_widen: Callable[[], bool]) -> None:
        self._open = threading.Semaphore(first)
        self._lock = threading.Lock()
        self._width, self._most, self._narrow_for = first, most, narrow_for
        self._may_widen = may_widen
        self._made = 0

    def __enter__(self) -> None:
        self._open.acquire()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._made += 1
            is_wider = self._made > self._narrow_for and self._width < self._most and self._may_widen()
            self._width += is_wider
        self._open.release(2 if is_wider else 1)


class Workers(ThreadPoolExecutor):
    """A pool that goes on with the threads that it gets (boto/boto3 4304); with none, whoever submits does the work.

    `is_short`: whether a thread could not be started. A plain ThreadPoolExecutor raises then, though it has taken the
    work, and others may be doing it.
    """

    is_short = False

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            self.is_short = True

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future = super().submit(fn, *args, **kwargs)
        if not self._threads:
            with suppress(queue.Empty):
                self._work_queue.get_nowait().run()
        return future


def call_all(calls: Iterable[Callable[[], object]], at_once: int, name: str, must_end: Callable[[], bool]) -> None:
    """Make all calls, so many at once; return when all are made, or soon after `must_end` says so.

    Those not begun by then are not made. `name`: what the threads are called.
    """
    pool = Workers(at_once, thread_name_prefix=name)
    futures: list[Future[object]] = [pool.submit(call) for call in calls]
    while wait(futures, timeout=POLL_SECONDS).not_done and not must_end():
        pass
    pool.shutdown(wait=False, cancel_futures=True)
