"""A session's file in shared memory: the one thing that worker and server share.

    page 0        header: one word per cache line, each with one writer
    page 1..2     error text, end text, server name, request area
    then          reply area, ring, arena

The worker creates it and puts it by rename where the server looks; either side may die and leave
it, and it can be handed to another server by another rename while the worker keeps its mapping.
The server keeps its own copy of every word it relies on, for the worker may write anything here.
Anything that both may share is here: no socket, no descriptor, only this file.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from enum import IntEnum
from pathlib import Path

from proxy import records, wire
from proxy.doorbell import Bell
from proxy.errors import (
    AnyError,
    LocalProtocolError,
    RemoteProtocolError,
    VersionMismatch,
    to_record,
)
from proxy.records import Failed, Home, Record, Reply

MAGIC = 0x31455254_4C414821  # "!HALTRE1"
LAYOUT_VERSION = 4

LINE_BYTES = 64
ERROR_AT, ERROR_BYTES = 4096, 2048
END_AT, END_BYTES = 6144, 1536
NAME_AT, NAME_BYTES = 7680, 512
REQUEST_AT, REQUEST_BYTES = 8192, 8192
REPLY_AT, REPLY_BYTES = 16384, 64 << 10
RING_AT = REPLY_AT + REPLY_BYTES
RING_BYTES = 256 << 10  # some 3,000 launches
ARENA_BYTES = 6 << 20  # one chunk for calls, two on their way; larger was slower
MAX_RING_BYTES = 16 << 20  # bounds what a worker can make a server map
MAX_ARENA_BYTES = 1 << 30


class Line(IntEnum):
    """Which cache line of the header holds what. W: the worker writes it, S: the server."""

    MAGIC = 0  # W, once
    VERSION = 1  # W, once: layout version << 32 | wire version
    RING_BYTES = 2  # W, once
    ARENA_BYTES = 3  # W, once
    NONCE = 4  # W, once: no two session files have the same
    CLIENT_PID = 5  # W
    CLIENT_START = 6  # W
    DURABLE = 7  # W, once: keep the session when the worker dies
    HEAD = 8  # W: ring bytes put
    REQUEST = 9  # W: number of the newest call
    REQUEST_AFTER = 10  # W: record that must have been taken before the call is
    ERRORS_SEEN = 11  # W
    CLOSED = 12  # W: 1 when the worker is done
    BELL = 13  # W: futex word, the server sleeps on it
    CLIENT_ASLEEP = 14  # W: one of Asleep
    WANTED = 15  # W: the seq it waits for, while Asleep.FOR_SEQ
    SERVER_PID = 16  # S
    SERVER_START = 17  # S
    EPOCH = 18  # S
    STATE = 19  # S
    TAIL = 20  # S: ring bytes released
    ISSUED = 21  # S: records taken
    RETIRED = 22  # S: records of which the device is done
    COMPLETED = 23  # S: newest hal seq completed
    ERRORS = 24  # S: errors reported; the text of the newest is in the error area
    REPLY = 25  # S: number of the newest call answered
    EVENT = 26  # S: futex word, the worker sleeps on it
    SERVER_ASLEEP = 27  # S
    CUT = 28  # S: which suspension the file was parked by, see operations
    RECOVERABLE = 29  # S: 1 while a new server could redo what this one did, see redo
    HEAP_FD = 31  # W, once: the heap's descriptor in the worker + 1; 0: it has none, see heap
    HEAP_BYTES = 32  # W, once
    HEAP_INODE = 33  # W, once
    COPYING = 34  # W: threads that are copying into or out of the heap
    HEAP = 35  # S, but for the first: 0: its buffers are not there, odd: hands off, even: open
    PRINTED = 36  # S: the newest launch whose kernel printed something
    PRINTED_SEEN = 37  # W: the newest whose output the worker has fetched
    PRINTS = 38  # W, once: 1 if it fetches what kernels print; else that goes to the server's log


class State(IntEnum):
    NEW = 0  # put down, not yet taken up by a server
    RUNNING = 1
    SUSPENDED = 2  # no server has it; the worker's clock stands still
    ENDED = 3  # the end text says why


class Asleep(IntEnum):
    """Whether the worker must be woken. Waking costs more than any record: none is in vain."""

    NO = 0
    FOR_ANYTHING = 1
    FOR_SEQ = 2  # or for the end of the session


class Rest(IntEnum):
    """Whether the server must be woken for a record."""

    AWAKE = 0
    ASLEEP = 1
    DOZING = 2  # it looks by itself within 0.1 ms: only who waits for it need wake it


class Cell:
    """One 64-bit word of the header."""

    __slots__ = ("_index", "_words")

    def __init__(self, words: memoryview, line: Line) -> None:
        self._words = words
        self._index = line * (LINE_BYTES // 8)

    def get(self) -> int:
        value: int = self._words[self._index]
        return value

    def set(self, value: int) -> None:
        self._words[self._index] = value


class Segment:
    """A mapped session file."""

    def __init__(self, memory: mmap.mmap, ring_bytes: int, arena_bytes: int) -> None:
        self._memory = memory
        self._view = memoryview(memory)
        self._words = self._view[:4096].cast("Q")
        self.ring_bytes = ring_bytes
        self.arena_bytes = arena_bytes
        self.ring = self._view[RING_AT : RING_AT + ring_bytes]
        self.arena = self._view[RING_AT + ring_bytes : RING_AT + ring_bytes + arena_bytes]
        self.bell = Bell(memory, Line.BELL * LINE_BYTES)
        self.event = Bell(memory, Line.EVENT * LINE_BYTES)

    @property
    def address(self) -> int:
        """Where the file is mapped, for who reads it without Python, and before it is closed."""
        return self.bell.address - Line.BELL * LINE_BYTES

    @classmethod
    def create(
        cls,
        path: Path,
        ring_bytes: int = RING_BYTES,
        arena_bytes: int = ARENA_BYTES,
        durable: bool = False,
    ) -> Segment:
        """A new session file. All of its memory is reserved, so that none can be missing later."""
        if ring_bytes % 4096 or arena_bytes % 4096 or min(ring_bytes, arena_bytes) < 4096:
            raise LocalProtocolError(
                f"ring of {ring_bytes} and arena of {arena_bytes} bytes: whole pages, at least one"
            )
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            size = RING_AT + ring_bytes + arena_bytes
            try:
                os.posix_fallocate(fd, 0, size)
            except OSError as error:
                path.unlink()
                raise LocalProtocolError(
                    f"no room for a session of {size} bytes in {path.parent}: {error}; free some, "
                    "or put HALTERE_PROXY_ROOT on a larger file system"
                ) from error
            segment = cls(mmap.mmap(fd, size), ring_bytes, arena_bytes)
        finally:
            os.close(fd)
        segment[Line.RING_BYTES] = ring_bytes
        segment[Line.ARENA_BYTES] = arena_bytes
        segment[Line.NONCE] = int.from_bytes(os.urandom(8), "little")
        segment[Line.DURABLE] = int(durable)
        segment[Line.VERSION] = LAYOUT_VERSION << 32 | records.VERSION
        segment[Line.MAGIC] = MAGIC
        return segment

    @classmethod
    def open(cls, path: Path) -> Segment:
        """Map an existing file. Raises VersionMismatch, RemoteProtocolError."""
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            size = os.fstat(fd).st_size
            if not RING_AT < size <= RING_AT + MAX_RING_BYTES + MAX_ARENA_BYTES:
                raise RemoteProtocolError(f"{path}: {size} bytes are no session file")
            memory = mmap.mmap(fd, size)
        finally:
            os.close(fd)
        with memoryview(memory) as view, view[:4096].cast("Q") as words:
            step = LINE_BYTES // 8
            magic, version, ring_bytes, arena_bytes = (
                words[line * step]
                for line in (Line.MAGIC, Line.VERSION, Line.RING_BYTES, Line.ARENA_BYTES)
            )
        if magic != MAGIC:
            raise RemoteProtocolError(f"{path}: not a session file")
        if version != LAYOUT_VERSION << 32 | records.VERSION:
            raise VersionMismatch(
                f"{path}: layout {version >> 32}, wire {version & 0xFFFFFFFF}; this side speaks "
                f"{LAYOUT_VERSION}, {records.VERSION}: use the same release on both"
            )
        if ring_bytes < 4096 or arena_bytes < 4096 or RING_AT + ring_bytes + arena_bytes != size:
            raise RemoteProtocolError(f"{path}: {size} bytes, but its header says otherwise")
        return cls(memory, ring_bytes, arena_bytes)

    def __getitem__(self, line: Line) -> int:
        value: int = self._words[line * (LINE_BYTES // 8)]
        return value

    def __setitem__(self, line: Line, value: int) -> None:
        self._words[line * (LINE_BYTES // 8)] = value

    def cell(self, line: Line) -> Cell:
        return Cell(self._words, line)

    # ---- areas

    def write_error(self, at: int, size: int, error: Failed, number: int = 0) -> None:
        """`number`: of the command that failed. An overlong message is cut."""
        self._view[at : at + size] = _fitting(error, size, number)

    def read_error(self, at: int, size: int) -> tuple[int, Failed]:
        """The failed command's number and the error; what cannot be read is an error as well."""
        found = self._read_record(at, size)
        if found is None or not isinstance(found[1], Failed):
            return 0, Failed(0, RemoteProtocolError.code, "the server's error is not readable", "")
        return found[0], found[1]

    def write_home(self, server: str) -> None:
        raw = wire.encode(0, Home(server))
        self._view[NAME_AT : NAME_AT + len(raw)] = raw

    def read_home(self) -> str:
        """The server that has the session; empty if none ever had."""
        found = self._read_record(NAME_AT, NAME_BYTES)
        return found[1].server if found is not None and isinstance(found[1], Home) else ""

    def _read_record(self, at: int, size: int) -> tuple[int, Record] | None:
        raw = bytes(self._view[at : at + size])
        try:
            length = wire.record_length(raw) or 0
            return wire.decode(raw[:length])
        except RemoteProtocolError:
            return None

    def write_request(self, record: bytes) -> None:
        if len(record) > REQUEST_BYTES:
            raise LocalProtocolError(f"call of {len(record)} bytes: at most {REQUEST_BYTES}")
        self._view[REQUEST_AT : REQUEST_AT + len(record)] = record

    def read_request(self) -> bytes:
        length = wire.record_length(bytes(self._view[REQUEST_AT : REQUEST_AT + 16])) or 0
        if length > REQUEST_BYTES:
            raise RemoteProtocolError(f"call of {length} bytes: at most {REQUEST_BYTES}")
        return bytes(self._view[REQUEST_AT : REQUEST_AT + length])

    def write_reply(self, number: int, reply: Reply) -> None:
        if isinstance(reply, Failed):
            self.write_error(REPLY_AT, REPLY_BYTES, reply, number)
        else:
            raw = wire.encode(number, reply)
            self._view[REPLY_AT : REPLY_AT + len(raw)] = raw

    def read_reply(self) -> Reply:
        found = self._read_record(REPLY_AT, REPLY_BYTES)
        if found is None or not isinstance(found[1], Reply):
            raise RemoteProtocolError("the server's reply is not readable")
        return found[1]

    def close(self) -> None:
        """Unmap, unless someone still holds a view: then the last holder does."""
        self.bell = self.event = _NoBell()  # type: ignore[assignment]
        with suppress(BufferError):
            for view in (self.ring, self.arena, self._words, self._view):
                view.release()
            self._memory.close()


def _fitting(error: Failed, size: int, number: int) -> bytes:
    """`error` as a record of at most `size` bytes, padded: of a long message the beginning."""
    room = max(len(error.message), 1)
    while True:
        cut = error
        if room < len(error.message):
            cut = error._replace(message=error.message[:room] + " [cut]")
        with suppress(LocalProtocolError):
            raw = wire.encode(number, cut)
            if len(raw) <= size:
                return raw.ljust(size, b"\0")
        room = room * 3 // 4


def refuse(segment: Segment, reason: AnyError) -> None:
    """Tell a worker that its session will not be served, or not any more."""
    segment.write_error(END_AT, END_BYTES, to_record(reason))
    segment[Line.STATE] = State.ENDED
    segment.event.ring()
    segment.close()


class _NoBell:
    """What is left of a bell when its memory is gone."""
