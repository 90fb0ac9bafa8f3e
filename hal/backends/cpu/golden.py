"""A "golden" image: an overlay's kernel as its golden model computes it. Format: see the package.

The kernel takes the arguments that it takes on the fabric, so a caller needs to know one thing
only: which image to load. Statistics that depend on time (cycles, stalls) are 0 here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from hal.backends.cpu.program import Bytes, Value, check_kinds
from hal.errors import DeviceFault, ProgramRejected
from hal.types import Arg, BufferArg, Grid, ProgramImage, ScalarArg
from rtl_sim.model.npu import Npu
from rtl_sim.spec.npu import (
    BUFFER_ARGS,
    CONFIGS,
    INSTRUCTION_BYTES,
    KERNEL_NAME,
    SCALAR_ARGS,
    STATS_BYTES,
    Config,
    named_config,
)

OVERLAY_PREFIX: Final = "npu-"
KINDS: Final = (*[BufferArg] * len(BUFFER_ARGS), *[ScalarArg] * len(SCALAR_ARGS))


class GoldenProgram:
    """The kernel of one overlay. Raises ProgramRejected."""

    def __init__(self, image: ProgramImage) -> None:
        name = image.payload.decode("ascii", "replace")
        config = named_config(name.removeprefix(OVERLAY_PREFIX))
        if config is None or not name.startswith(OVERLAY_PREFIX) or image.options:
            known = ", ".join(OVERLAY_PREFIX + each for each in CONFIGS)
            raise ProgramRejected(
                f"golden image: {name[:64]!r} with options {image.options!r}; there is a golden "
                f"model of {known}, without options"
            )
        self._config: Config = config

    def check(self, entry: str, args: Sequence[Arg]) -> Callable[..., object]:
        """The kernel, once `args` are seen to be of its number and kinds."""
        if entry != KERNEL_NAME:
            raise ProgramRejected(f"launch {entry!r}: the image's entry is {KERNEL_NAME}")
        check_kinds(entry, KINDS, args)
        return self._run

    def _run(self, grid: Grid, *values: Value) -> None:
        """On an NPU whose memories are all zero: no launch sees what another left there."""
        buffers = dict(zip(BUFFER_ARGS, values, strict=False))
        sizes = dict(zip(SCALAR_ARGS, values[len(BUFFER_ARGS) :], strict=True))
        vector = self._config.vector_bytes
        code, weights, inputs, output = (
            _part(buffers, sizes, name, scalar, unit)
            for name, scalar, unit in (
                ("program", "n_instr", INSTRUCTION_BYTES),
                ("weights", "n_weights", vector),
                ("input", "n_input", vector),
                ("output", "n_output", vector),
            )
        )
        stats = buffers["stats"]
        if len(stats) < STATS_BYTES or not isinstance(stats, np.ndarray):
            raise DeviceFault(f"the stats buffer has {len(stats)} bytes, {STATS_BYTES} are written")
        done = Npu(self._config).launch(
            code.tobytes(), weights.tobytes(), inputs.tobytes(), output.size
        )
        output[:] = done.outputs[0]
        stats[:STATS_BYTES] = np.frombuffer(done.stats[0].astype("<u4").tobytes(), np.uint8)


def _part(
    buffers: Mapping[str, Value], sizes: Mapping[str, Value], name: str, scalar: str, unit: int
) -> Bytes:
    """What the kernel is told of a buffer: so many units from its start."""
    size = sizes[scalar]
    if len(size) != 4:
        raise DeviceFault(f"scalar {scalar} has {len(size)} bytes; the register takes 4")
    nbytes = struct.unpack("<I", bytes(size))[0] * unit
    buffer = buffers[name]
    assert isinstance(buffer, np.ndarray)  # by check
    if nbytes > buffer.size:
        raise DeviceFault(f"{scalar} says {nbytes} bytes; buffer {name} has {buffer.size}")
    return buffer[:nbytes]
