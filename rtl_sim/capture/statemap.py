"""The state map: which bit of state is where on the state port (`docs/overlays.md`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

from rtl_sim.capture.chain import Chain
from rtl_sim.capture.state import State

FORMAT: Final = 2


def layout_id(state: State) -> str:
    """Digest of what there is to save: names and sizes, not where the chain passes.

    Comments, wire names, lane width and chain order leave it unchanged; another register, memory,
    width or depth does not.
    """
    lines = [f"flop {bit.name} {bit.bit}" for bit in state.bits]
    lines += [f"memory {m.name} {m.width} {m.depth}" for m in state.addressed]
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=32).hexdigest()


def state_map(state: State, chain: Chain, clocks: Sequence[str]) -> dict[str, Any]:
    """`clocks`: the design's clock ports, the primary first."""
    places = sorted(chain.places(state.chained), key=lambda place: place.name)
    return {
        "format": FORMAT,
        "layout_id": layout_id(state),
        "clock": clocks[0] if clocks else "",
        "clocks": list(clocks),
        "lanes": len(chain.lanes),
        "rows": chain.rows,
        "mem_width": state.memory_width,
        "flops": [
            {"name": p.name.name, "bit": p.name.bit, "row": p.row, "lane": p.lane} for p in places
        ],
        "memories": [
            {"name": m.name, "index": m.index, "width": m.width, "depth": m.depth}
            for m in state.addressed
        ],
        "read_registers": [
            {
                "select": state.select(number),
                "memory": register.memory,
                "bits": [[bit.name, bit.bit] for bit in register.bits],
            }
            for number, register in enumerate(state.read_registers)
            if not register.shadow
        ],
        "roms": [{"name": rom.name, "digest": rom.digest} for rom in state.roms],
    }


def to_text(value: dict[str, Any]) -> str:
    """JSON with one flip-flop, memory or ROM a line: short, and readable in a diff."""
    lines = []
    for key, entry in value.items():
        if isinstance(entry, list):
            rows = ",\n".join(f"  {json.dumps(row)}" for row in entry)
            lines.append(
                f" {json.dumps(key)}: [\n{rows}\n ]" if entry else f" {json.dumps(key)}: []"
            )
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(entry)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
