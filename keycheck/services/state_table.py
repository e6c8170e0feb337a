"""The state table in DynamoDB: records and claims.

In: access keys, addressees, a claim's token. Out: records, ClaimLost, or ServiceError. It decides nothing about what
is due; it only makes sure that a write rests on what the decision rested on (design.md, section 4).

A claim is one UpdateItem with a condition: no claim, a lapsed one, or the same token's (botocore may re-send a write
whose answer was lost). A release touches only its own claim, and the time when somebody was told or messaged never
moves backwards. Instants are epoch seconds UTC (N); attributes end in `_at`, `_until` or `_filings`.

    iam_access_key_id  S  hash key: an access key id, or slack:<account id>:<Slack id>
    account_id, user_name  S
    told_at            N  a message naming this access key was last answered ok
    issue_key          S  the issue last filed or found
    issue_filings      L  of N: when a POST was begun; answered_filings: those that Jira answered with an issue
    issue_claim        S  token; issue_claim_until N
    disabling_at, disabled_at  N  UpdateAccessKey begun, answered
    messaged_at        N  the addressee's last message, unknown outcomes included
    message_claim      S  token; message_claim_until N
    server_errors, not_before  N  Slack 5xx in a row, and no try before
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from keycheck.clock import RunClock
from keycheck.model import AccessKey, Addressee, AddresseeRecord, KeyRecord, State, is_issue_key
from keycheck.services import ClaimLost, ServiceError
from keycheck.services.aws_session import Calls, aws_errors, make_client, open_session, word

SERVICE = "dynamodb"
HASH_KEY = "iam_access_key_id"
CALLS = Calls(attempts=4, mode="standard", connections=16, read_timeout=5, connect_timeout=3, silences=2)
KEYS_A_BATCH = 100
READS_OF_A_BATCH = 8
FILINGS_KEPT = 5
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 60.0
"""A new table takes some ten seconds."""
CONDITION_FAILED = "ConditionalCheckFailedException"

Item = dict[str, dict[str, Any]]


class StateTable:
    """The table of one run. `open` first; all other calls may come from any thread."""

    def __init__(self, profile: str, region: str | None, table_name: str, clock: RunClock, margin_seconds: int) -> None:
        self._profile = profile
        self._table = table_name
        self._clock = clock
        self._claims_lapse = _ceil(clock.deadline + timedelta(seconds=margin_seconds))
        session = open_session(profile, SERVICE)
        self.own_access_key_ids = session.own_access_key_ids
        self._client = make_client(session, SERVICE, CALLS, clock.check_exit, region)

    def open(self, *, create: bool) -> bool:
        """Make sure that the table is there, has our shape and is ready. Without `create`, False where it is absent.

        Another run may create it at the same moment, or be at it already: then this waits, a poll every half second.
        """
        table = self._describe()
        if table is None:
            if not create:
                return False
            self._create()
        waited, patience = 0.0, min(PATIENCE_SECONDS, self._clock.remaining_seconds() / 2)
        while True:
            if table is not None:
                self._check_shape(table)
                if table.get("TableStatus") in ("ACTIVE", "UPDATING"):
                    return True
                if table.get("TableStatus") != "CREATING":
                    raise self._unusable(f"it is {word(str(table.get('TableStatus')))}")
            self._clock.sleep(POLL_SECONDS)
            if (waited := waited + POLL_SECONDS) > patience:
                raise self._unusable(f"it is not ready after {patience:.0f} s; the next run tries again")
            table = self._describe()

    def _describe(self) -> dict[str, Any] | None:
        try:
            with aws_errors(SERVICE, "DescribeTable", self._profile):
                table: dict[str, Any] = self._client.describe_table(TableName=self._table)["Table"]
                return table
        except ServiceError as error:
            if error.code == "ResourceNotFoundException":
                return None
            raise

    def _create(self) -> None:
        try:
            with aws_errors(SERVICE, "CreateTable", self._profile):
                self._client.create_table(
                    TableName=self._table,
                    AttributeDefinitions=[{"AttributeName": HASH_KEY, "AttributeType": "S"}],
                    KeySchema=[{"AttributeName": HASH_KEY, "KeyType": "HASH"}],
                    BillingMode="PAY_PER_REQUEST",
                    DeletionProtectionEnabled=True,
                )
        except ServiceError as error:
            if error.code != "ResourceInUseException":  # another run was first
                raise

    def _check_shape(self, table: Mapping[str, Any]) -> None:
        schema, attributes = table.get("KeySchema"), table.get("AttributeDefinitions")
        is_string = isinstance(attributes, list) and {"AttributeName": HASH_KEY, "AttributeType": "S"} in attributes
        if schema != [{"AttributeName": HASH_KEY, "KeyType": "HASH"}] or not is_string:
            raise self._unusable(
                f"its key is not {HASH_KEY} (string, hash key, no range key), so it is not keycheck's; "
                "set dynamodb_table_name to another name"
            )

    def _unusable(self, why: str) -> ServiceError:
        return ServiceError(SERVICE, "DescribeTable", f"the table {self._table} cannot be used: {why}", is_fatal=True)

    def read(self, access_key_ids: Iterable[str], addressees: Iterable[Addressee]) -> State:
        """The records of these, by consistent BatchGetItem; what the table leaves unprocessed is asked for again.

        An item that keycheck did not write costs only what it is about.
        """
        ids = list(dict.fromkeys(access_key_ids))
        names = dict.fromkeys(addressee.record_id for addressee in addressees)
        items = self._read_items([*ids, *names])
        keys: dict[str, KeyRecord] = {}
        addressed: dict[str, AddresseeRecord] = {}
        unreadable: set[str] = set()
        for name, item in items.items():
            try:
                if name in names:
                    addressed[name] = _addressee_record(item)
                else:
                    keys[name] = _key_record(name, item)
            except ServiceError:
                unreadable.add(name)
        return State(keys, addressed, frozenset(unreadable))

    def _read_items(self, names: Sequence[str]) -> dict[str, Item]:
        items: dict[str, Item] = {}
        for start in range(0, len(names), KEYS_A_BATCH):
            wanted: list[Item] = [{HASH_KEY: {"S": name}} for name in names[start : start + KEYS_A_BATCH]]
            for attempt in range(READS_OF_A_BATCH):
                self._clock.check()
                with aws_errors(SERVICE, "BatchGetItem", self._profile):
                    answer = self._client.batch_get_item(
                        RequestItems={self._table: {"Keys": wanted, "ConsistentRead": True}}
                    )
                    items |= {item[HASH_KEY]["S"]: item for item in answer["Responses"].get(self._table, ())}
                    wanted = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
                if not wanted:
                    break
                if attempt + 1 < READS_OF_A_BATCH:
                    self._clock.sleep(min(2.0, 0.05 * 2**attempt))
            else:
                raise ServiceError(
                    SERVICE, "BatchGetItem", "the table left keys unprocessed again and again (throttled)"
                )
        return items

    def claim_issue(self, access_key: AccessKey, token: str, expected_issue: str | None) -> KeyRecord:
        """Claim the filing for one access key; raises ClaimLost. Returns the record as it is now."""
        recorded = "issue_key = :issue" if expected_issue else "attribute_not_exists(issue_key)"
        item = self._update(
            access_key.access_key_id,
            "SET issue_claim = :token, issue_claim_until = :until, account_id = :account, user_name = :user",
            f"(attribute_not_exists(issue_claim) OR issue_claim_until <= :now OR issue_claim = :token) AND {recorded}",
            {
                ":token": _text(token),
                ":until": _number(self._claims_lapse),
                ":now": _number(_floor(self._clock.now)),
                **_owner(access_key),
                **({":issue": _text(expected_issue)} if expected_issue else {}),
            },
        )
        return _key_record(access_key.access_key_id, item)

    def begin_filing(self, record: KeyRecord, token: str, at: datetime) -> bool:
        """Note, before the POST, that an issue is about to be made: it counts whatever becomes of the POST.

        True, or raises ClaimLost.
        """
        filings = [*record.issue_filings, at][-FILINGS_KEPT:]
        self._update(
            record.access_key_id,
            "SET issue_filings = :filings",
            "issue_claim = :token",
            {":filings": _numbers(filings), ":token": _text(token)},
        )
        return True

    def record_issue(self, access_key_id: str, token: str, issue_key: str, answered: Sequence[datetime] = ()) -> None:
        """Record the issue, and release the claim where it is still this one's; raises ClaimLost where another issue
        was recorded meanwhile. `answered`: all filings that Jira answered, this one included; empty leaves them.
        """
        values: dict[str, Any] = {":issue": _text(issue_key), ":token": _text(token)}
        filings = ""
        if answered:
            filings = ", answered_filings = :answered"
            values[":answered"] = _numbers(answered[-FILINGS_KEPT:])
        try:
            self._update(
                access_key_id,
                f"SET issue_key = :issue{filings} REMOVE issue_claim, issue_claim_until",
                "issue_claim = :token",
                values,
            )
        except ClaimLost:
            self._update(
                access_key_id,
                "SET issue_key = :issue",
                "attribute_not_exists(issue_key) OR issue_key = :issue",
                {":issue": _text(issue_key)},
            )

    def release_issue(self, record: KeyRecord, token: str) -> None:
        """Give the claim back, with the filings as they were when it was taken: surely no issue was made."""
        filings = "SET issue_filings = :filings REMOVE " if record.issue_filings else "REMOVE issue_filings, "
        values = {":token": _text(token)}
        if record.issue_filings:
            values[":filings"] = _numbers(record.issue_filings)
        self._update(record.access_key_id, f"{filings}issue_claim, issue_claim_until", "issue_claim = :token", values)

    def claim_message(self, addressee: Addressee, token: str, interval_hours: int) -> AddresseeRecord:
        """Claim the message to one addressee; raises ClaimLost also where the last message is too young by now."""
        item = self._update(
            addressee.record_id,
            "SET message_claim = :token, message_claim_until = :until, account_id = :account",
            "(attribute_not_exists(message_claim) OR message_claim_until <= :now OR message_claim = :token)"
            " AND (attribute_not_exists(messaged_at) OR messaged_at <= :latest)"
            " AND (attribute_not_exists(not_before) OR not_before <= :now)",
            {
                ":token": _text(token),
                ":until": _number(self._claims_lapse),
                ":now": _number(_floor(self._clock.now)),
                ":latest": _number(_floor(self._clock.now - timedelta(hours=interval_hours))),
                ":account": _text(addressee.account_id),
            },
        )
        return _addressee_record(item)

    def record_message(self, addressee: Addressee, token: str, at: datetime) -> None:
        """Record that a message went out, or may have: a fact, whoever holds the claim by now."""
        values = {":at": _number(_ceil(at)), ":token": _text(token)}
        later = "attribute_not_exists(messaged_at) OR messaged_at <= :at"
        try:
            self._update(
                addressee.record_id,
                "SET messaged_at = :at REMOVE message_claim, message_claim_until, server_errors, not_before",
                f"message_claim = :token AND ({later})",
                values,
            )
        except ClaimLost:
            self._update_unless_later(addressee.record_id, "SET messaged_at = :at", later, {":at": values[":at"]})

    def release_message(
        self, addressee: Addressee, token: str, server_errors: int, not_before: datetime | None
    ) -> None:
        """Give the claim back: surely nothing was sent. Notes Slack's 5xx in a row, and when to try again."""
        values = {":token": _text(token), ":errors": _number(server_errors)}
        until = ""
        if not_before is not None:
            until = ", not_before = :before"
            values[":before"] = _number(_ceil(not_before))
        self._update(
            addressee.record_id,
            f"SET server_errors = :errors{until} REMOVE message_claim, message_claim_until",
            "message_claim = :token",
            values,
        )

    def record_told(self, access_key: AccessKey, at: datetime) -> None:
        """Record that a message naming this access key was answered ok."""
        self._update_unless_later(
            access_key.access_key_id,
            "SET told_at = :at, account_id = :account, user_name = :user",
            "attribute_not_exists(told_at) OR told_at <= :at",
            {":at": _number(_floor(at)), **_owner(access_key)},
        )

    def begin_disabling(self, access_key: AccessKey, at: datetime) -> bool:
        """Write the intent; where even that raises, nothing is disabled."""
        self._update(
            access_key.access_key_id,
            "SET disabling_at = :at, account_id = :account, user_name = :user",
            None,
            {":at": _number(_floor(at)), **_owner(access_key)},
        )
        return True

    def record_disabled(self, access_key: AccessKey, at: datetime) -> None:
        self._update(
            access_key.access_key_id,
            "SET disabled_at = :at REMOVE disabling_at",
            None,
            {":at": _number(_floor(at))},
        )

    def _update_unless_later(self, name: str, update: str, condition: str, values: Mapping[str, Any]) -> None:
        """An update whose failed condition means that something later is on record already: nothing is lost."""
        try:
            self._update(name, update, condition, values)
        except ClaimLost:
            return

    def _update(self, name: str, update: str, condition: str | None, values: Mapping[str, Any]) -> Item:
        more = {"ConditionExpression": condition} if condition else {}
        try:
            with aws_errors(SERVICE, "UpdateItem", self._profile):
                answer = self._client.update_item(
                    TableName=self._table,
                    Key={HASH_KEY: {"S": name}},
                    UpdateExpression=update,
                    ExpressionAttributeValues=dict(values),
                    ReturnValues="ALL_NEW",
                    **more,
                )
                item: Item = answer.get("Attributes") or {}
                if item.get(HASH_KEY) != {"S": name}:  # botocore takes any HTTP 200, a login page too, for done
                    text = "dynamodb:UpdateItem had an answer that is not DynamoDB's"
                    raise ServiceError(SERVICE, "UpdateItem", text, may_have_happened=True)
                return item
        except ServiceError as error:
            if error.code == CONDITION_FAILED:
                raise ClaimLost from error
            raise


def _key_record(access_key_id: str, item: Item) -> KeyRecord:
    with _reading(access_key_id):
        return KeyRecord(
            access_key_id,
            told_at=_instant(item["told_at"]) if "told_at" in item else None,
            issue_key=_issue_key(item["issue_key"]) if "issue_key" in item else None,
            issue_filings=_instants(item, "issue_filings"),
            answered_filings=_instants(item, "answered_filings"),
            issue_claim_until=_claim_until(item, "issue_claim"),
        )


def _addressee_record(item: Item) -> AddresseeRecord:
    with _reading(str(item.get(HASH_KEY, {}).get("S", ""))):
        return AddresseeRecord(
            messaged_at=_instant(item["messaged_at"]) if "messaged_at" in item else None,
            not_before=_instant(item["not_before"]) if "not_before" in item else None,
            server_errors=int(item["server_errors"]["N"]) if "server_errors" in item else 0,
            claim_until=_claim_until(item, "message_claim"),
        )


def _issue_key(value: Mapping[str, Any]) -> str:
    """A recorded issue counts as a warning delivered, so it must be one."""
    if not is_issue_key(value["S"]):
        raise ValueError("not an issue key")
    return str(value["S"])


def _claim_until(item: Item, claim: str) -> datetime | None:
    """When a claim lapses. One that never would holds its access key for ever, so that is no record of ours."""
    return _instant(item[f"{claim}_until"]) if claim in item or f"{claim}_until" in item else None


def _instants(item: Item, name: str) -> tuple[datetime, ...]:
    return tuple(_instant(one) for one in item[name]["L"]) if name in item else ()


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn a record that nobody of ours wrote into an error that names no access key in full."""
    try:
        yield
    except (KeyError, ValueError, TypeError, OverflowError, AttributeError, OSError) as error:
        text = f"the item that ends in {str(name)[-5:]} holds something that keycheck did not write"
        raise ServiceError(SERVICE, "read", text) from error


def _owner(access_key: AccessKey) -> dict[str, dict[str, str]]:
    return {":account": _text(access_key.account_id), ":user": _text(access_key.user_name)}


def _text(value: str) -> dict[str, str]:
    return {"S": value}


def _number(value: int) -> dict[str, str]:
    return {"N": str(value)}


def _numbers(instants: Iterable[datetime]) -> dict[str, Any]:
    return {"L": [_number(_floor(instant)) for instant in instants]}


def _floor(instant: datetime) -> int:
    return math.floor(instant.timestamp())


def _ceil(instant: datetime) -> int:
    """Rounded up where rounding down could make something happen a fraction of a second too early."""
    return math.ceil(instant.timestamp())


def _instant(value: Mapping[str, Any]) -> datetime:
    return datetime.fromtimestamp(int(value["N"]), UTC)
