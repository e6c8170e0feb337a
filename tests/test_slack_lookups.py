"""Who has an e-mail address, and who can still be told: asked of Slack over a real socket, and remembered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from keycheck.model import Addressee, AddresseeRecord, Level, Lookup, State
from keycheck.owners import Presence
from keycheck.services import state_items
from keycheck.services.slack_messages import SlackMessages
from keycheck.slack_lookups import LOOKUPS_AT_MOST, PRESENCES_AT_MOST, SlackLookups
from sandbox.fake_slack import FakeSlack, ok_false
from sandbox.http_fake import calls
from sandbox.in_memory import HourlyClock, MemoryAccount, MemoryClaims
from tests.builders import ACCOUNT, DAY, HOUR, MINUTE, NOW, PROFILE, make_addressee, make_settings

TOKEN = "xoxb-invented-slack-token"
FALLBACK = "C0SECURITY"


@pytest.fixture(name="slack")
def workspace() -> Iterator[FakeSlack]:
    with FakeSlack({TOKEN}) as server:
        yield server


class Remembers(MemoryClaims):
    """A state table of which only the look-ups are of interest."""

    def __init__(self) -> None:
        super().__init__(MemoryAccount(ACCOUNT, NOW))

    @property
    def lookups(self) -> dict[str, Lookup]:
        return {name.partition(":")[2]: state_items.lookup(item) for name, item in self._items.items()}


def lookups_for(*profiles: str, **settings: str) -> SlackLookups:
    return SlackLookups(make_settings(**settings), HourlyClock(NOW), profiles or (PROFILE,))


def texts(lookups: SlackLookups, level: Level = Level.ERROR) -> list[str]:
    return [one.text for one in lookups.problems if one.level is level]


# Turns


def test_those_who_have_waited_longest_are_looked_up_first_failed_tries_included(slack: FakeSlack) -> None:
    emails = [f"user{number:02}@example.com" for number in range(LOOKUPS_AT_MOST + 3)]
    looked_up_before = {
        email: Lookup(None, NOW - 2 * DAY + number * MINUTE) for number, email in enumerate(emails[:-2]) if number % 2
    }
    tried_before = {email: Lookup(None, None, "", NOW - 3 * DAY) for email in emails[:-2:2]}
    found, _ = looked_up(lookups_for(), slack, emails, State(lookups={**looked_up_before, **tried_before}))
    assert [email for email in emails if email not in found] == list(looked_up_before)[-3:]


def test_one_that_slack_fails_on_costs_itself_and_is_not_the_first_again(slack: FakeSlack) -> None:
    slack.users["ben@example.com"] = "U0BEN"
    about_ana = lambda request: b"ana" in request.body or "ana" in str(request.query)  # noqa: E731
    slack.inject(ok_false("internal_error"), about_ana)
    lookups = lookups_for()
    found, kept = looked_up(lookups, slack, ("ana@example.com", "ben@example.com"))
    assert found == {"ben@example.com": "U0BEN"}
    assert kept["ana@example.com"] == Lookup(None, None, tried_at=NOW)
    assert len(texts(lookups)) == 1


def test_what_has_had_no_answer_for_a_week_is_said_with_a_count(slack: FakeSlack) -> None:
    slack.inject(ok_false("internal_error"))
    for days, said in ((9, ["1 look-ups on Slack have had no answer for a week: ana@example.com"]), (7, [])):
        lookups = lookups_for()
        before = State(lookups={"ana@example.com": Lookup(None, None, "", NOW - days * DAY)})
        looked_up(lookups, slack, ("ana@example.com",), before)
        assert [text.partition(";")[0] for text in texts(lookups, Level.WARNING)] == said


# Who has an address


def looked_up(
    lookups: SlackLookups, slack: FakeSlack, emails: Iterable[str], state: State | None = None
) -> tuple[dict[str, str | None], dict[str, Lookup]]:
    claims, messages = Remembers(), SlackMessages(TOKEN, slack.base_url, HourlyClock(NOW))
    found = lookups.look_up(emails, state or State(), lambda: messages, claims)
    return found, claims.lookups


def test_what_slack_says_is_kept_and_not_asked_for_again_while_it_holds(slack: FakeSlack) -> None:
    slack.users["kramer@example.com"] = "U012KRAMER"
    emails = ("kramer@example.com", "newman@example.com")
    lookups = lookups_for()
    found, kept = looked_up(lookups, slack, emails)
    assert found == {"kramer@example.com": "U012KRAMER", "newman@example.com": None}
    assert kept == {email: Lookup(slack_id, NOW) for email, slack_id in found.items()}
    for age, asked in ((timedelta(hours=23), 0), (timedelta(days=1), 1), (timedelta(days=7), 2)):
        known = {email: Lookup(slack_id, NOW - age) for email, slack_id in found.items()}
        before = len(slack.requests)
        assert looked_up(lookups, slack, emails, State(lookups=known))[0] == found
        assert len(slack.requests) - before == asked, age


def test_no_more_are_looked_up_in_a_run_than_slack_allows_in_a_minute(slack: FakeSlack) -> None:
    emails = [f"user{number}@example.com" for number in range(LOOKUPS_AT_MOST + 3)]
    lookups = lookups_for()
    found, _ = looked_up(lookups, slack, emails)
    assert list(found) == emails[:LOOKUPS_AT_MOST]
    assert texts(lookups, Level.INFO) == ["3 e-mail addresses are looked up on Slack in the next runs"]


def test_one_look_up_that_fails_ends_them_and_nobody_is_unknown_for_it(slack: FakeSlack) -> None:
    slack.scopes.discard("users:read.email")
    lookups = lookups_for()
    found, kept = looked_up(lookups, slack, ["a@example.com", "b@example.com"])
    assert (found, kept, len(slack.requests)) == ({}, {}, 1)
    (text,) = texts(lookups)
    assert text.startswith("owners could not be looked up on Slack: ")
    assert "users:read.email" in text
    assert "a@example.com" not in text


def test_a_dry_run_looks_up_and_keeps_nothing(slack: FakeSlack) -> None:
    slack.users["kramer@example.com"] = "U012KRAMER"
    messages = SlackMessages(TOKEN, slack.base_url, HourlyClock(NOW))
    found = lookups_for().look_up(["kramer@example.com"], State(), lambda: messages, None)
    assert found == {"kramer@example.com": "U012KRAMER"}


def test_slack_is_not_opened_where_the_table_knows_everybody() -> None:
    def open_slack() -> None:
        pytest.fail("its secret would be read for nothing")

    state = State(lookups={"kramer@example.com": Lookup("U012KRAMER", NOW)})
    found = lookups_for().look_up(["kramer@example.com"], state, open_slack, None)
    assert found == {"kramer@example.com": "U012KRAMER"}


# Who can still be told


def asked(
    lookups: SlackLookups, slack: FakeSlack, *slack_ids: str, state: State | None = None
) -> tuple[dict[str, Presence], dict[str, Lookup]]:
    claims, messages = Remembers(), SlackMessages(TOKEN, slack.base_url, HourlyClock(NOW))
    addressees = {make_addressee(one) for one in slack_ids}
    return lookups.presences(addressees, state or State(), lambda: messages, claims), claims.lookups


def test_who_has_left_is_seen_though_slack_takes_messages_to_them(slack: FakeSlack) -> None:
    slack.deleted.add("U0LEFT")
    slack.bots.add("U0BOT")
    slack.unknown.add("U0NOBODY")
    found, kept = asked(lookups_for(), slack, "U0HERE", "U0LEFT", "U0BOT", "U0NOBODY")
    whys = {"U0HERE": "", "U0LEFT": "deleted", "U0BOT": "is_bot", "U0NOBODY": "user_not_found"}
    assert found == {name: Presence(gone=why) for name, why in whys.items()}
    assert kept == {name: Lookup(None if why else name, NOW, why) for name, why in whys.items()}


def test_what_slack_said_of_a_person_holds_a_week_and_that_they_have_left_a_day(slack: FakeSlack) -> None:
    for known, age, is_asked in (
        (Lookup("U0ANA", NOW - 7 * DAY + HOUR), 0, False),
        (Lookup("U0ANA", NOW - 7 * DAY), 0, True),
        (Lookup(None, NOW - DAY + HOUR, "deleted"), 0, False),
        (Lookup(None, NOW - DAY, "deleted"), 0, True),
    ):
        before = len(slack.requests)
        asked(lookups_for(), slack, "U0ANA", state=State(lookups={"U0ANA": known}))
        assert len(slack.requests) - before == is_asked, (known, age)


def test_channels_are_not_asked_about(slack: FakeSlack) -> None:
    assert asked(lookups_for(), slack, "C0TEAM") == ({"C0TEAM": Presence()}, {})
    assert slack.requests == []


def test_without_the_scope_a_message_counts_and_one_line_names_it(slack: FakeSlack) -> None:
    slack.scopes.discard("users:read")
    lookups = lookups_for("acme-dev", "acme-prod")
    found, kept = asked(lookups, slack, "U0ANA", "U0BEN")
    assert (found, kept, len(slack.requests)) == ({"U0ANA": Presence(), "U0BEN": Presence()}, {}, 1)
    (text,) = texts(lookups, Level.WARNING)
    assert "users:read" in text
    quiet = lookups_for(disable_key="False")
    asked(quiet, slack, "U0ANA")
    assert quiet.problems == []


def test_what_could_not_be_asked_is_unsure(slack: FakeSlack) -> None:
    """A message goes out all the same; nothing is disabled meanwhile."""
    slack.inject(ok_false("fatal_error"), calls("POST", "/users.info"))
    slack.inject(ok_false("fatal_error"), calls("GET", "/users.info"))
    lookups = lookups_for()
    found, kept = asked(lookups, slack, "U0ANA", "U0BEN")
    assert found == dict.fromkeys(("U0ANA", "U0BEN"), Presence(is_sure=False))
    assert kept == dict.fromkeys(("U0ANA", "U0BEN"), Lookup(None, None, tried_at=NOW)), "both have had their turn"
    assert len(set(texts(lookups))) == 1
    assert lookups_for().presences({make_addressee("U0ANA")}, State(), lambda: None, None) == {
        "U0ANA": Presence(is_sure=False)
    }


def test_no_more_are_asked_about_in_a_run_than_slack_allows_in_a_minute(slack: FakeSlack) -> None:
    names = [f"U{number:09}" for number in range(PRESENCES_AT_MOST + 2)]
    lookups = lookups_for()
    found, kept = asked(lookups, slack, *names)
    assert (len(kept), [name for name, one in found.items() if not one.is_sure]) == (PRESENCES_AT_MOST, names[-2:])
    assert texts(lookups, Level.INFO) == ["whether 2 owners are still on Slack is asked in the next runs"]


@pytest.mark.parametrize(
    ("refused_at", "fallback", "told_at", "expected"),
    [
        pytest.param(NOW - HOUR, FALLBACK, NOW, Presence(gone="is_archived"), id="lately"),
        pytest.param(NOW - DAY, FALLBACK, NOW - HOUR, Presence(is_sure=False, is_retry=True), id="a day ago"),
        pytest.param(NOW - DAY, FALLBACK, None, Presence(gone="is_archived"), id="and nobody heard instead"),
        pytest.param(NOW - DAY, FALLBACK, NOW - 2 * DAY, Presence(gone="is_archived"), id="or only before"),
        pytest.param(NOW - HOUR, None, None, Presence(), id="without a fallback channel each run tries"),
    ],
)
def test_a_channel_that_refused_a_message_is_tried_again_once_the_fallback_has_heard(
    slack: FakeSlack, refused_at: Any, fallback: str | None, told_at: Any, expected: Presence
) -> None:
    """While it is tried nobody else is told: on a daily schedule the fallback channel would never hear."""
    settings = {} if fallback is None else {"slack_fallback_channel": fallback}
    told: Mapping[str, AddresseeRecord] = {
        Addressee(FALLBACK, ACCOUNT, is_person=False).record_id: AddresseeRecord(messaged_at=told_at)
    }
    state = State(addressees=told, lookups={"C0OLD": Lookup(None, refused_at, "is_archived")})
    assert asked(lookups_for(**settings), slack, "C0OLD", state=state)[0] == {"C0OLD": expected}
