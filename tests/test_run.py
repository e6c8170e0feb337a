"""A run from Run on: what is opened and when, what it gives back wherever it ends, and one plan for what several show.

In process, in milliseconds, the state table in memory. Faults of each call are in tests/reliability/test_matrix.py.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import pytest

from keycheck.forecast import policy
from keycheck.model import AccessKey, Level
from keycheck.run import Run, RunResult
from keycheck.services import ServiceError
from keycheck.settings import SWITCHES, parse
from sandbox.in_memory import HourlyClock, MemoryAccount
from tests.builders import ACCOUNT, DAY, EVERYTHING, NOW, PROFILE, make_access_key, make_settings
from tests.opened import Opened

OFF = dict.fromkeys(SWITCHES, "False")
OWNER = "U012KRAMER"


@pytest.fixture
def account() -> MemoryAccount:
    return MemoryAccount(ACCOUNT, NOW, keys=keyed(make_access_key(age=197 * DAY)))


def keyed(*keys: AccessKey) -> dict[str, AccessKey]:
    return {key.access_key_id: key for key in keys}


def a_run(
    outside: Opened, mapping: Path, *profiles: str, is_dry_run: bool = False, own: str = "", **environ: str
) -> tuple[Run, HourlyClock]:
    settings = parse({**EVERYTHING, **environ}, mapping)
    clock = HourlyClock(NOW)
    clock.set_timeout(60)
    run = Run(
        profiles or (PROFILE,),
        settings,
        clock,
        environment_key_id=own,
        is_dry_run=is_dry_run,
        debug=lambda *_: None,
        outside=outside,
    )
    return run, clock


def result_of(outside: Opened, mapping: Path, *profiles: str, **more: Any) -> RunResult:
    run, _ = a_run(outside, mapping, *profiles, **more)
    run.work()
    return run.result()


def counted(result: RunResult, name: str, profile: str = PROFILE) -> int:
    (line,) = [line for line in result.lines if line.startswith(f"iam_run,accountAlias={profile} ")]
    found = re.search(rf"[ ,]{name}=([0-9]+)i", line)
    assert found is not None
    return int(found[1])


def errors(result: RunResult) -> list[str]:
    return [problem.text for problem in result.problems if problem.level is Level.ERROR]


# What is opened


def test_a_run_with_nothing_on_opens_iam_alone(account: MemoryAccount, mapping: Path) -> None:
    outside = Opened(account)
    result = result_of(outside, mapping, **OFF)
    assert outside.opened == [f"iam {PROFILE}"]
    assert (counted(result, "expired"), counted(result, "errors"), result.has_failed) == (1, 0, False)


def test_where_nothing_is_due_no_secret_is_read(account: MemoryAccount, mapping: Path) -> None:
    account.keys = keyed(make_access_key(age=3 * DAY))
    outside = Opened(account)
    result_of(outside, mapping)
    assert outside.opened == [f"iam {PROFILE}", "claims"]


def test_slack_is_opened_only_where_somebody_is_to_be_told(account: MemoryAccount, mapping: Path) -> None:
    outside = Opened(account)
    result_of(outside, mapping)
    assert outside.opened == [f"iam {PROFILE}", "claims", "messages", "issues"]
    assert [one.slack_id for one in account.sent] == [OWNER]
    again = Opened(account)
    result_of(again, mapping)
    assert "messages" not in again.opened, "told within the day, and seen on Slack within the week"


# What it gives back


def test_a_result_is_there_before_anything_was_done(account: MemoryAccount, mapping: Path) -> None:
    run, _ = a_run(Opened(account), mapping)
    result = run.result()
    assert not result.was_anything_scanned
    (line,) = result.lines
    assert line.startswith(f"iam_run,accountAlias={PROFILE} errors=0i,incomplete=1i,duration_seconds="), "and no count"


def test_a_run_whose_time_is_over_before_it_acts_says_what_was_due(account: MemoryAccount, mapping: Path) -> None:
    run, clock = a_run(Opened(account), mapping)
    run._scanner.run()
    run._seen.settle()
    clock._on_signal(signal.SIGTERM, None)
    result = run.result()
    assert (counted(result, "expired"), counted(result, "skipped")) == (1, 1)
    assert account.sent == []
    assert account.issues == {}


def test_a_fault_of_ours_is_one_line_that_names_the_place_and_the_metrics_are_printed(
    account: MemoryAccount, mapping: Path
) -> None:
    result = result_of(Opened(account, errors={"claims": RuntimeError("a secret")}), mapping)
    (text,) = errors(result)
    assert re.fullmatch(r"unexpected RuntimeError at keycheck\.[a-z_.]+:[0-9]+; please report it", text)
    assert (counted(result, "expired"), counted(result, "errors"), result.has_failed) == (1, 1, True)
    assert not result.has_scan_failed


def test_a_table_that_cannot_be_opened_is_said_with_its_setting_and_nothing_is_done(
    account: MemoryAccount, mapping: Path
) -> None:
    outside = Opened(account, errors={"claims": ServiceError("dynamodb", "open", "it said no")})
    result = result_of(outside, mapping)
    (text,) = errors(result)
    assert text.startswith("nothing is filed, sent or disabled without state: it said no (aws_dynamodb_profile_name=")
    assert outside.opened == [f"iam {PROFILE}", "claims"]
    assert counted(result, "skipped") == 1


def test_a_slack_that_cannot_be_opened_leaves_the_issue_which_warns_nobody(
    account: MemoryAccount, mapping: Path
) -> None:
    outside = Opened(account, errors={"messages": ServiceError("Slack", "open", "it said no")})
    result = result_of(outside, mapping)
    assert errors(result) == ["nobody is nagged: it said no"]
    assert (len(account.issues), account.sent, account.disabled) == (1, [], [])


def test_a_jira_that_cannot_be_opened_leaves_the_message(account: MemoryAccount, mapping: Path) -> None:
    outside = Opened(account, errors={"issues": ServiceError("Jira", "open", "it said no")})
    result = result_of(outside, mapping)
    assert errors(result) == ["no issues are filed: it said no"]
    assert (account.issues, len(account.sent), len(account.disabled)) == ({}, 1, 1)


# Several profiles


def test_an_access_key_that_two_profiles_show_is_measured_twice_and_acted_on_once(
    account: MemoryAccount, mapping: Path
) -> None:
    result = result_of(Opened(account), mapping, "first", "second")
    assert [counted(result, "keys", profile) for profile in ("first", "second")] == [1, 1]
    assert [counted(result, "disabled", profile) for profile in ("first", "second")] == [1, 1], "in both, as it is now"
    assert [counted(result, "keys_disabled", profile) for profile in ("first", "second")] == [1, 0]
    assert [counted(result, "skipped", profile) for profile in ("first", "second")] == [0, 0], "and planned once"
    assert (len(account.issues), len(account.sent), len(account.disabled)) == (1, 1, 1)


def test_a_profile_that_fails_costs_the_others_nothing(account: MemoryAccount, mapping: Path) -> None:
    outside = Opened(account, errors={"iam broken": ServiceError("iam", "open", "it said no", holds_for_run=True)})
    result = result_of(outside, mapping, "broken", PROFILE)
    assert (result.was_anything_scanned, result.has_scan_failed, result.has_failed) == (True, True, True)
    assert len(account.disabled) == 1


# What keycheck itself depends on


def test_the_access_key_of_the_environment_is_never_disabled(account: MemoryAccount, mapping: Path) -> None:
    (access_key_id,) = account.keys
    result = result_of(Opened(account), mapping, own=access_key_id)
    assert account.disabled == []
    assert (len(account.sent), counted(result, "skipped")) == (1, 1)


# A dry run


def test_a_dry_run_says_what_a_run_would_do_and_writes_nothing(account: MemoryAccount, mapping: Path) -> None:
    result = result_of(Opened(account), mapping, is_dry_run=True)
    lines = [line for _, line in result.dry_run_lines]
    assert [line.partition(" for ")[0].partition(" about ")[0] for line in lines[:3]] == [
        "would file an issue",
        f"would send a message to {OWNER}",
        "would disable access key ...VHXVM of dev_kramer (expired, 197 days old), once the notice above is delivered",
    ]
    assert [line.partition(" ")[0] for line in lines[3:]] == ["in", "if", "policy:"]
    assert lines[3].startswith("in all 1 expired and 0 expiring access keys; of the expired ones 1 never used")
    assert lines[5] == f"policy: {policy(make_settings())}"
    assert (account.items, account.issues, account.sent, account.disabled) == ({}, {}, [], [])
    assert counted(result, "expired") == 1
