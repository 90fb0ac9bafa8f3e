# ruff: noqa: T201
"""A command that fails at the device, and what waits for it: in flight with it, and later."""

from __future__ import annotations

import pyopencl as cl

SOURCE = "kernel void k(global int *a, local int *l) { l[0] = 1; a[0] = l[0]; }"


def code_of(use) -> str:  # type: ignore[no-untyped-def]
    try:
        use()
    except cl.Error as error:
        return str(cl.status_code.to_string(error.code))
    return "SUCCESS"


context = cl.Context(cl.get_platforms()[0].get_devices()[:1])
queue = cl.CommandQueue(
    context, properties=cl.command_queue_properties.OUT_OF_ORDER_EXEC_MODE_ENABLE
)
kernel = cl.Program(context, SOURCE).build().k
buffer = cl.Buffer(context, cl.mem_flags.READ_WRITE, 64)


def launch(local_bytes: int, *waits: cl.Event) -> cl.Event:
    kernel.set_args(buffer, cl.LocalMemory(local_bytes))
    return cl.enqueue_nd_range_kernel(queue, kernel, (1,), (1,), wait_for=list(waits))


start = cl.UserEvent(context)
failing = launch(
    1 << 40, start
)  # no device has so much local memory: it is known to the server only
second = launch(64, failing)
third = launch(64, second)
free = launch(64, start)
start.set_status(cl.command_execution_status.COMPLETE)
print(code_of(queue.finish))
for event in (failing, second, third, free):
    print(event.command_execution_status)
print(code_of(third.wait))
print(code_of(lambda: launch(64, failing)))
print(code_of(lambda: launch(64, free)))
print(code_of(queue.finish))
