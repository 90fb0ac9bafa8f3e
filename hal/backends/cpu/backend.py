"""Which cpu devices there are. Two, so that a halted job has somewhere to go on any machine."""

from __future__ import annotations

from collections.abc import Sequence

from hal import selftests
from hal.backends.cpu.driver import CpuDriver
from hal.driver import Driver
from hal.types import Caps, DeviceInfo, SelfTest

DEVICE_COUNT = 2
MEMORY_BYTES = 2 << 30  # host memory is not ours alone
MAX_BUFFER_BYTES = 1 << 30
QUEUE_DEPTH = 1024

_CAPS = Caps(
    formats=("numpy", "golden"),
    memory_bytes=MEMORY_BYTES,
    max_buffer_bytes=MAX_BUFFER_BYTES,
    queue_depth=QUEUE_DEPTH,
)


class CpuBackend:
    name = "cpu"

    def probe(self) -> Sequence[DeviceInfo]:
        return [
            DeviceInfo(f"cpu:{index}", "NumPy reference", "numpy", _CAPS)
            for index in range(DEVICE_COUNT)
        ]

    def open(self, info: DeviceInfo) -> Driver:
        return CpuDriver(info)

    def self_tests(self, info: DeviceInfo) -> Sequence[SelfTest]:
        return selftests.for_format("numpy")
