"""Whole simulated runs, from the command line down, on a made-up trace."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scheduler.errors import TraceDamaged
from scheduler.policies.named import POLICIES, policy
from scheduler.sim.cluster import read_cluster
from scheduler.sim.costs import FREE, Costs
from scheduler.sim.run import simulate
from scheduler.sim.workload import RIGID, Elasticity, Tiers, jobs_of
from scheduler.traces.trace import Trace, TraceJob, in_order
from service.cli import app


def made_up(count: int = 120, seed: int = 5) -> Trace:
    drawn = random.Random(seed)
    at_s = 0.0
    jobs = []
    for index in range(count):
        at_s += drawn.expovariate(1 / 120)
        seconds = min(drawn.paretovariate(0.9) * 300, 40_000)
        gang = drawn.choice((1, 1, 1, 2, 4, 8))
        jobs.append(TraceJob(f"j{index}", at_s, seconds, gang, f"t{index % 3}"))
    return in_order("made up", jobs)


TRACE = made_up()
CLUSTER = read_cluster("3x4xV100")


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_ends_every_job_and_none_before_its_work_is_done(name: str) -> None:
    specs = jobs_of(TRACE, "gpu", 12, RIGID, Tiers(0.2, 0.3), 1)
    result = simulate(TRACE, specs, CLUSTER, policy(name), Costs())
    assert result.failed == 0 and result.figures.jobs == len(TRACE.jobs)
    for job in result.done:
        assert job.completion_s >= job.duration_s - 1e-5
    if name in ("fifo", "backfill"):
        assert result.figures.preemptions_per_job == 0


def test_halting_pays_against_waiting_also_when_it_is_charged() -> None:
    specs = jobs_of(TRACE, "gpu", 12, RIGID, Tiers(), 1)
    fifo = simulate(TRACE, specs, CLUSTER, policy("fifo"), FREE).figures
    ours = simulate(TRACE, specs, CLUSTER, policy("elastic"), Costs()).figures
    assert ours.average_h < 0.6 * fifo.average_h and ours.unfair < fifo.unfair


def test_jobs_that_can_grow_are_done_sooner() -> None:
    rigid, elastic = (
        simulate(
            TRACE, jobs_of(TRACE, "gpu", 12, kind, Tiers(), 1), CLUSTER, policy("elastic"), Costs()
        ).figures
        for kind in (RIGID, Elasticity())
    )
    assert elastic.average_h < rigid.average_h and elastic.resizes_per_job > 0


def test_a_seed_says_all_that_the_trace_does_not() -> None:
    kind, tiers = Elasticity(share=0.5), Tiers(0.3, 0.3)
    first = jobs_of(TRACE, "gpu", 12, kind, tiers, 1)
    assert first == jobs_of(TRACE, "gpu", 12, kind, tiers, 1)
    assert first != jobs_of(TRACE, "gpu", 12, kind, tiers, 2)
    assert {spec.most // spec.count for spec in first if spec.count < 8} == {1, 2}
    assert {str(spec.tier) for spec in first} == {"premium", "standard", "basic"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0x4xV100", "needs 1 to"),
        ("3x4", "neither nodes x devices x type"),
        ("kind = 3\n[[nodes]]\nname='a'\ncount=1\ndevices=1\ntype='x'\n", "kind 3"),
        ("[[nodes]]\nname='a'\ncount='1'\ndevices=1\ntype='x'\n", "nodes 1: count is '1'"),
        ("[[nodes]]\nname='a'\ncount=1\ndevices=1\ntype='x'\nsize=3\n", "unknown size"),
        ("[[nodes]]\nname='a'\ncount=1\ndevices=1\ntype='x'\n" * 2, "a name twice"),
        ("nodes = 3\n", r"no \[\[nodes\]\]"),
        ("= 3", "no TOML"),
    ],
)
def test_what_is_wrong_with_a_cluster_is_told(tmp_path: Path, text: str, said: str) -> None:
    spec = text
    if "\n" in text or "=" in text:
        path = tmp_path / "cluster.toml"
        path.write_text(text)
        spec = str(path)
    with pytest.raises(TraceDamaged, match=said):
        read_cluster(spec)


def test_the_command_writes_a_table_figures_and_a_picture(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    rows = "".join(
        f"{job.name},{job.submitted_s:.0f},{job.duration_s:.0f},{job.count}\n" for job in TRACE.jobs
    )
    trace.write_text("job_id,submission_time,duration,num_gpu\n" + rows)
    asked = ["simulate", "--trace", str(trace), "--cluster", "3x4xV100", "--policy", "elastic"]
    shown = CliRunner().invoke(app, [*asked, "--policy", "las", "--report", str(tmp_path / "out")])
    assert shown.exit_code == 0 and "elastic" in shown.output and "las" in shown.output
    report = json.loads((tmp_path / "out" / "elastic" / "report.json").read_text())
    assert report["figures"]["jobs"] == 120 and max(report["devices_held"]) <= 12
    assert (tmp_path / "out" / "las" / "report.png").read_bytes().startswith(b"\x89PNG")
    told = CliRunner().invoke(app, [*asked, "--jobs", "10", "--json"])
    found = json.loads(told.stdout)
    assert found["assumed"]["jobs"] == 10 and found["figures"]["elastic"]["failed"] == 0
