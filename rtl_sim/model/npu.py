"""Golden model of the NPU: executes a program on bytes, equal to the RTL in every bit.

Control never depends on data, so one execution serves a whole batch of inputs: every vector
memory has a leading batch axis, weights have none. Cycles and stalls are the RTL's affair: those
words of the statistics stay 0. Written from docs/npu.md, not from the RTL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rtl_sim.model import npu_formats as formats
from rtl_sim.model.npu_formats import Floats
from rtl_sim.spec.npu import (
    FLAG_MV,
    ISA_VERSION,
    LOOP_LEVELS,
    RESERVED_MASK,
    ROWS_MAX,
    STATS_WORDS,
    V_OPS,
    VV_OPS,
    Config,
    Mem,
    Op,
    Scalar,
    Stat,
    Status,
)

_VRFS: Final = (Mem.IVRF, Mem.AVRF, Mem.MVRF)
_SOURCES: Final = (*_VRFS, Mem.INPUT, Mem.WEIGHTS)
_SINKS: Final = (*_VRFS, Mem.OUTPUT)
_OPERANDS: Final = (Mem.AVRF, Mem.MVRF)
_OPCODES: Final = frozenset(Op)
_IN_CHAIN: Final = frozenset((Op.V_WR, Op.END_CHAIN, Op.MV_MUL, *VV_OPS, *V_OPS))

_VV: Final[dict[Op, Callable[[Floats, Floats], Floats]]] = {
    Op.VV_ADD: np.add,
    Op.VV_A_SUB_B: np.subtract,
    Op.VV_B_SUB_A: lambda a, b: b - a,
    Op.VV_MAX: np.maximum,
    Op.VV_MUL: np.multiply,
}
_V: Final[dict[Op, Callable[[Floats], Floats]]] = {
    Op.V_RELU: lambda a: np.maximum(a, 0.0),
    Op.V_SIGM: formats.sigmoid_h16,
    Op.V_TANH: formats.tanh_h16,
}


@dataclass(frozen=True, slots=True)
class Result:
    """What a launch left behind. Row b of each array belongs to input b."""

    outputs: NDArray[np.uint8]  # batch x bytes
    stats: NDArray[np.uint32]  # batch x STATS_WORDS

    @property
    def status(self) -> Status:
        return Status(int(self.stats[0, Stat.STATUS]) & 0xFF)

    @property
    def output(self) -> bytes:
        return bytes(self.outputs[0])


class _Stop(Exception):
    """The program's first error."""

    def __init__(self, status: Status) -> None:
        self.status = status


class Npu:
    """One NPU with its memories, which live across launches, for a batch of inputs at once."""

    def __init__(self, config: Config, batch: int = 1) -> None:
        self.config = config
        self.batch = batch
        self.vrf = {m: np.zeros((batch, config.depth(m), config.n)) for m in _VRFS}
        self.mantissas = np.zeros((config.tiles, config.n, config.n), dtype=np.int8)
        self.exponents = np.zeros((config.tiles, config.n), dtype=np.int8)

    def launch(
        self,
        program: bytes,
        weights: bytes,
        inputs: bytes | NDArray[np.uint8],
        output_bytes: int,
    ) -> Result:
        """Run a program. `inputs`: bytes for a batch of 1, or batch x bytes."""
        rows = np.frombuffer(inputs, np.uint8)[None] if isinstance(inputs, bytes) else inputs
        if len(rows) != self.batch:
            raise ValueError(f"{len(rows)} inputs for a model of batch {self.batch}")
        return _Launch(self, program, weights, rows, output_bytes).run()


def _vectors(config: Config, data: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The whole native vectors in the last axis of `data`, as half words."""
    count = data.shape[-1] // config.vector_bytes
    whole = np.ascontiguousarray(data[..., : count * config.vector_bytes])
    return whole.view("<u2").reshape(*data.shape[:-1], count, config.n)


class _Launch:
    """One execution of a program: registers, counters, and the buffers in device memory."""

    def __init__(
        self,
        npu: Npu,
        program: bytes,
        weights: bytes,
        inputs: NDArray[np.uint8],
        output_bytes: int,
    ) -> None:
        self.npu, self.config = npu, npu.config
        self.code = np.frombuffer(program, "<u8").tolist()
        self.weight_bytes = np.frombuffer(weights, np.uint8)
        self.weights = _vectors(self.config, self.weight_bytes)
        self.inputs = _vectors(self.config, inputs)
        self.outputs = np.zeros((npu.batch, output_bytes), np.uint8)
        self.output_count = output_bytes // self.config.vector_bytes
        self.stats = np.zeros((npu.batch, STATS_WORDS), np.int64)
        self.scalars = {Scalar.ROWS: 1, Scalar.COLS: 1}
        self.loops: list[list[int]] = []  # per level: pc of the body, turns, turn
        self.pc = 0
        self.row = 0
        self.chain: Op | None = None  # V_RD or M_RD: what kind of chain is open
        self.chain_pc = 0
        self.source = 0  # address the chain's v_rd.mv or m_rd formed
        self.mv_next = False  # the only legal instruction is mv_mul
        self.mv_chain = False
        self.products: Floats = np.zeros(0)  # batch x rows x n, with the saturation of each row
        self.saturated: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.vector: Floats = np.zeros((npu.batch, self.config.n))

    def run(self) -> Result:
        status = Status.OK
        try:
            if not 0 < len(self.code) <= self.config.program:
                raise _Stop(Status.PROGRAM)
            self.stats[:, Stat.READ_BEATS] += len(self.code)
            while self.pc < len(self.code):
                self.pc = self._step(self.code[self.pc])
                self.stats[:, Stat.INSTRUCTIONS] += 1
            if self.chain is not None:
                raise _Stop(Status.CHAIN)
            if self.loops:
                raise _Stop(Status.LOOP)
        except _Stop as stop:
            status = stop.status
        pc = self.pc if status is not Status.OK else 0
        self.stats[:, Stat.STATUS] = status | pc << 16
        config = self.config
        self.stats[:, Stat.CONFIG] = ISA_VERSION << 24 | config.lanes << 12 | config.n
        return Result(self.outputs, (self.stats & 0xFFFFFFFF).astype(np.uint32))

    def _step(self, word: int) -> int:
        """Execute one instruction; the pc of the next."""
        code, mem, addr = word & 0xFF, word >> 8 & 0xF, word >> 16 & 0xFFFF
        flag = bool(word & FLAG_MV)
        if code not in _OPCODES or word & RESERVED_MASK or (flag and code != Op.V_RD):
            raise _Stop(Status.OPCODE)
        op = Op(code)
        self._check_grammar(op)
        turns = [loop[2] for loop in self.loops]
        strides = (word >> 32 & 0xFFFF, word >> 48)
        address = (addr + sum(s * t for s, t in zip(strides, turns, strict=False))) & 0xFFFF
        self.mv_next = False
        if op is Op.V_RD:
            self._v_rd(mem, address, flag)
        elif op is Op.V_WR:
            self._v_wr(mem, address)
        elif op is Op.MV_MUL:
            self._mv_mul(mem, address)
        elif op in _VV:
            if mem not in _OPERANDS:
                raise _Stop(Status.MEMORY)
            operand = self.npu.vrf[Mem(mem)][:, self._entry(Mem(mem), address)]
            self.vector, saturated = formats.round_h16(_VV[op](self.vector, operand))
            self.stats[:, Stat.SATURATIONS] += saturated.any(axis=-1)
            self.stats[:, Stat.VECTOR_OPS] += 1
        elif op in _V:
            self.vector = _V[op](self.vector)
            self.stats[:, Stat.VECTOR_OPS] += 1
        elif op is Op.M_RD:
            if mem != Mem.WEIGHTS:
                raise _Stop(Status.MEMORY)
            if address + self._tile_count * self.config.tile_vectors > len(self.weights):
                raise _Stop(Status.RANGE)
            self.chain, self.source = op, address
        elif op is Op.M_WR:
            self._m_wr(mem, address)
        elif op is Op.S_WR:
            if mem not in set(Scalar) or not 1 <= addr <= ROWS_MAX:
                raise _Stop(Status.VALUE)
            self.scalars[Scalar(mem)] = addr
        else:
            return self._control(op, addr)
        return self.pc + 1

    def _check_grammar(self, op: Op) -> None:
        if self.chain is None:
            legal = op in (Op.V_RD, Op.M_RD, Op.S_WR, Op.LOOP, Op.END_LOOP)
        elif self.chain is Op.M_RD:
            legal = op in (Op.M_WR, Op.END_CHAIN)
        elif op is Op.V_RD:  # the chain comes back to its source for the next row
            legal = self.pc == self.chain_pc
        else:
            legal = op in _IN_CHAIN and (op is Op.MV_MUL) == self.mv_next
        if not legal:
            raise _Stop(Status.CHAIN)

    def _control(self, op: Op, value: int) -> int:
        if op is Op.END_CHAIN:
            if self.chain is Op.V_RD and self.row + 1 < self.scalars[Scalar.ROWS]:
                self.row += 1
                return self.chain_pc
            self.chain, self.row, self.mv_chain = None, 0, False
            self.stats[:, Stat.CHAINS] += 1
        elif op is Op.LOOP:
            if len(self.loops) == LOOP_LEVELS:
                raise _Stop(Status.LOOP)
            if value == 0:
                raise _Stop(Status.VALUE)
            self.loops.append([self.pc + 1, value, 0])
        else:
            if not self.loops:
                raise _Stop(Status.LOOP)
            body, turns, turn = self.loops[-1]
            if turn + 1 < turns:
                self.loops[-1][2] = turn + 1
                return body
            self.loops.pop()
        return self.pc + 1

    @property
    def _tile_count(self) -> int:
        return self.scalars[Scalar.ROWS] * self.scalars[Scalar.COLS]

    def _entry(self, mem: Mem, address: int) -> int:
        """The entry that this row of the chain uses."""
        sizes = {
            Mem.INPUT: self.inputs.shape[1],
            Mem.WEIGHTS: len(self.weights),
            Mem.OUTPUT: self.output_count,
        }
        size = sizes[mem] if mem in sizes else self.config.depth(mem)
        if address + self.row >= size:
            raise _Stop(Status.RANGE)
        return address + self.row

    def _v_rd(self, mem: int, address: int, flag: bool) -> None:
        if mem not in ((Mem.IVRF,) if flag else _SOURCES):
            raise _Stop(Status.MEMORY)
        if flag:
            if address + self.scalars[Scalar.COLS] > self.config.ivrf:
                raise _Stop(Status.RANGE)
            self.source, self.mv_next, self.mv_chain = address, True, True
        else:
            entry = self._entry(Mem(mem), address)
            if mem == Mem.INPUT:
                self.vector = formats.h16_from_bits(self.inputs[:, entry])
            elif mem == Mem.WEIGHTS:
                one = formats.h16_from_bits(self.weights[entry])
                self.vector = np.broadcast_to(one, (self.npu.batch, self.config.n))
            else:
                self.vector = self.npu.vrf[Mem(mem)][:, entry].copy()
            if mem in (Mem.INPUT, Mem.WEIGHTS):
                self.stats[:, Stat.READ_BEATS] += self.config.vector_bytes // 8
        self.chain, self.chain_pc = Op.V_RD, self.pc

    def _v_wr(self, mem: int, address: int) -> None:
        if mem not in _SINKS:
            raise _Stop(Status.MEMORY)
        entry = self._entry(Mem(mem), address)
        if mem == Mem.OUTPUT:
            size = self.config.vector_bytes
            raw = formats.h16_to_bits(self.vector).astype("<u2").view(np.uint8)
            self.outputs[:, entry * size : (entry + 1) * size] = raw
            self.stats[:, Stat.WRITE_BEATS] += size // 8
            return
        inside = self.source <= entry < self.source + self.scalars[Scalar.COLS]
        if mem == Mem.IVRF and self.mv_chain and self.scalars[Scalar.ROWS] > 1 and inside:
            raise _Stop(Status.HAZARD)
        self.npu.vrf[Mem(mem)][:, entry] = self.vector

    def _m_wr(self, mem: int, address: int) -> None:
        config, count = self.config, self._tile_count
        if mem != Mem.MATRIX:
            raise _Stop(Status.MEMORY)
        if address + count > config.tiles:
            raise _Stop(Status.RANGE)
        start = self.source * config.vector_bytes
        raw = self.weight_bytes[start : start + count * config.tile_bytes].view(np.int8)
        tiles = raw.reshape(count, config.n + 2, config.n)
        self.npu.exponents[address : address + count] = tiles[:, 0]
        unused = 7 - config.mant  # the RTL keeps a sign bit and mant bits of each byte
        kept = np.left_shift(tiles[:, 2:], unused)
        self.npu.mantissas[address : address + count] = np.right_shift(kept, unused)
        self.stats[:, Stat.READ_BEATS] += count * config.tile_bytes // 8
        self.stats[:, Stat.TILES] += count

    def _mv_mul(self, mem: int, address: int) -> None:
        config, rows, cols = self.config, self.scalars[Scalar.ROWS], self.scalars[Scalar.COLS]
        if mem != Mem.MATRIX:
            raise _Stop(Status.MEMORY)
        if address + rows * cols > config.tiles:
            raise _Stop(Status.RANGE)
        if self.row == 0:
            self._multiply(address, rows, cols)
        self.vector = self.products[:, self.row]
        self.stats[:, Stat.SATURATIONS] += self.saturated[:, self.row]
        self.stats[:, Stat.MV_BEATS] += cols * config.beats

    def _multiply(self, tile: int, rows: int, cols: int) -> None:
        """All rows of the product. The unit runs ahead; HAZARD makes that invisible."""
        config, n = self.config, self.config.n
        source = self.npu.vrf[Mem.IVRF][:, self.source : self.source + cols]
        vectors, blocks = formats.quantize_vector(config, source)
        span = slice(tile, tile + rows * cols)
        mantissas = self.npu.mantissas[span].reshape(rows, cols, n, n)
        exponents = self.npu.exponents[span].reshape(rows, cols, n).astype(np.int64)
        acc: NDArray[np.int64] | None = None
        top = np.zeros(0, np.int64)
        for col in range(cols):
            exponent = exponents[:, col] + blocks[:, col, None, None]
            for lane in range(0, n, config.lanes):
                part = vectors[:, col, lane : lane + config.lanes].astype(np.float32)
                matrix = mantissas[:, col, :, lane : lane + config.lanes].astype(np.float32)
                # float32 holds these integers exactly: |sum| < 2**24
                product = (part @ matrix.reshape(rows * n, -1).T).astype(np.int64)
                product = product.reshape(-1, rows, n)
                if acc is None:
                    acc, top = product << config.guard, exponent
                else:
                    acc, top = formats.accumulate(acc, top, product, exponent, config.guard)
        assert acc is not None
        value = formats.accumulated_value(config, acc, top)
        self.products, saturated = formats.round_h16(value)
        self.saturated = saturated.any(axis=-1)


def run(config: Config, program: bytes, weights: bytes, inputs: bytes, output_bytes: int) -> Result:
    """One launch on a fresh NPU."""
    return Npu(config).launch(program, weights, inputs, output_bytes)
