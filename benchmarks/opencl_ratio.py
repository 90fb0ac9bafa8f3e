"""What an unmodified OpenCL program pays for being haltable: `haltere run` against native.

    python benchmarks/opencl_ratio.py [--rounds N] [--fast] [--json FILE]

The same program twice in one run, with the device's own driver and under `haltere run`, in
alternating rounds; medians, and their ratio (below 1: through the proxy is faster). Then tinygrad's
training loops (examples/train_tinygrad.py) likewise, whose weights must be equal. A table goes to
the terminal, JSON with the machine's facts to FILE or after the table. `--fast`: no training.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pyopencl
from _machine import machine_facts
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
PROXIED = [str(Path(sys.executable).with_name("haltere")), "run", "--device", "opencl:0", "--"]


@dataclass(frozen=True)
class Side:
    before: list[str]
    environment: dict[str, str]


def both_sides(folder: Path, root: str) -> dict[str, Side]:
    """Programs that are not pyopencl find PoCL, in its wheel, by a loader's folder of vendors.
    `root`: of the proxy, so that no other program is on the server that is measured."""
    own = dict(os.environ)
    drivers = list(Path(pyopencl.__file__).parent.glob(".libs/libpocl*.so"))
    if drivers and "OCL_ICD_VENDORS" not in own:
        (folder / "pocl.icd").write_text(f"{drivers[0]}\n")
        own["OCL_ICD_VENDORS"] = str(folder)
    proxied = {**os.environ, "HALTERE_PROXY_ROOT": root}
    return {"native": Side([], own), "proxied": Side(PROXIED, proxied)}


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


def train(side: Side, net: str, steps: int, cache: str) -> tuple[float, str]:
    """Seconds a step, and the digest of the weights."""
    command = [
        *side.before,
        sys.executable,
        str(TRAIN),
        "--net",
        net,
        "--steps",
        str(steps),
        "--times",
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**side.environment, "CACHEDB": cache},
        timeout=900,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: status {done.returncode}\n{done.stderr[-2000:]}")
    words = dict(line.split()[:2] for line in done.stdout.splitlines() if " " in line)
    return float(words["median_step_ms"]) / 1e3, words["weights"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    measured: dict[str, dict[str, list[float]]] = {}

    folder, root = tempfile.TemporaryDirectory(), tempfile.TemporaryDirectory(dir="/dev/shm")
    sides = both_sides(Path(folder.name), root.name)
    programs = {side: Calls(found) for side, found in sides.items()}
    for _ in track(range(given.rounds), "calls", console=Console(stderr=True)):
        for name in programs["native"].names:
            for side, calls in programs.items():
                measured.setdefault(name, {}).setdefault(side, []).append(calls.seconds(name))
    for calls in programs.values():
        calls.close()

    digests: dict[str, dict[str, str]] = {}
    if not given.fast:
        for net in ("mlp", "conv"):
            for number in track(range(4), f"tinygrad {net}", console=Console(stderr=True)):
                for side, found in sides.items():
                    seconds, digest = train(found, net, 200, f"{folder.name}/{side}.db")
                    digests.setdefault(net, {})[side] = digest
                    if number:  # the first compiles
                        times = measured.setdefault(f"tinygrad {net}", {})
                        times.setdefault(side, []).append(seconds)
    folder.cleanup()

    table = Table(title="through haltere's proxy, against the device's own driver")
    for column in ("what", "native us", "proxied us", "ratio", "aim"):
        table.add_column(column, justify="left" if column == "what" else "right")
    rows = {}
    for name, found in measured.items():
        native, proxied = (statistics.median(found[side]) for side in ("native", "proxied"))
        rows[name] = {
            "native_us": native * 1e6,
            "proxied_us": proxied * 1e6,
            "ratio": proxied / native,
            "aim": AIMS[name],
        }
        cells = (f"{native * 1e6:,.1f}", f"{proxied * 1e6:,.1f}", f"{proxied / native:.2f}")
        table.add_row(name, *cells, f"<= {AIMS[name]}")
    Console().print(table)
    for net, by_side in digests.items():
        same = by_side["native"] == by_side["proxied"]
        print(f"weights of {net}: {by_side['native']}, {'equal' if same else 'DIFFERENT'}")
    text = json.dumps({"machine": machine_facts(), "opencl_ratio": rows, "weights": digests})
    if given.json:
        given.json.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
