"""When which device is drained in a window of maintenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pytest

from scheduler.core import events
from scheduler.core.machine import Machine
from scheduler.core.plan import Admit, Place, Plan
from scheduler.core.values import JobSpec, Slice
from scheduler.policies import cpsat
from scheduler.policies.choices import CP_SAT, GREEDY
from scheduler.policies.elastic import Elastic
from scheduler.policies.maintenance import Window, schedule
from scheduler.sim.cluster import read_cluster
from scheduler.sim.costs import Costs
from scheduler.sim.faults import read_faults
from scheduler.sim.run import simulate
from scheduler.sim.workload import RIGID, Tiers, jobs_of
from scheduler.traces.trace import TraceJob, in_order

S = 1_000_000
HOUR = 3600 * S
SOLVERS = [
    GREEDY,
    pytest.param(
        CP_SAT, marks=pytest.mark.skipif(not cpsat.is_there(), reason="needs haltere[cpsat]")
    ),
]


def machine(
    nodes: int,
    jobs: Sequence[tuple[str, Sequence[int]]],
    named: Mapping[int, tuple[str, ...]] = MappingProxyType({}),
) -> Machine:
    """Nodes n0, n1, ... of four; each job has a tier, and a slice on each of the nodes named.
    `named`: devices that job asks for."""
    made = Machine()
    for n in range(nodes):
        made.handle(events.DeviceAdded(0, f"n{n}", "gpu", "V100", 4))
    for number, (tier, on) in enumerate(jobs, 1):
        devices = named.get(number, ())
        spec = JobSpec(f"j{number}", "ann", tier, "gpu", ("x",), count=len(on), devices=devices)
        made.handle(events.JobSubmitted(0, number, spec))
        used = dict.fromkeys(on, 0)
        slices = []
        for n in on:
            index = sum(item in made.leases for item in made.devices[f"n{n}"].slices) + used[n]
            used[n] += 1
            slices.append(Slice(f"n{n}", index))
        admit = [] if tier == "basic" else [Admit(number)]
        made.apply(Plan((*admit, Place(number, tuple(slices)))))
        made.handle(events.JobStarted(0, number, 1))
    return made


def window(nodes: int, turns: int) -> Window:
    return Window(tuple(f"n{n}" for n in range(nodes)), turns * HOUR, HOUR)


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_device_has_one_turn_and_what_is_promised_is_left(solver: str) -> None:
    made = machine(4, [("premium", [0, 0, 1, 1, 2, 2, 3, 3]), ("basic", [0, 1])])
    found = schedule(made.view(), window(4, 4), solver)
    assert sorted(uri for turn in found.turns for uri in turn) == ["n0", "n1", "n2", "n3"]
    assert not found.left
    assert all(len(turn) <= 2 for turn in found.turns)  # 8 of 16 slices are promised


@pytest.mark.parametrize("solver", SOLVERS)
def test_who_cannot_go_without_breaking_a_promise_is_named(solver: str) -> None:
    made = machine(2, [("premium", [0, 0, 0, 1, 1, 1])])  # 6 of 8: no node of 4 can go
    found = schedule(made.view(), window(2, 3), solver)
    assert found.left == ("n0", "n1")
    assert found.first == ()


@pytest.mark.parametrize("solver", SOLVERS)
def test_what_was_promised_on_named_devices_is_left_there(solver: str) -> None:
    """Four slices on n0 or n1, and one on n2 alone: there is room for them elsewhere, but not for
    these jobs."""
    named = {1: ("n0", "n1"), 2: ("n2",)}
    made = machine(8, [("premium", [0, 0, 1, 1]), ("standard", [2])], named)
    found = schedule(made.view(), window(8, 4), solver)
    assert found.left == ("n2",)
    turns = {uri: number for number, turn in enumerate(found.turns) for uri in turn}
    assert turns["n0"] != turns["n1"] and len(turns) == 7
    both = machine(8, [("premium", [0, 0, 1, 1]), ("premium", [1])], {1: ("n0", "n1"), 2: ("n1",)})
    found = schedule(both.view(), window(8, 4), solver)
    assert found.left == ("n0", "n1")  # five are promised on eight, and each has four


@pytest.mark.parametrize("solver", SOLVERS)
def test_empty_devices_go_first_and_busy_ones_when_their_jobs_may_have_ended(solver: str) -> None:
    made = machine(3, [("basic", [0, 0, 0, 0])])
    found = schedule(made.view(), window(3, 3), solver)
    assert "n0" in found.turns[-1]


@pytest.mark.skipif(not cpsat.is_there(), reason="needs haltere[cpsat]")
def test_devices_of_one_gang_go_together_where_that_is_best() -> None:
    """Two nodes a turn, two gangs across two nodes each: halted once each if the pairs go together.
    Greedy, which takes one device after the other, tears one apart."""
    made = machine(4, [("basic", [0, 3] * 4), ("basic", [1, 2] * 4)])
    best, known = (schedule(made.view(), window(4, 2), by) for by in (CP_SAT, GREEDY))
    assert best.by == CP_SAT
    assert best.best
    assert {frozenset(turn) for turn in best.turns} == {
        frozenset({"n0", "n3"}),
        frozenset({"n1", "n2"}),
    }
    assert best.cost_ms <= known.cost_ms


@pytest.mark.parametrize("solver", SOLVERS)
def test_in_a_simulated_window_every_node_is_out_once_and_no_work_is_lost(solver: str) -> None:
    jobs = [TraceJob(f"j{n}", 60.0 * n, 20_000.0, 2, "ann") for n in range(8)]
    trace = in_order("made", jobs)
    cluster = read_cluster("6x4xV100")
    faults = read_faults("window:nodes=node0-[0-3],at=1h,within=6h,notice=20m,lasts=40m")
    specs = jobs_of(trace, "gpu", 24, RIGID, Tiers(), 1)
    found = simulate(trace, specs, cluster, Elastic(), Costs(), faults=faults, solver=solver)
    assert found.faults is not None
    assert found.faults.losses == 4
    assert solver in {schedule.by for schedule in found.schedules}
    assert found.faults.lost_h == 0
    assert found.faults.restarts == 0
    assert found.failed == 0
