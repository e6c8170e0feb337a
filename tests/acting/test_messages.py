"""One message to one addressee: nobody gets it twice, and what was told is on record before anything rests on it."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import Any

import pytest

from keycheck.acting.ledger import Task
from keycheck.acting.messages import send
from keycheck.actions import Outcomes, Result, SendMessage, SkipReason
from keycheck.clock import Stopped
from keycheck.rules.changes import ceil, floor
from keycheck.rules.notice import in_force
from keycheck.services import ClaimLost, Failure, ServiceError
from tests.acting.desk import SAID, Desk, ended, error, said
from tests.builders import HOUR, MINUTE, NOW, make_addressee, make_record
from tests.situations import KEY, KEY_ID, KRAMER, Situation

OWNER = make_addressee()
NO_JIRA = {"create_jira": "False"}


def the_message() -> SendMessage:
    """To an owner who had no notice yet, so that it gives one."""
    planned = Situation(record={"warned_at": None, "warned_owner": None}, settings={"create_jira": "False"}).plan()
    (message,) = [chain.message for chain in planned.chains if chain.message is not None]
    return message


def desk_of(**more: Any) -> Desk:
    return Desk(the_message(), settings=NO_JIRA, **more)


def sent(desk: Desk, issue_keys: dict[str, str] | None = None) -> Outcomes:
    assert isinstance(desk.task.action, SendMessage)
    send(desk.means, desk.task, desk.task.action, issue_keys or {})
    return desk.ledger.close()


def addressee(desk: Desk) -> dict[str, Any]:
    return desk.item(OWNER.record_id)


def has_notice(desk: Desk) -> bool:
    """Whether this run may disable KEY on a notice that it gave."""
    return in_force(desk.ledger.newest(make_record(KEY)), KRAMER, NOW) is not None


def is_claim_left(desk: Desk) -> bool:
    return "message_claim" in addressee(desk)


# Delivered


def test_what_was_delivered_is_recorded_of_the_addressee_and_of_each_access_key() -> None:
    desk = desk_of()
    closed = sent(desk)
    assert (ended(closed), said(closed), len(desk.account.sent)) == (Result.DONE, [], 1)
    assert addressee(desk)["messaged_at"] == ceil(NOW)
    assert desk.item()["told_at"] == floor(NOW)
    assert desk.item()["warned_owner"] == OWNER.slack_id
    assert has_notice(desk)
    assert not is_claim_left(desk)


def test_the_claim_stands_before_the_post_and_the_records_come_after_it() -> None:
    seen: dict[str, int] = {}

    def look(write: str) -> None:
        seen[write] = len(desk.account.sent)

    desk = desk_of(before=look)
    sent(desk)
    assert seen == {"claim_message": 0, "record_message": 1, "record_told": 1}


def test_the_link_is_to_the_issue_that_this_run_has_found() -> None:
    desk = desk_of()
    sent(desk, {KEY_ID: "SEC-9"})
    assert "SEC-9" in str(desk.account.sent[0].draft)


# Not sent


@pytest.mark.parametrize(
    "item",
    [
        {"message_claim": "theirs", "message_claim_until": floor(NOW + HOUR)},
        {"messaged_at": floor(NOW - HOUR)},
        {"not_before": floor(NOW + MINUTE)},
    ],
    ids=["claimed", "messaged meanwhile", "Slack failed twice meanwhile"],
)
def test_where_another_run_was_first_nothing_is_posted(item: dict[str, Any]) -> None:
    desk = desk_of()
    desk.account.items[OWNER.record_id] = {"iam_access_key_id": OWNER.record_id, **item}
    assert ended(sent(desk)) is SkipReason.CLAIMED
    assert (desk.messages.asked, addressee(desk)) == ([], {"iam_access_key_id": OWNER.record_id, **item})


def test_without_the_table_nothing_is_posted() -> None:
    desk = desk_of(spoiled={"claim_message": error()})
    assert ended(sent(desk)) is SkipReason.NO_STATE
    assert desk.messages.asked == []


@pytest.mark.parametrize(
    ("failure", "errors_in_a_row"),
    [(Failure.REFUSED, 0), (Failure.NO_ANSWER, 1), (Failure.SERVER_ERROR, 2)],
)
def test_a_refusal_gives_the_claim_back_and_counts_only_slacks_own_failures(
    failure: Failure, errors_in_a_row: int
) -> None:
    """After the second 5xx in a row, which may have delivered all the same, an hour goes by."""
    desk = desk_of()
    desk.account.items[OWNER.record_id] = {"iam_access_key_id": OWNER.record_id, "server_errors": 1}
    desk.messages.errors["send"] = error(failure)
    closed = sent(desk)
    assert (ended(closed), said(closed)) == (Result.REFUSED, [SAID])
    assert addressee(desk)["server_errors"] == errors_in_a_row
    assert ("not_before" in addressee(desk)) is (errors_in_a_row == 2)
    assert not is_claim_left(desk)
    assert "messaged_at" not in addressee(desk)
    assert not has_notice(desk)


@pytest.mark.parametrize("is_fallback", [False, True])
def test_who_cannot_be_told_for_good_is_noted_with_slacks_word(is_fallback: bool) -> None:
    """So that the next run tells the fallback channel. That one itself has nobody to stand in for it."""
    desk = Desk(
        the_message(), settings={**NO_JIRA, "slack_fallback_channel": OWNER.slack_id if is_fallback else "C0SEC"}
    )
    desk.messages.errors["send"] = ServiceError("Slack", "send", SAID, failure=Failure.GONE, code="is_archived")
    assert ended(sent(desk)) is Result.REFUSED
    noted = desk.item(f"told:{OWNER.slack_id}")
    assert noted.get("why_gone") == (None if is_fallback else "is_archived")
    assert not is_claim_left(desk)
    assert not has_notice(desk)


@pytest.mark.parametrize("is_retry", [False, True])
def test_an_ok_says_that_who_could_not_be_told_before_can(is_retry: bool) -> None:
    desk = desk_of()
    desk.account.items["told:U012KRAMER"] = {"iam_access_key_id": "told:U012KRAMER", "why_gone": "is_archived"}
    desk.task = replace_message(desk, is_retry=is_retry)
    assert ended(sent(desk)) is Result.DONE
    assert ("why_gone" in desk.item("told:U012KRAMER")) is not is_retry
    assert desk.item("told:U012KRAMER").get("slack_id") == (OWNER.slack_id if is_retry else None)


def replace_message(desk: Desk, **changes: Any) -> Task:
    assert isinstance(desk.task.action, SendMessage)
    task = replace(desk.task, action=replace(desk.task.action, **changes))
    desk.ledger._tasks = [task]
    return task


def test_a_signal_before_the_post_gives_the_claim_back() -> None:
    desk = desk_of()
    desk.messages.errors["send"] = Stopped()
    assert ended(sent(desk)) is SkipReason.OUT_OF_TIME
    assert not is_claim_left(desk)


def test_a_signal_before_the_claim_leaves_nothing() -> None:
    desk = desk_of()
    desk.clock._on_signal(signal.SIGTERM, None)
    with pytest.raises(Stopped):
        sent(desk)
    assert addressee(desk) == {}


# Perhaps sent


@pytest.mark.parametrize("has_arrived", [False, True])
def test_an_unknown_message_counts_as_sent_and_gives_no_notice(has_arrived: bool) -> None:
    desk = desk_of()
    desk.messages.errors["send"] = error(Failure.UNKNOWN)
    desk.messages.served = ["send"] if has_arrived else []
    closed = sent(desk)
    assert (ended(closed), said(closed)) == (Result.UNKNOWN, [SAID])
    assert addressee(desk)["messaged_at"] == ceil(NOW)
    assert desk.item() == {}, "what it promised is not known to be heard"
    assert not has_notice(desk)


# Sent, and not recorded


@pytest.mark.parametrize("spoiler", [ClaimLost(), error(), Stopped()], ids=["lost", "failed", "stopped"])
@pytest.mark.parametrize("write", ["record_message", "record_told"])
def test_what_could_not_be_recorded_is_said_and_only_a_notice_on_record_counts(write: str, spoiler: Exception) -> None:
    desk = desk_of(spoiled={write: spoiler})
    closed = sent(desk)
    assert (ended(closed), len(desk.account.sent), len(said(closed))) == (Result.DONE, 1, 1)
    assert has_notice(desk) is (write == "record_message")
