"""Assertions that come along into the emitted design: what checked the RTL checks it there too.

Each runs at its author's own edges and under `sp_run`, so nothing fires while frozen, whatever the
inputs do. They stand under `ifndef SYNTHESIS`: a board, and every count of cells, is without them.
Registers that only an assertion reads are state like others, for an assertion must hold after a
move as well; `Options.assertions` leaves out both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from rtl_sim.capture import cells
from rtl_sim.capture.netlist import Cell, Module
from rtl_sim.capture.scope import Scope, identifier

_FLAVORS: Final = ("assert", "assume", "cover")  # what every simulator and tool reads
_STATEMENT: Final = re.compile(
    r"\b(assert|assume|cover|restrict|expect)\b\s*(?=property|final|#|\()"
)
_FINAL: Final = re.compile(r"(?<!assert )(?<!assume )(?<!cover )\b(final)\b(?=\s+\w)")
_COMMENT: Final = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:[^\"\\\n]|\\.)*\"", re.DOTALL)
_LINE: Final = re.compile(r"\A(.+?):(\d+)")


def where(source: str) -> str:
    """A cell's source as file.sv:12: the file's name alone, since its folder may be any."""
    match = _LINE.match(source)
    return f"{Path(match[1]).name}:{match[2]}" if match else source


def is_kept(cell: Cell) -> bool:
    """Whether `cell` checks something and `emit` has text for it."""
    return cell.kind == cells.CHECK and _why_not(cell) is None


def _why_not(cell: Cell) -> str | None:
    flavor = cell.params["FLAVOR"]
    if flavor not in _FLAVORS:
        return f"a property of kind {flavor} is for provers, no simulator checks it"
    if any(isinstance(bit, str) for bit in cell.pins["TRG"]):
        return "its clock is a constant, so it is never checked"
    return None


def without(module: Module) -> Module:
    """The module as it is on a board."""
    return replace(
        module, cells=tuple(cell for cell in module.cells if cell.kind not in cells.SILENT)
    )


def dropped(module: Module) -> Iterator[str]:
    """A warning for each check that `emit` leaves out."""
    for cell in module.cells:
        if cell.kind == cells.CHECK and (why := _why_not(cell)):
            yield f"{where(cell.source)}: {cell.params['FLAVOR']} is not kept: {why}"
        elif cell.kind in cells.SILENT - {cells.CHECK, "$scopeinfo"}:
            yield f"{where(cell.source)}: {cell.kind.strip('$')} is not kept"


def set_beside_reset(module: Module) -> Iterator[str]:
    """A warning for each register in which RTL and hardware differ: RTL waits for set's edge."""
    for cell in module.cells:
        if cell.kind == "$dffsr":
            name = module.place(replace(cell, source=""))
            yield (
                f"{where(cell.source)}: {name} has asynchronous set beside reset: where set is "
                "still active when reset ends, hardware sets it at once, RTL simulation only at "
                "the next edge of its clock"
            )


def statements(source: str, text: str) -> list[str]:
    """Like `file.sv:12: assert` for everything in `text` that reads like an assertion."""
    return _matches(_STATEMENT, source, text)


def final_blocks(source: str, text: str) -> list[str]:
    return _matches(_FINAL, source, text)


def _matches(pattern: re.Pattern[str], source: str, text: str) -> list[str]:
    blank = _COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    return [
        f"{Path(source).name}:{blank.count(chr(10), 0, match.start()) + 1}: {match[1]}"
        for match in pattern.finditer(blank)
    ]


def emit(module: Module, scope: Scope) -> Iterator[str]:
    found = [cell for cell in module.cells if is_kept(cell)]
    if not found:
        return
    yield "`ifndef SYNTHESIS"
    for cell in sorted(found, key=lambda cell: (cell.source, cell.name)):
        levels = cell.params["TRG_POLARITY"][::-1]
        events = [
            f"{'posedge' if level == '1' else 'negedge'} {scope.render((bit,))}"
            for bit, level in zip(cell.pins["TRG"], levels, strict=False)
        ]
        label = "" if cell.name.startswith("$") else f"{identifier(scope.reserve(cell.name))}: "
        enable = "" if cell.pins["EN"] == ("1",) else f" && {scope.render(cell.pins['EN'])}"
        yield f"  // {where(cell.source)}"
        yield f"  always @({' or '.join(events)})" if events else "  always @*"
        yield f"    if (sp_run{enable})"
        yield f"      {label}{cell.params['FLAVOR']} ({scope.render(cell.pins['A'])});"
    yield "`endif"
