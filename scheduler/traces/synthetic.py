"""A seeded stream of synthetic jobs after a calibrated workload, a million in about a second.

What no trace tells is assumed, said in `Assumed`, and drawn by the same seed: tiers, who can be
resized, how large checkpoints are. Jobs for FPGAs are synthesised: no public trace has any.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scheduler.core.values import Tier
from scheduler.errors import TraceDamaged
from scheduler.traces.calibrate import (
    NORMAL_SCORES,
    NORMAL_SHARES,
    RUNS,
    SHARES,
    Floats,
    Workload,
    cyclic,
    read_workload,
)
from scheduler.traces.packed import JOB, Jobs
from scheduler.traces.trace import Trace, TraceJob, in_order

S = 1_000_000
GB = 1_000_000_000
SHIPPED = Path(__file__).parent / "workloads"
MAX_JOBS = 50_000_000
LONGEST_S = 1000 * 365 * 86_400


@dataclass(frozen=True, slots=True)
class Assumed:
    """premium, standard  shares of jobs of these tiers
    elastic, growth   share that can be resized, down to one slice and up to so many times count
    fpga              share of jobs that are for FPGAs, of one slice each
    tenants           how many share the planet, by the workload's Zipf law
    state_gb          median of a checkpoint for each device of a job; log-normal, sigma 1
    data_gb           median of what a job reads; log-normal, sigma 1
    """

    premium: float = 0.0
    standard: float = 0.0
    elastic: float = 0.5
    growth: int = 2
    fpga: float = 0.0
    tenants: int = 64
    state_gb: float = 4.0
    data_gb: float = 20.0

    def __post_init__(self) -> None:
        shares = (self.premium, self.standard, self.elastic, self.fpga)
        if not all(0 <= share <= 1 for share in (*shares, self.premium + self.standard)):
            raise TraceDamaged(f"{self}: shares are from 0 to 1")
        if self.growth < 1 or not 1 <= self.tenants <= 1 << 20:
            raise TraceDamaged(f"{self}: growth and tenants from 1 on")
        if not (self.state_gb >= 0 and self.data_gb >= 0):
            raise TraceDamaged(f"{self}: state_gb and data_gb from 0 on")


def workload_named(name: str) -> Workload:
    """One that the project ships, or a file of `haltere calibrate-trace`."""
    shipped = SHIPPED / f"{name}.json"
    path = shipped if shipped.exists() else Path(name)
    if not path.exists():
        known = ", ".join(sorted(found.stem for found in SHIPPED.glob("*.json")))
        raise TraceDamaged(f"workload {name!r} is neither a file nor one of {known}")
    return read_workload(path)


def generate(
    workload: Workload,
    assumed: Assumed,
    count: int,
    seed: int,
    rate: float = 1.0,
    largest: int = 1 << 16,
    phase_h: float = 0.0,
) -> Jobs:
    """`count` jobs by time, numbered from 1, the first near 0. `rate`: how many times as often as
    in the workload they come. `phase_h`: hours by which the day begins earlier."""
    if not (0 < count <= MAX_JOBS and 0 < rate < np.inf) or largest < 1:
        raise TraceDamaged(f"{count} jobs at rate {rate}: 1 to {MAX_JOBS}, at a rate above 0")
    drawn = np.random.Generator(np.random.PCG64(seed))
    jobs = np.zeros(count, JOB)
    jobs["job"] = np.arange(1, count + 1)
    at_s = _arrivals(workload, count, drawn, rate, phase_h)
    if at_s[-1] > LONGEST_S:
        raise TraceDamaged(f"{count} jobs at rate {rate:g} would come for over 1000 years")
    jobs["at_us"] = at_s * S
    sizes = np.array([size for size, _ in workload.sizes])
    places = np.cumsum([share for _, share in workload.sizes])
    jobs["count"] = sizes[np.minimum(np.searchsorted(places, drawn.random(count)), len(sizes) - 1)]
    is_fpga = drawn.random(count) < assumed.fpga
    jobs["kind"], jobs["count"][is_fpga] = is_fpga, 1
    np.minimum(jobs["count"], largest, out=jobs["count"])
    jobs["work_us"] = np.maximum(1, _durations(workload, jobs["count"], drawn) * S)
    resizable = (drawn.random(count) < assumed.elastic) & ~is_fpga
    jobs["least"] = np.where(resizable, 1, jobs["count"])
    grown = np.minimum(jobs["count"].astype(np.int64) * assumed.growth, largest)
    jobs["most"] = np.where(resizable, grown, jobs["count"])
    place = drawn.random(count)
    shares = [assumed.premium, assumed.premium + assumed.standard]
    jobs["tier"] = np.searchsorted(shares, place, side="right")
    jobs["tenant"] = _tenants(assumed.tenants, workload.zipf, count, drawn)
    state = np.exp(drawn.standard_normal(count)) * assumed.state_gb * GB
    jobs["state_bytes"] = state * jobs["count"]
    jobs["data_bytes"] = np.exp(drawn.standard_normal(count)) * assumed.data_gb * GB
    return jobs


def rate_for(
    workload: Workload, assumed: Assumed, devices: int, load: float, largest: int = 1 << 16
) -> float:
    """The rate at which work arrives as fast as `load` times what `devices` do. Work of all tails
    included, so a stream's own load varies about it."""
    sample = generate(workload, assumed, 200_000, seed=0, largest=largest)
    on_gpus = sample[sample["kind"] == 0]
    work_s = float((on_gpus["work_us"] / S * on_gpus["count"]).sum()) / len(sample)
    return load * devices / (work_s / workload.gap_s)


def _arrivals(
    workload: Workload, count: int, drawn: np.random.Generator, rate: float, phase_h: float
) -> Floats:
    gaps = np.interp(_places(workload.gaps_alike, count, drawn), SHARES, workload.gaps_s)
    gaps *= workload.gap_s / _mean(workload.gaps_s) / rate
    cycle = np.roll(np.array(workload.cycle), -round(phase_h))
    return cyclic(np.cumsum(gaps), cycle)


def _places(alike: tuple[float, ...], count: int, drawn: np.random.Generator) -> Floats:
    """Evenly from 0 to 1, but alike within runs."""
    scores = drawn.standard_normal(count) * np.sqrt(max(0.0, 1 - sum(alike)))
    for run, share in zip(RUNS, alike, strict=True):
        of_run = np.cumsum(drawn.random(count) < 1 / run)
        scores += drawn.standard_normal(int(of_run[-1]) + 1)[of_run] * np.sqrt(share)
    return np.interp(scores, NORMAL_SCORES, NORMAL_SHARES)


def _mean(quantiles: tuple[float, ...]) -> float:
    """Of what is drawn between them."""
    middles = (np.array(quantiles[1:]) + np.array(quantiles[:-1])) / 2
    return float((middles * np.diff(SHARES)).sum())


def _durations(workload: Workload, counts: NDArray[np.int32], drawn: np.random.Generator) -> Floats:
    shares = _places(workload.durations_alike, len(counts), drawn)
    found = np.empty(len(counts))
    edges = [size for size, _ in workload.durations_s] + [1 << 30]
    for (begin, quantiles), end in zip(workload.durations_s, edges[1:], strict=True):
        chosen = (counts >= begin) & (counts < end) if begin > edges[0] else counts < end
        found[chosen] = np.interp(shares[chosen], SHARES, quantiles)
    return found


def _tenants(
    tenants: int, zipf: float, count: int, drawn: np.random.Generator
) -> NDArray[np.int64]:
    weights = np.arange(1, tenants + 1) ** -zipf
    places = np.cumsum(weights / weights.sum())
    return np.minimum(np.searchsorted(places, drawn.random(count)), tenants - 1)


def trace_of(jobs: Jobs, name: str) -> Trace:
    """The GPU jobs of a stream as a trace, as if a reader had read them."""
    return in_order(
        name,
        (
            TraceJob(
                f"{name}-{row['job']}",
                int(row["at_us"]) / S,
                int(row["work_us"]) / S,
                int(row["count"]),
                f"tenant-{row['tenant']}",
                tier=(Tier.PREMIUM, Tier.STANDARD, Tier.BASIC)[row["tier"]],
            )
            for row in jobs[jobs["kind"] == 0]
        ),
    )
