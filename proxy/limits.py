"""What a server of an OpenCL device allows its sessions: values, from its command line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage

from hal.errors import UsageError
from proxy import records, wire

QUANTUM_MS = 10.0  # long against a switch (some 20 us), short against a person's patience
KERNEL_S = 60.0  # far beyond what a kernel takes that somebody waits for


@dataclass(frozen=True, slots=True)
class Limits:
    quantum_ms: float = QUANTUM_MS  # of a slice, while several want the device; 0: all at once
    kernel_s: float = KERNEL_S  # the longest that the device may be at one batch; 0: any time
    session_bytes: int | None = None  # of the device's memory, for each session
    device_bytes: int | None = None  # of it, for all sessions together; None: all that there is
    swap_bytes: int | None = None  # of all sessions, there or not; None: half of the host's
    swap_to: Path | None = None  # a folder to swap out to; None: the server's memory

    def __post_init__(self) -> None:
        if not (0 <= self.quantum_ms <= 1e6 and 0 <= self.kernel_s <= 1e6):
            raise UsageError(f"{self}: a quantum and a kernel's time are 0 to a million")
        for nbytes in (self.session_bytes, self.device_bytes, self.swap_bytes):
            if nbytes is not None and not 0 <= nbytes < 2**64:
                raise UsageError(f"{self}: bytes are a number of 64 bits")

    @property
    def swapped_bytes(self) -> int:
        """`swap_bytes`, or as much as the place holds, half of it."""
        if self.swap_bytes is not None:
            return self.swap_bytes
        if self.swap_to is not None:
            self.swap_to.mkdir(parents=True, exist_ok=True)
            return disk_usage(self.swap_to).free // 2
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2

    def values(self) -> bytes:
        """What programs' drivers need know of them, as DeviceValue records."""
        if self.session_bytes is None:
            return b""
        return wire.encode(0, records.DeviceValue(3, 0, self.session_bytes.to_bytes(8, "little")))
