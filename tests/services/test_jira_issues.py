"""Jira, Cloud and Server: looks that are never wrongly "not found", and one POST for one issue whatever goes wrong.

python-jira itself, over real sockets, against the sandbox's Jira (design.md 4; services.md 4).
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import pytest

from keycheck.clock import RunClock, Stopped
from keycheck.services import Failure, ServiceError, jira_issues, jira_search
from keycheck.services.jira_issues import JiraIssues
from keycheck.services.jira_refusals import OPERATIONS, sign_in_advice
from keycheck.words.issue import FAMILY_LABEL, IssueDraft
from sandbox.fake_jira import FakeJira, Flavour
from sandbox.http_fake import Fault, calls
from tests.builders import PatientClock, make_access_key
from tests.impatience import be_impatient

EMAIL = "keycheck@example.com"
TOKEN = "invented-jira-token"
LABEL = "keycheck-0123456789abcdef"
DRAFT = IssueDraft("Rotate AWS access key ...VHXVM of dev_kramer", "It is 197 days old.", (FAMILY_LABEL, LABEL))
A_POST = calls("POST", "/issue")

MakeIssues = Callable[..., JiraIssues]
Fresh = Callable[[], AbstractContextManager[tuple[FakeJira, JiraIssues, PatientClock]]]


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
            open_clients.callback(lambda: issues._jira.client and issues._jira.client.close())
            return issues

        yield made


@pytest.fixture
def issues(make_issues: MakeIssues) -> JiraIssues:
    return make_issues()


@pytest.fixture
def fresh(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> Fresh:
    """A Jira of its own, and an adapter with 100 seconds, for each of several faults; impatient with what hangs."""

    @contextmanager
    def opened() -> Iterator[tuple[FakeJira, JiraIssues, PatientClock]]:
        with FakeJira(flavour, {"email": EMAIL, "token": TOKEN}) as jira, monkeypatch.context() as patch:
            be_impatient(jira, patch)
            clock = PatientClock()
            clock.set_timeout(100)
            issues = JiraIssues(
                jira.url, (EMAIL, TOKEN), project_key="SEC", issue_type="Task", extra_fields={}, clock=clock
            )
            yield jira, issues, clock
            if issues._jira.client is not None:
                issues._jira.client.close()

    return opened


def failed(call: Callable[..., object], *arguments: Any) -> ServiceError:
    """The ServiceError that a call ends in; nothing about it, or about what it came from, holds the token."""
    with pytest.raises(ServiceError) as caught:
        call(*arguments)
    basic = base64.b64encode(f"{EMAIL}:{TOKEN}".encode()).decode()
    error: BaseException | None = caught.value
    while error is not None:
        shown = f"{error} {error!r} {error.args}"
        assert TOKEN not in shown
        assert basic not in shown
        error = error.__cause__ or error.__context__
    assert caught.value.service == "Jira"
    return caught.value


def open_keys(issues: JiraIssues) -> frozenset[str]:
    return frozenset().union(*issues.open_issues().values())


def is_open(issues: JiraIssues, issue_key: str) -> bool:
    seen = issues.read(issue_key)
    return seen is not None and seen.is_open


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
    open_keys(issues)
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
    assert open_keys(issues) == frozenset()
    assert issues.create(DRAFT) == "SEC-1"
    assert {request.headers["authorization"] for request in jira.requests[1:]} == {f"Bearer {TOKEN}"}


def test_a_slash_at_the_end_of_the_address_does_no_harm(jira: FakeJira, make_issues: MakeIssues) -> None:
    assert make_issues(f"{jira.url}/").create(DRAFT) == "SEC-1"
    assert not any("//" in request.path for request in jira.requests)


@pytest.mark.parametrize(
    "look",
    [
        open_keys,
        lambda issues: issues.find_open(LABEL),
        lambda issues: is_open(issues, "SEC-1"),
    ],
    ids=["all", "by label", "by key"],
)
def test_a_dead_token_is_never_believed(
    jira: FakeJira, issues: JiraIssues, look: Callable[[JiraIssues], object]
) -> None:
    """Cloud answers it as if it were anonymous: "no issues", 404. So GET /myself comes first, and fails."""
    jira.dead_token()
    error = failed(lambda: look(issues))
    assert (error.code, error.holds_for_run) == ("401", True)
    assert "the token is dead or wrong" in error.text
    assert paths(jira) == ["serverInfo", "myself"]


def test_a_dead_token_files_nothing(jira: FakeJira, issues: JiraIssues) -> None:
    jira.dead_token()
    assert failed(issues.create, DRAFT).failure is not Failure.UNKNOWN
    assert posts(jira) == 0


def test_a_dead_token_stops_jira_for_the_run(jira: FakeJira, issues: JiraIssues) -> None:
    jira.dead_token()
    failed(issues.connect)
    asked = len(jira.requests)
    jira.revive_token()
    for call in (issues.open_issues, lambda: is_open(issues, "SEC-1"), lambda: issues.create(DRAFT)):
        assert failed(call).failure is Failure.OFF
    assert len(jira.requests) == asked


@pytest.mark.parametrize("status", [401, 403])
def test_a_sign_in_that_wants_to_see_a_person_says_so(jira: FakeJira, issues: JiraIssues, status: int) -> None:
    """Data Center, after failed sign-ins with the password of the token's user."""
    reason = "CAPTCHA_CHALLENGE; login-url=https://jira.example.com/login.jsp"
    jira.inject(Fault.status(status, "", {"X-Authentication-Denied-Reason": reason}))
    error = failed(issues.connect)
    assert (error.code, error.holds_for_run) == (str(status), True)
    assert error.text.startswith(f"Jira refused serverInfo (HTTP {status}): after failed sign-ins it wants to see a ")
    assert "Sign in once by browser" in error.text
    assert "login.jsp" not in error.text


def test_what_is_too_large_for_what_stands_before_jira_is_named(jira: FakeJira, issues: JiraIssues) -> None:
    issues.connect()
    jira.inject(Fault.status(413, "<html>Request Entity Too Large</html>"), calls("POST", "/issue"), times=1)
    error = failed(issues.create, DRAFT)
    assert (error.code, error.holds_for_run, error.failure) == ("413", False, Failure.REFUSED)
    assert error.text == (
        "create issue was refused as too large (HTTP 413): let the proxy before Jira take requests of 64 kB (nginx: "
        "client_max_body_size)"
    )
    assert issues.create(DRAFT)


@pytest.mark.parametrize(
    ("operation", "status"), [("search", 401), ("search", 403), ("read", 401), ("create", 401), ("create", 403)]
)
def test_one_401_or_403_stops_jira_for_the_run(jira: FakeJira, issues: JiraIssues, status: int, operation: str) -> None:
    issues.connect()
    jira.inject(Fault.status(status, {"errorMessages": ["no"], "errors": {}}))
    asked = len(jira.requests)
    call = {
        "search": issues.open_issues,
        "read": lambda: is_open(issues, "SEC-1"),
        "create": lambda: issues.create(DRAFT),
    }[operation]
    error = failed(call)
    assert (error.code, error.holds_for_run, error.failure) == (str(status), True, Failure.REFUSED)
    assert failed(call).failure is Failure.OFF
    assert len(jira.requests) == asked + 1


def test_a_403_on_reading_one_issue_costs_that_one_and_names_it(jira: FakeJira, issues: JiraIssues) -> None:
    one, other = issues.create(DRAFT), issues.create(DRAFT)
    jira.inject(Fault.status(403, {"errorMessages": ["no"], "errors": {}}), calls("GET", f"/issue/{one}"))
    error = failed(issues.read, one)
    assert (error.code, error.holds_for_run, error.failure) == ("403", False, Failure.REFUSED)
    assert error.text == f"{one}: Jira refused read issue (HTTP 403); allow the account Browse Projects in its project"
    assert issues.read(other) is not None


@pytest.mark.parametrize("status", [200, 404])
def test_a_login_page_in_place_of_jira_is_never_believed(jira: FakeJira, issues: JiraIssues, status: int) -> None:
    jira.inject(Fault.html(status))
    error = failed(issues.open_issues)
    assert error.holds_for_run
    assert "jira_server_address" in error.text
    assert "Log in to continue" not in error.text
    assert len(jira.requests) == 1


def test_a_login_page_after_serverinfo_is_never_believed(jira: FakeJira, issues: JiraIssues) -> None:
    """serverInfo is open to everybody; single sign-on stands before the rest."""
    jira.inject(Fault.html(200), lambda request: not request.path.endswith("/serverInfo"))
    assert "login page" in failed(issues.open_issues).text
    assert paths(jira) == ["serverInfo", "myself"]


@pytest.mark.parametrize(
    "answer", [None, {}, [], "", {"errorMessages": ["odd"]}], ids=["empty", "{}", "[]", "''", "odd"]
)
def test_an_answer_that_names_nobody_is_no_sign_in(jira: FakeJira, issues: JiraIssues, answer: object) -> None:
    """Jira Server was seen to answer a failed login with 200 and no body: https://jira.atlassian.com/browse/JRA-41559."""
    jira.inject(Fault.status(200, answer), calls("GET", "/myself"))
    failed(issues.open_issues)
    assert paths(jira) == ["serverInfo", "myself"]


def test_a_wrong_address_is_named_as_such(jira: FakeJira, make_issues: MakeIssues) -> None:
    """Nothing but 404, as on any other web server."""
    issues = make_issues(f"{jira.url}/nowhere")
    error = failed(issues.open_issues)
    assert error.holds_for_run
    assert "HTTP 404" in error.text
    assert "jira_server_address" in error.text
    assert len(jira.requests) == 1


def test_an_address_that_nobody_listens_at_is_named(jira: FakeJira, issues: JiraIssues) -> None:
    jira.stop_listening()
    error = failed(issues.connect)
    assert (error.failure, error.holds_for_run) == (Failure.NO_ANSWER, False)
    assert f"no connection to {jira.url}" in error.text


def test_two_silences_in_a_row_turn_jira_off(jira: FakeJira, issues: JiraIssues) -> None:
    issues.connect()
    jira.inject(Fault.drop_before_serving())
    kinds = [failed(issues.read, "SEC-1").failure for _ in range(3)]
    assert kinds == [Failure.NO_ANSWER, Failure.NO_ANSWER, Failure.OFF]
    assert len(jira.requests) == 4


def test_nothing_is_asked_past_the_deadline(jira: FakeJira, issues: JiraIssues, clock: PatientClock) -> None:
    issues.connect()
    asked = len(jira.requests)
    clock.set_timeout(0)
    for call in (issues.open_issues, lambda: is_open(issues, "SEC-1"), lambda: issues.create(DRAFT)):
        with pytest.raises(Stopped):
            call()
    assert len(jira.requests) == asked


def test_nothing_shows_the_token(issues: JiraIssues, caplog: pytest.LogCaptureFixture, jira: FakeJira) -> None:
    caplog.set_level(logging.DEBUG)
    issues.create(DRAFT)
    jira.inject(Fault.status(400, {"errors": {"summary": "no"}}))
    failed(issues.create, DRAFT)
    assert TOKEN not in repr(issues)
    assert TOKEN not in caplog.text


# Looking


def test_all_open_issues_are_found_over_several_pages(jira: FakeJira, issues: JiraIssues) -> None:
    keys = {issues.create(labelled(number)) for number in range(8)}
    jira.page_size = 3
    assert open_keys(issues) == keys
    assert paths(jira).count(search_path(jira)) == 3


def test_a_page_that_fails_fails_the_whole_look(jira: FakeJira, issues: JiraIssues) -> None:
    for number in range(8):
        issues.create(labelled(number))
    jira.page_size = 3
    second = iter([False, True])
    jira.inject(Fault.status(500), lambda request: "search" in request.path and next(second, False), times=1)
    assert failed(issues.open_issues).failure is Failure.NO_ANSWER


def test_only_open_issues_of_ours_are_found(jira: FakeJira, issues: JiraIssues) -> None:
    """In progress is open; only Done is not, whatever a site calls it."""
    jira.statuses = {"Offen": "new", "In Arbeit": "indeterminate", "Erledigt": "done"}
    to_do, in_progress, done = (issues.create(labelled(number)) for number in range(3))
    issues.create(IssueDraft("Another's", "", ("some-label",)))
    jira.transition(in_progress, "In Arbeit")
    jira.transition(done, "Erledigt")
    assert open_keys(issues) == {to_do, in_progress}
    assert [is_open(issues, key) for key in (to_do, in_progress, done)] == [True, True, False]
    assert [issues.find_open(f"keycheck-{number:016x}") for number in range(3)] == [to_do, in_progress, None]


def test_a_reopened_issue_is_open(jira: FakeJira, issues: JiraIssues) -> None:
    key = issues.create(DRAFT)
    jira.transition(key, "Done")
    jira.transition(key, "To Do")
    assert is_open(issues, key)
    assert open_keys(issues) == {key}


def test_a_deleted_issue_is_not_open(jira: FakeJira, issues: JiraIssues) -> None:
    key = issues.create(DRAFT)
    jira.delete(key)
    assert not is_open(issues, key)
    assert issues.find_open(LABEL) is None
    assert open_keys(issues) == frozenset()


def test_an_issue_moved_to_another_project_is_still_found(
    jira: FakeJira, issues: JiraIssues, make_issues: MakeIssues
) -> None:
    """Jira answers the old key with the issue under its new key; the searches name no project."""
    jira.projects.add("OPS")
    moved = make_issues(project_key="OPS").create(DRAFT)
    assert moved == "OPS-1"
    assert open_keys(issues) == {"OPS-1"}
    assert issues.find_open(LABEL) == "OPS-1"
    jira.issues["SEC-1"] = jira.issues["OPS-1"]
    assert is_open(issues, "SEC-1")


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
    failed(issues.count_filed, LABEL, 7)


def test_a_search_that_lags_does_not_hide_what_is_asked_for_by_key(jira: FakeJira, issues: JiraIssues) -> None:
    jira.search_lag_seconds = 3600
    key = issues.create(DRAFT)
    assert issues.find_open(LABEL) is None
    assert is_open(issues, key)
    assert issues.check_created(key, LABEL) is None


FAILED_SEARCHES = {
    "400": Fault.status(400, {"errorMessages": ["bad"], "errors": {}}),
    "404": Fault.status(404, {"errorMessages": ["no"], "errors": {}}),
    "410": Fault.status(410, {"errorMessages": ["gone"], "errors": {}}),
    "429": Fault.status(429),
    "500": Fault.status(500),
    "503 page": Fault.html(503),
    "200 page": Fault.html(200),
    "200 empty": Fault.status(200, None),
    "200 {}": Fault.status(200, {}),
    "issues null": Fault.status(200, {"issues": None}),
    "no key": Fault.status(200, {"issues": [{"id": "1"}], "total": 1}),
    "odd key": Fault.status(200, {"issues": [{"id": "1", "key": "../x"}], "total": 1}),
    "drop": Fault.drop_before_serving(),
    "hang": Fault.hang(),
}


def test_a_search_that_failed_is_never_not_found(fresh: Fresh) -> None:
    for name, fault in FAILED_SEARCHES.items():
        with fresh() as (jira, issues, _):
            issues.create(DRAFT)
            jira.inject(fault, lambda request: "search" in request.path)
            assert failed(issues.open_issues).failure is not Failure.UNKNOWN, name
            failed(issues.find_open, LABEL)


FAILED_READS = {
    "400": Fault.status(400),
    "429": Fault.status(429),
    "500": Fault.status(500),
    "200 page": Fault.html(200),
    "no status": Fault.status(200, {"key": "SEC-1", "fields": {}}),
    "empty category": Fault.status(200, {"key": "SEC-1", "fields": {"status": {"statusCategory": {"key": ""}}}}),
    "no category": Fault.status(200, {"key": "SEC-1", "fields": {"status": {"name": "Done"}}}),
    "drop": Fault.drop_before_serving(),
    "hang": Fault.hang(),
}


def test_a_read_that_failed_is_never_gone(fresh: Fresh) -> None:
    for name, fault in FAILED_READS.items():
        with fresh() as (jira, issues, _):
            key = issues.create(DRAFT)
            jira.inject(fault, calls("GET", f"/issue/{key}"))
            assert failed(issues.read, key).failure is not Failure.UNKNOWN, name


@pytest.mark.parametrize("flavour", ["cloud"])
def test_a_search_that_never_ends_is_an_error(
    jira: FakeJira, issues: JiraIssues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jira_search, "PAGES_AT_MOST", 5)
    page = {"issues": [{"id": "1", "key": "SEC-1"}], "isLast": False, "nextPageToken": "again"}
    jira.inject(Fault.status(200, page), calls("GET", "/search/jql"))
    assert "does not end" in failed(issues.open_issues).text
    assert paths(jira).count("search/jql") == 5


def test_a_short_429_is_waited_out_while_looking(jira: FakeJira, issues: JiraIssues, clock: PatientClock) -> None:
    key = issues.create(DRAFT)
    jira.inject(Fault.status(429, None, {"Retry-After": "2"}), lambda request: "search" in request.path, times=2)
    assert open_keys(issues) == {key}
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


FAILED_WRITES = {
    "dropped before": (Fault.drop_before_serving(), False, True, False),
    "dropped after": (Fault.drop_after_serving(), True, True, False),
    "too late": (Fault.late(5), True, True, False),
    "hangs": (Fault.hang(), False, True, False),
    "500": (Fault.status(500, {"errorMessages": ["oops"], "errors": {}}), False, True, False),
    "502 page": (Fault.html(502), False, True, False),
    "503 with Retry-After": (Fault.status(503, None, {"Retry-After": "1"}), False, True, False),
    "200 page": (Fault.html(200), False, True, True),
    "200 empty": (Fault.status(200), False, True, True),
    "redirect": (Fault.status(302, None, {"Location": "/login"}), False, False, True),
    "401": (Fault.status(401), False, False, False),
    "429": (Fault.status(429), False, False, False),
    "429 long": (Fault.status(429, None, {"Retry-After": "3600"}), False, False, False),
}
"""Whatever is written: the fault, whether it was done, whether it may have been, whether Jira is off after it."""
FAILED_FILINGS = {
    **FAILED_WRITES,
    "401": (Fault.status(401), False, False, True),
    "503 null": (Fault.status(503, b"null", {"Content-Type": "application/json"}), False, True, False),
    "201 empty": (Fault.status(201, None), False, True, True),
    "201 without key": (Fault.status(201, {"id": "1"}), False, True, True),
    "201 odd key": (Fault.status(201, {"id": "1", "key": "a/b"}), False, True, True),
    "429 date": (Fault.status(429, None, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), False, False, False),
    "400": (Fault.status(400, {"errorMessages": [], "errors": {"summary": "no"}}), False, False, True),
    "400 page": (Fault.html(400), False, False, True),
    "403": (Fault.status(403), False, False, True),
    "404": (Fault.status(404), False, False, True),
    "413": (Fault.status(413), False, False, False),
}


def test_a_filing_that_failed_is_posted_exactly_once(fresh: Fresh) -> None:
    for name, (fault, made, may_be_done, is_off) in FAILED_FILINGS.items():
        with fresh() as (jira, issues, clock):
            issues.connect()
            jira.inject(fault, A_POST)
            error = failed(issues.create, DRAFT)
            assert (error.failure is Failure.UNKNOWN, error.holds_for_run) == (may_be_done, is_off), name
            assert (posts(jira), len(jira.issues)) == (1, made), name
            assert clock.slept == [], name
            assert "Log in to continue" not in error.text, name


def test_a_refused_connection_surely_files_nothing(jira: FakeJira, issues: JiraIssues) -> None:
    issues.connect()
    jira.stop_listening()
    error = failed(issues.create, DRAFT)
    assert error.failure is Failure.NO_ANSWER
    jira.start_listening()
    assert issues.create(DRAFT) == "SEC-1"


def test_a_429_was_not_served_so_it_is_tried_again(jira: FakeJira, issues: JiraIssues, clock: PatientClock) -> None:
    jira.inject(Fault.status(429, None, {"Retry-After": "1"}), A_POST, times=2)
    assert issues.create(DRAFT) == "SEC-1"
    assert clock.slept == [1, 1]
    assert (posts(jira), len(jira.issues)) == (3, 1)


def test_a_429_is_waited_out_at_most_twice(jira: FakeJira, issues: JiraIssues, clock: PatientClock) -> None:
    jira.inject(Fault.status(429, None, {"Retry-After": "1"}), A_POST)
    error = failed(issues.create, DRAFT)
    assert (error.code, error.failure, clock.slept) == ("429", Failure.REFUSED, [1, 1])
    assert (posts(jira), jira.issues) == (3, {})


def test_a_field_that_a_site_requires_is_named_with_the_setting(jira: FakeJira, issues: JiraIssues) -> None:
    jira.required_fields = {"customfield_10010": "Team is required."}
    error = failed(issues.create, DRAFT)
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
    text = failed(issues.create, DRAFT).text
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


# Assigning


KRAMER = "kramer@example.com"


def known(jira: FakeJira, *emails: str, **more: Any) -> None:
    jira.users += [{"email": email, **more} for email in emails]


def asked_for(jira: FakeJira, method: str, path_end: str) -> int:
    return sum(calls(method, path_end)(request) for request in jira.requests)


def test_an_issue_is_assigned_to_whose_address_it_is(jira: FakeJira, issues: JiraIssues) -> None:
    known(jira, "a@example.com", f"{KRAMER}.au", "Kramer@Example.com", "z@example.com")
    key = issues.create(DRAFT)
    assert issues.assign(key, KRAMER)
    assert jira.issues[key].assignee == "Kramer@Example.com"
    search, put = jira.requests[-2:]
    assert (search.path, put.method, put.path) == (
        "/rest/api/2/user/search",
        "PUT",
        f"/rest/api/2/issue/{key}/assignee",
    )
    assert search.query[{"cloud": "query", "server": "username"}[jira.flavour]] == KRAMER
    assert list(put.json) == [{"cloud": "accountId", "server": "name"}[jira.flavour]]


def test_assigning_again_does_no_harm(jira: FakeJira, issues: JiraIssues) -> None:
    known(jira, KRAMER)
    key = issues.create(DRAFT)
    assert [issues.assign(key, KRAMER) for _ in range(2)] == [True, True]
    assert jira.issues[key].assignee == KRAMER


def test_an_address_with_odd_letters_is_looked_for_as_it_is(jira: FakeJira, issues: JiraIssues) -> None:
    known(jira, "kramer+aws&x=1@example.com")
    key = issues.create(DRAFT)
    assert issues.assign(key, "kramer+aws&x=1@example.com")


@pytest.mark.parametrize(
    "users",
    [
        [],
        [{"email": f"{KRAMER}.au"}],
        [{"email": KRAMER, "active": False}],
        [{"email": KRAMER, "active": False}, {"email": f"{KRAMER}.au"}],
    ],
    ids=["nobody", "a longer address", "inactive", "inactive, and a longer address"],
)
def test_who_is_not_known_by_that_address_is_not_assigned(
    jira: FakeJira, issues: JiraIssues, users: list[dict[str, Any]]
) -> None:
    jira.users = users
    key = issues.create(DRAFT)
    assert not issues.assign(key, KRAMER)
    assert asked_for(jira, "PUT", "/assignee") == 0
    assert issues.create(labelled(1)) == "SEC-2", "and Jira is on"


def test_an_address_that_is_not_shown_is_not_believed(jira: FakeJira, issues: JiraIssues) -> None:
    """It was found by that address, or by one that merely begins like it: nobody can tell."""
    known(jira, KRAMER)
    jira.hides_emails = True
    assert not issues.assign(issues.create(DRAFT), KRAMER)
    assert asked_for(jira, "PUT", "/assignee") == 0


@pytest.mark.parametrize("flavour", ["cloud"])
@pytest.mark.parametrize("shown", [None, ""], ids=["null", "empty"])
def test_an_address_that_is_empty_is_not_shown(jira: FakeJira, issues: JiraIssues, shown: str | None) -> None:
    known(jira, KRAMER, account_id="5b10")
    key = issues.create(DRAFT)
    answer = [{"accountId": "5b10", "emailAddress": shown, "active": True}]
    jira.inject(Fault.status(200, answer), calls("GET", "/user/search"))
    assert not issues.assign(key, KRAMER)


def test_who_may_not_be_assigned_issues_is_not(jira: FakeJira, issues: JiraIssues) -> None:
    known(jira, KRAMER, assignable=False)
    key = issues.create(DRAFT)
    assert not issues.assign(key, KRAMER)
    assert jira.issues[key].assignee is None
    assert issues.create(labelled(1)) == "SEC-2", "and Jira is on"


def test_an_issue_that_is_gone_is_not_assigned(jira: FakeJira, issues: JiraIssues) -> None:
    known(jira, KRAMER)
    assert not issues.assign("SEC-404", KRAMER)


FAILED_ASSIGNMENTS = {
    **FAILED_WRITES,
    "200 odd": (Fault.status(200, {"errorMessages": ["odd"]}), False, True, True),
    "403": (Fault.status(403, {"errorMessages": ["no"], "errors": {}}), False, False, False),
    "409": (Fault.status(409), False, False, False),
}


def test_an_assignment_that_failed_says_so_and_is_sent_once(fresh: Fresh) -> None:
    for name, (fault, done, may_be_done, is_off) in FAILED_ASSIGNMENTS.items():
        with fresh() as (jira, issues, clock):
            known(jira, KRAMER)
            key = issues.create(DRAFT)
            jira.inject(fault, calls("PUT", "/assignee"))
            error = failed(issues.assign, key, KRAMER)
            assert (error.failure is Failure.UNKNOWN, error.holds_for_run) == (may_be_done, is_off), name
            assert asked_for(jira, "PUT", "/assignee") == 1, name
            assert (jira.issues[key].assignee == KRAMER) is done, name
            assert clock.slept == [], name
            jira.heal()
            if not is_off:
                assert issues.assign(key, KRAMER)
                assert jira.issues[key].assignee == KRAMER


@pytest.mark.parametrize("status", [401, 403])
def test_what_the_account_must_be_allowed_to_assign_is_said(jira: FakeJira, issues: JiraIssues, status: int) -> None:
    """Jira Server's documentation has 401 for an account that may not assign."""
    known(jira, KRAMER)
    key = issues.create(DRAFT)
    jira.inject(Fault.status(status), calls("PUT", "/assignee"))
    assert "Assign Issues in the issue's project" in failed(issues.assign, key, KRAMER).text


FAILED_LOOKS_FOR_A_USER = {
    "400": Fault.status(400, {"errorMessages": ["bad"], "errors": {}}),
    "401": Fault.status(401),
    "403": Fault.status(403),
    "404": Fault.status(404),
    "429": Fault.status(429),
    "500": Fault.status(500),
    "200 page": Fault.html(200),
    "200 empty": Fault.status(200),
    "200 {}": Fault.status(200, {}),
    "no list": Fault.status(200, {"users": []}),
    "a text": Fault.status(200, ["x"]),
    "null": Fault.status(200, [None]),
    "no id": Fault.status(200, [{"emailAddress": KRAMER, "active": True}]),
    "odd id": Fault.status(200, [{"emailAddress": KRAMER, "active": True, "accountId": None, "name": ["x"]}]),
    "empty id": Fault.status(200, [{"emailAddress": KRAMER, "active": True, "accountId": "", "name": ""}]),
    "dropped before": Fault.drop_before_serving(),
    "dropped after": Fault.drop_after_serving(),
    "hangs": Fault.hang(),
}


def test_a_look_for_a_user_that_failed_is_never_nobody(fresh: Fresh) -> None:
    for name, fault in FAILED_LOOKS_FOR_A_USER.items():
        with fresh() as (jira, issues, _):
            known(jira, KRAMER)
            key = issues.create(DRAFT)
            jira.inject(fault, calls("GET", "/user/search"))
            assert failed(issues.assign, key, KRAMER).failure is not Failure.UNKNOWN, name
            assert asked_for(jira, "PUT", "/assignee") == 0, name


@pytest.mark.parametrize("status", [400, 403, 404])
def test_an_account_that_may_not_look_for_users_can_file(jira: FakeJira, issues: JiraIssues, status: int) -> None:
    jira.inject(Fault.status(status), calls("GET", "/user/search"))
    error = failed(issues.assign, "SEC-1", KRAMER)
    assert (error.code, error.holds_for_run) == (str(status), False)
    assert "Browse Users" in error.text
    assert issues.create(DRAFT) == "SEC-1"


# Comments


MARK = "keycheck-said: disabled"


def test_a_comment_is_posted_once_and_found_by_its_mark(jira: FakeJira, issues: JiraIssues) -> None:
    key = issues.create(DRAFT)
    assert not issues.was_said(key, MARK)
    issues.comment(key, f"It was disabled.\n\n{MARK}")
    assert issues.was_said(key, MARK)
    assert not issues.was_said(key, MARK.upper())
    assert not issues.was_said(issues.create(labelled(1)), MARK)
    assert [comment.body for comment in jira.issues[key].comments] == [f"It was disabled.\n\n{MARK}"]


def test_a_comment_is_one_request_where_it_is_signed_in(jira: FakeJira, issues: JiraIssues) -> None:
    key = issues.create(DRAFT)
    asked = len(jira.requests)
    issues.comment(key, "x")
    assert [(request.method, request.json) for request in jira.requests[asked:]] == [("POST", {"body": "x"})]


@pytest.mark.parametrize("at", [0, 2, 3, 7], ids=["first", "end of a page", "begin of a page", "last"])
def test_a_mark_is_found_on_whatever_page_it_is(jira: FakeJira, issues: JiraIssues, at: int) -> None:
    jira.page_size = 3
    key = issues.create(DRAFT)
    for number in range(8):
        issues.comment(key, MARK if number == at else "thanks")
    assert issues.was_said(key, MARK)
    assert asked_for(jira, "GET", "/comment") == at // 3 + 1


def test_all_pages_are_read_before_it_was_not_said(jira: FakeJira, issues: JiraIssues) -> None:
    jira.page_size = 3
    key = issues.create(DRAFT)
    for _ in range(6):
        issues.comment(key, "thanks")
    assert not issues.was_said(key, MARK)
    assert asked_for(jira, "GET", "/comment") == 2


def page(*bodies: object, start: object = 0, total: object = None) -> Fault:
    comments = [{"id": str(number), "body": body} for number, body in enumerate(bodies)]
    return Fault.status(200, {"startAt": start, "total": len(bodies) if total is None else total, "comments": comments})


ODD_PAGES = {
    "400": Fault.status(400),
    "401": Fault.status(401),
    "403": Fault.status(403),
    "404": Fault.status(404),
    "429": Fault.status(429),
    "500": Fault.status(500),
    "503 page": Fault.html(503),
    "200 page": Fault.html(200),
    "200 empty": Fault.status(200),
    "200 {}": Fault.status(200, {}),
    "200 []": Fault.status(200, []),
    "no total": Fault.status(200, {"startAt": 0, "comments": []}),
    "total is text": page(total="0"),
    "total too small": page("x", total=0),
    "less than it says": page(total=2),
    "no startAt": Fault.status(200, {"total": 0, "comments": []}),
    "another page": page("x", start=6, total=7),
    "comments null": Fault.status(200, {"startAt": 0, "total": 0, "comments": None}),
    "comments by id": Fault.status(200, {"startAt": 0, "total": 0, "comments": {}}),
    "a comment is text": Fault.status(200, {"startAt": 0, "total": 1, "comments": [MARK]}),
    "no body": Fault.status(200, {"startAt": 0, "total": 1, "comments": [{"id": "1"}]}),
    "a document": page({"type": "doc", "content": []}),
    "dropped": Fault.drop_before_serving(),
    "dropped after": Fault.drop_after_serving(),
    "hangs": Fault.hang(),
}


def test_a_look_at_comments_that_failed_is_never_not_said(fresh: Fresh) -> None:
    for name, fault in ODD_PAGES.items():
        with fresh() as (jira, issues, _):
            key = issues.create(DRAFT)
            issues.comment(key, MARK)
            jira.inject(fault, calls("GET", "/comment"))
            assert failed(issues.was_said, key, MARK).failure is not Failure.UNKNOWN, name


ODD_SECOND_PAGES = {
    **ODD_PAGES,
    "none any more": page(start=3, total=0),
    "fewer than before": page("x", start=3, total=4),
}


def test_a_second_page_that_failed_is_never_not_said(fresh: Fresh) -> None:
    for name, fault in ODD_SECOND_PAGES.items():
        with fresh() as (jira, issues, _):
            jira.page_size = 3
            key = issues.create(DRAFT)
            for body in ("a", "b", "c", "d", MARK):
                issues.comment(key, body)
            jira.inject(fault, lambda request: request.query.get("startAt") == "3")
            assert failed(issues.was_said, key, MARK).failure is not Failure.UNKNOWN, name


def test_comments_that_never_end_are_an_error(
    jira: FakeJira, issues: JiraIssues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jira_issues, "PAGES_AT_MOST", 2)
    jira.page_size = 1
    key = issues.create(DRAFT)
    for _ in range(3):
        issues.comment(key, "x")
    error = failed(issues.was_said, key, MARK)
    assert "does not end" in error.text
    assert not error.holds_for_run


def test_comments_of_an_issue_that_is_gone_are_a_404_and_jira_stays_on(issues: JiraIssues) -> None:
    error = failed(issues.was_said, "SEC-404", MARK)
    assert (error.code, error.holds_for_run) == ("404", False)
    assert "Browse Projects" in error.text
    assert issues.create(DRAFT) == "SEC-1"


@pytest.mark.parametrize(
    "call",
    [
        lambda issues: issues.assign("SEC-1", KRAMER),
        lambda issues: issues.was_said("SEC-1", MARK),
        lambda issues: issues.comment("SEC-1", MARK),
        lambda issues: issues.close("SEC-1"),
    ],
    ids=["assign", "was said", "comment", "close"],
)
def test_a_dead_token_is_not_believed_of_one_issue_either(
    jira: FakeJira, issues: JiraIssues, call: Callable[[JiraIssues], object]
) -> None:
    """Cloud would say that there is no such user, and no such issue."""
    jira.dead_token()
    error = failed(lambda: call(issues))
    assert (error.code, error.holds_for_run) == ("401", True)
    assert paths(jira) == ["serverInfo", "myself"]


FAILED_COMMENTS = {
    **FAILED_WRITES,
    "201 empty": (Fault.status(201), False, True, True),
    "201 {}": (Fault.status(201, {}), False, True, True),
    "201 without id": (Fault.status(201, {"body": "x"}), False, True, True),
    "201 odd id": (Fault.status(201, {"id": 7}), False, True, True),
    "201 list": (Fault.status(201, ["x"]), False, True, True),
    "400": (Fault.status(400), False, False, False),
    "403 page": (Fault.html(403), False, False, False),
    "404": (Fault.status(404), False, False, False),
    "413": (Fault.status(413), False, False, False),
}


def test_a_comment_that_failed_is_posted_exactly_once(fresh: Fresh) -> None:
    for name, (fault, said, may_be_done, is_off) in FAILED_COMMENTS.items():
        with fresh() as (jira, issues, clock):
            key = issues.create(DRAFT)
            jira.inject(fault, calls("POST", "/comment"))
            error = failed(issues.comment, key, MARK)
            assert (error.failure is Failure.UNKNOWN, error.holds_for_run) == (may_be_done, is_off), name
            assert (asked_for(jira, "POST", "/comment"), len(jira.issues[key].comments)) == (1, said), name
            assert clock.slept == [], name
            assert "Log in to continue" not in error.text, name
            if not is_off:
                assert issues.was_said(key, MARK) is bool(said)


@pytest.mark.parametrize("status", [400, 403, 404])
def test_an_account_that_may_not_comment_is_told_so_and_can_file(
    jira: FakeJira, issues: JiraIssues, status: int
) -> None:
    key = issues.create(DRAFT)
    no = {"errorMessages": [], "errors": {"comment": "You do not have the permission\nto comment on this issue."}}
    jira.inject(Fault.status(status, no), calls("POST", "/comment"))
    for _ in range(3):
        error = failed(issues.comment, key, MARK)
        assert error.text == (
            f"Jira refused add comment (HTTP {status}): You do not have the permission to comment on this issue.; "
            "allow the account Add Comments (and Browse Projects) in the issue's project"
        )
    assert issues.create(labelled(1)) == "SEC-2"


def test_what_jira_repeats_of_the_credentials_is_not_repeated(jira: FakeJira, issues: JiraIssues) -> None:
    """Nor where it would be cut off in the middle."""
    basic = base64.b64encode(f"{EMAIL}:{TOKEN}".encode()).decode()
    key = issues.create(DRAFT)
    no = {"errorMessages": [f"no to {basic}", "x" * 160 + TOKEN + EMAIL], "errors": {}}
    known(jira, KRAMER)
    jira.inject(Fault.status(403, no), calls("POST", "/comment"))
    jira.inject(Fault.status(403, no), calls("PUT", "/assignee"))
    for error in failed(issues.comment, key, MARK), failed(issues.assign, key, KRAMER):
        assert "no to ***; xxx" in error.text
        for secret in (basic, TOKEN, EMAIL):
            assert secret[:6] not in error.text


# Closing


def test_an_issue_is_closed(jira: FakeJira, issues: JiraIssues) -> None:
    key = issues.create(DRAFT)
    jira.transition(key, "In Progress")
    assert issues.close(key)
    assert jira.issues[key].status == "Done"
    assert not is_open(issues, key)


@pytest.mark.parametrize(
    ("statuses", "taken"),
    [
        ({"Resolved": "done", "Closed": "done", "Done": "done"}, "Done"),
        ({"Rejected": "done", "RESOLVED": "done", "closed": "done"}, "closed"),
        ({"Rejected": "done", "Resolved": "done"}, "Resolved"),
        ({"Done": "indeterminate", "Erledigt": "done", "Abgelehnt": "done"}, "Erledigt"),
    ],
    ids=["Done", "Closed", "Resolved", "the first"],
)
def test_the_status_to_close_with_is_chosen_by_its_name(
    jira: FakeJira, issues: JiraIssues, statuses: dict[str, Any], taken: str
) -> None:
    jira.statuses = {"To Do": "new", **statuses}
    key = issues.create(DRAFT)
    assert issues.close(key)
    assert jira.issues[key].status == taken


def test_of_two_ways_to_one_status_the_first_is_taken(jira: FakeJira, issues: JiraIssues) -> None:
    key = issues.create(DRAFT)
    to = {"name": "Done", "statusCategory": {"key": "done"}}
    offered = {"transitions": [{"id": number, "name": "x", "to": to} for number in ("31", "41")]}
    jira.inject(Fault.status(200, offered), calls("GET", "/transitions"))
    assert issues.close(key)
    assert jira.requests[-1].json == {"transition": {"id": "31"}}


@pytest.mark.parametrize("gone", [False, True], ids=["done", "gone"])
def test_what_is_closed_already_is_left_alone(jira: FakeJira, issues: JiraIssues, gone: bool) -> None:
    key = issues.create(DRAFT)
    jira.transition(key, "Done")
    if gone:
        jira.delete(key)
    assert issues.close(key)
    assert [path for path in paths(jira) if path.endswith("transitions")] == []


@pytest.mark.parametrize("allowed", [set(), {"In Progress"}], ids=["none", "no closing one"])
def test_a_workflow_that_offers_no_way_is_no_error(jira: FakeJira, issues: JiraIssues, allowed: set[str]) -> None:
    jira.allowed_transitions = allowed
    key = issues.create(DRAFT)
    assert not issues.close(key)
    assert asked_for(jira, "POST", "/transitions") == 0


def test_the_way_that_is_offered_is_taken(jira: FakeJira, issues: JiraIssues) -> None:
    jira.statuses = {"To Do": "new", "Done": "done", "Resolved": "done"}
    jira.allowed_transitions = {"Resolved"}
    key = issues.create(DRAFT)
    assert issues.close(key)
    assert jira.issues[key].status == "Resolved"


def test_a_transition_that_wants_a_field_is_no_error(jira: FakeJira, issues: JiraIssues) -> None:
    jira.required_on_transition = {"Done": {"resolution": "Resolution is required."}}
    key = issues.create(DRAFT)
    assert [issues.close(key) for _ in range(3)] == [False] * 3
    assert is_open(issues, key)
    assert issues.create(labelled(1)) == "SEC-2", "and Jira is on"


@pytest.mark.parametrize("fault", [Fault.html(400), Fault.status(403), Fault.status(409)], ids=["400", "403", "409"])
def test_a_transition_that_is_refused_is_no_error(jira: FakeJira, issues: JiraIssues, fault: Fault) -> None:
    key = issues.create(DRAFT)
    jira.inject(fault, calls("POST", "/transitions"))
    assert [issues.close(key) for _ in range(3)] == [False] * 3
    assert asked_for(jira, "POST", "/transitions") == 3
    assert is_open(issues, key)


FAILED_CLOSINGS = {
    **FAILED_WRITES,
    "200 odd": (Fault.status(200, {"transition": "odd"}), False, True, True),
    "404": (Fault.status(404), False, False, False),
}


def test_a_closing_that_failed_is_posted_once_and_looked_at_again(fresh: Fresh) -> None:
    for name, (fault, closed, may_be_done, is_off) in FAILED_CLOSINGS.items():
        with fresh() as (jira, issues, _):
            key = issues.create(DRAFT)
            jira.inject(fault, calls("POST", "/transitions"))
            error = failed(issues.close, key)
            assert (error.failure is Failure.UNKNOWN, error.holds_for_run) == (may_be_done, is_off), name
            assert asked_for(jira, "POST", "/transitions") == 1, name
            assert (jira.issues[key].category == "done") is closed, name
            jira.heal()
            if not is_off:
                assert issues.close(key)
                assert asked_for(jira, "POST", "/transitions") == (1 if closed else 2)


DONE_WAY = {"id": "31", "to": {"name": "Done", "statusCategory": {"key": "done"}}}


FAILED_LOOKS_AT_TRANSITIONS = {
    "400": Fault.status(400),
    "401": Fault.status(401),
    "403": Fault.status(403),
    "404": Fault.status(404),
    "429": Fault.status(429),
    "500": Fault.status(500),
    "200 page": Fault.html(200),
    "200 empty": Fault.status(200),
    "200 {}": Fault.status(200, {}),
    "200 []": Fault.status(200, []),
    "null": Fault.status(200, {"transitions": None}),
    "by id": Fault.status(200, {"transitions": {"id": "31"}}),
    "a text": Fault.status(200, {"transitions": ["31"]}),
    "no to": Fault.status(200, {"transitions": [{"id": "31", "name": "Done"}]}),
    "to null": Fault.status(200, {"transitions": [{"id": "31", "to": None}]}),
    "no category": Fault.status(200, {"transitions": [{"id": "31", "to": {"name": "Done"}}]}),
    "odd id": Fault.status(200, {"transitions": [{**DONE_WAY, "id": 31}]}),
    "one of two odd": Fault.status(200, {"transitions": [DONE_WAY, {"id": "41", "to": "Closed"}]}),
    "dropped before": Fault.drop_before_serving(),
    "dropped after": Fault.drop_after_serving(),
    "hangs": Fault.hang(),
}


def test_a_look_at_transitions_that_failed_closes_nothing(fresh: Fresh) -> None:
    for name, fault in FAILED_LOOKS_AT_TRANSITIONS.items():
        with fresh() as (jira, issues, _):
            key = issues.create(DRAFT)
            jira.inject(fault, calls("GET", "/transitions"))
            assert failed(issues.close, key).failure is not Failure.UNKNOWN, name
            assert asked_for(jira, "POST", "/transitions") == 0, name


def test_an_issue_that_could_not_be_read_is_not_closed(jira: FakeJira, issues: JiraIssues) -> None:
    key = issues.create(DRAFT)
    jira.inject(Fault.status(500), calls("GET", f"/issue/{key}"))
    assert failed(issues.close, key).failure is Failure.NO_ANSWER
    assert [path for path in paths(jira) if path.endswith("transitions")] == []


# All of these


@pytest.mark.parametrize("path_end", ["/user/search", "/assignee", "/comment", "/transitions"])
def test_a_short_429_is_waited_out_whatever_is_done(
    jira: FakeJira, issues: JiraIssues, clock: PatientClock, path_end: str
) -> None:
    known(jira, KRAMER)
    key = issues.create(DRAFT)
    jira.inject(Fault.status(429, None, {"Retry-After": "2"}), lambda request: request.path.endswith(path_end), times=2)
    assert issues.assign(key, KRAMER)
    issues.comment(key, MARK)
    assert issues.was_said(key, MARK)
    assert issues.close(key)
    assert clock.slept == [2, 2]
    issue = jira.issues[key]
    assert (issue.assignee, len(issue.comments), issue.status) == (KRAMER, 1, "Done")


@pytest.mark.parametrize("operation", ["assign issue", "add comment", "close issue"])
def test_a_refused_connection_surely_does_nothing(
    jira: FakeJira, issues: JiraIssues, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of reach between the look and the write, where there is a look."""
    known(jira, KRAMER)
    key = issues.create(DRAFT)
    session = issues._jira.client._session
    request = session.request

    def out_of_reach_for_writes(method: str, *rest: Any, **more: Any) -> Any:
        if method != "GET":
            jira.stop_listening()
        return request(method, *rest, **more)

    monkeypatch.setattr(session, "request", out_of_reach_for_writes)
    error = failed(
        {
            "assign issue": lambda: issues.assign(key, KRAMER),
            "add comment": lambda: issues.comment(key, MARK),
            "close issue": lambda: issues.close(key),
        }[operation]
    )
    assert error.operation == operation
    assert (error.failure, error.holds_for_run) == (Failure.NO_ANSWER, False)


def test_nothing_is_done_to_an_issue_past_the_deadline(jira: FakeJira, issues: JiraIssues, clock: PatientClock) -> None:
    key = issues.create(DRAFT)
    asked = len(jira.requests)
    clock.set_timeout(0)
    for call in (
        lambda: issues.assign(key, KRAMER),
        lambda: issues.was_said(key, MARK),
        lambda: issues.comment(key, MARK),
        lambda: issues.close(key),
    ):
        with pytest.raises(Stopped):
            call()
    assert len(jira.requests) == asked


# Where people open an issue: pycontribs/jira 2368

GATEWAY = "/ex/jira/1a2b3c4d-0000-4000-8000-1a2b3c4d5e6f"


@pytest.mark.parametrize("flavour", ["cloud"], indirect=True)
def test_a_scoped_token_goes_to_the_gateway_and_people_to_the_site(make_issues: MakeIssues, jira: FakeJira) -> None:
    jira.base_url = "https://acme.atlassian.net"
    issues = make_issues(address=f"{jira.url}{GATEWAY}")
    assert issues.browse_address is None, "nobody has asked it yet, and the gateway has no pages"
    key = issues.create(DRAFT)
    assert key in jira.issues
    assert all(request.path.startswith(f"{GATEWAY}/rest/api/2/") for request in jira.requests)
    assert issues.browse_address == "https://acme.atlassian.net"


@pytest.mark.parametrize(
    "said",
    [
        "javascript:alert(1)",
        "https://acme.example/|<script>",
        "https://" + "a" * 300,
        "ftp://acme.example",
        "https://acme.example/?token=1",
        "https://api.atlassian.com/ex/jira/1a2b",
    ],
)
def test_an_odd_base_url_leads_nobody_anywhere(make_issues: MakeIssues, jira: FakeJira, said: str) -> None:
    jira.base_url = said
    issues = make_issues()
    issues.connect()
    assert issues.browse_address == jira.url
    if jira.flavour == "server":
        return
    behind_gateway = make_issues(address=f"{jira.url}{GATEWAY}")
    behind_gateway.connect()
    assert behind_gateway.browse_address is None


# A scoped token

SCOPED: dict[str, Callable[[JiraIssues], object]] = {
    "search": lambda issues: issues.open_issues(),
    "read issue": lambda issues: issues.read("SEC-1"),
    "create issue": lambda issues: issues.create(DRAFT),
    "find user": lambda issues: issues.assign("SEC-1", KRAMER),
    "assign issue": lambda issues: issues.assign("SEC-1", KRAMER),
    "read comments": lambda issues: issues.was_said("SEC-1", MARK),
    "add comment": lambda issues: issues.comment("SEC-1", MARK),
    "read transitions": lambda issues: issues.close("SEC-1"),
    "close issue": lambda issues: issues.close("SEC-1"),
    "permissions": lambda issues: issues.count_filed(LABEL, 7),
    "add label": lambda issues: issues.add_label("SEC-1", LABEL),
}
PATHS = {
    "search": "/search/jql",
    "read issue": "/issue/SEC-1",
    "create issue": "/issue",
    "find user": "/user/search",
    "assign issue": "/assignee",
    "read comments": "/comment",
    "add comment": "/comment",
    "read transitions": "/transitions",
    "close issue": "/transitions",
    "permissions": "/mypermissions",
    "add label": "/issue/SEC-1",
}


@pytest.mark.parametrize("operation", sorted(set(OPERATIONS) - {"serverInfo", "myself"}))
@pytest.mark.parametrize("flavour", ["cloud"], indirect=True)
def test_a_401_after_the_sign_in_names_the_call_and_the_scope_and_is_no_dead_token(
    jira: FakeJira, issues: JiraIssues, operation: str
) -> None:
    known(jira, KRAMER)
    issues.create(DRAFT)
    posts, puts = ("create issue", "add comment", "close issue"), ("assign issue", "add label")
    method = {**dict.fromkeys(posts, "POST"), **dict.fromkeys(puts, "PUT")}
    refused = Fault.status(401, {"code": 401, "message": "Unauthorized; scope does not match"})
    jira.inject(refused, calls(method.get(operation, "GET"), PATHS[operation]))
    error = failed(SCOPED[operation], issues)
    needs = OPERATIONS[operation]
    assert f"Jira refused {operation} (HTTP 401)" in error.text
    assert f"a scoped token needs the scope {needs.scope} for it" in error.text
    assert "dead" not in error.text
    assert error.holds_for_run is not bool(needs.permission)


@pytest.mark.parametrize("flavour", ["cloud"], indirect=True)
def test_the_scopes_that_the_table_names_are_enough(jira: FakeJira, issues: JiraIssues) -> None:
    known(jira, KRAMER)
    jira.scopes = {row.scope for row in OPERATIONS.values()}
    key = issues.create(DRAFT)
    issues.comment(key, MARK)
    assert (issues.assign(key, KRAMER), issues.was_said(key, MARK), issues.close(key)) == (True, True, True)
    jira.scopes.discard("write:jira-work")
    assert "the scope write:jira-work" in failed(issues.create, DRAFT).text


# Which kind of sign-in


@pytest.mark.parametrize(
    ("flavour", "email", "status", "says"),
    [
        ("cloud", None, None, "set credstash_keyname_atlassian_api_email"),
        ("cloud", None, 403, "set credstash_keyname_atlassian_api_email"),
        ("server", EMAIL, None, "unset credstash_keyname_atlassian_api_email if this is one"),
        ("cloud", EMAIL, None, "Look at the secrets that"),
        ("server", None, None, "Look at the secrets that"),
    ],
)
def test_a_sign_in_of_the_other_kind_is_said_with_the_setting(
    flavour: Flavour, email: str | None, status: int | None, says: str
) -> None:
    """Bearer to Cloud, and a personal access token with an e-mail on Data Center."""
    with FakeJira(flavour, {"email": EMAIL, "token": "another token"}) as jira:
        if status is not None:
            jira.inject(Fault.status(status), calls("GET", "/myself"))
        issues = JiraIssues(
            jira.url, (email, TOKEN), project_key="SEC", issue_type="Task", extra_fields={}, clock=RunClock()
        )
        assert says in failed(issues.connect).text


@pytest.mark.parametrize(
    ("address", "is_cloud"),
    [
        ("https://acme.atlassian.net", True),
        ("https://api.atlassian.com/ex/jira/1a2b", True),
        ("https://jira.acme.example", False),
    ],
)
def test_a_jira_that_says_nothing_is_known_by_its_address(address: str, is_cloud: bool) -> None:
    """Cloud answers 403 to any call with a Bearer token that is none of its own, serverInfo too."""
    advice = sign_in_advice(has_email=False, is_cloud=None, address=address)
    assert ("set credstash_keyname_atlassian_api_email" in advice) is is_cloud


# How an issue ends


@pytest.mark.parametrize(
    ("statuses", "wanted", "ends_as"),
    [
        (("Cancelled", "Done"), None, "Done"),
        (("Duplicate", "Rejected", "Fixed"), None, "Fixed"),
        (("Won't Do", "Abgeschlossen"), None, "Abgeschlossen"),
        (("Closed", "Resolved", "Done"), None, "Done"),
        (("Canceled", "Duplicate", "Won\u2019t Fix", "Declined"), None, None),
        (("Done", "Rotated"), "rotated", "Rotated"),
        (("Done", "Cancelled"), "Cancelled", "Cancelled"),
        (("Done",), "Rotated", None),
    ],
)
def test_an_issue_ends_as_done_or_as_the_setting_says_and_never_as_refused(
    make_issues: MakeIssues, jira: FakeJira, statuses: tuple[str, ...], wanted: str | None, ends_as: str | None
) -> None:
    """A status of category Done may mean that nothing was done; where only those remain it is left open."""
    jira.statuses = {"To Do": "new", "In Progress": "indeterminate", **dict.fromkeys(statuses, "done")}
    issues = make_issues(done_status=wanted)
    key = issues.create(DRAFT)
    assert issues.close(key) is (ends_as is not None)
    assert jira.issues[key].status == (ends_as or "To Do")


@pytest.mark.parametrize("is_on_screen", [True, False])
def test_the_resolution_is_given_where_the_transition_takes_one(
    make_issues: MakeIssues, jira: FakeJira, is_on_screen: bool
) -> None:
    jira.resolution_on = {"Done"} if is_on_screen else set()
    issues = make_issues(resolution="Rotated")
    key = issues.create(DRAFT)
    assert issues.close(key)
    assert jira.issues[key].fields.get("resolution") == ({"name": "Rotated"} if is_on_screen else None)


def test_a_resolution_that_a_transition_asks_for_lets_the_issue_end(make_issues: MakeIssues, jira: FakeJira) -> None:
    jira.resolution_on = {"Done"}
    jira.required_on_transition = {"Done": {"resolution": "Resolution is required."}}
    key = make_issues().create(DRAFT)
    assert not make_issues().close(key)
    assert make_issues(resolution="Done").close(key)


# Issues that lacework/ops has filed


def test_an_issue_of_the_originals_is_found_by_user_account_and_last_five(
    jira: FakeJira, issues: JiraIssues, make_issues: MakeIssues
) -> None:
    access_key = make_access_key()
    for other in (("dev_lee", "VHXVM", "acme-dev"), ("dev_kramer", "AAAAA", "acme-dev"), ("dev_kramer", "VHXVM", "x")):
        jira.file_as_original(*other)
    jira.issues[jira.file_as_original("dev_kramer", "VHXVM", "acme-dev")].labels = ["another"]
    issues.open_issues()
    assert issues.find_original(access_key, "acme-dev") is None
    theirs = jira.file_as_original("Dev_Kramer", "VHXVM", "acme-dev")
    fresh = make_issues()  # as the next run has it
    fresh.open_issues()
    assert fresh.find_original(access_key, "acme-dev") == theirs
    for _ in range(2):
        fresh.add_label(theirs, LABEL)
    assert jira.issues[theirs].labels == [FAMILY_LABEL, LABEL]
    assert fresh.find_open(LABEL) == theirs


def test_without_issues_of_the_originals_nothing_more_is_asked(jira: FakeJira, issues: JiraIssues) -> None:
    issues.create(DRAFT)
    issues.open_issues()
    asked = len(jira.requests)
    assert issues.find_original(make_access_key(), "acme-dev") is None
    assert len(jira.requests) == asked


def test_the_descriptions_of_the_originals_are_read_once_a_run(jira: FakeJira, issues: JiraIssues) -> None:
    for number in range(3):
        jira.file_as_original(f"user_{number}", "VHXVM", "acme-dev")
    issues.open_issues()
    asked = len(jira.requests)
    for number in range(3):
        assert issues.find_original(make_access_key(f"user_{number}"), "acme-dev") is not None
    assert len(jira.requests) == asked + 1
