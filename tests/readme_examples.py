"""The message and the issue that the README shows: made by keycheck's own wording, from one invented access key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keycheck.actions import FileIssue, MessageKey, NextStep, Outlook, SendMessage
from keycheck.labels import label_key
from keycheck.model import KeyRecord, LastUse
from keycheck.words.issue import issue_draft
from keycheck.words.message import slack_draft
from sandbox import fake_slack
from tests.builders import NOW, PROFILE, make_access_key, make_addressee, make_record

KEY = label_key(
    make_access_key("dev_kramer", age=timedelta(days=170), access_key_id="AKIAIOSFODNN7EXVHXVM"),
    NOW,
    expire_age=180,
    expiring_days=15,
)
STANDING = Outlook(
    NextStep.DISABLED_FROM,
    datetime(2026, 12, 3, tzinfo=UTC),
    LastUse(datetime(2026, 11, 20, 14, 3, tzinfo=UTC), "s3", "eu-west-1"),
    in_days=10,
)
CONTACT = "#cloud-security"


def slack_message() -> str:
    """What dev_kramer sees in Slack."""
    listed = MessageKey(KEY, make_record(KEY), STANDING)
    draft = slack_draft(
        SendMessage(make_addressee(), (listed,)),
        PROFILE,
        {KEY.access_key.access_key_id: "SEC-12"},
        "https://example.atlassian.net",
        24,
        CONTACT,
    )
    return fake_slack.render(fake_slack.Message("U012KRAMER", draft.text, tuple(dict(b) for b in draft.blocks), NOW))


def jira_issue() -> str:
    """What the issue says: its summary, labels and description."""
    draft = issue_draft(FileIssue(KEY, KeyRecord("x"), STANDING), PROFILE, CONTACT)
    return f"{draft.summary}\nlabels: {', '.join(draft.labels)}\n\n{draft.description}"
