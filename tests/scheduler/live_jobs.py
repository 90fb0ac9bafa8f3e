"""Jobs of the live pool's tests, and how a test meets them."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType

from scheduler.core.machine import Machine
from scheduler.journal import read, replay
from scheduler.live.pool import JobSpec, JobStatus, Pool
from scheduler.policies.policy import Policy
from scheduler.policies.tiered import Tiered

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


def begun_at(words: list[str]) -> list[int]:
    """At what step a resumable worker began, each time, by its output. An error that stands there,
    too, may tell somebody to go on from a checkpoint."""
    return [int(b) for a, b in pairwise(words) if a == "from" and b.isdecimal()]


def lease_spec(tier: str, kind: str = "cpu", *devices: str) -> JobSpec:
    return JobSpec("lease", "bob", tier, kind, devices=devices)


def check_journal(state_dir: Path, policy: Policy | None = None) -> None:
    """What the live pool decided, its journal decides again."""
    (path,) = (state_dir / "journal").iterdir()
    contents = read(path)
    assert contents.torn is None
    replay(contents.steps, Machine(), policy or Tiered())
