"""A tenant's program for the tests: plain hal code that knows nothing of scheduling.

    python train_worker.py STEPS PROGRESS GATE CONTEXTS

Runs STEPS steps of a recurrence on its device, in both formats, in each of CONTEXTS contexts,
writes how far it got to the file PROGRESS, and prints the digest of the end state. It does not
pass nine tenths of its way before the file GATE exists ("-": no gate), so that a test can be sure
to meet it at work.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path

import numpy as np

from hal.context import Context
from hal.registry import open_device
from hal.types import Grid, ProgramImage, ScalarArg

ELEMENTS = 4096
GATE_S = 60.0
OPENCL = """
kernel void advance(global uint *x, const uint k)
{
    const size_t i = get_global_id(0);
    x[i] = (x[i] ^ (x[i] >> 13)) * 1664525u + k + (uint)i;
}
"""
NUMPY = """
def advance(grid, x: buffer, k: scalar):
    v, i = u32(x), np.arange(grid.global_size[0], dtype=np.uint32)
    v[:] = (v ^ (v >> np.uint32(13))) * np.uint32(1664525) + u32(k) + i
"""


def expected(steps: int, seed: int = 0) -> str:
    """The digest, worked out without any device."""
    x = np.full(ELEMENTS, seed, np.uint32)
    i = np.arange(ELEMENTS, dtype=np.uint32)
    for k in range(steps):
        x = (x ^ (x >> np.uint32(13))) * np.uint32(1664525) + np.uint32(k) + i
    return hashlib.sha256(x.tobytes()).hexdigest()


class Training:
    def __init__(self, context: Context, seed: int = 0) -> None:
        opencl = "opencl-c" in context.caps.formats
        image = ("opencl-c", OPENCL) if opencl else ("numpy", NUMPY)
        self.context = context
        self.program = context.load(ProgramImage(image[0], image[1].encode()))
        self.x = context.alloc(4 * ELEMENTS)
        context.write(self.x, np.full(ELEMENTS, seed, np.uint32).tobytes())

    def step(self, k: int) -> None:
        args = [self.x.arg(), ScalarArg.u32(k)]
        self.context.launch(self.program, "advance", args, Grid((ELEMENTS,)))

    def digest(self) -> str:
        return hashlib.sha256(self.context.read(self.x)).hexdigest()


def main() -> int:
    steps, progress, gate, contexts = (
        int(sys.argv[1]),
        Path(sys.argv[2]),
        sys.argv[3],
        int(sys.argv[4]),
    )
    with open_device(os.environ["HALTERE_DEVICE"]) as device:
        trainings = [Training(device.open_context(), seed) for seed in range(contexts)]
        for k in range(steps):
            for training in trainings:
                training.step(k)
            if k % 20 == 0:
                for training in trainings:
                    training.context.finish()
                progress.write_text(str(k))
            if k == steps * 9 // 10 and gate != "-":
                wait_for(Path(gate))
        sys.stdout.write(" ".join(training.digest() for training in trainings))
    return 0


def wait_for(gate: Path) -> None:
    give_up = time.monotonic() + GATE_S
    while not gate.exists():
        if time.monotonic() > give_up:
            raise TimeoutError(f"{gate} was not opened")
        time.sleep(0.002)


if __name__ == "__main__":
    sys.exit(main())
