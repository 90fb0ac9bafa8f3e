"""The native engine does every record of an OpenCL program as OpenCL itself would."""

from __future__ import annotations

import numpy as np
import pytest
from opencl_records import Speaker, split

from hal.errors import HalError, OutOfMemory, ProgramRejected, UsageError
from hal.types import BufferArg, Handle, ScalarArg
from proxy import records
from proxy.engine import Library
from proxy.errors import RemoteProtocolError, ReplayDiverged
from proxy.loopback import Loopback
from proxy.records import LocalArg, ObjectArg

IMAGE2D, IMAGE1D_ARRAY, IMAGE2D_ARRAY, IMAGE3D, IMAGE1D_BUFFER = (
    0x10F1,
    0x10F5,
    0x10F3,
    0x10F2,
    0x10F6,
)
RGBA, R, UINT8, FLOAT, READ_WRITE = 0x10B5, 0x10B0, 0x10DA, 0x10DE, 1
CLAMP_TO_EDGE, NEAREST = 0x1131, 0x1140


def image(
    handle: int,
    kind: int,
    width: int,
    height: int = 0,
    depth: int = 0,
    layers: int = 0,
    buffer: int = 0,
) -> records.CreateImage:
    return records.CreateImage(
        handle, RGBA, UINT8, kind, READ_WRITE, width, height, depth, layers, 0, 0, buffer
    )


@pytest.fixture
def speaker(native_loop: Loopback) -> Speaker:
    return Speaker(native_loop, "speaker")


# ---- buffers


@pytest.mark.parametrize("size", [1, 2, 4, 8, 16, 32, 64, 128])
def test_a_fill_repeats_its_pattern(speaker: Speaker, size: int) -> None:
    pattern = bytes(range(1, size + 1))
    buffer = speaker.buffer(4 * 128)
    speaker.put(records.Fill(buffer, 128, 256, pattern))
    expected = bytes(128) + pattern * (256 // size) + bytes(128)
    assert speaker.bytes_of(buffer, 512) == expected


def test_rectangles_are_written_copied_and_read_as_numpy_does(speaker: Speaker) -> None:
    rng = np.random.default_rng(1)
    cube = rng.integers(0, 256, (4, 5, 16), np.uint8)  # z, y, x
    patch = rng.integers(0, 256, (2, 3, 7), np.uint8)
    source, target = speaker.buffer(cube.tobytes()), speaker.buffer(cube.nbytes)
    speaker.arena[0 : patch.nbytes] = patch.tobytes()
    speaker.put(records.WriteRect(source, 3, 1, 2, 7, 3, 2, 16, 80, 0))
    cube[2:4, 1:4, 3:10] = patch
    speaker.put(
        records.CopyRect(source, target, 1, 0, 1, 2, 2, 0, 9, 3, 3, 16, 80, 16, 80),
        records.ReadRect(source, 2, 1, 0, 11, 4, 3, 16, 80, 4096),
    )
    copied = np.zeros_like(cube)
    copied[0:3, 2:5, 2:11] = cube[1:4, 0:3, 1:10]
    assert speaker.bytes_of(target, cube.nbytes) == copied.tobytes()
    window = cube[0:3, 1:5, 2:13]
    assert bytes(speaker.arena[4096 : 4096 + window.size]) == window.tobytes()


BAD_REGIONS = [
    records.Fill(1, 0, 10, b"abc"),
    records.Fill(1, 0, 1 << 63, b"a"),
    records.Fill(1, 2**64 - 4, 8, b"abcd"),
    records.CopyRect(1, 1, 0, 0, 0, 0, 0, 0, 2**63, 2, 1, 0, 0, 0, 0),
    records.CopyRect(1, 1, 2**64 - 1, 0, 0, 0, 0, 0, 4, 1, 1, 0, 0, 0, 0),
    records.ReadRect(1, 0, 0, 2**40, 4, 1, 1, 2**40, 2**60, 0),
    records.ReadRect(1, 0, 0, 0, 0, 1, 1, 0, 0, 0),
    records.Copy(1, 0, 1, 8, 32),
    records.Copy(1, 2**64 - 8, 1, 0, 16),
    records.WriteInline(1, 2**64 - 8, b"x" * 16),
    records.Write(1, 250, 16, 0),
    records.Write(77, 0, 16, 0),
    records.CopyImage(1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1),
    records.FillImage(1, 0, 0, 0, 1, 1, 1, bytes(16)),
]


@pytest.mark.parametrize("command", BAD_REGIONS, ids=lambda command: type(command).__name__)
def test_a_region_outside_its_object_is_refused_and_harms_nothing(
    speaker: Speaker, command: records.Command
) -> None:
    buffer = speaker.buffer(bytes(range(256)))
    assert buffer == 1
    number = speaker.put(command)
    with pytest.raises(UsageError):
        speaker.done()
    assert speaker.channel.segment.read_error(4096, 2048)[0] == number
    assert speaker.bytes_of(buffer, 256) == bytes(range(256))


# ---- launches

SOURCE = """
kernel void where(global ulong *out) { out[get_global_id(0)] = get_global_id(0); }
kernel void turn(global int *out, local int *room, int by) {
    int i = get_local_id(0);
    room[i] = out[get_global_id(0)];
    barrier(CLK_LOCAL_MEM_FENCE);
    out[get_global_id(0)] = room[(i + by) % get_local_size(0)];
}
kernel void maybe(global int *given, global int *out) { out[0] = given ? 1 : 2; }
kernel void shade(read_only image2d_t from, sampler_t how, global float4 *out) {
    int2 at = (int2)(get_global_id(0) - 1, 0);
    out[get_global_id(0)] = convert_float4(read_imageui(from, how, at));
}
__attribute__((reqd_work_group_size(4, 2, 1)))
kernel void fixed(constant float *a, const global uchar * restrict b, float4 c) {}
"""


def test_a_global_offset_shifts_the_numbers_of_work_items(speaker: Speaker) -> None:
    program, out = speaker.program(SOURCE), speaker.buffer(8 * 10)
    speaker.launch(program, "where", (BufferArg(Handle(out)),), (4,), (2,), (5,))
    found = np.frombuffer(speaker.bytes_of(out, 80), np.uint64)
    assert found.tolist() == [0, 0, 0, 0, 0, 5, 6, 7, 8, 0]


def test_local_memory_is_given_by_size(speaker: Speaker) -> None:
    program, out = speaker.program(SOURCE), speaker.buffer(np.arange(8, dtype=np.int32))
    args = (BufferArg(Handle(out)), LocalArg(16), ScalarArg.i32(1))
    speaker.launch(program, "turn", args, (8,), (4,))
    assert np.frombuffer(speaker.bytes_of(out, 32), np.int32).tolist() == [1, 2, 3, 0, 5, 6, 7, 4]


def test_a_buffer_argument_may_be_null_or_begin_inside_its_buffer(speaker: Speaker) -> None:
    program, out, given = speaker.program(SOURCE), speaker.buffer(1024), speaker.buffer(4)
    for handle in (0, given):
        args = (BufferArg(Handle(handle)), BufferArg(Handle(out), 512 * (handle != 0)))
        speaker.launch(program, "maybe", args, (1,))
    found = np.frombuffer(speaker.bytes_of(out, 1024), np.int32)
    assert (found[0], found[128]) == (2, 1)


def test_a_freed_buffer_is_not_launched_on_again(speaker: Speaker) -> None:
    program, out, given = speaker.program(SOURCE), speaker.buffer(4), speaker.buffer(4)
    args = (BufferArg(Handle(given)), BufferArg(Handle(out)))
    speaker.launch(program, "maybe", args, (1,))
    speaker.put(records.Free(given))
    speaker.done()
    speaker.launch(program, "maybe", args, (1,))
    with pytest.raises(UsageError, match="not live"):
        speaker.done()


Launched = tuple[str, tuple[records.AnyArg, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]
BAD_LAUNCHES: list[Launched] = [
    ("nonesuch", (), (1,), (), ()),
    ("maybe", (), (1,), (), ()),
    ("maybe", (ScalarArg(bytes(8)), ScalarArg(bytes(8))), (1,), (), ()),
    ("maybe", (BufferArg(Handle(99)), BufferArg(Handle(99))), (1,), (), ()),
    ("maybe", (BufferArg(Handle(2), 3), BufferArg(Handle(2))), (1,), (), ()),
    ("turn", (BufferArg(Handle(2)), LocalArg(2**63), ScalarArg.i32(0)), (1,), (), ()),
    ("turn", (BufferArg(Handle(2)), LocalArg(4), ScalarArg(bytes(400))), (1,), (), ()),
    ("where", (BufferArg(Handle(2)),), (), (), ()),
    ("where", (BufferArg(Handle(2)),), (0,), (), ()),
    ("where", (BufferArg(Handle(2)),), (2**63, 2, 2), (), ()),
    ("where", (BufferArg(Handle(2)),), (8,), (3,), ()),
    ("where", (BufferArg(Handle(2)),), (8,), (0,), ()),
    ("where", (BufferArg(Handle(2)),), (8,), (), (2**64 - 1,)),
    ("where", (BufferArg(Handle(2)),), (8,), (), (1, 1)),
    ("where", (ObjectArg(2),), (8,), (), ()),
    ("shade", (ObjectArg(2), ObjectArg(2), BufferArg(Handle(2))), (1,), (), ()),
]


@pytest.mark.parametrize("launch", BAD_LAUNCHES, ids=lambda launch: launch[0])
def test_a_launch_that_does_not_fit_its_kernel_is_refused(
    speaker: Speaker, launch: Launched
) -> None:
    program, buffer = speaker.program(SOURCE), speaker.buffer(bytes(range(64)))
    entry, args, size, local, offset = launch
    speaker.launch(program, entry, args, size, local, offset)
    with pytest.raises((ProgramRejected, UsageError)):
        speaker.done()
    assert speaker.bytes_of(buffer, 64) == bytes(range(64))


def test_a_program_s_kernels_are_described(speaker: Speaker) -> None:
    found = speaker.kernels(speaker.program(SOURCE))
    infos = {item.name: item for item in found if isinstance(item, records.KernelInfo)}
    assert sorted(infos) == ["fixed", "maybe", "shade", "turn", "where"]
    assert infos["fixed"].compiled_size == (4, 2, 1)
    assert "reqd_work_group_size" in infos["fixed"].attributes
    at = found.index(infos["fixed"])
    args = found[at + 1 : at + 1 + infos["fixed"].arg_count]
    assert [arg.name for arg in args if isinstance(arg, records.ArgInfo)] == ["a", "b", "c"]
    assert [arg.address for arg in args if isinstance(arg, records.ArgInfo)] == [
        0x119D,
        0x119B,
        0x119E,
    ]
    assert all(info.work_group > 0 for info in infos.values())


def test_a_build_log_is_the_failure_s_message(speaker: Speaker) -> None:
    with pytest.raises(ProgramRejected, match="nothing_such") as caught:
        speaker.program("kernel void k() { nothing_such(); }")
    assert caught.value.native == "-11"


def test_options_reach_the_compiler(speaker: Speaker) -> None:
    source = "kernel void k(global int *a) { a[0] = BY; }"
    program, out = speaker.program(source, "-DBY=42"), speaker.buffer(4)
    speaker.launch(program, "k", (BufferArg(Handle(out)),), (1,))
    assert speaker.bytes_of(out, 4) == (42).to_bytes(4, "little")


# ---- images and samplers


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (IMAGE2D, (1, 6, 8)),
        (IMAGE2D_ARRAY, (3, 6, 8)),
        (IMAGE3D, (3, 6, 8)),
        (IMAGE1D_ARRAY, (1, 5, 8)),
    ],
)
def test_images_are_written_copied_filled_and_read(
    speaker: Speaker, kind: int, shape: tuple[int, int, int]
) -> None:
    depth, height, width = shape
    sizes = {
        IMAGE2D: (height, 0, 0),
        IMAGE2D_ARRAY: (height, 0, depth),
        IMAGE3D: (height, depth, 0),
    }
    rest = sizes.get(kind, (0, 0, height))
    pixels = np.random.default_rng(2).integers(0, 256, (*shape, 4), np.uint8)
    first, second = speaker.handle(), speaker.handle()
    speaker.put(image(first, kind, width, *rest), image(second, kind, width, *rest))
    speaker.arena[0 : pixels.nbytes] = pixels.tobytes()
    speaker.put(
        records.WriteImage(first, 0, 0, 0, width, height, depth, pixels.nbytes, 0),
        records.CopyImage(first, second, 1, 1, 0, 0, 0, 0, 4, 3, 1),
        records.FillImage(second, 5, 4, 0, 2, 1, 1, np.uint32([9, 8, 7, 6]).tobytes()),
    )
    out = speaker.buffer(pixels.nbytes + 4)
    speaker.put(records.CopyImageToBuffer(second, out, 0, 0, 0, width, height, depth, 4))
    expected = np.zeros_like(pixels)
    expected[0, 0:3, 0:4] = pixels[0, 1:4, 1:5]
    expected[0, 4, 5:7] = [9, 8, 7, 6]
    assert speaker.bytes_of(out, pixels.nbytes, 4) == expected.tobytes()
    speaker.put(records.CopyBufferToImage(out, first, 4, 0, 0, 0, width, height, depth))
    speaker.put(records.ReadImage(first, 1, 0, 0, 3, height, 1, 12 * height, 8192))
    speaker.done()
    assert bytes(speaker.arena[8192 : 8192 + 12 * height]) == expected[0, :, 1:4].tobytes()


def test_a_kernel_reads_an_image_through_a_sampler(speaker: Speaker) -> None:
    program, out = speaker.program(SOURCE), speaker.buffer(16 * 4)
    picture, how = speaker.handle(), speaker.handle()
    speaker.put(
        image(picture, IMAGE2D, 2, 1), records.CreateSampler(how, 0, CLAMP_TO_EDGE, NEAREST)
    )
    speaker.arena[0:8] = bytes([1, 2, 3, 4, 5, 6, 7, 8])
    speaker.put(records.WriteImage(picture, 0, 0, 0, 2, 1, 1, 8, 0))
    args = (ObjectArg(picture), ObjectArg(how), BufferArg(Handle(out)))
    speaker.launch(program, "shade", args, (4,))
    found = np.frombuffer(speaker.bytes_of(out, 64), np.float32).reshape(4, 4)
    assert found[:, 0].tolist() == [1, 1, 5, 5]
    speaker.put(records.DropSampler(how))
    speaker.launch(program, "shade", args, (4,))
    with pytest.raises(HalError, match="sampler"):
        speaker.done()


def test_an_image_larger_than_its_buffer_is_refused(speaker: Speaker) -> None:
    buffer, picture = speaker.buffer(64), speaker.handle()
    speaker.put(image(picture, IMAGE1D_BUFFER, 1000, buffer=buffer))
    with pytest.raises(HalError):
        speaker.done()


# ---- what the worker saw by itself


def test_what_was_seen_is_compared_where_it_is_done_again(speaker: Speaker) -> None:
    data = bytes(range(251)) * 400
    buffer = speaker.buffer(len(data))
    for at in range(0, len(data), 4096):
        speaker.put(records.WriteInline(buffer, at, data[at : at + 4096]))
    digest = Library().digest(data[5:], len(data) - 5)
    speaker.put(records.Saw(buffer, 5, len(data) - 5, digest))
    speaker.done()
    for at in (5, len(data) // 2, len(data) - 1):
        speaker.put(records.WriteInline(buffer, at, bytes([data[at] ^ 1])))
        speaker.put(records.Saw(buffer, 5, len(data) - 5, digest))
        with pytest.raises(ReplayDiverged, match="do not compute the same"):
            speaker.done()
        speaker.put(records.WriteInline(buffer, at, data[at : at + 1]))
    speaker.put(records.Saw(buffer, 5, len(data) - 5, digest))
    speaker.done()


# ---- profiling, errors, quotas


def test_a_timed_command_tells_when_the_device_did_it(speaker: Speaker) -> None:
    buffer = speaker.buffer(1 << 16)
    number = speaker.put(records.Timed(), records.Fill(buffer, 0, 1 << 16, b"x"))
    speaker.done()
    clock = speaker.times(number)
    assert 0 < clock.queued_ns <= clock.started_ns <= clock.ended_ns
    for other in (number - 1, 2**64 - 1):
        assert not any(speaker.times(other))


def test_memory_beyond_the_device_s_is_refused_and_given_back(speaker: Speaker) -> None:
    caps = speaker.context.caps
    before = speaker.buffer(64)
    huge = speaker.handle()
    speaker.put(records.Alloc(huge, caps.max_buffer_bytes + 1, 15))
    with pytest.raises(UsageError):
        speaker.done()
    picture = speaker.handle()
    speaker.put(image(picture, IMAGE3D, 1 << 62, 1 << 62, 1 << 62))
    with pytest.raises((UsageError, OutOfMemory)):
        speaker.done()
    speaker.put(records.Free(huge), records.Free(picture), records.Free(before))
    speaker.done()
    with pytest.raises(UsageError):
        speaker.put(records.Free(before))
        speaker.done()


BAD_RECORDS = [
    records.Alloc(1, 8, 15),
    records.Signal(0),
    records.GoOn(),
    records.Write(1, 0, 16, 1 << 40),
    records.ReadRect(1, 0, 0, 0, 2**63, 2, 1, 2**63, 2**63, 0),
    records.Read(1, 0, 2**63, 0),
]


@pytest.mark.parametrize("record", BAD_RECORDS, ids=lambda record: type(record).__name__)
def test_a_broken_protocol_ends_its_session_and_no_other(
    native_loop: Loopback, record: records.Command
) -> None:
    other, speaker = Speaker(native_loop, "other"), Speaker(native_loop, "bad")
    kept = other.buffer(b"kept")
    speaker.buffer(64)
    speaker.put(record)
    if isinstance(record, records.ReadRect):  # a region that is refused before its bytes are
        with pytest.raises(UsageError):
            speaker.done()
    else:
        with pytest.raises(RemoteProtocolError):
            speaker.done()
        assert list(native_loop.server.served) == ["other"]
    assert other.bytes_of(kept, 4) == b"kept"


def test_a_server_says_what_its_driver_answers(native_loop: Loopback) -> None:
    raw = native_loop.server.paths.opencl_values.read_bytes()
    values = {(v.scope, v.query): v.data for v in split(raw) if isinstance(v, records.DeviceValue)}
    import pyopencl as cl

    device = cl.get_platforms()[0].get_devices()[0]
    assert values[1, cl.device_info.NAME] == device.name.encode() + b"\0"
    assert int.from_bytes(values[1, cl.device_info.GLOBAL_MEM_SIZE], "little") == (
        device.global_mem_size
    )
    assert values[0, cl.platform_info.NAME] == device.platform.name.encode() + b"\0"
    assert (1, cl.device_info.PLATFORM) not in values, "a pointer of the server's means nothing"
    assert len(values) > 60
