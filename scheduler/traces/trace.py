"""What every reader returns: a workload as values, whatever file it came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from scheduler.core.values import Tier
from scheduler.errors import TraceDamaged


@dataclass(frozen=True, slots=True)
class TraceJob:
    """One job as it was seen to run.

    submitted_s  since the trace's beginning
    duration_s   how long it ran on `count` whole devices, or on its share of one
    count        devices
    share_milli  of each device, in thousandths
    types        device types it accepts; empty accepts all
    tier         None where the trace has none: `assign` gives one
    cpu_milli, memory_mib  of its node
    """

    name: str
    submitted_s: float
    duration_s: float
    count: int
    tenant: str
    share_milli: int = 1000
    types: tuple[str, ...] = ()
    tier: Tier | None = None
    cpu_milli: int = 0
    memory_mib: int = 0

    @property
    def work_s(self) -> float:
        """Device-seconds."""
        return self.duration_s * self.count * self.share_milli / 1000


@dataclass(frozen=True, slots=True)
class Trace:
    """Jobs by time of submission, the first at 0."""

    name: str
    jobs: tuple[TraceJob, ...]

    @property
    def span_s(self) -> float:
        """From the first to the last submission."""
        return self.jobs[-1].submitted_s if self.jobs else 0.0

    @property
    def work_s(self) -> float:
        return sum(job.work_s for job in self.jobs)

    def offered_load(self, devices: int) -> float:
        """Work that arrives in the trace's span, over what `devices` can do in it."""
        return self.work_s / (devices * self.span_s) if self.span_s else float("inf")


def in_order(name: str, jobs: Iterable[TraceJob]) -> Trace:
    """A trace that begins with its first job. Jobs of one moment keep the order given."""
    by_time = sorted(jobs, key=lambda job: job.submitted_s)
    if not by_time:
        raise TraceDamaged(f"{name}: no jobs")
    begin = by_time[0].submitted_s
    return Trace(
        name,
        tuple(replace(job, submitted_s=job.submitted_s - begin) for job in by_time),
    )


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a served model. Its work grows with both."""

    at_s: float
    input_tokens: int
    output_tokens: int
