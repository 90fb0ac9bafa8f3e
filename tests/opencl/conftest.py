"""Two servers of the OpenCL device, for all tests here, and the two sides that are compared."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.launcher import spawn

sys.path.insert(0, str(Path(__file__).parent))  # for opencl_machine and opencl_sides
import opencl_sides
from opencl_machine import Machine
from opencl_sides import Side


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """Two servers of one device: what runs on one can go on on the other."""
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="haltere-t-", dir=memory if memory.is_dir() else None))
    servers = [spawn("opencl:0", root, name, tied=True) for name in ("first", "second")]
    yield Machine(root, tuple(server.paths.name for server in servers))
    for server in servers:
        server.stop()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> Side:
    return opencl_sides.native(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="session")
def proxied(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Side:
    return opencl_sides.proxied(machine, tmp_path_factory.mktemp("proxied"))


@pytest.fixture(scope="session")
def compiled(request: pytest.FixtureRequest) -> Callable[[Path], str]:
    """Compiles a C++ program against the system's OpenCL loader."""
    if not opencl_sides.loader():
        pytest.skip("no OpenCL loader on this system: install ocl-icd-libopencl1")
    assert request.config.cache is not None
    folder = request.config.cache.mkdir("opencl-programs")
    return lambda source: opencl_sides.compiled(source, folder)
