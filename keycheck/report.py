"""What people read on stderr, and the writing of both streams. Shell.

In: Problems and lines. Out: bytes on a file descriptor. It never prints a traceback, a control character, or more than
512 bytes a line: Telegraf keeps the first line of stderr, cut at 512 bytes (plugins/inputs/exec/exec.go), and reads
the level from the first two characters.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterable, Sequence

from keycheck.clock import RunClock
from keycheck.model import Level, Problem

LINE_BYTES = 512
ATOMIC_BYTES = 4096
"""A write of so much to a pipe is whole or not at all: POSIX's PIPE_BUF on Linux."""
STDERR = 2


class CannotWrite(Exception):
    """The lines could not be written whole; the message says why."""


def format_line(level: Level, text: str) -> bytes:
    """Return one line of at most 512 bytes with its newline; what does not fit is cut at a character, with `...`."""
    printable = "".join(c if c.isprintable() else " " for c in f"{level.value} {text}")
    line = printable.encode("utf-8", "replace")
    return _cut(line, LINE_BYTES - 1, LINE_BYTES - 4) + b"\n"


def problem_lines(problems: Iterable[Problem], *, verbose: bool) -> list[bytes]:
    """Errors first, then warnings, then what -v asks for; one that several profiles or access keys share stands once.

    The first line may be all that Telegraf keeps, so it also says how many there are.
    """
    grouped: dict[tuple[Level, str], tuple[dict[str, None], dict[str, None]]] = {}
    for problem in problems:
        names, subjects = grouped.setdefault((problem.level, problem.text), ({}, {}))
        names[problem.profile] = None
        if problem.subject:
            subjects[problem.subject] = None
    shown = [(level, text) for level, text in grouped if verbose or level in (Level.ERROR, Level.WARNING)]
    order = list(Level)
    shown.sort(key=lambda one: order.index(one[0]))
    serious = sum(1 for level, _ in shown if level in (Level.ERROR, Level.WARNING))
    lines = []
    for number, (level, text) in enumerate(shown):
        first = f" (1 of {serious} lines)" if number == 0 and serious > 1 else ""
        room = LINE_BYTES - 16 - len(first.encode())
        names, subjects = grouped[level, text]
        body = f"{_names(list(names))}: {text}{_about(list(subjects))}".encode("utf-8", "replace")
        lines.append(format_line(level, _cut(body, room, room).decode() + first))
    return lines


def _cut(text: bytes, longest: int, kept: int) -> bytes:
    """Return the text as it is, or, longer than `longest` bytes, its first `kept` ending at a whole character, and
    `...`.
    """
    return text if len(text) <= longest else text[:kept].decode("utf-8", "ignore").encode() + b"..."


def _names(profiles: Sequence[str]) -> str:
    """Which profiles a line is about, in at most 100 characters or so."""
    text = ", ".join(profiles[:3])[:100]
    return text + (f" and {len(profiles) - 3} more" if len(profiles) > 3 else "")


def _about(subjects: Sequence[str]) -> str:
    if not subjects:
        return ""
    count = f"{len(subjects)}: " if len(subjects) > 1 else ""
    return f" ({count}{', '.join(subjects[:3])}{', ...' if len(subjects) > 3 else ''})"


def write_all(descriptor: int, lines: Iterable[bytes], clock: RunClock) -> None:
    """Write whole lines, so that a reader that goes away, or a kill, never leaves half a one on a pipe.

    Raises CannotWrite if the descriptor refuses, or if a full pipe is not read until the process must be gone.
    """
    chunk = b""
    for line in lines:
        if len(chunk) + len(line) > ATOMIC_BYTES:
            _write(descriptor, chunk, clock)
            chunk = b""
        chunk += line
    _write(descriptor, chunk, clock)


def _write(descriptor: int, data: bytes, clock: RunClock) -> None:
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        while data:
            if not poll.poll(100):
                if clock.exit_seconds() < 0.3:
                    raise CannotWrite("nobody reads it")
                continue
            data = data[os.write(descriptor, data) :]
    except OSError as error:
        raise CannotWrite(error.strerror or type(error).__name__) from error


def say(lines: Iterable[bytes], clock: RunClock) -> None:
    """Write to stderr, as well as can be: if that fails there is nobody left to tell."""
    try:
        write_all(STDERR, lines, clock)
    except CannotWrite:
        return


def open_standard_streams() -> bool:
    """Make sure that descriptors 0, 1 and 2 are taken, so that no socket gets one of them. Whether stdout was open."""
    was_open = True
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            was_open = was_open and descriptor != 1
            os.open(os.devnull, os.O_RDWR)
    return was_open


def take_stdout() -> int:
    """Return a private descriptor for the metrics. Whatever a library prints from now on is lost: on stdout it would
    cost all metrics, and on stderr it could be the one line that Telegraf keeps.
    """
    if sys.stdout is not None:
        sys.stdout.flush()
    metrics = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return metrics
