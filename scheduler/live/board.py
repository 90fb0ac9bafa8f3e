"""What readers see of a running loop: frozen answers, published after every step.

It is a Recorder of the loop, so it is written on the loop's thread and read on any. Nobody but
the loop ever touches the machine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from scheduler.core.commands import Command
from scheduler.core.events import DeviceAdded, DrainCancelled, DrainRequested, Event
from scheduler.core.jobs import Job, JobState
from scheduler.core.machine import Machine
from scheduler.core.plan import Blocker
from scheduler.core.values import Device
from scheduler.errors import UnknownDevice, UnknownJob
from scheduler.journal import Step
from scheduler.live.gang import world_size
from scheduler.timeline import Span, Timeline


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One job, in plain words and numbers (it crosses to JSON as it is).

    device, session  where its first worker is connected, "" while it holds no device
    ranks            how many workers it has, on however many slices
    slices           those that they run on; several ranks may share one
    target           while it is resized, those that they go to
    waiting          what stands between it and a device, in words
    blockers         the same, for programs: see core.plan.Blocker
    halted_for       the job it was halted or shrunk for, until it has its slices again; 0 if none
    gave_way         it was not halted for that one, but ended: its device was due
    reason           why it failed
    *_s              seconds since the pool started; None if that has not happened
    """

    id: int
    name: str
    tenant: str
    tier: str
    device_kind: str
    state: str
    device: str
    session: str
    ranks: int
    slices: tuple[str, ...]
    target: tuple[str, ...]
    epoch: int
    preemptions: int
    resizes: int
    restarts: int
    checkpoint: str
    waiting: str
    blockers: tuple[Blocker, ...]
    halted_for: int
    gave_way: bool
    reason: str
    log: str
    submitted_s: float
    started_s: float | None
    ended_s: float | None

    @property
    def terminal(self) -> bool:
        return JobState(self.state).terminal


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    uri: str
    kind: str
    part: str
    up: bool
    slices: int
    jobs: tuple[int, ...]  # that hold a slice of it, once for each; or seats, by seat
    state: str  # "up", "draining", "removed" (it was drained), "down"
    leaves_s: float | None  # draining: when it is removed, in seconds since the pool started


def follow_drains(leaving: set[str], events: Iterable[Event]) -> None:
    """Devices that are drained, or were and are gone."""
    for event in events:
        if isinstance(event, DrainRequested):
            leaving.add(event.device)
        elif isinstance(event, DrainCancelled | DeviceAdded):
            leaving.discard(event.device)


class Board:
    def __init__(
        self,
        machine: Machine,
        session_of: Callable[[int], str],
        log_of: Callable[[int], str],
        reasons: Callable[[], Mapping[int, tuple[Blocker, ...]]],
    ) -> None:
        """`reasons`: why each waiting job waits; asked after every step, on the loop's thread."""
        self.changed = threading.Condition()
        self._machine = machine
        self._session_of = session_of
        self._log_of = log_of
        self._reasons = reasons
        self._timeline = Timeline()
        self._jobs: Mapping[int, Job] = {}
        self._waiting: Mapping[int, tuple[Blocker, ...]] = {}
        self._devices: tuple[DeviceStatus, ...] = ()
        self._leaving: set[str] = set()

    def record(self, events: Sequence[Event], commands: Sequence[Command]) -> None:
        with self.changed:
            follow_drains(self._leaving, events)
            self._timeline.record(events, commands)
            self.publish()

    def recall(self, steps: Iterable[Step]) -> None:
        """Steps that were taken before; the machine is as it was after them."""
        with self.changed:
            for step in steps:
                follow_drains(self._leaving, step.events)
                self._timeline.record(step.events, step.commands)
            self.publish()

    def publish(self) -> None:
        machine = self._machine
        draining = machine.draining
        with self.changed:
            self._jobs = dict(machine.jobs)
            self._waiting = dict(self._reasons())
            self._devices = tuple(
                DeviceStatus(
                    device.uri,
                    device.kind,
                    device.part,
                    device.up,
                    device.slice_count,
                    machine.holders(device.uri),
                    self._state(device),
                    draining[device.uri] / 1e6 if device.uri in draining else None,
                )
                for device in machine.devices.values()
            )
            self.changed.notify_all()

    def _state(self, device: Device) -> str:
        if device.uri in self._machine.draining:
            return "draining"
        if device.up:
            return "up"
        return "removed" if device.uri in self._leaving else "down"

    def has(self, job_id: int) -> bool:
        with self.changed:
            return job_id in self._jobs

    def job(self, job_id: int) -> JobStatus:
        """Raises UnknownJob."""
        with self.changed:
            found = self._jobs.get(job_id)
            if found is None:
                raise UnknownJob(f"job {job_id} is not known; {len(self._jobs)} jobs are")
            return self._status(found)

    def jobs(self) -> tuple[JobStatus, ...]:
        with self.changed:
            return tuple(self._status(job) for job in self._jobs.values())

    def alive_count(self) -> int:
        with self.changed:
            return sum(not job.state.terminal for job in self._jobs.values())

    def devices(self) -> tuple[DeviceStatus, ...]:
        with self.changed:
            return self._devices

    def device(self, uri: str) -> DeviceStatus:
        """Raises UnknownDevice."""
        found = self.devices()
        for device in found:
            if device.uri == uri:
                return device
        raise UnknownDevice(f"no device {uri!r}; there are {', '.join(d.uri for d in found)}")

    def spans(self, now_us: int) -> tuple[Span, ...]:
        with self.changed:
            return self._timeline.spans(now_us)

    def _status(self, job: Job) -> JobStatus:
        spec, slices = job.spec, job.kept or job.slices
        here = slices[0].device if slices else ""
        return JobStatus(
            id=job.id,
            name=spec.name,
            tenant=spec.tenant,
            tier=str(spec.tier),
            device_kind=spec.device_kind,
            state=str(job.state),
            device=here,
            session=self._session_of(job.id) if here else "",
            ranks=world_size(spec),
            slices=tuple(map(str, slices)),
            target=tuple(map(str, job.target)),
            epoch=job.epoch,
            preemptions=job.preemptions,
            resizes=job.resizes,
            restarts=job.restarts,
            checkpoint=job.checkpoint,
            waiting="; ".join(str(blocker) for blocker in self._waiting.get(job.id, ())),
            blockers=self._waiting.get(job.id, ()),
            halted_for=job.evicted_for,
            gave_way=bool(job.evicted_for) and job.gave_way == job.epoch,
            reason=job.reason,
            log=self._log_of(job.id) if spec.argv is not None else "",
            submitted_s=job.submitted_us / 1e6,
            started_s=job.started_us / 1e6 if job.started_us else None,
            ended_s=None if job.ended_us is None else job.ended_us / 1e6,
        )
