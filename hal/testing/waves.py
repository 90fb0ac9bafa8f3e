"""Waveforms of failed tests, made afterwards: what a design was given is recorded, and replayed.

Recording costs an array a step; the traced simulation, slower by far, is built and run for failures
only, and no line of the test runs again. Shown is the RTL as written, undisturbed, with the names
that its author knows. Of a halted run the instrumented design is shown beside it, halts and all. A
recording that has become long begins anew from a snapshot: a waveform shows the end, which is what
one looks at; from a snapshot only the instrumented design can start.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hal.testing.designs import Build
from rtl_sim.snapshot import Snapshot
from rtl_sim.verilated.halting import HaltablePlayer
from rtl_sim.verilated.player import Player, Rows

LIMIT_ROWS: Final = 1_000_000  # half as many cycles
MOVE: Final = "move"


@dataclass(frozen=True, slots=True)
class _Load:
    snapshot: Snapshot
    row: NDArray[np.uint32]  # the inputs with which the design goes on


class Recording:
    """Everything that happened to a simulation from outside, in order."""

    def __init__(self) -> None:
        self._entries: list[Rows | _Load | str] = []
        self._rows = 0

    @property
    def full(self) -> bool:
        return self._rows >= LIMIT_ROWS

    def play(self, rows: Rows) -> None:
        self._entries.append(rows.copy())
        self._rows += len(rows)

    def load(self, snapshot: Snapshot, row: NDArray[np.uint32]) -> None:
        self._entries.append(_Load(snapshot, row.copy()))

    def move(self) -> None:
        self._entries.append(MOVE)

    def restart(self, snapshot: Snapshot, row: NDArray[np.uint32]) -> None:
        self._entries, self._rows = [], 0
        self.load(snapshot, row)

    def write(self, build: Build, path: Path) -> list[Path]:
        """Waveforms `path`.vcd and, where there is more to see, `path`.halted.vcd. Raises
        SimError."""
        written = []
        if not any(isinstance(entry, _Load) for entry in self._entries):
            written.append(path.with_name(f"{path.name}.vcd"))
            self._replay_as_written(build, written[-1])
        if any(not isinstance(entry, np.ndarray) for entry in self._entries):
            written.append(path.with_name(f"{path.name}.halted.vcd"))
            self._replay_instrumented(build, written[-1])
        return written

    def _replay_as_written(self, build: Build, path: Path) -> None:
        with build.traced() as player, build.instance() as recorded:
            player.trace(path)
            columns = _columns(recorded, player)
            for entry in self._entries:
                if isinstance(entry, np.ndarray):
                    player.play(np.ascontiguousarray(entry[:, columns]))

    def _replay_instrumented(self, build: Build, path: Path) -> None:
        with build.traced_instance() as player:
            player.trace(path)
            for entry in self._entries:
                if isinstance(entry, np.ndarray):
                    player.play(entry)
                elif isinstance(entry, _Load):
                    player.load(entry.snapshot, entry.row)
                else:
                    snapshot = player.save()
                    player.poison(random.Random(0))
                    player.load(snapshot)


def _columns(recorded: Player | HaltablePlayer, player: Player) -> NDArray[np.int64]:
    """Where in a recorded row the words of `player`'s rows are."""
    places = [recorded.ports[port.name] for port in player.inputs]
    return np.concatenate([np.arange(p.first, p.first + p.words) for p in places])
