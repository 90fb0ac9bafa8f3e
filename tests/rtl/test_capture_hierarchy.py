"""The option that keeps instances with state as modules: the same design, cut otherwise."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rtl_sim.capture import CaptureResult, Options, capture
from rtl_sim.design import Design, load_design
from rtl_sim.prove import equivalence, prove
from rtl_sim.verilated import toolchain

if toolchain.absence():
    pytest.skip(str(toolchain.absence()), allow_module_level=True)

CORPUS = Path(__file__).parent / "corpus"

# Two kinds of memory, a bank of registers, names that meet (`q`, `n0`), generate scopes, a module
# without state, an assertion, and a pipeline that crosses instances.
TREE = """\
module inc(input [3:0] a, output [3:0] y); assign y = (a + 3) * (a ^ 5); endmodule
module leaf(input clk, rst, input [3:0] d, output reg [3:0] q);
  reg [3:0] m [0:7], s [0:7]; reg [2:0] p; wire [3:0] y;
  inc u_inc(d, y);
  always @(posedge clk or posedge rst) if (rst) p <= 0; else p <= p + 1;
  always @(posedge clk) begin m[p] <= d; s[p ^ d[2:0]] <= y; q <= m[p + 3'd3] ^ s[p] ^ q; end
endmodule
module bank(input clk, rst, input [1:0] at, input [31:0] d, output [31:0] q);
  reg [31:0] n0 [0:3]; reg [31:0] r; integer k;
  always @(posedge clk) if (rst) for (k = 0; k < 4; k = k + 1) n0[k] <= 0; else n0[at] <= d;
  always @(posedge clk) r <= n0[~at];
  assign q = r;
endmodule
module mid(input clk, rst, input [3:0] d, output [3:0] q, output reg [3:0] n0);
  wire [3:0] a, b;
  generate genvar i; for (i = 0; i < 2; i = i + 1) begin : g
    wire [3:0] o; leaf u(clk, rst, i ? a : d, o);
  end endgenerate
  assign a = g[0].o, q = g[1].o + a;
  always @(posedge clk) n0 <= q * a + n0;
endmodule
module t(input clk, rst, input [3:0] d, output [3:0] q, n0, output reg [3:0] z, output [31:0] w);
  mid m(clk, rst, d ^ z, q, n0);
  bank b(clk, rst, q[1:0], {8{n0}}, w);
  always @(posedge clk) begin z <= z + q; if (!rst) assert (z != 4'd17); end
endmodule
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Design:
    source = tmp_path_factory.mktemp("tree") / "t.v"
    source.write_text(TREE)
    return Design((source,), "t", clocks=("clk",), resets={"rst": 1})


def modules(result: CaptureResult) -> list[str]:
    return re.findall(r"^module (\S+) \($", result.verilog.read_text(), re.MULTILINE)


def test_each_instance_with_state_is_a_module_and_the_state_is_that_of_the_flat_text(
    tree: Design, tmp_path: Path
) -> None:
    flat = capture(tree, tmp_path / "flat")
    kept = capture(tree, tmp_path / "kept", Options(hierarchy=True))
    again = capture(tree, tmp_path / "again", Options(hierarchy=True))
    assert modules(flat) == ["t__inc__0", "t"]
    assert modules(kept) == ["t__inc__0", "t__m_g_0__u", "t__m_g_1__u", "t__b", "t__m", "t"]
    assert (flat.report.state_modules, kept.report.state_modules) == (0, 4)
    assert kept.state_map.read_bytes() == flat.state_map.read_bytes()
    assert kept.verilog.read_bytes() == again.verilog.read_bytes()
    body = kept.verilog.read_text().partition("module t__m_g_0__u (")[2].partition("endmodule")[0]
    assert "output reg [2:0] p" in body and "reg [3:0] m [0:7];" in body and "u_inc" in body


@pytest.mark.parametrize("options", [Options(), Options(lanes=5, freeze="gate")])
def test_a_kept_tree_is_proved_equal_to_its_sources(
    tree: Design, options: Options, tmp_path: Path
) -> None:
    kept = Options(options.lanes, options.freeze, "shadow", hierarchy=True)
    equivalence.prove(tree, capture(tree, tmp_path, kept).verilog, timeout_s=300)


def test_a_kept_tree_can_be_halted_anywhere(tree: Design) -> None:
    report = prove(tree, pairs=40, control=True, hierarchy=True)
    assert report.ok, str(report)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["axi_dma", "checksum", "fft", "npu_nano"])
def test_a_design_of_the_corpus_can_be_kept_as_a_tree(name: str, tmp_path: Path) -> None:
    design = load_design(CORPUS / name / "design.toml")
    flat = capture(design, tmp_path / "flat")
    kept = capture(design, tmp_path / "kept", Options(hierarchy=True))
    assert kept.report.state_modules
    assert kept.state_map.read_bytes() == flat.state_map.read_bytes()
    report = prove(design, pairs=60, hierarchy=True)
    assert report.ok, str(report)


def test_state_that_is_all_in_the_top_gives_the_flat_text(tmp_path: Path) -> None:
    design = load_design(CORPUS / "rv32" / "design.toml")
    flat, kept = (
        capture(design, tmp_path / str(hierarchy), Options(hierarchy=hierarchy))
        for hierarchy in (False, True)
    )
    assert json.loads(kept.report_file.read_text())["state_modules"] == 0
    assert kept.verilog.read_bytes() == flat.verilog.read_bytes()
