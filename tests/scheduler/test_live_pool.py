"""The live pool: real proxy servers, real workers, real preemptions."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest
from live_jobs import (
    PATIENCE_S,
    Training,
    check_journal,
    lease_spec,
    output,
    train_worker,
    until,
)
from repeated import Repeated

from hal.registry import list_devices, self_tests
from proxy.client import connect
from proxy.control import Control
from scheduler.errors import Infeasible, NotALease, PoolClosed, UnknownJob, WaitExpired
from scheduler.live.gang import job_of
from scheduler.live.pool import JobSpec, JobState, Pool
from service.demo.timeline import draw


@pytest.mark.parametrize("contexts", [1, 2])
def test_a_halted_worker_goes_on_elsewhere_with_right_results(
    root: Path, tmp_path: Path, contexts: int
) -> None:
    train = Training(tmp_path, "train", contexts=contexts)
    with Pool(root, ["cpu:0", "cpu:1"], tmp_path / "state") as pool:
        job = pool.submit(train.spec())
        until(lambda: train.at_work(pool))
        assert pool.job(job).device == "cpu:0"
        with pool.lease(lease_spec("premium", "cpu", "cpu:0"), PATIENCE_S) as lease:
            assert lease.device == "cpu:0"
            moved = pool.wait(job, PATIENCE_S, (JobState.RUNNING,))
            assert (moved.device, moved.epoch, moved.preemptions) == ("cpu:1", 2, 1)
            train.let_finish()
            done = pool.wait(job, PATIENCE_S)
        assert done.state == JobState.SUCCEEDED, done
        assert output(done) == train.expected()
        until(lambda: not list((tmp_path / "state/store/records").iterdir()))  # needed no more
        kinds = [(span.device, span.kind) for span in pool.timeline() if span.job == job]
        assert kinds == [
            ("cpu:0", "run"),
            ("cpu:0", "checkpoint"),
            ("cpu:1", "restore"),
            ("cpu:1", "run"),
        ]
        until(lambda: all(status.jobs == () for status in pool.devices()))
    check_journal(tmp_path / "state")


def test_when_an_fpga_was_reconfigured_and_for_whom_is_on_the_timeline(
    root: Path, tmp_path: Path
) -> None:
    """Two ranks with an overlay each take turns on one device."""
    if "fpga-sim:0" not in {info.uri for info in list_devices()}:
        pytest.skip("needs a simulated FPGA")
    gate = tmp_path / "gate"
    argv = [sys.executable, str(Path(__file__).with_name("repeated.py")), "1", str(gate)]
    with Pool(root, ["fpga-sim:0", "cpu:0"], tmp_path / "state", policy="elastic") as pool:
        gang = JobSpec("gang", "ann", "basic", "fpga-sim", argv=argv, count=1, most=2)
        job = pool.submit(gang)
        gate.touch()
        done = pool.wait(job, PATIENCE_S)
        assert done.state == JobState.SUCCEEDED, done
        spans = pool.timeline()
    (run,) = (span for span in spans if span.kind == "run")
    loaded = [span for span in spans if span.kind == "reconfigure"]
    assert len(loaded) >= 2
    for span in loaded:
        assert (span.device, span.job, span.tenant) == ("fpga-sim:0", job, "ann")
        assert 0 < span.start_s < span.end_s < run.end_s
    draw(spans, tmp_path / "timeline")
    assert job_of("p1", "p1-j12-e3-r2.c1") == 12 and job_of("p1", "p12-j12-e3") == 0


def test_an_opencl_worker_is_moved_too(root: Path, tmp_path: Path) -> None:
    found = {info.uri: info.part for info in list_devices() if info.kind == "opencl"}
    if len(found) < 2 or len(set(list(found.values())[:2])) > 1:
        pytest.skip("needs two OpenCL devices of one part")
    train = Training(tmp_path, "train", steps=2000)
    here, there = list(found)[:2]
    with Pool(root, [here, there], tmp_path / "state") as pool:
        job = pool.submit(train.spec(kind="opencl"))
        until(lambda: train.at_work(pool))
        with pool.lease(lease_spec("premium", "opencl", here), PATIENCE_S):
            moved = pool.wait(job, PATIENCE_S, (JobState.RUNNING,))
            assert moved.device == there
            train.let_finish()
            done = pool.wait(job, PATIENCE_S)
        assert (done.state, done.preemptions) == (JobState.SUCCEEDED, 1)
        assert output(done) == train.expected()


def test_a_lease_is_halted_in_its_holders_hands(root: Path, tmp_path: Path) -> None:
    """The holder is a thread of this very process; it sees nothing but the right result."""
    with Pool(root, ["cpu:0"], tmp_path / "state") as pool:
        results: list[str] = []
        halfway, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            with (
                pool.lease(lease_spec("basic")) as lease,
                connect(lease.device, root, lease.session) as device,
            ):
                training = train_worker.Training(device.open_context())
                for k in range(100):
                    training.step(k)
                    if k == 50:
                        halfway.set()
                        go_on.wait(PATIENCE_S)
                results.append(training.digest())

        holder = threading.Thread(target=hold)
        holder.start()
        assert halfway.wait(PATIENCE_S)
        with pool.lease(lease_spec("premium"), PATIENCE_S):
            (low, _) = pool.jobs()
            assert (low.state, low.device) == (JobState.PREEMPTED, "")
            go_on.set()  # it enqueues into the ring of a halted session
        holder.join(PATIENCE_S)
        assert results == [train_worker.expected(100)]
        assert [job.state for job in pool.jobs()] == [JobState.SUCCEEDED] * 2


def test_cancelling_ends_the_worker_and_frees_the_device(root: Path, tmp_path: Path) -> None:
    with Pool(root, ["cpu:0"], tmp_path / "state") as pool:
        train, after = Training(tmp_path, "train"), Training(tmp_path, "after", steps=40)
        after.let_finish()
        job = pool.submit(train.spec())
        waiting = pool.submit(after.spec())
        until(lambda: train.at_work(pool))
        assert "held" in pool.job(waiting).waiting
        pid = pool.worker_pid(job)
        assert pid is not None
        pool.cancel(job)
        assert pool.job(job).state == JobState.CANCELLED
        assert pool.wait(waiting, PATIENCE_S).state == JobState.SUCCEEDED
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_job_that_went_to_other_devices_leaves_no_session_there(pool: Pool, root: Path) -> None:
    devices = ("cpu:0", "cpu:1")
    opened = []
    with pool.lease(lease_spec("basic")) as lease:
        for uri in devices:
            device = connect(uri, root, lease.session)
            opened.append(device)
            device.open_context().finish()
            device.open_context().finish()
        assert all(len(Control(root, uri).status().sessions) == 2 for uri in devices)
    assert pool.job(lease.id).state == JobState.SUCCEEDED
    until(lambda: not any(Control(root, uri).status().sessions for uri in devices))
    for device in opened:
        device.close()


def test_who_cannot_be_halted_yet_is_tried_again(pool: Pool, root: Path) -> None:
    """A lease whose holder never connected has no session to suspend: it keeps its device."""
    holder = pool.submit(lease_spec("basic", "cpu", "cpu:0"))
    pool.wait(holder, PATIENCE_S, (JobState.RUNNING,))
    urgent = pool.submit(lease_spec("premium", "cpu", "cpu:0"))
    until(lambda: "protected" in pool.job(urgent).waiting)
    assert pool.job(holder).state == JobState.RUNNING
    with connect("cpu:0", root, pool.job(holder).session) as device, device.open_context():
        pool.wait(urgent, PATIENCE_S, (JobState.RUNNING,))
        assert pool.job(holder).state == JobState.PREEMPTED
    pool.finish(urgent)
    pool.finish(holder)


def test_what_this_pool_can_never_run_is_refused(pool: Pool) -> None:
    for spec, words in (
        (lease_spec("basic", "abacus"), "this pool has cpu"),
        (lease_spec("basic", "cpu", "cpu:7"), "cpu:7"),
        (JobSpec("gang", "ann", "basic", "cpu", argv=["x"], count=3), "needs 3 at once"),
    ):
        with pytest.raises(Infeasible, match=words):
            pool.submit(spec)
    with pytest.raises(UnknownJob):
        pool.job(77)
    assert pool.jobs() == ()


def test_misuse_is_refused_by_name(pool: Pool, root: Path, tmp_path: Path) -> None:
    first = pool.submit(lease_spec("basic", "cpu", "cpu:0"))
    second = pool.submit(lease_spec("basic", "cpu", "cpu:0"))
    with pytest.raises(WaitExpired, match="held x1 by 1"):
        pool.wait(second, 0.01, (JobState.RUNNING,))
    worker = pool.submit(JobSpec("w", "ann", "basic", "cpu", argv=[sys.executable, "-c", ""]))
    assert pool.wait(worker, PATIENCE_S).state == JobState.SUCCEEDED
    with pytest.raises(NotALease):
        pool.finish(worker)
    with pytest.raises(NotALease):
        pool.finish(second)
    pool.finish(first)
    pool.close()
    with pytest.raises(PoolClosed):
        pool.submit(lease_spec("basic"))
    assert pool.job(first).state == JobState.SUCCEEDED  # what was is still known


def test_an_overlay_is_halted_for_another_and_goes_on_on_the_other_fpga(
    root: Path, tmp_path: Path
) -> None:
    fpgas = [info.uri for info in list_devices() if info.kind == "fpga-sim"]
    tests = self_tests(fpgas[0]) if len(fpgas) > 1 else ()
    overlays = {test.overlay.digest: test for test in tests if test.overlay}
    if len(overlays) < 2:
        pytest.skip("needs two FPGAs and two overlays")
    first, second = list(overlays.values())[:2]
    with (
        Pool(root, fpgas[:2], tmp_path / "state") as pool,
        pool.lease(lease_spec("basic", "fpga-sim")) as low,
        connect(low.device, root, low.session) as device,
    ):
        halted = Repeated(device, first, times=40)
        with (
            pool.lease(lease_spec("premium", "fpga-sim", low.device), PATIENCE_S) as high,
            connect(high.device, root, high.session) as other,
        ):
            assert Repeated(other, second, times=1).is_right()
            moved = pool.wait(low.id, PATIENCE_S, (JobState.RUNNING,))
            assert (moved.preemptions, high.device) == (1, low.device) != (1, moved.device)
            assert halted.is_right()
