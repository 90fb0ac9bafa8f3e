"""The OpenCL driver: one OpenCL context with one in-order queue per tenant.

OpenCL does the work in the background; this file keeps what is in flight alive, bounds it, and
gives each seq a marker to wait for. Host memory of a transfer must outlive it, and dropping the
event of an unfinished transfer would block, so events stay in `_flying` until they are over.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence

import pyopencl as cl

from hal.backends.opencl.errors import converted, family, translated
from hal.backends.opencl.program import Program
from hal.backends.opencl.staging import Held, Staging
from hal.backends.opencl.waiting import wait_for
from hal.backends.quota import Quota
from hal.driver import Driver, DriverContext
from hal.errors import DeviceTimeout, HalError, StateError, UsageError
from hal.types import Arg, BufferArg, DeviceInfo, Grid, Handle, ProgramImage, Seq, Usage

FULL_QUEUE_TIMEOUT_S = 600.0  # as long as Context.finish waits
CLOSE_TIMEOUT_S = 10.0  # a kernel that still runs then is abandoned
ZEROS = bytes(128)  # the longest fill pattern OpenCL allows; the fastest by far on PoCL


class OpenclContext(DriverContext):
    def __init__(self, info: DeviceInfo, device: cl.Device, quota: Quota) -> None:
        self._info = info
        self._quota = quota
        with converted(f"open_context on {info.uri}"):
            self._context = cl.Context([device])
            self._queue = cl.CommandQueue(self._context, device)
        self._handles = itertools.count(1)
        self._buffers: dict[Handle, cl.Buffer] = {}
        self._programs: dict[Handle, Program] = {}
        self._flying: deque[tuple[cl.Event, Held | None]] = deque()
        self._staging = Staging()
        self._signals: dict[Seq, cl.Event] = {}
        self._done = Seq(0)
        self._fault: HalError | None = None
        self._closed = False

    # ---- memory and programs

    def alloc(self, nbytes: int, usage: Usage) -> Handle:
        self._quota.take(nbytes)
        try:
            with converted(f"alloc of {nbytes} bytes on {self._info.uri}"):
                buffer = cl.Buffer(self._context, cl.mem_flags.READ_WRITE, nbytes)
                self._zero(buffer, nbytes)
        except HalError:
            self._quota.give(nbytes)
            raise
        handle = Handle(next(self._handles))
        self._buffers[handle] = buffer
        return handle

    def _zero(self, buffer: cl.Buffer, nbytes: int) -> None:
        whole = nbytes - nbytes % len(ZEROS)
        if whole:
            self._fly(cl.enqueue_fill_buffer(self._queue, buffer, ZEROS, 0, whole))
        if whole < nbytes:
            self._fly(cl.enqueue_fill_buffer(self._queue, buffer, b"\0", whole, nbytes - whole))

    def free(self, buffer: Handle) -> None:
        native = self._buffers.pop(buffer)
        self._quota.give(native.size)
        native.release()  # OpenCL keeps the memory until queued commands are through with it

    def load(self, image: ProgramImage) -> Handle:
        program = Program(self._context, image)
        handle = Handle(next(self._handles))
        self._programs[handle] = program
        return handle

    def unload(self, program: Handle) -> None:
        del self._programs[program]

    # ---- the queue

    def write(self, buffer: Handle, offset: int, data: memoryview) -> None:
        with converted(f"write of {data.nbytes} bytes"):
            held = self._staging.hold(data)
            self._fly(
                cl.enqueue_copy(
                    self._queue, self._buffers[buffer], held, dst_offset=offset, is_blocking=False
                ),
                held,
            )

    def read(self, buffer: Handle, offset: int, into: memoryview) -> None:
        with converted(f"read of {into.nbytes} bytes"):
            self._fly(
                cl.enqueue_copy(
                    self._queue, into, self._buffers[buffer], src_offset=offset, is_blocking=False
                )
            )

    def copy(
        self, source: Handle, source_offset: int, target: Handle, target_offset: int, nbytes: int
    ) -> None:
        with converted(f"copy of {nbytes} bytes"):
            self._fly(
                cl.enqueue_copy(
                    self._queue,
                    self._buffers[target],
                    self._buffers[source],
                    byte_count=nbytes,
                    src_offset=source_offset,
                    dst_offset=target_offset,
                )
            )

    def launch(self, program: Handle, entry: str, args: Sequence[Arg], grid: Grid) -> None:
        kernel = self._programs[program].kernel(entry, args)
        try:  # not `converted`: this is the one call whose own cost shows
            for index, arg in enumerate(args):
                kernel.set_arg(index, self._region(arg) if isinstance(arg, BufferArg) else arg.data)
            event = cl.enqueue_nd_range_kernel(
                self._queue, kernel, grid.global_size, grid.local_size
            )
        except cl.Error as error:
            raise translated(error, f"launch {entry!r}") from error
        self._fly(event)

    def _region(self, arg: BufferArg) -> cl.Buffer:
        buffer = self._buffers[arg.buffer]
        if not arg.offset:
            return buffer
        align = self._info.caps.offset_align
        if arg.offset % align or arg.offset >= buffer.size:
            raise UsageError(
                f"argument at offset {arg.offset} of {buffer.size} bytes: this device takes "
                f"multiples of {align} inside the buffer"
            )
        return buffer.get_sub_region(arg.offset, buffer.size - arg.offset)

    def signal(self, seq: Seq) -> None:
        with converted(f"signal {seq}"):
            event = cl.enqueue_marker(self._queue)
            self._queue.flush()
        self._signals[seq] = event
        self._fly(event)

    def wait(self, seq: Seq, timeout_s: float) -> bool:
        if seq <= self._done:
            return True
        event = self._signals[seq]
        if not self._over(event, timeout_s):
            return False
        for old in [other for other in self._signals if other <= seq]:
            del self._signals[old]
        self._done = seq
        self._land(event)
        return True

    def halt(self, timeout_s: float) -> bool:
        with converted("halt"):
            event = cl.enqueue_marker(self._queue)
            self._queue.flush()
        self._fly(event)
        if not self._over(event, timeout_s):
            return False
        self._land(event)
        return True

    def _fly(self, event: cl.Event, held: Held | None = None) -> None:
        self._flying.append((event, held))
        if len(self._flying) >= self._info.caps.queue_depth:
            with converted("flush of a full queue"):
                self._queue.flush()
            middle, _ = self._flying[len(self._flying) // 2]
            if not self._over(middle, FULL_QUEUE_TIMEOUT_S):
                raise DeviceTimeout(
                    f"{self._info.uri}: the queue of {len(self._flying)} commands stayed full "
                    f"for {FULL_QUEUE_TIMEOUT_S} s"
                )
            self._land(middle)

    def _over(self, event: cl.Event, timeout_s: float) -> bool:
        """Wait; a command that failed stays, for nothing after it can be trusted."""
        if self._fault is None:
            status = wait_for(event, timeout_s)
            if status is None or status == 0:
                return status == 0
            self._fault = family(status)(
                f"{self._info.uri}: a command failed with OpenCL status {status}", native=status
            )
        raise type(self._fault)(str(self._fault), native=self._fault.native)

    def _land(self, last: cl.Event) -> None:
        """Drop what is over: `last` and all before it."""
        while self._flying:
            event, held = self._flying.popleft()
            self._staging.give_back(held)
            if event is last:
                return

    # ---- state and life

    def load_state(self, state: bytes) -> None:
        if state:
            raise StateError(
                f"{len(state)} bytes of hidden state: this device stops between commands and has "
                "none; the state is another kind of device's"
            )

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for buffer in list(self._buffers):
            self.free(buffer)
        self._programs.clear()
        if self._flying:
            try:
                drained = self.halt(CLOSE_TIMEOUT_S)
            except HalError:
                drained = True  # over, if badly
            if not drained:
                _abandoned.extend(self._flying)
        self._flying.clear()


# Events of kernels that did not end in time: dropping them would block for as long as they run.
_abandoned: list[tuple[cl.Event, Held | None]] = []


class OpenclDriver(Driver):
    def __init__(self, info: DeviceInfo, device: cl.Device) -> None:
        self.info = info
        self.native_handle = int(device.int_ptr)
        self._device = device
        self._quota = Quota(info.caps.memory_bytes)

    def open_context(self) -> DriverContext:
        return OpenclContext(self.info, self._device, self._quota)

    def close(self) -> None:
        pass  # contexts hold everything
