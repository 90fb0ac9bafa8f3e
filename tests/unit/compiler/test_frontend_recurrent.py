"""RNN, GRU and LSTM: what they mean, against onnxruntime, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.errors import UnsupportedOp
from compiler.frontend import load_graph
from compiler.passes import run_passes
from compiler.reference import interpret


def floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data(), op=st.sampled_from(["RNN", "GRU", "LSTM"]))
def test_a_recurrent_layer_means_what_onnxruntime_says(models, data, op):
    features, hidden, steps = (data.draw(st.integers(1, 6)) for _ in range(3))
    attrs: dict[str, Any] = {}
    if op == "RNN" and data.draw(st.booleans()):
        attrs["activations"] = [data.draw(st.sampled_from(["Tanh", "Relu", "Sigmoid"]))]
    if op == "GRU":
        attrs["linear_before_reset"] = data.draw(st.sampled_from([0, 1]))
    model = models.recurrent(
        op,
        features,
        hidden,
        steps,
        states=data.draw(st.booleans()),
        bias=data.draw(st.booleans()),
        **attrs,
    )
    graph = load_graph(model)
    inputs = {name: floats(7, *graph.shapes[name]) for name in graph.inputs}
    expected = models.expected(model, inputs)
    for each in (graph, run_passes(graph)):
        actual = interpret(each, inputs)
        for name, array in expected.items():
            assert actual[name].shape == array.shape
            np.testing.assert_allclose(actual[name], array, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize(
    ("attrs", "reason"),
    [
        ({"direction": "reverse"}, "direction"),
        ({"clip": 1.0}, "clip"),
        ({"layout": 1}, "layout"),
        ({"activations": ["Softsign"] * 3}, "activations"),
        ({"hidden_size": 9}, "hidden_size"),
    ],
)
def test_a_recurrent_layer_of_another_kind_is_refused(models, op, attrs, reason):
    model = models.recurrent(op, 3, 4, 2, **attrs)
    with pytest.raises(UnsupportedOp, match=reason):
        load_graph(model)


def test_a_symbolic_batch_of_a_recurrent_layer_is_one(models):
    for op in ("RNN", "GRU", "LSTM"):
        proto = models.proto(models.recurrent(op, 3, 4, 2))
        proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "batch"
        assert load_graph(proto.SerializeToString()).shapes["x"] == (2, 1, 3)
