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


@dataclass(frozen=True, slots=True)
class Sum:
    """`passed` operator `masked` is what the register takes, all as wide as the register."""

    cell: str
    operator: str
    passed: Bits  # the operand that is exchanged while the chain shifts
    masked: Bits  # the operand that is 0 then


def find(module: Module, choices: Choices, registers: Sequence[Register]) -> dict[int, Sum]:
    """By the index of the register; only adders whose sum nobody else reads."""
    adders = {
        bit: (cell, position)
        for cell in module.cells
        if cell.kind in _ADDERS
        for position, bit in enumerate(cell.pins["Y"])
    }
    taking: dict[int, Cell] = {}
    for index, register in enumerate(registers):
        leaves = set(_leaves(register, choices))
        if len(leaves) == 1:
            bits = leaves.pop()
            cell, _ = adders.get(bits[0], (None, 0))
            if cell is not None and bits == cell.pins["Y"][: len(bits)]:
                taking[index] = cell
    users: dict[str, set[int]] = {}
    for index, cell in taking.items():
        users.setdefault(cell.name, set()).add(index)
    public = _read_elsewhere(module, choices, adders, {r.cell.name for r in registers})
    homes = {bit for register in registers for bit in register.q}
    sums = {}
    for index, cell in taking.items():
        if len(users[cell.name]) == 1 and cell.name not in public:
            found = _sum(cell, registers[index], homes)
            if found is not None:
                sums[index] = found
    return sums


def _sum(cell: Cell, register: Register, homes: set[Bit]) -> Sum | None:
    width = register.width
    left, right = (_extended(cell, pin, width) for pin in "AB")
    if cell.kind == "$sub":
        if all(isinstance(bit, str) for bit in right):  # a negative step is a step, too
            return Sum(cell.name, "+", left, _negated(right))
        return Sum(cell.name, "-", left, right)
    own = set(register.q)

    def worth(operand: Bits) -> int:
        return sum(bit in homes and bit not in own for bit in operand)

    if all(isinstance(bit, str) for bit in left) or worth(right) > worth(left):
        left, right = right, left
    return Sum(cell.name, "+", left, right)


def _extended(cell: Cell, pin: str, width: int) -> Bits:
    bits = cell.pins[pin][:width]
    fill: Bit = bits[-1] if cell.flag(f"{pin}_SIGNED") else "0"
    return (*bits, *(fill for _ in range(width - len(bits))))


def _negated(bits: Bits) -> Bits:
    value = -sum(1 << place for place, bit in enumerate(bits) if bit == "1")
    return tuple("1" if value >> place & 1 else "0" for place in range(len(bits)))


def _leaves(register: Register, choices: Choices) -> Iterator[Bits]:
    """What the register may take, other than constants and what it holds."""
    waiting: list[Bits] = [register.cell.pins["D"]]
    while waiting:
        bits = waiting.pop()
        if bits == register.q or all(isinstance(bit, str) for bit in bits):
            continue
        cell = choices.choice(bits)
        if cell is None:
            yield bits
        else:
            waiting += choices.arms(cell, bits)


def _read_elsewhere(
    module: Module,
    choices: Choices,
    adders: Mapping[Bit, tuple[Cell, int]],
    registers: set[str],
) -> set[str]:
    """Adders that something reads besides registers and the choices before them."""
    names: set[str] = set()
    for port in module.ports:
        if port.direction != "input":
            names.update(adders[bit][0].name for bit in port.bits if bit in adders)
    for cell in module.cells:
        for pin in cell.inputs:
            if pin == "D" and cell.name in registers:
                continue
            if pin in "AB" and cell.name in choices.names:
                continue
            names.update(adders[bit][0].name for bit in cell.pins[pin] if bit in adders)
    return names
