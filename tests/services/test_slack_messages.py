"""One message to Slack, and each way it can fail: how many POSTs were made, and whether it may have arrived.

slack_sdk itself, over real sockets, against the sandbox's Slack (design.md 4, "Three outcomes").
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from keycheck.clock import RunClock, Stopped
from keycheck.services import Failure, ServiceError, slack_messages
from keycheck.services.slack_errors import SLACK_ERRORS, About, slack_error
from keycheck.services.slack_messages import SlackMessages
from keycheck.words.message import SlackDraft
from keycheck.words.parts import WHY_GONE
from sandbox.fake_slack import FakeSlack, ok_false, rate_limited
from sandbox.http_fake import Fault
from tests.builders import PatientClock
from tests.impatience import SOON, wait_until_served

TOKEN = "xoxb-invented-slack-token"
OWNER = "U012KRAMER"
DRAFT = SlackDraft(
    "1 AWS access key", ({"type": "section", "text": {"type": "mrkdwn", "text": "*1* `AWS` access key"}},)
)
LATIN_PAGE = "<html><body>Temporairement d\u00e9sactiv\u00e9</body></html>".encode("latin-1")


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with FakeSlack({TOKEN}) as server:
        yield server


@pytest.fixture
def clock() -> PatientClock:
    return PatientClock()


@pytest.fixture
def messages(slack: FakeSlack, clock: PatientClock) -> SlackMessages:
    return SlackMessages(TOKEN, slack.base_url, clock)


def failed(send: Callable[[], object]) -> ServiceError:
    """The ServiceError that a message ends in; nothing about it, or about what it came from, holds the token."""
    with pytest.raises(ServiceError) as caught:
        send()
    error: BaseException | None = caught.value
    while error is not None:
        assert TOKEN not in f"{error} {error!r} {error.args}"
        error = error.__cause__ or error.__context__
    assert caught.value.service == "Slack"
    return caught.value


# Sent


def test_a_message_is_posted_once_with_its_text_and_blocks(slack: FakeSlack, messages: SlackMessages) -> None:
    messages.send(OWNER, DRAFT)
    (message,) = slack.messages
    assert (message.channel, message.text, message.blocks) == (OWNER, DRAFT.text, DRAFT.blocks)
    (request,) = slack.requests
    assert request.json["unfurl_links"] is False
    assert request.json["unfurl_media"] is False


@pytest.mark.parametrize("ending", ["", "/"], ids=["without a slash", "with one"])
def test_an_address_is_taken_with_and_without_a_slash_at_its_end(
    slack: FakeSlack, clock: PatientClock, ending: str
) -> None:
    SlackMessages(TOKEN, slack.base_url.rstrip("/") + ending, clock).send(OWNER, DRAFT)
    assert len(slack.messages) == 1


def test_eight_threads_send_one_message_each(slack: FakeSlack, messages: SlackMessages) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: messages.send(f"U{number}", DRAFT), range(16)))
    assert sorted(message.channel for message in slack.messages) == sorted(f"U{number}" for number in range(16))
    assert len(slack.requests) == 16


def test_nothing_is_sent_past_the_deadline(slack: FakeSlack, clock: PatientClock, messages: SlackMessages) -> None:
    clock.set_timeout(0)
    with pytest.raises(Stopped):
        messages.send(OWNER, DRAFT)
    assert slack.requests == []


# Never on the wire: surely not sent


def assert_never_sent(error: ServiceError) -> None:
    assert error.failure is Failure.NO_ANSWER
    assert "no connection to Slack" in error.text
    assert OWNER in error.text


def test_a_refused_connection_is_surely_not_sent(slack: FakeSlack, messages: SlackMessages) -> None:
    slack.stop_listening()
    error = failed(lambda: messages.send(OWNER, DRAFT))
    assert_never_sent(error)
    assert "ConnectionRefusedError" in error.text


def test_an_unknown_host_name_is_surely_not_sent(clock: PatientClock, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    messages = SlackMessages(TOKEN, "https://slack.invalid/api/", clock)
    assert_never_sent(failed(lambda: messages.send(OWNER, DRAFT)))


def test_tls_to_a_port_without_tls_is_surely_not_sent(slack: FakeSlack, clock: PatientClock) -> None:
    messages = SlackMessages(TOKEN, slack.base_url.replace("http://", "https://"), clock)
    assert_never_sent(failed(lambda: messages.send(OWNER, DRAFT)))
    assert slack.messages == []


def test_a_tls_handshake_that_is_cut_is_surely_not_sent(clock: PatientClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def cut() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)

        threading.Thread(target=cut, daemon=True).start()
        messages = SlackMessages(TOKEN, f"https://127.0.0.1:{listener.getsockname()[1]}/api/", clock)
        assert_never_sent(failed(lambda: messages.send(OWNER, DRAFT)))


def test_a_dead_proxy_is_surely_not_sent(
    slack: FakeSlack, clock: PatientClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeSlack(set()) as proxy:
        proxy.stop_listening()
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        messages = SlackMessages(TOKEN, slack.base_url, clock)
        assert_never_sent(failed(lambda: messages.send(OWNER, DRAFT)))
    assert slack.requests == []


# No answer: unknown


@pytest.mark.parametrize(
    ("fault", "arrived"),
    [(Fault.drop_before_serving(), 0), (Fault.drop_after_serving(), 1), (Fault.hang(), 0), (Fault.late(5), 1)],
    ids=["dropped before", "dropped after", "hangs", "too late"],
)
def test_a_message_without_an_answer_may_have_arrived_and_is_posted_once(
    slack: FakeSlack, messages: SlackMessages, monkeypatch: pytest.MonkeyPatch, fault: Fault, arrived: int
) -> None:
    slack.inject(fault)
    if fault.wait_seconds:
        monkeypatch.setattr(slack_messages, "TIMEOUT_SECONDS", SOON)
    error = failed(lambda: messages.send(OWNER, DRAFT))
    wait_until_served(slack, arrived)
    assert error.failure is Failure.UNKNOWN
    assert not error.holds_for_run
    assert "may have arrived" in error.text
    assert (len(slack.requests), len(slack.messages)) == (1, arrived)


# Answers that are not ok: surely not sent


@pytest.mark.parametrize(
    ("fault", "is_server_error"),
    [
        (Fault.html(500), True),
        (Fault.html(503), True),
        (Fault.html(404), False),
        (Fault.html(200), False),
        (Fault.status(500, {"ok": False, "error": "odd_word"}), True),
        (Fault.status(500, {"ok": True}), True),
        (Fault.status(502, None), True),
        (Fault.status(200, None), False),
        (Fault.status(200, {}), False),
        (Fault.status(200, {"ok": "true"}), False),
        (Fault.status(200, {"ok": None}), False),
        (Fault.status(200, []), False),
        (Fault.status(200, ["ok"]), False),
        (Fault.status(502, LATIN_PAGE, {"Content-Type": "text/html"}), True),
        (Fault.status(200, LATIN_PAGE, {"Content-Type": "text/html"}), False),
        (Fault.status(503, "<html></html>", {"Content-Type": "text/html; charset=no-such-charset"}), True),
    ],
    ids=[
        "500 page",
        "503 page",
        "404 page",
        "200 page",
        "500 json",
        "500 that says ok",
        "502 empty",
        "200 empty",
        "200 {}",
        "ok as text",
        "ok null",
        "200 []",
        "200 list",
        "502 latin",
        "200 latin",
        "503 odd charset",
    ],
)
def test_any_answer_that_is_not_ok_is_a_refusal(
    slack: FakeSlack, messages: SlackMessages, fault: Fault, is_server_error: bool
) -> None:
    slack.inject(fault)
    error = failed(lambda: messages.send(OWNER, DRAFT))
    assert error.failure is (Failure.SERVER_ERROR if is_server_error else Failure.REFUSED)
    assert not error.holds_for_run
    assert f"Slack refused the message to {OWNER}" in error.text
    assert (len(slack.requests), slack.messages) == (1, [])


@pytest.mark.parametrize(
    ("status", "failure"),
    [(200, Failure.UNKNOWN), (500, Failure.SERVER_ERROR), (404, Failure.REFUSED), (429, Failure.REFUSED)],
)
def test_an_answer_that_breaks_off_is_judged_by_its_status(
    slack: FakeSlack, messages: SlackMessages, status: int, failure: Failure
) -> None:
    """Only a 200 may have said ok."""
    slack.inject(Fault.status(status, '{"ok"', {"Content-Length": "100", "Connection": "close"}))
    error = failed(lambda: messages.send(OWNER, DRAFT))
    assert error.failure is failure
    assert len(slack.requests) == 1


@pytest.mark.parametrize("status", [200, 500])
def test_a_page_that_is_not_slacks_is_named_by_its_status_and_not_quoted(
    slack: FakeSlack, messages: SlackMessages, status: int
) -> None:
    """A proxy's page may hold anything, and slack_sdk's own sentence about it quotes it."""
    slack.inject(Fault.html(status))
    error = failed(lambda: messages.send(OWNER, DRAFT))
    assert f"HTTP {status}" in error.text
    assert "JSON" not in error.text
    assert "Log" not in error.text


@pytest.mark.parametrize("code", [*SLACK_ERRORS, *sorted(set(WHY_GONE) - set(SLACK_ERRORS)), "a_new_word"])
def test_each_word_of_slacks_costs_what_it_is_about(slack: FakeSlack, messages: SlackMessages, code: str) -> None:
    """Only what is about the token or the workspace turns Slack off; a message that may have arrived counts as sent."""
    meant = slack_error(code)
    slack.inject(ok_false(code), times=1)
    error = failed(lambda: messages.send(OWNER, DRAFT))
    is_about_all = meant.about is About.ALL
    assert (error.code, error.holds_for_run, error.failure) == (code, is_about_all, meant.failure)
    assert code in error.text
    assert meant.advice in error.text
    assert (OWNER in error.text) is not is_about_all
    assert ("counts as sent" in error.text) is (meant.failure is Failure.UNKNOWN)
    if is_about_all:
        for _ in range(3):
            assert failed(lambda: messages.send("U2", DRAFT)).failure is Failure.OFF
    else:
        messages.send("U2", DRAFT)
    assert (len(slack.requests), len(slack.messages)) == ((1, 0) if is_about_all else (2, 1))


@pytest.mark.parametrize("status", [200, 500, 503])
@pytest.mark.parametrize("code", ["internal_error", "fatal_error"])
def test_slacks_word_that_it_may_have_been_done_goes_before_the_status(
    slack: FakeSlack, messages: SlackMessages, code: str, status: int
) -> None:
    slack.inject(Fault.status(status, {"ok": False, "error": code}))
    assert failed(lambda: messages.send(OWNER, DRAFT)).failure is Failure.UNKNOWN


def test_the_table_says_of_each_word_what_the_fallback_channel_is_told() -> None:
    """A message that is refused for good is what rules/ and words/ know as gone."""
    gone = {code for code, meant in SLACK_ERRORS.items() if meant.failure is Failure.GONE}
    assert gone <= set(WHY_GONE)
    assert all(slack_error(code).failure is Failure.GONE for code in WHY_GONE)
    assert {code for code, meant in SLACK_ERRORS.items() if meant.failure is Failure.UNKNOWN} == {
        "fatal_error",
        "internal_error",
    }
    without_advice = {code for code, meant in SLACK_ERRORS.items() if not meant.advice}
    assert without_advice == {"fatal_error", "internal_error"}


def test_a_wrong_token_is_named_as_such(slack: FakeSlack, clock: PatientClock) -> None:
    slack.tokens = {"xoxb-another"}
    error = failed(lambda: SlackMessages(TOKEN, slack.base_url, clock).send(OWNER, DRAFT))
    assert "the bot token is wrong" in error.text


def test_an_error_word_is_shown_without_what_could_spoil_a_line(slack: FakeSlack, messages: SlackMessages) -> None:
    slack.inject(ok_false("odd\nE! forged " + "x" * 200))
    error = failed(lambda: messages.send(OWNER, DRAFT))
    assert "\n" not in error.text
    assert len(error.text) < 200


# 429: not served


def test_a_short_429_is_waited_out(slack: FakeSlack, messages: SlackMessages, clock: PatientClock) -> None:
    slack.inject(rate_limited(1), times=2)
    messages.send(OWNER, DRAFT)
    assert clock.slept == [1, 1]
    assert (len(slack.requests), len(slack.messages)) == (3, 1)


def test_a_429_is_waited_out_by_the_real_clock_too(slack: FakeSlack) -> None:
    slack.inject(rate_limited(0), times=1)
    SlackMessages(TOKEN, slack.base_url, RunClock()).send(OWNER, DRAFT)
    assert (len(slack.requests), len(slack.messages)) == (2, 1)


def test_a_429_is_waited_out_at_most_twice(slack: FakeSlack, messages: SlackMessages, clock: PatientClock) -> None:
    slack.inject(rate_limited(1))
    error = failed(lambda: messages.send(OWNER, DRAFT))
    assert clock.slept == [1, 1]
    assert (error.code, error.failure) == ("429", Failure.REFUSED)
    assert (len(slack.requests), slack.messages) == (3, [])


@pytest.mark.parametrize(
    "fault",
    [
        rate_limited(120),
        Fault.status(429, {"ok": False, "error": "ratelimited"}),
        Fault.status(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "soon"}),
        Fault.html(429),
    ],
    ids=["past the deadline", "no time named", "no number", "a proxy's page"],
)
def test_a_429_that_cannot_be_waited_out_is_refused_at_once(
    slack: FakeSlack, messages: SlackMessages, clock: PatientClock, fault: Fault
) -> None:
    clock.set_timeout(100)
    slack.inject(fault)
    error = failed(lambda: messages.send(OWNER, DRAFT))
    assert clock.slept == []
    assert (error.code, error.failure, error.holds_for_run) == ("429", Failure.REFUSED, False)
    assert "HTTP 429" in error.text
    assert (len(slack.requests), slack.messages) == (1, [])


@pytest.mark.parametrize("name", ["retry-after", "RETRY-AFTER"])
def test_a_retry_after_is_read_however_it_is_spelt(
    slack: FakeSlack, messages: SlackMessages, clock: PatientClock, name: str
) -> None:
    slack.inject(Fault.status(429, {"ok": False}, {name: "1"}), times=1)
    messages.send(OWNER, DRAFT)
    assert clock.slept == [1]


def test_a_429_that_was_waited_out_and_then_lost_may_have_arrived(slack: FakeSlack, messages: SlackMessages) -> None:
    slack.inject(rate_limited(1), times=1)
    slack.inject(Fault.drop_after_serving())
    assert failed(lambda: messages.send(OWNER, DRAFT)).failure is Failure.UNKNOWN
    assert (len(slack.requests), len(slack.messages)) == (2, 1)


# Off for the run


def test_two_silences_in_a_row_turn_slack_off(slack: FakeSlack, messages: SlackMessages) -> None:
    slack.inject(Fault.drop_before_serving())
    kinds = [failed(lambda: messages.send(OWNER, DRAFT)).failure for _ in range(4)]
    assert kinds == [Failure.UNKNOWN, Failure.UNKNOWN, Failure.OFF, Failure.OFF]
    assert len(slack.requests) == 2


def test_refused_connections_are_silences_too(slack: FakeSlack, messages: SlackMessages) -> None:
    slack.stop_listening()
    for _ in range(2):
        failed(lambda: messages.send(OWNER, DRAFT))
    slack.start_listening()
    assert failed(lambda: messages.send(OWNER, DRAFT)).failure is Failure.OFF
    assert slack.requests == []


def test_an_answer_between_two_silences_leaves_slack_on(slack: FakeSlack, messages: SlackMessages) -> None:
    for fault in (Fault.drop_before_serving(), ok_false("is_archived"), Fault.drop_before_serving()):
        slack.inject(fault, times=1)
        failed(lambda: messages.send(OWNER, DRAFT))
    messages.send(OWNER, DRAFT)
    assert (len(slack.requests), len(slack.messages)) == (4, 1)


def test_server_errors_leave_slack_on(slack: FakeSlack, messages: SlackMessages) -> None:
    """A 5xx is an answer; what a second one in a row means for one addressee is acting/messages.py's to say."""
    slack.inject(Fault.html(500), times=3)
    for _ in range(3):
        failed(lambda: messages.send(OWNER, DRAFT))
    messages.send(OWNER, DRAFT)
    assert len(slack.messages) == 1


# Finding a person by e-mail


def test_who_has_an_email_address_is_found_in_whatever_case(slack: FakeSlack, messages: SlackMessages) -> None:
    slack.users["Kramer@Example.com"] = OWNER
    assert messages.find_user("kramer@example.com") == OWNER
    assert slack.messages == []


def test_nobody_and_who_has_left_are_none(slack: FakeSlack, messages: SlackMessages) -> None:
    slack.users["kramer@example.com"] = OWNER
    slack.deleted.add(OWNER)
    assert messages.find_user("kramer@example.com") is None
    assert messages.find_user("newman@example.com") is None
    messages.send(OWNER, DRAFT)


def test_a_bot_that_may_not_look_up_says_which_scope_is_missing_and_still_sends(
    slack: FakeSlack, messages: SlackMessages
) -> None:
    slack.scopes.discard("users:read.email")
    error = failed(lambda: messages.find_user("kramer@example.com"))
    assert "(missing_scope); the bot needs the scope users:read.email" in error.text
    assert "kramer" not in error.text
    assert failed(lambda: messages.find_user("newman@example.com")).failure is Failure.OFF
    assert len(slack.requests) == 1
    messages.send(OWNER, DRAFT)
    assert len(slack.messages) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault.status(200, {"ok": True}),
        Fault.status(200, {"ok": True, "user": None}),
        Fault.status(200, {"ok": True, "user": {"id": "C012CHANNEL"}}),
        Fault.status(200, {"ok": True, "user": {"id": "<!channel>"}}),
        Fault.status(200, {"ok": True, "user": [OWNER]}),
        Fault.html(200),
        Fault.status(500, {"ok": False, "error": "internal_error"}),
    ],
    ids=["no user", "null", "a channel", "mark-up", "a list", "not JSON", "HTTP 500"],
)
def test_an_answer_that_names_nobody_is_an_error_and_not_nobody(
    slack: FakeSlack, messages: SlackMessages, fault: Fault
) -> None:
    """Nobody would be looked up again only after a day, and the fallback channel told meanwhile."""
    slack.inject(fault)
    error = failed(lambda: messages.find_user("kramer@example.com"))
    assert "users.lookupByEmail" in error.text
    assert error.failure is not Failure.UNKNOWN


def test_a_look_up_waits_out_a_429(slack: FakeSlack, messages: SlackMessages) -> None:
    slack.users["kramer@example.com"] = OWNER
    slack.inject(rate_limited(2), times=1)
    assert messages.find_user("kramer@example.com") == OWNER
    assert len(slack.requests) == 2


def test_look_ups_without_an_answer_leave_sending_on(slack: FakeSlack, messages: SlackMessages) -> None:
    slack.inject(Fault.drop_before_serving(), times=2)
    for _ in range(2):
        assert failed(lambda: messages.find_user("kramer@example.com")).failure is not Failure.UNKNOWN
    assert failed(lambda: messages.find_user("kramer@example.com")).failure is Failure.OFF
    messages.send(OWNER, DRAFT)
    assert len(slack.messages) == 1


def test_nothing_shows_the_token(messages: SlackMessages) -> None:
    assert TOKEN not in repr(messages)
