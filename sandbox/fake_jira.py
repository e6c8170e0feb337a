"""A Jira Cloud or a Jira Server, as far as keycheck and python-jira look at one.

What it is strict about, because the real ones are and keycheck rests on it:

- GET by key is always fresh; the search shows an issue, and a change of its status, only after `search_lag_seconds`.
- Cloud has `/search/jql` only (`/search` answers 410) and gives nothing but ids unless fields are asked for. Server has
  `/search` only.
- A wrong token is nobody on Cloud: the search says "no issues" and a GET says "not found", both politely.
- An issue that lacks a field, or has a label with a space, is refused with the name of the field.
- Cloud names a user by account id and looks for `query`; Server by name and for `username`. Both also find those whose
  address merely begins so. Transitions go where the workflow lets them, and may want a field filled in.

The paths /rest/api/2, 3 and latest are served alike, with text as plain text. Where the real one would want or give
Atlassian's document format (version 3 on Cloud), writing is refused loudly rather than half understood.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlencode

from sandbox.http_fake import Answer, FakeServer, Request

Flavour = Literal["cloud", "server"]
Category = Literal["new", "indeterminate", "done"]

CATEGORIES: dict[Category, tuple[int, str]] = {
    "new": (2, "To Do"),
    "indeterminate": (4, "In Progress"),
    "done": (3, "Done"),
}
"""The three status categories, by the key that Jira gives them: id and name. A site names its statuses as it likes."""

MAX_SUMMARY = 255
MAX_DESCRIPTION = 32_767
DEFAULT_RESULTS = 50

_GONE = (
    "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API. "
    "A full migration guideline is available at https://developer.atlassian.com/changelog/#CHANGE-2046"
)
_UNBOUNDED = "Unbounded JQL queries are not allowed here. Please add a search restriction to your query."
_NO_ISSUE = {
    "cloud": "Issue does not exist or you do not have permission to see it.",
    "server": "Issue Does Not Exist",
}
_NOT_AUTHENTICATED = {
    "cloud": "Client must be authenticated to access this resource.",
    "server": "You are not authenticated. Authentication required to perform this operation.",
}


@dataclass(frozen=True)
class Transition:
    """An issue has this status since then."""

    at: datetime
    status: str
    category: Category


@dataclass(frozen=True)
class Comment:
    id: str
    body: str
    at: datetime


@dataclass
class Issue:
    """One issue. `transitions` begins with its creation and is never empty; `fields` holds what has no place here.

    `assignee` is the e-mail address of one of the site's `users`, whether or not the site shows it.
    """

    key: str
    id: str
    project: str
    issue_type: str
    summary: str
    description: str
    labels: list[str]
    fields: dict[str, Any]
    created: datetime
    transitions: list[Transition]
    comments: list[Comment] = field(default_factory=list)
    assignee: str | None = None

    @property
    def status(self) -> str:
        return self.transitions[-1].status

    @property
    def category(self) -> Category:
        return self.transitions[-1].category


class FakeJira(FakeServer):
    """credentials: {"email": ..., "token": ...}, accepted as Basic, and the token alone as Bearer on Server.

    These are free to be changed at any time: statuses (this site's status names, each with its category; the first is
    a new issue's), required_fields (field id -> what Jira says where a new issue lacks it), search_lag_seconds,
    page_size (the most issues in one page of a search, and comments in one of an issue's), auto_close (new issues are
    Done at once), is_blind (the account may create issues, and may not see any).

    users: whom the site knows, each a dict of which all but "email" may be left out: "account_id" (Cloud) and "name"
    (Server), else made up; "active", else True; "assignable" (may be assigned issues), else True. hides_emails: no
    address is shown, as where Cloud's users chose so. allowed_transitions: names of the statuses that the API may take
    an issue to (None: all); required_on_transition: status -> what `required_fields` is for a new issue. Neither is in
    the way of `transition`. resolution_on: names of the statuses whose transition has the field on its screen; Jira
    refuses it elsewhere.

    lacking: the permissions that the account has not, as `mypermissions` says.

    base_url: what serverInfo says that people open, if not its own address. scopes: what a scoped token may do (None:
    all), such as "read:jira-work". Cloud also answers below /ex/jira/<id>, as Atlassian's gateway does.
    """

    def __init__(
        self,
        flavour: Flavour,
        credentials: Mapping[str, str],
        *,
        projects: Iterable[str] = ("SEC",),
        issue_types: Iterable[str] = ("Task", "Bug", "Story"),
    ) -> None:
        super().__init__()
        self.flavour: Flavour = flavour
        self.credentials = dict(credentials)
        self.projects = set(projects)
        self.issue_types = set(issue_types)
        self.required_fields: dict[str, str] = {}
        self.lacking: set[str] = set()
        self.search_lag_seconds: float = 0
        self.page_size = 100
        self.auto_close = False
        self.is_blind = False
        self.statuses: dict[str, Category] = {"To Do": "new", "In Progress": "indeterminate", "Done": "done"}
        self.users: list[dict[str, Any]] = []
        self.hides_emails = False
        self.allowed_transitions: set[str] | None = None
        self.required_on_transition: dict[str, dict[str, str]] = {}
        self.resolution_on: set[str] = set()
        self.base_url = ""
        self.scopes: set[str] | None = None
        self.issues: dict[str, Issue] = {}
        self._token_is_dead = False
        self._old_keys: dict[str, str] = {}
        self._last_id = 10_000
        self._last_number: dict[str, int] = {}

    # What a test does to it

    def dead_token(self) -> None:
        """Accept no credential any more, as after the token was revoked."""
        self._token_is_dead = True

    def revive_token(self) -> None:
        self._token_is_dead = False

    def transition(self, key: str, status: str) -> None:
        """Give an issue another of this site's `statuses`, as a person would."""
        with self.lock:
            self.issues[key].transitions.append(Transition(datetime.now(UTC), status, self.statuses[status]))

    def file_as_original(self, user_name: str, last_five: str, account: str) -> str:
        """File an issue as lacework/ops does, which keycheck may take over; its key."""
        about = f"{user_name} with Key ID ending in ****{last_five}. This key is set to expire on 05/11/2026. "
        with self.lock:
            issue = self._add(
                {
                    "project": {"key": "SEC"},
                    "summary": f"AWS Access key is soon to expire - {user_name}",
                    "description": f"AWS Access Key must be rotated for {about}The AccountAlias is {account} \n  ",
                    "issuetype": {"name": "Story"},
                    "labels": ["AWS-User-Key-Rotation"],
                }
            )
            return issue.key

    def move(self, key: str, project: str) -> str:
        """Move an issue to another project; it has a new key then, and answers to the old one too."""
        with self.lock:
            issue = self.issues.pop(key)
            number = self._last_number[project] = self._last_number.get(project, 0) + 1
            issue.key, issue.project = f"{project}-{number}", project
            self.projects.add(project)
            self.issues[issue.key] = issue
            self._old_keys[key] = issue.key
            return issue.key

    def delete(self, key: str) -> None:
        """Delete an issue; GET and search forget it at once, and its key is not given again."""
        with self.lock:
            del self.issues[key]

    def move_back(self, span: timedelta) -> None:
        """Let time pass: everything that happened becomes so much older, so the search may catch up."""
        with self.lock:
            for issue in self.issues.values():
                issue.created -= span
                issue.transitions = [replace(change, at=change.at - span) for change in issue.transitions]
                issue.comments = [replace(comment, at=comment.at - span) for comment in issue.comments]

    # HTTP

    def serve(self, request: Request) -> Answer:
        gateway = "(?:/ex/jira/[a-z0-9-]+)?" if self.flavour == "cloud" else ""
        found = re.fullmatch(rf"{gateway}/rest/api/(2|3|latest)/(.+)", request.path)
        if found is None or (self.flavour == "server" and found[1] == "3"):
            return _not_found(request)
        version, path = found.groups()
        who = self._who(request)
        if path == "serverInfo":
            return self._server_info()
        if self.flavour == "server" and who != "known":
            return _errors(401, _NOT_AUTHENTICATED["server"])
        if path == "field":
            return Answer(200, _FIELDS)
        if self.scopes is not None and _scope(request, path) not in self.scopes:
            return Answer(401, {"code": 401, "message": "Unauthorized; scope does not match"})
        if self.flavour == "cloud" and version != "2" and request.method == "POST" and path.startswith("issue"):
            return _errors(400, "The sandbox has no Atlassian document format: write through version 2.")
        answer = self._route(request, path, anonymous=who != "known")
        if who == "refused":
            answer = replace(answer, headers={**answer.headers, "X-Seraph-LoginReason": "AUTHENTICATED_FAILED"})
        return answer

    def _route(self, request: Request, path: str, *, anonymous: bool) -> Answer:
        match request.method, path.split("/"):
            case "GET", ["myself"]:
                return self._myself(anonymous)
            case "GET", ["mypermissions"]:
                return self._my_permissions(request, anonymous)
            case "GET", ["user", "search"]:
                return self._search_users(request, anonymous)
            case "GET" | "POST", ["search"]:
                return self._search_server(request) if self.flavour == "server" else _errors(410, _GONE)
            case "GET" | "POST", ["search", "jql"]:
                return self._search_cloud(request, anonymous) if self.flavour == "cloud" else _not_found(request)
            case "POST", ["issue"]:
                return self._create(request, anonymous)
            case "GET", ["issue", "createmeta", project, "issuetypes", *rest] if project in self.projects:
                return self._create_meta(rest)
            case "GET", ["project", project, "statuses"] if project in self.projects:
                statuses = [{"name": name, "statusCategory": {"key": key}} for name, key in self.statuses.items()]
                return Answer(200, [{"name": name, "statuses": statuses} for name in sorted(self.issue_types)])
            case _, ["issue", name, *rest]:
                return self._about_issue(request, None if anonymous or self.is_blind else self._find(name), rest)
        return _not_found(request)

    def _about_issue(self, request: Request, issue: Issue | None, rest: list[str]) -> Answer:
        if issue is None:
            return _errors(404, _NO_ISSUE[self.flavour])
        is_post = request.method == "POST"
        match request.method, rest:
            case "GET", []:
                return Answer(200, self._issue_json(issue, issue.transitions[-1], _asked_fields(request) or ["*all"]))
            case "GET" | "POST", ["transitions"]:
                with_fields = request.query.get("expand") == "transitions.fields"
                transitions = {"expand": "transitions", "transitions": self._transitions_json(with_fields=with_fields)}
                return self._do_transition(request, issue) if is_post else Answer(200, transitions)
            case "GET" | "POST", ["comment"]:
                return self._comment(request, issue) if is_post else self._comments(request, issue)
            case "PUT", ["assignee"]:
                return self._assign(request, issue)
            case "PUT", []:
                return self._edit(request, issue)
        return _errors(405, "Method Not Allowed")

    def _create_meta(self, rest: list[str]) -> Answer:
        """Cloud names its lists, Server and Data Center call them `values`."""
        if not rest:
            types = [{"id": str(number), "name": name} for number, name in enumerate(sorted(self.issue_types))]
            return Answer(200, {"issueTypes" if self.flavour == "cloud" else "values": types})
        fields = [
            {"fieldId": name, "name": name.title(), "required": True} for name in ("project", "summary", "issuetype")
        ]
        fields += [{"fieldId": "labels", "name": "Labels", "required": False}]
        fields += [{"fieldId": name, "name": name.title(), "required": True} for name in self.required_fields]
        return Answer(200, {"fields" if self.flavour == "cloud" else "values": fields})

    # Who asks

    def _who(self, request: Request) -> Literal["known", "refused", "anonymous"]:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if not scheme:
            return "anonymous"
        if self._token_is_dead:
            return "refused"
        if scheme.lower() == "basic":
            expected = "{email}:{token}".format(**self.credentials)
            return "known" if value == base64.b64encode(expected.encode()).decode() else "refused"
        is_bearer = scheme.lower() == "bearer" and self.flavour == "server"
        return "known" if is_bearer and value == self.credentials["token"] else "refused"

    def _myself(self, anonymous: bool) -> Answer:
        if anonymous:
            return _errors(401, _NOT_AUTHENTICATED["cloud"])
        email = self.credentials["email"]
        name = {"accountId": "5b10a2844c20165700ede21g"} if self.flavour == "cloud" else {"name": email, "key": email}
        return Answer(200, {"self": f"{self.url}/rest/api/2/user", "emailAddress": email, "active": True, **name})

    def _my_permissions(self, request: Request, anonymous: bool) -> Answer:
        """Cloud insists on being asked for certain permissions; both know more than the sandbox does."""
        asked = request.query.get("permissions", "").split(",")
        if self.flavour == "cloud" and asked == [""]:
            return _errors(400, "The 'permissions' query parameter is required.")
        if request.query.get("projectKey", "") not in self.projects:
            return _errors(404, f"No project could be found with key '{request.query.get('projectKey', '')}'.")
        known = {"BROWSE_PROJECTS": not anonymous and not self.is_blind, "CREATE_ISSUES": not anonymous}
        known |= dict.fromkeys(("ADD_COMMENTS", "TRANSITION_ISSUES", "ASSIGN_ISSUES"), not anonymous)
        known |= dict.fromkeys(self.lacking, False)
        return Answer(
            200,
            {"permissions": {one: {"key": one, "havePermission": known[one]} for one in asked if one in known}},
        )

    def _server_info(self) -> Answer:
        cloud = self.flavour == "cloud"
        return Answer(
            200,
            {
                "baseUrl": self.base_url or self.url,
                "version": "1001.0.0-SNAPSHOT" if cloud else "9.12.0",
                "versionNumbers": [1001, 0, 0] if cloud else [9, 12, 0],
                "deploymentType": "Cloud" if cloud else "Server",
                "buildNumber": 100_287 if cloud else 912_000,
                "serverTime": _jira_time(datetime.now(UTC)),
                "serverTitle": "Jira",
            },
        )

    # Search

    def _search_cloud(self, request: Request, anonymous: bool) -> Answer:
        asked = _asked(request)
        try:
            matches = self._matcher(str(asked.get("jql") or ""))
            most = min(int(asked.get("maxResults", DEFAULT_RESULTS)), self.page_size)
            below = _read_page_token(asked.get("nextPageToken"))
            fresh = {str(number) for number in _list(asked.get("reconcileIssues"))}
        except ValueError as err:
            return _errors(400, str(err))
        seen = [] if anonymous or self.is_blind else self._seen(matches, fresh)
        found = [one for one in seen if below is None or _id(one) < below]
        page = found[:most]
        fields = _asked_fields(request)
        result: dict[str, Any] = {"issues": [self._issue_json(*one, fields) for one in page]}
        result["isLast"] = len(found) <= most
        if page and not result["isLast"]:
            result["nextPageToken"] = _page_token(_id(page[-1]))
        return Answer(200, result)

    def _search_server(self, request: Request) -> Answer:
        asked = _asked(request)
        try:
            matches = self._matcher(str(asked.get("jql") or ""))
            start = int(asked.get("startAt", 0))
            most = min(int(asked.get("maxResults", DEFAULT_RESULTS)), self.page_size)
        except ValueError as err:
            return _errors(400, str(err))
        found = [] if self.is_blind else self._seen(matches, fresh=set())
        fields = _asked_fields(request) or ["*navigable"]
        issues = [self._issue_json(*one, fields) for one in found[start : start + most]]
        return Answer(200, {"startAt": start, "maxResults": most, "total": len(found), "issues": issues})

    def _seen(self, matches: _Matcher, fresh: set[str]) -> list[tuple[Issue, Transition]]:
        """The matching issues, newest first, each with the status that the search shows by now.

        fresh: ids of issues that the search must not lag behind for.
        """
        now = datetime.now(UTC)
        seen = []
        for issue in self.issues.values():
            lag = timedelta(seconds=0 if issue.id in fresh else self.search_lag_seconds)
            known = [change for change in issue.transitions if change.at + lag <= now]
            if known and matches(issue, known[-1]):
                seen.append((issue, known[-1]))
        return sorted(seen, key=_id, reverse=True)

    def _matcher(self, jql: str) -> _Matcher:
        """Raises ValueError, in Jira's words where it has some, for what this fake does not understand."""
        clauses = _read_jql(jql)
        if not clauses and self.flavour == "cloud":
            raise ValueError(_UNBOUNDED)
        tests: list[_Matcher] = []
        for name, operator, value in clauses:
            match name.lower(), operator:
                case "labels", "=":
                    tests.append(_has_label(value))
                case "project", "=":
                    if value not in self.projects:
                        raise ValueError(f"The value '{value}' does not exist for the field 'project'.")
                    tests.append(_is_in_project(value))
                case "statuscategory", "!=" if value.lower() == "done":
                    tests.append(lambda _, seen: seen.category != "done")
                case "created", ">=" if re.fullmatch(r"-\d+d", value):
                    tests.append(_is_younger(timedelta(days=int(value[1:-1]))))
                case _:
                    raise ValueError(f"Error in the JQL Query: the sandbox does not know '{name} {operator} {value}'.")
        return lambda issue, seen: all(test(issue, seen) for test in tests)

    # Issues

    def _find(self, name: str) -> Issue | None:
        by_id = (issue for issue in self.issues.values() if issue.id == name)
        key = name.upper()
        while key in self._old_keys:
            key = self._old_keys[key]
        return self.issues.get(key) or next(by_id, None)

    def _create(self, request: Request, anonymous: bool) -> Answer:
        if anonymous:
            return _errors(401, "You do not have permission to create issues in this project.")
        given = request.json.get("fields") if isinstance(request.json, dict) else None
        if not isinstance(given, dict):
            return _errors(400, "The request body has no fields")
        fields = dict(given)
        errors = self._creation_errors(fields)
        if errors:
            return Answer(400, {"errorMessages": [], "errors": errors})

        issue = self._add(fields)
        return Answer(201, {"id": issue.id, "key": issue.key, "self": self._self(issue)})

    def _add(self, fields: dict[str, Any]) -> Issue:
        project = str(fields.pop("project")["key"])
        number = self._last_number[project] = self._last_number.get(project, 0) + 1
        self._last_id += 1
        now = datetime.now(UTC)
        first_status = next(iter(self.statuses))
        issue = Issue(
            key=f"{project}-{number}",
            id=str(self._last_id),
            project=project,
            issue_type=str(fields.pop("issuetype")["name"]),
            summary=fields.pop("summary"),
            description=fields.pop("description", None) or "",
            labels=list(dict.fromkeys(fields.pop("labels", None) or [])),
            fields=fields,
            created=now,
            transitions=[Transition(now, first_status, self.statuses[first_status])],
        )
        if self.auto_close:
            done = next(name for name, category in self.statuses.items() if category == "done")
            issue.transitions.append(Transition(now, done, "done"))
        self.issues[issue.key] = issue
        return issue

    def _creation_errors(self, fields: dict[str, Any]) -> dict[str, str]:
        known_project = _name_in(fields.get("project"), "key") in self.projects
        known_type = _name_in(fields.get("issuetype"), "name") in self.issue_types
        errors = {
            "project": None if known_project else "Specify a valid project ID or key",
            "issuetype": None if known_type else "Specify a valid issue type",
            "summary": _summary_error(fields.get("summary")),
            "description": _description_error(fields.get("description")),
            "labels": _labels_error(fields.get("labels") or []),
        }
        errors |= {name: says for name, says in self.required_fields.items() if fields.get(name) in (None, "", [])}
        return {name: says for name, says in errors.items() if says is not None}

    def _do_transition(self, request: Request, issue: Issue) -> Answer:
        asked = request.json if isinstance(request.json, dict) else {}
        wanted = str((asked.get("transition") or {}).get("id"))
        names = {one["id"]: one["name"] for one in self._transitions_json()}
        if wanted not in names:
            return _errors(400, f"Transition id '{wanted}' is not valid for this issue.")
        given = asked.get("fields") or {}
        if "resolution" in given and not self._takes_resolution(names[wanted]):
            says = "Field 'resolution' cannot be set. It is not on the appropriate screen, or unknown."
            return Answer(400, {"errorMessages": [], "errors": {"resolution": says}})
        lacking = self.required_on_transition.get(names[wanted], {})
        errors = {name: says for name, says in lacking.items() if given.get(name) in (None, "", [])}
        if errors:
            return Answer(400, {"errorMessages": [], "errors": errors})
        self.transition(issue.key, names[wanted])
        if "resolution" in given:
            issue.fields["resolution"] = given["resolution"]
        for operation in (asked.get("update") or {}).get("comment", []):
            self._add_comment(issue, operation["add"]["body"])
        return Answer(204)

    def _edit(self, request: Request, issue: Issue) -> Answer:
        """As far as keycheck edits an issue: labels are added."""
        asked = request.json if isinstance(request.json, dict) else {}
        added = [one.get("add") for one in (asked.get("update") or {}).get("labels", [])]
        if not added or _labels_error(added) is not None:
            return Answer(400, {"errorMessages": [], "errors": {"labels": "The sandbox knows of adding labels alone."}})
        issue.labels = list(dict.fromkeys([*issue.labels, *added]))
        return Answer(204)

    def _assign(self, request: Request, issue: Issue) -> Answer:
        asked = request.json if isinstance(request.json, dict) else {}
        id_name = self._id_name
        if id_name not in asked:
            return _errors(400, f"The sandbox wants an assignee's '{id_name}'.")
        if asked[id_name] is None:
            issue.assignee = None
            return Answer(204)
        user = next((user for user in self.users if self._user_id(user) == asked[id_name]), None)
        if user is None and self.flavour == "cloud":
            return _errors(404, f"User '{asked[id_name]}' does not exist.")
        if user is None or not user.get("active", True) or not user.get("assignable", True):
            says = f"User '{asked[id_name]}' cannot be assigned issues."
            return Answer(400, {"errorMessages": [], "errors": {"assignee": says}})
        issue.assignee = user["email"]
        return Answer(204)

    def _comments(self, request: Request, issue: Issue) -> Answer:
        try:
            start = int(request.query.get("startAt", 0))
            most = min(int(request.query.get("maxResults", self.page_size)), self.page_size)
        except ValueError as err:
            return _errors(400, str(err))
        return Answer(200, _comments_json(issue, start, most))

    def _comment(self, request: Request, issue: Issue) -> Answer:
        body = request.json.get("body") if isinstance(request.json, dict) else None
        if not isinstance(body, str) or not body.strip():
            return Answer(400, {"errorMessages": [], "errors": {"comment": "Comment body can not be empty!"}})
        return Answer(201, _comment_json(self._add_comment(issue, body)))

    def _add_comment(self, issue: Issue, body: str) -> Comment:
        self._last_id += 1
        comment = Comment(str(self._last_id), body, datetime.now(UTC))
        issue.comments.append(comment)
        return comment

    # Users

    @property
    def _id_name(self) -> str:
        return "accountId" if self.flavour == "cloud" else "name"

    def _user_id(self, user: Mapping[str, Any]) -> str:
        """Cloud's account id does not tell the address; a user's name on Server is often its first part."""
        email = str(user["email"])
        if self.flavour == "cloud":
            return str(user.get("account_id") or hashlib.sha256(email.encode()).hexdigest()[:24])
        return str(user.get("name") or email.partition("@")[0])

    def _search_users(self, request: Request, anonymous: bool) -> Answer:
        """Whose address, or name, begins so. Inactive ones too: Data Center was seen to give them."""
        name = "query" if self.flavour == "cloud" else "username"
        wanted = request.query.get(name, "").casefold()
        if not wanted:
            return _errors(400, f"The '{name}' query parameter was not provided.")
        try:
            start, most = int(request.query.get("startAt", 0)), int(request.query.get("maxResults", DEFAULT_RESULTS))
        except ValueError as err:
            return _errors(400, str(err))
        found = [
            self._user_json(user)
            for user in ([] if anonymous else self.users)
            if user["email"].casefold().startswith(wanted)
            or (self.flavour == "server" and self._user_id(user).casefold().startswith(wanted))
        ]
        return Answer(200, found[start : start + most])

    def _user_json(self, user: Mapping[str, Any]) -> dict[str, Any]:
        shown = {} if self.hides_emails else {"emailAddress": user["email"]}
        user_id = self._user_id(user)
        return {
            "self": f"{self.url}/rest/api/2/user?{urlencode({self._id_name: user_id})}",
            self._id_name: user_id,
            **shown,
            "displayName": "A user",
            "active": user.get("active", True),
        }

    def _assignee_json(self, issue: Issue) -> dict[str, Any] | None:
        return next((self._user_json(user) for user in self.users if user["email"] == issue.assignee), None)

    # As JSON

    def _self(self, issue: Issue) -> str:
        return f"{self.url}/rest/api/2/issue/{issue.id}"

    def _issue_json(self, issue: Issue, seen: Transition, asked: list[str]) -> dict[str, Any]:
        """An issue as it is `seen`. Where no fields are asked for, that is its id and nothing else (Cloud's search)."""
        if not asked:
            return {"id": issue.id}
        all_fields: dict[str, Any] = {
            **issue.fields,
            "summary": issue.summary,
            "description": issue.description or None,
            "labels": issue.labels,
            "issuetype": {"name": issue.issue_type, "subtask": False},
            "project": {"key": issue.project, "name": issue.project},
            "status": _status_json(seen.status, seen.category),
            "assignee": self._assignee_json(issue),
            "created": _jira_time(issue.created),
            "updated": _jira_time(issue.transitions[-1].at),
            "comment": _comments_json(issue),
        }
        everything = "*all" in asked or "*navigable" in asked
        fields = {name: value for name, value in all_fields.items() if everything or name in asked}
        result: dict[str, Any] = {"id": issue.id, "key": issue.key, "self": self._self(issue)}
        if fields:
            result["fields"] = fields
        elif self.flavour == "server":
            result["fields"] = None  # so Data Center does: pycontribs/jira#2355
        return result

    def _takes_resolution(self, status: str) -> bool:
        return status in self.resolution_on or "resolution" in self.required_on_transition.get(status, {})

    def _transitions_json(self, *, with_fields: bool = False) -> list[dict[str, Any]]:
        def fields(name: str) -> dict[str, Any]:
            takes = {"resolution": {"required": False, "name": "Resolution"}} if self._takes_resolution(name) else {}
            return {"fields": takes} if with_fields else {}

        return [
            {"id": str(10 * number + 1), "name": name, "to": _status_json(name, category), **fields(name)}
            for number, (name, category) in enumerate(self.statuses.items(), start=1)
            if self.allowed_transitions is None or name in self.allowed_transitions
        ]


def render(issue: Issue) -> str:
    """Key, type and status, labels, the assignee if any, summary, then the description and each comment as they stand;
    no newline at the end.
    """
    labels = ", ".join(issue.labels) or "none"
    assignee = f"\nassignee: {issue.assignee}" if issue.assignee else ""
    head = f"{issue.key}  {issue.issue_type}  [{issue.status}]\nlabels: {labels}{assignee}\n{issue.summary}"
    comments = [f"comment:\n{comment.body}".rstrip("\n") for comment in issue.comments]
    return "\n\n".join([f"{head}\n\n{issue.description}".rstrip("\n"), *comments])


_Matcher = Callable[[Issue, Transition], bool]

_FIELDS = [
    {"id": name, "name": name.capitalize(), "custom": False, "clauseNames": clauses}
    for name, clauses in {
        "issuekey": ["id", "issue", "issuekey", "key"],
        "summary": ["summary"],
        "description": ["description"],
        "labels": ["labels"],
        "status": ["status"],
        "project": ["project"],
        "issuetype": ["issuetype", "type"],
        "assignee": ["assignee"],
        "created": ["created", "createdDate"],
        "updated": ["updated", "updatedDate"],
    }.items()
]

_ORDER_BY = re.compile(r"\s*\border\s+by\b[^\"']*$", re.IGNORECASE)
_CLAUSE = re.compile(
    r"""\s*(?P<name>\w+)\s*(?P<operator>!=|>=|=)\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[\w-]+))\s*""",
    re.IGNORECASE,
)


def _read_jql(jql: str) -> list[tuple[str, str, str]]:
    """The clauses (field, operator, value) of a query that joins them by AND; an ORDER BY at its end is dropped."""
    rest = _ORDER_BY.sub("", jql).strip()
    clauses = []
    while rest:
        clause = _CLAUSE.match(rest)
        if clause is None:
            raise ValueError(f"Error in the JQL Query: the sandbox does not understand '{rest}'.")
        value = clause["bare"] if clause["quoted"] is None else re.sub(r"\\(.)", r"\1", clause["quoted"])
        clauses.append((clause["name"], clause["operator"], value))
        rest = rest[clause.end() :]
        if rest:
            joined = re.match(r"and\b(?=.)", rest, re.IGNORECASE | re.DOTALL)
            if joined is None:
                raise ValueError(f"Error in the JQL Query: the sandbox knows AND only, not '{rest}'.")
            rest = rest[joined.end() :]
    return clauses


def _has_label(label: str) -> _Matcher:
    return lambda issue, _: label in issue.labels


def _is_younger(age: timedelta) -> _Matcher:
    return lambda issue, _: datetime.now(UTC) - issue.created <= age


def _is_in_project(project: str) -> _Matcher:
    return lambda issue, _: issue.project == project


def _id(seen: tuple[Issue, Transition]) -> int:
    return int(seen[0].id)


def _page_token(last_id: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"below": last_id}).encode()).decode()


def _read_page_token(token: object) -> int | None:
    """The id below which the page begins. Raises ValueError for what is no token of ours."""
    if not token:
        return None
    try:
        return int(json.loads(base64.urlsafe_b64decode(str(token)))["below"])
    except (ValueError, KeyError, TypeError) as err:
        raise ValueError("The provided next page token is invalid.") from err


def _scope(request: Request, path: str) -> str:
    """The classic scope that a call needs: developer.atlassian.com, "Jira scopes for OAuth 2.0"."""
    if path in ("myself", "user/search"):
        return "read:jira-user"
    is_search = path in ("search", "search/jql")
    return "read:jira-work" if request.method == "GET" or is_search else "write:jira-work"


def _asked(request: Request) -> Mapping[str, Any]:
    """A search's arguments: the query of a GET, the JSON body of a POST."""
    if request.method == "GET":
        return request.query
    return request.json if isinstance(request.json, dict) else {}


def _asked_fields(request: Request) -> list[str]:
    return [str(name) for name in _list(_asked(request).get("fields"))]


def _list(given: object) -> list[object]:
    """A JSON list as it is; a parameter's values, which are joined by commas."""
    if isinstance(given, list):
        return given
    return [part.strip() for part in str(given).split(",")] if given else []


def _name_in(reference: object, name: str) -> object:
    """What {"key": "SEC"} or {"name": "Task"} refers to."""
    return reference.get(name) if isinstance(reference, dict) else None


def _summary_error(summary: object) -> str | None:
    if not isinstance(summary, str) or not summary.strip():
        return "You must specify a summary of the issue."
    if "\n" in summary or "\r" in summary:
        return "The summary is invalid because it contains newline characters."
    return f"Summary must be less than {MAX_SUMMARY} characters." if len(summary) > MAX_SUMMARY else None


def _description_error(description: object) -> str | None:
    if description is not None and not isinstance(description, str):
        return "Operation value must be a string"
    if len(description or "") > MAX_DESCRIPTION:
        return f"The entered text is too long. It exceeds the allowed limit of {MAX_DESCRIPTION:,} characters."
    return None


def _labels_error(labels: object) -> str | None:
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        return "data was not an array"
    spaced = [label for label in labels if re.search(r"\s", label)]
    return f"The label '{spaced[0]}' contains spaces which is invalid." if spaced else None


def _status_json(name: str, category: Category) -> dict[str, Any]:
    number, category_name = CATEGORIES[category]
    return {"name": name, "statusCategory": {"id": number, "key": category, "name": category_name}}


def _comment_json(comment: Comment) -> dict[str, Any]:
    return {"id": comment.id, "body": comment.body, "created": _jira_time(comment.at)}


def _comments_json(issue: Issue, start: int = 0, most: int | None = None) -> dict[str, Any]:
    """All of them, as among an issue's fields, or one page."""
    total = len(issue.comments)
    most = total if most is None else most
    comments = [_comment_json(comment) for comment in issue.comments[start : start + most]]
    return {"startAt": start, "maxResults": most, "total": total, "comments": comments}


def _jira_time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}+0000"


def _errors(status: int, message: str) -> Answer:
    return Answer(status, {"errorMessages": [message], "errors": {}})


def _not_found(request: Request) -> Answer:
    return Answer(404, {"message": f"null for uri: {request.path}", "status-code": 404})
