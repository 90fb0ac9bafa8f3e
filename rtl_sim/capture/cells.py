"""Which of Yosys's word-level cells capture knows, by what they mean for state.

A table, read by everyone else; what a combinational cell computes stands in `expr.py`.
"""

from __future__ import annotations

from typing import Final

# The attribute of nets that are registers in the RTL, set before anything is flattened.
REGISTER_MARK: Final = "haltere_register"

# Flip-flops that can be frozen by masking alone.
SOUND_REGISTERS: Final = (
    *("dff", "dffe", "sdff", "sdffe", "sdffce", "adff", "adffe", "dffsr", "dffsre"),
)

# Remembering cells that are refused, each with its reason.
REFUSED_REGISTERS: Final[dict[str, tuple[str, str]]] = {
    "aldff": ("asynchronous-load", "loads a value that is not constant, so it cannot be masked"),
    "aldffe": ("asynchronous-load", "loads a value that is not constant, so it cannot be masked"),
    "sr": ("set-reset", "is a set/reset cell: it has no clock that could be held"),
    "dlatch": ("latch", "is transparent while enabled: it has no edge at which it could be held"),
    "adlatch": ("latch", "is transparent while enabled: it has no edge at which it could be held"),
    "dlatchsr": ("latch", "is transparent while enabled: it has no edge at which it could be held"),
    "ff": ("global-clock", "follows the simulator's global clock, which no hardware has"),
}

LATCHES: Final = frozenset(
    f"${kind}" for kind, (refusal, _) in REFUSED_REGISTERS.items() if refusal == "latch"
)

ANY_REGISTER: Final = (*SOUND_REGISTERS, *REFUSED_REGISTERS)

_MEMORY_CELLS: Final = ("$mem", "$mem_v2", "$memwr", "$memwr_v2")

# A module with one of these remembers something. `$memrd` and `$meminit` alone are a ROM.
REMEMBERING: Final = frozenset({*(f"${kind}" for kind in ANY_REGISTER), *_MEMORY_CELLS})

# The smallest ROM that synthesis makes block RAM of: 256 x 8 with synth_ice40. Smaller ones, and up
# to 8,192 bits with synth_xilinx, become logic.
BLOCK_ROM_BITS: Final = 2048

# What both readers make of an assertion of any kind (`formal.py`).
CHECK: Final = "$check"
# `$display` and `$write`.
PRINT: Final = "$print"

# Cells that compute nothing which reaches the design's outputs.
SILENT: Final = frozenset({"$scopeinfo", PRINT, CHECK, "$assert", "$assume", "$cover"})

# One output bit depends on the input bits of the same index only (and on select pins).
BITWISE: Final = frozenset({"$and", "$or", "$xor", "$xnor", "$not", "$pos", "$mux", "$pmux"})
