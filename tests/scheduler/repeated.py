"""A known-answer program of a device, many times over; by itself the rank of a gang on FPGAs.

    python repeated.py TIMES GATE

Each rank has an overlay of its own. Once the file GATE exists it says whether its results are
right.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path

from hal.context import Buffer, Device
from hal.registry import open_device, self_tests
from hal.types import Arg, ScalarArg, SelfTest

GATE_S = 60.0


class Repeated:
    """A known-answer program of a device, enqueued many times over in one context."""

    def __init__(self, device: Device, test: SelfTest, times: int) -> None:
        assert test.overlay is not None
        device.configure(test.overlay)
        self.context, self.test = device.open_context(), test
        args: list[Arg] = []
        self.outs: list[Buffer] = []
        for kind, value in test.args:
            if isinstance(value, bytes) and kind == "scalar":
                args.append(ScalarArg(value))
                continue
            buffer = self.context.alloc(value if isinstance(value, int) else len(value))
            if isinstance(value, bytes):
                self.context.write(buffer, value)
            else:
                self.outs.append(buffer)
            args.append(buffer.arg())
        program = self.context.load(test.image)
        self._again = partial(self.context.launch, program, test.entry, args, test.grid)
        self.repeat(times)

    def repeat(self, times: int) -> None:
        for _ in range(times):
            self._again()
        self.context.signal()

    def is_right(self) -> bool:
        return tuple(self.context.read(out) for out in self.outs) == self.test.expected


def main() -> int:
    times, gate, rank = int(sys.argv[1]), Path(sys.argv[2]), int(os.environ["HALTERE_RANK"])
    tests = {test.overlay.digest: test for test in self_tests("fpga-sim:0") if test.overlay}
    test = list(tests.values())[rank % len(tests)]
    with open_device(os.environ["HALTERE_DEVICE"]) as device:
        repeated = Repeated(device, test, times)
        give_up = time.monotonic() + GATE_S
        while not gate.exists() and time.monotonic() < give_up:
            time.sleep(0.01)
        sys.stdout.write("right" if repeated.is_right() else "wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
