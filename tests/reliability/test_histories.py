"""Random histories in `make test`: few, and the same ones each time. `make soak` plays new ones for minutes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from keycheck.actions import NextStep, SendMessage
from keycheck.model import AgeLabel, LabelledKey
from sandbox.dynamodb import Dynalite
from sandbox.moto_aws import MotoAws
from sandbox.warm_parent import WarmParent
from tests.builders import DAY, NOW, make_access_key, make_addressee
from tests.drafts import DAY as DAY_TOLD
from tests.drafts import draft_of, listed
from tests.in_process import Stages
from tests.reliability.histories_in_process import HistoryInProcess, history_in_process
from tests.reliability.notices import Notices, People, Rules
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
    run_state_machine_as_test(history_in_process(stages), settings=settings(HISTORIES, max_examples=8))
    for what in ("failed calls", "cuts", "disablings", "messages", "issues", "comments", "settings changed"):
        assert HistoryInProcess.counts[what] > 0, f"these histories saw no {what}: {HistoryInProcess.counts}"


ANA = "U0ANA"
RULES = Rules(expire_days=180, notice_days=2, sends=True, files=False, disables=True)


def test_the_watcher_says_what_is_wrong_with_a_disabling() -> None:
    """Told by its own message, kept, lapsed, void, another's; and the day told outlives all of it."""
    key, people, notices = make_access_key("ana", age=200 * DAY), People({"ana": ANA}, "C0FALLBACK"), Notices()

    def why_not(days: float, rules: Rules = RULES) -> list[str]:
        return list(notices.why_not(key, rules, people, NOW + days * DAY))

    def ran(days: float, rules: Rules = RULES, *, surely: bool = True) -> None:
        notices.ran(rules, {key.access_key_id: key}, people, (), NOW + days * DAY, surely=surely)

    nobody = [f"and none of ['{ANA}'] has a notice in force"]
    assert why_not(0) == nobody
    told = (listed(LabelledKey(key, 200, AgeLabel.EXPIRED, NOW), NextStep.DISABLED_FROM),)
    notices.message(ANA, draft_of(SendMessage(make_addressee(ANA), told)).blocks, [key], NOW)
    assert notices.days_told == {key.access_key_id: DAY_TOLD}
    notices.days_told.clear()
    assert why_not(1) == ["within the 2 days of its notice"]
    assert why_not(2) == []
    assert why_not(2, replace(RULES, notice_days=5)) == ["within the 5 days of its notice"]
    ran(10)
    assert (why_not(23), why_not(24)) == ([], ["on a notice that nobody has kept for two weeks"])
    off = replace(RULES, disables=False)
    ran(11, off, surely=False)
    assert why_not(12) == []
    ran(11, off)
    assert why_not(12) == nobody
    people.owners["ana"] = "U0NEW"
    assert why_not(12) == ["and none of ['U0NEW'] has a notice in force"]
    assert why_not(12, replace(RULES, sends=False)) == [], "with both off nobody has notice"
    notices.days_told[key.access_key_id] = NOW + 13 * DAY
    assert why_not(12, replace(RULES, sends=False)) == [f"before the day told, {NOW + 13 * DAY:%Y-%m-%d}"]


@pytest.mark.exhaustive
def test_random_histories_break_no_promise(moto: MotoAws, quick_dynalite: Dynalite, warm: WarmParent | None) -> None:
    run_state_machine_as_test(history_of(moto, quick_dynalite.url, warm), settings=HISTORIES)
    for what in ("requests in trouble", "cuts", "disablings", "messages", "issues", "comments"):
        assert History.counts[what] > 0, f"these histories saw no {what}: {History.counts}"
