"""docs/reliability.md is a claim a row: each names tests that exist, and no test here is without a row."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "reliability.md"
OWN = {"test_the_table_of_faults.py"}


def named() -> set[str]:
    """`file.py::test` of each row."""
    found = re.findall(r"`(?:tests/)?([\w/]+\.py)::(test_\w+)`", PAGE.read_text(encoding="utf-8"))
    return {f"{Path(file).name}::{test}" for file, test in found}


def all_tests(folder: Path) -> set[str]:
    return {
        f"{file.name}::{test}"
        for file in folder.rglob("test_*.py")
        for test in re.findall(r"^def (test_\w+)\(", file.read_text(encoding="utf-8"), re.MULTILINE)
    }


def test_every_row_names_a_test_that_exists() -> None:
    assert named() - all_tests(HERE.parent) == set()


def test_every_test_of_this_folder_is_in_a_row() -> None:
    here = {test for test in all_tests(HERE) if test.split("::")[0] not in OWN}
    assert here - named() == set()
