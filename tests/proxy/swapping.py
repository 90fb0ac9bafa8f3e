"""What tests of swapping have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from opencl_records import Speaker

from hal import open_device
from hal.types import BufferArg, Grid, Handle, ProgramImage
from proxy.limits import Limits
from proxy.loopback import Loopback
from proxy.native_tenant import NativeTenant
from proxy.swap import Swap

BLEND = """
kernel void blend(global uint *a, global const uint *b) {
    size_t i = get_global_id(0);
    a[i] = a[i] * 1664525u + b[i] + 1013904223u;
}
"""
MIB = 1 << 20
RGBA, UINT8, IMAGE2D, IMAGE1D_BUFFER = 0x10B5, 0x10DA, 0x10F1, 0x10F6
Serve = Callable[..., Loopback]
Words = npt.NDArray[np.uint32]


def limits(device_bytes: int, swap_bytes: int = 1 << 30, swap_to: Path | None = None) -> Limits:
    return Limits(0.5, 60.0, None, device_bytes, swap_bytes, swap_to)


def tenant_of(loop: Loopback, session: str) -> NativeTenant:
    tenant = loop.server.served[session].tenant
    assert isinstance(tenant, NativeTenant)
    return tenant


def swap_of(loop: Loopback) -> Swap:
    assert isinstance(loop.server.room, Swap)
    return loop.server.room


def out_bytes(loop: Loopback) -> dict[str, int]:
    return {name: served.tenant.out_bytes for name, served in loop.server.served.items()}


class Job:
    """Two buffers that are blended again and again, over the proxy and natively."""

    def __init__(self, loop: Loopback, session: str, seed: int, nbytes: int = MIB) -> None:
        self.speaker = Speaker(loop, session)
        self._nbytes = nbytes
        self.data = np.random.default_rng(seed).integers(0, 2**32, (2, nbytes // 4), np.uint32)
        self._program = self.speaker.program(BLEND)
        self._buffers = [self.speaker.buffer(each) for each in self.data]
        self.steps = 0
        self.speaker.done()

    def step(self) -> None:
        a, b = (BufferArg(Handle(buffer)) for buffer in self._buffers)
        self.speaker.launch(self._program, "blend", (a, b), (self._nbytes // 4,))
        self._buffers.reverse()
        self.steps += 1

    @property
    def found(self) -> bytes:
        return b"".join(self.speaker.bytes_of(buffer, self._nbytes) for buffer in self._buffers)

    @property
    def expected(self) -> bytes:
        """As the device itself computes it."""
        data, nbytes, steps = self.data, self._nbytes, self.steps
        with open_device("opencl:0") as device:
            context = device.open_context()
            program = context.load(ProgramImage("opencl-c", BLEND.encode()))
            buffers = [context.alloc(nbytes) for _ in data]
            for buffer, each in zip(buffers, data, strict=True):
                context.write(buffer, each)
            for _ in range(steps):
                args = tuple(buffer.arg() for buffer in buffers)
                context.launch(program, "blend", args, Grid((nbytes // 4,)))
                buffers.reverse()
            return b"".join(context.read(buffer) for buffer in buffers)


def blended(data: Words, steps: int) -> bytes:
    a, b = data
    for _ in range(steps):
        a, b = b, a * np.uint32(1664525) + b + np.uint32(1013904223)
    return a.tobytes() + b.tobytes()
