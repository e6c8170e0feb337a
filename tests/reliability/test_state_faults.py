"""The state table fails: nothing is filed, sent or disabled without state, and the next healthy run puts it right.

What must be seen: all metrics go on; it is said once; whatever happened but could not be recorded is said; no action
rests on a claim that failed; at most the one message in flight is repeated.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from line_protocol_parser import parse_line

from sandbox.gate import action_of, aws_error, is_action
from sandbox.http_fake import Answer, Fault, Match, Request
from sandbox.moto_aws import STATE_TABLE
from sandbox.world import Ran, World
from tests.builders import ALL_ON, BEYOND_A_CLAIM, MORE_THAN_A_DAY
from tests.running import KRAMER, closed_port, iam_lines, issue_posts, records, run, run_fields, sends, statuses

DENIED = Fault(served=False, answer=aws_error("AccessDeniedException"))
OVERLOADED = Fault(served=False, answer=aws_error("ProvisionedThroughputExceededException"))
THROTTLED = Fault(served=False, answer=aws_error("ThrottlingException"))
BROKEN = Fault(served=False, answer=aws_error("InternalServerError", 500))
DONE = ["Inactive", "Inactive", "Active"]
UNTOUCHED = ["Active", "Active", "Active"]
NOT_RECORDED = "could not be recorded"

STEPS = {
    "claim the issue": ("SET issue_claim = ",),
    "begin filing": ("SET issue_filings = :issue_filings",),
    "record the issue": ("SET issue_key = ",),
    "claim the message": ("SET message_claim = ",),
    "record the message": ("SET messaged_at = :messaged_at, ",),
    "record who was told": ("SET told_at = ",),
    "take a place under the brake": ("SET disabled_times = ",),
    "begin disabling": ("SET disabling_at = ",),
    "record disabled": ("SET disabled_at = ",),
}
"""The UpdateItem calls of a chain in their order, by how their UpdateExpression begins (`= ` at its end) or reads."""


def is_step(*names: str) -> Match:
    """Matches these UpdateItem calls of a chain, and no other."""

    def matches(request: Request) -> bool:
        if action_of(request) != "UpdateItem":
            return False
        expression = str(request.json["UpdateExpression"])
        wanted = [beginning for name in names for beginning in STEPS[name]]
        return any(expression.startswith(one) if one.endswith(("= ", ", ")) else expression == one for one in wanted)

    return matches


def count(world: World, match: Match) -> int:
    return sum(match(request) for request in world.gate.requests)


@pytest.fixture(name="staffed")
def world_with_an_owner(world: World) -> World:
    """dev_kramer has two expired access keys and an expiring one."""
    return staff(world)


@pytest.fixture(name="lone")
def world_with_one_access_key(world: World) -> World:
    """dev_kramer has one access key, expired: so a run does one thing after the other."""
    world.aws.add_user("dev_kramer", [197])
    world.owners["dev_kramer"] = KRAMER
    return world


def staff(world: World) -> World:
    world.aws.add_user("dev_kramer", [197, 190, 170])
    world.owners["dev_kramer"] = KRAMER
    return world


def done(world: World) -> tuple[int, int, list[str]]:
    """What the world has seen so far: POSTs of issues, requests to Slack, the status of each access key."""
    return issue_posts(world), sends(world), statuses(world, "dev_kramer")


def labels(ran: Ran) -> list[str]:
    return [parse_line(line)["tags"]["status"] for line in iam_lines(ran)]


def counted(ran: Ran) -> dict[str, int]:
    """What a run counted, zeros left out."""
    names = ("issues_filed", "nags_sent", "keys_disabled", "skipped", "errors", "incomplete")
    return {name: value for name in names if (value := run_fields(ran)[name])}


def check_nothing_was_done(world: World, ran: Ran) -> None:
    """Neither the services nor the metrics know of an action, and the metrics are whole."""
    assert ran.code == 0
    assert labels(ran) == ["expired", "expired", "expiring"]
    fields = run_fields(ran)
    assert (fields["users"], fields["keys"], fields["incomplete"]) == (1, 3, 0)
    assert [fields[name] for name in ("issues_filed", "nags_sent", "keys_disabled")] == [0, 0, 0]
    assert (issue_posts(world), sends(world), statuses(world, "dev_kramer")) == (0, 0, UNTOUCHED)


def check_all_is_right(world: World, *, messages: int = 1) -> None:
    """The end state: an issue an access key, its owner told, the expired disabled, no claim on what is active."""
    assert done(world) == (3, messages, DONE)
    assert len(world.jira.issues) == 3
    assert len(world.slack.messages_to(KRAMER)) == messages
    active = world.aws.keys("dev_kramer")[2][0]
    assert {"issue_key", "told_at"} <= records(world)[active].keys()
    assert "messaged_at" in records(world)[f"slack:123456789012:{KRAMER}"]
    assert all("claim" not in name for name in records(world)[active])


def run_quietly(world: World, **settings: str) -> Ran:
    ran = run(world, "acme-dev", **{**ALL_ON, **settings})
    assert (ran.code, ran.stderr) == (0, "")
    return ran


def run_healed(world: World, **settings: str) -> Ran:
    world.gate.heal()
    return run_quietly(world, **settings)


# The table cannot be opened or read


@pytest.mark.represented_by("BatchGetItem refused")
@pytest.mark.parametrize(
    ("action", "fault", "says"),
    [
        pytest.param("DescribeTable", DENIED, "was refused (AccessDeniedException)", id="DescribeTable refused"),
        pytest.param("CreateTable", DENIED, "was refused (AccessDeniedException)", id="CreateTable refused"),
        pytest.param("BatchGetItem", DENIED, "was refused (AccessDeniedException)", id="BatchGetItem refused"),
        pytest.param("BatchGetItem", OVERLOADED, "failed (ProvisionedThroughput", id="BatchGetItem throttled"),
        pytest.param("DescribeTable", BROKEN, "failed (InternalServerError, HTTP 500)", id="DescribeTable 500"),
        pytest.param("BatchGetItem", Fault.html(200), "", id="BatchGetItem answered by a login page"),
    ],
)
def test_a_table_that_cannot_be_opened_or_read_costs_all_actions_and_no_metric(
    staffed: World, action: str, fault: Fault, says: str
) -> None:
    staffed.gate.inject(fault, is_action(action))
    ran = run(staffed, "acme-dev", **ALL_ON)
    check_nothing_was_done(staffed, ran)
    assert ran.stderr.startswith("E! acme-dev: nothing is filed, sent or disabled without state: ")
    assert f"dynamodb:{action} {says}".strip() in ran.first_line
    assert ran.stderr.count("\n") == 1
    assert counted(ran) == {"skipped": 3, "errors": 1}
    assert staffed.gate.calls["UpdateItem"] == 0
    assert staffed.jira.requests == []

    assert counted(run_healed(staffed)) == {"issues_filed": 3, "nags_sent": 1, "keys_disabled": 2}
    check_all_is_right(staffed)


def test_nothing_is_done_about_what_could_not_be_listed(staffed: World) -> None:
    """What stands must be known to the runs that come after an access key is gone, so that comes first."""
    staffed.gate.inject(DENIED, lambda request: b"SET listed_at" in request.body)
    ran = run(staffed, "acme-dev", **ALL_ON)
    check_nothing_was_done(staffed, ran)
    assert ran.stderr.startswith("E! acme-dev: nothing is filed, sent or disabled without state: dynamodb:UpdateItem ")
    assert ran.stderr.count("\n") == 1
    assert counted(ran) == {"skipped": 3, "errors": 1}

    assert counted(run_healed(staffed)) == {"issues_filed": 3, "nags_sent": 1, "keys_disabled": 2}
    check_all_is_right(staffed)


def test_a_table_that_cannot_be_reached_costs_all_actions_and_no_metric(staffed: World) -> None:
    ran = run(staffed, "acme-dev", "--fail-on-errors", **ALL_ON, AWS_ENDPOINT_URL_DYNAMODB=closed_port())
    assert ran.code == 3
    assert ran.stderr.startswith("E! acme-dev: nothing is filed, sent or disabled without state: dynamodb:Describe")
    assert ran.stderr.count("\n") == 1
    assert counted(ran) == {"skipped": 3, "errors": 1}
    assert labels(ran) == ["expired", "expired", "expiring"]
    assert done(staffed) == (0, 0, UNTOUCHED)

    run_healed(staffed)
    check_all_is_right(staffed)


@pytest.mark.represented_by("500")
@pytest.mark.parametrize(
    ("fault", "matches"),
    [
        pytest.param(
            THROTTLED,
            [is_action("DescribeTable"), is_action("BatchGetItem"), is_step("claim the message")],
            id="throttled",
        ),
        pytest.param(
            BROKEN,
            [is_action("CreateTable"), is_step("record the message"), is_step("begin disabling")],
            id="500",
        ),
    ],
)
def test_what_fails_twice_and_then_goes_well_is_not_said(lone: World, fault: Fault, matches: list[Match]) -> None:
    """The retries carry it through, and nothing is done twice."""
    for match in matches:
        lone.gate.inject(fault, match, times=2)
    assert counted(run_quietly(lone)) == {"issues_filed": 1, "nags_sent": 1, "keys_disabled": 1}
    assert all(count(lone, match) >= 3 for match in matches)
    assert done(lone) == (1, 1, ["Inactive"])


def test_a_table_of_another_shape_is_not_touched_and_costs_all_actions(staffed: World) -> None:
    table = staffed.state_client()
    table.create_table(
        TableName=STATE_TABLE,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    table.put_item(TableName=STATE_TABLE, Item={"id": {"S": "somebody else's"}})
    writes = len(staffed.gate.writes)
    ran = run(staffed, "acme-dev", **ALL_ON)
    check_nothing_was_done(staffed, ran)
    assert "it is not keycheck's; set dynamodb_table_name to another name" in ran.first_line
    assert ran.stderr.count("\n") == 1
    assert counted(ran) == {"skipped": 3, "errors": 1}
    assert len(staffed.gate.writes) == writes
    assert staffed.state_items() == [{"id": "somebody else's"}]

    staffed.drop_state()
    run_healed(staffed)
    check_all_is_right(staffed)


# The table is being made


def test_a_table_that_takes_its_time_is_waited_for(engine_world: World) -> None:
    """A real engine: CREATING for 1.5 seconds, and a claim before that would be refused."""
    world = staff(engine_world)
    ran = run(world, "acme-dev", **ALL_ON)
    assert (ran.code, ran.stderr) == (0, "")
    assert counted(ran) == {"issues_filed": 3, "nags_sent": 1, "keys_disabled": 2}
    assert world.gate.calls["CreateTable"] == 1
    check_all_is_right(world)


def test_a_table_that_is_being_made_for_ever_is_named_and_leaves_all_actions_to_the_next_run(staffed: World) -> None:
    table = {
        "TableName": STATE_TABLE,
        "TableStatus": "CREATING",
        "KeySchema": [{"AttributeName": "iam_access_key_id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "iam_access_key_id", "AttributeType": "S"}],
    }
    staffed.gate.inject(Fault.status(200, {"Table": table}), is_action("DescribeTable"))
    ran = run(staffed, "acme-dev", **ALL_ON, run_timeout_seconds="5")
    check_nothing_was_done(staffed, ran)
    assert counted(ran)["skipped"] == 3
    assert ran.stderr.count("\n") == 1
    assert ran.first_line.startswith("E! acme-dev: nothing is filed, sent or disabled without state: the table ")
    assert "it is not ready after 2 s" in ran.first_line
    assert staffed.gate.calls["DescribeTable"] > 2
    assert staffed.gate.calls["UpdateItem"] + staffed.gate.calls["BatchGetItem"] == 0

    run_healed(staffed)
    check_all_is_right(staffed)


# A write of the chain is refused


@pytest.mark.represented_by("claim the message", "record who was told")
@pytest.mark.parametrize(
    ("step", "first", "says", "messages"),
    [
        pytest.param(
            "claim the issue",
            ((0, 0, UNTOUCHED), {"skipped": 8, "errors": 1}),
            ["without state nothing more is filed, sent or disabled"],
            1,
            id="claim the issue",
        ),
        pytest.param(
            "begin filing",
            ((0, 0, UNTOUCHED), {"skipped": 8, "errors": 1}),
            ["without state nothing more is filed, sent or disabled"],
            2,
            id="begin filing",
        ),
        pytest.param(
            "record the issue",
            ((3, 1, DONE), {"issues_filed": 3, "nags_sent": 1, "keys_disabled": 2, "errors": 3}),
            [f"SEC-{number} for " for number in (1, 2, 3)],
            1,
            id="record the issue",
        ),
        pytest.param(
            "claim the message",
            ((3, 0, UNTOUCHED), {"issues_filed": 3, "skipped": 5, "errors": 1}),
            ["without state nothing more is filed, sent or disabled"],
            1,
            id="claim the message",
        ),
        pytest.param(
            "record the message",
            ((3, 1, DONE), {"issues_filed": 3, "nags_sent": 1, "keys_disabled": 2, "errors": 1}),
            [f"the message to {KRAMER} could not be recorded, so it may be repeated once"],
            2,
            id="record the message",
        ),
        pytest.param(
            "record who was told",
            ((3, 1, UNTOUCHED), {"issues_filed": 3, "nags_sent": 1, "skipped": 2, "errors": 3}),
            [f"that {KRAMER} was told of "] * 3,
            2,
            id="record who was told",
        ),
        pytest.param(
            "take a place under the brake",
            ((3, 1, UNTOUCHED), {"issues_filed": 3, "nags_sent": 1, "skipped": 2, "errors": 1}),
            ["without state nothing more is filed, sent or disabled"],
            1,
            id="take a place under the brake",
        ),
        pytest.param(
            "begin disabling",
            ((3, 1, UNTOUCHED), {"issues_filed": 3, "nags_sent": 1, "skipped": 2, "errors": 1}),
            ["without state nothing more is filed, sent or disabled"],
            1,
            id="begin disabling",
        ),
        pytest.param(
            "record disabled",
            ((3, 1, DONE), {"issues_filed": 3, "nags_sent": 1, "keys_disabled": 2, "errors": 2}),
            ["was disabled could not be recorded"] * 2,
            1,
            id="record disabled",
        ),
    ],
)
def test_a_refused_write_ends_what_rests_on_it_and_the_next_runs_put_it_right(
    staffed: World,
    step: str,
    first: tuple[tuple[int, int, list[str]], dict[str, int]],
    says: list[str],
    messages: int,
) -> None:
    """`first`: what the run with the fault did and counted; `says`: its E! lines, each named by some words of it.

    The second run meets the claims that the first could not give back; the third comes when they have lapsed, or,
    where no warning is on record, when the next nag is due.
    """
    staffed.gate.inject(DENIED, is_step(step))
    ran = run(staffed, "acme-dev", **ALL_ON)
    assert ran.code == 0
    assert (done(staffed), counted(ran)) == first
    errors = [line for line in ran.stderr.splitlines() if line.startswith("E! ")]
    assert len(errors) == len(says)
    for words in says:
        assert any(words in line for line in errors)
    assert all("UpdateItem was refused (AccessDeniedException)" in line for line in errors)
    disabled = first[0][2] == DONE
    assert labels(ran) == (["disabled", "disabled", "expiring"] if disabled else ["expired", "expired", "expiring"])

    is_claim_kept = step == "begin filing"  # an issue that could not be filed meanwhile is none for a disabled key
    is_unwarned = step == "record who was told"
    staffed.gate.heal()
    second = run(staffed, "-v", "acme-dev", **{**ALL_ON, "disable_key": str(not is_claim_kept)})
    assert "E! " not in second.stderr
    assert ("the next message to its owner gives one" in second.stderr) == is_unwarned
    assert counted(second).get("skipped", 0) == (
        3 if is_claim_kept else 2 if is_unwarned else 1 if step in ("record the issue", "record the message") else 0
    )
    staffed.pass_time(MORE_THAN_A_DAY if is_unwarned or is_claim_kept else BEYOND_A_CLAIM)
    assert "skipped" not in counted(run_healed(staffed))
    check_all_is_right(staffed, messages=messages)


@pytest.mark.represented_by("500")
@pytest.mark.parametrize("fault", [OVERLOADED, BROKEN], ids=["throttled", "500"])
def test_writes_that_fail_for_ever_are_said_once_however_many_owners_there_are(world: World, fault: Fault) -> None:
    """Many chains meet the failure at the same moment; at most one E!, and no more calls than those already begun."""
    users = [f"user_{number:02}" for number in range(9)]
    for user in users:
        world.aws.add_user(user, [190, 170])
        world.owners[user] = f"U0{user.upper()}".replace("_", "")
    world.gate.inject(fault, is_step(*STEPS))
    ran = run(world, "acme-dev", **ALL_ON)
    assert ran.code == 0
    assert len(iam_lines(ran)) == 18
    assert ran.stderr.startswith("E! acme-dev: dynamodb:UpdateItem ")
    assert ran.stderr.count("E! ") == 1
    assert ran.stderr.count("\n") == 1
    assert counted(ran) == {"skipped": 18 + 18 + 9, "errors": 1}
    assert (issue_posts(world), sends(world)) == (0, 0)
    assert [statuses(world, user) for user in users] == [["Active", "Active"]] * 9
    assert not any("AKIA" in name or name.startswith("slack:") for name in records(world))
    assert count(world, is_step(*STEPS)) <= 8 * 4

    healed = run_healed(world)
    assert counted(healed) == {"issues_filed": 18, "nags_sent": 9, "keys_disabled": 9}
    assert sorted(message.channel for message in world.slack.messages) == sorted(world.owners.values())


@pytest.mark.represented_by("every write")
@pytest.mark.parametrize(
    ("steps", "filed", "sent"),
    [
        pytest.param(list(STEPS), 0, 0, id="every write"),
        pytest.param(["claim the issue"], 0, 0, id="claim the issue"),
        pytest.param(["begin filing"], 0, 0, id="begin filing"),
        pytest.param(["claim the message"], 3, 0, id="claim the message"),
        pytest.param(["begin disabling"], 3, 1, id="begin disabling"),
    ],
)
def test_a_login_page_in_place_of_an_answer_is_no_claim(
    staffed: World, steps: list[str], filed: int, sent: int
) -> None:
    """HTTP 200, and nothing was written: a proxy may answer so."""
    staffed.gate.inject(Fault.html(200), is_step(*steps))
    ran = run(staffed, "acme-dev", **ALL_ON)
    assert ran.code == 0
    assert done(staffed) == (filed, sent, UNTOUCHED)
    assert ran.stderr.count("E! ") == run_fields(ran)["errors"] == 1

    staffed.pass_time(BEYOND_A_CLAIM)
    run_healed(staffed)
    check_all_is_right(staffed)


# The table is lost


def at_first(world: World, match: Match, act: Callable[[], None]) -> None:
    """Do something as the first such request comes in, before it is served."""
    happened: list[Request] = []

    def hook(request: Request) -> None:
        if match(request) and not happened:
            happened.append(request)
            act()

    world.gate.before.append(hook)


@pytest.mark.represented_by("before the message is recorded")
@pytest.mark.parametrize(
    ("match", "first", "errors", "messages"),
    [
        pytest.param(is_action("BatchGetItem"), (0, 0, ["Active"]), (1, 0), 1, id="before it is read"),
        pytest.param(is_step("claim the issue"), (0, 0, ["Active"]), (1, 0), 1, id="before the first claim"),
        pytest.param(is_step("record the issue"), (1, 0, ["Active"]), (2, 1), 1, id="before the issue is recorded"),
        pytest.param(is_step("record the message"), (1, 1, ["Active"]), (2, 2), 2, id="before the message is recorded"),
        pytest.param(
            is_step("record disabled"), (1, 1, ["Inactive"]), (1, 1), 1, id="before the disabling is on record"
        ),
    ],
)
def test_a_table_deleted_during_a_run_ends_its_actions_and_the_next_run_makes_a_new_one(
    lone: World, match: Match, first: tuple[int, int, list[str]], errors: tuple[int, int], messages: int
) -> None:
    """An issue that was filed is found by its label; of the messages, only the one in flight is repeated.

    `errors`: E! lines, and those of them about what was done and could not be recorded.
    """
    at_first(lone, match, lone.drop_state)
    ran = run(lone, "acme-dev", **ALL_ON)
    assert ran.code == 0
    assert done(lone) == first
    assert ran.stderr.count("E! ") == run_fields(ran)["errors"] == ran.stderr.count("ResourceNotFoundException")
    assert (run_fields(ran)["errors"], ran.stderr.count(NOT_RECORDED)) == errors
    assert labels(ran) == ["disabled" if first[2] == ["Inactive"] else "expired"]
    assert records(lone) == {}

    healed = run_healed(lone)
    assert run_fields(healed)["keys_disabled"] == (first[2] == ["Active"])
    assert done(lone) == (1, messages, ["Inactive"])


def test_a_table_deleted_between_two_runs_costs_each_owner_one_more_message_and_no_second_issue(staffed: World) -> None:
    run_healed(staffed)
    staffed.drop_state()
    ran = run_healed(staffed)
    assert counted(ran) == {"nags_sent": 1}
    assert issue_posts(staffed) == 3
    check_all_is_right(staffed, messages=2)


# Keys left unprocessed


def leave_unprocessed(world: World, monkeypatch: pytest.MonkeyPatch, keep: int, times: int) -> None:
    """BatchGetItem answers with the items of its first `keep` keys only and leaves the others unprocessed, so often."""
    serve, left = world.gate.serve, [times]

    def serve_in_part(request: Request) -> Answer:
        answer = serve(request)
        if action_of(request) != "BatchGetItem" or answer.status != 200 or left[0] == 0:
            return answer
        left[0] -= 1
        asked: dict[str, Any] = request.json["RequestItems"][STATE_TABLE]
        processed, unprocessed = asked["Keys"][:keep], asked["Keys"][keep:]
        assert isinstance(answer.payload, bytes)
        items = json.loads(answer.payload)["Responses"].get(STATE_TABLE, [])
        shown = [item for item in items if {"iam_access_key_id": item["iam_access_key_id"]} in processed]
        rest = {STATE_TABLE: {**asked, "Keys": unprocessed}} if unprocessed else {}
        return Answer(200, {"Responses": {STATE_TABLE: shown}, "UnprocessedKeys": rest})

    monkeypatch.setattr(world.gate, "serve", serve_in_part)


@pytest.mark.represented_by("one by one")
@pytest.mark.parametrize(("keep", "times"), [(1, 3), (0, 2)], ids=["one by one", "all of them twice"])
def test_keys_left_unprocessed_are_asked_for_again_and_not_taken_for_new(
    staffed: World, monkeypatch: pytest.MonkeyPatch, keep: int, times: int
) -> None:
    """The second run reads four records; one taken for absent would be told, filed or looked for again."""
    staffed.aws.add_user("dev_kramer_too", [171, 172])
    staffed.owners["dev_kramer_too"] = KRAMER
    run_healed(staffed)
    run_healed(staffed)  # says in two issues that their access keys were disabled
    before, reads, writes = done(staffed), staffed.gate.calls["BatchGetItem"], len(staffed.gate.writes)
    leave_unprocessed(staffed, monkeypatch, keep, times)
    ran = run_healed(staffed)
    assert counted(ran) == {}
    assert staffed.gate.calls["BatchGetItem"] == reads + times + 3, "what is due, what stands beside it, addressees"
    assert (done(staffed), len(staffed.gate.writes)) == (before, writes)


@pytest.mark.exhaustive
def test_keys_left_unprocessed_for_ever_are_not_taken_for_new(staffed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day later the owner is due again."""
    run_healed(staffed)
    staffed.pass_time(MORE_THAN_A_DAY)
    before = done(staffed)
    with monkeypatch.context() as patch:
        leave_unprocessed(staffed, patch, 0, -1)
        ran = run(staffed, "acme-dev", **ALL_ON)
    assert ran.code == 0
    assert ran.stderr.startswith("E! acme-dev: nothing is filed, sent or disabled without state: the table left keys")
    assert ran.stderr.count("\n") == 1
    assert counted(ran) == {"skipped": 1, "errors": 1}
    assert labels(ran) == ["disabled", "disabled", "expiring"]
    assert done(staffed) == before

    assert counted(run_healed(staffed)) == {"nags_sent": 1}
    check_all_is_right(staffed, messages=2)


# Answers that are lost


@pytest.mark.represented_by("after being served")
@pytest.mark.parametrize(
    ("fault", "again"),
    [
        pytest.param(Fault.drop_before_serving(), {}, id="before being served"),
        pytest.param(
            Fault.drop_after_serving(), {"record the issue": 2, "record the message": 1}, id="after being served"
        ),
    ],
)
def test_a_write_whose_answer_is_lost_is_sent_again_and_knows_its_own(
    lone: World, fault: Fault, again: dict[str, int]
) -> None:
    """Each write of the chain once. Served twice, a claim meets its own token; a record meets that its claim is gone
    (how often `again`) and is written without it.
    """
    for step in STEPS:
        lone.gate.inject(fault, is_step(step), times=1)
    ran = run(lone, "acme-dev", **ALL_ON)
    assert (ran.code, ran.stderr) == (0, "")
    assert counted(ran) == {"issues_filed": 1, "nags_sent": 1, "keys_disabled": 1}
    assert done(lone) == (1, 1, ["Inactive"])
    assert {step: count(lone, is_step(step)) for step in STEPS} == {step: 2 + again.get(step, 0) for step in STEPS}
    kept = records(lone)
    of_key, of_owner = kept[lone.aws.keys("dev_kramer")[0][0]], kept[f"slack:123456789012:{KRAMER}"]
    assert of_key.keys() >= {"issue_key", "told_at", "disabled_at"}
    assert str(of_key["issue_filings"]).count(",") == 0, "one filing, noted twice"
    assert "messaged_at" in of_owner
    assert all("claim" not in name for item in kept.values() for name in item)


BEFORE, AFTER = Fault.drop_before_serving(), Fault.drop_after_serving()


@pytest.mark.represented_by("claim the message, made")
@pytest.mark.parametrize(
    ("step", "fault", "first", "within_the_claim"),
    [
        pytest.param("claim the issue", BEFORE, (0, 0), (1, 1), id="claim the issue, not made"),
        pytest.param("claim the issue", AFTER, (0, 0), (0, 1), id="claim the issue, made"),
        pytest.param("begin filing", AFTER, (0, 0), (0, 1), id="begin filing, noted"),
        pytest.param("claim the message", BEFORE, (1, 0), (1, 1), id="claim the message, not made"),
        pytest.param("claim the message", AFTER, (1, 0), (1, 0), id="claim the message, made"),
        pytest.param("begin disabling", AFTER, (1, 1), (1, 1), id="begin disabling, noted"),
    ],
)
def test_nothing_is_done_on_a_write_whose_answer_never_comes(
    lone: World, step: str, fault: Fault, first: tuple[int, int], within_the_claim: tuple[int, int]
) -> None:
    """A claim that was made, though nobody heard so, is in the way until it lapses, and not longer."""
    lone.gate.inject(fault, is_step(step))
    ran = run(lone, "acme-dev", **ALL_ON)
    assert ran.code == 0
    assert (done(lone), labels(ran)) == ((*first, ["Active"]), ["expired"])
    assert ran.stderr.startswith("E! acme-dev: dynamodb:UpdateItem: the endpoint did not answer twice in a row")
    assert ran.stderr.count("E! ") == run_fields(ran)["errors"] == 1
    assert count(lone, is_step(step)) == 2

    run_healed(lone, disable_key="False")
    assert done(lone) == (*within_the_claim, ["Active"])
    lone.pass_time(BEYOND_A_CLAIM)
    run_healed(lone, disable_key="False")
    assert done(lone) == (1, 1, ["Active"])
    lone.pass_time(MORE_THAN_A_DAY)  # a message that named no day is no warning
    run_healed(lone)
    is_left_alone = step == "begin disabling"  # it may have been disabled, and taken back by somebody
    assert done(lone) == (1, 2, ["Active" if is_left_alone else "Inactive"])
    if is_left_alone:
        lone.pass_time(timedelta(days=7))
        run_healed(lone)
        assert done(lone) == (1, 3, ["Inactive"])


@pytest.mark.represented_by("as the message is recorded")
@pytest.mark.parametrize(
    ("step", "first", "not_recorded", "later", "messages"),
    [
        pytest.param("claim the message", (1, 0, ["Active"]), 0, BEYOND_A_CLAIM, 1, id="as the message is claimed"),
        pytest.param("record the message", (1, 1, ["Active"]), 2, MORE_THAN_A_DAY, 2, id="as the message is recorded"),
    ],
)
def test_aws_that_becomes_unreachable_in_the_middle_ends_all_actions(
    lone: World, step: str, first: tuple[int, int, list[str]], not_recorded: int, later: timedelta, messages: int
) -> None:
    """The write that was on the wire is still served: so the message is on record, though nobody could know, and its
    warning is not: the owner is told of the day anew when the next message is due.
    """
    at_first(lone, is_step(step), lone.gate.stop_listening)
    ran = run(lone, "acme-dev", **ALL_ON)
    assert ran.code == 0
    assert (done(lone), labels(ran)) == (first, ["expired"])
    assert ran.stderr.count(NOT_RECORDED) == not_recorded
    assert ran.stderr.count("E! ") == run_fields(ran)["errors"] == max(1, not_recorded)
    assert ("without state nothing more is filed, sent or disabled" in ran.stderr) == (not_recorded == 0)

    lone.gate.start_listening()
    lone.pass_time(later)
    run_healed(lone)
    assert done(lone) == (1, messages, ["Inactive"])
