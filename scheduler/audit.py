"""Audits of what was promised, and of what halting cost, from the steps alone.

A pure fold over the loop's steps, so it tells the same of a live journal and of a simulation. It
knows no policy and believes none.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scheduler.core.commands import Checkpoint, Command, Release, Resize, Save, Start
from scheduler.core.events import (
    CheckpointFailed,
    Event,
    JobExited,
    JobResized,
    JobSaved,
    JobStarted,
    JobSubmitted,
    ResizeFailed,
    SaveFailed,
)
from scheduler.core.jobs import Job
from scheduler.core.speed import FULL_PPM, speed_ppm
from scheduler.core.values import JobSpec

HOUR_US = 3_600_000_000


@dataclass(slots=True, eq=False)
class _Life:
    """Progress of one job at moments between which its speed did not change."""

    spec: JobSpec
    part: str = ""
    slices: int = 0
    resized_to: int = 0
    rate_ppm: int = 0
    at_us: list[int] = field(default_factory=list)
    done_us: list[int] = field(default_factory=list)
    ended: bool = False

    def turn(self, now_us: int, rate_ppm: int) -> None:
        if self.at_us:
            done = self.done_us[-1] + (now_us - self.at_us[-1]) * self.rate_ppm // FULL_PPM
        else:
            done = 0
        self.at_us.append(now_us)
        self.done_us.append(done)
        self.rate_ppm = rate_ppm

    def begin(self, job: Job) -> bool:
        """Count from when it was admitted."""
        since_us = job.submitted_us if job.admitted_us is None else job.admitted_us
        if since_us < self.at_us[0]:
            self.at_us.insert(0, since_us)
            self.done_us.insert(0, 0)
        return True

    def until(self, moment_us: int) -> int:
        index = bisect_right(self.at_us, moment_us) - 1
        if index + 1 == len(self.at_us):
            return self.done_us[-1]
        since, upto = self.at_us[index], self.at_us[index + 1]
        done, later = self.done_us[index], self.done_us[index + 1]
        return done + (later - done) * (moment_us - since) // (upto - since)

    def worst_hour(self) -> float:
        """The least fraction of any sliding hour; of its whole life if that was shorter. It is
        found where an hour begins or ends at a moment of change."""
        first, last = self.at_us[0], self.at_us[-1]
        if last - first <= HOUR_US:
            return self.life()
        begins = {moment for moment in self.at_us if moment + HOUR_US <= last}
        begins |= {moment - HOUR_US for moment in self.at_us if moment - HOUR_US >= first}
        return min((self.until(b + HOUR_US) - self.until(b)) / HOUR_US for b in begins)

    def life(self) -> float:
        passed = self.at_us[-1] - self.at_us[0]
        return self.done_us[-1] / passed if passed else 1.0


@dataclass(frozen=True, slots=True)
class Fraction:
    """One job's accelerator fraction: of its worst sliding hour, and over its life."""

    job: int
    tier: str
    worst_hour: float
    life: float


class Audit:
    """A Recorder of the loop. `parts`: of devices by URI."""

    def __init__(self, parts: dict[str, str]) -> None:
        self._parts = parts
        self._lives: dict[int, _Life] = {}

    def record(self, events: Sequence[Event], commands: Sequence[Command]) -> None:
        now_us = events[-1].at_us
        for event in events:
            self._hear(event)
        for command in commands:
            self._see(now_us, command)

    def _hear(self, event: Event) -> None:
        if isinstance(event, JobSubmitted):
            self._lives[event.job] = _Life(event.spec)
            return
        life = self._lives.get(getattr(event, "job", 0))
        if life is None or not life.at_us or life.ended:
            return
        if isinstance(event, JobStarted | CheckpointFailed | ResizeFailed | JobSaved | SaveFailed):
            life.turn(event.at_us, self._rate(life))
        elif isinstance(event, JobResized):
            life.slices = life.resized_to
            life.turn(event.at_us, self._rate(life))
        elif isinstance(event, JobExited):
            life.turn(event.at_us, 0)
            life.ended = True

    def _see(self, now_us: int, command: Command) -> None:
        match command:
            case Start():
                life = self._lives[command.job]
                life.slices = len(command.slices)
                life.part = self._parts.get(command.slices[0].device, "")
                life.turn(now_us, 0)
            case Resize():
                life = self._lives[command.job]
                life.resized_to = len(command.slices)
                life.turn(now_us, 0)
            case Checkpoint() | Save() | Release():
                life = self._lives[command.job]
                if life.at_us and not life.ended:
                    life.turn(now_us, 0)
            case _:
                pass

    def _rate(self, life: _Life) -> int:
        return min(FULL_PPM, speed_ppm(life.spec, life.slices, life.part))

    def fractions(self, jobs: Mapping[int, Job]) -> list[Fraction]:
        """Of every job that was started, by number, since it was admitted (`jobs` say when); one
        that never was, since it was submitted."""
        return [
            Fraction(number, str(life.spec.tier), life.worst_hour(), life.life())
            for number, life in self._lives.items()
            if life.at_us and life.begin(jobs[number])
        ]
