"""Jobs of the live pool that are saved while they run, and go back to their last save."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from live_jobs import PATIENCE_S, RESUMABLE, STEPS, begun_at, load, output, resumable_worker, until

from hal.registry import list_devices
from proxy.control import Control
from scheduler.core.machine import Machine
from scheduler.errors import Infeasible
from scheduler.journal import read, replay
from scheduler.live.deciding import FIRST_SAVE_S, measured_costs_s
from scheduler.live.pool import JobSpec, JobState, Pool
from scheduler.policies.elastic import Elastic
from scheduler.policies.round import ElasticParams

GANG = Path(__file__).with_name("resumable_gang_worker.py")
GANG_STEPS = 300
DEVICES = ["cpu:0", "cpu:1"]
OFTEN = ElasticParams(
    saves=True, save_cost_s=0.02, mtbf_s=2, min_run_s=0, settle_s=1, look_s=1, spare_share=0
)


class Job:
    """Saved while it waits for its gate, again and again."""

    def __init__(self, folder: Path, program: Path = RESUMABLE, steps: int = STEPS) -> None:
        self.progress, self.gate = folder / "progress", folder / "gate"
        self.argv = [sys.executable, str(program), str(steps), str(self.progress), str(self.gate)]

    def spec(self, **more: object) -> JobSpec:
        given = {"recovery": "checkpoint", **more}
        return JobSpec("train", "ann", "basic", "cpu", argv=self.argv, **given)  # type: ignore[arg-type]

    def begin(self, pool: Pool, **more: object) -> int:
        job = pool.submit(self.spec(**more))
        until(lambda: self.progress.exists() and self.progress.read_text() not in ("", "0"))
        return job


def saved(pool: Pool, job: int, after: str = "") -> Callable[[], bool]:
    """Again since it had that checkpoint."""
    return lambda: pool.job(job).checkpoint not in ("", after)


def records(pool: Pool) -> list[str]:
    return sorted(path.name for path in (pool.state_dir / "store").glob("records/*"))


def saves_in(state_dir: Path, policy: ElasticParams = OFTEN) -> str:
    """The journal, which decides again what was decided."""
    (path,) = (state_dir / "journal").iterdir()
    replay(read(path).steps, Machine(), Elastic(policy))
    return path.read_text()


def test_a_job_goes_back_to_its_last_save_when_its_server_is_killed(
    root: Path, tmp_path: Path
) -> None:
    train = Job(tmp_path)
    with Pool(root, DEVICES, tmp_path / "state", policy=Elastic(OFTEN)) as pool:
        job = train.begin(pool)
        until(saved(pool, job))
        until(saved(pool, job, pool.job(job).checkpoint))
        status = pool.job(job)
        assert (status.state, status.epoch, status.preemptions) == (JobState.RUNNING, 1, 0)
        assert len(records(pool)) <= 2  # the newest, and the one before while that is told
        at = int(train.progress.read_text())
        os.kill(pool.server_pid(status.device), signal.SIGKILL)
        until(lambda: pool.job(job).restarts == 1)
        train.gate.touch()
        done = pool.wait(job, PATIENCE_S)
        assert (done.state, done.restarts) == (JobState.SUCCEEDED, 1), done
        first, again = begun_at(output(done))
        assert first == 0 < again and at > 0
        assert output(done)[-1] == resumable_worker.expected(STEPS)
        until(lambda: records(pool) == [])
    assert saves_in(tmp_path / "state").count("JobSaved") >= 2
    assert measured_costs_s(tmp_path / "state/costs.json")["save_us"] > 0


def test_a_gang_is_saved_as_of_one_moment_and_goes_back_to_that(root: Path, tmp_path: Path) -> None:
    gang = Job(tmp_path, GANG, GANG_STEPS)
    with Pool(root, DEVICES, tmp_path / "state", policy=Elastic(OFTEN)) as pool:
        job = gang.begin(pool, count=2, most=3)
        until(saved(pool, job))
        first = pool.job(job).checkpoint
        assert len(first.split(",")) == 3
        os.kill(pool.server_pid("cpu:1"), signal.SIGKILL)  # in the middle of its steps
        until(lambda: pool.job(job).restarts == 1)
        until(saved(pool, job, pool.job(job).checkpoint))  # where it was taken up, too
        gang.gate.touch()
        done = pool.wait(job, PATIENCE_S)
        assert (done.state, done.restarts) == (JobState.SUCCEEDED, 1), done
        for rank, digest in enumerate(load_gang_expected()):
            name = f"job-{job}-r{rank}.log" if rank else f"job-{job}.log"
            words = (pool.state_dir / "logs" / name).read_text().split()
            assert words[0:2] == ["from", "0"] and words[-1] == digest, words
            assert int(words[3]) > 0 and len(words) == 5
        until(lambda: records(pool) == [])
    saves_in(tmp_path / "state")


def load_gang_expected() -> list[str]:
    found: list[str] = load(GANG.with_name("gang_worker.py")).expected(GANG_STEPS, 3)
    return found


def test_a_save_that_finds_the_disk_full_is_tried_again_and_the_job_runs_on(
    root: Path, tmp_path: Path
) -> None:
    """A file may have so many bytes only: the disk's other way to be full, without a disk."""
    gang = Job(tmp_path, GANG, GANG_STEPS)
    with Pool(root, DEVICES, tmp_path / "state", policy=Elastic(OFTEN)) as pool:
        (path,) = (pool.state_dir / "journal").iterdir()
        full = pool.server_pid("cpu:1")
        unlimited = resource.prlimit(full, resource.RLIMIT_FSIZE)
        resource.prlimit(full, resource.RLIMIT_FSIZE, (2000, unlimited[1]))
        job = gang.begin(pool, count=2)
        until(lambda: path.read_text().count("SaveFailed") >= 2)  # of one of its two ranks
        assert "store_failed" in path.read_text() and "haltere store gc" in path.read_text()
        assert pool.job(job).checkpoint == "" and records(pool) == []
        resource.prlimit(full, resource.RLIMIT_FSIZE, unlimited)
        until(saved(pool, job))
        gang.gate.touch()
        done = pool.wait(job, PATIENCE_S)
        assert (done.state, done.epoch) == (JobState.SUCCEEDED, 1), done
        until(lambda: records(pool) == [])


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_server_that_is_killed_while_it_saves_costs_what_was_done_since_the_save_before(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    train, snapshot, killed = Job(tmp_path), Control.snapshot, []
    with Pool(root, ["cpu:0"], tmp_path / "state", policy=Elastic(OFTEN)) as pool:
        job = train.begin(pool)
        until(saved(pool, job))

        def deadly(self: Control, *given: object, **named: object) -> str:
            found = "" if when == "before" or killed else snapshot(self, *given, **named)  # type: ignore[arg-type]
            if not killed:
                killed.append(pool.server_pid("cpu:0"))
                os.kill(killed[0], signal.SIGKILL)
            return found or snapshot(self, *given, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(Control, "snapshot", deadly)
        until(lambda: pool.job(job).restarts == 1)
        train.gate.touch()
        done = pool.wait(job, PATIENCE_S)
        assert (done.state, done.restarts) == (JobState.SUCCEEDED, 1), done
        assert begun_at(output(done))[1] > 0
        assert output(done)[-1] == resumable_worker.expected(STEPS)
        until(lambda: records(pool) == [])


def test_a_job_whose_program_cannot_be_started_on_a_save_is_not_saved(
    root: Path, tmp_path: Path
) -> None:
    train, other = Job(tmp_path), tmp_path / "other"
    other.mkdir()
    with Pool(root, DEVICES, tmp_path / "state", policy=Elastic(OFTEN)) as pool:
        job, restarts = train.begin(pool), Job(other).begin(pool, recovery="restart")
        until(saved(pool, job))
        until(saved(pool, job, pool.job(job).checkpoint))
        assert pool.job(restarts).checkpoint == ""


def test_a_pool_that_is_to_save_begins_with_what_saves_have_cost_it(
    root: Path, tmp_path: Path
) -> None:
    def cost_s() -> float:
        policy = Pool(root, ["cpu:0"], tmp_path, policy="elastic", saves=True)._policy
        assert isinstance(policy, Elastic) and policy.params.saves
        return policy.params.save_cost_s

    assert cost_s() == FIRST_SAVE_S
    (tmp_path / "costs.json").write_text('{"costs": {"save_us": 41000}}')
    assert cost_s() == 0.041
    for given in ("tiered", None, Elastic(OFTEN)):
        with pytest.raises(Infeasible, match="saves no jobs"):
            Pool(root, ["cpu:0"], tmp_path, policy=given, saves=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["opencl", "fpga-sim"])
def test_a_gang_of_other_devices_is_saved_again_and_again_and_computes_what_it_would_have(
    root: Path, tmp_path: Path, kind: str
) -> None:
    """Three ranks on two devices; on FPGAs each with its own overlay, in the middle of kernels."""
    devices = [info.uri for info in list_devices() if info.kind == kind][:2]
    if len(devices) < 2:
        pytest.skip(f"needs two devices of kind {kind}")
    gate, folder = tmp_path / "gate", Path(__file__).parent
    words = ["repeated.py", "40"] if kind == "fpga-sim" else ["pacing_worker.py"]
    argv = [sys.executable, str(folder / words[0]), *words[1:], str(gate)]
    spec = JobSpec("gang", "ann", "basic", kind, argv=argv, count=2, most=3, recovery="checkpoint")
    with Pool(root, devices, tmp_path / "state", policy=Elastic(OFTEN)) as pool:
        job = pool.submit(spec)
        (path,) = (pool.state_dir / "journal").iterdir()
        until(lambda: path.read_text().count("JobSaved") >= 4)
        assert len(pool.job(job).checkpoint.split(",")) == 3
        gate.touch()
        done = pool.wait(job, PATIENCE_S)
        assert (done.state, done.epoch, done.preemptions) == (JobState.SUCCEEDED, 1, 0), done
        logs = {log.read_text() for log in (tmp_path / "state/logs").iterdir()}
        assert logs == {"right" if kind == "fpga-sim" else ""}
    assert "SaveFailed" not in saves_in(tmp_path / "state")
