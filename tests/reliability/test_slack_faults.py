"""A Slack that fails, in every way it can: what a run prints and does meanwhile, and what the next ones make good.

What must be seen: every metric line is out; a fault that is one owner's costs no other owner; nobody is messaged twice
within the interval; who was refused is told by the next run; who was not told keeps the access key.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest

from sandbox.fake_slack import ok_false, rate_limited
from sandbox.gate import is_action
from sandbox.http_fake import Fault, Match, Request, calls
from sandbox.world import SLACK_TOKEN, Ran, World
from tests.builders import MORE_THAN_A_DAY
from tests.running import closed_port, iam_lines, records, run, run_fields, sends, statuses

SLACK = {"send_slack": "True", "disable_key": "True"}
BEYOND_A_CLAIM = timedelta(seconds=100 + 600 + 60)
"""run_timeout_seconds and claim_margin_seconds by default, and a minute."""
CHAINS_AT_ONCE = 8
"""As many messages are in flight at once (acting/chains.py): so many calls may be out when the first answer comes."""
ANA, BEN, CEM, EVE = "U0ANA", "U0BEN", "U0CEM", "U0EVE"


@pytest.fixture(name="four")
def four_owners(world: World) -> World:
    """ana's and ben's access keys are expired, cem's and eve's are expiring."""
    for user, age, slack_id in (("ana", 199, ANA), ("ben", 198, BEN), ("cem", 171, CEM), ("eve", 170, EVE)):
        world.aws.add_user(user, [age])
        world.owners[user] = slack_id
    return world


@pytest.fixture(name="many")
def twelve_owners(world: World) -> World:
    """All their access keys are expired; user_00's is the oldest, so that it is served first, then user_01's."""
    for number in range(12):
        world.aws.add_user(f"user_{number:02}", [220 - number])
        world.owners[f"user_{number:02}"] = f"U0OWNER{number:02}"
    return world


def told(world: World) -> Counter[str]:
    """How many messages each addressee has got."""
    return Counter(message.channel for message in world.slack.messages)


def asked(world: World) -> Counter[str]:
    """How many requests there were for each addressee, whatever became of them."""
    return Counter(request.json["channel"] for request in world.slack.requests if SEND(request))


def once(world: World) -> dict[str, int]:
    return dict.fromkeys(world.owners.values(), 1)


SEND = calls("POST", "/chat.postMessage")


def spoil(world: World, fault: Fault, match: Match | None = None, times: int | None = None) -> None:
    """Spoil messages alone: what users.info says is in test_slack_lookups.py."""
    world.slack.inject(fault, lambda request: SEND(request) and (match is None or match(request)), times)


def to(slack_id: str) -> Match:
    return lambda request: request.json["channel"] == slack_id


def disabled(world: World) -> list[str]:
    """The users whose one access key is Inactive."""
    return [user for user in world.owners if statuses(world, user) == ["Inactive"]]


def messaged(world: World) -> set[str]:
    """The Slack ids that the state table says were messaged."""
    return {key.rpartition(":")[2] for key, item in records(world).items() if "messaged_at" in item}


def check_metrics(ran: Ran, world: World, *, errors: int, lines: int | None = None) -> None:
    """All is printed, and each error is counted, and is a line on stderr, where they do not share `lines`."""
    assert ran.code == 0
    assert len(iam_lines(ran)) == len(world.owners)
    fields = run_fields(ran)
    assert (fields["users"], fields["keys"], fields["incomplete"]) == (len(world.owners), len(world.owners), 0)
    assert (fields["errors"], ran.stderr.count("E! ")) == (errors, errors if lines is None else lines)


def check_all_is_well(ran: Ran, world: World) -> None:
    assert (ran.code, ran.stderr) == (0, "")
    assert len(iam_lines(ran)) == len(world.owners)


def check_the_next_run_tells_each_once(world: World) -> None:
    """And records all of them, and leaves no claim: so that a run within the interval has nobody to tell."""
    check_all_is_well(run(world, "acme-dev", **SLACK), world)
    assert told(world) == once(world)
    assert messaged(world) == set(world.owners.values())
    assert not any("claim" in name for item in records(world).values() for name in item)


def hold_all_but_the_first(world: World, count: int) -> None:
    """Hold the claims of all messages but the first `count` until those are over: so one call follows the other."""
    first = [f":U0OWNER{number:02}".encode() for number in range(count)]
    is_update, over, so_far = is_action("UpdateItem"), threading.Event(), list[Request]()

    def hold(request: Request) -> None:
        if not is_update(request):
            return
        if b"server_errors" in request.body:  # what ends a claim: the message is recorded, or its claim given back
            so_far.append(request)
            if len(so_far) >= count:
                over.set()
        elif b"SET message_claim" in request.body and not any(name in request.body for name in first):
            assert over.wait(20)

    world.gate.before.append(hold)


# Unreachable


def no_tls(world: World) -> str:
    """TLS spoken to a server that speaks plain HTTP."""
    return world.slack.base_url.replace("http://", "https://")


UNREACHABLE: dict[str, Callable[[World], str]] = {
    "refused": lambda _: closed_port() + "/api/",
    "no such name": lambda _: "https://no-such-host.invalid/api/",
    "TLS fails": no_tls,
}


@pytest.mark.represented_by("refused")
@pytest.mark.parametrize("address", [pytest.param(where, id=name) for name, where in UNREACHABLE.items()])
def test_a_slack_out_of_reach_is_off_after_two_tries_and_counts_as_told_for_nobody(
    many: World, address: Callable[[World], str]
) -> None:
    hold_all_but_the_first(many, 1)
    ran = run(many, "acme-dev", **SLACK, slack_api_base_url=address(many))
    check_metrics(ran, many, errors=2)
    assert ran.first_line.startswith("E! acme-dev: no connection to Slack for the message to U0OWNER0")
    assert ran.stderr.count("\n") == 2
    assert (run_fields(ran)["nags_sent"], sends(many)) == (0, 0)
    assert (disabled(many), messaged(many)) == ([], set())

    many.gate.before.clear()
    check_the_next_run_tells_each_once(many)
    assert disabled(many) == list(many.owners)


def test_a_slack_that_goes_away_during_the_run_costs_those_who_were_not_told_by_then(many: World) -> None:
    hold_all_but_the_first(many, 1)
    lock = threading.Lock()

    def go_away(_: Request) -> None:
        if many.slack.messages:
            with lock:
                many.slack.stop_listening()

    many.gate.before.append(go_away)
    ran = run(many, "acme-dev", **SLACK)
    errors = run_fields(ran)["errors"]
    check_metrics(ran, many, errors=errors)
    assert 2 <= errors <= CHAINS_AT_ONCE + 1
    assert told(many) == {"U0OWNER00": 1}
    assert disabled(many) == ["user_00"]

    many.gate.before.clear()
    many.slack.start_listening()
    check_the_next_run_tells_each_once(many)
    assert disabled(many) == list(many.owners)


def test_a_slack_out_of_reach_costs_no_issue_and_an_issue_of_nobody_warns_no_known_owner(four: World) -> None:
    settings = {**SLACK, "create_jira": "True"}
    ran = run(four, "acme-dev", **settings, slack_api_base_url=closed_port() + "/api/")
    errors = run_fields(ran)["errors"]
    check_metrics(ran, four, errors=errors)
    assert 2 <= errors <= 4
    assert run_fields(ran)["issues_filed"] == 4
    assert disabled(four) == []

    again = run(four, "acme-dev", **settings)
    check_all_is_well(again, four)
    assert told(four) == {ANA: 1, BEN: 1, CEM: 1, EVE: 1}
    assert disabled(four) == ["ana", "ben"]
    assert len(four.jira.issues) == 4


# Refused


def test_a_500_for_all_is_a_refusal_of_each_and_the_next_run_tells_them(four: World) -> None:
    """It is an answer, so Slack stays on: each owner is tried once."""
    spoil(four, Fault.status(500))
    ran = run(four, "acme-dev", **SLACK)
    check_metrics(ran, four, errors=4)
    assert asked(four) == once(four)
    for slack_id in four.owners.values():
        assert f"Slack refused the message to {slack_id} (HTTP 500" in ran.stderr
    assert "W! acme-dev: 2 access keys not disabled: nobody could be told" in ran.stderr
    assert (told(four), disabled(four), messaged(four)) == ({}, [], set())

    four.slack.heal()
    check_the_next_run_tells_each_once(four)
    assert disabled(four) == ["ana", "ben"]


def test_a_second_500_in_a_row_is_an_hours_rest_for_that_owner_and_none_for_the_others(four: World) -> None:
    spoil(four, Fault.status(500), to(ANA))
    check_metrics(run(four, "acme-dev", **SLACK), four, errors=1)
    assert told(four) == {BEN: 1, CEM: 1, EVE: 1}
    check_metrics(run(four, "acme-dev", **SLACK), four, errors=1)
    four.slack.heal()
    resting = run(four, "acme-dev", **SLACK)
    check_metrics(resting, four, errors=0)
    assert "W! acme-dev: 1 access key not disabled: nobody could be told" in resting.stderr
    assert asked(four) == {**once(four), ANA: 2}
    assert disabled(four) == ["ben"]

    four.pass_time(timedelta(hours=1, seconds=1))
    check_all_is_well(run(four, "acme-dev", **SLACK), four)
    assert told(four) == once(four)
    assert disabled(four) == ["ana", "ben"]


def test_an_owner_whom_slack_refuses_costs_no_other_and_is_told_by_the_next_run(four: World) -> None:
    four.slack.refuse(ANA, "user_disabled")
    ran = run(four, "acme-dev", **SLACK)
    check_metrics(ran, four, errors=1)
    assert ran.first_line.startswith(f"E! acme-dev: Slack refused the message to {ANA} (user_disabled)")
    assert run_fields(ran)["nags_sent"] == 3
    assert told(four) == {BEN: 1, CEM: 1, EVE: 1}
    assert disabled(four) == ["ben"]

    four.slack.heal()
    check_the_next_run_tells_each_once(four)
    assert disabled(four) == ["ana", "ben"]


def test_a_dead_token_turns_slack_off_after_one_call(many: World) -> None:
    """One call where they come one by one; at most as many as are in flight where they come at once."""
    many.slack.inject(ok_false("invalid_auth"), SEND)
    hold_all_but_the_first(many, 1)
    ran = run(many, "acme-dev", **SLACK)
    check_metrics(ran, many, errors=1)
    assert "Slack refused all messages (invalid_auth); the bot token is wrong" in ran.first_line
    assert ran.stderr.count("\n") == 2
    assert asked(many) == {"U0OWNER00": 1}
    many.gate.before.clear()
    at_once = run(many, "acme-dev", **SLACK)
    calls = sends(many) - 1
    check_metrics(at_once, many, errors=1)
    assert 1 <= calls <= CHAINS_AT_ONCE
    assert (disabled(many), messaged(many)) == ([], set())

    many.slack.heal()
    check_the_next_run_tells_each_once(many)
    assert disabled(many) == list(many.owners)


def test_a_dead_token_that_a_look_up_meets_first_is_one_line_and_nobody_is_asked_to_be_told(many: World) -> None:
    many.slack.tokens.clear()
    ran = run(many, "acme-dev", **SLACK)
    check_metrics(ran, many, errors=1)
    assert "Slack refused all messages (invalid_auth); the bot token is wrong" in ran.first_line
    assert ran.stderr.count("\n") == 1
    assert (asked(many), disabled(many)) == ({}, [])

    many.slack.tokens.add(SLACK_TOKEN)
    check_the_next_run_tells_each_once(many)


# The rate limit


def test_a_short_rate_limit_is_waited_out_twice_and_nobody_is_told_twice(four: World) -> None:
    spoil(four, rate_limited(1), to(ANA), times=2)
    check_all_is_well(run(four, "acme-dev", **SLACK), four)
    assert asked(four) == {**once(four), ANA: 3}
    assert told(four) == once(four)
    assert disabled(four) == ["ana", "ben"]


@pytest.mark.represented_by("a day")
@pytest.mark.parametrize(
    ("seconds", "times"), [pytest.param(1, 3, id="short, again and again"), pytest.param(86_400, 1, id="a day")]
)
def test_a_rate_limit_that_does_not_end_is_a_refusal_of_one_owner(four: World, seconds: int, times: int) -> None:
    spoil(four, rate_limited(seconds), to(ANA))
    ran = run(four, "acme-dev", **SLACK)
    check_metrics(ran, four, errors=1)
    assert ran.first_line.startswith("E! acme-dev: Slack is limiting the rate of calls (HTTP 429)")
    assert run_fields(ran)["duration_seconds"] < 60
    assert asked(four) == {**once(four), ANA: times}
    assert told(four) == {BEN: 1, CEM: 1, EVE: 1}
    assert disabled(four) == ["ben"]

    four.slack.heal()
    check_the_next_run_tells_each_once(four)
    assert disabled(four) == ["ana", "ben"]


def test_a_long_rate_limit_for_all_holds_nobody_up(four: World) -> None:
    """One line says it for all, an error each."""
    spoil(four, rate_limited(3600))
    ran = run(four, "acme-dev", **SLACK)
    check_metrics(ran, four, errors=4, lines=1)
    assert "(4: " in ran.first_line
    assert run_fields(ran)["duration_seconds"] < 60
    assert asked(four) == once(four)
    assert (told(four), disabled(four)) == ({}, [])

    four.slack.heal()
    check_the_next_run_tells_each_once(four)
    assert disabled(four) == ["ana", "ben"]


# No answer


def test_a_message_whose_answer_is_lost_counts_as_sent_and_not_as_a_warning(four: World) -> None:
    """So ana is not messaged for a day, and her access key, of which nobody knows that she was told, stays active."""
    spoil(four, Fault.drop_after_serving(), to(ANA))
    ran = run(four, "acme-dev", **SLACK)
    check_metrics(ran, four, errors=1)
    assert ran.first_line.startswith(f"E! acme-dev: no answer to the message to {ANA} ")
    assert "W! acme-dev: 1 access key not disabled: nobody could be told" in ran.stderr
    assert run_fields(ran)["nags_sent"] == 3
    assert messaged(four) == set(four.owners.values())

    four.slack.heal()
    for passes in (BEYOND_A_CLAIM, timedelta(hours=23) - BEYOND_A_CLAIM):
        four.pass_time(passes)
        check_metrics(run(four, "acme-dev", **SLACK), four, errors=0)
        assert told(four) == once(four)
        assert disabled(four) == ["ben"]
    four.pass_time(timedelta(hours=1, seconds=1))
    check_all_is_well(run(four, "acme-dev", **SLACK), four)
    assert told(four) == {ANA: 2, BEN: 1, CEM: 2, EVE: 2}
    assert disabled(four) == ["ana", "ben"]


def test_two_answers_lost_in_a_row_turn_slack_off_and_nobody_is_told_twice(many: World) -> None:
    spoil(many, Fault.drop_after_serving())
    hold_all_but_the_first(many, 2)
    ran = run(many, "acme-dev", **SLACK)
    check_metrics(ran, many, errors=2)
    assert asked(many) == {"U0OWNER00": 1, "U0OWNER01": 1}
    assert messaged(many) == {"U0OWNER00", "U0OWNER01"}
    assert disabled(many) == []

    many.gate.before.clear()
    many.slack.heal()
    again = run(many, "acme-dev", **SLACK)
    check_metrics(again, many, errors=0)
    assert told(many) == once(many)
    assert disabled(many) == [f"user_{number:02}" for number in range(2, 12)]
    many.pass_time(MORE_THAN_A_DAY)
    check_all_is_well(run(many, "acme-dev", **SLACK), many)
    assert told(many) == {**once(many), "U0OWNER00": 2, "U0OWNER01": 2}
    assert disabled(many) == list(many.owners)


def test_a_message_that_hangs_costs_one_owner_a_day_and_the_others_nothing(four: World) -> None:
    """The run's deadline and its grace are about the adapter's own ten seconds: either may end the call."""
    spoil(four, Fault.hang(), to(ANA))
    ran = run(four, "acme-dev", **SLACK, run_timeout_seconds="8")
    check_metrics(ran, four, errors=1)
    assert ran.first_line.startswith("E! acme-dev: no answer ")
    assert told(four) == {BEN: 1, CEM: 1, EVE: 1}
    assert messaged(four) == set(four.owners.values())
    assert disabled(four) == ["ben"]

    four.slack.heal()
    check_metrics(run(four, "acme-dev", **SLACK), four, errors=0)
    assert asked(four) == once(four)
    assert disabled(four) == ["ben"]
    four.pass_time(MORE_THAN_A_DAY)
    check_all_is_well(run(four, "acme-dev", **SLACK), four)
    assert told(four) == {ANA: 1, BEN: 1, CEM: 2, EVE: 2}
    assert disabled(four) == ["ana", "ben"]


def test_a_slack_that_hangs_for_all_is_off_once_two_calls_have_timed_out(many: World) -> None:
    """Only those in flight by then wait a day; the others are told by the next run."""
    spoil(many, Fault.hang())
    ran = run(many, "acme-dev", **SLACK, run_timeout_seconds="60")
    hung = asked(many)
    check_metrics(ran, many, errors=len(hung))
    assert run_fields(ran)["duration_seconds"] < 45
    assert 2 <= len(hung) <= CHAINS_AT_ONCE + 1
    assert set(hung.values()) == {1}
    assert messaged(many) == set(hung)
    assert disabled(many) == []

    many.slack.heal()
    check_metrics(run(many, "acme-dev", **SLACK), many, errors=0)
    assert asked(many) == once(many)
    assert told(many) == {slack_id: 1 for slack_id in many.owners.values() if slack_id not in hung}
    many.pass_time(MORE_THAN_A_DAY)
    check_all_is_well(run(many, "acme-dev", **SLACK), many)
    assert told(many) == once(many)
    assert disabled(many) == list(many.owners)
