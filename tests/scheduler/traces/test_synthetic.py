"""Synthetic streams have the distributions that they were calibrated on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from scheduler.errors import TraceDamaged
from scheduler.traces.calibrate import (
    SHARES,
    Workload,
    calibrate,
    cyclic,
    distance,
    read_workload,
    steady,
)
from scheduler.traces.packed import KINDS, specs_of
from scheduler.traces.readers import read
from scheduler.traces.synthetic import Assumed, S, generate, rate_for, trace_of, workload_named
from scheduler.traces.trace import Trace, TraceJob, in_order

TRACES = Path(os.environ.get("HALTERE_TRACES", "/work/shared/traces"))


def hand_made(jobs: int = 20_000) -> Trace:
    """Poisson by day (half as many at night), sizes 1 and 8, long jobs where they are large."""
    drawn = np.random.Generator(np.random.PCG64(3))
    cycle = np.repeat([0.5, 1.5], 12)
    at = cyclic(np.cumsum(drawn.exponential(300, jobs)), cycle)
    counts = np.where(drawn.random(jobs) < 0.25, 8, 1)
    lasted = np.exp(drawn.normal(6, 1.5, jobs)) * counts
    owner = drawn.zipf(2.0, jobs) % 7
    return in_order(
        "hand-made",
        (
            TraceJob(f"j{n}", float(at[n]), float(lasted[n]), int(counts[n]), f"t{owner[n]}")
            for n in range(jobs)
        ),
    )


def columns(trace: Trace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    at = np.array([job.submitted_s for job in trace.jobs])
    lasted = np.array([job.duration_s for job in trace.jobs])
    return at, lasted, np.array([float(job.count) for job in trace.jobs])


def distances(trace: Trace, workload: Workload) -> dict[str, float]:
    """Between a trace and a stream of as many jobs, whose daily cycle is the same."""
    jobs = generate(workload, Assumed(), len(trace.jobs), seed=5)
    at, lasted, counts = columns(trace)
    made = jobs["at_us"] / S
    hours = np.bincount((at // 3600).astype(int)), np.bincount((made // 3600).astype(int))
    return {
        "gaps": distance(np.diff(at), np.diff(made)),
        "durations": distance(lasted, jobs["work_us"] / S),
        "sizes": distance(counts, jobs["count"].astype(float)),
        "an hour": distance(*(hour.astype(float) for hour in hours)),
    }


def test_a_stream_is_distributed_as_the_trace_that_it_was_calibrated_on() -> None:
    trace = hand_made()
    found = distances(trace, calibrate(trace))
    assert max(found.values()) < 0.08 and found["gaps"] + found["durations"] < 0.05, found


def test_jobs_that_came_in_runs_and_much_alike_do_so_in_the_stream() -> None:
    calm = calibrate(hand_made())
    assert sum(calm.gaps_alike) < 0.05 and sum(calm.durations_alike) < 0.05
    jobs = generate(workload_named("philly"), Assumed(), 50_000, seed=2)
    lasted = np.log(jobs["work_us"] / S)
    assert np.corrcoef(lasted[:-1], lasted[1:])[0, 1] > 0.3
    again = calibrate(trace_of(jobs, "again"))
    assert abs(sum(again.gaps_alike) - sum(workload_named("philly").gaps_alike)) < 0.1


@pytest.mark.skipif(not TRACES.exists(), reason="HALTERE_TRACES names no folder of traces")
@pytest.mark.parametrize(
    ("shipped", "path"), [("philly", "philly/philly_jobs.csv"), ("itp04", "itp/cluster04.csv")]
)
def test_the_shipped_workloads_are_those_of_the_public_traces(shipped: str, path: str) -> None:
    trace = read(str(TRACES / path))
    assert workload_named(shipped) == calibrate(trace)
    found = distances(trace, workload_named(shipped))
    assert found["durations"] < 0.06 and found["sizes"] < 0.02, found
    assert found["gaps"] < 0.08 and found["an hour"] < 0.15, found


def test_the_same_seed_gives_the_same_jobs_and_another_gives_others() -> None:
    workload = workload_named("philly")
    once, twice, other = (generate(workload, Assumed(fpga=0.1), 1000, seed) for seed in (1, 1, 2))
    assert np.array_equal(once, twice) and not np.array_equal(once, other)


def test_a_stream_brings_the_load_that_was_asked_for() -> None:
    workload = calibrate(hand_made())
    rate = rate_for(workload, Assumed(), devices=1000, load=0.8)
    jobs = generate(workload, Assumed(), 100_000, seed=4, rate=rate)
    work_s = float((jobs["work_us"] / S * jobs["count"]).sum())
    assert abs(work_s / (1000 * jobs["at_us"][-1] / S) - 0.8) < 0.05


def test_time_without_its_daily_cycle_can_be_told_back() -> None:
    cycle = np.linspace(0.5, 1.5, 24)
    at = np.linspace(0, 10 * 86400, 999)
    assert np.allclose(cyclic(steady(at, cycle), cycle), at)


def test_packed_jobs_and_their_specs_say_the_same() -> None:
    assumed = Assumed(premium=0.2, standard=0.3, fpga=0.2, tenants=5)
    jobs = generate(workload_named("itp04"), assumed, 300, seed=1, largest=16)
    specs = specs_of(jobs, [f"t{n}" for n in range(5)], 0.8)
    for row, spec in zip(jobs, specs, strict=True):
        assert (spec.least, spec.count, spec.most) == (row["least"], row["count"], row["most"])
        assert spec.device_kind == KINDS[row["kind"]] and spec.tenant == f"t{row['tenant']}"
        assert spec.rank == row["tier"] and spec.most <= 16
    assert {spec.tier for spec in specs} == {"premium", "standard", "basic"}
    fpga = jobs[jobs["kind"] == 1]
    assert 30 < len(fpga) < 90 and set(fpga["most"]) == {1}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cycle", [1.0] * 23),
        ("gaps_s", [1.0] * (len(SHARES) - 1)),
        ("gaps_s", [2.0, 1.0] * (len(SHARES) // 2) + [1.0]),
        ("sizes", [[1, 0.5]]),
        ("gap_s", "soon"),
        ("version", 9),
        ("durations_alike", [0.9, 0.9]),
    ],
)
def test_a_damaged_file_of_parameters_is_refused(tmp_path: Path, name: str, value: object) -> None:
    path = tmp_path / "w.json"
    raw = json.loads(workload_named("philly").to_json()) | {name: value}
    path.write_text(json.dumps(raw))
    with pytest.raises(TraceDamaged, match=r"w\.json"):
        read_workload(path)


@pytest.mark.parametrize("rate", [0.0, float("nan"), float("inf"), 1e-12])
def test_a_rate_at_which_no_stream_can_be_is_refused(rate: float) -> None:
    with pytest.raises(TraceDamaged, match="50 jobs at rate"):
        generate(workload_named("philly"), Assumed(), 50, 1, rate=rate)
