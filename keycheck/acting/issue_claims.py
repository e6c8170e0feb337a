"""What filing and commenting share: the claim on an access key's issue, and the look if it is open and ours. Shell.

In: records, the means of the run. Out: the record as it is once it is claimed; the open issue. A look that failed is
never "not found".
"""

from __future__ import annotations

from dataclasses import dataclass

from keycheck.acting.ledger import Task
from keycheck.acting.means import Means
from keycheck.model import AccessKey, KeyRecord, SeenIssue
from keycheck.rules import writes
from keycheck.services import Failure, Issues, ServiceError
from keycheck.services.state_items import key_record


def claim_issue(means: Means, task: Task, access_key: AccessKey, token: str, issue_key: str | None) -> KeyRecord | None:
    """Return the record as it is once it is claimed; None, and a skip, if another run was first."""
    write = writes.claim_issue(access_key, token, issue_key, now=means.clock.now, lapses=means.claims_lapse)
    access_key_id = access_key.access_key_id
    return means.ledger.write_or_skip(task, lambda: key_record(access_key_id, means.claims.apply(write)))


def release_issue(means: Means, record: KeyRecord, token: str, refused: ServiceError | None = None) -> None:
    """Give the claim back; `refused`: what Jira answered, or that there was no answer. Whatever it was, an access key
    has had its turn by that.
    """
    at = means.clock.utc_now() if refused is not None and refused.failure is not Failure.OFF else None
    means.ledger.release(lambda: means.claims.apply(writes.release_issue(record, token, at)))


@dataclass(frozen=True, slots=True)
class Found:
    """An open issue of ours. `is_recorded`: it is the one on record, moved or not. `is_adopted`: lacework/ops has filed
    it, and it has no label of its own yet.
    """

    key: str
    is_recorded: bool = False
    is_adopted: bool = False


def find_open_issue(
    issues: Issues, record: KeyRecord, site: str, access_key: AccessKey | None = None, profile: str = ""
) -> Found | None:
    """Look before filing: the recorded issue by its key, which is never stale; then the access key's label; then, of an
    access key that is shown, what lacework/ops may have filed for it.

    Raises ServiceError if either look failed: that is never "not found".
    """
    issue = record.issue
    if issue is not None and issue.is_on(site):
        seen = issues.read(issue.key)
        if seen is not None and is_ours(seen, record):
            return Found(seen.key, is_recorded=True)
    if (key := issues.find_open(record.issue_label)) is not None:
        return Found(key)
    if access_key is not None and (key := issues.find_original(access_key, profile)) is not None:
        return Found(key, is_adopted=True)
    return None


def is_ours(seen: SeenIssue, record: KeyRecord) -> bool:
    """Return whether an issue is open, and about this access key: another's is left alone, whatever its key."""
    return seen.is_open and record.issue_label in seen.labels
