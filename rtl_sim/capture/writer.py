"""Puts the instrumented Verilog together: kept modules as they are, the top with its state port."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final

from rtl_sim.capture import boxes, expr, formal, logic, looks, memories, uniform
from rtl_sim.capture.banks import Banks
from rtl_sim.capture.conditions import find as find_conditions
from rtl_sim.capture.domains import NAMES as DOMAIN_NAMES
from rtl_sim.capture.domains import Domains
from rtl_sim.capture.flops import PADDING, Flops
from rtl_sim.capture.modules import split
from rtl_sim.capture.netlist import Bits, Cell, Module
from rtl_sim.capture.options import Options
from rtl_sim.capture.owners import NOBODY, Owners
from rtl_sim.capture.parts import Part
from rtl_sim.capture.prepare import REGISTER_KINDS
from rtl_sim.capture.refuse import STATE_PORTS
from rtl_sim.capture.scope import Scope, identifier, span
from rtl_sim.capture.sums import find as find_sums
from rtl_sim.capture.updates import Choices

_HEAD: Final = "// Written by haltere's capture tool from a netlist: change the sources, not this."


@dataclass(frozen=True, slots=True)
class Written:
    verilog: str
    warnings: tuple[str, ...]


def write(
    modules: Mapping[str, Module], top: Part, options: Options, owners: Owners = NOBODY
) -> Written:
    """`modules`: all others: without state, or black boxes, which are only instantiated.

    `owners`: the instances with state that become modules.
    """
    name = top.module.name
    names = _kept_names(modules, name)
    warnings: list[str] = []
    choices = Choices(top.module, REGISTER_KINDS)
    seen = {} if owners.paths else looks.find(top.module, top.state.every_register, choices)
    kept = {kind: module for kind, module in modules.items() if not boxes.is_box(module)}
    having = looks.pinned(top.module, seen, kept)
    texts = [
        "\n".join(_kept(kept[kind], plain, names, having, warnings))
        for kind, plain in names.items()
        if kind in kept
    ]
    gated = options.freeze == "gate" and bool(top.clocks.ports)
    scope = Scope(top.module, owners)
    added = (PADDING, memories.WALK, memories.WALKED_ADDRESS, *DOMAIN_NAMES)
    for reserved in (*STATE_PORTS, *added):
        scope.reserve(reserved)
    domains = Domains(top.clocks, scope, name, gated)
    texts += domains.modules()
    lines = "\n".join(_top(top, names, choices, seen, having, domains, scope, warnings)).split("\n")
    texts += split(lines, name, owners.paths) if owners.paths else ["\n".join(lines)]
    return Written(f"{_HEAD}\n\n" + "\n\n".join(texts) + "\n", tuple(warnings))


def _kept_names(modules: Mapping[str, Module], top: str) -> dict[str, str]:
    """A plain name for each kept module, with the top's before it: one design, one name space.

    Black boxes keep theirs, by which their bodies are found.
    """
    names: dict[str, str] = {kind: kind for kind in modules if boxes.is_box(modules[kind])}
    for kind in sorted(set(modules) - {top, *names}):
        base = re.sub(r"\W", "_", uniform.definition(kind))
        count = sum(name.startswith(f"{top}__{base}__") for name in names.values())
        names[kind] = f"{top}__{base}__{count}"
    return names


def _kept(
    module: Module,
    name: str,
    names: Mapping[str, str],
    having: Collection[str],
    warnings: list[str],
) -> Iterator[str]:
    scope = Scope(module)
    yield f"module {name} ("
    pin = [f"  input {looks.PIN}"] if module.name in having else []
    yield ",\n".join([*_ports(module, scope), *pin])
    yield ");"
    seen = looks.by_pin(module) if pin else {}
    plan = looks.plan(module, seen, logic.fits_a_process, having)
    yield from _body(module, scope, names, plan)
    yield "endmodule"
    _note_undriven(name, scope, warnings)


def _top(
    part: Part,
    names: Mapping[str, str],
    choices: Choices,
    seen: Mapping[str, looks.Look],
    having: Collection[str],
    domains: Domains,
    scope: Scope,
    warnings: list[str],
) -> Iterator[str]:
    module, state, chain = part.module, part.state, part.chain
    lanes, width = len(chain.lanes), state.memory_width
    ports = [
        *_ports(module, scope),
        "  input sp_run",
        "  input sp_scan",
        f"  input {span(lanes)}sp_si",
        f"  output reg {span(lanes)}sp_so",
        "  input [15:0] sp_msel",
        "  input [31:0] sp_maddr",
        "  input sp_mre",
        "  input sp_mwe",
        f"  input {span(width)}sp_mwd",
        f"  output reg {span(width)}sp_mrd",
    ]
    sums = find_sums(module, choices, state.registers)
    banks = Banks(state, scope)
    inputs = [identifier(port.name) for port in module.ports if port.direction == "input"]
    flops = Flops(state, choices, chain, sums, scope, domains, banks, part.late, inputs)
    arrays = {memory.cell.name: scope.reserve(memory.name) for memory in state.memories}
    for cell in _roms(module):
        arrays[cell.name] = scope.reserve(cell.params["MEMID"].removeprefix("\\"))
    walks = memories.Memories(state, arrays, scope, domains, banks)
    yield f"module {identifier(module.name)} ("
    yield ",\n".join(ports)
    yield ");"
    yield from flops.declare()
    yield from walks.declare()
    for memory in state.memories:
        yield from scope.mark(memory.name)
        yield from logic.declare_memory(memory.cell, arrays[memory.cell.name])
        unordered = sorted({port for pair in memories.collisions(memory) for port in pair})
        if unordered:
            which = ", ".join(map(str, unordered))
            warnings.append(
                f"memory {memory.name}: no order is known among write ports {which}; should two "
                "write one word at once, the later wins"
            )
    for cell in _roms(module):
        yield from scope.mark(cell.params["MEMID"].removeprefix("\\"))
        yield from logic.declare_memory(cell, arrays[cell.name])
    conditions = find_conditions(module, choices.names, scope.labelled)
    for cell in conditions.values():
        scope.write(cell.pins["Y"], partial(expr.expression, cell, scope.render))
    absorbed = choices.names | flops.absorbed | frozenset(conditions)
    walked = walks.asynchronous_walks()
    plan = looks.plan(
        module,
        seen,
        lambda cell: cell.name not in absorbed and logic.fits_a_process(cell),
        having,
    )
    yield from _logic(module, scope, arrays, names, absorbed, walked, flops.pins(), plan)
    yield from scope.mark("")
    yield "  // What remembers, and the state port."
    yield from domains.declare()
    yield from banks.declare()
    yield from flops.emit()
    yield from walks.emit()
    yield from walks.reached()
    yield from scope.mark("")
    row, word = f"sp_so = {flops.shown()};", list(walks.shown())
    still = flops.still or "!sp_run"
    if len(word) == 1:  # no memory: a constant
        yield from _shown([row, *word], still)
    else:
        yield from _shown([row], still)
        yield from _shown(word, "!sp_run")
    yield from scope.mark("")
    yield from formal.emit(module, scope)
    yield "endmodule"
    _note_undriven(module.name, scope, warnings)


def _shown(statements: Sequence[str], frozen: str) -> Iterator[str]:
    """Outputs of the state port, which mean nothing while the design runs: simulated, they stand
    still then. Without that a simulator works them out anew at every edge of every clock."""
    yield "`ifdef SYNTHESIS"
    yield "  always @* begin"
    yield "`else"
    yield "  /* verilator lint_off LATCH */"
    yield f"  always @* if ({frozen}) begin"
    yield "`endif"
    yield from (f"    {statement}" for statement in statements)
    yield "  end"
    yield "  /* verilator lint_on LATCH */"


def _ports(module: Module, scope: Scope) -> Iterator[str]:
    for port in module.ports:
        if port.direction == "input":
            scope.adopt(port.name, port.bits)
        yield f"  {port.direction} {span(len(port.bits))}{identifier(port.name)}"


def _body(
    module: Module, scope: Scope, names: Mapping[str, str], plan: looks.Plan
) -> Iterator[str]:
    """ROMs, logic, and what the output ports show, of a module without state."""
    arrays = {}
    for cell in _roms(module):
        arrays[cell.name] = scope.reserve(cell.params["MEMID"].removeprefix("\\"))
        yield from logic.declare_memory(cell, arrays[cell.name])
    yield from _logic(module, scope, arrays, names, plan=plan)


def _logic(
    module: Module,
    scope: Scope,
    arrays: Mapping[str, str],
    names: Mapping[str, str],
    absorbed: frozenset[str] = frozenset(),
    walked: Mapping[Bits, str] = MappingProxyType({}),
    chained: Mapping[str, Sequence[str]] = MappingProxyType({}),
    plan: looks.Plan = looks.NOTHING,
) -> Iterator[str]:
    yield from logic.emit(module, scope, arrays, names, absorbed, walked, chained, plan)
    yield from scope.mark("")
    for port in module.ports:
        if port.direction == "output":
            yield f"  assign {identifier(port.name)} = {scope.render(port.bits)};"


def _roms(module: Module) -> Iterator[Cell]:
    for cell in module.cells:
        if cell.kind == "$mem_v2" and not cell.number("WR_PORTS"):
            yield cell


def _note_undriven(name: str, scope: Scope, warnings: list[str]) -> None:
    if scope.undriven:
        warnings.append(
            f"module {name}: {len(scope.undriven)} bit(s) are read but driven by nothing; "
            "they read as 0"
        )
