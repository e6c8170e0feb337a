"""The dashboards: Grafana's own models take them, and each query gives what its panel says, on a real engine.

InfluxQL is asked of a real InfluxDB that holds a year of history; PromQL of Prometheus's own promtool, with the series
that Telegraf makes of it (test_telegraf.py holds their names to the real ones). What is expected is counted here from
the points themselves, not by a query.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.alerting import Rule
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.make_dashboards import BUCKETS, PANELS, Panel, Query, rendered
from keycheck.metrics import KEY_FIELDS, KEY_TAGS, RUN_FIELDS, RUN_TAGS
from tests.deployed import history
from tests.deployed.history import DAY, HOUR, LABELS, MINUTE, Point
from tests.deployed.influxdb import InfluxDb
from tests.deployed.telegraf import ROOT

FOLDER: Final = ROOT / "grafana" / "dashboards"
PROVISIONING: Final = ROOT / "grafana" / "provisioning"
FILES: Final = sorted(FOLDER.glob("*.json"))
WHY_NO_PROMTOOL: Final = "there is no promtool on PATH; on Debian: apt-get install prometheus"
ACCOUNTS: Final = ("acme-dev", "acme-gone", "acme-prod")

JSON_FILES = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


def dashboard(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def panels() -> list[Panel]:
    return [panel for panel in PANELS if isinstance(panel, Panel)]


def the(title: str) -> Panel:
    (found,) = [panel for panel in panels() if panel.title == title]
    return found


# The files


def test_the_files_are_what_the_list_of_panels_gives() -> None:
    """After a change of it: make dashboards."""
    assert {path.name: path.read_text(encoding="utf-8") for path in FILES} == rendered()


@JSON_FILES
def test_grafanas_models_know_every_field(path: Path) -> None:
    """What they do not know they drop: a misspelled option is one that Grafana ignores."""
    ours = dashboard(path)
    theirs = json.loads(json.dumps(Dashboard.from_json(ours), cls=JSONEncoder))
    assert list(lost(ours, theirs)) == []


def lost(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """The places of ours that are not in theirs."""
    match ours:
        case dict():
            for name, value in ours.items():
                if isinstance(theirs, dict) and name in theirs:
                    yield from lost(value, theirs[name], f"{path}.{name}")
                elif value not in (None, [], {}):
                    yield f"{path}.{name}"
        case list():
            for index, value in enumerate(ours):
                yield from lost(value, theirs[index], f"{path}[{index}]")
        case _:
            if ours != theirs:
                yield f"{path}: {ours!r} became {theirs!r}"


@JSON_FILES
def test_a_dashboard_can_be_provisioned_from_its_file(path: Path) -> None:
    """services.md 8: no id, no __inputs, the data source by a variable."""
    ours = dashboard(path)
    assert ours["id"] is None
    assert re.fullmatch(r"[\w-]{8,40}", ours["uid"])
    assert "__inputs" not in ours
    text = path.read_text(encoding="utf-8")
    assert "${DS_" not in text
    assert "http" not in text, "no remote image, and no address of anybody's"
    sources = {panel["datasource"]["uid"] for panel in ours["panels"] if panel["type"] != "row"}
    assert sources == {"${datasource}"}
    ids = [panel["id"] for panel in ours["panels"]]
    assert len(ids) == len(set(ids))


@JSON_FILES
def test_every_variable_is_used_and_every_used_one_is_there(path: Path) -> None:
    ours = dashboard(path)
    declared = {one["name"] for one in ours["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(ours["panels"])))
    assert used - {"timeFilter", "col"} == declared


@JSON_FILES
def test_panels_lie_side_by_side_within_24_columns(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard(path)["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_both_dashboards_have_the_same_panels_in_the_same_places() -> None:
    one, other = ([(p["title"], p["type"], p["gridPos"]) for p in dashboard(path)["panels"]] for path in FILES)
    assert one == other


def test_queries_name_nothing_but_what_keycheck_prints() -> None:
    for panel in panels():
        for query in panel.queries:
            if query.influxql:
                quoted = set(re.findall(r'"([^"]+)"', query.influxql))
                known = {"aws.iam", "aws.iam_run", *KEY_TAGS, *KEY_FIELDS, *RUN_TAGS, *RUN_FIELDS, "days left"}
                assert quoted <= known, panel.title
            metrics = set(re.findall(r"aws_\w+", query.promql))
            assert metrics <= {"aws_iam_age", *(f"aws_iam_run_{name}" for name in RUN_FIELDS)}, panel.title
            assert set(re.findall(r"status!?=\"(\w+)\"", query.promql)) <= set(LABELS)


# What is expected


def newest(found: Sequence[Point], measurement: str, after: datetime) -> list[Point]:
    """The newest point of each access key, or account, whatever its label, if it is later than that."""
    last: dict[tuple[str, ...], Point] = {}
    for point in found:
        if point.measurement == measurement and point.at > after:
            last[tuple(value for name, value in point.tags.items() if name != "status")] = point
    return list(last.values())


def total(found: Sequence[Point], field: str, after: datetime) -> float:
    return sum(point.fields[field] for point in newest(found, "aws.iam_run", after))


def numbers(found: Sequence[Point], after: datetime) -> dict[str, float]:
    """What each big number says, by its panel's title."""

    def of(field: str) -> float:
        return total(found, field, after)

    return {
        "Access keys": of("keys"),
        "Expired and active": of("expired"),
        "Overdue": of("overdue"),
        "Expiring": of("expiring"),
        "Active ones that need nothing": of("ok") / (of("ok") + of("expiring") + of("expired")),
        "Access keys of root users": of("root_access_keys"),
        "Accounts wholly seen": len(newest(found, "aws.iam_run", after)),
    }


def ages(found: Sequence[Point], after: datetime) -> dict[str, int]:
    active = [point.fields["age"] for point in newest(found, "aws.iam", after) if point.tags["status"] != "disabled"]
    return {name: sum(low <= age < (high or 10_000) for age in active) for name, (low, high) in BUCKETS.items()}


# InfluxQL, on InfluxDB


@pytest.fixture(scope="module")
def end() -> datetime:
    return history.an_end()


@pytest.fixture(scope="module")
def year(end: datetime) -> list[Point]:
    return history.points(end)


@pytest.fixture(scope="module")
def of_a_year(influxdb: InfluxDb, year: list[Point]) -> InfluxDb:
    """A database that holds the year."""
    influxdb.query("CREATE DATABASE a_year", "")
    for start in range(0, len(year), 5000):
        influxdb.write((point.line for point in year[start : start + 5000]), "a_year")
    return influxdb


def influxql(query: str, end: datetime, *, interval: str = "1d", days: int = 30) -> str:
    """A query as Grafana sends it, with all accounts and labels chosen."""
    since = int((end - days * DAY).timestamp())
    replaced = {
        "$timeFilter": f"time >= {since}s and time <= {int(end.timestamp())}s",
        "$__interval": interval,
        "$account": f"({'|'.join(ACCOUNTS)})",
        "$status": f"({'|'.join(LABELS)})",
        "$expire_age": "180",
        "$fresh": "3h",
    }
    for name, value in replaced.items():
        query = query.replace(name, value)
    assert "$" not in query.replace("$/", "")
    return query


def ask(database: InfluxDb, query: Query, end: datetime) -> list[dict[str, Any]]:
    return database.query(influxql(query.influxql, end), "a_year")


def test_the_year_holds_what_a_dashboard_can_get_wrong(year: list[Point], end: datetime) -> None:
    """Every label, an account that is no longer heard of, an access key whose two labels are both fresh."""
    recent = [point for point in year if point.at > end - 3 * HOUR]
    assert {point.tags["status"] for point in recent if "status" in point.tags} == set(LABELS)
    assert {point.tags["status"] for point in recent if point.tags.get("key") == "PX001"} == {"expired", "disabled"}
    assert not any(point.tags["accountAlias"] == history.GONE for point in recent)
    assert min(point.at for point in year) < end - 364 * DAY


@pytest.mark.parametrize("panel", [one for one in panels() if one.kind == "stat"], ids=lambda panel: panel.title)
def test_a_number_on_influxdb(of_a_year: InfluxDb, year: list[Point], end: datetime, panel: Panel) -> None:
    (row,) = ask(of_a_year, panel.queries[0], end)
    (value,) = [value for name, value in row.items() if name != "time"]
    assert value == pytest.approx(numbers(year, end - 3 * HOUR)[panel.title])


def test_the_ages_on_influxdb(of_a_year: InfluxDb, year: list[Point], end: datetime) -> None:
    found = {query.name: ask(of_a_year, query, end) for query in the("Age of active access keys").queries}
    assert {name: rows[0]["count"] for name, rows in found.items()} == ages(year, end - 3 * HOUR)


def test_the_last_runs_on_influxdb(of_a_year: InfluxDb, year: list[Point], end: datetime) -> None:
    rows = ask(of_a_year, the("Last run of each account").queries[0], end)
    expected = {
        point.tags["accountAlias"]: (int(point.at.timestamp()), point.fields["errors"], 0, 1.5)
        for point in newest(year, "aws.iam_run", end - 30 * DAY)
    }
    assert set(expected) == set(ACCOUNTS)
    assert {
        row["accountAlias"]: (row["time"], row["errors"], row["incomplete"], row["duration_seconds"]) for row in rows
    } == expected


def test_the_oldest_on_influxdb(of_a_year: InfluxDb, year: list[Point], end: datetime) -> None:
    rows = ask(of_a_year, the("Access keys, the oldest first").queries[0], end)
    expected = {
        (*(point.tags[name] for name in ("accountAlias", "name", "key", "status")), point.fields["age"])
        for point in newest(year, "aws.iam", end - 3 * HOUR)
    }
    assert {(row["accountAlias"], row["name"], row["key"], row["status"], row["age"]) for row in rows} == expected
    assert all(row["days left"] == 180 - row["age"] for row in rows)
    assert len(rows) == len(history.KEYS)


@pytest.mark.parametrize("title", ["Access keys by label", "Expired, overdue, exempt"])
def test_a_trend_on_influxdb(of_a_year: InfluxDb, year: list[Point], end: datetime, title: str) -> None:
    """The last run of each account in each day, added up; an account that is gone is gone from then on."""
    panel = the(title)
    fields = [query.name for query in panel.queries]
    last: dict[int, dict[str, Point]] = {}
    for point in year:
        if point.measurement == "aws.iam_run" and point.at >= end - 30 * DAY:
            last.setdefault(day_of(point), {})[point.tags["accountAlias"]] = point
    expected = [
        {"time": day, **{name: sum(point.fields[name] for point in runs.values()) for name in fields}}
        for day, runs in sorted(last.items())
    ]
    assert ask(of_a_year, panel.queries[0], end) == expected


@pytest.mark.parametrize("title", ["Issues, messages, disablings", "Errors, skipped, incomplete"])
def test_what_was_done_on_influxdb(of_a_year: InfluxDb, year: list[Point], end: datetime, title: str) -> None:
    """Late in the evening no run of the first day is left in the thirty: a day of zeros all the same."""
    panel = the(title)
    first, last = (int(at.timestamp()) // 86400 * 86400 for at in (end - 30 * DAY, end))
    days: dict[int, list[Point]] = {day: [] for day in range(first, last + 1, 86400)}
    for point in year:
        if point.measurement == "aws.iam_run" and point.at >= end - 30 * DAY:
            days[day_of(point)].append(point)
    expected = [
        {"time": day, **{query.name: added_up(query.name, points) for query in panel.queries}}
        for day, points in sorted(days.items())
    ]
    assert ask(of_a_year, panel.queries[0], end) == expected
    if title.startswith("Issues"):
        assert sum(row["keys_disabled"] for row in expected) == 1


def added_up(field: str, points: Sequence[Point]) -> float:
    values = [point.fields[field] for point in points]
    return max(values, default=0) if field in ("skipped", "incomplete") else sum(values)


def day_of(point: Point) -> int:
    return int(point.at.timestamp()) // 86400 * 86400


def test_the_accounts_to_choose_from_on_influxdb(of_a_year: InfluxDb) -> None:
    (account,) = [
        one for one in dashboard(FOLDER / "keycheck-influxql.json")["templating"]["list"] if one["name"] == "account"
    ]
    assert [row["value"] for row in of_a_year.query(account["query"], "a_year")] == list(ACCOUNTS)


# PromQL, by promtool

PROMETHEUS_END: Final = datetime.fromtimestamp(0, UTC) + 2 * DAY
"""promtool's tests begin at the epoch."""
SCRAPE: Final = 5 * MINUTE


def promql(query: str) -> str:
    for name, value in {"$account": "|".join(ACCOUNTS), "$status": "|".join(LABELS), "$__interval": "1d"}.items():
        query = query.replace(name, value)
    query = query.replace("$expire_age", "180")
    assert "$" not in query
    return query


def shown(found: Sequence[Point], measurement: str) -> list[Point]:
    """Every series that is shown at the end: with its label, so that one that changed it is there twice."""
    last = {tuple(point.tags.items()): point for point in found if point.measurement == measurement}
    return [point for point in last.values() if point.at > PROMETHEUS_END - history.SHOWN]


def sample(value: float, labels: str = "{}") -> dict[str, object]:
    return {"labels": labels, "value": value}


def labels_of(point: Point, name: str = "") -> str:
    return f"{name}{{{history.labels(point)}}}"


def expectations(found: Sequence[Point]) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Each PromQL query of the dashboard, and what it must give at the end."""
    after = PROMETHEUS_END - history.SHOWN
    for panel in panels():
        for query in panel.queries:
            yield query.promql, list(expected_samples(panel, query, found, after))


def expected_samples(
    panel: Panel, query: Query, found: Sequence[Point], after: datetime
) -> Iterator[dict[str, object]]:
    match panel.title:
        case "Last run of each account":
            field, factor = ("finished_at", 1000) if query.name == "Time" else (query.name, 1)
            for point in newest(found, "aws.iam_run", PROMETHEUS_END - 30 * DAY):
                name = "" if factor != 1 else f"aws_iam_run_{field}"
                yield sample(point.fields[field] * factor, labels_of(point, name))
        case "Age of active access keys":
            yield sample(ages(found, after)[query.name])
        case "Access keys, the oldest first":
            for point in shown(found, "aws.iam"):
                age = point.fields["age"]
                left = query.name == "days left"
                yield sample(180 - age if left else age, labels_of(point, "" if left else "aws_iam_age"))
        case "Issues, messages, disablings" | "Errors, skipped, incomplete":
            day = [point for point in found if point.measurement == "aws.iam_run" and point.at > PROMETHEUS_END - DAY]
            yield sample(added_up(query.name, day))
        case "Access keys by label" | "Expired, overdue, exempt":
            yield sample(total(found, query.name, after))
        case title:
            yield sample(numbers(found, after)[title])


@pytest.mark.process
@pytest.mark.skipif(shutil.which("promtool") is None, reason=WHY_NO_PROMTOOL)
def test_every_query_on_prometheus(tmp_path: Path) -> None:
    """Two days of hourly runs, scraped every five minutes, each value shown for 130 minutes."""
    found = [point for point in history.points(PROMETHEUS_END) if point.at > PROMETHEUS_END - 2 * DAY - history.SHOWN]
    series = [
        {
            "series": name,
            "values": " ".join(
                "_" if value is None else f"{value:g}" if value < 1e6 else str(int(value)) for value in values
            ),
        }
        for name, values in history.scraped(found, SCRAPE, PROMETHEUS_END).items()
    ]
    asked = [
        {"expr": promql(query), "eval_time": "48h", "exp_samples": samples} for query, samples in expectations(found)
    ]
    assert len(asked) == sum(len(panel.queries) for panel in panels())
    test = {"interval": "5m", "input_series": series, "promql_expr_test": asked}
    path = tmp_path / "dashboard.test.yml"
    path.write_text(json.dumps({"evaluation_interval": "5m", "tests": [test]}), encoding="utf-8")
    assert_promtool("test", "rules", str(path))


def assert_promtool(*arguments: str) -> None:
    ran = subprocess.run(
        [shutil.which("promtool") or "promtool", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


# Alerts


def grafana_rules() -> list[dict[str, Any]]:
    text = (PROVISIONING / "alerting" / "keycheck.yml").read_text(encoding="utf-8")
    (group,) = yaml.safe_load(text)["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def test_grafanas_models_know_every_field_of_its_rules() -> None:
    """But for those of a provisioning file alone: uid of a data source in a query, and the folder and group above."""
    for rule in grafana_rules():
        known = {**rule, "orgID": 1, "folderUID": "keycheck", "ruleGroup": "keycheck"}
        theirs = json.loads(json.dumps(Rule.from_json(known), cls=JSONEncoder))
        assert [path for path in lost(known, theirs) if not path.startswith(".data")] == []
        assert [one["refId"] for one in rule["data"]] == ["A", "B", "C"]
        assert rule["condition"] == "C"


def test_no_query_of_grafanas_rules_holds_what_its_provisioning_would_replace() -> None:
    """Models and labels are searched for $NAME, annotations are not (grafana issues 71006 and 54975)."""
    for rule in grafana_rules():
        assert "$" not in json.dumps([rule["data"], rule["labels"], rule["title"]])


def test_grafanas_rules_are_those_of_prometheus() -> None:
    text = (ROOT / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    (group,) = yaml.safe_load(text)["groups"]
    theirs = {rule["alert"]: rule for rule in group["rules"] if rule["alert"] != "KeycheckNeverSeen"}
    ours = {"".join(part.title() for part in rule["uid"].split("-")): rule for rule in grafana_rules()}
    assert set(ours) == set(theirs)
    for name, rule in ours.items():
        assert rule["for"] == theirs[name].get("for", "0s"), name
        assert rule["labels"] == theirs[name]["labels"], name
        assert rule["annotations"]["description"] == theirs[name]["annotations"]["description"], name
    assert [rule["uid"] for rule in grafana_rules() if rule["noDataState"] == "Alerting"] == ["keycheck-no-data"]


@pytest.mark.parametrize(
    ("uid", "accounts"),
    [
        ("keycheck-overdue", ["acme-dev"]),
        ("keycheck-no-data", ["acme-gone"]),
        ("keycheck-errors", ["acme-prod"]),
        ("keycheck-incomplete", []),
    ],
)
def test_a_rule_of_grafana_on_influxdb(of_a_year: InfluxDb, uid: str, accounts: list[str]) -> None:
    """What its query gives, reduced to the last value and held to its threshold, as Grafana does."""
    (rule,) = [rule for rule in grafana_rules() if rule["uid"] == uid]
    query, reduce, threshold = (one["model"] for one in rule["data"])
    assert reduce["reducer"] == "last"
    last = {row["accountAlias"]: row for row in of_a_year.query(query["query"], "a_year")}
    assert last, "a rule without data says nothing"
    evaluator = threshold["conditions"][0]["evaluator"]
    beyond = {"gt": float.__gt__, "lt": float.__lt__}[evaluator["type"]]
    limit = float(evaluator["params"][0])

    def fires(row: dict[str, Any]) -> bool:
        (value,) = [value for name, value in row.items() if name not in ("time", "accountAlias")]
        return bool(beyond(float(value), limit))

    assert sorted(account for account, row in last.items() if fires(row)) == accounts


def test_what_is_provisioned_lies_where_it_is_looked_for() -> None:
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "keycheck.yml").read_text(encoding="utf-8"))[
        "providers"
    ]
    assert provider["options"]["path"].startswith("/")
    sources = [
        one
        for path in sorted(PROVISIONING.glob("datasources/*.yml"))
        for one in yaml.safe_load(path.read_text(encoding="utf-8"))["datasources"]
    ]
    assert {one["uid"]: one["type"] for one in sources} == {
        "keycheck-influxdb": "influxdb",
        "keycheck-prometheus": "prometheus",
    }
    used = {one["datasourceUid"] for rule in grafana_rules() for one in rule["data"]}
    assert used == {"keycheck-influxdb", "__expr__"}


@pytest.mark.process
@pytest.mark.skipif(shutil.which("promtool") is None, reason=WHY_NO_PROMTOOL)
def test_the_alerts_of_prometheus_are_sound_and_fire_when_they_are_to() -> None:
    assert_promtool("check", "rules", str(ROOT / "prometheus" / "alerts.yml"))
    assert_promtool("test", "rules", str(ROOT / "prometheus" / "alerts.test.yml"))
