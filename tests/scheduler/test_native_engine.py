"""The native engine takes the same steps as Python's, and refuses what it does not have."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import native_runs
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from scheduler.core.values import JobSpec
from scheduler.errors import Infeasible, UnknownJob
from scheduler.native import cluster as native
from scheduler.policies.elastic import Elastic
from scheduler.policies.named import policy
from scheduler.policies.round import ElasticParams
from scheduler.sim.cluster import read_cluster
from scheduler.sim.costs import Costs
from scheduler.sim.faults import read_faults
from scheduler.sim.native import opened, packed_costs, packed_params
from scheduler.sim.run import simulate
from scheduler.sim.workload import RIGID, Elasticity, Tiers, jobs_of
from scheduler.traces.trace import Trace, TraceJob, in_order
from service.cli import app

ROOT = Path(__file__).parents[2]
S = 1_000_000


def made_up(count: int = 400, seed: int = 5, apart_s: float = 100) -> Trace:
    drawn = random.Random(seed)
    at_s, jobs = 0.0, []
    for index in range(count):
        at_s += drawn.expovariate(1 / apart_s)
        seconds = min(drawn.paretovariate(0.9) * 300, 40_000)
        jobs.append(TraceJob(f"j{index}", at_s, seconds, drawn.choice((1, 1, 2, 4, 8, 16)), "t"))
    return in_order("made up", jobs)


TRACE = made_up()
CLUSTER = read_cluster("3x8xV100,4x4xP100")
FAULTS = "node:mtbf=9d,mttr=2h;region:count=3,mtbf=20d,mttr=1h"
SLOW = "straggler:mtbf=1d,mttr=2h,speed=0.4;store:mtbf=1d,mttr=1h,slow=6"


@pytest.mark.parametrize("tiers", [Tiers(), Tiers(0.2, 0.4)], ids=["basic", "tiers"])
@pytest.mark.parametrize("elasticity", [RIGID, Elasticity(0.5), Elasticity(1.0, 4)])
def test_both_engines_take_the_same_steps(elasticity: Elasticity, tiers: Tiers) -> None:
    for seed in (1, 2):
        specs = jobs_of(TRACE, "gpu", 24, elasticity, tiers, seed)
        by_python, natively = native_runs.digests(TRACE, specs, CLUSTER)
        assert by_python == natively


@settings(max_examples=50, deadline=None)
@given(st.integers(5000, 6499))  # each ends within 100,000 steps
@example(5049)  # what is left after a loss is less than the least of a gang whose home it is
def test_both_engines_take_the_same_steps_with_whatever_jobs(seed: int) -> None:
    by_python, natively = native_runs.digests(*native_runs.drawn(seed))
    assert by_python == natively


@pytest.mark.parametrize("saves", [False, True])
def test_both_engines_take_the_same_steps_when_nodes_fall(saves: bool) -> None:
    specs = jobs_of(TRACE, "gpu", 24, Elasticity(0.5), Tiers(0.2, 0.3), 1)
    params = ElasticParams(saves=saves)
    for seed, words in enumerate((FAULTS, FAULTS + ";" + SLOW)):
        by_python, natively = native_runs.digests(
            TRACE, specs, CLUSTER, None, params, read_faults(words), seed
        )
        assert by_python == natively


def test_both_engines_take_the_same_steps_when_hundreds_of_jobs_run_at_once() -> None:
    trace, cluster = made_up(700, 7, apart_s=2), read_cluster("100x8xV100")
    specs = jobs_of(trace, "gpu", 64, Elasticity(0.5), Tiers(0.2, 0.3), 1)
    faults = read_faults("node:mtbf=5d,mttr=1h")
    by_python, natively = native_runs.digests(
        trace, specs, cluster, None, ElasticParams(saves=True), faults
    )
    assert by_python == natively


def test_another_workload_has_another_digest() -> None:
    found = set()
    for share in (0.4, 0.5, 0.6):
        specs = jobs_of(TRACE, "gpu", 24, Elasticity(share), Tiers(), 1)
        found.add(simulate(TRACE, specs, CLUSTER, Elastic(), Costs(), engine="native").digest)
    assert len(found) == 3


def jobs(*rows: tuple[int, ...]) -> Any:
    return np.array([(*row, 0, 0) for row in rows], native.JOB)


def faults(*rows: tuple[int, ...]) -> Any:
    return np.array(list(rows), native.FAULT)


def cluster(nodes: str = "2x4xV100") -> native.Cluster:
    return opened(read_cluster(nodes), ElasticParams(), Costs())


def test_a_cluster_is_driven_from_outside_step_by_step() -> None:
    with cluster() as it:
        it.submit(jobs((0, 50 * S, 8, 8, 8, 2), (S, 50 * S, 4, 4, 4, 2)))
        assert it.advance(2 * S)
        told = it.summary()
        assert told["now_us"] == 2 * S and told["alive"] == 2
        assert list(told["running_jobs"]) == [0, 0, 1]
        assert list(told["waiting_slices"]) == [0, 0, 4]
        standing = it.standing()
        assert (standing.capacity, standing.free, standing.waiting) == (8, 0, 4)
        assert not it.idles
        assert it.advance() and it.idles
        done = it.done()
        assert list(done["job"]) == [1, 2] and list(done["state"]) == [native.SUCCEEDED] * 2
        assert list(done["ended_us"]) == [50 * S, 100 * S]
        assert len(it.done()) == 0


def test_a_job_that_waits_goes_on_in_another_cluster() -> None:
    with cluster() as one, cluster() as other:
        one.submit(jobs((0, 50 * S, 8, 8, 8, 2), (S, 70 * S, 4, 4, 4, 2)))
        one.advance(2 * S)
        with pytest.raises(UnknownJob, match="job 1 "):
            one.withdraw(1)
        left_us, carried = one.withdraw(2)
        assert (left_us, carried) == (70 * S, False)
        other.advance(2 * S)
        other.submit(jobs((2 * S, left_us, 4, 4, 4, 2)))
        assert one.advance() and other.advance()
        assert list(one.done()["state"]) == [native.CANCELLED, native.SUCCEEDED]
        assert list(other.done()["ended_us"]) == [72 * S]


def test_a_lost_node_takes_a_job_back_to_where_it_was_saved() -> None:
    with cluster() as it:
        it.submit(jobs((0, 5000 * S, 8, 8, 8, 2)))
        it.foresee(faults((1000 * S, 0, 1, native.LOST), (1500 * S, 0, 1, native.BACK)))
        it.advance(1200 * S)
        assert it.summary()["losses"] == it.summary()["restarts"] == 1
        assert it.standing().capacity == 4 and it.summary()["waiting_jobs"][2] == 1
        it.advance()
        assert list(it.done()["ended_us"]) == [6500 * S]  # it had no checkpoint
        assert it.summary()["lost_h"] == pytest.approx(8 * 1000 / 3600)


def test_a_node_straggles_from_one_foreseen_moment_to_another() -> None:
    with cluster() as it:
        it.submit(jobs((0, 1000 * S, 8, 8, 8, 2)))
        half, full = 500_000, 1_000_000
        slow, right = (100 * S, half, 1, native.STRAGGLES), (300 * S, full, 1, native.STRAGGLES)
        it.foresee(faults(slow))
        it.advance(200 * S)
        it.foresee(faults(right))
        it.advance()
        assert list(it.done()["ended_us"]) == [1100 * S]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ((S, 0, 2, native.LOST), "node"),
        ((S, 0, 2, native.BACK), "node"),
        ((0, 0, 1, native.LOST), "happens"),
        ((1 << 60, 0, 1, native.LOST), "happens"),
        ((S, 0, 1, native.STRAGGLES), "speed"),
        ((S, 1, 0, native.SLOW_STORE), "longer"),
        ((S, 0, 0, 4), "what it is"),
        ((S, 0, 0, -1), "what it is"),
    ],
)
def test_a_fault_that_cannot_be_is_named_and_none_of_its_batch_happens(
    row: tuple[int, ...], told: str
) -> None:
    with cluster() as it:
        it.advance(S)
        with pytest.raises(Infeasible, match=f"fault 1 of the batch: .*{told}"):
            it.foresee(faults((S, 0, 0, native.LOST), row))
        it.advance(2 * S)
        assert it.summary()["losses"] == 0
        it.foresee(faults((3 * S, 0, 0, native.LOST)))
        with pytest.raises(Infeasible, match=r"fault 0 of the batch: .*happens"):
            it.foresee(faults((2 * S + 1, 0, 1, native.LOST)))
        with pytest.raises(Infeasible, match="row"):
            it.foresee(np.zeros(1))


def test_driving_it_in_small_steps_changes_nothing() -> None:
    found = []
    for step_us in (1 << 46, 997 * S):
        with cluster() as it:
            it.submit(
                jobs(*((n * S, (n % 7 + 1) * 300 * S, n % 8 + 1, 1, 8, n % 3) for n in range(60)))
            )
            for until_us in range(step_us, (1 << 36) + step_us, step_us):
                it.advance(until_us)
                if it.idles:
                    break
            found.append((it.digest(), int(it.summary()["steps"])))
    assert found[0] == found[1]


GOOD = (0, S, 4, 1, 8, 2, 0, 0)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("submitted_us", -1, "submitted"),
        ("submitted_us", 1 << 60, "submitted"),
        ("work_us", 0, "work"),
        ("work_us", 1 << 60, "work"),
        ("count", 0, "count"),
        ("count", 70_000, "count"),
        ("least", 0, "least"),
        ("least", 5, "least"),
        ("most", 3, "most"),
        ("tier", 3, "tier"),
        ("tier", -1, "tier"),
        ("curve", 1, "curve"),
        ("carried", 2, "carried"),
    ],
)
def test_a_job_that_cannot_be_is_named_and_none_of_its_batch_is_taken(
    field: str, value: int, told: str
) -> None:
    batch = np.array([GOOD, GOOD], native.JOB)
    batch[field][1] = value
    with cluster() as it:
        with pytest.raises(Infeasible, match=f"job 1 of the batch: .*{told}"):
            it.submit(batch)
        it.advance()
        assert it.summary()["alive"] == 0 and len(it.done()) == 0


def test_jobs_out_of_order_other_arrays_and_curves_that_fall_are_refused() -> None:
    with cluster() as it:
        with pytest.raises(Infeasible, match=r"job 1 of the batch: .*submitted"):
            it.submit(jobs((5, S, 1, 1, 1, 2), (4, S, 1, 1, 1, 2)))
        it.advance(S)
        with pytest.raises(Infeasible, match="submitted"):
            it.submit(jobs((S - 1, S, 1, 1, 1, 2)))
        with pytest.raises(Infeasible, match="row"):
            it.submit(np.zeros((2, 2)))
        with pytest.raises(Infeasible, match="speed"):
            it.curve([(2, 1_500_000), (4, 1_400_000)])
        with pytest.raises(Infeasible, match="slices"):
            it.curve([(4, 1_500_000), (4, 1_600_000)])
        with pytest.raises(Infeasible, match="points"):
            it.curve([])
        curve = it.curve([(4, 1_500_000)])
        with pytest.raises(Infeasible, match="rise from its count"):
            it.submit(np.array([(S, S, 4, 4, 8, 2, curve, 0)], native.JOB))


@pytest.mark.parametrize(
    ("parts", "slices", "told"),
    [([], [], "nodes"), ([0, 2], [4, 4], "part"), ([0], [65], "slices"), ([0], [0], "slices")],
)
def test_nodes_that_cannot_be_are_refused(parts: list[int], slices: list[int], told: str) -> None:
    params, costs = packed_params(ElasticParams()), packed_costs(Costs())
    with pytest.raises(Infeasible, match=told):
        native.Cluster(params, costs, parts, slices)


def test_parameters_that_cannot_be_are_refused() -> None:
    costs = packed_costs(Costs())
    for field, value in (("level_ratio", 1), ("look_us", 0), ("grow_share", float("nan"))):
        params = packed_params(ElasticParams())
        params[field] = value
        with pytest.raises(Infeasible):
            native.Cluster(params, costs, [0], [4])
    costs["turns_ppm"] = 0
    with pytest.raises(Infeasible, match="turns_ppm"):
        native.Cluster(packed_params(ElasticParams()), costs, [0], [4])


def test_what_the_engine_does_not_have_is_refused_by_name() -> None:
    trace = in_order("one", [TraceJob("j", 0, 10, 1, "t")])
    faster = JobSpec("j", "t", "basic", "gpu", ("train",), speeds=(("V100", 1.0), ("P100", 0.5)))
    plain = JobSpec("j", "t", "basic", "gpu", ("train",))
    replica = JobSpec("j", "t", "premium", "gpu", ("serve",), recall_us=5_000_000)
    for spec, by, nodes, told in (
        (faster, Elastic(), "2x4xV100", "speeds"),
        (plain, policy("fifo"), "2x4xV100", "elastic policy only"),
        (replica, Elastic(), "2x4xV100", "recall_us"),
        (plain, Elastic(), "1x65xV100", "64"),
    ):
        with pytest.raises(Infeasible, match=told):
            simulate(trace, [spec], read_cluster(nodes), by, Costs(), engine="native")
    drains = read_faults("drain:nodes=*,at=1h,notice=10m,lasts=1h")
    with pytest.raises(Infeasible, match="drains"):
        simulate(trace, [plain], CLUSTER, Elastic(), Costs(), faults=drains, engine="native")
    windows = read_faults("window:nodes=*,at=1h,within=4h,notice=10m,lasts=1h")
    by = Elastic(ElasticParams(gather="greedy"))
    with pytest.raises(Infeasible, match="fewer parts"):
        simulate(trace, [plain], CLUSTER, by, Costs(), engine="native")
    with pytest.raises(Infeasible, match="windows of maintenance"):
        simulate(trace, [plain], CLUSTER, Elastic(), Costs(), faults=windows, engine="native")


def test_the_command_line_runs_it_and_says_when_python_does(tmp_path: Path) -> None:
    rows = ["job_id,submission_time,duration,num_gpu"]
    rows += [f"j{n},{n * 60},{n % 9 * 100 + 60},{n % 4 + 1}" for n in range(50)]
    trace = tmp_path / "itp.csv"
    trace.write_text("\n".join(rows))
    asked = [
        "simulate",
        "--trace",
        str(trace),
        "--cluster",
        "2x4xV100",
        "--engine",
        "native",
        "--json",
    ]
    answer = CliRunner().invoke(app, asked)
    assert answer.exit_code == 0, answer.output
    assert '"engine": "native"' in answer.stdout
    answer = CliRunner().invoke(app, [*asked, "--policy", "fifo"])
    assert answer.exit_code == 0 and '"engine": "python"' in answer.stdout
    assert "the native engine has the elastic policy only" in answer.stderr


def test_every_source_of_the_engine_is_built() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "ext-modules"
    ]
    module = next(each for each in listed if each["name"] == "scheduler.native.engine")
    folder = ROOT / "scheduler" / "native"
    sources = [folder / "engine.cpp", *(folder / "engine").glob("*.cpp")]
    assert sorted(module["sources"]) == sorted(str(path.relative_to(ROOT)) for path in sources)
    headers = (folder / "engine").glob("*.hpp")
    assert sorted(module["depends"]) == sorted(str(path.relative_to(ROOT)) for path in headers)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_its_heap_and_its_pieces_are_as_plain_containers(tmp_path: Path) -> None:
    program, source = tmp_path / "parts", Path(__file__).with_name("native_parts.cpp")
    flags = ["-std=c++20", "-g", "-O1", "-Wall", "-Wextra", "-I", ROOT]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    subprocess.run(["g++", source, *flags, "-o", program], check=True, timeout=200)
    subprocess.run([program], check=True, timeout=100)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_it_keeps_to_its_memory_and_to_what_numbers_can_hold(tmp_path: Path) -> None:
    library = tmp_path / "engine.so"
    folder = ROOT / "scheduler" / "native"
    flags = ["-std=c++20", "-g", "-O1", "-D_GLIBCXX_ASSERTIONS", "-fPIC", "-shared"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    sources = [folder / "engine.cpp", *(folder / "engine").glob("*.cpp")]
    subprocess.run(["g++", *sources, *flags, "-o", library], check=True, timeout=400)
    found = [
        subprocess.run(
            ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        )
        for name in ("libasan.so", "libubsan.so")
    ]
    preload = " ".join(each.stdout.strip() for each in found)
    done = subprocess.run(
        [sys.executable, native_runs.__file__, library, "1000", "150"],
        env={**os.environ, "LD_PRELOAD": preload, "ASAN_OPTIONS": "detect_leaks=0"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
