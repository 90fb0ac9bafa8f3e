"""What jobs waited for in a simulated run, and what those wait for that are still there at its end.

Asking a policy for its reasons takes a while, so it is asked now and then: each answer stands for
the time since the one before. A job that waits for several reasons waits for each in proportion to
the devices concerned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from scheduler.core.commands import Command
from scheduler.core.events import Event
from scheduler.core.machine import Machine
from scheduler.core.plan import Blocker
from scheduler.core.view import View

ANSWERS = 128  # about so many, if a job makes three steps
US_PER_H = 3_600_000_000


class Explains(Protocol):
    def explain(self, view: View) -> Mapping[int, tuple[Blocker, ...]]: ...


class Waits:
    """A Recorder of the loop. `job_h`: job-hours waited, by reason."""

    def __init__(self, machine: Machine, policy: Explains, jobs: int) -> None:
        self.job_h: dict[str, float] = {}
        self._machine = machine
        self._policy = policy
        self._every = max(1, 3 * jobs // ANSWERS)
        self._steps = 0
        self._asked_us = 0

    def record(self, events: Sequence[Event], commands: Sequence[Command]) -> None:
        self._steps += 1
        if self._steps % self._every:
            return
        hours = (self._machine.now_us - self._asked_us) / US_PER_H
        self._asked_us = self._machine.now_us
        for blockers in self.left().values():
            total = sum(len(blocker.devices) or 1 for blocker in blockers)
            for blocker in blockers:
                share = (len(blocker.devices) or 1) / total
                why = str(blocker.why)
                self.job_h[why] = self.job_h.get(why, 0.0) + hours * share

    def left(self) -> Mapping[int, tuple[Blocker, ...]]:
        """Why each job waits that does now."""
        return self._policy.explain(self._machine.view())
