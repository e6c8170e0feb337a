"""A year of what keycheck would have printed for three accounts, as Telegraf writes it, and what is true of it.

In: the last instant. Out: points, and line protocol or Prometheus's series of them. It is made up, and the same each
time: access keys with their creation and, some of them, the instant at which they were disabled. Runs are hourly in the
last week and every six hours before, so that a year stays small; the last one is a minute before the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

EXPIRE_AGE: Final = 180
EXPIRING_DAYS: Final = 15
LABELS: Final = ("ok", "expiring", "expired", "disabled")
MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
SHOWN: Final = 130 * MINUTE
"""How long Prometheus is shown a value: the expiration_interval of telegraf.conf."""


@dataclass(frozen=True, slots=True)
class Key:
    """One access key; days are counted back from the end of the history. `disabled`: None while it is active."""

    account: str
    name: str
    key: str
    created: float
    disabled: float | None = None


KEYS: Final = (
    *(Key("acme-dev", f"dev{number:02}", f"D{number:04}", 5.5 + 23 * number) for number in range(14)),
    *(
        Key("acme-prod", f"svc,{number}", f"P{number:04}", 2.5 + 31 * number, 40 if number > 6 else None)
        for number in range(9)
    ),
    Key("acme-prod", "a=b@c", "PX001", 400.5, 0.06),  # an hour and a half ago: the series of both labels are fresh
)
GONE: Final = "acme-gone"
"""An account of three young access keys whose last run was two days before the end."""


@dataclass(frozen=True, slots=True)
class Point:
    """One line of keycheck's."""

    measurement: str
    tags: Mapping[str, str]
    fields: Mapping[str, float]
    at: datetime

    @property
    def line(self) -> str:
        """As line protocol with a timestamp in seconds."""
        tags = ",".join(f"{name}={escaped(value)}" for name, value in self.tags.items())
        fields = ",".join(
            f"{name}={value}{'i' if isinstance(value, int) else ''}" for name, value in self.fields.items()
        )
        return f"{self.measurement},{tags} {fields} {int(self.at.timestamp())}"


def escaped(value: str) -> str:
    return value.replace(",", "\\,").replace("=", "\\=")


def an_end() -> datetime:
    """Now, in whole minutes, for queries that say now()."""
    return datetime.now(UTC).replace(second=0, microsecond=0)


def points(end: datetime) -> list[Point]:
    """Everything that was printed, oldest first."""
    return [point for at, before in runs(end) for point in run(at, before, end)]


def runs(end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """When keycheck ran, and when it had run before that."""
    last = end - MINUTE
    hourly = [last - hours * HOUR for hours in range(7 * 24)]
    seldom = [hourly[-1] - number * 6 * HOUR for number in range(1, 4 * 358)]
    found = [*reversed(seldom), *reversed(hourly)]
    yield from zip(found[1:], found, strict=False)


def run(at: datetime, before: datetime, end: datetime) -> Iterator[Point]:
    for account in ("acme-dev", "acme-prod"):
        counts: Counter[str] = Counter()
        disabled = 0
        for key in (one for one in KEYS if one.account == account):
            label = label_of(key, at, end)
            if label is None:
                continue
            counts[label] += 1
            disabled += label == "disabled" and label_of(key, before, end) not in (None, "disabled")
            tags = {"name": key.name, "key": key.key, "status": label, "accountAlias": account}
            yield Point("aws.iam", tags, {"age": float(age_of(key, at, end))}, at)
        yield Point("aws.iam_run", {"accountAlias": account}, run_fields(account, counts, disabled, at, end), at)
    if at < end - 2 * DAY:
        fields = {**run_fields(GONE, Counter(ok=3), 0, at, end), "errors": 0}
        yield Point("aws.iam_run", {"accountAlias": GONE}, fields, at)


def run_fields(account: str, counts: Counter[str], disabled: int, at: datetime, end: datetime) -> dict[str, float]:
    """A message a day and account, and errors in acme-prod's last three runs."""
    return {
        "users": sum(counts.values()),
        "keys": sum(counts.values()),
        **{name: counts[name] for name in LABELS},
        "issues_filed": 0,
        "nags_sent": 1 if (end - at) // HOUR % 24 == 3 else 0,
        "keys_disabled": disabled,
        "skipped": 2,
        "exempt": 1,
        "overdue": 1 if account == "acme-dev" else 0,
        "root_access_keys": 0,
        "errors": 2 if account == "acme-prod" and at > end - 3 * HOUR else 0,
        "incomplete": 0,
        "duration_seconds": 1.5,
        "finished_at": int(at.timestamp()),
    }


def label_of(key: Key, at: datetime, end: datetime) -> str | None:
    """Its label then; None before it was made."""
    if at < end - key.created * DAY:
        return None
    if key.disabled is not None and at >= end - key.disabled * DAY:
        return "disabled"
    age = age_of(key, at, end)
    return "expired" if age >= EXPIRE_AGE else "expiring" if age >= EXPIRE_AGE - EXPIRING_DAYS else "ok"


def age_of(key: Key, at: datetime, end: datetime) -> int:
    return (at - (end - key.created * DAY)) // DAY


# As Prometheus sees it


def prometheus_name(measurement: str, field: str) -> str:
    """What Telegraf's outputs.prometheus_client calls a field."""
    return f"{measurement.replace('.', '_')}_{field}"


def labels(point: Point) -> str:
    return ",".join(f'{name}="{value}"' for name, value in point.tags.items())


def scraped(found: Sequence[Point], every: timedelta, until: datetime) -> dict[str, list[float | None]]:
    """What each series was at each scrape, from the epoch on: the newest value, until it is no longer shown."""
    start = datetime.fromtimestamp(0, UTC)
    count = (until - start) // every + 1
    series: dict[str, list[float | None]] = {}
    for point in found:
        first = max(0, -((start - point.at) // every))
        last = min(count - 1, (point.at + SHOWN - start) // every)
        for name, value in point.fields.items():
            values = series.setdefault(f"{prometheus_name(point.measurement, name)}{{{labels(point)}}}", [None] * count)
            values[first : last + 1] = [value] * max(0, last + 1 - first)
    return {name: values for name, values in series.items() if any(value is not None for value in values)}
