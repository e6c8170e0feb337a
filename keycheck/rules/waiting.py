"""What does not move: is an access key overdue, has it waited for a week, and what should a person know of it? Pure.

In: a Case, and what this run did. Out: what an alert watches, whatever the schedule: a message that repeats what was
said does not make an access key less overdue.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from keycheck.model import AgeLabel
from keycheck.rules import notice
from keycheck.rules.case import A_DAY, Case
from keycheck.rules.disabling import left_alone_until

A_WEEK = timedelta(days=7)
FAR_BEYOND = timedelta(days=14)
COMES_BACK = 2
"""Taken back by a person so many times, or more often: nobody's mistake any more."""


@dataclass(frozen=True, slots=True)
class Done:
    """Access key ids: about which this run gave a notice, which a message named, whose issue was filed or found.
    `known_since`: since when keycheck has had something to do in the account; None: since this run.
    """

    known_since: datetime | None = None
    noticed: Collection[str] = frozenset()
    named: Collection[str] = frozenset()
    filed: Collection[str] = frozenset()


def overdue_since(case: Case, done: Done) -> datetime | None:
    """Return since when it is expired, active, not exempt, and its notice over; None if it is not.

    The notice of an access key that nobody was told about is counted from its expiry: else one whose owner cannot be
    told would never be seen. A first notice of this run counts; one that repeats what is in force does not.
    """
    if case.key.label is not AgeLabel.EXPIRED or case.user.exemption is not None:
        return None
    length = case.settings.disable_notice_days * A_DAY
    given = notice.of(case)
    ends = [
        case.key.expires_at + length,
        case.record.disable_from,
        left_alone_until(case.record, case.settings),
    ]
    if given is not None:
        ends.append(given.given_at + length)
    elif case.access_key_id in done.noticed:
        ends.append(case.now + length)
    last = max(end for end in ends if end is not None)
    return last if last <= case.now else None


def is_waiting(case: Case, done: Done) -> bool:
    """Return whether something has been due about it for a week and is not done, whatever the reason: its disabling, a
    message that names it, an issue.
    """
    if not case.key.needs_attention or case.user.exemption is not None:
        return False
    since = [
        overdue_since(case, done) if case.settings.disable_key else None,
        _untold_since(case, done),
        _unfiled_since(case, done),
    ]
    return any(one is not None and _has_waited(one, case, done) for one in since)


def is_untold(case: Case, done: Done) -> bool:
    """Return whether whoever is to be told of it has not been told for a week."""
    since = _untold_since(case, done)
    is_due = case.key.needs_attention and case.user.exemption is None
    return is_due and since is not None and _has_waited(since, case, done)


def is_far_off(case: Case) -> bool:
    """Return whether a day was told that is far beyond what the notice of today would say."""
    day = case.record.disable_from
    if day is None or not case.settings.disable_key or not case.key.needs_attention or case.user.exemption is not None:
        return False
    reach = 2 * case.settings.disable_notice_days * A_DAY + FAR_BEYOND
    return day - max(case.now, case.key.expires_at) > reach


def comes_back(case: Case) -> bool:
    """Return whether a person takes it back each time it is disabled."""
    is_due = case.is_expired and case.settings.disable_key and case.user.exemption is None
    return is_due and case.record.times_taken_back >= COMES_BACK


def _has_waited(since: datetime, case: Case, done: Done) -> bool:
    """Return whether that is a week ago; nothing has waited for keycheck before there was one."""
    return done.known_since is not None and case.now - max(since, done.known_since) >= A_WEEK


def _due_since(case: Case) -> datetime:
    return case.key.expires_at - case.settings.expiring_days * A_DAY


def _untold_since(case: Case, done: Done) -> datetime | None:
    if not case.settings.send_slack or case.access_key_id in done.named:
        return None
    told_at = case.record.told_at
    return _due_since(case) if told_at is None else told_at + timedelta(hours=case.settings.nag_interval_hours)


def _unfiled_since(case: Case, done: Done) -> datetime | None:
    has_issue = case.run.issue(case.record) is not None or case.access_key_id in done.filed
    return None if not case.settings.create_jira or has_issue else _due_since(case)
