"""Memory: what is written is read, wherever it lies, and nothing else changes."""

from __future__ import annotations

import random

import pytest

from hal import Context, Device, Usage
from hal.errors import OutOfMemory, UsageError

PAGE = 4096
SMALL_MEMORY_BYTES = 64 << 20  # filling more than this to see it run out would take too long
OPERATIONS = 60


def test_a_fresh_buffer_is_zero(context: Context) -> None:
    for size in (1, 127, 128, 129, PAGE, 3 * PAGE + 5):
        assert context.read(context.alloc(size)) == bytes(size)


def test_reused_memory_is_zero_again(context: Context) -> None:
    for _ in range(3):
        buffer = context.alloc(2 * PAGE + 3)
        assert context.read(buffer) == bytes(buffer.size_bytes)
        context.write(buffer, b"\xff" * buffer.size_bytes)
        context.finish()
        buffer.free()


def test_what_is_written_is_read(context: Context) -> None:
    data = random.Random(1).randbytes(PAGE + 13)
    buffer = context.alloc(len(data))
    context.write(buffer, data)
    assert context.read(buffer) == data


def test_a_megabyte_survives_the_round_trip(context: Context) -> None:
    data = random.Random(2).randbytes((1 << 20) + 1)
    buffer = context.alloc(len(data))
    context.write(buffer, data)
    assert context.read(buffer) == data


def test_a_write_at_an_offset_leaves_its_neighbours(context: Context) -> None:
    buffer = context.alloc(64)
    context.write(buffer, b"\x11" * 64)
    context.write(buffer, b"abc", offset=13)
    assert context.read(buffer) == b"\x11" * 13 + b"abc" + b"\x11" * 48
    assert context.read(buffer, nbytes=4, offset=12) == b"\x11abc"


def test_a_copy_moves_a_range_between_buffers(context: Context) -> None:
    source, target = context.alloc(100), context.alloc(50)
    context.write(source, bytes(range(100)))
    context.copy(source, target, 20, source_offset=33, target_offset=7)
    assert context.read(target) == bytes(7) + bytes(range(33, 53)) + bytes(23)


def test_a_copy_within_one_buffer_moves_disjoint_ranges(context: Context) -> None:
    buffer = context.alloc(40)
    context.write(buffer, bytes(range(40)))
    context.copy(buffer, buffer, 10, source_offset=0, target_offset=10)
    assert context.read(buffer) == bytes(range(10)) * 2 + bytes(range(20, 40))


def test_nothing_is_moved_by_zero_bytes(context: Context) -> None:
    buffer, other = context.alloc(8), context.alloc(8)
    context.write(buffer, b"")
    context.copy(buffer, other, 0)
    assert context.read(buffer, nbytes=0) == b""
    assert context.read(other) == bytes(8)


def test_any_sequence_of_moves_agrees_with_a_model(context: Context) -> None:
    source = random.Random(3)
    sizes = (1, 65, 1000, PAGE + 1)
    buffers = [context.alloc(size) for size in sizes]
    model = [bytearray(size) for size in sizes]
    for _ in range(OPERATIONS):
        at = source.randrange(len(buffers))
        offset = source.randrange(sizes[at])
        count = source.randint(0, sizes[at] - offset)
        if source.random() < 0.5:
            data = source.randbytes(count)
            context.write(buffers[at], data, offset)
            model[at][offset : offset + count] = data
            continue
        to = source.choice([index for index in range(len(buffers)) if index != at])
        start = source.randrange(sizes[to])
        count = min(count, sizes[to] - start)
        context.copy(buffers[at], buffers[to], count, offset, start)
        model[to][start : start + count] = model[at][offset : offset + count]
    for buffer, expected in zip(buffers, model, strict=True):
        assert context.read(buffer) == bytes(expected)


def test_two_contexts_share_no_memory(device: Device) -> None:
    with device.open_context() as one, device.open_context() as other:
        mine, yours = one.alloc(PAGE), other.alloc(PAGE)
        one.write(mine, b"\x01" * PAGE)
        other.write(yours, b"\x02" * PAGE)
        assert one.read(mine) == b"\x01" * PAGE
        assert other.read(yours) == b"\x02" * PAGE


# ---- bad arguments: refused before the device sees them, and nothing is lost


@pytest.mark.parametrize(("offset", "count"), [(0, 65), (64, 1), (1, 64), (-1, 4), (1 << 62, 8)])
def test_a_range_outside_the_buffer_is_refused(context: Context, offset: int, count: int) -> None:
    buffer, other = context.alloc(64), context.alloc(128)
    context.write(buffer, b"\x77" * 64)
    with pytest.raises(UsageError):
        context.write(buffer, bytes(count), offset)
    with pytest.raises(UsageError):
        context.read(buffer, count, offset)
    with pytest.raises(UsageError):
        context.copy(buffer, other, count, source_offset=offset)
    with pytest.raises(UsageError):
        context.copy(other, buffer, count, target_offset=offset)
    assert context.read(buffer) == b"\x77" * 64
    assert context.read(other) == bytes(128)


@pytest.mark.parametrize("size", [0, -1])
def test_a_buffer_holds_at_least_one_byte(context: Context, size: int) -> None:
    with pytest.raises(UsageError):
        context.alloc(size)


def test_a_buffer_larger_than_the_device_allows_is_refused(context: Context) -> None:
    with pytest.raises(UsageError):
        context.alloc(context.caps.max_buffer_bytes + 1)


def test_memory_that_runs_out_is_said_and_comes_back(context: Context) -> None:
    if context.caps.memory_bytes > SMALL_MEMORY_BYTES:
        pytest.skip(f"caps.memory_bytes {context.caps.memory_bytes} is too much to fill")
    size = min(context.caps.max_buffer_bytes, context.caps.memory_bytes)
    held = []
    with pytest.raises(OutOfMemory):
        for _ in range(context.caps.memory_bytes // size + 1):
            held.append(context.alloc(size))
            context.finish()
    for buffer in held:
        buffer.free()
    assert context.read(context.alloc(64)) == bytes(64)


def test_a_freed_buffer_cannot_be_used(context: Context) -> None:
    buffer, other = context.alloc(8), context.alloc(8)
    buffer.free()
    with pytest.raises(UsageError):
        context.write(buffer, b"x")
    with pytest.raises(UsageError):
        context.read(buffer)
    with pytest.raises(UsageError):
        context.copy(buffer, other, 1)
    with pytest.raises(UsageError):
        buffer.free()
    assert context.read(other) == bytes(8)


def test_a_buffer_of_another_context_is_refused(device: Device) -> None:
    with device.open_context() as one, device.open_context() as other:
        mine, yours = one.alloc(8), other.alloc(8)
        with pytest.raises(UsageError):
            one.write(yours, b"x")
        with pytest.raises(UsageError):
            one.copy(mine, yours, 1)
        with pytest.raises(UsageError):
            one.free(yours)
        assert other.read(yours) == bytes(8)


def test_overlapping_ranges_of_one_buffer_are_refused(context: Context) -> None:
    buffer = context.alloc(32)
    context.write(buffer, bytes(range(32)))
    with pytest.raises(UsageError):
        context.copy(buffer, buffer, 10, source_offset=0, target_offset=9)
    assert context.read(buffer) == bytes(range(32))


def test_a_usage_that_was_not_asked_for_is_refused(context: Context) -> None:
    silent = context.alloc(8, Usage.HOST_READ)
    with pytest.raises(UsageError):
        context.write(silent, b"x")
    assert context.read(silent) == bytes(8)
