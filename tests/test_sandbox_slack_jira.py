"""The fakes behave as Slack and Jira do, seen through the clients that keycheck uses: slack_sdk and python-jira."""

from __future__ import annotations

import http.client
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.error import URLError

import pytest
import requests
from jira import JIRA, JIRAError
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_handlers import ConnectionErrorRetryHandler, RateLimitErrorRetryHandler
from slack_sdk.http_retry.builtin_interval_calculators import FixedValueRetryIntervalCalculator

from sandbox.fake_jira import FakeJira, Flavour
from sandbox.fake_jira import render as render_issue
from sandbox.fake_slack import FakeSlack, Message, ok_false, rate_limited
from sandbox.fake_slack import render as render_message
from sandbox.http_fake import Answer, FakeServer, Fault, Request, calls
from tests.impatience import SOON, be_impatient, wait_until_served

CREDENTIALS = {"email": "keycheck@acme.test", "token": "jira-token"}
SLACK_TOKEN = "xoxb-sandbox"
"""Seconds that a client waits for an answer that is late or never comes."""


class Echo(FakeServer):
    """Answers each request with its number."""

    def serve(self, request: Request) -> Answer:
        return Answer(200, {"number": request.number})


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        yield server


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with FakeSlack({SLACK_TOKEN}) as server:
        yield server


@pytest.fixture(params=["cloud", "server"])
def flavour(request: pytest.FixtureRequest) -> Flavour:
    value: Flavour = request.param
    return value


@pytest.fixture
def jira(flavour: Flavour) -> Iterator[FakeJira]:
    with FakeJira(flavour, CREDENTIALS) as server:
        yield server


@pytest.fixture
def cloud() -> Iterator[FakeJira]:
    with FakeJira("cloud", CREDENTIALS) as server:
        yield server


@pytest.fixture
def connect() -> Iterator[Callable[..., JIRA]]:
    """python-jira as keycheck sets it up; read_timeout in seconds."""
    with ExitStack() as open_clients:

        def connected(fake: FakeJira, *, read_timeout: float = 10, **kwargs: Any) -> JIRA:
            if "token_auth" not in kwargs:
                kwargs.setdefault("basic_auth", (CREDENTIALS["email"], CREDENTIALS["token"]))
            client = JIRA(fake.url, max_retries=0, timeout=(3, read_timeout), **kwargs)
            open_clients.callback(client.close)
            return client

        yield connected


def web_client(slack: FakeSlack, token: str | None = SLACK_TOKEN, timeout: float = 10) -> WebClient:
    """slack_sdk as keycheck sets it up, but for waiting out rate limits."""
    client = WebClient(token, base_url=slack.base_url, retry_handlers=[])
    client.timeout = timeout  # type: ignore[assignment]  # the hint says whole seconds, the socket takes any
    return client


def new_issue(**changes: Any) -> dict[str, Any]:
    fields = {
        "project": {"key": "SEC"},
        "issuetype": {"name": "Task"},
        "summary": "Rotate the access key of dev_kramer",
        "description": "It is 197 days old.\n",
        "labels": ["AWS-User-Key-Rotation", "keycheck-0123456789abcdef"],
    }
    return {name: value for name, value in (fields | changes).items() if value is not None}


def create(client: JIRA, **changes: Any) -> str:
    """The key of an issue, made as keycheck makes it: one POST and nothing else."""
    return client.create_issue(new_issue(**changes), prefetch=False).key


def found(client: JIRA, jql: str = 'labels = "AWS-User-Key-Rotation" AND statusCategory != Done') -> list[str]:
    """The keys that a search in all its pages gives, in its order."""
    return [issue.key for issue in client.search_issues(jql, maxResults=0, fields=["labels"])]


def posts(fake: FakeServer) -> int:
    return sum(request.method == "POST" for request in fake.requests)


class TestTheServer:
    def test_answers_many_requests_on_one_connection_each_in_one_write(
        self, echo: Echo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An answer in two writes would cost 40 ms each."""
        written: list[int] = []
        write = socketserver._SocketWriter.write  # type: ignore[attr-defined]

        def counted(self: Any, data: bytes) -> int:
            written.append(len(data))
            return int(write(self, data))

        monkeypatch.setattr(socketserver._SocketWriter, "write", counted)  # type: ignore[attr-defined]
        connection = http.client.HTTPConnection("127.0.0.1", echo.port, timeout=30)
        for number in range(1, 11):
            connection.request("POST", "/x", body=b"{}")
            assert connection.getresponse().read() == f'{{"number": {number}}}'.encode()
        connection.close()
        assert len(written) == 10

    def test_keeps_every_request(self, echo: Echo) -> None:
        echo.inject(Fault.status(500), times=1)
        requests.post(f"{echo.url}/a%20b?x=1&x=2&y=", json={"k": 1}, headers={"X-Y": "z"}, timeout=5)
        requests.get(echo.url, timeout=5)
        first, second = echo.requests
        assert (first.number, first.method, first.path, first.query) == (1, "POST", "/a b", {"x": "1,2", "y": ""})
        assert (first.json, first.headers["x-y"], first.body) == ({"k": 1}, "z", b'{"k": 1}')
        assert (second.number, second.method, second.json) == (2, "GET", None)

    def test_uses_the_fault_injected_first_until_it_is_used_up(self, echo: Echo) -> None:
        def statuses(count: int, path: str = "/x") -> list[int]:
            return [requests.get(echo.url + path, timeout=5).status_code for _ in range(count)]

        echo.inject(Fault.status(503), times=2)
        echo.inject(Fault.status(429), calls("GET", "/x"))
        assert statuses(4) == [503, 503, 429, 429]
        assert statuses(1, path="/y") == [200]
        echo.heal()
        assert statuses(1) == [200]

    def test_latency_is_added_to_every_answer_side_by_side(self, echo: Echo) -> None:
        echo.latency = 0.5
        started = time.monotonic()
        threads = [threading.Thread(target=requests.get, args=(echo.url,), kwargs={"timeout": 60}) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 0.5 <= time.monotonic() - started < 8 * 0.5, "and not one after the other"

    def test_can_be_unreachable_and_come_back_on_its_port(self, echo: Echo) -> None:
        port = echo.port
        with requests.Session() as session:
            assert session.get(echo.url, timeout=5).status_code == 200
            echo.stop_listening()
            for _ in range(2):
                with pytest.raises(requests.ConnectionError, match="refused"):
                    session.get(echo.url, timeout=5)
            echo.start_listening()
            assert session.get(echo.url, timeout=5).json() == {"number": 2}
        assert echo.port == port

    @pytest.mark.parametrize("fault", [Fault.hang(), Fault.late(60)], ids=["hang", "late"])
    def test_stop_is_prompt_and_releases_whoever_waits(self, fault: Fault) -> None:
        ended: list[type[Exception]] = []

        def call(url: str) -> None:
            try:
                requests.get(url, timeout=30)
            except requests.RequestException as err:
                ended.append(type(err))

        echo = Echo().start()
        idle = socket.create_connection(("127.0.0.1", echo.port))
        echo.inject(fault)
        caller = threading.Thread(target=call, args=(echo.url,))
        received = threading.Event()
        echo.before.append(lambda _: received.set())
        caller.start()
        assert received.wait(5)
        echo.stop()
        caller.join(20)
        assert ended == [requests.ConnectionError], "long before the fault is over, or the client's patience"
        assert idle.recv(1) == b""
        idle.close()

    def test_a_hook_can_hold_one_request_before_and_after_it_is_served(self, slack: FakeSlack) -> None:
        """What the tests need that kill keycheck at a chosen moment."""
        served, release, seen = threading.Event(), threading.Event(), []

        def before(request: Request) -> None:
            seen.append((request.number, len(slack.messages)))

        def after(request: Request) -> None:
            if request.json["channel"] == "U1":
                served.set()
                assert release.wait(5)

        slack.before.append(before)
        slack.after.append(after)
        held = threading.Thread(target=web_client(slack).chat_postMessage, kwargs={"channel": "U1", "text": "held"})
        held.start()
        assert served.wait(5)
        web_client(slack).chat_postMessage(channel="U2", text="not held")
        assert [message.channel for message in slack.messages] == ["U1", "U2"]
        assert held.is_alive()
        release.set()
        held.join(5)
        assert seen == [(1, 0), (2, 1)]

    def test_a_client_that_goes_away_is_silent(self, echo: Echo, capfd: pytest.CaptureFixture[str]) -> None:
        echo.latency = 0.05
        for request in (b"GET / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{", b"GE"):
            with socket.create_connection(("127.0.0.1", echo.port)) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close with a reset
                client.sendall(request)
                time.sleep(0.02)
        assert requests.get(echo.url, timeout=5).status_code == 200
        assert capfd.readouterr().err == ""

    def test_a_mistake_in_a_hook_is_not_silent(self, echo: Echo, capfd: pytest.CaptureFixture[str]) -> None:
        def mistaken(_: Request) -> None:
            raise ZeroDivisionError

        echo.after.append(mistaken)
        answer = requests.get(echo.url, timeout=5)
        assert (answer.status_code, "ZeroDivisionError" in answer.text) == (500, True)
        assert "ZeroDivisionError" in capfd.readouterr().err


class TestSlack:
    def test_accepts_and_keeps_a_message(self, slack: FakeSlack) -> None:
        blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "Hello"}}]
        answer = web_client(slack).chat_postMessage(channel="U024BE7LH", text="Hello", blocks=blocks)
        assert (answer["ok"], answer["channel"], answer["message"]["text"]) == (True, "D024BE7LH", "Hello")
        assert answer["message"]["blocks"] == blocks
        (message,) = slack.messages_to("U024BE7LH")
        assert (message.text, message.blocks) == ("Hello", tuple(blocks))
        assert abs(message.at - datetime.now(UTC)) < timedelta(seconds=5)
        assert answer["ts"] == f"{message.at.timestamp():.6f}"
        assert slack.messages_to("U1") == []

    def test_reads_a_form_too(self, slack: FakeSlack) -> None:
        form = {"token": SLACK_TOKEN, "channel": "C1", "blocks": '[{"type": "divider"}]'}
        assert requests.post(f"{slack.base_url}chat.postMessage", data=form, timeout=5).json()["channel"] == "C1"
        assert slack.messages[0].blocks == ({"type": "divider"},)

    @pytest.mark.parametrize(
        ("message", "error"),
        [
            ({"text": "x", "channel": "U0GONE"}, "channel_not_found"),
            ({"text": "x", "channel": "U0LEFT"}, "user_disabled"),
            ({"text": ""}, "no_text"),
            ({"text": "x" * 40_001}, "msg_too_long"),
            ({"text": "x", "blocks": [{"type": "divider"}] * 51}, "invalid_blocks"),
            ({"text": "x", "blocks": [{"type": "section"}]}, "invalid_blocks"),
            ({"text": "x", "blocks": [{"type": "no such"}]}, "invalid_blocks"),
            ({"text": "x", "blocks": [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}]}, "invalid_blocks"),
            (
                {"text": "x", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 2800}}] * 5},
                "msg_blocks_too_long",
            ),
        ],
        ids=["unknown", "refused", "no text", "text", "51 blocks", "empty block", "odd block", "header", "in all"],
    )
    @pytest.mark.filterwarnings("ignore:The top-level `text` argument is missing")
    def test_refuses_what_slack_refuses(self, slack: FakeSlack, message: dict[str, Any], error: str) -> None:
        slack.unknown.add("U0GONE")
        slack.refuse("U0LEFT", "user_disabled")
        with pytest.raises(SlackApiError) as caught:
            web_client(slack).chat_postMessage(**{"channel": "U1", **message})
        assert (caught.value.response["error"], caught.value.response.status_code) == (error, 200)
        assert slack.messages == []

    def test_says_where_a_block_is_too_long(self, slack: FakeSlack) -> None:
        def section(length: int) -> dict[str, Any]:
            return {"type": "section", "text": {"type": "mrkdwn", "text": "x" * length}}

        web_client(slack).chat_postMessage(channel="U1", text="x", blocks=[section(3000)])
        with pytest.raises(SlackApiError) as caught:
            web_client(slack).chat_postMessage(channel="U1", text="x", blocks=[section(3000), section(3001)])
        assert caught.value.response["errors"] == [
            "must be less than 3001 characters [json-pointer:/blocks/1/text/text]"
        ]

    @pytest.mark.parametrize(("token", "error"), [(None, "not_authed"), ("xoxb-revoked", "invalid_auth")])
    def test_refuses_a_wrong_token(self, slack: FakeSlack, token: str | None, error: str) -> None:
        with pytest.raises(SlackApiError) as caught:
            web_client(slack, token).chat_postMessage(channel="U1", text="x")
        assert caught.value.response["error"] == error

    def test_knows_no_other_method(self, slack: FakeSlack) -> None:
        with pytest.raises(SlackApiError) as caught:
            web_client(slack).users_list()
        assert caught.value.response["error"] == "unknown_method"

    def test_heals_a_refused_addressee(self, slack: FakeSlack) -> None:
        slack.refuse("U1", "is_archived")
        slack.inject(Fault.status(500))
        slack.heal()
        web_client(slack).chat_postMessage(channel="U1", text="x")
        assert len(slack.messages) == 1

    def test_can_limit_the_rate_of_one_channel(self, slack: FakeSlack) -> None:
        slack.rate_per_channel_seconds = 1
        client = web_client(slack)
        client.chat_postMessage(channel="U1", text="first")
        client.chat_postMessage(channel="U2", text="to another")
        with pytest.raises(SlackApiError) as caught:
            client.chat_postMessage(channel="U1", text="too soon")
        assert (caught.value.response.status_code, caught.value.response.headers["Retry-After"]) == (429, "1")
        slack.move_back(timedelta(seconds=1))
        client.chat_postMessage(channel="U1", text="second")
        assert [message.text for message in slack.messages] == ["first", "to another", "second"]

    def test_a_rate_limit_is_waited_out_by_the_clients_own_handler(self, slack: FakeSlack) -> None:
        slack.inject(rate_limited(0), times=1)
        client = web_client(slack)
        client.retry_handlers = [RateLimitErrorRetryHandler(max_retry_count=1)]
        client.chat_postMessage(channel="U1", text="x")
        assert (posts(slack), len(slack.messages)) == (2, 1)

    def test_ages_its_messages(self, slack: FakeSlack) -> None:
        web_client(slack).chat_postMessage(channel="U1", text="x")
        slack.move_back(timedelta(hours=24))
        assert timedelta(hours=24) <= datetime.now(UTC) - slack.messages[0].at < timedelta(hours=24, seconds=5)

    @pytest.mark.parametrize(
        ("fault", "raised", "accepted"),
        [
            (Fault.status(500), SlackApiError, 0),
            (Fault.html(200), SlackApiError, 0),
            (Fault.html(503), SlackApiError, 0),
            (ok_false("fatal_error"), SlackApiError, 0),
            (rate_limited(30), SlackApiError, 0),
            (Fault.drop_before_serving(), http.client.RemoteDisconnected, 0),
            (Fault.drop_after_serving(), http.client.RemoteDisconnected, 1),
            (Fault.late(60), TimeoutError, 1),
            (Fault.hang(), TimeoutError, 0),
        ],
        ids=["500", "html", "html 503", "ok false", "429", "drop before", "drop after", "late", "hang"],
    )
    def test_a_fault_as_slack_sdk_sees_it(
        self, slack: FakeSlack, fault: Fault, raised: type[Exception], accepted: int
    ) -> None:
        slack.inject(fault, times=1)
        with pytest.raises(raised):
            web_client(slack, timeout=SOON if fault.wait_seconds else 20).chat_postMessage(channel="U1", text="x")
        wait_until_served(slack, accepted)
        assert (posts(slack), len(slack.messages)) == (1, accepted)

    def test_the_default_client_sends_twice_after_a_drop(self, slack: FakeSlack) -> None:
        """Why keycheck sets retry_handlers. (Only the pause before the second POST is not the default here.)"""
        slack.inject(Fault.drop_after_serving(), times=1)
        client = WebClient(SLACK_TOKEN, base_url=slack.base_url)
        (handler,) = client.retry_handlers
        assert isinstance(handler, ConnectionErrorRetryHandler)
        no_pause = FixedValueRetryIntervalCalculator(fixed_internal=0)
        client.retry_handlers = [ConnectionErrorRetryHandler(handler.max_retry_count, no_pause)]
        client.chat_postMessage(channel="U1", text="x")
        assert len(slack.messages_to("U1")) == 2

    def test_unreachable_as_slack_sdk_sees_it(self, slack: FakeSlack) -> None:
        slack.stop_listening()
        with pytest.raises(URLError, match="refused"):
            web_client(slack).chat_postMessage(channel="U1", text="x")

    def test_renders_a_message_as_a_person_sees_it(self) -> None:
        blocks: tuple[dict[str, Any], ...] = (
            {"type": "header", "text": {"type": "plain_text", "text": "Rotate your access key"}},
            {
                "type": "section",
                "text": {
                    "type": "mrkdwn",
                    "text": "*VHXVM* of `R&amp;D` is 197 days old (&gt; 180), see <https://x.test/browse/SEC-1|SEC-1>.",
                },
            },
            {
                "type": "section",
                "fields": [
                    {"type": "mrkdwn", "text": "*Owner*\n<@U024BE7LH>"},
                    {"type": "plain_text", "text": "2026-11-23"},
                ],
            },
            {"type": "divider"},
            {
                "type": "section",
                "text": {"type": "mrkdwn", "text": "```aws iam create-access-key --user-name &lt;name&gt;```"},
            },
            {
                "type": "actions",
                "elements": [
                    {"type": "button", "text": {"type": "plain_text", "text": "Open"}, "url": "https://x.test"}
                ],
            },
            {"type": "context", "elements": [{"type": "mrkdwn", "text": "Sent by keycheck, <https://k.test>"}]},
        )
        assert render_message(Message("U1", "fallback", blocks, datetime.now(UTC))) == (
            "Rotate your access key\n"
            "\n"
            "*VHXVM* of `R&D` is 197 days old (> 180), see SEC-1 (https://x.test/browse/SEC-1).\n"
            "\n"
            "*Owner*\n"
            "@U024BE7LH\n"
            "2026-11-23\n"
            "\n"
            "---\n"
            "\n"
            "```aws iam create-access-key --user-name <name>```\n"
            "\n"
            "[Open] (https://x.test)\n"
            "\n"
            "Sent by keycheck, https://k.test"
        )
        assert render_message(Message("U1", "a &lt;b&gt; &amp;lt;", (), datetime.now(UTC))) == "a <b> &lt;"


class TestJira:
    def test_creates_reads_and_finds_an_issue(self, jira: FakeJira, connect: Callable[..., JIRA]) -> None:
        client = connect(jira)
        assert client.myself()["emailAddress"] == CREDENTIALS["email"]
        assert create(client, priority={"name": "High"}) == "SEC-1"
        assert posts(jira) == 1
        issue = client.issue("SEC-1")
        assert (issue.id, issue.fields.summary) == ("10001", "Rotate the access key of dev_kramer")
        assert (issue.fields.status.name, issue.fields.status.statusCategory.key) == ("To Do", "new")
        assert (issue.fields.priority.name, client.issue("10001").key) == ("High", "SEC-1")
        assert found(client) == ["SEC-1"]
        assert found(client, 'project = SEC and labels = "keycheck-0123456789abcdef" ORDER BY created DESC') == [
            "SEC-1"
        ]
        assert found(client, 'project = "SEC" AND labels = "keycheck-0"') == []
        kept = jira.issues["SEC-1"]
        assert (kept.project, kept.issue_type, kept.fields) == ("SEC", "Task", {"priority": {"name": "High"}})

    def test_tells_its_flavour_to_anybody(self, jira: FakeJira, connect: Callable[..., JIRA]) -> None:
        client = connect(jira, basic_auth=None)
        assert (client._is_cloud, client._version) == ((True, (1001, 0, 0)), (False, (9, 12, 0)))[
            jira.flavour == "server"
        ]

    def test_follows_an_issue_through_its_statuses(self, jira: FakeJira, connect: Callable[..., JIRA]) -> None:
        client = connect(jira)
        create(client)
        jira.transition("SEC-1", "In Progress")
        assert client.issue("SEC-1").fields.status.statusCategory.key == "indeterminate"
        assert found(client) == ["SEC-1"]
        client.transition_issue("SEC-1", "Done", comment="rotated")
        assert client.issue("SEC-1").fields.status.statusCategory.key == "done"
        assert found(client) == []
        client.add_comment("SEC-1", "thanks")
        assert [comment.body for comment in client.comments("SEC-1")] == ["rotated", "thanks"]
        assert [change.status for change in jira.issues["SEC-1"].transitions] == ["To Do", "In Progress", "Done"]
        assert jira.issues["SEC-1"].category == "done"

    def test_offers_the_transitions_that_the_workflow_allows(
        self, jira: FakeJira, connect: Callable[..., JIRA]
    ) -> None:
        client = connect(jira)
        create(client)
        offered = {one["name"]: one["id"] for one in client.transitions("SEC-1")}
        assert list(offered) == ["To Do", "In Progress", "Done"]
        jira.allowed_transitions = {"In Progress"}
        assert [one["to"]["statusCategory"]["key"] for one in client.transitions("SEC-1")] == ["indeterminate"]
        with pytest.raises(JIRAError, match="is not valid for this issue") as caught:
            client.transition_issue("SEC-1", offered["Done"])
        assert caught.value.status_code == 400
        client.transition_issue("SEC-1", offered["In Progress"])
        assert jira.issues["SEC-1"].status == "In Progress"
        jira.transition("SEC-1", "Done")
        assert jira.issues["SEC-1"].status == "Done"

    def test_a_transition_can_want_a_field(self, jira: FakeJira, connect: Callable[..., JIRA]) -> None:
        jira.required_on_transition = {"Done": {"resolution": "Resolution is required."}}
        client = connect(jira)
        create(client)
        with pytest.raises(JIRAError, match="Resolution is required") as caught:
            client.transition_issue("SEC-1", "Done")
        assert (caught.value.status_code, jira.issues["SEC-1"].status) == (400, "To Do")
        client.transition_issue("SEC-1", "In Progress")
        client.transition_issue("SEC-1", "Done", fields={"resolution": {"name": "Fixed"}})
        assert jira.issues["SEC-1"].status == "Done"

    def test_gives_comments_in_pages(self, jira: FakeJira, connect: Callable[..., JIRA]) -> None:
        client = connect(jira)
        create(client)
        for number in range(5):
            client.add_comment("SEC-1", f"{number}")
        assert len(client.comments("SEC-1")) == 5
        assert [one.body for one in client.comments("SEC-1", start_at=1, max_results=2)] == ["1", "2"]
        jira.page_size = 3
        assert [one.body for one in client.comments("SEC-1", start_at=3, max_results=100)] == ["3", "4"]
        page = client._get_json("issue/SEC-1/comment", params={"startAt": 5})
        assert page == {"startAt": 5, "maxResults": 3, "total": 5, "comments": []}
        assert len(client.issue("SEC-1").fields.comment.comments) == 5
        with pytest.raises(JIRAError) as caught:
            client._get_json("issue/SEC-1/comment", params={"startAt": "x"})
        assert caught.value.status_code == 400

    def test_assigns_an_issue_to_whom_it_knows(self, jira: FakeJira, connect: Callable[..., JIRA]) -> None:
        jira.users = [{"email": "kramer@acme.test", "account_id": "5b10", "name": "kramer"}, {"email": "b@acme.test"}]
        client = connect(jira)
        create(client)
        assert client.issue("SEC-1").fields.assignee is None
        assert client.assign_issue("SEC-1", "kramer@acme.test")
        assert jira.issues["SEC-1"].assignee == "kramer@acme.test"
        shown = client.issue("SEC-1").raw["fields"]["assignee"]
        assert shown[{"cloud": "accountId", "server": "name"}[jira.flavour]] in ("5b10", "kramer")
        assert shown["emailAddress"] == "kramer@acme.test"
        assert client.assign_issue("SEC-1", "b@acme.test")
        assert jira.issues["SEC-1"].assignee == "b@acme.test"
        assert client.assign_issue("SEC-1", None)
        assert jira.issues["SEC-1"].assignee is None

    @pytest.mark.parametrize(
        ("user", "statuses"),
        [
            ({"email": "x@acme.test", "active": False}, {"cloud": 400, "server": 400}),
            ({"email": "x@acme.test", "assignable": False}, {"cloud": 400, "server": 400}),
            (None, {"cloud": 404, "server": 400}),
        ],
        ids=["inactive", "not assignable", "unknown"],
    )
    def test_refuses_an_assignee(
        self,
        jira: FakeJira,
        connect: Callable[..., JIRA],
        user: dict[str, Any] | None,
        statuses: dict[Flavour, int],
    ) -> None:
        named = {"accountId": "5b10", "name": "x"}
        jira.users = [{"account_id": "5b10", "name": "x", **user}] if user else []
        client = connect(jira)
        create(client)
        with pytest.raises(JIRAError) as caught:
            client._session.put(client._get_url("issue/SEC-1/assignee"), json=named)
        assert (caught.value.status_code, jira.issues["SEC-1"].assignee) == (statuses[jira.flavour], None)

    def test_finds_users_by_how_their_address_begins(self, jira: FakeJira, connect: Callable[..., JIRA]) -> None:
        """And by the parameter of its kind only."""
        jira.users = [{"email": f"{name}@acme.test"} for name in ("Kramer", "kramer.b", "b")]
        jira.users.append({"email": "kramer@acme.test.au", "active": False})
        ours, others = ("query", "username") if jira.flavour == "cloud" else ("username", "query")
        client = connect(jira)
        path = "user/search"
        found_users = client._get_json(path, params={ours: "KRAMER@acme.test"})
        assert [(user["emailAddress"], user["active"]) for user in found_users] == [
            ("Kramer@acme.test", True),
            ("kramer@acme.test.au", False),
        ]
        assert len(client._get_json(path, params={ours: "kramer", "startAt": 1, "maxResults": 1})) == 1
        jira.hides_emails = True
        hidden = client._get_json(path, params={ours: "b@acme.test"})
        assert [("emailAddress" in user, user["active"]) for user in hidden] == [(False, True)]
        for odd in ({others: "b@acme.test"}, {ours: "b", "maxResults": "x"}):
            with pytest.raises(JIRAError) as caught:
                client._get_json(path, params=odd)
            assert caught.value.status_code == 400

    def test_forgets_a_deleted_issue(self, jira: FakeJira, connect: Callable[..., JIRA]) -> None:
        client = connect(jira)
        create(client)
        jira.delete("SEC-1")
        with pytest.raises(JIRAError) as caught:
            client.issue("SEC-1")
        assert (caught.value.status_code, caught.value.text) == (
            404,
            "Issue does not exist or you do not have permission to see it."
            if jira.flavour == "cloud"
            else "Issue Does Not Exist",
        )
        assert found(client) == []
        assert create(client) == "SEC-2"

    def test_can_close_issues_at_once(self, jira: FakeJira, connect: Callable[..., JIRA]) -> None:
        jira.auto_close = True
        client = connect(jira)
        create(client)
        assert (client.issue("SEC-1").fields.status.name, found(client)) == ("Done", [])

    def test_gives_a_search_in_pages(self, jira: FakeJira, connect: Callable[..., JIRA]) -> None:
        jira.page_size = 2
        client = connect(jira, logging=False)
        for _ in range(5):
            create(client)
        assert found(client) == ["SEC-5", "SEC-4", "SEC-3", "SEC-2", "SEC-1"]
        assert sum("/search" in request.path for request in jira.requests) == 3

    def test_the_search_lags_and_a_get_does_not(self, jira: FakeJira, connect: Callable[..., JIRA]) -> None:
        jira.search_lag_seconds = 60
        client = connect(jira)
        create(client)
        assert (client.issue("SEC-1").key, found(client)) == ("SEC-1", [])
        jira.move_back(timedelta(seconds=60))
        assert found(client) == ["SEC-1"]
        jira.transition("SEC-1", "Done")
        assert (client.issue("SEC-1").fields.status.name, found(client)) == ("Done", ["SEC-1"])
        jira.move_back(timedelta(seconds=60))
        assert found(client) == []
        assert jira.issues["SEC-1"].created <= datetime.now(UTC) - timedelta(seconds=120)

    @pytest.mark.parametrize(
        ("changes", "errors"),
        [
            (
                {"issuetype": {"name": "Story 2"}, "project": {"key": "NOPE"}},
                {"project": "Specify a valid project ID or key", "issuetype": "Specify a valid issue type"},
            ),
            ({"summary": None}, {"summary": "You must specify a summary of the issue."}),
            ({"summary": "x" * 256}, {"summary": "Summary must be less than 255 characters."}),
            ({"summary": "a\nb"}, {"summary": "The summary is invalid because it contains newline characters."}),
            ({"labels": ["a b"]}, {"labels": "The label 'a b' contains spaces which is invalid."}),
            ({"customfield_10010": None}, {"customfield_10010": "Team is required."}),
            (
                {"description": "x" * 32_768},
                {"description": "The entered text is too long. It exceeds the allowed limit of 32,767 characters."},
            ),
        ],
        ids=["project and type", "no summary", "long summary", "newline", "label", "required field", "description"],
    )
    def test_refuses_an_issue_and_names_the_fields(
        self, cloud: FakeJira, connect: Callable[..., JIRA], changes: dict[str, Any], errors: dict[str, str]
    ) -> None:
        cloud.required_fields["customfield_10010"] = "Team is required."
        with pytest.raises(JIRAError) as caught:
            create(connect(cloud), **({"customfield_10010": {"value": "SRE"}} | changes))
        assert caught.value.response is not None
        assert caught.value.response.json() == {"errorMessages": [], "errors": errors}
        assert (caught.value.status_code, caught.value.text) == (400, ", ".join(errors.values()))
        assert cloud.issues == {}

    @pytest.mark.parametrize(
        "jql",
        [
            'description ~ "VHXVM"',
            'labels = "a" OR labels = "b"',
            'labels != "a"',
            "statusCategory = Done",
            'labels = "a" AND',
            'labels = "a',
            'project = "NOPE"',
        ],
    )
    def test_refuses_a_query_that_it_does_not_know(
        self, jira: FakeJira, connect: Callable[..., JIRA], jql: str
    ) -> None:
        with pytest.raises(JIRAError) as caught:
            found(connect(jira), jql)
        assert caught.value.status_code == 400

    def test_reads_a_quoted_value(self, jira: FakeJira, connect: Callable[..., JIRA]) -> None:
        client = connect(jira)
        create(client, labels=['a"AND\\b'])
        assert found(client, 'labels = "a\\"AND\\\\b" and statusCategory != "Done"') == ["SEC-1"]


class TestJiraCloud:
    def test_has_no_old_search(self, cloud: FakeJira, connect: Callable[..., JIRA]) -> None:
        """What python-jira runs into with get_server_info=False."""
        with pytest.raises(JIRAError, match="The requested API has been removed") as caught:
            found(connect(cloud, get_server_info=False))
        assert caught.value.status_code == 410

    @pytest.mark.parametrize("jql", ["", "ORDER BY created"])
    def test_refuses_an_unbounded_query(self, cloud: FakeJira, connect: Callable[..., JIRA], jql: str) -> None:
        with pytest.raises(JIRAError, match="Unbounded JQL queries are not allowed here") as caught:
            found(connect(cloud), jql)
        assert caught.value.status_code == 400

    def test_a_search_without_fields_gives_ids_and_no_keys(self, cloud: FakeJira, connect: Callable[..., JIRA]) -> None:
        client = connect(cloud)
        create(client)
        result = client.enhanced_search_issues("project = SEC", fields=[])
        assert [issue.raw for issue in result] == [{"id": "10001"}]
        with pytest.raises(AttributeError):
            _ = result[0].key

    @pytest.mark.parametrize("version", ["2", "3", "latest"])
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_search_by_both_methods_in_all_versions(self, cloud: FakeJira, version: str, method: str) -> None:
        auth = (CREDENTIALS["email"], CREDENTIALS["token"])
        for _ in range(2):
            requests.post(f"{cloud.url}/rest/api/2/issue", json={"fields": new_issue()}, auth=auth, timeout=5)
        url = f"{cloud.url}/rest/api/{version}/search/jql"
        asked: dict[str, Any] = {"jql": "project = SEC", "maxResults": 1, "fields": ["summary", "labels"]}
        keys, pages = [], 0
        while True:
            how: dict[str, Any] = {"params": asked} if method == "GET" else {"json": asked}
            page = requests.request(method, url, auth=auth, timeout=5, **how).json()
            pages += 1
            keys += [(issue["key"], sorted(issue["fields"])) for issue in page["issues"]]
            if page["isLast"]:
                break
            asked["nextPageToken"] = page["nextPageToken"]
        assert "nextPageToken" not in page
        assert (keys, pages) == ([("SEC-2", ["labels", "summary"]), ("SEC-1", ["labels", "summary"])], 2)

    def test_a_lagging_search_can_be_told_which_issues_to_look_at(
        self, cloud: FakeJira, connect: Callable[..., JIRA]
    ) -> None:
        cloud.search_lag_seconds = 60
        client = connect(cloud)
        create(client)
        create(client)
        result = client.enhanced_search_issues("project = SEC", fields=["key"], reconcileIssues=[10001])
        assert [issue.key for issue in result] == ["SEC-1"]

    @pytest.mark.parametrize(
        "how",
        [
            {"basic_auth": None},
            {"basic_auth": (CREDENTIALS["email"], "wrong")},
            {"basic_auth": ("other@acme.test", CREDENTIALS["token"])},
            {"token_auth": CREDENTIALS["token"]},
            {},
        ],
        ids=["none", "wrong token", "wrong e-mail", "bearer", "dead token"],
    )
    def test_a_caller_it_does_not_know_sees_an_empty_site(
        self, cloud: FakeJira, connect: Callable[..., JIRA], how: dict[str, Any]
    ) -> None:
        create(connect(cloud))
        if not how:
            cloud.dead_token()
        client = connect(cloud, **how)
        assert found(client) == []
        statuses = []
        for call in (client.myself, lambda: client.issue("SEC-1"), lambda: create(client)):
            with pytest.raises(JIRAError) as caught:
                call()
            statuses.append(caught.value.status_code)
        assert statuses == [401, 404, 401]
        cloud.revive_token()
        assert found(connect(cloud)) == ["SEC-1"]

    def test_writing_in_version_3_is_refused(self, cloud: FakeJira) -> None:
        """There, text is a document and not a string."""
        auth = (CREDENTIALS["email"], CREDENTIALS["token"])
        answer = requests.post(f"{cloud.url}/rest/api/3/issue", json={"fields": new_issue()}, auth=auth, timeout=5)
        assert answer.status_code == 400


class TestJiraServer:
    @pytest.fixture
    def server(self) -> Iterator[FakeJira]:
        with FakeJira("server", CREDENTIALS) as server:
            yield server

    def test_takes_the_token_alone(self, server: FakeJira, connect: Callable[..., JIRA]) -> None:
        client = connect(server, token_auth=CREDENTIALS["token"])
        create(client)
        assert found(client) == ["SEC-1"]

    @pytest.mark.parametrize(
        "how", [{"basic_auth": None}, {"token_auth": "wrong"}, {}], ids=["none", "wrong token", "dead token"]
    )
    def test_refuses_a_caller_it_does_not_know(
        self, server: FakeJira, connect: Callable[..., JIRA], how: dict[str, Any]
    ) -> None:
        if not how:
            server.dead_token()
        client = connect(server, **how)
        for call in (client.myself, lambda: client.issue("SEC-1"), lambda: create(client), lambda: found(client)):
            with pytest.raises(JIRAError) as caught:
                call()
            assert caught.value.status_code == 401

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_counts_what_it_found_and_has_no_new_search(self, server: FakeJira, method: str) -> None:
        auth = (CREDENTIALS["email"], CREDENTIALS["token"])
        for _ in range(3):
            requests.post(f"{server.url}/rest/api/2/issue", json={"fields": new_issue()}, auth=auth, timeout=5)
        asked = {"jql": "", "startAt": 1, "maxResults": 1, "fields": "key"}
        how: dict[str, Any] = {"params": asked} if method == "GET" else {"json": asked | {"fields": ["key"]}}
        answer = requests.request(method, f"{server.url}/rest/api/2/search", auth=auth, timeout=5, **how).json()
        issues = answer.pop("issues")
        assert answer == {"startAt": 1, "maxResults": 1, "total": 3}
        assert [(issue["key"], issue["fields"]) for issue in issues] == [("SEC-2", None)]
        new = requests.request(method, f"{server.url}/rest/api/2/search/jql", auth=auth, timeout=5, **how)
        assert new.status_code == 404


class TestJiraFaults:
    @pytest.mark.parametrize(
        ("fault", "seen", "created"),
        [
            (Fault.status(500, {"errorMessages": ["Oops"]}), (JIRAError, 500), 0),
            (Fault.status(503, headers={"Retry-After": "1"}), (JIRAError, 503), 0),
            (Fault.status(429, headers={"Retry-After": "1"}), (JIRAError, 429), 0),
            (Fault.html(502), (JIRAError, 502), 0),
            (Fault.html(200), (requests.JSONDecodeError, None), 0),
            (Fault.drop_before_serving(), (requests.ConnectionError, None), 0),
            (Fault.drop_after_serving(), (requests.ConnectionError, None), 1),
            (Fault.late(60), (requests.ReadTimeout, None), 1),
            (Fault.hang(), (requests.ReadTimeout, None), 0),
        ],
        ids=["500", "503", "429", "html 502", "html", "drop before", "drop after", "late", "hang"],
    )
    def test_a_fault_as_python_jira_sees_it(
        self,
        cloud: FakeJira,
        connect: Callable[..., JIRA],
        fault: Fault,
        seen: tuple[type[Exception], int | None],
        created: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        raised, status = seen
        cloud.inject(fault, calls("POST", "/issue"), times=1)
        be_impatient(cloud, monkeypatch)
        client = connect(cloud)
        with pytest.raises(raised) as caught:
            create(client)
        assert getattr(caught.value, "status_code", None) == status
        assert (posts(cloud), len(cloud.issues)) == (1, created)
        assert len(found(client)) == created

    def test_unreachable_as_python_jira_sees_it(self, cloud: FakeJira, connect: Callable[..., JIRA]) -> None:
        client = connect(cloud)
        cloud.stop_listening()
        with pytest.raises(requests.ConnectionError, match="refused"):
            client.issue("SEC-1")
        with pytest.raises(requests.ConnectionError, match="refused"):
            connect(cloud)
        cloud.start_listening()
        assert create(client) == "SEC-1"


def test_renders_an_issue(cloud: FakeJira, connect: Callable[..., JIRA]) -> None:
    client = connect(cloud)
    create(client, description="h2. Rotate\n\n{code}\naws iam list-access-keys\n{code}\n")
    create(client, description=None, labels=None)
    cloud.transition("SEC-2", "In Progress")
    assert render_issue(cloud.issues["SEC-1"]) == (
        "SEC-1  Task  [To Do]\n"
        "labels: AWS-User-Key-Rotation, keycheck-0123456789abcdef\n"
        "Rotate the access key of dev_kramer\n"
        "\n"
        "h2. Rotate\n"
        "\n"
        "{code}\n"
        "aws iam list-access-keys\n"
        "{code}"
    )
    assert render_issue(cloud.issues["SEC-2"]) == (
        "SEC-2  Task  [In Progress]\nlabels: none\nRotate the access key of dev_kramer"
    )


def test_renders_who_has_an_issue_and_what_was_said(cloud: FakeJira, connect: Callable[..., JIRA]) -> None:
    cloud.users = [{"email": "kramer@acme.test"}]
    client = connect(cloud)
    create(client, labels=None)
    client.assign_issue("SEC-1", "kramer@acme.test")
    client.add_comment("SEC-1", "It was disabled.\n")
    client.add_comment("SEC-1", "Thanks,\n\nKramer")
    assert render_issue(cloud.issues["SEC-1"]) == (
        "SEC-1  Task  [To Do]\n"
        "labels: none\n"
        "assignee: kramer@acme.test\n"
        "Rotate the access key of dev_kramer\n"
        "\n"
        "It is 197 days old.\n"
        "\n"
        "comment:\n"
        "It was disabled.\n"
        "\n"
        "comment:\n"
        "Thanks,\n"
        "\n"
        "Kramer"
    )
