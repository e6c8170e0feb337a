"""Jira: look for open issues, create, read back, assign, comment on and close one. Cloud, and Server/Data Center.

In: issue keys, labels, drafts, e-mail addresses. Out: issue keys and plain answers, or ServiceError that says whether
an issue or a comment may have been made. It never sends a second POST for one of them: python-jira's own retries, which
do, are off (facts/apis.md 4.3), and only a 429, which Jira did not serve, is tried again.

A look that failed is never "not found". Jira Cloud answers a dead token as if it were anonymous: "no issues", 404. So
GET /myself comes first, and only after it succeeded is an empty answer believed.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from keycheck.clock import RunClock, Stopped
from keycheck.model import is_issue_key
from keycheck.services import ServiceError
from keycheck.services.health import Health, RateLimited, retry_after, was_never_sent
from keycheck.wording import FAMILY_LABEL, IssueDraft, issue_refused

SERVICE = "Jira"
TIMEOUT_SECONDS = (3.05, 10)
"""To connect, and between two bytes of an answer."""
PAGE = 100
PAGES_AT_MOST = 1000
DONE = "done"
"""The key of the one status category that is not open, in every language: /rest/api/2/statuscategory."""
DONE_STATUSES = ("done", "closed", "resolved")
"""Where several statuses of that category can be reached, the first of these is taken."""
CREATE = "create issue"
ASSIGN = "assign issue"
PERMISSIONS = {
    "find user": "the global permission Browse Users (on Cloud: Browse users and groups)",
    ASSIGN: "Assign Issues in the issue's project",
    "read comments": "Browse Projects in the issue's project",
    "add comment": "Add Comments (and Browse Projects) in the issue's project",
    "read transitions": "Transition Issues in the issue's project",
    "close issue": "Transition Issues in the issue's project",
}
"""What the account needs besides filing, by operation: where it lacks one of these, it can file all the same."""

T = TypeVar("T")


class JiraIssues:
    """One Jira in one run; safe to share between threads. Its first look signs in."""

    def __init__(
        self,
        address: str,
        credentials: tuple[str | None, str],
        *,
        project_key: str,
        issue_type: str,
        extra_fields: Mapping[str, Any],
        clock: RunClock,
    ) -> None:
        self._address = address.rstrip("/")
        self._email, self._token = credentials
        self._project_key = project_key
        self._issue_type = issue_type
        self._extra_fields = extra_fields
        self._health = Health(SERVICE, clock)
        self._lock = threading.Lock()
        self._client: Any = None

    def connect(self) -> None:
        """Sign in: GET serverInfo (Cloud or Server?) and GET /myself (is the token alive?)."""
        with self._lock:
            if self._client is None:
                client = self._call("serverInfo", self._make_client)
                self._call("myself", lambda: _require_somebody(client.myself()), is_sign_in=True)
                self._client = client

    def _make_client(self) -> Any:
        from jira import JIRA

        auth: dict[str, Any] = (
            {"basic_auth": (self._email, self._token)} if self._email else {"token_auth": self._token}
        )
        client: Any = JIRA(
            server=self._address, timeout=TIMEOUT_SECONDS, max_retries=0, logging=False, get_server_info=False, **auth
        )
        client._session.hooks["response"].append(_refuse)  # noqa: SLF001 - python-jira has no public way to its session
        client.deploymentType = _at(client.server_info(), "deploymentType")
        return client

    def open_issue_keys(self) -> frozenset[str]:
        """All open issues of ours, whatever their project: somebody may have moved one. Raises where any page fails."""
        return frozenset(self._search(f'labels = "{FAMILY_LABEL}" AND statusCategory != Done'))

    def find_open(self, issue_label: str) -> str | None:
        """The open issue that carries one access key's label; the first by key where there are several."""
        return min(self._search(f'labels = "{issue_label}" AND statusCategory != Done'), default=None)

    def count_filed(self, issue_label: str, days: int) -> int | None:
        """How many issues with this label were made within so many days, whatever became of them; None where this
        account may not see the project's issues, so that no search can tell.
        """
        self.connect()
        permission = "BROWSE_PROJECTS"
        answer = self._call(
            "permissions", lambda: self._client.my_permissions(projectKey=self._project_key, permissions=permission)
        )
        if _at(answer, "permissions", permission, "havePermission") is not True:
            return None
        return len(self._search(f'labels = "{issue_label}" AND created >= -{days}d'))

    def _search(self, jql: str) -> list[str]:
        """Issue keys, all pages. Asked for one small field, since Cloud gives ids alone where none is asked for.

        Cloud: /search/jql by token (the old search answers 410 there). Server: /search by startAt, which has no other.
        """
        self.connect()
        read_page = self._cloud_page if self._client.deploymentType == "Cloud" else self._server_page
        keys: list[str] = []
        token: str | None = None
        for _ in range(PAGES_AT_MOST):
            found, token, is_last = self._call("search", partial(read_page, jql, token, len(keys)))
            keys += found
            if is_last:
                return keys
        raise ServiceError(SERVICE, "search", "Jira's search does not end; no issues filed this run")

    def _cloud_page(self, jql: str, token: str | None, _start: int) -> tuple[list[str], str | None, bool]:
        page = self._client.enhanced_search_issues(jql, token, maxResults=PAGE, fields=["labels"], json_result=True)
        found, token = _issue_keys(page), page.get("nextPageToken")
        if token is None and page.get("isLast", True) is not True:
            raise TypeError("unexpected answer")
        return found, token, token is None

    def _server_page(self, jql: str, _token: str | None, start: int) -> tuple[list[str], str | None, bool]:
        page = self._client.search_issues(jql, start, maxResults=PAGE, fields=["labels"], json_result=True)
        found, total = _issue_keys(page), page["total"]
        if type(total) is not int or total < len(found) or (not found and total > start):
            raise TypeError("unexpected answer")
        return found, None, start + len(found) >= total

    def is_open(self, issue_key: str) -> bool:
        """Whether an issue is there and its status category is not Done; False where it is gone (404)."""
        self.connect()
        try:
            return self._status_category(issue_key) != DONE
        except ServiceError as error:
            if error.code == "404":
                return False
            raise

    def _status_category(self, issue_key: str) -> str:
        issue = self._call("read issue", lambda: self._client.issue(issue_key, fields="status,labels"))
        category = _at(issue.raw, "fields", "status", "statusCategory", "key")
        if not isinstance(category, str) or not category:
            raise ServiceError(SERVICE, "read issue", f"Jira gave no status category for {issue_key}")
        return category

    def create(self, draft: IssueDraft) -> str:
        """One POST. Raises ServiceError, with `may_have_happened` where an issue may exist all the same."""
        self.connect()
        fields = {
            **self._extra_fields,
            "project": {"key": self._project_key},
            "issuetype": {"name": self._issue_type},
            "summary": draft.summary,
            "description": draft.description,
            "labels": list(dict.fromkeys([*draft.labels, *self._extra_fields.get("labels", ())])),
        }
        return self._call(
            CREATE,
            lambda: _issue_key(self._client.create_issue(fields=fields, prefetch=False).key),
            is_write=True,
        )

    def check_created(self, issue_key: str, issue_label: str) -> str | None:
        """Read a new issue back. What is wrong with it, for a person, or None: it decides nothing."""
        try:
            issue = self._call("read issue", lambda: self._client.issue(issue_key, fields="status,labels"))
        except ServiceError as error:
            if error.code in ("403", "404"):
                return (
                    f"{issue_key} was filed but cannot be read (HTTP {error.code}); let the account browse the project"
                )
            return f"{issue_key} was filed but could not be read back: {error.text}"
        labels = _at(issue.raw, "fields", "labels")
        if not isinstance(labels, list) or issue_label not in labels:
            return f"{issue_key} was filed but lost its labels; put the field Labels on the project's create screen"
        if _at(issue.raw, "fields", "status", "statusCategory", "key") == DONE:
            return f"{issue_key} was filed but is Done at once; look at the project's workflow"
        return None

    def assign(self, issue_key: str, email: str) -> bool:
        """Assign it, which may be repeated. False where Jira knows nobody by that address (and so it says to an account
        that may not browse users), where it will not assign to them (400), and where the issue is gone (404).
        """
        self.connect()
        assignee = self._call("find user", partial(self._find_user, email))
        if assignee is None:
            return False
        put = partial(self._write, "PUT", f"issue/{issue_key}/assignee", assignee)
        return self._unless_refused(ASSIGN, put, ("400", "404"))

    def _find_user(self, email: str) -> dict[str, str] | None:
        """An active user as an assignee is named. Both kinds of Jira also find who merely begins like the address, so
        one who hides it (on Cloud, unless the account may see all addresses) is not believed: it could be another.
        """
        is_cloud = self._client.deploymentType == "Cloud"
        asked = {"query" if is_cloud else "username": email, "maxResults": PAGE}
        found = [user for user in _list_of_dicts(self._get("user/search", asked)) if user.get("active") is True]
        same = [user for user in found if str(user.get("emailAddress") or "").casefold() == email.casefold()]
        id_name = "accountId" if is_cloud else "name"
        return {id_name: _text(same[0][id_name])} if same else None

    def was_said(self, issue_key: str, mark: str) -> bool:
        """Whether a comment contains this very text. Raises where any page before the one that does fails, and with
        code "404" where the issue is gone.
        """
        self.connect()
        read = known = 0
        for _ in range(PAGES_AT_MOST):
            bodies, total = self._call("read comments", partial(self._comment_page, issue_key, read))
            if any(mark in body for body in bodies):
                return True
            if total < known:  # one was deleted meanwhile: the others moved up, one of them past this page's beginning
                raise ServiceError(SERVICE, "read comments", "an issue's comments became fewer while they were read")
            read, known = read + len(bodies), total
            if read >= total:
                return False
        raise ServiceError(SERVICE, "read comments", "Jira's list of an issue's comments does not end")

    def _comment_page(self, issue_key: str, start: int) -> tuple[list[str], int]:
        page = self._get(f"issue/{issue_key}/comment", {"startAt": start, "maxResults": PAGE})
        bodies = [_text(comment["body"], may_be_empty=True) for comment in _list_of_dicts(page["comments"])]
        total = page["total"]
        if type(total) is not int or total < len(bodies) or (not bodies and total > start):
            raise TypeError("unexpected answer")
        if page["startAt"] != start:  # a page that was not asked for says nothing of the one that was
            raise TypeError("unexpected answer")
        return bodies, total

    def comment(self, issue_key: str, text: str) -> None:
        """One POST. Raises ServiceError, with `may_have_happened` where the comment may be there all the same."""
        self.connect()
        self._call("add comment", lambda: _text(self._client.add_comment(issue_key, text).raw["id"]), is_write=True)

    def close(self, issue_key: str) -> bool:
        """Take it to a status that is not open, if it is open; True also where it is gone.

        False where its workflow offers this account no way there, or Jira refuses the one offered: a field that must be
        filled in (400), a permission (403), somebody else's change (409).
        """
        if not self.is_open(issue_key):
            return True
        transition = self._call("read transitions", lambda: _way_to_done(self._get(f"issue/{issue_key}/transitions")))
        if transition is None:
            return False
        post = partial(self._write, "POST", f"issue/{issue_key}/transitions", {"transition": {"id": transition}})
        return self._unless_refused("close issue", post, ("400", "403", "409"))

    def _unless_refused(self, operation: str, write: Callable[[], None], refusals: tuple[str, ...]) -> bool:
        try:
            self._call(operation, write, is_write=True)
        except ServiceError as error:
            if error.code in refusals:
                return False
            raise
        return True

    def _get(self, path: str, asked: Mapping[str, Any] | None = None) -> Any:
        """python-jira's own readers drop what tells a last page from a cut one, and keep what is no list at all."""
        return self._client._get_json(path, params=asked)  # noqa: SLF001

    def _write(self, method: str, path: str, what: Mapping[str, Any]) -> None:
        """python-jira's own writers take whatever is 2xx for done, a login page included: Jira says 204."""
        url = self._client._get_url(path)  # noqa: SLF001
        response = self._client._session.request(method, url, data=json.dumps(what))  # noqa: SLF001
        if response.status_code != 204:
            raise TypeError("unexpected answer")

    def _call(self, operation: str, request: Callable[[], T], *, is_write: bool = False, is_sign_in: bool = False) -> T:
        def attempt() -> T:
            try:
                return request()
            except (ServiceError, RateLimited, Stopped):
                raise
            except Exception as error:
                raise self._service_error(operation, error, is_write=is_write, is_sign_in=is_sign_in) from error

        return self._health.call(operation, attempt)

    def _service_error(
        self, operation: str, error: Exception, *, is_write: bool, is_sign_in: bool
    ) -> ServiceError | RateLimited:
        status = getattr(error, "status_code", None)
        if isinstance(status, int) and status >= 400:
            response = getattr(error, "response", None)
            if status == 429:
                return RateLimited(retry_after(getattr(response, "headers", {}).get("Retry-After")))
            return self._answered(operation, status, response, is_write=is_write, is_sign_in=is_sign_in)
        if isinstance(error, ImportError):
            text = "jira is not installed for this Python; run: pip install -r requirements.txt"
            return ServiceError(SERVICE, operation, text, is_fatal=True)
        if was_never_sent(error):
            text = f"no connection to {self._address} ({_kind(error)}); no issues filed until it answers"
            return ServiceError(SERVICE, operation, text, is_silence=True)
        if _module(error).startswith(("requests", "urllib3")) or isinstance(error, OSError):
            if isinstance(error, ValueError):  # requests' JSONDecodeError is one, and an OSError too
                return self._not_jira(operation, may_have_happened=is_write)
            text = f"no answer from Jira to {operation} ({_kind(error)})"
            return ServiceError(SERVICE, operation, text, is_silence=True, may_have_happened=is_write)
        return self._not_jira(operation, may_have_happened=is_write)

    def _without_credentials(self, text: str) -> str:
        """A text of Jira's, or of a proxy's in between, that repeats what it was sent is not repeated."""
        basic = base64.b64encode(f"{self._email}:{self._token}".encode()).decode()
        for secret in (basic, self._token, self._email or ""):
            text = text.replace(secret, "***") if secret else text
        return text

    def _not_jira(self, operation: str, *, may_have_happened: bool) -> ServiceError:
        text = f"{self._address} did not answer like Jira to {operation} (a login page?); look at jira_server_address"
        return ServiceError(SERVICE, operation, text, is_fatal=True, may_have_happened=may_have_happened)

    def _answered(
        self, operation: str, status: int, response: Any, *, is_write: bool, is_sign_in: bool
    ) -> ServiceError:
        """An answer that is not ok. What would be the same for every further call turns Jira off for the run."""

        def failed(text: str, **more: Any) -> ServiceError:
            return ServiceError(SERVICE, operation, text, code=str(status), **more)

        if status == 401 or (status == 403 and operation not in PERMISSIONS):
            what = (
                "the token is dead or wrong" if status == 401 else f"the account may not do this in {self._project_key}"
            )
            if operation == ASSIGN:  # as documented for Jira Server; Cloud says 403
                what += f", or the account lacks {PERMISSIONS[ASSIGN]}"
            return failed(
                f"Jira refused {operation} (HTTP {status}): {what}; no issues filed this run. Look at the secrets that "
                "credstash_keyname_atlassian_api_email and ..._token name",
                is_fatal=True,
            )
        if status >= 500:
            return failed(
                f"Jira failed on {operation} (HTTP {status})",
                is_server_error=True,
                may_have_happened=is_write,
                is_silence=True,
            )
        hide = self._without_credentials  # before anything is cut: a token cut short is no whole one to be found
        field_errors, messages = _refusal(response)
        if operation == CREATE:
            shown = {hide(name): hide(said) for name, said in field_errors.items()}
            return failed(issue_refused(shown, [hide(said) for said in messages], self._issue_type), is_fatal=True)
        if operation in PERMISSIONS:
            said = " ".join(hide("; ".join([*messages, *field_errors.values()])).split())[:200]
            why = f": {said}" if said else " and gave no reason"
            return failed(f"Jira refused {operation} (HTTP {status}){why}; allow the account {PERMISSIONS[operation]}")
        if is_sign_in or operation == "serverInfo":
            return failed(f"Jira refused {operation} (HTTP {status}); look at jira_server_address", is_fatal=True)
        return failed(f"Jira refused {operation} (HTTP {status})")


class _Refused(Exception):
    """An answer that is no success, as it came: python-jira stumbles over odd bodies, and requests would follow a
    redirect with a second POST.
    """

    def __init__(self, response: Any) -> None:
        super().__init__()
        self.status_code: int = response.status_code
        self.response = response


def _refuse(response: Any, **_: Any) -> None:
    if response.status_code >= 300:
        with suppress(OSError):
            _ = response.content  # read, so that the connection is free again
        raise _Refused(response)


def _issue_key(key: Any) -> str:
    """Raises ValueError for anything that could not be one, before it gets into a URL or a record."""
    if not is_issue_key(key):
        raise ValueError("not an issue key")
    return str(key)


def _issue_keys(page: Any) -> list[str]:
    """The keys in one page of a search. "None" is believed only where the answer says so: an empty list of issues."""
    issues = page["issues"]
    if not isinstance(issues, list):
        raise TypeError("unexpected answer")
    return [_issue_key(issue["key"]) for issue in issues]


def _list_of_dicts(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise TypeError("unexpected answer")
    return value


def _text(value: Any, *, may_be_empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or may_be_empty):
        raise TypeError("unexpected answer")
    return value


def _way_to_done(answer: Any) -> str | None:
    """The id of the transition to take. "None" is believed only where each one offered says where it leads."""
    ways: list[tuple[str, str]] = []
    for transition in _list_of_dicts(answer["transitions"]):
        status = transition["to"]
        if _text(status["statusCategory"]["key"]) == DONE:
            ways.append((_text(status["name"]).casefold(), _text(transition["id"])))
    by_name = dict(reversed(ways))  # the first of several to one status
    return next((by_name[name] for name in DONE_STATUSES if name in by_name), ways[0][1] if ways else None)


def _refusal(response: Any) -> tuple[Mapping[str, str], list[str]]:
    """`errors` by field, and `errorMessages`, of a 400 (python-jira keeps only the joined values)."""
    try:
        body = response.json()
    except Exception:  # noqa: BLE001 - a body that is not JSON has many exceptions and one meaning: no reason given
        return {}, []
    if not isinstance(body, dict):
        return {}, []
    errors, messages = body.get("errors"), body.get("errorMessages")
    return (
        {str(name): str(said) for name, said in errors.items()} if isinstance(errors, dict) else {},
        [str(said) for said in messages] if isinstance(messages, list) else [],
    )


def _at(value: Any, *path: str) -> Any:
    """A value deep in parsed JSON; None where the answer is of another shape."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _require_somebody(myself: Any) -> None:
    """Cloud names an accountId, Server a name and a key; an answer that names nobody is no sign-in."""
    if not any(_at(myself, name) and isinstance(myself[name], str) for name in ("accountId", "name", "key")):
        raise TypeError("unexpected answer")


def _module(error: Exception) -> str:
    return type(error).__module__


def _kind(error: Exception) -> str:
    return type(error).__name__
