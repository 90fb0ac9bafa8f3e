"""Gangs on the live pool: halted, moved, shrunk and grown as one, with the results of a run that
was left alone."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_jobs import PATIENCE_S, Training, check_journal, lease_spec, load, until

from hal.registry import list_devices
from proxy.control import Control
from proxy.errors import ControlTimeout
from scheduler.core.values import Slice
from scheduler.errors import Infeasible
from scheduler.live import sessions
from scheduler.live.feasible import check_feasible
from scheduler.live.gang import spread
from scheduler.live.pool import JobSpec, JobState, Pool
from scheduler.live.shares import weights
from scheduler.policies.elastic import Elastic, ElasticParams

WORKER = Path(__file__).with_name("gang_worker.py")
EXPECTED = load(WORKER).expected
DEVICES = ["cpu:0", "cpu:1"]
STEPS = 300
QUICK = ElasticParams(
    first_level_s=1,
    first_run_s=0,
    min_run_s=0,
    settle_s=1,
    look_s=1,
    grow_after_s=1,
    spare_share=0,
)


class Gang:
    def __init__(self, folder: Path, ranks: int = 4) -> None:
        self.ranks = ranks
        self.progress, self.gate = folder / "gang.progress", folder / "gang.gate"

    def spec(self, count: int = 2, least: int = 1, **more: object) -> JobSpec:
        argv = [sys.executable, str(WORKER), str(STEPS), str(self.progress), str(self.gate)]
        given = {"count": count, "least": least, "most": self.ranks, **more}
        return JobSpec("gang", "ann", "basic", "cpu", argv=argv, **given)  # type: ignore[arg-type]

    def begin(self, pool: Pool, **more: object) -> int:
        job = pool.submit(self.spec(**more))  # type: ignore[arg-type]
        until(lambda: self.steps() > 0 or pool.job(job).terminal)
        assert not pool.job(job).terminal, pool.job(job)
        return job

    def steps(self) -> int:
        return int(self.progress.read_text() or 0) if self.progress.exists() else 0

    def goes_on(self) -> None:
        at = self.steps()
        until(lambda: self.steps() >= min(at + 10, STEPS * 9 // 10))  # where it waits

    def check_result(self, pool: Pool, job: int, begun: int = 1) -> None:
        self.gate.touch()
        done = pool.wait(job, PATIENCE_S)
        assert done.state == JobState.SUCCEEDED, done
        for rank, digest in enumerate(EXPECTED(STEPS, self.ranks)):
            name = f"job-{job}-r{rank}.log" if rank else f"job-{job}.log"
            words = (pool.state_dir / "logs" / name).read_text().split()
            assert words[-1] == digest and words.count("began") == begun, (rank, words)
        until(lambda: not list((pool.state_dir / "store").glob("records/*")))  # needed no more
        until(lambda: not list((pool.state_dir / "workers").iterdir()))
        until(lambda: not list((pool.root / "meet").iterdir()))


def ranks_on(pool: Pool) -> dict[str, int]:
    """Sessions on each device."""
    served = {uri: Control(pool.root, uri).status().sessions for uri in DEVICES}
    return {uri: len(found) for uri, found in served.items() if found}


def settled(pool: Pool, job: int, slices: int) -> Callable[[], bool]:
    def is_so() -> bool:
        status = pool.job(job)
        return status.state == JobState.RUNNING and len(status.slices) == slices

    return is_so


def test_a_gang_is_shrunk_grown_and_halted_and_computes_what_it_would_have(
    root: Path, tmp_path: Path
) -> None:
    gang = Gang(tmp_path)
    with Pool(root, DEVICES, tmp_path / "state", policy=Elastic(QUICK)) as pool:
        job = gang.begin(pool)
        assert pool.job(job).slices == ("cpu:0/0", "cpu:1/0") and pool.job(job).ranks == 4
        assert ranks_on(pool) == {"cpu:0": 2, "cpu:1": 2}
        with pool.lease(lease_spec("premium"), PATIENCE_S) as lease:
            assert settled(pool, job, 1)() and pool.job(job).resizes == 1
            (other,) = set(DEVICES) - {lease.device}
            assert ranks_on(pool) == {other: 4}  # which take turns there
            gang.goes_on()
        until(settled(pool, job, 2))
        assert ranks_on(pool) == {"cpu:0": 2, "cpu:1": 2}
        gang.goes_on()
        with pool.lease(lease_spec("premium"), PATIENCE_S):
            with pool.lease(lease_spec("premium"), PATIENCE_S):
                halted = pool.job(job)
                assert (halted.state, halted.preemptions) == (JobState.PREEMPTED, 1)
                assert len(halted.checkpoint.split(",")) == 4
                assert ranks_on(pool) == {}
            until(settled(pool, job, 1))  # it goes on on less than it asked for
        until(settled(pool, job, 2))
        gang.check_result(pool, job)
        assert pool.job(job).epoch == 2  # workers were started once, and never noticed
    check_journal(tmp_path / "state", Elastic(QUICK))


@pytest.mark.slow
def test_a_gang_grows_into_what_is_idle(root: Path, tmp_path: Path) -> None:
    gang = Gang(tmp_path)
    policy = Elastic(QUICK)
    with Pool(root, DEVICES, tmp_path / "state", slices={"cpu": 2}, policy=policy) as pool:
        job = gang.begin(pool, count=1)
        assert len(pool.job(job).slices) == 1
        until(settled(pool, job, 4))  # a slice for each rank
        assert ranks_on(pool) == {"cpu:0": 2, "cpu:1": 2}
        gang.check_result(pool, job)


@pytest.mark.parametrize("policy", ["tiered", "elastic"])
def test_a_rank_that_fails_ends_its_gang(root: Path, tmp_path: Path, policy: str) -> None:
    gang = Gang(tmp_path, ranks=2)
    with Pool(root, DEVICES, tmp_path / "state", policy=policy) as pool:
        job = gang.begin(pool, least=2)
        pids = [pool.worker_pid(job, rank) for rank in range(2)]
        assert pids[0] and pids[1]
        os.kill(pids[1], signal.SIGKILL)
        done = pool.wait(job, PATIENCE_S)
        assert done.state == JobState.FAILED and "code -9: rank 1 of 2" in done.reason
        until(lambda: all(device.jobs == () for device in pool.devices()))
        with pytest.raises(ProcessLookupError):
            os.kill(pids[0], 0)
        until(lambda: ranks_on(pool) == {})


def test_a_gang_that_lost_one_of_its_devices_begins_again(root: Path, tmp_path: Path) -> None:
    gang = Gang(tmp_path, ranks=3)
    with Pool(root, DEVICES, tmp_path / "state", policy=Elastic(QUICK)) as pool:
        job = gang.begin(pool)
        os.kill(pool.server_pid("cpu:1"), signal.SIGKILL)
        until(lambda: pool.job(job).restarts == 1)
        gang.check_result(pool, job, begun=2)


def test_a_gang_that_cannot_be_moved_stays_as_it_was(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of its moves fails when others are done already; those are undone."""
    moves: Counter[str] = Counter()
    move = sessions.move

    def failing(root: Path, session: str, source: str, target: str, store: Path) -> object:
        moves[session] += 1
        if session.endswith("-r3") and moves[session] == 1:
            until(lambda: sum(moves.values()) > 1)
            raise ControlTimeout("as told by the test")
        return move(root, session, source, target, store)

    gang = Gang(tmp_path)
    with Pool(root, DEVICES, tmp_path / "state", policy=Elastic(QUICK)) as pool:
        job = gang.begin(pool)
        monkeypatch.setattr(sessions, "move", failing)
        with pool.lease(lease_spec("premium"), PATIENCE_S):  # at the second attempt
            assert pool.job(job).resizes == 1
            assert sorted(moves.values()) == [2, 3]  # r2: there, back, there; r3: failed, there
            gang.goes_on()
        gang.check_result(pool, job)
    (path,) = (tmp_path / "state/journal").iterdir()
    assert path.read_text().count("ResizeFailed") == 1


@pytest.mark.slow
def test_a_gang_whose_new_device_dies_meanwhile_goes_on_where_it_was(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gang, killed = Gang(tmp_path, ranks=2), []
    move = sessions.move
    with Pool(root, DEVICES, tmp_path / "state", policy=Elastic(QUICK)) as pool:

        def deadly(root: Path, session: str, source: str, target: str, store: Path) -> object:
            if not killed:
                killed.append(target)
                os.kill(pool.server_pid(target), signal.SIGKILL)
            return move(root, session, source, target, store)

        with pool.lease(lease_spec("premium"), PATIENCE_S) as lease:
            job = gang.begin(pool)
            monkeypatch.setattr(sessions, "move", deadly)
        until(lambda: bool(killed))  # it was to grow
        assert killed == [lease.device]
        gang.goes_on()
        until(settled(pool, job, 2))  # once there is another server
        assert pool.job(job).restarts == 0
        gang.check_result(pool, job)


@pytest.mark.slow
def test_a_rank_that_has_ended_does_not_keep_the_others_from_being_moved(
    root: Path, tmp_path: Path
) -> None:
    """Rank 1 needs no device and ends at once."""
    words = [str(STEPS), str(tmp_path / "p"), str(tmp_path / "g")]
    program = (
        f"import os, runpy, sys; sys.argv[1:] = {words!r};"
        "rank = os.environ['HALTERE_RANK']; os.environ['HALTERE_WORLD_SIZE'] = '1';"
        f"rank == '0' and runpy.run_path({str(WORKER)!r}, run_name='__main__')"
    )
    with Pool(root, DEVICES, tmp_path / "state", policy=Elastic(QUICK)) as pool:
        spec = JobSpec(
            "gang", "ann", "basic", "cpu", argv=[sys.executable, "-c", program], count=2, least=1
        )
        job = pool.submit(spec)
        until(lambda: (tmp_path / "p").exists())
        until(settled(pool, job, 2))
        with pool.lease(lease_spec("premium", "cpu", "cpu:0"), PATIENCE_S):
            until(settled(pool, job, 1))
        with (
            pool.lease(lease_spec("premium"), PATIENCE_S),
            pool.lease(lease_spec("premium"), PATIENCE_S),
        ):
            assert pool.job(job).state == JobState.PREEMPTED
        (tmp_path / "g").touch()
        done = pool.wait(job, PATIENCE_S)
        assert done.state == JobState.SUCCEEDED, done
        assert Path(done.log).read_text().split() == ["began", *EXPECTED(STEPS, 1)]


@pytest.mark.slow
def test_a_gang_of_fpgas_shares_one_fabric_is_halted_and_grows(root: Path, tmp_path: Path) -> None:
    """Two ranks, each with its own overlay: in turns on one FPGA, in the middle of kernels."""
    fpgas = [info.uri for info in list_devices() if info.kind == "fpga-sim"][:2]
    if len(fpgas) < 2:
        pytest.skip("needs two FPGAs")
    gate = tmp_path / "gate"
    argv = [sys.executable, str(WORKER.with_name("repeated.py")), "40", str(gate)]
    spec = JobSpec("gang", "ann", "basic", "fpga-sim", argv=argv, count=2, least=1)
    with Pool(root, fpgas, tmp_path / "state", policy=Elastic(QUICK)) as pool:
        job = pool.submit(spec)
        until(settled(pool, job, 2))
        with pool.lease(lease_spec("premium", "fpga-sim"), PATIENCE_S):
            assert settled(pool, job, 1)()
            with pool.lease(lease_spec("premium", "fpga-sim"), PATIENCE_S):
                assert pool.job(job).state == JobState.PREEMPTED
        until(settled(pool, job, 2))
        gate.touch()
        done = pool.wait(job, PATIENCE_S)
        assert (done.state, done.preemptions) == (JobState.SUCCEEDED, 1), done
        logs = sorted((tmp_path / "state/logs").iterdir())
        assert [log.read_text() for log in logs] == ["right", "right"]


def weights_on(pool: Pool, device: str) -> list[int]:
    return sorted(found.weight for found in Control(pool.root, device).status().sessions)


def test_ranks_that_share_a_slice_share_its_weight(root: Path, tmp_path: Path) -> None:
    gang, other = Gang(tmp_path, ranks=3), Training(tmp_path, "other")
    policy = Elastic(QUICK)
    with Pool(root, ["cpu:0"], tmp_path / "state", slices={"cpu": 2}, policy=policy) as pool:
        alone = pool.submit(other.spec(tier="premium"))
        until(lambda: other.at_work(pool))
        assert weights_on(pool, "cpu:0") == [1]
        job = gang.begin(pool)  # asks for two slices, and has one
        assert len(pool.job(job).slices) == 1
        until(lambda: weights_on(pool, "cpu:0") == [1, 1, 1, 3])  # one slice, and the other
        other.let_finish()
        assert pool.wait(alone, PATIENCE_S).state == JobState.SUCCEEDED
        until(settled(pool, job, 2))
        until(lambda: weights_on(pool, "cpu:0") == [1, 1, 2])  # two ranks on one, one on the other
        gang.check_result(pool, job)


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_slices_have_the_same_weight_however_many_ranks_are_on_them(on: list[int]) -> None:
    places = {f"s{rank}": Slice("d", index) for rank, index in enumerate(on)}
    found = weights(places)
    sums = Counter[Slice]()
    for session, item in places.items():
        assert 1 <= found[session] <= 100
        sums[item] += found[session]
    assert max(sums.values()) <= 1.06 * min(sums.values())  # whole numbers up to 100 do no better


hands_of_slices = st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=8, unique=True))


@settings(deadline=None)
@given(st.integers(1, 12), hands_of_slices)
def test_ranks_are_spread_evenly_and_few_change_devices(count: int, hands: list[list[int]]) -> None:
    slices = [Slice(f"d{index // 2}", index % 2) for index in range(8)]
    was: tuple[Slice, ...] = ()
    for hand in hands:
        given_ = [slices[index] for index in hand][:count]
        now = spread(count, given_, was)
        load = Counter(now)
        assert set(load) == set(given_) and max(load.values()) - min(load.values()) <= 1
        if was and set(given_) == set(was):
            assert now == was
        was = now


@pytest.mark.parametrize("shrinks", [False, True])
def test_gangs_that_can_never_run_are_refused(shrinks: bool) -> None:
    def gang(tier: str = "basic", **more: object) -> JobSpec:
        return JobSpec("gang", "ann", tier, "cpu", argv=["x"], **more)  # type: ignore[arg-type]

    promised = "promises it 3 at once" if shrinks else "needs 3 at once"
    refused = {
        "a lease of 2 slices": JobSpec("lease", "ann", "basic", "cpu", count=2),
        promised: gang("premium", count=3, least=1),
        "needs 3 at once": gang(count=3),
        "needs 2 at once": gang(count=2, devices=["cpu:0"]),
        "65 ranks": gang(most=65),
        "is portable": gang(portable=True),
    }
    slices = {"cpu:0": 1, "cpu:1": 1, "opencl:0": 9}
    parts = dict.fromkeys(slices, "one")
    for words, spec in refused.items():
        with pytest.raises(Infeasible, match=words):
            check_feasible(spec, slices, parts, shrinks)
    check_feasible(gang(count=2, most=64), slices, parts, shrinks)
    if shrinks:
        check_feasible(gang(count=3, least=2), slices, parts, shrinks)


def test_a_gang_has_room_on_one_part_or_is_refused() -> None:
    slices = {"opencl:0": 2, "opencl:1": 1, "opencl:2": 2}
    parts = {"opencl:0": "old", "opencl:1": "old", "opencl:2": "new"}

    def gang(count: int, *devices: str, tier: str = "premium") -> JobSpec:
        return JobSpec("gang", "ann", tier, "opencl", ["work"], count=count, devices=devices)

    check_feasible(gang(3), slices, parts, True)
    check_feasible(gang(2, "opencl:0", "opencl:2"), slices, parts, False)
    for spec in (gang(4), gang(3, "opencl:0", "opencl:2"), gang(5, tier="basic")):
        with pytest.raises(Infeasible, match="of one part"):
            check_feasible(spec, slices, parts, True)
    with pytest.raises(Infeasible, match=r"that it accepts have 2\. Ask for fewer"):
        check_feasible(gang(3, "opencl:2"), slices, parts, False)
