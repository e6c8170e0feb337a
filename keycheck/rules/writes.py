"""Every write to the state table, as a value: what it changes, and what it rests on. Pure.

In: records, access keys, instants. Out: Writes, which services/state_table.py carries out and the sandbox's table in
memory interprets. A claim is one conditional change: no claim, a lapsed one, or the same token's (botocore may re-send
a write whose answer was lost). A release touches only its own claim; a recorded time never moves backwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import Enum, auto

from keycheck.model import AccessKey, Addressee, KeyRecord, Lookup, Warned

FILINGS_KEPT = 5

Value = str | int | tuple[int, ...] | frozenset[str]
"""What an attribute holds: a text, epoch seconds UTC or a count, a list of epoch seconds, a set of texts."""


@dataclass(frozen=True, slots=True)
class Absent:
    name: str


@dataclass(frozen=True, slots=True)
class Is:
    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class IsNot:
    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class AtMost:
    """The attribute is there, and its number is at most this one."""

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple[Condition, ...]


Condition = Absent | Is | IsNot | AtMost | All | AnyOf


class Lost(Enum):
    """What a condition that does not hold means. LOST: another run was first, and ClaimLost is raised. FINE: something
    later is on record already, so nothing is lost.
    """

    LOST = auto()
    FINE = auto()


@dataclass(frozen=True, slots=True)
class Change:
    """One UpdateItem. `needs`: its condition; `otherwise`: what is done if that does not hold."""

    set: Mapping[str, Value] = field(default_factory=dict)
    add: Mapping[str, frozenset[str]] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    needs: Condition | None = None
    otherwise: Lost | Change = Lost.LOST


@dataclass(frozen=True, slots=True)
class Write:
    """Changes of one item, made one after the other. `name`: what it is for; `item`: its hash key."""

    name: str
    item: str
    changes: tuple[Change, ...]


# Issues


def claim_issue(
    access_key: AccessKey, token: str, expected_issue: str | None, *, now: datetime, lapses: datetime
) -> Write:
    """Claim the filing for one access key, or a word in its issue, which is still the one that the plan rests on."""
    recorded = Is("issue_key", expected_issue) if expected_issue else Absent("issue_key")
    change = Change(
        {"issue_claim": token, "issue_claim_until": ceil(lapses), **_owner(access_key)},
        needs=All((_is_free("issue_claim", token, now), recorded)),
    )
    return Write("claim_issue", access_key.access_key_id, (change,))


def begin_filing(record: KeyRecord, token: str, at: datetime) -> Write:
    """Note, before the POST, that an issue is about to be made: it counts whatever becomes of the POST."""
    filings = _floors([*record.issue_filings, at][-FILINGS_KEPT:])
    change = Change({"issue_filings": filings}, needs=Is("issue_claim", token))
    return Write("begin_filing", record.access_key_id, (change,))


def record_issue(
    access_key_id: str,
    token: str,
    issue_key: str,
    answered: Sequence[datetime] = (),
    *,
    said: Iterable[str] = (),
    warning: Warned | None = None,
) -> Write:
    """Record the issue, and release the claim if it is still this one's; lost if another issue was recorded
    meanwhile. `answered`: all filings that Jira answered, this one included; empty leaves them.

    What was said in, and done about, an issue recorded before is forgotten: `said` is all that was said in this.
    """
    markers = frozenset(said)
    sets: dict[str, Value] = {"issue_key": issue_key}
    if answered:
        sets["answered_filings"] = _floors(answered[-FILINGS_KEPT:])
    if markers:
        sets["issue_said"] = markers
    forgotten = () if markers else ("issue_said",)
    change = Change(
        sets,
        remove=(*forgotten, "issue_claim", "issue_claim_until", "issue_ended_at", "issue_assigned_to"),
        needs=Is("issue_claim", token),
        otherwise=Change({"issue_key": issue_key}, needs=AnyOf((Absent("issue_key"), Is("issue_key", issue_key)))),
    )
    return Write("record_issue", access_key_id, (change, *_warning(warning)))


def record_said(
    record: KeyRecord, token: str, said: str, *, ended_at: datetime | None = None, warning: Warned | None = None
) -> Write:
    """Record what was said in the issue of `record`, and release the claim; lost if it is not this one's any more,
    or another issue was recorded meanwhile. `ended_at`: nothing more is said in it.
    """
    change = Change(
        {} if ended_at is None else {"issue_ended_at": floor(ended_at)},
        add={"issue_said": frozenset({said})},
        remove=("issue_claim", "issue_claim_until"),
        needs=All((Is("issue_claim", token), Is("issue_key", record.issue_key or ""))),
    )
    return Write("record_said", record.access_key_id, (change, *_warning(warning)))


def record_assigned(record: KeyRecord, email: str, warning: Warned | None = None) -> Write:
    """Record to whom the issue of `record` is assigned; lost if another one is on record by now."""
    change = Change({"issue_assigned_to": email}, needs=Is("issue_key", record.issue_key or ""))
    return Write("record_assigned", record.access_key_id, (change, *_warning(warning)))


def release_issue(record: KeyRecord, token: str) -> Write:
    """Give the claim back, with the filings as they were when it was taken: surely no issue was made."""
    claim = ("issue_claim", "issue_claim_until")
    if record.issue_filings:
        change = Change({"issue_filings": _floors(record.issue_filings)}, remove=claim, needs=Is("issue_claim", token))
    else:
        change = Change(remove=("issue_filings", *claim), needs=Is("issue_claim", token))
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
    later = _never_back("messaged_at", ceil(at))
    change = Change(
        {"messaged_at": ceil(at)},
        remove=("message_claim", "message_claim_until", "server_errors", "not_before"),
        needs=All((Is("message_claim", token), later)),
        otherwise=Change({"messaged_at": ceil(at)}, needs=later, otherwise=Lost.FINE),
    )
    return Write("record_message", addressee.record_id, (change,))


def release_message(addressee: Addressee, token: str, server_errors: int, not_before: datetime | None) -> Write:
    """Give the claim back: surely nothing was sent. Notes Slack's 5xx in a row, and when to try again."""
    again = {} if not_before is None else {"not_before": ceil(not_before)}
    change = Change(
        {"server_errors": server_errors, **again},
        remove=("message_claim", "message_claim_until"),
        needs=Is("message_claim", token),
    )
    return Write("release_message", addressee.record_id, (change,))


def record_told(
    access_key: AccessKey, at: datetime, warning: Warned | None = None, *, ends_exemption: bool = False
) -> Write:
    """Record that a message naming this access key was answered ok, what it promised, and whether it said that an
    exemption has ended.
    """
    change = Change(
        {"told_at": floor(at), **_owner(access_key)},
        remove=("exempt_until",) if ends_exemption else (),
        needs=_never_back("told_at", floor(at)),
        otherwise=Lost.FINE,
    )
    return Write("record_told", access_key.access_key_id, (change, *_warning(warning)))


def _warning(warning: Warned | None) -> tuple[Change, ...]:
    """Record a delivered warning: the day first, since that one only ever holds back.

    The first warning to an owner counts, and the latest day told to anybody; what said that an exemption has ended
    has said it.
    """
    if warning is None:
        return ()
    day = floor(warning.day)
    unheard = AnyOf((Absent("warned_at"), Absent("warned_owner"), IsNot("warned_owner", warning.owner)))
    return (
        Change({"disable_from": day}, needs=_never_back("disable_from", day), otherwise=Lost.FINE),
        Change(
            {"warned_at": ceil(warning.at), "warned_owner": warning.owner},
            remove=("exempt_until",),
            needs=unheard,
            otherwise=Lost.FINE,
        ),
    )


# Disabling


def begin_disabling(access_key: AccessKey, token: str, at: datetime, visible_since: datetime) -> Write:
    """Write the intent; if even that fails, nothing is disabled. Lost if another run has begun to disable it, or
    has disabled it, after `visible_since` (a person may have re-enabled it since), or has told somebody a day after
    `at`.
    """
    lately = floor(visible_since)
    needs = All(
        (
            AnyOf((Absent("disabling_at"), AtMost("disabling_at", lately), Is("disabling_claim", token))),
            AnyOf((Absent("disabled_at"), AtMost("disabled_at", lately))),
            AnyOf((Absent("disable_from"), AtMost("disable_from", floor(at)))),
        )
    )
    change = Change({"disabling_at": floor(at), "disabling_claim": token, **_owner(access_key)}, needs=needs)
    return Write("begin_disabling", access_key.access_key_id, (change,))


def drop_disabling(access_key_id: str, begun_at: datetime) -> Write:
    """Forget an intent that came to nothing; one that another run has written since stays."""
    change = Change(
        remove=("disabling_at", "disabling_claim"), needs=Is("disabling_at", floor(begun_at)), otherwise=Lost.FINE
    )
    return Write("drop_disabling", access_key_id, (change,))


def record_disabled(access_key_id: str, at: datetime, run: str, why: str) -> Write:
    """Confirm a disabling: when, by which run, and why."""
    change = Change(
        {"disabled_at": floor(at), "disabled_by": run, "disabled_why": why},
        remove=("disabling_at", "disabling_claim", "reenabled_at"),
    )
    return Write("record_disabled", access_key_id, (change,))


def disablings_of_account(account_id: str, token: str, expected: str | None, times: Sequence[datetime]) -> Write:
    """Return the times at which access keys of an account were disabled lately; lost if another write came first.

    `expected`: the token of the write that the times were read from. A token of its own, since botocore may send it
    again.
    """
    before = Absent("times_token") if expected is None else Is("times_token", expected)
    change = Change(
        {"disabled_times": tuple(ceil(one) for one in times), "times_token": token, "account_id": account_id},
        needs=AnyOf((before, Is("times_token", token))),
    )
    return Write("disablings_of_account", disablings_id(account_id), (change,))


# What a scan has shown


def record_reenabled(record: KeyRecord, at: datetime) -> Write:
    """Note when an access key that keycheck had disabled was first seen active again; the first note stays."""
    needs = All(
        (Is("disabled_at", floor(record.disabled.at if record.disabled is not None else at)), Absent("reenabled_at"))
    )
    change = Change({"reenabled_at": floor(at)}, needs=needs, otherwise=Lost.FINE)
    return Write("record_reenabled", record.access_key_id, (change,))


def record_exempt(access_key: AccessKey, until: date) -> Write:
    """Note an exemption: warnings given before it do not count after it."""
    first = datetime(until.year, until.month, until.day, tzinfo=UTC)
    change = Change(
        {"exempt_until": floor(first), **_owner(access_key)}, remove=("warned_at", "warned_owner", "disable_from")
    )
    return Write("record_exempt", access_key.access_key_id, (change,))


def record_lookup(email: str, lookup: Lookup) -> Write:
    """Note who has an e-mail address, or that nobody has; whoever writes last is right."""
    at: dict[str, Value] = {"looked_up_at": floor(lookup.looked_up_at)}
    if lookup.slack_id is None:
        change = Change(at, remove=("slack_id",))
    else:
        change = Change({**at, "slack_id": lookup.slack_id})
    return Write("record_lookup", email_id(email), (change,))


# Common


def email_id(email: str) -> str:
    return f"email:{email.lower()}"


def disablings_id(account_id: str) -> str:
    return f"disablings:{account_id}"


def _owner(access_key: AccessKey) -> dict[str, Value]:
    return {"account_id": access_key.account_id, "user_name": access_key.user_name}


def _is_free(claim: str, token: str, now: datetime) -> Condition:
    return AnyOf((Absent(claim), AtMost(f"{claim}_until", floor(now)), Is(claim, token)))


def _never_back(name: str, value: int) -> Condition:
    return AnyOf((Absent(name), AtMost(name, value)))


def _floors(instants: Iterable[datetime]) -> tuple[int, ...]:
    return tuple(floor(instant) for instant in instants)


def floor(instant: datetime) -> int:
    """Epoch seconds, rounded down."""
    return math.floor(instant.timestamp())


def ceil(instant: datetime) -> int:
    """Epoch seconds, rounded up where rounding down could make something happen a fraction of a second too early."""
    return math.ceil(instant.timestamp())
