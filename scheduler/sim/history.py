"""How a simulated cluster was used over time, in a bounded number of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.core.commands import Command
from scheduler.core.events import Event
from scheduler.core.machine import Machine

SAMPLES = 1024  # kept; when full, every two become one of twice the length


@dataclass(slots=True)
class Sample:
    """Time averages over one stretch. `held`: slices with a lease; `waiting`, `alive`: jobs."""

    held: float = 0.0
    waiting: float = 0.0
    alive: float = 0.0


class UseOverTime:
    """A Recorder of the loop. `step_us` is the length of a sample."""

    def __init__(self, machine: Machine, step_us: int = 60_000_000) -> None:
        self.step_us = step_us
        self.samples: list[Sample] = []
        self._machine = machine
        self._now_us = 0
        self._held = self._waiting = self._alive = 0

    def record(self, events: Sequence[Event], commands: Sequence[Command]) -> None:
        self._pass(events[-1].at_us)
        view = self._machine.view()
        self._held = len(view.leases)
        self._alive = len(view.jobs)
        self._waiting = view.waiting_count

    def _pass(self, until_us: int) -> None:
        while self._now_us < until_us:
            index = self._now_us // self.step_us
            if index >= SAMPLES:
                self._halve()
                continue
            while len(self.samples) <= index:
                self.samples.append(Sample())
            end_us = min(until_us, (index + 1) * self.step_us)
            share = (end_us - self._now_us) / self.step_us
            sample = self.samples[index]
            sample.held += share * self._held
            sample.waiting += share * self._waiting
            sample.alive += share * self._alive
            self._now_us = end_us

    def _halve(self) -> None:
        pairs = zip(self.samples[::2], self.samples[1::2], strict=True)
        self.samples = [
            Sample((a.held + b.held) / 2, (a.waiting + b.waiting) / 2, (a.alive + b.alive) / 2)
            for a, b in pairs
        ]
        self.step_us *= 2
