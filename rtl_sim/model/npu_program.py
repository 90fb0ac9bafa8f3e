"""Walks a program as the NPU's decoder does: checks, loops, addresses; what comes out is chains.

Control never depends on data, so the golden model and the cycle model share this walk: one
executes the chains, the other times them. Written from docs/npu.md, not from the RTL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from rtl_sim.spec.npu import (
    ADD_OPS,
    ENGINE_SHIFT,
    FLAG_MV,
    FLAG_WINDOW,
    HIGH_SHIFT,
    LOOP_LEVELS,
    PITCH_MAX,
    ROWS_MAX,
    V_OPS,
    VV_OPS,
    WEIGHT_ADDRESS_BITS,
    Config,
    Mem,
    Op,
    Scalar,
    Slot,
    Status,
    long_address,
    next_slot,
)

VRFS: Final = (Mem.IVRF, Mem.AVRF, Mem.MVRF)
_SOURCES: Final = (*VRFS, Mem.INPUT, Mem.WEIGHTS)
_SINKS: Final = (*VRFS, Mem.OUTPUT)
_OPCODES: Final = frozenset(Op)
_BEGINS: Final = frozenset((Op.V_RD, Op.M_RD, Op.S_WR, Op.LOOP, Op.END_LOOP))
_IN_CHAIN: Final = frozenset((Op.V_WR, Op.END_CHAIN, *VV_OPS, *V_OPS))
_WINDOW: Final = (Scalar.RUN, Scalar.WIN_X, Scalar.WIN_Y, Scalar.PITCH_X, Scalar.PITCH_Y)
_RESERVED: Final = 7 << ENGINE_SHIFT | FLAG_MV


@dataclass(frozen=True, slots=True)
class Product:
    """What the matrix unit does for each row of a chain."""

    source: int  # first entry of the IVRF, and how many lie between it and the last one
    extent: int
    offsets: tuple[int, ...]  # of the source vectors from `source`, one a column
    beats: tuple[int, ...]  # of each column
    engine: int  # of row 0
    line: int  # its first entry of MatrixRf there


@dataclass(frozen=True, slots=True)
class Operation:
    slot: Slot
    op: Op
    entry: int  # of the operand for row 0, in AVRF or MVRF; 0 if there is none


@dataclass(frozen=True, slots=True)
class Sink:
    mem: Mem
    entry: int  # of row 0
    after: int  # how many operations come before it


@dataclass(slots=True)
class Chain:
    """A vector chain: `rows` vectors, the entries counting up from row to row."""

    pc: int
    rows: int
    mem: Mem  # of the source
    entry: int
    product: Product | None = None
    operations: list[Operation] = field(default_factory=list)
    sinks: list[Sink] = field(default_factory=list)

    @property
    def passed(self) -> int:
        """The first slot that a further operation may take."""
        return self.operations[-1].slot + 1 if self.operations else 0

    @property
    def in_place(self) -> bool:
        """Whether the chain writes where its product reads."""
        product = self.product
        return product is not None and any(
            sink.mem is Mem.IVRF
            and sink.entry < product.source + product.extent
            and product.source < sink.entry + self.rows
            for sink in self.sinks
        )


@dataclass(frozen=True, slots=True)
class Load:
    """A matrix chain: rows x cols tiles from the weights buffer to MatrixRf."""

    pc: int
    vector: int
    engine: int
    line: int
    rows: int
    cols: int


@dataclass(frozen=True, slots=True)
class SetWindow:
    """A scalar register that the matrix unit reads while it works was written."""


Effect = Chain | Load | SetWindow | None


class Stop(Exception):
    """The program's first error."""

    def __init__(self, status: Status, pc: int) -> None:
        super().__init__(status.name, pc)
        self.status, self.pc = status, pc


@dataclass(slots=True)
class _Loop:
    body: int
    turns: int
    steps: tuple[int, int]  # what each turn adds to addresses in INPUT and OUTPUT
    turn: int = 0


class Decoder:
    """One walk through a program; sizes: native vectors of INPUT, WEIGHTS, OUTPUT."""

    def __init__(self, config: Config, code: list[int], sizes: Mapping[Mem, int]) -> None:
        self.config, self.code, self.sizes = config, code, sizes
        start = {Scalar.TAIL: config.beats, Scalar.PITCH_X: 0, Scalar.PITCH_Y: 0}
        self.scalars = {scalar: start.get(scalar, 1) for scalar in Scalar}
        self.loops: list[_Loop] = []
        self.pc = 0
        self.chain: Chain | None = None
        self.load: Load | None = None  # after m_rd, incomplete; complete after m_wr
        self.load_complete = False

    def run(self) -> Iterator[Effect]:
        """For each instruction executed what it completed, if it did. Raises Stop."""
        if not 0 < len(self.code) <= self.config.program:
            raise Stop(Status.PROGRAM, 0)
        while self.pc < len(self.code):
            self._next = self.pc + 1
            effect = self._step(self.code[self.pc])
            self.pc = self._next
            yield effect
        if self.chain or self.load:
            self._fail(Status.CHAIN)
        if self.loops:
            self._fail(Status.LOOP)

    def _fail(self, status: Status) -> None:
        raise Stop(status, self.pc)

    def _require(self, condition: bool, status: Status) -> None:
        if not condition:
            raise Stop(status, self.pc)

    def _step(self, word: int) -> Effect:
        code, mem, value = word & 0xFF, word >> 8 & 0xF, word >> 16 & 0xFFFF
        self._require(code in _OPCODES, Status.OPCODE)
        op = Op(code)
        allowed = 0
        if long_address(op, mem):
            allowed = _RESERVED
        elif op is Op.V_RD:
            allowed = FLAG_MV | (FLAG_WINDOW if word & FLAG_MV else 0)
        elif op in (Op.MV_MUL, Op.M_WR):
            allowed = 7 << ENGINE_SHIFT
        self._require(not word & _RESERVED & ~allowed, Status.OPCODE)
        self._check_grammar(op)
        if op is Op.S_WR:
            return self._s_wr(mem, value)
        if op is Op.LOOP or op is Op.END_LOOP:
            self._loop(op, value, (word >> 32 & 0xFFFF, word >> 48))
            return None
        if op is Op.END_CHAIN:
            return self._end_chain()
        address = self._address(word, mem)
        engine = word >> ENGINE_SHIFT & 7
        if op is Op.M_RD:
            self._m_rd(mem, address)
        elif op is Op.M_WR:
            self._m_wr(mem, address, engine)
        elif op is Op.V_RD:
            flags = 0 if mem == Mem.WEIGHTS else word
            self._v_rd(mem, address, bool(flags & FLAG_MV), bool(flags & FLAG_WINDOW))
        elif op is Op.MV_MUL:
            self._mv_mul(mem, address, engine)
        elif op is Op.V_WR:
            self._v_wr(mem, address)
        else:
            self._operate(op, mem, address)
        return None

    def _check_grammar(self, op: Op) -> None:
        if self.load:
            legal = op is (Op.END_CHAIN if self.load_complete else Op.M_WR)
        elif not self.chain:
            legal = op in _BEGINS
        elif self._awaits_product:
            legal = op is Op.MV_MUL
        elif op is Op.END_CHAIN:  # the last instruction before it is a sink
            sinks = self.chain.sinks
            legal = bool(sinks) and sinks[-1].after == len(self.chain.operations)
        else:
            legal = op in _IN_CHAIN
        self._require(legal, Status.CHAIN)

    @property
    def _awaits_product(self) -> bool:
        product = self.chain.product if self.chain else None
        return product is not None and product.line < 0

    def _address(self, word: int, mem: int) -> int:
        turns = [loop.turn for loop in self.loops]
        inner = turns[1:] if len(turns) == LOOP_LEVELS else turns
        strides = (word >> 32 & 0xFFFF, word >> 48)
        if long_address(word & 0xFF, mem):
            high = (word >> HIGH_SHIFT & 0xF) << 16
            signed = [(stride ^ 0x8000) - 0x8000 for stride in strides]
            moved = sum(s * t for s, t in zip(signed, inner, strict=False))
            return (high + (word >> 16 & 0xFFFF) + moved) % (1 << WEIGHT_ADDRESS_BITS)
        address = (word >> 16) + sum(s * t for s, t in zip(strides, inner, strict=False))
        if mem in (Mem.INPUT, Mem.OUTPUT):
            which = 0 if mem == Mem.INPUT else 1
            address += sum(loop.steps[which] * loop.turn for loop in self.loops)
        return address & 0xFFFF

    def _size(self, mem: Mem) -> int:
        return self.sizes[mem] if mem in self.sizes else self.config.depth(mem)

    def _s_wr(self, register: int, value: int) -> Effect:
        self._require(register in set(Scalar), Status.VALUE)
        scalar = Scalar(register)
        pitch = scalar in (Scalar.PITCH_X, Scalar.PITCH_Y)
        limit = PITCH_MAX if pitch else self.config.beats if scalar is Scalar.TAIL else ROWS_MAX
        self._require((0 if pitch else 1) <= value <= limit, Status.VALUE)
        self.scalars[scalar] = value
        return SetWindow() if scalar in _WINDOW else None

    def _loop(self, op: Op, turns: int, steps: tuple[int, int]) -> None:
        if op is Op.LOOP:
            self._require(len(self.loops) < LOOP_LEVELS, Status.LOOP)
            self._require(turns > 0, Status.VALUE)
            self.loops.append(_Loop(self.pc + 1, turns, steps))
            return
        self._require(bool(self.loops), Status.LOOP)
        loop = self.loops[-1]
        loop.turn += 1
        if loop.turn < loop.turns:
            self._next = loop.body
        else:
            self.loops.pop()

    def _end_chain(self) -> Effect:
        done = self.load or self.chain
        self.load, self.chain, self.load_complete = None, None, False
        return done

    def _m_rd(self, mem: int, address: int) -> None:
        rows, cols = self.scalars[Scalar.ROWS], self.scalars[Scalar.COLS]
        self._require(mem == Mem.WEIGHTS, Status.MEMORY)
        end = address + rows * cols * self.config.tile_vectors
        self._require(end <= self.sizes[Mem.WEIGHTS], Status.RANGE)
        self.load = Load(self.pc, address, 0, 0, rows, cols)

    def _m_wr(self, mem: int, line: int, engine: int) -> None:
        assert self.load is not None
        load = self.load
        self._require(mem == Mem.MATRIX, Status.MEMORY)
        self._check_lines(line, engine)
        self.load = Load(load.pc, load.vector, engine, line, load.rows, load.cols)
        self.load_complete = True

    def _check_lines(self, line: int, engine: int) -> None:
        rows, cols = self.scalars[Scalar.ROWS], self.scalars[Scalar.COLS]
        self._require(engine < self.config.engines, Status.RANGE)
        end = line + self.config.lines(engine, rows, cols)
        self._require(end <= self.config.tiles, Status.RANGE)

    def _v_rd(self, mem: int, address: int, mv: bool, window: bool) -> None:
        self._require(mem in ((Mem.IVRF,) if mv else _SOURCES), Status.MEMORY)
        where, rows = Mem(mem), self.scalars[Scalar.ROWS]
        product = None
        if mv:
            if window:
                run, x, y = (self.scalars[s] for s in _WINDOW[:3])
                self._require(run * x * y == self.scalars[Scalar.COLS], Status.VALUE)
            product = self._columns(address, window)
            self._require(address + product.extent <= self.config.ivrf, Status.RANGE)
        else:
            self._require(address + rows <= self._size(where), Status.RANGE)
        self.chain = Chain(self.pc, rows, where, address, product)

    def _columns(self, address: int, window: bool) -> Product:
        """The source vectors, and the beats each takes. The tiles come with mv_mul."""
        if window:
            run, x, y, pitch_x, pitch_y = (self.scalars[s] for s in _WINDOW)
        else:
            run, x, y, pitch_x, pitch_y = self.scalars[Scalar.COLS], 1, 1, 0, 0
        offsets = tuple(
            line * pitch_y + at * pitch_x + k
            for line in range(y)
            for at in range(x)
            for k in range(run)
        )
        full, tail = self.config.beats, self.scalars[Scalar.TAIL]
        beats = ((full,) * (run - 1) + (tail,)) * (x * y)
        extent = (y - 1) * pitch_y + (x - 1) * pitch_x + run
        return Product(address, extent, offsets, beats, 0, -1)

    def _mv_mul(self, mem: int, line: int, engine: int) -> None:
        assert self.chain is not None and self.chain.product is not None
        self._require(mem == Mem.MATRIX, Status.MEMORY)
        self._check_lines(line, engine)
        half = self.chain.product
        self.chain.product = Product(
            half.source, half.extent, half.offsets, half.beats, engine, line
        )

    def _v_wr(self, mem: int, address: int) -> None:
        chain = self.chain
        assert chain is not None
        after = len(chain.operations)
        others = {sink.after for sink in chain.sinks} | {after}
        twice = any(sink.mem == mem for sink in chain.sinks)
        self._require(not twice and len(others) <= 2, Status.CHAIN)
        self._require(mem in _SINKS, Status.MEMORY)
        self._require(address + chain.rows <= self._size(Mem(mem)), Status.RANGE)
        chain.sinks.append(Sink(Mem(mem), address, after))
        fine = chain.rows <= self.config.in_place_rows or not chain.in_place
        self._require(fine, Status.HAZARD)

    def _operate(self, op: Op, mem: int, address: int) -> None:
        chain = self.chain
        assert chain is not None
        slot = next_slot(op, chain.passed)
        if slot is None:
            raise Stop(Status.CHAIN, self.pc)
        entry = 0
        if op in VV_OPS:
            operand = Mem.AVRF if op in ADD_OPS else Mem.MVRF
            self._require(mem == operand, Status.MEMORY)
            self._require(address + chain.rows <= self.config.depth(operand), Status.RANGE)
            entry = address
        chain.operations.append(Operation(slot, op, entry))
