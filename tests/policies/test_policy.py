"""What every policy must do: give out no slice twice, end every job, say why a job waits, decide
again alike from a journal, and serve a live pool."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from random import Random

import pytest
from typer.testing import CliRunner

from scheduler.core.machine import Machine
from scheduler.core.transitions import Params
from scheduler.core.values import JobSpec, Recovery, Tier
from scheduler.decider import describe, differences, remake
from scheduler.journal import Journal, read, replay
from scheduler.live.pool import JobState, Pool
from scheduler.loop import reasons
from scheduler.policies.elastic import Elastic
from scheduler.policies.explain import audit
from scheduler.policies.named import policy
from scheduler.policies.tiered import Tiered
from scheduler.sim.cluster import read_cluster
from scheduler.sim.costs import Costs
from scheduler.sim.run import simulate
from scheduler.sim.workload import Elasticity, Tiers, jobs_of
from scheduler.testing.invariants import broken_tables
from scheduler.testing.world import ACTIONS, FAULTS, World
from scheduler.traces.trace import TraceJob, in_order
from service.cli import app

PARAMS = Params(backoff_us=1_000_000, max_start_failures=4, max_restarts=2)
STEPS_US = (1_000, 5_000_000, 300_000_000)
PATIENCE_S = 60.0


def job(rng: Random, number: int) -> JobSpec:
    """One that the world's devices can hold, when all of them are up."""
    kind = rng.choice("ggf")
    devices = rng.choice(((), (), (), ("g:0",), ("g:0", "g:2"))) if kind == "g" else ()
    return JobSpec(
        f"job-{number}",
        rng.choice(("ann", "bob")),
        rng.choices(tuple(Tier), (2, 3, 5))[0],
        kind,
        ("work",),
        count=rng.choice((1, 1, 1, 2, 3)) if kind == "g" and not devices else rng.choice((1, 2)),
        devices=devices,
        recovery=rng.choice(tuple(Recovery)),
    )


class Day(World):
    """A random world that keeps a journal and looks at everything after each step."""

    def __init__(self, name: str, folder: Path, actions: Sequence[str]) -> None:
        self.path = folder / "journal"
        self.journal = Journal(self.path, durable=False, about=describe(policy(name), PARAMS))
        self.waited: set[int] = set()
        machine, self.decides = Machine(PARAMS), policy(name)
        super().__init__(
            machine, self.decides, job, self._found, [self.journal], actions=actions,
            steps_us=STEPS_US,
        )  # fmt: skip

    def _found(self) -> list[str]:
        view = self.machine.view()
        found = broken_tables(self.machine)
        if isinstance(self.decides, Elastic):  # which has an audit of its own (elastic_audit)
            return found
        told = reasons(self.machine, self.decides)
        assert reasons(self.machine, self.decides) == told  # to be asked changes nothing
        self.waited |= told.keys()
        return found + audit(view, told, tiered=isinstance(self.decides, Tiered))

    def is_replayed(self) -> None:
        self.journal.close()
        contents = read(self.path)
        again, params = remake(contents.header["about"])
        machine = Machine(params)
        replay(contents.steps, machine, again)
        assert dict(machine.jobs) == dict(self.machine.jobs)
        assert dict(machine.leases) == dict(self.machine.leases)


@pytest.mark.parametrize("actions", [ACTIONS, FAULTS], ids=["busy", "faulty"])
@pytest.mark.parametrize("seed", range(3))
def test_invariants_hold_through_a_random_day_that_can_be_replayed(
    name: str, seed: int, actions: Sequence[str], tmp_path: Path
) -> None:
    day, rng = Day(name, tmp_path, actions), Random(seed)
    for _ in range(150):
        day.act(rng)
    day.settle()  # every job comes to its end
    day.is_replayed()
    assert isinstance(day.decides, Elastic) or len(day.waited) > 5  # so reasons were looked at


def test_every_job_of_a_trace_ends_and_none_before_its_work_is_done(name: str) -> None:
    drawn = Random(5)
    at_s, jobs = 0.0, []
    for index in range(120):
        at_s += drawn.expovariate(1 / 120)
        seconds = min(drawn.paretovariate(0.9) * 300, 40_000)
        gang = drawn.choice((1, 1, 1, 2, 4, 8))
        jobs.append(TraceJob(f"j{index}", at_s, seconds, gang, f"t{index % 3}"))
    trace = in_order("made up", jobs)
    specs = jobs_of(trace, "gpu", 12, Elasticity(0.5), Tiers(0.2, 0.3), 1)
    result = simulate(trace, specs, read_cluster("3x4xV100"), policy(name), Costs())
    assert (result.failed, result.figures.jobs) == (0, len(jobs))
    for done in result.done:
        alone_s = done.duration_s if not result.figures.resizes_per_job else done.duration_s / 2
        assert done.completion_s >= alone_s - 1e-5


def test_it_is_found_by_its_name_and_told_with_its_settings(name: str, tmp_path: Path) -> None:
    about = describe(policy(name), Params())
    again, params = remake(about)
    assert about["policy"] == name and not list(differences(about, describe(again, params)))
    assert set(about["settings"]) == set(signature(type(again)).parameters)  # all are told
    trace, journal = tmp_path / "trace.csv", tmp_path / "run.jsonl"
    rows = "".join(f"j{n},{60 * n},{100 * (n % 7 + 1)},{n % 4 + 1}\n" for n in range(40))
    trace.write_text("job_id,submission_time,duration,num_gpu\n" + rows)
    asked = ["simulate", "--trace", str(trace), "--cluster", "1x4xV100", "--policy", name]
    told = CliRunner().invoke(app, [*asked, "--journal", str(journal)])
    assert told.exit_code == 0 and name in told.output, told.output
    told = CliRunner().invoke(app, ["replay", str(journal), "--at", "10m"])
    assert told.exit_code == 0 and "decided again with the same commands" in told.output


def test_it_serves_a_live_pool(name: str, root: Path, tmp_path: Path) -> None:
    def lease(tier: str, *devices: str) -> JobSpec:
        return JobSpec("lease", "bob", tier, "cpu", devices=devices)

    with Pool(root, ["cpu:0", "cpu:1"], tmp_path / "state", policy=name) as pool:
        with pool.lease(lease("standard", "cpu:1"), PATIENCE_S) as held:
            assert held.device == "cpu:1"
            second = pool.submit(lease("standard", "cpu:1"))
            assert pool.job(second).waiting  # it is told what for
            other = pool.submit(lease("standard", "cpu:0"))
            assert pool.wait(other, PATIENCE_S, (JobState.RUNNING,)).device == "cpu:0"
            pool.finish(other)
        assert pool.wait(second, PATIENCE_S, (JobState.RUNNING,)).device == "cpu:1"
        pool.finish(second)
    (path,) = (tmp_path / "state/journal").iterdir()
    again, params = remake(read(path).header["about"])
    replay(read(path).steps, Machine(params), again)
