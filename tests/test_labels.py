"""An access key's label changes at the second it should, and at no other (design.md 2, "Labels")."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from botocore.utils import parse_timestamp
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from keycheck.labels import attention_before, label_key
from keycheck.model import AgeLabel
from tests.builders import DAY, NOW, SECOND, make_access_key

OK, EXPIRING, EXPIRED, DISABLED = AgeLabel.OK, AgeLabel.EXPIRING, AgeLabel.EXPIRED, AgeLabel.DISABLED
MICROSECOND = timedelta(microseconds=1)
REPEATABLE = hypothesis_settings(max_examples=80, derandomize=True, deadline=None)


def label_at(age: timedelta, *, expire_age: int = 180, expiring_days: int = 15, status: str = "Active") -> AgeLabel:
    key = make_access_key(age=age, status=status)
    return label_key(key, NOW, expire_age=expire_age, expiring_days=expiring_days).label


@pytest.mark.parametrize(
    ("age", "label", "age_days"),
    [
        pytest.param(timedelta(0), OK, 0, id="this second"),
        pytest.param(DAY - SECOND, OK, 0, id="a second short of a day"),
        pytest.param(DAY, OK, 1, id="a day"),
        pytest.param(165 * DAY - SECOND, OK, 164, id="a second before expiring"),
        pytest.param(165 * DAY - MICROSECOND, OK, 164, id="a microsecond before expiring"),
        pytest.param(165 * DAY, EXPIRING, 165, id="expiring to the second"),
        pytest.param(165 * DAY + SECOND, EXPIRING, 165, id="a second after"),
        pytest.param(180 * DAY - SECOND, EXPIRING, 179, id="a second before expired"),
        pytest.param(180 * DAY - MICROSECOND, EXPIRING, 179, id="a microsecond before expired"),
        pytest.param(180 * DAY, EXPIRED, 180, id="expired to the second"),
        pytest.param(180 * DAY + SECOND, EXPIRED, 180, id="a second after expiry"),
        pytest.param(5000 * DAY, EXPIRED, 5000, id="years old"),
        pytest.param(-SECOND, OK, 0, id="created a second from now"),
        pytest.param(-400 * DAY, OK, 0, id="created a year from now"),
    ],
)
def test_a_key_is_labelled_by_its_age_to_the_second(age: timedelta, label: AgeLabel, age_days: int) -> None:
    labelled = label_key(make_access_key(age=age), NOW, expire_age=180, expiring_days=15)
    assert (labelled.label, labelled.age_days) == (label, age_days)


@pytest.mark.parametrize("status", ["Inactive", "Expired", "Suspended", "active", "ACTIVE", ""])
def test_any_status_but_active_is_disabled_whatever_the_age(status: str) -> None:
    """Also one that AWS invents tomorrow, and AWS's own `Expired`, which is a status and not our label."""
    for age in [timedelta(0), 170 * DAY, 400 * DAY, -DAY]:
        labelled = label_key(make_access_key(age=age, status=status), NOW, expire_age=180, expiring_days=15)
        assert labelled.label is DISABLED
        assert not labelled.needs_attention


def test_a_disabled_key_keeps_its_age() -> None:
    labelled = label_key(make_access_key(age=197 * DAY, status="Inactive"), NOW, expire_age=180, expiring_days=15)
    assert labelled.age_days == 197


@pytest.mark.parametrize(
    ("expire_age", "expiring_days", "age", "label"),
    [
        pytest.param(0, 15, timedelta(0), EXPIRED, id="expire_age 0: at birth"),
        pytest.param(0, 0, timedelta(0), EXPIRED, id="both 0: at birth"),
        pytest.param(0, 15, -DAY, EXPIRED, id="expire_age 0: even from the future, whose age is 0"),
        pytest.param(10, 15, timedelta(0), EXPIRING, id="expiring_days above expire_age: never ok"),
        pytest.param(10, 15, -DAY, EXPIRING, id="expiring_days above expire_age: nor from the future"),
        pytest.param(10, 15, 10 * DAY - SECOND, EXPIRING, id="expiring_days above expire_age: the second before"),
        pytest.param(10, 15, 10 * DAY, EXPIRED, id="expiring_days above expire_age: expired as ever"),
        pytest.param(15, 15, timedelta(0), EXPIRING, id="equal: expiring from birth"),
        pytest.param(16, 15, DAY - SECOND, OK, id="ok for one day, to its last second"),
        pytest.param(16, 15, DAY, EXPIRING, id="ok for one day, and over"),
        pytest.param(180, 0, 180 * DAY - SECOND, OK, id="expiring_days 0: ok to the last second"),
        pytest.param(180, 0, 180 * DAY, EXPIRED, id="expiring_days 0: then expired at once"),
        pytest.param(3650, 3650, timedelta(0), EXPIRING, id="both at their highest"),
    ],
)
def test_extreme_settings_follow_the_same_rule(
    expire_age: int, expiring_days: int, age: timedelta, label: AgeLabel
) -> None:
    assert label_at(age, expire_age=expire_age, expiring_days=expiring_days) is label


@pytest.mark.parametrize(
    ("label_age", "needs_attention"),
    [
        pytest.param(164 * DAY, False, id="ok"),
        pytest.param(165 * DAY, True, id="expiring"),
        pytest.param(180 * DAY, True, id="expired"),
    ],
)
def test_only_expiring_and_expired_keys_need_attention(label_age: timedelta, needs_attention: bool) -> None:
    labelled = label_key(make_access_key(age=label_age), NOW, expire_age=180, expiring_days=15)
    assert labelled.needs_attention is needs_attention


@pytest.mark.parametrize(
    "zone",
    [
        pytest.param(timezone(timedelta(hours=14)), id="UTC+14"),
        pytest.param(timezone(timedelta(hours=-12)), id="UTC-12"),
        pytest.param(timezone(timedelta(hours=5, minutes=45)), id="UTC+5:45"),
    ],
)
def test_the_zone_of_a_creation_date_changes_nothing(zone: timezone) -> None:
    for age in [165 * DAY - SECOND, 165 * DAY, 180 * DAY - SECOND, 180 * DAY]:
        key = make_access_key(age=age)
        moved = replace(key, create_date=key.create_date.astimezone(zone))
        assert label_key(moved, NOW, expire_age=180, expiring_days=15) == label_key(
            key, NOW, expire_age=180, expiring_days=15
        )


@pytest.mark.parametrize(
    ("text", "label"),
    [
        pytest.param("2026-05-27T12:00:00Z", EXPIRED, id="to the second"),
        pytest.param("2026-05-27T12:00:01Z", EXPIRING, id="a second younger"),
        pytest.param("2026-05-27T14:00:00+02:00", EXPIRED, id="to the second, in another zone"),
        pytest.param("2026-05-27T14:00:01+02:00", EXPIRING, id="a second younger, in another zone"),
    ],
)
def test_a_date_as_botocore_reads_it_is_labelled_alike(text: str, label: AgeLabel) -> None:
    created = parse_timestamp(text)
    key = replace(make_access_key(), create_date=created)
    labelled = label_key(key, NOW, expire_age=180, expiring_days=15)
    assert labelled.label is label
    assert labelled.expires_at == datetime.fromisoformat(text).astimezone(UTC) + 180 * DAY
    assert key == replace(key, create_date=datetime.fromisoformat(text).astimezone(UTC)), "one instant, one key"


def test_a_key_expires_expire_age_days_after_its_creation() -> None:
    created = NOW - 197 * DAY
    labelled = label_key(make_access_key(age=197 * DAY), NOW, expire_age=180, expiring_days=15)
    assert labelled.expires_at == created + 180 * DAY
    assert labelled.expires_at == datetime(2026, 11, 6, 12, 0, 0, tzinfo=UTC)


@given(
    age=st.timedeltas(min_value=timedelta(days=-4000), max_value=timedelta(days=9000)),
    expire_age=st.integers(0, 3650),
    expiring_days=st.integers(0, 3650),
)
@REPEATABLE
def test_a_key_is_expired_exactly_from_its_expiry_on(age: timedelta, expire_age: int, expiring_days: int) -> None:
    """What people are told (`expires_at`) and what is done (the label) are one rule."""
    labelled = label_key(make_access_key(age=age), NOW, expire_age=expire_age, expiring_days=expiring_days)
    if age >= timedelta(0):
        assert (labelled.label is EXPIRED) == (labelled.expires_at <= NOW)
        assert labelled.age_days * DAY <= age < (labelled.age_days + 1) * DAY
    else:
        assert labelled.age_days == 0


@given(
    st.timedeltas(timedelta(days=-2), timedelta(days=40)),
    st.integers(0, 30),
    st.integers(0, 40),
    st.sampled_from(["Active", "Inactive"]),
)
@REPEATABLE
def test_before_which_instant_an_access_key_needs_attention_is_what_its_label_says(
    age: timedelta, expire_age: int, expiring_days: int, status: str
) -> None:
    for offset in (timedelta(0), MICROSECOND, -MICROSECOND):
        for around in (age, (expire_age - expiring_days) * DAY):
            key = make_access_key(age=around + offset, status=status)
            labelled = label_key(key, NOW, expire_age=expire_age, expiring_days=expiring_days)
            before = attention_before(NOW, expire_age=expire_age, expiring_days=expiring_days)
            assert labelled.needs_attention == (key.is_active and key.create_date <= before)
