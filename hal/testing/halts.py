"""When a run is halted: cycles drawn from a seed, so that a failure can be had again.

Knows nothing of what is halted: an RTL simulation counts the cycles of its clock, an overlay's
kernels count the fabric's.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class HaltPlan:
    """One halted run of a test: `moves` halts, drawn from the first `cycles` cycles."""

    seed: int
    cycles: int
    moves: int

    def halts(self, name: str) -> Halts:
        """The halts of the simulation called `name`; equal names and seeds give equal halts."""
        return Halts(self, name)


class Halts:
    """The halts of one simulation: `due` says how far it may run, `took` that one took place."""

    def __init__(self, plan: HaltPlan, name: str) -> None:
        self.rng = random.Random(f"{plan.seed} {name}")
        cycles = self.rng.sample(range(plan.cycles), min(plan.moves, plan.cycles))
        self._planned = deque(sorted(cycles))
        self.done: list[int] = []

    def due(self, cycle: int) -> int | None:
        """Cycles from `cycle` to the next halt; None when no more are planned."""
        return max(self._planned[0] - cycle, 0) if self._planned else None

    def took(self, cycle: int) -> None:
        if self._planned and self._planned[0] <= cycle:
            self._planned.popleft()
        self.done.append(cycle)

    def __str__(self) -> str:
        return f"halted and moved at {_cycles(self.done)}" if self.done else "not halted yet"


class Diverged(AssertionError):
    """A halted run is not the undisturbed run: the design or its capture is not halting-safe."""

    code: ClassVar[str] = "diverged"
    disposition: ClassVar[str] = "fatal"


def _cycles(done: list[int]) -> str:
    return f"cycle{'s' if len(done) > 1 else ''} {', '.join(map(str, done))}"
