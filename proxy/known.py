"""What is known of a session's buffers without reading them: when they changed, what was stored.

`Changes` counts: every command that may write to a buffer gets the next number, and the buffer
remembers the newest. A buffer whose number is not above the count at which it was read is as it was
read. An engine that does commands without Python gives the same two numbers.

`Known` remembers the pieces of buffers that were read: their names in a store, the count they were
read at, and their marks, which tell an unchanged piece of a changed buffer at memory's speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hal.types import BufferArg
from proxy import records

PIECE_BYTES = 256 << 10  # what a changed byte costs in the next checkpoint, at most
CHUNK_BYTES = 4 << 20  # read from the device at once


class ChangeCount(Protocol):
    """What a snapshot asks."""

    @property
    def count(self) -> int: ...

    def newest(self, buffer: int) -> int:
        """The count at the last command that may have written to `buffer`; 0: not known of."""
        ...


class Changes:
    def __init__(self) -> None:
        self.count = 0
        self._newest: dict[int, int] = {}

    def newest(self, buffer: int) -> int:
        return self._newest.get(buffer, 0)

    def note(self, command: records.Command) -> None:
        """Before the command is done, whether or not it succeeds. A launch may write to every
        buffer it is given: that a kernel promises not to is not known here."""
        if isinstance(command, records.Launch):
            for arg in command.args:
                if isinstance(arg, BufferArg):
                    self.mark(arg.buffer)
        elif isinstance(command, records.Write | records.WriteInline | records.Alloc):
            self.mark(command.buffer)
        elif isinstance(command, records.Copy):
            self.mark(command.target)
        elif isinstance(command, records.Free):
            self._newest.pop(command.buffer, None)

    def mark(self, buffer: int) -> None:
        self.count += 1
        self._newest[buffer] = self.count


class _Anything:
    """Any buffer may have changed at any time."""

    count = 0

    def newest(self, buffer: int) -> int:
        return 1


ANYTHING = _Anything()


@dataclass(frozen=True, slots=True)
class Chunk:
    """CHUNK_BYTES of a buffer, or its rest, as they were read."""

    count: int  # of changes, when it was read
    digests: tuple[str, ...]  # of its pieces
    marks: tuple[bytes, ...] = ()  # of its pieces; empty: it came from a checkpoint


class Known:
    def __init__(self) -> None:
        self._chunks: dict[int, dict[int, Chunk]] = {}  # buffer, offset

    def chunk(self, buffer: int, offset: int) -> Chunk | None:
        return self._chunks.get(buffer, {}).get(offset)

    def remember(self, buffer: int, offset: int, chunk: Chunk) -> None:
        self._chunks.setdefault(buffer, {})[offset] = chunk

    def restored(self, buffer: int, digests: list[str], count: int) -> None:
        """The buffer was just filled with these pieces."""
        step = CHUNK_BYTES // PIECE_BYTES
        for first in range(0, len(digests), step):
            chunk = Chunk(count, tuple(digests[first : first + step]))
            self.remember(buffer, first * PIECE_BYTES, chunk)

    def keep(self, buffers: set[int]) -> None:
        """Forget those that are freed: their numbers do not come again."""
        for dead in self._chunks.keys() - buffers:
            del self._chunks[dead]
