"""What a random history in this process begins with, and what happens in it beside runs: time, people, administrators.

In: a stage (tests/in_process.py). Out: rules for hypothesis, and what they changed. What a run must leave behind is
histories_in_process.py's.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from keycheck import slack_lookups
from keycheck.model import AccessKey
from keycheck.rules import telling
from sandbox.in_memory import Filed
from tests.builders import ACCOUNT, ALL_ON, BEYOND_A_CLAIM, EVERYTHING, MORE_THAN_A_DAY
from tests.in_process import Stage, Stages
from tests.reliability.notices import Notices, People, Rules

OWNERS = {"ana": "U0ANA", "ben": "U0BEN", "svc": "U0BEN"}
EXEMPT, FALLBACK, OTHER_FALLBACK = "exempt", "C0FALLBACK", "C0OTHER"
EMAILS = {"a.ghost": None, "eve": "U0EVE", "fay": "U0FAY"}
"""Users whose tags name an address, and who has that on Slack: nobody, of the one that is asked about first."""
USERS = (*OWNERS, *EMAILS, "nobodys", EXEMPT)
AGES = (197, 3, 164.9, 165, 170, 179.9, 180, 400)
BRAKE, GRACE, BEYOND_AN_INTENT = 2, timedelta(days=2), timedelta(minutes=15, seconds=5)
JIRA, OTHER_JIRA = EVERYTHING["jira_server_address"], "https://other.example.net"
SETTINGS = {
    **ALL_ON,
    "expire_age": "180",
    "jira_server_address": JIRA,
    "slack_fallback_channel": FALLBACK,
    "max_disables_per_day": str(BRAKE),
    "reenable_grace_days": str(GRACE.days),
}
SWITCHES: tuple[dict[str, str], ...] = ({}, {"create_jira": "False"}, {"send_slack": "False"})
CHANGES: tuple[dict[str, str], ...] = (
    *({name: "False"} for name in ("send_slack", "create_jira", "disable_key")),
    {"send_slack": "True", "create_jira": "True", "disable_key": "True"},
    *({"disable_notice_days": days} for days in ("0", "2", "5")),
    *({"expire_age": days} for days in ("180", "190")),
    *({"slack_fallback_channel": channel} for channel in (FALLBACK, OTHER_FALLBACK)),
)
JIRA_CHANGES = tuple({"jira_server_address": site} for site in (JIRA, OTHER_JIRA))
SPANS = (
    *(timedelta(minutes=5), timedelta(minutes=11), BEYOND_A_CLAIM, timedelta(hours=6)),
    *(timedelta(hours=23, minutes=59), MORE_THAN_A_DAY, timedelta(days=3), timedelta(days=8), timedelta(days=15)),
)
ADMINISTRATORS = (
    *("a_setting_changes", "a_setting_changes", "an_exemption_comes_or_goes", "somebody_else_owns_it"),
    *("somebody_leaves_slack_or_comes_back", "the_table_is_lost", "the_table_is_restored"),
)
PEOPLE = (
    *("somebody_closes_an_issue", "somebody_deletes_an_issue", "somebody_moves_an_issue", "somebody_rotates"),
    *("somebody_deactivates", "somebody_reopens_an_issue_and_the_next_run_comes", "a_workflow_closes_new_issues"),
)
LIMITS: tuple[tuple[Any, str, int | timedelta], ...] = (
    (slack_lookups, "LOOKUPS_AT_MOST", 1),
    (slack_lookups, "PRESENCES_AT_MOST", 1),
    (telling, "KEYS_IN_A_MESSAGE", 2),
    (telling, "KEYS_IN_A_DIGEST", 4),
    (slack_lookups, "FOUND_HOLDS", timedelta(days=3)),
)
"""What a run does of everything at most: so little that all wait for their turn in a small account too."""
REOPENED_IS_SEEN_FOR = timedelta(days=28)
EXEMPTION = """[[exemption]]
account = "{account}"
user = "{user}"
until = {until:%Y-%m-%d}
reason = "it is watched: nothing may happen to it"
"""


@dataclass
class Ledger:
    """What happened, beyond what the account shows. `repeatable`: numbers of messages that are not on record."""

    repeatable: set[int] = field(default_factory=set)
    duplicable: set[str] = field(default_factory=set)
    counted_from: int = 0
    filed: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    reenabled: dict[str, datetime] = field(default_factory=dict)
    may_have_lost_issues: bool = False

    def forget(self, messages: int, disabled: int) -> None:
        """The table is lost, or what it says now is of a day before: what follows from that is design.md 4's end."""
        self.repeatable |= set(range(messages))
        self.filed.clear()
        self.reenabled.clear()
        self.counted_from = disabled
        self.may_have_lost_issues = True


@dataclass
class Jira:
    """One site's issues."""

    issues: dict[str, Filed] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    numbers: Any = field(default_factory=lambda: count(1))


class Situation(RuleBasedStateMachine):
    """An account, its people, and all that is kept of it; `counts` adds up what all histories saw."""

    counts: ClassVar[Counter[str]] = Counter()

    def __init__(self, stages: Stages) -> None:
        super().__init__()
        self._open = ExitStack()
        self.stage: Stage = self._open.enter_context(stages())
        self.account = self.stage.account
        self.people = People(self.stage.owners, FALLBACK, EMAILS, gone=self.account.left_slack)
        self.account.tags |= {user: {"email": f"{user}@example.com"} for user in EMAILS}
        self.account.slack_ids |= {f"{user}@example.com": one for user, one in EMAILS.items() if one is not None}
        patch = self._open.enter_context(pytest.MonkeyPatch.context())
        for module, name, limit in LIMITS:
            patch.setattr(module, name, limit)
        self.notices, self.ledger = Notices(), Ledger()
        self.jiras: dict[str, Jira] = defaultdict(Jira)
        self.exempt = {EXEMPT}
        self.base = dict(SETTINGS)
        self.saved: tuple[list[dict[str, Any]], Notices] | None = None
        self.story: list[str] = []
        self.was_auto_close = False
        self.counts["histories"] += 1

    @abstractmethod
    def runs(self) -> None:
        """One run, and what it must leave behind."""

    @property
    def rules_now(self) -> Rules:
        return Rules.of(self.stage.environ)

    @initialize(
        ages=st.lists(
            st.lists(st.sampled_from(AGES), min_size=1, max_size=2), min_size=len(USERS), max_size=len(USERS)
        ),
        lag=st.sampled_from([0, 60]),
        switches=st.sampled_from(SWITCHES),
        notice=st.sampled_from(["0", "2"]),
    )
    def begin(self, ages: list[list[float]], lag: int, switches: dict[str, str], notice: str) -> None:
        self.stage.owners.clear()
        self.stage.owners.update(OWNERS)
        self.base |= switches
        self.base |= {
            "disable_notice_days": notice,
            "exemptions_file": str(self.stage.folder / "exemptions.toml"),
        }
        self._write_exemptions()
        self._set(self.base)
        self.account.search_lag = timedelta(seconds=lag)
        for user, own in zip(USERS, ages, strict=True):
            for age in own:
                self.stage.add_key(age, user)
        self.tell(f"{dict(zip(USERS, ages, strict=True))}; lag {lag} s; {switches}; a notice of {notice} days")

    # Time

    @rule(span=st.sampled_from(SPANS))
    def time_passes(self, span: timedelta) -> None:
        if span > timedelta(hours=20) and self.stage.records():
            self.saved = (self.stage.save_table(), self.notices.copy())
        self.stage.pass_time(span)
        self.tell(f"{span} pass")

    # Administrators

    @rule(what=st.sampled_from(ADMINISTRATORS), number=st.integers(0, 99))
    def administrators_act(self, what: str, number: int) -> None:
        """One rule for all that they do, so that runs stay the most of a history."""
        getattr(self, f"_{what}")(number)

    def _a_setting_changes(self, number: int) -> None:
        changes = (*CHANGES, *JIRA_CHANGES)
        change = changes[number % len(changes)]
        self._set(change)
        self.counts["settings changed"] += 1
        self.tell(f"settings: {change}")

    @rule(
        what=st.sampled_from(["a_setting_changes", "somebody_else_owns_it", "an_exemption_comes_or_goes"]),
        number=st.integers(0, 99),
        span=st.sampled_from(SPANS),
    )
    def for_a_while(self, what: str, number: int, span: timedelta) -> None:
        """Something is otherwise, which at least one run sees, and is then as it was."""
        environ, owners, exempt = dict(self.stage.environ), dict(self.stage.owners), set(self.exempt)
        self.time_passes(BEYOND_A_CLAIM)
        getattr(self, f"_{what}")(number)
        self.runs()
        self.time_passes(span)
        self._set(environ)
        self.stage.owners.clear()
        self.stage.owners.update(owners)
        self.exempt = exempt
        self._write_exemptions()
        self.counts["for a while"] += 1
        self.tell("and that is as it was before")
        self.runs()

    def _set(self, change: dict[str, str]) -> None:
        self.stage.environ |= change
        self.people.fallback = self.stage.environ["slack_fallback_channel"]
        jira = self.jiras[self.stage.environ["jira_server_address"]]
        self.ledger.may_have_lost_issues |= len(self.jiras) > 1
        self.account.issues, self.account.moved_issues, self.account.issue_numbers = (
            jira.issues,
            jira.moved,
            jira.numbers,
        )

    def _an_exemption_comes_or_goes(self, number: int) -> None:
        user = ("ana", "nobodys")[number % 2]
        self.exempt ^= {user}
        self._write_exemptions()
        self.tell(f"exempt: {sorted(self.exempt)}")

    def _write_exemptions(self) -> None:
        write_exemptions(self.stage.folder, self.exempt, self.account.now)

    def _somebody_else_owns_it(self, number: int) -> None:
        user, slack_id = ("ana", "svc")[number % 2], ("U0ANA", "U0BEN", "U0NEW", None)[number % 4]
        if slack_id is None:
            self.stage.owners.pop(user, None)
        else:
            self.stage.owners[user] = slack_id
        self.counts["owners changed"] += 1
        self.tell(f"{user} is {slack_id}'s")

    def _somebody_leaves_slack_or_comes_back(self, number: int) -> None:
        slack_id = ("U0ANA", "U0BEN")[number % 2]
        self.people.leave_or_come_back(slack_id, self.account.now)
        self.counts["left Slack"] += slack_id in self.account.left_slack
        self.tell(f"gone from Slack: {sorted(self.account.left_slack)}")

    def _the_table_is_lost(self, _: int) -> None:
        self.stage.drop_table()
        self.notices.forget()
        self.saved = None
        self._forget()
        self.tell("the table is lost")

    def _the_table_is_restored(self, _: int) -> None:
        """What it says is of a day before: the notices too, and the days told."""
        if self.saved is None or not self.stage.records():
            return
        saved, notices = self.saved
        self.stage.restore_table(saved)
        self.notices = notices.copy()
        self._forget()
        self.counts["tables restored"] += 1
        self.tell("the table is restored")

    def _forget(self) -> None:
        unseen = self.account.now - self.account.search_lag
        self.ledger.forget(len(self.account.sent), len(self.account.disabled))
        self.ledger.duplicable |= {label_of(one) for one in self.account.issues.values() if one.filed_at > unseen}

    # People, in Jira and in AWS

    @rule(what=st.sampled_from(PEOPLE), number=st.integers(0, 99))
    def people_act(self, what: str, number: int) -> None:
        getattr(self, f"_{what}")(number)

    def _somebody_closes_an_issue(self, number: int) -> None:
        if keys := sorted(issue.key for issue in self.open_issues()):
            key = keys[number % len(keys)]
            self.account.issues[key].ended_at = self.account.now
            self.tell(f"{key} is closed")

    def _somebody_deletes_an_issue(self, number: int) -> None:
        if keys := sorted(self.account.issues):
            del self.account.issues[keys[number % len(keys)]]
            self.tell(f"{keys[number % len(keys)]} is deleted")

    def _somebody_moves_an_issue(self, number: int) -> None:
        """It has a new key then, and answers to the old ones too."""
        if keys := sorted(self.account.issues):
            old, new = keys[number % len(keys)], f"OPS-{next(self.account.issue_numbers)}"
            issue = self.account.issues.pop(old)
            issue.key = new
            self.account.issues[new] = issue
            moved = self.account.moved_issues
            moved |= {before: new for before, after in moved.items() if after == old}
            moved[old] = new
            self.counts["issues moved"] += 1
            self.tell(f"{old} is {new}")

    def _somebody_reopens_an_issue_and_the_next_run_comes(self, number: int) -> None:
        """The newest of its access key, if none is open."""
        self.time_passes(BEYOND_A_CLAIM)
        newest = {
            label_of(issue): issue for issue in sorted(self.account.issues.values(), key=lambda one: one.filed_at)
        }
        since = self.account.now - REOPENED_IS_SEEN_FOR
        taken = {label_of(issue) for issue in self.open_issues()}
        ended = [one for label, one in newest.items() if label not in taken and one.ended_at and one.ended_at > since]
        if ended:
            issue = ended[number % len(ended)]
            issue.ended_at = None
            on_record = [record.get("issue_key", "") for record in self.stage.records().values()]
            is_known = issue.key in {self.account.moved_issues.get(key, key) for key in on_record}
            self.ledger.may_have_lost_issues |= not is_known or self.stage.environ["create_jira"] == "False"
            self.counts["issues re-opened"] += 1
            self.tell(f"{issue.key} is re-opened")
            self.runs()

    def _a_workflow_closes_new_issues(self, number: int) -> None:
        is_on = number % 2 == 0
        self.account.auto_close = is_on
        self.was_auto_close |= is_on
        self.tell(f"new issues are closed at once: {is_on}")

    def _somebody_rotates(self, number: int) -> None:
        keys = list(self.account.keys.values())
        key = keys[number % len(keys)]
        del self.account.keys[key.access_key_id]
        self.stage.add_key(0, key.user_name)
        self.tell(f"{key.user_name} rotates ...{key.last_five}")

    def _somebody_deactivates(self, number: int) -> None:
        keys = list(self.account.keys.values())
        key = keys[number % len(keys)]
        self.stage.set_status(key, "Inactive")
        self.tell(f"{key.user_name} deactivates ...{key.last_five}")

    @rule(number=st.integers(0, 9))
    def somebody_enables_again_and_the_next_run_comes(self, number: int) -> None:
        self.time_passes(BEYOND_A_CLAIM + BEYOND_AN_INTENT)
        keys = [key for key in self.account.keys.values() if not key.is_active]
        if not keys:  # no precondition: what a cut run has disabled may differ from play to play
            return
        self._enable_again(keys[number % len(keys)])

    def _enable_again(self, key: AccessKey) -> None:
        if was_seen_inactive(self.stage.records().get(key.access_key_id, {})):
            self.ledger.reenabled[key.access_key_id] = self.account.now
            self.counts["re-enabled"] += 1
        self.stage.set_status(key, "Active")
        self.tell(f"{key.user_name} enables ...{key.last_five} again")
        self.runs()

    @rule(number=st.integers(0, 9), span=st.sampled_from(SPANS))
    def somebody_deactivates_for_a_while(self, number: int, span: timedelta) -> None:
        self.time_passes(BEYOND_A_CLAIM)
        self._somebody_deactivates(number)
        self.runs()
        self.time_passes(span + BEYOND_AN_INTENT)
        keys = list(self.account.keys.values())
        self._enable_again(keys[number % len(keys)])

    def open_issues(self) -> list[Filed]:
        return [issue for issue in self.account.issues.values() if issue.ended_at is None]

    def tell(self, what: str) -> None:
        self.story.append(what)

    def so_far(self) -> str:
        return "\n".join(["", "The history:", *self.story])


def write_exemptions(folder: Path, users: Iterable[str], now: datetime) -> None:
    """Make the exemptions file say so, for longer than any history lasts."""
    until = now + timedelta(days=300)
    texts = [EXEMPTION.format(account=ACCOUNT, user=user, until=until) for user in sorted(users)]
    (folder / "exemptions.toml").write_text("\n".join(texts), encoding="utf-8")


def was_seen_inactive(record: Mapping[str, Any]) -> bool:
    """Whether it is on record that somebody took the access key away, and that nobody has taken it back since."""
    return "inactive_at" in record or ("disabled_at" in record and "reenabled_at" not in record)


def label_of(issue: Filed) -> str:
    """The access key's own label."""
    return next(label for label in issue.draft.labels if label.startswith("keycheck-"))
