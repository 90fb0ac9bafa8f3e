"""Pools: the vectors under a window combined, first down the lines, then along them.

A chain has two adders, so it combines up to three vectors; more go on from what it wrote.
"""

from __future__ import annotations

from compiler.targets.npu.blocks import Pool
from compiler.targets.npu.chains import Chains, moved
from compiler.targets.npu.emit import Walk
from compiler.targets.npu.memory import Place
from rtl_sim.spec.npu import ROWS_MAX, Mem

ADDERS = 2


def lower_pool(chains: Chains, item: Pool, temporaries: dict[str, Place]) -> None:
    _Lowering(chains, item, temporaries).run()


class _Lowering:
    def __init__(self, chains: Chains, item: Pool, temporaries: dict[str, Place]) -> None:
        self.chains = chains
        self.emitter = chains.emitter
        self.item = item
        self.temporaries = temporaries
        self.pixel = item.source.row_vectors
        self.home = chains.plan.homes[item.source.store, Mem.AVRF]
        plain = chains.layout.vectors_of(item.source.store) // item.lines
        self.line = self.home.pitch or plain  # from line to line, borders included

    def run(self) -> None:
        self.emitter.loop("outer", self.item.height, self._line)

    def _line(self) -> None:
        """One line of the result."""
        item, window = self.item, self.item.window
        top, left = window.pads[:2]
        base = self.home.base - top * self.line - left * self.pixel
        start = Walk(Mem.AVRF, base, window.strides[0] * self.line)
        if window.kernel[0] > 1:
            into = Walk(Mem.AVRF, self.temporaries["line"].base)
            for first in range(0, self.line, ROWS_MAX):
                self.emitter.rows(min(ROWS_MAX, self.line - first))
                taps = [
                    moved(start, first + at * window.dilations[0] * self.line)
                    for at in range(window.kernel[0])
                ]
                self._combine(taps, moved(into, first))
                self.emitter.write(moved(into, first))
                self.emitter.end()
            start = into
        self.emitter.loop("inner", item.width, lambda: self._pixel(start))

    def _pixel(self, line: Walk) -> None:
        """One pixel of the result, from a line."""
        item, window = self.item, self.item.window
        start = Walk(line.mem, line.base, line.outer, window.strides[1] * self.pixel)
        taps = [
            moved(start, at * window.dilations[1] * self.pixel) for at in range(window.kernel[1])
        ]
        between = self.temporaries.get("pixel")
        self.emitter.rows(self.pixel)
        self._combine(taps, Walk(between.mem, between.base) if between else None)
        width = item.width * self.pixel

        def walk(place: Place) -> Walk:
            return Walk(
                place.mem, place.base, place.pitch if place.lines > 1 else width, self.pixel
            )

        self.chains.steps(item.steps, walk, Walk(Mem.NONE, 0, width, self.pixel))
        self.emitter.end()

    def _combine(self, taps: list[Walk], between: Walk | None) -> None:
        """A chain, not ended yet, with the combination of all taps; `between`: for what is not
        the last part of it."""
        first, *rest = taps
        # the last chain takes one or two, all before it two each
        while len(rest) > ADDERS:
            assert between is not None
            self._part(first, rest[:ADDERS])
            self.emitter.write(between)
            self.emitter.end()
            first, rest = between, rest[ADDERS:]
        self._part(first, rest)

    def _part(self, first: Walk, others: list[Walk]) -> None:
        self.emitter.read(first)
        for other in others:
            self.emitter.operate(self.item.combine, other)
