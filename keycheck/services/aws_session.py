"""AWS sessions and clients.

In: a profile name, the run's clock. Out: boto3 clients that ask the clock before every attempt, ServiceError for
everything that goes wrong. It passes no endpoint of its own: `AWS_ENDPOINT_URL*` and `services` sections just work.

Measured facts behind this module: services.md 2.
"""

from __future__ import annotations

import email.utils
import math
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from keycheck.services import ServiceError
from keycheck.services.aws_errors import (
    CA_BUNDLE,
    THROTTLING_CODES,
    ClockOff,
    NoAnswer,
    Obstacle,
    Redirected,
    aws_errors,
)
from keycheck.services.causes import PROXY_SIGN_IN, is_redirect, obstacle, redirected
from keycheck.services.health import was_never_sent
from keycheck.services.pace import Pace
from keycheck.services.processes import watch_processes
from keycheck.values import PLACEHOLDER
from keycheck.words.parts import shown

AWS_CLOCK_TOLERANCE = timedelta(minutes=5)
STATIC_CREDENTIAL_METHODS = frozenset(
    {"env", "shared-credentials-file", "config-file", "boto-config", "custom-process", "explicit"}
)
"""botocore's names for the sources that can yield an IAM user's own access key; all others yield temporary ones."""


@dataclass(slots=True)
class Session:
    """One profile's boto3 session. Not safe to share between threads; the clients it makes are."""

    profile: str
    boto_session: Any
    own_access_key_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Calls:
    """How a client calls: attempts and timeouts in seconds, and `silences` connection failures in a row to give up at.

    Until a first answer two silences are enough: nobody waits a minute to hear that there is no network.
    """

    attempts: int
    mode: str
    connections: int
    read_timeout: float
    silences: int
    connect_timeout: float = 5.0


PACED_ATTEMPTS = 40
"""Of a call that AWS throttles: others in the account may have most of the rate."""
LONGEST_BREAK = 0.25
"""Seconds: no longer than a run that is told to stop may well wait."""


@dataclass(frozen=True, slots=True)
class _PaceKeeper:
    """Lets each attempt of a client wait for its place, and tries again whatever was throttled.

    No wait is long: there are no more places taken than threads, and at least LOWEST of them a second.
    """

    pace: Pace

    def before_send(self, **_: Any) -> None:
        time.sleep(self.pace.delay())

    def after(self, parsed_response: Any = None, **_: Any) -> None:
        if parsed_response is not None:
            self.pace.heard(is_refused=_is_throttled(parsed_response))

    def needs_retry(self, response: Any = None, attempts: int = 0, **_: Any) -> float | None:
        """Return after how many seconds to try again, as soon as the pace then lets it; None: botocore decides.

        They grow a little, so that a first rate that was far too high is not spent on refusals alone.
        """
        is_throttled = response is not None and _is_throttled(response[1])
        again_after = min(0.04 * 2 ** min(attempts, 5), LONGEST_BREAK)
        return again_after if is_throttled and attempts < PACED_ATTEMPTS else None


def _is_throttled(parsed: Mapping[str, Any]) -> bool:
    return parsed.get("Error", {}).get("Code") in THROTTLING_CODES


@dataclass(slots=True)
class _CallGuard:
    """What one client has heard so far."""

    check: Callable[[], None]
    allowed_silences: int
    has_answered: bool = False
    silences: int = 0
    was_sent: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def before_send(self, **_: Any) -> None:
        self.check()
        limit = self.allowed_silences if self.has_answered else min(2, self.allowed_silences)
        if self.silences >= limit:
            raise NoAnswer(self.was_sent)

    def after(self, exception: BaseException | None = None, parsed_response: Any = None, **_: Any) -> None:
        from botocore.exceptions import ConnectionError as NoConnection
        from botocore.exceptions import HTTPClientError

        with self.lock:
            if isinstance(exception, HTTPClientError | NoConnection):
                if (between := obstacle(exception, CA_BUNDLE)) is not None:
                    raise Obstacle(between)
                self.silences += 1
                is_lost = isinstance(exception, HTTPClientError) and not was_never_sent(exception)
                self.was_sent = self.was_sent or is_lost
            elif exception is None:
                self.silences, self.has_answered, self.was_sent = 0, True, False
        headers = (parsed_response or {}).get("ResponseMetadata", {}).get("HTTPHeaders", {})
        check_clock(headers.get("date"), datetime.now(UTC))


def check_clock(date_header: str | None, now: datetime) -> None:
    """Raise ClockOff if an answer's Date header is more than five minutes from `now`: ages could not be trusted.

    AWS itself refuses requests signed so far off ("Signature expired"); this says so in one clear line.
    """
    if date_header is None:
        return
    try:
        theirs = email.utils.parsedate_to_datetime(date_header)
        ahead = now - (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return
    if abs(ahead) > AWS_CLOCK_TOLERANCE:
        minutes = abs(ahead).total_seconds() / 60
        where = "ahead of" if ahead > timedelta() else "behind"
        raise ClockOff(f"this machine's clock is {minutes:.0f} minutes {where} AWS's; set it")


def open_session(profile: str, service: str, seconds_left: Callable[[], float] = lambda: math.inf) -> Session:
    """Open one profile. Raises ServiceError if botocore cannot even begin with it.

    `seconds_left`: how long a credential_process may still take.
    """
    with aws_errors(service, "credentials", profile):

        def boto_session(name: str) -> Any:
            session = _boto_session(name)
            watch_processes(session, service, seconds_left)
            return session

        session = boto_session(profile)
        region = session.region_name
        if region is not None and not re.fullmatch(r"[A-Za-z0-9-]{1,63}", region):
            text = f"the profile's region is not a region's name ({shown(region)}); look at it, and AWS_DEFAULT_REGION"
            raise ServiceError(service, "credentials", text, holds_for_run=True)
        profiles = session._session.full_config.get("profiles", {})  # noqa: SLF001 - boto3 has no public way to see all
        chain = _source_chain(profile, profiles)
        if any({"role_arn", "mfa_serial"} <= profiles.get(name, {}).keys() for name in chain):
            text = "the profile asks for an MFA code (mfa_serial), which nobody can type here; use one without"
            raise ServiceError(service, "credentials", text, holds_for_run=True)
        for name in chain:
            for option, value in profiles.get(name, {}).items():
                if PLACEHOLDER in str(value):
                    text = f"{option} of the profile {name} still says {PLACEHOLDER}; put your own value in its place"
                    raise ServiceError(service, "credentials", text, holds_for_run=True)
        return Session(profile, session, _own_access_key_ids(session, chain, profiles, boto_session))


def _boto_session(profile: str) -> Any:
    """Make a session whose own calls (STS for a role, SSO) time out as well: botocore would wait a minute for each."""
    import boto3
    import botocore.session
    from botocore.config import Config

    core = botocore.session.get_session()
    core.set_default_client_config(
        Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
    )
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
    core.register("before-parse", _refuse_redirect)
    core.register("response-received", _refuse_see_other)
    return boto3.Session(botocore_session=core, profile_name=profile)


IAM_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


def _timestamp(value: Any) -> datetime:
    """Read a timestamp as botocore does, and IAM's own form twenty times as fast: that is two thirds of what reading a
    page of users takes (services.md 2.4).
    """
    from botocore.utils import parse_timestamp

    if isinstance(value, str) and IAM_TIMESTAMP.fullmatch(value):
        return datetime.fromisoformat(value)
    found: datetime = parse_timestamp(value)
    return found


def _refuse_redirect(response_dict: Mapping[str, Any], **_: Any) -> None:
    """botocore follows none of these, but takes what it finds in the body for AWS's own words."""
    status = response_dict["status_code"]
    if status == 407:
        raise Obstacle(PROXY_SIGN_IN)
    if is_redirect(status):
        raise Redirected(redirected(status, response_dict["headers"].get("location")))


def _refuse_see_other(exception: BaseException | None = None, **_: Any) -> None:
    """Raise Redirected for a 303, which does not come so far: urllib3 stumbles over botocore's headers while it makes
    ready for a GET that it is not to send. The answer is still there, in the frame that stumbled.
    """
    beneath = exception.__context__ if exception is not None else None
    frame = beneath.__traceback__ if beneath is not None else None
    while frame is not None:
        answer: Any = frame.tb_frame.f_locals.get("response") if frame.tb_frame.f_code.co_name == "urlopen" else None
        if is_redirect(getattr(answer, "status", None)):
            raise Redirected(redirected(answer.status, answer.headers.get("location"))) from None
        frame = frame.tb_next


def _source_chain(profile: str, profiles: Mapping[str, Any]) -> list[str]:
    """Return the profile and those that its source_profile leads to, as far as they exist."""
    chain = [profile]
    while (source := profiles.get(chain[-1], {}).get("source_profile")) in profiles and source not in chain:
        chain.append(source)
    return chain


def _own_access_key_ids(
    session: Any, chain: Sequence[str], profiles: Mapping[str, Any], open_profile: Callable[[str], Any]
) -> frozenset[str]:
    """Return every access key id that botocore sees in any profile, and the one this session resolves to.

    Also those that a `source_profile` gets from a credential_process. Temporary credentials are left alone: they are
    no IAM user's access key, and resolving them would need the network.
    """
    ids = {
        values["aws_access_key_id"].strip()
        for values in profiles.values()
        if isinstance(values.get("aws_access_key_id"), str)
    }
    for name in chain:
        one = session if name == session.profile_name else open_profile(name)
        credentials = one.get_credentials()
        if credentials is not None and credentials.method in STATIC_CREDENTIAL_METHODS:
            _check_printable(credentials)
            ids.add(credentials.access_key)
    return frozenset(ids)


def _check_printable(credentials: Any) -> None:
    """Raise if a credential holds what no header can: a line break out of a file or an environment variable."""
    parts = {"access key id": credentials.access_key, "secret access key": credentials.secret_key}
    for what, value in (*parts.items(), ("session token", credentials.token or "")):
        if not all("!" <= c <= "~" for c in value):
            text = f"the {what} holds a line break or a blank; look at the profile, and at AWS's variables"
            raise ServiceError("credentials", "read", text, holds_for_run=True)


def make_client(
    session: Session,
    service: str,
    calls: Calls,
    check: Callable[[], None],
    region: str | None = None,
    pace: Pace | None = None,
) -> Any:
    """Make a client whose every attempt, retries included, first asks `check` (which raises Stopped past the deadline).

    IAM and STS need a region to sign with when `AWS_ENDPOINT_URL` is set and the profile has none (botocore alone
    raises NoRegionError there); the partition still comes from the profile's own region.
    """
    with aws_errors(service, "client", session.profile):
        from botocore.config import Config

        from keycheck import __version__

        region = region or session.boto_session.region_name or ("us-east-1" if service in ("iam", "sts") else None)
        client = session.boto_session.client(
            service,
            region_name=region,
            config=Config(
                connect_timeout=calls.connect_timeout,
                read_timeout=calls.read_timeout,
                max_pool_connections=calls.connections,
                retries={"mode": calls.mode, "total_max_attempts": calls.attempts},
                user_agent_extra=f"keycheck/{__version__}",
            ),
        )
    if pace is not None:
        _keep_pace(client, _PaceKeeper(pace))
    watch(client, calls, check)  # asked after the wait: the time may be over by then
    return client


def _keep_pace(client: Any, keeper: _PaceKeeper) -> None:
    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register_first(f"before-send.{service}", keeper.before_send)
    client.meta.events.register(f"response-received.{service}", keeper.after)
    client.meta.events.register_first(f"needs-retry.{service}", keeper.needs_retry)


def watch(client: Any, calls: Calls, check: Callable[[], None]) -> None:
    """Ask the clock before each attempt of a client, and count the silences between answers."""
    line = _CallGuard(check, calls.silences)
    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register_first(f"before-send.{service}", line.before_send)
    client.meta.events.register(f"response-received.{service}", line.after)
