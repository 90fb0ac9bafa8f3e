"""A program that does what a test tells it, and what it shares with its server."""

from __future__ import annotations

import subprocess
import time

from opencl_machine import PROGRAMS, TIMEOUT_S, Machine

from proxy.segment import Line, Segment

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
