"""Whether a service is still asked in this run, waiting out a 429, and telling "never sent" from "no answer".

In: what became of each call. Out: ServiceError before a call that is pointless. It never makes a call itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from keycheck.clock import RunClock
from keycheck.services import Failure, ServiceError

SILENCES_AT_MOST = 2
WAITS_AT_MOST = 2
LONGEST_RETRY_AFTER = 3600.0

T = TypeVar("T")


class RateLimited(Exception):
    """HTTP 429: the request was not served. `retry_after_seconds` is None if the answer named no time."""

    def __init__(self, retry_after_seconds: float | None) -> None:
        super().__init__()
        self.retry_after_seconds = retry_after_seconds


class Health:
    """One service in one run: off after a fatal answer, or after two silences in a row. Shared by all workers."""

    def __init__(self, service: str, clock: RunClock) -> None:
        self._service = service
        self._clock = clock
        self._lock = threading.Lock()
        self._silences = 0
        self._is_off = False

    @property
    def is_off(self) -> bool:
        return self._is_off

    def call(self, operation: str, request: Callable[[], T]) -> T:
        """Make one call: `request` raises ServiceError or RateLimited. A 429 is waited out at most twice, if its
        Retry-After ends before the run's deadline. Raises ServiceError, or Stopped if nothing new may be started.
        """
        for waits in range(WAITS_AT_MOST + 1):
            self._clock.check()
            if self._is_off:
                text = f"{self._service} is off for this run"
                raise ServiceError(self._service, operation, text, failure=Failure.OFF)
            try:
                answer = request()
            except RateLimited as error:
                self._heard()
                pause = error.retry_after_seconds
                if pause is None or waits == WAITS_AT_MOST or pause + 1 >= self._clock.remaining_seconds():
                    raise ServiceError(self._service, operation, _limited(self._service, pause), code="429") from None
                self._clock.sleep(pause)
            except ServiceError as error:
                self._note(error)
                raise
            else:
                self._heard()
                return answer
        raise AssertionError("the last round returns or raises")

    def _heard(self) -> None:
        with self._lock:
            self._silences = 0

    def _note(self, error: ServiceError) -> None:
        with self._lock:
            is_silence = error.failure in (Failure.NO_ANSWER, Failure.UNKNOWN)
            self._silences = self._silences + 1 if is_silence else 0
            self._is_off = self._is_off or error.holds_for_run or self._silences >= SILENCES_AT_MOST


def _limited(service: str, pause: float | None) -> str:
    wait = "" if pause is None else f" and asks to wait {pause:.0f} s"
    return f"{service} is limiting the rate of calls (HTTP 429){wait}; the next run tries again"


def retry_after(text: str | None) -> float | None:
    """Return the seconds of a Retry-After header; None if it is absent or a date, which neither of them sends."""
    if text is None or not text.strip().isascii() or not text.strip().isdigit():
        return None
    return min(float(text.strip()), LONGEST_RETRY_AFTER)


def was_never_sent(error: BaseException) -> bool:
    """Return whether an exception of urllib or requests was raised before the request was on the wire.

    Both libraries wrap a refused connection, a failed TLS handshake, a drop in mid-request and one in mid-answer in
    much the same types, so the type cannot tell. Where it was raised can: name look-up, TCP, proxy tunnel and TLS all
    happen inside a function called `connect` (http.client, urllib3), and nothing else does.
    """
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        current = queue.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        frame = current.__traceback__
        while frame is not None:
            if frame.tb_frame.f_code.co_name == "connect":
                return True
            frame = frame.tb_next
        queue += [current.__cause__, current.__context__]
    return False
