"""Values with defaults for tests: override the one thing that the test is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from keycheck.clock import RunClock
from keycheck.labels import label_key
from keycheck.model import AccessKey, Addressee, LabelledKey
from keycheck.settings import Settings, parse

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
ACCOUNT = "123456789012"
EVERYTHING = {
    "send_slack": "True",
    "create_jira": "True",
    "disable_key": "True",
    "jira_server_address": "https://example.atlassian.net",
    "jira_project_key": "SEC",
    "credstash_aws_profile_name": "acme-secrets",
    "credstash_keyname_atlassian_api_email": "jira.email",
    "credstash_keyname_atlassian_api_token": "jira.token",
    "credstash_keyname_slack_api_token": "slack.token",
    "aws_dynamodb_profile_name": "acme-state",
}


def make_settings(**changes: str) -> Settings:
    """Settings with everything switched on; name what differs, as the environment would."""
    return parse({**EVERYTHING, **changes}, Path("slack_ID_mapping.py"))


def make_access_key(
    user_name: str = "dev_kramer",
    *,
    age: timedelta = timedelta(days=197),
    access_key_id: str = "AKIAIOSFODNN7EXVHXVM",
    status: str = "Active",
    account_id: str = ACCOUNT,
) -> AccessKey:
    return AccessKey(access_key_id, user_name, account_id, status, NOW - age)


def make_key(user_name: str = "dev_kramer", *, age_days: float = 197, **changes: Any) -> LabelledKey:
    """A labelled key under the default ages: 180 and 15 days."""
    key = make_access_key(user_name, age=timedelta(days=age_days), **changes)
    return label_key(key, NOW, expire_age=180, expiring_days=15)


def make_addressee(slack_id: str = "U012KRAMER", **changes: Any) -> Addressee:
    return Addressee(slack_id, **{"account_id": ACCOUNT, "is_person": slack_id[0] in "UW", **changes})


class PatientClock(RunClock):
    """A run's clock whose sleeping takes no time; `slept` keeps the seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.check()
        self.slept.append(seconds)
