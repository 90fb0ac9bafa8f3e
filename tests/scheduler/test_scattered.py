"""A gang that waits since what is free is scattered over parts."""

from __future__ import annotations

import pytest

from scheduler.core.values import JobSpec
from scheduler.policies import cpsat
from scheduler.policies.choices import CP_SAT, GREEDY
from scheduler.policies.elastic import Elastic
from scheduler.policies.round import ElasticParams
from scheduler.sim.cluster import read_cluster
from scheduler.sim.costs import Costs
from scheduler.sim.run import simulate
from scheduler.traces.trace import TraceJob, in_order

EITHER = (("V100", 1.0), ("P100", 1.0))
SOLVERS = [
    GREEDY,
    pytest.param(
        CP_SAT, marks=pytest.mark.skipif(not cpsat.is_there(), reason="needs haltere[cpsat]")
    ),
]


def job(name: str, tier: str, count: int, **more: object) -> JobSpec:
    return JobSpec(name, "ann", tier, "gpu", ("x",), count=count, recovery="checkpoint", **more)  # type: ignore[arg-type]


def gang_waits_s(gather: str, *, portable: bool = True) -> tuple[float, int]:
    """Of four each, V100 and P100 have two free: one of the two that run may go on on the other
    part. How long a gang of four waits, and how often somebody was halted."""
    specs = [
        job("moves", "standard", 2, speeds=EITHER, portable=portable),
        job("ends", "standard", 2, speeds=(("V100", 1.0), ("P100", 0.5))),
        job("stays", "standard", 2, speeds=(("P100", 1.0), ("V100", 0.5))),
        job("gang", "basic", 4, speeds=EITHER),
    ]
    times = ((0.0, 40_000.0), (1.0, 1_000.0), (2.0, 40_000.0), (1_200.0, 500.0))
    trace = in_order(
        "made",
        [
            TraceJob(s.name, at, lasts, s.count, "ann")
            for s, (at, lasts) in zip(specs, times, strict=True)
        ],
    )
    by = Elastic(ElasticParams(gather=gather))
    done = simulate(trace, specs, read_cluster("1x4xV100,1x4xP100"), by, Costs()).done
    return done[-1].completion_s - done[-1].duration_s, sum(each.preemptions for each in done)


@pytest.mark.parametrize("solver", SOLVERS)
def test_who_can_goes_on_on_another_part_so_that_the_gang_fits(solver: str) -> None:
    waited_s, halts = gang_waits_s(solver)
    assert waited_s < 300
    assert halts == 1


def test_nobody_moves_unasked_or_to_a_part_on_which_it_cannot_go_on() -> None:
    assert gang_waits_s("") == (pytest.approx(38_800), 0)
    assert gang_waits_s(GREEDY, portable=False) == (pytest.approx(38_800), 0)
