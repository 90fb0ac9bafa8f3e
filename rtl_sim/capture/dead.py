"""Clocks that are constant or that nothing drives, looked for before Yosys optimises.

Afterwards such a register is gone, and its author would learn nothing: its value is its initial
one for ever, which is never what was meant. Followed through the ports of instances.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rtl_sim.capture import cells
from rtl_sim.capture.errors import Refusal
from rtl_sim.capture.netlist import Bit, Cell, Module

_CLOCKED = frozenset(
    {*(f"${kind}" for kind in (*cells.SOUND_REGISTERS, "aldff", "aldffe")), "$memwr_v2"}
)
_WIRES = frozenset({"$buf", "$pos"})

# (port, index of its bit) -> the first register that it clocks, as its author would look for it
_Wanted = Mapping[tuple[str, int], str]


def dead_clocks(modules: Mapping[str, Module], top: str) -> Iterator[Refusal]:
    found: list[Refusal] = []
    known: dict[str, _Wanted] = {}
    _clocked_ports(modules, top, known, found)
    yield from found


def _clocked_ports(
    modules: Mapping[str, Module], name: str, known: dict[str, _Wanted], found: list[Refusal]
) -> _Wanted:
    """The input bits of a module that clock something below; instances nest at most 64 deep."""
    if name in known:
        return known[name]
    known[name] = {}  # for a module inside itself, which is refused elsewhere
    module = modules[name]
    inputs: dict[Bit, tuple[str, int]] = {}
    for port in module.ports:
        if port.direction != "output":
            inputs.update((bit, (port.name, index)) for index, bit in enumerate(port.bits))
    wires: dict[Bit, Bit] = {}
    driven: set[Bit] = set(inputs)
    for cell in module.cells:
        driven.update(bit for pin in cell.outputs for bit in cell.pins[pin])
        if cell.kind in _WIRES:
            wires.update(zip(cell.pins["Y"], cell.pins["A"], strict=False))
    wanted: dict[tuple[str, int], str] = {}
    for bit, place in _uses(module, modules, known, found):
        for _ in range(len(wires)):
            if bit not in wires:
                break
            bit = wires[bit]
        if isinstance(bit, str):
            why = f"is clocked by the constant {bit}"
            found.append(Refusal("constant-clock", place, why))
        elif bit not in driven:
            why = "is clocked by a net that nothing drives"
            found.append(Refusal("undriven-clock", place, why))
        elif bit in inputs:
            wanted.setdefault(inputs[bit], place)
    known[name] = wanted
    return wanted


def _uses(
    module: Module, modules: Mapping[str, Module], known: dict[str, _Wanted], found: list[Refusal]
) -> Iterator[tuple[Bit, str]]:
    for cell in module.cells:
        if cell.kind in modules:
            for (pin, index), place in _clocked_ports(modules, cell.kind, known, found).items():
                bits = cell.pins.get(pin, ())
                yield bits[index] if index < len(bits) else -1, f"{cell.name}.{place}"
        elif cell.kind in _CLOCKED and _is_clocked(cell):
            yield cell.pins["CLK"][0], module.place(cell)


def _is_clocked(cell: Cell) -> bool:
    return cell.kind != "$memwr_v2" or cell.flag("CLK_ENABLE")
