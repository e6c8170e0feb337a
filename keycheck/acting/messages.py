"""Sends one message to one addressee: claim, POST, record. Shell.

In: a SendMessage, the keys of issues that were just filed. Out: nothing: the books say what became of it. An unknown
message counts as sent, so that nobody gets it twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta

from keycheck.acting.ledger import Task
from keycheck.acting.means import Means
from keycheck.actions import MessageKey, Result, SendMessage, SkipReason
from keycheck.clock import Stopped
from keycheck.model import Addressee, Lookup
from keycheck.rules import other_writes, writes
from keycheck.services import Failure, Messages, ServiceError
from keycheck.services.jira_refusals import is_gateway
from keycheck.services.state_items import addressee_record
from keycheck.settings import Settings
from keycheck.words.message import SlackDraft, slack_draft
from keycheck.words.parts import name_key

SERVER_ERRORS_IN_A_ROW = 2
RETRY_AFTER_SERVER_ERRORS = timedelta(hours=1)


def send(means: Means, task: Task, message: SendMessage, filed: Mapping[str, str]) -> None:
    """`filed`: access key id -> issue key, of those whose issue was found or filed in this run."""
    messages, addressee = means.services.messages, message.addressee
    interval = means.settings.nag_interval_hours
    if messages is None:
        means.ledger.skip(task, SkipReason.SLACK_OFF)
        return
    token = uuid.uuid4().hex
    claim = writes.claim_message(addressee, token, interval, now=means.clock.now, lapses=means.claims_lapse)
    record = means.ledger.write_or_skip(task, lambda: addressee_record(means.claims.apply(claim)))
    if record is None:
        return
    recorded = {one.key.access_key.access_key_id: one.issue_key for one in message.keys if one.issue_key}
    settings = means.settings
    issues, contact = means.services.issues, settings.help_contact
    jira = _set_address(settings) if issues is None else issues.browse_address
    draft = slack_draft(message, task.profile, {**recorded, **filed}, jira, interval, contact)

    def release(error: ServiceError | Stopped) -> None:
        if isinstance(error, ServiceError) and error.failure is Failure.GONE and _has_stand_in(means, addressee):
            _note(means, addressee.slack_id, Lookup(None, means.clock.utc_now(), error.code))
        now = means.clock.utc_now()
        errors, again = _after_refusal(error, record.server_errors, now)
        tried_at = None if isinstance(error, Stopped) else now
        write = writes.release_message(addressee, token, errors, again, tried_at)
        means.ledger.release(lambda: means.claims.apply(write))

    with means.ledger.in_flight(task, lambda: _record_message(means, task, message, token)):
        try:
            is_sent = means.ledger.attempt(
                task,
                lambda: _post(messages, addressee.slack_id, draft),
                release=release,
                if_unknown=lambda error: _unknown(means, task, message, token, error),
            )
        except Stopped as stopped:
            means.ledger.landed(task)
            release(stopped)
            return
        if is_sent is None:
            return
        at = means.clock.utc_now()
        means.ledger.done(task, Result.DONE)
        _record_message(means, task, message, token)
        if message.is_retry:
            _note(means, addressee.slack_id, Lookup(addressee.slack_id, at))
        for one in message.keys:
            _record_told(means, task, message, one, at)


def _set_address(settings: Settings) -> str | None:
    """Return the Jira that the settings name, if people can open it: nobody has asked it this time."""
    address = settings.jira_server_address
    return None if address is None or is_gateway(address) else address


def _has_stand_in(means: Means, addressee: Addressee) -> bool:
    """Return whether another channel can be told instead; else each run tries again."""
    channel = means.settings.slack_fallback_channel
    return channel is not None and channel != addressee.slack_id


def _note(means: Means, slack_id: str, lookup: Lookup) -> None:
    """Note whether an addressee can be told at all: the next run tells the fallback channel of whoever cannot."""
    means.ledger.release(lambda: means.claims.apply(other_writes.record_lookup(slack_id, lookup)))


def _post(messages: Messages, slack_id: str, draft: SlackDraft) -> bool:
    messages.send(slack_id, draft)
    return True


def _unknown(means: Means, task: Task, message: SendMessage, token: str, error: ServiceError) -> str:
    _record_message(means, task, message, token)
    return error.text


def _record_message(means: Means, task: Task, message: SendMessage, token: str) -> None:
    def write() -> None:
        means.claims.apply(writes.record_message(message.addressee, token, means.clock.utc_now()))

    consequence = f"the message to {message.addressee.slack_id} could not be recorded, so it may be repeated once"
    means.ledger.record(task, write, consequence)


def _record_told(means: Means, task: Task, message: SendMessage, one: MessageKey, at: datetime) -> None:
    access_key = one.key.access_key
    given = means.given(one.record, one.promise)
    ends_exemption = one.outlook.ended_exemption is not None
    write = writes.record_told(access_key, at, given, ends_exemption=ends_exemption, to=message.addressee.slack_id)
    means.ledger.record(
        task,
        lambda: means.write(write),
        f"that {message.addressee.slack_id} was told of {name_key(one.key)} could not be recorded",
    )


def _after_refusal(error: ServiceError | Stopped, so_far: int, now: datetime) -> tuple[int, datetime | None]:
    """Slack's 5xx in a row for this addressee, and when to try again after the second, which may have delivered.

    What never got an answer breaks no row.
    """
    if isinstance(error, Stopped) or error.failure not in (Failure.REFUSED, Failure.GONE, Failure.SERVER_ERROR):
        return so_far, None
    in_a_row = so_far + 1 if error.failure is Failure.SERVER_ERROR else 0
    return in_a_row, now + RETRY_AFTER_SERVER_ERRORS if in_a_row >= SERVER_ERRORS_IN_A_ROW else None
