"""telegraf.conf and the reference's blocks under the real Telegraf: every line arrives, once, and nothing is left.

What these lean on (services.md 7.1): the plugin's timeout is a SIGTERM, Telegraf waits for a run when it is itself
told to end, and `--once` really runs keycheck.
"""

from __future__ import annotations

import gzip
import os
import re
import signal
import socket
import zlib
from pathlib import Path
from typing import Final

import pytest
import requests
from line_protocol_parser import parse_line

from keycheck.metrics import RUN_FIELDS
from sandbox.fake_iam import about
from sandbox.http_fake import Answer, FakeServer, Fault, Request
from sandbox.moto_aws import MotoAws
from sandbox.world import ACCOUNTS, World
from tests.deployed import test_wavefront
from tests.deployed.history import prometheus_name
from tests.deployed.telegraf import (
    ROOT,
    SAMPLE,
    Telegraf,
    check,
    installed_sample,
    left_running,
    outputs,
    with_output,
)
from tests.impatience import wait_until
from tests.running import KRAMER, fake_iam, issue_posts, run, statuses

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("telegraf")]

LONG_SECONDS: Final = 60
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
ODD_NAMES = ("a=b", "ci,deploy", "dev@example.com", "x+y", "n" * 64)
FILLED_IN = {
    "INFLUX_TOKEN": "invented",
    "INFLUX_ORG": "acme",
    "INFLUX_BUCKET": "keycheck",
    "WAVEFRONT_TOKEN": "invented",
    "DATADOG_API_KEY": "invented",
}


class Listening(FakeServer):
    """Takes whatever an output sends."""

    def serve(self, request: Request) -> Answer:
        match request.path:
            case "/query":  # InfluxDB 1: the database is made
                return Answer(200, {"results": [{"statement_id": 0}]})
            case "/write" | "/api/v2/write":
                return Answer(204)
            case _:
                return Answer(202, {})


def points(lines: list[str]) -> list[tuple[str, list[tuple[str, str]], list[tuple[str, object]]]]:
    """What the lines say, in one order; the times of a run differ from run to run."""
    found = [parse_line(line) for line in lines]
    return sorted(
        (
            one["measurement"],
            sorted(one["tags"].items()),
            sorted(
                (name, value)
                for name, value in one["fields"].items()
                if name not in ("duration_seconds", "finished_at")
            ),
        )
        for one in found
    )


def ours(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("aws.")]


def complaints(log: str) -> list[str]:
    """Telegraf's lines at W level and above."""
    return [line for line in log.splitlines() if re.search(r"Z [WE]! ", line)]


def populate(aws: MotoAws) -> None:
    for number, name in enumerate(ODD_NAMES):
        aws.add_user(name, [10 + 90 * number])
    aws.add_user("dev_singh", [12], account_id=ACCOUNTS["acme-prod"])


def sample_for(opt: Path, etc: Path, text: str = SAMPLE) -> str:
    """A configuration to be run here; it flushes soon, where the sample's own ten seconds would be waited for."""
    return installed_sample(text, opt, etc).replace("[agent]", '[agent]\n  flush_interval = "200ms"')


# The sample


def test_the_sample_is_sound_as_it_stands_and_starts_without_a_complaint(tmp_path: Path) -> None:
    checked = check(tmp_path, SAMPLE, dict(os.environ))
    assert (checked.returncode, complaints(checked.stderr)) == (0, [])


def test_the_sample_brings_every_line_of_a_run_to_stdout(world: World, opt: Path, etc: Path, tmp_path: Path) -> None:
    """Two profiles, the odd names among the users; tags, fields and types as keycheck printed them."""
    populate(world.aws)
    with Telegraf(tmp_path, installed_sample(SAMPLE, opt, etc), world.environ, "--once") as telegraf:
        ended = telegraf.ended()
    alone = run(world, "acme-dev", "acme-prod")
    assert (ended.code, complaints(ended.log)) == (0, [])
    assert points(ours(ended.lines)) == points([f"aws.{line}" for line in alone.lines])
    assert len(ours(ended.lines)) == len(ODD_NAMES) + 1 + 2


def test_a_start_measures_at_once_and_every_message_of_a_run_is_in_the_log(
    world: World, opt: Path, etc: Path, tmp_path: Path
) -> None:
    """round_interval and log_level as the sample has them: no hour's wait, and more than the first line of stderr."""
    config = sample_for(opt, etc).replace('"acme-dev", "acme-prod"', '"-v", "acme-dev", "nope", "nada"')
    with Telegraf(tmp_path, config, world.environ) as telegraf:
        wait_until(lambda: "iam_run,accountAlias=acme-dev" in telegraf.stdout, LONG_SECONDS)
        ended = telegraf.ended(signal.SIGTERM)
    assert ended.code == 0
    assert "E! [inputs.exec::keycheck] nope, nada: there is no such AWS profile" in ended.log
    for profile in ("nope", "nada"):
        (run_line,) = [one for one in ended.of("aws.iam_run") if one["accountAlias"] == profile]
        assert (run_line["errors"], run_line["incomplete"]) == (1, 1)
    assert "D! [inputs.exec::keycheck] acme-dev" in ended.log


def test_the_string_form_for_an_older_telegraf_gives_the_same_and_is_called_deprecated(
    world: World, opt: Path, etc: Path, tmp_path: Path
) -> None:
    world.aws.add_user("dev_kramer", [197])
    text = re.sub(r"^  commands = \[\[.*\n", "", SAMPLE, flags=re.MULTILINE).replace("  # commands = ", "  commands = ")
    assert text.count("commands = ") == 1
    with Telegraf(tmp_path, installed_sample(text, opt, etc), world.environ, "--once") as telegraf:
        ended = telegraf.ended()
    assert [one["name"] for one in ended.of("aws.iam")] == ["dev_kramer"]
    assert len(ended.of("aws.iam_run")) == 2
    assert all("deprecated" in line for line in complaints(ended.log))


# Outputs


def test_every_output_that_the_sample_offers_is_tried_here() -> None:
    assert sorted(outputs()) == ["datadog", "influxdb", "influxdb_v2", "prometheus_client", "wavefront"]


@pytest.mark.parametrize("name", ["influxdb_v2", "influxdb", "wavefront", "datadog"])
def test_an_output_that_is_not_filled_in_keeps_telegraf_from_starting_and_says_what_to_do(
    tmp_path: Path, world: World, name: str
) -> None:
    checked = check(tmp_path, with_output(name), world.environ)
    assert checked.returncode != 0
    assert re.search(r"required variable (\w+) is missing a value: set \1", checked.stderr)


@pytest.mark.parametrize(
    ("name", "sends"),
    [
        ("influxdb_v2", "aws.iam,accountAlias=acme-dev,key="),
        ("influxdb", "aws.iam,accountAlias=acme-dev,key="),
        ("wavefront", '"aws.iam.age"'),
        ("datadog", "aws.iam.age"),
    ],
)
def test_each_output_as_it_stands_once_filled_in_sends_what_was_measured(
    world: World, opt: Path, etc: Path, tmp_path: Path, name: str, sends: str
) -> None:
    """Against a server that takes anything; InfluxDB itself is in test_influxdb.py. Datadog has a fixed address."""
    world.aws.add_user("dev_kramer", [197])
    with Listening() as server:
        filled_in = {**world.environ, **FILLED_IN, "INFLUX_URL": server.url, "WAVEFRONT_URL": server.url}
        config = installed_sample(with_output(name), opt, etc)
        if name == "datadog":
            config = config.replace("[[outputs.datadog]]", f'[[outputs.datadog]]\n  url = "{server.url}/series"')
        assert check(tmp_path, config, filled_in).returncode == 0
        with Telegraf(tmp_path, config, filled_in, "--once") as telegraf:
            ended = telegraf.ended()
        bodies = [unpacked(request) for request in server.requests]
    assert ended.code == 0
    assert complaints(ended.log) == []
    assert any(sends in body for body in bodies), (bodies, ended.log)
    if name == "wavefront":
        named = set(re.findall(r'"(aws[\w.]*)"', " ".join(bodies)))
        assert (
            {"aws.iam.age", "aws.iam.run.finished.at", "aws.iam.run.duration.seconds"} <= named <= test_wavefront.KNOWN
        )


def unpacked(request: Request) -> str:
    """The body of a request, whatever it was compressed with."""
    match request.headers.get("content-encoding"):
        case "gzip":
            return gzip.decompress(request.body).decode()
        case "deflate":
            return zlib.decompress(request.body).decode()
        case _:
            return request.body.decode(errors="replace")


def test_prometheus_is_shown_every_access_key_and_run_as_gauges(
    world: World, opt: Path, etc: Path, tmp_path: Path
) -> None:
    populate(world.aws)
    port = free_port()
    config = sample_for(opt, etc, with_output("prometheus_client")).replace(":9273", f"127.0.0.1:{port}")
    with Telegraf(tmp_path, config, world.environ) as telegraf:
        shown = wait_for_metrics(f"http://127.0.0.1:{port}/metrics", "aws_iam_run_duration_seconds")
        ended = telegraf.ended(signal.SIGTERM)
    ages = re.findall(
        r'^aws_iam_age\{accountAlias="acme-dev",key="\w{5}",name="([^"]+)",status="\w+"\} (\d+)$', shown, re.MULTILINE
    )
    assert sorted(ages) == sorted((name, str(10 + 90 * number)) for number, name in enumerate(ODD_NAMES))
    assert 'aws_iam_run_users{accountAlias="acme-prod"} 1' in shown
    assert set(re.findall(r"^# TYPE aws_\w+ (\w+)$", shown, re.MULTILINE)) == {"gauge"}
    names = set(re.findall(r"^# TYPE (aws_\w+) ", shown, re.MULTILINE))
    known = {prometheus_name("aws.iam", "age"), *(prometheus_name("aws.iam_run", field) for field in RUN_FIELDS)}
    assert known - names <= {f"aws_iam_run_{one}" for one in ("exempt", "overdue", "waiting")}, (
        "left out where they are not known"
    )
    assert names <= known
    assert complaints(ended.log) == []


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for_metrics(url: str, name: str) -> str:
    """What is shown there, once it shows this metric."""
    shown: list[str] = []

    def is_shown() -> bool:
        try:
            shown.append(requests.get(url, timeout=5).text)
        except requests.ConnectionError:  # it does not listen yet
            return False
        return name in shown[-1]

    wait_until(is_shown, LONG_SECONDS)
    return shown[-1]


# What goes wrong under Telegraf


def test_a_run_longer_than_the_plugins_timeout_keeps_what_it_has_and_leaves_nothing_behind(
    iam_world: World, opt: Path, tmp_path: Path
) -> None:
    iam = fake_iam(iam_world)
    iam.add_user("ana", [200])
    iam.add_user("ben", [200])
    iam.inject(Fault.hang(), about("ListAccessKeys", "ben"))
    config = sample_for(opt, etc_of(iam_world, tmp_path)).replace(', "acme-prod"', "")
    with Telegraf(tmp_path, config.replace('timeout = "120s"', 'timeout = "4s"'), iam_world.environ) as telegraf:
        wait_until(lambda: "aws.iam_run" in telegraf.stdout, LONG_SECONDS)
        assert left_running(opt) == []
        ended = telegraf.ended(signal.SIGTERM)
    assert [one["name"] for one in ended.of("aws.iam")] == ["ana"]
    (run_line,) = ended.of("aws.iam_run")
    assert run_line["incomplete"] == 1
    assert "command timed out" not in ended.log


def test_a_telegraf_that_is_told_to_end_in_mid_run_waits_for_it_and_loses_nothing(
    iam_world: World, opt: Path, tmp_path: Path
) -> None:
    iam = fake_iam(iam_world)
    for name in ("ana", "ben"):
        iam.add_user(name, [200])
    iam.latency = 0.5
    config = sample_for(opt, etc_of(iam_world, tmp_path)).replace(', "acme-prod"', "")
    with Telegraf(tmp_path, config, iam_world.environ) as telegraf:
        wait_until(lambda: iam.calls["ListUsers"] == 1, LONG_SECONDS)
        ended = telegraf.ended(signal.SIGTERM)
    assert (ended.code, left_running(opt)) == (0, [])
    assert sorted(str(one["name"]) for one in ended.of("aws.iam")) == ["ana", "ben"]
    assert [one["incomplete"] for one in ended.of("aws.iam_run")] == [0]


def test_two_blocks_that_name_one_profile_do_nothing_twice(engine_world: World, opt: Path, tmp_path: Path) -> None:
    """Against the advice of the sample, on a real engine: both act at once."""
    world = engine_world
    world.aws.add_user("dev_kramer", [197])
    world.owners["dev_kramer"] = KRAMER
    world.write_owners()
    block = re.search(r"^\[\[inputs\.exec\]\]\n.*?\n\n", SAMPLE, re.MULTILINE | re.DOTALL)
    assert block is not None
    config = installed_sample(SAMPLE + "\n" + block[0], opt, etc_of(world, tmp_path))
    settings = {"send_slack": "True", "create_jira": "True", "disable_key": "True"}
    with Telegraf(tmp_path, config.replace(', "acme-prod"', ""), {**world.environ, **settings}, "--once") as telegraf:
        ended = telegraf.ended()
    assert ended.code == 0
    runs = ended.of("aws.iam_run")
    assert len(runs) == 2
    done = {name: sum(int(str(one[name])) for one in runs) for name in ("issues_filed", "nags_sent", "keys_disabled")}
    assert (done["issues_filed"], done["nags_sent"]) == (1, 1)
    assert (issue_posts(world), len(world.slack.messages)) == (1, 1)
    assert done["keys_disabled"] == statuses(world, "dev_kramer").count("Inactive"), "may be left to the next run"


def etc_of(world: World, folder: Path) -> Path:
    etc = folder / "etc-keycheck"
    etc.mkdir()
    (etc / "aws-config").write_text(world.config_file.read_text(encoding="utf-8"), encoding="utf-8")
    return etc


# What the reference shows


def test_the_block_that_the_readme_shows_is_the_samples_and_the_second_its_commented_lines() -> None:
    first, second = readme_blocks()
    assert without_comments(first) == without_comments(exec_block(SAMPLE))
    assert second == re.sub(r"^# ", "", COMMENTED, flags=re.MULTILINE)


def test_the_readmes_second_block_pasted_as_it_is_names_what_is_empty_and_works_once_that_is_filled_in(
    world: World, opt: Path, etc: Path, tmp_path: Path
) -> None:
    """Where only telegraf.conf says what is set: nothing of the sandbox but its addresses is in the environment."""
    world.aws.add_user("dev_kramer", [197])
    world.owners["dev_kramer"] = KRAMER
    world.write_owners()
    (etc / "slack_ID_mapping.py").write_text(world.mapping_file.read_text(encoding="utf-8"), encoding="utf-8")
    profiles = {**ACCOUNTS, "acme-state": ACCOUNTS["acme-dev"], "acme-secrets": ACCOUNTS["acme-dev"]}
    (etc / "aws-config").write_text(world.aws.aws_config(profiles), encoding="utf-8")
    addresses = {name: value for name, value in world.environ.items() if name.isupper()}
    addresses["slack_api_base_url"] = world.slack.base_url
    block, with_slack_and_jira = readme_blocks()
    block = re.sub(r"^  environment = .*\n", with_slack_and_jira, block, flags=re.MULTILINE)
    config = installed_sample(SAMPLE.replace(exec_block(SAMPLE), block), opt, etc)
    (tmp_path / "empty").mkdir()
    with Telegraf(tmp_path / "empty", config, addresses, "--once") as telegraf:
        ended = telegraf.ended()
    assert ours(ended.lines) == []
    for name in ("jira_server_address", "jira_project_key"):
        assert re.search(rf"E! .*acme-dev, acme-prod: {name}: not set, but create_jira is True", ended.log)
    filled_in = config.replace("jira_server_address=", f"jira_server_address={world.jira.url}")
    filled_in = filled_in.replace("jira_project_key=", "jira_project_key=SEC")
    (tmp_path / "filled-in").mkdir()
    with Telegraf(tmp_path / "filled-in", filled_in, addresses, "--once") as telegraf:
        ended = telegraf.ended()
    assert complaints(ended.log) == []
    assert (issue_posts(world), len(world.slack.messages)) == (1, 1)


def readme_blocks() -> list[str]:
    """The reference's block of inputs.exec, and the lines for Slack and Jira."""
    section = REFERENCE.split("\n## Running it under Telegraf\n")[1].split("\n## ")[0]
    return re.findall(r"^```toml\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def exec_block(text: str) -> str:
    found = re.search(r"^\[\[inputs\.exec\]\]\n(?:  .*\n)+", text, re.MULTILINE)
    assert found is not None
    return found[0]


def without_comments(block: str) -> list[str]:
    """A block's options, without the comments behind and between them."""
    return [line for line in (re.sub(r"\s*(?<!\S)#.*$", "", one) for one in block.splitlines()) if line]


(COMMENTED,) = re.findall(r"^#   environment = \[\n(?:#     .*\n)+#   \]\n", SAMPLE, re.MULTILINE)
"""The sample's lines for Slack and Jira."""
