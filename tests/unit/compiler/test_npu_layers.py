"""Whole layers on every configuration that simulates: recurrent ones, convolutions, pools.

The golden model runs the programs, onnxruntime says what they mean. Bounds as in
test_npu_operators.py.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler import CompiledModel, Emulator, compile_onnx
from compiler.errors import DoesNotFit, UnsupportedOp
from compiler.frontend import load_graph
from compiler.ir import verify
from compiler.passes import run_passes
from compiler.passes.fold_lines import fold_lines
from compiler.passes.gather_first import gather_first
from compiler.profile import launch_cycles
from compiler.reference import interpret
from compiler.targets.npu import compile_prepared
from rtl_sim.spec.npu import CONFIGS

TARGETS = ["npu:nano", "npu:sim", "npu:sim4", "npu:edge"]
MIN_SNR_DB = 37.0
SMALL_SNR_DB = 28.0  # few and small elements, or layers on layers; a wrong element costs more
SAMPLES = 4


def floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def snr_db(expected: np.ndarray, actual: np.ndarray) -> float:
    noise = np.square(expected - actual).sum()
    return float("inf") if noise == 0 else float(10 * np.log10(np.square(expected).sum() / noise))


def check(
    models: Any, model: bytes, target: str, least_db: float = MIN_SNR_DB, **options: Any
) -> CompiledModel:
    """What the compiler makes of the model, after every form that it chose from was held against
    onnxruntime: images by pixels, the first ones gathered or not, and by lines."""
    compiled = compile_onnx(model, target, **options)
    inputs = {
        spec.name: floats(index, SAMPLES, *spec.shape) for index, spec in enumerate(compiled.inputs)
    }
    rows = [
        models.expected(model, {name: array[index] for name, array in inputs.items()})
        for index in range(SAMPLES)
    ]
    for form in (compiled, *forms(model, compiled)):
        actual = Emulator(form).run_many(inputs)
        for name in rows[0]:
            expected = np.stack([row[name] for row in rows])
            assert actual[name].shape == expected.shape
            assert snr_db(expected, actual[name]) >= least_db, name
    return compiled


def forms(model: bytes, compiled: CompiledModel) -> list[CompiledModel]:
    """Those that there are and that fit."""
    graph, config = run_passes(load_graph(model)), compiled.npu
    found = []
    for form in (graph, gather_first(graph, config.n), fold_lines(graph, config.n)):
        if form is not None:
            with contextlib.suppress(DoesNotFit, UnsupportedOp):
                found.append(compile_prepared(form, compiled.target, config, compiled.samples))
    assert found
    return found


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    data=st.data(),
    target=st.sampled_from(TARGETS),
    op=st.sampled_from(["RNN", "GRU", "LSTM"]),
    states=st.booleans(),
    bias=st.booleans(),
)
def test_a_recurrent_layer_of_any_size(models, data, target, op, states, bias):
    features, hidden = (data.draw(st.integers(1, 70)) for _ in range(2))
    attrs: dict[str, Any] = {}
    if op == "GRU":
        attrs["linear_before_reset"] = data.draw(st.sampled_from([0, 1]))
    if op == "RNN":
        attrs["activations"] = [data.draw(st.sampled_from(["Tanh", "Relu", "Sigmoid"]))]
    steps = data.draw(st.integers(1, 6))
    model = models.recurrent(op, features, hidden, steps, states=states, bias=bias, **attrs)
    try:
        check(models, model, target, SMALL_SNR_DB)
    except DoesNotFit:
        assert target == "npu:nano"
        assume(False)


@pytest.mark.parametrize("target", TARGETS[1:])
@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
def test_recurrent_layers_stand_on_one_another(models, target, op):
    """The second one reads the whole sequence that the first one made; so does a dense layer."""
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[op]
    nodes, constants, name = [], {"axis": np.array([1], np.int64)}, "x"
    for index, (features, hidden) in enumerate([(10, 40), (40, 20)]):
        constants[f"w{index}"] = models.weights(index, 1, gates * hidden, features, scale=0.5)
        constants[f"r{index}"] = models.weights(index + 9, 1, gates * hidden, hidden, scale=0.3)
        nodes += [
            models.node(op, [name, f"w{index}", f"r{index}"], [f"y{index}"], hidden_size=hidden),
            models.node("Squeeze", [f"y{index}", "axis"], [f"s{index}"]),
        ]
        name = f"s{index}"
    constants["wo"] = models.weights(30, 20, 7)
    nodes += [
        models.node("MatMul", [name, "wo"], ["z"]),
        models.node("Add", [name, name], ["d"]),
        models.node("Mul", [name, name], ["q"]),
    ]
    outputs = {"z": [5, 1, 7], "d": [5, 1, 20], "q": [5, 1, 20], "y0": [5, 1, 1, 40]}
    model = models.build(nodes, {"x": [5, 1, 10]}, outputs, constants)
    check(models, model, target, SMALL_SNR_DB)


@st.composite
def windows(draw: st.DrawFn, axes: int) -> dict[str, Any]:
    kernel = [draw(st.integers(1, 4)) for _ in range(axes)]
    return {
        "kernel_shape": kernel,
        "strides": [draw(st.integers(1, 3)) for _ in range(axes)],
        "dilations": [draw(st.integers(1, 2)) for _ in range(axes)],
        "pads": [draw(st.integers(0, kernel[axis % axes] - 1)) for axis in range(2 * axes)],
    }


def fits(attrs: dict[str, Any], sizes: list[int]) -> bool:
    return all(
        d * (k - 1) + 1 <= size
        for d, k, size in zip(attrs["dilations"], attrs["kernel_shape"], sizes, strict=True)
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data(), target=st.sampled_from(TARGETS[1:]), axes=st.sampled_from([1, 2]))
def test_a_convolution_of_any_window(models, data, target, axes):
    attrs = data.draw(windows(axes))
    sizes = [data.draw(st.integers(1, 7)) for _ in range(axes)]
    assume(fits(attrs, sizes))
    groups, each, outs = (data.draw(st.sampled_from([1, 2, 18])) for _ in range(3))
    shape = [1, groups * each, *sizes]
    constants = {"w": floats(1, groups * outs, each, *attrs["kernel_shape"])}
    if data.draw(st.booleans()):
        constants["b"] = floats(2, groups * outs)
    nodes = [
        models.node("Conv", ["x", *constants], ["c"], group=groups, **attrs),
        models.node("Relu", ["c"], ["y"]),
    ]
    model = models.build(nodes, {"x": shape}, {"y": [None] * (2 + axes)}, constants)
    try:
        check(models, model, target, SMALL_SNR_DB)
    except DoesNotFit:
        assume(False)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    data=st.data(),
    target=st.sampled_from(TARGETS[1:]),
    axes=st.sampled_from([1, 2]),
    op=st.sampled_from(["MaxPool", "AveragePool"]),
)
def test_a_pool_of_any_window(models, data, target, axes, op):
    attrs = data.draw(windows(axes))
    sizes = [data.draw(st.integers(1, 7)) for _ in range(axes)]
    assume(fits(attrs, sizes))
    if op == "AveragePool":
        attrs["count_include_pad"] = data.draw(st.sampled_from([0, 1]))
    shape = [1, data.draw(st.sampled_from([1, 5, 40])), *sizes]
    nodes = [models.node(op, ["x"], ["p"], **attrs), models.node("Tanh", ["p"], ["y"])]
    model = models.build(nodes, {"x": shape}, {"y": [None] * (2 + axes)}, opset=19)
    try:
        check(models, model, target, 50.0)  # no product: binary16 and the table of tanh
    except DoesNotFit:
        assume(False)


def cnn(models: Any, *, pool: str, residual: bool = False, side: int = 8) -> bytes:
    bn = {f"n1.{k}": floats(at, 6) for at, k in enumerate(("scale", "bias", "mean"))}
    bn["n1.var"] = np.abs(floats(5, 6)) + np.float32(0.5)
    half = side // 2
    constants = bn | {
        "w1": models.weights(11, 6, 3, 3, 3, scale=0.2),
        "b1": models.weights(12, 6, scale=0.2),
        "w2": models.weights(13, 6, 6, 3, 3, scale=0.2),
        "wo": models.weights(14, 10, 6 * half * half),
        "bo": models.weights(15, 10),
    }
    nodes = [
        models.node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1] * 4),
        models.node("BatchNormalization", ["c1", *bn], ["n1"]),
        models.node("Relu", ["n1"], ["r1"]),
        models.node(pool, ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        models.node("Conv", ["p1", "w2"], ["c2"], pads=[1] * 4),
        models.node("Add", ["c2", "p1"], ["a2"])
        if residual
        else models.node("Relu", ["c2"], ["a2"]),
        models.node("Relu", ["a2"], ["s2"]),
        models.node("Flatten", ["s2"], ["f"]),
        models.node("Gemm", ["f", "wo", "bo"], ["z"], transB=1),
        models.node("Softmax", ["z"], ["y"], axis=1),
    ]
    return models.build(nodes, {"x": ["batch", 3, side, side]}, {"y": ["batch", 10]}, constants)


@pytest.mark.parametrize("target", TARGETS[1:])
@pytest.mark.parametrize("pool", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("residual", [False, True])
def test_a_whole_convolutional_network(models, target, pool, residual):
    check(models, cnn(models, pool=pool, residual=residual), target)


@pytest.mark.parametrize("samples", [1, 3])
def test_several_samples_a_launch_of_a_network_of_images(models, samples):
    check(models, cnn(models, pool="MaxPool", residual=True), "npu:sim4", samples=samples)


def test_a_sequence_of_convolutions_before_a_recurrent_layer(models):
    nodes = [
        models.node("Conv", ["x", "w"], ["c"], pads=[1, 1]),
        models.node("Relu", ["c"], ["r"]),
        models.node("MaxPool", ["r"], ["p"], kernel_shape=[2], strides=[2]),
        models.node("Transpose", ["p"], ["t"], perm=[2, 0, 1]),
        models.node("GRU", ["t", "wg", "rg"], ["", "y"], hidden_size=6),
    ]
    constants = {
        "w": floats(1, 4, 2, 3),
        "wg": models.weights(2, 1, 18, 4),
        "rg": models.weights(3, 1, 18, 6),
    }
    model = models.build(nodes, {"x": [1, 2, 12]}, {"y": [1, 1, 6]}, constants)
    check(models, model, "npu:sim")


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_a_global_pool_and_a_dense_layer(models, op):
    nodes = [
        models.node("Conv", ["x", "w"], ["c"], strides=[2, 2]),
        models.node(op, ["c"], ["p"]),
        models.node("Flatten", ["p"], ["f"]),
        models.node("Gemm", ["f", "wo"], ["y"], transB=1),
    ]
    constants = {"w": models.weights(1, 40, 3, 3, 3), "wo": models.weights(2, 5, 40)}
    model = models.build(nodes, {"x": [1, 3, 9, 9]}, {"y": [1, 5]}, constants)
    check(models, model, "npu:sim", SMALL_SNR_DB)


# ---- weights that do not fit


@pytest.mark.parametrize("target", ["npu:nano", "npu:sim", "npu:sim4"])
@pytest.mark.parametrize("samples", [1, 2])
def test_a_dense_layer_larger_than_the_matrix_memory_is_spilled(models, target, samples):
    size = 100 if target == "npu:nano" else 600
    compiled = check(models, models.mlp(size, size, 10), target, samples=samples)
    assert not compiled.pinned


@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
def test_a_recurrent_layer_larger_than_the_matrix_memory_is_spilled(models, op):
    for reset in (0, 1) if op == "GRU" else (None,):
        attrs = {} if reset is None else {"linear_before_reset": reset}
        compiled = check(models, models.recurrent(op, 160, 150, 3, **attrs), "npu:sim")
        assert compiled.pinned is (op == "RNN")


def test_a_convolution_larger_than_the_matrix_memory_is_spilled(models):
    nodes = [models.node("Conv", ["x", "w"], ["y"], pads=[1] * 4)]
    constants = {"w": models.weights(1, 100, 70, 3, 3, scale=0.05)}
    model = models.build(nodes, {"x": [1, 70, 4, 4]}, {"y": [1, 100, 4, 4]}, constants)
    assert not check(models, model, "npu:sim").pinned


# ---- forms of images


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data(), n=st.sampled_from([16, 32]))
def test_a_network_by_lines_means_what_it_means_by_pixels(models, data, n):
    """Convolutions and pools that may or may not fold, activations, a dense layer at the end."""
    channels, height, width = (data.draw(st.integers(1, 8)) for _ in range(3))
    shape, nodes, constants, name = (channels, height, width), [], {}, "x"
    for at in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["Conv", "Conv", "MaxPool", "AveragePool", "Relu"]))
        target = f"v{at}"
        if kind == "Relu":
            nodes.append(models.node(kind, [name], [target]))
            name = target
            continue
        size = [data.draw(st.integers(1, min(3, dim))) for dim in shape[1:]]
        step = [data.draw(st.sampled_from([1, k])) for k in size]
        pads = [
            data.draw(st.integers(0, size[0] - 1)),
            0,
            data.draw(st.integers(0, size[0] - 1)),
            0,
        ]
        if kind == "Conv":
            outs = data.draw(st.integers(1, 6))
            pads[1::2] = [data.draw(st.integers(0, size[1] - 1)) for _ in range(2)]
            constants |= {f"w{at}": floats(at, outs, shape[0], *size), f"b{at}": floats(at, outs)}
            names = [name, f"w{at}", f"b{at}"][: data.draw(st.integers(2, 3))]
        else:
            outs, names = shape[0], [name]
        attrs = {"kernel_shape": size, "strides": step, "pads": pads}
        nodes.append(models.node(kind, names, [target], **attrs))
        sizes = [
            (shape[axis + 1] + pads[axis] + pads[axis + 2] - size[axis]) // step[axis] + 1
            for axis in (0, 1)
        ]
        shape, name = (outs, *sizes), target
    nodes.append(models.node("Flatten", [name], ["f"]))
    constants["wo"] = floats(50, int(np.prod(shape)), 3)
    nodes.append(models.node("MatMul", ["f", "wo"], ["y"]))
    constants = {key: array for key, array in constants.items() if key in str(nodes)}
    model = models.build(nodes, {"x": [1, channels, height, width]}, {"y": [1, 3]}, constants)
    folded = fold_lines(run_passes(load_graph(model)), n)
    assume(folded is not None)
    x = {"x": floats(7, 1, channels, height, width)}
    expected = models.expected(model, x)["y"]
    verify(folded)
    found = interpret(folded, x)["y"]
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, atol=1e-4 * scale)


def test_a_small_network_is_faster_by_lines_and_a_wide_one_by_pixels(models):
    small = compile_onnx(cnn(models, pool="MaxPool"), "npu:sim")
    assert [layer.op for layer in small.layers if layer.macs] == ["conv", "conv", "linear"]
    pixels = compile_prepared(
        gather_first(run_passes(load_graph(cnn(models, pool="MaxPool"))), 32),
        "npu:sim",
        small.npu,
        1,
    )
    assert small.macs == pixels.macs
    assert launch_cycles(small) < 0.8 * launch_cycles(pixels)
    constants = {"w": models.weights(1, 32, 32, 3, 3, scale=0.1)}
    nodes = [models.node("Conv", ["x", "w"], ["y"], pads=[1] * 4)]
    wide = models.build(nodes, {"x": [1, 32, 8, 8]}, {"y": [1, 32, 8, 8]}, constants)
    compiled = compile_onnx(wide, "npu:sim")
    assert compiled.used["MatrixRf tiles"][0] == 9, "not the banded matrix"


# ---- what the host does before the device


def test_the_host_gathers_the_pixels_of_a_first_convolution_that_has_few_channels(models):
    """One tile instead of nine; where channels fill the vectors anyway, the image stays whole."""
    few, many = (
        models.build(
            [models.node("Conv", ["x", "w"], ["y"], pads=[1] * 4)],
            {"x": [1, channels, 40, 40]},
            {"y": [1, 8, 40, 40]},
            {"w": floats(1, 8, channels, 3, 3)},
        )
        for channels in (3, 32)
    )
    gathered = gather_first(run_passes(load_graph(few)), 32)
    compiled = compile_prepared(gathered, "npu:sim", CONFIGS["sim"], 1)
    assert [node.op for node in compiled.before] == ["transpose", "patches"]
    assert compiled.used["MatrixRf tiles"][0] == 1
    graph = gather_first(run_passes(load_graph(many)), 32)
    assert [node.op for node in graph.nodes] == ["transpose", "conv", "transpose"]


def test_an_image_that_is_read_twice_is_handed_over_once(models):
    nodes = [
        models.node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        models.node("Add", ["x", "c"], ["s"]),
        models.node("MaxPool", ["s"], ["y"], kernel_shape=[2, 2], pads=[1, 0, 1, 0]),
    ]
    constants = {"w": floats(1, 3, 3, 3, 3)}
    model = models.build(nodes, {"x": [1, 3, 5, 5]}, {"y": [1, 3, 6, 4]}, constants)
    compiled = check(models, model, "npu:sim4")
    assert len(compiled.fed) == 1 and [node.op for node in compiled.before] == ["transpose"]


def test_a_moved_input_may_be_an_output_too(models):
    nodes = [
        models.node("Transpose", ["x"], ["t"], perm=[1, 0]),
        models.node("Relu", ["t"], ["y"]),
        models.node("MatMul", ["t", "w"], ["z"]),
    ]
    outputs = {"t": [3, 5], "y": [3, 5], "z": [3, 2]}
    model = models.build(nodes, {"x": [5, 3]}, outputs, {"w": floats(1, 5, 2)})
    check(models, model, "npu:sim", SMALL_SNR_DB)


@pytest.mark.parametrize("target", ["npu:sim", "npu:sim4"])
@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
def test_a_state_of_more_rows_than_results_find_room_for(models, target, op):
    """The product that makes the new state may not overwrite the old one then."""
    check(models, models.recurrent(op, 20, 300, 2, states=True), target, SMALL_SNR_DB)
