"""Words written and read by index: each has its enable, no mask over all words is computed."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtl_sim.capture import Options, capture
from rtl_sim.design import Design
from rtl_sim.verilated import toolchain
from rtl_sim.verilated.player import build_player
from tests.rtl.test_capture_clocks import libraries, moves_like

if toolchain.absence():
    pytest.skip(str(toolchain.absence()), allow_module_level=True)

BANK = """
module bank (
  input  logic        clk, rst, write, half,
  input  logic [2:0]  at, look,
  input  logic [79:0] data,
  output logic [79:0] shown,
  output logic [7:0]  translated
);
  logic [79:0] words [6];  // reset at once: registers, no memory
  localparam logic [7:0] TABLE [16] = '{
    8'h63, 8'h7c, 8'h77, 8'h7b, 8'hf2, 8'h6b, 8'h6f, 8'hc5,
    8'h30, 8'h01, 8'h67, 8'h2b, 8'hfe, 8'hd7, 8'hab, 8'h76};
  always_ff @(posedge clk)
    if (rst) for (int i = 0; i < 6; i++) words[i] <= 80'(i);
    else if (write && half) words[at][39:0] <= data[39:0];
    else if (write) words[at] <= data;
  assign shown = words[look];
  assign translated = TABLE[shown[3:0]];
endmodule
"""


def test_words_written_by_index_run_freeze_and_move(tmp_path: Path) -> None:
    source = tmp_path / "bank.sv"
    source.write_text(BANK)
    design = Design((source,), "bank", clocks=("clk",), resets={"rst": 1})
    results = tuple(
        capture(design, tmp_path / str(lanes), Options(lanes=lanes)) for lanes in (32, 7)
    )
    text = results[0].verilog.read_text()
    assert "sp_table[" in text, "constants are no table"
    assert "<<" not in text, "a mask over all words"
    moves_like(build_player([source], "bank"), libraries(results, "bank"), design, 5)
