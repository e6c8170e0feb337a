"""A real DynamoDB engine for the state table: dynalite, or any that is running already, such as DynamoDB Local.

In: an engine's address. Out: one table of it, under a name of its own, that can be looked into and moved back in time.
Unlike moto's, an engine's conditional writes are atomic, and dynalite's new table is CREATING for as long as it is told
(services.md 6.3): only on such an engine does a race prove anything. `make test` installs dynalite where Node is.
"""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Self

from boto3.dynamodb.types import TypeDeserializer

FOLDER: Final = Path(__file__).resolve().parent.parent / "tests" / "dynalite"
HASH_KEY: Final = "iam_access_key_id"


def why_no_dynalite() -> str | None:
    """Why dynalite cannot be started here, and what to do; None where it can."""
    if shutil.which("node") is None:
        return "dynalite needs Node 20 or later, and there is no node on PATH; install it and run: make test"
    if not (FOLDER / "node_modules" / "dynalite").is_dir():
        return "dynalite is not installed below tests/dynalite; run: make test"
    return None


class Dynalite:
    """A dynalite of our own, in memory. `creating_ms`: how long a new table is CREATING."""

    def __init__(self, creating_ms: int) -> None:
        self._creating_ms = creating_ms
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> Self:
        """Raises RuntimeError where it does not come up."""
        self._process = subprocess.Popen(
            [shutil.which("node") or "node", str(FOLDER / "serve.js"), str(self._creating_ms), "0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port.isdigit():
            raise RuntimeError("dynalite did not start: see its words on stderr")
        self.url = f"http://127.0.0.1:{port}"
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class EngineTable:
    """The state table of one world in an engine; its name is nobody else's, so worlds may share an engine."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = f"keycheck-{uuid.uuid4().hex[:12]}"
        self._client: Any = None

    def connect(self, client: Any) -> None:
        """Look into it through this boto3 client, whose credentials and region must be those that keycheck uses."""
        self._client = client

    def items(self) -> list[dict[str, Any]]:
        """All items as plain values, by hash key; none where there is no table."""
        read = TypeDeserializer().deserialize
        found = [{name: _plain(read(value)) for name, value in item.items()} for item in self._scan()]
        return sorted(found, key=lambda item: str(item[HASH_KEY]))

    def move_back(self, delta: timedelta) -> None:
        """Let `delta` (whole seconds) go by: the same attributes as in `MotoAws.move_back`."""
        seconds = delta // timedelta(seconds=1)
        for item in self._scan():
            self._client.put_item(TableName=self.name, Item=_moved_back(item, seconds))

    def save(self) -> list[dict[str, Any]]:
        """All that the table holds, as a backup has it."""
        return self._scan()

    def restore(self, saved: Sequence[dict[str, Any]], ago: timedelta) -> None:
        """As from a backup made so long ago: what was written since is gone."""
        for item in self._scan():
            self._client.delete_item(TableName=self.name, Key={HASH_KEY: item[HASH_KEY]})
        for item in saved:
            self._client.put_item(TableName=self.name, Item=_moved_back(item, ago // timedelta(seconds=1)))

    def _scan(self) -> list[dict[str, Any]]:
        """A table that is not there, or CREATING still, has no items."""
        pages = self._client.get_paginator("scan").paginate(TableName=self.name, ConsistentRead=True)
        try:
            return [item for page in pages for item in page["Items"]]
        except self._client.exceptions.ResourceNotFoundException:
            return []


def _moved_back(item: dict[str, Any], seconds: int) -> dict[str, Any]:
    return {name: _value_moved_back(name, value, seconds) for name, value in item.items()}


def _value_moved_back(name: str, value: dict[str, Any], seconds: int) -> dict[str, Any]:
    if "N" in value and (name.endswith(("_at", "_until", "_from")) or name == "not_before"):
        return {"N": str(int(value["N"]) - seconds)}
    if "SS" in value and name == "events":
        return {"SS": [event_moved_back(text, seconds) for text in value["SS"]]}
    if "L" in value and name.endswith(("_filings", "_times")):
        return {"L": [{"N": str(int(one["N"]) - seconds)} for one in value["L"]]}
    return value


def event_moved_back(text: str, seconds: int) -> str:
    """An event of a record begins with when it was."""
    at, _, what = text.partition(" ")
    return f"{int(at) - seconds} {what}"


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, Decimal) else value
