"""Servers for tests: started when asked for, stopped at the end, under a root of their own."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from hal import list_devices, open_device
from proxy.limits import Limits
from proxy.loopback import Loopback
from proxy.paths import SESSION_VARIABLE
from proxy.store import Address

sys.path.insert(0, str(Path(__file__).parent))  # for mix_worker and proxy_fleet
from proxy_fleet import Fleet


@pytest.fixture(autouse=True)
def _no_session_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SESSION_VARIABLE, raising=False)


@pytest.fixture
def root() -> Iterator[Path]:
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="haltere-t-", dir=memory if memory.is_dir() else None))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def loop(root: Path) -> Iterator[Loopback]:
    found = Loopback(open_device("cpu:0"), root)
    yield found
    found.close()


OPENCL = "opencl:0"


@pytest.fixture(params=["native", "python"])
def opencl_loop(root: Path, request: pytest.FixtureRequest) -> Iterator[Loopback]:
    """An OpenCL device, served by either core."""
    yield from _opencl(root, request.param)


@pytest.fixture
def native_loop(root: Path) -> Iterator[Loopback]:
    yield from _opencl(root, "native")


def _opencl(root: Path, core: str) -> Iterator[Loopback]:
    if OPENCL not in {info.uri for info in list_devices()}:
        pytest.skip(f"{OPENCL} is not present")
    found = Loopback(open_device(OPENCL), root, f"{core}:0", core=core)
    yield found
    found.close()


@pytest.fixture
def fleet(root: Path) -> Iterator[Fleet]:
    found = Fleet(root)
    yield found
    found.close()


@pytest.fixture
def serve(root: Path) -> Iterator[Callable[..., Loopback]]:
    """Starts native servers of the OpenCL device with these limits, more than one if named."""
    if "opencl:0" not in {info.uri for info in list_devices()}:
        pytest.skip("opencl:0 is not present")
    found: list[Loopback] = []

    def start(bounds: Limits, name: str = "native:0") -> Loopback:
        found.append(Loopback(open_device("opencl:0"), root, name, core="native", limits=bounds))
        return found[-1]

    yield start
    for loop in found:
        loop.close()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture(params=["disk", "memory"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Address]:
    """Of a store: a folder, or a file system behind a URL."""
    if request.param == "disk":
        yield tmp_path / "store"
        return
    url = f"memory://{tmp_path.name}-{os.getpid()}/store"
    yield url
    fsspec.filesystem("memory").rm(url.removeprefix("memory:/"), recursive=True)
