"""A child must not use its parent's context, and can have its own; the parent's goes on."""

from __future__ import annotations

import os

import numpy as np
import pyopencl as cl

devices = cl.get_platforms()[0].get_devices()[:1]
context = cl.Context(devices)
queue = cl.CommandQueue(context)
data = np.arange(1000, dtype=np.uint32)
buffer = cl.Buffer(context, cl.mem_flags.READ_WRITE, data.nbytes)
copied = cl.enqueue_copy(queue, buffer, data)
held = cl.UserEvent(context)
waits = cl.enqueue_marker(queue, [held])  # the child must not wait for it
child = os.fork()
if child == 0:
    for use in (
        lambda: cl.enqueue_copy(queue, data, buffer),
        queue.finish,
        queue.flush,
        waits.wait,
        copied.wait,
        lambda: copied.command_execution_status,
        lambda: held.set_status(cl.command_execution_status.COMPLETE),
        lambda: cl.CommandQueue(context),
    ):
        try:
            use()
            print("used its parent's", flush=True)  # noqa: T201
        except cl.Error as error:
            print(cl.status_code.to_string(error.code), flush=True)  # noqa: T201
    own = cl.Context(devices)
    mine = cl.Buffer(own, cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR, hostbuf=data)
    cl.enqueue_copy(cl.CommandQueue(own), data, mine)
    print("own", data.sum(), flush=True)  # noqa: T201
    os._exit(0)
os.waitpid(child, 0)
held.set_status(cl.command_execution_status.COMPLETE)
data[:] = 0
cl.enqueue_copy(queue, data, buffer)
print("parent", data.sum())  # noqa: T201
