"""Everything that is known of one access key, and why each thing is or is not done about it, in sentences. Pure.

In: its row, its record, what was found out about its user, the actions and skips of a plan. Out: lines for a person. It
has no opinion of its own: what will be done, and why not, is what the plan of a dry run says, in the same words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from keycheck.actions import Action, Outlook, Skip
from keycheck.model import AccessKey, AgeLabel, KeyRecord, LabelledKey, OwnerKind
from keycheck.rows import Row
from keycheck.rules.case import UserFacts
from keycheck.rules.disabling import left_alone_until
from keycheck.rules.notice import LAPSES_AFTER
from keycheck.settings import Settings
from keycheck.words.lines import SAID, describe
from keycheck.words.parts import day_of, what_happens, when_used, worth_knowing

SWITCHES = "send_slack, create_jira and disable_key"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one access key. `record` None: the state table could not be read. `outlook`: None if nothing was
    planned about it. `disabled_lately`: how many of its account were disabled in the last 24 hours, as far as the state
    table says.
    """

    key: LabelledKey
    row: Row
    record: KeyRecord | None
    user: UserFacts | None = None
    outlook: Outlook | None = None
    actions: Sequence[Action] = ()
    skips: Sequence[Skip] = ()
    disabled_lately: int = 0
    is_issue_open: bool | None = None


def is_meant(access_key: AccessKey, text: str) -> bool:
    """Return whether somebody means this one: by its user's name, its last five characters, or its id."""
    meant = text.strip().casefold()
    return meant in (
        access_key.user_name.casefold(),
        access_key.last_five.casefold(),
        access_key.access_key_id.casefold(),
    )


def explain(known: Known, settings: Settings, now: datetime) -> list[str]:
    """Return what there is to say, first what it is, last what the next run does about it."""
    row = known.row
    title = f"Access key ...{row.last_five} of {row.user_name} in {row.profile} ({row.account_id}): {row.label.value}, "
    title += f"{row.age_days} days old"
    return [title, *(f"  {sentence}" for sentence in _sentences(known, settings, now))]


def _sentences(known: Known, settings: Settings, now: datetime) -> Iterator[str]:
    yield from _age(known, settings)
    yield from _owner(known)
    yield from _exemption(known)
    if not settings.acts:
        yield f"What was said and done about it is read only while one of {SWITCHES} is on."
    elif known.record is None:
        yield "What was said and done about it is not known: the state table could not be read."
    else:
        yield from _told(known.record, settings, now)
        yield from _issue(known.record, known.is_issue_open, settings)
        yield from _taken_away(known.record, settings)
    yield f"Last used: {when_used(known.row.last_use)}." if known.row.last_use is not None else "Last used: not asked."
    yield from _next(known, settings)


def _age(known: Known, settings: Settings) -> Iterator[str]:
    row = known.row
    expiring = row.expires_at - timedelta(days=settings.expiring_days)
    yield (
        f"Created on {day_of(row.created_at)}: expiring from {day_of(expiring)} on, expired from "
        f"{day_of(row.expires_at)} on."
    )


def _owner(known: Known) -> Iterator[str]:
    owner, named = None if known.user is None else known.user.owner, known.row.owner
    if named.who:
        yield f"Owner: {named.who}, by the {named.source}."
    else:
        yield "Owner: nobody is named for it."
    if owner is not None and owner.kind is OwnerKind.UNREAD and known.key.needs_attention:
        yield "Who owns it could not be found out in this run, so nobody is told, and it is not disabled."
    if owner is not None and owner.trouble:
        yield f"But {owner.trouble}."


def _exemption(known: Known) -> Iterator[str]:
    if known.row.exemption is not None:
        yield f"Exempt until {known.row.exemption.until:%Y-%m-%d}: {known.row.exemption.reason}."
    if known.user is not None and known.user.tag_trouble:
        yield f"Its exemption does not count: {known.user.tag_trouble}."


def _told(record: KeyRecord, settings: Settings, now: datetime) -> Iterator[str]:
    yield (
        "No message has named it yet."
        if record.told_at is None
        else f"A message last named it on {_at(record.told_at)}."
    )
    if record.notice is not None:
        lapses = record.notice.kept_at + LAPSES_AFTER
        state = "in force" if lapses > now else f"void since {day_of(lapses)}, as no run has kept it for two weeks"
        ends = record.notice.given_at + timedelta(days=settings.disable_notice_days)
        yield (
            f"Notice: given on {_at(record.notice.given_at)} to {record.notice.owner}, last kept on "
            f"{_at(record.notice.kept_at)}, {state}; it ends on {day_of(ends)}."
        )
    elif record.voided_at is not None:
        why = f": {record.voided_why}" if record.voided_why else ""
        yield f"Notice: none in force; the last one is void since {_at(record.voided_at)}{why}."
    else:
        yield "Notice: none was given."
    if record.disable_from is not None:
        yield f"The latest day told to anybody is {day_of(record.disable_from)}: it is not disabled before that."


def _issue(record: KeyRecord, is_issue_open: bool | None, settings: Settings) -> Iterator[str]:
    issue = record.issue
    if issue is None:
        yield "Issue: none on record."
    elif not issue.is_on(settings.jira_site):
        yield f"Issue: {issue.key}, in another Jira ({issue.site})."
    else:
        is_open = {True: "open", False: "not open", None: "whether it is open was not looked up"}[is_issue_open]
        ended = "" if issue.ended_at is None else f", ended on {_at(issue.ended_at)}"
        assigned = f", assigned to {issue.assigned_to}" if issue.assigned_to else ""
        yield f"Issue: {issue.key}, {is_open}{ended}{assigned}."


def _taken_away(record: KeyRecord, settings: Settings) -> Iterator[str]:
    if record.disabled is not None:
        by = f" by run {record.disabled.by[:8]}" if record.disabled.by else ""
        yield f"keycheck disabled it on {_at(record.disabled.at)}{by}."
    if record.disabling_at is not None:
        yield f"keycheck began to disable it on {_at(record.disabling_at)}; whether it did is not on record."
    if record.inactive_at is not None:
        yield f"Somebody else had made it inactive by {_at(record.inactive_at)}."
    if record.reenabled_at is not None:
        times = f", {record.times_taken_back} times by now" if record.times_taken_back > 1 else ""
        yield f"A person took it back; that was seen on {_at(record.reenabled_at)}{times}."
        until = left_alone_until(record, settings)
        if until is not None:
            yield f"Until {day_of(until)} it is left alone for that."


def _next(known: Known, settings: Settings) -> Iterator[str]:
    if not settings.acts:
        yield f"Nothing is done about it, since {SWITCHES} are off."
        return
    if settings.disable_key and known.key.needs_attention:
        most = settings.max_disables_per_day
        yield f"Brake: {known.disabled_lately} of {most} disablings of its account are taken for the last 24 hours."
    if known.outlook is not None:
        yield f"What happens if nobody acts: {what_happens(known.outlook)}"
        yield from (f"Its owner is told as well: {one}" for one in worth_knowing(known.outlook))
    elif known.row.label is not AgeLabel.DISABLED:
        yield f"What comes next: {known.row.next_step}."
    for action in known.actions:
        yield f"The next run {describe(action)}."
    for skip in known.skips:
        yield f"The next run would not {skip.what.value}: {SAID[skip.reason].why}."
    if not known.actions and not known.skips:
        yield "The next run does nothing about it."


def _at(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
