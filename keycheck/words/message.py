"""The one message to an addressee about one account. Pure.

In: a SendMessage, links to issues. Out: Slack blocks and their text. The full access key id appears in a direct message
to its owner, and nowhere else (design.md 2). Slack: docs.slack.dev, "Formatting message text" (escape only & <
>) and "Block Kit" (50 blocks, 3000 characters a section).
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from keycheck.actions import MessageKey, SendMessage
from keycheck.model import AgeLabel
from keycheck.words.parts import (
    NO_KEY_NEEDED,
    NO_KEY_PAGE,
    ROTATION_PAGE,
    Stage,
    asks,
    check_account,
    day_of,
    days,
    in_short_when,
    name_in_short,
    one_line,
    rotation,
    what_happens,
    what_happens_in_short,
    when_used,
    worth_knowing,
)

KEYS_IN_FULL = 8
"""A message shows at most so many access keys with their commands, fewer if they do not fit; the others get a line
each, and the commands once for all of them.
"""


SECTION_CHARACTERS = 2900


MESSAGE_CHARACTERS = 12_500


CHARACTERS_A_BLOCK = 125
"""Slack refuses blocks that are too long together (msg_blocks_too_long) and documents no number; measured by others:
some 13,400 characters, of which each block costs about 125 (github.com/slackapi/bolt-js, issue 2509).
"""


@dataclass(frozen=True, slots=True)
class SlackDraft:
    """What chat.postMessage takes: blocks, and the text for notifications and screen readers."""

    text: str
    blocks: tuple[Mapping[str, Any], ...]


def slack_draft(
    action: SendMessage,
    profile: str,
    issue_keys: Mapping[str, str],
    jira_address: str | None,
    interval_hours: int,
    help_contact: str | None = None,
) -> SlackDraft:
    """Return the one message to an addressee about one account.

    `issue_keys`: access key id -> Jira issue key, as known by now; they become links if Jira's address is known.
    `help_contact`: whom it names for questions.
    """
    links = {access_key_id: _issue_link(jira_address, issue) for access_key_id, issue in issue_keys.items()}
    title, foot = _title(action), _foot(action, interval_hours, help_contact)
    named = ", ".join(name_in_short(one.key) for one in action.keys[:3])
    more = ", ..." if len(action.keys) + action.unlisted > 3 else ""
    text = _mrkdwn(one_line(f"{title} (account {profile[:100]}: {named}{more})"))
    most = 0 if action.addressee.is_fallback and len(action.keys) > 1 else min(KEYS_IN_FULL, len(action.keys))
    for in_full in range(most, 0, -1):
        blocks = _blocks(action, profile, links, foot, in_full)
        if _size(blocks) <= MESSAGE_CHARACTERS:
            return SlackDraft(text, blocks)
    for shorter in (links, {one: _mrkdwn(issue) for one, issue in issue_keys.items()}):
        blocks = _blocks(action, profile, shorter, foot, 0)
        if _size(blocks) <= MESSAGE_CHARACTERS:
            return SlackDraft(text, blocks)
    return SlackDraft(text, _blocks(action, profile, {}, foot, 0))


def _title(action: SendMessage) -> str:
    """Return what, and until when: of several, the day of the first."""
    total = len(action.keys) + action.unlisted
    what = "access key needs" if total == 1 else "access keys need"
    first = min(action.keys, key=lambda one: (one.outlook.in_days is None, one.outlook.in_days or 0))
    when = in_short_when(first.outlook)
    until = f": {'' if total == 1 else 'the first is '}{when}" if when else ""
    return f"{total} AWS {what} rotating{' (no known owner)' if action.addressee.is_fallback else ''}{until}"


def _foot(action: SendMessage, interval_hours: int, help_contact: str | None) -> str:
    is_one = len(action.keys) + action.unlisted == 1
    facts = (
        f"<{ROTATION_PAGE}|How AWS says to rotate access keys> · dates are UTC · keycheck repeats this at most every "
        f"{interval_hours} hours, until the old access {'key is' if is_one else 'keys are'} inactive or gone"
    )
    return "\n".join([*(_mrkdwn(one) for one in asks(help_contact)), facts])


def _blocks(
    action: SendMessage, profile: str, links: Mapping[str, str], foot: str, in_full: int
) -> tuple[dict[str, Any], ...]:
    """Return the message with its first `in_full` access keys in full, and the others in a line each."""
    account_id = action.keys[0].key.access_key.account_id
    mentions = "".join(f"<!subteam^{group}> " for group in action.groups)
    blocks = [_section(f"{mentions}:key: *{_title(action)}* · account `{_tick(profile[:100])}` ({account_id})")]
    listed = action.keys[:in_full]
    for one in listed:
        blocks.append({"type": "divider"})
        link = links.get(one.key.access_key.access_key_id)
        blocks.append(_section(_key_in_full(one, link, person=action.addressee.is_person)))
        if one is listed[0]:
            blocks += _before_the_steps(account_id)
        blocks.append(_section(_steps(_rotation_of(one, person=action.addressee.is_person))))
    in_short = [_key_in_short(one, links.get(one.key.access_key.access_key_id)) for one in action.keys[in_full:]]
    if action.unlisted:
        in_short.append(f"... and {action.unlisted} more, whose turn comes with the next messages.")
    if in_short:
        blocks.append({"type": "divider"})
        blocks += [_section(part) for part in _packed(in_short)]
        blocks += [] if listed else _before_the_steps(account_id)
        blocks.append(_section(_steps(rotation("USER_NAME", None, "LAST5"))))
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": foot}]})
    return tuple(blocks)


def _before_the_steps(account_id: str) -> list[dict[str, Any]]:
    """Return what is said once a message: is an access key needed at all, and is this the right account?"""
    no_key = _mrkdwn(NO_KEY_NEEDED).replace("aws login", f"<{NO_KEY_PAGE}|aws login>")
    check = check_account(account_id)
    return [_section(f"{no_key}\n{_mrkdwn(check.text)}"), _section(_code(check.commands))]


def _steps(stages: Iterable[Stage]) -> str:
    """Return the steps, each with a block of its own."""
    return "\n".join(_mrkdwn(one.text) + (f"\n{_code(one.commands)}" if one.commands else "") for one in stages)


def _size(blocks: Iterable[Mapping[str, Any]]) -> int:
    """Return what Slack counts of the blocks, as near as is known."""
    return sum(CHARACTERS_A_BLOCK + len(block.get("text", {}).get("text", "")) for block in blocks)


def _rotation_of(key: MessageKey, *, person: bool) -> tuple[Stage, ...]:
    access_key = key.key.access_key
    access_key_id = access_key.access_key_id if person else None
    return rotation(access_key.user_name, access_key_id, access_key.last_five, key.outlook)


def _key_in_full(key: MessageKey, link: str | None, *, person: bool) -> str:
    access_key = key.key.access_key
    identity = f"`{access_key.access_key_id}`" if person else f"ending in `{access_key.last_five}`"
    expiry = "Expired" if key.key.label is AgeLabel.EXPIRED else "Expires"
    lines = [
        f"*`{_tick(access_key.user_name)}`* · access key {identity}",
        f"• What happens then: {what_happens(key.outlook)}",
        f"• {days(key.key.age_days)} old, created {day_of(access_key.create_date)}",
        f"• {expiry} {day_of(key.key.expires_at)}",
        f"• Last used: {_mrkdwn(when_used(key.outlook.last_use))}",
        *(f"• {_mrkdwn(remark)}" for remark in worth_knowing(key.outlook)),
    ]
    if link:
        lines.append(f"• Issue: {link}")
    return "\n".join(lines)


def _key_in_short(key: MessageKey, link: str | None) -> str:
    access_key = key.key.access_key
    expiry = "expired" if key.key.label is AgeLabel.EXPIRED else "expires"
    then = _mrkdwn(what_happens_in_short(key.outlook))
    issue = f" · {link}" if link else ""
    issue += f" · {_mrkdwn(key.outlook.owner_trouble)}" if key.outlook.owner_trouble else ""
    return (
        f"• `{_tick(access_key.user_name)}` ...{access_key.last_five}: {days(key.key.age_days)} old, {expiry} "
        f"{day_of(key.key.expires_at)}, {then}{issue}"
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
    return html.escape(text, quote=False)


def _tick(text: str) -> str:
    """Text for between backticks, where Slack styles nothing: user names hold _ and +."""
    return _mrkdwn(one_line(text).replace("`", "'"))
