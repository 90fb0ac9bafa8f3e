"""The live pool under other policies, and what it says of who waits."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import msgspec
import pytest
from live_jobs import (
    PATIENCE_S,
    Training,
    lease_spec,
    output,
    until,
)
from rich.console import Console

from scheduler.core.machine import Machine
from scheduler.core.plan import Why
from scheduler.errors import Infeasible
from scheduler.journal import read, replay
from scheduler.live.pool import JobState, Pool
from scheduler.policies.elastic import Elastic, ElasticParams
from scheduler.sim.costs import Costs
from service import cli, why


def test_a_live_pool_can_run_the_elastic_policy(root: Path, tmp_path: Path) -> None:
    with pytest.raises(Infeasible, match="policy 'elastik' is none of elastic, tiered"):
        Pool(root, ["cpu:0"], tmp_path / "state", policy="elastik")
    train = Training(tmp_path, "train")
    policy = Elastic(ElasticParams(min_run_s=0, look_s=1))
    with Pool(root, ["cpu:0"], tmp_path / "state", policy=policy) as pool:
        job = pool.submit(train.spec())
        until(lambda: train.at_work(pool))
        with pool.lease(lease_spec("premium"), PATIENCE_S):
            assert pool.job(job).state == JobState.PREEMPTED
        train.let_finish()
        done = pool.wait(job, PATIENCE_S)
        assert (done.state, done.preemptions) == (JobState.SUCCEEDED, 1)
        assert output(done) == train.expected()
    (path,) = (tmp_path / "state/journal").iterdir()
    replay(read(path).steps, Machine(), Elastic(policy.params))
    costs = Costs.read(tmp_path / "state/costs.json")  # what halting and going on took here
    assert 0 < costs.checkpoint_us < PATIENCE_S * 1e6 and costs.start_us == 0
    assert 0 < costs.restore_us < PATIENCE_S * 1e6


@pytest.mark.parametrize("policy", ["tiered", "elastic"])
def test_who_waits_and_who_was_halted_is_told_why(root: Path, tmp_path: Path, policy: str) -> None:
    with (
        Pool(root, ["cpu:0"], tmp_path / "state", policy=policy) as pool,
        pool.lease(lease_spec("standard"), PATIENCE_S) as held,
    ):
        job = pool.submit(lease_spec("standard"))
        (blocker,) = pool.job(job).blockers
        if policy == "tiered":
            assert (blocker.why, blocker.slices, blocker.jobs) == ("held", 1, (held.id,))
        else:
            assert (blocker.why, blocker.ppm) == ("unadmitted", (1_000_000,) * 3)
        told = " ".join(why.words(msgspec.to_builtins(pool.job(job))))
        assert ("held by job 1" if policy == "tiered" else "1 of 1 slices") in told
        pool.cancel(job)


def test_every_reason_has_words() -> None:
    assert {str(reason) for reason in Why} == set(why.WORDS)


def test_who_holds_a_named_device_moves_over_and_is_not_halted(root: Path, tmp_path: Path) -> None:
    train, policy = Training(tmp_path, "train"), Elastic(ElasticParams(min_run_s=0, look_s=1))
    with Pool(root, ["cpu:0", "cpu:1"], tmp_path / "state", policy=policy) as pool:
        job = pool.submit(train.spec())
        until(lambda: train.at_work(pool))
        assert pool.job(job).device == "cpu:0"
        with pool.lease(lease_spec("premium", "cpu", "cpu:0"), PATIENCE_S) as lease:
            assert lease.device == "cpu:0"
            moved = pool.job(job)
            assert (moved.device, moved.preemptions, moved.resizes) == ("cpu:1", 0, 1)
            second = pool.submit(lease_spec("premium", "cpu", "cpu:0"))
            (blocker,) = pool.job(second).blockers  # though the pool could promise it another
            assert (blocker.why, blocker.ppm) == ("unadmitted", (1_000_000,) * 3)
            pool.cancel(second)
        train.let_finish()
        done = pool.wait(job, PATIENCE_S)
        assert (done.state, output(done)) == (JobState.SUCCEEDED, train.expected())


def test_of_a_gang_is_told_where_its_ranks_are_and_where_they_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gang = {
        **{"id": 3, "name": "train", "tenant": "ann", "tier": "basic", "state": "resizing"},
        **{"ranks": 4, "slices": ["a:0/0", "a:1/0"], "target": ["a:1/0"], "halted_for": 7},
        **{"blockers": [], "reason": "", "gave_way": False},
    }
    assert list(why.words(gang)) == [
        "job 3 (train, basic) is resizing on a:0/0, a:1/0",
        "  its 4 ranks are on 2 slices, where they take turns",
        "  they are going to a:1/0",
        "  it was shrunk for job 7",
    ]
    waiting = gang | {"state": "queued", "slices": [], "target": [], "gave_way": True}
    assert list(why.words(waiting))[1:] == [
        "  it gave way to job 7, whose device was due before it was halted"
    ]
    shown = StringIO()
    monkeypatch.setattr(cli, "console", Console(file=shown, width=150))
    cli._show_jobs([gang])
    assert "a:0/0 a:1/0 -> a:1/0" in shown.getvalue()
