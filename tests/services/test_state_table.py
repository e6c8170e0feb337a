"""Records and claims in DynamoDB: what each write rests on, and that no recorded time ever moves backwards.

boto3 itself against moto. moto answers one request at a time here, so these tests are about the conditions; that
DynamoDB applies each of them atomically is its own promise, which moto does not keep (facts/apis.md, 6.4).
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import Stubber

from keycheck.clock import EXIT_SECONDS, RunClock, Stopped
from keycheck.model import AccessKey, Addressee, AddresseeRecord, KeyRecord, Lookup, State, Warned
from keycheck.services import ClaimLost, ServiceError, state_table
from keycheck.services.state_table import HASH_KEY, StateTable
from sandbox.http_fake import Answer, FakeServer, Request
from sandbox.moto_aws import STATE_TABLE, MotoAws
from tests.builders import ACCOUNT, make_access_key, make_addressee

PROFILE = "acme-state"
MARGIN = 600
TIMEOUT = 1000
SECOND = timedelta(seconds=1)
HALF_A_SECOND = timedelta(seconds=0.5)
A_DAY = timedelta(days=1)
KEY = make_access_key()
OWNED = KeyRecord(KEY.access_key_id, account_id=KEY.account_id, user_name=KEY.user_name)
OWNER = make_addressee()
START = datetime.now(UTC).replace(microsecond=0)

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


@pytest.fixture(scope="module", autouse=True)
def _the_sandboxs_clients_are_made_once() -> Iterator[None]:
    """Making one takes longer than most of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("client", "resource"):
            patch.setattr(MotoAws, name, functools.cache(getattr(MotoAws, name)))
        yield


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
        return StateTable(PROFILE, None, name, PatientClock(START), MARGIN)

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
        return StateTable(PROFILE, None, STATE_TABLE, PatientClock(START), MARGIN)


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


def addressee_of(table: StateTable, addressee: Addressee = OWNER) -> AddresseeRecord:
    return table.read([], [addressee]).addressee(addressee)


def item_of(aws: MotoAws, name: str = KEY.access_key_id) -> dict[str, Any]:
    """The item as it is stored; empty where there is none."""
    found = [item for item in aws.state_items() if item[HASH_KEY] == name]
    return found[0] if found else {}


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
    assert caught.value.is_fatal
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
    assert slept(unopened) == [state_table.POLL_SECONDS] * 2


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

    def instant(second: int) -> datetime:
        return datetime.fromtimestamp(1_750_000_000 + second, UTC)

    assert table.read([KEY.access_key_id], [OWNER]) == State(
        {
            KEY.access_key_id: KeyRecord(
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
}


@pytest.mark.parametrize("attributes", GARBAGE.values(), ids=GARBAGE.keys())
def test_an_item_that_nobody_of_ours_wrote_costs_only_what_it_is_about(
    aws: MotoAws, table: StateTable, attributes: dict[str, Any]
) -> None:
    put(aws, KEY.access_key_id, **attributes)
    put(aws, "AKIAINVENTEDOTHER123", issue_key={"S": "SEC-1"})
    state = table.read([KEY.access_key_id, "AKIAINVENTEDOTHER123"], [])
    assert state.unreadable == {KEY.access_key_id}
    assert state.keys == {"AKIAINVENTEDOTHER123": KeyRecord("AKIAINVENTEDOTHER123", issue_key="SEC-1")}


def test_a_claim_that_meets_such_an_item_is_an_error_without_the_full_id(aws: MotoAws, table: StateTable) -> None:
    put(aws, KEY.access_key_id, told_at={"S": "yesterday"})
    with pytest.raises(ServiceError) as caught:
        table.claim_issue(KEY, "mine", None)
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


# Claims on issues


def test_a_claim_on_an_issue_is_stored_with_its_owner_and_its_end(aws: MotoAws, table: StateTable) -> None:
    record = table.claim_issue(KEY, "mine", None)
    item = item_of(aws)
    assert record.issue_claim_until is not None
    assert record == replace(OWNED, issue_claim_until=record.issue_claim_until)
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
    assert deadline + MARGIN <= lapses < deadline + MARGIN + 1


def test_a_live_claim_is_another_runs(table: StateTable) -> None:
    table.claim_issue(KEY, "theirs", None)
    with pytest.raises(ClaimLost):
        table.claim_issue(KEY, "mine", None)


def test_the_same_claim_can_be_made_again(aws: MotoAws, table: StateTable) -> None:
    """botocore re-sends a write whose answer was lost."""
    table.claim_issue(KEY, "mine", None)
    before = item_of(aws)
    table.claim_issue(KEY, "mine", None)
    assert item_of(aws) == before


@pytest.mark.parametrize(
    ("after_its_end", "wins"), [(-SECOND, False), (-HALF_A_SECOND, False), (timedelta(), True), (SECOND, True)]
)
def test_a_claim_is_another_runs_until_its_very_end(
    aws: MotoAws, table: StateTable, after_its_end: timedelta, wins: bool
) -> None:
    table.claim_issue(KEY, "theirs", None)
    end = datetime.fromtimestamp(item_of(aws)["issue_claim_until"], UTC)
    at(table, end + after_its_end)
    if wins:
        table.claim_issue(KEY, "mine", None)
    else:
        with pytest.raises(ClaimLost):
            table.claim_issue(KEY, "mine", None)
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
        assert table.claim_issue(KEY, "mine", expected).issue_key == recorded
    else:
        before = item_of(aws)
        with pytest.raises(ClaimLost):
            table.claim_issue(KEY, "mine", expected)
        assert item_of(aws) == before


def test_a_claim_returns_the_record_as_it_is_by_now(aws: MotoAws, table: StateTable) -> None:
    put(aws, KEY.access_key_id, told_at={"N": "1750000000"}, issue_filings={"L": [{"N": "1750000001"}]})
    record = table.claim_issue(KEY, "mine", None)
    assert record.told_at == datetime.fromtimestamp(1_750_000_000, UTC)
    assert record.issue_filings == (datetime.fromtimestamp(1_750_000_001, UTC),)


def test_eight_runs_claim_and_the_others_lose(table: StateTable) -> None:
    """One client, as the workers of a run share it; one by one, since moto is not atomic."""
    lock, won = threading.Lock(), []

    def claim(token: str) -> None:
        with lock:
            try:
                table.claim_issue(KEY, token, None)
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
    record = table.claim_issue(KEY, "mine", None)
    assert table.begin_filing(record, "mine", START + HALF_A_SECOND)
    assert item_of(aws)["issue_filings"] == [1_750_000_000, int(START.timestamp())]
    table.release_issue(record, "mine")
    item = item_of(aws)
    assert item["issue_filings"] == [1_750_000_000]
    assert not {"issue_claim", "issue_claim_until"} & set(item)


def test_a_first_filing_taken_back_leaves_none(aws: MotoAws, table: StateTable) -> None:
    record = table.claim_issue(KEY, "mine", None)
    table.begin_filing(record, "mine", START)
    table.release_issue(record, "mine")
    assert set(item_of(aws)) == {HASH_KEY, "account_id", "user_name"}
    assert record_of(table) == OWNED


def test_noting_a_filing_twice_counts_it_once(aws: MotoAws, table: StateTable) -> None:
    record = table.claim_issue(KEY, "mine", None)
    for _ in range(2):
        table.begin_filing(record, "mine", START)
    assert item_of(aws)["issue_filings"] == [int(START.timestamp())]


def test_only_the_last_few_filings_are_kept(aws: MotoAws, table: StateTable) -> None:
    put(aws, KEY.access_key_id, issue_filings={"L": [{"N": str(1_750_000_000 + number)} for number in range(9)]})
    record = table.claim_issue(KEY, "mine", None)
    table.begin_filing(record, "mine", START)
    assert item_of(aws)["issue_filings"] == [*range(1_750_000_005, 1_750_000_009), int(START.timestamp())]


@pytest.mark.parametrize(
    "write",
    [
        lambda table, record: table.begin_filing(record, "mine", START),
        lambda table, record: table.release_issue(record, "mine"),
    ],
    ids=["begin_filing", "release_issue"],
)
def test_nothing_is_noted_or_released_under_another_runs_claim(
    aws: MotoAws, table: StateTable, write: Callable[[StateTable, KeyRecord], object]
) -> None:
    record = table.claim_issue(KEY, "theirs", None)
    before = item_of(aws)
    with pytest.raises(ClaimLost):
        write(table, record)
    assert item_of(aws) == before


def test_a_released_claim_can_be_taken_at_once(table: StateTable) -> None:
    table.release_issue(table.claim_issue(KEY, "theirs", None), "theirs")
    table.claim_issue(KEY, "mine", None)


def test_an_issue_is_recorded_and_its_claim_given_back(aws: MotoAws, table: StateTable) -> None:
    record = table.claim_issue(KEY, "mine", None)
    table.begin_filing(record, "mine", START)
    table.record_issue(KEY.access_key_id, "mine", "SEC-7", [START])
    item = item_of(aws)
    assert item["issue_key"] == "SEC-7"
    assert item["answered_filings"] == item["issue_filings"] == [int(START.timestamp())]
    assert not {"issue_claim", "issue_claim_until"} & set(item)


def test_a_new_issue_takes_the_place_of_one_that_was_done(table: StateTable, aws: MotoAws) -> None:
    put(aws, KEY.access_key_id, issue_key={"S": "SEC-1"})
    table.claim_issue(KEY, "mine", "SEC-1")
    table.record_issue(KEY.access_key_id, "mine", "SEC-2")
    assert item_of(aws)["issue_key"] == "SEC-2"


def test_an_issue_that_a_look_found_leaves_the_answered_filings_alone(table: StateTable, aws: MotoAws) -> None:
    put(aws, KEY.access_key_id, answered_filings={"L": [{"N": "1750000000"}]})
    table.claim_issue(KEY, "mine", None)
    table.record_issue(KEY.access_key_id, "mine", "SEC-7")
    assert item_of(aws)["answered_filings"] == [1_750_000_000]


def test_recording_an_issue_again_is_harmless(aws: MotoAws, table: StateTable) -> None:
    """The answer to the first write was lost, and that write gave the claim back."""
    table.claim_issue(KEY, "mine", None)
    for _ in range(2):
        table.record_issue(KEY.access_key_id, "mine", "SEC-7")
    assert item_of(aws)["issue_key"] == "SEC-7"


def test_an_issue_is_recorded_also_after_its_claim_was_lost(aws: MotoAws, table: StateTable) -> None:
    """It exists: whoever holds the claim by now must see it. The claim stays theirs."""
    table.claim_issue(KEY, "theirs", None)
    table.record_issue(KEY.access_key_id, "mine", "SEC-7")
    item = item_of(aws)
    assert (item["issue_key"], item["issue_claim"]) == ("SEC-7", "theirs")


def test_an_issue_that_another_run_recorded_meanwhile_stays(aws: MotoAws, table: StateTable) -> None:
    put(aws, KEY.access_key_id, issue_key={"S": "SEC-9"})
    table.claim_issue(KEY, "theirs", "SEC-9")
    with pytest.raises(ClaimLost):
        table.record_issue(KEY.access_key_id, "mine", "SEC-7")
    assert item_of(aws)["issue_key"] == "SEC-9"


# Claims on messages


def test_a_claim_on_a_message_is_stored_under_account_and_addressee(aws: MotoAws, table: StateTable) -> None:
    record = table.claim_message(OWNER, "mine", 24)
    assert record == AddresseeRecord(claim_until=record.claim_until)
    item = item_of(aws, f"slack:{ACCOUNT}:{OWNER.slack_id}")
    assert (item["message_claim"], item["account_id"]) == ("mine", ACCOUNT)
    assert isinstance(item["message_claim_until"], int)


def test_the_same_addressee_in_two_accounts_has_two_claims(table: StateTable) -> None:
    table.claim_message(OWNER, "theirs", 24)
    table.claim_message(make_addressee(account_id="210987654321"), "mine", 24)


def test_a_live_claim_on_a_message_is_another_runs(table: StateTable) -> None:
    table.claim_message(OWNER, "theirs", 24)
    with pytest.raises(ClaimLost):
        table.claim_message(OWNER, "mine", 24)
    table.claim_message(OWNER, "theirs", 24)


@pytest.mark.parametrize(("after_its_end", "wins"), [(-SECOND, False), (timedelta(), True)])
def test_a_claim_on_a_message_is_another_runs_until_its_very_end(
    aws: MotoAws, table: StateTable, after_its_end: timedelta, wins: bool
) -> None:
    table.claim_message(OWNER, "theirs", 24)
    end = datetime.fromtimestamp(item_of(aws, OWNER.record_id)["message_claim_until"], UTC)
    assert claims_message(at(table, end + after_its_end)) is wins


def claims_message(table: StateTable, interval_hours: int = 24) -> bool:
    """Whether a new run may message the owner."""
    try:
        table.claim_message(OWNER, "mine", interval_hours)
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
    table.claim_message(OWNER, "theirs", interval_hours)
    table.record_message(OWNER, "theirs", START)
    assert claims_message(at(table, START + age), interval_hours) is wins


def test_a_message_in_the_middle_of_a_second_is_not_repeated_a_fraction_too_early(table: StateTable) -> None:
    table.claim_message(OWNER, "theirs", 24)
    table.record_message(OWNER, "theirs", START + HALF_A_SECOND)
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
    table.claim_message(OWNER, "theirs", 24)
    table.release_message(OWNER, "theirs", 2, again)
    record = addressee_of(table)
    assert (record.server_errors, record.not_before) == (2, again)
    assert claims_message(at(table, again + after_it)) is wins


def test_a_released_message_can_be_claimed_at_once(aws: MotoAws, table: StateTable) -> None:
    table.claim_message(OWNER, "theirs", 24)
    table.release_message(OWNER, "theirs", 1, None)
    item = item_of(aws, OWNER.record_id)
    assert item == {HASH_KEY: OWNER.record_id, "account_id": ACCOUNT, "server_errors": 1}
    assert claims_message(table)


def test_only_the_holder_releases_a_message(aws: MotoAws, table: StateTable) -> None:
    table.claim_message(OWNER, "theirs", 24)
    before = item_of(aws, OWNER.record_id)
    with pytest.raises(ClaimLost):
        table.release_message(OWNER, "mine", 0, None)
    assert item_of(aws, OWNER.record_id) == before


def test_a_recorded_message_gives_the_claim_back_and_forgets_the_server_errors(aws: MotoAws, table: StateTable) -> None:
    put(aws, OWNER.record_id, server_errors={"N": "2"}, not_before={"N": "1750000000"})
    table.claim_message(OWNER, "mine", 24)
    table.record_message(OWNER, "mine", START)
    assert item_of(aws, OWNER.record_id) == {
        HASH_KEY: OWNER.record_id,
        "account_id": ACCOUNT,
        "messaged_at": int(START.timestamp()),
    }


def test_recording_a_message_again_changes_nothing(aws: MotoAws, table: StateTable) -> None:
    table.claim_message(OWNER, "mine", 24)
    table.record_message(OWNER, "mine", START)
    before = item_of(aws, OWNER.record_id)
    table.record_message(OWNER, "mine", START)
    assert item_of(aws, OWNER.record_id) == before


def test_a_message_is_recorded_also_after_its_claim_was_lost(aws: MotoAws, table: StateTable) -> None:
    table.claim_message(OWNER, "theirs", 24)
    table.record_message(OWNER, "mine", START)
    item = item_of(aws, OWNER.record_id)
    assert (item["messaged_at"], item["message_claim"]) == (int(START.timestamp()), "theirs")


@pytest.mark.parametrize("holder", ["mine", "theirs"])
def test_the_time_of_the_last_message_never_moves_backwards(aws: MotoAws, table: StateTable, holder: str) -> None:
    table.claim_message(OWNER, holder, 24)
    table.record_message(OWNER, "another", START)
    table.record_message(OWNER, "mine", START - timedelta(hours=1))
    assert item_of(aws, OWNER.record_id)["messaged_at"] == int(START.timestamp())
    table.record_message(OWNER, "mine", START + SECOND)
    assert item_of(aws, OWNER.record_id)["messaged_at"] == int(START.timestamp()) + 1


# What was told and disabled


def test_that_an_owner_was_told_is_recorded_and_never_moves_backwards(aws: MotoAws, table: StateTable) -> None:
    table.record_told(KEY, START + HALF_A_SECOND)
    expected = {
        HASH_KEY: KEY.access_key_id,
        "told_at": int(START.timestamp()),
        "account_id": ACCOUNT,
        "user_name": KEY.user_name,
    }
    assert item_of(aws) == expected
    table.record_told(KEY, START - SECOND)
    assert item_of(aws) == expected
    table.record_told(KEY, START + SECOND)
    assert item_of(aws)["told_at"] == int(START.timestamp()) + 1
    assert record_of(table).told_at == START + SECOND
    assert record_of(table).warned_at is None, "it named no day"


def test_telling_leaves_issue_and_claim_alone(aws: MotoAws, table: StateTable) -> None:
    put(aws, KEY.access_key_id, issue_key={"S": "SEC-1"})
    table.claim_issue(KEY, "theirs", "SEC-1")
    table.record_told(KEY, START)
    item = item_of(aws)
    assert (item["issue_key"], item["issue_claim"]) == ("SEC-1", "theirs")


def test_disabling_is_noted_before_and_after(aws: MotoAws, table: StateTable) -> None:
    assert table.begin_disabling(KEY, START)
    assert item_of(aws)["disabling_at"] == int(START.timestamp())
    assert record_of(table) == replace(OWNED, disabling_at=START)
    table.record_disabled(KEY.access_key_id, START + SECOND, "run-1", "expired: 197 days old")
    item = item_of(aws)
    assert item["disabled_at"] == int(START.timestamp()) + 1
    assert (item["disabled_by"], item["disabled_why"]) == ("run-1", "expired: 197 days old")
    assert "disabling_at" not in item
    assert record_of(table) == replace(OWNED, disabled_at=START + SECOND, disabled_by="run-1")


def test_every_instant_is_stored_as_a_number(aws: MotoAws, table: StateTable) -> None:
    """So that conditions compare them as numbers, and people can read them as epoch seconds."""
    record = table.claim_issue(KEY, "mine", None)
    table.begin_filing(record, "mine", START)
    table.record_told(KEY, START)
    table.begin_disabling(KEY, START)
    table.record_disabled("AKIA0000000000000002", START, "run-1", "why")
    table.claim_message(OWNER, "mine", 24)
    table.record_message(OWNER, "another", START)
    table.claim_message(make_addressee("U2"), "mine", 24)
    table.release_message(make_addressee("U2"), "mine", 2, START)
    items = aws.client("dynamodb").scan(TableName=STATE_TABLE, ConsistentRead=True)["Items"]
    instants = {
        name: next(iter(value))
        for item in items
        for name, value in item.items()
        if name.endswith(("_at", "_until", "_before"))
    }
    assert set(instants) == {
        "disabled_at",
        "disabling_at",
        "issue_claim_until",
        "message_claim_until",
        "messaged_at",
        "not_before",
        "told_at",
    }
    assert set(instants.values()) == {"N"}
    filings = next(item["issue_filings"] for item in items if "issue_filings" in item)
    assert filings == {"L": [{"N": str(int(START.timestamp()))}]}


# Warnings, exemptions, re-enabling


def warned(owner: str = "U1", *, at: datetime = START, day: datetime = START) -> Warned:
    return Warned(at, owner, day)


def test_the_first_warning_to_an_owner_stays_and_the_latest_day(table: StateTable) -> None:
    table.record_told(KEY, START, warned(day=START + 7 * A_DAY))
    table.record_told(KEY, START + A_DAY, warned(at=START + A_DAY, day=START + 2 * A_DAY))
    record = record_of(table)
    assert (record.warned_at, record.warned_owner) == (START, "U1")
    assert record.disable_from == START + 7 * A_DAY, "a day that was told is never moved forward"
    table.record_told(KEY, START + 2 * A_DAY, warned(day=START + 9 * A_DAY))
    assert record_of(table).disable_from == START + 9 * A_DAY


def test_a_warning_to_another_owner_replaces_it_and_leaves_the_day(table: StateTable) -> None:
    table.record_told(KEY, START, warned(day=START + 7 * A_DAY))
    table.record_told(KEY, START + A_DAY, warned("U2", at=START + A_DAY, day=START + 3 * A_DAY))
    record = record_of(table)
    assert (record.warned_at, record.warned_owner) == (START + A_DAY, "U2")
    assert record.disable_from == START + 7 * A_DAY


def test_an_exemption_voids_the_warnings_before_it_until_somebody_is_warned_anew(table: StateTable) -> None:
    table.record_told(KEY, START, warned())
    table.record_exempt(KEY, date(2027, 1, 31))
    record = record_of(table)
    assert (record.warned_at, record.warned_owner, record.disable_from) == (None, None, None)
    assert record.exempt_until == date(2027, 1, 31)
    table.record_told(KEY, START + SECOND)
    assert record_of(table).exempt_until == date(2027, 1, 31), "nobody was told that it has ended"
    table.record_told(KEY, START + 2 * SECOND, ends_exemption=True)
    assert record_of(table).exempt_until is None


def test_a_key_is_noted_as_re_enabled_once_and_only_after_that_disabling(table: StateTable) -> None:
    table.record_disabled(KEY.access_key_id, START, "run-1", "why")
    record = record_of(table)
    table.record_reenabled(record, START + A_DAY)
    table.record_reenabled(record, START + 2 * A_DAY)
    assert record_of(table).reenabled_at == START + A_DAY
    table.record_disabled(KEY.access_key_id, START + 3 * A_DAY, "run-2", "why")
    assert record_of(table).reenabled_at is None
    table.record_reenabled(record, START + 4 * A_DAY)
    assert record_of(table).reenabled_at is None, "what it rests on was another disabling"


def test_only_the_intent_that_was_read_is_dropped(table: StateTable) -> None:
    table.begin_disabling(KEY, START + HALF_A_SECOND)
    table.drop_disabling(KEY.access_key_id, START - SECOND)
    assert record_of(table).disabling_at == START
    table.drop_disabling(KEY.access_key_id, START + HALF_A_SECOND)
    assert record_of(table).disabling_at is None


# What is said in an issue


def test_what_was_said_is_added_up_and_the_claim_given_back(table: StateTable) -> None:
    table.claim_issue(KEY, "mine", None)
    table.record_issue(KEY.access_key_id, "mine", "SEC-1", [START], said=["expiring"], warning=warned())
    record = record_of(table)
    assert (record.issue_key, record.issue_said, record.warned_owner) == ("SEC-1", frozenset({"expiring"}), "U1")
    claimed = table.claim_issue(KEY, "later", "SEC-1")
    table.record_said(claimed, "later", "expired")
    record = record_of(table)
    assert record.issue_said == frozenset({"expiring", "expired"})
    assert (record.issue_claim_until, record.issue_ended_at) == (None, None)
    claimed = table.claim_issue(KEY, "last", "SEC-1")
    table.record_said(claimed, "last", "deleted", ended_at=START)
    assert record_of(table).issue_ended_at == START


def test_nothing_is_recorded_as_said_without_the_claim_or_in_another_issue(table: StateTable) -> None:
    claimed = table.claim_issue(KEY, "mine", None)
    table.record_issue(KEY.access_key_id, "mine", "SEC-1", said=["expired"])
    with pytest.raises(ClaimLost):
        table.record_said(replace(claimed, issue_key="SEC-1"), "mine", "deleted")
    claimed = table.claim_issue(KEY, "again", "SEC-1")
    with pytest.raises(ClaimLost):
        table.record_said(replace(claimed, issue_key="SEC-2"), "again", "deleted")
    assert record_of(table).issue_said == frozenset({"expired"})


def test_a_new_issue_forgets_what_was_said_in_the_old_one(table: StateTable) -> None:
    table.claim_issue(KEY, "mine", None)
    table.record_issue(KEY.access_key_id, "mine", "SEC-1", said=["expired"])
    table.record_assigned(record_of(table), "ana@example.com")
    claimed = table.claim_issue(KEY, "mine", "SEC-1")
    table.record_said(claimed, "mine", "deactivated", ended_at=START)
    assert record_of(table).issue_assigned_to == "ana@example.com"
    table.claim_issue(KEY, "mine", "SEC-1")
    table.record_issue(KEY.access_key_id, "mine", "SEC-2", [START], said=["expired"])
    record = record_of(table)
    assert (record.issue_key, record.issue_said) == ("SEC-2", frozenset({"expired"}))
    assert (record.issue_assigned_to, record.issue_ended_at) == (None, None)


def test_an_issue_is_recorded_as_assigned_only_while_it_is_the_one(table: StateTable) -> None:
    table.claim_issue(KEY, "mine", None)
    table.record_issue(KEY.access_key_id, "mine", "SEC-2")
    with pytest.raises(ClaimLost):
        table.record_assigned(KeyRecord(KEY.access_key_id, issue_key="SEC-1"), "ana@example.com", warned())
    assert (record_of(table).issue_assigned_to, record_of(table).warned_at) == (None, None)


# Items that are no access key's


def test_look_ups_are_kept_by_address_in_any_case(table: StateTable) -> None:
    table.record_lookup("Ana@Example.com", Lookup("U0ANA", START))
    table.record_lookup("nobody@example.com", Lookup("U0BEN", START))
    table.record_lookup("nobody@example.com", Lookup(None, START + A_DAY))
    state = table.read([], [], emails=["ana@example.com", "nobody@example.com", "new@example.com"])
    assert state.lookups == {
        "ana@example.com": Lookup("U0ANA", START),
        "nobody@example.com": Lookup(None, START + A_DAY),
    }


@pytest.mark.parametrize("slack_id", ["C1", "xoxb-1", ""])
def test_a_look_up_that_names_no_person_is_none(aws: MotoAws, table: StateTable, slack_id: str) -> None:
    put(aws, "email:ana@example.com", slack_id={"S": slack_id}, looked_up_at={"N": "1750000000"})
    assert table.read([], [], emails=["ana@example.com"]).lookups == {}


def test_disablings_of_24_hours_are_counted_to_the_second(table: StateTable) -> None:
    assert table.take_disabling(ACCOUNT, START, 2)
    assert table.take_disabling(ACCOUNT, START, 2)
    assert not table.take_disabling(ACCOUNT, START + A_DAY - SECOND, 2)
    assert table.take_disabling("210987654321", START, 1), "another account has its own"
    assert table.take_disabling(ACCOUNT, START + A_DAY, 2)
    assert table.read([], [], account_ids=[ACCOUNT]).disablings == {ACCOUNT: (START + A_DAY,)}


def test_a_disabling_given_back_is_free_again(table: StateTable) -> None:
    assert table.take_disabling(ACCOUNT, START + HALF_A_SECOND, 1)
    table.give_back_disabling(ACCOUNT, START)  # no such one
    assert not table.take_disabling(ACCOUNT, START + SECOND, 1)
    table.give_back_disabling(ACCOUNT, START + HALF_A_SECOND)
    assert table.take_disabling(ACCOUNT, START + SECOND, 1)


def test_a_count_that_keycheck_did_not_write_stops_all_disabling(aws: MotoAws, table: StateTable) -> None:
    put(aws, f"disablings:{ACCOUNT}", disabled_times={"S": "many"})
    with pytest.raises(ServiceError):
        table.take_disabling(ACCOUNT, START, 50)
    with pytest.raises(ServiceError):
        table.read([], [], account_ids=[ACCOUNT])


def test_a_scan_gives_its_own_account_s_records_with_an_open_issue_or_an_intent(
    aws: MotoAws, table: StateTable
) -> None:
    owned = {"account_id": {"S": ACCOUNT}, "user_name": {"S": "ana"}}
    put(aws, "AKIA0000000000000001", issue_key={"S": "SEC-1"}, **owned)
    put(aws, "AKIA0000000000000002", disabling_at={"N": "1750000000"}, **owned)
    put(aws, "AKIA0000000000000003", issue_key={"S": "SEC-3"}, issue_ended_at={"N": "1750000000"}, **owned)
    put(aws, "AKIA0000000000000004", told_at={"N": "1750000000"}, **owned)
    put(aws, "AKIA0000000000000005", issue_key={"S": "not one"}, **owned)
    other = {**owned, "account_id": {"S": "210987654321"}}
    put(aws, "AKIA0000000000000006", issue_key={"S": "SEC-6"}, **other)
    put(aws, f"slack:{ACCOUNT}:U1", issue_key={"S": "SEC-7"}, **owned)
    state = table.scan_account(ACCOUNT)
    assert sorted(state.keys) == ["AKIA0000000000000001", "AKIA0000000000000002"]
    assert state.keys["AKIA0000000000000001"].user_name == "ana"
    assert state.unreadable == {"AKIA0000000000000005"}


def test_a_scan_reads_every_page(aws: MotoAws, table: StateTable) -> None:
    """A page is at most 1 MB before the filter: three items of 400 KB that do not match come first, or in between."""
    owned = {"account_id": {"S": ACCOUNT}, "user_name": {"S": "ana"}}
    for number in range(3):
        put(aws, f"AKIA000000000000000{number}", padding={"S": "x" * 390_000})
    for number in range(3, 9):
        put(aws, f"AKIA000000000000000{number}", issue_key={"S": "SEC-1"}, padding={"S": "x" * 390_000}, **owned)
    assert len(table.scan_account(ACCOUNT).keys) == 6


# What cannot be written


@pytest.mark.parametrize(
    "write",
    [
        lambda table: table.claim_issue(KEY, "mine", None),
        lambda table: table.begin_filing(KeyRecord(KEY.access_key_id), "mine", START),
        lambda table: table.record_issue(KEY.access_key_id, "mine", "SEC-1"),
        lambda table: table.release_issue(KeyRecord(KEY.access_key_id), "mine"),
        lambda table: table.claim_message(OWNER, "mine", 24),
        lambda table: table.record_message(OWNER, "mine", START),
        lambda table: table.release_message(OWNER, "mine", 0, None),
        lambda table: table.record_told(KEY, START),
        lambda table: table.begin_disabling(KEY, START),
        lambda table: table.record_disabled(KEY.access_key_id, START, "run-1", "why"),
        lambda table: table.read([KEY.access_key_id], []),
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
    table.record_told(KEY, START)
    assert clock._over_at is not None
    clock._over_at -= EXIT_SECONDS
    with pytest.raises(Stopped):
        table.record_told(KEY, START + SECOND)
