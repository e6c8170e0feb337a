"""What the tests of outside input feed: JSON, bodies and headers, most of them a valid answer with a fault in it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from keycheck.model import Level
from keycheck.report import LINE_BYTES, format_line
from sandbox.http_fake import Answer, FakeServer, Request

NASTY_TEXT = "x\nE! forged\r\x1b[2J\x00\u2028\u202e\ud800"
"""What would forge a line, clear a terminal, turn the reading direction, or not be encodable."""
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 5, 1.5, 1e308, 10**30, "", "0", "1", "x", "done", "true", NASTY_TEXT),
    *([], {}, [None], [[]], [{}], {"a": None}, {"S": "x"}, {"N": "1"}, {"key": "SEC-1"}),
)
JSON = st.sampled_from(ODD_VALUES) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NO_JSON: tuple[bytes, ...] = (
    *(b"", b" ", b"{", b"null", b"nul", b"NaN", b"-", b'"', b"\xff\xfe", b"\x00", b"{}{}", b"[" * 100_000, b"9" * 5000),
    "<html><body>Log in, d\u00e9sactiv\u00e9</body></html>".encode("latin-1"),
    b"<!DOCTYPE html><title>Log in</title>",
    b'\xef\xbb\xbf{"ok": true}',
)
HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20)
RETRY_AFTERS = HEADER_TEXT | st.sampled_from(
    ["0", "1", "59", "-1", "1.5", "1e9", "inf", "nan", "9" * 400, "\xb2", "Wed, 21 Oct 2099 07:28:00 GMT", "", " 3 "]
)
DATES = HEADER_TEXT | st.sampled_from(
    [
        *("Mon, 23 Nov 2026 12:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 -2359", "0", ""),
        *("Mon, 01 Jan 0001 00:00:00 +2359", "Mon, 99 Nov 2026 12:00:00 GMT", "Mon, 23 Nov 2026 12:00:00 +9999"),
        f"Mon, 23 Nov 2026 12:00:00 +{'9' * 20}",
        f"Mon, 23 Nov {'9' * 30} 12:00:00 GMT",
    ]
)


def examples(count: int) -> hypothesis_settings:
    """The same examples in every run, however slow the machine."""
    silent = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return hypothesis_settings(max_examples=count, derandomize=True, deadline=None, suppress_health_check=silent)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    match value:
        case dict():
            for name, inner in value.items():
                yield from _places(inner, (*path, name))
        case list():
            for number, inner in enumerate(value):
                yield from _places(inner, (*path, number))


def changed(valid: Any, path: Sequence[Any], how: str, new: Any) -> Any:
    """A copy of a JSON value in which one place is replaced, dropped, repeated or wrapped."""
    result = copy.deepcopy(valid)
    if not path:
        return {"replace": new, "drop": None, "repeat": [result, result], "wrap": [result]}[how]
    *outer, last = path
    place = result
    for name in outer:
        place = place[name]
    if how == "drop":
        del place[last]
    else:
        old = place[last]
        place[last] = {"replace": new, "repeat": [old, old], "wrap": {"value": old}}[how]
    return result


@st.composite
def spoiled(draw: st.DrawFn, valid: Any) -> Any:
    """The JSON value as it is, or with one or two places of it gone wrong."""
    value = valid
    for _ in range(draw(st.integers(0, 2))):
        path = draw(st.sampled_from(list(_places(value))))
        value = changed(
            value, path, draw(st.sampled_from(["replace", "replace", "drop", "repeat", "wrap"])), draw(JSON)
        )
    return value


def bodies(*valid: Any) -> st.SearchStrategy[bytes]:
    """Mostly JSON near one of the valid answers; sometimes cut short, sometimes none at all."""
    whole = st.sampled_from(valid).flatmap(spoiled).map(as_json)
    cut = st.tuples(whole, st.integers(1, 20)).map(lambda both: both[0][: -both[1]])
    return whole | whole | whole | cut | st.sampled_from(NO_JSON)


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def parsed(body: bytes) -> Any:
    """What a body says as JSON; None where it says nothing."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def assert_one_line(text: str) -> None:
    """What a person gets to see of a text that came from outside: one printable line of at most 512 bytes."""
    line = format_line(Level.ERROR, text)
    assert len(line) <= LINE_BYTES
    assert line.startswith(b"E! ")
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert line[:-1].decode().isprintable()


class AnyServer(FakeServer):
    """Answers what it is told to, in order, the last for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Answer] = []

    def serve(self, request: Request) -> Answer:  # noqa: ARG002 - it answers anything with anything
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
