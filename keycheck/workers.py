"""Calls side by side, waited for no longer than somebody says. Shell.

In: calls, how many at once, when to leave them. Out: nothing: what a call finds out it keeps for itself. It never
waits for a call that hangs: such a thread is left behind, and the process ends without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait

POLL_SECONDS = 0.05


def call_all(calls: Iterable[Callable[[], object]], at_once: int, name: str, must_end: Callable[[], bool]) -> None:
    """Make all calls, so many at once; return when all are made, or soon after `must_end` says so.

    Those not begun by then are not made. `name`: what the threads are called.
    """
    pool = ThreadPoolExecutor(at_once, thread_name_prefix=name)
    futures: list[Future[object]] = [pool.submit(call) for call in calls]
    while wait(futures, timeout=POLL_SECONDS).not_done and not must_end():
        pass
    pool.shutdown(wait=False, cancel_futures=True)
