"""The few things a store needs of where it lies, and the local file system as such a place.

Names are relative, "folder/file". What is published is whole and durable under its name, or not
there at all. Packs and records are written to a spool, a local file, first.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from proxy.errors import StoreBusy

STALE_S = 24 * 3600.0  # a spool so old was left by a process that died

Step = Callable[[str], None]


class Stat(NamedTuple):
    size: int
    changed: float  # when, in s of the place's clock


class Files(Protocol):
    """Raise FileNotFoundError for what is not there, OSError for the rest."""

    @property
    def where(self) -> str:
        """For messages."""
        ...

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """All of it, or at most `size` bytes from `offset`."""
        ...

    def read_into(self, name: str, offset: int, views: Sequence[memoryview]) -> bool:
        """Fill them, one after another, from there on; False if they did not become full."""
        ...

    def list(self, folder: str) -> dict[str, Stat]:
        """What is published in a folder, by its file's own name; nothing if there is no folder."""
        ...

    def spool(self, folder: str) -> Path:
        """A path for a new local file, to be published in `folder`."""
        ...

    def publish(self, spool: Path, name: str) -> None:
        """The spool's bytes under `name`, by one last step; the spool is gone."""
        ...

    def remove(self, name: str) -> None: ...

    def clean(self) -> None:
        """Remove what dead processes left."""
        ...

    def lock(self, exclusive: bool) -> AbstractContextManager[None]:
        """Held by all who write or restore, or by one who removes. Raises StoreBusy."""
        ...


class LocalFiles:
    """A folder. A rename publishes."""

    def __init__(self, root: Path, step: Step) -> None:
        self._root = root
        self._step = step

    @property
    def where(self) -> str:
        return str(self._root)

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        fd = os.open(self._root / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            left = os.fstat(fd).st_size - offset if size is None else size
            data = os.pread(fd, left, offset)
            if len(data) == left or not data:
                return data
            parts = [data]
            while data and (left := left - len(data)):  # Linux reads at most 2 GiB at once
                offset += len(data)
                data = os.pread(fd, left, offset)
                parts.append(data)
            return b"".join(parts)
        finally:
            os.close(fd)

    def read_into(self, name: str, offset: int, views: Sequence[memoryview]) -> bool:
        fd = os.open(self._root / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.preadv(fd, views, offset) == sum(view.nbytes for view in views)
        finally:
            os.close(fd)

    def list(self, folder: str) -> dict[str, Stat]:
        found = {}
        try:
            with os.scandir(self._root / folder) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        stat = entry.stat()
                        found[entry.name] = Stat(stat.st_size, stat.st_mtime)
        except FileNotFoundError:
            pass
        return found

    def spool(self, folder: str) -> Path:
        path = self._root / folder
        path.mkdir(parents=True, exist_ok=True)
        return path / f".{uuid.uuid4().hex}"

    def publish(self, spool: Path, name: str) -> None:
        _sync(spool)
        self._step("rename")
        target = self._root / name
        spool.replace(target)
        for folder in (target.parent, self._root):
            _sync(folder)

    def remove(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    def clean(self) -> None:
        for path in self._root.glob("*/.*"):
            if path.stat().st_mtime < time.time() - STALE_S:
                path.unlink(missing_ok=True)

    @contextmanager
    def lock(self, exclusive: bool) -> Iterator[None]:
        """By flock: it ends with its holder, however that ends."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            fd = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if exclusive or error.errno not in (errno.EROFS, errno.EACCES):
                raise
            yield  # to be read only: nobody collects here
            return
        try:
            try:
                fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreBusy(busy(self.where, exclusive)) from None
            yield
        finally:
            os.close(fd)


def busy(where: str, exclusive: bool) -> str:
    if exclusive:
        return f"store {where} is being written or read: collect its garbage when that is done"
    return f"garbage is being collected in store {where}: try again when that is done"


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
