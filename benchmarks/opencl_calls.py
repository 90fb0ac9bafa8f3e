"""What `opencl_ratio.py` measures, as a program that knows nothing of haltere.

Reads one name of MEASURES a line from stdin and answers with one JSON line: seconds by repetition.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import pyopencl as cl

BURST = 400
SOURCE = "__kernel void tiny(__global uchar *a) { a[0] += 1; }"


def main() -> None:
    device = cl.get_platforms()[0].get_devices()[0]
    context = cl.Context([device])
    queue = cl.CommandQueue(context)
    tiny = cl.Kernel(cl.Program(context, SOURCE).build(), "tiny")
    small = cl.Buffer(context, cl.mem_flags.READ_WRITE, 64)
    large = cl.Buffer(context, cl.mem_flags.READ_WRITE, 64 << 20)
    tiny.set_arg(0, small)
    host = np.arange(64 << 20, dtype=np.uint8)

    def launch() -> None:
        cl.enqueue_nd_range_kernel(queue, tiny, (1,), None)

    def enqueue() -> float:
        began = time.perf_counter()
        for _ in range(BURST):
            launch()
        seconds = time.perf_counter() - began
        queue.finish()
        return seconds / BURST

    def burst() -> float:
        began = time.perf_counter()
        for _ in range(BURST):
            launch()
        queue.finish()
        return (time.perf_counter() - began) / BURST

    def trip() -> float:
        began = time.perf_counter()
        for _ in range(50):
            launch()
            queue.finish()
        return (time.perf_counter() - began) / 50

    def transfer(nbytes: int, write: bool) -> Callable[[], float]:
        part = host[:nbytes]
        times = max(1, min(50, (16 << 20) // nbytes))

        def run() -> float:
            began = time.perf_counter()
            for _ in range(times):
                cl.enqueue_copy(queue, *((large, part) if write else (part, large)))
            return (time.perf_counter() - began) / times

        return run

    measures: dict[str, Callable[[], float]] = {
        "enqueue of a tiny kernel": enqueue,
        "tiny kernels in a burst": burst,
        "launch and finish": trip,
    }
    for name, nbytes in (("1 KiB", 1 << 10), ("1 MiB", 1 << 20), ("64 MiB", 64 << 20)):
        measures[f"write {name}"] = transfer(nbytes, True)
        measures[f"read {name}"] = transfer(nbytes, False)
    for run in measures.values():
        run()
    print(json.dumps(list(measures)), flush=True)
    for line in sys.stdin:
        run = measures[line.strip()]
        print(json.dumps(statistics.median(run() for _ in range(3))), flush=True)


if __name__ == "__main__":
    main()
