"""Hypothesis's way through the days of a random cluster, for the tests of several policies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Protocol
from unittest import TestCase

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from scheduler.journal import Journal


class Cluster(Protocol):
    """A `scheduler.testing.world.World` that keeps a journal."""

    journal: Journal

    def do(self, action: str, rng: Random) -> None: ...
    def act(self, rng: Random) -> None: ...
    def settle(self) -> None: ...
    def check_history(self) -> None:
        """What its journal tells is what happened."""


def days(
    begin: Callable[[Path], Cluster], actions: Sequence[str], *, examples: int, steps: int
) -> type[TestCase]:
    """A test of so many examples, each of so many steps; `begin` is given the journal's folder.

    Steps are single actions (small failing examples) and busy stretches from a seed (a uniform
    draw alone hardly ever gets as far as a preemption).
    """

    class Days(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.folder = TemporaryDirectory()
            self.cluster = begin(Path(self.folder.name))

        @rule(action=st.sampled_from(sorted(set(actions))), seed=st.integers(0, 99))
        def act_once(self, action: str, seed: int) -> None:
            self.cluster.do(action, Random(seed))

        @rule(seed=st.integers(0, 1 << 20), actions=st.integers(1, 40))
        def act_a_while(self, seed: int, actions: int) -> None:
            rng = Random(seed)
            for _ in range(actions):
                self.cluster.act(rng)

        def teardown(self) -> None:
            try:
                self.cluster.settle()
                self.cluster.check_history()
            finally:
                self.cluster.journal.close()
                self.folder.cleanup()

    found = Days.TestCase
    found.settings = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),  # shrinking takes minutes, a seed says it all
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    return found
