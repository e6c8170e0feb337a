"""Secrets out of credstash.

In: the name of a secret. Out: its value, or ServiceError naming the name, never the value. Nothing is read before a
due action needs it, and nothing is ever written.

credstash gets explicit clients made from its own profile: left alone, it keeps the first session of the process for
every later call, whatever profile it is told (services.md 3).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from keycheck.clock import RunClock
from keycheck.services import ServiceError
from keycheck.services.aws_errors import CREDENTIAL_CODES, answered, aws_errors, error_code, error_sentence
from keycheck.services.aws_operations import read_refusal
from keycheck.services.aws_session import Calls, Session, make_client, open_session, watch
from keycheck.words.parts import cut_name

SERVICE = "credstash"
PADDED_DIGITS = 19
CALLS = Calls(attempts=3, mode="standard", connections=4, read_timeout=5, connect_timeout=3, silences=2)


class Secrets:
    """One credstash store. Its session and clients are made on first need; safe to share between threads."""

    def __init__(self, profile: str, region: str | None, clock: RunClock, table: str = "credential-store") -> None:
        self._profile = profile
        self._region = region
        self._clock = clock
        self._table = table
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._clients: tuple[Any, Any] | None = None

    def own_access_key_ids(self) -> frozenset[str]:
        """Return the access keys that reading secrets depends on; none if the profile cannot even be opened."""
        with self._lock:
            try:
                return self._opened().own_access_key_ids
            except ServiceError:
                return frozenset()

    def read(self, name: str) -> str:
        """Return the newest version of one secret, stripped of white space around it."""
        with self._lock:
            self._clock.check()
            try:
                with aws_errors(SERVICE, f"secret {name}", self._profile):
                    value = self._fetch(name)
            except ServiceError as error:
                text = f"the secret {cut_name(name)} could not be read: {self._why(error)}"
                raise ServiceError(SERVICE, "read", text) from error
        value = value.strip()
        if not value or not all("!" <= c <= "~" for c in value):
            text = f"the secret {cut_name(name)} is empty or holds characters that no token has; put it again"
            raise ServiceError(SERVICE, "read", text)
        return value

    def _opened(self) -> Session:
        if self._session is None:
            self._session = open_session(self._profile, SERVICE, self._clock.remaining_seconds)
        return self._session

    def _fetch(self, name: str) -> str:
        import credstash

        if self._clients is None:
            session = self._opened()
            kms = make_client(session, "kms", CALLS, self._clock.check, self._region)
            dynamodb = session.boto_session.resource("dynamodb", region_name=self._region, config=kms.meta.config)
            watch(dynamodb.meta.client, CALLS, self._clock.check)
            self._clients = (dynamodb, kms)
        dynamodb, kms = self._clients
        noting = _NotingTable(dynamodb.Table(self._table))
        value = str(credstash.getSecret(name, table=self._table, dynamodb=noting, kms=kms))
        if _is_unpadded(noting.version_read):
            self._check_versions(name, noting)
        return value

    def _check_versions(self, name: str, table: _NotingTable) -> None:
        """Raise if credstash has taken an older version for the newest: it compares them as text, and early ones are
        not padded with zeros, so that 9 comes after 10.
        """
        read, versions = table.version_read, table.versions(name, self._clock.check)
        newest = max(int(version) for version in versions if version.isascii() and version.isdigit())
        if int(read) < newest:
            text = f"its version {int(read)} is read in place of {newest}, since early versions are not padded with "
            text += "zeros and are compared as text; delete all of them (credstash delete) and put it again"
            raise ServiceError(SERVICE, "read", text)

    def _why(self, error: ServiceError) -> str:
        """Return why. credstash's exceptions share no base class; their texts, which KMS wrote, are left out."""
        cause = error.__cause__
        match type(cause).__name__:
            case "ItemNotFound":
                return "there is no secret of that name in the store"
            case "KmsError":
                return _why_kms(cause)
            case "IntegrityError":
                return "its integrity check failed: it was damaged or tampered with; put it again"
            case "ImportError" | "ModuleNotFoundError":
                return "credstash is not installed for this Python; run: pip install -r requirements.txt"
        if cause is not None and error_code(cause) == "ResourceNotFoundException":
            table = cut_name(self._table, quote="")
            return (
                f"there is no table {table} in that profile's account and region; look at credstash_table, "
                "credstash_region and credstash_aws_profile_name"
            )
        if isinstance(cause, KeyError | ValueError | TypeError | AttributeError):
            return "its item in the store is damaged, or not one of credstash's; put it again"
        return error.text


def _why_kms(cause: BaseException | None) -> str:
    """credstash calls everything a KmsError that KMS answers; what it was is the exception beneath."""
    beneath = cause and (cause.__cause__ or cause.__context__)
    code = error_code(beneath) if beneath else ""
    if code in CREDENTIAL_CODES and beneath is not None:
        return answered("kms", "Decrypt", beneath).text
    if code in ("DisabledException", "KMSInvalidStateException"):
        return f"the store's KMS key is disabled or about to be deleted ({code}); enable it"
    refusal = read_refusal(error_sentence(beneath)) if beneath else read_refusal("")
    key = refusal.resource or "the store's key"
    on = f" on {key}" if refusal.denied_by else ""
    return f"KMS refused to decrypt it{on}; {refusal.advice(f'allow kms:Decrypt on {key} to this profile')}"


class _NotingTable:
    """The store's table, as credstash asks for it; it notes which version was read."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self.version_read = ""

    def Table(self, _name: str) -> _NotingTable:  # noqa: N802 - boto3's name
        return self

    def query(self, **asked: Any) -> Any:
        answer = self._table.query(**asked)
        self.version_read = str(answer["Items"][0].get("version", "")) if answer["Items"] else ""
        return answer

    def versions(self, name: str, check: Callable[[], None]) -> list[str]:
        """Return all versions of a secret, all pages."""
        found: list[str] = []
        more: dict[str, Any] = {}
        while True:
            check()
            page = self._table.query(
                KeyConditionExpression="#name = :name",
                ExpressionAttributeNames={"#name": "name", "#version": "version"},
                ExpressionAttributeValues={":name": name},
                ProjectionExpression="#version",
                ConsistentRead=True,
                **more,
            )
            found += [str(item["version"]) for item in page["Items"]]
            if not page.get("LastEvaluatedKey"):
                return found
            more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def _is_unpadded(version: str) -> bool:
    """Return whether a version is a number as credstash wrote it before it padded them to 19 digits."""
    return version.isascii() and version.isdigit() and len(version) < PADDED_DIGITS
