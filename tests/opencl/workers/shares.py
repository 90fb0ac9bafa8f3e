"""Does what it is told, a line each, to buffers of uint32 and prints one line about it: a program
whose every step a test can stand between."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyopencl as cl

if len(sys.argv) > 1:  # limits of address space or of files, in MiB
    import resource

    limit = int(sys.argv[2]) << 20
    resource.setrlimit(getattr(resource, sys.argv[1]), (limit, limit))
mf = cl.mem_flags
context = cl.Context(cl.get_platforms()[0].get_devices()[:1])
queue = cl.CommandQueue(context)
triple = cl.Program(
    context, "__kernel void triple(__global uint* a) { a[get_global_id(0)] *= 3; }"
).build()
buffers: dict[str, cl.Buffer] = {}
maps: dict[str, np.ndarray] = {}


def lies(address: int) -> str:
    """What is mapped there."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        begin, end = (int(part, 16) for part in line.split()[0].split("-"))
        if begin <= address < end:
            return "heap" if "haltere-heap" in line else "elsewhere"
    return "nowhere"


def do(what: str, name: str, number: int) -> object:
    match what:
        case "make":
            buffers[name] = cl.Buffer(context, mf.READ_WRITE, 4 * number)
        case "free":
            del buffers[name]
        case "write":
            count = buffers[name].size // 4
            cl.enqueue_copy(queue, buffers[name], np.full(count, number, np.uint32))
        case "read":
            found = np.empty(buffers[name].size // 4, np.uint32)
            cl.enqueue_copy(queue, found, buffers[name])
            return " ".join(map(str, np.unique(found)))
        case "triple":
            kernel = cl.Kernel(triple, "triple")
            kernel.set_args(buffers[name])
            cl.enqueue_nd_range_kernel(queue, kernel, (buffers[name].size // 4,), None)
        case "finish":
            queue.finish()
        case "map":
            flags = cl.map_flags.READ | cl.map_flags.WRITE
            count = buffers[name].size // 4
            maps[name], _ = cl.enqueue_map_buffer(
                queue, buffers[name], flags, 0, (count,), np.uint32
            )
            return lies(maps[name].ctypes.data)
        case "set":  # the first `number` of what is mapped, one more than the others
            maps[name][:number] += 1
        case "unmap":
            maps.pop(name).base.release(queue)
        case "storm":  # writes and reads back, as often
            count = buffers[name].size // 4
            found = np.empty(count, np.uint32)
            for turn in range(number):
                cl.enqueue_copy(queue, buffers[name], np.full(count, turn, np.uint32))
                cl.enqueue_copy(queue, found, buffers[name])
                assert (found == turn).all(), turn
    return "done"


print("ready", flush=True)  # noqa: T201
for order in sys.stdin:
    what, name, number = order.split()
    try:
        print(do(what, name, int(number)), flush=True)  # noqa: T201
    except cl.Error as error:
        print(cl.status_code.to_string(error.code), flush=True)  # noqa: T201
