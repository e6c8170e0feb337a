"""What happened to people with other tools, played with keycheck: whole runs on the sandbox.

Each test stands for a kind, and names the public report that it comes from (a GitHub issue). What must be seen: no
access key is disabled that would not have been, nobody is told twice, no secret leaves, and what is said leads the
reader to the cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from keycheck.settings import SETTINGS
from sandbox.gate import is_action
from sandbox.http_fake import Answer, FakeServer, Fault, Match, Request, calls
from sandbox.world import World
from tests.builders import ALL_ON
from tests.running import run, run_fields, statuses

KRAMER = "U012KRAMER"
TOMORROW = datetime.now(UTC).date() + timedelta(days=1)


@pytest.fixture(name="one_due")
def one_due_access_key(world: World) -> World:
    """dev_kramer's access key is expired, and KRAMER owns it."""
    world.aws.add_user("dev_kramer", [197])
    world.owners["dev_kramer"] = KRAMER
    return world


# Redirects: python/cpython 77842


class Elsewhere(FakeServer):
    """A host that says yes to everything, as one that was put in between would."""

    def serve(self, _request: Request) -> Answer:
        return Answer(200, {"ok": True, "id": "1", "key": "SEC-1", "issues": [], "deploymentType": "Cloud"})


@pytest.fixture(name="elsewhere")
def a_host_to_be_sent_to() -> Iterator[Elsewhere]:
    with Elsewhere() as server:
        yield server


REDIRECTED: dict[str, tuple[Callable[[World], FakeServer], Match]] = {
    "a message": (lambda world: world.slack, calls("POST", "/chat.postMessage")),
    "users.info": (lambda world: world.slack, calls("POST", "/users.info")),
    "serverInfo": (lambda world: world.jira, calls("GET", "/serverInfo")),
    "a filing": (lambda world: world.jira, calls("POST", "/issue")),
    "ListUsers": (lambda world: world.gate, is_action("ListUsers")),
    "UpdateAccessKey": (lambda world: world.gate, is_action("UpdateAccessKey")),
    "a claim": (lambda world: world.gate, is_action("UpdateItem")),
    "kms:Decrypt": (lambda world: world.gate, is_action("Decrypt")),
}


@pytest.mark.represented_by("a message-302", "UpdateAccessKey-307")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("what", REDIRECTED)
def test_no_redirect_is_followed_and_nothing_counts_as_done(
    one_due: World, elsewhere: Elsewhere, what: str, status: int
) -> None:
    """The host that it points to never hears of it: it would get the token, and could say that all is well."""
    server, match = REDIRECTED[what]
    away = f"{elsewhere.url}/secret-path?token=1"
    server(one_due).inject(Fault.status(status, {"ok": True}, {"Location": away}), match)
    ran = run(one_due, "acme-dev", **ALL_ON)
    assert elsewhere.requests == []
    assert f"HTTP {status}, a redirect to 127.0.0.1:{elsewhere.port}, which is never followed" in ran.stderr
    assert "secret-path" not in ran.stderr
    if what != "serverInfo":
        assert statuses(one_due, "dev_kramer") == ["Active"] or what == "a filing"


def test_a_redirected_message_is_told_by_the_next_run(one_due: World, elsewhere: Elsewhere) -> None:
    redirect = Fault.status(302, None, {"Location": elsewhere.url})
    one_due.slack.inject(redirect, calls("POST", "/chat.postMessage"))
    ran = run(one_due, "acme-dev", **{**ALL_ON, "create_jira": "False"})
    assert (run_fields(ran)["nags_sent"], run_fields(ran)["keys_disabled"]) == (0, 0)
    one_due.slack.heal()
    ran = run(one_due, "acme-dev", **{**ALL_ON, "create_jira": "False"})
    assert (run_fields(ran)["nags_sent"], run_fields(ran)["keys_disabled"]) == (1, 1)


# Names without case: saltstack/salt 24947, kubernetes/kops 11727


EXEMPTION = """[[exemption]]
account = "{account}"
user = "{user}"
until = {until}
reason = "SEC-99: moves to a role"
"""


@pytest.mark.parametrize(
    ("account", "user"),
    [("acme-dev", "svc-backup"), ("Acme-Dev", "SVC-*"), ("123456789012", "svc-[B]ackup")],
)
def test_an_exemption_by_file_holds_in_any_case(world: World, account: str, user: str) -> None:
    world.aws.add_user("Svc-Backup", [197])
    file = world.folder / "exemptions.toml"
    file.write_text(EXEMPTION.format(account=account, user=user, until=TOMORROW), encoding="utf-8")
    ran = run(world, "acme-dev", disable_key="True", exemptions_file=str(file))
    assert (run_fields(ran)["exempt"], run_fields(ran)["keys_disabled"]) == (1, 0)
    assert statuses(world, "Svc-Backup") == ["Active"]


def tag(world: World, user: str, tags: dict[str, str]) -> None:
    named = [{"Key": key, "Value": value} for key, value in tags.items()]
    world.aws.client("iam").tag_user(UserName=user, Tags=named)


def test_an_exemption_by_tags_and_an_owner_by_tag_hold_in_any_case(world: World) -> None:
    world.aws.add_user("svc-backup", [197])
    tag(world, "svc-backup", {"Keycheck:Exempt-Until": str(TOMORROW), "KeyCheck:Exempt-Reason": "SEC-99"})
    world.aws.add_user("svc-deploy", [197])
    tag(world, "svc-deploy", {"Slack_ID": KRAMER})
    ran = run(world, "acme-dev", send_slack="True", disable_key="True", exempt_by_tag="True")
    assert statuses(world, "svc-backup") == ["Active"]
    assert run_fields(ran)["exempt"] == 1
    assert [message.channel for message in world.slack.messages] == [KRAMER]


def test_an_owner_by_mapping_is_told_in_any_case(world: World) -> None:
    world.aws.add_user("Dev_Kramer", [197])
    world.owners["ACME-DEV/dev_kramer"] = KRAMER
    run(world, "acme-dev", send_slack="True", slack_fallback_channel="C0FALLBACK")
    assert [message.channel for message in world.slack.messages] == [KRAMER]


# Slack says that it may have been done: slackapi/node-slack-sdk 1680


@pytest.mark.parametrize("word", ["internal_error", "fatal_error"])
@pytest.mark.parametrize("status", [200, 500])
def test_a_message_that_slack_may_have_posted_is_not_posted_again_and_disables_nothing(
    one_due: World, word: str, status: int
) -> None:
    """It is said, counts as sent for the interval, and never as a notice."""
    posted_all_the_same = Fault(served=True, answer=Answer(status, {"ok": False, "error": word}))
    one_due.slack.inject(posted_all_the_same, calls("POST", "/chat.postMessage"))
    settings = {**ALL_ON, "create_jira": "False"}
    ran = run(one_due, "acme-dev", **settings)
    assert f"Slack failed on the message to {KRAMER} ({word}); it may have arrived, so it counts as sent" in ran.stderr
    assert run_fields(ran)["errors"] == 1
    for _ in range(3):
        one_due.pass_time(timedelta(hours=1))
        run(one_due, "acme-dev", **settings)
    assert len(one_due.slack.messages) == 1
    assert statuses(one_due, "dev_kramer") == ["Active"]
    one_due.slack.heal()
    one_due.pass_time(timedelta(hours=22))
    run(one_due, "acme-dev", **settings)
    assert (len(one_due.slack.messages), statuses(one_due, "dev_kramer")) == (2, ["Inactive"])


# A secret in the wrong place: caronc/apprise 1532


MISPLACED = (
    "xoxe.xoxb-1-Mi0yLTEyMzQ1Njc4OTAt",
    "https://hooks.slack.com/services/T012AB3CD/B012AB3CD/abcdefghijklmnop",
    "ATSTT3xFfGF0T5JNabcdefghijklmnop",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
)


@pytest.mark.parametrize("secret", MISPLACED, ids=["Slack", "webhook", "Atlassian", "JWT"])
def test_a_secret_in_the_wrong_place_is_never_repeated(one_due: World, secret: str) -> None:
    settings = [setting.name for setting in SETTINGS if setting.kind not in ("boolean", "number")]
    for name in settings:
        ran = run(one_due, "acme-dev", **{**ALL_ON, name: secret})
        assert ran.code == 2
        assert f"{name}: this looks like " in ran.stderr
        assert secret[5:] not in ran.stdout + ran.stderr
    ran = run(one_due, secret)
    assert ran.code == 2
    assert "looks like" in ran.stderr
    assert secret[5:] not in ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "name",
    ["aws_dynamodb_profile_name", "credstash_keyname_slack_api_token", "exemptions_file", "slack_id_mapping_file"],
)
def test_a_long_name_that_was_not_found_is_shown_by_a_few_characters(one_due: World, name: str) -> None:
    """A secret of a kind that nobody knows could stand there."""
    unknown = "hunter2hunter2hunter2hunter2"
    ran = run(one_due, "acme-dev", **{**ALL_ON, "create_jira": "False", name: unknown})
    assert unknown not in ran.stdout + ran.stderr
    assert "hunt..." in ran.stderr
    assert "(28 characters)" in ran.stderr
    assert statuses(one_due, "dev_kramer") == ["Active"]
