"""Buffers: every way of moving bytes."""

from __future__ import annotations

import numpy as np
import pyopencl as cl
from common import code, numbers, setup, show

mf = cl.mem_flags
context, queue = setup()

data = numbers(5_000_000)  # 20 MB: several chunks, larger than the arena
big = cl.Buffer(context, mf.READ_WRITE, data.nbytes)
cl.enqueue_copy(queue, big, data)
back = np.empty_like(data)
cl.enqueue_copy(queue, back, big)
show("large write and read", back)
assert (back == data).all()

asynchronous = np.empty_like(data)
event = cl.enqueue_copy(queue, asynchronous, big, is_blocking=False)
event.wait()
show("large read without blocking", asynchronous)

copied = cl.Buffer(context, mf.READ_WRITE | mf.COPY_HOST_PTR, hostbuf=data[:1000])
small = np.empty(1000, np.uint32)
cl.enqueue_copy(queue, small, copied)
show("copied from the host", small)
cl.enqueue_copy(queue, copied, big, byte_count=400, src_offset=4000, dst_offset=40)
cl.enqueue_copy(queue, small, copied)
show("copy between buffers", small)

cl.enqueue_fill_buffer(queue, copied, np.uint32(0xDEADBEEF), 8, 80)
cl.enqueue_fill_buffer(queue, copied, np.array([1, 2, 3, 4], np.uint8), 400, 400)
cl.enqueue_copy(queue, small, copied)
show("fill", small)

part = copied.get_sub_region(512, 1024)
cl.enqueue_copy(queue, part, np.arange(10, dtype=np.uint32), dst_offset=16)
cl.enqueue_copy(queue, small, copied)
show("write to a sub-buffer", small)
program = cl.Program(
    context,
    "__kernel void add(__global uint* a, __global const uint* b) "
    "{ int i = get_global_id(0); a[i] += b ? b[i] : 7; }",
).build()
program.add(
    queue,
    (64,),
    (16,),
    part,
    cl.Buffer(context, mf.READ_ONLY | mf.COPY_HOST_PTR, hostbuf=data[:64]),
)
program.add(queue, (32,), None, part, None)
cl.enqueue_copy(queue, small, copied)
show("kernels on a sub-buffer and NULL", small)

cube = np.arange(10 * 20 * 30, dtype=np.uint32).reshape(10, 20, 30)
box = cl.Buffer(context, mf.READ_WRITE | mf.COPY_HOST_PTR, hostbuf=cube)
target = np.zeros((6, 7, 8), np.uint32)
cl.enqueue_copy(
    queue, target, box, buffer_origin=(12, 3, 2), host_origin=(8, 1, 1), region=(16, 5, 4),
    buffer_pitches=(120, 2400), host_pitches=(32, 224),
)  # fmt: skip
show("read a box", target)
cl.enqueue_copy(
    queue, box, target, buffer_origin=(40, 10, 5), host_origin=(0, 0, 0), region=(32, 7, 3),
    buffer_pitches=(120, 2400), host_pitches=(32, 224),
)  # fmt: skip
cl.enqueue_copy(
    queue, box, box, src_origin=(0, 0, 0), dst_origin=(0, 0, 7), region=(120, 10, 2),
    src_pitches=(120, 2400), dst_pitches=(120, 2400),
)  # fmt: skip
cl.enqueue_copy(queue, cube, box)
show("write and copy boxes", cube)

mapped, event = cl.enqueue_map_buffer(queue, big, cl.map_flags.READ, 4096, (3_000_000,), np.uint32)
show("map to read", mapped)
mapped.base.release(queue)
mapped, event = cl.enqueue_map_buffer(queue, big, cl.map_flags.WRITE, 400, (1000,), np.uint32)
mapped[::2] = 5
mapped.base.release(queue)
mapped, event = cl.enqueue_map_buffer(
    queue, big, cl.map_flags.WRITE_INVALIDATE_REGION, 40_000, (1000,), np.uint32
)
mapped[:] = np.arange(1000)
mapped.base.release(queue)
cl.enqueue_copy(queue, back, big)
show("map to write", back)

own = np.arange(4096, dtype=np.uint32)
shared = cl.Buffer(context, mf.READ_WRITE | mf.USE_HOST_PTR, hostbuf=own)
program.add(queue, (4096,), None, shared, None)
mapped, event = cl.enqueue_map_buffer(queue, shared, cl.map_flags.READ, 0, (4096,), np.uint32)
show("a map of host memory is that memory", mapped.ctypes.data == own.ctypes.data)
show("host memory", own)
mapped.base.release(queue)
pinned = cl.Buffer(context, mf.READ_WRITE | mf.ALLOC_HOST_PTR, 4096)
first, _ = cl.enqueue_map_buffer(
    queue, pinned, cl.map_flags.READ | cl.map_flags.WRITE, 0, (1024,), np.uint32
)
second, _ = cl.enqueue_map_buffer(queue, pinned, cl.map_flags.READ, 0, (512,), np.uint32)
first[:] = 3
first.base.release(queue)
second.base.release(queue)
result = np.empty(1024, np.uint32)
cl.enqueue_copy(queue, result, pinned)
show("two maps of one place", result)

code("read beyond the end", lambda: cl.enqueue_copy(queue, small, copied, src_offset=4))
code(
    "copy onto itself",
    lambda: cl.enqueue_copy(queue, copied, copied, byte_count=100, src_offset=0, dst_offset=50),
)
code("a sub-buffer out of line", lambda: copied.get_sub_region(3, 100))
code("an empty buffer", lambda: cl.Buffer(context, mf.READ_WRITE, 0))
code("flags that contradict", lambda: cl.Buffer(context, mf.READ_ONLY | mf.WRITE_ONLY, 16))
code("a buffer larger than the device", lambda: cl.Buffer(context, mf.READ_WRITE, 1 << 50))
show("size", copied.size)
show("flags", copied.flags == (mf.READ_WRITE | mf.COPY_HOST_PTR))
show("offset", part.offset)
show("parent", part.associated_memobject == copied)
cl.enqueue_migrate_mem_objects(queue, [big])
queue.finish()
