"""The cache of what is costly to build: where it cannot be written, and what killed builds left."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from rtl_sim import cache
from rtl_sim.errors import CacheUnusable

KEY = "0123456789abcdef"


def test_a_cache_that_cannot_be_made_says_where_it_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for root in (tmp_path / "file", Path("/proc/nothing")):
        with pytest.raises(CacheUnusable, match=f"{root}.*HALTERE_CACHE"):
            cache.entry("kind", KEY, lambda folder: None, root)


def test_a_build_without_room_says_so_leaves_nothing_and_can_be_made_later(tmp_path: Path) -> None:
    def full(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(CacheUnusable, match="No space left"):
        cache.entry("kind", KEY, full, tmp_path)
    assert [path.name for path in (tmp_path / "kind").iterdir()] == [f".{KEY}.lock"]
    place = cache.entry("kind", KEY, lambda folder: (folder / "whole").touch(), tmp_path)
    assert (place / "whole").exists()


def test_another_error_of_a_build_stays_what_it_is(tmp_path: Path) -> None:
    def wrong(folder: Path) -> None:
        (folder / "nothing").read_bytes()

    with pytest.raises(FileNotFoundError):
        cache.entry("kind", KEY, wrong, tmp_path)


def test_what_a_killed_build_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / "kind" / f".{KEY[:12]}-dead"
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    cache.entry("kind", KEY, lambda folder: None, tmp_path)
    assert not left.exists()
