"""What the NPU target refuses, what does not fit, and what its programs promise."""

from __future__ import annotations

import contextlib
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler import Emulator, compile_onnx
from compiler.emulator import executed_instructions
from compiler.errors import (
    BadInput,
    BadWeights,
    CompileError,
    DoesNotFit,
    UnknownTarget,
    UnsupportedOp,
)
from rtl_sim.spec.npu import Instr, Op, Scalar, Stat, encode


def floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def opcodes(program: bytes) -> list[int]:
    return list(program[::8])


def test_a_target_that_does_not_exist_is_refused(models):
    for name in ("npu:none", "gpu:0", "npu", ""):
        with pytest.raises(UnknownTarget, match="npu:sim"):
            compile_onnx(models.mlp(8, 4), name)


def test_what_the_device_cannot_do_is_listed_at_once(models):
    nodes = [
        models.node("MatMul", ["x", "c"], ["a"]),
        models.node("Transpose", ["a"], ["t"], perm=[1, 0], name="move"),
        models.node("Softmax", ["t"], ["p"], name="early"),
        models.node("MatMul", ["p", "x"], ["q"], name="dynamic"),
        models.node("Add", ["q", "row"], ["y"], name="grow"),
    ]
    shapes = {"x": [4, 3], "row": [1, 3]}
    model = models.build(nodes, shapes, {"y": [3, 3]}, {"c": floats(1, 3, 3)})
    with pytest.raises(UnsupportedOp) as caught:
        compile_onnx(model)
    assert [(each.op, each.node) for each in caught.value.refusals] == [
        ("Transpose", "move"),
        ("Softmax", "early"),
        ("MatMul", "dynamic"),
        ("Add", "grow"),
    ]


def test_rows_that_cut_across_native_vectors_are_refused(models):
    nodes = [
        models.node("Relu", ["x"], ["a"]),
        models.node("Reshape", ["a", "shape"], ["b"]),
        models.node("MatMul", ["b", "v"], ["y"], name="cut"),
    ]
    shape = {"shape": np.array([4, 5], np.int64), "v": floats(2, 5, 5)}
    model = models.build(nodes, {"x": [2, 10]}, {"y": [4, 5]}, shape)
    compile_onnx(model)  # the input is packed as the shortest row asks for
    nodes[:1] = [models.node("MatMul", ["x", "w"], ["a"])]
    shape["w"] = floats(1, 10, 10)
    with pytest.raises(UnsupportedOp, match="cut"):
        compile_onnx(models.build(nodes, {"x": [2, 10]}, {"y": [4, 5]}, shape))


def test_a_model_that_leaves_nothing_to_the_device_is_refused(models):
    model = models.build([models.node("Softmax", ["x"], ["y"])], {"x": [1, 4]}, {"y": [1, 4]})
    with pytest.raises(UnsupportedOp, match="nothing is left for the device"):
        compile_onnx(model)


def test_an_output_that_does_not_depend_on_the_input_is_refused(models):
    nodes = [models.node("Relu", ["x"], ["y"]), models.node("Tanh", ["c"], ["z"])]
    model = models.build(nodes, {"x": [1, 4]}, {"y": [1, 4], "z": [4]}, {"c": floats(1, 4)})
    with pytest.raises(UnsupportedOp, match="constant"):
        compile_onnx(model)


def test_weights_beyond_the_formats_range_are_refused(models):
    weights = np.full((4, 4), 1e6, np.float32)
    model = models.build(
        [models.node("MatMul", ["x", "w"], ["y"])], {"x": [1, 4]}, {"y": [1, 4]}, {"w": weights}
    )
    with pytest.raises(BadWeights, match="65504"):
        compile_onnx(model)


@pytest.mark.parametrize(
    ("model", "resource", "need", "have"),
    [
        (("lstm", 8, 32, 8), "AddSubVrf vectors", 18, 16),
        (("mlp", 16 * 17, 64), "MatrixRf tiles in a row", 17, 16),
        (("mlp", 16, 16 * 17, 1), "AddSubVrf vectors", 17, 16),
    ],
)
def test_a_model_too_large_says_of_what_and_by_how_much(models, model, resource, need, have):
    kind, *sizes = model
    with pytest.raises(DoesNotFit) as caught:
        compile_onnx(getattr(models, kind)(*sizes), "npu:nano")
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.resource, error.need, error.have) == (resource, need, have)
    assert error.target == "npu:nano"
    compile_onnx(getattr(models, kind)(*sizes), error.fits)  # the smallest one that holds it
    assert error.fits in str(error)


def test_a_model_that_fits_nowhere_is_told_so(models):
    with pytest.raises(DoesNotFit, match="a larger target or a smaller model") as caught:
        compile_onnx(models.mlp(8, 400 * 600, 1))
    assert caught.value.fits == ""


def test_a_model_too_deep_for_the_program_memory_does_not_fit(models):
    with pytest.raises(DoesNotFit, match="program memory"):
        compile_onnx(models.mlp(*[8] * 30), "npu:nano")


@pytest.mark.parametrize(
    ("shape", "resource"),
    [((1, 10000), "native vectors of a row"), ((70000, 1), "input buffer vectors")],
)
def test_a_tensor_too_long_for_the_instruction_fields_does_not_fit(models, shape, resource):
    node = models.node("MatMul", ["x", "w"], ["y"])
    constants = {"w": np.ones((shape[1], 1), np.float32)}
    model = models.build([node], {"x": shape}, {"y": [shape[0], 1]}, constants)
    with pytest.raises(DoesNotFit, match=resource):
        compile_onnx(model)


def test_vectors_that_do_not_fit_are_refused(models):
    nodes = [models.node("LSTM", ["x", "w", "r"], ["y"], hidden_size=16)]
    nodes.append(models.node("Squeeze", ["y", "axis"], ["s"]))
    nodes.append(models.node("MatMul", ["s", "m"], ["z"]))
    constants = {
        "w": floats(1, 1, 64, 4),
        "r": floats(2, 1, 64, 16),
        "axis": np.array([1], np.int64),
        "m": floats(3, 16, 4),
    }
    model = models.build(nodes, {"x": [40, 1, 4]}, {"z": [40, 1, 4]}, constants)
    with pytest.raises(DoesNotFit, match="InitialVrf vectors"):
        compile_onnx(model, "npu:nano")
    compile_onnx(model, "npu:sim")


def test_weights_are_pinned_where_they_fit_and_streamed_where_not(models):
    model = models.mlp(64, 64, 32, 10)
    pinned, streamed = compile_onnx(model, "npu:sim"), compile_onnx(model, "npu:nano")
    assert (pinned.pinned, streamed.pinned) == (True, False)
    assert opcodes(pinned.program).count(Op.M_RD) == 3  # one a layer, the next one's ahead
    assert opcodes(streamed.program).count(Op.M_RD) == 3
    together = compile_onnx(model, "npu:sim", samples=2)
    assert opcodes(together.program).count(Op.M_RD) == 1  # neighbours, before the first sample


def test_element_wise_operators_ride_on_the_chain_of_the_product(models):
    compiled = compile_onnx(models.mlp(16, 16, 16), "npu:nano")
    chains = opcodes(compiled.program).count(Op.END_CHAIN)
    # both biases, input to the matrix unit's memory, tiles of each layer, and one chain a layer
    assert chains == 6


def test_a_recurrent_net_is_a_loop_and_not_unrolled(models):
    short, long = (compile_onnx(models.lstm(8, 16, steps), "npu:nano") for steps in (2, 200))
    assert short.instructions == long.instructions < 70


def test_a_sequence_goes_on_from_the_states_it_returned(models):
    """Recurrent state is an output: two halves are the whole, bit for bit."""
    x = floats(1, 8, 1, 8)
    whole = Emulator(compile_onnx(models.lstm(8, 16, 8), "npu:nano")).run({"x": x})
    half = Emulator(compile_onnx(models.lstm(8, 16, 4, states=True), "npu:nano"))
    zeros = np.zeros((1, 1, 16), np.float32)
    first = half.run({"x": x[:4], "h0": zeros, "c0": zeros})
    second = half.run({"x": x[4:], "h0": first["y_h"], "c0": first["y_c"]})
    np.testing.assert_array_equal(np.concatenate([first["y"], second["y"]]), whole["y"])
    np.testing.assert_array_equal(second["y_c"], whole["y_c"])


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
def test_several_samples_a_launch_give_the_bits_of_one_at_a_time(models, kind):
    model = models.mlp(20, 16, 5) if kind == "mlp" else models.lstm(8, 12, 3)
    shape = (1, 20) if kind == "mlp" else (3, 1, 8)
    x = floats(1, 7, *shape)
    one = Emulator(compile_onnx(model, "npu:sim"))
    rows = [one.run({"x": sample}) for sample in x]
    for samples in (1, 3, 7):
        many = Emulator(compile_onnx(model, "npu:sim", samples=samples)).run_many({"x": x})
        for name, array in many.items():
            np.testing.assert_array_equal(array, np.stack([row[name] for row in rows]))
    batch = Emulator(compile_onnx(model, "npu:sim", samples=7)).run({"x": x})
    for name, array in batch.items():
        np.testing.assert_array_equal(array, many[name])


def test_a_number_of_samples_out_of_range_is_refused(models):
    for samples in (0, 5000):
        with pytest.raises(CompileError, match="samples"):
            compile_onnx(models.mlp(8, 4), samples=samples)


def test_an_mlp_of_a_batch_loads_its_weights_once(models):
    proto = models.proto(models.mlp(20, 16, 5))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    compiled = compile_onnx(proto.SerializeToString(), "npu:nano")
    x = floats(1, 4, 20)
    single = Emulator(compile_onnx(models.mlp(20, 16, 5), "npu:nano"))
    rows = np.concatenate([single.run({"x": row[None]})["y"] for row in x])
    np.testing.assert_array_equal(Emulator(compiled).run({"x": x})["y"], rows)


def test_compiling_twice_gives_the_same_bytes(models):
    model = models.lstm(8, 16, 4, classes=10)
    assert compile_onnx(model).to_bytes() == compile_onnx(model).to_bytes()


@pytest.mark.parametrize(
    ("inputs", "what"),
    [
        ({}, "takes inputs"),
        ({"x": np.zeros((1, 8)), "z": 0}, "takes inputs"),
        ({"x": np.zeros((2, 8))}, "shape"),
        ({"x": np.full((1, 8), np.nan)}, "NaN"),
        ({"x": [["a"] * 8]}, "no array of numbers"),
    ],
)
def test_inputs_that_do_not_fit_the_model_are_refused(models, inputs, what):
    with pytest.raises(BadInput, match=what):
        Emulator(compile_onnx(models.mlp(8, 4), "npu:nano")).run(inputs)


def test_results_are_taken_once_and_in_turn(models):
    emulator = Emulator(compile_onnx(models.mlp(8, 4), "npu:nano"))
    x = {"x": floats(1, 1, 8)}
    with pytest.raises(BadInput, match="nothing was started"):
        emulator.result()
    assert emulator.start(x) == 1
    with pytest.raises(BadInput, match="not taken"):
        emulator.start(x)
    emulator.result()
    assert emulator.start(x) == 2


def test_values_beyond_binary16_saturate_and_do_not_wrap(models):
    model = models.build([models.node("Add", ["x", "x"], ["y"])], {"x": [1, 4]}, {"y": [1, 4]})
    x = np.array([[1e9, -1e9, 60000, 1e-9]], np.float32)
    y = Emulator(compile_onnx(model, "npu:nano")).run({"x": x})["y"]
    np.testing.assert_array_equal(y, [[65504, -65504, 65504, 0]])


def test_a_program_that_would_not_end_is_refused_by_the_emulator(models):
    compiled = compile_onnx(models.mlp(8, 4), "npu:nano")
    turns = [Instr(Op.LOOP, 0, 65535)] * 3
    body = [Instr(Op.S_WR, Scalar.ROWS, 1)]
    endless = replace(compiled, program=encode([*turns, *body, *[Instr(Op.END_LOOP)] * 3]))
    with pytest.raises(CompileError, match="at most"):
        Emulator(endless)
    assert executed_instructions(compiled.program) == compiled.instructions


def test_a_loop_counts_with_every_turn(models):
    one, many = (compile_onnx(models.lstm(8, 16, steps), "npu:nano") for steps in (2, 11))
    executed = [executed_instructions(each.program) for each in (one, many)]
    stats = []
    for compiled in (one, many):
        emulator = Emulator(compiled)
        emulator.run({"x": floats(1, *compiled.inputs[0].shape)})
        stats.append(int(emulator.last_stats[0, Stat.INSTRUCTIONS]))
    assert executed == stats


def test_weights_that_the_model_computes_are_refused(models):
    nodes = [models.node("Relu", ["w"], ["v"]), models.node("Conv", ["x", "v"], ["y"], name="c")]
    shapes = {"x": [1, 2, 4, 4], "w": [3, 2, 3, 3]}
    model = models.build(nodes, shapes, {"y": [1, 3, 2, 2]})
    with pytest.raises(UnsupportedOp, match=r"Conv .*constants"):
        compile_onnx(model)


def test_groups_that_would_fill_memory_with_zeros_are_refused(models):
    node = models.node("Conv", ["x", "w"], ["y"], group=20000)
    constants = {"w": np.ones((20000, 1, 1, 1), np.float32)}
    model = models.build([node], {"x": [1, 20000, 1, 1]}, {"y": [1, 20000, 1, 1]}, constants)
    with pytest.raises(UnsupportedOp, match="too large for any target"):
        compile_onnx(model)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data(), net=st.sampled_from(["convolution", "recurrent"]))
def test_a_damaged_model_is_refused_by_name_or_compiled(models, data, net):
    """Whatever bytes change, as far as the program."""
    if net == "recurrent":
        raw = bytearray(models.recurrent("GRU", 3, 4, 2, states=True))
    else:
        nodes = [
            models.node("Conv", ["x", "w"], ["c"], pads=[1] * 4, strides=[1, 2]),
            models.node("AveragePool", ["c"], ["y"], kernel_shape=[2, 2], pads=[0, 1, 0, 1]),
        ]
        shapes = {"x": [1, 2, 5, 6]}, {"y": [1, 3, 4, 4]}
        raw = bytearray(models.build(nodes, *shapes, {"w": floats(1, 3, 2, 3, 3)}))
    compile_onnx(bytes(raw))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CompileError):
        compile_onnx(bytes(raw))
