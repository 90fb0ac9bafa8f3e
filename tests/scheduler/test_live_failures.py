"""What dies or fails in the live pool: workers, servers, programs, the scheduler itself."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import cast

import msgspec
import pytest
from live_jobs import (
    PATIENCE_S,
    RESUMABLE,
    STEPS,
    Training,
    begun_at,
    check_journal,
    lease_spec,
    output,
    resumable_worker,
    until,
)
from test_live_gangs import QUICK

from hal.errors import DeviceLost
from proxy.client import connect
from proxy.errors import ControlTimeout, ServerGone
from proxy.info import running_servers
from scheduler.core.commands import Start
from scheduler.core.machine import Machine
from scheduler.core.plan import Place, Plan
from scheduler.core.transitions import Params
from scheduler.core.values import Slice
from scheduler.core.view import View
from scheduler.errors import PoolClosed
from scheduler.journal import read, replay
from scheduler.live.gang import Run
from scheduler.live.operations import Operations
from scheduler.live.pool import JobSpec, JobState, Pool
from scheduler.policies.elastic import Elastic
from service import why


def test_killing_a_worker_leaves_the_others_undisturbed(root: Path, tmp_path: Path) -> None:
    with Pool(root, ["cpu:0"], tmp_path / "state", slices={"cpu": 2}) as pool:
        victim, other = Training(tmp_path, "victim"), Training(tmp_path, "other")
        jobs = [pool.submit(victim.spec()), pool.submit(other.spec())]
        until(lambda: victim.at_work(pool) and other.at_work(pool))
        server = pool.server_pid("cpu:0")
        pid = pool.worker_pid(jobs[0])
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        failed = pool.wait(jobs[0], PATIENCE_S)
        assert failed.state == JobState.FAILED and "code -9" in failed.reason
        other.let_finish()
        done = pool.wait(jobs[1], PATIENCE_S)
        assert (done.state, done.epoch) == (JobState.SUCCEEDED, 1)
        assert output(done) == other.expected()
        assert pool.server_pid("cpu:0") == server
        until(lambda: pool.devices()[0].jobs == ())


def test_a_failed_worker_is_reported_with_its_last_words(pool: Pool) -> None:
    program = "import sys; print('all went\\nwrong here'); sys.exit(3)"
    job = pool.submit(JobSpec("bad", "ann", "basic", "cpu", argv=[sys.executable, "-c", program]))
    done = pool.wait(job, PATIENCE_S)
    assert done.state == JobState.FAILED
    assert "code 3" in done.reason and "wrong here" in done.reason


def test_a_program_that_does_not_exist_fails_at_once(pool: Pool) -> None:
    job = pool.submit(JobSpec("bad", "ann", "basic", "cpu", argv=["/no/such/program"]))
    done = pool.wait(job, PATIENCE_S)
    assert done.state == JobState.FAILED and "/no/such/program" in done.reason


def test_a_device_where_starts_fail_again_and_again_is_avoided_until_one_succeeds(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn = Operations._spawn

    def fails_there(self: Operations, run: Run, start: Start) -> None:
        if run.ranks[0].device == "cpu:0":
            raise ControlTimeout("as told by the test")
        spawn(self, run, start)

    monkeypatch.setattr(Operations, "_spawn", fails_there)
    first, second = Training(tmp_path, "first"), Training(tmp_path, "second")
    quick, state = Params(backoff_us=1000), tmp_path / "state"
    policy = Elastic(QUICK)
    with Pool(root, ["cpu:0", "cpu:1"], state, policy=policy, params=quick) as pool:
        job = pool.submit(first.spec())
        until(lambda: first.at_work(pool))
        assert (pool.job(job).device, pool.job(job).epoch) == ("cpu:1", 3)
        waits = pool.submit(second.spec())
        assert [str(blocker.why) for blocker in pool.job(waits).blockers] == ["avoided", "held"]
        told = " ".join(why.words(msgspec.to_builtins(pool.job(waits))))
        assert "1 slice free, of devices that are avoided" in told
        monkeypatch.undo()
        with pool.lease(lease_spec("basic", "cpu", "cpu:0"), PATIENCE_S):
            pass  # who names it has it, and it is well
        until(lambda: second.at_work(pool) and pool.job(waits).device == "cpu:0")
        first.let_finish()
        second.let_finish()
        for number, train in ((job, first), (waits, second)):
            done = pool.wait(number, PATIENCE_S)
            assert (done.state, output(done)) == (JobState.SUCCEEDED, train.expected())
    (path,) = (state / "journal").iterdir()
    replay(read(path).steps, Machine(quick), Elastic(QUICK))


def test_a_killed_worker_that_was_suspended_is_noticed(root: Path, tmp_path: Path) -> None:
    with Pool(root, ["cpu:0"], tmp_path / "state") as pool:
        train = Training(tmp_path, "train")
        job = pool.submit(train.spec())
        until(lambda: train.at_work(pool))
        pid = pool.worker_pid(job)
        assert pid is not None
        with pool.lease(lease_spec("premium"), PATIENCE_S):
            assert pool.job(job).state == JobState.PREEMPTED
            os.kill(pid, signal.SIGKILL)
            done = pool.wait(job, PATIENCE_S)
        assert done.state == JobState.FAILED and "code -9" in done.reason


def test_a_job_starts_again_when_its_server_dies(root: Path, tmp_path: Path) -> None:
    with Pool(root, ["cpu:0", "cpu:1"], tmp_path / "state") as pool:
        train = Training(tmp_path, "train")
        job = pool.submit(train.spec())
        until(lambda: train.at_work(pool))
        old = pool.server_pid("cpu:0")
        os.kill(old, signal.SIGKILL)
        train.let_finish()
        done = pool.wait(job, PATIENCE_S)
        assert (done.state, done.restarts) == (JobState.SUCCEEDED, 1), done
        assert output(done)[-1:] == train.expected()
        until(lambda: all(device.up for device in pool.devices()))
        assert pool.server_pid("cpu:0") != old
    check_journal(tmp_path / "state")


def test_a_resumable_job_goes_back_to_its_checkpoint_when_its_server_dies(
    root: Path, tmp_path: Path
) -> None:
    train = Training(tmp_path, "train")
    argv = [sys.executable, str(RESUMABLE), str(STEPS), str(train.progress), str(train.gate)]
    spec = JobSpec("train", "ann", "basic", "cpu", argv=argv, recovery="checkpoint")
    with Pool(root, ["cpu:0", "cpu:1"], tmp_path / "state") as pool:
        job = pool.submit(spec)
        until(lambda: train.at_work(pool))
        with pool.lease(lease_spec("premium", "cpu", "cpu:0"), PATIENCE_S):
            moved = pool.wait(job, PATIENCE_S, (JobState.RUNNING,))
            assert moved.device == "cpu:1" and moved.checkpoint
            os.kill(pool.server_pid("cpu:1"), signal.SIGKILL)
            until(lambda: pool.job(job).restarts == 1)
        train.let_finish()
        done = pool.wait(job, PATIENCE_S)
        assert (done.state, done.restarts) == (JobState.SUCCEEDED, 1), done
        words = output(done)
        begun = begun_at(words)
        assert begun[0] == 0 < begun[1], words
        assert words[-1] == resumable_worker.expected(STEPS)


def test_a_lease_fails_with_its_server_and_says_so(pool: Pool, root: Path) -> None:
    with (
        pytest.raises(DeviceLost),
        pool.lease(lease_spec("basic")) as lease,
        connect(lease.device, root, lease.session) as device,
    ):
        context = device.open_context()
        os.kill(pool.server_pid(lease.device), signal.SIGKILL)
        pool.wait(lease.id, PATIENCE_S)
        context.finish()
    (status,) = pool.jobs()
    assert status.state == JobState.FAILED and "was lost" in status.reason


def test_a_program_that_no_system_starts_harms_nobody_else(pool: Pool) -> None:
    spec = JobSpec("odd", "ann", "basic", "cpu", argv=["x"])
    object.__setattr__(spec, "argv", ("a\0b",))  # as if its own check had overlooked it
    done = pool.wait(pool.submit(spec), PATIENCE_S)
    assert done.state == JobState.FAILED and "cannot be started" in done.reason
    good = pool.submit(JobSpec("good", "ann", "basic", "cpu", argv=[sys.executable, "-c", ""]))
    assert pool.wait(good, PATIENCE_S).state == JobState.SUCCEEDED


def test_a_pool_comes_up_whole_or_not_at_all(root: Path, tmp_path: Path) -> None:
    pool = Pool(root, ["cpu:0", "cpu:99"], tmp_path / "state")
    with pytest.raises(ServerGone, match="cpu:99"):
        pool.start()
    assert running_servers(root) == []
    with pytest.raises(PoolClosed):
        pool.submit(lease_spec("basic"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_policy_whose_first_plan_is_none_leaves_no_servers(root: Path, tmp_path: Path) -> None:
    class Nothing:
        def plan(self, view: View) -> Plan:
            return cast(Plan, None)

    pool = Pool(root, ["cpu:0"], tmp_path / "state", policy=Nothing())
    with pytest.raises(PoolClosed, match="AttributeError"):
        pool.start()
    assert running_servers(root) == []
    with Pool(root, ["cpu:0"], tmp_path / "state") as another:
        assert another.devices()[0].up


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_the_scheduler_stops_it_and_is_told(root: Path, tmp_path: Path) -> None:
    class Wrong:
        """A policy that gives the same slice to everybody."""

        def plan(self, view: View) -> Plan:
            return Plan(tuple(Place(job.id, (Slice("cpu:0", 0),)) for job in view.waiting))

    with Pool(root, ["cpu:0"], tmp_path / "state", policy=Wrong()) as pool:
        pool.submit(lease_spec("basic"))
        with pytest.raises(PoolClosed, match="InvalidPlan"):
            pool.submit(lease_spec("basic"))
