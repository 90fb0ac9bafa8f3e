"""Which noop devices there are."""

from __future__ import annotations

from collections.abc import Sequence

from hal.backends.noop.driver import NoopDriver
from hal.driver import Driver
from hal.types import Caps, DeviceInfo, SelfTest

DEVICE_COUNT = 2  # so that something can move
MEMORY_BYTES = 2 << 30
MAX_BUFFER_BYTES = 1 << 30

_CAPS = Caps(
    formats=("noop",),
    memory_bytes=MEMORY_BYTES,
    max_buffer_bytes=MAX_BUFFER_BYTES,
    computes=False,
)


class NoopBackend:
    name = "noop"

    def probe(self) -> Sequence[DeviceInfo]:
        return [
            DeviceInfo(f"noop:{index}", "memory that computes nothing", "noop", _CAPS)
            for index in range(DEVICE_COUNT)
        ]

    def open(self, info: DeviceInfo) -> Driver:
        return NoopDriver(info)

    def self_tests(self, info: DeviceInfo) -> Sequence[SelfTest]:
        return ()
