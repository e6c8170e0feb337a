"""`make soak`: new random histories until SOAK_SECONDS (600 by default) are over; says how many steps that were.

Real processes on a real engine and runs in process take turns: the former meet what only they can, the latter ten times
as many situations.

A history that breaks a promise ends it with exit 1, the history, step by step, and what was broken.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from sandbox.dynamodb import Dynalite, why_no_dynalite
from sandbox.moto_aws import MotoAws
from sandbox.warm_parent import WarmParent
from tests.in_process import stages_in
from tests.reliability.histories_in_process import HistoryInProcess, history_in_process
from tests.reliability.state_machine import History, history_of

A_FEW = settings(
    max_examples=6,  # the first of them is always the simplest there is
    stateful_step_count=20,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
MORE = settings(A_FEW, max_examples=30, stateful_step_count=40)


def main() -> int:
    if (reason := why_no_dynalite()) is not None:
        print(reason)
        return 1
    seconds = float(os.environ.get("SOAK_SECONDS", "600"))
    until = time.monotonic() + seconds
    with MotoAws() as moto, Dynalite(creating_ms=20) as engine, WarmParent() as warm:
        while time.monotonic() < until:
            run_state_machine_as_test(history_of(moto, engine.url, warm), settings=A_FEW)
            with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
                run_state_machine_as_test(history_in_process(stages_in(Path(folder), patch)), settings=MORE)
            print(f"{max(0, until - time.monotonic()):.0f} s left: {said(History.counts)}", flush=True)
            print(f"    in process: {said(HistoryInProcess.counts)}", flush=True)
    print(f"clean: {History.counts['steps']} steps, and {HistoryInProcess.counts['runs']} runs in process")
    return 0


def said(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items())


if __name__ == "__main__":
    sys.exit(main())
