"""What was listed comes back as it was, from a file that its owner alone reads; what is wrong with it costs speed."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keycheck.agenda import Kept
from keycheck.listing import CachedListing, ListedUser
from keycheck.model import AccessKey
from keycheck.services.listing_cache import FORMAT, LEFTOVERS_AFTER_SECONDS, ListingCache
from tests.builders import ACCOUNT, DAY, NOW, SECOND

ANN = ListedUser("ann", ACCOUNT, "AIDAANN", NOW - 400 * DAY)
KEYS = (
    AccessKey("AKIA000000000000ANN1", "ann", ACCOUNT, "Active", NOW - 20 * DAY),
    AccessKey("AKIA000000000000ANN2", "ann", ACCOUNT, "Inactive", NOW - 30 * DAY + SECOND / 7),
)
KEPT = Kept({"AIDAANN": CachedListing(ANN, KEYS, NOW)}, {"AIDABOB": NOW - DAY}, NOW)


def file_of(folder: Path) -> Path:
    return folder / f"listings-{ACCOUNT}.json"


def saved(folder: Path, kept: Kept = KEPT) -> dict[str, Any]:
    assert ListingCache(folder).save(ACCOUNT, kept) is None
    found: dict[str, Any] = json.loads(file_of(folder).read_text(encoding="utf-8"))
    return found


def test_what_is_kept_comes_back_as_it_was(tmp_path: Path) -> None:
    saved(tmp_path)
    assert ListingCache(tmp_path).load(ACCOUNT) == KEPT
    assert ListingCache(tmp_path).load("999999999999") == Kept()


NAMES = st.text("abcXYZ019+=,.@_-", min_size=1, max_size=64)
INSTANTS = st.datetimes(
    NOW.replace(year=2010, tzinfo=None), NOW.replace(year=2090, tzinfo=None), timezones=st.just(UTC)
)


@st.composite
def listings(draw: st.DrawFn) -> CachedListing:
    user = ListedUser(draw(NAMES), ACCOUNT, draw(st.text("AID0", min_size=16)), draw(INSTANTS))
    ids = draw(st.lists(st.from_regex("AKIA[A-Z0-9]{16}", fullmatch=True), max_size=3))
    keys = [
        AccessKey(
            one, user.user_name, ACCOUNT, draw(st.sampled_from(["Active", "Inactive", "Éxpired"])), draw(INSTANTS)
        )
        for one in ids
    ]
    return CachedListing(user, tuple(keys), draw(INSTANTS))


@given(st.lists(listings(), max_size=4))
def test_any_listing_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, found: list[CachedListing]) -> None:
    folder = tmp_path_factory.mktemp("cache")
    kept = Kept({one.user.user_id: one for one in found}, {one.user.user_id: one.listed_at for one in found})
    saved(folder, kept)
    assert ListingCache(folder).load(ACCOUNT) == kept


def test_only_its_owner_can_read_it_also_in_a_folder_that_was_there(tmp_path: Path) -> None:
    os.umask(os.umask(0))
    saved(tmp_path / "new" / "folder")
    saved(tmp_path)
    assert stat.S_IMODE((tmp_path / "new" / "folder").stat().st_mode) == 0o700
    for folder in (tmp_path, tmp_path / "new" / "folder"):
        assert stat.S_IMODE(file_of(folder).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda _: "", id="empty"),
        pytest.param(lambda text: text[: len(text) // 2], id="cut"),
        pytest.param(lambda _: "[" * 100_000, id="deep"),
        pytest.param(lambda _: "null", id="nothing"),
        pytest.param(lambda _: "[]", id="a list"),
        pytest.param(lambda text: text.replace(FORMAT, "keycheck listings 2"), id="another version's"),
        pytest.param(lambda text: text.replace(ACCOUNT, "999999999999"), id="another account's"),
        pytest.param(lambda text: text.replace("AKIA000000000000ANN1", "ANN1"), id="an id that is none"),
        pytest.param(lambda text: text.replace('"Active"', "1"), id="a status that is none"),
        pytest.param(lambda text: text.replace('"Active",', ""), id="no status"),
        pytest.param(lambda text: text.replace('"ann"', '""'), id="no user name"),
        pytest.param(lambda text: text.replace(NOW.isoformat(), "2026-11-23"), id="a day"),
        pytest.param(lambda text: text.replace(NOW.isoformat(), "1999-11-23T00:00:00+00:00"), id="before AWS"),
        pytest.param(lambda text: text.replace('"tried"', '"died"'), id="without a part"),
        pytest.param(lambda text: text.replace("ann", "\ud800").encode("utf-8", "surrogatepass"), id="no UTF-8"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_none_and_the_next_run_writes_a_sound_one(tmp_path: Path, spoil: Any) -> None:
    text = json.dumps(saved(tmp_path), separators=(",", ":"))
    spoiled = spoil(text)
    assert spoiled != text
    file_of(tmp_path).write_bytes(spoiled if isinstance(spoiled, bytes) else spoiled.encode())
    assert ListingCache(tmp_path).load(ACCOUNT) == Kept()
    saved(tmp_path)
    assert ListingCache(tmp_path).load(ACCOUNT) == KEPT


def test_what_is_no_file_is_none_and_does_not_hold_a_run_up(tmp_path: Path) -> None:
    os.mkfifo(file_of(tmp_path))
    assert ListingCache(tmp_path).load(ACCOUNT) == Kept()
    file_of(tmp_path).unlink()
    file_of(tmp_path).mkdir()
    assert ListingCache(tmp_path).load(ACCOUNT) == Kept()
    assert ListingCache(tmp_path).save(ACCOUNT, KEPT) == f"{tmp_path}: is a directory; set cache_dir"
    assert list(tmp_path.iterdir()) == [file_of(tmp_path)], "and leaves nothing behind"


def test_where_there_is_no_folder_nothing_is_kept_and_that_is_said(tmp_path: Path) -> None:
    assert ListingCache(None).load(ACCOUNT) == Kept()
    assert ListingCache(None).save(ACCOUNT, KEPT) == "there is no home directory; set cache_dir"
    (tmp_path / "file").write_text("", encoding="utf-8")
    for folder, why in ((tmp_path / "file", " is no folder"), (tmp_path / "file" / "below", ": not a directory")):
        cache = ListingCache(folder)
        assert cache.load(ACCOUNT) == Kept()
        assert cache.save(ACCOUNT, KEPT) == cache.why_not_written() == f"{folder}{why}; set cache_dir"


def test_whether_it_can_be_written_is_tried_and_nothing_is_left(tmp_path: Path) -> None:
    assert ListingCache(tmp_path / "new").why_not_written() is None
    assert list((tmp_path / "new").iterdir()) == []
    assert ListingCache(None).why_not_written() == "there is no home directory; set cache_dir"


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full takes no byte, as a full disk does not."""
    saved(tmp_path)
    more = Kept({**KEPT.listings, **{f"AIDA{n}": CachedListing(ANN, KEYS, NOW) for n in range(1000)}})
    monkeypatch.setattr(
        "tempfile.mkstemp", lambda **_: (os.open("/dev/full", os.O_WRONLY), str(tmp_path / ".not-there"))
    )
    assert ListingCache(tmp_path).save(ACCOUNT, more) == f"{tmp_path}: no space left on device; set cache_dir"
    assert ListingCache(tmp_path).load(ACCOUNT) == KEPT


def test_what_killed_runs_left_is_swept_away_and_nothing_else(tmp_path: Path) -> None:
    mine, young, others = (
        tmp_path / name for name in (".listings-1.json.x.tmp", ".listings-1.json.y.tmp", ".other.tmp")
    )
    for path in (mine, young, others):
        path.write_text("", encoding="utf-8")
    long_ago = time.time() - LEFTOVERS_AFTER_SECONDS - 60
    for path in (mine, others):
        os.utime(path, (long_ago, long_ago))
    saved(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([young, others, file_of(tmp_path)])


def test_runs_at_once_leave_the_whole_file_of_one_of_them(tmp_path: Path) -> None:
    """While four write 25 times each, whoever reads finds one of the four, whole."""
    kinds = [
        Kept(
            {
                f"AIDA{n}": CachedListing(ListedUser("ann", ACCOUNT, f"AIDA{n}", ANN.created_at), KEYS, NOW)
                for n in range(kind * 40)
            }
        )
        for kind in range(1, 5)
    ]
    saved(tmp_path, kinds[0])

    def write(kept: Kept) -> None:
        for _ in range(25):
            ListingCache(tmp_path).save(ACCOUNT, kept)

    writers = [threading.Thread(target=write, args=(kept,)) for kept in kinds]
    for writer in writers:
        writer.start()
    found = []
    while any(writer.is_alive() for writer in writers):
        found.append(len(ListingCache(tmp_path).load(ACCOUNT).listings))
    assert found
    assert set(found) <= {40, 80, 120, 160}
    assert list(tmp_path.iterdir()) == [file_of(tmp_path)]
