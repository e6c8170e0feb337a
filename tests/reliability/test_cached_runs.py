"""Whole runs of an account of which most is known from earlier ones: nothing is done because of what was listed before.

Everything is switched on, runs are minutes or hours apart, the report is up to four hours old, and people create,
rotate, disable, re-enable, delete and rename meanwhile. Whatever a run does about an access key is true of it at that
moment.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from keycheck.credential_report import KeyInReport, Report, UserInReport
from keycheck.listing import ListedUser
from keycheck.model import AccessKey
from sandbox.in_memory import MemoryAccount, MemoryIam
from tests.builders import ACCOUNT, DAY, HOUR, MINUTE, NOW
from tests.in_process import Stage, Stages, Trouble, error
from tests.reliability.situations import label_of
from tests.test_scan_of_a_large_account import text_of

PEOPLE = ("ana", "ben", "cem", "dia", "eva")
WAITS = (timedelta(0), timedelta(seconds=1), 5 * MINUTE, HOUR, 3 * HOUR + 59 * MINUTE, 9 * HOUR)
STEPS = ("key", "rotate", "flip", "flip", "flip", "delete key", "delete user", "rename", *(["run"] * 8))
EXPIRE_AGE, EXPIRING_DAYS = 4, 2
HISTORIES = 14
NO_JIRA = Trouble.on("outside open_issues", error())


@dataclass
class ReportedAccount(MemoryAccount):
    """An account whose users have ids, whose report is up to four hours old, and which notes whom a run asks for."""

    users: dict[str, ListedUser] = field(default_factory=dict)
    report: Report | None = None
    listed: list[str] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    made: int = 0

    def open_iam(self, _profile: str) -> MemoryIam:
        return ReportedIam(self)

    def make_user(self, name: str) -> None:
        if name not in self.users:
            self.made += 1
            self.users[name] = ListedUser(name, ACCOUNT, f"AIDA{self.made}", self.now)

    def of(self, name: str) -> list[AccessKey]:
        keys = [key for key in self.keys.values() if key.user_name == name]
        return sorted(keys, key=lambda key: key.access_key_id)

    def newest_report(self) -> Report:
        if self.report is None or self.now - self.report.made_at >= 4 * HOUR:
            rows = {
                name: UserInReport(
                    user.created_at,
                    tuple(KeyInReport(key.is_active, key.create_date) for key in self.of(name)[:2]),
                    has_more=False,
                )
                for name, user in self.users.items()
            }
            self.report = Report(text_of(rows), self.now)
        return self.report


class ReportedIam(MemoryIam):
    def __init__(self, account: ReportedAccount) -> None:
        super().__init__(account)
        self._whole = account

    def list_users(self, marker: str | None) -> tuple[Sequence[ListedUser], str | None]:
        assert marker is None
        return list(self._whole.users.values()), None

    def list_access_keys(
        self, user_name: str, account_id: str, *, is_after_scan: bool = False
    ) -> Sequence[AccessKey] | None:
        assert account_id == ACCOUNT
        self._whole.listed.append(user_name)
        self._whole.confirmed += [user_name] if is_after_scan else []
        return self._whole.of(user_name) if user_name in self._whole.users else None

    def credential_report(self) -> Report | None:
        return self._whole.newest_report()


@dataclass
class History:
    """One account's; `counts`: what was seen in it."""

    stage: Stage
    account: ReportedAccount
    dice: random.Random
    counts: Counter[str]

    def step(self, what: str) -> None:
        account, name = self.account, self.dice.choice(PEOPLE)
        keys = account.of(name)
        match what:
            case "run":
                self.run()
            case "key" if len(keys) < 3:
                account.make_user(name)
                self.stage.add_key(self.dice.choice((0, 0, 1, 3, 5)), name)
            case "rotate" if keys:
                del account.keys[self.dice.choice(keys).access_key_id]
                self.stage.add_key(0, name)
            case "flip" if keys:
                key = self.dice.choice(keys)
                self.stage.set_status(key, "Inactive" if key.is_active else "Active")
            case "delete key" if keys:
                del account.keys[self.dice.choice(keys).access_key_id]
            case "delete user":
                self.forget(name)
            case "rename" if name in account.users:
                new_name = self.dice.choice(PEOPLE)
                if new_name not in account.users:
                    account.users[new_name] = replace(account.users.pop(name), user_name=new_name)
                    account.keys |= {key.access_key_id: replace(key, user_name=new_name) for key in keys}

    def forget(self, name: str) -> None:
        self.account.users.pop(name, None)
        for key in self.account.of(name):
            del self.account.keys[key.access_key_id]

    def run(self) -> None:
        """One run, and what it did, held against what is true of each access key when it was done."""
        account, now = self.account, self.account.now
        account.listed, account.confirmed = [], []
        before = dict(account.keys)
        done = len(account.disabled), len(account.sent), len(account.issues)
        said = {name: len(issue.comments) for name, issue in account.issues.items()}
        was_open = {name for name, issue in account.issues.items() if issue.ended_at is None}
        is_jira_off = self.dice.random() < 0.2
        ran = self.stage.run(*((NO_JIRA,) if is_jira_off else ()))
        assert ran.result is not None
        assert is_jira_off or not ran.result.has_failed
        asked_for = set(account.listed)
        self.counts["runs"] += 1
        self.counts["cached users"] += len(set(account.users) - asked_for)
        self.counts["confirmed"] += len(account.confirmed)
        by_label = {key.issue_label: key for key in before.values()}
        for at, access_key_id in account.disabled[done[0] :]:
            assert at == now
            self.check(before[access_key_id], asked_for, "disabled", needs_days=EXPIRE_AGE)
        for message in account.sent[done[1] :]:
            text = str(message.draft.blocks)
            for key in before.values():
                if key.last_five in text:  # the old one, or the younger one that there is to move to
                    assert key.user_name in asked_for, f"...{key.last_five}: {key.user_name} was not asked for"
            self.counts["told"] += 1
        for name, issue in list(account.issues.items())[done[2] :]:
            assert label_of(issue) in by_label, f"{name} is about nobody's access key"
            self.check(by_label[label_of(issue)], asked_for, "filed")
        for name, issue in account.issues.items():
            ended = by_label.get(label_of(issue))
            if name in was_open and issue.ended_at is not None:
                is_by_this_run = ended is not None and not account.keys[ended.access_key_id].is_active
                assert ended is None or not ended.is_active or is_by_this_run, f"{name} was closed, its key is active"
                self.counts["closed"] += 1
            if ended is not None and len(issue.comments) > said.get(name, len(issue.comments)):
                assert ended.user_name in asked_for, f"something was said in {name}, whose user was not asked for"

    def check(
        self, key: AccessKey, asked_for: set[str], what: str, needs_days: int = EXPIRE_AGE - EXPIRING_DAYS
    ) -> None:
        about = f"{what} ...{key.last_five} of {key.user_name}"
        assert key.user_name in asked_for, f"{about}, who was not asked for"
        assert key.is_active, f"{about}, which is inactive"
        assert self.account.now - key.create_date >= needs_days * DAY, f"{about}, which is young"
        self.counts[what] += 1


@pytest.mark.runs
@pytest.mark.usefixtures("no_account_is_small")
def test_whatever_a_run_does_is_true_of_what_it_asked_for_itself(stages: Stages) -> None:
    counts = Counter[str]()
    for seed in range(HISTORIES):
        dice = random.Random(seed)  # noqa: S311 - histories, not secrets
        with stages() as stage:
            account = stage.account = ReportedAccount(ACCOUNT, NOW)
            stage.environ |= {
                "cache_dir": str(stage.folder / f"cache{seed}"),
                "expire_age": str(EXPIRE_AGE),
                "expiring_days": str(EXPIRING_DAYS),
                "reenable_grace_days": "1",  # a day after it was disabled there is something to say once more
                "nag_interval_hours": "1",
            }
            stage.keys_made = 13571  # five digits that are in no date and no length
            stage.owners = {name: f"U0{name.upper()}" for name in PEOPLE}
            history = History(stage, account, dice, counts)
            for _ in range(60):
                stage.pass_time(dice.choice(WAITS))
                history.step(dice.choice(STEPS))
    for what in ("cached users", "confirmed", "disabled", "told", "filed", "closed"):
        assert counts[what] >= 5, f"these histories saw few {what}: {counts}"
