"""ONNX to the IR: what it means (against onnxruntime) and what is refused."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compiler.errors import BadWeights, CompileError, DynamicShape, MalformedModel, UnsupportedOp
from compiler.frontend import load_graph
from compiler.passes import run_passes
from compiler.reference import interpret

RNG = np.random.default_rng(7)


def check(models, model: bytes, inputs: dict[str, np.ndarray]) -> None:
    """The graph before and after the passes computes what onnxruntime computes."""
    graph = load_graph(model)
    expected = models.expected(model, inputs)
    for each in (graph, run_passes(graph)):
        actual = interpret(each, inputs)
        for name, array in expected.items():
            assert actual[name].shape == array.shape
            np.testing.assert_allclose(actual[name], array, rtol=1e-5, atol=1e-5)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def test_an_mlp_means_what_onnxruntime_says(models):
    check(models, models.mlp(64, 32, 10), {"x": floats(1, 64)})


def test_an_lstm_means_what_onnxruntime_says(models):
    check(models, models.lstm(8, 16, 5), {"x": floats(5, 1, 8)})


def test_an_lstm_with_initial_states_means_what_onnxruntime_says(models):
    inputs = {"x": floats(4, 1, 8), "h0": floats(1, 1, 16), "c0": floats(1, 1, 16)}
    check(models, models.lstm(8, 16, 4, states=True), inputs)


def test_an_lstm_classifier_means_what_onnxruntime_says(models):
    check(models, models.lstm(8, 16, 4, classes=10), {"x": floats(4, 1, 8)})


@pytest.mark.parametrize("op", ["Relu", "Sigmoid", "Tanh"])
def test_unary_operators_mean_what_onnxruntime_says(models, op):
    model = models.build([models.node(op, ["x"], ["y"])], {"x": [3, 5]}, {"y": [3, 5]})
    check(models, model, {"x": floats(3, 5)})


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Max"])
@pytest.mark.parametrize("shape", [(3, 5), (5,), (1, 5), (1,), (3, 1)])
def test_binary_operators_mean_what_onnxruntime_says(models, op, shape):
    model = models.build(
        [models.node(op, ["x", "c"], ["y"])], {"x": [3, 5]}, {"y": [3, 5]}, {"c": floats(*shape)}
    )
    check(models, model, {"x": floats(3, 5)})


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("c_shape", [None, (7,), (3, 7), (3, 1), ()])
def test_every_form_of_gemm_means_what_onnxruntime_says(models, trans_a, trans_b, c_shape):
    a_shape = (5, 3) if trans_a else (3, 5)
    constants = {"w": floats(*((7, 5) if trans_b else (5, 7)))}
    names = ["x", "w"]
    if c_shape is not None:
        constants["c"] = floats(*c_shape) if c_shape else np.float32(0.5).reshape(())
        names.append("c")
    node = models.node("Gemm", names, ["y"], transA=trans_a, transB=trans_b, alpha=0.5, beta=2.0)
    model = models.build([node], {"x": a_shape}, {"y": [3, 7]}, constants)
    check(models, model, {"x": floats(*a_shape)})


def test_a_product_and_the_constant_added_to_it_become_one_linear(models):
    nodes = [
        models.node("MatMul", ["x", "w"], ["z"]),
        models.node("Add", ["b", "z"], ["s"]),
        models.node("Relu", ["s"], ["y"]),
    ]
    constants = {"w": floats(5, 7), "b": floats(7)}
    model = models.build(nodes, {"x": [2, 5]}, {"y": [2, 7]}, constants)
    check(models, model, {"x": floats(2, 5)})
    assert [node.op for node in run_passes(load_graph(model)).nodes] == ["linear", "relu"]


def test_an_addition_that_another_node_looks_behind_is_kept(models):
    nodes = [
        models.node("MatMul", ["x", "w"], ["z"]),
        models.node("Add", ["z", "b"], ["y"]),
        models.node("Tanh", ["z"], ["t"]),
    ]
    constants = {"w": floats(5, 7), "b": floats(7)}
    model = models.build(nodes, {"x": [2, 5]}, {"y": [2, 7], "t": [2, 7]}, constants)
    check(models, model, {"x": floats(2, 5)})


def test_relabellings_fold_into_one_reshape(models):
    nodes = [
        models.node("Unsqueeze", ["x", "axes"], ["a"]),
        models.node("Transpose", ["a"], ["b"], perm=[1, 0, 2]),
        models.node("Reshape", ["b", "shape"], ["c"]),
        models.node("Flatten", ["c"], ["d"]),
        models.node("Squeeze", ["d", "axes"], ["e"]),
        models.node("Identity", ["e"], ["y"]),
    ]
    constants = {"axes": np.array([0]), "shape": np.array([0, -1, 4])}
    model = models.build(nodes, {"x": [1, 12]}, {"y": [12]}, constants)
    check(models, model, {"x": floats(1, 12)})
    assert [node.op for node in run_passes(load_graph(model)).nodes] == ["reshape"]


def test_axes_as_attributes_are_understood_before_opset_13(models):
    nodes = [
        models.node("Squeeze", ["x"], ["a"], axes=[1]),
        models.node("Unsqueeze", ["a"], ["b"], axes=[0, -1]),
        models.node("Softmax", ["b"], ["y"], axis=1),
    ]
    model = models.build(nodes, {"x": [4, 1]}, {"y": [1, 4, 1]}, opset=11)
    check(models, model, {"x": floats(4, 1)})


def test_operators_on_constants_are_computed_when_compiling(models):
    value = numpy_helper.from_array(floats(5, 7))
    nodes = [
        models.node("Constant", [], ["w"], value=value),
        models.node("Tanh", ["w"], ["t"]),
        models.node("Transpose", ["t"], ["u"], perm=[1, 0]),
        models.node("Gemm", ["x", "u"], ["y"], transB=1),
    ]
    model = models.build(nodes, {"x": [1, 5]}, {"y": [1, 7]})
    check(models, model, {"x": floats(1, 5)})
    assert [node.op for node in run_passes(load_graph(model)).nodes] == ["linear"]


def test_dead_nodes_and_outputs_are_dropped(models):
    model = models.lstm(8, 16, 4, classes=10)
    graph = run_passes(load_graph(model))
    lstm = next(node for node in graph.nodes if node.op == "lstm")
    assert lstm.outputs[0] == "" and lstm.outputs[1]


def test_a_zero_initial_state_is_no_state(models):
    nodes = [models.node("LSTM", ["x", "w", "r", "", "", "z", "z"], ["", "y"], hidden_size=4)]
    constants = {
        "w": floats(1, 16, 3),
        "r": floats(1, 16, 4),
        "z": np.zeros((1, 1, 4), np.float32),
    }
    model = models.build(nodes, {"x": [2, 1, 3]}, {"y": [1, 1, 4]}, constants)
    check(models, model, {"x": floats(2, 1, 3)})
    assert run_passes(load_graph(model)).nodes[0].inputs[3:] == ("", "", "")


# ---- refusals


def test_all_unsupported_operators_are_listed_at_once_with_opset_and_node(models):
    nodes = [
        models.node("ConvTranspose", ["x", "w"], ["a"], name="conv1"),
        models.node("Relu", ["a"], ["b"]),
        models.node("Gelu", ["b"], ["c"], name="act", domain="com.example"),
        models.node("Erf", ["c"], ["y"], name="erf"),
    ]
    model = models.build(nodes, {"x": [1, 1, 8, 8]}, {"y": [1, 1, 6, 6]}, {"w": floats(1, 1, 3, 3)})
    with pytest.raises(UnsupportedOp) as caught:
        load_graph(model)
    refused = [(each.op, each.opset, each.node) for each in caught.value.refusals]
    assert refused == [
        ("ConvTranspose", 17, "conv1"),
        ("com.example::Gelu", 0, "act"),
        ("Erf", 17, "erf"),
    ]
    assert "ConvTranspose (opset 17)" in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).refusals == caught.value.refusals


@pytest.mark.parametrize(
    ("attrs", "what"),
    [
        ({"direction": "reverse"}, "direction"),
        ({"layout": 1}, "layout"),
        ({"clip": 1.0}, "clip"),
        ({"activations": ["Relu", "Tanh", "Tanh"]}, "activations"),
        ({"input_forget": 1}, "input_forget"),
    ],
)
def test_lstm_variants_are_refused_by_attribute(models, attrs, what):
    with pytest.raises(UnsupportedOp, match=what):
        load_graph(models.lstm(8, 16, 4, **attrs))


def test_a_batch_of_sequences_is_refused(models):
    proto = models.proto(models.lstm(8, 16, 4))
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2
    with pytest.raises(UnsupportedOp, match="batch of 2"):
        load_graph(proto.SerializeToString())


def test_an_unnamed_batch_dimension_is_one(models):
    proto = models.proto(models.lstm(8, 16, 4))
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "batch"
    assert load_graph(proto.SerializeToString()).shapes["x"] == (4, 1, 8)


def test_a_dynamic_sequence_length_is_refused_and_can_be_given(models):
    proto = models.proto(models.lstm(8, 16, 4))
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "steps"
    with pytest.raises(DynamicShape, match="steps"):
        load_graph(proto.SerializeToString())
    assert load_graph(proto.SerializeToString(), {"steps": 6}).shapes["x"] == (6, 1, 8)


def test_a_shape_that_is_computed_is_refused(models):
    nodes = [models.node("Shape", ["x"], ["s"]), models.node("Reshape", ["x", "s"], ["y"])]
    with pytest.raises(UnsupportedOp, match="Shape"):
        load_graph(models.build(nodes, {"x": [1, 4]}, {"y": [1, 4]}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_numbers_are_refused(models, value):
    bad = floats(4, 4)
    bad[1, 2] = value
    model = models.build(
        [models.node("MatMul", ["x", "w"], ["y"])], {"x": [1, 4]}, {"y": [1, 4]}, {"w": bad}
    )
    with pytest.raises(BadWeights, match=r"'w' \(1 of 16\)"):
        load_graph(model)


def with_external_data(models, folder: Path, **entries: str) -> Path:
    """A model in folder/inner whose first constant lies in w.bin beside it, or as `entries` say."""
    proto = models.proto(models.mlp(4, 4))
    tensor = proto.graph.initializer[0]
    inner = folder / "inner"
    inner.mkdir()
    (inner / "w.bin").write_bytes(bytes(8) + tensor.raw_data)
    (folder / "secret.bin").write_bytes(tensor.raw_data)
    (inner / "link.bin").symlink_to(folder / "secret.bin")
    (inner / "loop.bin").symlink_to(inner / "loop.bin")
    os.mkfifo(inner / "pipe.bin")
    entries = {"location": "w.bin", "offset": "8", "length": str(len(tensor.raw_data))} | entries
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    path = inner / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_external_data_in_the_models_folder_is_read(models, tmp_path: Path):
    path = with_external_data(models, tmp_path)
    x = {"x": floats(1, 4)}
    expected = models.expected(models.mlp(4, 4), x)["y"]
    np.testing.assert_allclose(interpret(load_graph(path), x)["y"], expected, rtol=1e-5)
    with pytest.raises(MalformedModel, match="bytes have no folder"):
        load_graph(path.read_bytes())


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"location": "../secret.bin", "offset": "0"}, "own folder"),
        ({"location": "/etc/passwd"}, "own folder"),
        ({"location": "link.bin", "offset": "0"}, "own folder"),
        ({"location": ""}, "own folder"),
        ({"location": "absent.bin"}, "no such file"),
        ({"location": "pipe.bin"}, "no such file"),
        ({"location": "loop.bin"}, "lies in 'loop.bin'"),
        ({"location": "."}, "no such file"),
        ({"location": "w\0.bin"}, "lies in"),
        ({"offset": "9"}, "64 bytes from 9 of a file of 72"),
        ({"offset": "-8"}, "count of bytes"),
        ({"length": "1e3"}, "count of bytes"),
        ({"length": "4"}, "damaged"),
    ],
)
def test_external_data_elsewhere_or_cut_is_refused(models, tmp_path: Path, entries, reason):
    path = with_external_data(models, tmp_path, **entries)
    with pytest.raises(MalformedModel, match=reason):
        load_graph(path)


def test_external_data_beyond_the_limit_is_not_read(models, tmp_path: Path):
    path = with_external_data(models, tmp_path, offset="0", length=str(2**30))
    with (path.parent / "w.bin").open("r+b") as file:
        file.truncate(2**30)  # sparse
    with pytest.raises(MalformedModel, match="more than"):
        load_graph(path)


@pytest.mark.parametrize(
    "data", [b"", b"not a model", b"\x08\x08", b"\xff" * 64, b"\x00" * 64], ids=repr
)
def test_bytes_that_are_no_model_are_refused(data):
    with pytest.raises(MalformedModel):
        load_graph(data)


def test_a_truncated_model_is_refused_wherever_it_is_cut(models):
    model = models.mlp(8, 4)
    for cut in range(0, len(model), 13):
        with pytest.raises((MalformedModel, UnsupportedOp)):
            load_graph(model[:cut])


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(MalformedModel, match="cannot read"):
        load_graph(tmp_path / "absent.onnx")


def test_a_huge_model_is_refused_before_it_is_read(tmp_path: Path):
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(2**30)  # sparse
    with pytest.raises(MalformedModel, match="at most"):
        load_graph(path)


def test_a_tensor_that_claims_more_than_it_holds_is_refused(models):
    proto = models.proto(models.mlp(8, 4))
    proto.graph.initializer[0].dims[0] = 2**40
    with pytest.raises(MalformedModel, match="more than"):
        load_graph(proto.SerializeToString())
    proto.graph.initializer[0].dims[0] = 5
    with pytest.raises(MalformedModel, match="damaged"):
        load_graph(proto.SerializeToString())


def test_an_opset_from_another_time_is_refused(models):
    with pytest.raises(MalformedModel, match="opset 6"):
        load_graph(
            models.build([models.node("Relu", ["x"], ["y"])], {"x": [1]}, {"y": [1]}, opset=6)
        )


def test_an_input_of_another_type_is_refused(models):
    proto = models.proto(models.mlp(8, 4))
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    with pytest.raises(MalformedModel, match="double"):
        load_graph(proto.SerializeToString())


def test_nodes_out_of_order_are_refused(models):
    nodes = [models.node("Relu", ["a"], ["y"]), models.node("Tanh", ["x"], ["a"])]
    with pytest.raises(MalformedModel, match="which nothing before makes"):
        load_graph(models.build(nodes, {"x": [1, 4]}, {"y": [1, 4]}))


def test_a_node_that_lacks_an_input_is_refused(models):
    nodes = [
        helper.make_node(op, [], [f"y{op}"])
        for op in ("Relu", "Identity", "Reshape", "Gemm", "LSTM")
    ]
    model = models.build(nodes, {"x": [1, 4]}, {f"y{node.op_type}": [1] for node in nodes})
    with pytest.raises(UnsupportedOp, match="Relu"):
        load_graph(model)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_damaged_model_is_a_compile_error_or_a_model(models, data):
    """Whatever bytes change, the frontend answers with an error of its family."""
    raw = bytearray(models.lstm(3, 4, 2, classes=3))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CompileError):
        run_passes(load_graph(bytes(raw)))


def test_an_empty_weight_is_refused_by_name(models):
    node = models.node("MatMul", ["x", "hollow"], ["y"])
    model = models.build([node], {"x": [1, 4]}, {"y": [1, 0]}, {"hollow": np.ones((4, 0), "f4")})
    with pytest.raises(UnsupportedOp, match="'hollow', is empty"):
        load_graph(model)


def test_an_empty_output_is_refused_by_name(models):
    node = models.node("Identity", ["hollow"], ["y"])
    model = models.build([node], {"x": [1, 4]}, {"y": [4, 0]}, {"hollow": np.ones((4, 0), "f4")})
    with pytest.raises(CompileError, match=r"'y' has shape \[4, 0\]"):
        load_graph(model)


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [(["x", "x"], ["y"], "2 inputs; Relu has at most 1"), (["x"], ["y", "z"], "2 outputs")],
)
def test_an_operator_with_more_than_onnx_gives_it_is_refused(models, inputs, outputs, words):
    model = models.build([models.node("Relu", inputs, outputs)], {"x": [1, 4]}, {"y": [1, 4]})
    with pytest.raises(MalformedModel, match=words):
        load_graph(model)


@pytest.mark.parametrize("said", [[9, 9], [1, 4, 1], [4], [], [1, 0], ["n", 5]])
def test_an_output_declared_with_a_shape_it_lacks_is_refused(models, said):
    model = models.build([models.node("Relu", ["x"], ["y"])], {"x": [1, 4]}, {"y": said})
    with pytest.raises(MalformedModel, match="output 'y' is declared"):
        load_graph(model)


@pytest.mark.parametrize("said", [[1, 4], ["n", 4], [None, None], [-1, 4]])
def test_an_output_may_be_declared_with_symbols(models, said):
    model = models.build([models.node("Relu", ["x"], ["y"])], {"x": ["n", 4]}, {"y": said})
    assert load_graph(model).shapes["y"] == (1, 4)


@pytest.mark.parametrize(
    ("dims", "error", "what"),
    [
        (None, DynamicShape, 'give numbers, e.g. --dim steps=8, or dims={"steps": 8}'),
        ({"step": 8}, DynamicShape, "no symbolic dimension 'step'; it has 'steps'"),
        ({"steps": 8, "batch": 1}, DynamicShape, "'batch'; it has 'steps'"),
        ({"steps": "8"}, CompileError, "dimension 'steps' is '8'; it must be a number above 0"),
        ({"steps": 8.0}, CompileError, "'steps' is 8.0"),
        ({"steps": True}, CompileError, "'steps' is True"),
        ({"steps": 0}, CompileError, "'steps' is 0"),
        (["steps"], CompileError, "give a mapping"),
    ],
)
def test_dims_that_are_missing_or_wrong_are_told_by_the_models_own_symbols(
    models, dims, error, what
):
    model = models.lstm(8, 16, "steps", outputs=("y",))
    assert load_graph(model, {"steps": np.int64(3)}).shapes["x"] == (3, 1, 8)
    with pytest.raises(error, match=re.escape(what)):
        load_graph(model, dims)
