"""A directory of things that are costly to build, each under a key made of all it depends on.

An entry is built in a temporary directory beside its place and moved there by one rename, under a
lock per key: two processes that want the same entry build it once, and a build that dies leaves
nothing that looks finished. Entries are never changed; deleting the directory is always safe.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rtl_sim.errors import CacheUnusable

CACHE_VARIABLE = "HALTERE_CACHE"
_ANY: frozenset[int] = frozenset()
_WRITING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})


def cache_root() -> Path:
    """The directory of HALTERE_CACHE, else ~/.cache/haltere."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "haltere"


def digest_of(*parts: bytes | str) -> str:
    """A key of everything in `parts`; each is length-prefixed, so that none runs into the next."""
    hasher = hashlib.blake2b(digest_size=32)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        hasher.update(len(data).to_bytes(8, "little"))
        hasher.update(data)
    return hasher.hexdigest()


def entry(kind: str, key: str, build: Callable[[Path], None], root: Path | None = None) -> Path:
    """The directory of entry `key`; `build(directory)` fills it when it is not there yet. Raises
    CacheUnusable, and what `build` raises."""
    folder = (root or cache_root()) / kind
    place = folder / key
    with _telling(folder, _ANY):
        if place.is_dir():
            return place
        folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / f".{key}.lock"), _telling(folder, _WRITING):
        if place.is_dir():  # another process built it while we waited
            return place
        started = f".{key[:12]}-"
        for left in folder.glob(f"{started}*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        workspace = Path(tempfile.mkdtemp(prefix=started, dir=folder))
        try:
            build(workspace)
            workspace.chmod(0o755)
            os.replace(workspace, place)  # noqa: PTH105  (the atomic step, said plainly)
        except BaseException:
            shutil.rmtree(workspace, ignore_errors=True)
            raise
    return place


def find(kind: str, key: str, root: Path | None = None) -> Path | None:
    """The directory of entry `key`, if it is there."""
    place = (root or cache_root()) / kind / key
    return place if place.is_dir() else None


@contextmanager
def _telling(folder: Path, errors: frozenset[int]) -> Iterator[None]:
    """That the cache cannot be written, and what to do, where that is what an error says."""
    try:
        yield
    except OSError as error:
        if errors and error.errno not in errors:
            raise
        raise CacheUnusable(
            f"cannot write to the cache at {folder}: {error.strerror or error}; make room or give "
            f"the right to, or name another folder by {CACHE_VARIABLE}"
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with _telling(path.parent, _ANY):
        file = path.open("w")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
