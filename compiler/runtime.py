"""Runs a compiled model on a device, through a context of the hal.

A configurable device must be configured with the model's overlay by whoever owns it. Program and
weights are written once; one input and one output buffer are used again by every call. Every launch
is self-contained (targets/npu/lower.py), so a context may be halted, moved or share its fabric with
others between any two calls, and also in the middle of one.
"""

from __future__ import annotations

import struct
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from compiler.artifact import CompiledModel
from compiler.emulator import check_stats, pad_samples, stack_size
from compiler.errors import BadInput, RunTimeout
from compiler.hostside import Inputs, Results, check_inputs, finish, pack_inputs, unpack_outputs
from compiler.ir import Array
from hal.context import Buffer, Context
from hal.errors import OverlayRejected
from hal.types import Overlay, ScalarArg, Seq
from rtl_sim.spec.npu import BUFFER_ARGS, KERNEL_NAME, SCALAR_ARGS, STATS_BYTES, STATS_WORDS, Stat

GOLDEN = "golden"  # the image format of a device that computes with golden models
RESULT_TIMEOUT_S = 600.0  # as hal.context's: every wait is bounded


class Session:
    """One model loaded in one context. Not thread-safe, as the context is not."""

    def __init__(self, context: Context, model: CompiledModel) -> None:
        """A model that names no build of its overlay gets the one shipped here. Where there is no
        fabric but the golden models are, the overlay's computes."""
        golden = GOLDEN in context.caps.formats
        if not golden and not model.overlay_digest:
            model = model.with_overlay(shipped_overlay(model).digest)
        self.model = model
        self.last_cycles: int | None = None
        self.last_stats: NDArray[np.uint32] | None = None
        self._context = context
        self._program = context.load(model.golden_image if golden else model.image)
        self._buffers = self._alloc()
        context.write(self._buffers["program"], model.program)
        context.write(self._buffers["weights"], model.weights)
        self._running: tuple[Seq, dict[str, Array]] | None = None

    @property
    def running(self) -> bool:
        """A launch was started, and its result not taken yet."""
        return self._running is not None

    def start(self, inputs: Inputs) -> Seq:
        """Enqueue one launch; its number, for `Context.wait`."""
        if self._running is not None:
            raise BadInput("start: the previous inference's result was not taken yet")
        samples = self.model.samples
        return self._start(check_inputs(self.model, inputs, None if samples == 1 else samples))

    def result(self, timeout_s: float = RESULT_TIMEOUT_S) -> Results:
        """Wait for the launch that was started. Raises RunTimeout; it may be called again then."""
        results = self._result(timeout_s)
        if self.model.samples > 1:
            return results
        return {name: array[0] for name, array in results.items()}

    def run(self, inputs: Inputs, timeout_s: float = RESULT_TIMEOUT_S) -> Results:
        """One launch. With `samples` > 1 every array has the samples as its first axis."""
        self.start(inputs)
        return self.result(timeout_s)

    def run_many(self, inputs: Inputs, timeout_s: float = RESULT_TIMEOUT_S) -> Results:
        """Any number of independent samples, stacked along a first axis: launch by launch.
        `last_cycles` is then the sum over the launches."""
        count, samples = stack_size(inputs), self.model.samples
        arrays = check_inputs(self.model, inputs, count)
        parts: list[Results] = []
        cycles = 0
        for at in range(0, count, samples):
            part = {name: pad_samples(a[at : at + samples], samples) for name, a in arrays.items()}
            self._start(part)
            parts.append(self._result(timeout_s))
            cycles += self.last_cycles or 0
        self.last_cycles = cycles
        return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}

    def close(self) -> None:
        """Free what the session holds in its context. Idempotent."""
        for buffer in self._buffers.values():
            if buffer.live:
                buffer.free()
        if self._program.live:
            self._context.unload(self._program)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    # ---- inside

    def _alloc(self) -> dict[str, Buffer]:
        model = self.model
        vector = model.npu.vector_bytes
        sizes = {
            "program": len(model.program),
            "weights": len(model.weights),
            "input": model.samples * model.input_vectors * vector,
            "output": model.samples * model.output_vectors * vector,
            "stats": STATS_BYTES,
        }
        # an unused buffer must still be one; the program is told its true size
        return {name: self._context.alloc(max(sizes[name], vector)) for name in BUFFER_ARGS}

    def _start(self, arrays: dict[str, Array]) -> Seq:
        model, context = self.model, self._context
        context.write(self._buffers["input"], pack_inputs(model, arrays).tobytes())
        vectors = {
            "n_instr": model.instructions,
            "n_weights": len(model.weights) // model.npu.vector_bytes,
            "n_input": model.samples * model.input_vectors,
            "n_output": model.samples * model.output_vectors,
        }
        buffers = [self._buffers[name].arg() for name in BUFFER_ARGS]
        scalars = [ScalarArg(struct.pack("<I", vectors[name])) for name in SCALAR_ARGS]
        context.launch(self._program, KERNEL_NAME, [*buffers, *scalars])
        seq = context.signal()
        self._running = seq, arrays
        return seq

    def _result(self, timeout_s: float) -> Results:
        if self._running is None:
            raise BadInput("result: nothing was started")
        seq, arrays = self._running
        if not self._context.wait(seq, timeout_s):
            raise RunTimeout(
                f"{self.model.name} on {self._context.info.uri}: no result within {timeout_s} s; "
                "ask again, or give it more time"
            )
        self._running = None
        # read only now: a context that was moved meanwhile holds the results where it is
        output = self._buffers["output"]
        packed = np.frombuffer(self._context.read(output), np.uint8)
        stats = np.frombuffer(self._context.read(self._buffers["stats"]), "<u4")
        self.last_stats = stats[:STATS_WORDS]
        check_stats(stats, self.model)
        self.last_cycles = int(stats[Stat.CYCLES])
        size = self.model.samples * self.model.output_vectors * self.model.npu.vector_bytes
        outputs = unpack_outputs(self.model, packed[:size].reshape(self.model.samples, -1))
        return finish(self.model, arrays, outputs)


def shipped_overlay(model: CompiledModel) -> Overlay:
    """The model's overlay, built on first use: needs the tools of the extra `sim`, which a caller
    who binds the model to a build (`CompiledModel.with_overlay`) does without. Raises
    OverlayRejected."""
    from hal.backends.fpga.overlays import names, overlay

    if model.overlay not in names():
        raise OverlayRejected(
            f"no build of overlay {model.overlay!r} is shipped for target {model.target}, only "
            f"{', '.join(names())}: cpu:0 runs it, with the same bits and no cycles"
        )
    return overlay(model.overlay)
