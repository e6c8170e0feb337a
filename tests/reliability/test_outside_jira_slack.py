"""Answers of Jira and Slack that are not what either would say, over a real socket, through the real libraries.

Whatever comes back: ServiceError and nothing else, no second POST, and no "there is none", no "sent" and no issue key
on the strength of an answer that does not say so.
"""

from __future__ import annotations

import base64
import gc
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keycheck.acting.issue_claims import Found, find_open_issue
from keycheck.model import IssueRecord, KeyRecord
from keycheck.services import Failure, ServiceError, jira_search
from keycheck.services.health import LONGEST_RETRY_AFTER
from keycheck.services.jira_issues import JiraIssues
from keycheck.services.slack_messages import SlackMessages
from keycheck.words.issue import FAMILY_LABEL, IssueDraft
from keycheck.words.message import SlackDraft
from sandbox.fake_jira import FakeJira, Flavour
from sandbox.fake_slack import FakeSlack
from sandbox.http_fake import Fault, Match, Request, calls
from tests.builders import PatientClock
from tests.reliability.fuzz_inputs import (
    HEADER_TEXT,
    NASTY_TEXT,
    RETRY_AFTERS,
    as_json,
    assert_one_line,
    bodies,
    examples,
    parsed,
)

EMAIL = "keycheck@example.com"
TOKEN = "invented-jira-token"
LABEL = "keycheck-0123456789abcdef"
DRAFT = IssueDraft("Rotate AWS access key ...VHXVM of dev_kramer", "It is 197 days old.", (FAMILY_LABEL, LABEL))
OPEN_ISSUE = "SEC-1"
SLACK_TOKEN = "xoxb-invented-slack-token"
OWNER = "U012KRAMER"
MESSAGE = SlackDraft("1 AWS access key", ({"type": "section", "text": {"type": "mrkdwn", "text": "*1* access key"}},))
pytestmark = pytest.mark.filterwarnings(  # the libraries leave the socket of a redirected request to the collector
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
ISSUE_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]*-[0-9]+", re.ASCII)
"""A project's key and a number: support.atlassian.com, "What is an issue key?"."""

OK_STATUSES = (200, 200, 200, 200, 201, 202, 206)
REDIRECTS = (300, 301, 302, 303, 304, 307, 308)
ERRORS = (400, 401, 403, 404, 405, 409, 410, 413, 418, 429, 499, 500, 502, 503, 504, 520, 599, 600, 999)
STATUSES = st.sampled_from((*OK_STATUSES * 3, 204, *REDIRECTS, *ERRORS))
CONTENT_TYPES = [
    *("application/json", "text/html", "application/gzip", "text/plain; charset=nonsense", ""),
    "application/json;charset=utf-16",
]
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(CONTENT_TYPES) | HEADER_TEXT,
        "Content-Encoding": st.sampled_from(["gzip", "deflate", "br", "identity", "x"]),
        "Retry-After": RETRY_AFTERS,
        "X-Seraph-LoginReason": st.sampled_from(["AUTHENTICATED_FAILED", "OK"]),
        "X-Authentication-Denied-Reason": HEADER_TEXT,
        "Set-Cookie": HEADER_TEXT,
        "Date": HEADER_TEXT,
    },
)
MOSTLY_NO_HEADERS = st.just(dict[str, str]()) | st.just({"Content-Type": "application/json"}) | HEADERS
LOCATIONS = (
    *("", "/", "/login", "/rest/api/2/myself", "/rest/api/2/issue", "//", "http://[", "http://127.0.0.1:1/"),
    *("ftp://127.0.0.1/", "?", "\xff"),
)


@pytest.fixture(scope="module", autouse=True)
def _what_the_libraries_left_open_is_collected_here() -> Iterator[None]:
    """And not in some other test, or after the last, where a warning is an error."""
    yield
    gc.collect()


class Site:
    """One Jira, and one client that has signed in to it: signing in takes longer than most of these examples."""

    def __init__(self, flavour: Flavour) -> None:
        self.jira = FakeJira(flavour, {"email": EMAIL, "token": TOKEN}).start()
        signed_in = self.issues(signed_in=False)
        created = signed_in.create(DRAFT)
        assert created == OPEN_ISSUE
        assert signed_in.find_open(LABEL) == OPEN_ISSUE
        self.client: Any = signed_in._jira.client

    def issues(self, *, signed_in: bool = True) -> JiraIssues:
        """The adapter of a new run: what earlier answers did to it is forgotten."""
        more: dict[str, Any] = {"project_key": "SEC", "issue_type": "Task", "extra_fields": {}, "clock": PatientClock()}
        issues = JiraIssues(self.jira.url, (EMAIL, TOKEN), **more)
        if signed_in:
            issues._jira.client = self.client
        return issues

    def answers(self, match: Match, *faults: Fault, times: int = 1) -> None:
        """These answers, each so many times, and as ever afterwards; what earlier examples did is undone."""
        self.jira.heal()
        with self.jira.lock:
            for key in [key for key in self.jira.issues if key != OPEN_ISSUE]:
                del self.jira.issues[key]
            self.jira._requests.clear()
        for fault in faults:
            self.jira.inject(fault, match, times)

    def posts(self) -> int:
        return sum(request.method == "POST" and request.path.endswith("/issue") for request in self.jira.requests)


@pytest.fixture(scope="module")
def sites() -> Iterator[dict[Flavour, Site]]:
    opened: dict[Flavour, Site] = {"cloud": Site("cloud"), "server": Site("server")}
    yield opened
    for site in opened.values():
        site.client.close()
        site.jira.stop()


FLAVOURS: st.SearchStrategy[Flavour] = st.sampled_from(("cloud", "server"))
Ask = Callable[[JiraIssues], Any]


def asked(call: Callable[[], Any]) -> Any:
    """What a call gives, or the ServiceError that it ends in; any other exception is a failure of the test."""
    try:
        return call()
    except ServiceError as error:
        refused = error
    assert_one_line(refused.text)
    assert TOKEN not in refused.text
    assert SLACK_TOKEN not in refused.text
    return refused


def is_search(request: Request) -> bool:
    return request.path.endswith(("/search", "/search/jql"))


# Signing in

SERVER_INFO = {
    "baseUrl": "http://127.0.0.1",
    "version": "9.12.0",
    "versionNumbers": [9, 12, 0],
    "deploymentType": "Cloud",
}
MYSELF = {"accountId": "5b10a2844c20165700ede21g", "name": "keycheck", "key": "keycheck", "active": True}
FIELDS = [
    {"id": "labels", "name": "Labels", "custom": False, "clauseNames": ["labels"]},
    {"id": "status", "name": "Status"},
]


@given(
    FLAVOURS,
    st.one_of(
        st.tuples(st.just("/serverInfo"), STATUSES, bodies(SERVER_INFO, {**SERVER_INFO, "deploymentType": "Server"})),
        st.tuples(st.just("/myself"), STATUSES, bodies(MYSELF)),
        st.tuples(st.just("/field"), STATUSES, bodies(FIELDS)),
    ),
    MOSTLY_NO_HEADERS,
)
@example("cloud", ("/serverInfo", 200, b""), {})
@example("cloud", ("/serverInfo", 200, b"5"), {})
@example("cloud", ("/serverInfo", 200, b'{"deploymentType": ["Cloud"]}'), {})
@example("cloud", ("/field", 200, b'[{"name": "labels", "id": "issuekey"}]'), {})
@example("server", ("/field", 200, b'[{"name": "labels", "id": null}]'), {})
@examples(150)
def test_no_odd_answer_while_signing_in_makes_a_search_say_that_there_is_none(
    sites: dict[Flavour, Site], flavour: Flavour, answer: tuple[str, int, bytes], headers: dict[str, str]
) -> None:
    path, status, body = answer
    site = sites[flavour]
    site.answers(calls("GET", path), Fault.status(status, body, headers))
    issues = site.issues(signed_in=False)
    result = asked(lambda: issues.find_open(LABEL))
    if issues._jira.client is not None:
        issues._jira.client.close()
    assert isinstance(result, ServiceError) or result == OPEN_ISSUE


@given(FLAVOURS, bodies(MYSELF, {}, {"accountId": ""}, {"name": None}, {"accountId": 5}))
@example("cloud", b'{"accountId": [1]}')
@examples(80)
def test_only_an_answer_that_names_somebody_is_a_sign_in(
    sites: dict[Flavour, Site], flavour: Flavour, body: bytes
) -> None:
    site = sites[flavour]
    site.answers(calls("GET", "/myself"), Fault.status(200, body))
    issues = site.issues(signed_in=False)
    result = asked(issues.connect)
    if issues._jira.client is not None:
        issues._jira.client.close()
    somebody = parsed(body)
    names = [somebody.get(name) for name in ("accountId", "name", "key")] if isinstance(somebody, dict) else []
    assert isinstance(result, ServiceError) != any(isinstance(name, str) and name for name in names)


# Looking

ISSUE = {
    "id": "10001",
    "key": "SEC-7",
    "self": "http://127.0.0.1/rest/api/2/issue/10001",
    "fields": {"labels": [LABEL]},
}
MORE = base64.urlsafe_b64encode(b'{"below": 999999999}').decode()
"""A token of the sandbox's, after which all of its issues come."""
CLOUD_PAGES = (
    {"issues": [], "isLast": True},
    {"issues": [ISSUE], "isLast": True},
    {"issues": [ISSUE], "isLast": False, "nextPageToken": MORE},
    {"issues": [], "isLast": False, "nextPageToken": MORE},
)
SERVER_PAGES = (
    {"startAt": 0, "maxResults": 100, "total": 0, "issues": []},
    {"startAt": 0, "maxResults": 100, "total": 1, "issues": [ISSUE]},
    {"startAt": 0, "maxResults": 1, "total": 2, "issues": [ISSUE]},
    {"startAt": 0, "maxResults": 100, "total": 5, "issues": []},
)
PAGES = st.one_of(
    st.tuples(st.just("cloud"), bodies(*CLOUD_PAGES)),
    st.tuples(st.just("server"), bodies(*SERVER_PAGES)),
)


def says_that_there_is_none(flavour: str, status: int, body: bytes) -> bool:
    """An empty list that is the whole: by a last page on Cloud, by the total on Server."""
    page = parsed(body)
    if not 200 <= status < 300 or not isinstance(page, dict) or page.get("issues") != [] or page["issues"] is False:
        return False
    if flavour == "server":
        return page.get("total") == 0 and page["total"] is not False
    token, is_last = page.get("nextPageToken"), page.get("isLast")
    return not token and (is_last is True or (is_last is None and token is None))


@given(PAGES, STATUSES, MOSTLY_NO_HEADERS, st.booleans())
@example(("cloud", b'{"issues": {}, "isLast": true}'), 200, {}, False)
@example(("cloud", b'{"issues": "", "isLast": true}'), 200, {}, False)
@example(("cloud", b'{"issues": null, "isLast": true}'), 200, {}, False)
@example(("cloud", b'{"isLast": true}'), 200, {}, False)
@example(("cloud", b'{"issues": [], "isLast": false}'), 200, {}, False)
@example(("cloud", b'{"issues": [], "isLast": false, "nextPageToken": ""}'), 200, {}, False)
@example(("cloud", b'{"issues": [], "isLast": 0}'), 200, {}, False)
@example(("cloud", b'{"issues": [], "isLast": null}'), 200, {}, False)
@example(("server", b'{"total": false, "issues": []}'), 200, {}, True)
@example(("cloud", b'{"errorMessages": ["no"], "issues": []}'), 400, {}, False)
@example(("cloud", b""), 200, {}, True)
@example(("server", b'{"total": 5, "issues": []}'), 200, {}, False)
@example(("server", b'{"issues": []}'), 200, {}, False)
@example(("server", b'{"total": 0, "issues": {}}'), 200, {}, True)
@example(("server", b'{"total": null, "issues": []}'), 200, {}, False)
@example(("server", b'{"total": -1, "issues": []}'), 200, {}, False)
@example(("server", b"[]"), 200, {}, False)
@example(("server", b""), 204, {}, False)
@examples(200)
def test_a_search_says_that_there_is_none_only_where_the_answer_does(
    sites: dict[Flavour, Site], page: tuple[Flavour, bytes], status: int, headers: dict[str, str], all_of_ours: bool
) -> None:
    flavour, body = page
    site = sites[flavour]
    site.answers(is_search, Fault.status(status, body, headers))
    issues = site.issues()
    result = asked((lambda: next(iter(issues.open_issues()), None)) if all_of_ours else lambda: issues.find_open(LABEL))
    if result is None:
        assert says_that_there_is_none(flavour, status, body)
    elif not isinstance(result, ServiceError):
        assert result == OPEN_ISSUE or f'"{result}"'.encode() in body
        assert isinstance(result, str)


@given(PAGES, STATUSES, MOSTLY_NO_HEADERS)
@examples(80)
def test_an_odd_second_page_takes_nothing_off_the_first(
    sites: dict[Flavour, Site], page: tuple[Flavour, bytes], status: int, headers: dict[str, str]
) -> None:
    flavour, body = page
    site = sites[flavour]
    first = CLOUD_PAGES[2] if flavour == "cloud" else SERVER_PAGES[2]
    site.answers(is_search, Fault.status(200, as_json(first)), Fault.status(status, body, headers))
    result = asked(site.issues().open_issues)
    assert isinstance(result, ServiceError) or frozenset({"SEC-7"}) in result.values()


@pytest.mark.parametrize(
    ("flavour", "page"),
    [
        pytest.param("cloud", {"issues": [], "isLast": False, "nextPageToken": "same"}, id="Cloud, empty pages"),
        pytest.param("cloud", {"issues": [ISSUE], "nextPageToken": "same"}, id="Cloud, one page again and again"),
        pytest.param("server", {"total": 10**9, "issues": [ISSUE]}, id="Server, a total never reached"),
        pytest.param("cloud", {"issues": [], "isLast": False, "nextPageToken": ["x"]}, id="Cloud, a list as token"),
    ],
)
def test_a_search_that_never_ends_is_an_error(
    sites: dict[Flavour, Site], monkeypatch: pytest.MonkeyPatch, flavour: Flavour, page: object
) -> None:
    monkeypatch.setattr(jira_search, "PAGES_AT_MOST", 20)
    site = sites[flavour]
    site.answers(is_search, Fault.status(200, page), times=99)
    assert isinstance(asked(site.issues().open_issues), ServiceError)
    assert len(site.jira.requests) <= 20


STATUS = {"name": "To Do", "statusCategory": {"id": 2, "key": "new", "name": "To Do"}}
IS_DONE = {"name": "Done", "statusCategory": {"id": 3, "key": "done", "name": "Done"}}
READ = {**ISSUE, "key": OPEN_ISSUE, "fields": {"labels": [LABEL], "status": STATUS}}
READ_DONE = {**READ, "fields": {"labels": [LABEL], "status": IS_DONE}}
AN_ISSUE = calls("GET", f"/issue/{OPEN_ISSUE}")


def category(body: bytes) -> Any:
    value = parsed(body)
    for name in ("fields", "status", "statusCategory", "key"):
        value = value.get(name) if isinstance(value, dict) else None
    return value


@given(FLAVOURS, STATUSES, bodies(READ, READ_DONE), MOSTLY_NO_HEADERS)
@example("cloud", 200, b"{}", {})
@example("cloud", 200, b'{"fields": {"status": {"statusCategory": {"key": ""}}}}', {})
@example("cloud", 200, b'{"fields": {"status": {"statusCategory": "done"}}}', {})
@example("server", 200, b'{"fields": null}', {})
@example("server", 404, b"5", {})
@example("server", 400, b'{"errors": null}', {})
@examples(100)
def test_an_issue_is_open_or_done_only_where_the_answer_names_its_category(
    sites: dict[Flavour, Site], flavour: Flavour, status: int, body: bytes, headers: dict[str, str]
) -> None:
    site = sites[flavour]
    site.answers(AN_ISSUE, Fault.status(status, body, headers))
    result = asked(lambda: site.issues().read(OPEN_ISSUE))
    if status == 429:  # waited out, and then the sandbox's own answer
        assert result is True or isinstance(result, ServiceError)
    elif result is True:
        assert isinstance(category(body), str)
        assert category(body) not in ("", "done")
    elif result is False:
        assert status == 404 or category(body) == "done"


@given(FLAVOURS, STATUSES, bodies(READ, READ_DONE), MOSTLY_NO_HEADERS)
@example("cloud", 200, b'{"fields": {"labels": 5}}', {})
@example("cloud", 200, b'{"fields": {"labels": true}}', {})
@example("cloud", 200, b'{"fields": 5}', {})
@example("cloud", 200, b"5", {})
@examples(150)
def test_reading_a_new_issue_back_says_something_or_nothing_and_never_fails(
    sites: dict[Flavour, Site], flavour: Flavour, status: int, body: bytes, headers: dict[str, str]
) -> None:
    site = sites[flavour]
    site.answers(AN_ISSUE, Fault.status(status, body, headers))
    said = site.issues().check_created(OPEN_ISSUE, LABEL)
    if said is not None:
        assert_one_line(said)
        assert TOKEN not in said


# Creating

CREATED = {"id": "10007", "key": "SEC-7", "self": "http://127.0.0.1/rest/api/2/issue/10007"}
REFUSED = {"errorMessages": ["Field is required"], "errors": {"issuetype": "Specify a valid issue type"}}
A_POST = calls("POST", "/issue")
CREATIONS = st.tuples(
    FLAVOURS, STATUSES | st.sampled_from([201] * 3), bodies(CREATED, CREATED, REFUSED), MOSTLY_NO_HEADERS
)


@given(CREATIONS)
@example(("cloud", 201, b"", {}))
@example(("cloud", 201, b'{"key": ""}', {}))
@example(("cloud", 201, b'{"key": null}', {}))
@example(("cloud", 201, b'{"key": ["SEC-7"]}', {}))
@example(("cloud", 201, b'{"key": "../myself"}', {}))
@example(("cloud", 201, b'{"key": "SEC-7\\n"}', {}))
@example(("server", 201, b'"key"', {}))
@example(("server", 201, b'["key"]', {}))
@example(("server", 200, b"<html>key</html>", {}))
@example(("server", 429, b"null", {"Retry-After": "1"}))
@example(("server", 429, b"{}", {"Retry-After": "9" * 30}))
@examples(150)
def test_whatever_answers_a_post_there_is_no_second_one(
    sites: dict[Flavour, Site], creation: tuple[Flavour, int, bytes, dict[str, str]]
) -> None:
    flavour, status, body, headers = creation
    site = sites[flavour]
    site.answers(A_POST, Fault.status(status, body, headers))
    result = asked(lambda: site.issues().create(DRAFT))
    assert site.posts() == 1 or (status == 429 and site.posts() == 2)
    if not isinstance(result, ServiceError):
        assert isinstance(result, str)
        assert f'"{result}"'.encode() in body or result in site.jira.issues


@given(CREATIONS)
@example(("cloud", 201, b'{"key": "x"}', {}))
@example(("cloud", 201, b'{"key": "-"}', {}))
@example(("cloud", 201, b'{"key": "myself"}', {}))
@example(("cloud", 201, '{"key": "\u0661-\u0661"}'.encode(), {}))
@examples(100)
def test_only_what_can_be_an_issue_key_is_taken_for_one(
    sites: dict[Flavour, Site], creation: tuple[Flavour, int, bytes, dict[str, str]]
) -> None:
    flavour, status, body, headers = creation
    site = sites[flavour]
    site.answers(A_POST, Fault.status(status, body, headers))
    result = asked(lambda: site.issues().create(DRAFT))
    assert isinstance(result, ServiceError) or ISSUE_KEY.fullmatch(result)


@given(CREATIONS)
@example(("server", 201, b"", {}))
@example(("server", 200, b"<html>Log in</html>", {}))
@example(("cloud", 500, b"", {}))
@examples(100)
def test_an_issue_that_may_exist_is_never_called_refused(
    sites: dict[Flavour, Site], creation: tuple[Flavour, int, bytes, dict[str, str]]
) -> None:
    """A success that cannot be read, and a 5xx: the claim is kept, and the next holder looks before it creates."""
    flavour, status, body, headers = creation
    site = sites[flavour]
    site.answers(A_POST, Fault.status(status, body, headers))
    result = asked(lambda: site.issues().create(DRAFT))
    if isinstance(result, ServiceError) and (status < 300 or 500 <= status < 600):
        assert result.failure is Failure.UNKNOWN


@given(CREATIONS)
@example(("cloud", 400, b'{"errors": null}', {}))
@example(("cloud", 400, b"5", {}))
@example(("cloud", 403, b'{"errorMessages": 5}', {}))
@example(("server", 429, b"null", {"Retry-After": "0"}))
@examples(100)
def test_a_refusal_is_known_as_one_whatever_its_body(
    sites: dict[Flavour, Site], creation: tuple[Flavour, int, bytes, dict[str, str]]
) -> None:
    """HTTP 4xx: no issue was made, whatever the words; the claim is released and the next run tries again."""
    flavour, status, body, headers = creation
    site = sites[flavour]
    site.answers(A_POST, Fault.status(status, body, headers))
    result = asked(lambda: site.issues().create(DRAFT))
    if isinstance(result, ServiceError) and 400 <= status < 500:
        assert result.failure is not Failure.UNKNOWN


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("flavour", ["cloud", "server"])
def test_a_redirected_post_is_not_sent_a_second_time(sites: dict[Flavour, Site], flavour: Flavour, status: int) -> None:
    site = sites[flavour]
    for location in LOCATIONS:
        site.answers(A_POST, Fault.status(status, b"", {"Location": location}))
        result = asked(lambda: site.issues().create(DRAFT))
        assert site.posts() == 1, location
        assert isinstance(result, ServiceError), location


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("flavour", ["cloud", "server"])
def test_a_redirected_look_never_finds_that_there_is_none(
    sites: dict[Flavour, Site], flavour: Flavour, status: int
) -> None:
    """Also one that leads to itself, once or for ever. A page that is not there is no issue that is gone: the look by
    the recorded key may be misled by its 404, but the look by label comes after it.
    """
    site = sites[flavour]
    for location in LOCATIONS:
        for times in (1, 99):
            site.answers(is_search, Fault.status(status, b"", {"Location": location}), times=times)
            assert asked(lambda: site.issues().find_open(LABEL)) is not None, location
            site.answers(AN_ISSUE, Fault.status(status, b"", {"Location": location}), times=times)
            found = asked(lambda: find_open_issue(site.issues(), KeyRecord("AKIA", issue=IssueRecord(OPEN_ISSUE)), ""))
            assert isinstance(found, ServiceError | Found), location


# Slack

SENT = {"ok": True, "channel": "D012KRAMER", "ts": "1795435200.000100", "message": {"text": "x"}}
NOT_SENT = {"ok": False, "error": "channel_not_found", "response_metadata": {"messages": ["x"]}}
SLACK_BODIES = bodies(SENT, SENT, NOT_SENT, {"ok": False, "error": NASTY_TEXT}, {"ok": "true"}, {"ok": 1})
Posted = tuple[int, bytes, dict[str, str]]


@pytest.fixture(scope="module")
def slack() -> Iterator[FakeSlack]:
    with FakeSlack({SLACK_TOKEN}) as server:
        yield server


def send(slack: FakeSlack, *faults: Fault, times: int = 1) -> tuple[ServiceError | None, PatientClock, int]:
    """One message in a new run: how it ended, the clock, and the number of POSTs."""
    slack.heal()
    with slack.lock:
        slack._requests.clear()
    for fault in faults:
        slack.inject(fault, times=times)
    clock = PatientClock()
    result = asked(lambda: SlackMessages(SLACK_TOKEN, slack.base_url, clock).send(OWNER, MESSAGE))
    assert result is None or isinstance(result, ServiceError)
    return result, clock, sum(request.method == "POST" for request in slack.requests)


@given(STATUSES, SLACK_BODIES, MOSTLY_NO_HEADERS)
@example(200, b'{"ok": "true"}', {})
@example(200, b'{"ok": 1}', {})
@example(200, b'[{"ok": true}]', {})
@example(200, b'{"ok": true', {})
@example(200, b'"ok"', {})
@example(200, b"true", {})
@example(200, b"", {})
@example(200, b'{"ok": true}', {"Content-Type": "application/gzip"})
@example(201, b'{"ok": true}', {})
@example(202, b'{"ok": true}', {})
@example(500, b'{"ok": true}', {})
@example(404, b'{"ok": true}', {})
@example(200, b'{"ok": false, "error": ["channel_not_found"]}', {})
@example(200, b'{"ok": true, "ok": false}', {})
@examples(200)
def test_only_ok_that_is_true_counts_as_sent(
    slack: FakeSlack, status: int, body: bytes, headers: dict[str, str]
) -> None:
    error, _, posts = send(slack, Fault.status(status, body, headers))
    if status == 429:
        assert posts <= 2
        return
    assert posts == 1
    answer = parsed(body)
    is_sent = status == 200 and isinstance(answer, dict) and answer.get("ok") is True
    if error is None:
        assert is_sent
    else:
        assert error.service == "Slack"
        if not is_sent:
            assert error.failure is not Failure.UNKNOWN, "any answer that is not ok is a refusal"


@given(SLACK_BODIES, RETRY_AFTERS, st.integers(1, 4))
@example(b"{}", "9" * 400, 1)
@example(b"null", "0", 4)
@example(b'{"ok": true}', "1", 4)
@examples(100)
def test_a_429_with_any_retry_after_is_waited_out_at_most_twice(
    slack: FakeSlack, body: bytes, after: str, times: int
) -> None:
    error, clock, posts = send(slack, Fault.status(429, body, {"Retry-After": after}), times=times)
    assert posts <= min(times + 1, 3)
    assert len(clock.slept) == posts - 1
    assert all(0 <= seconds <= LONGEST_RETRY_AFTER for seconds in clock.slept)
    assert (error is None) == (posts == times + 1)
    if error is not None:
        assert error.failure is not Failure.UNKNOWN


@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirected_message_is_not_sent_and_not_posted_again(slack: FakeSlack, status: int) -> None:
    for location in (*LOCATIONS, "/api/chat.postMessage"):
        error, _, posts = send(slack, Fault.status(status, b'{"ok": true}', {"Location": location}))
        assert error is not None, location
        assert error.failure is not Failure.UNKNOWN, location
        assert posts == 1, location
