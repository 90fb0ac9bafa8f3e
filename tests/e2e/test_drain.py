"""`haltere drain` against a running service: a lease is moved off the device, which comes back."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from proxy.client import connect
from scheduler.live.pool import JobSpec, Pool
from scheduler.policies.elastic import Elastic
from scheduler.policies.round import ElasticParams
from service.app import create_app
from service.cli import app
from service.control import Control
from service.gateway import Gateway
from service.host import hosting
from service.settings import Settings

PATIENCE_S = 60.0


@pytest.fixture
def root() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="haltere-test-", dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def told(url: str, *words: str, fails: bool = False) -> str:
    env = {"COLUMNS": "200", "HALTERE_URL": url}
    done = CliRunner().invoke(app, ["drain", *words], env=env)
    assert (done.exit_code != 0) == fails, done.output
    return done.output


def until(done: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.02)


def test_a_device_is_drained_removed_and_comes_back(root: Path, tmp_path: Path) -> None:
    policy = Elastic(ElasticParams(min_run_s=0))
    with Pool(root, ["cpu:0", "cpu:1"], tmp_path / "state", policy=policy) as pool:
        service = create_app(Settings(), Gateway(), Control(pool, tmp_path))
        with (
            hosting(service) as port,
            pool.lease(JobSpec("lease", "bob", "premium", "cpu"), PATIENCE_S) as lease,
            connect(lease.device, root, lease.session) as device,
            device.open_context() as context,
        ):
            url = f"http://127.0.0.1:{port}"
            buffer = context.alloc(8)
            context.write(buffer, b"12345678")
            assert told(url).count(" up ") == 2
            assert "no device 'cpu:9'" in told(url, "cpu:9", fails=True)
            assert "'10' is no time" in told(url, "cpu:0", "--deadline", "10", fails=True)
            assert "409" in told(url, "cpu:0", "--cancel", fails=True)
            assert lease.device == "cpu:0"
            assert "draining" in told(url, "cpu:0", "--deadline", "30m")
            assert "being drained already" in told(url, "cpu:0", fails=True)
            until(lambda: "removed" in told(url))
            assert pool.job(lease.id).device == "cpu:1"
            assert context.read(buffer) == b"12345678"  # its holder noticed nothing
            told(url, "cpu:0", "--cancel")
            until(lambda: told(url).count(" up ") == 2)


def test_a_pool_whose_policy_moves_nobody_says_so(root: Path, tmp_path: Path) -> None:
    with Pool(root, ["cpu:0"], tmp_path / "state") as pool:
        service = create_app(Settings(), Gateway(), Control(pool, tmp_path))
        with hosting(service) as port:
            words = told(f"http://127.0.0.1:{port}", "cpu:0", fails=True)
    assert "policy, Tiered, moves nobody" in " ".join(words.split())
