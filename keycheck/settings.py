"""Environment variables -> one frozen Settings. The only module that reads a setting.

In: a mapping of environment variables (cli.py hands over the process's). Out: Settings, or SettingsError with every
problem at once. It never calls a service, and never repeats a value that could be a secret.
The table is design.md's 2, "Settings".
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

Kind = Literal["boolean", "number", "text", "word", "secret", "table", "url", "json"]

ISSUE_FIELDS_OF_OUR_OWN = ("project", "issuetype", "summary", "description")
YOUNGEST_SENSIBLE_EXPIRE_AGE = 30
URL_CHARACTERS = 200
PLACEHOLDER = "FILL_IN"
"""What the samples have where a value of the user's own belongs."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable: its default as a person would write it (None: unset), its range, its meaning."""

    name: str
    kind: Kind
    default: str | None
    meaning: str
    lowest: int = 0
    highest: int = 0


SETTINGS: tuple[Setting, ...] = (
    Setting("send_slack", "boolean", "False", "nag owners on Slack"),
    Setting("create_jira", "boolean", "False", "file Jira issues"),
    Setting("dump_metric_to_console", "boolean", "True", "print the metrics to stdout"),
    Setting("disable_key", "boolean", "False", "disable expired keys"),
    Setting("expire_age", "number", "180", "days; a key this old or older is expired", 0, 3650),
    Setting("expiring_days", "number", "15", "days before expire_age in which a key is expiring", 0, 3650),
    Setting(
        "disable_notice_days",
        "number",
        "0",
        "days between the first delivered warning and disabling; 0 disables at once after it",
        0,
        365,
    ),
    Setting(
        "max_disables_per_day",
        "number",
        "50",
        "access keys of one account disabled in any 24 hours, oldest first",
        1,
        5000,
    ),
    Setting(
        "disable_in_use_hours",
        "number",
        "0",
        "hours; an access key used within them is not disabled but escalated; 0 disables it all the same",
        0,
        8760,
    ),
    Setting(
        "reenable_grace_days",
        "number",
        "7",
        "days that an access key re-enabled by a person is left alone",
        0,
        365,
    ),
    Setting("exemptions_file", "text", None, "TOML file of dated exemptions: see the README"),
    Setting("exempt_by_tag", "boolean", "False", "take exemptions from the IAM tags keycheck:exempt-... too"),
    Setting(
        "nag_interval_hours",
        "number",
        "24",
        "hours; least time between two messages to one owner about one account",
        1,
        720,
    ),
    Setting("jira_server_address", "url", None, "https address of Jira; needed when create_jira"),
    Setting("jira_project_key", "word", None, "key of the Jira project; needed when create_jira"),
    Setting("jira_issue_type", "text", "Task", "name of the issue type to file"),
    Setting("jira_assign_owner", "boolean", "False", "assign the issue to the owner, by the owner's e-mail"),
    Setting("resolve_jira", "boolean", "True", "close an issue of ours once its access key is inactive or gone"),
    Setting("jira_extra_fields", "json", None, "a JSON object merged into a new issue's fields"),
    Setting(
        "credstash_aws_profile_name",
        "text",
        None,
        "AWS profile of the credstash store; needed when send_slack or create_jira",
    ),
    Setting("credstash_region", "word", None, "region of the credstash store; by default that profile's"),
    Setting(
        "credstash_keyname_atlassian_api_email",
        "secret",
        None,
        "name in credstash of the Jira user's e-mail; without it the token is sent as Bearer (Jira Data Center)",
    ),
    Setting(
        "credstash_keyname_atlassian_api_token",
        "secret",
        None,
        "name in credstash of the Jira API token; needed when create_jira",
    ),
    Setting(
        "credstash_keyname_slack_api_token",
        "secret",
        None,
        "name in credstash of the Slack bot token; needed when send_slack",
    ),
    Setting(
        "aws_dynamodb_profile_name",
        "text",
        None,
        "AWS profile of the state table; needed when send_slack, create_jira or disable_key",
    ),
    Setting("aws_dynamodb_region", "word", None, "region of the state table; by default that profile's"),
    Setting("dynamodb_table_name", "table", "iam-access-key-alert", "the state table, made on first need"),
    Setting(
        "slack_id_mapping_file",
        "text",
        "slack_ID_mapping.py beside the entry",
        'Python file holding mapping = {"IAM user": "Slack id"}; read as data, never executed',
    ),
    Setting("owner_slack_tag", "text", "slack_id", "IAM tag of a user that holds its owner's Slack id"),
    Setting("owner_email_tag", "text", "email", "IAM tag of a user that holds its owner's e-mail, looked up on Slack"),
    Setting("slack_api_base_url", "url", None, "another Slack (GovSlack, a test server); by default the SDK's"),
    Setting("slack_fallback_channel", "word", None, "told, in one digest, about keys whose owner is in no mapping"),
    Setting(
        "run_timeout_seconds", "number", "100", "seconds; the run's own deadline, below Telegraf's timeout", 5, 3600
    ),
    Setting("claim_margin_seconds", "number", "600", "seconds that a claim outlives its run's deadline", 1, 86400),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, checked. Field names are the environment variables' names; None is unset."""

    send_slack: bool
    create_jira: bool
    dump_metric_to_console: bool
    disable_key: bool
    expire_age: int
    expiring_days: int
    disable_notice_days: int
    max_disables_per_day: int
    disable_in_use_hours: int
    reenable_grace_days: int
    exemptions_file: Path | None
    exempt_by_tag: bool
    nag_interval_hours: int
    jira_server_address: str | None
    jira_project_key: str | None
    jira_issue_type: str
    jira_assign_owner: bool
    resolve_jira: bool
    jira_extra_fields: Mapping[str, Any]
    credstash_aws_profile_name: str | None
    credstash_region: str | None
    credstash_keyname_atlassian_api_email: str | None
    credstash_keyname_atlassian_api_token: str | None
    credstash_keyname_slack_api_token: str | None
    aws_dynamodb_profile_name: str | None
    aws_dynamodb_region: str | None
    dynamodb_table_name: str
    slack_id_mapping_file: Path
    owner_slack_tag: str
    owner_email_tag: str
    slack_api_base_url: str | None
    slack_fallback_channel: str | None
    run_timeout_seconds: int
    claim_margin_seconds: int
    warnings: tuple[str, ...] = ()

    @property
    def warns_owners(self) -> bool:
        """Whether owners are warned at all: with both off, disable_key alone disables."""
        return self.send_slack or self.create_jira

    @property
    def acts(self) -> bool:
        """Whether anything is done beside measuring."""
        return self.warns_owners or self.disable_key


class SettingsError(Exception):
    """Settings that can't be used. `problems` lists all of them, one sentence each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def parse(environ: Mapping[str, str], default_mapping_file: Path) -> Settings:
    """Check every setting in `environ`; blank means unset. Raises SettingsError with all problems in table order."""
    problems: list[str] = []
    wrong: set[str] = set()
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        text = environ.get(setting.name, "").strip()
        try:
            values[setting.name] = _value(setting, text)
        except ValueError as error:
            problems.append(f"{setting.name}: {error}")
            wrong.add(setting.name)
            values[setting.name] = _value(setting, "")
    given = environ.get("slack_id_mapping_file", "").strip()
    values["slack_id_mapping_file"] = Path(given) if given else default_mapping_file
    values["exemptions_file"] = Path(values["exemptions_file"]) if values["exemptions_file"] else None
    problems += _missing(values, wrong)
    if problems:
        raise SettingsError(tuple(problems))
    return Settings(**values, warnings=tuple(_warnings(values, environ)))


def _value(setting: Setting, text: str) -> Any:
    """The typed value of one setting; its default where `text` is empty. Raises ValueError with what to do."""
    if PLACEHOLDER in text:
        raise ValueError(f"still says {PLACEHOLDER}: put your own value in its place")
    match setting.kind:
        case "boolean":
            return _boolean(text or setting.default or "")
        case "number":
            return _number(text or setting.default or "", setting.lowest, setting.highest)
        case "json":
            return MappingProxyType(_issue_fields(text)) if text else MappingProxyType({})
        case "url":
            return _url(text) if text else None
        case "table":
            return _table_name(text or setting.default or "")
        case "word":
            return _word(text) if text else setting.default
        case "secret":
            return _secret_name(text) if text else setting.default
        case "text":
            return text or setting.default


def _shown(text: str) -> str:
    """A wrong value as a message may repeat it. A long one could be a secret pasted in the wrong place: its length."""
    return repr(text) if len(text) <= 12 else f"the value given ({len(text)} characters)"


def _boolean(text: str) -> bool:
    match text.lower():
        case "true":
            return True
        case "false":
            return False
        case _:
            raise ValueError(f"{_shown(text)} is neither True nor False")


def _number(text: str, lowest: int, highest: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and lowest <= int(text) <= highest):
        raise ValueError(f"{_shown(text)} is not a whole number from {lowest} to {highest}")
    return int(text)


def _word(text: str) -> str:
    if any(c.isspace() for c in text):
        raise ValueError("not one word of at most 200 characters")
    return _secret_name(text)


def _secret_name(text: str) -> str:
    """Printable, and no token itself: one pasted where its name belongs would end up in messages and logs."""
    if re.match(r"xox[a-z]-|xapp-|ATATT[A-Za-z0-9]{10}|(AKIA|ASIA)[A-Z0-9]{12}", text):
        raise ValueError("this looks like a token or an access key itself; put it into credstash, and its name here")
    if len(text) > 200 or not text.isprintable():
        raise ValueError("longer than 200 characters, or not printable")
    return text


def _table_name(text: str) -> str:
    """DynamoDB's rule: Developer Guide, "Supported data types and naming rules"."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", text):
        raise ValueError("not a table name: 3 to 255 letters, digits, _ - and .")
    return text


def _url(text: str) -> str:
    """An https address, or any http one on loopback, where nothing can listen in on the token.

    Nothing of a wrong one is repeated, since it may hold a password. Messages link to issues below it, so it is short
    and free of what Slack's and Jira's links are made of.
    """
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("not a web address; write it like https://example.atlassian.net") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials in a web address end up in logs; put them into credstash")
    is_plain = re.fullmatch(r"[\w.~:/%@\[\]?#&=+-]+", text, re.ASCII) is not None
    if parts.scheme not in ("http", "https") or not host or not is_plain:
        raise ValueError("not a web address; write it like https://example.atlassian.net")
    if parts.query or parts.fragment:
        raise ValueError("leave out everything from ? or # on")
    if parts.scheme != "https" and not _is_loopback(host):
        raise ValueError("must be https://, since a token is sent there; http is for loopback only")
    if len(text) > URL_CHARACTERS:
        raise ValueError(f"longer than {URL_CHARACTERS} characters")
    return text


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _no_constant(name: str) -> None:
    """Python's json takes NaN and Infinity; JSON and Jira do not."""
    raise ValueError(name)


def _issue_fields(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        where = f" (at character {error.pos + 1})" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f'not valid JSON{where}; write it like {{"priority": {{"name": "High"}}}}') from None
    if not isinstance(fields, dict):
        raise ValueError(  # noqa: TRY004 - it is a value that a person typed
            'not a JSON object; write it like {"priority": {"name": "High"}}'
        )
    try:
        json.dumps(fields, allow_nan=False)
    except ValueError:
        raise ValueError("it holds a number too large to be sent") from None
    for name in ISSUE_FIELDS_OF_OUR_OWN:
        if name in fields:
            raise ValueError(f"{name!r} is filled in by keycheck; leave it out")
    labels = fields.get("labels", [])
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError("'labels' must be a list of strings; keycheck adds its own to them")
    return fields


def _missing(values: Mapping[str, Any], wrong: Collection[str]) -> list[str]:
    """What a switched-on feature lacks, one sentence each; what is there but wrong was said already."""
    needs: list[tuple[str, tuple[str, ...]]] = [
        ("jira_server_address", ("create_jira",)),
        ("jira_project_key", ("create_jira",)),
        ("credstash_aws_profile_name", ("send_slack", "create_jira")),
        ("credstash_keyname_atlassian_api_token", ("create_jira",)),
        ("credstash_keyname_slack_api_token", ("send_slack",)),
        ("aws_dynamodb_profile_name", ("send_slack", "create_jira", "disable_key")),
    ]
    meanings = {setting.name: setting.meaning.split(";")[0] for setting in SETTINGS}
    problems = []
    for name, switches in needs:
        on = [switch for switch in switches if values[switch]]
        if on and values[name] is None and name not in wrong:
            verb = "are" if len(on) > 1 else "is"
            problems.append(f"{name}: not set, but {' and '.join(on)} {verb} True; set it to the {meanings[name]}")
    return problems


def _warnings(values: Mapping[str, Any], environ: Mapping[str, str]) -> list[str]:
    warnings = []
    if values["disable_key"] and values["expire_age"] < YOUNGEST_SENSIBLE_EXPIRE_AGE:
        warnings.append(
            f"expire_age={values['expire_age']} with disable_key=True: every access key that is "
            f"{values['expire_age']} or more days old is disabled; to use AWS at all, users must rotate that often"
        )
    names = [setting.name for setting in SETTINGS]
    for name in sorted(set(environ) - set(names)):
        near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.93)
        if near and not environ.get(near[0], "").strip():
            warnings.append(f"{name} is set but is not read: the setting's name is {near[0]}")
    return warnings
