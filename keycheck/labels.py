"""Access key + now -> label. Pure.

In: access keys, the run's one instant, the two ages of the settings. Out: labelled keys. It never reads a clock.
The rule is design.md's 2, "Labels".
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keycheck.model import AccessKey, AgeLabel, LabelledKey


def attention_before(now: datetime, *, expire_age: int, expiring_days: int) -> datetime:
    """Return the instant of which label_key says `expiring` or `expired` of an active access key made then or before,
    and of none made later.
    """
    days = expire_age - expiring_days
    return now - timedelta(days=days) if days > 0 else datetime.max.replace(tzinfo=UTC)


def label_key(key: AccessKey, now: datetime, *, expire_age: int, expiring_days: int) -> LabelledKey:
    """Label one access key by its age in whole days: a key of 179 days and 86,399 seconds is 179 days old.

    An age equal to the limit counts: at `expire_age` days to the second it is expired. A creation date in the future
    (clocks differ) is age 0. A status other than Active is `disabled`, whatever the age.
    """
    age_days = max(0, (now - key.create_date) // timedelta(days=1))
    if not key.is_active:
        label = AgeLabel.DISABLED
    elif age_days >= expire_age:
        label = AgeLabel.EXPIRED
    elif age_days >= expire_age - expiring_days:
        label = AgeLabel.EXPIRING
    else:
        label = AgeLabel.OK
    return LabelledKey(key, age_days, label, key.create_date + timedelta(days=expire_age))
