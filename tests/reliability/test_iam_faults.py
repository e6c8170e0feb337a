"""IAM fails: no part of a scan passes for the whole, and nothing is inferred about a user who could not be read.

Such a user's lines are absent, not wrong, and the user's expired access key is not filed, nagged about or disabled,
until IAM answers again: then the next run does all of it, and nothing a second time for the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

import pytest
from line_protocol_parser import parse_line

from sandbox.fake_iam import FakeIam, about, iam_error
from sandbox.http_fake import Fault
from sandbox.world import Ran, World
from tests.builders import ALL_ON, UNTOLD
from tests.running import fake_iam, iam_lines, records, run, run_fields

SHORT = {**ALL_ON, "run_timeout_seconds": "5"}
"""The scan may take three seconds of it."""
BEYOND_AN_INTENT = timedelta(minutes=16)
"""A disabling that may have been done, or may yet be, is left alone for 15 minutes."""


@dataclass(frozen=True)
class Done:
    """What became of one access key: issues filed for it, messages that name it, AWS's status of it."""

    issues: int
    messages: int
    status: str


NOTHING = Done(0, 0, "Active")
ALL = Done(1, 1, "Inactive")
WARNED = Done(1, 1, "Active")
SCAN_BROKEN = "the users could not all be listed, or more than 5 % of them could not be read"


def done(world: World, access_key_id: str, status: str) -> Done:
    label = "keycheck-" + sha256(access_key_id.encode()).hexdigest()[:16]
    return Done(
        sum(label in issue.labels for issue in world.jira.issues.values()),
        sum(access_key_id in str(message.blocks) for message in world.slack.messages),
        status,
    )


def done_by_user(world: World) -> dict[str, list[Done]]:
    """Of each user of the fake IAM, what became of each access key."""
    users = fake_iam(world).users.values()
    return {user.user_name: [done(world, key.access_key_id, key.status) for key in user.keys] for user in users}


def shown(ran: Ran) -> list[tuple[str, str]]:
    """(user name, label) of each line."""
    tags = [parse_line(line)["tags"] for line in iam_lines(ran)]
    return [(one["name"], one["status"]) for one in tags]


def counted(ran: Ran) -> dict[str, int]:
    """What a run counted; zeros are left out."""
    names = ("users", "keys", "issues_filed", "nags_sent", "keys_disabled", "skipped", "errors", "incomplete")
    fields = run_fields(ran)
    return {name: fields[name] for name in names if fields.get(name)}


def staff(world: World, *users: str) -> FakeIam:
    """Each has one expired access key and a Slack id of their own."""
    iam = fake_iam(world)
    for user in users:
        iam.add_user(user, [200])
        world.owners[user] = f"U0{user.upper()}"
    return iam


@pytest.fixture(name="iam")
def fake_iam_with_three_owners(iam_world: World) -> FakeIam:
    return staff(iam_world, "ana", "ben", "eve")


def check_the_next_run_does_the_rest(world: World) -> None:
    """Healed, everything is done, and for nobody twice."""
    iam = fake_iam(world)
    iam.heal()
    iam.latency = 0
    iam.forget_calls()
    before = done_by_user(world)
    ran = run(world, "acme-dev", **ALL_ON)
    assert (ran.code, ran.stderr) == (0, "")
    now = done_by_user(world)
    assert {one for all_of_user in now.values() for one in all_of_user} == {ALL}
    assert iam.calls["UpdateAccessKey"] == sum(one.status == "Active" for keys in before.values() for one in keys)
    fields = run_fields(ran)
    assert (fields["users"], fields["errors"], fields["skipped"], fields["incomplete"]) == (len(now), 0, 0, 0)
    assert [label for _, label in shown(ran)] == ["disabled"] * fields["keys"]


# Throttling and server errors


@pytest.mark.represented_by("ServiceFailure-2")
@pytest.mark.parametrize(("code", "times"), [("Throttling", 1), ("ServiceFailure", 2)])
def test_what_iam_refuses_at_first_and_then_answers_is_not_said(
    iam_world: World, iam: FakeIam, code: str, times: int
) -> None:
    for action in ("ListUsers", "ListAccessKeys", "UpdateAccessKey"):
        iam.inject(iam_error(code), about(action), times=times)
    ran = run(iam_world, "acme-dev", **ALL_ON)
    assert (ran.code, ran.stderr) == (0, "")
    assert counted(ran) == {"users": 3, "keys": 3, "issues_filed": 3, "nags_sent": 3, "keys_disabled": 3}
    assert done_by_user(iam_world) == {"ana": [ALL], "ben": [ALL], "eve": [ALL]}
    often = {"ListUsers": 1 + times, "ListAccessKeys": 3 + times, "UpdateAccessKey": 3 + times}
    assert iam.calls == {**often, "GetAccountSummary": 1, "GetAccessKeyLastUsed": 3}


@pytest.mark.exhaustive
@pytest.mark.parametrize("code", ["Throttling", "ServiceFailure"])
def test_a_user_refused_for_ever_is_left_out_and_the_scan_says_that_it_is_not_whole(
    iam_world: World, iam: FakeIam, code: str
) -> None:
    """The retries end, at the latest, with the scan's share of the time; what was read by then is acted on."""
    iam.inject(iam_error(code), about("ListAccessKeys", "ben"))
    ran = run(iam_world, "acme-dev", "--fail-on-errors", **SHORT)
    assert ran.code == 3
    assert {name for name, _ in shown(ran)} == {"ana", "eve"}
    fields = run_fields(ran)
    assert (fields["users"], fields["keys"], fields["incomplete"]) == (3, 2, 1)
    assert ran.stderr.count("1 of 3 users ") == 1
    assert " not read" in ran.stderr
    assert done_by_user(iam_world)["ben"] == [NOTHING]
    assert iam.users["ben"].keys[0].access_key_id not in records(iam_world)
    check_the_next_run_does_the_rest(iam_world)


@pytest.mark.represented_by("ServiceFailure")
@pytest.mark.parametrize("code", ["Throttling", "ServiceFailure"])
def test_a_list_of_users_refused_for_ever_is_no_empty_account(iam_world: World, iam: FakeIam, code: str) -> None:
    """Whether the retries end first, or the scan's time, is up to chance: either is said, and neither is an account."""
    iam.inject(iam_error(code), about("ListUsers"))
    ran = run(iam_world, "acme-dev", "--fail-on-errors", **SHORT)
    assert ran.code in (1, 3)
    assert iam_lines(ran) == []
    assert run_fields(ran).keys() == {"errors", "incomplete", "duration_seconds", "finished_at"}
    assert run_fields(ran)["incomplete"] == 1
    assert ran.first_line.startswith(("W! acme-dev: the scan was cut off by its time", "E! acme-dev: iam:ListUsers "))
    assert iam.calls.keys() == {"ListUsers"}
    assert iam.calls["ListUsers"] > 1
    assert set(map(tuple, done_by_user(iam_world).values())) == {(NOTHING,)}
    check_the_next_run_does_the_rest(iam_world)


@pytest.mark.represented_by("ServiceFailure")
@pytest.mark.parametrize("code", ["Throttling", "ServiceFailure"])
def test_a_disabling_refused_for_ever_is_an_error_and_the_key_stays_expired(iam_world: World, code: str) -> None:
    iam = staff(iam_world, "ben")
    iam.inject(iam_error(code), about("UpdateAccessKey"))
    ran = run(iam_world, "acme-dev", **ALL_ON, run_timeout_seconds="8")
    assert ran.code == 0
    assert shown(ran) == [("ben", "expired")]
    fields = run_fields(ran)
    assert (fields["issues_filed"], fields["nags_sent"], fields["keys_disabled"], fields["errors"]) == (1, 1, 0, 1)
    assert ran.stderr.startswith("E! ")
    assert ran.stderr.count("\n") == 1
    assert done_by_user(iam_world) == {"ben": [WARNED]}
    assert iam.calls["UpdateAccessKey"] > 1
    iam_world.pass_time(BEYOND_AN_INTENT)
    if code == "ServiceFailure":
        check_the_next_run_does_the_rest(iam_world)
        return
    iam.heal()  # where time was over between two attempts, it may have been disabled, and taken back by somebody
    for _ in range(2):
        run(iam_world, "acme-dev", **ALL_ON)
        iam_world.pass_time(timedelta(days=8))
    assert [(one.issues, one.status) for one in done_by_user(iam_world)["ben"]] == [(1, "Inactive")]


# Refusals, one call after the other


def test_a_refused_list_of_users_is_exit_1_and_nothing_is_done(iam_world: World, iam: FakeIam) -> None:
    iam.inject(iam_error("AccessDenied"), about("ListUsers"))
    ran = run(iam_world, "acme-dev", **ALL_ON)
    assert ran.code == 1
    assert iam_lines(ran) == []
    assert run_fields(ran).keys() == {"errors", "incomplete", "duration_seconds", "finished_at"}
    assert counted(ran) == {"errors": 1, "incomplete": 1}
    assert ran.stderr.startswith("E! acme-dev: iam:ListUsers was refused (AccessDenied)")
    assert ran.stderr.count("\n") == 1
    assert set(map(tuple, done_by_user(iam_world).values())) == {(NOTHING,)}
    assert records(iam_world) == {}
    check_the_next_run_does_the_rest(iam_world)


def test_a_user_whose_keys_may_not_be_listed_is_left_out_and_the_others_are_served(
    iam_world: World, iam: FakeIam
) -> None:
    iam.inject(iam_error("AccessDenied"), about("ListAccessKeys", "ben"))
    ran = run(iam_world, "acme-dev", **ALL_ON)
    assert ran.code == 0
    assert shown(ran) == [("ana", "expired"), ("eve", "expired")]
    done_for_two = {"users": 3, "keys": 2, "issues_filed": 2, "nags_sent": 2}
    assert counted(ran) == {**done_for_two, "skipped": 2, "errors": 1, "incomplete": 1}
    error, warning = ran.stderr.splitlines()
    assert error.startswith("E! acme-dev: the access keys of 1 of 3 users were not read: iam:ListAccessKeys was ")
    assert SCAN_BROKEN in warning
    assert done_by_user(iam_world) == {"ana": [WARNED], "ben": [NOTHING], "eve": [WARNED]}
    check_the_next_run_does_the_rest(iam_world)


@pytest.mark.represented_by("2")
@pytest.mark.parametrize("unread", [1, 2])
def test_up_to_5_percent_of_the_users_unread_hold_back_only_themselves(iam_world: World, unread: int) -> None:
    """One of twenty is 5 %, two are more: then nothing is disabled at all, and all are told."""
    users = [f"user{number:02}" for number in range(20)]
    iam = staff(iam_world, *users)
    for user in users[:unread]:
        iam.inject(iam_error("AccessDenied"), about("ListAccessKeys", user))
    ran = run(iam_world, "acme-dev", **ALL_ON)
    became = ALL if unread == 1 else WARNED
    assert done_by_user(iam_world) == {user: [became if user in users[unread:] else NOTHING] for user in users}
    assert run_fields(ran)["skipped"] == (0 if unread == 1 else 18)
    assert (SCAN_BROKEN in ran.stderr) == (unread == 2)
    check_the_next_run_does_the_rest(iam_world)


def test_a_refused_disabling_is_tried_again_by_the_next_run_without_a_second_warning(
    iam_world: World, iam: FakeIam
) -> None:
    iam.inject(iam_error("AccessDenied"), about("UpdateAccessKey", "ben"))
    ran = run(iam_world, "acme-dev", **ALL_ON)
    assert ran.code == 0
    assert shown(ran) == [("ana", "disabled"), ("ben", "expired"), ("eve", "disabled")]
    fields = run_fields(ran)
    assert (fields["keys_disabled"], fields["errors"], fields["incomplete"]) == (2, 1, 0)
    assert ran.stderr.startswith("E! acme-dev: iam:UpdateAccessKey was refused (AccessDenied)")
    assert ran.stderr.count("\n") == 1
    assert done_by_user(iam_world) == {"ana": [ALL], "ben": [WARNED], "eve": [ALL]}
    check_the_next_run_does_the_rest(iam_world)


# What is gone meanwhile


def test_a_user_who_is_gone_between_two_calls_is_no_error_and_nobody_hears_of_it(
    iam_world: World, iam: FakeIam
) -> None:
    iam.delete_user_after_listing("ben")
    ran = run(iam_world, "acme-dev", "--fail-on-errors", **ALL_ON)
    assert (ran.code, ran.stderr) == (0, "")
    assert shown(ran) == [("ana", "disabled"), ("eve", "disabled")]
    assert counted(ran) == {"users": 2, "keys": 2, "issues_filed": 2, "nags_sent": 2, "keys_disabled": 2}
    assert done_by_user(iam_world)["ben"] == [NOTHING]


def test_a_user_who_is_gone_between_two_pages_of_keys_shows_none(iam_world: World, iam: FakeIam) -> None:
    iam.keys_per_page = 1
    staff_more = iam.add_user("zoe", [200, 190])
    iam_world.owners["zoe"] = "U0ZOE"
    iam.inject(iam_error("NoSuchEntity"), about("ListAccessKeys", "zoe", page=2))
    ran = run(iam_world, "acme-dev", "--fail-on-errors", **ALL_ON)
    assert (ran.code, ran.stderr) == (0, "")
    assert [name for name, _ in shown(ran)] == ["ana", "ben", "eve"]
    assert (run_fields(ran)["users"], run_fields(ran)["incomplete"]) == (3, 0)
    assert [done(iam_world, key.access_key_id, key.status) for key in staff_more.keys] == [NOTHING, NOTHING]


def test_an_access_key_that_is_gone_when_it_is_disabled_is_not_called_disabled(iam_world: World, iam: FakeIam) -> None:
    iam.inject(iam_error("NoSuchEntity"), about("UpdateAccessKey", "ben"))
    ran = run(iam_world, "acme-dev", "--fail-on-errors", **ALL_ON)
    assert (ran.code, ran.stderr) == (0, "")
    assert shown(ran) == [("ana", "disabled"), ("ben", "expired"), ("eve", "disabled")]
    fields = run_fields(ran)
    assert (fields["keys_disabled"], fields["errors"], fields["skipped"]) == (2, 0, 0)
    assert iam.calls["UpdateAccessKey"] == 3


# Pages


@pytest.mark.represented_by("2")
@pytest.mark.parametrize("page", [1, 2, 4])
def test_a_page_of_users_that_fails_hides_no_page_before_it_and_shows_none_after_it(
    iam_world: World, iam: FakeIam, page: int
) -> None:
    """Four users on four pages."""
    staff(iam_world, "zoe")
    iam.users_per_page = 1
    iam.inject(iam_error("SomethingNew"), about("ListUsers", page=page))
    ran = run(iam_world, "acme-dev", **ALL_ON)
    names = ["ana", "ben", "eve", "zoe"]
    assert ran.code == int(page == 1)
    assert shown(ran) == [(name, "expired") for name in names[: page - 1]]
    assert (run_fields(ran)["errors"], run_fields(ran)["incomplete"]) == (1, 1)
    assert run_fields(ran).get("users", 0) == page - 1
    assert ran.stderr.startswith("E! acme-dev: iam:ListUsers failed (SomethingNew, HTTP 400)")
    assert ("the list of users is not complete" in ran.stderr) == (SCAN_BROKEN in ran.stderr) == (page > 1)
    assert done_by_user(iam_world) == {
        name: [WARNED if number < page else NOTHING] for number, name in enumerate(names, start=1)
    }
    check_the_next_run_does_the_rest(iam_world)


@pytest.mark.represented_by("2")
@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_page_of_a_users_keys_that_fails_hides_all_of_that_users_keys(
    iam_world: World, iam: FakeIam, page: int
) -> None:
    """A part of a user's access keys is no base for a message that lists them, or for a line."""
    iam.add_user("zoe", [210, 200, 190])
    iam_world.owners["zoe"] = "U0ZOE"
    iam.keys_per_page = 1
    iam.inject(iam_error("SomethingNew"), about("ListAccessKeys", "zoe", page=page))
    ran = run(iam_world, "acme-dev", **ALL_ON)
    assert ran.code == 0
    assert [name for name, _ in shown(ran)] == ["ana", "ben", "eve"]
    fields = run_fields(ran)
    assert (fields["users"], fields["keys"], fields["errors"], fields["incomplete"]) == (4, 3, 1, 1)
    assert ran.stderr.startswith("E! acme-dev: the access keys of 1 of 4 users were not read: ")
    assert ran.first_line.endswith(": zoe (1 of 2 lines)")
    assert SCAN_BROKEN in ran.stderr
    assert done_by_user(iam_world) == {"ana": [WARNED], "ben": [WARNED], "eve": [WARNED], "zoe": [NOTHING] * 3}
    check_the_next_run_does_the_rest(iam_world)


# Slow


def test_a_slow_iam_is_cut_off_at_the_scans_share_and_who_was_not_read_is_left_alone(iam_world: World) -> None:
    """A page a user, each half a second late: 3 of 5 seconds do not suffice for twenty."""
    users = [f"user{number:02}" for number in range(20)]
    iam = staff(iam_world, *users)
    iam.users_per_page = 1
    iam.latency = 0.5
    ran = run(iam_world, "acme-dev", **SHORT)
    assert ran.code == 0
    read = [name for name, _ in shown(ran)]
    assert len(read) < 10
    assert read == users[: len(read)]
    assert run_fields(ran)["incomplete"] == 1
    assert "W! acme-dev: the scan was cut off by its time (60 % of run_timeout_seconds): " in ran.stderr
    assert iam.calls["ListUsers"] < 10
    became = done_by_user(iam_world)
    assert [became[user] for user in users[len(read) :]] == [[NOTHING]] * (20 - len(read))
    for user, label in shown(ran):  # a line says disabled only where it is so, and nobody is cut off untold
        assert label != "disabled" or became[user][0].status == "Inactive"
        assert became[user][0].status == "Active" or became[user][0].issues + became[user][0].messages


# Garbage

LOGIN_PAGE = Fault.html(200)
UNREADABLE = "the answer cannot be read; is a proxy in between?"
GARBAGE = [
    pytest.param(LOGIN_PAGE, id="a login page"),
    pytest.param(Fault.status(200, b"<ListUsersResponse><ListUsersResult>"), id="cut off XML"),
    pytest.param(Fault.status(200), id="nothing"),
    pytest.param(Fault.status(200, {"Users": []}), id="JSON"),
    pytest.param(Fault.status(200, b"\x00\xff\xfe"), id="bytes"),
]


@pytest.mark.represented_by("a login page")
@pytest.mark.parametrize("fault", GARBAGE)
def test_garbage_in_place_of_the_users_is_no_empty_account(world: World, fault: Fault) -> None:
    ((access_key_id,),) = (world.aws.add_user("ben", [200]),)
    world.owners["ben"] = "U0BEN"
    world.gate.inject(fault, about("ListUsers"))
    ran = run(world, "acme-dev", **ALL_ON)
    assert ran.code == 1
    assert counted(ran) == {"errors": 1, "incomplete": 1}
    said = [f"E! acme-dev: iam:ListUsers: {words}" for words in ("unexpected ", UNREADABLE)]
    assert ran.stderr.startswith(tuple(said))
    assert (iam_lines(ran), done(world, access_key_id, world.aws.keys("ben")[0][1])) == ([], NOTHING)


@pytest.mark.represented_by("a login page")
@pytest.mark.parametrize("fault", GARBAGE)
def test_garbage_in_place_of_a_users_keys_is_no_user_without_keys(world: World, fault: Fault) -> None:
    (of_ana,), (of_ben,) = world.aws.add_user("ana", [200]), world.aws.add_user("ben", [200])
    world.owners |= {"ana": "U0ANA", "ben": "U0BEN"}
    world.gate.inject(fault, about("ListAccessKeys", "ben"))
    ran = run(world, "acme-dev", **ALL_ON)
    assert ran.code == 0
    assert shown(ran) == [("ana", "expired")]
    assert (run_fields(ran)["users"], run_fields(ran)["errors"], run_fields(ran)["incomplete"]) == (2, 1, 1)
    assert ran.stderr.startswith("E! acme-dev: the access keys of 1 of 2 users were not read: iam:ListAccessKeys: ")
    assert done(world, of_ana, world.aws.keys("ana")[0][1]) == WARNED
    assert done(world, of_ben, world.aws.keys("ben")[0][1]) == NOTHING


@pytest.mark.represented_by("a login page", "cut off XML")
@pytest.mark.parametrize("fault", GARBAGE)
def test_garbage_in_place_of_an_answer_to_a_disabling_is_no_disabled_key(world: World, fault: Fault) -> None:
    """HTTP 200 alone is not AWS's answer: a proxy may have given it, and the access key still works."""
    world.aws.add_user("ben", [200])
    world.gate.inject(fault, about("UpdateAccessKey"))
    ran = run(world, "acme-dev", disable_key="True")
    assert ran.code == 0
    assert world.aws.keys("ben")[0][1] == "Active"
    assert shown(ran) == [("ben", "expired")]
    assert (run_fields(ran)["keys_disabled"], run_fields(ran)["errors"]) == (0, 1)
    assert ran.stderr.startswith("E! acme-dev: ")

    world.gate.heal()
    world.pass_time(BEYOND_AN_INTENT)
    healed = run(world, "acme-dev", disable_key="True")
    assert (healed.stderr, shown(healed), world.aws.keys("ben")[0][1]) == (UNTOLD, [("ben", "expired")], "Active")
    world.pass_time(timedelta(days=7))  # nobody can know that it was not disabled, and taken back by somebody
    healed = run(world, "acme-dev", disable_key="True")
    assert (healed.stderr, shown(healed), world.aws.keys("ben")[0][1]) == (UNTOLD, [("ben", "disabled")], "Inactive")


def test_an_error_that_is_no_xml_is_said_without_its_text(world: World) -> None:
    """A proxy's 403 in front of AWS."""
    world.aws.add_user("ben", [200])
    world.gate.inject(Fault.html(403), about("ListUsers"))
    ran = run(world, "acme-dev", disable_key="True")
    assert (ran.code, counted(ran)) == (1, {"errors": 1, "incomplete": 1})
    assert ran.stderr.startswith("E! acme-dev: iam:ListUsers")
    assert "Log in" not in ran.stderr
    assert world.aws.keys("ben")[0][1] == "Active"
