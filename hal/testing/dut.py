"""`Dut`: a simulated design as a test drives it. Ports are attributes, everything else a few verbs.

dut.enable = 1            # an input, from now on
dut.step(3)               # three cycles of the first clock
assert dut.count == 3     # a port, as it is now
dut["load"] = 1           # any port by item; needed where a verb here has a port's name
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from hal.errors import UsageError

if TYPE_CHECKING:
    from hal.testing.bench import Bench, Saved

__tracebackhide__ = True  # a failure is shown where the test stands

_OWN = "_bench"


class Dut:
    """What `fpga_sim(...)` returns. Values are unsigned whatever the port says; an input also takes
    a negative number that fits."""

    def __init__(self, bench: Bench) -> None:
        object.__setattr__(self, _OWN, bench)

    _bench: Bench

    # ---- ports

    def __getitem__(self, port: str) -> int:
        return self._bench.get(port)

    def __setitem__(self, port: str, value: int) -> None:
        self._bench.set(port, value)

    def __getattr__(self, port: str) -> int:
        if port.startswith("__"):  # Python's own questions, not a port
            raise AttributeError(port)
        try:
            return self._bench.get(port)
        except UsageError as error:
            raise AttributeError(str(error)) from None

    def __setattr__(self, port: str, value: int) -> None:
        try:
            self._bench.set(port, value)
        except UsageError as error:
            if self._bench.has(port):
                raise
            raise AttributeError(str(error)) from None

    def set(self, **inputs: int) -> None:
        """Several inputs at once."""
        for port, value in inputs.items():
            self._bench.set(port, value)

    @property
    def outputs(self) -> dict[str, int]:
        """Every output, as it is now."""
        return self._bench.outputs()

    # ---- time

    @property
    def cycle(self) -> int:
        """Clock edges so far; of several clocks, those that rise together count once."""
        return self._bench.cycle

    def step(self, cycles: int = 1, clock: str | None = None) -> None:
        """Let `clock` (the first, if none is named) rise that often; the others go along."""
        self._bench.step(cycles, clock)

    def run_until(
        self, condition: Callable[[], object], max_cycles: int, clock: str | None = None
    ) -> int:
        """Step until `condition()` is true; returns the cycles that took, 0 if it was already.
        Raises DeviceTimeout after `max_cycles`, saying what the outputs are."""
        return self._bench.run_until(condition, max_cycles, clock)

    def reset(self, cycles: int = 2) -> None:
        """Hold the resets active for so many cycles of the slowest clock, then release them."""
        self._bench.reset(cycles)

    # ---- state

    def save(self) -> Saved:
        """Everything the design remembers, and its inputs. The simulation stands where it stood."""
        return self._bench.save()

    def load(self, saved: Saved) -> None:
        """Go on from `saved`, of this design or another of the same state. Raises SnapshotError."""
        self._bench.load(saved)

    def halt_and_move(self) -> None:
        """Halt, save, go on in a fresh simulation full of noise. Nothing must be seen of it."""
        self._bench.move()

    @property
    def registers(self) -> Mapping[str, int]:
        """Every flip-flop by hierarchical name, e.g. dut.registers["core.pc"], as it is now."""
        return self._bench.state().registers

    @property
    def memories(self) -> Mapping[str, tuple[int, ...]]:
        """The words of every memory, by hierarchical name."""
        return self._bench.state().memories

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._bench.ports]

    def __repr__(self) -> str:
        return f"<{self._bench.name} at cycle {self._bench.cycle}>"
