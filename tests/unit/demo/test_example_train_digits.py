"""The example runs as its README says, from a shell, and tells the same story twice."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from hal import Context

EXAMPLE = Path(__file__).parents[3] / "examples" / "train_digits.py"


def run(device: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), "100"],
        env={**os.environ, "HALTERE_DEVICE": device},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def test_the_example_learns_and_gives_the_same_bits_on_both_devices(
    open_context: Callable[[int], Context],
) -> None:
    first, second = (run(open_context(index).info.uri) for index in (0, 1))
    assert first == second
    assert first.startswith("step 100/100\n")
    found = re.search(r"held out (0\.\d+)\nsha256 [0-9a-f]{64}\n$", first)
    assert found and float(found[1]) > 0.8
