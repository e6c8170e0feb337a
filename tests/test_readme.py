"""The README, env_setup.sh and the samples say what is true: each is compared with the code that it is about."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from docs.make_docs import rendered
from keycheck.cli import make_parser
from keycheck.metrics import KEY_FIELDS, KEY_TAGS, RUN_FIELDS, RUN_TAGS, is_sound
from keycheck.settings import SETTINGS, parse
from tests import readme_examples

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks() -> list[str]:
    """The README's fenced blocks, without their fences. A message holds fences of its own, in mid-line."""
    return re.findall(r"^```\w*\n(.*?)\n```$", README, flags=re.DOTALL | re.MULTILINE)


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables under a heading, header and rule left out."""
    section = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if not set("".join(row)) <= set("- ") and row[0] not in ("variable", "measurement")]


def test_the_help_in_the_readme_is_the_real_one() -> None:
    assert make_parser().format_help().strip() in blocks()


def test_the_message_and_the_issue_in_the_readme_are_the_real_ones() -> None:
    assert readme_examples.slack_message() in README
    assert readme_examples.jira_issue() in README


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
    fields = {("iam", name): kind for name, kind in KEY_FIELDS.items()}
    assert listed == tags | fields | {("iam_run", name): kind for name, kind in RUN_FIELDS.items()}


def test_every_metric_line_in_the_readme_would_pass_our_own_check() -> None:
    lines = re.findall(r"^iam(?:,|_run,).*$", README, flags=re.MULTILINE)
    assert len(lines) >= 4
    assert all(is_sound(line) for line in lines)


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_every_link_to_a_file_leads_to_one(target: str) -> None:
    assert target.startswith("https://") or (ROOT / target).exists()


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
