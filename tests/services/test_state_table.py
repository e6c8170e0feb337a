"""Records and claims in DynamoDB: what each write rests on, and that no recorded time ever moves backwards.

boto3 itself against moto. moto answers one request at a time here, so these tests are about the conditions; that
DynamoDB applies each of them atomically is its own promise, which moto does not keep (services.md 6.3).
"""

from __future__ import annotations

import functools
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import Stubber

from keycheck.actions import Promise
from keycheck.clock import EXIT_SECONDS, RunClock, Stopped
from keycheck.model import (
    AccessKey,
    Addressee,
    AddresseeRecord,
    DisabledRecord,
    IssueRecord,
    KeyRecord,
    Lookup,
    Notice,
    State,
)
from keycheck.rules import other_writes
from keycheck.rules.standing import COMES_BACK_WITHIN, stands
from keycheck.rules.writes import Given
from keycheck.services import ClaimLost, ServiceError, state_opening, state_table
from keycheck.services.state_items import HASH_KEY
from keycheck.services.state_table import StateTable
from sandbox.dynamodb import Dynalite, EngineTable
from sandbox.http_fake import Answer, FakeServer, Request
from sandbox.moto_aws import STATE_TABLE, MotoAws
from tests.builders import ACCOUNT, SECOND, flat_record, make_access_key, make_addressee
from tests.table_writes import (
    begin_disabling,
    begin_filing,
    claim_issue,
    claim_message,
    drop_disabling,
    keep_notice,
    record_assigned,
    record_disabled,
    record_exempt,
    record_inactive,
    record_issue,
    record_lookup,
    record_message,
    record_reenabled,
    record_said,
    record_told,
    release_issue,
    release_message,
    void_notice,
)

PROFILE = "acme-state"

TIMEOUT = 1000
HALF_A_SECOND = timedelta(seconds=0.5)
KEY = make_access_key()
OWNER = make_addressee()
START = datetime.now(UTC).replace(microsecond=0)
SETTLED = START - timedelta(minutes=15)
MIDNIGHT = START.replace(hour=0, minute=0, second=0)
LONG_AGO = START + timedelta(days=365)
"""From when on ended issues are read: none is that has ended by now."""

MakeTable = Callable[..., StateTable]


class PatientClock(RunClock):
    """A run's clock whose sleeping takes no time; `slept` keeps the seconds."""

    def __init__(self, now: datetime) -> None:
        super().__init__()
        self.now = now
        self.slept: list[float] = []
        self.set_timeout(TIMEOUT)

    def sleep(self, seconds: float) -> None:
        self.check()
        self.slept.append(seconds)


@pytest.fixture
def aws(moto: MotoAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MotoAws:
    """An empty moto, and the profile of the state table in it."""
    moto.reset()
    config = tmp_path / "config"
    config.write_text(moto.aws_config({PROFILE: moto.account_id}), encoding="utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.url)
    return moto


@pytest.fixture
def make_table(aws: MotoAws) -> MakeTable:  # noqa: ARG001 - it needs moto and the profile
    """A table of its own, as another run would have; not open yet."""

    def made(name: str = STATE_TABLE) -> StateTable:
        return StateTable(PROFILE, None, name, PatientClock(START))

    return made


@pytest.fixture(scope="module")
def shared(moto: MotoAws, tmp_path_factory: pytest.TempPathFactory) -> StateTable:
    """One for most tests: making a client takes longer than they do."""
    config = tmp_path_factory.mktemp("aws") / "config"
    config.write_text(moto.aws_config({PROFILE: moto.account_id}), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_CONFIG_FILE", str(config))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
        patch.setenv("AWS_ENDPOINT_URL", moto.url)
        return StateTable(PROFILE, None, STATE_TABLE, PatientClock(START))


@pytest.fixture
def unopened(aws: MotoAws, shared: StateTable) -> StateTable:  # noqa: ARG001 - it needs an empty moto
    """The table before it is there, in a run whose `now` is START."""
    shared._clock.set_timeout(TIMEOUT)
    slept(shared).clear()
    return at(shared, START)


@pytest.fixture
def table(unopened: StateTable) -> StateTable:
    """The table, new and open."""
    assert unopened.open(create=True)
    return unopened


def slept(table: StateTable) -> list[float]:
    assert isinstance(table._clock, PatientClock)
    return table._clock.slept


def at(table: StateTable, now: datetime) -> StateTable:
    """The same table in a run whose `now` is another; its claims lapse as before."""
    table._clock.now = now
    return table


def record_of(table: StateTable, access_key: AccessKey = KEY) -> KeyRecord:
    return table.read([access_key.access_key_id], []).key(access_key.access_key_id)


def instant(second: int) -> datetime:
    return datetime.fromtimestamp(1_750_000_000 + second, UTC)


def owned(**attributes: Any) -> KeyRecord:
    """A record of KEY with its owner, as every write about an issue or a message leaves it."""
    return flat_record(KEY.access_key_id, KEY.account_id, KEY.user_name, **attributes)


def told_owner(record: KeyRecord) -> str | None:
    return None if record.notice is None else record.notice.owner


def given(table: StateTable, *, at: datetime = START, owner: str | None = "kramer", day: int = 15) -> Given:
    """A notice that names the day so many days from START, on what is on record of KEY."""
    return Given(record_of(table), Promise(MIDNIGHT + timedelta(days=day), owner), at)


def addressee_of(table: StateTable, addressee: Addressee = OWNER) -> AddresseeRecord:
    return table.read([], [addressee]).addressee(addressee)


def item_of(aws: MotoAws, name: str = KEY.access_key_id) -> dict[str, Any]:
    """The item as it is stored, but when it expires and what happened; empty where there is none."""
    found = [item for item in aws.state_items() if item[HASH_KEY] == name]
    return {key: value for key, value in found[0].items() if key not in ("expires_at", "events")} if found else {}


def put(aws: MotoAws, name: str, **attributes: Any) -> None:
    """Store an item in DynamoDB's own notation."""
    aws.client("dynamodb").put_item(TableName=STATE_TABLE, Item={HASH_KEY: {"S": name}, **attributes})


def requests_of(table: StateTable, operation: str) -> list[dict[str, Any]]:
    """The parameters of the calls of one operation, from now on."""
    seen: list[dict[str, Any]] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        seen.append(dict(params))

    table._client.meta.events.register(f"provide-client-params.dynamodb.{operation}", note)
    return seen


# The table itself


def test_the_table_is_made_on_first_need(aws: MotoAws, unopened: StateTable) -> None:
    assert unopened.open(create=True)
    made = aws.client("dynamodb").describe_table(TableName=STATE_TABLE)["Table"]
    assert made["KeySchema"] == [{"AttributeName": "iam_access_key_id", "KeyType": "HASH"}]
    assert made["AttributeDefinitions"] == [{"AttributeName": "iam_access_key_id", "AttributeType": "S"}]
    assert made["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert made["DeletionProtectionEnabled"] is True


def test_a_table_that_is_there_is_used_as_it_is(aws: MotoAws, table: StateTable) -> None:
    put(aws, KEY.access_key_id, issue_key={"S": "SEC-1"})
    made = requests_of(table, "CreateTable")
    assert table.open(create=True)
    assert record_of(table).issue_key == "SEC-1"
    assert made == []


def test_a_dry_run_makes_no_table(aws: MotoAws, unopened: StateTable) -> None:
    assert not unopened.open(create=False)
    assert aws.client("dynamodb").list_tables()["TableNames"] == []


def test_the_table_has_the_name_of_the_setting(aws: MotoAws, make_table: MakeTable) -> None:
    assert make_table(name="another-name").open(create=True)
    assert aws.client("dynamodb").list_tables()["TableNames"] == ["another-name"]


def test_another_run_may_make_the_table_at_the_same_moment(
    aws: MotoAws, unopened: StateTable, make_table: MakeTable
) -> None:
    """ResourceInUseException: somebody was first, which is as good."""
    first, second = unopened, make_table()
    made: list[bool] = []

    def be_first(**_: Any) -> None:
        made.append(first.open(create=True))

    second._client.meta.events.register("before-call.dynamodb.CreateTable", be_first)
    assert second.open(create=True)
    assert made == [True]
    assert aws.client("dynamodb").list_tables()["TableNames"] == [STATE_TABLE]


@pytest.mark.parametrize(
    ("schema", "types"),
    [
        ({"id": "HASH"}, {"id": "S"}),
        ({"iam_access_key_id": "HASH"}, {"iam_access_key_id": "N"}),
        ({"iam_access_key_id": "HASH", "ping": "RANGE"}, {"iam_access_key_id": "S", "ping": "S"}),
        ({"ping": "HASH", "iam_access_key_id": "RANGE"}, {"iam_access_key_id": "S", "ping": "S"}),
    ],
    ids=["another name", "a number", "with a range key", "as range key"],
)
@pytest.mark.parametrize("create", [True, False])
def test_a_table_of_another_shape_is_a_clear_error_and_stays_untouched(
    aws: MotoAws, unopened: StateTable, schema: dict[str, str], types: dict[str, str], create: bool
) -> None:
    dynamodb = aws.client("dynamodb")
    dynamodb.create_table(
        TableName=STATE_TABLE,
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in schema.items()],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()],
        BillingMode="PAY_PER_REQUEST",
    )
    before = dynamodb.describe_table(TableName=STATE_TABLE)["Table"]
    with pytest.raises(ServiceError) as caught:
        unopened.open(create=create)
    assert STATE_TABLE in caught.value.text
    assert "set dynamodb_table_name to another name" in caught.value.text
    assert caught.value.holds_for_run
    assert dynamodb.describe_table(TableName=STATE_TABLE)["Table"] == before


def described(status: str) -> dict[str, Any]:
    return {
        "Table": {
            "TableName": STATE_TABLE,
            "TableStatus": status,
            "KeySchema": [{"AttributeName": HASH_KEY, "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": HASH_KEY, "AttributeType": "S"}],
        }
    }


def test_a_table_that_is_being_made_is_waited_for(unopened: StateTable) -> None:
    """moto's tables are there at once, DynamoDB's are not."""
    with Stubber(unopened._client) as answers:
        for status in ("CREATING", "CREATING", "ACTIVE"):
            answers.add_response("describe_table", described(status))
        assert unopened.open(create=True)
        answers.assert_no_pending_responses()
    assert slept(unopened) == [state_opening.POLL_SECONDS] * 2


def test_a_table_just_made_may_not_be_seen_at_once(unopened: StateTable) -> None:
    with Stubber(unopened._client) as answers:
        answers.add_client_error("describe_table", "ResourceNotFoundException")
        answers.add_response("create_table", {"TableDescription": {"TableStatus": "CREATING"}})
        answers.add_client_error("describe_table", "ResourceNotFoundException")
        answers.add_response("describe_table", described("CREATING"))
        answers.add_response("describe_table", described("ACTIVE"))
        assert unopened.open(create=True)
        answers.assert_no_pending_responses()


def test_waiting_for_the_table_ends_with_the_run(unopened: StateTable) -> None:
    with Stubber(unopened._client) as answers:
        answers.add_response("describe_table", described("CREATING"))
        unopened._clock.set_timeout(0)
        with pytest.raises(Stopped):
            unopened.open(create=True)


@pytest.mark.parametrize("status", ["DELETING", "ARCHIVED", "INACCESSIBLE_ENCRYPTION_CREDENTIALS"])
def test_a_table_that_cannot_be_used_is_a_clear_error(unopened: StateTable, status: str) -> None:
    with Stubber(unopened._client) as answers:
        answers.add_response("describe_table", described(status))
        with pytest.raises(ServiceError, match=f"cannot be used: it is {status}"):
            unopened.open(create=True)


@pytest.mark.parametrize("operation", ["describe_table", "create_table"])
def test_a_table_that_may_not_be_read_or_made_is_an_error(unopened: StateTable, operation: str) -> None:
    with Stubber(unopened._client) as answers:
        if operation == "create_table":
            answers.add_client_error("describe_table", "ResourceNotFoundException")
        answers.add_client_error(operation, "AccessDeniedException", "User: arn:aws:iam::1:user/x is not authorized")
        with pytest.raises(ServiceError) as caught:
            unopened.open(create=True)
    assert "was refused (AccessDeniedException)" in caught.value.text
    assert "arn:" not in f"{caught.value}"


def test_the_access_keys_that_the_table_depends_on_are_told(table: StateTable) -> None:
    assert table.own_access_key_ids == {table._client._request_signer._credentials.access_key}


# Reading


def test_what_has_no_record_is_absent(table: StateTable) -> None:
    assert table.read([KEY.access_key_id], [OWNER]) == State()
    assert table.read([], []) == State()


def test_a_record_is_read_in_full(aws: MotoAws, table: StateTable) -> None:
    put(
        aws,
        KEY.access_key_id,
        told_at={"N": "1750000000"},
        issue_key={"S": "SEC-7"},
        issue_filings={"L": [{"N": "1750000001"}, {"N": "1750000002"}]},
        answered_filings={"L": [{"N": "1750000001"}]},
        added_tomorrow={"BOOL": True},
    )
    put(
        aws,
        OWNER.record_id,
        messaged_at={"N": "1750000003"},
        not_before={"N": "1750000004"},
        server_errors={"N": "2"},
    )

    assert table.read([KEY.access_key_id], [OWNER]) == State(
        {
            KEY.access_key_id: flat_record(
                KEY.access_key_id,
                told_at=instant(0),
                issue_key="SEC-7",
                issue_filings=(instant(1), instant(2)),
                answered_filings=(instant(1),),
            )
        },
        {OWNER.record_id: AddresseeRecord(instant(3), instant(4), 2)},
    )


def test_more_than_a_hundred_are_read_in_batches_each_once_and_consistently(aws: MotoAws, table: StateTable) -> None:
    """BatchGetItem takes a hundred keys, and refuses one that comes twice."""
    ids = [f"AKIA{number:016}" for number in range(230)]
    for number in (0, 99, 100, 199, 200, 229):
        put(aws, ids[number], issue_key={"S": f"SEC-{number}"})
    put(aws, OWNER.record_id, messaged_at={"N": "1750000000"})
    seen = requests_of(table, "BatchGetItem")
    state = table.read([*ids, *ids], [OWNER, OWNER])
    assert {id_: record.issue_key for id_, record in state.keys.items()} == {
        ids[number]: f"SEC-{number}" for number in (0, 99, 100, 199, 200, 229)
    }
    assert list(state.addressees) == [OWNER.record_id]
    asked = [call["RequestItems"][STATE_TABLE] for call in seen]
    assert [len(call["Keys"]) for call in asked] == [100, 100, 31]
    assert all(call["ConsistentRead"] is True for call in asked)


class Throttled(FakeServer):
    """A DynamoDB that answers half of the keys of each BatchGetItem, or none at all, and leaves the others."""

    def __init__(self, *, answers_any: bool) -> None:
        super().__init__()
        self._answers_any = answers_any

    def serve(self, request: Request) -> Answer:
        assert request.headers["x-amz-target"].endswith(".BatchGetItem")
        asked = request.json["RequestItems"][STATE_TABLE]
        keys = asked["Keys"]
        half = (len(keys) + 1) // 2 if self._answers_any else 0
        items = [{**key, "issue_key": {"S": f"SEC-{key[HASH_KEY]['S'][-3:]}"}} for key in keys[:half]]
        unprocessed = {STATE_TABLE: {**asked, "Keys": keys[half:]}} if keys[half:] else {}
        answer = {"Responses": {STATE_TABLE: items} if items else {}, "UnprocessedKeys": unprocessed}
        return Answer(200, answer, {"Content-Type": "application/x-amz-json-1.0"})


@pytest.fixture
def throttled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Throttled]]:
    servers: list[Throttled] = []

    def started(*, answers_any: bool) -> Throttled:
        server = Throttled(answers_any=answers_any).start()
        servers.append(server)
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", server.url)
        return server

    yield started
    for server in servers:
        server.stop()


def test_keys_left_unprocessed_are_asked_for_again(throttled: Callable[..., Throttled], make_table: MakeTable) -> None:
    server = throttled(answers_any=True)
    ids = [f"AKIA{number:016}" for number in range(90)]
    table = make_table()
    state = table.read(ids, [])
    assert {id_: record.issue_key for id_, record in state.keys.items()} == {id_: f"SEC-{id_[-3:]}" for id_ in ids}
    asked = [json.loads(request.body)["RequestItems"][STATE_TABLE] for request in server.requests]
    assert [len(call["Keys"]) for call in asked] == [90, 45, 22, 11, 5, 2, 1]
    assert all(call["ConsistentRead"] is True for call in asked)
    assert slept(table) == sorted(slept(table)), "waiting longer each time"


def test_keys_left_unprocessed_for_ever_are_an_error_and_not_absent(
    throttled: Callable[..., Throttled], make_table: MakeTable
) -> None:
    server = throttled(answers_any=False)
    with pytest.raises(ServiceError, match="unprocessed again and again"):
        make_table().read([KEY.access_key_id], [])
    assert len(server.requests) == state_table.READS_OF_A_BATCH


def test_reading_stops_with_the_run(table: StateTable) -> None:
    table._clock.set_timeout(0)
    seen = requests_of(table, "BatchGetItem")
    with pytest.raises(Stopped):
        table.read([KEY.access_key_id], [])
    assert seen == []


GARBAGE: dict[str, dict[str, Any]] = {
    "told_at as text": {"told_at": {"S": "yesterday"}},
    "told_at as a fraction": {"told_at": {"N": "1750000000.5"}},
    "told_at far off": {"told_at": {"N": "99999999999999999999"}},
    "issue_key as a number": {"issue_key": {"N": "7"}},
    "issue_filings as text": {"issue_filings": {"S": "1750000000"}},
    "answered_filings as text": {"answered_filings": {"S": "1750000000"}},
    "a claim that never lapses": {"issue_claim": {"S": "x"}},
    "issue_filings as a set": {"issue_filings": {"NS": ["1750000000"]}},
    "issue_filings of texts": {"issue_filings": {"L": [{"S": "x"}]}},
    "account_id as a number": {"account_id": {"N": "123456789012"}},
    "user_name as nothing": {"user_name": {"NULL": True}},
    "comments_made as text": {"issue_said": {"S": "expired"}},
    "comments_made as a list": {"issue_said": {"L": [{"S": "expired"}]}},
    "comments_made of numbers": {"issue_said": {"NS": ["1"]}},
    "issue_assigned_to as a set": {"issue_assigned_to": {"SS": ["kramer@example.com"]}},
    "issue_ended_at as truth": {"issue_ended_at": {"BOOL": True}},
    "warned_at as text": {"warned_at": {"S": "1750000000"}},
    "warned_owner as a number": {"warned_owner": {"N": "1"}},
    "disable_from as a day": {"disable_from": {"S": "2026-12-01"}},
    "disable_from far off": {"disable_from": {"N": "99999999999999999999"}},
    "disabling_at as a list": {"disabling_at": {"L": [{"N": "1750000000"}]}},
    "disabled_at as a fraction": {"disabled_at": {"N": "1750000000.5"}},
    "reenabled_at as nothing": {"disabled_at": {"N": "1750000000"}, "reenabled_at": {"NULL": True}},
    "inactive_at as a list": {"inactive_at": {"L": [{"N": "1750000000"}]}},
    "notice_kept_at as text": {"notice_kept_at": {"S": "1750000000"}},
    "exempt_until as a day": {"exempt_until": {"S": "2026-12-01"}},
    "exempt_until far off": {"exempt_until": {"N": "99999999999999999999"}},
}


@pytest.mark.parametrize("attributes", GARBAGE.values(), ids=GARBAGE.keys())
def test_an_item_that_nobody_of_ours_wrote_costs_only_what_it_is_about(
    aws: MotoAws, table: StateTable, attributes: dict[str, Any]
) -> None:
    put(aws, KEY.access_key_id, **attributes)
    put(aws, "AKIAINVENTEDOTHER123", issue_key={"S": "SEC-1"})
    state = table.read([KEY.access_key_id, "AKIAINVENTEDOTHER123"], [])
    assert state.unreadable == {KEY.access_key_id}
    assert state.keys == {"AKIAINVENTEDOTHER123": flat_record("AKIAINVENTEDOTHER123", issue_key="SEC-1")}


def test_a_claim_that_meets_such_an_item_is_an_error_without_the_full_id(aws: MotoAws, table: StateTable) -> None:
    put(aws, KEY.access_key_id, told_at={"S": "yesterday"})
    with pytest.raises(ServiceError) as caught:
        claim_issue(table, KEY, "mine", None)
    assert f"the item that ends in {KEY.last_five}" in caught.value.text
    assert KEY.access_key_id not in f"{caught.value!r} {caught.value}"


@pytest.mark.parametrize(
    "attributes",
    [{"messaged_at": {"S": "x"}}, {"not_before": {"NULL": True}}, {"server_errors": {"S": "two"}}],
    ids=["messaged_at", "not_before", "server_errors"],
)
def test_an_addressees_item_that_nobody_of_ours_wrote_costs_only_that_addressee(
    aws: MotoAws, table: StateTable, attributes: dict[str, Any]
) -> None:
    put(aws, OWNER.record_id, **attributes)
    state = table.read([], [OWNER])
    assert state.unreadable == {OWNER.record_id}
    assert state.addressees == {}


NEW_ATTRIBUTES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "account_id": ({"account_id": {"S": ACCOUNT}}, {"account_id": ACCOUNT}),
    "user_name": ({"user_name": {"S": "dev_kramer"}}, {"user_name": "dev_kramer"}),
    "issue_key": ({"issue_key": {"S": "SEC-1"}}, {"issue": IssueRecord("SEC-1")}),
    "issue_said": (
        {"issue_key": {"S": "SEC-1"}, "issue_said": {"SS": ["expired", "owner:U1"]}},
        {"issue": IssueRecord("SEC-1", frozenset({"expired", "owner:U1"}))},
    ),
    "issue_assigned_to": (
        {"issue_key": {"S": "SEC-1"}, "issue_assigned_to": {"S": "a@example.com"}},
        {"issue": IssueRecord("SEC-1", assigned_to="a@example.com")},
    ),
    "issue_ended_at": (
        {"issue_key": {"S": "SEC-1"}, "issue_ended_at": {"N": "1750000003"}},
        {"issue": IssueRecord("SEC-1", ended_at=instant(3))},
    ),
    "said of no issue": ({"issue_said": {"SS": ["expired"]}, "issue_ended_at": {"N": "1750000003"}}, {}),
    "a notice": (
        {
            "warned_at": {"N": "1750000004"},
            "warned_owner": {"S": "slack:U1"},
            "notice_kept_at": {"N": "1750000005"},
        },
        {"notice": Notice("slack:U1", instant(4), instant(5))},
    ),
    "a notice of an earlier version": (
        {"warned_at": {"N": "1750000004"}, "warned_owner": {"S": "slack:U1"}, "disable_from": {"N": "1750000005"}},
        {"disable_from": instant(5)},
    ),
    "a notice to nobody": ({"warned_at": {"N": "1750000004"}, "notice_kept_at": {"N": "1750000005"}}, {}),
    "a notice at no time": ({"warned_owner": {"S": "slack:U1"}, "notice_kept_at": {"N": "1750000005"}}, {}),
    "disable_from": ({"disable_from": {"N": "1750000005"}}, {"disable_from": instant(5)}),
    "disabling_at": ({"disabling_at": {"N": "1750000006"}}, {"disabling_at": instant(6)}),
    "disabled_at": ({"disabled_at": {"N": "1750000007"}}, {"disabled": DisabledRecord(instant(7))}),
    "disabled_by": (
        {"disabled_at": {"N": "1750000007"}, "disabled_by": {"S": "run7"}},
        {"disabled": DisabledRecord(instant(7), "run7")},
    ),
    "reenabled_at": (
        {"disabled_at": {"N": "1750000007"}, "reenabled_at": {"N": "1750000008"}},
        {"disabled": DisabledRecord(instant(7)), "reenabled_at": instant(8)},
    ),
    "inactive_at": ({"inactive_at": {"N": "1750000009"}}, {"inactive_at": instant(9)}),
    "exempt_until": ({"exempt_until": {"N": "1796083200"}}, {"exempt_until": date(2026, 12, 1)}),
}


@pytest.mark.parametrize(("stored", "read"), NEW_ATTRIBUTES.values(), ids=NEW_ATTRIBUTES.keys())
def test_each_attribute_is_read_from_where_it_is_stored(
    aws: MotoAws, table: StateTable, stored: dict[str, Any], read: dict[str, Any]
) -> None:
    put(aws, KEY.access_key_id, **stored)
    assert record_of(table) == KeyRecord(KEY.access_key_id, **read)


def test_what_is_written_is_read_again(table: StateTable) -> None:
    """Every attribute but those that exclude one another, through the calls that write them."""
    issued = claim_issue(table, KEY, "mine", None)
    begin_filing(table, issued, "mine", START)
    record_issue(table, KEY.access_key_id, "mine", "SEC-7", [START], said=["expired"])
    record_assigned(table, record_of(table), "kramer@example.com")
    record_disabled(table, KEY.access_key_id, START + 2 * SECOND, "run7", "it expired")
    record_reenabled(table, record_of(table), START + 3 * SECOND)
    begin_disabling(table, KEY, "mine", START + 4 * SECOND, START + 2 * SECOND)
    record_told(table, KEY, START + SECOND, given(table, day=30))
    again = claim_issue(table, KEY, "mine", "SEC-7")
    record_said(table, again, "mine", "disabled", ended_at=START + 5 * SECOND)
    assert record_of(table) == owned(
        told_at=START + SECOND,
        issue_key="SEC-7",
        issue_filings=(START,),
        answered_filings=(START,),
        comments_made=frozenset({"expired", "disabled"}),
        issue_assigned_to="kramer@example.com",
        issue_ended_at=START + 5 * SECOND,
        warned_at=START,
        warned_owner="kramer",
        notice_kept_at=START,
        disable_from=MIDNIGHT + timedelta(days=30),
        disabling_at=START + 4 * SECOND,
        disabled_at=START + 2 * SECOND,
        disabled_by="run7",
        reenabled_at=START + 3 * SECOND,
        times_taken_back=1,
    )
    record_exempt(table, KEY, date(2026, 12, 1), START)
    assert record_of(table).exempt_until == date(2026, 12, 1)


EMAIL = "dana.kramer@example.com"
EMAIL_ITEM = f"email:{EMAIL}"
DISABLINGS = f"disablings:{ACCOUNT}"


@pytest.mark.parametrize("slack_id", ["U012KRAMER", "W012KRAMER", None])
def test_who_has_an_email_address_is_read_as_it_was_recorded(table: StateTable, slack_id: str | None) -> None:
    record_lookup(table, EMAIL, Lookup("U0BEFORE", START - SECOND))
    record_lookup(table, EMAIL, Lookup(slack_id, START + HALF_A_SECOND))
    state = table.read([], [], lookups=[EMAIL, "nobody@example.com"])
    assert state == State(lookups={EMAIL: Lookup(slack_id, START)})


def test_an_email_address_is_the_same_however_it_is_spelt(aws: MotoAws, table: StateTable) -> None:
    record_lookup(table, EMAIL.upper(), Lookup("U1A", START))
    assert item_of(aws, EMAIL_ITEM)["slack_id"] == "U1A"
    assert table.read([], [], lookups=[EMAIL]).lookups == {EMAIL: Lookup("U1A", START)}


@pytest.mark.parametrize(
    "attributes",
    [
        {"slack_id": {"S": "U1A"}},
        {"slack_id": {"S": "U1A"}, "looked_up_at": {"S": "yesterday"}},
        {"slack_id": {"NULL": True}, "looked_up_at": {"N": "1750000000"}},
        {"slack_id": {"N": "1"}, "looked_up_at": {"N": "1750000000"}},
        {"slack_id": {"S": "C012CHANNEL"}, "looked_up_at": {"N": "1750000000"}},
        {"slack_id": {"S": "U1A\n"}, "looked_up_at": {"N": "1750000000"}},
        {"slack_id": {"S": ""}, "looked_up_at": {"N": "1750000000"}},
    ],
    ids=["no time", "time as text", "id as nothing", "id as a number", "a channel", "a line more", "an empty id"],
)
def test_an_email_address_whose_item_is_not_ours_counts_as_never_looked_up(
    aws: MotoAws, table: StateTable, attributes: dict[str, Any]
) -> None:
    put(aws, EMAIL_ITEM, **attributes)
    put(aws, KEY.access_key_id, issue_key={"S": "SEC-1"})
    record_lookup(table, "other@example.com", Lookup(None, START))
    state = table.read([KEY.access_key_id], [], lookups=[EMAIL, "other@example.com"])
    assert state.lookups == {"other@example.com": Lookup(None, START)}
    assert state.key(KEY.access_key_id).issue_key == "SEC-1"
    record_lookup(table, EMAIL, Lookup("U1A", START))
    assert table.read([], [], lookups=[EMAIL]) == State(lookups={EMAIL: Lookup("U1A", START)})


def test_an_accounts_disablings_are_read_with_everything_else_at_once(aws: MotoAws, table: StateTable) -> None:
    put(aws, DISABLINGS, disabled_times={"L": [{"N": "1750000001"}, {"N": "1750000002"}]})
    put(aws, "disablings:210987654321", disabled_times={"L": []})
    put(aws, KEY.access_key_id, issue_key={"S": "SEC-1"})
    put(aws, OWNER.record_id, server_errors={"N": "1"})
    record_lookup(table, EMAIL, Lookup(None, START))
    seen = requests_of(table, "BatchGetItem")
    state = table.read(
        [KEY.access_key_id], [OWNER, OWNER], lookups=[EMAIL, EMAIL], account_ids=[ACCOUNT, ACCOUNT, "210987654321", "9"]
    )
    assert state == State(
        {KEY.access_key_id: flat_record(KEY.access_key_id, issue_key="SEC-1")},
        {OWNER.record_id: AddresseeRecord(server_errors=1)},
        frozenset(),
        {EMAIL: Lookup(None, START)},
        {ACCOUNT: (instant(1), instant(2)), "210987654321": ()},
    )
    assert len(seen) == 1


@pytest.mark.parametrize(
    "attributes",
    [
        {"account_id": {"S": ACCOUNT}},
        {"disabled_times": {"NS": ["1750000000"]}},
        {"disabled_times": {"L": [{"S": "1"}]}},
    ],
    ids=["none", "a set", "texts"],
)
def test_an_account_whose_brake_cannot_be_read_is_an_error_and_never_free(
    aws: MotoAws, table: StateTable, attributes: dict[str, Any]
) -> None:
    put(aws, DISABLINGS, **attributes)
    with pytest.raises(ServiceError, match="holds something that keycheck did not write"):
        table.read([KEY.access_key_id], [], account_ids=[ACCOUNT])
    with pytest.raises(ServiceError, match="holds something that keycheck did not write"):
        table.take_disabling(ACCOUNT, START, 5)
    assert table.read([KEY.access_key_id], []) == State()


def test_a_brake_whose_token_is_not_ours_is_an_error_and_never_free(aws: MotoAws, table: StateTable) -> None:
    put(aws, DISABLINGS, disabled_times={"L": []}, times_token={"N": "1"})
    with pytest.raises(ServiceError, match="holds something that keycheck did not write"):
        table.take_disabling(ACCOUNT, START, 5)
    with pytest.raises(ServiceError, match="holds something that keycheck did not write"):
        table.give_back_disabling(ACCOUNT, START)


# Looking through the table


def found_in(table: StateTable, since: datetime = LONG_AGO) -> dict[str, KeyRecord]:
    return {record.access_key_id: record for record in table.look_through(since)}


def test_the_table_shows_what_has_an_issue_an_intent_or_a_notice(aws: MotoAws, table: StateTable) -> None:
    mine = {"account_id": {"S": ACCOUNT}, "user_name": {"S": "dev_kramer"}}
    issue, ended, at_ = {"issue_key": {"S": "SEC-1"}}, {"issue_ended_at": {"N": "1750000001"}}, {"N": "1750000002"}
    put(aws, "AKIA-ISSUE", **mine, **issue)
    put(aws, "AKIA-ENDED", **mine, **issue, **ended)
    put(aws, "AKIA-ENDED-WITHOUT-ISSUE", **mine, **ended)
    put(aws, "AKIA-INTENT", **mine, disabling_at=at_)
    put(aws, "AKIA-ENDED-AND-INTENT", **mine, **issue, **ended, disabling_at=at_)
    put(aws, "AKIA-TOLD", **mine, told_at=at_, warned_at=at_, disabled_at=at_)
    put(aws, "AKIA-NOTICE", **mine, warned_at=at_, warned_owner={"S": "U1"}, notice_kept_at=at_)
    put(aws, "AKIA-NOBODYS", account_id={"S": ACCOUNT}, **issue)
    put(aws, "AKIA-NO-ACCOUNT", user_name={"S": "dev_kramer"}, **issue)
    put(aws, "AKIA-OTHER", account_id={"S": "210987654321"}, user_name={"S": "dev_kramer"}, **issue, disabling_at=at_)
    shown: dict[str, dict[str, Any]] = {
        "AKIA-ISSUE": {"issue_key": "SEC-1"},
        "AKIA-INTENT": {"disabling_at": instant(2)},
        "AKIA-NOTICE": {"warned_at": instant(2), "warned_owner": "U1", "notice_kept_at": instant(2)},
        "AKIA-ENDED-AND-INTENT": {"issue_key": "SEC-1", "issue_ended_at": instant(1), "disabling_at": instant(2)},
    }
    other = flat_record("AKIA-OTHER", "210987654321", "dev_kramer", issue_key="SEC-1", disabling_at=instant(2))
    assert found_in(table) == {
        "AKIA-OTHER": other,
        **{name: flat_record(name, ACCOUNT, "dev_kramer", **attributes) for name, attributes in shown.items()},
    }


@pytest.mark.parametrize("attribute", ["issue_ended_at", "told_at", "reenabled_at"])
def test_the_table_shows_also_what_may_come_back(aws: MotoAws, table: StateTable, attribute: str) -> None:
    mine = {"account_id": {"S": ACCOUNT}, "user_name": {"S": "dev_kramer"}, "disabled_at": {"N": "1"}}
    at_, issue = int(START.timestamp()), {"issue_key": {"S": "SEC-1"}} if attribute == "issue_ended_at" else {}
    put(aws, "AKIA-LATELY", **mine, **issue, **{attribute: {"N": str(at_)}})
    put(aws, "AKIA-LONG-AGO", **mine, **issue, **{attribute: {"N": str(at_ - 1)}})
    assert found_in(table, START).keys() == {"AKIA-LATELY"}


STANDING_PARTS = (
    *("issue_key", "issue_ended_at", "told_at", "reenabled_at", "disabled_at", "inactive_at", "disabling_at"),
    "exempt_until",
)


def test_what_the_table_shows_is_what_the_rule_says(aws: MotoAws, table: StateTable) -> None:
    """The rule is said twice, in words of Python and of DynamoDB: for each combination they agree."""
    since, expected = START, set()
    for number, (chosen, is_late) in enumerate(
        (set(chosen), is_late)
        for size in range(4)
        for chosen in itertools.combinations(STANDING_PARTS, size)
        for is_late in (False, True)
    ):
        name, at = f"AKIA{number:016}", int(since.timestamp()) - (0 if is_late else 1)
        values = {part: {"S": "SEC-1"} if part == "issue_key" else {"N": str(at)} for part in chosen}
        put(aws, name, account_id={"S": ACCOUNT}, user_name={"S": "dev_kramer"}, **values)
        if stands(table.read([name], []).key(name), since + COMES_BACK_WITHIN):
            expected.add(name)
    assert found_in(table, since).keys() == expected
    assert 0 < len(expected) < number


@pytest.mark.parametrize("name", [OWNER.record_id, DISABLINGS, EMAIL_ITEM, "new:kind"])
def test_no_item_of_another_kind_is_taken_for_an_access_keys(aws: MotoAws, table: StateTable, name: str) -> None:
    attributes = {"account_id": {"S": ACCOUNT}, "user_name": {"S": "x"}, "issue_key": {"S": "SEC-1"}}
    put(aws, name, **attributes)
    put(aws, f"{name}-unreadable", **attributes, disabling_at={"S": "x"})
    assert found_in(table) == {}


def test_an_unreadable_item_costs_only_its_own_access_key(aws: MotoAws, table: StateTable) -> None:
    begin_disabling(table, KEY, "mine", START, SETTLED)
    attributes = {"account_id": {"S": ACCOUNT}, "user_name": {"S": "x"}, "disabling_at": {"S": "yesterday"}}
    put(aws, "AKIAINVENTEDOTHER123", **attributes)
    assert found_in(table) == {KEY.access_key_id: owned(disabling_at=START)}


def page(*names: str, last: str = "") -> dict[str, Any]:
    """One answer to Scan; `last`: after which item the next page begins."""
    owner = {"account_id": {"S": ACCOUNT}, "user_name": {"S": "dev_kramer"}, "issue_key": {"S": "SEC-1"}}
    more = {"LastEvaluatedKey": {HASH_KEY: {"S": last}}} if last else {}
    return {"Items": [{HASH_KEY: {"S": name}, **owner} for name in names], **more}


def test_all_pages_are_read_the_empty_ones_too(table: StateTable) -> None:
    seen = requests_of(table, "Scan")
    with Stubber(table._client) as answers:
        for one in (
            page(last="k1"),
            page("AKIA1", "AKIA2", last="k2"),
            page(last="k3"),
            page("AKIA3", last="k4"),
            page(),
        ):
            answers.add_response("scan", one)
        found = found_in(table)
        answers.assert_no_pending_responses()
    assert set(found) == {"AKIA1", "AKIA2", "AKIA3"}
    starts = [call.get("ExclusiveStartKey", {}).get(HASH_KEY, {}).get("S") for call in seen]
    assert starts == [None, "k1", "k2", "k3", "k4"]
    assert {call["ConsistentRead"] for call in seen} == {True}
    assert len({call["FilterExpression"] for call in seen}) == 1


def test_looking_through_the_table_stops_with_the_run(table: StateTable) -> None:
    clock = table._clock
    assert isinstance(clock, PatientClock)
    stop = functools.partial(clock.set_timeout, 0)
    with Stubber(table._client) as answers:
        answers.add_response("scan", page("AKIA1", last="k1"))
        table._client.meta.events.register("after-call.dynamodb.Scan", lambda **_: stop(), unique_id="stop")
        try:
            with pytest.raises(Stopped):
                table.look_through(LONG_AGO)
        finally:
            table._client.meta.events.unregister("after-call.dynamodb.Scan", unique_id="stop")
        answers.assert_no_pending_responses()


def test_a_page_that_cannot_be_read_is_an_error_and_no_shorter_table(table: StateTable) -> None:
    with Stubber(table._client) as answers:
        answers.add_response("scan", page("AKIA1", last="k1"))
        answers.add_client_error("scan", "AccessDeniedException", "User: arn:aws:iam::1:user/x is not authorized")
        with pytest.raises(ServiceError, match="dynamodb:Scan was refused"):
            table.look_through(LONG_AGO)


def test_an_answer_without_items_is_an_error_and_no_empty_table(table: StateTable) -> None:
    """botocore takes any HTTP 200 for an answer."""
    with Stubber(table._client) as answers:
        answers.add_response("scan", {})
        with pytest.raises(ServiceError):
            table.look_through(LONG_AGO)


# Claims on issues


def test_a_claim_on_an_issue_is_stored_with_its_owner_and_its_end(aws: MotoAws, table: StateTable) -> None:
    record = claim_issue(table, KEY, "mine", None)
    item = item_of(aws)
    assert record.issue_claim_until is not None
    assert record == owned(issue_claim_until=record.issue_claim_until)
    assert record.issue_claim_until.timestamp() == item["issue_claim_until"]
    lapses = item.pop("issue_claim_until")
    assert item == {
        HASH_KEY: KEY.access_key_id,
        "issue_claim": "mine",
        "account_id": ACCOUNT,
        "user_name": KEY.user_name,
    }
    assert isinstance(lapses, int)
    deadline = table._clock.deadline.timestamp()
    assert deadline + 600 <= lapses < deadline + 601


def test_a_live_claim_is_another_runs(table: StateTable) -> None:
    claim_issue(table, KEY, "theirs", None)
    with pytest.raises(ClaimLost):
        claim_issue(table, KEY, "mine", None)


def test_the_same_claim_can_be_made_again(aws: MotoAws, table: StateTable) -> None:
    """botocore re-sends a write whose answer was lost."""
    claim_issue(table, KEY, "mine", None)
    before = item_of(aws)
    claim_issue(table, KEY, "mine", None)
    assert item_of(aws) == before


@pytest.mark.parametrize(
    ("after_its_end", "wins"), [(-SECOND, False), (-HALF_A_SECOND, False), (timedelta(), True), (SECOND, True)]
)
def test_a_claim_is_another_runs_until_its_very_end(
    aws: MotoAws, table: StateTable, after_its_end: timedelta, wins: bool
) -> None:
    claim_issue(table, KEY, "theirs", None)
    end = datetime.fromtimestamp(item_of(aws)["issue_claim_until"], UTC)
    at(table, end + after_its_end)
    if wins:
        claim_issue(table, KEY, "mine", None)
    else:
        with pytest.raises(ClaimLost):
            claim_issue(table, KEY, "mine", None)
    assert item_of(aws)["issue_claim"] == ("mine" if wins else "theirs")


@pytest.mark.parametrize(
    ("recorded", "expected", "wins"),
    [
        (None, None, True),
        ("SEC-1", "SEC-1", True),
        ("SEC-1", None, False),
        (None, "SEC-1", False),
        ("SEC-2", "SEC-1", False),
    ],
)
def test_a_claim_rests_on_the_recorded_issue_that_was_read(
    aws: MotoAws, table: StateTable, recorded: str | None, expected: str | None, wins: bool
) -> None:
    if recorded:
        put(aws, KEY.access_key_id, issue_key={"S": recorded}, told_at={"N": "1750000000"})
    if wins:
        assert claim_issue(table, KEY, "mine", expected).issue_key == recorded
    else:
        before = item_of(aws)
        with pytest.raises(ClaimLost):
            claim_issue(table, KEY, "mine", expected)
        assert item_of(aws) == before


def test_a_claim_returns_the_record_as_it_is_by_now(aws: MotoAws, table: StateTable) -> None:
    put(aws, KEY.access_key_id, told_at={"N": "1750000000"}, issue_filings={"L": [{"N": "1750000001"}]})
    record = claim_issue(table, KEY, "mine", None)
    assert record.told_at == datetime.fromtimestamp(1_750_000_000, UTC)
    assert record.issue_filings == (datetime.fromtimestamp(1_750_000_001, UTC),)


def test_eight_runs_claim_and_the_others_lose(table: StateTable) -> None:
    """One client, as the workers of a run share it; one by one, since moto is not atomic."""
    lock, won = threading.Lock(), []

    def claim(token: str) -> None:
        with lock:
            try:
                claim_issue(table, KEY, token, None)
            except ClaimLost:
                return
            won.append(token)

    threads = [threading.Thread(target=claim, args=(f"run{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


# Filing


def test_a_filing_is_noted_before_the_post_and_taken_back_on_release(aws: MotoAws, table: StateTable) -> None:
    put(aws, KEY.access_key_id, issue_filings={"L": [{"N": "1750000000"}]})
    record = claim_issue(table, KEY, "mine", None)
    begin_filing(table, record, "mine", START + HALF_A_SECOND)
    assert item_of(aws)["issue_filings"] == [1_750_000_000, int(START.timestamp())]
    release_issue(table, record, "mine")
    item = item_of(aws)
    assert item["issue_filings"] == [1_750_000_000]
    assert not {"issue_claim", "issue_claim_until"} & set(item)


def test_a_first_filing_taken_back_leaves_none(aws: MotoAws, table: StateTable) -> None:
    record = claim_issue(table, KEY, "mine", None)
    begin_filing(table, record, "mine", START)
    release_issue(table, record, "mine")
    assert set(item_of(aws)) == {HASH_KEY, "account_id", "user_name"}
    assert record_of(table) == owned()


def test_noting_a_filing_twice_counts_it_once(aws: MotoAws, table: StateTable) -> None:
    record = claim_issue(table, KEY, "mine", None)
    for _ in range(2):
        begin_filing(table, record, "mine", START)
    assert item_of(aws)["issue_filings"] == [int(START.timestamp())]


def test_only_the_last_few_filings_are_kept(aws: MotoAws, table: StateTable) -> None:
    put(aws, KEY.access_key_id, issue_filings={"L": [{"N": str(1_750_000_000 + number)} for number in range(9)]})
    record = claim_issue(table, KEY, "mine", None)
    begin_filing(table, record, "mine", START)
    assert item_of(aws)["issue_filings"] == [*range(1_750_000_005, 1_750_000_009), int(START.timestamp())]


@pytest.mark.parametrize(
    "write",
    [
        lambda table, record: begin_filing(table, record, "mine", START),
        lambda table, record: release_issue(table, record, "mine"),
    ],
    ids=["begin_filing", "release_issue"],
)
def test_nothing_is_noted_or_released_under_another_runs_claim(
    aws: MotoAws, table: StateTable, write: Callable[[StateTable, KeyRecord], object]
) -> None:
    record = claim_issue(table, KEY, "theirs", None)
    before = item_of(aws)
    with pytest.raises(ClaimLost):
        write(table, record)
    assert item_of(aws) == before


def test_a_released_claim_can_be_taken_at_once(table: StateTable) -> None:
    release_issue(table, claim_issue(table, KEY, "theirs", None), "theirs")
    claim_issue(table, KEY, "mine", None)


def test_an_issue_is_recorded_and_its_claim_given_back(aws: MotoAws, table: StateTable) -> None:
    record = claim_issue(table, KEY, "mine", None)
    begin_filing(table, record, "mine", START)
    record_issue(table, KEY.access_key_id, "mine", "SEC-7", [START])
    item = item_of(aws)
    assert item["issue_key"] == "SEC-7"
    assert item["answered_filings"] == item["issue_filings"] == [int(START.timestamp())]
    assert not {"issue_claim", "issue_claim_until"} & set(item)


def test_a_new_issue_takes_the_place_of_one_that_was_done(table: StateTable, aws: MotoAws) -> None:
    put(aws, KEY.access_key_id, issue_key={"S": "SEC-1"})
    claim_issue(table, KEY, "mine", "SEC-1")
    record_issue(table, KEY.access_key_id, "mine", "SEC-2")
    assert item_of(aws)["issue_key"] == "SEC-2"


def test_an_issue_that_a_look_found_leaves_the_answered_filings_alone(table: StateTable, aws: MotoAws) -> None:
    put(aws, KEY.access_key_id, answered_filings={"L": [{"N": "1750000000"}]})
    claim_issue(table, KEY, "mine", None)
    record_issue(table, KEY.access_key_id, "mine", "SEC-7")
    assert item_of(aws)["answered_filings"] == [1_750_000_000]


def test_recording_an_issue_again_is_harmless(aws: MotoAws, table: StateTable) -> None:
    """The answer to the first write was lost, and that write gave the claim back."""
    claim_issue(table, KEY, "mine", None)
    for _ in range(2):
        record_issue(table, KEY.access_key_id, "mine", "SEC-7")
    assert item_of(aws)["issue_key"] == "SEC-7"


def test_an_issue_is_recorded_also_after_its_claim_was_lost(aws: MotoAws, table: StateTable) -> None:
    """It exists: whoever holds the claim by now must see it. The claim stays theirs."""
    claim_issue(table, KEY, "theirs", None)
    record_issue(table, KEY.access_key_id, "mine", "SEC-7")
    item = item_of(aws)
    assert (item["issue_key"], item["issue_claim"]) == ("SEC-7", "theirs")


def test_an_issue_that_another_run_recorded_meanwhile_stays(aws: MotoAws, table: StateTable) -> None:
    put(aws, KEY.access_key_id, issue_key={"S": "SEC-9"})
    claim_issue(table, KEY, "theirs", "SEC-9")
    with pytest.raises(ClaimLost):
        record_issue(table, KEY.access_key_id, "mine", "SEC-7")
    assert item_of(aws)["issue_key"] == "SEC-9"


def put_issue(aws: MotoAws, issue_key: str = "SEC-1", **attributes: Any) -> None:
    """An issue on record with all that was done about it."""
    everything = {
        "account_id": {"S": ACCOUNT},
        "user_name": {"S": KEY.user_name},
        "issue_key": {"S": issue_key},
        "issue_said": {"SS": ["expired", "owner:U1"]},
        "issue_assigned_to": {"S": "kramer@example.com"},
        "issue_ended_at": {"N": "1750000001"},
        "answered_filings": {"L": [{"N": "1750000002"}]},
        "issue_filings": {"L": [{"N": "1750000002"}]},
        "told_at": {"N": "1750000003"},
        "disabled_at": {"N": "1750000004"},
    }
    put(aws, KEY.access_key_id, **{**everything, **attributes})


@pytest.mark.parametrize("said", [(), ("expired",), ("expiring", "expired", "expired")], ids=["nothing", "one", "two"])
def test_a_new_issue_forgets_what_was_said_and_done_about_the_one_before(
    aws: MotoAws, table: StateTable, said: tuple[str, ...]
) -> None:
    put_issue(aws)
    claim_issue(table, KEY, "mine", "SEC-1")
    record_issue(table, KEY.access_key_id, "mine", "SEC-2", said=said)
    assert record_of(table) == owned(
        issue_key="SEC-2",
        comments_made=frozenset(said),
        answered_filings=(instant(2),),
        issue_filings=(instant(2),),
        told_at=instant(3),
        disabled_at=instant(4),
    )


def test_only_the_last_few_answered_filings_are_kept(aws: MotoAws, table: StateTable) -> None:
    claim_issue(table, KEY, "mine", None)
    record_issue(table, KEY.access_key_id, "mine", "SEC-7", [START - number * SECOND for number in range(8, -1, -1)])
    epoch = int(START.timestamp())
    assert item_of(aws)["answered_filings"] == [epoch - 4, epoch - 3, epoch - 2, epoch - 1, epoch]


def test_an_issue_with_its_notice_is_recorded_at_once(table: StateTable) -> None:
    claim_issue(table, KEY, "mine", None)
    seen = requests_of(table, "UpdateItem")
    record_issue(table, KEY.access_key_id, "mine", "SEC-7", [START], said=["expired"], given=given(table))
    assert len(seen) == 1
    assert record_of(table) == owned(
        issue_key="SEC-7",
        comments_made=frozenset({"expired"}),
        answered_filings=(START,),
        warned_at=START,
        warned_owner="kramer",
        notice_kept_at=START,
        disable_from=MIDNIGHT + timedelta(days=15),
    )


def test_recording_an_issue_again_keeps_what_was_said_in_it_since(aws: MotoAws, table: StateTable) -> None:
    """The first write's answer was lost, and botocore sends it again after another run has already commented."""
    claim_issue(table, KEY, "mine", None)
    record_issue(table, KEY.access_key_id, "mine", "SEC-7", [START], said=["expired"])
    record_said(table, claim_issue(table, KEY, "theirs", "SEC-7"), "theirs", "disabled", ended_at=START)
    before = item_of(aws)
    record_issue(table, KEY.access_key_id, "mine", "SEC-7", [START], said=["expired"])
    assert item_of(aws) == before


@pytest.mark.parametrize("recorded", [None, "SEC-9"], ids=["claimed by another", "another issue on record"])
def test_an_issue_whose_claim_was_lost_gives_no_notice_and_its_day_holds(
    aws: MotoAws, table: StateTable, recorded: str | None
) -> None:
    if recorded is None:
        claim_issue(table, KEY, "theirs", None)
        record_issue(table, KEY.access_key_id, "mine", "SEC-7", given=given(table))
    else:
        put(aws, KEY.access_key_id, issue_key={"S": recorded})
        with pytest.raises(ClaimLost):
            record_issue(table, KEY.access_key_id, "mine", "SEC-7", given=given(table))
    record = record_of(table)
    assert (record.issue_key, record.notice) == (recorded or "SEC-7", None)
    assert record.disable_from == MIDNIGHT + timedelta(days=15)


# What is said in an issue, and to whom it is assigned


def test_what_was_said_is_added_and_the_claim_given_back(aws: MotoAws, table: StateTable) -> None:
    put(aws, KEY.access_key_id, issue_key={"S": "SEC-1"})
    for mark in ("expired", "disabled", "disabled"):
        record_said(table, claim_issue(table, KEY, "mine", "SEC-1"), "mine", mark)
    assert record_of(table) == owned(issue_key="SEC-1", comments_made=frozenset({"expired", "disabled"}))
    assert not {"issue_claim", "issue_claim_until"} & set(item_of(aws))


@pytest.mark.parametrize("gives", [False, True], ids=["no notice", "a notice"])
def test_the_last_word_ends_an_issue(table: StateTable, aws: MotoAws, gives: bool) -> None:
    put(aws, KEY.access_key_id, issue_key={"S": "SEC-1"})
    record = claim_issue(table, KEY, "mine", "SEC-1")
    told = given(table) if gives else None
    record_said(table, record, "mine", "disabled", ended_at=START + HALF_A_SECOND, given=told)
    after = record_of(table)
    assert after.issue == IssueRecord("SEC-1", frozenset({"disabled"}), ended_at=START)
    assert told_owner(after) == ("kramer" if gives else None)
    assert (KEY.access_key_id in found_in(table)) is gives


@pytest.mark.parametrize(
    ("holder", "issue_key"),
    [("theirs", "SEC-1"), (None, "SEC-1"), ("mine", "SEC-2"), ("mine", None)],
    ids=["another's claim", "no claim", "another issue", "no issue"],
)
def test_nothing_is_said_where_the_claim_or_the_issue_is_another(
    aws: MotoAws, table: StateTable, holder: str | None, issue_key: str | None
) -> None:
    claim = {"issue_claim": {"S": holder}, "issue_claim_until": {"N": "1750000000"}} if holder else {}
    put(aws, KEY.access_key_id, **claim, **({"issue_key": {"S": issue_key}} if issue_key else {}))
    before = item_of(aws)
    record = owned(issue_key="SEC-1")
    with pytest.raises(ClaimLost):
        record_said(table, record, "mine", "disabled", ended_at=START)
    assert item_of(aws) == before


def test_an_assignment_is_recorded_whoever_holds_the_claim(aws: MotoAws, table: StateTable) -> None:
    put(aws, KEY.access_key_id, issue_key={"S": "SEC-1"})
    claim_issue(table, KEY, "theirs", "SEC-1")
    record_assigned(table, record_of(table), "first@example.com", given(table))
    record_assigned(table, record_of(table), "second@example.com")
    item = item_of(aws)
    assert (item["issue_assigned_to"], item["issue_claim"]) == ("second@example.com", "theirs")
    assert told_owner(record_of(table)) == "kramer"


@pytest.mark.parametrize("issue_key", ["SEC-2", None])
def test_an_assignment_of_an_issue_that_is_not_on_record_any_more_is_lost(
    aws: MotoAws, table: StateTable, issue_key: str | None
) -> None:
    if issue_key:
        put(aws, KEY.access_key_id, issue_key={"S": issue_key})
    before = item_of(aws)
    with pytest.raises(ClaimLost):
        record_assigned(table, owned(issue_key="SEC-1"), "kramer@example.com")
    assert item_of(aws) == before


# Notices


def test_a_message_writes_once_what_it_told_and_the_notice(table: StateTable) -> None:
    told = given(table)
    seen = requests_of(table, "UpdateItem")
    record_told(table, KEY, START, told)
    assert len(seen) == 1
    assert record_of(table) == owned(
        told_at=START,
        warned_at=START,
        warned_owner="kramer",
        notice_kept_at=START,
        disable_from=MIDNIGHT + timedelta(days=15),
    )


def test_a_notice_counts_from_when_it_was_first_given_and_is_kept_by_each_that_follows(table: StateTable) -> None:
    record_told(table, KEY, START, given(table, at=START + HALF_A_SECOND))
    for days in range(1, 30, 9):
        record_told(table, KEY, START + days * A_DAY, given(table, at=START + days * A_DAY))
    record = record_of(table)
    assert record.notice == Notice("kramer", START + SECOND, START + 28 * A_DAY), "rounded up: never counted too early"
    assert record.told_at == START + 28 * A_DAY


def test_a_notice_that_nobody_kept_for_two_weeks_is_given_anew(table: StateTable) -> None:
    record_told(table, KEY, START, given(table))
    record_told(table, KEY, START + 14 * A_DAY, given(table, at=START + 14 * A_DAY))
    assert record_of(table).notice == Notice("kramer", START + 14 * A_DAY, START + 14 * A_DAY)


def test_a_notice_to_another_owner_counts_from_then(table: StateTable) -> None:
    for days, owner in enumerate(("kramer", "kramer", "lee", "kramer", "kramer")):
        record_told(table, KEY, START, given(table, at=START + days * A_DAY, owner=owner))
    assert record_of(table).notice == Notice("kramer", START + 3 * A_DAY, START + 4 * A_DAY)


@pytest.mark.parametrize("owner", ["kramer", "lee", None])
def test_the_day_told_never_moves_backwards(table: StateTable, owner: str | None) -> None:
    for day, latest in ((15, 15), (14, 15), (15, 15), (16, 16), (1, 16)):
        record_told(table, KEY, START, given(table, owner=owner if day == 1 else "kramer", day=day))
        assert record_of(table).disable_from == MIDNIGHT + timedelta(days=latest)
    assert told_owner(record_of(table)) == (owner or "kramer")


def test_a_day_that_was_told_to_nobody_who_is_asked_gives_no_notice(table: StateTable) -> None:
    record_told(table, KEY, START, given(table, owner=None))
    assert record_of(table) == owned(told_at=START, disable_from=MIDNIGHT + timedelta(days=15))


OTHERS: dict[str, Callable[[StateTable], None]] = {
    "another run's notice": lambda table: record_told(table, KEY, START, given(table, owner="lee")),
    "another run's later message": lambda table: record_told(table, KEY, START + SECOND),
    "another run's void": lambda table: void_notice(table, record_of(table)),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_where_the_record_has_changed_since_no_notice_is_given_and_the_day_holds(
    table: StateTable, other: Callable[[StateTable], None]
) -> None:
    record_told(table, KEY, START - A_DAY, given(table, at=START - A_DAY, day=3))
    told = given(table, day=20)
    other(table)
    before = record_of(table)
    record_told(table, KEY, START, told)
    after = record_of(table)
    assert after.disable_from == MIDNIGHT + timedelta(days=20)
    assert after.notice == before.notice


def test_a_notice_is_kept_only_as_long_as_it_is_the_one_on_record(table: StateTable) -> None:
    record_told(table, KEY, START, given(table))
    before = record_of(table)
    keep_notice(table, before, START + A_DAY)
    assert record_of(table).notice == Notice("kramer", START, START + A_DAY)
    record_told(table, KEY, START + A_DAY, given(table, at=START + 2 * A_DAY, owner="lee"))
    keep_notice(table, before, START + 3 * A_DAY)
    assert record_of(table).notice == Notice("lee", START + 2 * A_DAY, START + 2 * A_DAY)


def test_a_void_notice_leaves_the_day_told_and_why(aws: MotoAws, table: StateTable) -> None:
    record_told(table, KEY, START, given(table))
    before = record_of(table)
    void_notice(table, before)
    assert record_of(table) == owned(told_at=START, disable_from=MIDNIGHT + timedelta(days=15))
    assert item_of(aws)["notice_void_why"] == "it was to stay active"
    record_told(table, KEY, START, given(table, at=START + A_DAY))
    assert "notice_void_why" not in item_of(aws)
    void_notice(table, before)
    assert record_of(table).notice == Notice("kramer", START + A_DAY, START + A_DAY), "that one is another"


def test_the_notice_of_an_earlier_version_costs_a_new_one(aws: MotoAws, table: StateTable) -> None:
    """It noted no keeping. What it told stays told."""
    day = int((MIDNIGHT + timedelta(days=2)).timestamp())
    put(
        aws,
        KEY.access_key_id,
        warned_at={"N": "1750000000"},
        warned_owner={"S": "kramer"},
        disable_from={"N": f"{day}"},
    )
    assert record_of(table).notice is None
    record_told(table, KEY, START, given(table, day=1))
    record = record_of(table)
    assert record.notice == Notice("kramer", START, START)
    assert record.disable_from == MIDNIGHT + timedelta(days=2)


def test_without_a_notice_none_is_recorded(table: StateTable, aws: MotoAws) -> None:
    put(aws, KEY.access_key_id, issue_key={"S": "SEC-1"})
    record_told(table, KEY, START)
    record_assigned(table, record_of(table), "kramer@example.com")
    record_said(table, claim_issue(table, KEY, "mine", "SEC-1"), "mine", "expired")
    claim_issue(table, KEY, "mine", "SEC-1")
    record_issue(table, KEY.access_key_id, "mine", "SEC-2")
    assert not {"warned_at", "warned_owner", "notice_kept_at", "disable_from"} & set(item_of(aws))


# Exemptions


def test_an_exemption_voids_the_notice_before_it_and_not_the_day_told(table: StateTable) -> None:
    record_told(table, KEY, START, given(table))
    day = MIDNIGHT + timedelta(days=15)
    record_exempt(table, KEY, date(2026, 12, 1), START)
    assert record_of(table) == owned(told_at=START, exempt_until=date(2026, 12, 1), disable_from=day)
    record_exempt(table, KEY, date(2027, 1, 15), START)
    assert record_of(table) == owned(told_at=START, exempt_until=date(2027, 1, 15), disable_from=day)


def test_a_notice_after_an_exemption_is_the_first_again(table: StateTable) -> None:
    record_told(table, KEY, START, given(table, day=40))
    record_exempt(table, KEY, date(2026, 12, 1), START)
    again = START + timedelta(days=10)
    record_told(table, KEY, again, given(table, at=again, day=25))
    assert record_of(table) == owned(
        told_at=again,
        warned_at=again,
        warned_owner="kramer",
        notice_kept_at=again,
        disable_from=MIDNIGHT + timedelta(days=40),
    )


@pytest.mark.parametrize(
    "write",
    [
        lambda table: record_told(table, KEY, START, given(table)),
        lambda table: record_assigned(table, record_of(table), "kramer@example.com", given(table)),
        lambda table: record_said(
            table, claim_issue(table, KEY, "mine", "SEC-1"), "mine", "exempted", given=given(table)
        ),
    ],
    ids=["a message", "an assignment", "a comment"],
)
def test_whatever_tells_the_owner_again_says_that_an_exemption_has_ended(
    aws: MotoAws, table: StateTable, write: Callable[[StateTable], None]
) -> None:
    put(aws, KEY.access_key_id, issue_key={"S": "SEC-1"})
    record_exempt(table, KEY, date(2026, 12, 1), START)
    write(table)
    assert record_of(table).exempt_until is None


def test_a_message_that_names_no_day_ends_an_exemption_only_where_it_says_so(table: StateTable) -> None:
    record_exempt(table, KEY, date(2026, 12, 1), START)
    record_told(table, KEY, START)
    assert record_of(table) == owned(told_at=START, exempt_until=date(2026, 12, 1))
    record_told(table, KEY, START + SECOND, ends_exemption=True)
    assert record_of(table) == owned(told_at=START + SECOND)


def test_what_gives_no_notice_leaves_an_exemption_alone(aws: MotoAws, table: StateTable) -> None:
    put(aws, KEY.access_key_id, issue_key={"S": "SEC-1"})
    record_exempt(table, KEY, date(2026, 12, 1), START)
    record_assigned(table, record_of(table), "kramer@example.com")
    record_said(table, claim_issue(table, KEY, "mine", "SEC-1"), "mine", "exempted")
    assert record_of(table).exempt_until == date(2026, 12, 1)


# Claims on messages


def test_a_claim_on_a_message_is_stored_under_account_and_addressee(aws: MotoAws, table: StateTable) -> None:
    record = claim_message(table, OWNER, "mine", 24)
    assert record == AddresseeRecord(claim_until=record.claim_until)
    item = item_of(aws, f"slack:{ACCOUNT}:{OWNER.slack_id}")
    assert (item["message_claim"], item["account_id"]) == ("mine", ACCOUNT)
    assert isinstance(item["message_claim_until"], int)


def test_the_same_addressee_in_two_accounts_has_two_claims(table: StateTable) -> None:
    claim_message(table, OWNER, "theirs", 24)
    claim_message(table, make_addressee(account_id="210987654321"), "mine", 24)


def test_a_live_claim_on_a_message_is_another_runs(table: StateTable) -> None:
    claim_message(table, OWNER, "theirs", 24)
    with pytest.raises(ClaimLost):
        claim_message(table, OWNER, "mine", 24)
    claim_message(table, OWNER, "theirs", 24)


@pytest.mark.parametrize(("after_its_end", "wins"), [(-SECOND, False), (timedelta(), True)])
def test_a_claim_on_a_message_is_another_runs_until_its_very_end(
    aws: MotoAws, table: StateTable, after_its_end: timedelta, wins: bool
) -> None:
    claim_message(table, OWNER, "theirs", 24)
    end = datetime.fromtimestamp(item_of(aws, OWNER.record_id)["message_claim_until"], UTC)
    assert claims_message(at(table, end + after_its_end)) is wins


def claims_message(table: StateTable, interval_hours: int = 24) -> bool:
    """Whether a new run may message the owner."""
    try:
        claim_message(table, OWNER, "mine", interval_hours)
    except ClaimLost:
        return False
    return True


@pytest.mark.parametrize(
    ("age", "interval_hours", "wins"),
    [
        (timedelta(hours=24), 24, True),
        (timedelta(hours=24) - SECOND, 24, False),
        (timedelta(hours=24) - timedelta(microseconds=1), 24, False),
        (timedelta(hours=24) + SECOND, 24, True),
        (timedelta(hours=1), 1, True),
        (timedelta(hours=1) - SECOND, 1, False),
        (timedelta(hours=720), 720, True),
        (timedelta(0), 24, False),
        (-timedelta(hours=1), 1, False),
    ],
    ids=[
        "24 h",
        "a second less",
        "a microsecond less",
        "a second more",
        "1 h",
        "less than 1 h",
        "720 h",
        "now",
        "ahead",
    ],
)
def test_two_messages_are_at_least_the_interval_apart(
    table: StateTable, age: timedelta, interval_hours: int, wins: bool
) -> None:
    claim_message(table, OWNER, "theirs", interval_hours)
    record_message(table, OWNER, "theirs", START)
    assert claims_message(at(table, START + age), interval_hours) is wins


def test_a_message_in_the_middle_of_a_second_is_not_repeated_a_fraction_too_early(table: StateTable) -> None:
    claim_message(table, OWNER, "theirs", 24)
    record_message(table, OWNER, "theirs", START + HALF_A_SECOND)
    day_later = START + timedelta(hours=24)
    assert not claims_message(at(table, day_later + HALF_A_SECOND - timedelta(microseconds=1)))
    assert claims_message(at(table, day_later + SECOND))


@pytest.mark.parametrize(
    ("after_it", "wins"), [(-SECOND, False), (-HALF_A_SECOND, False), (timedelta(), True), (SECOND, True)]
)
def test_nothing_is_tried_before_the_time_that_a_refusal_named(
    table: StateTable, after_it: timedelta, wins: bool
) -> None:
    again = START + timedelta(hours=1)
    claim_message(table, OWNER, "theirs", 24)
    release_message(table, OWNER, "theirs", 2, again)
    record = addressee_of(table)
    assert (record.server_errors, record.not_before) == (2, again)
    assert claims_message(at(table, again + after_it)) is wins


def test_a_released_message_can_be_claimed_at_once(aws: MotoAws, table: StateTable) -> None:
    claim_message(table, OWNER, "theirs", 24)
    release_message(table, OWNER, "theirs", 1, None)
    item = item_of(aws, OWNER.record_id)
    assert item == {HASH_KEY: OWNER.record_id, "account_id": ACCOUNT, "server_errors": 1}
    assert claims_message(table)


def test_only_the_holder_releases_a_message(aws: MotoAws, table: StateTable) -> None:
    claim_message(table, OWNER, "theirs", 24)
    before = item_of(aws, OWNER.record_id)
    with pytest.raises(ClaimLost):
        release_message(table, OWNER, "mine", 0, None)
    assert item_of(aws, OWNER.record_id) == before


def test_a_recorded_message_gives_the_claim_back_and_forgets_the_server_errors(aws: MotoAws, table: StateTable) -> None:
    put(aws, OWNER.record_id, server_errors={"N": "2"}, not_before={"N": "1750000000"})
    claim_message(table, OWNER, "mine", 24)
    record_message(table, OWNER, "mine", START)
    assert item_of(aws, OWNER.record_id) == {
        HASH_KEY: OWNER.record_id,
        "account_id": ACCOUNT,
        "messaged_at": int(START.timestamp()),
    }


def test_recording_a_message_again_changes_nothing(aws: MotoAws, table: StateTable) -> None:
    claim_message(table, OWNER, "mine", 24)
    record_message(table, OWNER, "mine", START)
    before = item_of(aws, OWNER.record_id)
    record_message(table, OWNER, "mine", START)
    assert item_of(aws, OWNER.record_id) == before


def test_a_message_is_recorded_also_after_its_claim_was_lost(aws: MotoAws, table: StateTable) -> None:
    claim_message(table, OWNER, "theirs", 24)
    record_message(table, OWNER, "mine", START)
    item = item_of(aws, OWNER.record_id)
    assert (item["messaged_at"], item["message_claim"]) == (int(START.timestamp()), "theirs")


@pytest.mark.parametrize("holder", ["mine", "theirs"])
def test_the_time_of_the_last_message_never_moves_backwards(aws: MotoAws, table: StateTable, holder: str) -> None:
    claim_message(table, OWNER, holder, 24)
    record_message(table, OWNER, "another", START)
    record_message(table, OWNER, "mine", START - timedelta(hours=1))
    assert item_of(aws, OWNER.record_id)["messaged_at"] == int(START.timestamp())
    record_message(table, OWNER, "mine", START + SECOND)
    assert item_of(aws, OWNER.record_id)["messaged_at"] == int(START.timestamp()) + 1


# What was told and disabled


def test_that_an_owner_was_told_is_recorded_and_never_moves_backwards(aws: MotoAws, table: StateTable) -> None:
    record_told(table, KEY, START + HALF_A_SECOND)
    expected = {
        HASH_KEY: KEY.access_key_id,
        "told_at": int(START.timestamp()),
        "account_id": ACCOUNT,
        "user_name": KEY.user_name,
    }
    assert item_of(aws) == expected
    record_told(table, KEY, START - SECOND)
    assert item_of(aws) == expected
    record_told(table, KEY, START + SECOND)
    assert item_of(aws)["told_at"] == int(START.timestamp()) + 1
    assert record_of(table) == owned(told_at=START + SECOND)


def test_telling_leaves_issue_and_claim_alone(aws: MotoAws, table: StateTable) -> None:
    put(aws, KEY.access_key_id, issue_key={"S": "SEC-1"})
    claim_issue(table, KEY, "theirs", "SEC-1")
    record_told(table, KEY, START)
    item = item_of(aws)
    assert (item["issue_key"], item["issue_claim"]) == ("SEC-1", "theirs")


def test_disabling_is_noted_before_and_after(aws: MotoAws, table: StateTable) -> None:
    begin_disabling(table, KEY, "mine", START, SETTLED)
    assert item_of(aws)["disabling_at"] == int(START.timestamp())
    assert record_of(table) == owned(disabling_at=START)
    record_disabled(table, KEY.access_key_id, START + SECOND, "run7", "it expired")
    item = item_of(aws)
    assert item["disabled_at"] == int(START.timestamp()) + 1
    assert (item["disabled_by"], item["disabled_why"]) == ("run7", "it expired")
    assert "disabling_at" not in item
    assert record_of(table).disabled == DisabledRecord(START + SECOND, "run7")


def test_a_confirmed_disabling_ends_the_notice_that_it_rested_on(aws: MotoAws, table: StateTable) -> None:
    """Whoever re-enables it hears of a new one."""
    record_told(table, KEY, START, given(table))
    record_disabled(table, KEY.access_key_id, START + SECOND, "run7", "it expired")
    assert record_of(table).notice is None
    assert record_of(table).disable_from == MIDNIGHT + timedelta(days=15)
    assert item_of(aws)["notice_void_why"] == "it was inactive"


def test_a_confirmed_disabling_forgets_that_the_key_was_enabled_again(table: StateTable) -> None:
    record_disabled(table, KEY.access_key_id, START, "run7", "it expired")
    record_reenabled(table, record_of(table), START + SECOND)
    record_disabled(table, KEY.access_key_id, START + 2 * SECOND, "run8", "it expired")
    record = record_of(table)
    assert record.disabled == DisabledRecord(START + 2 * SECOND, "run8")


def test_only_an_intent_of_that_very_moment_is_dropped(table: StateTable) -> None:
    begin_disabling(table, KEY, "mine", START + HALF_A_SECOND, SETTLED)
    for other in (START - SECOND, START + SECOND):
        drop_disabling(table, KEY.access_key_id, other)
        assert record_of(table).disabling_at == START
    drop_disabling(table, KEY.access_key_id, START + HALF_A_SECOND)
    assert record_of(table) == owned()


def test_an_intent_that_another_run_wrote_since_stays(table: StateTable) -> None:
    begin_disabling(table, KEY, "mine", START, SETTLED)
    begin_disabling(table, KEY, "mine", START + SECOND, START)
    drop_disabling(table, KEY.access_key_id, START)
    assert record_of(table).disabling_at == START + SECOND


def test_an_intent_is_written_once_until_listings_show_what_became_of_it(table: StateTable) -> None:
    """Between two runs of the same minute a person may have re-enabled it: the second must not disable it again."""
    begin_disabling(table, KEY, "mine", START, SETTLED)
    with pytest.raises(ClaimLost):
        begin_disabling(table, KEY, "theirs", START, START - SECOND)
    begin_disabling(table, KEY, "mine", START, START - SECOND)  # the same request again, since its answer was lost
    record_disabled(table, KEY.access_key_id, START + SECOND, "run7", "it expired")
    with pytest.raises(ClaimLost):
        begin_disabling(table, KEY, "mine", START + 2 * SECOND, START)
    assert record_of(table) == owned(disabled_at=START + SECOND, disabled_by="run7")
    begin_disabling(table, KEY, "mine", START + 2 * SECOND, START + SECOND)


def test_no_intent_is_written_before_the_latest_day_told(table: StateTable) -> None:
    record_told(table, KEY, START, given(table, day=7))
    day = MIDNIGHT + timedelta(days=7)
    with pytest.raises(ClaimLost):
        begin_disabling(table, KEY, "mine", day - SECOND, START)
    assert record_of(table).disabling_at is None
    begin_disabling(table, KEY, "mine", day, START)


def test_no_intent_is_written_on_a_notice_that_is_void_or_another(table: StateTable) -> None:
    later = START + 20 * A_DAY
    record_told(table, KEY, START, given(table))
    before = record_of(table)
    void_notice(table, before)
    with pytest.raises(ClaimLost):
        begin_disabling(table, KEY, "mine", later, START, before.notice)
    record_told(table, KEY, START, given(table, at=START + SECOND))
    with pytest.raises(ClaimLost):
        begin_disabling(table, KEY, "mine", later, START, before.notice)
    assert record_of(table).disabling_at is None
    begin_disabling(table, KEY, "mine", later, START, record_of(table).notice)


def test_dropping_what_is_not_there_makes_no_item(aws: MotoAws, table: StateTable) -> None:
    drop_disabling(table, KEY.access_key_id, START)
    assert aws.state_items() == []


def test_when_a_key_was_first_seen_enabled_again_stays(table: StateTable) -> None:
    record_disabled(table, KEY.access_key_id, START, "run7", "it expired")
    record = record_of(table)
    for seconds in (60, 120, 30):
        record_reenabled(table, record, START + seconds * SECOND)
    assert record_of(table).reenabled_at == START + 60 * SECOND


def test_what_somebody_else_deactivated_is_noted_once_and_voids_the_notice(aws: MotoAws, table: StateTable) -> None:
    record_told(table, KEY, START, given(table))
    for seconds in (60, 120, 30):
        record_inactive(table, owned(), START + seconds * SECOND)
    record = record_of(table)
    assert (record.inactive_at, record.notice) == (START + 60 * SECOND, None)
    record_reenabled(table, record, START + A_DAY)
    record_reenabled(table, record, START + 2 * A_DAY)
    after = record_of(table)
    assert (after.inactive_at, after.reenabled_at) == (None, START + A_DAY)
    assert item_of(aws)["notice_void_why"] == "a person took it back"


def test_an_intent_that_was_not_confirmed_is_taken_back_with_its_notice(table: StateTable) -> None:
    record_told(table, KEY, START, given(table, day=0))
    begin_disabling(table, KEY, "mine", START, SETTLED, record_of(table).notice)
    record = record_of(table)
    begin_disabling(table, KEY, "theirs", START + A_DAY, START + SECOND)
    record_reenabled(table, record, START + A_DAY)
    assert record_of(table).reenabled_at is None, "another run is at it since"
    record_reenabled(table, record_of(table), START + 2 * A_DAY)
    after = record_of(table)
    assert (after.disabling_at, after.reenabled_at, after.notice) == (None, START + 2 * A_DAY, None)


def test_no_key_is_noted_as_enabled_again_that_was_disabled_since(table: StateTable) -> None:
    record_disabled(table, KEY.access_key_id, START, "run7", "it expired")
    before = record_of(table)
    record_disabled(table, KEY.access_key_id, START + SECOND, "run8", "it expired")
    record_reenabled(table, before, START + 2 * SECOND)
    assert record_of(table).reenabled_at is None


# The brake


A_DAY = timedelta(hours=24)


@pytest.mark.parametrize(
    ("age", "is_free"),
    [
        (timedelta(), False),
        (A_DAY - SECOND, False),
        (A_DAY - timedelta(microseconds=1), False),
        (A_DAY, True),
        (A_DAY + SECOND, True),
        (-timedelta(hours=1), False),
    ],
    ids=["now", "a second less", "a microsecond less", "24 h", "a second more", "ahead"],
)
def test_a_disabling_is_counted_for_exactly_24_hours(
    aws: MotoAws, table: StateTable, age: timedelta, is_free: bool
) -> None:
    assert table.take_disabling(ACCOUNT, START, 1)
    assert table.take_disabling(ACCOUNT, START + age, 1) is is_free
    counted = START + age if is_free else START
    assert item_of(aws, DISABLINGS)["disabled_times"] == [int(counted.timestamp())]


def test_a_disabling_in_the_middle_of_a_second_is_not_forgotten_a_fraction_too_early(table: StateTable) -> None:
    assert table.take_disabling(ACCOUNT, START + HALF_A_SECOND, 1)
    assert not table.take_disabling(ACCOUNT, START + A_DAY + HALF_A_SECOND - timedelta(microseconds=1), 1)
    assert table.take_disabling(ACCOUNT, START + A_DAY + SECOND, 1)


def test_an_account_has_its_own_disablings_and_no_more_of_them(table: StateTable) -> None:
    assert [table.take_disabling(ACCOUNT, START, 3) for _ in range(5)] == [True, True, True, False, False]
    assert table.take_disabling("210987654321", START, 3)
    assert table.read([], [], account_ids=[ACCOUNT]).disablings == {ACCOUNT: (START,) * 3}


@pytest.mark.parametrize("most", [0, 1, 2])
def test_a_lower_limit_counts_at_once(table: StateTable, most: int) -> None:
    assert table.take_disabling(ACCOUNT, START, 2)
    assert table.take_disabling(ACCOUNT, START, 2)
    assert not table.take_disabling(ACCOUNT, START, most)


def test_the_day_moves_on_with_each_disabling(aws: MotoAws, table: StateTable) -> None:
    """One every ten hours: three are the most in any 24 hours, and what is older is kept no longer."""
    taken = [table.take_disabling(ACCOUNT, START + timedelta(hours=10 * number), 3) for number in range(8)]
    assert taken == [True] * 8
    assert len(item_of(aws, DISABLINGS)["disabled_times"]) == 3
    assert not table.take_disabling(ACCOUNT, START + timedelta(hours=71), 3)


def test_giving_back_frees_one(aws: MotoAws, table: StateTable) -> None:
    for moment in (START, START + HALF_A_SECOND, START + HALF_A_SECOND):
        assert table.take_disabling(ACCOUNT, moment, 3)
    table.give_back_disabling(ACCOUNT, START + HALF_A_SECOND)
    epoch = int(START.timestamp())
    assert item_of(aws, DISABLINGS)["disabled_times"] == [epoch, epoch + 1]
    assert [table.take_disabling(ACCOUNT, START, 3) for _ in range(2)] == [True, False]


def test_the_last_one_can_be_given_back_and_taken_again(table: StateTable) -> None:
    for _ in range(3):
        assert table.take_disabling(ACCOUNT, START, 1)
        table.give_back_disabling(ACCOUNT, START)
        assert table.read([], [], account_ids=[ACCOUNT]).disablings == {ACCOUNT: ()}


def test_giving_back_what_was_not_taken_changes_nothing(aws: MotoAws, table: StateTable) -> None:
    table.give_back_disabling(ACCOUNT, START)
    assert aws.state_items() == []
    table.take_disabling(ACCOUNT, START, 3)
    before = item_of(aws, DISABLINGS)
    table.give_back_disabling(ACCOUNT, START + SECOND)
    assert item_of(aws, DISABLINGS) == before


def busy(table: StateTable, aws: MotoAws, *, times: int) -> Callable[[], None]:
    """Let another run take a disabling before each of the next so many writes; returns what ends that."""
    count = [0]

    def be_first(**_: Any) -> None:
        if count[0] < times:
            count[0] += 1
            old = item_of(aws, DISABLINGS).get("disabled_times", [])
            new = [*old, int(START.timestamp()) - count[0]]
            stored = {"L": [{"N": str(one)} for one in new]}
            put(aws, DISABLINGS, disabled_times=stored, times_token={"S": f"theirs{count[0]}"})

    events, name = table._client.meta.events, "before-call.dynamodb.UpdateItem"
    events.register(name, be_first, unique_id="busy")
    return functools.partial(events.unregister, name, unique_id="busy")


def test_a_disabling_that_another_run_took_meanwhile_is_counted(aws: MotoAws, table: StateTable) -> None:
    slept(table).clear()
    done = busy(table, aws, times=3)
    try:
        assert table.take_disabling(ACCOUNT, START, 4)
        assert not table.take_disabling(ACCOUNT, START, 4)
    finally:
        done()
    assert len(item_of(aws, DISABLINGS)["disabled_times"]) == 4
    assert len(slept(table)) == 3


def test_the_last_disabling_may_go_to_another_run_meanwhile(aws: MotoAws, table: StateTable) -> None:
    done = busy(table, aws, times=1)
    try:
        assert not table.take_disabling(ACCOUNT, START, 1)
    finally:
        done()
    assert item_of(aws, DISABLINGS)["disabled_times"] == [int(START.timestamp()) - 1]


def test_a_write_that_botocore_sends_again_counts_once(aws: MotoAws, table: StateTable) -> None:
    """The answer to the first was lost."""

    def send_it_now_too(request: Any, **_: Any) -> None:
        assert table._client._endpoint.http_session.send(request).status_code == 200

    events, name = table._client.meta.events, "before-send.dynamodb.UpdateItem"
    events.register(name, send_it_now_too, unique_id="twice")
    try:
        assert [table.take_disabling(ACCOUNT, START, 3) for _ in range(4)] == [True, True, True, False]
        table.give_back_disabling(ACCOUNT, START)
    finally:
        events.unregister(name, unique_id="twice")
    assert item_of(aws, DISABLINGS)["disabled_times"] == [int(START.timestamp())] * 2


def test_a_count_that_never_stands_still_is_an_error_and_nothing_is_taken(aws: MotoAws, table: StateTable) -> None:
    table.take_disabling(ACCOUNT, START, 99)
    done = busy(table, aws, times=99)
    try:
        with pytest.raises(ServiceError, match="too many runs at once"):
            table.take_disabling(ACCOUNT, START, 99)
        with pytest.raises(ClaimLost):
            table.give_back_disabling(ACCOUNT, START)
    finally:
        done()
    assert item_of(aws, DISABLINGS)["disabled_times"].count(int(START.timestamp())) == 1


# On a real engine, whose conditional writes are atomic


@pytest.fixture
def runners(aws: MotoAws, quick_dynalite: Dynalite, monkeypatch: pytest.MonkeyPatch) -> tuple[StateTable, StateTable]:  # noqa: ARG001 - the profile
    """Two runners' tables, which are one table of a real engine, under a name of its own."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", quick_dynalite.url)
    name = EngineTable(quick_dynalite.url).name

    def made() -> StateTable:
        clock = RunClock()
        clock.set_timeout(TIMEOUT)
        return StateTable(PROFILE, None, name, clock)

    one, other = made(), made()
    assert one.open(create=True)
    assert other.open(create=False)
    return one, other


def all_at_once(runners: tuple[StateTable, StateTable], work: Callable[[StateTable, int], None]) -> None:
    """Eight threads on each of the two tables; what one of them raises is raised here."""
    begin = threading.Barrier(16)

    def one(number: int) -> None:
        begin.wait(10)
        work(runners[number % 2], number)

    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(one, number) for number in range(16)]:
            done.result(60)


@pytest.mark.parametrize("most", [1, 5])
def test_two_runners_together_never_disable_more_than_the_limit(
    runners: tuple[StateTable, StateTable], most: int
) -> None:
    taken: list[bool] = []
    yesterday = START - A_DAY
    for _ in range(most):
        assert runners[0].take_disabling(ACCOUNT, yesterday, most)
    all_at_once(runners, lambda table, _: taken.extend(table.take_disabling(ACCOUNT, START, most) for _ in range(2)))
    assert (taken.count(True), taken.count(False)) == (most, 32 - most)
    assert runners[1].read([], [], account_ids=[ACCOUNT]).disablings == {ACCOUNT: (START,) * most}


def test_two_runners_that_give_back_never_hold_more_than_the_limit_at_once(
    runners: tuple[StateTable, StateTable],
) -> None:
    lock, held, most_held, times_taken = threading.Lock(), [0], [0], [0]

    def take_and_give_back(table: StateTable, number: int) -> None:
        at_ = START + number * SECOND
        for _ in range(4):
            if not table.take_disabling(ACCOUNT, at_, 3):
                continue
            with lock:
                held[0] += 1
                times_taken[0] += 1
                most_held[0] = max(most_held[0], held[0])
            time.sleep(0.01)
            with lock:
                held[0] -= 1
            table.give_back_disabling(ACCOUNT, at_)

    all_at_once(runners, take_and_give_back)
    assert 1 <= most_held[0] <= 3
    assert times_taken[0] > 3, "what was given back was taken again"
    assert runners[0].read([], [], account_ids=[ACCOUNT]).disablings == {ACCOUNT: ()}
    assert [runners[1].take_disabling(ACCOUNT, START, 3) for _ in range(4)] == [True, True, True, False]


def test_of_all_that_claim_at_once_one_wins(runners: tuple[StateTable, StateTable]) -> None:
    won: list[int] = []

    def claim(table: StateTable, number: int) -> None:
        with suppress(ClaimLost):
            claim_issue(table, KEY, f"run{number}", None)
            won.append(number)

    all_at_once(runners, claim)
    assert len(won) == 1


def test_each_of_the_tables_conditions_holds_on_a_real_engine(runners: tuple[StateTable, StateTable]) -> None:
    """The expressions themselves: moto reads some that DynamoDB refuses."""
    table, other = runners
    record = claim_issue(table, KEY, "mine", None)
    begin_filing(table, record, "mine", START)
    record_issue(table, KEY.access_key_id, "mine", "SEC-1", [START], said=["expired"], given=given(table, day=20))
    record = claim_issue(other, KEY, "theirs", "SEC-1")
    with pytest.raises(ClaimLost):
        record_said(table, record, "mine", "disabled")
    record_said(other, record, "theirs", "disabled", ended_at=START, given=given(table, at=START + SECOND, day=15))
    record_assigned(other, record, "kramer@example.com")
    record_told(table, KEY, START, given(table, at=START + SECOND, owner="lee"))
    record_disabled(table, KEY.access_key_id, START, "run7", "it expired")
    record_reenabled(table, record_of(table), START + SECOND)
    day = MIDNIGHT + timedelta(days=20)
    for at, settled in ((day - SECOND, START), (day, START - SECOND)):
        with pytest.raises(ClaimLost):
            begin_disabling(other, KEY, "theirs", at, settled)
    begin_disabling(table, KEY, "mine", day, START)
    with pytest.raises(ClaimLost):
        begin_disabling(other, KEY, "theirs", day, START)
    begin_disabling(table, KEY, "mine", day, START)
    drop_disabling(other, KEY.access_key_id, START)
    expected = owned(
        told_at=START,
        issue_key="SEC-1",
        issue_filings=(START,),
        answered_filings=(START,),
        comments_made=frozenset({"expired", "disabled"}),
        issue_assigned_to="kramer@example.com",
        times_taken_back=1,
        issue_ended_at=START,
        disable_from=day,
        disabling_at=day,
        disabled_at=START,
        disabled_by="run7",
        reenabled_at=START + SECOND,
    )
    assert record_of(other) == expected
    assert found_in(other) == {KEY.access_key_id: expected}
    drop_disabling(other, KEY.access_key_id, day)
    record_exempt(table, KEY, date(2026, 12, 1), START)
    assert found_in(table) == {}
    record_inactive(table, record_of(table), START)
    record_reenabled(table, record_of(table), START + SECOND)
    keep_notice(table, replace(record_of(table), notice=Notice("lee", START, START)), START)
    record_issue(table, KEY.access_key_id, "mine", "SEC-1")
    claim_issue(table, KEY, "mine", "SEC-1")
    record_issue(table, KEY.access_key_id, "mine", "SEC-2")
    assert record_of(other) == owned(
        told_at=START,
        issue_key="SEC-2",
        issue_filings=(START,),
        answered_filings=(START,),
        disable_from=day,
        disabled_at=START,
        disabled_by="run7",
        reenabled_at=START + SECOND,
        exempt_until=date(2026, 12, 1),
        times_taken_back=2,
    )


def test_what_stands_is_listed_and_forgotten_on_a_real_engine(runners: tuple[StateTable, StateTable]) -> None:
    table, other = runners

    def standing() -> set[str]:
        return set(other.read([], [], account_ids=[ACCOUNT]).standing.get(ACCOUNT, {"nothing on record"}))

    assert standing() == {"nothing on record"}
    table.apply(other_writes.note_standing(ACCOUNT, {"AKIA1", "AKIA2"}, START))
    table.apply(other_writes.note_standing(ACCOUNT, {"AKIA2", "AKIA3"}, START))
    assert standing() == {"AKIA1", "AKIA2", "AKIA3"}
    table.apply(other_writes.forget_standing(ACCOUNT, {"AKIA1", "AKIA9"}))
    assert standing() == {"AKIA2", "AKIA3"}
    table.apply(other_writes.forget_standing(ACCOUNT, {"AKIA2", "AKIA3"}))
    assert standing() == set()
    table.apply(other_writes.note_standing(ACCOUNT, {"AKIA1"}, START))
    assert standing() == {"AKIA1"}
    assert other.read([], [], account_ids=[ACCOUNT]).lists_all is None
    table.apply(other_writes.note_all_listed(START))
    assert other.read([], [], account_ids=[ACCOUNT]).lists_all == START


def test_as_many_access_keys_as_an_account_can_have_fit_into_its_list(runners: tuple[StateTable, StateTable]) -> None:
    """An item is 400 kB at most; an account has 5,000 users at most, and a user two access keys."""
    table, _ = runners
    ids = {f"AKIA{number:016}" for number in range(10_000)}
    table.apply(other_writes.note_standing(ACCOUNT, ids, START))
    assert table.read([], [], account_ids=[ACCOUNT]).standing == {ACCOUNT: ids}


@pytest.mark.parametrize("name", [f"standing:{ACCOUNT}", "standing:all"])
def test_a_list_that_is_not_ours_is_an_error_and_no_empty_one(aws: MotoAws, table: StateTable, name: str) -> None:
    put(aws, name, access_key_ids={"S": "AKIA1"}, all_listed_at={"S": "yesterday"})
    with pytest.raises(ServiceError, match="holds something that keycheck did not write"):
        table.read([], [], account_ids=[ACCOUNT])


def test_what_stands_is_found_behind_pages_that_hold_nothing_of_it(runners: tuple[StateTable, StateTable]) -> None:
    """A page is 1 MB before the filter."""
    table, other = runners
    stored = table._client.put_item
    for number in range(12):
        item = {"account_id": {"S": "210987654321"}, "user_name": {"S": "x" * 390_000}}
        stored(TableName=table._table, Item={HASH_KEY: {"S": f"AKIA{number:016}"}, **item})
    mine = {f"AKIA9{number:015}" for number in range(4)}
    for access_key_id in mine:
        begin_disabling(table, make_access_key(access_key_id=access_key_id), "mine", START, SETTLED)
    found: list[int] = []
    other._client.meta.events.register(
        "after-call.dynamodb.Scan", lambda parsed, **_: found.append(len(parsed["Items"]))
    )
    assert set(found_in(other)) == mine
    assert len(found) >= 4
    assert 0 in found
    assert sum(found) == 4


def test_every_instant_is_stored_as_a_number(aws: MotoAws, table: StateTable) -> None:
    """So that conditions compare them as numbers, and people can read them as epoch seconds."""
    record = claim_issue(table, KEY, "mine", None)
    begin_filing(table, record, "mine", START)
    begin_disabling(table, KEY, "mine", START, SETTLED)
    record_told(table, KEY, START, given(table))
    record_disabled(table, "AKIA0000000000000002", START, "run7", "it expired")
    other = make_access_key(access_key_id="AKIA0000000000000002")
    record_reenabled(table, record_of(table, other), START)
    record_exempt(table, other, date(2026, 12, 1), START)
    record_inactive(table, record_of(table, other), START)
    claim_issue(table, other, "mine", None)
    record_issue(table, other.access_key_id, "mine", "SEC-1")
    record_said(table, claim_issue(table, other, "mine", "SEC-1"), "mine", "disabled", ended_at=START)
    record_lookup(table, "kramer@example.com", Lookup(None, START))
    table.take_disabling(ACCOUNT, START, 5)
    claim_message(table, OWNER, "mine", 24)
    record_message(table, OWNER, "another", START)
    claim_message(table, make_addressee("U2"), "mine", 24)
    release_message(table, make_addressee("U2"), "mine", 2, START)
    items = aws.client("dynamodb").scan(TableName=STATE_TABLE, ConsistentRead=True)["Items"]
    instants = {
        name: next(iter(value))
        for item in items
        for name, value in item.items()
        if name.endswith(("_at", "_until", "_before", "_from"))
    }
    assert set(instants) == {
        "disable_from",
        "disabled_at",
        "disabling_at",
        "exempt_until",
        "expires_at",
        "inactive_at",
        "issue_claim_until",
        "issue_ended_at",
        "looked_up_at",
        "message_claim_until",
        "messaged_at",
        "not_before",
        "tried_at",
        "notice_kept_at",
        "notice_void_at",
        "reenabled_at",
        "told_at",
        "warned_at",
    }
    assert set(instants.values()) == {"N"}
    filings = next(item["issue_filings"] for item in items if "issue_filings" in item)
    times = next(item["disabled_times"] for item in items if "disabled_times" in item)
    assert filings == times == {"L": [{"N": str(int(START.timestamp()))}]}


# What cannot be written


@pytest.mark.parametrize(
    "write",
    [
        lambda table: claim_issue(table, KEY, "mine", None),
        lambda table: begin_filing(table, KeyRecord(KEY.access_key_id), "mine", START),
        lambda table: record_issue(table, KEY.access_key_id, "mine", "SEC-1"),
        lambda table: release_issue(table, KeyRecord(KEY.access_key_id), "mine"),
        lambda table: claim_message(table, OWNER, "mine", 24),
        lambda table: record_message(table, OWNER, "mine", START),
        lambda table: release_message(table, OWNER, "mine", 0, None),
        lambda table: record_told(table, KEY, START),
        lambda table: begin_disabling(table, KEY, "mine", START, SETTLED),
        lambda table: record_disabled(table, KEY.access_key_id, START, "run7", "it expired"),
        lambda table: table.read([KEY.access_key_id], []),
        lambda table: table.look_through(LONG_AGO),
        lambda table: record_lookup(table, "kramer@example.com", Lookup(None, START)),
        lambda table: record_said(table, owned(issue_key="SEC-1"), "mine", "expired"),
        lambda table: record_assigned(table, owned(issue_key="SEC-1"), "kramer@example.com"),
        lambda table: table.take_disabling(ACCOUNT, START, 5),
        lambda table: table.give_back_disabling(ACCOUNT, START),
        lambda table: drop_disabling(table, KEY.access_key_id, START),
        lambda table: record_reenabled(table, owned(), START),
        lambda table: record_exempt(table, KEY, date(2026, 12, 1), START),
        lambda table: record_inactive(table, owned(), START),
        lambda table: keep_notice(table, owned(warned_at=START, warned_owner="kramer"), START),
        lambda table: void_notice(table, owned(warned_at=START, warned_owner="kramer")),
    ],
    ids=[
        "claim_issue",
        "begin_filing",
        "record_issue",
        "release_issue",
        "claim_message",
        "record_message",
        "release_message",
        "record_told",
        "begin_disabling",
        "record_disabled",
        "read",
        "look_through",
        "record_lookup",
        "record_said",
        "record_assigned",
        "take_disabling",
        "give_back_disabling",
        "drop_disabling",
        "record_reenabled",
        "record_exempt",
        "record_inactive",
        "keep_notice",
        "void_notice",
    ],
)
def test_a_table_that_is_gone_is_an_error_and_no_lost_claim(
    aws: MotoAws, table: StateTable, write: Callable[[StateTable], object]
) -> None:
    aws.reset()
    with pytest.raises(ServiceError) as caught:
        write(table)
    assert "ResourceNotFoundException" in caught.value.text
    assert KEY.access_key_id not in f"{caught.value}"


def test_what_was_begun_is_finished_past_the_deadline_but_not_past_the_end(table: StateTable) -> None:
    """A message that went out must be recorded: until the process must be gone, also where the host slept for hours."""
    clock = table._clock
    clock.set_timeout(clock.elapsed_seconds - 3 * 3600)
    record_told(table, KEY, START)
    assert clock._over_at is not None
    clock._over_at -= EXIT_SECONDS
    with pytest.raises(Stopped):
        record_told(table, KEY, START + SECOND)
