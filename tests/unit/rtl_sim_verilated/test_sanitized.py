"""The shell's C++ under the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rtl_sim.verilated import toolchain
from rtl_sim.verilated.build import Design, build_program

HERE = Path(__file__).parent


@pytest.mark.slow
def test_the_shell_touches_no_memory_but_its_own_and_its_windows() -> None:
    absent = toolchain.absence()
    if absent:
        pytest.skip(absent)
    program = build_program(
        Design((HERE / "rtl" / "blend.sv",), "blend", state_port=True),
        HERE / "sanitize_main.cpp",
        shim=True,
        sanitize=True,
    )
    done = subprocess.run([program], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, "clean\n"), done.stderr[-3000:]
