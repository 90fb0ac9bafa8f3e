"""What was halted for whom, from the steps and the machine that took them."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.core.commands import Checkpoint, Command
from scheduler.core.events import Event
from scheduler.core.machine import Machine


class Disruption:
    """A Recorder of the loop; `machine` is the one that it drives.

    evictions  halts in favour of another job
    moves      halts of jobs that are to go on elsewhere, in nobody's favour but their own
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.evictions = 0
        self.moves = 0
        self._halted: dict[tuple[int, int], int] = {}  # taker, its attempt -> slices

    def record(self, events: Sequence[Event], commands: Sequence[Command]) -> None:
        for command in commands:
            if not isinstance(command, Checkpoint):
                continue
            job = self._machine.jobs[command.job]
            if job.evicted_for in (0, job.id):
                self.moves += 1
                continue
            self.evictions += 1
            taker = self._machine.jobs[job.evicted_for]
            key = taker.id, taker.epoch
            self._halted[key] = self._halted.get(key, 0) + len(job.slices)

    def over_requested(self) -> list[float]:
        """Of every job that others were halted for, each time it waited: slices of those that
        were halted, over slices that it asked for. Rising."""
        asked = {number: job.spec.count for number, job in self._machine.jobs.items()}
        return sorted(slices / asked[taker] for (taker, _), slices in self._halted.items())
