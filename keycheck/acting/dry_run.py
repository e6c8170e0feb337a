"""Says what carrying out the plans would do: the same looks at Jira, no claim, no write. Shell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from keycheck.acting.issue_claims import find_open_issue
from keycheck.actions import Action, FileIssue, Plan
from keycheck.clock import Stopped
from keycheck.services import Issues, ServiceError
from keycheck.words.lines import describe, describe_found


def dry_run(plans: Sequence[Plan], issues: Issues | None, site: str) -> Iterator[tuple[str, str]]:
    """(profile, line) for each action that would be taken."""
    for plan in plans:
        for action in (action for chain in plan.chains for action in chain.actions):
            try:
                yield plan.profile, _one(action, issues, site, plan.profile)
            except ServiceError as error:
                yield plan.profile, f"could not look whether it {describe(action)}: {error.text}"
            except Stopped:
                yield plan.profile, f"had no time left to look whether it {describe(action)}"


def _one(action: Action, issues: Issues | None, site: str, profile: str) -> str:
    if isinstance(action, FileIssue) and issues is not None:
        found = find_open_issue(issues, action.record, site, action.key.access_key, profile)
        if found is not None:
            return describe_found(action, found.key)
    return describe(action)
