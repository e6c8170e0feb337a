"""Jira: look for open issues, create, read back, assign, comment on and close one. Cloud, and Server/Data Center.

In: issue keys, labels, drafts, e-mail addresses. Out: issue keys and plain answers, or ServiceError that says whether
an issue or a comment may have been made. It never sends a second POST for one of them: python-jira's own retries, which
do, are off (services.md 4.3), and only a 429, which Jira did not serve, is tried again.

A look that failed is never "not found". Jira Cloud answers a dead token as if it were anonymous: "no issues", 404. So
GET /myself comes first, and only after it succeeded is an empty answer believed.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from keycheck.clock import RunClock
from keycheck.model import LABEL_OF_ITS_OWN, AccessKey, OpenIssues, SeenIssue
from keycheck.services import ServiceError
from keycheck.services.jira_calls import SERVICE, JiraCalls, at
from keycheck.services.jira_refusals import ASSIGN, CREATE
from keycheck.services.jira_search import PAGE, PAGES_AT_MOST, JiraSearch, labels_of, sound_key
from keycheck.values import is_issue_key
from keycheck.words.issue import FAMILY_LABEL, IssueDraft, is_by_original

OPEN_OF_FAMILY = f'labels = "{FAMILY_LABEL}" AND statusCategory != Done'
DONE = "done"
"""The key of the one status category that is not open, in every language: /rest/api/2/statuscategory."""
DONE_STATUSES = ("done", "closed", "resolved")
"""Where several statuses of that category can be reached, the first of these is taken."""
NOT_DONE = re.compile(
    "cancel|duplicat|reject|declin|won'?t|will not|invalid|abandon|obsolet|discard|withdrawn|not a bug|not done"
    "|reproduce"
)
"""What statuses of that category are called where nothing was done: an issue that ends so says what is not true."""


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
        done_status: str | None = None,
        resolution: str | None = None,
    ) -> None:
        self._jira = JiraCalls(address, credentials, project_key=project_key, issue_type=issue_type, clock=clock)
        self._search = JiraSearch(self._jira).search
        self._project_key = project_key
        self._issue_type = issue_type
        self._extra_fields = extra_fields
        self._done_status = done_status
        self._resolution = resolution
        self._lock = threading.Lock()
        self._of_nobody: frozenset[str] = frozenset()
        self._originals: dict[str, str] | None = None

    @property
    def browse_address(self) -> str | None:
        """Return where people can open an issue; None if that is not known."""
        return self._jira.browse_address

    def connect(self) -> None:
        """Sign in, once; the first look does so of its own accord."""
        self._jira.connect()

    def open_issues(self) -> OpenIssues:
        """Return all open issues of ours, whatever their project: somebody may have moved one. One without the label of
        an access key is not ours. Raises if any page fails.
        """
        found: dict[str, set[str]] = defaultdict(set)
        of_nobody = set()
        for issue in self._search(OPEN_OF_FAMILY):
            own = [label for label in issue.labels if LABEL_OF_ITS_OWN.fullmatch(label)]
            if not own:
                of_nobody.add(issue.key)
            for label in own:
                found[label].add(issue.key)
        self._of_nobody = frozenset(of_nobody)
        return {label: frozenset(keys) for label, keys in found.items()}

    def find_open(self, issue_label: str) -> str | None:
        """Return the open issue that carries one access key's label; the first by key if there are several."""
        return min(
            (one.key for one in self._search(f'labels = "{issue_label}" AND statusCategory != Done')), default=None
        )

    def find_original(self, access_key: AccessKey, profile: str) -> str | None:
        """Return the open issue that lacework/ops filed for this access key: one of the family's label without a label
        of its own, whose description names user, account and last five characters. Its descriptions are read once a
        run, and only where the first look has found such issues.
        """
        if not self._of_nobody:
            return None
        with self._lock:
            if self._originals is None:
                found = self._search(OPEN_OF_FAMILY, "description")
                self._originals = {one.key: one.description for one in found if one.key in self._of_nobody}
            theirs = (key for key, text in self._originals.items() if is_by_original(text, access_key, profile))
            return next(theirs, None)

    def add_label(self, issue_key: str, label: str) -> None:
        """Add one, which may be repeated."""
        change = {"update": {"labels": [{"add": label}]}}
        put = partial(self._jira.write, "PUT", f"issue/{issue_key}", change)
        self._jira.call("add label", put, is_write=True)

    def count_filed(self, issue_label: str, days: int) -> int | None:
        """Return how many issues with this label were made within so many days, whatever became of them; None if this
        account may not see the project's issues, so that no search can tell.
        """
        self._jira.connect()
        permission = "BROWSE_PROJECTS"
        answer = self._jira.call(
            "permissions",
            lambda: self._jira.client.my_permissions(projectKey=self._project_key, permissions=permission),
        )
        if at(answer, "permissions", permission, "havePermission") is not True:
            return None
        return len(self._search(f'labels = "{issue_label}" AND created >= -{days}d'))

    def read(self, issue_key: str) -> SeenIssue | None:
        """Return an issue as it is now; None if it is gone (404). One that was moved answers to its old key too, with
        the new one in the answer.
        """
        self._jira.connect()
        try:
            issue = self._jira.call("read issue", lambda: self._jira.client.issue(issue_key, fields="status,labels"))
        except ServiceError as error:
            if error.code == "404":
                return None
            if error.code == "403":
                text = f"{issue_key}: {error.text}"
                raise ServiceError(SERVICE, "read issue", text, failure=error.failure, code=error.code) from error
            raise
        category = at(issue.raw, "fields", "status", "statusCategory", "key")
        key = at(issue.raw, "key")
        if not isinstance(category, str) or not category or not is_issue_key(key):
            raise ServiceError(SERVICE, "read issue", f"Jira gave no key or no status category for {issue_key}")
        return SeenIssue(str(key), labels_of(issue.raw), category != DONE)

    def create(self, draft: IssueDraft) -> str:
        """Make one POST. Raises ServiceError, UNKNOWN if an issue may exist all the same."""
        self._jira.connect()
        fields = {
            **self._extra_fields,
            "project": {"key": self._project_key},
            "issuetype": {"name": self._issue_type},
            "summary": draft.summary,
            "description": draft.description,
            "labels": list(dict.fromkeys([*draft.labels, *self._extra_fields.get("labels", ())])),
        }
        return self._jira.call(
            CREATE,
            lambda: sound_key(self._jira.client.create_issue(fields=fields, prefetch=False).key),
            is_write=True,
        )

    def check_created(self, issue_key: str, issue_label: str) -> str | None:
        """Read a new issue back. What is wrong with it, for a person, or None: it decides nothing."""
        try:
            issue = self._jira.call("read issue", lambda: self._jira.client.issue(issue_key, fields="status,labels"))
        except ServiceError as error:
            if error.code in ("403", "404"):
                return (
                    f"{issue_key} was filed but cannot be read (HTTP {error.code}); let the account browse the project"
                )
            return f"{issue_key} was filed but could not be read back: {error.text}"
        labels = at(issue.raw, "fields", "labels")
        if not isinstance(labels, list) or issue_label not in labels:
            return f"{issue_key} was filed but lost its labels; put the field Labels on the project's create screen"
        if at(issue.raw, "fields", "status", "statusCategory", "key") == DONE:
            return f"{issue_key} was filed but is Done at once; look at the project's workflow"
        return None

    def assign(self, issue_key: str, email: str) -> bool:
        """Assign it, which may be repeated. False if Jira knows nobody by that address (and so it says to an account
        that may not browse users), if it will not assign to them (400), and if the issue is gone (404).
        """
        self._jira.connect()
        assignee = self._jira.call("find user", partial(self._find_user, email))
        if assignee is None:
            return False
        put = partial(self._jira.write, "PUT", f"issue/{issue_key}/assignee", assignee)
        return self._unless_refused(ASSIGN, put, ("400", "404"))

    def _find_user(self, email: str) -> dict[str, str] | None:
        """Return an active user as an assignee is named. Both kinds of Jira also find who merely begins like the
        address, so one who hides it (on Cloud, unless the account may see all addresses) is not believed: it could be
        another.
        """
        is_cloud = self._jira.is_cloud
        asked = {"query" if is_cloud else "username": email, "maxResults": PAGE}
        found = [user for user in _list_of_dicts(self._jira.get("user/search", asked)) if user.get("active") is True]
        same = [user for user in found if str(user.get("emailAddress") or "").casefold() == email.casefold()]
        id_name = "accountId" if is_cloud else "name"
        return {id_name: _text(same[0][id_name])} if same else None

    def was_said(self, issue_key: str, marker: str) -> bool:
        """Return whether a comment contains this very text. Raises if any page before the one that does fails, and with
        code "404" if the issue is gone.
        """
        self._jira.connect()
        read = known = 0
        for _ in range(PAGES_AT_MOST):
            bodies, total = self._jira.call("read comments", partial(self._comment_page, issue_key, read))
            if any(marker in body for body in bodies):
                return True
            if total < known:  # one was deleted meanwhile: the others moved up, one of them past this page's beginning
                raise ServiceError(SERVICE, "read comments", "an issue's comments became fewer while they were read")
            read, known = read + len(bodies), total
            if read >= total:
                return False
        raise ServiceError(SERVICE, "read comments", "Jira's list of an issue's comments does not end")

    def _comment_page(self, issue_key: str, start: int) -> tuple[list[str], int]:
        page = self._jira.get(f"issue/{issue_key}/comment", {"startAt": start, "maxResults": PAGE})
        bodies = [_text(comment["body"], may_be_empty=True) for comment in _list_of_dicts(page["comments"])]
        total = page["total"]
        if type(total) is not int or total < len(bodies) or (not bodies and total > start):
            raise TypeError("unexpected answer")
        if page["startAt"] != start:  # a page that was not asked for says nothing of the one that was
            raise TypeError("unexpected answer")
        return bodies, total

    def comment(self, issue_key: str, text: str) -> None:
        """Make one POST. Raises ServiceError, UNKNOWN if the comment may be there all the same."""
        self._jira.connect()

        def post() -> str:
            return _text(self._jira.client.add_comment(issue_key, text).raw["id"])

        self._jira.call("add comment", post, is_write=True)

    def close(self, issue_key: str) -> bool:
        """Take it to a status that is not open, if it is open; True also if it is gone.

        False if its workflow offers this account no way there that says so, or Jira refuses the one offered: a field
        that must be filled in (400), a permission (403), somebody else's change (409).
        """
        seen = self.read(issue_key)
        if seen is None or not seen.is_open:
            return True
        path = f"issue/{issue_key}/transitions"
        asked = {"expand": "transitions.fields"} if self._resolution else None
        found = self._jira.call(
            "read transitions", lambda: _way_to_done(self._jira.get(path, asked), self._done_status)
        )
        if found is None:
            return False
        way: dict[str, Any] = {"transition": {"id": found.id}}
        if self._resolution and found.takes_resolution:  # Jira refuses a field that is not on the transition's screen
            way["fields"] = {"resolution": {"name": self._resolution}}
        post = partial(self._jira.write, "POST", path, way)
        return self._unless_refused("close issue", post, ("400", "403", "409"))

    def _unless_refused(self, operation: str, write: Callable[[], None], refusals: tuple[str, ...]) -> bool:
        try:
            self._jira.call(operation, write, is_write=True)
        except ServiceError as error:
            if error.code in refusals:
                return False
            raise
        return True


def _list_of_dicts(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise TypeError("unexpected answer")
    return value


def _text(value: Any, *, may_be_empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or may_be_empty):
        raise TypeError("unexpected answer")
    return value


@dataclass(frozen=True, slots=True)
class _Way:
    """A transition to a status that is not open."""

    id: str
    status: str
    takes_resolution: bool


def _way_to_done(answer: Any, wanted: str | None) -> _Way | None:
    """Return the transition to take: to the status that the setting names, or else to the likeliest, and to none where
    all that is left says that nothing was done. "None" is believed only where each one offered says where it leads.
    """
    ways: list[_Way] = []
    for transition in _list_of_dicts(answer["transitions"]):
        status = transition["to"]
        if _text(status["statusCategory"]["key"]) == DONE:
            takes = at(transition, "fields", "resolution") is not None
            ways.append(_Way(_text(transition["id"]), _text(status["name"]).casefold(), takes))
    if wanted is not None:
        return next((way for way in ways if way.status == wanted.casefold()), None)
    ways = [way for way in ways if NOT_DONE.search(way.status.replace("\u2019", "'")) is None]
    return min(ways, key=_likeliest_first, default=None)


def _likeliest_first(way: _Way) -> int:
    """Return a number that puts the usual statuses first, and keeps all others as Jira lists them."""
    return DONE_STATUSES.index(way.status) if way.status in DONE_STATUSES else len(DONE_STATUSES)
