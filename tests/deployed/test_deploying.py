"""docs/deploying.md, followed word by word: every block of commands that needs no cluster, Docker or running systemd.

A block under `<!-- needs: ... -->` is not run here, and says what it needs; every other one is, by a shell, in order,
in a copy of this repository. Only the root of the file system is another one: /etc, /opt, /var and /tmp are below a
test's folder, and so they are in the samples that the commands install. `aws` and `credstash` are the real ones, and
reach the sandbox; `sudo -u USER` runs the command as whoever runs the tests.
"""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import yaml

from sandbox.gate import aws_error, is_action
from sandbox.http_fake import Fault
from sandbox.moto_aws import STATE_TABLE
from sandbox.world import ACCOUNTS, SLACK_TOKEN, World
from tests.deployed.telegraf import ROOT, outputs
from tests.impatience import wait_until
from tests.running import KRAMER

PAGE: Final = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
AWS: Final = "/usr/bin/aws" if Path("/usr/bin/aws").exists() else shutil.which("aws")
REWRITTEN: Final = ("telegraf.conf", "standalone/keycheck.service", "standalone/keycheck.cron")

needs_aws = pytest.mark.skipif(AWS is None, reason="there is no aws on PATH; on Debian: apt-get install awscli")


@dataclass(frozen=True, slots=True)
class Block:
    """One block of commands. `needs`: what the tests have not; empty where they run it. `asks`: it is typed into."""

    section: str
    commands: str
    needs: str
    asks: bool


def blocks() -> list[Block]:
    found = []
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        for comment, commands in re.findall(
            r"^(?:<!-- ([^\n]*) -->\n)?```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL
        ):
            needs = comment.removeprefix("needs: ") if comment.startswith("needs: ") else ""
            found.append(Block(title, commands, needs, comment == "asks"))
    return found


def of(section: str) -> list[Block]:
    return [block for block in blocks() if block.section == section and not block.needs]


@dataclass(frozen=True, slots=True)
class Host:
    """A machine that is only a folder: its root, and this repository as somebody has cloned it."""

    root: Path
    clone: Path

    def below(self, text: str) -> str:
        """Absolute paths in a text, as paths below this root."""
        return re.sub(r"(?<![\w.}])/(opt|etc|var/lib|var/cache|tmp)/", rf"{self.root}/\1/", text)

    def do(self, block: Block, environ: dict[str, str]) -> str:
        """Run a block, stopping at the first command that fails; what it printed, on both streams."""
        commands = self.below(block.commands)
        commands = re.sub(r"-[go] (telegraf|keycheck) ", "", commands)
        ran = subprocess.run(
            ["/bin/sh", "-ec", commands],
            cwd=self.clone,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert ran.returncode == 0, f"{commands}\n{ran.stdout}"
        return ran.stdout


def a_host(root: Path) -> Host:
    clone = root / "clone"
    listed = subprocess.run(
        [shutil.which("git") or "git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if not name.startswith("tests/"):
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    host = Host(root, clone)
    for name in REWRITTEN:
        (clone / name).write_text(host.below((clone / name).read_text(encoding="utf-8")), encoding="utf-8")
    for folder in ("bin", "opt", "tmp", "etc/telegraf", "etc/systemd/system", "etc/cron.d"):
        (root / folder).mkdir(parents=True)
    command(root / "bin" / "sudo", 'shift 2; exec "$@"')
    command(root / "bin" / "aws", f'exec {AWS} --endpoint-url "$AWS_ENDPOINT_URL" "$@"')
    return host


def command(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Host:
    """A host on which keycheck was installed by the page's first block: a virtual environment, hashes and all."""
    host = a_host(tmp_path_factory.mktemp("host"))
    host.do(of("A host with Telegraf")[0], dict(os.environ))
    return host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return a_host(tmp_path / "host")


def environ_on(host: Host, world: World) -> dict[str, str]:
    """A shell's environment that leads to the sandbox; what is set in it is not known to keycheck otherwise."""
    sandbox = {name: value for name, value in world.environ.items() if name.startswith(("AWS_E", "NO_PROXY"))}
    return {**sandbox, "PATH": f"{host.root}/bin:{os.environ['PATH']}", "HOME": str(host.root), "LANG": "C.UTF-8"}


def fill_in_profiles(host: Host, world: World, *more: str) -> None:
    """What a person does to the AWS profiles, and where they then lead."""
    profiles = {**ACCOUNTS, **dict.fromkeys(("acme-state", "acme-secrets", *more), ACCOUNTS["acme-dev"])}
    path = host.root / "etc" / "keycheck" / "aws-config"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(world.aws.aws_config(profiles), encoding="utf-8")


# What is run, and what is not


def test_every_block_is_run_or_says_what_it_needs() -> None:
    needed = {block.needs for block in blocks() if block.needs}
    assert needed == {
        "systemd",
        "Docker and a registry",
        "a cluster on EKS",
        "a cluster",
        "the right to add a user",
    }
    assert {block.section: len(of(block.section)) for block in blocks()} == RUN


RUN: Final = {
    "Roles in AWS": 3,
    "A host with Telegraf": 6,
    "Kubernetes": 1,
    "cron or systemd alone": 4,
    "Dashboards and alerts": 2,
    "Slack and Jira": 2,
    "The state table": 1,
}
"""How many blocks each section has that are run below."""


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)]+)\)", PAGE))
def test_every_link_leads_somewhere(target: str) -> None:
    path, _, anchor = target.partition("#")
    if not path.startswith("https://"):
        assert not path or (ROOT / "docs" / path).exists()
    if anchor and not path:
        assert anchor in {
            re.sub(r"[^\w -]", "", one).lower().replace(" ", "-")
            for one in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
        }


def test_every_file_that_a_block_names_is_there() -> None:
    for block in blocks():
        for name in re.findall(
            r"(?<![\w/.-])((?:aws|grafana|prometheus|standalone|k8s-templates|keycheck)/[\w./-]+)", block.commands
        ):
            if not name.endswith("/.") and "registry" not in name:
                assert (ROOT / name).exists(), name


# Each section


@needs_aws
@pytest.mark.process
@pytest.mark.exhaustive
def test_the_roles_are_made_with_their_policies(host: Host, world: World) -> None:
    environ = {**environ_on(host, world), "AWS_PROFILE": "acme-dev", "AWS_CONFIG_FILE": str(world.config_file)}
    environ["RUNNER"] = "123456789012"
    for block in of("Roles in AWS"):
        host.do(block, environ)
    client = world.aws.client("iam", account_id=ACCOUNTS["acme-dev"])
    made = {
        role["RoleName"]: sorted(client.list_role_policies(RoleName=role["RoleName"])["PolicyNames"])
        for role in client.list_roles()["Roles"]
    }
    assert made == {
        "keycheck-runner": ["assume-roles"],
        "keycheck": ["audit", "disable"],
        "keycheck-state": ["state-table"],
        "keycheck-secrets": ["credstash"],
    }
    trusted = client.get_role(RoleName="keycheck")["Role"]["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]
    assert trusted == {"AWS": "arn:aws:iam::123456789012:role/keycheck-runner"}


@pytest.mark.process
@pytest.mark.exhaustive
@pytest.mark.usefixtures("telegraf")
def test_a_host_with_telegraf_shows_its_first_data_without_acting(installed: Host, world: World) -> None:
    world.aws.add_user("dev_kramer", [197])
    world.aws.add_user("dev_singh", [12], account_id=ACCOUNTS["acme-prod"])
    environ = environ_on(installed, world)
    _, configure, look, through_telegraf, check, override = of("A host with Telegraf")
    installed.do(configure, environ)
    assert "still says FILL_IN; put your own value in its place" in failing(installed, look, environ)
    fill_in_profiles(installed, world)
    assert "iam,name=dev_kramer" in installed.do(look, environ)
    shown = installed.do(through_telegraf, environ)
    assert "aws.iam,accountAlias=acme-dev,key=" in shown
    assert "aws.iam_run,accountAlias=acme-prod" in shown
    assert world.gate.writes == []
    (installed.root / "etc/default").mkdir()
    assert (installed.root / "etc/default/telegraf").write_text('INFLUX_URL="http://127.0.0.1:1"\n', encoding="utf-8")
    configured = installed.root / "etc/telegraf/telegraf.conf"
    text = configured.read_text(encoding="utf-8")
    configured.write_text(text + "\n" + outputs()["influxdb"], encoding="utf-8")
    installed.do(check, environ)
    installed.do(override, environ)
    assert (installed.root / "etc/systemd/system/telegraf.service.d/keycheck.conf").is_file()


def failing(host: Host, block: Block, environ: dict[str, str]) -> str:
    """What a block says that fails."""
    with pytest.raises(AssertionError) as caught:
        host.do(block, environ)
    return str(caught.value)


@pytest.mark.process
@pytest.mark.exhaustive
def test_cron_or_systemd_alone_is_set_up_and_looks_before_it_acts(installed: Host, world: World) -> None:
    world.aws.add_user("dev_kramer", [197])
    environ = environ_on(installed, world)
    settings, look, systemd, cron = of("cron or systemd alone")
    installed.do(settings, environ)
    fill_in_profiles(installed, world)
    assert "iam,name=dev_kramer" in installed.do(look, environ)
    installed.do(systemd, environ)
    installed.do(cron, environ)
    etc = installed.root / "etc"
    assert (etc / "systemd/system/keycheck.timer").is_file()
    (line,) = re.findall(
        r"^7 \* \* \* \* keycheck (.*)$", (etc / "cron.d/keycheck").read_text(encoding="utf-8"), re.MULTILINE
    )
    ran = subprocess.run(["/bin/sh", "-c", line], env=environ, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert world.gate.writes == []


@pytest.mark.process
def test_the_manifests_are_filled_in_with_the_images_name(host: Host) -> None:
    (fill_in,) = of("Kubernetes")
    host.do(fill_in, dict(os.environ))
    images = []
    for name in ("pod.yaml", "cronjob/cronjob.yaml"):
        text = (host.clone / "k8s-templates" / name).read_text(encoding="utf-8")
        assert "FILL_IN" not in text
        images += re.findall(r"image: (\S+)$", text, re.MULTILINE)
    built = re.findall(r"docker \w+ (?:--tag )?(\S+)", PAGE)
    assert set(images) == set(built)


@pytest.mark.process
@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="there is no promtool on PATH; on Debian: apt-get install prometheus"
)
def test_dashboards_and_alerts_are_put_where_they_are_looked_for(host: Host) -> None:
    for block in of("Dashboards and alerts"):
        host.do(block, dict(os.environ))
    provider = host.root / "etc/grafana/provisioning/dashboards/keycheck.yml"
    folder = yaml.safe_load(provider.read_text(encoding="utf-8"))["providers"][0]["options"]["path"]
    (dashboard,) = Path(host.below(folder + "/")).glob("*.json")
    assert json.loads(dashboard.read_text(encoding="utf-8"))["uid"] == "keycheck-influxql"
    assert (host.root / "etc/grafana/provisioning/alerting/keycheck.yml").is_file()


@needs_aws
@pytest.mark.process
@pytest.mark.exhaustive
def test_the_secrets_are_put_unseen_and_keycheck_reads_them(installed: Host, world: World) -> None:
    """From a new store: moto's own is emptied first. What is typed is shown nowhere."""
    world.aws.reset()
    world.config_file.write_text(world.aws.aws_config({**ACCOUNTS, "admin": ACCOUNTS["acme-dev"]}), encoding="utf-8")
    fill_in_profiles(installed, world, "admin")
    environ = {**environ_on(installed, world), "AWS_CONFIG_FILE": str(installed.root / "etc/keycheck/aws-config")}
    setup, put = of("Slack and Jira")
    assert put.asks
    installed.do(setup, environ)
    typed = [SLACK_TOKEN, "keycheck@example.com", "invented-jira-token"]
    shown = "".join(
        type_into(installed.below(one), typed_, environ, installed.clone)
        for one, typed_ in zip(put.commands.splitlines(), typed, strict=True)
    )
    assert shown.count("has been stored") == 3
    assert not any(secret in shown for secret in typed)
    world.aws.add_user("dev_kramer", [170])
    world.owners["dev_kramer"] = KRAMER
    ran = world.run("acme-dev", send_slack="True", create_jira="True")
    assert (ran.code, ran.stderr) == (0, "")
    assert (len(world.slack.messages), len(world.jira.issues)) == (1, 1)


def type_into(line: str, text: str, environ: dict[str, str], folder: Path) -> str:
    """Run a command at a terminal of its own, type what it asks for, and give back what the terminal showed."""
    terminal, side = pty.openpty()
    shown: list[bytes] = []
    with subprocess.Popen(
        ["/bin/sh", "-c", line], env=environ, cwd=folder, stdin=side, stdout=side, stderr=side, start_new_session=True
    ) as process:
        os.close(side)
        os.set_blocking(terminal, False)

        def asks() -> bool:
            shown.extend(read(terminal))
            return b": " in b"".join(shown)

        wait_until(asks, 60)
        os.write(terminal, f"{text}\n".encode())
        process.wait(timeout=60)
    shown.extend(read(terminal))
    os.close(terminal)
    assert process.returncode == 0, b"".join(shown)
    return b"".join(shown).decode()


def read(terminal: int) -> Iterator[bytes]:
    """What there is to be read, without waiting."""
    try:
        yield os.read(terminal, 4096)
    except (BlockingIOError, OSError):  # nothing yet; or the other side is closed
        time.sleep(0.01)


@needs_aws
@pytest.mark.process
@pytest.mark.exhaustive
def test_a_table_of_an_earlier_version_is_told_when_records_expire(host: Host, world: World) -> None:
    denied = Fault(served=False, answer=aws_error("AccessDeniedException"))
    world.gate.inject(denied, is_action("UpdateTimeToLive"))
    world.aws.add_user("dev_kramer", [170])
    world.owners["dev_kramer"] = KRAMER
    assert world.run("acme-dev", send_slack="True", create_jira="True").code == 0
    world.gate.heal()

    def is_set() -> str:
        found = world.state_client().describe_time_to_live(TableName=STATE_TABLE)["TimeToLiveDescription"]
        return f"{found['TimeToLiveStatus']} {found.get('AttributeName')}"

    assert is_set() == "DISABLED None"
    environ = {**environ_on(host, world), "AWS_PROFILE": "acme-dev", "AWS_CONFIG_FILE": str(world.config_file)}
    (block,) = of("The state table")
    host.do(block, environ)
    assert is_set() == "ENABLED expires_at"
