"""A program that brings its server down again and again loses its own session, nobody else's."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from opencl_machine import TIMEOUT_S, Machine, lines_of, start
from opencl_sides import HERE

from proxy.launcher import spawn
from proxy.redo import MAX_ATTEMPTS

STEPS, CRASHES = (str(HERE / "workers" / name) for name in ("steps.py", "crashes.py"))


@pytest.fixture
def machine() -> Iterator[Machine]:
    root = Path(tempfile.mkdtemp(prefix="haltere-t-", dir="/dev/shm"))
    server = spawn("opencl:0", root, tied=True, restarts=MAX_ATTEMPTS + 3)
    yield Machine(root, (server.paths.name,))
    server.stop()
    shutil.rmtree(root, ignore_errors=True)


@pytest.mark.slow
def test_a_program_whose_kernel_crashes_the_server_ends_alone(machine: Machine) -> None:
    wanted = lines_of(start((STEPS, "600"), {}))
    other = machine.under(STEPS, "600", name="z")
    offender = machine.under(CRASHES, name="k", stdin=-1)
    assert offender.stdin is not None
    assert offender.stdout is not None
    offender.stdout.readline()
    assert other.stdout is not None
    while int(other.stdout.readline()) < 300:
        pass
    _, err = offender.communicate("\n", TIMEOUT_S)
    assert offender.returncode != 0
    assert f"{MAX_ATTEMPTS} servers were killed while trying" in err
    assert other.stdout.readlines()[-1].strip() == wanted[-1]
    assert other.wait(TIMEOUT_S) == 0
