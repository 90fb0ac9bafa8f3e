"""Shared buffers when workers lie or die, and when servers die."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from opencl_machine import TIMEOUT_S, Machine
from shared_programs import LARGE, Program, header, is_open, settles

from hal.errors import DeviceTimeout
from proxy import programs
from proxy.control import Control
from proxy.errors import ServerGone
from proxy.info import running_servers
from proxy.launcher import spawn
from proxy.segment import Line
from proxy.store import Store
from tests.waiting import until

# ---- workers that may not be believed, or die


def test_a_worker_that_never_stops_copying_holds_up_a_halt_for_a_time_only(
    machine: Machine, tmp_path: Path
) -> None:
    program = Program(machine, "stuck")
    program.does("make", "a", 1000)
    program.does("write", "a", 5)
    segment = header(machine, "stuck")
    settles(machine, "stuck")
    segment[Line.COPYING] = 1
    control = Control(machine.root, "first")
    with pytest.raises(DeviceTimeout, match="goes on"):
        control.snapshot("stuck", tmp_path, timeout_s=1.0)
    settles(machine, "stuck")
    begun = time.monotonic()
    control.snapshot("stuck", tmp_path)
    assert time.monotonic() - begun > 3
    segment[Line.COPYING] = 0
    assert program.does("read", "a") == "5"
    program.ends()


def test_a_worker_killed_while_it_copies_holds_up_nobody(machine: Machine, tmp_path: Path) -> None:
    with fragile(machine.root, "never"):
        fragile_only = Machine(machine.root, ("fragile",))
        program = Program(fragile_only, "killed")
        program.does("make", "a", LARGE)
        program.does("read", "a")
        program.begin("storm", "a", 100_000)
        segment = header(machine, "killed")
        until(lambda: segment[Line.COPYING])
        program.process.send_signal(signal.SIGKILL)
        program.process.wait(TIMEOUT_S)
        segment[Line.COPYING] = 1  # it may have been lowered just in time
        Control(machine.root, "fragile").suspend("killed", tmp_path)
        other = Program(fragile_only, "another")
        other.does("make", "a", 1000)
        assert other.does("read", "a") == "0"
        other.ends()


def test_a_heap_cannot_be_shrunk_and_rubbish_in_it_harms_its_own_session_only(
    machine: Machine, tmp_path: Path
) -> None:
    program = Program(machine, "wild")
    segment = header(machine, "wild")
    fd = os.open(f"/proc/{segment[Line.CLIENT_PID]}/fd/{segment[Line.HEAP_FD] - 1}", os.O_RDWR)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 4096)
    stop = threading.Event()

    def scribble() -> None:
        random = np.random.default_rng(1)
        while not stop.is_set():
            os.pwrite(fd, random.bytes(4096), 0)  # the table's beginning
            for line in (Line.HEAP, Line.COPYING, Line.HEAP_BYTES, Line.HEAP_INODE):
                segment[line] = int(random.integers(0, 2**64, dtype=np.uint64))

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        for turn in range(30):
            program.begin("make", f"b{turn}", 1 << 16)
            program.begin("triple", f"b{turn}")
        program.begin("finish")
        time.sleep(1.0)
        Control(machine.root, "first").status()
    finally:
        stop.set()
        thread.join()
        os.close(fd)
        program.process.kill()
    other = Program(machine, "sane")
    other.does("make", "a", 1000)
    other.does("write", "a", 5)
    other.does("triple", "a")
    assert other.does("read", "a") == "15"
    other.ends()


# ---- servers that die

FRAGILE = """
import os, signal, sys
from pathlib import Path
from hal import open_device
from proxy import heap
from proxy.server import Server

heap.PATIENCE_S = 1000.0

def step(name):
    if name == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

Server(Path(sys.argv[1]), "fragile", open_device("opencl:0"), store_step=step).run()
"""


@contextmanager
def fragile(root: Path, fatal: str) -> Iterator[None]:
    """A server that is killed at the durable step `fatal`, and waits long for who is copying."""
    process = subprocess.Popen([sys.executable, "-c", FRAGILE, str(root), fatal])
    try:
        until(
            lambda: "fragile" in [paths.name for paths, _ in running_servers(root)],
            "it did not start",
        )
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("fatal", ["claim", "claimed", "run"])
def test_a_target_killed_at_any_step_leaves_the_buffers_to_the_source(
    machine: Machine, tmp_path: Path, fatal: str
) -> None:
    with fragile(machine.root, fatal):
        program = Program(Machine(machine.root, ("first",)), fatal)
        program.does("make", "a", 1000)
        program.does("make", "b", 1000)
        program.does("write", "a", 5)
        program.does("write", "b", 7)
        assert program.does("map", "a") == "heap"
        program.does("set", "a", 250)
        with pytest.raises(ServerGone):
            programs.move(machine.root, fatal, "fragile", tmp_path)
        program.does("set", "a", 500)
        program.does("unmap", "a")
        assert program.does("read", "a") == "5 6 7"
        assert program.does("read", "b") == "7"
        settles(machine, fatal)
        assert is_open(header(machine, fatal))
        program.ends()


@pytest.mark.parametrize("fatal", ["park", "parked"])
@pytest.mark.parametrize("target", ["first", "second"])
def test_a_source_killed_when_it_let_go_leaves_the_buffers_to_any_other(
    mixed: Machine, tmp_path: Path, fatal: str, target: str
) -> None:
    """Also to one that does not share."""
    name = f"{fatal}-{target}"
    with fragile(mixed.root, fatal):
        program = Program(Machine(mixed.root, ("fragile",)), name)
        program.does("make", "a", 1000)
        program.does("write", "a", 5)
        program.does("triple", "a")
        assert program.does("map", "a") == "heap"
        with pytest.raises(ServerGone):
            Control(mixed.root, "fragile").suspend(name, tmp_path)
    (record,) = Store(tmp_path).records()
    program.does("set", "a", 500)
    Control(mixed.root, target).resume(name, record, tmp_path)
    program.does("unmap", "a")
    assert program.does("read", "a") == "15 16"
    program.ends()


@pytest.fixture
def logged() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="haltere-t-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_what_was_mapped_before_the_redo_log_began_is_redone(logged: Path, tmp_path: Path) -> None:
    plain = spawn("opencl:0", logged, "plain", tied=True)
    server = spawn(
        "opencl:0", logged, "logged", tied=True, checkpoint_every_s=1000.0, store=tmp_path
    )
    machine = Machine(logged, ("plain",))
    program = Program(machine, "redone")
    try:
        program.does("make", "a", 1000)
        program.does("write", "a", 5)
        assert program.does("map", "a") == "heap"
        program.does("set", "a", 250)
        programs.halt(logged, "redone", tmp_path)
        assert programs.resume(logged, "redone", "logged") == [("redone", "logged")]
        machine = Machine(logged, ("logged",))
        segment = header(machine, "redone")
        until(lambda: segment[Line.RECOVERABLE])
        settles(machine, "redone")
        assert is_open(segment)
        program.does("set", "a", 500)
        program.does("unmap", "a")
        program.does("triple", "a")
        program.does("make", "b", 1000)
        program.does("write", "b", 9)
        assert program.does("read", "a") == "15 18 21"
        server.kill()
        server = spawn(
            "opencl:0", logged, "logged", tied=True, checkpoint_every_s=1000.0, store=tmp_path
        )
        assert program.does("map", "a") == "elsewhere"
        program.does("unmap", "a")
        assert program.does("read", "a") == "15 18 21"
        assert program.does("read", "b") == "9"
        assert header(machine, "redone")[Line.HEAP] == 0
    finally:
        program.process.kill()
        plain.stop()
        server.stop()
