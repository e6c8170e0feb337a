"""What goes wrong with a call to AWS, in words for a person.

In: whatever boto3 raises. Out: ServiceError that says whether something may have been done. Nothing of a library
exception's text is repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keycheck.clock import Stopped
from keycheck.services import Failure, ServiceError

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


class NoAnswer(Exception):
    """Raised in place of another attempt at an endpoint that does not answer.

    `was_sent`: since the last answer, some request was on the wire and its answer was lost.
    """

    def __init__(self, was_sent: bool) -> None:
        super().__init__()
        self.was_sent = was_sent


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
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    return ""


def _service_error(service: str, operation: str, profile: str, error: Exception) -> ServiceError:
    if error_code(error):
        return _answered(service, operation, error)
    call = f"{service}:{operation}"

    def failed(text: str, **more: Any) -> ServiceError:
        return ServiceError(service, operation, text, **more)

    if isinstance(error, ClockOff):
        return failed(str(error), holds_for_run=True)
    if isinstance(error, Redirected):
        text = f"{call}: the endpoint answered {error}; nothing was done. Is a proxy in between?"
        return failed(text, holds_for_run=True)
    if isinstance(error, NoAnswer):
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


def _answered(service: str, operation: str, error: Exception) -> ServiceError:
    """Return the error for AWS's own answer."""

    def failed(text: str, **more: Any) -> ServiceError:
        return ServiceError(service, operation, text, code=code, **more)

    code = error_code(error)
    call = f"{service}:{operation}"
    if code in CREDENTIAL_CODES:
        return failed(f"{CREDENTIAL_CODES[code]} ({code} on {call})", holds_for_run=True)
    if code in PERMISSION_CODES:
        return failed(f"{call} was refused ({code}); allow it to the profile's user or role")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)  # type: ignore[attr-defined]
    failure = Failure.SERVER_ERROR if status >= 500 else Failure.REFUSED
    return failed(f"{call} failed ({word(code)}, HTTP {status})", failure=failure)


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
