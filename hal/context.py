"""The safe layer: what callers use. Every call is checked here once, for all backends.

`Device` and `Context` are not thread-safe: one thread, or the caller's own lock, per context.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from math import prod
from operator import index as whole  # of what counts as an int, also numpy's; not of 2.5
from types import TracebackType
from typing import Self
from weakref import WeakSet

from hal.driver import Driver, DriverContext, Preparation
from hal.errors import DeviceTimeout, ProgramRejected, StateError, Unsupported, UsageError
from hal.timeline import DeviceTimeline
from hal.types import (
    Arg,
    BufferArg,
    Caps,
    DeviceInfo,
    Grid,
    Handle,
    Overlay,
    Preemption,
    ProgramImage,
    ScalarArg,
    Seq,
    Usage,
)

FINISH_TIMEOUT_S = 600.0  # every wait is bounded; a kernel that needs longer waits explicitly
PEEK_TIMEOUT_S = 60.0  # for one read on an idle queue
NO_SEQ = Seq(0)  # before the first signal
# Devices number work items in 32 bits, and runtimes crash or wrap around beyond them: PoCL dies of
# a global size of 2**63.
MAX_GRID_SIZE = (1 << 31) - 1  # of one dimension
MAX_GRID_ITEMS = 1 << 32  # of all together

BytesLike = bytes | bytearray | memoryview


class Buffer:
    """Device memory owned by one context."""

    def __init__(self, context: Context, handle: Handle, size_bytes: int, usage: Usage) -> None:
        self.context = context
        self.handle = handle
        self.size_bytes = size_bytes
        self.usage = usage
        self.for_kernels = Usage.KERNEL in usage
        self.live = True

    def arg(self, offset: int = 0) -> BufferArg:
        """This buffer as a kernel argument."""
        return BufferArg(self.handle, offset)

    def free(self) -> None:
        self.context.free(self)


class Program:
    """A loaded program of one context."""

    def __init__(self, context: Context, handle: Handle, image: ProgramImage) -> None:
        self.context = context
        self.handle = handle
        self.image = image
        self.live = True


class Context:
    """One tenant's memory and one in-order queue on one device. Use as a context manager."""

    def __init__(self, driver_context: DriverContext, info: DeviceInfo) -> None:
        self.info = info
        self._offset_align = info.caps.offset_align
        self._driver = driver_context
        self._buffers: dict[Handle, Buffer] = {}
        self._programs: dict[Handle, Program] = {}
        self._last_seq = Seq(0)
        self._settled_seq = Seq(0)  # up to here completed in the life this one continues
        self._halted = False
        self._closed = False

    @property
    def caps(self) -> Caps:
        return self.info.caps

    @property
    def last_seq(self) -> Seq:
        """The newest signalled point."""
        return self._last_seq

    @property
    def label(self) -> str:
        """What messages and the device's timeline call this context."""
        return self._driver.label

    @label.setter
    def label(self, name: str) -> None:
        self._driver.label = name

    @property
    def cycles(self) -> int:
        """Clock cycles that the device worked for this context; 0 where it does not count them."""
        return self._driver.cycles

    @property
    def cycle_limit(self) -> int | None:
        """The count of `cycles` at which `wait` stops the device and returns; see hal.driver."""
        return self._driver.cycle_limit

    @cycle_limit.setter
    def cycle_limit(self, cycles: int | None) -> None:
        self._driver.cycle_limit = cycles

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """Live buffers in creation order."""
        return tuple(self._buffers.values())

    # ---- memory

    def alloc(self, nbytes: int, usage: Usage = Usage.ALL) -> Buffer:
        self._check_open()
        try:
            nbytes = whole(nbytes)
        except TypeError:
            raise UsageError(f"alloc of {nbytes!r} bytes: must be an integer") from None
        if not 0 < nbytes <= self.caps.max_buffer_bytes:
            raise UsageError(
                f"alloc of {nbytes} bytes on {self.info.uri}: a buffer holds 1 to "
                f"{self.caps.max_buffer_bytes} bytes"
            )
        buffer = Buffer(self, self._driver.alloc(nbytes, usage), nbytes, usage)
        self._buffers[buffer.handle] = buffer
        return buffer

    def free(self, buffer: Buffer) -> None:
        self._check_buffer(buffer, "free")
        buffer.live = False
        del self._buffers[buffer.handle]
        self._driver.free(buffer.handle)

    # ---- programs

    def load(self, image: ProgramImage) -> Program:
        self._check_open()
        if image.format not in self.caps.formats:
            raise ProgramRejected(
                f"{self.info.uri} cannot load a {image.format!r} image; it accepts "
                f"{', '.join(self.caps.formats) or 'nothing'}"
            )
        program = Program(self, self._driver.load(image), image)
        self._programs[program.handle] = program
        return program

    def unload(self, program: Program) -> None:
        self._check_program(program, "unload")
        program.live = False
        del self._programs[program.handle]
        self._driver.unload(program.handle)

    # ---- the queue

    def write(self, buffer: Buffer, data: BytesLike, offset: int = 0) -> None:
        """Enqueue: bytes of `data` into `buffer` from `offset`. `data` may be reused at once."""
        view = _bytes_of(data)
        self._check_range(buffer, offset, view.nbytes, Usage.HOST_WRITE, "write")
        self._halted = False
        if view.nbytes:
            self._driver.write(buffer.handle, offset, view)

    def read_into(self, buffer: Buffer, into: bytearray | memoryview, offset: int = 0) -> None:
        """Enqueue: fill `into` (writable) once a later signal completes."""
        try:
            view = memoryview(into).cast("B")
        except (TypeError, ValueError) as error:  # a copy, as for write, would fill the copy
            raise UsageError(f"read_into: pass contiguous, writable memory ({error})") from error
        if view.readonly:
            raise UsageError("read_into a read-only object; pass a bytearray or writable view")
        self._check_range(buffer, offset, view.nbytes, Usage.HOST_READ, "read")
        if self._halted:  # a driver fills a read of a halted context at once; this one is in order
            self._halted = False
            self._driver.wait(NO_SEQ, 0.0)
        if view.nbytes:
            self._driver.read(buffer.handle, offset, view)

    def read(self, buffer: Buffer, nbytes: int | None = None, offset: int = 0) -> bytes:
        """Read and wait: the bytes of `buffer` after everything enqueued so far."""
        count = buffer.size_bytes - offset if nbytes is None else nbytes
        self._check_range(buffer, offset, count, Usage.HOST_READ, "read")  # before so much is made
        into = bytearray(count)
        self.read_into(buffer, into, offset)
        self.finish()
        return bytes(into)

    def copy(
        self,
        source: Buffer,
        target: Buffer,
        nbytes: int,
        source_offset: int = 0,
        target_offset: int = 0,
    ) -> None:
        self._check_range(source, source_offset, nbytes, Usage.COPY, "copy from")
        self._check_range(target, target_offset, nbytes, Usage.COPY, "copy to")
        if (
            source is target
            and source_offset < target_offset + nbytes
            and target_offset < source_offset + nbytes
        ):
            raise UsageError("copy within one buffer: the ranges overlap; copy in two steps")
        self._halted = False
        if nbytes:
            self._driver.copy(source.handle, source_offset, target.handle, target_offset, nbytes)

    def launch(
        self, program: Program, entry: str, args: Sequence[Arg], grid: Grid | None = None
    ) -> None:
        self._check_program(program, "launch")
        for index, arg in enumerate(args):
            if isinstance(arg, BufferArg):
                buffer = self._buffers.get(arg.buffer)
                if (
                    buffer is None
                    or not buffer.for_kernels
                    or not 0 <= arg.offset < buffer.size_bytes
                    or arg.offset % self._offset_align
                ):
                    self._refuse_argument(entry, index, arg)
            elif not isinstance(arg, ScalarArg):
                raise UsageError(f"launch {entry!r}: argument {index} is {type(arg).__name__}")
        grid = grid or Grid()
        _check_grid(grid)
        self._halted = False
        self._driver.launch(program.handle, entry, args, grid)

    def signal(self) -> Seq:
        """Enqueue a completion point and return its number."""
        self._check_open()
        self._halted = False
        self._last_seq = Seq(self._last_seq + 1)
        self._driver.signal(self._last_seq)
        return self._last_seq

    def wait(self, seq: Seq, timeout_s: float) -> bool:
        """True once `seq` completed; False when `timeout_s` passed first."""
        self._check_open()
        if seq > self._last_seq:
            raise UsageError(f"wait for seq {seq}: the newest signalled is {self._last_seq}")
        self._halted = False
        return seq <= self._settled_seq or self._driver.wait(seq, timeout_s)

    def finish(self, timeout_s: float = FINISH_TIMEOUT_S) -> None:
        """Signal and wait. Raises DeviceTimeout."""
        seq = self.signal()
        if not self.wait(seq, timeout_s):
            raise DeviceTimeout(f"{self.info.uri}: seq {seq} did not complete in {timeout_s} s")

    # ---- halting

    def halt(self, timeout_s: float = FINISH_TIMEOUT_S) -> None:
        """Stop at the next halting point; the next wait or enqueue goes on."""
        self._check_open()
        if not self._driver.halt(timeout_s):
            raise DeviceTimeout(f"{self.info.uri}: no halting point reached in {timeout_s} s")
        self._halted = True

    @property
    def halted(self) -> bool:
        """True from `halt` or `load_state` until the next wait or enqueue."""
        return self._halted

    def peek(self, buffer: Buffer, nbytes: int | None = None, offset: int = 0) -> bytes:
        """The bytes that a buffer of a halted context holds now, in mid-kernel too; it stays
        halted. This is how a snapshot gathers buffers: `read` would queue behind the kernel."""
        self._check_halted("peek")
        count = buffer.size_bytes - offset if nbytes is None else nbytes
        self._check_range(buffer, offset, count, Usage.HOST_READ, "peek")
        into = bytearray(count)
        if into:
            self._driver.read(buffer.handle, offset, memoryview(into))
            self.halt(PEEK_TIMEOUT_S)  # drains the read, where halting means that
        return bytes(into)

    def save_state(self) -> bytes:
        """Hidden state of a halted context: what its buffers do not hold."""
        self._check_halted("save_state")
        return self._driver.save_state()

    def load_state(self, state: bytes, last_seq: Seq = NO_SEQ) -> None:
        """Continue a saved context here; `last_seq` is the saved context's. See hal.driver for
        what must have been recreated before. A refused state changes nothing."""
        self._check_open()
        if last_seq < self._last_seq:
            raise StateError(
                f"state of seq {last_seq} loaded into a context at seq {self._last_seq}: load "
                "into a fresh context"
            )
        self._driver.load_state(state)
        self._last_seq = last_seq
        if self.caps.preemption is Preemption.COMMAND:  # halted means drained
            self._settled_seq = last_seq
        self._halted = True

    # ---- life

    def adopt(
        self,
        buffers: Sequence[tuple[Handle, int, Usage]],
        programs: Sequence[tuple[Handle, ProgramImage]],
        last_seq: Seq,
    ) -> tuple[tuple[Buffer, ...], tuple[Program, ...]]:
        """Name what the driver context holds already: for a context that outlived its process."""
        self._check_open()
        for handle, nbytes, usage in buffers:
            self._buffers[handle] = Buffer(self, handle, nbytes, usage)
        for handle, image in programs:
            self._programs[handle] = Program(self, handle, image)
        self._last_seq = max(self._last_seq, last_seq)
        return tuple(self._buffers.values()), tuple(self._programs.values())

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            for buffer in self._buffers.values():
                buffer.live = False
            for program in self._programs.values():
                program.live = False
            self._buffers.clear()
            self._programs.clear()
            self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    # ---- checks

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"the context on {self.info.uri} is closed; open another")

    def _refuse_argument(self, entry: str, index: int, arg: BufferArg) -> None:
        """Apart from the check, which every launch makes: the words are for the few that fail."""
        what = f"launch {entry!r}, argument {index}"
        buffer = self._buffers.get(arg.buffer)
        if buffer is None:
            raise UsageError(f"{what}: {arg.buffer} is not a live buffer of this context")
        self._check_range(buffer, arg.offset, 1, Usage.KERNEL, what)
        raise UsageError(
            f"{what}: offset {arg.offset}; {self.info.uri} takes multiples of {self._offset_align}"
        )

    def _check_halted(self, what: str) -> None:
        self._check_open()
        if not self._halted:
            raise StateError(f"{what} on {self.info.uri}: the context is running; halt it first")

    def _check_buffer(self, buffer: Buffer, what: str) -> None:
        self._check_open()
        if buffer.context is not self:
            raise UsageError(f"{what}: the buffer belongs to another context")
        if not buffer.live:
            raise UsageError(f"{what}: buffer {buffer.handle} was freed")

    def _check_range(
        self, buffer: Buffer, offset: int, nbytes: int, usage: Usage, what: str
    ) -> None:
        self._check_buffer(buffer, what)
        if usage not in buffer.usage:
            raise UsageError(f"{what}: buffer {buffer.handle} lacks usage {usage.name}")
        try:
            end = whole(offset) + whole(nbytes)
        except TypeError:
            raise UsageError(
                f"{what}: offset {offset!r} and size {nbytes!r} must be integers"
            ) from None
        if offset < 0 or nbytes < 0 or end > buffer.size_bytes:
            raise UsageError(
                f"{what}: bytes {offset} to {end} of buffer {buffer.handle}, which "
                f"holds {buffer.size_bytes}"
            )

    def _check_program(self, program: Program, what: str) -> None:
        self._check_open()
        if program.context is not self:
            raise UsageError(f"{what}: the program belongs to another context")
        if not program.live:
            raise UsageError(f"{what}: program {program.handle} was unloaded")


class Device:
    """One opened device. Closing it closes its contexts."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.native_handle = driver.native_handle
        self._contexts: WeakSet[Context] = WeakSet()  # one that nobody holds needs no closing
        self._closed = False

    @property
    def info(self) -> DeviceInfo:
        return self._driver.info

    @property
    def timeline(self) -> DeviceTimeline | None:
        """What the device did for whom; None where it does not record that."""
        return self._driver.timeline

    def open_context(self) -> Context:
        self._check_open()
        context = Context(self._driver.open_context(), self.info)
        self._contexts.add(context)
        return context

    def configure(self, overlay: Overlay) -> None:
        """Program the device with `overlay`. Raises Unsupported, OverlayRejected."""
        self._check_open()
        if not self.info.caps.configurable:
            raise Unsupported(f"{self.info.uri} takes no overlay; FPGAs do")
        self._driver.configure(overlay)

    def prepare(self, overlay: Overlay) -> Preparation | None:
        """Begin what would make `configure` take long; None: nothing would. Raises
        OverlayRejected."""
        self._check_open()
        builder = self._driver.builder
        return None if builder is None else builder.prepare(overlay)

    def close(self) -> None:
        self._closed = True
        with ExitStack() as stack:  # all are closed, also if one raises
            stack.callback(self._driver.close)
            for context in tuple(self._contexts):
                stack.callback(context.close)

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"the device {self.info.uri} was closed; open it again")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()


def _bytes_of(data: BytesLike) -> memoryview:
    """As plain bytes; what does not lie in one piece (a slice of an array) is copied."""
    try:
        view = memoryview(data)
    except TypeError as error:
        raise UsageError(f"write of a {type(data).__name__}: pass bytes or an array") from error
    try:
        return view.cast("B")
    except (TypeError, ValueError):  # not contiguous, empty, or of an item format of its own
        return memoryview(view.tobytes())


def _check_grid(grid: Grid) -> None:
    sizes, local = grid.global_size, grid.local_size
    try:
        for size in (*sizes, *(local or ())):
            whole(size)
    except TypeError:
        raise UsageError(f"grid {sizes}, local size {local}: must be tuples of integers") from None
    if not 1 <= len(sizes) <= 3 or min(sizes) < 1:
        raise UsageError(f"grid {sizes}: 1 to 3 dimensions, each at least 1")
    if max(sizes) > MAX_GRID_SIZE or prod(sizes) > MAX_GRID_ITEMS:
        raise UsageError(
            f"grid {sizes}: at most {MAX_GRID_SIZE} items in a dimension and {MAX_GRID_ITEMS} in "
            "all; launch it in parts"
        )
    if local is not None and (
        len(local) != len(sizes)
        or min(local) < 1
        or any(outer % inner for inner, outer in zip(local, sizes, strict=True))
    ):
        raise UsageError(f"local size {local} must divide global size {sizes}")
