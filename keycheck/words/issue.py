"""The issue of one access key, and the comments on it. Pure.

In: actions of a plan. Out: summary, description, labels, comments. An issue has more readers than its owner, so the
access key is named by its last five characters. Jira: the wiki markup that REST API 2 takes on Cloud and Data Center
alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from keycheck.actions import CommentIssue, FileIssue, IssueEvent
from keycheck.model import AccessKey, AgeLabel, LabelledKey
from keycheck.words.parts import (
    NO_KEY_NEEDED,
    NO_KEY_PAGE,
    ROTATION_PAGE,
    Stage,
    asks,
    check_account,
    cut_name,
    day_of,
    days,
    find_key,
    one_line,
    rotation,
    user_option,
    what_happens,
    when_used,
    worth_knowing,
)

FAMILY_LABEL = "AWS-User-Key-Rotation"


@dataclass(frozen=True, slots=True)
class IssueDraft:
    """What a new issue says; jira_issues.py adds project, issue type and the extra fields of the settings."""

    summary: str
    description: str
    labels: tuple[str, ...]


def issue_draft(action: FileIssue, profile: str, help_contact: str | None = None) -> IssueDraft:
    """Return the issue for one access key. It has more readers than the owner, so it names the last five characters.

    `help_contact`: whom it names for questions.
    """
    key, access_key = action.key, action.key.access_key
    where = f"AWS account *{_wiki(profile)}* ({access_key.account_id}) {_outlook(key)}"
    summary = f"Rotate AWS access key ...{access_key.last_five} of {access_key.user_name} ({profile})"
    description = "\n".join(
        (
            f"The access key ending in *{access_key.last_five}* of IAM user *{_wiki(access_key.user_name)}* in {where}",
            "",
            f"* Created: {day_of(access_key.create_date)}",
            f"* Age when this was filed: {days(key.age_days)}",
            f"* {'Expired' if key.label is AgeLabel.EXPIRED else 'Expires'}: {day_of(key.expires_at)}",
            f"* Last used: {_wiki(when_used(action.outlook.last_use))}",
            f"* What happens then: {_wiki(what_happens(action.outlook))}",
            *(f"* {_wiki(line)}" for line in worth_knowing(action.outlook)),
            "",
            "h3. What to do",
            f"{_wiki(NO_KEY_NEEDED)} {NO_KEY_PAGE}",
            "",
            *_steps((check_account(access_key.account_id),)),
            *_steps(rotation(access_key.user_name, None, access_key.last_five, action.outlook)),
            "",
            *(_wiki(line) for line in asks(help_contact)),
            f"AWS on rotating access keys: {ROTATION_PAGE}",
            "",
            "Filed by keycheck, which files no second issue for this access key while this one is open.",
        )
    )
    return IssueDraft(
        summary=one_line(summary)[:250], description=description, labels=(FAMILY_LABEL, access_key.issue_label)
    )


def marker_line(marker: str) -> str:
    """Return the last line of a comment of ours, by which a later run finds that it was said: the same in every run."""
    return f"keycheck noted: {marker}."


def comment_text(action: CommentIssue, profile: str) -> str:
    """Return a comment on the issue of one access key, named by its last five characters. It ends with its marker."""
    record, outlook, key = action.record, action.outlook, action.key
    user_name = key.access_key.user_name if key is not None else record.user_name
    name = f"The access key ending in *{record.access_key_id[-5:]}* of *{_wiki(user_name)}* ({_wiki(profile)})"
    find = find_key(user_name, record.access_key_id[-5:])
    undo = Stage(
        "Something needs it still? This undoes it:",
        (f'aws iam update-access-key {user_option(user_name)} --access-key-id "$KEY" --status Active',),
    )
    on = f" on {day_of(action.at)}" if action.at is not None else ""
    next_up = [] if outlook is None else [f"What happens next: {_wiki(what_happens(outlook))}"]
    match action.event:
        case IssueEvent.IN_USE:
            used = when_used(outlook.last_use if outlook is not None else None)
            lines = [
                f"{name} has expired and was to be disabled, but it is still in use: {_wiki(used)}.",
                "Whoever uses it must get the new one first.",
            ]
        case IssueEvent.DISABLED:
            lines = [f"keycheck disabled it{on}: {name} is Inactive, not deleted.", *_steps((find, undo))]
        case IssueEvent.REENABLED if record.disabled is None:
            lines = [f"{name} was inactive, or was being disabled, and is active again.", *next_up]
        case _:
            lines = [_NEWS[action.event].format(name=name, on=on), *next_up]
    return "\n".join([*lines, "", marker_line(action.comment_marker)])


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


def issue_refused(field_errors: Mapping[str, str], messages: Sequence[str], issue_type: str) -> str:
    """Return why Jira refused a new issue (HTTP 400), by field, and the setting to change."""
    if not field_errors:
        said = one_line("; ".join(messages))[:200] or "no reason given"
        return f"Jira refused the new issue: {said}; see jira_project_key, jira_issue_type and jira_extra_fields"
    settings = {
        "issuetype": f"set jira_issue_type (now {cut_name(issue_type)}) to a type of that project",
        "project": "set jira_project_key to a project that the account may create issues in",
        **dict.fromkeys(("labels", "summary", "description"), ""),
    }
    parts = []
    for name, said in field_errors.items():
        advice = settings.get(name, f"give {name!r} a value in jira_extra_fields")
        if "screen" in said.lower():
            own = name not in ("labels", "summary", "description")
            advice = f"put {name!r} on the project's create screen" + (", or leave it out of jira_extra_fields" * own)
        parts.append(f"field {name!r}: {one_line(said)[:120]}" + (f" -> {advice}" if advice else ""))
    return "Jira refused the new issue: " + "; ".join(parts)


def _steps(stages: Iterable[Stage]) -> list[str]:
    """Return the steps, each with a block of its own."""
    lines = []
    for one in stages:
        lines += [_wiki(one.text), *(("{code:bash}", *one.commands, "{code}") if one.commands else ())]
    return lines


def _outlook(key: LabelledKey) -> str:
    if key.label is AgeLabel.EXPIRED:
        return f"expired on {day_of(key.expires_at)}: it is {days(key.age_days)} old."
    return f"expires on {day_of(key.expires_at)}: it is {days(key.age_days)} old."


def _wiki(text: str) -> str:
    """Escape what Jira's wiki markup would style; user names hold _ + - and @."""
    return "".join(f"\\{c}" if c in "*_-+^~{}[]!|?" else "&#92;" if c == "\\" else c for c in one_line(text))


OF_ORIGINAL = re.compile(
    r"AWS Access Key must be rotated for (?P<user>\S{1,128}) with Key ID ending in \\?\*+(?P<last>\w{5})\. "
    r".*?The AccountAlias is (?P<account>\S{1,200})",
    re.DOTALL,
)
"""How lacework/ops begins the description of an issue (iam-accesskey-check.py, create_jira_ticket)."""


def is_by_original(description: str, access_key: AccessKey, profile: str) -> bool:
    """Return whether lacework/ops has filed an issue for this very access key: user, account and last five characters
    must all be the same; the last alone identify nothing.
    """
    found = OF_ORIGINAL.match(description.lstrip())
    if found is None:
        return False
    is_user = found["user"].casefold() == access_key.user_name.casefold()
    is_account = found["account"].casefold() == profile.casefold()
    return is_user and is_account and bool(found["last"] == access_key.last_five)
