"""Bounded waits for an OpenCL event, which OpenCL itself does not have.

A short burst of polls that yield the processor serves small kernels at native speed. After that,
sleeps in proportion to the time already waited: the delay stays a few per cent of the kernel's own
time, and a long kernel costs next to no polling. (A spin would take a core from PoCL, whose kernels
run on this processor; a thread blocked in clWaitForEvents could not be called back.)
"""

from __future__ import annotations

import os
import time

import pyopencl as cl

BURST_S = 100e-6
SLEEP_FRACTION = 1 / 16
MAX_SLEEP_S = 1e-3

_COMPLETE = int(cl.command_execution_status.COMPLETE)


def wait_for(event: cl.Event, timeout_s: float) -> int | None:
    """0 once the command is complete, its negative code if it failed, None when time is over."""
    start = time.monotonic()
    while True:
        status = int(event.command_execution_status)
        if status <= _COMPLETE:
            return status
        waited = time.monotonic() - start
        if waited >= timeout_s:
            return None
        if waited < BURST_S:
            os.sched_yield()
        else:
            time.sleep(min(waited * SLEEP_FRACTION, MAX_SLEEP_S, timeout_s - waited))
