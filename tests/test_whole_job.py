"""The whole job against the sandbox: what a run prints, files, sends, disables, records, and what the next one repeats.

Between keycheck and moto stands the world's gate, which lets one call through at a time: so moto's conditional writes,
which have no locks of their own, hold against several processes. Time passes by `pass_time`, always a second more than
the rule needs: records are rounded up to whole seconds.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from line_protocol_parser import parse_line

from sandbox.fake_iam import about, iam_error
from sandbox.fake_jira import Flavour
from sandbox.fake_slack import Message
from sandbox.fake_slack import render as as_slack_shows
from sandbox.http_fake import Fault, calls
from sandbox.moto_aws import STATE_TABLE, MotoAws
from sandbox.warm_parent import WarmParent
from sandbox.world import ACCOUNTS, Ran, World
from tests.builders import ALL_ON, MORE_THAN_A_DAY, UNTOLD
from tests.running import (
    FULL_ACCESS_KEY_ID,
    KRAMER,
    closed_port,
    fake_iam,
    iam_lines,
    issue_posts,
    records,
    run,
    run_fields,
    sends,
    statuses,
)

SLACK_AND_JIRA = {"send_slack": "True", "create_jira": "True"}
ODD_NAME = "svc,a=b+c@d.e_f-g"


def words(message: Message) -> str:
    return message.text + "\n" + as_slack_shows(message)


def counts(fields: dict[str, object]) -> dict[str, object]:
    """An iam_run line without what no one can foretell."""
    return {name: value for name, value in fields.items() if name not in ("duration_seconds", "finished_at")}


# The audit


def test_the_audit_prints_every_label_in_a_stable_order_and_writes_nothing(world: World) -> None:
    """Ages on both sides of each limit. The second run is in another time zone and locale: not a character changes."""
    zoe = world.aws.add_user("zoe", [180, 179.99, 165, 164.99, 0])
    odd = world.aws.add_user(ODD_NAME, [400], status="Inactive")
    world.aws.add_user("Without_keys")
    first = run(world, "acme-dev")
    second = run(world, "acme-dev", TZ="Pacific/Auckland", LC_ALL="tr_TR.UTF-8")
    assert (first.code, first.stderr) == (0, "")
    assert iam_lines(first) == [
        rf"iam,name=svc\,a\=b+c@d.e_f-g,key={odd[0][-5:]},status=disabled,accountAlias=acme-dev age=400",
        f"iam,name=zoe,key={zoe[0][-5:]},status=expired,accountAlias=acme-dev age=180",
        f"iam,name=zoe,key={zoe[1][-5:]},status=expiring,accountAlias=acme-dev age=179",
        f"iam,name=zoe,key={zoe[2][-5:]},status=expiring,accountAlias=acme-dev age=165",
        f"iam,name=zoe,key={zoe[3][-5:]},status=ok,accountAlias=acme-dev age=164",
        f"iam,name=zoe,key={zoe[4][-5:]},status=ok,accountAlias=acme-dev age=0",
    ]
    pattern = (
        r"iam_run,accountAlias=acme-dev users=3i,keys=6i,ok=2i,expiring=2i,expired=1i,disabled=1i,issues_filed=0i,"
        r"nags_sent=0i,keys_disabled=0i,skipped=0i,exempt=0i,root_access_keys=0i,errors=0i,incomplete=0i,duration_seconds=\d+\.\d+,finished_at=\d+i"
    )
    assert re.fullmatch(pattern, first.lines[-1])
    assert iam_lines(second) == iam_lines(first)
    assert counts(run_fields(second)) == counts(run_fields(first))
    assert set(world.gate.actions) == {"ListUsers", "ListAccessKeys", "GetAccountSummary"}
    assert world.aws.state_items() == []
    assert (world.jira.requests, sends(world)) == ([], 0)


# The job


@pytest.mark.parametrize("flavour", ["cloud", "server"])
def test_the_whole_job_once_then_nothing_twice_then_a_nag_a_day_later(
    moto: MotoAws, warm: WarmParent | None, flavour: Flavour
) -> None:
    settings = {**ALL_ON}
    if flavour == "server":
        settings["credstash_keyname_atlassian_api_email"] = ""
    with World(flavour, aws=moto, warm=warm) as world:
        kramer = world.aws.add_user("dev_kramer", [197, 170, 3])
        (odd,) = world.aws.add_user(ODD_NAME, [200])
        (left,) = world.aws.add_user("left", [400], status="Inactive")
        world.owners |= {"dev_kramer": KRAMER, "left": "U0LEFT", ODD_NAME: "C0SERVICES"}

        ran = run(world, "acme-dev", **settings)
        assert (ran.code, ran.stderr) == (0, "")
        assert iam_lines(ran) == [
            f"iam,name=dev_kramer,key={kramer[0][-5:]},status=disabled,accountAlias=acme-dev age=197",
            f"iam,name=dev_kramer,key={kramer[1][-5:]},status=expiring,accountAlias=acme-dev age=170",
            f"iam,name=dev_kramer,key={kramer[2][-5:]},status=ok,accountAlias=acme-dev age=3",
            f"iam,name=left,key={left[-5:]},status=disabled,accountAlias=acme-dev age=400",
            rf"iam,name=svc\,a\=b+c@d.e_f-g,key={odd[-5:]},status=disabled,accountAlias=acme-dev age=200",
        ]
        assert counts(run_fields(ran)) == {
            "users": 3,
            "keys": 5,
            "ok": 1,
            "expiring": 1,
            "expired": 0,
            "disabled": 3,
            "issues_filed": 3,
            "nags_sent": 2,
            "keys_disabled": 2,
            "skipped": 0,
            "exempt": 0,
            "overdue": 0,
            "waiting": 0,
            "root_access_keys": 0,
            "errors": 0,
            "incomplete": 0,
        }
        assert statuses(world, "dev_kramer") == ["Inactive", "Active", "Active"]
        assert statuses(world, ODD_NAME) == ["Inactive"]

        (to_kramer,), (to_channel,) = world.slack.messages_to(KRAMER), world.slack.messages_to("C0SERVICES")
        assert len(world.slack.messages) == 2
        for words_expected in (kramer[0], kramer[1], "acme-dev", "197 days", "170 days", "aws iam update-access-key"):
            assert words_expected in words(to_kramer)
        assert kramer[2] not in words(to_kramer)
        assert ODD_NAME in words(to_channel)
        assert odd[-5:] in words(to_channel)
        assert FULL_ACCESS_KEY_ID.search(words(to_channel)) is None

        assert len(world.jira.issues) == 3
        for issue in world.jira.issues.values():
            assert issue.labels[0] == "AWS-User-Key-Rotation"
            assert re.fullmatch("keycheck-[0-9a-f]{16}", issue.labels[1])
            assert FULL_ACCESS_KEY_ID.search(issue.summary + issue.description) is None
            message = to_channel if odd[-5:] in issue.summary else to_kramer
            assert f"{world.jira.url}/browse/{issue.key}" in words(message)

        kept = records(world)
        assert {kept[key]["issue_key"] for key in (kramer[0], kramer[1], odd)} == set(world.jira.issues)
        assert kept.keys() == {
            f"told:{KRAMER}",
            kramer[0],
            kramer[1],
            odd,
            f"slack:123456789012:{KRAMER}",
            "slack:123456789012:C0SERVICES",
            "disablings:123456789012",
            "account:123456789012",
            "standing:123456789012",
            "standing:all",
        }

        after = run(world, "acme-dev", **settings)
        assert (after.code, after.stderr) == (0, "")
        said = {issue.key: len(issue.comments) for issue in world.jira.issues.values()}
        assert said == {kept[kramer[0]]["issue_key"]: 1, kept[kramer[1]]["issue_key"]: 0, kept[odd]["issue_key"]: 1}

        writes = len(world.gate.writes)
        again = run(world, "acme-dev", **settings)
        assert (again.code, again.stderr) == (0, "")
        assert iam_lines(again) == iam_lines(ran)
        assert counts(run_fields(again)) == {
            **counts(run_fields(ran)),
            "issues_filed": 0,
            "nags_sent": 0,
            "keys_disabled": 0,
        }
        assert (len(world.gate.writes), issue_posts(world), sends(world)) == (writes, 3, 2)

        world.pass_time(MORE_THAN_A_DAY)
        tomorrow = run(world, "acme-dev", **settings)
        assert (tomorrow.code, tomorrow.stderr) == (0, "")
        assert run_fields(tomorrow)["nags_sent"] == 1
        reminder = world.slack.messages[-1]
        assert (reminder.channel, kramer[1] in words(reminder), kramer[0] in words(reminder)) == (KRAMER, True, False)
        assert (len(world.slack.messages), issue_posts(world)) == (3, 3)


def test_an_owner_is_nagged_again_at_the_interval_and_not_before(world: World) -> None:
    world.aws.add_user("dev_kramer", [170])
    world.owners["dev_kramer"] = KRAMER
    sent = []
    for passes in (timedelta(), timedelta(hours=35), timedelta(hours=1, seconds=1)):
        world.pass_time(passes)
        assert run(world, "acme-dev", send_slack="True", nag_interval_hours="36").code == 0
        sent.append(len(world.slack.messages))
    assert sent == [1, 1, 2]


def test_an_issue_is_filed_anew_only_once_it_is_done_and_twice_a_week_at_most(world: World) -> None:
    world.aws.add_user("dev_kramer", [166])
    filed = []

    def run_again() -> str:
        ran = run(world, "acme-dev", create_jira="True")
        assert ran.code == 0
        filed.append(len(world.jira.issues))
        return ran.stderr

    assert run_again() == ""
    world.jira.transition("SEC-1", "In Progress")
    assert run_again() == ""
    world.jira.transition("SEC-1", "Done")
    assert run_again() == ""
    world.jira.transition("SEC-2", "Done")
    said = run_again()
    assert filed == [1, 1, 2, 2]
    assert said.startswith("W! acme-dev: no further issue for 1 access key: two issues were filed")
    assert said.count("\n") == 1
    world.pass_time(timedelta(days=7, seconds=1))
    assert run_again() == ""
    assert filed[-1] == 3
    assert issue_posts(world) == 3


def test_an_unknown_owner_is_a_warning_without_a_fallback_and_a_digest_with_one(world: World) -> None:
    ids = [*world.aws.add_user("nobodys", [197]), *world.aws.add_user("nobodys_too", [190, 170])]
    ran = run(world, "acme-dev", send_slack="True")
    assert ran.code == 0
    assert ran.stderr.startswith("W! acme-dev: nobody was nagged about 3 access keys: the user is in no Slack mapping")
    assert ran.stderr.count("\n") == 1
    assert run_fields(ran)["skipped"] == 3
    assert sends(world) == 0

    ran = run(world, "acme-dev", send_slack="True", slack_fallback_channel="C0SECURITY")
    assert (ran.code, ran.stderr) == (0, "")
    (digest,) = world.slack.messages
    assert digest.channel == "C0SECURITY"
    for access_key_id in ids:
        assert access_key_id[-5:] in words(digest)
    assert "nobodys_too" in words(digest)
    assert FULL_ACCESS_KEY_ID.search(words(digest)) is None


def test_two_users_of_one_person_are_one_message(world: World) -> None:
    ids = [*world.aws.add_user("kramer", [197]), *world.aws.add_user("kramer_admin", [190])]
    world.owners |= {"kramer": KRAMER, "kramer_admin": KRAMER}
    ran = run(world, "acme-dev", send_slack="True")
    assert (ran.code, run_fields(ran)["nags_sent"]) == (0, 1)
    (message,) = world.slack.messages
    assert all(access_key_id in words(message) for access_key_id in ids)


# Disabling


def test_disabling_alone_disables_the_expired_and_nothing_else(world: World) -> None:
    world.aws.add_user("dev_kramer", [197, 180, 179.99, 3])
    settings = {"disable_key": "True"}
    ran = run(world, "acme-dev", **settings)
    assert (ran.code, ran.stderr) == (0, UNTOLD)
    assert statuses(world, "dev_kramer") == ["Inactive", "Inactive", "Active", "Active"]
    assert [parse_line(line)["tags"]["status"] for line in iam_lines(ran)] == ["disabled", "disabled", "expiring", "ok"]
    assert run_fields(ran)["keys_disabled"] == 2
    assert (world.jira.requests, sends(world)) == ([], 0)

    again = run(world, "acme-dev", **settings)
    assert (again.code, run_fields(again)["keys_disabled"]) == (0, 0)
    assert world.gate.calls["UpdateAccessKey"] == 2


def test_the_access_keys_that_keycheck_depends_on_are_never_disabled(world: World) -> None:
    """Those of any profile, of the source profile, of a credential process, of the credentials file and of the
    environment; an access key that merely looks alike is.
    """
    users = ("in_config", "source", "process", "in_credentials", "in_environment", "anybody")
    ids = {user: world.aws.add_user(user, [200])[0] for user in users}
    process = f'"AccessKeyId": "{ids["process"]}", "SecretAccessKey": "invented", "Version": 1'
    process_file = world.folder / "process.json"
    process_file.write_text("{" + process + "}", encoding="utf-8")
    world.config_file.write_text(
        world.aws.aws_config(ACCOUNTS)
        + f"""
[profile unrelated]
aws_access_key_id = {ids["in_config"]}
aws_secret_access_key = invented

[profile base]
aws_access_key_id = {ids["source"]}
aws_secret_access_key = invented

[profile assumed]
role_arn = arn:aws:iam::123456789012:role/keycheck
source_profile = base
region = us-east-1

[profile by-process]
credential_process = /bin/cat {process_file}
region = us-east-1
""",
        encoding="utf-8",
    )
    credentials = world.folder / "credentials"
    credentials.write_text(
        f"[old]\naws_access_key_id = {ids['in_credentials']}\naws_secret_access_key = invented\n", encoding="utf-8"
    )
    ran = run(
        world,
        "assumed",
        disable_key="True",
        aws_dynamodb_profile_name="by-process",
        AWS_SHARED_CREDENTIALS_FILE=str(credentials),
        AWS_ACCESS_KEY_ID=ids["in_environment"],
        AWS_SECRET_ACCESS_KEY="invented",
    )
    assert ran.code == 0
    assert {user: statuses(world, user)[0] for user in users} == {
        **dict.fromkeys(users, "Active"),
        "anybody": "Inactive",
    }
    fields = run_fields(ran, "assumed")
    assert (fields["keys_disabled"], fields["skipped"], fields["errors"]) == (1, 5, 0)


def test_nobody_is_cut_off_untold_when_slack_refuses(world: World) -> None:
    world.aws.add_user("dev_kramer", [197])
    world.owners["dev_kramer"] = KRAMER
    world.slack.refuse(KRAMER, "user_disabled")
    settings = {"send_slack": "True", "disable_key": "True"}
    ran = run(world, "acme-dev", **settings)
    assert ran.code == 0
    assert statuses(world, "dev_kramer") == ["Active"]
    assert ",status=expired," in ran.lines[0]
    fields = run_fields(ran)
    assert (fields["skipped"], fields["errors"], fields["keys_disabled"], fields["nags_sent"]) == (1, 1, 0, 0)
    error, warning = ran.stderr.splitlines()
    assert error.startswith(f"E! acme-dev: Slack refused the message to {KRAMER} (user_disabled)")
    assert warning.startswith("W! acme-dev: 1 access key not disabled: nobody could be told")

    world.slack.heal()
    healed = run(world, "acme-dev", **settings)
    assert (healed.code, healed.stderr) == (0, "")
    assert statuses(world, "dev_kramer") == ["Inactive"]
    assert len(world.slack.messages) == 1
    assert run_fields(healed)["keys_disabled"] == 1


def test_a_refusal_by_jira_names_field_and_setting_and_keeps_the_key_active(world: World) -> None:
    world.aws.add_user("dev_kramer", [197])
    world.jira.required_fields["customfield_10042"] = "Team is required."
    settings = {"create_jira": "True", "disable_key": "True"}
    ran = run(world, "acme-dev", "--fail-on-errors", **settings)
    assert ran.code == 3
    assert "Jira refused the new issue: field 'customfield_10042': Team is required." in ran.first_line
    assert "jira_extra_fields" in ran.first_line
    assert statuses(world, "dev_kramer") == ["Active"]
    assert run_fields(ran)["skipped"] == 1

    ran = run(world, "acme-dev", "--fail-on-errors", **settings, jira_extra_fields='{"customfield_10042": "SRE"}')
    assert (ran.code, ran.stderr) == (0, "")
    assert world.jira.issues["SEC-1"].fields["customfield_10042"] == "SRE"
    assert statuses(world, "dev_kramer") == ["Inactive"]


# What fails, and what it costs


def test_a_malformed_mapping_names_its_line_and_costs_slack_only(world: World) -> None:
    world.aws.add_user("dev_kramer", [197])
    world.mapping_file.write_text('# owners\nmapping = {\n    dev_kramer: "U012KRAMER",\n}\n', encoding="utf-8")
    ran = run(world, "acme-dev", **SLACK_AND_JIRA)
    assert ran.code == 0
    assert ran.stderr.startswith(f"E! acme-dev: nobody is nagged: slack_id_mapping_file {world.mapping_file}: line 3: ")
    assert ran.stderr.count("\n") == 1
    assert len(world.jira.issues) == 1
    assert len(without_actions(ran)) == 2
    assert sends(world) == 0


def test_the_mapping_is_never_executed(world: World) -> None:
    world.aws.add_user("dev_kramer", [197])
    trap = world.folder / "executed"
    world.mapping_file.write_text(
        f"mapping = {{'dev_kramer': '{KRAMER}'}}\nopen({str(trap)!r}, 'w').close()\n", encoding="utf-8"
    )
    ran = run(world, "acme-dev", send_slack="True")
    assert ran.code == 0
    assert "line 2: " in ran.first_line
    assert not trap.exists()
    assert sends(world) == 0


@pytest.mark.parametrize("trouble", ["wrong shape", "unreachable", "no such profile"])
def test_without_state_there_is_no_action_and_all_metrics(world: World, trouble: str) -> None:
    world.aws.add_user("dev_kramer", [197, 170])
    world.owners["dev_kramer"] = KRAMER
    settings: dict[str, str] = {}
    match trouble:
        case "wrong shape":
            world.aws.client("dynamodb").create_table(
                TableName=STATE_TABLE,
                KeySchema=[
                    {"AttributeName": "iam_access_key_id", "KeyType": "HASH"},
                    {"AttributeName": "user", "KeyType": "RANGE"},
                ],
                AttributeDefinitions=[
                    {"AttributeName": "iam_access_key_id", "AttributeType": "S"},
                    {"AttributeName": "user", "AttributeType": "S"},
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        case "unreachable":
            settings["AWS_ENDPOINT_URL_DYNAMODB"] = closed_port()
        case _:
            settings["aws_dynamodb_profile_name"] = "acme-typo"
    ran = run(world, "acme-dev", "--fail-on-errors", **ALL_ON, **settings)
    assert ran.code == 3
    assert ran.stderr.startswith("E! acme-dev: nothing is filed, sent or disabled without state: ")
    assert ran.stderr.count("\n") == 1
    assert [parse_line(line)["tags"]["status"] for line in iam_lines(ran)] == ["expired", "expiring"]
    fields = run_fields(ran)
    assert (fields["skipped"], fields["errors"], fields["incomplete"]) == (2, 1, 0)
    assert (issue_posts(world), sends(world), statuses(world, "dev_kramer")) == (0, 0, ["Active", "Active"])
    assert world.aws.state_items() == []


def test_a_table_that_fails_midway_ends_all_actions_and_is_said_once(world: World) -> None:
    """Reads go well, the first claim does not: no POST rests on a claim that was not written."""
    world.aws.add_user("dev_kramer", [197, 170])
    world.owners["dev_kramer"] = KRAMER
    denied = {"__type": "com.amazon.coral.service#AccessDeniedException", "message": "no"}
    world.gate.inject(Fault.status(400, denied), lambda one: b"issue_claim" in one.body)
    ran = run(world, "acme-dev", **ALL_ON)
    assert ran.code == 0
    assert ran.stderr.startswith("E! acme-dev: dynamodb:UpdateItem was refused (AccessDeniedException)")
    assert "without state nothing more is filed, sent or disabled" in ran.first_line
    assert ran.stderr.count("E! ") == 1
    assert (issue_posts(world), sends(world), statuses(world, "dev_kramer")) == (0, 0, ["Active", "Active"])
    assert len(iam_lines(ran)) == 2


def test_a_lost_table_costs_one_more_message_and_no_second_issue(world: World) -> None:
    """Nor does a dead token, for which Jira Cloud says that there are no issues."""
    world.aws.add_user("dev_kramer", [170])
    world.owners["dev_kramer"] = KRAMER
    assert run(world, "acme-dev", **SLACK_AND_JIRA).stderr == ""
    dynamodb = world.aws.client("dynamodb")
    dynamodb.update_table(TableName=STATE_TABLE, DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName=STATE_TABLE)

    world.jira.dead_token()
    ran = run(world, "acme-dev", **SLACK_AND_JIRA)
    assert ran.code == 0
    assert ran.stderr.startswith("E! acme-dev: no issues are filed: Jira refused myself (HTTP 401)")
    world.jira.revive_token()
    assert run(world, "acme-dev", **SLACK_AND_JIRA).stderr == ""
    assert (issue_posts(world), len(world.slack.messages)) == (1, 2)


# The dry run


def test_a_dry_run_decides_alike_and_writes_nowhere(world: World) -> None:
    kramer = [access_key_id[-5:] for access_key_id in world.aws.add_user("dev_kramer", [197, 170, 3])]
    (bob,) = (access_key_id[-5:] for access_key_id in world.aws.add_user("bob", [200]))
    world.owners["dev_kramer"] = KRAMER
    settings = ALL_ON
    dry = run(world, "acme-dev", "--dry-run", **settings)
    assert dry.code == 0
    of_bob = f"access key ...{bob} of bob (expired, 200 days old)"
    old, young = (
        f"access key ...{kramer[0]} of dev_kramer (expired, 197 days old)",
        f"access key ...{kramer[1]} of dev_kramer (expiring, 170 days old)",
    )
    no_owner = "the user is in no Slack mapping and slack_fallback_channel is not set"
    named = f"dev_kramer ...{kramer[0]}, dev_kramer ...{kramer[1]}"
    *lines, total, days, what_for = dry.stderr.splitlines()
    assert total.startswith(
        "I! acme-dev: in all 2 expired and 1 expiring access keys; of the expired ones 2 never used"
    )
    assert days.startswith("I! acme-dev: if nobody acts 3 of them are disabled, the first on ")
    assert what_for.startswith("I! acme-dev: policy: ")
    assert lines == [
        f"I! acme-dev: {line}"
        for line in (
            "would create the table iam-access-key-alert",
            f"would file an issue for {of_bob}",
            f"would disable {of_bob}, once the notice above is delivered",
            f"would file an issue for {old}",
            f"would file an issue for {young}",
            f"would send a message to {KRAMER} about 2 access keys: {named}",
            f"would disable {old}, once the notice above is delivered",
            f"would not nag: {of_bob}: {no_owner}",
        )
    ]
    assert [parse_line(line)["tags"]["status"] for line in iam_lines(dry)] == ["expired", "expired", "expiring", "ok"]
    assert world.gate.writes == []
    assert {request.method for request in world.jira.requests} == {"GET"}
    assert sends(world) == 0
    assert STATE_TABLE not in world.aws.client("dynamodb").list_tables()["TableNames"]

    real = run(world, "acme-dev", **settings)
    fields = run_fields(real)
    assert (fields["issues_filed"], fields["nags_sent"], fields["keys_disabled"]) == (3, 1, 2)

    world.pass_time(MORE_THAN_A_DAY)
    writes, posts, sent, state = len(world.gate.writes), issue_posts(world), sends(world), records(world)
    dry = run(world, "acme-dev", "--dry-run", **settings)
    *comments, message = sorted(line for line in dry.stderr.splitlines() if ": would " in line)
    assert message == f"I! acme-dev: would send a message to {KRAMER} about 1 access key: dev_kramer ...{kramer[1]}"
    assert [one[:28] for one in comments] == ["I! acme-dev: would comment o"] * 2
    assert {one.split(":")[-1][1:] for one in comments} == {
        f"access key ...{bob} of bob (disabled, 201 days old)",
        f"access key ...{kramer[0]} of dev_kramer (disabled, 198 days old)",
    }
    assert (len(world.gate.writes), issue_posts(world), sends(world)) == (writes, posts, sent)
    assert records(world) == state


def test_without_the_metrics_on_stdout_the_job_is_done_all_the_same(world: World) -> None:
    world.aws.add_user("dev_kramer", [197])
    ran = run(world, "acme-dev", disable_key="True", dump_metric_to_console="False")
    assert (ran.code, ran.stdout, ran.stderr) == (0, "", UNTOLD)
    assert statuses(world, "dev_kramer") == ["Inactive"]


# Several profiles, several runs


def without_actions(ran: Ran) -> list[str]:
    """What is printed whether or not the run did something."""
    return [line for line in ran.lines if not line.startswith("iam_action,")]


def test_profiles_of_two_accounts_stand_apart_and_a_bad_one_costs_its_own_lines(world: World) -> None:
    """One owner in both accounts gets a message about each."""
    prod = ACCOUNTS["acme-prod"]
    (in_dev,) = world.aws.add_user("dev_kramer", [197])
    (in_prod,) = world.aws.add_user("dev_kramer", [190], account_id=prod)
    world.owners["dev_kramer"] = KRAMER
    ran = run(world, "acme-prod", "acme-typo", "acme-dev", **ALL_ON)
    assert ran.code == 0
    assert [
        (parse_line(line)["measurement"], parse_line(line)["tags"]["accountAlias"]) for line in without_actions(ran)
    ] == [
        ("iam", "acme-prod"),
        ("iam_run", "acme-prod"),
        ("iam_run", "acme-typo"),
        ("iam", "acme-dev"),
        ("iam_run", "acme-dev"),
    ]
    assert ran.stderr.startswith("E! acme-typo: there is no such AWS profile")
    assert ran.stderr.count("\n") == 1
    assert run_fields(ran, "acme-typo").keys() == {"errors", "incomplete", "duration_seconds", "finished_at"}
    for profile in ("acme-dev", "acme-prod"):
        fields = run_fields(ran, profile)
        done = (fields["issues_filed"], fields["nags_sent"], fields["keys_disabled"], fields["errors"])
        assert done == (1, 1, 1, 0)
    assert statuses(world, "dev_kramer") == ["Inactive"]
    assert statuses(world, "dev_kramer", prod) == ["Inactive"]
    told = world.slack.messages_to(KRAMER)
    assert len(told) == 2
    assert sorted((in_dev in words(message), in_prod in words(message)) for message in told) == [
        (False, True),
        (True, False),
    ]


def test_two_profiles_of_one_account_are_one_issue_a_key_and_one_message_an_owner(world: World) -> None:
    """Also where the search shows new issues only much later."""
    account = ACCOUNTS["acme-dev"]
    world.config_file.write_text(world.aws.aws_config({"acme-dev": account, "again": account}), encoding="utf-8")
    world.jira.search_lag_seconds = 60
    world.aws.add_user("dev_kramer", [197, 190, 170])
    world.owners["dev_kramer"] = KRAMER
    ran = run(world, "acme-dev", "again", **ALL_ON)
    assert ran.code == 0
    assert len(without_actions(ran)) == 8
    assert issue_posts(world) == 3
    assert len({issue.labels[1] for issue in world.jira.issues.values()}) == 3
    assert sends(world) == 1
    assert statuses(world, "dev_kramer") == ["Inactive", "Inactive", "Active"]
    assert run_fields(ran, "acme-dev")["issues_filed"] + run_fields(ran, "again")["issues_filed"] == 3
    assert run_fields(ran, "acme-dev")["nags_sent"] + run_fields(ran, "again")["nags_sent"] == 1


@pytest.mark.parametrize("profiles", [("acme-dev", "again"), ("again", "acme-dev")], ids=" ".join)
def test_what_one_profile_of_an_account_exempts_is_exempt_in_any_order(world: World, profiles: tuple[str, str]) -> None:
    """And who owns it by the name of one profile owns it for both; that they are one account is said once."""
    account = ACCOUNTS["acme-dev"]
    world.config_file.write_text(world.aws.aws_config({"acme-dev": account, "again": account}), encoding="utf-8")
    for name in ("deploy", "dev_kramer"):
        world.aws.add_user(name, [200])
    world.owners["again/dev_kramer"] = KRAMER
    exemptions = world.folder / "exemptions.toml"
    until = (datetime.now(UTC) + timedelta(days=30)).date()
    rule = f'[[exemption]]\naccount = "acme-dev"\nuser = "deploy"\nuntil = {until}\nreason = "SEC-99"\n'
    exemptions.write_text(rule, encoding="utf-8")
    ran = run(world, "-v", *profiles, **ALL_ON, exemptions_file=str(exemptions))
    assert (statuses(world, "deploy"), statuses(world, "dev_kramer")) == (["Active"], ["Inactive"])
    assert [message.channel for message in world.slack.messages] == [KRAMER]
    assert ran.stderr.count(f"the profiles acme-dev, again show one account, {account}") == 1
    assert [run_fields(ran, profile)["exempt"] for profile in profiles] == [1, 1]
    assert [run_fields(ran, profile)["nags_sent"] for profile in ("acme-dev", "again")] == [1, 0]


def test_four_runs_at_once_do_everything_once(world: World) -> None:
    users = [f"user_{number}" for number in range(4)]
    for number, user in enumerate(users):
        world.aws.add_user(user, [197 + number, 170])
        world.owners[user] = f"U0USER{number}"
    world.jira.search_lag_seconds = 60
    started = [world.popen("acme-dev", **ALL_ON) for _ in range(4)]
    for process in started:
        with process:
            stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "E! " not in stderr
        assert stdout.count("iam,name=") == 8
        assert " users=4i,keys=8i," in stdout
    assert issue_posts(world) == 8
    assert len({issue.labels[1] for issue in world.jira.issues.values()}) == 8
    assert sorted(message.channel for message in world.slack.messages) == ["U0USER0", "U0USER1", "U0USER2", "U0USER3"]
    run(world, "acme-dev", **ALL_ON)  # an access key that two runs shared is disabled by the next
    assert [statuses(world, user) for user in users] == [["Inactive", "Active"]] * 4
    assert all("claim" not in name for item in records(world).values() for name in item)


# The scan


def test_every_page_of_users_and_of_keys_is_followed(iam_world: World) -> None:
    iam = fake_iam(iam_world)
    iam.users_per_page = [7, 0, 7]
    iam.keys_per_page = 1
    for number in range(60):
        iam.add_user(f"user_{number:02}", [1, 100, 200][: number % 4])
    ran = run(iam_world, "acme-dev")
    expected = [
        (user.user_name, key.access_key_id[-5:])
        for user in iam.users.values()
        for key in sorted(user.keys, key=lambda key: key.create_date)
    ]
    assert (ran.code, ran.stderr) == (0, "")
    tags = [parse_line(line)["tags"] for line in iam_lines(ran)]
    assert [(one["name"], one["key"]) for one in tags] == expected
    assert len(expected) == 90
    assert (run_fields(ran)["users"], run_fields(ran)["incomplete"]) == (60, 0)


def test_when_no_user_can_be_read_nothing_was_scanned(iam_world: World) -> None:
    iam = fake_iam(iam_world)
    for number in range(30):
        iam.add_user(f"user_{number:02}", [200])
    iam.inject(iam_error("AccessDenied"), about("ListAccessKeys"))
    ran = run(iam_world, "acme-dev", disable_key="True")
    assert ran.code == 1
    assert ran.stderr.startswith(
        "E! acme-dev: the access keys of 30 of 30 users were not read: iam:ListAccessKeys was "
    )
    assert ran.stderr.count("\n") == 2
    assert ran.stderr.endswith(UNTOLD)
    assert iam_lines(ran) == []
    fields = run_fields(ran)
    assert fields.keys() == {"errors", "incomplete", "duration_seconds", "finished_at"}
    assert fields["incomplete"] == 1


def test_an_addressee_for_whom_slack_failed_twice_is_left_alone_for_an_hour(world: World) -> None:
    world.aws.add_user("dev_kramer", [170])
    world.owners["dev_kramer"] = KRAMER
    world.slack.inject(Fault.status(500), calls("POST", "chat.postMessage"))
    asked = []
    for passes in (timedelta(), timedelta(minutes=5), timedelta(minutes=58)):
        world.pass_time(passes)
        assert run(world, "acme-dev", send_slack="True").code == 0
        asked.append(sends(world))
    assert asked == [1, 2, 2]


# What a fresh pair of eyes found


def test_a_channel_that_owns_users_and_is_the_fallback_too_gets_one_message_about_all(world: World) -> None:
    """Two messages to one Slack id about one account would compete for one claim, and one owner never hear."""
    team = "C0SECURITY"
    world.aws.add_user("ci_deploy", [170])
    world.aws.add_user("nobodys", [171])
    world.owners["ci_deploy"] = team
    ran = run(world, "acme-dev", send_slack="True", slack_fallback_channel=team)
    assert (ran.code, ran.stderr, run_fields(ran)["nags_sent"], run_fields(ran)["skipped"]) == (0, "", 1, 0)
    (message,) = world.slack.messages_to(team)
    assert all(name in str(message.blocks) for name in ("ci_deploy", "nobodys"))
    assert FULL_ACCESS_KEY_ID.search(str(message.blocks)) is None


def test_a_dry_run_without_slacks_secret_plans_as_the_real_run_will(world: World) -> None:
    world.aws.add_user("dev_kramer", [197])
    world.owners["dev_kramer"] = KRAMER
    switches = {"send_slack": "True", "disable_key": "True", "credstash_keyname_slack_api_token": "no.such.secret"}
    rehearsed = run(world, "--dry-run", "acme-dev", **switches)
    assert "would not nag" in rehearsed.stderr
    assert "would not disable" in rehearsed.stderr
    assert "would send" not in rehearsed.stderr
    real = run(world, "acme-dev", **switches)
    assert run_fields(real)["skipped"] == run_fields(rehearsed)["skipped"] == 2
    assert statuses(world, "dev_kramer") == ["Active"]


def test_a_record_that_nobody_of_ours_wrote_costs_only_its_own_access_key(world: World) -> None:
    (odd,) = world.aws.add_user("dev_kramer", [197])
    world.aws.add_user("dev_meier", [198])
    run(world, "acme-dev", disable_key="True", expire_age="198")
    table = world.aws.client("dynamodb")
    table.put_item(
        TableName="iam-access-key-alert", Item={"iam_access_key_id": {"S": odd}, "told_at": {"S": "yesterday"}}
    )
    world.aws.add_user("dev_singh", [199])
    ran = run(world, "acme-dev", disable_key="True")
    assert (ran.code, statuses(world, "dev_singh"), statuses(world, "dev_kramer")) == (0, ["Inactive"], ["Active"])
    assert ran.first_line.startswith("W! acme-dev: nothing done for 1 access key: its record in the state table cannot")


def test_more_old_access_keys_than_fit_into_a_message_take_turns(world: World) -> None:
    for number in range(27):
        world.aws.add_user(f"user_{number:02}", [170])
        world.owners[f"user_{number:02}"] = KRAMER
    run(world, "acme-dev", send_slack="True")
    world.pass_time(MORE_THAN_A_DAY)
    run(world, "acme-dev", send_slack="True")
    said = "".join(str(message.blocks) for message in world.slack.messages)
    assert len(world.slack.messages) == 2
    assert [number for number in range(27) if f"user_{number:02}" not in said] == []


def test_a_key_whose_issue_another_run_is_filing_is_no_cause_for_alarm(world: World) -> None:
    """An overlap of two runs is normal: the other one warns, and this one says nothing."""
    (key,) = world.aws.add_user("dev_kramer", [197])
    run(world, "acme-dev", create_jira="True", expire_age="190")
    until = str(int(time.time()) + 690)
    world.aws.client("dynamodb").put_item(
        TableName="iam-access-key-alert",
        Item={"iam_access_key_id": {"S": key}, "issue_claim": {"S": "x"}, "issue_claim_until": {"N": until}},
    )
    ran = run(world, "acme-dev", create_jira="True", disable_key="True")
    assert (ran.code, ran.stderr, run_fields(ran)["skipped"]) == (0, "", 2)
    assert statuses(world, "dev_kramer") == ["Active"]
