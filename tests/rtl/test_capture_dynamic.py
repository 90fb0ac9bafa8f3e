"""Words written and read by index: each has its enable, no mask over all words is computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest

from rtl_sim.capture import CaptureResult, Options, capture
from rtl_sim.design import Design
from rtl_sim.verilated import toolchain
from rtl_sim.verilated.player import build_player
from tests.rtl.test_capture_clocks import libraries, moves_like

if toolchain.absence():
    pytest.skip(str(toolchain.absence()), allow_module_level=True)

FREEZE: tuple[Literal["enable", "gate"], ...] = ("enable", "gate")
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
    assert _memories(results[0]) == [("words", 80, 6)]
    moves_like(build_player([source], "bank"), libraries(results, "bank"), design, 5)


# Words from 8 on, a reset that waits for no clock.
KEYS = """
module keys (
  input clk, rst, write, input [2:0] at, look, input [31:0] data, output [31:0] shown, first
);
  reg [31:0] key [8:15];
  integer i;
  always @(posedge clk or posedge rst)
    if (rst) for (i = 8; i < 16; i = i + 1) key[i] <= 32'd7;
    else if (write) key[{1'b1, at}] <= data;
  assign shown = key[{1'b1, look}];
  assign first = key[8];
endmodule
"""


def _memories(result: CaptureResult) -> list[tuple[str, int, int]]:
    state = json.loads(result.state_map.read_text())
    return [(memory["name"], memory["width"], memory["depth"]) for memory in state["memories"]]


def test_words_that_share_their_data_are_reached_by_address_whoever_read_them(
    tmp_path: Path,
) -> None:
    results = {}
    for suffix in ("v", "sv"):
        source = tmp_path / f"keys.{suffix}"
        source.write_text(KEYS)
        design = Design((source,), "keys", clocks=("clk",), resets={"rst": 1})
        results[suffix] = tuple(
            capture(design, tmp_path / f"{suffix}{freeze}", Options(lanes=5, freeze=freeze))
            for freeze in FREEZE
        )
        moves_like(build_player([source], "keys"), libraries(results[suffix], "keys"), design, 5)
    by_yosys, by_slang = results["v"][0], results["sv"][0]
    assert _memories(by_yosys) == [("key", 32, 8)] == _memories(by_slang)
    assert by_yosys.report.layout_id == by_slang.report.layout_id
    assert by_yosys.report.rows == 0, "nothing is left for the chain"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "else if (write)",
            "else if (look == 3) key[9] <= ~data; else if (write)",
        ),  # one word is given another thing
        ("[8:15]", "[8:10]"),  # too few
        ("reg [31:0]", "reg [14:0]"),  # 120 bits
    ],
)
def test_other_words_stay_on_the_chain(old: str, new: str, tmp_path: Path) -> None:
    assert old in KEYS
    source = tmp_path / "keys.v"
    text = KEYS.replace(old, new)
    source.write_text(text.replace("i < 16", "i < 11") if "8:10" in new else text)
    assert not _memories(capture(Design((source,), "keys"), tmp_path / "out"))


@pytest.mark.parametrize(
    "reset", ["if (rst) for (i = 0; i < 128; i = i + 1) key[i] <= 0; else", ""]
)
def test_words_of_one_bit_come_from_a_port_that_has_no_index(reset: str, tmp_path: Path) -> None:
    source = tmp_path / "t.v"
    source.write_text(
        "module t(input clk, rst, write, d, input [6:0] at, look, output q);\n"
        "reg key [0:127]; integer i;\n"
        f"always @(posedge clk) {reset} if (write) key[at] <= d;\n"
        "assign q = key[look];\nendmodule\n"
    )
    result = capture(Design((source,), "t"), tmp_path / "out")
    assert _memories(result) == [("key", 1, 128)]
    text = result.verilog.read_text()
    assert "input sp_mwd," in text and "sp_mwd[" not in text
