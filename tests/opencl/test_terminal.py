"""Ctrl-C at a terminal: who ends by it, who does not, and that nothing stays behind."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from opencl_machine import TIMEOUT_S

from proxy.info import running_servers

INTERRUPT = b"\x03"
USING = """
import signal, sys, time
import pyopencl as cl
context = cl.Context(cl.get_platforms()[0].get_devices()[:1])
queue = cl.CommandQueue(context)
buffer = cl.Buffer(context, cl.mem_flags.READ_WRITE, 1 << 20)
queue.finish()
{before}
print("up", flush=True)
time.sleep(60)
"""
CATCHING = """
def caught(*_):
    cl.enqueue_fill_buffer(queue, buffer, b"a", 0, 1 << 20)
    queue.finish()
    print("caught", flush=True)
    sys.exit(7)

signal.signal(signal.SIGINT, caught)
"""


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, root: Path, scratch: Path, *arguments: str) -> None:
        self._end, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LEADER, sys.executable, "-m", "service.cli", *arguments],
            env=os.environ | {"HALTERE_PROXY_ROOT": str(root), "TMPDIR": str(scratch)},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.said = b""

    def until(self, what: bytes) -> None:
        give_up = time.monotonic() + TIMEOUT_S
        while what not in self.said:
            assert time.monotonic() < give_up, self.said.decode()
            if select.select([self._end], [], [], 0.1)[0]:
                self.said += os.read(self._end, 4096)

    def type(self, keys: bytes) -> None:
        os.write(self._end, keys)

    def ended(self) -> int:
        return self._process.wait(TIMEOUT_S)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._end)


# makes its standard input the terminal that sends interrupts to it and to what it starts
_LEADER = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def processes_of(root: Path) -> list[int]:
    """That have the root in their command lines or environments."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            told = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(root) in told and int(path.name) != os.getpid():
            found.append(int(path.name))
    return found


def nothing_is_left(root: Path, scratch: Path) -> None:
    give_up = time.monotonic() + TIMEOUT_S
    while processes_of(root):
        assert time.monotonic() < give_up, processes_of(root)
        time.sleep(0.05)
    assert running_servers(root) == []
    homes = [*(root / "servers").iterdir(), root]
    folders = ("sessions", "incoming", "redo", "control", "parked", "halted")
    left = [path for home in homes for name in folders for path in (home / name).glob("*")]
    assert left == []
    assert not [path for path in scratch.iterdir() if path.name.startswith("haltere-")]


@pytest.mark.parametrize("restarts", ["0", "1"])
@pytest.mark.parametrize(
    ("before", "status", "says"),
    [("", -signal.SIGINT, b"KeyboardInterrupt"), (CATCHING, 7, b"caught")],
)
def test_an_interrupt_is_the_program_s_and_its_servers_end_with_it(
    tmp_path: Path, restarts: str, before: str, status: int, says: bytes
) -> None:
    """The server is not interrupted: it serves what the program does about it."""
    root, scratch = tmp_path / "root", tmp_path / "tmp"
    scratch.mkdir()
    code = USING.replace("{before}", before)
    command = (
        "run",
        "--device",
        "opencl:0",
        "--restarts",
        restarts,
        "--",
        sys.executable,
        "-c",
        code,
    )
    terminal = Terminal(root, scratch, *command)
    try:
        terminal.until(b"up")
        terminal.type(INTERRUPT)
        terminal.until(says)
        assert terminal.ended() == status
        assert terminal.said.count(b"Traceback") == (status < 0)
        nothing_is_left(root, scratch)
    finally:
        terminal.close()


@pytest.mark.parametrize("restarts", ["0", "1"])
def test_an_interrupt_ends_a_server_at_a_terminal_in_good_order(
    tmp_path: Path, restarts: str
) -> None:
    root, scratch = tmp_path / "root", tmp_path / "tmp"
    scratch.mkdir()
    terminal = Terminal(root, scratch, "proxy", "opencl:0", "--restarts", restarts)
    try:
        give_up = time.monotonic() + TIMEOUT_S
        while not running_servers(root):
            assert time.monotonic() < give_up
            time.sleep(0.05)
        again = Terminal(root, scratch, "proxy", "opencl:0")
        again.until(b"served already")
        assert again.ended() == 1
        (info,) = [info for _, info in running_servers(root)]
        assert re.search(rb"opencl:0 is served already by pid %d" % info.pid, again.said)
        assert b"Traceback" not in again.said
        again.close()
        terminal.type(INTERRUPT)
        assert terminal.ended() == 0
        assert b"Traceback" not in terminal.said
        nothing_is_left(root, scratch)
    finally:
        terminal.close()
