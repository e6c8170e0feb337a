"""credstash in trouble: a secret that cannot be read costs its own service for this run, and nobody is disabled untold.

Two owners: dev_kramer, whom Slack can reach, and a stranger, whom only an issue can warn. So what may be disabled
differs with the service that is off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sandbox.gate import aws_error, is_action
from sandbox.http_fake import Fault, Request
from sandbox.moto_aws import SECRETS_TABLE
from sandbox.world import SECRETS, Ran, World
from tests.builders import ALL_ON
from tests.running import KRAMER, closed_port, iam_lines, issue_posts, run, run_fields, sends, statuses

OFF = {
    "slack.token": "nobody is nagged",
    "jira.email": "no issues are filed",
    "jira.token": "no issues are filed",
}
"""What cannot be done without each secret, as stderr says it."""


@pytest.fixture(name="staffed")
def world_with_an_owner_and_a_stranger(world: World) -> World:
    world.aws.add_user("dev_kramer", [197, 170])
    world.aws.add_user("stranger", [200])
    world.owners["dev_kramer"] = KRAMER
    return world


def stored(world: World, secret: str) -> dict[str, Any]:
    """The newest version of one secret as credstash keeps it."""
    return [item for item in world.aws.state_items(SECRETS_TABLE) if item["name"] == secret][-1]


def change(world: World, secret: str, attribute: str) -> None:
    """Change the first character of an attribute, which is base64 or hex and stays so."""
    item = stored(world, secret)
    old = item[attribute]
    first = "1" if bytes(old if isinstance(old, bytes) else old.encode()).startswith(b"0") else "0"
    new = first.encode() + old[1:] if isinstance(old, bytes) else first + old[1:]
    world.aws.resource("dynamodb").Table(SECRETS_TABLE).update_item(
        Key={"name": item["name"], "version": item["version"]},
        UpdateExpression="SET #attribute = :new",
        ExpressionAttributeNames={"#attribute": attribute},
        ExpressionAttributeValues={":new": new},
    )


def delete(world: World, secret: str) -> None:
    item = stored(world, secret)
    world.aws.resource("dynamodb").Table(SECRETS_TABLE).delete_item(
        Key={"name": item["name"], "version": item["version"]}
    )


def refuse_to_decrypt(world: World, secret: str, code: str) -> None:
    """KMS refuses the data key of this secret alone, as a key policy with an encryption context does."""
    data_key = stored(world, secret)["key"].encode()
    decrypt = is_action("Decrypt")
    world.gate.inject(
        Fault(served=False, answer=aws_error(code, service="kms")),
        lambda request: decrypt(request) and data_key in request.body,
    )


def mend(world: World) -> None:
    world.gate.heal()
    world.put_secrets()


def kms_access_denied(world: World, secret: str) -> None:
    refuse_to_decrypt(world, secret, "AccessDeniedException")


def kms_key_disabled(world: World, secret: str) -> None:
    refuse_to_decrypt(world, secret, "DisabledException")


def changed_hmac(world: World, secret: str) -> None:
    change(world, secret, "hmac")


def changed_contents(world: World, secret: str) -> None:
    change(world, secret, "contents")


Spoil = Callable[[World, str], None]
WHY: dict[Spoil, str] = {
    delete: "there is no secret of that name in the store",
    kms_access_denied: "KMS refused to decrypt it",
    kms_key_disabled: "the store's KMS key is disabled",
    changed_hmac: "its integrity check failed",
    changed_contents: "its integrity check failed",
}
"""Each secret below is missing once, refused by KMS once and tampered with once."""


def check_said(ran: Ran, secret: str, why: str) -> None:
    """One line for the one secret, its name and what is wrong, and no value of any."""
    errors = [line for line in ran.stderr.splitlines() if line.startswith("E! ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"E! acme-dev: {OFF[secret]}: the secret {secret!r} could not be read: {why}")
    assert all(value not in ran.stdout + ran.stderr for value in SECRETS.values())


@pytest.mark.represented_by("delete")
@pytest.mark.parametrize("spoil", [delete, kms_access_denied, changed_hmac])
def test_slacks_secret_costs_slack_and_the_issues_warn_where_no_owner_is_known(staffed: World, spoil: Spoil) -> None:
    spoil(staffed, "slack.token")
    ran = run(staffed, "acme-dev", **ALL_ON)
    assert (ran.code, len(iam_lines(ran))) == (0, 3)
    check_said(ran, "slack.token", WHY[spoil])
    fields = run_fields(ran)
    assert (fields["issues_filed"], fields["nags_sent"], fields["keys_disabled"], fields["errors"]) == (3, 0, 1, 1)
    assert fields["incomplete"] == 0
    assert sends(staffed) == 0

    mend(staffed)
    mended = run(staffed, "acme-dev", **ALL_ON)
    fields = run_fields(mended)
    assert (mended.code, mended.stderr, fields["nags_sent"], fields["keys_disabled"]) == (0, "", 1, 1)
    assert [message.channel for message in staffed.slack.messages] == [KRAMER]
    assert issue_posts(staffed) == 3


@pytest.mark.represented_by("jira.token-delete")
@pytest.mark.parametrize(
    ("secret", "spoil"),
    [
        ("jira.email", delete),
        ("jira.email", kms_key_disabled),
        ("jira.email", changed_contents),
        ("jira.token", delete),
        ("jira.token", kms_access_denied),
        ("jira.token", changed_hmac),
    ],
)
def test_each_of_jiras_secrets_costs_jira_and_whom_slack_cannot_tell_stays_active(
    staffed: World, spoil: Spoil, secret: str
) -> None:
    spoil(staffed, secret)
    ran = run(staffed, "acme-dev", **ALL_ON)
    assert (ran.code, len(iam_lines(ran))) == (0, 3)
    check_said(ran, secret, WHY[spoil])
    assert "W! acme-dev: 1 access key not disabled: nobody could be told" in ran.stderr
    fields = run_fields(ran)
    assert (fields["issues_filed"], fields["nags_sent"], fields["keys_disabled"], fields["errors"]) == (0, 1, 1, 1)
    assert staffed.jira.requests == []
    assert statuses(staffed, "dev_kramer") == ["Inactive", "Active"]
    assert statuses(staffed, "stranger") == ["Active"]

    mend(staffed)
    mended = run(staffed, "acme-dev", **ALL_ON)
    assert (mended.code, mended.stderr) == (0, "")
    fields = run_fields(mended)
    assert (fields["issues_filed"], fields["nags_sent"], fields["keys_disabled"]) == (2, 0, 1)
    assert statuses(staffed, "stranger") == ["Inactive"]
    assert sends(staffed) == 1


def about_the_store(request: Request) -> bool:
    return f'"{SECRETS_TABLE}"'.encode() in request.body


def spoil_the_store(world: World, trouble: str) -> dict[str, str]:
    """Spoil it for every secret; gives the settings of a run that meets the trouble."""
    match trouble:
        case "no table":
            world.aws.client("dynamodb").delete_table(TableName=SECRETS_TABLE)
        case "table unreachable":
            world.gate.inject(Fault.drop_before_serving(), about_the_store)
        case "table may not be read":
            world.gate.inject(Fault(served=False, answer=aws_error("AccessDeniedException")), about_the_store)
        case "KMS refuses all":
            world.gate.inject(
                Fault(served=False, answer=aws_error("AccessDeniedException", service="kms")), is_action("Decrypt")
            )
        case "KMS unreachable":
            return {"AWS_ENDPOINT_URL_KMS": closed_port()}
    return {}


@pytest.mark.represented_by("KMS unreachable-is there a network?")
@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        ("no table", "there is no table credential-store in that profile's account and region"),
        ("table unreachable", "is there a network?"),
        ("table may not be read", "was refused (AccessDeniedException); allow it"),
        ("KMS refuses all", "KMS refused to decrypt it; allow kms:Decrypt"),
        ("KMS unreachable", "is there a network?"),
    ],
)
def test_a_store_that_gives_no_secret_at_all_costs_both_services_and_nobody_is_disabled(
    staffed: World, trouble: str, why: str
) -> None:
    settings = spoil_the_store(staffed, trouble)
    ran = run(staffed, "acme-dev", **ALL_ON, **settings)
    assert (ran.code, len(iam_lines(ran))) == (0, 3)
    slack, jira, untold = ran.stderr.splitlines()
    assert jira.startswith("E! acme-dev: no issues are filed: the secret 'jira.email' could not be read: ")
    assert slack.startswith("E! acme-dev: nobody is nagged: the secret 'slack.token' could not be read: ")
    assert why in jira
    assert why in slack
    assert untold.startswith("W! acme-dev: 2 access keys not disabled: nobody could be told")
    fields = run_fields(ran)
    assert (fields["issues_filed"], fields["nags_sent"], fields["keys_disabled"], fields["errors"]) == (0, 0, 0, 2)
    assert (staffed.jira.requests, sends(staffed)) == ([], 0)
    assert statuses(staffed, "dev_kramer") + statuses(staffed, "stranger") == ["Active"] * 3

    mend(staffed)
    mended = run(staffed, "acme-dev", **ALL_ON)
    assert (mended.code, mended.stderr) == (0, "")
    fields = run_fields(mended)
    assert (fields["issues_filed"], fields["nags_sent"], fields["keys_disabled"]) == (3, 1, 2)


@pytest.mark.represented_by("Slack")
@pytest.mark.parametrize(
    ("settings", "secret"),
    [
        pytest.param({"send_slack": "True"}, "slack.token", id="Slack"),
        pytest.param({"create_jira": "True"}, "jira.email", id="Jira"),
        pytest.param(
            {"create_jira": "True", "credstash_keyname_atlassian_api_email": ""}, "jira.token", id="Jira with Bearer"
        ),
    ],
)
def test_the_only_channel_without_its_secret_keeps_every_access_key_active(
    staffed: World, settings: dict[str, str], secret: str
) -> None:
    spoil_the_store(staffed, "no table")
    ran = run(staffed, "acme-dev", disable_key="True", **settings)
    assert ran.code == 0
    check_said(ran, secret, "there is no table credential-store")
    assert statuses(staffed, "dev_kramer") + statuses(staffed, "stranger") == ["Active"] * 3
    assert run_fields(ran)["keys_disabled"] == 0
    assert staffed.gate.calls["UpdateAccessKey"] == 0
