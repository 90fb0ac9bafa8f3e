"""Random graphs of everything that lies in rows or images: whatever is asked for as an output, and
however values are shared, the program computes what the graph means, or is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler import Emulator, compile_onnx
from compiler.errors import DoesNotFit, UnsupportedOp
from compiler.frontend import load_graph
from compiler.reference import interpret

TARGETS = ["npu:sim", "npu:sim4", "npu:edge"]
UNARY = ["Relu", "Sigmoid", "Tanh"]
BINARY = ["Add", "Sub", "Mul", "Max"]


def floats(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-scale, scale, shape).astype(np.float32)


def random_model(models: Any, data: st.DataObject, image: bool) -> bytes:
    """Operators on values of one shape, each reading any values made before; some are outputs."""
    if image:
        channels = data.draw(st.sampled_from([3, 33]))
        shape = (1, channels, data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4)))
    else:
        channels = data.draw(st.sampled_from([5, 32, 40]))
        shape = (data.draw(st.integers(1, 3)), channels)
    inputs = {"x": shape, "u": shape}
    values, nodes, constants = list(inputs), [], {}
    kinds = ["unary", "binary", "binary", "constant", "product"] + ["pool"] * image
    for at in range(data.draw(st.integers(1, 9))):
        kind, name = data.draw(st.sampled_from(kinds)), f"v{at}"
        source = data.draw(st.sampled_from(values))
        if kind == "unary":
            nodes.append(models.node(data.draw(st.sampled_from(UNARY)), [source], [name]))
        elif kind == "binary":
            other = data.draw(st.sampled_from(values))
            op = data.draw(st.sampled_from(BINARY))
            nodes.append(models.node(op, [source, other], [name]))
        elif kind == "constant":
            small = tuple(data.draw(st.sampled_from([1, dim])) for dim in shape)
            constants[f"k{at}"] = floats(at, *small)
            names = data.draw(st.permutations([source, f"k{at}"]))
            nodes.append(models.node(data.draw(st.sampled_from(BINARY)), names, [name]))
        elif kind == "pool":
            op = data.draw(st.sampled_from(["MaxPool", "AveragePool"]))
            attrs = {"kernel_shape": [3, 3], "pads": [1] * 4}
            nodes.append(models.node(op, [source], [name], **attrs))
        elif image:
            constants[f"k{at}"] = floats(at, channels, channels, 3, 3, scale=channels**-0.5)
            nodes.append(models.node("Conv", [source, f"k{at}"], [name], pads=[1] * 4))
        else:
            constants[f"k{at}"] = floats(at, channels, channels, scale=channels**-0.5)
            nodes.append(models.node("MatMul", [source, f"k{at}"], [name]))
        values.append(name)
    chosen = data.draw(st.sets(st.sampled_from(values[2:]), min_size=1))
    outputs = {name: shape for name in sorted({*chosen, values[-1]})}
    return models.build(nodes, inputs, outputs, constants)


@pytest.mark.parametrize("image", [False, True], ids=["rows", "images"])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data(), target=st.sampled_from(TARGETS), samples=st.sampled_from([1, 1, 2]))
def test_a_random_graph_is_computed_or_does_not_fit(models, data, image, target, samples):
    model = random_model(models, data, image)
    try:
        compiled = compile_onnx(model, target, samples=samples)
    except DoesNotFit:
        return
    except UnsupportedOp as error:  # the greatest and the average of one image, both with padding
        assert all("different paddings" in each.reason for each in error.refusals)
        return
    graph = load_graph(model)
    inputs = {
        name: floats(index, 3, *graph.shapes[name]) for index, name in enumerate(graph.inputs)
    }
    found = Emulator(compiled).run_many(inputs)
    for index in range(3):
        exact = interpret(graph, {name: array[index] for name, array in inputs.items()})
        for name, array in exact.items():
            # errors of many operators in a row, relative to the greatest element
            scale = max(1.0, float(np.abs(array).max()))
            if scale < 1000:  # beyond, products of products lose all precision
                np.testing.assert_allclose(found[name][index], array, atol=0.1 * scale)
