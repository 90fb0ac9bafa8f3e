"""Random graphs of commands: chains on each buffer, wait lists across queues, user events that are
set in any order. What comes out is determined by the waits alone."""

from __future__ import annotations

import random

import numpy as np
import pyopencl as cl
from common import numbers, setup, show

mf = cl.mem_flags
context, _ = setup()
properties = cl.command_queue_properties
program = cl.Program(
    context,
    """
    __kernel void alter(__global uint* a, uint k) {
      int i = get_global_id(0);
      a[i] = a[i] * 5 + k;
    }
    __kernel void add(__global uint* a, __global const uint* b) {
      int i = get_global_id(0);
      a[i] = a[i] * 3 + b[i];
    }
    """,
).build()
LENGTH, BUFFERS = 500, 4


def graph(seed: int) -> None:
    chance = random.Random(seed)
    queues = [
        cl.CommandQueue(context, properties=mode)
        for mode in (0, 0, properties.OUT_OF_ORDER_EXEC_MODE_ENABLE)
    ]
    buffers = [
        cl.Buffer(context, mf.READ_WRITE | mf.COPY_HOST_PTR, hostbuf=numbers(LENGTH, seed + index))
        for index in range(BUFFERS)
    ]
    last: list[list[cl.Event]] = [[] for _ in buffers]  # everything that used a buffer
    gates: list[cl.UserEvent] = []
    reads: list[tuple[np.ndarray, cl.Event]] = []
    for step in range(60):
        queue = chance.choice(queues)
        target, other = chance.sample(range(BUFFERS), 2)
        waits = [*last[target], *last[other]]
        if chance.random() < 0.15:
            gates.append(cl.UserEvent(context))
            waits.append(gates[-1])
        kind = chance.randrange(5)
        uses = [target]
        if kind == 0:
            kernel = cl.Kernel(program, "alter")
            kernel.set_args(buffers[target], np.uint32(step))
            event = cl.enqueue_nd_range_kernel(queue, kernel, (LENGTH,), None, wait_for=waits)
        elif kind == 1:
            kernel = cl.Kernel(program, "add")
            kernel.set_args(buffers[target], buffers[other])
            event = cl.enqueue_nd_range_kernel(queue, kernel, (LENGTH,), None, wait_for=waits)
            uses = [target, other]
        elif kind == 2:
            event = cl.enqueue_copy(
                queue, buffers[target], buffers[other], byte_count=200, wait_for=waits
            )
            uses = [target, other]
        elif kind == 3:
            into = np.empty(LENGTH, np.uint32)
            event = cl.enqueue_copy(queue, into, buffers[target], is_blocking=False, wait_for=waits)
            reads.append((into, event))
        else:
            event = cl.enqueue_fill_buffer(
                queue, buffers[target], np.uint32(step), 4 * step, 64, wait_for=waits
            )
        for index in uses:
            last[index] = [event]
        if gates and chance.random() < 0.1:
            gates.pop(chance.randrange(len(gates))).set_status(0)
    chance.shuffle(gates)
    for gate in gates:
        gate.set_status(0)
    for queue in queues:
        queue.finish()
    for index, buffer in enumerate(buffers):
        into = np.empty(LENGTH, np.uint32)
        cl.enqueue_copy(queues[0], into, buffer)
        show(f"{seed} buffer {index}", into)
    for index, (into, event) in enumerate(reads):
        assert event.command_execution_status == 0
        show(f"{seed} read {index}", into)


for seed in range(6):
    graph(seed)
