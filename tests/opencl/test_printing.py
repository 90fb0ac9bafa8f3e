"""What kernels print is printed by their program, once, whatever happens to its server."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opencl_machine import TIMEOUT_S, Machine, lines_of
from opencl_sides import HERE

from proxy import programs
from proxy.launcher import ServerProcess, spawn

PRINTS = str(HERE / "workers" / "prints.py")
TIMES = 3
Again = Callable[[], ServerProcess]


def lines(tag: int, steps: int) -> list[str]:
    """What it prints, in order."""
    found = []
    for step in range(steps):
        found += [f"{tag} {step} {part}" for part in range(4)]
        if step % 3 == 2:
            found.append(f"{tag} {step}")
    return found


def printed(program: subprocess.Popen[str], act: Callable[[int], object]) -> tuple[list[str], str]:
    """All that it prints, while something is done to it now and then."""
    assert program.stdout is not None
    assert program.stderr is not None
    found = []
    for line in program.stdout:
        found.append(line.rstrip())
        time, rest = divmod(len(found), 250)
        if rest == 0 and time <= TIMES:
            act(time - 1)
    err = program.stderr.read()
    assert program.wait(TIMEOUT_S) == 0, err
    return found, err


@pytest.fixture
def again(tmp_path: Path) -> Iterator[Again]:
    """Kills the server if there is one, and starts another."""
    root = Path(tempfile.mkdtemp(prefix="haltere-t-", dir="/dev/shm"))
    running: list[ServerProcess] = []

    def start() -> ServerProcess:
        while running:
            running.pop().kill()
        store = tmp_path / "store"
        running.append(spawn("opencl:0", root, tied=True, checkpoint_every_s=0.1, store=store))
        return running[0]

    yield start
    for server in running:
        server.stop()
    shutil.rmtree(root, ignore_errors=True)


def test_programs_that_print_at_once_print_their_own(machine: Machine) -> None:
    alone = Machine(machine.root, machine.servers[:1])
    running = [alone.under(PRINTS, str(tag), "60") for tag in range(3)]
    assert [lines_of(each) for each in running] == [lines(tag, 60) for tag in range(3)]


def test_what_was_printed_comes_along_when_a_program_is_moved(
    machine: Machine, tmp_path: Path
) -> None:
    steps, store = 300, tmp_path / "store"
    program = machine.under(PRINTS, "7", str(steps), name="prints", devices=1)
    found, err = printed(
        program,
        lambda time: programs.move(machine.root, "prints", machine.servers[1 - time % 2], store),
    )
    assert found == lines(7, steps), err


def test_a_kernel_that_is_done_again_prints_once(again: Again) -> None:
    server = again()
    steps = 300
    program = Machine(server.paths.root, (server.paths.name,)).under(PRINTS, "5", str(steps))
    found, err = printed(program, lambda time: again())
    assert found == lines(5, steps), err
    assert err.count("goes on") == TIMES
