"""The notice on an access key: given, kept, void. Pure. design.md 5.

In: a record, and what this run knows of the access key and its owner. Out: whether the notice on record is in force,
what this run does to it, and what is promised by naming a day. Nothing else in keycheck answers these questions;
whether its day has come is disabling.py's.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from keycheck.actions import NextStep, Outlook, Promise
from keycheck.model import KeyRecord, Notice, Owner, OwnerKind, Void
from keycheck.rules.case import A_DAY, Case

LAPSES_AFTER = timedelta(days=14)
"""A notice that no run has kept for so long is void: nobody has said it for two weeks."""
WAITS_FOR_A_MESSAGE = 2 * A_DAY
"""A message keeps the notices of what it names, so an own write is made only if none does for so long."""


def in_force(record: KeyRecord, owner: Owner, now: datetime) -> Notice | None:
    """Return the notice on record if it was given to whoever is asked now, and is not void."""
    notice = record.notice
    if notice is None or notice.owner != owner.identity or now - notice.kept_at >= LAPSES_AFTER:
        return None
    return notice


def of(case: Case) -> Notice | None:
    """Return the notice on which this access key may be disabled once its day has come, if there is one."""
    return in_force(case.record, case.owner, case.now)


# What a run does to it


def why_void(case: Case) -> Void | None:
    """Return why this run would not say what the notice on record says, of an active access key that needs attention.

    What could not be read makes nothing void; with Slack and Jira off nothing is said at all.
    """
    if case.record.notice is None or not case.settings.warns_owners:
        return None
    if case.user.exemption is not None:
        return Void.EXEMPT
    if not case.settings.disable_key or case.is_own or case.is_spared:
        return Void.STAYS_ACTIVE
    if _is_known(case) and case.record.notice.owner != case.owner.identity:
        return Void.OTHER_OWNER
    return None


def is_to_be_kept(case: Case, *, is_named: bool) -> bool:
    """Return whether it is to be noted that this run would still say the same: once a day. `is_named`: a message of
    this run names the access key.
    """
    notice = of(case)
    if notice is None or not _is_known(case) or why_void(case) is not None or not case.settings.warns_owners:
        return False
    return case.now - notice.kept_at >= (WAITS_FOR_A_MESSAGE if is_named else A_DAY)


def _is_known(case: Case) -> bool:
    is_read = case.owner.kind is not OwnerKind.UNREAD and not case.owner.is_unsure
    return is_read and case.user.not_disabled_because is None


# What a message or an issue promises


def can_give(case: Case, told: Outlook) -> bool:
    """Return whether what is told can be a notice: it names the day, and nothing about the user was left unread (who is
    held may be exempt).
    """
    is_announced = told.next_step.has_day and told.next_step is not NextStep.LEFT_ALONE
    return told.day is not None and is_announced and case.user.not_disabled_because is None


def promise(case: Case, told: Outlook, *, reaches_owner: bool) -> Promise | None:
    """Return what is promised by telling this. `reaches_owner`: whoever is told is whoever is asked now."""
    if told.day is None:
        return None
    return Promise(told.day, case.owner.identity if reaches_owner and can_give(case, told) else None)
