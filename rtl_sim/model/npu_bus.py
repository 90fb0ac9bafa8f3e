"""The NPU's way to device memory, in time: bursts of reads in the order in which the RTL asks for
them, writes behind them. For the cycle model (npu_cycles.py), which says when what is asked for.

The numbers are those of npu_read.sv, npu_write.sv and of the shell's memory: cycles from one event
to the first in which another may be. A beat here is one of the bus; places are in 8-byte words.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

CHOICE: Final = 1  # asked for, to a burst's choice; that, to its address
FIRST_BEAT: Final = 1  # address to first beat, with a memory of latency 0
BURSTS: Final = 8  # under way, each way
LONG_BURSTS: Final = 2  # of them, of the long transfer
LONG_BURST: Final = 128
BURST: Final = 256
PAGE: Final = 512  # words


@dataclass(frozen=True, slots=True)
class Memory:
    """Device memory: cycles to the first beat of a read, and to the end of a write; where the
    buffers lie in it, in words from the beginning of a page."""

    read_latency: int = 0
    write_latency: int = 0
    places: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Transfer:
    """What one of the two asks for. `ready`: when it may ask again."""

    most: int  # beats of a burst
    words: int  # of a beat
    place: int = 0
    left: int = 0
    asked: int = 0
    ready: int = 0
    got: list[int] = field(default_factory=list)  # the cycle of each beat that closes a vector
    beats: int = 0  # since the last one that did
    last: int = -1  # cycle of the last beat

    def ask(self, time: int, place: int, beats: int) -> None:
        self.asked, self.place, self.left = time, place, beats

    def cut(self) -> int:
        """Beats of the next burst, which is begun."""
        beats = min(self.left, self.most, (PAGE - self.place % PAGE) // self.words)
        self.place += beats * self.words
        self.left -= beats
        return beats


class ReadBus:
    """Serves one burst at a time, always the one that is chosen first. The caller must have asked
    for everything that does not wait for a burst: then nothing can come before it."""

    def __init__(self, latency: int, vector_beats: int, words: int) -> None:
        self.latency, self.vector_beats = latency, vector_beats
        self.long = _Transfer(LONG_BURST, 1)
        self.vectors = _Transfer(BURST, words)
        self._free = 0  # when the next burst may be chosen
        self._last = -1  # cycle of the last beat of all
        self._ends = deque([-1] * BURSTS, BURSTS)
        self._long_ends = deque([-1] * LONG_BURSTS, LONG_BURSTS)

    def serve(self) -> bool:
        """Whether there was a burst left to serve."""
        room = max(self._free, self._ends[0] + 1)
        best: tuple[int, _Transfer] | None = None
        if self.vectors.left:
            best = max(room, self.vectors.asked + CHOICE), self.vectors
        if self.long.left:
            time = max(room, self.long.asked + CHOICE, self._long_ends[0] + 1)
            if best is None or time < best[0]:
                best = time, self.long
        if best is None:
            return False
        self._burst(*best)
        return True

    def _burst(self, chosen: int, transfer: _Transfer) -> None:
        beats = transfer.cut()
        first = max(chosen + 1 + FIRST_BEAT + self.latency, self._last + 1)
        end = first + beats - 1
        if transfer is self.vectors:
            whole = self.vector_beats
            transfer.got += range(first + whole - 1 - transfer.beats, end + 1, whole)
            transfer.beats = (transfer.beats + beats) % whole
        else:
            self._long_ends.append(end)
        self._ends.append(end)
        self._free = transfer.ready = chosen + 2
        self._last = transfer.last = end


class WriteBus:
    """Vectors that are written, one after the other."""

    def __init__(self, latency: int, vector_beats: int, words: int) -> None:
        self.latency, self.vector_beats, self.words = latency, vector_beats, words
        self._ready = 0  # when the next vector may be asked for
        self._free = 0  # when the next beat may go
        self._responses = deque([-1] * BURSTS, BURSTS)
        self.quiet = 0  # when all responses are there

    def vector(self, time: int, place: int) -> int:
        """The cycle in which the last beat leaves of a vector that is there at `time`."""
        address = max(time, self._ready) + 1
        left = self.vector_beats
        while left:
            address = max(address, self._responses[0] + 1)
            beats = min(left, (PAGE - place % PAGE) // self.words)
            begin = max(address + 1, self._free)
            self._free = begin + beats
            self._responses.append(self._free + self.latency)
            place += beats * self.words
            left -= beats
            address += 1
        self._ready = address
        self.quiet = self._responses[-1] + 1
        return self._free - 1
