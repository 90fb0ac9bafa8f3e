"""How long a move stops a job: copied ahead against suspended and resumed, in one run.

    python benchmarks/migrate.py [--device URI] [--mib N] [--hot-mib N] [--rounds N] [--json FILE]

A worker launches one kernel after another on some of its buffers and waits for each; it is moved
between two servers of the device, to and fro, by turns with and without copying ahead. The pause is
what the servers measured; the gap is the longest that the worker saw between two kernels, while it
was moved. Beside the pause: what writing, syncing and reading as many bytes as were stored last
takes on the same file system. At the end the buffers must hold what the kernels that ran make.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from _machine import report

from hal import Grid, ProgramImage
from proxy.client import connect
from proxy.launcher import spawn
from proxy.move import ROUNDS, Moved, move

MIB = 1 << 20
BUFFERS = 16
SOURCES = {
    "numpy": b"def add(grid, a: buffer):\n    u32(a)[...] += np.uint32(1)\n",
    "opencl-c": b"__kernel void add(__global uint *a) { a[get_global_id(0)] += 1; }\n",
}


@dataclass(frozen=True)
class Row:
    how: str
    pause_s: float
    gap_s: float  # that the worker saw
    whole_s: float
    last_mib: float  # stored in the pause
    transfer_s: float  # of so much, plain
    beyond_s: float


class Worker(threading.Thread):
    """Adds 1 to the words of its hot buffers, for ever."""

    def __init__(self, root: Path, name: str, nbytes: int, hot_bytes: int) -> None:
        super().__init__(daemon=True)
        self.device = connect(name, root, "job")
        self.context = self.device.open_context()
        form = next(form for form in SOURCES if form in self.context.caps.formats)
        self.program = self.context.load(ProgramImage(form, SOURCES[form]))
        self.size = nbytes // BUFFERS
        self.first = [
            np.random.default_rng(seed).integers(0, 1 << 32, self.size // 4, np.uint32)
            for seed in range(BUFFERS)
        ]
        self.buffers = [self.context.alloc(self.size) for _ in range(BUFFERS)]
        for buffer, words in zip(self.buffers, self.first, strict=True):
            self.context.write(buffer, words.data.cast("B"))
        self.context.finish()
        self.hot = max(1, hot_bytes // self.size)
        self.turns = [0] * BUFFERS
        self.stopping = False
        self.gap_s = 0.0
        self.start()

    def run(self) -> None:
        turn, before = 0, time.monotonic()
        while not self.stopping:
            index = turn % self.hot
            grid = Grid((self.size // 4,))
            self.context.launch(self.program, "add", (self.buffers[index].arg(),), grid)
            self.context.finish()
            self.turns[index] += 1
            turn += 1
            now = time.monotonic()
            self.gap_s, before = max(self.gap_s, now - before), now

    def check(self) -> None:
        self.stopping = True
        self.join()
        for buffer, words, turns in zip(self.buffers, self.first, self.turns, strict=True):
            right = words + np.uint32(turns % (1 << 32))
            assert self.context.read(buffer) == right.tobytes(), "the move changed a bit"


def transfer_s(folder: Path, nbytes: int) -> float:
    path, data = folder / "plain", np.random.default_rng(1).bytes(nbytes)
    begun = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        file.write(data)
        os.fsync(file.fileno())
    assert len(path.read_bytes()) == nbytes
    taken = time.perf_counter() - begun
    path.unlink()
    return taken


def measure(device: str, nbytes: int, hot_bytes: int, rounds: int, folder: Path) -> list[Row]:
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="haltere-b-", dir="/dev/shm") as memory,
        tempfile.TemporaryDirectory(prefix="haltere-b-", dir=folder) as place,
    ):
        root, names = Path(memory), [device, f"{device}-twin"]
        servers = [spawn(device, root, name, tied=True) for name in names]
        try:
            worker = Worker(root, names[0], nbytes, hot_bytes)
            at = 0
            for number in range(rounds):
                for how, ahead in (("suspended and resumed", 0), ("copied ahead", ROUNDS)):
                    store = Path(place) / f"store{number}-{ahead}"
                    worker.gap_s, begun = 0.0, time.monotonic()
                    moved = move(root, "job", names[at], names[1 - at], store, ahead)
                    whole_s = time.monotonic() - begun
                    at = 1 - at
                    time.sleep(0.3)  # so that the worker sees its gap's end
                    rows.append(_row(how, moved, worker.gap_s, whole_s, Path(place)))
            worker.check()
            worker.device.close()
        finally:
            for server in servers:
                server.stop()
    return rows


def _row(how: str, moved: Moved, gap_s: float, whole_s: float, place: Path) -> Row:
    last = moved.rounds[-1].stored_bytes
    plain_s = transfer_s(place, max(last, 1))
    return Row(
        how, round(moved.pause_s, 4), round(gap_s, 4), round(whole_s, 3), round(last / MIB, 2),
        round(plain_s, 4), round(moved.pause_s - plain_s, 4),
    )  # fmt: skip


def table(rows: list[Row]) -> str:
    heads = ("pause s", "gap s", "whole s", "last MiB", "plain s", "beyond s")
    lines = [f"{'':24}" + "".join(f"{head:>10}" for head in heads)]
    for row in rows:
        _, *values = asdict(row).values()
        lines.append(f"{row.how:24}" + "".join(f"{value:10}" for value in values))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", default="opencl:0", help="URI of the device (opencl:0)")
    parser.add_argument("--mib", type=int, default=1024, help="size of the job's buffers")
    parser.add_argument("--hot-mib", type=int, default=64, help="of them, what it writes to")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="of the store")
    parser.add_argument("--json", type=Path, help="write the JSON here")
    given = parser.parse_args()
    rows = measure(given.device, given.mib * MIB, given.hot_mib * MIB, given.rounds, given.folder)
    stopped, ahead = (
        statistics.median(row.pause_s for row in rows if row.how.startswith(how))
        for how in ("suspended", "copied")
    )
    found = {
        "benchmark": "migrate", "device": given.device, "mib": given.mib, "hot_mib": given.hot_mib,
        "ratio": round(ahead / stopped, 4), "rows": [asdict(row) for row in rows],
    }  # fmt: skip
    print(f"a job of {given.mib} MiB, {given.hot_mib} of them hot, on {given.device}")
    print(table(rows))
    print(f"pause, copied ahead against suspended and resumed: {ahead / stopped:.3f} (medians)")
    report(found, given.json)


if __name__ == "__main__":
    main()
