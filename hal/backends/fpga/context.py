"""One tenant of a fabric: buffers, programs, the running kernel and what waits behind it.

The queue is one kernel deep. While a kernel runs, reads and signals queue behind it; whatever
could change what it or they see (write, copy, launch, free) first lets it finish. So a state that
is saved in mid-kernel holds a kernel and signals, and reads can be enqueued anew elsewhere.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hal.backends.fpga import kernel as kernels
from hal.backends.fpga import state as states
from hal.backends.fpga.shell import DmaBuffer
from hal.backends.fpga.state import ContextState, PlacedBuffer
from hal.driver import DriverContext
from hal.errors import DeviceFault, DeviceTimeout, HalError, ProgramRejected, StateError
from hal.types import Arg, Grid, Handle, ProgramImage, Seq, Usage

if TYPE_CHECKING:
    from hal.backends.fpga.driver import FpgaDriver

QUEUE_LIMIT = 1024  # reads and signals behind one kernel; more than any caller has buffers
SLICE_S = 0.01  # of work between two looks at the queue and the other contexts


@dataclass(slots=True)
class _Buffer:
    dma: DmaBuffer
    size_bytes: int

    @property
    def view(self) -> memoryview:
        return self.dma.view[: self.size_bytes]


@dataclass(slots=True)
class _Program:
    digest: str
    epoch: int  # the driver's configuration that it was loaded under


@dataclass(frozen=True, slots=True)
class _Read:
    source: memoryview
    into: memoryview


class FpgaContext(DriverContext):
    def __init__(self, driver: FpgaDriver) -> None:
        self._driver = driver
        self.space = driver.shell.open_space()
        self._handles = itertools.count(1)
        self._buffers: dict[Handle, _Buffer] = {}
        self._programs: dict[Handle, _Program] = {}
        self._behind: deque[_Read | Seq] = deque()  # waits for the running kernel, in order
        self._completed = Seq(0)
        self._closed = False
        self._failure: HalError | None = None  # why what was running never completes
        self.kernel = ""  # running, or halted in its midst
        self.halted = False
        self.parked: bytes | None = None  # fabric state while another context has the fabric
        self.epoch: int | None = None  # configuration in which this context has fabric state

    # ---- memory

    def alloc(self, nbytes: int, usage: Usage) -> Handle:
        with self._driver.lock:
            self._driver.quota.take(nbytes)
            handle = Handle(next(self._handles))
            self._buffers[handle] = _Buffer(self.space.alloc_dma(nbytes), nbytes)
            return handle

    def free(self, buffer: Handle) -> None:
        with self._driver.lock:
            self._let_finish()
            freed = self._buffers.pop(buffer)
            self.space.free_dma(freed.dma)
            self._driver.quota.give(freed.size_bytes)

    # ---- programs

    def load(self, image: ProgramImage) -> Handle:
        with self._driver.lock:
            digest = image.payload.decode("ascii", errors="replace")
            if digest not in self._driver.digests:
                configured = " or ".join(known[:16] for known in self._driver.digests)
                raise ProgramRejected(
                    f"program for overlay {digest[:16]!r}; {self._driver.info.uri} is configured "
                    f"with {configured or 'none: configure it first'}"
                )
            handle = Handle(next(self._handles))
            self._programs[handle] = _Program(digest, self._driver.epoch)
            return handle

    def unload(self, program: Handle) -> None:
        with self._driver.lock:
            del self._programs[program]

    # ---- the queue

    def write(self, buffer: Handle, offset: int, data: memoryview) -> None:
        with self._driver.lock:
            self._let_finish()
            self._buffers[buffer].view[offset : offset + data.nbytes] = data

    def read(self, buffer: Handle, offset: int, into: memoryview) -> None:
        with self._driver.lock:
            if len(self._behind) >= QUEUE_LIMIT:
                self._let_finish()
            source = self._buffers[buffer].view[offset : offset + into.nbytes]
            if self.kernel and not self.halted:
                self._behind.append(_Read(source, into))
            else:
                into[:] = source

    def copy(
        self, source: Handle, source_offset: int, target: Handle, target_offset: int, nbytes: int
    ) -> None:
        with self._driver.lock:
            self._let_finish()
            view = self._buffers[source].view[source_offset : source_offset + nbytes]
            self._buffers[target].view[target_offset : target_offset + nbytes] = view

    def launch(self, program: Handle, entry: str, args: Sequence[Arg], grid: Grid) -> None:
        with self._driver.lock:
            loaded = self._programs[program]
            if loaded.epoch != self._driver.epoch:
                raise StateError(
                    f"launch of {entry!r}: {self._driver.info.uri} was configured anew since the "
                    "program was loaded, and its fabric state is gone; load a saved state, or the "
                    "program again to start afresh"
                )
            kernel = self._driver.manifest.kernel(entry)
            if kernel is None:
                names = ", ".join(known.name for known in self._driver.manifest.kernels)
                raise ProgramRejected(f"no kernel {entry!r} in the overlay; it has {names}")
            kernels.check_launch(kernel, args, grid)
            self._let_finish()
            if self._failure is not None:
                raise self._failure_again()
            self._driver.acquire(self, self._driver.watchdog_s)
            self.kernel = kernel.name
            try:
                with self._driver.working_for(self):
                    kernels.start(
                        self._driver.shell, kernel, args, lambda handle: self._address(handle)
                    )
            except DeviceFault as error:
                raise self._fail(error) from error

    def signal(self, seq: Seq) -> None:
        with self._driver.lock:
            if len(self._behind) >= QUEUE_LIMIT:
                self._let_finish()
            self.halted = False
            if self.kernel or self._failure is not None:
                self._behind.append(seq)
            else:
                self._completed = seq

    def wait(self, seq: Seq, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while True:
            with self._driver.lock:
                self.halted = False
                if seq <= self._completed:
                    return True
                left = self._cycles_left()
                if left == 0:
                    return False
                self._advance(min(max(deadline - time.monotonic(), 0.0), SLICE_S), left)
                if seq <= self._completed:
                    return True
            if time.monotonic() >= deadline:
                return False

    # ---- halting

    def halt(self, timeout_s: float) -> bool:
        """The clock moves in `wait` only, so the context stands at a cycle boundary already."""
        self.halted = True
        self._driver.timeline.cut()
        return True

    @property
    def can_be_parked(self) -> bool:
        """In mid-kernel: it stands still, and whoever needs the fabric may have it."""
        return self.halted or self._cycles_left() == 0

    def save_state(self) -> bytes:
        with self._driver.lock:
            if self._failure is not None:
                raise self._failure_again()
            fabric = self._driver.fabric_of(self)
            return states.pack(
                ContextState(
                    overlay=self._driver.digests[0] if fabric else "",
                    kernel=self.kernel,
                    completed=self._completed,
                    pending=tuple(entry for entry in self._behind if not isinstance(entry, _Read)),
                    buffers=tuple(
                        PlacedBuffer(
                            buffer.dma.device_address,
                            buffer.size_bytes,
                            bytes(buffer.dma.view[buffer.size_bytes :]).hex(),
                        )
                        for buffer in self._buffers.values()
                    ),
                    fabric=fabric,
                )
            )

    def load_state(self, state: bytes) -> None:
        with self._driver.lock:
            wanted = states.unpack(state)
            self._check_fits(wanted)
            if wanted.fabric:
                self._driver.make_room(self, self._driver.watchdog_s)
            placed = list(zip(self._buffers.values(), wanted.buffers, strict=True))
            self.space.place([(buffer.dma, place.device_address) for buffer, place in placed])
            for buffer, place in placed:
                buffer.dma.view[buffer.size_bytes :] = bytes.fromhex(place.padding)
            for program in self._programs.values():
                program.epoch = self._driver.epoch
            self._behind = deque(Seq(seq) for seq in wanted.pending)
            self._completed = Seq(wanted.completed)
            self._failure = None
            self.kernel, self.halted = wanted.kernel, True
            self.parked = wanted.fabric or None
            self.epoch = self._driver.epoch if wanted.fabric else None
            if wanted.fabric:
                try:
                    self._driver.acquire(self, self._driver.watchdog_s)
                except DeviceFault as error:
                    raise self._fail(error) from error
            else:
                self._driver.release_fabric(self)  # what is in it is not of the loaded state

    def close(self) -> None:
        with self._driver.lock:
            if self._closed:
                return
            self._closed = True
            self._driver.forget(self)
            for buffer in self._buffers.values():
                self._driver.quota.give(buffer.size_bytes)
            self._buffers.clear()
            self._programs.clear()
            self._behind.clear()
            self.space.close()

    # ---- called by the driver, which holds the lock

    def finish_kernel(self, timeout_s: float) -> bool:
        """Let the running kernel finish, if it does so in time. Its fault is this context's."""
        deadline = time.monotonic() + timeout_s
        while self.kernel:
            left = deadline - time.monotonic()
            try:
                self._advance(min(max(left, 0.0), SLICE_S))
            except DeviceFault:
                if self._failure is None:  # putting its parked state back failed, not the kernel
                    raise
                return True  # kept for this context's own wait
            if self.kernel and left <= 0:
                return False
        return True

    def lose_fabric(self) -> None:
        """The device is being configured: what this context had in the fabric is gone."""
        self.parked = None
        if self.kernel:
            self._fail(
                StateError(
                    f"{self._driver.info.uri} was configured while kernel {self.kernel!r} of this "
                    "context was running or halted in it: load its saved state, or open a new "
                    "context"
                )
            )

    # ---- inner

    def _cycles_left(self) -> int | None:
        return None if self.cycle_limit is None else max(self.cycle_limit - self.cycles, 0)

    def _advance(self, timeout_s: float, max_cycles: int | None = None) -> None:
        """Let this context's kernel work for a while, once it has the fabric."""
        if self._failure is not None:
            raise self._failure_again()
        if not self.kernel or not self._driver.try_acquire(self, timeout_s):
            return
        self.halted = False
        shell = self._driver.shell
        try:
            with self._driver.working_for(self):
                if not shell.wait_irq(timeout_s, max_cycles):
                    return
                kernels.acknowledge(shell)
            self._driver.timeline.cut()
        except DeviceFault as error:
            raise self._fail(error) from error
        self.kernel = ""
        while self._behind:
            entry = self._behind.popleft()
            if isinstance(entry, _Read):
                entry.into[:] = entry.source
            else:
                self._completed = entry

    def _let_finish(self) -> None:
        """Before a command that could change what the running kernel sees."""
        self.halted = False
        name = self.kernel
        if not self.finish_kernel(self._driver.watchdog_s):
            raise DeviceTimeout(
                f"{self._driver.info.uri}: kernel {name!r} is not done after "
                f"{self._driver.watchdog_s} s; wait for it, or configure the device anew"
            )

    def _fail(self, error: HalError) -> HalError:
        """What was running never completes, and says why; the device itself is usable."""
        self._failure = error
        self.kernel = ""
        self._behind = deque(entry for entry in self._behind if not isinstance(entry, _Read))
        self.parked = None
        self._driver.release_fabric(self)
        return error

    def _failure_again(self) -> HalError:
        assert self._failure is not None
        return type(self._failure)(str(self._failure))

    def _address(self, handle: Handle) -> int:
        return self._buffers[handle].dma.device_address

    def _check_fits(self, wanted: ContextState) -> None:
        """Raises StateError unless `wanted` can be put in place here."""
        uri = self._driver.info.uri
        if self.kernel:
            raise StateError(f"load_state on {uri}: kernel {self.kernel!r} is running here")
        here = [buffer.size_bytes for buffer in self._buffers.values()]
        there = [buffer.size_bytes for buffer in wanted.buffers]
        if here != there:
            raise StateError(
                f"load_state on {uri}: the saved context has live buffers of {there} bytes, this "
                f"one {here}; create the same ones in the same order"
            )
        if not wanted.fabric:
            return
        known = self._driver.digests
        if wanted.overlay not in known:
            raise StateError(
                f"load_state on {uri}: state of overlay {wanted.overlay[:16]}; configured is "
                f"{' or '.join(digest[:16] for digest in known) or 'none'}"
            )
        if wanted.kernel and self._driver.manifest.kernel(wanted.kernel) is None:
            raise StateError(f"load_state on {uri}: the overlay has no kernel {wanted.kernel!r}")
        for program in self._programs.values():
            if program.digest not in known:
                raise StateError(
                    f"load_state on {uri}: a program of this context is for overlay "
                    f"{program.digest[:16]}, which is not configured"
                )
        self._driver.shell.check(wanted.fabric)
