"""A pool in a process of its own, for tests that kill it.

    python crash_pool.py ROOT STATE FOLDER MOMENT NAME COUNT [gang | saves | drain | ...]

Plays `play` on a pool of one device (or `play_gang`, say, on two), and kills itself (SIGKILL) at a
step: MOMENT is "before" (its record is not written), "torn" (half of it is) or "after" (it is
written, and not carried out); the step is the COUNT-th with an event or command named NAME.
"inside": when the COUNT-th session of a gang was suspended, by a halt (NAME is "halt") or a move
("move"). "never" never does; it then says READY when the first job is at work, and waits to be
killed.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxy.control import Control, Stored
from proxy.move import Moved, _Move
from scheduler import journal
from scheduler.core.commands import Command
from scheduler.core.events import Event
from scheduler.core.values import Needs
from scheduler.live import pool as pool_module
from scheduler.live.pool import JobSpec, JobState, Pool
from scheduler.policies.elastic import Elastic
from scheduler.policies.quotas import Quota, Quotas
from scheduler.policies.round import ElasticParams
from scheduler.policies.sharing import Sharing

WORKER = Path(__file__).with_name("train_worker.py")
GANG_WORKER = Path(__file__).with_name("gang_worker.py")
RESUMABLE = Path(__file__).with_name("resumable_worker.py")
DEVICE, DEVICES = "cpu:0", ["cpu:0", "cpu:1"]
RANKS = 4
HOLD = """
import os, sys, time
from hal.registry import open_device
with open_device(os.environ["HALTERE_DEVICE"]) as device, device.open_context():
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.02)
"""
QUICK = ElasticParams(min_run_s=0, settle_s=1, look_s=1, spare_share=0)
SAVING = replace(QUICK, saves=True, save_cost_s=0.02, mtbf_s=2)
STEPS = 400
PATIENCE_S = 60.0


def spec(folder: Path, name: str, tier: str) -> JobSpec:
    """A training that says when it begins: whoever begins twice has lost its work."""
    words = f"{STEPS} {folder / name}.progress {folder / name}.gate 1"
    program = f"echo began; exec {sys.executable} {WORKER} {words}"
    return JobSpec(name, "ann", tier, "cpu", argv=["/bin/sh", "-c", program])


def until(done: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.005)


def at_work(pool: Pool, folder: Path, job: int) -> bool:
    progress = folder / f"{pool.job(job).name}.progress"
    return pool.job(job).terminal or (progress.exists() and progress.read_text() not in ("", "0"))


def begin(pool: Pool, folder: Path, name: str, tier: str) -> int:
    known = {status.name: status.id for status in pool.jobs()}
    return known.get(name) or pool.submit(spec(folder, name, tier))


def play(pool: Pool, folder: Path) -> tuple[int, int]:
    """Low is halted for high, and goes on when that has ended: from wherever it stands."""
    low = begin(pool, folder, "low", "basic")
    until(lambda: at_work(pool, folder, low))
    high = begin(pool, folder, "high", "premium")
    until(lambda: at_work(pool, folder, high))
    (folder / "high.gate").touch()
    assert pool.wait(high, PATIENCE_S).terminal
    assert pool.wait(low, PATIENCE_S, (JobState.RUNNING,)).state in ("running", "succeeded")
    (folder / "low.gate").touch()
    assert pool.wait(low, PATIENCE_S).terminal
    return low, high


def begin_high(pool: Pool, folder: Path, name: str, count: int) -> int:
    """Holds its devices until NAME.gate is there."""
    known = {status.name: status.id for status in pool.jobs()}
    argv = [sys.executable, "-c", HOLD, f"{folder / name}.gate"]
    asked = JobSpec(name, "ann", "premium", "cpu", argv=argv, count=count)
    return known.get(name) or pool.submit(asked)


def play_gang(pool: Pool, folder: Path) -> int:
    """The gang is shrunk for one job and halted for another, from wherever it stands."""
    known = {status.name: status.id for status in pool.jobs()}
    argv = [sys.executable, str(GANG_WORKER), *map(str, (STEPS, folder / "low.progress"))]
    argv.append(str(folder / "low.gate"))
    asked = JobSpec("low", "ann", "basic", "cpu", argv=argv, count=2, least=1, most=RANKS)
    gang = known.get("low") or pool.submit(asked)
    until(lambda: at_work(pool, folder, gang))
    for name, count in (("small", 1), ("large", 2)):
        done = folder / f"{name}.done"  # by whichever pool
        if done.exists():
            continue
        high = begin_high(pool, folder, name, count)
        pool.wait(high, PATIENCE_S, (JobState.RUNNING,))
        (folder / f"{name}.gate").touch()
        assert pool.wait(high, PATIENCE_S).state == JobState.SUCCEEDED
        until(lambda: pool.job(gang).state == JobState.RUNNING and len(pool.job(gang).slices) == 2)
        done.touch()
    (folder / "low.gate").touch()
    assert pool.wait(gang, PATIENCE_S).terminal
    return gang


def play_saves(pool: Pool, folder: Path) -> int:
    """A job that is saved until it has been often enough, by whichever pool; taken up again behind
    its gate, it ends before."""
    known = {status.name: status.id for status in pool.jobs()}
    words = map(str, (RESUMABLE, STEPS, folder / "low.progress", folder / "low.gate"))
    asked = JobSpec("low", "ann", "basic", "cpu", [sys.executable, *words], recovery="checkpoint")
    job = known.get("low") or pool.submit(asked)
    until(lambda: at_work(pool, folder, job))
    (path,) = (pool.state_dir / "journal").iterdir()
    until(lambda: pool.job(job).terminal or path.read_text().count("JobSaved") >= 4)
    (folder / "low.gate").touch()
    assert pool.wait(job, PATIENCE_S).terminal
    return job


def play_drain(pool: Pool, folder: Path) -> int:
    """A job moves off the device that it began on, which is then removed."""
    job = begin(pool, folder, "low", "basic")
    until(lambda: at_work(pool, folder, job))

    def is_now(state: str) -> bool:
        return {device.uri: device.state for device in pool.devices()}[DEVICE] == state

    if is_now("up"):
        pool.drain(DEVICE)
    until(lambda: is_now("removed"))
    (folder / "low.gate").touch()
    assert pool.wait(job, PATIENCE_S).terminal
    return job


def play_window(pool: Pool, folder: Path) -> int:
    """Each device is out once; the job moves each time."""
    job = begin(pool, folder, "low", "basic")
    until(lambda: at_work(pool, folder, job))
    if pool.window() is None:
        pool.maintain(DEVICES, within_s=66, lasts_s=0.2, notice_s=30)

    def is_over() -> bool:
        window = pool.window()
        return window is not None and not window.is_open

    until(is_over)
    (folder / "low.gate").touch()
    assert pool.wait(job, PATIENCE_S).terminal
    return job


SHARED = "opencl:0"


def play_seats(pool: Pool, folder: Path) -> tuple[int, int, int]:
    """Two share a device; one of them is halted for a third, and goes on when that has ended."""
    known = {status.name: status.id for status in pool.jobs()}

    def begin_share(name: str, tier: str, share_milli: int) -> int:
        words = (WORKER, STEPS, folder / f"{name}.progress", folder / f"{name}.gate", 1)
        program = " ".join(map(str, ("echo began; exec", sys.executable, *words)))
        argv = ["/bin/sh", "-c", program]
        needs = Needs(share_milli)
        asked = JobSpec(name, "ann", tier, "opencl", argv=argv, needs=needs)
        return known.get(name) or pool.submit(asked)

    stays = begin_share("stays", "basic", 300)
    low = begin_share("low", "basic", 600)
    until(lambda: at_work(pool, folder, stays) and at_work(pool, folder, low))
    high = begin_share("high", "premium", 500)
    until(lambda: at_work(pool, folder, high))
    (folder / "high.gate").touch()
    assert pool.wait(high, PATIENCE_S).terminal
    assert pool.wait(low, PATIENCE_S, (JobState.RUNNING,)).state in ("running", "succeeded")
    for name in ("low", "stays"):
        (folder / f"{name}.gate").touch()
    assert all(pool.wait(job, PATIENCE_S).terminal for job in (low, stays))
    return stays, low, high


def die_inside(name: str, count: int) -> None:
    left = [count]

    def die() -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    resume, suspend = _Move._resume, Control.suspend

    def resume_or_die(self: _Move, stored: Stored) -> Moved:
        die()
        return resume(self, stored)

    def suspend_and_die(self: Control, *given: Any, **named: Any) -> str:
        found = suspend(self, *given, **named)
        die()
        return found

    if name == "move":
        _Move._resume = resume_or_die  # type: ignore[method-assign]
    else:
        Control.suspend = suspend_and_die  # type: ignore[method-assign]


class Crashing(journal.Journal):
    moment, name, count = "never", "", 0

    def record(self, events: Sequence[Event], commands: Sequence[Command]) -> None:
        found = any(type(item).__name__ == self.name for item in (*events, *commands))
        Crashing.count -= found
        crash = found and self.count == 0
        if crash and self.moment == "torn":
            size = self.path.stat().st_size
            super().record(events, commands)
            os.truncate(self.path, size + (self.path.stat().st_size - size) // 2)
        elif not crash or self.moment == "after":
            super().record(events, commands)
        if crash:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    root, state, folder = (Path(word) for word in sys.argv[1:4])
    Crashing.moment, Crashing.name, Crashing.count = sys.argv[4], sys.argv[5], int(sys.argv[6])
    pool_module.Journal = Crashing  # type: ignore[misc]
    if Crashing.moment == "inside":
        die_inside(Crashing.name, Crashing.count)
    if sys.argv[7:] == ["gang"]:
        with Pool(root, DEVICES, state, policy=Elastic(QUICK)) as pool:
            play_gang(pool, folder)
        return
    if sys.argv[7:] == ["saves"]:
        with Pool(root, DEVICES, state, policy=Elastic(SAVING)) as pool:
            play_saves(pool, folder)
        return
    if sys.argv[7:] == ["drain"]:
        with Pool(root, DEVICES, state, policy=Elastic(QUICK)) as pool:
            play_drain(pool, folder)
        return
    if sys.argv[7:] == ["window"]:
        with Pool(root, DEVICES, state, policy=Elastic(QUICK)) as pool:
            play_window(pool, folder)
        return
    if sys.argv[7:] == ["quotas"]:
        quotas = Quotas([Quota("ann", {"cpu": 1})])
        with Pool(root, DEVICES, state, policy=Elastic(QUICK, quotas)) as pool:
            begin(pool, folder, "low", "basic")
            time.sleep(PATIENCE_S)
        return
    if sys.argv[7:] == ["seats"]:
        with Pool(root, [SHARED], state, policy=Sharing(min_run_s=0)) as pool:
            play_seats(pool, folder)
        return
    with Pool(root, [DEVICE], state) as pool:
        if Crashing.moment == "never":
            low = begin(pool, folder, "low", "basic")
            until(lambda: at_work(pool, folder, low))
            sys.stdout.write("READY\n")
            sys.stdout.flush()
            time.sleep(PATIENCE_S)
        play(pool, folder)


if __name__ == "__main__":
    main()
