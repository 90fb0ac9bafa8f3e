"""A rank that works all the time, the same as any other, until a file is there.

python pacing_worker.py GATE
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from hal.registry import open_device
from hal.types import Grid, ProgramImage

SOURCE = b"""
kernel void spin(global uint *a) {
    uint x = a[get_global_id(0)];
    for (uint i = 0; i < 100000; ++i) x = x * 1664525u + 1013904223u;
    a[get_global_id(0)] = x;
}
"""


def main() -> int:
    with open_device(os.environ["HALTERE_DEVICE"]) as device, device.open_context() as context:
        program = context.load(ProgramImage("opencl-c", SOURCE))
        buffer = context.alloc(4 * 16)
        while not Path(sys.argv[1]).exists():
            for _ in range(20):
                context.launch(program, "spin", [buffer.arg()], Grid((16,)))
            context.finish()
            time.sleep(0.02)
    return 0


if __name__ == "__main__":
    sys.exit(main())
