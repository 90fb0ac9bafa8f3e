"""The proof tool: it passes sound captures, and finds what is wrong with broken ones."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rtl_sim.design import Design, load_design
from rtl_sim.errors import DesignError, PortError
from rtl_sim.prove import __main__ as command
from rtl_sim.prove import prove
from rtl_sim.prove.builds import Builds, build, from_result
from rtl_sim.prove.stimulus import Stimulus
from rtl_sim.prove.tool import examine
from rtl_sim.verilated import toolchain
from rtl_sim.verilated.player import Port

HERE = Path(__file__).parent
CORPUS = sorted(path.parent.name for path in (HERE / "corpus").glob("*/design.toml"))
EVERYDAY = ("rv32",)

if toolchain.absence():
    pytest.skip(str(toolchain.absence()), allow_module_level=True)


def corpus(name: str) -> Design:
    return load_design(HERE / "corpus" / name / "design.toml")


@pytest.fixture(scope="module")
def fifo(tmp_path_factory: pytest.TempPathFactory) -> Builds:
    design = Design((HERE / "designs" / "fsm_fifo.sv",), "fsm_fifo", resets={"rst": 1})
    return build(design, tmp_path_factory.mktemp("fifo"))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in EVERYDAY else pytest.mark.slow) for name in CORPUS],
)
def test_a_design_of_the_corpus_can_be_halted_anywhere(name: str) -> None:
    report = prove(corpus(name), pairs=100, control=True)
    assert report.divergence is None, str(report.divergence)
    assert report.pairs == 100
    assert report.covered_bits == report.state_bits > 0
    assert [control.segment for control in report.controls if not control.noticed] == []


def test_a_top_with_unpacked_arrays_among_its_ports_can_be_halted_anywhere(tmp_path: Path) -> None:
    source = tmp_path / "t.sv"
    source.write_text(
        "module t(input logic clk, input logic [4:0] a [0:2], input logic [69:0] b [1:0][2],\n"
        "         output logic [4:0] q [3:0], output logic [69:0] r);\n"
        "  always_ff @(posedge clk) begin\n"
        "    for (int i = 0; i < 3; i++) q[i] <= a[i] + 5'(i) + q[3];\n"
        "    q[3] <= a[0] ^ q[1];\n    r <= b[1][0] + b[0][1];\n  end\nendmodule\n"
    )
    report = prove(Design((source,), "t"), pairs=30)
    assert report.ok, str(report)
    assert report.state_bits == 90


def test_the_same_seed_counts_the_same(fifo: Builds) -> None:
    first, second = (replace(examine(fifo, pairs=30, seed=5), seconds=0.0) for _ in range(2))
    other = replace(examine(fifo, pairs=30, seed=6), seconds=0.0)
    assert first == second
    assert first.cycles != other.cycles


# What a broken capture would emit: a pattern in its text, what stands there instead, what finds it.
BROKEN = (
    (r"good <= n", "good <= 16'd1 + n", "original"),  # a next state
    (r"if \(sp_run\) begin", "if (1) begin", ""),  # frozen registers go on
    (r"if \(sp_run\) begin", "if (sp_run || sp_scan) begin", ""),  # no shifting
    (r"sp_so = ", "sp_so = 1 + ", ""),  # a wrong row comes out
    (r"2:0\] : sp_maddr", "2:0] : 1 + sp_maddr", ""),  # restored to wrong words
    (r"sp_mwe", "1'b0", ""),  # words are not restored
)


@pytest.mark.parametrize(
    "number",
    [pytest.param(n, marks=() if n in (0, 3) else pytest.mark.slow) for n in range(len(BROKEN))],
)
def test_a_broken_capture_is_found(number: int, fifo: Builds, tmp_path: Path) -> None:
    pattern, wrong, law = BROKEN[number]
    whole = fifo.captured[0].result
    text, count = re.subn(pattern, wrong, whole.verilog.read_text())
    if wrong == "1'b0":  # not in the list of ports
        text = text.replace("input 1'b0", "input sp_mwe")
    assert count, pattern
    broken = tmp_path / "broken.v"
    broken.write_text(text)
    captured = from_result(replace(whole, verilog=broken))
    builds = replace(fifo, captured=(captured, fifo.captured[1]))
    report = examine(builds, pairs=100, reproduce="haltere prove it")
    assert not report.ok
    assert report.divergence is not None or report.covered_bits < report.state_bits
    if law:
        assert report.divergence is not None and report.divergence.law == law
        assert report.divergence.note == ""  # no don't care: this RTL assigns no X


@pytest.mark.slow
def test_a_divergence_is_shown_with_waveforms_and_the_registers_that_differ(
    fifo: Builds, tmp_path: Path
) -> None:
    whole = fifo.captured[0].result
    broken = tmp_path / "broken.v"
    broken.write_text(whole.verilog.read_text().replace("good <= n", "good <= 16'd1 + n", 1))
    captured = from_result(replace(whole, verilog=broken))
    builds = replace(fifo, captured=(captured, fifo.captured[1]))
    report = examine(builds, pairs=20, waves=tmp_path / "waves", reproduce="haltere prove it")
    found = report.divergence
    assert found is not None
    assert [Path(path).name for path in found.waveforms] == ["original.vcd", "kept.vcd"]
    assert any(register.name.startswith("good") for register in found.registers), str(found)
    assert "again: haltere prove it" in str(found)


def test_the_command_counts_in_json_and_by_its_exit_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = str(HERE / "designs" / "fsm_fifo.sv")
    assert command.main([source, "--top", "fsm_fifo", "--pairs", "10", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["pairs"], said["ok"], said["divergence"]) == (10, True, None)
    assert command.main(["nowhere.toml"]) == 2


def test_the_command_takes_a_design_as_capture_does_and_what_drives_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "step.v").write_text("""
module step #(parameter W = 4) (input clk, input rst_n, input on, output reg [W-1:0] n);
  always @(posedge clk or negedge rst_n) if (!rst_n) n <= `FIRST; else n <= n + on;
endmodule""")
    (tmp_path / "step.f").write_text("+define+FIRST=3\nstep.v\n")
    given = [str(tmp_path / "step.f"), "--param", "W=9", "--pairs", "5", "--hold", "on=1"]
    assert command.main([*given, "--reset", "rst_n=0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state_bits"] == 9
    assert command.main([*given, "--reset", "rst=0"]) == 2
    assert "reset 'rst' is no input" in capsys.readouterr().err


def test_inputs_never_move_with_a_clock_and_clocks_move_one_at_a_time() -> None:
    ports = [Port(name, "in", 1, i) for i, name in enumerate(("a", "b", "rst", "mode"))]
    ports += [Port("x", "in", 40, 4), Port("v", "in", 1, 6)]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        stimulus = Stimulus(ports, ("a", "b"), {"rst": 0}, {"mode": 1}, rng)
        rows = np.concatenate([stimulus.start(), *(stimulus.burst() for _ in range(20))])
        moved = rows[1:] != rows[:-1]
        clocks = moved[:, :2].sum(axis=1)
        assert clocks.max() == 1
        assert not (moved[:, 2:].any(axis=1) & (clocks > 0)).any()
        assert (rows[:, 3] == 1).all()
        assert set(rows[:, 2]) == {0, 1}
        assert rows[-1, 0] == rows[-1, 1] == 0


def test_a_clock_that_is_no_input_is_refused() -> None:
    with pytest.raises(PortError, match="clock 'clock' is no input; those are clk"):
        Stimulus([Port("clk", "in", 1, 0)], ("clock",), {}, {}, np.random.default_rng(1))


def test_a_reset_that_is_active_by_itself_at_power_on_is_no_divergence(tmp_path: Path) -> None:
    source = tmp_path / "released.v"
    source.write_text("""
module released (input clk, input rst_n, input d, output reg [3:0] q);
  reg [1:0] up;
  always @(posedge clk or negedge rst_n) if (!rst_n) up <= 0; else up <= {up[0], 1'b1};
  always @(posedge clk or negedge up[1]) if (!up[1]) q <= 5; else q <= q + {3'b0, d};
endmodule""")
    report = prove(Design((source,), "released", resets={"rst_n": 0}), pairs=30)
    assert report.ok, str(report)
    assert report.initial_edges
    assert "active at power-on" in str(report)


def test_parameters_and_files_reach_the_original_as_they_reach_the_captured(tmp_path: Path) -> None:
    (tmp_path / "up.hex").write_text("11 22 33 44")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "table.v").write_text("""
module table_ #(parameter W = 8'd0, parameter R = 1.0, parameter F = "none.hex")
    (input clk, input [1:0] a, output reg [7:0] q, output reg [7:0] r);
  reg [7:0] m [0:3];
  initial $readmemh(F, m);
  always @(posedge clk) begin q <= m[a] + W; r <= q ^ (R > 2.0 ? 8'h55 : 8'haa); end
endmodule""")
    params: dict[str, int | str] = {"W": "8'h7f", "R": "2.5", "F": "../up.hex"}
    design = Design((tmp_path / "sub" / "table.v",), "table_", params=params)
    report = prove(design, pairs=10)
    assert report.ok, str(report)


@pytest.mark.parametrize(("pairs", "seed"), [(0, 1), (-3, 1), (5, -1)])
def test_a_proof_of_nothing_is_refused(pairs: int, seed: int, fifo: Builds) -> None:
    with pytest.raises(DesignError, match="at least one pair"):
        examine(fifo, pairs=pairs, seed=seed)


def test_powers_of_variables_are_those_of_the_rtl(tmp_path: Path) -> None:
    source = tmp_path / "powers.sv"
    source.write_text("""
module powers (input logic clk, input logic [7:0] a, input logic [2:0] b,
    input logic signed [5:0] c, input logic signed [2:0] e, output logic [15:0] r, s,
    output logic signed [11:0] t);
  always_ff @(posedge clk) begin r <= a ** b; s <= c ** e; t <= c ** b; end
endmodule""")
    report = prove(Design((source,)), pairs=10)
    assert report.ok, str(report)
    assert report.cycles > 50
