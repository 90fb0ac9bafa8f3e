"""The machine: cluster events and plans in, commands out.

It keeps three tables (devices, jobs, leases) and one rule: they change only through the
transition table, and leases follow from what a transition did to `Job.slices`. It has no clock
(time arrives in events), does no I/O, knows no policy, and iterates over ordered tables only; so
the same events and plans give the same commands, always and everywhere.

Fencing. An event about an attempt that is over (an older epoch, or one ended by Release) is
dropped and counted. An event from the future, or one that the job's state cannot hear, is a
fault of the executor: InvalidTransition, telling the job's story.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from scheduler.core.commands import Command, Release, WakeAt
from scheduler.core.events import (
    CancelRequested,
    DeviceAdded,
    DeviceLost,
    Event,
    JobEvent,
    JobSubmitted,
    LeaseReleased,
    TimePassed,
)
from scheduler.core.free import Free
from scheduler.core.jobs import Job, JobState, Lease
from scheduler.core.plan import Blocker, Decision, Place, Plan, Resize
from scheduler.core.transitions import TRANSITIONS, Params, Surroundings
from scheduler.core.values import Device, Slice
from scheduler.core.view import View, suits
from scheduler.errors import InvalidPlan, InvalidTransition, UnknownJob


class Machine:
    """See the module. `jobs`, `devices` and `leases` are for reading."""

    def __init__(self, params: Params | None = None) -> None:
        self.params = params or Params()
        self.now_us = 0
        self.fenced_count = 0
        self.waiting: dict[int, tuple[Blocker, ...]] = {}
        self._jobs: dict[int, Job] = {}
        self._alive: dict[int, Job] = {}  # not ended; a subset of _jobs, for the policy's view
        self._devices: dict[str, Device] = {}
        self._leases: dict[Slice, Lease] = {}
        self._releasing: dict[tuple[int, int], Lease] = {}
        self._free = Free()
        self._changed: dict[int, None] = {}  # jobs, since the last plan
        self._waiting_count = 0
        self._wake_at_us: int | None = None

    @property
    def jobs(self) -> Mapping[int, Job]:
        return MappingProxyType(self._jobs)

    @property
    def devices(self) -> Mapping[str, Device]:
        return MappingProxyType(self._devices)

    @property
    def leases(self) -> Mapping[Slice, Lease]:
        return MappingProxyType(self._leases)

    @property
    def releasing(self) -> Mapping[tuple[int, int], Lease]:
        """Attempts whose Release has not been answered yet."""
        return MappingProxyType(self._releasing)

    def view(self) -> View:
        """The cluster now. It looks into the machine's own tables: use it before the next event."""
        return View(
            self.now_us,
            self.devices,
            MappingProxyType(self._alive),
            MappingProxyType(self._leases),
            self._free,
            tuple(self._changed),
            self._waiting_count,
        )

    # ---- events

    def handle(self, event: Event) -> tuple[Command, ...]:
        assert event.at_us >= self.now_us, f"time went back from {self.now_us} at {event}"
        self.now_us = event.at_us
        match event:
            case JobSubmitted():
                return self._submit(event)
            case CancelRequested():
                if event.job not in self._jobs:
                    raise UnknownJob(f"cancel of job {event.job}: no such job was submitted")
                return self._tell(self._jobs[event.job], event)
            case DeviceAdded():
                return self._add_device(event)
            case DeviceLost():
                return self._lose_device(event)
            case LeaseReleased():
                return self._released(event)
            case TimePassed():
                self._wake_at_us = None
                return ()
            case _:
                return self._report(event)

    def _submit(self, event: JobSubmitted) -> tuple[Command, ...]:
        newest = next(reversed(self._jobs), 0)
        assert event.job > newest, f"job {event.job} submitted after job {newest}"
        job = Job(event.job, event.spec, self.now_us, checkpoint=event.checkpoint)
        self._put(job.told(f"{self.now_us}us submitted"))
        return ()

    def _add_device(self, event: DeviceAdded) -> tuple[Command, ...]:
        known = self._devices.get(event.device)
        assert known is None or not known.up, f"{event.device} was added while it is up"
        device = Device(event.device, event.kind, event.part, event.slice_count)
        self._devices[event.device] = device
        self._free.add(
            device, {i.index for i in device.slices if i in self._leases} if known else ()
        )
        return ()

    def _lose_device(self, event: DeviceLost) -> tuple[Command, ...]:
        device = self._devices.get(event.device)
        assert device is not None, f"{event.device} was lost but never added"
        if not device.up:
            return ()
        self._devices[event.device] = Device(
            device.uri, device.kind, device.part, device.slice_count, up=False
        )
        self._free.remove(device)
        holders = [
            job
            for job in self._alive.values()
            if any(held.device == event.device for held in job.slices)
        ]
        return tuple(command for job in holders for command in self._tell(job, event))

    def _released(self, event: LeaseReleased) -> tuple[Command, ...]:
        lease = self._releasing.pop((event.job, event.epoch), None)
        if lease is None:
            raise InvalidTransition(
                f"job {event.job} reports the release of attempt {event.epoch}, which nobody asked "
                "for, or twice"
            )
        for held in lease.slices:
            self._let_go(held)
        return ()

    def _report(self, event: JobEvent) -> tuple[Command, ...]:
        job = self._jobs.get(event.job)
        if job is None:
            raise UnknownJob(f"{type(event).__name__} of job {event.job}, which does not exist")
        if event.epoch < job.epoch or (event.epoch == job.epoch and not job.listening):
            self.fenced_count += 1
            return ()
        if event.epoch > job.epoch:
            raise InvalidTransition(
                f"{event} speaks of an attempt that was never made; the last was {job.epoch}.\n"
                + _story(job)
            )
        return self._tell(job, event)

    # ---- plans

    def apply(self, plan: Plan) -> tuple[Command, ...]:
        """Carry a plan out. Nothing is trusted: a slice that is not free is InvalidPlan."""
        commands: list[Command] = []
        self._changed.clear()  # what the plan itself changes counts for the next one
        for decision in plan.decisions:
            job = self._jobs.get(decision.job)
            if job is None:
                raise InvalidPlan(f"{decision} names a job that does not exist")
            if isinstance(decision, Place):
                self._check_place(job, decision)
            elif isinstance(decision, Resize):
                self._check_resize(job, decision)
            commands += self._tell(job, decision)
        self.waiting = dict(plan.waiting)
        if plan.wake_at_us is not None and plan.wake_at_us <= self.now_us:
            raise InvalidPlan(f"wake at {plan.wake_at_us}us, but it is {self.now_us}us already")
        if plan.wake_at_us is not None and plan.wake_at_us != self._wake_at_us:
            self._wake_at_us = plan.wake_at_us
            commands.append(WakeAt(plan.wake_at_us))
        return tuple(commands)

    def _check_place(self, job: Job, place: Place) -> None:
        wanted = f"{place} for job {job.id}"
        self._check_count(job, place.slices, wanted)
        for item in place.slices:
            self._check_free(job, item, wanted)
        if len({self._devices[item.device].part for item in place.slices}) != 1:
            raise InvalidPlan(f"{wanted}: slices of several parts")

    def _check_resize(self, job: Job, resize: Resize) -> None:
        wanted = f"{resize} for job {job.id}, which has {len(job.slices)}"
        self._check_count(job, resize.slices, wanted)
        for item in resize.slices:
            if item not in job.slices:
                self._check_free(job, item, wanted)
                if self._devices[item.device].part != job.part:
                    raise InvalidPlan(f"{wanted}: {item} is of another part; halt it to move it")
        if set(resize.slices) == set(job.slices):
            raise InvalidPlan(f"{wanted}: nothing would change")

    def _check_count(self, job: Job, slices: tuple[Slice, ...], wanted: str) -> None:
        spec = job.spec
        if not spec.least <= len(slices) <= spec.most or len(set(slices)) != len(slices):
            raise InvalidPlan(
                f"{wanted}: a gang of {spec.least} to {spec.most} gets all its slices at once, "
                "each of them once"
            )

    def _check_free(self, job: Job, item: Slice, wanted: str) -> None:
        device = self._devices.get(item.device)
        if device is None or not device.up or item.index not in range(device.slice_count):
            raise InvalidPlan(f"{wanted}: {item} does not exist or is down")
        if item in self._leases:
            raise InvalidPlan(f"{wanted}: {item} is held, {self._leases[item]}")
        if not (suits(job.spec, device) and job.spec.goes_on(job.part, device.part)):
            raise InvalidPlan(f"{wanted}: {item} is of another kind, name or part")

    # ---- transitions

    def _tell(self, job: Job, trigger: Event | Decision) -> tuple[Command, ...]:
        transition = TRANSITIONS.get((job.state, type(trigger)))
        if transition is None:
            raise InvalidTransition(
                f"job {job.id} ({job.spec.name!r}) is {job.state} and cannot hear {trigger}.\n"
                + _story(job)
            )
        part = ""
        if isinstance(trigger, Place):
            part = self._devices[trigger.slices[0].device].part
        after, commands = transition(job, trigger, Surroundings(self.now_us, self.params, part))
        after = after.told(
            f"{self.now_us}us {type(trigger).__name__}: {job.state} -> {after.state}, "
            f"epoch {after.epoch}"
        )
        self._settle(job, after, commands)
        self._put(after)
        return commands

    def _settle(self, before: Job, after: Job, commands: tuple[Command, ...]) -> None:
        """Make the leases follow: taken with new slices, free when they are let go, and held on
        for a Release until it is answered."""
        released = any(isinstance(command, Release) for command in commands)
        if released:
            lease = Lease(before.id, before.epoch, before.slices, releasing=True)
            self._releasing[before.id, before.epoch] = lease
            for held in before.slices:
                self._leases[held] = lease
            return
        if after.slices is before.slices:
            return
        lease = Lease(after.id, after.epoch, after.slices)
        for let_go in set(before.slices).difference(after.slices):
            self._let_go(let_go)
        for taken in after.slices:
            if taken not in self._leases:
                self._free.take(taken)
            self._leases[taken] = lease

    def _let_go(self, item: Slice) -> None:
        del self._leases[item]
        self._free.give(item)

    def _put(self, job: Job) -> None:
        before = self._jobs.get(job.id)
        self._waiting_count += job.state.waiting - (before is not None and before.state.waiting)
        self._jobs[job.id] = job
        self._changed[job.id] = None
        if job.state.terminal:
            self._alive.pop(job.id, None)
        else:
            self._alive[job.id] = job


def _story(job: Job) -> str:
    return f"The story of job {job.id}:\n" + "\n".join(f"  {line}" for line in job.story)


TERMINAL_STATES = tuple(state for state in JobState if state.terminal)
