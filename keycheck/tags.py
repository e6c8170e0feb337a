"""An IAM user's tags -> what one of them holds. Pure."""

from __future__ import annotations

from collections.abc import Mapping


def tag_value(tags: Mapping[str, str], key: str) -> str | None:
    """Return the value of a user's tag, whatever the case of its key, which tells no two apart."""
    wanted = key.casefold()
    return next((value for name, value in tags.items() if name.casefold() == wanted), None)
