"""What ListAccessKeys said of each user, from one run to the next: one file an account in `cache_dir`. Shell.

In: an account id, what a run has learned. Out: what earlier runs have. A file that is missing, damaged, of another
version, or cannot be written costs only speed: whoever is not in it is asked for. No secret is in it.

Several runs may use one folder at once: a file is put in place whole, and whichever comes last stays.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from keycheck.agenda import Kept
from keycheck.listing import CachedListing, ListedUser
from keycheck.model import ACCESS_KEY_ID, FIRST_CREATION, AccessKey

FORMAT = "keycheck listings 1"
"""Another one stands in a file that this version cannot read, and is overwritten."""
MOST_BYTES = 200_000_000
LEFTOVERS_AFTER_SECONDS = 3600.0


class ListingCache:
    """The files of one folder. `folder` None: there is no place for them (cache_dir, and no home directory)."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def load(self, account_id: str) -> Kept:
        """Return what earlier runs have kept of an account; nothing if that cannot be read."""
        if self._folder is None:
            return Kept()
        try:
            return _read(json.loads(_content(self._folder / _name(account_id)).decode()), account_id)
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return Kept()

    def save(self, account_id: str, kept: Kept) -> str | None:
        """Keep this for the next run; returns why it could not be kept."""
        return self._trying(lambda folder: _replace(folder, _name(account_id), _written(account_id, kept)))

    def why_not_written(self) -> str | None:
        """Return why no file could be written; None if one can be."""
        return self._trying(lambda folder: Path(_temporary(folder, "try", "")).unlink())

    def _trying(self, write: Callable[[Path], object]) -> str | None:
        if self._folder is None:
            return "there is no home directory; set cache_dir"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write(self._folder)
        except FileExistsError:
            return f"{self._folder} is no folder; set cache_dir"
        except OSError as error:
            return f"{self._folder}: {(error.strerror or type(error).__name__).lower()}; set cache_dir"
        return None


def _name(account_id: str) -> str:
    return f"listings-{account_id}.json"


def _content(path: Path) -> bytes:
    """Return a file's content; raises OSError for what is no file, and for one that nobody has written in earnest."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not hold the run up
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
            raise OSError
        return file.read()


def _replace(folder: Path, name: str, what: dict[str, Any]) -> None:
    """Put a file in place whole, or leave the old one."""
    temporary = _temporary(folder, name, json.dumps(what, separators=(",", ":")))
    try:
        Path(temporary).replace(folder / name)
    except OSError:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
    _sweep(folder.glob(".listings-*.tmp"))


def _temporary(folder: Path, name: str, text: str) -> str:
    """Write a file that its owner alone can read; returns its path."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".tmp", dir=folder)  # 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
    return temporary


def _sweep(temporaries: Iterable[Path]) -> None:
    """Remove what runs left that were killed while they wrote."""
    for path in temporaries:
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > LEFTOVERS_AFTER_SECONDS:
                path.unlink()


def _written(account_id: str, kept: Kept) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "account": account_id,
        "users": [
            [
                one.user.user_id,
                one.user.user_name,
                one.user.created_at.isoformat(),
                one.listed_at.isoformat(),
                [[key.access_key_id, key.status, key.create_date.isoformat()] for key in one.keys],
            ]
            for one in kept.listings.values()
        ],
        "tried": {user_id: at.isoformat() for user_id, at in kept.tried.items()},
        "ran_at": None if kept.ran_at is None else kept.ran_at.isoformat(),
    }


def _read(found: Any, account_id: str) -> Kept:
    """Read a file's content; raises ValueError, TypeError or KeyError for whatever _written cannot have written."""
    if found["format"] != FORMAT or found["account"] != account_id:
        raise ValueError
    listings = {}
    for user_id, user_name, created_at, listed_at, keys in found["users"]:
        user = ListedUser(_text(user_name), account_id, _text(user_id), _instant(created_at))
        listings[user_id] = CachedListing(user, tuple(_access_key(user, *key) for key in keys), _instant(listed_at))
    tried = {_text(user_id): _instant(at) for user_id, at in found["tried"].items()}
    return Kept(listings, tried, None if found["ran_at"] is None else _instant(found["ran_at"]))


def _access_key(user: ListedUser, access_key_id: str, status: str, created_at: str) -> AccessKey:
    if ACCESS_KEY_ID.fullmatch(access_key_id) is None:
        raise ValueError
    return AccessKey(access_key_id, user.user_name, user.account_id, _text(status), _instant(created_at))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None or instant < FIRST_CREATION:
        raise ValueError
    return instant
