"""moto's server as the sandbox runs it: seeded in process, read over HTTP, moved back in time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import credstash
import pytest

from sandbox.moto_aws import SECRETS_TABLE, STATE_TABLE, MotoAws

ROOT = Path(__file__).resolve().parent.parent
NOW = datetime(2026, 11, 23, 8, 0, 0, 500_000, tzinfo=UTC)
OTHER_ACCOUNT = "222222222222"


@pytest.fixture(scope="module", name="server")
def running_server() -> Iterator[MotoAws]:
    with MotoAws() as aws:
        yield aws


@pytest.fixture(name="aws")
def empty_server(server: MotoAws) -> MotoAws:
    server.reset()
    return server


def session_of(profile: str, config_file: Path) -> boto3.Session:
    """What keycheck would get for a profile in that file, and in no other."""
    empty = (None, None, os.devnull, None)
    core = botocore.session.Session(
        session_vars={"config_file": (None, None, str(config_file), None), "credentials_file": empty}, profile=profile
    )
    return boto3.Session(botocore_session=core)


def make_state_table(aws: MotoAws, name: str = STATE_TABLE, region: str = "us-east-1") -> Any:
    return aws.resource("dynamodb", region).create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "iam_access_key_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "iam_access_key_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def test_a_seeded_user_is_read_over_http(aws: MotoAws) -> None:
    ids = aws.add_user("a+=,.@_-b", [197.5, 10, 0], now=NOW)
    iam = aws.client("iam")
    assert [user["UserName"] for user in iam.list_users()["Users"]] == ["a+=,.@_-b"]
    shown = iam.list_access_keys(UserName="a+=,.@_-b")["AccessKeyMetadata"]
    assert [key["AccessKeyId"] for key in shown] == ids
    assert [key["CreateDate"] for key in shown] == [
        datetime(2026, 5, 9, 20, 0, tzinfo=UTC),
        datetime(2026, 11, 13, 8, 0, tzinfo=UTC),
        datetime(2026, 11, 23, 8, 0, tzinfo=UTC),
    ]
    assert {key["Status"] for key in shown} == {"Active"}
    assert aws.keys("a+=,.@_-b") == [(key["AccessKeyId"], "Active", key["CreateDate"]) for key in shown]


def test_statuses_go_both_ways(aws: MotoAws) -> None:
    (key_id,) = aws.add_user("dev_kramer", [200], status="Inactive")
    iam = aws.client("iam")
    assert iam.list_access_keys(UserName="dev_kramer")["AccessKeyMetadata"][0]["Status"] == "Inactive"
    aws.set_status("dev_kramer", key_id, "Active")
    assert iam.list_access_keys(UserName="dev_kramer")["AccessKeyMetadata"][0]["Status"] == "Active"
    iam.update_access_key(UserName="dev_kramer", AccessKeyId=key_id, Status="Inactive")
    assert aws.keys("dev_kramer")[0][1] == "Inactive"
    with pytest.raises(KeyError):
        aws.set_status("dev_kramer", "AKIA" + "A" * 16, "Active")


def test_a_user_is_there_once_and_can_go(aws: MotoAws) -> None:
    aws.add_user("dev_kramer", [1])
    with pytest.raises(ValueError, match="already"):
        aws.add_user("dev_kramer")
    aws.delete_user("dev_kramer")
    assert aws.client("iam").list_users()["Users"] == []
    with pytest.raises(KeyError):
        aws.keys("dev_kramer")
    aws.add_user("dev_kramer", [1])


def test_each_profile_is_in_its_own_account(aws: MotoAws, tmp_path: Path) -> None:
    aws.add_user("here", [1])
    aws.add_user("there", [1], account_id=OTHER_ACCOUNT)
    config = tmp_path / "config"
    config.write_text(aws.aws_config({"default": aws.account_id, "acme-dev": OTHER_ACCOUNT}), encoding="utf-8")
    for profile, account, user in (("default", aws.account_id, "here"), ("acme-dev", OTHER_ACCOUNT, "there")):
        session = session_of(profile, config)
        iam = session.client("iam", endpoint_url=aws.url)
        assert [found["UserName"] for found in iam.list_users()["Users"]] == [user]
        assert session.client("sts", endpoint_url=aws.url).get_caller_identity()["Account"] == account
    aws.reset()
    aws.add_user("still_there", account_id=OTHER_ACCOUNT)
    assert [found["UserName"] for found in iam.list_users()["Users"]] == ["still_there"], "reset() keeps the callers"


def test_a_role_profile_is_in_the_account_of_its_role(aws: MotoAws, tmp_path: Path) -> None:
    aws.add_user("there", [1], account_id=OTHER_ACCOUNT)
    config = tmp_path / "config"
    role = f"[profile role]\nrole_arn = arn:aws:iam::{OTHER_ACCOUNT}:role/keycheck\nsource_profile = base\n"
    base = aws.aws_config({"base": aws.account_id})
    config.write_text(f"{base}endpoint_url = {aws.url}\n\n{role}region = us-east-1\n", encoding="utf-8")
    session = session_of("role", config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", aws.url)
        assert [user["UserName"] for user in session.client("iam").list_users()["Users"]] == ["there"]


def test_moving_back_is_exact_for_users_and_keys(aws: MotoAws) -> None:
    aws.add_user("dev_kramer", [1, 0], now=NOW)
    aws.add_user("other", [5], account_id=OTHER_ACCOUNT, now=NOW)
    aws.client("iam").create_user(UserName="made_over_http")
    iam = aws.client("iam")
    before = {user["UserName"]: user["CreateDate"] for user in iam.list_users()["Users"]}
    aws.move_back(timedelta(days=15, seconds=1))
    after = {user["UserName"]: user["CreateDate"] for user in iam.list_users()["Users"]}
    assert {name: before[name] - after[name] for name in before} == dict.fromkeys(before, timedelta(days=15, seconds=1))
    assert [date for _, _, date in aws.keys("dev_kramer")] == [
        datetime(2026, 11, 7, 7, 59, 59, tzinfo=UTC),
        datetime(2026, 11, 8, 7, 59, 59, tzinfo=UTC),
    ]
    assert aws.keys("other", OTHER_ACCOUNT)[0][2] == datetime(2026, 11, 3, 7, 59, 59, tzinfo=UTC)
    with pytest.raises(ValueError, match="whole seconds"):
        aws.move_back(timedelta(milliseconds=1))


def test_moving_back_moves_the_instants_of_the_state_and_nothing_else(aws: MotoAws) -> None:
    moved = {
        "told_at": Decimal(1_000_000),
        "claimed_until": Decimal("1000000.000000000000000000000000123"),
        "not_before": Decimal(10),
        "told_at_list": [Decimal(1_000_000), "text", Decimal(7)],
        "jira_filings": [Decimal(1_000_000)],
    }
    left = {
        "user_name": "dev_kramer",
        "attempts": Decimal(3),
        "format": Decimal(4),
        "sent_at_text": "5",
        "seen_at": "6",
    }
    table = make_state_table(aws)
    elsewhere = make_state_table(aws, "another-table")
    item = {"iam_access_key_id": "AKIAEXAMPLE", **moved, **left}
    table.put_item(Item=item)
    elsewhere.put_item(Item=item)
    table.update_item(
        Key={"iam_access_key_id": "AKIAEXAMPLE"},
        UpdateExpression="SET jira_filings = list_append(jira_filings, :more)",
        ExpressionAttributeValues={":more": [Decimal(2_000_000)]},
    )
    aws.move_back(timedelta(seconds=100))
    assert table.get_item(Key={"iam_access_key_id": "AKIAEXAMPLE"}, ConsistentRead=True)["Item"] == {
        "iam_access_key_id": "AKIAEXAMPLE",
        "told_at": Decimal(999_900),
        "claimed_until": Decimal("999900.000000000000000000000000123"),
        "not_before": Decimal(-90),
        "told_at_list": [Decimal(999_900), "text", Decimal(-93)],
        "jira_filings": [Decimal(999_900), Decimal(1_999_900)],
        **left,
    }
    assert elsewhere.get_item(Key={"iam_access_key_id": "AKIAEXAMPLE"})["Item"] == item
    # and conditions see the moved values as numbers
    table.update_item(
        Key={"iam_access_key_id": "AKIAEXAMPLE"},
        UpdateExpression="SET told_at = told_at + :one",
        ConditionExpression="told_at <= :bound",
        ExpressionAttributeValues={":one": 1, ":bound": 999_900},
    )
    assert aws.state_items()[0]["told_at"] == 999_901


def test_state_items_are_plain_and_sorted(aws: MotoAws) -> None:
    assert aws.state_items() == []
    table = make_state_table(aws, region="eu-west-1")
    assert table.get_item(Key={"iam_access_key_id": "nothing"}).get("Item") is None
    for name in ("b", "slack:1:U1", "a"):
        table.put_item(Item={"iam_access_key_id": name, "told_at": 5, "part": Decimal("0.5"), "list": [1], "raw": b"x"})
    items = aws.state_items()
    assert [item["iam_access_key_id"] for item in items] == ["a", "b", "slack:1:U1"]
    assert items[0] == {"iam_access_key_id": "a", "told_at": 5, "part": 0.5, "list": [1], "raw": b"x"}
    assert [type(items[0][name]) for name in ("told_at", "part", "raw")] == [int, float, bytes]
    assert aws.state_items(region="us-east-1") == []
    assert len(aws.state_items(region="eu-west-1", account_id=aws.account_id)) == 3


def test_a_secret_goes_through_credstash_and_back(aws: MotoAws) -> None:
    aws.put_secret("slack.api.token", "xoxb-old")
    aws.put_secret("slack.api.token", "xoxb-new")
    aws.put_secret("atlassian.api.email", "bot@example.com", region="eu-west-1")

    def read(name: str, region: str, account_id: str | None = None) -> str:
        dynamodb = aws.resource("dynamodb", region, account_id)
        secret: str = credstash.getSecret(name, dynamodb=dynamodb, kms=aws.client("kms", region, account_id))
        return secret

    assert read("slack.api.token", "us-east-1") == "xoxb-new"
    assert read("atlassian.api.email", "eu-west-1") == "bot@example.com"
    with pytest.raises(credstash.ItemNotFound):
        read("atlassian.api.email", "us-east-1")
    stored = aws.state_items(SECRETS_TABLE, region="us-east-1")
    assert [item["version"] for item in stored] == ["0" * 18 + "1", "0" * 18 + "2"]
    assert "xoxb" not in str(stored)
    aws.put_secret("slack.api.token", "xoxb-other", account_id=OTHER_ACCOUNT)
    assert read("slack.api.token", "us-east-1", OTHER_ACCOUNT) == "xoxb-other"
    assert read("slack.api.token", "us-east-1") == "xoxb-new"


def test_nothing_is_written_to_stderr(aws: MotoAws, capfd: pytest.CaptureFixture[str]) -> None:
    aws.client("iam").list_users()
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_stopped_server_refuses_connections() -> None:
    aws = MotoAws()
    with pytest.raises(RuntimeError):
        _ = aws.url
    with aws:
        aws.client("iam").list_users()
        host, port = aws.url.removeprefix("http://").split(":")
        with pytest.raises(RuntimeError):
            aws.start()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)
    aws.stop()


@pytest.mark.process
def test_the_machines_own_configuration_is_not_read(tmp_path: Path) -> None:
    """Also by moto itself, which asks a session of its own for the regions."""
    broken = tmp_path / "config"
    broken.write_text("not [ a configuration\n", encoding="utf-8")
    script = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from sandbox.moto_aws import MotoAws
with MotoAws() as aws:
    aws.add_user("dev_kramer", [1])
    aws.put_secret("a", "b")
    print(len(aws.client("iam").list_users()["Users"]), len(aws.state_items("credential-store")))
"""
    environment = {**os.environ, "AWS_PROFILE": "nope", "AWS_CONFIG_FILE": str(broken)}
    environment |= {"AWS_SHARED_CREDENTIALS_FILE": str(broken), "HTTP_PROXY": "http://127.0.0.1:1"}
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "1 1\n", "")
