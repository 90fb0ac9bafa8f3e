"""From a trace to jobs: what traces do not say is drawn from a seed, and said.

No public trace tells which jobs could have been resized, or how they would have scaled.
`Elasticity` says what is assumed; a run's report repeats it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.core.values import MAX_COUNT, JobSpec, Needs, Tier
from scheduler.errors import TraceDamaged
from scheduler.traces.trace import Trace, TraceJob


@dataclass(frozen=True, slots=True)
class Elasticity:
    """share     of jobs that can be resized, chosen by the seed
    growth    a job can use up to so many times the devices it asked for
    exponent  its speed beyond what it asked for is (devices / devices asked for) ** exponent: 0.8
              is 87 % of the ideal for each doubling
    """

    share: float = 1.0
    growth: int = 2
    exponent: float = 0.8

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise TraceDamaged(f"elastic: share {self.share} of jobs is not from 0 to 1")
        if not 1 <= self.growth <= MAX_COUNT:
            raise TraceDamaged(f"elastic: growth {self.growth} is not from 1 to {MAX_COUNT}")
        if not 0 <= self.exponent <= 1:
            raise TraceDamaged(f"elastic: exponent {self.exponent} is not from 0 to 1")


RIGID = Elasticity(share=0.0)


@dataclass(frozen=True, slots=True)
class Tiers:
    """Shares of premium and standard jobs, chosen by the seed; all others are basic. Where the
    trace has a tier, that counts."""

    premium: float = 0.0
    standard: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.premium, self.standard, 1 - self.premium - self.standard)
        if not all(-1e-9 <= share <= 1 for share in shares):
            raise TraceDamaged(
                f"premium {self.premium}, standard {self.standard}: shares of jobs from 0 to 1, "
                "and no more than 1 together"
            )


def cut_down(trace: Trace, largest: int, of: str) -> tuple[int, str]:
    """How many gangs ask for more than that many devices `of` something, and what is to be said of
    that, if any do: in simulations they ask for that many."""
    larger = [job for job in trace.jobs if job.count > largest]
    if not larger:
        return 0, ""
    most = max(job.count for job in larger)
    return len(larger), (
        f"{len(larger)} jobs ask for more than the {largest} devices {of} (up to {most}; the first "
        f"is {larger[0].name!r}): they ask for {largest} here, for as long"
    )


def sharing_jobs_of(trace: Trace, kind: str) -> list[JobSpec]:
    """One job for each of the trace, that needs the share, the CPU and the memory it asked for."""
    return [
        JobSpec(
            job.name,
            job.tenant,
            job.tier or Tier.BASIC,
            kind,
            argv=("simulated",),
            count=job.count,
            recovery="checkpoint",
            needs=Needs(job.share_milli, job.cpu_milli, job.memory_mib, job.types),
        )
        for job in trace.jobs
    ]


def jobs_of(
    trace: Trace,
    kind: str,
    largest: int,
    elasticity: Elasticity,
    tiers: Tiers,
    seed: int,
) -> list[JobSpec]:
    """One job for each of the trace. `largest`: the most devices that any job can have; a gang
    that asked for more asks for that."""
    drawn = random.Random(seed)
    return [_job(job, kind, largest, elasticity, tiers, drawn) for job in trace.jobs]


def _job(
    job: TraceJob,
    kind: str,
    largest: int,
    elasticity: Elasticity,
    tiers: Tiers,
    drawn: random.Random,
) -> JobSpec:
    resizable, place = drawn.random() < elasticity.share, drawn.random()
    count = min(job.count, largest)
    most = min(count * elasticity.growth, largest) if resizable else count
    tier = job.tier
    if tier is None:
        tier = Tier.BASIC
        if place < tiers.premium + tiers.standard:
            tier = Tier.PREMIUM if place < tiers.premium else Tier.STANDARD
    return JobSpec(
        job.name,
        job.tenant,
        tier,
        kind,
        argv=("simulated",),
        count=count,
        least=1 if resizable else count,
        most=most,
        curve=tuple(_curve(count, most, elasticity.exponent)),
        recovery="checkpoint",
    )


def _curve(count: int, most: int, exponent: float) -> Sequence[tuple[int, float]]:
    """Points at each doubling, and the last."""
    points = [count << n for n in range(1, max(1, math.ceil(math.log2(most / count))))]
    if most > count:
        points.append(most)
    return [(point, (point / count) ** exponent) for point in points]
