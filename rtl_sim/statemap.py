"""The state map of an instrumented overlay (docs/overlays.md): where each bit of state is.

Turns rows of the flip-flop chain into the canonical order of a snapshot and back. It must not
know how the rows are moved.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtl_sim.errors import SnapshotError

STATE_MAP_FORMAT = 1
MAX_STATE_BITS = 1 << 32  # a map that asks for more is damaged


@dataclass(frozen=True, slots=True)
class Memory:
    name: str
    index: int
    width: int
    depth: int

    @property
    def word_bytes(self) -> int:
        return -(-self.width // 8)

    @property
    def size_bytes(self) -> int:
        return self.word_bytes * self.depth


@dataclass(frozen=True)
class StateMap:
    layout_id: str
    lanes: int
    rows: int
    mem_width: int
    flops: tuple[tuple[str, int, int, int], ...]  # (name, bit, row, lane), sorted by (name, bit)
    memories: tuple[Memory, ...]  # sorted by name

    @classmethod
    def parse(cls, data: bytes) -> StateMap:
        """The map of a state.json. Raises SnapshotError for one that makes no sense."""
        try:
            raw: dict[str, Any] = json.loads(data)
            if raw["format"] != STATE_MAP_FORMAT:
                raise SnapshotError(
                    f"state map of format {raw['format']!r}; this version reads {STATE_MAP_FORMAT}"
                )
            flops = sorted(
                (str(f["name"]), int(f["bit"]), int(f["row"]), int(f["lane"])) for f in raw["flops"]
            )
            memories = sorted(
                (
                    Memory(str(m["name"]), int(m["index"]), int(m["width"]), int(m["depth"]))
                    for m in raw["memories"]
                ),
                key=lambda memory: memory.name,
            )
            state_map = cls(
                str(raw["layout_id"]), int(raw["lanes"]), int(raw["rows"]), int(raw["mem_width"]),
                tuple(flops), tuple(memories),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotError(f"state map cannot be read: {error!r}") from error
        state_map._check()
        return state_map

    def _check(self) -> None:
        names = [memory.name for memory in self.memories]
        slots = {(row, lane) for _, _, row, lane in self.flops}
        sound = (
            self.lanes >= 1
            and self.rows >= 0
            and self.rows * self.lanes <= MAX_STATE_BITS
            and len(slots) == len(self.flops) == len({flop[:2] for flop in self.flops})
            and all(0 <= row < self.rows and 0 <= lane < self.lanes for row, lane in slots)
            and len(set(names)) == len(names)
            and all(m.width >= 1 and m.depth >= 1 and m.index >= 0 for m in self.memories)
            and sum(memory.size_bytes for memory in self.memories) * 8 <= MAX_STATE_BITS
        )
        if not sound:
            raise SnapshotError(
                f"state map of layout {self.layout_id}: places overlap or lie outside "
                f"{self.rows} rows of {self.lanes} lanes"
            )

    @property
    def row_bytes(self) -> int:
        return -(-self.lanes // 8)

    @property
    def flops_bytes(self) -> int:
        return -(-len(self.flops) // 8)

    @property
    def state_bits(self) -> int:
        return len(self.flops) + sum(memory.width * memory.depth for memory in self.memories)

    @cached_property
    def _positions(self) -> NDArray[np.int64]:
        """Bit index into the packed rows, for each flip-flop in canonical order."""
        places = np.array([(row, lane) for _, _, row, lane in self.flops], dtype=np.int64)
        places = places.reshape(-1, 2)
        positions: NDArray[np.int64] = places[:, 0] * (self.row_bytes * 8) + places[:, 1]
        return positions

    def flops_from_rows(self, rows: bytes) -> bytes:
        """Canonical flip-flop bits, LSB first, of the chain's rows in order of appearance."""
        bits = np.unpackbits(np.frombuffer(rows, np.uint8), bitorder="little")
        return np.packbits(bits[self._positions], bitorder="little").tobytes()

    def rows_from_flops(self, flops: bytes) -> bytes:
        """The inverse; places of the chain that hold no flip-flop are 0."""
        bits = np.unpackbits(np.frombuffer(flops, np.uint8), bitorder="little")
        out = np.zeros(self.rows * self.row_bytes * 8, np.uint8)
        out[self._positions] = bits[: len(self.flops)]
        return np.packbits(out, bitorder="little").tobytes()
