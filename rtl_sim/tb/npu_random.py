"""Seeded random programs for the NPU that cover every instruction, memory and error.

A program is built by the grammar of docs/npu.md with all addresses in range; `faulty` then spoils
it in one way. Values are drawn over the whole range of h16, so that alignment, saturation and
flushing occur, but mostly near 1, where the activations live.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rtl_sim.spec.npu import (
    ADD_OPS,
    V_OPS,
    VV_OPS,
    Config,
    Instr,
    Mem,
    Op,
    Scalar,
    encode,
    next_slot,
)

VECTORS: Final = 24  # of each buffer in device memory
MAX_SIDE: Final = 3  # rows and columns of a product
TURNS: Final = 3
_CHIP: Final = (Mem.IVRF, Mem.AVRF, Mem.MVRF)
_SOURCES: Final = (*_CHIP, Mem.INPUT, Mem.WEIGHTS)
_SINKS: Final = (*_CHIP, Mem.OUTPUT)


@dataclass(frozen=True, slots=True)
class Case:
    program: bytes
    weights: bytes
    inputs: bytes
    output_vectors: int


class Generator:
    """Draws programs for one configuration."""

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        self.rng = np.random.default_rng(seed)
        self.code: list[Instr] = []
        self.rows = self.cols = 1
        self.turns: list[int] = []  # of the loops that are open
        self.free: list[Mem] = []  # sinks that the chain has not used
        self.steps: list[tuple[int, int]] = []  # and what their turns add to buffers' addresses

    def setup(self) -> Case:
        """Fills every memory: the model's and the RTL's may start with different contents."""
        self._begin()
        self._fill()
        return self._wrap(self.code)

    def dump(self) -> Case:
        """Writes every vector register file to the output. MatrixRf shows in products."""
        code = []
        at = 0
        for mem in _CHIP:
            depth = self.config.depth(mem)
            for start in range(0, depth, 128):
                code += [
                    Instr(Op.S_WR, Scalar.ROWS, min(128, depth - start)),
                    Instr(Op.V_RD, mem, start),
                    Instr(Op.V_WR, Mem.OUTPUT, at + start),
                    Instr(Op.END_CHAIN),
                ]
            at += depth
        return Case(encode(code), b"", b"", at)

    def case(self, chains: int = 7) -> Case:
        """A program without errors."""
        self._begin()
        for _ in range(chains):
            self._piece()
        while self.turns:
            self._close_loop()
        return self._wrap(self.code)

    def faulty(self, kind: int) -> Case:
        """A program that ends with an error, most of the time; the golden model says which."""
        self.case(5)
        code = list(self.code)
        spoil = FAULTS[kind % len(FAULTS)]
        products = [index for index, instr in enumerate(code) if instr.op == Op.MV_MUL]
        if spoil is _in_place and products:
            at = self._pick(products)
        else:
            at = int(self.rng.integers(len(code)))
        instr = code[at]
        code[at : at + 1] = spoil(self, instr)
        return self._wrap(code)

    def _begin(self) -> None:
        self.code, self.turns, self.steps = [], [], []
        self.rows = self.cols = 1

    def _wrap(self, code: Sequence[Instr]) -> Case:
        weights = self._tiles() + self._vectors(VECTORS)
        return Case(encode(code), weights, self._vectors(VECTORS), VECTORS)

    # ---- data

    @property
    def _tile_count(self) -> int:
        return min(self.config.tiles, MAX_SIDE * MAX_SIDE + 1)

    def _tiles(self) -> bytes:
        n = self.config.n
        raw = self.rng.integers(-128, 128, (self._tile_count, n + 2, n))
        raw[:, 0] = self.rng.integers(-12, 6, raw[:, 0].shape)
        raw[0, 0] = self.rng.integers(-128, 128, n)  # one tile with the whole range of exponents
        return raw.astype(np.int8).tobytes()

    def _vectors(self, count: int) -> bytes:
        shape = count, self.config.n
        near = self.rng.standard_normal(shape) * np.exp2(self.rng.integers(-4, 3, (count, 1)))
        bits: NDArray[np.uint16] = near.astype(np.float16).view(np.uint16)
        wild = self.rng.integers(0, 1 << 16, shape).astype(np.uint16)
        share = self.rng.choice([0.0, 0.1, 1.0], (count, 1), p=[0.6, 0.25, 0.15])
        return np.where(self.rng.random(shape) < share, wild, bits).astype("<u2").tobytes()

    # ---- pieces of programs

    def _pick(self, options: Sequence[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def _size(self, mem: Mem) -> int:
        return {
            Mem.INPUT: VECTORS,
            Mem.OUTPUT: VECTORS,
            Mem.WEIGHTS: self._tile_count * self.config.tile_vectors + VECTORS,
        }.get(mem) or self.config.depth(mem)

    def _address(self, mem: Mem, span: int) -> dict[str, Any]:
        """An address field and strides such that `span` entries from it exist at every turn."""
        room = self._size(mem) - span
        if mem in (Mem.INPUT, Mem.OUTPUT):
            for turns, steps in zip(self.turns, self.steps, strict=True):
                room -= (turns - 1) * steps[0 if mem is Mem.INPUT else 1]
        strides = [0, 0]
        for level, turns in enumerate(self.turns[-2:]):
            stride = int(self.rng.integers(0, 3))
            if stride * (turns - 1) <= room:
                strides[level] = stride
                room -= stride * (turns - 1)
        start = int(self.rng.integers(room + 1))
        return {"addr": start, "s0": strides[0], "s1": strides[1]}

    def _set(self, scalar: Scalar, value: int) -> None:
        self.code.append(Instr(Op.S_WR, scalar, value))
        if scalar is Scalar.ROWS:
            self.rows = value
        elif scalar is Scalar.COLS:
            self.cols = value

    def _fill(self) -> None:
        lines = self.config.tiles
        self._set(Scalar.COLS, 1)
        step = min(self._tile_count, lines)
        for engine in range(self.config.engines):  # the same tiles everywhere, rows apart
            for start in range(0, lines, step):
                self._set(Scalar.COLS, min(step, lines - start))
                self.code += [
                    Instr(Op.M_RD, Mem.WEIGHTS, 0),
                    Instr(Op.M_WR, Mem.MATRIX, start, engine=engine),
                    Instr(Op.END_CHAIN),
                ]
        for mem in _CHIP:
            for start in range(0, self.config.depth(mem), VECTORS):
                self._set(Scalar.ROWS, min(VECTORS, self.config.depth(mem) - start))
                self.code += [
                    Instr(Op.V_RD, Mem.INPUT, 0),
                    Instr(Op.V_WR, mem, start),
                    Instr(Op.END_CHAIN),
                ]

    def _piece(self) -> None:
        choice = self.rng.random()
        if choice < 0.15 and len(self.turns) < 3:
            self._open_loop()
        elif choice < 0.25 and self.turns:
            self._close_loop()
        elif choice < 0.33:
            self._matrix_chain()
        self._set(Scalar.ROWS, int(self.rng.integers(1, MAX_SIDE + 1)))
        widest = min(MAX_SIDE, self.config.tiles // self.rows)
        self._set(Scalar.COLS, int(self.rng.integers(1, widest + 1)))
        if self.rng.random() < 0.3:
            self._set(Scalar.TAIL, int(self.rng.integers(1, self.config.beats + 1)))
        self._vector_chain()

    def _open_loop(self) -> None:
        self.turns.append(int(self.rng.integers(1, TURNS + 1)))
        in_step, out_step = (int(step) for step in self.rng.integers(0, 3, 2))
        self.steps.append((in_step, out_step))
        self.code.append(Instr(Op.LOOP, 0, self.turns[-1], in_step, out_step))

    def _close_loop(self) -> None:
        self.turns.pop()
        self.steps.pop()
        self.code.append(Instr(Op.END_LOOP))

    def _matrix_chain(self) -> None:
        self._set(Scalar.ROWS, int(self.rng.integers(1, 4)))
        self._set(Scalar.COLS, int(self.rng.integers(1, 3)))
        span = self.rows * self.cols * self.config.tile_vectors
        self.code.append(Instr(Op.M_RD, Mem.WEIGHTS, **self._address(Mem.WEIGHTS, span)))
        self._matrix(Op.M_WR)
        self.code.append(Instr(Op.END_CHAIN))

    def _matrix(self, op: Op) -> None:
        engine = int(self.rng.integers(self.config.engines))
        span = self.config.lines(engine, self.rows, self.cols)
        self.code.append(Instr(op, Mem.MATRIX, **self._address(Mem.MATRIX, span), engine=engine))

    def _vector_chain(self) -> None:
        source = 0, 0  # of a product: where it begins and ends, in every turn
        if self.rng.random() < 0.6:
            source = self._product()
        else:
            mem = self._pick(_SOURCES)
            self.code.append(Instr(Op.V_RD, mem, **self._address(mem, self.rows)))
        self.free = list(_SINKS)
        if source[1] and self.rows > self.config.in_place_rows:
            self.free.remove(Mem.IVRF)  # might be a hazard; `faulty` tries it
        passed = self._operations(0)
        self._sinks()
        if self.rng.random() < 0.5 and self.free:
            before = len(self.code)
            self._operations(passed)
            if len(self.code) > before:
                self._sinks()
        self.code.append(Instr(Op.END_CHAIN))

    def _product(self) -> tuple[int, int]:
        window = self.rng.random() < 0.3
        extent = self.cols
        if window:
            shapes = [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2), (1, 2, 2), (2, 2, 1)]
            widest = self.config.tiles // self.rows
            run, x, y = self._pick([shape for shape in shapes if prod(shape) <= widest])
            pitch_x, pitch_y = (int(pitch) for pitch in self.rng.integers(0, 4, 2))
            for scalar, value in zip(
                (Scalar.RUN, Scalar.WIN_X, Scalar.WIN_Y, Scalar.PITCH_X, Scalar.PITCH_Y),
                (run, x, y, pitch_x, pitch_y),
                strict=True,
            ):
                self._set(scalar, value)
            self._set(Scalar.COLS, run * x * y)
            extent = (y - 1) * pitch_y + (x - 1) * pitch_x + run
        place = self._address(Mem.IVRF, extent)
        self.code.append(Instr(Op.V_RD, Mem.IVRF, mv=True, window=window, **place))
        self._matrix(Op.MV_MUL)
        return place["addr"], place["addr"] + extent

    def _operations(self, passed: int) -> int:
        """Some operations in the slots that are left; the slots passed then."""
        for _ in range(int(self.rng.integers(0, 4))):
            op = self._pick((*VV_OPS, *VV_OPS, *V_OPS))
            slot = next_slot(op, passed)
            if slot is None:
                continue
            passed = slot + 1
            if op in VV_OPS:
                mem = Mem.AVRF if op in ADD_OPS else Mem.MVRF
                self.code.append(Instr(op, mem, **self._address(mem, self.rows)))
            else:
                self.code.append(Instr(op))
        return passed

    def _sinks(self) -> None:
        for _ in range(int(self.rng.integers(1, 3))):
            if self.free:
                mem = self._pick(self.free)
                self.free.remove(mem)
                self.code.append(Instr(Op.V_WR, mem, **self._address(mem, self.rows)))


def _other_op(self: Generator, instr: Instr) -> list[Instr]:
    return [replace(instr, op=int(self.rng.integers(256)))]


def _other_mem(self: Generator, instr: Instr) -> list[Instr]:
    return [replace(instr, mem=int(self.rng.integers(16)))]


def _other_addr(self: Generator, instr: Instr) -> list[Instr]:
    return [replace(instr, addr=int(self.rng.choice([0, 1, 2, 15, 17, 64, 255, 256, 0xFFFF])))]


def _other_stride(self: Generator, instr: Instr) -> list[Instr]:
    return [replace(instr, s0=int(self.rng.integers(1 << 16)), s1=0xFFFF)]


def _dropped(self: Generator, instr: Instr) -> list[Instr]:
    return []


def _doubled(self: Generator, instr: Instr) -> list[Instr]:
    return [instr, instr]


def _flagged(self: Generator, instr: Instr) -> list[Instr]:
    return [replace(instr, mv=not instr.mv)]


def _misplaced(self: Generator, instr: Instr) -> list[Instr]:
    return [instr, Instr(self._pick(tuple(Op)), int(self.rng.integers(8)), 1)]


def _in_place(self: Generator, instr: Instr) -> list[Instr]:
    rows = self.config.in_place_rows + 1
    return [
        replace(instr, addr=0),
        Instr(Op.V_WR, Mem.MVRF, 0),
        Instr(Op.END_CHAIN),
        Instr(Op.S_WR, Scalar.ROWS, rows),
        Instr(Op.V_RD, Mem.IVRF, 0, mv=True),
        replace(instr, addr=0, s0=0, s1=0),
        Instr(Op.V_WR, Mem.IVRF, int(self.rng.integers(4))),
    ]


def _engine(self: Generator, instr: Instr) -> list[Instr]:
    return [replace(instr, engine=int(self.rng.integers(8)))]


FAULTS: Final[tuple[Callable[[Generator, Instr], list[Instr]], ...]] = (
    _other_op,
    _other_mem,
    _other_addr,
    _other_stride,
    _dropped,
    _doubled,
    _flagged,
    _misplaced,
    _in_place,
    _engine,
)
