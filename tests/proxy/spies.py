"""Sessions on the nosy overlay (rtl/spy), for tests of sharing a fabric.

What a launch leaves in its buffer depends on all that the fabric held when it began, on every
cycle it ran and on nothing else: equal bytes mean that nobody else's time on the fabric showed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from hal.backends.fpga import backend, overlays
from hal.backends.fpga.driver import FpgaDriver
from hal.backends.fpga.recipe import recipes
from hal.backends.fpga.verilator_shell import VerilatorShell
from hal.context import Device
from hal.types import Overlay, ProgramImage, ScalarArg, Seq

RTL = Path(__file__).with_name("rtl")
WORDS = 20
FOREVER = 0xFFFFFFFF
OUTSIDE = 0xBAD  # a key
Work = Sequence[tuple[int, int]]


def no_vectors(name: str, params: dict[str, int]) -> Sequence[dict[str, Any]]:
    return ()


@lru_cache
def spy_overlay(name: str = "spy") -> Overlay:
    return overlays.as_overlay(overlays._bundle(recipes(RTL)[name]))


class Spy:
    """One session: launches on its own buffer, one after another."""

    def __init__(self, device: Device, overlay: Overlay) -> None:
        self.device = device
        device.configure(overlay)
        self.context = device.open_context()
        self.program = self.context.load(ProgramImage("overlay", overlay.digest.encode()))
        self.target = self.context.alloc(8 * WORDS)

    def launch(self, spin: int, key: int) -> Seq:
        args = [self.target.arg(), ScalarArg.u32(spin), ScalarArg.u32(key)]
        self.context.launch(self.program, "spy", args)
        return self.context.signal()

    def enqueue(self, work: Work) -> list[bytearray]:
        """Launches (spin, key) in order; each one's result is there once `finish` returned."""
        found = []
        for spin, key in work:
            self.launch(spin, key)
            found.append(bytearray(8 * WORDS))
            self.context.read_into(self.target, found[-1])
        return found

    def run(self, work: Work) -> list[bytearray]:
        found = self.enqueue(work)
        self.context.finish()
        return found


def together(spies: Sequence[Spy], works: Sequence[Work]) -> list[list[bytearray]]:
    """All at once on one device; each one's results."""
    found = [spy.enqueue(work) for spy, work in zip(spies, works, strict=True)]
    for spy in spies:
        spy.context.finish()
    return found


def open_simulation(seed: int = 0) -> Device:
    """An FPGA of its own; `seed`: it powers on with noise."""
    return Device(FpgaDriver(backend.probe()[0], VerilatorShell(seed=seed)))


def alone(work: Work, name: str = "spy", seed: int = 0) -> list[bytearray]:
    """What `work` results in on an FPGA that nobody shares, without a proxy."""
    with open_simulation(seed) as device:
        return Spy(device, spy_overlay(name)).run(work)
