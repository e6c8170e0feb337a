"""What happened to people with other tools, played with keycheck: whole runs on the sandbox.

Each test stands for a kind, and names the public report that it comes from (a GitHub issue). What must be seen: no
access key is disabled that would not have been, nobody is told twice, no secret leaves, and what is said leads the
reader to the cause.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keycheck.settings import SETTINGS
from sandbox.gate import is_action
from sandbox.http_fake import Answer, FakeServer, Fault, Match, Request, calls
from sandbox.world import World
from tests.builders import ALL_ON
from tests.impatience import wait_until
from tests.running import fake_iam, run, run_fields, statuses

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


# Programs that a profile names: 99designs/aws-vault 1169


def left_behind(marker: str) -> list[str]:
    """Command lines of the processes that are still there and have this in theirs."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in lines if marker in line]


def waiting_program(world: World, marker: str) -> Path:
    """A program that waits for somebody, in a process of its own."""
    program = world.folder / "ask-somebody.sh"
    program.write_text(f"#!/bin/sh\nsleep {marker} &\nsleep {marker}\n", encoding="utf-8")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("is_source", [False, True], ids=["its own", "its source_profile's"])
def test_a_credential_process_that_waits_for_somebody_ends_with_the_run(iam_world: World, is_source: bool) -> None:
    """A profile that hangs so is one error, and exit 1 where nothing was scanned."""
    marker = "613.4711" + str(int(is_source))
    program = waiting_program(iam_world, marker)
    config = iam_world.folder / "config-that-waits"
    role = "[profile asks]\nrole_arn = arn:aws:iam::123456789012:role/audit\nsource_profile = base\n[profile base]\n"
    begin = role if is_source else "[profile asks]\n"
    config.write_text(f"{begin}credential_process = {program} --for-token hush\n", encoding="utf-8")
    ran = run(iam_world, "asks", AWS_CONFIG_FILE=str(config), run_timeout_seconds="5")
    assert left_behind(marker) == []
    assert ran.code == 1
    name = "base" if is_source else "asks"
    said = f"the credential_process of the profile {name} did not end in time, and was ended: {program} ..."
    assert ran.stderr.startswith(f"E! asks: {said}; run it by hand to see what it waits for")
    assert "hush" not in ran.stderr
    assert run_fields(ran, "asks")["errors"] == 1


def test_a_credential_process_beside_a_good_profile_costs_its_own_alone(iam_world: World) -> None:
    fake_iam(iam_world).add_user("dev_kramer", [197])
    program = waiting_program(iam_world, "613.4713")
    config = iam_world.folder / "config-that-waits"
    good = iam_world.config_file.read_text(encoding="utf-8")
    config.write_text(f"{good}\n[profile asks]\ncredential_process = {program}\n", encoding="utf-8")
    ran = run(iam_world, "asks", "acme-dev", AWS_CONFIG_FILE=str(config), run_timeout_seconds="5")
    assert (ran.code, left_behind("613.4713")) == (0, [])
    assert (run_fields(ran, "asks")["errors"], run_fields(ran)["keys"]) == (1, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_credential_process_too(iam_world: World, number: int) -> None:
    program = waiting_program(iam_world, "613.4714")
    config = iam_world.folder / "config-that-waits"
    config.write_text(f"[profile asks]\ncredential_process = {program}\n", encoding="utf-8")
    with iam_world.popen("asks", AWS_CONFIG_FILE=str(config)) as process:
        wait_until(lambda: len(left_behind("613.4714")) >= 2)
        process.send_signal(number)
        process.communicate(timeout=30)
    assert left_behind("613.4714") == []
