"""What is known of each access key: what comes next is what messages say, and which rows are shown, in what order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from keycheck.actions import NextStep, Outlook, Skip, SkipReason, Step
from keycheck.model import AgeLabel, DisabledRecord, Exemption, KeyRecord, LabelledKey
from keycheck.owners import Named
from keycheck.rows import Choice, Order, Row, Seen, chosen, row, summary
from tests.builders import DAY, NOW, make_access_key

KEY = make_access_key(age=197 * DAY)
RECORD = KeyRecord(KEY.access_key_id)
FROM = datetime(2027, 1, 31, tzinfo=UTC)


def labelled(label: AgeLabel, age: int = 197) -> LabelledKey:
    key = make_access_key(age=age * DAY)
    return LabelledKey(key, age, label, key.create_date + 180 * DAY)


def next_of(label: AgeLabel, seen: Seen, *, is_dry_run: bool = False) -> tuple[str, date | None]:
    found = row("p", labelled(label), seen, expiring_days=15, told_now=None, is_dry_run=is_dry_run)
    return found.next_step, found.next_on


def nothing_done(reason: SkipReason) -> Skip:
    return Skip("p", Step.ACT, labelled(AgeLabel.EXPIRED), reason)


EXPIRES = KEY.create_date + 180 * DAY


@pytest.mark.parametrize(
    ("label", "seen", "what", "when"),
    [
        (AgeLabel.OK, Seen(RECORD), f"expiring from {EXPIRES - 15 * DAY:%Y-%m-%d} on", (EXPIRES - 15 * DAY).date()),
        (AgeLabel.EXPIRING, Seen(RECORD), f"expired from {EXPIRES:%Y-%m-%d} on", EXPIRES.date()),
        (AgeLabel.EXPIRED, Seen(RECORD), "stays active", None),
        (AgeLabel.DISABLED, Seen(RECORD), "inactive", None),
        (
            AgeLabel.DISABLED,
            Seen(replace(RECORD, disabled=DisabledRecord(NOW, "run7"))),
            f"disabled by keycheck on {NOW:%Y-%m-%d}",
            None,
        ),
        (
            AgeLabel.DISABLED,
            Seen(replace(RECORD, disabled=DisabledRecord(NOW, "run7"), reenabled_at=NOW)),
            "inactive",
            None,
        ),
        (
            AgeLabel.EXPIRED,
            Seen(RECORD, exemption=Exemption(date(2027, 1, 31), "a freeze")),
            "exempt until 2027-01-31",
            date(2027, 1, 31),
        ),
        (
            AgeLabel.EXPIRED,
            Seen(RECORD, outlook=Outlook(NextStep.DISABLED_FROM, FROM)),
            "disabled from 2027-01-31 on",
            FROM.date(),
        ),
        (AgeLabel.EXPIRED, Seen(RECORD, outlook=Outlook(NextStep.NEVER_DISABLED, FROM)), "never disabled", None),
        (
            AgeLabel.EXPIRED,
            Seen(RECORD, outlook=Outlook(NextStep.DISABLED_NOW)),
            "was to be disabled by this run, and is not",
            None,
        ),
        (
            AgeLabel.EXPIRED,
            Seen(RECORD, skip=nothing_done(SkipReason.BAD_RECORD)),
            "nothing in this run: its record in the state table cannot be read; delete that item, or mend it",
            None,
        ),
    ],
)
def test_what_comes_next(label: AgeLabel, seen: Seen, what: str, when: date | None) -> None:
    assert next_of(label, seen) == (what, when)


def test_a_dry_run_disables_nothing_and_says_who_would() -> None:
    seen = Seen(RECORD, outlook=Outlook(NextStep.DISABLED_NOW))
    assert next_of(AgeLabel.EXPIRED, seen, is_dry_run=True) == ("disabled by the next run", None)


def test_the_day_told_is_that_of_this_run_else_that_on_record() -> None:
    told = replace(RECORD, disable_from=FROM, told_at=NOW - DAY)
    planned = Seen(told, outlook=Outlook(NextStep.DISABLED_FROM, FROM + 3 * DAY))
    found = row("p", labelled(AgeLabel.EXPIRED), planned, expiring_days=15, told_now=NOW, is_dry_run=False)
    assert (found.disabled_from, found.told_at) == ((FROM + 3 * DAY).date(), NOW)
    found = row("p", labelled(AgeLabel.EXPIRED), Seen(told), expiring_days=15, told_now=None, is_dry_run=False)
    assert (found.disabled_from, found.told_at) == (FROM.date(), NOW - DAY)
    found = row("p", labelled(AgeLabel.DISABLED), Seen(told), expiring_days=15, told_now=None, is_dry_run=False)
    assert found.disabled_from is None


def a_row(user: str, label: AgeLabel, age: int, owner: str = "", day: date | None = None) -> Row:
    created = NOW - timedelta(days=age)
    return Row("p", "1", user, "VHXVM", label, age, created, created, Named(owner), next_on=day)


ROWS = (
    a_row("dev_b", AgeLabel.OK, 20, "U2", date(2027, 3, 1)),
    a_row("Dev_A", AgeLabel.EXPIRED, 197, "", None),
    a_row("svc", AgeLabel.EXPIRING, 170, "U1", date(2026, 12, 1)),
    a_row("gone", AgeLabel.DISABLED, 400),
)


@pytest.mark.parametrize(
    ("choice", "users"),
    [
        (Choice(), ["gone", "Dev_A", "svc", "dev_b"]),
        (Choice(order=Order.USER), ["Dev_A", "dev_b", "gone", "svc"]),
        (Choice(order=Order.LABEL), ["Dev_A", "svc", "dev_b", "gone"]),
        (Choice(order=Order.OWNER), ["svc", "dev_b", "gone", "Dev_A"]),
        (Choice(order=Order.NEXT), ["svc", "dev_b", "gone", "Dev_A"]),
        (Choice(user="DEV_*"), ["Dev_A", "dev_b"]),
        (Choice(frozenset({AgeLabel.EXPIRED, AgeLabel.EXPIRING})), ["Dev_A", "svc"]),
        (Choice(user="nobody"), []),
    ],
)
def test_which_rows_are_shown_in_what_order(choice: Choice, users: list[str]) -> None:
    assert [one.user_name for one in chosen(ROWS, choice)] == users


def test_a_summary_counts_what_is_shown() -> None:
    assert summary(ROWS) == "4 access keys of 4 users: 1 expired, 1 expiring, 1 ok, 1 disabled"
    exempt = replace(ROWS[1], exemption=Exemption(date.max, "x"))
    assert summary([exempt]) == "1 access key of 1 user: 1 expired; 1 exempt"
    assert summary([]) == "0 access keys of 0 users"
