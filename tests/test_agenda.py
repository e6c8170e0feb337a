"""Who is asked for first, who waits for the report, and who gets a turn though there is not time for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest

from keycheck.agenda import Agenda, Kept
from keycheck.credential_report import KeyInReport, UserInReport
from keycheck.listing import CachedListing, ListedUser, why_listed
from keycheck.model import AccessKey
from keycheck.rules.telling import NEVER
from tests.builders import ACCOUNT, DAY, HOUR, MINUTE, NOW

BORN = NOW - 400 * DAY
WHY = partial(why_listed, expire_age=180, expiring_days=15)


def user(name: str) -> ListedUser:
    return ListedUser(name, ACCOUNT, f"AIDA{name}", BORN)


def listing(name: str, *ages_days: float, ago: timedelta = MINUTE) -> CachedListing:
    keys = [AccessKey(f"AKIA{name}{n}", name, ACCOUNT, "Active", NOW - age * DAY) for n, age in enumerate(ages_days)]
    return CachedListing(user(name), tuple(keys), NOW - ago)


def kept(*listings: CachedListing, **tried: datetime) -> Kept:
    return Kept({one.user.user_id: one for one in listings}, {f"AIDA{name}": at for name, at in tried.items()})


def agenda_of(known: Kept, now: datetime = NOW) -> Agenda:
    agenda = Agenda(WHY, now)
    agenda.remember(known)
    return agenda


def predicted(one: CachedListing) -> UserInReport:
    """The row that a report has if nothing has changed since a listing."""
    return UserInReport(
        one.user.created_at, tuple(KeyInReport(key.is_active, key.create_date) for key in one.keys), has_more=False
    )


def report_of(*listings: CachedListing) -> Mapping[str, UserInReport]:
    return {one.user.user_name: predicted(one) for one in listings}


def taken(agenda: Agenda) -> list[str]:
    names = []
    while (one := agenda.take()) is not None:
        names.append(one.user_name)
    return names


def users(names: Iterable[str]) -> list[ListedUser]:
    return [user(name) for name in names]


# Whether there is a report


def test_where_nothing_was_listed_before_nobody_waits_for_the_report() -> None:
    agenda = agenda_of(Kept())
    assert agenda.add(users("abc")) == 3
    assert taken(agenda) == ["a", "b", "c"]


def test_those_who_were_not_taken_when_the_report_came_and_have_no_access_key_are_not_asked_for() -> None:
    agenda = agenda_of(Kept())
    agenda.add(users("abc"))
    agenda.take()
    assert agenda.use_report(report_of(listing("a", 1), listing("b"), listing("c", 1))) == 1
    assert taken(agenda) == ["c"]
    assert agenda.covered == {"b": None}


def test_where_anybody_was_listed_before_all_wait_for_the_report() -> None:
    old, young = listing("old", 170), listing("young", 1)
    agenda = agenda_of(kept(old, young))
    assert agenda.add(users(["old", "young", "new"])) == 0
    assert agenda.take() is None
    assert agenda.use_report(report_of(old, young, listing("new", 1))) == 2
    assert taken(agenda) == ["old", "new"]
    assert agenda.covered == {"young": young}


def test_who_came_in_before_anything_was_known_is_asked_for_at_once() -> None:
    young, other = listing("young", 1), listing("other", 1)
    agenda = agenda_of(Kept())
    assert agenda.add(users(["young"])) == 1
    agenda.take()
    agenda.remember(kept(young, other))
    assert agenda.add(users(["other"])) == 0
    assert agenda.use_report(report_of(young, other)) == 0
    assert list(agenda.covered) == ["other"]


def test_users_who_come_in_after_the_report_are_decided_at_once() -> None:
    young, other = listing("young", 1), listing("other", 1)
    agenda = agenda_of(kept(young, other))
    assert agenda.use_report(report_of(young)) == 0
    assert agenda.add(users(["young", "other"])) == 1
    assert (taken(agenda), list(agenda.covered)) == (["other"], ["young"])


def test_without_a_report_everybody_is_asked_for() -> None:
    agenda = agenda_of(kept(listing("a", 1), listing("b")))
    agenda.add(users("ab"))
    assert agenda.ask_for_all() == 2
    assert agenda.add(users("c")) == 1
    assert sorted(taken(agenda)) == ["a", "b", "c"]
    assert agenda.covered == {}


# The order


def test_who_was_listed_longest_ago_comes_first_and_of_them_who_never_was() -> None:
    agenda = agenda_of(kept(*(listing(name, 1, ago=hours * HOUR) for name, hours in (("a", 1), ("b", 3), ("c", 2)))))
    agenda.add(users("abcd"))
    agenda.ask_for_all()
    assert taken(agenda) == ["d", "b", "c", "a"]


def test_who_was_refused_has_had_a_turn() -> None:
    agenda = agenda_of(kept(listing("a", 1, ago=2 * HOUR), b=NOW - HOUR))
    agenda.add(users("abc"))
    agenda.ask_for_all()
    assert taken(agenda) == ["c", "a", "b"]


@pytest.mark.parametrize("has_report", [True, False])
def test_those_who_may_need_attention_come_first_and_a_quarter_of_the_calls_is_for_the_others(has_report: bool) -> None:
    old = [listing(f"old{n}", 200) for n in range(8)]
    young = [listing(f"young{n}", 1, ago=30 * HOUR) for n in range(4)]
    agenda = agenda_of(kept(*old, *young))
    agenda.add([one.user for one in (*young, *old)])
    if has_report:
        agenda.use_report(report_of(*old, *young))
    else:
        agenda.ask_for_all()
    kinds = [name.rstrip("0123456789") for name in taken(agenda)]
    assert kinds == [*(["old", "old", "old", "young"] * 2), "old", "old", "young", "young"]


def test_each_user_is_listed_after_enough_runs_that_are_cut_and_whoever_is_refused_keeps_nobody_out() -> None:
    """50 users who need attention, 50 others, 20 who are refused each time; a run has time for 16 calls."""
    names = [*(f"old{n}" for n in range(50)), *(f"young{n}" for n in range(50)), *(f"refused{n}" for n in range(20))]
    known, seen = Kept(), set[str]()
    report = report_of(*(listing(name, 200 if name.startswith("old") else 1) for name in names))
    runs = 0
    while len(seen) < 100:
        now = NOW + runs * 5 * MINUTE
        agenda = agenda_of(known, now)
        agenda.add(users(names))
        agenda.use_report(report)
        for _ in range(16):
            one = agenda.take()
            if one is None:
                break
            if one.user_name.startswith("refused"):
                agenda.note_no_answer(one)
            else:
                seen.add(one.user_name)
                agenda.note_keys(one, listing(one.user_name, 200 if one.user_name.startswith("old") else 1).keys)
        known, runs = agenda.to_keep(are_all_seen=True), runs + 1
    assert runs <= 120 / 4, "four calls a run are for those who are not old, at the least"


# What is kept


def test_what_was_learned_is_kept_and_who_is_gone_is_not() -> None:
    a, b, c = listing("a", 1, ago=HOUR), listing("b", 1, ago=HOUR), listing("c", 1, ago=HOUR)
    agenda = agenda_of(kept(a, b, c, d=NOW - HOUR, c=NOW - HOUR))
    agenda.add(users("abe"))
    agenda.ask_for_all()
    agenda.note_keys(user("a"), ())
    agenda.note_no_answer(user("e"))
    known = agenda.to_keep(are_all_seen=True)
    assert known == Kept({"AIDAa": CachedListing(user("a"), (), NOW), "AIDAb": b}, {"AIDAe": NOW}, NOW)
    known = agenda.to_keep(are_all_seen=False)
    assert set(known.listings) == {"AIDAa", "AIDAb", "AIDAc"}
    assert set(known.tried) == {"AIDAc", "AIDAd", "AIDAe"}


def test_an_answer_ends_what_was_refused_before() -> None:
    agenda = agenda_of(kept(a=NOW - HOUR))
    agenda.note_keys(user("a"), ())
    agenda.note_no_answer(replace(user("b"), user_id=""))
    agenda.note_keys(replace(user("b"), user_id=""), ())
    assert agenda.to_keep(are_all_seen=False) == Kept({"AIDAa": CachedListing(user("a"), (), NOW)}, {}, NOW)


def test_who_is_uncovered_is_to_be_asked_for_and_nobody_else() -> None:
    young, other = listing("young", 1), listing("other", 1)
    agenda = agenda_of(kept(young, other))
    agenda.add(users(["young", "other", "none"]))
    agenda.use_report(report_of(young, other, listing("none")))
    assert agenda.uncover(["young", "none", "nobody"]) == users(["young", "none"])
    assert agenda.uncover(["young"]) == []
    assert list(agenda.covered) == ["other"]
    assert agenda_of(Kept()).uncover(["young"]) == []


@pytest.mark.parametrize(("hours", "is_asked_for"), [(4, False), (11, False), (13, True), (24, True)])
def test_where_runs_are_rare_nobody_is_left_to_the_next_one_for_too_long(hours: int, is_asked_for: bool) -> None:
    """Once in 24 hours: with a run each 13 hours that is each of them. The user's own instant is not in that time."""
    listings = [listing(name, 1, ago=hours * HOUR) for name in "abcdefghijklmnop"]
    turn_has_not_come = [one for one in listings if WHY(one.user, predicted(one), one, NOW) is None]
    one = turn_has_not_come[0] if hours < 20 else listings[0]
    agenda = agenda_of(replace(kept(one), ran_at=NOW - hours * HOUR))
    agenda.use_report(report_of(one))
    assert agenda.add([one.user]) == int(is_asked_for)


def test_an_agenda_is_open_until_everybody_was_taken_or_is_covered() -> None:
    young, other = listing("young", 1), listing("other", 1)
    agenda = agenda_of(kept(young, other))
    assert not agenda.is_open
    agenda.add(users(["young", "other"]))
    assert agenda.is_open
    agenda.use_report(report_of(young))
    assert agenda.is_open
    agenda.take()
    assert not agenda.is_open


def test_never_is_before_all() -> None:
    assert NOW - 3000 * DAY > NEVER
