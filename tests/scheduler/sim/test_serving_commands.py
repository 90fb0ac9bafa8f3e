"""simulate-serving, simulate-packing, simulate-overlays: from the command line down."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import app


def told(*words: str) -> dict[str, dict[str, dict[str, float]]]:
    answer = CliRunner().invoke(app, [*words, "--json"])
    assert answer.exit_code == 0, answer.output
    found: dict[str, dict[str, dict[str, float]]] = json.loads(answer.stdout)["figures"]
    return found


def test_serving_is_scaled_compared_and_drawn(tmp_path: Path) -> None:
    drawn, at_s, rows = random.Random(1), 0.0, ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    while at_s < 600:
        stamp = f"2023-11-16 18:{int(at_s // 60):02}:{at_s % 60:09.6f}"
        rows.append(f"{stamp},{drawn.randint(50, 900)},{drawn.randint(10, 150)}")
        at_s += drawn.expovariate(4)
    trace = tmp_path / "requests.csv"
    trace.write_text("\n".join(rows))
    out = tmp_path / "out"
    asked = ("simulate-serving", "--trace", str(trace), "--replicas", "6", "--report", str(out))
    found = told(*asked, "--step-s", "20")["all"]
    assert found["forecast"]["attained"] >= 0.99 <= found["clairvoyant"]["attained"]
    bound = found["bound_devices"]
    assert isinstance(bound, float)
    assert bound <= found["clairvoyant"]["devices"] < found["forecast"]["devices"] < 6
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / "report.json").read_text())["figures"]["all"] == found


def test_a_model_shares_a_pool_with_batch_jobs(tmp_path: Path) -> None:
    rows = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    rows += [
        f"2023-11-16 18:{n // 120:02}:{n % 120 / 2:09.6f},100,{50 + n % 90}" for n in range(600)
    ]
    trace = tmp_path / "requests.csv"
    trace.write_text("\n".join(rows))
    asked = ("simulate-serving", "--trace", str(trace), "--no-clairvoyant", "--pool", "8")
    answer = CliRunner().invoke(app, [*asked, "--replicas", "3", "--json"])
    pool = json.loads(answer.stdout)["pool"]
    assert pool["attained"] >= 0.99 and pool["recalls_late"] == 0
    assert 0.5 < pool["useful"] <= 1 and pool["lent"] == pytest.approx(8 - pool["devices"])
    refused = CliRunner().invoke(app, [*asked, "--deadline-s", "20"])
    assert refused.exit_code == 2 and "--deadline-s" in refused.output


def test_packing_compares_three_ways_on_the_same_pods(tmp_path: Path) -> None:
    nodes, pods = tmp_path / "nodes.csv", tmp_path / "pods.csv"
    rows = "".join(f"n{n},{16000 + 8000 * (n % 3)},64000,4,T4\n" for n in range(12))
    nodes.write_text("sn,cpu_milli,memory_mib,gpu,model\n" + rows)
    drawn = random.Random(2)
    kinds = ("1,1000,", "1,470,", "1,230,", "2,1000,", "0,0,")
    rows = "".join(
        f"p{n},{drawn.choice((1000, 4000, 8000))},500,{drawn.choice(kinds)}\n" for n in range(60)
    )
    pods.write_text("name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n" + rows)
    asked = ("simulate-packing", "--nodes", str(nodes), "--pods", str(pods), "--runs", "2")
    found = told(*asked, "--report", str(tmp_path / "out"))
    assert set(found) == {"balanced", "fragmentation", "best-fit"}
    assert all(0.5 < f["allocated"] <= 1 for f in found.values())
    assert (tmp_path / "out" / "report.png").exists()


def test_overlays_are_compared_and_bad_weights_refused() -> None:
    found = told("simulate-overlays", "--requests", "500")
    assert found["affinity"]["reconfigurations"] < found["blind"]["reconfigurations"]
    bad = CliRunner().invoke(app, ["simulate-overlays", "--overlay", "a=x"])
    assert bad.exit_code == 2 and "NAME=WEIGHT" in bad.output


REQUESTS = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


@pytest.mark.parametrize(
    ("rows", "words", "said"),
    [
        (1, (), "all 1 requests come at one moment"),
        (3, ("--first-s", "0.001"), "no number of replicas keeps that for 99.0%"),
        (3, ("--input-per-s", "1"), "gives 0.0% of the requests their first token"),
    ],
)
def test_an_objective_that_nobody_can_keep_is_refused(
    tmp_path: Path, rows: int, words: tuple[str, ...], said: str
) -> None:
    trace = tmp_path / "requests.csv"
    lines = (f"2023-11-16 18:15:{second:02},374,44\n" for second in range(rows))
    trace.write_text(REQUESTS + "".join(lines))
    told = CliRunner().invoke(app, ["simulate-serving", "--trace", str(trace), *words])
    assert getattr(told.exception, "disposition", "") == "caller" and said in str(told.exception)


def test_a_half_of_one_moment_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "requests.csv"
    trace.write_text(REQUESTS + "".join(f"2023-11-16 18:1{n}:00,374,44\n" for n in range(3)))
    told = CliRunner().invoke(app, ["simulate-serving", "--trace", str(trace), "--halves"])
    assert told.exit_code == 2 and "--halves: all requests of a half" in told.output
