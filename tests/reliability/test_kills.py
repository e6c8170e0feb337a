"""SIGKILL and SIGTERM at every request of a run, before it is served and after: what the runs after it put right.

Real processes and real signals: in `make test` around the writes that act (an issue, a message, a disabling), in `make
faults` at all of them. test_sweep.py cuts every call of a run in process.

Each list names all requests of a run, in order; a test holds the list to what a run really asks for, so that no request
is left out. Every one of them is cut both ways; what comes before the first claim is read alike in every run.
"""

from __future__ import annotations

import signal
from datetime import timedelta

import pytest

from sandbox.world import World
from tests.builders import ACCOUNT, ALL_ON, BEYOND_A_CLAIM, MORE_THAN_A_DAY
from tests.reliability.chains import (
    CHAIN,
    END,
    FIRST_RUN,
    MOMENTS,
    NEXT_CHAIN,
    NEXT_RUN,
    UNCONFIRMED,
    UNRECORDED_NOTICE,
    Moment,
    in_order,
    numbered,
)
from tests.reliability.kill_at_request import requests_of_a_run, run_cut
from tests.running import KRAMER, issue_posts, records, run, run_fields, sends, sound, statuses

END_AT = 14
"""How many requests a run with Jira alone makes before it ends an issue; END holds what it finds there to that."""


def represented(requests: tuple[str, ...], *names: str) -> list[str]:
    """Both cases of each of these requests, as pytest names them."""
    return [f"{requests.index(name):02} {name}-{moment}" for name in names for moment in MOMENTS]


def before_the_first_run(world: World) -> None:
    world.aws.add_user("dev_kramer", [197])
    world.owners["dev_kramer"] = KRAMER
    world.jira.search_lag_seconds = 60


def before_the_next_run(world: World) -> None:
    world.aws.add_user("dev_kramer", [170])
    world.owners["dev_kramer"] = KRAMER
    run(world, "acme-dev", **ALL_ON)
    world.jira.transition("SEC-1", "Done")
    world.pass_time(MORE_THAN_A_DAY)
    world.jira.search_lag_seconds = 60


def open_issues(world: World) -> list[str]:
    return [key for key, issue in world.jira.issues.items() if issue.category != "done"]


def no_claim_is_left(world: World) -> bool:
    return not any("claim" in name for item in records(world).values() for name in item)


def test_the_requests_of_a_first_run_are_all_listed(world: World) -> None:
    before_the_first_run(world)
    assert in_order(requests_of_a_run(world, "acme-dev", **ALL_ON)) == FIRST_RUN
    assert (len(FIRST_RUN), len(FIRST_RUN[CHAIN:])) == (42, 15)


def test_the_requests_of_the_next_run_are_all_listed(world: World) -> None:
    before_the_next_run(world)
    assert in_order(requests_of_a_run(world, "acme-dev", **ALL_ON)) == NEXT_RUN
    assert (len(NEXT_RUN), len(NEXT_RUN[NEXT_CHAIN:])) == (29, 11)


@pytest.mark.exhaustive
def test_a_first_run_killed_before_its_first_claim_has_done_nothing(world: World) -> None:
    """Each of its first requests is cut, one run after the other, each without a table before it."""
    before_the_first_run(world)
    for number in range(CHAIN):
        for moment in MOMENTS:
            killed, name = run_cut(world, number, moment, signal.SIGKILL, "acme-dev", **ALL_ON)
            assert (killed.code, killed.stdout) == (-signal.SIGKILL, ""), name
            assert (world.jira.issues, world.slack.messages) == ({}, []), name
            noted = {f"told:{KRAMER}", f"account:{ACCOUNT}", f"standing:{ACCOUNT}", "standing:all"}
            assert records(world).keys() <= noted, f"{name}: what Slack said, and that keycheck was here, is all of it"
            assert statuses(world, "dev_kramer") == ["Active"], name
            world.drop_state()
    last = run(world, "acme-dev", **ALL_ON)
    assert (last.code, last.stderr, run_fields(last)["disabled"]) == (0, "", 1)
    assert (len(world.jira.issues), len(world.slack.messages)) == (1, 1)


@pytest.mark.represented_by(*represented(FIRST_RUN, "create the issue", "send the message", "disable"))
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", numbered(FIRST_RUN, CHAIN))
def test_a_first_run_killed_at_any_request_of_its_chain_is_finished_by_the_runs_after_it(
    world: World, number: int, moment: Moment
) -> None:
    before_the_first_run(world)
    killed, name = run_cut(world, number, moment, signal.SIGKILL, "acme-dev", **ALL_ON)
    assert (killed.code, killed.stdout, name) == (-signal.SIGKILL, "", FIRST_RUN[number])
    if statuses(world, "dev_kramer") == ["Inactive"]:
        assert world.slack.messages

    run(world, "acme-dev", **ALL_ON)
    world.pass_time(BEYOND_A_CLAIM)
    last = run(world, "acme-dev", **ALL_ON)
    if is_untold := (name, moment) in UNRECORDED_NOTICE:
        assert (run_fields(last)["disabled"], len(world.slack.messages)) == (0, 1)
        world.pass_time(MORE_THAN_A_DAY)
        last = run(world, "acme-dev", **ALL_ON)
    if is_left_alone := (name, moment) in UNCONFIRMED:
        assert (run_fields(last)["disabled"], len(world.slack.messages)) == (0, 1)
        world.pass_time(timedelta(days=7, seconds=1))
        last = run(world, "acme-dev", **ALL_ON)
    assert (last.code, last.stderr) == (0, "")
    assert run_fields(last)["disabled"] == 1
    assert statuses(world, "dev_kramer") == ["Inactive"]
    assert len(world.jira.issues) == 1
    in_flight = (name, moment) in {("send the message", "after"), ("record the message", "before")}
    assert len(world.slack.messages) == 1 + in_flight + is_untold + is_left_alone
    assert no_claim_is_left(world)


@pytest.mark.represented_by(*represented(NEXT_RUN, "create the issue"))
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", numbered(NEXT_RUN, NEXT_CHAIN))
def test_a_later_run_killed_at_any_request_of_its_chain_is_finished_by_the_runs_after_it(
    world: World, number: int, moment: Moment
) -> None:
    before_the_next_run(world)
    killed, name = run_cut(world, number, moment, signal.SIGKILL, "acme-dev", **ALL_ON)
    assert (killed.code, killed.stdout, name) == (-signal.SIGKILL, "", NEXT_RUN[number])

    run(world, "acme-dev", **ALL_ON)
    world.pass_time(BEYOND_A_CLAIM)
    settled = run(world, "acme-dev", **ALL_ON)
    assert (settled.code, settled.stderr) == (0, "")
    assert (len(open_issues(world)), len(world.jira.issues)) == (1, 2)
    in_flight = (name, moment) in {("send the message", "after"), ("record the message", "before")}
    assert len(world.slack.messages) == 2 + in_flight
    assert no_claim_is_left(world)
    assert statuses(world, "dev_kramer") == ["Active"]

    world.pass_time(MORE_THAN_A_DAY)
    tomorrow = run(world, "acme-dev", **ALL_ON)
    assert (tomorrow.code, tomorrow.stderr) == (0, "")
    assert (len(world.slack.messages), len(world.jira.issues)) == (3 + in_flight, 2)


@pytest.mark.represented_by(*represented(END, "say it in the issue"))
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", numbered(END))
def test_a_run_killed_while_it_ends_an_issue_leaves_one_comment_and_it_is_closed(
    world: World, number: int, moment: Moment
) -> None:
    """The number counts from the first request of END on."""
    (access_key_id,) = world.aws.add_user("dev_kramer", [170])
    run(world, "acme-dev", create_jira="True")
    world.aws.set_status("dev_kramer", access_key_id, "Inactive")
    killed, name = run_cut(world, END_AT + number, moment, signal.SIGKILL, "acme-dev", create_jira="True")
    assert (killed.code, killed.stdout, name) == (-signal.SIGKILL, "", END[number])

    for _ in range(2):
        world.pass_time(BEYOND_A_CLAIM)
        last = run(world, "acme-dev", create_jira="True")
        assert (last.code, last.stderr) == (0, "")
    (issue,) = world.jira.issues.values()
    assert (issue.category, len(issue.comments)) == ("done", 1)
    assert no_claim_is_left(world)


@pytest.mark.represented_by(*represented(FIRST_RUN, "send the message"))
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", numbered(FIRST_RUN, CHAIN))
def test_a_first_run_told_to_stop_at_any_request_of_its_chain_repeats_nothing(
    world: World, number: int, moment: Moment
) -> None:
    """SIGTERM: the request in flight is answered, nothing new is begun, and not even one message is repeated."""
    before_the_first_run(world)
    stopped, name = run_cut(world, number, moment, signal.SIGTERM, "acme-dev", **ALL_ON)
    assert (sound(stopped, world).code, name) == (0, FIRST_RUN[number])
    assert "E! " not in stopped.stderr
    assert stopped.stdout.count("iam_run,") == 1
    posts = issue_posts(world)
    if statuses(world, "dev_kramer") == ["Inactive"]:
        assert FIRST_RUN.index("disable") <= number
        assert ",status=disabled," in stopped.stdout

    run(world, "acme-dev", **ALL_ON)
    world.pass_time(BEYOND_A_CLAIM)
    last = run(world, "acme-dev", **ALL_ON)
    assert (last.code, last.stderr) == (0, "")
    assert statuses(world, "dev_kramer") == ["Inactive"]
    assert (len(world.jira.issues), issue_posts(world), sends(world)) == (1, max(posts, 1), 1)
    assert no_claim_is_left(world)
