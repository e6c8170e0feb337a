"""Writes to the items of the state table that are no access key's nor addressee's: an account's, a look-up's. Pure.

In: names, instants. Out: Writes, as in rules/writes.py, and the hash keys of these items.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from keycheck.model import Lookup
from keycheck.rules.changes import Absent, AnyOf, AtMost, Change, Is, Lost, Value, Write, ceil, floor, kept_until

NEVER_AFTER = AtMost("checked_at", 2**40)
"""Any time at all."""
ALL_LISTED = "standing:all"
"""The hash key of the item that says so: of no account's list, whose ids are numbers."""


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


def note_account(account_id: str, at: datetime) -> Write:
    """Note since when keycheck has had something to do in an account: nothing has waited for it before that."""
    change = Change({"first_seen_at": floor(at)}, needs=Absent("first_seen_at"), otherwise=Lost.FINE)
    return Write("note_account", account_id_item(account_id), (change,))


def note_turn(account_id: str, user_name: str) -> Write:
    """Note up to which user tags were read, by name, where a run had no time for more: the next one goes on there."""
    return Write("note_turn", account_id_item(account_id), (Change({"tags_read_to": user_name}),))


def drop_events(access_key_id: str, texts: Iterable[str]) -> Write:
    """Forget what happened longest ago to an access key: rules/events.py."""
    return Write("drop_events", access_key_id, (Change(delete={"events": frozenset(texts)}),))


def note_standing(account_id: str, access_key_ids: Iterable[str], at: datetime) -> Write:
    """List access keys of an account that are read in every run from now on (rules/standing.py): before anything is
    done about them.
    """
    change = Change({"listed_at": floor(at)}, add={"access_key_ids": frozenset(access_key_ids)})
    return Write("note_standing", standing_id(account_id), (change,))


def try_to_write(at: datetime) -> Write:
    """Write an item that nothing reads, on the condition that claims have: what --check does to the table."""
    change = Change({"checked_at": floor(at), **kept_until(at)}, needs=AnyOf((Absent("checked_at"), NEVER_AFTER)))
    return Write("try_to_write", "check:keycheck", (change,))


def note_all_listed(at: datetime) -> Write:
    """Note that the whole table was looked through, and what stands in any account is listed."""
    return Write("note_all_listed", ALL_LISTED, (Change({"all_listed_at": floor(at)}),))


def forget_standing(account_id: str, access_key_ids: Iterable[str]) -> Write:
    """Take access keys off that list: nothing of them stands any more."""
    change = Change(delete={"access_key_ids": frozenset(access_key_ids)})
    return Write("forget_standing", standing_id(account_id), (change,))


def record_lookup(name: str, lookup: Lookup) -> Write:
    """Note who has an e-mail address or a Slack id, or that nobody has; whoever writes last is right."""
    sets: dict[str, Value] = {} if lookup.looked_up_at is None else {"looked_up_at": floor(lookup.looked_up_at)}
    asked = [at for at in (lookup.looked_up_at, lookup.tried_at) if at is not None]
    sets |= kept_until(max(asked)) if asked else {}
    given = {"slack_id": lookup.slack_id, "why_gone": lookup.why}
    sets |= {name: value for name, value in given.items() if value}
    change = Change(sets, remove=tuple(name for name, value in given.items() if not value))
    return Write("record_lookup", lookup_id(name), (change,))


def record_try(name: str, at: datetime) -> Write:
    """Note that Slack was asked about an address or an id, and gave no answer: it has had its turn."""
    return Write("record_try", lookup_id(name), (Change({"tried_at": floor(at), **kept_until(at)}),))


def lookup_id(name: str) -> str:
    """Return the hash key of what Slack said of an e-mail address, or of a Slack id."""
    return f"email:{name.lower()}" if "@" in name else f"told:{name}"


def disablings_id(account_id: str) -> str:
    return f"disablings:{account_id}"


def standing_id(account_id: str) -> str:
    """Return the hash key of the list of access keys that are read in every run."""
    return f"standing:{account_id}"


def account_id_item(account_id: str) -> str:
    """Return the hash key of what is known of an account as a whole."""
    return f"account:{account_id}"
