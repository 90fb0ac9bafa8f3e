"""Logic that registers take under a condition is simulated under it alone, to the same effect."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtl_sim.capture import CaptureResult, Options, capture, looks
from rtl_sim.design import Design
from rtl_sim.verilated import toolchain
from rtl_sim.verilated.player import build_player
from tests.rtl.test_capture_clocks import libraries, moves_like

if toolchain.absence():
    pytest.skip(str(toolchain.absence()), allow_module_level=True)

# `product` and `rounding` are looked at if `valid && !pass`, by `sats` too; `both` under either of
# two conditions that have `open` in common; `shown` always; `word` if it is written.
SOURCE = """\
module rounding (input [15:0] a, b, output logic [15:0] q, output logic over);
  logic [15:0] n;
  always_comb begin
    n = a;
    for (int k = 8; k > 0; k = k / 2) if ((n >> (16 - k)) == 0) n = (n << k) ^ b;
    q = n + (a * b);
    over = &n[15:12];
  end
endmodule

module looked (
  input logic clk, rst, valid, pass, open, one, two, we,
  input logic [15:0] a, b,
  input logic [1:0] at,
  output logic [15:0] q, first, second, shown, read,
  output logic [7:0] sats
);
  logic [15:0] product, both, word, lone, rounded, mem [4];
  logic over, bad;
  function automatic logic [15:0] mix(input logic [15:0] x, y);
    mix = x;
    for (int k = 0; k < 6; k++) mix = (mix * 16'd3) ^ (y + mix);
  endfunction
  assign product = mix(a, b);
  assign both = mix(b, ~a);
  assign shown = mix(~a, ~b);
  assign word = mix(q, a);
  assign bad = valid & ~pass & over;
  rounding u (.a(product), .b(b), .q(rounded), .over(over));
  always_ff @(posedge clk) begin
    if (valid) q <= pass ? a : rounded;
    sats <= sats + 8'(bad);
    if (open && one) first <= both;
    if (open) if (two) second <= both + 16'd1;
    if (we) mem[at] <= word;
    read <= mem[at];
    if (rst) sats <= 0;
  end
endmodule
"""

OUTER = """
module outer (
  input logic clk, rst, valid, pass, open, one, two, we,
  input logic [15:0] a, b,
  input logic [1:0] at,
  output logic [15:0] q, first, second, shown, read,
  output logic [7:0] sats
);
  looked inner (.*);
endmodule
"""


@pytest.fixture(scope="module")
def design(tmp_path_factory: pytest.TempPathFactory) -> Design:
    source = tmp_path_factory.mktemp("looked") / "looked.sv"
    source.write_text(SOURCE)
    return Design((source,), "looked", clocks=("clk",), resets={"rst": 1})


@pytest.fixture(scope="module", autouse=True)
def _small_pieces() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looks, "_WORTH_A_JUMP", 12)
        yield


@pytest.fixture(scope="module")
def captured(design: Design, tmp_path_factory: pytest.TempPathFactory) -> CaptureResult:
    return capture(design, tmp_path_factory.mktemp("captured"), Options(lanes=32))


def processes(text: str) -> dict[str, str]:
    """The conditions under which a simulator enters processes -> what these do."""
    found = re.findall(r"  always @\* if \(([^\n]*)\) begin\n`endif\n(.*?)\n  end\n", text, re.S)
    return dict(found)


def test_gates_stand_under_what_all_who_look_have_in_common(captured: CaptureResult) -> None:
    text = captured.verilog.read_text()
    found = processes(text)
    assert set(found) >= {"sp_look", "!pass && valid", "open", "we"}
    assert "product =" in found["!pass && valid"]
    assert "both =" in found["open"]
    assert "word =" in found["we"]
    assert ".sp_look(!pass && valid)" in text
    assert "assign shown =" in text, "what a port shows is always looked at"
    assert text.count("`ifdef SYNTHESIS") == text.count("  always @* begin\n`else")


def test_what_is_looked_at_seldom_runs_freezes_and_moves(
    design: Design, captured: CaptureResult, tmp_path: Path
) -> None:
    other = capture(design, tmp_path, Options(lanes=7, freeze="gate", read_registers="shadow"))
    moves_like(build_player(design.sources, "looked"), libraries((captured, other), "looked"),
               design, 5)  # fmt: skip


def test_modules_of_their_own_have_no_such_processes(tmp_path: Path) -> None:
    (tmp_path / "outer.sv").write_text(SOURCE + OUTER)
    design = Design((tmp_path / "outer.sv",), "outer")
    flat = capture(design, tmp_path / "flat").verilog.read_text()
    tree = capture(design, tmp_path / "tree", Options(hierarchy=True)).verilog.read_text()
    assert "module outer__inner" in tree
    assert looks.PIN in flat
    assert looks.PIN not in tree
