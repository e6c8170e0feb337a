"""What the tests of whole runs share: running the entry script, and what no run may break.

Every run is held to `sound`: stdout is line protocol that an independent parser reads, stderr is prefixed lines of at
most 512 bytes, and neither holds a traceback, a secret or a full access key id.
"""

from __future__ import annotations

import re
import socket
from typing import Any

from line_protocol_parser import parse_line

from sandbox.fake_iam import FakeIam
from sandbox.world import JIRA_TOKEN, SLACK_TOKEN, Ran, World
from tests.builders import AT_ONCE

MEASUREMENTS = ("iam", "iam_action", "iam_run")
PREFIXES = ("E! ", "W! ", "I! ", "D! ")
FULL_ACCESS_KEY_ID = re.compile(r"(?:AKIA|ASIA)[A-Z0-9]{8,}")
PASTED_TOKEN = "xoxb-a-token-in-the-wrong-place"
KRAMER = "U012KRAMER"


def sound(ran: Ran, world: World) -> Ran:
    """What no run may break, whatever happened in it; gives the run back."""
    for number, line in enumerate(ran.lines):
        assert parse_line(line)["measurement"] in MEASUREMENTS, f"stdout, line {number + 1}: {line!r}"
    assert ran.stdout == "" or ran.stdout.endswith("\n")
    for line in ran.stderr.splitlines():
        assert line.startswith(PREFIXES), f"stderr has a line without a level: {line!r}"
        assert len(line.encode()) < 512, f"stderr has a line that Telegraf would cut: {line!r}"
    said = ran.stdout + ran.stderr
    assert "Traceback" not in said
    secrets = re.findall(r"aws_secret_access_key = (\S+)", world.config_file.read_text(encoding="utf-8"))
    for secret in (*secrets, SLACK_TOKEN, JIRA_TOKEN, PASTED_TOKEN):
        assert secret not in said
    assert FULL_ACCESS_KEY_ID.search(said) is None
    return ran


def run(world: World, *arguments: str, **settings: str | None) -> Ran:
    """One run; without a notice to wait for, where `settings` does not ask for one."""
    return sound(world.run(*arguments, **{**AT_ONCE, **settings}), world)


def run_fields(ran: Ran, profile: str = "acme-dev") -> dict[str, Any]:
    """The fields of a profile's one iam_run line."""
    found = [parse_line(line) for line in ran.lines]
    (fields,) = [one["fields"] for one in found if one["measurement"] == "iam_run" and one["tags"] == alias(profile)]
    assert isinstance(fields, dict)
    return fields


def alias(profile: str) -> dict[str, str]:
    return {"accountAlias": profile}


def iam_lines(ran: Ran) -> list[str]:
    return [line for line in ran.lines if line.startswith("iam,")]


def closed_port() -> str:
    """The address of a loopback port that refuses connections."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def fake_iam(world: World) -> FakeIam:
    assert world.iam is not None
    return world.iam


def statuses(world: World, user: str, account_id: str | None = None) -> list[str]:
    """AWS's status of each access key of a user."""
    return [status for _, status, _ in world.aws.keys(user, account_id)]


def sends(world: World) -> int:
    """How many messages were tried, whatever became of them."""
    return sum(request.path.endswith("/chat.postMessage") for request in world.slack.requests)


def issue_posts(world: World) -> int:
    return sum(request.method == "POST" and request.path.endswith("/issue") for request in world.jira.requests)


def records(world: World) -> dict[str, dict[str, object]]:
    """The state table, by hash key."""
    return {str(item["iam_access_key_id"]): item for item in world.state_items()}
