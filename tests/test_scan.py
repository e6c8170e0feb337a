"""A scan is a whole or says what is missing: pages, users that fail, come or go, dead credentials, time that runs out.

In process, in milliseconds. That an answer of IAM becomes such a value, or such a ServiceError, is in tests/services.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from keycheck.listing import ListedUser
from keycheck.model import AccessKey, Level, Scan
from keycheck.scan import Scanner
from keycheck.services import Iam, ServiceError
from sandbox.in_memory import HourlyClock, MemoryAccount, MemoryIam
from tests.builders import ACCOUNT, DAY, NOW, PROFILE, make_access_key, make_settings
from tests.impatience import wait_until

T = TypeVar("T")
BORN = NOW - 400 * DAY
SETTINGS = make_settings()
Page = tuple[Sequence[str], str | None]
"""User names, and the marker of the next page."""


def refused(*, holds_for_run: bool = False, text: str = "it said no") -> ServiceError:
    return ServiceError("iam", "its operation", text, holds_for_run=holds_for_run)


@dataclass
class ScriptedIam(MemoryIam):
    """`pages` by marker, `keys` by user name; an exception in either is raised. A user of neither has no access key."""

    pages: Mapping[str | None, Page | Exception]
    keys: Mapping[str, Sequence[AccessKey] | Exception | None] = field(default_factory=dict)
    root: int | Exception = 0
    account: str | Exception = ACCOUNT
    asked: list[str] = field(default_factory=list)
    before_answer: Callable[[str], None] = lambda _: None

    def list_users(self, marker: str | None) -> tuple[Sequence[ListedUser], str | None]:
        self.asked.append("users")
        names, following = given(self.pages[marker])
        return [ListedUser(name, ACCOUNT, f"AIDA{name}", BORN) for name in names], following

    def list_access_keys(
        self, user_name: str, account_id: str, *, is_after_scan: bool = False
    ) -> Sequence[AccessKey] | None:
        assert account_id == ACCOUNT
        self.asked.append(f"{user_name} after the scan" if is_after_scan else user_name)
        self.before_answer(user_name)
        return given(self.keys.get(user_name, ()))

    def account_id(self) -> str:
        self.asked.append("account")
        return given(self.account)

    def root_access_keys(self) -> int:
        self.asked.append("root")
        return given(self.root)


def given(answer: T | Exception) -> T:
    if isinstance(answer, Exception):
        raise answer
    return answer


def scan_of(iam: Iam, clock: HourlyClock | None = None) -> Scan:
    scanner = Scanner([PROFILE], lambda _: iam, clock or a_clock(), SETTINGS)
    scanner.run()
    (found,) = scanner.scans()
    return found


def a_clock() -> HourlyClock:
    clock = HourlyClock(NOW)
    clock.set_timeout(60)
    return clock


def key_of(user_name: str, number: int = 0, days: int = 197) -> AccessKey:
    return make_access_key(user_name, age=days * DAY, access_key_id=f"AKIA{user_name.upper():0>11}{number:05}")


def one_page(*names: str) -> dict[str | None, Page | Exception]:
    return {None: (names, None)}


def said(scan: Scan, level: Level = Level.ERROR) -> list[str]:
    return [problem.text for problem in scan.problems if problem.level is level]


# A whole


def test_access_keys_are_in_one_order_whatever_came_first() -> None:
    ann, bob = [key_of("ann", 2, 10), key_of("ann", 1, 20)], [key_of("bob", 2, 5), key_of("bob", 1, 5)]
    found = scan_of(ScriptedIam(one_page("bob", "ann"), {"ann": ann, "bob": bob}))
    assert found.keys == (ann[1], ann[0], bob[1], bob[0])
    assert (found.is_complete, found.is_listed, found.was_scanned, found.problems) == (True, True, True, ())
    assert (found.user_count, found.users_read, found.users_failed, found.account_id) == (2, 2, 0, ACCOUNT)


def test_an_account_without_users_is_scanned_and_complete() -> None:
    found = scan_of(ScriptedIam(one_page()))
    assert (found.was_scanned, found.is_complete, found.user_count, found.keys) == (True, True, 0, ())
    assert found.account_id == ACCOUNT, "as STS says: the issues of its last users are still to be closed"


def test_an_account_without_users_of_which_nobody_says_which_it_is_is_scanned_all_the_same() -> None:
    found = scan_of(ScriptedIam(one_page(), account=refused()))
    assert (found.is_complete, found.account_id) == (True, "")
    assert [problem.level for problem in found.problems] == [Level.INFO]


def test_sts_is_asked_only_where_no_user_says_which_account_it_is() -> None:
    iam = ScriptedIam(one_page("ann"))
    assert scan_of(iam).account_id == ACCOUNT
    assert "account" not in iam.asked


def test_a_user_on_two_pages_is_one_user_and_asked_about_once() -> None:
    iam = ScriptedIam({None: (("ann", "bob"), "x"), "x": (("bob", "cay"), None)}, {"bob": [key_of("bob")]})
    found = scan_of(iam)
    assert (found.user_count, found.keys, iam.asked.count("bob")) == (3, (key_of("bob"),), 1)


def test_a_user_who_is_gone_meanwhile_is_neither_counted_nor_missing() -> None:
    found = scan_of(ScriptedIam(one_page("ann", "bob"), {"ann": None, "bob": [key_of("bob")]}))
    assert (found.user_count, found.is_complete, found.problems) == (1, True, ())
    assert found.vanished == {"ann"}, "deleted, or renamed: what it had may be there under another name"


# A part


def test_a_user_who_cannot_be_read_costs_only_that_one() -> None:
    found = scan_of(ScriptedIam(one_page("ann", "bob"), {"ann": refused(), "bob": [key_of("bob")]}))
    assert found.keys == (key_of("bob"),)
    assert (found.is_complete, found.is_listed, found.users_read, found.users_failed) == (False, True, 1, 1)
    assert said(found) == ["the access keys of 1 of 2 users were not read: it said no: ann"]


def test_users_who_fail_alike_are_one_line_that_names_five() -> None:
    names = [f"user{number}" for number in range(7)]
    keys: dict[str, Sequence[AccessKey] | Exception | None] = dict.fromkeys(names, refused())
    found = scan_of(ScriptedIam(one_page(*names, "ann"), {**keys, "ann": refused(text="it said never")}))
    assert said(found) == [
        "the access keys of 1 of 8 users were not read: it said never: ann",
        "the access keys of 7 of 8 users were not read: it said no: user0, user1, user2, user3, user4, ...",
    ]
    assert [problem.count for problem in found.problems] == [1, 7]


def test_an_odd_answer_about_one_user_costs_only_that_one() -> None:
    found = scan_of(ScriptedIam(one_page("ann", "bob"), {"ann": KeyError("x"), "bob": [key_of("bob")]}))
    assert found.keys == (key_of("bob"),)
    assert said(found) == ["the access keys of 1 of 2 users were not read: unexpected KeyError; please report it: ann"]


def test_a_list_of_users_that_breaks_off_is_no_complete_one() -> None:
    iam = ScriptedIam({None: (("ann",), "x"), "x": refused()}, {"ann": [key_of("ann")]})
    found = scan_of(iam)
    assert (found.keys, found.was_scanned) == ((key_of("ann"),), True)
    assert (found.is_complete, found.is_listed) == (False, False)
    assert said(found) == ["it said no; the list of users is not complete"]


@pytest.mark.parametrize("error", [refused(), refused(holds_for_run=True), RuntimeError()], ids=["no", "never", "odd"])
def test_without_a_first_page_nothing_is_said_of_the_account(error: Exception) -> None:
    iam = ScriptedIam({None: error})
    found = scan_of(iam)
    assert (found.was_scanned, found.is_complete, found.keys, found.user_count) == (False, False, (), 0)
    assert len(said(found)) == 1
    assert iam.asked == ["users"], "dead credentials cost one call"


def test_what_holds_for_the_run_is_said_once_and_ends_the_asking() -> None:
    """No more is asked than was on its way when the first such answer came."""
    names = [f"user{number:03}" for number in range(400)]
    iam = ScriptedIam(one_page(*names), dict.fromkeys(names, refused(holds_for_run=True)))
    found = scan_of(iam)
    assert said(found) == ["it said no"]
    assert (found.was_scanned, found.is_complete) == (False, False)
    assert len(iam.asked) < len(names) / 2


# The root user


def test_access_keys_of_the_root_user_are_a_warning() -> None:
    found = scan_of(ScriptedIam(one_page(), root=2))
    assert found.root_access_keys == 2
    assert said(found, Level.WARNING) == ["the root user has 2 access keys; delete them: root must have none"]


@pytest.mark.parametrize(
    ("error", "why"), [(refused(), "it said no"), (KeyError("x"), "unexpected KeyError; please report it")]
)
def test_not_knowing_about_the_root_user_costs_nothing_else(error: Exception, why: str) -> None:
    found = scan_of(ScriptedIam(one_page("ann"), {"ann": [key_of("ann")]}, root=error))
    assert (found.root_access_keys, found.is_complete, found.keys) == (None, True, (key_of("ann"),))
    assert said(found, Level.WARNING) == [f"whether the root user has access keys is not known: {why}"]


# Time


def test_after_a_signal_nothing_is_asked() -> None:
    clock, iam = a_clock(), ScriptedIam(one_page("ann"))
    clock._on_signal(signal.SIGTERM, None)
    found = scan_of(iam, clock)
    assert (iam.asked, found.was_scanned) == ([], False)


def test_what_is_known_when_the_time_is_over_is_told_and_what_is_missing_counted() -> None:
    """The scan is looked at from another thread, while one user's answer is still on its way."""
    answer = threading.Event()
    keys = {"ann": [key_of("ann")], "bob": [key_of("bob")]}

    def answer_late(user_name: str) -> None:
        if user_name == "bob":
            answer.wait(30)

    iam = ScriptedIam(one_page("ann", "bob"), keys, before_answer=answer_late)
    clock = a_clock()
    scanner = Scanner([PROFILE], lambda _: iam, clock, SETTINGS)
    worker = threading.Thread(target=scanner.run)
    worker.start()
    try:
        wait_until(lambda: scanner.scans()[0].users_read == 1 and scanner.scans()[0].is_listed)
        assert not scanner.scans()[0].is_complete
        assert scanner.scans()[0].problems == ()
        clock._on_signal(signal.SIGTERM, None)
        (found,) = scanner.scans()
        assert (found.keys, found.is_complete, found.was_scanned) == ((key_of("ann"),), False, True)
        assert said(found, Level.WARNING) == [
            "the scan was cut off by SIGTERM (is Telegraf's timeout above run_timeout_seconds?): 1 of 2 users not read"
        ]
    finally:
        answer.set()
        worker.join(30)


# Several profiles


def test_a_profile_that_cannot_be_opened_costs_only_itself() -> None:
    account = MemoryAccount(ACCOUNT, NOW, keys={"x": key_of("ann")})

    def open_iam(profile: str) -> Iam:
        if profile == "broken":
            raise refused(holds_for_run=True, text="there is no such AWS profile")
        return account.open_iam(profile)

    scanner = Scanner(["broken", PROFILE], open_iam, a_clock(), SETTINGS)
    scanner.run()
    broken, sound = scanner.scans()
    assert (broken.profile, broken.was_scanned, said(broken)) == ("broken", False, ["there is no such AWS profile"])
    assert (sound.profile, sound.keys, sound.is_complete) == (PROFILE, (key_of("ann"),), True)
    assert scanner.iam("broken") is None
    assert scanner.iam(PROFILE) is not None
