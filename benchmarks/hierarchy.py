"""A planet on native clusters: a million synthetic jobs, 102,400 devices, 8 clusters, 4 regions.

    python benchmarks/hierarchy.py [--jobs N] [--tick-s S] [--runs N] [--faults WORDS] [--out FILE]

With faults and saves, so many runs, and one without either to compare with. JSON: jobs a CPU second
over all (stream, fronts, levels, clusters), the largest memory, the digest of each run with faults
(they must be the same). Minutes on an idle machine.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
from _machine import report

from scheduler.hierarchy.params import LevelParams
from scheduler.policies.round import ElasticParams
from scheduler.sim.costs import Costs
from scheduler.sim.faults import read_faults
from scheduler.sim.native_site import NativeSite
from scheduler.sim.planet import PlanetRun
from scheduler.sim.planet_faults import shared_out
from scheduler.sim.planets import read_planet
from scheduler.sim.streams import synthetic
from scheduler.traces.synthetic import Assumed, workload_named

TENANTS = [f"tenant-{number}" for number in range(64)]
FAULTS = (
    "node:mtbf=30d,mttr=4h;straggler:mtbf=10d,mttr=2h,speed=0.5;store:mtbf=5d,mttr=30m,slow=5;"
    "outage:nodes=gpu-1-*/*,at=60h,lasts=6h"  # all of region 1
)


def run(
    planet_spec: str, jobs: int, load: float, tick_s: int, seed: int, faults: str = ""
) -> dict[str, object]:
    """With faults, running jobs are saved."""
    planet = read_planet(planet_spec)
    each = shared_out(read_faults(faults), planet, seed) if faults else None

    def site(index: int) -> NativeSite:
        params, its = ElasticParams(saves=each is not None), each[index] if each else None
        return NativeSite(planet.sites[index].cluster, Costs(), params, 0.8, faults=its)

    began = time.process_time()
    assumed = Assumed(premium=0.05, standard=0.1)
    stream = synthetic(planet, workload_named("philly"), assumed, jobs, load, seed)
    made_s = time.process_time() - began
    result = PlanetRun(
        planet,
        stream,
        TENANTS,
        site,
        LevelParams(stale_s=max(300, 5 * tick_s), region_tick_s=tick_s),
    ).run()
    hours = result.completion_s / 3600
    return {
        "stream_s": made_s,
        "run_s": result.cpu_s,
        "jobs_per_cpu_s": jobs / (made_s + result.cpu_s),
        "average_h": float(np.mean(hours)),
        "p99_h": float(np.quantile(hours, 0.99)),
        "unended": int(np.isnan(hours).sum()),
        "used": result.use,
        "moved": [result.within, result.between],
        "messages": sum(result.messages.values()),
        **result.fallen._asdict(),
        "digest": result.digest,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--planet", default="4x2x1600x8xV100")
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--load", type=float, default=0.9)
    parser.add_argument("--tick-s", type=int, default=60)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", default=FAULTS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    asked = (args.planet, args.jobs, args.load, args.tick_s, args.seed)
    runs = [run(*asked, args.faults) for _ in range(args.runs)]
    digests = {found["digest"] for found in runs}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = {name: value for name, value in vars(args).items() if name != "out"}
    found = {"runs": runs, "same_digest": len(digests) == 1, "most_memory_mib": memory}
    report({"told": told, **found, "without_faults": run(*asked)}, args.out)


if __name__ == "__main__":
    main()
