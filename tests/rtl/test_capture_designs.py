"""Small designs, each with other kinds of state: captured ones run, halt and move as if nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from rtl_sim.capture import CaptureResult, Options, capture
from rtl_sim.design import Design
from rtl_sim.tb import runner
from rtl_sim.tb.captured_pair import harness, renamed

DESIGNS = Path(__file__).parent / "designs"
NAMES = ("fsm_fifo", "regfile", "async_reset", "enables", "wide_memory", "operators", "block_ram")
# Two builds whose chains have nothing in common but the state.
BUILDS = (Options(lanes=32), Options(lanes=7, read_registers="shadow"))
CYCLES, CUTS = 1500, 25


@pytest.fixture(scope="session")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[CaptureResult, ...]]:
    folder = tmp_path_factory.mktemp("captured")
    return {
        name: tuple(
            capture(Design((DESIGNS / f"{name}.sv",), name), folder / f"{name}_{number}", options)
            for number, options in enumerate(BUILDS)
        )
        for name in NAMES
    }


@pytest.fixture(scope="session")
def simulator(
    captured: Mapping[str, tuple[CaptureResult, ...]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """One simulator with all designs: a build costs far more than a run."""
    folder = tmp_path_factory.mktemp("harness")
    designs = [
        (
            name,
            renamed(first.verilog, first.state_map, name, "a"),
            renamed(second.verilog, second.state_map, name, "b"),
        )
        for name, (first, second) in captured.items()
    ]
    bench = folder / "bench.sv"
    copies = [copy.verilog for _, *pair in designs for copy in pair]
    bench.write_text("\n".join([*copies, harness(designs)]))
    return runner.build([*(DESIGNS / f"{name}.sv" for name in NAMES), bench], "bench")


# What a broken capture would emit: (design, a piece of its text, what stands there instead).
BROKEN = (
    ("async_reset", "sp_run && rst", "rst"),  # a reset reaches a frozen design
    ("async_reset", "if (sp_run) begin", "if (1) begin"),  # frozen registers go on
    ("enables", "if (sp_run) begin", "if (sp_run || sp_scan) begin"),  # no shifting
    ("fsm_fifo", "2:0] : sp_maddr", "2:0] : 1 + sp_maddr"),  # restored to wrong words
    ("regfile", "sp_run ? ", "sp_run || x[0] ? "),  # a frozen memory is written
    ("block_ram", "sp_run ? x[23:18] : sp_maddr[5:0]", "x[23:18]"),  # loaded with another word
    ("block_ram", "(sp_run && rst)", "(rst)"),  # a reset reaches a frozen read register
    ("block_ram", "$use <= 1", "$use <= 0"),  # a shadow that nobody sees
    ("operators", "sp_so = ", "sp_so = 1 + "),  # a wrong row comes out
)


@pytest.mark.slow
def test_the_bench_fails_every_broken_capture(
    captured: Mapping[str, tuple[CaptureResult, ...]], tmp_path: Path
) -> None:
    designs = []
    for number, (name, right, wrong) in enumerate(BROKEN):
        first, second = captured[name]
        text = first.verilog.read_text()
        assert right in text, (name, right)
        broken = tmp_path / f"{number}.v"
        broken.write_text(text.replace(right, wrong))
        designs.append(
            (
                name,
                renamed(broken, first.state_map, name, f"broken{number}"),
                renamed(second.verilog, second.state_map, name, f"whole{number}"),
            )
        )
    bench = tmp_path / "bench.sv"
    copies = [copy.verilog for _, *pair in designs for copy in pair]
    bench.write_text("\n".join([*copies, harness(designs)]))
    originals = sorted({DESIGNS / f"{name}.sv" for name, _, _ in BROKEN})
    simulator = runner.build([*originals, bench], "bench")
    for number, (name, _, _) in enumerate(BROKEN):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        environment = {**_environment(captured[name], name), "BENCH_WHICH": str(number)}
        with pytest.raises(runner.BenchFailed):
            runner.run(simulator, "bench", "rtl_sim.tb.captured_bench", folder, environment)


def _environment(results: tuple[CaptureResult, ...], name: str) -> dict[str, str]:
    return {
        "BENCH_WHICH": str(NAMES.index(name)),
        "BENCH_MAP_A": str(results[0].state_map),
        "BENCH_MAP_B": str(results[1].state_map),
        "BENCH_CYCLES": str(CYCLES),
        "BENCH_CUTS": str(CUTS),
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_captured_design_runs_halts_and_moves_like_its_original(
    name: str,
    captured: Mapping[str, tuple[CaptureResult, ...]],
    simulator: Path,
    tmp_path: Path,
) -> None:
    environment = _environment(captured[name], name)
    assert runner.run(simulator, "bench", "rtl_sim.tb.captured_bench", tmp_path, environment) == 4


@pytest.mark.parametrize("name", NAMES)
def test_both_builds_have_the_same_layout(
    name: str, captured: Mapping[str, tuple[CaptureResult, ...]]
) -> None:
    first, second = captured[name]
    assert first.report.layout_id == second.report.layout_id
