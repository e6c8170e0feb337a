"""The calls to one Jira: signed in once, none repeated that may have had an effect, each failure in plain words.

In: python-jira's requests as callables, JSON paths. Out: what they give, or ServiceError that says whether something
may have been done. Nothing of the credentials is repeated, whatever Jira, or a proxy in between, answers.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from keycheck.clock import RunClock, Stopped
from keycheck.services import Failure, ServiceError
from keycheck.services.causes import PROXY_SIGN_IN, is_redirect, obstacle, redirected
from keycheck.services.health import Health, RateLimited, retry_after, was_never_sent
from keycheck.services.jira_refusals import CAPTCHA, CREATE, OPERATIONS, TOO_LARGE, is_gateway, sign_in_advice
from keycheck.words.issue import issue_refused
from keycheck.words.parts import cut_name

SERVICE = "Jira"
TIMEOUT_SECONDS = (3.05, 10)
"""To connect, and between two bytes of an answer."""
PAGE_ADDRESS = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?")

T = TypeVar("T")


class JiraCalls:
    """One Jira in one run; safe to share between threads. `client` is there once `connect` has signed in."""

    def __init__(
        self,
        address: str,
        credentials: tuple[str | None, str],
        *,
        project_key: str,
        issue_type: str,
        clock: RunClock,
    ) -> None:
        self._address = address.rstrip("/")
        self._email, self._token = credentials
        self._project_key = project_key
        self._issue_type = issue_type
        self._health = Health(SERVICE, clock)
        self._lock = threading.Lock()
        self._deployment: object = None
        self._base_url: object = None
        self.client: Any = None

    @property
    def is_cloud(self) -> bool:
        return bool(self.client.deploymentType == "Cloud")

    @property
    def browse_address(self) -> str | None:
        """Return where people can open an issue: what Jira says of itself, else the address that was set; None if that
        is the API's alone (pycontribs/jira 2368).
        """
        said = self._base_url
        if isinstance(said, str) and len(said) <= 200 and PAGE_ADDRESS.fullmatch(said) and not is_gateway(said):
            return said.rstrip("/")
        return None if is_gateway(self._address) else self._address

    def connect(self) -> None:
        """Sign in: GET serverInfo (Cloud or Server?) and GET /myself (is the token alive?)."""
        with self._lock:
            if self.client is None:
                client = self.call("serverInfo", self._make_client)
                self.call("myself", lambda: _require_somebody(client.myself()), is_sign_in=True)
                self.client = client

    def _make_client(self) -> Any:
        from jira import JIRA

        auth: dict[str, Any] = (
            {"basic_auth": (self._email, self._token)} if self._email else {"token_auth": self._token}
        )
        client: Any = JIRA(
            server=self._address, timeout=TIMEOUT_SECONDS, max_retries=0, logging=False, get_server_info=False, **auth
        )
        client._session.hooks["response"].append(_refuse)  # noqa: SLF001 - python-jira has no public way to its session
        about = client.server_info()
        client.deploymentType = self._deployment = at(about, "deploymentType")
        self._base_url = at(about, "baseUrl")
        return client

    def get(self, path: str, asked: Mapping[str, Any] | None = None) -> Any:
        """python-jira's own readers drop what tells a last page from a cut one, and keep what is no list at all."""
        return self.client._get_json(path, params=asked)  # noqa: SLF001

    def write(self, method: str, path: str, what: Mapping[str, Any]) -> None:
        """python-jira's own writers take whatever is 2xx for done, a login page included: Jira says 204."""
        url = self.client._get_url(path)  # noqa: SLF001
        response = self.client._session.request(method, url, data=json.dumps(what))  # noqa: SLF001
        if response.status_code != 204:
            raise TypeError("unexpected answer")

    def call(self, operation: str, request: Callable[[], T], *, is_write: bool = False, is_sign_in: bool = False) -> T:
        def attempt() -> T:
            try:
                return request()
            except (ServiceError, RateLimited, Stopped):
                raise
            except Exception as error:
                raise self._service_error(operation, error, is_write=is_write, is_sign_in=is_sign_in) from error

        return self._health.call(operation, attempt)

    def _service_error(
        self, operation: str, error: Exception, *, is_write: bool, is_sign_in: bool
    ) -> ServiceError | RateLimited:
        status = getattr(error, "status_code", None)
        response = getattr(error, "response", None)
        if isinstance(status, int) and is_redirect(status):
            away = redirected(status, getattr(response, "headers", {}).get("Location"))
            text = f"{self._address} answered {operation} with {away}; nothing was done. Look at jira_server_address"
            return ServiceError(SERVICE, operation, text, holds_for_run=True)
        if isinstance(status, int) and status >= 400:
            if status == 407:
                return ServiceError(SERVICE, operation, f"Jira was not reached: {PROXY_SIGN_IN}", holds_for_run=True)
            if status == 429:
                return RateLimited(retry_after(getattr(response, "headers", {}).get("Retry-After")))
            return self._answered(operation, status, response, is_write=is_write, is_sign_in=is_sign_in)
        if isinstance(error, ImportError):
            text = "jira is not installed for this Python; run: pip install -r requirements.txt"
            return ServiceError(SERVICE, operation, text, holds_for_run=True)
        between = obstacle(error, "REQUESTS_CA_BUNDLE")
        if between is not None or was_never_sent(error):
            text = f"no connection to {self._address} ({between or _kind(error)}); no issues filed until it answers"
            return ServiceError(SERVICE, operation, text, failure=Failure.NO_ANSWER)
        if _module(error).startswith(("requests", "urllib3")) or isinstance(error, OSError):
            if isinstance(error, ValueError):  # requests' JSONDecodeError is one, and an OSError too
                return self._not_jira(operation, is_write=is_write)
            text = f"no answer from Jira to {operation} ({_kind(error)})"
            return ServiceError(SERVICE, operation, text, failure=_unheard(is_write=is_write))
        return self._not_jira(operation, is_write=is_write)

    def _without_credentials(self, text: str) -> str:
        """Hide the credentials: a text of Jira's, or of a proxy's in between, may repeat what it was sent."""
        basic = base64.b64encode(f"{self._email}:{self._token}".encode()).decode()
        for secret in (basic, self._token, self._email or ""):
            text = text.replace(secret, "***") if secret else text
        for name in (self._project_key, self._issue_type):
            text = text.replace(name, cut_name(name, quote="")) if name else text
        return text

    def _not_jira(self, operation: str, *, is_write: bool) -> ServiceError:
        text = f"{self._address} did not answer like Jira to {operation} (a login page?); look at jira_server_address"
        return ServiceError(
            SERVICE, operation, text, failure=Failure.UNKNOWN if is_write else Failure.REFUSED, holds_for_run=True
        )

    def _not_allowed(
        self, failed: Callable[..., ServiceError], operation: str, status: int, response: Any
    ) -> ServiceError:
        """Return the error for a sign-in, or a project, that is not the account's."""
        if "captcha" in _denied(response).lower():
            return failed(f"Jira refused {operation} (HTTP {status}): {CAPTCHA}", holds_for_run=True)
        is_cloud = None if self._deployment is None else self._deployment == "Cloud"
        advice = sign_in_advice(has_email=bool(self._email), is_cloud=is_cloud, address=self._address)
        what = f"the account may not do this in {cut_name(self._project_key, quote='')}"
        if operation in ("serverInfo", "myself"):
            what = "the token is dead or wrong"
        return failed(
            f"Jira refused {operation} (HTTP {status}): {what}; no issues filed this run. {advice}", holds_for_run=True
        )

    def _out_of_scope(self, failed: Callable[..., ServiceError], operation: str) -> ServiceError:
        """Return the error for one call that is refused to a token that has just signed in: it is no dead token. What
        nothing can be filed without turns Jira off for the run.
        """
        known = OPERATIONS[operation]
        text = f"Jira refused {operation} (HTTP 401), though it had taken the token to sign in: a scoped token needs "
        text += f"the scope {known.scope} for it"
        text += f", and the account {known.permission}" if known.permission else "; no issues filed this run"
        return failed(text, holds_for_run=not known.permission)

    def _answered(
        self, operation: str, status: int, response: Any, *, is_write: bool, is_sign_in: bool
    ) -> ServiceError:
        """Return the error for an answer that is not ok. What would be the same for every further call turns Jira off
        for the run.
        """

        def failed(text: str, **more: Any) -> ServiceError:
            return ServiceError(SERVICE, operation, text, code=str(status), **more)

        known = OPERATIONS[operation]
        if status == 413:
            return failed(f"{operation} was refused as too large (HTTP 413): {TOO_LARGE}")
        if status == 401 and self.client is not None:
            return self._out_of_scope(failed, operation)
        if status == 403 and known.is_about_one:
            return failed(f"Jira refused {operation} (HTTP 403); {known.is_about_one}")
        if status == 401 or (status == 403 and not known.permission):
            return self._not_allowed(failed, operation, status, response)
        if status >= 500:
            return failed(f"Jira failed on {operation} (HTTP {status})", failure=_unheard(is_write=is_write))
        hide = self._without_credentials  # before anything is cut: a token cut short is no whole one to be found
        field_errors, messages = _refusal(response)
        if operation == CREATE:
            shown = {hide(name): hide(said) for name, said in field_errors.items()}
            return failed(issue_refused(shown, [hide(said) for said in messages], self._issue_type), holds_for_run=True)
        if known.permission:
            said = " ".join(hide("; ".join([*messages, *field_errors.values()])).split())[:200]
            why = f": {said}" if said else " and gave no reason"
            return failed(f"Jira refused {operation} (HTTP {status}){why}; allow the account {known.permission}")
        if is_sign_in or operation == "serverInfo":
            return failed(f"Jira refused {operation} (HTTP {status}); look at jira_server_address", holds_for_run=True)
        return failed(f"Jira refused {operation} (HTTP {status})")


def _unheard(*, is_write: bool) -> Failure:
    """Nobody said what became of a request: only one that writes may have done something."""
    return Failure.UNKNOWN if is_write else Failure.NO_ANSWER


class _Refused(Exception):
    """An answer that is no success, as it came: python-jira stumbles over odd bodies, and requests would follow a
    redirect with a second POST.
    """

    def __init__(self, response: Any) -> None:
        super().__init__()
        self.status_code: int = response.status_code
        self.response = response


def _refuse(response: Any, **_: Any) -> None:
    if response.status_code >= 300:
        with suppress(OSError):
            _ = response.content  # read, so that the connection is free again
        raise _Refused(response)


def _denied(response: Any) -> str:
    return str(getattr(response, "headers", {}).get("X-Authentication-Denied-Reason", ""))


def _refusal(response: Any) -> tuple[Mapping[str, str], list[str]]:
    """`errors` by field, and `errorMessages`, of a 400 (python-jira keeps only the joined values)."""
    try:
        body = response.json()
    except Exception:  # noqa: BLE001 - a body that is not JSON has many exceptions and one meaning: no reason given
        return {}, []
    if not isinstance(body, dict):
        return {}, []
    errors, messages = body.get("errors"), body.get("errorMessages")
    return (
        {str(name): str(said) for name, said in errors.items()} if isinstance(errors, dict) else {},
        [str(said) for said in messages] if isinstance(messages, list) else [],
    )


def at(value: Any, *path: str) -> Any:
    """Return a value deep in parsed JSON; None if the answer is of another shape."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _require_somebody(myself: Any) -> None:
    """Cloud names an accountId, Server a name and a key; an answer that names nobody is no sign-in."""
    if not any(at(myself, name) and isinstance(myself[name], str) for name in ("accountId", "name", "key")):
        raise TypeError("unexpected answer")


def _module(error: Exception) -> str:
    return type(error).__module__


def _kind(error: Exception) -> str:
    return type(error).__name__
