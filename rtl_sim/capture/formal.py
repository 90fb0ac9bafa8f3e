"""Assertions and messages that come along into the emitted design, for simulators alone.

Each runs at its author's own edges and under `sp_run`, so nothing fires or prints while frozen,
whatever the inputs do. They stand under `ifndef SYNTHESIS`: a board, and every count of cells, is
without them. Registers that only they read are state like others, for an assertion must hold after
a move as well; `Options.assertions` leaves out all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Final

from rtl_sim.capture import cells, prints
from rtl_sim.capture.netlist import Cell, Module
from rtl_sim.capture.scope import Scope, identifier

_FLAVORS: Final = ("assert", "assume", "cover")  # what every simulator and tool reads
_STATEMENT: Final = re.compile(
    r"\b(assert|assume|cover|restrict|expect)\b\s*(?=property|final|#|\()"
)
_SKIPPED: Final = re.compile(
    r"(?<!assert )(?<!assume )(?<!cover )\b(final)\b(?=\s+\w)|\b(covergroup)\b"
    r"|(\$(?:info|warning))\b"
)
_COMMENT: Final = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:[^\"\\\n]|\\.)*\"", re.DOTALL)
_LINE: Final = re.compile(r"\A(.+?):(\d+)")


def where(source: str) -> str:
    """A cell's source as file.sv:12: the file's name alone, since its folder may be any."""
    source = source.rpartition("|")[2]  # before it stand the instances that it was flattened out of
    match = _LINE.match(source)
    return f"{Path(match[1]).name}:{match[2]}" if match else source


def is_kept(cell: Cell) -> bool:
    """Whether `cell` checks or prints something and `emit` has text for it."""
    return cell.kind in (cells.CHECK, cells.PRINT) and _why_not(cell) is None


def _why_not(cell: Cell) -> str | None:
    if cell.kind == cells.PRINT:
        return prints.why_not(cell)
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


def kept(module: Module) -> int:
    """How many checks and messages `emit` has text for."""
    return sum(map(is_kept, module.cells))


def dropped(module: Module) -> Iterator[str]:
    """A warning for each check or message that `emit` leaves out."""
    for cell in module.cells:
        if cell.kind in (cells.CHECK, cells.PRINT) and (why := _why_not(cell)):
            place, what = cell.source, cell.params.get("FLAVOR", "")
            if cell.kind == cells.PRINT:
                place, what = prints.named(cell)
            yield f"{where(place)}: {what} is not kept: {why}"
        elif cell.kind in cells.SILENT - {cells.CHECK, cells.PRINT, "$scopeinfo"}:
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


def skipped(source: str, text: str) -> list[str]:
    """The same for what slang leaves out without a word."""
    return _matches(_SKIPPED, source, text)


def blanked(text: str) -> str:
    """`text` with comments and strings as blanks, in the same lines."""
    return _COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def _matches(pattern: re.Pattern[str], source: str, text: str) -> list[str]:
    blank = blanked(text)
    name = Path(source).name
    return [
        f"{name}:{blank.count(chr(10), 0, match.start()) + 1}: {match[match.lastindex or 0]}"
        for match in pattern.finditer(blank)
    ]


def emit(module: Module, scope: Scope) -> Iterator[str]:
    found = [cell for cell in module.cells if is_kept(cell)]
    if not found:
        return
    yield "`ifndef SYNTHESIS"
    checks = [cell for cell in found if cell.kind == cells.CHECK]
    for cell in sorted(checks, key=lambda cell: (cell.source, cell.name)):
        events = _events(cell, scope)
        label = "" if cell.name.startswith("$") else f"{identifier(scope.reserve(cell.name))}: "
        yield f"  // {where(cell.source)}"
        yield f"  always @({events})" if events else "  always @*"
        yield f"    if ({_condition(cell, scope)})"
        yield f"      {label}{cell.params['FLAVOR']} ({scope.render(cell.pins['A'])});"
    messages = sorted(
        (_events(cell, scope), -_signed(cell.params["PRIORITY"]), cell.source, number)
        for number, cell in enumerate(found)
        if cell.kind == cells.PRINT
    )
    for events, block in groupby(messages, lambda message: message[0]):
        yield f"  always @({events}) begin"  # one process, in which they keep their order
        for *_, number in block:
            cell = found[number]
            yield f"    if ({_condition(cell, scope)}) {prints.statement(cell, scope)}"
        yield "  end"
    yield "`endif"


def _events(cell: Cell, scope: Scope) -> str:
    levels = cell.params["TRG_POLARITY"][::-1]
    return " or ".join(
        f"{'posedge' if level == '1' else 'negedge'} {scope.render((bit,))}"
        for bit, level in zip(cell.pins["TRG"], levels, strict=False)
    )


def _condition(cell: Cell, scope: Scope) -> str:
    enable = cell.pins["EN"]
    return "sp_run" if enable == ("1",) else f"sp_run && {scope.render(enable)}"


def _signed(bits: str) -> int:
    return int(bits, 2) - (int(bits[0]) << len(bits))
