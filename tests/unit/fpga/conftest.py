"""Simulated FPGAs configured with `blend`, the small hand-instrumented overlay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bitstreams
from bitstreams import Bundle
from bitstreams.manifest import parse_draft
from hal.backends.fpga import backend
from hal.backends.fpga.driver import FpgaDriver
from hal.backends.fpga.overlays import as_overlay
from hal.backends.fpga.verilator_shell import PART, MemoryTiming, VerilatorShell
from hal.context import Device
from hal.types import DeviceInfo, Overlay
from rtl_sim.verilated import toolchain

RTL = Path(__file__).parents[1] / "rtl_sim_verilated" / "rtl" / "blend.sv"
FLOP_BITS = 352


def blend_bundle(**changes: Any) -> Bundle:
    flops = [{"name": "q", "bit": i, "row": i // 32, "lane": i % 32} for i in range(FLOP_BITS)]
    state_map = {
        "format": 2, "clock": "ap_clk", "clocks": ["ap_clk"], "read_registers": [],
        "layout_id": "1a" * 16, "lanes": 32, "rows": FLOP_BITS // 32, "mem_width": 70,
        "flops": flops, "memories": [{"name": "store", "index": 0, "width": 70, "depth": 16}],
        "roms": [],
    }  # fmt: skip
    draft = {
        "schema_version": 1,
        "name": "blend",
        "part": PART,
        "clock_mhz": 100,
        "top": "blend",
        "sources": ["blend.sv"],
        "state_map": "state.json",
        "state_layout_id": "1a" * 16,
        "kernels": [
            {
                "name": "blend",
                "protocol": "ap_ctrl_hs",
                "args": [
                    {"name": "src", "kind": "buffer", "offset": 0x10, "size_bytes": 8},
                    {"name": "dst", "kind": "buffer", "offset": 0x1C, "size_bytes": 8},
                    {"name": "n", "kind": "scalar", "offset": 0x28, "size_bytes": 4},
                    {"name": "key", "kind": "scalar", "offset": 0x30, "size_bytes": 4},
                ],
            }
        ],
        "counters": [{"name": "cycles", "offset": 0x40}],
        "compatible_digests": [],
        "self_tests": [],
        "signature": None,
        **changes,
    }
    files = {"blend.sv": RTL.read_bytes(), "state.json": json.dumps(state_map).encode()}
    return bitstreams.make(parse_draft(draft, files), files)


@pytest.fixture(scope="session")
def blend() -> Overlay:
    absent = toolchain.absence()
    if absent:
        pytest.skip(absent)
    return as_overlay(blend_bundle())


@pytest.fixture(scope="session")
def other_overlay() -> Overlay:
    """The same logic under another digest: another overlay, as far as anyone can tell."""
    return as_overlay(blend_bundle(name="other", clock_mhz=50))


@pytest.fixture
def info() -> DeviceInfo:
    return backend.probe()[0]


class Rig:
    """A device whose driver's insides a test may turn."""

    def __init__(
        self, info: DeviceInfo, overlay: Overlay, seed: int = 0, stall_per_256: int = 0
    ) -> None:
        timing = MemoryTiming(stall_per_256=stall_per_256)
        self.shell = VerilatorShell(first_batch_cycles=1, timing=timing, seed=seed)
        self.driver = FpgaDriver(info, self.shell, watchdog_s=5)
        self.device = Device(self.driver)
        self.device.configure(overlay)


@pytest.fixture
def rigs(info: DeviceInfo, blend: Overlay) -> Iterator[tuple[Rig, Rig]]:
    """Two devices; the second powers on with noise, so that nothing is right by luck."""
    pair = Rig(info, blend, stall_per_256=40), Rig(info, blend, seed=99, stall_per_256=7)
    yield pair
    for rig in pair:
        rig.device.close()
