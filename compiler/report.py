"""How good a compiled model is: accuracy against onnxruntime, layer by layer against float32,
cycles, memory, instructions.

Accuracy comes from the emulator, which equals the hardware in every bit; cycles come from a device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.artifact import CompiledModel
from compiler.concerns import lost_values, lost_weights, snr_gate_db
from compiler.driver import compile_probed
from compiler.emulator import Emulator
from compiler.errors import BadInput, DoesNotFit
from compiler.frontend import load_graph
from compiler.hostside import floats
from compiler.ir import Array
from compiler.profile import LayerProfile, profile
from compiler.reference import interpret
from compiler.runtime import Session
from compiler.targets import npu_config
from hal.context import Context
from rtl_sim.spec.npu import Stat

DEFAULT_SAMPLES = 32  # random inputs, when the caller brings none
MEASURED_SAMPLES = 4  # launches on a device: cycles do not depend on data, bits are compared
MAX_PROBED = 32  # samples that layers are held against float32 on: NumPy, one by one
LABELS = "labels"  # name in a samples file that is no input of the model


@dataclass(frozen=True, slots=True)
class OutputAccuracy:
    """One output of the model, NPU against onnxruntime."""

    name: str
    snr_db: float  # infinite when equal
    max_abs_error: float
    top1_agreement: float  # share of rows whose greatest element is the same
    top1_labels: float | None  # share of samples where the NPU names the label
    top1_labels_reference: float | None  # the same for onnxruntime


@dataclass(frozen=True, slots=True)
class Measured:
    """From a run on a device."""

    device: str
    cycles_per_inference: float  # weights' loading included
    utilization: float  # of the multipliers, padding not counted as work
    equals_emulator: bool  # every bit of every result
    stats: dict[str, int]  # of the last launch


@dataclass(frozen=True, slots=True)
class Report:
    model: str
    target: str
    samples: int
    outputs: tuple[OutputAccuracy, ...]
    instructions: int
    weights_bytes: int
    weights_pinned: bool
    macs: int
    memory: dict[str, tuple[int, int]]  # resource -> used, available
    layers: tuple[LayerProfile, ...]
    measured: Measured | None
    not_measured: str  # the reason, if so
    concerns: tuple[str, ...]  # what the figures alone would hide

    def as_json(self) -> dict[str, Any]:
        """Plain values; an infinite SNR is null. Layers have their shares besides."""
        fields = asdict(self)
        for each in (*fields["outputs"], *fields["layers"]):
            if each["snr_db"] is not None and not np.isfinite(each["snr_db"]):
                each["snr_db"] = None
        config = npu_config(self.target)
        for each, layer in zip(fields["layers"], self.layers, strict=True):
            each["peak_share"] = layer.peak(config)
            each["padded_share"] = layer.padded(config)
            each["bound_share"] = layer.of_bound()
        return fields


def random_samples(compiled: CompiledModel, count: int = DEFAULT_SAMPLES) -> dict[str, Array]:
    """Inputs from a fixed seed."""
    generator = np.random.default_rng(0)
    return {
        spec.name: generator.standard_normal((count, *spec.shape)).astype(np.float32)
        for spec in compiled.inputs
    }


def split_samples(
    compiled: CompiledModel, arrays: Mapping[str, NDArray[Any]]
) -> tuple[dict[str, Array], NDArray[np.int64] | None]:
    """A samples file's inputs, each [count, *shape], and its labels. Raises BadInput."""
    inputs: dict[str, Array] = {}
    for spec in compiled.inputs:
        if spec.name not in arrays:
            raise BadInput(f"the samples lack input {spec.name!r}; they have {sorted(arrays)}")
        array = floats(f"the samples' input {spec.name!r}", arrays[spec.name])
        size = int(np.prod(spec.shape))
        if array.ndim == 0 or array.size == 0 or array[0].size != size:
            raise BadInput(
                f"the samples of input {spec.name!r} have shape {list(array.shape)}; the first "
                f"axis must count samples of {list(spec.shape)}"
            )
        inputs[spec.name] = array.reshape(-1, *spec.shape)
    counts = {len(array) for array in inputs.values()}
    labels = None if LABELS not in arrays else _labels(arrays[LABELS])
    if labels is not None:
        counts.add(labels.size)
    if len(counts) > 1:
        raise BadInput(f"the samples disagree on how many there are: {sorted(counts)}")
    if labels is not None:
        _check_labels(compiled, labels)
    return inputs, labels


def _labels(given: NDArray[Any]) -> NDArray[np.int64]:
    found = np.asarray(given)
    if found.dtype.kind not in "biuf" or not np.array_equal(found, np.round(found)):
        raise BadInput(f"the samples' labels are {found.dtype}; they are numbers of classes")
    return found.astype(np.int64)


def _check_labels(compiled: CompiledModel, labels: NDArray[np.int64]) -> None:
    """Raises BadInput for labels beyond the classes of every output that has some."""
    rows = [shape for shape in compiled.result_shapes.values() if shape]
    classes = max((shape[-1] for shape in rows if prod(shape) == shape[-1] > 1), default=0)
    if classes and not 0 <= labels.min() <= labels.max() < classes:
        raise BadInput(
            f"the samples' labels go from {labels.min()} to {labels.max()}; the model has "
            f"{classes} classes, 0 to {classes - 1}"
        )


def reference_results(model: bytes | Path, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """onnxruntime, sample by sample."""
    import onnxruntime  # heavy, and only this function's

    source = model if isinstance(model, bytes) else str(model)  # by its path, with external data
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    count = len(next(iter(inputs.values())))
    rows = [
        session.run(names, {name: array[index] for name, array in inputs.items()})
        for index in range(count)
    ]
    return {name: np.stack([row[at] for row in rows]) for at, name in enumerate(names)}


def snr_db(expected: Array, actual: Array) -> float:
    """Signal to noise; infinite for equal arrays."""
    noise = float(np.square(expected.astype(np.float64) - actual).sum())
    signal = float(np.square(expected.astype(np.float64)).sum())
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal else float("-inf")


def layer_snr(
    model: bytes | Path,
    compiled: CompiledModel,
    inputs: Mapping[str, Array],
    dims: Mapping[str, int] | None = None,
) -> dict[str, float]:
    """SNR of what each layer ends with, errors of those before it included; empty if the program
    has no room for so many outputs."""
    try:
        probed, graph = compile_probed(model, compiled, dims)
    except DoesNotFit:
        return {}
    first = {name: array[:MAX_PROBED] for name, array in inputs.items()}
    found = Emulator(probed).run_many(first)
    count = len(next(iter(first.values())))
    rows = [
        interpret(graph, {name: array[index] for name, array in first.items()})
        for index in range(count)
    ]
    return {
        name: snr_db(np.stack([row[name] for row in rows]), found[name]) for name in graph.outputs
    }


def measure(
    compiled: CompiledModel,
    context: Context,
    inputs: Mapping[str, Array],
    emulated: Mapping[str, Array],
) -> Measured:
    """Run the first samples on a device that is configured with the model's overlay."""
    launches = -(-MEASURED_SAMPLES // compiled.samples)
    first = {name: array[: launches * compiled.samples] for name, array in inputs.items()}
    count = len(next(iter(first.values())))
    launches = -(-count // compiled.samples)
    with Session(context, compiled) as session:
        results = session.run_many(first)
        assert session.last_cycles is not None and session.last_stats is not None
        cycles = session.last_cycles / (launches * compiled.samples)
        stats = {stat.name.lower(): int(session.last_stats[stat]) for stat in Stat}
    npu = compiled.npu
    return Measured(
        device=context.info.uri,
        cycles_per_inference=cycles,
        utilization=compiled.macs / (cycles * npu.n * npu.lanes * npu.engines),
        equals_emulator=all(
            np.array_equal(array, emulated[name][:count]) for name, array in results.items()
        ),
        stats=stats,
    )


def make_report(
    model: bytes | Path,
    compiled: CompiledModel,
    inputs: Mapping[str, Array] | None = None,
    labels: NDArray[np.int64] | None = None,
    context: Context | None = None,
    not_measured: str = "no device was given",
    dims: Mapping[str, int] | None = None,
) -> Report:
    """Compare, count and (with a context) measure. `dims`: as the model was compiled with."""
    inputs = random_samples(compiled) if inputs is None else inputs
    emulator = Emulator(compiled)
    emulated = emulator.run_many(inputs)
    reference = reference_results(model, inputs)
    measured = None if context is None else measure(compiled, context, inputs, emulated)
    snr = layer_snr(model, compiled, inputs, dims)
    outputs = tuple(
        _accuracy(name, reference[name], emulated[name], labels) for name in compiled.results
    )
    exact = [(f"output {output.name!r}", output.snr_db) for output in outputs]
    return Report(
        model=compiled.name,
        target=compiled.target,
        samples=len(next(iter(inputs.values()))),
        outputs=outputs,
        instructions=compiled.instructions,
        weights_bytes=len(compiled.weights),
        weights_pinned=compiled.pinned,
        macs=compiled.macs,
        memory=dict(compiled.used),
        layers=tuple(replace(layer, snr_db=snr.get(layer.output)) for layer in profile(compiled)),
        measured=measured,
        not_measured="" if measured else not_measured,
        concerns=(
            *lost_weights(load_graph(model, dims)),
            *lost_values(inputs, emulator.saturations, exact, snr_gate_db(compiled.npu)),
        ),
    )


def _accuracy(
    name: str, expected: Array, actual: Array, labels: NDArray[np.int64] | None
) -> OutputAccuracy:
    classes = expected.shape[-1] if expected.ndim > 1 else 1
    ours, theirs = (array.reshape(-1, classes).argmax(axis=1) for array in (actual, expected))
    named: list[float | None] = [None, None]
    if labels is not None and len(ours) == len(labels):
        named = [float((each == labels).mean()) for each in (ours, theirs)]
    return OutputAccuracy(
        name=name,
        snr_db=snr_db(expected, actual),
        max_abs_error=float(np.abs(expected - actual).max()),
        top1_agreement=float((ours == theirs).mean()),
        top1_labels=named[0],
        top1_labels_reference=named[1],
    )
