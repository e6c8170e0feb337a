"""May this access key be disabled, and from when? What happens if nobody acts? Pure.

In: a Case. Out: a Verdict: every reason not to disable it, in one place and one order. The skip, the day told, the
words and the dry run read that one value; acting/ adds only what it alone can know: deliveries, claims, a last look.
Nothing else in keycheck answers these questions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from keycheck.actions import NextStep, Outlook, SkipReason
from keycheck.model import KeyRecord, LastUse, OwnerKind, Scan
from keycheck.rules import notice
from keycheck.rules.case import A_DAY, Case, first_instant
from keycheck.settings import Settings

FAILED_USERS_AT_MOST = 0.05
WAITS_FOR_A_PLACE = 0.5
"""So much of its time a run waits at most for one of the day's disablings to become free."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why an access key is not disabled in this run, the first reason being the one that is told; none: it may be.

    `not_before`: the instant before which it is not disabled, whatever else changes. `next_step`: what is told to
    happen instead, by the first reason that has something to tell.
    """

    reasons: tuple[SkipReason, ...]
    not_before: datetime
    next_step: NextStep


def verdict(case: Case, *, notice_on_the_way: bool = False) -> Verdict:
    """Return all that speaks against disabling an access key, the day's brake apart, which is about an account.

    A row: the reason, whether it speaks, and what its owner is told to happen, if that reason has its own answer.
    `notice_on_the_way`: this run is about to tell its owner the day; acting/ waits for the delivery.
    """
    settings, user = case.settings, case.user
    not_before = earliest_disabling(case)
    is_untold = settings.warns_owners and notice.of(case) is None and not notice_on_the_way
    is_used = case.use_was_asked and is_in_use(case.last_use, case.now, settings.disable_in_use_hours)
    table = (
        (SkipReason.OWN_ACCESS_KEY, case.is_own, NextStep.NEVER_DISABLED),
        (SkipReason.SCAN_BROKEN, not is_enough_seen(case.scan), None),
        (user.not_disabled_because, user.not_disabled_because is not None, None),
        (SkipReason.OWNER_UNREAD, case.owner.kind is OwnerKind.UNREAD, None),
        (SkipReason.UNOWNED, case.is_spared, NextStep.STAYS_UNOWNED),
        (SkipReason.REENABLED, is_left_alone(case), NextStep.LEFT_ALONE),
        # Nothing would be filed about an inactive access key.
        (SkipReason.CLAIMED, case.files_issues and case.run.claim_is_live(case.record.issue_claim_until), None),
        (SkipReason.NOBODY_TOLD, is_untold, None),
        (SkipReason.OWNER_UNREAD, case.owner.is_unsure, None),
        (SkipReason.NOTICE, not_before > case.now, NextStep.DISABLED_FROM),
        (SkipReason.IN_USE, is_used, NextStep.IN_USE),
    )
    spoken = [(reason, step) for reason, speaks, step in table if speaks and reason is not None]
    steps = [step for _, step in spoken if step is not None]
    return Verdict(tuple(reason for reason, _ in spoken), not_before, steps[0] if steps else NextStep.DISABLED_FROM)


def earliest_disabling(case: Case) -> datetime:
    """Return the latest of: its expiry, the end of its notice, the latest day told, and, if a person took it back, the
    end of the grace. A notice that was not given yet begins now, or when the grace is over.
    """
    grace = left_alone_until(case.record, case.settings)
    instants = [case.key.expires_at, case.record.disable_from, grace]
    if case.settings.warns_owners:
        given = notice.of(case)  # rounded up to a whole second, so it may seem to come
        begins = max(case.now, grace or case.now) if given is None else min(given.given_at, case.now)
        instants.append(begins + case.settings.disable_notice_days * A_DAY)
    return max(instant for instant in instants if instant is not None)


def left_alone_until(record: KeyRecord, settings: Settings) -> datetime | None:
    """Return until when an access key that a person took back is left alone; None if nobody did."""
    return None if record.reenabled_at is None else record.reenabled_at + settings.reenable_grace_days * A_DAY


def is_left_alone(case: Case) -> bool:
    until = left_alone_until(case.record, case.settings)
    return until is not None and case.now < until


def is_enough_seen(scan: Scan) -> bool:
    """Return whether enough of an account was seen to disable anything in it: ListUsers came to its end, and at most
    5 % of the users asked for failed. A user whose access keys were not read has none in the plan anyway.
    """
    asked = scan.users_read + scan.users_failed
    return scan.is_listed and scan.users_failed <= asked * FAILED_USERS_AT_MOST


def is_in_use(last_use: LastUse | None, now: datetime, hours: int) -> bool:
    """Return whether an access key may be in use: used within so many hours, or its last use (None) could not be read.

    With 0 hours the rule is off. AWS's note of a use lags by some minutes, and one in the future is a use.
    """
    if not hours:
        return False
    return last_use is None or (last_use.at is not None and now - last_use.at < timedelta(hours=hours))


# What is told


def outlook(case: Case, against: Verdict, *, is_disabled_now: bool) -> Outlook:
    """Return what messages and issues say of an access key beside its age."""
    what_happens, day = next_step(case, against, is_disabled_now=is_disabled_now)
    newer = case.newer
    return Outlook(
        what_happens,
        day,
        case.last_use,
        None if newer is None else newer.last_five,
        len(case.siblings),
        case.record.exempt_until if case.user.not_disabled_because is None else None,
        case.user.tag_trouble,
        case.owner.trouble,
        None if day is None else (day - first_instant(case.now)) // A_DAY,
        None if newer is None else newer.create_date,
    )


def next_step(case: Case, against: Verdict, *, is_disabled_now: bool) -> tuple[NextStep, datetime | None]:
    """Return what is told to happen, and the day: never one before a day that was told already."""
    if not case.settings.disable_key:
        return NextStep.STAYS_ACTIVE, None
    step = NextStep.DISABLED_NOW if is_disabled_now else against.next_step
    if not step.has_day:
        return step, None
    until = left_alone_until(case.record, case.settings) if step is NextStep.LEFT_ALONE else None
    day = first_instant(until or against.not_before)
    has_come = step is NextStep.DISABLED_FROM and day <= first_instant(case.now)
    return NextStep.DUE if has_come else step, day
