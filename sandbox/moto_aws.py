"""IAM, DynamoDB, KMS and STS on loopback: moto's server, with its memory within reach.

The server runs in a thread of this process, so the account is filled, looked into and moved back in time directly,
which takes microseconds; keycheck runs as a process of its own and talks to `url` over HTTP (AWS_ENDPOINT_URL).

    with MotoAws() as aws:
        aws.add_user("dev_kramer", [197])
        aws.put_secret("slack.api.token", "xoxb-invented")

Good to know:

- moto's memory belongs to the process: two MotoAws in one process show the same accounts, and the memory stays over a
  stop() until reset().
- moto has no locks. Change its memory while no call is in flight, and build no test of a claim on it.
- It ignores MaxItems and Marker and accepts a status that is none: fake_iam is for that.
- stop() takes up to half a second, reset() none: tests share one server and reset it.

Which account a caller is in goes by its access key id: `aws_config` makes one for each account, and so does AssumeRole
(a profile with `role_arn = arn:aws:iam::ACCOUNT:role/NAME` and a `source_profile`). An id that moto does not know is in
`account_id`. Signatures, session tokens and permissions are not checked.

Nothing here reads the configuration of the machine it runs on: neither ~/.aws nor AWS_PROFILE.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from functools import cache
from typing import Any, Final, Literal, Self

import boto3
import botocore.session
import credstash
from boto3.dynamodb.conditions import Key
from boto3.dynamodb.types import Binary
from botocore.config import Config
from moto.core.base_backend import AccountSpecificBackend
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table
from moto.iam.models import AccessKey, IAMBackend, User, iam_backends
from moto.kms.models import kms_backends
from moto.moto_api._internal.models import moto_api_backend
from moto.server import ThreadedMotoServer

from sandbox.dynamodb import event_moved_back

STATE_TABLE: Final = "iam-access-key-alert"
SECRETS_TABLE: Final = "credential-store"
SECRETS_KEY: Final = "alias/credstash"

_PARTITION: Final = "aws"
_EXACT: Final = Context(prec=40)
"""DynamoDB's numbers have 38 digits."""


class MotoAws:
    """moto's server, its accounts, and what it takes to act as a caller of one.

    `state_tables`: the names of the tables whose instants move_back() moves.
    """

    def __init__(self) -> None:
        self.account_id: str = DEFAULT_ACCOUNT_ID
        self.state_tables: set[str] = {STATE_TABLE}
        self._server: ThreadedMotoServer | None = None
        self._callers: dict[str, AccessKey] = {}
        self._clients: dict[tuple[str, ...], Any] = {}
        self._request_log = logging.getLogger("werkzeug")
        self._request_log_level = self._request_log.level

    # Life

    def start(self) -> Self:
        """Serve until stop(), with whatever this process's moto already holds."""
        if self._server is not None:
            raise RuntimeError("moto is already running")
        _keep_moto_off_this_machine()
        self._request_log_level = self._request_log.level
        self._request_log.setLevel(logging.ERROR)  # else a line on stderr for each request
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        self._server = server
        return self

    def stop(self) -> None:
        """Refuse connections from now on. Harmless when not running."""
        server, self._server = self._server, None
        if server is None:
            return
        server.stop()
        listener = server._server  # noqa: SLF001
        if listener is not None:
            listener.server_close()  # moto leaves the port open, and a client would wait for ever
        self._request_log.setLevel(self._request_log_level)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        if self._server is None:
            raise RuntimeError("moto is not running: it has no URL")
        host, port = self._server.get_host_and_port()
        return f"http://{host}:{port}"

    def reset(self) -> None:
        """Forget all users, tables, secrets and keys of all accounts. What aws_config() wrote stays valid."""
        moto_api_backend.reset()
        for account_id, caller in self._callers.items():
            self._iam(account_id).access_keys[caller.access_key_id] = caller

    # Callers

    def aws_config(self, profiles: Mapping[str, str], region: str | None = "us-east-1") -> str:
        """The text of an AWS config file with these profiles, each a caller in the account that it is given.

        `profiles` maps a profile's name to twelve digits. The callers' access keys are temporary ones that belong to no
        user, so no scan shows them. Without a `region` the profiles have none. The endpoint is up to the environment.
        """
        sections = []
        for name, account_id in profiles.items():
            caller = self._caller(account_id)
            lines = [
                "[default]" if name == "default" else f"[profile {name}]",
                f"aws_access_key_id = {caller.access_key_id}",
                f"aws_secret_access_key = {caller.secret_access_key}",
                "aws_session_token = invented",
            ]
            sections.append("\n".join(lines + ([f"region = {region}"] if region else [])))
        return "\n\n".join(sections) + "\n"

    def client(
        self,
        service: str,
        region: str = "us-east-1",
        account_id: str | None = None,
        *,
        endpoint_url: str | None = None,
    ) -> Any:
        """A boto3 client of this server, in that account, or with its credentials of the one at `endpoint_url`.

        The same one for the same words: making one takes longer than most of what is done with it.
        """
        return self._made("client", service, self._connection(region, account_id, endpoint_url))

    def resource(self, service: str, region: str = "us-east-1", account_id: str | None = None) -> Any:
        """A boto3 resource of this server, in that account; likewise."""
        return self._made("resource", service, self._connection(region, account_id))

    def _made(self, kind: Literal["client", "resource"], service: str, connection: dict[str, Any]) -> Any:
        words = (kind, service, *(str(value) for value in connection.values()))
        if words not in self._clients:
            self._clients[words] = getattr(_session(), kind)(service, config=_DIRECT, **connection)
        return self._clients[words]

    def _connection(self, region: str, account_id: str | None, endpoint_url: str | None = None) -> dict[str, Any]:
        caller = self._caller(account_id or self.account_id)
        return {
            "endpoint_url": endpoint_url or self.url,
            "region_name": region,
            "aws_access_key_id": caller.access_key_id,
            "aws_secret_access_key": caller.secret_access_key,
            "aws_session_token": "invented",
        }

    def _caller(self, account_id: str) -> AccessKey:
        if account_id not in self._callers:
            self._callers[account_id] = self._iam(account_id).create_temp_access_key()
        return self._callers[account_id]

    # IAM

    def add_user(
        self,
        name: str,
        ages_days: Sequence[float] = (),
        status: str = "Active",
        account_id: str | None = None,
        now: datetime | None = None,
    ) -> list[str]:
        """A user with one access key for each age, all of one status; gives the access key ids in the same order.

        More than two are possible, as they are in AWS by a race. Creation dates are whole seconds, rounded so that a
        key is never younger than asked; the user is a day older than its oldest access key.
        """
        moment = datetime.now(UTC) if now is None else now.astimezone(UTC)
        dates = [_whole_second(moment - timedelta(days=age)) for age in ages_days]
        backend = self._iam(account_id)
        if name in backend.users:
            raise ValueError(f"there is already a user {name!r}")
        user = backend.create_user("us-east-1", name)
        user.create_date = min([*dates, _whole_second(moment)]) - timedelta(days=1)
        for date in dates:
            key = user.create_access_key(prefix="AKIA", status=status)
            key.create_date = date
            backend.access_keys[key.access_key_id] = key
        return [key.access_key_id for key in user.access_keys]

    def keys(self, user: str, account_id: str | None = None) -> list[tuple[str, str, datetime]]:
        """The user's access keys: id, status, creation date (aware UTC). KeyError for a user who is not there."""
        return [
            (key.access_key_id, key.status, _aware(key.create_date)) for key in self._user(user, account_id).access_keys
        ]

    def set_status(self, user: str, key_id: str, status: str, account_id: str | None = None) -> None:
        """Make an access key Active or Inactive, as its owner might. KeyError when it is not that user's."""
        for key in self._user(user, account_id).access_keys:
            if key.access_key_id == key_id:
                key.status = status
                return
        raise KeyError(key_id)

    def delete_user(self, name: str, account_id: str | None = None) -> None:
        """Delete a user and all of its access keys. KeyError for a user who is not there."""
        backend = self._iam(account_id)
        for key in self._user(name, account_id).access_keys:
            backend.access_keys.pop(key.access_key_id, None)
        del backend.users[name]

    def _iam(self, account_id: str | None = None) -> IAMBackend:
        return iam_backends[account_id or self.account_id][_PARTITION]

    def _user(self, name: str, account_id: str | None) -> User:
        return self._iam(account_id).users[name]

    # Time

    def move_back(self, delta: timedelta) -> None:
        """Let `delta` (whole seconds) go by in every account.

        Back by it go the creation dates of all users and their access keys, and in the `state_tables`, by as many
        seconds and to the last digit: each number whose name ends in `_at`, `_until` or `_from` or is `not_before`,
        and each number in a list or a number set whose name ends in `_at_list`, `_filings` or `_times`, and `events`.
        """
        if delta.microseconds:
            raise ValueError("IAM's dates are whole seconds: move back by whole seconds")
        for account in list(iam_backends.values()):
            for backend in list(account.values()):
                for user in backend.users.values():
                    user.create_date -= delta
                    for key in user.access_keys:
                        key.create_date -= delta
        seconds = delta // timedelta(seconds=1)
        for name in self.state_tables:
            for table in _tables(name):
                for item in _items(table):
                    _move_item_back(item, seconds)

    # DynamoDB and credstash

    def state_items(
        self, table: str = STATE_TABLE, region: str | None = None, account_id: str | None = None
    ) -> list[dict[str, Any]]:
        """What is in the tables of that name, as plain values (int, float, str, bytes, list, dict, set), by hash key.

        Without a `region` or an `account_id` it is every one's. No table is no item.
        """
        found = [item for found_table in _tables(table, region, account_id) for item in _items(found_table)]
        found.sort(key=lambda item: str(item.hash_key.value))
        return [{name: _plain(value) for name, value in item.to_regular_json().items()} for item in found]

    def put_secret(self, name: str, value: str, region: str = "us-east-1", account_id: str | None = None) -> None:
        """Store a secret with credstash itself, as a new version. The first use makes the table and the KMS key."""
        account = account_id or self.account_id
        dynamodb = self.resource("dynamodb", region, account)
        kms = self.client("kms", region, account)
        if not kms_backends[account][region].alias_exists(SECRETS_KEY):
            key_id = kms.create_key(Description="credstash")["KeyMetadata"]["KeyId"]
            kms.create_alias(AliasName=SECRETS_KEY, TargetKeyId=key_id)
        if SECRETS_TABLE not in dynamodb_backends[account][region].tables:
            dynamodb.create_table(
                TableName=SECRETS_TABLE,
                KeySchema=[
                    {"AttributeName": "name", "KeyType": "HASH"},
                    {"AttributeName": "version", "KeyType": "RANGE"},
                ],
                AttributeDefinitions=[
                    {"AttributeName": "name", "AttributeType": "S"},
                    {"AttributeName": "version", "AttributeType": "S"},
                ],
                ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
            )
        # credstash can count versions by itself, but only with its own session, which reads ~/.aws
        newest = dynamodb.Table(SECRETS_TABLE).query(
            KeyConditionExpression=Key("name").eq(name), ScanIndexForward=False, Limit=1
        )["Items"]
        version = credstash.paddedInt(int(newest[0]["version"]) + 1 if newest else 1)
        credstash.putSecret(name, value, version=version, kms_key=SECRETS_KEY, dynamodb=dynamodb, kms=kms)


_DIRECT: Final = Config(proxies={}, connect_timeout=5, read_timeout=30)
"""Loopback is never reached through a proxy."""


@cache
def _session() -> boto3.Session:
    """A session that reads no configuration file and knows no profile."""
    nothing = (None, None, os.devnull, None)
    core = botocore.session.Session(
        session_vars={"profile": (None, None, None, None), "config_file": nothing, "credentials_file": nothing}
    )
    return boto3.Session(botocore_session=core)


def _keep_moto_off_this_machine() -> None:
    """moto asks a boto3 session for the names of the regions; its own would stumble over a bad AWS_PROFILE."""
    AccountSpecificBackend.get_session = classmethod(lambda _: _session())  # type: ignore[assignment,method-assign]


def _tables(name: str, region: str | None = None, account_id: str | None = None) -> Iterator[Table]:
    """The tables of that name, in any region and account or in the given ones; makes none."""
    for account, regions in list(dynamodb_backends.items()):
        if account_id is None or account == account_id:
            for backend_region, backend in list(regions.items()):
                if (region is None or backend_region == region) and name in backend.tables:
                    yield backend.tables[name]


def _items(table: Table) -> list[Item]:
    return [item for item in list(table.all_items()) if isinstance(item, Item)]


def _move_item_back(item: Item, seconds: int) -> None:
    for name, attribute in item.attrs.items():
        if attribute.type == "N" and (name.endswith(("_at", "_until", "_from")) or name == "not_before"):
            attribute.value = _less(attribute.value, seconds)
        elif name == "events" and attribute.type == "SS":
            attribute.value = [event_moved_back(text, seconds) for text in attribute.value]
        elif name.endswith(("_at_list", "_filings", "_times")) and attribute.type == "NS":
            attribute.value = [_less(number, seconds) for number in attribute.value]
        elif name.endswith(("_at_list", "_filings", "_times")) and attribute.type == "L":
            moved = [DynamoType(element) for element in attribute.value]
            for element in moved:
                if element.type == "N":
                    element.value = _less(element.value, seconds)
            attribute.value = moved


def _less(number: str, seconds: int) -> str:
    """A DynamoDB number less so many seconds, without an exponent and without rounding."""
    return format(_EXACT.subtract(Decimal(number), Decimal(seconds)), "f")


def _plain(value: Any) -> Any:
    """What boto3 makes of an attribute, without its own types."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case Binary():
            return value.value
        case list():
            return [_plain(element) for element in value]
        case set():
            return {_plain(element) for element in value}
        case dict():
            return {name: _plain(element) for name, element in value.items()}
    return value


def _whole_second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _aware(moment: datetime) -> datetime:
    """moto's own dates are naive and in UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
