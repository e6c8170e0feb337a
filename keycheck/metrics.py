"""Labelled keys + outcomes -> InfluxDB line protocol. Pure.

In: one profile's scan, its labelled keys, what became of its plan. Out: lines, each escaped and checked, and the lines
that had to be dropped. It never prints.

One bad line makes Telegraf drop all lines of a run (plugins/parsers/influx/parser.go), so each is checked against the
grammar before it leaves here. Escapes: Telegraf's plugins/serializers/influx/escape.go, and services.md 7.3 for
what its parser takes. The catalogue (names, types, units) is a promise: add, never rename.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from keycheck.actions import (
    Action,
    AssignIssue,
    CommentIssue,
    DisableKey,
    FileIssue,
    Observation,
    Outcomes,
    Result,
    SendMessage,
    access_key_ids,
)
from keycheck.model import AgeLabel, LabelledKey, Level, Problem, Scan

KEY_TAGS = ("name", "key", "status", "accountAlias")
KEY_FIELDS = {"age": "float"}
ACTION_TAGS = (*KEY_TAGS, "action")
ACTION_FIELDS = {"count": "integer"}
RUN_TAGS = ("accountAlias",)
RUN_FIELDS = {
    "users": "integer",
    "keys": "integer",
    "ok": "integer",
    "expiring": "integer",
    "expired": "integer",
    "disabled": "integer",
    "issues_filed": "integer",
    "nags_sent": "integer",
    "keys_disabled": "integer",
    "skipped": "integer",
    "exempt": "integer",
    "overdue": "integer",
    "waiting": "integer",
    "root_access_keys": "integer",
    "errors": "integer",
    "incomplete": "integer",
    "duration_seconds": "float",
    "finished_at": "integer",
}

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_TAG = r"[a-zA-Z_]+=(?:[^\x00-\x1f\x7f\ud800-\udfff ,=\\]|\\[ ,=])+"
_FIELD = r"[a-z_]+=(?:0|[1-9][0-9]{0,17})(?:i|\.[0-9]{1,9})?"  # 18 digits are within an int64
_LINE = re.compile(rf"(?:iam|iam_action|iam_run)(?:,{_TAG})+ {_FIELD}(?:,{_FIELD})*")


@dataclass(frozen=True, slots=True)
class Lines:
    """What to print for one profile, in order, and what to say about it on stderr."""

    lines: tuple[str, ...]
    problems: tuple[Problem, ...]


def escape_tag(value: str) -> str:
    """Return a tag value that Telegraf's parser takes, whatever the text.

    A backslash has no escape of its own (one before a comma, or at the end, is an error), so it becomes a slash.
    Control characters, which are errors even when escaped, become `_`; an empty value, an error too, becomes `unknown`.
    """
    text = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
    text = _CONTROL.sub("_", text).replace("\\", "/")
    return re.sub(r"([ ,=])", r"\\\1", text) or "unknown"


def is_sound(line: str) -> bool:
    """Return whether Telegraf's parser surely takes this line; stricter than the format."""
    return _LINE.fullmatch(line) is not None


def labels_after(keys: Sequence[LabelledKey], outcomes: Outcomes) -> tuple[LabelledKey, ...]:
    """Return the labels after this run's actions: `disabled` only if AWS answered that it is, in this run."""
    disabled = {
        outcome.action.key.access_key.access_key_id
        for outcome in outcomes.outcomes
        if isinstance(outcome.action, DisableKey) and outcome.result is Result.DONE
    }
    return tuple(
        replace(key, label=AgeLabel.DISABLED) if key.access_key.access_key_id in disabled else key for key in keys
    )


def render(
    scan: Scan,
    keys: Sequence[LabelledKey],
    outcomes: Outcomes,
    duration_seconds: float,
    finished_at: datetime,
    more: Mapping[str, int] = MappingProxyType({}),
) -> Lines:
    """Return every line of one profile: one an access key in the order given, one an action that was done about one,
    then its `iam_run`.

    `keys` carry their labels after this run; `outcomes` are this profile's. The `errors` field counts the lines that
    are dropped here.
    `finished_at`: this instant; what scrapes, as Prometheus does, sees only by it how old a value is. `more`: exempt,
    overdue and root_access_keys, each only if it is known.
    """
    problems: list[Problem] = []
    sound = []
    for key in keys:
        line = key_line(scan.profile, key)
        if is_sound(line):
            sound.append(line)
        else:
            text = f"the metric line of an access key ending in {key.access_key.last_five!a} is malformed; dropped"
            problems.append(Problem(Level.ERROR, scan.profile, text))
    sound += [line for line in action_lines(scan.profile, keys, outcomes) if is_sound(line)]  # their keys were said
    problems += _collapsing(scan.profile, keys)
    errors = sum(
        problem.count for problem in (*scan.problems, *outcomes.problems, *problems) if problem.level is Level.ERROR
    )
    line = run_line(scan, keys, outcomes, errors, duration_seconds, finished_at, more)
    if is_sound(line):
        sound.append(line)
    else:
        problems.append(Problem(Level.ERROR, scan.profile, "the iam_run line is malformed; dropped"))
    return Lines(tuple(sound), tuple(problems))


def key_line(profile: str, key: LabelledKey) -> str:
    """`iam,name=dev_kramer,key=VHXVM,status=disabled,accountAlias=acme-dev age=197`"""
    values = (key.access_key.user_name, key.access_key.last_five, key.label.value, profile)
    tags = ",".join(f"{tag}={escape_tag(value)}" for tag, value in zip(KEY_TAGS, values, strict=True))
    return f"iam,{tags} age={key.age_days}"


def action_lines(profile: str, keys: Sequence[LabelledKey], outcomes: Outcomes) -> Iterator[str]:
    """`iam_action,name=dev_kramer,key=VHXVM,status=disabled,accountAlias=acme-dev,action=disabled count=1i`

    One an access key and action that was surely done, with its label after the run: dashboards mark them. Those about
    access keys that AWS does not show any more have none.
    """
    shown = {key.access_key.access_key_id: key for key in keys}
    counts = Counter(
        (access_key_id, word)
        for outcome in outcomes.outcomes
        if outcome.result is Result.DONE and (word := _word_of(outcome.action)) is not None
        for access_key_id in access_key_ids(outcome.action)
        if access_key_id in shown
    )
    for (access_key_id, word), count in counts.items():
        key = shown[access_key_id]
        values = (key.access_key.user_name, key.access_key.last_five, key.label.value, profile, word)
        tags = ",".join(f"{tag}={escape_tag(value)}" for tag, value in zip(ACTION_TAGS, values, strict=True))
        yield f"iam_action,{tags} count={count}i"


def _word_of(action: Action) -> str | None:
    """Return what an action is called; None for what nobody outside can see."""
    match action:
        case FileIssue():
            return "filed"
        case SendMessage():
            return "told"
        case DisableKey():
            return "disabled"
        case CommentIssue(event=event):
            return "ended" if event.closes else "commented"
        case AssignIssue() | Observation():
            return None


def run_line(
    scan: Scan,
    keys: Sequence[LabelledKey],
    outcomes: Outcomes,
    errors: int,
    duration_seconds: float,
    finished_at: datetime,
    more: Mapping[str, int] = MappingProxyType({}),
) -> str:
    """Return the profile's `iam_run` line; if it could not be scanned: errors, incomplete and times only."""
    incomplete = 0 if scan.is_complete and scan.was_scanned else 1
    values: dict[str, int] = {}
    if scan.was_scanned:
        labels = Counter(key.label for key in keys)
        done = [outcome.action for outcome in outcomes.outcomes if outcome.result is Result.DONE]
        values = {
            "users": scan.user_count,
            "keys": len(keys),
            **{label.value: labels[label] for label in AgeLabel},
            "issues_filed": _count(done, FileIssue),
            "nags_sent": _count(done, SendMessage),
            "keys_disabled": _count(done, DisableKey),
            "skipped": len(outcomes.skips),
            **{name: more[name] for name in ("exempt", "overdue", "waiting", "root_access_keys") if name in more},
        }
    values |= {"errors": errors, "incomplete": incomplete}
    fields = ",".join(f"{name}={value}i" for name, value in values.items())
    times = f"duration_seconds={max(0.0, duration_seconds):.3f},finished_at={int(finished_at.timestamp())}i"
    return f"iam_run,accountAlias={escape_tag(scan.profile)} {fields},{times}"


def _count(actions: Iterable[object], kind: type) -> int:
    return sum(1 for action in actions if isinstance(action, kind))


def _collapsing(profile: str, keys: Sequence[LabelledKey]) -> list[Problem]:
    """Lines of equal tags are one point to every database: the later one overwrites the earlier one."""
    tags = Counter((key.access_key.user_name, key.access_key.last_five, key.label) for key in keys)
    return [
        Problem(
            Level.WARNING,
            profile,
            f"{count} access keys of {user_name} end in {last_five} and are {label.value}: dashboards show only one",
        )
        for (user_name, last_five, label), count in tags.items()
        if count > 1
    ]
