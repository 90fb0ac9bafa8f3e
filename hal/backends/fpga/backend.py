"""Which simulated FPGAs there are: as many as HALTERE_FPGA_SIM_COUNT says, if they can be built."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from hal.backends.fpga import overlays
from hal.backends.fpga.driver import FpgaDriver
from hal.backends.fpga.shell import BEAT_BYTES
from hal.backends.fpga.verilator_shell import BATCH_CYCLES, PART, VerilatorShell
from hal.driver import Driver
from hal.errors import UsageError
from hal.types import Caps, DeviceInfo, Preemption, SelfTest
from rtl_sim.verilated import toolchain

COUNT_VARIABLE = "HALTERE_FPGA_SIM_COUNT"
BATCH_VARIABLE = "HALTERE_FPGA_SIM_BATCH"  # clock cycles between two possible halting points
DEVICE_COUNT = 2  # so that something can move
MAX_DEVICE_COUNT = 64
MAX_BATCH_CYCLES = 1_000_000  # about a second of a large overlay: timeouts must stay meaningful
MEMORY_BYTES = 1 << 30
MAX_BUFFER_BYTES = 256 << 20

_CAPS = Caps(
    formats=("overlay",),
    memory_bytes=MEMORY_BYTES,
    max_buffer_bytes=MAX_BUFFER_BYTES,
    configurable=True,
    preemption=Preemption.CYCLE,
    queue_depth=1,
    offset_align=BEAT_BYTES,
)


class FpgaSimBackend:
    name = "fpga-sim"

    def probe(self) -> Sequence[DeviceInfo]:
        if toolchain.absence() is not None:
            return ()
        count = _number(COUNT_VARIABLE, DEVICE_COUNT, 0, MAX_DEVICE_COUNT)
        return [
            DeviceInfo(f"{self.name}:{index}", "FPGA simulated by Verilator", PART, _CAPS)
            for index in range(count)
        ]

    def advice(self) -> str:
        return toolchain.absence() or f"{COUNT_VARIABLE} says how many there are"

    def open(self, info: DeviceInfo) -> Driver:
        batch = _number(BATCH_VARIABLE, BATCH_CYCLES, 1, MAX_BATCH_CYCLES)
        return FpgaDriver(info, VerilatorShell(batch))

    def self_tests(self, info: DeviceInfo) -> Sequence[SelfTest]:
        """Those of every overlay that ships; the first call builds them."""
        with ThreadPoolExecutor() as pool:  # which other processes do, a minute for the largest
            built = list(pool.map(overlays.overlay, overlays.names()))
        return tuple(test for overlay in built for test in overlays.self_tests(overlay))


def _number(variable: str, default: int, low: int, high: int) -> int:
    text = os.environ.get(variable, "")
    if not text:
        return default
    if not text.isdecimal() or not low <= int(text) <= high:
        raise UsageError(f"{variable}={text!r}: must be a number from {low} to {high}")
    return int(text)
