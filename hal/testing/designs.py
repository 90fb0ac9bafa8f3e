"""A user's design made haltable and built for simulation, each step cached by its content."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np

import rtl_sim
from rtl_sim import cache
from rtl_sim.capture import capture
from rtl_sim.capture.options import Options
from rtl_sim.design import Design
from rtl_sim.statemap import StateMap
from rtl_sim.verilated.halting import HaltablePlayer, build_haltable
from rtl_sim.verilated.player import Player, build_player

VERILOG, STATE_MAP, REPORT = "design.v", "state.json", "report.json"


@dataclass(frozen=True)
class Build:
    """What a simulation is made of. `verilog` is instrumented, `design` as its author wrote it."""

    design: Design
    top: str
    verilog: Path
    state_map: StateMap

    @cached_property
    def library(self) -> Path:
        return build_haltable([self.verilog], self.top)

    def instance(self, rng: random.Random | None = None) -> HaltablePlayer:
        """A fresh simulation. With `rng` one to move into: every bit of its state is noise, and
        so are its inputs whenever it is frozen."""
        if rng is None:
            return HaltablePlayer(self.library, self.state_map)
        noise = np.random.default_rng(rng.getrandbits(64))
        player = HaltablePlayer(self.library, self.state_map, rng.randrange(1, 1 << 31), noise)
        player.poison(rng)
        return player

    def traced(self) -> Player:
        """The RTL as written, able to write a waveform."""
        design = self.design
        return Player(
            build_player(
                design.sources, self.top, design.params,
                include=design.include, defines=design.defines, trace=True,
            )
        )  # fmt: skip

    def traced_instance(self) -> HaltablePlayer:
        """The instrumented design, able to write a waveform."""
        library = build_haltable([self.verilog], self.top, trace=True)
        return HaltablePlayer(library, self.state_map)


def build(design: Design) -> Build:
    """Capture `design`, or find it captured. Raises SimError: refused, or it does not build."""

    def make(folder: Path) -> None:
        result = capture(design, folder, Options(clocks=design.clocks))
        result.verilog.rename(folder / VERILOG)

    folder = cache.entry("captures", _key(design), make)
    top = json.loads((folder / REPORT).read_bytes())["top"]
    state_map = StateMap.parse((folder / STATE_MAP).read_bytes())
    return Build(design, top, folder / VERILOG, state_map)


def _key(design: Design) -> str:
    """Of everything that capture reads: files, options, and the tools themselves."""
    settings = replace(design, sources=(), include=(), resets={}, hold={})
    parts: list[bytes | str] = [version("pyosys"), repr(settings)]
    for path in (*design.sources, *_files_of(design.include)):
        parts += [path.name, path.read_bytes()]
    for path in sorted((Path(rtl_sim.__file__).parent / "capture").rglob("*.py")):
        parts += [path.name, path.read_bytes()]
    return cache.digest_of(*parts)


def _files_of(folders: tuple[Path, ...]) -> Iterator[Path]:
    """All that an `include could mean."""
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file())
