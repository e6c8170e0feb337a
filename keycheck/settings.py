"""Environment variables -> one frozen Settings. The only module that reads a setting.

In: a mapping of environment variables (cli.py hands over the process's). Out: Settings, or SettingsError with every
problem at once. It never calls a service, and never repeats a value that could be a secret.
The table is design.md's 2, "Settings".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from keycheck.misspelt import meant_by
from keycheck.values import Kind, oddity_of, value_of

SWITCHES = ("send_slack", "create_jira", "disable_key")
YOUNGEST_SENSIBLE_EXPIRE_AGE = 30


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable: its default as a person would write it (None: unset), its meaning, its range, and the
    switches that need it.
    """

    name: str
    kind: Kind
    default: str | None
    meaning: str
    lowest: int = 0
    highest: int = 0
    needed_by: tuple[str, ...] = ()

    def checks(self, text: str) -> tuple[Kind, str, str | None, int, int]:
        """Return what values.value_of asks of a text for this setting."""
        return self.kind, text, self.default, self.lowest, self.highest


def _setting(
    kind: Kind,
    default: str | None,
    meaning: str,
    *,
    lowest: int = 0,
    highest: int = 0,
    needed_by: tuple[str, ...] = (),
) -> Any:
    """Make a field of Settings, and all that there is to say of it: see Setting."""
    more = {"kind": kind, "default": default, "meaning": meaning, "lowest": lowest, "highest": highest}
    return field(metadata={**more, "needed_by": needed_by})


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, checked. Field names are the environment variables' names; None is unset.

    A setting stands here alone: `make docs` writes the table of docs/reference.md, env_setup.sh and the ConfigMap's
    comments of it.
    """

    send_slack: bool = _setting("boolean", "False", "nag owners on Slack")
    create_jira: bool = _setting("boolean", "False", "file Jira issues")
    dump_metric_to_console: bool = _setting("boolean", "True", "print the metrics to stdout")
    disable_key: bool = _setting("boolean", "False", "disable expired keys")
    expire_age: int = _setting("number", "180", "days; a key this old or older is expired", lowest=0, highest=3650)
    expiring_days: int = _setting(
        "number", "15", "days before expire_age in which a key is expiring", lowest=0, highest=3650
    )
    disable_notice_days: int = _setting(
        "number",
        "7",
        "days between a notice and disabling; 0 disables as soon as it is delivered",
        lowest=0,
        highest=365,
    )
    max_disables_per_day: int = _setting(
        "number", "50", "access keys of one account disabled in any 24 hours, oldest first", lowest=1, highest=5000
    )
    disable_in_use_hours: int = _setting(
        "number",
        "0",
        "hours; an access key used within them is not disabled but escalated; 0 disables it all the same",
        lowest=0,
        highest=8760,
    )
    reenable_grace_days: int = _setting(
        "number", "7", "days that an access key re-enabled by a person is left alone", lowest=0, highest=365
    )
    disable_unowned: bool = _setting(
        "boolean", "True", "disable access keys whose owner nobody knows, too; False: they are nagged about and stay"
    )
    exemptions_file: Path | None = _setting("path", None, "TOML file of dated exemptions: see docs/reference.md")
    exempt_by_tag: bool = _setting("boolean", "False", "take exemptions from the IAM tags keycheck:exempt-... too")
    nag_interval_hours: int = _setting(
        "number", "24", "hours; least time between two messages to one owner about one account", lowest=1, highest=720
    )
    jira_server_address: str | None = _setting(
        "url", None, "https address of Jira; needed when create_jira", needed_by=("create_jira",)
    )
    jira_project_key: str | None = _setting(
        "project", None, "key of the Jira project; needed when create_jira", needed_by=("create_jira",)
    )
    jira_issue_type: str = _setting("line", "Task", "name of the issue type to file")
    jira_assign_owner: bool = _setting("boolean", "False", "assign the issue to the owner, by the owner's e-mail")
    resolve_jira: bool = _setting("boolean", "True", "close an issue of ours once its access key is inactive or gone")
    jira_done_status: str | None = _setting(
        "line", None, "status that a closed issue gets; by default the first of Done, Closed, Resolved that there is"
    )
    jira_resolution: str | None = _setting("line", None, "resolution that a closed issue gets, if its screen has one")
    jira_extra_fields: Mapping[str, Any] = _setting("json", None, "a JSON object merged into a new issue's fields")
    credstash_aws_profile_name: str | None = _setting(
        "name",
        None,
        "AWS profile of the credstash store; needed when send_slack or create_jira",
        needed_by=("send_slack", "create_jira"),
    )
    credstash_table: str = _setting(
        "table", "credential-store", "table of the credstash store; unset, CREDSTASH_DEFAULT_TABLE if that is set"
    )
    credstash_region: str | None = _setting("region", None, "region of the credstash store; by default that profile's")
    credstash_keyname_atlassian_api_email: str | None = _setting(
        "name",
        None,
        "name in credstash of the Jira user's e-mail; without it the token is sent as Bearer (Jira Data Center)",
    )
    credstash_keyname_atlassian_api_token: str | None = _setting(
        "name", None, "name in credstash of the Jira API token; needed when create_jira", needed_by=("create_jira",)
    )
    credstash_keyname_slack_api_token: str | None = _setting(
        "name", None, "name in credstash of the Slack bot token; needed when send_slack", needed_by=("send_slack",)
    )
    aws_dynamodb_profile_name: str | None = _setting(
        "name",
        None,
        "AWS profile of the state table; needed when send_slack, create_jira or disable_key",
        needed_by=("send_slack", "create_jira", "disable_key"),
    )
    aws_dynamodb_region: str | None = _setting("region", None, "region of the state table; by default that profile's")
    dynamodb_table_name: str = _setting("table", "iam-access-key-alert", "the state table, made on first need")
    slack_id_mapping_file: Path = _setting(
        "path",
        "slack_ID_mapping.py beside the entry",
        'Python file holding mapping = {"IAM user": "Slack id"}; read as data, never executed',
    )
    owner_slack_tag: str = _setting("tag", "slack_id", "IAM tag of a user that holds its owner's Slack id")
    owner_email_tag: str = _setting(
        "tag", "email", "IAM tag of a user that holds its owner's e-mail, looked up on Slack"
    )
    slack_api_base_url: str | None = _setting(
        "url", None, "another Slack (GovSlack, a test server); by default the SDK's"
    )
    help_contact: str | None = _setting(
        "line", None, "whom messages and issues name for questions, in one line: a channel, an address"
    )
    slack_fallback_channel: str | None = _setting(
        "slack", None, "told, in one digest, about keys whose owner is in no mapping"
    )
    cache_dir: Path | None = _setting(
        "path",
        None,
        "folder for what was listed, so that large accounts cost less; by default $XDG_CACHE_HOME/keycheck, or "
        "~/.cache/keycheck",
    )
    run_timeout_seconds: int = _setting(
        "number", "100", "seconds; the run's own deadline, below Telegraf's timeout", lowest=5, highest=3600
    )
    claim_margin_seconds: int = _setting(
        "number", "600", "seconds that a claim outlives its run's deadline", lowest=1, highest=86400
    )
    warnings: tuple[str, ...] = ()

    @property
    def warns_owners(self) -> bool:
        """Whether owners are warned at all: with both off, disable_key alone disables."""
        return self.send_slack or self.create_jira

    @property
    def jira_site(self) -> str:
        """What a Jira is recorded as: its address, however it was typed."""
        return (self.jira_server_address or "").rstrip("/").lower()

    @property
    def acts(self) -> bool:
        """Whether anything is done beside measuring."""
        return self.warns_owners or self.disable_key


SETTINGS: tuple[Setting, ...] = tuple(Setting(one.name, **one.metadata) for one in fields(Settings) if one.metadata)


class SettingsError(Exception):
    """Settings that can't be used. `problems` lists all of them, one sentence each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def parse(environ: Mapping[str, str], default_mapping_file: Path) -> Settings:
    """Check every setting in `environ`; blank means unset. Raises SettingsError with all problems in table order."""
    problems: list[str] = []
    wrong: set[str] = set()
    odd: dict[str, list[str]] = {}
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        text = environ.get(setting.name, "").strip()
        if setting.name == "credstash_table":  # credstash's own variable, which only its command line reads
            text = text or environ.get("CREDSTASH_DEFAULT_TABLE", "").strip()
        if (oddity := oddity_of(setting.kind, text)) is not None:
            odd.setdefault(oddity, []).append(setting.name)
            wrong.add(setting.name)
            text = ""
        try:
            values[setting.name] = value_of(*setting.checks(text))
        except ValueError as error:
            problems.append(f"{setting.name}: {error}")
            wrong.add(setting.name)
            values[setting.name] = value_of(*setting.checks(""))
    home = environ.get("HOME", "")
    is_mapping_given = environ.get("slack_id_mapping_file", "").strip() and "slack_id_mapping_file" not in wrong
    mapping_file = _path(values["slack_id_mapping_file"], home) if is_mapping_given else default_mapping_file
    problems += [_in_one_line(names, oddity) for oddity, names in odd.items()]
    values["slack_id_mapping_file"] = mapping_file
    values["cache_dir"] = _path(values["cache_dir"], home) if values["cache_dir"] else _default_cache_dir(environ)
    values["exemptions_file"] = _path(values["exemptions_file"], home) if values["exemptions_file"] else None
    problems += _missing(values, wrong)
    misspelt = _misspelt(environ)
    if any(values[switch] for switch in SWITCHES):
        problems += [f"{meant}: {text}" for meant, text in misspelt]
        misspelt = []
    if problems:
        raise SettingsError(tuple(problems))
    return Settings(**values, warnings=(*_warnings(values), *(text for _, text in misspelt)))


def _path(text: str, home: str) -> Path:
    """`~/` is the home directory, as a shell has it; an environment file knows no shell."""
    return Path(home, text[2:]) if text.startswith("~/") else Path(text)


def _default_cache_dir(environ: Mapping[str, str]) -> Path | None:
    """XDG Base Directory Specification: what is not absolute is not read. None if there is no home directory."""
    home = environ.get("HOME", "")
    bases = (environ.get("XDG_CACHE_HOME", ""), f"{home}/.cache" if home else "")
    return next((Path(base, "keycheck") for base in bases if base.startswith("/") and base.isprintable()), None)


def _in_one_line(names: Sequence[str], oddity: str) -> str:
    """Say once what is wrong with several settings: an environment file is written in one dialect."""
    first, *others = names
    return f"{first}: {oddity}" + (f" (and so in {', '.join(others)})" if others else "")


def _missing(values: Mapping[str, Any], wrong: Collection[str]) -> list[str]:
    """Return what a switched-on feature lacks, one sentence each; what is there but wrong was said already."""
    problems = []
    for setting in SETTINGS:
        on = [switch for switch in setting.needed_by if values[switch]]
        if on and values[setting.name] is None and setting.name not in wrong:
            verb = "are" if len(on) > 1 else "is"
            what = setting.meaning.split(";")[0]
            problems.append(f"{setting.name}: not set, but {' and '.join(on)} {verb} True; set it to the {what}")
    return problems


def _warnings(values: Mapping[str, Any]) -> list[str]:
    warnings = []
    if values["disable_key"] and values["expire_age"] < YOUNGEST_SENSIBLE_EXPIRE_AGE:
        warnings.append(
            f"expire_age={values['expire_age']} with disable_key=True: every access key that is "
            f"{values['expire_age']} or more days old is disabled; to use AWS at all, users must rotate that often"
        )
    if values["disable_key"] and not (values["send_slack"] or values["create_jira"]):
        warnings.append(
            "disable_key=True with send_slack and create_jira off: nobody is told before an access key is disabled"
        )
    return warnings


def _misspelt(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the settings that a variable's name nearly is, each with a sentence: what somebody meant to set is not in
    force. Not if the setting itself is there too.
    """
    names = [setting.name for setting in SETTINGS]
    found = []
    for name in sorted(set(environ) - set(names)):
        meant = meant_by(name, names) if environ[name].strip() else None
        if meant is not None and not environ.get(meant, "").strip():
            named = name if name.isprintable() else ascii(name)
            found.append((meant, f"{named} is set but is not read: the setting's name is {meant}"))
    return found
