"""Sessions that need more memory together than their device has: they run by turns, exactly."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from opencl_records import Speaker
from polling import polled
from proxy_fleet import read_until

from hal import list_devices, open_device
from hal.errors import DeviceFault, OutOfMemory
from hal.types import BufferArg, Grid, Handle, ProgramImage
from proxy import operations, records, rendezvous
from proxy.client import connect
from proxy.control import Control
from proxy.info import read_info
from proxy.known import PIECE_BYTES
from proxy.launcher import spawn
from proxy.limits import Limits
from proxy.loopback import Loopback
from proxy.native_tenant import NativeTenant
from proxy.segment import Line, Segment
from proxy.swap import Plenty, Swap
from proxy.swap_space import SwapSpace

BLEND = """
kernel void blend(global uint *a, global const uint *b) {
    size_t i = get_global_id(0);
    a[i] = a[i] * 1664525u + b[i] + 1013904223u;
}
"""
MIB = 1 << 20
RGBA, UINT8, IMAGE2D, IMAGE1D_BUFFER = 0x10B5, 0x10DA, 0x10F1, 0x10F6
Serve = Callable[..., Loopback]
Words = npt.NDArray[np.uint32]


def limits(device_bytes: int, swap_bytes: int = 1 << 30, swap_to: Path | None = None) -> Limits:
    return Limits(0.5, 60.0, None, device_bytes, swap_bytes, swap_to)


@pytest.fixture
def serve(root: Path) -> Iterator[Serve]:
    if "opencl:0" not in {info.uri for info in list_devices()}:
        pytest.skip("opencl:0 is not present")
    found: list[Loopback] = []

    def start(bounds: Limits, name: str = "native:0") -> Loopback:
        found.append(Loopback(open_device("opencl:0"), root, name, core="native", limits=bounds))
        return found[-1]

    yield start
    for loop in found:
        loop.close()


def tenant_of(loop: Loopback, session: str) -> NativeTenant:
    tenant = loop.server.served[session].tenant
    assert isinstance(tenant, NativeTenant)
    return tenant


def swap_of(loop: Loopback) -> Swap:
    assert isinstance(loop.server.room, Swap)
    return loop.server.room


def out_bytes(loop: Loopback) -> dict[str, int]:
    return {name: served.tenant.out_bytes for name, served in loop.server.served.items()}


class Job:
    """Two buffers that are blended again and again, over the proxy and natively."""

    def __init__(self, loop: Loopback, session: str, seed: int, nbytes: int = MIB) -> None:
        self.speaker = Speaker(loop, session)
        self._nbytes = nbytes
        self.data = np.random.default_rng(seed).integers(0, 2**32, (2, nbytes // 4), np.uint32)
        self._program = self.speaker.program(BLEND)
        self._buffers = [self.speaker.buffer(each) for each in self.data]
        self.steps = 0
        self.speaker.done()

    def step(self) -> None:
        a, b = (BufferArg(Handle(buffer)) for buffer in self._buffers)
        self.speaker.launch(self._program, "blend", (a, b), (self._nbytes // 4,))
        self._buffers.reverse()
        self.steps += 1

    @property
    def found(self) -> bytes:
        return b"".join(self.speaker.bytes_of(buffer, self._nbytes) for buffer in self._buffers)

    @property
    def expected(self) -> bytes:
        """As the device itself computes it."""
        data, nbytes, steps = self.data, self._nbytes, self.steps
        with open_device("opencl:0") as device:
            context = device.open_context()
            program = context.load(ProgramImage("opencl-c", BLEND.encode()))
            buffers = [context.alloc(nbytes) for _ in data]
            for buffer, each in zip(buffers, data, strict=True):
                context.write(buffer, each)
            for _ in range(steps):
                args = tuple(buffer.arg() for buffer in buffers)
                context.launch(program, "blend", args, Grid((nbytes // 4,)))
                buffers.reverse()
            return b"".join(context.read(buffer) for buffer in buffers)


def blended(data: Words, steps: int) -> bytes:
    a, b = data
    for _ in range(steps):
        a, b = b, a * np.uint32(1664525) + b + np.uint32(1013904223)
    return a.tobytes() + b.tobytes()


# ---- what programs see


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


# ---- ends, moves, failures


def test_the_end_of_a_session_gives_back_what_it_had_anywhere(serve: Serve) -> None:
    loop = serve(limits(3 * MIB))
    jobs = [Job(loop, name, seed) for seed, name in enumerate("abc")]
    jobs[2].speaker.done()
    for name in "abc":
        operations.Drop(loop.server, "1", name).poll()
    loop.settle()
    assert swap_of(loop)._space.used_bytes == 0
    assert swap_of(loop).free_bytes == 3 * MIB
    assert not swap_of(loop).waited_for


def test_a_session_that_ends_while_its_bytes_move_leaves_nothing(serve: Serve) -> None:
    loop = serve(limits(2 * MIB))
    first, second = Job(loop, "first", 1), Speaker(loop, "second")
    first.speaker.done()
    second.buffer(2 * MIB)
    while swap_of(loop)._move is None:
        loop._idle(0, 0.001)
    operations.Drop(loop.server, "1", "first").poll()
    second.done()
    loop.server._look_around()
    assert swap_of(loop)._space.used_bytes == 0
    assert swap_of(loop).free_bytes == 0


def test_sessions_that_are_not_moved_go_on_while_bytes_move(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, gate = serve(limits(5 * MIB)), threading.Event()
    idle, busy, large = Job(loop, "idle", 1), Job(loop, "busy", 2), Speaker(loop, "large")
    put = SwapSpace.put

    def gated(space: SwapSpace, data: memoryview) -> object:
        assert gate.wait(60.0)
        return put(space, data)

    monkeypatch.setattr(SwapSpace, "put", gated)
    busy.speaker.done()
    idle.speaker.done()
    busy.step()
    busy.speaker.done()
    large.buffer(2 * MIB)
    while swap_of(loop)._move is None:
        loop._idle(0, 0.001)
    for _ in range(20):
        busy.step()
        busy.speaker.done()
    assert out_bytes(loop) == {"idle": 0, "busy": 0, "large": 0}
    gate.set()
    large.done()
    assert out_bytes(loop) == {"idle": MIB, "busy": 0, "large": 0}
    assert busy.found == busy.expected and idle.found == idle.expected


def test_a_swapped_session_is_stored_from_where_its_bytes_are(serve: Serve, tmp_path: Path) -> None:
    loop, target = serve(limits(2 * MIB)), serve(limits(2 * MIB), "native:1")
    job, other = Job(loop, "job", 1), Job(loop, "other", 2)
    other.speaker.done()
    before = out_bytes(loop)
    assert before["job"] == 2 * MIB
    ask = {"session": "job", "store": str(tmp_path / "store"), "timeout_s": 20}
    polled(operations.begin(loop.server, "1", ask | {"do": "snapshot"}))
    assert out_bytes(loop) == before
    cut = polled(operations.begin(loop.server, "2", ask | {"do": "suspend"}))["checkpoint"]
    loop.settle()
    assert out_bytes(loop) == {"other": 0}
    assert swap_of(loop)._space.used_bytes == 0
    hog = Job(target, "hog", 3)
    hog.speaker.done()
    again = ask | {"do": "resume", "checkpoint": cut}
    polled(operations.begin(target.server, "3", again), lambda: target._idle(0, 0.001))
    assert out_bytes(target) == {"hog": 2 * MIB, "job": 0}

    def both(seen: int, timeout_s: float) -> None:
        loop._idle(seen, timeout_s)
        target._idle(seen, timeout_s)

    job.speaker.channel._idle = both
    job.step()
    assert job.found == job.expected
    assert hog.found == hog.expected
    assert other.found == other.expected


def test_an_allocation_waits_for_memory_of_a_session_that_may_not_come(
    serve: Serve, tmp_path: Path
) -> None:
    source, target = serve(limits(2 * MIB)), serve(limits(2 * MIB), "native:1")
    Job(source, "job", 1, MIB // 2)
    ask = {"session": "job", "store": str(tmp_path), "timeout_s": 20}
    cut = polled(operations.begin(source.server, "1", ask | {"do": "snapshot"}))["checkpoint"]
    request = ask | {"do": "prepare", "checkpoint": cut}
    polled(operations.begin(target.server, "2", request))
    other = Speaker(target, "other")
    other.buffer(2 * MIB)
    for _ in range(20):
        target._idle(0, 0.001)
    assert tenant_of(target, "other").words.waits
    operations.begin(target.server, "3", ask | {"do": "unprepare"}).poll()
    other.done()


def test_bytes_swapped_to_a_folder_are_files_that_go_with_them(
    serve: Serve, tmp_path: Path
) -> None:
    left = tmp_path / "native:0" / f"{'0' * 32}-0.piece"
    left.parent.mkdir()
    left.write_bytes(b"of a server that died")
    loop = serve(limits(2 * MIB, swap_to=tmp_path))
    assert not left.exists()
    jobs = [Job(loop, name, seed) for seed, name in enumerate("ab")]
    jobs[1].speaker.done()
    files = list((tmp_path / "native:0").iterdir())
    assert sum(file.stat().st_size for file in files) == 2 * MIB
    for job in jobs:
        assert job.found == job.expected
    for name in "ab":
        operations.Drop(loop.server, "1", name).poll()
    loop.settle()
    assert list((tmp_path / "native:0").iterdir()) == []


def test_bytes_that_are_lost_end_their_session_and_no_other(serve: Serve, tmp_path: Path) -> None:
    loop = serve(limits(2 * MIB, swap_to=tmp_path))
    lost, other = Job(loop, "lost", 1), Job(loop, "other", 2)
    other.speaker.done()
    for file in (tmp_path / "native:0").iterdir():
        file.unlink()
    lost.step()
    with pytest.raises(DeviceFault, match="cannot be brought back"):
        lost.speaker.done()
    assert other.found == other.expected


def test_status_says_how_much_of_a_session_is_swapped_out(serve: Serve) -> None:
    loop = serve(limits(2 * MIB))
    jobs = [Job(loop, name, seed) for seed, name in enumerate("ab")]
    jobs[1].speaker.done()
    sessions = operations.Status(loop.server, "1").poll()["sessions"]
    found = {each["name"]: (each["buffer_bytes"], each["out_bytes"]) for each in sessions}
    assert found == {"a": (2 * MIB, 2 * MIB), "b": (2 * MIB, 0)}


# ---- a driver that has less than it says

CREATE_BUFFER, RELEASE_MEMORY = 14, 18  # in the dispatch table
CREATE = ctypes.CFUNCTYPE(
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_int32),
)  # fmt: skip
RELEASE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)


@pytest.fixture
def scarce() -> Iterator[None]:
    """PoCL's buffers take 2 MiB together at most."""
    if "opencl:0" not in {info.uri for info in list_devices()}:
        pytest.skip("opencl:0 is not present")
    with open_device("opencl:0") as device:
        handle = ctypes.c_void_p(device.native_handle)
        table = ctypes.cast(handle, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p))).contents
    before = table[CREATE_BUFFER], table[RELEASE_MEMORY]
    assert before[0] and before[1]
    create, release = CREATE(before[0]), RELEASE(before[1])
    sizes: dict[int, int] = {}

    def created(context: int, flags: int, nbytes: int, data: int, error: Any) -> int | None:
        if sum(sizes.values()) + nbytes > 2 * MIB:
            error[0] = -4
            return None
        made = create(context, flags, nbytes, data, error)
        sizes[made] = nbytes
        return int(made)

    def released(memory: int) -> int:
        sizes.pop(memory, None)
        return int(release(memory))

    ours = CREATE(created), RELEASE(released)
    table[CREATE_BUFFER], table[RELEASE_MEMORY] = (
        ctypes.cast(each, ctypes.c_void_p).value for each in ours
    )
    yield
    table[CREATE_BUFFER], table[RELEASE_MEMORY] = before


def test_what_the_driver_does_not_give_is_made_room_for(scarce: None, serve: Serve) -> None:
    loop = serve(limits(8 * MIB))
    jobs = [Job(loop, name, seed) for seed, name in enumerate("abc")]
    for job in jobs:
        job.step()
    for job in jobs:
        assert job.found == blended(job.data, job.steps)
    large = Speaker(loop, "large")
    large.buffer(2 * MIB + 1)
    with pytest.raises(OutOfMemory):
        large.done()
    jobs[0].step()
    assert jobs[0].found == blended(jobs[0].data, 2)


# ---- processes

WORKER = """
import sys, time
from pathlib import Path
from proxy.client import connect
with connect("opencl:0", Path(sys.argv[1])) as device, device.open_context() as context:
    buffer = context.alloc(1 << 20)
    context.write(buffer, bytes(range(256)) * 4096)
    context.finish()
    print("there", flush=True)
    time.sleep(60)
"""


def test_a_worker_that_is_killed_while_it_is_swapped_out_leaves_nothing(root: Path) -> None:
    if "opencl:0" not in {info.uri for info in list_devices()}:
        pytest.skip("opencl:0 is not present")
    server = spawn("opencl:0", root, tied=True, core="native", limits=limits(MIB))
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(root)], stdout=subprocess.PIPE, text=True
    )
    try:
        read_until(worker, "there")
        control = Control(root, "opencl:0")
        with connect("opencl:0", root) as device, device.open_context() as context:
            buffer = context.alloc(MIB)
            context.write(buffer, b"abcd" * (MIB // 4))
            context.finish()
            sessions = {each.worker_pid: each.out_bytes for each in control.status().sessions}
            assert sessions == {worker.pid: MIB, os.getpid(): 0}
            worker.kill()
            give_up = time.monotonic() + 20
            while len(control.status().sessions) > 1:
                assert time.monotonic() < give_up
                time.sleep(0.02)
            assert context.read(buffer) == b"abcd" * (MIB // 4)
    finally:
        worker.kill()
        worker.communicate()
        server.stop()


@pytest.mark.parametrize("checkpoint_every_s", [None, 0.2])
def test_sessions_that_were_swapped_out_are_redone_by_turns_when_their_server_is_killed(
    root: Path, tmp_path: Path, checkpoint_every_s: float | None
) -> None:
    """From their beginning, or from checkpoints."""
    if "opencl:0" not in {info.uri for info in list_devices()}:
        pytest.skip("opencl:0 is not present")
    server = spawn(
        "opencl:0", root, tied=True, core="native", limits=limits(3 * MIB), restarts=2,
        checkpoint_every_s=checkpoint_every_s, store=tmp_path,
    )  # fmt: skip
    control = Control(root, "opencl:0")
    with ExitStack() as opened:
        held = []
        for number in range(3):
            device = opened.enter_context(connect("opencl:0", root, session=f"job-{number}"))
            context = opened.enter_context(device.open_context())
            buffers = [context.alloc(MIB) for _ in range(2)]
            for index, buffer in enumerate(buffers):
                context.write(buffer, bytes([number, index]) * (MIB // 2))
            context.finish()
            held.append((context, buffers))
        assert sum(each.out_bytes for each in control.status().sessions) >= 3 * MIB
        give_up = time.monotonic() + 20
        while checkpoint_every_s and len(list(tmp_path.glob("records/*"))) < 3:
            assert time.monotonic() < give_up
            time.sleep(0.02)
        info = read_info(server.paths.info)
        assert info is not None
        os.kill(info.pid, signal.SIGKILL)
        for number, (context, buffers) in enumerate(held):
            for index, buffer in enumerate(buffers):
                assert context.read(buffer) == bytes([number, index]) * (MIB // 2)
        assert sum(each.out_bytes for each in control.status().sessions) >= 3 * MIB
    server.stop()


# ---- any order of things

THERE = 4 * PIECE_BYTES
SIZES = st.sampled_from([1, 1000, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, THERE])


class Sharing(RuleBasedStateMachine):
    """Sessions come, write, copy, free and go; bytes are compared with a model's."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(prefix="haltere-t-", dir="/dev/shm"))
        device = open_device("opencl:0")
        bounds = limits(THERE, 4 * THERE)
        self.loop = Loopback(device, self._folder, "n:0", core="native", limits=bounds)
        self.sessions: dict[str, tuple[Speaker, dict[int, bytearray]]] = {}
        self._count = 0

    def teardown(self) -> None:
        self.loop.close()
        shutil.rmtree(self._folder)

    @precondition(lambda self: len(self.sessions) < 4)
    @rule()
    def come(self) -> None:
        self._count += 1
        name = f"s{self._count}"
        self.sessions[name] = Speaker(self.loop, name), {}

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), nbytes=SIZES)
    def alloc(self, data: st.DataObject, nbytes: int) -> None:
        speaker, held = self._one(data)
        alone = sum(map(len, held.values())) + nbytes
        together = sum(len(each) for _, all_ in self.sessions.values() for each in all_.values())
        buffer = speaker.buffer(nbytes)
        if alone > THERE or together + nbytes > 4 * THERE:
            with pytest.raises(OutOfMemory):
                speaker.done()
            speaker.put(records.Free(buffer))
        else:
            speaker.done()
            held[buffer] = bytearray(nbytes)

    @precondition(lambda self: any(held for _, held in self.sessions.values()))
    @rule(data=st.data(), fill=st.binary(min_size=1, max_size=8))
    def write(self, data: st.DataObject, fill: bytes) -> None:
        speaker, held, buffer = self._buffer(data)
        at = data.draw(st.integers(0, len(held[buffer]) - 1))
        fill = fill[: len(held[buffer]) - at]
        speaker.put(records.WriteInline(buffer, at, fill))
        held[buffer][at : at + len(fill)] = fill

    @precondition(lambda self: any(held for _, held in self.sessions.values()))
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        speaker, held, buffer = self._buffer(data)
        assert speaker.bytes_of(buffer, len(held[buffer])) == held[buffer]

    @precondition(lambda self: any(held for _, held in self.sessions.values()))
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        speaker, held, buffer = self._buffer(data)
        speaker.put(records.Free(buffer))
        del held[buffer]

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.sessions)))
        del self.sessions[name]
        operations.Drop(self.loop.server, "1", name).poll()

    @invariant()
    def all_adds_up(self) -> None:
        for _ in range(3):
            self.loop._idle(0, 0.001)
        room = swap_of(self.loop)
        if room._move is not None:
            return
        there = room._engine.used_bytes
        assert there <= THERE
        tenants = [tenant_of(self.loop, name) for name in self.sessions]
        assert there == sum(sum(tenant.objects.there().values()) for tenant in tenants)
        outs = [content for tenant in tenants for content in tenant.objects.out.values()]
        assert sum(content.nbytes for content in outs) == sum(t.out_bytes for t in tenants)
        users = sum(piece.users for piece in room._space._pieces.values())
        assert users == sum(len(content._names) for content in outs)
        assert room._space.used_bytes == sum(p.nbytes for p in room._space._pieces.values())

    def _one(self, data: st.DataObject) -> tuple[Speaker, dict[int, bytearray]]:
        return self.sessions[data.draw(st.sampled_from(sorted(self.sessions)))]

    def _buffer(self, data: st.DataObject) -> tuple[Speaker, dict[int, bytearray], int]:
        having = sorted(name for name, (_, held) in self.sessions.items() if held)
        speaker, held = self.sessions[data.draw(st.sampled_from(having))]
        return speaker, held, data.draw(st.sampled_from(sorted(held)))


Sharing.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
TestSharing = pytest.mark.skipif(
    "opencl:0" not in {info.uri for info in list_devices()}, reason="opencl:0 is not present"
)(Sharing.TestCase)
