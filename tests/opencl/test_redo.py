"""Programs whose server is killed, and another started, notice nothing: they print the same."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import opencl_sides
import pytest
from opencl_machine import PROGRAMS, TIMEOUT_S, Machine, lines_of
from opencl_sides import HERE, Side, finish

from proxy.info import read_info
from proxy.launcher import ServerProcess, spawn
from proxy.liveness import holder_lives
from proxy.segment import Line, Segment

STEPS = HERE / "workers" / "steps.py"
TRAIN = HERE.parents[1] / "examples" / "train_tinygrad.py"
PAUSE_S = 0.3  # that it runs between two kills
KILLS = 4  # no more: each redo builds all programs again, and nothing else would ever get done
Again = Callable[..., ServerProcess]


@pytest.fixture
def root() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="haltere-t-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def again(root: Path, tmp_path: Path) -> Iterator[Again]:
    """Kills the server if there is one, and starts another, which stores checkpoints so often.
    `buffers`: where programs' are, see proxy.heap."""
    running: list[ServerProcess] = []

    def start(every_s: float, buffers: str = "shared") -> ServerProcess:
        while running:
            running.pop().kill()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HALTERE_BUFFERS", buffers)
            running.append(
                spawn(
                    "opencl:0", root, tied=True, checkpoint_every_s=every_s,
                    store=tmp_path / "store",
                )
            )  # fmt: skip
        return running[0]

    yield start
    for server in running:
        server.stop()


def until(happened: Callable[[], bool]) -> None:
    give_up = time.monotonic() + TIMEOUT_S
    while not happened():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def until_kept(server: ServerProcess, session: str) -> None:
    home = server.paths.sessions / session
    until(lambda: home.exists() and bool(Segment.open(home)[Line.RECOVERABLE]))


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    yield
    with suppress(ProcessLookupError):  # it had ended before
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("every_s", "buffers"), [(0.05, "shared"), (1000.0, "shared"), (1000.0, "staged")]
)
def test_a_program_whose_server_is_killed_prints_the_same(
    root: Path, again: Again, every_s: float, buffers: str
) -> None:
    server = again(every_s, buffers)
    machine = Machine(root, (server.paths.name,))
    program = machine.under(str(STEPS), "600", name="steps")
    until_kept(server, "steps")
    segment = Segment.open(server.paths.sessions / "steps")
    assert segment[Line.HEAP] if buffers == "shared" else not segment[Line.HEAP]
    assert program.stdout is not None
    for kill in range(4):
        for line in program.stdout:
            if int(line) >= 100 * (kill + 1):
                break
        again(every_s, buffers)
    out, err = program.communicate(timeout=TIMEOUT_S)
    assert program.returncode == 0, err
    data = np.random.default_rng(5).integers(0, 2**32, 50_000, dtype=np.uint32)
    for index in range(600):
        data = data * np.uint32(3) + np.uint32(index)
    assert out.splitlines()[-1] == hashlib.sha256(data.tobytes()).hexdigest()
    assert err.count("died; waiting for another") == err.count("goes on") == 4


def test_a_program_is_told_when_what_it_read_itself_is_not_computed_again(
    root: Path, again: Again, tmp_path: Path
) -> None:
    header = tmp_path / "add.h"
    header.write_text("#define ADD 1\n")
    server = again(1000.0)
    machine = Machine(root, (server.paths.name,))
    program = machine.under(str(HERE / "workers" / "adds.py"), str(tmp_path), name="adds", stdin=-1)
    assert program.stdin is not None
    assert program.stdout is not None
    for value in ("1", "2"):
        assert program.stdout.readline() == f"{value}\n"
        program.stdin.write("\n")
        program.stdin.flush()
    assert program.stdout.readline() == "3\n"
    segment = Segment.open(server.paths.sessions / "adds")
    assert segment[Line.HEAP]
    assert segment[Line.HEAP] % 2 == 0
    header.write_text("#define ADD 2\n")
    again(1000.0)
    _, err = program.communicate("\n", TIMEOUT_S)
    assert program.returncode != 0
    assert "the program had read other bytes" in err


def test_a_program_that_begins_while_no_server_lives_waits_for_the_next(root: Path) -> None:
    keeper = spawn("opencl:0", root, tied=True, restarts=1)
    try:
        info = read_info(keeper.paths.info)
        assert info is not None
        with stopped(keeper.pid):
            os.kill(info.pid, signal.SIGKILL)
            until(lambda: not holder_lives(keeper.paths.lock))
            program = Machine(root, (keeper.paths.name,)).under(str(STEPS), "10")
            assert program.stderr is not None
            assert "died; waiting for another" in program.stderr.readline()
        assert len(lines_of(program)) == 2
    finally:
        keeper.stop()


def test_a_program_that_nobody_will_serve_is_told_so(root: Path) -> None:
    server = spawn("opencl:0", root, tied=True)
    server.kill()
    program = Machine(root, (server.paths.name,)).under(str(STEPS), "10")
    _, err = program.communicate(timeout=TIMEOUT_S)
    assert program.returncode != 0
    assert f"no server of {server.paths.name} runs under {root}" in err


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("case", ["images", "tinygrad"])
def test_what_programs_have_beyond_buffers_is_redone(
    root: Path, again: Again, native: Side, tmp_path: Path, case: str
) -> None:
    command = {
        "images": [sys.executable, str(PROGRAMS / "images.py")],
        "tinygrad": [sys.executable, str(TRAIN), "--steps", "60"],
    }[case]
    wanted = native.run(command, 500.0).checked()
    server = again(0.02)
    machine = Machine(root, (server.paths.name,))
    with stopped(server.pid):
        process = opencl_sides.proxied(machine, tmp_path, "job").start(command)
        until(lambda: any(server.paths.incoming.glob("job~*")))
        os.kill(process.pid, signal.SIGSTOP)
    until((server.paths.redo / "job").exists)
    kills = 0
    while kills < KILLS and process.poll() is None:
        with stopped(process.pid):  # it cannot end while its server is replaced
            if process.poll() is None and (server.paths.redo / "job").exists():
                server = again(0.02)
                kills += 1
        time.sleep(PAUSE_S)
    assert finish(process, 500.0).checked().lines == wanted.lines
    assert kills
