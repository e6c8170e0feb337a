"""Values with defaults for tests: override the one thing that the test is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from keycheck.clock import RunClock
from keycheck.labels import label_key
from keycheck.model import (
    AccessKey,
    Addressee,
    DisabledRecord,
    IssueRecord,
    KeyRecord,
    LabelledKey,
    LastUse,
    Notice,
    Owner,
    OwnerKind,
    Scan,
)
from keycheck.rules.case import Facts, UserFacts
from keycheck.settings import Settings, parse

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
ACCOUNT = "123456789012"
PROFILE = "acme-dev"
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MORE_THAN_A_DAY = timedelta(days=1, seconds=1)
BEYOND_A_CLAIM = timedelta(minutes=16)
"""Beyond run_timeout_seconds and claim_margin_seconds by default, and beyond the 15 minutes of a begun disabling."""
AT_ONCE = {"disable_notice_days": "0"}
"""What disables in the run that gives the notice: most tests are about something else."""
UNTOLD = (
    "W! acme-dev: disable_key=True with send_slack and create_jira off: nobody is told before an access key is "
    "disabled\n"
)
"""What a run with disable_key alone says."""
ALL_ON = {"send_slack": "True", "create_jira": "True", "disable_key": "True", **AT_ONCE}
"""All three actions, as the environment says it, and no notice to wait for."""
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
    **AT_ONCE,
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


def make_owner(slack_id: str | None = "U012KRAMER", **changes: Any) -> Owner:
    """A known owner who is told on Slack; None: nobody knows the owner, and nobody is told."""
    if slack_id is None:
        return Owner(**{"kind": OwnerKind.UNKNOWN, **changes})
    return Owner(**{"kind": OwnerKind.KNOWN, "addressee": make_addressee(slack_id), **changes})


def make_fallback_owner(kind: OwnerKind = OwnerKind.UNKNOWN, **changes: Any) -> Owner:
    """One whose access keys the fallback channel is told about. KNOWN: known by e-mail alone."""
    return Owner(kind, make_addressee("C0FALLBACK", is_person=False, is_fallback=True), **changes)


def make_scan(keys: Iterable[LabelledKey] = (), **changes: Any) -> Scan:
    """A complete scan that showed these access keys."""
    shown = tuple(key.access_key for key in keys)
    users = len({key.user_name for key in shown})
    scan = {"profile": "acme-dev", "keys": shown, "user_count": users, "users_read": users, "account_id": ACCOUNT}
    return Scan(**{**scan, **changes})


def make_facts(
    keys: Iterable[LabelledKey] = (),
    users: Mapping[str, Owner | UserFacts] | None = None,
    *,
    last_uses: Mapping[str, LastUse | None] | None = None,
    sees_whole_account: bool = True,
    **scan: Any,
) -> Facts:
    """What a complete scan of these access keys found; dev_kramer is known. `scan`: what differs of that."""
    found = {"dev_kramer": make_owner()} if users is None else users
    return Facts(
        make_scan(keys, **scan),
        {name: UserFacts(one) if isinstance(one, Owner) else one for name, one in found.items()},
        last_uses or {},
        sees_whole_account,
    )


def open_issues_of(open_issues: Iterable[str] | None, records: Iterable[KeyRecord]) -> dict[str, frozenset[str]] | None:
    """What a search shows if these are open: each bears the label of the access key on whose record it is."""
    if open_issues is None:
        return None
    keys = set(open_issues)
    return {record.issue_label: frozenset({record.issue_key}) for record in records if record.issue_key in keys}


def make_record(key: LabelledKey, owner: Owner | None = None, **known: Any) -> KeyRecord:
    """What is on record for an access key. `owner`: who was warned, eight days ago where `known` says nothing else."""
    access_key = key.access_key
    usual: dict[str, Any] = {"account_id": access_key.account_id, "user_name": access_key.user_name}
    if owner is not None:
        usual |= {"warned_at": NOW - timedelta(days=8), "warned_owner": owner.identity}
    return flat_record(access_key.access_key_id, **{**usual, **known})


def flat_record(access_key_id: str, account_id: str = "", user_name: str = "", **known: Any) -> KeyRecord:
    """A record by the flat names that the state table has (`comments_made` for issue_said). What cannot stand alone is
    as if it were not there; a notice was kept an hour ago, if nothing else is said.
    """

    def part(**names: str) -> dict[str, Any]:
        given = {new: known.pop(old, None) for new, old in names.items()}
        return {name: value for name, value in given.items() if value is not None}

    issue = part(
        key="issue_key",
        comments_made="comments_made",
        assigned_to="issue_assigned_to",
        ended_at="issue_ended_at",
        site="issue_site",
    )
    notice = part(given_at="warned_at", owner="warned_owner", kept_at="notice_kept_at")
    if "given_at" in notice:
        notice.setdefault("kept_at", max(notice["given_at"], NOW - HOUR))
    disabled = part(at="disabled_at", by="disabled_by")
    return KeyRecord(
        access_key_id,
        account_id,
        user_name,
        issue=IssueRecord(**issue) if "key" in issue else None,
        notice=Notice(**notice) if len(notice) == 3 else None,
        disabled=DisabledRecord(**disabled) if "at" in disabled else None,
        **known,
    )


class PatientClock(RunClock):
    """A run's clock whose sleeping takes no time; `slept` keeps the seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.check()
        self.slept.append(seconds)
