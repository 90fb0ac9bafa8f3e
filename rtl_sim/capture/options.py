"""How a design is to be made haltable: the choices that a user has, none of which changes state.

Builds with other options hold the same bits under the same names, so their snapshots are
interchangeable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

DEFAULT_LANES: Final = 32
MAX_LANES: Final = 1024  # wider than any bus that could carry a row


@dataclass(frozen=True, slots=True)
class Options:
    """`lanes`: bits of the chain that move in a cycle. `freeze`: by clock enables or by a gated
    clock. `read_registers`: those of memories restored through the memory, or from a shadow on the
    chain. `clocks`: declared clock ports, the primary first; none: they are found. `assertions`:
    those of the RTL, and what state only they read, are part of the design. `hierarchy`: instances
    with state are modules of their own, instead of one flat text."""

    lanes: int = DEFAULT_LANES
    freeze: Literal["enable", "gate"] = "enable"
    read_registers: Literal["reread", "shadow"] = "reread"
    clocks: tuple[str, ...] = ()
    assertions: bool = True
    hierarchy: bool = False
