"""What the crossing to a device's own process costs: proxied against direct, in one run.

    python benchmarks/proxy_ratio.py [--device opencl:0] [--rounds N] [--json FILE]

The same calls on the same device, once in this process and once behind a server that this script
starts, in alternating rounds; medians, and their ratio (below 1: the proxy is faster). A table goes
to the terminal, JSON with the machine's facts to FILE or after the table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from _machine import machine_facts

from hal import Buffer, Context, Device, Grid, Program, ProgramImage, open_device
from proxy.client import connect
from proxy.launcher import spawn

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


def measure(uri: str, rounds: int) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory(prefix="haltere-b-", dir=_memory()) as folder:
        server = spawn(uri, Path(folder), tied=True)
        try:
            with open_device(uri) as near, connect(uri, Path(folder)) as far:
                sides = {"direct": Bench.on(near), "proxied": Bench.on(far)}
                return [_row(name, run, sides, rounds) for name, run in MEASURES.items()]
        finally:
            server.stop()


def _row(
    name: str, run: Callable[[Bench], float], sides: dict[str, Bench], rounds: int
) -> dict[str, object]:
    times: dict[str, list[float]] = {side: [] for side in sides}
    for bench in sides.values():
        run(bench)  # warm: first touches and first builds are not what is asked
    for _ in range(rounds):
        for side, bench in sides.items():
            times[side].append(run(bench))
    direct, proxied = (statistics.median(times[side]) for side in ("direct", "proxied"))
    return {
        "what": name,
        "direct_us": round(direct * 1e6, 2),
        "proxied_us": round(proxied * 1e6, 2),
        "ratio": round(proxied / direct, 3),
        "best_ratio": round(min(times["proxied"]) / min(times["direct"]), 3),
    }


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def table(rows: list[dict[str, object]]) -> str:
    lines = [f"{'':38}{'direct us':>12}{'proxied us':>12}{'ratio':>8}{'of best':>9}"]
    for row in rows:
        lines.append(
            f"{row['what']:38}{row['direct_us']:12}{row['proxied_us']:12}{row['ratio']:8}"
            f"{row['best_ratio']:9}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", default="opencl:0", help="URI of the device (opencl:0)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write the JSON here")
    given = parser.parse_args()
    rows = measure(given.device, given.rounds)
    found = {"benchmark": "proxy_ratio", "device": given.device, "rounds": given.rounds}
    report = json.dumps(found | {"rows": rows, "machine": machine_facts()}, indent=1)
    print(f"proxied against direct on {given.device}, medians of {given.rounds} rounds")
    print(table(rows))
    if given.json is not None:
        given.json.write_text(report + "\n")
    else:
        print(report)


if __name__ == "__main__":
    main()
