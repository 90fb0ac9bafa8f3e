"""A job of two processes, one after the other, each with its device open for a while.

    python reopening_worker.py FOLDER hal | opencl

Each says what it computes: by hal, or as an OpenCL program that knows nothing of haltere. What the
first opens ends when FOLDER/first is there, what it opens anew when FOLDER/again is; then comes the
second process, until FOLDER/second is.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hal.registry import open_device
from hal.types import Grid, ProgramImage

SOURCES = {
    "numpy": b"def twice(grid, a: buffer):\n    u32(a)[:] *= 2\n",
    "opencl-c": b"kernel void twice(global uint *a) { a[get_global_id(0)] *= 2; }",
}


def until(path: Path) -> None:
    give_up = time.monotonic() + 60
    while not path.exists() and time.monotonic() < give_up:
        time.sleep(0.01)


def by_hal(meet: Callable[[], None]) -> int:
    with open_device(os.environ["HALTERE_DEVICE"]) as device, device.open_context() as context:
        (image,) = (
            ProgramImage(known, SOURCES[known])
            for known in SOURCES
            if known in device.info.caps.formats
        )
        buffer = context.alloc(16)
        context.write(buffer, (21).to_bytes(4, "little") * 4)
        context.launch(context.load(image), "twice", [buffer.arg()], Grid((4,)))
        context.finish()
        meet()
        return context.read(buffer)[0]


def by_opencl(meet: Callable[[], None]) -> int:
    import numpy as np
    import pyopencl as cl

    context = cl.Context([cl.get_platforms()[0].get_devices()[0]])
    queue, found = cl.CommandQueue(context), np.full(4, 21, "u4")
    buffer = cl.Buffer(context, cl.mem_flags.COPY_HOST_PTR, hostbuf=found)
    cl.Program(context, SOURCES["opencl-c"].decode()).build().twice(queue, (4,), None, buffer)
    queue.finish()
    meet()
    cl.enqueue_copy(queue, found, buffer).wait()
    return int(found[0])


def main() -> None:
    folder, how, names = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    for name in names or ("first", "again"):  # again: the device is opened anew

        def meet(name: str = name) -> None:
            (folder / f"{name}.at-work").touch()
            until(folder / name)

        found = by_opencl(meet) if how == "opencl" else by_hal(meet)
        gc.collect()  # the context ends
        sys.stdout.write(f"{name} {found}\n")
        sys.stdout.flush()
    if not names:
        subprocess.run([sys.executable, __file__, str(folder), how, "second"], check=True)


if __name__ == "__main__":
    main()
