"""Small rewrites of the flat netlist that make the emitted text simple. None changes a function.

- A memory's write enable is a bit per data bit; bits that are the same signal by different wires
  become one signal, so that the port has as few enables as the RTL has.
- Writes to a word that an index chooses get an enable a word (`dynamic.py`).
- A register whose bits are loaded by different multiplexers is cut where they meet: each part then
  has an update of its own.
- A shift to the right by a negative number (`q[n] <= d` is one) is one to the left.
- Registers of small ROMs become flip-flops (`readregs.py`).
- Cells that nothing reads any more are dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby, pairwise

from rtl_sim.capture import cells, formal
from rtl_sim.capture.dynamic import split_writes
from rtl_sim.capture.netlist import Bit, Bits, Cell, Module
from rtl_sim.capture.readregs import release_small_roms
from rtl_sim.capture.updates import Choices

REGISTER_KINDS = frozenset({"$dff", "$adff", "$dffsr"})  # what `dffunmap` leaves
_CONTROLS = ("SET", "CLR")


def prepare(module: Module) -> Module:
    return cut_registers(drop_unread(join_enables(unturn_shifts(release_small_roms(module)))))


def unturn_shifts(module: Module) -> Module:
    negated = {
        cell.pins["Y"]: cell.pins["A"][:-1]
        for cell in module.cells
        if cell.kind == "$neg"
        and cell.flag("A_SIGNED")
        and cell.pins["A"][-1] == "0"
        and 1 < len(cell.pins["A"]) <= len(cell.pins["Y"])
    }

    def turned(cell: Cell) -> Cell:
        amount = negated.get(cell.pins["B"]) if cell.kind == "$shift" else None
        if amount is None or cell.flag("A_SIGNED") or not cell.flag("B_SIGNED"):
            return cell
        params = {**cell.params, "B_SIGNED": "0", "B_WIDTH": f"{len(amount):b}"}
        return replace(cell, kind="$shl", params=params, pins={**cell.pins, "B": amount})

    return replace(module, cells=tuple(map(turned, module.cells)))


def join_enables(module: Module) -> Module:
    enables = _Enables(module)
    masks = (cell.pins["A"] for cell in module.cells if cell.kind == "$demux")
    module = split_writes(module, {bit: enables.resolve(bit) for bits in masks for bit in bits})
    return replace(
        module,
        cells=tuple(
            replace(
                cell,
                pins={**cell.pins, "WR_EN": tuple(map(enables.resolve, cell.pins["WR_EN"]))},
            )
            if cell.kind == "$mem_v2"
            else cell
            for cell in module.cells
        ),
    )


class _Enables:
    def __init__(self, module: Module) -> None:
        self._muxes: dict[Bit, tuple[Cell, int]] = {
            bit: (cell, index)
            for cell in module.cells
            if cell.kind == "$mux"
            for index, bit in enumerate(cell.pins["Y"])
        }
        self._first: dict[tuple[Bit, Bit, Bit], Bit] = {}
        self._known: dict[Bit, Bit] = {}

    def resolve(self, bit: Bit) -> Bit:
        """One bit for all that are equal because the same select chooses between equal bits."""
        trail = [bit]
        while trail:  # depth first without recursion: enables can be deep
            mux = self._muxes.get(trail[-1])
            if mux is None or trail[-1] in self._known:
                self._known.setdefault(trail[-1], trail[-1])
                trail.pop()
                continue
            cell, index = mux
            low, high = cell.pins["A"][index], cell.pins["B"][index]
            unknown = [side for side in (low, high) if side not in self._known]
            if unknown:
                trail += unknown
                continue
            low, high, select = self._known[low], self._known[high], cell.pins["S"][0]
            if low == high:
                self._known[trail[-1]] = low
            elif (low, high) == ("0", "1"):
                self._known[trail[-1]] = select
            else:
                first = self._first.setdefault((select, low, high), trail[-1])
                self._known[trail[-1]] = first
        return self._known[bit]


def cut_registers(module: Module) -> Module:
    choices = Choices(module, REGISTER_KINDS)
    return replace(
        module,
        cells=tuple(
            part
            for cell in module.cells
            for part in (_cut(cell, choices) if cell.kind in REGISTER_KINDS else (cell,))
        ),
    )


def _cut(cell: Cell, choices: Choices) -> Iterator[Cell]:
    data = cell.pins["D"]
    # Set and reset of a `$dffsr` are a bit per bit: parts have one of each.
    controls = list(zip(*(cell.pins[pin] for pin in _CONTROLS if pin in cell.pins), strict=True))
    seams = (at for at in range(1, len(controls)) if controls[at] != controls[at - 1])
    cuts = sorted({0, len(data), *_seams(data, choices), *seams})
    if len(cuts) == 2 and not controls:
        yield cell
        return
    for start, end in pairwise(cuts):
        pins = {**cell.pins, "D": data[start:end], "Q": cell.pins["Q"][start:end]}
        pins |= {pin: pins[pin][start : start + 1] for pin in _CONTROLS if pin in pins}
        params = dict(cell.params)
        if "ARST_VALUE" in params:
            params["ARST_VALUE"] = params["ARST_VALUE"][::-1][start:end][::-1]
        yield replace(cell, name=f"{cell.name}[{start}]", pins=pins, params=params)


def _seams(data: Bits, choices: Choices) -> Iterator[int]:
    """Where, at any depth of the tree of multiplexers before D, one ends and another begins."""
    waiting = [(0, data)]
    while waiting:
        offset, bits = waiting.pop()
        start = 0
        for driver, run in groupby(bits, choices.driver):
            end = start + len(list(run))
            if start:
                yield offset + start
            if driver is not None:
                arms = choices.arms(driver, bits[start:end])
                waiting += [(offset + start, arm) for arm in arms]
            start = end


def drop_unread(module: Module) -> Module:
    drivers: dict[Bit, int] = {
        bit: number
        for number, cell in enumerate(module.cells)
        for pin in cell.outputs
        for bit in cell.pins[pin]
    }
    live: set[int] = set()
    waiting: list[Bits] = [port.bits for port in module.ports if port.direction != "input"]
    # State stays even where nothing reads it: Yosys has already dropped what has no effect.
    roots = [
        number
        for number, cell in enumerate(module.cells)
        if cell.kind in cells.REMEMBERING or cell.inside or formal.is_kept(cell)
    ]
    while waiting or roots:
        found = {drivers[bit] for bit in waiting.pop() if bit in drivers} if waiting else set()
        found.update(roots)
        roots = []
        for number in found - live:
            live.add(number)
            cell = module.cells[number]
            waiting += [cell.pins[pin] for pin in cell.inputs]
    return replace(module, cells=tuple(c for n, c in enumerate(module.cells) if n in live))
