"""Designs with several clocks: they run, freeze and move as if nothing, whatever their edges do.

Clock edges come in random order, inputs change between them, freezes fall between any two. While
frozen, inputs and the other clocks are noise. The state moves between builds with other chains and
freeze modes.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rtl_sim.capture import CaptureRefused, CaptureResult, Options, capture
from rtl_sim.design import Design, load_design
from rtl_sim.prove import prove as prove_halting
from rtl_sim.prove.builds import Builds as Sides
from rtl_sim.prove.builds import from_result
from rtl_sim.prove.equivalence import prove
from rtl_sim.prove.tool import examine
from rtl_sim.statemap import StateMap
from rtl_sim.verilated import toolchain
from rtl_sim.verilated.halting import HaltablePlayer, build_haltable
from rtl_sim.verilated.player import Player, Rows, build_player

if toolchain.absence():
    pytest.skip(str(toolchain.absence()), allow_module_level=True)

CORPUS = Path(__file__).parent / "corpus"
NAMES = ("async_fifo", "ddr_capture", "uart", "interrupts")
BUILDS = (Options(lanes=32), Options(lanes=5, freeze="gate"))
MOVES = 60

Builds = Mapping[str, tuple[Design, tuple[CaptureResult, ...]]]


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Builds:
    folder = tmp_path_factory.mktemp("clocks")
    made = {}
    for name in NAMES:
        design = load_design(CORPUS / name / "design.toml")
        results = [
            capture(design, folder / f"{name}_{options.freeze}", options) for options in BUILDS
        ]
        made[name] = (design, tuple(results))
    return made


def stimulus(player: Player, design: Design, rng: np.random.Generator, steps: int) -> Rows:
    """Random edges, one at a time or together; inputs change between them. Clocks end low."""
    clocks = [player.port(name, "in").first for name in design.clocks]
    row = player.row
    rows: list[NDArray[np.uint32]] = []
    for _ in range(steps):
        if rng.random() < 0.4:
            row = rng.integers(0, 1 << 32, player.in_words, dtype=np.uint32)
            for name, level in design.resets.items():
                acts = rng.random() < 0.05
                row[player.port(name, "in").first] = level if acts else 1 - level
            row[clocks] = rows[-1][clocks] if rows else 0
        else:
            chosen = [clock for clock in clocks if rng.random() < 0.6]
            row = row.copy()
            row[chosen] ^= 1
        rows.append(row)
    for clock in clocks:
        row = row.copy()
        row[clock] = 0
        rows.append(row)
    return np.stack(rows)


def moves_like(
    original: Path, builds: list[tuple[Path, StateMap]], design: Design, seed: int
) -> None:
    rng, noise = np.random.default_rng(seed), random.Random(seed)
    players = [
        HaltablePlayer(library, state_map, 0, np.random.default_rng(seed + number))
        for number, (library, state_map) in enumerate(builds)
    ]
    with Player(original, 0) as player:
        try:
            for turn in range(MOVES):
                here, there = players[turn % len(players)], players[(turn + 1) % len(players)]
                rows = stimulus(player, design, rng, int(rng.integers(1, 60)))
                assert np.array_equal(here.play(rows), player.play(rows))
                snapshot = here.save()
                there.poison(noise)
                there.load(snapshot, here.row)
                assert there.save() == snapshot
                rows = stimulus(player, design, rng, int(rng.integers(1, 10)))
                wanted = player.play(rows)
                assert np.array_equal(here.play(rows), wanted), "saving changed the state"
                assert np.array_equal(there.play(rows), wanted), "the state did not move"
                assert here.save() == there.save()
        finally:
            for halting in players:
                halting.close()


def libraries(results: tuple[CaptureResult, ...], top: str) -> list[tuple[Path, StateMap]]:
    """Each as simulators have it, then each as a board does."""
    return [
        (
            build_haltable([r.verilog], top, hardware=hardware),
            StateMap.parse(r.state_map.read_bytes()),
        )
        for hardware in (False, True)
        for r in results
    ]


@pytest.mark.parametrize("name", NAMES)
def test_any_order_of_edges_survives_freezing_and_moving(name: str, captured: Builds) -> None:
    design, results = captured[name]
    original = build_player(list(design.sources), design.top)
    moves_like(original, libraries(results, design.top), design, 11)


# (design, whether as a board gets it, a piece of its text, what a broken capture would have there)
BROKEN = (
    ("uart", True, "open ? functional : !run && frozen", "run ? functional : frozen"),
    ("uart", False, "iff sp_run or posedge (!sp_run && ", "or posedge ("),
    ("ddr_capture", True, "open ? functional : !run && frozen", "run ? functional : frozen"),
    ("ddr_capture", True, "sp_run ? gated : clk", "gated"),
    ("async_fifo", False, "sp_run ? rd_clk : wr_clk", "rd_clk"),
    ("interrupts", False, "sp_run && ", ""),
)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "hardware", "right", "wrong"), BROKEN)
def test_the_test_fails_broken_clocks(
    name: str, hardware: bool, right: str, wrong: str, captured: Builds, tmp_path: Path
) -> None:
    design, results = captured[name]
    text = results[0].verilog.read_text()
    assert right in text
    broken = tmp_path / "broken.v"
    broken.write_text(text.replace(right, wrong))
    original = build_player(list(design.sources), design.top)
    builds = libraries(results, design.top)
    builds[0] = (build_haltable([broken], design.top, hardware=hardware), builds[0][1])
    with pytest.raises(AssertionError):
        moves_like(original, builds, design, 11)


@pytest.mark.parametrize("name", NAMES)
def test_a_running_design_with_several_clocks_equals_its_original(
    name: str, captured: Builds
) -> None:
    design, results = captured[name]
    for result in results:
        prove(design, result.verilog)


def test_the_state_map_names_all_clock_ports_with_the_primary_first(captured: Builds) -> None:
    _, results = captured["async_fifo"]
    assert StateMap.parse(results[0].state_map.read_bytes()).clocks == ("wr_clk", "rd_clk")


DIVIDED = """\
module t(input clk, rst, input [3:0] a, output reg half, x, output reg [3:0] q, r, s);
  reg [1:0] count;
  always @(posedge clk) begin
    q <= q + a;
    {divider}
  end
  always @(posedge half or posedge rst) if (rst) r <= 0; else r <= {read};
  always @(negedge half) s <= s + q;
  {more}
endmodule
"""
STEP = "if (rst) count = 0; else count = count + 1; half = count[1];"


@pytest.mark.parametrize("suffix", [".v", ".sv"])
def test_a_clock_made_by_a_blocking_assignment_comes_before_what_the_instant_assigns(
    suffix: str, tmp_path: Path
) -> None:
    source = tmp_path / f"t{suffix}"
    source.write_text(DIVIDED.format(divider=STEP, read="q ^ a", more=""))
    design = Design((source,), "t", clocks=("clk",), resets={"rst": 1})
    report = prove_halting(design, pairs=60)
    assert report.ok, str(report)
    # By `<=` it would come after: the test can fail.
    made = [capture(design, tmp_path / str(number), each) for number, each in enumerate(BUILDS)]
    for result in made:
        text = result.verilog.read_text()
        assert " half_ = " in text
        result.verilog.write_text(text.replace(" half_ = ", " half_ <= "))
    original = build_player([source], "t")
    broken = Sides(design, original, (from_result(made[0]), from_result(made[1])))
    assert examine(broken, pairs=60).divergence is not None


@pytest.mark.parametrize("suffix", [".v", ".sv"])
@pytest.mark.parametrize(
    ("divider", "read", "more", "why"),
    [
        (STEP, "q", "always @(posedge clk) x <= half;", "read at the instant .* by x"),
        (STEP, "count", "", "reads count, which is not by `<=`"),
        ("flip;", "q", "task flip; half = !half; endtask", "neither is seen"),
    ],
)
def test_a_clock_of_which_the_rtl_says_no_order_is_refused_with_file_and_line(
    suffix: str, divider: str, read: str, more: str, why: str, tmp_path: Path
) -> None:
    source = tmp_path / f"t{suffix}"
    source.write_text(DIVIDED.format(divider=divider, read=read, more=more))
    with pytest.raises(CaptureRefused, match=rf"blocking-clock: half \({source}:3.*{why}"):
        capture(Design((source,), "t", clocks=("clk",)), tmp_path / "out")


def test_a_blocking_clock_is_taken_where_the_order_does_not_matter(tmp_path: Path) -> None:
    source = tmp_path / "t.v"
    text = DIVIDED.format(divider="flip;", read="a", more="task flip; half = !half; endtask")
    source.write_text(text.replace("s + q", "s + a"))
    assert capture(Design((source,), "t", clocks=("clk",)), tmp_path / "out").report.flop_bits == 13


@pytest.mark.parametrize("suffix", [".v", ".sv"])
@pytest.mark.parametrize("made", ["always @(clk) late <= clk;", "always @* late <= clk & a[0];"])
def test_a_clock_that_comes_after_all_else_of_its_instant_is_refused(
    suffix: str, made: str, tmp_path: Path
) -> None:
    text = """module part(input clk, input [3:0] a, output reg [3:0] q, r);
      reg late;
      {made}
      always @(posedge clk) q <= a;
      always @(posedge late) r <= q;
    endmodule
    module t(input clk, input [3:0] a, output [3:0] q, r); part u(clk, a, q, r); endmodule
    """
    source = tmp_path / f"t{suffix}"
    source.write_text(text.replace("{made}", made))
    design = Design((source,), "t", clocks=("clk",))
    with pytest.raises(CaptureRefused, match=rf"delayed-clock: u\.late \({source}:2"):
        capture(design, tmp_path / "out")
    source.write_text(text.replace("{made}", made.replace("<=", "=")))
    assert capture(design, tmp_path / "out").report.flop_bits == 8
