"""Each sample of aws/config* leads the real program to an account: by an instance, by Pod Identity, by IRSA.

The services that hand out the first credentials are stand-ins on loopback that answer as AWS's do; the role that each
profile names is assumed at moto, which then shows the account that the role is in.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox.http_fake import Answer, FakeServer, Request
from sandbox.world import ACCOUNTS, World
from tests.deployed.telegraf import ROOT
from tests.running import iam_lines, run

pytestmark = pytest.mark.process

RUNNER = "999999999999"


class MetadataService(FakeServer):
    """An instance's metadata service (IMDSv2), and the agent that Pod Identity and ECS have in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens_seen: set[str] = set()

    def serve(self, request: Request) -> Answer:
        expires = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        credentials = {
            "Code": "Success",
            "AccessKeyId": "ASIAINVENTED",
            "SecretAccessKey": "invented",
            "Token": "invented",
            "Expiration": expires,
        }
        match request.method, request.path:
            case "PUT", "/latest/api/token":
                return Answer(200, b"imds-token", {"x-aws-ec2-metadata-token-ttl-seconds": "600"})
            case "GET", "/latest/meta-data/iam/security-credentials/":
                return Answer(200, b"keycheck-runner")
            case "GET", "/latest/meta-data/iam/security-credentials/keycheck-runner":
                return Answer(200, credentials)
            case "GET", "/v1/credentials":
                self.tokens_seen.add(request.headers.get("authorization", ""))
                return Answer(200, credentials)
            case _:
                return Answer(404)


def filled_in(name: str, folder: Path) -> Path:
    """A sample of aws/, with the account ids of the sandbox, in the order of its profiles."""
    text = (ROOT / "aws" / name).read_text(encoding="utf-8")
    if name == "config.irsa":
        text = text.replace("FILL_IN_ACCOUNT_ID", RUNNER, 1)
    for account_id in ACCOUNTS.values():
        text = text.replace("FILL_IN_ACCOUNT_ID:role/keycheck\n", f"{account_id}:role/keycheck\n", 1)
    text = text.replace("FILL_IN_ACCOUNT_ID", ACCOUNTS["acme-dev"])
    assert "FILL_IN" not in text.partition("\n[")[2]
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def audited(world: World, config: Path, **environ: str | None) -> list[str]:
    """The metric lines of both accounts, found through this config file."""
    world.aws.add_user("dev_kramer", [197], account_id=ACCOUNTS["acme-dev"])
    world.aws.add_user("prod_kramer", [3], account_id=ACCOUNTS["acme-prod"])
    ran = run(world, "acme-dev", "acme-prod", AWS_CONFIG_FILE=str(config), **environ)
    assert (ran.code, ran.stderr) == (0, "")
    return [line.partition(",key=")[0] for line in iam_lines(ran)]


BOTH = ["iam,name=dev_kramer", "iam,name=prod_kramer"]


def test_on_an_instance(world: World, tmp_path: Path) -> None:
    with MetadataService() as service:
        environ = {"AWS_EC2_METADATA_DISABLED": None, "AWS_EC2_METADATA_SERVICE_ENDPOINT": service.url}
        assert audited(world, filled_in("config", tmp_path), **environ) == BOTH


def test_by_pod_identity(world: World, tmp_path: Path) -> None:
    """EKS sets the two variables, and puts the token where the second one says."""
    token = tmp_path / "eks-pod-identity-token"
    token.write_text("the-pods-token", encoding="utf-8")
    with MetadataService() as service:
        environ = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{service.url}/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token),
        }
        assert audited(world, filled_in("config.pod-identity", tmp_path), **environ) == BOTH
        assert service.tokens_seen == {"the-pods-token"}


def test_by_irsa(world: World, tmp_path: Path) -> None:
    """The token lies where EKS mounts it: only that folder is another one here."""
    (tmp_path / "token").write_text("the-service-accounts-token", encoding="utf-8")
    config = filled_in("config.irsa", tmp_path)
    mounted = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"
    text = config.read_text(encoding="utf-8")
    assert mounted in text
    config.write_text(text.replace(mounted, str(tmp_path / "token")), encoding="utf-8")
    assert audited(world, config) == BOTH
    assert world.gate.calls["AssumeRoleWithWebIdentity"] >= 1


@pytest.mark.parametrize("name", ["config", "config.pod-identity", "config.irsa"])
def test_a_sample_that_is_not_filled_in_says_so_before_aws_is_called(world: World, name: str) -> None:
    ran = run(world, "acme-dev", AWS_CONFIG_FILE=str(ROOT / "aws" / name))
    assert ran.code == 1
    assert ran.first_line.startswith("E! acme-dev: role_arn of the profile ")
    assert "still says FILL_IN; put your own value in its place" in ran.first_line
    assert world.gate.requests == []


def test_no_sample_holds_an_access_key() -> None:
    for path in ROOT.glob("aws/config*"):
        text = path.read_text(encoding="utf-8")
        assert "aws_access_key_id" not in text
        assert "aws_secret_access_key" not in text
