"""The reference backend: NumPy on the host. What it computes is what right means.

Image format "numpy". The payload is UTF-8 Python source, the counterpart of OpenCL C:

- Its top-level functions are the entries (names that start with `_` are helpers). Beside functions
  there may be a docstring and constants (`NAME = value`). It imports nothing; `np` (NumPy) and the
  helpers `u8 i32 u32 f32` are there already.
- An entry takes `grid` (hal.types.Grid) and then one parameter per argument, each annotated
  `buffer` or `scalar`. A buffer arrives as a writable `np.uint8` array, from the argument's offset
  to the buffer's end; a scalar as `bytes`. `f32(x)` is a float32 view of a buffer or the value of
  a scalar; the other helpers likewise.
- It is called once per launch, not once per work item: `grid` says how much to do.

    def saxpy(grid, y: buffer, x: buffer, a: scalar):
        n = grid.global_size[0]
        f32(y)[:n] += f32(a) * f32(x)[:n]

Image format "golden". The payload is the name of an overlay that has a golden model (`npu-sim`);
its kernels have the entries, arguments and results that they have on the fabric, bit for bit, and
no clock. So this device stands in for an FPGA, and computes what an FPGA is held against.

A "numpy" image is code and runs with the rights of this process, as OpenCL C does with the
device's: load only images you trust. The rules above keep images self-contained; they are not a
sandbox.
"""

from __future__ import annotations

from hal.backends.cpu.backend import CpuBackend

backend = CpuBackend()

__all__ = ["backend"]
