"""What the README and docs/reference.md show: a table, a message, an issue, each made by keycheck's own wording."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from keycheck.actions import FileIssue, MessageKey, NextStep, Outlook, SendMessage
from keycheck.labels import label_key
from keycheck.model import Exemption, KeyRecord, LastUse
from keycheck.owners import Named
from keycheck.row_table import as_table
from keycheck.rows import Choice, Row, chosen
from keycheck.words.issue import issue_draft
from keycheck.words.message import slack_draft
from sandbox import fake_slack
from tests.builders import ACCOUNT, NOW, PROFILE, make_access_key, make_addressee, make_record

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


def table() -> str:
    """What --format table shows of five invented users."""
    rows = [
        _row(
            "svc-backup",
            "BGIJD",
            400,
            Named("C0OPS", "tag slack_id"),
            "SEC-9",
            "in use (2026-11-22 by s3 in eu-west-1)",
        ),
        _row("dev_kramer", "UYJT3", 197, Named("U012KRAMER", "mapping file"), "SEC-11", "disabled from 2026-11-30 on"),
        _row(
            "dev_jones", "OTY3I", 170, Named("jones@example.com", "tag email"), "SEC-12", "disabled from 2026-12-03 on"
        ),
        _row("ci-deploy", "K2VQM", 230, Named("C0PLATFORM", "mapping file"), "", "exempt until 2027-01-31"),
        _row("dev_kramer", "R7JPM", 3, Named("U012KRAMER", "mapping file"), "", "expiring from 2027-05-04 on"),
    ]
    return "\n".join(as_table(chosen(rows, Choice()), 132, has_colours=False))


def _row(user: str, last_five: str, age: int, owner: Named, issue: str, next_step: str) -> Row:
    key = label_key(make_access_key(user, age=timedelta(days=age)), NOW, expire_age=180, expiring_days=15)
    exemption = Exemption(date(2027, 1, 31), "SEC-99: moves to a role") if next_step.startswith("exempt") else None
    told_at = NOW - timedelta(hours=7) if issue else None
    return Row(
        PROFILE,
        ACCOUNT,
        user,
        last_five,
        key.label,
        key.age_days,
        key.access_key.create_date,
        key.expires_at,
        owner,
        issue,
        told_at,
        exemption=exemption,
        next_step=next_step,
    )
