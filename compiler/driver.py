"""The whole way from a model file to a compiled model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from compiler.artifact import CompiledModel, is_image
from compiler.errors import CompileError
from compiler.frontend import load_graph, read_model, symbols_of
from compiler.ir import Graph
from compiler.passes import run_passes
from compiler.targets import DEFAULT_TARGET, npu_config
from compiler.targets.npu import compile_graph, compile_prepared, prepare

MAX_SAMPLES = 4096  # one launch; more would keep the device busy for long without a result


def compile_onnx(
    model: bytes | Path,
    target: str = DEFAULT_TARGET,
    *,
    dims: Mapping[str, int] | None = None,
    samples: int = 1,
) -> CompiledModel:
    """Compile an ONNX model. Raises the CompileErrors of compiler/errors.py.

    dims     numbers for symbolic dimensions, by symbol (a batch dimension is 1 without one)
    samples  how many inputs one launch computes, weights being loaded once
    """
    config = npu_config(target)
    if not 1 <= samples <= MAX_SAMPLES:
        raise CompileError(f"{samples} samples a launch: 1 to {MAX_SAMPLES} are possible")
    _check_source(model)
    graph = run_passes(load_graph(model, dims))
    return compile_graph(graph, target, config, samples)


def symbols(model: bytes | Path) -> tuple[str, ...]:
    """Dimensions of an ONNX model's inputs that have a name and no number. Raises CompileErrors
    that blame the model."""
    _check_source(model)
    return symbols_of(read_model(model))


def _check_source(model: bytes | Path) -> None:
    if is_image(model):
        what = model.name if isinstance(model, Path) else "the model"
        raise CompileError(
            f"{what} is compiled already (what --output writes): give the ONNX file that it was "
            "made from; hal.serve runs it as it is"
        )


def compile_probed(
    model: bytes | Path, compiled: CompiledModel, dims: Mapping[str, int] | None = None
) -> tuple[CompiledModel, Graph]:
    """The model `compiled` was made from, with what every layer ends with as a further output,
    and the graph of that, to hold them against. Raises DoesNotFit: outputs cost instructions."""
    config = compiled.npu
    graph = run_passes(load_graph(model, dims))
    graph = prepare(graph, compiled.target, config, compiled.samples)
    ends = dict.fromkeys(layer.output for layer in compiled.layers if layer.op != "load")
    made = graph.producers()
    outputs = dict.fromkeys((*graph.outputs, *(name for name in ends if name in made)))
    probed = replace(graph, outputs=tuple(outputs))
    return compile_prepared(probed, compiled.target, config, 1), probed
