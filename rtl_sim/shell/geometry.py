"""What a snapshot controller must know of a fabric: the segments of its state image, in order.

The state ports of the overlay and of its boundary (the isolators, captured too) are one to the
controller: the boundary's chain follows the overlay's, its selects follow the overlay's selects.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from rtl_sim.errors import SnapshotError
from rtl_sim.statemap import StateMap

BEAT_BYTES = 8
HEADER_BEATS = 4
SEGMENT_BITS = 3 + 16 + 16 + 32 + 8  # segment_t of shell_pkg.sv


class Kind(IntEnum):
    """segment_e of shell_pkg.sv."""

    CHAIN = 0
    REGISTER = 1
    WALKED_REGISTER = 2
    MEMORY = 3
    CLOCKED_MEMORY = 4


@dataclass(frozen=True, slots=True)
class Segment:
    """`count` items of `beats` 64-bit words each; `part` 0 is the overlay's, 1 the boundary's.

    `select` as in that part's state map. `other` is what shell_pkg.sv says, of the whole port.
    """

    kind: Kind
    part: int
    select: int
    other: int
    count: int
    beats: int

    @property
    def size_bytes(self) -> int:
        return self.count * self.beats * BEAT_BYTES


@dataclass(frozen=True)
class Geometry:
    overlay: StateMap
    boundary: StateMap
    id: int  # 64 bits: of everything that decides what the words of an image mean

    @classmethod
    def of(cls, overlay: bytes, boundary: bytes) -> Geometry:
        """From two state.json files. Raises SnapshotError when they cannot be one port."""
        maps = StateMap.parse(overlay), StateMap.parse(boundary)
        if maps[0].lanes != maps[1].lanes:
            raise SnapshotError(
                f"the overlay's chain has {maps[0].lanes} lanes, its boundary's {maps[1].lanes}: "
                "capture both with the same number"
            )
        digest = hashlib.blake2b(overlay + b"\0" + boundary, digest_size=8).digest()
        return cls(*maps, int.from_bytes(digest, "little"))

    @property
    def parts(self) -> tuple[StateMap, StateMap]:
        return self.overlay, self.boundary

    @property
    def lanes(self) -> int:
        return self.overlay.lanes

    @property
    def rows(self) -> int:
        return self.overlay.rows + self.boundary.rows

    @property
    def mem_width(self) -> int:
        return max(part.mem_width for part in self.parts)

    @cached_property
    def selects(self) -> int:
        """How many the overlay has; the boundary's come after them."""
        return len(self.overlay.memories) + len(self.overlay.read_registers)

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        chain = Segment(Kind.CHAIN, 0, 0, 0, self.rows, _beats(self.lanes))
        return (chain, *self._segments(0), *self._segments(1))

    def _segments(self, part: int) -> Iterator[Segment]:
        state, base = self.parts[part], part * self.selects
        walked = {register.memory: register.select for register in state.walked}
        for memory in sorted(state.memories, key=lambda memory: memory.index):
            through = walked.get(memory.index)
            for register in state.read_registers:
                if register.memory == memory.index:
                    yield Segment(
                        Kind.WALKED_REGISTER if register.select == through else Kind.REGISTER,
                        part, register.select, base + memory.index, 1, _beats(memory.width),
                    )  # fmt: skip
            yield Segment(
                Kind.MEMORY if through is None else Kind.CLOCKED_MEMORY,
                part, memory.index, base + (through or 0), memory.depth, _beats(memory.width),
            )  # fmt: skip

    @property
    def words(self) -> int:
        return sum(memory.depth for part in self.parts for memory in part.memories)

    @property
    def read_registers(self) -> int:
        return sum(len(part.read_registers) for part in self.parts)

    @property
    def image_beats(self) -> int:
        trailer = len(self.segments) + 1
        return HEADER_BEATS + sum(s.count * s.beats for s in self.segments) + trailer

    @property
    def image_bytes(self) -> int:
        return self.image_beats * BEAT_BYTES

    @property
    def walk_cycles(self) -> int:
        """That a save takes beyond one a word of the image: the first read of each memory, and
        the repair of registers that were walked through."""
        costs = {Kind.MEMORY: 1, Kind.CLOCKED_MEMORY: 4}
        return sum(costs.get(segment.kind, 0) for segment in self.segments)

    def parameters(self) -> dict[str, str]:
        """Of shell_controller.sv, as SystemVerilog text."""
        table = 0
        for number, s in enumerate(self.segments):
            fields = ((s.kind, 3), (s.part * self.selects + s.select, 16), (s.other, 16),
                      (s.count, 32), (s.beats, 8))  # fmt: skip
            entry = 0
            for value, width in fields:
                entry = entry << width | value
            table |= entry << (number * SEGMENT_BITS)
        return {
            "Lanes": str(self.lanes),
            "MemWidth": str(self.mem_width),
            "Segments": str(len(self.segments)),
            "ItemBeats": str(max(segment.beats for segment in self.segments)),
            "ImageBeats": str(self.image_beats),
            "Geometry": f"64'h{self.id:016x}",
            "Rows": str(self.rows),
            "Words": str(self.words),
            "ReadRegisters": str(self.read_registers),
            "Table": f"{len(self.segments) * SEGMENT_BITS}'h{table:x}",
        }


def _beats(width: int) -> int:
    return -(-width // (8 * BEAT_BYTES))
