"""The NPU's single source: instruction set, memories, configurations, registers, statistics.

The SystemVerilog package, the tanh table and the tables of docs/npu.md are generated from here
(`python -m rtl_sim.spec.npu_generate`); a test keeps them fresh. The golden model, the compiler
and the RTL read the same numbers. This file may not import a model, a simulator or the hal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from itertools import pairwise
from typing import Final

ISA_VERSION: Final = 1
LOOP_LEVELS: Final = 2  # a recurrent net needs one loop over samples and one over time steps
ROWS_MAX: Final = 255  # the scalar registers are 8 bits wide
INSTRUCTION_BYTES: Final = 8  # one AXI beat


class Op(IntEnum):
    """Opcodes, bits 7..0 of an instruction."""

    V_RD = 0x01
    V_WR = 0x02
    M_RD = 0x03
    M_WR = 0x04
    S_WR = 0x05
    END_CHAIN = 0x06
    LOOP = 0x07
    END_LOOP = 0x08
    MV_MUL = 0x10
    VV_ADD = 0x20
    VV_A_SUB_B = 0x21
    VV_B_SUB_A = 0x22
    VV_MAX = 0x23
    VV_MUL = 0x24
    V_RELU = 0x28
    V_SIGM = 0x29
    V_TANH = 0x2A


VV_OPS: Final = (Op.VV_ADD, Op.VV_A_SUB_B, Op.VV_B_SUB_A, Op.VV_MAX, Op.VV_MUL)
V_OPS: Final = (Op.V_RELU, Op.V_SIGM, Op.V_TANH)


class Mem(IntEnum):
    """Memories, bits 11..8 of an instruction."""

    NONE = 0
    IVRF = 1  # InitialVrf: the only one the matrix unit reads
    AVRF = 2  # AddSubVrf
    MVRF = 3  # MultiplyVrf
    MATRIX = 4  # MatrixRf: tiles
    INPUT = 5  # the input buffer in device memory
    WEIGHTS = 6  # the weights buffer in device memory
    OUTPUT = 7  # the output buffer in device memory


class Scalar(IntEnum):
    """Scalar registers, in the memory field of s_wr; the address field is the value."""

    ROWS = 0
    COLS = 1


class Status(IntEnum):
    """How a program ended: bits 7..0 of the status word. The first error ends the program."""

    OK = 0
    OPCODE = 1  # unknown opcode, or a reserved bit is set
    CHAIN = 2  # the instruction may not stand here (see the chain grammar)
    MEMORY = 3  # the opcode cannot use that memory
    RANGE = 4  # an address beyond its memory or buffer
    LOOP = 5  # too deep, or end_loop without loop, or the program ends inside a loop
    VALUE = 6  # s_wr or loop with a value out of range, or an unknown scalar register
    PROGRAM = 7  # n_instr is 0 or exceeds the program memory
    ALIGN = 8  # a buffer address is no multiple of 8
    BUS = 9  # the memory answered with an error
    HAZARD = 10  # an mv chain of several rows overwrites its own source vectors


class Stat(IntEnum):
    """32-bit words of the stats buffer; also registers at COUNTERS_BASE + 4 * index."""

    STATUS = 0  # bits 7..0 Status, bits 31..16 pc of the instruction that failed
    CYCLES = 1  # from the start to the beginning of the stats write
    INSTRUCTIONS = 2  # executed, counting every row and every loop turn
    CHAINS = 3  # completed
    MV_BEATS = 4  # cols * N / L for every row an mv_mul delivered
    STALL_MEM = 5  # cycles the sequencer waited for device memory
    STALL_MV = 6  # cycles the sequencer waited for the matrix unit
    SATURATIONS = 7  # vectors written by mv_mul or a vv op with a saturated element
    READ_BEATS = 8  # 8-byte beats read: program, weights, input
    WRITE_BEATS = 9  # 8-byte beats written to the output buffer
    TILES = 10  # tiles loaded into MatrixRf
    VECTOR_OPS = 11  # vv_* and v_relu, v_sigm, v_tanh executed, counting every row
    CONFIG = 12  # bits 31..24 ISA version, 23..12 lanes, 11..0 n
    RESERVED_13 = 13
    RESERVED_14 = 14
    RESERVED_15 = 15


STATS_WORDS: Final = len(Stat)
STATS_BYTES: Final = 4 * STATS_WORDS
TIMING_STATS: Final = (Stat.CYCLES, Stat.STALL_MEM, Stat.STALL_MV)
"""The only words that depend on memory latency: the golden model leaves them 0."""

KERNEL_NAME: Final = "npu"
BUFFER_ARGS: Final = {
    "program": 0x10,
    "weights": 0x1C,
    "input": 0x28,
    "output": 0x34,
    "stats": 0x40,
}
SCALAR_ARGS: Final = {"n_instr": 0x4C, "n_weights": 0x54, "n_input": 0x5C, "n_output": 0x64}
"""n_instr counts instructions; the others are the buffers' sizes in native vectors."""
COUNTERS_BASE: Final = 0x80

FLAG_MV: Final = 1 << 12  # v_rd: these vectors go to the matrix unit
RESERVED_MASK: Final = 0xE000


@dataclass(frozen=True, slots=True)
class Config:
    """One build of the NPU. Every parameter of the RTL top stands here."""

    name: str
    n: int  # native dimension: elements of a native vector, rows and columns of a tile
    lanes: int  # multipliers per dot unit; n / lanes beats a tile
    engines: int  # tile engines; this version has exactly one
    mant: int  # magnitude bits of a block floating point element (a sign bit comes on top)
    guard: int  # fraction bits the accumulator keeps below the product's last bit
    tiles: int  # depth of MatrixRf
    ivrf: int  # depths of the vector register files, in native vectors
    avrf: int
    mvrf: int
    program: int  # depth of the program memory, in instructions

    def __post_init__(self) -> None:
        n, lanes = self.n, self.lanes
        if n not in (16, 32, 64) or lanes % 8 or n % lanes or self.engines != 1:
            raise ValueError(f"{self.name}: n, lanes, engines = {n}, {lanes}, {self.engines}")
        if not 2 <= self.mant <= 7:
            raise ValueError(f"{self.name}: mant must be 2..7, not {self.mant}")
        growth = math.ceil(math.log2(self.ivrf * self.beats))
        if self.product_bits + self.guard + growth > 32:
            raise ValueError(f"{self.name}: the 32-bit accumulator can overflow")
        for depth in (self.tiles, self.ivrf, self.avrf, self.mvrf, self.program):
            if depth < 2 or depth > 1 << 14 or depth & (depth - 1):
                raise ValueError(f"{self.name}: depths must be powers of two up to 16384")

    @property
    def beats(self) -> int:
        """Beats of the matrix unit per tile."""
        return self.n // self.lanes

    @property
    def product_bits(self) -> int:
        """Width of one dot unit's signed sum."""
        return 2 * self.mant + math.ceil(math.log2(self.lanes)) + 1

    @property
    def vector_bytes(self) -> int:
        return 2 * self.n

    @property
    def tile_vectors(self) -> int:
        """Native vectors of device memory a tile takes: exponents, then n rows of n bytes."""
        return self.n // 2 + 1

    @property
    def tile_bytes(self) -> int:
        return self.tile_vectors * self.vector_bytes

    def depth(self, mem: Mem) -> int:
        """Entries of an on-chip memory."""
        return {
            Mem.IVRF: self.ivrf,
            Mem.AVRF: self.avrf,
            Mem.MVRF: self.mvrf,
            Mem.MATRIX: self.tiles,
        }[mem]

    @property
    def params(self) -> dict[str, int]:
        """Parameters of the RTL top module."""
        return {f.name.upper(): int(getattr(self, f.name)) for f in fields(self)[1:]}


CONFIGS: Final = {
    c.name: c
    for c in (
        Config("nano", 16, 16, 1, 7, 5, tiles=16, ivrf=16, avrf=16, mvrf=16, program=128),
        Config("nano8", 16, 8, 1, 4, 5, tiles=8, ivrf=16, avrf=16, mvrf=16, program=128),
        Config("sim", 32, 32, 1, 7, 5, tiles=64, ivrf=64, avrf=64, mvrf=64, program=512),
    )
}

_NARROWED: Final = re.compile("(.+)-m([2-7])")


def named_config(name: str) -> Config | None:
    """The configuration of that name. `sim-m5` is `sim` with 5 mantissa bits: for every number of
    them there is the golden model, which is how a number format is tried out; RTL is built of the
    listed ones."""
    if name in CONFIGS:
        return CONFIGS[name]
    found = _NARROWED.fullmatch(name)
    if found is None or found[1] not in CONFIGS:
        return None
    return replace(CONFIGS[found[1]], name=name, mant=int(found[2]))


OVERLAYS: Final = ("nano", "sim")
"""Configurations that ship as overlays, named npu-<configuration>."""

SOURCES: Final = (
    ("npu_pkg.sv",),
    ("npu_round.sv", "npu_tanh_rom.sv", "npu_quant.sv", "npu_dot.sv", "npu_accum.sv"),
    ("npu_fadd.sv", "npu_fmul.sv", "npu_act.sv", "npu_decode.sv", "npu_ram.sv"),
    ("npu_lane.sv", "npu_row.sv"),
    ("npu_ctrl.sv", "npu_dma.sv", "npu_loader.sv", "npu_mfu.sv", "npu_mv.sv", "npu_seq.sv"),
    ("npu_stats.sv",),
    ("npu.sv",),
)
"""The RTL in levels: a file needs only what stands in levels before its own."""


@dataclass(frozen=True, slots=True)
class Instr:
    """One instruction. Its address is (addr + s0 * i0 + s1 * i1) mod 2**16, where i0 and i1 are
    the turns of the outer and the inner loop (0 outside)."""

    op: int
    mem: int = 0
    addr: int = 0
    s0: int = 0
    s1: int = 0
    mv: bool = False

    def encode(self) -> int:
        return (
            (self.op & 0xFF)
            | (self.mem & 0xF) << 8
            | (FLAG_MV if self.mv else 0)
            | (self.addr & 0xFFFF) << 16
            | (self.s0 & 0xFFFF) << 32
            | (self.s1 & 0xFFFF) << 48
        )

    def __str__(self) -> str:
        op = Op(self.op).name.lower() if self.op in set(Op) else f"op{self.op:#x}"
        mem = Mem(self.mem).name.lower() if self.mem in set(Mem) else f"mem{self.mem}"
        if self.op == Op.S_WR:
            mem = Scalar(self.mem).name.lower() if self.mem in set(Scalar) else f"reg{self.mem}"
        flag = ".mv" if self.mv else ""
        return f"{op}{flag} {mem}[{self.addr} + {self.s0}*i0 + {self.s1}*i1]"


def encode(program: Iterable[Instr]) -> bytes:
    """The bytes of the program buffer."""
    return b"".join(i.encode().to_bytes(INSTRUCTION_BYTES, "little") for i in program)


TANH_SEGMENTS: Final = 128  # steps of 1/16 over [0, 8)
TANH_FRACTION_BITS: Final = 16  # table values are tanh * 2**16, rounded
TANH_ARGUMENT_BITS: Final = 14  # fraction bits of the fixed-point argument


def tanh_table() -> tuple[tuple[int, int], ...]:
    """(base, slope) of each segment: tanh at its left end, and the rise to its right end."""
    step = TANH_SEGMENTS // 8
    points = [
        math.floor(math.tanh(i / step) * (1 << TANH_FRACTION_BITS) + 0.5)
        for i in range(TANH_SEGMENTS + 1)
    ]
    return tuple((a, b - a) for a, b in pairwise(points))
