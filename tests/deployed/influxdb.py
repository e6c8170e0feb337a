"""A real InfluxDB 1.x (Debian's influxdb), started for the tests on loopback ports of its own.

In: nothing, or lines of line protocol. Out: a database that InfluxQL can be asked, as Grafana asks it: over HTTP.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Self

import requests

from tests.impatience import wait_until

WHY_NO_INFLUXDB: Final = "there is no influxd on PATH; on Debian: apt-get install influxdb"
DATABASE: Final = "telegraf"
START_SECONDS: Final = 60


def has_influxdb() -> bool:
    return shutil.which("influxd") is not None


class InfluxDb:
    """One influxd with one folder, between `start` and `stop`. Ports are the system's choice, read from its log."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        (self._folder / "empty.conf").write_text("", encoding="utf-8")
        environ = {
            "HOME": str(self._folder),
            "INFLUXDB_REPORTING_DISABLED": "true",
            "INFLUXDB_BIND_ADDRESS": "127.0.0.1:0",
            "INFLUXDB_HTTP_BIND_ADDRESS": "127.0.0.1:0",
            "INFLUXDB_META_DIR": str(self._folder / "meta"),
            "INFLUXDB_DATA_DIR": str(self._folder / "data"),
            "INFLUXDB_DATA_WAL_DIR": str(self._folder / "wal"),
            "INFLUXDB_MONITOR_STORE_ENABLED": "false",
            "INFLUXDB_HTTP_LOG_ENABLED": "false",
        }
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [shutil.which("influxd") or "influxd", "run", "-config", str(self._folder / "empty.conf")],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._listens, START_SECONDS)
        self.query(f"CREATE DATABASE {DATABASE}", "")
        return self

    def _listens(self) -> bool:
        log = (self._folder / "log").read_text(encoding="utf-8")
        assert self._process is not None
        assert self._process.poll() is None, log
        found = [line for line in log.splitlines() if "Listening on HTTP" in line and "127.0.0.1:" in line]
        if not found:
            return False
        self.url = "http://127.0.0.1:" + found[0].partition("127.0.0.1:")[2].split()[0].strip('"]')
        return True

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def write(self, lines: Iterable[str], database: str = DATABASE) -> None:
        """Write lines with timestamps in seconds."""
        body = "\n".join(lines).encode()
        where = {"db": database, "precision": "s"}
        requests.post(f"{self.url}/write", params=where, data=body, timeout=60).raise_for_status()

    def query(self, text: str, database: str = DATABASE) -> list[dict[str, Any]]:
        """The rows that an InfluxQL query gives, over all its statements, the tags of their series among them."""
        form = {"q": text, "db": database, "epoch": "s"}
        results = requests.post(f"{self.url}/query", data=form, timeout=60).json()["results"]
        rows: list[dict[str, Any]] = []
        for result in results:
            assert "error" not in result, (text, result["error"])
            for series in result.get("series", []):
                named = [dict(zip(series["columns"], values, strict=True)) for values in series["values"]]
                rows += [{**series.get("tags", {}), **row} for row in named]
        return rows
