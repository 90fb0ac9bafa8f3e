"""OpenCL's error codes as the hal's errors; the code itself is kept in `native`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyopencl as cl

from hal.errors import (
    DeviceFault,
    DeviceLost,
    HalError,
    OutOfMemory,
    ProgramRejected,
    UsageError,
)

_CODES = cl.status_code

_FAMILIES: dict[int, type[HalError]] = {
    _CODES.MEM_OBJECT_ALLOCATION_FAILURE: OutOfMemory,
    _CODES.OUT_OF_RESOURCES: OutOfMemory,
    _CODES.OUT_OF_HOST_MEMORY: OutOfMemory,
    _CODES.INVALID_BUFFER_SIZE: OutOfMemory,
    _CODES.DEVICE_NOT_FOUND: DeviceLost,
    _CODES.DEVICE_NOT_AVAILABLE: DeviceLost,
    _CODES.INVALID_DEVICE: DeviceLost,
    _CODES.BUILD_PROGRAM_FAILURE: ProgramRejected,
    _CODES.COMPILE_PROGRAM_FAILURE: ProgramRejected,
    _CODES.LINK_PROGRAM_FAILURE: ProgramRejected,
    _CODES.COMPILER_NOT_AVAILABLE: ProgramRejected,
    _CODES.INVALID_BUILD_OPTIONS: ProgramRejected,
    _CODES.INVALID_PROGRAM_EXECUTABLE: ProgramRejected,
    _CODES.INVALID_KERNEL_NAME: ProgramRejected,
    _CODES.INVALID_KERNEL_ARGS: ProgramRejected,
    _CODES.INVALID_ARG_INDEX: ProgramRejected,
    _CODES.INVALID_ARG_VALUE: ProgramRejected,
    _CODES.INVALID_ARG_SIZE: ProgramRejected,
    _CODES.INVALID_WORK_DIMENSION: UsageError,
    _CODES.INVALID_WORK_GROUP_SIZE: UsageError,
    _CODES.INVALID_WORK_ITEM_SIZE: UsageError,
    _CODES.INVALID_GLOBAL_WORK_SIZE: UsageError,
}


def family(code: int) -> type[HalError]:
    """The hal's error for a code; what we do not know is the device's fault."""
    return _FAMILIES.get(code, DeviceFault)


def translated(error: cl.Error, what: str) -> HalError:
    """The hal's error for OpenCL's, saying `what` was asked."""
    return family(error.code)(f"{what}: {error}", native=error.code)


@contextmanager
def converted(what: str) -> Iterator[None]:
    """Errors that OpenCL raises inside become the hal's, saying `what` was asked."""
    try:
        yield
    except cl.Error as error:
        raise translated(error, what) from error
