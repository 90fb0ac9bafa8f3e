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
    replicas  jobs that are to be, in the order in which they were submitted
    """

    spec: JobSpec
    scaler: Autoscaler
    replicas: dict[int, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.spec.tier is Tier.BASIC:
            raise Infeasible(
                f"service {self.spec.name!r}: replicas of tier basic would be halted for others; "
                "ask for premium or standard"
            )

    def change(self, seen: Seen, serving: Sequence[int]) -> tuple[int, list[int]]:
        """At the end of a step: how many more replicas to submit, and which jobs to cancel: those
        that do not serve yet, the last first, then of `serving` the first."""
        wanted = max(1, self.scaler.replicas(seen))
        if wanted >= len(self.replicas):
            return wanted - len(self.replicas), []
        idle = [job for job in reversed(self.replicas) if job not in set(serving)]
        gone = [*idle, *serving][: len(self.replicas) - wanted]
        for job in gone:
            del self.replicas[job]
        return 0, gone
