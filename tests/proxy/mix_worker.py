"""A worker for tests: many small dependent steps on a proxied device, then a digest.

    mix_worker.py ROOT DEVICE SESSION STEPS

Every step mixes a state of words with a number; now and then it uploads, copies, reads back and
waits, so that all kinds of commands are under way when someone halts it. It prints "step N" every
REPORT steps and, last, the digest of the state, which `expected` computes without any device.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np

from hal import Context, Grid, ProgramImage, ScalarArg

WORDS = 2048
REPORT = 50
NUMPY = """
def churn(grid, state: buffer, key: buffer, number: scalar):
    s, n = u32(state), u32(number)
    s *= np.uint32(1664525)
    s += u32(key) ^ n
    s ^= s >> np.uint32(7)
"""
OPENCL = """
__kernel void churn(__global uint *state, __global const uint *key, uint number) {
    size_t i = get_global_id(0);
    uint s = state[i] * 1664525u + (key[i] ^ number);
    state[i] = s ^ (s >> 7);
}
"""


def image(formats: tuple[str, ...]) -> ProgramImage:
    if "numpy" in formats:
        return ProgramImage("numpy", NUMPY.encode())
    return ProgramImage("opencl-c", OPENCL.encode())


def key_of(step: int) -> bytes:
    return np.random.default_rng(step).integers(0, 1 << 32, WORDS, np.uint32).tobytes()


def run(context: Context, steps: int, report: bool = False) -> str:
    program = context.load(image(context.caps.formats))
    state, spare, key = (context.alloc(4 * WORDS) for _ in range(3))
    context.write(key, key_of(0))
    for step in range(1, steps + 1):
        args = (state.arg(), key.arg(), ScalarArg.u32(step))
        context.launch(program, "churn", args, Grid((WORDS,)))
        if step % 7 == 0:
            context.copy(state, spare, 4 * WORDS)
            context.copy(spare, state, 4 * WORDS)
        if step % 40 == 0:
            context.write(key, key_of(step))
        if step % 60 == 0:
            context.write(state, context.read(state))
        if step % 10 == 0:
            context.finish()
        if report and step % REPORT == 0:
            say(f"step {step}")
    return hashlib.blake2b(context.read(state)).hexdigest()


def expected(steps: int) -> str:
    state = np.zeros(WORDS, np.uint32)
    key = np.frombuffer(key_of(0), np.uint32)
    for step in range(1, steps + 1):
        state = state * np.uint32(1664525) + (key ^ np.uint32(step))
        state ^= state >> np.uint32(7)
        if step % 40 == 0:
            key = np.frombuffer(key_of(step), np.uint32)
    return hashlib.blake2b(state.tobytes()).hexdigest()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    from proxy.client import connect

    root, device, session, steps = sys.argv[1:5]
    with connect(device, Path(root), session) as opened, opened.open_context() as context:
        digest = run(context, int(steps), report=True)
    say(digest)


if __name__ == "__main__":
    main()
