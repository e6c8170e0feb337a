"""Wiring, exit code. Shell.

In: the command line, the environment. Out: metric lines on stdout, lines for people on stderr, an exit code
(design.md 2). It never prints anything else to stdout, and no traceback anywhere.

boto3, jira, slack_sdk and credstash are not imported before the arguments and settings are known to be good: `--help`
and a typo in a setting cost no more than the interpreter.
"""

from __future__ import annotations

import argparse
import logging
import os
import queue
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from keycheck import __version__
from keycheck.arguments import EXIT_USAGE, make_parser, own_name, profile_of, wrong_profiles
from keycheck.clock import EXIT_INTERRUPTED, RunClock, Stopped
from keycheck.model import Level, Problem
from keycheck.progress import ProgressLine
from keycheck.report import (
    STDERR,
    CannotWrite,
    format_line,
    open_standard_streams,
    problem_lines,
    say,
    take_stdout,
    write_all,
)
from keycheck.settings import Settings, SettingsError, parse
from keycheck.showing import Shown, fold, lines_of, read_options, width_and_colours
from keycheck.words.parts import cut_name, unexpected

if TYPE_CHECKING:
    from keycheck.run import RunResult

EXIT_OK = 0
EXIT_NOTHING = 1
EXIT_ERRORS = 3
DEFAULT_MAPPING_FILE = Path(__file__).resolve().parent / "slack_ID_mapping.py"
POLL_SECONDS = 0.05


class _Progress:
    """What -v says of a run's progress. A person at a terminal sees it at once; elsewhere it waits for the end, since
    Telegraf keeps the first line of stderr alone, and that is to be the first that matters.
    """

    def __init__(self, *, is_shown_at_once: bool) -> None:
        self._is_shown_at_once = is_shown_at_once
        self._kept: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def add(self, line: bytes, clock: RunClock) -> None:
        if self._is_shown_at_once:
            say([line], clock)
        else:
            self._kept.put(line)

    def take(self) -> list[bytes]:
        return [self._kept.get() for _ in range(self._kept.qsize())]


def main(arguments: Sequence[str], environ: Mapping[str, str], clock: RunClock, *, stdout_is_open: bool = True) -> int:
    """Make one run and return the exit code. Takes over descriptor 1 once the arguments are good."""
    options = make_parser(own_name(sys.argv[0])).parse_args(arguments)
    profiles = list(dict.fromkeys(options.profiles or [profile_of(environ)]))
    shown = (None if options.history else wrong_profiles(profiles)) or read_options(options)
    if isinstance(shown, str):
        say([format_line(Level.ERROR, f"keycheck: {shown}; see --help")], clock)
        return EXIT_USAGE
    try:
        settings = parse(environ, DEFAULT_MAPPING_FILE)
    except SettingsError as error:
        problems = [Problem(Level.ERROR, profile, text) for text in error.problems for profile in profiles]
        say(problem_lines(problems, verbose=False), clock)
        return EXIT_USAGE
    if (settings.dump_metric_to_console or shown.has_rows) and not stdout_is_open:
        return _cannot_write(profiles, "it is closed", clock)
    clock.set_timeout(settings.run_timeout_seconds)
    metrics = take_stdout()
    _silence_libraries()
    if options.history:
        return _history(options.profiles, settings, metrics, clock, shown, environ)
    if options.check:
        return _check(profiles, settings, metrics, clock, options.send_test, environ)
    said = _Progress(is_shown_at_once=os.isatty(STDERR))
    result = _supervise(profiles, settings, environ, clock, options, shown, said)
    lines = _lines_of(result, shown, settings, metrics, environ)
    if shown.explained and not lines and result.was_anything_scanned:
        text = f"no user or access key {cut_name(shown.explained)} was found in {', '.join(profiles)}"
        say([format_line(Level.ERROR, f"keycheck: {text}")], clock)
        return EXIT_NOTHING
    return _finish(result, lines, metrics, profiles, clock, options, said)


def _lines_of(
    result: RunResult, shown: Shown, settings: Settings, stdout: int, environ: Mapping[str, str]
) -> list[str]:
    """Return what goes to stdout."""
    if shown.explained:
        return fold(result.explained, width_and_colours(stdout, environ)[0])
    if shown.format == "table" and not result.was_anything_scanned:
        return []  # no access keys would be said to be there
    if shown.has_rows:
        return lines_of(result.rows, shown, stdout, environ)
    return list(result.lines) if settings.dump_metric_to_console else []


def _history(
    profiles: Sequence[str],
    settings: Settings,
    stdout: int,
    clock: RunClock,
    shown: Shown,
    environ: Mapping[str, str],
) -> int:
    """Say what happened, as the state table keeps it."""
    from keycheck.history import happened, lines_of
    from keycheck.services import ServiceError
    from keycheck.services.outside import RealServices

    services = RealServices(settings, clock)
    if settings.aws_dynamodb_profile_name is None:
        text = "keycheck: --history reads the state table: set aws_dynamodb_profile_name"
        say([format_line(Level.ERROR, text)], clock)
        return EXIT_USAGE
    try:
        account_ids = {services.probe_iam(profile).who().arn.split(":")[4] for profile in profiles}
        claims = services.open_claims()
        records = claims.with_events() if claims.open(create=False) else []
        found = happened(records, account_ids=account_ids, user=shown.choice.user, since=shown.since)
        width, has_colours = width_and_colours(stdout, environ)
        lines = lines_of(found, shown.format, width, has_colours=has_colours)
        write_all(stdout, [f"{line}\n".encode("utf-8", "replace") for line in lines], clock)
    except (ServiceError, Stopped) as error:
        cut_by = (
            f"cut off by {clock.what_ended_it}" if clock.was_signalled else "no time was left; see run_timeout_seconds"
        )
        why = error.text if isinstance(error, ServiceError) else cut_by
        say([format_line(Level.ERROR, f"keycheck: {why}")], clock)
        return EXIT_NOTHING
    except CannotWrite as error:
        return _cannot_write(profiles or ["keycheck"], str(error), clock)
    return EXIT_OK


def _check(
    profiles: Sequence[str],
    settings: Settings,
    stdout: int,
    clock: RunClock,
    send_to: str | None,
    environ: Mapping[str, str],
) -> int:
    """Say of everything that is switched on whether it can be used, as soon as that is known."""
    from keycheck.check import SECONDS, Checks
    from keycheck.services.outside import RealServices

    clock.set_timeout(min(SECONDS, settings.run_timeout_seconds))
    is_all_right = True
    width, _ = width_and_colours(stdout, environ)
    try:
        for finding in Checks(profiles, settings, clock, RealServices(settings, clock), send_to).all():
            is_all_right = is_all_right and finding.is_ok is not False
            lines = fold([finding.line], width, indent=9)
            write_all(stdout, [f"{line}\n".encode("utf-8", "replace") for line in lines], clock)
    except CannotWrite as error:
        return _cannot_write(profiles, str(error), clock)
    return EXIT_OK if is_all_right else EXIT_ERRORS


def _supervise(
    profiles: Sequence[str],
    settings: Settings,
    environ: Mapping[str, str],
    clock: RunClock,
    options: argparse.Namespace,
    shown: Shown,
    said: _Progress,
) -> RunResult:
    """Let the run work in a thread of its own; this one is never in a network call, so a signal is always heard."""
    from keycheck.run import Run
    from keycheck.services.outside import RealServices
    from keycheck.workers import LIMIT

    def debug(profile: str, text: str) -> None:
        if options.verbose:
            said.add(format_line(Level.DEBUG, f"{profile}: {text} (after {clock.elapsed_seconds:.1f} s)"), clock)

    debug(", ".join(profiles), f"keycheck {__version__} begins")
    run = Run(
        profiles,
        settings,
        clock,
        environment_key_id=environ.get("AWS_ACCESS_KEY_ID", "").strip(),
        is_dry_run=options.dry_run or bool(shown.explained),
        shown=shown,
        debug=debug,
        outside=RealServices(settings, clock),
    )
    worker = threading.Thread(target=run.work, name="run", daemon=True)
    try:
        worker.start()
    except RuntimeError:
        run.fail(f"no thread could be started: {LIMIT}")
        return run.result()
    shown_at = ProgressLine(run.progress, clock, is_shown=os.isatty(STDERR) and not options.verbose)
    while worker.is_alive() and clock.grace_seconds() > 0:
        worker.join(POLL_SECONDS)
        shown_at.update()
    shown_at.take_away()
    return run.result()


def _finish(
    result: RunResult,
    lines: Sequence[str],
    metrics: int,
    profiles: Sequence[str],
    clock: RunClock,
    options: argparse.Namespace,
    said: _Progress,
) -> int:
    """Print everything: people's lines first, since a broken stdout ends the rest."""
    say(problem_lines(result.problems, verbose=options.verbose), clock)
    say(said.take(), clock)
    if options.explain is None:
        say([format_line(Level.INFO, f"{profile}: {text}") for profile, text in result.dry_run_lines], clock)
    try:
        write_all(metrics, [f"{line}\n".encode("utf-8", "replace") for line in lines], clock)
    except CannotWrite as error:
        return _cannot_write(profiles, str(error), clock)
    if not result.was_anything_scanned:
        was_cut = clock.was_signalled or (clock.scan_is_over() and not result.has_scan_failed)
        if not was_cut:
            return EXIT_NOTHING
    if options.fail_on_errors and result.has_failed:
        return EXIT_ERRORS
    return EXIT_OK


def _cannot_write(profiles: Sequence[str], why: str, clock: RunClock) -> int:
    problem = Problem(Level.ERROR, ", ".join(profiles), f"the metrics could not be written to stdout: {why}")
    say(problem_lines([problem], verbose=False), clock)
    return EXIT_NOTHING


def _silence_libraries() -> None:
    """Libraries log and warn on stderr without the prefixes that Telegraf reads, and may log secrets: not here."""
    logging.getLogger().addHandler(logging.NullHandler())
    logging.lastResort = None
    warnings.simplefilter("ignore")
    threading.excepthook = lambda _: None


def run(clock: RunClock | None = None) -> NoReturn:
    """Run main, then end the process at once. Threads that still wait for an answer must not hold it up."""
    if clock is None:
        clock = RunClock()
        clock.listen()
    os.environ["TZ"] = "UTC0"  # nothing here is local, and botocore fails on dates in a zone that makes no sense
    time.tzset()
    code = EXIT_NOTHING
    stdout_is_open = open_standard_streams()
    try:
        code = main(sys.argv[1:], os.environ, clock, stdout_is_open=stdout_is_open)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else EXIT_USAGE
    except Exception as error:  # noqa: BLE001 - no traceback reaches a user
        text = f"keycheck: {unexpected(error)}"
        say([format_line(Level.ERROR, text)], clock)
    if clock.what_ended_it == "SIGINT":
        code = EXIT_INTERRUPTED
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        code = code or EXIT_NOTHING
    if "keycheck.services.processes" in sys.modules:  # it is not imported for --help
        sys.modules["keycheck.services.processes"].end_all()
    os._exit(code)
