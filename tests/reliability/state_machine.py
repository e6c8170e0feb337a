"""Random histories: runs (several at once), faults, kills, time, people, lost tables; and what must hold after each.

The whole sandbox on a real DynamoDB engine, the real script as processes. What is held to, by what the sandbox saw:

- at most one open issue an access key, and never a third within seven days;
- never two messages to an addressee inside the interval;
- nobody disabled without a notice in force, or before the latest day told (notices.py, by what was said), and never an
  access key that is not expired, or exempt, or that a person took back less than `reenable_grace_days` ago;
- never more disabled in 24 hours than `max_disables_per_day`, and none by a run that could not read a user;
- nothing said twice in an issue, and no issue open once its access key is gone;
- a run that was not killed exits in order, with whole lines, and with every access key where IAM answered;
- once faults stop, every active old key has been told of and filed, or is disabled, and the exempt one is not.

Exceptions are those at the end of design.md 4, each only in the history that causes it: a message whose
record could not be written (the process was killed, or the table failed) is repeated once; a lost table costs each
addressee one more message, and each issue that Jira's search did not show yet a second one; and the two issues in
seven days, the disablings of the day and who re-enabled what are counted anew. A table that is restored is lost in all
this, and its notices are those of its day. An issue that no record knows of (its run was killed, the table failed or
was lost, it is on another Jira) stays open when its access key goes.
"""

from __future__ import annotations

import re
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from keycheck.model import AccessKey
from sandbox.dynamodb import EngineTable
from sandbox.fake_jira import FakeJira
from sandbox.fake_slack import Message, ok_false, rate_limited
from sandbox.gate import action_of, aws_error, is_action
from sandbox.http_fake import FakeServer, Fault, Match, Request, calls
from sandbox.moto_aws import MotoAws
from sandbox.warm_parent import Process, WarmParent
from sandbox.world import ACCOUNTS, JIRA_EMAIL, JIRA_TOKEN, Ran, World
from tests.builders import MORE_THAN_A_DAY
from tests.reliability.notices import Notices, People, Rules
from tests.reliability.situations import (
    AGES,
    BEYOND_AN_INTENT,
    BRAKE,
    CHANGES,
    EXEMPT,
    FALLBACK,
    GRACE,
    was_seen_inactive,
    write_exemptions,
)
from tests.running import sound

ACCOUNT = ACCOUNTS["acme-dev"]
OWNERS = {"ana": "U0ANA", "ben": "U0BEN", "svc": "U0BEN", "team": "C0TEAM"}
USERS = (*OWNERS, "nobodys", EXEMPT)
TIMEOUT_SECONDS = 20
SETTINGS = {
    "send_slack": "False",
    "create_jira": "False",
    "disable_key": "True",
    "expire_age": "180",
    "slack_fallback_channel": FALLBACK,
    "run_timeout_seconds": str(TIMEOUT_SECONDS),
    "max_disables_per_day": "2",
    "reenable_grace_days": "2",
}
NOTICES = ("0", "2")
MARK = re.compile(r"keycheck noted: .+")
PEOPLE = (
    *("gives an issue a status", "deletes an issue", "moves an issue", "re-opens an issue", "rotates", "deactivates"),
    *("enables again", "leaves, and another comes"),
)
ADMINISTRATORS = (
    *("changes a setting", "changes a setting", "exempts", "gives it to another", "leaves Slack or comes back"),
    *("changes Jira", "restores the table"),
)
SWITCHES = (
    {"send_slack": "True", "create_jira": "True"},
    {"send_slack": "True"},
    {"create_jira": "True"},
)
BEYOND_A_CLAIM = timedelta(seconds=TIMEOUT_SECONDS + 600 + 60)
A_WEEK = timedelta(days=7)
SETTLES_IN_DAYS = 45
"""Two a day of at most a dozen access keys, some of which expire on the way, after a grace of two days and a notice of
two, or a day told two weeks ahead, and then so long that the issues of the last ones are closed.
"""
INTERVAL = timedelta(hours=24) - timedelta(seconds=1)
"""A second less: a message is accepted a moment before it is recorded, and records are whole seconds."""
SPANS = (
    timedelta(minutes=5),
    timedelta(minutes=11),
    BEYOND_A_CLAIM,
    timedelta(hours=6),
    timedelta(hours=23, minutes=59),
    MORE_THAN_A_DAY,
    timedelta(days=3),
    timedelta(days=8),
    timedelta(days=15),
)


@dataclass(frozen=True)
class Trouble:
    """A fault to order. `server`: gate, slack or jira. `spoils_records`: it may keep what happened from the table."""

    name: str
    server: str
    fault: Fault
    match: Match
    times: int | None = None
    spoils_records: bool = False


def gate_error(code: str, status: int, service: str) -> Fault:
    answer = aws_error(code, status, service)
    return Fault(served=False, answer=answer)


SEND, FILE, LOOK = calls("POST", "/chat.postMessage"), calls("POST", "/issue"), lambda one: one.method == "GET"
UPDATE_ITEM = is_action("UpdateItem")
COMMENT, CLOSE = calls("POST", "/comment"), calls("POST", "/transitions")


def takes_a_place(request: Request) -> bool:
    return UPDATE_ITEM(request) and str(request.json["UpdateExpression"]).startswith("SET disabled_times")


HIDES_A_USER = Trouble(
    "IAM hides one user", "gate", gate_error("AccessDenied", 403, "iam"), is_action("ListAccessKeys"), 1
)
TROUBLES = (
    Trouble("Slack fails", "slack", Fault.status(500), SEND),
    Trouble("Slack fails once", "slack", Fault.status(503), SEND, 1),
    Trouble("Slack is a login page", "slack", Fault.html(200), SEND),
    Trouble("Slack refuses one", "slack", ok_false("channel_not_found"), SEND, 1),
    Trouble("Slack's token is dead", "slack", ok_false("invalid_auth"), SEND),
    Trouble("Slack limits the rate", "slack", rate_limited(1), SEND, 1),
    Trouble("Slack limits the rate for an hour", "slack", rate_limited(3600), SEND),
    Trouble("Slack takes one and says nothing", "slack", Fault.drop_after_serving(), SEND, 1),
    Trouble("Slack loses one and says nothing", "slack", Fault.drop_before_serving(), SEND, 1),
    Trouble("Slack is gone", "slack", Fault.drop_before_serving(), SEND),
    Trouble("Jira wants a field", "jira", Fault.status(400, {"errors": {"customfield_1": "is required"}}), FILE),
    Trouble("Jira's token is dead", "jira", Fault.status(401), lambda _: True),
    Trouble("Jira forbids filing", "jira", Fault.status(403), FILE),
    Trouble("Jira limits the rate", "jira", Fault.status(429, None, {"Retry-After": "1"}), FILE, 1),
    Trouble("Jira fails filing", "jira", Fault.status(503), FILE),
    Trouble("Jira fails filing once", "jira", Fault.status(500), FILE, 1),
    Trouble("Jira fails looking", "jira", Fault.status(500), LOOK),
    Trouble("Jira files one and says nothing", "jira", Fault.drop_after_serving(), FILE, 1),
    Trouble("Jira loses one and says nothing", "jira", Fault.drop_before_serving(), FILE, 1),
    Trouble("Jira is a login page", "jira", Fault.html(200), LOOK),
    Trouble(
        "the table refuses writes", "gate", gate_error("AccessDeniedException", 400, "dynamodb"), UPDATE_ITEM, 9, True
    ),
    Trouble("the table fails", "gate", gate_error("InternalServerError", 500, "dynamodb"), UPDATE_ITEM, 6, True),
    Trouble("the table fails once", "gate", gate_error("InternalServerError", 500, "dynamodb"), UPDATE_ITEM, 1),
    Trouble("the table writes one and says nothing", "gate", Fault.drop_after_serving(), UPDATE_ITEM, 1),
    Trouble("the table loses one and says nothing", "gate", Fault.drop_before_serving(), UPDATE_ITEM, 1),
    Trouble(
        "the table cannot be read",
        "gate",
        gate_error("AccessDeniedException", 400, "dynamodb"),
        is_action("BatchGetItem"),
    ),
    Trouble("KMS refuses", "gate", gate_error("AccessDeniedException", 400, "kms"), is_action("Decrypt")),
    Trouble("IAM lists nobody", "gate", gate_error("AccessDenied", 403, "iam"), is_action("ListUsers")),
    HIDES_A_USER,
    Trouble("IAM throttles", "gate", gate_error("Throttling", 400, "iam"), is_action("ListAccessKeys", "ListUsers"), 2),
    Trouble("IAM disables nothing", "gate", gate_error("AccessDenied", 403, "iam"), is_action("UpdateAccessKey")),
    Trouble("Jira takes a comment and says nothing", "jira", Fault.drop_after_serving(), COMMENT, 1),
    Trouble("Jira loses a comment and says nothing", "jira", Fault.drop_before_serving(), COMMENT, 1),
    Trouble("Jira forbids comments", "jira", Fault.status(403), COMMENT),
    Trouble("Jira closes one and says nothing", "jira", Fault.drop_after_serving(), CLOSE, 1),
    Trouble("Jira closes nothing", "jira", Fault.status(400, {"errors": {"resolution": "is required"}}), CLOSE),
    Trouble(
        "the brake cannot be written", "gate", gate_error("AccessDeniedException", 400, "dynamodb"), takes_a_place, 9
    ),
    Trouble("the brake says nothing", "gate", Fault.drop_after_serving(), takes_a_place, 1),
    Trouble("the table cannot be scanned", "gate", gate_error("AccessDenied", 400, "dynamodb"), is_action("Scan")),
    Trouble("no tags are read", "gate", gate_error("AccessDenied", 403, "iam"), is_action("ListUserTags")),
    Trouble("no last use is read", "gate", gate_error("AccessDenied", 403, "iam"), is_action("GetAccessKeyLastUsed")),
    Trouble("nobody asks about root", "gate", gate_error("AccessDenied", 403, "iam"), is_action("GetAccountSummary")),
    Trouble("IAM disables one and says nothing", "gate", Fault.drop_after_serving(), is_action("UpdateAccessKey"), 1),
)


@dataclass
class Ledger:
    """What the sandbox saw, beyond what it shows."""

    filed: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    violations: list[str] = field(default_factory=list)
    repeatable: set[int] = field(default_factory=set)
    duplicable: set[str] = field(default_factory=set)
    disabled: list[tuple[datetime, str]] = field(default_factory=list)
    reenabled: dict[str, datetime] = field(default_factory=dict)
    may_have_lost_issues: bool = False

    def forget(self, messages: int) -> None:
        """The table is lost, or what it says now is of a day before."""
        self.repeatable |= set(range(messages))
        self.filed.clear()
        self.disabled.clear()
        self.reenabled.clear()
        self.may_have_lost_issues = True


class History(RuleBasedStateMachine):
    """One history; `counts` adds up what all of them did."""

    counts: ClassVar[Counter[str]] = Counter()

    def __init__(self, moto: MotoAws, engine_url: str, warm: WarmParent | None) -> None:
        super().__init__()
        self.world = World(aws=moto, state=EngineTable(engine_url), warm=warm).start()
        self.world.owners |= OWNERS
        self.iam = moto.client("iam")
        self.passed = timedelta()
        self.ledger = Ledger()
        self.story: list[str] = []
        self.checked_messages = self.heard_messages = 0
        self.read_comments: dict[tuple[str, str], int] = {}
        self.base, self.settings = dict(SETTINGS), dict(SETTINGS)
        self.people = People(self.world.owners, FALLBACK, gone=self.world.slack.deleted)
        self.notices, self.exempt = Notices(), {EXEMPT}
        self.hearing = threading.Lock()
        self.saved: tuple[list[dict[str, Any]], Notices, timedelta] | None = None
        self.other_jira = FakeJira("cloud", {"email": JIRA_EMAIL, "token": JIRA_TOKEN}).start()
        self.other_jira.after.append(self._jira_served)
        self.was_auto_close = False
        self.world.gate.after.append(self._aws_served)
        self.world.jira.after.append(self._jira_served)
        config = moto.aws_config({"acme-dev": ACCOUNT, "again": ACCOUNT})
        self.world.config_file.write_text(config, encoding="utf-8")
        self.counts["histories"] += 1

    # What the sandbox sees

    def _aws_served(self, request: Request) -> None:
        if action_of(request) != "UpdateAccessKey" or b"Status=Inactive" not in request.body:
            return
        for key in self.access_keys():
            if f"AccessKeyId={key.access_key_id}&".encode() in request.body + b"&":
                self.counts["disablings"] += 1
                self._hear()
                self.ledger.violations += [f"{key.user_name} was disabled {how}" for how in self._wrongly(key)]

    def _wrongly(self, key: AccessKey) -> Iterator[str]:
        """Why this access key should not have been disabled just now."""
        ledger, now, rules = self.ledger, datetime.now(UTC) + self.passed, Rules.of(self.settings)
        yield from self.notices.why_not(key, rules, self.people, datetime.now(UTC))
        if not rules.disables:
            yield "though that is off"
        record = self.record_of(key)
        if not {"disabling_at", "disabled_at"} & record.keys():
            yield "without an intent on record"
        if record.get("disable_from", 0) > datetime.now(UTC).timestamp() + 1:
            yield "before the day on record"
        if age_of(key) < timedelta(days=rules.expire_days):
            yield f"{age_of(key)} old"
        if key.user_name in self.exempt:
            yield "and is exempt"
        if (at := ledger.reenabled.pop(key.access_key_id, None)) is not None and now - at < GRACE:
            yield f"{now - at} after a person re-enabled it"
        ledger.disabled.append((now, key.access_key_id))
        lately = {one for at, one in ledger.disabled if now - at < timedelta(hours=24) - timedelta(minutes=1)}
        if len(lately) > BRAKE:
            yield f"as number {len(lately)} in 24 hours"

    def _hear(self) -> None:
        """What Slack and Jira show by now."""
        with self.hearing:
            keys = self.access_keys()
            for message in self.world.slack.messages[self.heard_messages :]:
                self.notices.message(message.channel, message.blocks, keys, message.at)
                self.heard_messages += 1
            by_label = {key.issue_label: key for key in keys}
            for issue in list(self.world.jira.issues.values()):
                said = [(issue.description, issue.created), *((one.body, one.at) for one in issue.comments)]
                key, name = by_label.get(issue.labels[1]), (issue.id, self.world.jira.url)
                if key is not None:
                    for text, at in said[self.read_comments.get(name, 0) :]:
                        self.notices.issue(text, key, at)
                self.read_comments[name] = len(said)

    def record_of(self, key: AccessKey) -> dict[str, Any]:
        records = {str(item["iam_access_key_id"]): item for item in self.world.state_items()}
        return records.get(key.access_key_id, {})

    def _jira_served(self, request: Request) -> None:
        if FILE(request) and isinstance(request.json, dict):
            for label in request.json["fields"]["labels"]:
                if label.startswith("keycheck-"):
                    self.ledger.filed[label].append(datetime.now(UTC) + self.passed)

    def access_keys(self) -> list[AccessKey]:
        backend_users = [user["UserName"] for user in self.iam.list_users()["Users"]]
        return [
            AccessKey(access_key_id, user, ACCOUNT, status, created)
            for user in backend_users
            for access_key_id, status, created in self.world.aws.keys(user)
        ]

    # What happens

    @initialize(
        ages=st.lists(
            st.lists(st.sampled_from(AGES), min_size=1, max_size=2), min_size=len(USERS), max_size=len(USERS)
        ),
        lag=st.sampled_from([0, 60]),
        switches=st.sampled_from(SWITCHES),
        notice=st.sampled_from(NOTICES),
    )
    def begin(self, ages: list[list[float]], lag: int, switches: dict[str, str], notice: str) -> None:
        self.base |= switches
        self.base |= {
            "disable_notice_days": notice,
            "exemptions_file": str(self.world.folder / "exemptions.toml"),
            "jira_server_address": self.world.jira.url,
        }
        self.settings = dict(self.base)
        self._write_exemptions()
        self.other_jira.search_lag_seconds = lag
        self.world.jira.search_lag_seconds = lag
        for user, own in zip(USERS, ages, strict=True):
            self.world.aws.add_user(user, own)
        self.tell(
            f"an account: {dict(zip(USERS, ages, strict=True))}; Jira's search lags {lag} s; {' and '.join(switches)}; "
            f"a notice of {notice} days"
        )

    @rule(profile=st.sampled_from(["acme-dev", "again"]))
    def run(self, profile: str) -> None:
        self.runs([profile])

    @rule()
    def run_of_two_profiles(self) -> None:
        self.runs(["acme-dev again"])

    @rule(
        troubles=st.lists(st.sampled_from(TROUBLES), min_size=1, max_size=2, unique_by=lambda one: one.name),
        skip=st.sampled_from([0, 0, 0, 1, 2, 5, 9]),
    )
    def run_in_trouble(self, troubles: list[Trouble], skip: int) -> None:
        self.runs(["acme-dev"], troubles, skip=skip)

    @rule()
    def run_that_cannot_read_a_user(self) -> None:
        """One of a few users is more than 5 %: nobody is disabled."""
        self.runs(["acme-dev"], [HIDES_A_USER])

    @rule(count=st.integers(2, 3), trouble=st.none() | st.sampled_from(TROUBLES))
    def run_several_at_once(self, count: int, trouble: Trouble | None) -> None:
        self.runs(["acme-dev", "again", "acme-dev"][:count], [trouble] if trouble is not None else [])

    @rule(at=st.integers(0, 30), by=st.sampled_from([signal.SIGKILL, signal.SIGTERM]), count=st.integers(1, 2))
    def run_and_be_cut(self, at: int, by: signal.Signals, count: int) -> None:
        self.runs(["acme-dev"] * count, cut=(at, by))

    @rule(span=st.sampled_from(SPANS))
    def time_passes(self, span: timedelta) -> None:
        if span > timedelta(hours=20) and self.world.state is not None and (items := self.world.state.save()):
            self.saved = (items, self.notices.copy(), self.passed)
        self.world.pass_time(span)
        self.other_jira.move_back(span)
        self.notices.move_back(span)
        self.people.move_back(span)
        self.passed += span
        self.tell(f"{span} pass")

    @rule(
        what=st.sampled_from(PEOPLE),
        number=st.integers(0, 9),
        status=st.sampled_from(["In Progress", "Done"]),
        user=st.sampled_from(USERS),
        age=st.sampled_from(AGES),
    )
    def somebody_does(self, what: str, number: int, status: str, user: str, age: float) -> None:
        """One rule for all that people do, so that runs stay the most of a history."""
        match what:
            case "gives an issue a status":
                self._somebody_gives_an_issue_a_status(number, status)
            case "moves an issue":
                self._somebody_moves_an_issue(number)
            case "re-opens an issue":
                self._somebody_reopens_an_issue(number)
            case "deactivates":
                self._somebody_deactivates(number)
            case "deletes an issue":
                self._somebody_deletes_an_issue(number)
            case "rotates":
                self._somebody_rotates(number)
            case "enables again":
                self._somebody_enables_again(number)
            case _:
                self._somebody_leaves_and_another_comes(user, age)

    @rule(what=st.sampled_from(ADMINISTRATORS), number=st.integers(0, 99))
    def administrators_act(self, what: str, number: int) -> None:
        self.counts[what] += 1
        match what:
            case "changes a setting":
                change = CHANGES[number % len(CHANGES)]
                self.settings |= change
                self.people.fallback = self.settings["slack_fallback_channel"]
                self.tell(f"settings: {change}")
            case "exempts":
                self.exempt ^= {("ana", "nobodys")[number % 2]}
                self._write_exemptions()
                self.tell(f"exempt: {sorted(self.exempt)}")
            case "gives it to another":
                user, slack_id = ("ana", "svc")[number % 2], ("U0ANA", "U0BEN", "U0NEW")[number % 3]
                self.world.owners[user] = slack_id
                self.tell(f"{user} is {slack_id}'s")
            case "leaves Slack or comes back":
                self.people.leave_or_come_back(("U0ANA", "U0BEN")[number % 2], datetime.now(UTC))
                self.tell(f"gone from Slack: {sorted(self.world.slack.deleted)}")
            case "changes Jira":
                self._change_jira()
            case _:
                self._restore_the_table()

    @rule(number=st.integers(0, 99), span=st.sampled_from(SPANS))
    def a_setting_changes_for_a_while(self, number: int, span: timedelta) -> None:
        """At least one run sees it, and then it is as it was."""
        before = dict(self.settings)
        self.time_passes(BEYOND_A_CLAIM)
        self.administrators_act("changes a setting", number)
        self.runs(["acme-dev"])
        self.time_passes(span)
        self.settings, self.people.fallback = before, before["slack_fallback_channel"]
        self.tell("and that is as it was before")
        self.runs(["acme-dev"])

    def _write_exemptions(self) -> None:
        write_exemptions(self.world.folder, self.exempt, datetime.now(UTC))

    def _change_jira(self) -> None:
        self.world.jira, self.other_jira = self.other_jira, self.world.jira
        self.settings["jira_server_address"] = self.world.jira.url
        self.ledger.may_have_lost_issues = True
        self.tell(f"another Jira: {self.world.jira.url}")

    def _restore_the_table(self) -> None:
        """What it says is of a day before: the notices too, and the days told."""
        if self.saved is None or self.world.state is None or not self.world.state_items():
            return
        items, notices, passed_then = self.saved
        ago = self.passed - passed_then
        self.world.state.restore(items, ago)
        self.notices = notices.copy()
        self.notices.move_back(ago)
        self._forget()
        self.tell("the table is restored")

    def _somebody_moves_an_issue(self, number: int) -> None:
        if keys := sorted(self.world.jira.issues):
            old = keys[number % len(keys)]
            self.tell(f"{old} is {self.world.jira.move(old, 'OPS')}")

    def _somebody_reopens_an_issue(self, number: int) -> None:
        """The newest of its access key, if none is open."""
        issues = sorted(self.world.jira.issues.values(), key=lambda one: one.created)
        newest = {one.labels[1]: one for one in issues}
        taken = {one.labels[1] for one in issues if one.category != "done"}
        if ended := [one for label, one in newest.items() if label not in taken]:
            key = ended[number % len(ended)].key
            self.ledger.may_have_lost_issues = True  # it is looked for only for some days after its end
            self.world.jira.transition(key, next(iter(self.world.jira.statuses)))
            self.tell(f"{key} is re-opened")

    def _somebody_deactivates(self, number: int) -> None:
        if keys := self.access_keys():
            key = keys[number % len(keys)]
            self.world.aws.set_status(key.user_name, key.access_key_id, "Inactive")
            self.tell(f"{key.user_name} deactivates ...{key.last_five}")

    def _somebody_gives_an_issue_a_status(self, number: int, status: str) -> None:
        if keys := open_issues(self.world):
            key = sorted(keys)[number % len(keys)]
            self.world.jira.transition(key, status)
            self.tell(f"{key} is {status}")

    def _somebody_deletes_an_issue(self, number: int) -> None:
        if keys := sorted(self.world.jira.issues):
            self.world.jira.delete(keys[number % len(keys)])
            self.tell(f"{keys[number % len(keys)]} is deleted")

    @rule(is_on=st.booleans())
    def a_workflow_closes_new_issues(self, is_on: bool) -> None:
        self.world.jira.auto_close = is_on
        self.was_auto_close = self.was_auto_close or is_on
        self.tell(f"new issues are closed at once: {is_on}")

    def _somebody_rotates(self, number: int) -> None:
        """A new access key for the old one, which is deleted."""
        if keys := self.access_keys():
            key = keys[number % len(keys)]
            self.iam.delete_access_key(UserName=key.user_name, AccessKeyId=key.access_key_id)
            self.iam.create_access_key(UserName=key.user_name)
            self.tell(f"{key.user_name} rotates ...{key.last_five}")

    def _somebody_enables_again(self, number: int) -> None:
        if keys := [key for key in self.access_keys() if not key.is_active]:
            key = keys[number % len(keys)]
            record = self.record_of(key)
            gone_at = record.get("inactive_at", record.get("disabled_at", 0))
            is_long_ago = datetime.now(UTC).timestamp() - gone_at > BEYOND_AN_INTENT.total_seconds()
            if was_seen_inactive(record) and is_long_ago:
                self.ledger.reenabled[key.access_key_id] = datetime.now(UTC) + self.passed
                self.counts["re-enabled"] += 1
            self.world.aws.set_status(key.user_name, key.access_key_id, "Active")
            self.tell(f"{key.user_name} enables ...{key.last_five} again")

    @rule(number=st.integers(0, 9))
    def somebody_enables_again_and_the_next_run_comes(self, number: int) -> None:
        self.time_passes(BEYOND_A_CLAIM + BEYOND_AN_INTENT)
        self._somebody_enables_again(number)
        self.runs(["acme-dev"])

    def _somebody_leaves_and_another_comes(self, user: str, age: float) -> None:
        if user in {found["UserName"] for found in self.iam.list_users()["Users"]}:
            self.world.aws.delete_user(user)
        self.world.aws.add_user(user, [age])
        self.tell(f"another {user} with an access key {age} days old")

    @rule()
    def the_table_is_lost(self) -> None:
        self.world.drop_state()
        self.notices.forget()
        self.saved = None
        self._forget()
        self.tell("the table is lost")

    def _forget(self) -> None:
        lag, now = timedelta(seconds=self.world.jira.search_lag_seconds), datetime.now(UTC)
        self.ledger.forget(len(self.world.slack.messages))
        self.ledger.duplicable |= {
            issue.labels[1] for issue in self.world.jira.issues.values() if now - issue.created <= lag
        }

    # Running

    def runs(
        self,
        profiles: Sequence[str],
        troubles: Sequence[Trouble] = (),
        *,
        skip: int = 0,
        cut: tuple[int, signal.Signals] | None = None,
    ) -> None:
        """Run one process for each profile at once; the last is cut at the request of that number, of all of theirs."""
        words = [", ".join(profiles), *(trouble.name for trouble in troubles)]
        self.tell(f"run {' | '.join(words)} (skipping {skip})" + (f", cut at {cut[0]} by {cut[1].name}" if cut else ""))
        for trouble in troubles:
            server: FakeServer = getattr(self.world, trouble.server)
            server.inject(trouble.fault, skipping(self._counted(trouble), skip), trouble.times)
        spoils = any(trouble.spoils_records for trouble in troubles)
        fired, disabled = self.counts["users hidden"], len(self.ledger.disabled)
        found, is_sure = {key.access_key_id: key for key in self.access_keys()}, not troubles and cut is None
        self.notices.may_be_unrecorded = not is_sure
        started = [self.world.popen(*profile.split(), **self.settings) for profile in profiles]
        hooks = self._cut(started[-1], cut, is_alone=len(started) == 1) if cut is not None else []
        runs = []
        for process in started:
            with process:
                stdout, stderr = process.communicate(timeout=60)
                runs.append(Ran(process.returncode, stdout, stderr))
        for server, hook in hooks:
            server.before.remove(hook)
        for server in (self.world.gate, self.world.jira, self.world.slack):
            server.heal()
        for number, (profile, ran) in enumerate(zip(profiles, runs, strict=True)):
            is_cut = cut is not None and number == len(runs) - 1
            self._check_run(profile, ran, troubles, cut[1] if cut is not None and is_cut else None)
        if len(runs) == 1 and self.counts["users hidden"] > fired:
            assert len(self.ledger.disabled) == disabled, f"disabled by a scan that is broken\n{self.so_far()}"
        self._hear()
        rules, now = Rules.of(self.settings), datetime.now(UTC)
        self.notices.ran(rules, found, self.people, self.exempt, now, surely=is_sure and len(runs) == 1)
        self.ledger.may_have_lost_issues |= not is_sure
        self._check_records(spoils or (cut is not None and cut[1] is signal.SIGKILL))
        self.counts["runs"] += len(runs)

    def _counted(self, trouble: Trouble) -> Match:
        def matches(request: Request) -> bool:
            if trouble.match(request):
                self.counts["requests in trouble"] += 1
                self.counts["users hidden"] += trouble.name == "IAM hides one user"
                return True
            return False

        return matches

    def _cut(
        self, process: Process, cut: tuple[int, signal.Signals], *, is_alone: bool
    ) -> list[tuple[FakeServer, Callable[[Request], None]]]:
        arrived = iter(range(1_000_000))

        def hook_of(server: FakeServer) -> Callable[[Request], None]:
            def hook(request: Request) -> None:
                """Where no other run is beside it, every other number is cut unserved."""
                if next(arrived) == cut[0]:
                    self.counts["cuts"] += 1
                    process.send_signal(cut[1])
                    if cut[1] is signal.SIGKILL:
                        process.wait(30)
                        if cut[0] % 2 and is_alone:
                            server.inject(Fault.drop_before_serving(), lambda one: one.number == request.number, 1)

            return hook

        servers: list[FakeServer] = [self.world.gate, self.world.jira, self.world.slack]
        hooks = [(server, hook_of(server)) for server in servers]
        for server, hook in hooks:
            server.before.append(hook)
        return hooks

    def _check_run(self, profile: str, ran: Ran, troubles: Sequence[Trouble], cut_by: signal.Signals | None) -> None:
        if ran.code == -signal.SIGKILL and cut_by is signal.SIGKILL:
            assert ran.stdout == "", self.so_far()
            return
        sound(ran, self.world)
        is_iam_hale = not any("IAM" in trouble.name for trouble in troubles)
        assert ran.code == 0 or not is_iam_hale, f"exit {ran.code}: {ran.stderr}\n{self.so_far()}"
        assert ran.stdout.count("iam_run,") == len(profile.split()), self.so_far()
        if cut_by is None and is_iam_hale:
            for name in profile.split():
                shown = ran.stdout.count(f",accountAlias={name} age=")
                assert shown == len(self.access_keys()), f"{shown} lines: {ran.stderr}\n{self.so_far()}"
            assert " incomplete=0i" in ran.stdout.replace(",incomplete", " incomplete"), self.so_far()
        if not troubles and cut_by is None:
            assert "E! " not in ran.stderr, f"{ran.stderr}\n{self.so_far()}"

    def _check_records(self, may_be_missing: bool) -> None:
        """Each new message is on record; where a kill or the table kept it from that, it may be repeated once."""
        records = {str(item["iam_access_key_id"]): item for item in self.world.state_items()}
        for number, message in enumerate(self.world.slack.messages):
            if number < self.checked_messages:
                continue
            messaged_at = records.get(f"slack:{ACCOUNT}:{message.channel}", {}).get("messaged_at", 0)
            if messaged_at < int(message.at.timestamp()):
                assert may_be_missing, f"the message to {message.channel} is not on record\n{self.so_far()}"
                self.ledger.repeatable.add(number)
        self.checked_messages = len(self.world.slack.messages)

    # What must hold

    @invariant()
    def nobody_was_disabled_untold_or_too_young(self) -> None:
        assert self.ledger.violations == [], self.so_far()

    @invariant()
    def nothing_is_said_twice_in_an_issue(self) -> None:
        for key, issue in self.world.jira.issues.items():
            marks = Counter(mark for comment in issue.comments for mark in MARK.findall(comment.body))
            assert all(count == 1 for count in marks.values()), f"{key}: {marks}\n{self.so_far()}"

    @invariant()
    def the_exempt_user_is_left_alone(self) -> None:
        for key in self.access_keys():
            if key.user_name == EXEMPT:
                assert key.issue_label not in self.ledger.filed, self.so_far()
                said = [str(message.blocks) for message in self.world.slack.messages]
                assert not any(key.last_five in one for one in said), self.so_far()

    @invariant()
    def there_is_at_most_one_open_issue_an_access_key(self) -> None:
        labels = Counter(issue.labels[1] for issue in self.world.jira.issues.values() if issue.category != "done")
        twice = {label for label, count in labels.items() if count > 1}
        if self.world.jira.search_lag_seconds == 0:
            self.ledger.duplicable &= twice
        assert twice <= self.ledger.duplicable, f"{twice}\n{self.so_far()}"

    @invariant()
    def there_is_no_third_issue_in_seven_days(self) -> None:
        for label, filed in self.ledger.filed.items():
            for first, third in zip(filed, filed[2:], strict=False):
                assert third - first >= A_WEEK - timedelta(seconds=2), f"{label}\n{self.so_far()}"

    @invariant()
    def nobody_is_messaged_twice_in_the_interval(self) -> None:
        last: dict[str, tuple[int, Message]] = {}
        for number, message in enumerate(self.world.slack.messages):
            if message.channel in last:
                before, earlier = last[message.channel]
                is_apart = message.at - earlier.at >= INTERVAL
                assert is_apart or before in self.ledger.repeatable, f"{message.channel}\n{self.so_far()}"
            last[message.channel] = (number, message)

    def teardown(self) -> None:
        try:
            self._settle()
        finally:
            self.counts["steps"] += len(self.story)
            self.counts["messages"] += len(self.world.slack.messages)
            self.counts["comments"] += sum(len(issue.comments) for issue in self.world.jira.issues.values())
            self.counts["issues"] += sum(len(filed) for filed in self.ledger.filed.values())
            self.other_jira.stop()
            self.world.stop()

    def _settle(self) -> None:
        """Faults stop. Within some days everybody is told, and every old access key is filed, or disabled."""
        if not self.story:
            return
        if self.settings["jira_server_address"] != self.base["jira_server_address"]:
            self._change_jira()
        self.settings, self.people.fallback = dict(self.base), FALLBACK
        self.world.jira.search_lag_seconds, self.world.jira.auto_close = 0, False
        is_week_needed = self.was_auto_close or any(len(filed) > 1 for filed in self.ledger.filed.values())
        self.time_passes(timedelta(days=8) if is_week_needed else BEYOND_A_CLAIM)
        calm = 0
        for _ in range(SETTLES_IN_DAYS):
            disabled = len(self.ledger.disabled)
            self.runs(["acme-dev"])
            self.nobody_was_disabled_untold_or_too_young()
            self.there_is_at_most_one_open_issue_an_access_key()
            self.there_is_no_third_issue_in_seven_days()
            self.nobody_is_messaged_twice_in_the_interval()
            is_calm = not self._overdue() and len(self.ledger.disabled) == disabled
            calm = calm + 1 if is_calm else 0
            if calm > GRACE.days + 1:
                break
            self.time_passes(MORE_THAN_A_DAY)
        self.nothing_is_said_twice_in_an_issue()
        self.the_exempt_user_is_left_alone()
        is_open = {self.world.jira.issues[key].labels[1] for key in open_issues(self.world)}
        for key in self.access_keys():
            about = f"{key.user_name} ...{key.last_five}, {age_of(key)} old\n{self.so_far()}"
            if key.user_name in self.exempt:
                continue
            assert not (key.is_active and age_of(key) >= timedelta(days=180)), f"never disabled: {about}"
            if key.is_active and age_of(key) >= timedelta(days=165) and self.settings["create_jira"] == "True":
                assert key.issue_label in is_open, f"never filed: {about}"
            if key.is_active and age_of(key) >= timedelta(days=165) and self.settings["send_slack"] == "True":
                asked = self.people.asked(key.user_name, datetime.now(UTC))
                sent = [one for one in self.world.slack.messages if one.channel in asked]
                told = [one for one in sent if key.last_five in str(one.blocks)]
                assert told, f"never told: {about}"
                assert datetime.now(UTC) - told[-1].at <= timedelta(hours=24), f"told too long ago: {about}"

        if self.settings["create_jira"] == "True" and not self.ledger.may_have_lost_issues:
            gone = is_open - {key.issue_label for key in self.access_keys() if key.is_active}
            assert gone == set(), f"open without an active access key: {gone}\n{self.so_far()}"
            self.counts["histories in which all issues are settled"] += 1

    def _overdue(self) -> bool:
        return any(
            key.is_active and age_of(key) >= timedelta(days=180) and key.user_name not in self.exempt
            for key in self.access_keys()
        )

    def tell(self, what: str) -> None:
        self.story.append(what)

    def so_far(self) -> str:
        return "\n".join(["", "The history:", *self.story])


def history_of(moto: MotoAws, engine_url: str, warm: WarmParent | None) -> type[RuleBasedStateMachine]:
    """What hypothesis wants: something to call for a new history."""
    return cast("type[RuleBasedStateMachine]", lambda: History(moto, engine_url, warm))


def age_of(key: AccessKey) -> timedelta:
    return datetime.now(UTC) - key.create_date


def open_issues(world: World) -> list[str]:
    return [key for key, issue in world.jira.issues.items() if issue.category != "done"]


def skipping(match: Match, count: int) -> Match:
    """Matches what `match` does, but for the first so many."""
    left = [count]

    def matches(request: Request) -> bool:
        if not match(request):
            return False
        left[0] -= 1
        return left[0] < 0

    return matches
