"""Black boxes with a declared state are halted, read, written and moved as registers are."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from rtl_sim.capture import CaptureRefused, CaptureResult, Options, capture
from rtl_sim.design import Design
from rtl_sim.statemap import StateMap
from rtl_sim.verilated.halting import HaltablePlayer, build_haltable, complement
from rtl_sim.verilated.player import Player, Rows, build_player

BITS = 40  # longer than a chain of 32 lanes would otherwise be
PORTS = """(
  input clk, input [7:0] d, output [7:0] q,
  input sp_run, input sp_scan, input sp_si, output sp_so)"""
DELAY = f'(* blackbox, haltere_state_bits = {BITS}, haltere_clock = "clk" *)'
INVERT_PORTS = "(input [7:0] d, output [7:0] q)"
DESIGN = f"""
{DELAY}
module delay #(parameter [7:0] KEY = 8'd0) {PORTS};
endmodule
(* blackbox, haltere_stateless *)
module invert {INVERT_PORTS};
endmodule
module t(input clk, input [7:0] d, output [7:0] q);
  reg [7:0] count;
  reg [12:0] sum;
  wire [7:0] late, flipped;
  delay #(.KEY(8'h5a)) first(.clk(clk), .d(d ^ count), .q(late),
    .sp_run(1'b1), .sp_scan(1'b0), .sp_si(1'b0), .sp_so());
  invert i(.d(late), .q(flipped));
  initial begin count = 0; sum = 0; end
  always @(posedge clk) begin
    count <= count + 8'd3;
    sum <= {{sum[4:0], sum[12:5]}} + {{5'd0, flipped}};
  end
  delay second(.clk(clk), .d(sum[7:0]), .q(q),
    .sp_run(1'b1), .sp_scan(1'b0), .sp_si(1'b0), .sp_so());
endmodule
"""
# Given to the simulator alone: five bytes, each a mixture of those before.
BODIES = f"""
module delay #(parameter [7:0] KEY = 8'd0) {PORTS};
  reg [{BITS - 1}:0] line;
  initial line = 0;
  always @(posedge clk)
    if (sp_run) line <= {{line[31:0] + {{24'd0, line[39:32]}}, d ^ KEY}};
    else if (sp_scan) line <= {{sp_si, line[{BITS - 1}:1]}};
  assign q = line[39:32] ^ {{8{{line[3]}}}};
  assign sp_so = line[0];
endmodule
module invert {INVERT_PORTS};
  assign q = ~d;
endmodule
"""


def _captured(
    suffix: str, lanes: int, folder: Path, freeze: Literal["enable", "gate"] = "enable"
) -> CaptureResult:
    source = folder / f"t{suffix}"
    source.write_text(DESIGN)
    return capture(
        Design((source,), "t"), folder / f"{suffix[1:]}{lanes}", Options(lanes, freeze=freeze)
    )


def _library(result: CaptureResult, folder: Path, right: str = "", wrong: str = "") -> Path:
    bodies = folder / "bodies.v"
    assert right in BODIES
    bodies.write_text(BODIES.replace(right, wrong, 1) if right else BODIES)
    return build_haltable([result.verilog, bodies], "t")


def _original(folder: Path) -> Path:
    source = folder / "original.v"
    source.write_text(DESIGN[DESIGN.index("module t(") :] + BODIES)
    return build_player([source], "t")


def _rows(rng: np.random.Generator, player: Player, cycles: int) -> Rows:
    rows = np.zeros((2 * cycles, player.in_words), np.uint32)
    rows[:, player.port("d", "in").first] = np.repeat(rng.integers(256, size=cycles), 2)
    rows[0::2, player.port("clk", "in").first] = 1
    return rows


@pytest.mark.parametrize(("suffix", "freeze"), [(".v", "enable"), (".sv", "gate")])
def test_black_boxes_are_moved_between_builds_with_the_rest_of_the_design(
    suffix: str, freeze: Literal["enable", "gate"], tmp_path: Path
) -> None:
    results = [_captured(suffix, lanes, tmp_path, freeze) for lanes in (32, 5)]
    assert len({result.report.layout_id for result in results}) == 1
    assert [result.report.flop_bits for result in results] == [2 * BITS + 8 + 13] * 2
    _moves(_original(tmp_path), results, [_library(result, tmp_path) for result in results])


def test_the_test_fails_a_box_that_does_not_freeze(tmp_path: Path) -> None:
    results = [_captured(".v", lanes, tmp_path) for lanes in (32, 5)]
    libraries = [_library(result, tmp_path, "if (sp_run)", "if (!sp_scan)") for result in results]
    with pytest.raises(AssertionError):
        _moves(_original(tmp_path), results, libraries)


def _moves(original: Path, results: list[CaptureResult], libraries: list[Path]) -> None:
    rng, noise = np.random.default_rng(5), random.Random(5)
    maps = [StateMap.parse(result.state_map.read_bytes()) for result in results]
    with (
        Player(original) as player,
        HaltablePlayer(libraries[0], maps[0], 0, np.random.default_rng(6)) as wide,
        HaltablePlayer(libraries[1], maps[1], 0, np.random.default_rng(7)) as narrow,
    ):
        here, there = wide, narrow
        for _ in range(12):
            rows = _rows(rng, player, int(rng.integers(1, 40)))
            rows[-1, player.port("clk", "in").first] = 0
            assert np.array_equal(here.play(rows), player.play(rows))
            snapshot = here.save()
            there.poison(noise)
            there.load(snapshot, here.row)
            assert there.save() == snapshot
            here, there = there, here


def test_every_bit_of_a_black_box_is_written_and_read(tmp_path: Path) -> None:
    result = _captured(".v", 5, tmp_path)
    state_map = StateMap.parse(result.state_map.read_bytes())
    assert set(state_map.bits) >= {
        (f"{box}.state", i) for box in ("first", "second") for i in range(BITS)
    }
    with HaltablePlayer(_library(result, tmp_path), state_map) as player:
        player.poison(random.Random(3))
        snapshot = player.save()
        for state in (snapshot, complement(snapshot, state_map)):
            assert player.load_and_save(state) == state


BOX = "(input ck, input d, output q, input sp_run, input sp_scan, input sp_si, output sp_so)"
USE = ".d(d), .q(w), .sp_run(1'b1), .sp_scan(1'b0), .sp_si(1'b0), .sp_so()"
WRONG = {
    "neither a state nor none": ("blackbox", BOX, "", f".ck(clk), {USE}", "no body"),
    "both": (
        "blackbox, haltere_stateless, haltere_state_bits = 3", BOX, "", f".ck(clk), {USE}",
        "declare one of them",
    ),
    "no chain": (
        'blackbox, haltere_state_bits = 3, haltere_clock = "ck"',
        "(input ck, input d, output q)", "", ".ck(clk), .d(d), .q(w)", "no 1-bit input sp_si",
    ),
    "an unknown clock": (
        'blackbox, haltere_state_bits = 3, haltere_clock = "c"', BOX, "", f".ck(clk), {USE}",
        "names no 1-bit input",
    ),
    "the falling edge": (
        'blackbox, haltere_state_bits = 3, haltere_clock = "ck"', BOX, "", f".ck(~clk), {USE}",
        "not the rising edge of the primary clock clk",
    ),
    "no clock at all": (
        'blackbox, haltere_state_bits = 3, haltere_clock = "ck"', BOX, "", USE,
        "ck is not connected",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_black_box_whose_state_is_not_reached_is_refused(name: str, tmp_path: Path) -> None:
    attributes, first, second, pins, why = WRONG[name]
    source = tmp_path / "t.v"
    source.write_text(
        f"(* {attributes} *) module box {first or second}; endmodule\n"
        "module t(input clk, input d, output reg q); wire w;\n"
        f"  box b({pins}); always @(posedge clk) q <= w; endmodule\n"
    )
    with pytest.raises(CaptureRefused, match=why) as error:
        capture(Design((source,), "t", clocks=("clk",)), tmp_path / "out")
    assert any(refusal.kind == "blackbox" for refusal in error.value.refusals)


def test_a_loop_through_a_black_box_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "t.v"
    source.write_text(
        "(* blackbox, haltere_stateless *) module box(input d, output q); endmodule\n"
        "module t(input clk, input d, output reg q); wire w;\n"
        "  box b(.d(w ^ d), .q(w)); always @(posedge clk) q <= w; endmodule\n"
    )
    with pytest.raises(CaptureRefused, match="combinational-loop"):
        capture(Design((source,), "t"), tmp_path / "out")
