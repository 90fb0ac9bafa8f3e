# ruff: noqa: T201
"""Times of commands, asked for before and after a halt, by a program that knows nothing of it."""

from __future__ import annotations

import numpy as np
import pyopencl as cl

context = cl.Context(cl.get_platforms()[0].get_devices()[:1])
queue = cl.CommandQueue(context, properties=cl.command_queue_properties.PROFILING_ENABLE)
data = np.zeros(1 << 18, dtype=np.uint8)
buffer = cl.Buffer(context, cl.mem_flags.READ_WRITE, data.nbytes)
filled = [cl.enqueue_fill_buffer(queue, buffer, np.uint8(k), 0, data.nbytes) for k in range(8)]
queue.finish()


def times(event: cl.Event) -> tuple[int, int, int, int]:
    at = event.profile
    return at.queued, at.submit, at.start, at.end


known = times(filled[0])
for line in ("first halt", "second halt"):
    print(line, flush=True)
    input()
    later = cl.enqueue_fill_buffer(queue, buffer, np.uint8(9), 0, data.nbytes)
    later.wait()
    assert 0 < times(later)[0] <= times(later)[2] < times(later)[3]
    asked = filled[1 if line == "first halt" else 2]
    at = times(asked)
    assert 0 < at[0] <= at[1] <= at[2] < at[3], at
    assert known[3] <= at[2], "in order"
    assert times(filled[0]) == known
    filled.append(later)
last = [times(event) for event in filled]
assert all(one[3] > one[2] > 0 for one in last), last
print("all known")
