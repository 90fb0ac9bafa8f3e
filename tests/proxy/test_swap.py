"""Sessions that need more memory together than their device has: they run by turns, exactly."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from opencl_records import Speaker
from swapping import (
    IMAGE1D_BUFFER,
    IMAGE2D,
    MIB,
    RGBA,
    UINT8,
    Job,
    Serve,
    limits,
    out_bytes,
    swap_of,
    tenant_of,
)

from hal.errors import OutOfMemory
from proxy import operations, records, rendezvous
from proxy.segment import Line, Segment
from proxy.swap import Plenty


@pytest.mark.parametrize(("sessions", "device_mib"), [(2, 3), (4, 3), (4, 2)])
def test_sessions_with_more_than_there_is_compute_what_they_do_natively(
    serve: Serve, sessions: int, device_mib: int
) -> None:
    loop = serve(limits(device_mib * MIB))
    jobs = [Job(loop, f"job-{number}", number) for number in range(sessions)]
    for _ in range(3):
        for job in jobs:
            for _ in range(5):
                job.step()
        for job in jobs:
            job.speaker.done()
    assert sum(out_bytes(loop).values()) >= (2 * sessions - device_mib) * MIB
    for job in jobs:
        assert job.found == job.expected


def test_nothing_is_moved_while_all_fits(serve: Serve) -> None:
    loop = serve(limits(4 * MIB))
    jobs = [Job(loop, name, 1) for name in "ab"]
    for job in jobs:
        job.step()
        job.speaker.done()
    assert out_bytes(loop) == {"a": 0, "b": 0}
    assert swap_of(loop)._space.used_bytes == 0
    third = Speaker(loop, "c")
    third.buffer(4096)
    third.done()
    assert sum(out_bytes(loop).values()) == MIB, "one buffer, which is enough"


def test_a_device_of_which_all_memory_may_be_used_has_nothing_to_swap(serve: Serve) -> None:
    assert isinstance(serve(limits(MIB, swap_bytes=0)).server.room, Plenty)


def test_replicas_that_are_swapped_out_are_kept_once(serve: Serve) -> None:
    loop = serve(limits(2 * MIB))
    jobs = [Job(loop, name, 7) for name in "abc"]
    for job in jobs:
        job.speaker.done()
    assert sum(out_bytes(loop).values()) == 4 * MIB
    assert swap_of(loop)._space.used_bytes == 2 * MIB
    jobs[0].step()
    for job in jobs:
        assert job.found == job.expected
    operations.Drop(loop.server, "1", "a").poll()
    operations.Drop(loop.server, "1", "b").poll()
    loop.settle()
    assert jobs[2].found == jobs[2].expected
    assert swap_of(loop)._space.used_bytes == 0


def test_only_who_is_larger_than_the_device_alone_is_out_of_memory(serve: Serve) -> None:
    loop = serve(limits(2 * MIB))
    job, large = Job(loop, "job", 3), Speaker(loop, "large")
    job.speaker.done()
    large.buffer(2 * MIB + 1)
    with pytest.raises(OutOfMemory, match="this session alone"):
        large.done()
    assert out_bytes(loop)["job"] == 0, "nobody was moved for what cannot be"
    large.buffer(2 * MIB)
    large.done()
    assert out_bytes(loop)["job"] == 2 * MIB
    assert job.found == job.expected


@pytest.mark.parametrize("bound", ["promised", "met"])
def test_without_room_to_swap_out_an_allocation_fails_and_nobody_else_notices(
    serve: Serve, bound: str
) -> None:
    loop = serve(limits(2 * MIB, swap_bytes=3 * MIB))
    if bound == "met":
        swap_of(loop)._space._limit_bytes = MIB // 2
    job, other = Job(loop, "job", 3), Speaker(loop, "other")
    job.speaker.done()
    failed = other.buffer(2 * MIB if bound == "promised" else MIB)
    with pytest.raises(OutOfMemory) as error:
        other.done()
    assert error.value.native == "-4"
    assert out_bytes(loop)["job"] == 0 and swap_of(loop)._space.used_bytes == 0
    other.put(records.Free(failed))
    job.step()
    assert job.found == job.expected


def test_images_and_what_lies_over_buffers_come_back_too(serve: Serve) -> None:
    loop = serve(limits(2 * MIB))
    speaker = Speaker(loop, "job")
    rng = np.random.default_rng(5)
    data, pixels = rng.bytes(4096), rng.bytes(4 * 16 * 8)
    under, flat, over = speaker.buffer(data), speaker.handle(), speaker.handle()
    speaker.put(
        records.CreateImage(flat, RGBA, UINT8, IMAGE2D, 1, 16, 8, 1, 1, 0, 0, 0),
        records.CreateImage(over, RGBA, UINT8, IMAGE1D_BUFFER, 1, 64, 1, 1, 1, 0, 0, under),
    )
    speaker.done()
    speaker.arena[: len(pixels)] = pixels
    speaker.put(records.WriteImage(flat, 0, 0, 0, 16, 8, 1, len(pixels), 0))
    speaker.done()
    other = Job(loop, "other", 4)
    other.speaker.done()
    assert out_bytes(loop)["job"] == 4096 + len(pixels)
    speaker.put(records.FillImage(over, 1, 0, 0, 1, 1, 1, bytes(16)))
    back = speaker.buffer(len(pixels))
    speaker.put(records.CopyImageToBuffer(flat, back, 0, 0, 0, 16, 8, 1, 0))
    assert speaker.bytes_of(back, len(pixels)) == pixels
    assert speaker.bytes_of(under, 4096) == data[:4] + bytes(4) + data[8:]
    assert other.found == other.expected


PLACES, PLACE = 1 << 16, struct.Struct("<QQQQ")  # native/heap.hpp
HEAP_FIRST = PLACES * PLACE.size


@pytest.fixture
def heap(monkeypatch: pytest.MonkeyPatch) -> Iterator[mmap.mmap]:
    """What the worker of the session that begins next shares with its server."""
    size = HEAP_FIRST + 8 * MIB
    fd = os.memfd_create("heap", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, 1033, 1 | 2 | 4)  # ADD_SEALS: SEAL, SHRINK, GROW
    sign = rendezvous._sign

    def and_offer(segment: Segment) -> None:
        segment[Line.HEAP_FD], segment[Line.HEAP_BYTES] = fd + 1, size
        segment[Line.HEAP_INODE], segment[Line.HEAP] = os.fstat(fd).st_ino, 1
        sign(segment)
        monkeypatch.undo()

    monkeypatch.setattr(rendezvous, "_sign", and_offer)
    with mmap.mmap(fd, size) as memory:
        yield memory
    os.close(fd)


def test_shared_buffers_are_none_of_the_devices_memory_and_never_leave(
    serve: Serve, heap: mmap.mmap
) -> None:
    loop = serve(limits(2 * MIB))
    speaker = Speaker(loop, "job")
    tenant, room = tenant_of(loop, "job"), swap_of(loop)
    if tenant.heap is None:
        pytest.skip("the device does not work in the host's memory")
    shared = [speaker.handle() for _ in range(3)]
    for index, handle in enumerate(shared):
        at = HEAP_FIRST + index * MIB
        PLACE.pack_into(heap, handle % PLACES * PLACE.size, handle, at, 0, 0)
        heap[at : at + MIB] = bytes([index + 1]) * MIB
        speaker.put(records.Alloc(handle, MIB, 15))
    own = speaker.buffer(b"own." * (MIB // 4))
    speaker.done()
    assert (tenant.words.used_bytes, room._engine.used_bytes) == (4 * MIB, MIB)
    assert tenant.objects.there() == {own: MIB}
    assert tenant.objects.device_bytes(tenant.objects.log) == MIB

    other = Job(loop, "other", 4)
    assert out_bytes(loop) == {"job": MIB, "other": 0}
    assert room._engine.used_bytes == 2 * MIB
    assert not any(tenant.library.evict(tenant.at, handle) for handle in shared)
    speaker.put(records.Copy(own, 0, shared[0], 0, 4), records.Free(shared[2]))
    for index, handle in enumerate(shared[:2]):
        expected = bytes([index + 1]) * MIB
        assert speaker.bytes_of(handle, MIB) == (b"own." + expected[4:] if not index else expected)
    assert heap[HEAP_FIRST : HEAP_FIRST + 5] == b"own.\1"
    assert tenant.words.used_bytes == 3 * MIB
    assert speaker.bytes_of(own, MIB) == b"own." * (MIB // 4)
    assert other.found == other.expected
