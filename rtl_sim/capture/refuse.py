"""What capture will not touch, looked for by name and reported all at once.

Two looks: at the raw netlist, before any optimisation could hide something, and at the flat one,
where clocks and loops can be followed through the whole design. Anything not known to be sound is
refused; nothing is dropped silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rtl_sim.capture import boxes, cells, clocks, expr
from rtl_sim.capture.clocks import Clocks
from rtl_sim.capture.dead import dead_clocks
from rtl_sim.capture.errors import CaptureRefused, Refusal
from rtl_sim.capture.loops import combinational_loops
from rtl_sim.capture.netlist import Bit, Module

# Names the state port takes; a design that has them cannot be given one.
STATE_PORTS: Final = (
    "sp_run",
    "sp_scan",
    "sp_si",
    "sp_so",
    "sp_msel",
    "sp_maddr",
    "sp_mre",
    "sp_mwe",
    "sp_mwd",
    "sp_mrd",
)
# And those of what it adds inside: a port cannot make way for them.
_ADDED: Final = re.compile(r"sp_(padding|walk|at|gated|gate|clk_\d+(_flops|_switch)?)\Z")
_MEMORY_KINDS: Final = frozenset(
    {"$mem_v2", "$memrd", "$memrd_v2", "$memwr_v2", "$meminit", "$meminit_v2"}
)


def reset_alone(module: Module) -> Iterator[Refusal]:
    """Bits that slang's reader has lost: only an asynchronous reset ever gives them a value.

    It drives them by their initial value, or by X. A constant that the RTL gives a part of a
    variable looks alike, but is no X, and such a variable has no initial value.
    """
    reset = {
        bit
        for cell in module.cells
        if cell.kind in ("$adff", "$adffe", "$dffsr", "$dffsre")
        for bit in cell.pins["Q"]
    }
    fixed = {
        bit: value
        for cell in module.cells
        if cell.kind == "$buf"
        for bit, value in zip(cell.pins["Y"], cell.pins["A"], strict=True)
        if isinstance(value, str)
    }
    for net in module.nets:
        if not net.public or reset.isdisjoint(net.bits):
            continue
        started = "init" in net.attributes
        lost = [n for n, bit in enumerate(net.bits) if bit in fixed]
        if lost and (started or any(fixed[net.bits[n]] == "x" for n in lost)):
            which = ", ".join(map(str, lost))
            why = (
                f"has bits ({which}) that at most its asynchronous reset gives a value, which "
                "the reader of SystemVerilog leaves out: assign them at the clock's edge too"
            )
            yield Refusal("reset-alone", net.name, why)


def check_raw(modules: Mapping[str, Module], top: str) -> None:
    """Refuse constructs that a look at single cells and ports shows."""
    found = [refusal for module in modules.values() for refusal in _raw(module, modules)]
    # Also here: where two drive one net, optimising takes one of them for the other.
    found += [refusal for module in modules.values() for refusal in _drivers(module)]
    found += [
        Refusal("port-direction", port.name, "is an inout: its driver cannot be told from outside")
        for port in modules[top].ports
        if port.direction == "inout"
    ]
    found += [
        Refusal("reserved-name", net.name, "is a name of the state port itself; rename it")
        for net in modules[top].nets
        if net.public and net.name in STATE_PORTS
    ]
    found += [
        Refusal("reserved-name", port.name, "is a name of what is added to the design; rename it")
        for port in modules[top].ports
        if _ADDED.match(port.name)
    ]
    found += dead_clocks(modules, top)
    if found:
        raise CaptureRefused(top, found)


def check_flat(modules: Mapping[str, Module], top: str, declared: Sequence[str] = ()) -> Clocks:
    """Refuse what only the whole design shows. Returns its clocks; `declared` names their ports."""
    module = modules[top]
    found = [refusal for kept in modules.values() for refusal in _drivers(kept)]
    found += [refusal for kept in modules.values() for refusal in _refused(kept, frozenset())]
    found_clocks, complaints = clocks.find(module, declared)
    found += complaints
    found += [
        Refusal(
            "blackbox",
            module.place(cell),
            "declares state, but its clock is not the rising edge of the primary clock "
            f"{found_clocks.primary}",
        )
        for cell in boxes.misclocked(module, found_clocks)
    ]
    for kept in modules.values():
        found += [
            Refusal("combinational-loop", kept.place(cell), "its output reaches its own input")
            for cell in combinational_loops(kept)
        ]
    if found:
        raise CaptureRefused(top, found)
    return found_clocks


def _raw(module: Module, modules: Mapping[str, Module]) -> Iterator[Refusal]:
    if boxes.is_box(module):
        yield from boxes.check(module)
        return
    yield from _refused(module, _unread(module))
    for cell in module.cells:
        place = module.place(cell)
        if cell.kind == "$tribuf" or any("z" in bits for bits in cell.pins.values()):
            yield Refusal("tristate", place, "drives z: what is on the net is decided elsewhere")
        elif not cell.kind.startswith("$") and cell.kind not in modules:
            yield Refusal(
                "blackbox", place, f"instantiates {cell.kind}, which the sources do not define"
            )
        elif cell.kind in modules and boxes.is_box(modules[cell.kind]):
            yield from boxes.check_instance(module, cell, modules[cell.kind])
        elif not _known(cell.kind) and cell.kind not in modules:
            yield Refusal("unknown-cell", place, f"is a {cell.kind}, which capture does not know")
    for port in module.ports:
        if port.direction != "input" and "z" in port.bits:
            yield Refusal("tristate", f"{module.name}.{port.name}", "drives z")


def _refused(module: Module, unread: frozenset[str]) -> Iterator[Refusal]:
    for cell in module.cells:
        reason = cells.REFUSED_REGISTERS.get(cell.kind.removeprefix("$"))
        if reason is not None and cell.name not in unread:
            yield Refusal(reason[0], module.place(cell), reason[1])


def _unread(module: Module) -> frozenset[str]:
    """Latches whose value nothing reads: loop variables of combinational processes."""
    latches = [cell for cell in module.cells if cell.kind in cells.LATCHES]
    read: set[Bit] = set()
    for cell in module.cells if latches else ():
        read.update(b for pin, bits in cell.pins.items() if pin not in cell.outputs for b in bits)
    read.update(bit for p in module.ports if p.direction != "input" for bit in p.bits)
    return frozenset(cell.name for cell in latches if read.isdisjoint(cell.pins["Q"]))


def _known(kind: str) -> bool:
    return (
        kind in expr.COMBINATIONAL
        or kind in cells.SILENT
        or kind in cells.REMEMBERING
        or kind in _MEMORY_KINDS
    )


def _drivers(module: Module) -> Iterator[Refusal]:
    driven: dict[Bit, str] = {}
    for port in module.ports:
        if port.direction == "input":
            driven.update((bit, f"port {port.name}") for bit in port.bits)
            if constants := [bit for bit in port.bits if isinstance(bit, str)]:
                yield Refusal("driver-conflict", port.name, f"so does constant {constants[0]}")
    for cell in module.cells:
        for pin in cell.outputs:
            for bit in cell.pins[pin]:
                if isinstance(bit, str):
                    yield Refusal("driver-conflict", module.place(cell), f"drives constant {bit}")
                elif bit in driven:
                    yield Refusal("driver-conflict", module.place(cell), f"so does {driven[bit]}")
                driven[bit] = f"{pin} of {cell.name}"
