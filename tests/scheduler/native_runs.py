"""Runs on both engines, for the tests of the native one; by itself, many on one that is given.

python native_runs.py LIBRARY SEED COUNT
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scheduler.core.values import JobSpec, Tier
from scheduler.native import cluster as native
from scheduler.policies.elastic import Elastic
from scheduler.policies.round import ElasticParams
from scheduler.sim import native as sim_native
from scheduler.sim.cluster import Cluster, read_cluster
from scheduler.sim.costs import FREE, Costs
from scheduler.sim.digest import Digest
from scheduler.sim.faults import Faults, read_faults
from scheduler.sim.run import Result, simulate
from scheduler.traces.trace import Trace, TraceJob, in_order

SIZES = (1, 1, 1, 2, 3, 4, 5, 8, 12)
CLUSTERS = ("3x4xA", "1x1xA", "2x3xA,2x5xB", "4x2xA,1x8xB,1x1xA", "2x64xA")
FAULTS = (
    "node:mtbf=20h,mttr=1h",
    "node:mtbf=9h,mttr=10m;straggler:mtbf=3h,mttr=1h,speed=0.3;store:mtbf=2h,mttr=30m,slow=7",
    "region:count=1,mtbf=10h,mttr=30m;device:mtbf=900h,mttr=1h",
    "outage:nodes=*,at=20m,lasts=10m;outage:nodes=*-0,at=1h,lasts=3h",
)
COSTS = (Costs(), FREE, Costs(1_000_000, 0, 7, 3_000_000, 0, 5_000_000, 900_000))
PARAMS = (  # min_run_s 0, with resizes that cost nothing: who is shrunk for another takes it back
    ElasticParams(),
    ElasticParams(first_level_s=60, first_run_s=0, min_run_s=1, settle_s=30, grow_after_s=60),
    ElasticParams(level_ratio=2, halts_a_level=1, grow_share=0.6, spare_share=0.0, look_s=7),
    ElasticParams(turn_s=30, bear_s=400, reserve_share=0.3, settle_s=0, grow_after_s=0),
)


def digests(
    trace: Trace,
    specs: Sequence[JobSpec],
    cluster: Cluster,
    costs: Costs | None = None,
    params: ElasticParams | None = None,
    faults: Faults | None = None,
    seed: int = 1,
) -> tuple[str, str]:
    """Of Python's engine and of the native one."""
    recorder = Digest()
    costs = costs or Costs()

    def run(engine: str) -> Result:
        return simulate(
            trace,
            specs,
            cluster,
            Elastic(params),
            costs,
            lambda machine: (recorder,),
            faults=faults,
            seed=seed,
            engine=engine,
        )

    by_python, natively = run("python"), run("native")
    assert natively.done == by_python.done
    assert natively.figures == by_python.figures and natively.steps == by_python.steps
    return recorder.hexdigest(), natively.digest


Drawn = tuple[Trace, list[JobSpec], Cluster, Costs, ElasticParams, Faults | None, int]


def drawn(seed: int) -> Drawn:
    """A workload of a few jobs, a cluster and what goes wrong, from a seed: crowded, with moments
    that coincide."""
    draw = random.Random(seed)
    cluster = read_cluster(draw.choice(CLUSTERS))
    largest = max(
        sum(each.count * each.devices for each in cluster.nodes if each.type == kind)
        for kind in {each.type for each in cluster.nodes}
    )
    at_s, rows, specs = 0.0, [], []
    grain = draw.choice((0.0, 1.0, 60.0))
    for index in range(draw.randint(1, 60)):
        at_s += draw.expovariate(1 / draw.choice((1, 30, 300)))
        seconds = draw.choice((0.0, 20.0, draw.expovariate(1 / 600), draw.paretovariate(0.7) * 60))
        submitted_s = at_s // grain * grain if grain else at_s
        count = min(draw.choice(SIZES), largest)
        rows.append(TraceJob(f"j{index}", submitted_s, min(seconds, 5e4), count, "t"))
        specs.append(_spec(draw, count, largest))
    params = draw.choice(PARAMS)
    faults = read_faults(draw.choice(FAULTS)) if draw.random() < 0.5 else None
    if draw.random() < 0.5 or faults is not None:  # or the long ones never end
        params = replace(params, saves=True, save_cost_s=draw.choice((1, 20)), mtbf_s=20_000)
    return in_order("drawn", rows), specs, cluster, draw.choice(COSTS), params, faults, seed


def _spec(draw: random.Random, count: int, largest: int) -> JobSpec:
    most = draw.randint(count, min(largest, 3 * count)) if draw.random() < 0.6 else count
    points = sorted(draw.sample(range(count + 1, most + 1), min(most - count, 2)))
    return JobSpec(
        "j",
        "t",
        draw.choice((Tier.PREMIUM, Tier.STANDARD, Tier.STANDARD, Tier.BASIC, Tier.BASIC)),
        "gpu",
        ("train",),
        count=count,
        least=draw.randint(1, count),
        most=most,
        curve=tuple((point, (point / count) ** 0.7) for point in points),
        recovery="checkpoint",
    )


def main() -> None:
    library = native.Library(Path(sys.argv[1]))
    first, count = int(sys.argv[2]), int(sys.argv[3])
    native.library = sim_native.native.library = lambda: library  # type: ignore[assignment]
    for seed in range(first, first + count):
        one, other = digests(*drawn(seed))
        assert one == other, f"seed {seed}"


if __name__ == "__main__":
    main()
