"""What is printed is line protocol that an independent parser reads back, whatever a name or profile holds.

The grammar is Telegraf's: services.md 7.3. The names, types and order are design.md's 2, "stdout".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from line_protocol_parser import parse_line

from keycheck.actions import (
    Action,
    AssignIssue,
    CommentIssue,
    DisableKey,
    FileIssue,
    IssueEvent,
    MessageKey,
    NextStep,
    Observation,
    ObservationKind,
    Outcome,
    Outcomes,
    Outlook,
    Result,
    SendMessage,
    Skip,
    SkipReason,
    Step,
)
from keycheck.metrics import (
    KEY_FIELDS,
    KEY_TAGS,
    RUN_FIELDS,
    RUN_TAGS,
    escape_tag,
    is_sound,
    key_line,
    labels_after,
    render,
    run_line,
)
from keycheck.model import AgeLabel, KeyRecord, LabelledKey, Level, Problem, Scan
from tests.builders import NOW, PROFILE, make_addressee, make_key, make_owner, make_record

OKAY = make_key("amy", age_days=3, access_key_id="AKIAIOSFODNN7EX00001")
EXPIRING = make_key("bob", age_days=170, access_key_id="AKIAIOSFODNN7EX00002")
EXPIRED = make_key("cid", age_days=197, access_key_id="AKIAIOSFODNN7EX00003")
DISABLED = make_key("dev_kramer", age_days=197, status="Inactive")
KEYS = (OKAY, EXPIRING, EXPIRED, DISABLED)
SCAN = Scan(PROFILE, tuple(key.access_key for key in KEYS), user_count=7)
NOTHING = Outcomes()
ILLEGAL_IN_TELEGRAF = [chr(code) for code in (*range(0x20), 0x7F)]
REPEATABLE = hypothesis_settings(max_examples=80, derandomize=True, deadline=None)

IAM_NAMES = st.text("abcXYZ019_+=,.@-", min_size=1, max_size=128)
ANY_TEXT = st.text(st.characters()) | st.text("\\ ,=\n\t\r\x00\ud800\udfff\"'#a\ufeff\u2028", max_size=12)
PROFILES = ANY_TEXT | st.sampled_from(["", "\\", "a\\", "a\\\\", "\\ ", " ", " a ", "a,b=c", "\udcff", "#x", "é\xa0"])


def make_filing(key: LabelledKey) -> FileIssue:
    return FileIssue(key, KeyRecord(key.access_key.access_key_id), Outlook(NextStep.STAYS_ACTIVE))


def make_named(key: LabelledKey) -> MessageKey:
    return MessageKey(key, make_record(key), Outlook(NextStep.STAYS_ACTIVE))


def make_message(*keys: LabelledKey) -> SendMessage:
    return SendMessage(make_addressee(), tuple(make_named(key) for key in keys))


def make_disabling(key: LabelledKey) -> DisableKey:
    return DisableKey(key, make_record(key), make_owner(), has_notice=True)


def outcome(action: Action, result: Result) -> Outcome:
    return Outcome(PROFILE, action, result)


def skip(key: LabelledKey) -> Skip:
    return Skip(PROFILE, Step.ACT, key, SkipReason.CLAIMED)


def problem(level: Level, count: int = 1) -> Problem:
    return Problem(level, PROFILE, "something", count)


def fields(line: str) -> dict[str, Any]:
    parsed: dict[str, Any] = parse_line(line)["fields"]
    return parsed


def counts(
    outcomes: Outcomes = NOTHING, scan: Scan = SCAN, keys: tuple[LabelledKey, ...] = KEYS, duration: float = 1.25
) -> dict[str, Any]:
    """The fields of the profile's `iam_run` line."""
    return fields(render(scan, keys, outcomes, duration, NOW).lines[-1])


# The contract, byte for byte


def test_a_keys_line_is_the_one_that_dashboards_know() -> None:
    line = "iam,name=dev_kramer,key=VHXVM,status=disabled,accountAlias=acme-dev age=197"
    assert key_line("acme-dev", DISABLED) == line


def test_a_profile_prints_its_keys_in_order_and_then_its_run() -> None:
    outcomes = Outcomes(
        (outcome(make_filing(EXPIRED), Result.DONE), outcome(make_message(EXPIRED), Result.DONE)),
        (skip(EXPIRED), skip(EXPIRING)),
        (problem(Level.ERROR, count=3), problem(Level.WARNING)),
    )
    assert render(SCAN, KEYS, outcomes, 1.2, NOW).lines == (
        "iam,name=amy,key=00001,status=ok,accountAlias=acme-dev age=3",
        "iam,name=bob,key=00002,status=expiring,accountAlias=acme-dev age=170",
        "iam,name=cid,key=00003,status=expired,accountAlias=acme-dev age=197",
        "iam,name=dev_kramer,key=VHXVM,status=disabled,accountAlias=acme-dev age=197",
        "iam_action,name=cid,key=00003,status=expired,accountAlias=acme-dev,action=filed count=1i",
        "iam_action,name=cid,key=00003,status=expired,accountAlias=acme-dev,action=told count=1i",
        (
            "iam_run,accountAlias=acme-dev users=7i,keys=4i,ok=1i,expiring=1i,expired=1i,disabled=1i,issues_filed=1i,"
            "nags_sent=1i,keys_disabled=0i,skipped=2i,errors=3i,incomplete=0i,duration_seconds=1.200,finished_at=1795435200i"
        ),
    )


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (make_filing(EXPIRED), ["filed"]),
        (make_message(EXPIRED, EXPIRING), ["told", "told"]),
        (make_disabling(EXPIRED), ["disabled"]),
        (CommentIssue(make_record(EXPIRED), IssueEvent.EXPIRED, "m", EXPIRED), ["commented"]),
        (CommentIssue(make_record(DISABLED), IssueEvent.GRACE_OVER, "m", DISABLED), ["ended"]),
        (CommentIssue(make_record(make_key("gone", access_key_id="AKIAGONE")), IssueEvent.DELETED, "m"), []),
        (AssignIssue(EXPIRED, make_record(EXPIRED), "cid@example.com"), []),
        (Observation(make_record(EXPIRED), ObservationKind.KEPT, EXPIRED), []),
    ],
)
def test_what_was_surely_done_about_an_access_key_is_a_line(action: Action, words: list[str]) -> None:
    for result in Result:
        lines = render(SCAN, KEYS, Outcomes((outcome(action, result),)), 1.2, NOW).lines
        parsed = [parse_line(line) for line in lines if line.startswith("iam_action,")]
        assert [one["tags"]["action"] for one in parsed] == (words if result is Result.DONE else [])
        assert all(one["fields"] == {"count": 1} for one in parsed)


def test_a_profile_that_could_not_be_scanned_prints_errors_incomplete_and_duration_only() -> None:
    """A zero there would say that the account has no keys."""
    scan = Scan(PROFILE, was_scanned=False, is_complete=False, problems=(problem(Level.ERROR),))
    assert render(scan, (), NOTHING, 0.5, NOW).lines == (
        "iam_run,accountAlias=acme-dev errors=1i,incomplete=1i,duration_seconds=0.500,finished_at=1795435200i",
    )


def test_an_empty_account_prints_zeros() -> None:
    assert render(Scan(PROFILE), (), NOTHING, 0, NOW).lines == (
        (
            "iam_run,accountAlias=acme-dev users=0i,keys=0i,ok=0i,expiring=0i,expired=0i,disabled=0i,issues_filed=0i,"
            "nags_sent=0i,keys_disabled=0i,skipped=0i,errors=0i,incomplete=0i,duration_seconds=0.000,finished_at=1795435200i"
        ),
    )


def test_tags_and_fields_are_those_of_the_catalogue_in_its_order() -> None:
    """And none is named as a tag that Telegraf or Wavefront sets itself: services.md 7.4."""
    more = {"exempt": 1, "overdue": 2, "waiting": 3, "root_access_keys": 0}
    key, run = key_line(PROFILE, OKAY), run_line(SCAN, KEYS, NOTHING, 0, 1, NOW, more)
    assert [tag.split("=")[0] for tag in key.split(" ")[0].split(",")[1:]] == list(KEY_TAGS)
    assert [tag.split("=")[0] for tag in run.split(" ")[0].split(",")[1:]] == list(RUN_TAGS)
    assert [field.split("=")[0] for field in key.split(" ")[1].split(",")] == list(KEY_FIELDS)
    assert [field.split("=")[0] for field in run.split(" ")[1].split(",")] == list(RUN_FIELDS)
    taken = {"host", "source", "hostname", "node_host", "snmp_host", "address", "agent_host"}
    assert not taken & {*KEY_TAGS, *RUN_TAGS}


def test_every_field_has_the_type_of_the_catalogue() -> None:
    """A database fixes a field's type at its first point, and drops what differs: services.md 7.4."""
    for duration in [0, 1, 0.0004, 99.9999, 3600.5]:
        for was_scanned in [True, False]:
            types = {"float": float, "integer": int}
            run = fields(run_line(replace(SCAN, was_scanned=was_scanned), KEYS, NOTHING, 2, duration, NOW))
            for name, value in run.items():
                assert type(value) is types[RUN_FIELDS[name]], name
            for key in KEYS:
                assert {name: type(value) for name, value in fields(key_line(PROFILE, key)).items()} == {
                    name: types[kind] for name, kind in KEY_FIELDS.items()
                }


def test_a_clock_that_went_backwards_gives_no_negative_duration() -> None:
    assert counts(duration=-5.0)["duration_seconds"] == 0.0


# The counts


@pytest.mark.parametrize(
    ("action", "field"),
    [
        (make_filing(EXPIRED), "issues_filed"),
        (make_message(EXPIRED, EXPIRING), "nags_sent"),
        (make_disabling(EXPIRED), "keys_disabled"),
    ],
    ids=["issue", "message about two keys", "disabling"],
)
def test_only_what_was_surely_done_is_counted(action: Action, field: str) -> None:
    for result in Result:
        got = counts(Outcomes((outcome(action, result), outcome(action, Result.REFUSED))))
        expected = dict.fromkeys(("issues_filed", "nags_sent", "keys_disabled"), 0)
        expected[field] = 1 if result is Result.DONE else 0
        assert {name: got[name] for name in expected} == expected


def test_keys_are_counted_by_label_and_users_by_the_scan() -> None:
    got = counts(keys=(OKAY, OKAY, EXPIRING, DISABLED, DISABLED, DISABLED))
    assert [got[name] for name in ("users", "keys", "ok", "expiring", "expired", "disabled")] == [7, 6, 2, 1, 0, 3]


def test_every_skip_is_counted() -> None:
    assert counts(Outcomes(skips=(skip(EXPIRED), skip(EXPIRED), skip(EXPIRING))))["skipped"] == 3


def test_errors_are_those_of_scan_and_actions_and_nothing_milder() -> None:
    scan = replace(SCAN, problems=(problem(Level.ERROR, 4), problem(Level.WARNING, 8)))
    found = tuple(problem(level) for level in Level)
    assert counts(Outcomes(problems=found), scan)["errors"] == 5


@pytest.mark.parametrize(
    ("is_complete", "was_scanned", "incomplete"),
    [(True, True, 0), (False, True, 1), (False, False, 1), (True, False, 1)],
)
def test_a_scan_that_lacks_anything_is_incomplete(is_complete: bool, was_scanned: bool, incomplete: int) -> None:
    scan = replace(SCAN, is_complete=is_complete, was_scanned=was_scanned)
    assert counts(scan=scan)["incomplete"] == incomplete


# Labels after the actions


@pytest.mark.parametrize("result", Result, ids=lambda result: result.name)
def test_a_key_is_disabled_on_dashboards_only_once_aws_said_so(result: Result) -> None:
    settled = labels_after(KEYS, Outcomes((outcome(make_disabling(EXPIRED), result),)))
    label = AgeLabel.DISABLED if result is Result.DONE else AgeLabel.EXPIRED
    assert [key.label for key in settled] == [AgeLabel.OK, AgeLabel.EXPIRING, label, AgeLabel.DISABLED]
    assert [key.access_key for key in settled] == [key.access_key for key in KEYS]


def test_issues_and_messages_settle_nothing() -> None:
    done = Outcomes(tuple(outcome(one, Result.DONE) for one in (make_filing(EXPIRED), make_message(EXPIRED))))
    assert labels_after(KEYS, done) == KEYS


def test_a_key_that_ends_alike_is_not_settled_with_the_disabled_one() -> None:
    twin = make_key("cid", age_days=197, access_key_id="AKIAIOSFODNN8EX00003")
    settled = labels_after((EXPIRED, twin), Outcomes((outcome(make_disabling(EXPIRED), Result.DONE),)))
    assert [key.label for key in settled] == [AgeLabel.DISABLED, AgeLabel.EXPIRED]


# Escaping


def test_tag_values_are_escaped_as_telegraf_reads_them() -> None:
    for value, escaped in [
        ("dev_kramer", "dev_kramer"),
        ("a+=,.@_-b", r"a+\=\,.@_-b"),
        ("two words", r"two\ words"),
        ("José", "José"),
        ('"quoted"', '"quoted"'),
        ("", "unknown"),
        ("a\\b", "a/b"),
        ("a\\", "a/"),
        ("\\", "/"),
        ("a\\,b", r"a/\,b"),
        ("a\nb\tc\r\x0b\x0c\x00d\x7f", "a_b_c____d_"),
        ("\ud800", "\ufffd"),
        (" ", r"\ "),
        ("=", r"\="),
    ]:
        assert escape_tag(value) == escaped


@given(IAM_NAMES, PROFILES, st.integers(0, 10**7), st.sampled_from(AgeLabel))
@REPEATABLE
def test_an_independent_parser_gives_back_what_went_in(name: str, profile: str, age: int, label: AgeLabel) -> None:
    key = replace(make_key(name), age_days=age, label=label)
    line = key_line(profile, key)
    assert is_sound(line), line
    parsed = parse_line(line)
    assert parsed["measurement"] == "iam"
    assert parsed["time"] is None
    assert parsed["fields"] == {"age": float(age)}
    assert type(parsed["fields"]["age"]) is float
    assert parsed["tags"].pop("accountAlias")
    assert parsed["tags"] == {"name": name, "key": "VHXVM", "status": label.value}


@given(ANY_TEXT, PROFILES, st.floats(0, 10**6))
@REPEATABLE
def test_whatever_a_name_or_profile_holds_every_line_parses(name: str, profile: str, duration: float) -> None:
    key = make_key(name)
    done = Outcomes((Outcome(profile, make_disabling(key), Result.DONE),))
    lines = render(replace(SCAN, profile=profile), (key, OKAY), done, duration, NOW)
    assert [one for one in lines.problems if one.level is Level.ERROR] == []
    assert len(lines.lines) == 4
    for line in lines.lines:
        assert is_sound(line), line
        assert line.encode().decode() == line
        assert len(line.splitlines()) == 1
        assert not set(line) & set(ILLEGAL_IN_TELEGRAF)
        parsed = parse_line(line)
        assert parsed["tags"]["accountAlias"] == parse_line(f"x,a={escape_tag(profile)} b=1")["tags"]["a"]
    assert [parse_line(line)["measurement"] for line in lines.lines] == [*("iam", "iam", "iam_action", "iam_run")]


@given(st.text("abcXYZ019_+=,.@- é\"'#:&<>`", min_size=1))
@REPEATABLE
def test_a_profile_without_controls_and_backslashes_comes_back_as_it_was(profile: str) -> None:
    assert parse_line(key_line(profile, OKAY))["tags"]["accountAlias"] == profile


@given(IAM_NAMES, IAM_NAMES)
@REPEATABLE
def test_different_names_stay_different(one: str, other: str) -> None:
    assert (escape_tag(one) == escape_tag(other)) is (one == other)


# The last check before printing


def test_what_we_print_passes_the_check() -> None:
    for line in [
        "iam,name=dev_kramer,key=VHXVM,status=disabled,accountAlias=acme-dev age=197",
        "iam,name=a age=197.0",
        "iam,name=a age=0",
        "iam,name=a age=197i",
        r"iam,name=a\ b\,c\=d age=1",
        "iam,name=a@+.-_:b age=1",
        "iam,name=José age=1",
        'iam,name="a" age=1',
        r"iam,name=a\  age=1",
        "iam_run,accountAlias=acme-dev errors=1i,incomplete=1i,duration_seconds=0.5,finished_at=1795435200i",
    ]:
        assert is_sound(line)
        parse_line(line)


def test_what_telegraf_refuses_or_misreads_fails_the_check() -> None:
    """One bad line costs all lines of a run, so the check may be stricter than the format, and never milder."""
    for line in [
        "",
        "iam,name=a b age=1",
        "iam,name=a,b age=1",
        "iam,name=a=b age=1",
        "iam,name= age=1",
        "iam,name=a, age=1",
        "iam, name=a age=1",
        "iam,name=a\\ age=1",
        "iam,name=a\\\\ age=1",
        "iam,name=a\\\\,key=b age=1",
        "iam,name=a age=nan",
        "iam,name=a age=inf",
        "iam,name=a age=None",
        "iam,name=a age=yes",
        "iam,name=a age=",
        "iam,name=a age=007i",
        "iam,name=a age=007",
        "iam,name=a age=+5i",
        "iam,name=a age=1_000i",
        "iam,name=a age=99999999999999999999i",
        "iam,name=a age=1 1700000000.5",
        "iam,name=a age=1 1700000000",
        "iam,name=a",
        "iam,name=a age=1\n",
        "iam,name=a age=1\niam,name=b age=1",
        "\ufeffiam,name=a age=1",
        "# iam,name=a age=1",
        "W! something else",
        "Traceback (most recent call last):",
        "iam,name=\ud800 age=1",
        *(f"iam,name=a{control}b age=1" for control in ILLEGAL_IN_TELEGRAF),
    ]:
        assert not is_sound(line)


@pytest.mark.parametrize("duration", [float("inf"), float("nan")])
def test_a_malformed_line_never_leaves(duration: float) -> None:
    lines = render(SCAN, KEYS, NOTHING, duration, NOW)
    assert all(is_sound(line) for line in lines.lines)
    assert len(lines.lines) + len(lines.problems) == len(KEYS) + 1


def test_a_malformed_line_is_dropped_reported_and_counted_and_the_others_stay() -> None:
    broken = replace(EXPIRED, age_days=-1)
    lines = render(SCAN, (OKAY, broken, DISABLED), NOTHING, 1.0, NOW)
    assert [line.split(",")[1] for line in lines.lines[:-1]] == ["name=amy", "name=dev_kramer"]
    assert fields(lines.lines[-1])["errors"] == 1
    assert lines.problems == (
        Problem(Level.ERROR, PROFILE, "the metric line of an access key ending in '00003' is malformed; dropped"),
    )


# Lines that would hide one another


def test_two_keys_that_would_be_one_point_are_reported() -> None:
    twin = make_key("cid", age_days=200, access_key_id="AKIAIOSFODNN8EX00003")
    lines = render(SCAN, (EXPIRED, twin), NOTHING, 1.0, NOW)
    assert len(lines.lines) == 3, "both are printed"
    assert lines.problems == (
        Problem(Level.WARNING, PROFILE, "2 access keys of cid end in 00003 and are expired: dashboards show only one"),
    )
    assert fields(lines.lines[-1])["errors"] == 0


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(make_key("cid", age_days=20, access_key_id="AKIAIOSFODNN8EX00003"), id="another label"),
        pytest.param(make_key("dan", age_days=200, access_key_id="AKIAIOSFODNN8EX00003"), id="another user"),
        pytest.param(make_key("cid", age_days=200, access_key_id="AKIAIOSFODNN7EX00004"), id="another ending"),
    ],
)
def test_keys_that_differ_in_any_tag_are_not(other: LabelledKey) -> None:
    assert render(SCAN, (EXPIRED, other), NOTHING, 1.0, NOW).problems == ()


def test_no_line_holds_a_full_access_key_id() -> None:
    lines = render(SCAN, KEYS, NOTHING, 1.0, NOW)
    for key in KEYS:
        assert not any(key.access_key.access_key_id in line for line in lines.lines)
