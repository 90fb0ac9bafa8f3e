"""What pyopencl's documentation shows: buffers, maps, images, events, local memory, structs."""

import hashlib

import numpy as np
import pyopencl as cl

context = cl.create_some_context(interactive=False)
device = context.devices[0]
queue = cl.CommandQueue(context, properties=cl.command_queue_properties.PROFILING_ENABLE)
flags = cl.mem_flags
numbers = np.random.default_rng(5)


def show(name: str, values: np.ndarray) -> None:
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]
    print(name, values.dtype, values.shape, digest, values.ravel()[:4].tolist(), flush=True)


program = cl.Program(
    context,
    """
    kernel void add(global const float *a, global const float *b, global float *out) {
        int i = get_global_id(0);
        out[i] = a[i] + b[i];
    }
    #define T 16
    kernel void multiply(global const float *a, global const float *b, global float *c, int n) {
        local float ta[T][T], tb[T][T];
        int x = get_local_id(0), y = get_local_id(1);
        float sum = 0;
        for (int k = 0; k < n; k += T) {
            ta[y][x] = a[get_global_id(1) * n + k + x];
            tb[y][x] = b[(k + y) * n + get_global_id(0)];
            barrier(CLK_LOCAL_MEM_FENCE);
            for (int i = 0; i < T; ++i) sum = fma(ta[y][i], tb[i][x], sum);
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        c[get_global_id(1) * n + get_global_id(0)] = sum;
    }
    kernel void mandelbrot(global ushort *out, float2 low, float2 step, int most) {
        float2 c = low + step * (float2)(get_global_id(0), get_global_id(1)), z = 0;
        int n = 0;
        while (n < most && dot(z, z) < 4) { z = (float2)(z.x*z.x - z.y*z.y, 2*z.x*z.y) + c; ++n; }
        out[get_global_id(1) * get_global_size(0) + get_global_id(0)] = n;
    }
    kernel void invert(read_only image2d_t from, write_only image2d_t to) {
        const sampler_t how = CLK_ADDRESS_CLAMP_TO_EDGE | CLK_FILTER_NEAREST;
        int2 at = (int2)(get_global_id(0), get_global_id(1));
        write_imageui(to, at, 255 - read_imageui(from, how, at));
    }
    kernel void sum(global const int *in, global int *out, local int *part) {
        int at = get_local_id(0);
        part[at] = in[get_global_id(0)];
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int by = get_local_size(0) / 2; by; by /= 2) {
            if (at < by) part[at] += part[at + by];
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        if (!at) out[get_group_id(0)] = part[0];
    }
    """,
).build(options=["-cl-std=CL1.2"])

a, b = numbers.random(50000, dtype=np.float32), numbers.random(50000, dtype=np.float32)
on_device = [cl.Buffer(context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=x) for x in (a, b)]
out = cl.Buffer(context, flags.WRITE_ONLY, a.nbytes)
done = program.add(queue, a.shape, None, *on_device, out)
found = np.empty_like(a)
cl.enqueue_copy(queue, found, out, wait_for=[done])
assert np.array_equal(found, a + b)
assert done.profile.end >= done.profile.start >= done.profile.submit >= done.profile.queued
show("add", found)

n = 128
square = [numbers.random((n, n), dtype=np.float32) for _ in range(2)]
buffers = [cl.Buffer(context, flags.COPY_HOST_PTR, hostbuf=x) for x in square]
product = cl.Buffer(context, flags.READ_WRITE, square[0].nbytes)
program.multiply(queue, (n, n), (16, 16), *buffers, product, np.int32(n))
found = np.empty_like(square[0])
cl.enqueue_copy(queue, found, product)
show("multiply", found)

picture = np.empty((120, 160), np.uint16)
pixels = cl.Buffer(context, flags.WRITE_ONLY, picture.nbytes)
low, step = np.array([-2, -1.2], np.float32), np.array([3 / 160, 2.4 / 120], np.float32)
program.mandelbrot(queue, (160, 120), None, pixels, low, step, np.int32(200))
cl.enqueue_copy(queue, picture, pixels)
show("mandelbrot", picture)

colors = numbers.integers(0, 256, (40, 60, 4), dtype=np.uint8)
kind = cl.ImageFormat(cl.channel_order.RGBA, cl.channel_type.UNSIGNED_INT8)
source = cl.Image(
    context, flags.READ_ONLY | flags.COPY_HOST_PTR, kind, shape=(60, 40), hostbuf=colors
)
target = cl.Image(context, flags.READ_WRITE, kind, shape=(60, 40))
program.invert(queue, (60, 40), None, source, target)
found = np.empty_like(colors)
cl.enqueue_copy(queue, found, target, origin=(0, 0), region=(60, 40))
show("invert", found)

whole = numbers.integers(-100, 100, 4096).astype(np.int32)
sums = cl.Buffer(context, flags.WRITE_ONLY, 4 * 16)
given = cl.Buffer(context, flags.COPY_HOST_PTR, hostbuf=whole)
program.sum(queue, (4096,), (256,), given, sums, cl.LocalMemory(4 * 256))
found = np.empty(16, np.int32)
cl.enqueue_copy(queue, found, sums)
assert found.sum() == whole.sum()
show("sum", found)

mapped, _ = cl.enqueue_map_buffer(
    queue, given, cl.map_flags.READ | cl.map_flags.WRITE, 0, (4096,), np.int32
)
with mapped.base:
    mapped[::2] = 7
cl.enqueue_copy(queue, whole, given)
show("mapped", whole)

cl.enqueue_fill_buffer(queue, given, np.int32(-3), 0, 4 * 1000)
part = given.get_sub_region(4 * 512, 4 * 2048)
gate = cl.UserEvent(context)
later = cl.enqueue_copy(queue, out, part, byte_count=8192, wait_for=[gate])
gate.set_status(cl.command_execution_status.COMPLETE)
found = np.empty(2048, np.int32)
cl.enqueue_copy(queue, found, out, wait_for=[later])
show("sub-region", found)
plane = np.zeros((20, 30), np.int32)
cl.enqueue_copy(
    queue,
    plane,
    given,
    buffer_origin=(4 * 4, 2, 0),
    host_origin=(4 * 5, 3, 0),
    region=(4 * 10, 8, 1),
    buffer_pitches=(4 * 64, 0),
    host_pitches=(4 * 30, 0),
)
show("rectangle", plane)

try:
    cl.Program(context, "kernel void broken(global int *a) { a[0] = nothing; }").build()
except cl.RuntimeError as error:
    print("refused", error.code, "nothing" in str(error))
again = cl.Program(context, [device], [program.get_info(cl.program_info.BINARIES)[0]]).build()
again.add(queue, a.shape, None, *on_device, out)
found = np.empty_like(a)
cl.enqueue_copy(queue, found, out)
assert np.array_equal(found, a + b)
for kernel in sorted(program.all_kernels(), key=lambda kernel: kernel.function_name):
    print(
        kernel.function_name,
        kernel.num_args,
        kernel.get_work_group_info(cl.kernel_work_group_info.COMPILE_WORK_GROUP_SIZE, device),
    )
