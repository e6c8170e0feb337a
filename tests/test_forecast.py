"""A dry run's last lines: how many of what, and the days on which they would go under the brake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from keycheck.actions import NextStep, Outlook, Plan, Skip, SkipReason, Step
from keycheck.forecast import Forecast, forecast, last_lines, policy, said_of
from keycheck.model import Exemption, LabelledKey, LastUse
from keycheck.rules.case import UserFacts
from keycheck.run import Run, RunResult
from keycheck.settings import parse
from sandbox.in_memory import HourlyClock, MemoryAccount
from tests.builders import ACCOUNT, DAY, EVERYTHING, HOUR, NOW, PROFILE, make_facts, make_key, make_owner, make_settings

TODAY = NOW.date()


def key(number: int, age: int = 197, account_id: str = ACCOUNT) -> LabelledKey:
    return make_key(f"user_{number}", age_days=age, access_key_id=f"AKIA{number:016}", account_id=account_id)


def plan(keys: list[LabelledKey], told: Mapping[int, Outlook], *skips: Skip) -> Plan:
    ids = {number: one.access_key.access_key_id for number, one in enumerate(keys)}
    return Plan("p", skips=skips, told={ids[number]: outlook for number, outlook in told.items()})


def calendar(keys: list[LabelledKey], told: Mapping[int, Outlook], *skips: Skip, **settings: str) -> dict[int, int]:
    """How many so many days from now."""
    facts = make_facts(keys, {one.access_key.user_name: make_owner() for one in keys})
    found = forecast(keys, facts, plan(keys, told, *skips), make_settings(**settings), NOW)
    return {(day - TODAY).days: count for day, count in found.calendar.items()}


NOW_STEP = Outlook(NextStep.DISABLED_NOW)


def test_what_is_ready_goes_as_many_a_day_as_the_brake_lets() -> None:
    keys = [key(number) for number in range(7)]
    assert calendar(keys, dict.fromkeys(range(7), NOW_STEP), max_disables_per_day="3") == {0: 3, 1: 3, 2: 1}


def test_nothing_goes_before_its_day_and_what_is_ready_fills_the_days_before() -> None:
    keys = [key(number, 200 - number) for number in range(6)]
    later = Outlook(NextStep.DISABLED_FROM, NOW + 4 * DAY)
    told = {0: later, 1: later, 2: NOW_STEP, 3: NOW_STEP, 4: NOW_STEP, 5: later}
    assert calendar(keys, told, max_disables_per_day="2") == {0: 2, 1: 1, 4: 2, 5: 1}


def test_each_account_has_a_brake_of_its_own() -> None:
    keys = [key(0), key(1), key(2, account_id="210987654321"), key(3, account_id="210987654321")]
    assert calendar(keys, dict.fromkeys(range(4), NOW_STEP), max_disables_per_day="1") == {0: 2, 1: 2}


@pytest.mark.parametrize(
    "step",
    [NextStep.IN_USE, NextStep.LEFT_ALONE, NextStep.NEVER_DISABLED, NextStep.STAYS_UNOWNED, NextStep.STAYS_ACTIVE],
)
def test_what_does_not_go_has_no_day(step: NextStep) -> None:
    assert calendar([key(0)], {0: Outlook(step, NOW)}) == {}


@pytest.mark.parametrize(
    ("reason", "days"),
    [
        (SkipReason.NOTICE, {3: 1}),
        (SkipReason.NOT_TOLD_YET, {3: 1}),
        (SkipReason.BRAKE, {3: 1}),
        (SkipReason.NOBODY_TOLD, {}),
        (SkipReason.SCAN_BROKEN, {}),
        (SkipReason.TAGS_UNREAD, {}),
    ],
)
def test_what_something_else_holds_has_no_day(reason: SkipReason, days: dict[int, int]) -> None:
    one = key(0)
    told = {0: Outlook(NextStep.DISABLED_FROM, NOW + 3 * DAY)}
    assert calendar([one], told, Skip("p", Step.DISABLE, one, reason)) == days
    assert calendar([one], told, Skip("p", Step.NAG, one, reason)) == {3: 1}, "another step"


def test_without_disabling_there_is_no_calendar() -> None:
    assert calendar([key(0)], {0: NOW_STEP}, disable_key="False") == {}


def test_what_is_counted() -> None:
    keys = [key(0), key(1), key(2), key(3), key(4, 170), key(5, 3), key(6)]
    ids = [one.access_key.access_key_id for one in keys]
    users: dict[str, Any] = {f"user_{number}": make_owner() for number in range(7)}
    users["user_1"] = make_owner(None)
    users["user_3"] = UserFacts(make_owner(), Exemption(date(2027, 1, 31), "a freeze"))
    uses = {
        ids[0]: LastUse(None),
        ids[1]: LastUse(NOW - HOUR, "s3"),
        ids[2]: LastUse(NOW - 2 * DAY, "s3"),
        ids[6]: None,
    }
    found = forecast(keys, make_facts(keys, users, last_uses=uses), Plan("p"), make_settings(), NOW)
    assert found == Forecast(
        expired=4, expiring=1, exempt=1, never_used=1, used_lately=1, use_unknown=1, of_nobody=1, calendar={}
    )
    in_all = "in all 4 expired and 1 expiring access keys, 1 exempt"
    first, last = said_of(found, make_settings())
    assert first == (
        f"{in_all}; of the expired ones 1 never used, as far as AWS knows, 1 used within 24 hours, 1 of nobody known, "
        "1 whose last use could not be read"
    )
    assert last == "if nobody acts none of them is disabled"
    assert said_of(found, make_settings(disable_key="False")) == [in_all]


def test_days_in_a_row_stand_together() -> None:
    first = date(2026, 12, 4)
    counts = {first + timedelta(days=n): 50 for n in range(9)} | {first + timedelta(days=9): 27}
    assert said_of(Forecast(477, calendar=counts), make_settings())[1] == (
        "if nobody acts 477 of them are disabled, the first on 2026-12-04, the last on 2026-12-13: 50 a day from "
        "2026-12-04 to 2026-12-12, 27 on 2026-12-13"
    )


def test_the_policy_stands_at_the_end_once() -> None:
    facts = {"p": make_facts(), "q": make_facts()}
    lines = last_lines([Plan("p"), Plan("q")], {"p": [], "q": []}, facts, make_settings(), NOW)
    assert [profile for profile, text in lines if text.startswith("policy: ")] == ["p"]
    assert lines[-1][1].startswith("policy: ")
    assert not any("policy" in text for _, text in last_lines([], {}, facts, make_settings(), NOW))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"disable_notice_days": "7"},
            "is disabled 7 days after its owner was told on Slack and by an issue, at most 50 of",
        ),
        ({}, "is disabled as soon as its owner was told on Slack and by an issue"),
        (
            {"create_jira": "False", "disable_notice_days": "1"},
            "is disabled 1 day after its owner was told on Slack, at",
        ),
        ({"create_jira": "False", "send_slack": "False"}, "is disabled at once, and nobody is told, at most"),
        ({"disable_in_use_hours": "24"}, "oldest first; one used within 24 hours is not;"),
        ({"disable_unowned": "False"}, "oldest first; one that nobody owns is not;"),
        ({"expire_age": "90"}, "an access key of 90 days or more is disabled"),
        ({"reenable_grace_days": "14"}, "one that a person re-enables is left alone for 14 days"),
        ({"max_disables_per_day": "5"}, "at most 5 of an account in 24 hours"),
    ],
)
def test_the_policy_says_what_the_settings_say(settings: dict[str, str], says: str) -> None:
    assert says in policy(make_settings(**settings))


def test_the_days_come_as_they_were_said(tmp_path: Path) -> None:
    """Seven access keys, a notice of two days, two a day: a run a day disables as many as the dry run has said."""
    mapping = tmp_path / "mapping.py"
    mapping.write_text(f"mapping = {dict.fromkeys((f'user_{n}' for n in range(7)), 'U0OWNER')!r}\n", encoding="utf-8")
    account = MemoryAccount(ACCOUNT, NOW)
    for number in range(7):
        made = key(number, 175 if number == 6 else 190 - number).access_key
        account.keys[made.access_key_id] = made
    settings = parse({**EVERYTHING, "disable_notice_days": "2", "max_disables_per_day": "2"}, mapping)

    def run(*, is_dry_run: bool = False) -> RunResult:
        clock = HourlyClock(account.now)
        clock.set_timeout(3600)
        one = Run(
            [PROFILE],
            settings,
            clock,
            environment_key_id="",
            is_dry_run=is_dry_run,
            debug=lambda *_: None,
            outside=account,
        )
        one.work()
        return one.result()

    run()
    said = next(text for _, text in run(is_dry_run=True).dry_run_lines if text.startswith("if nobody acts"))
    for _ in range(12):
        account.now += DAY
        run()
    days = Counter(at.date() for at, _ in account.disabled)
    assert sum(days.values()) == 7
    assert said == said_of(Forecast(7, calendar=days), settings)[1]
