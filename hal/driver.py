"""THE SEAM. A backend author writes these three classes and nothing else.

A driver trusts its caller: `hal.context` has checked bounds, lifetimes, usage and capabilities
once, for all backends. A driver converts foreign exceptions to `hal.errors` at its own edge.

Progress. Commands are enqueued in order. A device may work in the background; a device whose
clock is driven by us (simulation) makes progress inside `wait`, in bounded batches. Either way
`wait` with a short timeout is how a caller lets the device work while keeping control.

Halting. `halt` stops a context at the finest point the device knows (`Caps.preemption`): between
commands, having drained what was enqueued, or at any clock cycle in the middle of a kernel. A
halted context stays put; the next `wait` or enqueue goes on as if nothing had happened. A `read`
alone does not make it go on: that is how buffers are gathered in the middle of a kernel, which it
would otherwise queue behind (`Context` lets a halted context go on before a read of its caller's,
so only gathering meets that rule). `save_state` returns what no buffer holds: nothing, for a device
that stops between commands; fabric state and every unfinished command (the running kernel, what
queues behind it, signals) for one that stops at any cycle. Reads that are still queued then have
no place to go in another process: they are left out, and the caller enqueues them again.

The halting law: with the same buffer contents written first,
    run == run to t + halt + save_state + load_state elsewhere + run on       bit for bit.
`load_state` is called on a fresh context whose live buffers and programs were created in the same
order and sizes as the live ones of the saved context (dead ones left out); the i-th live buffer
there stands for the i-th here. A driver may re-place buffers (their contents go along).
`load_state` checks everything before it changes anything: a refused state leaves the context as
it was.

Sharing. A device that stops at any cycle counts the clock cycles that each context used, and
stops a context at a given count (`cycle_limit`): that is how whoever shares it slices its time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from hal.timeline import DeviceTimeline
from hal.types import Arg, DeviceInfo, Grid, Handle, Overlay, ProgramImage, SelfTest, Seq, Usage


class DriverContext(ABC):
    """One tenant's memory and one in-order queue on one device.

    label        what messages and the device's timeline call it; set by its opener
    cycles       clock cycles that the device worked for it, where the device counts them
    cycle_limit  `wait` lets the device work until `cycles` is this, exactly, and a context that
                 stands there gives the device to any other that needs it; None: no limit.
                 Whatever is enqueued behind a kernel still waits for the kernel's end.
    """

    label: str = ""
    cycles: int = 0
    cycle_limit: int | None = None

    @abstractmethod
    def alloc(self, nbytes: int, usage: Usage) -> Handle:
        """New zero-filled buffer. Raises OutOfMemory."""

    @abstractmethod
    def free(self, buffer: Handle) -> None:
        """Release a buffer; commands already enqueued that use it still see it."""

    @abstractmethod
    def load(self, image: ProgramImage) -> Handle:
        """Build or bind a program. Raises ProgramRejected with the build log."""

    @abstractmethod
    def unload(self, program: Handle) -> None: ...

    # each enqueues and returns; they run in the order given
    @abstractmethod
    def write(self, buffer: Handle, offset: int, data: memoryview) -> None:
        """`data` may be reused by the caller as soon as this returns."""

    @abstractmethod
    def read(self, buffer: Handle, offset: int, into: memoryview) -> None:
        """`into` is filled once a later signal has completed; the caller keeps it alive. In a
        context halted inside a kernel: filled at once, with what the buffer holds now."""

    @abstractmethod
    def copy(
        self, source: Handle, source_offset: int, target: Handle, target_offset: int, nbytes: int
    ) -> None: ...

    @abstractmethod
    def launch(self, program: Handle, entry: str, args: Sequence[Arg], grid: Grid) -> None:
        """Raises ProgramRejected for an unknown entry or arguments that do not fit it."""

    @abstractmethod
    def signal(self, seq: Seq) -> None:
        """`seq` completes when everything enqueued before it has."""

    @abstractmethod
    def wait(self, seq: Seq, timeout_s: float) -> bool:
        """Let the device work until `seq` completed (True) or the time is over (False). Raises
        DeviceFault or DeviceLost when it will never complete."""

    @abstractmethod
    def halt(self, timeout_s: float) -> bool:
        """Stop at the next halting point. False: none was reached in time, nothing changed."""

    # state that no buffer holds; called only when the context is halted
    def save_state(self) -> bytes:
        return b""

    def load_state(self, state: bytes) -> None:  # noqa: B027  (a default, not an omission)
        """Put a saved state in place. Raises StateError, changing nothing."""

    @abstractmethod
    def close(self) -> None:
        """Release everything the context holds. Idempotent."""


class Preparation(Protocol):
    """Work that goes on outside this process."""

    def poll(self) -> bool:
        """True once it is done; may be asked again. Raises OverlayRejected when it failed."""
        ...

    def cancel(self) -> None:
        """End it, and release what it holds. Idempotent."""
        ...


class Builder(Protocol):
    def prepare(self, overlay: Overlay) -> Preparation | None:
        """Begin what would make `configure` take long, so that the caller can go on with other
        work; None: nothing would. Raises OverlayRejected."""
        ...


class Driver(ABC):
    """One opened device.

    timeline       what it did for whom, of devices that record that
    builder        of devices whose overlays may have to be built before they are put on
    native_handle  what the device's own library calls it (OpenCL's cl_device_id), for a server that
                   speaks to it without this driver
    """

    info: DeviceInfo
    timeline: DeviceTimeline | None = None
    builder: Builder | None = None
    native_handle: int | None = None

    @abstractmethod
    def open_context(self) -> DriverContext: ...

    def configure(self, overlay: Overlay) -> None:
        """Program the device with `overlay`, losing the fabric's present state (save it first).
        A no-op if it is configured already and idle. Raises OverlayRejected."""
        raise NotImplementedError  # Context checks Caps.configurable before it calls

    @abstractmethod
    def close(self) -> None: ...


class Backend(Protocol):
    """A kind of device. Found by entry point, group `hal.backends`; its name is the URI's kind."""

    name: str

    def probe(self) -> Sequence[DeviceInfo]:
        """The devices present. Never raises for an absent device or library: returns none."""
        ...

    def open(self, info: DeviceInfo) -> Driver: ...

    def self_tests(self, info: DeviceInfo) -> Sequence[SelfTest]:
        """Known-answer programs for this device: data, so that every suite can run them."""
        ...
