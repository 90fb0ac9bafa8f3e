"""The state of a flat design: which flip-flops and memories there are, and what they are called.

A bit of state is named by the register that the RTL declares, with its place in the hierarchy, and
its index in it, least significant bit 0. May assume that the refusals have been made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from rtl_sim.capture import cells
from rtl_sim.capture.netlist import Bits, Cell, Module

_ANONYMOUS: Final = "anonymous"


@dataclass(frozen=True, slots=True, order=True)
class BitName:
    name: str
    bit: int


@dataclass(frozen=True, slots=True)
class Register:
    """The flip-flops of one cell: they share clock, enable and reset."""

    cell: Cell
    bits: tuple[BitName, ...]
    initial: str | None  # bit string, most significant first, when the RTL gives one
    whole: bool  # these are all bits of the RTL's register, in order

    @property
    def width(self) -> int:
        return len(self.bits)

    @property
    def q(self) -> Bits:
        return self.cell.pins["Q"]

    @property
    def label(self) -> str:
        """A name for the variable: the RTL's own, with a range when this is a part of it."""
        low, high = self.bits[0], self.bits[-1]
        if self.whole:
            return low.name
        if all(b == BitName(low.name, low.bit + i) for i, b in enumerate(self.bits)):
            return f"{low.name}[{high.bit}:{low.bit}]"
        return f"{low.name}[{low.bit}+]"


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory that the design can write; `depth` words from address `offset`."""

    cell: Cell
    name: str
    width: int
    depth: int
    offset: int

    @property
    def bit_count(self) -> int:
        return self.width * self.depth


@dataclass(frozen=True, slots=True)
class Rom:
    """A memory nobody writes: no state, but its content is part of what the design is."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class State:
    registers: tuple[Register, ...]  # by their first bit's name
    memories: tuple[Memory, ...]  # by name; the position is the index on the state port
    roms: tuple[Rom, ...]

    @property
    def flop_count(self) -> int:
        return sum(register.width for register in self.registers)

    @property
    def memory_width(self) -> int:
        return max((memory.width for memory in self.memories), default=1)

    @property
    def bit_count(self) -> int:
        return self.flop_count + sum(memory.bit_count for memory in self.memories)


def extract(modules: Mapping[str, Module], top: str) -> State:
    module = modules[top]
    memories = sorted(_memories(module), key=lambda memory: memory.name)
    roms = {rom.name: rom for kept in modules.values() for rom in _roms(kept)}
    registers = sorted(_registers(module), key=lambda register: register.bits[0])
    return State(tuple(registers), tuple(memories), tuple(roms[name] for name in sorted(roms)))


def _registers(module: Module) -> Iterator[Register]:
    names: dict[int, BitName] = {}
    widths: dict[str, int] = {}
    initial: dict[int, str] = {}
    for net in sorted(module.nets, key=lambda net: net.name):
        marked = net.public and cells.REGISTER_MARK in net.attributes
        init = net.attributes.get("init", "")
        widths[net.name] = len(net.bits)
        for index, bit in enumerate(net.bits):
            if not isinstance(bit, int):
                continue
            if marked:
                names.setdefault(bit, BitName(net.name, index))
            if init[::-1][index : index + 1] in ("0", "1"):
                initial[bit] = init[::-1][index]
    unnamed = 0
    for cell in module.cells:
        if cell.kind.removeprefix("$") not in cells.SOUND_REGISTERS:
            continue
        bits = []
        for bit in cell.pins["Q"]:
            assert isinstance(bit, int), f"{cell.name} drives a constant"
            if bit not in names:
                names[bit] = BitName(_ANONYMOUS, unnamed)
                unnamed += 1
            bits.append(names[bit])
        first = bits[0].name
        whole = bits == [BitName(first, i) for i in range(widths.get(first, 0))]
        init = "".join(initial.get(int(bit), "x") for bit in reversed(cell.pins["Q"]))
        yield Register(
            cell, tuple(bits), init.replace("x", "0") if init.strip("x") else None, whole
        )


def _memories(module: Module) -> Iterator[Memory]:
    for cell in module.cells:
        if cell.kind == "$mem_v2" and cell.number("WR_PORTS"):
            yield Memory(
                cell,
                cell.params["MEMID"].removeprefix("\\"),
                cell.number("WIDTH"),
                cell.number("SIZE"),
                cell.number("OFFSET"),
            )


def _roms(module: Module) -> Iterator[Rom]:
    for cell in module.cells:
        if cell.kind == "$mem_v2" and not cell.number("WR_PORTS"):
            image = f"{cell.number('WIDTH')} {cell.number('SIZE')} {cell.params['INIT']}"
            digest = hashlib.blake2b(image.encode(), digest_size=32).hexdigest()
            yield Rom(cell.params["MEMID"].removeprefix("\\"), digest)
