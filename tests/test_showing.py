"""`--format` as a person types it: whole runs, on a terminal and in a pipe, with right words and wrong ones."""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date, timedelta
from types import MappingProxyType
from typing import Final

import pytest

from keycheck.forecast import policy
from keycheck.showing import add_options, fold, read_options
from sandbox.http_fake import Fault, calls
from sandbox.warm_parent import ENTRY
from sandbox.world import World
from tests.builders import ALL_ON, AT_ONCE, make_settings
from tests.running import KRAMER, fake_iam, issue_posts, records, sends, statuses
from tests.test_row_formats import read_csv, read_json

pytestmark = pytest.mark.process
COLUMNS: Final = 100
ESCAPE: Final = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def staffed(world: World) -> World:
    world.aws.add_user("dev_kramer", [197, 3])
    world.aws.add_user("dev_jones", [170])
    world.owners["dev_kramer"] = KRAMER
    return world


def test_without_a_format_it_is_line_protocol_on_every_terminal(staffed: World) -> None:
    shown = on_a_terminal(staffed, "acme-dev")
    assert [line.partition(",")[0] for line in shown.splitlines()] == ["iam", "iam", "iam", "iam_run"]
    assert ESCAPE.search(shown) is None


def on_a_terminal(world: World, *arguments: str, **environ: str) -> str:
    """What a run prints where stdout is a terminal, of 100 columns."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    termios.tcsetwinsize(theirs, (40, COLUMNS))
    command = [sys.executable, str(ENTRY), *arguments]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**world.environ, **environ},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:
            break
        if not shown:
            break
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


def test_a_table_is_coloured_on_a_terminal_and_cut_to_its_width(staffed: World) -> None:
    shown = on_a_terminal(staffed, "--format", "table", "acme-dev")
    assert ESCAPE.search(shown) is not None
    assert max(len(ESCAPE.sub("", line)) for line in shown.splitlines()) <= COLUMNS
    plain = on_a_terminal(staffed, "--format", "table", "acme-dev", NO_COLOR="1")
    assert ESCAPE.search(plain) is None
    assert [line.rstrip() for line in ESCAPE.sub("", shown).splitlines()] == plain.splitlines()


def test_a_table_in_a_pipe_has_no_colours_and_is_whole(staffed: World) -> None:
    ran = staffed.run("acme-dev", "--format", "table")
    assert (ran.code, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert [line.split()[:3] for line in lines[2:5]] == [
        ["dev_kramer", f"...{staffed.aws.keys('dev_kramer')[0][0][-5:]}", "expired"],
        ["dev_jones", f"...{staffed.aws.keys('dev_jones')[0][0][-5:]}", "expiring"],
        ["dev_kramer", f"...{staffed.aws.keys('dev_kramer')[1][0][-5:]}", "ok"],
    ]
    assert lines[5:] == ["3 access keys of 2 users: 1 expired, 1 expiring, 1 ok"]


def test_a_dry_run_shows_what_would_be_and_a_run_what_is(staffed: World) -> None:
    settings = {**ALL_ON, **AT_ONCE, "slack_fallback_channel": "C0FALLBACK"}
    planned = staffed.run("acme-dev", "--format", "json", "--dry-run", "--last-used", **settings)
    assert planned.code == 0
    assert (sends(staffed), issue_posts(staffed)) == (0, 0)
    rows = {(one["user_name"], one["label"]): one for one in json.loads(planned.stdout)}
    kramer = rows["dev_kramer", "expired"]
    assert (kramer["next"], kramer["owner"], kramer["owner_from"]) == (
        "disabled by the next run",
        KRAMER,
        "mapping file",
    )
    assert (kramer["issue"], kramer["told_at"], kramer["was_used"]) == (None, None, False)
    jones = rows["dev_jones", "expiring"]
    assert (jones["owner"], jones["owner_from"]) == ("C0FALLBACK", "fallback channel")
    assert jones["disabled_from"] == jones["expires_at"][:10] == jones["next_on"]
    young = rows["dev_kramer", "ok"]
    assert (young["owner"], young["was_used"]) == (KRAMER, False)

    ran = staffed.run("acme-dev", "--format", "csv", **settings)
    assert (ran.code, ran.stderr) == (0, "")
    assert statuses(staffed, "dev_kramer") == ["Inactive", "Active"]
    done = {(one["user_name"], one["label"]): one for one in read_csv(ran.stdout.splitlines())}
    kramer = done["dev_kramer", "disabled"]
    assert kramer["issue"] in staffed.jira.issues
    assert kramer["told_at"].startswith(kramer["next"].rpartition(" ")[2])
    assert kramer["next"].startswith("disabled by keycheck on ")
    assert done["dev_kramer", "ok"]["was_used"] == ""


def test_what_is_shown_does_not_decide_what_is_done(staffed: World) -> None:
    settings = {**ALL_ON, **AT_ONCE, "slack_fallback_channel": "C0FALLBACK"}
    ran = staffed.run("acme-dev", "--format", "json", "--user", "nobody", "--only", "ok", **settings)
    assert (ran.code, read_json(ran.stdout.splitlines())) == (0, [])
    assert statuses(staffed, "dev_kramer") == ["Inactive", "Active"]
    assert issue_posts(staffed) == 2


def test_no_row_and_no_table_holds_a_full_access_key_id(staffed: World) -> None:
    ids = [key_id for user in ("dev_kramer", "dev_jones") for key_id, _, _ in staffed.aws.keys(user)]
    for name in ("table", "json", "csv"):
        ran = staffed.run("acme-dev", "--format", name, "--last-used", "--dry-run", **ALL_ON)
        assert ran.code == 0
        assert not any(key_id in ran.stdout for key_id in ids)


def test_two_profiles_of_one_account_are_shown_once(staffed: World) -> None:
    config = staffed.config_file.read_text(encoding="utf-8")
    again = re.search(r"\[profile acme-dev\]\n(.*?)(?=\n\[|\Z)", config, re.DOTALL)
    assert again is not None
    staffed.config_file.write_text(f"{config}\n[profile again]\n{again[1]}\n", encoding="utf-8")
    ran = staffed.run("acme-dev", "again", "--format", "json")
    assert ran.code == 0
    assert [one["profile"] for one in json.loads(ran.stdout)] == ["acme-dev"] * 3


def test_an_account_that_cannot_be_scanned_has_no_rows_and_is_said(staffed: World) -> None:
    ran = staffed.run("acme-dv", "--format", "json")
    assert (ran.code, json.loads(ran.stdout)) == (1, [])
    assert ran.stderr.startswith("E! acme-dv: there is no such AWS profile")
    ran = staffed.run("acme-dv", "--format", "table")
    assert (ran.code, ran.stdout) == (1, "")


# What a run says that it did


def test_a_run_says_what_it_did_a_line_an_action_and_which_run_it_was(staffed: World) -> None:
    settings = {**ALL_ON, **AT_ONCE, "slack_fallback_channel": "C0FALLBACK"}
    ran = staffed.run("acme-dev", "-v", **settings)
    assert ran.code == 0
    said = [line.removeprefix("I! acme-dev: ") for line in ran.stderr.splitlines() if line.startswith("I! ")]
    run_id = str(records(staffed)[staffed.aws.keys("dev_kramer")[0][0]]["disabled_by"])[:8]
    done = [line.removesuffix(f" (run {run_id})") for line in said if line.endswith(f" (run {run_id})")]
    old, due = (staffed.aws.keys(user)[0][0][-5:] for user in ("dev_kramer", "dev_jones"))
    filed = {line for line in done if line.startswith("filed ")}
    assert filed == {
        f"filed {key} for access key ...{five} of {user} ({age} days old)"
        for key, issue in staffed.jira.issues.items()
        for five, user, age in ((old, "dev_kramer", "expired, 197"), (due, "dev_jones", "expiring, 170"))
        if five in issue.summary
    }
    assert {line for line in done if line.startswith("sent ")} == {
        f"sent a message to {KRAMER} about 1 access key: dev_kramer ...{old}",
        f"sent a message to C0FALLBACK about 1 access key: dev_jones ...{due}",
    }
    assert f"disabled access key ...{old} of dev_kramer (expired, 197 days old), with notice to {KRAMER}" in done
    assert [line for line in said if line.startswith("policy: ")] == [f"policy: {policy(make_settings())}"]
    assert "(run " not in staffed.run("acme-dev", **settings).stderr, "only with -v"


def test_what_is_about_nobody_or_over_is_said(staffed: World) -> None:
    staffed.owners["left.long.ago"] = "U0LEFT"
    until = date.today() + timedelta(days=9)  # noqa: DTZ011 - of whoever writes the file
    rules = [("nobody", until + timedelta(days=90)), ("dev_kramer", until)]
    text = "".join(
        f'[[exemption]]\naccount = "acme-dev"\nuser = "{user}"\nuntil = {day}\nreason = "a freeze"\n'
        for user, day in rules
    )
    (staffed.folder / "exemptions.toml").write_text(text, encoding="utf-8")
    settings = {**ALL_ON, "exemptions_file": str(staffed.folder / "exemptions.toml")}
    ran = staffed.run("acme-dev", "--dry-run", **settings)
    assert ran.code == 0
    for says in (
        "exemptions_file: exemption 1 (user 'nobody', until ",
        "exemptions_file: exemption 2 (user 'dev_kramer', until ",
        "slack_id_mapping_file: 1 entry is for users who have no access key in the accounts of this run: left.long.ago",
    ):
        assert f"I! acme-dev: {says}" in ran.stderr
    assert "left.long.ago" not in staffed.run("acme-dev", **settings).stderr, "no warning in each run"


def test_sentences_are_folded_between_words_on_a_terminal_alone(staffed: World) -> None:
    piped = staffed.run("--explain", "dev_kramer", "acme-dev", **ALL_ON).stdout
    assert max(map(len, piped.splitlines())) > COLUMNS
    shown = on_a_terminal(staffed, "--explain", "dev_kramer", "acme-dev", **ALL_ON)
    assert max(map(len, shown.splitlines())) <= COLUMNS
    assert shown.split() == piped.split(), "no word is broken or lost"


def test_a_check_is_folded_under_its_text_on_a_terminal() -> None:
    assert fold(["untested profile acme-dev: it is not known whether this can be done"], 50, indent=9) == [
        "untested profile acme-dev: it is not known whether",
        "         this can be done",
    ]
    assert fold(["ok       clock"], 50, indent=9) == ["ok       clock"]
    assert fold(["x" * 90], 50) == ["x" * 90]
    assert fold(["a b" * 90], None) == ["a b" * 90]


# How far it is


def stderr_on_a_terminal(
    world: World, *arguments: str, is_terminal: bool = True, environ: Mapping[str, str] = MappingProxyType({})
) -> str:
    """What a run writes to stderr; stdout is a pipe."""
    world.write_owners()
    ours, theirs = pty.openpty() if is_terminal else os.pipe()
    os.set_blocking(ours, False)
    command, env = [sys.executable, str(ENTRY), *arguments], {**world.environ, **environ}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs, env=env)
    os.close(theirs)
    shown = b""
    while process.poll() is None:
        time.sleep(0.02)
        with suppress(OSError):
            shown += os.read(ours, 65536)
    with suppress(OSError):
        shown += os.read(ours, 65536)
    os.close(ours)
    assert process.stdout is not None
    assert process.stdout.read().startswith(b"iam,")
    process.stdout.close()
    return shown.decode()


@pytest.fixture
def slow(iam_world: World) -> Iterator[World]:
    """A scan of some two seconds."""
    iam = fake_iam(iam_world)
    for number in range(100):
        iam.add_user(f"user{number:03}", [3])
    before, iam.latency = iam.latency, 0.25
    yield iam_world
    iam.latency = before


def test_a_person_at_a_terminal_sees_how_far_a_long_scan_is_and_then_nothing_of_it(slow: World) -> None:
    shown = stderr_on_a_terminal(slow, "acme-dev")
    steps = [(int(read), int(found)) for read, found in re.findall(r"\r\x1b\[K(\d+) of (\d+) users read", shown)]
    assert len(steps) >= 2
    assert steps == sorted(steps)
    assert {found for _, found in steps} == {100}
    assert shown.endswith("\r\x1b[K"), "it is taken away"
    assert "\n" not in shown


@pytest.mark.parametrize(("arguments", "is_terminal"), [((), False), (("-v",), True)], ids=["a pipe", "with -v"])
def test_nobody_else_sees_it(slow: World, arguments: tuple[str, ...], is_terminal: bool) -> None:
    shown = stderr_on_a_terminal(slow, "acme-dev", *arguments, is_terminal=is_terminal)
    assert "users read" not in shown
    assert "\x1b" not in shown


def test_actions_are_counted_too(staffed: World) -> None:
    staffed.slack.inject(Fault.late(2.0), calls("POST", "/chat.postMessage"))
    shown = stderr_on_a_terminal(staffed, "acme-dev", environ={**ALL_ON, **AT_ONCE})
    steps = [(int(done), int(count)) for done, count in re.findall(r"(\d+) of (\d+) actions", shown)]
    assert steps
    assert steps == sorted(steps)
    assert all(0 < done <= count for done, count in steps)


# What is typed wrong


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--format", "xml"], "argument --format: invalid choice: 'xml'"),
        (["--format", "csv", "--only", "old"], "argument --only: 'old' is no label; they are ok, expiring, expired"),
        (["--format", "csv", "--only", ""], "argument --only: '' is no label"),
        (["--format", "csv", "--sort", "size"], "argument --sort: invalid choice: 'size'"),
        (["--only", "expired"], "--only needs --format table, json or csv"),
        (["--user", "x"], "--user needs --format"),
        (["--sort", "age"], "--sort needs --format"),
        (["--last-used"], "--last-used needs --format"),
    ],
)
def test_what_is_typed_wrong_is_one_line_and_nothing_is_done(world: World, arguments: list[str], says: str) -> None:
    ran = world.run("acme-dev", *arguments)
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"E! keycheck: {says}")
    assert ran.stderr.count("\n") == 1
    assert world.gate.requests == []


def test_without_rich_a_table_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    said = read_options(parser.parse_args(["--format", "table"]))
    assert isinstance(said, str)
    assert "needs the Python package rich; run: pip install rich" in said
    for name in ("influx", "json", "csv"):
        assert not isinstance(read_options(parser.parse_args(["--format", name])), str)


@pytest.mark.parametrize("name", ["influx", "json", "csv"])
def test_rich_is_imported_for_a_table_alone(staffed: World, name: str) -> None:
    command = [sys.executable, "-X", "importtime", str(ENTRY), "acme-dev", "--format", name]
    done = subprocess.run(command, capture_output=True, text=True, env=staffed.environ, check=True)
    assert "keycheck.run" in done.stderr
    assert not re.search(r"\brich\b", done.stderr)
