"""Compiled models on the fabric: as emulated, as long as predicted, and by the halting law.

Halted at random cycles and gone on in a fresh fabric, an inference takes the same cycles and gives
the same bits: the plugin in hal/testing halts and compares.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler import CompiledModel, Emulator, compile_onnx
from compiler.profile import profile
from compiler.runtime import Session


def floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def cnn(models: Any) -> bytes:
    """Window, borders, pool: what fits on the smallest NPU."""
    nodes = [
        models.node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 0, 0]),
        models.node("Relu", ["c"], ["r"]),
        models.node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2]),
        models.node("Flatten", ["p"], ["f"]),
        models.node("Gemm", ["f", "wo"], ["y"], transB=1),
    ]
    constants = {
        "w": models.weights(1, 4, 16, 2, 2, scale=0.2),
        "b": models.weights(2, 4),
        "wo": models.weights(3, 5, 16, scale=0.2),
    }
    return models.build(nodes, {"x": [1, 16, 3, 3]}, {"y": [1, 5]}, constants)


def compiled_net(models: Any, net: str) -> CompiledModel:
    model = {
        "lstm": lambda: models.lstm(8, 16, 4),
        "gru": lambda: models.recurrent("GRU", 8, 16, 4, linear_before_reset=1),
        "gru, reset first": lambda: models.recurrent("GRU", 8, 16, 3),
        "rnn of two tiles": lambda: models.recurrent("RNN", 8, 20, 3),
        "cnn": lambda: cnn(models),
        "spilled mlp": lambda: models.mlp(100, 70, 10),
    }[net]()
    return compile_onnx(model, "npu:nano")


@pytest.mark.haltable(cycles=600, moves=3, runs=2)
@pytest.mark.parametrize("net", ["lstm", "gru", "cnn"])
def test_a_halted_inference_goes_on_elsewhere_bit_for_bit(fpga_sim, models, net):
    compiled = compiled_net(models, net)
    x = {spec.name: floats(3, *spec.shape) for spec in compiled.inputs}
    expected = Emulator(compiled).run(x)
    with Session(fpga_sim.overlay("npu-nano"), compiled) as session:
        found = session.run(x)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    "net", ["lstm", "gru", "gru, reset first", "rnn of two tiles", "cnn", "spilled mlp"]
)
def test_the_fabric_gives_the_bits_of_the_emulator_in_the_cycles_that_were_predicted(
    fpga_sim, models, net
):
    compiled = compiled_net(models, net)
    with Session(fpga_sim.overlay("npu-nano"), compiled) as session:
        for seed in range(2):
            x = {spec.name: floats(seed, *spec.shape) for spec in compiled.inputs}
            found, expected = session.run(x), Emulator(compiled).run(x)
            for name, array in expected.items():
                np.testing.assert_array_equal(found[name], array)
        predicted = sum(layer.cycles for layer in profile(compiled))
        assert session.last_cycles == pytest.approx(predicted, rel=0.02)
