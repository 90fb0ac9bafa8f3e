"""A network of LeNet's size fits the default target."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from compiler import Emulator, compile_onnx

MINIMUM_DB = 34  # 37, a product's at 7 mantissa bits, less what five in a row add


def lenet(models: Any) -> bytes:
    """LeNet-5 on images of 28 x 28."""
    node, relu = models.node, "Relu"
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads=[2, 2, 2, 2]),
        node(relu, ["c1"], ["r1"]),
        node("MaxPool", ["r1"], ["p1"], **pool),
        node("Conv", ["p1", "w2", "b2"], ["c2"]),
        node(relu, ["c2"], ["r2"]),
        node("MaxPool", ["r2"], ["p2"], **pool),
        node("Flatten", ["p2"], ["f"]),
        node("Gemm", ["f", "f1", "g1"], ["h1"], transB=1),
        node(relu, ["h1"], ["k1"]),
        node("Gemm", ["k1", "f2", "g2"], ["h2"], transB=1),
        node(relu, ["h2"], ["k2"]),
        node("Gemm", ["k2", "f3", "g3"], ["y"], transB=1),
    ]
    shapes = {
        **{"w1": (6, 1, 5, 5), "b1": (6,), "w2": (16, 6, 5, 5), "b2": (16,)},
        **{"f1": (120, 400), "g1": (120,), "f2": (84, 120), "g2": (84,)},
        **{"f3": (10, 84), "g3": (10,)},
    }
    constants = {
        name: models.weights(seed, *shape, scale=float(np.prod(shape[1:])) ** -0.5 * 1.5)
        for seed, (name, shape) in enumerate(shapes.items())
    }
    return bytes(models.build(nodes, {"x": [1, 1, 28, 28]}, {"y": [1, 10]}, constants))


@pytest.mark.parametrize("target", ["npu:sim", "npu:sim4", "npu:edge"])
def test_lenet_fits_and_is_as_accurate_as_its_mantissas(models, target):
    model = lenet(models)
    x = np.random.default_rng(9).standard_normal((1, 1, 28, 28)).astype(np.float32)
    (exact,) = onnxruntime.InferenceSession(model).run(None, {"x": x})
    found = Emulator(compile_onnx(model, target)).run({"x": x})["y"]
    noise = float(np.square(found - exact).sum())
    assert 10 * np.log10(float(np.square(exact).sum()) / noise) >= MINIMUM_DB
