"""An "opencl-c" image built for one context, and its kernels with their checked arguments.

OpenCL takes an argument as a size and a pointer, so that a scalar passed for a buffer is read as
an object and brings the process down: the kinds are compared here first.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import pyopencl as cl

from hal.backends.opencl.errors import converted
from hal.errors import ProgramRejected
from hal.types import Arg, BufferArg, ProgramImage, ScalarArg

_ADDRESS = cl.kernel_arg_address_qualifier
_BUFFER, _SCALAR = BufferArg, ScalarArg
_KINDS: dict[int, type[BufferArg] | type[ScalarArg]] = {
    _ADDRESS.GLOBAL: BufferArg,
    _ADDRESS.CONSTANT: BufferArg,
    _ADDRESS.PRIVATE: ScalarArg,
}
_OBJECTS = ("image", "sampler_t", "pipe", "event_t", "queue_t")  # types that are not values


@dataclass(frozen=True, slots=True)
class Kernel:
    native: cl.Kernel
    kinds: tuple[type[BufferArg] | type[ScalarArg], ...]


class Program:
    def __init__(self, context: cl.Context, image: ProgramImage) -> None:
        try:
            source = image.payload.decode("utf-8")
            options = shlex.split(image.options)
        except ValueError as error:
            raise ProgramRejected(f"opencl-c image: {error}") from error
        if "\0" in source:
            raise ProgramRejected("opencl-c image: the source holds a zero byte")
        with converted("opencl-c image does not build"):
            self._native = cl.Program(context, source).build(
                [*options, "-cl-kernel-arg-info"], cache_dir=False
            )
            self._names = [name for name in self._native.kernel_names.split(";") if name]
        if not self._names:
            raise ProgramRejected("opencl-c image: defines no kernel")
        self._kernels: dict[str, Kernel] = {}

    def kernel(self, entry: str, args: Sequence[Arg]) -> cl.Kernel:
        """The kernel, once `args` are seen to be of its number and kinds."""
        kernel = self._kernels.get(entry)
        if kernel is None:
            kernel = self._kernels[entry] = self._find(entry)
        if len(args) != len(kernel.kinds):
            raise ProgramRejected(
                f"launch {entry!r}: {len(args)} arguments; the kernel takes {len(kernel.kinds)}"
            )
        for index, (arg, kind) in enumerate(zip(args, kernel.kinds, strict=True)):
            if not isinstance(arg, kind):
                raise ProgramRejected(
                    f"launch {entry!r}: argument {index} is a {type(arg).__name__}; the kernel "
                    f"takes a {kind.__name__}"
                )
        return kernel.native

    def _find(self, entry: str) -> Kernel:
        if entry not in self._names:
            known = ", ".join(self._names)
            raise ProgramRejected(f"launch {entry!r}: the image's entries are {known}")
        with converted(f"launch {entry!r}"):
            native = cl.Kernel(self._native, entry)
            return Kernel(native, tuple(_kind(native, index) for index in range(native.num_args)))


def _kind(kernel: cl.Kernel, index: int) -> type[BufferArg] | type[ScalarArg]:
    info = cl.kernel_arg_info
    address = kernel.get_arg_info(index, info.ADDRESS_QUALIFIER)
    name = kernel.get_arg_info(index, info.TYPE_NAME)
    kind = _KINDS.get(address)
    if kind is None or any(word in name for word in _OBJECTS):
        raise ProgramRejected(
            f"kernel {kernel.function_name!r}, argument {index} of type {name!r}: only global and "
            "constant pointers and values can be passed"
        )
    return kind
