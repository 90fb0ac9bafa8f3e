"""What a planet is given to do: a synthetic stream, or a trace dealt to its regions."""

from __future__ import annotations

import numpy as np

from scheduler.errors import TraceDamaged
from scheduler.sim.native import check_times
from scheduler.sim.planets import Planet
from scheduler.traces.calibrate import Workload
from scheduler.traces.packed import JOB, TIERS, Jobs
from scheduler.traces.synthetic import Assumed, S, generate, rate_for
from scheduler.traces.trace import Trace


def synthetic(
    planet: Planet, workload: Workload, assumed: Assumed, count: int, load: float, seed: int
) -> Jobs:
    """A stream for each region, by its own day, so that together they bring `load`."""
    regions, largest = len(planet.regions), planet.largest("gpu")
    if not largest or (assumed.fpga > 0 and not planet.largest("fpga")):
        raise TraceDamaged("a planet needs GPUs in a region, and FPGAs for jobs that are for FPGAs")
    rate = rate_for(workload, assumed, planet.devices("gpu"), load, largest) / regions
    streams = []
    for region, zone_h in enumerate(planet.zones_h):
        share = count // regions + (region < count % regions)
        if share:
            its = seed * 65_536 + region
            jobs = generate(workload, assumed, share, its, rate, largest, zone_h)
            jobs["home"] = region
            streams.append(jobs)
    return in_order(np.concatenate(streams))


def of_trace(planet: Planet, trace: Trace, assumed: Assumed, seed: int) -> tuple[Jobs, list[str]]:
    """A trace's jobs, each in a region drawn by the seed; and its tenants. What the trace does not
    say is assumed; gangs that some region cannot hold are cut down (`workload.cut_down`). Raises
    TraceDamaged."""
    check_times(trace)
    drawn = np.random.Generator(np.random.PCG64(seed))
    largest, found = planet.largest("gpu"), len(trace.jobs)
    tenants = list(dict.fromkeys(job.tenant for job in trace.jobs))
    numbers = {tenant: number for number, tenant in enumerate(tenants)}
    jobs = np.zeros(found, JOB)
    jobs["at_us"] = [round(job.submitted_s * S) for job in trace.jobs]
    jobs["work_us"] = [max(1, round(job.duration_s * S)) for job in trace.jobs]
    jobs["count"] = [min(job.count, largest) for job in trace.jobs]
    jobs["tenant"] = [numbers[job.tenant] for job in trace.jobs]
    place = drawn.random(found)
    tiers = np.searchsorted(
        [assumed.premium, assumed.premium + assumed.standard], place, side="right"
    )
    jobs["tier"] = [
        TIERS.index(job.tier) if job.tier is not None else tier
        for job, tier in zip(trace.jobs, tiers.tolist(), strict=True)
    ]
    resizable = drawn.random(found) < assumed.elastic
    jobs["least"] = np.where(resizable, 1, jobs["count"])
    grown = np.minimum(jobs["count"] * assumed.growth, largest)
    jobs["most"] = np.where(resizable, grown, jobs["count"])
    gigabytes = np.exp(drawn.standard_normal((2, found))) * 1e9
    jobs["state_bytes"] = gigabytes[0] * assumed.state_gb * jobs["count"]
    jobs["data_bytes"] = gigabytes[1] * assumed.data_gb
    jobs["home"] = drawn.integers(0, len(planet.regions), found)
    return in_order(jobs), tenants


def in_order(jobs: Jobs) -> Jobs:
    jobs = jobs[np.argsort(jobs["at_us"], kind="stable")]
    jobs["job"] = np.arange(1, len(jobs) + 1)
    return jobs
