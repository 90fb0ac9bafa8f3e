"""A Verilated model that is cut while it runs: its state moves to a fresh instance, which goes on.

Does what benches ask of a `Model`, so that a bench for plain models runs cut without knowing it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from rtl_sim.snapshot import Snapshot
from rtl_sim.statemap import StateMap
from rtl_sim.verilated.model import MemoryWindow, Model

OVERLAY = "under-test"


class CutModel:
    """`cuts` moves in each run, at cycles drawn from `span`, how long the run is expected to be."""

    def __init__(self, library: Path, state_map: StateMap, rng: random.Random, cuts: int) -> None:
        self._library, self._map, self._rng, self._cuts = library, state_map, rng, cuts
        self._windows: Sequence[MemoryWindow] = ()
        self._model = Model(library, state_map)
        self.span = 1
        self.moved = 0

    @property
    def cycle(self) -> int:
        return self._model.cycle

    def set_windows(self, windows: Sequence[MemoryWindow]) -> None:
        self._windows = windows
        self._model.set_windows(windows)

    def read32(self, offset: int) -> int:
        return self._model.read32(offset)

    def write32(self, offset: int, value: int) -> None:
        self._model.write32(offset, value)

    def interrupt(self) -> bool:
        return self._model.interrupt()

    def run(self, max_cycles: int, stop_on_irq: bool = True) -> int:
        done = 0
        for point in sorted(self._rng.randrange(self.span) for _ in range(self._cuts)):
            done += self._model.run(max(point - done, 0), stop_on_irq)
            if stop_on_irq and self.interrupt():
                return done
            self._move()
        return done + self._model.run(max_cycles - done, stop_on_irq)

    def save(self) -> Snapshot:
        return self._model.save(OVERLAY)

    def close(self) -> None:
        self._model.close()

    def _move(self) -> None:
        """Into an instance full of noise; the one that was left is gone."""
        snapshot = self.save()
        self._model.close()
        self._model = Model(self._library, self._map, seed=self._rng.randrange(1, 1 << 30))
        self._model.set_windows(self._windows)
        self._model.load(snapshot, [OVERLAY])
        self.moved += 1
