"""Arrays of registers that all take the same data, each under an enable of its own.

Register files with a reset, key schedules, tables written by index: no memory to synthesis, because
something touches all words at once. On the chain each bit would cost a multiplexer. Here the state
port reaches them like a memory: one multiplexer chooses what all words are given, `sp_maddr` says
which of them takes it, and a read multiplexer of a quarter of a LUT a bit shows them.

    wire [7:0] table$data = sp_run ? <what the RTL gives> : sp_mwd[7:0];

An array is what the RTL declares as one: `name[0]`, `name[1]`, ... to Yosys's reader, one long
register to slang's; the state map says the same of both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from rtl_sim.capture.netlist import Bit, Module
from rtl_sim.capture.prepare import REGISTER_KINDS
from rtl_sim.capture.scope import Scope, identifier, slice_of, span
from rtl_sim.capture.state import Bank, BitName, Register, State
from rtl_sim.capture.updates import Choices

# Below, what is shared (enables, addresses) weighs more than the multiplexers that are saved.
_FEWEST_WORDS: Final = 4
_FEWEST_BITS: Final = 128

_WORD: Final = re.compile(r"(.+)\[(\d+)\]\Z")

# (word, bit of it) -> the register that holds it and what it takes
_Cells = dict[tuple[int, int], tuple[Register, Bit]]


def with_banks(state: State, module: Module) -> State:
    """Take arrays of registers off the chain, to be reached like memories."""
    choices = Choices(module, REGISTER_KINDS)
    arrays: dict[str, dict[BitName, tuple[Register, Bit]]] = {}
    for register in state.registers:
        given = _given(register, choices)
        for place, bit in zip(register.bits, given, strict=True):
            match = _WORD.match(place.name)
            arrays.setdefault(match[1] if match else place.name, {})[place] = register, bit
    banks: list[Bank] = []
    for name, bits in sorted(arrays.items()):
        found = _bank(name, bits, len(state.memories) + len(banks))
        if found is not None:
            banks.append(found)
    taken = {id(register) for bank in banks for register in bank.registers}
    rest = tuple(register for register in state.registers if id(register) not in taken)
    return replace(state, registers=rest, banks=tuple(banks))


def _given(register: Register, choices: Choices) -> tuple[Bit, ...]:
    """The one thing that the register takes besides constants and what it holds; "" is none."""
    leaves = set(choices.leaves(register.cell.pins["D"], register.q))
    return leaves.pop() if len(leaves) == 1 else ("",) * register.width


def _bank(name: str, bits: Mapping[BitName, tuple[Register, Bit]], index: int) -> Bank | None:
    cells = _words(name, bits)
    depth = 1 + max((word for word, _ in cells), default=-1)
    width = len(cells) // depth if depth else 0
    places = [(word, bit) for word in range(depth) for bit in range(width)]
    if depth < _FEWEST_WORDS or len(cells) < _FEWEST_BITS or sorted(cells) != places:
        return None
    data = tuple(cells[0, bit][1] for bit in range(width))
    if "" in data or any(cells[word, bit][1] != data[bit] for word, bit in places):
        return None
    pieces: dict[int, tuple[Register, int, int]] = {}
    for (word, bit), (register, _) in sorted(cells.items()):
        pieces.setdefault(id(register), (register, word, bit))
    # A register that spans words, or holds bits that are none of the array's, is no part of a bank.
    if any(register.width > width - low for register, _, low in pieces.values()):
        return None
    if sum(register.width for register, _, _ in pieces.values()) != len(cells):
        return None
    return Bank(name, width, depth, data, tuple(pieces.values()), index)


def _words(name: str, bits: Mapping[BitName, tuple[Register, Bit]]) -> _Cells:
    """The array's bits by word, counted from the lowest; of one long register, by what repeats."""
    numbered = {bit: _WORD.match(bit.name) for bit in bits}
    if all(numbered.values()):
        places = {(int(match[2]), bit.bit): cell for bit, cell in bits.items()
                  if (match := numbered[bit])}  # fmt: skip
        first = min(word for word, _ in places)
        return {(word - first, bit): cell for (word, bit), cell in places.items()}
    ordered = sorted(bits)
    if [bit.name for bit in ordered] != [name] * len(bits):
        return {}
    given = [bits[bit][1] for bit in ordered]
    width = given.index(given[0], 1) if given[0] in given[1:] else len(given)
    return {divmod(place, width): bits[bit] for place, bit in enumerate(ordered)}


class Banks:
    """The text of the banks, whose registers come after all that are on the chain."""

    def __init__(self, state: State, scope: Scope) -> None:
        self._banks, self._scope = state.banks, scope
        self._port_width = state.memory_width
        self._wires = [scope.reserve(f"{bank.name}$data") for bank in self._banks]
        # By the register's position: its bank, word and lowest bit.
        self._places: dict[int, tuple[int, int, int]] = {}
        first = len(state.registers)
        for number, bank in enumerate(self._banks):
            for _, word, low in bank.pieces:
                self._places[first + len(self._places)] = number, word, low

    def of(self, index: int) -> int:
        """The number of the register's bank; -1: it is on the chain."""
        return self._places.get(index, (-1, 0, 0))[0]

    def given(self, index: int, width: int) -> str:
        """What the register takes, running or frozen."""
        number, _, low = self._places[index]
        return slice_of(self._wires[number], self._banks[number].width, low, width)

    def declare(self) -> Iterator[str]:
        for bank, wire in zip(self._banks, self._wires, strict=True):
            data = self._scope.render(bank.data)
            yield from self._scope.mark(bank.registers[0].bits[0].name)
            given = slice_of("sp_mwd", self._port_width, 0, bank.width)
            yield f"  wire {span(bank.width)}{identifier(wire)} = sp_run ? {data} : {given};"

    def selected(self, number: int) -> str:
        """The condition under which the state port writes a word of the bank."""
        return f"sp_mwe && sp_msel == 16'd{self._banks[number].index}"

    def writes(self, members: Mapping[int, tuple[str, int]]) -> Iterator[str]:
        """The addressed word of a bank; `members`: register's position -> variable and width."""
        words: dict[int, list[str]] = {}
        for index, (variable, width) in members.items():
            number, word, _ = self._places[index]
            words.setdefault(word, []).append(f"{variable} <= {self.given(index, width)};")
        bits = self._banks[number].address_bits
        yield f"case (sp_maddr[{bits - 1}:0])"
        for word, lines in sorted(words.items()):
            yield f"  {bits}'d{word}: begin"
            yield from (f"    {line}" for line in lines)
            yield "  end"
        yield "  default: ;"
        yield "endcase"

    def shown(self, address: str) -> Iterator[tuple[int, list[str]]]:
        """Select on the state port and what then shows the word at `address`."""
        for bank in self._banks:
            words: dict[int, list[Bit]] = {}
            for register, word, _ in bank.pieces:
                words.setdefault(word, []).extend(register.q)
            last = bank.depth - 1
            labels = [*(f"{bank.address_bits}'d{word}" for word in range(last)), "default"]
            lines = [f"case ({address}[{bank.address_bits - 1}:0])"]
            lines += (
                f"  {label}: sp_mrd = {self._scope.render(tuple(words[word]))};"
                for word, label in enumerate(labels)
            )
            yield bank.index, [*lines, "endcase"]
