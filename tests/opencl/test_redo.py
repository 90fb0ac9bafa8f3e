"""Programs whose server is killed, and another started, notice nothing: they print the same."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import opencl_sides
import pytest
from opencl_machine import PROGRAMS, TIMEOUT_S, Machine
from opencl_sides import HERE, Side, finish

from proxy.launcher import ServerProcess, spawn
from proxy.segment import Line, Segment

STEPS = HERE / "workers" / "steps.py"
TRAIN = HERE.parents[1] / "examples" / "train_tinygrad.py"
KILLS = 4  # no more: each redo builds all programs again, and nothing else would ever get done
Again = Callable[[float], ServerProcess]


@pytest.fixture
def root() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="haltere-t-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def again(root: Path, tmp_path: Path) -> Iterator[Again]:
    """Kills the server if there is one, and starts another, which stores checkpoints so often."""
    running: list[ServerProcess] = []

    def start(every_s: float) -> ServerProcess:
        while running:
            running.pop().kill()
        store = tmp_path / "store"
        running.append(spawn("opencl:0", root, tied=True, checkpoint_every_s=every_s, store=store))
        return running[0]

    yield start
    for server in running:
        server.stop()


def until_kept(server: ServerProcess, session: str) -> None:
    give_up = time.monotonic() + TIMEOUT_S
    home = server.paths.sessions / session
    while not (home.exists() and Segment.open(home)[Line.RECOVERABLE]):
        assert time.monotonic() < give_up
        time.sleep(0.01)


@pytest.mark.parametrize("every_s", [0.05, 1000.0])
def test_a_program_whose_server_is_killed_prints_the_same(
    root: Path, again: Again, every_s: float
) -> None:
    server = again(0.05)
    machine = Machine(root, (server.paths.name,))
    program = machine.under(str(STEPS), "600", name="steps")
    until_kept(server, "steps")
    assert program.stdout is not None
    for kill in range(4):
        for line in program.stdout:
            if int(line) >= 100 * (kill + 1):
                break
        again(every_s)
    out, err = program.communicate(timeout=TIMEOUT_S)
    assert program.returncode == 0, err
    data = np.random.default_rng(5).integers(0, 2**32, 50_000, dtype=np.uint32)
    for index in range(600):
        data = data * np.uint32(3) + np.uint32(index)
    assert out.splitlines()[-1] == hashlib.sha256(data.tobytes()).hexdigest()
    assert err.count("died; waiting for another") == err.count("goes on") == 4


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
    process = opencl_sides.proxied(machine, tmp_path, "job").start(command)
    kills = 0
    while process.poll() is None:
        if kills < KILLS and (server.paths.redo / "job").exists():
            server = again(0.02)
            kills += 1
        time.sleep(1.0)
    assert finish(process, 500.0).checked().lines == wanted.lines
    assert kills
