"""The executor in simulated time: it answers commands after what they cost, and ends jobs when
their work is done. Deterministic: events of one moment come in the order in which they were made.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from scheduler.core import events
from scheduler.core.commands import Checkpoint, Command, Release, Resize, Start, WakeAt
from scheduler.core.speed import FULL_PPM, speed_ppm
from scheduler.core.values import JobSpec
from scheduler.sim.costs import Costs

NEVER_US = 1 << 62
Made = Callable[[int], events.Event | None]  # an event, or none if it is void by then


@dataclass(slots=True)
class Running:
    """A job's real work, which no policy sees. `left_us`: at full speed."""

    spec: JobSpec
    left_us: int
    part: str = ""
    slices: int = 0
    epoch: int = 0
    since_us: int = 0  # progress is counted up to here
    ppm: int = 0  # its speed; 0 while it stands still
    version: int = 0  # of its finish: what was foretold before a change is void


class SimExecutor:
    """`parts`: of devices, by URI. `work_us`: of each job, by its number, at full speed."""

    def __init__(self, costs: Costs, parts: dict[str, str], work_us: Callable[[int], int]) -> None:
        self.costs = costs
        self.now_us = 0
        self.ended = 0  # jobs
        self.until_us = NEVER_US
        self._parts = parts
        self._work_us = work_us
        self._heap: list[tuple[int, int, Made]] = []
        self._made = 0
        self._wake: tuple[int, int] | None = None
        self._jobs: dict[int, Running] = {}
        self._checkpoints = 0

    def at(self, at_us: int, make: Made) -> None:
        self._made += 1
        heapq.heappush(self._heap, (at_us, self._made, make))

    def feed(self, arrivals: Iterable[events.Event]) -> None:
        for event in arrivals:
            self.at(event.at_us, partial(_given, event))

    def left_us(self, number: int) -> int | None:
        """Of a job's work; None if it never began."""
        job = self._jobs.get(number)
        return None if job is None else job.left_us

    # ---- the loop's side

    def poll(self, timeout_us: int) -> Sequence[events.Event]:
        """All events of the next moment at which something happens; none when nothing will before
        `until_us` is over."""
        batch: list[events.Event] = []
        while self._heap and (not batch or self._heap[0][0] == self.now_us):
            if self._heap[0][0] > self.until_us:
                break
            self.now_us, _, make = heapq.heappop(self._heap)
            event = make(self.now_us)
            if event is not None:
                batch.append(event)
        return batch

    def execute(self, command: Command) -> None:
        match command:
            case Start():
                self._start(command)
            case Resize():
                self._resize(command)
            case Checkpoint():
                self._checkpoint(command)
            case Release():
                self._release(command)
            case WakeAt():
                self._wake_at(command.at_us)

    def _wake_at(self, at_us: int) -> None:
        self._made += 1
        mine = self._wake = (at_us, self._made)
        self.at(at_us, lambda at: events.TimePassed(at) if self._wake == mine else None)

    # ---- jobs

    def _start(self, start: Start) -> None:
        job = self._jobs.get(start.job)
        if job is None or not start.checkpoint:
            job = self._jobs[start.job] = Running(
                start.spec, self._work_us(start.job), version=job.version if job else 0
            )
        job.epoch = start.epoch
        job.slices = len(start.slices)
        job.part = self._parts[start.slices[0].device]
        cost = self.costs.restore_us if start.checkpoint else self.costs.start_us
        self._after(start.job, cost, events.JobStarted)

    def _resize(self, resize: Resize) -> None:
        job = self._jobs[resize.job]
        grows = len(resize.slices) > job.slices
        self._stand(job)
        job.slices = len(resize.slices)
        cost = self.costs.grow_us if grows else self.costs.shrink_us
        answered = cost if grows else min(cost, self.costs.checkpoint_us)
        self._after(resize.job, cost, events.JobResized, answered)

    def _after(
        self,
        number: int,
        cost_us: int,
        answer: Callable[[int, int, int], events.Event],
        answered_us: int | None = None,
    ) -> None:
        """The job runs on after the cost; the answer comes then, or earlier."""
        job = self._jobs[number]
        version, epoch = job.version, job.epoch

        def run(at: int) -> events.Event | None:
            if job.version == version:  # else halted, ended or released meanwhile
                self._run(number, job)
                if answered_us is None or answered_us == cost_us:
                    return answer(at, number, epoch)
            return None

        def tell(at: int) -> events.Event | None:
            return answer(at, number, epoch) if job.version == version else None

        if answered_us is not None and answered_us < cost_us:
            self.at(self.now_us + answered_us, tell)
        self.at(self.now_us + cost_us, run)

    def _run(self, number: int, job: Running) -> None:
        ppm = speed_ppm(job.spec, job.slices, job.part)
        if job.slices < job.spec.count:
            ppm = ppm * self.costs.turns_ppm // FULL_PPM
        job.ppm, job.since_us = ppm, self.now_us
        job.version += 1
        version, epoch = job.version, job.epoch

        def end(at: int) -> events.Event | None:
            if job.version != version:
                return None
            self._stand(job)
            self.ended += 1
            return events.JobExited(at, number, epoch, 0)

        self.at(job.since_us + -(-job.left_us * FULL_PPM // ppm), end)

    def _stand(self, job: Running) -> None:
        """Count its progress up to now; from now on there is none."""
        now = self.now_us
        job.left_us = max(0, job.left_us - (now - job.since_us) * job.ppm // FULL_PPM)
        job.ppm, job.since_us = 0, now
        job.version += 1

    def _checkpoint(self, command: Checkpoint) -> None:
        job = self._jobs[command.job]
        self._stand(job)
        self._checkpoints += 1
        name, version, epoch = f"cp-{self._checkpoints}", job.version, job.epoch

        def done(at: int) -> events.Event | None:
            if job.version != version:
                return None
            job.version += 1
            return events.JobCheckpointed(at, command.job, epoch, name)

        self.at(self.now_us + self.costs.checkpoint_us, done)

    def _release(self, command: Release) -> None:
        job = self._jobs.get(command.job)
        if job is not None:
            self._stand(job)
            if command.final:
                del self._jobs[command.job]
        self.at(
            self.now_us + self.costs.release_us,
            lambda at: events.LeaseReleased(at, command.job, command.epoch),
        )


def _given(event: events.Event, at_us: int) -> events.Event:
    return event
