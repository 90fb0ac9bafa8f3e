"""Random clusters: the loop with a fake executor, and the invariants after every step.

At the end everything is allowed to finish, nothing may be left waiting that could run, and the
journal must replay to the same commands and tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from random_days import days

from scheduler.core.commands import Start
from scheduler.core.jobs import JobState
from scheduler.core.machine import Machine
from scheduler.core.transitions import Params
from scheduler.core.values import JobSpec, Recovery, Tier
from scheduler.journal import Journal, read, replay
from scheduler.policies.tiered import Tiered
from scheduler.testing.invariants import broken
from scheduler.testing.world import ACTIONS, FAULTS, World
from scheduler.timeline import Timeline

MIN_RUN_US = 1_000_000
PARAMS = Params(backoff_us=1_000_000, max_start_failures=4, max_restarts=2)


def job(rng: Random, number: int) -> JobSpec:
    kind = rng.choice("ggf")
    tier = rng.choices(tuple(Tier), (2, 3, 5))[0]
    return JobSpec(
        name=f"job-{number}",
        tenant="ann",
        tier=tier,
        device_kind=kind,
        argv=("work",),
        count=rng.choice((1, 1, 1, 2, 3)),
        devices=rng.choice(((), (), (), ("g:0",), ("g:0", "g:2"))) if kind == "g" else (),
        recovery=rng.choice(tuple(Recovery)),
        recall_us=0 if tier is Tier.BASIC else rng.choice((0, 0, 1_500_000)),
    )


class Cluster(World):
    def __init__(self, folder: Path, actions: Sequence[str] = ACTIONS) -> None:
        self.path = folder / "journal"
        self.journal = Journal(self.path, durable=False)
        self.timeline = Timeline()
        machine = Machine(PARAMS)
        super().__init__(
            machine,
            Tiered(MIN_RUN_US),
            job,
            lambda: broken(machine, MIN_RUN_US),
            (self.journal, self.timeline),
            actions=actions,
        )

    def check_history(self) -> None:
        self.journal.close()
        contents = read(self.path)
        assert contents.torn is None
        again = Machine(PARAMS)
        replay(contents.steps, again, Tiered(MIN_RUN_US))
        assert dict(again.jobs) == dict(self.machine.jobs)
        assert dict(again.leases) == dict(self.machine.leases)
        assert again.waiting == self.machine.waiting
        starts = [c for c in self.executor.log if isinstance(c, Start)]
        assert len({(c.job, c.epoch) for c in starts}) == len(starts)
        for span in self.timeline.spans():
            assert span.start_s <= span.end_s

    def count(self) -> Counter[str]:
        jobs = self.machine.jobs.values()
        return self.seen + Counter(
            preemptions=sum(job.preemptions for job in jobs),
            restarts=sum(job.restarts for job in jobs),
            moves=sum(job.state is JobState.SUCCEEDED and job.preemptions > 0 for job in jobs),
            fenced=self.machine.fenced_count,
            pinned=sum(job.pinned for job in jobs),
            gave_way=sum(job.gave_way > 0 for job in jobs),
        )


@pytest.mark.parametrize("seed", range(12))
def test_invariants_hold_through_a_busy_day(seed: int, tmp_path: Path) -> None:
    cluster, rng = Cluster(tmp_path), Random(seed)
    for _ in range(150):
        cluster.act(rng)
    cluster.settle()
    cluster.check_history()


@pytest.mark.parametrize("seed", range(4))
def test_invariants_hold_through_drains_and_lost_regions(seed: int, tmp_path: Path) -> None:
    cluster, rng = Cluster(tmp_path, FAULTS), Random(seed)
    for _ in range(150):
        cluster.act(rng)
    cluster.settle()
    cluster.check_history()


def test_busy_days_are_busy(tmp_path: Path) -> None:
    """The random cluster reaches what it is meant to test."""
    cluster, rng = Cluster(tmp_path), Random(111)
    for _ in range(600):
        cluster.act(rng)
    cluster.settle()
    counts = cluster.count()
    for what in ("preemptions", "restarts", "moves", "fenced", "pinned", "gave_way"):
        assert counts[what], (what, counts)


TestDays = days(Cluster, ACTIONS, examples=25, steps=12)
