"""docs/reliability.md is a claim a row: each names tests that exist, and how many of their cases `make test` has."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs" / "reliability.md"
OWN = {"test_the_table_of_faults.py"}
TEST = re.compile(r"`(?:tests/)?([\w/]+\.py)::(test_\w+)`")


@dataclass(frozen=True)
class Collected:
    """`cases`: test -> case -> whether it is exhaustive. `representatives`: test -> the cases that it says it has."""

    cases: dict[str, dict[str, bool]]
    representatives: dict[str, list[str]]


def named(text: str) -> list[str]:
    """`file.py::test` of each test that the text names."""
    return [f"{Path(file).name}::{test}" for file, test in TEST.findall(text)]


def rows() -> list[str]:
    return [
        line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|") and TEST.search(line)
    ]


def all_tests(folder: Path) -> set[str]:
    return {
        f"{file.name}::{test}"
        for file in folder.rglob("test_*.py")
        for test in re.findall(r"^def (test_\w+)\(", file.read_text(encoding="utf-8"), re.MULTILINE)
    }


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Collected:
    """All tests, whichever of them this run was asked for."""
    path = tmp_path_factory.mktemp("cases") / "cases.json"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-p",
        "no:cacheprovider",
        "--cases-to",
        str(path),
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return Collected(**json.loads(path.read_text(encoding="utf-8")))


def where(tests: list[str], collected: Collected) -> str:
    """What the last column of a row says about these tests."""
    exhaustive = [is_exhaustive for test in tests for is_exhaustive in collected.cases[test].values()]
    if not any(exhaustive):
        return "all"
    return f"{exhaustive.count(False)} of {len(exhaustive)}"


def test_every_row_names_a_test_that_exists() -> None:
    assert {test for row in rows() for test in named(row)} - all_tests(HERE.parent) == set()


def test_every_test_of_this_folder_is_in_a_row() -> None:
    here = {test for test in all_tests(HERE) if test.split("::")[0] not in OWN}
    assert here - {test for row in rows() for test in named(row)} == set()


@pytest.mark.process
def test_every_row_says_how_much_of_it_is_in_make_test(collected: Collected) -> None:
    """A representative that is called otherwise by now would leave its whole matrix to `make faults`."""
    for test, representatives in collected.representatives.items():
        assert set(representatives) <= collected.cases[test].keys(), test
    said = {row: row.rstrip(" |").rpartition("|")[2].strip() for row in rows()}
    assert said == {row: where(named(row), collected) for row in said}
