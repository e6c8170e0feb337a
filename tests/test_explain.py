"""--explain: everything that is known of an access key, and never another opinion than the dry run's."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from keycheck.actions import NextStep, Outlook, Skip, SkipReason, Step
from keycheck.explain import Known, explain, is_meant
from keycheck.model import DisabledRecord, Exemption, IssueRecord, KeyRecord, LastUse, Notice, Owner, OwnerKind
from keycheck.owners import Named
from keycheck.rows import Row
from keycheck.rules.case import UserFacts
from keycheck.words.parts import what_happens
from sandbox.world import World
from tests.builders import ACCOUNT, ALL_ON, DAY, HOUR, MORE_THAN_A_DAY, NOW, make_key, make_owner, make_settings
from tests.running import KRAMER, run, statuses

KEY = make_key()
SETTINGS = make_settings(disable_notice_days="7")
RECORD = KeyRecord(KEY.access_key.access_key_id)
ROW = Row(
    "acme-dev",
    ACCOUNT,
    "dev_kramer",
    "VHXVM",
    KEY.label,
    197,
    KEY.access_key.create_date,
    KEY.expires_at,
    Named("U012KRAMER", "mapping file"),
    next_step="stays active",
)


def said(known: Known, **settings: str) -> list[str]:
    title, *sentences = explain(known, make_settings(disable_notice_days="7", **settings), NOW)
    assert title == f"Access key ...VHXVM of dev_kramer in acme-dev ({ACCOUNT}): expired, 197 days old"
    assert all(one.startswith("  ") for one in sentences)
    return [one.strip() for one in sentences]


def of_record(**changes: Any) -> list[str]:
    return said(Known(KEY, ROW, replace(RECORD, **changes)))


def test_of_a_new_one_it_is_said_what_is_not_there() -> None:
    expiring = KEY.expires_at - 15 * DAY
    first, *others = of_record()
    assert first == (
        f"Created on {KEY.access_key.create_date:%Y-%m-%d}: expiring from {expiring:%Y-%m-%d} on, expired from "
        f"{KEY.expires_at:%Y-%m-%d} on."
    )
    assert others == [
        "Owner: U012KRAMER, by the mapping file.",
        "No message has named it yet.",
        "Notice: none was given.",
        "Issue: none on record.",
        "Last used: not asked.",
        "Brake: 0 of 50 disablings of its account are taken for the last 24 hours.",
        "What comes next: stays active.",
        "The next run does nothing about it.",
    ]


AGO = NOW - 3 * DAY


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"told_at": AGO}, f"A message last named it on {AGO:%Y-%m-%d %H:%M} UTC."),
        (
            {"notice": Notice("U012KRAMER", AGO, NOW - HOUR)},
            f"last kept on {NOW - HOUR:%Y-%m-%d %H:%M} UTC, in force; it ends on {AGO + 7 * DAY:%Y-%m-%d}.",
        ),
        (
            {"notice": Notice("U012KRAMER", NOW - 30 * DAY, NOW - 15 * DAY)},
            f"void since {NOW - DAY:%Y-%m-%d}, as no run has kept it for two weeks",
        ),
        (
            {"voided_at": AGO, "voided_why": "it had another owner"},
            f"Notice: none in force; the last one is void since {AGO:%Y-%m-%d %H:%M} UTC: it had another owner.",
        ),
        ({"disable_from": AGO}, f"The latest day told to anybody is {AGO:%Y-%m-%d}: it is not disabled before that."),
        ({"issue": IssueRecord("SEC-1")}, "Issue: SEC-1, whether it is open was not looked up."),
        (
            {"issue": IssueRecord("SEC-1", assigned_to="kramer@example.com", ended_at=AGO)},
            f"ended on {AGO:%Y-%m-%d %H:%M} UTC, assigned to kramer@example.com.",
        ),
        (
            {"issue": IssueRecord("SEC-1", site="https://other.example.net")},
            "Issue: SEC-1, in another Jira (https://other.example.net).",
        ),
        (
            {"disabled": DisabledRecord(AGO, "0123456789")},
            f"keycheck disabled it on {AGO:%Y-%m-%d %H:%M} UTC by run 01234567.",
        ),
        ({"disabling_at": AGO}, "whether it did is not on record."),
        ({"inactive_at": AGO}, f"Somebody else had made it inactive by {AGO:%Y-%m-%d %H:%M} UTC."),
        (
            {"reenabled_at": AGO, "times_taken_back": 3},
            f"A person took it back; that was seen on {AGO:%Y-%m-%d %H:%M} UTC, 3 times by now.",
        ),
        ({"reenabled_at": AGO}, f"Until {AGO + 7 * DAY:%Y-%m-%d} it is left alone for that."),
    ],
)
def test_what_is_on_record_is_said(changes: dict[str, Any], says: str) -> None:
    assert any(says in one for one in of_record(**changes)), of_record(**changes)


@pytest.mark.parametrize(("is_open", "says"), [(True, "Issue: SEC-1, open."), (False, "Issue: SEC-1, not open.")])
def test_whether_an_issue_is_open_is_said_where_jira_was_asked(is_open: bool, says: str) -> None:
    record = replace(RECORD, issue=IssueRecord("SEC-1"))
    assert says in said(Known(KEY, ROW, record, is_issue_open=is_open))


@pytest.mark.parametrize(
    ("user", "says"),
    [
        (UserFacts(Owner(OwnerKind.UNREAD)), "Who owns it could not be found out in this run, so nobody is told"),
        (
            UserFacts(make_owner(None, trouble="the owner named for it, U1, has left Slack")),
            "But the owner named for it, U1",
        ),
        (UserFacts(make_owner(), tag_trouble="the tag is no day"), "Its exemption does not count: the tag is no day."),
    ],
)
def test_what_is_wrong_about_its_user_is_said(user: UserFacts, says: str) -> None:
    assert any(one.startswith(says) for one in said(Known(KEY, ROW, RECORD, user)))


def test_what_else_is_known_is_said() -> None:
    row = replace(ROW, owner=Named(), exemption=Exemption(date(2027, 1, 31), "a freeze"), last_use=LastUse(None))
    sentences = said(Known(KEY, row, RECORD))
    assert "Owner: nobody is named for it." in sentences
    assert "Exempt until 2027-01-31: a freeze." in sentences
    assert "Last used: never, as far as AWS knows." in sentences


def test_what_happens_is_said_as_messages_say_it() -> None:
    outlook = Outlook(NextStep.DISABLED_FROM, NOW + 7 * DAY, ended_exemption=date(2026, 11, 1))
    skip = Skip("acme-dev", Step.DISABLE, KEY, SkipReason.NOTICE)
    known = Known(KEY, ROW, RECORD, outlook=outlook, skips=[skip], disabled_lately=3)
    brake, what, *others = said(known, max_disables_per_day="5")[-4:]
    assert brake == "Brake: 3 of 5 disablings of its account are taken for the last 24 hours."
    assert what == f"What happens if nobody acts: {what_happens(outlook)}"
    assert others == [
        "Its owner is told as well: It was exempt until 2026-11-01; that has ended.",
        "The next run would not disable: its notice is not over.",
    ]


def test_without_state_nothing_is_made_up() -> None:
    unread = "What was said and done about it is not known: the state table could not be read."
    assert unread in said(Known(KEY, ROW, None))
    off = dict.fromkeys(("send_slack", "create_jira", "disable_key"), "False")
    sentences = said(Known(KEY, ROW, RECORD), **off)
    assert sentences[-1] == "Nothing is done about it, since send_slack, create_jira and disable_key are off."
    assert not any(one.startswith(("No message", "Notice", "Issue")) for one in sentences)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dev_kramer", True),
        ("DEV_Kramer ", True),
        ("vhxvm", True),
        (KEY.access_key.access_key_id, True),
        ("dev_kram", False),
        ("HXVM", False),
    ],
)
def test_who_is_meant(text: str, expected: bool) -> None:
    assert is_meant(KEY.access_key, text) is expected


# Whole runs


@pytest.fixture
def staffed(world: World) -> World:
    world.aws.add_user("dev_kramer", [197, 3])
    world.aws.add_user("dev_jones", [170])
    world.owners["dev_kramer"] = KRAMER
    return world


def would(lines: list[str], last_five: str) -> list[str]:
    """What a dry run says of one access key, or of a message that names it."""
    return sorted(line.partition("acme-dev: ")[2] for line in lines if f"...{last_five}" in line and "would" in line)


def kept(world: World) -> tuple[object, int, int]:
    return world.state_items(), len(world.jira.issues), len(world.slack.messages)


@pytest.mark.process
@pytest.mark.parametrize("later", [timedelta(), timedelta(hours=2), MORE_THAN_A_DAY, timedelta(days=8)])
def test_the_next_run_does_what_the_dry_run_says(staffed: World, later: timedelta) -> None:
    settings = {**ALL_ON, "disable_notice_days": "7", "slack_fallback_channel": "C0FALLBACK"}
    if later:
        assert run(staffed, "acme-dev", **settings).code == 0
        staffed.pass_time(later)
    last_five = staffed.aws.keys("dev_kramer")[0][0][-5:]
    dry = would(run(staffed, "acme-dev", "--dry-run", **settings).stderr.splitlines(), last_five)
    before = kept(staffed)
    explained = staffed.run("acme-dev", "--explain", last_five, **settings)
    assert (explained.code, explained.stderr) == (0, "")
    assert before == (staffed.state_items(), len(staffed.jira.issues), len(staffed.slack.messages)), (
        "nothing is written"
    )
    assert statuses(staffed, "dev_kramer") == ["Active", "Active"]
    lines = [line.strip() for line in explained.stdout.splitlines()]
    ours = [line.removeprefix("The next run ").removesuffix(".") for line in lines if "The next run would" in line]
    named = f"access key ...{last_five} of dev_kramer (expired, {197 + later.days} days old)"
    assert sorted(one.replace("would not disable:", f"would not disable: {named}:") for one in ours) == dry
    assert dry != [] or later == timedelta(hours=2)


@pytest.mark.process
def test_one_user_alone_is_explained_and_no_id_is_shown_in_full(staffed: World) -> None:
    full = staffed.aws.keys("dev_kramer")[0][0]
    ran = staffed.run("acme-dev", "--explain", full, **ALL_ON)
    assert ran.code == 0
    assert ran.stdout.count("Access key ...") == 1
    assert full not in ran.stdout + ran.stderr
    both = staffed.run("acme-dev", "--explain", "DEV_KRAMER")
    assert (both.code, both.stdout.count("Access key ...")) == (0, 2)
    assert "dev_jones" not in both.stdout


@pytest.mark.process
def test_one_that_was_disabled_long_ago_is_still_known(staffed: World) -> None:
    settings = {**ALL_ON, "slack_fallback_channel": "C0FALLBACK", "disable_notice_days": "0"}
    run(staffed, "acme-dev", **settings)
    staffed.pass_time(timedelta(days=100))
    ran = staffed.run("acme-dev", "--explain", staffed.aws.keys("dev_kramer")[0][0][-5:], **settings)
    assert "  keycheck disabled it on " in ran.stdout
    assert "\n  Issue: SEC-" in ran.stdout


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--explain", "nobody"], 1, "no user or access key 'nobody' was found in acme-dev"),
        (["--explain", " "], 2, "--explain needs a user name, or the last five characters of an access key"),
        (["--explain", "x", "--format", "json"], 2, "--explain goes with no other option about stdout"),
        (["--explain", "x", "--last-used"], 2, "--explain goes with no other option about stdout"),
    ],
)
def test_what_is_asked_wrong_is_one_line(world: World, arguments: list[str], code: int, says: str) -> None:
    world.aws.add_user("dev_kramer", [197])
    ran = world.run("acme-dev", *arguments)
    assert (ran.code, ran.stdout) == (code, "")
    assert ran.stderr.startswith(f"E! keycheck: {says}")
    assert ran.stderr.count("\n") == 1
