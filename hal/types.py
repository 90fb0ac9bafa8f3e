"""Frozen values that cross the seam. They hold no behaviour beyond their own construction."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntFlag
from typing import NewType

Handle = NewType("Handle", int)
"""A driver's name for a buffer or program; unique within its context, never 0, never reused."""

Seq = NewType("Seq", int)
"""A point in a context's queue. One counter is completion event, acknowledged ring position,
replay-log index and checkpoint cut. Strictly increasing within a context, starting above 0."""


class Usage(IntFlag):
    """What a buffer may be used for; checked by `Context`, a hint to drivers."""

    HOST_READ = 1
    HOST_WRITE = 2
    COPY = 4
    KERNEL = 8
    ALL = 15


class Preemption(Enum):
    """The finest point at which a halted context of this device stops."""

    COMMAND = "command"  # between queue commands: halt() drains what was enqueued
    CYCLE = "cycle"  # at any clock cycle, also in the middle of a kernel


@dataclass(frozen=True, slots=True)
class Caps:
    """What a device can do. Tests skip by these fields only, never by a backend's name."""

    formats: tuple[str, ...]  # ProgramImage.format values that load() accepts
    memory_bytes: int
    max_buffer_bytes: int
    computes: bool = True  # False: launches are accepted and do nothing (noop)
    configurable: bool = False  # True: needs Driver.configure(overlay) before load()
    preemption: Preemption = Preemption.COMMAND
    queue_depth: int = 1024  # commands that may be enqueued before the driver blocks
    offset_align: int = 1  # a buffer argument's offset must be a multiple of this


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    uri: str  # "kind:index", e.g. "opencl:0"; the proxy prefixes: "proxy:opencl:0"
    name: str
    part: str  # what an overlay or a checkpoint must match: devices of one part are alike
    caps: Caps

    @property
    def kind(self) -> str:
        return self.uri.rsplit(":", 1)[0]


@dataclass(frozen=True, slots=True)
class BufferArg:
    """A kernel argument that is a buffer, named by handle (an int at run time, hence the tag)."""

    buffer: Handle
    offset: int = 0


@dataclass(frozen=True, slots=True)
class ScalarArg:
    """A kernel argument by value: its little-endian bytes."""

    data: bytes

    @classmethod
    def u32(cls, value: int) -> ScalarArg:
        return cls(struct.pack("<I", value))

    @classmethod
    def i32(cls, value: int) -> ScalarArg:
        return cls(struct.pack("<i", value))

    @classmethod
    def f32(cls, value: float) -> ScalarArg:
        return cls(struct.pack("<f", value))


Arg = BufferArg | ScalarArg


@dataclass(frozen=True, slots=True)
class Grid:
    """Work items per dimension (1 to 3), and optionally per work group."""

    global_size: tuple[int, ...] = (1,)
    local_size: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class ProgramImage:
    """The bytes of a program.

    format   "opencl-c" (payload: UTF-8 source), "numpy" (payload: UTF-8 Python source, see
             hal/backends/cpu), "overlay" (payload: the ASCII digest of the overlay that must be
             configured; entries are the kernels of its manifest), "golden" (payload: the overlay's
             ASCII name; the same kernels on the CPU, see hal/backends/cpu)
    options  build options in the format's own language
    """

    format: str
    payload: bytes
    options: str = ""


@dataclass(frozen=True, slots=True)
class Overlay:
    """A whole bundle as one value, so that it can cross an address space.

    digest    hex digest that the bundle's manifest must have (see bitstreams)
    manifest  the bundle's manifest.json, byte for byte
    files     path inside the bundle -> bytes
    """

    digest: str
    manifest: bytes
    files: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class SelfTest:
    """A small program with a known answer, carried as data: smoke test and conformance workload.

    args     one per kernel argument: ("in", bytes) a buffer filled with these bytes,
             ("out", size) a zeroed buffer, ("scalar", bytes)
    expected the contents of every "out" buffer afterwards, in order
    """

    name: str
    image: ProgramImage
    entry: str
    args: tuple[tuple[str, bytes | int], ...]
    expected: tuple[bytes, ...]
    grid: Grid = Grid()
    overlay: Overlay | None = None
