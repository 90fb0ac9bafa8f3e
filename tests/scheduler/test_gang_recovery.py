"""A pool that is killed while a gang is started, resized, halted or restored, and started again."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from live_jobs import load, until

from proxy.info import running_servers
from scheduler.core.machine import Machine
from scheduler.journal import read, replay
from scheduler.live.pool import JobState, Pool
from scheduler.policies.elastic import Elastic

PROGRAM = Path(__file__).with_name("crash_pool.py")
crash_pool = load(PROGRAM)
DEVICES, RANKS, QUICK = crash_pool.DEVICES, crash_pool.RANKS, crash_pool.QUICK
EXPECTED = load(PROGRAM.with_name("gang_worker.py")).expected(crash_pool.STEPS, RANKS)
FAST = (("inside", "move", 1), ("inside", "halt", 2))
SLOW = (
    ("after", "Start", 1),
    ("before", "JobStarted", 1),
    ("after", "Resize", 1),
    ("torn", "Resize", 1),
    ("inside", "move", 2),
    ("before", "JobResized", 1),
    ("after", "JobResized", 1),
    ("after", "Resize", 2),
    ("inside", "move", 3),
    ("inside", "move", 4),
    ("torn", "JobResized", 2),
    ("after", "Checkpoint", 1),
    ("inside", "halt", 1),
    ("inside", "halt", 4),
    ("before", "JobCheckpointed", 1),
    ("after", "JobCheckpointed", 1),
    ("after", "Start", 4),
    ("before", "JobStarted", 4),
    ("before", "JobExited", 3),
    ("after", "JobExited", 3),
)


def begin_and_kill(
    root: Path, folder: Path, moment: str, name: str, count: int, play: str = "gang"
) -> None:
    words = [root, folder / "state", folder, moment, name, count, play]
    process = subprocess.Popen([sys.executable, str(PROGRAM), *map(str, words)])
    try:
        assert process.wait(2 * crash_pool.PATIENCE_S) == -signal.SIGKILL
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("moment", "name", "count"),
    [*FAST, *(pytest.param(*point, marks=pytest.mark.slow) for point in SLOW)],
)
def test_a_gang_goes_on_after_the_pool_was_killed_at_a_step(
    root: Path, tmp_path: Path, moment: str, name: str, count: int
) -> None:
    begin_and_kill(root, tmp_path, moment, name, count)
    assert len(running_servers(root)) == len(DEVICES)
    state = tmp_path / "state"
    with Pool(root, DEVICES, state, policy=Elastic(QUICK)) as pool:
        gang = crash_pool.play_gang(pool, tmp_path)
        status = pool.job(gang)
        assert (status.state, status.restarts) == (JobState.SUCCEEDED, 0), status
        for rank, digest in enumerate(EXPECTED):
            log = state / (f"logs/job-{gang}-r{rank}.log" if rank else f"logs/job-{gang}.log")
            assert log.read_text().split() == ["began", digest]  # it noticed nothing
        until(lambda: not list(state.glob("store/records/*")))
        until(lambda: not list(state.glob("workers/*")))
        until(lambda: not list((root / "meet").iterdir()))
        assert not list(root.glob("parked/*")) and not list(root.glob("barriers/*"))
    contents = read(state / "journal/000001.jsonl")  # one journal, both pools
    replay(contents.steps, Machine(), Elastic(QUICK))
