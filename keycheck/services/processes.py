"""Programs that an AWS profile names (credential_process): none outlives what it was started for. Shell.

In: a profile's command, the seconds that there are. Out: what the program printed, to botocore; or ServiceError that
names profile and command. botocore itself waits for ever, and a program that waits for somebody would be left behind by
each run (99designs/aws-vault 1169).
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from keycheck.services import ServiceError
from keycheck.tokens import kind_of_secret

POLL_SECONDS = 0.05
MARGIN_SECONDS = 0.5
"""So long before time is over a program is ended: then there is still somebody to say so."""
COMMAND_CHARACTERS = 100

_running: set[CredentialProcess] = set()


class CredentialProcess:
    """One running program, in the place of subprocess.Popen: botocore asks for no more than this of it."""

    def __init__(
        self, command: Sequence[str], *, profile: str, service: str, seconds_left: Callable[[], float]
    ) -> None:
        self._command = command
        self._profile = profile
        self._service = service
        self._seconds_left = seconds_left
        # A group of its own lets all of it be ended, also what a program that is gone has left behind. At a terminal it
        # stays in ours: another group could not ask the person who sits there.
        self._has_group = not os.isatty(0)
        self._process = subprocess.Popen(  # noqa: S603 - the user's own configuration names it
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0 if self._has_group else None
        )
        _running.add(self)

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    def communicate(self) -> tuple[bytes, bytes]:
        """Wait for its end, no longer than there is time; then it is killed, with all that it has started."""
        while True:
            with suppress(subprocess.TimeoutExpired):
                printed = self._process.communicate(timeout=POLL_SECONDS)
                _running.discard(self)
                return printed
            if self._seconds_left() <= MARGIN_SECONDS:
                self.end()
                text = f"the credential_process of the profile {self._profile} did not end in time, and was ended: "
                text += f"{shown_command(self._command)}; run it by hand to see what it waits for"
                raise ServiceError(self._service, "credentials", text, holds_for_run=True)

    def end(self) -> None:
        """Kill it, and all that it has started."""
        _running.discard(self)
        if self._has_group:
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
        for pid in (self._process.pid, *_descendants(self._process.pid)):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=POLL_SECONDS)


def end_all() -> None:
    """End whatever still runs: the process is about to."""
    for one in list(_running):
        one.end()


def watch_processes(boto_session: Any, service: str, seconds_left: Callable[[], float]) -> None:
    """Let a session start its profiles' programs through CredentialProcess, those of its source profiles too.

    botocore has no public way to say how a program is started.
    """
    from botocore.credentials import ProcessProvider

    core = boto_session._session  # noqa: SLF001

    def popen(profile: str) -> Callable[..., CredentialProcess]:
        def start(command: Sequence[str], **_: Any) -> CredentialProcess:
            return CredentialProcess(command, profile=profile, service=service, seconds_left=seconds_left)

        return start

    def make(profile_name: str) -> Any:
        return ProcessProvider(profile_name, lambda: core.full_config, popen=popen(profile_name))

    for provider in core.get_component("credential_provider").providers:
        if isinstance(provider, ProcessProvider):
            provider._popen = popen(provider._profile_name)  # noqa: SLF001
        builder = getattr(provider, "_profile_provider_builder", None)
        if builder is not None:
            builder._create_process_provider = make  # noqa: SLF001


def shown_command(command: Sequence[str]) -> str:
    """Return a command as it may be shown: up to its first option, since what follows one may be a secret."""
    words = []
    for word in command:
        if word.startswith("-") or "=" in word or kind_of_secret(word) is not None:
            words.append("...")
            break
        words.append(word)
    return " ".join(words)[:COMMAND_CHARACTERS]


def _descendants(pid: int) -> list[int]:
    """Return what a process has started, and what that has: as /proc says; nothing where there is none."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            parent = int(entry.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(entry.parent.name))
    found = list(parents.get(pid, ()))
    for one in found:
        found += parents.get(one, ())
    return found
