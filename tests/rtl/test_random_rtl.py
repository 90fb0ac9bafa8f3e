"""Designs that nobody wrote: captured, halted anywhere, moved, and proved equal while running."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtl_sim.capture import CaptureError, CaptureRefused
from rtl_sim.design import Design
from rtl_sim.errors import BuildFailed
from rtl_sim.prove import prove
from rtl_sim.verilated import toolchain
from tests.rtl.random_rtl import RandomDesign, generate

if toolchain.absence():
    pytest.skip(str(toolchain.absence()), allow_module_level=True)

PAIRS = 60
SMALLER_PAIRS = 20
# What becomes of a register with an asynchronous set or reset that no edge ever changes.
NO_CLOCK = {"set-reset", "latch"}


def trouble(design: RandomDesign, folder: Path, pairs: int = PAIRS) -> str:
    """What is wrong with the design's capture; "": nothing."""
    source = folder / "t.sv"
    source.write_text(design.text())
    text = source.read_text()
    clocks = tuple(name for name in ("clk", "other") if f"edge {name}" in text)
    try:
        report = prove(Design((source,), "t", clocks=clocks, resets={"rst": 1}), pairs=pairs)
    except CaptureRefused as error:
        return "" if {each.kind for each in error.refusals} <= NO_CLOCK else f"refused: {error}"
    except (CaptureError, BuildFailed) as error:
        return f"{error.code}: {error}"
    return "" if report.ok else str(report)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_random_designs_can_be_halted_and_moved(seed: int, tmp_path: Path) -> None:
    design = generate(seed)
    found = trouble(design, tmp_path)
    if found:
        kind = found.partition(":")[0]
        small = design.smaller(
            lambda less: trouble(less, tmp_path, SMALLER_PAIRS).partition(":")[0] == kind
        )
        pytest.fail(f"seed {seed}: {found}\n{small.text()}")
