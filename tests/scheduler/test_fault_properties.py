"""Random clusters with all that can go wrong, under the elastic policy: the invariants after every
step, and who waits is told what is so."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from scheduler.core.machine import Machine
from scheduler.core.transitions import Params
from scheduler.core.values import JobSpec, Recovery, Tier
from scheduler.journal import Journal, read, replay
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
    resizable = rng.random() < 0.5
    most = count * 2 if resizable else count
    return JobSpec(
        f"job-{number}",
        rng.choice(("ann", "bob")),
        rng.choices(tuple(Tier), (1, 2, 5))[0],
        kind,
        ("train",),
        count=count if kind == "gpu" else 1,
        least=1 if resizable else 0,
        most=most if kind == "gpu" else 0,
        curve=((most, 1.7),) if resizable and kind == "gpu" else (),
        speeds=(("v100", 1.0), ("k80", 0.4)) if rng.random() < 0.5 else (),
        portable=rng.random() < 0.5,
        recovery=rng.choice((Recovery.CHECKPOINT, Recovery.CHECKPOINT, *Recovery)),
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
        recorders: Sequence = [self.journal] if self.journal else []
        super().__init__(
            Machine(PARAMS), self, job, self.complaints, recorders, DEVICES, FAULTS, STEPS_US, most
        )

    def plan(self, view):
        self.attained.follow(view)
        return self.policy.plan(view)

    def complaints(self) -> list[str]:
        if next(self._turns) % self._every:
            return []
        view = self.machine.view()
        told = self.policy.explain(view)
        found = audit(view, told, self.attained, SAVING.reserve_share)
        return [*broken_tables(self.machine), *found]

    def check_replay(self) -> None:
        self.journal.close()
        again = Machine(PARAMS)
        replay(read(self.path).steps, again, Elastic(SAVING))
        assert dict(again.jobs) == dict(self.machine.jobs)
        assert dict(again.leases) == dict(self.machine.leases)


@pytest.mark.parametrize("seed", range(6))
def test_invariants_hold_through_bad_days(seed: int, tmp_path: Path) -> None:
    cluster, rng = Cluster(tmp_path), Random(seed)
    for _ in range(400):
        cluster.act(rng)
    cluster.settle()
    cluster.check_replay()
