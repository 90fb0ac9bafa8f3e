"""Two servers of the OpenCL device, for all tests here."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.launcher import spawn

sys.path.insert(0, str(Path(__file__).parent))  # for opencl_machine
from opencl_machine import Machine


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
