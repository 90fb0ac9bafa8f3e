"""`haltere run`: what it sets up, and how it ends."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from opencl_machine import TIMEOUT_S, Machine

from hal import list_devices
from proxy import programs
from proxy.info import running_servers
from proxy.run import Program, session_name

PROGRAM = (
    "import pyopencl as cl; found = cl.get_platforms()[0]; "
    "print(len(found.get_devices()), found.name)"
)


def haltere(root: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "service.cli", *arguments],
        env=os.environ | {"HALTERE_PROXY_ROOT": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, out.strip(), err.strip()


def test_it_uses_the_servers_that_run(machine: Machine) -> None:
    command = ("run", "--", sys.executable, "-c", PROGRAM)
    assert ended(haltere(machine.root, *command)) == (0, "2 haltere", "")
    assert ended(haltere(machine.root, "run", "--devices", "5", *command[1:]))[1] == "5 haltere"
    assert ended(haltere(machine.root, "run", "--device", "second", *command[1:]))[1] == "1 haltere"


def test_servers_that_it_starts_end_with_it(tmp_path: Path) -> None:
    status, out, err = ended(haltere(tmp_path, "run", "--", sys.executable, "-c", PROGRAM))
    count = sum(info.uri.startswith("opencl:") for info in list_devices())
    assert (status, out) == (0, f"{count} haltere")
    assert "starting a server of opencl:0" in err
    assert running_servers(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("--", "sh", "-c", "exit 7"), 7, ""),
        (("--", "sh", "-c", "kill -TERM $$"), -signal.SIGTERM, ""),
        (("--", "sh", "-c", "kill -KILL $$"), -signal.SIGKILL, ""),
        (("--", "no-such-program"), 1, "no-such-program: no such program"),
        (("--device", "cpu:9", "--", "true"), 1, "cpu:9"),
        (("--name", "a/b", "--", "true"), 1, "a/b"),
        (("--devices", "0", "--", "true"), 1, "at least one"),
    ],
)
def test_it_ends_as_the_program_ends(
    machine: Machine, arguments: tuple[str, ...], status: int, told: str
) -> None:
    found, out, err = ended(haltere(machine.root, "run", *arguments))
    assert (found, told in out + err) == (status, True), out + err
    assert "Traceback" not in err


def test_signals_reach_the_program(machine: Machine) -> None:
    source = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "print('up', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = haltere(machine.root, "run", "--", sys.executable, "-c", source)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.terminate()
    assert ended(process)[0] == 5


def test_sessions_of_a_program_that_crashed_are_dropped_and_no_others(machine: Machine) -> None:
    living = (
        "import pyopencl as cl\n"
        "c = cl.Context(cl.get_platforms()[0].get_devices()[:1])\n"
        "print('up', flush=True)\n"
        "input()\n"
    )
    other = machine.under("-c", living, name="crashed", stdin=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == "up\n"
    source = (
        "import os, pyopencl as cl\n"
        "c = cl.Context(cl.get_platforms()[0].get_devices()[:1])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    process = haltere(machine.root, "run", "--name", "crashed", "--", sys.executable, "-c", source)
    assert ended(process)[0] == -signal.SIGKILL
    left = [(found.session, found.pid) for found in programs.sessions(machine.root, "crashed")]
    assert left == [("crashed", other.pid)]
    assert other.communicate("\n", timeout=TIMEOUT_S) == ("", "")


def test_jobs_lists_programs_without_a_service(machine: Machine) -> None:
    status, out, _ = ended(haltere(machine.root, "jobs"))
    assert status == 0
    assert "program" in out and "device" in out


def test_a_program_has_a_name_to_read() -> None:
    assert session_name(Program(("python", "-u", "a/train me.py"))) == f"train-me-{os.getpid()}"
    assert session_name(Program(("./bench",), "mine")) == "mine"


def kill_server(root: Path) -> None:
    """As a crash would."""
    (info,) = [info for _, info in running_servers(root)]
    os.kill(info.pid, signal.SIGKILL)


STEPS = str(Path(__file__).parent / "workers" / "steps.py")


def test_a_program_whose_server_is_killed_sees_a_stall(tmp_path: Path) -> None:
    command = ("run", "--device", "opencl:0", "--restarts", "2", "--", sys.executable, STEPS, "300")
    process = haltere(tmp_path, *command)
    assert process.stdout is not None
    for until in ("100", "200"):
        for line in process.stdout:
            if line.strip() == until:
                break
        kill_server(tmp_path)
    status, out, err = ended(process)
    assert status == 0, err
    data = np.random.default_rng(5).integers(0, 2**32, 50_000, dtype=np.uint32)
    for index in range(300):
        data = data * np.uint32(3) + np.uint32(index)
    assert out.splitlines()[-1] == hashlib.sha256(data.tobytes()).hexdigest()
    assert err.count("died; waiting for another") == err.count("goes on") == 2
    assert running_servers(tmp_path) == []


def test_without_restarts_a_killed_server_is_an_error_soon(tmp_path: Path) -> None:
    command = (
        "run",
        "--device",
        "opencl:0",
        "--restarts",
        "0",
        "--",
        sys.executable,
        STEPS,
        "9999",
    )
    process = haltere(tmp_path, *command)
    assert process.stdout is not None
    assert process.stdout.readline() == "10\n"
    kill_server(tmp_path)
    status, _, err = ended(process)
    assert status != 0
    assert "the server of opencl:0 died; what it held is lost" in err
