"""Programs that know nothing of it are moved back and forth while they run, and print the same as
when they run natively and undisturbed, digit for digit."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import opencl_sides
import pytest
from opencl_machine import Machine
from opencl_sides import HERE, Outcome, Side, finish

from hal.errors import HalError, UsageError
from proxy import programs

TRAIN = HERE.parents[1] / "examples" / "train_tinygrad.py"
PIPELINE = HERE / "applications" / "pipeline.cpp"
COLD_S = 550.0  # with compiled kernels in the cache a tenth of it
LAST_S = 60.0


def compare_moved(
    machine: Machine, native: Side, command: list[str], folder: Path, pause_s: float
) -> int:
    """How often all of the program's contexts were moved, until it ended."""
    expected = native.run(command, COLD_S).checked()
    name = f"moved-{time.monotonic_ns()}"
    process = opencl_sides.proxied(machine, folder, name).start(command)
    outcome: list[Outcome] = []
    reader = threading.Thread(target=lambda: outcome.append(finish(process, COLD_S)))
    reader.start()
    moves = 0
    while reader.is_alive():
        target = machine.servers[1 - moves % 2]
        try:
            moves += bool(programs.move(machine.root, name, target, folder / "store"))
        except UsageError:  # it has no context yet, or none any more
            pass
        except HalError:
            reader.join(LAST_S)  # it may have ended while it was moved
            if reader.is_alive():
                opencl_sides.kill(process)
                raise
        reader.join(pause_s)
    assert outcome[0].checked().lines == expected.lines
    return moves


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("case", ["short_run", pytest.param("long_run", marks=pytest.mark.slow)])
def test_a_program_with_images_and_pending_events_is_moved(
    machine: Machine, native: Side, compiled: Callable[[Path], str], tmp_path: Path, case: str
) -> None:
    assert compare_moved(machine, native, [compiled(PIPELINE), case], tmp_path, 0.05) >= 3


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("net", ["mlp", "conv"])
def test_a_training_is_moved(machine: Machine, native: Side, tmp_path: Path, net: str) -> None:
    command = [sys.executable, str(TRAIN), "--net", net, "--steps", "300", "--every", "1"]
    assert compare_moved(machine, native, command, tmp_path, 0.3) >= 3
