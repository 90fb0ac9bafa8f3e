"""The inner seam: how the FPGA driver reaches a fabric. Silicon and simulation differ by one file.

A shell holds one fabric, programmed with one overlay at a time (ports, registers and state port as
docs/overlays.md has them), and hands out device memory in *spaces*: the fabric's memory master
sees the one space that is attached, and nothing else. Device addresses are part of a space, not
of a device: a context's addresses lie in flip-flops of a halted kernel, so they must be the same
wherever it goes on. (On a board that takes an address translation in the shell.)

A shell converts foreign exceptions to `hal.errors`. It knows no contexts, queues or kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bitstreams import Bundle
from hal.driver import Preparation

BEAT_BYTES = 8  # a memory access of the fabric; buffers are padded to it
PAGE_BYTES = 4096  # no burst crosses one, so a burst lies within one buffer or in none


@dataclass(eq=False, slots=True)
class DmaBuffer:
    """Memory that host and fabric both see. `view` is padded with zeros to whole beats."""

    view: memoryview
    device_address: int


class Space(Protocol):
    """The device memory of one context."""

    def alloc_dma(self, nbytes: int) -> DmaBuffer:
        """Zero-filled, at a page boundary, at an address this space never used before."""
        ...

    def free_dma(self, buffer: DmaBuffer) -> None: ...

    def place(self, buffers: Sequence[tuple[DmaBuffer, int]]) -> None:
        """Give all live buffers these device addresses (page boundaries, not overlapping);
        their contents go along."""
        ...

    def close(self) -> None:
        """Idempotent."""
        ...


class Shell(Protocol):
    def prepare(self, bundle: Bundle) -> Preparation | None:
        """Begin what `program` would wait long for; None: nothing. Raises OverlayRejected."""
        ...

    def program(self, bundle: Bundle) -> None:
        """Configure the fabric; it is then in reset state. Raises OverlayRejected, and then the
        fabric is what it was."""
        ...

    def reset(self) -> None:
        """The programmed overlay as after `program`, with nothing left of what ran."""
        ...

    def open_space(self) -> Space: ...

    def attach(self, space: Space | None) -> None:
        """Let the fabric see this space only (None: no memory at all)."""
        ...

    def read32(self, offset: int) -> int: ...

    def write32(self, offset: int, value: int) -> None: ...

    def wait_irq(self, timeout_s: float, max_cycles: int | None = None) -> bool:
        """Let the fabric work until its interrupt is high (True), the time is over, or it has
        worked exactly `max_cycles` (at least 1). A simulated clock moves here, at least one batch
        of cycles, and in register accesses; nowhere else. Raises DeviceFault."""
        ...

    def capture(self) -> bytes:
        """A canonical snapshot (rtl_sim/snapshot.py) of the fabric as it stands, at any cycle."""
        ...

    def check(self, snapshot: bytes) -> None:
        """Raises StateError unless `restore` would take it. Changes nothing."""
        ...

    def restore(self, snapshot: bytes) -> None:
        """Stream a snapshot in, read it back and compare. Raises StateError before any change,
        DeviceFault after."""
        ...

    @property
    def cycle(self) -> int:
        """Functional clock cycles since reset; goes with a snapshot."""
        ...

    @property
    def frozen_cycles(self) -> int:
        """Clock cycles since reset in which the fabric stood frozen: what `capture` and `restore`
        took."""
        ...

    def close(self) -> None:
        """Idempotent."""
        ...
