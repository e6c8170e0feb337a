"""Short patience with what a fake service holds up, and the usual patience with everything else that must come.

A timeout that is short for the sake of one hanging request must not meet the others: on a busy machine any of them may
take longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.exceptions import Timeout

from sandbox.http_fake import FakeServer, Request

SOON = 0.05
"""Seconds that a client waits for what never comes."""
PATIENCE_SECONDS = 20


def be_impatient(server: FakeServer, patch: pytest.MonkeyPatch) -> None:
    """Let `requests` wait SOON for the answer to what this server holds up. Where that is served all the same, it is by
    the time that the client gives up.
    """
    send = HTTPAdapter.send

    def send_impatiently(self: HTTPAdapter, request: PreparedRequest, *rest: Any, **more: Any) -> Response:
        fault, served = server.holding(as_received(request)), server.served
        if fault is None:
            return send(self, request, *rest, **more)
        try:
            return send(self, request, *rest, **{**more, "timeout": (PATIENCE_SECONDS, SOON)})
        except Timeout:
            if fault.served:
                wait_until_served(server, served + 1)
            raise

    patch.setattr(HTTPAdapter, "send", send_impatiently)


def wait_until_served(server: FakeServer, count: int) -> None:
    """Until so many requests have taken effect."""
    wait_until(lambda: server.served >= count)


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for what must come; fails where it does not."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.001)


def as_received(request: PreparedRequest) -> Request:
    """A request of the client's as the server will see it, without its headers."""
    target = urlsplit(request.url or "")
    body = request.body.encode() if isinstance(request.body, str) else request.body or b""
    return Request(0, request.method or "", unquote(target.path), dict(parse_qsl(target.query)), {}, body)
