"""The credential report: taken, asked for once, awaited; or one sentence that says why there is none."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from keycheck import fresh_report
from keycheck.clock import Stopped
from keycheck.credential_report import NEEDED, Report
from keycheck.fresh_report import LASTS, LATE, fetch
from keycheck.services import ServiceError
from sandbox.in_memory import HourlyClock, MemoryAccount, MemoryIam
from tests.builders import ACCOUNT, MINUTE, NOW

HEAD = ",".join(NEEDED)


def report_of(name: str, age: timedelta = MINUTE) -> Report:
    return Report(f"{HEAD}\n{name},2024-01-01T00:00:00Z,false,N/A,false,N/A\n", NOW - age)


@dataclass
class ScriptedIam(MemoryIam):
    """`answers` to GetCredentialReport, one after the other; the last one stays. An exception is raised."""

    answers: Sequence[Report | ServiceError | None]
    request: ServiceError | None = None
    asked: list[str] = field(default_factory=list)

    def credential_report(self) -> Report | None:
        self.asked.append("get")
        answer = self.answers[min(self.asked.count("get"), len(self.answers)) - 1]
        if isinstance(answer, ServiceError):
            raise answer
        return answer

    def request_credential_report(self) -> None:
        self.asked.append("generate")
        if self.request is not None:
            raise self.request


class Slept(HourlyClock):
    """Sleeps take no time."""

    def __init__(self) -> None:
        super().__init__(NOW)
        self.set_timeout(60)
        self.slept = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


def clock() -> Slept:
    return Slept()


def wanted() -> bool:
    return True


NO = ServiceError("iam", "its operation", "it said no")


def test_a_young_one_is_taken_as_it_is() -> None:
    iam = ScriptedIam([report_of("ann", LASTS - MINUTE)])
    found = fetch(iam, clock(), wanted)
    assert not isinstance(found, str)
    assert list(found) == ["ann"]
    assert iam.asked == ["get"]


@pytest.mark.parametrize("before", [None, report_of("old", LASTS)])
def test_otherwise_one_is_asked_for_once_and_awaited(before: Report | None) -> None:
    iam = ScriptedIam([before, None, before, report_of("new")])
    found = fetch(iam, clock(), wanted)
    assert not isinstance(found, str)
    assert list(found) == ["new"]
    assert iam.asked == ["get", "generate", "get", "get", "get"]


def test_it_is_awaited_for_a_few_seconds_only() -> None:
    iam, time = ScriptedIam([None]), clock()
    assert fetch(iam, time, wanted) == LATE.format(5)
    assert time.slept == pytest.approx(fresh_report.WAITS_SECONDS)
    assert iam.asked.count("get") == 6, "a second apart: IAM throttles this call harshly"
    assert iam.asked.count("generate") == 1


def test_a_short_scan_waits_for_a_quarter_of_its_time() -> None:
    time = clock()
    time.set_timeout(10)
    assert fetch(ScriptedIam([None]), time, wanted) == LATE.format(1.5)
    assert time.slept == pytest.approx(1.5)


@pytest.mark.parametrize(
    "iam",
    [ScriptedIam([NO]), ScriptedIam([None], request=NO), ScriptedIam([None, NO])],
    ids=["getting it", "asking for it", "waiting for it"],
)
def test_what_iam_refuses_is_said(iam: ScriptedIam) -> None:
    assert fetch(iam, clock(), wanted) == "it said no"


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "the credential report has no column user"), ("user\nann", "has no column user_creation_time")],
)
def test_what_is_no_report_is_none(text: str, why: str) -> None:
    assert why in str(fetch(ScriptedIam([Report(text, NOW)]), clock(), wanted))


def test_the_end_of_the_scans_time_ends_the_waiting() -> None:
    time, iam = clock(), ScriptedIam([None])

    def is_wanted() -> bool:
        if time.slept > 1:
            time._on_signal(signal.SIGTERM, None)
        return True

    with pytest.raises(Stopped):
        fetch(iam, time, is_wanted)
    assert time.slept < 1.1


def test_nobody_waits_for_what_is_not_wanted_any_more() -> None:
    """Everybody was asked for meanwhile: that is no reason to say anything."""
    time, iam = clock(), ScriptedIam([None])
    assert fetch(iam, time, lambda: time.slept < 1) == ""
    assert time.slept < 1.1


def test_there_is_none_in_memory() -> None:
    assert fetch(MemoryIam(MemoryAccount(ACCOUNT, NOW)), clock(), wanted) == "there is no credential report in memory"
