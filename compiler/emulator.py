"""Runs a compiled model on the golden model of the NPU: bit for bit what the hardware computes.

Same interface as `runtime.Session`; needs no device, no overlay and no build. `run_many` runs a
whole stack of samples at once. Cycles are the hardware's affair: `last_cycles` stays None.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from compiler.artifact import CompiledModel
from compiler.errors import BadInput, CompileError, ProgramFault
from compiler.hostside import Inputs, Results, check_inputs, finish, pack_inputs, unpack_outputs
from compiler.ir import Array
from hal.types import Seq
from rtl_sim.model.npu import Npu
from rtl_sim.spec.npu import ISA_VERSION, Op, Stat, Status

MAX_EXECUTED = 1 << 24  # instructions of a launch: minutes
MAX_BATCH = 256  # samples in flight at once; bounds the memory an emulation takes


class Emulator:
    def __init__(self, model: CompiledModel) -> None:
        """Raises CompileError for a program that would run for very long, or for ever."""
        executed = executed_instructions(model.program)
        if executed > MAX_EXECUTED:
            raise CompileError(
                f"{model.name} would execute {executed} instructions a launch; the emulator runs "
                f"at most {MAX_EXECUTED}: use a device, or fewer steps or samples a launch"
            )
        self.model = model
        self.last_cycles: int | None = None
        self.last_stats: NDArray[np.uint32] | None = None
        self.saturations = 0  # vectors with a saturated element, since the beginning
        self._counter = itertools.count(1)
        self._pending: Results | None = None

    def start(self, inputs: Inputs) -> Seq:
        if self._pending is not None:
            raise BadInput("start: the previous inference's result was not taken yet")
        self._pending = self.run(inputs)
        return Seq(next(self._counter))

    def result(self, timeout_s: float = 0.0) -> Results:
        if self._pending is None:
            raise BadInput("result: nothing was started")
        results, self._pending = self._pending, None
        return results

    def run(self, inputs: Inputs) -> Results:
        """One launch. With `samples` > 1 every array has the samples as its first axis."""
        samples = self.model.samples
        arrays = check_inputs(self.model, inputs, None if samples == 1 else samples)
        results = self._launches(arrays)
        return {name: array[0] for name, array in results.items()} if samples == 1 else results

    def run_many(self, inputs: Inputs) -> Results:
        """Any number of independent samples, stacked along a first axis."""
        count = stack_size(inputs)
        arrays = check_inputs(self.model, inputs, count)
        chunk = max(1, MAX_BATCH // self.model.samples) * self.model.samples
        parts = []
        for start in range(0, count, chunk):
            part = {name: array[start : start + chunk] for name, array in arrays.items()}
            real = min(chunk, count - start)
            padded = {name: pad_samples(a, self.model.samples) for name, a in part.items()}
            results = self._launches(padded)
            parts.append({name: array[:real] for name, array in results.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _launches(self, arrays: dict[str, Array]) -> Results:
        """Whole launches only; the golden model runs all of them at once."""
        model = self.model
        packed = pack_inputs(model, arrays)
        batch = len(packed) // model.samples
        npu = Npu(model.npu, batch)
        size = model.samples * model.output_vectors * model.npu.vector_bytes
        done = npu.launch(model.program, model.weights, packed.reshape(batch, -1), size)
        check_stats(done.stats[0], model)
        self.last_stats = done.stats
        self.saturations += int(done.stats[:, Stat.SATURATIONS].sum())
        outputs = unpack_outputs(model, done.outputs.reshape(len(packed), -1))
        return finish(model, arrays, outputs)


def executed_instructions(program: bytes) -> int:
    """How many instructions a launch executes, every loop's turns counted; as the program says,
    whether the NPU takes it or not."""
    total, turns = 0, [1]
    for word in np.frombuffer(program, "<u8").tolist():
        if word & 0xFF == Op.END_LOOP and len(turns) > 1:
            total += turns.pop()
            continue
        total += turns[-1]
        if word & 0xFF == Op.LOOP:
            turns.append(turns[-1] * (word >> 16 & 0xFFFF))
    return total


def stack_size(inputs: Inputs) -> int:
    """How many samples a stack holds. Raises BadInput for none."""
    shape = np.shape(next(iter(inputs.values()), ()))
    if not shape or not shape[0]:
        raise BadInput("a stack of samples needs at least one sample along its first axis")
    return int(shape[0])


def pad_samples(array: Array, samples: int) -> Array:
    """Zeros behind, up to whole launches."""
    missing = -len(array) % samples
    return np.concatenate([array, np.zeros((missing, *array.shape[1:]), np.float32)])


def check_stats(stats: NDArray[np.uint32], model: CompiledModel) -> None:
    """Raises ProgramFault unless a launch's statistics say OK, and that the NPU was the right one:
    a program for another size of vectors may run to its end and compute nonsense."""
    npu = model.npu
    wanted = ISA_VERSION << 24 | npu.lanes << 12 | npu.n
    found = int(stats[Stat.CONFIG])
    if found != wanted:
        raise ProgramFault(
            f"{model.name} is compiled for {model.target} (configuration word {wanted:#010x}); the "
            f"device's NPU says {found:#010x}: configure overlay {model.overlay!r}, or compile anew"
        )
    code, pc = int(stats[Stat.STATUS]) & 0xFF, int(stats[Stat.STATUS]) >> 16
    if code != Status.OK:
        known = Status(code).name if code in set(Status) else f"code {code}"
        raise ProgramFault(
            f"{model.name}: the NPU stopped its program at instruction {pc} with {known}; the "
            "compiled model is damaged or was made for another overlay: compile anew"
        )
