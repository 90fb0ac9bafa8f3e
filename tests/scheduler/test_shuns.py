"""Devices on which starts fail again and again: avoided, as long as it is their fault."""

from __future__ import annotations

from scheduler.core import events
from scheduler.core.commands import Start
from scheduler.core.machine import Machine
from scheduler.core.plan import Why
from scheduler.core.transitions import Params
from scheduler.core.values import JobSpec
from scheduler.loop import decide
from scheduler.policies.elastic import Elastic
from scheduler.policies.elastic_audit import Attained, audit
from scheduler.policies.round import ElasticParams

S = 1_000_000
PARAMS = ElasticParams(min_run_s=0, spare_share=0, look_s=60)


class Driven:
    """Devices d0, d1, ... of one slice. A start fails if one of its devices is bad, or its job."""

    def __init__(self, devices: int, bad: set[str], bad_jobs: set[int] | None = None) -> None:
        self.machine = Machine(Params(backoff_us=S, max_backoff_us=S))
        self.policy = Elastic(PARAMS)
        self.bad, self.bad_jobs = bad, bad_jobs or set()
        self.tried: list[tuple[int, tuple[str, ...]]] = []
        for index in range(devices):
            self.step(events.DeviceAdded(0, f"d{index}", "gpu", "v100", 1))

    def step(self, event: events.Event) -> None:
        for command in decide(self.machine, self.policy, [event]):
            if not isinstance(command, Start):
                continue
            job, epoch, at = command.job, command.epoch, self.machine.now_us
            on = tuple(item.device for item in command.slices)
            self.tried.append((job, on))
            if self.bad.intersection(on) or job in self.bad_jobs:
                failed = events.StartFailed(at, job, epoch, "busy", "retry", "not now")
                self.step(failed)
            else:
                self.step(events.JobStarted(at, job, epoch))

    def submit(self, number: int, **more: object) -> None:
        spec = JobSpec("j", "t", "basic", "gpu", ("w",), **more)  # type: ignore[arg-type]
        self.step(events.JobSubmitted(self.machine.now_us, number, spec))

    def pass_s(self, seconds: int) -> None:
        for _ in range(seconds):
            self.step(events.TimePassed(self.machine.now_us + S))

    @property
    def avoided(self) -> list[str]:
        return sorted(self.policy._avoided.devices)


def test_a_device_where_one_fails_twice_in_a_row_is_left_to_itself_and_tried_again() -> None:
    driven = Driven(2, {"d0"})
    driven.submit(1)
    driven.pass_s(3)
    assert driven.tried == [(1, ("d0",)), (1, ("d0",)), (1, ("d1",))]
    assert driven.avoided == ["d0"]
    driven.submit(2)
    (blockers,) = driven.policy.explain(driven.machine.view()).values()
    assert (Why.AVOIDED, 1) in [(blocker.why, blocker.slices) for blocker in blockers]
    attained = Attained(PARAMS.first_level_s, PARAMS.level_ratio, PARAMS.first_run_s)
    view = driven.machine.view()
    attained.follow(view)
    assert audit(view, driven.policy.explain(view), attained, PARAMS.reserve_share) == []
    driven.pass_s(PARAMS.shun_s)
    assert driven.tried[3:] == [(2, ("d0",))]  # once; it is no better, so for twice as long
    driven.bad.clear()
    driven.pass_s(2 * PARAMS.shun_s - 3)
    assert len(driven.tried) == 4
    driven.pass_s(6)
    assert driven.tried[4:] == [(2, ("d0",))] and driven.avoided == []
    assert driven.policy._avoided._times == {}  # it is well, and a later failure is the first


def test_two_jobs_that_fail_once_each_are_enough() -> None:
    driven = Driven(3, {"d0"})
    driven.submit(1)
    assert driven.avoided == []
    driven.submit(2)
    assert driven.avoided == ["d0"]
    driven.pass_s(3)
    assert driven.tried[2:] == [(1, ("d1",)), (2, ("d2",))]


def test_a_job_that_fails_wherever_it_is_tried_tells_of_itself() -> None:
    driven = Driven(2, set(), {1})
    driven.submit(1)
    driven.pass_s(1)
    assert driven.avoided == ["d0"]
    driven.pass_s(1)
    assert driven.tried == [(1, ("d0",)), (1, ("d0",)), (1, ("d1",))]
    assert driven.avoided == []
    driven.pass_s(20)
    assert driven.avoided == [] and driven.machine.jobs[1].state == "failed"


def test_of_a_gang_the_device_is_found_that_is_to_blame() -> None:
    driven = Driven(16, {"d1"})
    driven.submit(1, count=4)
    driven.pass_s(20)
    assert driven.machine.jobs[1].state == "running"
    assert "d1" in driven.avoided and len(driven.avoided) <= 2


def test_never_all_devices_of_a_kind_and_who_names_one_has_it() -> None:
    driven = Driven(2, {"d0", "d1"})
    for number, uri in enumerate(("d0", "d1"), 1):
        driven.submit(number, devices=(uri,))
    driven.pass_s(1)
    assert driven.machine.view().failures.blamed() == {"d0": 2, "d1": 2}
    assert driven.avoided == ["d0"]
    driven.bad.clear()
    driven.pass_s(1)
    assert driven.tried[4:] == [(1, ("d0",)), (2, ("d1",))] and driven.avoided == []


def test_a_lost_device_is_not_blamed_and_its_successor_is_another() -> None:
    driven = Driven(2, {"d0"})
    driven.submit(1)
    driven.pass_s(3)
    assert driven.avoided == ["d0"]
    driven.step(events.DeviceLost(driven.machine.now_us, "d0", "taken away"))
    driven.step(events.DeviceAdded(driven.machine.now_us, "d0", "gpu", "v100", 1))
    assert driven.avoided == []
    machine = Machine()
    machine.handle(events.DeviceAdded(0, "d0", "gpu", "v100", 1))
    policy = Elastic(PARAMS)
    spec = JobSpec("j", "t", "basic", "gpu", ("w",))
    decide(machine, policy, [events.JobSubmitted(0, 1, spec)])
    lost = events.DeviceLost(1, "d0", "it broke")
    failed = events.StartFailed(1, 1, 1, "device_lost", "retry", "d0 was lost")
    decide(machine, policy, [lost, failed])
    assert machine.view().failures.blamed() == {}
