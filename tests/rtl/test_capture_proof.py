"""Proofs by Yosys: with `sp_run` 1 a captured design is its original, for all inputs and states."""

from __future__ import annotations

from pathlib import Path

import pytest

import rtl_sim
from rtl_sim.capture import ElaborationError, capture
from rtl_sim.design import Design
from rtl_sim.prove.equivalence import prove

DESIGNS = Path(__file__).parent / "designs"
CHECKSUM = Path(rtl_sim.__file__).parent / "rtl" / "checksum"
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("regfile", "wide_memory")]


@pytest.mark.parametrize("name", ["fsm_fifo", "async_reset", "enables", "operators", *SLOW])
def test_a_running_captured_design_equals_its_original(name: str, tmp_path: Path) -> None:
    sources = [DESIGNS / f"{name}.sv"]
    design = Design(tuple(sources), name)
    prove(design, capture(design, tmp_path).verilog)


@pytest.mark.slow
def test_the_running_captured_checksum_overlay_equals_its_original(tmp_path: Path) -> None:
    sources = sorted(CHECKSUM.glob("*.sv"))
    design = Design(tuple(sources), "checksum")
    prove(design, capture(design, tmp_path).verilog)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("good <= n", "good <= 16'd1 + n"),  # a next state
        ("sp_run && rst", "sp_run && !rst"),  # a reset
        ("u_queue.mem [(sp_run ? ", "u_queue.mem [(sp_run ? 3'd1 + "),  # where a memory is written
    ],
)
def test_a_captured_design_that_differs_is_not_proved(
    right: str, wrong: str, tmp_path: Path
) -> None:
    sources = [DESIGNS / "fsm_fifo.sv"]
    verilog = capture(Design(tuple(sources), "fsm_fifo"), tmp_path).verilog
    text = verilog.read_text()
    assert right in text
    verilog.write_text(text.replace(right, wrong, 1))
    with pytest.raises(ElaborationError, match="unproven"):
        prove(Design(tuple(sources), "fsm_fifo"), verilog)
