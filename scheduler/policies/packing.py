"""Placing pods that ask for shares of GPUs, on nodes of several: fragmentation, and best fit.

A GPU's free share is worth what the pods to come can make of it. `Workload.fragments` is how much
of a node's free share a typical pod cannot use, on average over the pods that are known to come
(Weng et al., ATC'23): all of it if its CPU or its GPUs do not suffice, else what is free on GPUs
that are too full for it. That looks one pod ahead; `Workload.starved` adds the GPUs that will be
left without CPU if the pods to come want as much for a GPU as they do on average.

`Fragmentation` (theirs) puts a pod where fragments grow least, `Balanced` (ours) where both
together do, `BestFit` where least is left over. `policies/sharing` places jobs
of the machine by them.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from scheduler.core.values import FULL_MILLI
from scheduler.errors import Infeasible, InvalidPlan


@dataclass(frozen=True, slots=True)
class Pod:
    """cpu_milli, memory_mib  of the node
    gpus, share_milli      so many GPUs, and so much of each; several are always whole
    types                  models of GPU it accepts; empty accepts all
    kind                   of the node
    names                  nodes it accepts; empty accepts all
    """

    cpu_milli: int
    memory_mib: int
    gpus: int = 0
    share_milli: int = 0
    types: tuple[str, ...] = ()
    kind: str = ""
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        whole = self.share_milli == FULL_MILLI
        shares = self.gpus == 1 and 0 < self.share_milli <= FULL_MILLI
        none = self.gpus == self.share_milli == 0
        if min(self.cpu_milli, self.memory_mib) < 0 or not (
            none or shares or (self.gpus > 1 and whole)
        ):
            raise Infeasible(f"{self}: asks for no GPU, a share of one, or several whole ones")

    @property
    def gpu_milli(self) -> int:
        return self.gpus * self.share_milli


@dataclass(slots=True)
class Node:
    """`free`: of each GPU, in thousandths; below 0 where more is claimed than there is yet, as are
    CPU and memory. `closed`: nobody is placed there for now."""

    name: str
    model: str
    cpu_milli: int
    memory_mib: int
    free: list[int]
    closed: bool = False
    kind: str = ""

    def suits(self, pod: Pod) -> bool:
        """Whether it would be accepted, however much is free."""
        return (
            pod.kind == self.kind
            and (not pod.types or self.model in pod.types)
            and (not pod.names or self.name in pod.names)
        )

    def fits(self, pod: Pod) -> bool:
        return (
            not self.closed
            and pod.cpu_milli <= self.cpu_milli
            and pod.memory_mib <= self.memory_mib
            and self.suits(pod)
            and sum(f >= pod.share_milli for f in self.free) >= pod.gpus
        )

    def choices(self, pod: Pod) -> list[tuple[int, ...]]:
        """GPUs on which it could be; of those that are equally free, one."""
        if pod.gpus == 0:
            return [()]
        if pod.gpus > 1:
            whole = [index for index, free in enumerate(self.free) if free == FULL_MILLI]
            return [tuple(whole[: pod.gpus])]
        different = {f: index for index, f in enumerate(self.free) if f >= pod.share_milli}
        return [(index,) for index in different.values()]

    def place(self, pod: Pod, gpus: Sequence[int]) -> None:
        """Raises InvalidPlan if there is not enough."""
        if (
            not self.fits(pod)
            or len(set(gpus)) != pod.gpus
            or any(self.free[g] < pod.share_milli for g in gpus)
        ):
            raise InvalidPlan(f"{pod} on GPUs {tuple(gpus)} of {self}: there is not enough")
        self.claim(pod, gpus)

    def claim(self, pod: Pod, gpus: Sequence[int]) -> None:
        """Taken from what is free, or will be."""
        self.cpu_milli -= pod.cpu_milli
        self.memory_mib -= pod.memory_mib
        for gpu in gpus:
            self.free[gpu] -= pod.share_milli

    def remove(self, pod: Pod, gpus: Sequence[int]) -> None:
        """What was placed."""
        self.cpu_milli += pod.cpu_milli
        self.memory_mib += pod.memory_mib
        for gpu in gpus:
            self.free[gpu] += pod.share_milli


class Score(Protocol):
    def of(self, node: Node, pod: Pod) -> tuple[float, tuple[int, ...]]:
        """How bad the best choice of the node's GPUs is, and the choice. The pod fits."""
        ...


class Workload:
    """What pods are expected: kinds by (GPUs, share), and within each how much CPU they want."""

    def __init__(self, pods: Iterable[Pod]) -> None:
        counts: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
        total = cpu_milli = gpu_milli = 0
        for pod in pods:
            if pod.gpus:
                cpu_milli += pod.cpu_milli
                gpu_milli += pod.gpu_milli
            counts[pod.gpus, pod.share_milli][pod.cpu_milli] += 1
            total += 1
        self._cpu_per_gpu = cpu_milli / max(gpu_milli, 1)
        self._kinds = [
            (
                gpus,
                share,
                sorted(cpus),
                [0.0, *accumulate(cpus[cpu] / total for cpu in sorted(cpus))],
            )
            for (gpus, share), cpus in counts.items()
        ]

    def fragments(self, cpu_milli: int, free: Sequence[int]) -> float:
        """GPU milli of a node with so much free that an expected pod cannot use, on average."""
        whole = sum(free)
        lost = 0.0
        for gpus, share, cpus, below in self._kinds:
            enough = below[bisect_right(cpus, cpu_milli)]
            if gpus == 0:
                lost += below[-1] * whole
                continue
            usable = [f for f in free if f >= share]
            useless = whole - sum(usable) if len(usable) >= gpus else whole
            lost += enough * useless + (below[-1] - enough) * whole
        return lost

    def starved(self, cpu_milli: int, free: Sequence[int]) -> float:
        """GPU milli of the node for which its CPU will not suffice."""
        if not self._cpu_per_gpu:
            return 0.0
        return max(0.0, sum(free) - cpu_milli / self._cpu_per_gpu)


class Fragmentation:
    """The growth of the node's fragments; equal ones by what is left over."""

    def __init__(self, expected: Workload) -> None:
        self._expected = expected
        self._known: dict[tuple[int, tuple[int, ...]], float] = {}

    def of(self, node: Node, pod: Pod) -> tuple[float, tuple[int, ...]]:
        before = self._fragments(node.cpu_milli, node.free)
        found: list[tuple[float, int, tuple[int, ...]]] = []
        for gpus in node.choices(pod):
            free = node.free.copy()
            for gpu in gpus:
                free[gpu] -= pod.share_milli
            growth = self._fragments(node.cpu_milli - pod.cpu_milli, free) - before
            found.append((growth, sum(free[g] for g in gpus), gpus))
        growth, _, gpus = min(found)
        return growth + 1e-6 * sum(node.free), gpus

    def _fragments(self, cpu_milli: int, free: Sequence[int]) -> float:
        key = cpu_milli, tuple(sorted(free))
        if key not in self._known:
            if len(self._known) > 1 << 20:
                self._known.clear()
            self._known[key] = self._lost(*key)
        return self._known[key]

    def _lost(self, cpu_milli: int, free: Sequence[int]) -> float:
        return self._expected.fragments(cpu_milli, free)


class Balanced(Fragmentation):
    """Fragments and starved GPUs together."""

    def _lost(self, cpu_milli: int, free: Sequence[int]) -> float:
        expected = self._expected
        return expected.fragments(cpu_milli, free) + expected.starved(cpu_milli, free)


class BestFit:
    """What is left over of CPU, memory and GPUs, each as a share of the largest node's."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._cpu = max(1, *(node.cpu_milli for node in nodes))
        self._memory = max(1, *(node.memory_mib for node in nodes))
        self._gpu = max(1, *(len(node.free) for node in nodes)) * FULL_MILLI

    def of(self, node: Node, pod: Pod) -> tuple[float, tuple[int, ...]]:
        left = (
            (node.cpu_milli - pod.cpu_milli) / self._cpu
            + (node.memory_mib - pod.memory_mib) / self._memory
            + (sum(node.free) - pod.gpu_milli) / self._gpu
        )
        return left, min(
            node.choices(pod), key=lambda gpus: (sum(node.free[g] for g in gpus), gpus)
        )


class Packer:
    """Puts pods on nodes, one after the other. For each kind of pod a heap of the nodes by score;
    a node's entries are void once it has changed, and are made anew when that kind comes again."""

    def __init__(self, nodes: Sequence[Node], score: Score) -> None:
        if not nodes:
            raise Infeasible("no nodes to place pods on")
        self.nodes, self._score = nodes, score
        self._version = [0] * len(nodes)
        self._changes: list[int] = []  # nodes, in the order of their changes
        self._heaps: dict[Pod, list[tuple[float, int, int, tuple[int, ...]]]] = {}
        self._seen: dict[Pod, int] = {}

    def place(self, pod: Pod) -> tuple[int, tuple[int, ...]] | None:
        """The node's index and its GPUs; None where nothing has enough."""
        found = self.first(pod)
        if found is not None:
            self.put(pod, *found)
        return found

    def first(self, pod: Pod) -> tuple[int, tuple[int, ...]] | None:
        """Where it would be placed."""
        heap = self._scored(pod)
        while heap:
            _, index, version, gpus = heap[0]
            if version == self._version[index]:
                return index, gpus
            heapq.heappop(heap)
        return None

    def best(self, pod: Pod, most: int) -> list[tuple[int, tuple[int, ...]]]:
        """Up to so many nodes on which it fits, and its GPUs there, the best first."""
        heap = self._scored(pod)
        valid = sorted(each for each in heap if each[2] == self._version[each[1]])
        return [(index, gpus) for _, index, _, gpus in valid[:most]]

    def _scored(self, pod: Pod) -> list[tuple[float, int, int, tuple[int, ...]]]:
        heap = self._heaps.setdefault(pod, [])
        for index in self._stale(pod):
            node = self.nodes[index]
            if node.fits(pod):
                bad, gpus = self._score.of(node, pod)
                heapq.heappush(heap, (bad, index, self._version[index], gpus))
        return heap

    def put(self, pod: Pod, index: int, gpus: Sequence[int]) -> None:
        """There and nowhere else. Raises InvalidPlan if there is not enough."""
        self.nodes[index].place(pod, gpus)
        self._changed(index)

    def claim(self, pod: Pod, index: int, gpus: Sequence[int]) -> None:
        """There, whether there is enough yet or not."""
        self.nodes[index].claim(pod, gpus)
        self._changed(index)

    def remove(self, pod: Pod, index: int, gpus: Sequence[int]) -> None:
        """What was placed or claimed."""
        self.nodes[index].remove(pod, gpus)
        self._changed(index)

    def close(self, index: int, closed: bool) -> None:
        self.nodes[index].closed = closed
        self._changed(index)

    def _changed(self, index: int) -> None:
        self._version[index] += 1
        self._changes.append(index)

    def _stale(self, pod: Pod) -> Iterable[int]:
        """Nodes that have changed since this kind of pod was last placed: each once."""
        since = self._seen.get(pod)
        self._seen[pod] = len(self._changes)
        if since is None:
            return range(len(self.nodes))
        return dict.fromkeys(self._changes[since:])
