"""Users, their rows of the credential report, what was last listed -> whose access keys are listed in this run. Pure.

In: users as ListUsers named them in this run, rows of the report, cached listings, the run's instant and the two ages.
Out: for each user why IAM is asked, or None where the cached listing stands. It never lets a decision to file, nag or
disable rest on the report or the cache: whoever may need attention is listed.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from keycheck.credential_report import UserInReport
from keycheck.labels import attention_before
from keycheck.model import AccessKey
from keycheck.rules.case import A_DAY

LISTED_WITHIN = timedelta(hours=20)
"""A user with an access key is listed once in each such span, and so within 24 hours where runs are at most four hours
apart.
"""

SETTLED_AFTER = timedelta(minutes=6)
"""A listing of an access key younger than this may be older than a second one of the same creation second: a minute
after it, and the five by which AWS lets this machine's clock differ from its own.
"""


@dataclass(frozen=True, slots=True)
class ListedUser:
    """A user as ListUsers named them. `user_id` is unlike that of anyone who had the name before; empty, and
    `created_at` FIRST_CREATION, where AWS did not say them soundly: such a user is asked for in each run.
    """

    user_name: str
    account_id: str
    user_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class CachedListing:
    """What ListAccessKeys last said of a user, and when."""

    user: ListedUser
    keys: tuple[AccessKey, ...]
    listed_at: datetime


class WhyListed(enum.Enum):
    """Why IAM is asked for a user's access keys."""

    ATTENTION = "may be expiring or expired"
    UNKNOWN = "new or renamed since the report"
    CHANGED = "other in the report than when last listed"
    DUE = "not listed for most of a day"
    FIRST = "listed for the first time"


def why_listed(
    user: ListedUser,
    row: UserInReport | None,
    cached: CachedListing | None,
    now: datetime,
    *,
    expire_age: int,
    expiring_days: int,
    every: timedelta = timedelta(0),
) -> WhyListed | None:
    """Return why this user's access keys are listed in this run; None if the cached listing stands, or if there is no
    access key by the report and none in the cache.

    An access key that is old enough in either of the two asks for it: the report may be four hours old, and the cached
    listing newer than it. `every`: how long before this run the last one was; the next one is taken to be as far off.
    """
    if _may_need_attention(row, cached, attention_before(now, expire_age=expire_age, expiring_days=expiring_days)):
        return WhyListed.ATTENTION
    if row is None or _second(row.created_at) != _second(user.created_at):
        return WhyListed.UNKNOWN
    if cached is None:
        return WhyListed.FIRST if row.keys or row.has_more else None
    if cached.user != user or not _predicts(cached, row):
        return WhyListed.CHANGED
    return WhyListed.DUE if cached.keys and _is_due(cached, now, every) else None


def _may_need_attention(row: UserInReport | None, cached: CachedListing | None, oldest_young: datetime) -> bool:
    from_report = row is not None and any(key.is_active and key.created_at <= oldest_young for key in row.keys)
    return from_report or (
        cached is not None and any(key.is_active and key.create_date <= oldest_young for key in cached.keys)
    )


def _predicts(cached: CachedListing, row: UserInReport) -> bool:
    """Return whether the row is exactly what this listing would have made.

    Not for more than two access keys, not for two of one second, and not for one that was younger than SETTLED_AFTER
    when listed, since another one of that second may have followed it: the row may then stand for another set of them.
    """
    if row.has_more or len(row.keys) != len(cached.keys):
        return False
    listed = {_second(key.create_date): key.is_active for key in cached.keys}
    if len(listed) != len(cached.keys) or any(cached.listed_at - second < SETTLED_AFTER for second in listed):
        return False
    return listed == {key.created_at: key.is_active for key in row.keys}


def _is_due(cached: CachedListing, now: datetime, every: timedelta) -> bool:
    """Return whether this user's turn has come since the listing, or would come too late in the next run.

    Each user has an instant of their own in each span of LISTED_WITHIN, by their id, so that a cold run, which lists
    all at once, does not come back all at once. A listing from the future (a clock was set back) is due.
    """
    is_too_late_then = now + every - cached.listed_at > A_DAY
    return cached.listed_at > now or is_too_late_then or _span(cached, cached.listed_at) != _span(cached, now)


def _span(cached: CachedListing, at: datetime) -> int:
    digest = hashlib.sha256(cached.user.user_id.encode()).digest()
    offset = LISTED_WITHIN * (int.from_bytes(digest[:4]) / 2**32)
    return (at - offset - datetime.fromtimestamp(0, tz=at.tzinfo)) // LISTED_WITHIN


def _second(at: datetime) -> datetime:
    return at.replace(microsecond=0) if at.microsecond else at
