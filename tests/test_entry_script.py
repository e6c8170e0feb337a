"""The entry script as a person, cron or Telegraf starts it: arguments, settings, streams, what it says when it can't.

Every run is the real file in a process of its own, and every run is held to `sound`: stdout is line protocol that an
independent parser reads, stderr is prefixed lines of at most 512 bytes, and neither holds a traceback, a secret or a
full access key id. Worlds whose AWS is a FakeIam count its calls: a typo must not cost a single one.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from line_protocol_parser import parse_line

from keycheck import __version__
from sandbox.fake_iam import iam_error
from sandbox.warm_parent import ENTRY
from sandbox.world import Ran, World
from tests.builders import UNTOLD
from tests.running import (
    PASTED_TOKEN,
    closed_port,
    fake_iam,
    iam_lines,
    run,
    run_fields,
    sends,
    sound,
)


def run_command(world: World, command: Sequence[str | bytes], cwd: Path | str = "/", **settings: str) -> Ran:
    """Run another command than World.run would, in the same clean environment."""
    world.write_owners()
    environ = {**world.environ, **settings}
    done = subprocess.run(
        command, env=environ, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False
    )
    return sound(Ran(done.returncode, done.stdout.decode(), done.stderr.decode()), world)


def run_redirected(world: World, redirection: str, *arguments: str, **settings: str) -> Ran:
    """Run as a shell would, with a redirection such as `>&-`."""
    shell = ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, str(ENTRY), *arguments]
    return run_command(world, shell, **settings)


def aws_calls(world: World) -> int:
    return len(fake_iam(world).log)


def to_the_fake_alone(world: World, **settings: str) -> dict[str, str]:
    """Settings under which every AWS client asks the FakeIam."""
    return {"AWS_ENDPOINT_URL": fake_iam(world).url, **settings}


# Arguments


def test_help_names_every_option_and_every_exit_code(iam_world: World) -> None:
    ran = iam_world.run("--help")
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.startswith("usage: iam-accesskey-check.py")
    for words in ("AWS_PROFILE", "--dry-run", "--fail-on-errors", "--verbose", "--version", "Exit codes: 0 "):
        assert words in ran.stdout


def test_version_is_one_line_on_stdout(iam_world: World) -> None:
    assert iam_world.run("--version") == Ran(0, f"keycheck {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "aws_profile", "says"),
    [
        pytest.param(["--formt=json", "acme-dev"], None, "did you mean --format?", id="an option a letter off"),
        pytest.param(["disable_key=True"], None, "disable_key=... iam-accesskey-check.py AWS_PROFILE", id="a setting"),
        pytest.param(["acme-dev", "DISABLE_KEYS=1"], None, "disable_key is a setting", id="a setting, nearly"),
        pytest.param(["--dryrun", "acme-dev"], None, "--dryrun", id="unknown flag"),
        pytest.param(["--dry", "acme-dev"], None, "--dry", id="abbreviated flag"),
        pytest.param(["--at", "2026-01-01", "acme-dev"], None, "--at", id="a switch for the clock"),
        pytest.param([], None, "AWS_PROFILE", id="no profile"),
        pytest.param([], "", "AWS_PROFILE", id="empty AWS_PROFILE"),
        pytest.param([], "  ", "AWS_PROFILE", id="blank AWS_PROFILE"),
        pytest.param(["acme-dev", ""], None, "AWS_PROFILE", id="an empty profile among two"),
        pytest.param(["acme-dev", "a" * 201], None, "more than 200 characters", id="a profile too long for a line"),
    ],
)
def test_a_usage_error_is_one_line_and_no_call(
    iam_world: World, arguments: list[str], aws_profile: str | None, says: str
) -> None:
    ran = run(iam_world, *arguments, **to_the_fake_alone(iam_world), AWS_PROFILE=aws_profile)
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr.startswith("E! keycheck: ")
    assert ran.stderr.count("\n") == 1
    assert says in ran.stderr
    assert "see --help" in ran.stderr
    assert aws_calls(iam_world) == 0


def test_without_an_argument_the_profile_is_the_environments(iam_world: World) -> None:
    fake_iam(iam_world).add_user("dev_kramer", [197])
    ran = run(iam_world, AWS_PROFILE="acme-dev")
    assert ran.code == 0
    assert ran.lines[0].endswith(",status=expired,accountAlias=acme-dev age=197")


def test_aws_default_profile_comes_after_aws_profile(iam_world: World) -> None:
    ran = run(iam_world, AWS_PROFILE=" ", AWS_DEFAULT_PROFILE="acme-dev")
    assert run_fields(ran, "acme-dev")["users"] == 0
    ran = run(iam_world, AWS_PROFILE="acme-prod", AWS_DEFAULT_PROFILE="acme-dev")
    assert run_fields(ran, "acme-prod")["users"] == 0


@pytest.mark.parametrize("variable", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
def test_last_comes_the_default_profile_if_there_is_one(iam_world: World, tmp_path: Path, variable: str) -> None:
    file = tmp_path / "aws"
    file.write_text("[default]\nregion = us-east-1\naws_access_key_id = a\naws_secret_access_key = b\n")
    ran = run(iam_world, **{"AWS_PROFILE": None, variable: str(file)})
    assert ran.code == 0
    assert run_fields(ran, "default")["users"] == 0


@pytest.mark.process
@pytest.mark.process
@pytest.mark.parametrize("switch", [["--help"], ["--nope"]], ids=["help", "a usage error"])
def test_each_way_to_start_it_says_its_own_name(switch: list[str]) -> None:
    """The installed command is a script of that name, which calls cli.run."""
    code = f"import sys; sys.argv = ['/usr/bin/keycheck', *{switch}]; from keycheck.cli import run; run()"
    installed = subprocess.run(
        [sys.executable, "-c", code], cwd=ENTRY.parent.parent, capture_output=True, text=True, check=False
    )
    module = subprocess.run(
        [sys.executable, "-m", "keycheck", *switch],
        cwd=ENTRY.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if switch == ["--help"]:
        assert installed.stdout.startswith("usage: keycheck ")
        assert module.stdout.startswith("usage: python -m keycheck ")
        assert "\n  keycheck --dry-run acme-prod" in installed.stdout
    else:
        assert installed.stderr == module.stderr == "E! keycheck: unrecognized arguments: --nope; see --help\n"


def test_an_argument_wins_over_the_environments_profile(iam_world: World) -> None:
    ran = run(iam_world, "acme-prod", AWS_PROFILE="acme-typo")
    assert ran.code == 0
    assert run_fields(ran, "acme-prod")["users"] == 0
    assert len(ran.lines) == 1


def test_a_profile_given_twice_is_scanned_once(iam_world: World) -> None:
    ran = run(iam_world, "acme-dev", "acme-dev")
    assert ran.code == 0
    assert len(ran.lines) == 1
    assert fake_iam(iam_world).calls == {"ListUsers": 1, "GetAccountSummary": 1}


def test_any_profile_name_comes_back_out_of_the_metrics(iam_world: World) -> None:
    names = ["two words", "a,b=c", "naïve-日本", 'say "hi"', "emoji-🔑"]
    one = iam_world.aws.aws_config({"NAME": iam_world.aws.account_id})
    sections = [one.replace("[profile NAME]", f"[profile '{name}']") for name in names]
    iam_world.config_file.write_text("\n".join(sections), encoding="utf-8")
    fake_iam(iam_world).add_user("dev_kramer", [3])
    ran = run(iam_world, *names, LC_ALL="C", PYTHONIOENCODING="ascii")
    assert (ran.code, ran.stderr) == (0, "")
    assert [parse_line(line)["tags"]["accountAlias"] for line in iam_lines(ran)] == names
    assert [run_fields(ran, name)["keys"] for name in names] == [1] * len(names)


def test_a_profile_that_is_not_even_text_is_one_clear_line(iam_world: World) -> None:
    ran = run_command(iam_world, [sys.executable, str(ENTRY), b"acme-\xff"])
    assert ran.code == 1
    assert ran.stderr.startswith("E! acme-")
    assert "there is no such AWS profile" in ran.first_line


# Where and how it is started


def test_it_runs_through_a_symlink_from_a_folder_of_decoys(iam_world: World, tmp_path: Path) -> None:
    """Neither the working directory nor the link's folder is a place that modules come from."""
    for name in ("keycheck", "boto3", "model", "settings", "json", "scan"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the decoy was imported')\n", encoding="utf-8")
    link = tmp_path / "check"
    link.symlink_to(ENTRY)
    fake_iam(iam_world).add_user("dev_kramer", [197])
    ran = run_command(iam_world, [sys.executable, str(link), "acme-dev"], cwd=tmp_path)
    assert (ran.code, ran.stderr) == (0, "")
    assert run_fields(ran)["expired"] == 1


def test_it_runs_from_a_copy_whose_folder_has_another_name(iam_world: World, tmp_path: Path) -> None:
    copy = tmp_path / "opt" / "key check"
    shutil.copytree(ENTRY.parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    ran = run_command(iam_world, [sys.executable, str(copy / ENTRY.name), "acme-dev"])
    assert (ran.code, ran.stderr) == (0, "")
    assert run_fields(ran)["keys"] == 0


@pytest.mark.parametrize("home", [None, "/proc", "relative"])
def test_it_needs_no_home(iam_world: World, home: str | None) -> None:
    ran = run(iam_world, "acme-dev", HOME=home, PATH=None)
    assert (ran.code, ran.stderr) == (0, "")
    assert len(ran.lines) == 1


def test_python_m_keycheck_is_the_same_program(iam_world: World) -> None:
    fake_iam(iam_world).add_user("dev_kramer", [197])
    ran = run_command(iam_world, [sys.executable, "-m", "keycheck", "acme-dev"], PYTHONPATH=str(ENTRY.parent.parent))
    assert (ran.code, ran.stderr) == (0, "")
    assert iam_lines(ran) == iam_lines(run(iam_world, "acme-dev"))


def test_the_entry_is_executable_by_its_own_first_line() -> None:
    assert os.access(ENTRY, os.X_OK)
    assert ENTRY.read_text(encoding="utf-8").startswith("#!/usr/bin/env python3\n")


# The three streams


@pytest.mark.parametrize("redirection", ["<&-", "2>&-", "<&- 2>&-", "2>/dev/full"])
def test_closed_stdin_or_stderr_costs_no_metrics(iam_world: World, redirection: str) -> None:
    fake_iam(iam_world).add_user("dev_kramer", [197])
    ran = run_redirected(iam_world, redirection, "acme-dev")
    assert ran.code == 0
    assert len(ran.lines) == 2


@pytest.mark.parametrize(
    ("redirection", "why"), [(">&-", "it is closed"), (">/dev/full", "No space left on device"), ("<&- >&-", "closed")]
)
def test_an_unwritable_stdout_is_one_line_and_exit_1(iam_world: World, redirection: str, why: str) -> None:
    fake_iam(iam_world).add_user("dev_kramer", [197])
    ran = run_redirected(iam_world, redirection, "acme-dev")
    assert (ran.code, ran.stdout) == (1, "")
    assert ran.stderr.startswith("E! acme-dev: the metrics could not be written to stdout: ")
    assert why in ran.first_line
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize("redirection", [">/dev/full", ">&- 2>&-"])
def test_help_that_cannot_be_written_is_exit_1(iam_world: World, redirection: str) -> None:
    ran = run_redirected(iam_world, redirection, "--help")
    assert (ran.code, ran.stdout) == (1, "")


def test_a_reader_that_goes_away_is_exit_1_and_one_line(iam_world: World) -> None:
    fake_iam(iam_world).add_user("dev_kramer", [197])
    with iam_world.popen("acme-dev") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        stderr = process.stderr.read()
        process.wait(timeout=60)
    ran = sound(Ran(process.returncode, "", stderr), iam_world)
    assert ran.code == 1
    assert ran.stderr.startswith("E! acme-dev: the metrics could not be written to stdout: Broken pipe")
    assert ran.stderr.count("\n") == 1


def test_a_slow_reader_gets_every_line_whole(iam_world: World) -> None:
    """More than a pipe holds, read only once the program is waiting."""
    for number in range(300):
        fake_iam(iam_world).add_user(f"user_{number:03}", [1, 10, 100, 200])
    with iam_world.popen("acme-dev") as process:
        assert process.stdout is not None
        select.select([process.stdout], [], [], 60)
        stdout, stderr = process.communicate(timeout=60)
    ran = sound(Ran(process.returncode, stdout, stderr), iam_world)
    assert (ran.code, ran.stderr) == (0, "")
    assert len(ran.stdout) > 65_536
    assert len(iam_lines(ran)) == 1200


def test_a_library_that_prints_cannot_corrupt_the_metrics(iam_world: World, tmp_path: Path) -> None:
    """It prints, writes to descriptor 1, starts a process that does, logs and warns, as boto3 is imported."""
    (tmp_path / "sitecustomize.py").write_text(
        """
import logging, os, subprocess, sys, warnings

class Noisy:
    def find_spec(self, name, path=None, target=None):
        if name == "botocore":
            print("noise by print")
            os.write(1, b"noise by write")
            subprocess.run(["/bin/echo", "noise by a child"])
            logging.getLogger("noisy").error("noise by logging")
            warnings.warn("noise by warning", UserWarning)

sys.meta_path.insert(0, Noisy())
""",
        encoding="utf-8",
    )
    fake_iam(iam_world).add_user("dev_kramer", [197])
    iam_world.write_owners()
    with iam_world.popen("acme-dev", PYTHONPATH=str(tmp_path)) as process:
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    ran = sound(Ran(0, stdout, ""), iam_world)
    assert [line.split(" ")[0].split(",")[0] for line in ran.lines] == ["iam", "iam_run"]
    assert "noise by logging" not in stderr
    assert "noise by warning" not in stderr


# Settings

TYPOS = [
    pytest.param({"send_slack": "yes"}, "send_slack: 'yes' is neither True nor False", id="boolean word"),
    pytest.param({"create_jira": "1"}, "create_jira: '1' is neither True nor False", id="boolean digit"),
    pytest.param({"disable_key": "Flase"}, "disable_key: 'Flase'", id="boolean misspelt"),
    pytest.param({"dump_metric_to_console": "off"}, "dump_metric_to_console: 'off'", id="boolean off"),
    pytest.param({"expire_age": "-1"}, "expire_age: '-1' is not a whole number from 0 to 3650", id="below the range"),
    pytest.param({"expire_age": "3651"}, "expire_age: '3651' is not", id="above the range"),
    pytest.param({"expire_age": "9" * 5000}, "expire_age: the value given (5000 char", id="5,000 digits"),
    pytest.param({"expiring_days": "15.5"}, "expiring_days: '15.5'", id="a fraction"),
    pytest.param({"expiring_days": "3651"}, "expiring_days: '3651'", id="too many days"),
    pytest.param({"nag_interval_hours": "0"}, "nag_interval_hours: '0' is not a whole number from 1 to 720", id="0 h"),
    pytest.param({"nag_interval_hours": "721"}, "nag_interval_hours: '721'", id="721 h"),
    pytest.param({"run_timeout_seconds": "4"}, "run_timeout_seconds: '4'", id="4 s"),
    pytest.param({"run_timeout_seconds": "100s"}, "run_timeout_seconds: '100s'", id="a number with a unit"),
    pytest.param(
        {"run_timeout_seconds": "\u0665\u0660"}, "run_timeout_seconds: '\u0665\u0660'", id="digits of another script"
    ),
    pytest.param({"run_timeout_seconds": "3601"}, "run_timeout_seconds: '3601'", id="3601 s"),
    pytest.param({"claim_margin_seconds": "0"}, "claim_margin_seconds: '0'", id="no margin"),
    pytest.param({"claim_margin_seconds": "86401"}, "claim_margin_seconds: '86401'", id="too long a margin"),
    pytest.param({"jira_server_address": "example.atlassian.net"}, "jira_server_address: not a web", id="no scheme"),
    pytest.param({"jira_server_address": "http://jira.example.com"}, "jira_server_address: must be https", id="http"),
    pytest.param(
        {"slack_api_base_url": "http://slack.example.com/api/"}, "slack_api_base_url: must be", id="Slack http"
    ),
    pytest.param({"slack_api_base_url": "http://127.0.0.1.evil.example/"}, "must be https", id="nearly loopback"),
    pytest.param({"jira_server_address": f"https://me:{PASTED_TOKEN}@a.example"}, "credentials", id="credentials"),
    pytest.param({"send_slack": PASTED_TOKEN}, "send_slack: the value given (31 characters)", id="a token as switch"),
    pytest.param({"dynamodb_table_name": "no spaces"}, "dynamodb_table_name: not a table name", id="table name"),
    pytest.param({"jira_extra_fields": "{priority: High}"}, "jira_extra_fields: not valid JSON", id="not JSON"),
    pytest.param({"jira_extra_fields": '["High"]'}, "jira_extra_fields: not a JSON object", id="a JSON list"),
    pytest.param({"jira_extra_fields": '{"summary": "x"}'}, "'summary' is filled in by keycheck", id="our own field"),
    pytest.param({"jira_extra_fields": '{"labels": "x"}'}, "'labels' must be a list of strings", id="labels no list"),
    pytest.param({"create_jira": "True", "jira_server_address": ""}, "jira_server_address: not set", id="no address"),
    pytest.param({"create_jira": "True", "jira_project_key": " "}, "jira_project_key: not set", id="no project"),
    pytest.param(
        {"create_jira": "True", "credstash_keyname_atlassian_api_token": ""},
        "credstash_keyname_atlassian_api_token: not set",
        id="no Jira token's name",
    ),
    pytest.param(
        {"send_slack": "True", "credstash_keyname_slack_api_token": ""},
        "credstash_keyname_slack_api_token: not set",
        id="no Slack token's name",
    ),
    pytest.param(
        {"send_slack": "True", "credstash_aws_profile_name": ""},
        "credstash_aws_profile_name: not set",
        id="no credstash profile",
    ),
    pytest.param(
        {"disable_key": "True", "aws_dynamodb_profile_name": ""},
        "aws_dynamodb_profile_name: not set, but disable_key is True",
        id="no state profile",
    ),
]


@pytest.mark.parametrize(("settings", "says"), TYPOS)
def test_a_wrong_setting_is_one_line_exit_2_and_no_call(iam_world: World, settings: dict[str, str], says: str) -> None:
    ran = run(iam_world, "acme-dev", **to_the_fake_alone(iam_world, **settings))
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr.startswith("E! acme-dev: ")
    assert says in ran.first_line
    assert ran.stderr.count("\n") == 1
    assert aws_calls(iam_world) == 0


def test_all_problems_of_the_settings_are_listed_at_once(iam_world: World) -> None:
    wrong = {
        "send_slack": "yes",
        "create_jira": "True",
        "expire_age": "old",
        "jira_server_address": "http://jira.example.com",
        "jira_project_key": "",
        "jira_extra_fields": "[",
        "aws_dynamodb_profile_name": "",
    }
    ran = run(iam_world, "acme-dev", "acme-prod", **to_the_fake_alone(iam_world, **wrong))
    assert (ran.code, ran.stdout) == (2, "")
    named = [line.split(": ")[1] for line in ran.stderr.splitlines()]
    assert sorted(set(named)) == sorted(wrong.keys() - {"create_jira"})
    assert all(line.startswith("E! acme-dev, acme-prod: ") for line in ran.stderr.splitlines())
    assert f"(1 of {len(named)} lines)" in ran.first_line
    assert aws_calls(iam_world) == 0
    assert iam_world.jira.requests == []
    assert sends(iam_world) == 0


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(
            {
                "expire_age": "0",
                "expiring_days": "0",
                "nag_interval_hours": "1",
                "run_timeout_seconds": "5",
                "claim_margin_seconds": "1",
                "send_slack": "fALSE",
                "dump_metric_to_console": "TRUE",
                "disable_key": " ",
                "jira_server_address": "",
            },
            id="lowest",
        ),
        pytest.param(
            {
                "expire_age": "3650",
                "expiring_days": "3650",
                "nag_interval_hours": "720",
                "run_timeout_seconds": "3600",
                "claim_margin_seconds": "86400",
                "jira_server_address": "https://example.atlassian.net/jira",
                "slack_api_base_url": "http://localhost:1/api",
            },
            id="highest",
        ),
    ],
)
def test_the_edges_of_every_range_are_allowed(iam_world: World, settings: dict[str, str]) -> None:
    fake_iam(iam_world).add_user("dev_kramer", [0])
    ran = run(iam_world, "acme-dev", **settings)
    assert (ran.code, ran.stderr) == (0, "")
    status = "expired" if settings["expire_age"] == "0" else "expiring"
    assert f",status={status}," in ran.lines[0]


def test_disabling_young_keys_is_said_in_one_warning(iam_world: World) -> None:
    ran = run(iam_world, "acme-dev", disable_key="True", expire_age="29")
    assert ran.code == 0
    assert ran.stderr.startswith("W! acme-dev: expire_age=29 with disable_key=True: ")
    assert ran.stderr.count("\n") == 2
    assert ran.stderr.endswith(UNTOLD)
    assert run(iam_world, "acme-dev", disable_key="True", expire_age="30").stderr == UNTOLD


# What a new user runs into


def test_a_bad_profile_is_named_with_what_to_do(iam_world: World) -> None:
    ran = run(iam_world, "acme-typo")
    assert ran.code == 1
    assert ran.stderr.startswith("E! acme-typo: there is no such AWS profile: did you mean 'acme-")
    assert ran.stderr.count("\n") == 1
    assert run_fields(ran, "acme-typo").keys() == {"errors", "incomplete", "duration_seconds", "finished_at"}
    assert (run_fields(ran, "acme-typo")["errors"], run_fields(ran, "acme-typo")["incomplete"]) == (1, 1)


def test_with_v_the_first_line_is_still_the_first_that_matters(iam_world: World) -> None:
    """Telegraf keeps that one alone."""
    ran = run(iam_world, "acme-typo", "-v")
    assert ran.first_line.startswith("E! acme-typo: there is no such AWS profile")
    assert ran.stderr.count("\nD! acme-typo: ") > 1


def test_without_a_network_the_first_line_says_so(world: World) -> None:
    ran = run(world, "acme-dev", AWS_ENDPOINT_URL=closed_port())
    assert ran.code == 1
    assert ran.stderr.startswith("E! acme-dev: iam:ListUsers: ")
    assert "is there a network?" in ran.first_line
    assert ran.stderr.count("\n") == 1
    assert run_fields(ran)["errors"] == 1
    assert run_fields(ran)["incomplete"] == 1
    assert iam_lines(ran) == []


@pytest.mark.parametrize(
    ("config", "says"),
    [
        pytest.param("[profile acme-dev]\nregion = us-east-1\n", "the profile has no credentials", id="no credentials"),
        pytest.param("[profile acme-dev]\naws_access_key_id = AKIAINVENTED\n", "incomplete", id="half a key"),
        pytest.param("[profile acme-dev\nregion", "cannot be parsed", id="not a config file"),
        pytest.param(
            "[profile acme-dev]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = gone\n",
            "the profile is not complete",
            id="source_profile that is not there",
        ),
        pytest.param(
            "[profile acme-dev]\nsso_start_url = https://a.example\nsso_region = us-east-1\nsso_account_id = 1\n"
            "sso_role_name = x\n",
            "aws sso login --profile acme-dev",
            id="nobody signed in",
        ),
    ],
)
def test_credentials_that_cannot_work_are_one_clear_line(iam_world: World, config: str, says: str) -> None:
    iam_world.config_file.write_text(config, encoding="utf-8")
    ran = run(iam_world, "acme-dev", **to_the_fake_alone(iam_world, PYTHONHASHSEED="0"))
    assert ran.code == 1
    assert ran.stderr.startswith("E! acme-dev: ")
    assert says in ran.first_line
    assert ran.stderr.count("\n") == 1
    assert run_fields(ran)["incomplete"] == 1
    assert aws_calls(iam_world) == 0


@pytest.mark.parametrize("code", ["AccessDenied", "ExpiredToken", "InvalidClientTokenId"])
def test_credentials_that_aws_refuses_are_one_clear_line(iam_world: World, code: str) -> None:
    fake_iam(iam_world).inject(
        iam_error(code, message="User: arn:aws:iam::123456789012:user/AKIAINVENTED0123456 is not authorized")
    )
    ran = run(iam_world, "acme-dev")
    assert ran.code == 1
    assert ran.stderr.startswith("E! acme-dev: ")
    assert code in ran.first_line
    assert "iam:ListUsers" in ran.first_line
    assert ran.stderr.count("\n") == 1
    assert aws_calls(iam_world) == 1


@pytest.mark.parametrize("skew", [timedelta(minutes=10), timedelta(minutes=-10)])
def test_a_clock_ten_minutes_off_ends_the_run(iam_world: World, skew: timedelta) -> None:
    """Ages could not be trusted, and AWS itself refuses what is signed so far off."""
    fake_iam(iam_world).add_user("dev_kramer", [197])
    fake_iam(iam_world).clock_skew = skew
    ran = run(iam_world, "acme-dev")
    assert ran.code == 1
    where = "behind" if skew > timedelta() else "ahead of"
    assert ran.stderr.startswith(f"E! acme-dev: this machine's clock is 10 minutes {where} AWS's; set it")
    assert ran.stderr.count("\n") == 1
    assert iam_lines(ran) == []
    assert run_fields(ran)["incomplete"] == 1


def test_a_clock_four_minutes_off_is_tolerated(iam_world: World) -> None:
    fake_iam(iam_world).clock_skew = timedelta(minutes=4)
    assert run(iam_world, "acme-dev").code == 0


def test_missing_secrets_are_named_and_cost_only_their_service(world: World) -> None:
    world.aws.add_user("dev_kramer", [197])
    world.owners["dev_kramer"] = "U012KRAMER"
    ran = run(
        world,
        "acme-dev",
        send_slack="True",
        create_jira="True",
        credstash_keyname_slack_api_token="no.slack.token",
        credstash_keyname_atlassian_api_token="no.jira.token",
    )
    assert ran.code == 0
    assert len(ran.lines) == 2
    assert [line[:3] for line in ran.stderr.splitlines()] == ["E! ", "E! "]
    slack, jira = ran.stderr.splitlines()
    assert jira.startswith("E! acme-dev: no issues are filed: the secret 'no.jira.token' could not be read: ")
    assert "there is no secret of that name in the store" in jira
    assert slack.startswith("E! acme-dev: nobody is nagged: the secret 'no.slack.token' could not be read: ")
    assert run_fields(ran)["errors"] == 2
    assert world.jira.requests == []
    assert sends(world) == 0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        pytest.param({"credstash_aws_profile_name": "acme-typo"}, "there is no such AWS profile", id="no profile"),
        pytest.param({"credstash_region": "eu-west-1"}, "there is no table credential-store", id="another region"),
    ],
)
def test_a_store_that_is_not_there_is_one_clear_line(world: World, settings: dict[str, str], says: str) -> None:
    world.aws.add_user("dev_kramer", [197])
    ran = run(world, "acme-dev", create_jira="True", **settings)
    assert ran.code == 0
    assert ran.stderr.startswith("E! acme-dev: no issues are filed: the secret 'jira.email' could not be read: ")
    assert says in ran.first_line
    assert ran.stderr.count("\n") == 1
    assert run_fields(ran)["keys"] == 1


def test_secrets_are_read_only_when_an_action_is_due(world: World) -> None:
    world.aws.add_user("dev_kramer", [3])
    ran = run(world, "acme-dev", send_slack="True", create_jira="True", credstash_aws_profile_name="acme-typo")
    assert (ran.code, ran.stderr) == (0, "")
