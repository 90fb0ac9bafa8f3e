"""A device of the live pool that has become slow is noticed by its jobs' pace, and left."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from live_jobs import PATIENCE_S, check_journal, lease_spec, until
from test_live_gangs import QUICK

from hal.registry import list_devices
from scheduler.live import paces
from scheduler.live.pool import JobSpec, JobState, Pool
from scheduler.policies.elastic import Elastic
from scheduler.policies.round import ElasticParams

WORKER = Path(__file__).with_name("pacing_worker.py")
DEVICES = ["opencl:0", "opencl:1"]
NOTICES = ElasticParams(
    **{name: getattr(QUICK, name) for name in ("min_run_s", "settle_s", "look_s", "spare_share")},
    stragglers=True,
    slow_share=0.4,  # the machine may be busy with others, too
)


@contextmanager
def slowed_down(pid: int) -> Iterator[None]:
    """It gets a tenth of the time."""
    enough = threading.Event()

    def stop_and_go() -> None:
        while not enough.is_set():
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.09)
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.01)

    thread = threading.Thread(target=stop_and_go)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def test_a_gang_moves_off_a_device_that_has_become_slow(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not {*DEVICES} <= {info.uri for info in list_devices()}:
        pytest.skip("needs two OpenCL devices")
    monkeypatch.setattr(paces, "PERIOD_S", 1.0)
    gate, state = tmp_path / "gate", tmp_path / "state"
    policy = Elastic(NOTICES)
    with Pool(root, DEVICES, state, slices={"opencl": 2}, policy=policy) as pool:
        held = [pool.submit(lease_spec("basic", "opencl", uri)) for uri in DEVICES]
        for lease in held:
            pool.wait(lease, PATIENCE_S, (JobState.RUNNING,))
        argv = [sys.executable, str(WORKER), str(gate)]
        gang = pool.submit(JobSpec("gang", "ann", "basic", "opencl", argv=argv, count=2))
        pool.wait(gang, PATIENCE_S, (JobState.RUNNING,))
        assert {item[:8] for item in pool.job(gang).slices} == {*DEVICES}
        pool.finish(held[0])
        journal = next((state / "journal").iterdir())
        until(lambda: journal.read_text().count("PaceMeasured") >= 3)
        assert pool.job(gang).resizes == 0
        with slowed_down(pool.server_pid("opencl:1")):
            until(lambda: pool.job(gang).slices == ("opencl:0/1", "opencl:0/0"))
        gate.touch()
        done = pool.wait(gang, PATIENCE_S)
        assert (done.state, done.resizes, done.epoch) == (JobState.SUCCEEDED, 1, 1), done
    check_journal(state, Elastic(NOTICES))
