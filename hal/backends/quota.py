"""Counts the bytes that the contexts of one opened device hold, so that a device's memory is a
promise: OpenCL runtimes, for one, hand out more than there is and fail in the middle of a kernel.
"""

from __future__ import annotations

from hal.errors import OutOfMemory


class Quota:
    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    def take(self, nbytes: int) -> None:
        """Raises OutOfMemory."""
        if self.used_bytes + nbytes > self.limit_bytes:
            raise OutOfMemory(
                f"alloc of {nbytes} bytes: {self.used_bytes} of {self.limit_bytes} are in use; "
                "free some, or go to another device"
            )
        self.used_bytes += nbytes

    def give(self, nbytes: int) -> None:
        self.used_bytes -= nbytes
