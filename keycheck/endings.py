"""Access keys that need no attention, or are gone, and have an issue or an intent on record -> what ends. Pure.

In: labelled keys, what the scan shows, records. Out: an Ending an access key: notes, a last word, or why there is none.
Nothing is ended because of what a cached listing shows: `unconfirmed` says whom to ask for first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from keycheck.actions import Chain, CommentIssue, Skip, SkipReason, Step
from keycheck.model import KeyRecord, LabelledKey, State, Void
from keycheck.rules import ending, seen
from keycheck.rules.case import Circumstances, Facts, SharedFacts
from keycheck.settings import Settings


@dataclass(frozen=True, slots=True)
class Ending:
    """What there is to do about one access key of a user; `skip`: what is not done, and why."""

    user_name: str
    chain: Chain
    skip: Skip | None = None


def endings(
    profile: str,
    keys: Sequence[LabelledKey],
    due: Collection[str],
    facts: Facts,
    state: State,
    run: Circumstances,
) -> Iterator[Ending]:
    """Return those with anything to do. `due`: the ids of access keys that need attention."""
    shown = {key.access_key.access_key_id: key for key in keys}
    scanned = {key.access_key_id for key in facts.scan.keys}
    for access_key_id, record in state.keys.items():
        key = shown.get(access_key_id)
        if access_key_id in due or (key is None and not _is_gone(record, scanned, facts)):
            continue
        user_name = record.user_name if key is None else key.access_key.user_name
        if key is not None and key.access_key.is_active:
            record, notes = seen.active(record, key, run)  # noqa: PLW2901 - it reads so from here on
            record, voided = seen.void(record, key, Void.NOT_DUE if run.settings.warns_owners else None, run)  # noqa: PLW2901
            notes = (*notes, *voided)
            word: CommentIssue | SkipReason | None = ending.no_longer_due(record, key, run)
        else:
            record, notes = seen.inactive_or_gone(record, key, run)  # noqa: PLW2901
            word = ending.last_word(record, key, run)
        skip = Skip(profile, Step.UPDATE_ISSUE, key or record, word) if isinstance(word, SkipReason) else None
        chain = Chain(profile, notes, (word,) if isinstance(word, CommentIssue) else ())
        if chain.actions or skip is not None:
            yield Ending(user_name, chain, skip)


def unconfirmed(
    profile: str,
    keys: Sequence[LabelledKey],
    due: Collection[str],
    facts: Facts,
    known: SharedFacts,
    settings: Settings,
    now: datetime,
) -> frozenset[str]:
    """Return the users who were not asked for in this run though something would end because of what their access keys
    seem to be.
    """
    if known.state is None or not facts.scan.cached:
        return frozenset()
    run = Circumstances(settings, now, known.open_issues)
    users = {one.user_name for one in endings(profile, keys, due, facts, known.state, run)}
    return frozenset(users) & facts.scan.cached


def _is_gone(record: KeyRecord, scanned: Collection[str], facts: Facts) -> bool:
    """Return whether it is of this account and surely gone from it. Nothing is inferred from half a scan, nor of a user
    who vanished during it: whoever was renamed has other access keys only in name.
    """
    is_of_account = facts.sees_whole_account and record.account_id == facts.scan.account_id
    return is_of_account and record.access_key_id not in scanned and record.user_name not in facts.scan.vanished
