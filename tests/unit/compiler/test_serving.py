"""Models served on the CPU and on the simulated fabric: the same bits, sessions that go from device
to device, and a device that stays usable whatever a call did."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hal
from compiler import Emulator, compile_onnx
from compiler.errors import (
    ArtifactError,
    BadInput,
    CompileError,
    MalformedModel,
    RunTimeout,
    UnknownTarget,
)
from compiler.report import snr_db
from compiler.serving import NpuRunner, Servable
from hal.errors import DeviceLost, OverlayRejected, StateError, Unsupported
from hal.serving import Model, State
from hal.testing.fpga_sim import absence

NANO = "npu:nano"
FPGA = pytest.param(
    "fpga-sim:0", marks=pytest.mark.skipif(absence() is not None, reason=str(absence()))
)
needs_fpga = FPGA.marks[0]
FEATURES, HIDDEN = 8, 16
BOUND_DB = 6 * 7 - 5  # the gate of docs/npu.md, at seven mantissa bits


def floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def lstm(models, steps: int | str, **kwargs) -> bytes:
    return models.lstm(FEATURES, HIDDEN, steps, outputs=("y",), **kwargs)


def parts(x: np.ndarray, size: int) -> list[np.ndarray]:
    return [x[at : at + size] for at in range(0, len(x), size)]


@pytest.mark.parametrize("device", ["cpu:0", FPGA])
def test_a_served_model_gives_the_bits_of_the_emulator(models, device):
    for model, shape in (
        (models.mlp(20, 16, 5), (1, 20)),
        (lstm(models, 3), (3, 1, FEATURES)),
        (cnn(models), (1, 1, 3, 3)),
    ):
        emulator = Emulator(compile_onnx(model, NANO))
        with hal.serve(model, device, target=NANO) as m:
            for seed in range(3):
                x = floats(seed, *shape)
                np.testing.assert_array_equal(m(x), emulator.run({"x": x})["y"])
            counted = m.last_cycles
            assert (m.device, m.kind) == (device, NANO)
    assert counted is None if device == "cpu:0" else counted > 100


@pytest.mark.parametrize("device", ["cpu:0", FPGA])
@pytest.mark.parametrize("size", [1, 4])
def test_a_session_gives_the_bits_of_one_long_sequence(models, device, size):
    x = floats(1, 8, 1, FEATURES)
    with hal.serve(lstm(models, "steps"), "cpu:1", target=NANO, dims={"steps": 8}) as whole:
        expected = whole(x)
    with hal.serve(lstm(models, "steps"), device, target=NANO, dims={"steps": size}) as m:
        s = m.session()
        np.testing.assert_array_equal(
            np.concatenate([s(part) for part in parts(x, size)]), expected
        )
        assert s.calls == 8 // size


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    layer=st.sampled_from(
        [("RNN", {}), ("GRU", {}), ("GRU", {"linear_before_reset": 1}), ("LSTM", {})]
    ),
    states=st.booleans(),
    cuts=st.lists(st.integers(1, 3), min_size=1, max_size=4),
)
def test_a_sequence_may_be_cut_anywhere(models, layer, states, cuts):
    """Each piece by a model of its length, on a device of its own, from the stored state."""
    op, attrs = layer
    x = floats(1, sum(cuts), 1, FEATURES)

    def served(steps: int, states: bool) -> Model:
        model = models.recurrent(op, FEATURES, HIDDEN, steps, states=states, **attrs)
        return hal.serve(model, "cpu:0", target=NANO)

    with served(len(x), False) as whole:
        expected = whole(x)
    kept, at, answers = b"", 0, []
    for size in cuts:
        with served(size, states) as m:
            s = m.session(State.from_bytes(kept) if kept else None)
            answers.append(s(x[at : at + size])["y"])
            kept, at = s.state().to_bytes(), at + size
    np.testing.assert_array_equal(np.concatenate(answers), expected["y"])
    for name, array in State.from_bytes(kept).arrays.items():
        key = "y_c" if "c" in name.rpartition(".")[2] else "y_h"
        np.testing.assert_array_equal(array, expected[key])


@needs_fpga
def test_a_session_goes_from_device_to_device_bit_for_bit(models):
    """Of one kind: two FPGAs, and the CPU that computes as they do."""
    x, model = floats(2, 8, 1, FEATURES), lstm(models, 2)
    with hal.serve(lstm(models, 8), "cpu:0", target=NANO) as whole:
        expected = whole(x)
    kept, answers = b"", []
    for device, part in zip(
        ("fpga-sim:0", "cpu:0", "fpga-sim:1", "cpu:1"), parts(x, 2), strict=True
    ):
        with hal.serve(model, device, target=NANO) as m:
            s = m.session(State.from_bytes(kept) if kept else None)
            answers.append(s(part))
            kept = s.state().to_bytes()
    np.testing.assert_array_equal(np.concatenate(answers), expected)


def test_a_session_goes_to_another_kind_within_the_formats_bound(models):
    """From nano to the wider sim, and to onnxruntime's float32 and back."""
    x, half = floats(3, 16, 1, FEATURES), models.lstm(FEATURES, HIDDEN, 8, states=True)
    exact = models.expected(models.lstm(FEATURES, HIDDEN, 16), {"x": x})["y"]
    with hal.serve(half, "cpu:0", target=NANO) as nano, hal.serve(half, "cpu:0") as sim:
        assert nano.kind != sim.kind
        first = nano.session()
        begin = first(x[:8])["y"]
        state = first.state()
        ends = {
            "sim": sim.session(state)(x[8:])["y"],
            "float32": models.expected(half, {"x": x[8:], **state.arrays})["y"],
        }
        for kind, end in ends.items():
            assert snr_db(exact, np.concatenate([begin, end])) >= BOUND_DB, kind
        zeros = np.zeros((1, 1, HIDDEN), np.float32)
        there = models.expected(half, {"x": x[:8], "h0": zeros, "c0": zeros})
        back = nano.session({"h0": there["y_h"], "c0": there["y_c"]})(x[8:])["y"]
        assert snr_db(exact[8:], back) >= BOUND_DB


@needs_fpga
@pytest.mark.parametrize("op", ["LSTM", "GRU"])
@pytest.mark.haltable(cycles=5000, moves=4, runs=3)
def test_a_session_halted_in_mid_launch_and_moved_keeps_every_bit(models, fpga_sim, op):
    """The halting law: the fabric under a session is stopped at random cycles, carried to another
    device and goes on; states and answers are those of the CPU, where nothing was halted."""
    x, model = floats(4, 12, 1, FEATURES), models.recurrent(op, FEATURES, HIDDEN, 2)
    moved = Model(NpuRunner(fpga_sim.overlay("npu-nano"), Servable.compile(model, NANO))).session()
    with hal.serve(model, "cpu:0", target=NANO) as m:
        calm = m.session()
        for part in parts(x, 2):
            answer, expected = moved(part), calm(part)
            np.testing.assert_array_equal(answer["y"], expected["y"])
            assert moved.state().to_bytes() == calm.state().to_bytes()


def cnn(models) -> bytes:
    nodes = [
        models.node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[2, 2]),
        models.node("Relu", ["c"], ["r"]),
        models.node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        models.node("Flatten", ["p"], ["f"]),
        models.node("Gemm", ["f", "v"], ["y"]),
    ]
    weights = {"w": floats(1, 4, 1, 2, 2), "b": floats(2, 4), "v": floats(3, 4, 5)}
    return models.build(nodes, {"x": [1, 1, 3, 3]}, {"y": [1, 5]}, weights)


@needs_fpga
@pytest.mark.haltable(cycles=5000, moves=4, runs=3)
def test_a_convolution_halted_in_mid_launch_and_moved_keeps_every_bit(models, fpga_sim):
    moved = Model(NpuRunner(fpga_sim.overlay("npu-nano"), Servable.compile(cnn(models), NANO)))
    with hal.serve(cnn(models), "cpu:0", target=NANO) as calm:
        for seed in range(5):
            x = floats(seed, 1, 1, 3, 3)
            np.testing.assert_array_equal(moved(x), calm(x))


def test_states_in_the_file_are_arguments_of_a_call_and_none_of_a_sessions(models):
    model = models.lstm(FEATURES, HIDDEN, 2, states=True)
    x, h = floats(5, 2, 1, FEATURES), floats(6, 1, 1, HIDDEN) * np.float32(0.1)
    with hal.serve(model, "cpu:0", target=NANO) as m:
        direct = m({"x": x, "h0": h, "c0": h})
        s = m.session({"h0": h, "c0": h})
        for name, array in s(x).items():
            np.testing.assert_array_equal(array, direct[name])
        np.testing.assert_array_equal(s.state().arrays["c0"], direct["y_c"])


def test_another_models_state_is_refused_by_name(models):
    with (
        hal.serve(lstm(models, 2), "cpu:0", target=NANO) as one,
        hal.serve(lstm(models, 2, seed=9), "cpu:0", target=NANO) as other,
        hal.serve(lstm(models, 4), "cpu:0", target=NANO) as longer,
    ):
        state = one.session().state()
        longer.session(state)  # the same weights
        with pytest.raises(StateError, match=r"is of model 'test'.*serve the model it was taken"):
            other.session(state)


def test_a_call_that_is_late_leaves_a_device_that_can_be_used(models, golden):
    driver, context = golden("nano")
    model = Servable.compile(models.mlp(20, 16, 5), NANO)
    model = replace(model, compiled=model.compiled.with_overlay("ab" * 32))
    m = Model(NpuRunner(context, model))
    x, other = floats(1, 1, 20), floats(2, 1, 20)
    expected = m(x)
    driver.stuck = True
    for _ in range(2):  # the second waits for the first one's end
        with pytest.raises(RunTimeout, match="golden:0"):
            m(other, timeout_s=0.0)
    driver.stuck = False
    np.testing.assert_array_equal(m(x), expected)


def test_wrong_arrays_are_refused_and_the_next_call_is_right(models):
    with hal.serve(models.mlp(20, 16, 5), "cpu:0", target=NANO) as m:
        x = floats(1, 1, 20)
        expected = m(x)
        for wrong in (x[0], x * np.float32(np.nan), "text"):
            with pytest.raises(BadInput, match="'x'"):
                m(wrong)
        np.testing.assert_array_equal(m(x), expected)


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (np.zeros(20), r"'x' has shape \[20\], not \[1, 20\]"),
        (np.zeros((2, 20)), r"'x' has shape \[2, 20\], not \[1, 20\]"),
        (0.0, r"'x' has shape \[\], not \[1, 20\]"),
        (None, "'x' is None, not an array"),
        (np.zeros((1, 20), complex), "'x' is complex128"),
        ("text", "'x' is no array of numbers"),
    ],
)
def test_a_wrong_array_is_told_as_it_was_given_and_as_the_model_takes_it(models, wrong, what):
    with hal.serve(models.mlp(20, 16, 5), "cpu:0", target=NANO) as m:
        for call in (m, m.session()):
            with pytest.raises(BadInput, match=what):
                call(wrong)


@pytest.mark.parametrize("wrong", [None, np.zeros((1, 1, HIDDEN), complex)])
def test_a_state_of_no_real_numbers_is_refused_by_name(models, wrong):
    with hal.serve(lstm(models, 2), "cpu:0", target=NANO) as m:
        arrays = dict(m.session().state().arrays)
        name = next(iter(arrays))
        with pytest.raises(StateError, match=f"'{name}' is no array of real numbers"):
            m.session(arrays | {name: wrong})


@pytest.mark.parametrize(
    ("changed", "error", "what"),
    [
        ({"device": "noop:0"}, Unsupported, "neither overlays nor golden models, only noop"),
        pytest.param(
            {"device": "fpga-sim:0", "target": "npu:edge"},
            OverlayRejected,
            "for target npu:edge.*cpu:0 runs it",
            marks=needs_fpga,
        ),
        ({"device": "tpu:0"}, DeviceLost, "no backend 'tpu'"),
        ({"target": "npu:giant"}, UnknownTarget, "giant"),
        ({"target": 5}, UnknownTarget, "no target 5"),
        ({"model": b"\x00"}, MalformedModel, "not an ONNX model"),
        ({"model": "/nowhere/model.onnx"}, MalformedModel, "/nowhere/model.onnx"),
    ],
)
def test_what_cannot_be_served_is_told(models, changed, error, what):
    asked = {"model": models.mlp(8, 4), "device": "cpu:0", "target": NANO} | changed
    with pytest.raises(error, match=what):
        hal.serve(**asked)


def test_a_compiled_image_is_served_as_it_is(models, tmp_path):
    compiled = compile_onnx(lstm(models, 2), NANO)
    path, x = tmp_path / "image", floats(8, 2, 1, FEATURES)
    path.write_bytes(compiled.to_bytes())
    with hal.serve(path, "cpu:0") as m:
        assert m.kind == NANO
        np.testing.assert_array_equal(m(x), Emulator(compiled).run({"x": x})["y"])
        with pytest.raises(Unsupported, match="serve the ONNX file"):
            m.session()


@pytest.mark.parametrize(
    ("samples", "damage", "asked", "error", "what"),
    [
        (1, 0, {"target": "npu:sim"}, CompileError, "compiled already, for npu:nano"),
        (1, 0, {"dims": {"steps": 2}}, CompileError, "compiled already"),
        (4, 0, {}, CompileError, "4 samples a launch"),
        (1, 1, {}, ArtifactError, "damaged"),
    ],
)
def test_an_image_that_does_not_fit_is_told(models, samples, damage, asked, error, what):
    image = bytearray(compile_onnx(models.mlp(8, 4), NANO, samples=samples).to_bytes())
    image[-1] ^= damage
    with pytest.raises(error, match=what):
        hal.serve(bytes(image), "cpu:0", **asked)


@pytest.mark.parametrize("device", ["cpu:0", FPGA])
def test_many_sessions_share_one_device_asynchronously(models, device):
    x, model = floats(7, 6, 1, FEATURES), lstm(models, 1)

    async def dialogue(m, seed: int) -> np.ndarray:
        s = m.session()
        for part in parts(x * np.float32(seed), 1):
            answer = await s(part)
        return answer

    async def main() -> list[np.ndarray]:
        async with hal.serve_async(model, device, target=NANO) as m:
            return await asyncio.gather(*(dialogue(m, seed) for seed in range(5)))

    answers = asyncio.run(main())
    with hal.serve(lstm(models, 6), "cpu:1", target=NANO) as whole:
        for seed, answer in enumerate(answers):
            np.testing.assert_array_equal(answer[-1], whole(x * np.float32(seed))[-1])
