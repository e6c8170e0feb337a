"""A Jira that fails, in every way it can: what a run prints and does meanwhile, and what the next ones make good.

What must be seen: every metric line is out; owners are nagged on Slack all the same; one open issue an access key,
however often it is run again, and never more than two in seven days; who was not warned keeps the access key.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest

from sandbox.gate import is_action
from sandbox.http_fake import Answer, Fault, Match, Request, calls
from sandbox.world import Ran, World
from tests.builders import ALL_ON
from tests.running import KRAMER, closed_port, iam_lines, issue_posts, records, run, run_fields, statuses

JIRA_ONLY = {"create_jira": "True", "disable_key": "True"}
USERS = ("zoe", "ana", "ben", "cem")
TOLD = {"U0ANA": 1, "U0BEN": 1, "U0CEM": 1}
BEYOND_A_CLAIM = timedelta(seconds=100 + 600 + 60)
"""run_timeout_seconds and claim_margin_seconds by default, and a minute."""
POST_ISSUE = calls("POST", "/issue")
NOT_DISABLED = "W! acme-dev: 1 access key not disabled: nobody could be told"


@pytest.fixture(name="staffed")
def three_owners_and_one_without(world: World) -> World:
    """zoe's access key is expired, and only an issue can warn of it: she is in no mapping. The others' are expiring."""
    for number, user in enumerate(USERS):
        world.aws.add_user(user, [198 if user == "zoe" else 175 - number])
    world.owners |= {"ana": "U0ANA", "ben": "U0BEN", "cem": "U0CEM"}
    return world


def told(world: World) -> Counter[str]:
    """How many messages each addressee has got."""
    return Counter(message.channel for message in world.slack.messages)


def posts(world: World) -> list[int]:
    """How many POSTs there were for each access key, by its label; most first."""
    sent = [request for request in world.jira.requests if POST_ISSUE(request)]
    return sorted(Counter(request.json["fields"]["labels"][1] for request in sent).values(), reverse=True)


def made(world: World) -> list[int]:
    """How many issues there are for each access key, by its label; most first."""
    return sorted(Counter(issue.labels[1] for issue in world.jira.issues.values()).values(), reverse=True)


def asked(world: World) -> list[str]:
    return [f"{request.method} {request.path.removeprefix('/rest/api/2/')}" for request in world.jira.requests]


def about(user: str) -> Match:
    return lambda request: POST_ISSUE(request) and f" of {user} ".encode() in request.body


def is_look_by_label(request: Request) -> bool:
    """The search for one access key's issue, which comes before its filing."""
    return "/search" in request.path and "keycheck-" in request.query.get("jql", "") + request.body.decode()


def check_run(ran: Ran, world: World, *, errors: int) -> None:
    """All is printed, each error is a line on stderr and counted, and each owner was nagged once."""
    assert ran.code == 0
    assert len(iam_lines(ran)) == len(USERS)
    fields = run_fields(ran)
    assert (fields["users"], fields["keys"], fields["incomplete"]) == (len(USERS), len(USERS), 0)
    assert fields["errors"] == errors
    assert ("E! " in ran.stderr) == (errors > 0)
    assert told(world) == TOLD


def check_all_is_well(ran: Ran, world: World) -> None:
    """One issue an access key, all recorded; zoe was warned by hers, and her access key is disabled."""
    check_run(ran, world, errors=0)
    assert ran.stderr == ""
    assert made(world) == [1] * len(USERS)
    kept = {str(item["issue_key"]) for item in records(world).values() if "issue_key" in item}
    assert kept == set(world.jira.issues)
    assert statuses(world, "zoe") == ["Inactive"]


def check_the_next_run_files_each_once(world: World) -> None:
    """And leaves no claim, so that a run after it finds all recorded and nothing to do."""
    check_all_is_well(run(world, "acme-dev", **ALL_ON), world)
    assert not any("claim" in name for item in records(world).values() for name in item)


def check_nothing_was_filed(ran: Ran, world: World) -> None:
    """And zoe, whom nobody warned, keeps her access key."""
    assert (run_fields(ran)["issues_filed"], world.jira.issues) == (0, {})
    assert NOT_DISABLED in ran.stderr
    assert statuses(world, "zoe") == ["Active"]


def one_filing_at_a_time(world: World) -> None:
    """Hold the claims of all filings but the first until the first is over: what ends it gives its claim back."""
    is_update, begun, over = is_action("UpdateItem"), threading.Semaphore(1), threading.Event()

    def hold(request: Request) -> None:
        if not is_update(request):
            return
        if b"REMOVE issue_" in request.body:
            over.set()
        elif b"SET issue_claim" in request.body and not begun.acquire(blocking=False):
            assert over.wait(20)

    world.gate.before.append(hold)


# Unreachable


UNREACHABLE: dict[str, Callable[[], str]] = {
    "refused": closed_port,
    "no such name": lambda: "https://no-such-host.invalid",
}


@pytest.mark.represented_by("refused")
@pytest.mark.parametrize("address", [pytest.param(where, id=name) for name, where in UNREACHABLE.items()])
def test_a_jira_out_of_reach_costs_no_nag_and_the_next_run_files(staffed: World, address: Callable[[], str]) -> None:
    ran = run(staffed, "acme-dev", **ALL_ON, jira_server_address=address())
    check_run(ran, staffed, errors=1)
    assert ran.first_line.startswith("E! acme-dev: no issues are filed: no connection to http")
    assert ran.stderr.count("\n") == 2
    check_nothing_was_filed(ran, staffed)
    check_the_next_run_files_each_once(staffed)


def test_a_jira_that_goes_away_after_the_first_look_costs_no_nag_and_the_next_run_files(staffed: World) -> None:
    is_update, lock = is_action("UpdateItem"), threading.Lock()

    def go_away(request: Request) -> None:
        if is_update(request) and staffed.jira.requests:
            with lock:
                staffed.jira.stop_listening()

    staffed.gate.before.append(go_away)
    ran = run(staffed, "acme-dev", **ALL_ON)
    check_run(ran, staffed, errors=run_fields(ran)["errors"])
    assert ran.first_line.startswith("E! acme-dev: no connection to http")
    check_nothing_was_filed(ran, staffed)

    staffed.gate.before.clear()
    staffed.jira.start_listening()
    check_the_next_run_files_each_once(staffed)


# Refused


def test_a_400_is_said_by_field_and_turns_jira_off_for_the_run(staffed: World) -> None:
    staffed.jira.required_fields["customfield_10042"] = "Team is required."
    one_filing_at_a_time(staffed)
    ran = run(staffed, "acme-dev", **ALL_ON)
    check_run(ran, staffed, errors=1)
    assert "Jira refused the new issue: field 'customfield_10042': Team is required." in ran.first_line
    assert asked(staffed)[-1] == "POST issue"
    assert posts(staffed) == [1]
    check_nothing_was_filed(ran, staffed)

    staffed.gate.before.clear()
    staffed.jira.required_fields.clear()
    check_the_next_run_files_each_once(staffed)


@pytest.mark.represented_by("401 to the POST")
@pytest.mark.parametrize(
    ("status", "where", "last"),
    [
        pytest.param(401, calls("GET", "/myself"), "GET myself", id="401 to the sign-in"),
        pytest.param(401, calls("GET", "/search/jql"), "GET search/jql", id="401 to the first look"),
        pytest.param(401, POST_ISSUE, "POST issue", id="401 to the POST"),
        pytest.param(403, is_look_by_label, "GET search/jql", id="403 to the look by label"),
        pytest.param(403, POST_ISSUE, "POST issue", id="403 to the POST"),
    ],
)
def test_a_401_or_403_turns_jira_off_at_once(staffed: World, status: int, where: Match, last: str) -> None:
    """Nothing more is asked after it, where filings come one by one; and each claim is given back."""
    staffed.jira.inject(Fault.status(status, {"errorMessages": ["no"], "errors": {}}), where)
    one_filing_at_a_time(staffed)
    ran = run(staffed, "acme-dev", **ALL_ON)
    check_run(ran, staffed, errors=1)
    assert f"(HTTP {status})" in ran.first_line
    assert "no issues filed this run" in ran.first_line
    assert ran.stderr.count("\n") == 2
    assert asked(staffed)[-1] == last
    assert sum(map(where, staffed.jira.requests)) == 1
    assert issue_posts(staffed) == (last == "POST issue")
    check_nothing_was_filed(ran, staffed)
    assert not any("claim" in name for item in records(staffed).values() for name in item)

    staffed.gate.before.clear()
    staffed.jira.heal()
    check_the_next_run_files_each_once(staffed)


def test_an_issue_that_cannot_be_read_back_is_said_and_not_filed_again(staffed: World) -> None:
    """And is a warning delivered all the same: Jira answered with its key."""
    read_back = calls("GET", "/issue/SEC-1")
    staffed.jira.inject(Fault.status(404, {"errorMessages": ["Issue does not exist"], "errors": {}}), read_back)
    ran = run(staffed, "acme-dev", **ALL_ON)
    check_run(ran, staffed, errors=0)
    assert ran.first_line.startswith("W! acme-dev: SEC-1 was filed but cannot be read (HTTP 404)")
    assert ran.stderr.count("\n") == 1
    assert run_fields(ran)["issues_filed"] == 4
    check_the_next_run_files_each_once(staffed)
    assert posts(staffed) == [1, 1, 1, 1]


def test_a_jira_that_shows_nothing_of_what_it_made_gets_two_issues_an_access_key_in_seven_days(staffed: World) -> None:
    """404 to every read and no word in any search: the account may create issues and not browse them."""
    staffed.jira.inject(Fault.status(404, {"errorMessages": ["Issue does not exist"], "errors": {}}), is_read_of_issue)
    staffed.jira.search_lag_seconds = 10 * 24 * 3600
    for _ in range(3):
        ran = run(staffed, "acme-dev", **ALL_ON)
        check_run(ran, staffed, errors=0)
        assert "W! " in ran.first_line
    assert "no further issue for 3 access keys: two issues were filed for it within seven days" in ran.stderr
    assert made(staffed) == [2, 2, 2, 1]  # zoe's access key is disabled after the first


def is_read_of_issue(request: Request) -> bool:
    return request.method == "GET" and "/issue/" in request.path


# A dead token, which Jira Cloud treats as nobody's


@pytest.mark.represented_by("before the run")
@pytest.mark.parametrize("dies", ["before the run", "once it has signed in"])
def test_the_empty_search_of_a_dead_token_is_not_believed(staffed: World, dies: str) -> None:
    """The table is lost too, so nothing but Jira knows of the issues. After the sign-in the search is believed, and
    Jira itself refuses nobody's POST.
    """

    def die_after_the_sign_in(request: Request) -> None:
        if request.path.endswith("/myself"):
            staffed.jira.dead_token()

    check_all_is_well(run(staffed, "acme-dev", **ALL_ON), staffed)
    staffed.drop_state()
    sent = len(staffed.jira.requests)
    if dies == "before the run":
        staffed.jira.dead_token()
    else:
        staffed.jira.after.append(die_after_the_sign_in)
    one_filing_at_a_time(staffed)
    ran = run(staffed, "acme-dev", **JIRA_ONLY)
    check_run(ran, staffed, errors=1)
    dead = "(HTTP 401): the token is dead or wrong; no issues filed this run"
    after = (
        "(HTTP 401), though it had taken the token to sign in: a scoped token needs the scope write:jira-work for it"
    )
    assert (dead if dies == "before the run" else after) in ran.first_line
    assert asked(staffed)[sent:][-1] == ("GET myself" if dies == "before the run" else "POST issue")
    assert made(staffed) == [1, 1, 1, 1]

    staffed.gate.before.clear()
    staffed.jira.after.clear()
    staffed.jira.revive_token()
    again = run(staffed, "acme-dev", **JIRA_ONLY)
    check_run(again, staffed, errors=0)
    assert (again.stderr, run_fields(again)["issues_filed"], made(staffed)) == ("", 0, [1, 1, 1, 1])


# The rate limit


@pytest.mark.represented_by("of the search")
@pytest.mark.parametrize(
    "where",
    [
        pytest.param(calls("GET", "/search/jql"), id="of the search"),
        pytest.param(about("ana"), id="of a POST"),
    ],
)
def test_a_short_rate_limit_is_waited_out_and_a_long_one_is_the_next_runs(staffed: World, where: Match) -> None:
    """A request that met it was not served, so it may be sent again: twice, and only if that fits into the run."""
    staffed.jira.inject(Fault.status(429, {}, {"Retry-After": "86400"}), where)
    ran = run(staffed, "acme-dev", **ALL_ON)
    check_run(ran, staffed, errors=1)
    assert "Jira is limiting the rate of calls (HTTP 429) and asks to wait" in ran.first_line
    assert run_fields(ran)["duration_seconds"] < 60
    assert sum(map(where, staffed.jira.requests)) == 1
    assert len(staffed.jira.issues) == run_fields(ran)["issues_filed"] in (0, 3)

    staffed.jira.heal()
    staffed.jira.inject(Fault.status(429, {}, {"Retry-After": "1"}), where, times=2)
    check_the_next_run_files_each_once(staffed)


# Jira's own faults


@pytest.mark.represented_by("500 to the look by label")
@pytest.mark.parametrize(
    ("fault", "where", "said"),
    [
        pytest.param(Fault.html(503), None, "HTTP 503", id="503 to everything"),
        pytest.param(Fault.status(500), calls("GET", "/search/jql"), "HTTP 500", id="500 to the search"),
        pytest.param(Fault.status(500), is_look_by_label, "HTTP 500", id="500 to the look by label"),
    ],
)
def test_a_look_that_failed_is_never_not_found(staffed: World, fault: Fault, where: Match | None, said: str) -> None:
    staffed.jira.inject(fault, where)
    ran = run(staffed, "acme-dev", **ALL_ON)
    errors = run_fields(ran)["errors"]
    check_run(ran, staffed, errors=errors)
    assert 1 <= errors <= len(USERS)
    assert said in ran.first_line
    assert issue_posts(staffed) == 0
    check_nothing_was_filed(ran, staffed)

    staffed.jira.heal()
    check_the_next_run_files_each_once(staffed)
    assert posts(staffed) == [1, 1, 1, 1]


@pytest.mark.represented_by("no answer, made")
@pytest.mark.parametrize(
    ("fault", "was_made"),
    [
        pytest.param(Fault.status(500), 0, id="500, not made"),
        pytest.param(Fault(served=True, answer=Answer(502)), 1, id="502, made"),
        pytest.param(Fault.drop_after_serving(), 1, id="no answer, made"),
    ],
)
def test_a_post_of_unknown_outcome_is_settled_once_its_claim_has_lapsed(
    staffed: World, fault: Fault, was_made: int
) -> None:
    """zoe's, with a search that lags: what nobody knows of is no warning, and no second issue."""
    staffed.jira.search_lag_seconds = 60
    staffed.jira.inject(fault, about("zoe"))
    ran = run(staffed, "acme-dev", **ALL_ON)
    check_run(ran, staffed, errors=1)
    assert " may exist" in ran.first_line
    assert (run_fields(ran)["issues_filed"], len(staffed.jira.issues)) == (3, 3 + was_made)
    assert NOT_DISABLED in ran.stderr

    staffed.jira.heal()
    claimed = run(staffed, "acme-dev", **ALL_ON)
    check_run(claimed, staffed, errors=0)
    assert run_fields(claimed)["issues_filed"] == 0
    assert posts(staffed) == [1, 1, 1, 1]
    assert statuses(staffed, "zoe") == ["Active"]
    staffed.pass_time(BEYOND_A_CLAIM)
    if was_made:  # found by its label; which day it named is not known, so the next run says one in it
        for _ in ("found", "said"):
            check_run(run(staffed, "acme-dev", **ALL_ON), staffed, errors=0)
            assert statuses(staffed, "zoe") == ["Active"]
    check_the_next_run_files_each_once(staffed)
    assert posts(staffed) == [2 - was_made, 1, 1, 1]
    assert statuses(staffed, "zoe") == ["Inactive"]


def test_two_posts_of_unknown_outcome_in_a_row_turn_jira_off(staffed: World) -> None:
    """Those that were in flight by then keep their claims, and nobody else's access key is posted for."""
    for number in range(8):
        staffed.aws.add_user(f"more_{number}", [170 - number % 4])
    staffed.jira.inject(Fault(served=True, answer=Answer(500)), POST_ISSUE)
    ran = run(staffed, "acme-dev", **ALL_ON)
    fields, in_flight = run_fields(ran), len(posts(staffed))
    assert (ran.code, len(iam_lines(ran)), fields["incomplete"]) == (0, 12, 0)
    assert told(staffed) == TOLD
    assert 2 <= in_flight <= 9
    assert (fields["errors"], ran.stderr.count("E! "), set(posts(staffed))) == (in_flight, in_flight, {1})

    staffed.jira.heal()
    again = run(staffed, "acme-dev", **ALL_ON)
    assert run_fields(again)["issues_filed"] == 12 - in_flight
    staffed.pass_time(BEYOND_A_CLAIM)
    for _ in ("found", "the day is said in it"):
        run(staffed, "acme-dev", **ALL_ON)
    settled = run(staffed, "acme-dev", **ALL_ON)
    assert (settled.stderr, run_fields(settled)["issues_filed"]) == ("", 0)
    assert made(staffed) == [1] * 12
    assert statuses(staffed, "zoe") == ["Inactive"]
    assert told(staffed) == TOLD


def test_an_access_key_on_whose_posts_jira_always_fails_gets_its_issue_as_soon_as_jira_is_well(staffed: World) -> None:
    """Filings of unknown outcome count only until Jira can say that they made nothing."""
    staffed.jira.inject(Fault.status(500), about("ana"))
    for _ in range(3):
        check_run(run(staffed, "acme-dev", **ALL_ON), staffed, errors=1)
        staffed.pass_time(BEYOND_A_CLAIM)
    assert posts(staffed) == [3, 1, 1, 1]

    staffed.jira.heal()
    healed = run(staffed, "acme-dev", **JIRA_ONLY)
    assert (healed.stderr, run_fields(healed)["issues_filed"], made(staffed)) == ("", 1, [1, 1, 1, 1])


def test_a_jira_that_takes_each_post_and_says_and_shows_nothing_gets_two_an_access_key_in_seven_days(
    staffed: World,
) -> None:
    """The account may file and not browse, and answers are lost: no search could tell, so filings count like issues."""
    staffed.jira.is_blind = True
    staffed.jira.inject(Fault.drop_after_serving(), about("ana"))
    for _ in range(4):
        ran = run(staffed, "acme-dev", **ALL_ON)
        staffed.pass_time(BEYOND_A_CLAIM)
    assert "W! acme-dev: no further issue for" in ran.stderr
    assert posts(staffed)[0] == made(staffed)[0] == 2


def test_an_expired_key_that_slack_can_tell_of_does_not_wait_for_jira(world: World) -> None:
    """Its owner was told, so it is disabled, and an inactive access key gets no issue any more."""
    world.aws.add_user("dev_kramer", [197])
    world.owners["dev_kramer"] = KRAMER
    world.jira.inject(Fault.status(503), POST_ISSUE)
    ran = run(world, "acme-dev", **ALL_ON)
    assert (run_fields(ran)["errors"], run_fields(ran)["nags_sent"], run_fields(ran)["keys_disabled"]) == (1, 1, 1)
    world.jira.heal()
    world.pass_time(BEYOND_A_CLAIM)
    later = run(world, "acme-dev", **ALL_ON)
    assert (later.stderr, statuses(world, "dev_kramer"), world.jira.issues) == ("", ["Inactive"], {})


@pytest.mark.represented_by("on one POST")
@pytest.mark.parametrize(
    ("where", "filed"),
    [
        pytest.param(None, 0, id="from the first request on"),
        pytest.param(about("ben"), 3, id="on one POST"),
    ],
)
def test_a_jira_that_hangs_costs_no_nag_and_no_other_access_key(
    staffed: World, where: Match | None, filed: int
) -> None:
    """Each call has a timeout of its own, so there is time left for the messages."""
    staffed.jira.inject(Fault.hang(), where)
    ran = run(staffed, "acme-dev", **ALL_ON, run_timeout_seconds="60")
    check_run(ran, staffed, errors=1)
    assert "no answer from Jira to " in ran.first_line
    assert run_fields(ran)["duration_seconds"] < 45
    assert run_fields(ran)["issues_filed"] == filed
    assert len(staffed.jira.requests) == 1 or posts(staffed) == [1, 1, 1, 1]

    staffed.jira.heal()
    staffed.pass_time(BEYOND_A_CLAIM)
    check_the_next_run_files_each_once(staffed)


# Jira's ways


def test_a_search_that_lags_is_no_second_issue_however_often_it_is_run(staffed: World) -> None:
    staffed.jira.search_lag_seconds = 60
    for _ in range(3):
        check_all_is_well(run(staffed, "acme-dev", **ALL_ON), staffed)
    staffed.pass_time(timedelta(seconds=61))
    check_the_next_run_files_each_once(staffed)
    assert posts(staffed) == [1, 1, 1, 1]


def test_a_workflow_that_closes_what_is_filed_gets_two_issues_an_access_key_in_seven_days(staffed: World) -> None:
    staffed.jira.auto_close = True
    for _ in range(3):
        ran = run(staffed, "acme-dev", **ALL_ON)
        check_run(ran, staffed, errors=0)
    assert ran.stderr.startswith("W! acme-dev: no further issue for 3 access keys: two issues were filed")
    assert ran.stderr.count("\n") == 1
    assert made(staffed) == [2, 2, 2, 1]
    assert statuses(staffed, "zoe") == ["Inactive"]  # warned by the first

    staffed.jira.auto_close = False
    staffed.pass_time(timedelta(days=7, seconds=1))
    healed = run(staffed, "acme-dev", **JIRA_ONLY)
    assert (healed.code, healed.stderr, made(staffed)) == (0, "", [3, 3, 3, 1])
