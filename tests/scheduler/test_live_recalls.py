"""Devices of the live pool that were promised by a time: who has borrowed them is halted in time,
or gives way without a checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from live_jobs import (
    PATIENCE_S,
    RESUMABLE,
    STEPS,
    Training,
    begun_at,
    check_journal,
    output,
    resumable_worker,
    until,
)

from proxy.client import connect
from proxy.errors import StoreBusy
from proxy.store import Store
from scheduler.core.commands import Checkpoint, Release, Save, Start
from scheduler.core.values import Slice
from scheduler.errors import Infeasible
from scheduler.live.gang import Run
from scheduler.live.inbox import Inbox
from scheduler.live.operations import Operations
from scheduler.live.pool import JobSpec, JobState, Pool
from scheduler.policies.elastic import Elastic
from scheduler.policies.policy import Policy
from scheduler.policies.round import ElasticParams
from scheduler.policies.tiered import Tiered

ENDLESS = """
import os, sys
from pathlib import Path
from hal.registry import open_device
from hal.types import Grid, ProgramImage
context = open_device(os.environ["HALTERE_DEVICE"]).open_context()
source = "def turn(grid, n: buffer):\\n    while True: n[0] += 1"
program = context.load(ProgramImage("numpy", source.encode()))
context.launch(program, "turn", [context.alloc(64).arg()], Grid((1,)))
Path(sys.argv[1]).touch()
context.finish()
"""
RECALL_US = 1_500_000
REPLICA = JobSpec("replica", "svc", "premium", "cpu", recall_us=RECALL_US)
SAVING = ElasticParams(saves=True, save_cost_s=0.02, mtbf_s=2)


def resumable(folder: Path) -> JobSpec:
    words = (STEPS, folder / "progress", folder / "gate")
    argv = [sys.executable, str(RESUMABLE), *map(str, words)]
    return JobSpec("train", "ann", "basic", "cpu", argv=argv, recovery="checkpoint")


@contextmanager
def store_held(pool: Pool) -> Iterator[None]:
    """By somebody who collects garbage, and is at it for long: nothing can be stored."""
    with ExitStack() as held:

        def hold() -> bool:
            try:
                held.enter_context(Store(pool.state_dir / "store").files.lock(exclusive=True))
            except StoreBusy:
                return False
            return True

        until(hold)
        yield


@pytest.mark.parametrize("policy", [Tiered, Elastic])
def test_a_device_that_was_lent_comes_back_and_the_borrower_goes_on_bit_for_bit(
    root: Path, tmp_path: Path, policy: type[Policy]
) -> None:
    train = Training(tmp_path, "train")
    with Pool(root, ["cpu:0"], tmp_path / "state", policy=policy()) as pool:
        job = pool.submit(train.spec())
        until(lambda: train.at_work(pool))
        with pool.lease(REPLICA) as lease:  # elastic leaves who began a moment ago alone, else
            assert (pool.job(job).state, pool.job(job).halted_for) == ("preempted", lease.id)
        train.let_finish()
        done = pool.wait(job, PATIENCE_S)
        assert (done.state, done.preemptions, done.restarts) == (JobState.SUCCEEDED, 1, 0)
        assert output(done) == train.expected()
    check_journal(tmp_path / "state", policy())


def test_a_borrower_whose_checkpoint_hangs_goes_back_to_its_last_save(
    root: Path, tmp_path: Path
) -> None:
    with Pool(root, ["cpu:0"], tmp_path / "state", policy=Elastic(SAVING)) as pool:
        job = pool.submit(resumable(tmp_path))
        until(lambda: bool(pool.job(job).checkpoint))
        with store_held(pool), pool.lease(REPLICA, PATIENCE_S) as lease:
            kept = pool.job(job)
            assert (kept.state, kept.preemptions) == (JobState.PREEMPTED, 0)
            assert kept.gave_way and kept.halted_for == lease.id
            assert kept.restarts == 1 and kept.checkpoint
        (tmp_path / "gate").touch()
        done = pool.wait(job, PATIENCE_S)
        assert (done.state, done.restarts) == (JobState.SUCCEEDED, 1), done
        first, again = begun_at(output(done))
        assert first == 0 < again
        assert output(done)[-1] == resumable_worker.expected(STEPS)
    check_journal(tmp_path / "state", Elastic(SAVING))


def test_a_borrower_without_a_save_begins_anew(root: Path, tmp_path: Path) -> None:
    train = Training(tmp_path, "train")
    with Pool(root, ["cpu:0"], tmp_path / "state") as pool:
        job = pool.submit(train.spec())
        until(lambda: train.at_work(pool))
        with store_held(pool), pool.lease(REPLICA, PATIENCE_S):
            assert (pool.job(job).state, pool.job(job).restarts) == (JobState.QUEUED, 1)
        train.let_finish()
        done = pool.wait(job, PATIENCE_S)
        assert (done.state, done.restarts) == (JobState.SUCCEEDED, 1), done
        assert output(done) == train.expected()
    check_journal(tmp_path / "state")


def test_a_kernel_that_nobody_can_stop_ends_with_its_server_which_is_started_again(
    root: Path, tmp_path: Path
) -> None:
    argv = [sys.executable, "-c", ENDLESS, str(tmp_path / "begun")]
    with Pool(root, ["cpu:0"], tmp_path / "state") as pool:
        server = pool.server_pid("cpu:0")
        job = pool.submit(JobSpec("endless", "ann", "basic", "cpu", argv=argv))
        until((tmp_path / "begun").exists)
        with pool.lease(REPLICA, PATIENCE_S) as lease:
            assert pool.server_pid("cpu:0") != server
            device = connect(lease.device, root=root, session=lease.session)
            with device.open_context() as context:
                assert context.read(context.alloc(4)) == bytes(4)
            assert (pool.job(job).state, pool.job(job).restarts) == (JobState.QUEUED, 1)
            pool.cancel(job)
    check_journal(tmp_path / "state")


def test_a_policy_that_recalls_nothing_says_so(root: Path, tmp_path: Path) -> None:
    with Pool(root, ["cpu:0"], tmp_path / "state", policy="fifo") as pool:
        with pytest.raises(Infeasible, match="elastic or tiered"):
            pool.submit(REPLICA)
        assert pool.jobs() == ()


class Quick:
    """Sessions whose next save is complete at once; a crew and shares that do nothing."""

    found = "newer"

    def __init__(self, root: Path) -> None:
        self.root = root

    def __getattr__(self, name: str) -> object:
        return lambda *given, **more: self.found if name in ("save", "suspend") else None


class Told(Operations):
    """`forgotten`: records that are removed from the store."""

    def __init__(self, root: Path) -> None:
        quick: Any = Quick(root)
        super().__init__(quick, quick, quick, Inbox(), "t", lambda: [], lambda uri: None)
        self.forgotten: list[str] = []

    def _forget(self, run: Run, records: Iterable[str]) -> None:
        self.forgotten += records


@pytest.mark.parametrize("what", ["save", "checkpoint"])
def test_a_checkpoint_that_came_too_late_is_forgotten_and_the_one_before_it_kept(
    what: str, tmp_path: Path
) -> None:
    spec = JobSpec("train", "ann", "basic", "cpu")
    told, run = Told(tmp_path), Run(1, spec, 1, session="t-j1-e1", checkpoint="known")
    run.place([Slice("cpu:0", 0)])
    getattr(told, what)(run, Save(1, 1) if what == "save" else Checkpoint(1, 1))
    told.release(run, Release(1, 1))  # given before that was heard of
    assert told.forgotten == [] and run.checkpoint == "newer"
    told.start(run, Start(1, 2, (Slice("cpu:0", 0),), "known", spec))
    assert (told.forgotten, run.checkpoint) == (["newer"], "known")
    told.release(run, Release(1, 2, final=True))
    assert told.forgotten == ["newer", "known"]
