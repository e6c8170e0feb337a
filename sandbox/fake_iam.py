"""A fake IAM endpoint: the query/XML protocol, pages, latency, a shared rate limit and errors to order.

moto ignores MaxItems and Marker, never throttles and manages some 200 calls a second, so it can neither catch a
missing page nor measure a scan. This one answers thousands of calls a second on one core: HTTP is parsed by hand, and
the XML of each user and access key is made once and joined from then on.

    with FakeIam() as iam:
        iam.add_user("dev_kramer", ages_days=[197])
        client = boto3.client("iam", endpoint_url=iam.url, ...)

It runs in a thread of its own with its own event loop. A test may change users, access keys and every public attribute
while it serves; the next call sees the change. A call is counted, let through or throttled, and matched against the
injected faults when it arrives; it takes effect and is answered once the latency is over.

For benchmarks it is a process too: `python -m sandbox.fake_iam --users 1000 --latency-ms 30 --rate 40 --burst 40`
prints its URL on the first line and serves until SIGTERM, then prints its counts as one line of JSON.

Nothing is authenticated: any signature is taken, and GetCallerIdentity always names the same assumed role.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import dataclasses
import json
import math
import random
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from functools import cached_property, lru_cache
from hashlib import sha256
from http import HTTPStatus
from itertools import count, islice
from typing import Final, Self, cast
from urllib.parse import unquote_plus
from xml.sax.saxutils import escape

from sandbox.http_fake import Fault, Injected, Match, Request, next_fault

IAM_NAMESPACE: Final = "https://iam.amazonaws.com/doc/2010-05-08/"
STS_NAMESPACE: Final = "https://sts.amazonaws.com/doc/2011-06-15/"
IAM_VERSION: Final = "2010-05-08"
STS_VERSION: Final = "2011-06-15"

ID_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
"""The characters of AWS's unique ids after their four-letter prefix (base 32)."""

HTTP_STATUS_OF: Final[dict[str, int]] = {
    "NoSuchEntity": 404,
    "AccessDenied": 403,
    "ExpiredToken": 403,
    "InvalidClientTokenId": 403,
    "SignatureDoesNotMatch": 403,
    "LimitExceeded": 409,
    "ReportInProgress": 404,
    "ReportNotPresent": 410,
    "ReportExpired": 410,
    "ServiceFailure": 500,
    "InternalFailure": 500,
    "ServiceUnavailable": 503,
}
"""What AWS answers with each code; every other code is a 400."""

_DEFAULT_PAGE: Final = 100
_MAX_ITEMS: Final = 1000
_CACHED_FRAGMENTS: Final = 65_536
_PAIR: Final = re.compile(rb"([^&=]+)=([^&]*)")


@dataclass
class FakeKey:
    """One access key. `create_date` is aware UTC in whole seconds, as AWS gives it."""

    access_key_id: str
    status: str
    create_date: datetime
    last_use: tuple[datetime, str, str] | None = None
    """When, by which service, in which Region."""


@dataclass
class FakeUser:
    """One IAM user. A user may hold more than two access keys: in AWS a race allows it."""

    user_name: str
    create_date: datetime
    keys: list[FakeKey] = field(default_factory=list)
    path: str = "/"
    tags: dict[str, str] = field(default_factory=dict)
    user_id: str = ""
    """Stays when the user is renamed, and is another one for whoever has the name next."""


@dataclass
class Call:
    """One call as it came in.

    `number` counts from 1 in the order of arrival. `status` is the HTTP status that was sent: None while no answer has
    gone out, and for ever when the call was dropped or hangs.
    """

    number: int
    action: str
    params: dict[str, str]
    status: int | None = None


class FakeIam:
    """One account's IAM, on loopback, on a port of its own.

    `latency`        seconds before each answer; calls wait side by side.
    `rate`, `burst`  a token bucket for the whole account: `rate` calls a second, `burst` at once; None is no limit.
    `users_per_page` the most users a page holds, whatever MaxItems asks for. A sequence gives the sizes of pages
                     1, 2, ... and its last one repeats; a 0 in it makes an empty page that says there is more.
    `keys_per_page`  the most access keys a page holds.
    `alias`          the account's alias, None for an account without.
    `clock_skew`     how far the `Date` header of the answers is ahead of the true time.
    `report_seconds` how long a credential report is being made.
    """

    def __init__(
        self,
        *,
        account_id: str = "123456789012",
        partition: str = "aws",
        alias: str | None = None,
        latency: float = 0.0,
        rate: float | None = None,
        burst: int = 1,
        users_per_page: int | Sequence[int] = _MAX_ITEMS,
        keys_per_page: int = _MAX_ITEMS,
        port: int = 0,
    ) -> None:
        self.account_id = account_id
        self.partition = partition
        self.alias = alias
        self.root_access_keys = 0
        self.latency = latency
        self.rate = rate
        self.burst = burst
        self.users_per_page = users_per_page
        self.keys_per_page = keys_per_page
        self.clock_skew = timedelta(0)
        self.report_seconds = 0.0
        self._report: _Report | None = None
        self._users_made = 0
        self.users: dict[str, FakeUser] = {}
        self._port = port
        self._server_thread: _ServerThread | None = None
        self._lock = threading.RLock()
        self._gone: set[str] = set()
        self._faults: list[Injected] = []
        self._owner_of: dict[str, str] = {}
        self._tokens: float | None = None
        self._tokens_at = 0.0
        self._log: list[Call] = []
        self._calls: Counter[str] = Counter()
        self._throttled: Counter[str] = Counter()
        self._number = 0
        self._in_flight = 0
        self._peak_in_flight = 0
        self._actions: dict[str, Callable[[dict[str, str]], bytes]] = {
            "ListUsers": self._list_users,
            "ListAccessKeys": self._list_access_keys,
            "UpdateAccessKey": self._update_access_key,
            "GetAccessKeyLastUsed": self._get_access_key_last_used,
            "ListAccountAliases": self._list_account_aliases,
            "ListUserTags": self._list_user_tags,
            "GetAccountSummary": self._get_account_summary,
            "GetUser": self._get_user,
            "GenerateCredentialReport": self._generate_credential_report,
            "GetCredentialReport": self._get_credential_report,
        }

    # Life

    def start(self) -> Self:
        """Serve until stop(). The users stay over a stop and a new start; the port does not, unless one was given."""
        if self._server_thread is not None:
            raise RuntimeError("the fake IAM is already running")
        thread = _ServerThread(self, self._port)
        thread.start_serving()
        self._server_thread = thread
        return self

    def stop(self) -> None:
        """Close every connection, answered or not. Harmless when not running."""
        thread, self._server_thread = self._server_thread, None
        if thread is not None:
            thread.stop_serving()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        if self._server_thread is None:
            raise RuntimeError("the fake IAM is not running: it has no URL")
        return f"http://127.0.0.1:{self._server_thread.port}"

    # What is in the account

    def add_user(
        self, name: str, ages_days: Sequence[float] = (), status: str = "Active", now: datetime | None = None
    ) -> FakeUser:
        """A user with one access key for each age, all of one status; the user is a day older than the oldest of them.

        An age that is no whole number of seconds is rounded up, so that a key is never younger than asked.
        """
        moment = datetime.now(UTC) if now is None else now.astimezone(UTC)
        dates = [_whole_second(moment - timedelta(days=age)) for age in ages_days]
        created = min([*dates, _whole_second(moment)]) - timedelta(days=1)
        keys = [FakeKey(new_access_key_id(), status, date) for date in dates]
        with self._lock:
            if name in self.users:
                raise ValueError(f"there is already a user {name!r}")
            self._users_made += 1
            user_id = _unique_id("AIDA", f"{self.account_id}/{name}/{self._users_made}")
            self.users[name] = user = FakeUser(name, created, keys, user_id=user_id)
            self._gone.discard(name)
        return user

    def rename_user(self, name: str, new_name: str) -> None:
        """The user goes on under another name, with the same id and access keys."""
        with self._lock:
            if new_name in self.users:
                raise ValueError(f"there is already a user {new_name!r}")
            self.users[new_name] = user = self.users.pop(name)
            user.user_name = new_name

    def delete_user_after_listing(self, name: str) -> None:
        """The user goes away between the two calls: ListUsers still shows it, all else says NoSuchEntity."""
        with self._lock:
            self._gone.add(self.users[name].user_name)

    def heal_gone(self) -> None:
        """Whoever went away between the two calls is there again, maybe under another name."""
        with self._lock:
            self._gone.clear()

    def use_key(self, access_key_id: str, at: datetime, service: str = "s3", region: str = "eu-west-1") -> None:
        """The access key was last used then, as GetAccessKeyLastUsed says at once (AWS's note lags by minutes)."""
        with self._lock:
            for user in self.users.values():
                for key in user.keys:
                    if key.access_key_id == access_key_id:
                        key.last_use = (_whole_second(at), service, region)

    def move_back(self, delta: timedelta) -> None:
        """Let `delta` (whole seconds) go by: every creation date and last use moves back by it."""
        if delta.microseconds:
            raise ValueError("IAM's dates are whole seconds: move back by whole seconds")
        with self._lock:
            for user in self.users.values():
                user.create_date -= delta
                for key in user.keys:
                    key.create_date -= delta
                    if key.last_use is not None:
                        key.last_use = (key.last_use[0] - delta, *key.last_use[1:])
            if self._report is not None:
                self._report = self._report.moved_back(delta)

    def forget_report(self) -> None:
        """There is no credential report."""
        with self._lock:
            self._report = None

    def make_report(self, age: timedelta = timedelta()) -> None:
        """There is a credential report of that age, which says what is in the account now."""
        with self._lock:
            self._report = _Report(datetime.now(UTC) - age, _report_rows(self))

    # What goes wrong

    def inject(
        self,
        fault: Fault | str,
        match: Match | None = None,
        times: int | None = None,
        *,
        action: str | None = None,
        user: str | None = None,
    ) -> None:
        """Spoil the calls that match (None: all), so many of them (None: all, until `heal`), as http_fake does: where
        several faults match, the one injected first is used, until its times are used up. In short: an error code of
        IAM's, an action, a user name.
        """
        if isinstance(fault, str):
            fault, match = iam_error(fault), match or about(action, user)
        with self._lock:
            self._faults.append(Injected(fault, match, times))

    def heal(self) -> None:
        """No more injected faults. Calls that hang already stay hung, and deleted users stay deleted."""
        with self._lock:
            self._faults.clear()

    # What was called

    @property
    def calls(self) -> Counter[str]:
        """How many calls of each action came in, throttled and failed ones too (a copy)."""
        with self._lock:
            return self._calls.copy()

    @property
    def throttled(self) -> Counter[str]:
        """How many calls of each action were answered with Throttling by the rate limit, not by inject() (a copy)."""
        with self._lock:
            return self._throttled.copy()

    @property
    def log(self) -> list[Call]:
        """Every call in the order of arrival (a copy)."""
        with self._lock:
            return [dataclasses.replace(call) for call in self._log]

    @property
    def peak_in_flight(self) -> int:
        """The most calls that waited for an answer at one moment."""
        return self._peak_in_flight

    def forget_calls(self) -> None:
        """Start counting anew: counts, log and peak. What an injected fault has counted stays."""
        with self._lock:
            self._log.clear()
            self._calls.clear()
            self._throttled.clear()
            self._peak_in_flight = self._in_flight

    # Serving: for the server's thread, not for tests

    def arrive(self, body: bytes) -> _Pending:
        """Count the call and settle what becomes of it, without any effect yet."""
        params = _parse_form(body)
        action = params.pop("Action", "")
        version = params.pop("Version", IAM_VERSION)
        namespace = STS_NAMESPACE if version == STS_VERSION else IAM_NAMESPACE
        with self._lock:
            self._number += 1
            call = Call(self._number, action, params)
            self._log.append(call)
            self._calls[action] += 1
            self._in_flight += 1
            self._peak_in_flight = max(self._peak_in_flight, self._in_flight)
            if self.rate is not None and not self._take_token(self.rate):
                self._throttled[action] += 1
                return _Pending(call, namespace, _THROTTLED)
            fault = next_fault(self._faults, Request(self._number, "POST", "/", {}, {}, body)) if self._faults else None
        return _Pending(call, namespace, fault)

    def _take_token(self, rate: float) -> bool:
        now = time.monotonic()
        tokens = self.burst if self._tokens is None else self._tokens + (now - self._tokens_at) * rate
        tokens = min(tokens, self.burst)
        self._tokens_at = now
        self._tokens = tokens - 1 if tokens >= 1 else tokens
        return tokens >= 1

    def answer(self, pending: _Pending) -> bytes | None:
        """The whole HTTP answer, the call's effect done; None where the connection is to be closed without one."""
        call, fault = pending.call, pending.fault
        request_id = b"7a62c49f-347e-4fc4-9331-%012x" % call.number
        with self._lock:
            self._in_flight -= 1
            status, body, headers = 200, b"", {"Content-Type": "text/xml"}
            if fault is None or fault.served:
                try:
                    body = self._serve(call.action, call.params, pending.namespace, request_id)
                except _ApiError as refusal:
                    status, body = refusal.status, _error_xml(refusal, pending.namespace, request_id)
            if fault is not None and fault.dropped:
                return None
            if fault is not None and fault.answer is not None:
                status, (body, content_type) = fault.answer.status, fault.answer.body
                headers = {"Content-Type": content_type, **fault.answer.headers}
            call.status = status
        date = _http_date(int(time.time() + self.clock_skew.total_seconds()))
        head = b"HTTP/1.1 %d %b\r\nx-amzn-RequestId: %b\r\nDate: %b\r\n" % (status, _reason(status), request_id, date)
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
        return b"%b%bContent-Length: %d\r\n\r\n%b" % (head, more, len(body), body)

    def give_up(self) -> None:
        """The caller of a call that hangs has closed the connection."""
        with self._lock:
            self._in_flight -= 1

    def _serve(self, action: str, params: dict[str, str], namespace: str, request_id: bytes) -> bytes:
        if not action:
            raise _ApiError("MissingAction", "The request is missing an action or a required parameter.")
        if namespace == STS_NAMESPACE:
            if action != "GetCallerIdentity":
                raise _invalid_action(action, STS_VERSION)
            result = self._get_caller_identity()
        else:
            handler = self._actions.get(action)
            if handler is None:
                raise _invalid_action(action, IAM_VERSION)
            result = handler(params)
        opening, closing = _envelope(action, namespace)
        return b"%b%b%b%b%b" % (opening, result, closing, request_id, _end_of(action))

    # The actions: each takes the call's parameters and gives the inside of its <...Result>

    def _list_users(self, params: dict[str, str]) -> bytes:
        prefix = params.get("PathPrefix", "/")
        users = list(self.users.values())
        if prefix != "/":
            users = [user for user in users if user.path.startswith(prefix)]
        page = _page(params, "ListUsers", len(users), self.users_per_page)
        shown = islice(users, page.start, page.end)
        return page.xml(b"Users", b"".join([self._user_xml(user) for user in shown]))

    def _user_xml(self, user: FakeUser) -> bytes:
        return _user_xml(self.partition, self.account_id, user.path, user.user_name, user.create_date, user.user_id)

    def _list_access_keys(self, params: dict[str, str]) -> bytes:
        user = self._user(params)
        page = _page(params, "ListAccessKeys", len(user.keys), self.keys_per_page)
        shown = user.keys[page.start : page.end]
        members = [_key_xml(user.user_name, key.access_key_id, key.status, key.create_date) for key in shown]
        return page.xml(b"AccessKeyMetadata", b"".join(members))

    def _update_access_key(self, params: dict[str, str]) -> bytes:
        access_key_id, status = _required(params, "AccessKeyId"), _required(params, "Status")
        if status not in ("Active", "Inactive"):
            raise _validation(
                f"Value '{status}' at 'status' failed to satisfy constraint: "
                "Member must satisfy enum value set: [Active, Inactive]"
            )
        for key in self._user(params).keys:
            if key.access_key_id == access_key_id:
                key.status = status
                return b""
        raise _ApiError("NoSuchEntity", f"The Access Key with id {access_key_id} cannot be found.", 404)

    def _get_access_key_last_used(self, params: dict[str, str]) -> bytes:
        access_key_id = _required(params, "AccessKeyId")
        owner = self._owner(access_key_id)
        if owner is None:
            raise _ApiError("NoSuchEntity", f"The Access Key with id {access_key_id} cannot be found.", 404)
        uses = (key.last_use for key in self.users[owner].keys if key.access_key_id == access_key_id)
        at, service, region = next(uses) or (None, "N/A", "N/A")
        date = "" if at is None else f"<LastUsedDate>{_timestamp(at)}</LastUsedDate>"
        last = f"{date}<Region>{escape(region)}</Region><ServiceName>{escape(service)}</ServiceName>"
        return f"<UserName>{escape(owner)}</UserName><AccessKeyLastUsed>{last}</AccessKeyLastUsed>".encode()

    def _get_account_summary(self, _params: dict[str, str]) -> bytes:
        counts = {"Users": len(self.users), "AccountAccessKeysPresent": self.root_access_keys}
        entries = "".join(f"<entry><key>{name}</key><value>{count}</value></entry>" for name, count in counts.items())
        return f"<SummaryMap>{entries}</SummaryMap>".encode()

    def _owner(self, access_key_id: str) -> str | None:
        """The name of the user who has that access key, by an index that is made anew when it turns out wrong."""
        for _ in range(2):
            user = self.users.get(self._owner_of.get(access_key_id, ""))
            if user is not None and any(key.access_key_id == access_key_id for key in user.keys):
                return None if user.user_name in self._gone else user.user_name
            self._owner_of = {key.access_key_id: name for name, owner in self.users.items() for key in owner.keys}
        return None

    def _list_account_aliases(self, params: dict[str, str]) -> bytes:
        aliases = [] if self.alias is None else [self.alias]
        page = _page(params, "ListAccountAliases", len(aliases), _MAX_ITEMS)
        members = "".join(f"<member>{escape(alias)}</member>" for alias in aliases[page.start : page.end])
        return page.xml(b"AccountAliases", members.encode())

    def _list_user_tags(self, params: dict[str, str]) -> bytes:
        tags = sorted(self._user(params).tags.items())
        page = _page(params, "ListUserTags", len(tags), _MAX_ITEMS)
        return page.xml(b"Tags", _tags_xml(tags[page.start : page.end]))

    def _get_user(self, params: dict[str, str]) -> bytes:
        user = self._user(params)
        member = self._user_xml(user).removeprefix(b"<member>").removesuffix(b"</member>")
        tags = b"<Tags>%b</Tags>" % _tags_xml(sorted(user.tags.items())) if user.tags else b""
        return b"<User>%b%b</User>" % (member, tags)

    def _get_caller_identity(self) -> bytes:
        arn = f"arn:{self.partition}:sts::{self.account_id}:assumed-role/keycheck/sandbox"
        identity = f"<UserId>{_unique_id('AROA', 'keycheck')}:sandbox</UserId><Account>{self.account_id}</Account>"
        return f"<Arn>{arn}</Arn>{identity}".encode()

    def _generate_credential_report(self, _params: dict[str, str]) -> bytes:
        now = datetime.now(UTC)
        if self._report is not None and now < self._report.at:
            return b"<State>INPROGRESS</State>"
        if self._report is not None and now - self._report.at < REPORT_LASTS:
            return b"<State>COMPLETE</State>"
        self._report = _Report(now + timedelta(seconds=self.report_seconds), _report_rows(self))
        what = b"No report exists. Starting a new report generation task"
        return b"<State>STARTED</State><Description>%b</Description>" % what

    def _get_credential_report(self, _params: dict[str, str]) -> bytes:
        now, report = datetime.now(UTC), self._report
        if report is None:
            raise _ApiError("ReportNotPresent", "No report exists, please generate one", 410)
        if now < report.at:
            raise _ApiError("ReportInProgress", "Report is being generated", 404)
        if now - report.at >= REPORT_LASTS:
            raise _ApiError("ReportExpired", "The report has expired, please generate another one", 410)
        made = _timestamp(report.at)
        return (
            f"<Content>{report.content}</Content><ReportFormat>text/csv</ReportFormat>"
            f"<GeneratedTime>{made}</GeneratedTime>"
        ).encode()

    def _user(self, params: dict[str, str]) -> FakeUser:
        name = params.get("UserName")
        if not name:
            # What AWS says to a role; a user who leaves the name out means itself, and here nobody is a user.
            raise _ApiError("ValidationError", "Must specify userName when calling with non-User credentials")
        user = self.users.get(name)
        if user is None or name in self._gone:
            raise _ApiError("NoSuchEntity", f"The user with name {name} cannot be found.", 404)
        return user


def new_access_key_id() -> str:
    """A new id of a long-lived access key, as long and of the same characters as AWS's."""
    return "AKIA" + "".join(random.choices(ID_ALPHABET, k=16))


class _ApiError(Exception):
    """What goes out as an <ErrorResponse>."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.status = status


def _validation(detail: str) -> _ApiError:
    return _ApiError("ValidationError", f"1 validation error detected: {detail}")


def _invalid_action(action: str, version: str) -> _ApiError:
    return _ApiError("InvalidAction", f"Could not find operation {action} for version {version}")


def _required(params: dict[str, str], name: str) -> str:
    value = params.get(name)
    if not value:
        member = name[0].lower() + name[1:]
        raise _validation(f"Value null at '{member}' failed to satisfy constraint: Member must not be null")
    return value


def iam_error(code: str, status: int | None = None, message: str | None = None) -> Fault:
    """IAM's answer with this error; the call has no effect. Without a `status` it is AWS's for that code."""
    http_status = HTTP_STATUS_OF.get(code, 400) if status is None else status
    refusal = _ApiError(code, message or f"Injected by the test: {code}", http_status)
    body = _error_xml(refusal, IAM_NAMESPACE, b"7a62c49f-347e-4fc4-9331-000000000000")
    return Fault.status(http_status, body, {"Content-Type": "text/xml"})


def about(action: str | None = None, user: str | None = None, page: int | None = None, after: int = 0) -> Match:
    """Matches calls of that action, for that user name, for that page of a listing (1 is the first), once so many of
    them have gone through; what is None matches all.
    """
    gone_through = count()

    def matches(request: Request) -> bool:
        params = _parse_form(request.body)
        is_one = (
            (action is None or params.get("Action") == action)
            and (user is None or params.get("UserName") == user)
            and (page is None or _page_number(params) == page)
        )
        return is_one and next(gone_through) >= after

    return matches


@dataclass(slots=True)
class _Pending:
    """A call that has arrived and is not answered yet."""

    call: Call
    namespace: str
    fault: Fault | None


# Pages


@dataclass(slots=True)
class _Page:
    start: int
    end: int
    next_marker: str | None

    def xml(self, list_name: bytes, members: bytes) -> bytes:
        """The list, and a Marker only where there is more, as in AWS."""
        if self.next_marker is None:
            return b"<IsTruncated>false</IsTruncated><%b>%b</%b>" % (list_name, members, list_name)
        marker = self.next_marker.encode()
        more = b"<IsTruncated>true</IsTruncated><Marker>%b</Marker>" % marker
        return b"%b<%b>%b</%b>" % (more, list_name, members, list_name)


def _page(params: dict[str, str], action: str, total: int, cap: int | Sequence[int]) -> _Page:
    """Which of `total` things this call is shown. A marker holds only for the action and user it was given for."""
    number, start = 1, 0
    if "Marker" in params:
        number, start = _opened(params["Marker"], action, params.get("UserName", ""))
    wanted = params.get("MaxItems", str(_DEFAULT_PAGE))
    if not wanted.isdecimal() or not 1 <= int(wanted) <= _MAX_ITEMS:
        raise _validation(
            f"Value '{wanted}' at 'maxItems' failed to satisfy constraint: Member must have value between 1 and 1000"
        )
    most = cap if isinstance(cap, int) else cap[min(number, len(cap)) - 1]
    end = start + min(int(wanted), most)
    if end >= total:
        return _Page(start, total, None)
    following = f"{action}\n{params.get('UserName', '')}\n{number + 1}\n{end}"
    return _Page(start, end, base64.urlsafe_b64encode(following.encode()).decode())


def _opened(marker: str, action: str, user_name: str) -> tuple[int, int]:
    """The page number and the first position that a marker stands for."""
    try:
        for_action, for_user, number, start = base64.urlsafe_b64decode(marker.encode()).decode().split("\n")
        if (for_action, for_user) == (action, user_name):
            return int(number), int(start)
    except (binascii.Error, ValueError):
        pass
    raise _ApiError("ValidationError", "Invalid Marker.")


def _page_number(params: dict[str, str]) -> int:
    """Which page of a listing a call asks for: 1 without a marker, 0 for a marker that is none of ours."""
    if "Marker" not in params:
        return 1
    try:
        return int(base64.urlsafe_b64decode(params["Marker"].encode()).decode().split("\n")[2])
    except (binascii.Error, ValueError, IndexError):
        return 0


# The credential report

REPORT_LASTS: Final = timedelta(hours=4)
"""AWS gives a younger one again as it was, and makes no newer one."""
REPORT_COLUMNS: Final = (
    *("user", "arn", "user_creation_time"),
    *("password_enabled", "password_last_used", "password_last_changed", "password_next_rotation", "mfa_active"),
    *(
        f"access_key_{slot}_{what}"
        for slot in (1, 2)
        for what in ("active", "last_rotated", "last_used_date", "last_used_region", "last_used_service")
    ),
    *("cert_1_active", "cert_1_last_rotated", "cert_2_active", "cert_2_last_rotated"),
)
"""Those of a report that was fetched from AWS on 2026-09-11; the guide has one more."""


@dataclass(frozen=True)
class _ReportRow:
    """A user as the report shows it: the two access keys whose ids come first."""

    user_name: str
    arn: str
    created_at: datetime
    keys: tuple[tuple[bool, datetime], ...] = ()

    def line(self) -> tuple[str, ...]:
        about = (self.user_name, self.arn, _timestamp(self.created_at), "false", "N/A", "N/A", "N/A", "false")
        slots = [("true" if is_active else "false", _timestamp(at)) for is_active, at in self.keys]
        slots += [("false", "N/A")] * (2 - len(slots))
        never_used = ("N/A", "N/A", "N/A")
        return (*about, *slots[0], *never_used, *slots[1], *never_used, "false", "N/A", "false", "N/A")


_ROOT: Final = _ReportRow("<root_account>", "arn:aws:iam::123456789012:root", datetime(2015, 1, 1, tzinfo=UTC))


@dataclass(frozen=True)
class _Report:
    """What an account looked like when its report was begun; it can be had from `at` on."""

    at: datetime
    rows: tuple[_ReportRow, ...]

    def moved_back(self, delta: timedelta) -> _Report:
        rows = (
            dataclasses.replace(
                row,
                created_at=row.created_at - delta,
                keys=tuple((is_active, at - delta) for is_active, at in row.keys),
            )
            for row in self.rows
        )
        return _Report(self.at - delta, tuple(rows))

    @cached_property
    def content(self) -> str:
        """The file in base64: made once, since AWS gives the same bytes again."""
        lines = [REPORT_COLUMNS, *(row.line() for row in (_ROOT, *self.rows))]
        text = "\n".join(",".join(_quoted(value) for value in line) for line in lines)
        return base64.b64encode(text.encode()).decode()


def _report_rows(iam: FakeIam) -> tuple[_ReportRow, ...]:
    arn = f"arn:{iam.partition}:iam::{iam.account_id}:user"
    users = sorted(iam.users.values(), key=lambda user: user.user_name.casefold())
    return tuple(
        _ReportRow(
            user.user_name,
            f"{arn}{user.path}{user.user_name}",
            user.create_date,
            tuple(
                (key.status == "Active", key.create_date)
                for key in sorted(user.keys, key=lambda key: key.access_key_id)[:2]
            ),
        )
        for user in users
    )


def _quoted(value: str) -> str:
    """User names may hold a comma."""
    return '"' + value.replace('"', '""') + '"' if "," in value or '"' in value else value


# XML: each function's answer is kept, and depends on nothing but what it is given


@lru_cache(maxsize=_CACHED_FRAGMENTS)
def _user_xml(partition: str, account_id: str, path: str, user_name: str, create_date: datetime, user_id: str) -> bytes:
    arn = f"arn:{partition}:iam::{account_id}:user{path}{user_name}"
    return (
        f"<member><Path>{escape(path)}</Path><UserName>{escape(user_name)}</UserName>"
        f"<UserId>{user_id}</UserId><Arn>{escape(arn)}</Arn>"
        f"<CreateDate>{_timestamp(create_date)}</CreateDate></member>"
    ).encode()


@lru_cache(maxsize=_CACHED_FRAGMENTS)
def _key_xml(user_name: str, access_key_id: str, status: str, create_date: datetime) -> bytes:
    return (
        f"<member><UserName>{escape(user_name)}</UserName><AccessKeyId>{escape(access_key_id)}</AccessKeyId>"
        f"<Status>{escape(status)}</Status><CreateDate>{_timestamp(create_date)}</CreateDate></member>"
    ).encode()


def _tags_xml(tags: list[tuple[str, str]]) -> bytes:
    return "".join(f"<member><Key>{escape(k)}</Key><Value>{escape(v)}</Value></member>" for k, v in tags).encode()


@lru_cache
def _envelope(action: str, namespace: str) -> tuple[bytes, bytes]:
    """What stands before the inside of <...Result>, and what stands between it and the request id."""
    opening, closing = f'<{action}Response xmlns="{namespace}">', "<ResponseMetadata><RequestId>"
    if action == "UpdateAccessKey":  # the model gives it no result
        return opening.encode(), closing.encode()
    return f"{opening}<{action}Result>".encode(), f"</{action}Result>{closing}".encode()


@lru_cache
def _end_of(action: str) -> bytes:
    return f"</RequestId></ResponseMetadata></{action}Response>".encode()


def _error_xml(error: _ApiError, namespace: str, request_id: bytes) -> bytes:
    fault = "Receiver" if error.status >= 500 else "Sender"
    return (
        f'<ErrorResponse xmlns="{namespace}"><Error><Type>{fault}</Type><Code>{escape(error.code)}</Code>'
        f"<Message>{escape(error.message)}</Message></Error><RequestId>{request_id.decode()}</RequestId></ErrorResponse>"
    ).encode()


_THROTTLED: Final = iam_error("Throttling", message="Rate exceeded")


def _unique_id(prefix: str, of: str) -> str:
    """An id of AWS's shape (four letters and 17 characters) that is always the same for the same thing."""
    return prefix + base64.b32encode(sha256(of.encode()).digest()).decode()[:17]


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _whole_second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


# HTTP


@lru_cache(maxsize=16)
def _http_date(epoch_seconds: int) -> bytes:
    return formatdate(epoch_seconds, usegmt=True).encode()


@lru_cache
def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Unknown"


def _parse_form(body: bytes) -> dict[str, str]:
    """The parameters of a query-protocol body. Quoting is undone only where there is any."""
    if b"%" in body or b"+" in body:
        return {unquote_plus(k.decode()): unquote_plus(v.decode()) for k, v in _PAIR.findall(body)}
    return {k.decode(): v.decode() for k, v in _PAIR.findall(body)}


class _Connection(asyncio.Protocol):
    """One keep-alive connection. Its calls are answered one after the other, in order."""

    def __init__(self, iam: FakeIam, server: _ServerThread) -> None:
        self._iam = iam
        self._server = server
        self._buffer = b""
        self._busy = False
        self._hangs = False
        self._close_after = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.transports.add(self._transport)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._transport is not None:
            self._server.transports.discard(self._transport)
        if self._hangs:
            self._hangs = False
            self._iam.give_up()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if not self._busy:
            self._next()

    def _next(self) -> None:
        """Take whole requests off the buffer until one has to wait."""
        while not self._busy and self._buffer:
            end_of_head = self._buffer.find(b"\r\n\r\n")
            if end_of_head < 0:
                return
            head = self._buffer[:end_of_head].lower()
            body_at = end_of_head + 4
            length = 0
            at = head.find(b"\r\ncontent-length:")
            if at >= 0:
                end = head.find(b"\r\n", at + 2)
                length = int(head[at + 17 : end if end >= 0 else None])
            if len(self._buffer) < body_at + length:
                return
            body = self._buffer[body_at : body_at + length]
            self._buffer = self._buffer[body_at + length :]
            self._close_after = b"\r\nconnection: close" in head
            self._take(body)

    def _take(self, body: bytes) -> None:
        pending = self._iam.arrive(body)
        wait_seconds = self._iam.latency + (0.0 if pending.fault is None else pending.fault.wait_seconds)
        if math.isinf(wait_seconds):
            self._busy = self._hangs = True
        elif wait_seconds > 0:
            self._busy = True
            self._server.loop.call_later(wait_seconds, self._finish_late, pending)
        else:
            self._finish(pending)

    def _finish_late(self, pending: _Pending) -> None:
        self._finish(pending)
        self._busy = False
        self._next()

    def _finish(self, pending: _Pending) -> None:
        answer = self._iam.answer(pending)  # it takes effect even if nobody waits for it any more
        if self._transport is None or self._transport.is_closing():
            return
        if answer is not None:
            self._transport.write(answer)
        if answer is None or self._close_after:
            self._buffer = b""
            self._transport.close()


class _ServerThread:
    """A thread with an event loop of its own that serves one FakeIam."""

    def __init__(self, iam: FakeIam, port: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.port = port
        self.transports: set[asyncio.Transport] = set()
        self._iam = iam
        self._thread = threading.Thread(target=self._run, name="fake-iam", daemon=True)
        self._started = threading.Event()
        self._failure: OSError | None = None
        self._server: asyncio.Server | None = None

    def start_serving(self) -> None:
        """Back when the port is open. Raises OSError when it can't be."""
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def stop_serving(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._server = self.loop.run_until_complete(self._open())
        except OSError as error:
            self._failure = error
            self.loop.close()
            return
        finally:
            self._started.set()
        try:
            self.loop.run_forever()
        finally:
            self._server.close()
            for transport in list(self.transports):
                transport.abort()
            self.loop.run_until_complete(self._server.wait_closed())
            self.loop.run_until_complete(asyncio.sleep(0))  # lets the aborted sockets close
            self.loop.close()

    async def _open(self) -> asyncio.Server:
        server = await self.loop.create_server(
            lambda: _Connection(self._iam, self), "127.0.0.1", self.port, backlog=1024
        )
        self.port = server.sockets[0].getsockname()[1]
        return server


# As a process of its own


def main(argv: Sequence[str] | None = None) -> int:
    """Serve made-up users until SIGTERM or SIGINT: the URL on stdout's first line, the counts as JSON on its last."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.fake_iam", description="A fake IAM endpoint.")
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--keys-per-user", type=int, default=1)
    parser.add_argument("--users-per-page", type=int, default=_MAX_ITEMS)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--rate", type=float, help="calls a second for the whole account (default: no limit)")
    parser.add_argument("--burst", type=int, default=40, help="calls at once under --rate (default: 40)")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    args = parser.parse_args(argv)
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before the server's thread starts, which inherits it

    iam = FakeIam(
        latency=args.latency_ms / 1000,
        rate=args.rate,
        burst=args.burst,
        users_per_page=args.users_per_page,
        port=args.port,
    )
    now = datetime.now(UTC)
    for number in range(args.users):
        ages = [(number * 7 + extra * 90) % 400 for extra in range(args.keys_per_user)]
        iam.add_user(f"user{number:05}", ages, now=now)
    with iam:
        print(iam.url, flush=True)
        signal.sigwait(signals)
    counts = {"calls": iam.calls, "throttled": iam.throttled, "peak_in_flight": iam.peak_in_flight}
    print(json.dumps(counts), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
