"""A rank that works all the time, the same as any other, until a file is there.

python pacing_worker.py GATE
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from repeated import Repeated

from hal.context import Device
from hal.registry import open_device, self_tests
from hal.types import Grid, ProgramImage

SOURCES = {
    "opencl-c": b"""
kernel void spin(global uint *a) {
    uint x = a[get_global_id(0)];
    for (uint i = 0; i < 100000; ++i) x = x * 1664525u + 1013904223u;
    a[get_global_id(0)] = x;
}
""",
    "numpy": b"""
def spin(grid, a: buffer):
    x = u32(a)
    for _ in range(1000):
        x[:] = x * np.uint32(1664525) + np.uint32(1013904223)
""",
}


def burst(device: Device) -> Callable[[], None]:
    """Some work, when it is called."""
    formats = [name for name in SOURCES if name in device.info.caps.formats]
    if not formats:  # an FPGA, and the same overlay for all
        (test, *_) = (test for test in self_tests("fpga-sim:0") if test.overlay)
        repeated = Repeated(device, test, 1)

        def repeat() -> None:
            repeated.repeat(200)  # longer than a stopped server runs at a time
            repeated.context.finish()

        return repeat
    context = device.open_context()
    program = context.load(ProgramImage(formats[0], SOURCES[formats[0]]))
    buffer = context.alloc(4 * 16)

    def spin() -> None:
        for _ in range(20):
            context.launch(program, "spin", [buffer.arg()], Grid((16,)))
        context.finish()

    return spin


def main() -> int:
    with open_device(os.environ["HALTERE_DEVICE"]) as device:
        work = burst(device)
        while not Path(sys.argv[1]).exists():
            work()
            time.sleep(0.02)
    return 0


if __name__ == "__main__":
    sys.exit(main())
