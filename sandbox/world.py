"""All of the sandbox together: an AWS, a Slack and a Jira on loopback, and keycheck pointed at them.

    with World() as world:
        world.aws.add_user("dev_kramer", [197])
        world.owners["dev_kramer"] = "U012KRAMER"
        ran = world.run("acme-dev", send_slack="True")

`run` starts the real entry script as a process, the way Telegraf would: a clean environment, stdin from nowhere. With a
`warm` parent the process is forked from one that has imported everything; whatever is said to the interpreter itself
(PYTHON* variables) makes it a start from nothing all the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from sandbox.dynamodb import EngineTable
from sandbox.fake_iam import FakeIam
from sandbox.fake_jira import FakeJira, Flavour
from sandbox.fake_slack import FakeSlack
from sandbox.gate import Gate
from sandbox.moto_aws import STATE_TABLE, MotoAws
from sandbox.warm_parent import ENTRY, Process, WarmParent

SLACK_TOKEN: Final = "xoxb-invented-slack-token"
JIRA_EMAIL: Final = "keycheck@example.com"
JIRA_TOKEN: Final = "invented-jira-token"
ACCOUNTS: Final[Mapping[str, str]] = {"acme-dev": "123456789012", "acme-prod": "210987654321"}
"""The profiles that the sandbox knows, and their accounts. State and secrets are in the first one's."""
SECRETS: Final[Mapping[str, str]] = {
    "jira.email": JIRA_EMAIL,
    "jira.token": JIRA_TOKEN,
    "slack.token": SLACK_TOKEN,
}


@dataclass(frozen=True, slots=True)
class Ran:
    """What one run of the entry script left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()

    @property
    def first_line(self) -> str:
        """The first line on stderr: all that Telegraf may keep."""
        return self.stderr.split("\n", 1)[0]


class World:
    """The sandbox of one test or demo. `owners` is the Slack mapping that `run` writes out.

    `iam`: a fake IAM to use in place of moto's; it is started and stopped with the world. `aws`: a moto that is running
    already, which is only reset: starting and stopping one takes half a second. `state`: a table of a real DynamoDB
    engine, to hold the state in place of moto. All AWS calls but those to a fake IAM go through `gate`. `warm`: where
    runs are started; None, or set to None later: each is the interpreter's own start.
    """

    def __init__(
        self,
        flavour: Flavour = "cloud",
        *,
        iam: FakeIam | None = None,
        aws: MotoAws | None = None,
        state: EngineTable | None = None,
        warm: WarmParent | None = None,
    ) -> None:
        self._owns_aws = aws is None
        self.aws = aws if aws is not None else MotoAws()
        self.iam = iam
        self.state = state
        self.warm = warm
        self.gate = Gate(self.aws, state)
        self.slack = FakeSlack({SLACK_TOKEN})
        self.jira = FakeJira(flavour, {"email": JIRA_EMAIL, "token": JIRA_TOKEN})
        self.owners: dict[str, str] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="keycheck-sandbox-")

    def start(self) -> Self:
        if self._owns_aws:
            self.aws.start()
        self.aws.reset()
        self.gate.start()
        if self.state is not None:
            self.state.connect(self.aws.client("dynamodb", endpoint_url=self.state.url))
        if self.iam is not None:
            self.iam.start()
        self.slack.start()
        self.jira.start()
        self.put_secrets()
        self.config_file.write_text(self.aws.aws_config(ACCOUNTS), encoding="utf-8")
        return self

    def stop(self) -> None:
        self.jira.stop()
        self.slack.stop()
        if self.iam is not None:
            self.iam.stop()
        self.gate.stop()
        if self.state is not None:
            self.drop_state()
        if self._owns_aws:
            self.aws.stop()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def put_secrets(self) -> None:
        """What credstash holds; needed again after `aws.reset()`."""
        for name, value in SECRETS.items():
            self.aws.put_secret(name, value)

    @property
    def folder(self) -> Path:
        """A folder of this world's own, gone with it."""
        return Path(self._folder.name)

    @property
    def config_file(self) -> Path:
        return self.folder / "aws-config"

    @property
    def mapping_file(self) -> Path:
        return self.folder / "slack_ID_mapping.py"

    @property
    def environ(self) -> dict[str, str]:
        """What points keycheck at this world; nothing is switched on."""
        environ = {
            "PATH": os.environ["PATH"],
            "AWS_CONFIG_FILE": str(self.config_file),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "no-credentials"),
            "AWS_ENDPOINT_URL": self.gate.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost",
            "jira_server_address": self.jira.url,
            "jira_project_key": "SEC",
            "credstash_aws_profile_name": "acme-dev",
            "credstash_keyname_atlassian_api_email": "jira.email",
            "credstash_keyname_atlassian_api_token": "jira.token",
            "credstash_keyname_slack_api_token": "slack.token",
            "aws_dynamodb_profile_name": "acme-dev",
            "slack_id_mapping_file": str(self.mapping_file),
            "slack_api_base_url": self.slack.base_url,
        }
        if self.iam is not None:
            environ["AWS_ENDPOINT_URL_IAM"] = self.iam.url
        if self.state is not None:
            environ["dynamodb_table_name"] = self.state.name
        return environ

    def write_owners(self) -> None:
        lines = "".join(f"    {name!r}: {slack_id!r},\n" for name, slack_id in self.owners.items())
        whole = self.mapping_file.with_suffix(
            ".new"
        )  # a run that was just started may be reading the one that is there
        whole.write_text(f"mapping = {{\n{lines}}}\n", encoding="utf-8")
        whole.replace(self.mapping_file)

    def popen(self, *arguments: str, **settings: str | None) -> Process:
        """Start the entry script; a setting of None is left out of the environment."""
        if not self.mapping_file.exists() or self.owners:
            self.write_owners()
        environ = {name: value for name, value in {**self.environ, **settings}.items() if value is not None}
        if self.warm is not None and not any(name.startswith("PYTHON") for name in environ):
            return self.warm.start(arguments, environ)
        return subprocess.Popen(
            [sys.executable, str(ENTRY), *arguments],
            env=environ,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def run(self, *arguments: str, **settings: str | None) -> Ran:
        """Run the entry script to its end, at most two minutes."""
        with self.popen(*arguments, **settings) as process:
            try:
                stdout, stderr = process.communicate(timeout=120)
            finally:
                process.kill()
        return Ran(process.returncode, stdout, stderr)

    def pass_time(self, delta: timedelta) -> None:
        """Let time pass by moving everything that has happened so far back; whole seconds."""
        self.aws.move_back(delta)
        if self.state is not None:
            self.state.move_back(delta)
        if self.iam is not None:
            self.iam.move_back(delta)
        self.slack.move_back(delta)
        self.jira.move_back(delta)

    @property
    def state_table(self) -> str:
        """The name of the state table."""
        return STATE_TABLE if self.state is None else self.state.name

    def state_client(self) -> Any:
        """A boto3 client of the engine that has the state table, past the gate."""
        return self.aws.client("dynamodb", endpoint_url=None if self.state is None else self.state.url)

    def drop_state(self) -> None:
        """Lose the state table, as somebody might by mistake: first its protection, then the table itself."""
        client = self.state_client()
        try:
            table = client.describe_table(TableName=self.state_table)["Table"]
        except client.exceptions.ResourceNotFoundException:
            return
        if table["TableStatus"] == "CREATING":  # made by a run that was killed then
            client.get_waiter("table_exists").wait(TableName=self.state_table, WaiterConfig={"Delay": 1})
        if table.get("DeletionProtectionEnabled"):  # dynalite knows of no protection
            client.update_table(TableName=self.state_table, DeletionProtectionEnabled=False)
        client.delete_table(TableName=self.state_table)
        client.get_waiter("table_not_exists").wait(TableName=self.state_table, WaiterConfig={"Delay": 1})

    def state_items(self) -> list[dict[str, Any]]:
        """What the state table holds, as plain values, by hash key; nothing where there is no table."""
        return self.aws.state_items() if self.state is None else self.state.items()
