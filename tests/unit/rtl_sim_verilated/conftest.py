"""The hand-instrumented `blend` overlay, built once, and a bench that speaks to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rtl_sim.statemap import StateMap
from rtl_sim.verilated import toolchain
from rtl_sim.verilated.build import Design, build_library
from rtl_sim.verilated.model import MemoryWindow, Model

RTL = Path(__file__).parent / "rtl" / "blend.sv"
FLOP_BITS = 352
BASE = 0x1_0000_0000
DIGEST = "b1e2d" * 8


def blend_state_map() -> bytes:
    flops = [{"name": "q", "bit": i, "row": i // 32, "lane": i % 32} for i in range(FLOP_BITS)]
    memories = [{"name": "store", "index": 0, "width": 70, "depth": 16}]
    return json.dumps(
        {"format": 2, "clock": "ap_clk", "clocks": ["ap_clk"], "read_registers": [],
         "layout_id": "1a" * 16, "lanes": 32, "rows": FLOP_BITS // 32,
         "mem_width": 70, "flops": flops, "memories": memories, "roms": []}
    ).encode()  # fmt: skip


class Bench:
    """One instance with two windows: source words at BASE, destination at BASE + 1 MiB."""

    def __init__(self, library: Path, state_map: StateMap | None, seed: int, words: int) -> None:
        self.model = Model(library, state_map, seed)
        self.source = np.arange(words, dtype=np.uint64) * 0x0101_0101_0101 + 7
        self.target = np.zeros(words, np.uint64)
        self.expose()

    def expose(self) -> None:
        self.model.set_windows(
            [
                MemoryWindow(BASE + (1 << 20), self.target.nbytes, self.target.ctypes.data),
                MemoryWindow(BASE, self.source.nbytes, self.source.ctypes.data),
            ]
        )

    def launch(self, key: int, words: int | None = None, source: int = BASE) -> None:
        model = self.model
        target = BASE + (1 << 20)
        count = len(self.source) if words is None else words
        for offset, value in (
            (0x04, 1), (0x08, 1), (0x10, source & 0xFFFF_FFFF), (0x14, source >> 32),
            (0x1C, target & 0xFFFF_FFFF), (0x20, target >> 32), (0x28, count), (0x30, key),
            (0x00, 1),
        ):  # fmt: skip
            model.write32(offset, value)

    def finish(self, max_cycles: int = 100_000) -> None:
        self.model.run(max_cycles)
        assert self.model.interrupt()


@pytest.fixture(scope="session")
def blend_map() -> StateMap:
    return StateMap.parse(blend_state_map())


@pytest.fixture(scope="session")
def blend_library() -> Path:
    absent = toolchain.absence()
    if absent:
        pytest.skip(absent)
    return build_library(Design((RTL,), "blend", state_port=True))


@pytest.fixture
def bench(blend_library: Path, blend_map: StateMap) -> Iterator[Bench]:
    made = Bench(blend_library, blend_map, seed=0, words=100)
    yield made
    made.model.close()
