"""All figures of haltable RTL in one table: proof, area, simulation, save and load, preemption.

    python benchmarks/haltable_rtl.py [--fast]

Runs prove.py, capture_area.py, capture_rate.py and preempt_latency.py one after another, which say
what each figure means, and shows what they found: the table on standard error, their JSON under
their names on standard output. Without `--fast` it takes hours, most of them synthesis of the
corpus; with it a few small designs, some minutes. Ends with status 1 when a proof found something.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

HERE: Final = Path(__file__).parent
TIMEOUT_S: Final = 6 * 3600.0
# benchmark -> arguments: of all designs, of a few small ones
RUNS: Final = {
    "prove": ([], ["--pairs", "1000", "async_fifo", "dual_port", "rv32", "uart"]),
    "capture_area": (
        ["--lanes", "32", "--freeze", "enable"],
        ["--lanes", "32", "--freeze", "enable", "async_fifo", "uart"],
    ),
    "capture_rate": ([], ["--rounds", "3", "checksum"]),
    "preempt_latency": ([], ["--samples", "50", "checksum"]),
}
Row = tuple[str, str, str, str, str]  # figure, design, haltable, compared with, ratio


def run(benchmark: str, arguments: Sequence[str]) -> dict[str, Any]:
    """What it found. prove.py ends with status 1 when it found something, and says so in JSON."""
    done = subprocess.run(
        [sys.executable, HERE / f"{benchmark}.py", *arguments],
        stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    start = done.stdout.find("{")  # a table for people may stand before it
    if start < 0:
        raise SystemExit(f"{benchmark}.py ended with status {done.returncode} and no figures")
    found: dict[str, Any] = json.loads(done.stdout[start:])
    return found


def proofs(found: dict[str, Any]) -> Iterator[Row]:
    for design, proof in found["prove"].items():
        if "refused" in proof:
            yield "proof", design, "refused", proof["refused"], ""
            continue
        verdict = "no divergence" if proof["divergence"] is None else "DIVERGED"
        bits = f"{proof['covered_bits']} of {proof['state_bits']} bits seen 0 and 1"
        yield "proof", design, f"{proof['pairs']} pairs, {verdict}", bits, ""


def areas(found: dict[str, Any]) -> Iterator[Row]:
    for design, modes in found["capture_area"].items():
        for mode, figures in modes.items():
            if "refused" in figures:
                yield f"area, {mode}", design, "refused", figures["refused"], ""
            for family, area in figures.get("area", {}).items():
                for part in ("lut", "ff"):
                    before, after = area["before"][part], area["after"][part]
                    factor = figures["factor"][family][part]
                    figure = f"{part.upper()}s, {family}, {mode}"
                    ratio = "" if factor is None else f"{factor:.2f}"
                    yield figure, design, f"{after:,}", f"{before:,} as written", ratio


def rates(found: dict[str, Any]) -> Iterator[Row]:
    for design, rate in found["capture_rate"].items():
        for kind in ("busy", "idle"):
            speeds = rate[f"{kind}_cycles_per_s"]
            yield (
                f"simulation, {kind}, cycles per CPU-second", design, f"{speeds['captured']:,}",
                f"{speeds['rtl']:,} as written", f"{rate[f'{kind}_ratio']['captured']:.2f}",
            )  # fmt: skip
        moves = rate["moves"]
        for what in ("save", "load"):
            counted, formula = moves["cycles"][what], moves["formula"][what]
            sizes = f"{formula:,} by {moves['rows']} rows, {moves['words']} words"
            figure = f"{what}, cycles counted"
            yield figure, design, f"{counted:,}", sizes, f"{counted / formula:.2f}"


def preemptions(found: dict[str, Any]) -> Iterator[Row]:
    for design, sample in found["preempt_latency"].items():
        percentiles = "/".join(f"p{value}" for value in sample["percentiles"])
        left = f"{_slashed(sample['kernel_left'])} to the kernel's end"
        for what in ("to_frozen", "to_saved"):
            ratio = sample[what][0] / max(sample["kernel_left"][0], 1)
            figure = f"preemption {what.replace('_', ' ')}, cycles, {percentiles}"
            yield figure, design, _slashed(sample[what]), left, f"{ratio:.3f}"


def _slashed(values: Sequence[int]) -> str:
    return "/".join(f"{value:,}" for value in values)


SHOWN: Final = {
    "prove": proofs,
    "capture_area": areas,
    "capture_rate": rates,
    "preempt_latency": preemptions,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fast", action="store_true", help="a few small designs: minutes")
    fast = parser.parse_args().fast
    table = Table("figure", "design", "haltable", "compared with", "ratio", title="Haltable RTL")
    results = {}
    for name, arguments in RUNS.items():
        results[name] = run(name, arguments[fast])
        for row in SHOWN[name](results[name]):
            table.add_row(*row)
        table.add_section()
    Console(stderr=True, width=None if sys.stderr.isatty() else 140).print(table)
    print(json.dumps(results, indent=1))
    return 1 if results["prove"]["total"]["not_ok"] else 0


if __name__ == "__main__":
    sys.exit(main())
