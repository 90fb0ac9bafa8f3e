"""Every operator and way to combine them, compiled for the NPU, against onnxruntime.

The golden model runs the programs. Element-wise operators are exact up to binary16's rounding;
products are bounded by the block floating point of 7 mantissa bits: SNR >= 6 * 7 - 5 dB.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from compiler import Emulator, compile_onnx

MIN_SNR_DB = 37.0
ROUNDING = {"rtol": 2e-3, "atol": 1e-3}  # two roundings to binary16, and the table of tanh
SAMPLES = 8
TARGETS = ["npu:nano", "npu:sim"]


def floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def snr_db(expected: np.ndarray, actual: np.ndarray) -> float:
    noise = np.square(expected - actual).sum()
    return float("inf") if noise == 0 else float(10 * np.log10(np.square(expected).sum() / noise))


def both(
    models: Any, model: bytes, target: str, shapes: dict[str, tuple[int, ...]]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(expected, actual) for some samples, stacked."""
    inputs = {
        name: floats(index, SAMPLES, *shape) for index, (name, shape) in enumerate(shapes.items())
    }
    actual = Emulator(compile_onnx(model, target)).run_many(inputs)
    rows = [
        models.expected(model, {name: array[index] for name, array in inputs.items()})
        for index in range(SAMPLES)
    ]
    expected = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    for name in expected:
        assert actual[name].shape == expected[name].shape
        assert actual[name].dtype == np.float32
    return expected, actual


def check(models: Any, model: bytes, target: str, shapes: dict[str, tuple[int, ...]]) -> None:
    expected, actual = both(models, model, target, shapes)
    for name in expected:
        assert snr_db(expected[name], actual[name]) >= MIN_SNR_DB, name


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("op", ["Relu", "Sigmoid", "Tanh"])
@pytest.mark.parametrize("shape", [(1, 5), (3, 20), (2, 1, 16), (7,)])
def test_an_activation_alone(models, target, op, shape):
    model = models.build([models.node(op, ["x"], ["y"])], {"x": shape}, {"y": shape})
    expected, actual = both(models, model, target, {"x": shape})
    np.testing.assert_allclose(actual["y"], expected["y"], **ROUNDING)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Max"])
@pytest.mark.parametrize("constant", [(3, 20), (20,), (1, 20), (1,), (3, 1)])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_binary_operator_with_a_constant(models, target, op, constant, swapped):
    names = ["c", "x"] if swapped else ["x", "c"]
    model = models.build(
        [models.node(op, names, ["y"])], {"x": [3, 20]}, {"y": [3, 20]}, {"c": floats(9, *constant)}
    )
    expected, actual = both(models, model, target, {"x": (3, 20)})
    np.testing.assert_allclose(actual["y"], expected["y"], **ROUNDING)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Max"])
def test_a_binary_operator_on_two_inputs(models, op):
    shape = (3, 20)
    model = models.build(
        [models.node(op, ["a", "b"], ["y"])], {"a": shape, "b": shape}, {"y": shape}
    )
    expected, actual = both(models, model, "npu:nano", {"a": shape, "b": shape})
    np.testing.assert_allclose(actual["y"], expected["y"], **ROUNDING)


def test_an_input_combined_with_itself(models):
    nodes = [
        models.node("Reshape", ["x", "shape"], ["v"]),
        models.node("Mul", ["v", "v"], ["s"]),
        models.node("Add", ["s", "s"], ["d"]),
        models.node("Sub", ["v", "d"], ["y"]),
    ]
    model = models.build(nodes, {"x": [20]}, {"y": [1, 20]}, {"shape": np.array([1, 20], np.int64)})
    expected, actual = both(models, model, "npu:nano", {"x": (20,)})
    np.testing.assert_allclose(actual["y"], expected["y"], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
@pytest.mark.parametrize(("rows", "fan_in", "fan_out"), [(1, 16, 16), (1, 5, 40), (3, 40, 7)])
def test_a_product_alone(models, target, op, rows, fan_in, fan_out):
    model = models.build(
        [models.node(op, ["x", "w"], ["y"])],
        {"x": [rows, fan_in]},
        {"y": [rows, fan_out]},
        {"w": models.weights(4, fan_in, fan_out)},
    )
    check(models, model, target, {"x": (rows, fan_in)})


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize(("features", "hidden"), [(8, 16), (3, 10), (20, 12)])
@pytest.mark.parametrize("states", [False, True])
def test_an_lstm_alone(models, target, steps, features, hidden, states):
    shapes: dict[str, tuple[int, ...]] = {"x": (steps, 1, features)}
    if states:
        shapes |= {"h0": (1, 1, hidden), "c0": (1, 1, hidden)}
    check(models, models.lstm(features, hidden, steps, states=states), target, shapes)


def test_an_lstm_of_several_tiles_a_gate(models):
    check(models, models.lstm(40, 50, 6), "npu:sim", {"x": (6, 1, 40)})


@pytest.mark.parametrize("outputs", [("y",), ("y_h",), ("y_c",), ("y", "y_c")])
def test_an_lstm_that_is_asked_for_some_outputs(models, outputs):
    check(models, models.lstm(8, 16, 4, outputs=outputs), "npu:nano", {"x": (4, 1, 8)})


def test_an_lstm_with_constant_initial_states(models):
    proto = models.proto(models.lstm(8, 16, 4, states=True))
    for index, name in ((2, "c0"), (1, "h0")):
        del proto.graph.input[index]
        proto.graph.initializer.append(numpy_helper.from_array(floats(5, 1, 1, 16), name))
    check(models, proto.SerializeToString(), "npu:nano", {"x": (4, 1, 8)})


@pytest.mark.parametrize(
    ("target", "sizes"),
    [
        ("npu:nano", (64, 32, 10)),
        ("npu:nano", (64, 64, 32, 10)),
        ("npu:sim", (64, 32, 10)),
        ("npu:sim", (64, 64, 32, 10)),
        ("npu:sim", (100, 70, 3)),
    ],
)
def test_an_mlp(models, target, sizes):
    check(models, models.mlp(*sizes), target, {"x": (1, sizes[0])})


def test_an_lstm_classifier(models):
    check(models, models.lstm(8, 32, 8, classes=10), "npu:sim", {"x": (8, 1, 8)})


def test_an_image_read_row_by_row(models):
    """[1, 64] relabelled as a sequence of 8 rows: the host packs the input as the LSTM reads it;
    a second reader takes the image whole."""
    proto = models.proto(models.lstm(8, 16, 8, outputs=("y_h",)))
    lstm = proto.graph.node[0]
    lstm.input[0] = "rows"
    nodes = [
        models.node("Reshape", ["x", "shape"], ["rows"]),
        lstm,
        models.node("Gemm", ["x", "skip"], ["s"]),
        models.node("Squeeze", ["y_h", "axis"], ["h"]),
        models.node("Add", ["h", "s"], ["y"]),
    ]
    constants = {
        "shape": np.array([8, 1, 8], np.int64),
        "axis": np.array([0], np.int64),
        "w": models.weights(3, 1, 64, 8),
        "r": models.weights(4, 1, 64, 16),
        "b": models.weights(5, 1, 128),
        "skip": models.weights(6, 64, 16),
    }
    model = models.build(nodes, {"x": [1, 64]}, {"y": [1, 16]}, constants)
    check(models, model, "npu:sim", {"x": (1, 64)})


def test_all_steps_of_an_lstm_at_once_and_one_by_one(models):
    """Y flattened into one Gemm, and a product of every step: one of 12 hidden units, so that
    rows are padded in the middle."""
    nodes = [
        models.node("LSTM", ["x", "w", "r", "b"], ["y"], hidden_size=12),
        models.node("Squeeze", ["y", "axis"], ["seq"]),
        models.node("MatMul", ["seq", "each"], ["steps"]),
        models.node("Reshape", ["seq", "flat"], ["all"]),
        models.node("Gemm", ["all", "whole", "bias"], ["z"]),
        models.node("Tanh", ["z"], ["out"]),
    ]
    constants = {
        "w": models.weights(3, 1, 48, 8),
        "r": models.weights(4, 1, 48, 12),
        "b": models.weights(5, 1, 96),
        "axis": np.array([1], np.int64),
        "flat": np.array([1, -1], np.int64),
        "each": models.weights(6, 12, 5),
        "whole": models.weights(7, 48, 20),
        "bias": models.weights(8, 20),
    }
    model = models.build(nodes, {"x": [4, 1, 8]}, {"steps": [4, 1, 5], "out": [1, 20]}, constants)
    for target in TARGETS:
        check(models, model, target, {"x": (4, 1, 8)})


def test_two_lstms_one_above_the_other(models):
    nodes = [
        models.node("LSTM", ["x", "w0", "r0"], ["y0"], hidden_size=12),
        models.node("Squeeze", ["y0", "axis"], ["s0"]),
        models.node("LSTM", ["s0", "w1", "r1"], ["", "y_h", "y_c"], hidden_size=10),
    ]
    constants = {
        "axis": np.array([1], np.int64),
        "w0": models.weights(3, 1, 48, 8),
        "r0": models.weights(4, 1, 48, 12),
        "w1": models.weights(5, 1, 40, 12),
        "r1": models.weights(6, 1, 40, 10),
    }
    model = models.build(nodes, {"x": [5, 1, 8]}, {"y_h": [1, 1, 10], "y_c": [1, 1, 10]}, constants)
    check(models, model, "npu:sim", {"x": (5, 1, 8)})


def test_values_with_several_readers_are_written_on_the_way(models):
    """A residual block: z is read by the activation, by the sum and by the caller."""
    nodes = [
        models.node("Gemm", ["x", "w"], ["z"]),
        models.node("Relu", ["z"], ["a"]),
        models.node("Gemm", ["a", "v"], ["b"]),
        models.node("Add", ["b", "z"], ["c"]),
        models.node("Sub", ["a", "c"], ["y"]),
    ]
    constants = {"w": models.weights(1, 20, 20), "v": models.weights(2, 20, 20)}
    shape = [2, 20]
    model = models.build(nodes, {"x": shape}, {"y": shape, "z": shape, "a": shape}, constants)
    check(models, model, "npu:nano", {"x": (2, 20)})


_UNARY = st.sampled_from(["Relu", "Sigmoid", "Tanh"])
_LAYER = st.tuples(st.integers(1, 40), st.booleans(), st.lists(_UNARY, max_size=2), st.booleans())


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    rows=st.integers(1, 3),
    features=st.integers(1, 40),
    layers=st.lists(_LAYER, min_size=1, max_size=3),
)
def test_any_small_mlp_is_as_accurate_as_its_mantissas(models, rows, features, layers):
    """Layers of any width, with or without bias, activations and a skip connection."""
    nodes, constants, name, width = [], {}, "x", features
    for index, (fan_out, has_bias, activations, skip) in enumerate(layers):
        constants[f"w{index}"] = models.weights(index, fan_out, width)
        names = [name, f"w{index}"]
        if has_bias:
            constants[f"b{index}"] = models.weights(index + 9, fan_out)
            names.append(f"b{index}")
        nodes.append(models.node("Gemm", names, [f"z{index}"], transB=1))
        before, name = name, f"z{index}"
        for position, op in enumerate(activations):
            nodes.append(models.node(op, [name], [f"a{index}.{position}"]))
            name = f"a{index}.{position}"
        if skip and width == fan_out:
            nodes.append(models.node("Add", [name, before], [f"s{index}"]))
            name = f"s{index}"
        width = fan_out
    nodes.append(models.node("Identity", [name], ["y"]))
    model = models.build(nodes, {"x": [rows, features]}, {"y": [rows, width]}, constants)
    expected, actual = both(models, model, "npu:sim", {"x": (rows, features)})
    # few elements, and sums that cancel: relative to the greatest element instead of the power
    scale = max(1.0, float(np.abs(expected["y"]).max()))
    np.testing.assert_allclose(actual["y"], expected["y"], atol=0.03 * scale)
