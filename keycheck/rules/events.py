"""What happened to an access key, as its record keeps it for an auditor: short texts, the latest hundred. Pure.

In: when, what. Out: the text that a write adds, and, read back, Events. A set, since a write that botocore sends again
adds nothing to it, and two runs never overwrite each other's. No rule rests on any of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from keycheck.rules.changes import floor

KEPT = 100
DROPPED_AT = KEPT + 20
"""Only then are the oldest dropped: else each write would be two."""
TEXT = re.compile(r"([0-9]{1,12}) (.+)", re.DOTALL)


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """`what`: in a few words, such as `told U012KRAMER`."""

    at: datetime
    what: str


def event(at: datetime, what: str) -> dict[str, frozenset[str]]:
    """Return what a Change adds for this."""
    return {"events": frozenset({f"{floor(at)} {what}"})}


def read(texts: Iterable[str]) -> list[Event]:
    """Return the events, oldest first; what is none is left out."""
    found = (TEXT.fullmatch(text) for text in texts)
    return sorted(Event(datetime.fromtimestamp(int(one[1]), UTC), one[2]) for one in found if one is not None)


def to_drop(texts: frozenset[str]) -> frozenset[str]:
    """Return the oldest, where there are too many."""
    if len(texts) <= DROPPED_AT:
        return frozenset()
    return frozenset(sorted(texts, key=_age)[: len(texts) - KEPT])


def _age(text: str) -> tuple[int, str]:
    found = TEXT.fullmatch(text)
    return (int(found[1]) if found else 0, text)
