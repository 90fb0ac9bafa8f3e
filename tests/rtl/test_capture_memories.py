"""Synchronous read ports stay what they are: block RAM is found again, registers keep names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

import pytest

from rtl_sim.capture import CaptureResult, Options, capture, yosys
from rtl_sim.design import Design
from rtl_sim.statemap import StateMap

SINGLE = """
module t(input clk, en, we, input [9:0] a, input [31:0] d, output reg [31:0] q);
  reg [31:0] m [0:1023];
  always @(posedge clk) if (en) begin if (we) m[a] <= d; q <= m[a]; end
endmodule"""
DUAL = """
module t(input clk, ena, wea, enb, web, input [9:0] a, b, input [31:0] d, e,
         output reg [31:0] q, r);
  reg [31:0] m [0:1023];
  always @(posedge clk) if (ena) begin if (wea) m[a] <= d; q <= m[a]; end
  always @(posedge clk) if (enb) begin if (web) m[b] <= e; r <= m[b]; end
endmodule"""
ROM = """
module t(input clk, en, input [10:0] a, output reg [15:0] q);
  reg [15:0] m [0:2047];
  integer i;
  initial for (i = 0; i < 2048; i = i + 1) m[i] = i * i * 77 + 5;
  always @(posedge clk) if (en) q <= m[a];
endmodule"""
LARGE = """
module t(input clk, we, input [15:0] a, b, input [31:0] d, output reg [31:0] q);
  reg [31:0] m [0:65535];
  always @(posedge clk) begin if (we) m[a] <= d; q <= m[b]; end
endmodule"""


def _captured(
    text: str, folder: Path, style: Literal["reread", "shadow"] = "reread"
) -> CaptureResult:
    source = folder / "t.v"
    source.write_text(text)
    return capture(Design((source,), "t"), folder / style, Options(read_registers=style))


def _state(result: CaptureResult) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(result.state_map.read_text())
    return state


def _block_rams(verilog: str, folder: Path) -> int:
    (folder / "synth.v").write_text(verilog)
    log = yosys.run(
        ["read_verilog -sv synth.v", "synth_xilinx -family xc7 -top t", "stat"], folder, "synth"
    )
    found = re.findall(r"^\s+(\d+)\s.*\bRAMB\d+E1\b|\bRAMB\d+E1\s+(\d+)$", log, re.MULTILINE)
    return max((int(first or second) for first, second in found), default=0)


@pytest.mark.slow
@pytest.mark.parametrize("style", ["reread", "shadow"])
@pytest.mark.parametrize("design", [SINGLE, DUAL, ROM])
def test_synthesis_finds_the_block_ram_that_it_finds_in_the_sources(
    design: str, style: Literal["reread", "shadow"], tmp_path: Path
) -> None:
    wanted = _block_rams(design, tmp_path)
    assert wanted > 0
    assert _block_rams(_captured(design, tmp_path, style).verilog.read_text(), tmp_path) == wanted


def test_a_read_register_is_reached_through_its_memory_under_its_own_name(tmp_path: Path) -> None:
    result = _captured(DUAL, tmp_path)
    state_map = StateMap.parse(result.state_map.read_bytes())
    names = [(r.select, r.memory, r.bits[0][0], len(r.bits)) for r in state_map.read_registers]
    assert sorted(names) == sorted([(1, 0, names[0][2], 32), (2, 0, names[1][2], 32)])
    assert {name for _, _, name, _ in names} == {"q", "r"}
    assert (state_map.rows, result.report.shadow_bits) == (0, 0)
    assert state_map.save_cycles == 1 + 2 + 1024 + 3
    assert state_map.load_cycles == 1 + 2 * 2 + 1024


def test_the_style_of_read_registers_leaves_the_layout(tmp_path: Path) -> None:
    reread, shadow = (_state(_captured(DUAL, tmp_path, style)) for style in ("reread", "shadow"))
    assert reread["layout_id"] == shadow["layout_id"]
    assert (len(reread["flops"]), len(shadow["flops"])) == (0, 64)


def test_a_large_roms_register_has_a_shadow_and_a_small_ones_is_a_flip_flop(tmp_path: Path) -> None:
    large = _captured(ROM, tmp_path)
    assert (large.report.shadow_bits, len(_state(large)["flops"])) == (17, 16)
    small = _captured(ROM.replace("[10:0]", "[3:0]").replace("2047", "15").replace("2048", "16"),
                      tmp_path)  # fmt: skip
    assert (small.report.shadow_bits, len(_state(small)["flops"])) == (0, 16)


def test_a_memory_of_two_million_bits_costs_no_more_text_than_a_small_one(tmp_path: Path) -> None:
    result = _captured(LARGE, tmp_path)
    assert result.report.memory_bits == 1 << 21
    assert len(result.verilog.read_text()) < 4000
