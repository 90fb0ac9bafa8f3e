"""A kernel prints "TAG STEP PART", the program prints "TAG STEP" behind it: TAG, STEPS."""

from __future__ import annotations

import sys
import time

import numpy as np
import pyopencl as cl

tag, steps = np.int32(sys.argv[1]), int(sys.argv[2])
context = cl.Context(cl.get_platforms()[0].get_devices()[:1])
queue = cl.CommandQueue(context)
source = r"""
kernel void say(global int* seen, int tag, int step) {
    for (int part = 0; part < 4; ++part) printf("%d %d %d\n", tag, step, part);
    seen[0] += step;
}
"""
say = cl.Kernel(cl.Program(context, source).build(), "say")
seen = cl.Buffer(context, cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR, hostbuf=np.zeros(1))
for step in range(steps):
    say(queue, (1,), None, seen, tag, np.int32(step))
    if step % 3 == 2:
        queue.finish()
        print(f"{tag} {step}", flush=True)  # noqa: T201
        time.sleep(0.005)
queue.finish()
