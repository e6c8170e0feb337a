"""The words that people read, to the letter; and what they must never hold (design.md 2, "Jira and Slack")."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from keycheck.actions import (
    CommentIssue,
    DisableKey,
    FileIssue,
    IssueEvent,
    MessageKey,
    NextStep,
    ObservationKind,
    Outlook,
    SendMessage,
    Skip,
    SkipReason,
    Step,
)
from keycheck.model import IssueRecord, KeyRecord, LabelledKey, LastUse, Level, Problem
from keycheck.words import lines, parts
from keycheck.words.issue import FAMILY_LABEL, IssueDraft, comment_text, issue_draft, issue_refused, marker_line
from keycheck.words.lines import describe, describe_found, describe_skip, skip_problems
from keycheck.words.message import SlackDraft, slack_draft
from keycheck.words.parts import name_key
from tests.builders import PROFILE, make_addressee, make_key

JIRA = "https://example.atlassian.net"
FULL_ID = "AKIAIOSFODNN7EXVHXVM"
EXPIRED = make_key(age_days=197)
EXPIRING = make_key(age_days=170)
DAY = datetime(2026, 12, 3, tzinfo=UTC)
USED = LastUse(datetime(2026, 11, 20, 14, 3, tzinfo=UTC), "s3", "eu-west-1")
PERSON = make_addressee()
TEAM = make_addressee("C0TEAM")
FALLBACK = make_addressee("C0FALLBACK", is_fallback=True)
AWKWARD_NAME = "a+=,.@_-b"
REPEATABLE = hypothesis_settings(max_examples=60, derandomize=True, deadline=None)
NAMES = st.text("abcXYZ019_+=,.@-", min_size=1, max_size=128) | st.just("n" * 128)
IDS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=16, max_size=16).map("AKIA{}".format)
PROFILES = st.text() | st.sampled_from(["p" * 4000, "&" * 4000, "`<>" * 2000, "\U0001f511" * 3000])


def outlook(next_step: NextStep = NextStep.STAYS_ACTIVE, key_count: int = 1, **changes: Any) -> Outlook:
    has_day = next_step in (NextStep.DISABLED_FROM, NextStep.DISABLED_NOW, NextStep.IN_USE, NextStep.LEFT_ALONE)
    return Outlook(next_step, **{"day": DAY if has_day else None, "last_use": USED, "key_count": key_count, **changes})


def filing(key: LabelledKey = EXPIRED, next_step: NextStep = NextStep.STAYS_ACTIVE, key_count: int = 1) -> FileIssue:
    return FileIssue(key, KeyRecord(key.access_key.access_key_id), outlook(next_step, key_count))


def listed(key: LabelledKey = EXPIRED, next_step: NextStep = NextStep.STAYS_ACTIVE, key_count: int = 1) -> MessageKey:
    return MessageKey(key, outlook(next_step, key_count))


def draft_of(message: SendMessage, profile: str = PROFILE, issues: Mapping[str, str] | None = None) -> SlackDraft:
    return slack_draft(message, profile, issues or {}, JIRA, 24)


def texts(draft: SlackDraft) -> list[str]:
    """Every text in a message: the fallback, then block by block."""
    found = [draft.text]
    for block in draft.blocks:
        found += [block["text"]["text"]] if "text" in block else []
        found += [element["text"] for element in block.get("elements", ())]
    return found


def some_keys(count: int) -> list[LabelledKey]:
    return [
        make_key(f"user{number}", age_days=200 + number, access_key_id=f"AKIAIOSFODNN7EX{number:05}")
        for number in range(count)
    ]


# The issue


def test_an_issue_reads_like_this() -> None:
    assert issue_draft(filing(EXPIRING, NextStep.DISABLED_FROM), PROFILE) == IssueDraft(
        summary="Rotate AWS access key ...VHXVM of dev_kramer (acme-dev)",
        description=r"""The access key ending in *VHXVM* of IAM user *dev\_kramer* in AWS account *acme\-dev* """
        r"""(123456789012) expires on 2026-12-03: it is 170 days old.

* Created: 2026-06-06
* Age when this was filed: 170 days
* Expires: 2026-12-03
* Last used: 2026\-11\-20 by s3 in eu\-west\-1
* What happens then: from 2026\-12\-03 on it is disabled (AWS status Inactive, not deleted); """
        r"""what still uses it stops working.

h3. What to do
{code:bash}
# 0. find the full id of the access key that ends in VHXVM
aws iam list-access-keys --user-name dev_kramer
# 1. create the new access key; it is shown only this once
aws iam create-access-key --user-name dev_kramer
# 2. put it wherever the old one is used; then see when and where the old one was last used
aws iam get-access-key-last-used --access-key-id OLD_ACCESS_KEY_ID
# 3. deactivate the old one
aws iam update-access-key --user-name dev_kramer --access-key-id OLD_ACCESS_KEY_ID --status Inactive
# to undo that, whoever did it
aws iam update-access-key --user-name dev_kramer --access-key-id OLD_ACCESS_KEY_ID --status Active
# 4. nothing broke for a few days? delete it
aws iam delete-access-key --user-name dev_kramer --access-key-id OLD_ACCESS_KEY_ID
{code}

AWS on rotating access keys: """
        """https://docs.aws.amazon.com/IAM/latest/UserGuide/id-credentials-access-keys-update.html

Filed by keycheck, which files no second issue for this access key while this one is open.""",
        labels=("AWS-User-Key-Rotation", "keycheck-84bf86cf053bbccd"),
    )


def test_an_issue_carries_the_family_label_and_the_hash_of_the_full_id() -> None:
    """`printf AKIAIOSFODNN7EXVHXVM | sha256sum`: two keys that end alike have labels of their own."""
    assert issue_draft(filing(), PROFILE).labels == (FAMILY_LABEL, "keycheck-84bf86cf053bbccd")
    twin = make_key(access_key_id="AKIAIOSFODNN7EYVHXVM")
    assert issue_draft(filing(twin), PROFILE).labels[1] != "keycheck-84bf86cf053bbccd"


NEXT_STEPS = [
    (NextStep.STAYS_ACTIVE, "it stays active, and at risk, until somebody rotates it or it is disabled."),
    (
        NextStep.NEVER_DISABLED,
        "it is not disabled, since keycheck itself depends on it; it stays at risk until somebody rotates it.",
    ),
    (
        NextStep.DISABLED_FROM,
        "from 2026-12-03 on it is disabled (AWS status Inactive, not deleted); what still uses it stops working.",
    ),
    (
        NextStep.IN_USE,
        "it was to be disabled, but it is still in use; it is disabled as soon as nothing uses it any more.",
    ),
    (
        NextStep.LEFT_ALONE,
        "a person re-enabled it, so it is left alone; from 2026-12-03 on it is disabled again.",
    ),
    (
        NextStep.DISABLED_NOW,
        "it is being disabled now (AWS status Inactive, not deleted), and what still uses it stops working.",
    ),
]


def test_every_next_step_has_a_sentence_here() -> None:
    assert {next_step for next_step, _ in NEXT_STEPS} == set(NextStep)


@pytest.mark.parametrize(
    ("next_step", "sentence"), NEXT_STEPS, ids=lambda value: value.name if isinstance(value, NextStep) else ""
)
def test_issue_and_message_say_what_happens(next_step: NextStep, sentence: str) -> None:
    escaped = sentence.replace("-", "\\-")
    assert f"* What happens then: {escaped}\n" in issue_draft(filing(next_step=next_step), PROFILE).description
    assert f"• What happens then: {sentence}" in draft_of(SendMessage(PERSON, (listed(next_step=next_step),))).blocks[
        2
    ]["text"]["text"].split("\n")


@pytest.mark.parametrize("next_step", NextStep, ids=lambda next_step: next_step.name)
def test_the_step_to_deactivate_says_where_keycheck_does_it(next_step: NextStep) -> None:
    """The command stays: keycheck may have been refused."""
    description = issue_draft(filing(next_step=next_step), PROFILE).description
    assert "--access-key-id OLD_ACCESS_KEY_ID --status Inactive\n" in description
    assert "--access-key-id OLD_ACCESS_KEY_ID --status Active\n" in description, "and how to undo it"
    assert ("keycheck deactivates the old one now" in description) is (next_step is NextStep.DISABLED_NOW)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (EXPIRED, "expired on 2026-11-06: it is 197 days old."),
        (EXPIRING, "expires on 2026-12-03: it is 170 days old."),
        (make_key(age_days=180), "expired on 2026-11-23: it is 180 days old."),
    ],
    ids=["expired", "expiring", "expired today"],
)
def test_an_issue_says_when_the_key_expires_or_did(key: LabelledKey, said: str) -> None:
    assert said in issue_draft(filing(key), PROFILE).description


def test_one_day_is_not_days() -> None:
    assert "1 day old" in name_key(make_key(age_days=1))
    assert "0 days old" in name_key(make_key(age_days=0))


@pytest.mark.parametrize(("key_count", "is_crowded"), [(1, False), (2, True), (3, True)])
def test_a_user_who_can_have_no_further_key_is_told_so(key_count: int, is_crowded: bool) -> None:
    crowded = f"has {key_count} access keys already, and AWS allows no third."
    assert (crowded in issue_draft(filing(key_count=key_count), PROFILE).description) is is_crowded
    message = draft_of(SendMessage(PERSON, (listed(key_count=key_count),)))
    assert any(crowded in text for text in texts(message)) is is_crowded


@pytest.mark.parametrize(
    ("profile", "written"),
    [
        ("acme_dev", r"*acme\_dev*"),
        ("*b* _i_", r"*\*b\* \_i\_*"),
        ("{code}", r"*\{code\}*"),
        ("[a|https://b.example]", r"*\[a\|https://b.example\]*"),
        ("a\nh1. b", "*a h1. b*"),
    ],
)
def test_a_profile_styles_nothing_in_an_issue(profile: str, written: str) -> None:
    assert f"in AWS account {written} (123456789012)" in issue_draft(filing(), profile).description


def test_a_user_name_styles_nothing_in_an_issue() -> None:
    """Outside the commands; a name such as -a- would be struck through, _a_ slanted."""
    prose = issue_draft(filing(make_key("_a_-b-+c+"), key_count=2), PROFILE).description.split("{code:bash}")[0]
    assert prose.count(r"\_a\_\-b\-\+c\+") == 2, "in the first sentence, and where the user's keys are counted"
    assert "_a_" not in prose


@given(PROFILES, NAMES)
@REPEATABLE
def test_an_issues_summary_is_one_line_that_jira_takes(profile: str, user_name: str) -> None:
    summary = issue_draft(filing(make_key(user_name)), profile).summary
    assert 0 < len(summary) <= 255
    assert summary.splitlines() == [summary]
    assert "VHXVM" in summary


# The message


def test_a_message_to_an_owner_reads_like_this() -> None:
    message = SendMessage(PERSON, (listed(EXPIRING, NextStep.DISABLED_FROM, key_count=2),))
    assert slack_draft(message, PROFILE, {FULL_ID: "SEC-7"}, f"{JIRA}/", 24) == SlackDraft(
        "1 AWS access key needs rotating in account acme-dev: dev_kramer ...VHXVM",
        (
            section(":key: *1 AWS access key needs rotating* in account `acme-dev` (123456789012)"),
            {"type": "divider"},
            section(
                "*`dev_kramer`* · access key `AKIAIOSFODNN7EXVHXVM`\n"
                "• 170 days old, created 2026-06-06\n"
                "• Expires 2026-12-03\n"
                "• Last used: 2026-11-20 by s3 in eu-west-1\n"
                "• What happens then: from 2026-12-03 on it is disabled (AWS status Inactive, not deleted); what still "
                "uses it stops working.\n"
                "• Issue: <https://example.atlassian.net/browse/SEC-7|SEC-7>"
            ),
            section(
                "```# dev_kramer has 2 access keys already, and AWS allows no third.\n"
                "# If one of the others is the replacement, begin at step 2; if not, first delete one that is not in "
                "use.\n"
                "# 1. create the new access key; it is shown only this once\n"
                "aws iam create-access-key --user-name dev_kramer\n"
                "# 2. put it wherever the old one is used; then see when and where the old one was last used\n"
                "aws iam get-access-key-last-used --access-key-id AKIAIOSFODNN7EXVHXVM\n"
                "# 3. deactivate the old one\n"
                "aws iam update-access-key --user-name dev_kramer --access-key-id AKIAIOSFODNN7EXVHXVM --status "
                "Inactive\n"
                "# to undo that, whoever did it\n"
                "aws iam update-access-key --user-name dev_kramer --access-key-id AKIAIOSFODNN7EXVHXVM --status "
                "Active\n"
                "# 4. nothing broke for a few days? delete it\n"
                "aws iam delete-access-key --user-name dev_kramer --access-key-id AKIAIOSFODNN7EXVHXVM```"
            ),
            footer("old access key is inactive or gone"),
        ),
    )


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def footer(until: str) -> dict[str, Any]:
    text = (
        "<https://docs.aws.amazon.com/IAM/latest/UserGuide/id-credentials-access-keys-update.html|How AWS says to "
        f"rotate access keys> · dates are UTC · keycheck repeats this at most every 24 hours, until the {until}"
    )
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text}]}


@pytest.mark.parametrize("addressee", [TEAM, FALLBACK], ids=["a team's channel", "the fallback channel"])
def test_a_message_to_a_channel_names_the_last_five_and_how_to_find_the_rest(addressee: Any) -> None:
    draft = draft_of(SendMessage(addressee, (listed(),)))
    assert draft.blocks[2]["text"]["text"].startswith("*`dev_kramer`* · access key ending in `VHXVM`\n")
    commands = draft.blocks[3]["text"]["text"]
    assert commands.startswith(
        "```# 0. find the full id of the access key that ends in VHXVM\n"
        "aws iam list-access-keys --user-name dev_kramer\n"
    )
    assert "--access-key-id OLD_ACCESS_KEY_ID" in commands
    assert not any(FULL_ID in text for text in texts(draft))


def test_a_digest_to_the_fallback_channel_reads_like_this() -> None:
    other = make_key("dev_jones", age_days=170, access_key_id="AKIAIOSFODNN7EXJONES")
    message = SendMessage(
        FALLBACK, (listed(EXPIRED, NextStep.DISABLED_NOW), listed(other, NextStep.DISABLED_FROM)), unlisted=3
    )
    assert draft_of(message, issues={"AKIAIOSFODNN7EXJONES": "SEC-9"}) == SlackDraft(
        "5 AWS access keys need rotating (no known owner) in account acme-dev: dev_kramer ...VHXVM, "
        "dev_jones ...JONES, ...",
        (
            section(":key: *5 AWS access keys need rotating (no known owner)* in account `acme-dev` (123456789012)"),
            {"type": "divider"},
            section(
                "• `dev_kramer` ...VHXVM: 197 days old, expired 2026-11-06, being disabled now\n"
                "• `dev_jones` ...JONES: 170 days old, expires 2026-12-03, disabled from 2026-12-03 on"
                " · <https://example.atlassian.net/browse/SEC-9|SEC-9>\n"
                "... and 3 more, whose turn comes with the next messages."
            ),
            section(
                "```# 0. find the full id of the access key that ends in LAST5\n"
                "aws iam list-access-keys --user-name USER_NAME\n"
                "# 1. create the new access key; it is shown only this once\n"
                "aws iam create-access-key --user-name USER_NAME\n"
                "# 2. put it wherever the old one is used; then see when and where the old one was last used\n"
                "aws iam get-access-key-last-used --access-key-id OLD_ACCESS_KEY_ID\n"
                "# 3. deactivate the old one\n"
                "aws iam update-access-key --user-name USER_NAME --access-key-id OLD_ACCESS_KEY_ID --status Inactive\n"
                "# to undo that, whoever did it\n"
                "aws iam update-access-key --user-name USER_NAME --access-key-id OLD_ACCESS_KEY_ID --status Active\n"
                "# 4. nothing broke for a few days? delete it\n"
                "aws iam delete-access-key --user-name USER_NAME --access-key-id OLD_ACCESS_KEY_ID```"
            ),
            footer("old access keys are inactive or gone"),
        ),
    )


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
        assert f"aws iam create-access-key --user-name {name}\n" in said
        assert f"aws iam update-access-key --user-name {name} --access-key-id {access_key_id} --status Inactive" in said


@pytest.mark.parametrize(
    ("next_step", "then"),
    [
        (NextStep.STAYS_ACTIVE, ", stays active"),
        (NextStep.NEVER_DISABLED, ", never disabled"),
        (NextStep.DISABLED_FROM, ", disabled from 2026-12-03 on"),
        (NextStep.IN_USE, ", in use (2026-11-20 by s3 in eu-west-1)"),
        (NextStep.LEFT_ALONE, ", re-enabled, disabled again from 2026-12-03 on"),
        (NextStep.DISABLED_NOW, ", being disabled now"),
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
    one = MessageKey(EXPIRED, outlook(last_use=last_use))
    assert f"• Last used: {said}" in draft_of(SendMessage(PERSON, (one,))).blocks[2]["text"]["text"].split("\n")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"newer": "ABCDE"},
            "Your new access key ends in ABCDE; once nothing uses the old one, deactivate the old one.",
        ),
        ({"ended_exemption": date(2026, 11, 20)}, "It was exempt until 2026-11-20; that has ended."),
        ({"tag_trouble": "the tag says <b>"}, "Its exemption does not count: the tag says &lt;b&gt;."),
    ],
    ids=["rotated", "no longer exempt", "malformed tags"],
)
def test_what_else_an_owner_should_know(changes: dict[str, Any], said: str) -> None:
    one = MessageKey(EXPIRED, outlook(**changes))
    assert f"• {said}" in draft_of(SendMessage(PERSON, (one,))).blocks[2]["text"]["text"].split("\n")


def test_who_has_a_newer_key_is_not_told_to_make_room_for_one() -> None:
    one = MessageKey(EXPIRED, outlook(key_count=2, newer="ABCDE"))
    assert "AWS allows no third" not in "\n".join(texts(draft_of(SendMessage(PERSON, (one,)))))


def test_a_team_s_user_group_is_mentioned_once_at_the_top() -> None:
    draft = draft_of(SendMessage(TEAM, (listed(), listed(EXPIRING)), groups=("S0OPS",)))
    assert draft.blocks[0]["text"]["text"].startswith("<!subteam^S0OPS> :key:")
    assert "\n".join(texts(draft)).count("S0OPS") == 1


# Comments on issues


def comment(event: IssueEvent, key: LabelledKey | None = EXPIRED, **changes: Any) -> CommentIssue:
    record = KeyRecord(FULL_ID, user_name="dev_kramer", issue=IssueRecord("SEC-7"))
    return CommentIssue(record, event, "a mark", key, outlook(NextStep.LEFT_ALONE), at=DAY, **changes)


@pytest.mark.parametrize("key", [EXPIRED, None], ids=["shown", "gone"])
def test_every_comment_names_its_key_and_ends_with_its_mark(key: LabelledKey | None) -> None:
    for event in IssueEvent:
        text = comment_text(comment(event, key), PROFILE)
        assert text.endswith(f"\n{marker_line('a mark')}")
        assert r"*VHXVM* of *dev\_kramer* (acme\-dev)" in text
        assert FULL_ID not in text
        assert ("There is nothing left to do here." in text) is event.closes


def test_the_comment_on_a_disabling_says_how_to_undo_it() -> None:
    text = comment_text(comment(IssueEvent.DISABLED), PROFILE)
    assert "keycheck disabled it on 2026-12-03" in text
    assert "aws iam update-access-key --user-name dev_kramer --access-key-id ACCESS_KEY_ID --status Active" in text


def test_the_comment_on_a_re_enabled_key_says_until_when_it_is_left_alone() -> None:
    assert "left alone; from 2026\\-12\\-03 on it is disabled again" in comment_text(
        comment(IssueEvent.REENABLED), PROFILE
    )


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
    assert draft.blocks[0]["text"]["text"].endswith(f"in account {in_title} (123456789012)")
    assert draft.text == f"1 AWS access key needs rotating in account {in_text}: dev_kramer ...VHXVM"


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
    assert f"aws iam list-access-keys --user-name {word}\n" in description


# Slack's limits, and what must never be said

MESSAGE_KEYS = st.lists(
    st.tuples(NAMES, IDS, st.sampled_from([166, 197, 36_500]), st.sampled_from(NextStep), st.sampled_from([1, 2])),
    min_size=1,
    max_size=25,
    unique_by=lambda drawn: drawn[1],
).map(
    lambda drawn: tuple(
        MessageKey(make_key(name, age_days=age, access_key_id=access_key_id), outlook(next_step, count))
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
        said += [describe(filing(key)), describe_found(filing(key), "SEC-1"), describe(DisableKey(key, True, False))]
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


# The dry run, and the lines on stderr


@pytest.mark.parametrize(
    ("action", "line"),
    [
        pytest.param(
            filing(), "would file an issue for access key ...VHXVM of dev_kramer (expired, 197 days old)", id="issue"
        ),
        pytest.param(
            SendMessage(PERSON, (listed(),)),
            "would send a message to U012KRAMER about 1 access key: dev_kramer ...VHXVM",
            id="message",
        ),
        pytest.param(
            SendMessage(TEAM, tuple(listed(key) for key in some_keys(6))),
            "would send a message to C0TEAM about 6 access keys: user0 ...00000, user1 ...00001, user2 ...00002, "
            "user3 ...00003, user4 ...00004, ...",
            id="message about many",
        ),
        pytest.param(
            SendMessage(FALLBACK, (listed(), listed(EXPIRING))),
            "would send a digest to the fallback channel C0FALLBACK about 2 access keys: dev_kramer ...VHXVM, "
            "dev_kramer ...VHXVM",
            id="digest",
        ),
        pytest.param(
            DisableKey(EXPIRED, needs_warning=True, was_warned=True),
            "would disable access key ...VHXVM of dev_kramer (expired, 197 days old)",
            id="disable, warned",
        ),
        pytest.param(
            DisableKey(EXPIRED, needs_warning=True, was_warned=False),
            "would disable access key ...VHXVM of dev_kramer (expired, 197 days old), once the warning above is "
            "delivered",
            id="disable, warning on the way",
        ),
        pytest.param(
            DisableKey(EXPIRED, needs_warning=False, was_warned=False),
            "would disable access key ...VHXVM of dev_kramer (expired, 197 days old)",
            id="disable alone",
        ),
    ],
)
def test_a_dry_run_says_each_action_in_one_line(action: Any, line: str) -> None:
    assert describe(action) == line


def test_a_dry_run_says_which_open_issue_it_found() -> None:
    expected = "would file no issue for access key ...VHXVM of dev_kramer (expired, 197 days old): SEC-7 is open"
    assert describe_found(filing(), "SEC-7") == expected


def test_a_dry_run_says_each_skip_with_its_reason() -> None:
    skip = Skip(PROFILE, Step.DISABLE, EXPIRED, SkipReason.OWN_ACCESS_KEY)
    assert describe_skip(skip) == (
        "would not disable: access key ...VHXVM of dev_kramer (expired, 197 days old): keycheck itself depends on this "
        "access key"
    )


def skips(reason: SkipReason, keys: Iterable[LabelledKey] = (EXPIRED,)) -> list[Skip]:
    return [Skip(PROFILE, Step.ACT, key, reason) for key in keys]


@pytest.mark.parametrize(
    ("reason", "level", "text"),
    [
        (
            SkipReason.NOBODY_TOLD,
            Level.WARNING,
            "1 access key not disabled: nobody could be told: no warning about this access key has been delivered yet",
        ),
        (
            SkipReason.TOO_MANY_ISSUES,
            Level.WARNING,
            (
                "no further issue for 1 access key: two issues were filed for it within seven days, and Jira's search "
                "shows none open; look for a workflow that closes them"
            ),
        ),
        (
            SkipReason.OUT_OF_TIME,
            Level.WARNING,
            "actions on 1 access key are left for the next run: the run's time was over; see run_timeout_seconds",
        ),
        (
            SkipReason.UNKNOWN_OWNER,
            Level.WARNING,
            (
                "nobody was nagged about 1 access key: the user is in no Slack mapping and slack_fallback_channel is "
                "not set"
            ),
        ),
        (
            SkipReason.NO_STATE,
            Level.INFO,
            (
                "nothing done for 1 access key: the state table could not be used, and without state nothing is filed, "
                "sent or disabled"
            ),
        ),
        (SkipReason.JIRA_OFF, Level.INFO, "nothing done for 1 access key: Jira is off for this run"),
        (SkipReason.SLACK_OFF, Level.INFO, "nothing done for 1 access key: Slack is off for this run"),
        (
            SkipReason.OWN_ACCESS_KEY,
            Level.INFO,
            "nothing done for 1 access key: keycheck itself depends on this access key",
        ),
        (SkipReason.CLAIMED, Level.INFO, "nothing done for 1 access key: another run has claimed it"),
        (
            SkipReason.RETRY_LATER,
            Level.INFO,
            "nothing done for 1 access key: Slack failed twice in a row for this addressee; tried again an hour later",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, SkipReason) else "",
)
def test_each_reason_has_its_line_and_level(reason: SkipReason, level: Level, text: str) -> None:
    assert skip_problems(skips(reason), PROFILE, issues_are_filed=False) == [
        Problem(level, PROFILE, f"{text}: dev_kramer ...VHXVM")
    ]


def test_no_skip_counts_as_an_error() -> None:
    for reason in SkipReason:
        (problem,) = skip_problems(skips(reason), PROFILE, issues_are_filed=True)
        assert problem.level is not Level.ERROR


def test_an_unknown_owner_is_no_warning_where_an_issue_tells_somebody() -> None:
    (problem,) = skip_problems(skips(SkipReason.UNKNOWN_OWNER), PROFILE, issues_are_filed=True)
    assert problem.level is Level.INFO


def test_a_reason_is_said_once_however_many_keys_and_the_oldest_are_named() -> None:
    keys = some_keys(7)
    many = [*skips(SkipReason.NOBODY_TOLD, keys), *skips(SkipReason.CLAIMED), *skips(SkipReason.NOBODY_TOLD, keys)]
    first, second = skip_problems(many, PROFILE, issues_are_filed=False)
    assert first.text == (
        "7 access keys not disabled: nobody could be told: no warning about this access key has been delivered yet: "
        "user6 ...00006, user5 ...00005, user4 ...00004, user3 ...00003, user2 ...00002, ..."
    )
    assert second.text.startswith("nothing done for 1 access key: another run")


def test_without_skips_nothing_is_said() -> None:
    assert skip_problems([], PROFILE, issues_are_filed=False) == []


# Why Jira refused


@pytest.mark.parametrize(
    ("field", "advice"),
    [
        ("issuetype", " -> set jira_issue_type (now 'Task') to a type of that project"),
        ("project", " -> set jira_project_key to a project that the account may create issues in"),
        ("labels", " -> put the field Labels on the project's create screen"),
        ("description", " -> put the field Description on the project's create screen"),
        ("summary", ""),
        ("customfield_10010", " -> give 'customfield_10010' a value in jira_extra_fields"),
    ],
)
def test_a_refused_field_is_named_with_the_setting_to_change(field: str, advice: str) -> None:
    said = issue_refused({field: "is required."}, [], "Task")
    assert said == f"Jira refused the new issue: field '{field}': is required.{advice}"


def test_every_refused_field_is_named_in_one_line() -> None:
    said = issue_refused({"priority": "is\nrequired", "project": "x" * 500}, ["ignored"], "Bug")
    assert said == (
        "Jira refused the new issue: field 'priority': is required -> give 'priority' a value in jira_extra_fields; "
        f"field 'project': {'x' * 120} -> set jira_project_key to a project that the account may create issues in"
    )


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (["No\n permission", "Really"], "No permission; Really"),
        ([], "no reason given"),
        ([" "], "no reason given"),
        (["y" * 999], "y" * 200),
    ],
    ids=["said", "silent", "blank", "long"],
)
def test_without_a_field_jiras_own_words_are_cut_to_one_line(messages: list[str], said: str) -> None:
    assert issue_refused({}, messages, "Task") == (
        f"Jira refused the new issue: {said}; see jira_project_key, jira_issue_type and jira_extra_fields"
    )


def test_there_are_words_for_every_reason_every_next_step_and_every_event() -> None:
    assert set(lines.SAID) == set(SkipReason)
    assert set(parts.TOLD) == set(NextStep)
    assert set(lines._EVENTS) == set(IssueEvent)
    assert set(lines._NOTES) == set(ObservationKind)
