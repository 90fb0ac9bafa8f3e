"""A user's design made haltable and built for simulation, each step cached by its content."""

from __future__ import annotations

import json
import os
import random
import re
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
from rtl_sim.errors import BuildFailed
from rtl_sim.statemap import StateMap
from rtl_sim.verilated import toolchain
from rtl_sim.verilated.halting import HaltablePlayer, build_haltable
from rtl_sim.verilated.player import Player, build_player
from rtl_sim.verilated.player_build import arguments_of, data_files, preprocessed

_NAMES_FILES = re.compile(rb"`include|\$readmem")
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
    parts += _read_by_name(design)
    for path in sorted((Path(rtl_sim.__file__).parent / "capture").rglob("*.py")):
        parts += [path.name, path.read_bytes()]
    return cache.digest_of(*parts)


def _read_by_name(design: Design) -> list[bytes | str]:
    """What is found beside the sources because they name it: headers, contents of memories."""
    if not any(_NAMES_FILES.search(path.read_bytes()) for path in design.sources):
        return []
    arguments = arguments_of(
        design.sources, design.top, design.params, design.include, design.defines
    )
    try:
        text = preprocessed(toolchain.find(), arguments)
    except BuildFailed:  # capture will say why; should it know better, it is not kept
        return [os.urandom(16)]
    parts: list[bytes | str] = [text]
    for name, content in data_files(text, design.sources, design.params):
        parts += [name, content]
    return parts


def _files_of(folders: tuple[Path, ...]) -> Iterator[Path]:
    """All that an `include could mean."""
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file())
