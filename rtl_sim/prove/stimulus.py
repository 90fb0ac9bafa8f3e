"""Constrained-random stimulus for a top module of which nothing is known but its ports.

What reaches deep states in designs nobody looked into is variety over time: an input is for a
while random, then nearly always 0 or 1, then stuck, small, counting or one-hot, each on its own.
Resets are active at the start and now and then for a moment; clocks are interleaved at random, so
any order of edges that different clocks can have is met. Two clocks never move in one row, and no
data input moves with a clock: what a simulator would make of that is no property of the design.

Every burst ends with all clocks low, where a freeze may be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rtl_sim.errors import PortError
from rtl_sim.verilated.player import Port, Rows, place

BURSTS: Final = (1, 2, 3, 5, 8, 13, 40, 120)  # cycles
BURST_WEIGHTS: Final = (0.2, 0.15, 0.15, 0.15, 0.15, 0.1, 0.07, 0.03)
START_CYCLES: Final = (2, 12)
NEW_MODE: Final = 0.3  # chance, at each burst, that an input behaves differently from now on
RESET: Final = 0.04  # chance of a reset in a burst
DATA_ROW: Final = 0.9  # chance that inputs change between two edges

Words = NDArray[np.uint32]
Mode = Callable[[np.random.Generator, Port, int, Words], Words]


class Stimulus:
    """Rows for a design's inputs, without end; `row` is the last.

    clocks  input ports; resets: port -> active level; hold: port -> constant value
    Raises PortError when one of them is no input of the design.
    """

    def __init__(
        self,
        inputs: Sequence[Port],
        clocks: Sequence[str],
        resets: Mapping[str, int],
        hold: Mapping[str, int],
        rng: np.random.Generator,
    ) -> None:
        ports = {port.name: port for port in inputs}
        for kind, names in (("clock", clocks), ("reset", resets), ("held input", hold)):
            for name in names:
                if name not in ports:
                    raise PortError(f"{kind} {name!r} is no input; those are {', '.join(ports)}")
        self._rng = rng
        self._clocks = [ports[name].first for name in clocks]
        self._resets = [(ports[name], level) for name, level in resets.items()]
        self._data = [p for p in inputs if p.name not in {*clocks, *resets, *hold}]
        self._modes = {port.name: self._mode(port) for port in self._data}
        self._both_phases = bool(rng.random() < 0.5)  # inputs change while a clock is high, too
        self._rates = rng.dirichlet(np.ones(max(len(self._clocks), 1)) * 2)
        self.row = np.zeros(sum(port.words for port in inputs), np.uint32)
        for name, value in hold.items():
            place(self.row, ports[name], value)
        for port, level in self._resets:
            place(self.row, port, 1 - level)
        self.edges = 0  # rising, of all clocks

    def start(self) -> Rows:
        """Every reset active, for a few cycles."""
        cycles = int(self._rng.integers(*START_CYCLES)) * max(len(self._clocks), 1)
        return self._rows(cycles, all_reset=True)

    def burst(self) -> Rows:
        """Some cycles of normal life."""
        for port in self._data:
            if self._rng.random() < NEW_MODE:
                self._modes[port.name] = self._mode(port)
        cycles = int(self._rng.choice(BURSTS, p=BURST_WEIGHTS)) * max(len(self._clocks), 1)
        return self._rows(cycles, all_reset=False)

    def _rows(self, cycles: int, *, all_reset: bool) -> Rows:
        levels, steps = self._edges(cycles)
        count = int(steps[-1]) + 1  # step 0: the inputs as they were
        rows = np.tile(self.row, (len(steps), 1))
        for port in self._data:
            words = slice(port.first, port.first + port.words)
            changing = self._modes[port.name](self._rng, port, count - 1, self.row[words])
            rows[:, words] = np.concatenate([self.row[None, words], changing])[steps]
        for port, level in self._resets:
            active = np.zeros(count, bool)
            if all_reset:
                active[1:] = True
            elif self._rng.random() < RESET and count > 1:
                begin = int(self._rng.integers(1, count))
                active[begin : begin + int(self._rng.integers(1, 4))] = True
            rows[:, port.first] = np.where(active[steps], level, 1 - level)
        rows[:, self._clocks] = levels
        self.row = rows[-1].copy()
        return rows

    def _edges(self, cycles: int) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """For each row, the clocks' levels, and the number of input changes until then."""
        rng = self._rng
        now = [0] * len(self._clocks)
        levels: list[list[int]] = []
        steps: list[int] = []
        step = 0

        def data() -> None:
            nonlocal step
            step += 1
            levels.append(now.copy())
            steps.append(step)

        def toggle(clock: int) -> None:
            now[clock] ^= 1
            self.edges += now[clock]
            levels.append(now.copy())
            steps.append(step)

        data()
        draws = rng.random((2 * cycles, 2))
        picked = rng.choice(len(now), 2 * cycles, p=self._rates) if len(now) > 1 else None
        for index in range(2 * cycles if now else cycles):
            quiet = any(now) and not self._both_phases
            if not quiet and draws[index, 0] < DATA_ROW:
                data()
            if now:
                toggle(0 if picked is None else int(picked[index]))
        for clock in rng.permutation(len(now)):
            if now[clock]:
                toggle(int(clock))
        if rng.random() < 0.5:
            data()
        return np.array(levels, np.uint32).reshape(len(steps), len(now)), np.array(steps)

    def _mode(self, port: Port) -> Mode:
        choices = _BIT_MODES if port.width == 1 else _WORD_MODES
        return choices[int(self._rng.integers(len(choices)))]


# ---- how an input behaves for a while: (count, words) from what it was


def _often(share: float) -> Mode:
    def mode(rng: np.random.Generator, port: Port, count: int, last: Words) -> Words:
        return (rng.random((count, 1)) < share).astype(np.uint32)

    return mode


def _uniform(rng: np.random.Generator, port: Port, count: int, last: Words) -> Words:
    return rng.integers(0, 1 << 32, (count, port.words), dtype=np.uint32)


def _sticky(rng: np.random.Generator, port: Port, count: int, last: Words) -> Words:
    values: Words = np.concatenate([last[None, :], _uniform(rng, port, count, last)])
    changes = np.where(rng.random(count) < 0.15, np.arange(1, count + 1), 0)
    kept: Words = values[np.maximum.accumulate(changes)] if count else values[:0]
    return kept


def _sparse(rng: np.random.Generator, port: Port, count: int, last: Words) -> Words:
    return (
        _uniform(rng, port, count, last)
        & _uniform(rng, port, count, last)
        & _uniform(rng, port, count, last)
    )


def _dense(rng: np.random.Generator, port: Port, count: int, last: Words) -> Words:
    values: Words = ~_sparse(rng, port, count, last)
    return values


def _small(rng: np.random.Generator, port: Port, count: int, last: Words) -> Words:
    values = np.zeros((count, port.words), np.uint32)
    values[:, 0] = rng.integers(0, 1 << int(rng.integers(1, 8)), count)
    return values


def _counter(rng: np.random.Generator, port: Port, count: int, last: Words) -> Words:
    values = np.tile(last, (count, 1))
    values[:, 0] += np.arange(1, count + 1, dtype=np.uint32) * np.uint32(rng.choice([1, 4, 8]))
    return values


def _one_hot(rng: np.random.Generator, port: Port, count: int, last: Words) -> Words:
    values = np.zeros((count, port.words), np.uint32)
    bits = rng.integers(0, port.width, count)
    values[np.arange(count), bits // 32] = np.uint32(1) << (bits % 32).astype(np.uint32)
    return values


def _still(rng: np.random.Generator, port: Port, count: int, last: Words) -> Words:
    return np.tile(last, (count, 1))


_BIT_MODES: Final = (_often(0.03), _often(0.3), _often(0.5), _often(0.7), _often(0.97), _sticky)
_WORD_MODES: Final = (_uniform, _uniform, _sticky, _sparse, _dense, _small, _small, _counter,
                      _one_hot, _still)  # fmt: skip
