"""What a server of an OpenCL device allows its sessions: values, from its command line."""

from __future__ import annotations

from dataclasses import dataclass

from hal.errors import UsageError
from proxy import records, wire

QUANTUM_MS = 10.0  # long against a switch (some 20 us), short against a person's patience
KERNEL_S = 60.0  # far beyond what a kernel takes that somebody waits for


@dataclass(frozen=True, slots=True)
class Limits:
    quantum_ms: float = QUANTUM_MS  # of a slice, while several want the device; 0: all at once
    kernel_s: float = KERNEL_S  # the longest that the device may be at one batch; 0: any time
    session_bytes: int | None = None  # of the device's memory, for each session

    def __post_init__(self) -> None:
        if not (0 <= self.quantum_ms <= 1e6 and 0 <= self.kernel_s <= 1e6):
            raise UsageError(f"{self}: a quantum and a kernel's time are 0 to a million")
        if self.session_bytes is not None and not 0 <= self.session_bytes < 2**64:
            raise UsageError(f"{self}: a session's bytes are a number of 64 bits")

    def values(self) -> bytes:
        """What programs' drivers need know of them, as DeviceValue records."""
        if self.session_bytes is None:
            return b""
        return wire.encode(0, records.DeviceValue(3, 0, self.session_bytes.to_bytes(8, "little")))
