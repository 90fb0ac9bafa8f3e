"""Windows of maintenance: when which node is drained by CP-SAT, by greedy, and evenly by name.

    python benchmarks/windows.py --traces /work/shared/traces [--out FILE]

Philly's W1 on 16 nodes of 4 under `elastic`, a fifth premium, three tenths standard; every node is
out once for 40 minutes, told 20 minutes before, within a window of 12 hours that begins at several
hours of the trace. Halting is charged. Halts and resizings are of the whole run. Undone: nodes that
could not go without breaking a promise; whoever goes evenly by name does not ask.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

from _machine import report

from scheduler.policies.choices import CP_SAT, GREEDY
from scheduler.policies.elastic import Elastic
from scheduler.sim.cluster import read_cluster
from scheduler.sim.costs import Costs
from scheduler.sim.faults import Faults, Planned, read_faults
from scheduler.sim.run import Result, simulate
from scheduler.sim.workload import RIGID, Elasticity, Tiers, jobs_of
from scheduler.traces.readers import read
from scheduler.traces.select import W1
from scheduler.traces.trace import Trace

NODES, NOTICE_S, LASTS_S = 16, 1200.0, 2400.0
STARTS_H = (4, 8, 12, 16, 20, 24, 28, 32)
HOURS = 12


def faults_of(how: str, at_h: int) -> Faults:
    if how == "evenly":
        turns = (at_h * 3600 + n * HOURS // NODES * 3600.0 for n in range(NODES))
        return Faults(
            planned=tuple(
                Planned(f"node0-{n}", at_s, LASTS_S, NOTICE_S) for n, at_s in enumerate(turns)
            )
        )
    words = f"within={HOURS}h,notice={NOTICE_S:g}s,lasts={LASTS_S:g}s"
    return read_faults(f"window:nodes=*,at={at_h}h,{words}")


def run(trace: Trace, elasticity: Elasticity, how: str, at_h: int) -> Result:
    specs = jobs_of(trace, "gpu", 4 * NODES, elasticity, Tiers(0.2, 0.3), 1)
    cluster = read_cluster(f"{NODES}x4xV100")
    solver = CP_SAT if how == CP_SAT else GREEDY
    faults = faults_of(how, at_h)
    return simulate(trace, specs, cluster, Elastic(), Costs(), faults=faults, solver=solver)


def rows(traces: Path) -> list[dict[str, Any]]:
    trace = W1.of(read(str(traces / "philly/philly_jobs.csv")))
    found = []
    for name, elasticity in (("can be resized", Elasticity()), ("cannot", RIGID)):
        for how in ("evenly", GREEDY, CP_SAT):
            runs = [run(trace, elasticity, how, at_h) for at_h in STARTS_H]
            assert not any(r.failed for r in runs)
            row = {
                "jobs": name,
                "chosen": how,
                "halts": fmean(sum(d.preemptions for d in r.done) for r in runs),
                "resizes": fmean(sum(d.resizes for d in r.done) for r in runs),
                "undone": fmean(NODES - r.faults.losses for r in runs if r.faults),
                "average_h": fmean(r.figures.average_h for r in runs),
                "lost_h": fmean(r.faults.lost_h for r in runs if r.faults),
                "cpu_s": fmean(r.cpu_s for r in runs),
            }
            print(row, file=sys.stderr, flush=True)
            found.append(row)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    report({"benchmark": "windows", "found": rows(args.traces)}, args.out)
