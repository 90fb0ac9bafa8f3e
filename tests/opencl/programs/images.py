"""Images and samplers."""

from __future__ import annotations

import numpy as np
import pyopencl as cl
from common import code, setup, show

mf = cl.mem_flags
context, queue = setup()
rgba = cl.ImageFormat(cl.channel_order.RGBA, cl.channel_type.UNSIGNED_INT8)
floats = cl.ImageFormat(cl.channel_order.RGBA, cl.channel_type.FLOAT)

formats = cl.get_supported_image_formats(context, mf.READ_WRITE, cl.mem_object_type.IMAGE2D)
show("formats", sorted((f.channel_order, f.channel_data_type) for f in formats))

pixels = np.random.default_rng(2).integers(0, 256, (48, 64, 4), dtype=np.uint8)
image = cl.Image(context, mf.READ_WRITE, rgba, shape=(64, 48))
cl.enqueue_copy(queue, image, pixels, origin=(0, 0), region=(64, 48))
back = np.zeros_like(pixels)
cl.enqueue_copy(queue, back, image, origin=(0, 0), region=(64, 48))
show("write and read", back)
part = np.zeros((10, 20, 4), np.uint8)
cl.enqueue_copy(queue, part, image, origin=(5, 7), region=(20, 10))
show("read a part", part)

copied = cl.Image(context, mf.READ_WRITE | mf.COPY_HOST_PTR, rgba, hostbuf=pixels, shape=(64, 48))
cl.enqueue_copy(queue, image, copied, src_origin=(0, 0), dest_origin=(10, 10), region=(30, 30))
cl.enqueue_copy(queue, back, image, origin=(0, 0), region=(64, 48))
show("copy", back)
cl.enqueue_fill_image(queue, image, np.array([1, 2, 3, 4], np.uint32), origin=(3, 3), region=(5, 6))
cl.enqueue_copy(queue, back, image, origin=(0, 0), region=(64, 48))
show("fill", back)
buffer = cl.Buffer(context, mf.READ_WRITE, 64 * 48 * 4)
cl.enqueue_copy(queue, buffer, image, offset=0, origin=(0, 0), region=(64, 48))
cl.enqueue_copy(queue, back, buffer)
show("to a buffer", back)
cl.enqueue_copy(queue, copied, buffer, offset=64, origin=(1, 1), region=(8, 8))
cl.enqueue_copy(queue, back, copied, origin=(0, 0), region=(64, 48))
show("from a buffer", back)

volume = np.random.default_rng(3).random((6, 7, 8, 4), dtype=np.float32)
solid = cl.Image(context, mf.READ_WRITE | mf.COPY_HOST_PTR, floats, hostbuf=volume, shape=(8, 7, 6))
inner = np.zeros((3, 4, 5, 4), np.float32)
cl.enqueue_copy(queue, inner, solid, origin=(1, 2, 3), region=(5, 4, 3))
show("a box of a volume", inner)

mapped, event, *pitches = cl.enqueue_map_image(
    queue, image, cl.map_flags.READ | cl.map_flags.WRITE, (0, 2), (64, 4), (4, 64, 4), np.uint8
)
show("map", mapped)
mapped[:, 3:9] = 9
mapped.base.release(queue)
cl.enqueue_copy(queue, back, image, origin=(0, 0), region=(64, 48))
show("unmap", back)

program = cl.Program(
    context,
    """
    __kernel void turn(read_only image2d_t from, write_only image2d_t to, sampler_t how) {
      int2 at = (int2)(get_global_id(0), get_global_id(1));
      float2 where = (convert_float2(at.yx) + 0.5f) / 16.0f;
      write_imagef(to, at, read_imagef(from, how, where) * 2.0f);
    }
    """,
).build()
plane = np.random.default_rng(4).random((16, 16, 4), dtype=np.float32)
source = cl.Image(context, mf.READ_ONLY | mf.COPY_HOST_PTR, floats, hostbuf=plane, shape=(16, 16))
result = cl.Image(context, mf.WRITE_ONLY, floats, shape=(16, 16))
sampler = cl.Sampler(context, True, cl.addressing_mode.CLAMP_TO_EDGE, cl.filter_mode.NEAREST)
program.turn(queue, (16, 16), None, source, result, sampler)
turned = np.zeros_like(plane)
cl.enqueue_copy(queue, turned, result, origin=(0, 0), region=(16, 16))
show("a kernel with images and a sampler", turned)

show("sizes", (image.width, image.height, image.row_pitch, image.element_size, solid.depth))
code("outside", lambda: cl.enqueue_copy(queue, part, image, origin=(60, 40), region=(20, 10)))
