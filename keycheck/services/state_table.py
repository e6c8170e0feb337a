"""The state table in DynamoDB: records and claims.

In: access keys, addressees, a claim's token. Out: records, ClaimLost, or ServiceError. It decides nothing about what
is due; it only makes sure that a write rests on what the decision rested on (design.md 4).

A claim is one UpdateItem with a condition: no claim, a lapsed one, or the same token's (botocore may re-send a write
whose answer was lost). A release touches only its own claim, and the time when somebody was told or messaged never
moves backwards. Instants are epoch seconds UTC (N); attributes end in `_at`, `_until`, `_from`,
`_times` or `_filings`.

    iam_access_key_id  S  hash key: an access key id, slack:<account id>:<Slack id>, email:<address>,
                          told:<Slack id>, or disablings:<account id>
    account_id, user_name  S
    told_at            N  a message naming this access key was last answered ok
    issue_key          S  the issue last filed or found; issue_site S: the Jira that has it
    issue_filings      L  of N: when a POST was begun; answered_filings: those that Jira answered with an issue
    issue_claim        S  token; issue_claim_until N
    issue_said         SS markers of what was said in that issue
    issue_assigned_to  S  e-mail; issue_ended_at N
    warned_at          N  when the notice was given; warned_owner S: to whom; notice_kept_at N: when a run last noted
                          that it would still say the same
    notice_void_at     N  when the last notice became void; notice_void_why S
    disable_from       N  the first instant of the latest day told
    disabling_at       N  UpdateAccessKey begun; disabling_claim S: token
    disabled_at        N  it was answered; disabled_by S: which run; disabled_why S
    inactive_at        N  first seen inactive, not by keycheck
    reenabled_at       N  first seen active after any of these
    exempt_until       N  the first instant of an exemption's last day
    slack_id           S  who has that e-mail address or Slack id, absent if nobody; looked_up_at N; why_gone S: Slack's
                          word for why nobody is told under that id
    disabled_times     L  of N: when access keys of that account were disabled lately
    times_token        S  of the last write of those: the next one rests on it
    messaged_at        N  the addressee's last message, unknown outcomes included
    message_claim      S  token; message_claim_until N
    server_errors, not_before  N  Slack 5xx in a row, and no try before
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from keycheck.clock import RunClock
from keycheck.model import AccountRecord, Addressee, AddresseeRecord, KeyRecord, Lookup, State
from keycheck.rules import other_writes
from keycheck.rules.changes import Absent, All, AnyOf, AtMost, Change, Condition, Is, Lost, Value, Write, ceil, floor
from keycheck.services import ClaimLost, Failure, ServiceError, state_items
from keycheck.services.aws_errors import aws_errors, word
from keycheck.services.aws_session import Calls, make_client, open_session
from keycheck.services.state_items import HASH_KEY, Item, to_wire

SERVICE = "dynamodb"
CALLS = Calls(attempts=4, mode="standard", connections=16, read_timeout=5, connect_timeout=3, silences=2)
KEYS_A_BATCH = 100
READS_OF_A_BATCH = 8
TRIES_AT_TIMES = 20
A_DAY = timedelta(days=1)
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 60.0
"""A new table takes some ten seconds."""
CONDITION_FAILED = "ConditionalCheckFailedException"


class StateTable:
    """The table of one run. `open` first; all other calls may come from any thread."""

    def __init__(self, profile: str, region: str | None, table_name: str, clock: RunClock) -> None:
        self._profile = profile
        self._table = table_name
        self._clock = clock
        session = open_session(profile, SERVICE, clock.remaining_seconds)
        self.own_access_key_ids = session.own_access_key_ids
        self._client = make_client(session, SERVICE, CALLS, clock.check_exit, region)

    def open(self, *, create: bool) -> bool:
        """Make sure that the table is there, has our shape and is ready. Without `create`, False if it is absent.

        Another run may create it at the same moment, or be at it already: then this waits, a poll every half second.
        """
        table = self._describe()
        if table is None:
            if not create:
                return False
            self._create()
            table = self._describe()
        waited, patience = 0.0, min(PATIENCE_SECONDS, self._clock.remaining_seconds() / 2)
        while True:
            if table is not None:
                if not _is_ours(table):
                    raise self._unusable(
                        f"its key is not {HASH_KEY} (string, hash key, no range key), so it is not keycheck's; "
                        "set dynamodb_table_name to another name"
                    )
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

    def _unusable(self, why: str) -> ServiceError:
        return ServiceError(
            SERVICE, "DescribeTable", f"the table {self._table} cannot be used: {why}", holds_for_run=True
        )

    def read(
        self,
        access_key_ids: Iterable[str],
        addressees: Iterable[Addressee],
        *,
        lookups: Iterable[str] = (),
        account_ids: Iterable[str] = (),
    ) -> State:
        """Return the records of these, by consistent BatchGetItem; what the table leaves unprocessed is asked for
        again.

        An item that keycheck did not write costs only what it is about; of an account's disablings it is an error.
        `lookups`: e-mail addresses and Slack ids.
        """
        ids = list(dict.fromkeys(access_key_ids))
        names = dict.fromkeys(addressee.record_id for addressee in addressees)
        looked_up = {other_writes.lookup_id(name): name for name in lookups}
        every = list(account_ids)
        accounts = {other_writes.disablings_id(account_id): account_id for account_id in every}
        known_accounts = {other_writes.account_id_item(account_id): account_id for account_id in every}
        keys: dict[str, KeyRecord] = {}
        addressed: dict[str, AddresseeRecord] = {}
        known: dict[str, Lookup] = {}
        disablings: dict[str, tuple[datetime, ...]] = {}
        of_accounts: dict[str, AccountRecord] = {}
        unreadable: set[str] = set()
        for name, item in self._read_items([*ids, *names, *looked_up, *accounts, *known_accounts]).items():
            try:
                if name in names:
                    addressed[name] = state_items.addressee_record(item)
                elif name in looked_up:
                    known[looked_up[name]] = state_items.lookup(item)
                elif name in known_accounts:
                    of_accounts[known_accounts[name]] = state_items.account_record(item)
                elif name in accounts:
                    disablings[accounts[name]] = state_items.disablings(item)[0]
                else:
                    keys[name] = state_items.key_record(name, item)
            except ServiceError:
                if name in accounts:
                    raise  # without its brake nothing of an account may be disabled
                unreadable.add(name)
        return State(keys, addressed, frozenset(unreadable), known, disablings, of_accounts)

    def scan_account(self, account_id: str, since: datetime) -> State:
        """Return the records of one account that hold an issue that was not ended, or only since then, an intent, or a
        notice, or of which anybody was told, or that were taken back, since then: all pages, consistent.

        One page is up to 1 MB of what the table holds, before the filter: an empty page is not the last one.
        """
        keys: dict[str, KeyRecord] = {}
        unreadable: set[str] = set()
        more: dict[str, Any] = {}
        while True:
            self._clock.check()
            with aws_errors(SERVICE, "Scan", self._profile):
                answer = self._client.scan(
                    TableName=self._table,
                    ConsistentRead=True,
                    FilterExpression="account_id = :account AND attribute_exists(user_name) AND ("
                    "attribute_exists(disabling_at) OR attribute_exists(notice_kept_at) OR "
                    "told_at >= :since OR reenabled_at >= :since OR "
                    "(attribute_exists(issue_key) AND "
                    "(attribute_not_exists(issue_ended_at) OR issue_ended_at >= :since)))",
                    ExpressionAttributeValues={":account": to_wire(account_id), ":since": to_wire(floor(since))},
                    **more,
                )
                items, last = answer["Items"], answer.get("LastEvaluatedKey")
                names = [item[HASH_KEY]["S"] for item in items]
            for name, item in zip(names, items, strict=True):
                if ":" in name:
                    continue
                try:
                    keys[name] = state_items.key_record(name, state_items.from_wire(item))
                except ServiceError:
                    unreadable.add(name)
            if not last:
                return State(keys, unreadable=frozenset(unreadable))
            more = {"ExclusiveStartKey": last}

    def _read_items(self, names: Sequence[str]) -> dict[str, Item]:
        items: dict[str, Item] = {}
        for start in range(0, len(names), KEYS_A_BATCH):
            wanted: list[dict[str, Any]] = [{HASH_KEY: {"S": name}} for name in names[start : start + KEYS_A_BATCH]]
            for attempt in range(READS_OF_A_BATCH):
                self._clock.check()
                with aws_errors(SERVICE, "BatchGetItem", self._profile):
                    answer = self._client.batch_get_item(
                        RequestItems={self._table: {"Keys": wanted, "ConsistentRead": True}}
                    )
                    found = answer["Responses"].get(self._table, ())
                    items |= {item[HASH_KEY]["S"]: state_items.from_wire(item) for item in found}
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

    def apply(self, write: Write) -> Item:
        """Make the changes of a write, one after the other; the item as the last one left it, empty if nothing of it
        was needed. Raises ClaimLost if another run was first.
        """
        item: Item = {}
        for change in write.changes:
            item = self._make(write.item, change)
        return item

    def _make(self, name: str, change: Change) -> Item:
        try:
            return self._update(name, change)
        except ClaimLost:
            match change.otherwise:
                case Lost.FINE:
                    return {}
                case tuple():
                    item: Item = {}
                    for instead in change.otherwise:
                        item = self._make(name, instead)
                    return item
            raise

    def take_disabling(self, account_id: str, at: datetime, most: int) -> bool:
        """Take one of the disablings that an account may have in any 24 hours; False if all are taken.

        The times are read, and written back only if they are still those: several runners share them.
        """
        for attempt in range(TRIES_AT_TIMES):
            times, token = self._read_times(account_id)
            lately = [one for one in times if at - one < A_DAY]
            if len(lately) >= most:
                return False
            try:
                self.apply(other_writes.disablings_of_account(account_id, uuid.uuid4().hex, token, [*lately, at]))
            except ClaimLost:
                self._clock.sleep(random.uniform(0, 0.02 * (attempt + 1)))  # noqa: S311 - a pause, no secret
            else:
                return True
        text = "the count of an account's disablings could not be written: too many runs at once"
        raise ServiceError(SERVICE, "UpdateItem", text)

    def give_back_disabling(self, account_id: str, at: datetime) -> None:
        """Surely nothing was disabled then. Raises ClaimLost if that could not be written: it stays counted."""
        recorded = datetime.fromtimestamp(ceil(at), UTC)
        for _ in range(TRIES_AT_TIMES):
            times, token = self._read_times(account_id)
            left = list(times)
            with suppress(ValueError):
                left.remove(recorded)
            if len(left) == len(times):
                return
            with suppress(ClaimLost):
                self.apply(other_writes.disablings_of_account(account_id, uuid.uuid4().hex, token, left))
                return
        raise ClaimLost

    def _read_times(self, account_id: str) -> tuple[tuple[datetime, ...], str | None]:
        """Return the times, and the token of the write that left them so: None if there was none."""
        name = other_writes.disablings_id(account_id)
        item = self._read_items([name]).get(name)
        return ((), None) if item is None else state_items.disablings(item)

    def _update(self, name: str, change: Change) -> Item:
        """Make one UpdateItem; return the item as it is now. Raises ClaimLost if its condition does not hold."""
        try:
            with aws_errors(SERVICE, "UpdateItem", self._profile):
                answer = self._client.update_item(
                    TableName=self._table, Key={HASH_KEY: {"S": name}}, ReturnValues="ALL_NEW", **expressions(change)
                )
                item: dict[str, Any] = answer.get("Attributes") or {}
                if item.get(HASH_KEY) != {"S": name}:  # botocore takes any HTTP 200, a login page too, for done
                    text = "dynamodb:UpdateItem had an answer that is not DynamoDB's"
                    raise ServiceError(SERVICE, "UpdateItem", text, failure=Failure.UNKNOWN)
                return state_items.from_wire(item)
        except ServiceError as error:
            if error.code == CONDITION_FAILED:
                raise ClaimLost from error
            raise


def expressions(change: Change) -> dict[str, Any]:
    """Return a change in the words of UpdateItem. Attribute names need no stand-ins: none is a reserved word of
    DynamoDB's.
    """
    words = _Words()
    clauses = (
        ("SET", [f"{name} = {words.value(name, value)}" for name, value in change.set.items()]),
        ("ADD", [f"{name} {words.value(name, texts)}" for name, texts in change.add.items()]),
        ("REMOVE", list(change.remove)),
    )
    asked: dict[str, Any] = {
        "UpdateExpression": " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses if parts)
    }
    if change.needs is not None:
        asked["ConditionExpression"] = words.condition(change.needs)
    if words.values:
        asked["ExpressionAttributeValues"] = words.values
    return asked


class _Words:
    """The values of one request, and the words that name them."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def value(self, name: str, value: Value) -> str:
        placeholder = f":{name}" if f":{name}" not in self.values else f":{name}_{len(self.values)}"
        self.values[placeholder] = to_wire(value)
        return placeholder

    def condition(self, condition: Condition) -> str:
        match condition:
            case Absent(name=name):
                return f"attribute_not_exists({name})"
            case Is(name=name, value=value):
                return f"{name} = {self.value(name, value)}"
            case AtMost(name=name, value=number):
                return f"{name} <= {self.value(name, number)}"
            case All(parts=parts):
                return " AND ".join(f"({self.condition(part)})" for part in parts)
            case AnyOf(parts=parts):
                return " OR ".join(f"({self.condition(part)})" for part in parts)


def _is_ours(table: Mapping[str, Any]) -> bool:
    """Return whether a table that is there has the key that keycheck's has."""
    schema, attributes = table.get("KeySchema"), table.get("AttributeDefinitions")
    is_string = isinstance(attributes, list) and {"AttributeName": HASH_KEY, "AttributeType": "S"} in attributes
    return is_string and schema == [{"AttributeName": HASH_KEY, "KeyType": "HASH"}]
