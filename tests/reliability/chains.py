"""What a run asks of AWS, Jira and Slack, in words, and in which order: the lists by which the tests of cuts go.

Each list names all requests of a run; a test holds it to what a real run asks for, another to what a run in process
does. A request is named by what it does to a production account, so that a list reads like the chain of design.md 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pytest

Moment = Literal["before", "after"]
"""`before`: the request arrived and has no effect. `after`: it took effect, and its answer never leaves."""
MOMENTS: tuple[Moment, ...] = ("before", "after")

UPDATES = {
    "SET issue_claim": "claim the issue",
    "SET issue_filings = :issue_filings REMOVE": "give the issue's claim back",
    "REMOVE issue_filings": "give the issue's claim back",
    "SET issue_filings": "note the filing",
    "SET issue_key": "record the issue",
    "SET issue_ended_at": "record that the issue ended",
    "ADD issue_said": "record what was said",
    "SET issue_assigned_to": "record to whom it is assigned",
    "SET reenabled_at": "note that it was re-enabled",
    "SET exempt_until": "note the exemption",
    "SET looked_up_at": "record what Slack said",
    "SET first_seen_at": "note the account",
    "SET tags_read_to": "note whose turn it was",
    "REMOVE disabling_at": "forget the disabling",
    "SET message_claim": "claim the message",
    "SET messaged_at": "record the message",
    "SET server_errors": "give the message's claim back",
    "SET told_at": "record who was told",
    "SET disable_from = :disable_from, ": "record what was said",
    "SET disable_from": "record the day it named",
    "SET inactive_at": "note that somebody deactivated it",
    "SET listed_at": "list the access keys",
    "SET all_listed_at": "note that all is listed",
    "DELETE access_key_ids": "take access keys off the list",
    "SET notice_kept_at": "note that its notice holds",
    "SET notice_void_at": "note that its notice is void",
    "SET disabled_times": "take a place under the brake",
    "SET disabling_at": "note the disabling",
    "SET disabled_at": "record the disabling",
}
"""How the UpdateExpression of each write to the state table begins, and what the write is for."""
CALLS = {
    "ListUsers": "list the users",
    "ListAccessKeys": "list a user's access keys",
    "GetAccountSummary": "ask about the root user",
    "ListUserTags": "read a user's tags",
    "GetAccessKeyLastUsed": "read its last use",
    "UpdateAccessKey": "disable",
    "DescribeTable": "look for the table",
    "CreateTable": "create the table",
    "UpdateTimeToLive": "let records expire",
    "BatchGetItem": "read the records",
    "Scan": "look through the table",
    "Decrypt": "decrypt a secret",
}

AT_ONCE = {"ask about the root user", "list a user's access keys"}
"""Asked by two threads: either may come first."""
READ = (
    "list the users",
    "ask about the root user",
    "list a user's access keys",
    "look for the table",
)
ASK = (
    "read the records",
    "look for the table",
    "read the records",
    "read a secret",
    "decrypt a secret",
    "read a secret",
    "decrypt a secret",
    "ask which Jira it is",
    "sign in to Jira",
    "ask for Jira's fields",
    "search all open issues",
    "read a secret",
    "decrypt a secret",
    "read its last use",
)
"""Where it is known that the owner is there: Slack was asked within the week."""
ASK_FIRST = (
    ASK[0],
    "look through the table",
    "note that all is listed",
    "list the access keys",
    "note the account",
    *ASK[1:3],
    *("read a secret", "decrypt a secret", "ask whether an owner is there", "record what Slack said"),
    *ASK[3:-3],
    ASK[-1],
)
FILE = (
    "search by the access key's label",
    "note the filing",
    "create the issue",
    "record the issue",
    "read the issue back",
)
SEND = (
    "claim the message",
    "send the message",
    "record the message",
    "record who was told",
)
DISABLE = (
    "read the records",
    "take a place under the brake",
    "note the disabling",
    "disable",
    "record the disabling",
)
END = (
    "note that somebody deactivated it",
    "claim the issue",
    "look at the recorded issue",
    "look for our comment",
    "say it in the issue",
    "look at the recorded issue",
    "ask how to close it",
    "close it",
    "record that the issue ended",
)
"""The issue of an access key that somebody made inactive."""
FIRST_RUN = (
    *READ,
    *("create the table", "look for the table", "let records expire"),
    *ASK_FIRST,
    "claim the issue",
    *FILE,
    *SEND,
    *DISABLE,
)
"""An expired access key that nobody has heard of, and no table yet."""
NEXT_RUN = (*READ, *ASK, "claim the issue", "look at the recorded issue", *FILE, *SEND)
"""An expiring access key whose owner was told two days ago and whose issue was closed since."""

UNRECORDED_NOTICE = {("record the message", "after"), ("record who was told", "before")}
"""Killed here the message is on record and its notice is not: the access key waits for the next day's message."""
UNCONFIRMED = {("note the disabling", "after"), ("disable", "before")}
"""Killed here nobody can know that the access key was not disabled, so it counts as taken back by a person."""

CHAIN = FIRST_RUN.index("claim the issue")
NEXT_CHAIN = NEXT_RUN.index("claim the issue")
"""The numbers of the first requests that write for an action: a run cut before them has done nothing yet."""

REAL_ONLY = {"read a secret", "decrypt a secret", "ask which Jira it is", "sign in to Jira", "ask for Jira's fields"}
"""Requests that an adapter makes of its own accord: no calls of it."""


def numbered(names: Sequence[str], start: int = 0) -> list[object]:
    """Each of these from `start` on, by its number, as a case that bears its name."""
    return [pytest.param(number, id=f"{number:02} {names[number]}") for number in range(start, len(names))]


def calls_of(names: Sequence[str]) -> tuple[str, ...]:
    """The calls that a run makes of its adapters, out of the requests of a real one."""
    return tuple(name for name in names if name not in REAL_ONLY)


def in_order(names: Sequence[str]) -> tuple[str, ...]:
    """The names, with those of AT_ONCE as READ has them."""
    first, *rest = names
    return (first, *READ[1:3], *rest[2:]) if set(rest[:2]) == AT_ONCE else tuple(names)


def name_of_update(update: str) -> str:
    """What a write to the state table is for, by its UpdateExpression; fails for one that nobody has thought of."""
    return next(name for start, name in UPDATES.items() if update.startswith(start))
