"""Slack: send one message, and find a person by e-mail.

In: a Slack id and a draft, or an e-mail address. Out: nothing, or an id; or ServiceError that says whether the message
may have gone out all the same.
It never sends a message twice: the library's own retries are off (it re-sends chat.postMessage after a dropped
connection, services.md 5.2), and only a 429, which Slack did not serve, is tried again.
"""

from __future__ import annotations

import http.client
import re
import threading
import urllib.error
import urllib.request
from functools import partial
from typing import Any

from keycheck.clock import RunClock, Stopped
from keycheck.services import Failure, ServiceError
from keycheck.services.causes import PROXY_SIGN_IN, is_redirect, obstacle, redirected
from keycheck.services.health import Health, RateLimited, retry_after, was_never_sent
from keycheck.services.slack_errors import About, slack_error
from keycheck.words.message import SlackDraft
from keycheck.words.parts import WHY_GONE, one_line

SERVICE = "Slack"
TIMEOUT_SECONDS = 10
CERTIFICATES = "SSL_CERT_FILE"
"""The variable that names a file of trusted certificates to urllib."""


class SlackMessages:
    """One workspace in one run; safe to share between threads."""

    def __init__(self, token: str, base_url: str | None, clock: RunClock) -> None:
        self._health = Health(SERVICE, clock)
        self._lookup_health = Health(SERVICE, clock)
        self._lock = threading.Lock()
        self._token = token
        self._base_url = base_url
        self._client: Any = None

    def send(self, slack_id: str, draft: SlackDraft) -> None:
        """Post one message; returns only if Slack answered ok."""
        self._health.call("chat.postMessage", lambda: self._post(slack_id, draft))

    def _post(self, slack_id: str, draft: SlackDraft) -> None:
        try:
            client = self._connected()
            answer = client.chat_postMessage(
                channel=slack_id, text=draft.text, blocks=list(draft.blocks), unfurl_links=False, unfurl_media=False
            )
            if answer.get("ok") is not True:
                raise _unexpected(slack_id, "HTTP 200")
        except (ServiceError, RateLimited, Stopped):
            raise
        except Exception as error:
            raise _service_error(error, slack_id) from error

    def find_user(self, email: str) -> str | None:
        """Return the Slack id of who has this e-mail address; None if nobody does, or who has it has left.

        A bot that may not look people up can still send: the two do not turn each other off.
        """
        return self._lookup_health.call("users.lookupByEmail", lambda: self._look_up(email))

    def why_gone(self, slack_id: str) -> str | None:
        """Return Slack's word for why nobody reads messages to this person; None if they are there.

        Slack answers ok to messages to people who have left (services.md 5.3), so only this can tell. If it says that
        the token is dead, or nothing at all, no message is tried either. A rate limit is not waited out: messages come
        first.
        """
        return self._health.call("users.info", lambda: self._why_gone(slack_id))

    def who_am_i(self) -> tuple[str, frozenset[str] | None]:
        """Return the workspace and the bot, and its scopes, None if Slack does not say them: for --check."""
        return self._health.call("auth.test", self._who_am_i)

    def _who_am_i(self) -> tuple[str, frozenset[str] | None]:
        try:
            answer = self._connected().auth_test()
        except (ServiceError, RateLimited, Stopped):
            raise
        except Exception as error:
            failure = _service_error(error, "auth.test")
            if isinstance(failure, RateLimited):
                raise failure from error
            text = failure.text.replace("the message to auth.test", "auth.test").replace(
                "; the next run tries again", ""
            )
            raise ServiceError(SERVICE, "auth.test", text, code=failure.code) from error
        scopes = _header(answer.headers, "x-oauth-scopes")
        who = f"{one_line(str(answer.get('user') or 'a bot'))} of {one_line(str(answer.get('team') or 'a workspace'))}"
        return who, None if scopes is None else frozenset(one.strip() for one in scopes.split(","))

    def _why_gone(self, slack_id: str) -> str | None:
        try:
            user = self._connected().users_info(user=slack_id).get("user")
        except (ServiceError, RateLimited, Stopped):
            raise
        except Exception as error:
            failure = _service_error(error, slack_id)
            if isinstance(failure, RateLimited):
                text = "Slack is limiting the rate of users.info; the next run asks again"
                raise ServiceError(SERVICE, "users.info", text, code="429") from error
            if failure.code in WHY_GONE:
                return failure.code
            if failure.code == "user_not_visible":
                return None
            if failure.holds_for_run and failure.code != "missing_scope":
                raise failure from error  # it is about the token, and so about all messages
            raise _lookup_error(failure, error, "users.info", "users:read", holds_for_run=False) from error
        if not isinstance(user, dict) or user.get("id") != slack_id:
            raise ServiceError(SERVICE, "users.info", "Slack's answer to users.info is about nobody who was asked for")
        return "deleted" if user.get("deleted") is True else "is_bot" if user.get("is_bot") is True else None

    def _look_up(self, email: str) -> str | None:
        try:
            user = self._connected().users_lookupByEmail(email=email).get("user")
        except (ServiceError, RateLimited, Stopped):
            raise
        except Exception as error:
            failure = _service_error(error, email)
            if isinstance(failure, RateLimited):
                raise failure from error
            if failure.code == "users_not_found":
                return None
            method, scope = "users.lookupByEmail", "users:read.email"
            raise _lookup_error(failure, error, method, scope, holds_for_run=failure.holds_for_run) from error
        if not isinstance(user, dict) or re.fullmatch(r"[UW][A-Z0-9]{2,}", str(user.get("id"))) is None:
            raise ServiceError(SERVICE, "users.lookupByEmail", "Slack's answer to users.lookupByEmail names nobody")
        return None if user.get("deleted") is True else str(user["id"])

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                from slack_sdk import WebClient

                base_url = _with_slash(self._base_url or WebClient.BASE_URL)
                client = WebClient(self._token, base_url, timeout=TIMEOUT_SECONDS, retry_handlers=[])
                # slack_sdk has no public way to its opener, which follows a redirect with the token, in clear too
                client._perform_urllib_http_request_internal = partial(_open, client.proxy)  # type: ignore[method-assign] # noqa: SLF001
                self._client = client
            return self._client


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves a 3xx as the answer that it is: urllib raises HTTPError for one that nobody handles."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _open(proxy: str | None, url: str, request: urllib.request.Request) -> dict[str, Any]:
    """Make one request as slack_sdk does, but for redirects; see its BaseClient for what is returned."""
    if not url.lower().startswith(("https://", "http://")):
        raise ValueError("not a web address")
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if proxy:
        handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
    with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT_SECONDS) as answer:
        charset = answer.headers.get_content_charset() or "utf-8"
        return {"status": answer.status, "headers": answer.headers, "body": answer.read().decode(charset)}


def _service_error(error: Exception, slack_id: str) -> ServiceError | RateLimited:
    """Three families of exceptions come out of slack_sdk: its own, urllib's and OSError's (services.md 5.2)."""
    response = getattr(error, "response", None)
    raw = response if isinstance(response, dict) else {}  # what slack_sdk keeps of an answer that is not JSON
    status = raw.get("status") or getattr(response, "status_code", None)
    if isinstance(error.__context__, urllib.error.HTTPError):  # the answer was not ok, and its body broke off
        status = status or error.__context__.code
    if isinstance(status, int):
        if status == 429:
            return RateLimited(
                retry_after(_header(raw.get("headers") or getattr(response, "headers", None), "retry-after"))
            )
        if is_redirect(status):
            return _redirected(status, error, raw.get("headers") or getattr(response, "headers", None))
        data = getattr(response, "data", None)
        code = data.get("error") if isinstance(data, dict) else None
        if isinstance(code, str) and re.fullmatch(r"[a-z][a-z0-9_]{0,60}", code):
            return _refused(slack_id, code, status)
        what = PROXY_SIGN_IN if status == 407 else f"HTTP {status}"
        return _unexpected(slack_id, what, _by_status(status))
    if isinstance(error, ImportError):
        text = "slack_sdk is not installed for this Python; run: pip install -r requirements.txt"
        return ServiceError(SERVICE, "chat.postMessage", text, holds_for_run=True)
    between = obstacle(error, CERTIFICATES)
    if between is not None or was_never_sent(error):
        text = f"no connection to Slack for the message to {slack_id} ({between or _kind(error)})"
        text += "" if between else "; the next run tries again"
        return ServiceError(SERVICE, "chat.postMessage", text, failure=Failure.NO_ANSWER)
    if not isinstance(error, OSError | http.client.HTTPException):
        return _unexpected(slack_id, "an answer that cannot be read")
    text = f"no answer to the message to {slack_id} ({_kind(error)}); it may have arrived, so it counts as sent"
    return ServiceError(SERVICE, "chat.postMessage", text, failure=Failure.UNKNOWN)


def _lookup_error(
    error: ServiceError, cause: Exception, method: str, scope: str, *, holds_for_run: bool
) -> ServiceError:
    """Return the error for a look-up that failed: it is a read, so nothing may have happened."""
    why = error.code or obstacle(cause, CERTIFICATES)
    what = f" ({why})" if why else ""
    advice = f"the bot needs the scope {scope}" if error.code == "missing_scope" else "the next run asks again"
    return ServiceError(
        SERVICE,
        method,
        f"Slack did not answer {method}{what}; {advice}",
        failure=Failure.NO_ANSWER if error.failure is Failure.UNKNOWN else error.failure,
        holds_for_run=holds_for_run,
        code=error.code,
    )


def _refused(slack_id: str, code: str, status: int) -> ServiceError:
    """Return the error for Slack's own words: what they say goes before the status that they came with."""
    meant = slack_error(code)
    is_about_all = meant.about is About.ALL
    what = "all messages" if is_about_all else f"the message to {slack_id}"  # several in flight are one line
    advice = f"; {meant.advice}" if meant.advice else ""
    text = f"Slack refused {what} ({code}){advice}"
    if meant.failure is Failure.UNKNOWN:
        text = f"Slack failed on {what} ({code}); it may have arrived, so it counts as sent"
    return ServiceError(
        SERVICE,
        "chat.postMessage",
        text,
        failure=meant.failure if status < 500 or meant.failure is Failure.UNKNOWN else Failure.SERVER_ERROR,
        holds_for_run=is_about_all,
        code=code,
    )


def _redirected(status: int, error: Exception, headers: Any) -> ServiceError:
    """Every further call would be sent away too. Where the body broke off, only urllib has the headers."""
    if isinstance(error.__context__, urllib.error.HTTPError):
        headers = error.__context__.headers
    text = f"Slack's address answered {redirected(status, _header(headers, 'location'))}; nothing was delivered. "
    text += "Look at slack_api_base_url, and for a proxy in between"
    return ServiceError(SERVICE, "chat.postMessage", text, holds_for_run=True)


def _by_status(status: int) -> Failure:
    return Failure.SERVER_ERROR if status >= 500 else Failure.REFUSED


def _unexpected(slack_id: str, what: str, failure: Failure = Failure.REFUSED) -> ServiceError:
    """HTTP 5xx, the login page of a proxy: not ok, so not delivered."""
    text = f"Slack refused the message to {slack_id} ({what}, not Slack's own words); the next run tries again"
    return ServiceError(SERVICE, "chat.postMessage", text, failure=failure)


def _header(headers: Any, name: str) -> str | None:
    for key, value in dict(headers or {}).items():
        if str(key).lower() == name:
            return str(value[0] if isinstance(value, list) else value)
    return None


def _kind(error: Exception) -> str:
    """Return the innermost name, such as ConnectionRefusedError; never the text, which can hold the request."""
    reason = getattr(error, "reason", None)
    return type(reason if isinstance(reason, Exception) else error).__name__


def _with_slash(url: str) -> str:
    """slack_sdk joins by urljoin, which would cut `/api` off an address without a slash at its end."""
    return url if url.endswith("/") else url + "/"
