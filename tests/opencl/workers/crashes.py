"""Its kernel brings its driver's process down, once it is told to."""

import sys

import numpy as np
import pyopencl as cl

context = cl.Context(cl.get_platforms()[0].get_devices()[:1])
queue = cl.CommandQueue(context)
crash = cl.Kernel(
    cl.Program(context, "kernel void k(global int* a) { a[1L << 40] = 1; }").build(), "k"
)
buffer = cl.Buffer(context, cl.mem_flags.COPY_HOST_PTR, hostbuf=np.zeros(16))
sys.stdout.write("ready\n")
sys.stdout.flush()
sys.stdin.readline()
crash(queue, (1,), None, buffer)
queue.finish()
