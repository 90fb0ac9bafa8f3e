"""Jobs with shares on the live pool: sessions on one OpenCL device, each by what it was given."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_jobs import PATIENCE_S, Training, check_journal, lease_spec, load, output, until

from hal.registry import list_devices
from proxy.control import Control
from scheduler.core.machine import Machine
from scheduler.core.plan import Why
from scheduler.core.values import JobSpec, Needs, Slice
from scheduler.errors import Infeasible
from scheduler.journal import read, replay
from scheduler.live.feasible import check_feasible
from scheduler.live.pool import JobState, Pool
from scheduler.live.shares import weights
from scheduler.policies.sharing import Sharing

PROGRAM = Path(__file__).with_name("crash_pool.py")
crash_pool = load(PROGRAM)
DIGEST = load(PROGRAM.with_name("train_worker.py")).expected(crash_pool.STEPS)
DEVICE, OTHER = "opencl:0", "opencl:1"
HOLDS = """
import os, sys, time
from hal.errors import HalError
from hal.registry import open_device
with open_device(os.environ["HALTERE_DEVICE"]) as device, device.open_context() as context:
    time.sleep(0.5)  # until it counts as started
    for nbytes in map(int, sys.argv[1:]):
        try:
            context.alloc(nbytes)
            context.finish()
            print("has", nbytes, flush=True)
        except HalError as error:
            print(error.code, error, flush=True)
            break
"""


@pytest.fixture(autouse=True)
def _there() -> None:
    if {DEVICE, OTHER} - {info.uri for info in list_devices()}:
        pytest.skip(f"needs {DEVICE} and {OTHER}")


def sharing() -> Sharing:
    return Sharing(min_run_s=0)


def begin(pool: Pool, training: Training, share: int, tier: str = "basic", **more: object) -> int:
    spec = training.spec(tier, "opencl", needs=Needs(share), **more)
    job = pool.submit(spec)
    until(lambda: training.at_work(pool))
    return job


def weights_on(pool: Pool, device: str) -> dict[str, int]:
    sessions = Control(pool.root, device).status().sessions
    return {session.name: session.weight for session in sessions}


def test_jobs_share_a_device_by_what_they_were_given(root: Path, tmp_path: Path) -> None:
    a, b, c = (Training(tmp_path, name) for name in "abc")
    with Pool(root, [DEVICE], tmp_path / "state", policy=sharing()) as pool:
        jobs = [begin(pool, a, 250), begin(pool, b, 750)]
        assert [pool.job(job).slices for job in jobs] == [(f"{DEVICE}/0.1",), (f"{DEVICE}/0.2",)]
        assert pool.devices()[0].jobs == tuple(jobs)
        light, heavy = (pool.job(job).session for job in jobs)
        assert weights_on(pool, DEVICE) == {light: 1, heavy: 3}
        waits = pool.submit(c.spec("basic", "opencl", needs=Needs(300)))
        (blocker,) = pool.job(waits).blockers
        assert (blocker.why, blocker.jobs, blocker.devices) == (Why.SHARE, tuple(jobs), (DEVICE,))
        b.let_finish()
        until(lambda: c.at_work(pool))
        third = pool.job(waits).session
        found = weights_on(pool, DEVICE)
        assert found[third] / found[light] == pytest.approx(1.2, rel=0.02)
        for training, job in ((a, jobs[0]), (b, jobs[1]), (c, waits)):
            training.let_finish()
            assert output(pool.wait(job, PATIENCE_S)) == training.expected()
    check_journal(tmp_path / "state", sharing())


def test_a_premium_share_halts_a_basic_one_which_goes_on_where_it_was(
    root: Path, tmp_path: Path
) -> None:
    low, stays, high = (Training(tmp_path, name) for name in ("low", "stays", "high"))
    with Pool(root, [DEVICE], tmp_path / "state", policy=sharing()) as pool:
        jobs = [begin(pool, low, 600), begin(pool, stays, 300)]
        above = begin(pool, high, 500, "premium")
        halted = pool.job(jobs[0])
        assert (halted.state, halted.preemptions) == (JobState.PREEMPTED, 1)
        assert halted.halted_for == above
        assert pool.job(jobs[1]).state == JobState.RUNNING
        assert sorted(weights_on(pool, DEVICE).values()) == [3, 5]
        high.let_finish()
        assert output(pool.wait(above, PATIENCE_S)) == high.expected()
        pool.wait(jobs[0], PATIENCE_S, (JobState.RUNNING,))
        for training, job in ((low, jobs[0]), (stays, jobs[1])):
            training.let_finish()
            done = pool.wait(job, PATIENCE_S)
            assert done.state == JobState.SUCCEEDED and output(done) == training.expected()
        assert [pool.job(job).epoch for job in jobs] == [2, 1]
    check_journal(tmp_path / "state", sharing())


def test_seats_leave_a_device_that_is_drained_and_whole_slices_are_had_beside_them(
    root: Path, tmp_path: Path
) -> None:
    a, b = (Training(tmp_path, name) for name in "ab")
    with Pool(root, [DEVICE, OTHER], tmp_path / "state", policy=sharing()) as pool:
        with pool.lease(lease_spec("basic", "opencl"), PATIENCE_S) as lease:  # a whole one
            jobs = [begin(pool, a, 500), begin(pool, b, 250)]
            source = pool.job(jobs[0]).device
            assert {lease.device, source} == {DEVICE, OTHER} and lease.slices[0].count(".") == 0
            assert pool.job(jobs[1]).device == source
        pool.drain(source)
        (target,) = {DEVICE, OTHER} - {source}
        until(lambda: {d.uri: d.state for d in pool.devices()}[source] == "removed")
        until(lambda: all(pool.job(job).device == target for job in jobs))
        for training, job in ((a, jobs[0]), (b, jobs[1])):
            training.let_finish()
            done = pool.wait(job, PATIENCE_S)
            assert done.state == JobState.SUCCEEDED and output(done) == training.expected()
            assert (done.preemptions, done.restarts) == (1, 0)


def test_a_share_bounds_the_devices_memory(root: Path, tmp_path: Path) -> None:
    with Pool(root, [DEVICE], tmp_path / "state", policy=sharing()) as pool:
        (memory_bytes,) = (d.caps.memory_bytes for d in list_devices() if d.uri == DEVICE)
        part = memory_bytes // 100
        for share, words in ((15, ["has", "out_of_memory"]), (25, ["has", "has"])):
            argv = [sys.executable, "-c", HOLDS, str(part), str(part)]
            spec = JobSpec("holds", "ann", "basic", "opencl", argv=argv, needs=Needs(share))
            done = pool.wait(pool.submit(spec), PATIENCE_S)
            lines = Path(done.log).read_text().splitlines()
            assert [line.split()[0] for line in lines] == words, lines


@pytest.mark.parametrize(
    ("moment", "name", "count"),
    [
        ("after", "Checkpoint", 1),
        pytest.param("before", "JobCheckpointed", 1, marks=pytest.mark.slow),
        pytest.param("torn", "JobStarted", 3, marks=pytest.mark.slow),
        pytest.param("after", "Start", 4, marks=pytest.mark.slow),
    ],
)
def test_seats_are_taken_over_from_a_pool_that_was_killed(
    root: Path, tmp_path: Path, moment: str, name: str, count: int
) -> None:
    words = [PROGRAM, root, tmp_path / "state", tmp_path, moment, name, count, "seats"]
    process = subprocess.run([sys.executable, *map(str, words)], timeout=3 * PATIENCE_S)
    assert process.returncode == -signal.SIGKILL
    with Pool(root, [DEVICE], tmp_path / "state", policy=sharing()) as pool:
        jobs = crash_pool.play_seats(pool, tmp_path)
        for job in jobs:
            done = pool.job(job)
            assert (done.state, done.restarts) == (JobState.SUCCEEDED, 0), done
            assert output(done) == ["began", DIGEST]
        assert [pool.job(job).preemptions for job in jobs] == [0, 1, 0]
    contents = read(tmp_path / "state/journal/000001.jsonl")
    replay(contents.steps, Machine(), sharing())


def test_weights_are_set_again_by_the_pool_that_takes_over(root: Path, tmp_path: Path) -> None:
    words = [PROGRAM, root, tmp_path / "state", tmp_path, "after", "Checkpoint", "1", "seats"]
    process = subprocess.run([sys.executable, *map(str, words)], timeout=3 * PATIENCE_S)
    assert process.returncode == -signal.SIGKILL
    with Pool(root, [DEVICE], tmp_path / "state", policy=sharing()) as pool:
        until(lambda: sorted(weights_on(pool, DEVICE).values()) == [3, 5])


# ---- by itself

shares = st.lists(st.tuples(st.integers(10, 1000), st.integers(1, 3)), min_size=1, max_size=6)


@settings(deadline=None)
@given(shares)
def test_seats_have_the_weights_of_their_shares(given_to: list[tuple[int, int]]) -> None:
    places: dict[str, Slice] = {}
    due: dict[Slice, int] = {}
    for seat, (share, ranks) in enumerate(given_to, 1):
        due[Slice("d", 0, seat)] = share
        places.update({f"s{seat}-{rank}": Slice("d", 0, seat) for rank in range(ranks)})
    found = weights(places, due)
    assert all(1 <= weight <= 100 for weight in found.values())
    sums = Counter[Slice]()
    for session, item in places.items():
        sums[item] += found[session]
    top = max(due.values())
    for item, weight in sums.items():
        wanted = sums[max(due, key=lambda each: due[each])] * due[item] / top
        if due[item] >= top / 10:  # below that, whole numbers up to 100 may be off by more
            assert weight == pytest.approx(wanted, rel=0.16)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (JobSpec("j", "ann", "basic", "cpu", ("x",), needs=Needs(500)), "cannot weigh"),
        (JobSpec("j", "ann", "basic", "opencl", ("x",), needs=Needs(0)), "no share"),
        (JobSpec("j", "ann", "basic", "opencl", ("x",), needs=Needs(1000, 5000)), "which none has"),
        (JobSpec("j", "ann", "basic", "opencl", ("x",), needs=Needs(1, 0, 99)), "which none has"),
        (JobSpec("j", "ann", "basic", "opencl", ("x",), count=3), "slices of one device"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(spec: JobSpec, words: str) -> None:
    slices = {"opencl:0": 2, "opencl:1": 2, "cpu:0": 1}
    hosts = dict.fromkeys(slices, (4000, 90))
    with pytest.raises(Infeasible, match=words):
        check_feasible(spec, slices, {}, False, hosts=hosts)
    for kind, needs in (("opencl", Needs(1)), ("cpu", Needs())):
        able = JobSpec("j", "a", "basic", kind, ("x",), needs=needs)
        check_feasible(able, slices, {}, False, hosts=hosts)


def test_a_pool_of_whole_slices_says_which_policy_knows_shares() -> None:
    spec = JobSpec("j", "ann", "basic", "opencl", ("x",), needs=Needs(500))
    with pytest.raises(Infeasible, match="policy 'sharing'"):
        check_feasible(spec, {"opencl:0": 1}, {}, False)
