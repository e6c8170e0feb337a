"""Random histories in this process: runs, failing calls, kills, time, people, lost tables; and what holds after each.

The same promises as in state_machine.py, whose docstring lists them, with the same exceptions. That one plays real
processes on a real engine; this one plays ten times as many runs in the same time, and cuts and spoils calls instead of
requests.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keycheck.model import AccessKey, Level
from sandbox.in_memory import Filed
from tests.builders import ACCOUNT, BEYOND_A_CLAIM, MORE_THAN_A_DAY
from tests.in_process import FAILURES, By, Cut, Ran, Stage, Stages, Trouble
from tests.reliability.chains import Moment

OWNERS = {"ana": "U0ANA", "ben": "U0BEN", "svc": "U0BEN"}
EXEMPT, FALLBACK = "exempt", "C0FALLBACK"
USERS = (*OWNERS, "nobodys", EXEMPT)
AGES = (197, 3, 164.9, 165, 170, 179.9, 180, 400)
BRAKE, GRACE, BEYOND_AN_INTENT = 2, timedelta(days=2), timedelta(minutes=15, seconds=5)
SETTINGS = {
    "slack_fallback_channel": FALLBACK,
    "max_disables_per_day": str(BRAKE),
    "reenable_grace_days": str(GRACE.days),
}
SWITCHES: tuple[dict[str, str], ...] = ({}, {"create_jira": "False"}, {"send_slack": "False"})
A_WEEK = timedelta(days=7)
INTERVAL = timedelta(hours=24)
SETTLES_IN_DAYS = 30
SPANS = (
    *(timedelta(minutes=5), timedelta(minutes=11), BEYOND_A_CLAIM, timedelta(hours=6)),
    *(timedelta(hours=23, minutes=59), MORE_THAN_A_DAY, timedelta(days=3), timedelta(days=8)),
)
CALLS = (
    *("iam list_users", "iam list_access_keys", "iam root_access_keys", "iam last_used", "iam deactivate"),
    *("outside open_claims", "claims read", "claims scan_account", "claims claim_issue", "claims begin_filing"),
    *("claims record_issue", "claims release_issue", "claims claim_message", "claims record_message"),
    *("claims record_told", "claims release_message", "claims take_disabling", "claims give_back_disabling"),
    *("claims begin_disabling", "claims record_disabled", "claims drop_disabling", "claims record_reenabled"),
    *("claims record_said", "outside open_issues", "issues open_issues", "issues read", "issues find_open"),
    *("issues create", "issues was_said", "issues comment", "issues close", "outside open_messages", "messages send"),
)
EXEMPTION = """[[exemption]]
account = "{account}"
user = "{user}"
until = {until:%Y-%m-%d}
reason = "it is watched: nothing may happen to it"
"""
MARK = re.compile(r"keycheck noted: .+")


@dataclass
class Ledger:
    """What happened, beyond what the account shows. `repeatable`: numbers of messages that are not on record."""

    repeatable: set[int] = field(default_factory=set)
    duplicable: set[str] = field(default_factory=set)
    counted_from: int = 0
    filed: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    reenabled: dict[str, datetime] = field(default_factory=dict)
    may_have_lost_issues: bool = False


class HistoryInProcess(RuleBasedStateMachine):
    """One history; `counts` adds up what all of them did."""

    counts: ClassVar[Counter[str]] = Counter()

    def __init__(self, stages: Stages) -> None:
        super().__init__()
        self._open = ExitStack()
        self.stage: Stage = self._open.enter_context(stages())
        self.account = self.stage.account
        self.ledger = Ledger()
        self.story: list[str] = []
        self.checked_messages = self.checked_issues = self.checked_disablings = 0
        self.was_auto_close = False
        self.counts["histories"] += 1

    # What happens

    @initialize(
        ages=st.lists(
            st.lists(st.sampled_from(AGES), min_size=1, max_size=2), min_size=len(USERS), max_size=len(USERS)
        ),
        lag=st.sampled_from([0, 60]),
        switches=st.sampled_from(SWITCHES),
        notice=st.sampled_from(["0", "2"]),
    )
    def begin(self, ages: list[list[float]], lag: int, switches: dict[str, str], notice: str) -> None:
        exemptions = self.stage.folder / "exemptions.toml"
        until = self.account.now + timedelta(days=300)
        exemptions.write_text(EXEMPTION.format(account=ACCOUNT, user=EXEMPT, until=until), encoding="utf-8")
        self.stage.owners = dict(OWNERS)
        self.stage.environ |= SETTINGS | switches
        self.stage.environ |= {"disable_notice_days": notice, "exemptions_file": str(exemptions)}
        self.account.search_lag = timedelta(seconds=lag)
        for user, own in zip(USERS, ages, strict=True):
            for age in own:
                self.stage.add_key(age, user)
        self.tell(f"{dict(zip(USERS, ages, strict=True))}; lag {lag} s; {switches}; a notice of {notice} days")

    @rule()
    def run(self) -> None:
        self.runs()

    @rule(
        calls=st.lists(st.sampled_from(CALLS), min_size=1, max_size=2, unique=True),
        failure=st.sampled_from(sorted(FAILURES)),
    )
    def run_in_trouble(self, calls: list[str], failure: str) -> None:
        raises, is_served = FAILURES[failure]
        self.runs(*(Trouble.on(call, raises, is_served) for call in calls))

    @rule(
        number=st.integers(0, 60),
        moment=st.sampled_from(["before", "after"]),
        by=st.sampled_from(list(By)),
    )
    def run_and_be_cut(self, number: int, moment: Moment, by: By) -> None:
        self.runs(cut=Cut(number, moment, by))

    @rule(span=st.sampled_from(SPANS))
    def time_passes(self, span: timedelta) -> None:
        self.stage.pass_time(span)
        self.tell(f"{span} pass")

    @rule(number=st.integers(0, 9), is_deleted=st.booleans())
    def somebody_closes_an_issue(self, number: int, is_deleted: bool) -> None:
        if keys := sorted(issue.key for issue in self.open_issues()):
            key = keys[number % len(keys)]
            self.account.issues[key].ended_at = self.account.now
            if is_deleted:
                del self.account.issues[key]
                self.checked_issues -= 1
            self.tell(f"{key} is {'deleted' if is_deleted else 'closed'}")

    @rule(is_on=st.booleans())
    def a_workflow_closes_new_issues(self, is_on: bool) -> None:
        self.account.auto_close = is_on
        self.was_auto_close |= is_on
        self.tell(f"new issues are closed at once: {is_on}")

    @rule(number=st.integers(0, 9))
    def somebody_rotates(self, number: int) -> None:
        keys = list(self.account.keys.values())
        key = keys[number % len(keys)]
        del self.account.keys[key.access_key_id]
        self.stage.add_key(0, key.user_name)
        self.tell(f"{key.user_name} rotates ...{key.last_five}")

    @precondition(lambda self: any(not key.is_active for key in self.account.keys.values()))
    @rule(number=st.integers(0, 9))
    def somebody_enables_again_and_the_next_run_comes(self, number: int) -> None:
        self.time_passes(BEYOND_A_CLAIM + BEYOND_AN_INTENT)
        keys = [key for key in self.account.keys.values() if not key.is_active]
        key = keys[number % len(keys)]
        if "disabled_at" in self.stage.records().get(key.access_key_id, {}):
            self.ledger.reenabled[key.access_key_id] = self.account.now
            self.counts["re-enabled"] += 1
        self.stage.set_status(key, "Active")
        self.tell(f"{key.user_name} enables ...{key.last_five} again")
        self.runs()

    @rule()
    def the_table_is_lost(self) -> None:
        self.stage.drop_table()
        last = {message.slack_id: number for number, message in enumerate(self.account.sent)}
        self.ledger.repeatable |= set(last.values())
        unseen = self.account.now - self.account.search_lag
        self.ledger.duplicable |= {label_of(one) for one in self.account.issues.values() if one.filed_at > unseen}
        self.ledger.filed.clear()
        self.ledger.reenabled.clear()
        self.ledger.counted_from = len(self.account.disabled)
        self.ledger.may_have_lost_issues = True
        self.tell("the table is lost")

    # Running

    def runs(self, *troubles: Trouble, cut: Cut | None = None) -> None:
        """One run, and what it must leave behind whatever happened in it."""
        words = [f"{one.service} {one.method} fails, served: {one.served}" for one in troubles]
        self.tell(
            f"run {' and '.join(words)}" + (f", cut at {cut.number} {cut.moment} by {cut.by.name}" if cut else "")
        )
        ran = self.stage.run(*troubles, cut=cut)
        self.counts["runs"] += 1
        self.counts["failed calls"] += sum(ran.how_often(one.service, one.method) for one in troubles)
        self.counts["cuts"] += cut is not None and len(ran.calls.names) > cut.number
        self._check_lines(ran, troubles, cut)
        self._check_records(may_be_missing=bool(troubles) or ran.calls.is_dead)
        self._check_issues()
        self._check_disablings()
        self.ledger.may_have_lost_issues |= bool(troubles) or cut is not None

    def _check_lines(self, ran: Ran, troubles: tuple[Trouble, ...], cut: Cut | None) -> None:
        if ran.calls.is_dead:
            return
        assert sum(line.startswith("iam_run,") for line in ran.lines) == 1, self.so_far()
        if not any(one.service in ("iam", "outside") for one in troubles) and cut is None:
            shown = sum(line.startswith("iam,") for line in ran.lines)
            assert shown == len(self.account.keys), f"{shown} lines\n{self.so_far()}"
        if not troubles and cut is None:
            assert ran.said(Level.ERROR) == [], self.so_far()
        texts = [*ran.said(Level.ERROR), *ran.said(Level.WARNING)]
        assert not any("unexpected" in text for text in texts), f"{texts}\n{self.so_far()}"

    def _check_records(self, *, may_be_missing: bool) -> None:
        """Each new message is on record; where a kill or the table kept it from that, it may be repeated once."""
        records = self.stage.records()
        for number, message in enumerate(self.account.sent):
            if number >= self.checked_messages:
                messaged_at = records.get(f"slack:{ACCOUNT}:{message.slack_id}", {}).get("messaged_at", 0)
                if messaged_at < int(message.at.timestamp()):
                    assert may_be_missing, f"the message to {message.slack_id} is not on record\n{self.so_far()}"
                    self.ledger.repeatable.add(number)
        self.checked_messages = len(self.account.sent)

    def _check_issues(self) -> None:
        for issue in list(self.account.issues.values())[self.checked_issues :]:
            self.ledger.filed[label_of(issue)].append(issue.filed_at)
            self.counts["issues"] += 1
        self.checked_issues = len(self.account.issues)

    def _check_disablings(self) -> None:
        records = self.stage.records()
        for number, (at, access_key_id) in enumerate(self.account.disabled):
            if number < self.checked_disablings:
                continue
            self.counts["disablings"] += 1
            key, record = self.account.keys[access_key_id], records.get(access_key_id, {})
            about = f"{key.user_name} ...{key.last_five}\n{self.so_far()}"
            assert {"warned_at", "notice_void_at"} & record.keys(), f"disabled untold: {about}"
            assert {"disabling_at", "disabled_at"} & record.keys(), f"disabled without an intent on record: {about}"
            assert record.get("disable_from", 0) <= at.timestamp(), f"disabled before the day told: {about}"
            assert at - key.create_date >= timedelta(days=180), f"disabled too young: {about}"
            assert key.user_name != EXEMPT, f"disabled though exempt: {about}"
            enabled_at = self.ledger.reenabled.pop(access_key_id, None)
            assert enabled_at is None or at - enabled_at >= GRACE, f"disabled soon after a person enabled it: {about}"
        self.checked_disablings = len(self.account.disabled)

    # What must hold

    @invariant()
    def no_more_are_disabled_than_the_brake_allows(self) -> None:
        counted = self.account.disabled[self.ledger.counted_from :]
        for (first, _), (later, _) in zip(counted, counted[BRAKE:], strict=False):
            assert later - first >= timedelta(hours=24) - timedelta(seconds=2), self.so_far()

    @invariant()
    def nothing_is_said_twice_in_an_issue(self) -> None:
        for issue in self.account.issues.values():
            marks = Counter(mark for _, text in issue.comments for mark in MARK.findall(text))
            assert all(count == 1 for count in marks.values()), f"{issue.key}: {marks}\n{self.so_far()}"

    @invariant()
    def the_exempt_user_is_left_alone(self) -> None:
        for key in self.account.keys.values():
            if key.user_name == EXEMPT:
                assert key.is_active, self.so_far()
                assert key.issue_label not in self.ledger.filed, self.so_far()
                assert not any(key.last_five in str(one.draft.blocks) for one in self.account.sent), self.so_far()

    @invariant()
    def there_is_at_most_one_open_issue_an_access_key(self) -> None:
        labels = Counter(label_of(issue) for issue in self.open_issues())
        twice = {label for label, count in labels.items() if count > 1}
        if not self.account.search_lag:
            self.ledger.duplicable &= twice
        assert twice <= self.ledger.duplicable, f"{twice}\n{self.so_far()}"

    @invariant()
    def there_is_no_third_issue_in_seven_days(self) -> None:
        for label, filed in self.ledger.filed.items():
            for first, third in zip(filed, filed[2:], strict=False):
                assert third - first >= A_WEEK, f"{label}\n{self.so_far()}"

    @invariant()
    def nobody_is_messaged_twice_in_the_interval(self) -> None:
        last: dict[str, tuple[int, datetime]] = {}
        for number, message in enumerate(self.account.sent):
            if message.slack_id in last:
                before, at = last[message.slack_id]
                is_apart = message.at - at >= INTERVAL
                assert is_apart or before in self.ledger.repeatable, f"{message.slack_id}\n{self.so_far()}"
            last[message.slack_id] = (number, message.at)

    def teardown(self) -> None:
        try:
            if self.story:
                self._settle()
        finally:
            self.counts["messages"] += len(self.account.sent)
            self.counts["comments"] += sum(len(issue.comments) for issue in self.account.issues.values())
            self._open.close()

    def _settle(self) -> None:
        """Failures stop. Within some days everybody is told, and every old access key is filed, or disabled."""
        self.account.search_lag, self.account.auto_close = timedelta(), False
        is_week_needed = self.was_auto_close or any(len(filed) > 1 for filed in self.ledger.filed.values())
        self.time_passes(timedelta(days=8) if is_week_needed else BEYOND_A_CLAIM)
        calm = 0
        for _ in range(SETTLES_IN_DAYS):
            disabled = len(self.account.disabled)
            self.runs()
            self.there_is_at_most_one_open_issue_an_access_key()
            self.there_is_no_third_issue_in_seven_days()
            self.nobody_is_messaged_twice_in_the_interval()
            is_calm = not any(map(self._must_go, self.account.keys.values())) and len(self.account.disabled) == disabled
            calm = calm + 1 if is_calm else 0
            if calm > GRACE.days + 1:
                break
            self.time_passes(MORE_THAN_A_DAY)
        self.nothing_is_said_twice_in_an_issue()
        self.the_exempt_user_is_left_alone()
        self._check_everybody_was_served()

    def _check_everybody_was_served(self) -> None:
        is_open = {label_of(issue) for issue in self.open_issues()}
        sends, files = (self.stage.environ.get(name) != "False" for name in ("send_slack", "create_jira"))
        for key in self.account.keys.values():
            age = self.account.now - key.create_date
            about = f"{key.user_name} ...{key.last_five}, {age} old\n{self.so_far()}"
            assert not self._must_go(key), f"never disabled: {about}"
            if key.user_name == EXEMPT or not key.is_active or age < timedelta(days=165):
                continue
            assert not files or key.issue_label in is_open, f"never filed: {about}"
            told = [one for one in self.account.sent if one.slack_id == OWNERS.get(key.user_name, FALLBACK)]
            if sends:
                assert told, f"never told: {about}"
                assert key.last_five in str(told[-1].draft.blocks), f"not named: {about}"
                assert self.account.now - told[-1].at <= INTERVAL, f"told too long ago: {about}"
        if files and not self.ledger.may_have_lost_issues:
            gone = is_open - {key.issue_label for key in self.account.keys.values() if key.is_active}
            assert gone == set(), f"open without an active access key: {gone}\n{self.so_far()}"

    def _must_go(self, key: AccessKey) -> bool:
        is_old = self.account.now - key.create_date >= timedelta(days=180)
        return key.is_active and is_old and key.user_name != EXEMPT

    def open_issues(self) -> list[Filed]:
        return [issue for issue in self.account.issues.values() if issue.ended_at is None]

    def tell(self, what: str) -> None:
        self.story.append(what)

    def so_far(self) -> str:
        return "\n".join(["", "The history:", *self.story])


def label_of(issue: Filed) -> str:
    """The access key's own label."""
    return next(label for label in issue.draft.labels if label.startswith("keycheck-"))


def history_in_process(stages: Stages) -> type[RuleBasedStateMachine]:
    """What hypothesis wants: something to call for a new history."""
    return cast("type[RuleBasedStateMachine]", lambda: HistoryInProcess(stages))
