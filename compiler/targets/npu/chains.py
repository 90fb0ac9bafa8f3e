"""Chains of one kind each as instructions: copies, element-wise operators, products, convolutions.

A tensor is walked with up to two loops: "outer" over the lines of an image around which a border
lies, "inner" over what is in a line. What lies without gaps is one line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from compiler.artifact import Layer
from compiler.targets.npu.blocks import Chain, Const, Conv, Load, Matrix, Step, Steps, Tap
from compiler.targets.npu.emit import Columns, Emitter, Walk, gathered
from compiler.targets.npu.layout import Layout, View
from compiler.targets.npu.memory import Place, Tiles
from compiler.targets.npu.plan import Plan, tiles_of
from rtl_sim.spec.npu import ROWS_MAX, Config, Mem

WalkOf = Callable[[Place], Walk]


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive rows of tiles of a matrix, and where they lie."""

    first: int
    rows: int
    tiles: Tiles


class Chains:
    """The emitter with everything that chains need to know."""

    def __init__(
        self,
        plan: Plan,
        layout: Layout,
        inputs: dict[str, int],
        outputs: dict[str, int],
        config: Config,
    ) -> None:
        self.plan = plan
        self.layout = layout
        self.inputs = inputs
        self.outputs = outputs
        self.config = config
        self.emitter = Emitter(config)
        self.pending: list[list[Matrix]] = []  # to be loaded before the next product, in groups

    # ---- places

    def source(self, store: str | Const) -> Place:
        """Where v_rd finds it."""
        if isinstance(store, Const):
            return Place(Mem.WEIGHTS, self.plan.vectors[store])
        if store in self.inputs:
            return Place(Mem.INPUT, self.inputs[store])
        homes = self.plan.sinks(store)
        assert homes, f"nothing keeps {store}"
        return min(homes, key=lambda place: place.lines)

    def sinks(self, store: str | None) -> list[Place]:
        """All places a value is written to: on chip and in the output buffer."""
        if store is None:
            return []
        sinks = self.plan.sinks(store)
        if store in self.outputs:
            sinks.append(Place(Mem.OUTPUT, self.outputs[store]))
        return sinks

    def _places(self, steps: Steps) -> Iterator[Place]:
        """On-chip and output places that the steps of a chain touch."""
        for step in steps:
            if isinstance(step, Tap):
                yield from self.sinks(step.store)
            elif isinstance(step.operand, str):
                yield self.plan.homes[step.operand, step.mem]

    # ---- whole chains

    def copy(self, source: Place, sinks: Iterable[Place], count: int) -> None:
        """Consecutive vectors to consecutive vectors."""
        for start in range(0, count, ROWS_MAX):
            self.emitter.rows(min(ROWS_MAX, count - start))
            self.emitter.read(Walk(source.mem, source.base + start))
            for sink in sinks:
                self.emitter.write(Walk(sink.mem, sink.base + start))
            self.emitter.end()

    def load(self, item: Load) -> None:
        """An input of the model to where it is needed."""
        if self.sinks(item.store):
            vectors = self.layout.vectors_of(item.store)
            self._stream(self.source(item.store), [Tap(item.store)], vectors, vectors)

    def elementwise(self, chain: Chain) -> None:
        source = self.source(chain.source.store)
        self._stream(source, chain.steps, chain.rows * chain.row_vectors, chain.row_vectors)

    def _stream(self, source: Place, steps: Steps, vectors: int, row: int) -> None:
        """A chain that reads, of as many rows at once as may be."""
        lines = max(place.lines for place in (source, *self._places(steps)))
        line = vectors // lines
        once = any(
            isinstance(step, Step) and isinstance(step.operand, Const) and step.operand.per_row
            for step in steps
        )
        unit = min(row, line) if once else line

        def walk(place: Place) -> Walk:
            pitch = place.pitch if place.lines > 1 else line
            return Walk(place.mem, place.base, pitch, unit)

        def body() -> None:
            for start in range(0, unit, ROWS_MAX):
                self.emitter.rows(min(ROWS_MAX, unit - start))
                self.emitter.read(moved(walk(source), start))
                self.steps(steps, walk, Walk(Mem.NONE, start, line, unit))
                self.emitter.end()

        self._loops(lines, line // unit, body)

    def linear(self, chain: Chain, temporaries: dict[str, Place]) -> None:
        matrix = chain.matrix
        assert matrix is not None
        view, temporary = chain.source, temporaries.get("x")
        source = self.source(view.store) if temporary else self.plan.homes[view.store, Mem.IVRF]
        lines = max([place.lines for place in self._places(chain.steps)] + [1])
        if chain.rows > 1:
            lines = max(lines, source.lines)
        per_line = chain.rows // lines

        def walk_of(vectors: int) -> WalkOf:
            def walk(place: Place) -> Walk:
                pitch = place.pitch if place.lines > 1 else per_line * vectors
                return Walk(place.mem, place.base, pitch, vectors)

            return walk

        columns = self.columns(view, source if chain.rows == 1 else None)
        for part in self.parts(matrix):

            def body(part: Part = part) -> None:
                walk = walk_of(view.row_vectors)(source)
                if temporary:
                    self.emitter.rows(view.row_vectors)
                    self.emitter.read(walk)
                    walk = Walk(temporary.mem, temporary.base)
                    self.emitter.write(walk)
                    self.emitter.end()
                self.emitter.product(walk, columns, part.rows, part.tiles)
                self._finish(chain, walk_of(chain.row_vectors), per_line, part)

            self._loops(lines, per_line, body)

    def conv(self, chain: Conv) -> None:
        pixel, window = chain.source.row_vectors, chain.window
        source = self.plan.homes[chain.source.store, Mem.IVRF]
        line = source.pitch or self.layout.vectors_of(chain.source.store) // chain.lines
        base = source.base - window.pads[0] * line - window.pads[1] * pixel
        start = Walk(Mem.IVRF, base, window.strides[0] * line, window.strides[1] * pixel)
        columns = gathered(
            pixel,
            window.kernel[1],
            window.kernel[0],
            window.dilations[1] * pixel,
            window.dilations[0] * line,
            self._beats(chain.source),
            self.config.beats,
        )

        def walk(place: Place) -> Walk:
            pitch = place.pitch if place.lines > 1 else chain.width * chain.row_vectors
            return Walk(place.mem, place.base, pitch, chain.row_vectors)

        for part in self.parts(chain.matrix):

            def body(part: Part = part) -> None:
                self.emitter.product(start, columns, part.rows, part.tiles)
                self._finish(chain, walk, chain.width, part)

            self._loops(chain.height, chain.width, body)

    def _finish(self, chain: Chain, walk: WalkOf, per_line: int, part: Part) -> None:
        """The steps of a chain for some rows of its product."""
        full = Walk(Mem.NONE, part.first, per_line * chain.row_vectors, chain.row_vectors)
        self.steps(chain.steps, walk, full)
        self.emitter.end()

    def _loops(self, outer: int, inner: int, body: Callable[[], None]) -> None:
        self.emitter.loop("outer", outer, lambda: self.emitter.loop("inner", inner, body))

    # ---- parts of chains

    def steps(self, steps: Steps, walk: WalkOf, full: Walk) -> None:
        """Operations and sinks. `full`: how a constant with a vector for every row is walked; its
        base is the row of the chain to begin with."""
        for step in steps:
            if isinstance(step, Tap):
                for place in self.sinks(step.store):
                    self.emitter.write(moved(walk(place), full.base))
            elif step.operand is None:
                self.emitter.operate(step.op)
            elif isinstance(step.operand, Const):
                place = self.plan.consts[step.operand]
                turns = (0, 0) if step.operand.per_row else (full.outer, full.inner)
                self.emitter.operate(step.op, Walk(place.mem, place.base + full.base, *turns))
            else:
                place = self.plan.homes[step.operand, step.mem]
                self.emitter.operate(step.op, moved(walk(place), full.base))

    def parts(self, matrix: Matrix) -> Iterator[Part]:
        """The rows of a product in as few chains as may be; of a spilled matrix, each strip is
        loaded on the way."""
        self.load_pending()
        place, (rows, cols) = self.plan.matrices[matrix], tiles_of(matrix, self.config)
        if isinstance(place, Tiles):
            for first in range(0, rows, ROWS_MAX):
                count = min(ROWS_MAX, rows - first)
                yield Part(first, count, self.from_row(place, first, cols))
            return
        for index, first in enumerate(range(0, rows, place.rows)):
            count = min(place.rows, rows - first)
            tiles = place.buffers[index % len(place.buffers)]
            vector = self.plan.vectors[matrix] + first * cols * self.config.tile_vectors
            self.emitter.load_tiles(vector, count, cols, tiles)
            yield Part(first, count, tiles)

    def load_pending(self) -> None:
        """Load matrices as late as may be: what was read from device memory before does not wait
        for them. The matrix unit begins with the first while the others come."""
        loads: list[tuple[int, int, int, Tiles]] = []  # vector, rows, cols, place
        for group in self.pending:
            loads += self._group(group)
        self.pending = []
        if loads:
            layer = Layer("weights", "load", "", 0, 0, 0, 1)
            self.emitter.layer(layer, partial(self._load_matrices, loads))

    def _group(self, group: list[Matrix]) -> list[tuple[int, int, int, Tiles]]:
        """Loads of matrices that are waited for together."""
        loads = [
            (self.plan.vectors[matrix], *tiles_of(matrix, self.config), place)
            for matrix in group
            for place in [self.plan.matrices[matrix]]
            if isinstance(place, Tiles)
        ]
        return _joined(loads, self.config) if self.config.engines == 1 else loads

    def _load_matrices(self, loads: list[tuple[int, int, int, Tiles]]) -> None:
        for vector, rows, cols, tiles in loads:
            for first in range(0, rows, ROWS_MAX):
                count = min(ROWS_MAX, rows - first)
                start = vector + first * cols * self.config.tile_vectors
                self.emitter.load_tiles(start, count, cols, self.from_row(tiles, first, cols))

    def from_row(self, tiles: Tiles, row: int, cols: int) -> Tiles:
        """Where a matrix goes on from one of its rows."""
        turn, engine = divmod(tiles.engine + row, self.config.engines)
        return Tiles(engine, tiles.line + turn * cols)

    def columns(self, view: View, place: Place | None) -> Columns:
        """A row of a view as the source of a product; `place`: it is a whole image in lines."""
        tail, beats = self._beats(view), self.config.beats
        lines = place.lines if place else 1
        per_line = view.row_vectors // lines
        run = view.segment_vectors
        if tail == beats or per_line % run:
            run = per_line
        pitch = place.pitch if place else 0
        return gathered(run, per_line // run, lines, run, pitch, tail, beats)

    def _beats(self, view: View) -> int:
        """Beats that the last vector of a run takes."""
        return -(-view.last_elements // self.config.lanes)

    # ---- borders

    def surround(self, store: str) -> None:
        """Write the constant vectors around a store's images."""
        for place in self.plan.sinks(store):
            border = self.layout.borders.get((store, place.mem))
            if border is None:
                continue
            fill = self.plan.consts[self.plan.fills[border.value]]
            top, left, bottom, right = border.pads
            pixel = self.layout.vectors_of(store) // (border.lines * border.width)
            line = (border.width + left + right) * pixel
            start = place.base - top * line - left * pixel
            end = place.base + (border.lines - 1) * line + border.width * pixel
            between = (left + right) * pixel
            self._fill(fill, Walk(place.mem, start, 0, 1), 1, top * line + left * pixel)
            walk = Walk(place.mem, place.base + border.width * pixel, line, 1)
            self._fill(fill, walk, border.lines - 1, between)
            self._fill(fill, Walk(place.mem, end, 0, 1), 1, right * pixel + bottom * line)

    def _fill(self, fill: Place, walk: Walk, outer: int, inner: int) -> None:
        def body() -> None:
            self.emitter.rows(1)
            self.emitter.read(Walk(fill.mem, fill.base))
            self.emitter.write(walk)
            self.emitter.end()

        if outer and inner:
            self._loops(outer, inner, body)


def moved(walk: Walk, vectors: int) -> Walk:
    return Walk(walk.mem, walk.base + vectors, walk.outer, walk.inner)


def _joined(
    loads: list[tuple[int, int, int, Tiles]], config: Config
) -> list[tuple[int, int, int, Tiles]]:
    """With one engine, tiles follow one another: neighbours become one load of one column."""
    joined: list[tuple[int, int, int, Tiles]] = []
    for vector, rows, cols, tiles in loads:
        count = rows * cols
        if joined:
            vector_, count_, _, tiles_ = joined[-1]
            follows = vector_ + count_ * config.tile_vectors == vector
            if follows and tiles_.line + count_ == tiles.line:
                joined[-1] = (vector_, count_ + count, 1, tiles_)
                continue
        joined.append((vector, count, 1, tiles))
    return joined
