"""Reference programs for the NPU: an MLP and an LSTM, written by hand.

They serve self tests, accuracy figures and the RTL benches, independently of the compiler.
A bundle of program, weights and sizes is a `Net`; inputs and outputs are native vectors.
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


@dataclass(frozen=True, slots=True)
class Net:
    """A program with its weights, and how many native vectors go in and out."""

    program: bytes
    weights: bytes
    input_vectors: int
    output_vectors: int


@dataclass(slots=True)
class Assembler:
    """Collects instructions and the weights buffer; allocates on-chip entries upwards."""

    config: Config
    code: list[Instr] = field(default_factory=list)
    weights: bytearray = field(default_factory=bytearray)
    used: dict[Mem, int] = field(default_factory=dict)

    def emit(self, op: Op, mem: int = 0, addr: int = 0, s0: int = 0, s1: int = 0) -> None:
        self.code.append(Instr(op, mem, addr, s0, s1))

    def take(self, mem: Mem, count: int) -> int:
        start = self.used.get(mem, 0)
        self.used[mem] = start + count
        if self.used[mem] > self.config.depth(mem):
            raise ValueError(f"{mem.name}: {self.used[mem]} entries, has {self.config.depth(mem)}")
        return start

    def size(self, rows: int, cols: int = 1) -> None:
        self.emit(Op.S_WR, Scalar.ROWS, rows)
        self.emit(Op.S_WR, Scalar.COLS, cols)

    def pin_matrix(self, matrix: Weights) -> int:
        """Load a matrix into MatrixRf at the start of the program; its first tile."""
        rows, cols = (native_count(self.config, size) for size in matrix.shape)
        tile = self.take(Mem.MATRIX, rows * cols)
        self.size(rows, cols)
        self.emit(Op.M_RD, Mem.WEIGHTS, len(self.weights) // self.config.vector_bytes)
        self.emit(Op.M_WR, Mem.MATRIX, tile)
        self.emit(Op.END_CHAIN)
        self.weights += pack_matrix(self.config, matrix)
        return tile

    def pin_vector(self, vector: Weights, *sinks: Mem) -> int:
        """Load a vector from the weights buffer into a register file; its first entry."""
        count = native_count(self.config, len(vector))
        start = self.take(sinks[0], count)
        self.size(count)
        self.emit(Op.V_RD, Mem.WEIGHTS, len(self.weights) // self.config.vector_bytes)
        self.emit(Op.V_WR, sinks[0], start)
        self.emit(Op.END_CHAIN)
        self.weights += pack_vector(self.config, vector)
        return start

    def source_mv(self, addr: int, tile: int) -> None:
        self.code.append(Instr(Op.V_RD, Mem.IVRF, addr, mv=True))
        self.emit(Op.MV_MUL, Mem.MATRIX, tile)

    def net(self, input_vectors: int, output_vectors: int) -> Net:
        return Net(encode(self.code), bytes(self.weights), input_vectors, output_vectors)


def mlp(config: Config, layers: Sequence[tuple[Weights, Weights]], samples: int = 1) -> Net:
    """Dense layers (matrix outputs x inputs, bias), relu between them, `samples` a launch."""
    asm = Assembler(config)
    tiles = [asm.pin_matrix(matrix) for matrix, _ in layers]
    biases = [asm.pin_vector(bias, Mem.AVRF) for _, bias in layers]
    sizes = [native_count(config, matrix.shape[1]) for matrix, _ in layers]
    sizes.append(native_count(config, layers[-1][0].shape[0]))
    homes = [asm.take(Mem.IVRF, size) for size in sizes[:-1]]
    asm.emit(Op.LOOP, addr=samples)
    asm.size(sizes[0])
    asm.emit(Op.V_RD, Mem.INPUT, 0, s0=sizes[0])
    asm.emit(Op.V_WR, Mem.IVRF, homes[0])
    asm.emit(Op.END_CHAIN)
    for index, (tile, bias) in enumerate(zip(tiles, biases, strict=True)):
        asm.size(sizes[index + 1], sizes[index])
        asm.source_mv(homes[index], tile)
        asm.emit(Op.VV_ADD, Mem.AVRF, bias)
        if index + 1 < len(layers):
            asm.emit(Op.V_RELU)
            asm.emit(Op.V_WR, Mem.IVRF, homes[index + 1])
        else:
            asm.emit(Op.V_WR, Mem.OUTPUT, 0, s0=sizes[-1])
        asm.emit(Op.END_CHAIN)
    asm.emit(Op.END_LOOP)
    return asm.net(samples * sizes[0], samples * sizes[-1])


def lstm(
    config: Config,
    wx: Weights,
    wh: Weights,
    bias: Weights,
    steps: int,
    samples: int = 1,
) -> Net:
    """An LSTM, gates in the order i, f, g, o (wx: 4h x inputs, wh: 4h x h, bias: 4h).

    A sample's input: steps vectors x, then h0, c0. Output: h of every step, then the last c."""
    hidden = wh.shape[1]
    size, width = native_count(config, hidden), native_count(config, wx.shape[1])
    asm = Assembler(config)
    padded = np.zeros((4, hidden, width * config.n + hidden))
    padded[:, :, : wx.shape[1]] = wx.reshape(4, hidden, -1)
    padded[:, :, width * config.n :] = wh.reshape(4, hidden, -1)
    tiles = [asm.pin_matrix(gate) for gate in padded]
    biases = [asm.pin_vector(gate, Mem.AVRF) for gate in bias.reshape(4, hidden)]
    x = asm.take(Mem.IVRF, width)
    h = asm.take(Mem.IVRF, size)  # next to x: one product covers both
    cell, input_gate, tanh_cell = (asm.take(Mem.MVRF, size) for _ in range(3))
    kept = asm.take(Mem.AVRF, size)
    reads, writes = steps * width + 2 * size, (steps + 1) * size

    def gate(index: int, activation: Op) -> None:
        asm.source_mv(x, tiles[index])
        asm.emit(Op.VV_ADD, Mem.AVRF, biases[index])
        asm.emit(activation)

    asm.emit(Op.LOOP, addr=samples)
    asm.size(size, width + size)
    for home, mem, at in ((h, Mem.IVRF, 0), (cell, Mem.MVRF, size)):
        asm.emit(Op.V_RD, Mem.INPUT, steps * width + at, s0=reads)
        asm.emit(Op.V_WR, mem, home)
        asm.emit(Op.END_CHAIN)
    asm.emit(Op.LOOP, addr=steps)
    asm.emit(Op.S_WR, Scalar.ROWS, width)
    asm.emit(Op.V_RD, Mem.INPUT, 0, s0=reads, s1=width)
    asm.emit(Op.V_WR, Mem.IVRF, x)
    asm.emit(Op.END_CHAIN)
    asm.emit(Op.S_WR, Scalar.ROWS, size)
    gate(0, Op.V_SIGM)
    asm.emit(Op.V_WR, Mem.MVRF, input_gate)
    asm.emit(Op.END_CHAIN)
    gate(1, Op.V_SIGM)
    asm.emit(Op.VV_MUL, Mem.MVRF, cell)
    asm.emit(Op.V_WR, Mem.AVRF, kept)
    asm.emit(Op.END_CHAIN)
    gate(2, Op.V_TANH)
    asm.emit(Op.VV_MUL, Mem.MVRF, input_gate)
    asm.emit(Op.VV_ADD, Mem.AVRF, kept)
    asm.emit(Op.V_WR, Mem.MVRF, cell)
    asm.emit(Op.V_TANH)
    asm.emit(Op.V_WR, Mem.MVRF, tanh_cell)
    asm.emit(Op.END_CHAIN)
    # the last product still reads all of the old h, so the new one goes by way of AVRF
    gate(3, Op.V_SIGM)
    asm.emit(Op.VV_MUL, Mem.MVRF, tanh_cell)
    asm.emit(Op.V_WR, Mem.OUTPUT, 0, s0=writes, s1=size)
    asm.emit(Op.V_WR, *((Mem.IVRF, h) if size == 1 else (Mem.AVRF, kept)))
    asm.emit(Op.END_CHAIN)
    if size > 1:
        asm.emit(Op.V_RD, Mem.AVRF, kept)
        asm.emit(Op.V_WR, Mem.IVRF, h)
        asm.emit(Op.END_CHAIN)
    asm.emit(Op.END_LOOP)
    asm.emit(Op.V_RD, Mem.MVRF, cell)
    asm.emit(Op.V_WR, Mem.OUTPUT, steps * size, s0=writes)
    asm.emit(Op.END_CHAIN)
    asm.emit(Op.END_LOOP)
    return asm.net(samples * reads, samples * writes)
