"""The real Telegraf, run with what a user would take: telegraf.conf, and keycheck as the README installs it.

In: a configuration's text, an environment. Out: a Telegraf process whose lines can be read. A sample is used as it
stands, but for the two folders that it names: /opt/keycheck and /etc/keycheck are below a test's own.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from line_protocol_parser import parse_line

ROOT: Final = Path(__file__).resolve().parents[2]
SAMPLE: Final = (ROOT / "telegraf.conf").read_text(encoding="utf-8")
WHY_NO_TELEGRAF: Final = "there is no telegraf on PATH; it is neither in Debian nor on PyPI: see docs/deploying.md"
PATIENCE_SECONDS: Final = 60.0
"""How long a condition may take on a busy machine; what is waited for comes within a second or three."""


def has_telegraf() -> bool:
    return shutil.which("telegraf") is not None


def install_keycheck(opt: Path) -> None:
    """What the README's Quick start does: the package copied to `opt`, its first line naming the interpreter."""
    shutil.copytree(ROOT / "keycheck", opt, ignore=shutil.ignore_patterns("__pycache__"))
    entry = opt / "iam-accesskey-check.py"
    text = entry.read_text(encoding="utf-8")
    entry.write_text(f"#!{sys.executable}\n" + text.split("\n", 1)[1], encoding="utf-8")


def outputs() -> dict[str, str]:
    """The outputs that telegraf.conf has commented out, by name, each as it reads without its "# "."""
    blocks = re.findall(r"^# \[\[outputs\.(\w+)\]\]\n((?:# .*\n?)*)", SAMPLE, flags=re.MULTILINE)
    return {name: f"[[outputs.{name}]]\n" + re.sub(r"^# ", "", rest, flags=re.MULTILINE) for name, rest in blocks}


def with_output(name: str) -> str:
    """telegraf.conf with one more output taken out of its comment."""
    block = outputs()[name]
    commented = "".join(f"# {line}\n" for line in block.splitlines())
    assert commented in SAMPLE + "\n"
    return SAMPLE.replace(commented.rstrip("\n"), block.rstrip("\n"))


@dataclass(frozen=True, slots=True)
class Ended:
    """What a Telegraf that has ended left behind."""

    code: int
    lines: list[str]
    log: str

    def of(self, measurement: str) -> list[dict[str, object]]:
        """The points of one measurement, tags and fields together, `time` and Telegraf's own left out."""
        points = [parse_line(line) for line in self.lines]
        return [{**one["tags"], **one["fields"]} for one in points if one["measurement"] == measurement]


class Telegraf:
    """A Telegraf with this configuration and environment, from `start` until `stop`; as a context manager it ends."""

    def __init__(self, folder: Path, config: str, environ: Mapping[str, str], *arguments: str) -> None:
        self._config = folder / "telegraf.conf"
        self._config.write_text(config, encoding="utf-8")
        self._out, self._err = folder / "stdout", folder / "stderr"
        self._command = [
            *("telegraf", "--strict-env-handling", "--config", str(self._config)),
            *arguments,
        ]
        self._environ = dict(environ)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                self._command, env=self._environ, cwd="/", stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def stdout(self) -> str:
        return self._out.read_text(encoding="utf-8")

    @property
    def log(self) -> str:
        return self._err.read_text(encoding="utf-8")

    def ended(self, number: signal.Signals | None = None) -> Ended:
        """Wait until it has ended by itself, or after this signal."""
        assert self._process is not None
        if number is not None:
            self._process.send_signal(number)
        code = self._process.wait(timeout=PATIENCE_SECONDS)
        return Ended(code, self.stdout.splitlines(), self.log)


def installed_sample(text: str, opt: Path, etc: Path) -> str:
    """A sample's text with the two folders that it names below a test's own."""
    return text.replace("/opt/keycheck", str(opt)).replace("/etc/keycheck", str(etc))


def left_running(opt: Path) -> list[str]:
    """The command lines of all processes that run what is below `opt`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [command for command in found if str(opt) in command]


def check(folder: Path, config: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`telegraf config check`, as docs/deploying.md has it."""
    path = folder / "checked.conf"
    path.write_text(config, encoding="utf-8")
    return subprocess.run(
        [shutil.which("telegraf") or "telegraf", "config", "check", "--strict-env-handling", "--config", str(path)],
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
