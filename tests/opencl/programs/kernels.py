"""Programs and kernels: building, arguments, launches, what is told of them."""

from __future__ import annotations

import numpy as np
import pyopencl as cl
from common import code, setup, show

mf = cl.mem_flags
context, queue = setup()
device = context.devices[0]
SOURCE = """
#ifndef STEP
#define STEP 1
#endif
typedef struct { int a; float b; char c[5]; } pair;
__kernel void blend(__global float* out, __constant float* table, __local float* scratch,
                  const int n, const float4 v, const pair p, const uchar small) {
  int i = get_global_id(0), l = get_local_id(0);
  scratch[l] = table[i % n] * v.y + p.b * p.c[2];
  barrier(CLK_LOCAL_MEM_FENCE);
  out[i] = scratch[get_local_size(0) - 1 - l] + v.w * p.a * STEP + small;
}
__attribute__((reqd_work_group_size(4, 2, 1)))
__kernel void place(__global uint* out) {
  out[get_global_id(1) * 8 + get_global_id(0)] =
      get_global_id(0) * 100 + get_local_id(1) * 10 + get_group_id(0);
}
__kernel void shifted(__global uint* out) { out[get_global_id(0)] += get_global_offset(0); }
"""
program = cl.Program(context, SOURCE).build(options=["-DSTEP=3", "-cl-kernel-arg-info"])
show("kernels", sorted(program.kernel_names.split(";")))
show("build status", program.get_build_info(device, cl.program_build_info.STATUS))
show("build options", "-DSTEP=3" in program.get_build_info(device, cl.program_build_info.OPTIONS))

pair = np.zeros((), np.dtype([("a", np.int32), ("b", np.float32), ("c", np.int8, 5)], align=True))
pair["a"], pair["b"], pair["c"] = 3, 1.5, [1, 2, 3, 4, 5]
table = cl.Buffer(
    context, mf.READ_ONLY | mf.COPY_HOST_PTR, hostbuf=np.linspace(0, 1, 37, dtype=np.float32)
)
out = cl.Buffer(context, mf.READ_WRITE, 256 * 4)
vector = np.array([1, 2, 3, 4], np.float32)
result = np.empty(256, np.float32)
kernel = program.blend
kernel.set_args(out, table, cl.LocalMemory(64 * 4), np.int32(37), vector, pair, np.uint8(200))
cl.enqueue_nd_range_kernel(queue, kernel, (256,), (64,))
cl.enqueue_copy(queue, result, out)
show("arguments of every kind", result)
kernel.set_arg(3, np.int32(11))
cl.enqueue_nd_range_kernel(queue, kernel, (256,), (64,))
kernel.set_arg(2, cl.LocalMemory(32 * 4))
kernel.set_arg(3, np.int32(5))
cl.enqueue_nd_range_kernel(queue, kernel, (128,), (32,))
cl.enqueue_copy(queue, result, out)
show("arguments set again", result)

places = cl.Buffer(context, mf.READ_WRITE, 8 * 4 * 4)
program.place(queue, (8, 4), (4, 2), places)
grid = np.empty((4, 8), np.uint32)
cl.enqueue_copy(queue, grid, places)
show("two dimensions", grid)
ready = program.shifted
ready.set_args(places)
cl.enqueue_nd_range_kernel(queue, ready, (5,), None, (7,))
cl.enqueue_copy(queue, grid, places)
show("an offset", grid)

for name, count in (("blend", 7), ("place", 1)):
    kernel = getattr(program, name)
    for index in range(count):
        info = cl.kernel_arg_info
        told = (info.ADDRESS_QUALIFIER, info.ACCESS_QUALIFIER, info.TYPE_NAME, info.NAME)
        show(f"{name} {index}", [kernel.get_arg_info(index, what) for what in told])
        show(f"{name} {index} is", kernel.get_arg_info(index, info.TYPE_QUALIFIER))
    group = cl.kernel_work_group_info
    sizes = (group.WORK_GROUP_SIZE, group.COMPILE_WORK_GROUP_SIZE)
    show(f"{name} group", [kernel.get_work_group_info(what, device) for what in sizes])
    step = kernel.get_work_group_info(group.PREFERRED_WORK_GROUP_SIZE_MULTIPLE, device)
    show(f"{name} multiple", step)
    show(f"{name} count", kernel.num_args)


def broken() -> str:
    try:
        cl.Program(context, "__kernel void f(__global int* a) { a[0] = undeclared; }").build()
    except cl.RuntimeError as error:
        return f"{cl.status_code.to_string(error.code)} {'undeclared' in str(error)}"
    return "built"


show("a broken program", broken())

binary = program.get_info(cl.program_info.BINARIES)[0]
show("a binary", len(binary) > 0)
again = cl.Program(context, [device], [binary]).build()
more = np.zeros(256, np.float32)
kernel = again.blend
kernel.set_args(out, table, cl.LocalMemory(64 * 4), np.int32(11), vector, pair, np.uint8(200))
cl.enqueue_nd_range_kernel(queue, kernel, (256,), (64,))
cl.enqueue_copy(queue, more, out)
show("a program from a binary", more)

kernels = program.all_kernels()
show("all kernels", sorted(kernel.function_name for kernel in kernels))

fresh = cl.Kernel(program, "blend")
code("arguments missing", lambda: cl.enqueue_nd_range_kernel(queue, fresh, (64,), (64,)))
code("no such argument", lambda: fresh.set_arg(9, np.int32(1)))
code("wrong size", lambda: fresh.set_arg(3, np.int64(1)))
code("wrong size of a buffer", lambda: fresh.set_arg(0, np.int32(1)))
code("no such kernel", lambda: cl.Kernel(program, "nothing"))
code("a group that does not divide", lambda: cl.enqueue_nd_range_kernel(queue, ready, (10,), (3,)))
code("a group too large", lambda: cl.enqueue_nd_range_kernel(queue, ready, (1 << 20,), (1 << 20,)))
placed = program.place
placed.set_args(places)
code(
    "another group than required", lambda: cl.enqueue_nd_range_kernel(queue, placed, (8, 4), (2, 2))
)
