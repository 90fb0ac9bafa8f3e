"""Clocks that the RTL makes by a blocking assignment: `t = !t`, and `posedge t` elsewhere.

In simulation their edge comes before what the same instant assigns by `<=`: what `t` clocks reads
the old values. A netlist has no such order, so where it matters it is looked up in the text of the
process that makes the register, and what is emitted assigns such a register by `=`, too.

That is the RTL's order if nothing else at that instant reads `t` (the RTL would not say whether the
old value or the new), and if what is read by what `t` clocks is assigned by `<=`. Else, and where
no assignment is found (it is behind a macro or in a task), the clock is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

from rtl_sim.capture import cells
from rtl_sim.capture.clocks import Clocks, edges
from rtl_sim.capture.errors import Refusal
from rtl_sim.capture.formal import blanked
from rtl_sim.capture.netlist import Bit, Cell, Module

_NEXT: Final = re.compile(r"\b(?:always\w*|initial|final|endmodule|endinterface|assign)\b")
_EDGE: Final = re.compile(r"\b(?:posedge|negedge)\b")
_SOURCE: Final = re.compile(r"\A(.+?):(\d+)(?:\.(\d+))?")
_UNSEEN: Final = (
    "is a clock, and what it clocks reads what changes at the same instant, so that it matters "
    "whether `=` or `<=` assigns it, but neither is seen in its process"
)
_READ: Final = "is a clock assigned by `=` and read at the instant at which it changes, by {}"
_MIXED: Final = "is a clock assigned by `=`, and what it clocks reads {}, which is not by `<=`"
_ADVICE: Final = ": assign it by `<=`"

_DELAYED: Final = (
    "is a clock that a process without an edge assigns by `<=`, so that its edge comes after what "
    "the same instant assigns, an order that no netlist has: assign it by `=`"
)

# (file:line.column of a process) -> its text, comments blanked; "" if it is not there. Or, if
# asked, of all that follows in the module.
Text = Callable[[str, bool], str]
_Edge = tuple[Bit, bool]


def text_in(work: Path) -> Text:
    """Of processes in the files below `work`: from where one begins to where another does."""
    files: dict[str, list[str]] = {}

    def text(source: str, module: bool = False) -> str:
        match = _SOURCE.match(source.rpartition("|")[2])
        if match is None:
            return ""
        name, line, column = match[1], int(match[2]), int(match[3] or 1)
        if name not in files:
            path = work / name
            found = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
            files[name] = blanked(found).splitlines(keepends=True)
        rest = "".join(files[name][line - 1 :])[column - 1 :]
        if module:
            return rest.partition("endmodule")[0]
        head = _NEXT.match(rest)
        end = _NEXT.search(rest, head.end() if head else 0)
        return rest[: end.start()] if end else rest

    return text


def blocking(module: Module, clocks: Clocks, text: Text) -> tuple[frozenset[str], list[Refusal]]:
    """The registers, by their cells' names, that are clocks and assigned by `=`; and refusals.

    `module`: prepared, so that each cell is a register of what is emitted.
    """
    races = _Races(module, text)
    found, refusals = races.find({clock.bit for clock in clocks.others})
    every = {*clocks.bits.values(), *(clock.bit for clock in clocks.others)}
    return found, [*refusals, *races.delayed(every)]


class _Races:
    def __init__(self, module: Module, text: Text) -> None:
        self._module, self._text = module, text
        self._drivers: dict[Bit, Cell] = {
            bit: cell for cell in module.cells for pin in cell.outputs for bit in cell.pins[pin]
        }
        self._names: dict[Bit, set[str]] = {}
        for net in module.nets:
            if net.public and cells.REGISTER_MARK in net.attributes:
                for bit in net.bits:
                    self._names.setdefault(bit, set()).add(re.sub(r"(\[\d+\])+\Z", "", net.name))

    def find(self, used: Iterable[Bit]) -> tuple[frozenset[str], list[Refusal]]:
        made: dict[str, Cell] = {}
        refusals: list[Refusal] = []
        for bit in sorted(used, key=str):
            for source in self._cone([bit]):
                cell = self._drivers.get(source)
                if cell is not None and _is_register(cell) and cell.name not in made:
                    made[cell.name] = cell
        late = {name: cell for name, cell in made.items() if self._assigned(cell) != "<="}
        emitted: set[str] = set()
        for cell in late.values():
            crossing = self._crossing(cell, late)
            if not crossing:
                continue  # one order is as good as the other
            emitted.add(cell.name)
            why = ""
            mixed = next((each for each in crossing if self._assigned(each) != "<="), None)
            reader = self._reader(cell, late)
            if not self._assigned(cell):
                why = _UNSEEN
            elif reader is not None:
                why = _READ.format(self._module.place(replace(reader, source="")))
            elif mixed is not None:
                why = _MIXED.format(self._module.place(replace(mixed, source="")))
            if why:
                place = self._module.place(replace(cell, source=cell.source.rpartition("|")[2]))
                refusals.append(Refusal("blocking-clock", place, why + _ADVICE))
        return frozenset(emitted), refusals

    def delayed(self, used: AbstractSet[Bit]) -> Iterator[Refusal]:
        """Names of clocks that are no registers and yet assigned by `<=`."""
        ports = {port.name for port in self._module.ports if port.direction == "input"}
        for net in self._module.nets:
            marked = cells.REGISTER_MARK in net.attributes or net.name in ports
            if marked or not net.public or used.isdisjoint(net.bits):
                continue
            source = net.attributes.get("src", "").rpartition("|")[2]
            rest = self._text(source, True)
            name = re.escape(net.name.rpartition(".")[2])
            begins = [match.start() for match in _NEXT.finditer(rest)]
            for start, end in pairwise([*begins, len(rest)]):
                process = rest[start:end]
                if re.search(rf"(?<![\w.$]){name}\s*<=", process) and not _EDGE.search(process):
                    yield Refusal("delayed-clock", f"{net.name} ({source})", _DELAYED)
                    break

    def _assigned(self, cell: Cell) -> Literal["=", "<=", ""]:
        if cell.kind == "$mem_v2":  # whose text is another's to find; `=` there is rare
            return "<="
        text = self._text(cell.source, False)
        found = [name for bit in cell.pins["Q"] for name in self._names.get(bit, ())]
        names = {name.rpartition(".")[2] for name in found}
        later = False
        for name in names:
            part = rf"(?<![\w.$]){re.escape(name)}\b(?:\s*\.\s*\w+|\s*\[[^\]]*\])*\s*"
            joined = rf"\{{[^{{}};]*\b{re.escape(name)}\b[^{{}};]*\}}\s*"
            operators = r"(?:=(?!=)|(?:[-+*/%&|^]|<<<?|>>>?)=|\+\+|--)"
            if re.search(rf"(?:{part}|{joined}){operators}|(?:\+\+|--)\s*{part}", text):
                return "="
            if re.search(rf"(?:{part}|{joined})<=", text):
                later = True
        return "<=" if later else ""

    def _moments(self, cell: Cell, late: Mapping[str, Cell]) -> set[_Edge]:
        """The edges at which `cell` changes, and which come at the same instant as it does."""
        found: set[_Edge] = set()
        waiting = [cell]
        while waiting:
            for bit, rising, _ in edges(waiting.pop()):
                if (bit, rising) not in found:
                    found.add((bit, rising))
                    makers = (self._drivers.get(source) for source in self._cone([bit]))
                    waiting += [maker for maker in makers if maker and maker.name in late]
        return found

    def _reader(self, cell: Cell, late: Mapping[str, Cell]) -> Cell | None:
        """What reads `cell` as data and moves at the same instant."""
        moments = self._moments(cell, late)
        for other in self._module.cells:
            if other.name == cell.name or not any((b, r) in moments for b, r, _ in edges(other)):
                continue
            if not self._data(other).isdisjoint(cell.pins["Q"]):
                return other
        return None

    def _crossing(self, cell: Cell, late: Mapping[str, Cell]) -> list[Cell]:
        """What changes at the same instant as `cell` and is read by what `cell` clocks."""
        moments = self._moments(cell, late)
        read: set[Bit] = set()
        for other in self._module.cells:
            if any(not self._cone([b]).isdisjoint(cell.pins["Q"]) for b, _, _ in edges(other)):
                read |= self._data(other)
        return [
            other
            for other in self._module.cells
            if other.name != cell.name
            and any((bit, rising) in moments for bit, rising, _ in edges(other))
            and any(not read.isdisjoint(other.pins[pin]) for pin in other.outputs)
        ]

    def _data(self, cell: Cell) -> set[Bit]:
        """All that stands behind the inputs of a register or memory, its clocks left out."""
        pins = (pin for pin in cell.inputs if not pin.endswith("CLK"))
        return self._cone([bit for pin in pins for bit in cell.pins[pin]])

    def _cone(self, bits: list[Bit]) -> set[Bit]:
        """`bits` and all behind them, up to what remembers."""
        found: set[Bit] = set()
        waiting = list(bits)
        while waiting:
            bit = waiting.pop()
            if bit in found or isinstance(bit, str):
                continue
            found.add(bit)
            cell = self._drivers.get(bit)
            if cell is not None and not _is_register(cell):
                waiting += _inputs(cell)
        return found


def _is_register(cell: Cell) -> bool:
    return cell.kind.removeprefix("$") in cells.ANY_REGISTER


def _inputs(cell: Cell) -> Iterator[Bit]:
    for pin in cell.inputs:
        if cell.kind != "$mem_v2" or pin == "RD_ADDR":
            yield from cell.pins[pin]
