"""Thirty days of an account of 500 old access keys, a run every hour: what `disable_key=True` does to it.

In: a stage that can run keycheck once and let time pass. Out: what happened on each day, and every promise that was
broken. `make rehearsal` plays it with the real script against the servers of this folder; a test plays it in process.

    500 users, 480 access keys expired, three exempt, ten whose owner nobody knows, one in use until day 15;
    notice 7 days, at most 50 disabled a day, one message an owner in 24 hours.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from keycheck.model import AccessKey, LastUse, Level
from keycheck.run import Run
from keycheck.settings import parse
from sandbox.fake_iam import FakeIam
from sandbox.in_memory import HourlyClock, MemoryAccount
from sandbox.warm_parent import WarmParent
from sandbox.world import World

DAYS = 30
USERS, EXPIRED, EXEMPT, UNKNOWN, OWNERS = 500, 480, 3, 10, 120
IN_USE_UNTIL_DAY = 15
NOTICE_DAYS, A_DAY_AT_MOST, GRACE_DAYS = 7, 50, 7
FALLBACK = "C0SECURITY"
PROFILE = "acme-dev"
HOUR, A_DAY = timedelta(hours=1), timedelta(days=1)
SETTINGS = {
    "send_slack": "True",
    "create_jira": "True",
    "disable_key": "True",
    "disable_notice_days": str(NOTICE_DAYS),
    "max_disables_per_day": str(A_DAY_AT_MOST),
    "disable_in_use_hours": "24",
    "slack_fallback_channel": FALLBACK,
}


@dataclass(frozen=True)
class OldKey:
    """One access key of the account: who has it, who is told, and how old it is on the first day."""

    user_name: str
    slack_id: str
    age_days: int
    is_exempt: bool = False
    is_in_use: bool = False

    @property
    def is_expired(self) -> bool:
        return self.age_days >= 180


def cast() -> tuple[OldKey, ...]:
    """The account on the first day: each user has one access key; owners have one to eight."""
    keys = []
    for number in range(USERS):
        age_days = 200 + number if number < EXPIRED else 10 + number % 100
        slack_id = FALLBACK if number < UNKNOWN else f"U0OWNER{number % OWNERS:03d}"
        is_exempt = UNKNOWN <= number < UNKNOWN + EXEMPT
        is_in_use = number == UNKNOWN + EXEMPT
        keys.append(OldKey(f"user-{number:03d}", slack_id, age_days, is_exempt, is_in_use))
    return tuple(keys)


def exemptions(keys: Sequence[OldKey], until: date) -> str:
    return "\n".join(
        f'[[exemption]]\naccount = "{PROFILE}"\nuser = "{key.user_name}"\nuntil = {until}\nreason = "moves to a role"\n'
        for key in keys
        if key.is_exempt
    )


def mapping(keys: Sequence[OldKey]) -> str:
    owners = {key.user_name: key.slack_id for key in keys if key.slack_id != FALLBACK}
    return f"mapping = {owners!r}\n"


@dataclass(frozen=True)
class Message:
    """A message as its reader has it: all text of its blocks."""

    at: datetime
    slack_id: str
    text: str
    ahead: timedelta = timedelta()
    """How far the account's time was ahead of the clock by which the message names days."""


@dataclass(frozen=True)
class Issue:
    """`ended_at` is None while it is open. `text`: its description."""

    key: str
    user_name: str
    filed_at: datetime
    ended_at: datetime | None
    comments: int
    text: str


@dataclass(frozen=True)
class Seen:
    """All that was done so far, by what the outside services saw."""

    messages: tuple[Message, ...]
    issues: tuple[Issue, ...]
    disabled: tuple[tuple[datetime, str], ...]


class Stage(Protocol):
    """Where the rehearsal is played; `now` is the account's time."""

    now: datetime

    def run(self) -> Sequence[str]:
        """One run of keycheck: its metric lines. Raises AssertionError where it says anything at E."""
        ...

    def use(self, user_name: str) -> None:
        """That user's access key was used just now."""
        ...

    def pass_hour(self) -> None: ...

    def seen(self) -> Seen: ...


def play(
    stage: Stage,
    keys: Sequence[OldKey],
    *,
    days: int = DAYS,
    hours_apart: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> Seen:
    """A run every hour, or every so many; `say` gets a row a day, what that day's runs did."""
    say(ROW.format("day", "messages", "issues filed", "disabled", "comments", "closed", "overdue", "exempt"))
    say(ROW.format(*["---"] * 8))
    before = Seen((), (), ())
    for day in range(1, days + 1):
        counts: dict[str, int] = {}
        for hour in range(24):
            if day <= IN_USE_UNTIL_DAY:
                for key in keys:
                    if key.is_in_use:
                        stage.use(key.user_name)
            if hour % hours_apart == 0:
                counts = run_counts(stage.run())
            stage.pass_hour()
        seen = stage.seen()
        say(row(day, before, seen, counts))
        before = seen
    return before


ROW = "| {} | {} | {} | {} | {} | {} | {} | {} |"


def row(day: int, before: Seen, seen: Seen, counts: dict[str, int]) -> str:
    def ended(one: Seen) -> int:
        return sum(1 for issue in one.issues if issue.ended_at is not None)

    def comments(one: Seen) -> int:
        return sum(issue.comments for issue in one.issues)

    return ROW.format(
        day,
        len(seen.messages) - len(before.messages),
        len(seen.issues) - len(before.issues),
        len(seen.disabled) - len(before.disabled),
        comments(seen) - comments(before),
        ended(seen) - ended(before),
        counts.get("overdue", "?"),
        counts.get("exempt", "?"),
    )


def run_counts(lines: Sequence[str]) -> dict[str, int]:
    """The integer fields of the iam_run line."""
    line = next(line for line in lines if line.startswith("iam_run,"))
    return {name: int(value) for name, value in re.findall(r"([a-z_]+)=([0-9]+)i", line)}


def broken_promises(seen: Seen, keys: Sequence[OldKey]) -> list[str]:
    """What must not have happened, and did; a sentence each."""
    broken = [*_sent_twice(seen), *_disabled_wrongly(seen, keys), *_too_many_a_day(seen)]
    exempt = {key.user_name for key in keys if key.is_exempt}
    for issue in seen.issues:
        if issue.user_name in exempt:
            broken.append(f"{issue.key} was filed for exempt {issue.user_name}")
        if issue.ended_at is None:
            broken.append(f"{issue.key} for {issue.user_name} is still open")
    per_user = Counter(issue.user_name for issue in seen.issues)
    broken += [f"{count} issues for {user_name}" for user_name, count in per_user.items() if count > 1]
    told_of_exempt = [name for name in exempt for one in seen.messages if f"`{name}`" in one.text]
    broken += [f"a message named exempt {name}" for name in told_of_exempt]
    left = {key.user_name for key in keys if key.is_expired} - exempt - {name for _, name in seen.disabled}
    broken += [f"{name} was never disabled" for name in sorted(left)]
    return broken


def _sent_twice(seen: Seen) -> list[str]:
    broken = []
    last: dict[str, datetime] = {}
    for one in sorted(seen.messages, key=lambda one: one.at):
        before = last.get(one.slack_id)
        if before is not None and one.at - before < A_DAY - timedelta(seconds=1):
            broken.append(f"{one.slack_id} got two messages within 24 hours, at {before} and {one.at}")
        last[one.slack_id] = one.at
    return broken


def _disabled_wrongly(seen: Seen, keys: Sequence[OldKey]) -> list[str]:
    """Disabled without having been told, before the notice was over, or before a day that was told."""
    broken = []
    by_name = {key.user_name: key for key in keys}
    told = _told(seen)
    for at, user_name in seen.disabled:
        key = by_name[user_name]
        if key.is_exempt or not key.is_expired:
            broken.append(f"{user_name} is {'exempt' if key.is_exempt else 'not expired'} and was disabled at {at}")
        warnings = [(when, day) for when, to, day in told[user_name] if to == key.slack_id and when <= at]
        if not warnings:
            broken.append(f"{user_name} was disabled at {at}, untold")
        elif at - warnings[0][0] < NOTICE_DAYS * A_DAY - timedelta(seconds=2):
            broken.append(f"{user_name} was disabled at {at}, told only at {warnings[0][0]}")
        days = [day for _, day in warnings if day is not None]
        if days and at < max(days):
            broken.append(f"{user_name} was disabled at {at}, before {max(days)}, the day told")
    return broken


def _told(seen: Seen) -> dict[str, list[tuple[datetime, str, datetime | None]]]:
    """User name -> when, to whom, and the first instant of the day named, of each message that names the user."""
    told: dict[str, list[tuple[datetime, str, datetime | None]]] = defaultdict(list)
    for one in sorted(seen.messages, key=lambda one: one.at):
        parts = re.split(r"(?=`user-\d{3}`)", one.text)
        for part in parts:
            if (name := re.match(r"`(user-\d{3})`", part)) is not None:
                day = re.search(r"from (\d{4}-\d\d-\d\d) on", part)
                instant = datetime.fromisoformat(f"{day[1]}T00:00:00+00:00") + one.ahead if day else None
                told[name[1]].append((one.at, one.slack_id, instant))
    return told


def _too_many_a_day(seen: Seen) -> list[str]:
    times = sorted(at for at, _ in seen.disabled)
    return [
        f"more than {A_DAY_AT_MOST} access keys were disabled in the 24 hours before {later}"
        for earlier, later in zip(times, times[A_DAY_AT_MOST:], strict=False)
        if later - earlier < A_DAY - timedelta(seconds=2)
    ]


def text_of(blocks: Sequence[Any]) -> str:
    return "\n".join(str(block.get("text", {}).get("text", "")) for block in blocks)


# In process


class MemoryStage:
    """keycheck's own code from Run on, in this process, on `in_memory`; an hour is a number."""

    def __init__(self, keys: Sequence[OldKey], folder: Path, began: datetime) -> None:
        self.now = began
        (folder / "mapping.py").write_text(mapping(keys))
        (folder / "exemptions.toml").write_text(exemptions(keys, began.date() + timedelta(days=90)))
        needed = (
            "jira_project_key",
            "credstash_aws_profile_name",
            "credstash_keyname_atlassian_api_token",
            "credstash_keyname_slack_api_token",
            "aws_dynamodb_profile_name",
        )
        environ = {
            **SETTINGS,
            **dict.fromkeys(needed, "any"),
            "jira_server_address": "https://example.atlassian.net",
            "exemptions_file": str(folder / "exemptions.toml"),
            "run_timeout_seconds": "3600",
        }
        self.settings = parse(environ, folder / "mapping.py")
        self.account = MemoryAccount("111122223333", began)
        self.names = {}
        for number, key in enumerate(keys):
            access_key_id = f"AKIAREHEARSAL{number:07d}"
            self.names[access_key_id] = key.user_name
            created = began - key.age_days * A_DAY
            self.account.keys[access_key_id] = AccessKey(
                access_key_id, key.user_name, "111122223333", "Active", created
            )

    def run(self) -> Sequence[str]:
        clock = HourlyClock(self.now)
        clock.set_timeout(self.settings.run_timeout_seconds)
        run = Run(
            [PROFILE],
            self.settings,
            clock,
            environment_key_id="",
            is_dry_run=False,
            debug=lambda *_: None,
            outside=self.account,
        )
        run.work()
        result = run.result()
        errors = [problem.text for problem in result.problems if problem.level is Level.ERROR]
        if errors:
            raise AssertionError(f"at {self.now}: {errors}")
        return result.lines

    def use(self, user_name: str) -> None:
        ids = [access_key_id for access_key_id, name in self.names.items() if name == user_name]
        self.account.last_uses |= dict.fromkeys(ids, LastUse(self.now, "s3", "eu-west-1"))

    def pass_hour(self) -> None:
        self.now += HOUR
        self.account.now = self.now

    def seen(self) -> Seen:
        names = {access_key_id[-5:]: name for access_key_id, name in self.names.items()}
        issues = []
        for one in self.account.issues.values():
            last_five = re.search(r"\.\.\.(\w{5})", one.draft.summary)
            name = names[last_five[1]] if last_five else "?"
            issues.append(Issue(one.key, name, one.filed_at, one.ended_at, len(one.comments), one.draft.description))
        return Seen(
            tuple(Message(one.at, one.slack_id, text_of(one.draft.blocks)) for one in self.account.sent),
            tuple(issues),
            tuple((at, self.names[access_key_id]) for at, access_key_id in self.account.disabled),
        )


# As subprocesses


class ServerStage:
    """The real script as a subprocess, against the servers of this folder.

    Time passes by moving the whole sandbox back an hour, so the account's time is ahead of the clock's.
    """

    def __init__(self, keys: Sequence[OldKey], world: World) -> None:
        self.began = self.now = datetime.now(UTC)
        self._ahead = timedelta()
        self._world = world
        self._iam = world.iam
        self._messages: list[Message] = []
        self._disabled: list[tuple[datetime, str]] = []
        self._names: dict[str, str] = {}
        for key in keys:
            user = self._fake_iam().add_user(key.user_name, [key.age_days])
            self._names[user.keys[0].access_key_id] = key.user_name
            if key.slack_id != FALLBACK:
                world.owners[key.user_name] = key.slack_id
        file = world.folder / "exemptions.toml"
        file.write_text(exemptions(keys, self.began.date() + timedelta(days=90)), encoding="utf-8")
        self._settings = {**SETTINGS, "exemptions_file": str(file)}

    def _fake_iam(self) -> FakeIam:
        if self._iam is None:
            raise ValueError("the rehearsal needs a world with a FakeIam")
        return self._iam

    def run(self) -> Sequence[str]:
        before = self._active()
        sent = len(self._world.slack.messages)
        ran = self._world.run(PROFILE, **self._settings)
        if ran.code != 0 or "E! " in ran.stderr:
            raise AssertionError(f"at {self.now}: exit {ran.code}: {ran.stderr}")
        gone = before - self._active()
        self._disabled += [(self.now, self._names[access_key_id]) for access_key_id in sorted(gone)]
        for message in self._world.slack.messages[sent:]:
            at = message.at + self._ahead
            self._messages.append(Message(at, message.channel, text_of(message.blocks), self._ahead))
        return ran.lines

    def _active(self) -> set[str]:
        users = self._fake_iam().users.values()
        return {key.access_key_id for user in users for key in user.keys if key.status == "Active"}

    def use(self, user_name: str) -> None:
        for key in self._fake_iam().users[user_name].keys:
            self._fake_iam().use_key(key.access_key_id, datetime.now(UTC))

    def pass_hour(self) -> None:
        self._world.pass_time(HOUR)
        self._ahead += HOUR
        self.now = datetime.now(UTC) + self._ahead

    def seen(self) -> Seen:
        names = {access_key_id[-5:]: name for access_key_id, name in self._names.items()}
        issues = []
        for one in self._world.jira.issues.values():
            last_five = re.search(r"\.\.\.(\w{5})", one.summary)
            name = names[last_five[1]] if last_five else "?"
            done = one.transitions[-1].at + self._ahead if one.category == "done" else None
            filed_at = one.created + self._ahead
            issues.append(Issue(one.key, name, filed_at, done, len(one.comments), str(one.description)))
        return Seen(tuple(self._messages), tuple(issues), tuple(self._disabled))


def main() -> int:
    """Play it with the real script; the days may be given as an argument."""
    keys = cast()
    days = int(sys.argv[1]) if len(sys.argv) > 1 else DAYS
    with WarmParent() as warm, World(iam=FakeIam(), warm=warm) as world:
        seen = play(ServerStage(keys, world), keys, days=days, say=partial(print, flush=True))
    broken = broken_promises(seen, keys) if days == DAYS else []
    for promise in broken:
        print(f"BROKEN: {promise}")
    if days == DAYS and not broken:
        print(f"{len(seen.messages)} messages, {len(seen.issues)} issues, {len(seen.disabled)} disabled; none wrongly")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
