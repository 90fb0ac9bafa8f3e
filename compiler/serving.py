"""What `hal.serve` finds here: a model, compiled for the NPU, on a device of the hal.

A device that takes overlays is configured with the NPU; one that computes with golden models (the
CPU) gives the same bits without a build. Either may stand behind a proxy. `hal.compilers` names
`open_runner`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from compiler.artifact import CompiledModel, is_image
from compiler.errors import CompileError
from compiler.frontend import load_graph
from compiler.ir import Graph
from compiler.passes import run_passes
from compiler.passes.expose_states import ExposedState, expose_states
from compiler.runtime import GOLDEN, Session, shipped_overlay
from compiler.targets import DEFAULT_TARGET, npu_config
from compiler.targets.npu import compile_graph
from hal import Device
from hal.context import Context
from hal.errors import Unsupported
from hal.registry import open_device
from hal.serving.seam import Outcome, StateSpec, TensorSpec


@dataclass(frozen=True)
class Servable:
    """A model compiled so that what it remembers goes in and comes out."""

    compiled: CompiledModel
    digest: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    states: tuple[ExposedState, ...] = ()
    stateless: str = ""

    @classmethod
    def compile(
        cls, model: bytes | Path, target: str, dims: Mapping[str, int] | None = None
    ) -> Servable:
        """An ONNX model. Raises CompileError."""
        config = npu_config(target)
        graph = load_graph(model, dims)
        exposed, states, stateless = expose_states(graph)
        return cls(
            compile_graph(run_passes(exposed), target, config, 1),
            _digest(graph),
            tuple(TensorSpec(name, graph.shapes[name]) for name in graph.inputs),
            tuple(TensorSpec(name, graph.shapes[name]) for name in graph.outputs),
            states,
            stateless,
        )

    @classmethod
    def image(cls, data: bytes, target: str | None, dims: Mapping[str, int] | None) -> Servable:
        """What `haltere compile --output` wrote. Raises CompileError."""
        compiled = CompiledModel.from_bytes(data)
        if dims or target not in (None, compiled.target):
            raise CompileError(
                f"{compiled.name} is compiled already, for {compiled.target}: target and dims are "
                "of no use; compile the ONNX file anew"
            )
        if compiled.samples != 1:
            raise CompileError(
                f"{compiled.name} computes {compiled.samples} samples a launch, and a call is one: "
                "compile it with one"
            )
        return cls(
            compiled,
            compiled.digest,
            tuple(TensorSpec(spec.name, spec.shape) for spec in compiled.inputs),
            tuple(TensorSpec(name, shape) for name, shape in compiled.result_shapes.items()),
            stateless="a compiled image does not say what its states are; serve the ONNX file",
        )


def servable(model: bytes | Path, target: str | None, dims: Mapping[str, int] | None) -> Servable:
    """An ONNX model or a compiled image, by its first bytes. Raises CompileError."""
    if is_image(model):
        data = model if isinstance(model, bytes) else model.read_bytes()
        return Servable.image(data, target, dims)
    return Servable.compile(model, target or DEFAULT_TARGET, dims)


class NpuRunner:
    """A servable in a context whose device is configured for it; see hal.serving.seam.Runner."""

    def __init__(self, context: Context, model: Servable) -> None:
        self.name, self.digest = model.compiled.name, model.digest
        self.kind, self.device = model.compiled.target, context.info.uri
        self.inputs, self.outputs, self.stateless = model.inputs, model.outputs, model.stateless
        self.states = tuple(StateSpec(s.input, s.initial, s.declared) for s in model.states)
        self._states: tuple[ExposedState, ...] = model.states
        self._session = Session(context, model.compiled)
        self.owned = ExitStack()  # what is closed with this runner
        self.owned.callback(self._session.close)

    def run(self, arrays: Mapping[str, Any], timeout_s: float) -> Outcome:
        """Raises BadInput, RunTimeout, ProgramFault, HalError."""
        if self._session.running:  # for a caller who left: it was late, or interrupted
            self._session.result(timeout_s)
        results = self._session.run(arrays, timeout_s)
        states = {s.input: results[s.output].reshape(s.initial.shape) for s in self._states}
        outputs = {spec.name: np.array(results[spec.name]) for spec in self.outputs}
        return Outcome(outputs, states, self._session.last_cycles or None)

    def close(self) -> None:
        self.owned.close()


def open_runner(
    model: bytes | Path, device: str, target: str | None, dims: Mapping[str, int] | None
) -> NpuRunner:
    """As hal.serving.seam.Compiler. `target`: "npu:sim" if none. Raises CompileError, HalError."""
    made = servable(model, target, dims)
    return run_on(open_device(device), made)


def run_on(device: Device, made: Servable) -> NpuRunner:
    """Configures the device; owns it from then on, also when it raises. Raises Unsupported."""
    with ExitStack() as stack:
        opened = stack.enter_context(device)
        caps = opened.info.caps
        if caps.configurable:
            build = shipped_overlay(made.compiled)
            opened.configure(build)
            made = replace(made, compiled=made.compiled.with_overlay(build.digest))
        elif GOLDEN not in caps.formats:
            raise Unsupported(
                f"{opened.info.uri} runs neither overlays nor golden models, only "
                f"{', '.join(caps.formats) or 'nothing'}: serve on an FPGA or on the CPU"
            )
        runner = NpuRunner(stack.enter_context(opened.open_context()), made)
        stack.push(runner.owned)
        runner.owned = stack.pop_all()
    return runner


def _digest(graph: Graph) -> str:
    """Of the weights alone: the same for every target and every number of steps."""
    hasher = hashlib.blake2b(digest_size=16)
    for name, array in sorted(graph.constants.items()):
        hasher.update(f"{name}{array.shape}".encode())
        hasher.update(array.astype("<f4").tobytes())
    return hasher.hexdigest()
