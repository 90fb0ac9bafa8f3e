"""An ONNX model compiled for the NPU, as a replica runs it: on a device that a lease gave us."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compiler.serving import Servable, run_on
from hal import Device
from hal.serving import Model, Session, State
from hal.serving.seam import Runner
from service.tensors import Answer, Tensors, TensorSpec

FP32 = np.dtype("<f4")


class RunnerModel:
    """What `hal.serve` runs, as a replica."""

    withdrawn = ""

    def __init__(self, runner: Runner, platform: str, timeout_s: float) -> None:
        self._model = Model(runner, timeout_s)
        self.platform = platform
        self.inputs = tuple(TensorSpec(spec.name, FP32, spec.shape) for spec in runner.inputs)
        self.outputs = tuple(TensorSpec(spec.name, FP32, spec.shape) for spec in runner.outputs)

    def infer(self, inputs: Tensors) -> Answer:
        return self.answer(self._model, inputs)

    def session(self, state: State | None) -> RunnerSession:
        """Raises Unsupported for a model without states, StateError."""
        return RunnerSession(self, self._model.session(state), {s.name for s in self._model.states})

    def answer(self, call: Callable[[Tensors], Any], inputs: Tensors) -> Answer:
        made = call(inputs)
        named = made if isinstance(made, dict) else {self.outputs[0].name: made}
        outputs = {spec.name: np.asarray(named[spec.name], FP32) for spec in self.outputs}
        cycles = self._model.last_cycles
        return Answer(outputs, {} if cycles is None else {"cycles": cycles})

    def close(self) -> None:
        self._model.close()


class RunnerSession:
    """One of its sessions: what goes in is every input that is no state."""

    def __init__(self, model: RunnerModel, session: Session, states: set[str]) -> None:
        self.model, self._session = model, session
        self.inputs = tuple(spec for spec in model.inputs if spec.name not in states)

    def infer(self, inputs: Tensors) -> Answer:
        return self.model.answer(self._session, inputs)

    def state(self) -> State:
        return self._session.state()


def npu_model(device: Device, model: Servable, timeout_s: float) -> RunnerModel:
    """Configures the device and loads the model; owns the device from then on."""
    return RunnerModel(run_on(device, model), "haltere_npu", timeout_s)
