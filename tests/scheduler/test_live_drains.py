"""Devices of the live pool that are to be removed: what runs there moves, and loses nothing."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from live_jobs import PATIENCE_S, Training, check_journal, lease_spec, output, until
from test_gang_recovery import begin_and_kill, crash_pool
from test_live_gangs import DEVICES, QUICK, Gang, settled

from hal.registry import list_devices
from proxy.control import Control
from proxy.errors import ControlTimeout
from proxy.info import running_servers
from scheduler.errors import CannotDrain, UnknownDevice
from scheduler.live import sessions
from scheduler.live.pool import JobSpec, JobState, Pool
from scheduler.policies.elastic import Elastic


def state_of(pool: Pool, device: str) -> str:
    (found,) = (each for each in pool.devices() if each.uri == device)
    return found.state


def servers(root: Path) -> list[str]:
    return sorted(paths.name for paths, _ in running_servers(root))


def test_a_job_moves_off_a_device_that_is_drained_and_its_server_stops(
    root: Path, tmp_path: Path
) -> None:
    train = Training(tmp_path, "train")
    with Pool(root, DEVICES, tmp_path / "state", policy=Elastic(QUICK)) as pool:
        job = pool.submit(train.spec())
        until(lambda: train.at_work(pool))
        old = pool.server_pid("cpu:0")
        assert pool.job(job).device == "cpu:0"
        assert pool.drain("cpu:0").state in ("draining", "removed")
        until(lambda: state_of(pool, "cpu:0") == "removed")
        moved = pool.job(job)  # while it ran: it was neither halted nor started again
        assert (moved.device, moved.resizes, moved.preemptions, moved.epoch) == ("cpu:1", 1, 0, 1)
        assert servers(root) == ["cpu:1"]
        waits = pool.submit(lease_spec("basic", "cpu", "cpu:0"))
        assert [str(blocker.why) for blocker in pool.job(waits).blockers] == ["no_device"]
        assert pool.cancel_drain("cpu:0").leaves_s is None
        held = pool.wait(waits, PATIENCE_S, (JobState.RUNNING,))
        assert held.device == "cpu:0" and state_of(pool, "cpu:0") == "up"
        assert pool.server_pid("cpu:0") != old
        pool.finish(waits)
        train.let_finish()
        done = pool.wait(job, PATIENCE_S)
        assert (done.state, output(done)) == (JobState.SUCCEEDED, train.expected())
    check_journal(tmp_path / "state", Elastic(QUICK))


@pytest.mark.parametrize(("kind", "how"), [("cpu", "hal"), ("opencl", "opencl")])
def test_who_opens_its_device_anew_after_it_was_moved_comes_to_where_its_job_is(
    root: Path, tmp_path: Path, kind: str, how: str
) -> None:
    """The server that it was told of when it began is no more. In the same process, and in one that
    the job starts."""
    devices = [f"{kind}:0", f"{kind}:1"]
    if not {*devices} <= {info.uri for info in list_devices()}:
        pytest.skip(f"needs two devices of kind {kind}")
    program = str(Path(__file__).with_name("reopening_worker.py"))
    argv = [sys.executable, program, str(tmp_path), how]
    spec = JobSpec("anew", "ann", "basic", kind, argv=argv)
    with Pool(root, devices, tmp_path / "state", policy=Elastic(QUICK)) as pool:
        job = pool.submit(spec)
        until(lambda: (tmp_path / "first.at-work").exists())
        pool.drain(devices[0])
        until(lambda: state_of(pool, devices[0]) == "removed")
        for name in ("first", "again", "second"):
            (tmp_path / name).touch()
        done = pool.wait(job, PATIENCE_S)
        assert (done.state, done.reason) == (JobState.SUCCEEDED, ""), done
        assert output(done) == ["first", "42", "again", "42", "second", "42"]
        assert (done.resizes, done.restarts) == (1, 0)
        until(lambda: not list((root / "whereabouts").iterdir()))


def test_a_gang_shrinks_to_what_stays_and_grows_when_the_drain_is_cancelled(
    root: Path, tmp_path: Path
) -> None:
    """There is nowhere to go, and less than the lead left: so it shrinks at once."""
    gang = Gang(tmp_path)
    with Pool(root, DEVICES, tmp_path / "state", policy=Elastic(QUICK)) as pool:
        job = gang.begin(pool)
        pool.drain("cpu:1", 60)
        until(settled(pool, job, 1))
        until(lambda: state_of(pool, "cpu:1") == "removed")
        assert servers(root) == ["cpu:0"]
        gang.goes_on()
        pool.cancel_drain("cpu:1")
        until(settled(pool, job, 2))
        gang.check_result(pool, job)
        assert pool.job(job).restarts == 0 and pool.job(job).epoch == 1


def test_who_has_nowhere_to_go_stays_until_the_drain_is_cancelled_or_late(
    root: Path, tmp_path: Path
) -> None:
    train = Training(tmp_path, "train")
    with Pool(root, ["cpu:0"], tmp_path / "state", policy=Elastic(QUICK)) as pool:
        job = pool.submit(train.spec())
        until(lambda: train.at_work(pool))
        pool.drain("cpu:0", 3600)
        assert pool.job(job).state == JobState.RUNNING and state_of(pool, "cpu:0") == "draining"
        pool.cancel_drain("cpu:0")
        pool.drain("cpu:0", 100)  # less than the lead
        halted = pool.wait(job, PATIENCE_S, (JobState.PREEMPTED,))
        assert halted.checkpoint and halted.restarts == 0
        until(lambda: state_of(pool, "cpu:0") == "removed")
        pool.cancel_drain("cpu:0")
        train.let_finish()
        done = pool.wait(job, PATIENCE_S)
        assert (done.state, done.restarts) == (JobState.SUCCEEDED, 0), done
        assert output(done) == train.expected()


def test_who_cannot_be_moved_or_halted_is_lost_at_the_deadline_and_begins_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moves fail and so do halts, again and again; the deadline comes nevertheless."""

    def fails(*given: object, **named: object) -> str:
        raise ControlTimeout("as told by the test")

    train = Training(tmp_path, "train")
    with Pool(root, DEVICES, tmp_path / "state", policy=Elastic(QUICK)) as pool:
        job = pool.submit(train.spec())
        until(lambda: train.at_work(pool))
        monkeypatch.setattr(sessions, "move", fails)
        monkeypatch.setattr(Control, "suspend", fails)
        pool.drain("cpu:0", 1.5)
        until(lambda: pool.job(job).restarts == 1)
        assert state_of(pool, "cpu:0") == "removed"
        monkeypatch.undo()
        train.let_finish()
        done = pool.wait(job, PATIENCE_S)
        assert (done.state, output(done)[-1:]) == (JobState.SUCCEEDED, train.expected())
    (path,) = (tmp_path / "state/journal").iterdir()
    assert "ResizeFailed" in path.read_text()


def test_a_server_that_is_killed_while_it_is_drained_is_not_started_again(
    root: Path, tmp_path: Path
) -> None:
    train = Training(tmp_path, "train")
    with Pool(root, ["cpu:0"], tmp_path / "state", policy=Elastic(QUICK)) as pool:
        job = pool.submit(train.spec())
        until(lambda: train.at_work(pool))
        pool.drain("cpu:0", 3600)
        os.kill(pool.server_pid("cpu:0"), signal.SIGKILL)
        until(lambda: state_of(pool, "cpu:0") == "removed" and pool.job(job).restarts == 1)
        assert servers(root) == [] and pool.job(job).state == JobState.QUEUED
        train.let_finish()
        pool.cancel_drain("cpu:0")
        assert pool.wait(job, PATIENCE_S).state == JobState.SUCCEEDED


def test_what_cannot_be_drained_is_refused_by_name(root: Path, tmp_path: Path) -> None:
    with Pool(root, DEVICES, tmp_path / "state", policy=Elastic(QUICK)) as pool:
        refused = {
            "no device 'cpu:7'; there are cpu:0, cpu:1": lambda: pool.drain("cpu:7"),
            "no device 'gpu:0'": lambda: pool.cancel_drain("gpu:0"),
            "cpu:0 is not drained": lambda: pool.cancel_drain("cpu:0"),
            "deadline of -1 s": lambda: pool.drain("cpu:0", -1),
            "deadline of nan s": lambda: pool.drain("cpu:0", float("nan")),
        }
        for words, ask in refused.items():
            with pytest.raises((CannotDrain, UnknownDevice), match=words):
                ask()
        pool.wait(pool.submit(lease_spec("basic", "cpu", "cpu:1")), PATIENCE_S, ("running",))
        pool.drain("cpu:1", 3600)
        until(lambda: pool.job(1).device == "cpu:1" or state_of(pool, "cpu:1") == "draining")
        with pytest.raises(CannotDrain, match="cpu:1 is being drained already"):
            pool.drain("cpu:1")
    with (
        Pool(root, ["cpu:0"], tmp_path / "other") as pool,
        pytest.raises(CannotDrain, match="policy, Tiered, moves nobody"),
    ):
        pool.drain("cpu:0")


@pytest.mark.parametrize(
    ("moment", "name"),
    [
        ("inside", "move"),
        ("before", "DeviceLost"),
        pytest.param("after", "DrainRequested", marks=pytest.mark.slow),
        pytest.param("before", "DrainRequested", marks=pytest.mark.slow),
        pytest.param("torn", "JobResized", marks=pytest.mark.slow),
        pytest.param("after", "JobResized", marks=pytest.mark.slow),
        pytest.param("after", "DeviceLost", marks=pytest.mark.slow),
    ],
)
def test_a_drain_goes_on_after_the_pool_was_killed(
    root: Path, tmp_path: Path, moment: str, name: str
) -> None:
    begin_and_kill(root, tmp_path, moment, name, 1, "drain")
    state = tmp_path / "state"
    with Pool(root, DEVICES, state, policy=Elastic(crash_pool.QUICK)) as pool:
        job = crash_pool.play_drain(pool, tmp_path)
        status = pool.job(job)
        assert (status.state, status.restarts) == (JobState.SUCCEEDED, 0), status
        assert (status.resizes, status.preemptions, status.epoch) == (1, 0, 1)
        (digest,) = Training(tmp_path, "low").expected()
        assert Path(status.log).read_text().split() == ["began", digest]
        assert state_of(pool, "cpu:0") == "removed" and servers(root) == ["cpu:1"]
    check_journal(state, Elastic(crash_pool.QUICK))
