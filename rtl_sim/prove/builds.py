"""The models that a proof plays: the RTL as written, and two captured builds of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from rtl_sim.capture import CaptureResult, Options, capture
from rtl_sim.design import Design
from rtl_sim.errors import SnapshotError
from rtl_sim.statemap import StateMap
from rtl_sim.verilated.halting import build_haltable
from rtl_sim.verilated.player import build_player

# The chains of the two have nothing in common, and their read registers are elsewhere. Of the first
# the text for simulators is played, of the second that for boards.
OPTIONS: Final = (
    Options(lanes=32),
    Options(lanes=7, freeze="gate", read_registers="shadow"),
)


@dataclass(frozen=True, slots=True)
class Captured:
    """One captured build, its model's library, and its state map. `hardware`: as `build_haltable`
    has it."""

    result: CaptureResult
    library: Path
    state_map: StateMap
    hardware: bool = False


@dataclass(frozen=True, slots=True)
class Builds:
    """What a proof of `design` plays; `traced`: the libraries write waveforms.

    initial_edges  the original's power-on is an edge of every signal
    """

    design: Design
    original: Path
    captured: tuple[Captured, Captured]
    initial_edges: bool = False

    @property
    def state_map(self) -> StateMap:
        return self.captured[0].state_map

    def traced(self) -> Builds:
        return Builds(
            self.design,
            original_library(self.design, trace=True, initial_edges=self.initial_edges),
            (_retraced(self.captured[0]), _retraced(self.captured[1])),
            self.initial_edges,
        )

    def with_initial_edges(self) -> Builds:
        return replace(
            self, original=original_library(self.design, initial_edges=True), initial_edges=True
        )


def build(
    design: Design,
    folder: Path,
    options: tuple[Options, Options] = OPTIONS,
    *,
    hierarchy: bool = False,
) -> Builds:
    """Capture and compile; captured files stay in `folder`. `hierarchy`: as an option of capture.

    Raises CaptureError, BuildFailed, and SnapshotError when the builds have different state.
    """
    wanted = [options_for(design, chosen, hierarchy) for chosen in options]
    captured = tuple(
        from_result(capture(design, folder / f"build{index}", chosen), hardware=index == 1)
        for index, chosen in enumerate(wanted)
    )
    layouts = {each.state_map.layout_id for each in captured}
    if len(layouts) > 1:
        raise SnapshotError(
            f"{captured[0].result.report.top}: builds with {options[0]} and {options[1]} have "
            "different state layouts"
        )
    named = replace(design, top=captured[0].result.report.top)
    return Builds(named, original_library(named), (captured[0], captured[1]))


def from_result(result: CaptureResult, *, trace: bool = False, hardware: bool = False) -> Captured:
    top = result.report.top
    library = build_haltable([result.verilog], top, trace=trace, hardware=hardware)
    return Captured(result, library, StateMap.parse(result.state_map.read_bytes()), hardware)


def original_library(
    design: Design,
    *,
    trace: bool = False,
    x_assign: Literal["0", "1"] = "0",
    initial_edges: bool = False,
) -> Path:
    return build_player(
        design.sources, design.top, design.params, include=design.include,
        defines=design.defines, trace=trace, x_assign=x_assign,
        initial_edges=initial_edges,
    )  # fmt: skip


def options_for(design: Design, options: Options, hierarchy: bool) -> Options:
    return replace(options, clocks=options.clocks or design.clocks, hierarchy=hierarchy)


def _retraced(captured: Captured) -> Captured:
    return from_result(captured.result, trace=True, hardware=captured.hardware)
