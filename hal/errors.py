"""The exceptions of the hal, and the shape that every family of haltere's exceptions has.

    HalError
     |- UsageError          caller   bad argument, out of bounds, use after free
     |- Unsupported         caller   the device lacks the capability
     |- ProgramRejected     caller   image does not build, unknown entry, wrong arguments
     |- OverlayRejected     caller   overlay for another part, wrong digest, not configured
     |- OutOfMemory         migrate  the device's memory or a quota is exhausted
     |- DeviceTimeout       retry    the device did not answer in time
     |- DeviceFault         migrate  the device reports an error of its own
     |- DeviceLost          migrate  the device is gone, or the URI names none
     |- Busy                retry    a bounded queue is full
     `- StateError          caller   a snapshot is damaged, of another layout, or untimely

The other families (ProxyError, SchedulerError, CompileError, BundleError) stand in the
`errors.py` of their packages: floors below the hal may not import it, so the families share a
shape, not a base. The shape (tests/arch checks it): `code` is stable and machine-readable;
`disposition` says who must act: "caller" (mend the call), "retry" (the same call may succeed),
"migrate" (elsewhere it may succeed), "fatal" (nobody can). A message says what was asked, what
was found and what to do. All survive pickling.
"""

from __future__ import annotations

from typing import ClassVar


class HalError(Exception):
    """Root of the family. `native` keeps a foreign error code, e.g. OpenCL's, for the log."""

    code: ClassVar[str] = "hal_error"
    disposition: ClassVar[str] = "fatal"

    def __init__(self, message: str, *, native: int | str | None = None) -> None:
        super().__init__(message)
        self.native = native


class UsageError(HalError):
    code = "usage_error"
    disposition = "caller"


class Unsupported(HalError):
    code = "unsupported"
    disposition = "caller"


class ProgramRejected(HalError):
    code = "program_rejected"
    disposition = "caller"


class OverlayRejected(HalError):
    code = "overlay_rejected"
    disposition = "caller"


class OutOfMemory(HalError):
    code = "out_of_memory"
    disposition = "migrate"


class DeviceTimeout(HalError):
    code = "device_timeout"
    disposition = "retry"


class DeviceFault(HalError):
    code = "device_fault"
    disposition = "migrate"


class DeviceLost(HalError):
    code = "device_lost"
    disposition = "migrate"


class Busy(HalError):
    code = "busy"
    disposition = "retry"


class StateError(HalError):
    code = "state_error"
    disposition = "caller"
