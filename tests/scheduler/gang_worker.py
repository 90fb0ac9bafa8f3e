"""A gang's program for the tests: plain hal code; its ranks meet in a folder.

    python gang_worker.py STEPS PROGRESS GATE

In every step each rank advances its own state by what all ranks had before: so nobody is ever more
than a step ahead, and whatever one rank loses or does twice shows in all. Prints the digest of
the end state. Rank 0 writes how far they got to PROGRESS and waits at nine tenths for the file
GATE ("-": no gate).
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path

import numpy as np

from hal.registry import open_device
from hal.types import Grid, ProgramImage, ScalarArg

ELEMENTS = 1024
MEET_S = 60.0
NUMPY = """
def advance(grid, x: buffer, k: scalar):
    v, i = u32(x), np.arange(grid.global_size[0], dtype=np.uint32)
    v[:] = (v ^ (v >> np.uint32(13))) * np.uint32(1664525) + u32(k) + i
"""


def expected(steps: int, world: int) -> list[str]:
    """The digests, by rank, worked out without any device."""
    i = np.arange(ELEMENTS, dtype=np.uint32)
    states = [np.full(ELEMENTS, rank, np.uint32) for rank in range(world)]
    for _ in range(steps):
        total = np.uint32(sum(int(x[-1]) for x in states) % 2**32)
        states = [(x ^ (x >> np.uint32(13))) * np.uint32(1664525) + total + i for x in states]
    return [hashlib.sha256(x.tobytes()).hexdigest() for x in states]


class Peers:
    def __init__(self) -> None:
        self.rank, self.world = (
            int(os.environ["HALTERE_RANK"]),
            int(os.environ["HALTERE_WORLD_SIZE"]),
        )
        self._folder = Path(os.environ["HALTERE_RENDEZVOUS"])

    def sum(self, step: int, mine: int) -> int:
        """Of what all have; a rank's file of the step before the last is read by nobody."""
        self._tell(str(step), mine)
        (self._folder / f"{step - 2}-{self.rank}").unlink(missing_ok=True)
        return sum(self._of(str(step), rank) for rank in range(self.world)) % 2**32

    def agree(self, mine: int) -> int:
        """Once, on the least that any has."""
        self._tell("least", mine)
        return min(self._of("least", rank) for rank in range(self.world))

    def _tell(self, step: str, mine: int) -> None:
        temporary = self._folder / f".{step}-{self.rank}"
        temporary.write_text(str(mine))
        temporary.rename(self._folder / f"{step}-{self.rank}")

    def _of(self, step: str, rank: int) -> int:
        give_up = time.monotonic() + MEET_S
        while True:
            try:
                return int((self._folder / f"{step}-{rank}").read_text())
            except FileNotFoundError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.001)


def main() -> int:
    steps, progress, gate = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    peers = Peers()
    sys.stdout.write("began ")
    sys.stdout.flush()
    with open_device(os.environ["HALTERE_DEVICE"]) as device, device.open_context() as context:
        program = context.load(ProgramImage("numpy", NUMPY.encode()))
        x = context.alloc(4 * ELEMENTS)
        context.write(x, np.full(ELEMENTS, peers.rank, np.uint32).tobytes())
        for step in range(steps):
            last = int(np.frombuffer(context.read(x), np.uint32)[-1])
            total = peers.sum(step, last)
            context.launch(program, "advance", [x.arg(), ScalarArg.u32(total)], Grid((ELEMENTS,)))
            if peers.rank == 0:
                progress.write_text(str(step))
            if peers.rank == 0 and step == steps * 9 // 10 and gate != "-":
                give_up = time.monotonic() + MEET_S
                while not Path(gate).exists() and time.monotonic() < give_up:
                    time.sleep(0.002)
        sys.stdout.write(hashlib.sha256(context.read(x)).hexdigest())
    return 0


if __name__ == "__main__":
    sys.exit(main())
