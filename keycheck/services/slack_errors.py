"""What Slack's words mean: was the message posted, whom is the answer about, and what helps. Data.

In: the `error` of an answer `ok: false`. Out: a row of the table. Only `ok: true` means done. A word that is not in the
table says no more than that this one call was refused.

The words are those of docs.slack.dev: chat.postMessage, users.info and users.lookupByEmail, errors.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from keycheck.services import Failure
from keycheck.words.parts import WHY_GONE


class About(enum.Enum):
    """Whom an answer is about. MESSAGE: what was sent. ADDRESSEE: who was to get it. ALL: every call of this run."""

    MESSAGE = enum.auto()
    ADDRESSEE = enum.auto()
    ALL = enum.auto()


@dataclass(frozen=True, slots=True)
class SlackError:
    """`failure` UNKNOWN: Slack itself says that some of it may have succeeded. `advice`: what helps, or nothing."""

    failure: Failure
    about: About
    advice: str = ""


def _refused(about: About, advice: str = "") -> SlackError:
    return SlackError(Failure.REFUSED, about, advice)


def _gone(advice: str) -> SlackError:
    """Refused, and so it will be until a person acts."""
    return SlackError(Failure.GONE, About.ADDRESSEE, advice)


_RENEW = "put a new one into credstash"
_MAYBE = SlackError(Failure.UNKNOWN, About.MESSAGE)
_TOO_BIG = _refused(About.MESSAGE, "please report it: keycheck keeps its messages below Slack's limits")
_MALFORMED = _refused(About.MESSAGE, "please report it, or look for a proxy that changes requests")
_LATER = _refused(About.MESSAGE, "the next run tries again")
_POLICY = "a preference of the workspace forbids it; let the bot post there, or name another owner"

SLACK_ERRORS: Final[Mapping[str, SlackError]] = {
    # It may have been posted.
    "fatal_error": _MAYBE,
    "internal_error": _MAYBE,
    # The token, or the workspace as a whole.
    "invalid_auth": _refused(About.ALL, f"the bot token is wrong; {_RENEW}"),
    "not_authed": _refused(About.ALL, "the bot token is empty; put one into credstash"),
    "token_revoked": _refused(About.ALL, f"the bot token was revoked; {_RENEW}"),
    "token_expired": _refused(About.ALL, f"the bot token has expired; {_RENEW}"),
    "account_inactive": _refused(About.ALL, "the bot's account was disabled; put a new token into credstash"),
    "missing_scope": _refused(About.ALL, "the bot needs the scope chat:write"),
    "not_allowed_token_type": _refused(About.ALL, "this is no bot token (xoxb-...); put one into credstash"),
    "two_factor_setup_required": _refused(About.ALL, "the token's owner must set up two-factor sign-in"),
    "org_login_required": _refused(About.ALL, "the workspace is being moved to an Enterprise organization"),
    "team_added_to_org": _refused(About.ALL, "the workspace is being moved to an Enterprise organization"),
    "enterprise_is_restricted": _refused(About.ALL, "the token is an Enterprise organization's; take a workspace's"),
    "accesslimited": _refused(About.ALL, "Slack takes no calls from this network; look at the app's allowed addresses"),
    "deprecated_endpoint": _refused(About.ALL, "Slack has retired this call; update keycheck"),
    "method_deprecated": _refused(About.ALL, "Slack has retired this call; update keycheck"),
    # One person or conversation, until somebody acts.
    "channel_not_found": _gone("the Slack id is wrong, or the bot may not write there"),
    "user_not_found": _gone("the Slack id is wrong"),
    "user_disabled": _gone("that person has left Slack; name another owner"),
    "is_archived": _gone("that channel is archived; name another"),
    "not_in_channel": _gone("invite the bot to that channel"),
    "cannot_dm_bot": _gone("that Slack id is a bot's; name a person"),
    "messages_tab_disabled": _gone("in the settings of the Slack app switch on App Home, Messages Tab"),
    # One person or conversation.
    "no_permission": _refused(About.ADDRESSEE, "make the bot a member of that conversation"),
    "team_access_not_granted": _refused(About.ADDRESSEE, "install the bot in that workspace too"),
    "access_denied": _refused(About.ADDRESSEE, _POLICY),
    "ekm_access_denied": _refused(About.ADDRESSEE, "an administrator has suspended posting there"),
    "restricted_action": _refused(About.ADDRESSEE, _POLICY),
    "restricted_action_read_only_channel": _refused(About.ADDRESSEE, "that channel is read-only; name another"),
    "restricted_action_thread_only_channel": _refused(About.ADDRESSEE, "that channel takes threads only; name another"),
    "restricted_action_non_threadable_channel": _refused(About.ADDRESSEE, _POLICY),
    "user_not_in_channel": _refused(About.ADDRESSEE, "invite the bot to that channel"),
    "user_not_visible": _refused(About.ADDRESSEE, "the bot may not see that person"),
    "users_not_found": _refused(About.ADDRESSEE, "nobody on Slack has that address"),
    "not_in_dm": _refused(About.ADDRESSEE, "the bot is not part of that conversation"),
    # This message.
    **dict.fromkeys(("msg_too_long", "msg_blocks_too_long", "no_text", "too_many_attachments"), _TOO_BIG),
    **dict.fromkeys(
        (
            "as_user_not_supported",
            "invalid_arg_name",
            "invalid_arguments",
            "invalid_array_arg",
            "invalid_blocks",
            "invalid_blocks_format",
            "invalid_charset",
            "invalid_form_data",
            "invalid_json",
            "invalid_post_type",
            "json_not_object",
            "missing_post_type",
            "request_timeout",
        ),
        _MALFORMED,
    ),
    **dict.fromkeys(("message_limit_exceeded", "rate_limited", "ratelimited", "service_unavailable"), _LATER),
}


def slack_error(code: str) -> SlackError:
    """Return what a word of Slack's means; one that is new, or of no concern here, is about whom it was told to."""
    if code in WHY_GONE and code not in SLACK_ERRORS:
        return _gone("")
    return SLACK_ERRORS.get(code, _refused(About.ADDRESSEE))
