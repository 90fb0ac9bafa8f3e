"""The host's part of an inference: inputs to native vectors, native vectors to results.

Shared by every way to run a compiled model, so that they differ in the device only.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from compiler.artifact import CompiledModel, TensorSpec, spec_vectors
from compiler.errors import BadInput
from compiler.ir import Array
from compiler.reference import evaluate
from rtl_sim.model.npu_formats import pack_vector, unpack_vector

Inputs = Mapping[str, ArrayLike]
Results = dict[str, Array]


def check_inputs(model: CompiledModel, inputs: Inputs, count: int | None) -> dict[str, Array]:
    """Inputs as float32 [count, *shape]; `count` None: one sample without that axis, [1, *shape].
    Raises BadInput."""
    names = {spec.name for spec in model.inputs}
    if set(inputs) != names:
        raise BadInput(f"{model.name} takes inputs {sorted(names)}, not {sorted(inputs)}")
    arrays: dict[str, Array] = {}
    for spec in model.inputs:
        array = floats(f"input {spec.name!r}", inputs[spec.name])
        wanted = spec.shape if count is None else (count, *spec.shape)
        if array.shape != wanted:
            raise BadInput(f"input {spec.name!r} has shape {list(array.shape)}, not {list(wanted)}")
        if not np.isfinite(array).all():
            raise BadInput(f"input {spec.name!r} holds NaN or infinite elements")
        arrays[spec.name] = array[None] if count is None else array
    return arrays


def floats(what: str, given: ArrayLike) -> Array:
    """As float32. Raises BadInput for what is no array of real numbers."""
    if given is None:  # NumPy's NaN
        raise BadInput(f"{what} is None, not an array of numbers")
    try:
        array = np.asarray(given)
        if np.iscomplexobj(array):
            raise BadInput(f"{what} is {array.dtype}, not real numbers")
        with np.errstate(over="ignore"):  # infinite, which whoever asks refuses
            return array.astype(np.float32, copy=False)
    except (ValueError, TypeError) as error:
        raise BadInput(f"{what} is no array of numbers: {error}") from error


def pack_inputs(model: CompiledModel, arrays: Mapping[str, Array]) -> NDArray[np.uint8]:
    """The input buffer's contents, [samples, bytes]."""
    config = model.npu
    count = len(next(iter(arrays.values())))
    packed = np.zeros((count, model.input_vectors * config.vector_bytes), np.uint8)
    fed = _moved(model, arrays)
    for spec in model.fed:
        start, end = _span(model, spec)
        data = pack_vector(config, fed[spec.name].reshape(-1, spec.segment))
        packed[:, start:end] = np.frombuffer(data, np.uint8).reshape(count, -1)
    return packed


def _moved(model: CompiledModel, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The inputs and what the host makes of them before the device, [samples, ...]."""
    values = dict(arrays)
    for node in model.before:
        stack = [evaluate(node, {node.inputs[0]: each}) for each in values[node.inputs[0]]]
        values[node.outputs[0]] = np.stack([each[node.outputs[0]] for each in stack])
    return values


def unpack_outputs(model: CompiledModel, packed: NDArray[np.uint8]) -> dict[str, Array]:
    """The device's outputs, each [samples, *shape]."""
    arrays: dict[str, Array] = {}
    for spec in model.outputs:
        start, end = _span(model, spec)
        data = np.ascontiguousarray(packed[:, start:end]).tobytes()
        values = unpack_vector(model.npu, data, spec.segment)
        arrays[spec.name] = values.astype(np.float32).reshape(-1, *spec.shape)
    return arrays


def finish(
    model: CompiledModel, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
) -> Results:
    """Run the host's operators sample by sample; the model's results, each [samples, *shape]."""
    count = len(next(iter(outputs.values())))
    rows = []
    for index in range(count):
        values = {name: array[index] for name, array in (*inputs.items(), *outputs.items())}
        for node in (*model.before, *model.host):
            values |= evaluate(node, values)
        rows.append([values[name] for name in model.results])
    return {
        name: np.stack([row[position] for row in rows])
        for position, name in enumerate(model.results)
    }


def _span(model: CompiledModel, spec: TensorSpec) -> tuple[int, int]:
    size = model.npu.vector_bytes
    start = spec.offset * size
    assert prod(spec.shape) % spec.segment == 0
    return start, start + spec_vectors(spec, model.npu.n) * size
