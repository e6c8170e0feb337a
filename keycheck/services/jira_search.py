"""Jira's search, on Cloud and on Server/Data Center: all pages, or an error.

In: JQL, fields. Out: issues as a search shows them. "None" is believed only of an answer that has the form of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from keycheck.services import ServiceError
from keycheck.services.jira_calls import SERVICE, JiraCalls, at
from keycheck.values import is_issue_key

PAGE = 100
PAGES_AT_MOST = 1000


@dataclass(frozen=True, slots=True)
class FoundIssue:
    """An issue, as a search shows it; `description` is empty where it was not asked for."""

    key: str
    labels: frozenset[str]
    description: str = ""


_Page = tuple[list[FoundIssue], str | None, bool]
"""What a page holds, the next one's token if there is one, and whether this is the last."""


class JiraSearch:
    """The search of one Jira. Cloud: /search/jql by token (the old search answers 410 there). Server: /search by
    startAt, which has no other.
    """

    def __init__(self, jira: JiraCalls) -> None:
        self._jira = jira

    def search(self, jql: str, *more: str) -> list[FoundIssue]:
        """Return issue keys and labels, and `more` fields, all pages. Raises ServiceError if any page fails."""
        self._jira.connect()
        read_page = self._cloud_page if self._jira.is_cloud else self._server_page
        found: list[FoundIssue] = []
        token: str | None = None
        for _ in range(PAGES_AT_MOST):
            read = partial(read_page, jql, ["labels", *more], token, len(found))
            page, token, is_last = self._jira.call("search", read)
            found += page
            if is_last:
                return found
        raise ServiceError(SERVICE, "search", "Jira's search does not end; no issues filed this run")

    def _cloud_page(self, jql: str, fields: Sequence[str], token: str | None, _start: int) -> _Page:
        search = self._jira.client.enhanced_search_issues
        page = search(jql, token, maxResults=PAGE, fields=fields, json_result=True)
        found, token = _found(page), page.get("nextPageToken")
        if token is None and page.get("isLast", True) is not True:
            raise TypeError("unexpected answer")
        return found, token, token is None

    def _server_page(self, jql: str, fields: Sequence[str], _token: str | None, start: int) -> _Page:
        page = self._jira.client.search_issues(jql, start, maxResults=PAGE, fields=fields, json_result=True)
        found, total = _found(page), page["total"]
        if type(total) is not int or total < len(found) or (not found and total > start):
            raise TypeError("unexpected answer")
        return found, None, start + len(found) >= total


def sound_key(key: Any) -> str:
    """Return an issue's key. Raises ValueError for what could be none, before it gets into a URL or a record."""
    if not is_issue_key(key):
        raise ValueError("not an issue key")
    return str(key)


def labels_of(issue: Any) -> frozenset[str]:
    """Return an issue's labels; none if it does not show them: then nobody can say that it is ours."""
    labels = at(issue, "fields", "labels")
    return frozenset(one for one in labels if isinstance(one, str)) if isinstance(labels, list) else frozenset()


def _found(page: Any) -> list[FoundIssue]:
    """Return the issues of one page of a search. "None" is believed only of an empty list of issues."""
    issues = page["issues"]
    if not isinstance(issues, list):
        raise TypeError("unexpected answer")
    return [
        FoundIssue(sound_key(one["key"]), labels_of(one), str(at(one, "fields", "description") or "")) for one in issues
    ]
