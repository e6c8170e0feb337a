"""The message to an addressee, to the letter, within what Slack takes; and what it must never hold."""

from __future__ import annotations

import argparse
import html
import re
import shlex
import subprocess
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keycheck.actions import (
    DisableKey,
    MessageKey,
    NextStep,
    SendMessage,
    Skip,
    SkipReason,
    Step,
)
from keycheck.model import KeyRecord, LastUse
from keycheck.words.issue import issue_draft
from keycheck.words.lines import describe, describe_found, describe_skip, skip_problems
from keycheck.words.message import SlackDraft, slack_draft
from keycheck.words.parts import name_key
from tests.builders import NOW, PROFILE, make_key, make_owner, make_record
from tests.drafts import (
    AWKWARD_NAME,
    EXPIRED,
    EXPIRING,
    FALLBACK,
    FULL_ID,
    IDS,
    JIRA,
    NAMES,
    PERSON,
    PROFILES,
    REPEATABLE,
    TEAM,
    USED,
    draft_of,
    filing,
    listed,
    outlook,
    some_keys,
    texts,
)

DAY_LONG = timedelta(days=1)
USED_AT = USED.at or NOW

# The message


NO_KEY_NEEDED = (
    "Do you need an access key at all? A person at a laptop has "
    "<https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-sign-in.html|aws login> (AWS CLI 2.32 or later) "
    "or IAM Identity Center, a workload a role: the best rotation is none.\n"
    "First see where you are; this must say 123456789012:"
)
CHECK = "```aws sts get-caller-identity --query Account --output text```"
AFTERWARDS = (
    'If something breaks, the same command with "Active" in place of "Inactive" undoes it, whoever did it. If nothing '
    "has broken for some days, delete the old access key: aws iam delete-access-key, with the same two options."
)


def test_a_message_to_an_owner_reads_like_this() -> None:
    message = SendMessage(PERSON, (listed(EXPIRING, NextStep.DISABLED_FROM),))
    assert slack_draft(message, PROFILE, {FULL_ID: "SEC-7"}, f"{JIRA}/", 24, "#cloud-security") == SlackDraft(
        "1 AWS access key needs rotating: disabled on 2026-12-03, in 10 days (account acme-dev: dev_kramer ...VHXVM)",
        (
            section(
                ":key: *1 AWS access key needs rotating: disabled on 2026-12-03, in 10 days* · account `acme-dev` "
                "(123456789012)"
            ),
            {"type": "divider"},
            section(
                "*`dev_kramer`* · access key `AKIAIOSFODNN7EXVHXVM`\n"
                "• What happens then: from 2026-12-03 on it is disabled (AWS status Inactive, not deleted); what still "
                "uses it stops working.\n"
                "• 170 days old, created 2026-06-06\n"
                "• Expires 2026-12-03\n"
                "• Last used: 2026-11-20 by s3 in eu-west-1\n"
                "• Issue: <https://example.atlassian.net/browse/SEC-7|SEC-7>"
            ),
            section(NO_KEY_NEEDED),
            section(CHECK),
            section(
                "1. Make the new access key; it is shown only this once:\n"
                "```aws iam create-access-key --user-name dev_kramer```\n"
                "2. Put the new one wherever the old one is used; then see when and where the old one was last used:\n"
                "```aws iam get-access-key-last-used --access-key-id AKIAIOSFODNN7EXVHXVM```\n"
                "3. Deactivate the old one:\n"
                "```aws iam update-access-key --user-name dev_kramer --access-key-id AKIAIOSFODNN7EXVHXVM --status "
                f"Inactive```\n{AFTERWARDS}"
            ),
            footer("old access key is inactive or gone", "Not yours, or more time needed? Ask #cloud-security\n"),
        ),
    )


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def footer(until: str, asks: str = "") -> dict[str, Any]:
    text = (
        f"{asks}<https://docs.aws.amazon.com/IAM/latest/UserGuide/id-credentials-access-keys-update.html|"
        "How AWS says to rotate access keys> · dates are UTC · keycheck repeats this at most every 24 hours, until the "
        f"{until}"
    )
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text}]}


@pytest.mark.parametrize("addressee", [TEAM, FALLBACK], ids=["a team's channel", "the fallback channel"])
def test_a_message_to_a_channel_names_the_last_five_and_how_to_find_the_rest(addressee: Any) -> None:
    draft = draft_of(SendMessage(addressee, (listed(),)))
    assert draft.blocks[2]["text"]["text"].startswith("*`dev_kramer`* · access key ending in `VHXVM`\n")
    commands = draft.blocks[5]["text"]["text"]
    assert commands.startswith(
        "1. Find the full id of the access key that ends in VHXVM:\n"
        '```KEY=$(aws iam list-access-keys --user-name dev_kramer --query "AccessKeyMetadata[?ends_with(AccessKeyId, '
        '\'VHXVM\')].AccessKeyId" --output text); echo "$KEY"```\n'
    )
    assert '--access-key-id "$KEY"' in commands
    assert not any(FULL_ID in text for text in texts(draft))


def test_a_digest_to_the_fallback_channel_reads_like_this() -> None:
    other = make_key("dev_jones", age_days=170, access_key_id="AKIAIOSFODNN7EXJONES")
    message = SendMessage(
        FALLBACK, (listed(EXPIRED, NextStep.DISABLED_NOW), listed(other, NextStep.DISABLED_FROM)), unlisted=3
    )
    draft = draft_of(message, issues={"AKIAIOSFODNN7EXJONES": "SEC-9"})
    title = "5 AWS access keys need rotating (no known owner): the first is being disabled now"
    assert draft.text == f"{title} (account acme-dev: dev_kramer ...VHXVM, dev_jones ...JONES, ...)"
    head, divider, listing, no_key, check, steps, foot = draft.blocks
    assert head == section(f":key: *{title}* · account `acme-dev` (123456789012)")
    assert divider == {"type": "divider"}
    assert listing == section(
        "• `dev_kramer` ...VHXVM: 197 days old, expired 2026-11-06, being disabled now\n"
        "• `dev_jones` ...JONES: 170 days old, expires 2026-12-03, disabled from 2026-12-03 on"
        " · <https://example.atlassian.net/browse/SEC-9|SEC-9>\n"
        "... and 3 more, whose turn comes with the next messages."
    )
    assert (no_key, check) == (section(NO_KEY_NEEDED), section(CHECK))
    assert "aws iam create-access-key --user-name USER_NAME```" in steps["text"]["text"]
    assert "'LAST5'" in steps["text"]["text"]
    assert foot == footer("old access keys are inactive or gone")


@pytest.mark.parametrize("addressee", [PERSON, TEAM, FALLBACK], ids=["person", "team", "fallback"])
def test_every_key_of_a_message_is_named_with_its_age_and_expiry(addressee: Any) -> None:
    for count in [1, 2, 3, 4, 25]:
        keys = some_keys(count)
        said = "\n".join(texts(draft_of(SendMessage(addressee, tuple(listed(key) for key in keys))))[1:])
        for key in keys:
            assert f"`{key.access_key.user_name}`" in said
            assert key.access_key.last_five in said
            assert f"{key.age_days} days old" in said
            assert f"xpired {key.expires_at:%Y-%m-%d}" in said


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_first_keys_of_an_owner_come_with_their_own_commands(count: int) -> None:
    keys = some_keys(count)
    said = "\n".join(texts(draft_of(SendMessage(PERSON, tuple(listed(key) for key in keys)))))
    for key in keys:
        name, access_key_id = key.access_key.user_name, key.access_key.access_key_id
        assert f"aws iam create-access-key --user-name {name}```" in said
        assert f"aws iam update-access-key --user-name {name} --access-key-id {access_key_id} --status Inactive" in said


@pytest.mark.parametrize(
    ("next_step", "then"),
    [
        (NextStep.STAYS_ACTIVE, ", stays active"),
        (NextStep.STAYS_UNOWNED, ", stays active: nobody is known to own it"),
        (NextStep.NEVER_DISABLED, ", never disabled"),
        (NextStep.DISABLED_FROM, ", disabled from 2026-12-03 on"),
        (NextStep.IN_USE, ", in use (2026-11-20 by s3 in eu-west-1)"),
        (NextStep.LEFT_ALONE, ", active again, left alone until 2026-12-03"),
        (NextStep.DISABLED_NOW, ", being disabled now"),
        (NextStep.DUE, ", disabled any day now"),
    ],
    ids=lambda value: value.name if isinstance(value, NextStep) else "",
)
def test_a_short_line_says_what_happens_then(next_step: NextStep, then: str) -> None:
    message = SendMessage(FALLBACK, (listed(next_step=next_step), listed(EXPIRING, NextStep.STAYS_ACTIVE)))
    lines = draft_of(message).blocks[2]["text"]["text"].split("\n")
    assert lines[0] == f"• `dev_kramer` ...VHXVM: 197 days old, expired 2026-11-06{then}"


def test_without_jiras_address_an_issue_is_named_and_not_linked() -> None:
    draft = slack_draft(SendMessage(PERSON, (listed(),)), PROFILE, {FULL_ID: "SEC-7"}, None, 24)
    assert "• Issue: SEC-7" in draft.blocks[2]["text"]["text"].split("\n")


@pytest.mark.parametrize(
    ("last_use", "said"),
    [
        (USED, "2026-11-20 by s3 in eu-west-1"),
        (LastUse(None), "never, as far as AWS knows"),
        (None, "could not be read"),
    ],
    ids=["used", "never", "unread"],
)
def test_the_last_use_is_said(last_use: LastUse | None, said: str) -> None:
    one = MessageKey(EXPIRED, make_record(EXPIRED), outlook(last_use=last_use))
    assert f"• Last used: {said}" in draft_of(SendMessage(PERSON, (one,))).blocks[2]["text"]["text"].split("\n")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"newer": "ABCDE", "newer_since": USED_AT + DAY_LONG},
            (
                "Your new access key, made on 2026-11-21, ends in ABCDE; the old one has not been used since, as far "
                "as AWS knows, so deactivate it."
            ),
        ),
        (
            {"newer": "ABCDE", "newer_since": USED_AT - DAY_LONG},
            (
                "Your new access key, made on 2026-11-19, ends in ABCDE; the old one has been used since: 2026-11-20 "
                "by s3 in eu-west-1."
            ),
        ),
        (
            {"newer": "ABCDE", "newer_since": USED_AT, "last_use": None},
            "Your new access key, made on 2026-11-20, ends in ABCDE; deactivate the old one once nothing uses it.",
        ),
        ({"owner_trouble": "U0A is gone"}, "Nobody else could be told: U0A is gone."),
        ({"ended_exemption": date(2026, 11, 20)}, "It was exempt until 2026-11-20; that has ended."),
        ({"tag_trouble": "the tag says <b>"}, "Its exemption does not count: the tag says &lt;b&gt;."),
    ],
    ids=["rotated", "rotated, and used", "rotated, unread", "nobody", "no longer exempt", "malformed tags"],
)
def test_what_else_an_owner_should_know(changes: dict[str, Any], said: str) -> None:
    one = MessageKey(EXPIRED, make_record(EXPIRED), outlook(**changes))
    assert f"• {said}" in draft_of(SendMessage(PERSON, (one,))).blocks[2]["text"]["text"].split("\n")


@pytest.mark.parametrize(
    ("changes", "makes", "makes_room"),
    [({}, True, False), ({"key_count": 2}, False, True), ({"key_count": 2, "newer": "ABCDE"}, False, False)],
    ids=["one", "two that are old", "the new one is made"],
)
def test_nobody_is_told_to_make_a_third_access_key(changes: dict[str, Any], makes: bool, makes_room: bool) -> None:
    one = MessageKey(EXPIRED, make_record(EXPIRED), outlook(**changes))
    said = "\n".join(texts(draft_of(SendMessage(PERSON, (one,)))))
    assert ("create-access-key" in said) is makes
    assert ("AWS allows no third" in said) is makes_room
    assert said.count("3. Deactivate the old one") == (makes or makes_room)


@pytest.mark.parametrize(
    ("steps", "when"),
    [
        ([NextStep.DISABLED_FROM], ": disabled on 2026-12-03, in 10 days"),
        ([NextStep.DISABLED_NOW], ": being disabled now"),
        ([NextStep.DUE], ": disabled any day now"),
        ([NextStep.STAYS_ACTIVE], ""),
        ([NextStep.LEFT_ALONE], ""),
        ([NextStep.STAYS_ACTIVE, NextStep.DISABLED_FROM], ": the first is disabled on 2026-12-03, in 10 days"),
    ],
    ids=str,
)
def test_title_and_notification_name_the_day(steps: list[NextStep], when: str) -> None:
    draft = draft_of(SendMessage(PERSON, tuple(listed(next_step=step) for step in steps)))
    assert f"rotating{when} (account acme-dev" in draft.text
    assert f"rotating{when}* · account `acme-dev`" in draft.blocks[0]["text"]["text"]


BASH = "/bin/bash"
BLOCK = re.compile(r"```(.*?)```", re.DOTALL)


@pytest.mark.process
@pytest.mark.parametrize("addressee", [PERSON, TEAM, FALLBACK], ids=["person", "team", "fallback"])
@pytest.mark.parametrize("changes", [{}, {"key_count": 2}, {"key_count": 2, "newer": "ABCDE"}], ids=str)
def test_a_block_that_is_pasted_whole_does_one_thing_and_deletes_nothing(
    addressee: Any, changes: dict[str, Any], tmp_path: Path
) -> None:
    """Into a real bash, with an aws that writes down what it is asked: message_paste."""
    one = MessageKey(EXPIRED, make_record(EXPIRED), outlook(**changes))
    draft = draft_of(SendMessage(addressee, (one, replace(one, key=EXPIRING))))
    issue = issue_draft(replace(filing(), outlook=one.outlook), PROFILE).description
    blocks = [html.unescape(found) for text in texts(draft) for found in BLOCK.findall(text)]
    blocks += re.findall(r"\{code:bash\}\n(.*?)\n\{code\}", issue, re.DOTALL)
    assert len(blocks) >= 7
    done = [asked_of_aws(block, tmp_path) for block in blocks]
    assert {len(calls) for calls in done} == {1}, "one command a block"
    verbs = {call.split()[1] for calls in done for call in calls}
    assert "delete-access-key" not in verbs
    is_listed_in_short = addressee is FALLBACK  # its commands are for any of several
    assert ("create-access-key" in verbs) is (is_listed_in_short or not changes)


def asked_of_aws(block: str, folder: Path) -> list[str]:
    aws, log = folder / "aws", folder / "log"
    aws.write_text('#!/bin/sh\necho "$*" >> "$LOG"\necho AKIAIOSFODNN7EXVHXVM\n', encoding="utf-8")
    aws.chmod(0o755)
    log.write_text("", encoding="utf-8")
    environ = {"PATH": f"{folder}:/usr/bin:/bin", "LOG": str(log), "KEY": "AKIAIOSFODNN7EXVHXVM"}
    subprocess.run([BASH, "-e"], input=f"{block}\n", text=True, env=environ, check=True, capture_output=True)
    return log.read_text(encoding="utf-8").splitlines()


@pytest.mark.process
def test_the_id_is_typed_once_and_found_for_all_that_follows(tmp_path: Path) -> None:
    """Pasted one after the other, into one shell."""
    steps = draft_of(SendMessage(TEAM, (listed(),))).blocks[5]["text"]["text"]
    calls = asked_of_aws("\n".join(html.unescape(block) for block in BLOCK.findall(steps)), tmp_path)
    assert calls[0].startswith("iam list-access-keys --user-name dev_kramer --query ")
    assert calls[1:] == [
        "iam create-access-key --user-name dev_kramer",
        "iam get-access-key-last-used --access-key-id AKIAIOSFODNN7EXVHXVM",
        "iam update-access-key --user-name dev_kramer --access-key-id AKIAIOSFODNN7EXVHXVM --status Inactive",
    ]


def test_a_team_s_user_group_is_mentioned_once_at_the_top() -> None:
    draft = draft_of(SendMessage(TEAM, (listed(), listed(EXPIRING)), groups=("S0OPS",)))
    assert draft.blocks[0]["text"]["text"].startswith("<!subteam^S0OPS> :key:")
    assert "\n".join(texts(draft)).count("S0OPS") == 1


# Escaping


@pytest.mark.parametrize(
    ("profile", "in_title", "in_text"),
    [
        ("R&D <prod>", "`R&amp;D &lt;prod&gt;`", "R&amp;D &lt;prod&gt;"),
        ("<!channel>", "`&lt;!channel&gt;`", "&lt;!channel&gt;"),
        ("a`b`c", "`a'b'c`", "a`b`c"),
        ("&amp;", "`&amp;amp;`", "&amp;amp;"),
        ("a\nb\tc\u2028d", "`a b c d`", "a b c d"),
    ],
    ids=["R&D", "a mention", "backticks", "an escape", "line breaks"],
)
def test_a_profile_styles_and_mentions_nothing_in_slack(profile: str, in_title: str, in_text: str) -> None:
    draft = draft_of(SendMessage(PERSON, (listed(),)), profile)
    assert draft.blocks[0]["text"]["text"].endswith(f"· account {in_title} (123456789012)")
    assert draft.text == f"1 AWS access key needs rotating (account {in_text}: dev_kramer ...VHXVM)"


@pytest.mark.parametrize("profile", ["&" * 300, "x<" * 200, "xy>" * 100], ids=lambda profile: profile[:3])
def test_a_long_profile_is_not_cut_within_an_escape(profile: str) -> None:
    """`&am` is no escape; Slack shows it as it stands, or refuses it."""
    for text in texts(draft_of(SendMessage(PERSON, (listed(),)), profile)):
        assert re.search(r"&(?!(?:amp|lt|gt);)", text) is None, text


@pytest.mark.parametrize("addressee", [PERSON, FALLBACK], ids=["person", "fallback"])
def test_a_user_name_stands_as_it_is(addressee: Any) -> None:
    key = make_key(AWKWARD_NAME)
    draft = draft_of(SendMessage(addressee, (listed(key), listed(EXPIRING))))
    assert any(f"`{AWKWARD_NAME}`" in text for text in texts(draft)[1:])
    assert AWKWARD_NAME in draft.text
    assert AWKWARD_NAME in issue_draft(filing(key), PROFILE).summary
    assert f"--user-name {AWKWARD_NAME}\n" in issue_draft(filing(key), PROFILE).description


def test_a_shell_hands_the_user_name_to_the_aws_cli_whole() -> None:
    """IAM's own rule allows a leading dash, and `--user-name -dash` is an error: the AWS CLI reads it with argparse."""
    for user_name in [
        "dev_kramer",
        AWKWARD_NAME,
        "jane.doe@example.com",
        "-dash",
        "--status",
        "two words",
        "it's",
        "$(id)`id`;id&",
        "a\\b",
        '"quoted"',
        "José",
        "",
    ]:
        aws = argparse.ArgumentParser()
        aws.add_argument("words", nargs=3)
        aws.add_argument("--user-name")
        description = issue_draft(filing(make_key(user_name)), PROFILE).description
        (line,) = [line for line in description.split("\n") if line.startswith("aws iam create-access-key ")]
        options, _ = aws.parse_known_args(shlex.split(line))
        assert options.user_name == user_name


@pytest.mark.parametrize(
    ("user_name", "word"),
    [
        ("dev_kramer", "dev_kramer"),
        (AWKWARD_NAME, AWKWARD_NAME),
        ("two words", "'two words'"),
        ("it's", """'it'"'"'s'"""),
    ],
)
def test_only_names_that_need_quotes_get_them(user_name: str, word: str) -> None:
    description = issue_draft(filing(make_key(user_name)), PROFILE).description
    assert f"aws iam list-access-keys --user-name {word} --query" in description


# Slack's limits, and what must never be said

MESSAGE_KEYS = st.lists(
    st.tuples(NAMES, IDS, st.sampled_from([166, 197, 36_500]), st.sampled_from(NextStep), st.sampled_from([1, 2])),
    min_size=1,
    max_size=25,
    unique_by=lambda drawn: drawn[1],
).map(
    lambda drawn: tuple(
        MessageKey(
            make_key(name, age_days=age, access_key_id=access_key_id),
            KeyRecord(access_key_id),
            outlook(next_step, count),
        )
        for name, access_key_id, age, next_step, count in drawn
    )
)
MESSAGES = st.builds(
    SendMessage, st.sampled_from([PERSON, TEAM, FALLBACK]), MESSAGE_KEYS, st.sampled_from([0, 1, 4_975])
)


def assert_slack_takes(draft: SlackDraft) -> None:
    """Block Kit's limits, and what was measured of the undocumented one (words/message.py, CHARACTERS_A_BLOCK)."""
    assert 0 < len(draft.text) <= 4000
    assert 0 < len(draft.blocks) <= 50
    for block in draft.blocks:
        if block["type"] == "section":
            assert 0 < len(block["text"]["text"]) <= 3000
        for element in block.get("elements", ()):
            assert 0 < len(element["text"]) <= 2000
    assert sum(map(len, texts(draft)[1:])) + 125 * len(draft.blocks) <= 13_400


@given(MESSAGES, PROFILES, st.integers(1, 20), st.integers(12, 100), st.integers(1, 720))
@REPEATABLE
def test_slack_takes_every_message(message: SendMessage, profile: str, key: int, address: int, hours: int) -> None:
    issues = {one.key.access_key.access_key_id: "S" * key for one in message.keys}
    assert_slack_takes(slack_draft(message, profile, issues, "https://".ljust(address, "h"), hours))


@pytest.mark.parametrize("addressee", [PERSON, FALLBACK], ids=["person", "fallback"])
def test_slack_takes_a_message_however_long_its_links(addressee: Any) -> None:
    """One that is refused tells nobody, in every run again."""
    for count in [1, 3, 25]:
        for address, issue_key in [(40, 12), (70, 12), (100, 12), (150, 12), (200, 20), (250, 40)]:
            keys = [make_key("n" * 128, age_days=9000, access_key_id=f"AKIA{number:016}") for number in range(count)]
            message = SendMessage(addressee, tuple(listed(key, NextStep.DISABLED_NOW, 2) for key in keys), unlisted=3)
            issues = {key.access_key.access_key_id: "S" * issue_key for key in keys}
            assert_slack_takes(slack_draft(message, PROFILE, issues, "https://".ljust(address, "h"), 24))


@given(MESSAGES, st.text(max_size=40))
@REPEATABLE
def test_the_full_access_key_id_is_for_its_owner_alone(message: SendMessage, profile: str) -> None:
    keys = [one.key for one in message.keys]
    issues = {key.access_key.access_key_id: f"SEC-{number}" for number, key in enumerate(keys)}
    draft = draft_of(message, profile, issues)
    said: list[str] = [] if message.addressee.is_person else texts(draft)
    said.append(describe(message))
    for key in keys:
        issue = issue_draft(filing(key), profile)
        said += [issue.summary, issue.description, *issue.labels, name_key(key)]
        said += [
            describe(filing(key)),
            describe_found(filing(key), "SEC-1"),
            describe(DisableKey(key, make_record(key), make_owner(), has_notice=False)),
        ]
        said += [describe_skip(Skip(profile, Step.NAG, key, reason)) for reason in SkipReason]
        for reason in SkipReason:
            problems = skip_problems([Skip(profile, Step.NAG, key, reason)], profile, issues_are_filed=False)
            said += [problem.text for problem in problems]
    for key in keys:
        assert not any(key.access_key.access_key_id in text for text in said)
        assert any(key.access_key.last_five in text for text in said)


def test_an_owners_message_has_the_full_id_for_the_owner_but_not_in_the_notification() -> None:
    """Notifications are shown on locked screens."""
    draft = draft_of(SendMessage(PERSON, (listed(),)))
    assert FULL_ID not in draft.text
    assert any(FULL_ID in text for text in texts(draft))
