"""Several runs at once: on a real DynamoDB engine, whose conditional writes are atomic, and whose table takes its time.

What must be seen: one issue an access key, one message an owner, one disabling; and each run prints every line.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta

import pytest

from sandbox.http_fake import Request
from sandbox.world import ACCOUNTS, Ran, World
from tests.builders import ALL_ON
from tests.running import issue_posts, records, run_fields, sends, sound, statuses

RUNS = 8
USERS = [f"user_{number}" for number in range(4)]


@pytest.fixture(name="staffed")
def world_with_owners_and_a_slow_search(engine_world: World) -> World:
    """Four owners with an expired and an expiring access key each; Jira's search shows a new issue after a minute."""
    for number, user in enumerate(USERS):
        engine_world.aws.add_user(user, [197 + number, 170])
        engine_world.owners[user] = f"U0USER{number}"
    engine_world.jira.search_lag_seconds = 60
    engine_world.jira.before.append(_takes_its_time)
    engine_world.slack.before.append(_takes_its_time)
    return engine_world


def _takes_its_time(request: Request) -> None:
    """A POST takes long enough for another run to come upon the claim, and to file or send again if it could."""
    if request.method == "POST" and request.path.endswith(("/issue", "/chat.postMessage")):
        time.sleep(1)


def run_all(world: World, profiles: list[list[str]], **settings: str) -> list[Ran]:
    """One process for each list of profiles, a fifth of a second apart."""
    started, done = [], []
    for one in profiles:
        started.append(world.popen(*one, **{**ALL_ON, **settings}))
        time.sleep(0.2)
    for process in started:
        with process:
            stdout, stderr = process.communicate(timeout=120)
            done.append(sound(Ran(process.returncode, stdout, stderr), world))
    return done


def check_all_was_done_once(world: World, runs: list[Ran]) -> None:
    for ran in runs:
        assert ran.code == 0
        assert "E! " not in ran.stderr
        assert ran.stdout.count("iam,name=") == 8 * ran.stdout.count("iam_run,")
        assert ran.stdout.count(" users=4i,keys=8i,") == ran.stdout.count("iam_run,")
    assert issue_posts(world) == 8
    assert set(Counter(issue.labels[1] for issue in world.jira.issues.values()).values()) == {1}
    assert sorted(message.channel for message in world.slack.messages) == [f"U0USER{number}" for number in range(4)]
    assert all("claim" not in name for item in records(world).values() for name in item)
    assert sum(run_fields(ran, profile)["issues_filed"] for ran in runs for profile in profiles_of(ran)) == 8
    assert sum(run_fields(ran, profile)["nags_sent"] for ran in runs for profile in profiles_of(ran)) == 4


def check_the_next_run_disables_the_rest(world: World) -> None:
    """Runs that share an access key's issue and message between them leave its disabling to one that has all of it."""
    (ran,) = run_all(world, [["acme-dev"]])
    assert (ran.code, ran.stderr) == (0, "")
    assert [statuses(world, user) for user in USERS] == [["Inactive", "Active"]] * 4


def profiles_of(ran: Ran) -> list[str]:
    return [profile for profile in ("acme-dev", "again") if f"iam_run,accountAlias={profile} " in ran.stdout]


def test_eight_processes_at_once_on_one_profile_and_no_table_yet(staffed: World) -> None:
    """All eight find no table: one creates it, the others wait until it is active (services.md 6.1)."""
    runs = run_all(staffed, [["acme-dev"]] * RUNS)
    check_all_was_done_once(staffed, runs)
    assert staffed.gate.calls["CreateTable"] >= 1

    again = run_all(staffed, [["acme-dev"]] * RUNS)
    assert [(ran.code, ran.stderr) for ran in again] == [(0, "")] * RUNS
    assert (issue_posts(staffed), sends(staffed)) == (8, 4)
    assert [statuses(staffed, user) for user in USERS] == [["Inactive", "Active"]] * 4


def test_eight_processes_at_once_on_two_profiles_of_one_account(staffed: World) -> None:
    account = ACCOUNTS["acme-dev"]
    staffed.config_file.write_text(staffed.aws.aws_config({"acme-dev": account, "again": account}), encoding="utf-8")
    runs = run_all(staffed, [["acme-dev"], ["again"], ["acme-dev", "again"], ["again", "acme-dev"]] * 2)
    check_all_was_done_once(staffed, runs)
    check_the_next_run_disables_the_rest(staffed)


def test_eight_processes_at_once_a_day_later_are_one_nag_an_owner(staffed: World) -> None:
    run_all(staffed, [["acme-dev"]])
    staffed.pass_time(timedelta(days=1, seconds=1))
    runs = run_all(staffed, [["acme-dev"]] * RUNS)
    assert sum(run_fields(ran)["nags_sent"] for ran in runs) == 4
    assert Counter(message.channel for message in staffed.slack.messages) == dict.fromkeys(staffed.owners.values(), 2)
    assert issue_posts(staffed) == 8


def test_eight_processes_at_once_disable_no_more_than_one_day_allows(engine_world: World) -> None:
    """Five are due and two a day allowed: the places are counted in the state table, not in each run."""
    users = [f"due_{number}" for number in range(5)]
    for number, user in enumerate(users):
        engine_world.aws.add_user(user, [197 + number])
        engine_world.owners[user] = f"U0DUE{number}"
    counted = 0
    for inactive in (2, 4, 5):
        runs = run_all(engine_world, [["acme-dev"]] * RUNS, max_disables_per_day="2")
        runs += run_all(engine_world, [["acme-dev"]], max_disables_per_day="2")
        assert all(ran.code == 0 and "E! " not in ran.stderr for ran in runs)
        assert sum(statuses(engine_world, user) == ["Inactive"] for user in users) == inactive
        counted += sum(run_fields(ran)["keys_disabled"] for ran in runs)
        assert counted == engine_world.gate.calls["UpdateAccessKey"] == inactive
        engine_world.pass_time(timedelta(days=1, seconds=1))


def test_a_claim_left_by_a_run_that_died_is_taken_by_exactly_one(staffed: World) -> None:
    """Claims on every message and every filing, just lapsed: eight runs reach for each at once."""
    run_all(staffed, [["acme-dev"]])
    staffed.pass_time(timedelta(days=1, seconds=1))
    for key in list(staffed.jira.issues):
        staffed.jira.transition(key, "Done")
    staffed.jira.search_lag_seconds = 0
    table, name = staffed.state_client(), staffed.state_table
    lapsed = {":token": {"S": "a run that died"}, ":until": {"N": "1"}}
    for item in staffed.state_items():
        kind = "message" if item["iam_access_key_id"].startswith("slack:") else "issue"
        table.update_item(
            TableName=name,
            Key={"iam_access_key_id": {"S": item["iam_access_key_id"]}},
            UpdateExpression=f"SET {kind}_claim = :token, {kind}_claim_until = :until",
            ExpressionAttributeValues=lapsed,
        )
    runs = run_all(staffed, [["acme-dev"]] * RUNS)
    assert sum(run_fields(ran)["nags_sent"] for ran in runs) == 4
    assert sum(run_fields(ran)["issues_filed"] for ran in runs) == 4  # the expired four are inactive since yesterday
    assert len(staffed.slack.messages) == 8
    assert issue_posts(staffed) == 12
