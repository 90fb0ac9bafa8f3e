"""Golden model of the NPU: executes a program on bytes, equal to the RTL in every bit.

Control never depends on data, so one execution serves a whole batch of inputs: every vector
memory has a leading batch axis, weights have none. Cycles and stalls are the cycle model's affair:
those words of the statistics stay 0. Written from docs/npu.md, not from the RTL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rtl_sim.model import npu_formats as formats
from rtl_sim.model.npu_formats import Floats
from rtl_sim.model.npu_program import VRFS, Chain, Decoder, Load, Product, Stop
from rtl_sim.spec.npu import (
    ADD_OPS,
    ISA_VERSION,
    STATS_WORDS,
    VV_OPS,
    Config,
    Mem,
    Op,
    Stat,
    Status,
)

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


class Npu:
    """One NPU with its memories, which live across launches, for a batch of inputs at once."""

    def __init__(self, config: Config, batch: int = 1) -> None:
        self.config = config
        self.batch = batch
        self.vrf = {m: np.zeros((batch, config.depth(m), config.n)) for m in VRFS}
        engines, tiles, n = config.engines, config.tiles, config.n
        self.mantissas = np.zeros((engines, tiles, n, n), dtype=np.int8)
        self.exponents = np.zeros((engines, tiles, n), dtype=np.int8)

    def launch(
        self,
        program: bytes,
        weights: bytes,
        inputs: bytes | NDArray[np.uint8],
        output_bytes: int,
        failing: str = "",
    ) -> Result:
        """Run a program. `inputs`: bytes for a batch of 1, or batch x bytes. An access to the
        buffer `failing` is answered with an error, as by a bus; outputs mean nothing then."""
        rows = np.frombuffer(inputs, np.uint8)[None] if isinstance(inputs, bytes) else inputs
        if len(rows) != self.batch:
            raise ValueError(f"{len(rows)} inputs for a model of batch {self.batch}")
        return _Launch(self, program, weights, rows, output_bytes, failing).run()


def _vectors(config: Config, data: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The whole native vectors in the last axis of `data`, as half words."""
    count = data.shape[-1] // config.vector_bytes
    whole = np.ascontiguousarray(data[..., : count * config.vector_bytes])
    return whole.view("<u2").reshape(*data.shape[:-1], count, config.n)


class _Launch:
    """One execution of a program: counters, and the buffers in device memory."""

    def __init__(
        self,
        npu: Npu,
        program: bytes,
        weights: bytes,
        inputs: NDArray[np.uint8],
        output_bytes: int,
        failing: str,
    ) -> None:
        self.npu, self.config, self.failing = npu, npu.config, failing
        self.code = np.frombuffer(program, "<u8").tolist()
        self.weight_bytes = np.frombuffer(weights, np.uint8)
        self.weights = _vectors(self.config, self.weight_bytes)
        self.inputs = _vectors(self.config, inputs)
        self.outputs = np.zeros((npu.batch, output_bytes), np.uint8)
        self.stats = np.zeros((npu.batch, STATS_WORDS), np.int64)
        self.sizes = {
            Mem.INPUT: self.inputs.shape[1],
            Mem.WEIGHTS: len(self.weights),
            Mem.OUTPUT: output_bytes // self.config.vector_bytes,
        }

    def run(self) -> Result:
        config = self.config
        status, pc, fetched = Status.OK, 0, False
        if 0 < len(self.code) <= config.program:
            self.stats[:, Stat.READ_BEATS] += len(self.code)
            fetched = True
        try:
            if fetched:
                self._access("program")
            for effect in Decoder(config, self.code, self.sizes).run():
                self.stats[:, Stat.INSTRUCTIONS] += 1
                if isinstance(effect, Chain):
                    self._execute(effect)
                elif isinstance(effect, Load):
                    self._load(effect)
        except Stop as stop:
            status, pc = stop.status, stop.pc
        if self.failing == "stats":
            status, pc = Status.BUS, 0
        self.stats[:, Stat.STATUS] = status | pc << 16
        self.stats[:, Stat.CONFIG] = ISA_VERSION << 24 | config.lanes << 12 | config.n
        return Result(self.outputs, (self.stats & 0xFFFFFFFF).astype(np.uint32))

    def _access(self, buffer: str) -> None:
        if buffer == self.failing:
            raise Stop(Status.BUS, 0)

    def _execute(self, chain: Chain) -> None:
        """Row after row; all at once where no row reads what an earlier one wrote."""
        products = None if chain.product is None else self._multiply(chain.product, chain.rows)
        step = 1 if _rows_depend(chain) else chain.rows
        for row in range(0, chain.rows, step):
            span = slice(row, row + step)
            if products is None:
                vectors = self._read(chain.mem, chain.entry, span)
            else:
                vectors = self._rounded(products[:, span])
            self._pass(chain, vectors, span)
        self.stats[:, Stat.VECTOR_OPS] += chain.rows * len(chain.operations)
        self.stats[:, Stat.CHAINS] += 1

    def _pass(self, chain: Chain, vectors: Floats, span: slice) -> None:
        """Some rows through the operations; the sinks take effect after the last of them."""
        tapped = {0: vectors}
        for count, operation in enumerate(chain.operations, 1):
            if operation.op in VV_OPS:
                mem = Mem.AVRF if operation.op in ADD_OPS else Mem.MVRF
                operand = self._read(mem, operation.entry, span)
                vectors = self._rounded(_VV[operation.op](vectors, operand))
            else:
                vectors = _V[operation.op](vectors)
            tapped[count] = vectors
        for sink in chain.sinks:
            self._write(sink.mem, sink.entry, span, tapped[sink.after])

    def _rounded(self, exact: Floats) -> Floats:
        values, saturated = formats.round_h16(exact)
        self.stats[:, Stat.SATURATIONS] += saturated.any(axis=-1).sum(axis=-1)
        return values

    def _read(self, mem: Mem, entry: int, span: slice) -> Floats:
        """batch x rows x n."""
        rows = slice(entry + span.start, entry + span.stop)
        if mem in VRFS:
            return self.npu.vrf[mem][:, rows].copy()
        self._access(mem.name.lower())
        beats = (span.stop - span.start) * self.config.vector_beats
        self.stats[:, Stat.READ_BEATS] += beats
        if mem is Mem.INPUT:
            return formats.h16_from_bits(self.inputs[:, rows])
        shape = self.npu.batch, span.stop - span.start, self.config.n
        return np.broadcast_to(formats.h16_from_bits(self.weights[rows]), shape)

    def _write(self, mem: Mem, entry: int, span: slice, vectors: Floats) -> None:
        start, stop = entry + span.start, entry + span.stop
        if mem is not Mem.OUTPUT:
            self.npu.vrf[mem][:, start:stop] = vectors
            return
        self._access("output")
        size = self.config.vector_bytes
        raw = np.ascontiguousarray(formats.h16_to_bits(vectors).astype("<u2"))
        self.outputs[:, start * size : stop * size] = raw.view(np.uint8).reshape(len(raw), -1)
        self.stats[:, Stat.WRITE_BEATS] += (stop - start) * self.config.vector_beats

    def _places(
        self, engine: int, line: int, rows: int, cols: int
    ) -> tuple[NDArray[np.int64], ...]:
        """Engine and line of each tile of a matrix: two arrays, rows x cols."""
        place = engine + np.arange(rows)[:, None] + np.zeros((1, cols), np.int64)
        lines = line + place // self.config.engines * cols + np.arange(cols)
        return place % self.config.engines, lines

    def _load(self, load: Load) -> None:
        self._access("weights")
        config, count = self.config, load.rows * load.cols
        start = load.vector * config.vector_bytes
        raw = self.weight_bytes[start : start + count * config.tile_bytes].view(np.int8)
        tiles = raw.reshape(load.rows, load.cols, config.n + 2, config.n)
        place = self._places(load.engine, load.line, load.rows, load.cols)
        self.npu.exponents[place] = tiles[:, :, 0]
        unused = 7 - config.mant  # the RTL keeps a sign bit and mant bits of each byte
        kept = np.left_shift(tiles[:, :, 2:], unused)
        self.npu.mantissas[place] = np.right_shift(kept, unused)
        self.stats[:, Stat.READ_BEATS] += count * config.tile_bytes // 8
        self.stats[:, Stat.TILES] += count
        self.stats[:, Stat.CHAINS] += 1

    def _multiply(self, product: Product, rows: int) -> Floats:
        """The exact values of all rows' accumulators."""
        config, n, cols = self.config, self.config.n, len(product.offsets)
        entries = product.source + np.array(product.offsets)
        vectors, blocks = formats.quantize_vector(config, self.npu.vrf[Mem.IVRF][:, entries])
        place = self._places(product.engine, product.line, rows, cols)
        mantissas = self.npu.mantissas[place]
        exponents = self.npu.exponents[place].astype(np.int64)
        acc: NDArray[np.int64] | None = None
        top = np.zeros(0, np.int64)
        for col, beats in enumerate(product.beats):
            exponent = exponents[:, col] + blocks[:, col, None, None]
            for lane in range(0, beats * config.lanes, config.lanes):
                part = vectors[:, col, lane : lane + config.lanes].astype(np.float32)
                matrix = mantissas[:, col, :, lane : lane + config.lanes].astype(np.float32)
                # float32 holds these integers exactly: |sum| < 2**24
                dots = (part @ matrix.reshape(rows * n, -1).T).astype(np.int64)
                dots = dots.reshape(-1, rows, n)
                if acc is None:
                    acc, top = dots << config.guard, exponent
                else:
                    acc, top = formats.accumulate(acc, top, dots, exponent, config.guard)
        assert acc is not None
        self.stats[:, Stat.MV_BEATS] += rows * sum(product.beats)
        return formats.accumulated_value(config, acc, top)


def _rows_depend(chain: Chain) -> bool:
    """Whether a row may read what an earlier row of the same chain wrote."""
    reads = [] if chain.product else [(chain.mem, chain.entry)]
    for operation in chain.operations:
        if operation.op in VV_OPS:
            reads.append((Mem.AVRF if operation.op in ADD_OPS else Mem.MVRF, operation.entry))
    return any(
        sink.mem is mem and 0 < sink.entry - entry < chain.rows
        for sink in chain.sinks
        for mem, entry in reads
    )


def run(config: Config, program: bytes, weights: bytes, inputs: bytes, output_bytes: int) -> Result:
    """One launch on a fresh NPU."""
    return Npu(config).launch(program, weights, inputs, output_bytes)
