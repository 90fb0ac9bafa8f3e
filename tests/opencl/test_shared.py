"""Where device and program share memory, a program's buffers are its own, and all else holds."""

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
from opencl_machine import PROGRAMS, TIMEOUT_S, Machine, lines_of, start

from hal.errors import DeviceTimeout
from proxy import checkpoint, programs
from proxy.control import Control
from proxy.errors import ServerGone
from proxy.info import running_servers
from proxy.launcher import spawn
from proxy.limits import Limits
from proxy.segment import Line, Segment
from proxy.store import Store

SHARES = str(PROGRAMS.with_name("workers") / "shares.py")
BULK = str(PROGRAMS.with_name("workers") / "bulk.py")
LARGE = 4 << 20  # numbers: 16 MiB, more than an arena holds
CHUNK = 512 << 10  # as many as one record brings


class Program:
    """workers/shares.py under way."""

    def __init__(self, machine: Machine, name: str, *limits: str) -> None:
        self.process = machine.under(SHARES, *limits, name=name, stdin=subprocess.PIPE)
        assert self.line() == "ready"
        settles(machine, name)

    def does(self, what: str, name: str = "-", number: int = 0) -> str:
        self.begin(what, name, number)
        return self.line()

    def begin(self, what: str, name: str = "-", number: int = 0) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what} {name} {number}\n")
        self.process.stdin.flush()

    def ends(self) -> None:
        _, err = self.process.communicate(timeout=TIMEOUT_S)
        assert (self.process.returncode, err) == (0, "")

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, self.process.communicate(timeout=TIMEOUT_S)
        return line


def header(machine: Machine, session: str) -> Segment:
    found = [path for path in machine.root.glob(f"servers/*/sessions/{session}")]
    assert len(found) == 1
    return Segment.open(found[0])


def settles(machine: Machine, session: str) -> None:
    """Its server has had time to let it touch its buffers, if it ever does."""
    segment = header(machine, session)
    give_up = time.monotonic() + TIMEOUT_S
    while segment[Line.HEAP] % 2:
        assert time.monotonic() < give_up
        time.sleep(0.01)


def is_open(segment: Segment) -> bool:
    word = segment[Line.HEAP]
    return word > 0 and word % 2 == 0


def test_transfers_and_maps_of_shared_buffers_are_no_commands(machine: Machine) -> None:
    program = Program(machine, "direct")
    program.does("make", "a", 1000)
    program.does("finish")
    program.does("write", "a", 1)
    program.does("triple", "a")
    assert program.does("read", "a") == "3"
    segment = header(machine, "direct")
    issued = segment[Line.HEAD]
    for number in range(5, 10):
        program.does("write", "a", number)
        assert program.does("read", "a") == str(number)
    assert program.does("map", "a") == "heap"
    program.does("set", "a", 500)
    program.does("unmap", "a")
    assert program.does("read", "a") == "9 10"
    assert segment[Line.HEAD] == issued
    program.does("triple", "a")
    assert program.does("read", "a") == "27 30"
    program.ends()


def test_a_device_with_memory_of_its_own_is_sent_everything(mixed: Machine) -> None:
    program = Program(Machine(mixed.root, ("second",)), "sent")
    program.does("make", "a", 1000)
    program.does("write", "a", 9)
    assert program.does("map", "a") == "elsewhere"
    program.does("set", "a", 500)
    program.does("unmap", "a")
    assert program.does("read", "a") == "9 10"
    assert header(mixed, "sent")[Line.HEAP] == 0
    program.ends()


@pytest.mark.parametrize("limit", [("RLIMIT_AS", "8192"), ("RLIMIT_FSIZE", "1024")])
def test_a_program_that_cannot_make_a_heap_goes_without(
    machine: Machine, limit: tuple[str, str]
) -> None:
    program = Program(machine, f"without-{limit[0]}", *limit)
    program.does("make", "a", 1000)
    program.does("write", "a", 9)
    assert program.does("map", "a") == "elsewhere"
    assert program.does("read", "a") == "9"
    program.ends()


def test_new_buffers_hold_zeros_wherever_others_were(machine: Machine) -> None:
    program = Program(machine, "zeros")
    for size in (100, 100_000, LARGE):
        for turn in range(4):
            program.does("make", "a", size)
            assert program.does("map", "a") == "heap"
            assert program.does("read", "a") == "0"
            program.does("unmap", "a")
            program.does("write", "a", turn + 7)
            program.does("free", "a")
            program.does("finish")
    program.ends()


def test_a_huge_buffer_costs_what_is_touched_of_it(machine: Machine) -> None:
    program = Program(machine, "huge")
    program.does("make", "a", 1 << 29)  # 2 GiB
    assert program.does("map", "a") == "heap"
    program.does("set", "a", 1000)
    program.does("unmap", "a")
    fields = Path(f"/proc/{program.process.pid}/statm").read_text().split()
    assert int(fields[2]) * os.sysconf("SC_PAGESIZE") < 1 << 29  # shared, and there
    program.ends()


def test_what_a_session_may_not_have_is_refused_when_it_is_made(tmp_path: Path) -> None:
    root = Path(tempfile.mkdtemp(prefix="haltere-t-", dir="/dev/shm"))
    limits = Limits(session_bytes=1 << 20)
    server = spawn("opencl:0", root, tied=True, limits=limits)
    try:
        program = Program(Machine(root, (server.paths.name,)), "poor")
        assert program.does("make", "much", 1 << 20) == "MEM_OBJECT_ALLOCATION_FAILURE"
        assert program.does("make", "little", 1000) == "done"
        assert program.does("read", "little") == "0"
        program.ends()
    finally:
        server.stop()
        shutil.rmtree(root, ignore_errors=True)


# ---- halting, moving


@pytest.mark.parametrize("target", ["first", "second"])
def test_what_is_mapped_while_its_session_is_elsewhere_is_kept(
    mixed: Machine, tmp_path: Path, target: str
) -> None:
    """Also by a target that does not share, and ever after."""
    name = f"mapped-{target}"
    program = Program(Machine(mixed.root, ("first",)), name)
    program.does("make", "a", 1000)
    program.does("make", "b", 1000)
    program.does("write", "a", 5)
    program.does("write", "b", 8)
    assert program.does("map", "a") == "heap"
    program.does("set", "a", 250)
    programs.halt(mixed.root, name, tmp_path)
    program.does("set", "a", 500)
    assert programs.resume(mixed.root, name, target) == [(name, target)]
    program.does("set", "a", 750)
    program.does("unmap", "a")
    program.does("triple", "a")
    assert program.does("read", "a") == "15 18 21 24"
    assert program.does("read", "b") == "8"
    assert (header(mixed, name)[Line.HEAP] == 0) is (target == "second")
    program.does("write", "b", 11)
    programs.halt(mixed.root, name, tmp_path)
    assert programs.resume(mixed.root, name, "first") == [(name, "first")]
    settles(mixed, name)
    assert program.does("map", "b") == ("heap" if target == "first" else "elsewhere")
    program.does("set", "b", 1)
    program.does("unmap", "b")
    assert program.does("read", "b") == "11 12"
    assert program.does("read", "a") == "15 18 21 24"
    program.ends()


def test_an_unmap_while_halted_reaches_a_device_that_does_not_share(
    mixed: Machine, tmp_path: Path
) -> None:
    program = Program(Machine(mixed.root, ("first",)), "late")
    program.does("make", "a", 1000)
    program.does("write", "a", 5)
    assert program.does("map", "a") == "heap"
    programs.halt(mixed.root, "late", tmp_path)
    program.does("set", "a", 500)
    program.does("unmap", "a")
    assert programs.resume(mixed.root, "late", "second") == [("late", "second")]
    assert program.does("read", "a") == "5 6"
    program.ends()


def test_a_program_is_moved_between_servers_that_share_and_that_do_not(
    mixed: Machine, tmp_path: Path
) -> None:
    enough = tmp_path / "enough"
    program = mixed.under(BULK, "10000", str(enough), name="between")
    assert program.stdout is not None
    assert program.stdout.readline() == "1\n"
    for target in ("second", "first", "second"):
        assert programs.move(mixed.root, "between", target, tmp_path / "store")
        assert program.stdout.readline().strip().isdecimal()
    enough.touch()
    out, err = program.communicate(timeout=TIMEOUT_S)
    assert program.returncode == 0, err
    *_, turns, found = out.split()
    assert found == lines_of(start((BULK, turns), {}))[-1]


def test_no_checkpoint_holds_half_a_write(machine: Machine, tmp_path: Path) -> None:
    program = Program(machine, "storm")
    program.does("make", "a", CHUNK)
    program.does("read", "a")
    program.begin("storm", "a", 4000)
    store = Store(tmp_path)
    for _ in range(20):
        record = Control(machine.root, "first").snapshot("storm", tmp_path)
        found = checkpoint.read(record, store)
        (buffer,) = found.pieces
        pieces = [np.frombuffer(piece, np.uint32) for piece in found.contents(buffer)]
        assert len({number for piece in pieces for number in np.unique(piece)}) == 1
    assert program.does("read", "a") == "done"  # of the storm
    assert program.line() == "3999"
    program.ends()


def test_a_storm_of_writes_is_moved(machine: Machine, tmp_path: Path) -> None:
    program = Program(machine, "blown")
    program.does("make", "a", LARGE)
    program.begin("storm", "a", 300)
    for turn in range(4):
        assert programs.move(machine.root, "blown", machine.servers[1 - turn % 2], tmp_path)
    assert program.line() == "done"
    assert program.does("read", "a") == "299"
    program.ends()


def test_only_what_the_program_wrote_to_is_read_again(machine: Machine, tmp_path: Path) -> None:
    program = Program(machine, "counted")
    for name in ("a", "b", "c"):
        program.does("make", name, LARGE)
        program.does("write", name, 1)
    control = Control(machine.root, "first")
    assert control.store("snapshot", "counted", tmp_path).read_bytes == 3 * 4 * LARGE
    assert control.store("snapshot", "counted", tmp_path).read_bytes == 0
    segment = header(machine, "counted")
    settles(machine, "counted")
    program.does("finish")
    head = segment[Line.HEAD]
    program.does("write", "b", 2)
    assert program.does("map", "c") == "heap"
    assert segment[Line.HEAD] == head
    assert control.store("snapshot", "counted", tmp_path).read_bytes == 4 * LARGE
    settles(machine, "counted")
    program.does("set", "c", 1)
    program.does("unmap", "c")
    found = control.store("snapshot", "counted", tmp_path)
    assert (found.read_bytes, found.changed_bytes) == (4 * LARGE, 256 << 10)
    program.ends()


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
    program = Program(machine, "killed")
    program.does("make", "a", LARGE)
    program.does("read", "a")
    program.begin("storm", "a", 100_000)
    segment = header(machine, "killed")
    time.sleep(0.2)
    while not segment[Line.COPYING]:
        pass
    program.process.send_signal(signal.SIGKILL)
    program.process.wait(TIMEOUT_S)
    segment[Line.COPYING] = 1  # it may have been lowered just in time
    begun = time.monotonic()
    Control(machine.root, "first").suspend("killed", tmp_path)
    assert time.monotonic() - begun < 4
    other = Program(machine, "another")
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
from proxy.server import Server

def step(name):
    if name == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

Server(Path(sys.argv[1]), "fragile", open_device("opencl:0"), store_step=step).run()
"""


@contextmanager
def fragile(root: Path, fatal: str) -> Iterator[None]:
    """A server that is killed at the durable step `fatal`."""
    process = subprocess.Popen([sys.executable, "-c", FRAGILE, str(root), fatal])
    try:
        give_up = time.monotonic() + TIMEOUT_S
        while "fragile" not in [paths.name for paths, _ in running_servers(root)]:
            assert process.poll() is None and time.monotonic() < give_up, "it did not start"
            time.sleep(0.02)
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
        give_up = time.monotonic() + TIMEOUT_S
        while not segment[Line.RECOVERABLE]:
            assert time.monotonic() < give_up
            time.sleep(0.01)
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
