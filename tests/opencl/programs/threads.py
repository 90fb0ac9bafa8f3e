"""Many threads on one context and on contexts of their own; a waiting one holds up nobody."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyopencl as cl
from common import numbers, setup, show

mf = cl.mem_flags
context, queue = setup()
SOURCE = """
__kernel void turn(__global uint* a, uint k) {
  int i = get_global_id(0);
  a[i] = a[i] * k + 1;
}
"""
program = cl.Program(context, SOURCE).build()


def work(seed: int, context: cl.Context, program: cl.Program) -> np.ndarray:
    own = cl.CommandQueue(context)
    data = numbers(200_000, seed)
    buffer = cl.Buffer(context, mf.READ_WRITE | mf.COPY_HOST_PTR, hostbuf=data)
    kernel = cl.Kernel(program, "turn")
    result = np.empty_like(data)
    for turn in range(30):
        kernel.set_args(buffer, np.uint32(turn))
        cl.enqueue_nd_range_kernel(own, kernel, data.shape, None)
        if turn % 10 == seed % 10:
            cl.enqueue_copy(own, result, buffer)
            cl.enqueue_copy(own, buffer, result, is_blocking=False)
    cl.enqueue_copy(own, result, buffer)
    return result


def alone(seed: int) -> np.ndarray:
    context, _ = setup()
    return work(seed, context, cl.Program(context, SOURCE).build())


with ThreadPoolExecutor(8) as pool:
    results = list(pool.map(lambda seed: work(seed, context, program), range(8)))
    for seed, result in enumerate(results):
        show(f"thread {seed}", result)
    for seed, result in enumerate(pool.map(alone, range(3))):
        show(f"context {seed}", result)

gate = cl.UserEvent(context)
other = cl.CommandQueue(context)
buffer = cl.Buffer(context, mf.READ_WRITE | mf.COPY_HOST_PTR, hostbuf=numbers(1000))
program.turn(other, (1000,), None, buffer, np.uint32(3), wait_for=[gate])
waiter = threading.Thread(target=other.finish)
waiter.start()
show("meanwhile", work(9, context, program))
show("still waiting", waiter.is_alive())
gate.set_status(cl.command_execution_status.COMPLETE)
waiter.join(20)
show("let go", not waiter.is_alive())
