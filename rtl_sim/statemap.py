"""The state map of an instrumented design (docs/overlays.md): where each bit of state is.

Turns rows of the flip-flop chain and read registers of memories into the canonical order of a
snapshot and back. It must not know how they are moved.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtl_sim.errors import SnapshotError

STATE_MAP_FORMAT = 2
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


@dataclass(frozen=True, slots=True)
class ReadRegister:
    """The register of a synchronous read port, read and loaded through memory `memory`."""

    select: int
    memory: int  # the memory's index
    bits: tuple[tuple[str, int], ...]  # (name, bit), least significant first

    @property
    def size_bytes(self) -> int:
        return -(-len(self.bits) // 8)


@dataclass(frozen=True)
class StateMap:
    layout_id: str
    lanes: int
    rows: int
    mem_width: int
    flops: tuple[tuple[str, int, int, int], ...]  # (name, bit, row, lane) of bits on the chain
    memories: tuple[Memory, ...]  # sorted by name
    clock: str  # the port that the state port belongs to; "" in a design without state
    clocks: tuple[str, ...]  # every clock port, that one first
    read_registers: tuple[ReadRegister, ...]  # sorted by select

    @classmethod
    def parse(cls, data: bytes) -> StateMap:
        """The map of a state.json. Raises SnapshotError for one that makes no sense."""
        try:
            raw: dict[str, Any] = json.loads(data)
            if raw["format"] != STATE_MAP_FORMAT:
                raise SnapshotError(
                    f"state map of format {raw['format']!r}; this version reads "
                    f"{STATE_MAP_FORMAT}: capture the design again, its state port differs too"
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
            registers = sorted(
                (
                    ReadRegister(
                        int(r["select"]),
                        int(r["memory"]),
                        tuple((str(name), int(bit)) for name, bit in r["bits"]),
                    )
                    for r in raw["read_registers"]
                ),
                key=lambda register: register.select,
            )
            state_map = cls(
                str(raw["layout_id"]), int(raw["lanes"]), int(raw["rows"]), int(raw["mem_width"]),
                tuple(flops), tuple(memories), str(raw["clock"]), tuple(map(str, raw["clocks"])),
                tuple(registers),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotError(f"state map cannot be read: {error!r}") from error
        state_map._check()
        return state_map

    def _check(self) -> None:
        names = [memory.name for memory in self.memories]
        widths = {memory.index: memory.width for memory in self.memories}
        selects = [*widths, *(register.select for register in self.read_registers)]
        slots = {(row, lane) for _, _, row, lane in self.flops}
        sound = (
            self.lanes >= 1
            and self.rows >= 0
            and self.rows * self.lanes <= MAX_STATE_BITS
            and len(slots) == len(self.flops)
            and len(set(self.bits)) == len(self.bits)
            and all(0 <= row < self.rows and 0 <= lane < self.lanes for row, lane in slots)
            and len(set(names)) == len(names)
            and len(set(selects)) == len(self.memories) + len(self.read_registers)
            and all(
                0 < len(r.bits) <= widths.get(r.memory, 0) and r.select >= 0
                for r in self.read_registers
            )
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
        return -(-len(self.bits) // 8)

    @property
    def state_bits(self) -> int:
        return len(self.bits) + sum(memory.width * memory.depth for memory in self.memories)

    @cached_property
    def bits(self) -> tuple[tuple[str, int], ...]:
        """(name, bit) of every register bit, wherever it is, in canonical order."""
        chained = [(name, bit) for name, bit, _, _ in self.flops]
        return tuple(sorted(chained + [bit for r in self.read_registers for bit in r.bits]))

    @cached_property
    def walked(self) -> tuple[ReadRegister, ...]:
        """The registers through which their memories are walked, and which that overwrites."""
        first: dict[int, ReadRegister] = {}
        for register in self.read_registers:
            first.setdefault(register.memory, register)
        return tuple(first.values())

    @property
    def save_cycles(self) -> int:
        """Cycles that a save takes at one row, word or register a cycle."""
        words = sum(memory.depth for memory in self.memories)
        return 1 + self.rows + len(self.read_registers) + words + 3 * len(self.walked)

    @property
    def load_cycles(self) -> int:
        words = sum(memory.depth for memory in self.memories)
        return 1 + self.rows + 2 * len(self.read_registers) + words

    @cached_property
    def _positions(self) -> NDArray[np.int64]:
        """Index of each register bit, in canonical order, among the bits of rows and registers."""
        places = {
            (name, bit): row * self.row_bytes * 8 + lane for name, bit, row, lane in self.flops
        }
        start = self.rows * self.row_bytes * 8
        for register in self.read_registers:
            places.update((bit, start + index) for index, bit in enumerate(register.bits))
            start += register.size_bytes * 8
        return np.array([places[bit] for bit in self.bits], dtype=np.int64)

    def gather(self, rows: bytes, registers: Sequence[bytes]) -> bytes:
        """Canonical register bits, LSB first, from the chain's rows in order of appearance and
        the read registers in order of their selects (little-endian, `size_bytes` each)."""
        parts = b"".join((rows, *registers))
        bits = np.unpackbits(np.frombuffer(parts, np.uint8), bitorder="little")
        return np.packbits(bits[self._positions], bitorder="little").tobytes()

    def scatter(self, flops: bytes) -> tuple[bytes, tuple[bytes, ...]]:
        """The inverse; places of the chain that hold no flip-flop are 0."""
        bits = np.unpackbits(np.frombuffer(flops, np.uint8), bitorder="little")
        sizes = [self.rows * self.row_bytes, *(r.size_bytes for r in self.read_registers)]
        out = np.zeros(sum(sizes) * 8, np.uint8)
        out[self._positions] = bits[: len(self.bits)]
        parts = tuple(_cut(np.packbits(out, bitorder="little").tobytes(), sizes))
        return parts[0], parts[1:]


def _cut(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
