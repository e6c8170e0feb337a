"""One thin adapter per outside system, each with only the calls that keycheck needs.

In: plain values. Out: plain values, or ServiceError: no library's exception and no library's type leaves this folder.
Adapters decide nothing; the Protocols here are what scan.py and acting/ know of them.

    aws_session     sessions and clients
    processes       programs that AWS profiles name, which end with the run
    aws_errors      what AWS's errors mean to a person
    aws_operations  what AWS is asked for by whom, and what helps where it is refused
    aws_files       why botocore found nothing in the AWS files
    aws_iam         users, access keys, set Inactive
    aws_probe       who a profile is, and what it may do: for --check
    state_table     records and claims in DynamoDB
    state_opening   that table, found or made
    state_items     what an item of that table is
    state_expressions  what a change of one is in DynamoDB's words
    jira_issues     look, create, read back
    jira_search     Jira's search, all pages
    jira_calls      signing in, and what Jira's errors mean to a person
    jira_probe      whether a project can be used as the settings say: for --check
    jira_refusals   what Jira is asked for, and what an account needs for it
    slack_messages  send one message
    slack_errors    what Slack's words mean: was it posted, whom is it about, what helps
    secrets         credstash
    listing_cache   what was listed of each user, from one run to the next, in a folder of this machine
    causes          what stood in between: redirects, certificates, proxies
    outside         opens all of these, as the settings say
    health          whether a service is still asked in this run, and waiting out a 429
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from keycheck.credential_report import Report
from keycheck.listing import ListedUser
from keycheck.model import AccessKey, Addressee, KeyRecord, LastUse, OpenIssues, SeenIssue, State
from keycheck.rules.changes import Value, Write
from keycheck.words.issue import IssueDraft
from keycheck.words.message import SlackDraft


class Failure(enum.Enum):
    """What is known of a call that did not succeed. Only after UNKNOWN something may have been done.

    REFUSED: it was answered, and not done. GONE: the same, and so it will be for this addressee until somebody acts.
    SERVER_ERROR: as REFUSED, with HTTP 5xx. NO_ANSWER: there was none, to a read or for want of a connection; Jira's
    5xx says no more than that. UNKNOWN: the request was on the wire, and no answer says what became of it. OFF: it was
    not made, since the service is off for this run; what turned it off was already said.
    """

    REFUSED = enum.auto()
    GONE = enum.auto()
    SERVER_ERROR = enum.auto()
    NO_ANSWER = enum.auto()
    UNKNOWN = enum.auto()
    OFF = enum.auto()


class ServiceError(Exception):
    """A call that did not succeed. `text` is a sentence for a person: no secret, no library exception's full text.

    `holds_for_run`: every further call of this run would end the same. `code`: the service's own word, for services/.
    """

    def __init__(
        self,
        service: str,
        operation: str,
        text: str,
        *,
        failure: Failure = Failure.REFUSED,
        holds_for_run: bool = False,
        code: str = "",
    ) -> None:
        super().__init__(f"{service} {operation}: {text}")
        self.service = service
        self.operation = operation
        self.text = text
        self.failure = failure
        self.holds_for_run = holds_for_run
        self.code = code


class ClaimLost(Exception):
    """Another run holds the claim, or what the plan rested on has changed since it was read."""


class Iam(Protocol):
    """What keycheck asks of one account's IAM. Every method raises ServiceError, or Stopped past the deadline."""

    def list_users(self, marker: str | None) -> tuple[Sequence[ListedUser], str | None]:
        """Return one page of users, and the marker of the next page or None."""
        ...

    def list_access_keys(
        self, user_name: str, account_id: str, *, is_after_scan: bool = False
    ) -> Sequence[AccessKey] | None:
        """Return all access keys of one user, all pages; None if the user is gone. `is_after_scan`: it may be asked as
        long as the run lasts.
        """
        ...

    def is_held_back(self) -> bool:
        """Return whether AWS has refused calls because they were too many."""
        ...

    def credential_report(self) -> Report | None:
        """Return the credential report as it is; None if none can be had now."""
        ...

    def request_credential_report(self) -> None:
        """Ask AWS to make a credential report."""
        ...

    def deactivate(self, access_key: AccessKey) -> bool:
        """Set Inactive; False if the access key is gone."""
        ...

    def list_user_tags(self, user_name: str) -> Mapping[str, str] | None:
        """Return all tags of one user, all pages; None if the user is gone."""
        ...

    def last_used(self, access_key: AccessKey) -> LastUse:
        """Return when, by which service and in which Region it was last used. Raises ServiceError if it is gone."""
        ...

    def account_id(self) -> str:
        """Return which account this is; asked only if it has no users whose ARNs say so."""
        ...

    def root_access_keys(self) -> int:
        """Return how many access keys the root user has: there must be none. GetAccountSummary,
        AccountAccessKeysPresent.
        """
        ...

    def own_access_key_ids(self) -> frozenset[str]:
        """Return every access key id in any profile botocore sees, and the one this session signs with."""
        ...


class Claims(Protocol):
    """Records and claims: design.md 4. Instants are aware UTC; every method raises ServiceError."""

    @property
    def own_access_key_ids(self) -> frozenset[str]: ...

    @property
    def remarks(self) -> Sequence[str]:
        """What a person should know of the table once it is open, beside errors."""
        ...

    def open(self, *, create: bool) -> bool: ...

    def read(
        self,
        access_key_ids: Iterable[str],
        addressees: Iterable[Addressee],
        *,
        lookups: Iterable[str] = (),
        account_ids: Iterable[str] = (),
    ) -> State: ...

    def look_through(self, since: datetime) -> Sequence[KeyRecord]:
        """Return the records of all accounts that stand (rules/standing.py), out of all that the table holds."""
        ...

    def with_events(self) -> Sequence[KeyRecord]:
        """Return the records of all access keys to which anything happened."""
        ...

    def apply(self, write: Write) -> Mapping[str, Value | None]: ...

    def take_disabling(self, account_id: str, at: datetime, most: int) -> bool: ...

    def give_back_disabling(self, account_id: str, at: datetime) -> None: ...


class Issues(Protocol):
    """What keycheck asks of Jira. Every method raises ServiceError, or Stopped past the deadline."""

    @property
    def browse_address(self) -> str | None:
        """Return where people can open an issue, once the first look has signed in; None if that is not known."""
        ...

    def open_issues(self) -> OpenIssues: ...

    def read(self, issue_key: str) -> SeenIssue | None:
        """Return an issue as it is now, also if it was moved since; None if it is gone."""
        ...

    def find_open(self, issue_label: str) -> str | None: ...

    def find_original(self, access_key: AccessKey, profile: str) -> str | None:
        """Return the open issue that lacework/ops has filed for this access key, if there is one."""
        ...

    def add_label(self, issue_key: str, label: str) -> None: ...

    def count_filed(self, issue_label: str, days: int) -> int | None: ...

    def create(self, draft: IssueDraft) -> str: ...

    def check_created(self, issue_key: str, issue_label: str) -> str | None: ...

    def assign(self, issue_key: str, email: str) -> bool: ...

    def was_said(self, issue_key: str, marker: str) -> bool: ...

    def comment(self, issue_key: str, text: str) -> None: ...

    def close(self, issue_key: str) -> bool: ...


class Messages(Protocol):
    """What keycheck asks of Slack. Raises ServiceError, or Stopped past the deadline."""

    def send(self, slack_id: str, draft: SlackDraft) -> None: ...

    def find_user(self, email: str) -> str | None: ...

    def why_gone(self, slack_id: str) -> str | None:
        """Return Slack's word for why nobody reads messages to a person; None if they are there. Raises ServiceError
        with the code `missing_scope` if the bot may not ask.
        """
        ...


class Outside(Protocol):
    """Opens the services of a run, each only when it is needed. Raises ServiceError if one cannot be begun with."""

    def open_iam(self, profile: str) -> Iam: ...

    def open_claims(self) -> Claims: ...

    def open_issues(self) -> Issues: ...

    def open_messages(self) -> Messages: ...

    def secret_access_key_ids(self) -> frozenset[str]:
        """Return the access keys that reading secrets depends on."""
        ...


__all__ = [
    "ClaimLost",
    "Claims",
    "Failure",
    "Iam",
    "Issues",
    "Messages",
    "Outside",
    "ServiceError",
]
