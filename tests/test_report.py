"""What Telegraf reads of stderr, and that lines are written whole or not at all (design.md 2, "stderr")."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import FileIO

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from keycheck.clock import RunClock
from keycheck.model import Level, Problem
from keycheck.report import ATOMIC_BYTES, LINE_BYTES, CannotWrite, format_line, problem_lines, write_all

KEY = "\N{KEY}"  # four bytes in UTF-8
REPEATABLE = hypothesis_settings(max_examples=80, derandomize=True, deadline=None)


def problem(text: str, level: Level = Level.ERROR, profile: str = "acme-dev") -> Problem:
    return Problem(level, profile, text)


def lines_of(problems: Sequence[Problem], *, verbose: bool = False) -> list[str]:
    """The lines as text, each checked to be one line and short enough."""
    lines = problem_lines(problems, verbose=verbose)
    for line in lines:
        assert len(line) <= LINE_BYTES
        assert line.count(b"\n") == 1
        assert line.endswith(b"\n")
    return [line.decode().removesuffix("\n") for line in lines]


# One line


@pytest.mark.parametrize(
    ("level", "line"),
    [
        (Level.ERROR, b"E! what happened\n"),
        (Level.WARNING, b"W! what happened\n"),
        (Level.INFO, b"I! what happened\n"),
        (Level.DEBUG, b"D! what happened\n"),
    ],
    ids=lambda value: value.name if isinstance(value, Level) else "",
)
def test_a_line_begins_with_its_level(level: Level, line: bytes) -> None:
    assert format_line(level, "what happened") == line


@pytest.mark.parametrize("length", [0, 507, 508])
def test_what_fits_into_512_bytes_stays_whole(length: int) -> None:
    """Three for the prefix, one for the newline."""
    line = format_line(Level.ERROR, "x" * length)
    assert line == b"E! " + b"x" * length + b"\n"
    assert len(line) <= 512


@pytest.mark.parametrize("length", [509, 510, 10_000])
def test_what_does_not_fit_is_cut_with_dots(length: int) -> None:
    assert format_line(Level.ERROR, "x" * length) == b"E! " + b"x" * 505 + b"...\n"


@pytest.mark.parametrize("shift", range(4))
def test_no_character_is_cut_in_two(shift: int) -> None:
    line = format_line(Level.ERROR, "x" * shift + KEY * 200)
    text = line.decode()
    assert 508 <= len(line) <= 512
    assert text.removeprefix("E! ").removesuffix("...\n").strip("x").replace(KEY, "") == ""


def test_no_control_character_reaches_a_terminal_or_a_log() -> None:
    for control in ["\n", "\r", "\t", "\x00", "\x1b", "\x7f", "\x85", "\x9b", "\u2028", "\u202e", "\ud800", "\ufeff"]:
        assert format_line(Level.INFO, f"a{control}b") == b"I! a b\n"


@given(st.sampled_from(Level), st.text(st.characters()) | st.text(KEY + "é\n\ud800x", max_size=600))
@REPEATABLE
def test_whatever_the_text_it_is_one_printable_line(level: Level, text: str) -> None:
    line = format_line(level, text)
    assert len(line) <= 512
    assert line.startswith(f"{level.value} ".encode())
    assert line.decode().removesuffix("\n").isprintable()


# The lines of a run


def test_a_normal_run_says_nothing() -> None:
    assert lines_of([]) == []
    assert lines_of([problem("a", Level.INFO), problem("b", Level.DEBUG)]) == []


def test_errors_come_first_then_warnings_each_in_their_order() -> None:
    problems = [
        problem("one", Level.WARNING),
        problem("two", Level.ERROR),
        problem("three", Level.INFO),
        problem("four", Level.WARNING),
        problem("five", Level.ERROR),
    ]
    assert lines_of(problems) == [
        "E! acme-dev: two (1 of 4 lines)",
        "E! acme-dev: five",
        "W! acme-dev: one",
        "W! acme-dev: four",
    ]


def test_verbose_adds_what_is_milder_after_them() -> None:
    problems = [problem("d", Level.DEBUG), problem("i", Level.INFO), problem("w", Level.WARNING), problem("e")]
    assert lines_of(problems, verbose=True) == [
        "E! acme-dev: e (1 of 2 lines)",
        "W! acme-dev: w",
        "I! acme-dev: i",
        "D! acme-dev: d",
    ]


def test_one_line_is_not_counted() -> None:
    assert lines_of([problem("a")]) == ["E! acme-dev: a"]
    assert lines_of([problem("a"), problem("b", Level.INFO)], verbose=True) == ["E! acme-dev: a", "I! acme-dev: b"]


def test_what_several_profiles_share_is_said_once() -> None:
    problems = [
        problem("same", profile="a"),
        problem("other", profile="b"),
        problem("same", profile="b"),
        problem("same", profile="a"),
    ]
    assert lines_of(problems) == ["E! a, b: same (1 of 2 lines)", "E! b: other"]


def test_one_text_at_two_levels_is_two_lines() -> None:
    problems = [problem("same", Level.WARNING), problem("same", Level.ERROR)]
    assert lines_of(problems) == ["E! acme-dev: same (1 of 2 lines)", "W! acme-dev: same"]


@pytest.mark.parametrize(
    ("count", "names"),
    [(1, "p0"), (2, "p0, p1"), (3, "p0, p1, p2"), (4, "p0, p1, p2 and 1 more"), (50, "p0, p1, p2 and 47 more")],
)
def test_many_profiles_are_counted(count: int, names: str) -> None:
    assert lines_of([problem("same", profile=f"p{number}") for number in range(count)]) == [f"E! {names}: same"]


@pytest.mark.parametrize("letter", ["x", "é", KEY], ids=["one byte", "two bytes", "four bytes"])
def test_a_long_first_line_still_names_the_profile_and_says_how_many_there_are(letter: str) -> None:
    """It may be all that Telegraf keeps."""
    for length in [400, 470, 480, 490, 500, 5000]:
        first, *_ = lines_of([problem(letter * length)] + [problem(f"text {number}") for number in range(99)])
        assert first.startswith(f"E! acme-dev: {letter * 50}")
        assert first.endswith(" (1 of 100 lines)")


@pytest.mark.parametrize("profile", ["p" * 1000, KEY * 1000, "a\nb", "\udcff"], ids=["long", "wide", "lines", "bytes"])
def test_no_profile_hides_what_happened(profile: str) -> None:
    first, second = lines_of([problem("what happened", profile=profile), problem("more")])
    assert "what happened" in first
    assert first.endswith(" (1 of 2 lines)")
    assert second == "E! acme-dev: more"


@given(
    st.lists(
        st.builds(
            Problem,
            st.sampled_from(Level),
            st.sampled_from(["a", "b", KEY * 200, "\n"]),
            st.text(max_size=20) | st.text("é\n", max_size=600),
        )
    ),
    st.booleans(),
)
@REPEATABLE
def test_whatever_went_wrong_every_line_is_one_that_telegraf_reads(problems: list[Problem], verbose: bool) -> None:
    lines = lines_of(problems, verbose=verbose)
    shown = {one for one in problems if verbose or one.level in {Level.ERROR, Level.WARNING}}
    assert len(lines) == len({(one.level, one.text) for one in shown})
    assert [line[:3] for line in lines] == sorted((line[:3] for line in lines), key="E! W! I! D! ".index)


# Writing


@pytest.fixture(name="clock")
def clock_with_time() -> RunClock:
    return RunClock()


@pytest.fixture(name="over")
def clock_that_is_over() -> RunClock:
    clock = RunClock()
    clock.set_timeout(-3600)
    return clock


@dataclass(frozen=True)
class Pipe:
    """Both ends as files: closing one twice is harmless, unlike a bare descriptor."""

    reader: FileIO
    writer: FileIO

    def rest(self) -> bytes:
        """All that is in it, and will be."""
        self.writer.close()
        return self.reader.readall()


@pytest.fixture(name="pipe")
def open_pipe() -> Iterator[Pipe]:
    reading, writing = os.pipe()
    with FileIO(reading, "r") as reader, FileIO(writing, "w") as writer:
        yield Pipe(reader, writer)


def packets(lines: Sequence[bytes], clock: RunClock) -> list[bytes]:
    """What each single write held: a socket of this kind keeps them apart."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    received: list[bytes] = []

    def receive() -> None:
        while packet := theirs.recv(1_000_000):
            received.append(packet)

    with theirs:
        reader = threading.Thread(target=receive)
        reader.start()
        with ours:
            write_all(ours.fileno(), lines, clock)
        reader.join()
    return received


def line_of(length: int) -> bytes:
    return b"x" * (length - 1) + b"\n"


@pytest.mark.parametrize(
    ("lengths", "writes"),
    [
        pytest.param([10, 20, 30], [60], id="few lines are one write"),
        pytest.param([ATOMIC_BYTES], [ATOMIC_BYTES], id="one line of the limit"),
        pytest.param([4000, 96], [4096], id="to the limit"),
        pytest.param([4000, 97], [4000, 97], id="a byte more than the limit"),
        pytest.param([2000, 2000, 2000], [4000, 2000], id="three"),
        pytest.param([100] * 100, [4000, 4000, 2000], id="a hundred"),
    ],
)
def test_only_whole_lines_are_written_and_never_more_than_a_pipe_takes_at_once(
    lengths: list[int], writes: list[int], clock: RunClock
) -> None:
    """A write of at most PIPE_BUF bytes to a pipe is whole or not at all: pipe(7)."""
    written = packets([line_of(length) for length in lengths], clock)
    assert [len(packet) for packet in written] == writes
    assert all(packet.endswith(b"\n") for packet in written)


@given(st.lists(st.integers(1, ATOMIC_BYTES), max_size=40))
@hypothesis_settings(max_examples=30, derandomize=True, deadline=None)
def test_whatever_the_lengths_no_line_is_torn(lengths: list[int]) -> None:
    lines = [line_of(length) for length in lengths]
    written = packets(lines, RunClock())
    assert b"".join(written) == b"".join(lines)
    assert all(packet.endswith(b"\n") and len(packet) <= ATOMIC_BYTES for packet in written)


def test_a_pipe_gets_everything_however_much(pipe: Pipe, clock: RunClock) -> None:
    """Far more than a pipe holds: the reader is slower than the writer."""
    lines = [b"%06d " % number + line_of(90) for number in range(10_000)]
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.reader.readall()))
    reader.start()
    write_all(pipe.writer.fileno(), lines, clock)
    pipe.writer.close()
    reader.join()
    assert received[0] == b"".join(lines)


def test_nothing_to_write_is_no_error(pipe: Pipe, clock: RunClock) -> None:
    write_all(pipe.writer.fileno(), [], clock)
    assert pipe.rest() == b""


def test_a_reader_that_went_away_is_an_error(pipe: Pipe, clock: RunClock) -> None:
    pipe.reader.close()
    with pytest.raises(CannotWrite, match=r"^Broken pipe$"):
        write_all(pipe.writer.fileno(), [b"a line\n"], clock)


def test_a_full_disk_is_an_error(clock: RunClock) -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(CannotWrite, match=r"^No space left on device$"):
            write_all(descriptor, [b"a line\n"], clock)
    finally:
        os.close(descriptor)


def test_a_descriptor_that_is_not_open_is_an_error(clock: RunClock) -> None:
    with pytest.raises(CannotWrite, match=r"^Bad file descriptor$"):
        write_all(999_999, [b"a line\n"], clock)


def test_a_reader_that_does_not_read_is_an_error_once_the_time_is_over(
    pipe: Pipe, over: RunClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what the pipe took by then are whole lines."""
    monkeypatch.setattr("keycheck.clock.EXIT_SECONDS", 0.5)
    lines = [line_of(1000) for _ in range(100)]
    with pytest.raises(CannotWrite, match=r"^nobody reads it$"):
        write_all(pipe.writer.fileno(), lines, over)
    left = pipe.rest()
    assert 0 < len(left) < 100_000
    assert left == line_of(1000) * (len(left) // 1000)


def test_what_a_pipe_has_room_for_is_written_even_when_the_time_is_over(pipe: Pipe, over: RunClock) -> None:
    write_all(pipe.writer.fileno(), [b"a line\n"], over)
    assert pipe.rest() == b"a line\n"
