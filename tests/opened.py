"""What a run opens, in process: an account in memory, and what was opened of it. No test stands here."""

from __future__ import annotations

from dataclasses import dataclass, field

from keycheck.services import Claims, Iam, Issues, Messages
from sandbox.in_memory import MemoryAccount


@dataclass
class Opened:
    """keycheck.services.Outside: an account in memory, what was opened of it, and what opening one of it raises."""

    account: MemoryAccount
    opened: list[str] = field(default_factory=list)
    errors: dict[str, Exception] = field(default_factory=dict)

    def _open(self, what: str) -> None:
        self.opened.append(what)
        if what in self.errors:
            raise self.errors[what]

    def open_iam(self, profile: str) -> Iam:
        self._open(f"iam {profile}")
        return self.account.open_iam(profile)

    def open_claims(self) -> Claims:
        self._open("claims")
        return self.account.open_claims()

    def open_issues(self) -> Issues:
        self._open("issues")
        return self.account.open_issues()

    def open_messages(self) -> Messages:
        self._open("messages")
        return self.account.open_messages()

    def secret_access_key_ids(self) -> frozenset[str]:
        return frozenset()
