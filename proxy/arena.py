"""Room for bulk data in a session's shared memory, handed out first in, first out.

The worker owns the arena and decides what lies where; the server only checks that a record's range
lies inside. Large transfers go through in chunks, so that the arena stays small enough for a cache
and worker and server copy at the same time. Pure bookkeeping: touches no memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from proxy import records
from proxy.errors import LocalProtocolError

ALIGN_BYTES = 64  # a cache line: neighbours do not share one
CHUNK_BYTES = 2 << 20  # measured: smaller pays for wake-ups, larger falls out of the cache


@dataclass(slots=True, eq=False)
class Region:
    """A range of the arena, taken until given back."""

    offset: int
    nbytes: int
    end: int  # position in the endless tape of all regions
    free: bool = False


class Arena:
    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._head = 0  # positions on an endless tape that is wound round the arena
        self._tail = 0
        self._regions: deque[Region] = deque()

    def take(self, nbytes: int) -> Region | None:
        """A region of `nbytes` in one piece; None if there is no room now."""
        room = nbytes + (-nbytes % ALIGN_BYTES)
        if not 0 < room <= self.size_bytes:
            raise LocalProtocolError(
                f"{nbytes} bytes in an arena of {self.size_bytes}: transfer in chunks"
            )
        if not self._regions:
            self._tail = self._head = 0  # reuse the warm beginning
        start = self._head
        if start % self.size_bytes + room > self.size_bytes:
            start += self.size_bytes - start % self.size_bytes  # skip the end: one piece
        if start + room - self._tail > self.size_bytes:
            return None
        self._head = start + room
        region = Region(start % self.size_bytes, nbytes, self._head)
        self._regions.append(region)
        return region

    def give(self, region: Region) -> None:
        """The region may be overwritten."""
        region.free = True
        while self._regions and self._regions[0].free:
            self._tail = self._regions.popleft().end


def chunks(nbytes: int, limit_bytes: int = CHUNK_BYTES) -> Iterator[tuple[int, int]]:
    """(offset, size) of the pieces in which to transfer `nbytes`."""
    for offset in range(0, nbytes, limit_bytes):
        yield offset, min(limit_bytes, nbytes - offset)


def arena_source(command: records.Record) -> tuple[int, int] | None:
    """Offset and size of what a command writes out of the arena, None for one that does not."""
    match command:
        case records.Write() | records.WriteImage():
            return command.arena, command.nbytes
        case records.WriteRect():
            return command.arena, command.width * command.height * command.depth
    return None


def arena_target(command: records.Record) -> tuple[int, int] | None:
    """Offset and size of what a command reads into the arena, None for one that does not."""
    match command:
        case records.Read() | records.ReadImage():
            return command.arena, command.nbytes
        case records.ReadRect():
            return command.arena, command.width * command.height * command.depth
    return None
