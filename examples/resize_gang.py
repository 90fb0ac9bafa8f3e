"""Run `train_gang.py` on a pool that shrinks, grows, halts and restores it, and compare its losses.

    python examples/resize_gang.py

Four ranks begin on two OpenCL devices. Premium jobs come and go: for one, the gang is shrunk to one
device, where its ranks take turns; for two, it is halted. When they leave it goes on, and grows
again. In the end its losses are compared, digit for digit, with those of ranks that ran without
a pool. The status is not 0 if one differs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from scheduler.live.pool import JobSpec, JobState, Pool
from scheduler.policies.elastic import Elastic
from scheduler.policies.round import ElasticParams

PROGRAM = Path(__file__).with_name("train_gang.py")
RANKS = 4
PATIENCE_S = 120.0
# as `elastic` is, but in seconds where a cluster of long jobs has minutes
QUICK = ElasticParams(min_run_s=0, settle_s=1, look_s=1, grow_after_s=1)


class Show:
    def __init__(self, pool: Pool, words: list[str], pace_ms: float) -> None:
        argv = [sys.executable, str(PROGRAM), *words, "--pace-ms", str(pace_ms)]
        spec = JobSpec("gang", "ann", "basic", "opencl", argv=argv, count=2, least=1, most=RANKS)
        self.pool, self.began = pool, time.monotonic()
        self.job = pool.submit(spec)
        self.log = Path(pool.job(self.job).log)
        self.told = ""

    def until(self, done: Callable[[], bool]) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while not done():
            status = self.pool.job(self.job)
            where = " ".join(status.slices) or "nothing"
            where += f" -> {' '.join(status.target)}" if status.target else ""
            line = f"{status.state} on {where}, {self.steps()} losses"
            if status.terminal or time.monotonic() > give_up:
                raise SystemExit(f"{line}: {status.reason or status.waiting}")
            if line.partition(",")[0] != self.told:
                self.told = line.partition(",")[0]
                print(f"{time.monotonic() - self.began:7.2f} s  {line}", flush=True)
            time.sleep(0.005)

    def steps(self) -> int:
        return self.log.read_text().count("loss") if self.log.exists() else 0

    def goes_on(self, slices: int) -> None:
        """It runs on so many slices, and gets on there."""
        self.until(lambda: self.runs_on(slices))
        before = self.steps()
        self.until(lambda: self.steps() > before)

    def runs_on(self, slices: int) -> bool:
        status = self.pool.job(self.job)
        return status.state == JobState.RUNNING and len(status.slices) == slices

    def halted(self) -> bool:
        return self.pool.job(self.job).state == JobState.PREEMPTED


def play(show: Show, rounds: int) -> None:
    urgent = JobSpec("urgent", "bob", "premium", "opencl")
    for _ in range(rounds):
        show.goes_on(2)
        with ExitStack() as leases:
            leases.enter_context(show.pool.lease(urgent, PATIENCE_S))
            show.goes_on(1)
            leases.enter_context(show.pool.lease(urgent, PATIENCE_S))
            show.until(show.halted)
        show.goes_on(2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--every", type=int, default=10, help="a loss of so many steps")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--pace-ms", type=float, default=20, help="rests, so that there is time")
    given = parser.parse_args()
    words = ["--steps", str(given.steps), "--every", str(given.every)]
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm", prefix="haltere-gang-") as root,
        tempfile.TemporaryDirectory() as state,
        Pool(Path(root), ["opencl:0", "opencl:1"], Path(state), policy=Elastic(QUICK)) as pool,
    ):
        show = Show(pool, words, given.pace_ms)
        play(show, given.rounds)
        done = pool.wait(show.job, 10 * PATIENCE_S)
        losses = show.log.read_text()
        print(f"{done.state}; halted {done.preemptions} times, resized {done.resizes} times")
    ranks = [sys.executable, str(PROGRAM), "--ranks", str(RANKS), *words]
    alone = subprocess.run(ranks, stdout=subprocess.PIPE, text=True).stdout
    same = losses == alone and done.state == JobState.SUCCEEDED
    print(f"{losses.count('loss')} losses, {'the same' if same else 'NOT the same'} without a pool")
    print(losses.splitlines()[-1])
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
