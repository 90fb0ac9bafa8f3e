"""As many steps as it is told, each on the one before; prints every tenth, then a hash."""

from __future__ import annotations

import hashlib
import sys
import time

import numpy as np
import pyopencl as cl

mf = cl.mem_flags
context = cl.Context(cl.get_platforms()[0].get_devices()[:1])
queue = cl.CommandQueue(context)
program = cl.Program(
    context,
    "__kernel void turn(__global uint* a, uint k)"
    " { int i = get_global_id(0); a[i] = a[i] * 3 + k; }",
).build()
data = np.random.default_rng(5).integers(0, 2**32, 50_000, dtype=np.uint32)
buffer = cl.Buffer(context, mf.READ_WRITE | mf.COPY_HOST_PTR, hostbuf=data)
kernel = program.turn
for index in range(int(sys.argv[1])):
    kernel.set_args(buffer, np.uint32(index))
    cl.enqueue_nd_range_kernel(queue, kernel, data.shape, None)
    if index % 10 == 9:
        cl.enqueue_copy(queue, data, buffer)
        print(index + 1, flush=True)  # noqa: T201
        time.sleep(0.01)
cl.enqueue_copy(queue, data, buffer)
print(hashlib.sha256(data.tobytes()).hexdigest(), flush=True)  # noqa: T201
