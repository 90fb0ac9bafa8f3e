"""`haltere capture`: what it says, and its exit status."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from pathlib import Path

import pytest

from rtl_sim.capture.cli import main

COUNTER = "module counter #(parameter W = 4)(input clk, output reg [W-1:0] n);\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "counter.v"
    path.write_text(f"{COUNTER}always @(posedge clk) n <= n + 1;\nendmodule\n")
    return path


def test_a_design_is_captured_and_its_cost_is_told(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "halted"
    arguments = [str(source), "--param", "W=9", "--lanes", "4", "--clock", "clk"]
    assert main([*arguments, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "counter can be halted" in said and "3 rows of 4 lanes" in said
    assert str(out / "counter.v") in said
    assert json.loads((out / "report.json").read_text())["flop_bits"] == 9


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "design_error: no sources"),
        (["no.v"], "elaboration_error: source file no.v does not exist"),
        (["no.toml"], "design_error: the design's description no.toml does not exist"),
        (["d.toml", "more.v"], "give no other sources"),
        (["-f", "no.f"], "no.f does not exist"),
        (["SOURCE", "--param", "NONE=1"], "parameter 'NONE' does not exist"),
        (["SOURCE", "--lanes", "0"], "0 lanes asked for"),
        (["SOURCE", "--include", "no"], "include directory no does not exist"),
    ],
)
def test_a_mistake_is_told_on_standard_error(
    arguments: list[str],
    told: str,
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [str(source) if word == "SOURCE" else word for word in arguments]
    assert main([*given, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert told in said.err.replace("\n", " ")
    assert not said.out and not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["a.v"], ["a.v", "--out", "o", "--freeze", "ice"],
                                       ["a.v", "--out", "o", "--param", "W"]])  # fmt: skip
def test_a_call_that_cannot_be_meant_shows_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: haltere capture" in capsys.readouterr().err


def test_options_may_stand_between_sources(source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.v"
    other.write_text("module other(input x, output y); assign y = x; endmodule\n")
    given = [str(other), "--top", "counter", str(source), "--out", str(tmp_path / "out")]
    assert main(given) == 0


def test_a_folder_that_cannot_be_written_is_told(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(source), "--out", str(source)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"os_error: into {source}: ") and "File exists" in said


def test_one_run_at_a_time_writes_into_a_folder(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    descriptor = os.open(out, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    other = threading.Thread(target=main, args=([str(source), "--out", str(out)],))
    other.start()
    other.join(3.0)  # it takes one second when nothing holds it up
    waited = other.is_alive() and not any(out.glob("*"))
    os.close(descriptor)
    other.join(60.0)
    assert waited
    assert (out / "counter.v").exists()
