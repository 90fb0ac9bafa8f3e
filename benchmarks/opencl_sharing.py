"""What time-slicing an OpenCL device costs, and whether sessions get the shares of their weights.

    python benchmarks/opencl_sharing.py [--device opencl:0] [--rounds N] [--json FILE]

Four sessions behind one server do the same work, queued at once: first one session after another,
then all together, in alternating rounds; the ratio of the times is the efficiency (1: slicing is
free). Then sessions of weights 1, 2 and 3 are kept busy, with kernels of different lengths, and
what the server says of the device's time of each is compared with its due share.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections import deque
from pathlib import Path

from _machine import report

from hal import Buffer, Context, Device, Grid, Program, ProgramImage, ScalarArg
from hal.types import Seq
from proxy.client import connect
from proxy.control import Control
from proxy.launcher import spawn
from proxy.limits import Limits

SOURCE = b"""
kernel void spin(global uint *a, uint turns) {
    uint x = a[get_global_id(0)];
    for (uint i = 0; i < turns; ++i) x = x * 1664525u + 1013904223u;
    a[get_global_id(0)] = x;
}
"""
WIDTH = 64
SESSIONS = 4
LAUNCHES = 150
WEIGHTS = (1, 2, 3)
LENGTHS_S = (0.003, 0.001, 0.005)  # of their kernels
AHEAD = 6


class Job:
    def __init__(self, device: Device) -> None:
        self.context: Context = device.open_context()
        self.program: Program = self.context.load(ProgramImage("opencl-c", SOURCE))
        self.buffer: Buffer = self.context.alloc(4 * WIDTH)
        self.turns = 1000
        self.launch(1)
        self.context.finish()

    def launch(self, count: int) -> None:
        args = (self.buffer.arg(), ScalarArg.u32(self.turns))
        for _ in range(count):
            self.context.launch(self.program, "spin", args, Grid((WIDTH,), (1,)))

    def tune(self, seconds: float) -> None:
        """Launches that take about so long, alone on the device."""
        for _ in range(4):
            begun = time.perf_counter()
            self.launch(5)
            self.context.finish()
            self.turns = max(int(self.turns * seconds * 5 / (time.perf_counter() - begun)), 1)


def efficiency(device: Device, rounds: int) -> dict[str, object]:
    jobs = [Job(device) for _ in range(SESSIONS)]
    jobs[0].tune(0.001)
    for job in jobs:
        job.turns = jobs[0].turns
    serial, together = [], []
    for _ in range(rounds):
        begun = time.perf_counter()
        for job in jobs:
            job.launch(LAUNCHES)
            job.context.finish()
        serial.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        for job in jobs:
            job.launch(LAUNCHES)
        for job in jobs:
            job.context.finish()
        together.append(time.perf_counter() - begun)
    for job in jobs:
        job.context.close()
    ratios = [one / other for one, other in zip(serial, together, strict=True)]
    return {
        "what": f"{SESSIONS} sessions, 1 ms kernels, sliced against one after another",
        "serial_s": round(statistics.median(serial), 4),
        "sliced_s": round(statistics.median(together), 4),
        "efficiency": round(statistics.median(ratios), 4),
        "best_efficiency": round(min(serial) / min(together), 4),
    }


def shares(device: Device, control: Control, seconds: float) -> list[dict[str, object]]:
    jobs = [Job(device) for _ in WEIGHTS]
    names = [session.name for session in control.status().sessions][-len(jobs) :]
    for job, name, weight, length in zip(jobs, names, WEIGHTS, LENGTHS_S, strict=True):
        job.tune(length)
        control.weigh(name, weight)
    stop = threading.Event()
    feeders = [
        threading.Thread(target=feed, args=(job, length, stop))
        for job, length in zip(jobs, LENGTHS_S, strict=True)
    ]
    for feeder in feeders:
        feeder.start()
    time.sleep(1.0)
    before = {s.name: s.device_ns for s in control.status().sessions}
    time.sleep(seconds)
    after = {s.name: s.device_ns for s in control.status().sessions}
    stop.set()
    for feeder in feeders:
        feeder.join()
    used = [after[name] - before[name] for name in names]
    rows: list[dict[str, object]] = []
    for weight, length, ns in zip(WEIGHTS, LENGTHS_S, used, strict=True):
        due, found = weight / sum(WEIGHTS), ns / sum(used)
        row = {"weight": weight, "kernel_ms": length * 1e3}
        rows.append(row | {"due": round(due, 4), "share": round(found, 4)})
    for job in jobs:
        job.context.close()
    return rows


def feed(job: Job, length_s: float, stop: threading.Event) -> None:
    """Keep the session's ring filled for some tenths of a second ahead."""
    ahead: deque[Seq] = deque()
    while not stop.is_set():
        job.launch(max(int(0.1 / length_s), 1))
        ahead.append(job.context.signal())
        if len(ahead) > AHEAD:
            job.context.wait(ahead.popleft(), 60.0)
    job.context.finish()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", default="opencl:0", help="URI of the device (opencl:0)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of measuring shares")
    parser.add_argument("--quantum-ms", type=float, default=Limits().quantum_ms)
    parser.add_argument("--json", type=Path, help="write the JSON here")
    given = parser.parse_args()
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    limits = Limits(given.quantum_ms)
    with tempfile.TemporaryDirectory(prefix="haltere-b-", dir=memory) as folder:
        server = spawn(given.device, Path(folder), tied=True, core="native", limits=limits)
        try:
            with connect(given.device, Path(folder), ring_bytes=1 << 20) as device:
                speed = efficiency(device, given.rounds)
                rows = shares(device, Control(Path(folder), given.device), given.seconds)
        finally:
            server.stop()
    print(f"{speed['what']}: efficiency {speed['efficiency']}, of best {speed['best_efficiency']}")
    for row in rows:
        print(f"weight {row['weight']}: share {row['share']}, due {row['due']}")
    found = {"benchmark": "opencl_sharing", "device": given.device, "quantum_ms": given.quantum_ms}
    report({**found, "efficiency": speed, "shares": rows}, given.json)


if __name__ == "__main__":
    main()
