"""No access key stays active for ever behind others: whole runs, played over days.

What must be seen: what cannot be told, is in use or is refused costs itself, and those behind it get their turn.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sandbox.fake_iam import FakeKey
from sandbox.gate import action_of, aws_error
from sandbox.http_fake import Fault
from sandbox.world import World
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
