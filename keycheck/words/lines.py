"""Lines on stderr: what would be done, and what was due and is not done. Pure.

In: actions and skips. Out: one line each, which names no access key in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from keycheck.actions import (
    Action,
    AssignIssue,
    CommentIssue,
    DisableKey,
    FileIssue,
    IssueEvent,
    Observation,
    ObservationKind,
    SendMessage,
    Skip,
    SkipReason,
)
from keycheck.model import KeyRecord, LabelledKey, Level, Problem
from keycheck.rules import waiting
from keycheck.rules.case import Case
from keycheck.words.parts import NAMES_SHOWN, list_cut, name_in_short, name_key


def describe(action: Action) -> str:
    """Return what a real run would do, for --dry-run: one line."""
    match action:
        case FileIssue(key=key):
            return f"would file an issue for {name_key(key)}"
        case SendMessage(addressee=addressee, keys=keys):
            kind = "a digest to the fallback channel" if addressee.is_fallback else "a message to"
            named = list_cut([name_in_short(one.key) for one in keys])
            return f"would send {kind} {addressee.slack_id} about {count_keys(keys)}: {named}"
        case DisableKey(key=key, owner=owner, has_notice=has_notice):
            only = ", once the notice above is delivered" if owner is not None and not has_notice else ""
            return f"would disable {name_key(key)}{only}"
        case AssignIssue(key=key, record=record):
            return f"would assign {record.issue_key} to the owner of {name_key(key)}"
        case CommentIssue(record=record, event=event, key=shown):
            what = "comment on and close" if event.closes else "comment on"
            return f"would {what} {record.issue_key} ({EVENTS[event]}): {name_key(shown or record)}"
        case Observation(record=record, kind=kind, key=shown, why=why):
            void = f" ({why.value})" if kind is ObservationKind.VOID and why is not None else ""
            return f"would note in the state table that {NOTES[kind]}{void}: {name_key(shown or record)}"


EVENTS = {
    IssueEvent.EXPIRED: "it has expired",
    IssueEvent.NO_LONGER_DUE: "it needs no rotating any more",
    IssueEvent.EXEMPTION_ENDED: "its exemption has ended",
    IssueEvent.NOTICE: "the day from which it is disabled",
    IssueEvent.IN_USE: "it is still in use",
    IssueEvent.DISABLED: "keycheck disabled it",
    IssueEvent.REENABLED: "a person re-enabled it",
    IssueEvent.DEACTIVATED: "somebody else deactivated it",
    IssueEvent.GRACE_OVER: "disabled, and not missed",
    IssueEvent.DELETED: "it is gone",
}


NOTES = {
    ObservationKind.CONFIRMED: "a disabling that was begun was carried out",
    ObservationKind.DROPPED: "a disabling that was begun came to nothing",
    ObservationKind.INACTIVE: "somebody else deactivated it, so that its notice is void",
    ObservationKind.REENABLED: "it is active again, so that it is left alone",
    ObservationKind.EXEMPT: "it is exempt, so that a notice given before is void",
    ObservationKind.KEPT: "its notice still holds",
    ObservationKind.VOID: "its notice is void",
}


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of a SkipReason: why, and in which line. A warning is for what a person should act on."""

    why: str
    level: Level = Level.INFO
    text: str = "nothing done for {count}: {why}"


SAID: Final[Mapping[SkipReason, Said]] = {
    SkipReason.NO_STATE: Said(
        "the state table could not be used, and without state nothing is filed, sent or disabled"
    ),
    SkipReason.JIRA_OFF: Said("Jira is off for this run"),
    SkipReason.SLACK_OFF: Said("Slack is off for this run"),
    SkipReason.UNKNOWN_OWNER: Said(
        "the user is in no Slack mapping and slack_fallback_channel is not set",
        Level.WARNING,
        "nobody was nagged about {count}: {why}",
    ),
    SkipReason.OWNER_UNREAD: Said("who owns it could not be found out in this run"),
    SkipReason.NOBODY_TOLD: Said(
        "nobody could be told: no notice about this access key is in force",
        Level.WARNING,
        "{count} not disabled: {why}",
    ),
    SkipReason.NOT_TOLD_YET: Said("it has no notice in force: the next message to its owner gives one"),
    SkipReason.NOTICE: Said("its notice is not over"),
    SkipReason.BRAKE: Said(
        "max_disables_per_day of its account is reached", Level.WARNING, "{count} not disabled: {why}"
    ),
    SkipReason.IN_USE: Said(
        "it was used within disable_in_use_hours, or its last use could not be read",
        Level.WARNING,
        "{count} not disabled: {why}",
    ),
    SkipReason.EXEMPT: Said("its user is exempt"),
    SkipReason.EXEMPTIONS_UNREAD: Said("exemptions_file could not be used, so nobody is known not to be exempt"),
    SkipReason.TAGS_UNREAD: Said("the tags of its user could not be read"),
    SkipReason.BAD_EXEMPT_TAG: Said(
        "the tags keycheck:exempt-until and keycheck:exempt-reason of its user are not sound",
        Level.WARNING,
        "{count} not disabled: {why}",
    ),
    SkipReason.SCAN_BROKEN: Said(
        "the users could not all be listed, or more than 5 % of them could not be read",
        Level.WARNING,
        "{count} not disabled: {why}",
    ),
    SkipReason.REENABLED: Said("a person took it back, and it is left alone for reenable_grace_days"),
    SkipReason.JUST_DISABLED: Said("it was seen inactive, was disabled or was about to be, less than 15 minutes ago"),
    SkipReason.OWN_ACCESS_KEY: Said("keycheck itself depends on this access key"),
    SkipReason.UNOWNED: Said("nobody is known to own it, and disable_unowned is False"),
    SkipReason.TOO_MANY_ISSUES: Said(
        "two issues were filed for it within seven days",
        Level.WARNING,
        "no further issue for {count}: {why}, and Jira's search shows none open; look for a workflow that closes them",
    ),
    SkipReason.CLAIMED: Said("another run has claimed it"),
    SkipReason.BAD_RECORD: Said(
        "its record in the state table cannot be read; delete that item, or mend it",
        Level.WARNING,
        "nothing done for {count}: {why}",
    ),
    SkipReason.BAD_ADDRESSEE: Said(
        "the item slack:<account id>:<Slack id> of its owner in the state table holds a time in the future, or what "
        "keycheck did not write; delete that item",
        Level.WARNING,
        "nobody was nagged about {count}: {why}",
    ),
    SkipReason.RETRY_LATER: Said("Slack failed twice in a row for this addressee; tried again an hour later"),
    SkipReason.OUT_OF_TIME: Said(
        "the run's time was over",
        Level.WARNING,
        "actions on {count} are left for the next run: {why}; see run_timeout_seconds",
    ),
    SkipReason.NOT_ITS_TURN: Said("the run had no time for the tags of its user, whose turn comes in the next runs"),
    SkipReason.STOPPED: Said(
        "a signal ended the run",
        Level.WARNING,
        "actions on {count} are left for the next run: {why}; give Telegraf's inputs.exec a timeout above "
        "run_timeout_seconds",
    ),
}


def describe_found(action: FileIssue, issue_key: str) -> str:
    """Return what a real run would do instead of filing, if a look has found an open issue: one line."""
    return f"would file no issue for {name_key(action.key)}: {issue_key} is open"


def describe_skip(skip: Skip) -> str:
    """Return what is due and would not be done, for --dry-run and -v."""
    return f"would not {skip.what.value}: {name_key(skip.key)}: {SAID[skip.reason].why}"


def skip_problems(skips: Iterable[Skip], profile: str, *, issues_are_filed: bool) -> list[Problem]:
    """Return one line a reason, however many access keys: a warning if a person should act, else only with -v. Where it
    does not name all, -v does, a line each.

    A user without a known owner is a warning only if no issue tells anybody either.
    """
    grouped: dict[SkipReason, list[LabelledKey | KeyRecord]] = {}
    for skip in skips:
        grouped.setdefault(skip.reason, []).append(skip.key)
    problems = []
    for reason, keys in grouped.items():
        unique = sorted(set(keys), key=_oldest_first)
        said = SAID[reason]
        is_told_otherwise = reason is SkipReason.UNKNOWN_OWNER and issues_are_filed
        text = said.text.format(count=count_keys(unique), why=said.why)
        problems.append(Problem(Level.INFO if is_told_otherwise else said.level, profile, f"{text}: {_some(unique)}"))
        if len(unique) > NAMES_SHOWN:
            problems += [Problem(Level.DEBUG, profile, f"{name_key(key)}: {said.why}") for key in unique]
    return problems


def _oldest_first(key: LabelledKey | KeyRecord) -> tuple[int, str, str]:
    if isinstance(key, KeyRecord):
        return (0, key.user_name, key.access_key_id[-5:])
    return (-key.age_days, key.access_key.user_name, key.access_key.last_five)


def count_keys(keys: Sequence[object]) -> str:
    return "1 access key" if len(keys) == 1 else f"{len(keys)} access keys"


def _some(keys: Sequence[LabelledKey | KeyRecord]) -> str:
    return list_cut(list(dict.fromkeys(name_in_short(key) for key in keys)))


def standing_still(profile: str, cases: Sequence[Case], done: waiting.Done) -> list[Problem]:
    """Return what does not move, a line each kind: what waits, what comes back, and whom nobody could tell."""

    def said(text: str, found: Sequence[Case]) -> Problem:
        keys = sorted((case.key for case in found), key=_oldest_first)
        return Problem(Level.WARNING, profile, f"{text.format(count=count_keys(keys))}: {_some(keys)}")

    untold = {case.owner.addressee.slack_id for case in cases if case.owner.addressee and waiting.is_untold(case, done)}
    found = []
    if those := [case for case in cases if waiting.is_waiting(case, done)]:
        text = "{count} waiting for a week or longer: what is due was not done; --dry-run says why"
        found.append(said(text, those))
    if those := [case for case in cases if waiting.comes_back(case)]:
        text = "{count} taken back each time it is disabled; name its owner and ask, or exempt it until a day"
        found.append(said(text, those))
    if those := [case for case in cases if waiting.is_far_off(case)]:
        text = "{count} not disabled before a day far beyond disable_notice_days, since that day was told; "
        text += "docs/rollout.md says how to take it back"
        found.append(said(text, those))
    if untold:
        whom = list_cut(sorted(untold))
        text = f"for a week nothing could be told to {whom}; name other owners, or let the bot write there"
        found.append(Problem(Level.WARNING, profile, text))
    return found
