"""Where device and program share memory, a program's buffers are its own, and all else holds."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from opencl_machine import TIMEOUT_S, Machine, lines_of, start
from shared_programs import BULK, CHUNK, LARGE, Program, header, settles

from proxy import checkpoint, programs
from proxy.control import Control
from proxy.launcher import spawn
from proxy.limits import Limits
from proxy.segment import Line
from proxy.store import Store


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
