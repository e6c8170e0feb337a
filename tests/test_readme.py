"""The README, docs/reference.md, env_setup.sh and the samples say what is true: each is compared with the code."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from docs.make_docs import rendered
from keycheck.arguments import make_parser
from keycheck.metrics import ACTION_FIELDS, ACTION_TAGS, KEY_FIELDS, KEY_TAGS, RUN_FIELDS, RUN_TAGS, is_sound
from keycheck.settings import SETTINGS, parse
from tests import readme_examples

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
WORDS_AT_MOST = 1300
"""What is read in five minutes."""
FIRST_SCREEN = 45


def blocks() -> list[str]:
    """The fenced blocks of the reference, without their fences."""
    return re.findall(r"^```\w*\n(.*?)\n```$", REFERENCE, flags=re.DOTALL | re.MULTILINE)


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables under a heading, header and rule left out."""
    section = REFERENCE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if not set("".join(row)) <= set("- ") and row[0] not in ("variable", "measurement")]


def test_the_help_in_the_reference_is_the_real_one() -> None:
    assert make_parser().format_help().strip() in blocks()


def test_the_table_the_message_and_the_issue_are_the_real_ones() -> None:
    assert readme_examples.table() in README
    assert readme_examples.slack_message() in README
    assert readme_examples.jira_issue() in REFERENCE


def test_the_readme_is_read_in_five_minutes_and_four_readers_find_their_page_on_its_first_screen() -> None:
    assert len(README.split()) <= WORDS_AT_MOST
    first = "\n".join(README.splitlines()[:FIRST_SCREEN])
    for page in ("deploying", "rollout", "reference", "output"):
        assert f"(docs/{page}.md" in first
    assert "make demo" in first
    assert "make test" in first
    assert "got a message" in first


def test_the_settings_table_has_every_setting_with_its_default_and_range() -> None:
    expected = []
    for setting in SETTINGS:
        numbers = f" ({setting.lowest}-{setting.highest})" if setting.kind == "number" else ""
        expected.append([f"`{setting.name}`", setting.default or "-", setting.meaning + numbers])
    assert rows("Settings") == expected


def test_what_is_said_of_the_settings_is_what_stands_in_settings_py() -> None:
    """After a change of it: make docs."""
    for path, text in rendered().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale: make docs"


def test_the_metric_catalogue_has_every_tag_and_field_with_its_type() -> None:
    listed = {(row[0].strip("`"), row[1].strip("`")): row[2] for row in rows("Metrics")}
    tags = {("iam", tag): "tag" for tag in KEY_TAGS} | {("iam_run", tag): "tag" for tag in RUN_TAGS}
    tags |= {("iam_action", tag): "tag" for tag in ACTION_TAGS}
    fields = {("iam", name): kind for name, kind in KEY_FIELDS.items()}
    fields |= {("iam_action", name): kind for name, kind in ACTION_FIELDS.items()}
    assert listed == tags | fields | {("iam_run", name): kind for name, kind in RUN_FIELDS.items()}


def test_every_metric_line_that_is_shown_would_pass_our_own_check() -> None:
    lines = re.findall(r"^iam(?:,|_run,).*$", README + REFERENCE, flags=re.MULTILINE)
    assert len(lines) >= 2
    assert all(is_sound(line) for line in lines)


PAGES = {"README.md": README, "docs/reference.md": REFERENCE}


@pytest.mark.parametrize(
    ("page", "target"),
    [(page, target) for page, text in PAGES.items() for target in re.findall(r"\]\(([^)]+)\)", text)],
)
def test_every_link_leads_somewhere(page: str, target: str) -> None:
    path, _, anchor = target.partition("#")
    if target.startswith("https://"):
        return
    leads_to = ((ROOT / page).parent / path).resolve() if path else ROOT / page
    assert leads_to.exists()
    if anchor:
        headings = re.findall(r"^#+ (.*)$", leads_to.read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {re.sub(r"[^a-z0-9 _-]", "", one.lower()).replace(" ", "-") for one in headings}


def test_every_make_target_that_the_documents_name_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake ([a-z-]+)\b", README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    assert {"demo", "test"} <= named
    for target in named - {"is"}:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


@pytest.mark.process
def test_env_setup_as_it_is_gives_a_read_only_audit_and_names_every_setting(tmp_path: Path) -> None:
    """Sourced by a strict POSIX shell, from anywhere."""
    script = f'set -eu; . "{ROOT}/env_setup.sh"; env -0'
    shell = subprocess.run(["/bin/sh", "-c", script], cwd=tmp_path, env={}, capture_output=True, check=True)
    environ = dict(one.split("=", 1) for one in shell.stdout.decode().split("\0") if "=" in one)
    assert shell.stderr == b""
    assert {setting.name for setting in SETTINGS} <= set(environ)
    assert parse(environ, Path("default.py")) == parse({}, Path("default.py"))


def test_env_setup_explains_every_setting_above_its_line() -> None:
    """No comment stands behind a value: an environment file's reader would take it for a part of it."""
    text = (ROOT / "env_setup.sh").read_text(encoding="utf-8")
    for setting in SETTINGS:
        assert re.search(rf'^# .{{10,}}\n{setting.name}="[^"]*"$', text, flags=re.MULTILINE), setting.name


def test_no_requirements_file_holds_an_address() -> None:
    for path in ROOT.glob("requirements*.txt"):
        text = path.read_text(encoding="utf-8")
        assert "://" not in text
        assert "--hash=sha256:" in text
        assert not re.search(r"^--?(?:index|extra-index|find-links|trusted|i |f )", text, flags=re.MULTILINE)
