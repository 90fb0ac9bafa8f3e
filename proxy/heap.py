"""The heap of a session: its buffers' memory, where device and program share the host's.

The worker makes it: a memory file of fixed size, sealed so that nobody can shrink it under a
server that uses it. It says in its session's header which of its descriptors that is; a server
opens it by /proc, checks it, and maps it. The engine then makes buffers over it, at the places that
the table at its beginning says (native/heap.hpp). So the worker copies into and out of buffers by
itself, and maps them in place, whenever nothing under way can touch them. A heap outlives servers:
who resumes a session whose worker lives finds its buffers there.

`Line.HEAP` says what the worker may do:

    0     its buffers are not in the heap and will never be again: all goes by records
    odd   they are, but it must not touch them: all goes by records
    even  it may, with `Line.COPYING` raised meanwhile

While a redo log is kept (`Line.RECOVERABLE`) the worker writes by records, for the log must hold
what is written, and tells what it has read by itself (`records.Saw`), which whoever redoes it
compares. To forbid, a server makes the word odd and waits until COPYING is 0, but not for ever: a
worker looks at the word again when it has copied, and does what was disturbed once more by records.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import stat
import time
from contextlib import suppress
from pathlib import Path

from proxy.doorbell import fence
from proxy.liveness import ProcessId
from proxy.segment import Line, Segment

_GET_SEALS, _SEAL_SHRINK = 1034, 2
MAX_BYTES = 256 << 30  # of address space: most of it is never touched
PATIENCE_S = 5.0  # with a worker that is copying


class Heap:
    """A mapped heap, and its server's half of who may touch it."""

    def __init__(self, memory: mmap.mmap, segment: Segment) -> None:
        self._memory = memory
        self._segment = segment
        self._forbidden_s = 0.0
        self.nbytes = len(memory)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(memory))

    @classmethod
    def of(cls, segment: Segment) -> Heap | None:
        """The one that the session's worker offers; None if there is none, or it cannot be had, or
        is not to be trusted."""
        size, fd = segment[Line.HEAP_BYTES], segment[Line.HEAP_FD]
        worker = _worker(segment)
        if not segment[Line.HEAP] or not 0 < fd <= 1 << 20 or not 0 < size <= MAX_BYTES:
            return None
        path = Path(f"/proc/{worker.pid}/fd/{fd - 1}")
        with suppress(OSError, ValueError):
            if not stat.S_ISREG(path.stat().st_mode) or not worker.is_alive():
                return None
            own = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                found = os.fstat(own)
                if (found.st_ino, found.st_size) != (segment[Line.HEAP_INODE], size):
                    return None
                # Only memory files have seals. One of huge pages may lack them when it is touched.
                if not fcntl.fcntl(own, _GET_SEALS) & _SEAL_SHRINK:
                    return None
                if os.fstatvfs(own).f_bsize != mmap.PAGESIZE:
                    return None
                return cls(mmap.mmap(own, size), segment)
            finally:
                os.close(own)
        return None

    def open(self, epoch: int) -> None:
        """The worker may touch it."""
        segment = self._segment
        if segment[Line.HEAP] % 2 and segment[Line.EPOCH] == epoch:
            segment[Line.HEAP] += 1

    def forbid(self, epoch: int) -> None:
        """It must not begin to touch it any more."""
        segment = self._segment
        word = segment[Line.HEAP]
        if word and word % 2 == 0 and segment[Line.EPOCH] == epoch:
            segment[Line.HEAP] = word + 1
            fence()
            self._forbidden_s = time.monotonic()

    @property
    def is_still(self) -> bool:
        """Of a forbidden one: its worker is not touching it, or is dead, or takes so long that it
        will have to do it again."""
        segment = self._segment
        if not segment[Line.COPYING] or time.monotonic() - self._forbidden_s > PATIENCE_S:
            return True
        return not _worker(segment).is_alive()

    def close(self) -> None:
        """Unmap. Nothing may use it any more."""
        self._memory.close()


def is_shareable() -> bool:
    """False where touching memory may fail for want of it, as it would not for a process's own."""
    with suppress(OSError):
        return Path("/proc/sys/vm/overcommit_memory").read_text().strip() != "2"
    return False


def _worker(segment: Segment) -> ProcessId:
    return ProcessId(segment[Line.CLIENT_PID], segment[Line.CLIENT_START])
