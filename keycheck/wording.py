"""The words that people read: the issue, the message, the dry run, the lines about what was skipped. Pure.

In: actions of a plan, links to issues. Out: text, Slack blocks, Jira fields. It never sends anything.

The full access key id appears in a direct message to its owner, and nowhere else (design.md, section 2).
Slack: docs.slack.dev, "Formatting message text" (escape only & < >) and "Block Kit" (50 blocks, 3000 characters a
section). Jira: the wiki markup that REST API 2 takes on Cloud and Data Center alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keycheck.model import (
    Action,
    AgeLabel,
    AssignIssue,
    CommentIssue,
    DisableKey,
    Fate,
    FileIssue,
    IssueEvent,
    KeyRecord,
    LabelledKey,
    LastUse,
    Level,
    MessageKey,
    NoteKind,
    NoteState,
    Problem,
    SendMessage,
    Skip,
    SkipReason,
    Standing,
)

FAMILY_LABEL = "AWS-User-Key-Rotation"
ROTATION_PAGE = "https://docs.aws.amazon.com/IAM/latest/UserGuide/id-credentials-access-keys-update.html"
KEYS_IN_FULL = 8
"""A message shows at most so many access keys with their commands, fewer where they do not fit; the others get a line
each, and the commands once for all of them.
"""
SECTION_CHARACTERS = 2900
MESSAGE_CHARACTERS = 12_500
CHARACTERS_A_BLOCK = 125
"""Slack refuses blocks that are too long together (msg_blocks_too_long) and documents no number; measured by others:
some 13,400 characters, of which each block costs about 125 (github.com/slackapi/bolt-js, issue 2509).
"""
ACCESS_KEYS_AT_MOST = 2
"""AWS's quota of access keys a user: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""


@dataclass(frozen=True, slots=True)
class SlackDraft:
    """What chat.postMessage takes: blocks, and the text for notifications and screen readers."""

    text: str
    blocks: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class IssueDraft:
    """What a new issue says; jira_issues.py adds project, issue type and the extra fields of the settings."""

    summary: str
    description: str
    labels: tuple[str, ...]


def issue_draft(action: FileIssue, profile: str) -> IssueDraft:
    """The issue for one access key, named by its last five characters: an issue has more readers than its owner."""
    key, access_key = action.key, action.key.access_key
    where = f"AWS account *{_wiki(profile)}* ({access_key.account_id}) {_standing(key)}"
    summary = f"Rotate AWS access key ...{access_key.last_five} of {access_key.user_name} ({profile})"
    description = "\n".join(
        (
            f"The access key ending in *{access_key.last_five}* of IAM user *{_wiki(access_key.user_name)}* in {where}",
            "",
            f"* Created: {_day(access_key.create_date)}",
            f"* Age when this was filed: {_days(key.age_days)}",
            f"* {'Expired' if key.label is AgeLabel.EXPIRED else 'Expires'}: {_day(key.expires_at)}",
            f"* Last used: {_wiki(_last_use(action.standing.last_use))}",
            f"* What happens then: {_wiki(_what_happens(action.standing))}",
            *(f"* {_wiki(line)}" for line in _remarks(action.standing)),
            "",
            "h3. What to do",
            *(_wiki(line) for line in _crowded(access_key.user_name, action.standing)),
            "{code:bash}",
            *_commands(access_key.user_name, None, access_key.last_five, action.standing.fate),
            "{code}",
            "",
            f"AWS on rotating access keys: {ROTATION_PAGE}",
            "",
            "Filed by keycheck, which files no second issue for this access key while this one is open.",
        )
    )
    return IssueDraft(
        summary=_one_line(summary)[:250], description=description, labels=(FAMILY_LABEL, access_key.issue_label)
    )


def mark_line(mark: str) -> str:
    """The last line of a comment of ours, by which a later run finds that it was said: the same in every run."""
    return f"keycheck noted: {mark}."


def comment_text(action: CommentIssue, profile: str) -> str:
    """A comment on the issue of one access key, named by its last five characters; its mark is its last line."""
    record, standing, key = action.record, action.standing, action.key
    user_name = key.access_key.user_name if key is not None else record.user_name
    name = f"The access key ending in *{record.access_key_id[-5:]}* of *{_wiki(user_name)}* ({_wiki(profile)})"
    undo = [
        "{code:bash}",
        "# undo: find the full id, then",
        f"aws iam update-access-key {_user_option(user_name)} --access-key-id ACCESS_KEY_ID --status Active",
        "{code}",
    ]
    on = f" on {_day(action.at)}" if action.at is not None else ""
    next_up = [] if standing is None else [f"What happens next: {_wiki(_what_happens(standing))}"]
    match action.event:
        case IssueEvent.IN_USE:
            used = _last_use(standing.last_use if standing is not None else None)
            lines = [
                f"{name} has expired and was to be disabled, but it is still in use: {_wiki(used)}.",
                "Whoever uses it must get the new one first.",
            ]
        case IssueEvent.DISABLED:
            lines = [f"keycheck disabled it{on}: {name} is Inactive, not deleted.", *undo]
        case _:
            lines = [_NEWS[action.event].format(name=name, on=on), *next_up]
    return "\n".join([*lines, "", mark_line(action.mark)])


_NEWS = {
    IssueEvent.EXPIRED: "{name} has expired.",
    IssueEvent.NO_LONGER_DUE: "{name} is younger than what is asked for now, and needs no rotating yet.",
    IssueEvent.EXEMPTION_ENDED: "The exemption of its user has ended: {name} is due again.",
    IssueEvent.NOTICE: "{name} is going to be disabled.",
    IssueEvent.REENABLED: "{name} was disabled by keycheck, and a person re-enabled it.",
    IssueEvent.DEACTIVATED: "{name} is inactive, and keycheck did not do that. There is nothing left to do here.",
    IssueEvent.GRACE_OVER: "{name} was disabled{on}, and nobody has needed it since. There is nothing left to do here.",
    IssueEvent.DELETED: "{name} is gone. There is nothing left to do here.",
}


def slack_draft(
    action: SendMessage,
    profile: str,
    issue_keys: Mapping[str, str],
    jira_address: str | None,
    interval_hours: int,
) -> SlackDraft:
    """The one message to an addressee about one account.

    `issue_keys`: access key id -> Jira issue key, as known by now; they become links where Jira's address is.
    """
    links = {access_key_id: _issue_link(jira_address, issue) for access_key_id, issue in issue_keys.items()}
    title = _title(action)
    named = ", ".join(f"{one.key.access_key.user_name} ...{one.key.access_key.last_five}" for one in action.keys[:3])
    more = ", ..." if len(action.keys) + action.unlisted > 3 else ""
    text = _mrkdwn(_one_line(f"{title} in account {profile[:100]}: {named}{more}"))
    most = 0 if action.addressee.is_fallback and len(action.keys) > 1 else min(KEYS_IN_FULL, len(action.keys))
    for in_full in range(most, 0, -1):
        blocks = _blocks(action, profile, links, interval_hours, in_full)
        if _size(blocks) <= MESSAGE_CHARACTERS:
            return SlackDraft(text, blocks)
    for shorter in (links, {one: _mrkdwn(issue) for one, issue in issue_keys.items()}):
        blocks = _blocks(action, profile, shorter, interval_hours, 0)
        if _size(blocks) <= MESSAGE_CHARACTERS:
            return SlackDraft(text, blocks)
    return SlackDraft(text, _blocks(action, profile, {}, interval_hours, 0))


def _title(action: SendMessage) -> str:
    total = len(action.keys) + action.unlisted
    what = "access key needs" if total == 1 else "access keys need"
    return f"{total} AWS {what} rotating{' (no known owner)' if action.addressee.is_fallback else ''}"


def _blocks(
    action: SendMessage, profile: str, links: Mapping[str, str], interval_hours: int, in_full: int
) -> tuple[dict[str, Any], ...]:
    """The message with its first `in_full` access keys in full, and the others in a line each."""
    account_id = action.keys[0].key.access_key.account_id
    mentions = "".join(f"<!subteam^{group}> " for group in action.groups[:5])
    blocks = [_section(f"{mentions}:key: *{_title(action)}* in account `{_tick(profile[:100])}` ({account_id})")]
    for one in action.keys[:in_full]:
        blocks.append({"type": "divider"})
        link = links.get(one.key.access_key.access_key_id)
        blocks.append(_section(_key_in_full(one, link, person=action.addressee.is_person)))
        blocks.append(_section(_code(_key_commands(one, person=action.addressee.is_person))))
    in_short = [_key_in_short(one, links.get(one.key.access_key.access_key_id)) for one in action.keys[in_full:]]
    if action.unlisted:
        in_short.append(f"... and {action.unlisted} more, whose turn comes with the next messages.")
    if in_short:
        blocks.append({"type": "divider"})
        blocks += [_section(part) for part in _packed(in_short)]
        blocks.append(_section(_code(_commands("USER_NAME", None, "LAST5"))))
    is_one = len(action.keys) + action.unlisted == 1
    footer = (
        f"<{ROTATION_PAGE}|How AWS says to rotate access keys> · dates are UTC · keycheck repeats this at most every "
        f"{interval_hours} hours, until the old access {'key is' if is_one else 'keys are'} inactive or gone"
    )
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": footer}]})
    return tuple(blocks)


def _size(blocks: Iterable[Mapping[str, Any]]) -> int:
    """What Slack counts of the blocks, as near as is known."""
    return sum(CHARACTERS_A_BLOCK + len(block.get("text", {}).get("text", "")) for block in blocks)


def describe(action: Action) -> str:
    """What a real run would do, for --dry-run: one line."""
    match action:
        case FileIssue(key=key):
            return f"would file an issue for {name_key(key)}"
        case SendMessage(addressee=addressee, keys=keys):
            kind = "a digest to the fallback channel" if addressee.is_fallback else "a message to"
            what = "access key" if len(keys) == 1 else "access keys"
            named = ", ".join(f"{key.key.access_key.user_name} ...{key.key.access_key.last_five}" for key in keys[:5])
            return (
                f"would send {kind} {addressee.slack_id} about {len(keys)} {what}: {named}"
                f"{', ...' if len(keys) > 5 else ''}"
            )
        case DisableKey(key=key, needs_warning=needs_warning, was_warned=was_warned):
            only = ", once the warning above is delivered" if needs_warning and not was_warned else ""
            return f"would disable {name_key(key)}{only}"
        case AssignIssue(key=key, record=record):
            return f"would assign {record.issue_key} to the owner of {name_key(key)}"
        case CommentIssue(record=record, event=event, key=shown):
            what = "comment on and close" if event.closes else "comment on"
            name = name_access_key(record) if shown is None else name_key(shown)
            return f"would {what} {record.issue_key} ({_EVENTS[event]}): {name}"
        case NoteState(record=record, kind=kind, key=shown):
            name = name_access_key(record) if shown is None else name_key(shown)
            return f"would note in the state table that {_NOTES[kind]}: {name}"


_EVENTS = {
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
_NOTES = {
    NoteKind.CONFIRMED: "a disabling that was begun was carried out",
    NoteKind.DROPPED: "a disabling that was begun came to nothing",
    NoteKind.REENABLED: "a person re-enabled it",
    NoteKind.EXEMPT: "it is exempt, so that warnings given before do not count",
}


def describe_found(action: FileIssue, issue_key: str) -> str:
    """What a real run would do instead of filing, where a look has found an open issue: one line."""
    return f"would file no issue for {name_key(action.key)}: {issue_key} is open"


def describe_skip(skip: Skip) -> str:
    """What is due and would not be done, for --dry-run and -v."""
    name = name_access_key(skip.key) if isinstance(skip.key, KeyRecord) else name_key(skip.key)
    return f"would not {skip.what}: {name}: {skip.reason.value}"


def skip_problems(skips: Iterable[Skip], profile: str, *, issues_are_filed: bool) -> list[Problem]:
    """One line a reason, however many access keys: a warning where a person should act, else only with -v.

    A user without a known owner is a warning only where no issue tells anybody either.
    """
    grouped: dict[SkipReason, list[LabelledKey | KeyRecord]] = {}
    for skip in skips:
        grouped.setdefault(skip.reason, []).append(skip.key)
    problems = []
    for reason, keys in grouped.items():
        unique = sorted(set(keys), key=_oldest_first)
        level, text = _skip_words(reason, _count(unique), issues_are_filed=issues_are_filed)
        problems.append(Problem(level, profile, f"{text}: {_some(unique)}"))
    return problems


def _skip_words(reason: SkipReason, count: str, *, issues_are_filed: bool) -> tuple[Level, str]:
    said = reason.value
    match reason:
        case (
            SkipReason.NOBODY_TOLD
            | SkipReason.BRAKE
            | SkipReason.IN_USE
            | SkipReason.SCAN_BROKEN
            | SkipReason.BAD_EXEMPT_TAG
        ):
            return Level.WARNING, f"{count} not disabled: {said}"
        case SkipReason.TOO_MANY_ISSUES:
            text = f"no further issue for {count}: {said}, and Jira's search shows none open"
            return Level.WARNING, f"{text}; look for a workflow that closes them"
        case SkipReason.BAD_RECORD:
            return Level.WARNING, f"nothing done for {count}: {said}"
        case SkipReason.BAD_ADDRESSEE:
            return Level.WARNING, f"nobody was nagged about {count}: {said}"
        case SkipReason.OUT_OF_TIME:
            return Level.WARNING, f"actions on {count} are left for the next run: {said}; see run_timeout_seconds"
        case SkipReason.UNKNOWN_OWNER:
            return Level.INFO if issues_are_filed else Level.WARNING, f"nobody was nagged about {count}: {said}"
        case (
            SkipReason.EXEMPTIONS_UNREAD
            | SkipReason.TAGS_UNREAD
            | SkipReason.OWNER_UNREAD
            | SkipReason.NOTICE
            | SkipReason.EXEMPT
            | SkipReason.REENABLED
            | SkipReason.JUST_DISABLED
            | SkipReason.NO_STATE
            | SkipReason.JIRA_OFF
            | SkipReason.SLACK_OFF
            | SkipReason.OWN_ACCESS_KEY
            | SkipReason.CLAIMED
            | SkipReason.RETRY_LATER
        ):
            return Level.INFO, f"nothing done for {count}: {said}"


def issue_refused(field_errors: Mapping[str, str], messages: Sequence[str], issue_type: str) -> str:
    """Why Jira refused a new issue (HTTP 400), by field, and the setting to change."""
    if not field_errors:
        said = _one_line("; ".join(messages))[:200] or "no reason given"
        return f"Jira refused the new issue: {said}; see jira_project_key, jira_issue_type and jira_extra_fields"
    settings = {
        "issuetype": f"set jira_issue_type (now {issue_type!r}) to a type of that project",
        "project": "set jira_project_key to a project that the account may create issues in",
        "labels": "put the field Labels on the project's create screen",
        "summary": "",
        "description": "put the field Description on the project's create screen",
    }
    parts = []
    for name, said in field_errors.items():
        advice = settings.get(name, f"give {name!r} a value in jira_extra_fields")
        parts.append(f"field {name!r}: {_one_line(said)[:120]}" + (f" -> {advice}" if advice else ""))
    return "Jira refused the new issue: " + "; ".join(parts)


# The parts. Dates are days in UTC: an hour is no help to the owner of an access key that is months old.


def _day(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d}"


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def _standing(key: LabelledKey) -> str:
    if key.label is AgeLabel.EXPIRED:
        return f"expired on {_day(key.expires_at)}: it is {_days(key.age_days)} old."
    return f"expires on {_day(key.expires_at)}: it is {_days(key.age_days)} old."


def _what_happens(standing: Standing) -> str:
    day = "" if standing.day is None else _day(standing.day)
    match standing.fate:
        case Fate.STAYS_ACTIVE:
            return "it stays active, and at risk, until somebody rotates it or it is disabled."
        case Fate.NEVER_DISABLED:
            return (
                "it is not disabled, since keycheck itself depends on it; it stays at risk until somebody rotates it."
            )
        case Fate.DISABLED_FROM:
            return f"from {day} on it is disabled (AWS status Inactive, not deleted); what still uses it stops working."
        case Fate.DISABLED_NOW:
            return "it is being disabled now (AWS status Inactive, not deleted), and what still uses it stops working."
        case Fate.IN_USE:
            return "it was to be disabled, but it is still in use; it is disabled as soon as nothing uses it any more."
        case Fate.LEFT_ALONE:
            return f"a person re-enabled it, so it is left alone; from {day} on it is disabled again."


def _last_use(last_use: LastUse | None) -> str:
    """When and by what an access key was last used; AWS began to note that in April 2015."""
    if last_use is None:
        return "could not be read"
    if last_use.at is None:
        return "never, as far as AWS knows"
    return f"{_day(last_use.at)} by {last_use.service} in {last_use.region}"


def _remarks(standing: Standing) -> list[str]:
    """What else the owner should know, a sentence each."""
    remarks = []
    if standing.newer is not None:
        remarks.append(
            f"Your new access key ends in {standing.newer}; once nothing uses the old one, deactivate the old one."
        )
    if standing.ended_exemption is not None:
        remarks.append(f"It was exempt until {standing.ended_exemption:%Y-%m-%d}; that has ended.")
    if standing.tag_trouble:
        remarks.append(f"Its exemption does not count: {standing.tag_trouble}.")
    return remarks


def _crowded(user_name: str, standing: Standing) -> list[str]:
    """AWS refuses a third access key, so the first step of a rotation would fail."""
    if standing.key_count < ACCESS_KEYS_AT_MOST or standing.newer is not None:
        return []
    return [
        f"{user_name} has {standing.key_count} access keys already, and AWS allows no third.",
        "If one of the others is the replacement, begin at step 2; if not, first delete one that is not in use.",
    ]


def _user_option(user_name: str) -> str:
    return f"--user-name{'=' if user_name.startswith('-') else ' '}{_shell(user_name)}"


def _commands(user_name: str, access_key_id: str | None, last_five: str, fate: Fate = Fate.STAYS_ACTIVE) -> list[str]:
    """The AWS CLI steps: create, switch, deactivate, delete. Without the id, a step to find it comes first; with
    keycheck deactivating it anyway, that step has no command.
    """
    user = _user_option(user_name)
    key = f"--access-key-id {access_key_id or 'OLD_ACCESS_KEY_ID'}"
    deactivate = [
        "# 3. keycheck deactivates the old one now; by hand it is"
        if fate is Fate.DISABLED_NOW
        else "# 3. deactivate the old one",
        f"aws iam update-access-key {user} {key} --status Inactive",
        "# to undo that, whoever did it",
        f"aws iam update-access-key {user} {key} --status Active",
    ]
    find = [
        f"# 0. find the full id of the access key that ends in {last_five}",
        f"aws iam list-access-keys {user}",
    ]
    return [
        *([] if access_key_id else find),
        "# 1. create the new access key; it is shown only this once",
        f"aws iam create-access-key {user}",
        "# 2. put it wherever the old one is used; then see when and where the old one was last used",
        f"aws iam get-access-key-last-used {key}",
        *deactivate,
        "# 4. nothing broke for a few days? delete it",
        f"aws iam delete-access-key {user} {key}",
    ]


def _key_commands(key: MessageKey, *, person: bool) -> list[str]:
    access_key = key.key.access_key
    commands = _commands(
        access_key.user_name, access_key.access_key_id if person else None, access_key.last_five, key.standing.fate
    )
    return [*(f"# {line}" for line in _crowded(access_key.user_name, key.standing)), *commands]


def _key_in_full(key: MessageKey, link: str | None, *, person: bool) -> str:
    access_key = key.key.access_key
    identity = f"`{access_key.access_key_id}`" if person else f"ending in `{access_key.last_five}`"
    expiry = "Expired" if key.key.label is AgeLabel.EXPIRED else "Expires"
    lines = [
        f"*`{_tick(access_key.user_name)}`* · access key {identity}",
        f"• {_days(key.key.age_days)} old, created {_day(access_key.create_date)}",
        f"• {expiry} {_day(key.key.expires_at)}",
        f"• Last used: {_mrkdwn(_last_use(key.standing.last_use))}",
        f"• What happens then: {_what_happens(key.standing)}",
        *(f"• {_mrkdwn(remark)}" for remark in _remarks(key.standing)),
    ]
    if link:
        lines.append(f"• Issue: {link}")
    return "\n".join(lines)


def _key_in_short(key: MessageKey, link: str | None) -> str:
    access_key = key.key.access_key
    expiry = "expired" if key.key.label is AgeLabel.EXPIRED else "expires"
    day = "" if key.standing.day is None else _day(key.standing.day)
    then = {
        Fate.STAYS_ACTIVE: ", stays active",
        Fate.NEVER_DISABLED: ", never disabled",
        Fate.DISABLED_FROM: f", disabled from {day} on",
        Fate.DISABLED_NOW: ", being disabled now",
        Fate.IN_USE: f", in use ({_mrkdwn(_last_use(key.standing.last_use))})",
        Fate.LEFT_ALONE: f", re-enabled, disabled again from {day} on",
    }[key.standing.fate]
    issue = f" · {link}" if link else ""
    return (
        f"• `{_tick(access_key.user_name)}` ...{access_key.last_five}: {_days(key.key.age_days)} old, {expiry} "
        f"{_day(key.key.expires_at)}{then}{issue}"
    )


def _issue_link(jira_address: str | None, issue_key: str) -> str:
    if jira_address is None:
        return _mrkdwn(issue_key)
    return f"<{jira_address.rstrip('/')}/browse/{issue_key}|{_mrkdwn(issue_key)}>"


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _code(lines: Iterable[str]) -> str:
    return "```" + _mrkdwn("\n".join(lines)) + "```"


def _packed(lines: Iterable[str]) -> list[str]:
    """Join lines into as few sections as Slack's limit allows."""
    parts: list[str] = []
    for line in lines:
        if parts and len(parts[-1]) + 1 + len(line) <= SECTION_CHARACTERS:
            parts[-1] += "\n" + line
        else:
            parts.append(line)
    return parts


def _mrkdwn(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _tick(text: str) -> str:
    """Text for between backticks, where Slack styles nothing: user names hold _ and +."""
    return _mrkdwn(_one_line(text).replace("`", "'"))


def _wiki(text: str) -> str:
    """Escape what Jira's wiki markup would style; user names hold _ + - and @."""
    return "".join(f"\\{c}" if c in "*_-+^~{}[]!|?" else "&#92;" if c == "\\" else c for c in _one_line(text))


def _shell(text: str) -> str:
    """A user name as a shell word. IAM allows none of the shell's own characters; anything else is quoted."""
    if text and all((c.isalnum() and c.isascii()) or c in "+=,.@_-" for c in text):
        return text
    return "'" + text.replace("'", "'\\''") + "'"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def name_key(key: LabelledKey) -> str:
    """An access key as lines on stderr name it: never in full."""
    access_key = key.access_key
    return (
        f"access key ...{access_key.last_five} of {access_key.user_name} ({key.label.value}, {_days(key.age_days)} old)"
    )


def name_access_key(record: KeyRecord) -> str:
    """An access key that AWS no longer shows, as lines on stderr name it."""
    return f"access key ...{record.access_key_id[-5:]} of {record.user_name or 'an unknown user'}"


def _oldest_first(key: LabelledKey | KeyRecord) -> tuple[int, str, str]:
    if isinstance(key, KeyRecord):
        return (0, key.user_name, key.access_key_id[-5:])
    return (-key.age_days, key.access_key.user_name, key.access_key.last_five)


def _count(keys: Sequence[LabelledKey | KeyRecord]) -> str:
    return "1 access key" if len(keys) == 1 else f"{len(keys)} access keys"


def _some(keys: Sequence[LabelledKey | KeyRecord]) -> str:
    names = Counter(
        f"{key.user_name} ...{key.access_key_id[-5:]}"
        if isinstance(key, KeyRecord)
        else f"{key.access_key.user_name} ...{key.access_key.last_five}"
        for key in keys
    )
    shown = list(names)[:5]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")
