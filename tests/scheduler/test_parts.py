"""Parts of different speed: prices against the exact optimum, moves, and what halting is bounded
by. Simulated, with every invariant after every step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from scheduler.core import events
from scheduler.core.jobs import Job, JobState
from scheduler.core.machine import Machine
from scheduler.core.plan import Plan, Resize
from scheduler.core.values import JobSpec, Slice
from scheduler.disruption import Disruption
from scheduler.errors import InvalidPlan
from scheduler.loop import Loop
from scheduler.policies.books import Pool
from scheduler.policies.elastic import Elastic
from scheduler.policies.prices import Want, assign, settle
from scheduler.policies.round import ElasticParams
from scheduler.sim.costs import FREE, Costs
from scheduler.sim.executor import SimExecutor
from scheduler.testing.invariants import broken_tables

S = 1_000_000
PARTS = ("v100", "p100", "k80")


def spec(count: int = 1, least: int = 0, portable: bool = True, slow: float = 0.25) -> JobSpec:
    return JobSpec(
        "j",
        "t",
        "basic",
        "gpu",
        ("train",),
        count=count,
        least=least,
        speeds=(("v100", 1.0), ("k80", slow)),
        portable=portable,
        recovery="checkpoint",
    )


def run(
    jobs: list[tuple[float, float, JobSpec]],
    nodes: list[tuple[str, int]],
    costs: Costs,
    params: ElasticParams | None = None,
) -> tuple[list[Job], Disruption]:
    """jobs: (submitted, duration, spec), seconds; nodes: (part, slices)."""
    parts = {f"n{i}": part for i, (part, _) in enumerate(nodes)}
    executor = SimExecutor(costs, parts, lambda number: round(jobs[number - 1][1] * S))
    executor.feed(
        events.DeviceAdded(0, uri, "gpu", part, slices)
        for uri, (part, slices) in zip(parts, nodes, strict=True)
    )
    executor.feed(
        events.JobSubmitted(round(at * S) + 1, number, asked)
        for number, (at, _, asked) in enumerate(jobs, 1)
    )
    machine = Machine()
    disruption = Disruption(machine)
    loop = Loop(machine, Elastic(params), executor, [disruption])
    for _ in range(100_000):
        if not loop.step():
            return list(machine.jobs.values()), disruption
        assert not broken_tables(machine)
    raise AssertionError("the simulation does not end")


def ended_s(job: Job) -> float:
    assert job.state is JobState.SUCCEEDED and job.ended_us is not None
    return job.ended_us / S


TWO = [("v100", 1), ("k80", 1)]


def test_a_job_moves_to_a_faster_part_that_became_idle() -> None:
    (short, long), disruption = run([(0, 1000, spec()), (1, 20_000, spec())], TWO, Costs())
    assert ended_s(short) == pytest.approx(1000, abs=1)
    assert long.part == "v100" and disruption.moves == 1 and disruption.evictions == 0
    assert ended_s(long) < 1000 + 20_000 + 150  # not 80,000 where it began


def test_a_job_whose_checkpoint_cannot_go_elsewhere_stays_where_it_is() -> None:
    (_, long), disruption = run([(0, 1000, spec()), (1, 20_000, spec(portable=False))], TWO, FREE)
    assert long.part == "k80" and disruption.moves == 0
    assert ended_s(long) == pytest.approx(80_001, abs=2)


def test_jobs_change_places_when_that_does_more_in_all() -> None:
    workload = [(0, 20_000, spec(slow=0.9)), (1, 20_000, spec(slow=0.1))]
    (even, uneven), _ = run(workload, TWO, Costs())
    assert even.preemptions >= 1 and uneven.preemptions == 1
    assert ended_s(uneven) < 23_500 and ended_s(even) < 23_500


def test_what_halts_are_found_to_cost_decides_how_many_move() -> None:
    workload = [(i * 40.0, 600 + 977 * (i % 9), spec(slow=(0.1, 0.9)[i % 2])) for i in range(60)]
    nodes, moves = [("v100", 4), ("k80", 4)], {}
    for cost_s in (25, 400):  # each way; 50 s there and back are what is given
        costs = Costs(checkpoint_us=cost_s * S, restore_us=cost_s * S)
        for measured in (False, True):
            _, disruption = run(workload, nodes, costs, ElasticParams(measured=measured))
            moves[cost_s, measured] = disruption.moves
    assert moves[25, True] == moves[25, False]
    assert moves[400, True] < moves[400, False]


def test_type_aware_beats_type_blind() -> None:
    workload = [(i * 40.0, 600 + 977 * (i % 9), spec(slow=(0.1, 0.9)[i % 2])) for i in range(60)]
    nodes = [("v100", 4), ("k80", 4)]
    aware, _ = run(workload, nodes, Costs())
    blind, _ = run(workload, nodes, Costs(), ElasticParams(type_aware=False))
    took = [
        sum(ended_s(job) - job.submitted_us / S for job in jobs) / len(jobs)
        for jobs in (aware, blind)
    ]
    assert took[0] < 0.85 * took[1]


def test_a_running_job_is_not_resized_onto_another_part() -> None:
    machine = Machine()
    for uri, part in (("a", "v100"), ("b", "k80")):
        machine.handle(events.DeviceAdded(0, uri, "gpu", part, 2))
    machine.handle(events.JobSubmitted(1, 1, spec(2, least=1)))
    machine.apply(Elastic().plan(machine.view()))
    machine.handle(events.JobStarted(2, 1, 1))
    kept = machine.jobs[1].slices[:1]
    with pytest.raises(InvalidPlan, match="another part"):
        machine.apply(Plan((Resize(1, (*kept, Slice("b", 0))),)))


def test_halts_of_a_long_job_for_short_ones_are_few() -> None:
    workload = [(0.0, 60_000.0, spec(4, portable=False))]
    workload += [(500.0 + 700 * i, 60.0, spec(4, portable=False)) for i in range(60)]
    jobs, disruption = run(workload, [("v100", 4)], Costs())
    assert 1 < jobs[0].preemptions == disruption.evictions < 15
    assert all(over == 1.0 for over in disruption.over_requested())


def test_a_small_job_halts_one_that_fits_and_not_a_large_one() -> None:
    workload = [
        (0.0, 50_000.0, spec(1, portable=False)),
        (1.0, 50_000.0, spec(8, portable=False)),
        (5000.0, 100.0, spec(1, portable=False)),
    ]
    (small, large, _), disruption = run(workload, [("v100", 9)], Costs())
    assert (small.preemptions, large.preemptions) == (1, 0)
    assert disruption.over_requested() == [1.0]


worths = st.fixed_dictionaries({("gpu", part): st.floats(0.05, 2.0) for part in PARTS})
wanted = st.lists(st.builds(Want, st.sampled_from((1, 1, 1, 2)), worths), min_size=6, max_size=30)


@settings(max_examples=60, deadline=None)
@given(wanted)
def test_prices_come_close_to_the_best_assignment_there_is(wants: list[Want]) -> None:
    total = sum(want.slices for want in wants)
    room: dict[Pool, int] = {("gpu", part): -(-total // 3) + 2 for part in PARTS}
    prices: dict[Pool, float] = {}
    for _ in range(8):  # they start from the last ones
        settle(wants, room, prices)
    chosen = assign(wants, room, prices)
    held = dict.fromkeys(room, 0)
    done = 0.0
    for want, pool in zip(wants, chosen, strict=True):
        assert pool is not None
        held[pool] += want.slices
        done += want.slices * want.worth[pool]
    assert all(held[pool] <= room[pool] for pool in room)
    assert done >= 0.9 * _best(wants, room)


def _best(wants: list[Want], room: dict[Pool, int]) -> float:
    """HiGHS: the bound of the linear program."""
    pools = list(room)
    worth = np.array([[want.slices * want.worth[pool] for pool in pools] for want in wants])
    one_each = np.kron(np.eye(len(wants)), np.ones(len(pools)))
    held = np.kron(np.array([want.slices for want in wants]), np.eye(len(pools)))
    limits = np.concatenate([np.ones(len(wants)), [room[pool] for pool in pools]])
    found = linprog(-worth.ravel(), np.vstack([one_each, held]), limits, method="highs")
    return float(-found.fun)
