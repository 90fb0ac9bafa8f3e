"""Faults of a simulated cluster, carried out: devices are lost and come back, nodes straggle, the
store is slow. Drawn from a seed, each source by itself, so that one more of them changes no other.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from random import Random
from typing import Protocol

from scheduler.core import events
from scheduler.core.speed import FULL_PPM
from scheduler.errors import Infeasible, TraceDamaged
from scheduler.sim.cluster import Cluster
from scheduler.sim.faults import Failing, Faults, Planned

S = 1_000_000
STUCK_STEPS = 1_000_000  # a job alone for two years takes half as many
NEVER_US = 1 << 62
Act = Callable[[list[str], int], None]
Step = Callable[[int], int]  # does it, at that moment; returns when it goes on, or NEVER_US


class Patience:
    """Faults may come sooner than any job ends, for ever: so that a run ends nevertheless."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._ended = self._since = 0

    def check(self, steps: int, ended: int, now_us: int) -> None:
        """Raises Infeasible if no job has ended for STUCK_STEPS steps."""
        if ended != self._ended:
            self._ended, self._since = ended, steps
        elif steps - self._since > STUCK_STEPS:
            raise Infeasible(
                f"faults: {ended} of {self._jobs} jobs ended, then none in {STUCK_STEPS} steps, up "
                f"to day {now_us / S / 86_400:.1f}: nodes fail sooner than these jobs end, or stay "
                "down; save jobs (--saves), or give a longer mtbf and a shorter mttr"
            )


class Breakable(Protocol):
    """What is broken: an executor in simulated time. When the moment of what comes next is there,
    or it wants to know that, it has it `happen`."""

    def go_wrong(self, breaking: Breaking) -> None: ...

    def feed(self, arrivals: Iterable[events.Event]) -> None: ...

    def straggle(self, device: str, ppm: int) -> None: ...

    def slow_store(self, ppm: int) -> None: ...


class Breaking:
    """Faults in the order of time, carried out on an executor for as long as `going` says that
    there are jobs."""

    def __init__(
        self,
        faults: Faults,
        cluster: Cluster,
        executor: Breakable,
        seed: int | str,
        going: Callable[[], bool],
        region_seed: int | str | None = None,
    ) -> None:
        """`region_seed`: of regions' faults, if others are to have them at the same time. Raises
        TraceDamaged: nodes that do not exist."""
        self.now_us = 0  # of what happened last
        self._executor = executor
        self.going = going
        hosts = cluster.hosts()
        self._nodes = {uri: (part, n, *hosts[uri]) for uri, n, part in cluster.each()}
        self._kind = cluster.kind
        self._down: dict[str, int] = {}  # node -> outages that it is in
        self._leaving: dict[str, int] = {}  # node -> when it is to be removed
        self._heap: list[tuple[int, int, Step]] = []  # what comes of each source next
        names = list(self._nodes)
        lose, give_back = self.lose, self.give_back  # once, for all
        slow_down = partial(self._straggle, faults.speed_ppm)
        speed_up = partial(self._straggle, FULL_PPM)
        for name, (_, devices, *_) in self._nodes.items():
            self._repeat(faults.node, f"{seed} node {name}", [name], lose, give_back)
            for index in range(devices if faults.device else 0):
                what = f"{seed} device {name}/{index}"
                self._repeat(faults.device, what, [name], lose, give_back)
            what = f"{seed} straggler {name}"
            self._repeat(faults.straggler, what, [name], slow_down, speed_up)
        if faults.region and faults.regions > len(names):
            raise TraceDamaged(
                f"faults: {faults.regions} regions are more than the {len(names)} nodes"
            )
        for index in range(faults.regions if faults.region else 0):
            size = len(names) / faults.regions
            region = names[round(index * size) : round((index + 1) * size)]
            what = f"{seed if region_seed is None else region_seed} region {index}"
            self._repeat(faults.region, what, region, lose, give_back)
        self._repeat(
            faults.store,
            f"{seed} store",
            [],
            lambda nodes, at: executor.slow_store(faults.slow_ppm),
            lambda nodes, at: executor.slow_store(FULL_PPM),
        )
        for planned in faults.planned:
            self._plan(planned, named(planned.nodes, names))
        executor.go_wrong(self)

    # ---- when

    @property
    def next_us(self) -> int:
        """When something goes wrong, or is right again; NEVER_US: it does not."""
        return self._heap[0][0] if self._heap else NEVER_US

    def happen(self, until_us: int) -> None:
        """All up to and at that moment."""
        heap = self._heap
        while heap and heap[0][0] <= until_us:
            self.now_us, number, step = heap[0]
            next_us = step(self.now_us)
            if next_us < NEVER_US:
                heapq.heapreplace(heap, (next_us, number, step))
            else:
                heapq.heappop(heap)

    def _add(self, at_us: int, step: Step) -> None:
        heapq.heappush(self._heap, (at_us, len(self._heap), step))

    def _repeat(
        self,
        failing: Failing | None,
        seed: str,
        nodes: list[str],
        begin: Act,
        end: Act,
    ) -> None:
        if failing is not None:
            source = _Source(self, failing, Random(seed), nodes, begin, end)
            self._add(source.next_us(0), source.step)

    def _plan(self, planned: Planned, nodes: list[str]) -> None:
        removed_s = planned.at_s + (planned.notice_s or 0.0)
        if planned.notice_s is not None:
            deadline_us = round(removed_s * S)
            self._once(planned.at_s, lambda at: self.drain(nodes, at, deadline_us))
        self._once(removed_s, lambda at: self.lose(nodes, at))
        self._once(removed_s + planned.lasts_s, lambda at: self.give_back(nodes, at))

    def _once(self, at_s: float, act: Callable[[int], None]) -> None:
        def step(at: int) -> int:
            act(at)
            return NEVER_US

        self._add(max(1, round(at_s * S)), step)

    # ---- what

    def _tell(self, event: events.Event) -> None:
        self._executor.feed([event])

    def lose(self, nodes: Iterable[str], at: int) -> None:
        for node in nodes:
            self._down[node] = self._down.get(node, 0) + 1
            if self._down[node] == 1:
                self._tell(events.DeviceLost(at, node, "it failed"))

    def give_back(self, nodes: Iterable[str], at: int) -> None:
        for node in nodes:
            self._down[node] -= 1
            if not self._down[node]:
                self._tell(events.DeviceAdded(at, node, self._kind, *self._nodes[node]))
                if self._leaving.get(node, 0) > at:
                    self._tell(events.DrainRequested(at, node, self._leaving[node]))

    def drain(self, nodes: Iterable[str], at: int, deadline_us: int) -> None:
        for node in nodes:
            self._leaving[node] = deadline_us
            self._tell(events.DrainRequested(at, node, max(at, deadline_us)))

    def _straggle(self, ppm: int, nodes: Iterable[str], at: int) -> None:
        for node in nodes:
            self._executor.straggle(node, ppm)


@dataclass(slots=True)
class _Source:
    """Comes and goes. There may be tens of thousands of them, so they are small."""

    _breaking: Breaking
    _failing: Failing
    _drawn: Random
    _nodes: list[str]
    _break: Act
    _mend: Act
    _is_wrong: bool = False

    def step(self, at: int) -> int:
        if self._is_wrong:
            self._mend(self._nodes, at)
        elif self._breaking.going():
            self._break(self._nodes, at)
        else:
            return NEVER_US
        self._is_wrong = not self._is_wrong
        return self.next_us(at)

    def next_us(self, at: int) -> int:
        mean_s = self._failing.mttr_s if self._is_wrong else self._failing.mtbf_s
        return at + max(1, round(self._drawn.expovariate(1 / mean_s) * S))


def named(pattern: str, names: Sequence[str]) -> list[str]:
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        raise TraceDamaged(
            f"faults: no node is called {pattern!r}; there are {names[0]} to {names[-1]}"
        )
    return found
