"""Assertions of the RTL hold and fail in the captured design as in the original, never frozen."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rtl_sim.capture import CaptureResult, Options, capture
from rtl_sim.capture.errors import ElaborationError
from rtl_sim.design import Design
from rtl_sim.errors import ModelFault
from rtl_sim.statemap import StateMap
from rtl_sim.verilated import toolchain
from rtl_sim.verilated.halting import HaltablePlayer, build_haltable
from rtl_sim.verilated.player import Player, build_player

if toolchain.absence():
    pytest.skip(str(toolchain.absence()), allow_module_level=True)

MODULE = """\
module t(input clk, input other, input rst_n, input [3:0] d, output reg [3:0] q);
  reg [3:0] was;
  always @(posedge clk) begin q <= d; was <= q; end
  {statement}
endmodule
"""
# kind -> (suffix, statement); each fails once `was` or `d` is 9
KINDS = {
    "immediate, read by Yosys": (".v", "always @(posedge clk) if (rst_n) assert (was != 9);"),
    "immediate, read by slang": (
        ".sv",
        'always_ff @(posedge clk) if (rst_n) a: assert (was != 9) else $error("nine");',
    ),
    "concurrent": (
        ".sv",
        "a: assert property (@(posedge clk) disable iff (!rst_n) q != 9 || was == 9);",
    ),
    "assumption": (".sv", "always @(posedge clk) assume (d != 9);"),
    "combinational": (".v", "always @* if (rst_n) assert (d != 9);"),
    "another clock": (".sv", "always @(negedge other) begin : b assert (was != 9); end"),
}


def captured(statement: str, suffix: str, folder: Path, options: Options) -> CaptureResult:
    folder.mkdir(exist_ok=True)
    source = folder / f"t{suffix}"
    source.write_text(MODULE.format(statement=statement))
    return capture(Design((source,), "t", clocks=("clk", "other")), folder / "out", options)


def rows(player: Player, values: Iterable[int]) -> NDArray[np.uint32]:
    """Four rows for each value of d: both clocks go up and down once, one after the other."""
    made = []
    for value in values:
        for clk, other in ((0, 0), (1, 0), (0, 0), (0, 1)):
            for name, level in (("clk", clk), ("other", other), ("rst_n", 1), ("d", value)):
                player.set(name, level)
            made.append(player.row)
    player.set("other", 0)
    made.append(player.row)
    return np.stack(made)


def stopped_at(player: Player | HaltablePlayer, steps: NDArray[np.uint32]) -> int | None:
    for number, row in enumerate(steps):
        try:
            player.play(row[np.newaxis])
        except ModelFault:
            return number
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_an_assertion_fails_at_the_step_of_the_original_and_not_while_frozen(
    kind: str, tmp_path: Path
) -> None:
    suffix, statement = KINDS[kind]
    result = captured(statement, suffix, tmp_path, Options(lanes=3))
    assert not result.report.warnings
    state_map = StateMap.parse(result.state_map.read_bytes())
    library = build_haltable([result.verilog], "t", assertions=True)
    original = build_player([tmp_path / f"t{suffix}"], "t", assertions=True)
    with (
        Player(original) as player,
        HaltablePlayer(library, state_map, noise=np.random.default_rng(5)) as halted,
    ):
        good = rows(player, (1, 2, 3, 4))
        bad = rows(player, (5, 9, 8, 9, 7, 6))
        assert stopped_at(player, good) is stopped_at(halted, good) is None
        for _ in range(20):
            halted.load(halted.save(), halted.row)
        step = stopped_at(player, bad)
        assert step is not None
        assert stopped_at(halted, bad) == step
    silent = build_haltable([result.verilog], "t")
    with HaltablePlayer(silent, state_map) as unasked:
        assert stopped_at(unasked, bad) is None


def test_without_the_guard_an_assertion_fires_while_frozen(tmp_path: Path) -> None:
    suffix, statement = KINDS["combinational"]
    result = captured(statement, suffix, tmp_path, Options())
    text = result.verilog.read_text()
    head, mark, tail = text.partition("`ifndef SYNTHESIS")
    result.verilog.write_text(head + mark + tail.replace("sp_run", "1'b1"))
    library = build_haltable([result.verilog], "t", assertions=True)
    state_map = StateMap.parse(result.state_map.read_bytes())
    halted = HaltablePlayer(library, state_map, noise=np.random.default_rng(5))
    with halted, pytest.raises(ModelFault):
        for _ in range(20):
            halted.load(halted.save(), halted.row)


def test_assertions_cost_neither_cells_nor_area(tmp_path: Path) -> None:
    suffix, statement = KINDS["combinational"]
    result = captured(statement, suffix, tmp_path / "with", Options())
    bare = captured("", suffix, tmp_path / "bare", Options())
    for field in ("cells_before", "cells_after", "rows", "layout_id"):
        assert getattr(result.report, field) == getattr(bare.report, field), field


def test_state_that_only_an_assertion_reads_stays_unless_assertions_are_left_out(
    tmp_path: Path,
) -> None:
    statement = "reg last; always @(posedge clk) begin last <= d[0]; assert (last || !q[0]); end"
    kept = captured(statement, ".v", tmp_path / "kept", Options())
    left = captured(statement, ".v", tmp_path / "left", Options(assertions=False))
    # `was` has no reader in this design at all.
    assert (kept.report.flop_bits, left.report.flop_bits) == (5, 4)
    assert "assert" in kept.verilog.read_text()
    assert "assert" not in left.verilog.read_text()


@pytest.mark.parametrize(
    ("suffix", "statement", "warning"),
    [
        (".sv", "C: assert property (@(posedge clk) d == 1 |=> q == 1);", r"t.sv:4: assert"),
        (".v", "always @(posedge clk) assert (s_eventually d);", r"t.v:4: live"),
        (".sv", "final a: assert (q == q);", r"t.sv:4: final"),
        (".sv", 'always @* if (d == 3) $display("three");', r"t.sv:4: $display"),
        (".v", 'initial $display("three");', r"t.v:4: $display"),
        (".v", "initial begin $dumpvars; end", r"t.v:4: $dumpvars"),
        (".v", 'always @(posedge clk) $strobe("%d", d);', r"t.v:4: $strobe"),
        (".sv", 'always @(posedge clk) if (d == 3) $warning("three");', r"t.sv:4: $warning"),
        (".sv", 'always @(posedge clk) $display("%s", "three");', r"t.sv:4: $display"),
        (".sv", 'always @* if (d == 3) $error("three");', r"t.sv:4: $error"),
        (".v", "always @* if (d == 3) $finish;", r"t.v:4: $finish"),
        (".sv", "string s; always @(posedge clk)\n$display(\n1, s);", r"t.sv:5: $display"),
        (".sv", 'always @(posedge clk) $display("%p", d);', r"t.sv:4: $display"),
    ],
)
def test_what_cannot_be_kept_is_named_with_its_line(
    suffix: str, statement: str, warning: str, tmp_path: Path
) -> None:
    (found,) = captured(statement, suffix, tmp_path, Options()).report.warnings
    assert found.startswith(f"{warning} is not kept: ") or found == f"{warning} is not kept"


@pytest.mark.parametrize("value", ["$random", "$time"])
def test_a_value_that_only_a_simulator_has_is_refused_by_name(value: str, tmp_path: Path) -> None:
    statement = f"reg [31:0] r; always @(posedge clk) r <= {value}; assign other = r;"
    with pytest.raises(ElaborationError, match=rf"t.v:4: .*\{value}"):
        captured(statement, ".v", tmp_path, Options())


MESSAGES = """
  reg [3:0] hot;
  always @(posedge clk) begin
    hot <= was ^ d;
    if (rst_n) $write("%0d ", q);
    if (d[0]) $display("%b|%o|%h|%5d|%-5d|%05d|%0d|%c 100%% {%s} \\\"", was, was, was, q, q, q,
                       $signed(d), {4'h4, was}, {8'h48, 4'h4, was});
    else $display("hot %d", hot);
  end
  always @(negedge other) $display("other %0d", d);
"""


@pytest.mark.parametrize("suffix", [".v", ".sv"])
def test_messages_are_those_of_the_original_and_none_comes_while_frozen(
    suffix: str, tmp_path: Path
) -> None:
    result = captured(MESSAGES, suffix, tmp_path, Options(lanes=3))
    assert not result.report.warnings
    state_map = StateMap.parse(result.state_map.read_bytes())
    library = build_haltable([result.verilog], "t")
    with (
        Player(build_player([tmp_path / f"t{suffix}"], "t")) as player,
        HaltablePlayer(library, state_map, noise=np.random.default_rng(5)) as halted,
    ):
        for values in ((1, 2, 3), (14, 15, 8), (9, 4, 0, 11)):
            steps = rows(player, values)
            player.play(steps)
            halted.play(steps)
            halted.load(halted.save(), halted.row)
        assert len(player.log.splitlines()) == 20
        assert halted.log == player.log


TASKS = """
  `include "../headers/check.svh"
  always @(posedge clk) begin
    if (rst_n && was == 9) begin $error (
      "nine %0d )", q); end
    else if (d == 8) $info("eight");
    if (d == 7) $info("seven %0d", q);
    if (d == 6) $warning("six %0d", q);
    `CHECK(d != 5)
    if (d == 4) $error;
    {ending}
  end
  function automatic void look(); if (d == 3) $error("three"); endfunction
  always @(negedge other) look();
"""
# Up to the two before, the clock of each is the last to move but one.
ENDINGS = {
    "finish": "if (q == 11) $finish;",
    "stop": "if (q == 11) $stop(0);",
    "fatal": 'if (q == 11) $fatal(1, "eleven: %m");',
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_errors_and_endings_are_those_of_the_original_and_none_comes_while_frozen(
    ending: str, tmp_path: Path
) -> None:
    (tmp_path / "headers").mkdir()
    (tmp_path / "headers" / "check.svh").write_text('`define CHECK(c) if (!(c)) \\\n  $error("c");')
    result = captured(
        TASKS.replace("{ending}", ENDINGS[ending]), ".sv", tmp_path / "rtl", Options(lanes=3)
    )
    report = result.report
    assert (report.messages_kept, report.messages_dropped) == (7, 1)
    assert [warning.partition(" is")[0] for warning in report.warnings] == ["t.sv:9: $info"]
    state_map = StateMap.parse(result.state_map.read_bytes())
    library = build_haltable([result.verilog], "t")
    original = build_player([tmp_path / "rtl" / "t.sv"], "t")

    def told(player: Player | HaltablePlayer) -> list[str]:
        """What was said, without time, place and the severity's own words."""
        found = (line.rpartition(": ")[2] for line in player.log.splitlines())
        return [line.partition(" at /")[0] for line in found]

    with (
        Player(original, stops=False) as player,
        HaltablePlayer(library, state_map, noise=np.random.default_rng(5), stops=False) as halted,
    ):
        for values in ((1, 2, 3), (9, 9, 8), (7, 6, 5, 4, 0)):
            steps = rows(player, values)
            player.play(steps)
            halted.play(steps)
            halted.load(halted.save(), halted.row)
        assert told(player) == told(halted)
        assert {"nine 9 )", "three", "six 7", "c"} < set(told(player))
    with (
        Player(original) as player,
        HaltablePlayer(library, state_map, noise=np.random.default_rng(5)) as halted,
    ):
        good, last = rows(player, (1, 2)), rows(player, (11, 12, 13))
        assert stopped_at(player, good) is stopped_at(halted, good) is None
        for _ in range(20):
            halted.load(halted.save(), halted.row)
        step = stopped_at(player, last)
        assert step is not None and stopped_at(halted, last) == step


def test_messages_are_left_out_with_assertions_and_so_is_what_they_alone_read(
    tmp_path: Path,
) -> None:
    left = captured(MESSAGES, ".v", tmp_path, Options(assertions=False))
    assert (left.report.flop_bits, left.report.warnings) == (4, ())
    assert "$write" not in left.verilog.read_text()


def test_a_message_in_a_module_without_state_is_kept_too(tmp_path: Path) -> None:
    statement = """loud one(clk, d, was); endmodule
    module loud(input clk, input [3:0] a, b); always @(posedge clk) $display("%d", a & b);"""
    result = captured(statement, ".v", tmp_path, Options())
    assert (result.report.kept_modules, result.report.warnings) == (0, ())
    assert "$write" in result.verilog.read_text()
