"""The fewest replicas that anybody could have done with who knew every request beforehand.

Same queue, steps and start-up times as `serve`; all that is free is how many replicas there are at
each step. From more than are ever needed, stretches of steps give up a replica: first where nobody
is late for it, long stretches before short ones; then wherever the fewest are late for the device
time saved, until the objective allows no more. Greedy, so no proof that it is the least: the bound
that no plan can pass is reported beside it.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from scheduler.errors import Infeasible
from scheduler.policies.served import Objective
from scheduler.sim.serving import Replica, Replicas, Serving, serve
from scheduler.traces.trace import Request

STRETCHES = (64, 32, 16, 8, 4, 2, 1)  # steps
PAID_STRETCHES = 8  # the longest for which requests may be late
LOOK_STEPS = 6  # after a stretch, by which its cost is estimated; what is done is reckoned whole


def fewest_known(
    requests: Sequence[Request],
    replica: Replica,
    objective: Objective,
    step_s: float,
    plan: Sequence[int],
) -> Serving:
    """Improve a plan (replicas at each step) that keeps the objective, by full knowledge."""
    search = Search(requests, replica, objective, step_s, plan)
    if search.late > search.allowed:
        raise Infeasible(
            "a search for the fewest begins with a plan that keeps the objective; of "
            f"{len(requests)} requests {search.late} are late, {search.allowed} may be"
        )
    search.free()
    search.paid()
    found = search.plan
    return serve(requests, replica, objective, step_s, found[0], lambda step, seen: search.at(step))


def least_work(requests: Sequence[Request], replica: Replica, objective: Objective) -> float:
    """Devices, on average, that no plan can do with fewer than: the work of the shortest requests
    that make up the share (the others not served at all), on slots that never idle."""
    services = sorted(replica.served(r).service_s for r in requests)
    kept = services[: int(len(services) * objective.share)]
    return sum(kept) / replica.slots / requests[-1].at_s


class Search:
    """`_states[k]`: the queue before the decision of step k; the last one: when all is done."""

    def __init__(
        self,
        requests: Sequence[Request],
        replica: Replica,
        objective: Objective,
        step_s: float,
        plan: Sequence[int],
    ) -> None:
        self.step_s, self.plan = step_s, list(plan)
        self.allowed = int(len(requests) * (1 - objective.share))
        state = Replicas(requests, replica, objective)
        state.resize(0.0, self.plan[0], ready_s=0.0)
        self._states = [state]
        for step in range(len(self.plan)):
            self._states.append(self._next(self._states[step], step, self.plan[step]))

    def at(self, step: int) -> int:
        return self.plan[min(step, len(self.plan) - 1)]

    @property
    def late(self) -> int:
        return self._states[-1].late

    def _next(self, state: Replicas, step: int, count: int) -> Replicas:
        state = state.copy()
        state.resize(step * self.step_s, count, ready_s=None if step else 0.0)
        last = step + 1 == len(self.plan)
        state.until(float("inf") if last else (step + 1) * self.step_s)
        return state

    def _without(self, begin: int, length: int, look: int) -> list[Replicas]:
        """The states after `begin` with a replica less for `length` steps, until all is as before
        again, or for `look` steps more."""
        states: list[Replicas] = []
        state = self._states[begin]
        for step in range(begin, min(len(self.plan), begin + length + look)):
            less = step < begin + length
            state = self._next(state, step, max(1, self.plan[step] - less))
            states.append(state)
            if not less and state.alike(self._states[step + 1], (step + 1) * self.step_s):
                break
        return states

    def _cost(self, begin: int, length: int) -> int:
        """Requests that are soon late for it."""
        states = self._without(begin, length, LOOK_STEPS)
        return states[-1].late - self._states[begin + len(states)].late

    def _take(self, begin: int, length: int, allowed: int) -> bool:
        """Carry it out, unless more than `allowed` are late then."""
        states = self._without(begin, length, len(self.plan))
        end = begin + len(states)
        more = states[-1].late - self._states[end].late
        if self.late + more > allowed:
            return False
        for step in range(begin, begin + length):
            self.plan[step] -= 1
        self._states[begin + 1 : end + 1] = states
        if more:
            for state in self._states[end + 1 :]:
                state.late += more
        return True

    def _possible(self, begin: int, length: int) -> bool:
        part = self.plan[begin : begin + length]
        return len(part) == length and min(part) > 1

    def free(self) -> None:
        for length in STRETCHES:
            for begin in range(0, len(self.plan) - length + 1, max(1, length // 2)):
                while (
                    self._possible(begin, length)
                    and self._cost(begin, length) <= 0
                    and self._take(begin, length, self.late)
                ):
                    pass

    def paid(self) -> None:
        """Costs are kept in a heap and reckoned anew when they come up: a change alters them only
        near itself."""
        heap = [
            (self._cost(begin, length) / length, begin, length)
            for length in STRETCHES
            if length <= PAID_STRETCHES
            for begin in range(len(self.plan))
            if self._possible(begin, length)
        ]
        heapq.heapify(heap)
        while heap:
            _, begin, length = heapq.heappop(heap)
            if not self._possible(begin, length):
                continue
            cost = self._cost(begin, length) / length
            if heap and cost > heap[0][0]:
                heapq.heappush(heap, (cost, begin, length))
            elif self._take(begin, length, self.allowed):
                heapq.heappush(heap, (self._cost(begin, length) / length, begin, length))
