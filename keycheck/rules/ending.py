"""Which issues end: those of access keys that are inactive, young again, or gone? Pure.

In: a record that holds an issue or an intent, and the access key as the scan shows it (None: it is gone). Out: the last
thing that there is to say in its issue, or why it is not said in this run.
"""

from __future__ import annotations

from datetime import timedelta

from keycheck.actions import CommentIssue, IssueEvent, SkipReason
from keycheck.model import AgeLabel, KeyRecord, LabelledKey
from keycheck.rules.case import A_DAY, Circumstances
from keycheck.rules.filing import disabling_run
from keycheck.settings import Settings

LEFT_OPEN = "left open, since it could not be closed"
"""A marker on record: what is open after that, nobody has re-opened."""


def no_longer_due(record: KeyRecord, key: LabelledKey, run: Circumstances) -> CommentIssue | None:
    """Answer for an active access key that is younger than it seemed. The settings have changed; its issue stays."""
    if key.label is AgeLabel.OK and run.can_comment(record) and not record.was_said("ok"):
        return CommentIssue(record, IssueEvent.NO_LONGER_DUE, "ok", key)
    return None


def last_word(record: KeyRecord, key: LabelledKey | None, run: Circumstances) -> CommentIssue | SkipReason | None:
    """Return what there is to say in the issue of an access key that is inactive or gone, and whether it ends by it.

    One that a person has re-opened since it ended is ours again, and ends again.
    """
    issue = run.issue(record)
    if not run.settings.create_jira or issue is None or record.was_said(LEFT_OPEN):
        return None
    event, marker = event_of_ended(record, key, run)
    if issue.ended_at is not None:
        if not (
            event.closes and run.can_comment(record) and run.now - issue.ended_at >= search_shows_within(run.settings)
        ):
            return None
        marker = f"{marker}, again on {run.now:%Y-%m-%d}"
    if event is IssueEvent.DISABLED and record.disabled is not None and record.disabled.by is None:
        return None  # confirmed by this run only now: the next one knows by whom, and says so
    if record.was_said(marker) or (event.closes and not run.settings.resolve_jira):
        return None
    if run.open_issues is None:
        return SkipReason.JIRA_OFF
    if run.claim_is_live(record.issue_claim_until):
        return SkipReason.CLAIMED
    if not event.closes and not run.can_comment(record):
        return None
    return CommentIssue(record, event, marker, key, at=None if record.disabled is None else record.disabled.at)


def search_shows_within(settings: Settings) -> timedelta:
    """Jira's search shows with a delay that an issue was closed; the setting says how long at most."""
    return timedelta(seconds=settings.claim_margin_seconds)


def event_of_ended(record: KeyRecord, key: LabelledKey | None, run: Circumstances) -> tuple[IssueEvent, str]:
    if key is None:
        return IssueEvent.DELETED, "deleted"
    if record.disabled is None or record.reenabled_at is not None:
        return IssueEvent.DEACTIVATED, "deactivated"
    if run.now - record.disabled.at >= run.settings.reenable_grace_days * A_DAY:
        return IssueEvent.GRACE_OVER, f"not missed since run {disabling_run(record)}"
    return IssueEvent.DISABLED, f"disabled by run {disabling_run(record)}"
