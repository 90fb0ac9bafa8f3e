"""Who is halted for admitted jobs that ask for little, where all that could be halted are large."""

from __future__ import annotations

import pytest

from scheduler.core.commands import Checkpoint
from scheduler.core.values import JobSpec
from scheduler.disruption import Disruption
from scheduler.policies.elastic import Elastic
from scheduler.sim.cluster import read_cluster
from scheduler.sim.costs import Costs
from scheduler.sim.run import simulate
from scheduler.traces.trace import TraceJob, in_order
from tests.scheduler.test_elastic import S, ended_s, run, spec


def halts_s(steps: object) -> list[float]:
    return [
        step.events[-1].at_us / S
        for step in steps.steps  # type: ignore[attr-defined]
        for command in step.commands
        if isinstance(command, Checkpoint)
    ]


def test_nobody_is_halted_for_what_is_being_cleared() -> None:
    machine, _ = run(
        [(0, 5000, spec(1)), (0, 9000, spec(1)), (5005, 100, spec(1))],
        nodes=(2,),
        costs=Costs(release_us=30 * S),
    )
    assert machine.jobs[2].preemptions == 0
    assert 5130 <= ended_s(machine.jobs[3]) < 5131


@pytest.mark.parametrize(("claims", "waited_s"), [(8, 144), (1, 204)])
def test_a_large_job_is_halted_for_many_small_claims_before_it_is_for_one(
    claims: int, waited_s: int
) -> None:
    singles = [(1000, 900, spec(1, tier="standard"))] * claims
    _, steps = run([(0, 9000, spec(8)), *singles], nodes=(8,), costs=Costs())
    assert waited_s <= halts_s(steps)[0] - 1000 < waited_s + 6


def test_an_equal_of_its_size_is_halted_rather_than_a_large_basic_job() -> None:
    machine, steps = run(
        [
            (0, 9000, spec(8)),
            (0, 9000, spec(1, tier="standard")),
            (5000, 60, spec(1, tier="standard")),
        ],
        nodes=(9,),
        costs=Costs(),
    )
    large, equal, _ = machine.jobs.values()
    assert (large.preemptions, equal.preemptions) == (0, 1)
    assert len(halts_s(steps)) == 1


def test_a_job_that_was_halted_itself_does_not_wait_for_one_that_fits() -> None:
    _, steps = run(
        [
            (0, 9000, spec(8)),
            (0, 9000, spec(1, tier="standard")),
            (5000, 4000, spec(1, tier="standard")),
        ],
        nodes=(9,),
        costs=Costs(),
    )
    equal, large = halts_s(steps)[:2]
    assert large - equal < 180  # when 360 s are left to it, not 310


def test_slices_are_charged_to_whoever_got_them() -> None:
    jobs = [TraceJob("large", 0, 9000, 8, "t"), *(TraceJob("one", 1000, 900, 1, "t"),) * 8]
    specs = [spec(8), *(spec(1, tier="standard"),) * 8]
    watched: list[Disruption] = []

    def watch(machine: object) -> list[Disruption]:
        watched.append(Disruption(machine))  # type: ignore[arg-type]
        return watched

    trace = in_order("made up", jobs)
    simulate(trace, list[JobSpec](specs), read_cluster("1x8xV100"), Elastic(), Costs(), watch)
    assert watched[0].over_requested() == [8.0]
    assert watched[0].over_got() == [1.0] * 8


def test_what_was_let_go_for_a_job_is_not_taken_by_one_that_comes_after() -> None:
    watched: list[Disruption] = []

    def watch(machine: object) -> list[Disruption]:
        watched.append(Disruption(machine))  # type: ignore[arg-type]
        return watched

    jobs = [
        TraceJob("", 0, 9000, 1, "t"),
        TraceJob("", 0, 9000, 1, "t"),
        TraceJob("", 1000, 900, 1, "t"),
        TraceJob("", 1150, 900, 1, "t"),
    ]
    specs = [spec(1), spec(1), spec(1, tier="standard"), spec(1, tier="premium")]
    trace, cluster = in_order("made up", jobs), read_cluster("1x2xV100")
    result = simulate(trace, specs, cluster, Elastic(), Costs(), watch)
    assert result.machine is not None
    _, _, standard, premium = result.machine.jobs.values()
    assert 1164 <= standard.started_us / S < 1168
    assert 1170 <= premium.started_us / S < 1172
    assert watched[0].over_requested() == [1.0, 1.0]


def test_one_that_was_admitted_a_moment_ago_is_halted_for_nobody() -> None:
    machine, _ = run(
        [
            (0, 9000, spec(8)),
            (4900, 9000, spec(1, tier="standard")),
            (5000, 60, spec(1, tier="standard")),
        ],
        nodes=(9,),
        costs=Costs(),
    )
    large, young, _ = machine.jobs.values()
    assert (large.preemptions, young.preemptions) == (1, 0)


def test_of_two_that_are_as_large_it_is_not_the_promised_one_that_is_halted() -> None:
    machine, _ = run(
        [
            (0, 9000, spec(8)),
            (0, 9000, spec(8, tier="standard")),
            (5000, 60, spec(1, tier="premium")),
        ],
        nodes=(16,),
        costs=Costs(),
    )
    basic, promised, _ = machine.jobs.values()
    assert (basic.preemptions, promised.preemptions) == (1, 0)
