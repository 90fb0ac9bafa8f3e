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
from pathlib import Path

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
PROXIED = [str(Path(sys.executable).with_name("haltere")), "run", "--"]


class Calls:
    """`opencl_calls.py` on one side."""

    def __init__(self, before: list[str]) -> None:
        self._process = subprocess.Popen(
            [*before, sys.executable, str(HERE / "opencl_calls.py")],
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


def train(before: list[str], net: str, steps: int, cache: str) -> tuple[float, str]:
    """Seconds a step, and the digest of the weights."""
    command = [*before, sys.executable, str(TRAIN), "--net", net, "--steps", str(steps), "--times"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "CACHEDB": cache}, timeout=900
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

    sides = {"native": Calls([]), "proxied": Calls(PROXIED)}
    for _ in track(range(given.rounds), "calls", console=Console(stderr=True)):
        for name in sides["native"].names:
            for side, calls in sides.items():
                measured.setdefault(name, {}).setdefault(side, []).append(calls.seconds(name))
    for calls in sides.values():
        calls.close()

    digests: dict[str, dict[str, str]] = {}
    if not given.fast:
        with tempfile.TemporaryDirectory() as cache:
            for net in ("mlp", "conv"):
                for number in track(range(4), f"tinygrad {net}", console=Console(stderr=True)):
                    for side, before in (("native", []), ("proxied", PROXIED)):
                        seconds, digest = train(before, net, 200, f"{cache}/{side}.db")
                        digests.setdefault(net, {})[side] = digest
                        if number:  # the first compiles
                            found = measured.setdefault(f"tinygrad {net}", {})
                            found.setdefault(side, []).append(seconds)

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
