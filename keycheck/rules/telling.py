"""Whom to tell, of which access keys, in this run? Pure.

In: Cases, and when each addressee was last messaged. Out: Audiences: who is told together, which access keys this run's
message names, and why there is no message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from keycheck.actions import MessageKey, Outlook, SendMessage, SkipReason
from keycheck.model import Addressee, AddresseeRecord, OwnerKind, State
from keycheck.rules import notice
from keycheck.rules.case import Case, Circumstances
from keycheck.settings import Settings

KEYS_IN_A_MESSAGE = 25
"""What fits into Slack's limit for all blocks together (words/message.py): those told longest ago, or never. The rest
wait for the next message, so that all get their turn.
"""
KEYS_IN_A_DIGEST = 20
CLOCKS_DIFFER_AT_MOST = timedelta(days=1)
"""A record further in the future was not written by a run of ours with a sane clock."""
NEVER = datetime.min.replace(tzinfo=UTC)


def last_turn(*times: datetime | None) -> datetime:
    """Return when whatever waits for its turn last had it, a try in vain included: first are those that never had."""
    return max((at for at in times if at is not None), default=NEVER)


@dataclass(frozen=True, slots=True)
class Audience:
    """The access keys that one addressee is told about; None: nobody can be told on Slack.

    `named`: those that this run's message names, none if no message is due. `reason`: why there can be none.
    `claim_until`: when the claim on messaging this addressee lapses, if there is one.
    """

    addressee: Addressee | None
    cases: tuple[Case, ...]
    named: tuple[Case, ...] = ()
    reason: SkipReason | None = None
    claim_until: datetime | None = None


def audiences(cases: Sequence[Case], state: State, run: Circumstances) -> list[Audience]:
    """Group by who is told; a user whom nobody can be told about stands alone, so that others go on beside it."""
    groups: dict[Addressee | str, list[Case]] = {}
    for case in cases:
        addressee = case.owner.addressee if run.tells_on_slack else None
        groups.setdefault(addressee or case.access_key.user_name, []).append(case)
    return [_audience(who if isinstance(who, Addressee) else None, group, state, run) for who, group in groups.items()]


def _audience(addressee: Addressee | None, cases: Sequence[Case], state: State, run: Circumstances) -> Audience:
    group = tuple(cases)
    if not run.settings.send_slack:
        return Audience(addressee, group)
    reason = why_no_message(addressee, group, state, run)
    if reason is not None or addressee is None:
        return Audience(addressee, group, reason=reason)
    record = state.addressee(addressee)
    if not may_message(record, run.now, run.settings):
        return Audience(addressee, group)
    most = KEYS_IN_A_DIGEST if addressee.is_fallback else KEYS_IN_A_MESSAGE
    chosen = {case.access_key_id for case in sorted(group, key=lambda case: case.record.told_at or NEVER)[:most]}
    named = tuple(case for case in group if case.access_key_id in chosen)
    return Audience(addressee, group, named, claim_until=record.claim_until)


def may_message(record: AddresseeRecord, now: datetime, settings: Settings) -> bool:
    """Return whether the addressee's last message is absent, or at least the interval old: equal is old enough."""
    return record.messaged_at is None or now - record.messaged_at >= timedelta(hours=settings.nag_interval_hours)


def why_no_message(
    addressee: Addressee | None, cases: Sequence[Case], state: State, run: Circumstances
) -> SkipReason | None:
    """Return why no message can be sent, whether one is due or not."""
    if not run.slack_is_usable:
        return SkipReason.SLACK_OFF
    if addressee is None:
        is_unread = cases[0].owner.kind is OwnerKind.UNREAD
        return SkipReason.OWNER_UNREAD if is_unread else SkipReason.UNKNOWN_OWNER
    record = state.addressee(addressee)
    is_odd = record.messaged_at is not None and record.messaged_at - run.now > CLOCKS_DIFFER_AT_MOST
    if is_odd or addressee.record_id in state.unreadable:
        return SkipReason.BAD_ADDRESSEE
    is_due = may_message(record, run.now, run.settings)
    if is_due and record.not_before is not None and run.now < record.not_before:
        return SkipReason.RETRY_LATER
    return None


def message_reaches(case: Case) -> bool:
    """Return whether a message that names it reaches the owner: the fallback channel's only if nobody knows who that
    is.
    """
    return not case.owner.is_told_by_others


def message(audience: Audience, told: Mapping[str, Outlook]) -> SendMessage | None:
    """Return the message to an audience; `told`: what is said, by access key id."""
    if audience.addressee is None or not audience.named:
        return None
    keys = []
    for case in audience.named:
        said = told[case.access_key_id]
        promised = notice.promise(case, said, reaches_owner=message_reaches(case))
        keys.append(MessageKey(case.key, case.record, said, case.open_issue, promised))
    return SendMessage(
        audience.addressee,
        tuple(keys),
        unlisted=len(audience.cases) - len(audience.named),
        claim_until=audience.claim_until,
        groups=tuple(sorted({case.owner.group for case in audience.named if case.owner.group})),
        is_retry=any(case.owner.is_retry for case in audience.named),
    )
