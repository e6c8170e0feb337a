"""The figures of docs/benchmarks.md are those that keycheck was to reach; `make bench` measures and writes them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
AIMED_AT = re.compile(r"^\| (.*(?:at most|within|in) ([\d.]+) (times|ms|MB).*) \| ([\d.]+) \3.* \|$", re.MULTILINE)
"""What was aimed at, the figure in it, its unit, what was measured."""


def test_each_aim_has_its_measured_figure() -> None:
    assert [unit for _, _, unit, _ in AIMED_AT.findall(TEXT)] == ["times", "times", "ms", "MB", "MB"]


@pytest.mark.parametrize(
    ("aim", "most", "measured"), [(aim, most, found) for aim, most, _, found in AIMED_AT.findall(TEXT)]
)
def test_what_was_aimed_at_was_reached(aim: str, most: str, measured: str) -> None:
    assert float(measured) <= float(most), aim


def test_the_plot_is_there_and_both_parts_are_written() -> None:
    assert "](benchmarks.png)" in TEXT
    assert (ROOT / "docs" / "benchmarks.png").read_bytes().startswith(b"\x89PNG")
    for part in ("| 5,000 | Custodian |", "| 40 calls a second | keycheck |"):
        assert part in TEXT
