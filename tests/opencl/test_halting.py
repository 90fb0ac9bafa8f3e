"""A program that knows nothing of it is halted, moved and resumed, and computes the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from opencl_machine import PROGRAMS, TIMEOUT_S, Machine, lines_of, start

from hal.errors import UsageError
from proxy import programs
from proxy.control import Control
from proxy.launcher import spawn
from proxy.limits import Limits

STEPS = str(PROGRAMS.with_name("workers") / "steps.py")
COUNT = "2000"  # steps: some seconds, longer than any of these moves
BULK = str(PROGRAMS.with_name("workers") / "bulk.py")
FORKS = str(PROGRAMS.with_name("workers") / "forks.py")
FAILING = str(PROGRAMS.with_name("workers") / "failing.py")
CLOCKS = str(PROGRAMS.with_name("workers") / "clocks.py")
BUFFERS = """
import pyopencl as cl
context = cl.Context(cl.get_platforms()[0].get_devices()[:1])
queue = cl.CommandQueue(context)
held = []
for nbytes in (700_000, 400_000, 400_000):
    try:
        held.append(cl.Buffer(context, cl.mem_flags.READ_WRITE, nbytes))
        print("made")
    except cl.MemoryError as error:
        assert error.code == cl.status_code.MEM_OBJECT_ALLOCATION_FAILURE
        print("refused")
        held.pop().release()
queue.finish()
"""
CONTEXTS = """
import pyopencl as cl
found = cl.get_platforms()[0].get_devices()
contexts = [cl.Context([device]) for device in found]
print(len(found), flush=True)
input()
"""


@pytest.fixture(scope="module")
def undisturbed() -> str:
    return lines_of(start((STEPS, COUNT), {}))[-1]


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def rest_of(process: subprocess.Popen[str]) -> list[str]:
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err
    return out.split()


def test_a_halted_program_goes_on_elsewhere(
    machine: Machine, undisturbed: str, tmp_path: Path
) -> None:
    program = machine.under(STEPS, COUNT, name="halted")
    assert read_line(program) == "10"
    notes = programs.halt(machine.root, "halted", tmp_path)
    assert [(note.session, note.server) for note in notes] == [("halted", "first")]
    assert [found.state for found in programs.sessions(machine.root, "halted")] == ["halted"]
    with pytest.raises(UsageError, match="halted already"):
        programs.halt(machine.root, "halted", tmp_path)
    assert programs.resume(machine.root, "halted", "second") == [("halted", "second")]
    assert programs.sessions(machine.root, "halted")[0].server == "second"
    assert rest_of(program)[-1] == undisturbed
    with pytest.raises(UsageError, match="no program 'halted'"):
        programs.resume(machine.root, "halted")


def test_a_halt_that_was_interrupted_before_its_note_is_resumed_all_the_same(
    machine: Machine, undisturbed: str, tmp_path: Path
) -> None:
    program = machine.under(STEPS, COUNT, name="unnoted")
    assert read_line(program) == "10"
    Control(machine.root, "first").suspend("unnoted", tmp_path / "store")
    assert [found.state for found in programs.sessions(machine.root, "unnoted")] == ["halted"]
    with pytest.raises(UsageError, match=r"its checkpoint is not in .*elsewhere"):
        programs.resume(machine.root, "unnoted", store=tmp_path / "elsewhere")
    resumed = programs.resume(machine.root, "unnoted", "second", tmp_path / "store")
    assert resumed == [("unnoted", "second")]
    assert rest_of(program)[-1] == undisturbed


def test_a_program_is_moved_to_and_fro_without_saying_where_it_is(
    machine: Machine, undisturbed: str, tmp_path: Path
) -> None:
    program = machine.under(STEPS, COUNT, name="moved")
    for line, target in (("10", "second"), ("20", "first"), ("30", "second")):
        while read_line(program) != line:
            pass
        ((session, _),) = programs.move(machine.root, "moved", target, tmp_path)
        assert session == "moved"
    assert programs.move(machine.root, "moved", "second", tmp_path) == []
    assert rest_of(program)[-1] == undisturbed


def test_large_transfers_images_and_held_commands_survive_moves(
    machine: Machine, tmp_path: Path
) -> None:
    enough = tmp_path / "enough"
    program = machine.under(BULK, "10000", str(enough), name="bulk")
    assert read_line(program) == "1"
    for target in ("second", "first", "second", "first"):
        ((session, _),) = programs.move(machine.root, "bulk", target, tmp_path / "store")
        assert session == "bulk"
        assert read_line(program).isdecimal()
    enough.touch()
    *_, turns, found = rest_of(program)
    assert found == lines_of(start((BULK, turns), {}))[-1]


def test_a_program_that_cannot_be_resumed_there_goes_on_where_it_was(
    machine: Machine, undisturbed: str, tmp_path: Path
) -> None:
    program = machine.under(STEPS, COUNT, name="kept")
    assert read_line(program) == "10"
    with pytest.raises(Exception, match="nowhere"):
        programs.move(machine.root, "kept", "nowhere", tmp_path)
    assert rest_of(program)[-1] == undisturbed


def test_all_contexts_of_a_program_move_together(machine: Machine, tmp_path: Path) -> None:
    program = start_with_input(machine, CONTEXTS, "pair", devices=3)
    assert read_line(program) == "3"
    where = [(found.session, found.server) for found in programs.sessions(machine.root, "pair")]
    assert where == [("pair", "first"), ("pair.2", "second"), ("pair.3", "first")]
    moved = programs.move(machine.root, "pair", "second", tmp_path)
    assert [session for session, _ in moved] == ["pair", "pair.3"]
    assert {found.server for found in programs.sessions(machine.root, "pair")} == {"second"}
    assert program.communicate("\n", timeout=TIMEOUT_S) == ("", "")
    assert programs.sessions(machine.root, "pair") == []


def start_with_input(
    machine: Machine, source: str, name: str, devices: int
) -> subprocess.Popen[str]:
    return machine.under("-c", source, name=name, devices=devices, stdin=subprocess.PIPE)


def test_a_forked_child_has_no_part_in_its_parents_context(machine: Machine) -> None:
    lines = lines_of(machine.under(FORKS, name="forks"))
    assert lines == [*["DEVICE_NOT_AVAILABLE"] * 8, "own 499500", "parent 499500"]


def test_what_waits_for_a_command_that_failed_fails_and_nothing_else_does(machine: Machine) -> None:
    lines = lines_of(machine.under(FAILING, name="failing"))
    waits = "EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST"
    assert lines == [
        "INVALID_ARG_SIZE",
        *["-51", "-14", "-14", "0"],
        *[waits, waits, "SUCCESS", "SUCCESS"],
    ]


def test_a_buffer_beyond_what_the_session_may_have_is_refused_when_it_is_made(
    tmp_path: Path,
) -> None:
    limits = Limits(session_bytes=1 << 20)
    server = spawn("opencl:0", tmp_path, "small", tied=True, limits=limits)
    try:
        small = Machine(tmp_path, (server.paths.name,))
        assert lines_of(small.under("-c", BUFFERS)) == ["made", "refused", "made"]
    finally:
        server.stop()


def test_times_of_commands_go_with_a_session(machine: Machine, tmp_path: Path) -> None:
    program = machine.under(CLOCKS, name="clocks", stdin=subprocess.PIPE)
    assert read_line(program) == "first halt"
    programs.halt(machine.root, "clocks", tmp_path)
    programs.resume(machine.root, "clocks", "second")
    assert program.stdin is not None
    program.stdin.write("\n")
    program.stdin.flush()
    assert read_line(program) == "second halt"
    programs.halt(machine.root, "clocks", tmp_path)
    programs.resume(machine.root, "clocks", "first")
    assert program.communicate("\n", timeout=TIMEOUT_S) == ("all known\n", "")


def test_two_processes_of_one_name_have_sessions_of_their_own(machine: Machine) -> None:
    twins = [start_with_input(machine, CONTEXTS, "twins", devices=1) for _ in range(2)]
    assert [read_line(twin) for twin in twins] == ["1", "1"]
    names = [found.session for found in programs.sessions(machine.root, "twins")]
    assert names == ["twins", "twins.2"]
    for twin in twins:
        assert twin.communicate("\n", timeout=TIMEOUT_S) == ("", "")
