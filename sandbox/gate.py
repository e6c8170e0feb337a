"""The gate before AWS: forwards each call to moto, or to a real DynamoDB engine, and can spoil or hold any of them.

In: keycheck's AWS calls. Out: what moto, or the engine, answers. moto's conditional writes have no locks of their own
(services.md 6.3), so its calls go through one at a time; an engine's go through side by side.
"""

from __future__ import annotations

import http.client
from collections import Counter
from typing import Final
from urllib.parse import parse_qs, urlsplit

from sandbox.dynamodb import EngineTable
from sandbox.http_fake import Answer, FakeServer, Match, Request
from sandbox.moto_aws import MotoAws

READS: Final = ("List", "Get", "BatchGet", "Describe", "Query", "Decrypt", "Scan")
TIMEOUT_SECONDS: Final = 30


class Gate(FakeServer):
    """All of AWS on one loopback port. `state`: where the calls about that table go, if not to moto."""

    def __init__(self, aws: MotoAws, state: EngineTable | None = None) -> None:
        super().__init__()
        self._aws = aws
        self._state = state

    def serve(self, request: Request) -> Answer:
        return _forward(request, self._aws.url)

    def serve_in_turn(self, request: Request) -> Answer:
        if self._state is not None and _is_about(request, self._state.name):
            return _forward(request, self._state.url)
        return super().serve_in_turn(request)

    @property
    def actions(self) -> list[str]:
        """The names of all calls so far, such as `UpdateItem`."""
        return [action_of(request) for request in self.requests]

    @property
    def calls(self) -> Counter[str]:
        """How often each call was made."""
        return Counter(self.actions)

    @property
    def writes(self) -> list[str]:
        return [action for action in self.actions if not action.startswith(READS)]


def action_of(request: Request) -> str:
    """The AWS operation that a request asks for."""
    target = request.headers.get("x-amz-target", "")
    return target.rpartition(".")[2] or parse_qs(request.body.decode())["Action"][0]


def is_action(*names: str) -> Match:
    """Matches calls of these names: `gate.inject(fault, is_action("UpdateItem"))`."""
    return lambda request: action_of(request) in names


def aws_error(code: str, status: int = 400, service: str = "dynamodb") -> Answer:
    """An error as DynamoDB and KMS (JSON) or IAM (XML) word it."""
    if service == "iam":
        error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>invented</Message></Error>"
        xml = f"<ErrorResponse>{error}<RequestId>invented</RequestId></ErrorResponse>"
        return Answer(status, xml.encode(), {"Content-Type": "text/xml"})
    return Answer(status, {"__type": f"com.amazonaws.{service}#{code}", "message": "invented"})


def _is_about(request: Request, table_name: str) -> bool:
    return "DynamoDB" in request.headers.get("x-amz-target", "") and f'"{table_name}"'.encode() in request.body


def _forward(request: Request, url: str) -> Answer:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT_SECONDS)
    try:
        headers = {name: value for name, value in request.headers.items() if name != "host"}
        connection.request(request.method, request.path, request.body, headers)
        answer = connection.getresponse()
        kept = {name: value for name, value in answer.getheaders() if name.lower().startswith(("content-type", "x-"))}
        return Answer(answer.status, answer.read(), kept)
    finally:
        connection.close()
