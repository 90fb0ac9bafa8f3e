"""What hal.serve costs over a bare session of the compiler, on the same device in the same run.

    python benchmarks/serving.py [--device URI] [--calls N] [--json FILE]

The nets of examples/models (trained first), one inference a call: by compiler.runtime.Session, by
hal.serve, in a session of hal.serve, and awaited by hal.serve_async, in alternating rounds. Time is
the process's own, all threads together, best of the calls: on a simulated FPGA the simulation is
most of it, on the CPU the golden model.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _machine import report
from rich.console import Console
from rich.table import Table

import hal
from compiler import compile_onnx
from compiler.runtime import Session

EXAMPLE = Path(__file__).parents[1] / "examples" / "models" / "train.py"
NETS = ("mlp", "lstm")
DIMS = {"lstm": {"steps": 8}}
TRAIN_TIMEOUT_S = 600
WAYS = ("bare session", "hal.serve", "its session", "hal.serve_async")


def best_ms(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for way, call in calls.items():
            begin = time.process_time()
            call()
            best[way] = min(best[way], 1e3 * (time.process_time() - begin))
    return best


def measured(path: Path, uri: str, rounds: int) -> dict[str, float]:
    with np.load(path.with_suffix(".npz")) as samples:
        x = samples["x"][0]
    compiled = compile_onnx(path, dims=DIMS.get(path.stem))
    loop = asyncio.new_event_loop()
    overlay = None
    if "overlay" in formats(uri):
        from hal.backends.fpga.overlays import overlay as shipped

        overlay = shipped(compiled.overlay)
    opening = hal.serve_async(path, uri, dims=DIMS.get(path.stem))
    with (
        hal.open_device(uri, overlay) as device,
        device.open_context() as context,
        Session(context, compiled) as bare,
        hal.serve(path, uri, dims=DIMS.get(path.stem)) as model,
    ):
        awaited, session = loop.run_until_complete(opening.__aenter__()), model.session()
        calls: tuple[Callable[[], object], ...] = (
            lambda: bare.run({"x": x}),
            lambda: model(x),
            lambda: session(x),
            lambda: loop.run_until_complete(awaited(x)),
        )
        found = best_ms(dict(zip(WAYS, calls, strict=True)), rounds)
        loop.run_until_complete(awaited.close())
        loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    return found


def formats(uri: str) -> tuple[str, ...]:
    return next(info.caps.formats for info in hal.list_devices() if info.uri == uri)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", action="append", help="default: cpu:0 and fpga-sim:0")
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(EXAMPLE), *NETS, "--out", folder]
        subprocess.run(command, check=True, timeout=TRAIN_TIMEOUT_S)
        for device in args.device or ("cpu:0", "fpga-sim:0"):
            for net in NETS:
                rows[f"{net} on {device}"] = measured(
                    Path(folder, f"{net}.onnx"), device, args.calls
                )
    table = Table("one inference", *WAYS, title="ms of the process (ratio to the bare session)")
    for what, found in rows.items():
        base = found[WAYS[0]]
        table.add_row(what, *(f"{ms:.2f} ({ms / base:.2f})" for ms in found.values()))
    Console().print(table)
    report({"ms": rows}, args.json)


if __name__ == "__main__":
    main()
