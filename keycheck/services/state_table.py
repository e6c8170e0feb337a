"""The state table in DynamoDB: records and claims.

In: access keys, addressees, a claim's token. Out: records, ClaimLost, or ServiceError. It decides nothing about what
is due; it only makes sure that a write rests on what the decision rested on (design.md 4).

A claim is one UpdateItem with a condition: no claim, a lapsed one, or the same token's (botocore may re-send a write
whose answer was lost). A release touches only its own claim, and the time when somebody was told or messaged never
moves backwards. Instants are epoch seconds UTC (N); attributes end in `_at`, `_until`, `_from`,
`_times` or `_filings`.

    iam_access_key_id  S  hash key: an access key id, slack:<account id>:<Slack id>, email:<address>,
                          told:<Slack id>, or disablings:, account: or standing:<account id>
    account_id, user_name  S
    expires_at         N  a year after the last write: DynamoDB's time to live deletes it some time after that; not on
                          what is known of an account
    access_key_ids     SS of standing:<account id>: those that are read in every run; listed_at N: when any was added;
                          all_listed_at N of standing:all: when the whole table was looked through for such
    told_at            N  a message naming this access key was last answered ok
    issue_key          S  the issue last filed or found; issue_site S: the Jira that has it
    issue_filings      L  of N: when a POST was begun; answered_filings: those that Jira answered with an issue;
                          issue_tried_at N: when it refused one
    issue_claim        S  token; issue_claim_until N
    issue_said         SS markers of what was said in that issue
    issue_assigned_to  S  e-mail; issue_ended_at N
    warned_at          N  when the notice was given; warned_owner S: to whom; notice_kept_at N: when a run last noted
                          that it would still say the same
    events             SS what happened to it, each `<epoch seconds> <what>`: rules/events.py
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
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from keycheck.clock import RunClock
from keycheck.model import AccountRecord, Addressee, AddresseeRecord, KeyRecord, Lookup, State
from keycheck.rules import other_writes
from keycheck.rules.case import A_DAY
from keycheck.rules.changes import (
    Change,
    Lost,
    Write,
    ceil,
    floor,
)
from keycheck.services import ClaimLost, Failure, ServiceError, state_items
from keycheck.services.aws_errors import aws_errors
from keycheck.services.aws_session import Calls, make_client, open_session
from keycheck.services.state_expressions import expressions
from keycheck.services.state_items import HASH_KEY, SERVICE, Item, to_wire
from keycheck.services.state_opening import TableOpening

CALLS = Calls(attempts=4, mode="standard", connections=16, read_timeout=5, connect_timeout=3, silences=2)
KEYS_A_BATCH = 100
READS_OF_A_BATCH = 8
TRIES_AT_TIMES = 20
NEEDED = ("disablings:", "standing:")
"""Without its brake, or what stands, nothing of an account may be done."""
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
        self.remarks: list[str] = []

    def open(self, *, create: bool) -> bool:
        """Make sure that the table is there, has our shape and is ready. Without `create`, False if it is absent."""
        opening = TableOpening(self._client, self._profile, self._table, self._clock)
        is_there = opening.open(create=create)
        self.remarks += opening.remarks
        return is_there

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

        An item that keycheck did not write costs only what it is about; of an account's disablings, or its list of what
        stands, it is an error.
        `lookups`: e-mail addresses and Slack ids.
        """
        keys: dict[str, KeyRecord] = {}
        addressed: dict[str, AddresseeRecord] = {}
        looked_up: dict[str, Lookup] = {}
        disablings: dict[str, tuple[datetime, ...]] = {}
        accounts: dict[str, AccountRecord] = {}
        standing: dict[str, frozenset[str]] = {}
        listed: dict[str, datetime | None] = {}
        asked: dict[str, tuple[dict[str, Any], str, Callable[[Item], object]]] = {}
        for one in access_key_ids:
            asked[one] = (keys, one, partial(state_items.key_record, one))
        for addressee in addressees:
            asked[addressee.record_id] = (addressed, addressee.record_id, state_items.addressee_record)
        for one in lookups:
            asked[other_writes.lookup_id(one)] = (looked_up, one, state_items.lookup)
        for one in account_ids:
            asked[other_writes.disablings_id(one)] = (disablings, one, lambda item: state_items.disablings(item)[0])
            asked[other_writes.account_id_item(one)] = (accounts, one, state_items.account_record)
            asked[other_writes.standing_id(one)] = (standing, one, state_items.standing)
            asked[other_writes.ALL_LISTED] = (listed, other_writes.ALL_LISTED, state_items.all_listed)
        unreadable: set[str] = set()
        for name, item in self._read_items(list(asked)).items():
            if name not in asked:  # an answer that is not DynamoDB's
                continue
            records, about, record_of = asked[name]
            try:
                records[about] = record_of(item)
            except ServiceError:
                if name.startswith(NEEDED):
                    raise
                unreadable.add(name)
        lists_all = listed.get(other_writes.ALL_LISTED)
        return State(keys, addressed, frozenset(unreadable), looked_up, disablings, accounts, standing, lists_all)

    def look_through(self, since: datetime) -> list[KeyRecord]:
        """Return the records of all accounts that hold an issue that was not ended, or only since then, an intent, or a
        notice, or of which anybody was told, or that were taken back, since then: all pages, consistent.

        One page is up to 1 MB of what the table holds, before the filter: an empty page is not the last one. An item
        that keycheck did not write is left out: once it is due, it is read all the same.
        """
        return self._scan(
            "attribute_exists(account_id) AND attribute_exists(user_name) AND ("
            "attribute_exists(disabling_at) OR attribute_exists(notice_kept_at) OR "
            "told_at >= :since OR reenabled_at >= :since OR "
            "(attribute_exists(issue_key) AND "
            "(attribute_not_exists(issue_ended_at) OR issue_ended_at >= :since)))",
            {":since": to_wire(floor(since))},
        )

    def with_events(self) -> list[KeyRecord]:
        """Return the records of all access keys to which anything happened, for an auditor."""
        return self._scan("attribute_exists(events)", {})

    def _scan(self, wanted: str, values: Mapping[str, Any]) -> list[KeyRecord]:
        found: list[KeyRecord] = []
        more: dict[str, Any] = {"ExpressionAttributeValues": values} if values else {}
        while True:
            self._clock.check()
            with aws_errors(SERVICE, "Scan", self._profile):
                answer = self._client.scan(TableName=self._table, ConsistentRead=True, FilterExpression=wanted, **more)
                items, last = answer["Items"], answer.get("LastEvaluatedKey")
                names = [item[HASH_KEY]["S"] for item in items]
            for name, item in zip(names, items, strict=True):
                if ":" not in name:
                    with suppress(ServiceError):
                        found.append(state_items.key_record(name, state_items.from_wire(item)))
            if not last:
                return found
            more["ExclusiveStartKey"] = last

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
