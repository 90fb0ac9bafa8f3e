"""What faults cost, from the steps of a simulated run and what its executor knows of jobs' work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.core.commands import Command, Start
from scheduler.core.events import DeviceLost, Event, JobCheckpointed, JobSaved
from scheduler.core.machine import Machine
from scheduler.sim.executor import SimExecutor
from scheduler.sim.measure import Done

HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class FaultFigures:
    """losses      nodes lost, planned or not
    restarts    attempts of jobs that ended with a node
    anew        jobs that began from zero again; `anew_after_checkpoint`: though they had had one
    lost_h      work that was lost with nodes, in device-hours of full speed
    saves       of running jobs
    goodput     device-hours of the work that is done in the end, over those that jobs held
    """

    losses: int
    restarts: int
    anew: int
    anew_after_checkpoint: int
    lost_h: float
    saves: int
    goodput: float


class Goodput:
    """A Recorder of the loop."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._losses = self._anew = self._anew_after = 0
        self._began: set[int] = set()
        self._saved: set[int] = set()
        self._held_us = self._now_us = self._held = 0

    def record(self, events: Sequence[Event], commands: Sequence[Command]) -> None:
        self._held_us += self._held * (events[-1].at_us - self._now_us)
        self._now_us, self._held = events[-1].at_us, len(self._machine.leases)
        for event in events:
            if isinstance(event, DeviceLost):
                self._losses += 1
            elif isinstance(event, JobCheckpointed | JobSaved):
                self._saved.add(event.job)
        for command in commands:
            if isinstance(command, Start):
                if not command.checkpoint:
                    self._anew += command.job in self._began
                    self._anew_after += command.job in self._saved
                self._began.add(command.job)

    def figures(self, done: Sequence[Done], executor: SimExecutor) -> FaultFigures:
        useful_h = sum(job.duration_s * job.count for job in done) / 3600
        return FaultFigures(
            self._losses,
            sum(job.restarts for job in self._machine.jobs.values()),
            self._anew,
            self._anew_after,
            executor.lost_us / HOUR_US,
            executor.saves,
            useful_h / max(self._held_us / HOUR_US, 1e-9),
        )
