"""Secrets through the real credstash, on moto: each from its own profile's account, and no value in any message."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.kms.models import kms_backends

from keycheck.clock import RunClock, Stopped
from keycheck.services import ServiceError
from keycheck.services.secrets import Secrets
from sandbox.http_fake import Answer, FakeServer, Request
from sandbox.moto_aws import SECRETS_KEY, SECRETS_TABLE, MotoAws

ACCOUNTS = {"acme-dev": "123456789012", "acme-prod": "210987654321"}
NAME = "slack.token"
VALUE = "xoxb-invented-and-secret"


@pytest.fixture(scope="module")
def config(moto: MotoAws, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two profiles in two accounts."""
    path = tmp_path_factory.mktemp("aws") / "config"
    path.write_text(moto.aws_config(ACCOUNTS), encoding="utf-8")
    return path


@pytest.fixture
def aws(moto: MotoAws, config: Path, monkeypatch: pytest.MonkeyPatch) -> MotoAws:
    """An empty moto, and the profiles in it."""
    moto.reset()
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.url)
    return moto


@pytest.fixture(scope="module")
def shared() -> Secrets:
    """One for most tests: it makes its clients once, on first need, and that takes longer than they do."""
    return Secrets("acme-dev", None, RunClock())


@pytest.fixture
def secrets(aws: MotoAws, shared: Secrets) -> Secrets:  # noqa: ARG001 - it needs moto and the profiles
    return shared


@pytest.fixture
def new_secrets(aws: MotoAws) -> Secrets:  # noqa: ARG001 - likewise
    """A store that has no clients yet: they take their endpoints from the environment as it is then."""
    return Secrets("acme-dev", None, RunClock())


def put(aws: MotoAws, name: str = NAME, value: str = VALUE, profile: str = "acme-dev", **where: Any) -> None:
    aws.put_secret(name, value, account_id=ACCOUNTS[profile], **where)


def change(aws: MotoAws, attribute: str, value: object) -> None:
    """Change the stored secret in the table, as somebody might who cannot decrypt it."""
    table = aws.resource("dynamodb", account_id=ACCOUNTS["acme-dev"]).Table(SECRETS_TABLE)
    (item,) = table.scan()["Items"]
    table.put_item(Item={**item, attribute: value})


def failed(read: Callable[[], object], value: str = VALUE) -> ServiceError:
    """The ServiceError that a reading ends in: it names the secret, and neither it nor its causes hold the value."""
    with pytest.raises(ServiceError) as caught:
        read()
    error = caught.value
    assert f"the secret {NAME!r}" in error.text
    assert error.service == "credstash"
    assert "\n" not in error.text
    if value.strip():
        assert value not in f"{error!r} {error} {error.args} {vars(error)}"
        assert value not in "".join(traceback.format_exception(error))
    return error


# Read


def test_a_secret_that_credstash_put_is_read(aws: MotoAws, secrets: Secrets) -> None:
    put(aws)
    assert secrets.read(NAME) == VALUE


def test_the_newest_version_is_read(aws: MotoAws, secrets: Secrets) -> None:
    for value in ("xoxb-first", "xoxb-second", VALUE):
        put(aws, value=value)
    assert secrets.read(NAME) == VALUE


def test_several_secrets_are_read_by_one_store(aws: MotoAws, secrets: Secrets) -> None:
    for name in ("jira.email", "jira.token", NAME):
        put(aws, name, f"value-of-{name}")
    assert [secrets.read(name) for name in ("jira.email", "jira.token", NAME)] == [
        "value-of-jira.email",
        "value-of-jira.token",
        f"value-of-{NAME}",
    ]


def test_two_profiles_in_one_process_each_read_their_own_accounts_secret(aws: MotoAws) -> None:
    """Left alone, credstash keeps the first session of the process for every later call."""
    for profile in ACCOUNTS:
        put(aws, value=f"value-in-{profile}", profile=profile)
    stores = {profile: Secrets(profile, None, RunClock()) for profile in ACCOUNTS}
    for _ in range(2):
        assert {profile: store.read(NAME) for profile, store in stores.items()} == {
            profile: f"value-in-{profile}" for profile in ACCOUNTS
        }


@pytest.mark.parametrize(
    ("region", "value"), [(None, "value-in-us-east-1"), ("eu-west-1", "value-in-eu-west-1")], ids=["profile's", "set"]
)
def test_the_region_is_the_settings_or_else_the_profiles(aws: MotoAws, region: str | None, value: str) -> None:
    for name in ("us-east-1", "eu-west-1"):
        put(aws, value=f"value-in-{name}", region=name)
    assert Secrets("acme-dev", region, RunClock()).read(NAME) == value


@pytest.mark.parametrize("value", [f"{VALUE}\n", f"\t{VALUE}\r\n "])
def test_white_space_around_a_secret_is_no_part_of_it(aws: MotoAws, secrets: Secrets, value: str) -> None:
    """`credstash put name < file` stores the file's last newline too."""
    put(aws, value=value)
    assert secrets.read(NAME) == VALUE


def test_the_environments_own_credentials_are_not_used(
    aws: MotoAws, new_secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(aws)
    put(aws, value="value-in-acme-prod", profile="acme-prod")
    other = boto3.Session(profile_name="acme-prod").get_credentials()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", other.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", other.secret_key)
    assert new_secrets.read(NAME) == VALUE


def test_nothing_is_opened_before_a_secret_is_read(aws: MotoAws) -> None:  # noqa: ARG001 - it needs the profiles
    store = Secrets("no-such-profile", None, RunClock())
    assert "there is no such AWS profile" in failed(lambda: store.read(NAME)).text


def test_nothing_is_read_past_the_deadline(aws: MotoAws) -> None:
    put(aws)
    clock = RunClock()
    clock.set_timeout(0)
    with pytest.raises(Stopped):
        Secrets("acme-dev", None, clock).read(NAME)


# What can be wrong with the store


def test_a_missing_secret_is_said(aws: MotoAws, secrets: Secrets) -> None:
    put(aws, "another", VALUE)
    assert "there is no secret of that name in the store" in failed(lambda: secrets.read(NAME)).text


def test_a_missing_store_is_said(secrets: Secrets) -> None:
    text = failed(lambda: secrets.read(NAME)).text
    assert "there is no table credential-store in that profile's account and region" in text


def test_a_store_without_a_region_is_said(aws: MotoAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config"
    config.write_text(aws.aws_config(ACCOUNTS, region=None), encoding="utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    assert "has no region" in failed(lambda: Secrets("acme-dev", None, RunClock()).read(NAME)).text


def test_a_key_that_is_gone_is_said(aws: MotoAws, secrets: Secrets) -> None:
    put(aws)
    kms = aws.client("kms", account_id=ACCOUNTS["acme-dev"])
    kms.delete_alias(AliasName=SECRETS_KEY)
    (key,) = kms.list_keys()["Keys"]
    del kms_backends[ACCOUNTS["acme-dev"]]["us-east-1"].keys[key["KeyId"]]
    assert "KMS refused to decrypt it; allow kms:Decrypt" in failed(lambda: secrets.read(NAME)).text


class Kms(FakeServer):
    """A KMS that refuses everything with one code."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self._code = code

    def serve(self, request: Request) -> Answer:
        assert request.headers["x-amz-target"] == "TrentService.Decrypt"
        answer = {"__type": self._code, "message": "User: arn:aws:iam::123456789012:user/x is not authorized"}
        return Answer(400, answer, {"Content-Type": "application/x-amz-json-1.1"})


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("AccessDeniedException", "KMS refused to decrypt it; allow kms:Decrypt"),
        ("DisabledException", "the store's KMS key is disabled or about to be deleted (DisabledException); enable it"),
        ("ExpiredTokenException", "the credentials have expired; renew them (ExpiredTokenException on kms:Decrypt)"),
    ],
)
def test_a_key_that_refuses_is_said_and_asked_once(
    aws: MotoAws, new_secrets: Secrets, monkeypatch: pytest.MonkeyPatch, code: str, says: str
) -> None:
    put(aws)
    with Kms(code) as kms:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", kms.url)
        text = failed(lambda: new_secrets.read(NAME)).text
        assert len(kms.requests) == 1
    assert says in text
    assert "arn:" not in text


@pytest.mark.parametrize("service", ["DYNAMODB", "KMS"])
def test_a_service_that_does_not_answer_is_said(
    aws: MotoAws, new_secrets: Secrets, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    put(aws)
    with Kms("") as nobody:
        nobody.stop_listening()
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", nobody.url)
        assert "is there a network?" in failed(lambda: new_secrets.read(NAME)).text


# What can be wrong with the secret


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("hmac", "00" * 32), ("contents", "AAAA")],
    ids=["hmac", "contents"],
)
def test_a_tampered_secret_is_said(aws: MotoAws, secrets: Secrets, attribute: str, value: str) -> None:
    put(aws)
    change(aws, attribute, value)
    assert "its integrity check failed" in failed(lambda: secrets.read(NAME)).text


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("hmac", "not hex"), ("contents", "A"), ("key", "AAAA"), ("digest", "WHIRLPOOL"), ("hmac", 7)],
    ids=["hmac not hex", "contents not base64", "key", "digest", "hmac a number"],
)
def test_an_item_that_credstash_did_not_write_is_one_error(
    aws: MotoAws, secrets: Secrets, attribute: str, value: object
) -> None:
    put(aws)
    change(aws, attribute, value)
    text = failed(lambda: secrets.read(NAME)).text
    is_kms = (attribute, value) == ("key", "AAAA")
    assert ("KMS refused" if is_kms else "its item in the store is damaged, or not one of credstash's") in text


@pytest.mark.parametrize("attribute", ["contents", "key", "hmac"])
def test_an_item_that_lacks_a_part_is_said_to_be_damaged(aws: MotoAws, secrets: Secrets, attribute: str) -> None:
    put(aws)
    table = aws.resource("dynamodb", account_id=ACCOUNTS["acme-dev"]).Table(SECRETS_TABLE)
    (item,) = table.scan()["Items"]
    table.put_item(Item={name: value for name, value in item.items() if name != attribute})
    assert "its item in the store is damaged" in failed(lambda: secrets.read(NAME)).text


def put_versions(aws: MotoAws, *versions: str) -> None:
    """Store the secret under versions as they are given: credstash itself pads those of today."""
    put(aws)
    table = aws.resource("dynamodb", account_id=ACCOUNTS["acme-dev"]).Table(SECRETS_TABLE)
    (item,) = table.scan()["Items"]
    table.delete_item(Key={"name": item["name"], "version": item["version"]})
    for version in versions:
        table.put_item(Item={**item, "version": version})


@pytest.mark.parametrize(
    ("versions", "read", "newest"),
    [
        (("9", "10"), 9, 10),
        (("2", "0000000000000000010"), 2, 10),
        (tuple(str(version) for version in range(1, 25)), 9, 24),
    ],
)
def test_an_older_version_that_credstash_would_read_is_said_with_the_way_out(
    aws: MotoAws, secrets: Secrets, versions: tuple[str, ...], read: int, newest: int
) -> None:
    put_versions(aws, *versions)
    text = failed(lambda: secrets.read(NAME)).text
    assert f"its version {read} is read in place of {newest}" in text
    assert "delete all of them (credstash delete) and put it again" in text


@pytest.mark.parametrize("versions", [("1", "2", "9"), ("9",), ("0000000000000000009", "0000000000000000010"), ("v1",)])
def test_versions_whose_order_is_the_same_either_way_are_read(
    aws: MotoAws, secrets: Secrets, versions: tuple[str, ...]
) -> None:
    put_versions(aws, *versions)
    assert secrets.read(NAME) == VALUE


def test_another_table_is_read_where_it_is_named(aws: MotoAws) -> None:
    put(aws)
    table = aws.resource("dynamodb", account_id=ACCOUNTS["acme-dev"]).Table(SECRETS_TABLE)
    (item,) = table.scan()["Items"]
    client = aws.client("dynamodb", account_id=ACCOUNTS["acme-dev"])
    shape = client.describe_table(TableName=SECRETS_TABLE)["Table"]
    client.create_table(
        TableName="team-secrets",
        KeySchema=shape["KeySchema"],
        AttributeDefinitions=shape["AttributeDefinitions"],
        BillingMode="PAY_PER_REQUEST",
    )
    store = Secrets("acme-dev", None, RunClock(), "team-secrets")
    assert "there is no secret of that name in the store" in failed(lambda: store.read(NAME)).text
    aws.resource("dynamodb", account_id=ACCOUNTS["acme-dev"]).Table("team-secrets").put_item(Item=item)
    assert store.read(NAME) == VALUE
    lost = Secrets("acme-dev", None, RunClock(), "no-such-table")
    assert "there is no table no-such-table in that profile's" in failed(lambda: lost.read(NAME)).text


@pytest.mark.parametrize(
    "value",
    [" \n", "two words", "two\nlines", "na\u00efve", "del\x7f", "\u200bzero-width"],
    ids=["empty", "words", "lines", "accent", "del", "zero-width"],
)
def test_a_value_that_can_be_no_token_is_refused_and_not_shown(aws: MotoAws, secrets: Secrets, value: str) -> None:
    """It would end up in a header, and a mistake in copying is better said here than by Slack or Jira."""
    put(aws, value=value)
    assert (
        "is empty or holds characters that no token has; put it again" in failed(lambda: secrets.read(NAME), value).text
    )


def test_a_secret_that_failed_can_be_read_later(aws: MotoAws, secrets: Secrets) -> None:
    failed(lambda: secrets.read(NAME))
    put(aws)
    assert secrets.read(NAME) == VALUE


# The access keys that reading depends on


def test_the_access_keys_of_the_stores_profile_are_told(aws: MotoAws, secrets: Secrets) -> None:
    for profile, account in ACCOUNTS.items():
        credentials = boto3.Session(profile_name=profile).get_credentials()
        assert credentials.access_key in secrets.own_access_key_ids(), account
    assert aws.state_items(SECRETS_TABLE) == []


@pytest.mark.usefixtures("aws")
def test_a_profile_that_cannot_be_opened_has_none_to_tell() -> None:
    assert Secrets("no-such-profile", None, RunClock()).own_access_key_ids() == frozenset()
