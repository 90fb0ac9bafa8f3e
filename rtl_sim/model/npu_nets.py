"""Reference programs for the NPU, written by hand: MLP, RNN, LSTM, GRU.

They serve self tests, accuracy figures, the RTL benches and the tables of benchmarks/npu_tables.py,
independently of the compiler. The recurrent ones order their products so that those of the next
input run in the matrix unit while the state of the last step drains through the pipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtl_sim.model.npu_formats import native_count, pack_matrix, pack_vector
from rtl_sim.spec.npu import Config, Instr, Mem, Op, Scalar, encode

Weights = NDArray[np.floating[Any]]
Step = tuple[Op, int] | Op | Instr  # with operand; without; a sink in the middle


@dataclass(frozen=True, slots=True)
class Net:
    """A program with its weights, and how many native vectors go in and out."""

    program: bytes
    weights: bytes
    input_vectors: int
    output_vectors: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """Where a matrix lies in MatrixRf, and its size in tiles and in beats of its last column."""

    engine: int
    line: int
    rows: int
    cols: int
    tail: int


@dataclass(slots=True)
class Assembler:
    """Collects instructions and the weights buffer; allocates on-chip entries upwards.

    With `values` off, weights are only counted: for configurations that no simulation holds. With
    `resident` on, a net uses the same input again and again and goes on from the state it has, and
    writes no more than the last result: what engines and pipe do, without the bus."""

    config: Config
    values: bool = True
    resident: bool = False
    code: list[Instr] = field(default_factory=list)
    weights: bytearray = field(default_factory=bytearray)
    weight_vectors: int = 0
    used: dict[Mem, int] = field(default_factory=dict)
    scalars: dict[Scalar, int] = field(default_factory=dict)  # as far as they are known
    next_row: int = 0  # of MatrixRf, and the columns of the matrices that it belongs to
    row_cols: int = 0
    row_line: int = 0

    def emit(self, op: Op, mem: int = 0, addr: int = 0, s0: int = 0, s1: int = 0) -> None:
        self.code.append(Instr(op, mem, addr, s0, s1))

    def take(self, mem: Mem, count: int) -> int:
        start = self.used.get(mem, 0)
        self.used[mem] = start + count
        if self.used[mem] > self.config.depth(mem):
            raise ValueError(f"{mem.name}: {self.used[mem]} entries, has {self.config.depth(mem)}")
        return start

    def set(self, scalar: Scalar, value: int) -> None:
        if self.scalars.get(scalar) != value:
            self.emit(Op.S_WR, scalar, value)
            self.scalars[scalar] = value

    def loop(self, turns: int, in_step: int = 0, out_step: int = 0) -> None:
        self.emit(Op.LOOP, 0, turns, in_step, out_step)
        self.scalars.clear()  # what the turn before left is not what stands here now

    def end_loop(self) -> None:
        self.emit(Op.END_LOOP)

    def place_matrix(self, rows: int, cols: int, tail: int) -> Matrix:
        """Room for a matrix. Its rows go on with the engine after the last matrix's last row, so
        that products in a row keep all engines busy."""
        if cols != self.row_cols:
            self.row_line, self.row_cols, self.next_row = self.used.get(Mem.MATRIX, 0), cols, 0
        line, engine = divmod(self.next_row, self.config.engines)
        self.next_row += rows
        matrix = Matrix(engine, self.row_line + line * cols, rows, cols, tail)
        end = matrix.line + self.config.lines(engine, rows, cols)
        self.take(Mem.MATRIX, end - self.used.get(Mem.MATRIX, 0))
        return matrix

    def pin_matrix(self, matrix: Weights) -> Matrix:
        """Load a matrix into MatrixRf at the start of the program."""
        rows, cols = (native_count(self.config, size) for size in matrix.shape)
        rest = matrix.shape[1] - (cols - 1) * self.config.n
        place = self.place_matrix(rows, cols, -(-rest // self.config.lanes))
        self.set(Scalar.ROWS, rows)
        self.set(Scalar.COLS, cols)
        self.emit(Op.M_RD, Mem.WEIGHTS, self.weight_vectors)
        self.code.append(Instr(Op.M_WR, Mem.MATRIX, place.line, engine=place.engine))
        self.emit(Op.END_CHAIN)
        self.weight_vectors += rows * cols * self.config.tile_vectors
        if self.values:
            self.weights += pack_matrix(self.config, matrix)
        return place

    def pin_vector(self, vector: Weights, sink: Mem) -> int:
        """Load a vector from the weights buffer into a register file; its first entry."""
        count = native_count(self.config, len(vector))
        start = self.take(sink, count)
        self.set(Scalar.ROWS, count)
        self.chain(Mem.WEIGHTS, self.weight_vectors, [], {sink: start})
        self.weight_vectors += count
        if self.values:
            self.weights += pack_vector(self.config, vector)
        return start

    def chain(
        self,
        mem: Mem,
        addr: int,
        ops: Sequence[Step],
        sinks: dict[Mem, int],
        *,
        s0: int = 0,
        s1: int = 0,
    ) -> None:
        """A chain from a register file or buffer, of the rows that are set."""
        self.emit(Op.V_RD, mem, addr, s0, s1)
        self._finish(ops, sinks)

    def product(
        self,
        matrix: Matrix,
        source: int,
        ops: Sequence[Step],
        sinks: dict[Mem, int],
    ) -> None:
        """A chain from a product of `matrix` and the vectors at `source` in the IVRF."""
        self.set(Scalar.ROWS, matrix.rows)
        self.set(Scalar.COLS, matrix.cols)
        self.set(Scalar.TAIL, matrix.tail)
        self.code.append(Instr(Op.V_RD, Mem.IVRF, source, mv=True))
        self.code.append(Instr(Op.MV_MUL, Mem.MATRIX, matrix.line, engine=matrix.engine))
        self._finish(ops, sinks)

    def _finish(self, ops: Sequence[Step], sinks: dict[Mem, int]) -> None:
        for op in ops:
            if isinstance(op, Instr):
                self.code.append(op)
            elif isinstance(op, tuple):
                self.emit(op[0], Mem.MVRF if op[0] is Op.VV_MUL else Mem.AVRF, op[1])
            else:
                self.emit(op)
        for sink, at in sinks.items():
            self.emit(Op.V_WR, sink, at)
        self.emit(Op.END_CHAIN)

    def net(self, input_vectors: int, output_vectors: int) -> Net:
        return Net(encode(self.code), bytes(self.weights), input_vectors, output_vectors)


def mlp(
    config: Config,
    layers: Sequence[tuple[Weights, Weights]],
    samples: int = 1,
    *,
    values: bool = True,
    resident: bool = False,
) -> Net:
    """Dense layers (matrix outputs x inputs, bias), relu between them, `samples` a launch."""
    asm = Assembler(config, values, resident)
    matrices = [asm.pin_matrix(matrix) for matrix, _ in layers]
    biases = [asm.pin_vector(bias, Mem.AVRF) for _, bias in layers]
    homes = [asm.take(Mem.IVRF, matrix.cols) for matrix in matrices]
    inputs, outputs = matrices[0].cols, matrices[-1].rows
    result = asm.take(Mem.AVRF, outputs) if resident else 0
    asm.loop(samples, inputs, outputs)
    if not resident:
        asm.set(Scalar.ROWS, inputs)
        asm.chain(Mem.INPUT, 0, [], {Mem.IVRF: homes[0]})
    for index, (matrix, bias) in enumerate(zip(matrices, biases, strict=True)):
        last = index + 1 == len(layers)
        ops: list[Step] = [(Op.VV_ADD, bias)] if last else [(Op.VV_ADD, bias), Op.V_RELU]
        end = {Mem.AVRF: result} if resident else {Mem.OUTPUT: 0}
        sinks = end if last else {Mem.IVRF: homes[index + 1]}
        asm.product(matrix, homes[index], ops, sinks)
    asm.end_loop()
    return asm.net(samples * inputs, samples * outputs)


@dataclass(frozen=True, slots=True)
class _Recurrent:
    """What the recurrent nets share: the input's products, one step ahead of the state's."""

    asm: Assembler
    steps: int
    size: int  # native vectors of the state
    width: int  # and of an input
    wx: list[Matrix]
    wh: list[Matrix]
    x: int
    h: int
    pre: list[int]  # in the AVRF: the input's part of each gate

    @classmethod
    def pin(cls, asm: Assembler, wx: Weights, wh: Weights, gates: int, steps: int) -> _Recurrent:
        hidden, inputs = wh.shape[1], wx.shape[1]
        size, width = native_count(asm.config, hidden), native_count(asm.config, inputs)
        pinned = [
            [asm.pin_matrix(gate) for gate in each.reshape(gates, hidden, -1)] for each in (wx, wh)
        ]
        x, h = asm.take(Mem.IVRF, width), asm.take(Mem.IVRF, size)
        pre = [asm.take(Mem.AVRF, size) for _ in range(gates)]
        return cls(asm, steps, size, width, pinned[0], pinned[1], x, h, pre)

    def input_vectors(self, states: int) -> int:
        """Of one sample: inputs, then states, into which the last turn reads ahead."""
        return self.steps * self.width + max(states * self.size, self.width)

    def begin_sample(self, states: dict[Mem, int]) -> None:
        """States, in their order, and the first input."""
        if self.asm.resident:
            return
        self.asm.set(Scalar.ROWS, self.size)
        for index, (mem, home) in enumerate(states.items()):
            at = self.steps * self.width + index * self.size
            self.asm.chain(Mem.INPUT, at, [], {mem: home})
        self.asm.set(Scalar.ROWS, self.width)
        self.read_input(0)

    def begin_step(self, biases: Sequence[int]) -> None:
        """The input's products, then the next input. The first one stands in the IVRF."""
        for matrix, bias, pre in zip(self.wx, biases, self.pre, strict=True):
            self.asm.product(matrix, self.x, [(Op.VV_ADD, bias)], {Mem.AVRF: pre})
        if not self.asm.resident:
            self.asm.set(Scalar.ROWS, self.width)
            self.read_input(self.width)

    def read_input(self, first: int) -> None:
        s1 = self.width if first else 0
        self.asm.chain(Mem.INPUT, first, [], {Mem.IVRF: self.x}, s1=s1)

    def write_output(self) -> list[Step]:
        return [] if self.asm.resident else [Instr(Op.V_WR, Mem.OUTPUT, 0, 0, self.size)]

    def write_last(self) -> None:
        if self.asm.resident:
            self.asm.set(Scalar.ROWS, self.size)
            self.asm.chain(Mem.IVRF, self.h, [], {Mem.OUTPUT: 0})


def lstm(
    config: Config,
    wx: Weights,
    wh: Weights,
    bias: Weights,
    steps: int,
    samples: int = 1,
    *,
    values: bool = True,
    resident: bool = False,
) -> Net:
    """An LSTM, gates in the order i, f, g, o (wx: 4h x inputs, wh: 4h x h, bias: 4h).

    A sample's input: steps vectors x, then h0, c0. Output: h of every step, then the last c."""
    asm = Assembler(config, values, resident)
    order = [0, 2, 3, 1]  # i, g, o, f: what f's chain reads is written long before
    wx, wh = (each.reshape(4, -1, each.shape[1])[order].reshape(each.shape) for each in (wx, wh))
    net = _Recurrent.pin(asm, wx, wh, 4, steps)
    biases = [asm.pin_vector(gate, Mem.AVRF) for gate in bias.reshape(4, -1)[order]]
    size = net.size
    cell, input_gate, output_gate = (asm.take(Mem.MVRF, size) for _ in range(3))
    kept = asm.take(Mem.AVRF, size)
    reads, writes = net.input_vectors(2), (steps + 1) * size

    asm.loop(samples, reads, writes)
    net.begin_sample({Mem.IVRF: net.h, Mem.MVRF: cell})
    asm.loop(steps)
    net.begin_step(biases)
    asm.product(net.wh[0], net.h, [(Op.VV_ADD, net.pre[0]), Op.V_SIGM], {Mem.MVRF: input_gate})
    ops: list[Step] = [(Op.VV_ADD, net.pre[1]), Op.V_TANH, (Op.VV_MUL, input_gate)]
    asm.product(net.wh[1], net.h, ops, {Mem.AVRF: kept})
    asm.product(net.wh[2], net.h, [(Op.VV_ADD, net.pre[2]), Op.V_SIGM], {Mem.MVRF: output_gate})
    asm.product(
        net.wh[3],
        net.h,
        [
            (Op.VV_ADD, net.pre[3]),
            Op.V_SIGM,
            (Op.VV_MUL, cell),
            (Op.VV_ADD, kept),
            Instr(Op.V_WR, Mem.MVRF, cell),
            Op.V_TANH,
            (Op.VV_MUL, output_gate),
            *net.write_output(),
        ],
        {Mem.IVRF: net.h},
    )
    asm.end_loop()
    if not resident:
        asm.chain(Mem.MVRF, cell, [], {Mem.OUTPUT: steps * size})
    asm.end_loop()
    net.write_last()
    return asm.net(samples * reads, samples * writes)


def gru(
    config: Config,
    wx: Weights,
    wh: Weights,
    bias: Weights,
    steps: int,
    samples: int = 1,
    *,
    values: bool = True,
    resident: bool = False,
) -> Net:
    """A GRU with linear_before_reset, gates in the order r, z, n (wx: 3h x inputs, wh: 3h x h);
    bias: 4h, of r, z, the input's part of n, the state's part of n.

    A sample's input: steps vectors x, then h0. Output: h of every step."""
    asm = Assembler(config, values, resident)
    net = _Recurrent.pin(asm, wx, wh, 3, steps)
    *biases, state_bias = (asm.pin_vector(gate, Mem.AVRF) for gate in bias.reshape(4, -1))
    size = net.size
    reset, update = (asm.take(Mem.MVRF, size) for _ in range(2))
    fresh = asm.take(Mem.AVRF, size)
    reads, writes = net.input_vectors(1), steps * size

    asm.loop(samples, reads, writes)
    net.begin_sample({Mem.IVRF: net.h})
    asm.loop(steps)
    net.begin_step(biases)
    for gate, home in enumerate((reset, update)):
        ops: list[Step] = [(Op.VV_ADD, net.pre[gate]), Op.V_SIGM]
        asm.product(net.wh[gate], net.h, ops, {Mem.MVRF: home})
    ops = [(Op.VV_ADD, state_bias), (Op.VV_MUL, reset), (Op.VV_ADD, net.pre[2]), Op.V_TANH]
    asm.product(net.wh[2], net.h, ops, {Mem.AVRF: fresh})
    asm.set(Scalar.ROWS, size)
    blend: list[Step] = [(Op.VV_A_SUB_B, fresh), (Op.VV_MUL, update), (Op.VV_ADD, fresh)]
    asm.chain(Mem.IVRF, net.h, [*blend, *net.write_output()], {Mem.IVRF: net.h})
    asm.end_loop()
    asm.end_loop()
    net.write_last()
    return asm.net(samples * reads, samples * writes)


def rnn(
    config: Config,
    wx: Weights,
    wh: Weights,
    bias: Weights,
    steps: int,
    samples: int = 1,
    *,
    values: bool = True,
    resident: bool = False,
) -> Net:
    """h = tanh(wx x + wh h + bias). A sample's input: steps vectors x, then h0. Output: all h."""
    asm = Assembler(config, values, resident)
    net = _Recurrent.pin(asm, wx, wh, 1, steps)
    home = asm.pin_vector(bias, Mem.AVRF)
    reads, writes = net.input_vectors(1), steps * net.size
    asm.loop(samples, reads, writes)
    net.begin_sample({Mem.IVRF: net.h})
    asm.loop(steps)
    net.begin_step([home])
    ops: list[Step] = [(Op.VV_ADD, net.pre[0]), Op.V_TANH, *net.write_output()]
    asm.product(net.wh[0], net.h, ops, {Mem.IVRF: net.h})
    asm.end_loop()
    asm.end_loop()
    net.write_last()
    return asm.net(samples * reads, samples * writes)
