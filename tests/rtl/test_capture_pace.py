"""What keeps the captured text as fast to simulate as the RTL, and that it does the same."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from rtl_sim.capture import Options, capture
from rtl_sim.design import Design
from rtl_sim.statemap import StateMap
from rtl_sim.verilated import toolchain
from rtl_sim.verilated.halting import HaltablePlayer, build_haltable
from rtl_sim.verilated.player import build_player
from tests.rtl.test_capture_clocks import libraries, moves_like

if toolchain.absence():
    pytest.skip(str(toolchain.absence()), allow_module_level=True)

SOURCE = """\
module pace (
  input logic clk, rst, en, send,
  input logic signed [7:0] a, b,
  output logic [31:0] q,
  output logic signed [19:0] total,
  output logic less, busy
);
  logic [31:0] line [3];
  logic signed [15:0] product;
  logic [3:0] left, taken;
  always_ff @(posedge clk) begin
    if (en) begin
      line[0] <= {a, b, a ^ b, b};
      for (int i = 1; i < 3; i++) line[i] <= line[i-1];
      product <= a * b;
      total <= 20'(product) + 20'(a);
      less <= {a[7], a} < {{4{b[5]}}, b[5:0]} || $signed(a[3:0]) >= $signed({b[2], b[2:0]});
    end
    if (rst) begin
      left <= 0;
      taken <= 0;
      busy <= 0;
    end else if (send && !(left == taken && busy)) begin
      left <= left + 1;
      busy <= ~(a[0] ^ b[0]);
    end else if (left != taken)
      taken <= taken + 3;
  end
  assign q = line[2];
endmodule
"""


@pytest.fixture(scope="module")
def design(tmp_path_factory: pytest.TempPathFactory) -> Design:
    source = tmp_path_factory.mktemp("pace") / "pace.sv"
    source.write_text(SOURCE)
    return Design((source,), "pace", clocks=("clk",), resets={"rst": 1})


def test_conditions_signs_and_arrays_run_freeze_and_move(design: Design, tmp_path: Path) -> None:
    results = tuple(
        capture(design, tmp_path / str(lanes), Options(lanes=lanes)) for lanes in (32, 7)
    )
    moves_like(build_player(design.sources, "pace"), libraries(results, "pace"), design, 5)
    text = results[0].verilog.read_text()
    assert re.search(r"reg \[31:0\] \\line\[0\] ;", text), "an array's words in bits"
    assert "if ((send && (!(" in text, "a condition on a wire of its own"
    assert "$signed(a) * $signed(b)" in text, "signs extended by hand"


def test_the_state_port_shows_nothing_new_while_the_design_runs(
    design: Design, tmp_path: Path
) -> None:
    result = capture(design, tmp_path, Options(lanes=8))
    library = build_haltable([result.verilog], "pace")
    rng = np.random.default_rng(3)
    with HaltablePlayer(library, StateMap.parse(result.state_map.read_bytes())) as player:
        rows = rng.integers(0, 1 << 8, (400, player.in_words), dtype=np.uint32)
        rows[:, player.port("clk").first] = (np.arange(400) + 1) & 1
        rows[:, player.port("rst").first] = 0
        shown = set()
        for row in rows.reshape(20, 20, -1):
            player.play(row)
            shown.add(player._player.get("sp_so"))
        before = player.save()
        assert len(shown) == 1
        assert player._player.get("sp_so") not in shown
        assert player.load_and_save(before) == before
