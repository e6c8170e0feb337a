"""--history: what happened to an access key is on its record, once, and is shown to whoever asks."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keycheck.history import Happened, happened
from keycheck.model import KeyRecord
from keycheck.rules import events, other_writes, writes
from sandbox.in_memory import MemoryAccount, MemoryClaims
from sandbox.world import World
from tests.builders import ACCOUNT, ALL_ON, DAY, MORE_THAN_A_DAY, NOW, SECOND, make_access_key
from tests.running import KRAMER, records, run, statuses
from tests.test_row_formats import read_csv

OTHER_ACCOUNT = "210987654321"
KEY = make_access_key()


# The record


def test_an_event_that_is_written_twice_is_one() -> None:
    claims = MemoryClaims(MemoryAccount(ACCOUNT, NOW))
    for _ in range(2):
        claims.apply(writes.record_told(KEY, NOW, to="U012KRAMER"))
    record = claims.read([KEY.access_key_id], ()).key(KEY.access_key_id)
    assert events.read(record.events) == [events.Event(NOW, "told U012KRAMER")]


def test_only_when_there_are_many_too_many_the_oldest_are_dropped() -> None:
    def texts(count: int) -> frozenset[str]:
        return frozenset(f"{1_700_000_000 + number} told U1" for number in range(count))

    assert events.to_drop(texts(events.DROPPED_AT)) == frozenset()
    dropped = events.to_drop(texts(events.DROPPED_AT + 1))
    assert dropped == texts(events.DROPPED_AT + 1 - events.KEPT)
    claims = MemoryClaims(MemoryAccount(ACCOUNT, NOW))
    claims.apply(writes.record_told(KEY, NOW))
    claims.apply(other_writes.drop_events(KEY.access_key_id, events.to_drop(texts(200))))
    assert len(claims.read([KEY.access_key_id], ()).key(KEY.access_key_id).events) == 1


def test_what_is_no_event_is_left_out_and_dropped_first() -> None:
    texts = frozenset({"nonsense", f"{int(NOW.timestamp())} told U1", "x y"})
    assert events.read(texts) == [events.Event(NOW, "told U1")]
    many = texts | {f"{1_700_000_000 + number} told U1" for number in range(events.DROPPED_AT)}
    assert {"nonsense", "x y"} <= events.to_drop(frozenset(many))


def test_no_rule_rests_on_what_happened() -> None:
    assert KeyRecord("x", events=frozenset({"1 told U1"})) == KeyRecord("x")


# What is shown


def recorded(access_key_id: str, user: str, *what: tuple[datetime, str], account_id: str = ACCOUNT) -> KeyRecord:
    texts = frozenset(f"{int(at.timestamp())} {text}" for at, text in what)
    return KeyRecord(access_key_id, account_id, user, events=texts)


def test_all_is_shown_oldest_first_and_chosen_by_account_user_and_day() -> None:
    one = recorded("AKIAIOSFODNN7EX00001", "dev_a", (NOW, "told U1"), (NOW - 2 * DAY, "SEC-1 filed"))
    two = recorded("AKIAIOSFODNN7EX00002", "dev_b", (NOW - DAY, "told U2"), account_id=OTHER_ACCOUNT)
    told = Happened(NOW, ACCOUNT, "dev_a", "00001", "told U1")
    filed = replace(told, at=NOW - 2 * DAY, what="SEC-1 filed")
    other = Happened(NOW - DAY, OTHER_ACCOUNT, "dev_b", "00002", "told U2")

    def shown(**choice: object) -> list[Happened]:
        return happened([one, two], **{"account_ids": (), "user": "*", "since": None, **choice})  # type: ignore[arg-type]

    assert shown() == [filed, other, told]
    assert shown(account_ids={ACCOUNT}) == [filed, told]
    assert shown(user="DEV_B") == [other]
    assert shown(since=NOW - DAY) == [other, told]
    assert shown(since=NOW + SECOND) == []


# Whole runs


@pytest.fixture
def staffed(world: World) -> World:
    world.aws.add_user("dev_kramer", [197])
    world.aws.add_user("dev_jones", [170], account_id=OTHER_ACCOUNT)
    world.owners.update(dev_kramer=KRAMER, dev_jones="U0JONES")
    return world


@pytest.mark.process
def test_a_life_is_told_as_it_was(staffed: World) -> None:
    """Told and filed, given a notice, disabled, said in its issue, taken back; and nothing twice."""
    settings = {**ALL_ON, "disable_notice_days": "1"}
    for _ in range(2):
        run(staffed, "acme-dev", "acme-prod", **settings)
    staffed.pass_time(MORE_THAN_A_DAY)
    for _ in range(3):
        run(staffed, "acme-dev", "acme-prod", **settings)
    assert statuses(staffed, "dev_kramer") == ["Inactive"]
    staffed.aws.set_status("dev_kramer", staffed.aws.keys("dev_kramer")[0][0], "Active")
    staffed.pass_time(timedelta(hours=1))
    run(staffed, "acme-dev", "acme-prod", **settings)

    ran = staffed.run("--history", "--format", "json", "acme-dev", **settings)
    assert (ran.code, ran.stderr) == (0, "")
    found = json.loads(ran.stdout)
    assert {one["account_id"] for one in found} == {ACCOUNT}
    assert [one["at"] for one in found] == sorted(one["at"] for one in found)
    (issue_key,) = [key for key, issue in staffed.jira.issues.items() if "dev_kramer" in issue.summary]
    disabled_by = str(records(staffed)[staffed.aws.keys("dev_kramer")[0][0]]["disabled_by"])[:8]
    what = [one["what"] for one in found]
    for text in (
        f"{issue_key} filed",
        f"told {KRAMER}",
        f"disabled by run {disabled_by}: expired: 198 days old",
        f"{issue_key} commented on: disabled by run {disabled_by}",
        "seen active again",
    ):
        assert what.count(text) == (2 if text.startswith("told") else 1), (text, what)
    (notice,) = [text for text in what if text.startswith(f"notice to {KRAMER}: disabled from ")]
    assert what.index(notice) < what.index(f"disabled by run {disabled_by}: expired: 198 days old")
    full = staffed.aws.keys("dev_kramer")[0][0]
    assert full not in ran.stdout

    everywhere = staffed.run("--history", "--format", "csv", **settings)
    assert everywhere.code == 0
    rows = read_csv(everywhere.stdout.splitlines())
    assert {one["account_id"] for one in rows} == {ACCOUNT, OTHER_ACCOUNT}
    jones = staffed.run("--history", "--user", "DEV_J*", **settings)
    lines = jones.stdout.splitlines()
    assert all("dev_jones" in line for line in lines[2:-1])
    assert lines[-1] == f"{len(lines) - 3} on record"
    tomorrow = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}"
    later = staffed.run("--history", "--since", tomorrow, "--format", "json", **settings)
    assert (later.code, json.loads(later.stdout)) == (0, [])


@pytest.mark.process
def test_an_exemption_is_on_record_with_its_reason(staffed: World) -> None:
    until = (datetime.now(UTC) + timedelta(days=30)).date()
    path = staffed.folder / "exemptions.toml"
    path.write_text(
        f'[[exemption]]\naccount = "acme-dev"\nuser = "dev_kramer"\nuntil = {until}\nreason = "SEC-99: a freeze"\n',
        encoding="utf-8",
    )
    settings = {**ALL_ON, "exemptions_file": str(path)}
    for _ in range(2):
        run(staffed, "acme-dev", **settings)
    ran = staffed.run("--history", "--format", "json", **settings)
    assert [one["what"] for one in json.loads(ran.stdout)] == [f"exempt until {until}: SEC-99: a freeze"]


@pytest.mark.process
def test_without_a_table_nothing_has_happened(world: World) -> None:
    ran = world.run("--history", "--format", "json", **ALL_ON)
    assert (ran.code, ran.stderr, json.loads(ran.stdout)) == (0, "", [])


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--history", "--dry-run"), 2, "--history goes with --since, --user and --format alone"),
        (("--history", "--check"), 2, "--history goes with --since, --user and --format alone"),
        (("--history", "--sort", "age"), 2, "--history goes with --since, --user and --format alone"),
        (("--history", "--since", "March"), 2, "argument --since: 'March' is no day like 2026-03-01"),
        (("--since", "2026-03-01", "acme-dev"), 2, "--since goes with --history"),
        (("--history", "acme-dv"), 1, "there is no such AWS profile"),
    ],
)
def test_what_is_asked_wrong_is_one_line(world: World, arguments: tuple[str, ...], code: int, says: str) -> None:
    ran = world.run(*arguments, **ALL_ON)
    assert (ran.code, ran.stdout) == (code, "")
    assert ran.stderr.startswith(f"E! keycheck: {says}")
    assert ran.stderr.count("\n") == 1


@pytest.mark.process
def test_without_the_tables_profile_it_is_asked_for(world: World) -> None:
    ran = world.run("--history", "--format", "json", aws_dynamodb_profile_name="")
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr == "E! keycheck: --history reads the state table: set aws_dynamodb_profile_name\n"
