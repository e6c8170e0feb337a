"""Arguments, wiring, exit code. Shell.

In: the command line, the environment. Out: metric lines on stdout, lines for people on stderr, an exit code
(design.md 2). It never prints anything else to stdout, and no traceback anywhere.

boto3, jira, slack_sdk and credstash are not imported before the arguments and settings are known to be good: `--help`
and a typo in a setting cost no more than the interpreter.
"""

from __future__ import annotations

import argparse
import difflib
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
from keycheck.clock import RunClock, Stopped
from keycheck.completion import SHELLS, PrintCompletion
from keycheck.misspelt import meant_by
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
from keycheck.settings import SETTINGS, Settings, SettingsError, parse
from keycheck.showing import Shown, add_options, lines_of, read_options, width_and_colours
from keycheck.tokens import kind_of_secret
from keycheck.words.parts import cut_name

if TYPE_CHECKING:
    from keycheck.run import RunResult

EXIT_OK = 0
EXIT_NOTHING = 1
EXIT_USAGE = 2
EXIT_ERRORS = 3
EXIT_INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended. SIGTERM, which Telegraf sends, is no reason to lose metrics."""
ENTRY_SCRIPT = "iam-accesskey-check.py"
AWS_FILES = (("AWS_CONFIG_FILE", "~/.aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"))
PROFILE_VARIABLES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
DEFAULT_MAPPING_FILE = Path(__file__).resolve().parent / "slack_ID_mapping.py"
POLL_SECONDS = 0.05
PROFILE_CHARACTERS = 200
"""A metric line must fit into one write to a pipe, and its profile into the first line on stderr."""
DESCRIPTION = """\
Labels every IAM access key of an AWS profile ok, expiring or expired by its age; files a Jira issue for it, nags its
owner on Slack and disables it, each only where a setting says so; prints InfluxDB line protocol for Telegraf.
With nothing set at all it is a read-only audit."""
EPILOG = """\
Examples:
  %(prog)s acme-prod                          the metrics, as Telegraf gets them
  %(prog)s --format table --only expired acme-prod
  %(prog)s --dry-run acme-prod                what would be done, and on which days
  %(prog)s --check acme-prod                  can everything that is switched on be used?
  %(prog)s --explain dev_meier acme-prod      why is this access key still active?

Settings are environment variables: see docs/reference.md, or `source env_setup.sh`.
Exit codes: 0 the scan was printed; 1 nothing could be scanned, or stdout could not be written; 2 usage or settings;
3 only with --fail-on-errors: the scan was printed, but an action or part of the scan failed; with --check: something is
wrong; 130 Ctrl-C: what was known by then was printed."""


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


class _Parser(argparse.ArgumentParser):
    """Usage errors in the one form that stderr has."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, format_line(Level.ERROR, f"keycheck: {message}; see --help").decode())

    def parse_args(self, arguments: Sequence[str]) -> argparse.Namespace:  # type: ignore[override]
        """As argparse does, and name the option that an unknown one nearly is."""
        options, unknown = self.parse_known_args(arguments)
        if unknown:
            names = [one.partition("=")[0] for one in unknown if one.startswith("-")]
            near = [difflib.get_close_matches(name, self._option_string_actions, n=1, cutoff=0.75) for name in names]
            meant = ", ".join(dict.fromkeys(one for found in near for one in found))
            hint = f"; did you mean {meant}?" if meant else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return options


def _own_name(started_as: str) -> str:
    """Return what somebody types to start this: the installed command, the module, or else the entry script."""
    names = {"keycheck": "keycheck", "__main__.py": "python -m keycheck"}
    return names.get(Path(started_as).name, ENTRY_SCRIPT)


def make_parser(own_name: str = ENTRY_SCRIPT) -> argparse.ArgumentParser:
    """Make the command line; its --help stands in docs/reference.md, and a test compares the two."""
    parser = _Parser(
        prog=own_name,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=118),
        allow_abbrev=False,
    )
    parser.add_argument(
        "profiles",
        metavar="AWS_PROFILE",
        nargs="*",
        help="AWS profiles to scan, one after the other in the output (default: as the AWS CLI, AWS_PROFILE, "
        "AWS_DEFAULT_PROFILE or [default])",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="write nothing anywhere; say on stderr, a line an action, what would be done",
    )
    parser.add_argument(
        "--fail-on-errors",
        action="store_true",
        help="exit 3 where an action or part of the scan failed; for cron and Jobs, never for Telegraf's inputs.exec",
    )
    add_options(parser)
    parser.add_argument(
        "--completion",
        choices=SHELLS,
        action=PrintCompletion,
        help="print a script by which that shell completes options and profiles: see docs/reference.md",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="say more on stderr")
    parser.add_argument("--version", action="version", version=f"keycheck {__version__}")
    return parser


def main(arguments: Sequence[str], environ: Mapping[str, str], clock: RunClock, *, stdout_is_open: bool = True) -> int:
    """Make one run and return the exit code. Takes over descriptor 1 once the arguments are good."""
    options = make_parser(_own_name(sys.argv[0])).parse_args(arguments)
    profiles = list(dict.fromkeys(options.profiles or [_profile_of(environ)]))
    shown = (None if options.history else _wrong_profiles(profiles)) or read_options(options)
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
        return _check(profiles, settings, metrics, clock, options.send_test)
    said = _Progress(is_shown_at_once=os.isatty(STDERR))
    result = _supervise(profiles, settings, environ, clock, options, shown, said)
    lines = _lines_of(result, shown, settings, metrics, environ)
    if shown.explained and not lines and result.was_anything_scanned:
        text = f"no user or access key {cut_name(shown.explained)} was found in {', '.join(profiles)}"
        say([format_line(Level.ERROR, f"keycheck: {text}")], clock)
        return EXIT_NOTHING
    return _finish(result, lines, metrics, profiles, clock, options, said)


def _profile_of(environ: Mapping[str, str]) -> str:
    """Return the profile that is meant where none is typed, as the AWS CLI finds it: one that the environment names,
    then [default], if there is one; else "".
    """
    from keycheck.services.aws_files import has_default

    if named := [name for one in PROFILE_VARIABLES if (name := environ.get(one, "").strip())]:
        return named[0]
    files = (environ.get(variable) or path for variable, path in AWS_FILES)
    return "default" if has_default(*files) else ""


def _wrong_profiles(profiles: Sequence[str]) -> str | None:
    """Return what is wrong with the profiles as they were typed."""
    if not all(profile.strip() for profile in profiles):
        return "name an AWS profile, or set AWS_PROFILE; there is no [default]"
    if any(len(profile) > PROFILE_CHARACTERS for profile in profiles):
        return f"a profile's name has more than {PROFILE_CHARACTERS} characters"
    if secrets := [kind for profile in profiles if (kind := kind_of_secret(profile)) is not None]:
        return f"what is given as an AWS profile looks like {secrets[0]}; name a profile"
    for profile in profiles:
        name, sign, _ = profile.partition("=")
        if sign and (setting := meant_by(name, [one.name for one in SETTINGS])) is not None:
            how = f"write it in front of the command, as in {setting}=... {ENTRY_SCRIPT} AWS_PROFILE"
            return f"{setting} is a setting, not an AWS profile: {how}"
    return None


def _lines_of(
    result: RunResult, shown: Shown, settings: Settings, stdout: int, environ: Mapping[str, str]
) -> list[str]:
    """Return what goes to stdout."""
    if shown.explained:
        return list(result.explained)
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


def _check(profiles: Sequence[str], settings: Settings, stdout: int, clock: RunClock, send_to: str | None) -> int:
    """Say of everything that is switched on whether it can be used, as soon as that is known."""
    from keycheck.check import SECONDS, Checks
    from keycheck.services.outside import RealServices

    clock.set_timeout(min(SECONDS, settings.run_timeout_seconds))
    is_all_right = True
    try:
        for finding in Checks(profiles, settings, clock, RealServices(settings, clock), send_to).all():
            is_all_right = is_all_right and finding.is_ok is not False
            write_all(stdout, [f"{finding.line}\n".encode("utf-8", "replace")], clock)
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
        text = f"keycheck: unexpected {type(error).__name__}; please report it"
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
