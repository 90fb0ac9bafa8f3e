"""Events, wait lists, user events, callbacks, queues of both orders, profiling."""

from __future__ import annotations

import threading

import numpy as np
import pyopencl as cl
from common import code, numbers, setup, show

mf = cl.mem_flags
context, queue = setup()
properties = cl.command_queue_properties
other = cl.CommandQueue(context, properties=properties.OUT_OF_ORDER_EXEC_MODE_ENABLE)
status = cl.command_execution_status
program = cl.Program(
    context,
    "__kernel void advance(__global uint* a, uint k)"
    " { int i = get_global_id(0); a[i] = a[i] * 3 + k; }",
).build()
data = numbers(1024)
buffer = cl.Buffer(context, mf.READ_WRITE | mf.COPY_HOST_PTR, hostbuf=data)
result = np.empty_like(data)


def step(on: cl.CommandQueue, k: int, *waits: cl.Event) -> cl.Event:
    return program.advance(on, (1024,), None, buffer, np.uint32(k), wait_for=list(waits) or None)


first = step(queue, 1)
second = step(other, 2, first)
third = step(queue, 3, second)
cl.wait_for_events([first, second, third])
show("statuses", [event.command_execution_status for event in (first, second, third)])
cl.enqueue_copy(queue, result, buffer)
show("two queues", result)

gate = cl.UserEvent(context)
show("a user event", gate.command_execution_status == status.SUBMITTED)
held = step(queue, 4, gate)
behind = step(queue, 5)
elsewhere = step(other, 6, behind)
free = cl.enqueue_marker(other)
show("held", held.command_execution_status > status.COMPLETE)
late = np.empty_like(data)
read = cl.enqueue_copy(queue, late, buffer, is_blocking=False, wait_for=[elsewhere])
gate.set_status(status.COMPLETE)
read.wait()
show("let go", late)

gate = cl.UserEvent(context)
held = step(other, 7, gate)
opener = threading.Timer(0.05, lambda: gate.set_status(status.COMPLETE))
opener.start()
other.finish()
show("finish waits for who opens", held.command_execution_status)
opener.join()

gate = cl.UserEvent(context)
doomed = step(queue, 8, gate)
gate.set_status(-5)
code("what waits for a failure fails", doomed.wait)
show("its status is negative", doomed.command_execution_status < 0)
code("a status is set once", lambda: gate.set_status(status.COMPLETE))
cl.enqueue_copy(queue, result, buffer)
show("it was not done", result)

called: list[int] = []
rung = threading.Event()
gate = cl.UserEvent(context)
event = step(queue, 9, gate)
event.set_callback(status.COMPLETE, lambda found: (called.append(found), rung.set()))
show("no callback yet", called)
gate.set_status(status.COMPLETE)
show("callback came", rung.wait(10))
show("with status", called)
rung.clear()
step(queue, 10).set_callback(status.COMPLETE, lambda found: rung.set())
queue.finish()
show("callback of a launch", rung.wait(10))

barrier = cl.enqueue_barrier(other, wait_for=[step(queue, 11)])
after = step(other, 12)
after.wait()
show("barrier", barrier.command_execution_status)
marker = cl.enqueue_marker(queue)
marker.wait()
show("marker", marker.command_execution_status)
show("types", [event.command_type for event in (first, gate, marker, barrier)])

timed = cl.CommandQueue(context, properties=properties.PROFILING_ENABLE)
event = step(timed, 13)
copy = cl.enqueue_copy(timed, result, buffer)
event.wait()
times = [event.profile.queued, event.profile.submit, event.profile.start, event.profile.end]
show("times rise", times == sorted(times) and times[3] > times[2] > 0)
show("a copy takes time", copy.profile.end > copy.profile.start)
code("no times without profiling", lambda: first.profile.end)

foreign = cl.Context(context.devices)
code("an event of another context", lambda: step(cl.CommandQueue(foreign), 1, first))
show("references", first.reference_count)
cl.enqueue_copy(queue, result, buffer)
show("the end", result)
