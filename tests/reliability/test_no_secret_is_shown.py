"""No secret anywhere: not on stdout or stderr, not in an issue, not in the state table, whatever a server says.

Every secret of the world is looked for in everything that a run left behind. A full access key id may stand in a direct
message to its owner and as a hash key of the state table, and nowhere else.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable

import pytest

from sandbox.fake_slack import ok_false
from sandbox.gate import action_of, aws_error, is_action
from sandbox.http_fake import Answer, FakeServer, Fault, Match, Request, calls
from sandbox.moto_aws import SECRETS_TABLE
from sandbox.world import JIRA_EMAIL, JIRA_TOKEN, SLACK_TOKEN, Ran, World
from tests.builders import ALL_ON
from tests.running import FULL_ACCESS_KEY_ID, KRAMER, closed_port, run, run_fields, sound, statuses

SESSION_TOKEN = "FwoGZXIvYXdzEOL+made/up=="
BASIC = base64.b64encode(f"{JIRA_EMAIL}:{JIRA_TOKEN}".encode()).decode()
PASSWORD = "correct-horse-battery"
CHANNEL, FALLBACK = "C0SERVICES", "C0SECURITY"


@pytest.fixture(name="staffed")
def world_with_every_kind_of_owner(world: World) -> World:
    """A person, a channel, nobody; and a session token that no other text holds."""
    config = world.config_file.read_text(encoding="utf-8")
    world.config_file.write_text(config.replace("= invented", f"= {SESSION_TOKEN}"), encoding="utf-8")
    world.aws.add_user("dev_kramer", [197, 170])
    world.aws.add_user("service", [200])
    world.aws.add_user("nobodys", [201])
    world.owners |= {"dev_kramer": KRAMER, "service": CHANNEL}
    return world


def secrets(world: World) -> set[str]:
    """Every secret there is: the three values, as they travel and as they are stored, AWS's credentials, signatures."""
    config = world.config_file.read_text(encoding="utf-8")
    stored = [item[name] for item in world.aws.state_items(SECRETS_TABLE) for name in ("contents", "key", "hmac")]
    signatures = [
        found[1]
        for request in world.gate.requests
        if (found := re.search("Signature=([0-9a-f]{64})", request.headers.get("authorization", "")))
    ]
    assert SESSION_TOKEN in config
    assert signatures
    return {
        SLACK_TOKEN,
        JIRA_EMAIL,
        JIRA_TOKEN,
        BASIC,
        PASSWORD,
        SESSION_TOKEN,
        *re.findall(r"aws_secret_access_key = (\S+)", config),
        *re.findall(r"aws_access_key_id = (\S+)", config),
        *(one.decode() if isinstance(one, bytes) else str(one) for one in stored),
        *signatures,
    }


def left_behind(ran: Ran, world: World) -> dict[str, str]:
    """Everything that others can read after a run, by where it is; direct messages are looked at apart."""
    items = [dict(item) for item in world.state_items()]
    for item in items:
        del item["iam_access_key_id"]
        item.pop("access_key_ids", None)  # the list of hash keys
    issues = [
        [issue.summary, issue.description, issue.labels, issue.fields, [comment.body for comment in issue.comments]]
        for issue in world.jira.issues.values()
    ]
    return {
        "stdout": ran.stdout,
        "stderr": ran.stderr,
        "issues": json.dumps(issues),
        "sent to Jira": " ".join(f"{one.path} {one.query} {one.body.decode()}" for one in world.jira.requests),
        "state": str(items),
        "channels": " ".join(
            f"{message.text} {json.dumps(message.blocks)}"
            for message in world.slack.messages
            if message.channel.startswith("C")
        ),
    }


def check_nothing_leaked(ran: Ran, world: World) -> None:
    sought = secrets(world)
    told = " ".join(f"{one.text} {json.dumps(one.blocks)}" for one in world.slack.messages)
    hash_keys = " ".join(str(item["iam_access_key_id"]) for item in world.state_items())
    for place, text in {**left_behind(ran, world), "messages": told, "hash keys": hash_keys}.items():
        found = sorted(secret for secret in sought if secret in text)
        assert not found, f"in {place}: {found}"
    for place, text in left_behind(ran, world).items():
        ids = FULL_ACCESS_KEY_ID.findall(text)
        assert not ids, f"full access key ids in {place}: {ids}"
    for message in world.slack.messages:
        owned = {
            access_key_id
            for user, slack_id in world.owners.items()
            if slack_id == message.channel and slack_id.startswith("U")
            for access_key_id, _, _ in world.aws.keys(user)
        }
        assert set(FULL_ACCESS_KEY_ID.findall(f"{message.text} {json.dumps(message.blocks)}")) <= owned


def run_verbosely(world: World, *arguments: str, **settings: str | None) -> Ran:
    ran = run(world, "acme-dev", "-v", *arguments, **settings)
    check_nothing_leaked(ran, world)
    return ran


# Everything on, everything failing, nothing done


def test_a_run_with_everything_on_shows_no_secret(staffed: World) -> None:
    kramers = staffed.aws.keys("dev_kramer")[0][0]
    ran = run_verbosely(staffed, **ALL_ON, slack_fallback_channel=FALLBACK)
    fields = run_fields(ran)
    assert (ran.code, fields["issues_filed"], fields["nags_sent"], fields["keys_disabled"]) == (0, 4, 3, 3)
    assert "\nD! acme-dev: keycheck " in ran.stderr
    assert {message.channel for message in staffed.slack.messages} == {KRAMER, CHANNEL, FALLBACK}
    assert kramers in json.dumps(staffed.slack.messages_to(KRAMER)[0].blocks)
    assert kramers in {item["iam_access_key_id"] for item in staffed.state_items()}


def test_a_dry_run_shows_no_secret(staffed: World) -> None:
    ran = run_verbosely(staffed, "--dry-run", **ALL_ON, slack_fallback_channel=FALLBACK)
    assert ran.code == 0
    assert "I! acme-dev: would send a message to" in ran.stderr
    assert "I! acme-dev: would disable" in ran.stderr
    assert (staffed.jira.issues, staffed.slack.messages, staffed.state_items()) == ({}, [], [])


def test_a_jira_and_a_slack_that_refuse_the_tokens_are_told_of_without_them(staffed: World) -> None:
    staffed.jira.inject(Fault.status(401, {"errorMessages": [f"Basic {BASIC} is not valid"]}), calls("GET", "/myself"))
    staffed.slack.inject(ok_false("invalid_auth"))
    ran = run_verbosely(staffed, **ALL_ON)
    assert ran.code == 0
    assert "Jira refused myself (HTTP 401)" in ran.stderr
    assert "(invalid_auth)" in ran.stderr
    assert run_fields(ran)["keys_disabled"] == 0


def test_a_kms_that_refuses_is_told_of_without_its_words(staffed: World) -> None:
    ciphertext = staffed.aws.state_items(SECRETS_TABLE)[0]["key"]
    words = f"User: arn:aws:iam::123456789012:user/AKIAINVENTED0123456 may not decrypt {ciphertext}"
    answer = Answer(400, {"__type": "AccessDeniedException", "message": words})
    staffed.gate.inject(Fault(served=False, answer=answer), is_action("Decrypt"))
    ran = run_verbosely(staffed, **ALL_ON)
    assert ran.code == 0
    assert ran.stderr.count("E! ") == 2


def test_an_iam_that_refuses_to_disable_is_told_of_without_its_words(staffed: World) -> None:
    key = staffed.aws.keys("dev_kramer")[0][0]
    words = f"not authorized to perform: iam:UpdateAccessKey on resource: user dev_kramer with {key} {SESSION_TOKEN}"
    refusal = aws_error("AccessDenied", 403, "iam")
    assert isinstance(refusal.payload, bytes)
    answer = Answer(403, refusal.payload.replace(b"invented", words.encode(), 1), refusal.headers)
    staffed.gate.inject(Fault(served=False, answer=answer), is_action("UpdateAccessKey"))
    ran = run_verbosely(staffed, **ALL_ON)
    assert ran.code == 0
    assert "iam:UpdateAccessKey was refused (AccessDenied)" in ran.stderr
    assert statuses(staffed, "dev_kramer") == ["Active", "Active"]


# Servers that repeat what they were sent


def echo(server: FakeServer, match: Match, answer: Callable[[str], Answer]) -> None:
    """Answer what matches with its own Authorization header, in whatever shape `answer` gives it."""

    def spoil(request: Request) -> None:
        if match(request):
            fault = Fault(served=False, answer=answer(request.headers.get("authorization", "")))
            server.inject(fault, lambda other: other.number == request.number, times=1)

    server.before.append(spoil)


def jira_says(status: int) -> Callable[[str], Answer]:
    """Jira's own shape of an error, and every header that a client might repeat."""
    return lambda sent: Answer(
        status,
        {"errorMessages": [f"bad request: Authorization: {sent}"], "errors": {"summary": sent, sent: "is no field"}},
        {"WWW-Authenticate": sent, "X-Seraph-LoginReason": sent, "Retry-After": sent},
    )


@pytest.mark.represented_by("POST-/issue-400")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/serverInfo", 400),
        ("GET", "/myself", 403),
        ("GET", "/search/jql", 400),
        ("GET", "/search/jql", 500),
        ("POST", "/issue", 400),
        ("POST", "/issue", 429),
        ("POST", "/issue", 500),
    ],
)
def test_a_jira_that_repeats_the_authorization_is_not_repeated(
    staffed: World, method: str, path: str, status: int
) -> None:
    echo(staffed.jira, lambda request: request.path.endswith(path), jira_says(status))
    ran = run_verbosely(staffed, create_jira="True")
    assert (ran.code, run_fields(ran)["issues_filed"]) == (0, 0)
    assert any(request.method == method and request.path.endswith(path) for request in staffed.jira.requests)
    assert "E! acme-dev: " in ran.stderr


@pytest.mark.represented_by("of a field-after 185 characters")
@pytest.mark.parametrize("length", [0, 90, 102, 185], ids=lambda length: f"after {length} characters")
@pytest.mark.parametrize("is_of_a_field", [False, True], ids=["of the request", "of a field"])
def test_a_jira_that_repeats_the_token_in_the_reason_that_stderr_quotes_is_not_repeated(
    staffed: World, is_of_a_field: bool, length: int
) -> None:
    """The words of a 400 are quoted, so that a person can mend the settings; long ones are cut, also within a token."""

    def says(sent: str) -> Answer:
        words = f"{'x' * length} {JIRA_TOKEN} of {JIRA_EMAIL}, sent as {sent}"
        return Answer(400, {"errors": {"customfield_1": words}} if is_of_a_field else {"errorMessages": [words]})

    echo(staffed.jira, calls("POST", "/issue"), says)
    ran = run_verbosely(staffed, create_jira="True")
    assert ran.stderr.count("E! acme-dev: Jira refused the new issue: ") == 1
    assert JIRA_TOKEN[:8] not in ran.stderr


@pytest.mark.represented_by("as the error")
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda sent: Answer(200, {"ok": False, "error": sent}), id="as the error"),
        pytest.param(lambda sent: Answer(200, {"ok": False, "error": sent.partition(" ")[2]}), id="the bare token"),
        pytest.param(
            lambda sent: Answer(
                400, {"ok": False, "error": "invalid_arguments", "response_metadata": {"messages": [f"[ERROR] {sent}"]}}
            ),
            id="400, as details",
        ),
        pytest.param(lambda sent: Answer(500, f"<html>{sent}</html>", {"X-Echo": sent}), id="500, as a page"),
        pytest.param(lambda sent: Answer(429, {"ok": False}, {"Retry-After": sent}), id="429, as Retry-After"),
        pytest.param(lambda sent: Answer(302, None, {"Location": f"http://127.0.0.1:1/{sent[7:]}"}), id="redirect"),
    ],
)
def test_a_slack_that_repeats_the_authorization_is_not_repeated(
    staffed: World, answer: Callable[[str], Answer]
) -> None:
    echo(staffed.slack, calls("POST", "/chat.postMessage"), answer)
    ran = run_verbosely(staffed, send_slack="True")
    assert (ran.code, run_fields(ran)["nags_sent"]) == (0, 0)
    assert "E! acme-dev: " in ran.stderr
    assert staffed.slack.requests


@pytest.mark.represented_by("UpdateItem")
@pytest.mark.parametrize(
    "action", ["ListUsers", "ListAccessKeys", "UpdateAccessKey", "DescribeTable", "UpdateItem", "Query", "Decrypt"]
)
def test_an_aws_that_repeats_the_signed_request_is_not_repeated(staffed: World, action: str) -> None:
    """As AWS does where it finds the signature wrong: the whole canonical request stands in the message."""

    def answer(sent: str) -> Answer:
        service = "iam" if action.endswith(("Users", "Keys", "AccessKey")) else "dynamodb"
        code = "SignatureDoesNotMatch" if service == "iam" else "InvalidSignatureException"
        error = aws_error(code, 403 if service == "iam" else 400, service)
        if isinstance(error.payload, bytes):
            return Answer(error.status, error.payload.replace(b"invented", sent.encode()), error.headers)
        return Answer(error.status, {"__type": code, "message": f"{sent} {SESSION_TOKEN}"})

    echo(staffed.gate, lambda request: action_of(request) == action, answer)
    ran = run_verbosely(staffed, **ALL_ON)
    assert ran.code == (1 if action.startswith("List") else 0)
    assert "E! acme-dev: " in ran.stderr
    assert staffed.gate.calls[action] > 0


# Passwords in addresses


@pytest.mark.parametrize("name", ["jira_server_address", "slack_api_base_url"])
@pytest.mark.parametrize(
    "address",
    [
        f"https://me:{PASSWORD}@jira.example.com",
        f"https://{PASSWORD}@jira.example.com/",
        f"http://me:{PASSWORD}@127.0.0.1:8080",
        f"me:{PASSWORD}@jira.example.com",
        f"https://me:{PASSWORD}@[jira.example.com",
        f"https://jira.example.com/?token={PASSWORD}",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(world: World, name: str, address: str) -> None:
    ran = sound(world.run("acme-dev", "-v", **{**ALL_ON, name: address}), world)
    assert (ran.code, ran.stdout) == (2, "")
    assert name in ran.first_line
    assert PASSWORD not in ran.stderr
    assert world.gate.requests == []


def test_a_proxys_password_is_not_repeated(staffed: World) -> None:
    """HTTPS_PROXY is where a password in an address is usual; nobody listens there, so AWS, Jira and Slack all fail."""
    host = closed_port().removeprefix("http://")
    proxied = {"HTTPS_PROXY": f"http://me:{PASSWORD}@{host}", "NO_PROXY": "127.0.0.1,localhost"}
    ran = run_verbosely(
        staffed,
        **ALL_ON,
        **proxied,
        jira_server_address="https://jira.invalid",
        slack_api_base_url="https://slack.invalid/api/",
    )
    assert ran.code == 0
    assert "no issues are filed: no connection to https://jira.invalid" in ran.stderr
    assert "no connection to Slack" in ran.stderr
    ran = sound(staffed.run("acme-dev", "-v", **proxied, AWS_ENDPOINT_URL=None), staffed)
    assert ran.code == 1
    assert "is there a network?" in ran.stderr
    assert PASSWORD not in ran.stderr
