"""Writes to one word of many, chosen by an index, as one enable a word.

Readers make of `words[index] <= data` a choice bit by bit over all words (`$bwmux`) under a mask
that has ones in the chosen word (`$demux`): as wide as all words together, and computed always.
What it means is a multiplexer a word under `index == number`, which serves that word's register
alone and so becomes the `if` that it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from rtl_sim.capture.netlist import Bit, Bits, Cell, Module

_Word = tuple[str, int]  # name of a `$demux`, number of the word


def split_writes(module: Module, same: dict[Bit, Bit]) -> Module:
    """`same`: for each bit of a demultiplexer's data, one for all that are the same signal."""
    words: dict[Bit, _Word] = {}
    demuxes: dict[str, Cell] = {}
    for cell in module.cells:
        if cell.kind == "$demux" and len({same[bit] for bit in cell.pins["A"]}) == 1:
            demuxes[cell.name] = cell
            width = len(cell.pins["A"])
            words.update(
                (bit, (cell.name, place // width)) for place, bit in enumerate(cell.pins["Y"])
            )
    if not words:
        return module
    writer = _Writer(module, demuxes, same)
    cells = [
        part
        for cell in module.cells
        for part in (
            writer.split(cell, [words[bit] for bit in cell.pins["S"]])
            if cell.kind == "$bwmux" and all(bit in words for bit in cell.pins["S"])
            else (cell,)
        )
    ]
    return replace(module, cells=(*cells, *writer.made))


class _Writer:
    def __init__(self, module: Module, demuxes: dict[str, Cell], same: dict[Bit, Bit]) -> None:
        self._demuxes, self._same = demuxes, same
        used = [bit for net in module.nets for bit in net.bits]
        used += [bit for cell in module.cells for bits in cell.pins.values() for bit in bits]
        self._free = max((bit for bit in used if isinstance(bit, int)), default=0) + 1
        self._enables: dict[_Word, Bit] = {}
        self.made: list[Cell] = []

    def split(self, cell: Cell, places: list[_Word]) -> Iterator[Cell]:
        start = 0
        for word, run in groupby(places):
            end = start + len(list(run))
            pins = {pin: cell.pins[pin][start:end] for pin in "ABY"}
            pins["S"] = (self._enable(word),)
            yield replace(cell, name=f"{cell.name}[{start}]", kind="$mux", params={}, pins=pins)
            start = end

    def _enable(self, word: _Word) -> Bit:
        """The bit that is 1 when this word is written."""
        if word not in self._enables:
            name, number = word
            demux = self._demuxes[name]
            index = demux.pins["S"]
            wanted: Bits = tuple(str(number >> place & 1) for place in range(len(index)))
            chosen = self._cell(demux, f"{name}={number}", "$eq", index, wanted)
            written = (self._same[demux.pins["A"][0]],)
            self._enables[word] = self._cell(
                demux, f"{name}&{number}", "$logic_and", written, (chosen,)
            )
        return self._enables[word]

    def _cell(self, origin: Cell, name: str, kind: str, a: Bits, b: Bits) -> Bit:
        output = self._free
        self._free += 1
        pins = {"A": a, "B": b, "Y": (output,)}
        self.made.append(Cell(name, kind, {}, pins, ("Y",), origin.source))
        return output
