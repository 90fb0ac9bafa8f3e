"""The kernel-register convention (docs/overlays.md): arguments in, start, done.

All that the driver knows of a kernel is its row in the manifest. Register accesses cost clock
cycles, so their number depends on nothing but the launch: no polling, or a halted run would not
take as many cycles as an uninterrupted one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from bitstreams import Kernel
from hal.backends.fpga.shell import Shell
from hal.errors import DeviceFault, ProgramRejected
from hal.types import Arg, BufferArg, Grid, Handle

CONTROL, GLOBAL_ENABLE, ENABLE, STATUS = 0x00, 0x04, 0x08, 0x0C
START = 1
DONE = 2
DONE_INTERRUPT = 1


def check_launch(kernel: Kernel, args: Sequence[Arg], grid: Grid) -> None:
    """Raises ProgramRejected unless the arguments are those of the manifest."""
    if any(size != 1 for size in grid.global_size):
        raise ProgramRejected(
            f"kernel {kernel.name!r}: grid {grid.global_size}; a kernel of an overlay runs as one, "
            "its arguments say on how much"
        )
    if len(args) != len(kernel.args):
        names = ", ".join(f"{arg.kind} {arg.name}" for arg in kernel.args)
        raise ProgramRejected(
            f"kernel {kernel.name!r} takes {len(kernel.args)} arguments ({names}), not {len(args)}"
        )
    for arg, declared in zip(args, kernel.args, strict=True):
        what = f"kernel {kernel.name!r}: argument {declared.name}"
        kind = "buffer" if isinstance(arg, BufferArg) else "scalar"
        if kind != declared.kind:
            raise ProgramRejected(f"{what} is a {declared.kind}, not a {kind}")
        if not isinstance(arg, BufferArg) and len(arg.data) != declared.size_bytes:
            raise ProgramRejected(f"{what} has {declared.size_bytes} bytes, not {len(arg.data)}")


def start(
    shell: Shell, kernel: Kernel, args: Sequence[Arg], address_of: Callable[[Handle], int]
) -> None:
    """Write the arguments and set the kernel off; its end raises the interrupt."""
    for arg, declared in zip(args, kernel.args, strict=True):
        if isinstance(arg, BufferArg):
            data = struct.pack("<Q", address_of(arg.buffer) + arg.offset)
        else:
            data = arg.data
        for index, (word,) in enumerate(struct.iter_unpack("<I", data)):
            shell.write32(declared.offset + 4 * index, word)
    shell.write32(GLOBAL_ENABLE, 1)
    shell.write32(ENABLE, DONE_INTERRUPT)
    shell.write32(CONTROL, START)


def acknowledge(shell: Shell) -> None:
    """After the interrupt: take it back. Raises DeviceFault if the kernel is not done."""
    status = shell.read32(STATUS)
    shell.write32(STATUS, status & DONE_INTERRUPT)
    control = shell.read32(CONTROL)
    if not (status & DONE_INTERRUPT and control & DONE):
        raise DeviceFault(
            f"interrupt, but no kernel is done: control {control:#x}, interrupt status {status:#x}"
        )
