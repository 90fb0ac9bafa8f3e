"""pyopencl's arrays and algorithms: elementwise, reductions, scans, random numbers, sorts."""

import hashlib

import numpy as np
import pyopencl as cl
import pyopencl.array as cla
import pyopencl.clmath as clmath
import pyopencl.clrandom as clrandom
from pyopencl.algorithm import RadixSort, copy_if, partition, unique
from pyopencl.elementwise import ElementwiseKernel
from pyopencl.reduction import ReductionKernel
from pyopencl.scan import GenericScanKernel

context = cl.create_some_context(interactive=False)
queue = cl.CommandQueue(context)


def show(name: str, values: object) -> None:
    host = np.ascontiguousarray(values.get() if isinstance(values, cla.Array) else values)
    digest = hashlib.sha256(host.tobytes()).hexdigest()[:16]
    print(name, host.dtype, host.shape, digest, host.ravel()[:4].tolist(), flush=True)


numbers = np.random.default_rng(3)
a = cla.to_device(queue, numbers.random((300, 70), dtype=np.float32))
b = cla.to_device(queue, numbers.random((300, 70), dtype=np.float32))
whole = cla.to_device(queue, numbers.integers(0, 1000, 5000).astype(np.int32))

show("arithmetic", 2 * a + b / (a + 1) - b**2)
show("comparison", (a > b).astype(np.int32))
show("minimum", cla.minimum(a, b))
show("functions", clmath.sin(a) * clmath.exp(-b) + clmath.sqrt(a))
show("choice", cla.if_positive(a - 0.5, a, b))
show("rows", a[10:200] * 2)
show("reshaped", a.reshape(70, 300)[3:5] + b.reshape(70, 300)[1:3])
show("taken", cla.take(whole, cla.to_device(queue, np.arange(0, 5000, 7, dtype=np.int32))))
show("range", cla.arange(queue, 0, 1000, 3, dtype=np.float64))
show("zeros", cla.zeros(queue, (100,), np.int8) + 5)
show("complex", (a + 1j * b).conj() * (a - 1j * b))

show("sum", cla.sum(whole))
show("sum of reals", cla.sum(a))
show("dot", cla.dot(a, b))
show("maximum", cla.max(a))
square = ReductionKernel(
    context,
    np.float64,
    neutral="0",
    reduce_expr="a+b",
    map_expr="x[i]*y[i]",
    arguments="__global const float *x, __global const float *y",
)
show("reduction", square(a.ravel(), b.ravel()))

running = GenericScanKernel(
    context,
    np.int32,
    arguments="__global const int *in, __global int *out",
    input_expr="in[i]",
    scan_expr="a+b",
    neutral="0",
    output_statement="out[i] = item;",
)
scanned = cla.empty_like(whole)
running(whole, scanned)
show("scan", scanned)
combine = ElementwiseKernel(
    context,
    "float k, float *x, const float *y",
    "x[i] = k * x[i] + (i % 3 ? y[i] : -y[i])",
    "combine",
)
mixed = a.copy()
combine(np.float32(0.3), mixed, b)
show("elementwise", mixed)

count_of, chosen = None, None
chosen, count_of, _ = copy_if(whole, "ary[i] < 300", queue=queue)
show("copy_if", chosen.get()[: int(count_of.get())])
true, false, count_of, _ = partition(whole, "ary[i] % 2 == 0", queue=queue)
show("partition", true.get()[: int(count_of.get())])
(sorted_,), _ = RadixSort(
    context, "int *ary", key_expr="ary[i]", sort_arg_names=["ary"], key_dtype=np.int32
)(whole, key_bits=16)
show("sorted", sorted_)
once, count_of, _ = unique(sorted_, queue=queue)
show("unique", once.get()[: int(count_of.get())])

generator = clrandom.PhiloxGenerator(context, seed=15)
show("uniform", generator.uniform(queue, 3000, np.float32))
show("normal", generator.normal(queue, 3000, np.float64))
generator = clrandom.ThreefryGenerator(context, seed=7)
show("integers", generator.uniform(queue, 999, np.int32, a=0, b=50))

pool = cl.tools.MemoryPool(cl.tools.ImmediateAllocator(queue))
for size in (10, 1000, 100_000):
    from_pool = cla.zeros(queue, size, np.float32, allocator=pool) + np.float32(size)
    show(f"pool {size}", from_pool)
pool.free_held()
