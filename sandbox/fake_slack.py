"""A Slack that knows chat.postMessage, users.info and users.lookupByEmail, and keeps every message that it accepted.

It answers as Slack does: a refusal is HTTP 200 with `ok: false` and a word in `error`; only the rate limit is a 429.
What it refuses is what Slack refuses: a wrong token, an unknown addressee, a message without words, blocks too many
or too long. A message counts as accepted once it is in `messages`, also when the answer to it was then lost.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from sandbox.http_fake import Answer, FakeServer, Fault, Request

POST_MESSAGE = "/api/chat.postMessage"
LOOK_UP = "/api/users.lookupByEmail"
INFO = "/api/users.info"
AUTH_TEST = "/api/auth.test"
BOT_ID = "B0KEYCHECK"

MAX_TEXT = 40_000
MAX_BLOCKS = 50
MAX_SECTION_TEXT = 3_000
MAX_FIELDS, MAX_FIELD_TEXT = 10, 2_000
MAX_HEADER_TEXT = 150
MAX_CONTEXT_ELEMENTS = 10
# Slack documents no limit for all blocks together, but has one (msg_blocks_too_long). Measured by users, in
# slackapi/bolt-js#2509: 13,297 characters in one block pass, and each further block takes some 125 away.
MAX_MESSAGE, BLOCK_WEIGHT = 13_422, 125


def ok_false(error: str) -> Fault:
    """Refuse the message as Slack does: HTTP 200 and this error."""
    return Fault(served=False, answer=_refusal(error))


def rate_limited(retry_after_seconds: int) -> Fault:
    """Refuse the message with 429 and ask to wait so long."""
    return Fault(served=False, answer=_rate_limit(retry_after_seconds))


@dataclass(frozen=True)
class Message:
    """One accepted message. `channel` is the addressee as it was given, be it a user's id or a channel's."""

    channel: str
    text: str
    blocks: tuple[dict[str, Any], ...]
    at: datetime


class FakeSlack(FakeServer):
    """tokens: those that are accepted. unknown: the addressees that this workspace does not have; it has all others.

    rate_per_channel_seconds: where above 0, the least time between two messages to one addressee; Slack's is about 1.
    users (e-mail address -> Slack id), deleted (Slack ids of who has left: messages to them are answered ok all the
    same, as Slack does), bots and scopes are free to be changed.
    """

    def __init__(
        self,
        tokens: Iterable[str],
        *,
        unknown: Iterable[str] = (),
        rate_per_channel_seconds: float = 0,
    ) -> None:
        super().__init__()
        self.tokens = set(tokens)
        self.unknown = set(unknown)
        self.rate_per_channel_seconds = rate_per_channel_seconds
        self.users: dict[str, str] = {}
        self.deleted: set[str] = set()
        self.bots: set[str] = set()
        self.scopes = {"chat:write", "users:read", "users:read.email"}
        self._messages: list[Message] = []
        self._refused: dict[str, str] = {}
        self._last_ts = 0

    @property
    def base_url(self) -> str:
        """For slack_sdk's WebClient(base_url=...)."""
        return f"{self.url}/api/"

    @property
    def messages(self) -> list[Message]:
        """Every accepted message, in order; a copy."""
        with self.lock:
            return list(self._messages)

    def messages_to(self, channel: str) -> list[Message]:
        return [message for message in self.messages if message.channel == channel]

    def refuse(self, channel: str, error: str) -> None:
        """Answer ok:false with this error to every message for one addressee, until `heal`."""
        with self.lock:
            self._refused[channel] = error

    def heal(self) -> None:
        """Drop all faults and all refusals by `refuse`."""
        with self.lock:
            super().heal()
            self._refused.clear()

    def move_back(self, span: timedelta) -> None:
        """Let time pass: every message becomes so much older."""
        with self.lock:
            self._messages = [replace(message, at=message.at - span) for message in self._messages]

    def serve(self, request: Request) -> Answer:
        if not request.path.startswith("/api/"):
            return Answer(404, "<html><body>Page not found</body></html>\n")
        known = {POST_MESSAGE: ("POST",), LOOK_UP: ("GET", "POST"), INFO: ("GET", "POST"), AUTH_TEST: ("POST",)}
        if request.method not in known.get(request.path, ()):
            return _refusal("unknown_method", req_method=request.path.removeprefix("/api/"))
        fields = _fields(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else str(fields.get("token", ""))
        if not token:
            return _refusal("not_authed")
        if token not in self.tokens:
            return _refusal("invalid_auth")
        if request.path == AUTH_TEST:
            about = {"ok": True, "team": "Acme", "user": "keycheck", "team_id": "T0ACME", "user_id": "U0KEYCHECK"}
            return Answer(200, about, {"X-OAuth-Scopes": ",".join(sorted(self.scopes))})
        if request.path == POST_MESSAGE:
            return self._post_message(fields)
        return self._info(request, fields) if request.path == INFO else self._look_up(request, fields)

    def _info(self, request: Request, fields: dict[str, Any]) -> Answer:
        if "users:read" not in self.scopes:
            return _refusal("missing_scope", needed="users:read")
        slack_id = str(fields.get("user") or request.query.get("user") or "")
        if not slack_id or slack_id in self.unknown:
            return _refusal("user_not_found")
        user = {"id": slack_id, "deleted": slack_id in self.deleted, "is_bot": slack_id in self.bots}
        return Answer(200, {"ok": True, "user": user})

    def _look_up(self, request: Request, fields: dict[str, Any]) -> Answer:
        if "users:read.email" not in self.scopes:
            return _refusal("missing_scope", needed="users:read.email")
        email = str(fields.get("email") or request.query.get("email") or "")
        slack_id = {address.lower(): slack_id for address, slack_id in self.users.items()}.get(email.lower())
        if slack_id is None:
            return _refusal("users_not_found")
        return Answer(200, {"ok": True, "user": {"id": slack_id, "deleted": slack_id in self.deleted}})

    def _post_message(self, fields: dict[str, Any]) -> Answer:
        channel, text = str(fields.get("channel") or ""), str(fields.get("text") or "")
        error = self._addressee_error(channel) or _text_error(text, has_blocks=bool(fields.get("blocks")))
        if error is not None:
            return _refusal(error)
        blocks, problems = _read_blocks(fields.get("blocks"))
        if problems:
            messages = [f"[ERROR] {problem}" for problem in problems]
            return _refusal("invalid_blocks", errors=problems, response_metadata={"messages": messages})
        if blocks and sum(len(words) + BLOCK_WEIGHT for words in map(_all_text, blocks)) > MAX_MESSAGE:
            return _refusal("msg_blocks_too_long")

        now = datetime.now(UTC)
        wait_seconds = self._seconds_until_free(channel, now)
        if wait_seconds > 0:
            return _rate_limit(math.ceil(wait_seconds))
        self._messages.append(Message(channel, text, tuple(blocks), now))
        ts = self._new_ts(now)
        posted: dict[str, Any] = {"type": "message", "subtype": "bot_message", "bot_id": BOT_ID, "text": text, "ts": ts}
        if blocks:
            posted["blocks"] = blocks
        return Answer(200, {"ok": True, "channel": _conversation(channel), "ts": ts, "message": posted})

    def _addressee_error(self, channel: str) -> str | None:
        if not channel or channel in self.unknown:
            return "channel_not_found"
        return self._refused.get(channel)

    def _seconds_until_free(self, channel: str, now: datetime) -> float:
        if self.rate_per_channel_seconds <= 0:
            return 0
        earlier = [message.at for message in self._messages if message.channel == channel]
        return max((self.rate_per_channel_seconds - (now - at).total_seconds() for at in earlier), default=0)

    def _new_ts(self, now: datetime) -> str:
        """A message's name in Slack: its time in microseconds, which no two messages share."""
        self._last_ts = max(self._last_ts + 1, int(now.timestamp() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"


def render(message: Message) -> str:
    """The message as a person sees it in Slack, in plain text: its blocks, or its text where it has none.

    Bold and code marks stay; a link becomes "words (address)"; blocks are set apart by an empty line. No newline at
    the end.
    """
    if not message.blocks:
        return _plain(message.text)
    return "\n\n".join(filter(None, map(_render_block, message.blocks)))


def _render_block(block: dict[str, Any]) -> str:
    match block.get("type"):
        case "divider":
            return "---"
        case "section":
            lines = [block["text"]] if block.get("text") else []
            return "\n".join(_render_text(text) for text in [*lines, *block.get("fields", [])])
        case "header":
            return _render_text(block["text"])
        case "context":
            return " ".join(_render_element(element) for element in block["elements"])
        case "actions":
            return "  ".join(_render_element(element) for element in block["elements"])
        case other:
            return f"[{other}]"


def _render_element(element: dict[str, Any]) -> str:
    match element.get("type"):
        case "button":
            words = f"[{_render_text(element['text'])}]"
            return f"{words} ({element['url']})" if "url" in element else words
        case "image":
            return str(element.get("alt_text", ""))
        case _:
            return _render_text(element)


def _render_text(text: dict[str, Any]) -> str:
    words = str(text.get("text", ""))
    return _plain(words) if text.get("type") == "mrkdwn" else _unescape(words)


_ANGLED = re.compile(r"<([^<>|\n]+)(?:\|([^<>\n]*))?>")


def _plain(mrkdwn: str) -> str:
    """mrkdwn without its escapes. Links first: an escaped "<" is no link."""

    def shown(match: re.Match[str]) -> str:
        target, words = match[1], match[2]
        if target[0] in "@#!":
            return target[0].replace("!", "@") + (words or target[1:])
        return f"{words} ({target})" if words else target

    return _unescape(_ANGLED.sub(shown, mrkdwn))


def _unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _fields(request: Request) -> dict[str, Any]:
    """The arguments, from a JSON body or a form."""
    if request.headers.get("content-type", "").startswith("application/json"):
        return request.json if isinstance(request.json, dict) else {}
    form = parse_qs(request.body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[-1] for name, values in form.items()}


def _conversation(channel: str) -> str:
    """Where the message is: for a user's id, the direct message with that user."""
    return f"D{channel[1:]}" if channel[0] in "UW" else channel


def _refusal(error: str, **more: object) -> Answer:
    return Answer(200, {"ok": False, "error": error, **more})


def _rate_limit(retry_after_seconds: int) -> Answer:
    return Answer(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": str(retry_after_seconds)})


def _text_error(text: str, *, has_blocks: bool) -> str | None:
    if not text and not has_blocks:
        return "no_text"
    return "msg_too_long" if len(text) > MAX_TEXT else None


def _read_blocks(given: object) -> tuple[list[dict[str, Any]], list[str]]:
    """The blocks, which a form carries as text, and what is wrong with them in Slack's words."""
    if isinstance(given, str):
        try:
            given = json.loads(given) if given else []
        except ValueError:
            return [], ["must be valid json [json-pointer:/blocks]"]
    if given is None:
        return [], []
    if not isinstance(given, list) or not all(isinstance(block, dict) for block in given):
        return [], ["must be an array of blocks [json-pointer:/blocks]"]
    problems = [f"no more than {MAX_BLOCKS} items allowed [json-pointer:/blocks]"] if len(given) > MAX_BLOCKS else []
    for number, block in enumerate(given):
        problems += _block_problems(block, f"/blocks/{number}")
    return given, problems


def _block_problems(block: dict[str, Any], where: str) -> list[str]:
    match block.get("type"):
        case "section":
            problems = []
            if "text" in block or "fields" not in block:
                problems += _text_problems(block.get("text"), f"{where}/text", MAX_SECTION_TEXT)
            if "fields" in block:
                problems += _list_problems(block["fields"], f"{where}/fields", MAX_FIELDS, MAX_FIELD_TEXT)
            return problems
        case "header":
            return _text_problems(block.get("text"), f"{where}/text", MAX_HEADER_TEXT, types=("plain_text",))
        case "context":
            elements = block.get("elements")
            return _list_problems(elements, f"{where}/elements", MAX_CONTEXT_ELEMENTS, MAX_SECTION_TEXT)
        case "divider" | "actions" | "image" | "rich_text":
            return []
        case _:
            return [f"unsupported type: {block.get('type')} [json-pointer:{where}/type]"]


def _list_problems(given: object, where: str, most: int, most_text: int) -> list[str]:
    if not isinstance(given, list) or not given:
        return [f"no fewer than 1 items required [json-pointer:{where}]"]
    problems = [f"no more than {most} items allowed [json-pointer:{where}]"] if len(given) > most else []
    for number, text in enumerate(given):
        if not (isinstance(text, dict) and text.get("type") == "image"):
            problems += _text_problems(text, f"{where}/{number}", most_text)
    return problems


def _text_problems(text: object, where: str, most: int, types: tuple[str, ...] = ("mrkdwn", "plain_text")) -> list[str]:
    match text:
        case {"type": str(kind), "text": str(words)} if kind in types:
            if not words:
                return [f"must be more than 0 characters [json-pointer:{where}/text]"]
            if len(words) > most:
                return [f"must be less than {most + 1} characters [json-pointer:{where}/text]"]
            return []
        case _:
            return [f"must be a text object: {' or '.join(types)} [json-pointer:{where}]"]


def _all_text(node: object) -> str:
    """All words under a block, joined."""
    match node:
        case {"text": str(words)}:
            return words
        case dict():
            return "".join(map(_all_text, node.values()))
        case list():
            return "".join(map(_all_text, node))
        case _:
            return ""
