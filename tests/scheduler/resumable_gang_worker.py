"""A gang's program that keeps all it knows on its devices (recovery "checkpoint"): each rank has
its state of this step and of the one before, for at a checkpoint of the gang one rank may be a step
ahead of another. Started again on their restored sessions, ranks agree on the newest step that all
of them have.

    python resumable_gang_worker.py STEPS PROGRESS GATE      (see gang_worker.py)

Prints the step it began at and the digest of its end state, which is gang_worker's.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path

import numpy as np
from gang_worker import ELEMENTS, MEET_S, Peers

from hal.context import Buffer, Context
from hal.registry import open_device
from hal.types import Grid, ProgramImage, ScalarArg
from proxy.reattach import reattach

WORDS = ELEMENTS + 1  # the last one: its step
NUMPY = """
def advance(grid, x: buffer, y: buffer, k: scalar):
    v, w, i = u32(x), u32(y), np.arange(grid.global_size[0], dtype=np.uint32)
    w[:-1] = (v[:-1] ^ (v[:-1] >> np.uint32(13))) * np.uint32(1664525) + u32(k) + i
    w[-1] = v[-1] + np.uint32(1)
"""


def opened(rank: int) -> tuple[Context, list[Buffer]]:
    if "HALTERE_CHECKPOINT" in os.environ:
        found = reattach(os.environ["HALTERE_DEVICE"], os.environ["HALTERE_SESSION"])
        return found.context, list(found.buffers)
    context = open_device(os.environ["HALTERE_DEVICE"]).open_context()
    buffers = [context.alloc(4 * WORDS) for _ in range(2)]
    first = np.full(WORDS, rank, np.uint32)
    first[-1] = 0
    for buffer in buffers:
        context.write(buffer, first.tobytes())
    return context, buffers


def main() -> int:
    steps, progress, gate = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    peers = Peers()
    context, buffers = opened(peers.rank)
    program = context.load(ProgramImage("numpy", NUMPY.encode()))

    def state(index: int) -> np.ndarray:
        return np.frombuffer(context.read(buffers[index]), np.uint32)

    mine = [int(state(index)[-1]) for index in range(2)]
    begun = peers.agree(max(mine))
    assert begun in mine, f"rank {peers.rank} has steps {mine}, another only {begun}"
    now = mine.index(begun)
    sys.stdout.write(f"from {begun}\n")
    sys.stdout.flush()
    for step in range(begun, steps):
        total = peers.sum(step, int(state(now)[-2]))
        args = [buffers[now].arg(), buffers[1 - now].arg(), ScalarArg.u32(total)]
        context.launch(program, "advance", args, Grid((ELEMENTS,)))
        now = 1 - now
        if peers.rank == 0:
            progress.write_text(str(step))
        if peers.rank == 0 and step == steps * 9 // 10:
            give_up = time.monotonic() + MEET_S
            while not gate.exists() and time.monotonic() < give_up:
                time.sleep(0.002)
    sys.stdout.write(hashlib.sha256(state(now)[:-1].tobytes()).hexdigest())
    context.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
