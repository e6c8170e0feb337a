"""What every word about an access key is made of: days, what happens next, the commands of a rotation. Pure.

Dates are days in UTC: an hour is no help to the owner of an access key that is months old.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from keycheck.actions import NextStep, Outlook
from keycheck.model import KeyRecord, LabelledKey, LastUse
from keycheck.tokens import kind_of_secret

NAMES_SHOWN: Final = 5
CHARACTERS_SHOWN: Final = 12
NAME_CHARACTERS_SHOWN: Final = 20
ROTATION_PAGE = "https://docs.aws.amazon.com/IAM/latest/UserGuide/id-credentials-access-keys-update.html"
ACCESS_KEYS_AT_MOST = 2
"""AWS's quota of access keys a user: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""


def day_of(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d}"


def days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of a NextStep: the sentence after "What happens then", and a few words in a list of many."""

    in_full: str
    in_short: str


TOLD: Final[Mapping[NextStep, Told]] = {
    NextStep.STAYS_ACTIVE: Told(
        "it stays active, and at risk, until somebody rotates it or it is disabled.",
        "stays active",
    ),
    NextStep.NEVER_DISABLED: Told(
        "it is not disabled, since keycheck itself depends on it; it stays at risk until somebody rotates it.",
        "never disabled",
    ),
    NextStep.STAYS_UNOWNED: Told(
        "it is not disabled, since nobody is known to own it; it stays at risk until somebody rotates it or names its "
        "owner.",
        "stays active: nobody is known to own it",
    ),
    NextStep.DISABLED_FROM: Told(
        "from {day} on it is disabled (AWS status Inactive, not deleted); what still uses it stops working.",
        "disabled from {day} on",
    ),
    NextStep.DUE: Told(
        "its day has come: it is disabled at any time from now on, as soon as its turn comes (AWS status Inactive, not "
        "deleted); what still uses it stops working then.",
        "disabled any day now",
    ),
    NextStep.DISABLED_NOW: Told(
        "it is being disabled now (AWS status Inactive, not deleted), and what still uses it stops working.",
        "being disabled now",
    ),
    NextStep.IN_USE: Told(
        "it was to be disabled, but it is still in use; it is disabled as soon as nothing uses it any more.",
        "in use ({used})",
    ),
    NextStep.LEFT_ALONE: Told(
        "it was inactive and is active again, so it is left alone until {day}; after that it is given a new notice.",
        "active again, left alone until {day}",
    ),
}


def what_happens(outlook: Outlook) -> str:
    return _filled_in(TOLD[outlook.next_step].in_full, outlook)


def what_happens_in_short(outlook: Outlook) -> str:
    return _filled_in(TOLD[outlook.next_step].in_short, outlook)


def _filled_in(text: str, outlook: Outlook) -> str:
    day = "" if outlook.day is None else day_of(outlook.day)
    return text.format(day=day, used=when_used(outlook.last_use))


def when_used(last_use: LastUse | None) -> str:
    """Return when and by what an access key was last used; AWS began to note that in April 2015."""
    if last_use is None:
        return "could not be read"
    if last_use.at is None:
        return "never, as far as AWS knows"
    return f"{day_of(last_use.at)} by {last_use.service} in {last_use.region}"


def in_short_when(outlook: Outlook) -> str:
    """Return the day and how far off it is, for a title: empty if no day is told."""
    match outlook.next_step:
        case NextStep.DISABLED_FROM if outlook.day is not None and outlook.in_days is not None:
            return f"disabled on {day_of(outlook.day)}, in {days(outlook.in_days)}"
        case NextStep.DISABLED_NOW | NextStep.DUE:
            return TOLD[outlook.next_step].in_short
    return ""


def worth_knowing(outlook: Outlook) -> list[str]:
    """Return what else the owner should know, a sentence each."""
    found = []
    if outlook.newer is not None:
        found.append(_about_newer(outlook))
    if outlook.ended_exemption is not None:
        found.append(f"It was exempt until {outlook.ended_exemption:%Y-%m-%d}; that has ended.")
    if outlook.owner_trouble:
        found.append(f"Nobody else could be told: {outlook.owner_trouble}.")
    if outlook.tag_trouble:
        found.append(f"Its exemption does not count: {outlook.tag_trouble}.")
    return found


def _about_newer(outlook: Outlook) -> str:
    """Whoever has made the new access key already wants to know whether the old one is still used."""
    made = "" if outlook.newer_since is None else f", made on {day_of(outlook.newer_since)},"
    found, last = f"Your new access key{made} ends in {outlook.newer}", outlook.last_use
    if last is None or outlook.newer_since is None:
        return f"{found}; deactivate the old one once nothing uses it."
    if last.at is not None and last.at >= outlook.newer_since:
        return f"{found}; the old one has been used since: {when_used(last)}."
    return f"{found}; the old one has not been used since, as far as AWS knows, so deactivate it."


# What to do

NO_KEY_PAGE = "https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-sign-in.html"
NO_KEY_NEEDED = (
    "Do you need an access key at all? A person at a laptop has aws login (AWS CLI 2.32 or later) or IAM Identity "
    "Center, a workload a role: the best rotation is none."
)
UNDO_AND_DELETE = (
    'If something breaks, the same command with "Active" in place of "Inactive" undoes it, whoever did it. If nothing '
    "has broken for some days, delete the old access key: aws iam delete-access-key, with the same two options."
)


@dataclass(frozen=True, slots=True)
class Stage:
    """One thing to do: what to read, and a block to copy, which may be pasted whole; empty if there is none."""

    text: str
    commands: tuple[str, ...] = ()


def check_account(account_id: str) -> Stage:
    """Return how to see, before anything is typed, that it is typed into the right account."""
    return Stage(
        f"First see where you are; this must say {account_id}:",
        ("aws sts get-caller-identity --query Account --output text",),
    )


def rotation(
    user_name: str, access_key_id: str | None, last_five: str, outlook: Outlook | None = None
) -> tuple[Stage, ...]:
    """Return the steps of a rotation. Pasted whole, no block deletes an access key, or makes one and takes one away.

    Without the id a step that finds it comes first, and it is typed no more. `outlook` None: of any of several.
    """
    user = user_option(user_name)
    key = f"--access-key-id {access_key_id}" if access_key_id else '--access-key-id "$KEY"'
    stages = [] if access_key_id else [find_key(user_name, last_five)]
    stages += _making(user_name, outlook)
    used = Stage(
        "Put the new one wherever the old one is used; then see when and where the old one was last used:",
        (f"aws iam get-access-key-last-used {key}",),
    )
    is_now = outlook is not None and outlook.next_step is NextStep.DISABLED_NOW
    deactivate = Stage(
        "Deactivate the old one (keycheck does so now; by hand it is):" if is_now else "Deactivate the old one:",
        (f"aws iam update-access-key {user} {key} --status Inactive",),
    )
    numbered = [*stages, used, deactivate]
    return (*(Stage(f"{n}. {one.text}", one.commands) for n, one in enumerate(numbered, 1)), Stage(UNDO_AND_DELETE))


def find_key(user_name: str, last_five: str) -> Stage:
    """Return how to find the full id of an access key of which only its end is told, for the blocks that follow."""
    ends = f"AccessKeyMetadata[?ends_with(AccessKeyId, '{last_five}')].AccessKeyId"
    find = f'KEY=$(aws iam list-access-keys {user_option(user_name)} --query "{ends}" --output text); echo "$KEY"'
    return Stage(f"Find the full id of the access key that ends in {last_five}:", (find,))


def _making(user_name: str, outlook: Outlook | None) -> list[Stage]:
    """Return the step that makes the new access key: none for whoever has made it. AWS refuses a third."""
    if outlook is not None and outlook.newer is not None:
        return []
    if outlook is not None and outlook.key_count >= ACCESS_KEYS_AT_MOST:
        text = (
            f"{user_name} has {outlook.key_count} access keys already, and AWS allows no third. If one of the others "
        )
        text += "is the replacement, go on; if not, delete one first that is not in use: aws iam delete-access-key."
        return [Stage(text)]
    command = f"aws iam create-access-key {user_option(user_name)}"
    return [Stage("Make the new access key; it is shown only this once:", (command,))]


def asks(help_contact: str | None) -> list[str]:
    """Return whom to ask, if the settings name anybody."""
    return [] if help_contact is None else [f"Not yours, or more time needed? Ask {help_contact}"]


def user_option(user_name: str) -> str:
    return f"--user-name{'=' if user_name.startswith('-') else ' '}{shlex.quote(user_name)}"


WHY_GONE: Final[Mapping[str, str]] = {
    "deleted": "has left Slack",
    "user_disabled": "has left Slack",
    "is_bot": "is a bot",
    "cannot_dm_bot": "is a bot",
    "user_not_found": "is nobody's Slack id",
    "channel_not_found": "is no channel that the bot can see",
    "is_archived": "is an archived channel",
    "not_in_channel": "is a channel that the bot is not in",
    "messages_tab_disabled": "takes no messages from apps",
}
"""Slack's words for an addressee who cannot be told until somebody acts: docs.slack.dev, chat.postMessage and
users.info.
"""


def why_gone(code: str) -> str:
    return WHY_GONE.get(code, "cannot be told on Slack")


def one_line(text: str) -> str:
    return " ".join(text.split())


def shown(text: str, long: str = "a value of {count} characters") -> str:
    """Return a wrong value, as a message may repeat it. A long one could be a secret in the wrong place: its length
    alone.
    """
    is_shown = len(text) <= CHARACTERS_SHOWN and kind_of_secret(text) is None
    return repr(text) if is_shown else long.format(count=len(text))


def cut_name(text: str, quote: str = "'") -> str:
    """Return the name of something that was not found, as a message repeats it: of a long one, which could be a secret
    in the wrong place, a few characters.
    """
    if len(text) <= NAME_CHARACTERS_SHOWN and kind_of_secret(text) is None:
        return f"{quote}{text}{quote}"
    return f"{quote}{text[:4]}...{quote} ({len(text)} characters)"


def unexpected(error: BaseException, where: str = "") -> str:
    """Say that a fault of ours came up, and nothing of what it holds. `where`: `while acting`, say."""
    return f"unexpected {type(error).__name__}{where and f' {where}'}; please report it"


def list_cut(names: Sequence[str]) -> str:
    """Return the first five, and whether there are more."""
    return ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")


def name_key(key: LabelledKey | KeyRecord) -> str:
    """Return an access key as lines on stderr name it: never in full. AWS no longer shows that of a KeyRecord."""
    if isinstance(key, KeyRecord):
        return f"access key ...{key.access_key_id[-5:]} of {key.user_name or 'an unknown user'}"
    access_key = key.access_key
    return (
        f"access key ...{access_key.last_five} of {access_key.user_name} ({key.label.value}, {days(key.age_days)} old)"
    )


def name_in_short(key: LabelledKey | KeyRecord) -> str:
    """Return an access key as a list of several names it."""
    if isinstance(key, KeyRecord):
        return f"{key.user_name} ...{key.access_key_id[-5:]}"
    return f"{key.access_key.user_name} ...{key.access_key.last_five}"
