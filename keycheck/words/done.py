"""What a run has done, a line an action: for whoever reads its log. Pure.

In: Outcomes. Out: sentences that name no access key in full. What was refused, or may have been done, is said by the
problems; this is what was surely done.
"""

from __future__ import annotations

from keycheck.actions import (
    AssignIssue,
    CommentIssue,
    DisableKey,
    FileIssue,
    Observation,
    Outcome,
    Outcomes,
    Result,
    SendMessage,
)
from keycheck.model import Level, Problem
from keycheck.words.lines import EVENTS, NOTES, count_keys
from keycheck.words.parts import day_of, list_cut, name_in_short, name_key

RUN_CHARACTERS = 8


def describe_done(outcome: Outcome, run_id: str) -> str | None:
    """Return what was done, and by which run; None if it was not, or nothing had to be."""
    if outcome.result is not Result.DONE:
        return None
    return f"{_done(outcome)} (run {run_id[:RUN_CHARACTERS]})"


def done_lines(outcomes: Outcomes, run_id: str) -> list[Problem]:
    """Return a line an action, for -v."""
    lines = ((one.profile, describe_done(one, run_id)) for one in outcomes.outcomes)
    return [Problem(Level.INFO, profile, line) for profile, line in lines if line is not None]


def _done(outcome: Outcome) -> str:
    match outcome.action:
        case FileIssue(key=key):
            return f"filed {outcome.issue_key or 'an issue'} for {name_key(key)}"
        case SendMessage(addressee=addressee, keys=keys):
            named = list_cut([name_in_short(one.key) for one in keys])
            return f"sent a message to {addressee.slack_id} about {count_keys(keys)}: {named}"
        case DisableKey(key=key, record=record, owner=owner):
            day = "" if record.disable_from is None else f", from {day_of(record.disable_from)} on as was told"
            whom = "" if owner is None else f", with notice to {owner.identity}"
            return f"disabled {name_key(key)}{whom}{day}"
        case AssignIssue(key=key, record=record):
            return f"assigned {record.issue_key} to the owner of {name_key(key)}"
        case CommentIssue(record=record, event=event, key=shown):
            what = "commented on and closed" if event.closes else "commented on"
            return f"{what} {record.issue_key} ({EVENTS[event]}): {name_key(shown or record)}"
        case Observation(record=record, kind=kind, key=shown):
            return f"noted that {NOTES[kind]}: {name_key(shown or record)}"
