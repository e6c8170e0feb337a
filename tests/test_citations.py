"""What the code cites of docs/design.md and docs/services.md is there: each citation names a section of the page.

design.md 4        docs/design.md, the section "4. Once and only once"
services.md 5.2    docs/services.md, the section "5.2 slack_sdk"
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("design.md", "services.md")}
CITATION = re.compile(r"\b(design\.md|services\.md)(?:'s)? ((?:\d+(?:\.\d+)?(?:, | and )?)+)")
FILES = sorted(
    path
    for folder in ("keycheck", "sandbox", "tests", "grafana")
    for path in (ROOT / folder).rglob("*.py")
    if "node_modules" not in path.parts
)


def sections(page: str) -> set[str]:
    """The numbers of a page's sections: `4`, `5.2`."""
    return set(re.findall(r"^#+ (\d+(?:\.\d+)?)\.? ", PAGES[page], re.MULTILINE))


def citations() -> list[tuple[Path, str, str]]:
    found = []
    for path in FILES:
        for page, numbers in CITATION.findall(path.read_text(encoding="utf-8")):
            found += [(path, page, number) for number in re.findall(r"\d+(?:\.\d+)?", numbers)]
    return found


def test_every_citation_leads_to_a_section() -> None:
    assert len(citations()) > 30
    wrong = [(str(path), page, number) for path, page, number in citations() if number not in sections(page)]
    assert wrong == []


def test_nothing_outside_of_this_repository_is_cited() -> None:
    for path in FILES:
        if path != Path(__file__).resolve():
            assert not re.search(r"\bfacts/\w+\.md|\.\./shared", path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize("name", PAGES)
def test_sections_are_numbered_in_order(name: str) -> None:
    numbers = [
        tuple(map(int, one.split("."))) for one in re.findall(r"^#+ (\d+(?:\.\d+)?)\.? ", PAGES[name], re.MULTILINE)
    ]
    assert numbers == sorted(numbers)
    assert len(numbers) == len(set(numbers))


def test_the_story_of_a_run_names_files_that_are_there_in_the_order_of_the_map() -> None:
    story = PAGES["design.md"].split("\n## 1. ")[1].split("\n## ")[0]
    for name in re.findall(r"`([\w/]+\.py)`", story):
        assert list((ROOT / "keycheck").rglob(name)), name
    for folder in re.findall(r"`(\w+)/`", story):
        assert (ROOT / "keycheck" / folder).is_dir() or folder == "keycheck", folder
