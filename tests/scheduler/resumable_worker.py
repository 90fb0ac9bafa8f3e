"""A tenant's program that keeps all it knows on its device, so that it can be started again on its
restored session (recovery "checkpoint"). Prints where it began, and the digest of its end state.

    python resumable_worker.py STEPS PROGRESS GATE      (see train_worker.py)
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path

import numpy as np

from hal.context import Buffer, Context
from hal.registry import open_device
from hal.types import Grid, ProgramImage
from proxy.reattach import reattach

WORDS = 1024
GATE_S = 60.0
NUMPY = """
def advance(grid, state: buffer):
    v = u32(state)
    v[:-1] = (v[:-1] ^ (v[:-1] >> np.uint32(11))) * np.uint32(22695477) + v[-1]
    v[-1] += np.uint32(1)
"""


def expected(steps: int) -> str:
    state = np.zeros(WORDS, np.uint32)
    for k in range(steps):
        state[:-1] = (state[:-1] ^ (state[:-1] >> np.uint32(11))) * np.uint32(22695477)
        state[:-1] += np.uint32(k)
    state[-1] = steps
    return hashlib.sha256(state.tobytes()).hexdigest()


def begin(context: Context) -> tuple[Context, Buffer]:
    return context, context.alloc(4 * WORDS)


def main() -> int:
    steps, progress, gate = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    if "HALTERE_CHECKPOINT" in os.environ:
        found = reattach(os.environ["HALTERE_DEVICE"], os.environ["HALTERE_SESSION"])
        context, state = found.context, found.buffers[0]
    else:
        context, state = begin(open_device(os.environ["HALTERE_DEVICE"]).open_context())
    program = context.load(ProgramImage("numpy", NUMPY.encode()))
    begun = int(np.frombuffer(context.read(state), np.uint32)[-1])
    sys.stdout.write(f"from {begun}\n")
    sys.stdout.flush()
    for k in range(begun, steps):
        context.launch(program, "advance", [state.arg()], Grid((1,)))
        if k % 20 == 0:
            context.finish()
            progress.write_text(str(k))
        if k == steps * 9 // 10:
            give_up = time.monotonic() + GATE_S
            while not gate.exists() and time.monotonic() < give_up:
                time.sleep(0.002)
    sys.stdout.write(hashlib.sha256(context.read(state)).hexdigest())
    context.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
