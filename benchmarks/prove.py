"""Proofs over the corpus: halts, divergences, state bits covered, and what running costs.

    python benchmarks/prove.py [--pairs N] [--seed S] [DESIGN...]

N (stimulus, cycle) pairs over all designs together, in equal shares. `ratio` is rows a second of
the captured design with sp_run 1 over the original, the same rows in the same harness, alternating,
the best of several rounds. Designs that capture refuses are listed, not hidden. Prints a table to
standard error and JSON to standard output; ends with status 1 when anything diverged.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _machine import machine_facts

from rtl_sim.capture import CaptureError
from rtl_sim.design import load_design
from rtl_sim.errors import SimError
from rtl_sim.prove.builds import Builds, build
from rtl_sim.prove.stimulus import Stimulus
from rtl_sim.prove.tool import examine
from rtl_sim.verilated.halting import HaltablePlayer
from rtl_sim.verilated.player import Player, Rows

CORPUS = Path(__file__).parents[1] / "tests" / "rtl" / "corpus"
PAIRS = 10_000
RATE_ROWS = 60_000
ROUNDS = 5


def rates(builds: Builds, seed: int) -> dict[str, float]:
    """Rows a second of both, with one stimulus."""
    captured = builds.captured[0]
    with (
        Player(builds.original) as original,
        HaltablePlayer(captured.library, captured.state_map) as running,
    ):
        design = builds.design
        source = Stimulus(
            original.inputs, captured.state_map.clocks, design.resets, design.hold,
            np.random.default_rng(seed),
        )  # fmt: skip
        parts = [source.start()]
        while sum(map(len, parts)) < RATE_ROWS:
            parts.append(source.burst())
        rows = np.concatenate(parts)
        best = {"original": 0.0, "captured": 0.0}
        for _ in range(ROUNDS):
            for name, player in (("original", original), ("captured", running)):
                best[name] = max(best[name], _rate(player, rows))
    return {
        "original_rows_per_s": round(best["original"]),
        "captured_rows_per_s": round(best["captured"]),
        "ratio": round(best["captured"] / best["original"], 2),
    }


def _rate(player: Player | HaltablePlayer, rows: Rows) -> float:
    began = time.process_time()
    player.play(rows)
    return len(rows) / (time.process_time() - began)


def measure(name: str, pairs: int, seed: int) -> dict[str, object]:
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as folder:
            builds = build(load_design(CORPUS / name / "design.toml"), Path(folder))
            built = time.monotonic()
            report = examine(builds, pairs=pairs, seed=seed, control=True)
            return {
                **report.as_dict(),
                "build_s": round(built - began, 1),
                **rates(builds, seed),
            }
    except (CaptureError, SimError) as error:
        return {"refused": f"{error.code}: {error}"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    every = sorted(path.parent.name for path in CORPUS.glob("*/design.toml"))
    parser.add_argument("designs", nargs="*", default=every)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    share = -(-options.pairs // len(options.designs))
    results: dict[str, dict[str, object]] = {}
    layout = "{:14} {:>7} {:>10} {:>15} {:>9} {:>7} {:>7}"
    print(layout.format("design", "pairs", "divergence", "bits", "cycles", "s", "ratio"),
          file=sys.stderr)  # fmt: skip
    for name in options.designs:
        found = results[name] = measure(name, share, options.seed)
        if "refused" in found:
            print(f"{name:14} {str(found['refused'])[:120]!r}", file=sys.stderr)
            continue
        print(
            layout.format(
                name, found["pairs"], "none" if found["divergence"] is None else "YES",
                f"{found['covered_bits']}/{found['state_bits']}", found["cycles"],
                found["seconds"], found["ratio"],
            ), file=sys.stderr,
        )  # fmt: skip
    done = [found for found in results.values() if "refused" not in found]
    totals = {
        "pairs": sum(int(str(found["pairs"])) for found in done),
        "divergences": sum(found["divergence"] is not None for found in done),
        "not_ok": [name for name, found in results.items() if not found.get("ok", False)],
    }
    print(f"{'total':14} {totals['pairs']:>7} {totals['divergences']:>10}", file=sys.stderr)
    print(json.dumps({"machine": machine_facts(), "prove": results, "total": totals}, indent=1))
    return 1 if totals["not_ok"] else 0


if __name__ == "__main__":
    sys.exit(main())
