"""A pool that is killed while it saves a job, alone or with the job's server, and started again."""

from __future__ import annotations

from pathlib import Path

import pytest
from live_jobs import begun_at, resumable_worker, until
from test_gang_recovery import begin_and_kill, crash_pool

from proxy.launcher import find
from scheduler.core.machine import Machine
from scheduler.journal import read, replay
from scheduler.live.pool import JobState, Pool
from scheduler.policies.elastic import Elastic

FAST = (("after", "Save", 1, False), ("before", "JobSaved", 2, True))
SLOW = (
    ("before", "JobSaved", 1, False),
    ("torn", "JobSaved", 2, False),
    ("after", "JobSaved", 2, True),
    ("after", "Save", 2, True),
    ("torn", "Save", 3, True),
    ("after", "JobSaved", 3, False),
)


@pytest.mark.parametrize(
    ("moment", "name", "count", "with_server"),
    [*FAST, *(pytest.param(*point, marks=pytest.mark.slow) for point in SLOW)],
)
def test_a_save_is_whole_or_was_never_begun_when_the_pool_was_killed(
    root: Path, tmp_path: Path, moment: str, name: str, count: int, with_server: bool
) -> None:
    begin_and_kill(root, tmp_path, moment, name, count, "saves")
    state = tmp_path / "state"
    if with_server:
        server = find(root, "cpu:0")
        assert server is not None
        server.kill()
    with Pool(root, crash_pool.DEVICES, state, policy=Elastic(crash_pool.SAVING)) as pool:
        status = pool.job(crash_pool.play_saves(pool, tmp_path))
        assert (status.state, status.restarts) == (JobState.SUCCEEDED, int(with_server)), status
        words = (state / f"logs/job-{status.id}.log").read_text().split()
        begun = begun_at(words)
        assert begun[0] == 0 and len(begun) == 1 + with_server and all(begun[1:]), words
        assert words[-1] == resumable_worker.expected(crash_pool.STEPS)
        until(lambda: not list(state.glob("store/records/*")))
    contents = read(state / "journal/000001.jsonl")  # one journal, both pools
    replay(contents.steps, Machine(), Elastic(crash_pool.SAVING))
