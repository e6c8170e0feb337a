"""The state table: is it there, is it ours, is it ready, or is it to be made? Shell.

In: a client, the table's name. Out: that it can be used, or ServiceError that says why not. It never
changes a table that is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keycheck.clock import RunClock
from keycheck.rules.changes import TIME_TO_LIVE
from keycheck.services import ServiceError
from keycheck.services.aws_errors import aws_errors, word
from keycheck.services.state_items import HASH_KEY, SERVICE

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 60.0
"""A new table takes some ten seconds."""


class TableOpening:
    """The opening of one table by one run. `remarks`: what a person should know of it beside errors."""

    def __init__(self, client: Any, profile: str, table_name: str, clock: RunClock) -> None:
        self._client = client
        self._profile = profile
        self._table = table_name
        self._clock = clock
        self.remarks: list[str] = []

    def open(self, *, create: bool) -> bool:
        """Make sure that the table is there, has our shape and is ready. Without `create`, False if it is absent.

        Another run may create it at the same moment, or be at it already: then this waits, a poll every half second.
        """
        table, is_new = self._describe(), False
        if table is None:
            if not create:
                return False
            is_new = self._create()
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
                    if is_new:
                        self._let_records_expire()
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

    def _create(self) -> bool:
        """Make the table; False if another run was first."""
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
            if error.code != "ResourceInUseException":
                raise
            return False
        return True

    def _let_records_expire(self) -> None:
        """Have DynamoDB delete what was not written for a year. Where that is not allowed, a table grows, and is as
        good as another.
        """
        try:
            with aws_errors(SERVICE, "UpdateTimeToLive", self._profile):
                self._client.update_time_to_live(
                    TableName=self._table,
                    TimeToLiveSpecification={"Enabled": True, "AttributeName": TIME_TO_LIVE},
                )
        except ServiceError as error:
            self.remarks.append(
                f"records in the table {self._table} are kept for ever: {error.text}; for a year instead: "
                f"aws dynamodb update-time-to-live --table-name {self._table} "
                f"--time-to-live-specification Enabled=true,AttributeName={TIME_TO_LIVE}"
            )

    def _unusable(self, why: str) -> ServiceError:
        return ServiceError(
            SERVICE, "DescribeTable", f"the table {self._table} cannot be used: {why}", holds_for_run=True
        )


def _is_ours(table: Mapping[str, Any]) -> bool:
    """Return whether a table that is there has the key that keycheck's has."""
    schema, attributes = table.get("KeySchema"), table.get("AttributeDefinitions")
    is_string = isinstance(attributes, list) and {"AttributeName": HASH_KEY, "AttributeType": "S"} in attributes
    return is_string and schema == [{"AttributeName": HASH_KEY, "KeyType": "HASH"}]
