"""The run's time: its one `now`, its deadlines, and whether it was asked to stop.

In: SIGTERM and SIGINT, the monotonic and the wall clock. Out: answers to "may something new be started?". It never
stops anything by itself: each caller asks before each call (design.md 2, "stderr, exit code, signals").

The wall clock is asked as well as the monotonic one, which stands still while a machine sleeps: a run that wakes up
hours later is past its deadline.
"""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime
from types import FrameType

SCAN_SHARE = 0.6
GRACE_SECONDS = 2.0
"""What is in flight at the deadline, or at SIGTERM, may take so long to answer."""
EXIT_INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended. SIGTERM, which Telegraf sends, is no reason to lose metrics."""
INTERRUPTED = b"E! keycheck: interrupted twice: nothing is known of what was under way\n"
EXIT_SECONDS = 4.0
"""So long after either, the process is gone: Telegraf sends SIGKILL after five."""


class Stopped(Exception):
    """Raised in place of a call that may no longer be started."""


class RunClock:
    """Time of one run. Made as early as possible: the run's timeout counts from here.

    The handler only notes the instant: it may interrupt the main thread anywhere, so it takes no lock.
    """

    def __init__(self) -> None:
        self.now = datetime.now(UTC)
        self._started = time.monotonic()
        self._started_wall = time.time()
        self._timeout = 3600.0
        self._signalled_at: float | None = None
        self._over_at: float | None = None
        self._interrupts = 0
        self._signal = 0

    def listen(self) -> None:
        """Take SIGTERM and SIGINT as requests to finish; a second SIGINT ends the process at once."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self._interrupts += 1
            if self._interrupts > 1:
                os.write(2, INTERRUPTED)
                os._exit(EXIT_INTERRUPTED)
        if self._signalled_at is None:
            self._signal = number
            self._signalled_at = time.monotonic()

    def set_timeout(self, seconds: float) -> None:
        """`run_timeout_seconds`, counted from when this clock was made."""
        self._timeout = seconds

    @property
    def was_signalled(self) -> bool:
        return self._signalled_at is not None

    @property
    def what_ended_it(self) -> str | None:
        """The signal that asked the run to stop: `SIGTERM`, `SIGINT`; None if none did."""
        return signal.Signals(self._signal).name if self.was_signalled else None

    @property
    def elapsed_seconds(self) -> float:
        return time.monotonic() - self._started

    @property
    def deadline(self) -> datetime:
        """The run's deadline by the wall clock: claims lapse some time after it."""
        return datetime.fromtimestamp(self._started_wall + self._timeout, UTC)

    def utc_now(self) -> datetime:
        """Return this instant, for what is recorded as having happened now; decisions use the run's one `now`."""
        return datetime.now(UTC)

    def remaining_seconds(self) -> float:
        """Return the seconds until the deadline, by whichever clock is further on; 0 once something asked the run to
        stop.
        """
        return max(0.0, self._left(self._timeout)) if not self.was_signalled else 0.0

    def is_over(self) -> bool:
        """Return whether nothing new may be started."""
        return self.remaining_seconds() <= 0

    def scan_is_over(self) -> bool:
        """Return whether the scan has had its share of the time: the rest is for acting on what was read."""
        return self.scan_seconds() <= 0

    def scan_seconds(self) -> float:
        """Return the seconds of the scan's share that are left; 0 once something asked the run to stop."""
        return 0.0 if self.was_signalled else max(0.0, self._left(self._timeout * SCAN_SHARE))

    def grace_seconds(self) -> float:
        """Return how much longer what is in flight may take; negative when that is over too."""
        return self._since_over(GRACE_SECONDS)

    def exit_seconds(self) -> float:
        """Return how much longer the process may live; negative when it should be gone."""
        return self._since_over(EXIT_SECONDS)

    def check(self) -> None:
        """Raise Stopped if nothing new may be started."""
        if self.is_over():
            raise Stopped

    def check_scan(self) -> None:
        if self.scan_is_over():
            raise Stopped

    def check_exit(self) -> None:
        """For writes that finish what was begun: they may be made until the process must be gone."""
        if self.exit_seconds() <= 0:
            raise Stopped

    def sleep(self, seconds: float) -> None:
        """Sleep in short steps; raises Stopped as soon as the run is over."""
        wake_at = time.monotonic() + seconds
        while (left := wake_at - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.1))
        self.check()

    def _left(self, timeout: float) -> float:
        return timeout - max(self.elapsed_seconds, time.time() - self._started_wall)

    def _since_over(self, allowance: float) -> float:
        """Return the seconds until so many seconds after the run was over: counted from when that was noticed, and the
        main thread looks all the time. For a host that slept past the deadline that is when it woke up: what was in
        flight by then was sent, and must be recorded.
        """
        if self._over_at is None:
            left = self._left(self._timeout)
            if self._signalled_at is None and left > 0:
                return left + allowance
            self._over_at = time.monotonic() if self._signalled_at is None else self._signalled_at
        return self._over_at + allowance - time.monotonic()
