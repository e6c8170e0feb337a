"""The real program on an account of 250 users: what its second run costs, and what becomes of its cache."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from sandbox.fake_iam import FakeIam
from sandbox.world import Ran, World
from tests.running import fake_iam, iam_lines, run, run_fields

pytestmark = pytest.mark.process

MANY = 250
STALE = "user-0007"


@pytest.fixture(name="iam")
def large_account(iam_world: World) -> FakeIam:
    iam = fake_iam(iam_world)
    for number in range(MANY):
        iam.add_user(f"user-{number:04}", [197 if f"user-{number:04}" == STALE else 10 + number % 100])
    return iam


def audit(world: World, folder: Path, *arguments: str, **settings: str) -> Ran:
    return run(world, *arguments, "acme-dev", cache_dir=str(folder), **settings)


def few_more_than(expected: int) -> set[int]:
    """The turn of a user or two may have come within the seconds since the run before: that is the wall clock's."""
    return set(range(expected, expected + 5))


def calls_of(iam: FakeIam, go: Callable[[], Ran]) -> tuple[Ran, dict[str, int]]:
    iam.forget_calls()
    return go(), dict(iam.calls)


def test_the_second_run_costs_a_call_for_the_users_one_for_the_report_and_one_a_stale_access_key(
    iam_world: World, iam: FakeIam, tmp_path: Path
) -> None:
    cold, first = calls_of(iam, lambda: audit(iam_world, tmp_path))
    warm, second = calls_of(iam, lambda: audit(iam_world, tmp_path))
    assert first["ListAccessKeys"] == MANY
    assert second.pop("ListAccessKeys") in few_more_than(1)
    assert second == {"ListUsers": 1, "GetAccountSummary": 1, "GetCredentialReport": 1}
    assert iam_lines(warm) == iam_lines(cold)
    fields = run_fields(warm)
    assert (fields["users"], fields["keys"], fields["expired"]) == (MANY, MANY, 1)
    assert (fields["incomplete"], fields["errors"]) == (0, 0)
    assert (warm.code, warm.stderr) == (0, "")
    said = audit(iam_world, tmp_path, "-v").stderr
    assert re.search(rf"I! acme-dev: \d of {MANY} users were asked for: 1 may be expiring or expired", said)
    assert re.search(rf"scanned {MANY} users, {MANY} access keys; 24\d users as they were listed before", said)


def test_a_change_is_seen_with_the_next_report(iam_world: World, iam: FakeIam, tmp_path: Path) -> None:
    iam.make_report(timedelta(hours=3))
    audit(iam_world, tmp_path)
    iam.users["user-0001"].keys[0].status = "Inactive"
    late = audit(iam_world, tmp_path)
    assert run_fields(late)["disabled"] == 0, "up to four hours late, as the reference says"
    iam.make_report()
    ran, calls = calls_of(iam, lambda: audit(iam_world, tmp_path))
    assert run_fields(ran)["disabled"] == 1
    assert calls["ListAccessKeys"] in few_more_than(2)


@pytest.mark.parametrize("action", ["GetCredentialReport", "GenerateCredentialReport"])
@pytest.mark.parametrize("code", ["AccessDenied", "LimitExceeded", "Throttling"])
def test_a_report_that_is_refused_costs_only_speed(
    iam_world: World, iam: FakeIam, tmp_path: Path, action: str, code: str
) -> None:
    iam.inject(code, action=action)
    for _ in range(2):
        ran, calls = calls_of(iam, lambda: audit(iam_world, tmp_path))
        assert calls["ListAccessKeys"] == MANY
        assert (ran.code, ran.stderr, run_fields(ran)["errors"], run_fields(ran)["incomplete"]) == (0, "", 0, 0)
    said = audit(iam_world, tmp_path, "-v").stderr
    assert f"I! acme-dev: every user is asked for, since there is no credential report: iam:{action} " in said


def test_a_report_that_is_late_is_not_waited_for_any_longer(iam_world: World, iam: FakeIam, tmp_path: Path) -> None:
    audit(iam_world, tmp_path)
    iam.forget_report()
    iam.report_seconds = 60
    ran, calls = calls_of(iam, lambda: audit(iam_world, tmp_path, "-v"))
    assert (calls["ListAccessKeys"], calls["GenerateCredentialReport"]) == (MANY, 1)
    assert (ran.code, run_fields(ran)["errors"], run_fields(ran)["incomplete"]) == (0, 0, 0)
    why = "every user is asked for, since there is no credential report: AWS did not make it within 5.0 s"
    assert f"I! acme-dev: {why}; a later run finds it" in ran.stderr


@pytest.mark.parametrize("spoil", ["cut", "another's", "absent"])
def test_a_cache_that_cannot_be_used_costs_only_speed(
    iam_world: World, iam: FakeIam, tmp_path: Path, spoil: str
) -> None:
    cold = audit(iam_world, tmp_path)
    (path,) = tmp_path.iterdir()
    text = path.read_text(encoding="utf-8")
    match spoil:
        case "cut":
            path.write_text(text[: len(text) // 2], encoding="utf-8")
        case "another's":
            path.write_text(json.dumps({**json.loads(text), "account": "999999999999"}), encoding="utf-8")
        case _:
            path.unlink()
    ran, calls = calls_of(iam, lambda: audit(iam_world, tmp_path))
    assert calls["ListAccessKeys"] == MANY
    assert (ran.code, ran.stderr, iam_lines(ran)) == (0, "", iam_lines(cold))
    assert path.stat().st_mode & 0o777 == 0o600
    _, calls = calls_of(iam, lambda: audit(iam_world, tmp_path))
    assert calls["ListAccessKeys"] in few_more_than(1)


def test_whoever_is_explained_is_asked_for(iam_world: World, iam: FakeIam, tmp_path: Path) -> None:
    """A person is told what is true now, by name as well as by the access key's last five characters."""
    audit(iam_world, tmp_path)
    user = iam.users["user-0001"]
    user.keys[0].status = "Inactive"
    for meant in ("USER-0001", user.keys[0].access_key_id[-5:]):
        ran, calls = calls_of(
            iam,
            lambda meant=meant: iam_world.run(  # type: ignore[misc]
                "acme-dev", "--explain", meant, cache_dir=str(tmp_path)
            ),
        )
        assert "of user-0001 in acme-dev (123456789012): disabled, 11 days old" in ran.stdout
        assert calls["ListAccessKeys"] in few_more_than(2), "the stale one, and this one"


def test_a_dry_run_keeps_nothing(iam_world: World, iam: FakeIam, tmp_path: Path) -> None:
    assert iam_world.run("acme-dev", "--dry-run", cache_dir=str(tmp_path / "new")).code == 0
    assert iam.calls["ListAccessKeys"] == MANY
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_told_to_stop_keeps_what_it_learned(iam_world: World, iam: FakeIam, tmp_path: Path) -> None:
    """Its share of the time is over after three seconds; the next runs ask for the others."""
    iam.rate, iam.burst = 40, 40
    try:
        asked, runs = 0, 0
        ran = None
        while ran is None or run_fields(ran)["incomplete"]:
            ran, calls = calls_of(iam, lambda: audit(iam_world, tmp_path, run_timeout_seconds="5"))
            asked += calls["ListAccessKeys"] - iam.throttled["ListAccessKeys"]
            runs += 1
            assert runs < 10
        assert runs > 1
        assert asked <= MANY + 2 * runs + 32 * runs, "hardly anybody is asked for twice: what was on its way is lost"
        assert run_fields(ran)["keys"] == MANY
    finally:
        iam.rate = None
