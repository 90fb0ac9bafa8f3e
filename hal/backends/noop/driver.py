"""The noop driver: every command is done when it is enqueued; a launch does nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hal.backends.quota import Quota
from hal.driver import Driver, DriverContext
from hal.errors import StateError
from hal.types import Arg, DeviceInfo, Grid, Handle, ProgramImage, Seq, Usage


class NoopContext(DriverContext):
    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._handles = itertools.count(1)
        self._buffers: dict[Handle, bytearray] = {}

    def alloc(self, nbytes: int, usage: Usage) -> Handle:
        self._quota.take(nbytes)
        handle = Handle(next(self._handles))
        self._buffers[handle] = bytearray(nbytes)
        return handle

    def free(self, buffer: Handle) -> None:
        self._quota.give(len(self._buffers.pop(buffer)))

    def load(self, image: ProgramImage) -> Handle:
        return Handle(next(self._handles))

    def unload(self, program: Handle) -> None:
        pass

    def write(self, buffer: Handle, offset: int, data: memoryview) -> None:
        self._buffers[buffer][offset : offset + data.nbytes] = data

    def read(self, buffer: Handle, offset: int, into: memoryview) -> None:
        into[:] = memoryview(self._buffers[buffer])[offset : offset + into.nbytes]

    def copy(
        self, source: Handle, source_offset: int, target: Handle, target_offset: int, nbytes: int
    ) -> None:
        view = memoryview(self._buffers[source])[source_offset : source_offset + nbytes]
        memoryview(self._buffers[target])[target_offset : target_offset + nbytes] = view

    def launch(self, program: Handle, entry: str, args: Sequence[Arg], grid: Grid) -> None:
        pass

    def signal(self, seq: Seq) -> None:
        pass

    def wait(self, seq: Seq, timeout_s: float) -> bool:
        return True

    def halt(self, timeout_s: float) -> bool:
        return True

    def load_state(self, state: bytes) -> None:
        if state:
            raise StateError(f"{len(state)} bytes of hidden state: this device has none")

    def close(self) -> None:
        for buffer in list(self._buffers):
            self.free(buffer)


class NoopDriver(Driver):
    def __init__(self, info: DeviceInfo) -> None:
        self.info = info
        self._quota = Quota(info.caps.memory_bytes)

    def open_context(self) -> DriverContext:
        return NoopContext(self._quota)

    def close(self) -> None:
        pass  # holds nothing of its own
