"""The issue and its comments, to the letter; and what they must never hold (design.md 2, "Jira and Slack")."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given

from keycheck.actions import (
    CommentIssue,
    IssueEvent,
    NextStep,
    SendMessage,
)
from keycheck.model import IssueRecord, KeyRecord, LabelledKey
from keycheck.words.issue import FAMILY_LABEL, IssueDraft, comment_text, issue_draft, issue_refused, marker_line
from keycheck.words.parts import name_key
from tests.builders import PROFILE, make_key
from tests.drafts import (
    DAY,
    EXPIRED,
    EXPIRING,
    FULL_ID,
    NAMES,
    PERSON,
    PROFILES,
    REPEATABLE,
    draft_of,
    filing,
    listed,
    outlook,
    texts,
)

# The issue


def test_an_issue_reads_like_this() -> None:
    assert issue_draft(filing(EXPIRING, NextStep.DISABLED_FROM), PROFILE, "#cloud-security") == IssueDraft(
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
Do you need an access key at all\? A person at a laptop has aws login (AWS CLI 2.32 or later) or IAM Identity """
        r"""Center, a workload a role: the best rotation is none. """
        r"""https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-sign-in.html

First see where you are; this must say 123456789012:
{code:bash}
aws sts get-caller-identity --query Account --output text
{code}
1. Find the full id of the access key that ends in VHXVM:
{code:bash}
KEY=$(aws iam list-access-keys --user-name dev_kramer """
        r"""--query "AccessKeyMetadata[?ends_with(AccessKeyId, 'VHXVM')].AccessKeyId" --output text); echo "$KEY"
{code}
2. Make the new access key; it is shown only this once:
{code:bash}
aws iam create-access-key --user-name dev_kramer
{code}
3. Put the new one wherever the old one is used; then see when and where the old one was last used:
{code:bash}
aws iam get-access-key-last-used --access-key-id "$KEY"
{code}
4. Deactivate the old one:
{code:bash}
aws iam update-access-key --user-name dev_kramer --access-key-id "$KEY" --status Inactive
{code}
If something breaks, the same command with "Active" in place of "Inactive" undoes it, whoever did it. """
        r"""If nothing has broken for some days, delete the old access key: aws iam delete\-access\-key, """
        r"""with the same two options.

Not yours, or more time needed\? Ask #cloud\-security
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
        NextStep.STAYS_UNOWNED,
        (
            "it is not disabled, since nobody is known to own it; it stays at risk until somebody rotates it or names "
            "its owner."
        ),
    ),
    (
        NextStep.DUE,
        (
            "its day has come: it is disabled at any time from now on, as soon as its turn comes (AWS status Inactive, "
            "not deleted); what still uses it stops working then."
        ),
    ),
    (
        NextStep.IN_USE,
        "it was to be disabled, but it is still in use; it is disabled as soon as nothing uses it any more.",
    ),
    (
        NextStep.LEFT_ALONE,
        (
            "it was inactive and is active again, so it is left alone until 2026-12-03; after that it is given a new "
            "notice."
        ),
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
    assert '--access-key-id "$KEY" --status Inactive\n' in description
    assert 'with "Active" in place of "Inactive" undoes it' in description
    assert ("(keycheck does so now; by hand it is)" in description) is (next_step is NextStep.DISABLED_NOW)


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
    description = issue_draft(filing(make_key("_a_-b-+c+"), key_count=2), PROFILE).description
    prose = re.sub(r"\{code:bash\}.*?\{code\}", "", description, flags=re.DOTALL)
    assert prose.count(r"\_a\_\-b\-\+c\+") == 2, "in the first sentence, and where the user's keys are counted"
    assert "_a_" not in prose


@given(PROFILES, NAMES)
@REPEATABLE
def test_an_issues_summary_is_one_line_that_jira_takes(profile: str, user_name: str) -> None:
    summary = issue_draft(filing(make_key(user_name)), profile).summary
    assert 0 < len(summary) <= 255
    assert summary.splitlines() == [summary]
    assert "VHXVM" in summary


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
    assert "KEY=$(aws iam list-access-keys --user-name dev_kramer" in text
    assert 'aws iam update-access-key --user-name dev_kramer --access-key-id "$KEY" --status Active' in text


def test_the_comment_on_a_re_enabled_key_says_until_when_it_is_left_alone() -> None:
    assert "left alone until 2026\\-12\\-03; after that it is given a new notice" in comment_text(
        comment(IssueEvent.REENABLED), PROFILE
    )


# Why Jira refused


@pytest.mark.parametrize(
    ("field", "advice"),
    [
        ("issuetype", " -> set jira_issue_type (now 'Task') to a type of that project"),
        ("project", " -> set jira_project_key to a project that the account may create issues in"),
        ("labels", ""),
        ("description", ""),
        ("summary", ""),
        ("customfield_10010", " -> give 'customfield_10010' a value in jira_extra_fields"),
    ],
)
def test_a_refused_field_is_named_with_the_setting_to_change(field: str, advice: str) -> None:
    said = issue_refused({field: "is required."}, [], "Task")
    assert said == f"Jira refused the new issue: field '{field}': is required.{advice}"


ON_SCREEN = "on the project's create screen"
NOT_ON_SCREEN = "Field 'x' cannot be set. It is not on the appropriate screen, or unknown."


@pytest.mark.parametrize(
    ("field", "said", "advice"),
    [
        ("labels", NOT_ON_SCREEN, " -> put 'labels' on the project's create screen"),
        ("description", NOT_ON_SCREEN, " -> put 'description' on the project's create screen"),
        ("priority", NOT_ON_SCREEN, f" -> put 'priority' {ON_SCREEN}, or leave it out of jira_extra_fields"),
        ("labels", "The label 'a b' contains spaces which is invalid.", ""),
        ("priority", "The priority selected is invalid.", " -> give 'priority' a value in jira_extra_fields"),
    ],
)
def test_advice_about_screens_is_given_where_jira_speaks_of_one(field: str, said: str, advice: str) -> None:
    assert issue_refused({field: said}, [], "Task") == f"Jira refused the new issue: field {field!r}: {said}{advice}"


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
