"""Small designs, each with other kinds of state: captured ones run, halt and move as if nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from rtl_sim.capture import CaptureResult, capture
from rtl_sim.tb import runner
from rtl_sim.tb.captured_pair import harness, renamed

DESIGNS = Path(__file__).parent / "designs"
NAMES = ("fsm_fifo", "regfile", "async_reset", "enables", "wide_memory", "operators")
LANES_A, LANES_B = 32, 7  # two builds whose chains have nothing in common but the state
CYCLES, CUTS = 1500, 25


@pytest.fixture(scope="session")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[CaptureResult, ...]]:
    folder = tmp_path_factory.mktemp("captured")
    return {
        name: tuple(
            capture([DESIGNS / f"{name}.sv"], name, {}, folder / f"{name}_{lanes}", lanes)
            for lanes in (LANES_A, LANES_B)
        )
        for name in NAMES
    }


@pytest.fixture(scope="session")
def simulator(
    captured: Mapping[str, tuple[CaptureResult, ...]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """One simulator with all designs: a build costs far more than a run."""
    folder = tmp_path_factory.mktemp("harness")
    copies = {
        name: [
            renamed(result.verilog, result.state_map, name, suffix)
            for result, suffix in zip(results, "ab", strict=True)
        ]
        for name, results in captured.items()
    }
    bench = folder / "bench.sv"
    bench.write_text(
        "\n".join([*(c.verilog for pair in copies.values() for c in pair), harness(copies)])
    )
    return runner.build([*(DESIGNS / f"{name}.sv" for name in NAMES), bench], "bench")


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
