"""OpenCL through pyopencl: every device of every platform. Image format "opencl-c": UTF-8 source.

The build options of the image are OpenCL's own. Kernels take global or constant pointers
(BufferArg) and values (ScalarArg, their bytes); local pointers, images and samplers are refused.
"""

from __future__ import annotations

from hal.backends.opencl.backend import OpenclBackend

backend = OpenclBackend()

__all__ = ["backend"]
