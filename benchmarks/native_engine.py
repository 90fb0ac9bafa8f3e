"""The native engine on large clusters: jobs per CPU-second, memory, and what an event costs.

    python benchmarks/native_engine.py [--jobs N] [--devices N ...] [--out FILE]

Made-up jobs (below): gangs of 1 to 64, durations heavy-tailed, a fifth premium, three tenths
standard, half can be resized; they come at 0.9 of what the cluster can do, or at 1.2; moments
hardly ever coincide. Nodes fail every 30 days and stay away for 4 hours, and jobs are saved.

    planet   so many jobs on 102,400 devices in 8 clusters, one after the other; twice
    crowded  the same at 1.2
    clusters 1, 8 and 80 clusters of 12,800 devices: what an event costs as the planet grows
    sizes    one single cluster of so many devices, 3 jobs for each, without faults
    twin     the same small cluster on both engines, without faults; their digests must be equal

Each in a process of its own, so that memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from _machine import report

from scheduler.core.values import JobSpec, Tier
from scheduler.native import cluster as native
from scheduler.policies.elastic import Elastic
from scheduler.policies.round import ElasticParams
from scheduler.sim.breaking import Breaking
from scheduler.sim.cluster import read_cluster
from scheduler.sim.costs import Costs
from scheduler.sim.digest import Digest
from scheduler.sim.faults import read_faults
from scheduler.sim.native import Broken, drive, opened
from scheduler.sim.run import simulate
from scheduler.traces.trace import TraceJob, in_order

S = 1_000_000
NODE = 8
LOAD, CROWDED = 0.9, 1.2
FAULTS = "node:mtbf=30d,mttr=4h"
SIZES, SHARES = (1, 2, 4, 8, 16, 32, 64), (0.70, 0.08, 0.08, 0.09, 0.03, 0.015, 0.005)
GROWTH, EXPONENT = 2, 0.8
MEDIAN_S, SPREAD, LONGEST_S = 900.0, 1.8, 7 * 86_400.0


def drawn(count: int, devices: int, seed: int, load: float) -> npt.NDArray[Any]:
    """Jobs as the engine takes them. Their `curve` is 1 + the index of their size, if they have
    one."""
    draw = np.random.default_rng(seed)
    jobs = np.zeros(count, native.JOB)
    size = draw.choice(len(SIZES), count, p=SHARES)
    seconds = np.minimum(draw.lognormal(np.log(MEDIAN_S), SPREAD, count), LONGEST_S)
    jobs["count"] = np.array(SIZES)[size]
    jobs["work_us"] = np.maximum(1, seconds * S)
    apart_s = float((jobs["count"] * seconds).mean()) / (devices * load)
    jobs["submitted_us"] = np.cumsum(draw.exponential(apart_s, count)) * S
    elastic = draw.random(count) < 0.5
    jobs["least"] = np.where(elastic, 1, jobs["count"])
    jobs["most"] = jobs["count"] * np.where(elastic, GROWTH, 1)
    jobs["curve"] = np.where(elastic, 1 + size, 0)
    jobs["tier"] = draw.choice(3, count, p=(0.2, 0.3, 0.5))
    return jobs


def run(clusters: int, devices: int, jobs: int, load: float, fails: bool) -> dict[str, Any]:
    """Each of the clusters in turn, with its share of devices and jobs."""
    share = devices // clusters
    made = [drawn(jobs // clusters, share, seed, load) for seed in range(clusters)]
    fleet = read_cluster(f"{share // NODE}x{NODE}xV100")
    names = [name for name, _, _ in fleet.each()]
    sums: dict[str, float] = dict.fromkeys(("steps", "events", "losses", "restarts", "saves"), 0)
    digests: list[str] = []
    hours, halts, ended = 0.0, 0, 0
    began = time.process_time()
    for seed, each in enumerate(made):
        with opened(fleet, ElasticParams(saves=fails), Costs()) as cluster:
            for size in SIZES:
                cluster.curve([(size * GROWTH, round(GROWTH**EXPONENT * 1_000_000))])
            cluster.submit(each)
            broken = Broken(cluster, names)
            if fails:
                going = partial(_going, broken, len(each))
                Breaking(read_faults(FAULTS), fleet, broken, seed, going)
            for _ in drive(cluster, broken):
                done = cluster.done()
                ended += int((done["state"] == native.SUCCEEDED).sum())
                hours += float((done["ended_us"] - done["submitted_us"]).sum()) / S / 3600
                halts += int(done["preemptions"].sum())
            told = cluster.summary()
            digests.append(cluster.digest())
            for name in sums:
                sums[name] += int(told[name])
    cpu_s = time.process_time() - began
    return {
        "clusters": clusters,
        "devices": devices,
        "load": load,
        "jobs": ended,
        "cpu_s": round(cpu_s, 3),
        "jobs_per_cpu_s": round(ended / cpu_s),
        "us_per_event": round(cpu_s / sums["events"] * 1e6, 3),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        **sums,
        "average_h": round(hours / ended, 3),
        "halts_per_job": round(halts / ended, 4),
        "digests": digests,
    }


def _going(broken: Broken, jobs: int) -> bool:
    return broken.over < jobs


def twin(devices: int, jobs: int) -> dict[str, Any]:
    """Both engines on the same jobs."""
    made = drawn(jobs, devices, 0, LOAD)
    trace = in_order(
        "made up",
        (
            TraceJob(f"j{i}", int(job["submitted_us"]) / S, int(job["work_us"]) / S, 1, "t")
            for i, job in enumerate(made)
        ),
    )
    begin_us = int(made["submitted_us"][0])
    made["submitted_us"] -= begin_us
    specs = [spec(job) for job in made]
    cluster = read_cluster(f"{devices // NODE}x{NODE}xV100")
    recorder = Digest()
    natively = simulate(trace, specs, cluster, Elastic(), Costs(), engine="native")
    by_python = simulate(trace, specs, cluster, Elastic(), Costs(), lambda machine: (recorder,))
    return {
        "devices": devices,
        "jobs": jobs,
        "python_jobs_per_cpu_s": round(jobs / by_python.cpu_s),
        "native_jobs_per_cpu_s": round(jobs / natively.cpu_s),
        "ratio": round(by_python.cpu_s / natively.cpu_s, 1),
        "equal": natively.digest == recorder.hexdigest(),
    }


def spec(job: Any) -> JobSpec:
    count, most = int(job["count"]), int(job["most"])
    return JobSpec(
        "j",
        "t",
        list(Tier)[job["tier"]],
        "gpu",
        ("train",),
        count=count,
        least=int(job["least"]),
        most=most,
        curve=((most, GROWTH**EXPONENT),) if most > count else (),
        recovery="checkpoint",
    )


def apart(*words: object) -> dict[str, Any]:
    """What this script says when it is asked so, in a process of its own."""
    command = [sys.executable, __file__, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    print(words, {k: v for k, v in found.items() if k != "digests"}, file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--devices", type=int, nargs="*", default=[10_240, 102_400, 1_024_000])
    parser.add_argument("--out", type=Path, help="JSON; else to the terminal")
    parser.add_argument("--one", nargs=5, type=float, help="clusters, devices, jobs, load, faults")
    parser.add_argument("--twin", nargs=2, type=int, help="devices, jobs: that alone")
    asked = parser.parse_args()
    if asked.one:
        clusters, devices, jobs, load, fails = asked.one
        print(json.dumps(run(int(clusters), int(devices), int(jobs), load, bool(fails))))
        return
    if asked.twin:
        print(json.dumps(twin(*asked.twin)))
        return
    planet = [apart("--one", 8, 102_400, asked.jobs, LOAD, 1) for _ in range(2)]
    found = {
        "planet": planet[0],
        "same_again": planet[0]["digests"] == planet[1]["digests"],
        "crowded": apart("--one", 8, 102_400, asked.jobs, CROWDED, 1),
        "clusters": [apart("--one", n, n * 12_800, n * 50_000, LOAD, 1) for n in (1, 8, 80)],
        "sizes": [apart("--one", 1, n, n * 3, LOAD, 0) for n in asked.devices],
        "twin": apart("--twin", 1024, 4000),
    }
    assumed = {"sizes": SIZES, "shares": SHARES, "median_s": MEDIAN_S, "faults": FAULTS}
    report({"benchmark": "native_engine", "assumed": assumed, **found}, asked.out)


if __name__ == "__main__":
    main()
