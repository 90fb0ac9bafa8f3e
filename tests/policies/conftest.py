"""One suite for every policy that has a name. `--policy NAME` (may be repeated) narrows the run,
which is how one from outside is put through it (docs/how-to-add-a-policy.md)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.policies.named import names

SHARING = (
    "sharing"  # its gangs are on one device, the suite's on several; tests/scheduler has its own
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--policy", action="append", help="only this policy, by its name")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        asked = metafunc.config.getoption("--policy", default=None)
        metafunc.parametrize("name", asked or [name for name in names() if name != SHARING])


@pytest.fixture
def root() -> Iterator[Path]:
    """A proxy root of its own, in shared memory as in production."""
    folder = Path(tempfile.mkdtemp(prefix="haltere-test-", dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
