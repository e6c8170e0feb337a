"""What a write to the state table is, as values: conditions, changes, and how an instant is stored. Pure.

In: nothing. Out: the words of which writes.py makes every write, services/state_table.py an UpdateItem, and the
sandbox's table in memory a new item.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto

Value = str | int | tuple[int, ...] | frozenset[str]
"""What an attribute holds: a text, epoch seconds UTC or a count, a list of epoch seconds, a set of texts."""


@dataclass(frozen=True, slots=True)
class Absent:
    name: str


@dataclass(frozen=True, slots=True)
class Is:
    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class AtMost:
    """The attribute is there, and its number is at most this one."""

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple[Condition, ...]


A_YEAR = timedelta(days=365)
TIME_TO_LIVE = "expires_at"

Condition = Absent | Is | AtMost | All | AnyOf


class Lost(Enum):
    """What a condition that does not hold means. LOST: another run was first, and ClaimLost is raised. FINE: something
    later is on record already, so nothing is lost.
    """

    LOST = auto()
    FINE = auto()


@dataclass(frozen=True, slots=True)
class Change:
    """One UpdateItem. `add`, `delete`: texts of a set, which are in it after that, or not. `needs`: its condition;
    `otherwise`: what is done if that does not hold, one after the other.
    """

    set: Mapping[str, Value] = field(default_factory=dict)
    add: Mapping[str, frozenset[str]] = field(default_factory=dict)
    delete: Mapping[str, frozenset[str]] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    needs: Condition | None = None
    otherwise: Lost | tuple[Change, ...] = Lost.LOST


@dataclass(frozen=True, slots=True)
class Write:
    """Changes of one item, made one after the other. `name`: what it is for; `item`: its hash key."""

    name: str
    item: str
    changes: tuple[Change, ...]


def never_back(name: str, value: int) -> Condition:
    return AnyOf((Absent(name), AtMost(name, value)))


def kept_until(at: datetime) -> dict[str, Value]:
    """Return what tells DynamoDB's time to live when to delete an item: a year after it was last written. What is due,
    or stands, is written more often than that; should it not be, it is found out anew.
    """
    return {TIME_TO_LIVE: floor(at + A_YEAR)}


def floor(instant: datetime) -> int:
    """Epoch seconds, rounded down."""
    return math.floor(instant.timestamp())


def ceil(instant: datetime) -> int:
    """Epoch seconds, rounded up where rounding down could make something happen a fraction of a second too early."""
    return math.ceil(instant.timestamp())


def floors(instants: Iterable[datetime]) -> tuple[int, ...]:
    return tuple(floor(instant) for instant in instants)
