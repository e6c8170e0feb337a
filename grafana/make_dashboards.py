"""The two dashboards, from one list of panels: `make dashboards` writes grafana/dashboards/*.json.

In: PANELS, each with its InfluxQL and its PromQL. Out: two files of Grafana's classic JSON, the same panels in the same
places. A test holds the files to this list, so whoever changes a dashboard in Grafana brings the change back here.

What the queries lean on (services.md 7.5): `status` is a tag, so an access key whose label changed
has two series for a while; what counts is the last point of a user, access key and account. Prometheus is shown a value
until `expiration_interval` is over, so what is counted is counted in iam_run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).resolve().parent / "dashboards"
COLOURS: Final = {"ok": "green", "expiring": "yellow", "expired": "red", "disabled": "text"}

# InfluxQL: `"accountAlias" =~ /^$account$/` and the like; Grafana fills in what begins with a dollar.
ACCOUNT_IS: Final = '"accountAlias" =~ /^$account$/'
FRESH: Final = "time > now() - $fresh"
OF: Final = '{accountAlias=~"$account"}'


def last_run(*fields: str) -> str:
    """The newest value of these fields of iam_run, a row an account. The first one picks the point."""
    first, *rest = fields
    others = "".join(f', "{name}"' for name in rest)
    where = f"{FRESH} AND {ACCOUNT_IS}"
    return f'SELECT last("{first}") AS "{first}"{others} FROM "aws.iam_run" WHERE {where} GROUP BY "accountAlias"'


def last_keys() -> str:
    """The newest point of each access key, whatever its label was before."""
    return (
        f'SELECT last("age") AS "age", "status" FROM "aws.iam" WHERE {FRESH} AND {ACCOUNT_IS} '
        'GROUP BY "accountAlias", "name", "key"'
    )


def over_time(*fields: str) -> str:
    """Fields of iam_run over the dashboard's time, all accounts together."""
    inner = ", ".join(f'last("{name}") AS "{name}"' for name in fields)
    outer = ", ".join(f'sum("{name}") AS "{name}"' for name in fields)
    return (
        f'SELECT {outer} FROM (SELECT {inner} FROM "aws.iam_run" WHERE $timeFilter AND {ACCOUNT_IS} '
        'GROUP BY time($__interval), "accountAlias") WHERE $timeFilter GROUP BY time($__interval) fill(none)'
    )


def per_interval(**functions: str) -> str:
    """What the runs of each interval add up to; `functions` says which InfluxQL function is for which field."""
    told = ", ".join(f'{function}("{name}") AS "{name}"' for name, function in functions.items())
    return f'SELECT {told} FROM "aws.iam_run" WHERE $timeFilter AND {ACCOUNT_IS} GROUP BY time($__interval) fill(0)'


def ages(lowest: int, highest: int | None) -> tuple[str, str]:
    """How many active access keys are of an age: in InfluxQL, in PromQL."""
    below = "" if highest is None else f' AND "age" < {highest}'
    active = f'"status" != \'disabled\' AND "age" >= {lowest}{below}'
    influxql = f'SELECT count("age") FROM ({last_keys()}) WHERE {active}'
    shown = (
        'max without(status) (aws_iam_age{accountAlias=~"$account",status!="disabled"}) '
        'unless max without(status) (aws_iam_age{accountAlias=~"$account",status="disabled"})'
    )
    upper = "" if highest is None else f" < {highest}"
    return influxql, f"count(({shown}) >= {lowest}{upper}) or vector(0)"


@dataclass(frozen=True, slots=True)
class Query:
    """One thing asked, in both languages. `name`: what its series is called, where the answer does not say."""

    influxql: str
    promql: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel of both dashboards. `kind` is Grafana's type; `defaults` and `options` go where Grafana has them."""

    title: str
    kind: str
    width: int
    height: int
    queries: Sequence[Query]
    description: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    overrides: Sequence[Mapping[str, Any]] = ()
    transformations: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    min_interval: str = ""
    is_table: bool = False


def steps(*pairs: tuple[float | None, str]) -> dict[str, Any]:
    return {"thresholds": {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in pairs]}}


def number(title: str, fields: Query, description: str, *pairs: tuple[float | None, str], unit: str = "none") -> Panel:
    """A big number; where there is nothing, it says 0."""
    defaults = {"unit": unit, "noValue": "0", "color": {"mode": "thresholds"}, **steps(*pairs)}
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return Panel(title, "stat", 4, 4, (fields,), description, defaults, options)


def total(name: str) -> Query:
    influxql = f'SELECT sum("{name}") FROM ({last_run(name)})'
    return Query(influxql, f"sum(aws_iam_run_{name}{OF})", name)


def series(*names: str) -> tuple[Query, ...]:
    """One query in InfluxQL, one a field in PromQL: a field is a series there."""
    first = Query(over_time(*names), f"sum(aws_iam_run_{names[0]}{OF})", names[0])
    return (first, *(Query("", f"sum(aws_iam_run_{name}{OF})", name) for name in names[1:]))


def per_run(**functions: str) -> tuple[Query, ...]:
    """What runs did. In Prometheus the value of a run is scraped until the next: it is looked at once an hour."""
    names = list(functions)

    def promql(name: str) -> str:
        return f"{functions[name]}({functions[name]}_over_time(aws_iam_run_{name}{OF}[$__interval:1h]))"

    first = Query(per_interval(**functions), promql(names[0]), names[0])
    return (first, *(Query("", promql(name), name) for name in names[1:]))


def coloured() -> list[dict[str, Any]]:
    """Each label in its own colour, wherever it is the name of a series."""
    return [
        {
            "matcher": {"id": "byName", "options": label},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for label, colour in COLOURS.items()
    ]


def lines(*, stacked: bool = False, bars: bool = False) -> dict[str, Any]:
    custom: dict[str, Any] = {
        "drawStyle": "bars" if bars else "line",
        "fillOpacity": 60 if bars or stacked else 0,
        "lineWidth": 1,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }
    return {"unit": "none", "min": 0, "decimals": 0, "custom": custom, "color": {"mode": "palette-classic"}}


LEGEND: Final = {
    "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
    "tooltip": {"mode": "multi", "sort": "none"},
}
BUCKETS: Final = {
    "0-30 days": (0, 30),
    "30-90 days": (30, 90),
    "90-180 days": (90, 180),
    "180 days and more": (180, None),
}


def override(column: str, **properties: Any) -> dict[str, Any]:
    return {
        "matcher": {"id": "byName", "options": column},
        "properties": [{"id": name.replace("__", "."), "value": value} for name, value in properties.items()],
    }


def renamed(names: Mapping[str, str], *hidden: str, order: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "id": "organize",
        "options": {
            "renameByName": dict(names),
            "excludeByName": dict.fromkeys(hidden, True),
            "indexByName": {name: index for index, name in enumerate(order)},
        },
    }


def sorted_by(column: str, *, descending: bool) -> dict[str, Any]:
    return {"id": "sortBy", "options": {"sort": [{"field": column, "desc": descending}]}}


TABLE_OPTIONS: Final = {"showHeader": True, "cellHeight": "sm"}

PANELS: Final[Sequence[str | Panel]] = (
    "Now",
    number(
        "Access keys", total("keys"), "All access keys of the chosen accounts, in their newest run.", (None, "text")
    ),
    number(
        "Expired and active",
        total("expired"),
        "Expired access keys that still work. Exempt ones and those within their notice are meant to be among them.",
        *((None, "green"), (1, "orange")),
    ),
    number(
        "Overdue",
        total("overdue"),
        "Expired, active, not exempt, and their notice over: what nothing excuses. Left out where it is not known.",
        *((None, "green"), (1, "red")),
    ),
    number("Expiring", total("expiring"), "Access keys that will be expired soon.", (None, "green"), (1, "yellow")),
    number(
        "Active ones that need nothing",
        Query(
            'SELECT sum("ok") / (sum("ok") + sum("expiring") + sum("expired")) '
            f"FROM ({last_run('ok', 'expiring', 'expired')})",
            f"sum(aws_iam_run_ok{OF}) / "
            f"(sum(aws_iam_run_ok{OF}) + sum(aws_iam_run_expiring{OF}) + sum(aws_iam_run_expired{OF}))",
            "share",
        ),
        "The share of active access keys that are neither expiring nor expired.",
        *((None, "red"), (0.8, "yellow"), (0.95, "green")),
        unit="percentunit",
    ),
    number(
        "Access keys of root users",
        total("root_access_keys"),
        "There must be none.",
        *((None, "green"), (1, "red")),
    ),
    "Is this true?",
    number(
        "Accounts wholly seen",
        Query(
            f'SELECT count("incomplete") FROM ({last_run("incomplete")}) WHERE "incomplete" = 0',
            f"count(aws_iam_run_incomplete{OF} == 0) or vector(0)",
            "accounts",
        ),
        "Accounts whose newest run, not older than `fresh`, saw every user and access key.",
        *((None, "red"), (1, "green")),
    ),
    Panel(
        "Last run of each account",
        "table",
        20,
        5,
        (
            Query(
                'SELECT last("errors") AS "errors", "incomplete", "duration_seconds" FROM "aws.iam_run" '
                f'WHERE time > now() - 30d AND {ACCOUNT_IS} GROUP BY "accountAlias"',
                f"last_over_time(aws_iam_run_finished_at{OF}[30d]) * 1000",
                "Time",
            ),
            Query("", f"last_over_time(aws_iam_run_errors{OF}[30d])", "errors"),
            Query("", f"last_over_time(aws_iam_run_incomplete{OF}[30d])", "incomplete"),
            Query("", f"last_over_time(aws_iam_run_duration_seconds{OF}[30d])", "duration_seconds"),
        ),
        "A dead scanner looks like a clean account: here an account that has not been heard of stays for 30 days.",
        {"custom": {"align": "left"}},
        TABLE_OPTIONS,
        (
            override("last run", unit="dateTimeFromNow"),
            override("seconds", unit="s"),
            override("errors", custom__cellOptions={"type": "color-text"}, **steps((None, "text"), (1, "red"))),
            override("incomplete", custom__cellOptions={"type": "color-text"}, **steps((None, "text"), (1, "red"))),
        ),
        {
            "influxql": [
                renamed({"Time": "last run", "accountAlias": "account", "duration_seconds": "seconds"}),
                sorted_by("last run", descending=False),
            ],
            "promql": [
                {"id": "merge", "options": {}},
                renamed(
                    {
                        "Value #A": "last run",
                        "Value #B": "errors",
                        "Value #C": "incomplete",
                        "Value #D": "seconds",
                        "accountAlias": "account",
                    },
                    *("Time", "__name__", "instance", "job"),
                ),
                sorted_by("last run", descending=False),
            ],
        },
        is_table=True,
    ),
    "Trend",
    Panel(
        "Access keys by label",
        "timeseries",
        12,
        8,
        series("ok", "expiring", "expired", "disabled"),
        "All chosen accounts together.",
        lines(stacked=True),
        LEGEND,
        coloured(),
        min_interval="2h",
    ),
    Panel(
        "Expired, overdue, exempt",
        "timeseries",
        6,
        8,
        series("expired", "overdue", "exempt"),
        "Of what is expired and active, what is meant to be, and what is not.",
        lines(),
        LEGEND,
        coloured(),
        min_interval="2h",
    ),
    Panel(
        "Age of active access keys",
        "bargauge",
        6,
        8,
        tuple(Query(*ages(*bounds), name) for name, bounds in BUCKETS.items()),
        "In their newest run.",
        {"unit": "none", "min": 0, "noValue": "0", "color": {"mode": "fixed", "fixedColor": "blue"}},
        {
            "displayMode": "basic",
            "orientation": "horizontal",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        },
    ),
    "Which ones",
    Panel(
        "Access keys, the oldest first",
        "table",
        24,
        10,
        (
            Query(
                f'SELECT $expire_age - "age" AS "days left", "age", "status" FROM ({last_keys()}) '
                'WHERE "status" =~ /^$status$/ GROUP BY "accountAlias", "name", "key"',
                'aws_iam_age{accountAlias=~"$account",status=~"$status"}',
                "age",
            ),
            Query("", '$expire_age - aws_iam_age{accountAlias=~"$account",status=~"$status"}', "days left"),
        ),
        "By their last five characters. Days left are counted to `expire_age`: write there what you have set.",
        {"custom": {"align": "left", "filterable": True}},
        TABLE_OPTIONS,
        (
            override(
                "days left",
                custom__cellOptions={"type": "color-text"},
                **steps((None, "red"), (1, "yellow"), (16, "green")),
            ),
        ),
        {
            "influxql": [
                renamed(
                    {"accountAlias": "account", "name": "user", "key": "access key", "age": "age (days)"},
                    "Time",
                    order=("accountAlias", "name", "key", "status", "age", "days left"),
                ),
                sorted_by("age (days)", descending=True),
            ],
            "promql": [
                {"id": "merge", "options": {}},
                renamed(
                    {
                        "accountAlias": "account",
                        "name": "user",
                        "key": "access key",
                        "Value #A": "age (days)",
                        "Value #B": "days left",
                    },
                    *("Time", "__name__", "instance", "job"),
                    order=("accountAlias", "name", "key", "status", "Value #A", "Value #B"),
                ),
                sorted_by("age (days)", descending=True),
            ],
        },
        is_table=True,
    ),
    "What was done, and when",
    Panel(
        "Issues, messages, disablings",
        "timeseries",
        12,
        8,
        per_run(issues_filed="sum", nags_sent="sum", keys_disabled="sum"),
        "What keycheck did in each interval. With Prometheus: if it runs hourly.",
        lines(bars=True),
        LEGEND,
        min_interval="1h",
    ),
    Panel(
        "Errors, skipped, incomplete",
        "timeseries",
        12,
        8,
        per_run(errors="sum", skipped="max", incomplete="max"),
        "`skipped`: due and not done; --dry-run and -v give each reason. With Prometheus: if it runs hourly.",
        lines(bars=True),
        LEGEND,
        min_interval="1h",
    ),
)


def dashboard(language: str) -> dict[str, Any]:
    """The dashboard in `influxql` or `promql`."""
    kind = {"influxql": "influxdb", "promql": "prometheus"}[language]
    return {
        "id": None,
        "uid": f"keycheck-{language}",
        "title": f"keycheck ({'InfluxDB' if language == 'influxql' else 'Prometheus'})",
        "description": "IAM access keys by age, label and account, and what keycheck did about them.",
        "tags": ["aws", "iam", "keycheck"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "utc",
        "time": {"from": "now-30d", "to": "now"},
        "refresh": "5m",
        "templating": {"list": variables(language, kind)},
        "annotations": {"list": []},
        "links": [],
        "panels": list(placed(language, kind)),
    }


def variables(language: str, kind: str) -> list[dict[str, Any]]:
    source = {"type": kind, "uid": "${datasource}"}
    accounts = {
        "influxql": 'SHOW TAG VALUES FROM "aws.iam_run" WITH KEY = "accountAlias"',
        "promql": "label_values(aws_iam_run_incomplete, accountAlias)",
    }[language]
    account: dict[str, Any] = {
        "name": "account",
        "label": "Account",
        "type": "query",
        "datasource": source,
        "query": accounts,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "current": {"text": "All", "value": "$__all"},
        "options": [],
    }
    status = {
        "name": "status",
        "label": "Label",
        "type": "custom",
        "query": ",".join(COLOURS),
        "multi": True,
        "includeAll": True,
        "current": {"text": "All", "value": "$__all"},
        "options": [],
    }
    found: list[dict[str, Any]] = [
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": kind,
            "current": {},
            "options": [],
            "refresh": 1,
        },
        account,
        status,
        textbox("expire_age", "expire_age (days)", "180"),
    ]
    return [*found, textbox("fresh", "Not older than", "3h")] if language == "influxql" else found


def textbox(name: str, label: str, value: str) -> dict[str, Any]:
    current = {"text": value, "value": value}
    return {
        "name": name,
        "label": label,
        "type": "textbox",
        "query": value,
        "current": current,
        "options": [{**current, "selected": True}],
    }


def placed(language: str, kind: str) -> Iterator[dict[str, Any]]:
    """The panels in rows of 24 columns, as Grafana wants them."""
    left, top, tallest = 0, 0, 0
    for number_, panel in enumerate(PANELS, start=1):
        if isinstance(panel, str):
            top, left, tallest = top + tallest, 0, 0
            yield {
                "id": number_,
                "type": "row",
                "title": panel,
                "collapsed": False,
                "gridPos": {"x": 0, "y": top, "w": 24, "h": 1},
                "panels": [],
            }
            top += 1
            continue
        if left + panel.width > 24:
            top, left, tallest = top + tallest, 0, 0
        position = {"x": left, "y": top, "w": panel.width, "h": panel.height}
        left, tallest = left + panel.width, max(tallest, panel.height)
        yield one_panel(panel, number_, position, language, kind)


def one_panel(panel: Panel, number_: int, position: dict[str, int], language: str, kind: str) -> dict[str, Any]:
    source = {"type": kind, "uid": "${datasource}"}
    asked = [query for query in panel.queries if getattr(query, language)]
    made = influx_target if language == "influxql" else prometheus_target
    found: dict[str, Any] = {
        "id": number_,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "gridPos": position,
        "datasource": source,
        "targets": [made(query, "ABCDEFGH"[index], source, panel) for index, query in enumerate(asked)],
        "fieldConfig": {"defaults": dict(panel.defaults), "overrides": list(panel.overrides)},
        "options": dict(panel.options),
    }
    if panel.min_interval:
        found["interval"] = panel.min_interval
    if language in panel.transformations:
        found["transformations"] = list(panel.transformations[language])
    return found


def influx_target(query: Query, ref: str, source: Mapping[str, str], panel: Panel) -> dict[str, Any]:
    target: dict[str, Any] = {
        "refId": ref,
        "datasource": dict(source),
        "query": query.influxql,
        "rawQuery": True,
        "resultFormat": "table" if panel.is_table else "time_series",
    }
    if not panel.is_table:
        target["alias"] = "$col" if panel.kind == "timeseries" else query.name
    return target


def prometheus_target(query: Query, ref: str, source: Mapping[str, str], panel: Panel) -> dict[str, Any]:
    over_a_range = panel.kind == "timeseries"
    return {
        "refId": ref,
        "datasource": dict(source),
        "expr": query.promql,
        "legendFormat": query.name,
        "format": "table" if panel.is_table else "time_series",
        "range": over_a_range,
        "instant": not over_a_range,
    }


def rendered() -> dict[str, str]:
    """Each file's name and text."""
    return {
        f"keycheck-{language}.json": json.dumps(dashboard(language), indent=2) + "\n"
        for language in ("influxql", "promql")
    }


def main() -> None:
    for name, text in rendered().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
