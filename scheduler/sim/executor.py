"""The executor in simulated time: it answers commands after what they cost, and ends jobs when
their work is done. Deterministic: events of one moment come in the order in which they were made.

A job that loses a device stops there and then; a command that is under way for it fails. It goes on
from its checkpoint with the work that was done when that was cut.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from scheduler.core import events
from scheduler.core.commands import Checkpoint, Command, Release, Resize, Save, Start, WakeAt
from scheduler.core.speed import FULL_PPM, relative, speed_ppm
from scheduler.core.values import JobSpec, Slice
from scheduler.sim.breaking import NEVER_US, Breaking
from scheduler.sim.costs import Costs

Made = Callable[[int], events.Event | None]  # an event, or none if it is void by then
Failed = (
    type[events.StartFailed]
    | type[events.ResizeFailed]
    | type[events.CheckpointFailed]
    | type[events.SaveFailed]
)


@dataclass(slots=True)
class Running:
    """A job's real work, which no policy sees. `left_us`: at full speed; `cut_us`: when its
    checkpoint was cut, or at the beginning."""

    spec: JobSpec
    left_us: int
    cut_us: int
    part: str = ""
    slices: int = 0
    devices: tuple[str, ...] = ()  # whose loss concerns it
    failing: Callable[[str], events.Event] | None = None  # the command under way, by that loss
    epoch: int = 0
    since_us: int = 0  # progress is counted up to here
    ppm: int = 0  # its speed; 0 while it stands still
    version: int = 0  # of its finish: what was foretold before a change is void


class SimExecutor:
    """`parts`: of devices, by URI. `work_us`: of each job, by its number, at full speed.

    ended      jobs that have done their work; `over`: those, and those that failed
    lost_us    work that was lost with devices, times slices asked for
    saves      jobs that were saved
    loads      overlays that were loaded
    """

    def __init__(
        self,
        costs: Costs,
        parts: dict[str, str],
        work_us: Callable[[int], int],
        report_us: int = 0,
    ) -> None:
        """`report_us`: running jobs tell their pace on each device so often; 0: never."""
        self.costs = costs
        self._report_us = report_us
        self.now_us = 0
        self.ended = 0
        self.over = 0
        self.lost_us = 0
        self.saves = 0
        self.loads = 0
        self.until_us = NEVER_US
        self._parts = parts
        self._work_us = work_us
        self._heap: list[tuple[int, int, Made]] = []
        self._made = 0
        self._wake: tuple[int, int] | None = None
        self._jobs: dict[int, Running] = {}
        self._on: dict[str, set[int]] = {}  # device -> jobs
        self._overlays: dict[str, str] = {}  # of devices
        self._straggling: dict[str, int] = {}  # device -> millionths of its speed
        self._store_ppm = FULL_PPM
        self._checkpoints = 0

    def at(self, at_us: int, make: Made) -> None:
        self._made += 1
        heapq.heappush(self._heap, (at_us, self._made, make))

    def feed(self, arrivals: Iterable[events.Event]) -> None:
        for event in arrivals:
            self.at(event.at_us, partial(_given, event))

    def progress_us(self, number: int) -> int:
        """Of the work of a job that has not ended, what is done now."""
        job = self._jobs.get(number)
        if job is None:
            return 0
        since_us = self.now_us - job.since_us
        return self._work_us(number) - job.left_us + since_us * job.ppm // FULL_PPM

    def give_up(self, number: int, checkpoint: str) -> int:
        """The work that is left of a job that waits, and will go on elsewhere from that checkpoint,
        or begin there if it has none; what it did since then is lost."""
        job = self._jobs.get(number)
        if job is None:
            return self._work_us(number)
        left_us = job.cut_us if checkpoint else self._work_us(number)
        self.lost_us += (left_us - job.left_us) * job.spec.count
        return left_us

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
            if isinstance(event, events.DeviceLost):
                self._fall(event.device)
        return batch

    def execute(self, command: Command) -> None:
        match command:
            case Start():
                self._start(command)
            case Resize():
                self._resize(command)
            case Checkpoint():
                self._checkpoint(command)
            case Save():
                self._save(command)
            case Release():
                self._release(command)
            case WakeAt():
                self._wake_at(command.at_us)

    def _wake_at(self, at_us: int) -> None:
        self._made += 1
        mine = self._wake = (at_us, self._made)
        self.at(at_us, lambda at: events.TimePassed(at) if self._wake == mine else None)

    # ---- faults

    def go_wrong(self, breaking: Breaking) -> None:
        """Each of these happens at its moment before all else; losses are told after all else."""
        if breaking.next_us >= NEVER_US:
            return

        def happen(at: int) -> None:
            breaking.happen(at)
            self.go_wrong(breaking)

        heapq.heappush(self._heap, (breaking.next_us, 0, happen))

    def straggle(self, device: str, ppm: int) -> None:
        """Whoever is on it runs at that share of its speed from now on; FULL_PPM: again at all."""
        self._straggling[device] = ppm
        if ppm == FULL_PPM:
            del self._straggling[device]
        for number in sorted(self._on.get(device, ())):
            job = self._jobs[number]
            if job.ppm:
                self._stand(job)
                self._run(number, job)

    def slow_store(self, ppm: int) -> None:
        """What begins from now on to be saved, halted or restored takes so much longer."""
        self._store_ppm = ppm

    def _stored(self, cost_us: int) -> int:
        return cost_us * self._store_ppm // FULL_PPM

    def _fall(self, device: str) -> None:
        """All that was running there is gone."""
        for number in sorted(self._on.get(device, ())):
            job = self._jobs[number]
            self._stand(job)
            if job.failing is not None:
                self.at(self.now_us, partial(_given, job.failing(device)))
                job.failing = None

    def _says(self, kind: Failed, number: int, job: Running, lost: str) -> events.Event:
        words = f"{lost} was lost"
        return kind(self.now_us, number, job.epoch, "device_lost", "retry", words)

    def _occupy(self, number: int, job: Running, devices: tuple[str, ...]) -> None:
        for device in job.devices:
            self._on[device].discard(number)
        job.devices = devices
        for device in devices:
            self._on.setdefault(device, set()).add(number)

    # ---- jobs

    def _start(self, start: Start) -> None:
        number, job = start.job, self._jobs.get(start.job)
        if job is None:
            work_us = self._work_us(number)
            job = self._jobs[number] = Running(start.spec, work_us, work_us)
        if not start.checkpoint:
            job.cut_us = self._work_us(number)
        self.lost_us += (job.cut_us - job.left_us) * job.spec.count
        job.left_us = job.cut_us
        job.epoch = start.epoch
        job.slices = len(start.slices)
        job.part = self._parts[start.slices[0].device]
        self._occupy(number, job, _devices(start.slices))
        job.failing = partial(self._says, events.StartFailed, number, job)
        cost = self._stored(self.costs.restore_us) if start.checkpoint else self.costs.start_us
        self._after(number, cost + self._loading_us(job), events.JobStarted)
        if self._report_us:
            self._report(number, job)

    def _loading_us(self, job: Running) -> int:
        """The devices are reconfigured at the same time."""
        other = [d for d in job.devices if self._overlays.get(d, "") != job.spec.overlay]
        if not job.spec.overlay or not other:
            return 0
        self.loads += len(other)
        self._overlays.update(dict.fromkeys(other, job.spec.overlay))
        return self.costs.reconfigure_us

    def _resize(self, resize: Resize) -> None:
        number, job = resize.job, self._jobs[resize.job]
        grows = len(resize.slices) > job.slices
        self._stand(job)
        before, had, has = job.slices, job.devices, _devices(resize.slices)

        def fail(lost: str) -> events.Event:
            job.slices = before
            self._occupy(number, job, had)
            if lost not in had:
                self._run(number, job)
            return self._says(events.ResizeFailed, number, job, lost)

        job.failing = fail
        job.slices = len(resize.slices)
        self._occupy(number, job, tuple(dict.fromkeys((*had, *has))))
        cost = self.costs.grow_us if grows else self.costs.shrink_us
        answered = cost if grows else min(cost, self.costs.checkpoint_us)
        self._after(number, cost, events.JobResized, answered, has)

    def _after(
        self,
        number: int,
        cost_us: int,
        answer: Callable[[int, int, int], events.Event],
        answered_us: int | None = None,
        devices: tuple[str, ...] | None = None,
    ) -> None:
        """The job runs on after the cost; the answer comes then, or earlier. From then on it has
        these devices only."""
        job = self._jobs[number]
        version, epoch = job.version, job.epoch

        def run(at: int) -> events.Event | None:
            if job.version != version:  # halted, ended, released or fallen meanwhile
                return None
            early = answered_us is not None and answered_us < cost_us
            event = None if early else tell(at)
            self._run(number, job)
            return event

        def tell(at: int) -> events.Event | None:
            if job.version != version:
                return None
            job.failing = None
            if devices is not None:
                self._occupy(number, job, devices)
            return answer(at, number, epoch)

        if answered_us is not None and answered_us < cost_us:
            self.at(self.now_us + answered_us, tell)
        self.at(self.now_us + cost_us, run)

    def _run(self, number: int, job: Running) -> None:
        ppm = speed_ppm(job.spec, job.slices, job.part)
        if job.slices < job.spec.count:
            ppm = ppm * self.costs.turns_ppm // FULL_PPM
        if self._straggling:  # a gang is as slow as the slowest of it
            share = min(self._straggling.get(device, FULL_PPM) for device in job.devices)
            ppm = max(1, ppm * share // FULL_PPM)
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

    def _report(self, number: int, job: Running) -> None:
        """While the attempt lasts. A pace is that of the device, for a rank's own steps do not wait
        for others'; in steps of the job, whose length is nobody else's affair."""
        epoch = job.epoch

        def told(at: int) -> events.Event | None:
            if job.epoch != epoch or not job.devices:
                return None
            self.at(at + self._report_us, told)
            if not job.ppm:
                return None
            of_part = round(relative(job.spec, job.part) * FULL_PPM)
            return events.PaceMeasured(
                at,
                number,
                epoch,
                tuple(
                    (uri, of_part * self._straggling.get(uri, FULL_PPM) // FULL_PPM)
                    for uri in job.devices
                ),
            )

        self.at(self.now_us + self._report_us, told)

    def _stand(self, job: Running) -> None:
        """Count its progress up to now; from now on there is none."""
        now = self.now_us
        job.left_us = max(0, job.left_us - (now - job.since_us) * job.ppm // FULL_PPM)
        job.ppm, job.since_us = 0, now
        job.version += 1

    def _checkpoint(self, command: Checkpoint) -> None:
        self._cut(
            command, events.JobCheckpointed, events.CheckpointFailed, self.costs.checkpoint_us
        )

    def _save(self, command: Save) -> None:
        self._cut(command, events.JobSaved, events.SaveFailed, self.costs.save_us)

    def _cut(
        self,
        command: Checkpoint | Save,
        answer: type[events.JobCheckpointed] | type[events.JobSaved],
        failed: Failed,
        cost_us: int,
    ) -> None:
        number, job = command.job, self._jobs[command.job]
        self._stand(job)
        job.failing = partial(self._says, failed, number, job)
        self._checkpoints += 1
        name, version, epoch = f"cp-{self._checkpoints}", job.version, job.epoch

        def done(at: int) -> events.Event | None:
            if job.version != version:
                return None
            job.failing = None
            job.cut_us = job.left_us
            if isinstance(command, Save):
                self.saves += 1
                self._run(number, job)
            else:
                job.version += 1
                self._occupy(number, job, ())
            return answer(at, number, epoch, name)

        self.at(self.now_us + self._stored(cost_us), done)

    def _release(self, command: Release) -> None:
        job = self._jobs.get(command.job)
        if job is not None:
            self._stand(job)
            job.failing = None
            self._occupy(command.job, job, ())
            if command.final:
                del self._jobs[command.job]
        self.over += command.final
        self.at(
            self.now_us + self.costs.release_us,
            lambda at: events.LeaseReleased(at, command.job, command.epoch),
        )


def _devices(slices: Iterable[Slice]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item.device for item in slices))


def _given(event: events.Event, at_us: int) -> events.Event:
    return event
