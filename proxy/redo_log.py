"""What a session did since its newest checkpoint, so that a new server can do it again.

A file of shared memory beside the session's, `servers/<name>/redo/<session>`: it outlives its
server, not the machine. The server appends before the worker can see what was done: every command
taken, with the bytes that a write took out of the arena; what a read delivered; calls that changed
something. The length is published last, so a server may be killed at any time.

    word 0     MAGIC
    word 1     which half holds the log: 0 or 1
    word 2     nonce of the session's file
    word 3     servers that began to redo it, of which none came to the end
    4096       one half, and behind it the other

    word 0     length of the entries, or VOID: nothing can be redone until the next checkpoint
    word 1     length of the JSON at 64: {"checkpoint": id, "store": address, "lent": bool}; no id:
               the log begins where the session did; lent: the checkpoint is its asker's to remove
    word 2     bytes of it that have memory: reserved as the log grows, so that none can be missing
    4096       entries: kind, number, record bytes, payload bytes (words); both, padded to 8 bytes

A checkpoint begins a new log in the other half, by one word. So memory that a log once had is had
again by the next but one, mapped: fresh pages cost more than what is copied into them. The native
engine appends commands and reads by itself (native/engine/redo.hpp).
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from proxy.errors import CheckpointRefused

MAGIC = 0x324F4445_52544C48  # "HLTREDO2"
VOID = 2**64 - 1
LOG_BYTES = 64 << 20  # of entries
EARLY_BYTES = LOG_BYTES // 2  # from there on a checkpoint is due, whatever the time
PAGE_BYTES = 4096
RESERVE_BYTES = 256 << 10  # at first; then as much again as there is
MAX_RESERVE_BYTES = 8 << 20  # at once
_MADV_POPULATE_WRITE = 23
_ENTRY = struct.Struct("<4Q")
_JSON_AT = 64
_HALF, _NONCE, _ATTEMPTS = 1, 2, 3  # words of the file,
_LENGTH, _SAID, _RESERVED = 0, 1, 2  # and of a half


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
    """Where a log begins. No checkpoint: where the session did."""

    nonce: int
    checkpoint: str = ""
    store: str = ""
    lent: bool = False  # somebody asked for the checkpoint, and keeps it


def half_at(half: int, log_bytes: int = LOG_BYTES) -> int:
    """Where it is in the file."""
    return PAGE_BYTES + half * (PAGE_BYTES + log_bytes)


class RedoLog:
    """A mapped log; one thread of one server appends."""

    def __init__(self, fd: int, path: Path) -> None:
        self.path = path
        self.fd = fd
        self._memory = mmap.mmap(fd, os.fstat(fd).st_size)
        self.log_bytes = (len(self._memory) - PAGE_BYTES) // 2 - PAGE_BYTES
        self._words = memoryview(self._memory)[:PAGE_BYTES].cast("Q")
        self._use(self._words[_HALF])

    @classmethod
    def create(cls, path: Path, begun: Begun, log_bytes: int = LOG_BYTES) -> RedoLog:
        """In the place of whatever is there, in one step. Raises OSError."""
        path.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, half_at(2, log_bytes))
            for head in (0, half_at(0, log_bytes), half_at(1, log_bytes)):
                os.posix_fallocate(fd, head, PAGE_BYTES)
            log = cls(fd, path)
        except OSError:
            os.close(fd)
            temporary.unlink()
            raise
        log._words[_HALF], log._words[_NONCE] = 1, begun.nonce  # so the first is in the first
        log.begin(begun.checkpoint, begun.store, begun.lent)
        log._words[0] = MAGIC
        temporary.rename(path)
        return log

    @classmethod
    def open(cls, path: Path) -> RedoLog:
        """One that `read` has found to be right, to go on with it."""
        return cls(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW), path)

    def begin(self, checkpoint: str, store: str, lent: bool = False) -> None:
        """A new log, from this checkpoint on, in one step."""
        before = self._words[_HALF]
        self._use(1 - before)
        said = json.dumps({"checkpoint": checkpoint, "store": store, "lent": lent}).encode()
        self._memory[self._at + _JSON_AT : self._at + _JSON_AT + len(said)] = said
        self._own[_SAID], self._own[_LENGTH] = len(said), 0
        self._words[_HALF] = 1 - before

    def _use(self, half: int) -> None:
        self._at = half_at(half, self.log_bytes)
        self._own = memoryview(self._memory)[self._at : self._at + _JSON_AT].cast("Q")

    @property
    def offset(self) -> int:
        """Of the half that holds the log, in the file."""
        return self._at

    @property
    def address(self) -> int:
        """Of that half, for the engine."""
        anchor = ctypes.c_char.from_buffer(self._memory)
        return ctypes.addressof(anchor) + self._at

    @property
    def used_bytes(self) -> int:
        length: int = self._own[_LENGTH]
        return self.log_bytes if length == VOID else length

    @property
    def is_void(self) -> bool:
        return bool(self._own[_LENGTH] == VOID)

    @property
    def attempts(self) -> int:
        """Servers that began to redo this, of which none came to the end."""
        found: int = self._words[_ATTEMPTS]
        return found

    @attempts.setter
    def attempts(self, count: int) -> None:
        self._words[_ATTEMPTS] = count

    def void(self) -> None:
        self._own[_LENGTH] = VOID

    def append(self, kind: Kind, number: int, record: bytes, payload: bytes | memoryview) -> bool:
        """False: there is no room, and the log is void."""
        if self.is_void:
            return False
        length: int = self._own[_LENGTH]
        whole = (_ENTRY.size + len(record) + len(payload) + 7) // 8 * 8
        if not self._reserve(length + whole):
            self.void()
            return False
        at = self._at + PAGE_BYTES + length
        head = _ENTRY.pack(kind, number, len(record), len(payload))
        for part in (head, record, payload):
            self._memory[at : at + len(part)] = part
            at += len(part)
        self._own[_LENGTH] = length + whole
        return True

    def _reserve(self, nbytes: int) -> bool:
        """Memory for so many bytes of entries, and some more."""
        have: int = self._own[_RESERVED]
        if nbytes <= have:
            return True
        if nbytes > self.log_bytes:
            return False
        more = min(max(have, RESERVE_BYTES), MAX_RESERVE_BYTES)
        upto = -(-nbytes // PAGE_BYTES) * PAGE_BYTES
        upto = min(max(upto, have + more), self.log_bytes)
        try:
            os.posix_fallocate(self.fd, self._at + PAGE_BYTES + have, upto - have)
        except OSError:
            return False
        with suppress(OSError, ValueError):  # an older kernel: pages come as they are touched
            self._memory.madvise(_MADV_POPULATE_WRITE, self._at + PAGE_BYTES + have, upto - have)
        self._own[_RESERVED] = upto
        return True

    def close(self) -> None:
        """The file stays."""
        os.close(self.fd)
        self._own.release()
        self._words.release()
        self._memory.close()


def read(path: Path) -> tuple[Begun, list[Entry]] | None:
    """All of a log; None if it is void. Raises CheckpointRefused if it is no whole log, and
    OSError."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        magic, half, nonce, _ = _ENTRY.unpack(_whole(path, file.read(_ENTRY.size), _ENTRY.size))
        if magic != MAGIC or half > 1:
            raise _damaged(path, "it does not begin as one")
        log_bytes = (size - PAGE_BYTES) // 2 - PAGE_BYTES
        file.seek(half_at(half, log_bytes))
        head = _whole(path, file.read(PAGE_BYTES), PAGE_BYTES)
        length, said = struct.unpack_from("<2Q", head)
        if length == VOID:
            return None
        if length > log_bytes:
            raise _damaged(path, "it is shorter than it says")
        data = _whole(path, file.read(length), length)
    try:
        found = json.loads(head[_JSON_AT : _JSON_AT + said])
        begun = Begun(nonce, str(found["checkpoint"]), str(found["store"]), bool(found["lent"]))
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"its beginning: {error}") from error
    return begun, list(_entries(path, data))


def _whole(path: Path, data: bytes, nbytes: int) -> bytes:
    if len(data) < nbytes:
        raise _damaged(path, f"{len(data)} bytes where {nbytes} should be")
    return data


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
