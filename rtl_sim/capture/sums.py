"""Registers that take the sum of an adder of their own: accumulators and pipelined adders.

A multiplexer behind an adder costs a LUT a bit, for the carry chain has taken the one before it.
So nothing is put behind where an operand *is* the bit that comes down the chain (`links.py` sees to
it): while the chain shifts, the adder itself lets that operand through, for the other one is 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rtl_sim.capture.netlist import Bit, Bits, Cell, Module
from rtl_sim.capture.state import Register
from rtl_sim.capture.updates import Choices

_ADDERS: Final = ("$add", "$sub")
_DEEPEST: Final = 4  # adders of adders that are taken apart: each doubles the ways to do so


@dataclass(frozen=True, slots=True)
class Sum:
    """`passed` and then each term, added or subtracted: what the register takes, all as wide."""

    cells: frozenset[str]
    passed: Bits  # the operand that is exchanged while the chain shifts
    terms: tuple[tuple[str, Bits], ...]  # operators and operands, which are 0 then


def find(
    module: Module, choices: Choices, registers: Sequence[Register]
) -> dict[int, tuple[Sum, ...]]:
    """By the index of the register, the ways to write its sum, each with another operand passed.

    Only adders whose sum nobody else reads.
    """
    adders = {
        bit: (cell, position)
        for cell in module.cells
        if cell.kind in _ADDERS
        for position, bit in enumerate(cell.pins["Y"])
    }
    taking: dict[int, Cell] = {}
    for index, register in enumerate(registers):
        leaves = set(choices.leaves(register.cell.pins["D"], register.q))
        if len(leaves) == 1:
            bits = leaves.pop()
            cell, _ = adders.get(bits[0], (None, 0))
            if cell is not None and bits == cell.pins["Y"][: len(bits)]:
                taking[index] = cell
    users: dict[str, set[int]] = {}
    for index, cell in taking.items():
        users.setdefault(cell.name, set()).add(index)
    readers = _readers(module, choices, adders, {r.cell.name for r in registers})
    return {
        index: tuple(_sums(cell, registers[index].width, adders, readers))
        for index, cell in taking.items()
        if len(users[cell.name]) == 1 and cell.name not in readers
    }


def _sums(
    cell: Cell,
    width: int,
    adders: Mapping[Bit, tuple[Cell, int]],
    readers: Mapping[str, set[str]],
    depth: int = _DEEPEST,
) -> Iterator[Sum]:
    """An operand that is the sum of an adder which serves this one alone is taken apart, too."""
    for passed, term in _operands(cell, width):
        below, _ = adders.get(passed[0], (None, 0))
        if (
            below is not None
            and depth > 1
            and passed == below.pins["Y"][:width]
            and readers[below.name] == {cell.name}
        ):
            for found in _sums(below, width, adders, readers, depth - 1):
                yield Sum(found.cells | {cell.name}, found.passed, (*found.terms, term))
        else:
            yield Sum(frozenset((cell.name,)), passed, (term,))


def _operands(cell: Cell, width: int) -> Iterator[tuple[Bits, tuple[str, Bits]]]:
    """Each operand that may be passed, with the operator and operand that then come after it."""
    left, right = (_extended(cell, pin, width) for pin in "AB")
    if cell.kind == "$sub":
        if all(isinstance(bit, str) for bit in right):  # a negative step is a step, too
            yield left, ("+", _negated(right))
        else:
            yield left, ("-", right)
        return
    if not all(isinstance(bit, str) for bit in left):
        yield left, ("+", right)
    if not all(isinstance(bit, str) for bit in right):
        yield right, ("+", left)


def _extended(cell: Cell, pin: str, width: int) -> Bits:
    bits = cell.pins[pin][:width]
    fill: Bit = bits[-1] if cell.flag(f"{pin}_SIGNED") else "0"
    return (*bits, *(fill for _ in range(width - len(bits))))


def _negated(bits: Bits) -> Bits:
    value = -sum(1 << place for place, bit in enumerate(bits) if bit == "1")
    return tuple("1" if value >> place & 1 else "0" for place in range(len(bits)))


def _readers(
    module: Module,
    choices: Choices,
    adders: Mapping[Bit, tuple[Cell, int]],
    registers: set[str],
) -> dict[str, set[str]]:
    """Who reads each adder, besides registers and the choices before them: names of cells."""
    found: dict[str, set[str]] = {}

    def note(bits: Bits, reader: str) -> None:
        for bit in bits:
            if bit in adders:
                found.setdefault(adders[bit][0].name, set()).add(reader)

    for port in module.ports:
        if port.direction != "input":
            note(port.bits, "")
    for cell in module.cells:
        for pin in cell.inputs:
            if pin == "D" and cell.name in registers:
                continue
            if pin in "AB" and cell.name in choices.names:
                continue
            note(cell.pins[pin], cell.name)
    return found
