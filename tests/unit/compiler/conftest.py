"""Small ONNX models, built with onnx.helper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper


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


@pytest.fixture(scope="session")
def models() -> type[Models]:
    return Models
