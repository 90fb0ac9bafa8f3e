"""Sessions over a hal context: on a driver that computes with the golden model, and on the fabric.

The golden driver stands in for hardware at the hal's seam, so that what is tested here is the
session: which buffers, arguments and waits it uses. The last tests run the real simulated device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from compiler import CompiledModel, Emulator, compile_onnx
from compiler.errors import BadInput, ProgramFault, RunTimeout
from compiler.runtime import Session
from hal.context import Context
from hal.registry import open_device
from rtl_sim.spec.npu import Instr, Op, Scalar, encode

DIGEST = "ab" * 32


def floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture
def compiled(models) -> CompiledModel:
    return compile_onnx(models.mlp(20, 16, 5), "npu:nano").with_overlay(DIGEST)


def test_a_session_gives_the_bits_of_the_emulator(models, golden):
    for model, shape in ((models.mlp(20, 16, 5), (1, 20)), (models.lstm(8, 12, 3), (3, 1, 8))):
        compiled = compile_onnx(model, "npu:nano").with_overlay(DIGEST)
        _, context = golden("nano")
        session, emulator = Session(context, compiled), Emulator(compiled)
        for seed in range(3):
            x = {"x": floats(seed, *shape)}
            expected = emulator.run(x)
            for name, array in session.run(x).items():
                np.testing.assert_array_equal(array, expected[name])
        assert session.last_cycles == golden.CYCLES


def test_weights_are_written_once_and_inputs_every_time(compiled, golden):
    driver, context = golden("nano")
    session = Session(context, compiled)
    buffers = context.buffers
    for seed in range(3):
        session.run({"x": floats(seed, 1, 20)})
    vectors = compiled.input_vectors * compiled.npu.vector_bytes
    assert driver.writes == [len(compiled.program), len(compiled.weights), *[vectors] * 3]
    assert context.buffers == buffers
    assert [image.payload for image in driver.images] == [DIGEST.encode()]


def test_a_closed_session_leaves_nothing_in_its_context(compiled, golden):
    driver, context = golden("nano")
    with Session(context, compiled) as session:
        session.run({"x": floats(0, 1, 20)})
    session.close()
    assert not context.buffers and not driver.buffers and not driver.images


def test_a_launch_that_takes_too_long_can_be_waited_for_again(compiled, golden):
    driver, context = golden("nano")
    session = Session(context, compiled)
    driver.stuck = True
    session.start({"x": floats(0, 1, 20)})
    with pytest.raises(RunTimeout, match="golden:0"):
        session.result(timeout_s=0.0)
    driver.stuck = False
    assert set(session.result()) == {"y"}


def test_results_are_taken_once_and_in_turn(compiled, golden):
    _, context = golden("nano")
    session = Session(context, compiled)
    with pytest.raises(BadInput, match="nothing was started"):
        session.result()
    seq = session.start({"x": floats(0, 1, 20)})
    assert seq == context.last_seq
    with pytest.raises(BadInput, match="not taken"):
        session.start({"x": floats(0, 1, 20)})


def test_samples_are_stacked_launch_by_launch_and_cycles_added(models, golden):
    compiled = compile_onnx(models.mlp(20, 16, 5), "npu:nano", samples=3).with_overlay(DIGEST)
    _, context = golden("nano")
    session = Session(context, compiled)
    x = {"x": floats(0, 7, 1, 20)}
    expected = Emulator(compiled).run_many(x)["y"]
    np.testing.assert_array_equal(session.run_many(x)["y"], expected)
    assert session.last_cycles == 3 * golden.CYCLES
    np.testing.assert_array_equal(session.run({"x": x["x"][:3]})["y"], expected[:3])


def test_a_program_made_for_another_configuration_is_an_error_and_no_result(models, golden):
    compiled = compile_onnx(models.mlp(20, 16, 5), "npu:sim").with_overlay(DIGEST)
    _, context = golden("nano")
    with pytest.raises(ProgramFault, match="npu-sim"):
        Session(context, compiled).run({"x": floats(0, 1, 20)})


# ---- on the simulated fabric


@pytest.fixture(scope="module")
def fabric() -> Iterator[Context]:
    from hal.backends.fpga.overlays import overlay

    with open_device("fpga-sim:0", overlay("npu-nano")) as device, device.open_context() as context:
        yield context


@pytest.mark.parametrize("kind", ["mlp", "lstm", "streamed"])
def test_the_simulated_device_gives_the_bits_of_the_emulator(models, fabric, kind):
    model, shape = {
        "mlp": (models.mlp(64, 32, 10), (1, 64)),
        "lstm": (models.lstm(8, 16, 4), (4, 1, 8)),
        "streamed": (models.mlp(64, 64, 32, 10), (1, 64)),
    }[kind]
    compiled = compile_onnx(model, "npu:nano")
    with Session(fabric, compiled) as session:
        for seed in range(2):
            x = {"x": floats(seed, *shape)}
            actual, expected = session.run(x), Emulator(compiled).run(x)
            for name, array in expected.items():
                np.testing.assert_array_equal(actual[name], array)
        assert session.last_cycles is not None and session.last_cycles > 100


def test_cycles_do_not_depend_on_the_data(models, fabric):
    with Session(fabric, compile_onnx(models.mlp(64, 32, 10), "npu:nano")) as session:
        cycles = set()
        for seed in range(3):
            session.run({"x": floats(seed, 1, 64)})
            cycles.add(session.last_cycles)
    assert len(cycles) == 1


def test_several_samples_a_launch_cost_fewer_cycles_each(models, fabric):
    model, x = models.mlp(64, 32, 10), floats(0, 4, 1, 64)
    costs, results = [], []
    for samples in (1, 4):
        compiled = compile_onnx(model, "npu:nano", samples=samples)
        with Session(fabric, compiled) as session:
            results.append(session.run_many({"x": x})["y"])
            assert session.last_cycles is not None
            costs.append(session.last_cycles)
    np.testing.assert_array_equal(results[0], results[1])
    assert costs[1] < costs[0]


def test_an_inference_halted_in_its_midst_goes_on(models, fabric):
    compiled = compile_onnx(models.lstm(8, 16, 4), "npu:nano")
    x = {"x": floats(3, 4, 1, 8)}
    with Session(fabric, compiled) as session:
        whole = session.run(x)
        cycles = session.last_cycles
        session.start(x)
        fabric.wait(fabric.last_seq, 0.0)
        fabric.halt()
        state = fabric.save_state()
        assert state
        for name, array in session.result().items():
            np.testing.assert_array_equal(array, whole[name])
        assert session.last_cycles == cycles


def test_a_program_that_does_not_end_is_given_up_and_the_device_goes_on(models):
    """The caller's bound on the wait is the watchdog; closing the context gives the kernel up."""
    from hal.backends.fpga.overlays import overlay

    compiled = compile_onnx(models.lstm(8, 16, 4), "npu:nano")
    turns, ends = [Instr(Op.LOOP, 0, 65535)] * 3, [Instr(Op.END_LOOP)] * 3
    endless = replace(compiled, program=encode([*turns, Instr(Op.S_WR, Scalar.ROWS, 1), *ends]))
    x = {"x": floats(3, 4, 1, 8)}
    with open_device("fpga-sim:0", overlay("npu-nano")) as device:
        with device.open_context() as context:
            session = Session(context, endless)
            session.start(x)
            with pytest.raises(RunTimeout, match="no result"):
                session.result(timeout_s=0.1)
        with device.open_context() as context, Session(context, compiled) as session:
            expected = Emulator(compiled).run(x)
            for name, array in session.run(x).items():
                np.testing.assert_array_equal(array, expected[name])


def test_a_program_that_the_fabric_refuses_is_an_error_and_the_session_goes_on(models, fabric):
    compiled = compile_onnx(models.lstm(8, 16, 4), "npu:nano")
    broken = replace(compiled, program=compiled.program + encode([Instr(Op.END_LOOP)]))
    x = {"x": floats(3, 4, 1, 8)}
    with Session(fabric, broken) as session, pytest.raises(ProgramFault, match="with LOOP"):
        session.run(x)
    with Session(fabric, compiled) as session:
        expected = Emulator(compiled).run(x)
        for name, array in session.run(x).items():
            np.testing.assert_array_equal(array, expected[name])
