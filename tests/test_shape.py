"""What imports what, who reads the clock and the environment, and what starts quickly (design.md 3)."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from keycheck.settings import SETTINGS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "keycheck"
ENTRY = PACKAGE / "iam-accesskey-check.py"
DATA = PACKAGE / "slack_ID_mapping.py"
PURE_FOLDERS = ("rules", "words")
IN_FOLDERS = tuple(f"{one}.{path.stem}" for one in PURE_FOLDERS for path in sorted(PACKAGE.glob(f"{one}/[a-z]*.py")))
PURE = (
    *(
        "accounts",
        "actions",
        "agenda",
        "credential_report",
        "endings",
        "exemptions",
        "forecast",
        "labels",
        "listing",
        "metrics",
        "misspelt",
        "model",
        "owners",
        "planning",
        "tags",
    ),
    *("explain", "row_formats", "row_sources", "rows", "tokens", "values", "watch"),
    *IN_FOLDERS,
)
LIBRARIES = frozenset({"boto3", "botocore", "jira", "slack_sdk", "credstash", "requests", "urllib3"})
SHELL = frozenset({"os", "time", "subprocess", "socket", "threading", "signal", "random", "uuid", "logging", "sys"})
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != DATA)
CLOCK = PACKAGE / "clock.py"
"""Where the run's time is read; services may look at theirs only where a fact of design.md asks for it."""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def source(module: str) -> Path:
    """The file of a module that is named without `keycheck.`"""
    return PACKAGE / f"{module.replace('.', '/')}.py"


def imported(path: Path) -> set[str]:
    """Full names of all that a module imports, wherever in it, relative imports resolved."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "keycheck" if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


def dotted(node: ast.expr) -> str:
    """`os.environ.get` of the expression that says so; empty where it is none of names and dots."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute):
            return f"{dotted(value)}.{attribute}"
        case _:
            return ""


def attributes(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute):
            yield dotted(node)


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that sees the checkout and nothing of the developer's."""
    environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


# Packages


def test_every_folder_of_modules_is_a_package_that_is_installed() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"])
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py")}
    assert listed == found
    assert {path.parent for path in MODULES} == {path.parent for path in PACKAGE.rglob("__init__.py")}


# Sizes


def test_no_class_is_longer_than_250_lines_and_no_module_than_400() -> None:
    """Longer ones are read by nobody who is woken at night: split them by what they answer."""
    for path in MODULES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                assert (node.end_lineno or 0) - node.lineno < 250, (path, node.name)


# Pure modules


def test_a_pure_module_imports_no_library_and_nothing_of_the_shell() -> None:
    for module in PURE:
        tops = {name.split(".")[0] for name in imported(source(module))}
        assert not tops & (LIBRARIES | SHELL), module


def test_a_pure_module_imports_only_pure_modules_of_ours() -> None:
    """And settings.py, for the one frozen value that it is read into."""
    for module in PURE:
        allowed = {"keycheck", "keycheck.settings", *(f"keycheck.{name}" for name in (*PURE, *PURE_FOLDERS))}
        ours = {name for name in imported(source(module)) if name.split(".")[0] == "keycheck"}
        assert {".".join(name.split(".")[:2]) for name in ours} <= allowed, module


def test_a_pure_module_opens_and_prints_nothing() -> None:
    for module in PURE:
        calls = {dotted(node.func) for node in ast.walk(tree(source(module))) if isinstance(node, ast.Call)}
        assert not calls & {
            "open",
            "print",
            "input",
            "exec",
            "eval",
            "compile",
            "__import__",
            "globals",
            "breakpoint",
        }, module


def test_a_pure_module_reads_no_clock() -> None:
    for module in PURE:
        calls = [dotted(node.func) for node in ast.walk(tree(source(module))) if isinstance(node, ast.Call)]
        assert [name for name in calls if name.split(".")[-1] in {"now", "utcnow", "today"}] == [], module


def test_nothing_but_the_clock_and_the_services_reads_the_time_of_day() -> None:
    for path in MODULES:
        if path == CLOCK or path.parent.name == "services":
            continue
        read = [
            name for name in attributes(path) if name in {"datetime.now", "datetime.utcnow", "date.today", "time.time"}
        ]
        assert read == [], path


def test_no_time_of_day_is_naive() -> None:
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call):
                name = dotted(node.func).split(".")[-1]
                assert name not in {"utcnow", "utcfromtimestamp", "today"}, f"{path}, line {node.lineno}"
                assert name not in {"now", "fromtimestamp"} or node.args, f"{path}, line {node.lineno}"


@pytest.mark.process
def test_a_fresh_interpreter_loads_no_library_for_the_pure_modules() -> None:
    modules = ", ".join(f"keycheck.{module}" for module in PURE)
    script = f"import json, sys, {modules}; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = run_python("-c", script)
    assert done.stderr == ""
    assert not LIBRARIES & set(json.loads(done.stdout))


# Who may know of what


def test_keycheck_knows_nothing_of_the_sandbox_and_the_tests() -> None:
    for path in MODULES:
        assert not {name.split(".")[0] for name in imported(path)} & {"sandbox", "tests", "moto", "pytest"}, path


def test_the_environment_is_read_in_cli_alone() -> None:
    for path in MODULES:
        names = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv"}
        used = {name for name in attributes(path) if any(name == one or name.startswith(f"{one}.") for one in names)}
        used |= names & imported(path)
        assert not used or path == PACKAGE / "cli.py", path


def test_a_setting_is_looked_up_by_its_name_in_settings_alone() -> None:
    """Everything else asks the one frozen Settings."""
    for path in MODULES:
        if path == PACKAGE / "settings.py":
            continue
        names = {setting.name for setting in SETTINGS}
        looked_up: list[object] = []
        for node in ast.walk(tree(path)):
            keys: list[ast.expr] = []
            if isinstance(node, ast.Subscript):
                keys = [node.slice]
            elif isinstance(node, ast.Call):
                keys = [*node.args, *(keyword.value for keyword in node.keywords)]
            elif isinstance(node, ast.Compare):
                keys = [node.left, *node.comparators]
            looked_up += [key.value for key in keys if isinstance(key, ast.Constant) and key.value in names]
        assert looked_up == [], path


def test_libraries_are_imported_where_they_are_about_to_be_used() -> None:
    """Never at the top of a module, but for type checkers."""
    for path in MODULES:
        at_the_top = [node for node in tree(path).body if isinstance(node, ast.Import | ast.ImportFrom)]
        for node in at_the_top:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not {name.split(".")[0] for name in names} & LIBRARIES, f"{path}, line {node.lineno}"


def test_only_services_use_libraries() -> None:
    for path in MODULES:
        uses = {name.split(".")[0] for name in imported(path)} & LIBRARIES
        assert not uses or path.parent == PACKAGE / "services", path


# Docstrings and the map


def test_every_module_says_what_it_is() -> None:
    """All but slack_ID_mapping.py: that is data, and its comments are for the person who fills it in."""
    for path in MODULES:
        assert ast.get_docstring(tree(path)), path


def test_every_module_of_the_flow_stands_on_the_map() -> None:
    for path in MODULES:
        the_map = ast.get_docstring(tree(PACKAGE / "__init__.py")) or ""
        if path.parent == PACKAGE and not path.stem.startswith("__"):
            assert f"\n    {path.name} " in the_map
        elif path.parent != PACKAGE:
            assert f"\n    {path.parent.name}/ " in the_map


def test_the_map_calls_pure_what_is_held_to_it() -> None:
    """model.py has values only; the others say so of themselves too."""
    for module in PURE:
        the_map = ast.get_docstring(tree(PACKAGE / "__init__.py")) or ""
        (line,) = [line for line in the_map.splitlines() if line.strip().startswith(f"{module.split('.')[-1]}.py ")]
        if module != "model":
            assert " pure " in line
            assert "Pure" in (ast.get_docstring(tree(source(module))) or "").split("\n\n")[0]


# What starts quickly


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), (["--version"], 0), (["--no-such-switch"], 2), ([], 2)],
    ids=["help", "version", "usage error", "no profile"],
)
def test_no_library_is_loaded_before_there_is_something_to_do(arguments: list[str], code: int) -> None:
    done = run_python("-X", "importtime", str(ENTRY), *arguments)
    loaded = {
        line.split("|")[-1].strip().split(".")[0]
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert done.returncode == code
    assert {"argparse", "keycheck"} <= loaded
    assert not loaded & LIBRARIES


@pytest.mark.process
def test_a_typo_in_a_setting_loads_no_library() -> None:
    script = (
        "import sys, pathlib; from keycheck.cli import main; from keycheck.clock import RunClock\n"
        "code = main(['acme-dev'], {'send_slack': 'maybe'}, RunClock())\n"
        "print(code, *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = run_python("-c", script)
    code, *loaded = done.stdout.split()
    assert code == "2"
    assert not set(loaded) & LIBRARIES
