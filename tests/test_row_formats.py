"""Rows as JSON and CSV: parsers that are not Python's read back what went in, and docs/output.md has each field."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from keycheck import history
from keycheck.model import AgeLabel, Exemption, LastUse
from keycheck.owners import Named
from keycheck.row_formats import FIELDS, as_csv, as_json
from keycheck.rows import Row

PAGE: Final = (Path(__file__).resolve().parent.parent / "docs" / "output.md").read_text(encoding="utf-8")
AT: Final = datetime(2026, 11, 27, 8, 30, 1, tzinfo=UTC)
TEXTS: Final = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12) | st.sampled_from(
    ['say "no"', "a,b", "=1+1", "-", "@x", "'", "\N{SNOWMAN}", "  "]
)
FULL: Final = Row(
    "acme-dev",
    "123456789012",
    "dev_kramer",
    "VHXVM",
    AgeLabel.EXPIRED,
    197,
    AT,
    AT,
    Named("U012KRAMER", "mapping file"),
    "SEC-1",
    AT,
    date(2026, 12, 4),
    Exemption(date(2027, 1, 31), "a freeze"),
    LastUse(AT, "s3", "eu-west-1"),
    "disabled from 2026-12-04 on",
    date(2026, 12, 4),
)
EXPECTED: Final[dict[str, Any]] = {
    "profile": "acme-dev",
    "account_id": "123456789012",
    "user_name": "dev_kramer",
    "access_key": "VHXVM",
    "label": "expired",
    "age_days": 197,
    "created_at": "2026-11-27T08:30:01Z",
    "expires_at": "2026-11-27T08:30:01Z",
    "owner": "U012KRAMER",
    "owner_from": "mapping file",
    "issue": "SEC-1",
    "told_at": "2026-11-27T08:30:01Z",
    "disabled_from": "2026-12-04",
    "exempt_until": "2027-01-31",
    "exempt_because": "a freeze",
    "last_used_at": "2026-11-27T08:30:01Z",
    "last_used_by": "s3",
    "last_used_in": "eu-west-1",
    "was_used": True,
    "next": "disabled from 2026-12-04 on",
    "next_on": "2026-12-04",
}


class Plain(yaml.SafeLoader):
    """JSON is YAML; without its dates, which JSON has not."""


Plain.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_json(lines: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.load("\n".join(lines), Plain)  # noqa: S506 - it is a SafeLoader
    return found


def read_csv(lines: list[str]) -> list[dict[str, str]]:
    """As RFC 4180 has it, a character at a time."""
    table: list[list[str]] = [[]]
    cell, is_quoted, text = "", False, "\n".join(lines) + "\n"
    at = 0
    while at < len(text):
        c = text[at]
        if is_quoted and c == '"' and text[at + 1] == '"':
            cell, at = cell + '"', at + 1
        elif c == '"':
            is_quoted = not is_quoted
        elif not is_quoted and c in ",\n":
            table[-1].append(cell)
            cell = ""
            if c == "\n":
                table.append([])
        else:
            cell += c
        at += 1
    assert table.pop() == []
    header, *rows = table
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_each_field_is_what_the_page_says_it_is() -> None:
    assert read_json(as_json([FULL], FIELDS)) == [EXPECTED]
    assert read_csv(as_csv([FULL], FIELDS)) == [
        {**{name: str(one) for name, one in EXPECTED.items()}, "was_used": "true"}
    ]


def test_what_is_not_known_is_null_and_empty() -> None:
    bare = Row("acme-dev", "", "x", "VHXVM", AgeLabel.OK, 3, AT, AT)
    known = {name: EXPECTED[name] for name in ("profile", "access_key", "created_at", "expires_at")}
    known |= {"user_name": "x", "label": "ok", "age_days": 3, "next": ""}
    assert read_json(as_json([bare], FIELDS)) == [dict.fromkeys(FIELDS) | known]
    assert read_csv(as_csv([bare], FIELDS)) == [
        dict.fromkeys(FIELDS, "") | {name: str(one) for name, one in known.items()}
    ]


def test_never_used_is_something_else_than_not_known() -> None:
    from dataclasses import replace

    never = replace(FULL, last_use=LastUse(None))
    (found,) = read_json(as_json([never], FIELDS))
    assert [found[name] for name in ("last_used_at", "last_used_by", "last_used_in", "was_used")] == [
        *(None, None, None),
        False,
    ]


def test_no_access_keys_at_all_are_an_empty_array_and_a_header_alone() -> None:
    assert read_json(as_json([], FIELDS)) == []
    assert as_csv([], FIELDS) == [",".join(FIELDS)]


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=4))
def test_any_text_is_read_back_as_it_was(texts: list[tuple[str, str, str]]) -> None:
    rows = [
        Row("p", "1", user, "VHXVM", AgeLabel.OK, 3, AT, AT, Named(owner, ""), exemption=Exemption(date.max, reason))
        for user, owner, reason in texts
    ]
    assert [one["user_name"] for one in read_json(as_json(rows, FIELDS))] == [user for user, _, _ in texts]
    assert [one["exempt_because"] for one in read_json(as_json(rows, FIELDS))] == [reason for _, _, reason in texts]
    cells = [(one["user_name"], one["owner"], one["exempt_because"]) for one in read_csv(as_csv(rows, FIELDS))]
    assert cells == [tuple(map(as_text, one)) for one in texts]


def as_text(value: str) -> str:
    return f"'{value}" if value[:1] in ("=", "+", "-", "@") and value else value


@pytest.mark.parametrize("value", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_no_cell_is_a_formula(value: str) -> None:
    row = Row("p", "1", "x", "VHXVM", AgeLabel.OK, 3, AT, AT, exemption=Exemption(date.max, value))
    assert read_csv(as_csv([row], FIELDS))[0]["exempt_because"] == f"'{value}"


def test_the_page_has_each_field_in_order() -> None:
    of_history, of_rows = PAGE.split("| field | what it holds |")[1:]
    assert re.findall(r"^\| `(\w+)` \|", of_rows, re.MULTILINE) == list(FIELDS)
    assert re.findall(r"^\| `(\w+)` \|", of_history, re.MULTILINE) == list(history.FIELDS)
