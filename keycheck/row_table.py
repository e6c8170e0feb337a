"""Rows as a table for a terminal, by rich, which is imported nowhere else. Shell.

In: Rows, how wide the terminal is, whether it has colours. Out: lines of text. Columns that hold nothing are left out.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

from keycheck.model import AgeLabel
from keycheck.rows import Row, summary
from keycheck.words.parts import day_of, when_used

WIDEST = 500
"""Where the output is no terminal: nothing is cut."""
COLOURS = {AgeLabel.EXPIRED: "bold red", AgeLabel.EXPIRING: "yellow", AgeLabel.OK: "green", AgeLabel.DISABLED: "dim"}
ENOUGH = 32
"""So many characters of a column are always shown."""
GAP = 3
"""Characters between two columns."""
EMPTY = ""

COLUMNS: Mapping[str, Callable[[Row], str]] = {
    "profile": lambda row: row.profile,
    "user name": lambda row: row.user_name,
    "access key": lambda row: f"...{row.last_five}",
    "label": lambda row: row.label.value,
    "age": lambda row: str(row.age_days),
    "expires": lambda row: day_of(row.expires_at),
    "owner": lambda row: row.owner.who,
    "from": lambda row: row.owner.source,
    "issue": lambda row: row.issue,
    "last told": lambda row: EMPTY if row.told_at is None else day_of(row.told_at),
    "disabled from": lambda row: EMPTY if row.disabled_from is None else f"{row.disabled_from:%Y-%m-%d}",
    "last used": lambda row: EMPTY if row.last_use is None else when_used(row.last_use),
    "next": lambda row: row.next_step,
    "exempt until": lambda row: EMPTY if row.exemption is None else f"{row.exemption.until:%Y-%m-%d}",
    "why exempt": lambda row: EMPTY if row.exemption is None else row.exemption.reason,
}
MOST_IMPORTANT = (
    "user name",
    "access key",
    "label",
    "age",
    "next",
    "last used",
    "owner",
    "expires",
    "issue",
    "last told",
    "profile",
)
"""In this order columns are kept, as far as each fits, where the terminal is too narrow for all."""


def as_table(rows: Sequence[Row], width: int | None, *, has_colours: bool) -> list[str]:
    """Return the table and a summary below it. `width`: of the terminal; None if there is none."""
    cells = {name: [printable(cell(row)) for row in rows] for name, cell in COLUMNS.items()}
    is_one_profile = len({row.profile for row in rows}) < 2
    filled = {name: found for name, found in cells.items() if any(found) and not (name == "profile" and is_one_profile)}
    styles = [COLOURS[row.label] for row in rows]
    return [*_drawn(filled, styles, width, has_colours=has_colours), summary(rows)]


def as_plain_table(
    names: Sequence[str], lines: Sequence[Sequence[str]], width: int | None, *, has_colours: bool
) -> list[str]:
    """Return a table of any columns."""
    cells = {name: [printable(line[number]) for line in lines] for number, name in enumerate(names)}
    return _drawn(cells, [""] * len(lines), width, has_colours=has_colours)


def _drawn(
    cells: Mapping[str, Sequence[str]], styles: Sequence[str], width: int | None, *, has_colours: bool
) -> list[str]:
    """Draw the columns that there is room for. `styles`: of each line's label."""
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    natural = {name: max(map(cell_len, (name, *found))) for name, found in cells.items()}
    widths = _fitting(list(cells), natural, width or WIDEST)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for name, wide in widths.items():
        table.add_column(name, width=wide, no_wrap=True, justify="right" if name == "age" else "left")
    for number, style in enumerate(styles):
        texts = [Text(cells[name][number], style if name == "label" else "") for name in widths]
        for text, wide in zip(texts, widths.values(), strict=True):
            text.truncate(wide, overflow="ellipsis")
        table.add_row(*texts)
    out = io.StringIO()
    console = Console(
        file=out,
        width=width or WIDEST,
        force_terminal=has_colours,
        color_system="standard" if has_colours else None,
        no_color=not has_colours,
        emoji=False,
        markup=False,
        highlight=False,
        legacy_windows=False,
    )
    if styles:
        console.print(table)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def printable(text: str) -> str:
    """Return a text without anything that a terminal acts on."""
    return "".join(c if c.isprintable() else " " for c in text)


def _fitting(names: Sequence[str], natural: Mapping[str, int], width: int) -> dict[str, int]:
    """Return the columns that there is room for, and how wide each is. `natural`: how wide each would be."""
    order = [name for name in MOST_IMPORTANT if name in names] + [name for name in names if name not in MOST_IMPORTANT]
    least = {name: min(natural[name], ENOUGH, width) for name in names}
    kept: list[str] = []
    room = width
    for name in order:
        needed = least[name] + (GAP if kept else 0)
        if needed <= room:
            kept.append(name)
            room -= needed
    widths = {name: least[name] for name in names if name in kept}
    for name in kept:
        more = min(natural[name] - widths[name], room)
        widths[name] += more
        room -= more
    return widths
