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
from scheduler.core.values import Slice
from scheduler.errors import Infeasible
from scheduler.live import paces
from scheduler.live.gang import Run
from scheduler.live.inbox import Inbox
from scheduler.live.pool import JobSpec, JobState, Pool
from scheduler.policies.elastic import Elastic
from scheduler.policies.round import ElasticParams

WORKER = Path(__file__).with_name("pacing_worker.py")
NOTICES = ElasticParams(
    **{name: getattr(QUICK, name) for name in ("min_run_s", "settle_s", "look_s", "spare_share")},
    stragglers=True,
    slow_share=0.25,  # the machine may be busy with others, too
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


def test_a_pace_is_cycles_where_a_device_counts_them_and_else_commands(tmp_path: Path) -> None:
    run = Run(1, JobSpec("j", "t", "basic", "cpu", ["x"], count=3), 1, session="s")
    run.place([Slice("a", 0), Slice("b", 0), Slice("c", 0)])
    found = paces.Paces(tmp_path, Inbox(), lambda: [run], lambda: [])
    long = 50 * paces.ENOUGH_NS

    def count(commands: int, cycles: int, device_ns: int) -> paces.Count:
        return paces.Count(commands, cycles, device_ns)

    found._before = {
        "a": {"s": count(5, 0, 7), "x": count(0, 0, 0)},
        "b": {"s-r1": count(5, 1000, 0)},
        "c": {"s-r2": count(5, 0, long)},
    }
    now = {
        "a": {"s": count(7, 0, 7 + long), "x": count(99, 0, long)},  # of somebody else
        "b": {"s-r1": count(5, 2000, long)},  # in the midst of a kernel
        "c": {"s-r2": count(9, 0, paces.ENOUGH_NS)},  # it was away, and is back
    }
    assert found._of(run, now) == {"a": 2, "b": 1000}
    busy = {"s": count(5, 0, long)}  # a command that takes longer than a period
    since = paces._since({"s": count(5, 0, 0)}, busy)
    found._before = {"a": since}
    assert found._of(run, {"a": {"s": count(15, 0, 2 * long)}}) == {"a": 5}
    assert paces._since(busy, {"s": count(6, 0, long)}) == {"s": count(6, 0, long)}


def test_a_pool_by_name_notices_stragglers_when_it_is_told_to(root: Path, tmp_path: Path) -> None:
    policy = Pool(root, ["cpu:0"], tmp_path, policy="elastic", stragglers=True)._policy
    assert isinstance(policy, Elastic) and policy.params.stragglers
    with pytest.raises(Infeasible, match="'tiered' notices no stragglers, only 'elastic' does"):
        Pool(root, ["cpu:0"], tmp_path, stragglers=True)


@pytest.mark.parametrize("kind", ["opencl", "cpu", "fpga-sim"])
def test_a_gang_moves_off_a_device_that_has_become_slow(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    devices = [f"{kind}:0", f"{kind}:1"]
    if not {*devices} <= {info.uri for info in list_devices()}:
        pytest.skip(f"needs two devices of kind {kind}")
    monkeypatch.setattr(paces, "PERIOD_S", 1.0)
    gate, state = tmp_path / "gate", tmp_path / "state"
    policy = Elastic(NOTICES)
    with Pool(root, devices, state, slices={kind: 2}, policy=policy) as pool:
        held = [pool.submit(lease_spec("basic", kind, uri)) for uri in devices]
        for lease in held:
            pool.wait(lease, PATIENCE_S, (JobState.RUNNING,))
        argv = [sys.executable, str(WORKER), str(gate)]
        gang = pool.submit(JobSpec("gang", "ann", "basic", kind, argv=argv, count=2))
        pool.wait(gang, PATIENCE_S, (JobState.RUNNING,))
        assert {item.partition("/")[0] for item in pool.job(gang).slices} == {*devices}
        pool.finish(held[0])
        journal = next((state / "journal").iterdir())
        until(lambda: journal.read_text().count("PaceMeasured") >= 3)
        assert pool.job(gang).resizes == 0
        with slowed_down(pool.server_pid(devices[1])):
            until(lambda: pool.job(gang).slices == (f"{kind}:0/1", f"{kind}:0/0"))
        gate.touch()
        done = pool.wait(gang, PATIENCE_S)
        assert (done.state, done.resizes, done.epoch) == (JobState.SUCCEEDED, 1, 1), done
    check_journal(state, Elastic(NOTICES))
