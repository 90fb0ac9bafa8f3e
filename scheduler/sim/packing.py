"""Pods onto nodes until no more fit: how much of the GPUs is given out at saturation.

As Weng et al. (ATC'23) measured: nobody leaves; the pods of the trace and copies of some drawn from
it, until their GPUs come to `ratio` of the cluster's, in an order drawn from the seed; a pod that
fits nowhere is passed over. Each is a job of the machine, placed by its policy.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.core.commands import Command, Start
from scheduler.core.events import Event, JobSubmitted
from scheduler.core.machine import Machine
from scheduler.core.values import FULL_MILLI, JobSpec
from scheduler.errors import Infeasible
from scheduler.loop import Loop
from scheduler.policies.fleet import ScoreOf
from scheduler.policies.packing import Balanced, BestFit, Fragmentation, Node, Pod, Workload
from scheduler.policies.sharing import Sharing
from scheduler.sim.cluster import of_nodes
from scheduler.sim.costs import FREE
from scheduler.sim.run import executor_of
from scheduler.sim.workload import sharing_jobs_of
from scheduler.traces.trace import Trace, TraceJob

S = 1_000_000
FOREVER_S = 1e9


@dataclass(frozen=True, slots=True)
class Packed:
    """`allocated`: share of all GPUs given out, after each pod; `arrived`: GPUs asked for by then,
    over the cluster's."""

    placed: int
    refused: int
    arrived: tuple[float, ...]
    allocated: tuple[float, ...]


def inflated(pods: Sequence[Pod], gpu_milli: int, ratio: float, seed: int) -> list[Pod]:
    """Pods that ask for `ratio` of `gpu_milli`: the trace's and copies, or a part of them."""
    if not any(pod.gpu_milli for pod in pods):
        raise Infeasible("no pod of the trace asks for a GPU: no number of them fills a cluster")
    drawn = random.Random(seed)
    order = list(pods)
    asked = sum(pod.gpu_milli for pod in order)
    while asked < ratio * gpu_milli:
        order.append(drawn.choice(pods))
        asked += order[-1].gpu_milli
    drawn.shuffle(order)
    while asked - order[-1].gpu_milli >= ratio * gpu_milli:
        asked -= order.pop().gpu_milli
    return order


SCORES: dict[str, ScoreOf] = {
    "balanced": lambda nodes, pods: Balanced(Workload(pods)),
    "fragmentation": lambda nodes, pods: Fragmentation(Workload(pods)),
    "best-fit": lambda nodes, pods: BestFit(nodes),
}
"""What each knows of the pods to come is how often each kind is in the trace, not their order."""


def pack(
    nodes: Sequence[Node], order: Sequence[Pod], score_of: ScoreOf, known: Sequence[Pod]
) -> Packed:
    """Through the machine and its loop, a pod a second: jobs under `Sharing` that never end.
    `known`: pods that the score may know of."""
    trace = Trace("drawn", tuple(_job(second, pod) for second, pod in enumerate(order)))
    jobs = sharing_jobs_of(trace, "gpu")
    cluster = of_nodes("nodes", nodes)
    executor = executor_of(trace, jobs, cluster, FREE)
    executor.until_us = len(order) * S
    machine = Machine()
    watching = _Allocated(machine, cluster.devices * FULL_MILLI)
    policy = Sharing(score_of=lambda fleet, _: score_of(fleet, known))
    loop = Loop(machine, policy, executor, [watching])
    while loop.step():
        pass
    return watching.packed()


def _job(second: int, pod: Pod) -> TraceJob:
    """It lasts for longer than anybody looks."""
    return TraceJob(
        f"pod-{second}",
        float(second),
        FOREVER_S,
        max(pod.gpus, 1),
        "openb",
        pod.share_milli,
        pod.types,
        None,
        pod.cpu_milli,
        pod.memory_mib,
    )


class _Allocated:
    """A Recorder of the loop."""

    def __init__(self, machine: Machine, capacity_milli: int) -> None:
        self._machine = machine
        self._capacity = capacity_milli
        self._asked = self._given = self._placed = 0
        self._arrived: list[float] = []
        self._allocated: list[float] = []

    def record(self, events: Sequence[Event], commands: Sequence[Command]) -> None:
        for command in commands:
            if isinstance(command, Start):
                self._placed += 1
                self._given += _milli(command.spec)
        for event in events:
            if isinstance(event, JobSubmitted):
                self._asked += _milli(event.spec)
                self._arrived.append(self._asked / self._capacity)
                self._allocated.append(self._given / self._capacity)

    def packed(self) -> Packed:
        arrived, allocated = tuple(self._arrived), tuple(self._allocated)
        return Packed(self._placed, len(arrived) - self._placed, arrived, allocated)


def _milli(spec: JobSpec) -> int:
    assert spec.needs is not None
    return spec.count * spec.needs.share_milli
