"""What goes wrong with a call to AWS, in words for a person.

In: whatever boto3 raises. Out: ServiceError that says whether something may have been done. Nothing of a library
exception's text is repeated.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from keycheck.clock import Stopped
from keycheck.services import Failure, ServiceError
from keycheck.services.aws_files import why_not
from keycheck.services.aws_operations import OPERATIONS, Operation, read_refusal
from keycheck.services.causes import obstacle
from keycheck.services.health import was_never_sent
from keycheck.services.processes import shown_command

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
THROTTLING = "all programs in the account share this limit, and keycheck slowed down already; the next run tries again"
CAPACITY = "the table has too little capacity; let it be billed on demand (PAY_PER_REQUEST)"
THROTTLING_CODES = {
    **dict.fromkeys(
        (
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "RequestThrottled",
            "RequestThrottledException",
            "RequestLimitExceeded",
            "TooManyRequestsException",
            "SlowDown",
        ),
        THROTTLING,
    ),
    "ProvisionedThroughputExceededException": CAPACITY,
}
"""What AWS says to the last attempt where it takes no more for now: as botocore lists them."""
PERMISSION_CODES = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AccessDeniedFault"})


class NoAnswer(Exception):
    """Raised in place of another attempt at an endpoint that does not answer.

    `was_sent`: since the last answer, some request was on the wire and its answer was lost.
    """

    def __init__(self, was_sent: bool) -> None:
        super().__init__()
        self.was_sent = was_sent


class Obstacle(Exception):
    """What stands in between would stop every further call too, and nothing was sent; the message says what it is."""


class ClockOff(Exception):
    """This machine's clock and AWS's differ by more than AWS tolerates; the message says by how much."""


class Redirected(Exception):
    """An answer 3xx, which no AWS API that keycheck calls gives; the message says where it points."""


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
    return _error_part(error, "Code")


def error_sentence(error: BaseException) -> str:
    """Return AWS's own sentence, to be read and never to be shown: it can hold anything."""
    return _error_part(error, "Message")


def _error_part(error: BaseException, name: str) -> str:
    response = getattr(error, "response", None)
    found = response.get("Error") if isinstance(response, dict) else None
    return str(found.get(name, "")) if isinstance(found, dict) else ""


def _service_error(service: str, operation: str, profile: str, error: Exception) -> ServiceError:
    if error_code(error):
        return answered(service, operation, error)
    call = f"{service}:{operation}"

    def failed(text: str, **more: Any) -> ServiceError:
        return ServiceError(service, operation, text, **more)

    if isinstance(error, ClockOff):
        return failed(str(error), holds_for_run=True)
    if isinstance(error, Redirected):
        text = f"{call}: the endpoint answered {error}; nothing was done. Is a proxy in between?"
        return failed(text, holds_for_run=True)
    if (between := str(error) if isinstance(error, Obstacle) else obstacle(error, CA_BUNDLE)) is not None:
        text = f"{call}: no connection to the endpoint: {between}"
        return failed(text, failure=Failure.NO_ANSWER, holds_for_run=True)
    if isinstance(error, NoAnswer):
        return failed(
            f"{call}: the endpoint did not answer twice in a row; is there a network?",
            failure=Failure.UNKNOWN if error.was_sent else Failure.NO_ANSWER,
            holds_for_run=True,
        )
    return _misconfigured(service, operation, profile, error) or _lost(service, operation, error)


def _lost(service: str, operation: str, error: Exception) -> ServiceError:
    """Return the error for a connection that failed; what was never sent was not done."""
    call, name = f"{service}:{operation}", type(error).__name__
    is_unsent = was_never_sent(error)
    if is_unsent or name in ("EndpointConnectionError", "ProxyConnectionError", "SSLError", "ConnectTimeoutError"):
        text = f"{call}: no connection to the endpoint ({name}); is there a network?"
        return ServiceError(service, operation, text, failure=Failure.NO_ANSWER)
    if name in LOST_ANSWERS:
        text = f"{call}: {LOST_ANSWERS[name].format(name=name)}"
        return ServiceError(service, operation, text, failure=Failure.UNKNOWN)
    return ServiceError(service, operation, f"{call}: unexpected {name}")


def _misconfigured(service: str, operation: str, profile: str, error: Exception) -> ServiceError | None:
    """Return the error for what botocore could not begin with: a file, a profile, a sign-in."""
    name = type(error).__name__
    text = None
    if (trouble := _file_trouble(error)) is not None:
        text = trouble
    elif name in ABOUT_FILES and (why := why_not(profile)) is not None:
        text = f"{ABOUT_FILES[name]}: {why}"
    elif name == "CredentialRetrievalError":
        text = _not_fetched(profile, str(getattr(error, "kwargs", {}).get("provider", "")), _program(error))
    elif name in CONFIGURATION_ERRORS:
        where = {"profile": profile, "program": _program(error), "region_setting": REGION_SETTINGS.get(service, "")}
        text = CONFIGURATION_ERRORS[name].format_map(where)
    return None if text is None else ServiceError(service, operation, text, holds_for_run=True)


def _program(error: BaseException) -> str:
    """Return which program a profile's credentials were to come from, as far as botocore's own code tells."""
    for frame in _frames(error):
        command = frame.f_locals.get("process_list")
        if isinstance(command, list):
            return f" {shown_command([str(one) for one in command])}"
    return ""


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Return where an error came from, outermost first."""
    at = error.__traceback__
    while at is not None:
        yield at.tb_frame
        at = at.tb_next


def _not_fetched(profile: str, provider: str, program: str) -> str:
    """Return from where a profile's credentials could not be had, and what to try. `provider`: botocore's name."""
    source = CREDENTIAL_SOURCES.get(provider, f"its role, or what that role is assumed with; {BY_HAND}")
    return f"the profile's credentials could not be fetched from {source.format(profile=profile, program=program)}"


def _file_trouble(error: BaseException) -> str | None:
    """Return which file could not be used, and why: of AWS's own, of SSO's cache, the token of a pod, a program."""
    for one in (error, error.__cause__, error.__context__, getattr(error.__context__, "__context__", None)):
        if isinstance(one, OSError) and isinstance(one.filename, str) and one.filename:
            what, advice = _kind_of_file(one)
            return f"{what}{one.filename}: {(one.strerror or type(one).__name__).lower()}{advice}"
    return None


def _kind_of_file(error: OSError) -> tuple[str, str]:
    """Return what a file is that could not be used, and what helps, where the code that wanted it tells."""
    for frame in _frames(error):
        if frame.f_code.co_filename == subprocess.__file__:
            return "the profile's credential_process cannot be run: ", ""
        if type(frame.f_locals.get("self")).__name__ == "FileWebIdentityTokenLoader":
            return "the web identity token file ", "; is the service account's token mounted there (IRSA)?"
    return "", ""


def answered(service: str, operation: str, error: BaseException) -> ServiceError:
    """Return the error for AWS's own answer. The operation in it decides, not the one that was to be called: before
    that, botocore may have had to assume a role.
    """
    code = error_code(error)
    asked = str(getattr(error, "operation_name", operation))
    known = OPERATIONS.get(asked, Operation(service))
    refusal = read_refusal(error_sentence(error))
    call = refusal.action or f"{known.service}:{word(asked)}"

    def failed(text: str, *, holds_for_run: bool = False, failure: Failure = Failure.REFUSED) -> ServiceError:
        holds = holds_for_run or known.is_sign_in
        return ServiceError(service, operation, text, code=code, failure=failure, holds_for_run=holds)

    if code in known.advice:
        return failed(f"{call} failed ({word(code)}): {known.advice[code]}")
    if code in CREDENTIAL_CODES:
        return failed(f"{CREDENTIAL_CODES[code]} ({code} on {call})", holds_for_run=True)
    if code in PERMISSION_CODES:
        on = f" on {refusal.resource}" if refusal.resource and asked in RESOURCE_MATTERS else ""
        return failed(f"{call} was refused ({code}){on}; {refusal.advice(known.allow)}")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)  # type: ignore[attr-defined]
    failure = Failure.SERVER_ERROR if status >= 500 else Failure.REFUSED
    advice = f": {THROTTLING_CODES[code]}" if code in THROTTLING_CODES else ""
    return failed(f"{call} failed ({word(code)}, HTTP {status}){advice}", failure=failure)


RESOURCE_MATTERS = frozenset({"AssumeRole", "AssumeRoleWithWebIdentity", "Decrypt"})
"""Where the refused resource is another than the account that is scanned, or its table."""
CA_BUNDLE = "AWS_CA_BUNDLE"
REGION_SETTINGS = {
    "dynamodb": ", or set aws_dynamodb_region",
    **dict.fromkeys(("credstash", "kms"), ", or set credstash_region"),
}
LOST_ANSWERS = {
    **dict.fromkeys(
        ("ReadTimeoutError", "ConnectionClosedError", "HTTPClientError", "ResponseStreamingError"),
        "the connection was lost before an answer came ({name})",
    ),
    "ResponseParserError": "the answer cannot be read; is a proxy in between?",
}
"""What may have been done, though nobody heard so."""
ABOUT_FILES = {
    "ProfileNotFound": "there is no such AWS profile",
    "NoCredentialsError": "the profile has no credentials",
    "PartialCredentialsError": "the profile's credentials are incomplete",
    "InvalidConfigError": "the profile is not complete",
    "ConfigParseError": "an AWS file cannot be read",
    "ConfigNotFound": "the AWS config file was not found",
}
"""What the AWS files may be to blame for: they are looked at, and what is wrong in them is said."""
BY_HAND = "try: aws sts get-caller-identity --profile {profile}"
_CONTAINER = (
    "the container's credentials service (AWS_CONTAINER_CREDENTIALS_FULL_URI or ..._RELATIVE_URI); has the task, or "
    "the pod's service account, a role, and does the agent on its node run?"
)
_MACHINE = (
    "this machine's metadata service; has the instance a role, and may a container reach it (IMDSv2's hop limit of 2)?"
)
CREDENTIAL_SOURCES = {
    "custom-process": "its credential_process{program}, which failed or printed none; run that by hand, or " + BY_HAND,
    "container-role": _CONTAINER,
    "EcsContainer": _CONTAINER,
    "iam-role": _MACHINE,
    "Ec2InstanceMetadata": _MACHINE,
    "Environment": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, which its credential_source names; set both",
    "sso": "SSO; run: aws sso login --profile {profile}",
    "assume-role-with-web-identity": f"its role, by the token in AWS_WEB_IDENTITY_TOKEN_FILE; {BY_HAND}",
}
"""botocore's names of where credentials come from (botocore/credentials.py, METHOD and credential_source)."""
CONFIGURATION_ERRORS = {
    "ProfileNotFound": "there is no such AWS profile; look into ~/.aws/config or the file that AWS_CONFIG_FILE names",
    "NoCredentialsError": "the profile has no credentials; add keys, a role or SSO to it",
    "PartialCredentialsError": "the profile's credentials are incomplete: it needs both key id and secret, or, for a "
    "role, source_profile or credential_source",
    "JSONDecodeError": "the profile's credential_process{program} printed what is no JSON; run it by hand",
    "UnicodeDecodeError": "the profile's credential_process{program} printed what is no text; run it by hand",
    "InvalidConfigError": "the profile is not complete; look at source_profile and credential_source",
    "ConfigParseError": "the AWS config file cannot be parsed",
    "ConfigNotFound": "the AWS config file was not found",
    "SSOTokenLoadError": "nobody is signed in; run: aws sso login --profile {profile}",
    "UnauthorizedSSOTokenError": "the SSO session has ended; run: aws sso login --profile {profile}",
    "TokenRetrievalError": "the SSO session has ended; run: aws sso login --profile {profile}",
    "LoginTokenLoadError": "nobody is signed in; run: aws login --profile {profile}",
    "SSOError": "SSO failed; run: aws sso login --profile {profile}",
    "NoRegionError": "the profile {profile} has no region; add one to it{region_setting}",
    "InvalidRegionError": "the profile's region is not a region's name",
    "InfiniteLoopConfigError": "the profile's source_profile leads back to itself",
    "ImportError": "boto3 is not installed for this Python; run: pip install -r requirements.txt",
    "ModuleNotFoundError": "boto3 is not installed for this Python; run: pip install -r requirements.txt",
    "UnknownCredentialError": "the profile names a credential_source that botocore does not know",
    "MetadataRetrievalError": "the metadata service gave no credentials; is this machine's role attached?",
    "RefreshWithMFAUnsupportedError": "the profile asks for an MFA code, which nobody can type here; use one without",
}


def word(code: str) -> str:
    """Return an error code, or another word from the network, as it may be shown."""
    return "".join(c for c in code if c.isalnum() or c in "._-")[:60]
