"""The combinational half of an emitted module: one assignment per cell, in order of dependence.

Knows cells that compute, ROMs, reads of memories and instances of kept modules; must not know the
state port.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from rtl_sim.capture import cells, expr
from rtl_sim.capture.looks import NOTHING, PIN, Look, Plan
from rtl_sim.capture.loops import topological
from rtl_sim.capture.netlist import Bits, Cell, Module
from rtl_sim.capture.ports import is_fixed, read_ports
from rtl_sim.capture.scope import Scope, constant, identifier, span

MACHINE_WORD_BITS: Final = 64
EXCLUSIVE_CHOICES: Final = 3  # from so many on, synthesis pays for an order among them
TABLE_ADDRESS_BITS: Final = 4  # below, a few nested choices are as quick as a table


def outputs(cell: Cell) -> Iterator[Bits]:
    """The words that `cell` drives combinationally, each of which gets one variable."""
    if cell.kind == "$mem_v2":
        yield from (port.data for port in read_ports(cell) if not port.clock)
    elif cell.kind not in cells.REMEMBERING and cell.kind not in cells.SILENT:
        yield from (cell.pins[pin] for pin in cell.outputs)


def index(address: Bits, scope: Scope) -> str:
    """An address as an index: constant ones as plain numbers."""
    if is_fixed(address):
        return str(int("".join("1" if bit == "1" else "0" for bit in address[::-1]) or "0", 2))
    return scope.render(address)


def declare_memory(cell: Cell, variable: str) -> Iterator[str]:
    """The array of a memory or ROM, with its content where the RTL gives one.

    Words of a ROM that the RTL leaves open are zeros: no state moves with the design, so that they
    must be the same in every instance.
    """
    width, depth, offset = cell.number("WIDTH"), cell.number("SIZE"), cell.number("OFFSET")
    name = identifier(variable)
    yield f"  reg {span(width)}{name} [{offset}:{offset + depth - 1}];"
    image = cell.params["INIT"]
    if not cell.number("WR_PORTS"):
        image = image.replace("x", "0").rjust(width * depth, "0")
    if not image.strip("x"):
        return
    yield "  initial begin"
    for word in range(depth):
        end = len(image) - word * width
        bits = image[max(end - width, 0) : max(end, 0)]
        if bits.strip("x"):
            yield f"    {name}[{offset + word}] = {constant(bits)};"
    yield "  end"


def emit(
    module: Module,
    scope: Scope,
    arrays: Mapping[str, str],
    module_names: Mapping[str, str],
    absorbed: frozenset[str] = frozenset(),
    walked: Mapping[Bits, str] = MappingProxyType({}),
    chained: Mapping[str, Sequence[str]] = MappingProxyType({}),
    plan: Plan = NOTHING,
) -> Iterator[str]:
    """`arrays`: memory cell's name -> array variable; `module_names`: kept module -> its name;
    `absorbed`: cells that are written elsewhere; `walked`: data of a read port -> text that goes
    before its address; `chained`: instance -> its pins of the state port; `plan`: which cells
    stand in processes, and when they are looked at."""
    ordered = [cell for cell in topological(module) if cell.name not in absorbed]
    within = {name for _, names in plan.blocks for name in names}
    for cell in ordered:
        kind = "reg" if _branches(cell) or cell.name in within else "wire"
        for bits in outputs(cell):
            if bits and not scope.knows(bits):
                yield f"  {kind} {span(len(bits))}{identifier(scope.declare(bits))};"
    for cell in ordered:
        if cell.name in within:
            continue
        if cell.kind == "$mem_v2":
            yield from scope.mark(cell.params["MEMID"].removeprefix("\\"))
        else:
            instance = cell.kind in module_names
            driven = (bit for pin in cell.outputs for bit in cell.pins[pin]) if instance else ()
            yield from scope.mark(cell.name, tuple(driven))
        if cell.kind in module_names:
            more = [*chained.get(cell.name, ())]
            if cell.name in plan.instances:
                more.append(f".{PIN}({_looked(plan.instances[cell.name], scope)})")
            yield from _instance(cell, scope, module_names[cell.kind], more)
        elif cell.kind == "$mem_v2":
            array = identifier(arrays[cell.name])
            for port in read_ports(cell):
                if not port.clock:
                    address = walked.get(port.data, "") + index(port.address, scope)
                    yield _assign(scope, port.data, f"{array}[{address}]")
        elif _is_table(cell):
            yield from _table(cell, scope)
        elif _branches(cell):
            yield "  always @*"
            yield from (f"    {line}" for line in _choice(cell, scope))
        elif cell.kind in expr.COMBINATIONAL:
            yield _assign(scope, cell.pins["Y"], expr.expression(cell, scope.render))
    by_name = {cell.name: cell for cell in ordered}
    for look, names in plan.blocks:
        yield from _process([by_name[name] for name in names], look, scope)


def fits_a_process(cell: Cell) -> bool:
    return cell.kind in expr.COMBINATIONAL and not _is_table(cell)


def _process(members: Sequence[Cell], look: Look, scope: Scope) -> Iterator[str]:
    """Cells, in order, that a simulator works out while they are looked at; in hardware, always."""
    yield "`ifdef SYNTHESIS"
    yield "  always @* begin"
    yield "`else"
    yield "  /* verilator lint_off LATCH */"
    yield f"  always @* if ({_looked(look, scope)}) begin"
    yield "`endif"
    for cell in members:
        if _branches(cell):
            yield from (f"    {line}" for line in _choice(cell, scope))
        else:
            yield f"    {scope.render(cell.pins['Y'])} = {expr.expression(cell, scope.render)};"
    yield "  end"
    yield "  /* verilator lint_on LATCH */"


def _looked(look: Look, scope: Scope) -> str:
    texts = {f"{'' if level else '!'}{bit if isinstance(bit, str) else scope.render((bit,))}"
             for bit, level in look}  # fmt: skip
    return " && ".join(sorted(texts)) or "1'b1"


def _is_table(cell: Cell) -> bool:
    """A choice among many constants: written as nested choices, a simulator makes them all."""
    return (
        cell.kind == "$bmux"
        and len(cell.pins["S"]) >= TABLE_ADDRESS_BITS
        and all(isinstance(bit, str) for bit in cell.pins["A"])
    )


def _table(cell: Cell, scope: Scope) -> Iterator[str]:
    words, width = cell.pins["A"], len(cell.pins["Y"])
    name = scope.reserve("sp_table")
    image = "".join(map(str, words[::-1]))
    sizes = {"WIDTH": f"{width:b}", "SIZE": f"{len(words) // width:b}", "OFFSET": "0"}
    rom = replace(cell, params={**sizes, "WR_PORTS": "0", "INIT": image})
    yield from declare_memory(rom, name)
    yield _assign(scope, cell.pins["Y"], f"{identifier(name)}[{scope.render(cell.pins['S'])}]")


def _branches(cell: Cell) -> bool:
    """Choices among words too wide for a machine's: all sides of a `?` are computed then.

    And choices of which at most one is ever made: as `?` they would get an order of precedence.
    """
    if cell.kind == "$pmux" and len(cell.pins["S"]) >= EXCLUSIVE_CHOICES:
        return True
    return (
        cell.kind in ("$mux", "$pmux", "$bmux")
        and len(cell.pins["Y"]) > MACHINE_WORD_BITS
        and not _is_table(cell)
    )


def _choice(cell: Cell, scope: Scope) -> Iterator[str]:
    """A choice as branches: if and else, or a case where at most one select is ever set."""
    target, selects, width = scope.render(cell.pins["Y"]), cell.pins["S"], len(cell.pins["Y"])

    def among(words: Bits, bits: Bits, indent: str) -> Iterator[str]:
        if not bits:
            yield f"{indent}{target} = {scope.render(words)};"
            return
        half = len(words) // 2
        yield f"{indent}if ({scope.render(bits[-1:])})"
        yield from among(words[half:], bits[:-1], indent + "  ")
        yield f"{indent}else"
        yield from among(words[:half], bits[:-1], indent + "  ")

    if cell.kind == "$bmux":
        yield from among(cell.pins["A"], selects, "")
        return
    arms = [
        cell.pins["B"][start : start + width] for start in range(0, width * len(selects), width)
    ]
    if cell.kind == "$mux":
        yield f"if ({scope.render(selects)})"
        yield f"  {target} = {scope.render(arms[0])};"
        yield "else"
        yield f"  {target} = {scope.render(cell.pins['A'])};"
        return
    yield "(* parallel_case *) case (1'b1)"
    for select, arm in zip(selects, arms, strict=True):
        yield f"  {scope.render((select,))}: {target} = {scope.render(arm)};"
    yield f"  default: {target} = {scope.render(cell.pins['A'])};"
    yield "endcase"


def _assign(scope: Scope, target: Bits, value: str) -> str:
    return f"  assign {scope.render(target)} = {value};"


def _instance(cell: Cell, scope: Scope, kind: str, more: Sequence[str]) -> Iterator[str]:
    pins = [f".{identifier(pin)}({scope.render(bits)})" for pin, bits in cell.pins.items() if bits]
    params = [f".{identifier(name)}({_value(text)})" for name, text in cell.params.items()]
    given = f"#({', '.join(params)}) " if params else ""
    body = ",\n".join(f"    {pin}" for pin in (*pins, *more))
    yield f"  {identifier(kind)} {given}{identifier(cell.name)} (\n{body}\n  );"


def _value(text: str) -> str:
    """A black box's parameter: bits, or a text, which Yosys marks by a blank if it looks so."""
    if text and not text.strip("01xz"):
        return f"{len(text)}'b{text}"
    plain = text[:-1] if text.endswith(" ") and not text.rstrip(" ").strip("01xz") else text
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
