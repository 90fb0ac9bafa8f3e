"""The cpu driver: a queue of closures, run in order inside `wait`, one command at a time.

It runs lazily although it could run at once, because it is the reference: a caller that reads
before it waits, or that reuses `into` too early, must fail here as it would on a real device.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hal.backends.cpu.program import Bytes, Program, Value, call
from hal.backends.quota import Quota
from hal.driver import Driver, DriverContext
from hal.errors import DeviceFault, StateError
from hal.types import Arg, BufferArg, DeviceInfo, Grid, Handle, ProgramImage, Seq, Usage

if TYPE_CHECKING:
    from hal.backends.cpu.golden import GoldenProgram


class CpuContext(DriverContext):
    def __init__(self, quota: Quota, queue_depth: int) -> None:
        self._quota = quota
        self._depth = queue_depth
        self._handles = itertools.count(1)
        self._buffers: dict[Handle, Bytes] = {}
        self._programs: dict[Handle, Program | GoldenProgram] = {}
        self._queue: deque[Callable[[], None]] = deque()
        self._done = Seq(0)
        self._fault: DeviceFault | None = None

    # ---- memory and programs

    def alloc(self, nbytes: int, usage: Usage) -> Handle:
        self._quota.take(nbytes)
        handle = Handle(next(self._handles))
        self._buffers[handle] = np.zeros(nbytes, np.uint8)
        return handle

    def free(self, buffer: Handle) -> None:
        self._quota.give(self._buffers.pop(buffer).size)  # queued commands hold the array

    def load(self, image: ProgramImage) -> Handle:
        program = _program(image)
        handle = Handle(next(self._handles))
        self._programs[handle] = program
        return handle

    def unload(self, program: Handle) -> None:
        del self._programs[program]

    # ---- the queue

    def write(self, buffer: Handle, offset: int, data: memoryview) -> None:
        target = self._buffers[buffer][offset : offset + data.nbytes]
        copy = np.frombuffer(bytes(data), np.uint8)
        self._enqueue(lambda: np.copyto(target, copy))

    def read(self, buffer: Handle, offset: int, into: memoryview) -> None:
        source = self._buffers[buffer][offset : offset + into.nbytes]
        target = np.frombuffer(into, np.uint8)
        self._enqueue(lambda: np.copyto(target, source))

    def copy(
        self, source: Handle, source_offset: int, target: Handle, target_offset: int, nbytes: int
    ) -> None:
        origin = self._buffers[source][source_offset : source_offset + nbytes]
        place = self._buffers[target][target_offset : target_offset + nbytes]
        self._enqueue(lambda: np.copyto(place, origin))

    def launch(self, program: Handle, entry: str, args: Sequence[Arg], grid: Grid) -> None:
        function = self._programs[program].check(entry, args)
        values: list[Value] = [
            self._buffers[arg.buffer][arg.offset :] if isinstance(arg, BufferArg) else arg.data
            for arg in args
        ]
        self._enqueue(lambda: call(function, entry, grid, values))

    def signal(self, seq: Seq) -> None:
        def complete() -> None:
            self._done = seq

        self._enqueue(complete)

    def wait(self, seq: Seq, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while self._done < seq:
            self._step()
            if self._done < seq and time.monotonic() >= deadline:
                return False
        return True

    def halt(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while self._queue:
            if time.monotonic() >= deadline:
                return False
            self._step()
        return True

    def _enqueue(self, command: Callable[[], None]) -> None:
        while len(self._queue) >= self._depth:
            self._step()
        self._queue.append(command)

    def _step(self) -> None:
        """Run the oldest command. A fault stays: nothing after it can be trusted."""
        if self._fault is None:
            assert self._queue, "waited for a seq that was never signalled"
            try:
                self._queue.popleft()()
                return
            except DeviceFault as fault:
                self._fault = fault
        raise DeviceFault(str(self._fault)) from self._fault

    # ---- state and life

    def load_state(self, state: bytes) -> None:
        if state:
            raise StateError(
                f"{len(state)} bytes of hidden state: this device stops between commands and has "
                "none; the state is another kind of device's"
            )
        # the saved context's signals have all completed, and new ones will be numbered above

    def close(self) -> None:
        for buffer in list(self._buffers):
            self.free(buffer)
        self._programs.clear()
        self._queue.clear()


def _program(image: ProgramImage) -> Program | GoldenProgram:
    if image.format != "golden":
        return Program(image)
    from hal.backends.cpu.golden import GoldenProgram  # the golden models: few need them

    return GoldenProgram(image)


class CpuDriver(Driver):
    def __init__(self, info: DeviceInfo) -> None:
        self.info = info
        self._quota = Quota(info.caps.memory_bytes)

    def open_context(self) -> DriverContext:
        return CpuContext(self._quota, self.info.caps.queue_depth)

    def close(self) -> None:
        pass  # holds nothing of its own
