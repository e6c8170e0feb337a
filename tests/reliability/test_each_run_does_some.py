"""Each run does something of everything it has to do, and what it has no time for has its turn in the next ones.

What must be seen: with 3,000 due access keys of 300 owners, and a deadline that allows for a part of the calls, all are
filed and told after about as many runs as the calls take, and no queue waits for another's.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keycheck.model import AccessKey, Level
from keycheck.run import Run, RunResult
from keycheck.services import ServiceError
from keycheck.settings import parse
from keycheck.words.issue import IssueDraft
from keycheck.words.message import SlackDraft
from sandbox.http_fake import Fault, calls
from sandbox.in_memory import HourlyClock, MemoryAccount, MemoryIssues, MemoryMessages
from sandbox.world import World
from tests.builders import ACCOUNT, AT_ONCE, EVERYTHING, NOW, PROFILE
from tests.running import run, run_fields

OWNERS = 300
USERS = 3000
COSTLY = {"list_user_tags", "last_used", "apply", "create", "find_open", "send"}
"""Calls that are made for each access key, user or owner; each takes one of the run's `calls`."""


class CountedClock(HourlyClock):
    """Its time is spent by calls: a run has as many seconds as calls."""

    def __init__(self, account: MemoryAccount, calls: int) -> None:
        super().__init__(account.now)
        self.set_timeout(3600)
        self._calls = calls
        self._lock = threading.Lock()
        self.made: dict[str, int] = {}

    def spend(self, name: str) -> None:
        with self._lock:
            self.made[name] = self.made.get(name, 0) + 1

    def remaining_seconds(self) -> float:
        return max(0.0, self._calls - sum(self.made.values()))

    def grace_seconds(self) -> float:
        return 60.0


class Counted:
    """An adapter, or what opens adapters, whose costly calls are counted."""

    def __init__(self, real: object, clock: CountedClock) -> None:
        self._real, self._clock = real, clock

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if name.startswith("open_") and isinstance(self._real, MemoryAccount):
            return lambda *arguments: Counted(found(*arguments), self._clock)
        if name not in COSTLY:
            return found

        def call(*arguments: Any, **more: Any) -> Any:
            self._clock.spend(name)
            return found(*arguments, **more)

        return call


def run_counted(account: MemoryAccount, folder: Path, calls: int, **changes: str) -> tuple[RunResult, dict[str, int]]:
    """One run that has time for so many calls; what came of it, and the calls that it made."""
    clock = CountedClock(account, calls)
    mapping = folder / "mapping.py"
    mapping.write_text("mapping = {}\n", encoding="utf-8")
    given: Run = Run(
        [PROFILE],
        parse({**EVERYTHING, "max_disables_per_day": "20", **changes}, mapping),
        clock,
        environment_key_id="",
        is_dry_run=False,
        debug=lambda *_: None,
        outside=Counted(account, clock),
    )
    given.work()
    return given.result(), dict(clock.made)


def company(users: int, owner_of: Callable[[int], str]) -> MemoryAccount:
    account = MemoryAccount(ACCOUNT, NOW)
    for number in range(users):
        key_id, user = f"AKIAPLAYED{number:010}", f"user_{number:05}"
        account.keys[key_id] = AccessKey(key_id, user, ACCOUNT, "Active", NOW - timedelta(days=200 + number % 7))
        account.tags[user] = {"slack_id": owner_of(number)}
    return account


def test_3000_due_access_keys_of_300_owners_are_all_served_in_as_many_runs_as_their_calls_take(tmp_path: Path) -> None:
    """A run has time for a seventh of the calls that a run without a deadline makes."""
    everything = company(USERS, lambda number: f"U0OWNER{number % OWNERS:03}")
    _, calls = run_counted(everything, tmp_path, 10**9)
    assert (len(everything.issues), len({one.slack_id for one in everything.sent})) == (USERS, OWNERS)
    a_run = sum(calls.values()) // 7

    account = company(USERS, lambda number: f"U0OWNER{number % OWNERS:03}")
    filed: list[int] = []
    for _ in range(40):
        run_counted(account, tmp_path, a_run)
        filed.append(len(account.issues))
        account.now += timedelta(minutes=20)
        if len(account.issues) == USERS and len({one.slack_id for one in account.sent}) == OWNERS:
            break
    assert len(account.issues) == USERS
    assert len({one.slack_id for one in account.sent}) == OWNERS
    assert all(later > before for before, later in itertools.pairwise([0, *filed])), "each run makes progress"
    assert len(filed) <= 3 * 7, filed


def test_no_message_waits_for_issues_that_it_does_not_name(tmp_path: Path) -> None:
    """A channel owns 400 access keys, and the run has time for a quarter of their issues: all are told in that run."""
    account = company(420, lambda number: "C0TEAM" if number < 400 else f"U0OWNER{number}")
    run_counted(account, tmp_path, 420 + 420 * 3 + 600)
    assert len({one.slack_id for one in account.sent}) == 21
    assert 0 < len(account.issues) < 420


def test_users_whose_tags_there_was_no_time_for_have_their_turn_next(tmp_path: Path) -> None:
    """Those who are exempt have nothing to be done for them, and keep nobody else waiting. The first 90 of 100 are."""
    account = company(100, lambda number: f"U0OWNER{number}")
    for number in range(90):
        tags = {"keycheck:exempt-until": "2027-01-31", "keycheck:exempt-reason": "a freeze"}
        account.tags[f"user_{number:05}"] |= tags
    told: list[set[str]] = []
    for _ in range(8):
        result, calls_made = run_counted(account, tmp_path, 120, exempt_by_tag="True", create_jira="False")
        assert calls_made["list_user_tags"] < 100
        left = {one.level for one in result.problems if "access keys: the run had no time for the tags of " in one.text}
        assert left == {Level.INFO}, "no warning"
        told.append({one.slack_id for one in account.sent})
        account.now += timedelta(hours=1)
    assert told[0] == set()
    assert told[-1] == {f"U0OWNER{number}" for number in range(90, 100)}


class Refusing(MemoryAccount):
    """Slack refuses messages to these channels, Jira the issues of these users, in each run anew."""

    def open_messages(self) -> MemoryMessages:
        messages = MemoryMessages(self)
        send = messages.send

        def refuse(slack_id: str, draft: SlackDraft) -> None:
            if slack_id.startswith("C0"):
                raise ServiceError("Slack", "chat.postMessage", "it may not post there", code="restricted_action")
            send(slack_id, draft)

        messages.send = refuse  # type: ignore[method-assign]
        return messages

    def open_issues(self) -> MemoryIssues:
        issues = MemoryIssues(self)
        create = issues.create

        def refuse(draft: IssueDraft) -> str:
            if "refused_" in draft.summary:
                raise ServiceError("Jira", "create issue", "a field is missing")
            return create(draft)

        issues.create = refuse  # type: ignore[method-assign]
        return issues


@pytest.mark.parametrize("switched_off", ["create_jira", "send_slack"])
def test_what_is_refused_each_time_keeps_nobody_behind_it_waiting(tmp_path: Path, switched_off: str) -> None:
    """A run has time for a third of all: those that are refused have had their turn by that."""
    account = Refusing(ACCOUNT, NOW)
    for number in range(40):
        key_id, is_refused = f"AKIAPLAYED{number:010}", number < 30
        user = f"{'refused' if is_refused else 'user'}_{number:02}"
        created = NOW - timedelta(days=170, hours=1 if is_refused else 0)
        account.keys[key_id] = AccessKey(key_id, user, ACCOUNT, "Active", created)
        account.tags[user] = {"slack_id": f"C0TEAM{number:02}" if is_refused else f"U0OWNER{number:02}"}
    done: list[int] = []
    for _ in range(12):
        run_counted(account, tmp_path, 130, **{switched_off: "False"})
        done.append(len(account.sent) if switched_off == "create_jira" else len(account.issues))
        account.now += timedelta(hours=25)
    assert done[0] < 10, "there was no time for all"
    assert done[-1] >= 10


def test_a_message_goes_without_the_link_of_an_issue_that_is_not_filed_in_time(world: World) -> None:
    """Half of the time that is left is waited for it; what became of it is not known when the run ends."""
    world.aws.add_user("dev_kramer", [170])
    world.owners["dev_kramer"] = "U012KRAMER"
    world.jira.inject(Fault.hang(), calls("POST", "/issue"), times=1)
    ran = run(world, "acme-dev", send_slack="True", create_jira="True", run_timeout_seconds="6", **AT_ONCE)
    (message,) = world.slack.messages
    assert "/browse/" not in str(message)
    assert (run_fields(ran)["nags_sent"], run_fields(ran)["issues_filed"]) == (1, 0)
    assert "may exist" in ran.stderr or "it is unknown whether this was done" in ran.stderr
