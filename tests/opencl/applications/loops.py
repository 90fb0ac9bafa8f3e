"""loopy: kernels generated from loop domains, for the device that it is shown."""

import hashlib

import loopy as lp
import numpy as np
import pyopencl as cl
import pyopencl.array as cla

context = cl.create_some_context(interactive=False)
queue = cl.CommandQueue(context)
numbers = np.random.default_rng(11)
a, b = (cla.to_device(queue, numbers.random((64, 64), dtype=np.float32)) for _ in range(2))


def show(name: str, values: cla.Array) -> None:
    host = values.get()
    digest = hashlib.sha256(host.tobytes()).hexdigest()[:16]
    print(name, host.shape, digest, host.ravel()[:3].tolist())


product = lp.make_kernel(
    "{[i, j, k]: 0 <= i, j, k < n}",
    "c[i, j] = sum(k, a[i, k] * b[k, j])",
    [lp.GlobalArg("a, b, c", np.float32, shape=lp.auto), ...],
    lang_version=(2018, 2),
)
product = lp.assume(product, "n >= 16 and n % 16 = 0")
product = lp.split_iname(product, "i", 16, outer_tag="g.0", inner_tag="l.1")
product = lp.split_iname(product, "j", 16, outer_tag="g.1", inner_tag="l.0")
product = lp.split_iname(product, "k", 16, inner_tag="unr")
_, (c,) = product(queue, a=a, b=b)
show("product", c)

stencil = lp.make_kernel(
    "{[i, j]: 0 <= i, j < n}",
    "out[i + 1, j + 1] = -4 * u[i + 1, j + 1]"
    " + u[i, j + 1] + u[i + 2, j + 1] + u[i + 1, j] + u[i + 1, j + 2]",
    [lp.GlobalArg("u, out", np.float32, shape="n + 2, n + 2"), ...],
    lang_version=(2018, 2),
)
stencil = lp.split_iname(stencil, "i", 8, outer_tag="g.1", inner_tag="l.1")
stencil = lp.split_iname(stencil, "j", 8, outer_tag="g.0", inner_tag="l.0")
out = cla.zeros(queue, (64, 64), np.float32)
stencil(queue, u=a, out=out, n=np.int32(62))
show("stencil", out)
