"""Room made for jobs that wait since free shares are scattered: by CP-SAT, by greedy, not at all.

    python benchmarks/gather.py --traces /work/shared/traces [--nodes 64] [--out FILE]

Jobs are drawn from openb's pods (share, CPU, memory, accepted types) that fit some of the nodes,
which are openb's, every so many-th; they come at random moments, so that they ask for a given part
of the GPUs, and last an exponential time, two hours on average. Waits are all that a job was late,
moves included. Sooner, later: jobs by more than a minute. `alike` sets both beside each other on
the same problems, those that CP-SAT was asked: how many each could do, and what they cost where
both could.
Moves are charged: 20 s to halt, 30 s to restore. The same jobs for all three.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest.mock import patch

from _machine import report

from scheduler.core.values import FULL_MILLI
from scheduler.policies import gather
from scheduler.policies.choices import CP_SAT, GREEDY, Chosen, Problem, choose, greedy
from scheduler.policies.gather import Gather
from scheduler.policies.packing import Node
from scheduler.policies.sharing import Sharing
from scheduler.sim.cluster import of_nodes
from scheduler.sim.costs import Costs
from scheduler.sim.measure import Done, percentile
from scheduler.sim.run import Result, simulate
from scheduler.sim.workload import sharing_jobs_of
from scheduler.traces.readers import openb_hosts, openb_nodes
from scheduler.traces.trace import Trace, TraceJob, in_order

MEAN_S = 7200.0


def drawn(known: Trace, nodes: Sequence[Node], count: int, load: float, seed: int) -> Trace:
    """Jobs that can run there at all."""
    rng = random.Random(seed)
    able = [job for job in known.jobs if any(_fits(node, job) for node in nodes)]
    gpus = sum(len(node.free) for node in nodes)
    jobs = [rng.choice(able) for _ in range(count)]
    asked = fmean(job.count * job.share_milli / FULL_MILLI for job in jobs)
    every_s = asked * MEAN_S / (load * gpus)
    at_s = 0.0
    made = []
    for job in jobs:
        at_s += rng.expovariate(1 / every_s)
        made.append(replace(job, submitted_s=at_s, duration_s=60 + rng.expovariate(1 / MEAN_S)))
    return in_order("drawn from openb", made)


def _fits(node: Node, job: TraceJob) -> bool:
    return (
        job.cpu_milli <= node.cpu_milli
        and job.memory_mib <= node.memory_mib
        and (not job.types or node.model in job.types)
        and (not job.share_milli or job.count <= len(node.free))
    )


def run(trace: Trace, nodes: Sequence[Node], solver: str) -> tuple[Result, Sharing]:
    specs = sharing_jobs_of(trace, "gpu")
    policy = Sharing(specs, params=Gather(solver=solver) if solver else None)
    return simulate(trace, specs, of_nodes("openb", nodes), policy, Costs()), policy


class Alike:
    """In place of `gather.choose`: CP-SAT's answer, and greedy's noted beside it."""

    def __init__(self) -> None:
        self.asked = self.by_cp_sat = self.by_greedy = self.both = self.cheaper = self.proven = 0
        self.cost_cp_sat = self.cost_greedy = 0

    def choose(self, problem: Problem, solver: str) -> Chosen | None:
        found, known = choose(problem, solver), greedy(problem)
        self.asked += 1
        self.by_cp_sat += found is not None
        self.by_greedy += known is not None
        self.proven += found is not None and found.best
        if found is not None and known is not None:
            self.both += 1
            self.cost_cp_sat += found.cost
            self.cost_greedy += known.cost
            self.cheaper += found.cost < known.cost
        return found


def alike(trace: Trace, nodes: Sequence[Node]) -> dict[str, Any]:
    seen = Alike()
    with patch.object(gather, "choose", seen.choose):
        run(trace, nodes, CP_SAT)
    print(vars(seen), file=sys.stderr, flush=True)
    return vars(seen)


def wait_s(done: Done) -> float:
    return max(0.0, done.completion_s - done.duration_s)


def prepared(traces: Path, most: int) -> tuple[list[Node], Trace]:
    fleet = openb_nodes(traces / "openb/openb_node_list_gpu_node.csv")
    nodes = fleet[:: max(1, len(fleet) // most)]
    return nodes, openb_hosts(traces / "openb/openb_pod_list_default.csv")


def rows(known: Trace, nodes: list[Node], count: int, loads: Sequence[float]) -> list[Any]:
    found = []
    for load in loads:
        trace = drawn(known, nodes, count, load, 1)
        plain: dict[float, float] = {}
        for solver in ("", GREEDY, CP_SAT):
            result, policy = run(trace, nodes, solver)
            waits = {done.submitted_s: wait_s(done) for done in result.done}
            plain = plain or waits
            gathered = policy.gathered
            row = {
                "load": load,
                "by": solver or "not at all",
                "wait_s": fmean(waits.values()),
                "wait_p99_s": percentile(sorted(waits.values()), 0.99),
                "waited_60_s": sum(wait > 60 for wait in waits.values()),
                "sooner": sum(plain[at] - wait > 60 for at, wait in waits.items()),
                "later": sum(wait - plain[at] > 60 for at, wait in waits.items()),
                "gathered": len(gathered),
                "moves": sum(len(each.movers) for each in gathered),
                "cost_gpu_s": sum(each.cost_s for each in gathered),
                "by_greedy": sum(each.by == GREEDY for each in gathered),
                "failed": result.failed,
                "cpu_s": result.cpu_s,
            }
            print(row, file=sys.stderr, flush=True)
            found.append(row)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--jobs", type=int, default=6000)
    parser.add_argument("--loads", type=float, nargs="*", default=[0.8, 0.85, 0.9, 0.95])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    nodes, known = prepared(args.traces, args.nodes)
    both = alike(drawn(known, nodes, args.jobs // 2, 0.95, 2), nodes)
    found = rows(known, nodes, args.jobs, args.loads)
    report({"benchmark": "gather", "found": found, "alike": both}, args.out)
