"""A list of instructions in the making: loops and their strides, scalar registers, layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from compiler.artifact import Layer
from compiler.targets.npu.memory import Tiles
from rtl_sim.spec.npu import (
    LOOP_LEVELS,
    PITCH_MAX,
    ROWS_MAX,
    Config,
    Instr,
    Mem,
    Op,
    Scalar,
)


@dataclass(frozen=True, slots=True)
class Walk:
    """Where an instruction finds or puts its vectors, and how far it moves with each turn of the
    "outer" and the "inner" loop."""

    mem: Mem
    base: int
    outer: int = 0
    inner: int = 0


@dataclass(frozen=True, slots=True)
class Columns:
    """The source vectors of a product: runs of consecutive ones, x in a line, y lines."""

    run: int
    x: int
    y: int
    pitch_x: int
    pitch_y: int
    tail: int  # beats that the last vector of a run takes

    @property
    def count(self) -> int:
        return self.run * self.x * self.y


def gathered(
    run: int, x: int, y: int, pitch_x: int, pitch_y: int, tail: int, beats: int
) -> Columns:
    """Columns in as few runs as may be."""
    if tail == beats and x > 1 and pitch_x == run:
        run, x = run * x, 1
    if tail == beats and x == 1 and y > 1 and pitch_y == run:
        run, y = run * y, 1
    return Columns(run, x, y, pitch_x if x > 1 else 0, pitch_y if y > 1 else 0, tail)


class Emitter:
    """Appends instructions; knows which loops are open and what the scalar registers hold."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.program: list[Instr] = []
        self.layers: list[Layer] = []
        self._loops: list[str] = []
        self._scalars = {scalar: 1 for scalar in Scalar}
        self._scalars |= {Scalar.TAIL: config.beats, Scalar.PITCH_X: 0, Scalar.PITCH_Y: 0}

    def loop(
        self, kind: str, count: int, body: Callable[[], None], steps: tuple[int, int] = (0, 0)
    ) -> None:
        """Repeat what `body` emits; kind: "sample", "outer", "inner". One turn needs no loop.
        `steps`: what a turn adds to addresses in the input and output buffers.

        A register that has one value throughout is set before the loop, not in it; `body` is
        called again until that is settled."""
        if count == 1:
            body()
            return
        assert len(self._loops) < LOOP_LEVELS and kind not in self._loops
        start, layers, entry = len(self.program), len(self.layers), dict(self._scalars)
        before: list[Instr] = []
        self._loops.append(kind)
        while True:
            self.program += [*before, Instr(Op.LOOP, 0, count, *steps)]
            first = len(self.program)
            body()
            changed = {key for key, value in entry.items() if self._scalars.get(key) != value}
            if not changed:
                break
            for key in changed:
                writes = [i for i in self.program[first:] if (i.op, i.mem) == (Op.S_WR, key)]
                if {i.addr for i in writes} == {self._scalars[key]}:
                    before.append(writes[0])
                    entry[key] = self._scalars[key]
                else:
                    del entry[key]
            del self.program[start:], self.layers[layers:]
            self._scalars = dict(entry)
        self._loops.pop()
        self.program.append(Instr(Op.END_LOOP))

    def layer(self, layer: Layer, body: Callable[[], None]) -> None:
        """What `body` emits is a layer's, of which the instructions' numbers are still open."""
        first = len(self.program)
        body()
        self.layers.append(replace(layer, first=first, end=len(self.program)))

    def rows(self, rows: int) -> None:
        """Set how many rows the next chain has."""
        self._set(Scalar.ROWS, rows)

    def read(self, walk: Walk) -> None:
        self._access(Op.V_RD, walk)

    def product(self, walk: Walk, columns: Columns, rows: int, tiles: Tiles) -> None:
        """Begin a chain with a product."""
        self.rows(rows)
        self._set(Scalar.COLS, columns.count)
        self._set(Scalar.TAIL, columns.tail)
        window = columns.x * columns.y > 1
        if window:
            self._set(Scalar.RUN, columns.run)
            self._set(Scalar.WIN_X, columns.x)
            self._set(Scalar.WIN_Y, columns.y)
            if columns.x > 1:
                self._set(Scalar.PITCH_X, columns.pitch_x)
            if columns.y > 1:
                self._set(Scalar.PITCH_Y, columns.pitch_y)
        self._access(Op.V_RD, walk, mv=True, window=window)
        self.program.append(Instr(Op.MV_MUL, Mem.MATRIX, tiles.line, engine=tiles.engine))

    def operate(self, op: Op, walk: Walk | None = None) -> None:
        if walk is None:
            self.program.append(Instr(op))
        else:
            self._access(op, walk)

    def write(self, walk: Walk) -> None:
        self._access(Op.V_WR, walk)

    def end(self) -> None:
        self.program.append(Instr(Op.END_CHAIN))

    def load_tiles(self, vector: int, rows: int, cols: int, tiles: Tiles) -> None:
        self.rows(rows)
        self._set(Scalar.COLS, cols)
        self.program.append(Instr(Op.M_RD, Mem.WEIGHTS, vector))
        self.program.append(Instr(Op.M_WR, Mem.MATRIX, tiles.line, engine=tiles.engine))
        self.end()

    def _set(self, scalar: Scalar, value: int) -> None:
        if self._scalars.get(scalar) == value:
            return
        pitch = scalar in (Scalar.PITCH_X, Scalar.PITCH_Y)
        assert (0 if pitch else 1) <= value <= (PITCH_MAX if pitch else ROWS_MAX)
        self.program.append(Instr(Op.S_WR, scalar, value))
        self._scalars[scalar] = value

    def _access(self, op: Op, walk: Walk, mv: bool = False, window: bool = False) -> None:
        by_kind = {"outer": walk.outer, "inner": walk.inner, "sample": 0}
        strides = [by_kind[kind] for kind in self._loops]
        s0, s1 = (*strides[-2:], 0, 0)[:2]
        instr = Instr(op, walk.mem, walk.base, s0 & 0xFFFF, s1 & 0xFFFF, mv, window)
        self.program.append(instr)
