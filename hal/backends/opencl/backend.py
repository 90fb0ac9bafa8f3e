"""Which OpenCL devices there are: `opencl:N` counts through the platforms in the loader's order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pyopencl as cl

from hal import selftests
from hal.backends.opencl.driver import OpenclDriver
from hal.driver import Driver
from hal.errors import DeviceLost
from hal.types import Caps, DeviceInfo, SelfTest

# PoCL (OpenCL on the processor) shows as many devices as this variable, its own, has words. Two
# alike let a halted job move on a machine without a GPU. Read by PoCL when its platform loads.
POCL_VARIABLE, POCL_DEVICES = "POCL_DEVICES", "pthread pthread"

QUEUE_DEPTH = 1024


class OpenclBackend:
    name = "opencl"
    preference = 10  # accelerators before the reference, for programs that name no device

    def probe(self) -> Sequence[DeviceInfo]:
        return [
            DeviceInfo(f"{self.name}:{index}", device.name.strip(), _part(device), _caps(device))
            for index, device in enumerate(_devices())
        ]

    def open(self, info: DeviceInfo) -> Driver:
        index = int(info.uri.rsplit(":", 1)[1])
        for found, device in enumerate(_devices()):
            if found == index:
                return OpenclDriver(info, device)
        raise DeviceLost(f"{info.uri} was present a moment ago and is gone")

    def self_tests(self, info: DeviceInfo) -> Sequence[SelfTest]:
        return selftests.for_format("opencl-c")


def _devices() -> Iterator[cl.Device]:
    os.environ.setdefault(POCL_VARIABLE, POCL_DEVICES)
    try:
        platforms = cl.get_platforms()
    except cl.Error:  # the loader knows no platform
        return
    for platform in platforms:
        try:
            devices = platform.get_devices()
        except cl.Error:  # a driver installed without its hardware
            continue
        yield from (device for device in devices if device.available and device.compiler_available)


def _part(device: cl.Device) -> str:
    """Devices alike in all of these give equal bits."""
    words = (device.platform.name, device.name, device.driver_version)
    return "/".join(word.strip() for word in words)


def _caps(device: cl.Device) -> Caps:
    return Caps(
        formats=("opencl-c",),
        memory_bytes=device.global_mem_size,
        max_buffer_bytes=device.max_mem_alloc_size,
        queue_depth=QUEUE_DEPTH,
        offset_align=max(device.mem_base_addr_align // 8, 1),
    )
