"""Opens the services of one run, as the settings say. The one place where adapters are made.

In: settings, the run's clock. Out: the Protocols of keycheck.services. It opens nothing before it is asked to: no
secret is read, and no library imported, that the run does not need.
"""

from __future__ import annotations

from keycheck.clock import RunClock
from keycheck.services import Claims, Iam, Issues
from keycheck.services.aws_iam import AwsIam
from keycheck.services.aws_probe import AwsProbe
from keycheck.services.jira_calls import JiraCalls
from keycheck.services.jira_issues import JiraIssues
from keycheck.services.jira_probe import JiraProbe
from keycheck.services.secrets import Secrets
from keycheck.services.slack_messages import SlackMessages
from keycheck.services.state_table import StateTable
from keycheck.settings import Settings


class RealServices:
    """The services of one run: keycheck.services.Outside."""

    def __init__(self, settings: Settings, clock: RunClock) -> None:
        self._settings = settings
        self._clock = clock
        self._secrets: Secrets | None = None

    def open_iam(self, profile: str) -> Iam:
        return AwsIam(profile, self._clock.check_scan, self._clock.check, self._clock.scan_seconds)

    def open_claims(self) -> Claims:
        settings = self._settings
        return StateTable(
            settings.aws_dynamodb_profile_name or "",
            settings.aws_dynamodb_region,
            settings.dynamodb_table_name,
            self._clock,
        )

    def open_issues(self) -> Issues:
        settings = self._settings
        return JiraIssues(
            settings.jira_server_address or "",
            self._jira_credentials(),
            project_key=settings.jira_project_key or "",
            issue_type=settings.jira_issue_type,
            extra_fields=settings.jira_extra_fields,
            clock=self._clock,
            done_status=settings.jira_done_status,
            resolution=settings.jira_resolution,
        )

    def _jira_credentials(self) -> tuple[str | None, str]:
        """Return the e-mail address, None where the kind of Jira has none, and the token."""
        settings, secrets = self._settings, self._secret_store()
        email, token = settings.credstash_keyname_atlassian_api_email, settings.credstash_keyname_atlassian_api_token
        return secrets.read(email) if email else None, secrets.read(token or "")

    def open_messages(self) -> SlackMessages:
        token = self._secret_store().read(self._settings.credstash_keyname_slack_api_token or "")
        return SlackMessages(token, self._settings.slack_api_base_url, self._clock)

    # For --check

    def probe_iam(self, profile: str) -> AwsProbe:
        return AwsProbe(profile, self._clock.check, self._clock.remaining_seconds, self._clock.utc_now)

    def probe_jira(self) -> JiraProbe:
        settings = self._settings
        calls = JiraCalls(
            settings.jira_server_address or "",
            self._jira_credentials(),
            project_key=settings.jira_project_key or "",
            issue_type=settings.jira_issue_type,
            clock=self._clock,
        )
        return JiraProbe(calls, settings.jira_project_key or "", settings.jira_issue_type)

    def read_secret(self, name: str) -> str:
        return self._secret_store().read(name)

    def secret_access_key_ids(self) -> frozenset[str]:
        """Return the access keys that reading secrets depends on."""
        return self._secret_store().own_access_key_ids()

    def _secret_store(self) -> Secrets:
        if self._secrets is None:
            settings = self._settings
            profile, region = settings.credstash_aws_profile_name or "", settings.credstash_region
            self._secrets = Secrets(profile, region, self._clock, settings.credstash_table)
        return self._secrets
