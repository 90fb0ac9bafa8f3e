"""Who is alive: servers by the lock they hold, workers by process id and start time.

A lock vanishes with its holder, whatever the manner of death, and works across PID namespaces. A
process id alone may have been given to someone else since, hence the start time with it.
"""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

from proxy.errors import LocalProtocolError

LOCK_PATIENCE_S = 0.5  # a peer that tests the lock holds it for microseconds
LOCK_RETRY_S = 0.01


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process that cannot be confused with a later one of the same number."""

    pid: int
    start_ticks: int

    @classmethod
    def own(cls) -> ProcessId:
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """Of a process that runs now; if it does not, the result is not alive."""
        return cls(pid, _start_ticks(pid) or 0)

    @property
    def started_ns(self) -> int:
        """When it began, by this system's monotonic clock."""
        since_boot_ns = self.start_ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        return since_boot_ns - time.clock_gettime_ns(time.CLOCK_BOOTTIME) + time.monotonic_ns()

    def is_alive(self) -> bool:
        return self.pid > 0 and _start_ticks(self.pid) == self.start_ticks


def _start_ticks(pid: int) -> int | None:
    """Start time of a running process, None for one that is dead (zombies too) or absent."""
    fields = _stat(pid)
    return None if fields is None else int(fields[19])


def parent_of(pid: int) -> int | None:
    """Of a running process, else None."""
    fields = _stat(pid)
    return None if fields is None else int(fields[1])


def _stat(pid: int) -> list[bytes] | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()  # the name before may hold anything
    return None if fields[0] in (b"Z", b"X") else fields


class LifeLock:
    """Held by a server from start to death."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_up = time.monotonic() + LOCK_PATIENCE_S
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > give_up:
                    os.close(self._fd)
                    raise LocalProtocolError(
                        f"{path} is held: another serves, or keeps, this device; stop it first"
                    ) from None
                time.sleep(LOCK_RETRY_S)

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def holder_lives(path: Path) -> bool:
    """True if someone holds the lock at `path`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
