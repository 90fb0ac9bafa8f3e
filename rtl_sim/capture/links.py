"""Pairs of flip-flops that had better follow each other on the chain.

A flip-flop that shifts needs a multiplexer before D, unless the bit that comes down the chain is
the one that the design gives it anyway: delay lines, pipelines and shift registers then only need
their clock enable widened, and stay shift registers (SRL) where synthesis makes such. Second
best is an operand of the adder whose sum the flip-flop takes (`sums.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from rtl_sim.capture.netlist import Bit, Cell, Module
from rtl_sim.capture.state import Register
from rtl_sim.capture.sums import Sum

_CHOICES: Final = ("$mux", "$pmux")


class Spot(NamedTuple):
    """One flip-flop: a register's position in the list of them, and a bit of it."""

    register: int
    bit: int


class Link(NamedTuple):
    source: Spot
    target: Spot


def find(
    module: Module, registers: Sequence[Register], sums: Mapping[int, Sequence[Sum]]
) -> list[Link]:
    """The links of a module, the most useful first."""
    homes: dict[Bit, Spot] = {
        bit: Spot(index, position)
        for index, register in enumerate(registers)
        for position, bit in enumerate(register.q)
    }
    chosen = {
        bit: (cell, position)
        for cell in module.cells
        if cell.kind in _CHOICES
        for position, bit in enumerate(cell.pins["Y"])
    }
    only: list[Link] = []
    among: list[Link] = []
    for index, register in enumerate(registers):
        for position, (d, q) in enumerate(zip(register.cell.pins["D"], register.q, strict=True)):
            target = Spot(index, position)
            leaves = list(_leaves(d, q, chosen))
            kind = only if len(leaves) == 1 else among
            kind += [Link(homes[leaf], target) for leaf in leaves if leaf in homes]
    operands = [
        Link(homes[bit], Spot(index, position))
        for index, ways in sums.items()
        for found in ways
        for position, bit in enumerate(found.passed)
        if homes.get(bit, Spot(index, position)) != Spot(index, position)
    ]
    return [*only, *operands, *among]


def _leaves(d: Bit, q: Bit, chosen: Mapping[Bit, tuple[Cell, int]]) -> Iterator[Bit]:
    """What a flip-flop may take when it neither holds nor takes a constant."""
    waiting, seen = [d], {q}
    while waiting:
        bit = waiting.pop()
        if isinstance(bit, str) or bit in seen:
            continue
        seen.add(bit)
        if bit in chosen:
            waiting += _arms(*chosen[bit])
        else:
            yield bit


def _arms(cell: Cell, position: int) -> Iterator[Bit]:
    yield cell.pins["A"][position]
    yield from cell.pins["B"][position :: len(cell.pins["A"])]
