"""The table for people: cut to its width, coloured only where that was asked for, and nothing in it is acted on."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date

import pytest
from rich.cells import cell_len

from keycheck.model import AgeLabel, Exemption, LastUse
from keycheck.owners import Named
from keycheck.row_table import as_table
from keycheck.rows import Row
from tests.builders import NOW

ROW = Row("acme-dev", "1", "dev_kramer", "VHXVM", AgeLabel.EXPIRED, 197, NOW, NOW, next_step="stays active")
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def table(*rows: Row, width: int | None = None, has_colours: bool = False) -> str:
    return "\n".join(as_table(rows, width, has_colours=has_colours))


def test_columns_that_hold_nothing_are_left_out() -> None:
    head, _, line, total = table(ROW).splitlines()
    assert head.split() == ["user", "name", "access", "key", "label", "age", "expires", "next"]
    assert line.split() == ["dev_kramer", "...VHXVM", "expired", "197", f"{NOW:%Y-%m-%d}", "stays", "active"]
    assert total == "1 access key of 1 user: 1 expired"
    full = replace(
        ROW,
        owner=Named("U012KRAMER", "mapping file"),
        issue="SEC-1",
        told_at=NOW,
        disabled_from=date(2026, 12, 4),
        last_use=LastUse(None),
        exemption=Exemption(date(2027, 1, 31), "a freeze"),
    )
    shown = table(ROW, replace(full, profile="acme-prod"))
    for name in (
        "profile",
        "owner",
        "from",
        "issue",
        "last told",
        "last used",
        "why exempt",
        "a freeze",
        "never, as far",
    ):
        assert name in shown


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    rows = [
        replace(ROW, user_name=f"a-user-of-a-rather-long-name-{n}@example.com", owner=Named("x" * 60, "tag email"))
        for n in range(3)
    ]
    lines = table(*rows, width=width).splitlines()[:-1]
    assert max(map(len, lines)) <= width
    assert len(lines) == 2 + len(rows), "a line an access key"


def test_the_narrower_the_terminal_the_more_only_what_matters_most() -> None:
    row = replace(ROW, owner=Named("U012KRAMER", "mapping file"), issue="SEC-1", told_at=NOW)
    assert "from" not in table(row, width=80)
    narrow = table(row, width=48)
    assert "dev_kramer" in narrow
    assert "...VHXVM" in narrow
    assert "expired" in narrow
    assert "U012KRAMER" not in narrow
    assert "last told" not in narrow


def test_colours_only_where_they_are_asked_for() -> None:
    assert ESCAPE.search(table(ROW)) is None
    coloured = table(ROW, width=100, has_colours=True)
    assert ESCAPE.search(coloured) is not None
    assert [line.rstrip() for line in ESCAPE.sub("", coloured).splitlines()] == table(ROW, width=100).splitlines()


@pytest.mark.parametrize("text", ["[red]x[/red]", "[link=http://x]y", ":warning:", "\x1b[31mred", "a\nb\tc", "\u202ex"])
def test_what_is_shown_is_not_acted_on(text: str) -> None:
    row = replace(ROW, exemption=Exemption(date(2027, 1, 31), text))
    shown = table(row)
    assert ESCAPE.search(shown) is None
    assert shown.count("\n") == 3
    assert "".join(c if c.isprintable() else " " for c in text) in shown


def test_without_rows_there_is_only_the_summary() -> None:
    assert table() == "0 access keys of 0 users"


@pytest.mark.parametrize("text", ["x" * 60, "\u6f22" * 30, "\U0001f512" * 30])
def test_what_is_cut_ends_in_dots_and_wide_characters_take_two_columns(text: str) -> None:
    shown = table(replace(ROW, next_step=text), width=80)
    line = shown.splitlines()[2]
    assert line.endswith("…")
    assert 78 <= cell_len(line) <= 80
    assert text in table(replace(ROW, next_step=text), width=140)
