"""Sleeping and waking across processes: futexes on words in shared memory.

A sleeper reads the word, looks for work, announces that it sleeps, looks again, and waits only if
the word is still what it read. A ringer changes its data, changes the word, and wakes whoever
announced that it sleeps. All waits are bounded, so that a lost wake-up costs a tick, not a hang.
Knows nothing of rings or records. Needs Linux; many words at once need futex_waitv (5.16).
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import threading
import time
from collections.abc import Sequence

_SYS_FUTEX = {"x86_64": 202, "aarch64": 98}
_SYS_FUTEX_WAITV = 449  # the same number on every architecture
_WAIT, _WAKE = 0, 1
_WAITV_LIMIT = 128  # FUTEX_WAITV_MAX
_SIZE_U32 = 2  # FUTEX2_SIZE_U32, shared between processes
_CLOCK_MONOTONIC = 1
_EVERYONE = 2**31 - 1
_POLL_S = 0.0005  # how often to look where futex_waitv is missing or has too many words


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_int64), ("nanoseconds", ctypes.c_int64))

    @classmethod
    def of(cls, seconds: float) -> _Timespec:
        whole = int(seconds)
        return cls(whole, int((seconds - whole) * 1e9))


class _Waiter(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_uint64),
        ("address", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_number = ctypes.c_long(_SYS_FUTEX.get(os.uname().machine, 98))
_fence_lock = threading.Lock()


def fence() -> None:
    """Make this thread's stores visible before its later loads. A processor may let a load pass an
    earlier store to another address; taking a lock forbids it, and is the cheapest call that does.
    """
    with _fence_lock:
        pass


class Bell:
    """One 32-bit word in shared memory that can be rung and slept on."""

    def __init__(self, memory: mmap.mmap, offset: int) -> None:
        self._word = ctypes.c_uint32.from_buffer(memory, offset)
        self._address = ctypes.c_void_p(ctypes.addressof(self._word))

    @property
    def value(self) -> int:
        return self._word.value

    @property
    def address(self) -> int:
        return self._address.value or 0

    def bump(self) -> None:
        """Change the word, so that nobody falls asleep on the old one."""
        self._word.value = (self._word.value + 1) & 0xFFFFFFFF

    def ring(self) -> None:
        """Change the word and wake every sleeper."""
        self.bump()
        self.wake()

    def wake(self) -> None:
        """Wake every sleeper, after `bump`, a fence, and a look at who sleeps."""
        _syscall(_number, self._address, _WAKE, _EVERYONE, None, None, 0)

    def sleep(self, seen: int, timeout_s: float) -> None:
        """Until rung, or the word is not `seen`, or the time is over, or a signal arrives."""
        timeout = _Timespec.of(max(timeout_s, 0.0))
        _syscall(_number, self._address, _WAIT, ctypes.c_uint32(seen), ctypes.byref(timeout), 0, 0)


def sleep_on_any(bells: Sequence[Bell], seen: Sequence[int], timeout_s: float) -> None:
    """Until any bell is rung or differs from what was seen of it, or the time is over."""
    count = len(bells)
    if count <= _WAITV_LIMIT:
        waiters = (_Waiter * count)(
            *(
                _Waiter(value, bell.address, _SIZE_U32, 0)
                for bell, value in zip(bells, seen, strict=True)
            )
        )
        until = _Timespec.of(time.monotonic() + max(timeout_s, 0.0))
        failed = _syscall(
            ctypes.c_long(_SYS_FUTEX_WAITV),
            ctypes.byref(waiters),
            ctypes.c_uint(count),
            ctypes.c_uint(0),
            ctypes.byref(until),
            ctypes.c_int(_CLOCK_MONOTONIC),
        )
        if failed >= 0 or ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM):
            return
    give_up = time.monotonic() + timeout_s
    while time.monotonic() < give_up:
        if any(bell.value != value for bell, value in zip(bells, seen, strict=True)):
            return
        bells[0].sleep(seen[0], _POLL_S)
