"""Credentials that expire half way, a clock that is off, a profile without a region, and the partitions of AWS.

No connection leaves this machine: where the real endpoints are asked for, a proxy on loopback notes the host of each
CONNECT and refuses the tunnel.
"""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from sandbox.fake_iam import about, iam_error
from sandbox.gate import action_of, aws_error, is_action
from sandbox.http_fake import Fault, Match, Request
from sandbox.world import ACCOUNTS, World
from tests.builders import ALL_ON, UNTOLD
from tests.running import KRAMER, fake_iam, iam_lines, issue_posts, records, run, run_fields, sends, statuses

EXPIRED = Fault(served=False, answer=aws_error("ExpiredTokenException"))
NOTHING_SCANNED = {"errors", "incomplete", "duration_seconds", "finished_at"}


def later_than(count: int, match: Match) -> Match:
    """Matches what `match` does, but for the first so many."""
    seen: list[Request] = []

    def after(request: Request) -> bool:
        if match(request):
            seen.append(request)
        return match(request) and len(seen) > count

    return after


# Credentials that expire half way


@pytest.mark.represented_by("after 20 calls")
@pytest.mark.parametrize(
    ("users_per_page", "action", "after"),
    [
        pytest.param(1000, "ListAccessKeys", 10, id="while reading access keys"),
        pytest.param(10, "ListUsers", 1, id="between two pages of users"),
        pytest.param(1000, None, 20, id="after 20 calls"),
    ],
)
def test_credentials_that_expire_in_mid_scan_leave_a_part_that_does_not_pass_for_the_whole(
    iam_world: World, users_per_page: int, action: str | None, after: int
) -> None:
    iam = fake_iam(iam_world)
    iam.users_per_page = users_per_page
    iam.latency = 0.02
    for number in range(30):
        iam.add_user(f"user_{number:02}", [200])
    iam.inject(iam_error("ExpiredToken"), about(action, after=after))
    ran = run(iam_world, "acme-dev", "--fail-on-errors")
    assert ran.code == 3
    assert ran.stderr.startswith("E! acme-dev: the credentials have expired; renew them (ExpiredToken on iam:List")
    assert ran.stderr.count("\n") == 1
    answered = sum(call.status == 200 and call.action == "ListAccessKeys" for call in iam.log)
    assert 0 < len(iam_lines(ran)) == answered < 30
    fields = run_fields(ran)
    assert (fields["keys"], fields["expired"], fields["errors"], fields["incomplete"]) == (answered, answered, 1, 1)


def test_credentials_that_expire_before_the_disablings_disable_nothing_and_are_one_line(iam_world: World) -> None:
    iam = fake_iam(iam_world)
    for number in range(12):
        iam.add_user(f"user_{number:02}", [200])
    iam.inject(iam_error("ExpiredToken"), about("UpdateAccessKey"))
    ran = run(iam_world, "acme-dev", disable_key="True")
    assert (ran.code, len(iam_lines(ran))) == (0, 12)
    assert all(",status=expired," in line for line in iam_lines(ran))
    assert ran.stderr.startswith(
        "E! acme-dev: the credentials have expired; renew them (ExpiredToken on iam:UpdateAccessKey)"
    )
    assert ran.stderr.count("\n") == 2
    assert ran.stderr.endswith(UNTOLD)
    fields = run_fields(ran)
    assert (fields["keys_disabled"], fields["incomplete"], fields["keys"]) == (0, 0, 12)

    iam.heal()
    assert run_fields(run(iam_world, "acme-dev", disable_key="True"))["keys_disabled"] == 12


def test_expired_credentials_of_the_state_table_stop_every_action_and_no_metric(world: World) -> None:
    world.aws.add_user("dev_kramer", [197, 170])
    world.owners["dev_kramer"] = KRAMER
    world.gate.inject(EXPIRED, is_action("BatchGetItem"))
    ran = run(world, "acme-dev", **ALL_ON)
    assert (ran.code, len(iam_lines(ran))) == (0, 2)
    assert ran.stderr.startswith(
        "E! acme-dev: nothing is filed, sent or disabled without state: the credentials have expired; renew them"
        " (ExpiredTokenException on dynamodb:BatchGetItem)"
    )
    assert ran.stderr.count("\n") == 1
    assert (run_fields(ran)["errors"], run_fields(ran)["incomplete"]) == (1, 0)
    assert (world.jira.requests, sends(world)) == ([], 0)
    assert statuses(world, "dev_kramer") == ["Active", "Active"]


def test_credentials_of_the_state_table_that_expire_after_a_claim_repeat_no_message(world: World) -> None:
    """The message went out and could not be recorded: its claim, which outlives the run, keeps the next one quiet."""
    world.aws.add_user("dev_kramer", [170])
    world.owners["dev_kramer"] = KRAMER
    world.gate.inject(EXPIRED, later_than(5, is_action("UpdateItem")))
    ran = run(world, "acme-dev", send_slack="True")
    assert ran.code == 0
    assert ran.stderr.startswith(f"E! acme-dev: the message to {KRAMER} could not be recorded, so it may be repeated")
    assert "the credentials have expired; renew them" in ran.first_line
    assert run_fields(ran)["nags_sent"] == 1

    world.gate.heal()
    again = run(world, "acme-dev", send_slack="True")
    assert (again.code, again.stderr, sends(world)) == (0, "", 1)


def test_credentials_of_the_state_table_that_expire_between_two_chains_end_what_was_not_begun(world: World) -> None:
    """As the third disabling is begun: one line, however many actions are left; a later run does them all."""
    for number in range(6):
        world.aws.add_user(f"user_{number}", [200])
    begun: list[Request] = []

    def is_expired(request: Request) -> bool:
        if action_of(request) != "UpdateItem":
            return False
        if request.json["UpdateExpression"].startswith("SET disabling_at"):
            begun.append(request)
        return len(begun) > 2

    world.gate.inject(EXPIRED, is_expired)
    ran = run(world, "acme-dev", disable_key="True")
    assert ran.code == 0
    disabled = world.gate.calls["UpdateAccessKey"]
    assert disabled <= 2
    assert run_fields(ran)["keys_disabled"] == disabled
    without_state = [line for line in ran.stderr.splitlines() if "without state nothing more is" in line]
    assert len(without_state) == 1
    assert "the credentials have expired; renew them (ExpiredTokenException on dynamodb:UpdateItem)" in ran.stderr

    world.gate.heal()
    world.pass_time(timedelta(minutes=16))  # what was begun, and may have been done, is left alone for 15
    again = run(world, "acme-dev", disable_key="True")
    assert (again.code, run_fields(again)["keys_disabled"]) == (0, 6 - disabled)
    assert [statuses(world, f"user_{number}") for number in range(6)] == [["Inactive"]] * 6


def test_credentials_that_expire_between_two_secrets_cost_the_services_that_need_one(world: World) -> None:
    world.aws.add_user("dev_kramer", [197])
    world.owners["dev_kramer"] = KRAMER
    world.gate.inject(EXPIRED, later_than(1, is_action("Decrypt")))
    ran = run(world, "acme-dev", **ALL_ON)
    assert ran.code == 0
    (jira,) = ran.stderr.splitlines()
    assert jira.startswith("E! acme-dev: no issues are filed: the secret 'jira.email' could not be read: ")
    assert "the credentials have expired" in jira
    assert statuses(world, "dev_kramer") == ["Inactive"], "Slack's was the first, and its owner was told"

    world.gate.heal()
    again = run(world, "acme-dev", **ALL_ON)
    assert (again.code, again.stderr, run_fields(again)["disabled"]) == (0, "", 1)


# A clock that is off


@pytest.mark.represented_by("6-SignatureDoesNotMatch")
@pytest.mark.parametrize("code", [None, "SignatureDoesNotMatch"])
@pytest.mark.parametrize("minutes", [6, -6])
def test_a_clock_more_than_five_minutes_off_is_named_as_the_cause_and_nothing_is_done(
    iam_world: World, minutes: int, code: str | None
) -> None:
    """Also where AWS itself refuses the signature, which is as it tells: the clock is the cause, not the secret."""
    iam = fake_iam(iam_world)
    iam.add_user("dev_kramer", [197])
    iam.clock_skew = timedelta(minutes=minutes)
    if code is not None:
        iam.inject(iam_error(code, message="Signature expired: 20260101T000000Z is now earlier than 20260101T000600Z"))
    ran = run(iam_world, "acme-dev", disable_key="True")
    assert (ran.code, iam_lines(ran)) == (1, [])
    where = "behind" if minutes > 0 else "ahead of"
    assert ran.stderr.startswith(f"E! acme-dev: this machine's clock is 6 minutes {where} AWS's; set it")
    assert ran.stderr.count("\n") == 2
    assert ran.stderr.endswith(UNTOLD)
    assert run_fields(ran).keys() == NOTHING_SCANNED
    assert run_fields(ran)["incomplete"] == 1
    assert set(iam.calls) == {"ListUsers"}
    assert records(iam_world) == {}


# A profile without a region


def without_region(world: World) -> None:
    world.config_file.write_text(world.aws.aws_config(ACCOUNTS, region=None), encoding="utf-8")


def test_without_a_region_iam_is_read_all_the_same(world: World) -> None:
    without_region(world)
    world.aws.add_user("dev_kramer", [197])
    ran = run(world, "acme-dev")
    assert (ran.code, ran.stderr, len(iam_lines(ran))) == (0, "", 1)


def test_without_a_region_the_state_table_says_what_to_set_and_that_mends_it(world: World) -> None:
    without_region(world)
    world.aws.add_user("dev_kramer", [197])
    ran = run(world, "acme-dev", disable_key="True")
    assert (ran.code, len(iam_lines(ran))) == (0, 1)
    assert ran.stderr.startswith(
        "E! acme-dev: nothing is filed, sent or disabled without state: the profile acme-dev has no "
    )
    assert ran.stderr.count("\n") == 2
    assert ran.stderr.endswith(UNTOLD)
    assert statuses(world, "dev_kramer") == ["Active"]
    mended = run(world, "acme-dev", disable_key="True", aws_dynamodb_region="us-east-1")
    assert (mended.code, mended.stderr, statuses(world, "dev_kramer")) == (0, UNTOLD, ["Inactive"])
    assert "aws_dynamodb_region" in ran.first_line


def test_without_a_region_credstash_says_what_to_set_and_that_mends_it(world: World) -> None:
    without_region(world)
    world.aws.add_user("dev_kramer", [197])
    settings = {"create_jira": "True", "disable_key": "True", "aws_dynamodb_region": "us-east-1"}
    ran = run(world, "acme-dev", **settings)
    assert (ran.code, len(iam_lines(ran))) == (0, 1)
    assert ran.stderr.startswith("E! acme-dev: no issues are filed: the secret 'jira.email' could not be read: ")
    assert "the profile acme-dev has no region" in ran.first_line
    assert ran.stderr.count("E! ") == 1
    assert statuses(world, "dev_kramer") == ["Active"]
    mended = run(world, "acme-dev", **settings, credstash_region="us-east-1")
    assert (mended.code, mended.stderr, issue_posts(world)) == (0, "", 1)
    assert statuses(world, "dev_kramer") == ["Inactive"]
    assert "credstash_region" in ran.first_line


# Partitions


class Proxy(socketserver.ThreadingTCPServer):
    """An HTTP proxy that notes where each CONNECT is to go and refuses it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Refusal)
        self.hosts: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Refusal(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        first = self.rfile.readline().decode("latin-1")
        while self.rfile.readline().strip():
            pass
        assert isinstance(self.server, Proxy)
        found = re.match(r"CONNECT (\S+):443 ", first)
        self.server.hosts.append(found[1] if found is not None else first)
        self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


REGIONS = [
    pytest.param("us-east-1", "iam.amazonaws.com", "amazonaws.com", id="aws"),
    pytest.param("eu-central-1", "iam.amazonaws.com", "amazonaws.com", id="aws, another region"),
    pytest.param("us-gov-west-1", "iam.us-gov.amazonaws.com", "amazonaws.com", id="aws-us-gov"),
    pytest.param("us-gov-east-1", "iam.us-gov.amazonaws.com", "amazonaws.com", id="aws-us-gov, another region"),
    pytest.param("cn-north-1", "iam.cn-north-1.amazonaws.com.cn", "amazonaws.com.cn", id="aws-cn"),
    pytest.param("cn-northwest-1", "iam.cn-north-1.amazonaws.com.cn", "amazonaws.com.cn", id="aws-cn, another region"),
]


def in_region(world: World, region: str) -> None:
    world.config_file.write_text(world.aws.aws_config(ACCOUNTS, region=region), encoding="utf-8")


@pytest.mark.represented_by("aws-us-gov")
@pytest.mark.parametrize(("region", "iam_host", "_suffix"), REGIONS)
def test_the_profiles_partition_decides_which_iam_is_asked(
    iam_world: World, proxy: Proxy, region: str, iam_host: str, _suffix: str
) -> None:
    in_region(iam_world, region)
    ran = run(iam_world, "acme-dev", AWS_ENDPOINT_URL=None, AWS_ENDPOINT_URL_IAM=None, HTTPS_PROXY=proxy.url)
    assert ran.code == 1
    assert ran.stderr.startswith("E! acme-dev: iam:ListUsers: ")
    assert ran.stderr.count("\n") == 1
    assert run_fields(ran).keys() == NOTHING_SCANNED
    assert set(proxy.hosts) == {iam_host}


@pytest.mark.represented_by("aws-cn")
@pytest.mark.parametrize(("region", "_iam_host", "suffix"), REGIONS[::2])
def test_the_state_table_is_looked_for_in_the_profiles_region_and_partition(
    iam_world: World, proxy: Proxy, region: str, _iam_host: str, suffix: str
) -> None:
    in_region(iam_world, region)
    fake_iam(iam_world).add_user("dev_kramer", [197])
    ran = run(iam_world, "acme-dev", disable_key="True", AWS_ENDPOINT_URL=None, HTTPS_PROXY=proxy.url)
    assert (ran.code, len(iam_lines(ran))) == (0, 1)
    assert ran.stderr.startswith("E! acme-dev: nothing is filed, sent or disabled without state: ")
    assert ran.stderr.count("\n") == 2
    assert ran.stderr.endswith(UNTOLD)
    assert set(proxy.hosts) == {f"dynamodb.{region}.{suffix}"}
    assert fake_iam(iam_world).calls["UpdateAccessKey"] == 0


@pytest.mark.represented_by("aws-cn")
@pytest.mark.parametrize(("region", "_iam_host", "suffix"), REGIONS[::2])
def test_secrets_are_decrypted_by_the_kms_of_the_profiles_region_and_partition(
    iam_world: World, proxy: Proxy, region: str, _iam_host: str, suffix: str
) -> None:
    """The tables are in the sandbox, in that region; so KMS alone goes by the proxy."""
    in_region(iam_world, region)
    for name, value in {"jira.email": "keycheck@example.com", "jira.token": "invented"}.items():
        iam_world.aws.put_secret(name, value, region=region)
    fake_iam(iam_world).add_user("dev_kramer", [197])
    ran = run(
        iam_world,
        "acme-dev",
        create_jira="True",
        AWS_ENDPOINT_URL=None,
        AWS_ENDPOINT_URL_DYNAMODB=iam_world.gate.url,
        HTTPS_PROXY=proxy.url,
    )
    assert (ran.code, len(iam_lines(ran))) == (0, 1)
    assert ran.stderr.startswith("E! acme-dev: no issues are filed: the secret 'jira.email' could not be read: ")
    assert ran.stderr.count("\n") == 1
    assert set(proxy.hosts) == {f"kms.{region}.{suffix}"}
    assert issue_posts(iam_world) == 0
