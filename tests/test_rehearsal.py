"""Thirty days of an account of 500 old access keys, in process: sandbox/rehearsal.py, and docs/rollout.md shows it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox.rehearsal import (
    A_DAY_AT_MOST,
    DAYS,
    EXEMPT,
    EXPIRED,
    FALLBACK,
    IN_USE_UNTIL_DAY,
    NOTICE_DAYS,
    MemoryStage,
    Message,
    Seen,
    broken_promises,
    cast,
    play,
)

ROLLOUT = Path(__file__).resolve().parent.parent / "docs" / "rollout.md"
BEGAN = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)
A_DAY = timedelta(days=1)


@pytest.mark.runs
@pytest.mark.parametrize("hours_apart", [4, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_thirty_days_go_as_the_rollout_page_says(tmp_path: Path, hours_apart: int) -> None:
    """One play, and all that is asked of it: the page's table, no promise broken, and that the judge would see one."""
    table: list[str] = []
    keys = cast()
    seen = play(MemoryStage(keys, tmp_path, BEGAN), keys, hours_apart=hours_apart, say=table.append)
    assert broken_promises(seen, keys) == []
    assert len(table) == DAYS + 2
    assert "\n".join(table) in ROLLOUT.read_text(encoding="utf-8")
    check_every_expired_access_key_that_is_not_exempt_is_disabled_once(seen)
    check_the_one_in_use_is_disabled_only_once_nothing_uses_it(seen)
    check_owners_nobody_knows_are_told_of_in_the_fallback_channel(seen)
    check_the_judge_sees_a_second_message_within_a_day(seen)
    check_the_judge_sees_a_disabling_untold_too_early_or_too_much(seen)
    check_the_judge_sees_an_open_issue_and_an_exempt_user_touched(seen)


def check_every_expired_access_key_that_is_not_exempt_is_disabled_once(seen: Seen) -> None:
    names = [user_name for _, user_name in seen.disabled]
    assert len(names) == len(set(names)) == EXPIRED - EXEMPT


def check_the_one_in_use_is_disabled_only_once_nothing_uses_it(seen: Seen) -> None:
    (in_use,) = [key.user_name for key in cast() if key.is_in_use]
    (at,) = [at for at, user_name in seen.disabled if user_name == in_use]
    assert at >= BEGAN + IN_USE_UNTIL_DAY * A_DAY
    (issue,) = [issue for issue in seen.issues if issue.user_name == in_use]
    assert issue.comments == 3  # in use, disabled, closed


def check_owners_nobody_knows_are_told_of_in_the_fallback_channel(seen: Seen) -> None:
    told = "\n".join(message.text for message in seen.messages if message.slack_id == FALLBACK)
    assert all(f"`{key.user_name}`" in told for key in cast() if key.slack_id == FALLBACK)


def check_the_judge_sees_a_second_message_within_a_day(seen: Seen) -> None:
    first = seen.messages[0]
    again = replace(first, at=first.at + timedelta(hours=23))
    assert any("two messages" in one for one in broken_promises(_with(seen, again), cast()))


def check_the_judge_sees_a_disabling_untold_too_early_or_too_much(seen: Seen) -> None:
    untold = replace(seen, messages=())
    assert any("untold" in one for one in broken_promises(untold, cast()))
    early = replace(seen, disabled=tuple((at - A_DAY, name) for at, name in seen.disabled[:5]))
    assert any("told only at" in one for one in broken_promises(early, cast()))
    assert any("the day told" in one for one in broken_promises(early, cast()))
    at_once = replace(
        seen, disabled=tuple((seen.disabled[-1][0], name) for _, name in seen.disabled[: A_DAY_AT_MOST + 1])
    )
    assert any("more than" in one for one in broken_promises(at_once, cast()))
    assert NOTICE_DAYS == 7


def check_the_judge_sees_an_open_issue_and_an_exempt_user_touched(seen: Seen) -> None:
    (exempt, *_) = [key.user_name for key in cast() if key.is_exempt]
    still_open = replace(seen, issues=(replace(seen.issues[0], ended_at=None), *seen.issues[1:]))
    assert any("still open" in one for one in broken_promises(still_open, cast()))
    for_exempt = replace(seen, issues=(replace(seen.issues[0], user_name=exempt), *seen.issues[1:]))
    assert any("was filed for exempt" in one for one in broken_promises(for_exempt, cast()))
    disabled = replace(seen, disabled=(*seen.disabled, (BEGAN, exempt)))
    assert any("is exempt" in one for one in broken_promises(disabled, cast()))
    left = replace(seen, disabled=seen.disabled[1:])
    assert any("never disabled" in one for one in broken_promises(left, cast()))


def _with(seen: Seen, message: Message) -> Seen:
    return replace(seen, messages=(*seen.messages, message))
