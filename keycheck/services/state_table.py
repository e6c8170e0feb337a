"""The state table in DynamoDB: records and claims.

In: access keys, addressees, a claim's token. Out: records, ClaimLost, or ServiceError. It decides nothing about what
is due; it only makes sure that a write rests on what the decision rested on (design.md, section 4).

A claim is one UpdateItem with a condition: no claim, a lapsed one, or the same token's (botocore may re-send a write
whose answer was lost). A release touches only its own claim, and the time when somebody was told or messaged never
moves backwards. Instants are epoch seconds UTC (N); attributes end in `_at`, `_until`, `_from`,
`_times` or `_filings`.

    iam_access_key_id  S  hash key: an access key id, slack:<account id>:<Slack id>, email:<address>, or
                          disablings:<account id>
    account_id, user_name  S
    told_at            N  a message naming this access key was last answered ok
    issue_key          S  the issue last filed or found
    issue_filings      L  of N: when a POST was begun; answered_filings: those that Jira answered with an issue
    issue_claim        S  token; issue_claim_until N
    issue_said         SS marks of what was said in that issue
    issue_assigned_to  S  e-mail; issue_ended_at N
    warned_at          N  the first delivered warning that named a day; warned_owner S: to whom
    disable_from       N  the first instant of the latest day told
    disabling_at       N  UpdateAccessKey begun; disabling_claim S: token
    disabled_at        N  it was answered; disabled_by S: which run; disabled_why S
    reenabled_at       N  first seen active after that
    exempt_until       N  the first instant of an exemption's last day
    slack_id           S  who has that e-mail address, absent where nobody; looked_up_at N
    disabled_times     L  of N: when access keys of that account were disabled lately
    times_token        S  of the last write of those: the next one rests on it
    messaged_at        N  the addressee's last message, unknown outcomes included
    message_claim      S  token; message_claim_until N
    server_errors, not_before  N  Slack 5xx in a row, and no try before
"""

from __future__ import annotations

import math
import random
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

from keycheck.clock import RunClock
from keycheck.model import (
    AccessKey,
    Addressee,
    AddresseeRecord,
    KeyRecord,
    Lookup,
    State,
    Warned,
    is_issue_key,
)
from keycheck.services import ClaimLost, ServiceError
from keycheck.services.aws_session import Calls, aws_errors, make_client, open_session, word

SERVICE = "dynamodb"
HASH_KEY = "iam_access_key_id"
CALLS = Calls(attempts=4, mode="standard", connections=16, read_timeout=5, connect_timeout=3, silences=2)
KEYS_A_BATCH = 100
READS_OF_A_BATCH = 8
FILINGS_KEPT = 5
TRIES_AT_TIMES = 20
A_DAY = timedelta(days=1)
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
            table = self._describe()
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

    def read(
        self,
        access_key_ids: Iterable[str],
        addressees: Iterable[Addressee],
        *,
        emails: Iterable[str] = (),
        account_ids: Iterable[str] = (),
    ) -> State:
        """The records of these, by consistent BatchGetItem; what the table leaves unprocessed is asked for again.

        An item that keycheck did not write costs only what it is about; of an account's disablings, or of an e-mail
        address, it is an error, or none.
        """
        ids = list(dict.fromkeys(access_key_ids))
        names = dict.fromkeys(addressee.record_id for addressee in addressees)
        mails = {_email_id(email): email for email in emails}
        accounts = {_disablings_id(account_id): account_id for account_id in account_ids}
        keys: dict[str, KeyRecord] = {}
        addressed: dict[str, AddresseeRecord] = {}
        lookups: dict[str, Lookup] = {}
        disablings: dict[str, tuple[datetime, ...]] = {}
        unreadable: set[str] = set()
        for name, item in self._read_items([*ids, *names, *mails, *accounts]).items():
            try:
                if name in names:
                    addressed[name] = _addressee_record(item)
                elif name in mails:
                    lookups[mails[name]] = _lookup(item)
                elif name in accounts:
                    disablings[accounts[name]] = _disabled_times(item)
                else:
                    keys[name] = _key_record(name, item)
            except ServiceError:
                if name in accounts:
                    raise  # without its brake nothing of an account may be disabled
                unreadable.add(name)
        return State(keys, addressed, frozenset(unreadable), lookups, disablings)

    def scan_account(self, account_id: str) -> State:
        """The records of one account that hold an issue that was not ended, or an intent: all pages, consistent.

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
                    "attribute_exists(disabling_at) OR "
                    "(attribute_exists(issue_key) AND attribute_not_exists(issue_ended_at)))",
                    ExpressionAttributeValues={":account": _text(account_id)},
                    **more,
                )
                items, last = answer["Items"], answer.get("LastEvaluatedKey")
                names = [item[HASH_KEY]["S"] for item in items]
            for name, item in zip(names, items, strict=True):
                if ":" in name:
                    continue
                try:
                    keys[name] = _key_record(name, item)
                except ServiceError:
                    unreadable.add(name)
            if not last:
                return State(keys, unreadable=frozenset(unreadable))
            more = {"ExclusiveStartKey": last}

    def record_lookup(self, email: str, lookup: Lookup) -> None:
        """Note who has an e-mail address, or that nobody has; whoever writes last is right."""
        values = {":at": _number(_floor(lookup.looked_up_at))}
        update = "SET looked_up_at = :at REMOVE slack_id"
        if lookup.slack_id is not None:
            update = "SET looked_up_at = :at, slack_id = :id"
            values[":id"] = _text(lookup.slack_id)
        self._update(_email_id(email), update, None, values)

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

    def record_issue(
        self,
        access_key_id: str,
        token: str,
        issue_key: str,
        answered: Sequence[datetime] = (),
        *,
        said: Iterable[str] = (),
        warning: Warned | None = None,
    ) -> None:
        """Record the issue, and release the claim where it is still this one's; raises ClaimLost where another issue
        was recorded meanwhile. `answered`: all filings that Jira answered, this one included; empty leaves them.

        What was said in, and done about, an issue recorded before is forgotten: `said` is all that was said in this.
        """
        change = _Change()
        change.set("issue_key", _text(issue_key))
        if answered:
            change.set("answered_filings", _numbers(answered[-FILINGS_KEPT:]))
        if marks := sorted(set(said)):
            change.set("issue_said", {"SS": marks})
        else:
            change.remove("issue_said")
        change.remove("issue_claim", "issue_claim_until", "issue_ended_at", "issue_assigned_to")
        change.condition("issue_claim = :token", {":token": _text(token)})
        try:
            self._apply(access_key_id, change)
        except ClaimLost:
            self._update(
                access_key_id,
                "SET issue_key = :issue",
                "attribute_not_exists(issue_key) OR issue_key = :issue",
                {":issue": _text(issue_key)},
            )
        self._record_warning(access_key_id, warning)

    def record_said(
        self,
        record: KeyRecord,
        token: str,
        said: str,
        *,
        ended_at: datetime | None = None,
        warning: Warned | None = None,
    ) -> None:
        """Record what was said in the issue of `record`, and release the claim; raises ClaimLost where it is not this
        one's any more, or another issue was recorded meanwhile. `ended_at`: nothing more is said in it.
        """
        change = _Change()
        change.add("issue_said", {"SS": [said]})
        if ended_at is not None:
            change.set("issue_ended_at", _number(_floor(ended_at)))
        change.remove("issue_claim", "issue_claim_until")
        values = {":token": _text(token), ":issue": _text(record.issue_key or "")}
        change.condition("issue_claim = :token AND issue_key = :issue", values)
        self._apply(record.access_key_id, change)
        self._record_warning(record.access_key_id, warning)

    def record_assigned(self, record: KeyRecord, email: str, warning: Warned | None = None) -> None:
        """Record to whom the issue of `record` is assigned; raises ClaimLost where another one is on record by now."""
        values = {":email": _text(email), ":issue": _text(record.issue_key or "")}
        self._update(record.access_key_id, "SET issue_assigned_to = :email", "issue_key = :issue", values)
        self._record_warning(record.access_key_id, warning)

    def _record_warning(self, access_key_id: str, warning: Warned | None) -> None:
        """Record a delivered warning: the day first, since that one only ever holds back.

        The first warning to an owner counts, and the latest day told to anybody; what said that an exemption has ended
        has said it.
        """
        if warning is None:
            return
        day = {":day": _number(_floor(warning.day))}
        later = "attribute_not_exists(disable_from) OR disable_from <= :day"
        self._update_unless_later(access_key_id, "SET disable_from = :day", later, day)
        self._update_unless_later(
            access_key_id,
            "SET warned_at = :at, warned_owner = :owner REMOVE exempt_until",
            "attribute_not_exists(warned_at) OR attribute_not_exists(warned_owner) OR warned_owner <> :owner",
            {":at": _number(_ceil(warning.at)), ":owner": _text(warning.owner)},
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

    def record_told(
        self, access_key: AccessKey, at: datetime, warning: Warned | None = None, *, ends_exemption: bool = False
    ) -> None:
        """Record that a message naming this access key was answered ok, what it promised, and whether it said that an
        exemption has ended.
        """
        self._update_unless_later(
            access_key.access_key_id,
            f"SET told_at = :at, account_id = :account, user_name = :user{' REMOVE exempt_until' * ends_exemption}",
            "attribute_not_exists(told_at) OR told_at <= :at",
            {":at": _number(_floor(at)), **_owner(access_key)},
        )
        self._record_warning(access_key.access_key_id, warning)

    def take_disabling(self, account_id: str, at: datetime, most: int) -> bool:
        """Take one of the disablings that an account may have in any 24 hours; False where all are taken.

        The times are read, and written back only where they are still those: several runners share them.
        """
        for attempt in range(TRIES_AT_TIMES):
            times, token = self._read_times(account_id)
            lately = [one for one in times if at - one < A_DAY]
            if len(lately) >= most:
                return False
            try:
                self._write_times(account_id, token, [*lately, at])
            except ClaimLost:
                self._clock.sleep(random.uniform(0, 0.02 * (attempt + 1)))  # noqa: S311 - a pause, no secret
            else:
                return True
        text = "the count of an account's disablings could not be written: too many runs at once"
        raise ServiceError(SERVICE, "UpdateItem", text)

    def give_back_disabling(self, account_id: str, at: datetime) -> None:
        """Surely nothing was disabled then. Raises ClaimLost where that could not be written: it stays counted."""
        for _ in range(TRIES_AT_TIMES):
            times, token = self._read_times(account_id)
            left = list(times)
            with suppress(ValueError):
                left.remove(_instant(_number(_ceil(at))))
            if len(left) == len(times):
                return
            with suppress(ClaimLost):
                self._write_times(account_id, token, left)
                return
        raise ClaimLost

    def _read_times(self, account_id: str) -> tuple[tuple[datetime, ...], str | None]:
        """The times, and the token of the write that left them so: None where there was none."""
        item = self._read_items([_disablings_id(account_id)]).get(_disablings_id(account_id))
        if item is None:
            return (), None
        with _reading("disablings"):
            return _disabled_times(item), item["times_token"]["S"] if "times_token" in item else None

    def _write_times(self, account_id: str, expected: str | None, new: Sequence[datetime]) -> None:
        """Raises ClaimLost where another write came first. A token of its own, since botocore may send it again."""
        values = {
            ":new": {"L": [_number(_ceil(one)) for one in new]},
            ":account": _text(account_id),
            ":token": _text(uuid.uuid4().hex),
        }
        condition = "attribute_not_exists(times_token) OR times_token = :token"
        if expected is not None:
            condition = "times_token = :expected OR times_token = :token"
            values[":expected"] = _text(expected)
        update = "SET disabled_times = :new, times_token = :token, account_id = :account"
        self._update(_disablings_id(account_id), update, condition, values)

    def begin_disabling(self, access_key: AccessKey, token: str, at: datetime, settled: datetime) -> bool:
        """Write the intent; where even that raises, nothing is disabled. Raises ClaimLost where another run has begun
        to disable it, or has disabled it, after `settled` (a person may have re-enabled it since), or where it has told
        somebody a day after `at`.
        """
        values = {":at": _number(_floor(at)), ":settled": _number(_floor(settled)), ":token": _text(token)}
        conditions = (
            "(attribute_not_exists(disabling_at) OR disabling_at <= :settled OR disabling_claim = :token)",
            "(attribute_not_exists(disabled_at) OR disabled_at <= :settled)",
            "(attribute_not_exists(disable_from) OR disable_from <= :at)",
        )
        self._update(
            access_key.access_key_id,
            "SET disabling_at = :at, disabling_claim = :token, account_id = :account, user_name = :user",
            " AND ".join(conditions),
            {**values, **_owner(access_key)},
        )
        return True

    def drop_disabling(self, access_key_id: str, begun_at: datetime) -> None:
        """Forget an intent that came to nothing; one that another run has written since stays."""
        values = {":at": _number(_floor(begun_at))}
        with suppress(ClaimLost):
            self._update(access_key_id, "REMOVE disabling_at, disabling_claim", "disabling_at = :at", values)

    def record_disabled(self, access_key_id: str, at: datetime, run: str, why: str) -> None:
        """Confirm a disabling: when, by which run, and why."""
        self._update(
            access_key_id,
            "SET disabled_at = :at, disabled_by = :run, disabled_why = :why "
            "REMOVE disabling_at, disabling_claim, reenabled_at",
            None,
            {":at": _number(_floor(at)), ":run": _text(run), ":why": _text(why)},
        )

    def record_reenabled(self, record: KeyRecord, at: datetime) -> None:
        """Note when an access key that keycheck had disabled was first seen active again; the first note stays."""
        values = {":at": _number(_floor(at)), ":disabled": _number(_floor(record.disabled_at or at))}
        condition = "disabled_at = :disabled AND attribute_not_exists(reenabled_at)"
        with suppress(ClaimLost):
            self._update(record.access_key_id, "SET reenabled_at = :at", condition, values)

    def record_exempt(self, access_key: AccessKey, until: date) -> None:
        """Note an exemption: warnings given before it do not count after it."""
        first = datetime(until.year, until.month, until.day, tzinfo=UTC)
        self._update(
            access_key.access_key_id,
            "SET exempt_until = :until, account_id = :account, user_name = :user "
            "REMOVE warned_at, warned_owner, disable_from",
            None,
            {":until": _number(_floor(first)), **_owner(access_key)},
        )

    def _update_unless_later(self, name: str, update: str, condition: str, values: Mapping[str, Any]) -> None:
        """An update whose failed condition means that something later is on record already: nothing is lost."""
        try:
            self._update(name, update, condition, values)
        except ClaimLost:
            return

    def _apply(self, name: str, change: _Change) -> Item:
        return self._update(name, change.expression(), change.rests_on, change.values)

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


class _Change:
    """One UpdateItem in the making: its clauses, its condition, its values."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.rests_on: str | None = None
        self._sets: list[str] = []
        self._adds: list[str] = []
        self._removes: list[str] = []

    def set(self, name: str, value: Mapping[str, Any]) -> None:
        self._sets.append(f"{name} = :{name}")
        self.values[f":{name}"] = value

    def add(self, name: str, value: Mapping[str, Any]) -> None:
        self._adds.append(f"{name} :{name}")
        self.values[f":{name}"] = value

    def remove(self, *names: str) -> None:
        self._removes += names

    def condition(self, text: str, values: Mapping[str, Any]) -> None:
        self.rests_on = text
        self.values |= values

    def expression(self) -> str:
        clauses = (("SET", self._sets), ("ADD", self._adds), ("REMOVE", self._removes))
        return " ".join(f"{name} {', '.join(parts)}" for name, parts in clauses if parts)


def _email_id(email: str) -> str:
    return f"email:{email.lower()}"


def _disablings_id(account_id: str) -> str:
    return f"disablings:{account_id}"


def _lookup(item: Item) -> Lookup:
    with _reading("email"):
        slack_id = item["slack_id"]["S"] if "slack_id" in item else None
        if slack_id is not None and re.fullmatch(r"[UW][A-Z0-9]{2,}", slack_id) is None:
            raise ValueError("not a Slack id")
        return Lookup(slack_id, _instant(item["looked_up_at"]))


def _disabled_times(item: Item) -> tuple[datetime, ...]:
    with _reading("disablings"):
        return tuple(_instant(one) for one in item["disabled_times"]["L"])


def _key_record(access_key_id: str, item: Item) -> KeyRecord:
    def instant(name: str) -> datetime | None:
        return _instant(item[name]) if name in item else None

    def text(name: str) -> str | None:
        value = item[name]["S"] if name in item else None
        if value is not None and not isinstance(value, str):
            raise ValueError("not a text")
        return value

    with _reading(access_key_id):
        exempt_until = instant("exempt_until")
        return KeyRecord(
            access_key_id,
            account_id=text("account_id") or "",
            user_name=text("user_name") or "",
            issue_said=frozenset(item["issue_said"]["SS"]) if "issue_said" in item else frozenset(),
            issue_assigned_to=text("issue_assigned_to"),
            issue_ended_at=instant("issue_ended_at"),
            warned_at=instant("warned_at"),
            warned_owner=text("warned_owner"),
            disable_from=instant("disable_from"),
            disabling_at=instant("disabling_at"),
            disabled_at=instant("disabled_at"),
            disabled_by=text("disabled_by"),
            reenabled_at=instant("reenabled_at"),
            exempt_until=None if exempt_until is None else exempt_until.date(),
            told_at=instant("told_at"),
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
