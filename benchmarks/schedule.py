"""The elastic policy on public traces, beside what others published on the same jobs.

    python benchmarks/schedule.py --traces /work/shared/traces [--only w1 w2 ...] [--out FILE]

Halting is charged to ours (Singularity's times), not to the peers'. How victims are chosen was
decided with W1, W2 and the tiers on ITP 05 in view; the `held-out` Philly windows were run
afterwards, once, and nothing was changed for them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from _machine import report

from scheduler.audit import Audit
from scheduler.disruption import Disruption
from scheduler.policies.elastic import Elastic
from scheduler.policies.guarantee import PROMISES
from scheduler.policies.named import policy
from scheduler.policies.policy import Policy
from scheduler.policies.round import ElasticParams
from scheduler.sim.cluster import Cluster, read_cluster
from scheduler.sim.costs import Costs
from scheduler.sim.measure import percentile
from scheduler.sim.models import GAVEL, Throughputs, train
from scheduler.sim.run import Result, simulate
from scheduler.sim.workload import RIGID, Elasticity, Tiers, jobs_of
from scheduler.traces.readers import read
from scheduler.traces.select import W1, Selection
from scheduler.traces.trace import Trace

Rows = list[dict[str, Any]]
TYPES = "6x4xV100,5x4xP100,5x4xK80"
HOST_BOUND = "Recommendation, batch 2048"
PEERS: dict[str, Rows] = {  # average, p99, makespan in hours, unfair share: see docs/scheduler.md
    "w1": [
        {"policy": "Tiresias 2D-LAS", "average_h": 1.19, "p99_h": 25.5, "unfair": 0.098},
        {"policy": "Tiresias SRTF, oracle", "average_h": 1.14, "p99_h": 26.4, "unfair": 0.023},
    ],
    "w2": [
        {"policy": "Tiresias 2D-LAS", "average_h": 10.7, "p99_h": 99.0, "unfair": 0.165},
        {"policy": "Tiresias SRTF, oracle", "average_h": 8.13, "p99_h": 103.0, "unfair": 0.039},
    ],
    "types": [
        {"policy": "Gavel, type-blind", "average_h": 2.27, "p99_h": 35.9, "makespan_h": 81.1},
        {"policy": "Gavel, type-aware", "average_h": 1.91, "p99_h": 36.8, "makespan_h": 57.9},
    ],
}


def row(name: str, result: Result, **more: Any) -> dict[str, Any]:
    return {"policy": name, **asdict(result.figures), "cpu_s": round(result.cpu_s, 1), **more}


def run(trace: Trace, cluster: Cluster, by: Policy, elasticity: Elasticity | None = None) -> Result:
    specs = jobs_of(trace, "gpu", cluster.devices, elasticity or Elasticity(), Tiers(), 1)
    return simulate(trace, specs, cluster, by, Costs())


def alike(trace: Trace, word: str) -> Rows:
    cluster = read_cluster(word)
    return [
        row("elastic", run(trace, cluster, Elastic())),
        row("elastic, half can be resized", run(trace, cluster, Elastic(), Elasticity(0.5))),
        row("elastic, nobody can be resized", run(trace, cluster, Elastic(), RIGID)),
    ]


def w1(traces: Path) -> Rows:
    return alike(W1.of(read(str(traces / "philly/philly_jobs.csv"))), "16x4xV100")


def w2(traces: Path) -> Rows:
    return alike(read(str(traces / "itp/cluster06.csv")), "16x8xV100")


def w3(traces: Path) -> Rows:
    trace = read(str(traces / "itp/cluster04.csv"))
    return [row("elastic", run(trace, read_cluster("80x8xV100"), Elastic()))]


def held_out(traces: Path) -> Rows:
    """Other windows of Philly at W1's load, and another ITP cluster at W2's."""
    rows: Rows = []
    philly = read(str(traces / "philly/philly_jobs.csv"))
    for first in (5000, 15000, 25000, 36000, 55000):
        trace = Selection(120, 36 * 3600, 8, first, 480).of(philly)
        nodes = max(4, round(16 * trace.offered_load(64) / 1.25))
        cluster = read_cluster(f"{nodes}x4xV100")
        for name in ("elastic", "las"):
            found = run(trace, cluster, policy(name))
            rows.append(row(f"{name}, Philly {first} on {4 * nodes}", found))
    trace = read(str(traces / "itp/cluster05.csv"))
    nodes = max(8, round(trace.offered_load(8) / 0.68))
    for name in ("elastic", "las"):
        found = run(trace, read_cluster(f"{nodes}x8xV100"), policy(name))
        rows.append(row(f"{name}, ITP 05 on {8 * nodes}", found))
    return rows


def types(traces: Path) -> Rows:
    trace = W1.of(read(str(traces / "philly/philly_jobs.csv")))
    cluster = read_cluster(TYPES)
    without: Throughputs = {name: GAVEL[name] for name in GAVEL if name != HOST_BOUND}
    rows: Rows = []
    for seed in (1, 2, 3):
        for table, models in (("", GAVEL), (", no recommender", without)):
            for aware in (True, False):
                specs = jobs_of(trace, "gpu", 20, Elasticity(), Tiers(), seed)
                specs = train(specs, models, seed)
                by = Elastic(ElasticParams(type_aware=aware))
                name = f"elastic, type-{'aware' if aware else 'blind'}{table}, seed {seed}"
                rows.append(row(name, simulate(trace, specs, cluster, by, Costs())))
    return rows


def tiers(traces: Path) -> Rows:
    """A fifth is premium, two fifths standard; all can be resized, then half; on ever fewer
    nodes."""
    rows: Rows = []
    for share, said in ((1.0, ""), (0.5, ", half")):
        for name, sizes in (("05", (16, 12, 8, 6)), ("06", (24, 16, 12))):
            trace = read(str(traces / f"itp/cluster{name}.csv"))
            for nodes in sizes:
                for by in ("elastic", "priority"):
                    title = f"{by}, ITP {name} on {8 * nodes}{said}"
                    rows.append(_tiers(trace, title, nodes, policy(by), Elasticity(share)))
    return rows


def _tiers(
    trace: Trace, name: str, nodes: int, by: Policy, elasticity: Elasticity
) -> dict[str, Any]:
    cluster = read_cluster(f"{nodes}x8xV100")
    specs = jobs_of(trace, "gpu", cluster.devices, elasticity, Tiers(0.2, 0.4), 1)
    audit = Audit({uri: part for uri, _, part in cluster.each()})
    watched: list[Disruption] = []

    def recorders(machine: Any) -> tuple[Any, ...]:
        watched.append(Disruption(machine))
        return audit, watched[0]

    result = simulate(trace, specs, cluster, by, Costs(), recorders)
    assert result.machine is not None
    fractions = audit.fractions(result.machine.jobs)
    kept: dict[str, Any] = {}
    for tier, promise in PROMISES.items():
        hours = [found.worst_hour for found in fractions if found.tier == tier]
        kept[f"{tier}_worst_hour"] = round(min(hours, default=1.0), 3)
        kept[f"{tier}_below"] = sum(hour < promise.fraction for hour in hours)
    over = watched[0].over_requested() or [0.0]
    got = watched[0].over_got() or [0.0]
    return row(
        name, result, evictions=watched[0].evictions, over_requested_p99=percentile(over, 0.99),
        over_requested_mean=sum(over) / len(over), over_got_p99=percentile(got, 0.99), **kept,
    )  # fmt: skip


PARTS: dict[str, Callable[[Path], Rows]] = {
    "w1": w1,
    "w2": w2,
    "w3": w3,
    "types": types,
    "tiers": tiers,
    "held-out": held_out,
}


def show(part: str, rows: Rows) -> None:
    print(f"\n{part:38}  avg h   p99 h   all h  unfair  halts resizes  CPU s", file=sys.stderr)
    for found in (*PEERS.get(part, ()), *rows):
        cells = [
            f"{found[key] * scale:7.2f}" if key in found else "      -"
            for key, scale in (
                ("average_h", 1), ("p99_h", 1), ("makespan_h", 1), ("unfair", 100),
                ("preemptions_per_job", 1), ("resizes_per_job", 1), ("cpu_s", 1),
            )
        ]  # fmt: skip
        print(f"{found['policy']:38}{' '.join(cells)}", file=sys.stderr)
        if "evictions" in found:
            keys = ("premium_worst_hour", "premium_below", "standard_worst_hour", "standard_below")
            told = [f"{key} {found[key]}" for key in (*keys, "evictions")]
            told += [f"{key} {found[key]:.2f}" for key in found if key.startswith("over_")]
            print("    " + ", ".join(told), file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, required=True, help="folder of the public traces")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--out", type=Path, help="JSON; else to the terminal")
    chosen = parser.parse_args()
    found: dict[str, object] = {}
    for part in chosen.only:
        rows = PARTS[part](chosen.traces)
        show(part, rows)
        found[part] = {"ours": rows, "peers": PEERS.get(part, [])}
    assumed = {"elasticity": asdict(Elasticity()), "costs": asdict(Costs()), "throughputs": GAVEL}
    report({"benchmark": "scheduler", "assumed": assumed, "found": found}, chosen.out)


if __name__ == "__main__":
    main()
