"""A list of instructions in the making: loops and their strides, scalar registers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from compiler.targets.npu.memory import Place
from rtl_sim.spec.npu import LOOP_LEVELS, ROWS_MAX, Instr, Mem, Op, Scalar


class Emitter:
    """Appends instructions; knows which loops are open and what rows and cols are.

    sample_strides  native vectors between consecutive samples, for memories that hold several
    """

    def __init__(self, sample_strides: dict[Mem, int]) -> None:
        self.program: list[Instr] = []
        self._sample_strides = sample_strides
        self._loops: list[str] = []
        self._scalars: dict[Scalar, int] = {Scalar.ROWS: 1, Scalar.COLS: 1}

    @contextmanager
    def loop(self, kind: str, count: int) -> Iterator[None]:
        """Repeat what is emitted inside; `kind` is "sample" or "row". One turn needs no loop."""
        if count == 1:
            yield
            return
        assert len(self._loops) < LOOP_LEVELS and kind not in self._loops
        self._add(Op.LOOP, 0, count)
        self._loops.append(kind)
        self._scalars = {}  # the loop's start is reached from its end, too
        yield
        self._loops.pop()
        self._add(Op.END_LOOP)

    def scalars(self, rows: int, cols: int | None = None) -> None:
        """Set the scalar registers for the next chain, where they differ."""
        for scalar, value in ((Scalar.ROWS, rows), (Scalar.COLS, cols)):
            if value is None or self._scalars.get(scalar) == value:
                continue
            assert 1 <= value <= ROWS_MAX
            self._add(Op.S_WR, scalar, value)
            self._scalars[scalar] = value

    def read(self, mem: Mem, base: int, row_stride: int = 0) -> None:
        self._access(Op.V_RD, mem, base, row_stride)

    def read_for_product(self, base: int, row_stride: int = 0) -> None:
        self._access(Op.V_RD, Mem.IVRF, base, row_stride, mv=True)

    def write(self, mem: Mem, base: int, row_stride: int = 0) -> None:
        self._access(Op.V_WR, mem, base, row_stride)

    def product(self, tile: int) -> None:
        self._add(Op.MV_MUL, Mem.MATRIX, tile)

    def operate(self, op: Op, place: Place | None = None, row_stride: int = 0) -> None:
        if place is None:
            self._add(op)
        else:
            self._access(op, place.mem, place.base, row_stride)

    def load_tiles(self, vector: int, tile: int, count: int) -> None:
        self.scalars(count, 1)
        self._add(Op.M_RD, Mem.WEIGHTS, vector)
        self._add(Op.M_WR, Mem.MATRIX, tile)
        self.end()

    def end(self) -> None:
        self._add(Op.END_CHAIN)

    def _access(self, op: Op, mem: Mem, base: int, row_stride: int, mv: bool = False) -> None:
        by_kind = {"row": row_stride, "sample": self._sample_strides.get(mem, 0)}
        strides = [by_kind[kind] for kind in self._loops]
        s0, s1 = (*strides, 0, 0)[:2]
        self.program.append(Instr(op, mem, base, s0, s1, mv))

    def _add(self, op: Op, mem: int = 0, addr: int = 0) -> None:
        self.program.append(Instr(op, mem, addr))
