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

ISA_VERSION: Final = 3
LOOP_LEVELS: Final = 3  # a convolution needs one loop over samples and two over pixels
ROWS_MAX: Final = 255  # rows, columns and the sides of a window are 8 bits wide
PITCH_MAX: Final = (1 << 14) - 1  # the largest memory's depth
WEIGHT_ADDRESS_BITS: Final = 20  # of a vector in WEIGHTS; other addresses have 16
INSTRUCTION_BYTES: Final = 8


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


ADD_OPS: Final = (Op.VV_ADD, Op.VV_A_SUB_B, Op.VV_B_SUB_A, Op.VV_MAX)
VV_OPS: Final = (*ADD_OPS, Op.VV_MUL)
V_OPS: Final = (Op.V_RELU, Op.V_SIGM, Op.V_TANH)


class Slot(IntEnum):
    """The stations that a chain's vector passes, in this order: two multifunction units of an
    adder, an activation and a multiplier each."""

    ADD0 = 0
    ACT0 = 1
    MUL0 = 2
    ADD1 = 3
    ACT1 = 4
    MUL1 = 5


def next_slot(op: Op, passed: int) -> Slot | None:
    """The slot that `op` takes in a chain whose earlier operations lie in slots below `passed`:
    the next one of its kind. None: the chain has no such slot left."""
    kind = 0 if op in ADD_OPS else 2 if op is Op.VV_MUL else 1
    return next((slot for slot in Slot if slot >= passed and slot % 3 == kind), None)


class Mem(IntEnum):
    """Memories, bits 11..8 of an instruction."""

    NONE = 0
    IVRF = 1  # InitialVrf: the only one the matrix unit reads
    AVRF = 2  # AddSubVrf: operands of vv_add, vv_a_sub_b, vv_b_sub_a, vv_max
    MVRF = 3  # MultiplyVrf: operands of vv_mul
    MATRIX = 4  # MatrixRf: tiles, as many in each engine
    INPUT = 5  # the input buffer in device memory
    WEIGHTS = 6  # the weights buffer in device memory
    OUTPUT = 7  # the output buffer in device memory


class Scalar(IntEnum):
    """Scalar registers, in the memory field of s_wr; the address field is the value."""

    ROWS = 0  # 1..255: rows of a chain, and of tiles of its matrix
    COLS = 1  # 1..255: source vectors of a product, and tiles in a row of its matrix
    TAIL = 2  # 1..N/LANES: beats that the last vector of a run takes
    RUN = 3  # 1..255: consecutive vectors of a window
    WIN_X = 4  # 1..255: runs in a line of a window
    WIN_Y = 5  # 1..255: lines of a window
    PITCH_X = 6  # 0..16383: from run to run
    PITCH_Y = 7  # 0..16383: from line to line


class Status(IntEnum):
    """How a program ended: bits 7..0 of the status word. The first error ends the program."""

    OK = 0
    OPCODE = 1  # unknown opcode, or a reserved bit is set
    CHAIN = 2  # the instruction may not stand here (see the chain grammar)
    MEMORY = 3  # the opcode cannot use that memory
    RANGE = 4  # an address beyond its memory or buffer, or no such engine
    LOOP = 5  # too deep, or end_loop without loop, or the program ends inside a loop
    VALUE = 6  # out of range, or no such register; a window that is not COLS vectors
    PROGRAM = 7  # n_instr is 0 or exceeds the program memory
    ALIGN = 8  # a buffer address is no multiple of BUS / 8
    BUS = 9  # the memory answered with an error
    HAZARD = 10  # a product of more than ENGINES * RESULTS rows overwrites its own source


class Stat(IntEnum):
    """32-bit words of the stats buffer; also registers at COUNTERS_BASE + 4 * index."""

    STATUS = 0  # bits 7..0 Status, bits 31..16 pc of the instruction that failed
    CYCLES = 1  # from the start to the beginning of the stats write
    INSTRUCTIONS = 2  # executed, counting every loop turn
    CHAINS = 3  # completed, vector and matrix
    MV_BEATS = 4  # of all engines together
    STALL_MEM = 5  # cycles the pipe waited for device memory
    STALL_MV = 6  # cycles the pipe waited for the matrix unit
    SATURATIONS = 7  # vectors made by mv_mul or a vv op with a saturated element
    READ_BEATS = 8  # beats read: 8 bytes of the program and of tiles, BUS bits of vectors
    WRITE_BEATS = 9  # beats of BUS bits written to the output buffer
    TILES = 10  # tiles loaded into MatrixRf
    VECTOR_OPS = 11  # vv_* and v_relu, v_sigm, v_tanh executed, counting every row
    CONFIG = 12  # bits 31..24 ISA version, 23..12 lanes, 11..0 n
    STALL_DEP = 13  # cycles the pipe waited for an entry that was still to be written
    STALL_ISSUE = 14  # cycles the pipe waited for the next chain
    STALL_TILES = 15  # cycles the matrix unit waited for tiles that were being loaded


STATS_WORDS: Final = len(Stat)
STATS_BYTES: Final = 4 * STATS_WORDS
TIMING_STATS: Final = (
    Stat.CYCLES,
    Stat.STALL_MEM,
    Stat.STALL_MV,
    Stat.STALL_DEP,
    Stat.STALL_ISSUE,
    Stat.STALL_TILES,
)
"""The only words that depend on time: 0 in the golden model, the cycle model's affair."""

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
FLAG_WINDOW: Final = 1 << 13  # v_rd.mv: they are those of a window
ENGINE_SHIFT: Final = 13  # mv_mul, m_wr: bits 15..13, the engine of the first row
ENGINES_MAX: Final = 8
HIGH_SHIFT: Final = 12  # v_rd, m_rd of WEIGHTS: bits 15..12, the address above its 16 bits


@dataclass(frozen=True, slots=True)
class Config:
    """One build of the NPU. Every parameter of the RTL top stands here."""

    name: str
    n: int  # native dimension: elements of a native vector, rows and columns of a tile
    lanes: int  # multipliers per dot unit; n / lanes beats a tile
    engines: int  # tile engines: row r of a product runs on engine (first + r) mod engines
    mant: int  # magnitude bits of a block floating point element (a sign bit comes on top)
    guard: int  # fraction bits the accumulator keeps below the product's last bit
    tiles: int  # depth of MatrixRf in each engine
    ivrf: int  # depths of the vector register files, in native vectors
    avrf: int
    mvrf: int
    program: int  # depth of the program memory, in instructions
    queue: int  # chains between decoding and their end
    results: int  # rows of products that wait behind each engine
    bus: int = 64  # bits of the memory master's data; vectors use all of them

    def __post_init__(self) -> None:
        n, lanes = self.n, self.lanes
        sound = 16 <= n <= 1024 and n % 8 == 0 and lanes % 8 == 0 and n % lanes == 0
        if not sound or not 1 <= self.engines <= ENGINES_MAX:
            raise ValueError(f"{self.name}: n, lanes, engines = {n}, {lanes}, {self.engines}")
        if not 2 <= self.mant <= 7:
            raise ValueError(f"{self.name}: mant must be 2..7, not {self.mant}")
        growth = math.ceil(math.log2(min(self.tiles, ROWS_MAX) * self.beats))
        if self.product_bits + self.guard + growth > 32:
            raise ValueError(f"{self.name}: the 32-bit accumulator can overflow")
        for depth in (self.tiles, self.ivrf, self.avrf, self.mvrf, self.program):
            if depth < 2 or depth > 1 << 14 or depth & (depth - 1):
                raise ValueError(f"{self.name}: depths must be powers of two up to 16384")
        for depth in (self.queue, self.results):
            if not 2 <= depth <= 16 or depth & (depth - 1):
                raise ValueError(f"{self.name}: queues must hold 2, 4, 8 or 16")
        if self.bus not in (64, 128, 256, 512) or 16 * n % self.bus or n * 8 < self.bus:
            raise ValueError(f"{self.name}: a vector must be beats of {self.bus} bits, some")

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
    def vector_beats(self) -> int:
        """Beats of the bus that a native vector takes."""
        return 16 * self.n // self.bus

    @property
    def tile_vectors(self) -> int:
        """Native vectors of device memory a tile takes: exponents, then n rows of n bytes."""
        return self.n // 2 + 1

    @property
    def tile_bytes(self) -> int:
        return self.tile_vectors * self.vector_bytes

    @property
    def in_place_rows(self) -> int:
        """Rows up to which a product may overwrite its own source vectors."""
        return self.engines * self.results

    def lines(self, engine: int, rows: int, cols: int) -> int:
        """Entries of MatrixRf that a matrix takes in every engine, its first row in `engine`."""
        return ((engine + rows - 1) // self.engines + 1) * cols

    def depth(self, mem: Mem) -> int:
        """Entries of an on-chip memory; of MatrixRf, in each engine."""
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
        Config("nano", 16, 16, 1, 7, 5, 16, 16, 16, 16, program=128, queue=4, results=2),
        Config("nano8", 16, 8, 1, 4, 5, 8, 16, 16, 16, program=128, queue=4, results=2),
        Config("sim", 32, 32, 1, 7, 5, 64, 256, 256, 64, program=1024, queue=8, results=8),
        Config("sim4", 32, 8, 4, 7, 5, 64, 256, 256, 64, program=1024, queue=8, results=4),
        Config("edge", 64, 16, 2, 7, 5, 64, 256, 128, 128, program=1024, queue=8, results=4),
        Config("a10", 128, 16, 8, 5, 5, 64, 512, 256, 256, 4096, queue=8, results=4, bus=512),
        Config("bw_s10", 400, 40, 6, 5, 5, 64, 512, 512, 512, 4096, queue=8, results=4, bus=256),
    )
}

_NARROWED: Final = re.compile("(.+)-m([2-7])")


def named_config(name: str) -> Config | None:
    """The configuration of that name. `sim-m5` is `sim` with 5 mantissa bits: for every number of
    them that its accumulator has room for there is the golden model, which is how a number format
    is tried out; RTL is built of the listed ones."""
    if name in CONFIGS:
        return CONFIGS[name]
    found = _NARROWED.fullmatch(name)
    if found is None or found[1] not in CONFIGS:
        return None
    try:
        return replace(CONFIGS[found[1]], name=name, mant=int(found[2]))
    except ValueError:  # the accumulator can overflow
        return None


OVERLAYS: Final = ("nano", "sim")
"""Configurations that ship as overlays, named npu-<configuration>."""

SOURCES: Final = (
    ("npu_pkg.sv", "npu_chain_pkg.sv"),
    ("npu_round.sv", "npu_tanh_rom.sv", "npu_fadd.sv", "npu_fmul.sv", "npu_dot.sv", "npu_accum.sv"),
    ("npu_ram.sv", "npu_fifo.sv", "npu_read.sv", "npu_write.sv", "npu_loops.sv", "npu_decode.sv"),
    ("npu_quant.sv", "npu_add.sv", "npu_act.sv", "npu_mul.sv", "npu_row.sv", "npu_busy.sv"),
    ("npu_columns.sv", "npu_issue.sv", "npu_entry.sv", "npu_pipe.sv", "npu_input.sv"),
    ("npu_ctrl.sv", "npu_seq.sv", "npu_chains.sv", "npu_output.sv", "npu_loader.sv"),
    ("npu_engine.sv", "npu_stats.sv"),
    ("npu.sv",),
)
"""The RTL in levels: a file needs only what stands in levels before its own."""


def long_address(op: int, mem: int) -> bool:
    """Whether bits 15..12 of an instruction belong to its address."""
    return op == Op.M_RD or (op == Op.V_RD and mem == Mem.WEIGHTS)


@dataclass(frozen=True, slots=True)
class Instr:
    """One instruction. Its address is (addr + s0 * i0 + s1 * i1) mod 2**16, where i0 and i1 are
    the turns of the outer and the inner loop (0 outside); of three loops, the inner two count.
    Addresses in WEIGHTS have WEIGHT_ADDRESS_BITS, and strides with sign.
    `loop`: addr turns, of which each adds s0 to addresses in INPUT and s1 to those in OUTPUT."""

    op: int
    mem: int = 0
    addr: int = 0
    s0: int = 0
    s1: int = 0
    mv: bool = False
    window: bool = False
    engine: int = 0

    def encode(self) -> int:
        high = self.addr >> 16 & 0xF if long_address(self.op, self.mem) else 0
        return (
            (self.op & 0xFF)
            | high << HIGH_SHIFT
            | (self.mem & 0xF) << 8
            | (FLAG_MV if self.mv else 0)
            | (FLAG_WINDOW if self.window else 0)
            | (self.engine & 7) << ENGINE_SHIFT
            | (self.addr & 0xFFFF) << 16
            | (self.s0 & 0xFFFF) << 32
            | (self.s1 & 0xFFFF) << 48
        )

    @classmethod
    def decode(cls, word: int) -> Instr:
        """What `encode` was given; bits that the operation has not are dropped."""
        op, mem, addr = word & 0xFF, word >> 8 & 0xF, word >> 16 & 0xFFFF
        s0, s1 = word >> 32 & 0xFFFF, word >> 48 & 0xFFFF
        if long_address(op, mem):
            return cls(op, mem, addr | (word >> HIGH_SHIFT & 0xF) << 16, s0, s1)
        if op == Op.V_RD:
            mv, window = bool(word & FLAG_MV), bool(word & FLAG_WINDOW)
            return cls(op, mem, addr, s0, s1, mv, window)
        return cls(op, mem, addr, s0, s1, engine=word >> ENGINE_SHIFT & 7)

    def __str__(self) -> str:
        op = Op(self.op).name.lower() if self.op in set(Op) else f"op{self.op:#x}"
        mem = Mem(self.mem).name.lower() if self.mem in set(Mem) else f"mem{self.mem}"
        if self.op == Op.S_WR:
            mem = Scalar(self.mem).name.lower() if self.mem in set(Scalar) else f"reg{self.mem}"
        flags = (".mv" if self.mv else "") + (".window" if self.window else "")
        engine = f" @{self.engine}" if self.engine else ""
        return f"{op}{flags} {mem}[{self.addr} + {self.s0}*i0 + {self.s1}*i1]{engine}"


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
