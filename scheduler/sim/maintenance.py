"""A window of maintenance in a simulated cluster: each turn the best nodes for it are taken out."""

from __future__ import annotations

from scheduler.core.machine import Machine
from scheduler.policies.choices import CP_SAT
from scheduler.policies.maintenance import Schedule, Window, schedule
from scheduler.sim.breaking import Breaking, named
from scheduler.sim.cluster import Cluster
from scheduler.sim.executor import SimExecutor
from scheduler.sim.faults import Maintained

S = 1_000_000


class Maintenance:
    """`schedules`: one for each turn, as it was decided then."""

    def __init__(
        self,
        window: Maintained,
        cluster: Cluster,
        machine: Machine,
        breaking: Breaking,
        executor: SimExecutor,
        solver: str = CP_SAT,
    ) -> None:
        """Raises TraceDamaged: nodes that do not exist."""
        self.schedules: list[Schedule] = []
        self._left = named(window.nodes, [name for name, _, _ in cluster.each()])
        self._window = window
        self._closes_us = round((window.at_s + window.within_s) * S)
        self._machine = machine
        self._breaking = breaking
        self._executor = executor
        self._solver = solver

    def begin(self) -> None:
        self._executor.at(round(self._window.at_s * S), self._turn)

    def _turn(self, at_us: int) -> None:
        turn_s = self._window.notice_s + self._window.lasts_s
        turn_us = round(turn_s * S)
        if not self._left or at_us + turn_us > self._closes_us + S:
            return
        view = self._machine.view()
        closes_us = self._closes_us + S - (at_us - view.now_us)  # the machine heard of less so far
        window = Window(tuple(self._left), closes_us, turn_us)
        found = schedule(view, window, self._solver)
        self.schedules.append(found)
        self._left = [name for name in self._left if name not in found.first]
        removed_us = at_us + round(self._window.notice_s * S)
        back_us = at_us + turn_us
        nodes = list(found.first)
        self._breaking.drain(nodes, at_us, removed_us)
        self._executor.at(removed_us, lambda at: self._breaking.lose(nodes, at))
        self._executor.at(back_us, lambda at: self._breaking.give_back(nodes, at))
        self._executor.at(back_us, self._turn)
