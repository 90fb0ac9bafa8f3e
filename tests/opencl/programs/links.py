"""Compiling and linking separately, with headers, libraries and binaries of what was compiled."""

from __future__ import annotations

import numpy as np
import pyopencl as cl
from common import code, setup, show

mf = cl.mem_flags
context, queue = setup()
device = context.devices[0]
header = cl.Program(context, "uint twice(uint a);\n#define PLUS 5\n")
body = cl.Program(context, '#include "twice.h"\nuint twice(uint a) { return 2 * a + MORE; }')
main = cl.Program(
    context,
    '#include "twice.h"\n'
    "__kernel void run(__global uint* a) { int i = get_global_id(0); a[i] = twice(a[i]) + PLUS; }",
)
body.compile(options=["-DMORE=3"], headers=[("twice.h", header)])
main.compile(headers=[("twice.h", header)])
kind = cl.program_build_info.BINARY_TYPE
show("compiled", body.get_build_info(device, kind))


def run(program: cl.Program) -> np.ndarray:
    data = np.arange(100, dtype=np.uint32)
    buffer = cl.Buffer(context, mf.READ_WRITE | mf.COPY_HOST_PTR, hostbuf=data)
    program.run(queue, data.shape, None, buffer)
    cl.enqueue_copy(queue, data, buffer)
    return data


linked = cl.link_program(context, [main, body])
show("linked", linked.get_build_info(device, kind))
show("kernels", linked.kernel_names)
show("result", run(linked))
library = cl.link_program(context, [body], options=["-create-library"])
show("library", library.get_build_info(device, kind))
show("with a library", run(cl.link_program(context, [main, library])))
again = cl.Program(context, [device], linked.get_info(cl.program_info.BINARIES)).build()
show("from a binary", run(again))
broken = cl.Program(context, "uint f(uint a) { return undeclared; }")
code("a broken unit", broken.compile)
