"""Adds what a header of a folder says, again for each line that it is given: FOLDER."""

from __future__ import annotations

import sys

import numpy as np
import pyopencl as cl

context = cl.Context(cl.get_platforms()[0].get_devices()[:1])
queue = cl.CommandQueue(context)
source = """#include "add.h"
kernel void add(global int* a) { a[get_global_id(0)] += ADD; }
"""
add = cl.Kernel(cl.Program(context, source).build(f"-I {sys.argv[1]}"), "add")
seen = np.zeros(5000, np.int32)
buffer = cl.Buffer(context, cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR, hostbuf=seen)
for _ in range(4):
    add(queue, seen.shape, None, buffer)
    cl.enqueue_copy(queue, seen, buffer)
    print(seen[4999], flush=True)  # noqa: T201
    sys.stdin.readline()
