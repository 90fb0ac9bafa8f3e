"""What tiers are promised: the allowance, the audit, and that the policy keeps it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.audit import Audit
from scheduler.core.machine import Machine
from scheduler.core.values import Tier
from scheduler.disruption import Disruption
from scheduler.policies.elastic import Elastic
from scheduler.policies.guarantee import FULL_PPM, HOUR_S, PROMISES, Allowance, S
from scheduler.policies.ordered import Priority
from scheduler.sim.cluster import read_cluster
from scheduler.sim.costs import Costs
from scheduler.sim.run import simulate
from scheduler.sim.workload import Elasticity, Tiers, jobs_of
from scheduler.traces.trace import Trace, TraceJob, in_order

spans = st.lists(st.tuples(st.integers(1, 1800), st.sampled_from((0, 500_000, FULL_PPM))))


@given(st.sampled_from((Tier.PREMIUM, Tier.STANDARD)), spans)
def test_who_never_overspends_keeps_the_promise_in_every_hour(
    tier: Tier, script: list[tuple[int, int]]
) -> None:
    promise = PROMISES[tier]
    allowance = Allowance(promise)
    lost: list[float] = []  # of each second
    for seconds, speed in script:
        for _ in range(seconds):
            before = allowance.left
            allowance.spend(S, speed)
            if allowance.left_us < 0:  # it would have been given its slices by now
                allowance.left = before
                allowance.spend(S, FULL_PPM)
                lost.append(0.0)
            else:
                lost.append(1 - speed / FULL_PPM)
    sums = [0.0]
    for each in lost:
        sums.append(sums[-1] + each)
    for begin in range(0, max(1, len(lost) - HOUR_S), 60):
        end = min(begin + HOUR_S, len(lost))
        assert sums[end] - sums[begin] <= (1 - promise.fraction) * HOUR_S + 1


def made_up() -> Trace:
    drawn = random.Random(3)
    at_s, jobs = 0.0, []
    for index in range(250):
        at_s += drawn.expovariate(1 / 300)
        seconds = min(60 + drawn.paretovariate(1.1) * 900, 30_000)
        gang = drawn.choice((1, 1, 2, 4, 8))
        jobs.append(TraceJob(f"j{index}", at_s, seconds, gang, "t"))
    return in_order("made up", jobs)


@pytest.mark.parametrize("nodes", [8, 5])
def test_admitted_jobs_keep_their_fraction_of_every_hour_at_any_load(nodes: int) -> None:
    trace = made_up()
    cluster = read_cluster(f"{nodes}x4xV100")
    specs = jobs_of(trace, "gpu", cluster.devices, Elasticity(0.5), Tiers(0.2, 0.4), 1)
    audit = Audit({uri: part for uri, _, part in cluster.each()})
    result = simulate(trace, specs, cluster, Elastic(), Costs(), lambda machine: (audit,))
    assert result.failed == 0
    for found in audit.fractions(result.machine.jobs):
        if found.tier in PROMISES:
            assert found.worst_hour >= PROMISES[Tier(found.tier)].fraction, found
            assert found.life >= PROMISES[Tier(found.tier)].fraction, found


def test_a_third_fewer_jobs_are_halted_than_by_plain_priorities() -> None:
    trace, cluster = made_up(), read_cluster("8x4xV100")
    specs = jobs_of(trace, "gpu", cluster.devices, Elasticity(0.5), Tiers(0.2, 0.4), 1)
    evictions = []
    for by in (Elastic(), Priority()):
        watched: list[Disruption] = []

        def watch(machine: Machine, watched: list[Disruption] = watched) -> list[Disruption]:
            watched.append(Disruption(machine))
            return watched

        simulate(trace, specs, cluster, by, Costs(), watch)
        evictions.append(watched[0].evictions)
    assert 0 < evictions[0] <= 0.67 * evictions[1]


def test_no_more_is_promised_than_there_is() -> None:
    jobs = [TraceJob(f"j{i}", i, 5000, 4, "t", tier=Tier.PREMIUM) for i in range(4)]
    trace, cluster = in_order("made up", jobs), read_cluster("3x4xV100")
    specs = jobs_of(trace, "gpu", 12, Elasticity(0.0), Tiers(), 1)
    result = simulate(trace, specs, cluster, Elastic(), Costs())
    admitted = [job.admitted_us for job in result.machine.jobs.values()]
    assert [at is not None and at < 10 * S for at in admitted] == [True, True, False, False]
    ends = [job.ended_us for job in result.machine.jobs.values()]
    assert admitted[2] == ends[0]  # a reserve keeps the third from being promised what is there
