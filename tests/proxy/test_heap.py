"""A server uses no heap that could be taken from under it, and believes nothing that it is told."""

from __future__ import annotations

import fcntl
import mmap
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from proxy import heap
from proxy.heap import Heap
from proxy.liveness import ProcessId
from proxy.segment import Line, Segment

ROOT = Path(__file__).parents[2]
SIZE = 1 << 20
ADD_SEALS, SEAL, SHRINK, GROW = 1033, 1, 2, 4


@pytest.fixture
def segment(root: Path) -> Iterator[Segment]:
    """Of a session whose worker is this process."""
    found = Segment.create(root / "session", 4096, 4096)
    own = ProcessId.own()
    found[Line.CLIENT_PID], found[Line.CLIENT_START] = own.pid, own.start_ticks
    found[Line.EPOCH] = 1
    found[Line.HEAP] = 1
    yield found
    found.close()


def sealed(seals: int = SHRINK | GROW | SEAL, flags: int = 0) -> int:
    fd = os.memfd_create("heap", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | flags)
    os.ftruncate(fd, SIZE if not flags else 4 << 20)
    fcntl.fcntl(fd, ADD_SEALS, seals)
    return fd


def offer(segment: Segment, fd: int, **more: int) -> Heap | None:
    found = os.fstat(fd)
    segment[Line.HEAP_FD] = fd + 1
    segment[Line.HEAP_BYTES], segment[Line.HEAP_INODE] = found.st_size, found.st_ino
    for name, value in more.items():
        segment[Line[name]] = value
    return Heap.of(segment)


def test_a_sealed_memory_file_is_mapped(segment: Segment) -> None:
    fd = sealed()
    found = offer(segment, fd)
    assert found is not None and found.nbytes == SIZE
    os.pwrite(fd, b"there", 4096)
    with mmap.mmap(fd, SIZE) as worker:
        assert worker[4096:4101] == b"there"
    found.close()
    os.close(fd)


@pytest.mark.parametrize(
    "wild",
    [
        {"HEAP": 0},
        {"HEAP_FD": 0},
        {"HEAP_FD": 2**64 - 1},
        {"HEAP_FD": 12345},
        {"HEAP_BYTES": 0},
        {"HEAP_BYTES": SIZE // 2},
        {"HEAP_BYTES": 2 * SIZE},
        {"HEAP_BYTES": 2**64 - 1},
        {"HEAP_INODE": 0},
        {"CLIENT_PID": 2**40},
        {"CLIENT_PID": 2**64 - 1},
        {"CLIENT_START": 1},
    ],
    ids=str,
)
def test_a_header_that_says_otherwise_gives_no_heap(segment: Segment, wild: dict[str, int]) -> None:
    fd = sealed()
    assert offer(segment, fd, **wild) is None
    os.close(fd)


def test_what_could_be_shrunk_is_refused(segment: Segment, tmp_path: Path) -> None:
    unsealed = sealed(0)
    in_part = sealed(GROW | SEAL)
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    file = os.open(path, os.O_RDWR)
    pipe, other = os.pipe()
    null = os.open("/dev/zero", os.O_RDWR)
    for fd in (unsealed, in_part, file, pipe, null):
        assert offer(segment, fd, HEAP_BYTES=SIZE) is None
    for fd in (unsealed, in_part, file, pipe, other, null):
        os.close(fd)


def test_huge_pages_that_may_run_out_are_refused(segment: Segment) -> None:
    with suppress(OSError):  # a system without them
        fd = sealed(flags=os.MFD_HUGETLB)
        assert offer(segment, fd) is None
        os.close(fd)


def test_a_worker_that_copies_is_waited_for_but_not_for_ever(
    segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = sealed()
    found = offer(segment, fd)
    assert found is not None
    found.open(1)
    assert segment[Line.HEAP] == 2
    segment[Line.COPYING] = 1
    found.forbid(1)
    assert segment[Line.HEAP] == 3 and not found.is_still
    segment[Line.COPYING] = 0
    assert found.is_still
    segment[Line.COPYING] = 1
    monkeypatch.setattr(heap, "PATIENCE_S", 0.05)
    time.sleep(0.1)
    assert found.is_still
    monkeypatch.undo()
    segment[Line.CLIENT_START] += 1  # it is dead
    assert found.is_still
    found.close()
    os.close(fd)


def test_only_whoever_has_the_session_says_what_its_worker_may(segment: Segment) -> None:
    fd = sealed()
    found = offer(segment, fd)
    assert found is not None
    found.open(2)
    assert segment[Line.HEAP] == 1
    segment[Line.HEAP] = 2
    found.forbid(2)
    assert segment[Line.HEAP] == 2
    segment[Line.HEAP] = 0  # its buffers left the heap
    found.open(1)
    found.forbid(1)
    assert segment[Line.HEAP] == 0
    found.close()
    os.close(fd)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_room_is_handed_out_once_and_full_of_zeros(tmp_path: Path) -> None:
    program = tmp_path / "room"
    sources = [Path(__file__).with_name("heap_room.cpp"), ROOT / "proxy/native/opencl/heap.cpp"]
    flags = [
        "-std=c++20",
        "-g",
        "-O1",
        "-Wall",
        "-Wextra",
        "-fsanitize=address,undefined",
        "-I",
        ROOT,
    ]
    subprocess.run(["g++", *sources, *flags, "-o", program], check=True, timeout=200)
    subprocess.run([program], check=True, timeout=100)
