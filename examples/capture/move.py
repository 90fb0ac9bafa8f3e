"""Halts a captured design in one build and resumes it in another: `python move.py A B`.

A and B are two folders that `haltere capture examples/capture/tally.sv` wrote.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rtl_sim.statemap import StateMap
from rtl_sim.verilated.halting import HaltablePlayer, build_haltable


def start(folder: Path) -> HaltablePlayer:
    state_map = StateMap.parse((folder / "state.json").read_bytes())
    return HaltablePlayer(build_haltable([folder / "tally.v"], "tally"), state_map)


def count(player: HaltablePlayer, values: bytes) -> int:
    player.set("rst_n", 1)
    player.set("valid", 1)
    for value in values:
        player.set("value", value)
        for level in (1, 0):
            player.set("clk", level)
            player.eval()
    return player.get("most")


def main(first: Path, second: Path) -> None:
    text = b"the cat sat on the mat, and that was that" * 3
    whole, here, there = start(first), start(first), start(second)
    expected = count(whole, text)
    count(here, text[:50])
    snapshot = here.save()
    print(f"halted after 50 of {len(text)} bytes: {here.frozen_cycles} frozen cycles, state:")
    for name, data in snapshot.segments.items():
        print(f"  {name or 'shell'}: {len(data)} bytes")
    there.load(snapshot, here.row)  # the inputs are those at the freeze
    moved = count(there, text[50:])
    print(f"never halted: {expected}; halted and moved: {moved}")
    assert moved == expected and there.save().segments == whole.save().segments


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
