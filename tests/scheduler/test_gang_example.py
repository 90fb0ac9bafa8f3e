"""The example of a gang: an OpenCL program of four ranks that knows nothing of its pool."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hal.registry import list_devices

EXAMPLE = Path(__file__).parents[2] / "examples/resize_gang.py"
LIMIT_S = 550.0


@pytest.mark.parametrize(
    ("rounds", "steps"), [(1, 400), pytest.param(4, 1600, marks=pytest.mark.slow)]
)
def test_a_gang_trains_to_the_same_losses_however_it_is_resized(rounds: int, steps: int) -> None:
    if {"opencl:0", "opencl:1"} - {info.uri for info in list_devices()}:
        pytest.skip("needs opencl:0 and opencl:1")
    words = ["--steps", steps, "--every", 5, "--rounds", rounds, "--pace-ms", 20]
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"succeeded; halted (\d+) times, resized (\d+) times", done.stdout)
    assert found is not None, done.stdout
    halts, resizes = map(int, found.groups())
    assert halts == rounds and resizes >= rounds  # it may be restored on both devices at once
    assert f"{steps // 5 + 1} losses, the same without a pool" in done.stdout
    assert "running on opencl:0/0 opencl:1/0" in done.stdout
