"""--completion: bash really completes with the script; for both shells every option is in it."""

from __future__ import annotations

import builtins
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from keycheck.arguments import make_parser
from sandbox.warm_parent import ENTRY

CONFIG = """\
[default]
region = us-east-1
[profile acme-dev]
[profile  acme-prod]
[profile $(touch {folder}/was-run)]
[sso-session acme-sso]
"""
COMPLETE = """\
eval "$1"
COMP_WORDS=(iam-accesskey-check.py "${@:2}")
COMP_CWORD=$(($# - 1))
_shtab_iam_accesskey_check_py
printf '%s\\n' "${COMPREPLY[@]}"
"""


def script(shell: str) -> str:
    command = [sys.executable, str(ENTRY), "--completion", shell]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.process
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["--fo"], {"--format"}),
        (["--format", ""], {"influx", "table", "json", "csv"}),
        (["--dry-run", "acme-"], {"acme-dev", "acme-prod"}),
        (["acme-dev", "d"], {"default"}),
    ],
    ids=["an option", "its values", "profiles", "a second profile"],
)
def test_bash_completes(tmp_path: Path, typed: list[str], offered: set[str]) -> None:
    (tmp_path / "config").write_text(CONFIG.format(folder=tmp_path))
    environ = {"PATH": "/usr/bin:/bin", "AWS_CONFIG_FILE": str(tmp_path / "config")}
    command = ["bash", "-c", COMPLETE, "bash", script("bash"), *typed]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == offered
    assert done.stderr == ""
    assert not (tmp_path / "was-run").exists()


@pytest.mark.process
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_every_option_is_in_the_script(shell: str) -> None:
    text = script(shell)
    for action in make_parser()._actions:
        for option in action.option_strings:
            assert option in text
    assert "#compdef iam-accesskey-check.py" in text or shell == "bash"


def test_without_shtab_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    really = builtins.__import__

    def without(name: str, *more: object) -> ModuleType:
        if name == "shtab":
            raise ImportError(name)
        return really(name, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SystemExit) as ended:
        make_parser().parse_args(["--completion", "zsh"])
    assert ended.value.code == 2
    assert capsys.readouterr() == (
        "",
        "E! keycheck: --completion needs the Python package shtab; run: pip install shtab; see --help\n",
    )
