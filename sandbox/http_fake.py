"""The HTTP server under fake_slack and fake_jira, and the faults that it can inject.

    request --> recorded --> before hooks --> a fault? --> serve (one at a time) --> after hooks --> answer

A subclass says what to answer (`serve`); this module does the sockets, keeps every request it received, and spoils
what it is told to spoil. A fault stands either before the serving (the request changed nothing) or after it (the
request took effect and the client does not learn so): that difference is what keycheck's claims are about.
"""

from __future__ import annotations

import contextlib
import json
import math
import socket
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

LOGIN_PAGE = "<!DOCTYPE html>\n<html><head><title>Log in</title></head><body>Log in to continue</body></html>\n"


@dataclass(frozen=True)
class Request:
    """One request as it was received; `number` counts from 1 for the life of the server, over all its connections.

    Header names are lower case. A query parameter that came more than once has its values joined by commas.
    """

    number: int
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body read as JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(frozen=True)
class Answer:
    """What to send: str and bytes go out as they are (str as HTML), None as an empty body, all else as JSON."""

    status: int
    payload: object = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> tuple[bytes, str]:
        """The body, and the Content-Type that goes with it where `headers` has none."""
        match self.payload:
            case None:
                return b"", "application/json;charset=UTF-8"
            case bytes():
                return self.payload, "application/octet-stream"
            case str():
                return self.payload.encode(), "text/html;charset=UTF-8"
            case _:
                return json.dumps(self.payload).encode(), "application/json;charset=UTF-8"


Match = Callable[[Request], bool]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a request. Use the constructors below; they read as a sentence in a test.

    served: whether the request takes effect. answer: sent in place of the served one. dropped: the connection is
    closed without an answer. wait_seconds: how long nothing comes back; it ends early when the server stops.
    """

    served: bool
    answer: Answer | None = None
    dropped: bool = False
    wait_seconds: float = 0

    @classmethod
    def status(cls, status: int, payload: object = None, headers: dict[str, str] | None = None) -> Self:
        """Answer this and serve nothing."""
        return cls(served=False, answer=Answer(status, payload, headers or {}))

    @classmethod
    def html(cls, status: int) -> Self:
        """Answer a login page, as a proxy or a single sign-on does, and serve nothing."""
        return cls(served=False, answer=Answer(status, LOGIN_PAGE))

    @classmethod
    def drop_before_serving(cls) -> Self:
        """Read the request, serve nothing, close the connection."""
        return cls(served=False, dropped=True)

    @classmethod
    def drop_after_serving(cls) -> Self:
        """Serve the request, so that it takes effect, then close the connection without an answer."""
        return cls(served=True, dropped=True)

    @classmethod
    def late(cls, seconds: float) -> Self:
        """Serve the request at once and answer so many seconds later."""
        return cls(served=True, wait_seconds=seconds)

    @classmethod
    def hang(cls) -> Self:
        """Serve nothing and answer nothing; the connection stays open until the server stops."""
        return cls(served=False, dropped=True, wait_seconds=math.inf)


def calls(method: str, path_end: str) -> Match:
    """Matches requests of this method whose path ends so: `inject(fault, calls("POST", "/issue"))`."""
    return lambda request: request.method == method and request.path.endswith(path_end)


class FakeServer(ABC):
    """An HTTP/1.1 server on a loopback port of its own choosing. Subclasses implement `serve`.

    latency: seconds added to every answer; requests wait for it side by side.
    before, after: called with each request, in the thread that handles it, before it is served and after it was
    served but before its answer leaves. A hook may block (that holds this one request) and may use any method here
    but `stop`. A request that a fault keeps from being served never reaches `after`.
    served: how many requests took effect so far.
    lock: held while a request is served; a subclass holds it wherever it touches what `serve` touches.
    """

    def __init__(self) -> None:
        self.latency: float = 0
        self.before: list[Callable[[Request], None]] = []
        self.after: list[Callable[[Request], None]] = []
        self.lock = threading.RLock()
        self.served = 0
        self._requests: list[Request] = []
        self._faults: list[Injected] = []
        self._stopping = threading.Event()
        self._port = 0
        self._listener: _Listener | None = None
        self._placeholder: socket.socket | None = None
        self._connections = _Connections()

    @abstractmethod
    def serve(self, request: Request) -> Answer:
        """The answer to one request. Called under `self.lock`, so one at a time."""

    def serve_in_turn(self, request: Request) -> Answer:
        """`serve` under the lock; a subclass that forwards to a server with locks of its own may do without."""
        with self.lock:
            return self.serve(request)

    # Life

    def start(self) -> Self:
        """Listen. A server that was stopped can be started again, with its state, on the same port."""
        self._stopping.clear()
        self.start_listening()
        return self

    def stop(self) -> None:
        """Cut every connection, release every request that waits, and return when their threads are done.

        A thread that a hook still holds after a second is left behind (it is a daemon).
        """
        self._stopping.set()
        self.stop_listening()
        self._connections.wait_until_none(timeout_seconds=1)
        if self._placeholder is not None:
            self._placeholder.close()
            self._placeholder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port, the same from the first start on; 0 before that."""
        return self._port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    # Reachability

    def stop_listening(self) -> None:
        """Become unreachable: new connections are refused, open ones are cut in whatever they are doing.

        What was received is still served. The port stays reserved, so that `start_listening` gets it back.
        """
        with self.lock:  # hooks of several requests may call this at once
            listener, self._listener = self._listener, None
        if listener is None:
            return
        listener.shutdown()
        listener.server_close()
        self._placeholder = _bound_socket(self._port)
        self._connections.cut()

    def start_listening(self) -> None:
        """Become reachable again on the same port."""
        if self._listener is not None:
            return
        self._listener = _Listener(self._port, self._handle, self._connections)
        self._port = self._listener.server_address[1]
        if self._placeholder is not None:
            self._placeholder.close()
            self._placeholder = None
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()

    # What came in

    @property
    def requests(self) -> list[Request]:
        """Every request received, in order, whatever became of it; a copy."""
        with self.lock:
            return list(self._requests)

    # Faults

    def inject(self, fault: Fault, match: Match | None = None, times: int | None = None) -> None:
        """Spoil the requests that match (None: all), so many of them (None: all, until `heal`).

        Where several faults match a request, the one injected first is used, until its times are used up: injecting
        two with times=1 gives one after the other.
        """
        with self.lock:
            self._faults.append(Injected(fault, match, times))

    def holding(self, request: Request) -> Fault | None:
        """The fault that would hold this request up, or its answer, if it came now; uses up none."""
        with self.lock:
            found = next((one for one in self._faults if one.match is None or one.match(request)), None)
        return found.fault if found is not None and found.fault.wait_seconds > 0 else None

    def heal(self) -> None:
        """Drop all faults. A request that already waits goes on waiting."""
        with self.lock:
            self._faults.clear()

    # The life of a request, in the thread of its connection

    def _handle(self, received: Request) -> Answer | None:
        """The answer to send, or None to close the connection instead. The request gets its number here."""
        with self.lock:
            request = replace(received, number=len(self._requests) + 1)
            self._requests.append(request)
        try:
            for hook in tuple(self.before):
                hook(request)
            fault = self._next_fault(request)
            served: Answer | None = None
            if fault is None or fault.served:
                served = self.serve_in_turn(request)
                with self.lock:
                    self.served += 1
                for hook in tuple(self.after):
                    hook(request)
        except Exception as err:  # noqa: BLE001 (a mistake of ours must not look like a failure of the service)
            traceback.print_exc()
            return Answer(500, f"The fake itself failed: {err!r}\n")
        wait_seconds = self.latency
        if fault is not None:
            wait_seconds += fault.wait_seconds
            served = None if fault.dropped else fault.answer or served
        return served if self._wait(wait_seconds) else None

    def _wait(self, seconds: float) -> bool:
        """Whether the time went by; False when the server stopped instead."""
        return seconds <= 0 or not self._stopping.wait(None if math.isinf(seconds) else seconds)

    def _next_fault(self, request: Request) -> Fault | None:
        with self.lock:
            return next_fault(self._faults, request)


@dataclass(eq=False)
class Injected:
    """A fault, and which requests it spoils, and how many more of them (None: all)."""

    fault: Fault
    match: Match | None
    times_left: int | None


def next_fault(faults: list[Injected], request: Request) -> Fault | None:
    """The fault that this request meets; one whose times are used up is taken out."""
    for injected in faults:
        if injected.match is not None and not injected.match(request):
            continue
        if injected.times_left is not None:
            injected.times_left -= 1
            if injected.times_left <= 0:
                faults.remove(injected)
        return injected.fault
    return None


class _Connections:
    """The open connections. A listener adds and discards them, each of the latter in a thread of its own."""

    def __init__(self) -> None:
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()

    def add(self, connection: socket.socket) -> None:
        with self._changed:
            self._open.add(connection)

    def discard(self, connection: socket.socket) -> None:
        with self._changed:
            self._open.discard(connection)
            self._changed.notify_all()

    def cut(self) -> None:
        with self._changed:
            for connection in self._open:
                with contextlib.suppress(OSError):  # already closed by the other side
                    connection.shutdown(socket.SHUT_RDWR)

    def wait_until_none(self, timeout_seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._open, timeout_seconds)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    server_address: tuple[str, int]

    def __init__(self, port: int, handle: Callable[[Request], Answer | None], connections: _Connections) -> None:
        self.handle = handle
        self.connections = connections
        self._is_over = False
        self._ended = threading.Event()
        super().__init__(("127.0.0.1", port), _Connection)

    def serve_forever(self, poll_interval: float = 0) -> None:  # noqa: ARG002 - it does not poll
        """Take connections until `shutdown`, which makes one itself: so neither waits for the other's next look."""
        try:
            while self.socket.fileno() >= 0:
                try:
                    request, address = self.get_request()
                except OSError:  # a client that was gone again
                    continue
                if self._is_over:
                    request.close()
                    return
                self.process_request(request, address)
        finally:
            self._ended.set()

    def shutdown(self) -> None:
        self._is_over = True
        with contextlib.suppress(OSError):  # the queue is full of others, and one of them will do
            socket.create_connection(self.server_address, timeout=1).close()
        self._ended.wait(5)

    def server_bind(self) -> None:
        """Without HTTPServer's look-up of the host's own name, which can be slow."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.connections.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent: what ends up here is a client that went away. Mistakes of a fake are caught in `_handle`."""


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener
    close_connection: bool

    def _read_body(self) -> bytes | None:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            return body if len(body) == length else None
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0] or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _do(self) -> None:
        body = self._read_body()
        if body is None:  # the client went away in the middle
            self.close_connection = True
            return
        target = urlsplit(self.path)
        query = {name: ",".join(values) for name, values in parse_qs(target.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.handle(Request(0, self.command, unquote(target.path), query, headers, body))
        if answer is None:
            self.close_connection = True
        else:
            self._send(answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _do  # noqa: N815 (the names that http.server looks for)

    def _send(self, answer: Answer) -> None:
        """One write for the whole answer: two would meet Nagle's algorithm and delayed acknowledgements."""
        body, content_type = answer.body
        headers = {
            "Date": self.date_time_string(),
            "Content-Type": content_type,
            "Content-Length": str(len(body)),
        } | answer.headers
        try:
            reason = HTTPStatus(answer.status).phrase
        except ValueError:
            reason = "Unknown"
        head = [f"HTTP/1.1 {answer.status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
        self.close_connection = self.close_connection or answer.headers.get("Connection") == "close"
        self.wfile.write("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)

    def log_message(self, *_: Any) -> None:
        """Silent."""


def _bound_socket(port: int) -> socket.socket:
    """Keeps the port from being given to anyone else, while connecting to it is refused."""
    deadline = time.monotonic() + 1
    while True:
        placeholder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            placeholder.bind(("127.0.0.1", port))
            return placeholder
        except OSError:  # pragma: no cover (another process was quicker; it may let go)
            placeholder.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
