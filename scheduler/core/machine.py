"""The machine: cluster events and plans in, commands out.

It keeps three tables (devices, jobs, leases) and one rule: they change only through the
transition table, and leases follow from what a transition did to `Job.slices`. It has no clock
(time arrives in events), does no I/O, knows no policy, and iterates over ordered tables only; so
the same events and plans give the same commands, always and everywhere.

Bad input is refused before anything changes: InvalidEvent (the clock goes back, a job or a device
comes twice), UnknownJob, UnknownDevice.

Fencing. An event about an attempt that is over (an older epoch, or one ended by Release) is
dropped and counted. An event from the future, or one that the job's state cannot hear, is a
fault of the executor: InvalidTransition, telling the job's story.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from scheduler.core.commands import Command, Release, WakeAt
from scheduler.core.events import (
    CancelRequested,
    DeviceAdded,
    DeviceLost,
    DrainCancelled,
    DrainRequested,
    Event,
    JobEvent,
    JobSaved,
    JobStarted,
    JobSubmitted,
    LeaseReleased,
    PaceMeasured,
    SaveFailed,
    StartFailed,
    TimePassed,
    WindowClosed,
    WindowOpened,
)
from scheduler.core.failures import Failures
from scheduler.core.free import Free
from scheduler.core.halting import Halting
from scheduler.core.jobs import Job, JobState, Lease
from scheduler.core.plan import Admit, Blocker, Decision, GiveWay, Place, Plan, Resize
from scheduler.core.shares import Shares
from scheduler.core.transitions import TRANSITIONS, TRIED_AGAIN, Params, Surroundings
from scheduler.core.values import MAX_COUNT, Device, Needs, Slice
from scheduler.core.view import View, suits
from scheduler.errors import (
    InvalidEvent,
    InvalidPlan,
    InvalidTransition,
    UnknownDevice,
    UnknownJob,
)


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
        self._draining: dict[str, int] = {}  # device -> when it is to be removed
        self._owed: set[tuple[int, int]] = set()  # attempts of which a final Release is to follow
        self._free = Free()
        self._shares = Shares()
        self._fleet = 0
        self._failures = Failures()
        self._halting = Halting()
        self._newest = 0  # job
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

    @property
    def draining(self) -> Mapping[str, int]:
        """Devices that are to be removed -> when."""
        return MappingProxyType(self._draining)

    def holders(self, uri: str) -> tuple[int, ...]:
        """Jobs whose slices of that device are leased, one for each, seats included."""
        items = dict.fromkeys((*self._devices[uri].slices, *sorted(self._shares.on(uri))))
        return tuple(self._leases[item].job for item in items if item in self._leases)

    def view(self) -> View:
        """The cluster now. It looks into the machine's own tables: use it before the next event."""
        return View(
            self.now_us,
            self.devices,
            MappingProxyType(self._alive),
            MappingProxyType(self._leases),
            self.releasing,
            self.draining,
            self._free,
            self._failures,
            self._halting,
            tuple(self._changed),
            self._waiting_count,
            self._shares,
            self._fleet,
        )

    # ---- events

    def handle(self, event: Event) -> tuple[Command, ...]:
        """Raises InvalidEvent, UnknownJob, UnknownDevice, InvalidTransition; then nothing has
        changed, but the time if that was good."""
        if event.at_us < self.now_us:
            raise InvalidEvent(
                f"time went back: it was {self.now_us}us, and here comes {event}. Whoever makes "
                "events stamps them in order"
            )
        self.now_us = event.at_us
        commands = self._hear(event)
        if commands:
            self._halting.given(commands, self.now_us)
        return commands

    def _hear(self, event: Event) -> tuple[Command, ...]:
        match event:
            case JobSubmitted():
                return self._submit(event)
            case CancelRequested():
                return self._tell(self._job(event), event)
            case DeviceAdded():
                return self._add_device(event)
            case DeviceLost():
                return self._lose_device(event)
            case DrainRequested():
                return self._drain(event)
            case DrainCancelled():
                return self._keep_device(event)
            case LeaseReleased():
                return self._released(event)
            case TimePassed():
                self._wake_at_us = None
                return ()
            case WindowOpened() | WindowClosed():  # the journal's, for whoever keeps the window
                return ()
            case _:
                return self._report(event)

    def _job(self, event: CancelRequested | JobEvent) -> Job:
        job = self._jobs.get(event.job)
        if job is None:
            raise UnknownJob(f"job {event.job} was never submitted, and here comes {event}")
        return job

    def _device(self, event: DeviceLost | DrainRequested | DrainCancelled) -> Device:
        device = self._devices.get(event.device)
        if device is None:
            raise UnknownDevice(f"{event.device} was never added, and here comes {event}")
        return device

    def _submit(self, event: JobSubmitted) -> tuple[Command, ...]:
        if event.job <= self._newest:
            known = "it is there" if event.job in self._jobs else "it was never there"
            raise InvalidEvent(
                f"job {event.job} ({event.spec.name!r}) was submitted after job {self._newest}, "
                f"and {known}: numbers of jobs only grow, and come once"
            )
        self._newest = event.job
        job = Job(event.job, event.spec, self.now_us, checkpoint=event.checkpoint)
        self._put(job.told(f"{self.now_us}us submitted"))
        return ()

    def _add_device(self, event: DeviceAdded) -> tuple[Command, ...]:
        known = self._devices.get(event.device)
        if known is not None and known.up:
            raise InvalidEvent(
                f"{event.device} was added while it is up: a device that was lost is said to be "
                "lost before it comes again"
            )
        if not 1 <= event.slice_count <= MAX_COUNT:
            raise InvalidEvent(
                f"{event.device} was added with {event.slice_count} slices, not 1 to {MAX_COUNT}"
            )
        device = Device(
            event.device,
            event.kind,
            event.part,
            event.slice_count,
            cpu_milli=event.cpu_milli,
            memory_mib=event.memory_mib,
        )
        self._devices[event.device] = device
        self._fleet += 1
        self._free.add(device, self._held(device) if known else ())
        self._failures.added(device.kind, self.now_us)
        if known is not None:
            self._welcome(event.device)
        return ()

    def _welcome(self, uri: str) -> None:
        """What comes back is another: that starts failed there before says nothing of it."""
        for job in tuple(self._alive.values()):
            if uri in job.avoid:
                self._put(job.but(avoid=tuple(each for each in job.avoid if each != uri)))

    def _held(self, device: Device) -> set[int]:
        return {
            item.index
            for item in device.slices
            if item in self._leases or self._shares.is_shared(item)
        }

    def _lose_device(self, event: DeviceLost) -> tuple[Command, ...]:
        device = self._device(event)
        if not device.up:
            return ()
        self._devices[event.device] = replace(device, up=False, overlay="")
        self._fleet += 1
        drained = self._draining.pop(event.device, None) is not None
        if not drained:
            self._free.remove(device)
        self._failures.lost(device.kind, self.now_us, planned=drained)
        self._failures.is_well([device.uri])  # whatever comes back is another
        items = (*device.slices, *self._shares.on(device.uri))
        leases = (self._leases[item] for item in items if item in self._leases)
        holders = {lease.job for lease in leases if not lease.releasing}
        return tuple(c for number in sorted(holders) for c in self._tell(self._jobs[number], event))

    def _drain(self, event: DrainRequested) -> tuple[Command, ...]:
        device = self._device(event)
        if event.deadline_us < self.now_us:
            raise InvalidEvent(f"{event}: its deadline is over, it is {self.now_us}us")
        if not device.up:  # it was lost meanwhile, which is what was to come
            return ()
        if event.device not in self._draining:
            self._free.remove(device)
        self._draining[event.device] = event.deadline_us
        self._fleet += 1
        return ()

    def _keep_device(self, event: DrainCancelled) -> tuple[Command, ...]:
        device = self._device(event)
        if self._draining.pop(event.device, None) is not None:
            self._free.add(device, self._held(device))
            self._fleet += 1
        return ()

    def _released(self, event: LeaseReleased) -> tuple[Command, ...]:
        lease = self._releasing.pop((event.job, event.epoch), None)
        if lease is None:
            raise InvalidTransition(
                f"job {event.job} reports the release of attempt {event.epoch}, which nobody asked "
                "for, or twice"
            )
        self._halting.answered(self._jobs[event.job], event)
        for held in lease.slices:
            self._let_go(held)
        if (event.job, event.epoch) in self._owed:
            self._owed.discard((event.job, event.epoch))
            self._releasing[event.job, event.epoch] = Lease(event.job, event.epoch, (), True)
            return (Release(event.job, event.epoch, final=True),)
        return ()

    def _report(self, event: JobEvent) -> tuple[Command, ...]:
        job = self._job(event)
        if event.epoch < job.epoch or (event.epoch == job.epoch and not job.listening):
            self.fenced_count += 1
            return ()
        if event.epoch > job.epoch:
            raise InvalidTransition(
                f"{event} speaks of an attempt that was never made; the last was {job.epoch}.\n"
                + _story(job)
            )
        if isinstance(event, JobSaved | SaveFailed) and job.saving_us is None:
            raise InvalidTransition(f"{event}, but it is not being saved.\n" + _story(job))
        commands = self._tell(job, event)
        self._halting.answered(job, event)
        if isinstance(event, JobStarted):
            self._failures.is_well(item.device for item in job.slices)
        elif isinstance(event, StartFailed) and event.disposition in TRIED_AGAIN and not job.lost:
            self._failures.start_failed(job.id, dict.fromkeys(item.device for item in job.slices))
        return commands

    # ---- plans

    def apply(self, plan: Plan) -> tuple[Command, ...]:
        """Carry a plan out. Nothing is trusted: a slice that is not free is InvalidPlan."""
        commands: list[Command] = []
        self._changed.clear()  # what the plan itself changes counts for the next one
        for decision in plan.decisions:
            job = self._jobs.get(decision.job)
            if job is None:
                raise InvalidPlan(f"{decision} names a job that does not exist")
            if job.saving_us is not None and not isinstance(decision, Admit | GiveWay):
                raise InvalidPlan(f"{decision}: job {job.id} is being saved, wait for the answer")
            if isinstance(decision, Place):
                self._check_place(job, decision)
            elif isinstance(decision, Resize):
                self._check_resize(job, decision)
            commands += self._tell(job, decision)
            if isinstance(decision, Place) and job.spec.overlay:
                self._load(decision.slices, job.spec.overlay)
        self.waiting = dict(plan.waiting)
        if plan.wake_at_us is not None and plan.wake_at_us <= self.now_us:
            raise InvalidPlan(f"wake at {plan.wake_at_us}us, but it is {self.now_us}us already")
        if plan.wake_at_us is not None and plan.wake_at_us != self._wake_at_us:
            self._wake_at_us = plan.wake_at_us
            commands.append(WakeAt(plan.wake_at_us))
        self._halting.given(commands, self.now_us)
        return tuple(commands)

    def _load(self, slices: tuple[Slice, ...], overlay: str) -> None:
        for uri in dict.fromkeys(item.device for item in slices):
            if self._devices[uri].overlay != overlay:
                device = self._devices[uri] = replace(self._devices[uri], overlay=overlay)
                self._free.load(device)

    def _check_place(self, job: Job, place: Place) -> None:
        wanted = f"{place} for job {job.id}"
        self._check_count(job, place.slices, wanted)
        for item in place.slices:
            self._check_free(job, item, wanted)
        if len({self._devices[item.device].part for item in place.slices}) != 1:
            raise InvalidPlan(f"{wanted}: slices of several parts")
        if job.spec.needs is not None:
            self._check_needs(job.spec.needs, place.slices, wanted)

    def _check_needs(self, needs: Needs, slices: tuple[Slice, ...], wanted: str) -> None:
        one_each = len({item.index for item in slices}) == len(slices)
        seated = one_each and all(item.seat for item in slices)
        if not seated or len({item.device for item in slices}) != 1:
            raise InvalidPlan(f"{wanted}: what it needs is a seat on each slice, of one device")
        left = self._shares.left(self._devices[slices[0].device], self._leases)
        short = [i for i in slices if left.share_milli[i.index] < needs.share_milli]
        if short or needs.cpu_milli > left.cpu_milli or needs.memory_mib > left.memory_mib:
            raise InvalidPlan(f"{wanted}: it needs {needs}, of {slices[0].device} is left {left}")

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
        if item.device in self._draining:
            raise InvalidPlan(f"{wanted}: {item} is of a device that is being drained")
        if item in self._leases:
            raise InvalidPlan(f"{wanted}: {item} is held, {self._leases[item]}")
        if job.spec.needs is None and (item.seat or self._shares.is_shared(item)):
            raise InvalidPlan(f"{wanted}: {item} is shared, and it asks for whole slices")
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
        if not isinstance(trigger, PaceMeasured):  # of which there are many
            after = after.told(
                f"{self.now_us}us {type(trigger).__name__}: {job.state} -> {after.state}, "
                f"epoch {after.epoch}"
            )
        self._put(after)
        if any(isinstance(command, Release) for command in commands):
            return commands if self._release(job) else ()
        self._settle(job, after)
        return commands

    def _release(self, job: Job) -> bool:
        """Hold the slices until the Release is answered. False if that attempt is being released
        already (its device was lost, now it is cancelled): the final Release is given later."""
        key = job.id, job.epoch
        if key in self._releasing:
            self._owed.add(key)
            return False
        lease = self._releasing[key] = Lease(*key, job.slices, releasing=True)
        for held in job.slices:
            self._leases[held] = lease
        return True

    def _settle(self, before: Job, after: Job) -> None:
        """Make the leases follow: taken with new slices, free when they are let go."""
        if after.slices is before.slices:
            return
        lease = Lease(after.id, after.epoch, after.slices)
        for let_go in set(before.slices).difference(after.slices):
            self._let_go(let_go)
        needs = after.spec.needs
        for taken in after.slices:
            if taken not in self._leases and (
                needs is None or self._shares.take(taken, needs, first=taken == after.slices[0])
            ):
                self._free.take(taken)
            self._leases[taken] = lease

    def _let_go(self, item: Slice) -> None:
        del self._leases[item]
        if not self._shares.has(item) or self._shares.give(item):
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
