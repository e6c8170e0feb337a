"""What happened to people with other tools, played with keycheck: whole runs on the sandbox.

Each test stands for a kind, and names the public report that it comes from (a GitHub issue). What must be seen: no
access key is disabled that would not have been, nobody is told twice, no secret leaves, and what is said leads the
reader to the cause.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keycheck.settings import SETTINGS
from sandbox.gate import is_action
from sandbox.http_fake import Answer, FakeServer, Fault, Match, Request, calls
from sandbox.warm_parent import ENTRY
from sandbox.world import Ran, World
from tests.builders import ALL_ON, AT_ONCE
from tests.impatience import wait_until
from tests.running import fake_iam, run, run_fields, sound, statuses
from tests.tls import OneAnswer, make_certificate

KRAMER = "U012KRAMER"
TOMORROW = datetime.now(UTC).date() + timedelta(days=1)


@pytest.fixture(name="one_due")
def one_due_access_key(world: World) -> World:
    """dev_kramer's access key is expired, and KRAMER owns it."""
    world.aws.add_user("dev_kramer", [197])
    world.owners["dev_kramer"] = KRAMER
    return world


# Redirects: python/cpython 77842


class Elsewhere(FakeServer):
    """A host that says yes to everything, as one that was put in between would."""

    def serve(self, _request: Request) -> Answer:
        return Answer(200, {"ok": True, "id": "1", "key": "SEC-1", "issues": [], "deploymentType": "Cloud"})


@pytest.fixture(name="elsewhere")
def a_host_to_be_sent_to() -> Iterator[Elsewhere]:
    with Elsewhere() as server:
        yield server


REDIRECTED: dict[str, tuple[Callable[[World], FakeServer], Match]] = {
    "a message": (lambda world: world.slack, calls("POST", "/chat.postMessage")),
    "users.info": (lambda world: world.slack, calls("POST", "/users.info")),
    "serverInfo": (lambda world: world.jira, calls("GET", "/serverInfo")),
    "a filing": (lambda world: world.jira, calls("POST", "/issue")),
    "ListUsers": (lambda world: world.gate, is_action("ListUsers")),
    "UpdateAccessKey": (lambda world: world.gate, is_action("UpdateAccessKey")),
    "a claim": (lambda world: world.gate, is_action("UpdateItem")),
    "kms:Decrypt": (lambda world: world.gate, is_action("Decrypt")),
}


@pytest.mark.represented_by("a message-302", "UpdateAccessKey-307")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("what", REDIRECTED)
def test_no_redirect_is_followed_and_nothing_counts_as_done(
    one_due: World, elsewhere: Elsewhere, what: str, status: int
) -> None:
    """The host that it points to never hears of it: it would get the token, and could say that all is well."""
    server, match = REDIRECTED[what]
    away = f"{elsewhere.url}/secret-path?token=1"
    server(one_due).inject(Fault.status(status, {"ok": True}, {"Location": away}), match)
    ran = run(one_due, "acme-dev", **ALL_ON)
    assert elsewhere.requests == []
    assert f"HTTP {status}, a redirect to 127.0.0.1:{elsewhere.port}, which is never followed" in ran.stderr
    assert "secret-path" not in ran.stderr
    if what != "serverInfo":
        assert statuses(one_due, "dev_kramer") == ["Active"] or what == "a filing"


def test_a_redirected_message_is_told_by_the_next_run(one_due: World, elsewhere: Elsewhere) -> None:
    redirect = Fault.status(302, None, {"Location": elsewhere.url})
    one_due.slack.inject(redirect, calls("POST", "/chat.postMessage"))
    ran = run(one_due, "acme-dev", **{**ALL_ON, "create_jira": "False"})
    assert (run_fields(ran)["nags_sent"], run_fields(ran)["keys_disabled"]) == (0, 0)
    one_due.slack.heal()
    ran = run(one_due, "acme-dev", **{**ALL_ON, "create_jira": "False"})
    assert (run_fields(ran)["nags_sent"], run_fields(ran)["keys_disabled"]) == (1, 1)


# Names without case: saltstack/salt 24947, kubernetes/kops 11727


EXEMPTION = """[[exemption]]
account = "{account}"
user = "{user}"
until = {until}
reason = "SEC-99: moves to a role"
"""


@pytest.mark.parametrize(
    ("account", "user"),
    [("acme-dev", "svc-backup"), ("Acme-Dev", "SVC-*"), ("123456789012", "svc-[B]ackup")],
)
def test_an_exemption_by_file_holds_in_any_case(world: World, account: str, user: str) -> None:
    world.aws.add_user("Svc-Backup", [197])
    file = world.folder / "exemptions.toml"
    file.write_text(EXEMPTION.format(account=account, user=user, until=TOMORROW), encoding="utf-8")
    ran = run(world, "acme-dev", disable_key="True", exemptions_file=str(file))
    assert (run_fields(ran)["exempt"], run_fields(ran)["keys_disabled"]) == (1, 0)
    assert statuses(world, "Svc-Backup") == ["Active"]


def tag(world: World, user: str, tags: dict[str, str]) -> None:
    named = [{"Key": key, "Value": value} for key, value in tags.items()]
    world.aws.client("iam").tag_user(UserName=user, Tags=named)


def test_an_exemption_by_tags_and_an_owner_by_tag_hold_in_any_case(world: World) -> None:
    world.aws.add_user("svc-backup", [197])
    tag(world, "svc-backup", {"Keycheck:Exempt-Until": str(TOMORROW), "KeyCheck:Exempt-Reason": "SEC-99"})
    world.aws.add_user("svc-deploy", [197])
    tag(world, "svc-deploy", {"Slack_ID": KRAMER})
    ran = run(world, "acme-dev", send_slack="True", disable_key="True", exempt_by_tag="True")
    assert statuses(world, "svc-backup") == ["Active"]
    assert run_fields(ran)["exempt"] == 1
    assert [message.channel for message in world.slack.messages] == [KRAMER]


def test_an_owner_by_mapping_is_told_in_any_case(world: World) -> None:
    world.aws.add_user("Dev_Kramer", [197])
    world.owners["ACME-DEV/dev_kramer"] = KRAMER
    run(world, "acme-dev", send_slack="True", slack_fallback_channel="C0FALLBACK")
    assert [message.channel for message in world.slack.messages] == [KRAMER]


# Slack says that it may have been done: slackapi/node-slack-sdk 1680


@pytest.mark.parametrize("word", ["internal_error", "fatal_error"])
@pytest.mark.parametrize("status", [200, 500])
def test_a_message_that_slack_may_have_posted_is_not_posted_again_and_disables_nothing(
    one_due: World, word: str, status: int
) -> None:
    """It is said, counts as sent for the interval, and never as a notice."""
    posted_all_the_same = Fault(served=True, answer=Answer(status, {"ok": False, "error": word}))
    one_due.slack.inject(posted_all_the_same, calls("POST", "/chat.postMessage"))
    settings = {**ALL_ON, "create_jira": "False"}
    ran = run(one_due, "acme-dev", **settings)
    assert f"Slack failed on the message to {KRAMER} ({word}); it may have arrived, so it counts as sent" in ran.stderr
    assert run_fields(ran)["errors"] == 1
    for _ in range(3):
        one_due.pass_time(timedelta(hours=1))
        run(one_due, "acme-dev", **settings)
    assert len(one_due.slack.messages) == 1
    assert statuses(one_due, "dev_kramer") == ["Active"]
    one_due.slack.heal()
    one_due.pass_time(timedelta(hours=22))
    run(one_due, "acme-dev", **settings)
    assert (len(one_due.slack.messages), statuses(one_due, "dev_kramer")) == (2, ["Inactive"])


# A secret in the wrong place: caronc/apprise 1532


MISPLACED = (
    "xoxe.xoxb-1-Mi0yLTEyMzQ1Njc4OTAt",
    "https://hooks.slack.com/services/T012AB3CD/B012AB3CD/abcdefghijklmnop",
    "ATSTT3xFfGF0T5JNabcdefghijklmnop",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
)


@pytest.mark.parametrize("secret", MISPLACED, ids=["Slack", "webhook", "Atlassian", "JWT"])
def test_a_secret_in_the_wrong_place_is_never_repeated(one_due: World, secret: str) -> None:
    settings = [setting.name for setting in SETTINGS if setting.kind not in ("boolean", "number")]
    for name in settings:
        ran = run(one_due, "acme-dev", **{**ALL_ON, name: secret})
        assert ran.code == 2
        assert f"{name}: this looks like " in ran.stderr
        assert secret[5:] not in ran.stdout + ran.stderr
    ran = run(one_due, secret)
    assert ran.code == 2
    assert "looks like" in ran.stderr
    assert secret[5:] not in ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "name",
    [
        "aws_dynamodb_profile_name",
        "credstash_keyname_slack_api_token",
        "credstash_table",
        "exemptions_file",
        "jira_issue_type",
        "jira_project_key",
        "slack_id_mapping_file",
    ],
)
def test_a_long_name_that_was_not_found_is_shown_by_a_few_characters(one_due: World, name: str) -> None:
    """A secret of a kind that nobody knows could stand there. As a path it is refused, since it begins with no `/`."""
    unknown = "hunter2hunter2hunter2hunter2"
    is_jiras = name.startswith("jira_")
    settings = {"send_slack": str(not is_jiras), "create_jira": str(is_jiras), "disable_key": str(not is_jiras)}
    ran = run(one_due, "acme-dev", **settings, **{name: unknown})
    assert unknown not in ran.stdout + ran.stderr
    assert name == "jira_project_key" or "hunt..." in ran.stderr, "Jira does not say which"
    assert name == "jira_project_key" or "(28 characters)" in ran.stderr
    assert statuses(one_due, "dev_kramer") == ["Active"]


# Programs that a profile names: 99designs/aws-vault 1169


def left_behind(marker: str) -> list[str]:
    """Command lines of the processes that are still there and have this in theirs."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in lines if marker in line]


def waiting_program(world: World, marker: str) -> Path:
    """A program that waits for somebody, in a process of its own."""
    program = world.folder / "ask-somebody.sh"
    program.write_text(f"#!/bin/sh\nsleep {marker} &\nsleep {marker}\n", encoding="utf-8")
    program.chmod(0o755)
    return program


def test_what_a_credential_process_leaves_behind_ends_with_the_run_too(iam_world: World) -> None:
    """It has ended itself, and what it has started still holds its output open."""
    program = iam_world.folder / "leaves-one-behind.sh"
    program.write_text("#!/bin/sh\nsleep 613.4716 &\n", encoding="utf-8")
    program.chmod(0o755)
    config = iam_world.folder / "config-that-waits"
    config.write_text(f"[profile asks]\ncredential_process = {program}\n", encoding="utf-8")
    ran = run(iam_world, "asks", AWS_CONFIG_FILE=str(config), run_timeout_seconds="5")
    assert (ran.code, left_behind("613.4716")) == (1, [])


@pytest.mark.parametrize("is_source", [False, True], ids=["its own", "its source_profile's"])
def test_a_credential_process_that_waits_for_somebody_ends_with_the_run(iam_world: World, is_source: bool) -> None:
    """A profile that hangs so is one error, and exit 1 where nothing was scanned."""
    marker = "613.4711" + str(int(is_source))
    program = waiting_program(iam_world, marker)
    config = iam_world.folder / "config-that-waits"
    role = "[profile asks]\nrole_arn = arn:aws:iam::123456789012:role/audit\nsource_profile = base\n[profile base]\n"
    begin = role if is_source else "[profile asks]\n"
    config.write_text(f"{begin}credential_process = {program} --for-token hush\n", encoding="utf-8")
    ran = run(iam_world, "asks", AWS_CONFIG_FILE=str(config), run_timeout_seconds="5")
    assert left_behind(marker) == []
    assert ran.code == 1
    name = "base" if is_source else "asks"
    said = f"the credential_process of the profile {name} did not end in time, and was ended: {program} ..."
    assert ran.stderr.startswith(f"E! asks: {said}; run it by hand to see what it waits for")
    assert "hush" not in ran.stderr
    assert run_fields(ran, "asks")["errors"] == 1


def test_a_credential_process_beside_a_good_profile_costs_its_own_alone(iam_world: World) -> None:
    fake_iam(iam_world).add_user("dev_kramer", [197])
    program = waiting_program(iam_world, "613.4713")
    config = iam_world.folder / "config-that-waits"
    good = iam_world.config_file.read_text(encoding="utf-8")
    config.write_text(f"{good}\n[profile asks]\ncredential_process = {program}\n", encoding="utf-8")
    ran = run(iam_world, "asks", "acme-dev", AWS_CONFIG_FILE=str(config), run_timeout_seconds="5")
    assert (ran.code, left_behind("613.4713")) == (0, [])
    assert (run_fields(ran, "asks")["errors"], run_fields(ran)["keys"]) == (1, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_credential_process_too(iam_world: World, number: int) -> None:
    program = waiting_program(iam_world, "613.4714")
    config = iam_world.folder / "config-that-waits"
    config.write_text(f"[profile asks]\ncredential_process = {program}\n", encoding="utf-8")
    with iam_world.popen("asks", AWS_CONFIG_FILE=str(config)) as process:
        wait_until(lambda: len(left_behind("613.4714")) >= 2)
        process.send_signal(number)
        process.communicate(timeout=30)
    assert left_behind("613.4714") == []


# The first cause is told: certificates and proxies


IS_NOT_TRUSTED = "its certificate is not trusted here; if a proxy or an authority of your own signs it, name its"
CERTIFICATES: dict[str, tuple[dict[str, Any], bool, str]] = {
    "not trusted": ({}, False, IS_NOT_TRUSTED),
    "expired": ({"days": -1}, True, "its certificate has expired"),
    "of another name": ({"host": "other.example"}, True, "its certificate is of another name"),
}
BUNDLES = {"AWS": "AWS_CA_BUNDLE", "Slack": "SSL_CERT_FILE", "Jira": "REQUESTS_CA_BUNDLE"}
ADDRESSES = {"AWS": "AWS_ENDPOINT_URL_IAM", "Slack": "slack_api_base_url", "Jira": "jira_server_address"}


def said_of(world: World, service: str, **environ: str) -> str:
    """What a run says where this service has another address and these variables."""
    settings = {"AWS": {}, "Slack": {"send_slack": "True"}, "Jira": {"create_jira": "True"}}[service]
    ran = run(world, "acme-dev", **settings, **environ)
    assert ran.stderr.startswith("E! acme-dev: ")
    assert statuses(world, "dev_kramer") == ["Active"]
    assert "may " not in ran.stderr, "what was never sent never may have happened"
    return ran.stderr


@pytest.mark.represented_by("AWS-expired", "Slack-not trusted", "Jira-of another name")
@pytest.mark.parametrize("kind", CERTIFICATES)
@pytest.mark.parametrize("service", ADDRESSES)
def test_a_certificate_that_is_refused_is_named_as_the_cause(
    one_due: World, tmp_path: Path, service: str, kind: str
) -> None:
    how, is_trusted, says = CERTIFICATES[kind]
    certificate = make_certificate(tmp_path, **how)
    with OneAnswer(certificate=certificate) as server:
        bundle = {BUNDLES[service]: str(certificate.trusted)} if is_trusted else {}
        said = said_of(one_due, service, **{ADDRESSES[service]: server.url, **bundle})
        assert says in said
        assert is_trusted or f"in {BUNDLES[service]}" in said
        assert server.heard == []


@pytest.mark.parametrize("service", ["AWS", "Jira"])
def test_a_file_of_trusted_certificates_that_is_not_there_is_named_as_the_cause(
    one_due: World, tmp_path: Path, service: str
) -> None:
    """OpenSSL itself, and so Slack's library, takes one that is missing for an empty one."""
    with OneAnswer(certificate=make_certificate(tmp_path)) as server:
        missing = {BUNDLES[service]: str(tmp_path / "no-such.pem")}
        said = said_of(one_due, service, **{ADDRESSES[service]: server.url, **missing})
        assert f"the file of trusted certificates that {BUNDLES[service]} names is not there" in said
        (tmp_path / "no-such.pem").write_text("no certificate\n", encoding="utf-8")
        said = said_of(one_due, service, **{ADDRESSES[service]: server.url, **missing})
        assert f"the file of trusted certificates that {BUNDLES[service]} names holds none" in said


PROXY_ANSWERS = {
    407: "the proxy wants a sign-in (HTTP 407); put its user and password into HTTPS_PROXY",
    403: "the proxy refused to connect to it (HTTP 403); let the proxy allow that host",
    302: "the proxy refused to connect to it (HTTP 302); let the proxy allow that host",
}


@pytest.mark.represented_by("AWS-407", "Slack-403", "Jira-407")
@pytest.mark.parametrize("status", PROXY_ANSWERS)
@pytest.mark.parametrize("service", ADDRESSES)
def test_a_proxy_that_refuses_is_named_as_the_cause(one_due: World, service: str, status: int) -> None:
    answer = f"HTTP/1.1 {status} No\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n".encode()
    with OneAnswer(answer) as proxy:
        said = said_of(one_due, service, **{ADDRESSES[service]: "https://far.example.com", "HTTPS_PROXY": proxy.url})
    assert PROXY_ANSWERS[status] in said


def test_a_line_break_in_a_credential_or_in_the_region_is_named_as_the_cause(iam_world: World) -> None:
    """Also where botocore takes credentials out of the environment, for a role."""
    config = iam_world.folder / "config-with-a-line-break"
    config.write_text(
        "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/audit\ncredential_source = Environment\n"
        "region = us-east-1\n",
        encoding="utf-8",
    )
    keys = {"AWS_CONFIG_FILE": str(config), "AWS_ACCESS_KEY_ID": "AKIAINVENTED\n", "AWS_SECRET_ACCESS_KEY": "x"}
    ran = run(iam_world, "role", **keys)
    assert "the access key id holds a line break or a blank; look at AWS_ACCESS_KEY_ID" in ran.stderr
    ran = run(iam_world, "acme-dev", AWS_DEFAULT_REGION="us-east-1\n", AWS_CONFIG_FILE=str(without_region(iam_world)))
    assert "the profile's region is not a region's name ('us-east-1\\n')" in ran.stderr
    config.write_text(
        "[profile acme-dev]\naws_access_key_id = AKIA INVENTED\naws_secret_access_key = x\n", encoding="utf-8"
    )
    ran = run(iam_world, "acme-dev", AWS_CONFIG_FILE=str(config))
    assert "the access key id holds a line break or a blank" in ran.stderr
    assert ran.code == 1


def without_region(world: World) -> Path:
    path = world.folder / "config-without-region"
    lines = world.config_file.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith("region")) + "\n", encoding="utf-8")
    return path


# The operation in the error decides: nccgroup/ScoutSuite 481


def role_profile(world: World) -> dict[str, str]:
    """A profile that assumes a role, by way of acme-dev."""
    config = world.folder / "config-with-a-role"
    own = world.config_file.read_text(encoding="utf-8")
    role = "[profile audit]\nrole_arn = arn:aws:iam::210987654321:role/audit\nsource_profile = acme-dev\n"
    config.write_text(f"{own}\n{role}region = us-east-1\n", encoding="utf-8")
    return {"AWS_CONFIG_FILE": str(config)}


def sts_error(code: str, message: str) -> Fault:
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    xml = f"<ErrorResponse>{error}<RequestId>invented</RequestId></ErrorResponse>"
    return Fault.status(403, xml.encode(), {"Content-Type": "text/xml"})


ASSUMES = "User: arn:aws:iam::123456789012:user/x is not authorized to perform: sts:AssumeRole on resource: "
BY_OPERATION = {
    "AccessDenied": (
        ASSUMES + "arn:aws:iam::210987654321:role/audit",
        "sts:AssumeRole was refused (AccessDenied) on arn:aws:iam::210987654321:role/audit; let the role's trust",
    ),
    "ExpiredToken": ("expired", "the credentials have expired; renew them (ExpiredToken on sts:AssumeRole)"),
    "ValidationError": ("no", "sts:AssumeRole failed (ValidationError): look at role_arn, external_id"),
    "Throttling": ("Rate exceeded", "sts:AssumeRole failed (Throttling, HTTP 403): all programs in the account share "),
}


@pytest.mark.parametrize("code", BY_OPERATION)
def test_what_sts_refuses_is_said_of_sts_and_not_of_the_scan(world: World, code: str) -> None:
    message, says = BY_OPERATION[code]
    world.gate.inject(sts_error(code, message), is_action("AssumeRole"))
    ran = run(world, "audit", **role_profile(world))
    assert ran.code == 1
    assert says in ran.first_line
    assert "ListUsers" not in ran.stderr


def test_an_explicit_deny_by_the_organization_is_said_to_be_one(world: World) -> None:
    denied = "is not authorized to perform: iam:ListUsers with an explicit deny in a service control policy"
    world.gate.inject(sts_error("AccessDenied", denied), is_action("ListUsers"))
    ran = run(world, "acme-dev")
    assert "iam:ListUsers was refused (AccessDenied); an explicit deny in a service control policy: ask" in ran.stderr
    assert "allow it to the profile" not in ran.stderr


def test_a_kms_key_that_may_not_be_used_is_named(one_due: World) -> None:
    key = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    said = (
        f"User: x is not authorized to perform: kms:Decrypt on resource: {key} because no identity-based policy allows"
    )
    answer = Answer(400, {"__type": "AccessDeniedException", "message": said})
    one_due.gate.inject(Fault(served=False, answer=answer), is_action("Decrypt"))
    ran = run(one_due, "acme-dev", send_slack="True")
    assert f"allow kms:Decrypt on {key} to this profile" in ran.stderr


# Files that are there


NOBODY = 65534
WITHOUT_ROOTS_RIGHTS = ["setpriv", *(f"--{of}=-dac_override,-dac_read_search" for of in ("bounding-set", "inh-caps"))]


def run_without_rights(world: World, config: Path, home: Path = Path("/nonexistent")) -> Ran:
    """Run the entry script as one who may read nobody else's files, root or not."""
    environ = {**world.environ, "AWS_CONFIG_FILE": str(config), "HOME": str(home)}
    command = [*(WITHOUT_ROOTS_RIGHTS if os.getuid() == 0 else ()), sys.executable, str(ENTRY), "acme-dev"]
    ended = subprocess.run(command, env=environ, cwd="/", capture_output=True, text=True, timeout=60, check=False)
    return sound(Ran(ended.returncode, ended.stdout, ended.stderr), world)


def take_away(path: Path, mode: int) -> None:
    """Make it another user's; where this is not root, nobody's to read."""
    if os.getuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    path.chmod(mode if os.getuid() == 0 else 0)


def test_a_sign_in_of_sso_that_may_not_be_read_is_named(iam_world: World) -> None:
    """botocore takes it for one that is not there: nobody is signed in."""
    home = iam_world.folder / "home"
    cache = home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    start_url = "https://acme.awsapps.com/start"
    token = cache / f"{hashlib.sha1(start_url.encode(), usedforsecurity=False).hexdigest()}.json"
    token.write_text("{}", encoding="utf-8")
    take_away(token, 0o400)
    config = home / "config"
    portal = f"sso_start_url = {start_url}\nsso_region = us-east-1\n"
    config.write_text(
        f"[profile acme-dev]\n{portal}sso_account_id = 123456789012\nsso_role_name = audit\n", encoding="utf-8"
    )
    ran = run_without_rights(iam_world, config, home)
    assert (ran.code, ran.first_line) == (1, f"E! acme-dev: {token}: permission denied")


@pytest.mark.parametrize("is_folder", [False, True], ids=["a file 0400", "in a folder 0700"])
def test_an_aws_file_that_may_not_be_read_is_named_and_not_taken_for_an_empty_one(
    iam_world: World, is_folder: bool
) -> None:
    """botocore passes over it, and says that there is no such profile."""
    folder = iam_world.folder / f"of-another-user-{is_folder}"
    folder.mkdir()
    config = folder / "config"
    config.write_text(iam_world.config_file.read_text(encoding="utf-8"), encoding="utf-8")
    take_away(folder if is_folder else config, 0o700 if is_folder else 0o400)
    ran = run_without_rights(iam_world, config)
    folder.chmod(0o700)
    assert ran.code == 1
    said = f"there is no such AWS profile: {config}, which AWS_CONFIG_FILE names, cannot be read: permission denied"
    assert ran.first_line == f"E! acme-dev: {said}"


# Links lead people to the site: pycontribs/jira 2368


def test_a_scoped_token_goes_to_the_gateway_and_a_message_links_to_the_site(one_due: World) -> None:
    one_due.jira.base_url = "https://acme.atlassian.net"
    gateway = f"{one_due.jira.url}/ex/jira/1a2b3c4d-0000-4000-8000-1a2b3c4d5e6f"
    run(one_due, "acme-dev", send_slack="True", create_jira="True", jira_server_address=gateway)
    (issue_key,) = one_due.jira.issues
    (message,) = one_due.slack.messages
    assert f"<https://acme.atlassian.net/browse/{issue_key}|{issue_key}>" in str(message.blocks)
    assert "ex/jira" not in str(message)
    one_due.pass_time(timedelta(hours=25))
    run(one_due, "acme-dev", send_slack="True", jira_server_address=gateway)
    assert issue_key in str(one_due.slack.messages[-1])
    assert "/browse/" not in str(one_due.slack.messages[-1]), "nobody has asked Jira where its pages are"


def test_a_scoped_token_that_lacks_a_scope_is_no_dead_token(one_due: World) -> None:
    one_due.jira.scopes = {"read:jira-work", "read:jira-user"}
    ran = run(one_due, "acme-dev", create_jira="True")
    assert "Jira refused create issue (HTTP 401), though it had taken the token to sign in" in ran.first_line
    assert "a scoped token needs the scope write:jira-work for it" in ran.first_line
    assert "dead" not in ran.stderr


def test_a_token_of_the_other_kind_of_jira_is_said_with_the_setting(one_due: World) -> None:
    ran = run(one_due, "acme-dev", create_jira="True", credstash_keyname_atlassian_api_email=None)
    assert "Jira Cloud takes an API token only beside its user's e-mail: set" in ran.first_line
    assert "credstash_keyname_atlassian_api_email" in ran.first_line


def test_an_issue_does_not_end_as_refused(one_due: World) -> None:
    """Where its workflow knows no other end it is left open with its comment, and said once."""
    one_due.jira.statuses = {"To Do": "new", "Won't Do": "done", "Duplicate": "done"}
    run(one_due, "acme-dev", create_jira="True")
    ((_, issue),) = one_due.jira.issues.items()
    ((access_key_id, _, _),) = one_due.aws.keys("dev_kramer")
    iam = one_due.aws.client("iam")
    iam.update_access_key(UserName="dev_kramer", AccessKeyId=access_key_id, Status="Inactive")
    one_due.pass_time(timedelta(hours=1))
    ran = run(one_due, "acme-dev", create_jira="True")
    assert (issue.status, len(issue.comments)) == ("To Do", 1)
    assert "offers no status that says so; close it by hand (jira_done_status, jira_resolution)" in ran.stderr
    one_due.jira.statuses["Rotated"] = "done"
    one_due.pass_time(timedelta(hours=1))
    assert run(one_due, "acme-dev", create_jira="True").stderr == ""


# An upgrade from lacework/ops


def file_as_the_original(world: World, user: str) -> str:
    ((access_key_id, _, _),) = world.aws.keys(user)
    return world.jira.file_as_original(user, access_key_id[-5:], "acme-dev")


def test_an_issue_that_the_original_has_filed_is_adopted_and_not_filed_a_second_time(one_due: World) -> None:
    theirs = file_as_the_original(one_due, "dev_kramer")
    one_due.pass_time(timedelta(days=1))
    ran = run(one_due, "acme-dev", "--dry-run", create_jira="True")
    assert "would file no issue for access key" in ran.stderr
    assert one_due.jira.issues[theirs].labels == ["AWS-User-Key-Rotation"]
    ran = run(one_due, "acme-dev", create_jira="True", send_slack="True")
    assert (ran.stderr, run_fields(ran)["issues_filed"]) == ("", 0)
    assert list(one_due.jira.issues) == [theirs]
    (label,) = [one for one in one_due.jira.issues[theirs].labels if one.startswith("keycheck-")]
    assert len(label) == len("keycheck-") + 16
    assert theirs in str(one_due.slack.messages[-1])
    one_due.pass_time(timedelta(hours=1))
    assert run(one_due, "acme-dev", create_jira="True").stderr == ""
    assert list(one_due.jira.issues) == [theirs]


def test_an_issue_of_the_originals_that_may_not_be_edited_is_said_and_not_filed_a_second_time(one_due: World) -> None:
    theirs = file_as_the_original(one_due, "dev_kramer")
    one_due.jira.inject(Fault.status(403, {"errorMessages": ["no"], "errors": {}}), calls("PUT", f"/issue/{theirs}"))
    ran = run(one_due, "acme-dev", create_jira="True")
    assert "allow the account Edit Issues in the issue's project" in ran.first_line
    assert list(one_due.jira.issues) == [theirs]
    one_due.jira.heal()
    assert run(one_due, "acme-dev", create_jira="True").stderr == ""
    assert list(one_due.jira.issues) == [theirs]


SPARES = {**AT_ONCE, "disable_key": "True", "disable_unowned": "False", "slack_fallback_channel": "C0FALLBACK"}


@pytest.mark.parametrize("send_slack", ["True", "False"])
def test_what_has_no_owner_is_nagged_about_and_stays_where_the_setting_says_so(world: World, send_slack: str) -> None:
    """As with lacework/ops, which disables access keys of the users in its mapping alone, Slack on or off."""
    world.aws.add_user("dev_kramer", [197])
    world.aws.add_user("ci-deploy", [400])
    world.owners["dev_kramer"] = KRAMER
    for _ in range(3):
        ran = run(world, "acme-dev", **SPARES, send_slack=send_slack)
        world.pass_time(timedelta(hours=25))
    assert (statuses(world, "dev_kramer"), statuses(world, "ci-deploy")) == (["Inactive"], ["Active"])
    assert run_fields(ran)["overdue"] == 1
    if send_slack == "True":
        assert "W! " not in ran.stderr
        (about_ci, *_) = [message for message in world.slack.messages if message.channel == "C0FALLBACK"]
        assert "it is not disabled, since nobody is known to own it" in str(about_ci)
    verbose = run(world, "acme-dev", "-v", **SPARES, send_slack=send_slack)
    assert "nobody is known to own it, and disable_unowned is False" in verbose.stderr


def test_a_notice_to_nobody_is_void_once_what_nobody_owns_is_spared(world: World) -> None:
    world.aws.add_user("ci-deploy", [400])
    settings = {"send_slack": "True", "disable_key": "True", "slack_fallback_channel": "C0FALLBACK"}
    run(world, "acme-dev", **settings, disable_notice_days="2")
    world.pass_time(timedelta(days=3))
    run(world, "acme-dev", **settings, disable_notice_days="2", disable_unowned="False")
    assert statuses(world, "ci-deploy") == ["Active"]
    world.pass_time(timedelta(hours=25))
    run(world, "acme-dev", **settings, disable_notice_days="2")
    assert statuses(world, "ci-deploy") == ["Active"], "its notice runs its whole length anew"
    world.pass_time(timedelta(days=3))
    run(world, "acme-dev", **settings, disable_notice_days="2")
    assert statuses(world, "ci-deploy") == ["Inactive"]


# Where threads run out: boto/boto3 4304


STACK_KILOBYTES = 1_000_000
"""With a stack of 1 GB for each, a limit on memory is one on threads."""


def run_with_threads(world: World, most: int) -> Ran:
    """Run the entry script with memory for so many threads beside the first."""
    limits = f"ulimit -s {STACK_KILOBYTES}; ulimit -v {(most + 1) * STACK_KILOBYTES}"
    command = ["/bin/sh", "-c", f'{limits}; exec "$@"', "sh", sys.executable, str(ENTRY), "acme-dev"]
    ended = subprocess.run(command, env=world.environ, capture_output=True, text=True, timeout=60, check=False)
    return sound(Ran(ended.returncode, ended.stdout, ended.stderr), world)


@pytest.mark.parametrize("most", [3, 5])
def test_where_threads_run_out_the_scan_goes_on_with_those_that_there_are(iam_world: World, most: int) -> None:
    for number in range(40):
        fake_iam(iam_world).add_user(f"user_{number:02}", [200])
    ran = run_with_threads(iam_world, most)
    assert (ran.code, run_fields(ran)["expired"], run_fields(ran)["incomplete"]) == (0, 40, 0)
    assert ran.stderr.startswith(
        "W! acme-dev: the scan went on with fewer threads than it wanted: the limit on threads"
    )


def test_where_there_is_no_thread_at_all_the_limit_is_named(iam_world: World) -> None:
    ran = run_with_threads(iam_world, 0)
    assert (ran.code, run_fields(ran)["errors"]) == (1, 1)
    limit = "the limit on threads of this user or container is reached (ulimit -u, pids.max, or memory); raise it"
    assert ran.stderr == f"E! acme-dev: no thread could be started: {limit}\n"
