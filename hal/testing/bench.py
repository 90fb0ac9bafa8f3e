"""Runs one simulated design: clocks, inputs, state, and halts where a plan wants them.

*Clocks.* Each clock has a period; a tick is an instant at which one or more clocks rise. They fall
again before the next tick, so between two ticks all clocks are low: there a design may be halted,
wherever it stands. Only the order of edges means anything, as in any simulation without delays.

*Halting.* With a plan the design runs twice in step: moved at the planned ticks into a fresh
simulation full of noise, and undisturbed. Every output at every tick must be equal, and at the end
the state, since outputs show only part of it. Both are the same build, so what the RTL leaves
undefined is the same on both sides.
"""

from __future__ import annotations

import difflib
import operator
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hal.errors import DeviceTimeout, UsageError
from hal.testing.designs import Build
from hal.testing.halts import Diverged, Halts
from hal.testing.state import State, decoded, listed
from hal.testing.waves import Recording
from rtl_sim.snapshot import Snapshot
from rtl_sim.verilated.player import Port, Rows, place

__tracebackhide__ = True  # a failure is shown where the test stands

CHUNK_TICKS: Final = 4096  # played in one call


@dataclass(frozen=True, slots=True)
class Saved:
    """A design at one instant: its state, its inputs, and where its clocks are."""

    snapshot: Snapshot
    inputs: Mapping[str, int]
    time: int


class Bench:
    """`clocks`: port -> period in units of time, the first one primary; `resets`: port -> level."""

    def __init__(
        self,
        build: Build,
        clocks: Mapping[str, int],
        resets: Mapping[str, int],
        halts: Halts | None,
    ) -> None:
        self._build, self.clocks, self.resets, self.halts = build, clocks, resets, halts
        self._player = build.instance()
        self._twin = build.instance() if halts else None
        self.ports: Mapping[str, Port] = self._player.ports
        self._check_ports()
        self._inputs = dict.fromkeys((p.name for p in self._player.inputs), 0)
        self._row: NDArray[np.uint32] = self._player.row
        self._shown = np.zeros(self._player.out_words, np.uint32)
        self._recording = Recording()
        self.cycle = 0  # ticks played
        self.time = 0
        self._settled = False
        self._state: State | None = None
        self.moves: list[int] = []
        for name, active in resets.items():
            self.set(name, 1 - active)

    @property
    def name(self) -> str:
        return self._build.top

    # ---- ports

    def set(self, name: str, value: int) -> None:
        port = self._port(name)
        if port.direction != "in":
            raise UsageError(f"{name} is an output of {self.name}: read it")
        if name in self.clocks:
            raise UsageError(f"{name} is a clock of {self.name}: step() moves it")
        number = _whole(value, f"{name} = {value!r}: a whole number")
        if not -(1 << (port.width - 1)) <= number < 1 << port.width:
            raise UsageError(f"{name} = {value}: the port has {port.width} bits")
        self._inputs[name] = number % (1 << port.width)
        place(self._row, port, self._inputs[name])
        self._settled = False

    def get(self, name: str) -> int:
        """What the port shows now, changes of inputs included."""
        port = self._port(name)
        if port.direction == "in":
            return self._inputs[name]
        self._settle()
        return _value(self._shown, port)

    def outputs(self) -> dict[str, int]:
        return {name: self.get(name) for name, p in self.ports.items() if p.direction == "out"}

    def has(self, name: str) -> bool:
        return name in self.ports

    # ---- time

    def step(self, count: int, clock: str | None = None) -> None:
        """Let time pass until `clock` (the first, if none is named) rose `count` times."""
        period = self._period(clock)
        wrong = f"step({count!r}): a number of cycles, 0 or more"
        count = _whole(count, wrong)
        if count < 0:
            raise UsageError(wrong)
        end = (self.time // period + count) * period
        self._settle()
        while self.time < end:
            due = self.halts.due(self.cycle) if self.halts else None
            if due == 0:
                self.move()
            else:
                self._run(self._ticks(end)[:due])

    def run_until(self, condition: Callable[[], object], most: int, clock: str | None) -> int:
        for passed in range(most + 1):
            if condition():
                return passed
            if passed < most:
                self.step(1, clock)
        shown = ", ".join(f"{name}={value:#x}" for name, value in self.outputs().items())
        raise DeviceTimeout(
            f"{self.name}: what run_until waits for is not so after {most} cycles of "
            f"{clock or next(iter(self.clocks))}; outputs now: {shown}"
        )

    def reset(self, cycles: int) -> None:
        if not self.resets:
            raise UsageError(f'{self.name}: name the reset, e.g. fpga_sim(reset=("rst_n", 0))')
        for name, active in self.resets.items():
            self.set(name, active)
        slowest = max(self.clocks, key=lambda clock: self.clocks[clock])
        self.step(cycles, slowest)
        for name, active in self.resets.items():
            self.set(name, 1 - active)

    def _ticks(self, end: int) -> NDArray[np.int64]:
        """Instants at which clocks rise, after now and up to `end`; not too many at once."""
        end = min(end, self.time + CHUNK_TICKS * min(self.clocks.values()))
        each = [np.arange(self.time // p + 1, end // p + 1) * p for p in self.clocks.values()]
        ticks: NDArray[np.int64] = np.unique(np.concatenate(each))
        return ticks

    def _run(self, ticks: NDArray[np.int64]) -> None:
        rows = np.repeat(self._row.reshape(1, -1), 2 * len(ticks), axis=0)
        for name, period in self.clocks.items():
            rows[::2][ticks % period == 0, self.ports[name].first] = 1
        self._play(rows, self.cycle + 1)
        self.cycle += len(ticks)
        self.time = int(ticks[-1])

    def _settle(self) -> None:
        """Let changed inputs take effect, between two ticks."""
        if not self._settled:
            self._play(self._row.reshape(1, -1), self.cycle)
            self._settled = True

    def _play(self, rows: Rows, cycle: int) -> None:
        """Two rows a tick, of which `cycle` is the first."""
        self._state = None
        if self._recording.full:
            self._recording.restart(self._player.save(), self._row)
        self._recording.play(rows)
        shown = self._player.play(rows)
        self._shown = shown[-1]
        if self._twin is not None:
            wanted = self._twin.play(rows)
            differs = (shown != wanted).any(axis=1)
            if differs.any():
                first = int(differs.argmax())
                raise self._diverged(cycle + first // 2, shown[first], wanted[first])

    # ---- state

    def save(self) -> Saved:
        self._settle()
        return Saved(self._player.save(), dict(self._inputs), self.time)

    def load(self, saved: Saved) -> None:
        if not isinstance(saved, Saved):
            raise UsageError(f"load({type(saved).__name__}): give what save() returned")
        for name, value in saved.inputs.items():
            if name not in self.clocks:
                self.set(name, value)
        for player in (self._player, self._twin):
            if player is not None:
                player.load(saved.snapshot, self._row)
        self.time = saved.time
        self._recording.load(saved.snapshot, self._row)
        self._settled, self._state = False, None

    def state(self) -> State:
        """Registers and memories by name, as they are now."""
        self._settle()
        if self._state is None:
            self._state = decoded(self._player.save(), self._build.state_map)
        return self._state

    def move(self) -> None:
        """Into a fresh simulation full of noise; the one that was left is gone."""
        self._check_state()
        self._settle()
        snapshot = self._player.save()
        fresh = self._build.instance(self.halts.rng if self.halts else random.Random(self.cycle))
        fresh.load(snapshot, self._row)
        self._player.close()
        self._player = fresh
        self._recording.move()
        self.moves.append(self.cycle)
        if self.halts:
            self.halts.took(self.cycle)
        self._settled = False
        self._settle()

    def check_end(self) -> None:
        """A run shorter than its plan is moved all the same. Raises Diverged."""
        if self.halts and not self.moves:
            self.move()
        self._check_state()

    def _check_state(self) -> None:
        """Raises Diverged unless the state is the undisturbed run's."""
        if self._twin is None:
            return
        wrong = self.state().differences(decoded(self._twin.save(), self._build.state_map))
        if wrong:
            raise Diverged(
                f"{self.name} was {self.halts}; all outputs were right, but at cycle {self.cycle} "
                "its state is not that of the undisturbed run:\n"
                + listed([f"{name} is {a}, undisturbed {b}" for name, a, b in wrong])
            )

    def story(self) -> str:
        halted = f", {self.halts}" if self.halts else ""
        return f"{self.name}: {self.cycle} cycles{halted}"

    def write_waves(self, path: Path) -> list[Path]:
        """Raises SimError."""
        return self._recording.write(self._build, path)

    def close(self) -> None:
        self._player.close()
        if self._twin is not None:
            self._twin.close()

    # ---- inner

    def _diverged(
        self, cycle: int, shown: NDArray[np.uint32], wanted: NDArray[np.uint32]
    ) -> Diverged:
        wrong = [
            f"{port.name} is {_value(shown, port):#x}, undisturbed {_value(wanted, port):#x}"
            for port in self._player.outputs
            if _value(shown, port) != _value(wanted, port)
        ]
        return Diverged(
            f"{self.name} was {self.halts} and differs from the undisturbed run at cycle "
            f"{cycle}:\n{listed(wrong)}"
        )

    def _port(self, name: str) -> Port:
        port = self.ports.get(name)
        if port is None:
            raise UsageError(self._unknown(name))
        return port

    def _unknown(self, name: str) -> str:
        close = difflib.get_close_matches(name, self.ports, 1)
        return (
            f"{self.name} has no port {name!r}; "
            f"{f'did you mean {close[0]!r}? ' if close else ''}it has {', '.join(self.ports)}"
        )

    def _period(self, clock: str | None) -> int:
        name = next(iter(self.clocks)) if clock is None else clock
        if name not in self.clocks:
            raise UsageError(f"step on {name!r}: the clocks are {', '.join(self.clocks)}")
        return self.clocks[name]

    def _check_ports(self) -> None:
        for name in (*self.clocks, *self.resets):
            port = self.ports.get(name)
            if port is None or port.direction != "in" or port.width != 1:
                kind = "clock" if name in self.clocks else "reset"
                why = self._unknown(name) if port is None else "it is no input of one bit"
                raise UsageError(f"{kind} {name!r} of {self.name}: {why}")


def _value(words: NDArray[np.uint32], port: Port) -> int:
    return int.from_bytes(words[port.first : port.first + port.words].tobytes(), "little")


def _whole(value: object, wrong: str) -> int:
    """An integer of any kind, NumPy's too; what has a fraction is refused, not cut."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(wrong) from None
