"""What whoever watches from outside knows of notices: who was told a day of which access key, and what became of it.
design.md 5 and 6, told once more, without keycheck's code.

In: what Slack and Jira show, in the order in which it happened, and, after each run, what that run could see. Out: why
an access key should not have been disabled just now. It is one-sided: what a failing call, a kill or a look-up that is
remembered may have kept from keycheck is never held against it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from keycheck.model import AccessKey

ISSUE = "the issue"
LAPSES_AFTER = timedelta(days=14)
LOOKED_UP_AGAIN_WITHIN = timedelta(days=8)
"""A look-up of a person on Slack is remembered for a week, and a message may be what finds out."""
TELLS_A_DAY = re.compile(
    r"from (\d{4}-\d\d-\d\d) on it is disabled|disabled from (\d{4}-\d\d-\d\d) on"
    r"|its day has come|disabled any day now|being disabled now"
)


@dataclass
class Notice:
    """`kept_at`: when a run last could say the same."""

    since: datetime
    kept_at: datetime


@dataclass
class People:
    """Who owns which user, and who is on Slack. `by_email`: who owns users that `owners` does not name, as Slack says
    once it was asked; None: nobody.

    `moved_at`: when somebody last left Slack, or came back.
    """

    owners: dict[str, str]
    fallback: str
    by_email: Mapping[str, str | None] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    moved_at: dict[str, datetime] = field(default_factory=dict)

    def leave_or_come_back(self, slack_id: str, at: datetime) -> None:
        self.gone ^= {slack_id}
        self.moved_at[slack_id] = at

    def move_back(self, span: timedelta) -> None:
        self.moved_at = {slack_id: at - span for slack_id, at in self.moved_at.items()}

    def may_be_unread(self, user_name: str) -> bool:
        """Whether Slack may not have been asked yet who owns it: its turn comes."""
        return user_name not in self.owners and user_name in self.by_email

    def asked(self, user_name: str, at: datetime) -> set[str]:
        """Who may be told now, of all that keycheck can know."""
        slack_id = self.owners.get(user_name, self.by_email.get(user_name))
        if slack_id is None:
            return {self.fallback}
        moved_at = self.moved_at.get(slack_id)
        if moved_at is not None and at - moved_at <= LOOKED_UP_AGAIN_WITHIN:
            return {slack_id, self.fallback}
        return {self.fallback if slack_id in self.gone else slack_id}


@dataclass(frozen=True)
class Rules:
    """What the settings of a run say."""

    expire_days: int
    notice_days: int
    sends: bool
    files: bool
    disables: bool

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        on = {name: environ.get(name) == "True" for name in ("send_slack", "create_jira", "disable_key")}
        return cls(
            int(environ.get("expire_age", "180")),
            int(environ["disable_notice_days"]),
            on["send_slack"],
            on["create_jira"],
            on["disable_key"],
        )

    def is_due(self, key: AccessKey, at: datetime) -> bool:
        return at - key.create_date >= timedelta(days=self.expire_days - 15)


@dataclass
class Notices:
    """All notices in force, by access key id and who heard them, and the latest day told of each access key.

    `may_be_unrecorded`: what is told now may not be on record (a kill, a failing call): its day is not held to.
    """

    in_force: dict[tuple[str, str], Notice] = field(default_factory=dict)
    days_told: dict[str, datetime] = field(default_factory=dict)
    said_in_issue: dict[str, datetime] = field(default_factory=dict)
    may_be_unrecorded: bool = False

    def copy(self) -> Notices:
        return deepcopy(self)

    def forget(self) -> None:
        """The table is lost; what was last said in an issue may be found there, void or not."""
        self.in_force = {(name, ISSUE): Notice(at, at) for name, at in self.said_in_issue.items()}
        self.days_told = {}

    def move_back(self, span: timedelta) -> None:
        """Let time pass as the sandbox does: all that has happened is so much longer ago."""
        for notice in self.in_force.values():
            notice.since -= span
            notice.kept_at -= span
        self.days_told = {name: day - span for name, day in self.days_told.items()}
        self.said_in_issue = {name: at - span for name, at in self.said_in_issue.items()}

    # What is seen

    def message(
        self, slack_id: str, blocks: Iterable[Mapping[str, Any]], keys: Sequence[AccessKey], at: datetime
    ) -> None:
        """A message was answered ok."""
        for entry in entries(blocks):
            for key in keys:
                if is_about(entry, key) and (day := day_told(entry, at)):
                    self._told(key, slack_id, day, at)

    def issue(self, text: str, key: AccessKey, at: datetime) -> None:
        """An issue was filed, or somebody could read a new comment in it."""
        if day := day_told(text, at):
            self.said_in_issue[key.access_key_id] = at
            self._told(key, ISSUE, day, at)

    def _told(self, key: AccessKey, by: str, day: datetime, at: datetime) -> None:
        heard = (key.access_key_id, by)
        notice = self.in_force.get(heard)
        if notice is None or at - notice.kept_at >= LAPSES_AFTER:
            self.in_force[heard] = Notice(at, at)
        else:
            notice.kept_at = at
        if not self.may_be_unrecorded:
            self.days_told[key.access_key_id] = max(day, self.days_told.get(key.access_key_id, day))

    def ran(
        self,
        rules: Rules,
        keys: Mapping[str, AccessKey],
        people: People,
        exempt: Collection[str],
        at: datetime,
        *,
        surely: bool,
    ) -> None:
        """A run ended. `keys`: as it found them. `surely`: nothing kept it from seeing all, and writing what it saw."""
        if not (rules.sends or rules.files):
            return
        for heard, notice in list(self.in_force.items()):
            key = keys.get(heard[0])
            is_said = (
                rules.disables
                and key is not None
                and key.is_active
                and key.user_name not in exempt
                and rules.is_due(key, at)
                and heard[1] in (people.asked(key.user_name, at) if rules.sends else {ISSUE})
            )
            if is_said:
                notice.kept_at = at
            elif surely and not (key is not None and rules.sends and people.may_be_unread(key.user_name)):
                del self.in_force[heard]

    # What follows

    def why_not(self, key: AccessKey, rules: Rules, people: People, at: datetime) -> Iterator[str]:
        """Why this access key should not have been disabled now."""
        if (day := self.days_told.get(key.access_key_id)) is not None and at < day:
            yield f"before the day told, {day:%Y-%m-%d}"
        if not (rules.sends or rules.files):
            return
        hearers = people.asked(key.user_name, at) if rules.sends else {ISSUE}
        found = [self.in_force[key.access_key_id, by] for by in hearers if (key.access_key_id, by) in self.in_force]
        if not found:
            yield f"and none of {sorted(hearers)} has a notice in force"
        elif all(at - notice.kept_at >= LAPSES_AFTER for notice in found):
            yield "on a notice that nobody has kept for two weeks"
        elif all(at - notice.since < timedelta(days=rules.notice_days) for notice in found):
            yield f"within the {rules.notice_days} days of its notice"


def entries(blocks: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What a message says of one access key each."""
    for block in blocks:
        text = str(block.get("text", {}).get("text", ""))
        yield from [text] if text.startswith("*`") else (line for line in text.splitlines() if line.startswith("• `"))


def is_about(entry: str, key: AccessKey) -> bool:
    names = (f"`{key.access_key_id}`", f"ending in `{key.last_five}`", f"...{key.last_five}:")
    return f"`{key.user_name}`" in entry and any(name in entry for name in names)


def day_told(text: str, at: datetime) -> datetime | None:
    """The day from which it is said to be disabled: today, if it is said that the day has come."""
    found = TELLS_A_DAY.search(text.replace("\\", ""))
    if found is None:
        return None
    day = found[1] or found[2]
    if day is None:
        return at.replace(hour=0, minute=0, second=0, microsecond=0)
    return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
