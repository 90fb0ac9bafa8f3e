"""`haltere simulate-planet` and `haltere calibrate-trace`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import app

RUN = ["simulate-planet", "--planet", "2x1x2x4xV100", "--jobs", "20", "--tick-s", "600"]


def told(*words: str) -> dict[str, dict[str, object]]:
    found = CliRunner().invoke(app, [*RUN, "--json", *words])
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_a_planet_is_simulated_by_either_engine_with_the_same_digest() -> None:
    native, python = (told("--engine", engine)["figures"] for engine in ("native", "python"))
    assert native["digest"] == python["digest"] and native["average_h"] > 0


def test_faults_in_words_and_saves_are_in_its_figures() -> None:
    words = "node:mtbf=2h,mttr=10m;region:mtbf=20h,mttr=1h;outage:nodes=gpu-1-*/*,at=1h,lasts=1h"
    native, python = (
        told("--engine", engine, "--faults", words, "--saves")["figures"]
        for engine in ("native", "python")
    )
    assert native["faults"] == python["faults"] and native["digest"] == python["digest"]
    assert native["faults"]["losses"] > 4 and native["faults"]["restarts"] > 0
    assert native["faults"]["saves"] > 0 and native["faults"]["lost_h"] > 0
    done = CliRunner().invoke(app, [*RUN, "--faults", words, "--saves"])
    assert done.exit_code == 0 and "nodes lost" in done.output


def test_a_trace_is_dealt_to_regions(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    rows = [f"j{n},{n * 50},{100 + n},{1 + n % 4}" for n in range(120)]
    path.write_text("\n".join(["job_id,submission_time,duration,num_gpu", *rows]))
    found = told("--trace", str(path), "--out", "global:0-1", "--lost", "0.1")
    assert found["told"]["jobs"] == 120 and found["figures"]["messages_lost"] > 0
    made = tmp_path / "w.json"
    done = CliRunner().invoke(app, ["calibrate-trace", str(path), str(made)])
    assert done.exit_code == 0 and "durations" in done.output
    assert told("--workload", str(made))["told"]["of"] == f"{made}, synthetic"


def test_jobs_of_a_trace_that_no_cluster_can_hold_are_counted_and_the_first_is_named(
    tmp_path: Path,
) -> None:
    path = tmp_path / "trace.csv"
    rows = [f"j{n},{n * 50},100,{4 + 2 * n}" for n in range(5)]
    path.write_text("\n".join(["job_id,submission_time,duration,num_gpu", *rows]))
    found = CliRunner().invoke(app, [*RUN, "--trace", str(path), "--json"])
    assert found.exit_code == 0
    assert "2 jobs ask for more than the 8 devices that each region" in found.stderr
    assert "up to 12; the first is 'j3'" in found.stderr
    assert "ask for" not in CliRunner().invoke(app, RUN).stderr


@pytest.mark.parametrize(
    "words", [["--out", "global"], ["--engine", "fortran"], ["--faults", "node"]]
)
def test_words_that_cannot_be_are_refused(words: list[str]) -> None:
    found = CliRunner().invoke(app, [*RUN, *words])
    assert found.exit_code != 0


@pytest.mark.parametrize("option", ["--premium", "--elastic", "--fpga"])
def test_a_share_that_is_no_number_is_refused(option: str) -> None:
    told = CliRunner().invoke(app, [*RUN, option, "nan"])
    assert "shares are from 0 to 1" in str(told.exception)


@pytest.mark.parametrize(
    "words", [("--out", "global:1..-2"), ("--out", "global:3-2"), ("--load", "1e300")]
)
def test_what_no_planet_can_have_is_refused(words: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, [*RUN, *words]).exit_code == 2


def test_a_planet_has_bounds() -> None:
    told = CliRunner().invoke(app, ["simulate-planet", "--planet", "200x16x2000x8000xV100"])
    assert "51200000000 devices" in str(told.exception)


@pytest.mark.parametrize("words", [("simulate-planet",), ("simulate", "--engine", "native")])
def test_a_job_beyond_what_clusters_count_is_told(tmp_path: Path, words: tuple[str, ...]) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("job_id,submission_time,duration,num_gpu\na,0,1,1\nlong,0,90000000,1\n")
    told = CliRunner().invoke(app, [*words, "--trace", str(trace)])
    assert "job 'long' comes after 0 h and takes 25000 h" in str(told.exception)
