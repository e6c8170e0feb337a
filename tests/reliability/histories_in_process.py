"""Random histories in this process: runs, failing calls, kills, and all of situations.py; and what holds after each.

The same promises as in state_machine.py, whose docstring lists them, with the same exceptions. That one plays real
processes on a real engine; this one plays ten times as many runs in the same time, and cuts and spoils calls instead of
requests.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from keycheck.model import AccessKey, Level
from tests.builders import ACCOUNT, BEYOND_A_CLAIM, MORE_THAN_A_DAY, PROFILE
from tests.in_process import FAILURES, By, Cut, Ran, Stages, Trouble, error
from tests.reliability.chains import Moment
from tests.reliability.situations import BRAKE, EXEMPT, GRACE, USERS, Situation, label_of

A_WEEK = timedelta(days=7)
INTERVAL = timedelta(hours=24)
SETTLES_IN_DAYS = 45
"""Two a day of at most a dozen access keys, some of which expire on the way, after a day told two weeks ahead."""
COSTLY_CALLS_A_RUN, FILINGS_A_RUN = 24, 3
DUE_AT_LAST = (165, 166.5)
A_TURN_IN_DAYS = 10
"""So few runs of that kind, one a day, are enough for all that one of these accounts has."""
SETTLES_FOR_DAYS = 13
"""At least: longer than what has its turn first can keep what is behind it from it."""
DISABLED = "disabled"
CALLS = (
    *("iam list_users", "iam list_access_keys", "iam root_access_keys", "iam last_used", "iam deactivate"),
    *("outside open_claims", "claims read", "claims look_through", "claims claim_issue", "claims begin_filing"),
    *("claims record_issue", "claims follow_issue", "claims release_issue", "claims claim_message"),
    *("claims record_message", "claims record_told", "claims release_message", "claims take_disabling"),
    *("claims give_back_disabling", "claims begin_disabling", "claims record_disabled", "claims drop_disabling"),
    *("claims record_inactive", "claims record_reenabled", "claims keep_notice", "claims void_notice"),
    *(
        "claims record_exempt",
        "claims record_lookup",
        "claims record_said",
        "claims note_account",
        "outside open_issues",
    ),
    *("issues open_issues", "issues read", "issues find_open", "issues create", "issues was_said", "issues comment"),
    *("issues find_original", "issues close", "outside open_messages", "messages send", "messages why_gone"),
)
MARK = re.compile(r"keycheck noted: .+")


def refused_after(filings: int) -> Trouble:
    """Jira takes so many new issues in a run, and no more."""
    return replace(Trouble.on("issues create", error()), after=filings)


class HistoryInProcess(Situation):
    """One history."""

    def __init__(self, stages: Stages) -> None:
        super().__init__(stages)
        self.checked_messages = self.checked_disablings = 0
        self.seen_issues: dict[int, tuple[object, int]] = {}

    @rule()
    def run(self) -> None:
        self.runs()

    @rule()
    def run_of_two_profiles(self) -> None:
        self.runs(profiles=(PROFILE, "again"))

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

    @rule(costly_calls=st.integers(2, 30), filings=st.integers(0, 2))
    def run_that_is_short(self, costly_calls: int, filings: int) -> None:
        """Its deadline, and what Jira takes at a time, allow for a part of what is due."""
        self.runs(refused_after(filings), costly_calls=costly_calls)

    # Running

    def runs(
        self,
        *troubles: Trouble,
        cut: Cut | None = None,
        profiles: tuple[str, ...] = (PROFILE,),
        costly_calls: int | None = None,
    ) -> None:
        """One run, and what it must leave behind whatever happened in it."""
        words = [", ".join(profiles), *(f"{one.service} {one.method} fails, served: {one.served}" for one in troubles)]
        self.tell(
            f"run {' and '.join(words)}" + (f", cut at {cut.number} {cut.moment} by {cut.by.name}" if cut else "")
        )
        found, is_sure = dict(self.account.keys), not troubles and cut is None and costly_calls is None
        self.notices.may_be_unrecorded = not is_sure
        ran = self.stage.run(*troubles, cut=cut, profiles=profiles, costly_calls=costly_calls)
        self.counts["runs"] += 1
        self.counts["failed calls"] += sum(ran.how_often(one.service, one.method) for one in troubles)
        self.counts["cuts"] += cut is not None and len(ran.calls.names) > cut.number
        self._check_lines(ran, troubles, cut, len(profiles))
        self.counts["short runs"] += costly_calls is not None
        may_be_missing = bool(troubles) or ran.calls.is_dead
        self._check_records(may_be_missing=may_be_missing)
        self._check_issues()
        self._check_disablings()
        self.notices.ran(self.rules_now, found, self.people, self.exempt, self.account.now, surely=is_sure)
        self.ledger.may_have_lost_issues |= not is_sure

    def _check_lines(self, ran: Ran, troubles: tuple[Trouble, ...], cut: Cut | None, profiles: int) -> None:
        if ran.calls.is_dead:
            return
        assert sum(line.startswith("iam_run,") for line in ran.lines) == profiles, self.so_far()
        if not any(one.service in ("iam", "outside") for one in troubles) and cut is None:
            shown = sum(line.startswith("iam,") for line in ran.lines)
            assert shown == len(self.account.keys) * profiles, f"{shown} lines\n{self.so_far()}"
        if not troubles and cut is None:
            assert ran.said(Level.ERROR) == [], self.so_far()
        texts = [*ran.said(Level.ERROR), *ran.said(Level.WARNING)]
        assert not any("unexpected" in text for text in texts), f"{texts}\n{self.so_far()}"

    def _check_records(self, *, may_be_missing: bool) -> None:
        """Each new message is on record; where a kill or the table kept it from that, it may be repeated once."""
        records = self.stage.records()
        for number, message in enumerate(self.account.sent):
            if number >= self.checked_messages:
                keys = list(self.account.keys.values())
                self.notices.message(message.slack_id, message.draft.blocks, keys, self.account.now)
                messaged_at = records.get(f"slack:{ACCOUNT}:{message.slack_id}", {}).get("messaged_at", 0)
                if messaged_at < int(message.at.timestamp()):
                    assert may_be_missing, f"the message to {message.slack_id} is not on record\n{self.so_far()}"
                    self.ledger.repeatable.add(number)
        self.checked_messages = len(self.account.sent)

    def _check_issues(self) -> None:
        """Nobody can close an issue before a run has ended, so all that were filed are seen."""
        keys = {key.issue_label: key for key in self.account.keys.values()}
        for issue in self.account.issues.values():
            _, read = self.seen_issues.get(id(issue), (issue, -1))
            if read < 0:
                self.ledger.filed[label_of(issue)].append(issue.filed_at)
                self.counts["issues"] += 1
            texts = [issue.draft.description, *(text for _, text in issue.comments)][max(read, 0) :]
            self.seen_issues[id(issue)] = (issue, len(issue.comments) + 1)
            for text in texts if label_of(issue) in keys else ():
                self.notices.issue(text, keys[label_of(issue)], self.account.now)

    def _check_disablings(self) -> None:
        records, rules = self.stage.records(), self.rules_now
        for at, access_key_id in self.account.disabled[self.checked_disablings :]:
            self.counts["disablings"] += 1
            key, record = self.account.keys[access_key_id], records.get(access_key_id, {})
            about = f"{key.user_name} ...{key.last_five}\n{self.so_far()}"
            assert rules.disables, f"disabled though that is off: {about}"
            for why in self.notices.why_not(key, rules, self.people, at):
                raise AssertionError(f"disabled {why}: {about}")
            assert {"disabling_at", "disabled_at"} & record.keys(), f"disabled without an intent on record: {about}"
            assert record.get("disable_from", 0) <= at.timestamp(), f"disabled before the day on record: {about}"
            assert at - key.create_date >= timedelta(days=rules.expire_days), f"disabled too young: {about}"
            assert key.user_name not in self.exempt, f"disabled though exempt: {about}"
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
                assert key.access_key_id not in {disabled for _, disabled in self.account.disabled}, self.so_far()
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
        """Failures stop, limits do not: each run is short, and Jira takes few issues at a time. Everybody has access
        keys that become due. Within some days every due access key is filed and told, and every old one is disabled.
        """
        self._set(self.base)
        self.account.search_lag, self.account.auto_close = timedelta(), False
        is_week_needed = self.was_auto_close or any(len(filed) > 1 for filed in self.ledger.filed.values())
        self.time_passes(timedelta(days=8) if is_week_needed else BEYOND_A_CLAIM)
        for user in sorted({*USERS} - self.exempt):
            for age in DUE_AT_LAST:
                self.stage.add_key(age, user)
        calm, waiting = 0, Counter[str]()
        for day in range(SETTLES_IN_DAYS):
            disabled = len(self.account.disabled)
            self.runs(refused_after(FILINGS_A_RUN), costly_calls=COSTLY_CALLS_A_RUN)
            self.there_is_at_most_one_open_issue_an_access_key()
            self.there_is_no_third_issue_in_seven_days()
            self.nobody_is_messaged_twice_in_the_interval()
            due = self._what_is_due()
            waiting = Counter({what: waiting[what] + 1 for what in due})
            for what, days in waiting.items():
                assert days <= A_TURN_IN_DAYS or what.startswith(DISABLED), (
                    f"not {what} for {days} days\n{self.so_far()}"
                )
            is_calm = len(self.account.disabled) == disabled and not due
            calm = calm + 1 if is_calm else 0
            if calm > GRACE.days + 1 and day >= SETTLES_FOR_DAYS:
                break
            self.time_passes(MORE_THAN_A_DAY)
        self.nothing_is_said_twice_in_an_issue()
        self.the_exempt_user_is_left_alone()
        self._check_everybody_was_served()

    def _check_everybody_was_served(self) -> None:
        due = self._what_is_due()
        assert due == [], f"not {', '.join(due)}\n{self.so_far()}"
        is_open = {label_of(issue) for issue in self.open_issues()}
        files = self.stage.environ.get("create_jira") != "False"
        if files and not self.ledger.may_have_lost_issues:
            gone = is_open - {key.issue_label for key in self.account.keys.values() if key.is_active}
            assert gone == set(), f"open without an active access key: {gone}\n{self.so_far()}"

    def _what_is_due(self) -> list[str]:
        """What was not yet done about which access key, where nothing speaks against it."""
        is_open = {label_of(issue) for issue in self.open_issues()}
        sends, files = (self.stage.environ.get(name) != "False" for name in ("send_slack", "create_jira"))
        found = []
        for key in self.account.keys.values():
            about = f"{key.user_name} ...{key.last_five}"
            if self._must_go(key):
                found.append(f"{DISABLED} {about}")
            if key.user_name in self.exempt or not key.is_active:
                continue
            if self.account.now - key.create_date < timedelta(days=165):
                continue
            if files and key.issue_label not in is_open:
                found.append(f"filed {about}")
            asked = self.people.asked(key.user_name, self.account.now)
            told = [
                one for one in self.account.sent if one.slack_id in asked and key.last_five in str(one.draft.blocks)
            ]
            if sends and (not told or self.account.now - told[-1].at > INTERVAL):
                found.append(f"told {about}")
        return found

    def _must_go(self, key: AccessKey) -> bool:
        is_old = self.account.now - key.create_date >= timedelta(days=180)
        return key.is_active and is_old and key.user_name not in self.exempt


def history_in_process(stages: Stages) -> type[RuleBasedStateMachine]:
    """What hypothesis wants: something to call for a new history."""
    return cast("type[RuleBasedStateMachine]", lambda: HistoryInProcess(stages))
