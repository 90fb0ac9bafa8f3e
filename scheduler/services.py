"""A served model on a pool: its replicas are jobs like any other, as many as its autoscaler says.

So what they do not hold is lent without further ado: the policy gives it to whoever waits. A recall
is a preemption: a replica's job is of a guaranteed tier, and whoever has its device is halted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from scheduler.core.values import JobSpec, Tier
from scheduler.errors import Infeasible
from scheduler.policies.served import Autoscaler, Seen


@dataclass(slots=True)
class Service:
    """spec      of each replica's job
    replicas  that are to be, in the order in which they were submitted: their jobs' numbers, or
              whatever numbers the caller gives them
    least, most  there are never fewer, never more; most 0: as many as it takes
    """

    spec: JobSpec
    scaler: Autoscaler
    replicas: dict[int, None] = field(default_factory=dict)
    least: int = 1
    most: int = 0

    def __post_init__(self) -> None:
        if self.spec.tier is Tier.BASIC:
            raise Infeasible(
                f"service {self.spec.name!r}: replicas of tier basic would be halted for others; "
                "ask for premium or standard"
            )
        if not 1 <= self.least <= (self.most or self.least):
            raise Infeasible(
                f"service {self.spec.name!r}: {self.least} to {self.most} replicas; there is at "
                "least 1, and at most no fewer than that"
            )

    def change(self, seen: Seen, serving: Sequence[int]) -> tuple[int, list[int]]:
        """At the end of a step: how many more replicas to submit, and which jobs to cancel: those
        that do not serve yet, the last first, then of `serving` the first."""
        wanted = max(self.least, self.scaler.replicas(seen))
        wanted = min(wanted, self.most or wanted)
        if wanted >= len(self.replicas):
            return wanted - len(self.replicas), []
        idle = [job for job in reversed(self.replicas) if job not in set(serving)]
        gone = [*idle, *serving][: len(self.replicas) - wanted]
        for job in gone:
            del self.replicas[job]
        return 0, gone
