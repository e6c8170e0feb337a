"""What Jira is asked for, and what an account needs for it. Data, and what a refused sign-in means. Pure.

In: an operation, an address, how it was signed in. Out: words for a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

CREATE = "create issue"
ASSIGN = "assign issue"
READ, WRITE, READ_USERS = "read:jira-work", "write:jira-work", "read:jira-user"
CAPTCHA = (
    "after failed sign-ins it wants to see a person (CAPTCHA); no issues filed this run. Sign in once by browser as "
    "the account of the token, and look whether the token is still right"
)
"""X-Authentication-Denied-Reason: CAPTCHA_CHALLENGE, of Server and Data Center."""
TOO_LARGE = "let the proxy before Jira take requests of 64 kB (nginx: client_max_body_size)"
EMAIL_SETTING = "credstash_keyname_atlassian_api_email"


@dataclass(frozen=True, slots=True)
class JiraOperation:
    """`scope`: what a scoped token of Cloud needs, in classic scopes. `permission`: what the account needs beside
    filing, if anything: where it lacks that, it can file all the same. `is_about_one`: what helps if HTTP 403 is
    about one issue, and costs that one.
    """

    scope: str
    permission: str = ""
    is_about_one: str = ""


OPERATIONS: Final[Mapping[str, JiraOperation]] = {
    "serverInfo": JiraOperation(READ),
    "myself": JiraOperation(READ_USERS),
    "search": JiraOperation(READ),
    "permissions": JiraOperation(READ),
    "read issue": JiraOperation(READ, is_about_one="allow the account Browse Projects in its project"),
    CREATE: JiraOperation(WRITE),
    "find user": JiraOperation(READ_USERS, "the global permission Browse Users (on Cloud: Browse users and groups)"),
    ASSIGN: JiraOperation(WRITE, "Assign Issues in the issue's project"),
    "read comments": JiraOperation(READ, "Browse Projects in the issue's project"),
    "add comment": JiraOperation(WRITE, "Add Comments (and Browse Projects) in the issue's project"),
    "add label": JiraOperation(WRITE, "Edit Issues in the issue's project"),
    "read transitions": JiraOperation(READ, "Transition Issues in the issue's project"),
    "close issue": JiraOperation(WRITE, "Transition Issues in the issue's project"),
}


def is_gateway(address: str) -> bool:
    """Return whether an address is that of Atlassian's API gateway, where scoped tokens go: it has no pages."""
    parts = urlsplit(address)
    return parts.hostname == "api.atlassian.com" or parts.path.startswith("/ex/jira/")


def is_cloud_address(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    return is_gateway(address) or host.endswith((".atlassian.net", ".jira.com", ".atlassian-us-gov-mod.net"))


def sign_in_advice(*, has_email: bool, is_cloud: bool | None, address: str) -> str:
    """Return which setting to set or to unset, where the kind of sign-in is not this Jira's; else where to look.

    `is_cloud` None: Jira did not even say what it is.
    """
    cloud = is_cloud_address(address) if is_cloud is None else is_cloud
    if cloud and not has_email:
        return f"Jira Cloud takes an API token only beside its user's e-mail: set {EMAIL_SETTING}"
    if has_email and is_cloud is False:
        return f"Data Center takes a personal access token without an e-mail: unset {EMAIL_SETTING} if this is one"
    return f"Look at the secrets that {EMAIL_SETTING} and ..._token name"
