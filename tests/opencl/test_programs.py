"""Small programs print the same, byte for byte, under our driver and natively."""

from __future__ import annotations

import pytest
from opencl_machine import PROGRAMS, Machine, lines_of, start

NAMES = sorted(path.stem for path in PROGRAMS.glob("*.py") if path.stem != "common")


@pytest.mark.parametrize("name", NAMES)
def test_a_program_prints_what_it_prints_natively(machine: Machine, name: str) -> None:
    ours = machine.under(f"{name}.py")
    native = lines_of(start((f"{name}.py",), {}))
    assert len(native) > 5
    assert lines_of(ours) == native
