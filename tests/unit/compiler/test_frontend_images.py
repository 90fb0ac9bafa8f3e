"""Convolutions, pools and normalization: what they mean, against onnxruntime, and the moves of
channels that the passes take away."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.errors import UnsupportedOp
from compiler.frontend import load_graph
from compiler.passes import run_passes
from compiler.reference import interpret

JUDGED = settings(max_examples=60, deadline=None, derandomize=True)


def floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def check(models: Any, model: bytes, inputs: dict[str, np.ndarray]) -> Any:
    """The graph before and after the passes computes what onnxruntime does; the latter graph."""
    graph = load_graph(model)
    passed = run_passes(graph)
    expected = models.expected(model, inputs)
    for each in (graph, passed):
        actual = interpret(each, inputs)
        for name, array in expected.items():
            assert actual[name].shape == array.shape
            np.testing.assert_allclose(actual[name], array, rtol=1e-4, atol=1e-4)
    return passed


@st.composite
def windows(draw: st.DrawFn, axes: int) -> dict[str, Any]:
    """Attributes of a window, padding by numbers or by name."""
    each = st.integers(1, 3)
    attrs: dict[str, Any] = {
        "kernel_shape": [draw(each) for _ in range(axes)],
        "strides": [draw(each) for _ in range(axes)],
        "dilations": [draw(st.integers(1, 2)) for _ in range(axes)],
    }
    auto = draw(st.sampled_from(["", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if auto:
        attrs["auto_pad"] = auto
        # onnxruntime refuses negative padding, though it is what the formula gives, and dilation
        attrs["dilations"] = [1] * axes
        assume(all(s <= k for s, k in zip(attrs["strides"], attrs["kernel_shape"], strict=True)))
    else:
        attrs["pads"] = [
            draw(st.integers(0, attrs["kernel_shape"][axis % axes] - 1)) for axis in range(2 * axes)
        ]
    return attrs


def fits(attrs: dict[str, Any], sizes: list[int]) -> bool:
    pads = attrs.get("pads", [0] * 2 * len(sizes))
    return all(
        attrs["dilations"][axis] * (attrs["kernel_shape"][axis] - 1) + 1
        <= size + pads[axis] + pads[axis + len(sizes)]
        for axis, size in enumerate(sizes)
    )


@JUDGED
@given(data=st.data(), axes=st.sampled_from([1, 2]))
def test_a_convolution_means_what_onnxruntime_says(models, data, axes):
    attrs = data.draw(windows(axes))
    sizes = [data.draw(st.integers(1, 7)) for _ in range(axes)]
    assume(fits(attrs, sizes))
    groups, each, outs = (data.draw(st.integers(1, 3)) for _ in range(3))
    shape = [1, groups * each, *sizes]
    constants = {"w": floats(1, groups * outs, each, *attrs["kernel_shape"])}
    if data.draw(st.booleans()):
        constants["b"] = floats(2, groups * outs)
    node = models.node("Conv", ["x", *constants], ["y"], group=groups, **attrs)
    model = models.build([node], {"x": shape}, {"y": [None] * (2 + axes)}, constants)
    check(models, model, {"x": floats(3, *shape)})


@JUDGED
@given(data=st.data(), axes=st.sampled_from([1, 2]), op=st.sampled_from(["MaxPool", "AveragePool"]))
def test_a_pool_means_what_onnxruntime_says(models, data, axes, op):
    attrs = data.draw(windows(axes))
    sizes = [data.draw(st.integers(1, 7)) for _ in range(axes)]
    assume(fits(attrs, sizes))
    if op == "AveragePool":
        attrs["count_include_pad"] = data.draw(st.sampled_from([0, 1]))
    if "auto_pad" not in attrs and not attrs.get("count_include_pad"):
        attrs["ceil_mode"] = data.draw(st.sampled_from([0, 1]))
    shape = [1, 3, *sizes]
    node = models.node(op, ["x"], ["y"], **attrs)
    model = models.build([node], {"x": shape}, {"y": [None] * (2 + axes)}, opset=19)
    if "pads" in attrs and any(
        all(not 0 <= at * s - lo + k * d < size for k in range(kernel))
        for s, d, kernel, size, lo, hi in zip(
            attrs["strides"],
            attrs["dilations"],
            attrs["kernel_shape"],
            sizes,
            attrs["pads"][:axes],
            attrs["pads"][axes:],
            strict=True,
        )
        for at in range((size + lo + hi - d * (kernel - 1) - 1) // s + 1)
    ):
        with pytest.raises(UnsupportedOp, match="sees no pixel"):
            load_graph(model)
        return
    check(models, model, {"x": floats(3, *shape)})


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [(1, 3, 5), (1, 4, 3, 6)])
def test_a_global_pool_means_what_onnxruntime_says(models, op, shape):
    out = [*shape[:2], *[1] * (len(shape) - 2)]
    model = models.build([models.node(op, ["x"], ["y"])], {"x": shape}, {"y": out})
    check(models, model, {"x": floats(1, *shape)})


def normalization(models: Any, source: str, target: str, channels: int) -> tuple[Any, Any]:
    names = [f"{target}.{part}" for part in ("scale", "bias", "mean", "var")]
    arrays = [floats(at, channels) for at in range(4)]
    arrays[3] = np.abs(arrays[3]) + np.float32(0.1)
    node = models.node("BatchNormalization", [source, *names], [target], epsilon=1e-3)
    return node, dict(zip(names, arrays, strict=True))


@pytest.mark.parametrize("shape", [(1, 5), (1, 5, 7), (1, 5, 4, 3)])
def test_a_normalization_alone_means_what_onnxruntime_says(models, shape):
    node, constants = normalization(models, "x", "y", 5)
    check(
        models,
        models.build([node], {"x": shape}, {"y": shape}, constants),
        {"x": floats(9, *shape)},
    )


def cnn(models: Any, *, pool: str = "MaxPool", residual: bool = False) -> bytes:
    """conv, normalization, relu, pool, conv, flatten, dense: as frameworks write it."""
    bn, constants = normalization(models, "c1", "n1", 6)
    constants |= {
        "w1": floats(11, 6, 3, 3, 3),
        "b1": floats(12, 6),
        "w2": floats(13, 6, 6, 3, 3),
        "wo": floats(14, 10, 6 * 4 * 4),
        "bo": floats(15, 10),
    }
    nodes = [
        models.node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1] * 4),
        bn,
        models.node("Relu", ["n1"], ["r1"]),
        models.node(pool, ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        models.node("Conv", ["p1", "w2"], ["c2"], pads=[1] * 4),
        models.node("Add", ["c2", "p1"], ["s2"])
        if residual
        else models.node("Tanh", ["c2"], ["s2"]),
        models.node("Flatten", ["s2"], ["f"]),
        models.node("Gemm", ["f", "wo", "bo"], ["z"], transB=1),
        models.node("Softmax", ["z"], ["y"], axis=1),
    ]
    return models.build(nodes, {"x": ["batch", 3, 8, 8]}, {"y": ["batch", 10]}, constants)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("pool", ["MaxPool", "AveragePool"])
def test_only_the_image_itself_is_moved_in_a_whole_network(models, pool, residual):
    passed = check(models, cnn(models, pool=pool, residual=residual), {"x": floats(1, 1, 3, 8, 8)})
    moves = [node for node in passed.nodes if node.op == "transpose"]
    assert [node.inputs for node in moves] == [("x",)]
    ops = [node.op for node in passed.nodes]
    assert "mul" not in ops, "the normalization is in the convolution's weights"
    assert ops.count("add") == int(residual)


def test_a_sum_with_an_input_leaves_both_moves_to_inputs(models):
    nodes = [
        models.node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        models.node("Add", ["x", "c"], ["s"]),
        models.node("Mul", ["s", "k"], ["y"]),
    ]
    constants = {"w": floats(1, 4, 4, 3, 3), "k": floats(2, 4, 1, 1)}
    model = models.build(nodes, {"x": [1, 4, 5, 5]}, {"y": [1, 4, 5, 5]}, constants)
    passed = check(models, model, {"x": floats(3, 1, 4, 5, 5)})
    assert [n.inputs[0] for n in passed.nodes if n.op == "transpose"][:-1] == ["x"]
    assert passed.nodes[-1].op == "transpose" and passed.nodes[-1].outputs == ("y",)


def test_a_sequence_of_convolutions_is_handed_to_a_recurrent_layer_without_moving(models):
    """Conv1d over [1, C, L], then a transposition by the user to [L, 1, C]."""
    nodes = [
        models.node("Conv", ["x", "w"], ["c"], pads=[1, 1]),
        models.node("Relu", ["c"], ["r"]),
        models.node("Transpose", ["r"], ["t"], perm=[2, 0, 1]),
        models.node("GRU", ["t", "wg", "rg"], ["", "y"], hidden_size=6),
    ]
    constants = {"w": floats(1, 4, 2, 3), "wg": floats(2, 1, 18, 4), "rg": floats(3, 1, 18, 6)}
    model = models.build(nodes, {"x": [1, 2, 9]}, {"y": [1, 1, 6]}, constants)
    passed = check(models, model, {"x": floats(4, 1, 2, 9)})
    assert [node.inputs for node in passed.nodes if node.op == "transpose"] == [("x",)]


@JUDGED
@given(data=st.data())
def test_transpositions_anywhere_change_nothing(models, data):
    """Random chains of moves, relabellings and element-wise operators."""
    shape = tuple(data.draw(st.permutations([1, 2, 3, 4])))
    nodes, constants, name, now = [], {}, "x", shape
    for at in range(data.draw(st.integers(1, 6))):
        kind = data.draw(st.sampled_from(["move", "same", "constant", "pair", "label"]))
        target = f"v{at}"
        if kind == "move":
            perm = data.draw(st.permutations(range(len(now))))
            nodes.append(models.node("Transpose", [name], [target], perm=perm))
            now = tuple(now[axis] for axis in perm)
        elif kind == "same":
            nodes.append(models.node("Tanh", [name], [target]))
        elif kind == "constant":
            small = tuple(data.draw(st.sampled_from([1, dim])) for dim in now)
            constants[f"k{at}"] = floats(at, *small)
            nodes.append(models.node("Mul", [f"k{at}", name], [target]))
        elif kind == "pair":
            nodes += [
                models.node("Sigmoid", [name], [f"s{at}"]),
                models.node("Sub", [name, f"s{at}"], [target]),
            ]
        else:
            now = data.draw(st.sampled_from([(prod(now),), (1, *now), now]))
            constants[f"k{at}"] = np.array(now, np.int64)
            nodes.append(models.node("Reshape", [name, f"k{at}"], [target]))
        name = target
    constants["wo"] = floats(40, now[-1], 3)
    nodes += [models.node("MatMul", [name, "wo"], ["y"]), models.node("Relu", [name], ["z"])]
    outputs = {"y": [*now[:-1], 3], "z": now}
    model = models.build(nodes, {"x": shape}, outputs, constants)
    check(models, model, {"x": floats(50, *shape)})


@pytest.mark.parametrize(
    ("op", "shape", "weights", "attrs", "reason"),
    [
        ("Conv", (2, 3, 5, 5), (4, 3, 3, 3), {}, "one image at a time"),
        ("Conv", (1, 3, 5, 5, 5), (4, 3, 3, 3, 3), {}, r"only \[1, C, L\]"),
        ("Conv", (1, 3, 5, 5), (4, 3, 3), {}, "weights"),
        ("Conv", (1, 3, 5, 5), (4, 2, 3, 3), {}, "3 channels"),
        ("Conv", (1, 3, 2, 2), (4, 3, 3, 3), {}, "a window of 3 over 2"),
        ("Conv", (1, 3, 5, 5), (4, 3, 3, 3), {"kernel_shape": [2, 2]}, "kernel_shape"),
        ("Conv", (1, 3, 5, 5), (4, 3, 3, 3), {"strides": [0, 1]}, "strides"),
        ("Conv", (1, 3, 5, 5), (4, 3, 3, 3), {"pads": [2**40] * 4}, "more than"),
        ("Conv", (1, 3, 5, 5), (4, 3, 3, 3), {"auto_pad": "SAME"}, "auto_pad"),
        ("MaxPool", (1, 3, 5, 5), None, {}, "kernel_shape"),
        ("MaxPool", (1, 3, 5, 5), None, {"kernel_shape": [2, 2], "pads": [2] * 4}, "sees no pixel"),
        (
            "MaxPool",
            (1, 3, 5, 5),
            None,
            {"kernel_shape": [2, 2], "storage_order": 1},
            "storage_order",
        ),
        (
            "AveragePool",
            (1, 3, 5, 5),
            None,
            {"kernel_shape": [2, 2], "ceil_mode": 1, "count_include_pad": 1},
            "ceil_mode",
        ),
        ("GlobalAveragePool", (4, 3, 5, 5), None, {}, "one image at a time"),
    ],
)
def test_a_window_that_cannot_be_is_refused_with_the_reason(
    models, op, shape, weights, attrs, reason
):
    constants = {} if weights is None else {"w": floats(1, *weights)}
    node = models.node(op, ["x", *constants], ["y"], **attrs)
    model = models.build([node], {"x": shape}, {"y": [None] * len(shape)}, constants)
    with pytest.raises(UnsupportedOp, match=reason):
        load_graph(model)
