"""FPGAs that hold one overlay each, in simulated time: a reconfiguration is charged whenever an
FPGA takes a request for another overlay than it holds. No public trace of an FPGA fleet
exists: `synthesised` draws requests from a seed, and reports say so.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.errors import Infeasible
from scheduler.policies.overlays import Choice, Task


@dataclass(frozen=True, slots=True)
class Fabric:
    """So many FPGAs, each empty at the beginning; loading an overlay takes `reconfigure_s`."""

    count: int
    reconfigure_s: float

    def __post_init__(self) -> None:
        if self.count < 1 or self.reconfigure_s < 0:
            raise Infeasible(f"{self}: one FPGA or more, and 0 s or more")


@dataclass(frozen=True, slots=True)
class Ran:
    """response_s: from arrival to end, of each task in order of its start."""

    reconfigurations: int
    busy_s: float
    reconfiguring_s: float
    end_s: float
    response_s: tuple[float, ...]

    @property
    def average_s(self) -> float:
        return sum(self.response_s) / len(self.response_s)

    @property
    def p99_s(self) -> float:
        return sorted(self.response_s)[int(len(self.response_s) * 0.99)]


def synthesised(
    overlays: Sequence[tuple[str, float]], rate: float, run_s: float, count: int, seed: int
) -> list[Task]:
    """Poisson arrivals, exponential run times, overlays by weight."""
    drawn, at_s, tasks = random.Random(seed), 0.0, []
    names, weights = [name for name, _ in overlays], [weight for _, weight in overlays]
    for _ in range(count):
        at_s += drawn.expovariate(rate)
        (name,) = drawn.choices(names, weights)
        tasks.append(Task(at_s, name, drawn.expovariate(1 / run_s)))
    return tasks


def run(tasks: Sequence[Task], fabric: Fabric, choice: Choice) -> Ran:
    """Every task, each as a whole on one FPGA. `tasks`: in order of arrival."""
    loaded, since_s = [""] * fabric.count, [0.0] * fabric.count
    idle = set(range(fabric.count))
    waiting: dict[str, deque[Task]] = {}
    ends: list[tuple[float, int]] = []
    response: list[float] = []
    now_s = busy_s = 0.0
    coming = loads = 0
    while coming < len(tasks) or ends or waiting:
        moments = [task.at_s for task in tasks[coming : coming + 1]] + [at for at, _ in ends[:1]]
        if not moments:
            raise Infeasible(f"{choice} leaves {len(waiting)} overlays waiting on idle FPGAs")
        now_s = min(moments)
        while ends and ends[0][0] <= now_s:
            idle.add(heapq.heappop(ends)[1])
        while coming < len(tasks) and tasks[coming].at_s <= now_s:
            waiting.setdefault(tasks[coming].overlay, deque()).append(tasks[coming])
            coming += 1
        # Those that hold what somebody wants choose first; the others see what is left.
        for fpga in sorted(idle, key=lambda n: (loaded[n] not in waiting, n)):
            others = [loaded[n] for n in range(fabric.count) if n != fpga]
            if not waiting:
                break
            wanted = choice.overlay(now_s, waiting, loaded[fpga], since_s[fpga], others)
            if wanted is None:
                continue
            task = waiting[wanted].popleft()
            if not waiting[wanted]:
                del waiting[wanted]
            load_s = 0.0
            if loaded[fpga] != wanted:
                load_s = fabric.reconfigure_s
                loads += 1
                loaded[fpga], since_s[fpga] = wanted, now_s
            idle.discard(fpga)
            until_s = now_s + load_s + task.run_s
            busy_s += task.run_s
            response.append(until_s - task.at_s)
            heapq.heappush(ends, (until_s, fpga))
    return Ran(loads, busy_s, loads * fabric.reconfigure_s, now_s, tuple(response))
