"""Pods onto nodes until no more fit: how much of the GPUs is given out at saturation.

As Weng et al. (ATC'23) measured: nobody leaves; the pods of the trace and copies of some drawn from
it, until their GPUs come to `ratio` of the cluster's, in an order drawn from the seed; a pod that
fits nowhere is passed over.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

from scheduler.errors import Infeasible
from scheduler.policies.packing import (
    FULL_MILLI,
    Balanced,
    BestFit,
    Fragmentation,
    Node,
    Packer,
    Pod,
    Score,
    Workload,
)


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


SCORES: dict[str, Callable[[Sequence[Node], Sequence[Pod]], Score]] = {
    "balanced": lambda nodes, pods: Balanced(Workload(pods)),
    "fragmentation": lambda nodes, pods: Fragmentation(Workload(pods)),
    "best-fit": lambda nodes, pods: BestFit(nodes),
}
"""What each knows of the pods to come is how often each kind is in the trace, not their order."""


def pack(nodes: Sequence[Node], order: Sequence[Pod], score: Score) -> Packed:
    packer = Packer(deepcopy(list(nodes)), score)
    capacity = sum(len(node.free) for node in nodes) * FULL_MILLI
    asked = given = placed = 0
    arrived, allocated = [], []
    for pod in order:
        asked += pod.gpu_milli
        if packer.place(pod) is not None:
            placed += 1
            given += pod.gpu_milli
        arrived.append(asked / capacity)
        allocated.append(given / capacity)
    return Packed(placed, len(order) - placed, tuple(arrived), tuple(allocated))
