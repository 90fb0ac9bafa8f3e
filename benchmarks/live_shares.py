"""Do jobs on the live pool get the shares of a device that they were given?

    python benchmarks/live_shares.py [--device opencl:0] [--seconds 20] [--rounds 3] [--out FILE]

Jobs with shares run on a pool under the policy `sharing`, each a worker process that always has
kernels queued, of different lengths. What the device's server says of its time for each, between
two looks, is set beside what it was given. Error: the worst of them, of what was due to it. A
device is given out whole, so that what is due to a job is its share.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import Any

from _machine import report

from proxy.control import Control
from scheduler.core.values import FULL_MILLI, Needs
from scheduler.live.pool import JobSpec, Pool
from scheduler.policies.sharing import Sharing

BUSY = """
import os, sys, time
from collections import deque
from hal import Grid, ProgramImage, ScalarArg
from hal.registry import open_device
SOURCE = b"kernel void spin(global uint *a, uint turns) {"\\
    b"uint x = a[get_global_id(0)];"\\
    b"for (uint i = 0; i < turns; ++i) x = x * 1664525u + 1013904223u;"\\
    b"a[get_global_id(0)] = x; }"
length_s, gate = float(sys.argv[1]), sys.argv[2]
with open_device(os.environ["HALTERE_DEVICE"]) as device, device.open_context() as context:
    program, buffer = context.load(ProgramImage("opencl-c", SOURCE)), context.alloc(256)
    turns = 100_000
    def launch(count):
        for _ in range(count):
            args = (buffer.arg(), ScalarArg.u32(turns))
            context.launch(program, "spin", args, Grid((64,), (1,)))
    launch(1)
    context.finish()
    begun = time.perf_counter()
    launch(5)
    context.finish()
    turns = max(int(turns * length_s * 5 / (time.perf_counter() - begun)), 1)
    ahead = deque()
    while not os.path.exists(gate):
        launch(max(int(0.1 / length_s), 1))
        ahead.append(context.signal())
        if len(ahead) > 6:
            context.wait(ahead.popleft(), 120.0)
"""
SETS = ((250, 750), (500, 500), (100, 900), (330, 670), (100, 200, 300, 400))
LENGTHS_S = (0.003, 0.001, 0.005, 0.002)
SETTLE_S = 2.0
START_S = 120.0


def measured(device: str, shares: tuple[int, ...], seconds: float) -> list[float]:
    """Of the device's time, what each had."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as root, tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        gate = folder / "gate"
        with Pool(Path(root), [device], folder / "state", policy=Sharing()) as pool:
            jobs = []
            for share, length_s in zip(shares, LENGTHS_S, strict=False):
                argv = [sys.executable, "-c", BUSY, str(length_s), str(gate)]
                kind = device.partition(":")[0]
                spec = JobSpec(f"s{share}", "ann", "basic", kind, argv, needs=Needs(share))
                jobs.append(pool.submit(spec))
            for job in jobs:
                pool.wait(job, START_S, ("running",))
            names = [pool.job(job).session for job in jobs]
            time.sleep(SETTLE_S)
            before = used(Path(root), device)
            time.sleep(seconds)
            after = used(Path(root), device)
            gate.touch()
            for job in jobs:
                pool.wait(job, START_S)
        took = [after[name] - before[name] for name in names]
        return [each / sum(took) for each in took]


def used(root: Path, device: str) -> dict[str, int]:
    return {each.name: each.device_ns for each in Control(root, device).status().sessions}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="opencl:0")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for shares in SETS:
        rounds = [measured(args.device, shares, args.seconds) for _ in range(args.rounds)]
        due = [share / FULL_MILLI for share in shares]
        errors = [
            max(abs(got / wanted - 1) for got, wanted in zip(each, due, strict=True))
            for each in rounds
        ]
        found = [round(fmean(got), 4) for got in zip(*rounds, strict=True)]
        row = {"due": due, "had": found, "errors": [round(error, 4) for error in errors]}
        print(row, file=sys.stderr, flush=True)
        rows.append(row)
    report({"benchmark": "live_shares", "seconds": args.seconds, "found": rows}, args.out)


if __name__ == "__main__":
    main()
