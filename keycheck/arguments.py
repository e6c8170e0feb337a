"""The command line -> options, and which AWS profiles are meant. Shell.

In: arguments, the environment. Out: options as argparse has them, or one line that says what is wrong with them
(design.md 2). It asks no service.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from keycheck import __version__
from keycheck.completion import SHELLS, PrintCompletion
from keycheck.misspelt import meant_by
from keycheck.model import Level
from keycheck.report import format_line
from keycheck.settings import SETTINGS
from keycheck.showing import add_options
from keycheck.tokens import kind_of_secret

EXIT_USAGE = 2
ENTRY_SCRIPT = "iam-accesskey-check.py"
AWS_FILES = (("AWS_CONFIG_FILE", "~/.aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"))
PROFILE_VARIABLES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
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


def own_name(started_as: str) -> str:
    """Return what somebody types to start this: the installed command, the module, or else the entry script."""
    names = {"keycheck": "keycheck", "__main__.py": "python -m keycheck"}
    return names.get(Path(started_as).name, ENTRY_SCRIPT)


def make_parser(called: str = ENTRY_SCRIPT) -> argparse.ArgumentParser:
    """Make the command line; its --help stands in docs/reference.md, and a test compares the two."""
    parser = _Parser(
        prog=called,
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


def profile_of(environ: Mapping[str, str]) -> str:
    """Return the profile that is meant where none is typed, as the AWS CLI finds it: one that the environment names,
    then [default], if there is one; else "".
    """
    if named := [name for one in PROFILE_VARIABLES if (name := environ.get(one, "").strip())]:
        return named[0]
    from keycheck.services.aws_files import has_default

    files = (environ.get(variable) or path for variable, path in AWS_FILES)
    return "default" if has_default(*files) else ""


def wrong_profiles(profiles: Sequence[str]) -> str | None:
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
