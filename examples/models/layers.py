"""Layers of neural nets in NumPy: forward, backward, and as ONNX nodes.

A layer holds its parameters in `weights` and, after `backward`, their slopes in `slopes`. Batches
come first: images are [batch, channels, height, width], sequences [batch, steps, features]. In ONNX
a sequence is [steps, batch, features].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

Array = np.ndarray[Any, Any]


@dataclass
class OnnxGraph:
    """Nodes and constants of a model under construction."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def node(self, op: str, inputs: list[str], outputs: list[str], **attrs: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, outputs, name=f"{op.lower()}", **attrs))
        self.nodes[-1].name = f"{op.lower()}{len(self.nodes)}"
        return next(name for name in outputs if name)

    def constant(self, name: str, array: Array) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name


class Layer:
    def __init__(self, **weights: Array) -> None:
        self.weights = {name: array.astype(np.float32) for name, array in weights.items()}
        self.slopes: dict[str, Array] = {}

    def forward(self, x: Array) -> Array:
        raise NotImplementedError

    def backward(self, dy: Array) -> Array:
        """Slopes of the loss: of the weights kept, of x returned."""
        raise NotImplementedError

    def to_onnx(self, graph: OnnxGraph, source: str, name: str) -> str:
        """Add this layer's nodes behind the value `source`; the name of what they make."""
        raise NotImplementedError


def glorot(rng: np.random.Generator, *shape: int, fan_in: int, fan_out: int) -> Array:
    bound = np.sqrt(6 / (fan_in + fan_out))
    return rng.uniform(-bound, bound, shape)


def sigmoid(x: Array) -> Array:
    return 0.5 * (np.tanh(0.5 * x) + 1)


class Dense(Layer):
    def __init__(self, rng: np.random.Generator, inputs: int, outputs: int) -> None:
        w = glorot(rng, outputs, inputs, fan_in=inputs, fan_out=outputs)
        super().__init__(w=w, b=np.zeros(outputs))

    def forward(self, x: Array) -> Array:
        self._x = x
        return x @ self.weights["w"].T + self.weights["b"]

    def backward(self, dy: Array) -> Array:
        self.slopes = {"w": dy.T @ self._x, "b": dy.sum(0)}
        return dy @ self.weights["w"]

    def to_onnx(self, graph: OnnxGraph, source: str, name: str) -> str:
        constants = [graph.constant(f"{name}.{key}", self.weights[key]) for key in ("w", "b")]
        return graph.node("Gemm", [source, *constants], [f"{name}.y"], transB=1)


class Relu(Layer):
    def forward(self, x: Array) -> Array:
        self._on = x > 0
        return x * self._on

    def backward(self, dy: Array) -> Array:
        return dy * self._on

    def to_onnx(self, graph: OnnxGraph, source: str, name: str) -> str:
        return graph.node("Relu", [source], [f"{name}.y"])


class Flatten(Layer):
    def forward(self, x: Array) -> Array:
        self._shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, dy: Array) -> Array:
        return dy.reshape(self._shape)

    def to_onnx(self, graph: OnnxGraph, source: str, name: str) -> str:
        return graph.node("Flatten", [source], [f"{name}.y"], axis=1)


class Conv(Layer):
    """3 x 3, the image's border padded by zeros so that its size stays."""

    def __init__(self, rng: np.random.Generator, inputs: int, outputs: int) -> None:
        w = glorot(rng, outputs, inputs, 3, 3, fan_in=9 * inputs, fan_out=9 * outputs)
        super().__init__(w=w, b=np.zeros(outputs))

    def forward(self, x: Array) -> Array:
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        self._windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        y = np.tensordot(self._windows, self.weights["w"], axes=((1, 4, 5), (1, 2, 3)))
        return y.transpose(0, 3, 1, 2) + self.weights["b"][:, None, None]

    def backward(self, dy: Array) -> Array:
        w = np.tensordot(dy, self._windows, axes=((0, 2, 3), (0, 2, 3)))
        self.slopes = {"w": w, "b": dy.sum((0, 2, 3))}
        padded = np.pad(dy, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        turned = self.weights["w"][:, :, ::-1, ::-1]
        dx = np.tensordot(windows, turned, axes=((1, 4, 5), (0, 2, 3)))
        return dx.transpose(0, 3, 1, 2)

    def to_onnx(self, graph: OnnxGraph, source: str, name: str) -> str:
        constants = [graph.constant(f"{name}.{key}", self.weights[key]) for key in ("w", "b")]
        return graph.node(
            "Conv", [source, *constants], [f"{name}.y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]
        )


class MaxPool(Layer):
    """2 x 2, side by side."""

    def forward(self, x: Array) -> Array:
        batch, channels, height, width = x.shape
        tiles = x.reshape(batch, channels, height // 2, 2, width // 2, 2)
        self._tiles = tiles.transpose(0, 1, 2, 4, 3, 5).reshape(*tiles.shape[:3], width // 2, 4)
        self._best = self._tiles.argmax(-1)
        return self._tiles.max(-1)

    def backward(self, dy: Array) -> Array:
        tiles = np.zeros_like(self._tiles)
        np.put_along_axis(tiles, self._best[..., None], dy[..., None], -1)
        batch, channels, height, width = dy.shape
        tiles = tiles.reshape(batch, channels, height, width, 2, 2).transpose(0, 1, 2, 4, 3, 5)
        return tiles.reshape(batch, channels, 2 * height, 2 * width)

    def to_onnx(self, graph: OnnxGraph, source: str, name: str) -> str:
        return graph.node("MaxPool", [source], [f"{name}.y"], kernel_shape=[2, 2], strides=[2, 2])
