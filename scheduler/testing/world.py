"""A random world for the loop: a fake executor, and what may happen to it, drawn by a Random.

The executor answers in any order, fails as it likes, loses devices and workers at any time, and
lets late answers of ended attempts through. After every step the invariants must hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from scheduler.core import events
from scheduler.core.jobs import Job, JobState
from scheduler.core.machine import Machine
from scheduler.core.values import JobSpec
from scheduler.loop import Loop, Recorder
from scheduler.policies.policy import Policy
from scheduler.testing.executor import FakeExecutor
from scheduler.testing.invariants import HOLDING, History

DEVICES = (  # uri, kind, part, slices: two parts of one kind, and a second kind
    ("g:0", "g", "big", 2),
    ("g:1", "g", "big", 1),
    ("g:2", "g", "small", 2),
    ("f:0", "f", "sim", 1),
    ("f:1", "f", "sim", 1),
)
SETTLE_STEPS = 600  # more than any amount of work drawn here takes; a livelock would exceed it
DRAIN_US = (0, 1_000_000, 200_000_000, 1_000_000_000)  # until a device is removed

ACTIONS = (
    *("submit",) * 5,
    *("answer",) * 10,
    *("answer_all",) * 5,
    *("pass_time",) * 6,
    *("exit",) * 2,
    *("fail",) * 2,
    *("cancel", "toggle_device"),
)
FAULTS = (
    *ACTIONS * 4,
    *("drain",) * 3,
    *("remove_drained", "keep_drained", "lose_region"),
    *("return_all",) * 3,
)


class World:
    """spec      the next job, by its number
    broken    complaints about the machine as it is after a step
    actions   what may happen, in proportion
    most      jobs that may be there at once
    dispositions  of what fails"""

    def __init__(
        self,
        machine: Machine,
        policy: Policy,
        spec: Callable[[Random, int], JobSpec],
        broken: Callable[[], Sequence[str]],
        recorders: Sequence[Recorder] = (),
        devices: Sequence[tuple[str, str, str, int]] = DEVICES,
        actions: Sequence[str] = ACTIONS,
        steps_us: Sequence[int] = (1_000, 500_000, 1_000_000, 2_000_000),
        most: int = 1 << 30,
        dispositions: Sequence[str] = ("retry", "migrate", "retry", "migrate", "caller", "fatal"),
    ) -> None:
        self.machine = machine
        self.devices = {device[0]: device for device in devices}
        self.actions = tuple(actions)
        self.executor = FakeExecutor()
        self.history = History(machine)
        self.loop = Loop(machine, policy, self.executor, (*recorders, self.history))
        self.submitted = 0
        self.handled = 0  # events
        self.seen: Counter[str] = Counter()
        self._spec = spec
        self._broken = broken
        self._steps_us = steps_us
        self._most = most
        self._dispositions = dispositions
        for device in devices:
            self.executor.post(events.DeviceAdded(0, *device))
        self.step()

    @property
    def now_us(self) -> int:
        return self.executor.now_us

    def step(self) -> None:
        self.handled += len(self.executor.inbox)
        self.loop.step(0)
        found = [*self.history.complaints, *self._broken()]
        assert not found, "\n".join(found)

    def act(self, rng: Random) -> None:
        self.do(rng.choice(self.actions), rng)

    def do(self, name: str, rng: Random) -> None:
        getattr(self, name)(rng)
        self.seen[name] += 1
        self.step()

    # ---- what may happen

    def submit(self, rng: Random) -> None:
        if len(self.machine.view().jobs) < self._most:
            self.submitted += 1
            spec = self._spec(rng, self.submitted)
            self.executor.post(events.JobSubmitted(self.now_us, self.submitted, spec))

    def answer(self, rng: Random) -> None:
        if self.executor.asked:
            self.executor.succeed(rng.choice(sorted(self.executor.asked)))

    def answer_all(self, rng: Random) -> None:
        for key in sorted(self.executor.asked):
            self.executor.succeed(key)

    def fail(self, rng: Random) -> None:
        keys = [key for key in sorted(self.executor.asked) if key[0] != "Release"]
        if keys:
            self.executor.fail(rng.choice(keys), rng.choice(self._dispositions))

    def pass_time(self, rng: Random) -> None:
        self.executor.pass_time(rng.choice(self._steps_us))

    def exit(self, rng: Random) -> None:
        workers = [
            job
            for job in self.machine.view().jobs.values()
            if job.listening and (job.state in HOLDING or job.state is JobState.PREEMPTED)
        ]
        if workers:
            job, code = rng.choice(workers), rng.choice((0, 0, 0, 1, -9))
            self.executor.post(events.JobExited(self.now_us, job.id, job.epoch, code, "bye"))

    def cancel(self, rng: Random) -> None:
        if self.submitted:
            job = rng.randint(1, self.submitted)
            self.executor.post(events.CancelRequested(self.now_us, job))

    def toggle_device(self, rng: Random) -> None:
        device = rng.choice(tuple(self.devices))
        if self.machine.devices[device].up:
            self.executor.post(events.DeviceLost(self.now_us, device, "killed"))
        else:
            self._bring(device)

    def _bring(self, device: str) -> None:
        self.executor.post(events.DeviceAdded(self.now_us, *self.devices[device]))

    def drain(self, rng: Random) -> None:
        device, deadline_us = rng.choice(tuple(self.devices)), self.now_us + rng.choice(DRAIN_US)
        self.executor.post(events.DrainRequested(self.now_us, device, deadline_us))

    def remove_drained(self, rng: Random) -> None:
        """What is to be removed is, in time or not."""
        for device in tuple(self.machine.view().draining):
            self.executor.post(events.DeviceLost(self.now_us, device, "removed"))

    def keep_drained(self, rng: Random) -> None:
        device = rng.choice(tuple(self.devices))
        self.executor.post(events.DrainCancelled(self.now_us, device))

    def lose_region(self, rng: Random) -> None:
        """About half of all devices at once."""
        for device in self.devices:
            if rng.random() < 0.5:
                self.executor.post(events.DeviceLost(self.now_us, device, "region"))

    def return_all(self, rng: Random) -> None:
        for device in self.devices:
            if not self.machine.devices[device].up:
                self._bring(device)

    # ---- the end

    def settle(self) -> None:
        """With every device up and everything succeeding, every job comes to its end."""
        for device in self.devices:
            self.executor.post(events.DrainCancelled(self.now_us, device))
        self.return_all(Random(0))
        for _ in range(SETTLE_STEPS):
            self.answer_all(Random(0))
            self.step()
            self.executor.pass_time(max(self._steps_us) // 2)
            for job in self.machine.view().jobs.values():
                if job.state is JobState.RUNNING:
                    exited = events.JobExited(self.now_us, job.id, job.epoch, 0)
                    self.executor.post(exited)
                    break
            self.step()
            if not self.executor.asked and not self.executor.inbox and self._is_at_rest():
                break
        else:
            raise AssertionError("the cluster did not come to rest")
        assert not self.machine.leases

    def _is_at_rest(self) -> bool:
        def impossible(job: Job) -> bool:
            fits = self.machine.view().acceptable(job).values()
            return max(map(len, fits), default=0) < job.spec.least

        return all(impossible(job) for job in self.machine.view().jobs.values())
