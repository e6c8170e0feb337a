"""--check as a person types it: a line each for what can be used, and for what cannot, what is wrong with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keycheck.clock import RunClock
from keycheck.services.aws_probe import AwsProbe
from sandbox.fake_iam import FakeIam, iam_error
from sandbox.gate import aws_error, is_action
from sandbox.http_fake import Answer, Fault, calls
from sandbox.moto_aws import STATE_TABLE
from sandbox.world import Ran, World
from tests.builders import ALL_ON
from tests.running import KRAMER, fake_iam, records, sends, statuses

pytestmark = pytest.mark.process
SIMULATED = """<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">
<SimulatePrincipalPolicyResult><EvaluationResults><member><EvalActionName>iam:UpdateAccessKey</EvalActionName>
<EvalDecision>{decision}</EvalDecision>{more}</member></EvaluationResults><IsTruncated>false</IsTruncated>
</SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"""
BY_ORGANIZATION = (
    "<OrganizationsDecisionDetail><AllowedByOrganizations>false</AllowedByOrganizations></OrganizationsDecisionDetail>"
)
EXEMPTION = '[[exemption]]\naccount = "acme-dev"\nuser = "dev_kramer"\nuntil = {until}\nreason = "a freeze"\n'


def simulated(decision: str, more: str = "") -> Fault:
    answer = Answer(200, SIMULATED.format(decision=decision, more=more).encode(), {"Content-Type": "text/xml"})
    return Fault(served=False, answer=answer)


@pytest.fixture
def staffed(world: World) -> World:
    world.aws.add_user("dev_kramer", [197, 3])
    world.owners["dev_kramer"] = KRAMER
    world.gate.inject(simulated("allowed"), is_action("SimulatePrincipalPolicy"))
    return world


def check(world: World, *arguments: str, **settings: str) -> Ran:
    ran = world.run("acme-dev", "--check", *arguments, **settings)
    assert ran.stderr == ""
    for line in ran.stdout.splitlines():
        assert line.startswith(("ok       ", "WRONG    ", "untested ")), line
        assert ": " in line
    return ran


def lines(ran: Ran, kind: str) -> list[str]:
    return [line.removeprefix(kind).strip() for line in ran.stdout.splitlines() if line.startswith(kind)]


def test_where_all_can_be_used_each_line_says_so_and_nothing_is_done(staffed: World) -> None:
    assert staffed.run("acme-dev", send_slack="True").code == 0  # so that there is a table
    before = (records(staffed), sends(staffed), len(staffed.jira.issues))
    ran = check(staffed, **ALL_ON)
    assert (ran.code, lines(ran, "WRONG")) == (0, [])
    said = lines(ran, "ok")
    for what in (
        "settings: sound; on: send_slack, create_jira, disable_key",
        "profile acme-dev: it is arn:aws:sts::123456789012:user/moto",
        "profile acme-dev: iam:ListUsers: 1 users",
        "profile acme-dev: iam:ListAccessKeys",
        "profile acme-dev: iam:GetAccountSummary",
        "profile acme-dev: iam:ListUserTags",
        "profile acme-dev: iam:GetAccessKeyLastUsed",
        "profile acme-dev: iam:UpdateAccessKey is allowed",
        f"state table {STATE_TABLE}: it is there, and ours",
        f"state table {STATE_TABLE}: it can be written",
        "exemptions_file: not set: nobody is exempt by it",
        "slack_id_mapping_file: 1 entries",
        "credstash_keyname_slack_api_token: it can be read, and looks right",
        "Slack: the token is keycheck of Acme",
        "Slack: it may send messages (chat:write)",
        "slack_id_mapping_file: 1 of 1 people that it names are on Slack",
        "credstash_keyname_atlassian_api_email: it can be read, and is an e-mail address",
        "Jira: the token is keycheck@example.com on Jira Cloud",
        "Jira: the account may do what is needed in the project SEC",
        "jira_issue_type: Task can be filed",
        "resolve_jira: statuses of the category Done: Done",
    ):
        assert what in said
    after = records(staffed)
    assert after.pop("check:keycheck").keys() == {"iam_access_key_id", "checked_at", "expires_at"}
    assert (after, sends(staffed), len(staffed.jira.issues)) == before
    assert statuses(staffed, "dev_kramer") == ["Active", "Active"]


def test_with_nothing_on_only_what_an_audit_needs_is_asked(staffed: World) -> None:
    ran = check(staffed)
    assert ran.code == 0
    assert "settings: sound; on: nothing, so this is a read-only audit" in lines(ran, "ok")
    assert not any(word in ran.stdout for word in ("Slack", "Jira", "state table", "UpdateAccessKey"))
    assert staffed.slack.requests == staffed.jira.requests == []


def test_each_profile_is_looked_at_and_one_that_is_wrong_costs_only_its_own_lines(staffed: World) -> None:
    ran = staffed.run("acme-dev", "acme-dv", "--check", **ALL_ON)
    assert ran.code == 3
    assert lines(ran, "WRONG") == [
        "profile acme-dv: there is no such AWS profile: did you mean 'acme-dev' or 'acme-prod'?"
    ]
    assert "profile acme-dev: iam:ListAccessKeys" in lines(ran, "ok")
    assert "Jira: the token is keycheck@example.com on Jira Cloud" in lines(ran, "ok")


DENIED = Fault(served=False, answer=aws_error("AccessDeniedException"))
Spoil = Callable[[World], object]


def simulate(fault: Fault) -> Spoil:
    def spoil(world: World) -> None:
        world.gate.heal()
        world.gate.inject(fault, is_action("SimulatePrincipalPolicy"))

    return spoil


def refuse_writes(world: World) -> None:
    assert world.run("acme-dev", send_slack="True").code == 0
    world.gate.inject(DENIED, is_action("UpdateItem"))


def make_large(world: World) -> FakeIam:
    iam = fake_iam(world)
    for number in range(201):
        iam.add_user(f"user-{number:04}", [10])
    return iam


def test_of_a_large_account_the_report_and_the_folder_are_tried(iam_world: World, tmp_path: Path) -> None:
    iam = make_large(iam_world)
    said = lines(check(iam_world, cache_dir=str(tmp_path)), "ok")
    assert f"cache_dir: {tmp_path} can be written" in said
    for action in ("GenerateCredentialReport", "GetCredentialReport"):
        assert f"profile acme-dev: iam:{action}" in said
    assert list(tmp_path.iterdir()) == []
    iam.inject("AccessDenied", action="GetCredentialReport")
    ran = check(iam_world)
    assert ran.code == 0
    report, cache = lines(ran, "untested")
    assert report == (
        "profile acme-dev: without the credential report each run asks for every user: iam:GetCredentialReport was "
        "refused (AccessDenied); allow it to the profile's user or role"
    )
    without = "cache_dir: without it accounts of more than 200 users cost a call a user:"
    assert cache == f"{without} there is no home directory; set cache_dir"


SPOILT: list[tuple[str, Spoil, str, str]] = [
    *(
        (
            f"iam:{action} is refused",
            lambda world, action=action: world.gate.inject(iam_error("AccessDenied"), is_action(action)),
            f"profile acme-dev: iam:{action}: iam:{action} was refused" if action in late else "profile acme-dev: iam:",
            "WRONG",
        )
        for late in (("GetAccountSummary", "ListUserTags", "GetAccessKeyLastUsed"),)
        for action in (*late, "ListUsers", "ListAccessKeys")
    ),
    (
        "UpdateAccessKey is not allowed",
        simulate(simulated("implicitDeny")),
        "profile acme-dev: iam:UpdateAccessKey is not allowed; see aws/policies",
        "WRONG",
    ),
    (
        "the organization forbids UpdateAccessKey",
        simulate(simulated("allowed", BY_ORGANIZATION)),
        "profile acme-dev: iam:UpdateAccessKey is not allowed; see aws/policies",
        "WRONG",
    ),
    (
        "the simulator may not be asked",
        simulate(iam_error("AccessDenied")),
        "profile acme-dev: iam:UpdateAccessKey: iam:SimulatePrincipalPolicy did not say; a run will",
        "untested",
    ),
    ("no table yet", lambda _: None, f"state table {STATE_TABLE}: it is not there yet; the first run", "untested"),
    (
        "the table may not be looked at",
        lambda world: world.gate.inject(DENIED, is_action("DescribeTable")),
        "state table: dynamodb:DescribeTable was refused",
        "WRONG",
    ),
    (
        "the table cannot be written",
        refuse_writes,
        "state table: dynamodb:UpdateItem was refused",
        "WRONG",
    ),
    (
        "a secret cannot be decrypted",
        lambda world: world.gate.inject(DENIED, is_action("Decrypt")),
        "Slack: the secret 'slack.token' could not be read: KMS refused",
        "WRONG",
    ),
    (
        "the Slack token is dead",
        lambda world: world.slack.tokens.clear(),
        "Slack: Slack refused all messages (invalid_auth); the bot token is wrong",
        "WRONG",
    ),
    (
        "no chat:write",
        lambda world: world.slack.scopes.discard("chat:write"),
        "Slack: the bot lacks the scope chat:write",
        "WRONG",
    ),
    (
        "no users:read.email",
        lambda world: world.slack.scopes.discard("users:read.email"),
        "Slack: without the scope users:read.email it cannot find owners by e-mail",
        "untested",
    ),
    (
        "somebody has left Slack",
        lambda world: world.slack.deleted.add(KRAMER),
        f"slack_id_mapping_file: {KRAMER} has left Slack; name other owners",
        "WRONG",
    ),
    (
        "the mapping is no mapping",
        lambda world: world.owners.update(dev_kramer="kramer"),
        "slack_id_mapping_file: line 2: 'kramer' is not a Slack id",
        "WRONG",
    ),
    ("the Jira token is dead", lambda world: world.jira.dead_token(), "Jira: Jira refused myself (HTTP 401)", "WRONG"),
    (
        "Jira lacks a permission",
        lambda world: world.jira.lacking.add("ADD_COMMENTS"),
        "Jira: the account lacks ADD_COMMENTS in the project SEC",
        "WRONG",
    ),
    (
        "no such issue type",
        lambda world: world.jira.issue_types.discard("Task"),
        "jira_issue_type: 'Task' is none of Bug, Story",
        "WRONG",
    ),
    (
        "a field is required",
        lambda world: world.jira.required_fields.update(priority="Priority is required."),
        "jira_extra_fields: the issue type wants priority (Priority); give each a value there",
        "WRONG",
    ),
    (
        "nothing is ever Done",
        lambda world: setattr(world.jira, "statuses", {"To Do": "new"}),
        "resolve_jira: statuses of the category Done: none, so no issue can be closed; set resolve_jira=False",
        "WRONG",
    ),
    (
        "an old Jira Server",
        lambda world: world.jira.inject(Fault.status(404, {}), lambda request: "/createmeta/" in request.path),
        "jira_issue_type: Jira does not say which there are (Server before 8.4)",
        "untested",
    ),
    ("Jira hangs", lambda world: world.jira.inject(Fault.hang(), calls("GET", "/myself")), "Jira: no answer", "WRONG"),
]


@pytest.mark.parametrize(("spoil", "says", "kind"), [one[1:] for one in SPOILT], ids=[one[0] for one in SPOILT])
def test_each_thing_that_cannot_be_used_is_a_line_and_costs_no_other_its_own(
    staffed: World, spoil: Spoil, says: str, kind: str
) -> None:
    spoil(staffed)
    ran = check(staffed, **ALL_ON)
    assert any(line.startswith(says) for line in lines(ran, kind)), ran.stdout
    assert ran.code == (3 if kind == "WRONG" else 0)
    assert "settings: sound; on: send_slack, create_jira, disable_key" in lines(ran, "ok")


@pytest.mark.parametrize(
    ("days", "says"),
    [(9, "that of dev_kramer ends within a month, on "), (-3, "exemption 1 (user 'dev_kramer', until ")],
)
def test_exemptions_that_end_soon_or_are_over_are_named(staffed: World, days: int, says: str) -> None:
    until = (datetime.now(UTC) + timedelta(days=days)).date()
    path = staffed.folder / "exemptions.toml"
    path.write_text(EXEMPTION.format(until=until), encoding="utf-8")
    ran = check(staffed, exemptions_file=str(path))
    assert ran.code == 3
    assert [line for line in lines(ran, "WRONG") if line.startswith(f"exemptions_file: {says}")]
    path.write_text(EXEMPTION.format(until=until + timedelta(days=200)), encoding="utf-8")
    assert "exemptions_file: 1 exemptions" in lines(check(staffed, exemptions_file=str(path)), "ok")


def test_channels_of_the_mapping_are_said_to_be_untested(staffed: World) -> None:
    staffed.owners["svc"] = "C0TEAM"
    ran = check(staffed, send_slack="True")
    assert "slack_id_mapping_file: 1 channels: only a message can tell; try --send-test" in lines(ran, "untested")


def test_an_exemption_for_nobody_is_named(staffed: World) -> None:
    until, over = ((datetime.now(UTC) + timedelta(days=days)).date() for days in (200, -2))
    path = staffed.folder / "exemptions.toml"
    users = ("dev_kramer", "gone", "DEV_*")
    text = EXEMPTION.format(until=over)
    text += "".join(EXEMPTION.format(until=until).replace('"dev_kramer"', f'"{user}"') for user in users)
    path.write_text(text + EXEMPTION.format(until=until).replace("acme-dev", "acme-elsewhere"), encoding="utf-8")
    ran = check(staffed, exemptions_file=str(path))
    assert (ran.code, lines(ran, "WRONG")) == (
        3,
        [
            f"exemptions_file: exemption 1 (user 'dev_kramer', until {over}) is over; delete it",
            f"exemptions_file: exemption 3 (user 'gone', until {until}) is for no user of acme-dev",
        ],
    )


def test_all_pages_of_users_are_asked_for(iam_world: World) -> None:
    iam = fake_iam(iam_world)
    for number in range(1500):
        iam.add_user(f"user{number:04}")
    assert "profile acme-dev: iam:ListUsers: 1500 users" in lines(check(iam_world), "ok")


def test_an_exemptions_file_that_is_not_there_is_named(staffed: World) -> None:
    ran = check(staffed, exemptions_file=str(staffed.folder / "no-such.toml"))
    assert (ran.code, lines(ran, "WRONG")) == (3, ["exemptions_file: no such file or directory"])


def test_a_setting_that_is_warned_about_is_a_line(staffed: World) -> None:
    ran = check(staffed, **{**ALL_ON, "expire_age": "5"})
    assert ran.code == 3
    assert any(line.startswith("settings: ") for line in lines(ran, "WRONG"))


def test_where_aws_hangs_it_ends_within_its_time_and_says_so(staffed: World) -> None:
    staffed.gate.inject(Fault.hang())
    began = time.monotonic()
    ran = check(staffed, **ALL_ON)
    assert time.monotonic() - began < 30, "not for as long as whoever hangs likes"
    assert ran.code == 3
    named = {line.partition(":")[0] for line in lines(ran, "WRONG")}
    assert named == {"profile acme-dev", "state table", "Slack", "Jira"}


# A test message


@pytest.mark.parametrize("slack_id", [KRAMER, "C0SECURITY"])
def test_a_test_message_says_that_it_is_one(staffed: World, slack_id: str) -> None:
    ran = check(staffed, "--send-test", slack_id, send_slack="True")
    assert ran.code == 0
    (message,) = staffed.slack.messages
    assert message.channel == slack_id
    assert message.text == "This is a test of keycheck, sent by `--check --send-test`. There is nothing to do."
    assert f"Slack: a test message was sent to {slack_id}" in lines(ran, "ok")


def test_a_test_message_needs_a_token(staffed: World) -> None:
    ran = staffed.run("acme-dev", "--check", "--send-test", KRAMER, credstash_keyname_slack_api_token=None)
    assert ran.code == 3
    assert lines(ran, "WRONG") == ["credstash_keyname_slack_api_token: it is not set, so nothing can be sent"]


def test_a_test_message_that_slack_refuses_is_said(staffed: World) -> None:
    staffed.slack.unknown.add("C0NOWHERE")
    ran = check(staffed, "--send-test", "C0NOWHERE", send_slack="True")
    assert ran.code == 3
    assert any("C0NOWHERE" in line for line in lines(ran, "WRONG"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--check", "--dry-run"), "--check goes with no option but --send-test; see --help"),
        (("--check", "--format", "json"), "--check goes with no option but --send-test; see --help"),
        (("--check", "--explain", "x"), "--check goes with no option but --send-test; see --help"),
        (
            ("--send-test", KRAMER),
            "--send-test goes with --check, and a Slack id like U012AB3CD or C012AB3CD; see --help",
        ),
        (("--check", "--send-test", "#general"), "--send-test goes with --check, and a Slack id like"),
    ],
)
def test_what_is_typed_wrong_is_one_line_and_nothing_is_asked(
    world: World, arguments: tuple[str, ...], says: str
) -> None:
    ran = world.run("acme-dev", *arguments)
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"E! keycheck: {says}")
    assert world.gate.requests == []


# The clock


@pytest.mark.parametrize(("minutes", "off"), [(0, 0), (4, 240), (-4, -240)])
def test_how_far_the_clock_is_off_is_said(
    world: World, monkeypatch: pytest.MonkeyPatch, minutes: int, off: int
) -> None:
    for name, value in world.environ.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    clock = RunClock()
    clock.set_timeout(60)
    later = timedelta(minutes=minutes)
    probe = AwsProbe("acme-dev", clock.check, clock.remaining_seconds, lambda: datetime.now(UTC) + later)
    found = probe.who().clock_off_seconds
    assert found is not None
    assert abs(found - off) < 30
