"""The words of UpdateItem for a change of keycheck's.

In: a Change. Out: its update, its condition and their values, as DynamoDB wants them. It calls nothing.
"""

from __future__ import annotations

from typing import Any

from keycheck.rules.changes import Absent, All, AnyOf, AtMost, Change, Condition, Is, Value
from keycheck.services.state_items import to_wire


def expressions(change: Change) -> dict[str, Any]:
    """Return a change in the words of UpdateItem. Attribute names need no stand-ins: none is a reserved word of
    DynamoDB's.
    """
    words = _Words()
    clauses = (
        ("SET", [f"{name} = {words.value(name, value)}" for name, value in change.set.items()]),
        ("ADD", [f"{name} {words.value(name, texts)}" for name, texts in change.add.items()]),
        ("DELETE", [f"{name} {words.value(name, texts)}" for name, texts in change.delete.items()]),
        ("REMOVE", list(change.remove)),
    )
    asked: dict[str, Any] = {
        "UpdateExpression": " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses if parts)
    }
    if change.needs is not None:
        asked["ConditionExpression"] = words.condition(change.needs)
    if words.values:
        asked["ExpressionAttributeValues"] = words.values
    return asked


class _Words:
    """The values of one request, and the words that name them."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def value(self, name: str, value: Value) -> str:
        placeholder = f":{name}" if f":{name}" not in self.values else f":{name}_{len(self.values)}"
        self.values[placeholder] = to_wire(value)
        return placeholder

    def condition(self, condition: Condition) -> str:
        match condition:
            case Absent(name=name):
                return f"attribute_not_exists({name})"
            case Is(name=name, value=value):
                return f"{name} = {self.value(name, value)}"
            case AtMost(name=name, value=number):
                return f"{name} <= {self.value(name, number)}"
            case All(parts=parts):
                return " AND ".join(f"({self.condition(part)})" for part in parts)
            case AnyOf(parts=parts):
                return " OR ".join(f"({self.condition(part)})" for part in parts)
