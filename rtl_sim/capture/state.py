"""The state of a flat design: which flip-flops and memories there are, and what they are called.

A bit of state is named by the register that the RTL declares, with its place in the hierarchy, and
its index in it, least significant bit 0. May assume that the refusals have been made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rtl_sim.capture import cells
from rtl_sim.capture.netlist import Bit, Bits, Cell, Module
from rtl_sim.capture.ports import ReadPort, read_ports

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
    idle: Bits = ()  # what is taken at frozen edges that do not shift; (): nothing

    @property
    def width(self) -> int:
        return len(self.bits)

    @property
    def q(self) -> Bits:
        return self.cell.pins["Q"]

    @property
    def label(self) -> str:
        """A name for the variable: the RTL's own, with a range when this is a part of it."""
        return _label(self.bits, self.whole)


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory that the design can write; `depth` words from address `offset`."""

    cell: Cell
    name: str
    width: int
    depth: int
    offset: int
    index: int = 0  # its select on the state port

    @property
    def bit_count(self) -> int:
        return self.width * self.depth


@dataclass(frozen=True, slots=True)
class Bank:
    """An array of registers that the state port reaches like a memory (`banks.py`)."""

    name: str
    width: int
    depth: int
    data: Bits  # what every word is given
    pieces: tuple[tuple[Register, int, int], ...]  # with word and lowest bit, in that order
    index: int  # its select on the state port, after all memories

    @property
    def registers(self) -> tuple[Register, ...]:
        return tuple(register for register, _, _ in self.pieces)

    @property
    def address_bits(self) -> int:
        return (self.depth - 1).bit_length()

    @property
    def bit_count(self) -> int:
        return self.width * self.depth


@dataclass(frozen=True, slots=True)
class ReadRegister:
    """The register of a synchronous read port. `memory`: its memory's index, None for a ROM."""

    cell: Cell
    port: ReadPort
    bits: tuple[BitName, ...]
    memory: int | None
    shadow: Bits = ()  # flip-flops of the chain that stand for it; (): reached through the memory

    @property
    def width(self) -> int:
        return len(self.bits)

    @property
    def label(self) -> str:
        whole = self.bits[0].bit == 0
        return _label(self.bits, whole and len({bit.name for bit in self.bits}) == 1)


@dataclass(frozen=True, slots=True)
class Run:
    """The chain inside an instance, which is a part of one lane outside."""

    cell: Cell
    bits: tuple[BitName, ...]  # from the one that comes out first


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
    read_registers: tuple[ReadRegister, ...] = ()  # in the order of their memories and ports
    runs: tuple[Run, ...] = ()  # by instance
    banks: tuple[Bank, ...] = ()  # by name

    @property
    def every_register(self) -> tuple[Register, ...]:
        """Those on the chain, then those in banks."""
        return (*self.registers, *(r for bank in self.banks for r in bank.registers))

    @property
    def addressed(self) -> list[Memory | Bank]:
        """What is walked by address, by name."""
        return sorted((*self.memories, *self.banks), key=lambda memory: memory.name)

    @property
    def chained(self) -> list[tuple[BitName, ...]]:
        """The bits of what stands on the chain: registers, then runs."""
        return [*(r.bits for r in self.registers), *(run.bits for run in self.runs)]

    def select(self, number: int) -> int:
        """The select on the state port of read register `number`, which has no shadow."""
        before = sum(not register.shadow for register in self.read_registers[:number])
        return len(self.memories) + len(self.banks) + before

    @property
    def bits(self) -> list[BitName]:
        """Every register bit, on the chain or not, in canonical order."""
        own = self.chained
        own += [register.bits for register in self.read_registers if not register.shadow]
        return sorted(bit for bits in own for bit in bits)

    @property
    def names(self) -> list[str]:
        """Of all that remembers: a name of each register, memory and run."""
        return [
            *(register.bits[0].name for register in self.every_register),
            *(memory.name for memory in self.memories),
            *(register.cell.params["MEMID"].removeprefix("\\") for register in self.read_registers),
            *(run.cell.name for run in self.runs),
        ]

    @property
    def flop_count(self) -> int:
        return len(self.bits)

    @property
    def memory_width(self) -> int:
        return max((memory.width for memory in self.addressed), default=1)

    @property
    def bit_count(self) -> int:
        return self.flop_count + sum(memory.bit_count for memory in self.addressed)


def extract(modules: Mapping[str, Module], top: str) -> State:
    module = modules[top]
    found = sorted(_memories(module), key=lambda memory: memory.name)
    memories = [replace(memory, index=index) for index, memory in enumerate(found)]
    roms = {rom.name: rom for kept in modules.values() for rom in _roms(kept)}
    names = _Names(module)
    registers = sorted(_registers(module, names), key=lambda register: register.bits[0])
    return State(
        tuple(registers),
        tuple(memories),
        tuple(roms[name] for name in sorted(roms)),
        tuple(_read_registers(module, memories, names)),
        tuple(_runs(module)),
    )


def _runs(module: Module) -> Iterator[Run]:
    for cell in sorted(module.cells, key=lambda cell: cell.name):
        if cell.inside is not None:
            bits = (BitName(f"{cell.name}.{name}", bit) for name, bit in cell.inside.chain)
            yield Run(cell, tuple(bits))


def _label(bits: tuple[BitName, ...], whole: bool) -> str:
    low, high = bits[0], bits[-1]
    if whole:
        return low.name
    if all(b == BitName(low.name, low.bit + i) for i, b in enumerate(bits)):
        return f"{low.name}[{high.bit}:{low.bit}]"
    return f"{low.name}[{low.bit}+]"


class _Names:
    """What the RTL calls the bits of its registers, and their initial values."""

    def __init__(self, module: Module) -> None:
        self.names: dict[int, BitName] = {}
        self.widths: dict[str, int] = {}
        self.initial: dict[int, str] = {}
        self._unnamed = 0
        for net in sorted(module.nets, key=lambda net: net.name):
            marked = net.public and cells.REGISTER_MARK in net.attributes
            init = net.attributes.get("init", "")
            self.widths[net.name] = len(net.bits)
            for index, bit in enumerate(net.bits):
                if not isinstance(bit, int):
                    continue
                if marked:
                    self.names.setdefault(bit, BitName(net.name, index))
                if init[::-1][index : index + 1] in ("0", "1"):
                    self.initial[bit] = init[::-1][index]

    def of(self, bit: Bit) -> BitName:
        assert isinstance(bit, int), "a register drives a constant"
        if bit not in self.names:
            self.names[bit] = BitName(_ANONYMOUS, self._unnamed)
            self._unnamed += 1
        return self.names[bit]


def _registers(module: Module, names: _Names) -> Iterator[Register]:
    for cell in module.cells:
        if cell.kind.removeprefix("$") not in cells.SOUND_REGISTERS:
            continue
        q = cell.pins["Q"]
        bits = tuple(map(names.of, q))
        first = bits[0].name
        whole = list(bits) == [BitName(first, i) for i in range(names.widths.get(first, 0))]
        init = cell.params.get("INIT") or "".join(names.initial.get(int(b), "x") for b in q[::-1])
        yield Register(cell, bits, init.replace("x", "0") if init.strip("x") else None, whole)


def _read_registers(
    module: Module, memories: Sequence[Memory], names: _Names
) -> Iterator[ReadRegister]:
    """A port that Yosys made synchronous by moving its address register has no name of its own."""
    known = {memory.cell.name: memory.index for memory in memories}
    owners = [cell for cell in module.cells if cell.kind == "$mem_v2"]
    owners.sort(key=lambda cell: (cell.name not in known, cell.params["MEMID"]))
    for cell in owners:
        memory = cell.params["MEMID"].removeprefix("\\")
        for port in read_ports(cell):
            if not port.clock:
                continue
            if all(bit in names.names for bit in port.data):
                bits = tuple(map(names.of, port.data))
            else:
                label = f"{memory}.read{port.number}"
                bits = tuple(BitName(label, index) for index in range(len(port.data)))
            yield ReadRegister(cell, port, bits, known.get(cell.name))


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
