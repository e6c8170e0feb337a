"""What was on the wire and what was not, how long a 429 is waited out, and when a service is no longer asked.

The exceptions are urllib's and requests' own, out of real sockets that fail in one phase after another.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import requests

from keycheck.clock import RunClock, Stopped
from keycheck.services import Failure, ServiceError
from keycheck.services.health import Health, RateLimited, retry_after, was_never_sent
from tests.builders import PatientClock

SOON = 0.1
"""Seconds that a client waits here for what never comes."""
BODY = b"x" * 4_000_000
"""More than loopback's buffers hold: it is still being sent when the other side goes away."""

Serve = Callable[[socket.socket], None]
Post = Callable[..., None]


def post_by_urllib(url: str, body: bytes = b"{}", proxy: str | None = None, timeout: float = 20) -> None:
    proxies = {"http": proxy, "https": proxy} if proxy else {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    request = urllib.request.Request(url, data=body, method="POST")  # noqa: S310 - the tests' own http and https
    with opener.open(request, timeout=timeout) as answer:
        answer.read()


def post_by_requests(url: str, body: bytes = b"{}", proxy: str | None = None, timeout: float = 20) -> None:
    proxies = {"http": proxy, "https": proxy} if proxy else {}
    with requests.Session() as session:
        session.post(url, data=body, proxies=proxies, timeout=timeout)


@pytest.fixture(params=[post_by_urllib, post_by_requests], ids=["urllib", "requests"])
def post(request: pytest.FixtureRequest) -> Post:
    chosen: Post = request.param
    return chosen


@pytest.fixture
def listen() -> Iterator[Callable[[Serve], int]]:
    """Listen on a port and hand each connection to a function; the connection is closed after it."""
    with contextlib.ExitStack() as stack:

        def listening(serve: Serve) -> int:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port: int = listener.getsockname()[1]

            def accept() -> None:
                with contextlib.suppress(OSError):  # the listener is closed, or the client went away
                    while True:
                        connection, _ = listener.accept()
                        with connection:
                            serve(connection)

            threading.Thread(target=accept, daemon=True).start()
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            return port

        yield listening


def failure(call: Callable[[], object]) -> Exception:
    """What a call raises."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which of a dozen types it is, is the point
        call()
    assert not isinstance(caught.value, AssertionError)
    return caught.value


def read_request(connection: socket.socket) -> None:
    """Read one small request to its end."""
    received = b""
    while not received.endswith(b"{}"):
        more = connection.recv(65_536)
        if not more:
            return
        received += more


def until_the_other_side_gives_up(connection: socket.socket) -> None:
    """Answer nothing, for as long as somebody waits for it."""
    while connection.recv(65_536):
        pass


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


# Before the wire


def test_a_refused_connection_was_never_sent(post: Post) -> None:
    assert was_never_sent(failure(lambda: post(f"http://127.0.0.1:{closed_port()}/x")))


def test_an_unknown_host_name_was_never_sent(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert was_never_sent(failure(lambda: post("http://keycheck.invalid/x")))


def test_a_connection_that_nobody_accepts_was_never_sent(post: Post) -> None:
    """The listener's queue is full, so the kernel drops what comes next: a connect timeout."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            assert waiting.connect_ex(listener.getsockname()) in (0, errno.EINPROGRESS)
        assert was_never_sent(failure(lambda: post(f"http://127.0.0.1:{listener.getsockname()[1]}/x", timeout=SOON)))


def test_a_tls_handshake_cut_by_the_server_was_never_sent(post: Post, listen: Callable[[Serve], int]) -> None:
    def cut(connection: socket.socket) -> None:
        connection.recv(1)

    port = listen(cut)
    assert was_never_sent(failure(lambda: post(f"https://127.0.0.1:{port}/x")))


def test_a_tls_handshake_that_hangs_was_never_sent(post: Post, listen: Callable[[Serve], int]) -> None:
    port = listen(until_the_other_side_gives_up)
    assert was_never_sent(failure(lambda: post(f"https://127.0.0.1:{port}/x", timeout=SOON)))


def test_tls_to_a_port_without_tls_was_never_sent(post: Post, listen: Callable[[Serve], int]) -> None:
    def plain(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    assert was_never_sent(failure(lambda: post(f"https://127.0.0.1:{listen(plain)}/x")))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_dead_proxy_was_never_sent(post: Post, scheme: str) -> None:
    proxy = f"http://127.0.0.1:{closed_port()}"
    assert was_never_sent(failure(lambda: post(f"{scheme}://127.0.0.1:9/x", proxy=proxy)))


def test_a_proxy_that_refuses_the_tunnel_was_never_sent(post: Post, listen: Callable[[Serve], int]) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    proxy = f"http://127.0.0.1:{listen(refuse)}"
    assert was_never_sent(failure(lambda: post("https://127.0.0.1:9/x", proxy=proxy)))


# On the wire


def test_a_connection_cut_after_the_request_was_sent(post: Post, listen: Callable[[Serve], int]) -> None:
    port = listen(read_request)
    assert not was_never_sent(failure(lambda: post(f"http://127.0.0.1:{port}/x")))


def test_a_connection_cut_in_mid_request_was_sent(post: Post, listen: Callable[[Serve], int]) -> None:
    def reset(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    port = listen(reset)
    assert not was_never_sent(failure(lambda: post(f"http://127.0.0.1:{port}/x", BODY)))


def test_a_connection_cut_in_the_head_of_the_answer_was_sent(post: Post, listen: Callable[[Serve], int]) -> None:
    def cut(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 20")

    port = listen(cut)
    assert not was_never_sent(failure(lambda: post(f"http://127.0.0.1:{port}/x")))


def test_a_connection_cut_in_mid_answer_was_sent(post: Post, listen: Callable[[Serve], int]) -> None:
    def cut(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")

    port = listen(cut)
    assert not was_never_sent(failure(lambda: post(f"http://127.0.0.1:{port}/x")))


def test_a_read_timeout_was_sent(post: Post, listen: Callable[[Serve], int]) -> None:
    def hang(connection: socket.socket) -> None:
        read_request(connection)
        until_the_other_side_gives_up(connection)

    port = listen(hang)
    assert not was_never_sent(failure(lambda: post(f"http://127.0.0.1:{port}/x", timeout=SOON)))


def test_a_cut_on_a_connection_that_was_kept_open_was_sent(listen: Callable[[Serve], int]) -> None:
    """The second request makes no connection, so nothing says `connect`; it was on the wire all the same."""

    def serve_one_and_a_half(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        read_request(connection)

    url = f"http://127.0.0.1:{listen(serve_one_and_a_half)}/x"
    with requests.Session() as session:
        assert session.post(url, data=b"{}", timeout=5).text == "{}"
        assert not was_never_sent(failure(partial(session.post, url, data=b"{}", timeout=5)))


def test_a_wrapped_failure_to_connect_was_never_sent(post: Post) -> None:
    """An exception is judged by all that it was raised from, not by its outermost type."""
    inner = failure(lambda: post(f"http://127.0.0.1:{closed_port()}/x"))
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = inner
    assert was_never_sent(wrapped)
    assert not was_never_sent(RuntimeError("never raised"))


# Retry-After


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("1", 1.0),
        (" 30 ", 30.0),
        ("3600", 3600.0),
        ("3601", 3600.0),
        ("9" * 400, 3600.0),
        (None, None),
        ("", None),
        (" ", None),
        ("1.5", None),
        ("-1", None),
        ("+1", None),
        ("1_0", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("\u0663", None),
        ("\u00b2", None),
    ],
)
def test_only_whole_seconds_are_a_retry_after(header: str | None, seconds: float | None) -> None:
    """Neither Slack nor Jira sends a date; an hour is as good as for ever."""
    assert retry_after(header) == seconds


# Health


class Requests:
    """Requests that end as told, one after the other; `made` counts them."""

    def __init__(self, *ends: Exception | str) -> None:
        self._ends = list(ends)
        self.made = 0

    def __call__(self) -> str:
        self.made += 1
        end = self._ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end


def silence() -> ServiceError:
    return ServiceError("Slack", "call", "no answer", failure=Failure.NO_ANSWER)


def refusal(**more: Any) -> ServiceError:
    return ServiceError("Slack", "call", "no", **more)


@pytest.fixture
def clock() -> PatientClock:
    return PatientClock()


@pytest.fixture
def health(clock: PatientClock) -> Health:
    return Health("Slack", clock)


def call_all(health: Health, requests: Requests, times: int) -> list[str]:
    """What became of so many calls: an answer, or the name of what was raised."""
    ends = []
    for _ in range(times):
        try:
            ends.append(health.call("call", requests))
        except (ServiceError, Stopped) as error:
            ends.append("off" if getattr(error, "failure", None) is Failure.OFF else type(error).__name__)
    return ends


@pytest.mark.parametrize(
    ("ends", "became", "made"),
    [
        ([silence(), silence()], ["ServiceError", "ServiceError", "off", "off"], 2),
        ([silence(), "ok", silence(), "ok"], ["ServiceError", "ok", "ServiceError", "ok"], 4),
        ([silence(), refusal(), silence(), "ok"], ["ServiceError", "ServiceError", "ServiceError", "ok"], 4),
        ([refusal(), refusal(), refusal(), "ok"], ["ServiceError", "ServiceError", "ServiceError", "ok"], 4),
        ([refusal(holds_for_run=True)], ["ServiceError", "off", "off", "off"], 1),
        ([silence(), RateLimited(None), silence(), "ok"], ["ServiceError"] * 3 + ["ok"], 4),
    ],
    ids=["two silences", "an answer between", "a refusal between", "refusals", "fatal", "a 429 between"],
)
def test_a_service_is_off_after_two_silences_in_a_row_or_one_fatal_answer(
    health: Health, ends: list[Exception | str], became: list[str], made: int
) -> None:
    requests = Requests(*ends)
    assert call_all(health, requests, 4) == became
    assert requests.made == made
    assert health.is_off is (became[-1] == "off")


def test_a_service_that_is_off_is_an_error_of_its_own(health: Health) -> None:
    call_all(health, Requests(refusal(holds_for_run=True)), 1)
    with pytest.raises(ServiceError) as caught:
        health.call("call", Requests("ok"))
    assert "off for this run" in caught.value.text
    assert caught.value.failure is Failure.OFF


def test_a_429_is_waited_out_at_most_twice(health: Health, clock: PatientClock) -> None:
    requests = Requests(RateLimited(3), RateLimited(2), "ok")
    assert health.call("call", requests) == "ok"
    assert (requests.made, clock.slept) == (3, [3, 2])


def test_a_third_429_is_a_refusal(health: Health, clock: PatientClock) -> None:
    requests = Requests(*[RateLimited(1)] * 3)
    with pytest.raises(ServiceError) as caught:
        health.call("call", requests)
    assert (requests.made, clock.slept) == (3, [1, 1])
    assert (caught.value.code, caught.value.failure) == ("429", Failure.REFUSED)
    assert not health.is_off


@pytest.mark.parametrize("pause", [None, 99.5, 3600], ids=["no time named", "just too long", "an hour"])
def test_a_429_that_does_not_fit_before_the_deadline_is_not_waited_out(
    health: Health, clock: PatientClock, pause: float | None
) -> None:
    clock.set_timeout(100)
    requests = Requests(RateLimited(pause))
    with pytest.raises(ServiceError, match="HTTP 429"):
        health.call("call", requests)
    assert (requests.made, clock.slept) == (1, [])


def test_a_429_that_just_fits_is_waited_out(health: Health, clock: PatientClock) -> None:
    clock.set_timeout(100)
    assert health.call("call", Requests(RateLimited(95), "ok")) == "ok"
    assert clock.slept == [95]


def test_nothing_is_asked_past_the_deadline(health: Health, clock: PatientClock) -> None:
    clock.set_timeout(0)
    requests = Requests("ok")
    with pytest.raises(Stopped):
        health.call("call", requests)
    assert requests.made == 0


def test_waiting_out_a_429_ends_when_the_run_is_asked_to_stop() -> None:
    clock = RunClock()
    requests = Requests(RateLimited(60), "ok")
    asked = threading.Timer(0.05, clock._on_signal, (15, None))
    asked.start()
    started = time.monotonic()
    with pytest.raises(Stopped):
        Health("Slack", clock).call("call", requests)
    assert requests.made == 1
    assert time.monotonic() - started < 60
    asked.join()


def test_a_service_that_went_off_during_the_wait_is_not_asked_again(clock: PatientClock) -> None:
    """Another worker's call may have turned it off meanwhile."""
    health = Health("Slack", clock)

    def limited_while_another_call_ends_badly() -> str:
        call_all(health, Requests(refusal(holds_for_run=True)), 1)
        raise RateLimited(0)

    with pytest.raises(ServiceError) as caught:
        health.call("call", limited_while_another_call_ends_badly)
    assert caught.value.failure is Failure.OFF


def test_two_services_do_not_share_their_health(clock: PatientClock) -> None:
    slack, jira = Health("Slack", clock), Health("Jira", clock)
    call_all(slack, Requests(refusal(holds_for_run=True)), 1)
    assert jira.call("call", Requests("ok")) == "ok"


def test_what_is_no_service_error_passes_through(health: Health) -> None:
    with pytest.raises(ZeroDivisionError):
        health.call("call", Requests(ZeroDivisionError()))
    assert not health.is_off
