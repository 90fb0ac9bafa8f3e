"""A ring of bytes in shared memory: one producer, one consumer, in two processes.

`head` and `tail` count all bytes ever put and released; each has one writer. The consumer may be
robbed by a hostile producer of sense, never of memory safety: it copies out before it looks.
Stores become visible in order on x86-64 (and the interpreter puts thousands of instructions
between them elsewhere); the native core will use acquire and release. Knows no records.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from proxy.errors import RemoteProtocolError


class Word(Protocol):
    """A 64-bit counter in shared memory."""

    def get(self) -> int: ...
    def set(self, value: int) -> None: ...


class Producer:
    def __init__(self, data: memoryview, head: Word, tail: Word) -> None:
        self._data = data
        self._capacity = len(data)
        self._head_word = head
        self._read_tail: Callable[[], int] = tail.get
        self._head = head.get()
        self._room_end = tail.get() + self._capacity  # as of the last look at the tail

    @property
    def capacity(self) -> int:
        return self._capacity

    def put(self, record: bytes) -> bool:
        """Append all of `record`; False if there is no room now."""
        head, nbytes = self._head, len(record)
        end = head + nbytes
        if end > self._room_end:
            self._room_end = self._read_tail() + self._capacity
            if end > self._room_end:
                return False
        at = head % self._capacity
        first = self._capacity - at
        if nbytes <= first:
            self._data[at : at + nbytes] = record
        else:
            self._data[at:] = record[:first]
            self._data[: nbytes - first] = record[first:]
        self._head = end
        self._head_word.set(end)
        return True


class Consumer:
    def __init__(self, data: memoryview, head: Word, tail: Word, at: int | None = None) -> None:
        """`at`: the tail to go on from (a checkpoint's), rather than what the file says."""
        self._data = data
        self._capacity = len(data)
        self._read_head: Callable[[], int] = head.get
        self._tail_word = tail
        self._tail = tail.get() if at is None else at
        self.seen = self._tail  # end of what was copied out

    @property
    def tail(self) -> int:
        return self._tail

    def take(self, limit_bytes: int) -> bytes:
        """A copy of the next bytes, at most `limit_bytes`; they stay in the ring until released."""
        head = self._read_head()
        if not self.seen <= head <= self._tail + self._capacity:
            raise RemoteProtocolError(
                f"ring head {head} with tail {self._tail} and {self._capacity} bytes: not possible"
            )
        nbytes = min(head - self.seen, limit_bytes)
        if not nbytes:
            return b""
        at = self.seen % self._capacity
        first = self._capacity - at
        self.seen += nbytes
        if nbytes <= first:
            return bytes(self._data[at : at + nbytes])
        return bytes(self._data[at:]) + bytes(self._data[: nbytes - first])

    def undone(self) -> bytes:
        """A copy of all that was not released."""
        seen, self.seen = self.seen, self._tail
        try:
            return self.take(self._capacity)
        finally:
            self.seen = seen

    def release(self, nbytes: int) -> None:
        """Give the oldest `nbytes` back to the producer."""
        assert self._tail + nbytes <= self.seen, "released more than was taken"
        self._tail += nbytes
        self._tail_word.set(self._tail)
