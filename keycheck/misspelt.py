"""A variable's name -> the setting that somebody meant by it. Pure.

In: a name that is no setting's, and all settings' names. Out: the one that it nearly is, or nothing: other programs'
variables stand in the same environment.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

OUR_WORDS = ("disable", "notice", "exempt", "fallback", "expire", "expiring", "nag", "reenable")
"""Words that hardly anybody else's variables have, each also where more follows: `exemptions`."""
NEARLY_THE_SAME = 0.93


def meant_by(name: str, names: Sequence[str]) -> str | None:
    """Return the setting that a name is nearly: in another case, with our own name before it, a letter off, or made of
    some of its words, one of which hardly anybody else has.
    """
    plain = name.lower().removeprefix("keycheck_")
    if plain in names:
        return plain
    near = difflib.get_close_matches(plain, names, n=1, cutoff=NEARLY_THE_SAME)
    if near:
        return near[0]
    words = plain.split("_")
    if len(words) < 2 or not any(_is_like(word, own) for word in words for own in OUR_WORDS):
        return None
    fitting = [one for one in names if all(any(_is_like(word, own) for own in one.split("_")) for word in words)]
    return max(fitting, key=lambda one: difflib.SequenceMatcher(None, plain, one).ratio(), default=None)


def _is_like(word: str, own: str) -> bool:
    """Return whether two words are one, or one of them is the other cut short: `exempt` is like `exemptions`."""
    short, long = sorted((word, own), key=len)
    return short == long or (len(short) >= 5 and long.startswith(short))
