"""What the crossing to a device's own process costs: proxied against direct, in one run.

    python benchmarks/proxy_ratio.py [--device opencl:0] [--rounds N] [--json FILE]

The same calls on the same device, in this process and behind servers that this script starts, one
for each core that can serve the device, in alternating rounds; medians, and their ratio to direct
(below 1: the proxy is faster). A table goes to the terminal, JSON with the machine's facts to FILE
or after the table.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from _machine import report

from hal import Buffer, Context, Device, Grid, Program, ProgramImage, open_device
from proxy.client import connect
from proxy.launcher import spawn
from proxy.server import CORES

BURST = 400  # tiny launches: fits the ring, so that enqueuing never waits for the device
TRIPS = 100
MIB = 1 << 20
BULK_BYTES = 64 * MIB
TINY = {
    "numpy": b"def tiny(grid, a: buffer):\n    a[0] += 1\n",
    "opencl-c": b"__kernel void tiny(__global uchar *a) { a[0] += 1; }\n",
}


@dataclass(frozen=True)
class Bench:
    """One side: a context with what the measurements need."""

    context: Context
    program: Program
    small: Buffer
    large: Buffer
    data: bytes
    into: bytearray

    @classmethod
    def on(cls, device: Device) -> Bench:
        context = device.open_context()
        form = next(form for form in TINY if form in context.caps.formats)
        return cls(
            context,
            context.load(ProgramImage(form, TINY[form])),
            context.alloc(64),
            context.alloc(BULK_BYTES),
            bytes(range(256)) * (BULK_BYTES // 256),
            bytearray(BULK_BYTES),
        )

    def launch(self) -> None:
        self.context.launch(self.program, "tiny", (self.small.arg(),), Grid((1,)))

    def enqueue(self) -> float:
        """Seconds of the caller's time per launch; the rest of the work is not counted."""
        begun = time.perf_counter()
        for _ in range(BURST):
            self.launch()
        taken = time.perf_counter() - begun
        self.context.finish()
        return taken / BURST

    def burst(self) -> float:
        """Seconds per launch until all are done."""
        begun = time.perf_counter()
        for _ in range(BURST):
            self.launch()
        self.context.finish()
        return (time.perf_counter() - begun) / BURST

    def round_trip(self) -> float:
        begun = time.perf_counter()
        for _ in range(TRIPS):
            self.launch()
            self.context.finish()
        return (time.perf_counter() - begun) / TRIPS

    def write(self, nbytes: int) -> float:
        view = memoryview(self.data)[:nbytes]
        begun = time.perf_counter()
        self.context.write(self.large, view)
        self.context.finish()
        return time.perf_counter() - begun

    def read(self, nbytes: int) -> float:
        view = memoryview(self.into)[:nbytes]
        begun = time.perf_counter()
        self.context.read_into(self.large, view)
        self.context.finish()
        return time.perf_counter() - begun


MEASURES: dict[str, Callable[[Bench], float]] = {
    "enqueue of a tiny launch": Bench.enqueue,
    "tiny launch, in a burst, until done": Bench.burst,
    "launch + finish": Bench.round_trip,
    "write 1 MiB + finish": lambda bench: bench.write(MIB),
    "read 1 MiB + finish": lambda bench: bench.read(MIB),
    "write 64 MiB + finish": lambda bench: bench.write(BULK_BYTES),
    "read 64 MiB + finish": lambda bench: bench.read(BULK_BYTES),
}


DIRECT = "direct"


def measure(uri: str, rounds: int) -> list[dict[str, object]]:
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_memory())))
        near = stack.enter_context(open_device(uri))
        sides = {DIRECT: Bench.on(near)}
        for core in CORES if near.native_handle is not None else ("python",):
            server = spawn(uri, root, f"{core}.{uri}", tied=True, core=core)
            stack.callback(server.stop)
            far = stack.enter_context(connect(server.paths.name, root))
            sides[core] = Bench.on(far)
        return [_row(name, run, sides, rounds) for name, run in MEASURES.items()]


def _row(
    name: str, run: Callable[[Bench], float], sides: dict[str, Bench], rounds: int
) -> dict[str, object]:
    times: dict[str, list[float]] = {side: [] for side in sides}
    for bench in sides.values():
        run(bench)  # warm: first touches and first builds are not what is asked
    for _ in range(rounds):
        for side, bench in sides.items():
            times[side].append(run(bench))
    row: dict[str, object] = {"what": name}
    for side, found in times.items():
        row[f"{side}_us"] = round(statistics.median(found) * 1e6, 2)
        if side != DIRECT:
            ratio = statistics.median(found) / statistics.median(times[DIRECT])
            row[f"{side}_ratio"] = round(ratio, 3)
            row[f"{side}_best_ratio"] = round(min(found) / min(times[DIRECT]), 3)
    return row


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def table(rows: list[dict[str, object]]) -> str:
    names = [name for name in rows[0] if name != "what"]
    lines = ["".join([f"{'':38}", *(f"{name.replace('_', ' '):>19}" for name in names)])]
    for row in rows:
        lines.append("".join([f"{row['what']:38}", *(f"{row[name]:19}" for name in names)]))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", default="opencl:0", help="URI of the device (opencl:0)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write the JSON here")
    given = parser.parse_args()
    rows = measure(given.device, given.rounds)
    found = {"benchmark": "proxy_ratio", "device": given.device, "rounds": given.rounds}
    print(f"proxied against direct on {given.device}, medians of {given.rounds} rounds")
    print(table(rows))
    report({**found, "rows": rows}, given.json)


if __name__ == "__main__":
    main()
