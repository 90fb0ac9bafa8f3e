"""A snapshot as registers and memories by name, for people to read and compare."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from rtl_sim.snapshot import FLOPS, MEMORY_PREFIX, Snapshot
from rtl_sim.statemap import StateMap

NAMED: Final = 8  # signals or registers in a message
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class State:
    """Values by hierarchical name. Bit i of a register's value is what the state map calls its
    bit i; bits that synthesis removed, being constant, read 0."""

    registers: Mapping[str, int]
    memories: Mapping[str, tuple[int, ...]]

    def differences(self, other: State) -> list[tuple[str, str, str]]:
        """(name, value here, value there) of everything that differs."""
        found = [
            (name, f"{value:#x}", f"{other.registers[name]:#x}")
            for name, value in self.registers.items()
            if value != other.registers[name]
        ]
        for name, words in self.memories.items():
            pairs = zip(words, other.memories[name], strict=True)
            found += [
                (f"{name}[{index}]", f"{a:#x}", f"{b:#x}")
                for index, (a, b) in enumerate(pairs)
                if a != b
            ]
        return found


class Named(dict[str, T]):
    """By hierarchical name; for one that there is not, KeyError says which there are."""

    def __missing__(self, name: str) -> T:
        close = difflib.get_close_matches(str(name), self, NAMED, 0.4) or sorted(self)[:NAMED]
        raise KeyError(f"there is no {name!r}; there are {', '.join(close) or 'none'}")


def decoded(snapshot: Snapshot, state_map: StateMap) -> State:
    bits = np.unpackbits(np.frombuffer(snapshot.segments[FLOPS], np.uint8), bitorder="little")
    registers: Named[int] = Named()
    for (name, bit), value in zip(state_map.bits, bits.tolist(), strict=False):  # padded to bytes
        registers[name] = registers.get(name, 0) | value << bit
    memories: Named[tuple[int, ...]] = Named()
    for memory in state_map.memories:
        data = snapshot.segments[MEMORY_PREFIX + memory.name]
        size = memory.word_bytes
        memories[memory.name] = tuple(
            int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size)
        )
    return State(registers, memories)


def listed(lines: list[str]) -> str:
    """For a message: the first few, indented, and how many more there are."""
    more = [f"and {len(lines) - NAMED} more"] if len(lines) > NAMED else []
    return "\n".join(f"  {line}" for line in (*lines[:NAMED], *more))
