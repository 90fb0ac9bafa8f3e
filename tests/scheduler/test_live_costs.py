"""What halting has cost on a live pool is what its policy goes by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from live_jobs import PATIENCE_S, Training, check_journal, lease_spec, output, until
from test_live_gangs import QUICK

from scheduler.core.halting import ENOUGH
from scheduler.live.pool import JobState, Pool
from scheduler.policies.drains import LEAST_LEAD_S
from scheduler.policies.elastic import Elastic, ElasticParams


def test_a_drain_leaves_jobs_alone_as_long_as_halting_them_takes_here(
    root: Path, tmp_path: Path
) -> None:
    """Two minutes before the deadline by the given figures; by measured ones it is seconds."""
    train, state = Training(tmp_path, "train"), tmp_path / "state"
    policy = Elastic(replace(QUICK, measured=True))
    deadline_s = QUICK.drain_lead_s / 2
    with Pool(root, ["cpu:0"], state, policy=policy) as pool:
        job = pool.submit(train.spec())
        until(lambda: train.at_work(pool))
        pool.drain("cpu:0", deadline_s)
        pool.wait(job, PATIENCE_S, (JobState.PREEMPTED,))  # nothing was measured yet
        pool.cancel_drain("cpu:0")
        for _ in range(ENOUGH - 1):
            pool.wait(job, PATIENCE_S, (JobState.RUNNING,))
            with pool.lease(lease_spec("premium"), PATIENCE_S):
                pass
        pool.wait(job, PATIENCE_S, (JobState.RUNNING,))
        pool.drain("cpu:0", deadline_s)
        assert pool.job(job).state == JobState.RUNNING
        pool.cancel_drain("cpu:0")
        pool.drain("cpu:0", LEAST_LEAD_S / 2)
        pool.wait(job, PATIENCE_S, (JobState.PREEMPTED,))
        pool.cancel_drain("cpu:0")
        train.let_finish()
        done = pool.wait(job, PATIENCE_S)
        assert (done.state, output(done)) == (JobState.SUCCEEDED, train.expected())
    check_journal(state, Elastic(policy.params))
    begins = Pool(root, ["cpu:0"], state, policy="elastic")._policy
    assert isinstance(begins, Elastic) and begins.params.measured
    assert begins.params.drain_lead_s == LEAST_LEAD_S
    assert 0 < begins.params.move_s < ElasticParams().move_s
