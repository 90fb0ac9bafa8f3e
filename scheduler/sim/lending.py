"""What a served model's idle devices do for basic jobs, and how soon they come back.

Of a pool kept for the model, what its replicas do not hold is lent. A replica that starts recalls a
device: the basic job there is told to halt; if its checkpoint is not out by the deadline, it is
stopped without, and what it did since its last one is lost. So a replica starts within the deadline
and the time its model takes to load, and `start_s` must be that long at least.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from scheduler.errors import Infeasible
from scheduler.sim.serving import Serving


@dataclass(frozen=True, slots=True)
class Terms:
    """pool        devices kept for the model
    deadline_s  a recalled device is back by then, in any case
    halt_s      a basic job's checkpoint takes so long; drawn between half of it and twice it
    every_s     a basic job's checkpoints without being told, so far apart
    """

    pool: int
    deadline_s: float
    halt_s: float
    every_s: float = 600.0

    def __post_init__(self) -> None:
        if not (self.pool > 0 and self.deadline_s >= 0 < self.halt_s and self.every_s > 0):
            raise Infeasible(f"{self}: a pool of one or more, and seconds above 0")


@dataclass(frozen=True, slots=True)
class Lent:
    """devices: lent on average; useful: of their time, in which work was done that was kept;
    cut: recalls that stopped a job at the deadline; recall_p99_s: of all recalls."""

    devices: float
    useful: float
    recalls: int
    cut: int
    recall_p99_s: float


def lent(served: Serving, start_s: float, terms: Terms, seed: int) -> Lent:
    """By the replicas' devices of a simulated run. Raises Infeasible where the run's start-up time
    is shorter than the deadline, or it held more devices than the pool has."""
    if terms.deadline_s > start_s:
        raise Infeasible(f"replicas start in {start_s} s, before {terms} gives them a device")
    changes = sorted(
        [(h.begin_s, 1) for h in served.held]
        + [(h.end_s if h.end_s is not None else served.span_s, -1) for h in served.held]
    )
    holding = most = 0
    for _, change in changes:  # at one moment devices are given back before others are taken
        holding += change
        most = max(most, holding)
    if most > terms.pool:
        raise Infeasible(f"the replicas held {most} devices at once, more than {terms}")
    drawn = random.Random(seed)
    waits_s, lost_s, cut = [], 0.0, 0
    for held in served.held:
        if held.ready_s == held.begin_s:
            continue  # there from the beginning
        halt_s = terms.halt_s * 2 ** drawn.uniform(-1, 1)
        since_s = drawn.uniform(0, min(terms.every_s, max(held.begin_s, 1e-9)))
        waits_s.append(min(halt_s, terms.deadline_s))
        if halt_s > terms.deadline_s:
            cut += 1
            lost_s += since_s  # and the time of the checkpoint counts as held by the replica
    lent_s = terms.pool * served.span_s - served.device_s
    rising = sorted(waits_s) or [0.0]
    return Lent(
        lent_s / served.span_s,
        max(0.0, 1 - lost_s / lent_s) if lent_s else 0.0,
        len(waits_s),
        cut,
        rising[int(len(rising) * 0.99)],
    )
