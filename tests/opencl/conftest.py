"""Servers of the OpenCL device, for all tests here, and the sides that are compared."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.launcher import spawn

sys.path.insert(0, str(Path(__file__).parent))  # for opencl_machine and opencl_sides
import opencl_sides
from opencl_machine import Machine
from opencl_sides import Side


@contextmanager
def servers(**buffers: str) -> Iterator[Machine]:
    """Servers of one device: what runs on one can go on on the others. `buffers`: by a server's
    name, where those of its sessions lie, see proxy.heap."""
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="haltere-t-", dir=memory if memory.is_dir() else None))
    running = []
    for name, where in buffers.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HALTERE_BUFFERS", where)
            running.append(spawn("opencl:0", root, name, tied=True))
    yield Machine(root, tuple(buffers))
    for server in running:
        server.stop()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    with servers(first="shared", second="shared") as found:
        yield found


@pytest.fixture(scope="session")
def mixed() -> Iterator[Machine]:
    """Its second server treats the device as one with memory of its own."""
    with servers(first="shared", second="staged") as found:
        yield found


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> Side:
    return opencl_sides.native(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="session")
def proxied(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Side:
    return opencl_sides.proxied(machine, tmp_path_factory.mktemp("proxied"))


@pytest.fixture(scope="session")
def staged(mixed: Machine, tmp_path_factory: pytest.TempPathFactory) -> Side:
    """As `proxied`, with buffers that the program does not share."""
    alone = Machine(mixed.root, mixed.servers[1:])
    return opencl_sides.proxied(alone, tmp_path_factory.mktemp("staged"))


@pytest.fixture(scope="session")
def compiled(request: pytest.FixtureRequest) -> Callable[[Path], str]:
    """Compiles a C++ program against the system's OpenCL loader."""
    if not opencl_sides.loader():
        pytest.skip("no OpenCL loader on this system: install ocl-icd-libopencl1")
    assert request.config.cache is not None
    folder = request.config.cache.mkdir("opencl-programs")
    return lambda source: opencl_sides.compiled(source, folder)
