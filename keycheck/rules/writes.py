"""Every write to the state table, as a value: what it changes, and what it rests on. Pure.

In: records, access keys, instants. Out: Writes, which services/state_table.py carries out and the sandbox's table in
memory interprets. A claim is one conditional change: no claim, a lapsed one, or the same token's (botocore may re-send
a write whose answer was lost). A release touches only its own claim; a recorded time never moves backwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from keycheck.actions import Promise
from keycheck.model import AccessKey, Addressee, KeyRecord, Notice, Void
from keycheck.rules.changes import (
    Absent,
    All,
    AnyOf,
    AtMost,
    Change,
    Condition,
    Is,
    Lost,
    Value,
    Write,
    ceil,
    floor,
    floors,
    kept_until,
    never_back,
)
from keycheck.rules.events import event
from keycheck.rules.notice import LAPSES_AFTER

FILINGS_KEPT = 5

# Notices


@dataclass(frozen=True, slots=True)
class Given:
    """A promise as it was delivered. `record`: what the access key's record held then."""

    record: KeyRecord
    promise: Promise
    at: datetime


def _with_notice(change: Change, given: Given | None) -> Change:
    """Return a change that gives a notice too, in one write.

    The latest day told to anybody stays, and so does the notice that is in force for the same owner: it is kept. Should
    its record have changed since it was read, no notice is given; the day is noted all the same, since that one only
    ever holds back, and then the change alone is made.
    """
    if given is None:
        return change
    owner, notice, day = given.promise.owner, given.record.notice, floor(given.promise.day)
    latest = day if given.record.disable_from is None else max(day, floor(given.record.disable_from))
    sets: dict[str, Value] = {"disable_from": latest}
    needs = [never_back("disable_from", latest)]
    removed: tuple[str, ...] = ()
    happened: dict[str, frozenset[str]] = {}
    if owner is not None:
        sets["notice_kept_at"] = ceil(given.at)
        rests_on = _rests_on(notice)
        if notice is None or notice.owner != owner or given.at - notice.kept_at >= LAPSES_AFTER:
            sets |= {"warned_at": ceil(given.at), "warned_owner": owner}
            happened = event(given.at, f"notice to {owner}: disabled from {given.promise.day:%Y-%m-%d} on")
            removed = ("exempt_until", *VOIDED)
            rests_on = AnyOf((rests_on, _rests_on(Notice(owner, given.at, given.at))))  # or it is sent again
        needs.append(rests_on)
    day_alone = Change({"disable_from": day}, needs=never_back("disable_from", day), otherwise=Lost.FINE)
    return replace(
        change,
        set={**change.set, **sets},
        add=_joined(change.add, happened),
        remove=tuple(dict.fromkeys((*change.remove, *removed))),
        needs=All((*((change.needs,) if change.needs is not None else ()), *needs)),
        otherwise=(day_alone, change),
    )


def _joined(*added: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    names = dict.fromkeys(name for one in added for name in one)
    return {name: frozenset[str]().union(*(one.get(name, frozenset()) for one in added)) for name in names}


def keep_notice(record: KeyRecord, notice: Notice, at: datetime) -> Write:
    """Note that a run would still say what the notice says."""
    change = Change({"notice_kept_at": floor(at), **kept_until(at)}, needs=_rests_on(notice), otherwise=Lost.FINE)
    return Write("keep_notice", record.access_key_id, (change,))


def void_notice(record: KeyRecord, why: Void, at: datetime) -> Write:
    """Take the notice off the record; why and when it became void stays there, for people, and so does the day told."""
    sets, removed = _voiding(why, at)
    happened = event(at, f"notice void: {why.value}")
    change = Change(sets, add=happened, remove=removed, needs=_rests_on(record.notice), otherwise=Lost.FINE)
    return Write("void_notice", record.access_key_id, (change,))


NOTICE = ("warned_at", "warned_owner", "notice_kept_at")
VOIDED = ("notice_void_at", "notice_void_why")


def _voiding(why: Void, at: datetime) -> tuple[dict[str, Value], tuple[str, ...]]:
    """Return what is set and what is removed to void a notice."""
    return {"notice_void_at": floor(at), "notice_void_why": why.value, **kept_until(at)}, NOTICE


def _rests_on(notice: Notice | None) -> Condition:
    """Hold as long as this notice is the one on record. One without its keeping, as earlier versions wrote it, is
    none.
    """
    if notice is None:
        return Absent("notice_kept_at")
    return All((Is("warned_at", ceil(notice.given_at)), Is("warned_owner", notice.owner)))


# Issues


def claim_issue(
    access_key: AccessKey, token: str, expected_issue: str | None, *, now: datetime, lapses: datetime
) -> Write:
    """Claim the filing for one access key, or a word in its issue, which is still the one that the plan rests on."""
    recorded = Is("issue_key", expected_issue) if expected_issue else Absent("issue_key")
    change = Change(
        {"issue_claim": token, "issue_claim_until": ceil(lapses), **_owner(access_key, now)},
        needs=All((_is_free("issue_claim", token, now), recorded)),
    )
    return Write("claim_issue", access_key.access_key_id, (change,))


def begin_filing(record: KeyRecord, token: str, at: datetime) -> Write:
    """Note, before the POST, that an issue is about to be made: it counts whatever becomes of the POST."""
    filings = floors([*record.issue_filings, at][-FILINGS_KEPT:])
    change = Change({"issue_filings": filings}, needs=Is("issue_claim", token))
    return Write("begin_filing", record.access_key_id, (change,))


def record_issue(
    access_key_id: str,
    token: str,
    issue_key: str,
    answered: Sequence[datetime] = (),
    *,
    said: Iterable[str] = (),
    given: Given | None = None,
    site: str = "",
) -> Write:
    """Record the issue, and release the claim if it is still this one's; lost if another issue was recorded
    meanwhile. `answered`: all filings that Jira answered, this one included; empty leaves them. `site`: the Jira that
    has it.

    What was said in, and done about, an issue recorded before is forgotten: `said` is all that was said in this.
    """
    markers = frozenset(said)
    sets: dict[str, Value] = {"issue_key": issue_key, **({"issue_site": site} if site else {})}
    if answered:
        sets["answered_filings"] = floors(answered[-FILINGS_KEPT:])
    if markers:
        sets["issue_said"] = markers
    forgotten = () if markers else ("issue_said",)
    alone = Change({"issue_key": issue_key}, needs=AnyOf((Absent("issue_key"), Is("issue_key", issue_key))))
    change = Change(
        sets,
        add=event(answered[-1], f"{issue_key} filed") if answered else {},
        remove=(*forgotten, "issue_claim", "issue_claim_until", "issue_ended_at", "issue_assigned_to"),
        needs=Is("issue_claim", token),
        otherwise=(alone,),
    )
    return Write("record_issue", access_key_id, (_with_notice(change, given),))


def follow_issue(record: KeyRecord, token: str, issue_key: str, site: str) -> Write:
    """Record the key that the issue of `record` has now, and release the claim; lost if another issue was recorded
    meanwhile. What was said in it stays.
    """
    change = Change(
        {"issue_key": issue_key, "issue_site": site},
        remove=("issue_claim", "issue_claim_until", "issue_ended_at"),
        needs=All((Is("issue_claim", token), Is("issue_key", record.issue_key or ""))),
        otherwise=(Change({"issue_key": issue_key}, needs=Is("issue_key", issue_key)),),
    )
    return Write("follow_issue", record.access_key_id, (change,))


def record_said(
    record: KeyRecord,
    token: str,
    said: Iterable[str],
    *,
    ended_at: datetime | None = None,
    given: Given | None = None,
    at: datetime | None = None,
) -> Write:
    """Record what was said in the issue of `record`, and release the claim; lost if it is not this one's any more, or
    another issue was recorded meanwhile. `ended_at`: nothing more is said in it, unless a person re-opens it.
    """
    reopened = ("issue_ended_at",) if ended_at is None else ()
    markers = frozenset(said)
    what = f"{record.issue_key} {'ended' if ended_at else 'commented on'}: {', '.join(sorted(markers))}"
    change = Change(
        {} if ended_at is None else {"issue_ended_at": floor(ended_at)},
        add=_joined({"issue_said": markers}, *(() if at is None else (event(at, what),))),
        remove=("issue_claim", "issue_claim_until", *reopened),
        needs=All((Is("issue_claim", token), Is("issue_key", record.issue_key or ""))),
    )
    return Write("record_said", record.access_key_id, (_with_notice(change, given),))


def record_assigned(record: KeyRecord, email: str, given: Given | None = None) -> Write:
    """Record to whom the issue of `record` is assigned; lost if another one is on record by now."""
    change = Change({"issue_assigned_to": email}, needs=Is("issue_key", record.issue_key or ""))
    return Write("record_assigned", record.access_key_id, (_with_notice(change, given),))


def release_issue(record: KeyRecord, token: str, at: datetime | None = None) -> Write:
    """Give the claim back, with the filings as they were when it was taken: surely no issue was made. Notes, if Jira
    refused `at` some time, that this access key has had its turn: the next run serves others first.
    """
    sets: dict[str, Value] = {} if at is None else {"issue_tried_at": floor(at)}
    removed: tuple[str, ...] = ("issue_claim", "issue_claim_until")
    if record.issue_filings:
        sets["issue_filings"] = floors(record.issue_filings)
    else:
        removed = ("issue_filings", *removed)
    change = Change(sets, remove=removed, needs=Is("issue_claim", token))
    return Write("release_issue", record.access_key_id, (change,))


# Messages


def claim_message(addressee: Addressee, token: str, interval_hours: int, *, now: datetime, lapses: datetime) -> Write:
    """Claim the message to one addressee; lost also if the last message is too young by now."""
    latest = floor(now - timedelta(hours=interval_hours))
    change = Change(
        {
            "message_claim": token,
            "message_claim_until": ceil(lapses),
            "account_id": addressee.account_id,
            **kept_until(now),
        },
        needs=All(
            (
                _is_free("message_claim", token, now),
                AnyOf((Absent("messaged_at"), AtMost("messaged_at", latest))),
                AnyOf((Absent("not_before"), AtMost("not_before", floor(now)))),
            )
        ),
    )
    return Write("claim_message", addressee.record_id, (change,))


def record_message(addressee: Addressee, token: str, at: datetime) -> Write:
    """Record that a message went out, or may have: a fact, whoever holds the claim by now."""
    later = never_back("messaged_at", ceil(at))
    sets = {"messaged_at": ceil(at), **kept_until(at)}
    change = Change(
        sets,
        remove=("message_claim", "message_claim_until", "server_errors", "not_before"),
        needs=All((Is("message_claim", token), later)),
        otherwise=(Change(sets, needs=later, otherwise=Lost.FINE),),
    )
    return Write("record_message", addressee.record_id, (change,))


def release_message(
    addressee: Addressee, token: str, server_errors: int, not_before: datetime | None, at: datetime | None
) -> Write:
    """Give the claim back: surely nothing was sent. Notes Slack's 5xx in a row, when to try again, and, if a message
    was tried `at` some time, that this addressee has had its turn: the next run serves others first.
    """
    again = {} if not_before is None else {"not_before": ceil(not_before)}
    change = Change(
        {"server_errors": server_errors, **again, **({} if at is None else {"tried_at": floor(at)})},
        remove=("message_claim", "message_claim_until"),
        needs=Is("message_claim", token),
    )
    return Write("release_message", addressee.record_id, (change,))


def record_told(
    access_key: AccessKey, at: datetime, given: Given | None = None, *, ends_exemption: bool = False, to: str = ""
) -> Write:
    """Record that a message `to` somebody naming this access key was answered ok, what it promised, and whether it said
    that an exemption has ended.
    """
    change = Change(
        {"told_at": floor(at), **_owner(access_key, at)},
        add=event(at, f"told {to}".strip()),
        remove=("exempt_until",) if ends_exemption else (),
        needs=never_back("told_at", floor(at)),
        otherwise=Lost.FINE,
    )
    return Write("record_told", access_key.access_key_id, (_with_notice(change, given),))


# Disabling


def begin_disabling(
    access_key: AccessKey, token: str, at: datetime, visible_since: datetime, notice: Notice | None
) -> Write:
    """Write the intent; if even that fails, nothing is disabled. Lost if another run has begun to disable it, or
    has disabled it, after `visible_since` (a person may have re-enabled it since), has told somebody a day after `at`,
    or has found the notice void that it rests on. `notice` None: no notices are given.
    """
    lately = floor(visible_since)
    needs = All(
        (
            AnyOf((Absent("disabling_at"), AtMost("disabling_at", lately), Is("disabling_claim", token))),
            AnyOf((Absent("disabled_at"), AtMost("disabled_at", lately))),
            AnyOf((Absent("disable_from"), AtMost("disable_from", floor(at)))),
            *(() if notice is None else (_rests_on(notice),)),
        )
    )
    change = Change({"disabling_at": floor(at), "disabling_claim": token, **_owner(access_key, at)}, needs=needs)
    return Write("begin_disabling", access_key.access_key_id, (change,))


def drop_disabling(access_key_id: str, begun_at: datetime) -> Write:
    """Forget an intent that came to nothing; one that another run has written since stays."""
    change = Change(
        remove=("disabling_at", "disabling_claim"), needs=Is("disabling_at", floor(begun_at)), otherwise=Lost.FINE
    )
    return Write("drop_disabling", access_key_id, (change,))


def record_disabled(access_key_id: str, at: datetime, run: str, why: str) -> Write:
    """Confirm a disabling: when, by which run, and why. Its notice has served."""
    sets, removed = _voiding(Void.INACTIVE, at)
    change = Change(
        {"disabled_at": floor(at), "disabled_by": run, "disabled_why": why, **sets},
        add=event(at, f"disabled by run {run[:8]}: {why}"),
        remove=("disabling_at", "disabling_claim", "inactive_at", "reenabled_at", *removed),
    )
    return Write("record_disabled", access_key_id, (change,))


# What a scan has shown


def record_inactive(record: KeyRecord, at: datetime) -> Write:
    """Note that an access key is inactive that keycheck is not on record as having disabled; the first note stays."""
    sets, removed = _voiding(Void.INACTIVE, at)
    seen = event(at, "seen inactive, not by keycheck")
    sets, needs = {"inactive_at": floor(at), **sets}, Absent("inactive_at")
    change = Change(sets, add=seen, remove=removed, needs=needs, otherwise=Lost.FINE)
    return Write("record_inactive", record.access_key_id, (change,))


def record_reenabled(record: KeyRecord, at: datetime) -> Write:
    """Note when an access key was first seen active that had been taken away, or may have been: `record` says by what,
    and how often that had happened before. Another run's note stays.
    """
    disabled_at = None if record.disabled is None else record.disabled.at
    known = (
        ("disabled_at", disabled_at),
        ("disabling_at", record.disabling_at),
        ("inactive_at", record.inactive_at),
        ("reenabled_at", record.reenabled_at),
    )
    sets, removed = _voiding(Void.REENABLED, at)
    change = Change(
        {"reenabled_at": floor(at), "times_taken_back": record.times_taken_back + 1, **sets},
        add=event(at, "seen active again"),
        remove=("disabling_at", "disabling_claim", "inactive_at", *removed),
        needs=All(tuple(Absent(name) if one is None else Is(name, floor(one)) for name, one in known)),
        otherwise=Lost.FINE,
    )
    return Write("record_reenabled", record.access_key_id, (change,))


def record_exempt(access_key: AccessKey, until: date, at: datetime, reason: str = "") -> Write:
    """Note an exemption: a notice given before it does not count after it."""
    first = datetime(until.year, until.month, until.day, tzinfo=UTC)
    sets, removed = _voiding(Void.EXEMPT, at)
    happened = event(at, f"exempt until {until}: {reason}".rstrip(": "))
    change = Change({"exempt_until": floor(first), **sets, **_owner(access_key, at)}, add=happened, remove=removed)
    return Write("record_exempt", access_key.access_key_id, (change,))


# Common


def _owner(access_key: AccessKey, at: datetime) -> dict[str, Value]:
    return {"account_id": access_key.account_id, "user_name": access_key.user_name, **kept_until(at)}


def _is_free(claim: str, token: str, now: datetime) -> Condition:
    return AnyOf((Absent(claim), AtMost(f"{claim}_until", floor(now)), Is(claim, token)))
