"""IAM of one account: users, their tags, access keys, their last use, set Inactive.

In: a profile. Out: plain values, or ServiceError. It reads pages by IsTruncated and Marker alone, always names the
user, never indexes "the first two" keys (services.md 1.1: a user can hold more), and never deletes anything.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from keycheck.clock import Stopped
from keycheck.credential_report import Report
from keycheck.listing import ListedUser
from keycheck.model import ACCESS_KEY_ID, FIRST_CREATION, AccessKey, LastUse
from keycheck.services import Failure, ServiceError
from keycheck.services.aws_errors import aws_errors, word
from keycheck.services.aws_session import Calls, Session, make_client, open_session
from keycheck.services.pace import Pace

T = TypeVar("T")

SERVICE = "iam"
CONCURRENT_CALLS = 32
CALLS = Calls(attempts=8, mode="standard", connections=CONCURRENT_CALLS, read_timeout=20, silences=CONCURRENT_CALLS)
USERS_A_PAGE = 1000
REPORT_CALLS = Calls(attempts=2, mode="standard", connections=1, read_timeout=5, silences=2)
"""Nothing depends on the report but speed; its own throttling is harsh, and says nothing about other calls."""
NO_REPORT_YET = frozenset({"ReportNotPresent", "ReportExpired", "ReportInProgress"})
LAST_CREATION = datetime(2200, 1, 1, tzinfo=UTC)


class AwsIam:
    """One account's IAM through one client, which all threads share.

    `check_read` is asked before each attempt of the scan's, `check_write` before each attempt to disable, and of the
    reads that come after the scan. `seconds_left`: how long a credential_process may still take.
    """

    def __init__(
        self,
        profile: str,
        check_read: Callable[[], None],
        check_write: Callable[[], None],
        seconds_left: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self._profile = profile
        self._user_markers: set[str] = set()
        self._check_read = check_read
        self._session: Session = open_session(profile, SERVICE, seconds_left)
        self._pace = pace = Pace()
        self._client = make_client(self._session, SERVICE, CALLS, check_read, pace=pace)
        self._check_write = check_write
        self._asker = make_client(self._session, SERVICE, CALLS, check_write, pace=pace)
        self._reporter = make_client(self._session, SERVICE, REPORT_CALLS, check_read)
        self._sent = threading.local()
        self._writer = make_client(self._session, SERVICE, CALLS, self._before_write, pace=pace)

    def own_access_key_ids(self) -> frozenset[str]:
        return self._session.own_access_key_ids

    def _before_write(self) -> None:
        self._check_write()
        self._sent.is_one = True

    def list_users(self, marker: str | None) -> tuple[Sequence[ListedUser], str | None]:
        """Return one page of users. The account id is the one in the user's ARN."""
        more = {"Marker": marker} if marker else {}
        if marker is None:
            self._user_markers.clear()
        with aws_errors(SERVICE, "ListUsers", self._profile):
            answer = self._client.list_users(MaxItems=USERS_A_PAGE, **more)
            users = [_user(user) for user in answer["Users"]]
            return users, _next_marker(answer, self._user_markers, "ListUsers")

    def list_access_keys(
        self, user_name: str, account_id: str, *, is_after_scan: bool = False
    ) -> Sequence[AccessKey] | None:
        """Return all pages of one user's access keys; None if the user was deleted since the listing."""
        return self._all_pages(
            "ListAccessKeys",
            lambda **more: (
                self._asker.list_access_keys(UserName=user_name, **more)
                if is_after_scan
                else self._client.list_access_keys(UserName=user_name, **more)
            ),
            lambda answer: [_access_key(item, user_name, account_id) for item in answer["AccessKeyMetadata"]],
        )

    def list_user_tags(self, user_name: str) -> Mapping[str, str] | None:
        """Return all pages of one user's tags; None if the user was deleted since the listing."""
        tags = self._all_pages(
            "ListUserTags",
            lambda **more: self._asker.list_user_tags(UserName=user_name, **more),
            lambda answer: [(str(tag["Key"]), str(tag["Value"])) for tag in answer["Tags"]],
        )
        return None if tags is None else dict(tags)

    def _all_pages(self, operation: str, ask: Callable[..., Any], read: Callable[[Any], list[T]]) -> list[T] | None:
        """Return everything of one user; None if there is no such user any more."""
        found: list[T] = []
        seen: set[str] = set()
        more: dict[str, str] = {}
        while True:
            try:
                with aws_errors(SERVICE, operation, self._profile):
                    answer = ask(**more)
                    found += read(answer)
                    marker = _next_marker(answer, seen, operation)
            except ServiceError as error:
                if error.code == "NoSuchEntity":
                    return None
                raise
            if marker is None:
                return found
            more = {"Marker": marker}

    def last_used(self, access_key: AccessKey) -> LastUse:
        """Return when, by which service and where an access key was last used, by its full id: GetAccessKeyLastUsed.

        AWS's note lags by some minutes. Raises ServiceError for an answer about another user's access key.
        """
        with aws_errors(SERVICE, "GetAccessKeyLastUsed", self._profile):
            answer = self._asker.get_access_key_last_used(AccessKeyId=access_key.access_key_id)
            last = answer["AccessKeyLastUsed"]
            at = last.get("LastUsedDate")
            if at is not None:
                at = _aware(at)
            if answer["UserName"] != access_key.user_name or not (at is None or _is_sound(at)):
                text = "iam:GetAccessKeyLastUsed gave an answer about another user, or without a sound date"
                raise ServiceError(SERVICE, "GetAccessKeyLastUsed", text)
            if at is None:
                return LastUse(None)
            return LastUse(at, word(str(last["ServiceName"])) or "N/A", word(str(last["Region"])) or "N/A")

    def account_id(self) -> str:
        """Return which account this is, as STS says: GetCallerIdentity, which needs no permission."""
        client = make_client(self._session, "sts", CALLS, self._check_read)
        with aws_errors("sts", "GetCallerIdentity", self._profile):
            return _account_id(client.get_caller_identity()["Arn"])

    def root_access_keys(self) -> int:
        """Return how many access keys the root user has, as GetAccountSummary says."""
        with aws_errors(SERVICE, "GetAccountSummary", self._profile):
            count = self._client.get_account_summary()["SummaryMap"]["AccountAccessKeysPresent"]
            if not isinstance(count, int) or count < 0:
                text = "iam:GetAccountSummary did not say whether the root user has access keys"
                raise ServiceError(SERVICE, "GetAccountSummary", text)
            return count

    def is_held_back(self) -> bool:
        """Return whether AWS has refused calls because they were too many."""
        return self._pace.rate() is not None

    def credential_report(self) -> Report | None:
        """Return the credential report as it is: GetCredentialReport. None if there is none, if it is still being made,
        or if it is older than AWS keeps it.
        """
        try:
            with aws_errors(SERVICE, "GetCredentialReport", self._profile):
                answer = self._reporter.get_credential_report()
                return Report(answer["Content"].decode(), _aware(answer["GeneratedTime"]))
        except ServiceError as error:
            if error.code in NO_REPORT_YET:
                return None
            raise

    def request_credential_report(self) -> None:
        """Ask AWS to make one, unless there is one younger than four hours: GenerateCredentialReport."""
        with aws_errors(SERVICE, "GenerateCredentialReport", self._profile):
            self._reporter.generate_credential_report()

    def deactivate(self, access_key: AccessKey) -> bool:
        """Set Inactive; repeating it is harmless. False if the user or the access key is gone.

        No read afterwards decides success: IAM is eventually consistent, its 200 is what counts (services.md 1.4).
        Raises Stopped only if nothing was sent; out of time between two attempts, the outcome is unknown.
        """
        self._sent.is_one = False
        try:
            with aws_errors(SERVICE, "UpdateAccessKey", self._profile):
                answer = self._writer.update_access_key(
                    UserName=access_key.user_name, AccessKeyId=access_key.access_key_id, Status="Inactive"
                )
                if not answer["ResponseMetadata"].get("RequestId"):  # a login page, say: botocore reads any XML as done
                    text = "iam:UpdateAccessKey had an answer that is not IAM's"
                    raise ServiceError(SERVICE, "UpdateAccessKey", text, failure=Failure.UNKNOWN)
        except ServiceError as error:
            if error.code == "NoSuchEntity":
                return False
            raise
        except Stopped:
            if not self._sent.is_one:
                raise
            text = "no time was left to hear what became of iam:UpdateAccessKey"
            raise ServiceError(SERVICE, "UpdateAccessKey", text, failure=Failure.UNKNOWN) from None
        return True


def _user(item: dict[str, Any]) -> ListedUser:
    """Read one user. Without a sound id and date they are nobody who was listed before (listing.py)."""
    user_name, account_id = item["UserName"], _account_id(item["Arn"])
    user_id, created = item.get("UserId"), item.get("CreateDate")
    created = None if created is None else _aware(created)
    if not user_id or created is None or not _is_sound(created):
        return ListedUser(user_name, account_id, "", FIRST_CREATION)
    return ListedUser(user_name, account_id, str(user_id), created)


def _aware(at: datetime) -> datetime:
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)


def _is_sound(at: datetime) -> bool:
    return FIRST_CREATION <= at <= LAST_CREATION


def _account_id(arn: str) -> str:
    """`arn:aws:iam::123456789012:user/path/name` -> `123456789012`"""
    account_id = arn.split(":")[4]
    if re.fullmatch("[0-9]{12}", account_id) is None:
        raise ServiceError(SERVICE, "ListUsers", "AWS named a user without an account id")
    return account_id


def _next_marker(answer: dict[str, Any], seen: set[str], operation: str) -> str | None:
    """Return the next page's marker. IsTruncated decides, not the number of items; one `seen` would never end."""
    if not answer.get("IsTruncated") and not answer.get("Marker"):
        return None
    marker = answer.get("Marker")
    if not marker or marker in seen:
        raise ServiceError(SERVICE, operation, f"iam:{operation} says that there is more, but not where")
    seen.add(str(marker))
    return str(marker)


def _access_key(item: dict[str, Any], user_name: str, account_id: str) -> AccessKey:
    """Read one access key. Raises ServiceError for an id or a date that AWS cannot have meant: botocore reads a bare
    `0` as 1970, and an access key that old would be disabled.
    """
    access_key_id, created = item["AccessKeyId"], _aware(item["CreateDate"])
    if not _is_sound(created) or ACCESS_KEY_ID.fullmatch(access_key_id) is None:
        raise ServiceError(
            SERVICE, "ListAccessKeys", "iam:ListAccessKeys gave an access key without a sound id or date"
        )
    return AccessKey(access_key_id, user_name, account_id, str(item["Status"]), created)
