"""One access key, about to be set Inactive: every last look that stops it, and what stays in the books if it fails.

In process, in milliseconds, on the sandbox's table in memory, which tests/test_sandbox_table.py holds to a real engine.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import Any

import pytest

from keycheck.acting.disabling import disable
from keycheck.actions import DisableKey, Outcomes, Result, SkipReason
from keycheck.clock import Stopped
from keycheck.model import LastUse, Notice, Owner
from keycheck.rules.changes import ceil, floor
from keycheck.services import ClaimLost, Failure
from tests.acting.desk import SAID, Desk, Spoiled, ended, error, said
from tests.builders import ACCOUNT, DAY, HOUR, MINUTE, NOW, PROFILE, make_access_key, make_record
from tests.situations import KEY, KEY_ID, KRAMER

TOLD = make_record(KEY, KRAMER)


def desk_of(*, has_notice: bool = True, owner: Owner | None = KRAMER, **more: Any) -> Desk:
    """KEY is about to be disabled, whose owner had notice. `owner` None: nobody is told anything."""
    record = TOLD if has_notice else make_record(KEY)
    desk = Desk(DisableKey(KEY, record, owner, has_notice), **more)
    if record.notice is not None:
        desk.account.items[KEY_ID] = {"iam_access_key_id": KEY_ID, **on_record(record.notice)}
    return desk


def on_record(notice: Notice) -> dict[str, Any]:
    return {
        "warned_at": ceil(notice.given_at),
        "warned_owner": notice.owner,
        "notice_kept_at": ceil(notice.kept_at),
    }


def disabled(desk: Desk) -> Outcomes:
    assert isinstance(desk.task.action, DisableKey)
    disable(desk.means, desk.task, desk.task.action)
    return desk.ledger.close()


def assert_untouched(desk: Desk) -> None:
    """Nothing was asked of IAM, and nothing is on record of it."""
    assert not any("deactivate" in iam.asked for iam in desk.iams)
    assert desk.status == "Active"
    assert "disabling_at" not in desk.item()
    assert desk.places_taken == 0


# All is well


def test_it_is_inactive_and_recorded_with_the_run_and_why() -> None:
    desk = desk_of()
    closed = disabled(desk)
    assert (ended(closed), desk.status, said(closed)) == (Result.DONE, "Inactive", [])
    assert desk.item()["disabled_by"] == "run-7"
    assert desk.item()["disabled_why"] == "expired: 197 days old"
    assert "disabling_at" not in desk.item()
    assert desk.places_taken == 1


def test_the_intent_is_on_record_before_iam_is_asked() -> None:
    seen: dict[str, tuple[int, bool]] = {}

    def look(write: str) -> None:
        seen[write] = (len(desk.iams[0].asked), "disabling_at" in desk.item())

    desk = desk_of(before=look)
    disabled(desk)
    assert seen == {"take_disabling": (0, False), "begin_disabling": (0, False), "record_disabled": (1, True)}


# What stops it


def test_nobody_is_disabled_whom_this_run_was_to_tell_and_did_not() -> None:
    desk = desk_of(has_notice=False)
    assert ended(disabled(desk)) is SkipReason.NOBODY_TOLD
    assert_untouched(desk)


def test_a_notice_that_this_run_has_on_record_counts() -> None:
    desk = desk_of(has_notice=False)
    notice = Notice(KRAMER.identity, NOW, NOW)
    desk.account.items[KEY_ID] = {"iam_access_key_id": KEY_ID, **on_record(notice)}
    desk.ledger.record(desk.task, lambda: replace(TOLD, notice=notice), "")
    assert ended(disabled(desk)) is Result.DONE


@pytest.mark.parametrize(
    "notice",
    [
        pytest.param(Notice("U0BEFORE", NOW - 8 * DAY, NOW), id="to another owner"),
        pytest.param(Notice(KRAMER.identity, NOW - 20 * DAY, NOW - 14 * DAY), id="kept by no run for two weeks"),
    ],
)
def test_a_notice_that_is_not_in_force_disables_nothing(notice: Notice) -> None:
    """Whatever the plan says: it is asked once more, by the record as this run has left it."""
    desk = desk_of(has_notice=False)
    desk.ledger.record(desk.task, lambda: replace(TOLD, notice=notice), "")
    assert ended(disabled(desk)) is SkipReason.NOBODY_TOLD
    assert_untouched(desk)


@pytest.mark.parametrize("found", [{}, on_record(Notice(KRAMER.identity, NOW - 7 * DAY, NOW))], ids=["void", "another"])
def test_a_notice_that_another_run_has_voided_since_the_plan_disables_nothing(found: dict[str, Any]) -> None:
    desk = desk_of()
    desk.account.items[KEY_ID] = {"iam_access_key_id": KEY_ID, **found}
    assert ended(disabled(desk)) is SkipReason.CLAIMED
    assert_untouched(desk)


def test_where_neither_slack_nor_jira_is_on_nobody_need_be_told() -> None:
    assert ended(disabled(desk_of(has_notice=False, owner=None))) is Result.DONE


@pytest.mark.parametrize("has_notice", [True, False])
def test_it_stays_active_while_another_run_has_its_issue_or_its_message(has_notice: bool) -> None:
    """Should that run have died, nobody would file or send anything about an inactive access key."""
    desk = desk_of(has_notice=has_notice)
    desk.ledger._claimed[KEY_ID] = True
    assert ended(disabled(desk)) is SkipReason.CLAIMED
    assert_untouched(desk)


@pytest.mark.parametrize("age", [-HOUR, HOUR, 24 * HOUR - MINUTE])
def test_a_use_since_the_plan_was_made_stops_it(age: object) -> None:
    desk = desk_of(settings={"disable_in_use_hours": "24"})
    desk.account.last_uses[KEY_ID] = LastUse(NOW - age, "s3", "eu-west-1")  # type: ignore[operator]
    assert ended(disabled(desk)) is SkipReason.IN_USE
    assert_untouched(desk)


def test_a_last_use_that_cannot_be_read_counts_as_a_use() -> None:
    desk = desk_of(settings={"disable_in_use_hours": "24"})
    desk.iams[0].errors["last_used"] = error()
    assert ended(disabled(desk)) is SkipReason.IN_USE
    assert_untouched(desk)


def test_the_days_brake_stops_it() -> None:
    desk = desk_of(settings={"max_disables_per_day": "1"})
    desk.means.claims.take_disabling(ACCOUNT, NOW - HOUR, 1)
    assert ended(disabled(desk)) is SkipReason.BRAKE
    assert (desk.iams[0].asked, desk.places_taken) == ([], 1)
    assert "disabling_at" not in desk.item()


@pytest.mark.parametrize(
    "item",
    [
        {"disabling_at": floor(NOW - MINUTE), "disabling_claim": "theirs"},
        {"disabled_at": floor(NOW - MINUTE)},
        {"disable_from": floor(NOW + DAY)},
    ],
    ids=["another run has begun", "another run has done it, and a person may have undone it", "a later day was told"],
)
def test_what_another_run_has_written_meanwhile_stops_it_and_the_place_is_given_back(item: dict[str, int]) -> None:
    desk = desk_of()
    desk.account.items[KEY_ID] = {"iam_access_key_id": KEY_ID, **item}
    assert ended(disabled(desk)) is SkipReason.CLAIMED
    assert (desk.iams[0].asked, desk.places_taken, desk.status) == ([], 0, "Active")
    assert desk.item() == {"iam_access_key_id": KEY_ID, **item}


@pytest.mark.parametrize("write", ["take_disabling", "begin_disabling"])
def test_a_table_that_fails_stops_it(write: str) -> None:
    desk = desk_of(spoiled={write: error()})
    closed = disabled(desk)
    assert ended(closed) is SkipReason.NO_STATE
    assert (desk.iams[0].asked, desk.status) == ([], "Active")
    assert said(closed) == [f"{SAID}; without state nothing more is filed, sent or disabled"]


@pytest.mark.parametrize("write", ["take_disabling", "begin_disabling"])
def test_a_signal_in_the_middle_leaves_nothing_behind(write: str) -> None:
    def stop(made: str) -> None:
        if made == write:
            desk.clock._on_signal(signal.SIGTERM, None)

    desk = desk_of(before=stop)
    with pytest.raises(Stopped):
        disabled(desk)
    assert_untouched(desk)
    assert ended(desk.ledger.close()) is SkipReason.STOPPED


# What becomes of the request


@pytest.mark.parametrize("failure", [Failure.REFUSED, Failure.SERVER_ERROR, Failure.NO_ANSWER])
def test_a_refusal_gives_back_the_intent_and_the_place(failure: Failure) -> None:
    desk = desk_of()
    desk.iams[0].errors["deactivate"] = error(failure)
    closed = disabled(desk)
    assert (ended(closed), said(closed), desk.status) == (Result.REFUSED, [SAID], "Active")
    assert "disabling_at" not in desk.item()
    assert desk.places_taken == 0


@pytest.mark.parametrize("is_served", [False, True])
def test_an_unknown_outcome_keeps_the_intent_which_the_next_scan_settles(is_served: bool) -> None:
    desk = desk_of()
    desk.iams[0].errors["deactivate"] = error(Failure.UNKNOWN)
    desk.iams[0].served = ["deactivate"] if is_served else []
    closed = disabled(desk)
    assert ended(closed) is Result.UNKNOWN
    assert said(closed) == [f"{SAID}; access key ...VHXVM of dev_kramer (expired, 197 days old) may be disabled"]
    assert desk.item()["disabling_at"] == floor(NOW)
    assert desk.places_taken == 1


def test_an_access_key_that_is_gone_needs_no_disabling() -> None:
    desk = desk_of()
    desk.account.keys.clear()
    closed = disabled(desk)
    assert (ended(closed), said(closed), desk.places_taken) == (Result.NOT_NEEDED, [], 0)
    assert "disabling_at" not in desk.item()


@pytest.mark.parametrize("spoiler", [ClaimLost(), error(), Stopped()], ids=["lost", "failed", "stopped"])
def test_what_was_done_and_not_recorded_is_said_and_counts_as_done(spoiler: Exception) -> None:
    desk = desk_of(spoiled={"record_disabled": spoiler})
    closed = disabled(desk)
    assert (ended(closed), desk.status, len(said(closed))) == (Result.DONE, "Inactive", 1)
    assert said(closed)[0].startswith("that access key ...VHXVM of dev_kramer (expired, 197 days old) was disabled")
    assert "disabling_at" in desk.item(), "so that a later scan confirms it"


# Through several profiles


def through_two(first: Exception) -> Desk:
    desk = desk_of()
    desk.iams.insert(0, Spoiled(desk.account.open_iam(PROFILE), {"deactivate": first}))
    return desk


def test_where_the_first_profile_may_not_the_next_one_does() -> None:
    desk = through_two(error())
    assert (ended(disabled(desk)), [len(iam.asked) for iam in desk.iams]) == (Result.DONE, [1, 1])


def test_where_the_first_profile_may_have_done_it_no_other_is_asked() -> None:
    desk = through_two(error(Failure.UNKNOWN))
    assert (ended(disabled(desk)), [len(iam.asked) for iam in desk.iams]) == (Result.UNKNOWN, [1, 0])


def test_only_the_access_key_that_was_named_is_touched() -> None:
    desk = desk_of()
    other = make_access_key("dev_kramer", access_key_id="AKIAIOSFODNN7EXOTHER")
    desk.account.keys[other.access_key_id] = other
    disabled(desk)
    assert desk.account.keys[other.access_key_id] == other
    assert [access_key_id for _, access_key_id in desk.account.disabled] == [KEY_ID]
