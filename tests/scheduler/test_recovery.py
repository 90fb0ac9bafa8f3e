"""A pool that is killed at any step, and started again on the same state_dir."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from live_jobs import load

from proxy.launcher import find, spawn
from scheduler.core.machine import Machine
from scheduler.errors import StateDamaged, StateDiffers, StateInUse
from scheduler.journal import read, replay
from scheduler.live.pool import JobSpec, JobState, Pool
from scheduler.live.worker import Record
from scheduler.policies.tiered import Tiered

PROGRAM = Path(__file__).with_name("crash_pool.py")
crash_pool = load(PROGRAM)
play, until = crash_pool.play, crash_pool.until
DEVICE, PATIENCE_S = crash_pool.DEVICE, crash_pool.PATIENCE_S
DIGEST = load(PROGRAM.with_name("train_worker.py")).expected(crash_pool.STEPS)
FAST = (("after", "Checkpoint", 1), ("before", "JobCheckpointed", 1), ("torn", "JobStarted", 3))
SLOW = (
    ("after", "DeviceAdded", 1),
    ("before", "JobSubmitted", 1),
    ("after", "Start", 1),
    ("torn", "Start", 1),
    ("before", "JobStarted", 1),
    ("after", "JobStarted", 1),
    ("torn", "Checkpoint", 1),
    ("torn", "JobCheckpointed", 1),
    ("after", "Start", 2),
    ("before", "JobStarted", 2),
    ("before", "JobExited", 1),
    ("after", "Release", 1),
    ("before", "LeaseReleased", 1),
    ("after", "Start", 3),
    ("before", "JobStarted", 3),
    ("before", "JobExited", 2),
    ("after", "JobExited", 2),
)


def begin_and_kill(
    root: Path, folder: Path, moment: str = "never", name: str = "-", count: int = 1
) -> None:
    words = [sys.executable, str(PROGRAM), root, folder / "state", folder, moment, name, count]
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if moment == "never":
        assert process.stdout.readline() == "READY\n"
        process.kill()
    try:
        assert process.wait(2 * PATIENCE_S) == -signal.SIGKILL
    finally:
        process.kill()
        process.stdout.close()


def log_of(folder: Path, job: int) -> list[str]:
    return (folder / f"state/logs/job-{job}.log").read_text().split()


@pytest.mark.parametrize(
    ("moment", "name", "count"),
    [*FAST, *(pytest.param(*point, marks=pytest.mark.slow) for point in SLOW)],
)
def test_jobs_go_on_after_the_pool_was_killed_at_a_step(
    root: Path, tmp_path: Path, moment: str, name: str, count: int
) -> None:
    begin_and_kill(root, tmp_path, moment, name, count)
    with Pool(root, [DEVICE], tmp_path / "state") as pool:
        low, high = play(pool, tmp_path)
        for job in (low, high):
            status = pool.job(job)
            assert (status.state, status.restarts) == (JobState.SUCCEEDED, 0), status
            assert log_of(tmp_path, job) == ["began", DIGEST]
        assert pool.job(low).preemptions == 1
        until(lambda: not list((tmp_path / "state/store/records").iterdir()))
        until(lambda: not list((tmp_path / "state/workers").iterdir()))
    contents = read(tmp_path / "state/journal/000001.jsonl")  # one journal, both pools
    replay(contents.steps, Machine(), Tiered())


def test_a_running_job_does_not_notice_that_its_pool_was_killed(root: Path, tmp_path: Path) -> None:
    begin_and_kill(root, tmp_path)
    record = Record.read(tmp_path / "state/workers/job-1")
    server = find(root, DEVICE)
    assert record is not None and record.worker is not None and record.worker.is_alive()
    assert server is not None
    with Pool(root, [DEVICE], tmp_path / "state") as pool:
        status = pool.job(1)
        assert (status.state, status.epoch) == (JobState.RUNNING, 1)
        assert pool.worker_pid(1) == record.worker.pid
        assert pool.server_pid(DEVICE) == server.pid
        (tmp_path / "low.gate").touch()
        assert pool.wait(1, PATIENCE_S).state == JobState.SUCCEEDED
    assert log_of(tmp_path, 1) == ["began", DIGEST]
    assert not server.is_alive()  # this pool was closed
    with Pool(root, [DEVICE], tmp_path / "state") as pool:
        assert pool.jobs() == ()


@pytest.mark.parametrize(("number", "state"), [(0, "succeeded"), (signal.SIGUSR1, "failed")])
def test_how_a_worker_ended_while_no_pool_ran_is_told(
    root: Path, tmp_path: Path, number: int, state: str
) -> None:
    begin_and_kill(root, tmp_path)
    record = Record.read(tmp_path / "state/workers/job-1")
    assert record is not None and record.worker is not None
    if number:
        os.kill(record.worker.pid, number)
    else:
        (tmp_path / "low.gate").touch()
    until(lambda: "exit" in (tmp_path / "state/workers/job-1").read_text())
    with Pool(root, [DEVICE], tmp_path / "state") as pool:
        status = pool.wait(1, PATIENCE_S)
        assert status.state == state and status.epoch == 1
        assert not number or f"code {-number}" in status.reason
        assert pool.submit(JobSpec("next", "ann", "basic", "cpu", argv=["true"])) == 2


@pytest.mark.parametrize("successor", [False, True])
def test_a_server_that_died_while_no_pool_ran_is_a_lost_device(
    root: Path, tmp_path: Path, successor: bool
) -> None:
    begin_and_kill(root, tmp_path)
    server = find(root, DEVICE)
    assert server is not None
    server.kill()
    if successor:  # it lives, and knows nothing of the job
        spawn(DEVICE, root)
    (tmp_path / "low.gate").touch()
    with Pool(root, [DEVICE], tmp_path / "state") as pool:
        status = pool.wait(1, PATIENCE_S)
        assert (status.state, status.restarts) == (JobState.SUCCEEDED, 1), status
    assert log_of(tmp_path, 1)[-1] == DIGEST


def test_a_state_dir_has_one_pool_at_a_time(root: Path, tmp_path: Path) -> None:
    with Pool(root, [DEVICE], tmp_path / "state"):
        with pytest.raises(StateInUse, match=f"running pool \\(process {os.getpid()}\\)"):
            Pool(root / "other", [DEVICE], tmp_path / "state").start()
        assert find(root, DEVICE) is not None
    Pool(root, [DEVICE], tmp_path / "state").close()


def test_a_pool_that_is_set_up_otherwise_does_not_take_over(root: Path, tmp_path: Path) -> None:
    begin_and_kill(root, tmp_path)
    state = tmp_path / "state"
    for pool, words in (
        (Pool(root, [DEVICE], state, min_run_s=5), "min_run_us was 0 and is 5000000"),
        (Pool(root, [DEVICE], state, slices={"cpu": 2}), "in 1 slices; this one has 2"),
        (Pool(tmp_path, [DEVICE], state), f"under {root}, which still run"),
    ):
        with pytest.raises(StateDiffers, match=words):
            pool.start()
        pool.close()
    kept = (state / "running.json").read_bytes()
    (state / "running.json").write_bytes(b"{")
    with pytest.raises(StateDamaged, match="cannot be read"):
        Pool(root, [DEVICE], state).start()
    (state / "running.json").write_bytes(kept)
    with Pool(root, [DEVICE], state) as pool:  # none of it has disturbed the job
        assert (pool.job(1).state, pool.job(1).epoch) == (JobState.RUNNING, 1)
