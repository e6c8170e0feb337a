"""Who may be disabled next, oldest first, within what the day's brake leaves of an account. Shell, without a call.

In: the candidates of each account in their order, and how many places there are; what became of each. Out: whose turn
it is. A place that was not used passes on to the next one in order, so that whoever cannot be told, is in use or is
refused by AWS keeps nobody behind them active. Safe to share between threads.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from keycheck.acting.ledger import Task


@dataclass(slots=True)
class _Queue:
    """The candidates of one account. `granted`: so many of them, from the first on, have or had a place."""

    order: Sequence[Task]
    granted: int
    arrived: set[Task] = field(default_factory=set)
    gone: set[Task] = field(default_factory=set)


class Places:
    """The places of one run, by account id."""

    def __init__(self, candidates: Mapping[str, Sequence[Task]], places: Mapping[str, int]) -> None:
        self._lock = threading.Lock()
        self._queues = {
            account_id: _Queue(order, min(places.get(account_id, 0), len(order)))
            for account_id, order in candidates.items()
        }
        self._at = {
            task: (account_id, number) for account_id, order in candidates.items() for number, task in enumerate(order)
        }

    def arrive(self, task: Task) -> bool:
        """Note that everything before its disabling is done; return whether it has a place. Else it waits for one."""
        account_id, number = self._at[task]
        queue = self._queues[account_id]
        with self._lock:
            queue.arrived.add(task)
            return number < queue.granted

    def abandon(self, task: Task) -> Task | None:
        """Note a candidate whose chain has ended before its disabling; return whose turn it is instead. Nothing, of one
        that has arrived.
        """
        account_id, _ = self._at[task]
        with self._lock:
            has_arrived = task in self._queues[account_id].arrived
        return None if has_arrived else self.leave(task, has_used_it=False)

    def leave(self, task: Task, *, has_used_it: bool) -> Task | None:
        """Note what became of a candidate; return whose turn it is instead, if that one is waiting already."""
        account_id, number = self._at[task]
        queue = self._queues[account_id]
        with self._lock:
            if task in queue.gone:
                return None
            queue.gone.add(task)
            if has_used_it or number >= queue.granted:
                return None
            while queue.granted < len(queue.order):
                following = queue.order[queue.granted]
                queue.granted += 1
                if following not in queue.gone:
                    return following if following in queue.arrived else None
            return None
