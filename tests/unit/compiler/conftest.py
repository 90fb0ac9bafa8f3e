"""Small ONNX models, built with onnx.helper, and a device that computes with the golden model."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from hal.context import Context
from hal.driver import DriverContext
from hal.types import (
    Arg,
    BufferArg,
    Caps,
    DeviceInfo,
    Grid,
    Handle,
    ProgramImage,
    ScalarArg,
    Seq,
    Usage,
)
from rtl_sim.model.npu import Npu
from rtl_sim.spec.npu import CONFIGS, INSTRUCTION_BYTES, STATS_BYTES, Stat

CYCLES = 123  # what the golden device says a launch took


class Models:
    """Builders of serialized models; weights come from a seed."""

    @staticmethod
    def build(
        nodes: Sequence[Any],
        inputs: Mapping[str, Sequence[int | str | None]],
        outputs: Mapping[str, Sequence[int | str | None]],
        constants: Mapping[str, np.ndarray] | None = None,
        opset: int = 17,
    ) -> bytes:
        graph = helper.make_graph(
            list(nodes),
            "test",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
            [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = 8
        return bytes(model.SerializeToString())

    @staticmethod
    def weights(seed: int, *shape: int, scale: float | None = None) -> np.ndarray:
        generator = np.random.default_rng(seed)
        bound = scale if scale is not None else shape[-1] ** -0.5
        return generator.uniform(-bound, bound, shape).astype(np.float32)

    @classmethod
    def mlp(
        cls, *sizes: int, softmax: bool = True, seed: int = 1, activation: str = "Relu"
    ) -> bytes:
        nodes, constants, name = [], {}, "x"
        for index, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            constants[f"w{index}"] = cls.weights(seed + index, fan_out, fan_in)
            constants[f"b{index}"] = cls.weights(seed + 50 + index, fan_out, scale=0.2)
            nodes.append(
                helper.make_node("Gemm", [name, f"w{index}", f"b{index}"], [f"z{index}"], transB=1)
            )
            name = f"z{index}"
            if index < len(sizes) - 2:
                nodes.append(helper.make_node(activation, [name], [f"a{index}"]))
                name = f"a{index}"
        nodes.append(
            helper.make_node("Softmax", [name], ["y"], axis=1)
            if softmax
            else helper.make_node("Identity", [name], ["y"])
        )
        return cls.build(nodes, {"x": ["batch", sizes[0]]}, {"y": ["batch", sizes[-1]]}, constants)

    @classmethod
    def lstm(
        cls,
        features: int,
        hidden: int,
        steps: int,
        *,
        classes: int | None = None,
        states: bool = False,
        outputs: Sequence[str] = ("y", "y_h", "y_c"),
        seed: int = 3,
        **attrs: Any,
    ) -> bytes:
        constants = {
            "w": cls.weights(seed, 1, 4 * hidden, features),
            "r": cls.weights(seed + 1, 1, 4 * hidden, hidden),
            "b": cls.weights(seed + 2, 1, 8 * hidden, scale=0.2),
        }
        names = ["x", "w", "r", "b"] + (["", "h0", "c0"] if states else [])
        made = [name if name in outputs else "" for name in ("y", "y_h", "y_c")]
        if classes is not None:
            made[1] = "y_h"
        while not made[-1]:
            made.pop()
        nodes = [helper.make_node("LSTM", names, made, hidden_size=hidden, **attrs)]
        inputs: dict[str, Sequence[int]] = {"x": [steps, 1, features]}
        if states:
            inputs |= {"h0": [1, 1, hidden], "c0": [1, 1, hidden]}
        shapes = {"y": [steps, 1, 1, hidden], "y_h": [1, 1, hidden], "y_c": [1, 1, hidden]}
        results = {name: shapes[name] for name in outputs}
        if classes is not None:
            constants["axes"] = np.array([0], np.int64)
            constants["wo"] = cls.weights(seed + 3, classes, hidden)
            constants["bo"] = cls.weights(seed + 4, classes, scale=0.2)
            nodes += [
                helper.make_node("Squeeze", ["y_h", "axes"], ["last"]),
                helper.make_node("Gemm", ["last", "wo", "bo"], ["logits"], transB=1),
                helper.make_node("Softmax", ["logits"], ["p"], axis=1),
            ]
            results = {"p": [1, classes]}
        return cls.build(nodes, inputs, results, constants)

    @classmethod
    def recurrent(
        cls,
        op: str,
        features: int,
        hidden: int,
        steps: int,
        *,
        states: bool = False,
        bias: bool = True,
        seed: int = 3,
        **attrs: Any,
    ) -> bytes:
        """One RNN, GRU or LSTM layer with all its outputs."""
        gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[op]
        constants = {
            "w": cls.weights(seed, 1, gates * hidden, features),
            "r": cls.weights(seed + 1, 1, gates * hidden, hidden),
        }
        if bias:
            constants["b"] = cls.weights(seed + 2, 1, 2 * gates * hidden, scale=0.2)
        kept = ["h", "c"] if op == "LSTM" else ["h"]
        inputs: dict[str, Sequence[int]] = {"x": [steps, 1, features]}
        if states:
            inputs |= {f"{state}0": [1, 1, hidden] for state in kept}
        results: dict[str, Sequence[int]] = {"y": [steps, 1, 1, hidden]}
        results |= {f"y_{state}": [1, 1, hidden] for state in kept}
        names = ["x", "w", "r", "b" if bias else "", ""]
        names += [f"{state}0" for state in kept] if states else []
        attrs = {"hidden_size": hidden} | attrs
        return cls.build(
            [helper.make_node(op, names, list(results), **attrs)], inputs, results, constants
        )

    @staticmethod
    def expected(model: bytes, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What onnxruntime says."""
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    @staticmethod
    def node(*args: Any, **kwargs: Any) -> Any:
        return helper.make_node(*args, **kwargs)

    @staticmethod
    def proto(model: bytes) -> Any:
        return onnx.ModelProto.FromString(model)


class GoldenContext(DriverContext):
    """Launches run on the golden model as soon as they are enqueued; `stuck` ones never end."""

    def __init__(self, config: str) -> None:
        self.config = CONFIGS[config]
        self.npu = Npu(self.config)
        self.buffers: dict[Handle, bytearray] = {}
        self.writes: list[int] = []
        self.images: list[ProgramImage] = []
        self.stuck = False
        self._handles = itertools.count(1)

    def alloc(self, nbytes: int, usage: Usage) -> Handle:
        handle = Handle(next(self._handles))
        self.buffers[handle] = bytearray(nbytes)
        return handle

    def free(self, buffer: Handle) -> None:
        del self.buffers[buffer]

    def load(self, image: ProgramImage) -> Handle:
        self.images.append(image)
        return Handle(next(self._handles))

    def unload(self, program: Handle) -> None:
        self.images.pop()

    def write(self, buffer: Handle, offset: int, data: memoryview) -> None:
        self.writes.append(data.nbytes)
        self.buffers[buffer][offset : offset + data.nbytes] = data

    def read(self, buffer: Handle, offset: int, into: memoryview) -> None:
        into[:] = self.buffers[buffer][offset : offset + into.nbytes]

    def copy(self, source: Handle, so: int, target: Handle, to: int, nbytes: int) -> None:
        raise NotImplementedError

    def launch(self, program: Handle, entry: str, args: Sequence[Arg], grid: Grid) -> None:
        assert entry == "npu"
        handles = [arg.buffer for arg in args if isinstance(arg, BufferArg)]
        counts = [struct.unpack("<I", arg.data)[0] for arg in args if isinstance(arg, ScalarArg)]
        program_b, weights, inputs, output, stats = handles
        n_instr, n_weights, n_input, n_output = counts
        vector = self.config.vector_bytes
        done = self.npu.launch(
            bytes(self.buffers[program_b][: n_instr * INSTRUCTION_BYTES]),
            bytes(self.buffers[weights][: n_weights * vector]),
            bytes(self.buffers[inputs][: n_input * vector]),
            n_output * vector,
        )
        self.buffers[output][: n_output * vector] = done.output
        words = done.stats[0].astype("<u4")
        words[Stat.CYCLES] = CYCLES
        self.buffers[stats][:STATS_BYTES] = words.tobytes()

    def signal(self, seq: Seq) -> None: ...

    def wait(self, seq: Seq, timeout_s: float) -> bool:
        return not self.stuck

    def halt(self, timeout_s: float) -> bool:
        return True

    def close(self) -> None:
        self.buffers.clear()


def _golden(config: str) -> tuple[GoldenContext, Context]:
    driver = GoldenContext(config)
    caps = Caps(formats=("overlay",), memory_bytes=2**20, max_buffer_bytes=2**20)
    return driver, Context(driver, DeviceInfo("golden:0", "golden", "npu", caps))


class Golden:
    """Called with a configuration's name: (driver, context) of a device of that kind."""

    CYCLES = CYCLES
    __call__ = staticmethod(_golden)


@pytest.fixture(scope="session")
def golden() -> Golden:
    return Golden()


@pytest.fixture(scope="session")
def models() -> type[Models]:
    return Models
