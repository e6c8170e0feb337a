"""What is written about, for the tests of words/: access keys, actions, the texts of a draft. No test stands here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from keycheck.actions import (
    FileIssue,
    MessageKey,
    NextStep,
    Outlook,
    SendMessage,
)
from keycheck.model import KeyRecord, LabelledKey, LastUse
from keycheck.words.message import SlackDraft, slack_draft
from tests.builders import PROFILE, make_addressee, make_key

JIRA = "https://example.atlassian.net"
FULL_ID = "AKIAIOSFODNN7EXVHXVM"
EXPIRED = make_key(age_days=197)
EXPIRING = make_key(age_days=170)
DAY = datetime(2026, 12, 3, tzinfo=UTC)
USED = LastUse(datetime(2026, 11, 20, 14, 3, tzinfo=UTC), "s3", "eu-west-1")
PERSON = make_addressee()
TEAM = make_addressee("C0TEAM")
FALLBACK = make_addressee("C0FALLBACK", is_fallback=True)
AWKWARD_NAME = "a+=,.@_-b"
REPEATABLE = hypothesis_settings(max_examples=60, derandomize=True, deadline=None)
NAMES = st.text("abcXYZ019_+=,.@-", min_size=1, max_size=128) | st.just("n" * 128)
IDS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=16, max_size=16).map("AKIA{}".format)
PROFILES = st.text() | st.sampled_from(["p" * 4000, "&" * 4000, "`<>" * 2000, "\U0001f511" * 3000])


def outlook(next_step: NextStep = NextStep.STAYS_ACTIVE, key_count: int = 1, **changes: Any) -> Outlook:
    day = {"day": DAY, "in_days": 10} if next_step.has_day else {}
    return Outlook(next_step, **{**day, "last_use": USED, "key_count": key_count, **changes})


def filing(key: LabelledKey = EXPIRED, next_step: NextStep = NextStep.STAYS_ACTIVE, key_count: int = 1) -> FileIssue:
    return FileIssue(key, KeyRecord(key.access_key.access_key_id), outlook(next_step, key_count))


def listed(key: LabelledKey = EXPIRED, next_step: NextStep = NextStep.STAYS_ACTIVE, key_count: int = 1) -> MessageKey:
    return MessageKey(key, KeyRecord(key.access_key.access_key_id), outlook(next_step, key_count))


def draft_of(
    message: SendMessage,
    profile: str = PROFILE,
    issues: Mapping[str, str] | None = None,
    help_contact: str | None = None,
) -> SlackDraft:
    return slack_draft(message, profile, issues or {}, JIRA, 24, help_contact)


def texts(draft: SlackDraft) -> list[str]:
    """Every text in a message: the fallback, then block by block."""
    found = [draft.text]
    for block in draft.blocks:
        found += [block["text"]["text"]] if "text" in block else []
        found += [element["text"] for element in block.get("elements", ())]
    return found


def some_keys(count: int) -> list[LabelledKey]:
    return [
        make_key(f"user{number}", age_days=200 + number, access_key_id=f"AKIAIOSFODNN7EX{number:05}")
        for number in range(count)
    ]
