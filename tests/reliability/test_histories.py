"""Random histories in `make test`: few, and the same ones each time. `make soak` plays new ones for minutes."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from sandbox.dynamodb import Dynalite
from sandbox.moto_aws import MotoAws
from sandbox.warm_parent import WarmParent
from tests.in_process import Stages
from tests.reliability.histories_in_process import HistoryInProcess, history_in_process
from tests.reliability.state_machine import History, history_of

HISTORIES = settings(
    max_examples=8,
    stateful_step_count=14,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.generate,),  # a shorter history is worth less than the time that processes take to find it
    suppress_health_check=list(HealthCheck),
)


def test_random_histories_in_process_break_no_promise(stages: Stages) -> None:
    run_state_machine_as_test(history_in_process(stages), settings=settings(HISTORIES, max_examples=12))
    for what in ("failed calls", "cuts", "disablings", "messages", "issues", "comments", "re-enabled"):
        assert HistoryInProcess.counts[what] > 0, f"these histories saw no {what}: {HistoryInProcess.counts}"


@pytest.mark.exhaustive
def test_random_histories_break_no_promise(moto: MotoAws, quick_dynalite: Dynalite, warm: WarmParent | None) -> None:
    run_state_machine_as_test(history_of(moto, quick_dynalite.url, warm), settings=HISTORIES)
    for what in ("requests in trouble", "cuts", "disablings", "messages", "issues", "comments"):
        assert History.counts[what] > 0, f"these histories saw no {what}: {History.counts}"
