"""What a scan has shown of an access key is written down once, and only if the record still is what the plan saw."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from keycheck.acting.notes import note
from keycheck.actions import Observation, ObservationKind, Outcomes, Result, SkipReason
from keycheck.model import Void
from keycheck.rules.changes import ceil, floor
from tests.acting.desk import Desk, ended, error
from tests.builders import DAY, HOUR, NOW, make_record
from tests.situations import KEY, KEY_ID, KRAMER

AT = floor(NOW)
DISABLED = {"disabled_at": floor(NOW - DAY)}
BEGUN = {"disabling_at": floor(NOW - HOUR), "disabling_claim": "ours"}


def noted(desk: Desk) -> Outcomes:
    assert isinstance(desk.task.action, Observation)
    note(desk.means, desk.task, desk.task.action)
    return desk.ledger.close()


def desk_of(kind: ObservationKind, item: dict[str, Any], **record: Any) -> Desk:
    desk = Desk(Observation(make_record(KEY, **record), kind, KEY, date(2027, 1, 31), Void.STAYS_ACTIVE))
    desk.account.items[KEY_ID] = {"iam_access_key_id": KEY_ID, **item}
    return desk


def test_a_disabling_that_was_carried_out_is_confirmed_by_this_run() -> None:
    desk = desk_of(ObservationKind.CONFIRMED, BEGUN, disabling_at=NOW - HOUR)
    assert ended(noted(desk)) is Result.DONE
    assert (desk.item()["disabled_at"], desk.item()["disabled_by"]) == (floor(NOW - HOUR), "run-7")
    assert "disabling_at" not in desk.item()


def test_an_intent_that_came_to_nothing_is_dropped() -> None:
    desk = desk_of(ObservationKind.DROPPED, BEGUN, disabling_at=NOW - HOUR)
    assert ended(noted(desk)) is Result.DONE
    assert desk.item() == {"iam_access_key_id": KEY_ID}


def test_an_intent_that_another_run_has_written_since_stays() -> None:
    desk = desk_of(ObservationKind.DROPPED, BEGUN, disabling_at=NOW - DAY)
    noted(desk)
    assert desk.item()["disabling_at"] == BEGUN["disabling_at"]


def test_a_person_who_re_enables_is_noted_with_the_first_time() -> None:
    desk = desk_of(ObservationKind.REENABLED, DISABLED, disabled_at=NOW - DAY)
    assert ended(noted(desk)) is Result.DONE
    assert desk.item()["reenabled_at"] == floor(NOW)
    desk.account.items[KEY_ID] = {**desk.account.items[KEY_ID], "reenabled_at": floor(NOW - HOUR)}
    note(desk.means, desk.task, desk.task.action)  # type: ignore[arg-type]
    assert desk.item()["reenabled_at"] == floor(NOW - HOUR)


VOIDED = {"notice_void_at", "notice_void_why"}
NOTICE = {
    "warned_at": ceil(NOW - 8 * DAY),
    "warned_owner": KRAMER.identity,
    "notice_kept_at": ceil(NOW - HOUR),
    "disable_from": 2,
}


def test_an_exemption_makes_an_earlier_notice_void_and_not_the_day_told() -> None:
    desk = desk_of(ObservationKind.EXEMPT, {**NOTICE, "told_at": 3})
    assert ended(noted(desk)) is Result.DONE
    left = {"iam_access_key_id", "exempt_until", "account_id", "user_name", "told_at", "disable_from"}
    assert set(desk.item()) == left | VOIDED | {"expires_at", "events"}
    assert desk.item()["events"] == {f"{AT} exempt until 2027-01-31"}


def voided(why: str, **more: int) -> dict[str, Any]:
    return {"disable_from": 2, "notice_void_at": AT, "notice_void_why": why, **more}


EVENTS = {
    ObservationKind.VOID: ["notice void: it was to stay active"],
    ObservationKind.INACTIVE: ["seen inactive, not by keycheck"],
    ObservationKind.REENABLED: ["seen active again"],
}


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        (ObservationKind.KEPT, NOTICE | {"notice_kept_at": AT}),
        (ObservationKind.VOID, voided("it was to stay active")),
        (ObservationKind.INACTIVE, voided("it was inactive", inactive_at=AT)),
        (ObservationKind.REENABLED, voided("a person took it back", reenabled_at=AT, times_taken_back=1)),
    ],
    ids=["kept", "void", "inactive", "re-enabled"],
)
def test_what_a_run_sees_of_a_notice_is_written_down(kind: ObservationKind, left: dict[str, Any]) -> None:
    desk = desk_of(kind, NOTICE, warned_at=NOW - 8 * DAY, warned_owner=KRAMER.identity)
    assert ended(noted(desk)) is Result.DONE
    item = desk.item()
    happened = item.pop("events", frozenset())
    assert item == {"iam_access_key_id": KEY_ID, "expires_at": AT + 365 * 86400, **left}
    assert [text.partition(" ")[2] for text in happened] == EVENTS.get(kind, [])


@pytest.mark.parametrize("kind", ObservationKind)
def test_without_the_table_nothing_is_noted(kind: ObservationKind) -> None:
    record = make_record(KEY, KRAMER, disabling_at=NOW - HOUR, disabled_at=NOW - DAY)
    notes = ("record_disabled", "drop_disabling", "record_reenabled", "record_exempt", "record_inactive")
    spoiled = dict.fromkeys((*notes, "keep_notice", "void_notice"), error())
    desk = Desk(Observation(record, kind, KEY, date(2027, 1, 31), Void.STAYS_ACTIVE), spoiled=spoiled)
    assert ended(noted(desk)) is SkipReason.NO_STATE
    assert desk.item() == {}
