"""A line an action that was done: which access key, what, to whom, which issue, by which run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keycheck.actions import (
    AssignIssue,
    CommentIssue,
    DisableKey,
    FileIssue,
    IssueEvent,
    MessageKey,
    NextStep,
    Observation,
    ObservationKind,
    Outcome,
    Outlook,
    Result,
    SendMessage,
)
from keycheck.words.done import describe_done
from tests.builders import NOW, make_addressee, make_key, make_owner, make_record

KEY = make_key()
RECORD = make_record(KEY, issue_key="SEC-12")
NAMED = "access key ...VHXVM of dev_kramer (expired, 197 days old)"
OUTLOOK = Outlook(NextStep.STAYS_ACTIVE)
RUN = "0123456789abcdef"
DONE: list[tuple[Any, str]] = [
    (FileIssue(KEY, RECORD, OUTLOOK), f"filed SEC-7 for {NAMED}"),
    (
        SendMessage(make_addressee(), (MessageKey(KEY, RECORD, OUTLOOK),)),
        "sent a message to U012KRAMER about 1 access key: dev_kramer ...VHXVM",
    ),
    (
        DisableKey(KEY, replace(RECORD, disable_from=NOW), make_owner(), has_notice=True),
        f"disabled {NAMED}, with notice to U012KRAMER, from {NOW:%Y-%m-%d} on as was told",
    ),
    (DisableKey(KEY, RECORD, None, has_notice=False), f"disabled {NAMED}"),
    (AssignIssue(KEY, RECORD, "kramer@example.com"), f"assigned SEC-12 to the owner of {NAMED}"),
    (CommentIssue(RECORD, IssueEvent.EXPIRED, "m", KEY), f"commented on SEC-12 (it has expired): {NAMED}"),
    (
        CommentIssue(RECORD, IssueEvent.GRACE_OVER, "m", KEY),
        f"commented on and closed SEC-12 (disabled, and not missed): {NAMED}",
    ),
    (Observation(RECORD, ObservationKind.KEPT, KEY), f"noted that its notice still holds: {NAMED}"),
]


@pytest.mark.parametrize(("action", "says"), DONE, ids=[type(action).__name__ for action, _ in DONE])
def test_what_was_done_is_one_line_with_its_run(action: Any, says: str) -> None:
    assert describe_done(Outcome("p", action, Result.DONE, "SEC-7"), RUN) == f"{says} (run 01234567)"


@pytest.mark.parametrize("result", [Result.NOT_NEEDED, Result.REFUSED, Result.UNKNOWN])
def test_what_was_not_surely_done_is_not_said_to_be(result: Result) -> None:
    assert all(describe_done(Outcome("p", action, result), RUN) is None for action, _ in DONE)
