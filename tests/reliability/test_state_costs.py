"""What a run reads of the state table follows what is due and what stands, and what is done is forgotten after a year.

What must be seen: records of access keys that are gone are not read again; a table that earlier versions have left is
looked through once, and nothing that stands in it is lost; what keycheck did comes to its end also where its access key
is gone.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from sandbox.gate import action_of, aws_error, is_action
from sandbox.http_fake import Fault, Request
from sandbox.moto_aws import STATE_TABLE
from sandbox.world import World
from tests.builders import ACCOUNT, ALL_ON, BEYOND_A_CLAIM, MORE_THAN_A_DAY
from tests.running import issue_posts, run, run_fields

OTHER_ACCOUNT = "210987654321"
OLD_RECORDS = 120
COMES_BACK = timedelta(days=31)


@pytest.fixture
def one_due(world: World) -> World:
    world.aws.add_user("dev_kramer", [197])
    world.owners["dev_kramer"] = "U0KRAMER"
    return world


def old_records(world: World, count: int = OLD_RECORDS) -> None:
    """Records of access keys that are long gone, whose issues have ended, in two accounts."""
    table, long_ago = world.state_client(), {"N": "1600000000"}
    for number in range(count):
        item = {
            "iam_access_key_id": {"S": f"AKIA{number:016}"},
            "account_id": {"S": (ACCOUNT, OTHER_ACCOUNT)[number % 2]},
            "user_name": {"S": f"gone.{number}"},
            "issue_key": {"S": f"SEC-{number + 1000}"},
            **dict.fromkeys(("told_at", "issue_ended_at", "disabled_at", "disable_from"), long_ago),
        }
        table.put_item(TableName=STATE_TABLE, Item=item)


def items_asked_for(requests: list[Request]) -> int:
    """How many items of the state table the BatchGetItem calls among these ask for."""
    asked = [request.json["RequestItems"] for request in requests if action_of(request) == "BatchGetItem"]
    return sum(len(tables[STATE_TABLE]["Keys"]) for tables in asked)


def listed(world: World, account_id: str = ACCOUNT) -> set[str]:
    """The user names, if any, of the access keys that are read in every run."""
    items = {item["iam_access_key_id"]: item for item in world.state_items()}
    ids = items.get(f"standing:{account_id}", {}).get("access_key_ids", ())
    return {str(items.get(one, {}).get("user_name", one)) for one in ids}


def open_issues(world: World) -> list[str]:
    """The user names of which an issue is open."""
    users = ("dev_kramer", "dev_jones")
    still = [issue.summary for issue in world.jira.issues.values() if issue.category != "done"]
    return [user for summary in still for user in users if user in summary]


def forget_lists(world: World) -> None:
    """Make the table what an earlier version has left: no list of what stands, and no time to live."""
    table = world.state_client()
    for item in world.state_items():
        name = item["iam_access_key_id"]
        if name.startswith("standing:"):
            table.delete_item(TableName=STATE_TABLE, Key={"iam_access_key_id": {"S": name}})
        elif "expires_at" in item:
            table.update_item(
                TableName=STATE_TABLE,
                Key={"iam_access_key_id": {"S": name}},
                UpdateExpression="REMOVE expires_at",
            )


def test_records_of_what_is_gone_are_not_read_again(world: World) -> None:
    """Also where a second account, of which this runner knows nothing yet, has its own among them."""
    world.aws.add_user("dev_kramer", [197])
    world.aws.add_user("dev_jones", [10], account_id=OTHER_ACCOUNT)
    world.owners["dev_kramer"] = "U0KRAMER"
    first = run(world, "acme-dev", **ALL_ON)
    assert (first.code, first.stderr) == (0, "")
    old_records(world)
    for profiles, most in ((("acme-dev",), 10), (("acme-dev", "acme-prod"), 15)):
        seen = len(world.gate.requests)
        ran = run(world, *profiles, **ALL_ON)
        assert (ran.code, ran.stderr) == (0, "")
        made = world.gate.requests[seen:]
        assert "Scan" not in {action_of(request) for request in made}
        assert 0 < items_asked_for(made) <= most


def test_a_table_of_an_earlier_version_is_looked_through_once_and_nothing_of_it_is_lost(world: World) -> None:
    world.aws.add_user("dev_kramer", [170])
    world.aws.add_user("dev_jones", [170], account_id=OTHER_ACCOUNT)
    world.owners.update(dev_kramer="U0KRAMER", dev_jones="U0JONES")
    assert run(world, "acme-dev", "acme-prod", **ALL_ON).code == 0
    old_records(world)
    forget_lists(world)
    world.aws.delete_user("dev_kramer")
    world.aws.delete_user("dev_jones", OTHER_ACCOUNT)
    world.pass_time(BEYOND_A_CLAIM)

    assert run(world, "acme-dev", "--dry-run", **ALL_ON).code == 0
    assert listed(world) == set(), "a dry run writes nothing"
    before = world.gate.calls["Scan"]
    ran = run(world, "acme-dev", **ALL_ON)
    assert (ran.code, ran.stderr) == (0, "")
    assert world.gate.calls["Scan"] == before + 1
    assert open_issues(world) == ["dev_jones"]
    assert listed(world, OTHER_ACCOUNT) == {"dev_jones"}, "found for all accounts in one go"

    ran = run(world, "acme-prod", **ALL_ON)
    assert (ran.code, ran.stderr) == (0, "")
    assert world.gate.calls["Scan"] == before + 1
    assert open_issues(world) == []
    assert issue_posts(world) == 2


def test_what_is_done_is_read_for_a_month_and_then_never_again(world: World) -> None:
    """And what is due stays listed, however long it is."""
    world.aws.add_user("dev_kramer", [197])
    world.aws.add_user("dev_jones", [170])
    world.owners.update(dev_kramer="U0KRAMER", dev_jones="U0JONES")
    assert run(world, "acme-dev", **ALL_ON).code == 0
    assert listed(world) == {"dev_kramer", "dev_jones"}
    world.aws.delete_user("dev_kramer")
    world.pass_time(MORE_THAN_A_DAY)
    assert run(world, "acme-dev", **{**ALL_ON, "disable_key": "False"}).code == 0
    assert listed(world) == {"dev_kramer", "dev_jones"}, "a person may open its issue again"
    world.pass_time(COMES_BACK)
    ran = run(world, "acme-dev", **{**ALL_ON, "disable_key": "False"})
    assert (ran.code, ran.stderr) == (0, "")
    assert listed(world) == {"dev_jones"}


def test_half_a_scan_takes_nothing_off_the_list(world: World) -> None:
    world.aws.add_user("dev_kramer", [170])
    world.aws.add_user("dev_jones", [3])
    world.owners["dev_kramer"] = "U0KRAMER"
    off = {**ALL_ON, "create_jira": "False", "send_slack": "False"}
    assert run(world, "acme-dev", **{**off, "disable_key": "True", "expire_age": "150"}).code in (0, 3)
    assert listed(world) == {"dev_kramer"}
    refused = Fault(served=False, answer=aws_error("AccessDenied", 403))
    world.gate.inject(refused, is_action("ListAccessKeys"))
    run(world, "acme-dev", **off)
    assert listed(world) == {"dev_kramer"}


# Time to live


def test_a_new_table_forgets_what_was_not_written_for_a_year(one_due: World) -> None:
    assert run(one_due, "acme-dev", **ALL_ON).code == 0
    found = one_due.state_client().describe_time_to_live(TableName=STATE_TABLE)["TimeToLiveDescription"]
    assert (found["AttributeName"], found["TimeToLiveStatus"]) == ("expires_at", "ENABLED")
    assert one_due.gate.calls["UpdateTimeToLive"] == 1
    assert run(one_due, "acme-dev", **ALL_ON).code == 0
    assert one_due.gate.calls["UpdateTimeToLive"] == 1


def test_each_record_expires_but_what_is_known_of_an_account(one_due: World) -> None:
    ran = run(one_due, "acme-dev", **ALL_ON)
    assert (ran.code, ran.stderr) == (0, "")
    kept = {item["iam_access_key_id"].partition(":")[0] for item in one_due.state_items() if "expires_at" not in item}
    assert kept == {"account", "disablings", "standing"}
    year, now = timedelta(days=365).total_seconds(), one_due.state_items()
    assert all(abs(item["expires_at"] - year - item["told_at"]) < 120 for item in now if "told_at" in item)
    assert sum("told_at" in item for item in now) == 1


def test_where_a_table_may_not_forget_that_is_said_once_and_costs_nothing(one_due: World) -> None:
    denied = Fault(served=False, answer=aws_error("AccessDeniedException"))
    one_due.gate.inject(denied, is_action("UpdateTimeToLive"))
    ran = run(one_due, "acme-dev", "-v", **ALL_ON)
    assert ran.code == 0
    fields = run_fields(ran)
    assert (fields["issues_filed"], fields["nags_sent"], fields["keys_disabled"], fields["errors"]) == (1, 1, 1, 0)
    (line,) = [line for line in ran.stderr.splitlines() if "update-time-to-live" in line]
    assert line.startswith("I! acme-dev: records in the table iam-access-key-alert are kept for ever: ")
    assert "Enabled=true,AttributeName=expires_at" in line
    assert "kept for ever" not in run(one_due, "acme-dev", "-v", **ALL_ON).stderr


@pytest.mark.parametrize("expired", ["all of it", "its record alone"])
def test_a_record_that_has_expired_costs_a_new_notice_and_no_second_issue(one_due: World, expired: str) -> None:
    """Of an access key that is still due, and of which nothing was written for a year."""
    settings = {**ALL_ON, "disable_key": "False"}
    assert run(one_due, "acme-dev", **settings).code == 0
    table = one_due.state_client()
    for item in one_due.state_items():
        if expired == "all of it" or ":" not in item["iam_access_key_id"]:
            table.delete_item(TableName=STATE_TABLE, Key={"iam_access_key_id": {"S": item["iam_access_key_id"]}})
    one_due.pass_time(MORE_THAN_A_DAY)
    ran = run(one_due, "acme-dev", **settings)
    assert (ran.code, ran.stderr) == (0, "")
    assert issue_posts(one_due) == 1
    (key_status,) = [status for _, status, _ in one_due.aws.keys("dev_kramer")]
    assert key_status == "Active"
