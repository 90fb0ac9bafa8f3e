"""An ONNX model compiled for the NPU, as a replica runs it: on a device that a lease gave us."""

from __future__ import annotations

import numpy as np

from compiler.artifact import CompiledModel
from compiler.runtime import Session
from hal import Device
from hal.backends.fpga.overlays import overlay
from service.gateway import Answer, Tensors, TensorSpec

FP32 = np.dtype("<f4")


class NpuModel:
    """Configures the device and loads the model; owns the device from then on."""

    platform = "haltere_npu"

    def __init__(self, device: Device, compiled: CompiledModel, timeout_s: float) -> None:
        self._device = device
        self._timeout_s = timeout_s
        device.configure(overlay(compiled.overlay))
        self._context = device.open_context()
        self._session = Session(self._context, compiled)
        self.inputs = tuple(TensorSpec(spec.name, FP32, spec.shape) for spec in compiled.inputs)
        self.outputs = tuple(
            TensorSpec(name, FP32, shape) for name, shape in compiled.result_shapes.items()
        )

    def infer(self, inputs: Tensors) -> Answer:
        results = self._session.run(inputs, self._timeout_s)
        return Answer(
            {spec.name: np.asarray(results[spec.name], FP32) for spec in self.outputs},
            {"cycles": self._session.last_cycles or 0},
        )

    def close(self) -> None:
        self._context.close()
        self._device.close()
