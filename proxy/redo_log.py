"""What a session did since its newest checkpoint, so that a new server can do it again.

A file of shared memory beside the session's, `servers/<name>/redo/<session>`: it outlives its
server, not the machine. The server appends before the worker can see what was done: every command
taken, with the bytes that a write took out of the arena; what a read delivered; calls that changed
something. The length is published last, so a server may be killed at any time.

    word 0   MAGIC
    word 1   length of the entries, or VOID: nothing can be redone until the next checkpoint
    word 2   nonce of the session's file
    word 3   length of the JSON at 64: {"checkpoint": id, "store": address}
    word 4   servers that began to redo it, of which none came to the end
    4096     entries: kind, number, record bytes, payload bytes (words); both, padded to 8 bytes

The native engine appends commands and reads by itself (native/engine/redo.hpp).
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from proxy.errors import CheckpointRefused

MAGIC = 0x314F4445_52544C48  # "HLTREDO1"
VOID = 2**64 - 1
LOG_BYTES = 64 << 20
EARLY_BYTES = LOG_BYTES // 2  # from there on a checkpoint is due, whatever the time
FIRST = 4096
_ENTRY = struct.Struct("<4Q")
_JSON_AT = 64


class Kind(IntEnum):
    COMMAND = 1
    READ = 2  # payload: what it delivered; no record
    CALL = 3  # payload: the bytes that an Append brought


class Entry(NamedTuple):
    kind: Kind
    number: int
    record: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Begun:
    """Where a log begins."""

    nonce: int
    checkpoint: str
    store: str


class RedoLog:
    """A mapped log; one thread of one server appends."""

    def __init__(self, memory: mmap.mmap, path: Path) -> None:
        self.path = path
        self._memory = memory
        self._words = memoryview(memory)[:40].cast("Q")

    @classmethod
    def create(cls, path: Path, begun: Begun, size_bytes: int = LOG_BYTES) -> RedoLog:
        """In the place of the one before, in one step. All of its memory is reserved, so that none
        can be missing later. Raises OSError."""
        path.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, size_bytes)
            memory = mmap.mmap(fd, size_bytes)
        except OSError:
            temporary.unlink()
            raise
        finally:
            os.close(fd)
        said = json.dumps({"checkpoint": begun.checkpoint, "store": begun.store}).encode()
        memory[:32] = struct.pack("<4Q", MAGIC, 0, begun.nonce, len(said))
        memory[_JSON_AT : _JSON_AT + len(said)] = said
        temporary.rename(path)
        return cls(memory, path)

    @classmethod
    def open(cls, path: Path) -> RedoLog:
        """One that `read` has found to be right, to go on with it."""
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            return cls(mmap.mmap(fd, os.fstat(fd).st_size), path)
        finally:
            os.close(fd)

    @property
    def size_bytes(self) -> int:
        return len(self._memory)

    @property
    def address(self) -> int:
        """For the engine."""
        anchor = ctypes.c_char.from_buffer(self._memory)
        return ctypes.addressof(anchor)

    @property
    def used_bytes(self) -> int:
        length: int = self._words[1]
        return self.size_bytes if length == VOID else length

    @property
    def is_void(self) -> bool:
        return bool(self._words[1] == VOID)

    @property
    def attempts(self) -> int:
        count: int = self._words[4]
        return count

    @attempts.setter
    def attempts(self, count: int) -> None:
        self._words[4] = count

    def void(self) -> None:
        self._words[1] = VOID

    def append(self, kind: Kind, number: int, record: bytes, payload: bytes | memoryview) -> bool:
        """False: there is no room, and the log is void."""
        if self.is_void:
            return False
        at = FIRST + self._words[1]
        whole = (_ENTRY.size + len(record) + len(payload) + 7) // 8 * 8
        if at + whole > self.size_bytes:
            self.void()
            return False
        head = _ENTRY.pack(kind, number, len(record), len(payload))
        for part in (head, record, payload):
            self._memory[at : at + len(part)] = part
            at += len(part)
        self._words[1] += whole
        return True

    def close(self) -> None:
        """The file stays."""
        self._words.release()
        self._memory.close()


def read(path: Path) -> tuple[Begun, list[Entry]] | None:
    """All of a log; None if it is void. Raises CheckpointRefused if it is no whole log, and
    OSError."""
    with path.open("rb") as file:
        head = file.read(FIRST)
        if len(head) < FIRST:
            raise _damaged(path, f"{len(head)} bytes")
        magic, length, nonce, said = struct.unpack_from("<4Q", head)
        if magic != MAGIC:
            raise _damaged(path, "it does not begin as one")
        if length == VOID:
            return None
        if length > os.fstat(file.fileno()).st_size - FIRST:
            raise _damaged(path, "it is shorter than it says")
        data = file.read(length)
    try:
        found = json.loads(head[_JSON_AT : _JSON_AT + said])
        begun = Begun(nonce, str(found["checkpoint"]), str(found["store"]))
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"its beginning: {error}") from error
    return begun, list(_entries(path, data))


def _entries(path: Path, data: bytes) -> Iterator[Entry]:
    at = 0
    while at < len(data):
        if len(data) - at < _ENTRY.size:
            raise _damaged(path, f"the entry at {at}")
        kind, number, record, payload = _ENTRY.unpack_from(data, at)
        first = at + _ENTRY.size
        end = first + record + payload
        if kind not in Kind.__members__.values() or end > len(data):
            raise _damaged(path, f"the entry at {at}")
        yield Entry(Kind(kind), number, data[first : first + record], data[first + record : end])
        at = (end + 7) // 8 * 8


def _damaged(path: Path, how: str) -> CheckpointRefused:
    return CheckpointRefused(f"the redo log {path} is damaged ({how}): nothing was redone")
