"""Jobs with shares: who is halted for whom, and that nobody is passed for ever."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.machine import Machine
from scheduler.core.values import Tier
from scheduler.disruption import Disruption
from scheduler.journal import Journal, read, replay
from scheduler.loop import Recorder
from scheduler.policies.gather import Gather
from scheduler.policies.sharing import Sharing
from scheduler.policies.yielding import cover
from scheduler.sim.cluster import Cluster, Nodes
from scheduler.sim.costs import FREE, Costs
from scheduler.sim.digest import Digest
from scheduler.sim.run import Result, simulate
from scheduler.sim.workload import sharing_jobs_of
from scheduler.traces.trace import TraceJob, in_order

ONE = Cluster("c", (Nodes("n", 1, 2, "T4", 8000, 100),))
TWO = Cluster("c", (Nodes("n", 2, 2, "T4", 8000, 100),))
LONG_S = 1e5


def item(
    name: str,
    at_s: float,
    runs_s: float,
    share: int,
    tier: Tier = Tier.BASIC,
    cpu: int = 100,
    count: int = 1,
) -> TraceJob:
    return TraceJob(name, at_s, runs_s, count, "ann", share, (), tier, cpu, 1)


class Ran:
    """A simulated run: waits and halts by name."""

    def __init__(
        self,
        jobs: Sequence[TraceJob],
        cluster: Cluster,
        costs: Costs = FREE,
        params: Gather | None = None,
        patience_s: int = 1800,
    ) -> None:
        trace = in_order("made", jobs)
        specs = sharing_jobs_of(trace, "gpu")
        self.digest = Digest()
        self.policy = Sharing(params=params, patience_s=patience_s)

        def recorders(machine: Machine) -> list[Recorder]:
            self.disruption = Disruption(machine)
            return [self.digest, self.disruption]

        self.result: Result = simulate(trace, specs, cluster, self.policy, costs, recorders)
        machine = self.result.machine
        assert machine is not None
        self.halts = {job.spec.name: job.preemptions for job in machine.jobs.values()}
        done = zip(trace.jobs, self.result.done, strict=True)
        self.late_s = {j.name: d.completion_s - d.duration_s for j, d in done}


def test_a_premium_job_takes_the_least_that_basic_jobs_hold() -> None:
    jobs = [
        item("large", 0, 1000, 900),
        item("small", 1, 1000, 300),
        item("smaller", 2, 1000, 200),
        item("wants", 100, 10, 400, Tier.PREMIUM),
    ]
    ran = Ran(jobs, ONE)
    assert ran.halts == {"large": 0, "small": 0, "smaller": 0, "wants": 0}  # 500 are left
    jobs[2] = item("third", 2, 1000, 600)
    ran = Ran(jobs, ONE)
    assert ran.halts == {"large": 0, "small": 1, "third": 0, "wants": 0}
    assert ran.late_s["wants"] == 0
    assert (ran.disruption.evictions, ran.disruption.moves) == (1, 0)
    assert ran.disruption.over_requested() == [1.0]


def test_a_standard_job_is_halted_only_where_basic_ones_would_not_do() -> None:
    held = [item("s", 0, LONG_S, 500, Tier.STANDARD), item("b", 1, 1000, 800)]
    assert Ran([*held, item("p", 100, 10, 900, Tier.PREMIUM)], ONE).halts == {
        "s": 0, "b": 1, "p": 0,
    }  # fmt: skip
    both = item("p", 100, 10, 1000, Tier.PREMIUM, count=2)
    assert Ran([*held, both], ONE).halts == {"s": 1, "b": 1, "p": 0}
    standard = item("p", 100, 10, 1000, Tier.STANDARD, count=2)
    assert Ran([*held[:1], item("b", 1, 1000, 800), standard], ONE).halts["s"] == 0


def test_nobody_is_halted_if_even_all_would_not_do() -> None:
    held = [item("s", 0, 1000, 700, Tier.STANDARD, cpu=7000), item("b", 1, 1000, 700)]
    ran = Ran([*held, item("p", 100, 10, 300, Tier.STANDARD, cpu=2000)], ONE)
    assert sum(ran.halts.values()) == 0
    assert ran.late_s["p"] == 900


def test_basic_jobs_are_halted_for_cpu_and_memory_too() -> None:
    held = [item("b", 0, 1000, 0, cpu=7000), item("c", 1, 1000, 100, cpu=900)]
    assert Ran([*held, item("p", 100, 10, 300, Tier.PREMIUM, cpu=7000)], ONE).halts["b"] == 1


def test_a_job_has_its_minimum_run_time_before_it_is_halted() -> None:
    held = [item("b", 0, 1000, 1000), item("c", 0, 1000, 1000)]
    ran = Ran([*held, item("p", 5, 10, 1000, Tier.PREMIUM)], ONE)
    assert ran.late_s["p"] == 15  # until 20 s are over
    assert sum(ran.halts.values()) == 1


def test_what_was_let_go_for_a_job_is_not_taken_by_those_behind_it() -> None:
    """Two are halted for it, and take their time; small ones come all the while."""
    costs = Costs(checkpoint_us=20_000_000, restore_us=0)
    held = [item("b", 0, 1000, 1000), item("c", 0, 1000, 1000)]
    small = [item(f"s{n}", 100 + n, 1000, 100) for n in range(60)]
    ran = Ran([*held, item("p", 100, 10, 1000, Tier.STANDARD, count=2), *small], ONE, costs)
    assert ran.late_s["p"] == 20
    assert {name: n for name, n in ran.halts.items() if n} == {"b": 1, "c": 1}


def test_two_jobs_have_others_halted_on_one_node_at_the_same_time() -> None:
    costs = Costs(checkpoint_us=20_000_000, restore_us=0)
    held = [item(f"b{n}", 0, 1000, 500) for n in range(4)]
    more = [item(f"p{n}", 100, 10, 500, Tier.PREMIUM) for n in range(2)]
    ran = Ran([*held, *more], ONE, costs)
    assert (ran.late_s["p0"], ran.late_s["p1"]) == (20, 20)
    assert sum(ran.halts.values()) == 2


def test_what_is_about_to_be_free_anyway_is_waited_for() -> None:
    costs = Costs(checkpoint_us=0, restore_us=0, release_us=5_000_000)
    held = [item("b", 0, 1000, 1000), item("c", 0, 98, 1000)]
    ran = Ran([*held, item("p", 100, 10, 1000, Tier.PREMIUM)], ONE, costs)
    assert ran.halts["b"] == 0
    assert ran.late_s["p"] < 10


# ---- nobody is passed for ever


def stream(until_s: int) -> list[TraceJob]:
    """Halves that come as soon as others end, so that no GPU is ever whole."""
    return [item(f"h{n}", 25.0 * n, 100, 500) for n in range(until_s // 25)]


@pytest.mark.parametrize("count", [1, 2])
def test_a_large_job_is_not_passed_for_ever_by_small_ones(count: int) -> None:
    large = item("large", 300, 50, 1000, count=count)
    ran = Ran([*stream(8000), large], ONE, patience_s=1800)
    assert 1800 <= ran.late_s["large"] <= 1800 + 100
    assert Ran([*stream(8000), large], ONE, patience_s=10**6).late_s["large"] > 7000


def test_where_nobody_has_ended_nothing_is_kept_empty() -> None:
    """For a job whose room would have to come from those that never end."""
    jobs = [item("b", 0, LONG_S, 100), item("c", 1, LONG_S, 1000)]
    late = [item(f"s{n}", 5000 + n, 10, 300) for n in range(2)]
    ran = Ran([*jobs, item("large", 2, 10, 1000), *late], ONE, patience_s=600)
    assert ran.late_s["s0"] == 0


workloads = st.lists(
    st.tuples(
        st.integers(0, 3000),  # when it comes
        st.integers(1, 600),  # how long it runs
        st.sampled_from([0, 200, 500, 700, 1000, 1000]),
        st.sampled_from([100, 4000, 8000]),
        st.integers(1, 2),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=30, deadline=None)
@given(workloads, st.sampled_from([60, 600]))
def test_who_is_first_in_its_tier_waits_no_longer_than_patience_and_two_runs(
    drawn: list[tuple[int, int, int, int, int]], patience_s: int
) -> None:
    """Of jobs of one tier: after all before it have begun."""
    jobs = [
        item(f"j{n}", at, runs, share, cpu=cpu, count=count if share == 1000 else 1)
        for n, (at, runs, share, cpu, count) in enumerate(drawn)
    ]
    ran = Ran(jobs, TWO, patience_s=patience_s)
    assert ran.result.failed == 0
    machine = ran.result.machine
    assert machine is not None
    first_us = 0
    longest_us = 600 * 1_000_000
    for job in machine.jobs.values():
        first_us = max(first_us, job.submitted_us)
        assert job.started_us <= first_us + patience_s * 1_000_000 + 2 * longest_us
        first_us = max(first_us, job.started_us)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 1 << 30))
def test_of_three_tiers_all_come_to_their_end_and_premium_jobs_are_never_halted(seed: int) -> None:
    rng = Random(seed)
    tiers = (Tier.PREMIUM, Tier.STANDARD, Tier.BASIC, Tier.BASIC)
    jobs = []
    for n in range(80):
        share = rng.choice((0, 200, 500, 1000, 1000))
        count = rng.choice((1, 2)) if share == 1000 else 1
        at_s, runs_s, cpu = rng.randrange(2000), rng.randrange(1, 400), rng.choice((100, 3000))
        jobs.append(item(f"j{n}", at_s, runs_s, share, rng.choice(tiers), cpu, count))
    ran = Ran(jobs, TWO, Costs(release_us=1_000_000), patience_s=300)
    assert ran.result.failed == 0
    assert ran.result.machine is not None
    for job in ran.result.machine.jobs.values():
        assert not (job.spec.tier is Tier.PREMIUM and job.preemptions)
    assert Ran(jobs, TWO, Costs(release_us=1_000_000), patience_s=300).digest.hexdigest() == (
        ran.digest.hexdigest()
    )


def test_a_journal_of_halts_and_claims_is_decided_again_alike(tmp_path: Path) -> None:
    rng = Random(5)
    tiers = (Tier.PREMIUM, Tier.STANDARD, Tier.BASIC)
    jobs = [
        item(f"j{n}", 10.0 * n, rng.randrange(50, 400), rng.choice((300, 600, 1000)), tiers[n % 3])
        for n in range(120)
    ]
    trace = in_order("made", jobs)
    journal = Journal(tmp_path / "journal", durable=False)
    policy = Sharing(patience_s=300)
    ran = simulate(trace, sharing_jobs_of(trace, "gpu"), ONE, policy, Costs(), lambda _: [journal])
    journal.close()
    assert ran.machine is not None
    assert sum(job.preemptions for job in ran.machine.jobs.values()) > 5
    replay(read(tmp_path / "journal").steps, Machine(), Sharing(patience_s=300))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 900), st.integers(0, 9)), max_size=7), st.integers(-5, 2500)
)
def test_what_is_covered_is_covered_at_the_least_cost(
    items: list[tuple[int, int]], lacks: int
) -> None:
    from dataclasses import dataclass
    from itertools import combinations

    @dataclass(frozen=True)
    class Costly:
        cost: int

    made = [(gain, Costly(cost)) for gain, cost in items]
    found = cover(made, lacks)  # type: ignore[arg-type]
    ways = [w for n in range(len(made) + 1) for w in combinations(made, n)]
    enough = [w for w in ways if sum(gain for gain, _ in w) >= lacks]
    assert (found is None) == (not enough)
    if found is not None and lacks <= 1000:  # beyond, it is counted in thousandths
        assert sum(e.cost for e in found) == min(sum(e.cost for _, e in w) for w in enough)
