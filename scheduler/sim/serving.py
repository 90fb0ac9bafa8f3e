"""Requests through the replicas of a served model, in simulated time.

A replica holds a device and has `slots` (a batch): a request takes the first free slot in order of
arrival, and holds it while its prompt is read and its answer written. Both speeds are those of a
full batch, so the model errs on the slow side where a batch is not full.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scheduler.errors import Infeasible
from scheduler.policies.served import Objective, Seen, Served
from scheduler.traces.trace import Request


@dataclass(frozen=True, slots=True)
class Replica:
    """slots         requests that it works on at once
    input_per_s   tokens of a prompt read in a second, of one slot
    output_s      seconds for each token of the answer
    start_s       from the decision until it takes requests; its device is held meanwhile
    """

    slots: int = 4
    input_per_s: float = 8000.0
    output_s: float = 0.03
    start_s: float = 20.0

    def __post_init__(self) -> None:
        if not (self.slots > 0 and self.input_per_s > 0 and self.output_s > 0 <= self.start_s):
            raise Infeasible(f"{self}: slots and speeds above 0, a start-up of 0 s or more")

    def served(self, request: Request) -> Served:
        first_s = request.input_tokens / self.input_per_s + self.output_s
        return Served(first_s + max(0, request.output_tokens - 1) * self.output_s, first_s)


@dataclass(slots=True)
class Held:
    """A replica's device, from the decision to its last answer."""

    begin_s: float
    ready_s: float
    busy_s: float  # its last slot is free from then on
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class Serving:
    """What came of it. `wanted`: replicas decided on at each step."""

    requests: int
    late: int
    span_s: float
    device_s: float
    wanted: tuple[int, ...]
    first_s: tuple[float, ...]  # of each request, its wait included
    held: tuple[Held, ...] = field(repr=False)

    @property
    def attained(self) -> float:
        return 1 - self.late / self.requests

    @property
    def devices(self) -> float:
        """Held, on average over time."""
        return self.device_s / self.span_s


class Replicas:
    """The queue and its replicas; `until` moves time on. Copies are independent, so a search can
    go on from any step."""

    def __init__(self, requests: Sequence[Request], replica: Replica, objective: Objective) -> None:
        self.replica = replica
        self.objective_s = objective.first_s
        self._at = [r.at_s for r in requests]
        self._served = [replica.served(r) for r in requests]
        self.next = 0  # the first request without a slot
        self.slots: list[tuple[float, int]] = []  # (free from, replica)
        self.open: dict[int, Held] = {}
        self.closed: list[Held] = []
        self.late = 0
        self._made = 0

    def copy(self) -> Replicas:
        other = object.__new__(Replicas)
        other.replica, other.objective_s = self.replica, self.objective_s
        other._at, other._served = self._at, self._served
        other.next, other.late, other._made = self.next, self.late, self._made
        other.slots = self.slots.copy()
        other.open = {n: Held(h.begin_s, h.ready_s, h.busy_s) for n, h in self.open.items()}
        other.closed = []
        return other

    def alike(self, other: Replicas, now_s: float) -> bool:
        """Whether both go on in the same way from now."""

        if self.next != other.next or len(self.slots) != len(other.slots):
            return False

        def busy(queue: Replicas) -> list[list[float]]:
            of: dict[int, list[float]] = {number: [] for number in queue.open}
            for free_s, number in sorted(queue.slots):
                of[number].append(max(free_s, now_s))
            return sorted(of.values())

        return busy(self) == busy(other)

    def resize(self, now_s: float, count: int, ready_s: float | None = None) -> None:
        """More replicas, or fewer: those go that are empty first."""
        while len(self.open) < count:
            self.add(now_s, now_s + self.replica.start_s if ready_s is None else ready_s)
        self.drop(now_s, self.emptiest(len(self.open) - count))

    def emptiest(self, count: int) -> list[int]:
        return sorted(self.open, key=lambda n: (self.open[n].busy_s, -n))[:count]

    def add(self, begin_s: float, ready_s: float) -> int:
        """Another replica, which holds its device from `begin_s` on. Returns its number."""
        self.open[self._made] = Held(begin_s, ready_s, ready_s)
        for _ in range(self.replica.slots):
            heapq.heappush(self.slots, (ready_s, self._made))
        self._made += 1
        return self._made - 1

    def drop(self, now_s: float, numbers: Sequence[int]) -> None:
        """These take no more requests, and go when the answers under way are written."""
        for number in numbers:
            held = self.open.pop(number)
            starting = held.ready_s > now_s
            held.end_s = now_s if starting else max(now_s, held.busy_s)
            self.closed.append(held)
        if numbers:
            dropped = set(numbers)
            self.slots = [slot for slot in self.slots if slot[1] not in dropped]
            heapq.heapify(self.slots)

    def until(
        self, end_s: float, tell: Callable[[int, float], None] = lambda index, at_s: None
    ) -> None:
        """Give slots to requests up to `end_s`; each start is told."""
        while self.next < len(self._at) and self.slots:
            free_s, number = self.slots[0]
            at_s = self._at[self.next]
            start_s = max(at_s, free_s)
            if start_s >= end_s:
                return
            served = self._served[self.next]
            until_s = start_s + served.service_s
            heapq.heapreplace(self.slots, (until_s, number))
            held = self.open[number]
            held.busy_s = max(held.busy_s, until_s)
            self.late += start_s - at_s + served.first_s > self.objective_s
            tell(self.next, start_s)
            self.next += 1


class Watched:
    """A queue, and what an autoscaler is told of it at the end of each step."""

    def __init__(self, requests: Sequence[Request], replica: Replica, objective: Objective) -> None:
        self.queue = Replicas(requests, replica, objective)
        self.wanted: list[int] = []
        self._requests = requests
        self._served = [replica.served(r) for r in requests]
        self._ending: list[tuple[float, int]] = []
        self._firsts = [0.0] * len(requests)
        self._arrived = 0

    @property
    def done(self) -> bool:
        return self.queue.next == len(self._requests)

    def until(self, now_s: float) -> None:
        self.queue.until(now_s, self._tell)

    def _tell(self, index: int, start_s: float) -> None:
        served = self._served[index]
        self._firsts[index] = start_s - self._requests[index].at_s + served.first_s
        heapq.heappush(self._ending, (start_s + served.service_s, index))

    def seen(self, now_s: float, replicas: int) -> Seen:
        """After `until(now_s)`, of the step that ends now."""
        span_s = self._requests[-1].at_s
        if now_s > 10 * span_s + 3600:
            waiting = len(self._requests) - self.queue.next
            raise Infeasible(f"after {now_s:.0f} s {waiting} requests still wait")
        before = self._arrived
        while self._arrived < len(self._requests) and self._requests[self._arrived].at_s < now_s:
            self._arrived += 1
        ended = []
        while self._ending and self._ending[0][0] <= now_s:
            ended.append(self._served[heapq.heappop(self._ending)[1]])
        queue = self.queue
        return Seen(
            now_s,
            self._arrived - before,
            ended,
            self._arrived - queue.next,
            queue.next,
            queue.late,
            replicas,
        )

    def result(self) -> Serving:
        """When all replicas have gone."""
        span_s = self._requests[-1].at_s
        held = tuple(self.queue.closed)
        device_s = sum(min(h.end_s or span_s, span_s) - min(h.begin_s, span_s) for h in held)
        return Serving(
            len(self._requests),
            self.queue.late,
            span_s,
            device_s,
            tuple(self.wanted),
            tuple(self._firsts),
            held,
        )


def serve(
    requests: Sequence[Request],
    replica: Replica,
    objective: Objective,
    step_s: float,
    first: int,
    decide: Callable[[int, Seen], int],
) -> Serving:
    """All requests of a trace. `decide(step, seen)` is asked at the end of every step, how many
    replicas there shall be; `first` are ready at the beginning."""
    watched = Watched(requests, replica, objective)
    queue, now_s = watched.queue, 0.0
    queue.resize(0.0, first, ready_s=0.0)
    watched.wanted.append(first)
    while not watched.done:
        step = len(watched.wanted)
        now_s = step * step_s
        watched.until(now_s)
        count = max(1, decide(step, watched.seen(now_s, len(queue.open))))
        watched.wanted.append(count)
        queue.resize(now_s, count)
    queue.resize(max(requests[-1].at_s, now_s), 0)
    return watched.result()
