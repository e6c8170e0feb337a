"""Whether one Jira can be used as the settings say, for --check: it only reads.

In: credentials, a project, an issue type. Out: what is there, or ServiceError. Its paths are of both kinds of Jira:
createmeta by project and issue type is there since Server 8.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keycheck.services import ServiceError
from keycheck.services.jira_calls import JiraCalls, at
from keycheck.services.jira_issues import DONE

GIVEN = frozenset({"project", "issuetype", "summary", "description", "labels", "reporter"})
"""What keycheck gives, or Jira itself."""
PAGE = 200


@dataclass(frozen=True, slots=True)
class IssueFields:
    """Of the issue type's create screen. `required`: names by id of those that must be given and have no default."""

    has_labels: bool
    required: Mapping[str, str]


class JiraProbe:
    """One Jira, signed in by `who`."""

    def __init__(self, calls: JiraCalls, project_key: str, issue_type: str) -> None:
        self._calls = calls
        self._project_key = project_key
        self._issue_type = issue_type

    def who(self) -> str:
        """Return who the token is, and which kind of Jira this is."""
        self._calls.connect()
        myself = self._calls.call("myself", lambda: self._calls.get("myself"))
        name = at(myself, "emailAddress") or at(myself, "displayName") or at(myself, "name") or "somebody"
        return f"{name} on {'Jira Cloud' if self._calls.is_cloud else 'Jira Server or Data Center'}"

    def lacks(self, permissions: Sequence[str]) -> list[str]:
        """Return which of these permissions the account has not in the project."""
        asked = {"projectKey": self._project_key, "permissions": ",".join(permissions)}
        answer = self._calls.call("permissions", lambda: self._calls.get("mypermissions", asked))
        return [one for one in permissions if at(answer, "permissions", one, "havePermission") is not True]

    def issue_types(self) -> dict[str, str] | None:
        """Return the issue types of the project that the account may file: name -> id. None if Jira does not say."""
        path = f"issue/createmeta/{self._project_key}/issuetypes"
        try:
            answer = self._calls.call("permissions", lambda: self._calls.get(path, {"maxResults": PAGE}))
        except ServiceError as error:
            if error.code == "404":
                return None
            raise
        return {str(one["name"]): str(one["id"]) for one in _listed(answer, "issueTypes")}

    def fields(self, issue_type_id: str) -> IssueFields:
        """Return what the create screen of an issue type wants."""
        path = f"issue/createmeta/{self._project_key}/issuetypes/{issue_type_id}"
        answer = self._calls.call("permissions", lambda: self._calls.get(path, {"maxResults": PAGE}))
        fields = {str(one.get("fieldId") or one.get("key")): one for one in _listed(answer, "fields")}
        required = {
            name: str(one.get("name") or name)
            for name, one in fields.items()
            if one.get("required") is True and one.get("hasDefaultValue") is not True and name not in GIVEN
        }
        return IssueFields("labels" in fields, required)

    def done_statuses(self) -> list[str]:
        """Return the statuses of the category Done that issues of the type can have."""
        answer = self._calls.call("permissions", lambda: self._calls.get(f"project/{self._project_key}/statuses"))
        types = [one for one in answer if isinstance(one, dict)] if isinstance(answer, list) else []
        mine = [one for one in types if one.get("name") == self._issue_type] or types
        return [
            str(status.get("name"))
            for one in mine
            for status in one.get("statuses", ())
            if at(status, "statusCategory", "key") == DONE
        ]


def _listed(answer: Any, name: str) -> list[dict[str, Any]]:
    """Cloud calls its list by name, Server and Data Center `values`."""
    found = at(answer, name) or at(answer, "values")
    if not isinstance(found, list):
        raise ServiceError("Jira", "createmeta", "Jira's answer about its issue types cannot be read")
    return [one for one in found if isinstance(one, dict)]
