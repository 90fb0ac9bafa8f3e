"""What halting has cost, measured from steps, and given to the simulator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.core import events
from scheduler.core.commands import Checkpoint, Start
from scheduler.core.halting import ENOUGH, Halting
from scheduler.core.jobs import Job, JobState
from scheduler.core.machine import Machine
from scheduler.core.plan import Place, Plan, Resize
from scheduler.core.values import JobSpec, Slice
from scheduler.errors import Infeasible, TraceDamaged
from scheduler.loop import Loop
from scheduler.policies.elastic import Elastic, ElasticParams
from scheduler.sim.cluster import read_cluster
from scheduler.sim.costs import Costs
from scheduler.sim.executor import SimExecutor
from scheduler.sim.native import check

S = 1_000_000


def measured(costs: Costs, jobs: Sequence[tuple[int, int, JobSpec]]) -> Halting:
    """jobs: (submitted, duration, spec), in seconds, on one node of four."""
    executor = SimExecutor(costs, {"n0": "v100"}, lambda number: jobs[number - 1][1] * S)
    executor.feed([events.DeviceAdded(0, "n0", "gpu", "v100", 4)])
    executor.feed(
        events.JobSubmitted(at * S + 1, number, spec)
        for number, (at, _, spec) in enumerate(jobs, 1)
    )
    loop = Loop(Machine(), Elastic(ElasticParams(spare_share=0)), executor)
    while loop.step():
        pass
    return loop.machine.view().halting


def spec(count: int, least: int = 0) -> JobSpec:
    return JobSpec("j", "t", "basic", "gpu", ("train",), count=count, least=least)


def test_what_a_simulation_charges_is_what_is_measured_and_read_back(tmp_path: Path) -> None:
    charged = Costs(0, 11 * S, 13 * S, 17 * S, 19 * S, 0)
    halted = measured(charged, [(0, 5000, spec(4)), (1000, 100, spec(4))]).to_json()
    assert halted["costs"] == {"checkpoint_us": 11 * S, "restore_us": 13 * S, "release_us": 0}
    assert halted["measured"]["gpu"]["checkpoint_us"] == {
        "count": 1,
        "median": 11 * S,
        "p95": 11 * S,
    }
    assert halted["measured"]["gpu"]["start_us"]["count"] == 2
    found = measured(charged, [(0, 5000, spec(4, 1)), (1000, 100, spec(2))]).to_json()
    assert found["costs"] == {"grow_us": 19 * S, "release_us": 0}
    assert found["measured"]["gpu"]["shrink_us"]["median"] == 11 * S  # its slices were free
    path = tmp_path / "costs.json"
    path.write_text(json.dumps(found))
    assert Costs.read(path) == Costs(grow_us=19 * S)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no costs of a haltere-costs"),
        ('{"format": "haltere-costs", "version": 2, "costs": {}}', "version 2"),
        ('{"format": "haltere-costs", "version": 1, "costs": {"restore_us": -1}}', "restore_us"),
        ('{"format": "haltere-costs", "version": 1, "costs": {"restore_s": 1}}', "known are"),
    ],
)
def test_what_is_no_costs_file_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "costs.json"
    path.write_text(text)
    with pytest.raises(TraceDamaged, match=words) as told:
        Costs.read(path)
    assert str(path) in str(told.value)


def test_live_resizing_is_measured_until_the_job_runs_again() -> None:
    """And what failed is not: the next one counts from where the job is."""
    two, one = (Slice("n0", 0), Slice("n0", 1)), (Slice("n0", 0),)
    machine = Machine()
    machine.handle(events.DeviceAdded(0, "n0", "gpu", "v100", 2))
    machine.handle(events.JobSubmitted(0, 1, spec(2, 1)))
    machine.apply(Plan((Place(1, two),)))
    steps = (
        (events.JobStarted(5, 1, 1), one),
        (events.ResizeFailed(70, 1, 1, "busy", "retry", "not now"), one),
        (events.JobResized(100, 1, 1), two),
        (events.JobResized(140, 1, 1), ()),
    )
    for event, then in steps:
        machine.handle(event)
        machine.apply(Plan((Resize(1, then),) if then else ()))
    found = machine.view().halting
    assert found.to_json(live=True)["costs"] == {"shrink_us": 30, "grow_us": 40}
    assert found.to_json()["costs"] == {"grow_us": 40}


@given(st.lists(st.integers(0, 200), max_size=8), st.lists(st.integers(0, 200), max_size=8))
def test_a_median_is_gone_by_once_there_are_enough(halts: list[int], restores: list[int]) -> None:
    found, at = Halting(), 0
    job = Job(1, spec(1), 0)
    for number, took in enumerate(halts, 1):
        found.given([Checkpoint(1, number)], at)
        at += took
        found.answered(job, events.JobCheckpointed(at, 1, number, "c"))
    for number, took in enumerate(restores, 100):
        found.given([Start(1, number, (), "c", job.spec)], at)
        at += took
        going_on = job.but(state=JobState.MIGRATING)
        found.answered(going_on, events.JobStarted(at, 1, number))
    both = found.median_s("gpu", "checkpoint_us", "restore_us")
    enough = min(len(halts), len(restores)) >= ENOUGH
    assert both == ((median(halts) + median(restores)) / 1e6 if enough else None)
    assert found.median_s("fpga", "checkpoint_us") is None


def test_the_native_engine_refuses_by_name_to_go_by_measured_costs() -> None:
    with pytest.raises(Infeasible, match="going by measured costs is not in the native engine"):
        check([spec(1)], read_cluster("1x4xV100"), Elastic(ElasticParams(measured=True)))
