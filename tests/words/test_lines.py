"""The lines on stderr: what a dry run would do, and what was due and is not done."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from keycheck.actions import (
    DisableKey,
    IssueEvent,
    NextStep,
    ObservationKind,
    SendMessage,
    Skip,
    SkipReason,
    Step,
)
from keycheck.model import LabelledKey, Level, Problem
from keycheck.words import lines, parts
from keycheck.words.lines import describe, describe_found, describe_skip, skip_problems
from keycheck.words.parts import name_key
from tests.builders import PROFILE, make_owner, make_record
from tests.drafts import EXPIRED, EXPIRING, FALLBACK, PERSON, TEAM, filing, listed, some_keys

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
            DisableKey(EXPIRED, make_record(EXPIRED), make_owner(), has_notice=True),
            "would disable access key ...VHXVM of dev_kramer (expired, 197 days old)",
            id="disable, warned",
        ),
        pytest.param(
            DisableKey(EXPIRED, make_record(EXPIRED), make_owner(), has_notice=False),
            "would disable access key ...VHXVM of dev_kramer (expired, 197 days old), once the notice above is "
            "delivered",
            id="disable, warning on the way",
        ),
        pytest.param(
            DisableKey(EXPIRED, make_record(EXPIRED), None, has_notice=False),
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
            "1 access key not disabled: nobody could be told: no notice about this access key is in force",
        ),
        (
            SkipReason.NOT_TOLD_YET,
            Level.INFO,
            "nothing done for 1 access key: it has no notice in force: the next message to its owner gives one",
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
    first, *each, second = skip_problems(many, PROFILE, issues_are_filed=False)
    assert first.text == (
        "7 access keys not disabled: nobody could be told: no notice about this access key is in force: "
        "user6 ...00006, user5 ...00005, user4 ...00004, user3 ...00003, user2 ...00002, ..."
    )
    assert second.text.startswith("nothing done for 1 access key: another run")
    assert {one.level for one in each} == {Level.DEBUG}
    assert [one.text for one in each] == [
        f"{name_key(key)}: nobody could be told: no notice about this access key is in force" for key in reversed(keys)
    ]


def test_without_skips_nothing_is_said() -> None:
    assert skip_problems([], PROFILE, issues_are_filed=False) == []


def test_there_are_words_for_every_reason_every_next_step_and_every_event() -> None:
    assert set(lines.SAID) == set(SkipReason)
    assert set(parts.TOLD) == set(NextStep)
    assert set(lines.EVENTS) == set(IssueEvent)
    assert set(lines.NOTES) == set(ObservationKind)
