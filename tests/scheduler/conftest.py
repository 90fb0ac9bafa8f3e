"""Option and fixtures of the scheduler's tests."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.info import running_servers
from proxy.launcher import find
from scheduler.live.pool import Pool

sys.path.insert(0, str(Path(__file__).parent))  # for live_jobs, native_runs


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-scenarios",
        action="store_true",
        help="write what the scheduler does now into tests/scheduler/scenarios; review the diff",
    )


@pytest.fixture
def root() -> Iterator[Path]:
    """A proxy root of its own, in shared memory as in production; servers that a killed pool left
    under it end with the test."""
    folder = Path(tempfile.mkdtemp(prefix="haltere-test-", dir="/dev/shm"))
    yield folder
    for paths, _ in running_servers(folder):
        if server := find(folder, paths.name):
            server.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def pool(root: Path, tmp_path: Path) -> Iterator[Pool]:
    with Pool(root, ["cpu:0", "cpu:1"], tmp_path / "state") as made:
        yield made
