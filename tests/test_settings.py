"""Every setting's default, range and complaint (design.md 2, "Settings")."""

from __future__ import annotations

import dataclasses
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from keycheck.settings import SETTINGS, Setting, Settings, SettingsError, parse
from keycheck.values import WHERE_IDS_ARE
from tests.builders import EVERYTHING

MAPPING_FILE = Path("/opt/keycheck/slack_ID_mapping.py")
LONG_SECRET = "xoxb-0123456789-s3cr3t"
BOOLEANS = [setting.name for setting in SETTINGS if setting.kind == "boolean"]
NUMBERS = [setting for setting in SETTINGS if setting.kind == "number"]
URLS = [setting.name for setting in SETTINGS if setting.kind == "url"]
REPEATABLE = hypothesis_settings(max_examples=80, derandomize=True, deadline=None)


def settings_of(**environ: str) -> Settings:
    return parse(environ, MAPPING_FILE)


def problems_of(**environ: str) -> tuple[str, ...]:
    """What is wrong with these settings; fails where nothing is."""
    with pytest.raises(SettingsError) as caught:
        parse(environ, MAPPING_FILE)
    assert str(caught.value) == "; ".join(caught.value.problems)
    return caught.value.problems


# Defaults


def test_with_nothing_set_it_is_a_read_only_audit() -> None:
    settings = settings_of()
    assert settings == Settings(
        send_slack=False,
        create_jira=False,
        dump_metric_to_console=True,
        disable_key=False,
        expire_age=180,
        expiring_days=15,
        disable_notice_days=7,
        max_disables_per_day=50,
        disable_in_use_hours=0,
        reenable_grace_days=7,
        disable_unowned=True,
        exemptions_file=None,
        exempt_by_tag=False,
        nag_interval_hours=24,
        jira_server_address=None,
        jira_project_key=None,
        jira_issue_type="Task",
        jira_assign_owner=False,
        resolve_jira=True,
        jira_done_status=None,
        jira_resolution=None,
        jira_extra_fields={},
        credstash_aws_profile_name=None,
        credstash_table="credential-store",
        credstash_region=None,
        credstash_keyname_atlassian_api_email=None,
        credstash_keyname_atlassian_api_token=None,
        credstash_keyname_slack_api_token=None,
        aws_dynamodb_profile_name=None,
        aws_dynamodb_region=None,
        dynamodb_table_name="iam-access-key-alert",
        slack_id_mapping_file=MAPPING_FILE,
        owner_slack_tag="slack_id",
        owner_email_tag="email",
        slack_api_base_url=None,
        slack_fallback_channel=None,
        help_contact=None,
        cache_dir=None,
        run_timeout_seconds=100,
        claim_margin_seconds=600,
    )
    assert not settings.warns_owners


def test_the_table_covers_exactly_the_fields_of_settings() -> None:
    fields = [field.name for field in dataclasses.fields(Settings) if field.name != "warnings"]
    assert [setting.name for setting in SETTINGS] == fields


def test_names_are_lower_case_and_meanings_are_one_line() -> None:
    for setting in SETTINGS:
        assert setting.name == setting.name.lower()
        assert setting.meaning
        assert "\n" not in setting.meaning


def test_blank_means_unset() -> None:
    for blank in ["", " ", "\t", " \n "]:
        assert settings_of(**{setting.name: blank for setting in SETTINGS}) == settings_of()


@pytest.mark.parametrize("name", ["slack_id_mapping_file", "exemptions_file", "cache_dir"])
def test_a_path_begins_at_home_or_is_a_whole_one(name: str) -> None:
    """An environment file knows no shell that would put the home directory in."""
    assert getattr(settings_of(**{name: "~/keys/file", "HOME": "/home/ana"}), name) == Path("/home/ana/keys/file")
    assert getattr(settings_of(**{name: "/etc/~/file", "HOME": "/home/ana"}), name) == Path("/etc/~/file")


@pytest.mark.parametrize("name", ["slack_id_mapping_file", "exemptions_file", "cache_dir"])
@pytest.mark.parametrize("path", ["file.toml", "./file", "../file", "~", "~ana/file", "$HOME/file"])
def test_a_relative_path_is_refused(name: str, path: str) -> None:
    """It would be another file under Telegraf, from cron and by hand."""
    with pytest.raises(SettingsError, match=f"^{name}: .* is a relative path; write the whole one, from / or ~/ on$"):
        settings_of(**{name: path})


def test_what_is_none_of_ours_is_not_looked_at() -> None:
    assert settings_of(PATH="/bin", jira="x", AWS_PROFILE="acme-dev") == settings_of()


def test_settings_cannot_be_changed() -> None:
    settings = settings_of(jira_extra_fields='{"priority": {"name": "High"}}')
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.disable_key = True  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.jira_extra_fields["project"] = "X"  # type: ignore[index]


@pytest.mark.parametrize(
    ("switches", "warns_owners"),
    [
        ([], False),
        (["disable_key"], False),
        (["send_slack"], True),
        (["create_jira"], True),
        (["send_slack", "create_jira", "disable_key"], True),
    ],
    ids=lambda value: "+".join(value) or "none" if isinstance(value, list) else "",
)
def test_switches_say_whether_anybody_is_warned(switches: list[str], warns_owners: bool) -> None:
    off = {"send_slack": "False", "create_jira": "False", "disable_key": "False"}
    settings = settings_of(**{**EVERYTHING, **off, **dict.fromkeys(switches, "True")})
    assert settings.warns_owners is warns_owners


# Booleans and numbers


def test_booleans_are_true_or_false_in_any_case() -> None:
    for name in BOOLEANS:
        for text, value in [
            ("true", True),
            ("True", True),
            ("TRUE", True),
            ("tRuE", True),
            (" True\n", True),
            ("false", False),
            ("False", False),
            ("FALSE", False),
            ("fAlSe ", False),
        ]:
            assert getattr(settings_of(**{**EVERYTHING, name: text}), name) is value


def test_nothing_else_is_a_boolean() -> None:
    for name in BOOLEANS:
        for text in ["1", "0", "yes", "no", "on", "off", "t", "None", "True False", "\uff54rue"]:
            assert problems_of(**{**EVERYTHING, name: text}) == (f"{name}: {text!r} is neither True nor False",)


def test_a_samples_placeholder_is_refused_whatever_it_stands_for() -> None:
    for name in EVERYTHING:
        assert f"{name}: still says FILL_IN: put your own value in its place" in problems_of(
            **{**EVERYTHING, name: "https://FILL_IN.example.com"}
        )


RANGES = {
    "expire_age": (0, 3650),
    "expiring_days": (0, 3650),
    "disable_notice_days": (0, 365),
    "max_disables_per_day": (1, 5000),
    "disable_in_use_hours": (0, 8760),
    "reenable_grace_days": (0, 365),
    "nag_interval_hours": (1, 720),
    "run_timeout_seconds": (5, 3600),
    "claim_margin_seconds": (1, 86400),
}


def test_the_ranges_are_those_of_the_contract() -> None:
    assert {setting.name: (setting.lowest, setting.highest) for setting in NUMBERS} == RANGES


def test_a_number_at_either_end_of_its_range_is_taken() -> None:
    for name, ends in RANGES.items():
        for value in ends:
            assert getattr(settings_of(**{name: f" {value} "}), name) == value


def test_a_number_beyond_either_end_of_its_range_is_refused() -> None:
    for name, (lowest, highest) in RANGES.items():
        for value in (lowest - 1, highest + 1):
            complaint = f"{name}: '{value}' is not a whole number from {lowest} to {highest}"
            assert problems_of(**{name: str(value)}) == (complaint,)


def test_nothing_but_digits_is_a_number() -> None:
    for text in [
        "-0",
        "+5",
        "5.0",
        "5e1",
        "1_0",
        "five",
        "0x10",
        "5 6",
        "\u0665\u0660",
        "½",
        "²",
        "nan",
        "5d",
        "99999999999999",
    ]:
        for name in RANGES:
            (problem,) = problems_of(**{name: text})
            assert problem.startswith(f"{name}: ")
            assert "is not a whole number from" in problem


def test_no_number_of_zeros_carries_a_number_beyond_its_range() -> None:
    for text in ["0000000000099999", "0" * 10 + "9" * 20, "9" * 5000, "0" * 10 + "9" * 5000]:
        for name in RANGES:
            (problem,) = problems_of(**{name: text})
            assert "is not a whole number from" in problem


def test_a_few_leading_zeros_change_no_number() -> None:
    for name, ends in RANGES.items():
        for value in ends:
            assert getattr(settings_of(**{name: str(value).zfill(6)}), name) == value


# Texts

FILES = ("exemptions_file", "slack_id_mapping_file")


def test_a_text_is_taken_as_it_is_without_the_blanks_around_it() -> None:
    for name in [
        setting.name for setting in SETTINGS if setting.kind in ("line", "name") and setting.name not in FILES
    ]:
        assert getattr(settings_of(**{name: "  a 'text', with = and é\n"}), name) == "a 'text', with = and é"


def test_the_mapping_file_is_beside_the_entry_unless_named() -> None:
    assert settings_of().slack_id_mapping_file == MAPPING_FILE
    assert settings_of(slack_id_mapping_file="/etc/owners.py").slack_id_mapping_file == Path("/etc/owners.py")


@pytest.mark.parametrize("name", [*FILES, "cache_dir"])
@pytest.mark.parametrize("path", ["/etc/a\nE! forged", "/etc/\x1b[31mred", "~/\u2028x"])
def test_a_path_that_cannot_be_printed_is_none(name: str, path: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_of(**{name: path})
    assert caught.value.problems == (
        f"{name}: the path holds a line break, or another character that cannot be printed",
    )


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({}, None),
        ({"HOME": "/home/ann"}, "/home/ann/.cache/keycheck"),
        ({"HOME": "/home/ann", "XDG_CACHE_HOME": "/var/cache"}, "/var/cache/keycheck"),
        ({"HOME": "/home/ann", "XDG_CACHE_HOME": "cache"}, "/home/ann/.cache/keycheck"),
        ({"HOME": "/home/ann", "XDG_CACHE_HOME": ""}, "/home/ann/.cache/keycheck"),
        ({"HOME": "/home/a\nnn"}, None),
        ({"HOME": ""}, None),
        ({"HOME": "/home/ann", "cache_dir": "/srv/cache"}, "/srv/cache"),
        ({"HOME": "/home/ann", "cache_dir": "~/cache"}, "/home/ann/cache"),
        ({"HOME": "/home/ann", "cache_dir": " "}, "/home/ann/.cache/keycheck"),
    ],
)
def test_where_listings_are_kept(environ: dict[str, str], folder: str | None) -> None:
    assert settings_of(**environ).cache_dir == (None if folder is None else Path(folder))


def test_there_is_no_exemptions_file_unless_named() -> None:
    assert settings_of().exemptions_file is None
    assert settings_of(exemptions_file=" /etc/exempt ions.toml\n").exemptions_file == Path("/etc/exempt ions.toml")


@pytest.mark.parametrize("name", ["abc", "a" * 255, "iam-access_key.alert", "A.9"])
def test_a_table_name_by_dynamodbs_rule_is_taken(name: str) -> None:
    assert settings_of(dynamodb_table_name=name).dynamodb_table_name == name


@pytest.mark.parametrize("name", ["ab", "a" * 256, "a b", "tablé", "a/b", "a:b", "abc\ndef"], ids=ascii)
def test_any_other_table_name_is_refused(name: str) -> None:
    (problem,) = problems_of(dynamodb_table_name=name)
    assert problem == "dynamodb_table_name: not a table name: 3 to 255 letters, digits, _ - and ."


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        "https://example.atlassian.net",
        "https://jira.example.com:8443/jira/",
        "HTTPS://EXAMPLE.COM",
        "https://10.0.0.1/",
        "https://[2001:db8::1]:443",
        "http://localhost",
        "http://LOCALHOST:8080/api/",
        "http://127.0.0.1:8080",
        "http://127.255.255.254",
        "http://[::1]",
        "http://[::1]:8080/x",
    ],
)
def test_https_anywhere_and_http_on_loopback_are_taken(url: str) -> None:
    for name in URLS:
        assert getattr(settings_of(**{name: url}), name) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "http://10.0.0.1",
        "http://126.255.255.255",
        "http://128.0.0.1",
        "http://0.0.0.0",
        "http://[::2]:8080",
        "http://[::]",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://notlocalhost",
        "http://2130706433",
    ],
)
def test_http_elsewhere_is_refused_and_not_repeated(url: str) -> None:
    for name in URLS:
        assert problems_of(**{name: url}) == (
            f"{name}: must be https://, since a token is sent there; http is for loopback only",
        )


@pytest.mark.parametrize(
    "url",
    [
        "example.com",
        "//example.com",
        "https://",
        "https:///x",
        "ftp://example.com",
        "file:///etc/passwd",
        "https:/x",
        "https://[::1",
        "https://host:port",
        "https://host:99999",
        "https://a b",
        "javascript:alert(1)",
        "https:\n//x",
    ],
    ids=ascii,
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    for name in URLS:
        assert problems_of(**{name: url}) == (
            f"{name}: not a web address; write it like https://example.atlassian.net",
        )


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2hunter2@example.com",
        "https://hunter2hunter2@example.com",
        "https://:hunter2hunter2@example.com",
        "http://hunter2hunter2:@localhost",
        "http://hunter2hunter2@127.0.0.1@example.com",
        "https://@example.com/hunter2hunter2",
        "http://localhost\\@hunter2hunter2.example.com",
    ],
)
def test_credentials_in_an_address_are_refused_and_not_repeated(url: str) -> None:
    for name in URLS:
        (problem,) = problems_of(**{name: url})
        assert problem == f"{name}: credentials in a web address end up in logs; put them into credstash"


@pytest.mark.parametrize("url", ["https://example.com/?a=b", "https://example.com/#a", "https://example.com?token=x"])
def test_an_address_has_no_query_and_no_fragment(url: str) -> None:
    assert problems_of(jira_server_address=url) == ("jira_server_address: leave out everything from ? or # on",)


# Extra fields


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("{}", {}),
        ('{"priority": {"name": "High"}}', {"priority": {"name": "High"}}),
        ('{"customfield_1": [1, 2.5, null, true, "é"]}', {"customfield_1": [1, 2.5, None, True, "é"]}),
        ('{"labels": ["security"]}', {"labels": ["security"]}),
        ('{"labels": []}', {"labels": []}),
    ],
)
def test_extra_fields_are_a_json_object(text: str, fields: dict[str, Any]) -> None:
    assert settings_of(jira_extra_fields=text).jira_extra_fields == fields


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", 'not valid JSON (at character 2); write it like {"priority": {"name": "High"}}'),
        ("{'a': 1}", 'not valid JSON (at character 2); write it like {"priority": {"name": "High"}}'),
        ('{"a": 1} x', 'not valid JSON (at character 10); write it like {"priority": {"name": "High"}}'),
        ("[]", 'not a JSON object; write it like {"priority": {"name": "High"}}'),
        ("7", 'not a JSON object; write it like {"priority": {"name": "High"}}'),
        ("null", 'not a JSON object; write it like {"priority": {"name": "High"}}'),
        ('{"project": {"key": "X"}}', "'project' is filled in by keycheck; leave it out"),
        ('{"issuetype": {"name": "X"}}', "'issuetype' is filled in by keycheck; leave it out"),
        ('{"summary": "x"}', "'summary' is filled in by keycheck; leave it out"),
        ('{"description": "x"}', "'description' is filled in by keycheck; leave it out"),
        ('{"labels": "x"}', "'labels' must be a list of strings; keycheck adds its own to them"),
        ('{"labels": [1]}', "'labels' must be a list of strings; keycheck adds its own to them"),
        ('{"labels": null}', "'labels' must be a list of strings; keycheck adds its own to them"),
    ],
)
def test_wrong_extra_fields_are_said_to_be_wrong_where(text: str, complaint: str) -> None:
    assert problems_of(jira_extra_fields=text) == (f"jira_extra_fields: {complaint}",)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"a": NaN}', id="NaN"),
        pytest.param('{"a": [Infinity]}', id="Infinity"),
        pytest.param('{"a": -Infinity}', id="-Infinity"),
        pytest.param('{"a": 1' + "0" * 5000 + "}", id="a number of 5000 digits"),
        pytest.param("[" * 100_000, id="brackets without end"),
        pytest.param('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", id="very deep"),
    ],
)
def test_what_only_python_takes_for_json_is_not_valid(text: str) -> None:
    """Jira would refuse it in each run, long after the settings were found good."""
    (problem,) = problems_of(jira_extra_fields=text)
    assert problem.startswith("jira_extra_fields: not valid JSON")


# What is missing, and everything at once

NEEDS = {
    "send_slack": {"credstash_aws_profile_name", "credstash_keyname_slack_api_token", "aws_dynamodb_profile_name"},
    "create_jira": {
        "jira_server_address",
        "jira_project_key",
        "credstash_aws_profile_name",
        "credstash_keyname_atlassian_api_token",
        "aws_dynamodb_profile_name",
    },
    "disable_key": {"aws_dynamodb_profile_name"},
}


@pytest.mark.parametrize("switch", NEEDS)
def test_a_switch_names_all_that_it_lacks(switch: str) -> None:
    problems = problems_of(**{switch: "True"})
    assert {problem.split(":")[0] for problem in problems} == NEEDS[switch]
    for problem in problems:
        assert f": not set, but {switch} is True; set it to the " in problem


def test_a_switch_asks_for_no_more_than_it_needs() -> None:
    for switch, needs in NEEDS.items():
        settings = settings_of(**{switch: "True"}, **{name: EVERYTHING[name] for name in needs})
        assert getattr(settings, switch) is True


def test_each_missing_setting_is_named_alone() -> None:
    for switch, needs in NEEDS.items():
        for missing in needs:
            environ = {switch: "True", **{name: EVERYTHING[name] for name in needs - {missing}}}
            (problem,) = problems_of(**environ)
            assert problem.startswith(f"{missing}: not set, but {switch} is True")


def test_a_setting_that_several_switches_lack_is_named_once_with_all_of_them() -> None:
    problems = problems_of(send_slack="True", create_jira="True", disable_key="True")
    assert [problem.split(":")[0] for problem in problems] == [
        "jira_server_address",
        "jira_project_key",
        "credstash_aws_profile_name",
        "credstash_keyname_atlassian_api_token",
        "credstash_keyname_slack_api_token",
        "aws_dynamodb_profile_name",
    ]
    assert problems[2].startswith(
        "credstash_aws_profile_name: not set, but send_slack and create_jira are True; set it to the AWS profile"
    )
    assert "send_slack and create_jira and disable_key are True" in problems[-1]


def test_without_the_email_the_token_is_sent_as_bearer() -> None:
    settings = settings_of(**{**EVERYTHING, "credstash_keyname_atlassian_api_email": ""})
    assert settings.credstash_keyname_atlassian_api_email is None


def test_all_problems_are_said_at_once_in_the_tables_order() -> None:
    problems = problems_of(
        claim_margin_seconds="0",
        slack_api_base_url="http://example.com",
        dynamodb_table_name="x",
        jira_extra_fields="[",
        nag_interval_hours="0",
        max_disables_per_day="0",
        exempt_by_tag="1",
        resolve_jira="no",
        expire_age="old",
        send_slack="maybe",
        disable_key="True",
    )
    assert [problem.split(":")[0] for problem in problems] == [
        "send_slack",
        "expire_age",
        "max_disables_per_day",
        "exempt_by_tag",
        "nag_interval_hours",
        "resolve_jira",
        "jira_extra_fields",
        "dynamodb_table_name",
        "slack_api_base_url",
        "claim_margin_seconds",
        "aws_dynamodb_profile_name",
    ]


def test_what_is_wrong_is_not_also_missing() -> None:
    problems = problems_of(**{**EVERYTHING, "jira_server_address": "example"})
    assert problems == ("jira_server_address: not a web address; write it like https://example.atlassian.net",)


def test_a_long_value_is_never_repeated() -> None:
    """It may be a secret in the wrong place."""
    for name in [setting.name for setting in SETTINGS if setting.kind in ("boolean", "number", "table", "url", "json")]:
        problems = problems_of(**{**EVERYTHING, name: f"{LONG_SECRET} {LONG_SECRET}"})
        assert not any(LONG_SECRET in problem for problem in problems)


def test_whom_to_ask_is_one_line() -> None:
    assert (
        settings_of(help_contact=" #cloud-security, or call 555-0100 ").help_contact
        == "#cloud-security, or call 555-0100"
    )
    for wrong in ("two\nlines", "x" * 201, "\x07"):
        assert problems_of(help_contact=wrong) == ("help_contact: not one line of at most 200 printable characters",)


# Warnings


@pytest.mark.parametrize(
    ("expire_age", "disable_key", "warns"),
    [("29", "True", True), ("30", "True", False), ("0", "True", True), ("29", "False", False), ("180", "True", False)],
)
def test_an_age_that_cuts_everybody_off_is_warned_of(expire_age: str, disable_key: str, warns: bool) -> None:
    settings = settings_of(**{**ALL_OF_SLACK, "expire_age": expire_age, "disable_key": disable_key})
    expected = (
        f"expire_age={expire_age} with disable_key=True: every access key that is {expire_age} or more days old is "
        "disabled; to use AWS at all, users must rotate that often"
    )
    assert settings.warnings == ((expected,) if warns else ())


@pytest.mark.parametrize("channel", ["send_slack", "create_jira", None])
def test_disabling_without_telling_anybody_is_warned_of(channel: str | None) -> None:
    on = {**EVERYTHING, "send_slack": "False", "create_jira": "False", **({} if channel is None else {channel: "True"})}
    said = "disable_key=True with send_slack and create_jira off: nobody is told before an access key is disabled"
    assert settings_of(**on).warnings == ((said,) if channel is None else ())


ALL_OF_SLACK = {**EVERYTHING, "create_jira": "False"}
MISSPELT = {
    "SEND_SLACK": "send_slack",
    "Send_Slack": "send_slack",
    "DISABLE_KEY": "disable_key",
    "Expire_age": "expire_age",
    "send_slak": "send_slack",
    "disable_keys": "disable_key",
    "creat_jira": "create_jira",
    "KEYCHECK_SEND_SLACK": "send_slack",
    "keycheck_expire_age": "expire_age",
    "disable_notice_day": "disable_notice_days",
    "notice_days": "disable_notice_days",
    "NOTICE_DAYS": "disable_notice_days",
    "max_disables": "max_disables_per_day",
    "max_disable_day": "max_disables_per_day",
    "exempt_file": "exemptions_file",
    "EXEMPTION_FILE": "exemptions_file",
    "fallback_channel": "slack_fallback_channel",
    "reenable_days": "reenable_grace_days",
    "nag_interval": "nag_interval_hours",
    "disable_in_use": "disable_in_use_hours",
}


@pytest.mark.parametrize(("name", "meant"), MISSPELT.items(), ids=MISSPELT.keys())
def test_a_name_that_is_nearly_a_settings_ends_the_run_once_anything_is_on(name: str, meant: str) -> None:
    """What somebody meant to hold back with is not in force; an audit does no harm, and says so."""
    said = f"{name} is set but is not read: the setting's name is {meant}"
    assert settings_of(**{name: "1"}).warnings == (said,)
    on = {key: value for key, value in EVERYTHING.items() if key != meant}
    if not {"send_slack", "create_jira", "disable_key"} & {meant}:
        assert f"{meant}: {said}" in problems_of(**on, **{name: "1"})
    assert settings_of(**EVERYTHING, **{name: " "}).warnings == (), "blank means unset"


@pytest.mark.parametrize("name", ["NOTICE_DAYS", "notice_days"])
def test_a_name_beside_the_right_one_is_left_alone(name: str) -> None:
    assert settings_of(**EVERYTHING, **{name: "1"}).warnings == ()


OTHERS = (
    "PATH HOME JIRA_URL SLACK_TOKEN AWS_REGION keys expire notice file "
    "DISABLE_TELEMETRY jira_project CREDSTASH_DEFAULT_TABLE SESSION_EXPIRE FALLBACK_IMAGE SLACK_CHANNEL max_days"
)


@pytest.mark.parametrize("name", OTHERS.split())
def test_a_name_of_something_else_is_not(name: str) -> None:
    assert settings_of(**{name: "True"}).warnings == ()


SECRETS = {
    "xoxb-123-secret": "a Slack token",
    "xoxe.xoxb-1-Mi0yLTEyMzQ1Njc4OTAt": "a Slack token",
    "xapp-1-A012-345-abcdef": "a Slack token",
    "https://hooks.slack.com/services/T012AB3CD/B012AB3CD/abcdefghijklmnop": "a Slack webhook's address",
    "ATATT3xFfGF0secret": "an Atlassian token",
    "ATSTT3xFfGF0secret": "an Atlassian token",
    "ATCTT3xFfGF0secret": "an Atlassian token",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl": "a JSON Web Token",
    "AKIAIOSFODNN7EXAMPLE": "an AWS access key",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY": "a secret",
    "NjM4NTk2NzI0MTM4OgEBAgMEBQYHCAkKCwwNDg8QERIT": "a secret",
    "-----BEGIN RSA PRIVATE KEY-----": "a private key",
    "ghp_0123456789abcdefghij": "a GitHub or GitLab token",
}


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_in_place_of_anything_is_refused_by_its_kind_and_not_repeated(text: str) -> None:
    """Every setting that holds text, whatever text it is."""
    for setting in SETTINGS:
        if setting.kind in ("boolean", "number"):
            continue
        (problem,) = problems_of(**{setting.name: text})
        assert problem.startswith(f"{setting.name}: this looks like {SECRETS[text]} itself; put it into credstash")
        assert text[:6] not in problem.removeprefix(setting.name)


@pytest.mark.parametrize(
    "text",
    [
        "AdministratorAccess-123456789012",
        "AWSReadOnlyAccess-123456789012-acme-production-eu-central-1",
        "acme/prod/keycheck/slack-bot-token",
        "slack.token",
        "xoxo",
        "eyJ.x",
        "0123456789abcdef0123456789abcdef0123456789abcdef",
    ],
)
def test_a_name_is_no_secret_because_it_is_long(text: str) -> None:
    assert settings_of(aws_dynamodb_profile_name=text).aws_dynamodb_profile_name == text
    assert settings_of(credstash_keyname_slack_api_token=text).credstash_keyname_slack_api_token == text


def test_what_cannot_be_a_name_is_refused() -> None:
    for setting in SETTINGS:
        if setting.kind == "name":
            for text in ("a\x00b", "x" * 201):
                complaint = f"{setting.name}: longer than 200 characters, or not printable"
                assert problems_of(**{setting.name: text}) == (complaint,)


@pytest.mark.parametrize("text", ["#security", "security", "c012ab3cd", "general chat", "@ana"])
def test_a_fallback_channel_is_a_slack_id_as_in_the_mapping_file(text: str) -> None:
    assert problems_of(slack_fallback_channel=text) == (
        f"slack_fallback_channel: {text!r} is no Slack id of a channel; {WHERE_IDS_ARE}",
    )


@pytest.mark.parametrize(
    ("name", "texts", "complaint"),
    [
        ("owner_slack_tag", ["slack#id", "x" * 129, "a\nb", "[id]"], "not a tag's key: 1 to 128 letters"),
        ("owner_email_tag", ["e-mail!", "<email>"], "not a tag's key: 1 to 128 letters"),
        ("credstash_region", ["EU-CENTRAL-1", "eu central 1", "eu_central_1"], "not a region's name; write it like"),
        ("aws_dynamodb_region", ["us-east-1,", "us.east"], "not a region's name; write it like"),
        ("jira_project_key", ["SEC OPS", "1SEC", "SEC-12"], "not a project's key: letters, digits and _"),
        ("jira_issue_type", ["Task\nBug", "x" * 201], "not one line of at most 200 printable characters"),
    ],
)
def test_a_text_is_held_to_what_it_can_be(name: str, texts: list[str], complaint: str) -> None:
    for text in texts:
        (problem,) = problems_of(**{name: text})
        assert problem.startswith(f"{name}: {complaint}")


def test_a_tags_key_has_iams_alphabet() -> None:
    for text in ["Slack ID", "acme:owner/slack", "e-mail_address+1=@.", "propri\u00e9taire"]:
        assert settings_of(owner_slack_tag=text).owner_slack_tag == text


# What an environment file leaves in a value: systemd/systemd 12527


COMMENTED = "a comment stands behind the value, and is part of it here; put comments on lines of their own"
QUOTED = "the value stands in quotes, which are part of it here; leave them out"
SAMPLE_VALUES = {
    "boolean": "True",
    "number": "90",
    "path": "/etc/keycheck/owners.py",
    "line": "Security Task",
    "slack": "C012AB3CD",
    "name": "acme-tools",
    "tag": "slack_id",
    "region": "eu-central-1",
    "project": "SEC",
    "table": "iam-access-key-alert",
    "url": "https://acme.atlassian.net",
    "json": '{"priority": {"name": "High # 1"}}',
}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_comment_behind_a_value_or_quotes_around_it_are_recognised_in_any_setting(setting: Setting) -> None:
    value = SAMPLE_VALUES[setting.kind]
    assert settings_of(**{**EVERYTHING, setting.name: value})
    for text in (f"{value}  # what it means", f'"{value}"  # what it means', f"{value}\t# 1-5"):
        assert problems_of(**{setting.name: text}) == (f"{setting.name}: {COMMENTED}",)
    for text in (f'"{value}"', f"'{value}'"):
        assert problems_of(**{setting.name: text}) == (f"{setting.name}: {QUOTED}",)


def test_an_environment_file_in_another_dialect_is_one_line_and_not_one_a_setting() -> None:
    quoted = {name: f'"{value}"' for name, value in EVERYTHING.items()}
    (problem,) = problems_of(**quoted)
    first, _, others = problem.partition(f": {QUOTED} (and so in ")
    assert {first, *others.removesuffix(")").split(", ")} == set(EVERYTHING)
    (problem,) = problems_of(send_slack="True # nag", expire_age="90 # days")
    assert problem == f"send_slack: {COMMENTED} (and so in expire_age)"


def test_a_number_sign_that_is_part_of_a_text_is_no_comment() -> None:
    assert settings_of(help_contact="#aws-security on Slack").help_contact == "#aws-security on Slack"
    assert settings_of(help_contact="ask in #aws-security").help_contact == "ask in #aws-security"
    assert settings_of(jira_issue_type="C#").jira_issue_type == "C#"
    fields = '{"customfield_1": "a # b", "labels": ["x #1"]}'
    assert settings_of(jira_extra_fields=fields).jira_extra_fields["customfield_1"] == "a # b"


# The credstash store's table: fugue/credstash 154


def test_the_store_is_the_settings_or_credstashs_own_variables_or_credential_store() -> None:
    assert settings_of().credstash_table == "credential-store"
    assert settings_of(CREDSTASH_DEFAULT_TABLE=" team-secrets ").credstash_table == "team-secrets"
    assert settings_of(CREDSTASH_DEFAULT_TABLE="x-y-z", credstash_table="ours").credstash_table == "ours"
    (problem,) = problems_of(CREDSTASH_DEFAULT_TABLE="a b")
    assert problem.startswith("credstash_table: not a table name")


def test_names_that_only_begin_like_a_token_are_taken() -> None:
    assert settings_of(jira_project_key="ASIA").jira_project_key == "ASIA"
    name = "jira api token"
    assert settings_of(credstash_keyname_atlassian_api_token=name).credstash_keyname_atlassian_api_token == name


def test_a_name_in_both_cases_is_no_cause_for_a_warning() -> None:
    assert settings_of(EXPIRE_AGE="5", expire_age="100").warnings == ()


def test_usual_settings_give_no_warning() -> None:
    assert settings_of(**EVERYTHING).warnings == ()


# Whatever is typed

TYPED = (
    st.text(max_size=30)
    | st.sampled_from(["True", "false", "0", "180", "[", "{}", '{"a": [', "http://", "https://x", "http://[", "\x00"])
    | st.text(string.digits, max_size=30)
    | st.text("htps:/@[]#?%.127 \\", max_size=30).map("http://{}".format)
)


def parsed(environ: dict[str, str]) -> Settings | SettingsError:
    try:
        return parse(environ, MAPPING_FILE)
    except SettingsError as error:
        return error


@given(st.dictionaries(st.sampled_from([setting.name for setting in SETTINGS]), TYPED))
@REPEATABLE
def test_whatever_is_typed_gives_settings_or_a_settings_error(environ: dict[str, str]) -> None:
    match parsed(environ):
        case SettingsError(problems=problems):
            names = {setting.name for setting in SETTINGS}
            assert problems
            assert all(problem.split(":")[0] in names for problem in problems)
        case Settings() as settings:
            for name, (lowest, highest) in RANGES.items():
                assert lowest <= getattr(settings, name) <= highest
            for name in URLS:
                url = getattr(settings, name)
                assert url is None or url.lower().startswith(("https://", "http://"))


@given(st.text(min_size=13), st.sampled_from([*BOOLEANS, *RANGES]))
@REPEATABLE
def test_no_long_text_is_repeated_whatever_it_is(text: str, name: str) -> None:
    result = parsed({name: text})
    if isinstance(result, SettingsError) and len(text.strip()) > 12:
        assert text.strip() not in str(result)
