"""How fast one account's IAM is called: at any rate until AWS says Throttling, then at one that it bears. Pure but for
the monotonic clock.

In: each attempt before it is sent, and whether AWS refused it. Out: how long it is to wait. It never sleeps, and never
calls anything itself.

AWS does not say how many calls it takes, and all programs in an account share them. The rate grows by some calls a
second each second, and shrinks, at most once a second, to what AWS has just let through, and a little less: by as much
as a sample of answers says, and never below half of what was let through lately, so that a service that refuses now
and then, whatever the rate, costs little. botocore's adaptive mode shrinks at each refusal, and gives its whole rate up
where refusals do not follow its own calls.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

SAMPLE = 15
"""So many answers after a refusal say how much AWS lets through. The refusal is not among them: it began the count."""
SHRINKS_TO = 0.9
"""Of what was let through: the room that others in the account are left."""
GROWS_BY = 2.0
GROWS_BY_SHARE = 1 / 20
"""Calls a second, each second, and the share of the rate if that is more."""
SHRINKS_EVERY = 1.0
LOWEST = 10.0
"""Calls a second. Below that nothing would ever be done beside a program that takes what it can get."""
WHERE_FEW_ARE = 0.5
"""The same where AWS let through less than half: a few answers of that many say little about how much that is."""
LATELY = 10
"""Seconds: half of what AWS let through in the second best of them is surely borne. In the best it may have let through
what it had saved up: a second's calls at once.
"""


class Pace:
    """One account's, shared by all threads. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rate: float | None = None
        self._since = 0.0
        self._next_at = 0.0
        self._sample: list[bool] | None = None
        self._sampled_from = 0.0
        self._let_through: dict[int, int] = {}

    def rate(self) -> float | None:
        """Return how many calls a second may be made now; None: as many as can be."""
        if self._rate is None:
            return None
        return self._rate + max(GROWS_BY, self._rate * GROWS_BY_SHARE) * (self._clock() - self._since)

    def delay(self) -> float:
        """Take the next place, and return how many seconds that is from now."""
        with self._lock:
            rate = self.rate()
            if rate is None:
                return 0.0
            now = self._clock()
            at = max(now, self._next_at)
            self._next_at = at + 1 / rate
            return at - now

    def heard(self, *, is_refused: bool) -> None:
        """Note one answer."""
        with self._lock:
            now = self._clock()
            if not is_refused:
                self._let_through[int(now)] = self._let_through.get(int(now), 0) + 1
            if self._sample is not None:
                self._sample.append(is_refused)
                if len(self._sample) == SAMPLE:
                    self._shrink(now, 1 - sum(self._sample) / SAMPLE)
            elif is_refused and (self._rate is None or now - self._since >= SHRINKS_EVERY):
                self._sample, self._sampled_from = [], now

    def _shrink(self, now: float, share: float) -> None:
        """Go down to the share of the rate that AWS lets through."""
        before = self.rate()
        if before is None:
            before = SAMPLE / max(now - self._sampled_from, 0.01)
        self._let_through = {at: count for at, count in self._let_through.items() if at > now - LATELY}
        seconds = sorted(self._let_through.values(), reverse=True)
        borne = seconds[1] / 2 if len(seconds) > 1 else 0.0
        to = SHRINKS_TO if share >= 1 / 2 else WHERE_FEW_ARE
        self._rate = max(LOWEST, borne, before * share * to)
        self._since, self._sample = now, None
