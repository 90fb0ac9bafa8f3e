"""A durable store on disk: blobs by content, and records that name them.

    blobs/ab/<digest>     immutable, at most CHUNK_BYTES, named by the BLAKE2b digest of its bytes
    records/<id>          "haltere-record 1 <digest of the body>\\n" and the body; id = that digest

A record is committed by ONE rename, after every blob it names is on disk, so that a crash at any
moment leaves either the record and all of its blobs, or neither and some unreachable blobs, which
`collect` removes. Whatever is read is checked: torn and flipped bytes are refused, never returned.
Many processes may use one store at once. Knows not what the bytes mean, except which blobs a
record's body names.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from proxy.errors import CheckpointRefused

CHUNK_BYTES = 4 << 20  # unchanged pieces of a large buffer are stored once
_DIGEST_BYTES = 32
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAGIC = b"haltere-record 1 "
_GRACE_S = 600.0  # a blob younger than this may belong to a record that is about to be committed

Step = Callable[[str], None]


def digest_of(data: bytes | memoryview) -> str:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()


class Store:
    def __init__(self, root: Path, step: Step = lambda name: None) -> None:
        """`step` is told before each durable step; a test may kill the process there."""
        self.root = root
        self._blobs = root / "blobs"
        self._records = root / "records"
        self._step = step
        self._unsynced: set[Path] = set()

    # ---- blobs

    def put(self, data: bytes | memoryview) -> str:
        """Store bytes; their digest. Cheap if they are there already."""
        digest = digest_of(data)
        path = self._blob(digest)
        try:
            os.utime(path)  # young again: keeps `collect` away
            if path.read_bytes() == data:  # else damaged: written anew
                return digest
        except FileNotFoundError:
            pass
        path.parent.mkdir(parents=True, exist_ok=True)
        self._step("blob")
        self._write(path, data)
        return digest

    def get(self, digest: str) -> bytes:
        """Raises CheckpointRefused for bytes that are missing or not what was stored."""
        if not _DIGEST.fullmatch(digest):
            raise CheckpointRefused(f"{digest!r} is not a digest")
        try:
            data = self._blob(digest).read_bytes()
        except FileNotFoundError:
            raise CheckpointRefused(f"blob {digest} is missing from {self.root}") from None
        except OSError as error:
            raise CheckpointRefused(
                f"blob {digest} in {self.root} cannot be read: {error}"
            ) from error
        if digest_of(data) != digest:
            raise CheckpointRefused(f"blob {digest} in {self.root} is damaged")
        return data

    def put_chunked(self, size: int, piece: Callable[[int, int], bytes]) -> list[str]:
        """Store `size` bytes, fetched piece by piece as piece(offset, nbytes)."""
        return [
            self.put(piece(offset, min(CHUNK_BYTES, size - offset)))
            for offset in range(0, size, CHUNK_BYTES)
        ]

    def get_chunked(self, digests: Iterable[str]) -> Iterator[bytes]:
        for digest in digests:
            yield self.get(digest)

    # ---- records

    def commit(self, body: bytes) -> str:
        """Make a record durable; its id. All blobs it names must have been put."""
        digest = digest_of(body)
        self._records.mkdir(parents=True, exist_ok=True)
        for folder in sorted(self._unsynced):
            _sync_folder(folder)
        self._unsynced.clear()
        self._step("commit")
        self._write(self._records / digest, _MAGIC + digest.encode() + b"\n" + body)
        _sync_folder(self._records)
        self._unsynced.clear()
        self._step("committed")
        return digest

    def load(self, record: str) -> bytes:
        """The body of a record. Raises CheckpointRefused."""
        if not _DIGEST.fullmatch(record):
            raise CheckpointRefused(f"{record!r} is not the id of a checkpoint")
        try:
            data = (self._records / record).read_bytes()
        except FileNotFoundError:
            raise CheckpointRefused(f"no checkpoint {record} in {self.root}") from None
        except OSError as error:
            raise CheckpointRefused(
                f"checkpoint {record} in {self.root} cannot be read: {error}"
            ) from error
        head = _MAGIC + record.encode() + b"\n"
        body = data[len(head) :]
        if not data.startswith(head) or digest_of(body) != record:
            raise CheckpointRefused(f"checkpoint {record} in {self.root} is damaged")
        return body

    def records(self) -> list[str]:
        """Ids, oldest first."""
        try:
            found = [path for path in self._records.iterdir() if _DIGEST.fullmatch(path.name)]
        except FileNotFoundError:
            return []
        return [path.name for path in sorted(found, key=lambda path: path.stat().st_mtime_ns)]

    def forget(self, record: str) -> None:
        """Remove a record; its blobs go with the next `collect`."""
        if _DIGEST.fullmatch(record):
            (self._records / record).unlink(missing_ok=True)

    # ---- garbage

    def collect(self, names_of: Callable[[bytes], Iterable[str]], grace_s: float = _GRACE_S) -> int:
        """Remove blobs that no record names; how many. `names_of(body)` lists a record's blobs."""
        reachable = {name for record in self.records() for name in names_of(self.load(record))}
        removed = 0
        youngest = time.time() - grace_s
        for path in self._blobs.glob("*/*"):
            if path.name not in reachable and path.stat().st_mtime <= youngest:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    # ---- files

    def _blob(self, digest: str) -> Path:
        return self._blobs / digest[:2] / digest

    def _write(self, path: Path, data: bytes | memoryview) -> None:
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self._step("rename")
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._unsynced.add(path.parent)
        if path.parent.parent != path.parent:
            self._unsynced.add(path.parent.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
