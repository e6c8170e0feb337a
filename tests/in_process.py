"""Whole runs in this process, milliseconds each: keycheck from Run on, its real state table on moto, the rest values.

In: an account (sandbox.in_memory), settings, and what is to go wrong at which call. Out: what a run gave back, every
call it made by name, and what the account, Slack and Jira have seen. That a fault of a service is a ServiceError is
proved by the adapters' tests (tests/services); here, what comes of a ServiceError, or of a cut.

A run is cut at one of its calls, `before` (it has no effect) or `after` (it took effect, nobody heard). KILL: from then
on no call of that run has any effect. STOP: the call is answered, as with SIGTERM. A state table is cut at each request
to DynamoDB; calls are named as in a real run (tests/reliability/chains.py).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from functools import cache
from pathlib import Path
from typing import Any, Final, Self, cast

import boto3
import pytest
from boto3.dynamodb.types import TypeDeserializer
from moto import mock_aws

from keycheck.model import AccessKey, Level
from keycheck.run import Run, RunResult
from keycheck.services import Claims, Failure, Iam, Issues, Messages, ServiceError, aws_session, state_table
from keycheck.services.state_table import StateTable
from keycheck.settings import parse
from sandbox.in_memory import HourlyClock, MemoryAccount
from tests.builders import ACCOUNT, EVERYTHING, PROFILE
from tests.reliability.chains import CALLS, Moment, name_of_update

BEGAN: Final = datetime(2026, 11, 23, 8, 30, tzinfo=UTC)
TABLE: Final = "iam-access-key-alert"
KRAMER: Final = "U012KRAMER"
USER: Final = "dev_kramer"
WORDS: Final = {
    ("iam", "list_users"): "list the users",
    ("iam", "list_access_keys"): "list a user's access keys",
    ("iam", "root_access_keys"): "ask about the root user",
    ("iam", "list_user_tags"): "read a user's tags",
    ("iam", "last_used"): "read its last use",
    ("iam", "deactivate"): "disable",
    ("issues", "open_issues"): "search all open issues",
    ("issues", "find_open"): "search by the access key's label",
    ("issues", "read"): "look at the recorded issue",
    ("issues", "create"): "create the issue",
    ("issues", "check_created"): "read the issue back",
    ("issues", "was_said"): "look for our comment",
    ("issues", "comment"): "say it in the issue",
    ("issues", "close"): "close it",
    ("issues", "assign"): "assign the issue",
    ("issues", "count_filed"): "count what was filed",
    ("messages", "send"): "send the message",
    ("messages", "find_user"): "look up an owner",
    ("messages", "why_gone"): "ask whether an owner is there",
}
"""What a call of an adapter is for, in the words of chains.py."""


COSTLY: Final = {"list_user_tags", "last_used", "create", "find_open", "send", "find_user", "why_gone"}
"""Calls that are made for each access key, user or owner: with each a short run has one less left."""


class ShortClock(HourlyClock):
    """Its time is spent by calls: a run has as many seconds as costly calls."""

    def __init__(self, now: datetime, costly_calls: int, calls: Calls) -> None:
        super().__init__(now)
        self._costly_calls, self._calls = costly_calls, calls

    def remaining_seconds(self) -> float:
        spent = sum(method in COSTLY for _, method in tuple(self._calls.made))
        return 0.0 if self.was_signalled else max(0.0, self._costly_calls - spent)

    def grace_seconds(self) -> float:
        return 60.0


class By(Enum):
    KILL = auto()
    STOP = auto()


class Killed(BaseException):
    """The process is gone. No code of keycheck's catches it, as none runs on after SIGKILL."""


@dataclass(frozen=True)
class Cut:
    """`number`: of the calls that have a name, from 0."""

    number: int
    moment: Moment
    by: By = By.KILL


@dataclass(frozen=True)
class Trouble:
    """What every call of one method of one service raises, but the first `after` of a run. `served`: it takes effect
    all the same.
    """

    service: str
    method: str
    error: Callable[[], Exception]
    served: bool = False
    after: int = 0

    @classmethod
    def on(cls, call: str, error: Callable[[], Exception], served: bool = False) -> Self:
        """`call`: service and method, as in `claims open`."""
        service, method = call.split()
        return cls(service, method, error, served)


def error(**more: Any) -> Callable[[], ServiceError]:
    return lambda: ServiceError("a service", "its operation", SAID, **more)


SAID: Final = "it said no"
FAILURES: Final = {
    "refused": (error(), False),
    "refused for good": (error(holds_for_run=True), False),
    "HTTP 500, not done": (error(failure=Failure.SERVER_ERROR), False),
    "no connection": (error(failure=Failure.NO_ANSWER), False),
    "no answer, not done": (error(failure=Failure.UNKNOWN), False),
    "no answer, done": (error(failure=Failure.UNKNOWN), True),
}
"""How a call may fail: what it raises, and whether it took effect."""


@dataclass
class Calls:
    """One run's calls: counted, spoiled, cut. moto has no locks, so one is made at a time."""

    cut: Cut | None = None
    troubles: Sequence[Trouble] = ()
    stop: Callable[[], None] = lambda: None
    names: list[str] = field(default_factory=list)
    made: list[tuple[str, str]] = field(default_factory=list)
    is_dead: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)

    def make(self, service: str, method: str, words: str | None, call: Callable[[], Any]) -> Any:
        with self.lock:
            if self.is_dead:
                raise Killed
            moment = self._moment_of_cut(words)
            if moment == "before":
                self._cut()
            before = self.made.count((service, method))
            self.made.append((service, method))
            trouble = next((one for one in self.troubles if (one.service, one.method) == (service, method)), None)
            if trouble is not None and before < trouble.after:
                trouble = None
            if trouble is not None and not trouble.served:
                raise trouble.error()
            try:
                answer = call()
            finally:
                if moment == "after":
                    self._cut()
            if trouble is not None:
                raise trouble.error()
            return answer

    def _moment_of_cut(self, words: str | None) -> Moment | None:
        """When this call is cut, if it is the one. Without words it is one that other calls are made of."""
        if words is None:
            return None
        self.names.append(words)
        return self.cut.moment if self.cut is not None and len(self.names) == self.cut.number + 1 else None

    def _cut(self) -> None:
        if self.cut is not None and self.cut.by is By.STOP:
            self.stop()
            return
        self.is_dead = True
        raise Killed


class Watched:
    """An adapter, or the state table's client, whose methods are calls; a write to the table is one by its own name."""

    def __init__(
        self, service: str, real: Any, calls: Calls, words: Callable[[str, dict[str, Any]], str | None]
    ) -> None:
        self._service, self._real, self._calls, self._words = service, real, calls, words

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._real, method)
        if not callable(found):
            return found

        def call(*arguments: Any, **more: Any) -> Any:
            words = self._words(method, more)
            name = arguments[0].name if method == "apply" else method
            return self._calls.make(self._service, name, words, lambda: found(*arguments, **more))

        return call


def words_of_request(method: str, asked: Mapping[str, Any]) -> str:
    """What a request to DynamoDB is for."""
    if method == "update_item":
        return name_of_update(str(asked["UpdateExpression"]))
    return CALLS["".join(word.capitalize() for word in method.split("_"))]


@dataclass
class Stage:
    """An account, and what is outside of keycheck beside it. `environ`: the settings that differ from all on.

    Opened by `stages_in`: it needs moto's mock_aws, and the profile of the state table.
    """

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    account: MemoryAccount = field(default_factory=lambda: MemoryAccount(ACCOUNT, BEGAN))
    owners: dict[str, str] = field(default_factory=lambda: {USER: KRAMER})
    keys_made: int = 0

    def add_key(self, age_days: float, user_name: str = USER) -> AccessKey:
        created = self.account.now - timedelta(days=age_days)
        key = AccessKey(f"AKIAINPROCESS{self.keys_made:07}", user_name, ACCOUNT, "Active", created)
        self.keys_made += 1
        self.account.keys[key.access_key_id] = key
        return key

    def set_status(self, key: AccessKey, status: str) -> None:
        """As a person would."""
        self.account.keys[key.access_key_id] = replace(key, status=status)

    def pass_time(self, delta: timedelta) -> None:
        self.account.now += delta

    def make_an_issue_that_is_to_end(self) -> None:
        """A person has made the access key of an issue inactive; nobody is told on Slack."""
        self.environ["send_slack"] = "False"
        key = self.add_key(170)
        self.run()
        self.set_status(key, "Inactive")

    def run(
        self,
        *troubles: Trouble,
        cut: Cut | None = None,
        profiles: Sequence[str] = (PROFILE,),
        costly_calls: int | None = None,
    ) -> Ran:
        """One run; all profiles show the one account. `costly_calls`: for so many of them it has time."""
        mapping = self.folder / "mapping.py"
        mapping.write_text(f"mapping = {self.owners!r}\n", encoding="utf-8")
        settings = parse({**EVERYTHING, **self.environ}, mapping)
        calls = Calls(cut, troubles, stop=lambda: clock._on_signal(signal.SIGTERM, None))
        now = self.account.now
        clock = HourlyClock(now) if costly_calls is None else ShortClock(now, costly_calls, calls)
        clock.set_timeout(settings.run_timeout_seconds)
        run = Run(
            profiles,
            settings,
            clock,
            environment_key_id="",
            is_dry_run=False,
            debug=lambda *_: None,
            outside=_Outside(self.account, clock, calls),
        )
        try:
            run.work()
        except Killed:
            return Ran(calls, None)
        return Ran(calls, None if calls.is_dead else run.result())

    def records(self) -> dict[str, dict[str, Any]]:
        """The state table, by hash key; nothing where there is no table."""
        client, read = boto3.client("dynamodb", "us-east-1"), TypeDeserializer().deserialize
        try:
            items = client.scan(TableName=TABLE)["Items"]
        except client.exceptions.ResourceNotFoundException:
            return {}
        plain = [{name: read(value) for name, value in item.items()} for item in items]
        return {str(item["iam_access_key_id"]): item for item in plain}

    def save_table(self) -> list[dict[str, Any]]:
        """All that the state table holds, as a backup has it."""
        items: list[dict[str, Any]] = boto3.client("dynamodb", "us-east-1").scan(TableName=TABLE)["Items"]
        return items

    def restore_table(self, saved: Sequence[Mapping[str, Any]]) -> None:
        """As from a backup: what was written since is gone."""
        client = boto3.client("dynamodb", "us-east-1")
        for name in self.records():
            client.delete_item(TableName=TABLE, Key={"iam_access_key_id": {"S": name}})
        for item in saved:
            client.put_item(TableName=TABLE, Item=item)

    def drop_table(self) -> None:
        """Lose the state table, as somebody might by mistake."""
        if self.records():
            client = boto3.client("dynamodb", "us-east-1")
            client.update_table(TableName=TABLE, DeletionProtectionEnabled=False)
            client.delete_table(TableName=TABLE)

    def is_claim_left(self) -> bool:
        return any("claim" in name for item in self.records().values() for name in item)

    def statuses(self) -> list[str]:
        return [key.status for key in self.account.keys.values()]


Stages = Callable[[], AbstractContextManager[Stage]]


@dataclass(frozen=True)
class Ran:
    """`result` is None where the run was killed."""

    calls: Calls
    result: RunResult | None

    @property
    def lines(self) -> tuple[str, ...]:
        return self.result.lines if self.result is not None else ()

    def said(self, level: Level) -> list[str]:
        problems = self.result.problems if self.result is not None else ()
        return [problem.text for problem in problems if problem.level is level]

    def count(self, field_name: str) -> int:
        """An integer field of the iam_run line."""
        (line,) = [line for line in self.lines if line.startswith("iam_run,")]
        (found,) = [part for part in line.replace(" ", ",").split(",") if part.startswith(f"{field_name}=")]
        return int(found.removeprefix(f"{field_name}=").removesuffix("i"))

    def how_often(self, service: str, method: str) -> int:
        return self.calls.made.count((service, method))


def stages_in(folder: Path, patch: pytest.MonkeyPatch) -> Stages:
    """Opens a stage in this folder, as often as is wished: no users, and no state table yet."""
    profile = EVERYTHING["aws_dynamodb_profile_name"]
    keys = "aws_access_key_id = AKIAINVENTEDINVENTED\naws_secret_access_key = invented\nregion = us-east-1"
    (folder / "aws-config").write_text(f"[profile {profile}]\n{keys}\n", encoding="utf-8")
    patch.setenv("AWS_CONFIG_FILE", str(folder / "aws-config"))
    patch.setenv("AWS_PROFILE", profile)  # for what looks into the table
    _reuse_the_tables_client(patch)

    @contextmanager
    def opened() -> Iterator[Stage]:
        with mock_aws(config={"core": {"mock_credentials": False}}):
            yield Stage(folder)

    return opened


def _reuse_the_tables_client(patch: pytest.MonkeyPatch) -> None:
    """One session and one client for all runs of a test, each under the clock of the run that it is used in: making
    them takes longer than all the rest of a run.
    """
    made: list[Any] = []
    checks: list[Callable[[], None]] = []

    def check_the_current_clock() -> None:
        checks[-1]()

    def make_once(session: Any, service: str, calls: Any, check: Callable[[], None], region: str | None = None) -> Any:
        checks.append(check)
        if not made:
            made.append(aws_session.make_client(session, service, calls, check_the_current_clock, region))
        return made[0]

    patch.setattr(state_table, "open_session", cache(aws_session.open_session))
    patch.setattr(state_table, "make_client", make_once)


class _Outside:
    """keycheck.services.Outside, each call of it and of what it opens watched."""

    def __init__(self, account: MemoryAccount, clock: HourlyClock, calls: Calls) -> None:
        self._account, self._clock, self._calls = account, clock, calls

    def _watched(self, service: str, open_it: Callable[[], Any]) -> Any:
        real = self._calls.make("outside", f"open_{service}", None, open_it)
        return Watched(service, real, self._calls, lambda method, _: WORDS.get((service, method)))

    def open_iam(self, profile: str) -> Iam:
        return cast("Iam", self._watched("iam", lambda: self._account.open_iam(profile)))

    def open_issues(self) -> Issues:
        return cast("Issues", self._watched("issues", self._account.open_issues))

    def open_messages(self) -> Messages:
        return cast("Messages", self._watched("messages", self._account.open_messages))

    def open_claims(self) -> Claims:
        return cast("Claims", self._watched("claims", self._open_table))

    def _open_table(self) -> StateTable:
        table = StateTable(EVERYTHING["aws_dynamodb_profile_name"], None, TABLE, self._clock)
        table._client = Watched("dynamodb", table._client, self._calls, words_of_request)
        return table

    def secret_access_key_ids(self) -> frozenset[str]:
        return frozenset()
