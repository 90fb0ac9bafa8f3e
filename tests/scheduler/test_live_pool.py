"""The live pool: real proxy servers, real workers, real preemptions."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from hal.context import Buffer, Device
from hal.errors import DeviceLost
from hal.registry import list_devices, self_tests
from hal.types import Arg, ScalarArg, SelfTest
from proxy.client import connect
from proxy.control import Control
from proxy.errors import ServerGone
from proxy.info import running_servers
from scheduler.core.machine import Machine
from scheduler.core.plan import Place, Plan, Why
from scheduler.core.values import Slice
from scheduler.core.view import View
from scheduler.errors import Infeasible, NotALease, PoolClosed, UnknownJob, WaitExpired
from scheduler.journal import read, replay
from scheduler.live.pool import JobSpec, JobState, JobStatus, Pool
from scheduler.policies.elastic import Elastic, ElasticParams
from scheduler.policies.tiered import Tiered
from scheduler.sim.costs import Costs
from service import why

WORKER = Path(__file__).with_name("train_worker.py")
RESUMABLE = Path(__file__).with_name("resumable_worker.py")
STEPS = 400
PATIENCE_S = 60.0


def load(path: Path) -> ModuleType:
    """The program as a module: what it should compute is written beside it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


train_worker, resumable_worker = load(WORKER), load(RESUMABLE)


@pytest.fixture
def root() -> Iterator[Path]:
    """A proxy root of its own, in shared memory as in production."""
    folder = Path(tempfile.mkdtemp(prefix="haltere-test-", dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def pool(root: Path, tmp_path: Path) -> Iterator[Pool]:
    with Pool(root, ["cpu:0", "cpu:1"], tmp_path / "state") as made:
        yield made


class Training:
    """A worker job and the files by which the test meets it."""

    def __init__(self, folder: Path, name: str, steps: int = STEPS, contexts: int = 1) -> None:
        self.name, self.steps, self.contexts = name, steps, contexts
        self.progress = folder / f"{name}.progress"
        self.gate = folder / f"{name}.gate"

    def spec(self, tier: str = "basic", kind: str = "cpu", **more: object) -> JobSpec:
        words = (self.steps, self.progress, self.gate, self.contexts)
        argv = [sys.executable, str(WORKER), *map(str, words)]
        return JobSpec(self.name, "ann", tier, kind, argv=argv, **more)  # type: ignore[arg-type]

    def at_work(self, pool: Pool) -> bool:
        failed = [(job.name, job.reason) for job in pool.jobs() if job.reason]
        assert not failed, failed
        return self.progress.exists() and self.progress.read_text() not in ("", "0")

    def let_finish(self) -> None:
        self.gate.touch()

    def expected(self) -> list[str]:
        return [train_worker.expected(self.steps, seed) for seed in range(self.contexts)]


def until(done: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    give_up = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.005)


def output(status: JobStatus) -> list[str]:
    return Path(status.log).read_text().split()


def lease_spec(tier: str, kind: str = "cpu", *devices: str) -> JobSpec:
    return JobSpec("lease", "bob", tier, kind, devices=devices)


def check_journal(state_dir: Path) -> None:
    """What the live pool decided, its journal decides again."""
    (path,) = (state_dir / "journal").iterdir()
    contents = read(path)
    assert contents.torn is None
    replay(contents.steps, Machine(), Tiered())


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
        begun = [int(number) for word, number in pairwise(words) if word == "from"]
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


def test_a_program_that_no_system_starts_harms_nobody_else(pool: Pool) -> None:
    spec = JobSpec("odd", "ann", "basic", "cpu", argv=["x"])
    object.__setattr__(spec, "argv", ("a\0b",))  # as if its own check had overlooked it
    done = pool.wait(pool.submit(spec), PATIENCE_S)
    assert done.state == JobState.FAILED and "cannot be started" in done.reason
    good = pool.submit(JobSpec("good", "ann", "basic", "cpu", argv=[sys.executable, "-c", ""]))
    assert pool.wait(good, PATIENCE_S).state == JobState.SUCCEEDED


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
        (JobSpec("gang", "ann", "basic", "cpu", argv=["x"], count=2), "one slice"),
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


def test_a_pool_comes_up_whole_or_not_at_all(root: Path, tmp_path: Path) -> None:
    pool = Pool(root, ["cpu:0", "cpu:99"], tmp_path / "state")
    with pytest.raises(ServerGone, match="cpu:99"):
        pool.start()
    assert running_servers(root) == []
    with pytest.raises(PoolClosed):
        pool.submit(lease_spec("basic"))


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


class Repeated:
    """A known-answer program of a device, enqueued many times over in one context."""

    def __init__(self, device: Device, test: SelfTest, times: int) -> None:
        assert test.overlay is not None
        device.configure(test.overlay)
        self.context, self.test = device.open_context(), test
        args: list[Arg] = []
        self.outs: list[Buffer] = []
        for kind, value in test.args:
            if isinstance(value, bytes) and kind == "scalar":
                args.append(ScalarArg(value))
                continue
            buffer = self.context.alloc(value if isinstance(value, int) else len(value))
            if isinstance(value, bytes):
                self.context.write(buffer, value)
            else:
                self.outs.append(buffer)
            args.append(buffer.arg())
        program = self.context.load(test.image)
        for _ in range(times):
            self.context.launch(program, test.entry, args, test.grid)
        self.context.signal()

    def is_right(self) -> bool:
        return tuple(self.context.read(out) for out in self.outs) == self.test.expected


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


def test_a_live_pool_can_run_the_elastic_policy(root: Path, tmp_path: Path) -> None:
    with pytest.raises(Infeasible, match="policy 'elastik' is none of elastic, tiered"):
        Pool(root, ["cpu:0"], tmp_path / "state", policy="elastik")
    train = Training(tmp_path, "train")
    policy = Elastic(ElasticParams(min_run_s=0, look_s=1, reserve_share=0))
    with Pool(root, ["cpu:0"], tmp_path / "state", policy=policy) as pool:
        with pytest.raises(Infeasible, match="a worker per rank"):
            pool.submit(train.spec(most=2))
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
