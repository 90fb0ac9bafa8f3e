"""Black boxes: instances of modules without body, and what is declared to be behind them.

    (* blackbox, haltere_stateless *)         nothing remembers: the instance stays as it is
    (* blackbox, haltere_state_bits = N *)    a chain of its own, N bits in one lane

The second shifts from `sp_si` to `sp_so` under `!sp_run && sp_scan` and holds under `!sp_run`, at
the rising edge of the port that `haltere_clock` names (or of its only 1-bit input), which must be
the primary clock. Its chain is a run of the design's chain; its bits are `<instance>.state`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from rtl_sim.capture.clocks import Clocks
from rtl_sim.capture.errors import Refusal
from rtl_sim.capture.netlist import Cell, Inside, Module, Port
from rtl_sim.capture.scope import identifier, span

STATELESS: Final = "haltere_stateless"
STATE_BITS: Final = "haltere_state_bits"
CLOCK: Final = "haltere_clock"
CHAIN_PORTS: Final = {"sp_run": "input", "sp_scan": "input", "sp_si": "input", "sp_so": "output"}
STATE: Final = "state"  # what the bits of a black box are called
_DO: Final = (
    f"give a source, or declare it with {STATELESS}, or with {STATE_BITS} and a chain of its own"
)


def is_box(module: Module) -> bool:
    return "blackbox" in module.attributes or "whitebox" in module.attributes


def state_bits(module: Module) -> int:
    """How many bits a black box declares to remember; 0: none, or nothing is declared."""
    return int(module.attributes.get(STATE_BITS, "0"), 2)


def check(module: Module) -> Iterator[Refusal]:
    """What is wrong with the declaration of a black box."""

    def refusal(why: str) -> Refusal:
        return Refusal("blackbox", module.name, why)

    if STATELESS in module.attributes and STATE_BITS not in module.attributes:
        return
    if STATE_BITS not in module.attributes:
        yield refusal(f"has no body, so its state cannot be reached; {_DO}")
        return
    if STATELESS in module.attributes or not state_bits(module):
        yield refusal(f"has {STATE_BITS} but is to have no state; declare one of them")
        return
    for name, direction in CHAIN_PORTS.items():
        port = module.port(name)
        if port is None or port.direction != direction or len(port.bits) != 1:
            yield refusal(f"declares state, but no 1-bit {direction} {name} to reach it through")
    if _clock(module) is None:
        yield refusal(f"declares state, and {CLOCK} names no 1-bit input of it")


def known(modules: Mapping[str, Module]) -> dict[str, Inside]:
    """What is inside each black box with a state. May assume that `check` found nothing."""
    return {name: _inside(module) for name, module in modules.items() if state_bits(module)}


def _inside(module: Module) -> Inside:
    clock = _clock(module)
    assert clock is not None
    inputs = [p.name for p in module.ports if p.direction == "input" and p.name not in CHAIN_PORTS]
    reached = tuple(name for name in inputs if name != clock.name)
    through = {p.name: reached for p in module.ports if p.direction == "output"}
    bits = tuple((STATE, bit) for bit in range(state_bits(module)))
    return Inside(clock.name, bits, through)


def _clock(module: Module) -> Port | None:
    """The named one; else the only input of one bit that is no port of the chain."""
    inputs = [
        port
        for port in module.ports
        if port.direction == "input" and len(port.bits) == 1 and port.name not in CHAIN_PORTS
    ]
    if CLOCK in module.attributes:
        return next((p for p in inputs if p.name == module.attributes[CLOCK]), None)
    return inputs[0] if len(inputs) == 1 else None


def opened(modules: Mapping[str, Module], insides: Mapping[str, Inside]) -> dict[str, Module]:
    """The modules with what is known of it at every instance, and the state port off its pins."""

    def instance(cell: Cell) -> Cell:
        if cell.kind not in insides:
            return cell
        return replace(
            cell,
            inside=insides[cell.kind],
            pins={pin: bits for pin, bits in cell.pins.items() if pin not in CHAIN_PORTS},
            outputs=tuple(pin for pin in cell.outputs if pin not in CHAIN_PORTS),
        )

    return {
        name: replace(module, cells=tuple(map(instance, module.cells)))
        for name, module in modules.items()
    }


def declarations(modules: Mapping[str, Module]) -> str:
    """The black boxes as text, for tools that must know their ports."""
    params: dict[str, set[str]] = {n: set() for n, module in modules.items() if is_box(module)}
    for module in modules.values():
        for cell in module.cells:
            params.get(cell.kind, set()).update(cell.params)
    return "".join(_declaration(modules[name], sorted(params[name])) for name in sorted(params))


def _declaration(module: Module, params: Sequence[str]) -> str:
    given = f"#({', '.join(f'parameter {name} = 0' for name in params)}) " if params else ""
    ports = ",\n".join(
        f"  {port.direction} {span(len(port.bits))}{identifier(port.name)}" for port in module.ports
    )
    return f"(* blackbox *) module {identifier(module.name)} {given}(\n{ports}\n);\nendmodule\n"


def check_instance(module: Module, cell: Cell, box: Module) -> Iterator[Refusal]:
    """`cell`, an instance in `module` of a black box that `check` accepts."""
    clock = _clock(box)
    if state_bits(box) and clock is not None and not cell.pins.get(clock.name):
        yield Refusal("blackbox", module.place(cell), f"its clock {clock.name} is not connected")


def misclocked(module: Module, clocks: Clocks) -> Iterator[Cell]:
    """Instances with state that have another clock than the primary one's rising edge."""
    primary = clocks.bits.get(clocks.primary)
    for cell in module.cells:
        if cell.inside is not None and cell.pins[cell.inside.clock][0] != primary:
            yield cell
