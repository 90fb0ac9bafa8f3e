"""Random clusters with all that can go wrong, under the elastic policy: the invariants after every
step, and who waits is told what is so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from random import Random

import pytest
from random_days import days

from scheduler.core.commands import Checkpoint, Command, Start
from scheduler.core.events import Event
from scheduler.core.machine import Machine
from scheduler.core.plan import Plan
from scheduler.core.transitions import Params
from scheduler.core.values import JobSpec, Recovery, Slice, Tier
from scheduler.core.view import View
from scheduler.journal import Journal, read, replay
from scheduler.loop import Recorder
from scheduler.policies.elastic import Elastic
from scheduler.policies.elastic_audit import Attained, audit
from scheduler.policies.round import ElasticParams
from scheduler.testing.invariants import broken_tables
from scheduler.testing.world import FAULTS, World

S = 1_000_000
SAVING = ElasticParams(saves=True, mtbf_s=3000, save_cost_s=20, halts_an_hour=3, min_run_s=20)
PARAMS = Params(max_restarts=3)
STEPS_US = (1_000, 5 * S, 30 * S, 300 * S)
DEVICES = (
    ("n0", "gpu", "v100", 4),
    ("n1", "gpu", "v100", 4),
    ("n2", "gpu", "v100", 2),
    ("n3", "gpu", "k80", 4),
    ("f0", "fpga", "sim", 1),
)


def job(rng: Random, number: int) -> JobSpec:
    kind, count = rng.choice(("gpu", "gpu", "gpu", "fpga")), rng.choice((1, 1, 2, 2, 4, 6))
    resizable, tier = rng.random() < 0.5, rng.choices(tuple(Tier), (1, 2, 5))[0]
    most = count * 2 if resizable else count
    return JobSpec(
        f"job-{number}",
        rng.choice(("ann", "bob")),
        tier,
        kind,
        ("train",),
        count=count if kind == "gpu" else 1,
        least=1 if resizable else 0,
        most=most if kind == "gpu" else 0,
        curve=((most, 1.7),) if resizable and kind == "gpu" else (),
        speeds=(("v100", 1.0), ("k80", 0.4)) if rng.random() < 0.5 else (),
        portable=rng.random() < 0.5,
        recovery=rng.choice((Recovery.CHECKPOINT, Recovery.CHECKPOINT, *Recovery)),
        recall_us=0 if tier is Tier.BASIC else rng.choice((0, 0, 10 * S)),
    )


class Cluster(World):
    """`every`: of the steps, how many are looked at in full."""

    def __init__(self, folder: Path | None = None, every: int = 1, most: int = 1 << 30) -> None:
        self.policy = Elastic(SAVING)
        self.path = folder / "journal" if folder else None
        self.journal = Journal(self.path, durable=False) if self.path else None
        self.attained = Attained(SAVING.first_level_s, SAVING.level_ratio, SAVING.first_run_s)
        self._every = every
        self._turns = count()
        self._homes: dict[int, set[Slice]] = {}
        self.told: list[Event] = []
        self.counts: Counter[str] = Counter()
        recorders: list[Recorder] = [self.journal, self] if self.journal else [self]
        super().__init__(
            Machine(PARAMS),
            self,
            job,
            self.complaints,
            recorders,
            DEVICES,
            FAULTS,
            STEPS_US,
            most,
            ("retry", "retry", "retry", "caller", "fatal"),  # the policy shuns no device
        )

    def plan(self, view: View) -> Plan:
        self.attained.follow(view)
        self._homes = {job.id: set(job.home) for job in view.jobs.values() if job.home}
        return self.policy.plan(view)

    def record(self, events: Sequence[Event], commands: Sequence[Command]) -> None:
        self.told += events
        for command in commands:
            if isinstance(command, Start):
                home = self._homes.get(command.job, set())
                self.counts["home again"] += bool(home) and home <= set(command.slices)
                restarts = self.machine.jobs[command.job].restarts
                self.counts["back to its checkpoint"] += bool(restarts and command.checkpoint)
            elif isinstance(command, Checkpoint):
                job = self.machine.jobs[command.job]
                self.counts["moved off a device"] += job.evicted_for == job.id

    def complaints(self) -> list[str]:
        if next(self._turns) % self._every:
            return []
        view = self.machine.view()
        told = self.policy.explain(view)
        found = broken_tables(self.machine)
        if self._are_levels_alike(view):
            found += audit(view, told, self.attained, SAVING.reserve_share)
        return found

    def _are_levels_alike(self, view: View) -> bool:
        """A level that rises while a change of the job is on its way is seen late by the books."""
        entries = self.policy._books.entries
        return all(
            entries[job.id].key[1] == self.attained.level(job)
            for job in view.jobs.values()
            if job.id in entries
        )

    def check_history(self) -> None:
        self.journal.close()
        again = Machine(PARAMS)
        replay(read(self.path).steps, again, Elastic(SAVING))
        assert dict(again.jobs) == dict(self.machine.jobs)
        assert dict(again.leases) == dict(self.machine.leases)


@pytest.mark.parametrize("seed", range(4))
def test_invariants_hold_through_bad_days(seed: int, tmp_path: Path) -> None:
    cluster, rng = Cluster(tmp_path), Random(seed)
    for _ in range(300):
        cluster.act(rng)
    cluster.settle()
    cluster.check_history()


def test_bad_days_are_bad() -> None:
    """The random cluster reaches what it is meant to test."""
    cluster, rng = Cluster(every=5, most=20), Random(7)
    for _ in range(9000):
        cluster.act(rng)
    told = Counter(type(event).__name__ for event in cluster.told)
    given = Counter(type(command).__name__ for command in cluster.executor.log)
    for name in ("JobSaved", "SaveFailed", "DrainRequested", "DrainCancelled", "ResizeFailed"):
        assert told[name] > 2, (name, told)
    assert given["Save"] > 30 and given["Resize"] > 10, given
    assert cluster.counts["back to its checkpoint"] > 3, cluster.counts
    assert cluster.counts["moved off a device"] > 3, cluster.counts
    assert cluster.counts["home again"] > 3, cluster.counts


def test_twenty_thousand_events_leave_the_invariants_intact() -> None:
    _many(20_000, every=7)


@pytest.mark.slow
def test_a_million_events_leave_the_invariants_intact() -> None:
    """Every step by `History`, all tables now and then."""
    _many(1_000_000, every=997)


def _many(events: int, every: int) -> None:
    cluster, rng = Cluster(every=every, most=24), Random(1)
    while cluster.handled < events:
        cluster.act(rng)
        cluster.told.clear()
        cluster.executor.log.clear()
    cluster.settle()


def test_a_journal_of_a_bad_day_torn_at_any_byte_replays_up_to_there(tmp_path: Path) -> None:
    cluster, rng = Cluster(tmp_path, most=8), Random(3)
    for _ in range(40):
        cluster.act(rng)
    cluster.journal.close()
    data = cluster.path.read_bytes()
    whole = read(cluster.path).steps
    torn = tmp_path / "torn"
    counts = set()
    ends = [index + 1 for index, byte in enumerate(data) if byte == 0x0A]
    every = {*range(ends[-3], len(data)), *range(0, len(data), 211), *ends}  # test_journal: all
    for length in sorted(every - {len(data)}):
        torn.write_bytes(data[:length])
        steps = read(torn).steps
        assert steps == whole[: len(steps)]
        if len(steps) not in counts:  # the same steps, replayed once
            counts.add(len(steps))
            machine = Machine(PARAMS)
            replay(steps, machine, Elastic(SAVING))
            assert broken_tables(machine) == []
    assert len(counts) == len(whole)


TestDays = days(lambda folder: Cluster(folder, most=30), FAULTS, examples=20, steps=10)
