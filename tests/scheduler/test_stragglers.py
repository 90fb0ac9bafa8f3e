"""Devices that are slower than their peers: noticed by what jobs report, and left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduler.core import events
from scheduler.core.commands import Command, Resize, Start
from scheduler.core.halting import ENOUGH
from scheduler.core.machine import Machine
from scheduler.core.plan import Why
from scheduler.core.values import JobSpec, Slice
from scheduler.errors import Infeasible
from scheduler.loop import decide
from scheduler.policies.elastic import Elastic
from scheduler.policies.elastic_audit import Attained, audit
from scheduler.policies.round import ElasticParams
from scheduler.sim.cluster import read_cluster
from scheduler.sim.costs import FREE, Costs
from scheduler.sim.faults import read_faults
from scheduler.sim.run import Result, simulate
from scheduler.traces.trace import TraceJob, in_order

S = 1_000_000
PARAMS = ElasticParams(
    stragglers=True, min_run_s=0, settle_s=60, look_s=60, spare_share=0, avoid_s=3600
)


class Driven:
    """Devices d0, d1, ... of `slices` each; what is commanded is done at once."""

    def __init__(self, devices: int, slices: int = 1) -> None:
        self.machine, self.policy = Machine(), Elastic(PARAMS)
        self.given: list[Command] = []
        for index in range(devices):
            self.step(events.DeviceAdded(0, f"d{index}", "gpu", "v100", slices))

    def step(self, event: events.Event) -> None:
        todo = list(decide(self.machine, self.policy, [event]))
        self.given += todo
        for command in todo:
            if isinstance(command, Start):
                self.step(events.JobStarted(event.at_us, command.job, command.epoch))
            elif isinstance(command, Resize):
                self.step(events.JobResized(event.at_us, command.job, command.epoch))

    def submit(self, number: int, **more: object) -> None:
        spec = JobSpec("j", "t", "basic", "gpu", ("w",), **more)  # type: ignore[arg-type]
        self.step(events.JobSubmitted(self.machine.now_us, number, spec))

    def report(self, at_s: int, number: int, **paces: int) -> None:
        epoch = self.machine.jobs[number].epoch
        self.step(events.PaceMeasured(at_s * S, number, epoch, tuple(paces.items())))

    def on(self, number: int) -> list[str]:
        return sorted({item.device for item in self.machine.jobs[number].slices})


def test_a_gang_leaves_a_device_that_two_reports_find_slow_and_nobody_is_placed_there() -> None:
    driven = Driven(3)
    driven.submit(1, count=2)
    assert driven.on(1) == ["d0", "d1"]
    driven.report(300, 1, d0=100, d1=50)
    driven.report(600, 1, d0=101, d1=97)  # it was a moment's
    driven.report(900, 1, d0=100, d1=50)
    assert driven.on(1) == ["d0", "d1"]
    driven.report(1200, 1, d0=100, d1=52)
    assert driven.on(1) == ["d0", "d2"]
    (resize,) = (command for command in driven.given if isinstance(command, Resize))
    assert resize.slices == (Slice("d0", 0), Slice("d2", 0))  # only what was slow has moved
    driven.submit(2)
    assert driven.machine.jobs[2].state.waiting
    view = driven.machine.view()
    (blockers,) = driven.policy.explain(view).values()
    assert (Why.AVOIDED, 1) in [(blocker.why, blocker.slices) for blocker in blockers]
    attained = Attained(PARAMS.first_level_s, PARAMS.level_ratio, PARAMS.first_run_s)
    attained.follow(view)
    assert audit(view, driven.policy.explain(view), attained, PARAMS.reserve_share) == []
    driven.step(events.TimePassed((1200 + PARAMS.avoid_s) * S))
    assert driven.on(2) == ["d1"]  # it is tried again


def test_a_device_that_is_slow_again_is_avoided_for_twice_as_long_and_a_good_report_ends_that() -> (
    None
):
    driven = Driven(2)
    driven.submit(1)
    avoided = []
    at_s = 0
    for paces in ((100, 50, 50), (50, 50)):
        (here,) = driven.on(1)
        for pace in paces:
            at_s += 300
            driven.report(at_s, 1, **{here: pace})
        (there,) = driven.on(1)
        assert there != here and list(driven.policy._stragglers.slow) == [here]
        avoided.append(driven.policy._avoided._until_us[here] - at_s * S)
        at_s += 2 * PARAMS.avoid_s
        driven.step(events.TimePassed(at_s * S))
        assert not driven.policy._stragglers.slow
        for _ in range(2):  # and back, as the other one is slow now: for the first time
            at_s += 300
            driven.report(at_s, 1, **{there: 50})
        assert driven.on(1) == [here]
        at_s += 2 * PARAMS.avoid_s
        driven.step(events.TimePassed(at_s * S))
    assert avoided == [PARAMS.avoid_s * S, 2 * PARAMS.avoid_s * S]
    at_s += 300
    driven.report(at_s, 1, **{driven.on(1)[0]: 99})
    assert driven.on(1)[0] not in driven.policy._avoided._times


def test_a_job_that_knows_no_other_pace_says_nothing_of_its_device() -> None:
    driven = Driven(2)
    driven.submit(1)
    for at_s in range(300, 3000, 300):
        driven.report(at_s, 1, d0=50)
    assert driven.on(1) == ["d0"] and not driven.policy._stragglers.slow


@pytest.mark.parametrize(("pace", "left"), [(50, 3), (78, 4)])
def test_a_gang_with_nowhere_to_go_shrinks_if_it_is_faster_on_what_is_left(
    pace: int, left: int
) -> None:
    driven = Driven(4)
    driven.submit(1, count=4, least=1)
    for at_s in (300, 600):
        driven.report(at_s, 1, d0=100, d1=100, d2=100, d3=pace)
    assert len(driven.on(1)) == left
    for at_s in range(900, 3000, 60):
        driven.step(events.TimePassed(at_s * S))
    assert len(driven.on(1)) == left  # and is not given back what is slow
    driven.report(3000, 1, **dict.fromkeys(driven.on(1), 100))
    driven.step(events.TimePassed((3600 + PARAMS.avoid_s) * S))
    assert len(driven.on(1)) == 4  # it is tried again


def test_never_more_than_an_eighth_is_avoided() -> None:
    driven = Driven(16)
    driven.submit(1, count=12)
    for at_s in (300, 600, 900):
        paces = {uri: 50 if uri in driven.on(1)[:6] else 100 for uri in driven.on(1)}
        driven.report(at_s, 1, **paces)
    assert len(driven.policy._stragglers.slow) == 2


def test_who_names_a_slow_device_has_it_and_a_lost_one_is_not_held_against_its_successor() -> None:
    driven = Driven(3)
    driven.submit(1, count=2)
    for at_s in (300, 600):
        driven.report(at_s, 1, d0=100, d1=50)
    assert driven.on(1) == ["d0", "d2"]
    driven.submit(3, devices=("d1",))
    assert driven.on(3) == ["d1"]
    driven.submit(4)
    driven.step(events.CancelRequested(700 * S, 3))
    driven.step(events.LeaseReleased(700 * S, 3, 1))
    assert driven.machine.jobs[4].state.waiting
    driven.step(events.DeviceLost(800 * S, "d1", "taken away"))
    driven.step(events.DeviceAdded(900 * S, "d1", "gpu", "v100"))
    assert driven.on(4) == ["d1"]


@pytest.mark.parametrize(("took_s", "leaves"), [(None, True), (1, True), (10_000, False)])
def test_nobody_leaves_a_slow_device_for_less_than_the_move_was_found_to_cost(
    took_s: int | None, leaves: bool
) -> None:
    driven = Driven(3)
    driven.policy = Elastic(replace(PARAMS, measured=True))
    halting = driven.machine.view().halting
    driven.submit(1, count=2)
    job = driven.machine.jobs[1]
    for _ in range(ENOUGH if took_s is not None else 0):
        halting.given([Resize(1, 1, job.slices)], 0)
        halting.answered(job, events.JobResized((took_s or 0) * S, 1, 1))
    for at_s in (300, 600):
        driven.report(at_s, 1, d0=100, d1=50)
    assert (driven.on(1) == ["d0", "d2"]) == leaves
    assert list(driven.policy._stragglers.slow) == ["d1"]  # it is known to be slow in any case


def run(notices: bool, words: str, costs: Costs = FREE, seed: int = 1, **more: object) -> Result:
    jobs = [TraceJob("j", 400 * i, 9000, (4, 8, 4, 2)[i % 4], "t") for i in range(40)]
    trace = in_order("t", jobs)
    specs = [
        JobSpec("j", "t", "basic", "gpu", ("w",), count=each.count, recovery="checkpoint")
        for each in trace.jobs
    ]
    policy = Elastic(ElasticParams(stragglers=notices))
    faults = read_faults(words)
    return simulate(
        trace, specs, read_cluster("8x4xV100"), policy, costs, faults=faults, seed=seed, **more
    )  # type: ignore[arg-type]


def test_noticing_stragglers_saves_time_in_simulation_and_costs_none_where_there_are_none() -> None:
    slow = "straggler:mtbf=6h,mttr=6h,speed=0.25"
    gained = []
    for seed in range(3):
        blind, seen = (run(notices, slow, Costs(), seed) for notices in (False, True))
        assert blind.failed == seen.failed == 0
        gained.append(blind.figures.average_h / seen.figures.average_h)
    assert min(gained) > 1, gained
    quiet = "store:mtbf=9y,mttr=1s"
    assert run(True, quiet).figures == run(False, quiet).figures


def test_the_native_engine_refuses_by_name() -> None:
    with pytest.raises(Infeasible, match="noticing stragglers is not in the native engine"):
        run(True, "node:mtbf=30d,mttr=4h", engine="native")
