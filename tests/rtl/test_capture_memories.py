"""Synchronous read ports stay what they are: block RAM is found again, registers keep names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from rtl_sim.capture import CaptureResult, Options, capture, netlist, readers, yosys
from rtl_sim.capture.staging import Staged
from rtl_sim.design import Design
from rtl_sim.statemap import StateMap
from rtl_sim.verilated.halting import HaltablePlayer, build_haltable
from rtl_sim.verilated.player import Player, build_player

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

WIDTHS = """
module t(input clk, we, en, input [5:0] a, c, input [31:0] d, input [7:0] b,
         output reg [7:0] q, output reg [31:0] w, output [31:0] z);
  reg [7:0] m [0:255];
  always @(posedge clk) begin
    if (we) begin
      m[{a, 2'd0}] <= d[7:0]; m[{a, 2'd1}] <= d[15:8];
      m[{a, 2'd2}] <= d[23:16]; m[{a, 2'd3}] <= d[31:24];
    end
    q <= m[b];
    if (en) w <= {m[{c, 2'd3}], m[{c, 2'd2}], m[{c, 2'd1}], m[{c, 2'd0}]};
  end
  assign z = {m[{a, 2'd3}], m[{a, 2'd2}], m[{a, 2'd1}], m[{a, 2'd0}]};
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


@pytest.mark.parametrize("init", ["m[1] = 5; m[2][3:0] = 5;", ""])
def test_rom_words_that_the_rtl_leaves_open_are_the_same_in_every_instance(
    init: str, tmp_path: Path
) -> None:
    text = f"""
module t(input clk, input [2:0] a, output [7:0] now, output reg [7:0] q);
  reg [7:0] m [0:5];
  initial begin {init} end
  assign now = m[a];
  always @(posedge clk) q <= m[a];
endmodule"""
    library = build_player([_captured(text, tmp_path).verilog], "t")
    for seed in (1, 2):  # whatever fresh instances are full of
        with Player(library, seed) as player:
            words = []
            for address in range(6):
                player.set("a", address)
                player.eval()
                words.append(player.get("now"))
        assert words == ([0, 5, 5, 0, 0, 0] if init else [0] * 6)


def test_a_memory_of_two_million_bits_costs_no_more_text_than_a_small_one(tmp_path: Path) -> None:
    result = _captured(LARGE, tmp_path)
    assert result.report.memory_bits == 1 << 21
    assert len(result.verilog.read_text()) < 4000


def test_a_port_of_several_words_is_one_of_as_many_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No reader makes such ports now: here Yosys joins four of one address before capture."""
    read = readers.read

    def widened(
        design: Design, staged: Staged, work: Path, assertions: bool = True
    ) -> readers.Read:
        found = read(design, staged, work, assertions)
        script = ["read_rtlil raw.il", "opt_clean", "memory_dff", "memory_collect", "memory_share"]
        yosys.run([*script, "opt_mem_widen", "write_rtlil raw.il", "write_json raw.json"], work)
        raw = netlist.read(work / "raw.json")
        (memory,) = (cell for cell in raw[found.top].cells if cell.kind == "$mem_v2")
        assert all("1" in memory.params[f"{kind}_WIDE_CONTINUATION"] for kind in ("RD", "WR"))
        return found._replace(modules=raw)

    monkeypatch.setattr(readers, "read", widened)
    result = _captured(WIDTHS, tmp_path)
    state_map = StateMap.parse(result.state_map.read_bytes())
    random = np.random.default_rng(3)
    original = Player(build_player([tmp_path / "t.v"], "t"))
    halted = HaltablePlayer(build_haltable([result.verilog], "t"), state_map, noise=random)
    with original, halted:
        rows = random.integers(0, 1 << 32, (4000, original.in_words), np.uint32)
        clock = original.port("clk").first
        rows[1::2] = rows[::2]  # inputs never move with the clock
        for part in np.split(rows, 8):
            part[:, clock] = np.arange(len(part)) % 2
            low = part[-1:].copy()
            low[0, clock] = 0
            steps = np.concatenate([part, low])
            np.testing.assert_array_equal(halted.play(steps), original.play(steps))
            halted.load(halted.save(), low[0])
