"""AWS sessions and clients, and what AWS's errors mean to a person.

In: a profile name, the run's clock. Out: boto3 clients that ask the clock before every attempt, ServiceError for
everything that goes wrong. It passes no endpoint of its own: `AWS_ENDPOINT_URL*` and `services` sections just work.

Measured facts behind this module: services.md 2.
"""

from __future__ import annotations

import email.utils
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from keycheck.clock import Stopped
from keycheck.services import Failure, ServiceError
from keycheck.settings import PLACEHOLDER

AWS_CLOCK_TOLERANCE = timedelta(minutes=5)
STATIC_CREDENTIAL_METHODS = frozenset(
    {"env", "shared-credentials-file", "config-file", "boto-config", "custom-process", "explicit"}
)
"""botocore's names for the sources that can yield an IAM user's own access key; all others yield temporary ones."""

CREDENTIAL_CODES = {
    "ExpiredToken": "the credentials have expired; renew them",
    "ExpiredTokenException": "the credentials have expired; renew them",
    "RequestExpired": "AWS says that the request is too old; set this machine's clock",
    "InvalidClientTokenId": "AWS does not know the access key; look at the profile's credentials",
    "UnrecognizedClientException": "AWS does not know the access key; look at the profile's credentials",
    "SignatureDoesNotMatch": "AWS refuses the signature; look at the secret access key and at this machine's clock",
    "InvalidSignatureException": "AWS refuses the signature; look at the secret access key and at this machine's clock",
    "RequestTimeTooSkewed": "this machine's clock is more than five minutes off; set it",
    "AuthFailure": "AWS refuses the credentials; look at the profile",
    "OptInRequired": "the account is not signed up for this service or region",
}
PERMISSION_CODES = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AccessDeniedFault"})


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
            raise _NoAnswer(self.was_sent)

    def after(self, exception: BaseException | None = None, parsed_response: Any = None, **_: Any) -> None:
        from botocore.exceptions import ConnectionError as NoConnection
        from botocore.exceptions import HTTPClientError

        with self.lock:
            if isinstance(exception, HTTPClientError | NoConnection):
                self.silences += 1
                self.was_sent = self.was_sent or isinstance(exception, HTTPClientError)
            elif exception is None:
                self.silences, self.has_answered, self.was_sent = 0, True, False
        headers = (parsed_response or {}).get("ResponseMetadata", {}).get("HTTPHeaders", {})
        check_clock(headers.get("date"), datetime.now(UTC))


class _NoAnswer(Exception):
    """Raised in place of another attempt at an endpoint that does not answer.

    `was_sent`: since the last answer, some request was on the wire and its answer was lost.
    """

    def __init__(self, was_sent: bool) -> None:
        super().__init__()
        self.was_sent = was_sent


class ClockOff(Exception):
    """This machine's clock and AWS's differ by more than AWS tolerates; the message says by how much."""


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


def open_session(profile: str, service: str) -> Session:
    """Open one profile. Raises ServiceError if botocore cannot even begin with it."""
    with aws_errors(service, "credentials", profile):
        session = _boto_session(profile)
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
        return Session(profile, session, _own_access_key_ids(session, chain, profiles))


def _boto_session(profile: str) -> Any:
    """Make a session whose own calls (STS for a role, SSO) time out as well: botocore would wait a minute for each."""
    import boto3
    import botocore.session
    from botocore.config import Config

    core = botocore.session.get_session()
    core.set_default_client_config(
        Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
    )
    return boto3.Session(botocore_session=core, profile_name=profile)


def _source_chain(profile: str, profiles: Mapping[str, Any]) -> list[str]:
    """Return the profile and those that its source_profile leads to, as far as they exist."""
    chain = [profile]
    while (source := profiles.get(chain[-1], {}).get("source_profile")) in profiles and source not in chain:
        chain.append(source)
    return chain


def _own_access_key_ids(session: Any, chain: Sequence[str], profiles: Mapping[str, Any]) -> frozenset[str]:
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
        one = session if name == session.profile_name else _boto_session(name)
        credentials = one.get_credentials()
        if credentials is not None and credentials.method in STATIC_CREDENTIAL_METHODS:
            ids.add(credentials.access_key)
    return frozenset(ids)


def make_client(
    session: Session, service: str, calls: Calls, check: Callable[[], None], region: str | None = None
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
    watch(client, calls, check)
    return client


def watch(client: Any, calls: Calls, check: Callable[[], None]) -> None:
    """Ask the clock before each attempt of a client, and count the silences between answers."""
    line = _CallGuard(check, calls.silences)
    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register_first(f"before-send.{service}", line.before_send)
    client.meta.events.register(f"response-received.{service}", line.after)


@contextmanager
def aws_errors(service: str, operation: str, profile: str) -> Iterator[None]:
    """Turn whatever boto3 raises into ServiceError; Stopped passes through."""
    try:
        yield
    except (ServiceError, Stopped):
        raise
    except Exception as error:
        raise _service_error(service, operation, profile, error) from error


def error_code(error: BaseException) -> str:
    """Return the AWS error code, matched by name: exception classes differ between two sessions (services.md 2.1)."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    return ""


def _service_error(service: str, operation: str, profile: str, error: Exception) -> ServiceError:
    def failed(text: str, **more: Any) -> ServiceError:
        return ServiceError(service, operation, text, **more)

    code = error_code(error)
    call = f"{service}:{operation}"
    if code in CREDENTIAL_CODES:
        return failed(f"{CREDENTIAL_CODES[code]} ({code} on {call})", holds_for_run=True, code=code)
    if code in PERMISSION_CODES:
        return failed(f"{call} was refused ({code}); allow it to the profile's user or role", code=code)
    if code:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)  # type: ignore[attr-defined]
        failure = Failure.SERVER_ERROR if status >= 500 else Failure.REFUSED
        return failed(f"{call} failed ({word(code)}, HTTP {status})", failure=failure, code=code)
    if isinstance(error, ClockOff):
        return failed(str(error), holds_for_run=True)
    if isinstance(error, _NoAnswer):
        return failed(
            f"{call}: the endpoint did not answer twice in a row; is there a network?",
            failure=Failure.UNKNOWN if error.was_sent else Failure.NO_ANSWER,
            holds_for_run=True,
        )
    name = type(error).__name__
    if name in CONFIGURATION_ERRORS:
        setting = "aws_dynamodb_region" if service == "dynamodb" else "credstash_region"
        return failed(CONFIGURATION_ERRORS[name].format(profile=profile, region_setting=setting), holds_for_run=True)
    if name in ("EndpointConnectionError", "ProxyConnectionError", "SSLError", "ConnectTimeoutError"):
        return failed(f"{call}: no connection to the endpoint ({name}); is there a network?", failure=Failure.NO_ANSWER)
    if name in LOST_ANSWERS:
        return failed(f"{call}: {LOST_ANSWERS[name].format(name=name)}", failure=Failure.UNKNOWN)
    return failed(f"{call}: unexpected {name}")


LOST_ANSWERS = {
    **dict.fromkeys(
        ("ReadTimeoutError", "ConnectionClosedError", "HTTPClientError", "ResponseStreamingError"),
        "the connection was lost before an answer came ({name})",
    ),
    "ResponseParserError": "the answer cannot be read; is a proxy in between?",
}
"""What may have been done, though nobody heard so."""
CONFIGURATION_ERRORS = {
    "ProfileNotFound": "there is no such AWS profile; look into ~/.aws/config or the file that AWS_CONFIG_FILE names",
    "NoCredentialsError": "the profile has no credentials; add keys, a role or SSO to it",
    "PartialCredentialsError": "the profile's credentials are incomplete: it needs both key id and secret, or, for a "
    "role, source_profile or credential_source",
    "CredentialRetrievalError": "the profile's credentials could not be fetched (role, process or metadata service)",
    "InvalidConfigError": "the profile is not complete; look at source_profile and credential_source",
    "ConfigParseError": "the AWS config file cannot be parsed",
    "ConfigNotFound": "the AWS config file was not found",
    "SSOTokenLoadError": "nobody is signed in; run: aws sso login --profile {profile}",
    "UnauthorizedSSOTokenError": "the SSO session has ended; run: aws sso login --profile {profile}",
    "TokenRetrievalError": "the SSO session has ended; run: aws sso login --profile {profile}",
    "LoginTokenLoadError": "nobody is signed in; run: aws login --profile {profile}",
    "SSOError": "SSO failed; run: aws sso login --profile {profile}",
    "NoRegionError": "the profile {profile} has no region; add one to it, or set {region_setting}",
    "InvalidRegionError": "the profile's region is not a region's name",
    "InfiniteLoopConfigError": "the profile's source_profile leads back to itself",
    "ImportError": "boto3 is not installed for this Python; run: pip install -r requirements.txt",
    "ModuleNotFoundError": "boto3 is not installed for this Python; run: pip install -r requirements.txt",
    "UnknownCredentialError": "the profile names a credential_source that botocore does not know",
    "MetadataRetrievalError": "the metadata service gave no credentials; is this machine's role attached?",
}


def word(code: str) -> str:
    """Return an error code, or another word from the network, as it may be shown."""
    return "".join(c for c in code if c.isalnum() or c in "._-")[:60]
