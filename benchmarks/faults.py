"""What faults cost the elastic policy's jobs, with and without saving them.

    python benchmarks/faults.py --traces /work/shared/traces [--seeds 5] [--out FILE]

W1 (480 Philly jobs on 16 nodes of 4) under the same faults side by side: nodes that fail at random,
a quarter of them lost at once, the same told half an hour before. Halting, saving and restoring are
charged (`sim/costs.py`). Means over the seeds that faults are drawn from.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from _machine import report

from scheduler.policies.elastic import Elastic
from scheduler.policies.round import ElasticParams
from scheduler.sim.cluster import read_cluster
from scheduler.sim.costs import Costs
from scheduler.sim.faults import read_faults
from scheduler.sim.run import simulate
from scheduler.sim.workload import Elasticity, Tiers, jobs_of
from scheduler.traces.readers import read
from scheduler.traces.select import W1

RANDOM = {f"nodes fail every {n}": f"node:mtbf={n},mttr=4h" for n in ("30d", "5d", "1d")}
LOST = "a quarter lost at 10 h, for 2 h"
TOLD = "the same, told 30 min before"
ONCE = {
    LOST: "outage:nodes=node0-[0-3],at=10h,lasts=2h",
    TOLD: "drain:nodes=node0-[0-3],at=570m,notice=30m,lasts=2h",
}
KEYS = ("average_h", "p99_h", "makespan_h")
COUNTS = ("losses", "restarts", "anew", "anew_after_checkpoint", "lost_h", "saves", "goodput")


def rows(traces: Path, seeds: int) -> Iterable[dict[str, Any]]:
    trace = W1.of(read(str(traces / "philly/philly_jobs.csv")))
    cluster = read_cluster("16x4xV100")
    specs = jobs_of(trace, "gpu", cluster.devices, Elasticity(), Tiers(), 1)
    cases = [*RANDOM.items(), *ONCE.items()]
    for name, words in [("none", "store:mtbf=9y,mttr=1s"), *cases]:
        for saves in (False, True):
            found = []
            for seed in range(1, 1 + (seeds if name in RANDOM else 1)):
                by = Elastic(ElasticParams(saves=saves))
                faults = read_faults(words)
                result = simulate(trace, specs, cluster, by, Costs(), faults=faults, seed=seed)
                assert result.faults is not None and not result.failed
                found.append({**asdict(result.figures), **asdict(result.faults)})
            averaged = {key: mean(each[key] for each in found) for key in (*KEYS, *COUNTS)}
            yield {"faults": name, "words": words, "saved": saves, **averaged, "runs": found}


def show(row: dict[str, Any]) -> None:
    cells = [f"{row[key]:9.2f}" for key in (*KEYS, *COUNTS[:-2])]
    cells += [f"{row['saves']:8.0f}", f"{100 * row['goodput']:8.1f}"]
    how = "saved" if row["saved"] else ""
    print(f"{row['faults']:34}{how:6}{' '.join(cells)}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, required=True, help="folder of the public traces")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON; else to the terminal")
    chosen = parser.parse_args()
    print(f"{'':40}    avg h     p99 h     all h    losses  restarts      anew   had one    lost h"
          "    saves goodput%", file=sys.stderr)  # fmt: skip
    found = []
    for row in rows(chosen.traces, chosen.seeds):
        show(row)
        found.append(row)
    report({"benchmark": "faults", "costs": asdict(Costs()), "found": found}, chosen.out)


if __name__ == "__main__":
    main()
