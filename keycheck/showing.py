"""The options that say what a person is shown, and the writing of it: rows as a table, JSON or CSV. Shell.

In: options, rows, the descriptor that they go to. Out: lines of text. What is shown never decides what is done.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from keycheck.explain import is_meant
from keycheck.model import AgeLabel, LabelledKey, Scan
from keycheck.owners import SLACK_ID
from keycheck.rows import Choice, Order, Row, chosen

FORMATS = ("influx", "table", "json", "csv")
NO_RICH = "--format table needs the Python package rich; run: pip install rich, or take --format csv"


@dataclass(frozen=True, slots=True)
class Shown:
    """What is printed on stdout. `last_uses`: IAM is asked when each access key was last used, a call each.
    `explained`: whose access keys are explained instead of all of them shown: a user name, or the last five characters.
    """

    format: str = "influx"
    choice: Choice = field(default_factory=Choice)
    last_uses: bool = False
    explained: str = ""
    since: datetime | None = None

    @property
    def has_rows(self) -> bool:
        return self.format != "influx" or bool(self.explained)

    def explains(self, key: LabelledKey) -> bool:
        return bool(self.explained) and is_meant(key.access_key, self.explained)

    def whom_to_ask_for(self, scan: Scan) -> frozenset[str]:
        """Return the users that are explained and were not asked for in this run: what is said of them is to be true
        now.
        """
        if not self.explained:
            return frozenset()
        named = {name for name in scan.cached if name.casefold() == self.explained.strip().casefold()}
        return frozenset(named | {key.user_name for key in scan.keys if is_meant(key, self.explained)}) & scan.cached

    def asks_for_use_of(self, key: LabelledKey) -> bool:
        """Return whether its last use is read for this alone."""
        return self.last_uses or self.explains(key)


METRICS_ALONE = Shown()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is about stdout to the command line."""
    group = parser.add_argument_group(
        "what is shown on stdout",
        "--only, --user, --sort and --last-used go with another format than influx. None of them changes what is done.",
    )
    group.add_argument(
        "--format",
        choices=FORMATS,
        default="influx",
        help="influx: line protocol, for Telegraf (default); table: for people; json, csv: docs/output.md",
    )
    group.add_argument(
        "--only",
        metavar="LABELS",
        type=_labels,
        help="only access keys with these labels, such as expiring,expired",
    )
    group.add_argument("--user", metavar="PATTERN", help="only users of this name; * and ? stand for any characters")
    group.add_argument(
        "--sort",
        choices=[order.value for order in Order],
        help="age: oldest first (default); user; label: most urgent first; owner; next: what has the nearest day",
    )
    group.add_argument(
        "--last-used",
        action="store_true",
        help="when and by what each access key was last used, which costs a call each",
    )

    group.add_argument(
        "--explain",
        metavar="USER_OR_LAST5",
        help="say all that is known of a user's access keys, or of the one with these last five characters, and what "
        "the next run would do; writes nothing anywhere",
    )
    group.add_argument(
        "--history",
        action="store_true",
        help="what happened to access keys, as the state table keeps it: of all accounts, or of the profiles that are "
        "named; with --since, --user, --format table (default), json or csv",
    )
    group.add_argument(
        "--since", metavar="DATE", type=_day, help="with --history: only since that day, like 2026-03-01"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="is everything that is switched on really usable? A line each, on stdout; acts on nothing; exit 0 or 3",
    )
    parser.add_argument(
        "--send-test",
        metavar="SLACK_ID",
        help="with --check: send that person or channel a message that says it is a test",
    )


def _labels(text: str) -> frozenset[AgeLabel]:
    known = {label.value: label for label in AgeLabel}
    names = [name.strip() for name in text.split(",")]
    if wrong := [name for name in names if name not in known]:
        what = repr(wrong[0]) if len(wrong[0]) <= 20 else f"a word of {len(wrong[0])} characters"
        raise argparse.ArgumentTypeError(f"{what} is no label; they are {', '.join(known)}")
    return frozenset(known[name] for name in names)


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        what = repr(text) if len(text) <= 20 else f"a text of {len(text)} characters"
        raise argparse.ArgumentTypeError(f"{what} is no day like 2026-03-01") from None


def read_options(options: argparse.Namespace) -> Shown | str:
    """Return what is to be shown, or why it cannot be."""
    given = [
        name
        for name, is_given in (
            ("--only", options.only is not None),
            ("--user", options.user is not None),
            ("--sort", options.sort is not None),
            ("--last-used", options.last_used),
        )
        if is_given
    ]
    if options.since is not None and not options.history:
        return "--since goes with --history"
    if options.history:
        return _history(options)
    is_checked = options.check or options.send_test is not None
    if is_checked and (given or options.format != "influx" or options.explain is not None or options.dry_run):
        return "--check goes with no option but --send-test"
    if options.send_test is not None and not (options.check and SLACK_ID.fullmatch(options.send_test)):
        return "--send-test goes with --check, and a Slack id like U012AB3CD or C012AB3CD"
    if options.explain is not None:
        if options.format != "influx" or given:
            return "--explain goes with no other option about stdout"
        if not options.explain.strip():
            return "--explain needs a user name, or the last five characters of an access key"
        return Shown(explained=options.explain.strip())
    if options.format == "influx" and given:
        return f"{given[0]} needs --format table, json or csv"
    if options.format == "table" and importlib.util.find_spec("rich") is None:
        return NO_RICH
    choice = Choice(options.only or frozenset(AgeLabel), options.user or "*", Order(options.sort or "age"))
    return Shown(options.format, choice, options.last_used)


def _history(options: argparse.Namespace) -> Shown | str:
    others = (options.only, options.sort, options.explain, options.send_test)
    if any(one is not None for one in others) or options.last_used or options.check or options.dry_run:
        return "--history goes with --since, --user and --format alone"
    form = "table" if options.format == "influx" else options.format
    if form == "table" and importlib.util.find_spec("rich") is None:
        return NO_RICH
    return Shown(form, Choice(user=options.user or "*"), since=options.since)


def width_and_colours(descriptor: int, environ: Mapping[str, str]) -> tuple[int | None, bool]:
    """Return how wide the terminal is, None if there is none, and whether it is given colours: not with NO_COLOR
    (no-color.org).
    """
    is_terminal = os.isatty(descriptor)
    width = os.get_terminal_size(descriptor).columns if is_terminal else None
    return width or None, is_terminal and not environ.get("NO_COLOR")


def fold(lines: Sequence[str], width: int | None, indent: int = 4) -> list[str]:
    """Return sentences folded between words for a terminal of that width; as they are where there is no terminal.

    `indent`: how much further in than its first a sentence's other lines are.
    """
    if width is None:
        return list(lines)
    folded: list[str] = []
    for line in lines:
        wrapper = textwrap.TextWrapper(max(width, 40), break_long_words=False, break_on_hyphens=False)
        wrapper.subsequent_indent = " " * (len(line) - len(line.lstrip()) + indent)
        folded += wrapper.wrap(line) or [line]
    return folded


def lines_of(rows: Sequence[Row], shown: Shown, descriptor: int, environ: Mapping[str, str]) -> list[str]:
    """Return what goes to stdout."""
    found = chosen(rows, shown.choice)
    match shown.format:
        case "json":
            from keycheck.row_formats import FIELDS, as_json

            return as_json(found, FIELDS)
        case "csv":
            from keycheck.row_formats import FIELDS, as_csv

            return as_csv(found, FIELDS)
        case _:
            from keycheck.row_table import as_table

            width, has_colours = width_and_colours(descriptor, environ)
            return as_table(found, width, has_colours=has_colours)
