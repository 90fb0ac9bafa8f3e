"""What it costs to share a device with twice its memory, against one session after another.

    python benchmarks/swap.py [--device opencl:0] [--sessions 2] [--mib 64] [--json FILE]

Sessions whose buffers fill the device each do the same work, a kernel over all their memory again
and again: first one session after another, each opened when the one before is closed, so that
nothing is swapped; then all at once, by turns. Alternating rounds; the ratio of the times is the
efficiency (1: sharing is free). The same with replicas, whose bytes are equal.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from _machine import report

from hal import Buffer, Context, Device, Grid, Program, ProgramImage, ScalarArg
from proxy.client import connect
from proxy.launcher import spawn
from proxy.limits import Limits

SOURCE = b"""
kernel void spin(global uint *a, uint turns) {
    uint x = a[get_global_id(0)];
    for (uint i = 0; i < turns; ++i) x = x * 1664525u + 1013904223u;
    a[get_global_id(0)] = x;
}
"""
BUFFERS = 4


class Job:
    def __init__(self, device: Device, nbytes: int, seed: int) -> None:
        self.context: Context = device.open_context()
        self.program: Program = self.context.load(ProgramImage("opencl-c", SOURCE))
        rng = np.random.default_rng(seed)
        self.buffers: list[Buffer] = []
        for _ in range(BUFFERS):
            self.buffers.append(self.context.alloc(nbytes // BUFFERS))
            self.context.write(self.buffers[-1], rng.bytes(nbytes // BUFFERS))
        self.context.finish()

    def launch(self, turns: int) -> None:
        """A pass over all of its memory."""
        for buffer in self.buffers:
            args = (buffer.arg(), ScalarArg.u32(turns))
            self.context.launch(self.program, "spin", args, Grid((buffer.size_bytes // 4,)))

    def close(self) -> None:
        self.context.close()


def tuned(device: Device, nbytes: int, work_s: float, passes: int) -> int:
    """Turns with which so many passes take about so long."""
    job, turns = Job(device, nbytes, 0), 8
    for _ in range(4):
        begun = time.perf_counter()
        job.launch(turns)
        job.context.finish()
        turns = max(int(turns * work_s / passes / (time.perf_counter() - begun)), 1)
    job.close()
    return turns


def serial(device: Device, nbytes: int, seeds: list[int], turns: int, passes: int) -> float:
    took_s = 0.0
    for seed in seeds:
        job = Job(device, nbytes, seed)
        begun = time.perf_counter()
        for _ in range(passes):
            job.launch(turns)
        job.context.finish()
        took_s += time.perf_counter() - begun
        job.close()
    return took_s


def together(device: Device, nbytes: int, seeds: list[int], turns: int, passes: int) -> float:
    jobs = [Job(device, nbytes, seed) for seed in seeds]
    begun = time.perf_counter()
    for _ in range(passes):
        for job in jobs:
            job.launch(turns)
    for job in jobs:
        job.context.finish()
    took_s = time.perf_counter() - begun
    for job in jobs:
        job.close()
    return took_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", default="opencl:0", help="URI of the device (opencl:0)")
    parser.add_argument("--sessions", type=int, default=2)
    parser.add_argument("--mib", type=int, default=64, help="of each session, and of the device")
    parser.add_argument("--work-s", type=float, default=4.0, help="of each session, alone")
    parser.add_argument("--passes", type=int, default=100, help="in that time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the JSON here")
    given = parser.parse_args()
    nbytes = given.mib << 20
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    limits = Limits(device_bytes=nbytes, swap_bytes=2 * given.sessions * nbytes)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="haltere-b-", dir=memory) as folder:
        server = spawn(given.device, Path(folder), tied=True, core="native", limits=limits)
        try:
            with connect(given.device, Path(folder), ring_bytes=1 << 20) as device:
                turns = tuned(device, nbytes, given.work_s, given.passes)
                for what, seeds in (
                    ("different bytes", list(range(given.sessions))),
                    ("replicas", [0] * given.sessions),
                ):
                    rounds = []
                    for _ in range(given.rounds):
                        rounds.append(
                            [
                                way(device, nbytes, seeds, turns, given.passes)
                                for way in (serial, together)
                            ]
                        )
                    rows.append(
                        {
                            "what": what,
                            "serial_s": round(statistics.median(one for one, _ in rounds), 3),
                            "shared_s": round(statistics.median(all_ for _, all_ in rounds), 3),
                            "efficiency": round(
                                statistics.median(one / all_ for one, all_ in rounds), 3
                            ),
                        }
                    )
                    print(rows[-1])
        finally:
            server.stop()
    found = {"benchmark": "swap", "device": given.device, "sessions": given.sessions}
    report({**found, "mib": given.mib, "rows": rows}, given.json)


if __name__ == "__main__":
    main()
