"""What a scan has shown of an access key is written down once, and only if the record still is what the plan saw."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from keycheck.acting.notes import note
from keycheck.actions import Observation, ObservationKind, Outcomes, Result, SkipReason
from keycheck.rules import writes
from tests.acting.desk import Desk, ended, error
from tests.builders import DAY, HOUR, NOW, make_record
from tests.situations import KEY, KEY_ID

DISABLED = {"disabled_at": writes.floor(NOW - DAY)}
BEGUN = {"disabling_at": writes.floor(NOW - HOUR), "disabling_claim": "ours"}


def noted(desk: Desk) -> Outcomes:
    assert isinstance(desk.task.action, Observation)
    note(desk.means, desk.task, desk.task.action)
    return desk.ledger.close()


def desk_of(kind: ObservationKind, item: dict[str, Any], **record: Any) -> Desk:
    desk = Desk(Observation(make_record(KEY, **record), kind, KEY, date(2027, 1, 31)))
    desk.account.items[KEY_ID] = {"iam_access_key_id": KEY_ID, **item}
    return desk


def test_a_disabling_that_was_carried_out_is_confirmed_by_this_run() -> None:
    desk = desk_of(ObservationKind.CONFIRMED, BEGUN, disabling_at=NOW - HOUR)
    assert ended(noted(desk)) is Result.DONE
    assert (desk.item()["disabled_at"], desk.item()["disabled_by"]) == (writes.floor(NOW - HOUR), "run-7")
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
    assert desk.item()["reenabled_at"] == writes.floor(NOW)
    desk.account.items[KEY_ID] = {**desk.account.items[KEY_ID], "reenabled_at": writes.floor(NOW - HOUR)}
    note(desk.means, desk.task, desk.task.action)  # type: ignore[arg-type]
    assert desk.item()["reenabled_at"] == writes.floor(NOW - HOUR)


def test_an_exemption_makes_earlier_warnings_count_no_more() -> None:
    warned = {"warned_at": 1, "warned_owner": "U012KRAMER", "disable_from": 2, "told_at": 3}
    desk = desk_of(ObservationKind.EXEMPT, warned)
    assert ended(noted(desk)) is Result.DONE
    assert set(desk.item()) == {"iam_access_key_id", "exempt_until", "account_id", "user_name", "told_at"}


@pytest.mark.parametrize("kind", ObservationKind)
def test_without_the_table_nothing_is_noted(kind: ObservationKind) -> None:
    record = make_record(KEY, disabling_at=NOW - HOUR, disabled_at=NOW - DAY)
    spoiled = dict.fromkeys(("record_disabled", "drop_disabling", "record_reenabled", "record_exempt"), error())
    desk = Desk(Observation(record, kind, KEY, date(2027, 1, 31)), spoiled=spoiled)
    assert ended(noted(desk)) is SkipReason.NO_STATE
    assert desk.item() == {}
