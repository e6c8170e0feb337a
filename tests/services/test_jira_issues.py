"""Jira, Cloud and Server: looks that are never wrongly "not found", and one POST for one issue whatever goes wrong.

python-jira itself, over real sockets, against the sandbox's Jira (design.md, section 4; facts/apis.md, section 4).
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest

from keycheck.clock import Stopped
from keycheck.services import ServiceError, ServiceOff, jira_issues
from keycheck.services.jira_issues import JiraIssues
from keycheck.wording import FAMILY_LABEL, IssueDraft
from sandbox.fake_jira import FakeJira, Flavour
from sandbox.http_fake import Fault, calls
from tests.builders import PatientClock

EMAIL = "keycheck@example.com"
TOKEN = "invented-jira-token"
LABEL = "keycheck-0123456789abcdef"
DRAFT = IssueDraft("Rotate AWS access key ...VHXVM of dev_kramer", "It is 197 days old.", (FAMILY_LABEL, LABEL))
A_POST = calls("POST", "/issue")

MakeIssues = Callable[..., JiraIssues]


@pytest.fixture(params=["cloud", "server"])
def flavour(request: pytest.FixtureRequest) -> Flavour:
    value: Flavour = request.param
    return value


@pytest.fixture
def jira(flavour: Flavour) -> Iterator[FakeJira]:
    with FakeJira(flavour, {"email": EMAIL, "token": TOKEN}) as server:
        yield server


@pytest.fixture
def clock() -> PatientClock:
    return PatientClock()


@pytest.fixture
def make_issues(jira: FakeJira, clock: PatientClock) -> Iterator[MakeIssues]:
    """The adapter, as the settings' defaults set it up; name what differs."""
    with ExitStack() as open_clients:

        def made(address: str | None = None, email: str | None = EMAIL, token: str = TOKEN, **more: Any) -> JiraIssues:
            chosen = {"project_key": "SEC", "issue_type": "Task", "extra_fields": {}, "clock": clock, **more}
            issues = JiraIssues(address or jira.url, (email, token), **chosen)
            open_clients.callback(lambda: issues._client and issues._client.close())
            return issues

        yield made


@pytest.fixture
def issues(make_issues: MakeIssues) -> JiraIssues:
    return make_issues()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jira_issues, "TIMEOUT_SECONDS", (2, 0.15))


def failed(call: Callable[[], object]) -> ServiceError:
    """The ServiceError that a call ends in; nothing about it, or about what it came from, holds the token."""
    with pytest.raises(ServiceError) as caught:
        call()
    basic = base64.b64encode(f"{EMAIL}:{TOKEN}".encode()).decode()
    error: BaseException | None = caught.value
    while error is not None:
        shown = f"{error} {error!r} {error.args}"
        assert TOKEN not in shown
        assert basic not in shown
        error = error.__cause__ or error.__context__
    assert caught.value.service == "Jira"
    return caught.value


def posts(jira: FakeJira) -> int:
    return sum(request.method == "POST" and request.path.endswith("/issue") for request in jira.requests)


def paths(jira: FakeJira) -> list[str]:
    """What was asked, without the part that all paths share."""
    return [request.path.removeprefix("/rest/api/2/").removeprefix("/rest/api/3/") for request in jira.requests]


def labelled(number: int) -> IssueDraft:
    return IssueDraft(DRAFT.summary, DRAFT.description, (FAMILY_LABEL, f"keycheck-{number:016x}"))


def search_path(jira: FakeJira) -> str:
    return "search/jql" if jira.flavour == "cloud" else "search"


# Signing in


def test_signing_in_is_two_calls_made_once(jira: FakeJira, issues: JiraIssues) -> None:
    issues.open_issue_keys()
    issues.find_open(LABEL)
    assert paths(jira)[:2] == ["serverInfo", "myself"]
    assert [path for path in paths(jira)[2:] if path != "field"] == [search_path(jira)] * 2


def test_the_fields_of_the_site_are_read_at_most_once(jira: FakeJira, issues: JiraIssues) -> None:
    """python-jira reads them all before a search that asks for a field by name; the list may be big."""
    for number in range(3):
        issues.find_open(f"keycheck-{number:016x}")
    assert paths(jira).count("field") <= 1


def test_eight_threads_sign_in_once(jira: FakeJira, issues: JiraIssues) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: issues.find_open(LABEL), range(8))) == [None] * 8
    assert paths(jira).count("myself") == 1


def test_email_and_token_are_sent_as_basic(jira: FakeJira, issues: JiraIssues) -> None:
    issues.connect()
    basic = base64.b64encode(f"{EMAIL}:{TOKEN}".encode()).decode()
    assert jira.requests[-1].headers["authorization"] == f"Basic {basic}"


@pytest.mark.parametrize("flavour", ["server"])
def test_without_an_email_the_token_is_sent_as_bearer(jira: FakeJira, make_issues: MakeIssues) -> None:
    issues = make_issues(email=None)
    assert issues.open_issue_keys() == frozenset()
    assert issues.create(DRAFT) == "SEC-1"
    assert {request.headers["authorization"] for request in jira.requests[1:]} == {f"Bearer {TOKEN}"}


def test_a_slash_at_the_end_of_the_address_does_no_harm(jira: FakeJira, make_issues: MakeIssues) -> None:
    assert make_issues(f"{jira.url}/").create(DRAFT) == "SEC-1"
    assert not any("//" in request.path for request in jira.requests)


@pytest.mark.parametrize(
    "look",
    [
        lambda issues: issues.open_issue_keys(),
        lambda issues: issues.find_open(LABEL),
        lambda issues: issues.is_open("SEC-1"),
    ],
    ids=["all", "by label", "by key"],
)
def test_a_dead_token_is_never_believed(
    jira: FakeJira, issues: JiraIssues, look: Callable[[JiraIssues], object]
) -> None:
    """Cloud answers it as if it were anonymous: "no issues", 404. So GET /myself comes first, and fails."""
    jira.dead_token()
    error = failed(lambda: look(issues))
    assert (error.code, error.is_fatal) == ("401", True)
    assert "the token is dead or wrong" in error.text
    assert paths(jira) == ["serverInfo", "myself"]


def test_a_dead_token_files_nothing(jira: FakeJira, issues: JiraIssues) -> None:
    jira.dead_token()
    assert not failed(lambda: issues.create(DRAFT)).may_have_happened
    assert posts(jira) == 0


def test_a_dead_token_stops_jira_for_the_run(jira: FakeJira, issues: JiraIssues) -> None:
    jira.dead_token()
    failed(issues.connect)
    asked = len(jira.requests)
    jira.revive_token()
    for call in (issues.open_issue_keys, lambda: issues.is_open("SEC-1"), lambda: issues.create(DRAFT)):
        assert isinstance(failed(call), ServiceOff)
    assert len(jira.requests) == asked


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("operation", ["search", "read", "create"])
def test_one_401_or_403_stops_jira_for_the_run(jira: FakeJira, issues: JiraIssues, status: int, operation: str) -> None:
    issues.connect()
    jira.inject(Fault.status(status, {"errorMessages": ["no"], "errors": {}}))
    asked = len(jira.requests)
    call = {
        "search": issues.open_issue_keys,
        "read": lambda: issues.is_open("SEC-1"),
        "create": lambda: issues.create(DRAFT),
    }[operation]
    error = failed(call)
    assert (error.code, error.is_fatal, error.may_have_happened) == (str(status), True, False)
    assert isinstance(failed(call), ServiceOff)
    assert len(jira.requests) == asked + 1


@pytest.mark.parametrize("status", [200, 404])
def test_a_login_page_in_place_of_jira_is_never_believed(jira: FakeJira, issues: JiraIssues, status: int) -> None:
    jira.inject(Fault.html(status))
    error = failed(issues.open_issue_keys)
    assert error.is_fatal
    assert "jira_server_address" in error.text
    assert "Log in to continue" not in error.text
    assert len(jira.requests) == 1


def test_a_login_page_after_serverinfo_is_never_believed(jira: FakeJira, issues: JiraIssues) -> None:
    """serverInfo is open to everybody; single sign-on stands before the rest."""
    jira.inject(Fault.html(200), lambda request: not request.path.endswith("/serverInfo"))
    assert "login page" in failed(issues.open_issue_keys).text
    assert paths(jira) == ["serverInfo", "myself"]


@pytest.mark.parametrize(
    "answer", [None, {}, [], "", {"errorMessages": ["odd"]}], ids=["empty", "{}", "[]", "''", "odd"]
)
def test_an_answer_that_names_nobody_is_no_sign_in(jira: FakeJira, issues: JiraIssues, answer: object) -> None:
    """Jira Server was seen to answer a failed login with 200 and no body: https://jira.atlassian.com/browse/JRA-41559."""
    jira.inject(Fault.status(200, answer), calls("GET", "/myself"))
    failed(issues.open_issue_keys)
    assert paths(jira) == ["serverInfo", "myself"]


def test_a_wrong_address_is_named_as_such(jira: FakeJira, make_issues: MakeIssues) -> None:
    """Nothing but 404, as on any other web server."""
    issues = make_issues(f"{jira.url}/nowhere")
    error = failed(issues.open_issue_keys)
    assert error.is_fatal
    assert "HTTP 404" in error.text
    assert "jira_server_address" in error.text
    assert len(jira.requests) == 1


def test_an_address_that_nobody_listens_at_is_named(jira: FakeJira, issues: JiraIssues) -> None:
    jira.stop_listening()
    error = failed(issues.connect)
    assert (error.is_silence, error.may_have_happened, error.is_fatal) == (True, False, False)
    assert f"no connection to {jira.url}" in error.text


def test_two_silences_in_a_row_turn_jira_off(jira: FakeJira, issues: JiraIssues) -> None:
    issues.connect()
    jira.inject(Fault.drop_before_serving())
    kinds = [type(failed(lambda: issues.is_open("SEC-1"))) for _ in range(3)]
    assert kinds == [ServiceError, ServiceError, ServiceOff]
    assert len(jira.requests) == 4


def test_nothing_is_asked_past_the_deadline(jira: FakeJira, issues: JiraIssues, clock: PatientClock) -> None:
    issues.connect()
    asked = len(jira.requests)
    clock.set_timeout(0)
    for call in (issues.open_issue_keys, lambda: issues.is_open("SEC-1"), lambda: issues.create(DRAFT)):
        with pytest.raises(Stopped):
            call()
    assert len(jira.requests) == asked


def test_nothing_shows_the_token(issues: JiraIssues, caplog: pytest.LogCaptureFixture, jira: FakeJira) -> None:
    caplog.set_level(logging.DEBUG)
    issues.create(DRAFT)
    jira.inject(Fault.status(400, {"errors": {"summary": "no"}}))
    failed(lambda: issues.create(DRAFT))
    assert TOKEN not in repr(issues)
    assert TOKEN not in caplog.text


# Looking


def test_all_open_issues_are_found_over_several_pages(jira: FakeJira, issues: JiraIssues) -> None:
    keys = {issues.create(labelled(number)) for number in range(8)}
    jira.page_size = 3
    assert issues.open_issue_keys() == keys
    assert paths(jira).count(search_path(jira)) == 3


def test_a_page_that_fails_fails_the_whole_look(jira: FakeJira, issues: JiraIssues) -> None:
    for number in range(8):
        issues.create(labelled(number))
    jira.page_size = 3
    second = iter([False, True])
    jira.inject(Fault.status(500), lambda request: "search" in request.path and next(second, False), times=1)
    assert failed(issues.open_issue_keys).is_server_error


def test_only_open_issues_of_ours_are_found(jira: FakeJira, issues: JiraIssues) -> None:
    """In progress is open; only Done is not, whatever a site calls it."""
    jira.statuses = {"Offen": "new", "In Arbeit": "indeterminate", "Erledigt": "done"}
    to_do, in_progress, done = (issues.create(labelled(number)) for number in range(3))
    issues.create(IssueDraft("Another's", "", ("some-label",)))
    jira.transition(in_progress, "In Arbeit")
    jira.transition(done, "Erledigt")
    assert issues.open_issue_keys() == {to_do, in_progress}
    assert [issues.is_open(key) for key in (to_do, in_progress, done)] == [True, True, False]
    assert [issues.find_open(f"keycheck-{number:016x}") for number in range(3)] == [to_do, in_progress, None]


def test_a_reopened_issue_is_open(jira: FakeJira, issues: JiraIssues) -> None:
    key = issues.create(DRAFT)
    jira.transition(key, "Done")
    jira.transition(key, "To Do")
    assert issues.is_open(key)
    assert issues.open_issue_keys() == {key}


def test_a_deleted_issue_is_not_open(jira: FakeJira, issues: JiraIssues) -> None:
    key = issues.create(DRAFT)
    jira.delete(key)
    assert not issues.is_open(key)
    assert issues.find_open(LABEL) is None
    assert issues.open_issue_keys() == frozenset()


def test_an_issue_moved_to_another_project_is_still_found(
    jira: FakeJira, issues: JiraIssues, make_issues: MakeIssues
) -> None:
    """Jira answers the old key with the issue under its new key; the searches name no project."""
    jira.projects.add("OPS")
    moved = make_issues(project_key="OPS").create(DRAFT)
    assert moved == "OPS-1"
    assert issues.open_issue_keys() == {"OPS-1"}
    assert issues.find_open(LABEL) == "OPS-1"
    jira.issues["SEC-1"] = jira.issues["OPS-1"]
    assert issues.is_open("SEC-1")


def test_the_first_of_several_open_issues_is_always_the_same(issues: JiraIssues) -> None:
    first = issues.create(DRAFT)
    issues.create(DRAFT)
    assert [issues.find_open(LABEL) for _ in range(2)] == [first, first]


def test_issues_filed_lately_are_counted_whatever_became_of_them(jira: FakeJira, issues: JiraIssues) -> None:
    old, done, _, deleted = (issues.create(DRAFT) for _ in range(4))
    issues.create(labelled(1))
    jira.issues[old].created -= timedelta(days=7, seconds=1)
    jira.transition(done, "Done")
    jira.delete(deleted)
    assert issues.count_filed(LABEL, 7) == 2


@pytest.mark.parametrize("answer", [{}, {"permissions": None}, {"permissions": {"BROWSE_PROJECTS": {}}}, []])
def test_who_may_not_see_issues_cannot_count_them(jira: FakeJira, issues: JiraIssues, answer: object) -> None:
    issues.create(DRAFT)
    jira.inject(Fault.status(200, answer), calls("GET", "/mypermissions"), times=1)
    assert issues.count_filed(LABEL, 7) is None
    jira.is_blind = True
    assert issues.count_filed(LABEL, 7) is None
    jira.is_blind = False
    assert issues.count_filed(LABEL, 7) == 1


def test_a_count_that_fails_is_no_count(jira: FakeJira, issues: JiraIssues) -> None:
    jira.inject(Fault.status(500), calls("GET", search_path(jira)))
    failed(lambda: issues.count_filed(LABEL, 7))


def test_a_search_that_lags_does_not_hide_what_is_asked_for_by_key(jira: FakeJira, issues: JiraIssues) -> None:
    jira.search_lag_seconds = 3600
    key = issues.create(DRAFT)
    assert issues.find_open(LABEL) is None
    assert issues.is_open(key)
    assert issues.check_created(key, LABEL) is None


@pytest.mark.parametrize(
    "fault",
    [
        Fault.status(400, {"errorMessages": ["bad"], "errors": {}}),
        Fault.status(404, {"errorMessages": ["no"], "errors": {}}),
        Fault.status(410, {"errorMessages": ["gone"], "errors": {}}),
        Fault.status(429),
        Fault.status(500),
        Fault.html(503),
        Fault.html(200),
        Fault.status(200, None),
        Fault.status(200, {}),
        Fault.status(200, {"issues": None}),
        Fault.status(200, {"issues": [{"id": "1"}], "total": 1}),
        Fault.status(200, {"issues": [{"id": "1", "key": "../x"}], "total": 1}),
        Fault.drop_before_serving(),
        Fault.hang(),
    ],
    ids=[
        "400",
        "404",
        "410",
        "429",
        "500",
        "503 page",
        "200 page",
        "200 empty",
        "200 {}",
        "issues null",
        "no key",
        "odd key",
        "drop",
        "hang",
    ],
)
@pytest.mark.usefixtures("impatient")
def test_a_search_that_failed_is_never_not_found(jira: FakeJira, issues: JiraIssues, fault: Fault) -> None:
    issues.create(DRAFT)
    jira.inject(fault, lambda request: "search" in request.path)
    assert not failed(issues.open_issue_keys).may_have_happened
    failed(lambda: issues.find_open(LABEL))


@pytest.mark.parametrize(
    "fault",
    [
        Fault.status(400),
        Fault.status(429),
        Fault.status(500),
        Fault.html(200),
        Fault.status(200, {"key": "SEC-1", "fields": {}}),
        Fault.status(200, {"key": "SEC-1", "fields": {"status": {"statusCategory": {"key": ""}}}}),
        Fault.status(200, {"key": "SEC-1", "fields": {"status": {"name": "Done"}}}),
        Fault.drop_before_serving(),
        Fault.hang(),
    ],
    ids=["400", "429", "500", "200 page", "no status", "empty category", "no category", "drop", "hang"],
)
@pytest.mark.usefixtures("impatient")
def test_a_read_that_failed_is_never_gone(jira: FakeJira, issues: JiraIssues, fault: Fault) -> None:
    key = issues.create(DRAFT)
    jira.inject(fault, calls("GET", f"/issue/{key}"))
    assert not failed(lambda: issues.is_open(key)).may_have_happened


@pytest.mark.parametrize("flavour", ["cloud"])
def test_a_search_that_never_ends_is_an_error(
    jira: FakeJira, issues: JiraIssues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jira_issues, "PAGES_AT_MOST", 5)
    page = {"issues": [{"id": "1", "key": "SEC-1"}], "isLast": False, "nextPageToken": "again"}
    jira.inject(Fault.status(200, page), calls("GET", "/search/jql"))
    assert "does not end" in failed(issues.open_issue_keys).text
    assert paths(jira).count("search/jql") == 5


def test_a_short_429_is_waited_out_while_looking(jira: FakeJira, issues: JiraIssues, clock: PatientClock) -> None:
    key = issues.create(DRAFT)
    jira.inject(Fault.status(429, None, {"Retry-After": "2"}), lambda request: "search" in request.path, times=2)
    assert issues.open_issue_keys() == {key}
    assert clock.slept == [2, 2]


# Filing


def test_an_issue_is_filed_with_one_post_and_nothing_else(jira: FakeJira, issues: JiraIssues) -> None:
    issues.connect()
    asked = len(jira.requests)
    key = issues.create(DRAFT)
    assert [request.method for request in jira.requests[asked:]] == ["POST"]
    issue = jira.issues[key]
    assert (issue.project, issue.issue_type, issue.summary) == ("SEC", "Task", DRAFT.summary)
    assert (issue.description, issue.labels) == (DRAFT.description, [FAMILY_LABEL, LABEL])


def test_extra_fields_and_labels_are_merged_and_ours_come_first(jira: FakeJira, make_issues: MakeIssues) -> None:
    jira.required_fields = {"priority": "Priority is required."}
    extra = {
        "priority": {"name": "High"},
        "labels": ["security", FAMILY_LABEL],
        "summary": "not this",
        "project": {"key": "NOT"},
    }
    key = make_issues(extra_fields=extra, issue_type="Bug").create(DRAFT)
    issue = jira.issues[key]
    assert issue.fields == {"priority": {"name": "High"}}
    assert issue.labels == [FAMILY_LABEL, LABEL, "security"]
    assert (issue.summary, issue.project, issue.issue_type) == (DRAFT.summary, "SEC", "Bug")
    assert extra["labels"] == ["security", FAMILY_LABEL], "the setting itself stays as it was"


@pytest.mark.parametrize(
    ("fault", "made", "may_have_happened"),
    [
        (Fault.drop_before_serving(), 0, True),
        (Fault.drop_after_serving(), 1, True),
        (Fault.late(5), 1, True),
        (Fault.hang(), 0, True),
        (Fault.status(500, {"errorMessages": ["oops"], "errors": {}}), 0, True),
        (Fault.html(502), 0, True),
        (Fault.status(503, None, {"Retry-After": "1"}), 0, True),
        (Fault.status(503, b"null", {"Content-Type": "application/json"}), 0, True),
        (Fault.html(200), 0, True),
        (Fault.status(201, None), 0, True),
        (Fault.status(201, {"id": "1"}), 0, True),
        (Fault.status(201, {"id": "1", "key": "a/b"}), 0, True),
        (Fault.status(429), 0, False),
        (Fault.status(429, None, {"Retry-After": "3600"}), 0, False),
        (Fault.status(429, None, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), 0, False),
        (Fault.status(400, {"errorMessages": [], "errors": {"summary": "no"}}), 0, False),
        (Fault.html(400), 0, False),
        (Fault.status(401), 0, False),
        (Fault.status(403), 0, False),
        (Fault.status(404), 0, False),
        (Fault.status(413), 0, False),
    ],
    ids=[
        "dropped before",
        "dropped after",
        "too late",
        "hangs",
        "500",
        "502 page",
        "503 with Retry-After",
        "503 null",
        "200 page",
        "201 empty",
        "201 without key",
        "201 odd key",
        "429",
        "429 long",
        "429 date",
        "400",
        "400 page",
        "401",
        "403",
        "404",
        "413",
    ],
)
@pytest.mark.usefixtures("impatient")
def test_a_filing_that_failed_is_posted_exactly_once(
    jira: FakeJira, issues: JiraIssues, clock: PatientClock, fault: Fault, made: int, may_have_happened: bool
) -> None:
    clock.set_timeout(100)
    issues.connect()
    jira.inject(fault, A_POST)
    error = failed(lambda: issues.create(DRAFT))
    assert error.may_have_happened is may_have_happened
    assert (posts(jira), len(jira.issues)) == (1, made)
    assert clock.slept == []
    assert "Log in to continue" not in error.text


def test_a_refused_connection_surely_files_nothing(jira: FakeJira, issues: JiraIssues) -> None:
    issues.connect()
    jira.stop_listening()
    error = failed(lambda: issues.create(DRAFT))
    assert (error.may_have_happened, error.is_silence) == (False, True)
    jira.start_listening()
    assert issues.create(DRAFT) == "SEC-1"


def test_a_429_was_not_served_so_it_is_tried_again(jira: FakeJira, issues: JiraIssues, clock: PatientClock) -> None:
    jira.inject(Fault.status(429, None, {"Retry-After": "1"}), A_POST, times=2)
    assert issues.create(DRAFT) == "SEC-1"
    assert clock.slept == [1, 1]
    assert (posts(jira), len(jira.issues)) == (3, 1)


def test_a_429_is_waited_out_at_most_twice(jira: FakeJira, issues: JiraIssues, clock: PatientClock) -> None:
    jira.inject(Fault.status(429, None, {"Retry-After": "1"}), A_POST)
    error = failed(lambda: issues.create(DRAFT))
    assert (error.code, error.may_have_happened, clock.slept) == ("429", False, [1, 1])
    assert (posts(jira), jira.issues) == (3, {})


def test_a_field_that_a_site_requires_is_named_with_the_setting(jira: FakeJira, issues: JiraIssues) -> None:
    jira.required_fields = {"customfield_10010": "Team is required."}
    error = failed(lambda: issues.create(DRAFT))
    assert "field 'customfield_10010': Team is required." in error.text
    assert "jira_extra_fields" in error.text


def test_a_wrong_issue_type_is_named_with_the_setting(make_issues: MakeIssues) -> None:
    error = failed(lambda: make_issues(issue_type="Chore").create(DRAFT))
    assert "field 'issuetype'" in error.text
    assert "set jira_issue_type (now 'Chore')" in error.text


def test_a_wrong_project_is_named_with_the_setting(make_issues: MakeIssues) -> None:
    error = failed(lambda: make_issues(project_key="NOPE").create(DRAFT))
    assert "field 'project'" in error.text
    assert "set jira_project_key" in error.text


def test_a_refusal_without_fields_is_quoted_on_one_line(jira: FakeJira, issues: JiraIssues) -> None:
    jira.inject(Fault.status(400, {"errorMessages": ["No\nE! forged" + "x" * 500], "errors": {}}), A_POST)
    text = failed(lambda: issues.create(DRAFT)).text
    assert "\n" not in text
    assert len(text) < 400


# Reading back


def test_a_good_issue_has_nothing_wrong_with_it(issues: JiraIssues) -> None:
    assert issues.check_created(issues.create(DRAFT), LABEL) is None


def test_an_issue_that_cannot_be_seen_is_said(jira: FakeJira, issues: JiraIssues) -> None:
    key = issues.create(DRAFT)
    jira.delete(key)
    wrong = issues.check_created(key, LABEL)
    assert wrong == f"{key} was filed but cannot be read (HTTP 404); let the account browse the project"


def test_an_issue_that_may_not_be_seen_is_said(jira: FakeJira, issues: JiraIssues) -> None:
    key = issues.create(DRAFT)
    jira.inject(Fault.status(403), calls("GET", f"/issue/{key}"))
    wrong = issues.check_created(key, LABEL)
    assert wrong == f"{key} was filed but cannot be read (HTTP 403); let the account browse the project"


def test_an_issue_that_could_not_be_read_back_is_said(jira: FakeJira, issues: JiraIssues) -> None:
    key = issues.create(DRAFT)
    jira.inject(Fault.status(500), calls("GET", f"/issue/{key}"))
    wrong = issues.check_created(key, LABEL)
    assert wrong == f"{key} was filed but could not be read back: Jira failed on read issue (HTTP 500)"


@pytest.mark.parametrize("labels", [[], [FAMILY_LABEL]], ids=["all", "the access key's"])
def test_an_issue_that_lost_its_label_is_said(jira: FakeJira, issues: JiraIssues, labels: list[str]) -> None:
    key = issues.create(DRAFT)
    jira.issues[key].labels = labels
    wrong = issues.check_created(key, LABEL)
    assert wrong == f"{key} was filed but lost its labels; put the field Labels on the project's create screen"


def test_an_issue_that_is_done_at_once_is_said(jira: FakeJira, issues: JiraIssues) -> None:
    jira.auto_close = True
    key = issues.create(DRAFT)
    assert issues.check_created(key, LABEL) == f"{key} was filed but is Done at once; look at the project's workflow"
