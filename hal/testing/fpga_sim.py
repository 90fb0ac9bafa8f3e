"""What the fixture `fpga_sim` is: makes simulated designs and devices, and closes them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import bitstreams
from hal.backends.fpga import overlays
from hal.context import Context, Device
from hal.errors import UsageError
from hal.testing import designs, moving
from hal.testing.bench import Bench
from hal.testing.dut import Dut
from hal.testing.halts import HaltPlan
from hal.types import Overlay
from rtl_sim.design import Design
from rtl_sim.errors import SimError
from rtl_sim.verilated import toolchain

__tracebackhide__ = True  # a failure is shown where the test stands

Clocks = str | Sequence[str] | Mapping[str, int]
Resets = tuple[str, int] | Mapping[str, int] | None


class _Simulated(Protocol):
    """One design or context of a test."""

    moves: list[int]  # cycles at which it was moved

    def check_end(self) -> None: ...

    def story(self) -> str: ...


def absence() -> str | None:
    """Why nothing can be simulated here, or None when it can."""
    if importlib.util.find_spec("pyosys") is None:
        return "the Python package 'pyosys' is absent: pip install 'haltere[sim]'"
    return toolchain.absence()


class FpgaSim:
    """Of one run of one test. `folder`: where its paths start; `plan`: how it is halted."""

    def __init__(self, folder: Path, plan: HaltPlan | None, name: str) -> None:
        self.plan = plan
        self._folder, self._name = folder, name
        self._benches: list[Bench] = []
        self._contexts: list[moving.MovingContext] = []
        self._open = ExitStack()

    def __call__(
        self,
        *sources: str | Path,
        top: str = "",
        params: Mapping[str, int | str] | None = None,
        clock: Clocks = "clk",
        reset: Resets = None,
        include: Sequence[str | Path] = (),
        defines: Mapping[str, str] | None = None,
    ) -> Dut:
        """A simulation of RTL, haltable at any cycle.

        sources  files, packages first; relative to the test's file
        top      top module; none: the one that nothing instantiates
        clock    its clock ports: a name; names that rise together; or name -> period. The first
                 one is what step() counts
        reset    (port, active level), or several as a mapping; inactive at first, see Dut.reset
        include, defines   for `include and `ifdef

        Raises SimError: capture refused the design, or it does not build. The first call builds,
        which takes seconds; then the cache has it.
        """
        clocks, resets = _clocks(clock), _resets(reset)
        design = Design(
            sources=self._paths(sources), top=top, params=dict(params or {}),
            include=self._paths(include), defines=dict(defines or {}),
            clocks=tuple(clocks), resets=resets,
        )  # fmt: skip
        halts = self.plan.halts(f"{self._base} {len(self._benches)}") if self.plan else None
        bench = Bench(designs.build(design), clocks, resets, halts)
        self._open.callback(bench.close)
        self._benches.append(bench)
        return Dut(bench)

    def overlay(self, which: str | Path | Overlay) -> Context:
        """A context on a simulated FPGA with an overlay: the name of one that ships with haltere, a
        bundle's folder, or an Overlay. In a halted run it is moved inside its kernels."""
        if isinstance(which, Overlay):
            overlay = which
        elif isinstance(which, Path):
            overlay = overlays.as_overlay(bitstreams.load(self._folder / which))
        else:
            overlay = overlays.overlay(which)
        name = f"{self._base} overlay {len(self._contexts)}"
        driver = moving.MovingDriver(self.plan.halts(name) if self.plan else None)
        device = self._open.enter_context(Device(driver))
        device.configure(overlay)
        context = self._open.enter_context(device.open_context())
        self._contexts += driver.contexts
        return context

    # ---- for the plugin

    @property
    def moves(self) -> int:
        """How often anything was moved."""
        return sum(len(each.moves) for each in self._all)

    def check_end(self) -> None:
        """Raises Diverged when a halted run did not end in the undisturbed run's state."""
        for each in self._all:
            each.check_end()

    def story(self) -> list[str]:
        """One line a simulation: how far it came."""
        return [each.story() for each in self._all]

    def write_waves(self, folder: Path) -> list[str]:
        """Waveforms of every design into `folder`; returns lines that say where."""
        folder.mkdir(parents=True, exist_ok=True)
        stem = re.sub(r"[^\w.-]+", "_", self._name).strip("_")  # of a node id
        lines = []
        for index, bench in enumerate(self._benches):
            path = folder / (f"{stem}.{index}" if len(self._benches) > 1 else stem)
            try:
                lines += [f"waveform: {written}" for written in bench.write_waves(path)]
            except SimError as error:  # the test's own failure is what its author must see
                lines.append(f"no waveform: {error}")
        return lines

    def close(self) -> None:
        self._open.close()

    # ---- inner

    @property
    def _all(self) -> list[_Simulated]:
        return [*self._benches, *self._contexts]

    @property
    def _base(self) -> str:
        """The test without its way of running, so that what is drawn depends on the seed alone."""
        return self._name.partition("[")[0]

    def _paths(self, given: Sequence[str | Path]) -> tuple[Path, ...]:
        if wrong := [each for each in given if not isinstance(each, str | Path)]:
            raise UsageError(f"fpga_sim: {wrong[0]!r} is no file: give names or paths")
        paths = tuple(self._folder / path for path in given)
        for path in paths:
            if not path.exists():
                raise UsageError(f"fpga_sim: there is no {path}")
        return paths


def _clocks(given: Clocks) -> dict[str, int]:
    if isinstance(given, str):
        return {given: 1}
    clocks = dict(given) if isinstance(given, Mapping) else dict.fromkeys(given, 1)
    if not clocks or any(not isinstance(p, int) or p < 1 for p in clocks.values()):
        raise UsageError(f"clock={given!r}: at least one name, periods from 1")
    return clocks


def _resets(given: Resets) -> dict[str, int]:
    resets = [given] if isinstance(given, tuple) else given or {}
    try:
        return dict(resets)
    except (TypeError, ValueError):
        raise UsageError(
            f'reset={given!r}: a port and its active level, e.g. ("rst_n", 0), or a mapping'
        ) from None
