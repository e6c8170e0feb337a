"""A run in process cut at each of its calls, before it has an effect and after: what the runs after it put right.

The sweep of `make test`. test_kills.py does the same with real processes and real signals: at a few requests in
`make test`, at all of them in `make faults`. Both go by the lists of chains.py, and a test holds them to what a run
does.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from keycheck.model import Level
from tests.builders import BEYOND_A_CLAIM, MORE_THAN_A_DAY
from tests.in_process import KRAMER, By, Cut, Ran, Stage, Stages
from tests.reliability.chains import (
    END,
    FIRST_RUN,
    MOMENTS,
    NEXT_CHAIN,
    NEXT_RUN,
    UNCONFIRMED,
    UNRECORDED_NOTICE,
    calls_of,
    in_order,
    numbered,
)

FIRST, NEXT = calls_of(FIRST_RUN), calls_of(NEXT_RUN)
NEXT_CLAIM = NEXT.index(NEXT_RUN[NEXT_CHAIN])
CLOSING = (*END[:5], "close it", END[-1])
"""END, in which closing is one call of the adapter."""
GRACE = timedelta(days=7, seconds=1)
UNTIL_THE_END = 7
"""How many calls a run with Jira alone makes before it ends an issue."""


def before_the_first_run(stage: Stage) -> None:
    stage.add_key(197)
    stage.account.search_lag = timedelta(seconds=60)


def before_the_next_run(stage: Stage) -> None:
    stage.add_key(170)
    stage.run()
    stage.account.issues["SEC-1"].ended_at = stage.account.now
    stage.pass_time(MORE_THAN_A_DAY)
    stage.account.search_lag = timedelta(seconds=60)


def quiet(ran: Ran) -> Ran:
    assert ran.said(Level.ERROR) == ran.said(Level.WARNING) == []
    return ran


def messages(stage: Stage) -> int:
    assert {one.slack_id for one in stage.account.sent} <= {KRAMER}
    return len(stage.account.sent)


def open_issues(stage: Stage) -> int:
    return sum(issue.ended_at is None for issue in stage.account.issues.values())


def test_a_run_in_process_makes_the_calls_of_a_real_one(stages: Stages) -> None:
    with stages() as stage:
        before_the_first_run(stage)
        assert in_order(quiet(stage.run()).calls.names) == FIRST
    with stages() as stage:
        before_the_next_run(stage)
        assert in_order(quiet(stage.run()).calls.names) == NEXT
    with stages() as stage:
        stage.make_an_issue_that_is_to_end()
        names = quiet(stage.run()).calls.names
        assert tuple(names[UNTIL_THE_END:]) == CLOSING
    assert (len(FIRST), len(NEXT[NEXT_CLAIM:]), len(CLOSING)) == (33, 11, 7)


@pytest.mark.parametrize("number", numbered(FIRST))
def test_a_first_run_killed_at_any_call_is_finished_by_the_runs_after_it(stages: Stages, number: int) -> None:
    for moment in MOMENTS:
        with stages() as stage:
            before_the_first_run(stage)
            assert stage.run(cut=Cut(number, moment)).result is None
            if stage.statuses() == ["Inactive"]:
                assert messages(stage) > 0, moment
            stage.run()
            stage.pass_time(BEYOND_A_CLAIM)
            last = stage.run()
            if is_untold := (FIRST[number], moment) in UNRECORDED_NOTICE:
                assert (last.count("disabled"), messages(stage)) == (0, 1), moment
                stage.pass_time(MORE_THAN_A_DAY)
                last = stage.run()
            if is_left_alone := (FIRST[number], moment) in UNCONFIRMED:
                assert (quiet(last).count("disabled"), messages(stage)) == (0, 1), moment
                stage.pass_time(GRACE)
                last = stage.run()
            assert quiet(last).count("disabled") == 1, moment
            assert (stage.statuses(), len(stage.account.issues)) == (["Inactive"], 1), moment
            in_flight = (FIRST[number], moment) in {("send the message", "after"), ("record the message", "before")}
            assert messages(stage) == 1 + in_flight + is_untold + is_left_alone, moment
            assert not stage.is_claim_left(), moment


@pytest.mark.parametrize("number", numbered(NEXT, NEXT_CLAIM))
def test_a_later_run_killed_at_any_call_of_its_chain_is_finished_by_the_runs_after_it(
    stages: Stages, number: int
) -> None:
    for moment in MOMENTS:
        with stages() as stage:
            before_the_next_run(stage)
            assert stage.run(cut=Cut(number, moment)).result is None
            stage.run()
            stage.pass_time(BEYOND_A_CLAIM)
            quiet(stage.run())
            assert (open_issues(stage), len(stage.account.issues)) == (1, 2), moment
            in_flight = (NEXT[number], moment) in {("send the message", "after"), ("record the message", "before")}
            assert messages(stage) == 2 + in_flight, moment
            assert not stage.is_claim_left(), moment
            stage.pass_time(MORE_THAN_A_DAY)
            quiet(stage.run())
            assert (messages(stage), len(stage.account.issues)) == (3 + in_flight, 2), moment
            assert stage.statuses() == ["Active"], moment


@pytest.mark.parametrize("number", numbered(CLOSING))
def test_a_run_killed_while_it_ends_an_issue_leaves_one_comment_and_it_is_closed(stages: Stages, number: int) -> None:
    for moment in MOMENTS:
        with stages() as stage:
            stage.make_an_issue_that_is_to_end()
            killed = stage.run(cut=Cut(UNTIL_THE_END + number, moment))
            assert (killed.result, killed.calls.names[-1]) == (None, CLOSING[number]), moment
            for _ in range(2):
                stage.pass_time(BEYOND_A_CLAIM)
                quiet(stage.run())
            (issue,) = stage.account.issues.values()
            assert (issue.ended_at is not None, len(issue.comments)) == (True, 1), moment
            assert not stage.is_claim_left(), moment


@pytest.mark.parametrize("number", numbered(FIRST))
def test_a_first_run_told_to_stop_at_any_call_repeats_nothing(stages: Stages, number: int) -> None:
    """The call in flight is answered, nothing new is begun, and not even one message is repeated."""
    for moment in MOMENTS:
        with stages() as stage:
            before_the_first_run(stage)
            stopped = stage.run(cut=Cut(number, moment, By.STOP))
            assert stopped.said(Level.ERROR) == [], moment
            assert [line.split(",")[0] for line in stopped.lines][-1] == "iam_run", moment
            assert in_order(stopped.calls.names)[: number + 1] == FIRST[: number + 1], moment
            posts = stopped.how_often("issues", "create")
            if stage.statuses() == ["Inactive"]:
                assert FIRST.index("disable") <= number, moment
                assert stopped.count("disabled") == 1, moment
            later = [stage.run()]
            stage.pass_time(BEYOND_A_CLAIM)
            later.append(quiet(stage.run()))
            assert stage.statuses() == ["Inactive"], moment
            posts += sum(ran.how_often("issues", "create") for ran in later)
            sends = sum(ran.how_often("messages", "send") for ran in (stopped, *later))
            assert (posts, len(stage.account.issues), sends, messages(stage)) == (1, 1, 1, 1), moment
            assert not stage.is_claim_left(), moment
