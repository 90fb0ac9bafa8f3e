"""Sessions that are swapped out end, move, are stored and lose their bytes; and a driver that has
less than it says."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opencl_records import Speaker
from polling import polled
from swapping import (
    MIB,
    Job,
    Serve,
    blended,
    limits,
    out_bytes,
    swap_of,
    tenant_of,
)

from hal import list_devices, open_device
from hal.errors import DeviceFault, OutOfMemory
from proxy import operations
from proxy.swap_space import SwapSpace
from tests.waiting import until

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


def test_who_waits_for_room_keeps_its_place_while_the_server_stands_still(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = serve(limits(2 * MIB))
    Job(loop, "job", 1)
    room, first, second = swap_of(loop), object(), object()
    assert not room.has_room(first, MIB)
    assert not room.has_room(second, MIB)
    late = time.monotonic() + 60
    monkeypatch.setattr(room, "_clock", lambda: late)
    room.poll()
    assert room._line == [room._claims[first], room._claims[second]]

    def is_dropped() -> bool:
        room.has_room(second, MIB)
        room.poll()
        return first not in room._claims

    until(is_dropped)  # nobody asks any more for that one
