"""Parts of a trace: the ones that others measured, and halves to hold out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scheduler.errors import TraceDamaged
from scheduler.traces.trace import Trace, in_order


@dataclass(frozen=True, slots=True)
class Selection:
    """Applied in the order of the fields; the defaults change nothing.

    shortest_s, longest_s  jobs of other durations are left out
    largest                gangs ask for a power of two up to this many devices (0: as they asked)
    first, count           consecutive jobs (count 0: all that follow)
    """

    shortest_s: float = 0.0
    longest_s: float = float("inf")
    largest: int = 0
    first: int = 0
    count: int = 0

    def of(self, trace: Trace) -> Trace:
        jobs = [job for job in trace.jobs if self.shortest_s <= job.duration_s <= self.longest_s]
        if self.largest:
            jobs = [replace(job, count=_power_of_two(job.count, self.largest)) for job in jobs]
        chosen = jobs[self.first : self.first + self.count if self.count else None]
        if not chosen or len(chosen) < self.count:
            raise TraceDamaged(
                f"{trace.name}: jobs {self.first} to {self.first + self.count} were asked for, "
                f"but {len(jobs)} are left by the selection"
            )
        return in_order(trace.name, chosen)


W1 = Selection(shortest_s=120, longest_s=36 * 3600, largest=8, first=46_292, count=480)
"""Of the Philly trace, on 64 devices: 331 jobs of 1 device, 11 of 2, 81 of 4, 57 of 8; offered
load 1.25. The figures of Gavel and Tiresias in docs/scheduler.md are of these jobs."""


def _power_of_two(count: int, largest: int) -> int:
    return min(1 << (count - 1).bit_length(), largest)


def halves(trace: Trace, at: float = 0.5) -> tuple[Trace, Trace]:
    """Split by time of submission: what a policy may be tuned on, and what is held out."""
    cut = at * trace.span_s
    return (
        in_order(f"{trace.name} before {at:.0%}", (j for j in trace.jobs if j.submitted_s < cut)),
        in_order(f"{trace.name} after {at:.0%}", (j for j in trace.jobs if j.submitted_s >= cut)),
    )


WINDOWS = {"w1": W1}


def window_named(name: str) -> Selection:
    try:
        return WINDOWS[name]
    except KeyError:
        raise TraceDamaged(f"window {name!r} is none of {', '.join(WINDOWS)}") from None
