"""What an unmodified OpenCL program pays for being haltable: `haltere run` against native.

    python benchmarks/opencl_ratio.py [--rounds N] [--fast] [--restarts N] [--calls NAME]
        [--json FILE]

The same program twice in one run, with the device's own driver and under `haltere run`, in
alternating rounds; medians, and their ratio (below 1: through the proxy is faster). Then tinygrad's
training loops (examples/train_tinygrad.py) likewise, whose weights must be equal. Where a process
finds its threads and pages makes one training up to twice as slow as the next, also natively: each
side is begun TRAININGS times, its best counts, and native a second time is a side of its own, whose
ratio says how much of the others is noise. A table goes to the terminal, JSON with the machine's
facts to FILE or after the table. `--fast`: no training.
`--restarts`: as of `haltere run`, so that what the program does is logged.
`--calls`: those whose names begin so. Of a program that writes much the log does not last.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyopencl
from _machine import report
from rich.console import Console
from rich.progress import track
from rich.table import Table

HERE = Path(__file__).parent
TRAIN = HERE.parent / "examples" / "train_tinygrad.py"
AIMS = {
    "enqueue of a tiny kernel": 1.0,
    "tiny kernels in a burst": 1.0,
    "launch and finish": 1.3,
    **{f"{way} {size}": 1.11 for way in ("write", "read") for size in ("1 KiB", "1 MiB", "64 MiB")},
    "tinygrad mlp": 1.01,
    "tinygrad conv": 1.01,
}
TURN_S = 0.5
TRAININGS, STEPS = 6, 100
PROXIED = [str(Path(sys.executable).with_name("haltere")), "run", "--device", "opencl:0"]


@dataclass(frozen=True)
class Side:
    before: list[str]
    environment: dict[str, str]


def both_sides(folder: Path, root: str, options: list[str]) -> dict[str, Side]:
    """Programs that are not pyopencl find PoCL, in its wheel, by a loader's folder of vendors.
    `root`: of the proxy, so that no other program is on the server that is measured."""
    own = dict(os.environ)
    drivers = list(Path(pyopencl.__file__).parent.glob(".libs/libpocl*.so"))
    if drivers and "OCL_ICD_VENDORS" not in own:
        (folder / "pocl.icd").write_text(f"{drivers[0]}\n")
        own["OCL_ICD_VENDORS"] = str(folder)
    proxied = {**os.environ, "HALTERE_PROXY_ROOT": root}
    return {"native": Side([], own), "proxied": Side([*PROXIED, *options, "--"], proxied)}


class Calls:
    """`opencl_calls.py` on one side."""

    def __init__(self, side: Side) -> None:
        self._process = subprocess.Popen(
            [*side.before, sys.executable, str(HERE / "opencl_calls.py")],
            env=side.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.names: list[str] = self._answer()

    def seconds(self, name: str) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def _answer(self):  # type: ignore[no-untyped-def]
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the measured program ended with status {self._process.wait(60)}")
        return json.loads(line)


def train(sides: dict[str, Side], net: str, steps: int, folder: Path) -> dict[str, dict[str, str]]:
    """What the training printed on each side, by first word. All run at once but take turns, so
    that a noisy machine is as noisy for one as for the others; the median step saw no turn end."""
    running = {}
    for name, side in sides.items():
        command = [*side.before, sys.executable, str(TRAIN), "--net", net, "--steps", str(steps)]
        cached = {**side.environment, "CACHEDB": str(folder / f"{name}.db")}
        with (folder / f"{name}.out").open("w") as out:
            running[name] = subprocess.Popen(
                [*command, "--times"], stdout=out, env=cached, start_new_session=True
            )
        _signal(running[name], signal.SIGSTOP)
    give_up = time.monotonic() + 900
    while time.monotonic() < give_up and any(one.poll() is None for one in running.values()):
        for process in running.values():
            if process.poll() is None:
                _signal(process, signal.SIGCONT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(TURN_S)
                _signal(process, signal.SIGSTOP)
    found = {}
    for name, process in running.items():
        if process.poll() != 0:
            _signal(process, signal.SIGKILL)
            raise SystemExit(f"{net}, {name}: the training ended with status {process.wait()}")
        lines = (folder / f"{name}.out").read_text().splitlines()
        found[name] = dict(line.split()[:2] for line in lines if " " in line)
    return found


def _signal(process: subprocess.Popen[bytes], which: int) -> None:
    with suppress(ProcessLookupError):  # all of its session: `haltere run` and the program
        os.killpg(process.pid, which)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--calls", default="")
    parser.add_argument("--restarts", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    measured: dict[str, dict[str, list[float]]] = {}

    folder, root = tempfile.TemporaryDirectory(), tempfile.TemporaryDirectory(dir="/dev/shm")
    options = ["--restarts", str(given.restarts)] if given.restarts else []
    sides = both_sides(Path(folder.name), root.name, options)
    programs = {side: Calls(found) for side, found in sides.items()}
    for _ in track(range(given.rounds), "calls", console=Console(stderr=True)):
        for name in programs["native"].names:
            if not name.startswith(given.calls):
                continue
            for side, calls in programs.items():
                measured.setdefault(name, {}).setdefault(side, []).append(calls.seconds(name))
    for calls in programs.values():
        calls.close()

    digests: dict[str, set[str]] = {}
    sides["again"] = sides["native"]
    for net in () if given.fast else ("mlp", "conv"):
        train(sides, net, 12, Path(folder.name))  # compiles
        for _ in track(range(TRAININGS), f"tinygrad {net}", console=Console(stderr=True)):
            for side, words in train(sides, net, STEPS, Path(folder.name)).items():
                digests.setdefault(net, set()).add(words["weights"])
                times = measured.setdefault(f"tinygrad {net}", {})
                times.setdefault(side, []).append(float(words["median_step_ms"]) / 1e3)
    folder.cleanup()

    table = Table(title="through haltere's proxy, against the device's own driver")
    for column in ("what", "native us", "proxied us", "ratio", "aim"):
        table.add_column(column, justify="left" if column == "what" else "right")
    rows: dict[str, dict[str, Any]] = {}
    for name, found in measured.items():
        of = min if "again" in found else statistics.median
        native, proxied = of(found["native"]), of(found["proxied"])
        rows[name] = {
            "native_us": native * 1e6,
            "proxied_us": proxied * 1e6,
            "ratio": proxied / native,
            "aim": AIMS[name],
        }
        if "again" in found:
            middle = {side: statistics.median(times) for side, times in found.items()}
            rows[name]["median_ratio"] = middle["proxied"] / middle["native"]
            rows[name]["native_again_ratio"] = of(found["again"]) / native
            rows[name]["native_again_median_ratio"] = middle["again"] / middle["native"]
            rows[name]["all_us"] = {side: [t * 1e6 for t in ts] for side, ts in found.items()}
        cells = (f"{native * 1e6:,.1f}", f"{proxied * 1e6:,.1f}", f"{proxied / native:.2f}")
        table.add_row(name, *cells, f"<= {AIMS[name]}")
    Console().print(table)
    for net, digest in digests.items():
        print(
            f"weights of {net}: {' '.join(digest)}, {'equal' if len(digest) == 1 else 'DIFFERENT'}"
        )
        of_net = rows[f"tinygrad {net}"]
        again, middle = of_net["native_again_ratio"], of_net["native_again_median_ratio"]
        print(f"native a second time: {again:.2f}, by medians {middle:.2f}; ", end="")
        print(f"proxied by medians: {of_net['median_ratio']:.2f}")
    weights = {net: sorted(digest) for net, digest in digests.items()}
    report({"opencl_ratio": rows, "restarts": given.restarts, "weights": weights}, given.json)


if __name__ == "__main__":
    main()
