"""Large transfers, maps, images and several queues on their way all the time, for so many turns or
until a file is there; prints each turn's number, then a hash of all that was read."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pyopencl as cl

mf = cl.mem_flags
context = cl.Context(cl.get_platforms()[0].get_devices()[:1])
queue, other = cl.CommandQueue(context), cl.CommandQueue(context)
source = cl.Program(
    context,
    """
    __kernel void alter(__global uint* a, uint k) {
      int i = get_global_id(0);
      a[i] = a[i] * 3 + k;
    }
    __kernel void draw(write_only image2d_t to, __global const uint* a) {
      int2 at = (int2)(get_global_id(0), get_global_id(1));
      write_imageui(to, at, (uint4)(a[at.y * 64 + at.x] & 255));
    }
    """,
)
source.compile(options=["-cl-kernel-arg-info"])
program = cl.link_program(context, [source], options=["-cl-kernel-arg-info"])  # PoCL needs it
alter, draw = cl.Kernel(program, "alter"), cl.Kernel(program, "draw")
data = np.random.default_rng(6).integers(0, 2**32, 2_000_000, dtype=np.uint32)  # 8 MB
buffer = cl.Buffer(context, mf.READ_WRITE, data.nbytes)
second = cl.Buffer(context, mf.READ_WRITE | mf.COPY_HOST_PTR, hostbuf=data)
form = cl.ImageFormat(cl.channel_order.RGBA, cl.channel_type.UNSIGNED_INT8)
image = cl.create_image(context, mf.READ_WRITE, form, shape=(64, 64))
pixels = np.zeros((64, 64, 4), np.uint8)
found = hashlib.sha256()
for turn in range(int(sys.argv[1])):
    if len(sys.argv) > 2 and Path(sys.argv[2]).exists():
        break
    wrote = cl.enqueue_copy(queue, buffer, data, is_blocking=False)
    alter.set_args(buffer, np.uint32(turn))
    gate = cl.UserEvent(context)
    event = cl.enqueue_nd_range_kernel(queue, alter, data.shape, None, wait_for=[gate])
    into = np.empty_like(data)
    read = cl.enqueue_copy(other, into, buffer, is_blocking=False, wait_for=[event])
    alter.set_args(second, np.uint32(turn))
    changed = cl.enqueue_nd_range_kernel(other, alter, (64 * 64,), None)
    draw.set_args(image, second)
    drawn = cl.enqueue_nd_range_kernel(other, draw, (64, 64), None, wait_for=[changed])
    gate.set_status(0)
    cl.enqueue_copy(queue, pixels, image, origin=(0, 0), region=(64, 64), wait_for=[drawn])
    mapped, _ = cl.enqueue_map_buffer(
        queue, second, cl.map_flags.READ | cl.map_flags.WRITE, 4096, (1_000_000,), np.uint32
    )
    mapped[::7] += turn
    mapped.base.release(queue)
    read.wait()
    for part in (into, pixels):
        found.update(part.tobytes())
    data = into
    print(turn + 1, flush=True)  # noqa: T201
cl.enqueue_copy(queue, data, second)
found.update(data.tobytes())
print(found.hexdigest(), flush=True)  # noqa: T201
