"""wavefront/dashboard.json, read: Wavefront is at the end of its life, and nothing here can load it for real.

What is required and allowed is of Wavefront's own API client (wavefrontHQ/python-client: Dashboard, Chart,
ChartSettings, ChartSourceQuery).
"""

from __future__ import annotations

import json
import re
from typing import Any

from keycheck.metrics import RUN_FIELDS
from tests.deployed.telegraf import ROOT

TEXT = (ROOT / "wavefront" / "dashboard.json").read_text(encoding="utf-8")
DASHBOARD: dict[str, Any] = json.loads(TEXT)
KNOWN = {"aws.iam.age", *(f"aws.iam.run.{name.replace('_', '.')}" for name in RUN_FIELDS)}
"""By the output's convert_paths; test_telegraf.py holds them to what Telegraf sends."""


def charts() -> list[dict[str, Any]]:
    return [chart for section in DASHBOARD["sections"] for row in section["rows"] for chart in row["charts"]]


def queries() -> list[str]:
    return [source["query"] for chart in charts() for source in chart["sources"]]


def test_what_is_required_is_there() -> None:
    assert all(DASHBOARD[name] for name in ("id", "name", "url", "sections"))
    for chart in charts():
        assert chart["name"]
        assert chart["chartSettings"]["type"] in ("line", "stacked-area", "stacked-column", "table", "sparkline")
        assert all(source["name"] and source["query"] for source in chart["sources"])


def test_every_query_names_a_metric_of_ours() -> None:
    for query in [
        *queries(),
        *(one["queryValue"] for one in DASHBOARD["parameterDetails"].values() if "queryValue" in one),
    ]:
        named = set(re.findall(r'ts\("([^"]+)"', query))
        assert named
        assert named <= KNOWN


def test_account_status_and_expire_age_are_variables_and_each_is_used() -> None:
    declared = DASHBOARD["parameterDetails"]
    assert set(declared) == {"accountAlias", "keyStatus", "expire_age"}
    assert set(re.findall(r"\$\{(\w+)\}", " ".join(queries()))) == set(declared)
    assert declared["accountAlias"]["tagKey"] == "accountAlias"
    assert declared["keyStatus"]["tagKey"] == "status"
    assert declared["expire_age"]["valuesToReadableStrings"] == {"Label": "180"}
    assert ">= ${expire_age}" in " ".join(queries())


def test_there_is_no_remote_image_and_no_name_of_anybodys() -> None:
    assert "http" not in TEXT
    assert "<img" not in TEXT
