"""The table of records: everything that crosses between worker and server, by name and field.

A record is its operation number and its fields; `wire` derives the bytes from the field types, and
`native/generate.py` the C++ structs of the native halves. Commands ride in the ring and are
numbered; calls lie in the request area and are answered by a reply. Fields named `arena` are
offsets into the session's arena. Sizes are in bytes, images in pixels.
"""

from __future__ import annotations

from typing import NamedTuple

from hal.types import Arg

VERSION = 2


class LocalArg(NamedTuple):
    """An argument in local memory: only its size is given."""

    nbytes: int


class ObjectArg(NamedTuple):
    """An image or a sampler, by handle."""

    handle: int


AnyArg = Arg | LocalArg | ObjectArg


class Alloc(NamedTuple):
    buffer: int
    nbytes: int
    usage: int


class Free(NamedTuple):
    buffer: int


class Unload(NamedTuple):
    program: int


class Write(NamedTuple):
    """The bytes lie in the arena; they may be overwritten once the record was taken."""

    buffer: int
    offset: int
    nbytes: int
    arena: int


class WriteInline(NamedTuple):
    buffer: int
    offset: int
    data: bytes


class Read(NamedTuple):
    """The bytes are in the arena once the record is retired."""

    buffer: int
    offset: int
    nbytes: int
    arena: int


class Copy(NamedTuple):
    source: int
    source_offset: int
    target: int
    target_offset: int
    nbytes: int


class Launch(NamedTuple):
    program: int
    entry: str
    args: tuple[AnyArg, ...]
    global_size: tuple[int, ...]
    local_size: tuple[int, ...]  # empty: the device chooses
    global_offset: tuple[int, ...] = ()  # empty: zeros


class Signal(NamedTuple):
    seq: int


# commands of the OpenCL front door: what no other kind of device has


class Fill(NamedTuple):
    """`nbytes` is a multiple of the pattern's size, a power of two up to 128."""

    buffer: int
    offset: int
    nbytes: int
    pattern: bytes


class CopyRect(NamedTuple):
    """As clEnqueueCopyBufferRect: x, width, row and slice in bytes; y in rows, z in slices."""

    source: int
    target: int
    source_x: int
    source_y: int
    source_z: int
    target_x: int
    target_y: int
    target_z: int
    width: int
    height: int
    depth: int
    source_row: int
    source_slice: int
    target_row: int
    target_slice: int


class WriteRect(NamedTuple):
    """The bytes lie packed in the arena: rows and slices without gaps."""

    buffer: int
    x: int
    y: int
    z: int
    width: int
    height: int
    depth: int
    row: int
    slice: int
    arena: int


class ReadRect(NamedTuple):
    """As WriteRect, the other way."""

    buffer: int
    x: int
    y: int
    z: int
    width: int
    height: int
    depth: int
    row: int
    slice: int
    arena: int


class CreateImage(NamedTuple):
    """`order`, `type`, `kind`, `flags`: OpenCL's numbers. `buffer`: an image over it, or 0."""

    image: int
    order: int
    type: int
    kind: int
    flags: int
    width: int
    height: int
    depth: int
    array_size: int
    row: int
    slice: int
    buffer: int


class WriteImage(NamedTuple):
    """The pixels lie packed in the arena."""

    image: int
    x: int
    y: int
    z: int
    width: int
    height: int
    depth: int
    nbytes: int
    arena: int


class ReadImage(NamedTuple):
    """As WriteImage, the other way."""

    image: int
    x: int
    y: int
    z: int
    width: int
    height: int
    depth: int
    nbytes: int
    arena: int


class CopyImage(NamedTuple):
    source: int
    target: int
    source_x: int
    source_y: int
    source_z: int
    target_x: int
    target_y: int
    target_z: int
    width: int
    height: int
    depth: int


class CopyImageToBuffer(NamedTuple):
    image: int
    buffer: int
    x: int
    y: int
    z: int
    width: int
    height: int
    depth: int
    offset: int


class CopyBufferToImage(NamedTuple):
    """As CopyImageToBuffer, the other way."""

    buffer: int
    image: int
    offset: int
    x: int
    y: int
    z: int
    width: int
    height: int
    depth: int


class FillImage(NamedTuple):
    """`color`: 16 bytes, four numbers of the image's kind."""

    image: int
    x: int
    y: int
    z: int
    width: int
    height: int
    depth: int
    color: bytes


class CreateSampler(NamedTuple):
    sampler: int
    normalized: int
    addressing: int
    filter: int


class DropSampler(NamedTuple):
    sampler: int


class Timed(NamedTuple):
    """The device's clock is read around the next command, for `Times`."""


class Saw(NamedTuple):
    """The worker read these bytes itself, in memory that it shares: their digest, as
    native/digest.hpp has it. Who does all again compares it."""

    buffer: int
    offset: int
    nbytes: int
    digest: int


# calls: not in the ring but in the session's request area, answered in its reply area


class Append(NamedTuple):
    """Bytes in the arena join the session's inbox, which the next call that wants bytes takes."""

    arena: int
    nbytes: int
    first: int


class Fetch(NamedTuple):
    """Bytes of the session's outbox into the arena."""

    offset: int
    nbytes: int
    arena: int


class Load(NamedTuple):
    """The payload is in the inbox."""

    program: int
    format: str
    options: str


class Configure(NamedTuple):
    """The overlay is in the inbox."""

    digest: str


class Halt(NamedTuple):
    """`upto`: the newest record; the device should have those that it can have."""

    timeout_us: int
    upto: int


class GoOn(NamedTuple):
    pass


class Peek(NamedTuple):
    buffer: int
    offset: int
    nbytes: int
    arena: int


class SaveState(NamedTuple):
    """The state is in the outbox afterwards."""


class LoadState(NamedTuple):
    """The state is in the inbox."""


class Describe(NamedTuple):
    """Live objects, for a worker that takes over a session."""


class Kernels(NamedTuple):
    """A program's kernels into the outbox: a KernelInfo for each, its ArgInfos behind it."""

    program: int


class BuildLog(NamedTuple):
    """What the compiler said of a program that it built, into the outbox."""

    program: int


class Times(NamedTuple):
    """When the device did a command that was `Timed`. Answered by `Clock`."""

    command: int


class Printed(NamedTuple):
    """What kernels of launches after `after`, up to `upto`, printed, into the outbox."""

    after: int
    upto: int


# replies


class Done(NamedTuple):
    """The call was done; `nbytes` are in the outbox, if it puts something there."""

    nbytes: int


class Failed(NamedTuple):
    """An error. Of a command, the record's number is the command's. `sticky`: it stays."""

    sticky: int
    code: str
    message: str
    native: str


class Clock(NamedTuple):
    """In ns of the device's clock, as OpenCL profiles; zeros: not known any more."""

    queued_ns: int
    submitted_ns: int
    started_ns: int
    ended_ns: int


# descriptions, in files and outboxes


class Home(NamedTuple):
    """The name of the server that has the session, in the session's file."""

    server: str


class KernelInfo(NamedTuple):
    """`work_group`, `multiple`: sizes for this device; `attributes`: as written in the source."""

    name: str
    attributes: str
    arg_count: int
    work_group: int
    multiple: int
    local_bytes: int
    private_bytes: int
    compiled_size: tuple[int, ...]


class ArgInfo(NamedTuple):
    """`address`, `access`, `qualifiers`: OpenCL's numbers. All 0 and empty where not known."""

    address: int
    access: int
    qualifiers: int
    type_name: str
    name: str


class DeviceValue(NamedTuple):
    """What the device's driver answers to one query. `scope`: 0 platform, 1 device, 2: formats
    of images, `query` is the image's type; 3: the server's own, `query` 0 is the bytes of memory
    that a session may have, a u64."""

    scope: int
    query: int
    data: bytes


Command = (
    Alloc | Free | Unload | Write | WriteInline | Read | Copy | Launch | Signal
    | Fill | CopyRect | WriteRect | ReadRect | CreateImage | WriteImage | ReadImage
    | CopyImage | CopyImageToBuffer | CopyBufferToImage | FillImage | CreateSampler
    | DropSampler | Timed | Saw
)  # fmt: skip
Call = (
    Append | Fetch | Load | Configure | Halt | GoOn | Peek | SaveState | LoadState | Describe
    | Kernels | Times | BuildLog | Printed
)  # fmt: skip
Reply = Done | Failed | Clock
Description = Home | KernelInfo | ArgInfo | DeviceValue
Record = Command | Call | Reply | Description

FIRST_CALL, FIRST_REPLY, FIRST_DESCRIPTION = 32, 64, 96

OPERATIONS: dict[int, type[Record]] = {
    1: Alloc,
    2: Free,
    3: Unload,
    4: Write,
    5: WriteInline,
    6: Read,
    7: Copy,
    8: Launch,
    9: Signal,
    10: Fill,
    11: CopyRect,
    12: WriteRect,
    13: ReadRect,
    14: CreateImage,
    15: WriteImage,
    16: ReadImage,
    17: CopyImage,
    18: CopyImageToBuffer,
    19: CopyBufferToImage,
    20: FillImage,
    21: CreateSampler,
    22: DropSampler,
    23: Timed,
    24: Saw,
    32: Append,
    33: Fetch,
    34: Load,
    35: Configure,
    36: Halt,
    37: GoOn,
    38: Peek,
    39: SaveState,
    40: LoadState,
    41: Describe,
    42: Kernels,
    43: Times,
    44: BuildLog,
    45: Printed,
    64: Done,
    65: Failed,
    66: Clock,
    96: Home,
    97: KernelInfo,
    98: ArgInfo,
    99: DeviceValue,
}
