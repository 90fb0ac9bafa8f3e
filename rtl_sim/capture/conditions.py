"""Conditions under which registers and memories change, written where they are asked.

The RTL says `if (send && request == taken)`; the netlist has a wire for each gate of that. A
simulator takes a process apart by register before it looks at wires, finds such a wire read many
times, and works it out at every change of its inputs instead of when it is asked.

Only gates that the RTL gives no name, and that nothing reads but such conditions: a register's
choices, a memory port's enables, and other gates of one bit. So nothing is extended or cut by what
stands around it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from rtl_sim.capture.loops import topological
from rtl_sim.capture.netlist import Bit, Bits, Cell, Module

_MAX_DEPTH: Final = 12  # of conditions in each other: for readers, and for recursion
_LOGICAL: Final = frozenset({"$logic_not", "$logic_and", "$logic_or"})
_BITWISE: Final = frozenset({"$and", "$or", "$xor", "$xnor", "$not"})
_COMPARING: Final = frozenset(
    {"$eq", "$ne", "$lt", "$le", "$gt", "$ge", "$reduce_and", "$reduce_or", "$reduce_bool"}
)
_ENABLES: Final = frozenset({"WR_EN", "RD_EN", "RD_SRST"})  # of `$mem_v2`


def find(
    module: Module, choices: Collection[str], named: Callable[[Bits], bool]
) -> dict[str, Cell]:
    """The cells to write in place, by name.

    choices  multiplexers that are written as branches
    named    whether the RTL has a name for these bits
    """
    readers: dict[Bit, list[tuple[Cell, str]]] = {}
    for cell in module.cells:
        for pin in cell.inputs:
            for bit in dict.fromkeys(cell.pins[pin]):
                readers.setdefault(bit, []).append((cell, pin))
    public = {bit for port in module.ports for bit in port.bits}
    found: dict[str, Cell] = {}
    depth: dict[str, int] = {}  # of those that may hold others, in a condition
    for cell in reversed(topological(module)):
        if not _is_condition(cell) or cell.pins["Y"][0] in public or named(cell.pins["Y"]):
            continue
        inside: set[str] = set()
        asked = True
        for reader, pin in readers.get(cell.pins["Y"][0], ()):
            if reader.name in depth and _takes_bits(reader):
                inside.add(reader.name)
            elif not (reader.kind == "$mem_v2" and pin in _ENABLES):
                asked = asked and (reader.name in choices or pin == "D")
        level = 1 + max((depth[name] for name in inside), default=0)
        if asked and level <= _MAX_DEPTH:
            found[cell.name] = cell
            if len(inside) < 2:  # what stands in several places is no longer than one gate
                depth[cell.name] = level
    return found


def _is_condition(cell: Cell) -> bool:
    if cell.kind in _BITWISE:
        return _takes_bits(cell)
    return cell.kind in _LOGICAL | _COMPARING and len(cell.pins["Y"]) == 1


def _takes_bits(cell: Cell) -> bool:
    return all(len(bits) == 1 for bits in cell.pins.values())
