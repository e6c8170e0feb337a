"""No access key stays active for ever behind others: whole runs, played over days.

What must be seen: what cannot be told, is in use or is refused costs itself, and those behind it get their turn.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keycheck.slack_lookups import LOOKUPS_AT_MOST
from sandbox.fake_iam import FakeKey, about, iam_error
from sandbox.fake_slack import ok_false
from sandbox.gate import action_of, aws_error
from sandbox.http_fake import Fault, calls
from sandbox.world import Ran, World
from tests.builders import AT_ONCE
from tests.running import fake_iam, run, run_fields, statuses

A_DAY = timedelta(days=1)
SLACK_ONLY = {"send_slack": "True", "disable_key": "True", **AT_ONCE}


def disabled(world: World, users: list[str]) -> list[str]:
    of_user = {user: [key.status for key in fake_iam(world).users[user].keys] for user in users}
    return [user for user in users if of_user[user] == ["Inactive"]]


# The brake


def test_owners_who_cannot_be_told_do_not_use_up_the_brake(iam_world: World) -> None:
    """Ten that cannot be told are older, and the brake is four: the four behind them go in the first run."""
    for number in range(10):
        user = f"gone_{number}"
        fake_iam(iam_world).add_user(user, [400 + number])
        iam_world.owners[user] = f"U0GONE{number}"
        iam_world.slack.unknown.add(f"U0GONE{number}")
    live = [f"live_{number}" for number in range(6)]
    for number, user in enumerate(live):
        fake_iam(iam_world).add_user(user, [200 + number])
        iam_world.owners[user] = f"U0LIVE{number}"
    ran = run(iam_world, "acme-dev", **SLACK_ONLY, max_disables_per_day="4")
    assert disabled(iam_world, live) == live[2:], "the oldest of those who were told"
    assert run_fields(ran)["keys_disabled"] == 4
    assert "2 access keys not disabled: max_disables_per_day" in ran.stderr


def test_access_keys_in_use_do_not_keep_idle_ones_active(iam_world: World) -> None:
    """One channel owns them all; those in use are older, and more than one message names."""
    iam = fake_iam(iam_world)
    used: list[FakeKey] = []
    for number in range(30):
        used += iam.add_user(f"svc_{number:02}", [500 - number]).keys
        iam_world.owners[f"svc_{number:02}"] = "C0TEAM"
    idle = [f"zz_idle_{number}" for number in range(4)]
    for number, user in enumerate(idle):
        iam.add_user(user, [200 - number])
        iam_world.owners[user] = "C0TEAM"
    settings = {**SLACK_ONLY, "disable_in_use_hours": "24", "max_disables_per_day": "2"}
    for _ in range(4):
        for key in used:
            iam.use_key(key.access_key_id, datetime.now(UTC) - timedelta(minutes=30))
        run(iam_world, "acme-dev", **settings)
        iam_world.pass_time(timedelta(hours=25))
    assert disabled(iam_world, idle) == idle
    assert all(key.status == "Active" for key in used)


def test_what_aws_refuses_to_disable_passes_its_place_on(world: World) -> None:
    users = ["ana", "ben", "cem"]
    for number, user in enumerate(users):
        world.aws.add_user(user, [220 - number])
    ((first, _, _),) = world.aws.keys("ana")
    refused = Fault(served=False, answer=aws_error("AccessDenied", 403, "iam"))
    world.gate.inject(refused, lambda one: action_of(one) == "UpdateAccessKey" and first in str(one.body))
    ran = run(world, "acme-dev", disable_key="True", max_disables_per_day="1")
    assert [statuses(world, user) for user in users] == [["Active"], ["Inactive"], ["Active"]]
    assert run_fields(ran)["errors"] == 1


def test_on_a_daily_schedule_the_brake_works_daily(iam_world: World) -> None:
    """Also if the run begins a little earlier than the day before: a place that is free soon is waited for."""
    users = [f"user_{number}" for number in range(6)]
    for number, user in enumerate(users):
        fake_iam(iam_world).add_user(user, [220 - number])
    for day in range(1, 4):
        run(iam_world, "acme-dev", disable_key="True", max_disables_per_day="2")
        assert len(disabled(iam_world, users)) == 2 * day
        iam_world.pass_time(A_DAY - timedelta(seconds=3))


# What does not move is seen


def count(ran: Ran, name: str) -> int | None:
    value = run_fields(ran).get(name)
    return None if value is None else int(value)


def test_overdue_is_counted_on_a_daily_schedule_too(iam_world: World) -> None:
    """Each run says once more what was said: that makes nothing less overdue."""
    iam = fake_iam(iam_world)
    iam.add_user("svc", [400])
    iam_world.owners["svc"] = "U0SVC"
    iam.inject(iam_error("AccessDenied"), about("UpdateAccessKey"))
    settings = {"send_slack": "True", "disable_key": "True", "disable_notice_days": "3", "nag_interval_hours": "23"}
    overdue, waiting = [], []
    for _ in range(14):
        ran = run(iam_world, "acme-dev", **settings)
        overdue.append(count(ran, "overdue"))
        waiting.append(count(ran, "waiting"))
        iam_world.pass_time(A_DAY + timedelta(minutes=1))
    assert overdue == [0] * 3 + [1] * 11
    assert waiting == [0] * 10 + [1] * 4
    assert "W! acme-dev: 1 access key waiting for a week or longer: what is due was not done; --dry-run" in ran.stderr


def test_what_nobody_can_be_told_of_is_overdue_and_said_after_a_week(iam_world: World) -> None:
    """It has been due for longer, but nothing has waited for keycheck before there was one."""
    fake_iam(iam_world).add_user("svc", [400])
    iam_world.owners["svc"] = "U0GONE"
    iam_world.slack.inject(ok_false("no_permission"), calls("POST", "/chat.postMessage"))
    settings = {"send_slack": "True", "disable_key": "True", "disable_notice_days": "0"}
    for day in range(9):
        ran = run(iam_world, "acme-dev", **settings)
        assert (count(ran, "overdue"), count(ran, "waiting")) == (1, int(day > 6)), day
        assert ("W! acme-dev: for a week nothing could be told to U0GONE; name other owners" in ran.stderr) is (day > 6)
        iam_world.pass_time(A_DAY + timedelta(minutes=1))
    iam_world.slack.heal()
    ran = run(iam_world, "acme-dev", **settings)
    assert (count(ran, "overdue"), count(ran, "waiting"), ran.stderr) == (0, 0, "")


def test_an_audit_counts_nothing_that_is_meant_to_be_disabled(iam_world: World) -> None:
    fake_iam(iam_world).add_user("svc", [400])
    assert count(run(iam_world, "acme-dev"), "overdue") is None
    assert count(run(iam_world, "acme-dev", send_slack="True"), "overdue") is None
    assert count(run(iam_world, "acme-dev", disable_key="True"), "overdue") == 0


def test_a_day_told_far_beyond_the_notice_is_said_with_how_to_take_it_back(iam_world: World) -> None:
    fake_iam(iam_world).add_user("ana", [200])
    iam_world.owners["ana"] = "U0ANA"
    settings = {"send_slack": "True", "disable_key": "True"}
    run(iam_world, "acme-dev", **settings, disable_notice_days="365")
    iam_world.pass_time(A_DAY)
    ran = run(iam_world, "acme-dev", **settings, disable_notice_days="7")
    far = "1 access key not disabled before a day far beyond disable_notice_days, since that day was told"
    assert f"W! acme-dev: {far}; docs/rollout.md says how to take it back: ana ..." in ran.stderr
    iam_world.pass_time(A_DAY)
    assert "far beyond" not in run(iam_world, "acme-dev", **settings, disable_notice_days="365").stderr


def test_an_access_key_that_comes_back_each_time_is_said(iam_world: World) -> None:
    (key,) = fake_iam(iam_world).add_user("ana", [400]).keys
    iam_world.owners["ana"] = "U0ANA"
    settings = {**SLACK_ONLY, "reenable_grace_days": "1"}
    said = []
    for _ in range(3):
        run(iam_world, "acme-dev", **settings)
        assert key.status == "Inactive"
        iam_world.pass_time(A_DAY)
        key.status = "Active"
        said.append("taken back each time it is disabled" in run(iam_world, "acme-dev", **settings).stderr)
        iam_world.pass_time(timedelta(hours=50))
    assert said == [False, True, True]


def test_one_within_the_grace_of_a_re_enabling_is_not_overdue_from_the_first_run_on(iam_world: World) -> None:
    (key,) = fake_iam(iam_world).add_user("ana", [400]).keys
    iam_world.owners["ana"] = "U0ANA"
    run(iam_world, "acme-dev", **SLACK_ONLY)
    iam_world.pass_time(A_DAY)
    key.status = "Active"
    for _ in range(2):
        assert count(run(iam_world, "acme-dev", **SLACK_ONLY), "overdue") == 0
        iam_world.pass_time(timedelta(hours=1))


# Turns


def test_addresses_that_slack_does_not_know_keep_nobody_else_from_being_looked_up(iam_world: World) -> None:
    """More than are looked up in a run, and each is asked for again after a day: a run a day would ask for the same."""
    for number in range(LOOKUPS_AT_MOST):
        user = fake_iam(iam_world).add_user(f"a_nobody_{number:02}", [300])
        user.tags["email"] = f"nobody{number}@example.com"
    for number in range(3):
        user = fake_iam(iam_world).add_user(f"z_owner_{number}", [200])
        user.tags["email"] = f"owner{number}@example.com"
        iam_world.slack.users[f"owner{number}@example.com"] = f"U0OWNER{number}"
    settings = {"send_slack": "True", "slack_fallback_channel": "C0FALLBACK"}
    for _ in range(2):
        run(iam_world, "acme-dev", **settings)
        iam_world.pass_time(A_DAY + timedelta(minutes=1))
    told = {message.channel for message in iam_world.slack.messages}
    assert {f"U0OWNER{number}" for number in range(3)} <= told


# A refusal costs what it is about


def test_what_slack_says_of_one_channel_costs_that_one_and_names_it(iam_world: World) -> None:
    for number, owner in enumerate(("C0CLOSED", "U0ANA", "U0BEN")):
        fake_iam(iam_world).add_user(f"user_{number}", [300 - number])
        iam_world.owners[f"user_{number}"] = owner
    closed = calls("POST", "/chat.postMessage")
    for word in ("no_permission", "team_access_not_granted", "restricted_action", "a_word_of_tomorrow"):
        iam_world.slack.inject(ok_false(word), lambda one: closed(one) and one.json["channel"] == "C0CLOSED")
        sent = len(iam_world.slack.messages)
        ran = run(iam_world, "acme-dev", send_slack="True")
        assert {message.channel for message in iam_world.slack.messages[sent:]} == {"U0ANA", "U0BEN"}
        assert f"Slack refused the message to C0CLOSED ({word})" in ran.stderr
        iam_world.slack.heal()
        iam_world.pass_time(timedelta(hours=25))


@pytest.mark.parametrize("status", [403, 404])
def test_what_jira_says_of_one_issue_costs_that_one_and_names_it(world: World, status: int) -> None:
    """An issue on record that may not be read any more, say in a project that was closed: the others are filed."""
    for number, user in enumerate(("ana", "ben", "cem")):
        world.aws.add_user(user, [200 - number])
    run(world, "acme-dev", create_jira="True")
    assert len(world.jira.issues) == 3
    for issue_key in list(world.jira.issues)[1:]:
        world.jira.delete(issue_key)
    (left,) = world.jira.issues
    world.jira.issues[left].labels.clear()
    refused = Fault.status(status, {"errorMessages": ["no"], "errors": {}})
    world.jira.inject(refused, calls("GET", f"/issue/{left}"))
    world.pass_time(timedelta(days=8))
    ran = run(world, "acme-dev", create_jira="True")
    filed = [issue for key, issue in world.jira.issues.items() if key != left]
    assert len(filed) == (2 if status == 403 else 3)
    assert status == 404 or left in ran.stderr
