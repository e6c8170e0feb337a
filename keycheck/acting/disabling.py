"""Sets one access key Inactive, if a notice about it is in force. Shell.

In: a DisableKey that planning has chosen. Out: nothing: the books say what became of it. Before the one request it
looks once more at everything that may have changed since the plan was made.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from keycheck.acting.ledger import Task
from keycheck.acting.means import Means
from keycheck.actions import DisableKey, Result, SkipReason
from keycheck.clock import Stopped
from keycheck.model import AccessKey, Notice
from keycheck.rules import notice, writes
from keycheck.rules.case import A_DAY, IAM_SHOWS_WITHIN
from keycheck.rules.disabling import WAITS_FOR_A_PLACE, is_in_use
from keycheck.services import Failure, ServiceError
from keycheck.words.parts import name_key


def disable(means: Means, task: Task, action: DisableKey) -> None:
    """Not while another run has a claim on its issue or its message: should that run have died, nobody would file or
    send anything about an access key that is inactive by then.
    """
    claims, ledger, access_key = means.claims, means.ledger, action.key.access_key
    rests_on = _notice(means, action)
    reason = _why_not(means, action, rests_on)
    if reason is not None:
        ledger.skip(task, reason)
        return
    means.clock.check()
    if _is_in_use(means, access_key):
        ledger.skip(task, SkipReason.IN_USE)
        return
    account_id, at, most = access_key.account_id, means.clock.utc_now(), means.settings.max_disables_per_day
    has_room = ledger.write_or_skip(task, lambda: claims.take_disabling(account_id, at, most))
    if has_room is False and _waited_for_a_place(means, account_id, most):
        at = means.clock.utc_now()
        has_room = ledger.write_or_skip(task, lambda: claims.take_disabling(account_id, at, most))
    if not has_room:
        if has_room is not None:
            ledger.skip(task, SkipReason.BRAKE)
        return
    begin = writes.begin_disabling(access_key, uuid.uuid4().hex, at, at - IAM_SHOWS_WITHIN, rests_on)
    try:
        if ledger.write_or_skip(task, lambda: claims.apply(begin)) is None:
            if not ledger.state_failed:  # another run was first
                ledger.release(lambda: claims.give_back_disabling(account_id, at))
            return
        means.clock.check()
        _disable_begun(means, task, action, at)
    except Stopped:  # raised before the request, never after it
        _undo(means, access_key, at)
        raise


def _waited_for_a_place(means: Means, account_id: str, most: int) -> bool:
    """Wait until one of the day's disablings becomes free, if that is soon; return whether it has. What was disabled a
    day ago at the same time becomes free a moment after the run has begun.
    """
    try:
        times = sorted(means.claims.read((), (), account_ids=[account_id]).disablings.get(account_id, ()))
    except ServiceError:
        return False
    now = means.clock.utc_now()
    lately = [at for at in times if now - at < A_DAY]
    if len(lately) < most:
        return True
    seconds = (lately[len(lately) - most] + A_DAY - now).total_seconds()
    if seconds > means.clock.remaining_seconds() * WAITS_FOR_A_PLACE:
        return False
    means.clock.sleep(seconds)
    return True


def _notice(means: Means, action: DisableKey) -> Notice | None:
    """Return the notice that it rests on, by the record as this run has left it."""
    if action.owner is None:
        return None
    return notice.in_force(means.ledger.newest(action.record), action.owner, means.clock.now)


def _why_not(means: Means, action: DisableKey, rests_on: Notice | None) -> SkipReason | None:
    """Return what has come of the notice that it waits for; nothing, if neither Slack nor Jira is on."""
    if action.owner is None:
        return None
    ledger = means.ledger
    is_live = ledger.claimed_elsewhere(action.key.access_key.access_key_id)
    if rests_on is None:
        if ledger.state_failed:
            return SkipReason.NO_STATE
        is_changed_since = action.has_notice  # by another run: it was in force when the plan was made
        return SkipReason.CLAIMED if is_live or is_changed_since else SkipReason.NOBODY_TOLD
    return None if is_live is None else SkipReason.CLAIMED


def _disable_begun(means: Means, task: Task, action: DisableKey, at: datetime) -> None:
    ledger, access_key = means.ledger, action.key.access_key
    with ledger.in_flight(task):
        was_there = ledger.attempt(
            task,
            lambda: _deactivate(means, access_key),
            release=lambda _: _undo(means, access_key, at),
            if_unknown=lambda error: f"{error.text}; {name_key(action.key)} may be disabled",
        )
        if was_there is None:
            return
        ledger.done(task, Result.DONE if was_there else Result.NOT_NEEDED)
        if not was_there:
            _undo(means, access_key, at)
            return
        why = f"expired: {action.key.age_days} days old"
        write = writes.record_disabled(access_key.access_key_id, means.clock.utc_now(), means.run_id, why)
        text = f"that {name_key(action.key)} was disabled could not be recorded"
        ledger.record(task, lambda: means.write(write), text)


def _undo(means: Means, access_key: AccessKey, at: datetime) -> None:
    """Surely nothing was disabled: neither the intent nor one of the day's disablings stays."""
    claims = means.claims
    means.ledger.release(lambda: claims.apply(writes.drop_disabling(access_key.access_key_id, at)))
    means.ledger.release(lambda: claims.give_back_disabling(access_key.account_id, at))


def _is_in_use(means: Means, access_key: AccessKey) -> bool:
    """Read again, immediately before disabling: a read that fails counts as in use."""
    hours = means.settings.disable_in_use_hours
    if not hours:
        return False
    try:
        last_use = means.services.iams[access_key.access_key_id][0].last_used(access_key)
    except ServiceError:
        return True
    return is_in_use(last_use, means.clock.utc_now(), hours)


def _deactivate(means: Means, access_key: AccessKey) -> bool:
    """Through the first profile that shows the access key and may do it; raises what the last one said."""
    iams = means.services.iams[access_key.access_key_id]
    for iam in iams[:-1]:
        try:
            return iam.deactivate(access_key)
        except ServiceError as error:
            if error.failure is Failure.UNKNOWN:
                raise
    return iams[-1].deactivate(access_key)
