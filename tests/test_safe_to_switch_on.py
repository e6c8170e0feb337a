"""The right owner, the right access key, never without reason: the real script, run day after day in the sandbox.

One test for each promise of README's "When an access key is not disabled"; every pair of rules that can meet is walked
in tests/rules, and thirty days of a whole account in test_rehearsal.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sized
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
import requests

from sandbox.fake_iam import FakeIam, FakeKey, about, iam_error
from sandbox.fake_jira import FakeJira
from sandbox.fake_slack import Message
from sandbox.fake_slack import render as as_slack_shows
from sandbox.http_fake import Request
from sandbox.moto_aws import STATE_TABLE, MotoAws
from sandbox.warm_parent import WarmParent
from sandbox.world import JIRA_EMAIL, JIRA_TOKEN, Ran, World
from tests.builders import ALL_ON, DAY, MORE_THAN_A_DAY
from tests.running import KRAMER, fake_iam, records, run, run_fields

SLACK_ONLY = {"send_slack": "True", "disable_key": "True"}
BEYOND_AN_INTENT = timedelta(minutes=16)


@pytest.fixture(name="world")
def world_with_a_fake_iam(moto: MotoAws, warm: WarmParent | None) -> Iterator[World]:
    """Its IAM knows of tags, last uses and the root user, and nobody is in it."""
    with World(aws=moto, iam=FakeIam(), warm=warm) as sandbox:
        yield sandbox


def hire(world: World, name: str, *ages: float, tags: dict[str, str] | None = None) -> list[FakeKey]:
    """The access keys of a new user."""
    user = fake_iam(world).add_user(name, list(ages or [197]))
    user.tags |= tags or {}
    return user.keys


def active(world: World) -> list[str]:
    """The users who have an active access key."""
    users = fake_iam(world).users.values()
    return sorted(user.user_name for user in users if any(key.status == "Active" for key in user.keys))


def told(world: World) -> list[str]:
    return sorted(message.channel for message in world.slack.messages)


def words(message: Message) -> str:
    return message.text + "\n" + as_slack_shows(message)


def said(world: World) -> str:
    return "\n".join(words(message) for message in world.slack.messages)


def quiet(ran: Ran) -> Ran:
    assert (ran.code, ran.stderr) == (0, "")
    return ran


def exemptions(world: World, until: str, *, user: str = "deploy-*", reason: str = "SEC-99: moves to a role") -> Path:
    path = world.folder / "exemptions.toml"
    rule = f'account = "acme-dev"\nuser = "{user}"\nuntil = {until}\nreason = "{reason}"\n'
    path.write_text(f"[[exemption]]\n{rule}", encoding="utf-8")
    return path


def in_days(days: int) -> str:
    return f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}"


# 1. Owner


def test_each_owner_is_found_by_the_first_of_the_ways_that_names_one(world: World) -> None:
    """A user of a profile wins over one of all accounts; the mapping over a tag; a Slack id over an e-mail."""
    world.slack.users |= {"newman@example.com": "U0NEWMAN", "elaine@example.com": "U0ELAINE"}
    hire(world, "deploy")
    world.owners |= {"deploy": "U0EVERYWHERE", "acme-dev/deploy": "U0HERE"}
    hire(world, "by_account")
    world.owners |= {"by_account": "U0EVERYWHERE", f"{fake_iam(world).account_id}/by_account": "U0ACCOUNT"}
    hire(world, "mapped", tags={"slack_id": "U0TAG"})
    world.owners["mapped"] = "U0MAPPED"
    hire(world, "tagged", tags={"slack_id": "U0TAGGED", "email": "newman@example.com"})
    hire(world, "by_mail", tags={"email": "newman@example.com"})
    hire(world, "elaine@example.com")
    hire(world, "nobodys")
    quiet(run(world, "acme-dev", **SLACK_ONLY, slack_fallback_channel="C0SECURITY"))
    everybody = ["U0HERE", "U0ACCOUNT", "U0MAPPED", "U0TAGGED", "U0NEWMAN", "U0ELAINE", "C0SECURITY"]
    assert told(world) == sorted(everybody)
    assert "nobodys" in words(world.slack.messages_to("C0SECURITY")[0])
    assert sorted(call.params["UserName"] for call in fake_iam(world).log if call.action == "ListUserTags") == sorted(
        ["tagged", "by_mail", "elaine@example.com", "nobodys"]
    )
    assert active(world) == []


def test_a_team_owns_an_access_key_and_its_group_is_mentioned(world: World) -> None:
    hire(world, "deploy", tags={"slack_id": "C0DEPLOY S0ONCALL"})
    hire(world, "billing")
    world.owners["billing"] = "C0BILLING"
    ran = run(world, "acme-dev", **SLACK_ONLY)
    assert told(world) == ["C0BILLING", "C0DEPLOY"], ran.stderr
    assert "<!subteam^S0ONCALL>" in str(world.slack.messages_to("C0DEPLOY")[0].blocks)


def test_tags_of_another_name_count_where_the_settings_say_so(world: World) -> None:
    hire(world, "deploy", tags={"Owner": "U0OWNER", "slack_id": "U0OTHER"})
    quiet(run(world, "acme-dev", **SLACK_ONLY, owner_slack_tag="Owner"))
    assert told(world) == ["U0OWNER"]


def test_the_fallback_channel_gets_one_digest_of_twenty_and_a_count(world: World) -> None:
    for number in range(23):
        hire(world, f"nobodys-{number:02}", 200 + number)
    ran = run(world, "acme-dev", **SLACK_ONLY, slack_fallback_channel="C0SECURITY")
    (digest,) = world.slack.messages
    named = set(re.findall(r"nobodys-\d\d", words(digest)))
    assert named == {f"nobodys-{number:02}" for number in range(3, 23)}
    assert "3 more" in words(digest)
    assert active(world) == ["nobodys-00", "nobodys-01", "nobodys-02"], "who was not named is not warned"
    assert run_fields(ran)["keys_disabled"] == 20


def test_an_issue_is_assigned_to_its_owner_and_is_then_a_warning(world: World) -> None:
    world.jira.users.append({"email": "kramer@example.com"})
    hire(world, "dev_kramer", tags={"email": "kramer@example.com"})
    quiet(run(world, "acme-dev", create_jira="True", disable_key="True", jira_assign_owner="True"))
    (issue,) = world.jira.issues.values()
    assert issue.assignee == "kramer@example.com"
    assert active(world) == []


# 2. Exemptions


def test_an_exempt_access_key_keeps_its_line_and_nothing_else_happens(world: World) -> None:
    (key,) = hire(world, "deploy-eu")
    world.owners["deploy-eu"] = KRAMER
    path = exemptions(world, in_days(30))
    ran = quiet(run(world, "acme-dev", **ALL_ON, exemptions_file=str(path)))
    assert f"iam,name=deploy-eu,key={key.access_key_id[-5:]},status=expired," in ran.stdout
    fields = run_fields(ran)
    assert (fields["exempt"], fields["expired"], fields["overdue"]) == (1, 1, 0)
    assert (told(world), dict(world.jira.issues), active(world)) == ([], {}, ["deploy-eu"])


def test_the_owner_is_told_that_an_exemption_is_over_and_the_notice_begins_then(world: World) -> None:
    hire(world, "deploy-eu")
    world.owners["deploy-eu"] = KRAMER
    settings = {**SLACK_ONLY, "disable_notice_days": "2"}
    quiet(run(world, "acme-dev", **settings, exemptions_file=str(exemptions(world, in_days(0)))))
    assert told(world) == []
    path = exemptions(world, in_days(-1))
    quiet(run(world, "acme-dev", **settings, exemptions_file=str(path)))
    assert "exempt" in said(world)
    assert active(world) == ["deploy-eu"]
    world.pass_time(timedelta(days=2, seconds=1))
    quiet(run(world, "acme-dev", **settings, exemptions_file=str(path)))
    assert active(world) == []


@pytest.mark.parametrize("until", ["2199-01-01", '"soon"'])
def test_a_file_that_is_not_sound_disables_nobody_and_all_are_told(world: World, until: str) -> None:
    hire(world, "dev_kramer")
    world.owners["dev_kramer"] = KRAMER
    ran = run(world, "acme-dev", **SLACK_ONLY, exemptions_file=str(exemptions(world, until)))
    assert ran.first_line.startswith("E! acme-dev: nothing is disabled: exemptions_file ")
    assert (told(world), active(world), run_fields(ran)["skipped"]) == ([KRAMER], ["dev_kramer"], 1)
    world.pass_time(MORE_THAN_A_DAY)  # a message that named no day was no warning
    quiet(run(world, "acme-dev", **SLACK_ONLY, exemptions_file=str(exemptions(world, in_days(1)))))
    assert active(world) == []


@pytest.mark.parametrize(
    ("until", "is_allowed", "is_active", "is_told"),
    [
        pytest.param(30, "True", True, False, id="in force"),
        pytest.param(30, "False", False, True, id="not allowed"),
        pytest.param(None, "True", True, True, id="malformed"),
        pytest.param(400, "True", True, True, id="too far ahead"),
    ],
)
def test_an_exemption_by_tag_counts_only_if_allowed_and_sound(
    world: World, until: int | None, is_allowed: str, is_active: bool, is_told: bool
) -> None:
    day = in_days(until) if until is not None else "soon"
    hire(world, "dev_kramer", tags={"keycheck:exempt-until": day, "keycheck:exempt-reason": "a migration"})
    world.owners["dev_kramer"] = KRAMER
    ran = run(world, "acme-dev", **SLACK_ONLY, exempt_by_tag=is_allowed)
    assert (bool(active(world)), bool(told(world))) == (is_active, is_told)
    assert ran.stderr.count("W! ") >= (is_active and is_told)
    assert "E! " not in ran.stderr


def test_tags_that_cannot_be_read_disable_nobody_concerned(world: World) -> None:
    hire(world, "dev_kramer")
    hire(world, "dev_newman")
    world.owners |= {"dev_kramer": KRAMER, "dev_newman": "U0NEWMAN"}
    fake_iam(world).inject(iam_error("AccessDenied"), about("ListUserTags", "dev_kramer"))
    ran = run(world, "acme-dev", **SLACK_ONLY, exempt_by_tag="True")
    assert "the tags of 1 users were not read" in ran.first_line
    assert active(world) == ["dev_kramer"]


# 3. Notice


def test_nothing_is_disabled_before_the_day_told_whatever_the_settings_say_by_then(world: World) -> None:
    hire(world, "dev_kramer")
    world.owners["dev_kramer"] = KRAMER
    quiet(run(world, "acme-dev", **SLACK_ONLY, disable_notice_days="7"))
    assert in_days(7) in said(world)
    world.pass_time(timedelta(days=6))
    early = run(world, "acme-dev", **SLACK_ONLY, disable_notice_days="0")
    assert (active(world), run_fields(early)["overdue"]) == (["dev_kramer"], 0)
    world.pass_time(MORE_THAN_A_DAY)
    quiet(run(world, "acme-dev", **SLACK_ONLY, disable_notice_days="7"))
    assert active(world) == []


# 4. Brakes


def test_so_many_a_day_and_no_more_the_oldest_first(world: World) -> None:
    for number in range(5):
        hire(world, f"user{number}", 200 + number)
        world.owners[f"user{number}"] = f"U0USER{number}"
    settings = {**SLACK_ONLY, "max_disables_per_day": "2"}
    first = run(world, "acme-dev", **settings)
    assert active(world) == ["user0", "user1", "user2"]
    assert "3 access keys not disabled: max_disables_per_day of its account is reached" in first.stderr
    assert (run_fields(first)["skipped"], run_fields(first)["overdue"]) == (3, 3)
    run(world, "acme-dev", **settings)
    assert len(active(world)) == 3, "five minutes later it is the same day"
    world.pass_time(MORE_THAN_A_DAY)
    run(world, "acme-dev", **settings)
    assert active(world) == ["user0"]


# 5. In use


def test_an_access_key_in_use_is_escalated_and_not_disabled_until_nothing_uses_it(world: World) -> None:
    (key,) = hire(world, "dev_kramer")
    world.owners["dev_kramer"] = KRAMER
    fake_iam(world).use_key(key.access_key_id, datetime.now(UTC) - timedelta(hours=3), "sqs", "eu-central-1")
    settings = {**ALL_ON, "disable_in_use_hours": "24"}
    ran = run(world, "acme-dev", **settings)
    assert active(world) == ["dev_kramer"]
    assert "1 access key not disabled: it was used within disable_in_use_hours" in ran.stderr
    for where in (said(world), world.jira.issues["SEC-1"].description.replace("\\", "")):
        assert "sqs" in where
        assert "eu-central-1" in where
    world.pass_time(MORE_THAN_A_DAY)
    run(world, "acme-dev", **settings)
    assert active(world) == []


def test_a_last_use_that_cannot_be_read_counts_as_in_use(world: World) -> None:
    hire(world, "dev_kramer")
    world.owners["dev_kramer"] = KRAMER
    fake_iam(world).inject(iam_error("AccessDenied"), about("GetAccessKeyLastUsed"))
    ran = run(world, "acme-dev", **SLACK_ONLY, disable_in_use_hours="24")
    assert "iam:GetAccessKeyLastUsed was refused (AccessDenied)" in ran.stderr
    assert (active(world), told(world)) == (["dev_kramer"], [KRAMER])


# 4. and 7. Two runs at once


@pytest.mark.parametrize(
    ("meanwhile", "is_disabled"),
    [
        pytest.param({}, True, id="nothing"),
        pytest.param({"disabled_at": 0}, False, id="disabled, and re-enabled at once by a person"),
        pytest.param({"disabling_at": 0}, False, id="about to be disabled"),
        pytest.param({"disabled_at": -1}, True, id="disabled a day ago"),
        pytest.param({"disable_from": 7}, False, id="its owner told a day in a week"),
    ],
)
def test_what_another_run_did_since_the_plan_was_made_counts(
    world: World, meanwhile: dict[str, int], is_disabled: bool
) -> None:
    """The other run comes in between this one's taking of one of the day's disablings and its intent."""
    (key,) = hire(world, "dev_kramer")
    world.owners["dev_kramer"] = KRAMER
    name = f"disablings:{fake_iam(world).account_id}"

    def other_run(request: Request) -> None:
        if request.method == "POST" and b"disabled_times" in request.body and not came:
            came.append(request)
            for attribute, days in meanwhile.items():
                at = datetime.now(UTC) + timedelta(days=days)
                world.state_client().update_item(
                    TableName=STATE_TABLE,
                    Key={"iam_access_key_id": {"S": key.access_key_id}},
                    UpdateExpression=f"SET {attribute} = :at",
                    ExpressionAttributeValues={":at": {"N": str(int(at.timestamp()))}},
                )

    came: list[Request] = []
    world.gate.before.append(other_run)
    ran = run(world, "acme-dev", **SLACK_ONLY)
    assert came
    assert active(world) == ([] if is_disabled else ["dev_kramer"])
    fields = run_fields(ran)
    assert (fields["keys_disabled"], fields["skipped"]) == ((1, 0) if is_disabled else (0, 1))
    assert len(cast(Sized, records(world)[name]["disabled_times"])) == int(is_disabled), "what was taken is given back"


# 6. Identity, and 8. rotation


def test_of_two_access_keys_only_the_old_one_goes_and_the_new_one_is_named(world: World) -> None:
    old, new = hire(world, "dev_kramer", 197, 3)
    world.owners["dev_kramer"] = KRAMER
    quiet(run(world, "acme-dev", **SLACK_ONLY))
    assert (old.status, new.status) == ("Inactive", "Active")
    made = f"{datetime.now(UTC) - 3 * DAY:%Y-%m-%d}"
    assert f"Your new access key, made on {made}, ends in {new.access_key_id[-5:]}" in said(world)
    assert new.access_key_id not in said(world)


# 7. Undo


def test_the_message_holds_the_command_that_undoes_it_and_who_uses_it_is_left_alone(world: World) -> None:
    (key,) = hire(world, "dev_kramer")
    world.owners["dev_kramer"] = KRAMER
    quiet(run(world, "acme-dev", **ALL_ON))
    assert f"--access-key-id {key.access_key_id} --status Inactive" in said(world)
    assert 'with "Active" in place of "Inactive" undoes it' in said(world)
    kept = records(world)[key.access_key_id]
    assert {"disabled_at", "disabled_by", "disabled_why"} <= kept.keys()
    assert "disabling_at" not in kept

    world.pass_time(BEYOND_AN_INTENT)
    key.status = "Active"
    for _ in range(7):
        world.pass_time(MORE_THAN_A_DAY)
        run(world, "acme-dev", **ALL_ON)
        assert active(world) == ["dev_kramer"]
    assert "it was inactive and is active again, so it is left alone" in said(world)
    comments = "\n".join(comment.body for comment in world.jira.issues["SEC-1"].comments)
    assert "was disabled by keycheck" in comments
    assert "a person re-enabled it" in comments
    world.pass_time(MORE_THAN_A_DAY)
    run(world, "acme-dev", **ALL_ON)
    assert active(world) == []


def test_what_was_taken_back_and_made_inactive_by_its_owner_is_left_alone_again(world: World) -> None:
    """Also where disable_key alone is on, so that there are no notices: the grace of each coming back is its own."""
    alone = {"disable_key": "True"}
    (key,) = hire(world, "dev_kramer")
    run(world, "acme-dev", **alone)
    assert key.status == "Inactive"
    world.pass_time(BEYOND_AN_INTENT)
    for status, days in (("Active", 1), ("Inactive", 7), ("Active", 6)):
        key.status = status
        run(world, "acme-dev", **alone)
        assert key.status == status
        world.pass_time(timedelta(days=days))
    run(world, "acme-dev", **alone)
    assert key.status == "Active"
    world.pass_time(MORE_THAN_A_DAY)
    run(world, "acme-dev", **alone)
    assert key.status == "Inactive"


@pytest.mark.parametrize("is_inactive_for", [1, 8])
def test_what_was_told_of_without_a_day_and_comes_back_is_left_alone(world: World, is_inactive_for: int) -> None:
    """Its owner was nagged while disable_key was off, made it inactive, and needs it again once that is on."""
    (key,) = hire(world, "dev_kramer")
    world.owners["dev_kramer"] = KRAMER
    run(world, "acme-dev", send_slack="True")
    key.status = "Inactive"
    for _ in range(is_inactive_for):
        world.pass_time(MORE_THAN_A_DAY)
        run(world, "acme-dev", **SLACK_ONLY)
    key.status = "Active"
    for _ in range(6):
        run(world, "acme-dev", **SLACK_ONLY)
        assert key.status == "Active"
        world.pass_time(MORE_THAN_A_DAY)


# 9. Issues


# Whoever is asked now

SLACK = {"send_slack": "True", "disable_key": "True"}


def test_who_has_left_slack_is_nobody_and_the_fallback_hears_why(world: World) -> None:
    """Slack answers ok to messages to them: notice_left_slack."""
    (key,) = hire(world, "ci_deploy")
    world.owners["ci_deploy"] = "U0LEFTUS"
    world.slack.deleted.add("U0LEFTUS")
    settings = {**SLACK, "disable_notice_days": "7", "slack_fallback_channel": "C0SECURITY"}
    for _ in range(7):
        ran = run(world, "acme-dev", **settings)
        assert "U0LEFTUS, has left Slack, so slack_fallback_channel is told instead" in ran.stderr
        assert "the owner named for it, U0LEFTUS, has left Slack" in said(world)
        assert key.status == "Active"
        world.pass_time(MORE_THAN_A_DAY)
    run(world, "acme-dev", **settings)
    assert key.status == "Inactive"
    assert {message.channel for message in world.slack.messages} == {"C0SECURITY"}


@pytest.mark.parametrize("code", ["user_not_found", "cannot_dm_bot", "channel_not_found", "is_archived"])
def test_whoever_slack_refuses_for_good_is_nobody_from_the_next_run_on(world: World, code: str) -> None:
    (key,) = hire(world, "team")
    world.owners["team"] = "C0OLD"
    world.slack.refuse("C0OLD", code)
    settings = {**SLACK, "disable_notice_days": "2", "slack_fallback_channel": "C0SECURITY"}
    assert "E! " in run(world, "acme-dev", **settings).stderr
    for _ in range(6):
        world.pass_time(timedelta(hours=12))
        run(world, "acme-dev", **settings)
    assert key.status == "Inactive"
    assert {message.channel for message in world.slack.messages} == {"C0SECURITY"}


def test_a_channel_that_takes_messages_again_is_told_again(world: World) -> None:
    hire(world, "team")
    world.owners["team"] = "C0OLD"
    world.slack.refuse("C0OLD", "is_archived")
    settings = {"send_slack": "True", "slack_fallback_channel": "C0SECURITY"}
    for _ in range(2):
        run(world, "acme-dev", **settings)
    world.slack.heal()
    for _ in range(3):
        world.pass_time(MORE_THAN_A_DAY)
        quiet(run(world, "acme-dev", **settings))
    told = [message.channel for message in world.slack.messages]
    assert told == ["C0SECURITY", "C0OLD", "C0OLD", "C0OLD"]


def test_without_the_scope_a_message_counts_and_one_line_says_so(world: World) -> None:
    (key,) = hire(world, "ana")
    world.owners["ana"] = "U0ANA"
    world.slack.scopes.discard("users:read")
    ran = run(world, "acme-dev", **SLACK)
    assert (key.status, ran.stderr.count("W! "), "users:read" in ran.stderr) == ("Inactive", 1, True)


def test_a_new_fallback_channel_hears_of_it_before_anything_goes(world: World) -> None:
    """owner_fallback_change"""
    for number in range(30):
        hire(world, f"nobody{number:02}", 200 + number)
    settings = {**SLACK, "disable_notice_days": "3"}
    for _ in range(3):
        run(world, "acme-dev", **settings, slack_fallback_channel="C0TRIAL")
        world.pass_time(MORE_THAN_A_DAY)
    for _ in range(4):
        run(world, "acme-dev", **settings, slack_fallback_channel="C0SECURITY")
        gone = {f"nobody{number:02}" for number in range(30)} - set(active(world))
        heard = "\n".join(str(message.blocks) for message in world.slack.messages_to("C0SECURITY"))
        assert all(name in heard for name in gone)
        world.pass_time(MORE_THAN_A_DAY)
    assert gone


def test_every_team_of_a_channel_is_mentioned_before_anything_of_it_goes(world: World) -> None:
    """owner_groups: seven teams, and then more than one message holds."""
    groups = [f"S0{number:02}" for number in range(30)]
    for number, group in enumerate(groups):
        hire(world, f"team-{number:02}", 200)
        world.owners[f"team-{number:02}"] = f"C0SHARED {group}"
    for _ in range(6):
        run(world, "acme-dev", **SLACK, disable_notice_days="2")
        mentioned = set(re.findall(r"subteam\^(\w+)", str([one.blocks for one in world.slack.messages])))
        gone = {name for name in world.owners if name not in active(world)}
        assert {world.owners[name].split()[1] for name in gone} <= mentioned
        world.pass_time(MORE_THAN_A_DAY)
    assert mentioned == set(groups)
    assert active(world) == []


def test_tags_of_a_user_who_is_there_are_unread_if_iam_does_not_know_them(world: World) -> None:
    """Replica lag, or renamed a moment ago: exempt_gone_tags."""
    until = (datetime.now(UTC) + timedelta(days=30)).date()
    (key,) = hire(world, "deploy")
    user = fake_iam(world).users["deploy"]
    user.tags |= {"keycheck:exempt-until": str(until), "keycheck:exempt-reason": "SEC-99"}
    world.owners["deploy"] = "U0DEPLOY"
    fake_iam(world).inject("NoSuchEntity", action="ListUserTags", user="deploy")
    ran = run(world, "acme-dev", **SLACK, exempt_by_tag="True")
    assert key.status == "Active"
    assert "the tags of 1 users were not read, so their access keys are not disabled" in ran.stderr


def test_a_bad_entry_of_the_mapping_file_costs_its_own_user(world: World) -> None:
    keys = {name: hire(world, name)[0] for name in ("ana", "ben")}
    world.mapping_file.write_text('mapping = {\n "ana": "U0ANA",\n "ben": "ben@example.com",\n}\n', encoding="utf-8")
    ran = run(world, "acme-dev", **SLACK)
    assert {name: key.status for name, key in keys.items()} == {"ana": "Inactive", "ben": "Active"}
    assert [message.channel for message in world.slack.messages] == ["U0ANA"]
    assert (
        f"slack_id_mapping_file {world.mapping_file}: line 3: a value of 15 characters is not a Slack id" in ran.stderr
    )


def test_a_user_who_is_renamed_during_a_scan_keeps_the_issue(world: World) -> None:
    """ListUsers has the old name, ListAccessKeys does not know it any more: issue_renamed_user."""
    (key,) = hire(world, "ana", 170)
    hire(world, "somebody", 1)
    quiet(run(world, "acme-dev", create_jira="True"))
    iam = fake_iam(world)
    iam.delete_user_after_listing("ana")
    world.pass_time(BEYOND_AN_INTENT)
    quiet(run(world, "acme-dev", create_jira="True"))
    user = iam.users.pop("ana")
    iam.heal_gone()
    user.user_name = "ana.new"
    iam.users["ana.new"] = user
    world.pass_time(BEYOND_AN_INTENT)
    quiet(run(world, "acme-dev", create_jira="True"))
    (issue,) = world.jira.issues.values()
    assert (issue.category, issue.comments, key.status) == ("new", [], "Active")


def test_a_moved_issue_gives_a_notice_is_commented_on_and_closed(world: World) -> None:
    """By triage, before anything in it named a day: issue_moved."""
    (key,) = hire(world, "ana", 170)
    quiet(run(world, "acme-dev", create_jira="True"))
    assert world.jira.move("SEC-1", "OPS") == "OPS-1"
    notice = {"create_jira": "True", "disable_key": "True", "disable_notice_days": "7"}
    for _ in range(20):
        world.pass_time(MORE_THAN_A_DAY)
        quiet(run(world, "acme-dev", **notice))
    assert key.status == "Inactive"
    (issue,) = world.jira.issues.values()
    assert (issue.key, issue.category) == ("OPS-1", "done")
    said = "\n".join(comment.body for comment in issue.comments)
    for words in ("is going to be disabled", "has expired", "keycheck disabled it", "nobody has needed it since"):
        assert said.count(words) == 1, words


def test_issues_of_others_on_another_jira_are_left_alone(world: World) -> None:
    """First a test site, then production, whose SEC-1 is an incident: issue_of_others."""
    (key,) = hire(world, "ana", 170)
    hire(world, "ben", 170)
    quiet(run(world, "acme-dev", create_jira="True"))
    with FakeJira("cloud", {"email": JIRA_EMAIL, "token": JIRA_TOKEN}) as production:
        settings = {"create_jira": "True", "jira_server_address": production.url}
        fields = {"project": {"key": "SEC"}, "issuetype": {"name": "Task"}, "summary": "Incident: do not close"}
        for _ in range(3):
            requests.post(
                f"{production.url}/rest/api/2/issue", json={"fields": fields}, auth=(JIRA_EMAIL, JIRA_TOKEN), timeout=9
            )
        for _ in range(2):
            world.pass_time(BEYOND_AN_INTENT)
            quiet(run(world, "acme-dev", **settings))
        key.status = "Inactive"
        fake_iam(world).users["ben"].keys.clear()
        for _ in range(2):
            world.pass_time(BEYOND_AN_INTENT)
            quiet(run(world, "acme-dev", **settings))
        theirs = [issue for issue in production.issues.values() if issue.summary.startswith("Incident")]
        ours = [issue for issue in production.issues.values() if issue not in theirs]
        assert [(issue.category, issue.comments) for issue in theirs] == [("new", [])] * 3
        assert [(issue.category, len(issue.comments)) for issue in ours] == [("done", 1)] * 2


def test_an_issue_that_a_person_re_opens_ends_again(world: World) -> None:
    (key,) = hire(world, "dev_kramer", 170)
    hire(world, "somebody", 1)
    quiet(run(world, "acme-dev", create_jira="True"))
    key.status = "Inactive"
    quiet(run(world, "acme-dev", create_jira="True"))
    world.jira.transition("SEC-1", "To Do")
    for _ in range(3):
        world.pass_time(BEYOND_AN_INTENT)
        quiet(run(world, "acme-dev", create_jira="True"))
    (issue,) = world.jira.issues.values()
    assert (issue.category, len(issue.comments)) == ("done", 2)


def test_the_last_user_of_an_account_takes_its_issues_along(world: World) -> None:
    """No user is left whose ARN says which account it is: STS does."""
    hire(world, "dev_kramer", 170)
    quiet(run(world, "acme-dev", create_jira="True"))
    fake_iam(world).users.clear()
    world.pass_time(BEYOND_AN_INTENT)
    quiet(run(world, "acme-dev", create_jira="True"))
    (issue,) = world.jira.issues.values()
    assert (issue.category, len(issue.comments)) == ("done", 1)


@pytest.mark.parametrize("what", ["deleted", "deactivated", "its user is gone"])
def test_an_issue_ends_with_its_access_key(world: World, what: str) -> None:
    (key,) = hire(world, "dev_kramer", 170)
    hire(world, "somebody", 1)
    quiet(run(world, "acme-dev", create_jira="True"))
    user = fake_iam(world).users["dev_kramer"]
    match what:
        case "deleted":
            user.keys.clear()
        case "deactivated":
            key.status = "Inactive"
        case _:
            del fake_iam(world).users["dev_kramer"]
    for _ in range(3):
        world.pass_time(BEYOND_AN_INTENT)
        quiet(run(world, "acme-dev", create_jira="True"))
    (issue,) = world.jira.issues.values()
    assert (issue.category, len(issue.comments)) == ("done", 1)


def test_an_issue_of_what_keycheck_disabled_closes_after_the_grace(world: World) -> None:
    hire(world, "dev_kramer")
    world.owners["dev_kramer"] = KRAMER
    quiet(run(world, "acme-dev", **ALL_ON))
    for days, category in ((6, "todo"), (2, "done")):
        world.pass_time(timedelta(days=days))
        quiet(run(world, "acme-dev", **ALL_ON))
        issue = world.jira.issues["SEC-1"]
        assert (issue.category == "done") == (category == "done"), days
    assert len(issue.comments) == 2


def test_a_workflow_that_lets_nobody_close_gets_the_comment_alone_once(world: World) -> None:
    (key,) = hire(world, "dev_kramer", 170)
    quiet(run(world, "acme-dev", create_jira="True"))
    world.jira.allowed_transitions = {"In Progress"}
    key.status = "Inactive"
    for _ in range(3):
        world.pass_time(BEYOND_AN_INTENT)
        assert run(world, "acme-dev", create_jira="True").code == 0
    (issue,) = world.jira.issues.values()
    assert (issue.category != "done", len(issue.comments)) == (True, 1)


def test_with_resolve_jira_off_an_issue_is_left_open(world: World) -> None:
    (key,) = hire(world, "dev_kramer", 170)
    quiet(run(world, "acme-dev", create_jira="True"))
    key.status = "Inactive"
    run(world, "acme-dev", create_jira="True", resolve_jira="False")
    assert world.jira.issues["SEC-1"].category != "done"


# 10. The root user, and dry runs


def test_the_root_users_access_keys_are_counted_and_warned_of(world: World) -> None:
    hire(world, "dev_kramer", 1)
    fake_iam(world).root_access_keys = 1
    ran = run(world, "acme-dev")
    assert run_fields(ran)["root_access_keys"] == 1
    assert ran.first_line.startswith("W! acme-dev: ")
    assert "root" in ran.first_line


def test_a_count_that_nobody_may_read_is_left_out_and_not_zero(world: World) -> None:
    hire(world, "dev_kramer", 1)
    fake_iam(world).inject(iam_error("AccessDenied"), about("GetAccountSummary"))
    ran = run(world, "acme-dev")
    assert "root_access_keys" not in run_fields(ran)
    assert "iam:GetAccountSummary was refused (AccessDenied)" in ran.first_line


def test_a_dry_run_says_what_holds_each_access_key_back(world: World) -> None:
    (used,) = hire(world, "in-use", 210)
    fake_iam(world).use_key(used.access_key_id, datetime.now(UTC) - timedelta(hours=1), "s3", "eu-west-1")
    hire(world, "deploy-eu", 205)
    hire(world, "untold", 200)
    world.owners |= {"in-use": "U0USE", "deploy-eu": "U0EU"}
    settings = {**SLACK_ONLY, "disable_in_use_hours": "24", "exemptions_file": str(exemptions(world, in_days(9)))}
    ran = run(world, "acme-dev", "--dry-run", **settings)
    assert ran.code == 0
    for why in ("used", "exempt", "nobody could be told"):
        assert why in ran.stderr, why
    assert (told(world), len(active(world))) == ([], 3)
