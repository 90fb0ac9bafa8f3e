"""What capture will not touch, looked for by name and reported all at once.

Two looks: at the raw netlist, before any optimisation could hide something, and at the flat one,
where clocks and loops can be followed through the whole design. Anything not known to be sound is
refused; nothing is dropped silently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from rtl_sim.capture import cells, expr
from rtl_sim.capture.errors import CaptureRefused, Refusal
from rtl_sim.capture.loops import combinational_loops
from rtl_sim.capture.netlist import Bit, Cell, Module

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
_MEMORY_KINDS: Final = frozenset(
    {"$mem_v2", "$memrd", "$memrd_v2", "$memwr_v2", "$meminit", "$meminit_v2"}
)


def check_raw(modules: Mapping[str, Module], top: str) -> None:
    """Refuse constructs that a look at single cells and ports shows."""
    found = [refusal for module in modules.values() for refusal in _raw(module, modules)]
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
    if found:
        raise CaptureRefused(top, found)


def check_flat(modules: Mapping[str, Module], top: str) -> str:
    """Refuse what only the whole design shows. Returns the name of the one clock port, or ""."""
    module = modules[top]
    found = [refusal for kept in modules.values() for refusal in _drivers(kept)]
    clock, complaints = _one_clock(module)
    found += complaints
    for kept in modules.values():
        found += [
            Refusal("combinational-loop", _place(kept, cell), "its output reaches its own input")
            for cell in combinational_loops(kept)
        ]
    if found:
        raise CaptureRefused(top, found)
    return clock


def _raw(module: Module, modules: Mapping[str, Module]) -> Iterator[Refusal]:
    if "blackbox" in module.attributes or "whitebox" in module.attributes:
        yield Refusal("blackbox", module.name, "has no body, so its state cannot be reached")
        return
    for cell in module.cells:
        place = _place(module, cell)
        reason = cells.REFUSED_REGISTERS.get(cell.kind.removeprefix("$"))
        if reason is not None:
            yield Refusal(reason[0], place, reason[1])
        elif cell.kind == "$tribuf" or any("z" in bits for bits in cell.pins.values()):
            yield Refusal("tristate", place, "drives z: what is on the net is decided elsewhere")
        elif not cell.kind.startswith("$") and cell.kind not in modules:
            yield Refusal(
                "blackbox", place, f"instantiates {cell.kind}, which the sources do not define"
            )
        elif not _known(cell.kind) and cell.kind not in modules:
            yield Refusal("unknown-cell", place, f"is a {cell.kind}, which capture does not know")
    for port in module.ports:
        if port.direction != "input" and "z" in port.bits:
            yield Refusal("tristate", f"{module.name}.{port.name}", "drives z")


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
    for cell in module.cells:
        for pin in cell.outputs:
            for bit in cell.pins[pin]:
                if isinstance(bit, str):
                    yield Refusal("driver-conflict", _place(module, cell), f"drives constant {bit}")
                elif bit in driven:
                    yield Refusal("driver-conflict", _place(module, cell), f"so does {driven[bit]}")
                driven[bit] = f"{pin} of {cell.name}"


def _one_clock(module: Module) -> tuple[str, list[Refusal]]:
    """The design's clock port, and a complaint for every cell that has another."""
    found: list[Refusal] = []
    inputs = {
        port.bits[0]: port.name
        for port in module.ports
        if port.direction == "input" and len(port.bits) == 1
    }
    clocks: dict[str, str] = {}  # name of the port -> first cell that uses it
    bits: set[Bit] = set()
    for cell in module.cells:
        for bit, rising in _edges(cell):
            if not rising:
                found.append(
                    Refusal("clock-edge", _place(module, cell), "uses the falling edge of a clock")
                )
            if bit not in inputs:
                found.append(
                    Refusal(
                        "derived-clock",
                        _place(module, cell),
                        "has a clock that logic makes; masking cannot hold it at any cycle",
                    )
                )
            else:
                clocks.setdefault(inputs[bit], _place(module, cell))
                bits.add(bit)
    if len(clocks) > 1:
        found += [
            Refusal("several-clocks", name, f"clocks {user}; one clock domain is supported so far")
            for name, user in clocks.items()
        ]
    for cell in module.cells:
        pins = set(cell.inputs) - {"CLK", "WR_CLK", "RD_CLK"}
        if any(bit in bits for pin in pins for bit in cell.pins[pin]):
            found.append(Refusal("clock-as-data", _place(module, cell), "reads the clock as data"))
    return next(iter(clocks), ""), found


def _edges(cell: Cell) -> Iterator[tuple[Bit, bool]]:
    """Every clock bit that `cell` uses, and whether its rising edge."""
    if cell.kind.removeprefix("$") in cells.SOUND_REGISTERS:
        yield cell.pins["CLK"][0], cell.flag("CLK_POLARITY")
    elif cell.kind == "$mem_v2":
        for side in ("WR", "RD"):
            enabled = cell.params[f"{side}_CLK_ENABLE"][::-1]
            polarity = cell.params[f"{side}_CLK_POLARITY"][::-1]
            for port in range(cell.number(f"{side}_PORTS")):
                if enabled[port] == "1":
                    yield cell.pins[f"{side}_CLK"][port], polarity[port] == "1"


def _place(module: Module, cell: Cell) -> str:
    """Where the cell is, as its author would look for it."""
    outputs = {bit for pin in cell.outputs for bit in cell.pins[pin]}
    nets = sorted(
        (net.name for net in module.nets if net.public and outputs.intersection(net.bits)),
        key=lambda name: (-name.count("."), len(name), name),
    )
    what = nets[0] if nets else cell.name
    return f"{what} ({cell.source})" if cell.source else what
