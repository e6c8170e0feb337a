"""One line on a terminal that says how far a run is. Shell.

In: what to say, from time to time. Out: that line, written over and over, and in the end taken away. Only for a person
who waits: never where stderr is no terminal, nor before a second has passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from keycheck.clock import RunClock
from keycheck.report import say

AFTER_SECONDS = 1.0
EVERY_SECONDS = 0.2
BEGINNING_OF_LINE = b"\r\x1b[K"
"""Back to its first column, and clear it: what any terminal of the last forty years does."""


class ProgressLine:
    """`text` is asked for what to say; `is_shown`: whether anybody looks."""

    def __init__(self, text: Callable[[], str], clock: RunClock, *, is_shown: bool) -> None:
        self._text = text
        self._clock = clock
        self._is_shown = is_shown
        self._began = self._last = time.monotonic()
        self._is_there = False

    def update(self) -> None:
        """Say it again, if it is time."""
        now = time.monotonic()
        if self._is_shown and now - self._began >= AFTER_SECONDS and now - self._last >= EVERY_SECONDS:
            say([BEGINNING_OF_LINE + self._text().encode("utf-8", "replace")], self._clock)
            self._last, self._is_there = now, True

    def take_away(self) -> None:
        """Leave the terminal as it was."""
        if self._is_there:
            say([BEGINNING_OF_LINE], self._clock)
            self._is_there = False
